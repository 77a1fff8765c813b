"""Measures of sets of generated clips against sets of real ones. Numpy in, numbers out.

Everything is set-level or paired; a Fréchet distance of single clips means nothing and is not
offered. Distances are between rows of standardised embeddings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95% bootstrap interval."""

    mean: float
    low: float
    high: float


def frechet_distance(real: np.ndarray, made: np.ndarray) -> float:
    """Fréchet distance of the Gaussians fitted to two sets of rows, [n, D] and [m, D].

    |μ₁ − μ₂|² + tr(C₁ + C₂ − 2 (C₁ C₂)^½) (Dowson & Landau, J. Multivariate Anal. 1982; for
    audio Kilgour et al., Interspeech 2019), covariances with n − 1. The square root's trace is
    taken from the eigenvalues of the symmetric C₁^½ C₂ C₁^½, so it is never complex. With few
    rows it is biased upwards: see `frechet_by_size`. Raises ValueError below two rows.
    """
    if min(len(real), len(made)) < 2:
        raise ValueError("a Fréchet distance needs at least two clips on either side")
    means = real.mean(axis=0) - made.mean(axis=0)
    first = np.atleast_2d(np.cov(real, rowvar=False))
    second = np.atleast_2d(np.cov(made, rowvar=False))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0)).sum()
    return float(max(means @ means + np.trace(first) + np.trace(second) - 2 * cross, 0.0))


def frechet_by_size(
    real: np.ndarray, made: np.ndarray, *, seed: int = 0, draws: int = 20
) -> dict[int, float]:
    """Mean Fréchet distance at a quarter, half, three quarters and all of the generated rows.

    The distance falls as rows are added (its bias goes as 1/n: Chong & Forsyth, CVPR 2020); how
    fast it falls says how much of the figure is bias. Sizes below two are left out.
    """
    chance = np.random.default_rng(seed)
    sizes = sorted({len(made) * part // 4 for part in (1, 2, 3, 4)} - {0, 1})
    result = {}
    for size in sizes:
        count = 1 if size == len(made) else draws
        picks = [chance.permutation(len(made))[:size] for _ in range(count)]
        result[size] = float(np.mean([frechet_distance(real, made[pick]) for pick in picks]))
    return result


def kernel_distance(real: np.ndarray, made: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x·y / D + 1)³.

    Bińkowski et al., ICLR 2018. Unbiased at any size, so it may fall a little below zero. Raises
    ValueError below two rows on either side.
    """
    if min(len(real), len(made)) < 2:
        raise ValueError("a kernel distance needs at least two clips on either side")

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def off_diagonal_mean(k: np.ndarray) -> float:
        return float((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)))

    within = off_diagonal_mean(kernel(real, real)) + off_diagonal_mean(kernel(made, made))
    return float(within - 2 * kernel(real, made).mean())


def class_divergence(real: np.ndarray, made: np.ndarray, *, classes: int = 3) -> float:
    """Mean over columns of KL(real ‖ generated) in nats, over equally filled classes of the real.

    Each column is cut at the real rows' quantiles; counts get +1 (Laplace), so that an empty
    class is no infinity. 0 means the same shares of low, middle and high values.
    """
    total = 0.0
    for column in range(real.shape[1]):
        edges = np.quantile(real[:, column], np.arange(1, classes) / classes)
        p, q = (
            np.bincount(np.searchsorted(edges, rows[:, column]), minlength=classes) + 1.0
            for rows in (real, made)
        )
        p, q = p / p.sum(), q / q.sum()
        total += float((p * np.log(p / q)).sum())
    return total / real.shape[1]


def distances(tracks: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Root mean square difference of every track's row to every generated row, [n, m]."""
    return np.sqrt(np.square(tracks[:, None] - made[None]).mean(axis=2))


def condition_effects(distance: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """How much closer each track is to its own picture's music than to other pictures', [n].

    `distance` [n, n]: from track i to what picture j gave. Effect i is the mean of row i without
    its diagonal, minus the diagonal; all derangements at once, so no shuffle has to be drawn.
    `weights` [n] counts how often each picture is in the (re)sample.
    """
    count = len(distance)
    weights = np.ones(count) if weights is None else weights
    others = np.where(np.eye(count, dtype=bool), 0.0, weights[None, :])
    shuffled = (others * distance).sum(axis=1) / np.maximum(others.sum(axis=1), 1e-12)
    return shuffled - np.diagonal(distance)


def bootstrap(
    statistic: Callable[[np.ndarray], float], count: int, *, seed: int = 0, rounds: int = 2000
) -> Interval:
    """The statistic of `count` items and its 95% percentile interval (Efron 1979).

    `statistic` takes how often each item is in the resample, [count]. Resamples that hold a
    single item many times are drawn again: nothing can be shuffled in them.
    """
    chance = np.random.default_rng(seed)
    values: list[float] = []
    while len(values) < rounds:
        weights = np.bincount(chance.integers(count, size=count), minlength=count)
        if count > 1 and (weights > 0).sum() < 2:
            continue
        values.append(statistic(weights.astype(float)))
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(statistic(np.ones(count)), float(low), float(high))


def condition_effect(distance: np.ndarray, *, seed: int = 0) -> Interval:
    """Mean of `condition_effects` with its interval over pairs (pictures and tracks together)."""

    def mean(weights: np.ndarray) -> float:
        effects = condition_effects(distance, weights)
        return float((weights * effects).sum() / weights.sum())

    return bootstrap(mean, len(distance), seed=seed)


def paired_mean(values: np.ndarray, *, seed: int = 0) -> Interval:
    """Mean of one number per pair, with its interval."""
    return bootstrap(lambda w: float((w * values).sum() / w.sum()), len(values), seed=seed)


@dataclass(frozen=True)
class Retrieval:
    """Finding each picture's own track by its generated music, among all tracks of the set."""

    recall_1: float
    recall_5: float
    mean_reciprocal_rank: float
    median_rank: float
    chance_1: float
    chance_5: float


def retrieval(distance: np.ndarray) -> Retrieval:
    """Ranks (1 = nearest, ties shared fairly) of the own track, from `distance` [tracks, made]."""
    own = np.diagonal(distance)
    nearer = (distance < own[None, :]).sum(axis=0)
    ties = (distance == own[None, :]).sum(axis=0) - 1
    ranks = 1 + nearer + ties / 2
    count = len(distance)
    return Retrieval(
        recall_1=float((ranks <= 1).mean()),
        recall_5=float((ranks <= 5).mean()),
        mean_reciprocal_rank=float((1 / ranks).mean()),
        median_rank=float(np.median(ranks)),
        chance_1=1 / count,
        chance_5=min(1.0, 5 / count),
    )
