from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import artsound
from artsound.cli import app
from artsound.errors import BadData, BadUsage
from artsound.shards.verify import verify
from artsound.shards.withdraw import CHANGELOG, traces, withdraw
from artsound.storage import sha256_file

Make = Callable[..., Path]


@pytest.fixture
def release(make: Make) -> Path:
    return make({"train": [5, 5, 5], "val": [4], "test": [1]})


def digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir())}


def test_only_shards_that_held_a_withdrawn_pair_change(release: Path, tmp_path: Path) -> None:
    frame = artsound.open(str(release)).frame
    track, artwork = frame.row(1, named=True), frame.row(3, named=True)
    assert track["shard"] == artwork["shard"]
    found = withdraw(release, tmp_path / "next", [track["key"], artwork["artwork_id"]])
    assert set(found.removed) == {track["key"], artwork["key"]}
    assert found.shards_changed == (track["shard"],)
    before, after = digests(release), digests(tmp_path / "next")
    same = set(found.shards_kept)
    assert len(same) == 4
    assert all(before[name] == after[name] for name in same)
    assert verify(tmp_path / "next", deep=True) == []
    kept = frame.filter(~pl.col("key").is_in([track["key"], artwork["key"]]))
    now = artsound.open(str(tmp_path / "next"))
    assert now.frame["key"].to_list() == kept["key"].to_list()
    for number, key in enumerate(kept["key"]):
        old = artsound.open(str(release)).filter(f"key = '{key}'").read(0)
        assert now.read(number) == old
    assert track["key"] in (tmp_path / "next" / CHANGELOG).read_text()


def test_the_same_takedown_gives_the_same_bytes(release: Path, tmp_path: Path) -> None:
    ids = artsound.open(str(release)).frame["key"][:2].to_list()
    withdraw(release, tmp_path / "one", ids)
    withdraw(release, tmp_path / "two", ids)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_a_withdrawn_item_is_nowhere_in_the_release_and_a_trace_would_be_found(
    release: Path, tmp_path: Path
) -> None:
    row = artsound.open(str(release)).frame.row(0, named=True)
    ids = tmp_path / "takedown.txt"
    ids.write_text(row["artwork_id"])
    told = CliRunner().invoke(
        app, ["withdraw", str(release), str(ids), "--out", str(tmp_path / "next"), "--json"]
    )
    assert told.exit_code == 0, told.output
    assert json.loads(told.output.splitlines()[-1])["removed"] == [row["key"]]
    needles = [row["artwork_id"]]  # the fixture's pictures and clips are used by several pairs
    assert traces(tmp_path / "next", needles, [row["key"]]) == []
    assert set(traces(release, needles)) >= {row["shard"], "index.parquet"}
    assert "croissant.json" in digests(tmp_path / "next")
    shutil.copy(release / row["shard"], tmp_path / "next" / "forgotten.tar")
    assert traces(tmp_path / "next", needles) == ["forgotten.tar"]
    assert traces(tmp_path / "next", [], [row["key"]]) == ["forgotten.tar"]


def test_a_shard_of_which_nothing_is_left_is_gone(release: Path, tmp_path: Path) -> None:
    frame = artsound.open(str(release)).frame
    only = frame.filter(pl.col("split") == "test")["key"].to_list()
    found = withdraw(release, tmp_path / "next", only)
    assert found.shards_gone == ("artsound-test-000000.tar",)
    assert verify(tmp_path / "next") == []


def test_a_list_that_names_nothing_everything_or_a_folder_in_use_is_refused(
    release: Path, tmp_path: Path
) -> None:
    keys = artsound.open(str(release)).frame["key"].to_list()
    with pytest.raises(BadUsage, match="none of the 1 listed"):
        withdraw(release, tmp_path / "next", ["999999"])
    with pytest.raises(BadData, match="Nothing would be left"):
        withdraw(release, tmp_path / "next", keys)
    with pytest.raises(BadUsage, match="in use"):
        withdraw(release, release, keys[:1])
    assert not (tmp_path / "next").exists()
