"""Published pairs used in place of a matching of our own, on a build of the sample."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given as over
from hypothesis import strategies as st
from small_builds import run_serially

from artsound.errors import BadData, BadUsage
from artsound.pairing import pair
from artsound.pairing.splits import SPLITS, split_imported
from artsound.recipe import Recipe, load_recipe
from artsound.reports.report import STAGE as REPORT
from artsound.shards.dataset import open_shards
from artsound.shards.verify import verify
from artsound.stage import run_stage
from artsound.storage import Workspace, read_parquet


@pytest.fixture
def workspace(built: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the built sample's catalogue and embeddings, not yet paired."""
    for name in ("catalog", "embeddings", "parts/embed", "parts/ingest"):
        shutil.copytree(built.root / name, tmp_path / "out" / name)
    return Workspace(tmp_path / "out")


def items(workspace: Workspace) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return tuple(  # type: ignore[return-value]
        read_parquet(workspace.catalog / f"{side}s.parquet", side).to_pylist()
        for side in ("artwork", "track")
    )


def published(folder: Path, rows: list[tuple[str, object]]) -> str:
    """Rows as Art2Mus publishes them: the path of the file."""
    columns = {
        "Image": {str(n): image for n, (image, _) in enumerate(rows)},
        "Audio": {str(n): audio for n, (_, audio) in enumerate(rows)},
    }
    path = folder / "pairs.json"
    path.write_text(json.dumps(columns))
    return str(path)


def clip_of(track: str) -> str:
    return f"some/fma_large/{track[:3]}/{track}.mp3"


def paired(workspace: Workspace, path: str, **pair_keys: Any) -> tuple[Any, list[dict[str, Any]]]:
    recipe = load_recipe(workspace.root.parent / "recipe.toml")
    recipe = recipe.replaced(pair={"given": path, **pair_keys}, sources={"limit": 0})
    report = run_stage(pair.STAGE, workspace, recipe)
    rejects = read_parquet(workspace.catalog / "rejects.parquet", "reject").to_pylist()
    return report, [row for row in rejects if row["stage"] == "pair"]


@pytest.fixture(autouse=True)
def _recipe(built: Workspace, tmp_path: Path) -> None:
    shutil.copy(built.recipe, tmp_path / "recipe.toml")


def test_every_row_becomes_a_pair_or_falls_out_with_its_reason(workspace, tmp_path):
    artworks, tracks = items(workspace)
    train = [track["track_id"] for track in tracks if track["split"] == "train"]
    works = [work["artwork_id"] for work in artworks]
    rejected = next(
        row["item_id"]
        for row in read_parquet(workspace.catalog / "rejects.parquet", "reject").to_pylist()
        if row["side"] == "artwork"
    )
    rows = [
        (works[0], clip_of(train[0])),
        ("folder/" + works[1].rpartition(".")[0], train[1]),
        (works[2], clip_of(train[0])),  # the track again
        (works[0], clip_of(train[2])),  # the artwork again
        ("nobody_nothing-1900.jpg", clip_of(train[3])),
        (works[3], clip_of("999999")),
        (rejected, clip_of(train[4])),
        (works[4], "not-a-track.mp3"),
        ("", clip_of(train[5])),
    ]
    report, rejects = paired(workspace, published(tmp_path, rows))
    pairs = read_parquet(workspace.pairs / "pairs.parquet", "pair").to_pylist()
    assert report.items_in == len(rows) == report.items_out + len(rejects)
    assert [(row["artwork_id"], row["track_id"]) for row in pairs] == sorted(
        [(works[0], train[0]), (works[1], train[1])], key=lambda found: found[1]
    )
    assert {row["method"] for row in pairs} == {"given"}
    assert {row["item_id"]: row["reason"] for row in rejects} == {
        "row-0000003": "track-repeated",
        "row-0000004": "artwork-repeated",
        "row-0000005": "artwork-unknown",
        "row-0000006": "track-unknown",
        "row-0000007": "artwork-unusable",
        "row-0000008": "unreadable",
        "row-0000009": "unreadable",
    }
    unmatched = read_parquet(workspace.pairs / "unmatched.parquet", "unmatched").to_pylist()
    counted = Counter((row["side"], row["reason"]) for row in unmatched)
    assert counted == {
        ("artwork", "no-given-pair"): len(works) - 2,
        ("track", "no-given-pair"): len(tracks) - 2,
    }
    shared = paired(workspace, published(tmp_path, rows), artwork_uses=2)[1]
    assert "artwork-repeated" not in {row["reason"] for row in shared}


def test_scores_are_those_of_the_bridge_and_a_floor_holds(workspace, tmp_path):
    artworks, tracks = items(workspace)
    train = [track["track_id"] for track in tracks if track["split"] == "train"]
    rows = [(work["artwork_id"], track) for work, track in zip(artworks, train, strict=False)]
    path = published(tmp_path, rows)
    report, _ = paired(workspace, path)
    pairs = read_parquet(workspace.pairs / "pairs.parquet", "pair").to_pylist()
    scores = sorted(row["score"] for row in pairs)
    overall = report.extra["overall"]
    assert overall["mean"] <= overall["bound"] + 1e-6
    assert all(row["track_rank"] >= 1 and row["artwork_rank"] >= 1 for row in pairs)
    again, _ = paired(workspace, path)
    assert again.parts_skipped == again.parts
    middle = (scores[len(scores) // 2 - 1] + scores[len(scores) // 2]) / 2
    _, rejects = paired(workspace, path, floor=middle)
    kept = read_parquet(workspace.pairs / "pairs.parquet", "pair").to_pylist()
    assert sorted(row["score"] for row in kept) == [score for score in scores if score >= middle]
    assert Counter(row["reason"] for row in rejects) == {"below-floor": len(scores) - len(kept)}


def test_no_painter_crosses_a_split(workspace, tmp_path):
    artworks, tracks = items(workspace)
    painter_of = {work["artwork_id"]: work["painter_id"] for work in artworks}
    rows = [
        (work["artwork_id"], track["track_id"])
        for work, track in zip(artworks, reversed(tracks), strict=False)
    ]
    _, rejects = paired(workspace, published(tmp_path, rows))
    pairs = read_parquet(workspace.pairs / "pairs.parquet", "pair").to_pylist()
    homes: dict[str, set[str]] = {}
    for row in pairs:
        homes.setdefault(painter_of[row["artwork_id"]], set()).add(row["split"])
    assert pairs
    assert all(len(splits) == 1 for splits in homes.values())
    assert {row["reason"] for row in rejects} == {"split-crossed"}
    assert len(pairs) + len(rejects) == len(rows)


@over(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("uvw"), st.sampled_from(SPLITS)),
        max_size=30,
    )
)
def test_a_painter_goes_where_most_of_its_pairs_are(rows: list[tuple[str, str, str]]) -> None:
    painters = [painter for painter, _, _ in rows]
    splits = [split for _, _, split in rows]
    works = [str(n) for n in range(len(rows))]
    homes = split_imported(painters, works, works, splits)
    for painter in set(painters):
        mine = [split for other, split in zip(painters, splits, strict=True) if other == painter]
        own = {home for other, home in zip(painters, homes, strict=True) if other == painter}
        assert len(own) == 1
        assert mine.count(own.pop()) == max(mine.count(split) for split in SPLITS)
    together = split_imported(painters, works, [cluster for _, cluster, _ in rows], splits)
    for cluster in "uvw":
        assert (
            len({home for (_, c, _), home in zip(rows, together, strict=True) if c == cluster}) < 2
        )


def test_pairs_continue_through_captions_shards_and_report(sample, workspace, tmp_path):
    artworks, tracks = items(workspace)
    train = [track["track_id"] for track in tracks if track["split"] == "train"][:8]
    frame = pl.DataFrame(
        {"artwork_id": [work["artwork_id"] for work in artworks[:8]], "track_id": train}
    )
    frame.write_parquet(tmp_path / "pairs.parquet")
    recipe = load_recipe(tmp_path / "recipe.toml").replaced(
        pair={"given": str(tmp_path / "pairs.parquet")}, sources={"limit": 0}
    )
    whole = Workspace(tmp_path / "whole")
    reports = {report.stage: report for report in run_serially(whole, recipe)}
    assert reports["ingest"].items_in == 16  # nothing else is read
    assert reports["pair"].items_out == 8
    assert verify(str(whole.shards), deep=True) == []
    found = open_shards(str(whole.shards)).frame
    assert sorted(found["track_id"].to_list()) == train
    assert (whole.report / "index.html").is_file()
    assert REPORT.name in reports


def test_nothing_usable_is_reported_with_the_reasons(workspace, tmp_path):
    path = published(tmp_path, [("no_one.jpg", 3), ("no_two.jpg", 4)])
    with pytest.raises(BadData, match=r"None of the 2 pairs .* 2 × artwork-unknown"):
        paired(workspace, path)


def test_a_file_that_is_missing_is_reported(workspace, tmp_path):
    with pytest.raises(BadUsage, match="is not a file"):
        paired(workspace, str(tmp_path / "absent.json"))


def test_the_path_of_the_file_decides_nothing(tmp_path):
    recipe = Recipe()
    assert recipe.replaced(pair={"given": "elsewhere.json"}).digest() == recipe.digest()
