"""`artsound.open(place)`: a dataset of shards, to be filtered, indexed and streamed."""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Collection, Iterator
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
from artsound.shards import choose
from artsound.shards.index import (
    SPLITS,
    check_pointers,
    extensions,
    index_columns,
    read_frame,
    read_index,
    read_shard_index,
    shards_of,
)
from artsound.shards.pointers import Pointers, pointers_of
from artsound.shards.query import mask_of
from artsound.shards.reader import Layer
from artsound.shards.store import Store, open_store
from artsound.shards.write import Shard

if TYPE_CHECKING:
    from artsound.shards.stream import Stream


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
        return self.pick(choose.best(self.frame, count), f"top {count} by score")

    def sample(self, count: int, *, seed: int = 0, by: str = "") -> Dataset:
        """`count` samples drawn by chance; with `by`, each value of that column keeps its share."""
        told = f"sample {count} with seed {seed}" + (f", by {by}" if by else "")
        return self.pick(choose.drawn(self.frame, count, seed=seed, by=by), told)

    def cap(self, column: str, most: int) -> Dataset:
        """At most `most` samples for each value of a column, those of highest score."""
        return self.pick(choose.capped(self.frame, column, most), f"at most {most} per {column}")

    def without(self, keys: Collection[Any]) -> Dataset:
        """The samples whose keys, or track ids, are not in `keys`."""
        return self.pick(choose.without(self.frame, keys), f"without {len(keys)} listed samples")

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
    def pointers(self) -> Pointers:
        """Where the bytes of these samples lie."""
        return pointers_of(self.frame, self.shards)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Where all members of these samples lie, those of joined datasets included."""
        layers = [Layer(self.store, self.pointers)]
        for other in self.joined:
            frame = self.frame.select("key").join(
                other.frame.with_columns(_known=True), on="key", how="left", maintain_order="left"
            )
            missing = frame.filter(pl.col("_known").is_null())["key"]
            if len(missing):
                raise BadData(f"{other.store.location} has no sample {missing[0]}: make it anew.")
            layers.append(Layer(other.store, pointers_of(frame, other.shards)))
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
