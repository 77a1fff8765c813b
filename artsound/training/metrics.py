"""Measures of generated music, over sets of clips and over pairs.

Measures of sets compare embeddings of generated clips with those of real ones. Measures of pairs
tell the effect of the picture on the music, with bootstrap intervals. Embedders turn waveforms into
the rows that both use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from artsound.encoders.base import EncoderSettings, open_encoder
from artsound.media.mel import log_mel
from artsound.training.config import Mel
from artsound.training.generate import wav_bytes

KERNEL_SCALE = 100.0  # kernel audio distances are multiplied by this


def frechet_distance(real: np.ndarray, made: np.ndarray) -> float:
    """Fréchet distance of the Gaussians fitted to two sets of rows, [n, D] and [m, D].

    |μ₁ − μ₂|² + tr(C₁ + C₂ − 2 (C₁ C₂)^½) (Dowson & Landau, J. Multivariate Anal. 1982; for
    audio Kilgour et al., Interspeech 2019), covariances with n − 1. With few rows it is biased
    upwards: see `frechet_by_size`. Raises ValueError for fewer than two rows.
    """
    if min(len(real), len(made)) < 2:
        raise ValueError("a Fréchet distance needs at least two clips on either side")
    means = real.mean(axis=0, dtype=np.float64) - made.mean(axis=0, dtype=np.float64)
    first, second = _root(real), _root(made)
    # With C = AᵀA of centred rows, tr((C₁ C₂)^½) is the sum of the singular values of A₁ A₂ᵀ:
    # never complex, and exact for sets smaller than D, whose covariances are singular.
    cross = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    spread = np.square(first).sum() + np.square(second).sum()
    return float(max(means @ means + spread - 2 * cross, 0.0))


def _root(rows: np.ndarray) -> np.ndarray:
    """A with AᵀA the covariance of `rows` [n, D]; it has min(n, D) rows."""
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    centred /= np.sqrt(len(rows) - 1)
    if len(centred) <= centred.shape[1]:
        return centred
    return np.asarray(np.linalg.qr(centred, mode="r"))


def frechet_by_size(
    real: np.ndarray, made: np.ndarray, *, seed: int = 0, draws: int = 20, sizes: int = 6
) -> dict[int, float]:
    """Mean Fréchet distance at `sizes` sizes, from half of the generated rows to all of them.

    The distance decreases as rows are added; how fast shows how much of it is bias. Sizes below
    two are left out.
    """
    chance = np.random.default_rng(seed)
    counts = np.linspace(len(made) / 2, len(made), sizes).round().astype(int)
    result = {}
    for size in sorted(set(counts.tolist()) - {0, 1}):
        rounds = 1 if size == len(made) else draws
        picks = [chance.permutation(len(made))[:size] for _ in range(rounds)]
        result[size] = float(np.mean([frechet_distance(real, made[pick]) for pick in picks]))
    return result


def frechet_without_bias(by_size: Mapping[int, float]) -> float:
    """The limit of Fréchet distances by size for infinitely many generated clips.

    The bias goes as 1/n: the intercept of a straight line through (1/n, distance), as in FID∞
    (Chong & Forsyth, CVPR 2020) and, for audio, Gui et al., ICASSP 2024. The bias from the size of
    the real set remains. For a single size it is that size's distance.
    """
    if len(by_size) < 2:
        return next(iter(by_size.values()))
    inverse = 1 / np.array(list(by_size))
    return float(np.polyfit(inverse, np.array(list(by_size.values())), 1)[1])


def kernel_distance(
    real: np.ndarray,
    made: np.ndarray,
    *,
    weights: tuple[np.ndarray, np.ndarray] | None = None,
) -> float:
    """Kernel audio distance (Chung et al., arXiv 2502.15602): 100 × an unbiased squared MMD.

    The kernel is Gaussian, exp(−|x − y|² / 2σ²), with σ the median distance within the real rows.
    Unbiased at any size, so it may be slightly negative. `weights` are the number of times each
    row is in a resample of either side; a row is never compared with itself. Raises ValueError for
    fewer than two rows on either side.
    """
    if min(len(real), len(made)) < 2:
        raise ValueError("a kernel distance needs at least two clips on either side")
    squared = _squared_distances(real, real)
    median = np.median(squared[np.triu_indices(len(real), 1)])
    scale = 2 * max(float(median), 1e-12)
    p, q = weights if weights is not None else (np.ones(len(real)), np.ones(len(made)))

    def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.exp(-_squared_distances(a, b) / scale)

    def within(rows: np.ndarray, w: np.ndarray) -> float:
        pairs = np.outer(w, w)
        np.fill_diagonal(pairs, 0.0)
        return float((pairs * between(rows, rows)).sum() / pairs.sum())

    across = float(p @ between(real, made) @ q / (p.sum() * q.sum()))
    return KERNEL_SCALE * (within(real, p) + within(made, q) - 2 * across)


def class_divergence(real: np.ndarray, made: np.ndarray, *, classes: int = 3) -> float:
    """Mean over columns of KL(real ‖ generated) in nats, over equally filled classes of the real.

    Each column is divided at the real rows' quantiles; counts get +1 (Laplace), so that an empty
    class does not give infinity. 0 means the same shares of low, middle and high values.
    """
    edges = np.quantile(real, np.arange(1, classes) / classes, axis=0)

    def shares(rows: np.ndarray) -> np.ndarray:
        places = (edges[:, None] < rows).sum(axis=0)
        counts = np.array([(places == place).sum(axis=0) + 1.0 for place in range(classes)]).T
        return counts / counts.sum(axis=1, keepdims=True)

    return float(divergences(shares(real), shares(made)).mean())


def divergences(real: np.ndarray, made: np.ndarray) -> np.ndarray:
    """KL(real ‖ generated) in nats of each row of two tables of probabilities [n, classes]."""
    p, q = np.maximum(real, 1e-12), np.maximum(made, 1e-12)
    return (p * np.log(p / q)).sum(axis=1)


def distances(tracks: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Root mean square difference of every track's row to every generated row, [n, m]."""
    return np.sqrt(_squared_distances(tracks, made) / tracks.shape[1])


def genre_probabilities(
    known: np.ndarray, labels: Sequence[str], *asked: np.ndarray
) -> list[np.ndarray]:
    """Probabilities [n, genres] of the genres in `labels`, for each asked set of rows.

    By a logistic regression (scikit-learn's, L2) fitted to the `known` rows, in place of a
    pretrained tagger. Raises ValueError for fewer than two genres.
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=0.1, max_iter=1000).fit(known, list(labels))
    return [model.predict_proba(rows) for rows in asked]


def _squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return cdist(first.astype(np.float64), second.astype(np.float64), "sqeuclidean")


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95% bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Retrieval:
    """Retrieval of each picture's own track by its generated music, among all tracks of the set.

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

    `statistic` takes the number of times each item is in the resample, [count]. Resamples of a
    single distinct item are drawn again.
    """
    values = _resampled(statistic, count, seed, rounds)
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(statistic(np.ones(count)), float(low), float(high))


def reflected_bootstrap(
    statistic: Callable[[np.ndarray], float], count: int, *, seed: int = 0, rounds: int = 200
) -> Interval:
    """The statistic and its 95% basic interval (Davison & Hinkley 1997, 5.2), clipped at 0.

    For a statistic whose bias increases when items are repeated, as a Fréchet distance: the
    quantiles are reflected at the estimate, which removes the bias. So the estimate may be above
    its interval, by an amount that shows the bias of a small set.
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


def picture_effects(distance: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """How much closer each track is to its own picture's music than to other pictures', [n].

    `distance` [n, n] is from track i to the music of picture j. Effect i is the mean of row i
    without the diagonal, less the diagonal: the mean over all derangements. `weights` [n] is the
    number of times each picture is in the (re)sample.
    """
    count = len(distance)
    weights = np.ones(count) if weights is None else weights
    others = np.where(np.eye(count, dtype=bool), 0.0, weights[None, :])
    shuffled = (others * distance).sum(axis=1) / np.maximum(others.sum(axis=1), 1e-12)
    return shuffled - np.diagonal(distance)


def picture_effect(distance: np.ndarray, *, seed: int = 0) -> Interval:
    """Mean of `picture_effects` with its interval over pairs."""

    def mean(weights: np.ndarray) -> float:
        effects = picture_effects(distance, weights)
        return float((weights * effects).sum() / weights.sum())

    return bootstrap(mean, len(distance), seed=seed)


def paired_mean(values: np.ndarray, *, seed: int = 0) -> Interval:
    """Mean of one number per pair, with its interval."""
    return bootstrap(lambda w: float((w * values).sum() / w.sum()), len(values), seed=seed)


def retrieval(distance: np.ndarray, *, seed: int = 0) -> Retrieval:
    """Ranks (1 is nearest, ties get the mean) of the own track, from `distance` [tracks, made]."""
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


@dataclass(frozen=True)
class AudioEmbedder:
    """`embed` gives rows float32 [n, D] of waveforms float32 [samples] and their sample rate.

    Without it the rows are the descriptors. `standardise`: whether rows are divided by the spreads
    of the training tracks, unlike rows of unit length.
    """

    name: str
    standardise: bool
    embed: Callable[[Sequence[np.ndarray], int], np.ndarray] | None = None


DESCRIPTORS = AudioEmbedder("descriptors", standardise=True)


def clap_embedder(
    checkpoint: Path, tower: str = "HTSAT-base", device: str = "auto"
) -> AudioEmbedder:
    """LAION-CLAP's audio embeddings [n, 512]; BadData if its weights cannot be loaded."""
    settings = EncoderSettings(model=tower, checkpoint=str(checkpoint), batch=8)
    clap = open_encoder("clap", settings, device=device)

    def embed(waves: Sequence[np.ndarray], rate: int) -> np.ndarray:
        return clap.audio([wav_bytes(wave, rate) for wave in waves])

    return AudioEmbedder("clap", standardise=False, embed=embed)


def log_mel_embedder(mel: Mel) -> AudioEmbedder:
    """Means and spreads over time of a clip's levels in each mel band, [n, 2 * bins]."""

    def embed(waves: Sequence[np.ndarray], rate: int) -> np.ndarray:
        levels = [log_mel(wave, rate, mel.bands) for wave in waves]
        return np.array([[*each.mean(axis=0), *each.std(axis=0)] for each in levels], np.float32)

    return AudioEmbedder("log-mel", standardise=True, embed=embed)
