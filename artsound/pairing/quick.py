"""Candidates at a fraction of the cost: a first pass in fewer dimensions, then exact scores."""

from __future__ import annotations

import numpy as np

from artsound.pairing.candidates import Candidates, find_candidates
from artsound.pairing.tiles import Stripe, each_stripe

# Listed in the first pass for each one that is kept.
SPARE = 2


def find_quick_candidates(
    tracks: np.ndarray, artworks: np.ndarray, count: int, width: int, *, threads: int = 0
) -> Candidates:
    """Good partners of each item, though now and then not the very best; their scores are exact.

    As `find_candidates`, but first in the `width` dimensions that keep most of the dot products
    (the principal axes of both sides together), where SPARE times as many are listed; these are
    scored anew in all dimensions and the best `count` kept. With `width` of D or more nothing is
    lost but time.
    """
    axes = _principal_axes(tracks, artworks, width)
    rough = find_candidates(tracks @ axes, artworks @ axes, SPARE * count, threads=threads)
    found = _rescored(tracks, artworks, rough.artworks, min(count, len(artworks)), threads)
    other = _rescored(artworks, tracks, rough.tracks, min(count, len(tracks)), threads)
    return Candidates(*found, *other)


def _principal_axes(tracks: np.ndarray, artworks: np.ndarray, width: int) -> np.ndarray:
    """The `width` orthogonal directions in which both sides are longest: float32 [D, width]."""
    moments = sum((side.T @ side).astype(np.float64) / len(side) for side in (tracks, artworks))
    directions = np.linalg.eigh(moments)[1][:, ::-1]
    return np.ascontiguousarray(directions[:, :width], dtype=np.float32)


def _rescored(
    rows: np.ndarray, columns: np.ndarray, listed: np.ndarray, count: int, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    from artsound.pairing import heaps

    best = heaps.empty(len(rows), count)

    def look(stripe: Stripe) -> None:
        some = slice(stripe.start, stripe.stop)
        heaps.offer_listed(rows[some], columns, listed[some], best[some])

    each_stripe(look, len(rows), threads)
    return heaps.lists(best)
