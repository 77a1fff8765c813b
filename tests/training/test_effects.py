"""A condition is found exactly where there is one, and no interval is narrower than it may be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artsound.training import metrics
from artsound.training.metrics import distances, frechet_distance


def test_effects_are_the_mean_over_all_other_pictures_minus_the_own() -> None:
    distance = np.array([[1.0, 4.0, 6.0], [2.0, 2.0, 4.0], [5.0, 1.0, 0.0]])
    assert np.allclose(metrics.picture_effects(distance), [4.0, 1.0, 3.0])


def test_a_picture_drawn_twice_counts_twice_among_the_others() -> None:
    distance = np.array([[1.0, 4.0, 6.0], [2.0, 2.0, 4.0], [5.0, 1.0, 0.0]])
    found = metrics.picture_effects(distance, np.array([2.0, 1.0, 3.0]))
    others = [(4 + 3 * 6) / 4, (2 * 2 + 3 * 4) / 5, (2 * 5 + 1) / 3]
    assert np.allclose(found, [others[0] - 1, others[1] - 2, others[2]])


def test_a_model_that_ignores_its_picture_is_found_out() -> None:
    chance = np.random.default_rng(5)
    tracks = chance.normal(size=(16, 6))
    deaf = np.repeat(chance.normal(size=(1, 6)), 16, axis=0)
    effect = metrics.picture_effect(distances(tracks, deaf))
    assert effect.mean == pytest.approx(0, abs=1e-9)
    noise = metrics.picture_effect(distances(tracks, chance.normal(size=(16, 6))))
    assert noise.low < 0 < noise.high


def test_a_model_that_follows_its_picture_beats_the_shuffle_outside_the_interval() -> None:
    chance = np.random.default_rng(6)
    tracks = chance.normal(size=(16, 6))
    effect = metrics.picture_effect(distances(tracks, tracks + chance.normal(0, 0.7, (16, 6))))
    assert 0 < effect.low < effect.mean < effect.high


def test_the_interval_of_a_mean_is_that_of_the_normal_theory() -> None:
    values = np.random.default_rng(7).normal(3, 2, 400)
    interval = metrics.paired_mean(values)
    assert interval.mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.2 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.2 * half)


def test_the_interval_of_a_mean_agrees_with_scipys_bootstrap() -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(8).exponential(size=60)
    ours = metrics.paired_mean(values)
    theirs = bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, random_state=0
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, rel=0.03)
    assert ours.high == pytest.approx(theirs.high, rel=0.03)


def test_a_reflected_interval_leaves_the_bias_of_a_small_set_behind() -> None:
    """Two sets of one distribution: the truth is 0, the plain distance is far above."""
    chance = np.random.default_rng(9)
    real, made = chance.normal(size=(40, 8)), chance.normal(size=(40, 8))

    def distance(weights: np.ndarray) -> float:
        rows = np.repeat(np.arange(40), weights.astype(int))
        return frechet_distance(real[rows], made[rows])

    interval = metrics.reflected_bootstrap(distance, 40)
    assert interval.mean > 0.5
    assert interval.low == 0
    assert interval.high < interval.mean


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 20), st.integers(0, 3))
def test_retrieval_by_the_tracks_themselves_is_perfect_and_by_one_clip_is_chance(
    count: int, seed: int
) -> None:
    tracks = np.random.default_rng(seed).normal(size=(count, 4))
    perfect = metrics.retrieval(distances(tracks, tracks))
    assert perfect.recall_1 == metrics.Interval(1, 1, 1)
    assert perfect.median_rank == 1
    same = metrics.retrieval(np.ones((count, count)))
    assert same.median_rank == same.chance_rank == (count + 1) / 2
    assert same.chance_1 == 1 / count
    assert same.chance_10 == min(1, 10 / count)


def test_each_made_piece_looks_for_its_track_and_not_the_other_way_round() -> None:
    """Columns are pieces: two tracks are nearer to piece 0 than its own, none to 1 and 2."""
    found = metrics.retrieval(np.array([[5.0, 5.0, 9.0], [1.0, 1.0, 8.0], [2.0, 9.0, 1.0]]))
    assert found.median_rank == 1
    assert found.mean_reciprocal_rank == pytest.approx((1 / 3 + 1 + 1) / 3)
    assert found.recall_1.mean == pytest.approx(2 / 3)


def test_recall_counts_the_nearest_five_and_ten() -> None:
    """The own track of picture j is its (j + 1)-th nearest, of twelve."""
    distance = np.zeros((12, 12))
    for picture in range(12):
        order = [track for track in range(12) if track != picture]
        order.insert(picture, picture)
        distance[order, picture] = np.arange(12)
    found = metrics.retrieval(distance)
    assert [found.recall_1.mean, found.recall_5.mean, found.recall_10.mean] == [
        1 / 12, 5 / 12, 10 / 12,
    ]  # fmt: skip
    assert found.median_rank == 6.5
