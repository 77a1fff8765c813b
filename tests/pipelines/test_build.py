"""Whole builds of the sample: through Prefect, in one process, and killed at any file."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_builds import run_serially, shard_digests, small_recipe, start_build
from strikes import list_renames, strike

from artsound.recipe import Recipe
from artsound.sample import SamplePaths
from artsound.storage import Workspace

pytestmark = pytest.mark.long

KILLS = int(os.environ.get("ARTSOUND_KILLS", "6"))
STAGES = ("ingest", "embed", "pair", "caption", "shard")  # all that shards hang on


def test_a_build_killed_before_any_file_appears_resumes_to_the_same_bytes(
    sample: SamplePaths, tmp_path: Path
) -> None:
    recipe = small_recipe(sample, limit=5)
    renames = tmp_path / "renames"
    out = tmp_path / "whole"
    whole = start_build(out, recipe, STAGES, list_renames, (f"{out}/*", renames))
    whole.join()
    assert whole.exitcode == 0
    expected = shard_digests(Workspace(out))
    assert len(expected) > 4
    files = renames.read_text().splitlines()
    assert {Path(file).relative_to(out).parts[:2] for file in files} >= {
        ("parts", stage) for stage in STAGES
    }
    chance = random.Random(7)
    for number in range(KILLS):  # each in another stretch of the build
        first, last = number * len(files) // KILLS, (number + 1) * len(files) // KILLS
        place = chance.randrange(first, last)
        out = tmp_path / f"killed-{number}"
        victim = start_build(out, recipe, STAGES, strike, (f"{out}/*", place, signal.SIGKILL))
        victim.join()
        assert victim.exitcode == -signal.SIGKILL
        again = start_build(out, recipe, STAGES)
        again.join()
        assert again.exitcode == 0
        assert shard_digests(Workspace(out)) == expected
        assert not list(out.rglob(".tmp-*"))


def test_on_processes_the_bytes_are_the_same_and_the_console_is_quiet(
    sample: SamplePaths, built: Workspace, tmp_path: Path
) -> None:
    recipe = small_recipe(sample).replaced(run={"runner": "processes", "workers": 2})
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "artsound", "build", "--recipe", str(tmp_path / "recipe.toml"),
         "--out", str(out)],
        capture_output=True, text=True, check=False,
        env=os.environ | {"PREFECT_HOME": str(tmp_path / "prefect")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert shard_digests(Workspace(out)) == shard_digests(built)
    for noise in ("Traceback", "rror", "arning", "locked"):
        assert noise not in done.stderr
    for stage in ("ingest", "embed", "pair", "caption", "shard", "report"):
        assert f"\n {stage} " in done.stdout


def test_another_part_size_and_shard_order_of_work_change_no_byte(
    sample: SamplePaths, built: Workspace, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "out")
    run_serially(workspace, small_recipe(sample).replaced(run={"part_size": 5}))
    assert shard_digests(workspace) == shard_digests(built)


def test_every_usable_clip_has_a_pair_and_everything_is_accounted_for(built: Workspace) -> None:
    from artsound.storage import read_json, read_parquet

    tracks = read_parquet(built.catalog / "tracks.parquet", "track")
    pairs = read_parquet(built.pairs / "pairs.parquet", "pair")
    assert sorted(pairs["track_id"].to_pylist()) == tracks["track_id"].to_pylist()
    official = dict(zip(tracks["track_id"].to_pylist(), tracks["split"].to_pylist(), strict=True))
    assert all(row["split"] == official[row["track_id"]] for row in pairs.to_pylist())
    for stage in ("ingest", "embed", "pair", "caption", "shard", "report"):
        report = read_json(built.runs / f"{stage}.json")
        assert report["items_in"] == report["items_out"] + report["filtered"] + report["failed"]


@pytest.mark.parametrize(
    ("option", "reported"),
    [
        ({"sources": {"artgraph": "nowhere"}}, "nowhere does not exist"),
        ({"sources": {"without": "gone.txt"}}, "gone.txt, a list of ids, cannot be read"),
        ({"sources": {"ids": "gone.txt"}}, "gone.txt, a list of track ids, cannot be read"),
        ({"sources": {"base": "gone"}}, "gone is not a release to continue"),
        ({"pair": {"given": "gone.json"}}, "gone.json is not a file"),
        ({"pair": {"exclude": "gone.parquet"}}, "gone.parquet is not a file"),
        ({"pair": {"concept_bank": "gone.toml"}}, "gone.toml"),
        ({"shards": {"exclude": "gone.parquet"}}, "gone.parquet is not a file"),
        ({"pair": {"bridge": "concepts"}, "embed": {"clip_checkpoint": "gone.pt"}}, "gone.pt"),
        ({"captions": {"tracks": "transformers:gone/../gone"}}, "captions.tracks"),
    ],
)
def test_missing_files_of_a_recipe_are_reported_before_anything_is_done(
    sample: SamplePaths, tmp_path: Path, option: dict[str, dict[str, str]], reported: str
) -> None:
    from artsound.errors import ArtSoundError

    workspace = Workspace(tmp_path / "out")
    with pytest.raises(ArtSoundError, match=re.escape(reported)):
        run_serially(workspace, small_recipe(sample).replaced(**option))
    assert not workspace.catalog.exists()
    assert not (workspace.parts / "ingest").exists()


def test_a_second_build_on_the_same_workspace_is_refused(
    sample: SamplePaths, tmp_path: Path
) -> None:
    from artsound.errors import BadUsage

    workspace = Workspace(tmp_path / "out")
    with workspace.lock(), pytest.raises(BadUsage, match="locked by another build"):
        run_serially(workspace, small_recipe(sample))


def test_real_files_give_a_pair_for_every_usable_clip_inside_the_official_splits(
    shared_data: Path, tmp_path: Path
) -> None:
    from artsound.storage import read_json, read_parquet

    sources = {"artgraph": str(shared_data / "artgraph"), "fma": str(shared_data / "fma")}
    workspace = Workspace(tmp_path / "out")
    run_serially(workspace, Recipe().replaced(sources=sources, run={"runner": "serial"}))
    ingest = read_json(workspace.runs / "ingest.json")
    assert ingest["items_in"] == 575 + 25_014
    assert read_parquet(workspace.pairs / "pairs.parquet", "pair").num_rows == 38
    assert read_parquet(workspace.catalog / "rejects.parquet", "reject").num_rows == 24_976
