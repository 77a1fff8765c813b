"""Search among rows of few values: the best partners, and ranks, without comparing all pairs.

Rows of a few values, such as those of the affect bridge, are divided into cells of near ones. Of
two cells, the centres, the largest distances from them and the lengths bound the scores of all
their pairs, since x · y = (|x|² + |y|² - |x - y|²) / 2. Most pairs of cells are settled by that,
and only the others' scores are computed. The results are those of a comparison of all pairs: a
bound that rounding may miss leaves the cell in.

The functions are compiled by numba when they are first called.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit

from artsound.pairing.heaps import empty, lists, packed, replace_root, score_of

MOST_VALUES = 8  # of a row: with more, cells of near rows are not small
LEAST_PAIRS = 2**20  # of which comparing all takes a few milliseconds
SIZE = 64  # rows of a cell
_ROUNDING = 2.0**-20  # more than a float32 product of so few values is off, relative to the lengths


class Cells(NamedTuple):
    """The rows of one side, divided into cells of SIZE near ones; the last may have fewer.

    Attributes:
        order: int64 [n], the rows in the order of the cells.
        values: float32 [D, n], in that order.
        centres: float64 [D, cells].
        radii: float64 [cells], the largest distance of a row from the centre.
        shortest: float64 [cells], the least squared length of a row.
        longest: float64 [cells], the largest.
    """

    order: np.ndarray
    values: np.ndarray
    centres: np.ndarray
    radii: np.ndarray
    shortest: np.ndarray
    longest: np.ndarray


def usable(rows: np.ndarray, columns: np.ndarray) -> bool:
    """Whether cells save time in a search of these rows [n, D] among those columns [m, D]."""
    return rows.shape[1] <= MOST_VALUES and len(rows) * len(columns) >= LEAST_PAIRS


def cells_of(rows: np.ndarray) -> Cells:
    """Divide rows float32 [n, D], n ≥ 1, at the median of the widest value, again and again."""
    order = np.empty(len(rows), dtype=np.int64)
    columns = np.ascontiguousarray(rows.T)
    waiting = [(0, np.arange(len(rows)))]
    while waiting:
        at, some = waiting.pop()
        if len(some) <= SIZE:
            order[at : at + len(some)] = some
            continue
        block = columns.take(some, axis=1)
        widest = (block.max(axis=1) - block.min(axis=1)).argmax()
        half = -(-len(some) // (2 * SIZE)) * SIZE  # whole cells
        parted = some[np.argpartition(block[widest], half)]
        waiting += [(at, parted[:half]), (at + half, parted[half:])]
    exact = rows[order].astype(np.float64)
    starts = np.arange(0, len(rows), SIZE)
    low, high = (side.reduceat(exact, starts) for side in (np.minimum, np.maximum))
    centres = (low + high) / 2
    cell = np.arange(len(rows)) // SIZE
    far = np.sqrt(((exact - centres[cell]) ** 2).sum(axis=1))
    lengths = (exact**2).sum(axis=1)
    return Cells(
        order,
        np.ascontiguousarray(rows[order].T),
        np.ascontiguousarray(centres.T),
        np.maximum.reduceat(far, starts),
        np.minimum.reduceat(lengths, starts),
        np.maximum.reduceat(lengths, starts),
    )


def best_columns(
    rows: np.ndarray,
    columns: np.ndarray,
    size: int,
    off: np.ndarray | None = None,
    *,
    floor: float = -np.inf,
    excluded: tuple[np.ndarray, np.ndarray] | None = None,
    threads: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """The columns of highest score less `off` for each row.

    Args:
        rows: float32 [n, D].
        columns: float32 [m, D].
        size: How many to list for each row, at most.
        off: float32 [m]; inf: not this column. None: 0.
        floor: The least score.
        excluded: Rows and columns int64 [e] of pairs that may not be listed, rows ascending.
        threads: 0: one per processor.

    Returns:
        Indices int32 and score less off float32 [n, size], best first, of equal ones the lower
        index; -1 and -inf where there is none.
    """
    heaps = empty(len(rows), size)
    if size and len(rows):
        mine, theirs = cells_of(rows), cells_of(columns)
        ordered = np.zeros(len(columns), np.float32) if off is None else off[theirs.order]
        least = np.minimum.reduceat(ordered, np.arange(0, len(columns), SIZE)).astype(np.float64)
        none = np.zeros(0, dtype=np.int64)
        some, apart = (none, none) if excluded is None else excluded
        ends = np.searchsorted(some, np.arange(len(rows) + 1))
        slack = _slack(mine, theirs, np.abs(ordered[np.isfinite(ordered)]).max(initial=0.0))

        def offer(first: int, last: int) -> None:
            _offer(first, last, mine, theirs, ordered, least, floor, ends, apart, slack, heaps)

        _in_threads(offer, len(mine.radii), threads)
    return lists(heaps)


def count_above(
    rows: np.ndarray, columns: np.ndarray, limits: np.ndarray, threads: int = 0
) -> np.ndarray:
    """How many columns score more than each limit of each row.

    Args:
        rows: float32 [n, D].
        columns: float32 [m, D].
        limits: float32 [limits, n].
        threads: 0: one per processor.

    Returns:
        int64 [limits, n].
    """
    above = np.zeros(limits.shape, dtype=np.int64)
    if len(rows) and len(columns):
        mine, theirs = cells_of(rows), cells_of(columns)
        slack = _slack(mine, theirs)

        def count(first: int, last: int) -> None:
            _count(first, last, mine, theirs, limits, slack, above)

        _in_threads(count, len(mine.radii), threads)
    return above


def _slack(mine: Cells, theirs: Cells, off: float = 0.0) -> float:
    """More than rounding changes a score of these rows less `off`, or a bound on it."""
    return float(_ROUNDING * (1.0 + mine.longest.max() + theirs.longest.max() + off))


def _in_threads(work: Callable[[int, int], None], cells: int, threads: int) -> None:
    """Call `work` with the first and the last cell of a share of the rows, one share per thread."""
    most = max(1, min(threads or len(os.sched_getaffinity(0)), cells))
    edges = np.linspace(0, cells, most + 1).astype(int).tolist()
    with ThreadPoolExecutor(most) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))


# Hits are counted, not only found, so that the compiler can use vectors.


@njit(nogil=True, cache=True)
def _scores(row, columns, scores):  # type: ignore[no-untyped-def]
    """The scores [w] of a row [D] with columns [D, w], by plain float32 sums from the left."""
    value, line = row[0], columns[0]
    for j in range(len(line)):
        scores[j] = value * line[j]
    for k in range(1, len(row)):
        value, line = row[k], columns[k]
        for j in range(len(line)):
            scores[j] += value * line[j]


@njit(nogil=True, cache=True)
def _any_reaches(scores, off, root):  # type: ignore[no-untyped-def]
    hits = np.int32(0)
    for j in range(len(scores)):
        hits += np.int32(scores[j] - off[j] >= root)
    return hits > 0


@njit(nogil=True, cache=True)
def number_above(line, own):  # type: ignore[no-untyped-def]
    """How many scores of `line` are above `own`."""
    hits = np.int32(0)
    for j in range(len(line)):
        hits += np.int32(line[j] > own)
    return hits


@njit(nogil=True, cache=True)
def _among(values, start, stop, value):  # type: ignore[no-untyped-def]
    found = False
    for at in range(start, stop):
        found |= values[at] == value
    return found


@njit(nogil=True, cache=True)
def _distances(row, centres, distances):  # type: ignore[no-untyped-def]
    """The distances float64 [cells] of a row [D] from the centres [D, cells]."""
    distances[:] = 0.0
    for k in range(len(row)):
        value, line = np.float64(row[k]), centres[k]
        for j in range(len(line)):
            distances[j] += (value - line[j]) ** 2
    for j in range(len(distances)):
        distances[j] = np.sqrt(distances[j])


@njit(nogil=True, cache=True)
def _length(row):  # type: ignore[no-untyped-def]
    square = 0.0
    for value in row:
        square += float(value) ** 2
    return square


@njit(nogil=True, cache=True)
def _offer(  # type: ignore[no-untyped-def]
    first, last, mine, theirs, off, least, floor, ends, apart, slack, heaps
):
    """Offer to the rows in the cells first:last all columns that may be among their best.

    The cells of columns come in the order of their bounds, so that the heaps are soon full.
    """
    rows, width = mine.values.shape[1], theirs.values.shape[1]
    bounds = np.empty(len(theirs.radii))
    scores = np.empty(SIZE, dtype=np.float32)
    for cell in range(first, last):
        top, bottom = cell * SIZE, min((cell + 1) * SIZE, rows)
        _distances(mine.centres[:, cell], theirs.centres, bounds)
        for other in range(len(bounds)):
            far = max(bounds[other] - mine.radii[cell] - theirs.radii[other], 0.0)
            most = (mine.longest[cell] + theirs.longest[other] - far**2) / 2
            bounds[other] = most - least[other] + slack
        for other in np.argsort(-bounds):
            lowest = np.inf
            for row in mine.order[top:bottom]:
                lowest = min(lowest, score_of(heaps[row, 0]))
            if bounds[other] < lowest:
                break
            start, stop = other * SIZE, min((other + 1) * SIZE, width)
            block, here = theirs.values[:, start:stop], scores[: stop - start]
            for at in range(top, bottom):
                row = mine.order[at]
                heap = heaps[row]
                root = score_of(heap[0])
                square = 0.0
                for k in range(len(block)):
                    square += float(mine.values[k, at] - theirs.centres[k, other]) ** 2
                far = max(np.sqrt(square) - theirs.radii[other], 0.0)
                most = (mine.longest[cell] + theirs.longest[other] - far**2) / 2
                if most - least[other] + slack < root:
                    continue
                _scores(mine.values[:, at], block, here)
                if not _any_reaches(here, off[start:stop], root):
                    continue
                for j in range(len(here)):
                    worth = here[j] - off[start + j]
                    if worth < root or worth == -np.inf or here[j] < floor:
                        continue
                    column = theirs.order[start + j]
                    entry = packed(worth, column)
                    if entry > heap[0] and not _among(apart, ends[row], ends[row + 1], column):
                        root = replace_root(heap, entry)


@njit(nogil=True, cache=True)
def _count(first, last, mine, theirs, limits, slack, above):  # type: ignore[no-untyped-def]
    """Count for the rows in the cells first:last the columns that score more than their limits."""
    width = theirs.values.shape[1]
    distances = np.empty(len(theirs.radii))
    scores = np.empty(SIZE, dtype=np.float32)
    for at in range(first * SIZE, min(last * SIZE, mine.values.shape[1])):
        row, values = mine.order[at], mine.values[:, at]
        length = _length(values)
        lowest = limits[:, row].min() - slack
        highest = limits[:, row].max() + slack
        _distances(values, theirs.centres, distances)
        for other in range(len(distances)):
            radius = theirs.radii[other]
            far = max(distances[other] - radius, 0.0)
            if (length + theirs.longest[other] - far**2) / 2 < lowest:
                continue
            start, stop = other * SIZE, min((other + 1) * SIZE, width)
            far = distances[other] + radius
            if (length + theirs.shortest[other] - far**2) / 2 > highest:
                above[:, row] += stop - start
                continue
            here = scores[: stop - start]
            _scores(values, theirs.values[:, start:stop], here)
            for limit in range(len(limits)):
                above[limit, row] += number_above(here, limits[limit, row])
