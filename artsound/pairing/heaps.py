"""Bounded heaps of scored indices, thousands of them in one array.

An entry is one whole number, larger for a higher score and, at equal scores, for a lower index:
so the lower index wins a tie, whatever the order of the entries. A heap holds the largest entries
offered to it, with the least of them at its root, in place 0.

The functions are compiled by numba when they are first called, and release the interpreter lock.
Functions of other files that call them have them compiled in: after a change here, `make clean`
removes what was compiled before, which numba would still use.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LOW = np.int64(2**32 - 1)  # the bits of an entry that hold its index, counted backwards
SIGNLESS = np.int64(2**31 - 1)
# The entry of score -inf and index -1, less than every other.
NOTHING = np.int64(-2139095041) << np.int64(32)


def empty(count: int, size: int) -> np.ndarray:
    """Empty heaps of `size` places: int64 [count, size]."""
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
def packed(score, index):  # type: ignore[no-untyped-def]
    # Floats are ordered like their bits, negative ones in reverse; + 0 turns -0 into 0.
    bits = np.int64(np.float32(score + np.float32(0)).view(np.int32))
    if bits < 0:
        bits ^= SIGNLESS
    return (bits << 32) | (LOW - index)


@njit(nogil=True, cache=True)
def score_of(entry):  # type: ignore[no-untyped-def]
    bits = entry >> 32
    if bits < 0:
        bits ^= SIGNLESS
    return np.int32(bits).view(np.float32)


@njit(nogil=True, cache=True)
def replace_root(heap, entry):  # type: ignore[no-untyped-def]
    """Replace the root by an entry, sift it down, and return the new root's score."""
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
    return score_of(heap[0])


@njit(nogil=True, cache=True)
def merge(heaps, others):  # type: ignore[no-untyped-def]
    """Offer all entries of the other heaps to these, heap by heap."""
    for row in range(len(heaps)):
        for entry in others[row]:
            if entry > heaps[row, 0]:
                replace_root(heaps[row], entry)
