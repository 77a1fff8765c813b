from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from artsound.encoders.base import load_embeddings, save_embeddings
from artsound.errors import BadData
from artsound.pairing import match, pair, search
from artsound.pairing.bridge import bridge_rows
from artsound.recipe import Recipe, load_recipe
from artsound.schema import to_table
from artsound.stage import Context, Report, run_stage
from artsound.storage import Workspace, read_parquet, sha256_file, write_bytes, write_parquet

RECIPE = {"pair": {"csls": 5, "candidates": 8, "compare": ["affect"]}}


@pytest.fixture
def workspace(built: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the built sample's catalogue and embeddings, not yet paired."""
    for name in ("catalog", "embeddings"):
        shutil.copytree(built.root / name, tmp_path / "out" / name)
    shutil.copytree(built.parts / "embed", tmp_path / "out" / "parts" / "embed")
    shutil.copytree(built.parts / "ingest", tmp_path / "out" / "parts" / "ingest")
    return Workspace(tmp_path / "out")


def paired(workspace: Workspace, recipe: Recipe) -> Report:
    return run_stage(pair.STAGE, workspace, recipe)


@pytest.fixture
def recipe(built: Workspace) -> Recipe:
    return load_recipe(built.recipe).replaced(**RECIPE)


def test_every_track_gets_an_artwork_and_the_report_adds_up(workspace, recipe):
    report = paired(workspace, recipe)
    pairs = read_parquet(workspace.pairs / "pairs.parquet", "pair")
    unmatched = read_parquet(workspace.pairs / "unmatched.parquet", "unmatched")
    catalogue = pair.split_catalogue(Context(workspace, recipe))
    artworks, tracks = catalogue.artworks, catalogue.tracks
    assert report.items_in == report.items_out == len(tracks.ids) == pairs.num_rows
    assert sorted(pairs["track_id"].to_pylist()) == tracks.ids
    assert len(set(pairs["artwork_id"].to_pylist())) == pairs.num_rows
    assert sorted(pairs["artwork_id"].to_pylist() + unmatched["item_id"].to_pylist()) == (
        sorted(artworks.ids)
    )

    reported = report.extra
    assert reported["overall"]["matched"] == pairs.num_rows
    assert reported["overall"]["total"] == pytest.approx(pc.sum(pairs["score"]).as_py(), rel=1e-5)
    assert (
        reported["overall"]["random"]
        < reported["overall"]["mean"]
        <= reported["overall"]["bound"] + 1e-6
    )
    assert reported["overall"]["greedy"] <= reported["overall"]["bound"]
    assert reported["overall"]["optimality"] >= recipe.pair.optimality
    assert sum(reported["scores"]["matched"]) == pairs.num_rows
    assert len(reported["scores"]["edges"]) == len(reported["scores"]["matched"]) + 1
    assert sum(cell["pairs"] for cell in reported["style_genre"]) == pairs.num_rows
    margins = [row["margin"] for row in reported["most_certain"]]
    assert margins == sorted(margins, reverse=True)
    assert reported["splits"]["train"]["music_to_artwork"]["r10"] > 0
    same = reported["splits"]["train"]["agreement"]["affect"]
    assert same["spearman"] == pytest.approx(1.0)
    assert same["equal_pairs"] == 1.0


def test_matching_stays_inside_the_splits(workspace, recipe):
    paired(workspace, recipe)
    catalogue = pair.split_catalogue(Context(workspace, recipe))
    artworks, tracks = catalogue.artworks, catalogue.tracks
    split_of = dict(zip(artworks.ids, artworks.splits, strict=True))
    split_of_track = dict(zip(tracks.ids, tracks.splits, strict=True))
    for row in read_parquet(workspace.pairs / "pairs.parquet", "pair").to_pylist():
        assert row["split"] == split_of[row["artwork_id"]] == split_of_track[row["track_id"]]
    painters = artworks.rows["painter_id"].to_pylist()
    assert len(set(zip(painters, artworks.splits, strict=True))) == len(set(painters))


def test_scores_ranks_and_margins_are_those_of_the_bridge(workspace, recipe):
    paired(workspace, recipe)
    artwork_ids, a, track_ids, t = bridge_rows("affect", Context(workspace, recipe))
    artworks = pair.split_catalogue(Context(workspace, recipe)).artworks
    split_of = dict(zip(artworks.ids, artworks.splits, strict=True))
    for row in read_parquet(workspace.pairs / "pairs.parquet", "pair").to_pylist():
        vector = t[track_ids.index(row["track_id"])]
        scores = {
            name: float(vector @ a[n])
            for n, name in enumerate(artwork_ids)
            if split_of.get(name) == row["split"]
        }
        own = scores.pop(row["artwork_id"])
        assert row["score"] == pytest.approx(own, abs=1e-5)
        assert row["margin"] == pytest.approx(own - max(scores.values()), abs=1e-5)
        assert 0 <= row["percentile"] <= 1
        assert row["track_rank"] == 1 + sum(score > own + 1e-6 for score in scores.values())
        assert row["bridge"] == "affect"


def test_the_runners_up_of_both_items_are_beside_the_pairs(workspace, recipe):
    paired(workspace, recipe)
    pairs = read_parquet(workspace.pairs / "pairs.parquet", "pair").to_pylist()
    rows = read_parquet(workspace.pairs / "runners_up.parquet", "runner_up").to_pylist()
    best = {(row["track_id"], row["side"]): row for row in rows if row["place"] == 1}
    for pair_row in pairs:
        other = best[pair_row["track_id"], "artwork"]
        assert pair_row["score"] - other["score"] == pytest.approx(pair_row["margin"], abs=1e-5)
        assert other["item_id"] != pair_row["artwork_id"]
        assert best[pair_row["track_id"], "track"]["item_id"] != pair_row["track_id"]


def test_pairing_again_does_nothing_and_pairing_anew_gives_the_same_bytes(workspace, recipe):
    first = paired(workspace, recipe)
    again = paired(workspace, recipe)
    assert again.parts_skipped == again.parts
    shutil.rmtree(workspace.parts / "pair")
    new = paired(workspace, recipe)
    assert new.parts_skipped == 0
    assert new.files == first.files == again.files


# Saves whatever its size, and kills itself after four saves.
KILLED = """
import sys
from pathlib import Path
from artsound.pairing import match, pair
from artsound.recipe import load_recipe
from artsound.stage import run_stage
from artsound.storage import Workspace
from dying import die_after

match.RESUMED = 0
die_after(4)
run_stage(pair.STAGE, Workspace(Path(sys.argv[1])), load_recipe(Path(sys.argv[2])))
"""


def test_a_killed_large_matching_continues_to_the_same_bytes(
    workspace, recipe, tmp_path, monkeypatch
):
    whole = paired(workspace, recipe)
    for folder in (workspace.parts / "pair", workspace.pairs):
        shutil.rmtree(folder)
    write_bytes(tmp_path / "recipe.toml", recipe.to_toml().encode())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED, workspace.root, tmp_path / "recipe.toml"]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = {path.parent.name for path in (workspace.parts / "pair").glob("*.matching/*/*.npz")}
    assert {"pairs", "again"} <= left
    for path in (workspace.parts / "pair").glob("*.matching/again/*.npz"):
        path.write_bytes(b"PK\x03\x04")  # torn: searched again

    scans, scan = [], search._scan_block
    monkeypatch.setattr(search, "_scan_block", lambda *of: scans.append(of) or scan(*of))
    monkeypatch.setattr(match, "RESUMED", 0)
    assert paired(workspace, recipe).files == whole.files
    assert not list((workspace.parts / "pair").glob("*.matching"))
    resumed = len(scans)
    for part in (workspace.parts / "pair").glob("*.json"):
        part.unlink()
    paired(workspace, recipe)
    assert 0 < resumed < len(scans) - resumed


def test_other_vectors_are_paired_again(workspace, recipe):
    paired(workspace, recipe)
    ids, vectors = load_embeddings(workspace, "affect", "tracks")
    save_embeddings(workspace, "affect", "tracks", "other", ids, vectors[::-1].copy())
    assert paired(workspace, recipe).parts_skipped == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("change", ["constant", "one side constant", "duplicates", "opposite"])
def test_descriptors_that_say_little_give_pairs_and_finite_figures(workspace, recipe, change):
    for side in ("artworks", "tracks"):
        ids, vectors = load_embeddings(workspace, "affect", side)
        some = np.arange(len(ids))
        if change == "constant" or (change, side) == ("one side constant", "tracks"):
            vectors = vectors[0 * some]
        elif change == "duplicates":
            vectors = vectors[some // 8 * 8]
        elif change == "opposite":
            vectors = np.where(some[:, None] % 2, vectors[0], 2 * vectors.mean(axis=0) - vectors[0])
        save_embeddings(workspace, "affect", side, change, ids, vectors.astype(np.float32))
    with np.errstate(all="raise", under="ignore"):
        report = paired(workspace, recipe)
    assert report.items_out == report.items_in
    assert report.extra["overall"]["optimality"] == 1.0
    json.dumps(report.extra, allow_nan=False)
    json.dumps(json.loads((workspace.pairs / "fits.json").read_text()), allow_nan=False)
    for name, record in (("pairs", "pair"), ("runners_up", "runner_up")):
        for column in read_parquet(workspace.pairs / f"{name}.parquet", record).columns:
            if pa.types.is_floating(column.type):
                assert pc.all(pc.is_finite(column)).as_py()
    if change == "constant":  # no random pair scores less than another
        pairs = read_parquet(workspace.pairs / "pairs.parquet", "pair")
        assert set(pairs["percentile"].to_pylist()) == {0.0}


def test_a_floor_rejects_tracks_with_a_reason(workspace, recipe):
    before = sha256_file(workspace.catalog / "tracks.parquet")
    report = paired(workspace, recipe.replaced(pair={"floor": 0.97}))
    assert 0 < report.filtered < report.items_in
    unmatched = read_parquet(workspace.pairs / "unmatched.parquet", "unmatched").to_pylist()
    reasons = Counter(row["reason"] for row in unmatched if row["side"] == "track")
    assert reasons == {"below-floor": report.filtered}
    scores = read_parquet(workspace.pairs / "pairs.parquet", "pair")["score"]
    assert pc.min(scores).as_py() >= 0.97 - 1e-6
    assert sha256_file(workspace.catalog / "tracks.parquet") == before


def test_a_floor_that_nothing_reaches_leaves_no_pair(workspace, recipe):
    report = paired(workspace, recipe.replaced(pair={"floor": 1.0}))
    assert report.items_out == 0
    assert read_parquet(workspace.pairs / "pairs.parquet", "pair").num_rows == 0


def test_fewer_artworks_than_tracks_names_the_split_and_the_ways_out(workspace, recipe):
    path = workspace.catalog / "artworks.parquet"
    artworks = read_parquet(path, "artwork")
    write_parquet(path, "artwork", artworks.take(list(range(0, artworks.num_rows, 8))))
    reported = r"train split has \d+ tracks but only \d+ artworks: .* raise pair.artwork_uses"
    with pytest.raises(BadData, match=reported):
        paired(workspace, recipe)
    report = paired(workspace, recipe.replaced(pair={"artwork_uses": 30}))
    assert report.items_out == report.items_in


def test_no_track_at_all_is_reported(workspace, recipe):
    path = workspace.catalog / "tracks.parquet"
    write_parquet(path, "track", to_table("track", []))
    with pytest.raises(BadData, match=r"tracks.parquet has no usable track"):
        paired(workspace, recipe)


def test_items_without_vectors_are_reported(workspace, recipe):
    ids, vectors = load_embeddings(workspace, "affect", "artworks")
    save_embeddings(workspace, "affect", "artworks", "x", ids[1:], vectors[1:].copy())
    with pytest.raises(BadData, match=f"{ids[0]} has no vector .*artsound embed"):
        paired(workspace, recipe)


def test_a_split_without_tracks_keeps_its_artworks_apart(workspace, recipe):
    path = workspace.catalog / "tracks.parquet"
    tracks = read_parquet(path, "track")
    write_parquet(path, "track", tracks.filter(pc.equal(tracks["split"], "train")))
    report = paired(workspace, recipe)
    assert set(report.extra["splits"]) == {"train"}
    unmatched = read_parquet(workspace.pairs / "unmatched.parquet", "unmatched").to_pylist()
    idle = {row["split"] for row in unmatched if row["reason"] == "split-without-tracks"}
    assert idle == {"val", "test"}
