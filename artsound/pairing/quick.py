"""Candidates at a fraction of the cost: a first pass in fewer dimensions, then exact scores."""

from __future__ import annotations

import numpy as np

from artsound.pairing.search import Candidates, Stripe, each_stripe, find_candidates

# Listed in the first pass for each one that is kept.
SPARE = 2


def in_fewer_dimensions(
    tracks: np.ndarray, artworks: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both sides, float32 [n, width], in the dimensions that keep most of their dot products.

    These are the principal axes of both sides together, the longest first. With `width` of D or
    more the dot products stay what they were.
    """
    axes = _principal_axes(tracks, artworks, width)
    return tracks @ axes, artworks @ axes


def find_quick_candidates(
    tracks: np.ndarray,
    artworks: np.ndarray,
    count: int,
    rough: tuple[np.ndarray, np.ndarray],
    *,
    width: int = 0,
    threads: int = 0,
) -> Candidates:
    """Good partners of each item, though now and then not the very best; their scores are exact.

    As `find_candidates`, but first with the `rough` sides (see `in_fewer_dimensions`), or the first
    `width` dimensions of those, where SPARE times as many are listed; these are scored anew in all
    dimensions and the best `count` kept.
    """
    narrow = [np.ascontiguousarray(side[:, : width or None]) for side in rough]
    listed = find_candidates(narrow[0], narrow[1], SPARE * count, threads=threads)
    found = _rescored(tracks, artworks, listed.artworks, min(count, len(artworks)), threads)
    other = _rescored(artworks, tracks, listed.tracks, min(count, len(tracks)), threads)
    return Candidates(*found, *other)


def _principal_axes(tracks: np.ndarray, artworks: np.ndarray, width: int) -> np.ndarray:
    """The `width` orthogonal directions in which both sides are longest: float32 [D, width]."""
    moments = sum((side.T @ side).astype(np.float64) / len(side) for side in (tracks, artworks))
    directions = np.linalg.eigh(moments)[1][:, ::-1]
    return np.ascontiguousarray(directions[:, :width], dtype=np.float32)


def _rescored(
    rows: np.ndarray, columns: np.ndarray, listed: np.ndarray, count: int, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    from artsound.pairing import topk

    best = topk.empty(len(rows), count)

    def look(stripe: Stripe) -> None:
        some = slice(stripe.start, stripe.stop)
        topk.offer_listed(rows[some], columns, listed[some], best[some])

    each_stripe(look, len(rows), threads)
    return topk.lists(best)
