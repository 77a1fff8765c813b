"""How pairs stand to the catalogue they were chosen from: shares, near-duplicates, rights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Shares:
    """Each value's count in a catalogue and in the pairs, frequent in the catalogue first."""

    counts: Mapping[str, tuple[int, int]]

    @property
    def totals(self) -> tuple[int, int]:
        """Items of the catalogue, and pairs."""
        there, used = zip(*self.counts.values(), strict=True) if self.counts else ((), ())
        return sum(there), sum(used)

    @property
    def values(self) -> dict[str, tuple[float, float]]:
        """Each value's share of the catalogue and of the pairs, 0 to 1."""
        all_there, all_used = (max(total, 1) for total in self.totals)
        return {
            value: (there / all_there, used / all_used)
            for value, (there, used) in self.counts.items()
        }

    @property
    def covered(self) -> float:
        """Which share of the catalogue's values occurs in the pairs, 0 to 1."""
        there = [used for there, used in self.counts.values() if there]
        return sum(used > 0 for used in there) / max(len(there), 1)

    @property
    def distance(self) -> float:
        """Total variation distance of the two distributions: 0 the same, 1 nothing in common."""
        return sum(abs(there - used) for there, used in self.values.values()) / 2

    def extremes(self, *, most: bool, count: int = 8) -> list[tuple[str, int, int, float]]:
        """Values most over- or under-represented: catalogue, pairs, and pairs to be expected.

        Ordered by the difference between the pairs there are and those to be expected.
        """
        all_there, all_used = self.totals
        rows = [
            (value, there, used, all_used * there / max(all_there, 1))
            for value, (there, used) in self.counts.items()
        ]
        sign = 1 if most else -1
        apart = [row for row in rows if sign * (row[2] - row[3]) > 0]
        return sorted(apart, key=lambda row: (sign * (row[3] - row[2]), row[0]))[:count]


def shares(catalogue: pl.Series, pairs: pl.Series) -> Shares:
    """How often each value occurs in a catalogue's column and in that of the pairs."""
    there, used = (
        column.alias("value").replace("", "unknown").value_counts(name="n")
        for column in (catalogue, pairs)
    )
    joined = (
        there.join(used, on="value", how="full", coalesce=True, suffix="_used")
        .fill_null(0)
        .sort(["n", "n_used", "value"], descending=[True, True, False])
    )
    return Shares({value: (n, m) for value, n, m in joined.iter_rows()})


def clusters(column: pl.Series) -> tuple[int, int, int, int]:
    """Items, clusters of more than one item, items in those, and the size of the largest."""
    sizes = column.alias("cluster").value_counts(name="n")["n"]
    several = sizes.filter(sizes > 1)
    return column.len(), several.len(), int(several.sum()), max(sizes.to_list(), default=0)


def rights(frame: pl.DataFrame) -> list[tuple[str, int, int, int]]:
    """What may be done with how many pairs: by the artwork, by the music, and by both."""
    rows = []
    for name, flag in (
        ("may be passed on", "redistribute"),
        ("may be adapted", "derivatives"),
        ("may be used commercially", "commercial"),
    ):
        artwork, track = frame[f"artwork_{flag}"], frame[f"track_{flag}"]
        rows.append((name, int(artwork.sum()), int(track.sum()), int((artwork & track).sum())))
    return rows
