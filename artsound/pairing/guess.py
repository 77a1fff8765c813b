"""Prices guessed before a large matching, from a small one of a sample.

The candidates of a track are best taken by score less price, not by score: where many tracks
compete for the same few artworks, those of highest score are all taken. The prices are not known
before the matching, but those of a sample's matching are near them: any artwork's price is what
the sample's tracks would pay for it (the c-transform of optimal transport). Nothing is lost if
they are wrong, only time: the certificate takes the prices of the matching itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from artsound.pairing.assignment import assign, candidate_edges
from artsound.pairing.rows import unit_rows
from artsound.pairing.search import find_candidates, largest

_SEED = 0
_SHARE = 1 / 30  # of the tracks that the sample has
_LEAST, _MOST = 1_000, 8_192
_TRACKS_OF_CELL = 8  # of the sample, on average
_CANDIDATES = 64


@dataclass(frozen=True)
class Guess:
    """What is guessed of a matching.

    Attributes:
        worths: float32 [n], the score less price that each track's artwork has.
        prices: float32 [m], 0 or more, of each artwork.
    """

    worths: np.ndarray
    prices: np.ndarray


def no_guess(tracks: int, artworks: int) -> Guess:
    """Prices of zero: candidates are those of highest score."""
    return Guess(np.zeros(tracks, np.float32), np.zeros(artworks, np.float32))


def guess_prices(tracks: np.ndarray, artworks: np.ndarray, uses: int = 1) -> Guess:
    """Match a sample, and apply its prices to all.

    The sample has every part of the space in its proportions, on both sides: where a random one
    had more tracks than artworks by chance, the prices there would be wrong by half a score.

    Args:
        tracks: Unit rows float32 [n, D].
        artworks: Unit rows float32 [m, D]; m · `uses` is at least n.
        uses: How often an artwork may be used.
    """
    generator = np.random.default_rng(_SEED)
    count = min(len(tracks), max(_LEAST, min(_MOST, int(len(tracks) * _SHARE))))
    centres = _centres(tracks, artworks, max(1, count // _TRACKS_OF_CELL), generator)
    some = _spread(tracks, centres, count)
    most = max(_MOST, count)
    other = _spread(artworks, centres, min(most, -(-count * len(artworks) // len(tracks))))
    t, a = tracks[some], artworks[other]
    lists = find_candidates(t, a, _CANDIDATES)
    found = assign(t, a, candidate_edges(lists), penalties=np.zeros(len(a)), uses=uses)
    off = found.prices.astype(np.float32)
    worths = largest(tracks, a, off)[0]
    prices = largest(artworks, t, worths[some])[0]
    return Guess(worths, np.maximum(prices, 0.0))


def with_guess(
    tracks: np.ndarray, artworks: np.ndarray, guess: Guess
) -> tuple[np.ndarray, np.ndarray]:
    """Rows [n, D + 2] and [m, D + 2], whose dot products are the scores less worth and price."""
    t = np.empty((len(tracks), tracks.shape[1] + 2), dtype=np.float32)
    a = np.empty((len(artworks), artworks.shape[1] + 2), dtype=np.float32)
    t[:, :-2], t[:, -2], t[:, -1] = tracks, -guess.worths, 1.0
    a[:, :-2], a[:, -2], a[:, -1] = artworks, 1.0, -guess.prices
    return t, a


def _centres(
    tracks: np.ndarray, artworks: np.ndarray, count: int, generator: np.random.Generator
) -> np.ndarray:
    """Centres of the parts of the space, float32 [count, D]: two steps of spherical k-means."""
    pool = np.concatenate(
        [side[generator.integers(len(side), size=10 * count)] for side in (tracks, artworks)]
    )
    centres = pool[generator.choice(len(pool), count, replace=False)]
    for _ in range(2):
        nearest = largest(pool, centres)[1]
        sums = np.zeros_like(centres, dtype=np.float64)
        np.add.at(sums, nearest, pool)
        some = np.abs(sums).max(axis=1) > 0
        centres[some] = unit_rows(sums[some])
    return centres


def _spread(rows: np.ndarray, centres: np.ndarray, count: int) -> np.ndarray:
    """Places int64 [count], ascending, of rows in equal steps along the order of the parts."""
    score, nearest = largest(rows, centres)
    order = np.lexsort((score, nearest))
    steps = ((np.arange(count) + 0.5) * len(rows) / count).astype(np.int64)
    spread: np.ndarray = np.sort(order[steps])
    return spread
