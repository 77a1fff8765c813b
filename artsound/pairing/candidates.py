"""Each track's best artworks and each artwork's best tracks, exactly, in bounded memory.

The scores of two sides are one matrix product, far too large to keep (45 GB at full size). It is
computed in tiles, and each tile is scanned while it is still in the processor's cache: a heap per
row and per column holds the best so far, and a score is looked at twice only when it beats the
running threshold of its row or of its column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from artsound.errors import BadData
from artsound.pairing.tiles import Stripe, each_stripe

UNIT_TOLERANCE = 1e-3


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


def check_vectors(vectors: np.ndarray, ids: Sequence[object], side: str) -> None:
    """Do nothing when `vectors` [n, D] are finite unit rows, one for each of n distinct ids.

    Else raise BadData, one sentence that names `side` and the first id at fault.
    """
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise BadData(f"The vectors of the {side} have the shape {vectors.shape}, not [n, D].")
    if len(vectors) != len(ids):
        raise BadData(
            f"There are {len(vectors)} vectors for {len(ids)} {side}: run `artsound embed` again."
        )
    if len(set(ids)) != len(ids):
        seen: set[object] = set()
        twice = next(name for name in ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise BadData(f"The {side} list {twice} twice: run `artsound ingest` again.")
    with np.errstate(all="ignore"):
        lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    faulty = np.flatnonzero(~(np.abs(lengths - 1.0) <= UNIT_TOLERANCE))
    if len(faulty):
        length = lengths[faulty[0]]
        fault = "is zero" if length == 0 else f"has the length {length:.3g}, not 1"
        raise BadData(
            f"The vector of {ids[faulty[0]]} ({side}) {fault}, and so for {len(faulty)} of "
            f"{len(ids)}: run `artsound embed` again."
        )


def find_candidates(
    tracks: np.ndarray,
    artworks: np.ndarray,
    count: int,
    *,
    device: str = "cpu",
    threads: int = 0,
) -> Candidates:
    """The `count` best partners of each track and of each artwork, by dot product.

    `tracks` [n_tracks, D] and `artworks` [n_artworks, D], both float32. Where a side has fewer
    than `count` items, all of them are listed. Exact: float32 products, every pair looked at.
    `device` is "cpu", or what torch calls another one ("cuda", "cuda:1"). `threads` 0 means one
    per processor. Memory beyond the inputs: about 8 · `count` bytes per item and thread.
    Raises BadData when the two sides differ in D, or one of them is empty.
    """
    if tracks.ndim != 2 or artworks.ndim != 2 or tracks.shape[1] != artworks.shape[1]:
        raise BadData(
            f"Tracks {tracks.shape} and artworks {artworks.shape} have vectors of different "
            "widths: both sides must come from one bridge."
        )
    if not len(tracks) or not len(artworks):
        raise BadData(f"There are {len(tracks)} tracks and {len(artworks)} artworks to match.")
    if device != "cpu":
        from artsound.pairing.device import find_on_device

        return Candidates(*find_on_device(tracks, artworks, count, device))
    from artsound.pairing import heaps  # compiles: not before it is needed

    row_k, column_k = min(count, len(artworks)), min(count, len(tracks))
    columns = heaps.empty(len(artworks), column_k)

    def scan(stripe: Stripe) -> np.ndarray:
        # A thread owns the heaps of its stripe's columns, and has heaps of its own for the rows:
        # nothing is shared, nothing is waited for.
        rows = heaps.empty(len(tracks), row_k)
        row_roots = np.full(len(tracks), -np.inf, dtype=np.float32)
        column_roots = np.full(len(artworks), -np.inf, dtype=np.float32)
        for top, left, scores in stripe.tiles(tracks, artworks):
            heaps.scan(scores, top, left, row_roots, column_roots, rows, columns)
        return rows

    rows, *others = each_stripe(scan, len(artworks), threads)
    for other in others:
        heaps.merge(rows, other)
    return Candidates(*heaps.lists(rows), *heaps.lists(columns))


def hub_penalties(candidates: Candidates, neighbours: int) -> np.ndarray:
    """What the hub correction takes off each artwork's scores: float64 [n_artworks].

    Cross-domain similarity local scaling (CSLS: Conneau et al., ICLR 2018) is
    2 s(t, a) - r(t) - r(a), where r is an item's mean score with its `neighbours` nearest of the
    other side. Halved, and without r(t), which is the same whichever artwork a track gets, it is
    s(t, a) - r(a) / 2. With `neighbours` 0 nothing is taken off.
    """
    if not neighbours:
        return np.zeros(len(candidates.tracks))
    return candidates.track_scores[:, :neighbours].mean(axis=1, dtype=np.float64) / 2
