"""From two sides' vectors to the best assignment between them, and the proof of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from artsound.pairing.assignment import Assignment, Edges, assign, candidate_edges
from artsound.pairing.audit import Audit, audit
from artsound.pairing.candidates import Candidates, find_candidates, hub_penalties
from artsound.pairing.quick import find_quick_candidates, in_fewer_dimensions
from artsound.pairing.tiles import pair_scores

MOST_ROUNDS = 8


@dataclass(frozen=True)
class Match:
    """An assignment with all that led to it.

    `weight`: the sum of score - penalty over the pairs; `audit.bound` is what no assignment of
    the same tracks can exceed. `rounds`: how often all pairs were audited.
    """

    candidates: Candidates
    edges: Edges
    penalties: np.ndarray
    assignment: Assignment
    audit: Audit
    weight: float
    rounds: int

    @property
    def listed(self) -> np.ndarray:
        """Whether each track's pair is one of the candidates: bool [n_tracks]."""
        chosen = self.assignment.artworks
        keys = np.arange(len(chosen)) * len(self.penalties) + chosen
        return (chosen >= 0) & self.edges.holds(keys)

    @property
    def optimality(self) -> float:
        """`weight` as a share of the bound; 1.0 where there is nothing to gain."""
        return share(self.weight, self.audit.bound)


def share(weight: float, bound: float) -> float:
    """How much of a bound is reached, at most 1.0; also right where both are negative."""
    gap = max(bound - weight, 0.0)
    return 1.0 - gap / abs(bound) if bound else 1.0


def match(
    tracks: np.ndarray,
    artworks: np.ndarray,
    *,
    count: int,
    neighbours: int = 0,
    floor: float = -1.0,
    uses: int = 1,
    painters: np.ndarray | None = None,
    painter_uses: int = 0,
    optimality: float = 0.999,
    quick: int = 0,
    device: str = "cpu",
    barred: np.ndarray | None = None,
) -> Match:
    """Candidates, hub correction, assignment, audit; again with the pairs that were missed.

    `tracks` [n, D], `artworks` [m, D] float32 unit rows; `count` candidates of each item;
    `neighbours` of the hub correction (0: none); `floor`, `uses`, `painters` and `painter_uses`
    as for `assign`; `quick`: dimensions in which candidates are first looked for, at less cost
    (0: all). Either way they are widened until the total is at least `optimality` of the bound over
    all pairs, or nothing is missed, or MOST_ROUNDS are done; with a painters' cap, to which the
    bound does not apply, there is one round. `barred`: keys of pairs that are not to be made, as
    for `Edges`.
    """
    # What is looked for later, for tracks in a crowd, is worth twice the dimensions.
    rough = in_fewer_dimensions(tracks, artworks, 2 * quick) if quick else None
    if rough:
        candidates = find_quick_candidates(tracks, artworks, count, rough, width=quick)
    else:
        candidates = find_candidates(tracks, artworks, count, device=device)
    penalties = hub_penalties(candidates, neighbours)
    edges = listed = candidate_edges(candidates, barred)
    rounds = 0
    while True:
        found = assign(
            tracks, artworks, edges, penalties=penalties, floor=floor, uses=uses,
            painters=painters, painter_uses=painter_uses, rough=rough,
        )  # fmt: skip
        looked = audit(
            tracks, artworks, found.artworks, penalties=penalties, prices=found.prices, uses=uses,
            barred=barred,
        )  # fmt: skip
        rounds += 1
        matched = np.flatnonzero(found.artworks >= 0)
        chosen = found.artworks[matched]
        scores = pair_scores(tracks, artworks, matched, chosen)
        weight = float(scores.sum(dtype=np.float64) - penalties[chosen].sum())
        result = Match(candidates, listed, penalties, found, looked, weight, rounds)
        if result.optimality >= optimality or rounds == MOST_ROUNDS or painter_uses:
            return result
        some, other = looked.missed.T
        more = pair_scores(tracks, artworks, some, other)
        worth = more >= floor
        keys = some[worth] * len(artworks) + other[worth]
        edges = found.edges.with_more(keys, more[worth])
        if len(edges.keys) == len(found.edges.keys):
            return result


def judge(
    tracks: np.ndarray,
    artworks: np.ndarray,
    chosen: np.ndarray,
    *,
    count: int,
    uses: int = 1,
    device: str = "cpu",
) -> Match:
    """An assignment made elsewhere, with the same evidence as one of ours.

    `chosen` int64 [n]: the artwork of each track, -1 for none. Nothing is taken off for hubs, and
    `audit.bound` is each track's best score: no assignment of these tracks is worth more.
    """
    candidates = find_candidates(tracks, artworks, count, device=device)
    nothing = np.zeros(len(artworks))
    edges = candidate_edges(candidates)
    looked = audit(tracks, artworks, chosen, penalties=nothing, prices=nothing, uses=uses)
    matched = np.flatnonzero(chosen >= 0)
    weight = float(pair_scores(tracks, artworks, matched, chosen[matched]).sum(dtype=np.float64))
    assignment = Assignment(chosen, edges, nothing)
    return Match(candidates, edges, nothing, assignment, looked, weight, 1)
