"""The scores of all pairs, tile after tile: what is far too large to keep at once.

The columns are cut into one stripe per thread, and each thread multiplies and reads its own
tiles, so that a tile is still in its core's cache when it is read.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")

# The best of the sizes tried: 2 MB, in reach of a core, and wide enough for a fast product.
TILE_ROWS = 512
TILE_COLUMNS = 1024


@dataclass(frozen=True)
class Stripe:
    """The columns start:stop of all scores, for one thread."""

    start: int
    stop: int

    def tiles(self, rows: np.ndarray, columns: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
        """(first row, first column, scores [h, w] float32) of the tiles, top to bottom, then right.

        `rows` [n, D] and `columns` [m, D] float32. The scores are overwritten by the next tile's.
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
    """What `work` gives for each stripe of so many columns, in order; one thread per stripe.

    `threads` 0 means one per processor. Numpy's own threads rest meanwhile: ours are enough.
    """
    from threadpoolctl import threadpool_limits

    wanted = threads or len(os.sched_getaffinity(0))
    tiles = -(-columns // TILE_COLUMNS)
    # Whole tiles to each: the same products are made, to the last bit, by any number of threads.
    edges = np.linspace(0, tiles, max(1, min(wanted, tiles)) + 1).astype(int) * TILE_COLUMNS
    stripes = [
        Stripe(int(start), min(int(stop), columns)) for start, stop in itertools.pairwise(edges)
    ]
    with (
        threadpool_limits(limits=1, user_api="blas"),
        ThreadPoolExecutor(len(stripes)) as pool,
    ):
        return list(pool.map(work, stripes))


def pair_scores(
    tracks: np.ndarray, artworks: np.ndarray, some: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Dot products of tracks[some] with artworks[other], float32, in bounded memory."""
    scores = np.empty(len(some), dtype=np.float32)
    for at in range(0, len(some), 65_536):
        part = slice(at, at + 65_536)
        scores[part] = np.einsum("nd,nd->n", tracks[some[part]], artworks[other[part]])
    return scores
