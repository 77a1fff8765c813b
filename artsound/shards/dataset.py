"""Choosing samples by rank, by chance or by share: positions in a frame, as pure functions."""

from __future__ import annotations

import difflib
import json
import operator
import os
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.rights import policy_condition
from artsound.shards.format import Shard
from artsound.shards.index import (
    SPLITS,
    SampleLocations,
    check_pointers,
    extensions,
    index_columns,
    locations_of,
    read_frame,
    read_index,
    read_shard_index,
    shards_of,
)
from artsound.shards.order import hashed
from artsound.shards.reader import SampleSource
from artsound.shards.store import Store, open_store
from artsound.sql_filter import nearest, rows_where, shown_columns

if TYPE_CHECKING:
    from artsound.shards.stream import Stream


Positions = npt.NDArray[np.int64]


def best(frame: pl.DataFrame, count: int) -> Positions:
    """Positions of the `count` samples with the highest score; of equal ones, the first keys."""
    ranked = _numbered(frame, "score").sort("score", "key", descending=[True, False])
    return _positions(ranked.head(_many(count)))


def drawn(frame: pl.DataFrame, count: int, *, seed: int, by: str = "") -> Positions:
    """Positions of `count` samples drawn by chance, the same for the same seed and samples.

    With `by`, every value of that column keeps its share, to within one sample.
    """
    lots = _numbered(frame, *([by] if by else [])).with_columns(
        _lot=pl.Series(hashed(_numbers(frame), seed), dtype=pl.UInt64)
    )
    if not by:
        return _positions(lots.sort("_lot", "key").head(_many(count)))
    # The middle of each sample's stretch on its value's line 0..1: taking the lowest `count` of
    # all takes the same share of every line.
    rank = (pl.col("_lot").rank("ordinal").over(by) - 0.5) / pl.len().over(by)
    return _positions(lots.with_columns(_rank=rank).sort("_rank", "_lot", "key").head(_many(count)))


def capped(frame: pl.DataFrame, column: str, most: int) -> Positions:
    """Positions of at most `most` samples for each value of a column: those of highest score."""
    ranked = _numbered(frame, "score", column).sort("score", "key", descending=[True, False])
    return _positions(ranked.filter(pl.int_range(pl.len()).over(column) < _many(most)))


def without(frame: pl.DataFrame, keys: Collection[Any]) -> Positions:
    """Positions of the samples whose key is not in `keys`; track ids may be given as numbers.

    Raises BadUsage for what is neither.
    """
    if odd := [key for key in keys if not isinstance(key, (str, int, np.integer))]:
        raise BadUsage(f"{odd[0]!r} is neither a key nor a track id.")
    names = [key if isinstance(key, str) else f"{key:06d}" for key in keys]
    return np.flatnonzero(~frame["key"].is_in(names).to_numpy())


def _many(count: int) -> int:
    """`count`, if it is a number of samples; else BadUsage: polars takes −3 for all but three."""
    if not isinstance(count, (int, np.integer)) or count < 0:
        raise BadUsage(f"{count!r} is not a number of samples.")
    return int(count)


def _numbered(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise BadUsage(
            f"The index has no column {missing[0]!r}: there are {', '.join(frame.columns)}."
        )
    return frame.select(pl.int_range(pl.len()).alias("_at"), "key", *columns)


def _positions(chosen: pl.DataFrame) -> Positions:
    return np.sort(chosen["_at"].to_numpy()).astype(np.int64)


def _numbers(frame: pl.DataFrame) -> Positions:
    return np.array([zlib.crc32(key.encode()) for key in frame["key"]], dtype=np.int64)


# Choosing rows of an index: plain values, and one SQL condition that can only read its columns.


def mask_of(
    frame: pl.DataFrame, where: str = "", equals: Mapping[str, Any] | None = None
) -> npt.NDArray[np.bool_]:
    """Which rows fulfil all the conditions, one truth value per row.

    `equals` maps columns to a value or several, of which a row must have one: text is compared
    without regard to case; a column of lists must hold one of them; a `genre` may be the
    artwork's or the music's, and with some of both, both must hold. `where` is one SQL condition
    over the columns, as polars understands it. Raises BadUsage, one sentence, for an unknown
    column, a value that no row has, and a condition that cannot be understood.
    """
    mask = np.ones(frame.height, dtype=bool)
    for column, wanted in (equals or {}).items():
        for name, values in _by_column(frame, column, _several(wanted)).items():
            mask &= _equal(frame, name, values)
    if where:
        mask &= rows_where(frame, where)
    return mask


def _several(wanted: Any) -> list[Any]:
    several = isinstance(wanted, Collection) and not isinstance(wanted, str)
    return list(wanted) if several else [wanted]


def _by_column(frame: pl.DataFrame, column: str, values: list[Any]) -> dict[str, list[Any]]:
    """The values wanted of each column: a `genre` that only the music has is asked of the music."""
    if column != "genre" or not {"genre", "music_genre"} <= set(frame.columns):
        return {column: values}
    own, musical = (
        set(frame[name].str.to_lowercase().unique()) for name in ("genre", "music_genre")
    )
    of_music = [v for v in values if _folded(v) in musical and _folded(v) not in own]
    found = {"genre": [v for v in values if v not in of_music], "music_genre": of_music}
    return {name: some for name, some in found.items() if some}


def _equal(frame: pl.DataFrame, column: str, values: list[Any]) -> npt.NDArray[np.bool_]:
    if column not in frame.columns:
        near = difflib.get_close_matches(column, frame.columns, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {shown_columns(frame)}."
        raise BadUsage(f"The index has no column {column!r}: {hint}")
    series = frame[column]
    if isinstance(series.dtype, pl.List):
        inner = pl.element().str.to_lowercase() if series.dtype.inner == pl.String else pl.element()
        series = series.list.eval(inner)
        hits = [series.list.contains(_folded(value)) for value in values]
    else:
        if series.dtype == pl.String:
            series = series.str.to_lowercase()
        elif any(isinstance(value, str) for value in values):
            raise BadUsage(f"The column {column} holds no text: compare it with a number.")
        hits = [series == _folded(value) for value in values]
    for value, hit in zip(values, hits, strict=True):
        if not hit.any():
            known = _known_values(frame[column], value)
            raise BadUsage(f"No sample has {column} {value!r}: {known}")
    mask = np.zeros(frame.height, dtype=bool)
    for hit in hits:
        mask |= hit.fill_null(False).to_numpy()
    return mask


def _folded(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _known_values(series: pl.Series, value: Any) -> str:
    flat = series.explode() if isinstance(series.dtype, pl.List) else series
    known = [str(item) for item in flat.drop_nulls().unique().sort() if item != ""]
    if not known:
        return "nothing is known there."
    near = nearest(str(value), known)
    if near:
        return f"did you mean {near!r}?"
    more = ", …" if len(known) > 12 else ""
    return f"there are {', '.join(known[:12])}{more}."


# `artsound.open(place)`: a dataset of shards, to be filtered, indexed and streamed.

VIEW = b"artsound_view"  # the parquet metadata key under which a view tells where its shards are


def open_shards(location: str | Path, *, source: str | Path = "", **options: Any) -> Dataset:
    """The dataset of a shards folder, an http(s) address, or an fsspec address (s3://…).

    Only its index is read. A .parquet file is a view made by `artsound subset`: its samples are
    read from the shards it was made of, or from `source` when those have moved. `options` go to
    fsspec. Raises BadUsage when the folder does not exist, BadData when it has no index or a
    broken one.
    """
    if str(location).endswith(".parquet"):
        return _open_view(Path(location), source, options)
    store = open_store(location, **options)
    value = read_shard_index(store)
    return _dataset(store, value, read_index(store, value))


def open_pairs(location: str | Path, **options: Any) -> Dataset:
    """As open_shards, for what needs artworks and tracks; BadData for somebody else's samples."""
    data = open_shards(location, **options)
    if missing := [name for name in index_columns() if name not in data.index.columns]:
        raise BadData(f"The index of {location} has no {missing[0]}: it is no release of ArtSound.")
    return data


def _open_view(path: Path, source: str | Path, options: dict[str, Any]) -> Dataset:
    if not path.is_file():
        raise BadUsage(f"There is no view {path}: `artsound subset … --out {path}` makes one.")
    about = _about_view(path)
    place = str(source or about["source"])
    if not source and "://" not in place:
        place = os.path.normpath(path.absolute().parent / place)
    try:
        store = open_store(place, **options)
        value = read_shard_index(store)
    except ArtSoundError as error:
        raise BadData(
            f"The shards of the view {path} cannot be opened ({error}); "
            "if they moved, give their place as source."
        ) from error
    if value["index_sha256"] != about["index_sha256"]:
        raise BadData(
            f"The shards at {place} changed since the view {path} was made: make it anew."
        )
    frame = read_frame(path.read_bytes(), str(path))
    check_pointers(frame, shards_of(value), str(path))
    return replace(_dataset(store, value, frame), asked=tuple(map(str, about["query"])))


def _about_view(path: Path) -> dict[str, Any]:
    try:
        about = json.loads((pq.read_schema(path).metadata or {})[VIEW])
        return {name: about[name] for name in ("source", "index_sha256", "query")}
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise BadData(f"{path} is not a view made by `artsound subset`.") from error


def _dataset(store: Store, value: dict[str, Any], frame: pl.DataFrame) -> Dataset:
    return Dataset(
        store=store,
        name=value["name"],
        index_sha256=value["index_sha256"],
        shards=shards_of(value),
        index=frame,
        rows=np.arange(frame.height),
    )


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples of a set of shards, all or some, in the order of the shards.

    `index` has a row for every sample of the shards; `rows` says which of them this dataset
    holds, ascending. `asked` tells the conditions that led here, for the record.
    """

    store: Store
    name: str
    index_sha256: str
    shards: tuple[Shard, ...]
    index: pl.DataFrame
    rows: npt.NDArray[np.int64]
    asked: tuple[str, ...] = ()
    joined: tuple[Dataset, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The index rows of these samples: every field, with shard, offsets and sizes."""
        return self.index if len(self) == self.index.height else self.index[self.rows]

    def split(self, name: str) -> Dataset:
        """The samples of one split, none when it is empty; BadUsage when there is no such split."""
        mask = self.frame["split"] == name
        if name not in SPLITS and not mask.any():
            raise BadUsage(f"There is no split {name!r}: choose one of {', '.join(SPLITS)}.")
        return self.pick(np.flatnonzero(mask.to_numpy()), f"split={name!r}")

    def filter(self, where: str = "", **equals: Any) -> Dataset:
        """The samples that fulfil all conditions.

            data.filter(style="Impressionism", music_genre=["Jazz", "Blues"], where="year < 1900")

        Keywords are columns with the value or values wanted; `where` is a SQL condition. Raises
        BadUsage, one sentence, for an unknown column or value or a bad condition.
        """
        mask = mask_of(self.frame, where, equals)
        asked = [f"{name}={value!r}" for name, value in equals.items()] + [where] * bool(where)
        return self.pick(np.flatnonzero(mask), *asked)

    def rights(self, policy: str) -> Dataset:
        """The samples both sides of which a policy of `artsound.rights.POLICIES` allows."""
        return self if policy == "any" else self.filter(policy_condition(policy))

    def top(self, count: int) -> Dataset:
        """The `count` samples of highest score."""
        return self.pick(best(self.frame, count), f"top {count} by score")

    def sample(self, count: int, *, seed: int = 0, by: str = "") -> Dataset:
        """`count` samples drawn by chance; with `by`, each value of that column keeps its share."""
        told = f"sample {count} with seed {seed}" + (f", by {by}" if by else "")
        return self.pick(drawn(self.frame, count, seed=seed, by=by), told)

    def cap(self, column: str, most: int) -> Dataset:
        """At most `most` samples for each value of a column, those of highest score."""
        return self.pick(capped(self.frame, column, most), f"at most {most} per {column}")

    def without(self, keys: Collection[Any]) -> Dataset:
        """The samples whose keys, or track ids, are not in `keys`."""
        return self.pick(without(self.frame, keys), f"without {len(keys)} listed samples")

    def pick(self, positions: npt.ArrayLike, *asked: str) -> Dataset:
        """The samples at these positions, each once, in the order of the shards.

        `asked` is kept as the reason.
        """
        chosen = np.unique(np.asarray(positions, dtype=np.int64))
        if chosen.size and not 0 <= chosen[0] <= chosen[-1] < len(self):
            raise BadUsage(f"A position lies outside 0..{len(self) - 1}.")
        return replace(self, rows=self.rows[chosen], asked=(*self.asked, *asked))

    def read(self, position: int) -> dict[str, Any]:
        """The sample at `position`: {"key": str, "jpg": bytes, "mp3": bytes, "json": dict}.

        Members other than .json are the bytes in the shard. Raises IndexError, or BadData when
        the bytes cannot be had or belong to another sample.
        """
        number = _checked(position, len(self))
        sample: dict[str, Any] = {}
        for layer in self.layers:
            pointers = layer.pointers
            shard = pointers.shards[pointers.shard[number]].name
            pieces = layer.store.read_ranges(shard, pointers.ranges(number))
            sample |= pointers.sample(number, pieces)
        return sample

    def __getitem__(self, position: int) -> dict[str, Any]:
        """The decoded sample at `position`: its fields, and `image` and `audio` as arrays.

        `image` is uint8 [height, width, 3]; `audio` is mono float32 at `sample_rate`, −1..1.
        """
        from artsound.shards.decode import Decode, decode

        return decode(self.read(position), Decode())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[position] for position in range(len(self)))

    @cached_property
    def pointers(self) -> SampleLocations:
        """Where the bytes of these samples lie."""
        return locations_of(self.frame, self.shards)

    @cached_property
    def layers(self) -> tuple[SampleSource, ...]:
        """Where all members of these samples lie, those of joined datasets included."""
        layers = [SampleSource(self.store, self.pointers)]
        for other in self.joined:
            frame = self.frame.select("key").join(
                other.frame.with_columns(_known=True), on="key", how="left", maintain_order="left"
            )
            missing = frame.filter(pl.col("_known").is_null())["key"]
            if len(missing):
                raise BadData(f"{other.store.location} has no sample {missing[0]}: make it anew.")
            layers.append(SampleSource(other.store, locations_of(frame, other.shards)))
        return tuple(layers)

    def join(self, other: Dataset) -> Dataset:
        """These samples with the members that `other` has under the same keys, such as latents.

        Raises BadUsage when both have a member of one name, BadData (when samples are read) for a
        key that `other` lacks.
        """
        both = set(extensions(self.index)) & set(extensions(other.index))
        if both:
            raise BadUsage(f"Both datasets have a .{min(both)} for a sample: join others.")
        return replace(self, joined=(*self.joined, other))

    def stream(self, **options: Any) -> Stream:
        """A torch IterableDataset of these samples: see `artsound.shards.stream.Stream`.

        Raises BadUsage for options that do not exist, and without torch.
        """
        try:
            from artsound.shards.stream import open_stream
        except ModuleNotFoundError as error:
            raise BadUsage("Streams need torch: pip install 'artsound[train]'.") from error
        return open_stream(self, **options)


def _checked(position: int, length: int) -> int:
    place = operator.index(position)  # raises TypeError for what is no whole number
    if not -length <= place < length:
        raise IndexError(f"sample {place} of {length}")
    return place % length
