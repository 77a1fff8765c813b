"""Where the bytes of each sample lie, as plain arrays that travel cheaply into worker processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from artsound.errors import BadData
from artsound.readers import parse_json
from artsound.shards.index import extensions, is_ours
from artsound.shards.store import Range
from artsound.shards.write import Shard
from artsound.storage import sha256_bytes

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pointers:
    """Samples 0..n−1 of a dataset: keys [n], shard [n] (which of `shards`), and members' places.

    `offsets` and `sizes` are [n, m] in bytes, for the m `members`; an offset of −1 marks a member
    that a sample lacks. `ours`: a sample's .json names its key, by which a stale index is found.
    """

    shards: tuple[Shard, ...]
    members: tuple[str, ...]
    keys: npt.NDArray[np.str_]
    shard: Integers
    offsets: Integers
    sizes: Integers
    ours: bool

    def __len__(self) -> int:
        return len(self.keys)

    def ranges(self, number: int) -> list[Range]:
        """The byte ranges of a sample's members, in the members' order."""
        offsets, sizes = self.offsets[number].tolist(), self.sizes[number].tolist()
        return [(at, at + size) for at, size in zip(offsets, sizes, strict=True) if at >= 0]

    def present(self, number: int) -> list[str]:
        """The members that a sample has, in the order of `ranges`."""
        offsets = self.offsets[number].tolist()
        return [member for member, at in zip(self.members, offsets, strict=True) if at >= 0]

    def sample(self, number: int, pieces: Sequence[bytes]) -> dict[str, Any]:
        """The sample whose members' bytes are `pieces`: {"key": str, "jpg": bytes, …}.

        Its .json is parsed. Raises BadData when that is damaged or belongs to another key.
        """
        key = str(self.keys[number])
        members = dict(zip(self.present(number), pieces, strict=True))
        return _parsed(key, members, self.shards[self.shard[number]].name, ours=self.ours)

    @cached_property
    def shard_counts(self) -> Integers:
        """How many of these samples lie in each shard."""
        return np.bincount(self.shard, minlength=len(self.shards)).astype(np.int64)

    @cached_property
    def density(self) -> npt.NDArray[np.float64]:
        """The share of each shard's bytes that these samples need."""
        wanted = np.bincount(self.shard, self.sizes.sum(axis=1), minlength=len(self.shards))
        return wanted / np.array([shard.bytes for shard in self.shards])

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the keys in order: tells whether two streams walk the same samples."""
        return sha256_bytes("\n".join(self.keys.tolist()).encode())


def pointers_of(frame: pl.DataFrame, shards: Sequence[Shard]) -> Pointers:
    """The pointers of an index's rows, which follow the shards' order."""
    members = extensions(frame)
    numbers = {shard.name: number for number, shard in enumerate(shards)}
    return Pointers(
        shards=tuple(shards),
        members=members,
        keys=np.array(frame["key"].to_list(), dtype=np.str_),
        shard=np.array([numbers[name] for name in frame["shard"].to_list()], dtype=np.int64),
        offsets=_columns(frame, members, "offset"),
        sizes=_columns(frame, members, "size"),
        ours=is_ours(frame),
    )


def _columns(frame: pl.DataFrame, members: Sequence[str], what: str) -> Integers:
    columns = [frame[f"{member}_{what}"].to_numpy() for member in members]
    return np.stack(columns, axis=1).astype(np.int64).reshape(frame.height, len(members))


def _parsed(key: str, members: Mapping[str, bytes], shard: str, *, ours: bool) -> dict[str, Any]:
    sample: dict[str, Any] = {"key": key, **members}
    if "json" in members:
        try:
            sample["json"] = parse_json(members["json"])
        except ValueError as error:
            raise BadData(f"{shard}: the .json of {key} is damaged: {error}.") from error
        if ours and not (isinstance(sample["json"], dict) and sample["json"].get("key") == key):
            raise BadData(f"{shard}: another sample lies where {key} should: the index is stale.")
    return sample
