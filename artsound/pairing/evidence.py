"""Numbers that say how good a matching is, and against what it is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from artsound.pairing.candidates import Candidates

# Score histograms share these bins, so that splits and builds can be added and compared.
BINS = np.round(np.linspace(-1.0, 1.0, 101), 2)
HUB_NEIGHBOURS = 10
RECALL_AT = (1, 5, 10)
MOST_RANDOM_PAIRS = 100_000


def hub_penalties(candidates: Candidates, neighbours: int) -> np.ndarray:
    """What the hub correction takes off each artwork's scores: float64 [n_artworks].

    Cross-domain similarity local scaling (CSLS: Conneau et al., ICLR 2018) is
    2 s(t, a) - r(t) - r(a), where r is an item's mean score with its `neighbours` nearest of the
    other side. Halved, and without r(t), which is the same whichever artwork a track gets, it is
    s(t, a) - r(a) / 2. With `neighbours` 0 nothing is taken off.
    """
    if not neighbours:
        return np.zeros(len(candidates.tracks))
    return candidates.track_scores[:, :neighbours].mean(axis=1, dtype=np.float64) / 2


def hubness(candidates: Candidates, penalties: np.ndarray) -> float:
    """Skewness of how often each artwork is among a track's ten best (Radovanović et al., 2010).

    0 is even, above 1 a few artworks (hubs) take many places. After `penalties`, the order is
    that of the listed candidates once corrected. 0.0 where every artwork occurs equally often.
    """
    weights = candidates.artwork_scores - penalties[candidates.artworks]
    order = np.argsort(-weights, axis=1, kind="stable")[:, :HUB_NEIGHBOURS]
    best = np.take_along_axis(candidates.artworks, order, axis=1)
    times = np.bincount(best.ravel(), minlength=len(penalties)).astype(float)
    spread = times.std()
    return float((((times - times.mean()) / spread) ** 3).mean()) if spread else 0.0


def random_scores(tracks: np.ndarray, artworks: np.ndarray, seed: int) -> np.ndarray:
    """Scores of a random one-to-one assignment: what matching at random would give, float32."""
    generator = np.random.default_rng(seed)
    count = min(len(tracks), len(artworks), MOST_RANDOM_PAIRS)
    some = generator.permutation(len(tracks))[:count]
    other = generator.permutation(len(artworks))[:count]
    return pair_scores(tracks, artworks, some, other)


def pair_scores(
    tracks: np.ndarray, artworks: np.ndarray, some: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Dot products of tracks[some] with artworks[other], float32, in bounded memory."""
    scores = np.empty(len(some), dtype=np.float32)
    for at in range(0, len(some), 65_536):
        part = slice(at, at + 65_536)
        scores[part] = np.einsum("nd,nd->n", tracks[some[part]], artworks[other[part]])
    return scores


def recalls(ranks: np.ndarray) -> dict[str, float]:
    """R@1, R@5, R@10 (shares) and the median of `ranks`, where 1 is best."""
    if not len(ranks):
        return {}
    shares = {f"r{at}": float((ranks <= at).mean()) for at in RECALL_AT}
    return shares | {"median_rank": float(np.median(ranks))}


def histogram(scores: np.ndarray) -> list[int]:
    """How many of `scores` fall in each of BINS; a rounding error beyond ±1 counts as ±1."""
    return np.histogram(np.clip(scores, -1.0, 1.0), bins=BINS)[0].tolist()


def merge_histograms(parts: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """The sum of `matched` and `random` histograms, cut to the bins in use: with `edges`."""
    matched = np.sum([part["matched"] for part in parts], axis=0)
    chance = np.sum([part["random"] for part in parts], axis=0)
    used = np.flatnonzero(matched + chance)
    first, last = (int(used[0]), int(used[-1])) if len(used) else (0, 0)
    return {
        "edges": BINS[first : last + 2].tolist(),
        "matched": matched[first : last + 1].tolist(),
        "random": chance[first : last + 1].tolist(),
    }


def margins(
    candidates: Candidates, matched: np.ndarray, chosen: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """Each matched track's score less that of its best other artwork; 0 where there is no other."""
    best = candidates.artwork_scores[matched]
    if best.shape[1] < 2:
        return np.zeros(len(matched), dtype=np.float32)
    other = np.where(candidates.artworks[matched, 0] == chosen, best[:, 1], best[:, 0])
    return scores - other


def overall(splits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The splits' evidence added up: counts and totals summed, means weighted by matched pairs."""
    matched = sum(split["matched"] for split in splits)
    summed = ("tracks", "artworks", "matched", "dense", "total", "weight", "weight_bound")
    averaged = ("mean", "bound", "random", "greedy")
    return {key: sum(split[key] for split in splits) for key in summed} | {
        key: sum(split[key] * split["matched"] for split in splits) / max(matched, 1)
        for key in averaged
    }
