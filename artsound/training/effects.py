"""What the picture does to the music: measures over pairs, each with its bootstrap interval."""

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


@dataclass(frozen=True)
class Retrieval:
    """Finding each picture's own track by its generated music, among all tracks of the set.

    `recall` and `chance` are for the 1, 5 and 10 nearest; ranks count from 1.
    """

    recall_1: Interval
    recall_5: Interval
    recall_10: Interval
    chance_1: float
    chance_5: float
    chance_10: float
    mean_reciprocal_rank: float
    median_rank: float
    chance_rank: float


def bootstrap(
    statistic: Callable[[np.ndarray], float], count: int, *, seed: int = 0, rounds: int = 2000
) -> Interval:
    """The statistic of `count` items and its 95% percentile interval (Efron 1979).

    `statistic` takes how often each item is in the resample, [count]. Resamples that hold a
    single item many times are drawn again: nothing can be shuffled in them.
    """
    values = _resampled(statistic, count, seed, rounds)
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(statistic(np.ones(count)), float(low), float(high))


def reflected_bootstrap(
    statistic: Callable[[np.ndarray], float], count: int, *, seed: int = 0, rounds: int = 200
) -> Interval:
    """The statistic and its 95% basic interval (Davison & Hinkley 1997, 5.2), cut at 0.

    For a statistic whose bias grows when items are repeated, as a Fréchet distance's does: the
    quantiles are reflected at the estimate, which takes the bias out. So the estimate may lie
    above its interval; by how much is how far the bias of a small set reaches.
    """
    values = _resampled(statistic, count, seed, rounds)
    low, high = np.quantile(values, [0.025, 0.975])
    mean = statistic(np.ones(count))
    return Interval(mean, float(max(2 * mean - high, 0.0)), float(max(2 * mean - low, 0.0)))


def _resampled(
    statistic: Callable[[np.ndarray], float], count: int, seed: int, rounds: int
) -> list[float]:
    chance = np.random.default_rng(seed)
    values: list[float] = []
    while len(values) < rounds:
        weights = np.bincount(chance.integers(count, size=count), minlength=count)
        if count > 1 and (weights > 0).sum() < 2:
            continue
        values.append(statistic(weights.astype(float)))
    return values


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


def condition_effect(distance: np.ndarray, *, seed: int = 0) -> Interval:
    """Mean of `condition_effects` with its interval over pairs (pictures and tracks together)."""

    def mean(weights: np.ndarray) -> float:
        effects = condition_effects(distance, weights)
        return float((weights * effects).sum() / weights.sum())

    return bootstrap(mean, len(distance), seed=seed)


def paired_mean(values: np.ndarray, *, seed: int = 0) -> Interval:
    """Mean of one number per pair, with its interval."""
    return bootstrap(lambda w: float((w * values).sum() / w.sum()), len(values), seed=seed)


def retrieval(distance: np.ndarray, *, seed: int = 0) -> Retrieval:
    """Ranks (1 = nearest, ties shared fairly) of the own track, from `distance` [tracks, made]."""
    own = np.diagonal(distance)
    nearer = (distance < own[None, :]).sum(axis=0)
    ties = (distance == own[None, :]).sum(axis=0) - 1
    ranks = 1 + nearer + ties / 2
    count = len(distance)

    def recall(k: int) -> Interval:
        return paired_mean((ranks <= k).astype(float), seed=seed)

    return Retrieval(
        recall_1=recall(1),
        recall_5=recall(5),
        recall_10=recall(10),
        chance_1=1 / count,
        chance_5=min(1.0, 5 / count),
        chance_10=min(1.0, 10 / count),
        mean_reciprocal_rank=float((1 / ranks).mean()),
        median_rank=float(np.median(ranks)),
        chance_rank=(count + 1) / 2,
    )
