from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from artsound.cli import app
from artsound.shards.dataset import open_shards
from artsound.shards.index import read_shard_index, shards_of, write_index
from artsound.shards.release import Difference, changelog, diff
from artsound.shards.store import LocalStore
from artsound.shards.subset import write_shards
from artsound.storage import Workspace


def test_a_release_does_not_differ_from_itself(built: Workspace) -> None:
    found = diff(str(built.shards), str(built.shards))
    names = tuple(sorted(shard.name for shard in open_shards(built.shards).shards))
    assert found == Difference(shards_kept=names)


def test_removed_pairs_are_added_the_other_way_round(built: Workspace, tmp_path: Path) -> None:
    everything = open_shards(built.shards)
    gone = everything.frame["key"].to_list()[:2]
    write_shards(everything.without(gone), tmp_path / "new", pairs_per_shard=6)
    there = diff(str(built.shards), str(tmp_path / "new"))
    back = diff(str(tmp_path / "new"), str(built.shards))
    assert there.removed == back.added == tuple(sorted(gone))
    assert there.added == back.removed == ()
    assert all(f"- {key}" in changelog(there) for key in gone)


def test_changed_captions_scores_and_artworks_are_distinguished(
    built: Workspace, tmp_path: Path
) -> None:
    data = open_shards(built.shards)
    keys = data.frame["key"].to_list()[:3]

    def altered(column: str, key: str, value: pl.Expr) -> pl.Expr:
        return pl.when(pl.col("key") == key).then(value).otherwise(pl.col(column)).alias(column)

    rows = data.frame.with_columns(
        altered("track_caption", keys[0], pl.lit("Another text.")),
        altered("score", keys[1], pl.col("score") - 0.5),
        altered("artwork_id", keys[2], pl.lit("another.jpg")),
    )
    (tmp_path / "new").mkdir()
    shards = shards_of(read_shard_index(LocalStore(built.shards)))
    write_index(tmp_path / "new", "artsound", "", shards, rows.to_arrow())
    found = diff(str(built.shards), str(tmp_path / "new"))
    assert (found.recaptioned, found.rescored, found.moved) == ((keys[0],), (keys[1],), (keys[2],))


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_prints_counts_and_writes_a_changelog(
    built: Workspace, tmp_path: Path, as_json: bool
) -> None:
    file = tmp_path / "CHANGELOG.md"
    arguments = ["diff", str(built.shards), str(built.shards), "--changelog", str(file)]
    result = CliRunner().invoke(app, [*arguments, *(["--json"] if as_json else [])])
    assert result.exit_code == 0, result.output
    assert file.read_text().startswith("# Changes\n")
    if as_json:
        assert json.loads(result.output.splitlines()[-1])["added"] == []
