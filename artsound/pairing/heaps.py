"""Bounded heaps of scored indices, thousands side by side in two arrays.

A heap keeps the best k entries it was given. Its root, in place 0, is the worst of them: the
lowest score and, of equal scores, the highest index. So the lower index wins a tie, whatever the
order in which entries came.

The functions are compiled by numba when they are first called, and release the interpreter's
lock. Importing this module imports numba: do that inside the function that needs it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Scores compared at once: first many, then, where one of them beats a threshold, a vector.
WIDE = 64
NARROW = 16
NOBODY = np.int32(2**31 - 1)  # the index of an empty place: it loses to every other


def empty(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores float32 and indices int32 [count, size] of so many heaps that hold nothing yet."""
    return (
        np.full((count, size), -np.inf, dtype=np.float32),
        np.full((count, size), NOBODY, dtype=np.int32),
    )


@njit(nogil=True, cache=True)
def _replace_root(scores, indices, score, index):  # type: ignore[no-untyped-def]
    """Put an entry in the root's place and let it sink below worse ones."""
    size = len(scores)
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        other = child + 1
        if other < size and (
            scores[other] < scores[child]
            or (scores[other] == scores[child] and indices[other] > indices[child])
        ):
            child = other
        if score < scores[child] or (score == scores[child] and index > indices[child]):
            break
        scores[place] = scores[child]
        indices[place] = indices[child]
        place = child
    scores[place] = score
    indices[place] = index


@njit(nogil=True, cache=True)
def _any_beats(line, root, thresholds):  # type: ignore[no-untyped-def]
    """Whether a score of `line` beats the row's root or its column's threshold.

    Counting, rather than stopping at the first, is what lets the compiler use vectors.
    """
    hits = np.int32(0)
    for j in range(len(line)):
        hits += np.int32((line[j] > root) | (line[j] > thresholds[j]))
    return hits > 0


@njit(nogil=True, cache=True)
def scan(  # type: ignore[no-untyped-def]
    tile, top, left, thresholds, row_scores, row_indices, column_scores, column_indices
):
    """Offer every score of `tile` [h, w] to the heaps of its row and of its column.

    The tile's first row is row `top` of the whole, its first column column `left`. `thresholds`
    holds the roots of all columns' heaps and is kept up to date. Rows must come in ascending
    order for a column, and columns for a row: then a score equal to the root's loses to it, and
    comparing scores alone is enough.
    """
    height, width = tile.shape
    for i in range(height):
        row = top + i
        root = row_scores[row, 0]
        for far in range(0, width, WIDE):
            end = min(far + WIDE, width)
            if not _any_beats(tile[i, far:end], root, thresholds[left + far : left + end]):
                continue
            for near in range(far, end, NARROW):
                stop = min(near + NARROW, end)
                if not _any_beats(tile[i, near:stop], root, thresholds[left + near : left + stop]):
                    continue
                for j in range(near, stop):
                    score, column = tile[i, j], left + j
                    if score > root:
                        _replace_root(row_scores[row], row_indices[row], score, column)
                        root = row_scores[row, 0]
                    if score > thresholds[column]:
                        _replace_root(column_scores[column], column_indices[column], score, row)
                        thresholds[column] = column_scores[column, 0]


@njit(nogil=True, cache=True)
def merge(scores, indices, other_scores, other_indices):  # type: ignore[no-untyped-def]
    """Offer all entries of the other heaps to these, heap by heap."""
    for row in range(len(scores)):
        for place in range(other_scores.shape[1]):
            score, index = other_scores[row, place], other_indices[row, place]
            root = scores[row, 0]
            if score > root or (score == root and index < indices[row, 0]):
                _replace_root(scores[row], indices[row], score, index)


@njit(nogil=True, cache=True)
def sort(scores, indices):  # type: ignore[no-untyped-def]
    """Turn heaps into lists in place: best first, and of equal scores the lower index."""
    size = scores.shape[1]
    for row in range(len(scores)):
        for last in range(size - 1, 0, -1):
            score, index = scores[row, last], indices[row, last]
            scores[row, last], indices[row, last] = scores[row, 0], indices[row, 0]
            _replace_root(scores[row, :last], indices[row, :last], score, index)


@njit(nogil=True, cache=True)
def _any_above(line, root):  # type: ignore[no-untyped-def]
    hits = np.int32(0)
    for j in range(len(line)):
        hits += np.int32(line[j] > root)
    return hits > 0


@njit(nogil=True, cache=True)
def scan_rows(tile, top, left, row_scores, row_indices):  # type: ignore[no-untyped-def]
    """Offer every score of `tile` to the heap of its row, as `scan` does."""
    height, width = tile.shape
    for i in range(height):
        row = top + i
        root = row_scores[row, 0]
        for begin in range(0, width, WIDE):
            end = min(begin + WIDE, width)
            if not _any_above(tile[i, begin:end], root):
                continue
            for j in range(begin, end):
                if tile[i, j] > root:
                    _replace_root(row_scores[row], row_indices[row], tile[i, j], left + j)
                    root = row_scores[row, 0]


@njit(nogil=True, cache=True)
def _count(line, own):  # type: ignore[no-untyped-def]
    hits = np.int32(0)
    for j in range(len(line)):
        hits += np.int32(line[j] > own)
    return hits


@njit(nogil=True, cache=True)
def _add_above(line, own, above):  # type: ignore[no-untyped-def]
    for j in range(len(line)):
        above[j] += np.int32(line[j] > own[j])


@njit(nogil=True, cache=True)
def count_above(  # type: ignore[no-untyped-def]
    tile, top, left, row_own, column_own, row_above, column_above
):
    """Count the scores of `tile` that beat `row_own` [n], and each row of `column_own` [l, m]."""
    height, width = tile.shape
    for i in range(height):
        row_above[top + i] += _count(tile[i], row_own[top + i])
        for level in range(len(column_own)):
            _add_above(
                tile[i],
                column_own[level, left : left + width],
                column_above[level, left : left + width],
            )
