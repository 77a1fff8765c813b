"""Searching and filtering the pairs of a release in memory, for `artsound browse`.

Facets code columns of the index as small integers once, so that filtering and counting 100,000
rows takes milliseconds. What a query finds by other files than the index (likeness, places on the
map, flags, saved views) comes from `Aids`.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from artsound.columns import QUALITY
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
# The facet of a column of the index.
FACETS = {column: name for name, _, column in (*_COLUMNS, *_LAST_COLUMNS)}


@dataclass(frozen=True)
class Facet:
    """One way to filter pairs: row n has the value `values[codes[n]]`.

    `conditions` are the values as SQL. `ranked` facets are shown in the order of their values, the
    others by frequency. One that is not `shown` only filters, for addresses of earlier versions.
    """

    name: str
    title: str
    values: tuple[str, ...]
    codes: npt.NDArray[np.int32]
    conditions: Mapping[str, str]
    ranked: bool = False
    shown: bool = True

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
    quoted = {value: f"{column.name} = {sql_text(value)}" for value in values}
    if column.null_count():  # a value that is the word itself counts as unknown, too
        unknown = f"{column.name} IS NULL"
        also = UNKNOWN in column
        quoted[UNKNOWN] = f"({unknown} OR {quoted[UNKNOWN]})" if also else unknown
    codes = pl.DataFrame({"value": texts}).join(
        pl.DataFrame({"value": values}).with_row_index("code"),
        on="value",
        how="left",
        maintain_order="left",
    )["code"]
    return Facet(name, title, tuple(values.to_list()), codes.to_numpy().astype(np.int32), quoted)


def sql_text(value: str) -> str:
    """A text as a literal of SQL."""
    return "'" + value.replace("'", "''") + "'"


def _century_facet(years: pl.Series) -> Facet:
    year = years.fill_null(-1).to_numpy()
    centuries = np.where(year > 0, (year - 1) // 100 + 1, 0)
    found, codes = np.unique(centuries, return_inverse=True)
    names = tuple(f"{ordinal(int(c))} century" if c else UNKNOWN for c in found)
    conditions = {
        name: f"artwork_year BETWEEN {100 * int(c) - 99} AND {100 * int(c)}"
        if c
        else "(artwork_year IS NULL OR artwork_year <= 0)"
        for name, c in zip(names, found, strict=True)
    }
    return Facet("century", "Century", names, codes.astype(np.int32), conditions, True, False)


def _score_facet(scores: npt.NDArray[np.float32]) -> Facet:
    """At most twelve intervals of equal width, highest first."""
    low, high = (float(scores.min()), float(scores.max())) if scores.size else (0.0, 0.0)
    step = next(
        (s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / s <= 10), high - low
    )
    # A score of 0.3 is stored as 0.30000001192…, so bounds are compared with a tolerance.
    bins = np.floor(scores / step + 1e-4).astype(int)
    first, last = (int(bins.min()), int(bins.max())) if bins.size else (0, 0)
    bounds = {
        f"{number * step:.2f} to {(number + 1) * step:.2f}": (number * step, (number + 1) * step)
        for number in range(last, first - 1, -1)
    }
    slack = 1e-4 * step
    conditions = {
        name: f"(score >= {low - slack:.7f} AND score < {high - slack:.7f})"
        for name, (low, high) in bounds.items()
    }
    codes = (last - bins).astype(np.int32)
    return Facet("score", "Score", tuple(bounds), codes, conditions, True, False)


def _rights_facet(frame: pl.DataFrame) -> Facet:
    """What the rights of both sides of a pair permit."""
    shareable = (frame["artwork_redistribute"] & frame["track_redistribute"]).to_numpy()
    commercial = (frame["artwork_commercial"] & frame["track_commercial"]).to_numpy()
    codes = np.where(shareable, np.where(commercial, 0, 1), 2).astype(np.int32)
    share = "(artwork_redistribute AND track_redistribute)"
    sell = "(artwork_commercial AND track_commercial)"
    conditions = {
        COMMERCIAL: f"({share} AND {sell})",
        SHAREABLE: f"({share} AND NOT {sell})",
        RESTRICTED: f"NOT {share}",
    }
    return Facet("rights", "Rights", tuple(conditions), codes, conditions, ranked=True)


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `13th`, …"""
    tail = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{tail or 'th'}"


# Ranges of a numeric column: name in an address, heading, column, digits that are shown.
_DIGITS = {"image_sharpness": 0, "image_aspect": 2, "audio_snr_db": 0, "audio_bandwidth_hz": 0}
RANGES = (
    ("year", "Year of the artwork", "artwork_year", 0),
    ("percentile", "Percentile of the score", "percentile", 3),
    ("points", "Score", "score", 3),
    ("tempo", "Tempo (BPM)", "tempo_bpm", 0),
    ("duration", "Duration (s)", "duration_s", 0),
    ("lightness", "Lightness", "artwork_lightness", 2),
    ("saturation", "Saturation", "artwork_saturation", 2),
    ("warmth", "Warmth", "artwork_warmth", 2),
    *((name, title, name, _DIGITS.get(name, 3)) for name, title in QUALITY.items()),
)
_BINS = 24  # bars of the histogram above a slider


@dataclass(frozen=True, eq=False)
class Range:
    """A numeric column that a query bounds; rows without a value are outside all bounds."""

    name: str
    title: str
    column: str
    digits: int
    values: npt.NDArray[np.float64]

    @cached_property
    def low(self) -> float:
        """The least value, rounded down to what is shown."""
        return self._end(np.nanmin, math.floor, _SLACK)

    @cached_property
    def high(self) -> float:
        """The largest value, rounded up to what is shown."""
        return self._end(np.nanmax, math.ceil, -_SLACK)

    def _end(self, end: Any, rounded: Any, slack: float) -> float:
        if np.isnan(self.values).all():
            return 0.0
        scale = 10**self.digits
        return float(rounded((float(end(self.values)) + slack) * scale)) / scale

    @cached_property
    def _bins(self) -> npt.NDArray[np.int64]:
        spread = max(self.high - self.low, 1e-12)
        places = np.nan_to_num((self.values - self.low) / spread * _BINS, nan=_BINS)
        return np.clip(places, 0, _BINS - 1).astype(np.int64)

    def mask(self, bounds: tuple[float | None, float | None]) -> Mask:
        """The rows within bounds, both included; None: no bound."""
        low, high = bounds
        mask = ~np.isnan(self.values)
        if low is not None:
            mask &= self.values >= low - _SLACK
        if high is not None:
            mask &= self.values <= high + _SLACK
        return mask

    def condition(self, bounds: tuple[float | None, float | None]) -> str:
        """The same as SQL."""
        low, high = bounds
        parts = [f"{self.column} >= {low - _SLACK:.7f}"] if low is not None else []
        parts += [f"{self.column} <= {high + _SLACK:.7f}"] if high is not None else []
        return " AND ".join(parts) or f"{self.column} IS NOT NULL"

    def counts(self, rows: Mask) -> list[int]:
        """How many of these rows each bar of the histogram has."""
        known = rows & ~np.isnan(self.values)
        return np.bincount(self._bins[known], minlength=_BINS).tolist()


_SLACK = 1e-6  # a bound such as 0.3 is stored as 0.30000001192…


def ranges_of(frame: pl.DataFrame) -> tuple[Range, ...]:
    """The ranges of an index, in the order in which they are shown."""
    return tuple(
        Range(
            name,
            title,
            column,
            digits,
            frame[column].cast(pl.Float64).fill_null(math.nan).to_numpy(),
        )
        for name, title, column, digits in RANGES
    )


# The pairs in memory, and the views of them that the page requests.

Rows = npt.NDArray[np.integer[Any]]
Bounds = tuple[float | None, float | None]


class Aids(Protocol):
    """What a query may also ask for, beyond the index."""

    def find(self, query: Query) -> Mapping[str, Mask]:
        """Masks of the pairs that a query finds, by what it asks for; BadUsage if it cannot."""
        ...

    def closeness(self, query: Query) -> npt.NDArray[np.float32] | None:
        """How near each pair is to what the query names, -inf for unknown; None: it names none."""
        ...

    def state(self, query: Query) -> str:
        """Text that changes when the pairs of the query may be others."""
        ...


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
    *("artwork_caption", "track_caption", "percentile", "tempo_bpm"),
)
# Columns of the table, by which it can be sorted: `sort=COLUMN`, or `sort=-COLUMN` descending.
TABLE = (
    *("artwork_title", "painter", "artwork_year", "artwork_style", "artwork_genre"),
    *("track_title", "musician", "track_genre", "duration_s", "tempo_bpm"),
    *("percentile", "score", "split", "key"),
)
_REMEMBERED = 8  # results of queries


@dataclass(frozen=True)
class Query:
    """A query: conditions that all must hold, and an order.

    Attributes:
        text: Words to be found, or described where `by` says so.
        chosen: Values of facets.
        where: One SQL condition.
        sort: A name of SORTS, or a column of TABLE, after a hyphen for descending.
        by: "" finds the words in texts; `pictures` and `music` order by how well they fit.
        like: `picture:KEY` or `music:KEY` orders by likeness to that of a pair; `file:TOKEN` by
            how well the music fits an uploaded picture.
        ranges: Bounds of columns, by the names of RANGES.
        saved: Name of a saved view, which the pairs are in.
        marked: `flagged`, `noted` or `any`: what people have said of the pairs.
        inside: `artworks:x,y;…` or `tracks:x,y;…`: a polygon on the map.
    """

    text: str = ""
    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    where: str = ""
    sort: str = "best"
    by: str = ""
    like: str = ""
    ranges: Mapping[str, Bounds] = field(default_factory=dict)
    saved: str = ""
    marked: str = ""
    inside: str = ""

    def asked(self) -> tuple[str, ...]:
        """The conditions as text, for the record of a saved view."""
        conditions = [f"search {self.text!r}"] if self.text.strip() and not self.by else []
        conditions += [f"{name} in {sorted(values)}" for name, values in self.chosen.items()]
        conditions += [f"{name} from {low} to {high}" for name, (low, high) in self.ranges.items()]
        for name in ("saved", "marked", "inside"):
            if value := getattr(self, name):
                conditions.append(f"{name} {value}")
        return (*conditions, *([self.where] if self.where.strip() else []))


@dataclass(frozen=True, eq=False)
class PairTable:
    """The pairs of a dataset, prepared for searching.

    What the first page does not need is computed on first use, and cached.
    """

    data: Dataset
    facets: tuple[Facet, ...]
    ranges: tuple[Range, ...] = ()
    aids: Aids | None = None
    _orders: dict[str, Rows] = field(default_factory=dict)
    _found: OrderedDict[str, tuple[Mask, dict[str, Mask], Mask]] = field(
        default_factory=OrderedDict
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def order(self, name: str) -> Rows:
        """The positions of all pairs in one of SORTS, or by a column of TABLE."""
        if name not in self._orders:
            column = name.removeprefix("-")
            if name in SORTS:
                columns, descending = SORTS[name]
            elif column in TABLE:
                columns, descending = (column, "key"), (name.startswith("-"), False)
            else:
                raise BadUsage(
                    f"There is no order {name[:40]!r}: choose one of {', '.join((*SORTS, *TABLE))}."
                )
            sorted_by = pl.arg_sort_by(
                columns, descending=list(descending), nulls_last=[True] * len(columns)
            )
            self._orders[name] = self.data.frame.select(sorted_by).to_series().to_numpy()
        return self._orders[name]

    def ordered(self, query: Query) -> tuple[Rows, npt.NDArray[np.float32] | None]:
        """The positions that a query finds, in its order, and the closeness of all pairs if any.

        By closeness, pairs that are alike come in the order of their scores.
        """
        found = self.rows(query)
        order = self.order(query.sort)
        order = order[found[order]]
        near = self.aids.closeness(query) if self.aids is not None else None
        if near is None:
            return order, None
        order = order[np.isfinite(near[order])]
        return order[np.argsort(-near[order], kind="stable")], near

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
        return self._masks(query)[2]

    def view(
        self, query: Query, *, start: int = 0, count: int = 48, facets: bool = True
    ) -> dict[str, Any]:
        """One page of the pairs that a query finds, their number, and counts of every facet.

        The counts of a facet ignore its own values in the query, so that a second value of the
        same facet can be added; so do those of a range.

        Args:
            query: The query.
            start: Place of the first pair of the page, from 0.
            count: Pairs of the page, at most.
            facets: Whether to count facets and ranges.

        Returns:
            JSON values.
        """
        order, near = self.ordered(query)
        page = order[start : start + count]
        cards = self.cards(page)
        if near is not None:
            cards = [
                {**card, "closeness": float(near[n])} for card, n in zip(cards, page, strict=True)
            ]
        found = {"total": len(order), "of": len(self.data), "start": start, "pairs": cards}
        return {**found, **(self._counted(query) if facets else {})}

    def _counted(self, query: Query) -> dict[str, Any]:
        plain, masks, found = self._masks(query)
        facets, ranges = [], []
        for facet in self.facets:
            if not facet.shown or len(facet.values) < 2:
                continue
            counts = facet.counts(_all(plain, masks, facet.name) if facet.name in masks else found)
            facets.append({"name": facet.name, "title": facet.title, "counts": counts})
        for one in self.ranges:
            if one.low == one.high:
                continue
            others = _all(plain, masks, one.name) if one.name in masks else found
            ranges.append(
                {
                    "name": one.name,
                    "title": one.title,
                    "low": one.low,
                    "high": one.high,
                    "digits": one.digits,
                    "counts": one.counts(others),
                }
            )
        return {"facets": facets, "ranges": ranges}

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
        order, _ = self.ordered(query or Query())
        if position not in order:
            order = self.order("best")
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

    def nearest(self, position: int, kind: str, most: int) -> list[dict[str, Any]]:
        """The cards of the pairs whose picture or music is most like that of a pair.

        Args:
            position: Position of the pair.
            kind: picture or music.
            most: How many cards there are at most.

        Returns:
            The cards with their `closeness`, nearest first; each artwork once, and never the
            pair's own picture.
        """
        frame = self.data.frame
        key = frame["key"][position]
        order, near = self.ordered(Query(like=f"{kind}:{key}"))
        assert near is not None  # the query names a likeness
        column = frame["artwork_id" if kind == "picture" else "key"]
        seen: set[str] = {column[position]}
        chosen: list[int] = []
        for place in order.tolist():
            if len(chosen) == most:
                break
            if (item := column[place]) not in seen:
                seen.add(item)
                chosen.append(place)
        cards = self.cards(chosen)
        return [
            {**card, "closeness": float(near[n])} for card, n in zip(cards, chosen, strict=True)
        ]

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

    def condition(self, query: Query, most: int = 100) -> str | None:
        """The pairs of a query as one SQL condition over the index; "" for all pairs.

        Args:
            query: The query.
            most: The number of keys that the condition may list, where the query asks for what is
                not in the columns.

        Returns:
            None, where no such condition is short enough.
        """
        self._masks(query)  # refuses what is no query
        facets = {facet.name: facet for facet in self.facets}
        ranges = {one.name: one for one in self.ranges}
        parts = []
        for name, values in query.chosen.items():
            known = [facets[name].conditions.get(value, "FALSE") for value in values]
            parts.append(known[0] if len(known) == 1 else f"({' OR '.join(known)})")
        parts += [ranges[name].condition(bounds) for name, bounds in query.ranges.items()]
        parts += [f"({query.where.strip()})"] if query.where.strip() else []
        if (query.text.strip() and not query.by) or query.saved or query.marked or query.inside:
            keys = self.data.frame["key"].filter(self.rows(query)).to_list()
            listed = ", ".join(sql_text(key) for key in keys)
            return f"key IN ({listed})" if 0 < len(keys) <= most else None
        return " AND ".join(parts)

    def _masks(self, query: Query) -> tuple[Mask, dict[str, Mask], Mask]:
        """What words and conditions find, what each facet and range finds, and what all do."""
        name = repr((query, self.aids.state(query) if self.aids is not None else ""))
        with self._lock:
            if name in self._found:
                self._found.move_to_end(name)
                return self._found[name]
        self.order(query.sort)  # refuses what is no order
        plain, masks = self._plain(query), self._facet_masks(query)
        made = plain, masks, _all(plain, masks)
        with self._lock:
            self._found[name] = made
            while len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)
        return made

    def _plain(self, query: Query) -> Mask:
        """The rows that the words, the SQL condition and the aids find."""
        found = np.ones(len(self.data), dtype=bool)
        for mask in self.aids.find(query).values() if self.aids is not None else ():
            found &= mask
        words = "" if query.by else folded(pl.Series([query.text]))[0]
        for word in words.split():
            hits = self.texts.filter(pl.Series(found)).str.contains(word, literal=True)
            found[found] = hits.to_numpy()
        if query.where.strip():
            found &= mask_of(self.data.frame, query.where)
        return found

    def _facet_masks(self, query: Query) -> dict[str, Mask]:
        facets = {facet.name: facet for facet in self.facets}
        ranges = {one.name: one for one in self.ranges}
        for name in (*query.chosen, *query.ranges):
            if name not in facets and name not in ranges:
                raise BadUsage(
                    f"There is no facet {name!r}: choose one of {', '.join((*facets, *ranges))}."
                )
        masks = {name: facets[name].mask(set(values)) for name, values in query.chosen.items()}
        return masks | {name: ranges[name].mask(bounds) for name, bounds in query.ranges.items()}


def _all(plain: Mask, masks: Mapping[str, Mask], but: str = "") -> Mask:
    """The rows of all masks but one."""
    found = plain
    for name, mask in masks.items():
        if name != but:
            found = found & mask
    return found


def catalogue_of(data: Dataset, aids: Aids | None = None) -> PairTable:
    """The table of a dataset; BadData when its index lacks columns of this project's."""
    frame = data.frame
    missing = [name for name in arrow_schema("sample").names if name not in frame.columns]
    if missing:
        raise BadData(
            f"{data.store.location} has no {missing[0]} for its samples: only shards built by "
            "artsound can be browsed."
        )
    return PairTable(data, facets_of(frame), ranges_of(frame), aids)


def folded(texts: pl.Series) -> pl.Series:
    """Texts for searching: in lower case without accents, so that `dali` finds Dalí."""
    plain = texts.str.len_bytes() == texts.str.len_chars()
    if not plain.all():  # ASCII texts do not need the slow normalisation
        accented = texts.filter(~plain).str.normalize("NFKD").str.replace_all(r"\p{M}", "")
        texts = texts.scatter(plain.not_().arg_true(), accented)
    return texts.str.to_lowercase()
