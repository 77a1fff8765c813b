"""Measures of a set of generated clips against a set of real ones. Numpy in, numbers out.

Rows are embeddings of clips. Everything here is about sets; what belongs to pairs is in effects. A
Fréchet distance of single clips means nothing and is not offered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

KERNEL_SCALE = 100.0  # kernel audio distances are quoted times this


def frechet_distance(real: np.ndarray, made: np.ndarray) -> float:
    """Fréchet distance of the Gaussians fitted to two sets of rows, [n, D] and [m, D].

    |μ₁ − μ₂|² + tr(C₁ + C₂ − 2 (C₁ C₂)^½) (Dowson & Landau, J. Multivariate Anal. 1982; for
    audio Kilgour et al., Interspeech 2019), covariances with n − 1. With few rows it is biased
    upwards: see `frechet_by_size`. Raises ValueError below two rows.
    """
    if min(len(real), len(made)) < 2:
        raise ValueError("a Fréchet distance needs at least two clips on either side")
    means = real.mean(axis=0, dtype=np.float64) - made.mean(axis=0, dtype=np.float64)
    first, second = _root(real), _root(made)
    # With C = AᵀA of centred rows, tr((C₁ C₂)^½) is the sum of the singular values of A₁ A₂ᵀ:
    # never complex, and exact for sets smaller than D, whose covariances have no full rank.
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

    The distance falls as rows are added; how fast it falls says how much of it is bias. Sizes
    below two are left out.
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
    """What Fréchet distances by size come to for endlessly many generated clips.

    The bias goes as 1/n: the intercept of a straight line through (1/n, distance), as in FID∞
    (Chong & Forsyth, CVPR 2020) and, for audio, Gui et al., ICASSP 2024. The bias of the real set's
    own size stays. Of a single size it is that size's distance.
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
    Unbiased at any size, so it may fall a little below zero. `weights` count how often each row
    is in a resample of either side; a row is never compared with itself. Raises ValueError below
    two rows on either side.
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

    Each column is cut at the real rows' quantiles; counts get +1 (Laplace), so that an empty
    class is no infinity. 0 means the same shares of low, middle and high values.
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
    """For each asked set of rows its table of probabilities of the genres in `labels`, [n, genres].

    By a logistic regression fitted to the `known` rows (scikit-learn's, L2), which stands in for
    a tagger where none can be fetched. Raises ValueError when there are fewer than two genres.
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=0.1, max_iter=1000).fit(known, list(labels))
    return [model.predict_proba(rows) for rows in asked]


def _squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return cdist(first.astype(np.float64), second.astype(np.float64), "sqeuclidean")
