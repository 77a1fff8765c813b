"""What a catalogue of pairs can be narrowed by: columns of an index as small whole numbers.

Everything is coded once, so that choosing and counting among 100,000 rows is a matter of
milliseconds.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Mask = npt.NDArray[np.bool_]

UNKNOWN = "unknown"
COMMERCIAL, SHAREABLE, RESTRICTED = "commercial use", "non-commercial use", "not to be passed on"

# Name in an address, heading, and the index column of facets that are a column as it stands.
_COLUMNS = (
    ("style", "Style", "style"),
    ("genre", "Subject", "genre"),
    ("music_genre", "Music", "music_genre"),
    ("painter", "Painter", "painter"),
    ("period", "Period", "period"),
)
_LAST_COLUMNS = (
    ("licence", "Music licence", "track_license_id"),
    ("split", "Split", "split"),
)


@dataclass(frozen=True)
class Facet:
    """One way to narrow a catalogue: row n has the value `values[codes[n]]`.

    `ranked` facets are shown in the order of their values, the others by frequency.
    """

    name: str
    title: str
    values: tuple[str, ...]
    codes: npt.NDArray[np.int32]
    ranked: bool = False

    def mask(self, wanted: Collection[str]) -> Mask:
        """The rows that have one of the wanted values; unknown values match no row."""
        chosen = np.array([value in wanted for value in self.values], dtype=bool)
        return chosen[self.codes]

    def counts(self, rows: Mask) -> list[tuple[str, int]]:
        """How many of these rows have each value; values that none of them has are left out."""
        numbers = np.bincount(self.codes[rows], minlength=len(self.values)).tolist()
        found = [(value, n) for value, n in zip(self.values, numbers, strict=True) if n]
        return found if self.ranked else sorted(found, key=lambda item: (-item[1], item[0]))


def facets_of(frame: pl.DataFrame) -> tuple[Facet, ...]:
    """The facets of an index, in the order in which they are shown."""
    return (
        *(_column_facet(frame[column], name, title) for name, title, column in _COLUMNS),
        _century_facet(frame["year"]),
        _score_facet(frame["score"].to_numpy()),
        _rights_facet(frame),
        *(_column_facet(frame[column], name, title) for name, title, column in _LAST_COLUMNS),
    )


def _column_facet(column: pl.Series, name: str, title: str) -> Facet:
    texts = column.replace("", UNKNOWN)
    values = texts.unique().sort()
    codes = pl.DataFrame({"value": texts}).join(
        pl.DataFrame({"value": values}).with_row_index("code"),
        on="value",
        how="left",
        maintain_order="left",
    )["code"]
    return Facet(name, title, tuple(values.to_list()), codes.to_numpy().astype(np.int32))


def _century_facet(years: pl.Series) -> Facet:
    year = years.to_numpy()
    centuries = np.where(year > 0, (year - 1) // 100 + 1, 0)
    found, codes = np.unique(centuries, return_inverse=True)
    names = tuple(f"{ordinal(int(c))} century" if c else UNKNOWN for c in found)
    return Facet("century", "Century", names, codes.astype(np.int32), ranked=True)


def _score_facet(scores: npt.NDArray[np.float32]) -> Facet:
    """Stretches of equal width, highest first, of which there are at most twelve."""
    low, high = (float(scores.min()), float(scores.max())) if scores.size else (0.0, 0.0)
    step = next(
        (s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / s <= 10), high - low
    )
    # A score of 0.3 is stored as 0.30000001192…, so bounds are compared with a little slack.
    bins = np.floor(scores / step + 1e-4).astype(int)
    first, last = (int(bins.min()), int(bins.max())) if bins.size else (0, 0)
    names = tuple(
        f"{number * step:.2f} to {(number + 1) * step:.2f}" for number in range(last, first - 1, -1)
    )
    return Facet("score", "Score", names, (last - bins).astype(np.int32), ranked=True)


def _rights_facet(frame: pl.DataFrame) -> Facet:
    """What both sides of a pair together allow."""
    shareable = (frame["artwork_redistribute"] & frame["track_redistribute"]).to_numpy()
    commercial = (frame["artwork_commercial"] & frame["track_commercial"]).to_numpy()
    codes = np.where(shareable, np.where(commercial, 0, 1), 2).astype(np.int32)
    return Facet("rights", "Rights", (COMMERCIAL, SHAREABLE, RESTRICTED), codes, ranked=True)


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `13th`, …"""
    tail = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{tail or 'th'}"
