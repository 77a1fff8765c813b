from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from artsound.cli import app
from artsound.errors import BadUsage
from artsound.reports.why import why
from artsound.storage import Workspace


def test_the_parts_of_a_score_add_up_and_everything_is_named(built: Workspace) -> None:
    pairs = pl.read_parquet(built.pairs / "pairs.parquet")
    pair = pairs.row(3, named=True)
    found = why(built.root, pair["track_id"])
    assert found["pair"] == pair
    assert sum(part["share"] for part in found["parts"]) == pytest.approx(pair["score"], abs=1e-5)
    assert {"arousal", "valence"} <= {part["name"] for part in found["parts"]}
    assert all(0 <= part[side] <= 1 for part in found["parts"] for side in ("artwork", "track"))
    assert found["artwork"]["artwork_id"] == pair["artwork_id"]
    assert len(found["artwork"]["image_sha256"]) == len(found["track"]["audio_sha256"]) == 64
    others = found["runners_up"]
    assert {one["item_id"] for one in others["artwork"]} <= set(pairs["track_id"])
    titles = pl.read_parquet(built.catalog / "tracks.parquet").rows_by_key("track_id", named=True)
    for one in others["artwork"]:
        assert one["name"].endswith(f": {titles[one['item_id']][0]['title']}")
    best = others["track"][0]
    assert best["score"] == pytest.approx(pair["score"] - pair["margin"], abs=1e-5)


def test_the_command_prints_within_80_columns_and_json_alone(built: Workspace) -> None:
    key = pl.read_parquet(built.pairs / "pairs.parquet")["track_id"][0]
    shown = CliRunner().invoke(app, ["why", key, "--out", str(built.root)])
    assert shown.exit_code == 0, shown.output
    assert "random pairs" in shown.output
    assert max(map(len, shown.output.splitlines())) <= 80
    plain = CliRunner().invoke(app, ["why", key, "--out", str(built.root), "--json"])
    assert json.loads(plain.stdout)["key"] == key
    with pytest.raises(BadUsage, match="has no pair"):
        why(built.root, f"{key}9")
    with pytest.raises(BadUsage, match="artsound build"):
        why(Path("nowhere"), key)
