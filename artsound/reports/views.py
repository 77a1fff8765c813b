"""Searching and filtering the pairs of a release in memory, for `artsound browse`.

Facets code columns of the index as small integers once, so that filtering and counting 100,000
rows takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from artsound.errors import BadData, BadUsage
from artsound.schema import arrow_schema
from artsound.shards.dataset import Dataset, mask_of

Mask = npt.NDArray[np.bool_]

UNKNOWN = "unknown"
COMMERCIAL, SHAREABLE, RESTRICTED = "commercial use", "non-commercial use", "not to be passed on"

# Facets that are a column: name in an address, heading, column of the index.
_COLUMNS = (
    ("style", "Style", "artwork_style"),
    ("genre", "Subject", "artwork_genre"),
    ("music_genre", "Music", "track_genre"),
    ("painter", "Painter", "painter"),
    ("period", "Period", "artwork_period"),
)
_LAST_COLUMNS = (
    ("licence", "Music licence", "track_license_id"),
    ("split", "Split", "split"),
)


@dataclass(frozen=True)
class Facet:
    """One way to filter pairs: row n has the value `values[codes[n]]`.

    `ranked` facets are shown in the order of their values, the others by frequency.
    """

    name: str
    title: str
    values: tuple[str, ...]
    codes: npt.NDArray[np.int32]
    ranked: bool = False

    def mask(self, chosen_values: Collection[str]) -> Mask:
        """The rows that have one of some values, bool [n]; unknown values match no row."""
        chosen = np.array([value in chosen_values for value in self.values], dtype=bool)
        return chosen[self.codes]

    def counts(self, rows: Mask) -> list[tuple[str, int]]:
        """Count these rows by value, without values that none of them has."""
        numbers = np.bincount(self.codes[rows], minlength=len(self.values)).tolist()
        found = [(value, n) for value, n in zip(self.values, numbers, strict=True) if n]
        return found if self.ranked else sorted(found, key=lambda item: (-item[1], item[0]))


def facets_of(frame: pl.DataFrame) -> tuple[Facet, ...]:
    """The facets of an index, in the order in which they are shown."""
    return (
        *(_column_facet(frame[column], name, title) for name, title, column in _COLUMNS),
        _century_facet(frame["artwork_year"]),
        _score_facet(frame["score"].to_numpy()),
        _rights_facet(frame),
        *(_column_facet(frame[column], name, title) for name, title, column in _LAST_COLUMNS),
    )


def _column_facet(column: pl.Series, name: str, title: str) -> Facet:
    texts = column.fill_null(UNKNOWN)
    values = texts.unique().sort()
    codes = pl.DataFrame({"value": texts}).join(
        pl.DataFrame({"value": values}).with_row_index("code"),
        on="value",
        how="left",
        maintain_order="left",
    )["code"]
    return Facet(name, title, tuple(values.to_list()), codes.to_numpy().astype(np.int32))


def _century_facet(years: pl.Series) -> Facet:
    year = years.fill_null(-1).to_numpy()
    centuries = np.where(year > 0, (year - 1) // 100 + 1, 0)
    found, codes = np.unique(centuries, return_inverse=True)
    names = tuple(f"{ordinal(int(c))} century" if c else UNKNOWN for c in found)
    return Facet("century", "Century", names, codes.astype(np.int32), ranked=True)


def _score_facet(scores: npt.NDArray[np.float32]) -> Facet:
    """At most twelve intervals of equal width, highest first."""
    low, high = (float(scores.min()), float(scores.max())) if scores.size else (0.0, 0.0)
    step = next(
        (s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / s <= 10), high - low
    )
    # A score of 0.3 is stored as 0.30000001192…, so bounds are compared with a tolerance.
    bins = np.floor(scores / step + 1e-4).astype(int)
    first, last = (int(bins.min()), int(bins.max())) if bins.size else (0, 0)
    names = tuple(
        f"{number * step:.2f} to {(number + 1) * step:.2f}" for number in range(last, first - 1, -1)
    )
    return Facet("score", "Score", names, (last - bins).astype(np.int32), ranked=True)


def _rights_facet(frame: pl.DataFrame) -> Facet:
    """What the rights of both sides of a pair permit."""
    shareable = (frame["artwork_redistribute"] & frame["track_redistribute"]).to_numpy()
    commercial = (frame["artwork_commercial"] & frame["track_commercial"]).to_numpy()
    codes = np.where(shareable, np.where(commercial, 0, 1), 2).astype(np.int32)
    return Facet("rights", "Rights", (COMMERCIAL, SHAREABLE, RESTRICTED), codes, ranked=True)


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `13th`, …"""
    tail = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{tail or 'th'}"


# The pairs in memory, and the views of them that the page requests.

Rows = npt.NDArray[np.integer[Any]]

# Sort order by name: what to sort by, and whether each descends.
SORTS: Mapping[str, tuple[tuple[str | pl.Expr, ...], tuple[bool, ...]]] = {
    "best": (("score", "key"), (True, False)),
    "worst": (("score", "key"), (False, False)),
    "oldest": (("artwork_year", "key"), (False, False)),
    "newest": (("artwork_year", "key"), (True, False)),
    "painter": (("painter", "artwork_year", "key"), (False, False, False)),
    "music": (("musician", "track_title", "key"), (False, False, False)),
}
_SEARCHED = (
    *("artwork_title", "painter", "artwork_style", "artwork_genre", "artwork_school"),
    *("artwork_period", "artwork_caption", "track_title", "musician", "album"),
    *("track_genre", "track_caption", "key", "artwork_id"),
)
_SEARCHED_LISTS = (
    *("artwork_tags", "artwork_media", "artwork_emotions"),
    *("track_genres", "track_tags"),
)
# Fields of a card in the grid; the others are requested pair by pair.
_CARD = (
    *("key", "artwork_title", "painter", "artwork_year", "artwork_style", "artwork_genre"),
    *("track_title", "musician", "track_genre", "duration_s", "score", "split"),
    *("artwork_caption", "track_caption"),
)


@dataclass(frozen=True)
class Query:
    """A query: words, values of facets, one SQL condition, and an order."""

    text: str = ""
    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    where: str = ""
    sort: str = "best"

    def asked(self) -> tuple[str, ...]:
        """The conditions as text, for the record of a saved view."""
        conditions = [f"search {self.text!r}"] if self.text.strip() else []
        conditions += [f"{name} in {sorted(values)}" for name, values in self.chosen.items()]
        return (*conditions, *([self.where] if self.where.strip() else []))


@dataclass(frozen=True, eq=False)
class PairTable:
    """The pairs of a dataset, prepared for searching.

    What the first page does not need is computed on first use, and cached.
    """

    data: Dataset
    facets: tuple[Facet, ...]
    _orders: dict[str, Rows] = field(default_factory=dict)

    def order(self, name: str) -> Rows:
        """The positions of all pairs in one of SORTS."""
        if name not in self._orders:
            columns, descending = SORTS[name]
            sorted_by = pl.arg_sort_by(
                columns, descending=list(descending), nulls_last=[True] * len(columns)
            )
            self._orders[name] = self.data.frame.select(sorted_by).to_series().to_numpy()
        return self._orders[name]

    @cached_property
    def texts(self) -> pl.Series:
        """The searched text of each pair: all names, titles, tags and captions, folded."""
        lists = [pl.col(name).list.join(" ") for name in _SEARCHED_LISTS]
        columns = self.data.frame.select(pl.col(*_SEARCHED).fill_null(""), *lists).get_columns()
        # Column by column, since only columns with accents need the slow normalisation.
        parts = pl.DataFrame([folded(column) for column in columns])
        return parts.select(pl.concat_str(pl.all(), separator=" ")).to_series()

    @cached_property
    def places(self) -> dict[str, int]:
        """The position of each key."""
        return {key: n for n, key in enumerate(self.data.frame["key"].to_list())}

    @cached_property
    def ranks(self) -> Rows:
        """Each pair's rank by score, from 0, int64."""
        ranks = np.empty(len(self.data), dtype=np.int64)
        ranks[self.order("best")] = np.arange(len(self.data))
        return ranks

    def rows(self, query: Query) -> Mask:
        """Which pairs a query finds, bool [n]; BadUsage when it is invalid."""
        found = self._plain(query)
        for mask in self._facet_masks(query).values():
            found = found & mask
        return found

    def view(self, query: Query, *, start: int = 0, count: int = 48) -> dict[str, Any]:
        """One page of the pairs that a query finds, their number, and counts of every facet.

        The counts of a facet ignore its own values in the query, so that a second value of the
        same facet can be added. Returns JSON values.
        """
        plain, masks = self._plain(query), self._facet_masks(query)
        found = plain
        for mask in masks.values():
            found = found & mask
        facets = []
        for facet in self.facets:
            others = plain
            for name, mask in masks.items():
                if name != facet.name:
                    others = others & mask
            counts = facet.counts(others)
            if len(facet.values) > 1:
                facets.append({"name": facet.name, "title": facet.title, "counts": counts})
        order = self.order(query.sort)
        page = order[found[order]][start : start + count]
        return {
            "total": int(found.sum()),
            "of": len(self.data),
            "facets": facets,
            "pairs": self.cards(page),
        }

    def cards(self, positions: npt.ArrayLike) -> list[dict[str, Any]]:
        """The fields of these pairs that the grid shows."""
        return self.data.frame[np.asarray(positions, dtype=np.int64)].select(_CARD).to_dicts()

    def pair(self, position: int, query: Query | None = None) -> dict[str, Any]:
        """A pair's record, its rank by score, and where it is among the pairs that a query finds.

        Args:
            position: Position of the pair.
            query: A query; all pairs without one, or where it does not find this pair.

        Returns:
            JSON values: `record`; `rank` by score, from 1, `of` all; `place`, from 1, among the
            `total` found, and the keys `previous` and `next` to it there, or None.
        """
        query = query or Query()
        found = self.rows(query)
        if not found[position]:
            found = np.ones(len(self.data), dtype=bool)
        order = self.order(query.sort)
        order = order[found[order]]
        place = int(np.flatnonzero(order == position)[0])
        keys = self.data.frame["key"]
        return {
            "record": self.data.frame.row(position, named=True),
            "rank": int(self.ranks[position]) + 1,
            "of": len(self.data),
            "place": place + 1,
            "total": len(order),
            "previous": keys[int(order[place - 1])] if place else None,
            "next": keys[int(order[place + 1])] if place + 1 < len(order) else None,
        }

    def item_cards(self, side: str, item_ids: Sequence[str]) -> list[dict[str, Any] | None]:
        """For each artwork (by id) or track (by key) the card of its first pair; None without."""
        places = self.places if side == "track" else self._artwork_places
        return [self.cards([places[item]])[0] if item in places else None for item in item_ids]

    @cached_property
    def _artwork_places(self) -> dict[str, int]:
        """The position of the first pair of each artwork."""
        ids = self.data.frame["artwork_id"].to_list()
        return {ids[n]: n for n in reversed(range(len(ids)))}

    def chosen(self, query: Query) -> Dataset:
        """The pairs that a query finds, as a dataset."""
        return self.data.pick(np.flatnonzero(self.rows(query)), *query.asked())

    def _plain(self, query: Query) -> Mask:
        """The rows that the words and the SQL condition find."""
        found = np.ones(len(self.data), dtype=bool)
        for word in folded(pl.Series([query.text]))[0].split():
            hits = self.texts.filter(pl.Series(found)).str.contains(word, literal=True)
            found[found] = hits.to_numpy()
        if query.where.strip():
            found &= mask_of(self.data.frame, query.where)
        return found

    def _facet_masks(self, query: Query) -> dict[str, Mask]:
        known = {facet.name: facet for facet in self.facets}
        for name in query.chosen:
            if name not in known:
                raise BadUsage(f"There is no facet {name!r}: choose one of {', '.join(known)}.")
        if query.sort not in SORTS:
            raise BadUsage(f"There is no order {query.sort!r}: choose one of {', '.join(SORTS)}.")
        return {name: known[name].mask(set(values)) for name, values in query.chosen.items()}


def catalogue_of(data: Dataset) -> PairTable:
    """The table of a dataset; BadData when its index lacks columns of this project's."""
    frame = data.frame
    missing = [name for name in arrow_schema("sample").names if name not in frame.columns]
    if missing:
        raise BadData(
            f"{data.store.location} has no {missing[0]} for its samples: only shards built by "
            "artsound can be browsed."
        )
    return PairTable(data, facets_of(frame))


def folded(texts: pl.Series) -> pl.Series:
    """Texts for searching: in lower case without accents, so that `dali` finds Dalí."""
    plain = texts.str.len_bytes() == texts.str.len_chars()
    if not plain.all():  # ASCII texts do not need the slow normalisation
        accented = texts.filter(~plain).str.normalize("NFKD").str.replace_all(r"\p{M}", "")
        texts = texts.scatter(plain.not_().arg_true(), accented)
    return texts.str.to_lowercase()
