from __future__ import annotations

import numpy as np
import pytest

from artsound.pairing.assignment import assign, candidate_edges
from artsound.pairing.match import match
from artsound.pairing.quick import find_quick_candidates, in_fewer_dimensions
from artsound.pairing.search import find_candidates, pair_scores


def sides(n_tracks: int, n_artworks: int, width: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Vectors whose length lies mostly in a few directions, as real embeddings' does."""
    generator = np.random.default_rng(0)
    mix = generator.standard_normal((24, width))
    found = []
    for count in (n_tracks, n_artworks):
        rows = generator.standard_normal((count, 24)) @ mix / 5
        rows += 0.25 * generator.standard_normal((count, width))
        found.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return found[0], found[1]


def test_with_all_dimensions_the_quick_candidates_are_the_exact_ones():
    t, a = sides(300, 400)
    exact, quick = (
        find_candidates(t, a, 9),
        find_quick_candidates(t, a, 9, in_fewer_dimensions(t, a, 96)),
    )
    assert (quick.artworks == exact.artworks).all()
    assert (quick.tracks == exact.tracks).all()
    assert quick.artwork_scores == pytest.approx(exact.artwork_scores, abs=1e-6)


def test_a_quarter_of_the_dimensions_loses_little_of_the_total():
    t, a = sides(1200, 1300)
    totals = []
    for found in (
        find_candidates(t, a, 16),
        find_quick_candidates(t, a, 16, in_fewer_dimensions(t, a, 24)),
    ):
        chosen = assign(t, a, candidate_edges(found), penalties=np.zeros(1300)).artworks
        totals.append(pair_scores(t, a, np.arange(1200), chosen).sum())
    assert totals[1] >= 0.995 * totals[0]


def test_listed_scores_are_exact():
    t, a = sides(200, 300)
    found = find_quick_candidates(t, a, 5, in_fewer_dimensions(t, a, 8))
    scores = t @ a.T
    assert found.artwork_scores == pytest.approx(
        np.take_along_axis(scores, found.artworks, axis=1), abs=1e-6
    )
    assert found.track_scores == pytest.approx(
        np.take_along_axis(scores.T, found.tracks, axis=1), abs=1e-6
    )


def test_a_quick_start_ends_at_the_same_optimum():
    t, a = sides(400, 420)
    exact = match(t, a, count=8, optimality=0.999999)
    quick = match(t, a, count=8, quick=6, optimality=0.999999)
    assert quick.weight == pytest.approx(exact.weight, rel=2e-6)


def test_more_candidates_than_items_lists_them_all():
    t, a = sides(3, 5)
    found = find_quick_candidates(t, a, 64, in_fewer_dimensions(t, a, 16))
    assert found.artworks.shape == (3, 5)
    assert sorted(found.tracks[0].tolist()) == [0, 1, 2]


def test_new_candidates_looked_for_in_fewer_dimensions_cost_little_of_the_total():
    t, a = sides(1200, 1300)
    rough = in_fewer_dimensions(t, a, 48)
    edges = candidate_edges(find_candidates(t, a, 3))  # too few: most tracks need more
    totals = []
    for option in (None, rough):
        found = assign(t, a, edges, penalties=np.zeros(1300), rough=option)
        assert len(set(found.artworks.tolist())) == 1200
        totals.append(pair_scores(t, a, np.arange(1200), found.artworks).sum())
    assert totals[1] >= 0.995 * totals[0]
