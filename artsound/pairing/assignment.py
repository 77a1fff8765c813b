"""The assignment: at most one artwork for each track, at the largest total weight.

The weight of a pair is its score less the hub correction of its artwork. The optimum is exact on
the graph of candidates. Tracks without a good partner in the graph get new candidates, searched
among all artworks: those of highest weight less price, and the best that are free.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from artsound.errors import BadData, BadUsage
from artsound.pairing.heaps import packed
from artsound.pairing.search import (
    Candidates,
    PairLimits,
    best_by_weight,
    pair_limits,
    pair_scores,
)

# The heaviest assignment on a sparse graph, exactly, with the prices that prove it.
#
# Jonker & Volgenant (Computing 38, 1987): first every row in turn bids for its best column, raising
# the column's price until its second best is as good; then each row that is still free is matched
# by a shortest augmenting path (Dijkstra on reduced costs). Each row also has an alternative of its
# own, a dummy, which bounds every search and makes the problem feasible.
#
# With a slack above 0, a bid raises the price by that much more, as in the auction of Bertsekas
# (Annals of Operations Research 14, 1988): no two rows then bid against each other in steps of
# nothing, hardly any row is left for an augmenting path, and each row's column is within the slack
# of the row's best, so that the total is within rows * slack of the largest. Where many rows
# compete for few columns, prices must rise by far more than the slack: then bids are raised by
# larger and larger steps until every row has a column, and by smaller and smaller ones again, each
# time by the rows that gain more than the step by another column (Bertsekas' scaling).
#
# Weights and prices are whole numbers, so sums are exact and equal inputs give equal outputs.
# The functions are compiled by numba when first called; import this module where it is used.

FREE = -1
DUMMY = -2
BIDS_PER_ROW = 60  # on average; after these, larger steps or augmenting paths match the rest
STEPS = 4  # by which the steps of bids are raised and lowered
WIDEST = 2**22  # the step, an eighth of a score, above which augmenting paths match the rest
RELEASES = 8  # of rows, for columns without a row whose price becomes 0; then all rows begin again
FAR = np.int64(2**62)


@njit(nogil=True, cache=True)
def heaviest(indptr, indices, weights, dummies, prices, column_of, row_of, slack, scaled=True):  # type: ignore[no-untyped-def]
    """Match every row of a CSR graph to a column or to its dummy, at the largest total weight.

    The total may be less than the largest by `slack` for each row, a whole number, 0 or more.

    `weights` int64 [edges]; `dummies` int64 [rows], the weight of leaving a row unmatched.
    Changed in place: `prices` int64 [columns], zero where no row is matched; `column_of` int64
    [rows], a column, DUMMY or FREE; `row_of` int64 [columns], a row or FREE. Start them at 0,
    FREE, FREE, or from an optimum on fewer edges with the rows that gained edges set FREE (none of
    which may have a column). With other prices, or with a slack and `scaled` steps, the result is
    the largest if no column without a row has a price at the end (see `_settle`). The edges of
    each row are put into another order.
    """
    waiting = np.flatnonzero(column_of == FREE)
    waiting = _bid(
        indptr, indices, weights, dummies, prices, column_of, row_of,
        slack, waiting, BIDS_PER_ROW * len(waiting),
    )  # fmt: skip
    if slack > 0 and scaled and len(waiting):
        waiting = _scale(
            indptr, indices, weights, dummies, prices, column_of, row_of, slack, waiting
        )
    _augment(indptr, indices, weights, dummies, prices, column_of, row_of, waiting)
    return len(waiting)


@njit(nogil=True, cache=True)
def _bid(indptr, indices, weights, dummies, prices, column_of, row_of, step, rows, bids):  # type: ignore[no-untyped-def]
    """Let `rows`, and those that lose their columns, bid by `step` more than they must, in place.

    Returns the rows that are still free after so many `bids`, or whose bid would not raise a price.
    """
    free = np.empty(len(indptr), dtype=np.int64)
    count = len(rows)
    free[:count] = rows[::-1]  # a stack: the first row on top
    waiting = np.empty(len(indptr), dtype=np.int64)
    waits = 0
    while count:
        count -= 1
        row = free[count]
        first, second, best = -FAR, dummies[row], FREE
        for edge in range(indptr[row], indptr[row + 1]):
            value = weights[edge] - prices[indices[edge]]
            if value > first:
                second = max(second, first)
                first, best = value, indices[edge]
            elif value > second:
                second = value
        if first <= dummies[row]:
            column_of[row] = DUMMY
            continue
        loser = row_of[best]
        if loser != FREE and (first - second + step == 0 or bids <= 0):
            waiting[waits] = row
            waits += 1
            continue
        bids -= 1
        prices[best] += first - second + step
        row_of[best], column_of[row] = row, best
        if loser != FREE:
            column_of[loser] = FREE
            free[count] = loser
            count += 1
    return waiting[:waits]


@njit(nogil=True, cache=True)
def _scale(indptr, indices, weights, dummies, prices, column_of, row_of, slack, waiting):  # type: ignore[no-untyped-def]
    """Let the `waiting` rows bid by larger steps until all are served, then by smaller ones again.

    In place; no row that is served is then more than `slack` from its best. Returns those that are
    not: of which too many compete for the same columns to be served by any step.
    """
    rows = len(indptr) - 1
    step = slack
    while len(waiting) and step < WIDEST:
        step *= STEPS
        waiting = _bid(
            indptr, indices, weights, dummies, prices, column_of, row_of,
            step, waiting, BIDS_PER_ROW * max(len(waiting), rows // 8),
        )  # fmt: skip
    apart, late = waiting, waiting[:0]
    while step > slack:
        step = max(step // STEPS, slack)
        column_of[apart] = DUMMY  # neither to bid nor to be freed
        _release(indptr, indices, weights, dummies, prices, column_of, row_of, step)
        column_of[apart] = DUMMY
        late = _bid(
            indptr, indices, weights, dummies, prices, column_of, row_of,
            step, np.flatnonzero(column_of == FREE), BIDS_PER_ROW * rows // 2,
        )  # fmt: skip
    column_of[apart] = FREE
    return np.concatenate((apart, late))


@njit(nogil=True, cache=True)
def _augment(indptr, indices, weights, dummies, prices, column_of, row_of, waiting):  # type: ignore[no-untyped-def]
    """Match each waiting row by the shortest path to a free column or to a row's dummy."""
    columns = len(prices)
    distance = np.full(columns, FAR)  # of the best path found to each column so far
    reached_from = np.empty(columns, dtype=np.int64)
    settled = np.empty(columns, dtype=np.int64)
    touched = np.empty(columns, dtype=np.int64)
    keys = np.empty(len(indices) + 1, dtype=np.int64)  # a heap of (distance, column)
    items = np.empty(len(indices) + 1, dtype=np.int64)
    tops = _sort_edges(indptr, indices, weights, prices)
    worth = _worths(indptr, indices, weights, dummies, prices)
    for start in waiting:
        settles, touches, size = 0, 0, 0
        limit, end_row, end_column = FAR, FREE, FREE  # the best end found so far
        row, base = start, np.int64(0)
        worth[start] = dummies[start]
        for edge in range(indptr[start], indptr[start + 1]):
            worth[start] = max(worth[start], weights[edge] - prices[indices[edge]])
        while True:
            reach = base + worth[row]
            if reach - dummies[row] < limit:
                limit, end_row, end_column = reach - dummies[row], row, DUMMY
            for edge in range(indptr[row], indptr[row + 1]):
                if reach - tops[edge] >= limit:  # and so for the rest, as prices only rise
                    break
                column = indices[edge]
                far = reach - weights[edge] + prices[column]
                if far >= limit or far >= distance[column]:
                    continue
                if distance[column] == FAR:
                    touched[touches] = column
                    touches += 1
                distance[column], reached_from[column] = far, row
                if row_of[column] == FREE:
                    limit, end_row, end_column = far, row, column
                else:
                    size = _push(keys, items, size, far, column)
            # The nearest column next; entries outdated by a shorter path are skipped.
            while size and keys[0] != distance[items[0]]:
                size = _pop(keys, items, size)
            if not size or keys[0] >= limit:
                break
            base, column = keys[0], items[0]
            size = _pop(keys, items, size)
            settled[settles] = column
            settles += 1
            row = row_of[column]
        worth[start] -= limit
        for column in settled[:settles]:
            prices[column] += limit - distance[column]
            worth[row_of[column]] -= limit - distance[column]
        _shift(start, end_row, end_column, reached_from, column_of, row_of)
        for column in touched[:touches]:
            distance[column] = FAR


@njit(nogil=True, cache=True)
def _release(indptr, indices, weights, dummies, prices, column_of, row_of, slack):  # type: ignore[no-untyped-def]
    """Free the rows that gain over `slack` by another column, in place; whether any does."""
    changed = False
    for row in range(len(indptr) - 1):
        held, best, worth = column_of[row], -FAR, dummies[row]
        if held == FREE:
            continue
        for edge in range(indptr[row], indptr[row + 1]):
            value = weights[edge] - prices[indices[edge]]
            best = max(best, value)
            if indices[edge] == held:
                worth = value
        if best > worth + slack:
            column_of[row] = FREE
            if held >= 0:
                row_of[held] = FREE
            changed = True
    return changed


@njit(nogil=True, cache=True)
def _sort_edges(indptr, indices, weights, prices):  # type: ignore[no-untyped-def]
    """Order each row's edges by weight less price, the largest first; returns these differences."""
    tops = weights - prices[indices]
    for row in range(len(indptr) - 1):
        part = slice(indptr[row], indptr[row + 1])
        order = np.argsort(-tops[part], kind="mergesort")
        tops[part] = tops[part][order]
        indices[part] = indices[part][order]
        weights[part] = weights[part][order]
    return tops


@njit(nogil=True, cache=True)
def _worths(indptr, indices, weights, dummies, prices):  # type: ignore[no-untyped-def]
    """Each row's largest weight less price, its dummy included: that of its own column, if any.

    Where the own column is worth less, by a slack, the row counts as if it weighed as much more:
    then no reduced cost is negative, and the shortest paths are right.
    """
    worth = dummies.copy()
    for row in range(len(indptr) - 1):
        for edge in range(indptr[row], indptr[row + 1]):
            worth[row] = max(worth[row], weights[edge] - prices[indices[edge]])
    return worth


@njit(nogil=True, cache=True)
def _shift(start, row, column, reached_from, column_of, row_of):  # type: ignore[no-untyped-def]
    """Give `row` its new column and its old one to the previous row, along the path to `start`."""
    while True:
        given_up = column_of[row]
        column_of[row] = column
        if column >= 0:
            row_of[column] = row
        if row == start:
            break
        column = given_up
        row = reached_from[column]


@njit(nogil=True, cache=True)
def _push(keys, items, size, key, item):  # type: ignore[no-untyped-def]
    place = size
    while place:
        parent = (place - 1) // 2
        if keys[parent] <= key:
            break
        keys[place], items[place] = keys[parent], items[parent]
        place = parent
    keys[place], items[place] = key, item
    return size + 1


@njit(nogil=True, cache=True)
def _pop(keys, items, size):  # type: ignore[no-untyped-def]
    size -= 1
    key, item = keys[size], items[size]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[place], items[place] = keys[child], items[child]
        place = child
    keys[place], items[place] = key, item
    return size


@njit(nogil=True, cache=True)
def take_best(rows, columns, weights, bounds, column_of, free):  # type: ignore[no-untyped-def]
    """Take the best remaining pair repeatedly, until a row needs a longer list.

    `rows` int64 [r], ascending; `columns` int64 and `weights` float32 [r, k], each row's best
    columns, best first, then -1; `bounds` float32 [r], the most that an unlisted column can weigh.
    Changed in place: `column_of` int64 [rows in all] and `free` int64 [columns in all]. Of equal
    weights the lower row, then the lower column is taken.
    """
    count, width = columns.shape
    place = np.zeros(count, dtype=np.int64)
    keys = np.empty(count, dtype=np.int64)
    items = np.empty(count, dtype=np.int64)
    size = 0
    for n in range(count):
        weight = bounds[n] if width == 0 or columns[n, 0] < 0 else weights[n, 0]
        if weight > -np.inf:
            size = _push(keys, items, size, -packed(weight, n), n)
    while size:
        n = items[0]
        size = _pop(keys, items, size)
        at = place[n]
        if at == width or columns[n, at] < 0:
            return
        column = columns[n, at]
        if free[column] > 0:
            column_of[rows[n]] = column
            free[column] -= 1
            continue
        while at < width and columns[n, at] >= 0 and free[columns[n, at]] <= 0:
            at += 1
        place[n] = at
        weight = bounds[n] if at == width or columns[n, at] < 0 else weights[n, at]
        if weight > -np.inf:
            size = _push(keys, items, size, -packed(weight, n), n)


# Weights become whole numbers of this unit, finer than the precision of float32 scores.
UNIT = 2.0**-25
OFFERS = 32
LISTED = 1_000_000  # entries of the lists from which pairs are taken greedily, or OFFERS for each


def unmatched_cost(tracks: int) -> float:
    """The weight that a track without an artwork costs: as many as possible are matched.

    Weights are in [-2, 2], so matching one more track is better whatever it does to the others.
    """
    return 4.0 * (tracks + 1)


@dataclass(frozen=True)
class Edges:
    """Scored pairs, each once.

    Attributes:
        keys: int64, ascending: track · n_artworks + artwork.
        scores: float32.
        excluded: int64, ascending: keys that are never among `keys`.
    """

    keys: np.ndarray
    scores: np.ndarray
    excluded: np.ndarray

    def with_more(self, keys: np.ndarray, scores: np.ndarray) -> Edges:
        """These and others, without those that are excluded or already here."""
        every, first = np.unique(np.concatenate([self.keys, keys]), return_index=True)
        allowed = ~_among(self.excluded, every)
        every_score = np.concatenate([self.scores, scores])[first]
        return Edges(every[allowed], every_score[allowed], self.excluded)


@dataclass(frozen=True)
class Assignment:
    """The artwork of each track, and the dual solution.

    Attributes:
        artworks: int64 [n_tracks], -1 for none.
        edges: The pairs considered, including new candidates.
        prices: float64 [n_artworks], 0 or more: what taking the artwork from the track that has it
            would cost (the dual solution).
        places: The state that a next assignment with more edges may start from.
    """

    artworks: np.ndarray
    edges: Edges
    prices: np.ndarray
    places: Places | None = None


@dataclass(frozen=True)
class Places:
    """Where an assignment starts; an artwork that may be used n times has n places.

    Attributes:
        prices: int64 [uses * n_artworks], in UNIT: of each place, first all first places.
        place_of: int64 [n_tracks], FREE or the place of each track.
    """

    prices: np.ndarray
    place_of: np.ndarray


def start_is_matched(start: Places | None) -> bool:
    """Whether a start has pairs, of all tracks then."""
    return start is not None and bool((start.place_of >= 0).all())


def guessed_places(prices: np.ndarray, tracks: int, uses: int) -> Places:
    """A start from guessed prices [n_artworks] without any pair."""
    units = np.rint(np.maximum(prices, 0.0) / UNIT).astype(np.int64)
    return Places(np.tile(units, uses), np.full(tracks, FREE, dtype=np.int64))


def _among(ascending: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Whether each of `keys`, all zero or more, is in the ascending ones."""
    found: np.ndarray = np.append(ascending, -1)[np.searchsorted(ascending, keys)] == keys
    return found


def candidate_edges(candidates: Candidates, excluded: np.ndarray | None = None) -> Edges:
    """The union of both directions' candidates, without the `excluded` keys (see Edges)."""
    n_tracks, n_artworks = len(candidates.artworks), len(candidates.tracks)
    artworks = np.arange(n_artworks)[:, None]
    from_tracks = np.arange(n_tracks)[:, None] * n_artworks + candidates.artworks
    from_artworks = candidates.tracks.astype(np.int64) * n_artworks + artworks
    no_keys = np.zeros(0, dtype=np.int64)
    excluded = no_keys if excluded is None else excluded
    none = Edges(no_keys, np.zeros(0, dtype=np.float32), excluded)
    return none.with_more(
        np.concatenate([from_tracks.ravel(), from_artworks.ravel()]),
        np.concatenate([candidates.artwork_scores.ravel(), candidates.track_scores.ravel()]),
    )


def assign(
    tracks: np.ndarray,
    artworks: np.ndarray,
    edges: Edges,
    *,
    penalties: np.ndarray,
    floor: float = -1.0,
    uses: int = 1,
    painters: np.ndarray | None = None,
    painter_uses: int | np.ndarray = 0,
    start: Places | None = None,
    slack: float = 0.0,
) -> Assignment:
    """Assign an artwork to each track so that the total of score less penalty is the largest.

    Every track is matched unless `floor` or the excluded pairs of `edges` forbid it.
    Deterministic, and exact on the graph of the edges but for `slack`.

    Args:
        tracks: Unit rows float32 [n, D].
        artworks: Unit rows float32 [m, D].
        edges: The pairs to choose from first.
        penalties: float64 [m].
        floor: The least score of a pair.
        uses: How many tracks may have the same artwork.
        painters: Whole numbers [m].
        painter_uses: How many pairs a painter may have, 0: no limit; or int64 [painters], how many
            each may have.
        start: Prices and pairs near the optimum, which save time; without `painter_uses`.
        slack: How much less than the largest the total may be, for each track; saves much time.

    Raises:
        BadData: There are fewer artworks than tracks within these limits.
        BadUsage: `painter_uses` is less than `uses`.
    """
    limits = checked_limits(len(tracks), len(artworks), uses, painters, painter_uses)
    return _assign(
        tracks, artworks, edges, penalties, floor, uses, start=start, limits=limits, slack=slack
    )


class PainterLimits:
    """How many of each painter's places must stay without a track.

    A limit per painter makes the problem a plain assignment again if each painter with too many
    places gets as many more rows, which must have one of these places each and weigh nothing.
    """

    def __init__(self, painters: np.ndarray, painter_uses: int | np.ndarray, uses: int) -> None:
        works = np.bincount(painters, minlength=np.size(painter_uses))
        self._surplus = np.maximum(works * uses - painter_uses, 0)
        self._uses = uses
        self._painters = painters
        self.places = int((works * uses - self._surplus).sum())

    def graph(self) -> tuple[np.ndarray, np.ndarray]:
        """The columns of the additional rows: lengths int64 [rows], and indices, row by row."""
        order = np.argsort(self._painters, kind="stable")
        starts = np.searchsorted(self._painters[order], np.arange(len(self._surplus) + 1))
        width, lengths, indices = len(self._painters), [], []
        for painter in np.flatnonzero(self._surplus):
            works = order[starts[painter] : starts[painter + 1]]
            places = (works + width * np.arange(self._uses)[:, None]).ravel()
            lengths.append(np.full(self._surplus[painter], len(places)))
            indices.append(np.tile(places, self._surplus[painter]))
        if not lengths:
            none = np.zeros(0, dtype=np.int64)
            return none, none
        return np.concatenate(lengths), np.concatenate(indices)

    def least(self, prices: np.ndarray) -> np.ndarray:
        """The least of `prices` [m] of any artwork of each painter; 0 for one without artworks."""
        least = np.full(len(self._surplus), np.inf)
        np.minimum.at(least, self._painters, prices)
        return np.where(np.isfinite(least), least, 0.0)

    def returned(self, least: np.ndarray) -> float:
        """The sum over painters of `least`, as often as a place must stay without a track."""
        return float((self._surplus * least).sum())


def checked_limits(
    tracks: int,
    artworks: int,
    uses: int,
    painters: np.ndarray | None,
    painter_uses: int | np.ndarray,
) -> PainterLimits | None:
    """The limits of the painters, None without; raises the errors of `assign`, which see."""
    of_all = np.ndim(painter_uses) == 0
    if of_all:  # what each may have is what a larger limit of all would leave
        _check_enough(tracks, artworks * uses, "pair.artwork_uses")
    if painters is None or (of_all and not painter_uses):
        return None
    if of_all and painter_uses < uses:
        raise BadUsage(
            f"pair.painter_uses ({painter_uses}) is less than pair.artwork_uses ({uses}): "
            "raise the one or lower the other."
        )
    limits = PainterLimits(painters, painter_uses, min(uses, max(tracks, 1)))
    _check_enough(tracks, limits.places, "pair.painter_uses")
    return limits


def greedy(
    tracks: np.ndarray,
    artworks: np.ndarray,
    candidates: Candidates,
    *,
    penalties: np.ndarray,
    floor: float = -1.0,
    uses: int = 1,
    excluded: np.ndarray | None = None,
) -> np.ndarray:
    """Each track's artwork if the best remaining pair of all is taken repeatedly: a baseline.

    Weights and limits are as in `assign`. Returns int64 [n], -1 for none.
    """
    allowed = pair_limits(len(artworks), floor, excluded)
    columns = candidates.artworks.astype(np.int64)
    scores = candidates.artwork_scores
    keys = np.arange(len(tracks))[:, None] * len(artworks) + columns
    possible = (scores >= allowed.floor) & ~_among(allowed.excluded, keys)
    weights = np.where(possible, scores - penalties[columns], -np.inf).astype(np.float32)
    # The lists hold the highest scores: an unlisted artwork can weigh no more than this.
    whole = columns.shape[1] == len(artworks)
    bounds = np.full(len(tracks), -np.inf, dtype=np.float32)
    if not whole:
        bounds = (scores[:, -1] - penalties.min()).astype(np.float32)
    order = np.lexsort((columns, -weights), axis=1)
    columns = np.take_along_axis(columns, order, axis=1)
    weights = np.take_along_axis(weights, order, axis=1)
    columns[(weights < bounds[:, None]) | (weights == -np.inf)] = -1
    chosen = np.full(len(tracks), -1, dtype=np.int64)
    free = np.full(len(artworks), uses, dtype=np.int64)
    _take_all(tracks, artworks, chosen, free, penalties, allowed, (columns, weights, bounds))
    return chosen


def _take_all(
    tracks: np.ndarray,
    artworks: np.ndarray,
    chosen: np.ndarray,
    free: np.ndarray,
    penalties: np.ndarray,
    allowed: PairLimits,
    listed: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> None:
    """Take the best pair of a track without an artwork and a free artwork, repeatedly, in place.

    `chosen` int64 [n], -1 for none; `free` int64 [m], how many more tracks each may have;
    `listed` as for `take_best`, for the tracks without an artwork.
    """
    rows = np.flatnonzero(chosen < 0)
    if listed is None:
        no_list = np.zeros((len(rows), 0))
        listed = no_list.astype(np.int64), no_list, np.full(len(rows), np.inf, dtype=np.float32)
    columns, weights, bounds = listed
    while True:
        take_best(rows, columns, weights.astype(np.float32), bounds, chosen, free)
        on = chosen[rows] < 0
        rows, columns, weights, bounds = rows[on], columns[on], weights[on], bounds[on]
        alive = ((columns >= 0) & (free[columns] > 0)).sum(axis=1)
        # Those that are nearly through their lists get longer ones in the same pass.
        short = np.flatnonzero((alive <= columns.shape[1] // 4) & (bounds > -np.inf))
        if not (bounds[alive == 0] > -np.inf).any():
            return
        size = min(len(artworks), max(OFFERS, LISTED // len(rows)))
        off = np.where(free > 0, penalties, np.inf)
        ((found, worth),) = best_by_weight(tracks, artworks, rows[short], [off], size, allowed)
        more = max(0, size - columns.shape[1])
        columns = np.pad(columns, ((0, 0), (0, more)), constant_values=-1)
        weights = np.pad(weights, ((0, 0), (0, more)), constant_values=-np.inf)
        columns[short], weights[short] = -1, -np.inf
        columns[short, :size], weights[short, :size] = found, worth
        bounds[short] = worth[:, -1] if size < len(artworks) else -np.inf


def _check_enough(tracks: int, places: int, key: str) -> None:
    if places < tracks:
        raise BadData(
            f"There are {tracks} tracks but artworks for only {places} of them: "
            f"add artworks, lower sources.limit, or raise {key}."
        )


def _assign(
    tracks: np.ndarray,
    artworks: np.ndarray,
    edges: Edges,
    penalties: np.ndarray,
    floor: float,
    uses: int,
    *,
    start: Places | None = None,
    limits: PainterLimits | None = None,
    slack: float = 0.0,
) -> Assignment:
    units = round(slack / UNIT)
    count, width = len(tracks), len(artworks)
    more = limits.graph() if limits is not None else None
    rows = count + (len(more[0]) if more is not None else 0)
    # An artwork that may be used n times is n equal columns.
    prices = np.zeros(width * uses, dtype=np.int64)
    row_of = np.full(width * uses, FREE, dtype=np.int64)
    column_of = np.full(rows, FREE, dtype=np.int64)
    if start is not None:
        prices[:], column_of[:] = start.prices, start.place_of
        matched = np.flatnonzero(column_of >= 0)
        row_of[column_of[matched]] = matched
    # At first a track may stay unmatched rather than get little more than a random artwork would
    # give: new candidates serve it better than displacing other tracks.
    random = float(tracks.mean(axis=0) @ artworks.mean(axis=0))
    least = float(np.quantile(edges.scores, 0.05)) if len(edges.scores) else random
    little = (3 * random + least) / 4 - penalties.mean()
    never = -round(unmatched_cost(count) / UNIT)
    dummies = np.full(rows, never if start_is_matched(start) else round(little / UNIT))
    dummies[count:] = 4 * never
    pairs = pair_limits(width, floor, edges.excluded)
    turn = 0
    while True:
        graph = _graph(edges, count, width, uses, penalties, floor, more)
        if start_is_matched(start):
            prices[row_of == FREE] = 0
            _release(*graph, dummies, prices, column_of, row_of, units)
        heaviest(*graph, dummies, prices, column_of, row_of, units)
        left = np.flatnonzero(column_of[:count] == DUMMY)
        if not len(left):
            break
        known = len(edges.keys)
        chosen = np.where(column_of >= 0, column_of % width, -1)[:count]
        free = (row_of.reshape(uses, width) == FREE).sum(axis=0)
        off = penalties + _of_artworks(prices, uses)
        who, what = _offers(tracks, artworks, left, off, free, pairs)
        # One free artwork for each: with these, all can be matched if there are enough.
        _take_all(tracks, artworks, chosen, free, penalties, pairs)
        got = left[chosen[left] >= 0]
        who, what = np.append(who, got), np.append(what, chosen[got])
        edges = edges.with_more(who * width + what, pair_scores(tracks, artworks, who, what))
        if len(edges.keys) == known and (dummies[left] == never).all():
            break
        dummies[slice(count) if turn else left] = never  # later, every track must be matched
        column_of[left] = FREE
        turn += 1
    if start is not None:
        _settle(graph, dummies, prices, column_of, row_of, units)
    chosen = np.where(column_of >= 0, column_of % width, -1)[:count]
    places = Places(prices, np.maximum(column_of, FREE))
    return Assignment(chosen, edges, _of_artworks(prices, uses), places)


def _settle(
    graph: tuple[np.ndarray, np.ndarray, np.ndarray],
    dummies: np.ndarray,
    prices: np.ndarray,
    column_of: np.ndarray,
    row_of: np.ndarray,
    slack: int,
) -> None:
    """Make the result of a start from other prices the largest, in place.

    The prices of columns without a row become 0, and the rows that gain by that are matched again,
    a few times; if columns without a row have a price even then, all rows are.
    """
    for _ in range(RELEASES):
        idle = (row_of == FREE) & (prices > 0)
        prices[idle] = 0
        unhappy = _release(*graph, dummies, prices, column_of, row_of, slack)
        if not (unhappy or idle.any()):
            return
        heaviest(*graph, dummies, prices, column_of, row_of, slack)
    if ((row_of == FREE) & (prices > 0)).any():
        prices[:], column_of[:], row_of[:] = 0, FREE, FREE
        heaviest(*graph, dummies, prices, column_of, row_of, slack, scaled=False)


def _of_artworks(prices: np.ndarray, uses: int) -> np.ndarray:
    """The price of each artwork's cheapest place, in the unit of scores."""
    cheapest: np.ndarray = prices.reshape(uses, -1).min(axis=0) * UNIT
    return cheapest


def _graph(
    edges: Edges,
    count: int,
    width: int,
    uses: int,
    penalties: np.ndarray,
    floor: float,
    more: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The edges that may be used, as a CSR matrix: indptr, indices, whole-number weights.

    `more` are the lengths and columns of additional rows, whose weights are 0.
    """
    rows, columns = np.divmod(edges.keys, width)
    kept = edges.scores >= floor
    rows, columns = rows[kept], columns[kept]
    weights = np.rint((edges.scores[kept] - penalties[columns]) / UNIT).astype(np.int64)
    indptr = np.searchsorted(rows, np.arange(count + 1)) * uses
    if uses > 1:
        order = np.argsort(np.tile(rows, uses), kind="stable")
        columns = (columns + width * np.arange(uses)[:, None]).ravel()[order]
        weights = np.tile(weights, uses)[order]
    if more is not None:
        lengths, others = more
        indptr = np.concatenate([indptr, indptr[-1] + np.cumsum(lengths)])
        columns = np.concatenate([columns, others])
        weights = np.concatenate([weights, np.zeros(len(others), dtype=np.int64)])
    return indptr, columns, weights


def _offers(
    tracks: np.ndarray,
    artworks: np.ndarray,
    some: np.ndarray,
    off: np.ndarray,
    free: np.ndarray,
    allowed: PairLimits,
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (tracks, artworks) of tracks[some] with the artworks of highest score - `off`.

    OFFERS among all artworks and as many among those that are `free` (above 0), which end a
    competition for the same few; fewer if fewer are allowed.
    """
    size = min(OFFERS, len(artworks))
    offs = [off, np.where(free > 0, off, np.inf)]
    found = best_by_weight(tracks, artworks, some, offs, size, allowed)
    offered = np.concatenate([best for best, _ in found], axis=1)
    real = offered.ravel() >= 0
    who = np.repeat(some, offered.shape[1])[real]
    return who, offered.ravel()[real].astype(np.int64)
