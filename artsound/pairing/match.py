"""Matching two sides: candidates, assignment, and a certificate of optimality.

`artsound.match` matches any two sets of unit rows; a build matches each split, with the pairs of a
previous release if there is one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from artsound.errors import BadUsage
from artsound.pairing import cells, heaps, search
from artsound.pairing.assignment import (
    Assignment,
    Edges,
    PainterLimits,
    Places,
    assign,
    candidate_edges,
    checked_limits,
    guessed_places,
    unmatched_cost,
)
from artsound.pairing.excluded import excluded_within
from artsound.pairing.guess import Guess, guess_prices, no_guess, with_guess
from artsound.pairing.previous_release import free_artworks
from artsound.pairing.rows import UNIT_TOLERANCE
from artsound.pairing.saved_match import SavedMatch, open_saved, saved_in_build
from artsound.pairing.search import (
    Candidates,
    Stripe,
    each_stripe,
    find_candidates,
    hub_penalties,
    pair_scores,
)
from artsound.pairing.splits import PairCatalogue
from artsound.recipe import Recipe

# The audit: a second pass over all pairs, which gives the exact rank of every match and a bound.
#
# The bound is linear programming duality. Put any price, zero or more, on every artwork. Let a
# matched track earn `unmatched_cost` beside its weight; then no matching can earn more than the
# prices' sum plus, for each track, the best weight less price of any artwork (0 if that is less:
# it may stay unmatched). Among matchings of as many pairs, the cost is the same for all and is
# subtracted. The assignment's own dual prices make that bound tight, and since it holds over all
# pairs that may be made, it also measures what the choice of candidates costs.
#
# An artwork whose price is about `unmatched_cost` is one that tracks go without: the number of
# these, and of tracks with any other artwork, bounds the number of pairs (König's theorem). The
# two parts of a price are treated apart, since float32 would lose the smaller beside the larger.

# Float32 dot products of unit vectors that differ by less count as equal.
TOLERANCE = 1e-6
_NEAR = np.array([[TOLERANCE], [-TOLERANCE]], dtype=np.float32)


@dataclass(frozen=True)
class Audit:
    """The result of a pass over all pairs of a split.

    Attributes:
        track_ranks: int64 [n_tracks], the rank of the assigned artwork among all for the track: 1
            is best, 0 if the track has none. Scores within TOLERANCE share the better rank.
        artwork_ranks: int64 [n_tracks], the rank of the track among all for its artwork.
        track_ties: int64 [n_tracks], how many other artworks share the rank.
        artwork_ties: int64 [n_tracks], how many other tracks share the rank.
        bound: No matching of as many pairs has a larger total weight.
        most: No matching has more pairs.
        missed: int64 [pairs, 2], (track, artwork) pairs that an optimum over all pairs may need:
            their weight less price exceeds that of the track's own pair.
    """

    track_ranks: np.ndarray
    artwork_ranks: np.ndarray
    track_ties: np.ndarray
    artwork_ties: np.ndarray
    bound: float
    most: int
    missed: np.ndarray


def audit(
    tracks: np.ndarray,
    artworks: np.ndarray,
    assigned: np.ndarray,
    *,
    penalties: np.ndarray,
    prices: np.ndarray,
    floor: float = -1.0,
    uses: int = 1,
    offers: int = 8,
    threads: int = 0,
    excluded: np.ndarray | None = None,
    limits: PainterLimits | None = None,
) -> Audit:
    """Ranks of the assigned pairs among all, and the dual bound; costs about one candidate search.

    Args:
        tracks: Unit rows float32 [n, D].
        artworks: Unit rows float32 [m, D].
        assigned: [n], the artwork of each track, -1 for none.
        penalties: [m], subtracted from an artwork's scores to give weights.
        prices: [m], 0 or more, of each of an artwork's `uses`.
        floor: The least score of a pair; lower ones count only for ranks.
        uses: How often an artwork may be used.
        offers: How many missed pairs to list for each track, at most (twice that with a floor).
        threads: 0: one per processor.
        excluded: Keys of excluded pairs (see excluded.py), which count only for ranks.
        limits: Of the painters.
    """
    count = len(tracks)
    own, level, artwork_own = _own_scores(tracks, artworks, assigned)
    cost = unmatched_cost(count)
    needed = prices > cost / 2
    low = prices - cost * needed
    offs = [np.where(needed, np.inf, penalties + low)]
    if needed.any():
        offs.append(np.where(needed, penalties + low, np.inf))
    # A pair at the floor may be above it or not, by rounding.
    near = floor + TOLERANCE if floor > -1 else floor
    allowed = search.pair_limits(len(artworks), near, excluded)
    size, rows = min(offers, len(artworks)), np.arange(count)
    if cells.usable(tracks, artworks):
        offered = search.best_by_weight(tracks, artworks, rows, offs, size, allowed)
        track_above = cells.count_above(tracks, artworks, own + _NEAR, threads)
        artwork_above = np.stack(
            [cells.count_above(artworks, tracks, one + _NEAR, threads) for one in artwork_own],
            axis=1,
        )
    else:
        offered, track_above, artwork_above = _look_at_all(
            tracks, artworks, own, artwork_own, offs, size, allowed, threads
        )
    duals = _duals(assigned, own, penalties, prices, uses, rows, offered, limits=limits)
    track_places = _ranks(assigned, track_above)
    artwork_places = _ranks(assigned, artwork_above[:, level, assigned])
    return Audit(
        track_ranks=track_places[0],
        artwork_ranks=artwork_places[0],
        track_ties=track_places[1],
        artwork_ties=artwork_places[1],
        bound=duals.bound,
        most=duals.most,
        missed=duals.missed,
    )


def _ranks(assigned: np.ndarray, above: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranks and ties int64 [n], of how many score more, and as much or more: int64 [2, n]."""
    fewer, more = np.where(assigned >= 0, above + 1, 0)
    return fewer, np.maximum(more - fewer - 1, 0)


def track_ranks(
    tracks: np.ndarray, artworks: np.ndarray, assigned: np.ndarray, threads: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The `track_ranks` and `track_ties` of an audit, without the rest of it."""
    own = _own_scores(tracks, artworks, assigned)[0]
    if cells.usable(tracks, artworks):
        return _ranks(assigned, cells.count_above(tracks, artworks, own + _NEAR, threads))
    none = np.zeros((0, len(artworks)))

    def look(stripe: Stripe) -> np.ndarray:
        above = np.zeros((2, len(tracks)), dtype=np.int64)
        for top, left, scores in stripe.tiles(tracks, artworks):
            for limits, counts in zip(own + _NEAR, above, strict=True):
                search.count_in_tile(scores, top, left, limits, none, counts, none)
        return above

    return _ranks(assigned, np.sum(each_stripe(look, len(artworks), threads), axis=0))


def _look_at_all(
    tracks: np.ndarray,
    artworks: np.ndarray,
    own: np.ndarray,
    artwork_own: np.ndarray,
    offs: list[np.ndarray],
    size: int,
    allowed: search.PairLimits,
    threads: int,
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray, np.ndarray]:
    """What an audit needs of all pairs, in one pass.

    Returns:
        The artworks of highest score less each of `offs`, as of `search.best_by_weight`; and how
        many artworks score more for each track than `own` [n_tracks] and each of _NEAR, int64
        [2, n_tracks]; and so how many tracks for each artwork than `artwork_own` [levels,
        n_artworks], int64 [2, levels, n_artworks].
    """
    count, rows = len(tracks), np.arange(len(tracks))
    off = np.stack(offs).astype(np.float32)
    # How many score more, and how many as much or more.
    above_at = [(own + near, artwork_own + near) for near in _NEAR[:, 0]]
    artwork_above = np.zeros((2, *artwork_own.shape), dtype=np.int64)

    def look(stripe: Stripe) -> tuple[np.ndarray, list[np.ndarray]]:
        track_above = np.zeros((2, count), dtype=np.int64)
        best = [heaps.empty(count, size) for _ in offs]
        for top, left, scores in stripe.tiles(tracks, artworks):
            for (track_at, artwork_at), by_track, by_artwork in zip(
                above_at, track_above, artwork_above, strict=True
            ):
                search.count_in_tile(scores, top, left, track_at, artwork_at, by_track, by_artwork)
            allowed.hide(scores, rows[top : top + len(scores)], left)
            here = slice(left, left + scores.shape[1])
            for one, heap in zip(off[1:], best[1:], strict=True):
                search.scan_rows(scores - one[here], top, left, heap)
            np.subtract(scores, off[0, here], out=scores)
            search.scan_rows(scores, top, left, best[0])
        return track_above, best

    (track_above, best), *others = each_stripe(look, len(artworks), threads)
    for other_above, other_best in others:
        track_above += other_above
        for heap, more in zip(best, other_best, strict=True):
            heaps.merge(heap, more)
    return [heaps.lists(heap) for heap in best], track_above, artwork_above


@dataclass(frozen=True)
class Certificate:
    """What duality proves of an assignment: the last three of `Audit`."""

    bound: float
    most: int
    missed: np.ndarray


def certify(
    tracks: np.ndarray,
    artworks: np.ndarray,
    found: Assignment,
    candidates: Candidates,
    guess: Guess,
    *,
    penalties: np.ndarray,
    floor: float,
    uses: int,
    optimality: float,
    offers: int,
    excluded: np.ndarray | None,
    limits: PainterLimits | None = None,
) -> Certificate:
    """The same bound as of `audit`, or one a little above it, mostly without another product.

    A pair in neither list of candidates has no more than the last of the track's list, nor than
    the last of the artwork's. With the prices, that bounds what a track can gain by it. Only the
    pairs for which both bounds leave a gain are compared, and none of tracks that can gain so
    little that together they stay within half of what `optimality` allows.
    """
    assigned, count = found.artworks, len(tracks)
    matched = np.flatnonzero(assigned >= 0)
    own = np.full(count, np.inf, dtype=np.float32)
    own[matched] = pair_scores(tracks, artworks, matched, assigned[matched])
    cost = unmatched_cost(count)
    needed = found.prices > cost / 2
    low = found.prices - cost * needed
    near = floor + TOLERANCE if floor > -1 else floor
    allowed = search.pair_limits(len(artworks), near, excluded)
    size = min(offers, len(artworks))
    few = count * len(artworks) <= _SMALL or cells.usable(tracks, artworks)
    if few or len(matched) < count or needed.any():
        offs = [np.where(needed, np.inf, penalties + low)]
        if needed.any():
            offs.append(np.where(needed, penalties + low, np.inf))
        some = np.arange(count)
        offered = search.best_by_weight(tracks, artworks, some, offs, size, allowed)
        return _duals(assigned, own, penalties, found.prices, uses, some, offered, limits=limits)

    off = penalties + low
    held = own - off[assigned]
    who, what = np.divmod(found.edges.keys, len(artworks))
    listed = held.copy()
    np.maximum.at(listed, who, np.where(
        found.edges.scores >= allowed.floor, found.edges.scores - off[what], -np.inf))  # fmt: skip
    # What an artwork's price is below the guess, and what a track has above it.
    fall, rise = guess.prices - off, held - guess.worths
    last = candidates.artwork_scores[:, -1].astype(np.float64)
    of_artwork = candidates.track_scores[:, -1].astype(np.float64)
    rest = np.maximum(listed, _unlisted_bounds(last, of_artwork, -fall) + guess.worths)
    slack = rest - held
    order = np.argsort(slack, kind="stable")
    allowed_gap = (1.0 - optimality) / 2 * abs(float(own.sum(dtype=np.float64)))
    spared = np.searchsorted(np.cumsum(slack[order]), allowed_gap, side="right")
    some = np.sort(order[spared:])
    rest[some] = listed[some]
    reach = search.Reach(fall, fall + of_artwork, (rise - last)[some], rise[some])
    which, worth, _ = search.best_within(tracks, artworks, some, off, size, allowed, reach)
    return _duals(
        assigned, own, penalties, found.prices, uses, some, [(which, worth)], rest, limits
    )


RESUMED = 2**40  # multiplications of a product from which a matching in a build is saved: 15 s
_SMALL = 2**24  # pairs up to which all are compared, and the bound is the lowest
_GUESSED = 2**32  # pairs from which prices are guessed first
_SLACK = 0.1  # of the difference from the bound that is allowed: what the assignment may use of it


def _unlisted_bounds(last: np.ndarray, of_artwork: np.ndarray, off: np.ndarray) -> np.ndarray:
    """The most that a track can have of an artwork in neither list, less `off`: float64 [n].

    Args:
        last: float64 [n], the last score of each track's list.
        of_artwork: float64 [m], the last score of each artwork's list.
        off: float64 [m].
    """
    order = np.argsort(-of_artwork, kind="stable")
    reach, less = of_artwork[order], off[order]
    none = np.array([-np.inf])
    # Artworks whose own list ends above the track's, and the others.
    above = np.concatenate([none, np.maximum.accumulate(-less)])
    below = np.concatenate([np.maximum.accumulate((reach - less)[::-1])[::-1], none])
    at = np.searchsorted(-reach, -last, side="right")
    bounds: np.ndarray = np.maximum(last + above[at], below[at])
    return bounds


def _duals(
    assigned: np.ndarray,
    own: np.ndarray,
    penalties: np.ndarray,
    prices: np.ndarray,
    uses: int,
    some: np.ndarray,
    offered: list[tuple[np.ndarray, np.ndarray]],
    rest: np.ndarray | None = None,
    limits: PainterLimits | None = None,
) -> Certificate:
    """The bounds that the prices prove.

    Args:
        assigned: int64 [n], the artwork of each track, -1 for none.
        own: The score of its pair.
        penalties: Of the artworks.
        prices: Of the artworks.
        uses: How often an artwork may be used.
        some: int64 [s], the tracks that were compared with artworks.
        offered: Artworks and weights less price [s, k], best first: of those that are not needed,
            and, if there are any, of those that are.
        rest: [n], an upper bound for what was not compared.
        limits: Of the painters.
    """
    count, matched = len(assigned), np.flatnonzero(assigned >= 0)
    mine, cost = assigned[matched], unmatched_cost(len(assigned))
    needed = prices > cost / 2
    low = prices - cost * needed
    held = np.full(count, -np.inf)
    held[matched] = own[matched].astype(np.float64) - (penalties + low)[mine]
    without = np.ones(count, dtype=bool)  # tracks that have none of the artworks not needed
    without[matched] = needed[mine]
    best = np.full(count, -np.inf) if rest is None else rest.astype(np.float64)
    best_needed = np.full(count, -np.inf)
    for values, (_, worth) in zip((best, best_needed), offered, strict=False):
        values[some] = np.maximum(values[some], worth[:, 0])
    best = np.maximum(best, np.where(without, -np.inf, held))
    best_needed = np.maximum(best_needed, np.where(without, held, -np.inf))
    most = int((best > -np.inf).sum() + uses * needed.sum())
    returned = least_returned = 0.0
    if limits is not None:
        # A painter's limit has a price, too: the least of any of the painter's artworks.
        every = limits.least(needed.astype(np.float64))  # 1 if all of the painter's are needed
        most -= round(limits.returned(every))
        least_low = limits.least(np.where(needed, np.inf, low))
        returned = limits.returned(np.where(every > 0, limits.least(low), least_low))
        least_returned = limits.returned(limits.least(np.maximum(low, 0.0)))
    least = [np.where(without, -np.inf, held), np.where(without, np.maximum(held, 0.0), np.inf)]
    missed = []
    for (which, worth), limit in zip(offered, least, strict=False):
        who, place = np.nonzero((worth > limit[some, None] + TOLERANCE) & (which >= 0))
        missed.append(np.stack([some[who], which[who, place].astype(np.int64)], axis=1))
    paid = uses * low.sum() - returned
    least_paid = uses * np.maximum(low, 0.0).sum() - least_returned
    bound = _bound(best, best_needed, paid, least_paid, len(matched), most)
    return Certificate(bound, min(most, count), np.concatenate(missed))


def _own_scores(
    tracks: np.ndarray, artworks: np.ndarray, assigned: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The score of each track's pair, float32 [n_tracks]; inf if it has none.

    The same by artwork, float32 [levels, n_artworks]: an artwork that is used more than once has
    several tracks to rank, each on a level of its own, int64 [n_tracks], which comes between.
    """
    matched = np.flatnonzero(assigned >= 0)
    mine = assigned[matched]
    own = np.full(len(tracks), np.inf, dtype=np.float32)
    own[matched] = pair_scores(tracks, artworks, matched, mine)
    level = np.zeros(len(tracks), dtype=np.int64)
    order = np.argsort(mine, kind="stable")
    starts = np.searchsorted(mine[order], mine[order])
    level[matched[order]] = np.arange(len(order)) - starts
    levels = max(1, int(level.max(initial=0)) + 1)
    by_artwork = np.full((levels, len(artworks)), np.inf, dtype=np.float32)
    by_artwork[level[matched], mine] = own[matched]
    return own, level, by_artwork


def _bound(
    best: np.ndarray, best_needed: np.ndarray, paid: float, least_paid: float, pairs: int, most: int
) -> float:
    """No matching of so many `pairs` has a larger total weight.

    Args:
        best: float64 [n_tracks], each track's largest weight less price among the artworks that
            are not needed; -inf if it may have none of them.
        best_needed: The same among those that are, with their prices less the unmatched cost.
        paid: The sum of all prices, as often as an artwork and a painter may be used, less that
            cost.
        least_paid: The same if no price is below 0.
        pairs: As many as are matched.
        most: No matching has more pairs.
    """
    cost = unmatched_cost(len(best))
    some = best > -np.inf
    rest = np.where(some, np.maximum(best, best_needed - cost), np.maximum(best_needed, 0.0))
    bound = rest.sum() + paid + cost * (most - pairs)
    # At prices without the cost: if more could be matched, those of the largest weight might be.
    largest = np.sort(np.maximum(best, best_needed))[len(best) - pairs :]
    return float(min(bound, largest.sum() + least_paid))


MOST_ROUNDS = 16
OFFERS = 8  # missed pairs to list for each track in the first round; twice as many in each other
MOST_OFFERS = 2**24  # of all tracks: 130 MB


@dataclass(frozen=True)
class Match:
    """An assignment, with its candidates and its audit.

    Attributes:
        candidates: Of both sides.
        excluded: int64, ascending: keys of excluded pairs (see excluded.py).
        penalties: float64 [n_artworks], the hub correction.
        assignment: The artwork of each track.
        audit: Its `bound` is the largest weight that as many pairs can have.
        weight: The sum of score less penalty over the pairs.
        rounds: How many times all pairs were audited.
    """

    candidates: Candidates
    excluded: np.ndarray
    penalties: np.ndarray
    assignment: Assignment
    audit: Audit
    weight: float
    rounds: int

    @property
    def listed(self) -> np.ndarray:
        """Whether each track's pair is one of the candidates: bool [n_tracks]."""
        matched = np.flatnonzero(self.assignment.artworks >= 0)
        chosen = self.assignment.artworks[matched]
        of_tracks, of_artworks = self.candidates.artworks, self.candidates.tracks
        listed = np.zeros(len(self.assignment.artworks), dtype=bool)
        listed[matched] = (of_tracks[matched] == chosen[:, None]).any(axis=1)
        listed[matched] |= (of_artworks[chosen] == matched[:, None]).any(axis=1)
        return listed

    @property
    def matched(self) -> int:
        """The number of pairs."""
        return int((self.assignment.artworks >= 0).sum())

    @property
    def optimality(self) -> float:
        """`weight` as a share of the bound; 1.0 if it is provably the largest."""
        return share_of_bound(self.weight, self.audit.bound, self.matched)


def share_of_bound(weight: float, bound: float, pairs: int) -> float:
    """The share of a bound on the weight of so many pairs that is reached, 0 to 1.

    1.0 for a difference that float32 products do not resolve. Right for negative weights too: the
    difference to the bound, relative to the bound, is subtracted from 1.
    """
    gap = bound - weight
    if gap <= TOLERANCE * pairs:
        return 1.0
    return max(0.0, 1.0 - gap / abs(bound)) if bound else 0.0


def match(
    tracks: np.ndarray,
    artworks: np.ndarray,
    *,
    count: int,
    neighbours: int = 0,
    floor: float = -1.0,
    uses: int = 1,
    painters: np.ndarray | None = None,
    painter_uses: int | np.ndarray = 0,
    optimality: float = 0.999,
    device: str = "cpu",
    excluded: np.ndarray | None = None,
    ranks: bool = True,
    saved: SavedMatch | None = None,
) -> Match:
    """Candidates, hub correction, assignment and audit; repeated with the missed pairs.

    As many tracks are matched as `floor`, `uses` and `excluded` allow, at the largest total of
    score less hub correction. The candidates are widened until that number is proved and the total
    is at least `optimality` of the bound over all pairs, nothing is missed, or MOST_ROUNDS are
    done.

    Args:
        tracks: Unit rows float32 [n, D].
        artworks: Unit rows float32 [m, D].
        count: Candidates of each item.
        neighbours: Of the hub correction; 0: none.
        floor: As for `assign`, like `uses`, `painters` and `painter_uses`.
        optimality: A share, 0 to 1. Where prices are guessed, the assignment itself may use a tenth
            of what is missing from 1.
        device: Of the search for candidates.
        excluded: Keys of excluded pairs, ascending (see excluded.py).
        ranks: Whether the ranks in `audit` are needed, which take one more pass over all pairs:
            without, they are 0, and the bound may be a little higher (see `certify`).
        saved: Where finished work is saved, and continued from.
    """
    limits = checked_limits(len(tracks), len(artworks), uses, painters, painter_uses)
    uses = min(uses, max(len(tracks), 1))
    plain, saved = not (ranks or neighbours or limits), saved or SavedMatch()
    guessed = plain and len(tracks) * len(artworks) >= _GUESSED
    guess, candidates, edges = _find_edges(
        tracks, artworks, count, guessed=guessed, uses=uses, floor=floor,
        excluded=excluded, device=device, saved=saved,
    )  # fmt: skip
    start = guessed_places(guess.prices, len(tracks), uses) if guessed else None
    slack = 0.0
    if guessed and len(edges.scores):
        slack = _SLACK * (1.0 - optimality) * max(float(edges.scores.mean(dtype=np.float64)), 0.0)
    penalties = hub_penalties(candidates, neighbours)
    rounds = 0
    if (state := saved.load("round")) is not None:
        rounds = int(state["rounds"])
        edges = replace(edges, keys=state["keys"], scores=state["scores"])
        start = Places(state["prices"], state["place_of"]) if plain else None
    while True:
        found = assign(
            tracks, artworks, edges, penalties=penalties, floor=floor, uses=uses,
            painters=painters, painter_uses=painter_uses, start=start, slack=slack,
        )  # fmt: skip
        start = found.places if plain else None
        offers = max(OFFERS, min(OFFERS << rounds, MOST_OFFERS // len(tracks)))
        if ranks:
            looked = audit(
                tracks, artworks, found.artworks, penalties=penalties, prices=found.prices,
                floor=floor, uses=uses, offers=offers, excluded=excluded, limits=limits,
            )  # fmt: skip
        else:
            proved = certify(
                tracks, artworks, found, candidates, guess,
                penalties=penalties, floor=floor, uses=uses, optimality=optimality,
                offers=offers, excluded=excluded, limits=limits,
            )  # fmt: skip
            none = np.zeros(len(tracks), dtype=np.int64)
            looked = Audit(none, none, none, none, proved.bound, proved.most, proved.missed)
        rounds += 1
        matched = np.flatnonzero(found.artworks >= 0)
        chosen = found.artworks[matched]
        scores = pair_scores(tracks, artworks, matched, chosen)
        weight = float(scores.sum(dtype=np.float64) - penalties[chosen].sum())
        result = Match(candidates, edges.excluded, penalties, found, looked, weight, rounds)
        enough = result.optimality >= optimality and len(matched) == looked.most
        if enough or rounds == MOST_ROUNDS:
            return result
        some, other = looked.missed.T
        more = pair_scores(tracks, artworks, some, other)
        edges = found.edges.with_more(some * len(artworks) + other, more)
        if len(edges.keys) == len(found.edges.keys):
            return result
        state = {"prices": start.prices, "place_of": start.place_of} if start is not None else {}
        saved.save(
            "round", rounds=np.array(rounds), keys=edges.keys, scores=edges.scores, **state
        )  # fmt: skip


def _find_edges(
    tracks: np.ndarray,
    artworks: np.ndarray,
    count: int,
    *,
    guessed: bool,
    uses: int,
    floor: float,
    excluded: np.ndarray | None,
    device: str,
    saved: SavedMatch,
) -> tuple[Guess, Candidates, Edges]:
    """The candidates by score, or by score less guessed price, with their pairs."""
    if not guessed:
        guess = no_guess(len(tracks), len(artworks))
        candidates = find_candidates(tracks, artworks, count, device=device, saved=saved)
        edges = candidate_edges(candidates, excluded)
    else:
        guess = guess_prices(tracks, artworks, uses)
        sides = with_guess(tracks, artworks, guess)
        candidates = find_candidates(*sides, count, device=device, saved=saved)
        edges = candidate_edges(candidates, excluded)
        who, what = np.divmod(edges.keys, len(artworks))
        edges = replace(edges, scores=edges.scores + guess.worths[who] + guess.prices[what])
    if (near := np.abs(edges.scores - floor) < TOLERANCE).any():
        # Rounded otherwise in a product of matrices, they might be written as below the floor.
        keys = np.divmod(edges.keys[near], len(artworks))
        edges.scores[near] = pair_scores(tracks, artworks, *keys)
    return guess, candidates, edges


def evaluate_match(
    tracks: np.ndarray,
    artworks: np.ndarray,
    chosen: np.ndarray,
    *,
    count: int,
    uses: int = 1,
    device: str = "cpu",
) -> Match:
    """A given assignment, as the same record as one of `match`.

    `chosen` int64 [n] is the artwork of each track, -1 for none. There is no hub correction, and
    `audit.bound` is the sum of the best scores of as many tracks. The assignment has no edges, and
    `audit.missed` is not complete.
    """
    candidates = find_candidates(tracks, artworks, count, device=device)
    nothing = np.zeros(len(artworks))
    none = np.zeros(0, dtype=np.int64)
    # The bound needs the best artwork of each track alone.
    looked = audit(tracks, artworks, chosen, penalties=nothing, prices=nothing, uses=uses, offers=1)
    matched = np.flatnonzero(chosen >= 0)
    weight = float(pair_scores(tracks, artworks, matched, chosen[matched]).sum(dtype=np.float64))
    assignment = Assignment(chosen, Edges(none, none.astype(np.float32), none), nothing)
    return Match(candidates, none, nothing, assignment, looked, weight, 1)


def match_split(
    recipe: Recipe,
    t: np.ndarray,
    a: np.ndarray,
    painters: np.ndarray | None,
    excluded: np.ndarray | None,
    painter_uses: np.ndarray | None = None,
    *,
    folder: Path | None = None,
) -> Match:
    """Match one split with the settings of [pair]: tracks `t` [n, D] and artworks `a` [m, D].

    `painters` [m] and `excluded` are as for `match`, and `painter_uses` takes the place of the
    recipe's. A large matching saves its finished work to `folder`, and continues from there.
    """
    settings = recipe.pair
    saved = None
    if folder is not None and len(t) * len(a) * t.shape[1] >= RESUMED:
        none = np.zeros(0, dtype=np.int64)
        arrays = [t, a, *(none if one is None else one for one in (painters, excluded))]
        arrays.append(none if painter_uses is None else painter_uses)
        saved = saved_in_build(folder, arrays, settings.model_dump(mode="json"))
    return match(
        t,
        a,
        count=settings.candidates,
        neighbours=settings.csls,
        floor=settings.floor,
        uses=settings.artwork_uses,
        painters=painters,
        painter_uses=settings.painter_uses if painter_uses is None else painter_uses,
        optimality=settings.optimality,
        device=settings.device,
        excluded=excluded,
        saved=saved,
    )


def continue_split(
    recipe: Recipe,
    catalogue: PairCatalogue,
    t: np.ndarray,
    a: np.ndarray,
    painters: np.ndarray,
    excluded: np.ndarray,
    split: str,
    *,
    folder: Path | None = None,
) -> Match:
    """Match the tracks of a split that have no pair of the previous release to free artworks.

    `t` and `a` are the vectors of the split's tracks and artworks, `painters` those of the latter.
    The result is one assignment of old and new pairs. `folder` is as for `match_split`.
    """
    tracks, artworks = catalogue.tracks, catalogue.artworks
    place = {artworks.ids[n]: here for here, n in enumerate(artworks.of(split))}
    kept = [catalogue.kept.get(tracks.ids[n]) for n in tracks.of(split)]
    chosen = np.array([place[pair.artwork_id] if pair else -1 for pair in kept], dtype=np.int64)
    new = np.flatnonzero(chosen < 0)
    free, left = free_artworks(chosen[chosen >= 0], painters, recipe.pair.painter_uses)
    if len(new):
        apart = excluded_within(excluded, len(a), new, free)
        again = match_split(recipe, t[new], a[free], painters[free], apart, left, folder=folder)
        found = again.assignment.artworks
        chosen[new[found >= 0]] = free[found[found >= 0]]
    return evaluate_match(
        t, a, chosen,
        count=recipe.pair.candidates, uses=recipe.pair.artwork_uses, device=recipe.pair.device,
    )  # fmt: skip


def painter_numbers(names: pa.ChunkedArray) -> np.ndarray:
    """The painters as numbers [m]; each unknown one ("") gets its own number."""
    known = [name or f" {n}" for n, name in enumerate(names.to_pylist())]
    numbers: np.ndarray = np.unique(known, return_inverse=True)[1]
    return numbers


# The same for any two sets of unit rows: `artsound.match`.

_CANDIDATES = 32
# With longer lists fewer tracks must be compared with all artworks for the certificate (at 8,000
# rows of each side 6 % in place of 37 %). Their memory is too large for the largest sides.
_MANY_CANDIDATES = 64
_LARGEST = 1_000_000


@dataclass(frozen=True)
class Matching:
    """Which row of X goes with which row of Y, and how good that is.

    Attributes:
        pairs: int64 [k, 2], ascending: the row of X and the row of Y of each pair. Each row of X
            occurs at most once, each row of Y at most `uses` times.
        scores: float32 [k], the dot products of the pairs.
        total: The sum of the scores.
        bound: No matching of as many pairs of the same rows has a larger total (by linear
            programming duality, over all pairs, not only those that were looked at first).
        share: `total` as a share of `bound`: 1.0 when the matching is provably optimal.
    """

    pairs: np.ndarray
    scores: np.ndarray
    total: float
    bound: float
    share: float


def match_rows(
    x: np.ndarray,
    y: np.ndarray,
    *,
    floor: float | None = None,
    uses: int = 1,
    exclude: np.ndarray | None = None,
    optimality: float = 0.999,
    device: str = "cpu",
    folder: str | os.PathLike[str] | None = None,
) -> Matching:
    """Implements `artsound.match`, which see."""
    x, y = _unit_rows("X", x), _unit_rows("Y", y)
    if x.shape[1] != y.shape[1]:
        raise BadUsage(f"X has rows of {x.shape[1]} values and Y of {y.shape[1]}: both need one D.")
    if not (_is_number(uses, Integral) and uses >= 1):
        raise BadUsage(f"uses must be a whole number, 1 or more, not {uses!r}.")
    if not (_is_number(optimality) and 0 <= optimality <= 1):
        raise BadUsage(f"optimality must be a number between 0 and 1, not {optimality!r}.")
    if not (floor is None or (_is_number(floor) and not np.isnan(floor))):
        raise BadUsage(f"floor must be None or a number, the least score of a pair, not {floor!r}.")
    apart = _excluded_rows(exclude, len(x), len(y))
    if not len(x) or not len(y):
        none = np.zeros((0, 2), np.int64)
        return Matching(none, np.zeros(0, np.float32), 0.0, 0.0, 1.0)
    not_too_many = max(len(x), len(y)) <= _LARGEST
    saved_options = [None if floor is None else float(floor), int(uses), float(optimality), device]
    options: dict[str, Any] = {
        "count": _MANY_CANDIDATES if len(x) * len(y) > _SMALL and not_too_many else _CANDIDATES,
        "ranks": False,
        "floor": -2.0 if floor is None else floor,  # no dot product of unit rows is lower
        "optimality": optimality,
        "device": device,
        "saved": open_saved(folder, [x, y, apart], saved_options),
    }
    if len(x) <= len(y) * uses:
        keys = apart[:, 0] * len(y) + apart[:, 1]
        found = match(x, y, uses=uses, excluded=np.unique(keys), **options)
        rows = np.flatnonzero(found.assignment.artworks >= 0)
        pairs = np.stack([rows, found.assignment.artworks[rows]], axis=1)
    else:  # match the rows of Y, each `uses` times, to the rows of X
        places = (apart[:, 1, None] * uses + np.arange(uses)).ravel()
        keys = places * len(x) + np.repeat(apart[:, 0], uses)
        found = match(np.repeat(y, uses, axis=0), x, excluded=np.unique(keys), **options)
        places = np.flatnonzero(found.assignment.artworks >= 0)
        pairs = np.stack([found.assignment.artworks[places], places // uses], axis=1)
        pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    scores = pair_scores(x, y, pairs[:, 0], pairs[:, 1])
    return Matching(pairs, scores, found.weight, found.audit.bound, found.optimality)


def _is_number(value: object, kind: type = Real) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _unit_rows(name: str, rows: np.ndarray) -> np.ndarray:
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype.kind != "f":
        raise BadUsage(f"{name} must be an array of unit rows [n, D] of floating-point numbers.")
    with np.errstate(over="ignore"):  # of values that cannot be in unit rows
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    if faulty := np.flatnonzero(~(np.abs(lengths - 1.0) <= UNIT_TOLERANCE)).tolist():
        raise BadUsage(
            f"Row {faulty[0]} of {name} has the length {lengths[faulty[0]]:.3g}, not 1 "
            f"({len(faulty)} such rows): divide each row by its length."
        )
    return rows


def _excluded_rows(exclude: np.ndarray | None, n: int, m: int) -> np.ndarray:
    """The excluded pairs as int64 [e, 2]."""
    if exclude is None:
        return np.zeros((0, 2), np.int64)
    pairs = np.asarray(exclude)
    if not pairs.size:
        return np.zeros((0, 2), np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise BadUsage("exclude must be whole numbers [e, 2]: a row of X and a row of Y each.")
    pairs = pairs.astype(np.int64)
    if len(pairs) and (pairs.min() < 0 or (pairs.max(axis=0) >= (n, m)).any()):
        raise BadUsage(f"exclude names rows beyond X, which has {n}, or Y, which has {m}.")
    return pairs
