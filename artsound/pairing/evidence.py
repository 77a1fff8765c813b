"""Measures of a matching, and baselines to compare it with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from artsound.pairing.assignment import greedy
from artsound.pairing.match import TOLERANCE, Match, share_of_bound, track_ranks
from artsound.pairing.search import Candidates, pair_scores

# Score histograms share these bins, so that splits and builds can be added and compared.
BINS = np.round(np.linspace(-1.0, 1.0, 101), 2)
HUB_NEIGHBOURS = 10
RECALL_AT = (1, 5, 10)
MOST_RANDOM_PAIRS = 100_000
MOST_CHANCE_PAIRS = 1_000_000
RUNNERS_UP = 5
CELLS = 400
EXTREMES = 12
_NORMAL = 1.959963984540054  # the 97.5th percentile of the normal distribution


def hubness(candidates: Candidates, penalties: np.ndarray) -> float:
    """Skewness of how often each artwork is among a track's ten best (Radovanović et al., 2010).

    0 is even; above 1, a few artworks (hubs) take many places. The order is that of the listed
    candidates less `penalties`. 0.0 if every artwork occurs equally often.
    """
    weights = candidates.artwork_scores - penalties[candidates.artworks]
    order = np.argsort(-weights, axis=1, kind="stable")[:, :HUB_NEIGHBOURS]
    best = np.take_along_axis(candidates.artworks, order, axis=1)
    times = np.bincount(best.ravel(), minlength=len(penalties)).astype(float)
    spread = times.std()
    return float((((times - times.mean()) / spread) ** 3).mean()) if spread else 0.0


def random_scores(tracks: np.ndarray, artworks: np.ndarray, seed: int) -> np.ndarray:
    """Scores float32 of a random one-to-one assignment."""
    generator = np.random.default_rng(seed)
    count = min(len(tracks), len(artworks), MOST_RANDOM_PAIRS)
    some = generator.permutation(len(tracks))[:count]
    other = generator.permutation(len(artworks))[:count]
    return pair_scores(tracks, artworks, some, other)


def chance_scores(tracks: np.ndarray, artworks: np.ndarray, seed: int) -> np.ndarray:
    """Scores of random pairs of a split, float32, ascending: what percentiles are measured by.

    All pairs if they are at most MOST_CHANCE_PAIRS, else so many, drawn with replacement.
    """
    count = len(tracks) * len(artworks)
    if count > MOST_CHANCE_PAIRS:
        pairs = np.random.default_rng(seed).integers(count, size=MOST_CHANCE_PAIRS)
    else:
        pairs = np.arange(count)
    return np.sort(pair_scores(tracks, artworks, *np.divmod(pairs, max(len(artworks), 1))))


def percentiles(chance: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The share of `chance` scores (ascending) below each of `scores`: float32, 0 to 1.

    Scores within TOLERANCE are equal, not below.
    """
    below = np.searchsorted(chance, scores - np.float32(TOLERANCE))
    return (below / max(len(chance), 1)).astype(np.float32)


def runners_up(candidates: Candidates, chosen: np.ndarray) -> tuple[np.ndarray, ...]:
    """The best other partners of both items of each pair, at most RUNNERS_UP of each.

    Args:
        candidates: Of both sides.
        chosen: int64 [n_tracks], the artwork of each track, -1 for none.

    Returns:
        Arrays of equal length: the track of the pair; whether the runner-up is an artwork, for
        that track (else a track, for the artwork); its place, 1 is best; its number; its score.
    """
    matched = np.flatnonzero(chosen >= 0)
    mine = chosen[matched]
    parts = []
    for is_artwork, lists, scores, own in (
        (True, candidates.artworks[matched], candidates.artwork_scores[matched], mine),
        (False, candidates.tracks[mine], candidates.track_scores[mine], matched),
    ):
        others = lists != own[:, None]
        place = np.cumsum(others, axis=1)
        who, at = np.nonzero(others & (place <= RUNNERS_UP))
        side = np.full(len(who), is_artwork)
        number = lists[who, at].astype(np.int64)
        parts.append((matched[who], side, place[who, at], number, scores[who, at]))
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


def recalls(ranks: np.ndarray, ties: np.ndarray, pool: int) -> dict[str, Any]:
    """How far up the partners of a matching are in the order of all.

    Args:
        ranks: int64 [n], the rank of each partner, 1 is best.
        ties: int64 [n], how many others share that rank; it is averaged over them.
        pool: How many are ranked.

    Returns:
        `pool`; `pairs`; `median_rank`; and R@1, R@5, R@10 as `r1`, … (shares), with 95 % intervals
        of the score test (Wilson, J. Am. Stat. Assoc. 22, 1927) as `r1_interval`, …: None where k
        is not less than `pool`, since any matching has them. Without pairs only the first two.
    """
    found: dict[str, Any] = {"pool": pool, "pairs": len(ranks)}
    if not len(ranks):
        return found
    averaged = ranks + ties / 2
    found["median_rank"] = float(np.median(averaged))
    for at in RECALL_AT:
        share = interval = None
        if at < pool:
            hits = int((averaged <= at).sum())
            share = hits / len(ranks)
            interval = wilson_interval(hits, len(ranks))
        found |= {f"r{at}": share, f"r{at}_interval": interval}
    return found


def wilson_interval(hits: int, count: int) -> list[float]:
    """The 95 % interval of a share of `hits` in `count`, 1 or more, by the score test.

    The same as `scipy.stats.binomtest(hits, count).proportion_ci(method="wilson")`: of Newcombe
    (Statistics in Medicine 17, 1998), without importing scipy.stats, which takes a second.
    """
    share = hits / count
    whole = 2 * (count + _NORMAL**2)
    centre = (2 * count * share + _NORMAL**2) / whole
    half = _NORMAL / whole * math.sqrt(4 * count * share * (1 - share) + _NORMAL**2)
    return [centre - half if hits else 0.0, centre + half if hits < count else 1.0]


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
    """Each matched track's score less that of its best other artwork; 0 if there is no other."""
    best = candidates.artwork_scores[matched]
    if best.shape[1] < 2:
        return np.zeros(len(matched), dtype=np.float32)
    other = np.where(candidates.artworks[matched, 0] == chosen, best[:, 1], best[:, 0])
    return scores - other


def of_split(
    tracks: np.ndarray,
    artworks: np.ndarray,
    found: Match,
    scores: np.ndarray,
    *,
    seed: int,
    floor: float = -1.0,
    uses: int = 1,
) -> dict[str, Any]:
    """A split's evidence as JSON values. `scores` are those of the matched pairs.

    `mean`, `bound`, `random` and `greedy` are mean scores per matched pair: of this matching, an
    upper bound for any assignment, of a random one, and of always taking the best pair left. The
    matching maximises corrected scores, whose sum is `weight`; `optimality` is its share of
    `weight_bound`, which no assignment over all pairs can exceed.
    """
    chosen, looked = found.assignment.artworks, found.audit
    matched = np.flatnonzero(chosen >= 0)
    count = max(len(matched), 1)
    total = float(scores.sum(dtype=np.float64))
    chance = random_scores(tracks, artworks, seed)
    plain = greedy(
        tracks, artworks, found.candidates, penalties=found.penalties, floor=floor, uses=uses,
        excluded=found.excluded,
    )  # fmt: skip
    taken = np.flatnonzero(plain >= 0)
    plain_scores = pair_scores(tracks, artworks, taken, plain[taken])
    plain_hubness = hubness(found.candidates, np.zeros(len(artworks)))
    bound = float(found.candidates.artwork_scores[matched, 0].sum(dtype=np.float64))
    if not found.penalties.any():
        bound = min(bound, looked.bound)
    return {
        "tracks": len(tracks),
        "artworks": len(artworks),
        "matched": len(matched),
        "outside_candidates": int(len(matched) - found.listed.sum()),
        "total": total,
        "mean": total / count,
        "bound": bound / count,
        "random": float(chance.mean(dtype=np.float64)),
        "greedy": float(plain_scores.sum(dtype=np.float64)) / max(len(taken), 1),
        "weight": found.weight,
        "weight_bound": looked.bound,
        "optimality": found.optimality,
        "rounds": found.rounds,
        "hubness": plain_hubness,
        "hubness_corrected": hubness(found.candidates, found.penalties)
        if found.penalties.any()
        else plain_hubness,
        "music_to_artwork": recalls(
            looked.track_ranks[matched], looked.track_ties[matched], len(artworks)
        ),
        "artwork_to_music": recalls(
            looked.artwork_ranks[matched], looked.artwork_ties[matched], len(tracks)
        ),
        "histograms": {"matched": histogram(scores), "random": histogram(chance)},
    }


def overall(splits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All splits: counts and totals summed, means weighted by matched pairs."""
    matched = sum(split["matched"] for split in splits)
    counts = ("tracks", "artworks", "matched", "outside_candidates")
    summed = (*counts, "total", "weight", "weight_bound")
    averaged = ("mean", "bound", "random", "greedy")
    sums = {key: sum(split[key] for split in splits) for key in summed}
    sums["optimality"] = share_of_bound(sums["weight"], sums["weight_bound"], matched)
    return sums | {
        key: sum(split[key] * split["matched"] for split in splits) / max(matched, 1)
        for key in averaged
    }


def agreement(
    ours: tuple[np.ndarray, np.ndarray],
    theirs: tuple[np.ndarray, np.ndarray],
    chosen: np.ndarray,
    seed: int,
) -> dict[str, float]:
    """How far another bridge agrees: `ours` and `theirs` are (tracks, artworks), unit rows.

    `spearman`: rank correlation of both bridges' scores over random pairs, 1 for the same order.
    `preferred`: how often the other bridge, too, scores a matched pair (`chosen`: the artwork of
    each track, -1 for none) above the same track with a random artwork; 0.5 is chance.
    """
    from scipy.stats import spearmanr

    generator = np.random.default_rng(seed)
    some = generator.integers(len(chosen), size=MOST_RANDOM_PAIRS)
    other = generator.integers(len(ours[1]), size=MOST_RANDOM_PAIRS)
    here, there = pair_scores(*ours, some, other), pair_scores(*theirs, some, other)
    # If all scores are equal, there is no order to agree on.
    ordered = bool(np.ptp(here)) and bool(np.ptp(there))
    matched = chosen[some] >= 0
    own = pair_scores(*theirs, some[matched], chosen[some[matched]])
    level = own == there[matched]
    above = (own > there[matched]) + 0.5 * level
    return {
        "spearman": float(spearmanr(here, there).statistic) if ordered else 0.0,
        "preferred": float(above.mean()) if matched.any() else 0.5,
    }


def stability(
    tracks: np.ndarray, artworks: np.ndarray, chosen: np.ndarray, again: np.ndarray | None
) -> dict[str, float | None]:
    """How far the pairs of a split survive the errors of measurement.

    Args:
        tracks: Unit rows float32 [n, D] with those errors.
        artworks: The same [m, D].
        chosen: The artwork of each track, -1 for none, without the errors.
        again: The same of a matching with them; None: there is none.

    Returns:
        `kept`: the share of pairs that are the same in both (None without `again`);
        `median_rank`: of the old partners among all artworks, with the errors, 1 is best.
    """
    ranks, ties = track_ranks(tracks, artworks, chosen)
    ranks = (ranks + ties / 2)[chosen >= 0]
    return {
        "kept": None if again is None else equal_pairs(chosen, again),
        "median_rank": float(np.median(ranks)) if len(ranks) else None,
    }


def equal_pairs(chosen: np.ndarray, other: np.ndarray) -> float:
    """The share of tracks to which two matchings (of two bridges, say) give the same artwork.

    `chosen` and `other` hold each track's artwork, -1 for none. Tracks that either leaves unmatched
    do not count; 0.0 if none is left. Raises ValueError for unequal lengths.
    """
    if chosen.shape != other.shape:
        raise ValueError(f"matchings of {len(chosen)} and {len(other)} tracks do not compare")
    both = (chosen >= 0) & (other >= 0)
    return float((chosen == other)[both].mean()) if both.any() else 0.0


def style_genre(
    pairs: pa.Table, artworks: pa.Table, tracks: pa.Table
) -> list[dict[str, str | int | float]]:
    """Pairs and mean score of each style of artwork with each genre of music.

    The most common combinations, at most CELLS of them, most pairs first.
    """
    joined = pairs.join(artworks.select(["artwork_id", "style"]), "artwork_id").join(
        tracks.select(["track_id", "genre"]), "track_id"
    )
    cells = joined.group_by(["style", "genre"]).aggregate(
        [("score", "count"), ("score", "mean"), ("track_id", "min")]
    )
    order = [("score_count", "descending"), ("track_id_min", "ascending")]
    return [
        {
            "style": row["style"],
            "genre": row["genre"],
            "pairs": row["score_count"],
            "mean": row["score_mean"],
        }
        for row in cells.sort_by(order).slice(0, CELLS).to_pylist()
    ]


def most_and_least_certain(pairs: pa.Table) -> dict[str, list[dict[str, Any]]]:
    """The pairs with the largest and the smallest margins, at most EXTREMES of each."""
    kept = pairs.select(["track_id", "artwork_id", "score", "percentile", "margin"])
    found = {}
    for name, order in (("most_certain", "descending"), ("least_certain", "ascending")):
        rows = kept.sort_by([("margin", order), ("track_id", "ascending")])
        found[name] = rows.slice(0, EXTREMES).to_pylist()
    return found
