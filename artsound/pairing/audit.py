"""One more look at all pairs: the exact rank of every match, and proof of how good the whole is.

The proof is linear programming duality. Put any price, zero or more, on every artwork. No
one-to-one assignment can then be worth more than the prices' sum plus, for each track, the best
weight less price that any artwork offers it. The assignment's own dual prices make that bound
tight, and since the bound holds over all pairs, it also judges the choice of candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from artsound.pairing.tiles import Stripe, each_stripe, pair_scores

# Two float32 dot products of unit vectors that differ by less are the same score.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Audit:
    """What a pass over all pairs of a split tells.

    `track_ranks` int64 [n_tracks]: the rank of the assigned artwork among all, 1 is best, 0 where
    a track has none. `artwork_ranks` likewise, for each track, the rank of that track among all
    for its artwork. Scores within TOLERANCE share the better rank.
    `bound`: no assignment of the matched tracks has a larger total weight.
    `missed` int64 [pairs, 2]: (track, artwork) pairs that are worth more to the track, less their
    price, than what it has: those that an optimum over all pairs may need. At most `offers` each.
    """

    track_ranks: np.ndarray
    artwork_ranks: np.ndarray
    bound: float
    missed: np.ndarray


def audit(
    tracks: np.ndarray,
    artworks: np.ndarray,
    assigned: np.ndarray,
    *,
    penalties: np.ndarray,
    prices: np.ndarray,
    uses: int = 1,
    offers: int = 8,
    threads: int = 0,
    barred: np.ndarray | None = None,
) -> Audit:
    """Ranks of the assigned pairs among all, and the dual bound at the given prices.

    `tracks` [n, D], `artworks` [m, D] float32 unit rows; `assigned` [n] the artwork of each
    track, -1 for none; `penalties` [m] what is taken off an artwork's scores to give weights;
    `prices` [m] >= 0, for each of an artwork's `uses`; `barred`: keys of pairs that are not to be
    made, which count for nothing but ranks. Costs about one candidate search.
    """
    from artsound.pairing import heaps

    matched = np.flatnonzero(assigned >= 0)
    mine = assigned[matched]
    own = np.full(len(tracks), np.inf, dtype=np.float32)
    own[matched] = pair_scores(tracks, artworks, matched, mine)
    own += np.float32(TOLERANCE)
    # An artwork used more than once has several tracks to rank: one level each.
    level = np.zeros(len(tracks), dtype=np.int64)
    order = np.argsort(mine, kind="stable")
    starts = np.searchsorted(mine[order], mine[order])
    level[matched[order]] = np.arange(len(order)) - starts
    levels = max(1, int(level.max(initial=0)) + 1)
    artwork_own = np.full((levels, len(artworks)), np.inf, dtype=np.float32)
    artwork_own[level[matched], mine] = own[matched]

    above = np.zeros((levels, len(artworks)), dtype=np.int64)
    off = (penalties + prices).astype(np.float32)
    size = min(offers, len(artworks))

    def look(stripe: Stripe) -> tuple[np.ndarray, np.ndarray]:
        track_above = np.zeros(len(tracks), dtype=np.int64)
        best = heaps.empty(len(tracks), size)
        for top, left, scores in stripe.tiles(tracks, artworks):
            heaps.count_above(scores, top, left, own, artwork_own, track_above, above)
            np.subtract(scores, off[left : left + scores.shape[1]], out=scores)
            heaps.scan_rows(scores, top, left, best)
        return track_above, best

    (track_above, best), *others = each_stripe(look, len(artworks), threads)
    for other_above, other_best in others:
        track_above += other_above
        heaps.merge(best, other_best)
    offered, worth = heaps.lists(best)
    artwork_ranks = np.where(assigned >= 0, above[level, assigned] + 1, 0)
    best_worth = worth[:, 0]
    if barred is not None and len(barred):
        least = worth[:, -1].copy()  # no pair that is not offered is worth more
        keys = np.arange(len(tracks))[:, None] * len(artworks) + offered
        worth[np.isin(keys, barred)] = -np.inf
        best_worth = np.maximum(worth.max(axis=1), least)
    bound = best_worth[matched].sum(dtype=np.float64) + uses * prices.sum(dtype=np.float64)
    held = np.full(len(tracks), -np.inf)
    held[matched] = own[matched].astype(np.float64) - off[mine]
    some, place = np.nonzero(worth > held[:, None] + TOLERANCE)
    return Audit(
        track_ranks=np.where(assigned >= 0, track_above + 1, 0),
        artwork_ranks=artwork_ranks,
        bound=float(bound),
        missed=np.stack([some, offered[some, place].astype(np.int64)], axis=1),
    )
