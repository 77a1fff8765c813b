"""Bounded heaps of scored indices, thousands of them side by side in one array.

An entry is one whole number, larger for a higher score and, at equal scores, for a lower index:
so the lower index wins a tie, whatever the order in which entries come. A heap keeps the largest
entries it is given, with the least of them at its root, in place 0.

The functions are compiled by numba when they are first called, and release the interpreter's
lock. Importing this module imports numba: do that inside the function that needs it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Scores compared at once: first many, then, where one of them beats a threshold, a vector.
WIDE = 64
NARROW = 16
LOW = np.int64(2**32 - 1)  # the bits of an entry that hold its index, counted backwards
SIGNLESS = np.int64(2**31 - 1)
# The entry of score -inf and index -1: it loses to every other.
NOTHING = np.int64(-2139095041) << np.int64(32)


def empty(count: int, size: int) -> np.ndarray:
    """So many heaps of `size` places that hold nothing yet: int64 [count, size]."""
    return np.full((count, size), NOTHING, dtype=np.int64)


def lists(heaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices int32 and scores float32 [count, size] of each heap's entries, best first.

    Of equal scores the lower index comes first; an empty place has the index -1 and score -inf.
    """
    entries = np.sort(heaps, axis=1)[:, ::-1]
    indices = (LOW - (entries & LOW)).astype(np.int32)
    bits = (entries >> 32).astype(np.int32)
    scores = np.where(bits < 0, bits ^ np.int32(SIGNLESS), bits).view(np.float32)
    return indices, scores


@njit(nogil=True, cache=True)
def _entry(score, index):  # type: ignore[no-untyped-def]
    # Floats are ordered as their bits are, negative ones backwards; + 0 makes -0 into 0.
    bits = np.int64(np.float32(score + np.float32(0)).view(np.int32))
    if bits < 0:
        bits ^= SIGNLESS
    return (bits << 32) | (LOW - index)


@njit(nogil=True, cache=True)
def _score(entry):  # type: ignore[no-untyped-def]
    bits = entry >> 32
    if bits < 0:
        bits ^= SIGNLESS
    return np.int32(bits).view(np.float32)


@njit(nogil=True, cache=True)
def _replace_root(heap, entry):  # type: ignore[no-untyped-def]
    """Put an entry in the root's place and let it sink below lesser ones; the new root's score."""
    size = len(heap)
    place, child = 0, 1
    while child < size:
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if entry <= heap[child]:
            break
        heap[place] = heap[child]
        place, child = child, 2 * child + 1
    heap[place] = entry
    return _score(heap[0])


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
def scan_columns(tile, top, left, row_roots, column_roots, row_heaps, column_heaps):  # type: ignore[no-untyped-def]
    """Offer every score of `tile` [h, w] to the heaps of its row and of its column.

    The tile's first row is row `top` of the whole, its first column column `left`. The roots
    (float32, -inf at first) are the scores at the heaps' roots, and are kept up to date. Rows
    must come in ascending order for a column, and columns for a row: then a score equal to the
    root's loses to it, and comparing scores alone is enough.
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
                        root = _replace_root(row_heaps[row], _entry(score, column))
                    if score > column_roots[column]:
                        entry = _entry(score, row)
                        column_roots[column] = _replace_root(column_heaps[column], entry)
        row_roots[row] = root


@njit(nogil=True, cache=True)
def _any_above(line, root):  # type: ignore[no-untyped-def]
    hits = np.int32(0)
    for j in range(len(line)):
        hits += np.int32(line[j] > root)
    return hits > 0


@njit(nogil=True, cache=True)
def scan_rows(tile, top, left, heaps):  # type: ignore[no-untyped-def]
    """Offer every score of `tile` to the heap of its row; columns ascending, as for `scan`."""
    height, width = tile.shape
    for i in range(height):
        heap = heaps[top + i]
        root = _score(heap[0])
        for begin in range(0, width, WIDE):
            end = min(begin + WIDE, width)
            if not _any_above(tile[i, begin:end], root):
                continue
            for j in range(begin, end):
                if tile[i, j] > root:
                    root = _replace_root(heap, _entry(tile[i, j], left + j))


@njit(nogil=True, cache=True)
def merge(heaps, others):  # type: ignore[no-untyped-def]
    """Offer all entries of the other heaps to these, heap by heap."""
    for row in range(len(heaps)):
        for entry in others[row]:
            if entry > heaps[row, 0]:
                _replace_root(heaps[row], entry)


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
