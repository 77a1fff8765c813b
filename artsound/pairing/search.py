"""Candidates: each track's best artworks and each artwork's best tracks, exactly.

The scores of all pairs are one matrix product, too large for memory (45 GB at full size). It is
computed in tiles, and each tile is scanned while it is in the processor's cache: a bounded heap
per row and per column holds the best so far, and most scores are only compared with the thresholds
of their row and column.

Importing this module imports numba: import it inside the function that needs it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numba import njit

from artsound.errors import BadData, BadUsage
from artsound.extras import install_command
from artsound.pairing import cells
from artsound.pairing.cells import number_above
from artsound.pairing.heaps import empty, lists, merge, packed, replace_root, score_of
from artsound.pairing.saved_match import SavedMatch

if TYPE_CHECKING:
    from torch import Tensor


# Scores compared at once: first many; if one of them beats a threshold, a vector.
WIDE = 64
NARROW = 16


@njit(nogil=True, cache=True)
def _any_beats(line, root, thresholds):  # type: ignore[no-untyped-def]
    """Whether a score of `line` beats the row's root or its column's threshold.

    It counts, rather than stop at the first, so that the compiler can use vectors.
    """
    hits = np.int32(0)
    for j in range(len(line)):
        hits += np.int32((line[j] > root) | (line[j] > thresholds[j]))
    return hits > 0


@njit(nogil=True, cache=True)
def scan_columns(tile, top, left, first, row_roots, column_roots, row_heaps, column_heaps):  # type: ignore[no-untyped-def]
    """Offer every score of `tile` [h, w] to the heaps of its row and of its column.

    The tile's first row is row `top` of the whole, its first column is column `left`, which an
    entry calls `first` + left. The roots (float32) are scores that an entry must exceed, updated
    here: those at the heaps' roots if these are higher. Tiles must come in
    ascending order of rows for a column, and of columns for a row: then a score equal to the
    root's loses to it, and comparing scores alone suffices.
    """
    height, width = tile.shape
    for i in range(height):
        row = top + i
        root = row_roots[row]
        for far in range(0, width, WIDE):
            end = min(far + WIDE, width)
            if not _any_beats(tile[i, far:end], root, column_roots[left + far : left + end]):
                continue
            for near in range(far, end, NARROW):
                stop = min(near + NARROW, end)
                roots = column_roots[left + near : left + stop]
                if not _any_beats(tile[i, near:stop], root, roots):
                    continue
                for j in range(near, stop):
                    score, column = tile[i, j], left + j
                    if score > root:
                        entry = packed(score, first + column)
                        root = max(root, replace_root(row_heaps[row], entry))
                    if score > column_roots[column]:
                        entry = packed(score, row)
                        column_roots[column] = replace_root(column_heaps[column], entry)
        row_roots[row] = root


@njit(nogil=True, cache=True)
def _any_above(line, root):  # type: ignore[no-untyped-def]
    hits = np.int32(0)
    for j in range(len(line)):
        hits += np.int32(line[j] > root)
    return hits > 0


@njit(nogil=True, cache=True)
def scan_rows(tile, top, left, heaps):  # type: ignore[no-untyped-def]
    """Offer every score of `tile` to the heap of its row; columns must come in ascending order."""
    height, width = tile.shape
    for i in range(height):
        heap = heaps[top + i]
        root = score_of(heap[0])
        for begin in range(0, width, WIDE):
            end = min(begin + WIDE, width)
            if not _any_above(tile[i, begin:end], root):
                continue
            for j in range(begin, end):
                if tile[i, j] > root:
                    root = replace_root(heap, packed(tile[i, j], left + j))


@njit(nogil=True, cache=True)
def _add_above(line, own, above):  # type: ignore[no-untyped-def]
    for j in range(len(line)):
        above[j] += np.int32(line[j] > own[j])


@njit(nogil=True, cache=True)
def count_in_tile(  # type: ignore[no-untyped-def]
    tile, top, left, row_own, column_own, row_above, column_above
):
    """Count the scores of `tile` that beat `row_own` [n], and each row of `column_own` [l, m]."""
    height, width = tile.shape
    for i in range(height):
        row_above[top + i] += number_above(tile[i], row_own[top + i])
        for level in range(len(column_own)):
            _add_above(
                tile[i],
                column_own[level, left : left + width],
                column_above[level, left : left + width],
            )


# The scores of all pairs, tile by tile.
#
# The columns are divided into one stripe per thread, and each thread computes and reads its own
# tiles, so that a tile is in its core's cache when it is read.

T = TypeVar("T")

# The fastest of the sizes tried: 2 MB fit the cache of a core, and the product is still wide.
TILE_ROWS = 512
TILE_COLUMNS = 1024


@dataclass(frozen=True)
class Stripe:
    """The columns start:stop of all scores, for one thread."""

    start: int
    stop: int

    def tiles(self, rows: np.ndarray, columns: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
        """(first row, first column, scores [h, w] float32) of the tiles, top to bottom, then right.

        `rows` [n, D] and `columns` [m, D] float32. The next tile overwrites the scores.
        """
        buffer = np.empty(TILE_ROWS * TILE_COLUMNS, dtype=np.float32)
        for left in range(self.start, self.stop, TILE_COLUMNS):
            block = columns[left : min(left + TILE_COLUMNS, self.stop)].T
            for top in range(0, len(rows), TILE_ROWS):
                part = rows[top : top + TILE_ROWS]
                shape = (len(part), block.shape[1])
                scores = buffer[: shape[0] * shape[1]].reshape(shape)
                yield top, left, np.dot(part, block, out=scores)


def each_stripe(work: Callable[[Stripe], T], columns: int, threads: int = 0) -> list[T]:
    """Call `work` for each stripe of columns, one thread per stripe; the results in order.

    `threads` 0 means one per processor. Numpy uses no threads of its own meanwhile.
    """
    most = threads or len(os.sched_getaffinity(0))
    tiles = -(-columns // TILE_COLUMNS)
    # Whole tiles to each thread: any number of threads gives the same products to the last bit.
    edges = np.linspace(0, tiles, max(1, min(most, tiles)) + 1).astype(int) * TILE_COLUMNS
    stripes = [
        Stripe(int(start), min(int(stop), columns)) for start, stop in itertools.pairwise(edges)
    ]
    with single_threaded_blas(), ThreadPoolExecutor(len(stripes)) as pool:
        return list(pool.map(work, stripes))


def single_threaded_blas() -> AbstractContextManager[Any]:
    """A context in which numpy uses no threads of its own."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(limits=1, user_api="blas")
    return limits


def pair_scores(
    tracks: np.ndarray, artworks: np.ndarray, some: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Dot products of tracks[some] with artworks[other], float32, in bounded memory."""
    scores = np.empty(len(some), dtype=np.float32)
    for at in range(0, len(some), 65_536):
        part = slice(at, at + 65_536)
        scores[part] = np.einsum("nd,nd->n", tracks[some[part]], artworks[other[part]])
    return scores


@dataclass(frozen=True)
class PairLimits:
    """Which pairs may be made.

    Attributes:
        width: The number of artworks.
        floor: The least score; -inf: no least.
        excluded: int64, ascending: keys of pairs that may not be made, track · width + artwork.
    """

    width: int
    floor: float
    excluded: np.ndarray

    def hide(self, scores: np.ndarray, rows: np.ndarray, left: int) -> None:
        """Set the scores of other pairs to -inf, in place.

        Args:
            scores: float32 [h, w], of the tracks `rows` with the artworks from `left` on.
            rows: int64 [h], ascending.
            left: The first artwork.
        """
        if self.floor > -np.inf:
            scores[scores < self.floor] = -np.inf
        if not len(self.excluded):
            return
        ends = rows[0] * self.width, (rows[-1] + 1) * self.width
        some = self.excluded[slice(*np.searchsorted(self.excluded, ends))]
        track, artwork = np.divmod(some, self.width)
        place, artwork = np.searchsorted(rows, track), artwork - left
        here = (rows[place] == track) & (artwork >= 0) & (artwork < scores.shape[1])
        scores[place[here], artwork[here]] = -np.inf

    def among(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The excluded pairs of the tracks `rows` (ascending): places in `rows`, and artworks."""
        track, artwork = np.divmod(self.excluded, self.width)
        here = np.isin(track, rows)
        return np.searchsorted(rows, track[here]), artwork[here]

    def within(self, artworks: np.ndarray) -> PairLimits:
        """The limits for some of the artworks (int64 [a], ascending), numbered from 0 on."""
        track, artwork = np.divmod(self.excluded, self.width)
        here = np.isin(artwork, artworks)
        places = np.searchsorted(artworks, artwork[here])
        return PairLimits(len(artworks), self.floor, track[here] * len(artworks) + places)


def pair_limits(width: int, floor: float, excluded: np.ndarray | None) -> PairLimits:
    """The limits of a matching. A `floor` of -1, which rounding may miss, is none."""
    none = np.zeros(0, dtype=np.int64)
    return PairLimits(
        width, floor if floor > -1 else -np.inf, none if excluded is None else excluded
    )


def best_by_weight(
    tracks: np.ndarray,
    artworks: np.ndarray,
    some: np.ndarray,
    offs: Sequence[np.ndarray],
    size: int,
    allowed: PairLimits,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The artworks of highest score less `off` for some tracks, for each of `offs`.

    Args:
        tracks: Unit rows float32 [n, D].
        artworks: Unit rows float32 [m, D].
        some: int64 [s], ascending: the tracks.
        offs: [m] each; inf: not this artwork.
        size: How many to list for each track, at most.
        allowed: The pairs that may be made.

    Returns:
        Indices int32 and score less off float32 [s, size] for each of `offs`, best first; -1 and
        -inf where there is none.
    """
    taken_off = np.stack(offs).astype(np.float32)
    columns = np.flatnonzero((taken_off < np.inf).any(axis=0))
    if len(columns) < len(artworks) // 2:  # the others are not worth a product
        found = best_by_weight(
            tracks, artworks[columns], some, list(taken_off[:, columns]), size,
            allowed.within(columns),
        )  # fmt: skip
        names = np.append(columns, -1)
        return [(names[places].astype(np.int32), worth) for places, worth in found]
    rows = np.ascontiguousarray(tracks[some])
    if cells.usable(rows, artworks):
        apart = allowed.among(some)
        return [
            cells.best_columns(rows, artworks, size, off, floor=allowed.floor, excluded=apart)
            for off in taken_off
        ]

    def look(stripe: Stripe) -> list[np.ndarray]:
        best = [empty(len(rows), size) for _ in offs]
        weights = np.empty(0, dtype=np.float32)
        for top, left, scores in stripe.tiles(rows, artworks):
            allowed.hide(scores, some[top : top + len(scores)], left)
            if weights.shape != scores.shape:
                weights = np.empty_like(scores)
            for off, heap in zip(taken_off, best, strict=True):
                np.subtract(scores, off[left : left + scores.shape[1]], out=weights)
                scan_rows(weights, top, left, heap)
        return best

    best, *others = each_stripe(look, len(artworks))
    for other in others:
        for heap, more in zip(best, other, strict=True):
            merge(heap, more)
    return [lists(heap) for heap in best]


def largest(
    rows: np.ndarray, columns: np.ndarray, off: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Each row's largest score less `off` of any column, and the first such column.

    Args:
        rows: float32 [n, D].
        columns: float32 [m, D].
        off: float32 [m]; None: 0.

    Returns:
        float32 [n] and int64 [n].
    """
    value = np.empty(len(rows), dtype=np.float32)
    place = np.empty(len(rows), dtype=np.int64)

    # One stripe is a part of the rows here; a tile has all columns that there are.
    def look(stripe: Stripe) -> None:
        for at in range(stripe.start, stripe.stop, TILE_ROWS):
            part = slice(at, min(at + TILE_ROWS, stripe.stop))
            scores = rows[part] @ columns.T
            if off is not None:
                scores -= off
            place[part] = scores.argmax(axis=1)
            value[part] = np.take_along_axis(scores, place[part, None], axis=1)[:, 0]

    each_stripe(look, len(rows))
    return value, place


@dataclass(frozen=True)
class Reach:
    """Which pairs must be compared: those for which both limits of the row are exceeded.

    A pair of row i and column j is compared if first[j] > first_limit[i] and
    second[j] > second_limit[i].

    Attributes:
        first: float64 [m].
        second: float64 [m].
        first_limit: float64 [s].
        second_limit: float64 [s].
    """

    first: np.ndarray
    second: np.ndarray
    first_limit: np.ndarray
    second_limit: np.ndarray


_REACH_COLUMNS = 256  # at least; wider blocks are faster, narrower ones leave out more
_REACH_BLOCKS = 512
_REACH_GROUPS = 32


def best_within(
    tracks: np.ndarray,
    artworks: np.ndarray,
    some: np.ndarray,
    off: np.ndarray,
    size: int,
    allowed: PairLimits,
    reach: Reach,
) -> tuple[np.ndarray, np.ndarray, int]:
    """As `best_by_weight`, for the pairs within `reach` and few others.

    Returns:
        Indices and score less off [s, size], and how many pairs were compared.
    """
    # Blocks of columns that are alike in both, so that few rows need all of a block.
    rank = np.empty(len(reach.first), dtype=np.int64)
    rank[np.argsort(-reach.first, kind="stable")] = np.arange(len(rank))
    order = np.lexsort((-reach.second, rank * _REACH_GROUPS // len(rank)))
    width = min(max(_REACH_COLUMNS, len(order) // _REACH_BLOCKS), TILE_COLUMNS)
    blocks = [order[at : at + width] for at in range(0, len(order), width)]
    by_limit = np.argsort(reach.first_limit, kind="stable")
    limits = reach.first_limit[by_limit]
    place_of = np.empty(len(order), dtype=np.int64)
    place_of[order] = np.arange(len(order))
    barred_row, barred = np.divmod(allowed.excluded, allowed.width)
    barred = place_of[barred]
    along = np.argsort(barred, kind="stable")
    barred_row, barred = barred_row[along], barred[along]
    off = off.astype(np.float32)

    def look(thread: int) -> tuple[np.ndarray, int]:
        best, compared = empty(len(some), size), 0
        for number in range(thread, len(blocks), threads):
            columns, left = blocks[number], number * width
            rows = by_limit[: np.searchsorted(limits, reach.first[columns].max())]
            rows = np.sort(rows[reach.second_limit[rows] < reach.second[columns].max()])
            if not len(rows):
                continue
            compared += len(rows) * len(columns)
            block = np.ascontiguousarray(artworks[columns].T)
            ends = np.searchsorted(barred, (left, left + len(columns)))
            tracks_here, places = barred_row[slice(*ends)], barred[slice(*ends)] - left
            for top in range(0, len(rows), 2 * TILE_ROWS):
                part = rows[top : top + 2 * TILE_ROWS]
                scores = tracks[some[part]] @ block
                if allowed.floor > -np.inf:
                    scores[scores < allowed.floor] = -np.inf
                if len(places):
                    at = np.minimum(np.searchsorted(some[part], tracks_here), len(part) - 1)
                    here = some[part][at] == tracks_here
                    scores[at[here], places[here]] = -np.inf
                scores -= off[columns]
                heaps = best[part]
                scan_rows(scores, 0, left, heaps)
                best[part] = heaps
        return best, compared

    threads = max(1, min(len(os.sched_getaffinity(0)), len(blocks)))
    with single_threaded_blas(), ThreadPoolExecutor(threads) as pool:
        (best, compared), *others = pool.map(look, range(threads))
    for other, more in others:
        merge(best, other)
        compared += more
    places, worth = lists(best)
    return np.where(places >= 0, order[places], -1).astype(np.int32), worth, compared


# The same candidates on a GPU, by torch.

# Scores computed at once: half a GB, and about as much again while the best are selected.
BLOCK = 2**27


def find_on_device(
    tracks: np.ndarray, artworks: np.ndarray, count: int, device: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The fields of `Candidates`, in order, computed on a device ("cuda", "cuda:1").

    Both sides (float32 [n, D]) must fit on the device beside a block of scores (1 GB). Products
    are full float32, not TF32.

    Raises:
        BadUsage: torch or the device is missing.
    """
    try:
        import torch
    except ImportError as error:
        raise BadUsage(
            f'Matching on "{device}" needs torch: {install_command("models")}, or use "cpu".'
        ) from error
    try:
        t, a = (torch.from_numpy(side).to(device) for side in (tracks, artworks))
    except (RuntimeError, AssertionError) as error:
        raise BadUsage(
            f'The device "{device}" cannot be used for matching '
            f'({str(error).splitlines()[0].rstrip(".")}): use "cpu" (in a recipe: pair.device).'
        ) from error
    with torch.inference_mode():
        return *_best(t, a, min(count, len(a))), *_best(a, t, min(count, len(t)))


def _best(rows: Tensor, columns: Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices int32 and scores float32 [rows, count] of each row's best columns, best first."""
    import torch

    indices = np.empty((len(rows), count), dtype=np.int32)
    scores = np.empty((len(rows), count), dtype=np.float32)
    step = max(1, BLOCK // len(columns))
    for at in range(0, len(rows), step):
        block = rows[at : at + step] @ columns.T
        best, place = torch.topk(block, count, dim=1)
        # topk does not define which of equal scores it takes. If scores equal to the last one were
        # left out, choose again by score and index; then order all by both.
        tied = torch.nonzero((block >= best[:, -1:]).sum(dim=1) > count).ravel()
        for some in tied.split(max(1, step // 8)):
            order = torch.topk(_by_score_and_index(block[some]), count, dim=1).indices
            place[some], best[some] = order, block[some].gather(1, order)
        order = _by_score_and_index(best, place).argsort(dim=1, descending=True)
        indices[at : at + step] = place.gather(1, order).to(torch.int32).cpu().numpy()
        scores[at : at + step] = best.gather(1, order).cpu().numpy()
    return indices, scores


def _by_score_and_index(scores: Tensor, index: Tensor | None = None) -> Tensor:
    """Whole numbers that are larger for a higher score and, at equal scores, a lower index."""
    import torch

    if index is None:
        index = torch.arange(scores.shape[1], device=scores.device)
    bits = (scores + 0.0).view(torch.int32).to(torch.int64)  # + 0.0: no negative zero
    rank = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)  # negative floats are ordered in reverse
    return rank * 2**32 - index


@dataclass(frozen=True)
class Candidates:
    """The best partners of each item, best first; of equal scores the lower index comes first.

    `artworks` int32 and `artwork_scores` float32 [n_tracks, k]: each track's best artworks.
    `tracks` int32 and `track_scores` float32 [n_artworks, k]: each artwork's best tracks.
    """

    artworks: np.ndarray
    artwork_scores: np.ndarray
    tracks: np.ndarray
    track_scores: np.ndarray


def find_candidates(
    tracks: np.ndarray,
    artworks: np.ndarray,
    count: int,
    *,
    device: str = "cpu",
    threads: int = 0,
    saved: SavedMatch | None = None,
) -> Candidates:
    """Find the best partners of each track and of each artwork by dot product.

    The search is exact: every pair is computed, in float32, or of rows of few values ruled out by
    a bound (see cells.py). Memory beyond the inputs: about 8 · `count` bytes per item and thread.

    Args:
        tracks: float32 [n_tracks, D].
        artworks: float32 [n_artworks, D].
        count: Partners of each item; all of a side that has fewer.
        device: "cpu", "cuda" or "cuda:N".
        threads: Of the CPU; 0: one per processor.
        saved: From where to continue, and where to save finished blocks; not on a device, nor for
            rows of few values.

    Raises:
        BadData: The sides differ in D, or one is empty.
        BadUsage: The device cannot be used.
    """
    if tracks.ndim != 2 or artworks.ndim != 2 or tracks.shape[1] != artworks.shape[1]:
        raise BadData(
            f"Tracks {tracks.shape} and artworks {artworks.shape} have vectors of different "
            "widths: both sides must come from one bridge."
        )
    if not len(tracks) or not len(artworks):
        raise BadData(f"There are {len(tracks)} tracks and {len(artworks)} artworks to match.")
    if device != "cpu":
        return Candidates(*find_on_device(tracks, artworks, count, device))
    row_k, column_k = min(count, len(artworks)), min(count, len(tracks))
    if cells.usable(tracks, artworks):
        return Candidates(
            *cells.best_columns(tracks, artworks, row_k, threads=threads),
            *cells.best_columns(artworks, tracks, column_k, threads=threads),
        )
    done, rows, columns = 0, empty(len(tracks), row_k), empty(len(artworks), column_k)
    if saved is not None and (state := saved.load("search")) is not None:
        done, rows = int(state["done"]), state["rows"]
        columns[:done] = state["columns"]
    # Few enough blocks that saving takes no time beside them.
    block = max(1, SAVED_PRODUCTS // (len(tracks) * tracks.shape[1] * TILE_COLUMNS)) * TILE_COLUMNS
    while done < len(artworks):
        stop = min(done + block, len(artworks))
        _scan_block(tracks, artworks[done:stop], done, rows, columns[done:stop], threads)
        done = stop
        if saved is not None:
            saved.save("search", done=np.array(done), rows=rows, columns=columns[:done])
    return Candidates(*lists(rows), *lists(columns))


SAVED_PRODUCTS = 2**43  # multiplications after which a search is saved: about two minutes


def _scan_block(
    tracks: np.ndarray,
    artworks: np.ndarray,
    first: int,
    rows: np.ndarray,
    columns: np.ndarray,
    threads: int,
) -> None:
    """Offer the scores of all tracks with some artworks to the heaps of both, in place.

    Args:
        tracks: float32 [n, D].
        artworks: float32 [b, D], from the artwork `first` on.
        first: How many artworks come before; their scores were offered to `rows`.
        rows: Heaps of the tracks.
        columns: Heaps of these artworks.
        threads: 0: one per processor.
    """
    start = lists(rows[:, :1])[1][:, 0]  # what a score must exceed

    def scan(stripe: Stripe) -> np.ndarray:
        # Each thread has the heaps of its stripe's columns, and its own heaps for the rows, so no
        # lock is needed.
        mine, row_roots = empty(*rows.shape), start.copy()
        column_roots = np.full(len(artworks), -np.inf, dtype=np.float32)
        for top, left, scores in stripe.tiles(tracks, artworks):
            scan_columns(scores, top, left, first, row_roots, column_roots, mine, columns)
        return mine

    for other in each_stripe(scan, len(artworks), threads):
        merge(rows, other)


def hub_penalties(candidates: Candidates, neighbours: int) -> np.ndarray:
    """The hub correction, subtracted from each artwork's scores: float64 [n_artworks].

    Cross-domain similarity local scaling (CSLS: Conneau et al., ICLR 2018) is
    2 s(t, a) - r(t) - r(a), where r is an item's mean score with its `neighbours` nearest of the
    other side. Halved, and without r(t), which is the same for every artwork of a track, it is
    s(t, a) - r(a) / 2. With `neighbours` 0 the correction is 0.
    """
    if not neighbours:
        return np.zeros(len(candidates.tracks))
    return candidates.track_scores[:, :neighbours].mean(axis=1, dtype=np.float64) / 2
