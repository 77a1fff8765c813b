"""The measures agree with closed forms, and find a condition exactly where there is one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from artsound.training import metrics


def rows(count: int, mean: float = 0.0, spread: float = 1.0, width: int = 3, seed: int = 0):  # type: ignore[no-untyped-def]
    """Rows whose sample mean and covariance are exactly `mean` and spread² · identity."""
    values = np.random.default_rng(seed).standard_normal((count, width))
    values -= values.mean(axis=0)
    values = values @ np.linalg.inv(np.linalg.cholesky(np.cov(values, rowvar=False))).T
    return values * spread + mean


def test_frechet_of_two_known_gaussians_is_the_closed_form() -> None:
    distance = metrics.frechet_distance(rows(50, 0, 1), rows(40, 2, 3, seed=1))
    assert distance == pytest.approx(3 * 2**2 + 3 * (3 - 1) ** 2, rel=1e-6)


def test_frechet_agrees_with_the_matrix_square_root() -> None:
    chance = np.random.default_rng(2)
    a, b = chance.normal(size=(60, 5)) @ chance.normal(size=(5, 5)), chance.normal(size=(70, 5))
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = np.square(a.mean(0) - b.mean(0)).sum()
    expected += np.trace(ca + cb - 2 * np.real(sqrtm(ca @ cb)))
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)


def test_frechet_of_a_set_with_itself_is_nothing_and_one_clip_is_refused() -> None:
    assert metrics.frechet_distance(rows(9), rows(9)) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="at least two"):
        metrics.frechet_distance(rows(9), rows(9)[:1])


def test_frechet_falls_as_more_clips_are_measured() -> None:
    chance = np.random.default_rng(3)
    sizes = metrics.frechet_by_size(chance.normal(size=(200, 4)), chance.normal(size=(40, 4)))
    assert list(sizes) == [10, 20, 30, 40]
    assert sizes[10] > sizes[20] > sizes[40]


def test_kernel_distance_is_the_double_sum_of_its_definition() -> None:
    chance = np.random.default_rng(4)
    x, y = chance.normal(size=(5, 3)), chance.normal(1, 1, size=(4, 3))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    xx = sum(k(x[i], x[j]) for i in range(5) for j in range(5) if i != j) / 20
    yy = sum(k(y[i], y[j]) for i in range(4) for j in range(4) if i != j) / 12
    xy = sum(k(a, b) for a in x for b in y) / 20
    assert metrics.kernel_distance(x, y) == pytest.approx(xx + yy - 2 * xy)


def test_kernel_distance_is_unbiased_for_equal_distributions() -> None:
    values = []
    for seed in range(200):
        both = np.random.default_rng(seed).normal(size=(24, 3))
        values.append(metrics.kernel_distance(both[:12], both[12:]))
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))


def test_class_divergence_is_the_kl_of_the_shares() -> None:
    real = np.arange(30.0)[:, None]
    made = np.full((27, 1), 29.0)
    p, q = np.array([11, 11, 11]) / 33, np.array([1, 1, 28]) / 30
    assert metrics.class_divergence(real, made) == pytest.approx(float((p * np.log(p / q)).sum()))
    assert metrics.class_divergence(real, real) == pytest.approx(0)


def test_effects_are_the_mean_over_all_other_pictures_minus_the_own() -> None:
    distance = np.array([[1.0, 4.0, 6.0], [2.0, 2.0, 4.0], [5.0, 1.0, 0.0]])
    assert np.allclose(metrics.condition_effects(distance), [4.0, 1.0, 3.0])


def test_a_model_that_ignores_its_picture_is_found_out() -> None:
    chance = np.random.default_rng(5)
    tracks = chance.normal(size=(16, 6))
    deaf = np.repeat(chance.normal(size=(1, 6)), 16, axis=0)
    effect = metrics.condition_effect(metrics.distances(tracks, deaf))
    assert effect.mean == pytest.approx(0, abs=1e-9)
    noise = metrics.condition_effect(metrics.distances(tracks, chance.normal(size=(16, 6))))
    assert noise.low < 0 < noise.high


def test_a_model_that_follows_its_picture_beats_the_shuffle_outside_the_interval() -> None:
    chance = np.random.default_rng(6)
    tracks = chance.normal(size=(16, 6))
    effect = metrics.condition_effect(
        metrics.distances(tracks, tracks + chance.normal(0, 0.7, (16, 6)))
    )
    assert 0 < effect.low < effect.mean < effect.high


def test_the_interval_of_a_mean_is_that_of_the_normal_theory() -> None:
    values = np.random.default_rng(7).normal(3, 2, 400)
    interval = metrics.paired_mean(values)
    assert interval.mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.2 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.2 * half)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 20), st.integers(0, 3))
def test_retrieval_by_the_tracks_themselves_is_perfect_and_by_one_clip_is_chance(
    count: int, seed: int
) -> None:
    tracks = np.random.default_rng(seed).normal(size=(count, 4))
    perfect = metrics.retrieval(metrics.distances(tracks, tracks))
    assert perfect.recall_1 == 1
    assert perfect.median_rank == 1
    same = metrics.retrieval(np.ones((count, count)))
    assert same.median_rank == (count + 1) / 2
    assert same.chance_1 == 1 / count
