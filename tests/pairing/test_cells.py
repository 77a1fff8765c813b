from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artsound.pairing import cells
from artsound.pairing.evidence import stability
from artsound.pairing.match import evaluate_match, match, track_ranks
from artsound.pairing.search import find_candidates


def on_circles(count: int, axes: int, seed: int) -> np.ndarray:
    """Unit rows like those of the affect bridge, more of them in some places than in others."""
    generator = np.random.default_rng(seed)
    angles = np.pi * generator.beta(0.5, 0.8, (count, axes))
    rows = np.concatenate([np.cos(angles), np.sin(angles)], axis=1) / np.sqrt(axes)
    return rows.astype(np.float32)


def plain_scores(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """All scores, summed from the left in float32."""
    scores = rows[:, :1] * columns[:, 0]
    for k in range(1, rows.shape[1]):
        scores = scores + rows[:, k : k + 1] * columns[:, k]
    return scores


def plain_best(worth: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-worth, axis=1, kind="stable")[:, :size]
    best = np.take_along_axis(worth, order, axis=1)
    return np.where(best > -np.inf, order, -1), best


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 300), st.integers(1, 300), st.integers(1, 8), st.integers(1, 90),
    st.sampled_from(["circles", "ties", "lengths"]), st.integers(1, 3), st.integers(0, 10_000),
)  # fmt: skip
def test_the_best_are_those_of_all_pairs_to_the_last_bit(
    n_rows, n_columns, width, size, kind, threads, seed
):
    generator = np.random.default_rng(seed)
    if kind == "circles":
        rows, columns = on_circles(n_rows, 2, seed), on_circles(n_columns, 2, seed + 1)
    elif kind == "ties":  # and equal rows
        rows = generator.integers(-1, 2, (n_rows, width)).astype(np.float32)
        columns = generator.integers(-1, 2, (n_columns, width)).astype(np.float32)
    else:
        rows, columns = (
            (generator.standard_normal((n, width)) * 10.0 ** generator.integers(-3, 3)).astype("f4")
            for n in (n_rows, n_columns)
        )
    scores = plain_scores(rows, columns)
    off = generator.choice([0.0, 0.25, 1.0, np.inf], n_columns).astype(np.float32)
    floor = float(np.quantile(scores, generator.random()))
    keys = np.unique(generator.integers(n_rows * n_columns, size=n_rows * 3))
    some, apart = np.divmod(keys, n_columns)

    found = cells.best_columns(rows, columns, size, threads=threads)
    wanted = plain_best(scores, size)
    listed = min(size, n_columns)
    assert (found[0][:, :listed] == wanted[0]).all()
    assert (found[1][:, :listed] == wanted[1]).all()
    assert (found[0][:, listed:] == -1).all()

    found = cells.best_columns(
        rows, columns, listed, off, floor=floor, excluded=(some, apart), threads=threads
    )
    hidden = np.where(scores < np.float32(floor), -np.inf, scores)
    hidden[some, apart] = -np.inf
    wanted = plain_best(hidden - off, listed)
    assert (found[0] == wanted[0]).all()
    assert (found[1] == wanted[1]).all()

    limits = generator.permutation(scores.ravel())[:n_rows] + np.float32([[0.0], [0.1]])
    limits[:, generator.random(n_rows) < 0.1] = np.inf
    above = cells.count_above(rows, columns, limits, threads)
    assert (above == (scores > limits[:, :, None]).sum(axis=2)).all()


def test_most_pairs_of_near_rows_are_not_compared():
    """Bounds that rule nothing out would be right, too."""
    rows, columns = on_circles(4000, 2, 0), on_circles(4400, 2, 1)
    mine, theirs = cells.cells_of(rows), cells.cells_of(columns)
    assert sorted(mine.order.tolist()) == list(range(4000))
    far = np.sqrt(((mine.centres[:, :, None] - theirs.centres[:, None]) ** 2).sum(axis=0))
    apart = far > mine.radii[:, None] + theirs.radii
    assert apart.mean() > 0.8
    values = mine.values.T.astype(np.float64)
    cell = np.arange(4000) // cells.SIZE
    away = np.sqrt(((values - mine.centres.T[cell]) ** 2).sum(axis=1))
    assert (away <= mine.radii[cell]).all()


@pytest.mark.parametrize("uses", [1, 3])
def test_a_matching_by_cells_is_that_of_all_pairs(monkeypatch, uses):
    t, a = on_circles(500, 2, 3), on_circles(540, 2, 4)
    excluded = np.unique(np.random.default_rng(0).integers(500 * 540, size=4000))
    options = {"count": 8, "uses": uses, "floor": 0.97, "excluded": excluded, "optimality": 1.0}
    plain, places = match(t, a, **options), track_ranks(t, a, np.arange(500))
    lists = find_candidates(t, a, 8)
    monkeypatch.setattr(cells, "LEAST_PAIRS", 0)
    found = match(t, a, **options)
    assert uses > 1 or found.rounds > 1
    assert found.matched == plain.matched == found.audit.most
    assert found.weight == pytest.approx(plain.weight, rel=1e-6)
    assert found.audit.bound == pytest.approx(plain.audit.bound, rel=1e-6)
    looked = match(t, a, ranks=False, **options)
    assert looked.audit.bound == pytest.approx(plain.audit.bound, rel=1e-6)
    for mine, other in zip(track_ranks(t, a, np.arange(500)), places, strict=True):
        assert (mine == other).all()
    near = find_candidates(t, a, 8)
    for name in ("artwork_scores", "track_scores"):
        assert np.abs(getattr(near, name) - getattr(lists, name)).max() < 1e-6


@pytest.mark.parametrize("by_cells", [True, False])
def test_ranks_of_tracks_alone_are_those_of_an_audit(monkeypatch, by_cells):
    t, a = on_circles(300, 2, 5), on_circles(310, 2, 6)
    t[7] = t[8]
    chosen = np.random.default_rng(0).permutation(310)[:300]
    chosen[::11] = -1
    monkeypatch.setattr(cells, "LEAST_PAIRS", 0 if by_cells else 10**9)
    ranks, ties = track_ranks(t, a, chosen)
    scores = plain_scores(t, a)
    own = scores[np.arange(300), chosen][:, None]
    fewer, more = ((scores > own + near).sum(axis=1) for near in (1e-6, -1e-6))
    assert (ranks == np.where(chosen >= 0, fewer + 1, 0)).all()
    assert (ties == np.where(chosen >= 0, more - fewer - 1, 0)).all()


@pytest.mark.parametrize("uses", [1, 3])
def test_given_pairs_are_evaluated_as_by_comparing_all(monkeypatch, uses):
    t, a = on_circles(400, 2, 7), on_circles(430, 2, 8)
    near = np.argsort(-plain_scores(t, a), axis=1)[:, :40]
    chosen = near[np.arange(400), np.random.default_rng(9).integers(40, size=400)]
    chosen[::9] = -1
    monkeypatch.setattr(cells, "LEAST_PAIRS", 0)
    ours, steady = evaluate_match(t, a, chosen, count=8, uses=uses), stability(t, a, chosen, None)
    monkeypatch.setattr(cells, "LEAST_PAIRS", 10**9)
    plain = evaluate_match(t, a, chosen, count=8, uses=uses)
    for name in ("track_ranks", "artwork_ranks", "track_ties", "artwork_ties", "most"):
        np.testing.assert_array_equal(getattr(ours.audit, name), getattr(plain.audit, name))
    assert ours.audit.bound == pytest.approx(plain.audit.bound, rel=1e-6)
    assert steady == stability(t, a, chosen, None)
