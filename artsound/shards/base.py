"""The release that a build continues: which of its shards keep their bytes, and where pairs go.

A pair that stays in its split stays in its shard. A shard of which every sample is as it was keeps
name and bytes; one that lost a sample, or has one with another caption, record or artwork, is
written again by itself, with the base's pictures and clips where the originals are the same. New
pairs go into new shards, numbered on from the last of their split.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from artsound.errors import BadData
from artsound.pairing.kept import release_folder
from artsound.recipe import Recipe
from artsound.shards.read import Dataset, open_shards
from artsound.shards.write import Shard
from artsound.storage import Workspace, digest, sha256_file
from artsound.tables import arrow_schema

_NAME = re.compile(r"artsound-(?P<part>(?:train|val|test)-(?P<number>\d{6}))\.tar")


@dataclass(frozen=True)
class Base:
    """A release on this machine, open to be continued. `digest` is that of its index.json."""

    folder: Path
    digest: str
    data: Dataset

    def shards_of(self, split: str) -> list[tuple[str, Shard]]:
        """The split's shards with the names of the parts that stand for them, by number."""
        return sorted((_part_name(shard), shard) for shard in self.data.shards
                      if shard.split == split)  # fmt: skip

    def next_number(self, split: str) -> int:
        """The number of the first new shard of a split."""
        return 1 + max((int(name[-6:]) for name, _ in self.shards_of(split)), default=-1)

    def rows_of(self, shard: str) -> pl.DataFrame:
        """The index rows of one shard."""
        return self.data.frame.filter(pl.col("shard") == shard)

    @functools.cached_property
    def positions(self) -> Mapping[str, int]:
        """Where each key stands in the index."""
        return {key: number for number, key in enumerate(self.data.frame["key"])}

    def same(self, rows: pl.DataFrame) -> set[str]:
        """The keys of those of `rows`, samples-to-be, whose every field is as in this release."""
        fields = [name for name in arrow_schema("sample").names if name != "image_sha256"]
        ours = self.data.frame.select(fields)
        theirs = rows.select(fields).cast(dict(ours.schema))  # type: ignore[arg-type]
        both = ours.filter(ours["key"].is_in(theirs["key"].implode()))
        was = dict(zip(both["key"], map(digest, both.iter_rows(named=True)), strict=True))
        there = theirs.filter(theirs["key"].is_in(both["key"].implode()))
        return {row["key"] for row in there.iter_rows(named=True) if digest(row) == was[row["key"]]}

    def media(self, row: Mapping[str, Any]) -> tuple[bytes, bytes, str] | None:
        """Picture, clip and the picture's digest of a sample made of the same originals, if any."""
        position = self.positions.get(row["key"])
        if position is None:
            return None
        fields = self.data.frame.row(position, named=True)
        if any(fields[name] != row[name] for name in ("image_original_sha256", "audio_sha256")):
            return None
        pointers = self.data.pointers
        pieces = self.data.store.read_ranges(fields["shard"], pointers.ranges(position))
        members = dict(zip(pointers.present(position), pieces, strict=True))
        return members["jpg"], members["mp3"], fields["image_sha256"]


def open_base(workspace: Workspace, recipe: Recipe) -> Base | None:
    """The release that the recipe continues; None when it begins anew.

    Raises BadUsage when it is none, or is the very folder that the build would write to; BadData
    when it is damaged, or its shards are not named as a build names them.
    """
    if not recipe.sources.base:
        return None
    folder = release_folder(workspace, recipe.sources.base)
    return _open(folder, sha256_file(folder / "index.json"))


@functools.lru_cache(maxsize=1)
def _open(folder: Path, index_digest: str) -> Base:
    base = Base(folder, index_digest, open_shards(folder))
    for shard in base.data.shards:
        _part_name(shard)
    return base


def stays(
    base: Base, rows: pl.DataFrame, split: str, spoiled: Collection[str]
) -> list[tuple[str, Shard, list[str], bool]]:
    """For each shard of the base: part name, entry, the keys that stay, and whether all as it was.

    `rows` are the samples-to-be of one split, `spoiled` keys that may not stay as they are.
    """
    there = set(rows["key"])
    same = base.same(rows) - set(spoiled)
    found = []
    keys = dict(base.data.frame.group_by("shard").agg(pl.col("key")).iter_rows())
    for name, shard in base.shards_of(split):
        staying = sorted(there.intersection(keys[shard.name]))
        whole = len(staying) == shard.samples and same.issuperset(staying)
        if staying:
            found.append((name, shard, staying, whole))
    return found


def _part_name(shard: Shard) -> str:
    match = _NAME.fullmatch(shard.name)
    if match is None or not match["part"].startswith(f"{shard.split}-"):
        raise BadData(
            f"The shard {shard.name} is not named as a build names it: no build can continue it."
        )
    return match["part"]
