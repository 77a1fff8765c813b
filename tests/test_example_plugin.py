"""The example package: installed by itself, it brings a plug-in of each kind that a build uses."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from artsound.sample import SamplePaths
from artsound.sources.files import list_files, read_file
from artsound.storage import read_json, read_parquet

pytestmark = pytest.mark.long

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "plugin"
CODE = sorted((EXAMPLE / "artsound_example").glob("*.py"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables for processes that see the package as pip has installed it, and not its source."""
    place = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command = [*pip, "--no-build-isolation", "--target", str(place), str(EXAMPLE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path = os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}


def artsound(environment: dict[str, str], *arguments: object) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "artsound", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("file", CODE, ids=lambda path: path.stem)
def test_each_plug_in_has_at_most_thirty_lines(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 30


def test_the_guide_shows_the_example_as_it_is() -> None:
    guide = (EXAMPLE.parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
    for file in [*CODE, EXAMPLE / "tests" / "test_conformance.py"]:
        if file.stem != "__init__":
            assert f"```python\n{file.read_text(encoding='utf-8')}```\n" in guide, file.name


def test_the_installed_package_is_listed_and_keeps_the_contracts(
    environment: dict[str, str],
) -> None:
    lines: list[dict[str, Any]] = json.loads(
        artsound(environment, "plugins", "--json").splitlines()[-1]
    )
    own = {line["kind"]: line for line in lines if line["origin"] == "artsound-example 0.1.0"}
    assert set(own) == {"source", "encoder", "captioner", "bridge", "preset"}
    for line in own.values():
        assert (line["error"], line["shadowed"], bool(line["summary"])) == ("", False, True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=EXAMPLE,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_build_training_and_generation_use_the_installed_package(
    environment: dict[str, str], sample: SamplePaths, tmp_path: Path
) -> None:
    museum, out = tmp_path / "museum", tmp_path / "out"
    _export(sample, museum, count=30)
    recipe = tmp_path / "museum.toml"
    recipe.write_text(RECIPE)
    artsound(
        environment, "build", "--out", out, "--recipe", recipe, "--runner", "serial", "--limit", 20,
        "--artworks", f"museum:{museum}", "--music", f"fma:{sample.fma}",
    )  # fmt: skip
    artworks = read_parquet(out / "catalog" / "artworks.parquet", "artwork").to_pylist()
    assert {row["source"] for row in artworks} == {"museum"}
    captions = read_parquet(out / "captions" / "artworks.parquet", "caption").to_pylist()
    written = [row for row in captions if row["captioner"] == "wall-label"]
    assert written
    assert all("package artsound-example; version 0.1.0" in x["captioner_version"] for x in written)
    pairs = read_parquet(out / "pairs" / "pairs.parquet", "pair").to_pylist()
    assert {row["bridge"] for row in pairs} == {"sentences"}
    assert len(pairs) >= 12

    training = tmp_path / "training"
    shards = ("--data", out / "shards")
    artsound(environment, "train", *shards, "--preset", "pocket", "--steps", 2, "--out", training)
    [config] = (training / "checkpoints").glob("*/config.json")
    assert read_json(config)["plugin"] == {
        "reference": "artsound_example.preset:Pocket",
        "package": "artsound-example",
        "version": "0.1.0",
    }
    picture = next(path for path in museum.iterdir() if path.suffix == ".jpg")
    music = tmp_path / "music.wav"
    artsound(
        environment, "generate", "--checkpoint", training, "--image", picture, "--out", music,
        "--steps", 2, "--seconds", 1,
    )  # fmt: skip
    assert music.stat().st_size > 10_000


RECIPE = """
name = "museum"

[embed]
text_encoder = "minilm"

[pair]
bridge = "sentences"

[captions]
artworks = "wall-label"
tracks = "wall-label"

[split]
train = 1.0
val = 0.0
test = 0.0

[run]
part_size = 32
"""


def _export(sample: SamplePaths, museum: Path, count: int) -> None:
    """A museum's export: pictures of the sample's artworks, and objects.csv beside them."""
    museum.mkdir()
    listed = list_files(sample.artgraph).filter(pl.col("name").str.ends_with(".jpg"))
    pictures = listed.sort("box", "name").head(count).select("box", "name").rows()
    with (museum / "objects.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["number", "title", "maker", "year", "file"])
        for number, (box, name) in enumerate(pictures):
            (museum / f"{number}.jpg").write_bytes(read_file(sample.artgraph, box, name))
            rows.writerow(
                [f"1890.{number}", f"Object {number}", f"Maker {number % 7}", 1890, f"{number}.jpg"]
            )
