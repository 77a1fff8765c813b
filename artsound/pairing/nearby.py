"""Near pairs of rows of few dimensions, exactly, without the products of most pairs.

The columns are divided into blocks of rows that lie close together. The distance of a row from the
centre of a block bounds its scores with all of the block (the triangle inequality): of most blocks
it is then known that none of the scores, or that all of them, are above what is looked for, and
only the others are multiplied. Of rows of two or three dimensions that leaves about 1 % of the
pairs. Rows of many dimensions are all about equally far from each other: callers then compare all
pairs (`None`).

Scores are float32 products as in `search`; bounds are float64, with a margin for their rounding.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit

from artsound.pairing.search import (
    _replace_root,
    _score,
    empty,
    lists,
    packed,
    single_threaded_blas,
)

_WIDEST = 32  # dimensions: beyond, blocks leave nothing out
_FEWEST = 2**22  # pairs: of fewer, all are compared as fast
_BLOCK = 256  # rows of a block, at most
_CHUNK = 2048  # rows that are compared with the blocks at once
_WORTH = 0.25  # of all pairs: if more are to be multiplied, comparing all is as fast


@dataclass(frozen=True)
class Blocks:
    """Rows in blocks of neighbours.

    Attributes:
        order: int64 [n]: the rows, block by block.
        edges: int64 [blocks + 1]: where the blocks begin in `order`.
        centres: float64 [blocks, D].
        radii: float64 [blocks]: the largest distance of a row of the block from its centre.
        least: float64 [blocks]: the least squared length of its rows.
        most: float64 [blocks]: the largest.
    """

    order: np.ndarray
    edges: np.ndarray
    centres: np.ndarray
    radii: np.ndarray
    least: np.ndarray
    most: np.ndarray


def blocks_of(rows: np.ndarray) -> Blocks:
    """Halve rows float32 [n, D], along the dimension of the largest deviation, to small blocks."""
    waiting, found = [np.arange(len(rows))], []
    while waiting:
        some = waiting.pop()
        if len(some) <= _BLOCK:
            found.append(some)
            continue
        values = rows[some]
        along = values[:, values.std(axis=0).argmax()].argsort(kind="stable")
        half = len(some) // 2
        waiting += [some[along[half:]], some[along[:half]]]
    blocks = [rows[some].astype(np.float64) for some in found]
    centres = np.stack([block.mean(axis=0) for block in blocks])
    squares = [(block**2).sum(axis=1) for block in blocks]
    return Blocks(
        order=np.concatenate(found),
        edges=np.cumsum([0, *map(len, found)]),
        centres=centres,
        radii=np.array(
            [
                np.sqrt(((block - centre) ** 2).sum(axis=1)).max()
                for block, centre in zip(blocks, centres, strict=True)
            ]
        ),
        least=np.array([one.min() for one in squares]),
        most=np.array([one.max() for one in squares]),
    )


def counts_above(rows: np.ndarray, columns: np.ndarray, limits: np.ndarray) -> np.ndarray | None:
    """How many columns score more than each limit of a row.

    Args:
        rows: float32 [n, D].
        columns: float32 [m, D].
        limits: float32 [l, n].

    Returns:
        int64 [l, n]; None where all pairs should be compared instead.
    """
    if _is_small_or_wide(rows, columns):
        return None
    blocks, along = blocks_of(columns), blocks_of(rows).order
    sizes = np.diff(blocks.edges)
    counts = np.zeros(limits.shape, dtype=np.int64)
    packed_columns = np.ascontiguousarray(columns[blocks.order])

    def open_at(some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        least, most = _bounds(rows[some], blocks)
        low, high = limits[:, some].min(axis=0)[:, None], limits[:, some].max(axis=0)[:, None]
        return least, (most >= low) & (least <= high)

    if not _is_worth(open_at, along, sizes):
        return None

    def look(some: np.ndarray) -> None:
        least, unknown = open_at(some)
        above = least > limits[:, some].max(axis=0)[:, None]
        counts[:, some] += (above * sizes).sum(axis=1)
        for block in np.flatnonzero(unknown.any(axis=0)).tolist():
            own = some[unknown[:, block]]
            columns_here = packed_columns[blocks.edges[block] : blocks.edges[block + 1]]
            scores = np.dot(rows[own], columns_here.T)
            counts[:, own] += (scores > limits[:, own, None]).sum(axis=2)

    _each(look, along)
    return counts


def nearest(
    rows: np.ndarray, columns: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """The columns of highest score with each row, as `search.find_candidates` lists them.

    Args:
        rows: float32 [n, D].
        columns: float32 [m, D].
        size: How many, at most m.

    Returns:
        Indices int32 and scores float32 [n, size], best first; None where all pairs should be
        compared instead.
    """
    if _is_small_or_wide(rows, columns) or size > _BLOCK // 2:
        return None
    blocks, along = blocks_of(columns), blocks_of(rows).order
    packed_columns = np.ascontiguousarray(columns[blocks.order])
    heaps = empty(len(rows), size)
    first = np.empty(len(rows), dtype=np.int64)

    def offer(own: np.ndarray, block: int) -> None:
        here = slice(blocks.edges[block], blocks.edges[block + 1])
        some = heaps[own]
        _offer(np.dot(rows[own], packed_columns[here].T), blocks.order[here], some)
        heaps[own] = some

    def begin(some: np.ndarray) -> None:
        first[some] = _bounds(rows[some], blocks)[1].argmax(axis=1)
        for block in np.unique(first[some]).tolist():
            offer(some[first[some] == block], block)

    def open_at(some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        least, most = _bounds(rows[some], blocks)
        unknown = most >= lists(heaps[some, :1])[1]
        unknown[np.arange(len(some)), first[some]] = False
        return least, unknown

    _each(begin, along)
    if not _is_worth(open_at, along, np.diff(blocks.edges)):
        return None

    def look(some: np.ndarray) -> None:
        _, unknown = open_at(some)
        for block in np.flatnonzero(unknown.any(axis=0)).tolist():
            offer(some[unknown[:, block]], block)

    _each(look, along)
    return lists(heaps)


def _is_small_or_wide(rows: np.ndarray, columns: np.ndarray) -> bool:
    return rows.shape[1] > _WIDEST or len(rows) * len(columns) < _FEWEST


def _bounds(rows: np.ndarray, blocks: Blocks) -> tuple[np.ndarray, np.ndarray]:
    """The least and the most that rows [n, D] can score with a block: float64 [n, blocks] each."""
    least, most = np.empty((2, len(rows), len(blocks.radii)))
    longest = max(1.0, float(blocks.most.max()), float(np.square(rows).sum(axis=1).max(initial=0)))
    margin = longest * (1e-6 + rows.shape[1] * 2.0**-22)  # of float32 products, and of distances
    _bound(
        rows.astype(np.float64), blocks.centres, blocks.radii, blocks.least, blocks.most, margin,
        least, most,
    )  # fmt: skip
    return least, most


@njit(nogil=True, cache=True)
def _bound(rows, centres, radii, shortest, longest, margin, least, most):  # type: ignore[no-untyped-def]
    for i in range(rows.shape[0]):
        square = 0.0
        for d in range(rows.shape[1]):
            square += rows[i, d] ** 2
        for block in range(len(radii)):
            apart = 0.0
            for d in range(rows.shape[1]):
                apart += (rows[i, d] - centres[block, d]) ** 2
            apart = np.sqrt(apart)
            # Twice a product is the sum of the squared lengths less the squared distance.
            near, far = max(apart - radii[block], 0.0), apart + radii[block]
            most[i, block] = (square + longest[block] - near * near) / 2 + margin
            least[i, block] = (square + shortest[block] - far * far) / 2 - margin


_Open = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def _is_worth(open_at: _Open, along: np.ndarray, sizes: np.ndarray) -> bool:
    """Whether few enough of the pairs of some rows are to be multiplied."""
    some = along[:: max(1, len(along) // _CHUNK)]
    unknown = open_at(some)[1]
    return float((unknown * sizes).sum()) <= _WORTH * len(some) * float(sizes.sum())


def _each(look: Callable[[np.ndarray], None], along: np.ndarray) -> None:
    """Call `look` for chunks of rows, in threads; each changes what belongs to its rows alone."""
    chunks = [along[at : at + _CHUNK] for at in range(0, len(along), _CHUNK)]
    with single_threaded_blas(), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(look, chunks):
            pass


@njit(nogil=True, cache=True)
def _offer(scores, names, heaps):  # type: ignore[no-untyped-def]
    """Offer all scores [h, w] of the columns `names` [w] to the heap of their row."""
    for i in range(scores.shape[0]):
        heap = heaps[i]
        root = _score(heap[0])
        for j in range(scores.shape[1]):
            if scores[i, j] >= root:
                entry = packed(scores[i, j], names[j])
                if entry > heap[0]:
                    root = _replace_root(heap, entry)
