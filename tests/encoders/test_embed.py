from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from synthetic import cadence, drums

from artsound.encoders import embed
from artsound.encoders.base import load_embeddings, save_embeddings
from artsound.errors import BadData
from artsound.recipe import Recipe
from artsound.schema import arrow_schema
from artsound.stage import Report, run_stage
from artsound.storage import Workspace, read_parquet, store_media, write_parquet


def blank_row(name: str, **values: Any) -> dict[str, Any]:
    """A row of the schema filled in anyhow but for ``values``."""
    plain = {"string": "x", "bool": False}
    row = {f.name: plain.get(str(f.type), [] if "list" in str(f.type) else 0)
           for f in arrow_schema(name)}  # fmt: skip
    return row | {"ai_training": "unknown", "ai_training_source": "licence"} | values


def catalogue(workspace: Workspace, pictures: int = 5, clips: int = 3) -> None:
    """A workspace as ingest leaves it, with small media."""
    rng = np.random.default_rng(0)
    artworks, tracks = [], []
    for i in range(pictures):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (40, 50, 3)).astype(np.uint8)).save(out, "PNG")
        path, sha = store_media(workspace, "artworks", out.getvalue(), ".png")
        known = {"artwork_id": f"{i}.png", "image_path": path, "image_sha256": sha}
        known |= {"image_phash": "0" * 16, "width": 50, "height": 40, "source": "sample"}
        artworks.append(blank_row("artwork", **known, cluster=f"{i}.png", image_bytes=1))
    for i in range(clips):
        out = io.BytesIO()
        sound = drums("rock", 80 + 20 * i, 6.0) if i else cadence(3, "minor")
        soundfile.write(out, sound, 22_050, format="WAV")
        path, sha = store_media(workspace, "tracks", out.getvalue(), ".wav")
        known = {
            "track_id": f"{7 + i:06d}",
            "audio_path": path,
            "audio_sha256": sha,
            "split": "train",
        }
        known |= {"sample_rate": 22_050, "channels": 1, "duration": 6.0, "source": "sample"}
        tracks.append(blank_row("track", **known, cluster=f"{7 + i:06d}", audio_bytes=1))
    write_parquet(workspace.catalog / "artworks.parquet", "artwork", artworks)
    write_parquet(workspace.catalog / "tracks.parquet", "track", tracks)


def run(workspace: Workspace, part_size: int = 256) -> Report:
    recipe = Recipe.model_validate({"run": {"part_size": part_size}})
    return run_stage(embed.STAGE, workspace, recipe)


def test_every_item_is_measured_and_embedded(tmp_path: Path):
    workspace = Workspace(tmp_path)
    catalogue(workspace)
    report = run(workspace)
    assert (report.items_in, report.items_out) == (8, 8)
    ids, matrix = load_embeddings(workspace, "affect", "artworks")
    assert ids == [f"{i}.png" for i in range(5)]
    assert matrix.shape == (5, 20)
    ids, matrix = load_embeddings(workspace, "affect", "tracks")
    assert ids == ["000007", "000008", "000009"]
    table = read_parquet(tmp_path / "embeddings/affect/tracks.parquet", "track_descriptors")
    assert table["key"][0].as_py() == "D#"
    assert np.allclose(matrix[:, 0], table["tempo"].to_numpy())
    assert matrix[1, 0] == pytest.approx(100, rel=0.03)


def test_the_size_of_parts_changes_no_byte(tmp_path: Path):
    digests = []
    for size in (1, 2, 256):
        workspace = Workspace(tmp_path / str(size))
        catalogue(workspace)
        digests.append(run(workspace, size).files)
    assert digests[0] == digests[1] == digests[2]


def test_only_parts_whose_rows_changed_are_measured_again(tmp_path: Path):
    workspace = Workspace(tmp_path)
    catalogue(workspace)
    assert run(workspace, 2).parts_skipped == 0
    assert run(workspace, 2).parts_skipped == 5
    catalogue(workspace, pictures=4)
    assert run(workspace, 2).parts_skipped == 4


@pytest.mark.parametrize("damage", ["none", "gone", "altered", "another part"])
def test_files_of_a_side_are_merged_again_only_where_something_is_not_as_it_was(
    tmp_path: Path, damage: str
):
    workspace = Workspace(tmp_path)
    catalogue(workspace)
    before = run(workspace, 2)
    merged = [tmp_path / name for name in before.files if "/artworks." in name]
    assert len(merged) == 3
    for hit in merged:
        written = {path: path.stat().st_ino for path in merged}
        if damage == "gone":
            hit.unlink()
        elif damage == "altered":
            data = bytearray(hit.read_bytes())
            data[len(data) // 2] ^= 1
            hit.write_bytes(data)
        elif damage == "another part":
            catalogue(workspace, pictures=4)
            run(workspace, 2)
            catalogue(workspace)
        again = run(workspace, 2)
        assert (again.files, again.extra) == (before.files, before.extra)
        kept = {path: path.stat().st_ino for path in merged} == written
        assert kept == (damage == "none")


@pytest.mark.parametrize("damage", ["gone", "altered"])
def test_media_that_are_not_what_the_catalogue_says_are_named(tmp_path: Path, damage: str):
    workspace = Workspace(tmp_path)
    catalogue(workspace)
    path = sorted((tmp_path / "media" / "artworks").rglob("*.png"))[0]
    if damage == "gone":
        path.unlink()
    else:
        path.chmod(0o644)
        path.write_bytes(b"<html>")
    with pytest.raises(BadData, match=path.name):
        run(workspace)


def test_embeddings_out_of_step_are_refused(tmp_path: Path):
    workspace = Workspace(tmp_path)
    with pytest.raises(ValueError, match="ids"):
        save_embeddings(workspace, "x", "tracks", "d", ["a"], np.zeros((2, 3), np.float32))
    save_embeddings(workspace, "x", "tracks", "d", ["a", "b"], np.zeros((2, 3), np.float16))
    matrix = tmp_path / "embeddings" / "x" / "tracks.npy"
    np.save(matrix, np.zeros((3, 3), np.float16))
    with pytest.raises(BadData, match="do not agree"):
        load_embeddings(workspace, "x", "tracks")
    matrix.write_bytes(b"junk")
    with pytest.raises(BadData, match="cannot be read"):
        load_embeddings(workspace, "x", "tracks")
    with pytest.raises(BadData, match="missing"):
        load_embeddings(workspace, "y", "tracks")
