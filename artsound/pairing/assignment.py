"""One artwork for each track, no artwork twice, at the largest total weight.

The weight of a pair is its score, less what the hub correction takes off its artwork. The optimum
is exact on the candidate graph; the few tracks it cannot serve are then closed by a dense
assignment over the artworks that are left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from artsound.pairing.candidates import Candidates

# The most scores a dense assignment may hold at once: 1 GB as float64.
DENSE_CELLS = 120_000_000
# Weights lie in [-4, 4] (a cosine, less half of a mean cosine): less than any of them.
NEVER = -1e3


@dataclass(frozen=True)
class Assignment:
    """`artworks` int64 [n_tracks]: each track's artwork, -1 for none. `dense` bool [n_tracks]:
    whether it was found among the leftovers, not on the candidate graph. `prices` float64
    [n_artworks]: the dual prices."""

    artworks: np.ndarray
    dense: np.ndarray
    prices: np.ndarray


def candidate_graph(
    candidates: Candidates, penalties: np.ndarray, floor: float = -1.0
) -> csr_array:
    """The union of both directions' candidates as weights [n_tracks, n_artworks].

    A weight is score - penalty of the artwork; pairs that score below `floor` are left out.
    """
    n_tracks, n_artworks = len(candidates.artworks), len(candidates.tracks)
    rows = np.concatenate(
        [np.repeat(np.arange(n_tracks), candidates.artworks.shape[1]), candidates.tracks.ravel()]
    )
    columns = np.concatenate(
        [
            candidates.artworks.ravel(),
            np.repeat(np.arange(n_artworks), candidates.tracks.shape[1]),
        ]
    ).astype(np.int64)
    scores = np.concatenate([candidates.artwork_scores.ravel(), candidates.track_scores.ravel()])
    kept = np.flatnonzero(scores >= floor)
    keys, first = np.unique(rows[kept] * n_artworks + columns[kept], return_index=True)
    rows, columns, scores = keys // n_artworks, keys % n_artworks, scores[kept][first]
    weights = scores.astype(np.float64) - penalties[columns]
    return coo_array((weights, (rows, columns)), shape=(n_tracks, n_artworks)).tocsr()


def assign(
    tracks: np.ndarray,
    artworks: np.ndarray,
    candidates: Candidates,
    *,
    penalties: np.ndarray,
    floor: float = -1.0,
) -> Assignment:
    graph = candidate_graph(candidates, penalties, floor)
    count = len(tracks)
    dummies = coo_array((np.full(count, NEVER), (np.arange(count), np.arange(count))))
    from scipy.sparse import hstack

    matched = min_weight_full_bipartite_matching(hstack([graph, dummies]).tocsr(), maximize=True)[1]
    chosen = np.where(matched < len(artworks), matched, -1)
    dense = chosen < 0
    free = np.setdiff1d(np.arange(len(artworks)), chosen)
    left = np.flatnonzero(dense)
    step = max(1, DENSE_CELLS // max(1, len(free)))
    for at in range(0, len(left), step):
        some = left[at : at + step]
        scores = (tracks[some] @ artworks[free].T).astype(np.float64)
        weights = np.where(scores >= floor, scores - penalties[free], NEVER)
        rows, columns = linear_sum_assignment(weights, maximize=True)
        good = weights[rows, columns] > NEVER
        chosen[some[rows[good]]] = free[columns[good]]
        free = np.delete(free, columns[good])
    return Assignment(chosen, dense & (chosen >= 0), np.zeros(len(artworks)))


def greedy(
    tracks: np.ndarray, artworks: np.ndarray, candidates: Candidates, *, floor: float = -1.0
) -> float:
    """The mean score of taking the best pair left, again and again: the plain alternative.

    Tracks whose candidates are all taken get the artworks that are left, in order.
    """
    graph = candidate_graph(candidates, np.zeros(len(artworks)), floor).tocoo()
    chosen = np.full(len(tracks), -1)
    taken = np.zeros(len(artworks), dtype=bool)
    for n in np.argsort(-graph.data, kind="stable"):
        track, artwork = graph.row[n], graph.col[n]
        if chosen[track] < 0 and not taken[artwork]:
            chosen[track], taken[artwork] = artwork, True
    left = np.flatnonzero(chosen < 0)
    chosen[left] = np.flatnonzero(~taken)[: len(left)]
    from artsound.pairing.evidence import pair_scores

    return float(pair_scores(tracks, artworks, np.arange(len(tracks)), chosen).mean())
