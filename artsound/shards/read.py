"""`artsound.open(place)`: a dataset of shards, to be filtered, indexed and streamed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from artsound.errors import BadUsage
from artsound.shards.index import SPLITS, read_index, read_shard_index, shards_of
from artsound.shards.pointers import Pointers, pointers_of
from artsound.shards.query import mask_of
from artsound.shards.store import Store, open_store
from artsound.shards.write import Shard

if TYPE_CHECKING:
    from artsound.shards.stream import Stream


def open_shards(location: str | Path, **options: Any) -> Dataset:
    """The dataset of a shards folder, an http(s) address, or an fsspec address (s3://…).

    Only its index is read. `options` go to fsspec. Raises BadUsage when the folder does not
    exist, BadData when it has no index or a broken one.
    """
    store = open_store(location, **options)
    value = read_shard_index(store)
    index = read_index(store, value)
    return Dataset(
        store=store,
        name=value["name"],
        shards=shards_of(value),
        index=index,
        rows=np.arange(index.height),
    )


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples of a set of shards, all or some, in the order of the shards.

    `index` has a row for every sample of the shards; `rows` says which of them this dataset
    holds, ascending. `asked` tells the conditions that led here, for the record.
    """

    store: Store
    name: str
    shards: tuple[Shard, ...]
    index: pl.DataFrame
    rows: npt.NDArray[np.int64]
    asked: tuple[str, ...] = ()

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

    def pick(self, positions: npt.ArrayLike, *asked: str) -> Dataset:
        """The samples at these positions, each once, in the order of the shards."""
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
        pointers = self.pointers
        shard = pointers.shards[pointers.shard[number]].name
        return pointers.sample(number, self.store.read_ranges(shard, pointers.ranges(number)))

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

    def stream(self, **options: Any) -> Stream:
        """A torch IterableDataset of these samples: see `artsound.shards.stream.Stream`."""
        from artsound.shards.stream import open_stream

        return open_stream(self, **options)


def _checked(position: int, length: int) -> int:
    if not -length <= position < length:
        raise IndexError(f"sample {position} of {length}")
    return position % length
