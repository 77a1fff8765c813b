"""The measures of sets agree with closed forms and with published implementations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import pdist
from scipy.stats import entropy

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


@pytest.mark.parametrize("width", [4, 100])
def test_frechet_agrees_with_torchmetrics(width: int) -> None:
    """Also where there are fewer clips than dimensions, as with CLAP on a small split."""
    fid = pytest.importorskip("torchmetrics.image.fid", reason="torchmetrics is not installed")
    import torch

    chance = np.random.default_rng(12)
    real = chance.normal(size=(60, width)) @ chance.normal(size=(width, width)) / width
    made = chance.normal(0.3, 1.2, size=(50, width))

    class Rows(torch.nn.Module):
        num_features = width

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows

    theirs = fid.FrechetInceptionDistance(feature=Rows())
    theirs.set_dtype(torch.float64)
    theirs.update(torch.from_numpy(real), real=True)
    theirs.update(torch.from_numpy(made), real=False)
    assert metrics.frechet_distance(real, made) == pytest.approx(float(theirs.compute()), rel=1e-4)


def test_frechet_falls_as_more_clips_are_measured() -> None:
    chance = np.random.default_rng(3)
    sizes = metrics.frechet_by_size(chance.normal(size=(200, 4)), chance.normal(size=(40, 4)))
    assert list(sizes) == [20, 24, 28, 32, 36, 40]
    assert sizes[20] > sizes[28] > sizes[40]


def test_the_bias_that_goes_as_one_over_n_is_taken_out() -> None:
    by_size = {n: 3 + 40 / n for n in (10, 20, 40)}
    assert metrics.frechet_without_bias(by_size) == pytest.approx(3)
    assert metrics.frechet_without_bias({7: 2.5}) == 2.5
    chance = np.random.default_rng(10)
    real, made = chance.normal(size=(4000, 6)), chance.normal(size=(60, 6))
    sizes = metrics.frechet_by_size(real, made)
    assert abs(metrics.frechet_without_bias(sizes)) < sizes[60] / 2  # the truth is 0


def test_kernel_distance_is_the_double_sum_of_its_definition() -> None:
    chance = np.random.default_rng(4)
    x, y = chance.normal(size=(5, 3)), chance.normal(1, 1, size=(4, 3))
    sigma = np.median(pdist(x))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-np.square(a - b).sum() / (2 * sigma**2)))

    xx = sum(k(x[i], x[j]) for i in range(5) for j in range(5) if i != j) / 20
    yy = sum(k(y[i], y[j]) for i in range(4) for j in range(4) if i != j) / 12
    xy = sum(k(a, b) for a in x for b in y) / 20
    # σ² is the median of squared distances, the square of the median but for even counts.
    assert metrics.kernel_distance(x, y) == pytest.approx(100 * (xx + yy - 2 * xy), rel=0.05)


def test_kernel_distance_agrees_with_torchmetrics_and_scikit_learn() -> None:
    kid = pytest.importorskip("torchmetrics.image.kid", reason="torchmetrics is not installed")
    import torch
    from sklearn.metrics.pairwise import rbf_kernel

    chance = np.random.default_rng(13)
    x, y = chance.normal(size=(30, 12)), chance.normal(0.4, 1.3, size=(30, 12))
    gamma = 1 / (2 * np.median(pdist(x, "sqeuclidean")))
    kernels = [torch.from_numpy(rbf_kernel(a, b, gamma)) for a, b in ((x, x), (x, y), (y, y))]
    theirs = float(kid.maximum_mean_discrepancy(*kernels))
    assert metrics.kernel_distance(x, y) == pytest.approx(100 * theirs, rel=1e-9)


def test_kernel_distance_of_a_resample_is_that_of_its_rows_without_their_twins() -> None:
    chance = np.random.default_rng(14)
    x, y = chance.normal(size=(6, 3)), chance.normal(size=(6, 3))
    whole = np.ones(6)
    assert metrics.kernel_distance(x, y, weights=(whole, whole)) == metrics.kernel_distance(x, y)
    only = np.array([1.0, 1, 1, 1, 0, 0])
    twice = metrics.kernel_distance(x, y, weights=(2 * only, only))
    once = metrics.kernel_distance(x, y, weights=(only, only))
    assert twice == pytest.approx(once)


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
    assert metrics.class_divergence(real, made) == pytest.approx(entropy(p, q))
    assert metrics.class_divergence(real, real) == pytest.approx(0)


def test_divergences_agree_with_scipy_and_never_are_infinite() -> None:
    chance = np.random.default_rng(15)
    p, q = chance.dirichlet(np.ones(5), size=8), chance.dirichlet(np.ones(5), size=8)
    assert metrics.divergences(p, q) == pytest.approx(entropy(p, q, axis=1))
    assert np.isfinite(metrics.divergences(np.eye(2), np.eye(2)[::-1])).all()


def test_the_genre_classifier_knows_what_it_was_shown() -> None:
    chance = np.random.default_rng(16)
    known = np.concatenate([chance.normal(-2, 1, (30, 4)), chance.normal(2, 1, (30, 4))])
    labels = ["Jazz"] * 30 + ["Rock"] * 30
    [low, high] = metrics.genre_probabilities(known, labels, -2 * np.ones((3, 4)), np.ones((2, 4)))
    assert low.shape == (3, 2)
    assert (low[:, 0] > 0.8).all()
    assert (high[:, 1] > 0.8).all()


def test_distances_are_root_mean_squares() -> None:
    found = metrics.distances(np.zeros((2, 4)), np.array([[3.0, 3, 3, 3]]))
    assert found.tolist() == [[3.0], [3.0]]
