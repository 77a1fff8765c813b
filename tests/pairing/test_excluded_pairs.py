from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from typer.testing import CliRunner

from artsound.cli import app
from artsound.errors import BadUsage
from artsound.pairing import pair
from artsound.pairing.excluded import excluded_keys, excluded_within
from artsound.pairing.match import audit, match
from artsound.recipe import Recipe, load_recipe
from artsound.stage import Context, run_stage
from artsound.storage import Workspace, read_parquet, write_parquet


def planted(tracks: int, artworks: int, seed: int = 0, width: int = 24):
    """Sides in which track n is closest to artwork n."""
    generator = np.random.default_rng(seed)
    a = generator.standard_normal((artworks, width))
    t = a[:tracks] + 0.3 * generator.standard_normal((tracks, width))
    return tuple(
        (side / np.linalg.norm(side, axis=1, keepdims=True)).astype(np.float32) for side in (t, a)
    )


def best_without(t: np.ndarray, a: np.ndarray, excluded: np.ndarray) -> float:
    """The largest total of which scipy knows, the excluded pairs taken out."""
    scores = (t @ a.T).astype(np.float64)
    scores.ravel()[excluded] = -1000
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return float(scores[rows, columns].sum())


@pytest.mark.parametrize("count", [4, 16])
def test_a_barred_pair_is_not_made_and_the_rest_is_the_optimum_without_it(count):
    t, a = planted(200, 230)
    free = match(t, a, count=count, optimality=1.0).assignment.artworks
    excluded = np.arange(0, 200, 7) * 230 + free[::7]
    found = match(t, a, count=count, optimality=1.0, excluded=excluded)
    chosen = found.assignment.artworks
    assert (chosen >= 0).all()
    assert len(set(chosen.tolist())) == 200
    assert not np.isin(np.arange(200) * 230 + chosen, excluded).any()
    assert found.weight == pytest.approx(best_without(t, a, excluded), rel=2e-6)
    assert found.audit.bound == pytest.approx(found.weight, rel=2e-6)  # which proves it


def test_a_track_all_of_whose_candidates_are_barred_gets_another_artwork():
    t, a = planted(60, 80)
    nearest = np.argsort(-(t[3] @ a.T))[:40]
    excluded = np.sort(3 * 80 + nearest)
    found = match(t, a, count=4, optimality=1.0, excluded=excluded)
    assert found.assignment.artworks[3] not in nearest
    assert found.weight == pytest.approx(best_without(t, a, excluded), rel=2e-6)


def test_the_bound_holds_where_all_that_the_audit_lists_for_a_track_is_barred():
    t, a = planted(20, 30)
    excluded = np.sort(3 * 30 + np.argsort(-(t[3] @ a.T))[:8])
    chosen = match(t, a, count=4, optimality=1.0, excluded=excluded).assignment.artworks
    none = np.zeros(30)
    looked = audit(t, a, chosen, penalties=none, prices=none, offers=8, excluded=excluded)
    assert looked.bound >= best_without(t, a, excluded) - 1e-5


def test_a_track_that_every_artwork_is_barred_from_has_none():
    t, a = planted(20, 30)
    excluded = 5 * 30 + np.arange(30)
    chosen = match(t, a, count=4, excluded=excluded).assignment.artworks
    assert np.flatnonzero(chosen < 0).tolist() == [5]
    alone = match(t[:1], a[:1], count=4, excluded=np.array([0]))
    assert alone.assignment.artworks.tolist() == [-1]
    assert not alone.listed.any()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(0, 6), st.integers(0, 10_000), st.data())
def test_no_pair_is_ever_a_barred_one(tracks, spare, seed, data):
    t, a = planted(tracks, tracks + spare, seed)
    every = st.integers(0, len(t) * len(a) - 1)
    excluded = np.array(sorted(data.draw(st.sets(every, max_size=len(t) * len(a)))), dtype=np.int64)
    chosen = match(t, a, count=3, optimality=1.0, excluded=excluded).assignment.artworks
    matched = np.flatnonzero(chosen >= 0)
    assert not np.isin(matched * len(a) + chosen[matched], excluded).any()
    # As many tracks are matched as can be without those pairs.
    allowed = np.ones((len(t), len(a)))
    allowed.ravel()[excluded] = 0
    rows, columns = linear_sum_assignment(allowed, maximize=True)
    assert len(matched) == allowed[rows, columns].sum()


def test_keys_are_those_of_the_items_at_hand():
    pairs = [(7, "b"), (3, "c"), (9, "a"), (3, "elsewhere")]
    keys = excluded_keys(pairs, [3, 7], ["a", "b", "c"])
    assert keys.tolist() == [2, 4]
    assert excluded_within(keys, 3, np.array([1]), np.array([1, 2])).tolist() == [0]
    assert excluded_keys([], [3], ["a"]).dtype == np.int64


@pytest.fixture
def workspace(built: Workspace, tmp_path: Path) -> Workspace:
    """The built sample's catalogue, embeddings and pairs, to be paired again."""
    for name in ("catalog", "embeddings", "pairs", "parts"):
        shutil.copytree(built.root / name, tmp_path / "out" / name)
    return Workspace(tmp_path / "out")


def excluding(path: Path, pairs: list[dict], recipe: Recipe) -> Recipe:
    reported = {"rating": 1.0, "ratings": 1, "accepted": 0, "rejected": 1}
    rows = [
        {"key": p["track_id"], **{k: p[k] for k in ("track_id", "artwork_id")}, **reported}
        for p in pairs
    ]
    write_parquet(path, "exclusion", rows)
    return recipe.replaced(pair={"exclude": str(path)})


def test_the_next_build_makes_other_pairs_of_what_judges_rejected(built, workspace, tmp_path):
    before = read_parquet(workspace.pairs / "pairs.parquet", "pair").to_pylist()
    unfit = [p for p in before if p["split"] == "val"][:2]
    recipe = excluding(tmp_path / "unfit.parquet", unfit, load_recipe(built.recipe))
    report = run_stage(pair.STAGE, workspace, recipe)
    after = read_parquet(workspace.pairs / "pairs.parquet", "pair").to_pylist()
    assert report.items_out == len(after) == len(before)
    artwork_of = {p["track_id"]: p["artwork_id"] for p in after}
    assert all(artwork_of[p["track_id"]] != p["artwork_id"] for p in unfit)
    # Only the split of the rejected pairs was matched again.
    assert [p for p in before if p["split"] != "val"] == [p for p in after if p["split"] != "val"]


def test_the_command_takes_the_list_and_the_workspace_remembers_it(built, workspace, tmp_path):
    shutil.copy(built.recipe, workspace.recipe)
    [unfit, *_] = read_parquet(workspace.pairs / "pairs.parquet", "pair").to_pylist()
    excluding(tmp_path / "unfit.parquet", [unfit], load_recipe(built.recipe))
    options = ["--out", str(workspace.root), "--exclude-pairs", str(tmp_path / "unfit.parquet")]
    done = CliRunner().invoke(app, ["pair", *options])
    assert done.exit_code == 0, done.output
    assert load_recipe(workspace.recipe).pair.exclude == str(tmp_path / "unfit.parquet")
    after = read_parquet(workspace.pairs / "pairs.parquet", "pair").to_pylist()
    made = {(p["track_id"], p["artwork_id"]) for p in after}
    assert (unfit["track_id"], unfit["artwork_id"]) not in made
    assert unfit["track_id"] in {track for track, _ in made}


def test_a_track_for_which_nothing_is_left_says_that_pairs_were_excluded(
    built, workspace, tmp_path
):
    recipe = load_recipe(built.recipe)
    catalogue = pair.split_catalogue(Context(workspace, recipe))
    track = next(n for n, split in enumerate(catalogue.tracks.splits) if split == "test")
    rows = [
        {"track_id": catalogue.tracks.ids[track], "artwork_id": artwork}
        for artwork in catalogue.artworks.ids
    ]
    run_stage(pair.STAGE, workspace, excluding(tmp_path / "unfit.parquet", rows, recipe))
    rejects = read_parquet(workspace.catalog / "rejects.parquet", "reject").to_pylist()
    reported = [(r["item_id"], r["reason"]) for r in rejects if r["stage"] == "pair"]
    assert reported == [(catalogue.tracks.ids[track], "judged-unfit")]


def test_a_file_that_is_no_list_is_an_error_and_imported_pairs_take_no_list(
    built, workspace, tmp_path
):
    recipe = load_recipe(built.recipe)
    with pytest.raises(BadUsage, match=r"nothing\.parquet is not a file"):
        run_stage(pair.STAGE, workspace, recipe.replaced(pair={"exclude": "nothing.parquet"}))
    given_too = recipe.replaced(pair={"exclude": "unfit.parquet", "given": "pairs.csv"})
    with pytest.raises(BadUsage, match=r"shards\.exclude"):
        run_stage(pair.STAGE, workspace, given_too)


def test_a_continued_release_gives_up_the_pairs_that_judges_rejected(built, workspace, tmp_path):
    before = read_parquet(workspace.pairs / "pairs.parquet", "pair").to_pylist()
    unfit = [p for p in before if p["split"] == "train"][:3]
    recipe = load_recipe(built.recipe).replaced(sources={"base": str(built.root)})
    run_stage(pair.STAGE, workspace, excluding(tmp_path / "unfit.parquet", unfit, recipe))
    after = read_parquet(workspace.pairs / "pairs.parquet", "pair").to_pylist()
    assert {p["method"] for p in after if p["split"] != "train"} == {"kept"}
    changed = [
        old["track_id"]
        for old, new in zip(before, after, strict=True)
        if old["artwork_id"] != new["artwork_id"]
    ]
    assert changed == [p["track_id"] for p in unfit]
