"""Comparing only near pairs finds what comparing all pairs finds, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from artsound.pairing import match, nearby
from artsound.pairing.evidence import stability
from artsound.pairing.match import audit, evaluate_match
from artsound.pairing.search import find_candidates


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearby, "_FEWEST", 0)
    monkeypatch.setattr(nearby, "_BLOCK", 32)
    monkeypatch.setattr(nearby, "_CHUNK", 100)


def on_circles(count: int, seed: int, circles: int = 2) -> np.ndarray:
    """Unit rows as the affect bridge makes them: places on circles, some of them equal."""
    generator = np.random.default_rng(seed)
    angles = np.pi * generator.random((count, circles))
    angles[: count // 10] = angles[count // 2]
    rows = np.concatenate([np.cos(angles), np.sin(angles)], axis=1) / np.sqrt(circles)
    return rows.astype(np.float32)


def lengths(count: int, seed: int) -> np.ndarray:
    """Rows of several lengths on a grid: every product is exact, and many are ties."""
    return np.random.default_rng(seed).integers(-40, 41, (count, 2)).astype(np.float32)


@pytest.mark.parametrize("make", [on_circles, lengths])
@pytest.mark.parametrize("size", [1, 5, 16])
def test_the_nearest_are_those_of_all_pairs(make, size) -> None:
    t, a = make(900, 1), make(1100, 2)
    found = find_candidates(t, a, size)
    for here, all_pairs in (
        (nearby.nearest(t, a, size), (found.artworks, found.artwork_scores)),
        (nearby.nearest(a, t, size), (found.tracks, found.track_scores)),
    ):
        assert here is not None
        for ours, theirs in zip(here, all_pairs, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("make", [on_circles, lengths])
def test_counts_are_those_of_all_pairs(make) -> None:
    rows, columns = make(900, 3), make(1100, 4)
    scores = rows @ columns.T
    limits = np.quantile(scores, (0.99, 0.999), axis=1).astype(np.float32)
    limits[:, :20] = scores[:20].max(axis=1), scores[:20].max(axis=1) - 1e-6
    found = nearby.counts_above(rows, columns, limits)
    assert found is not None
    np.testing.assert_array_equal(found, (scores > limits[:, :, None]).sum(axis=2))


def test_a_given_matching_is_evaluated_as_by_comparing_all_pairs(monkeypatch) -> None:
    t, a = on_circles(700, 5), on_circles(800, 6)
    near = (t @ a.T).argsort(axis=1)[:, -40:]
    chosen = near[np.arange(700), np.random.default_rng(7).integers(40, size=700)]
    chosen[::9] = -1
    ours = evaluate_match(t, a, chosen, count=8, uses=3)
    moved = (t + np.float32(0.001)), a
    steady = stability(*moved, chosen, None)
    nothing = np.zeros(800)
    looked = audit(t, a, chosen, penalties=nothing, prices=nothing, uses=3)
    for name in ("track_ranks", "artwork_ranks", "track_ties", "artwork_ties"):
        np.testing.assert_array_equal(getattr(ours.audit, name), getattr(looked, name))
    assert (ours.audit.bound, ours.audit.most) == (looked.bound, looked.most)

    def all_pairs(*_: object) -> None:
        return None

    monkeypatch.setattr(match, "counts_above", all_pairs)
    monkeypatch.setattr(match, "nearest", all_pairs)
    plain = evaluate_match(t, a, chosen, count=8, uses=3)
    for name in ("artworks", "artwork_scores", "tracks", "track_scores"):
        np.testing.assert_array_equal(
            getattr(ours.candidates, name), getattr(plain.candidates, name)
        )
    assert steady == stability(*moved, chosen, None)


@pytest.mark.parametrize("width", [24, 200])
def test_where_blocks_leave_little_out_all_pairs_are_to_be_compared(width: int) -> None:
    rows = np.random.default_rng(0).standard_normal((300, width)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert nearby.nearest(rows, rows, 8) is None
    assert nearby.counts_above(rows, rows, np.full((1, 300), 0.2, dtype=np.float32)) is None


def test_equal_rows_are_all_compared() -> None:
    same = np.tile(np.float32([1, 0]), (300, 1))
    assert nearby.nearest(same, same, 4) is None
    found = find_candidates(same, same, 4)
    assert evaluate_match(same, same, np.arange(300), count=4).candidates.artworks.tolist() == (
        found.artworks.tolist()
    )
