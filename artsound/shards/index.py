"""The index of a shards folder: index.parquet, a row per sample, and index.json, a row per shard.

The two are enough to choose samples, and to find the bytes of any of them, without opening a
shard. index.parquet of a build holds the columns of schemas/index.json; that of somebody else's
WebDataset holds at least `key`, `split`, `shard` and the offset and size of every member.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jsonschema
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from artsound.errors import BadData
from artsound.schema import arrow_schema, json_schema
from artsound.shards.format import Placed, Shard
from artsound.shards.store import Range, Store
from artsound.storage import atomic_write, sha256_bytes, sha256_file, write_json, write_parquet
from artsound.untrusted import parse_json, read_table

INDEX = "index.parquet"
SHARDS = "index.json"
FORMAT = "artsound-shards-1"
SPLITS = ("train", "val", "test")
NAMES = ("key", "shard", "split")  # the text that every index has, beside offsets and sizes


def index_rows(
    shard: str, samples: Iterable[Mapping[str, Any]], placed: Sequence[Placed]
) -> list[dict[str, Any]]:
    """The rows of index.parquet for one shard: each sample's fields, and where its members lie."""
    return [
        {**sample, "shard": shard, **pointers(place)}
        for sample, place in zip(samples, placed, strict=True)
    ]


def pointers(place: Placed) -> dict[str, int]:
    """The offset and size columns of one sample."""
    found = {}
    for extension, (offset, size) in place.members.items():
        found[f"{extension}_offset"] = offset
        found[f"{extension}_size"] = size
    return found


def write_index(
    folder: Path,
    name: str,
    recipe_digest: str,
    shards: Sequence[Shard],
    table: pa.Table,
    lineage: Mapping[str, str] = MappingProxyType({}),
) -> list[Path]:
    """Write index.parquet, then index.json, which names its digest; their paths.

    `lineage`: the version and the base of a release.

    The rows of `table` are in the shards' order. They are held to schemas/index.json when they
    have its columns; the rows of somebody else's samples are written as they are.
    """
    if set(table.column_names) == set(arrow_schema("index").names):
        write_parquet(folder / INDEX, "index", to_index_table(table))
    else:
        with atomic_write(folder / INDEX) as file:
            pq.write_table(table, file, compression="zstd")
    return [folder / INDEX, write_shard_index(folder, name, recipe_digest, shards, lineage)]


def to_index_table(table: pa.Table) -> pa.Table:
    """The rows under the Arrow schema of an index; BadData when a value does not fit."""
    schema = arrow_schema("index")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise BadData(f"These rows are no index of samples: {error}.") from error


def write_shard_index(
    folder: Path,
    name: str,
    recipe_digest: str,
    shards: Sequence[Shard],
    lineage: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write index.json for the index.parquet that lies there already."""
    write_json(
        folder / SHARDS,
        {
            "format": FORMAT,
            "name": name,
            **lineage,
            "samples": sum(shard.samples for shard in shards),
            "bytes": sum(shard.bytes for shard in shards),
            "recipe_digest": recipe_digest,
            "index_sha256": sha256_file(folder / INDEX),
            "shards": [asdict(shard) for shard in shards],
        },
    )
    return folder / SHARDS


def read_shard_index(store: Store) -> dict[str, Any]:
    """index.json, checked against its schema; BadData when it is missing or broken."""
    place = f"{store.location}/{SHARDS}"
    data = store.read(SHARDS)
    try:
        value: dict[str, Any] = parse_json(data)
        jsonschema.validate(value, json_schema("shard_index"))
    except ValueError as error:
        raise BadData(f"{place} cannot be read as JSON: {error}.") from error
    except jsonschema.ValidationError as error:
        raise BadData(f"{place} is not a shard index: {error.message[:200]}.") from error
    return value


def shards_of(value: Mapping[str, Any]) -> tuple[Shard, ...]:
    """The shards that an index.json lists."""
    return tuple(Shard(**entry) for entry in value["shards"])


def read_index(store: Store, value: Mapping[str, Any]) -> pl.DataFrame:
    """The rows of index.parquet, with their digest and every offset checked.

    Raises BadData when it is not the file index.json speaks of, or points outside a shard.
    """
    data = store.read(INDEX)
    place = f"{store.location}/{INDEX}"
    if sha256_bytes(data) != value["index_sha256"]:
        raise BadData(f"{place} is not the file that {SHARDS} names: run `artsound index` again.")
    frame = read_frame(data, place)
    check_pointers(frame, shards_of(value), place)
    return frame


def read_frame(data: bytes, place: str) -> pl.DataFrame:
    """The rows of a parquet file in memory; BadData when it is none."""
    faults = pl.exceptions
    try:
        return pl.DataFrame(read_table(data))
    except (ValueError, TypeError, faults.PolarsError, faults.PanicException) as error:
        raise BadData(f"{place} is not a readable parquet file: {error}.") from error


def extensions(frame: pl.DataFrame) -> tuple[str, ...]:
    """The members that the samples of an index have, in the order of its columns."""
    columns = set(frame.columns)
    return tuple(
        name.removesuffix("_offset")
        for name in frame.columns
        if name.endswith("_offset") and name.removesuffix("_offset") + "_size" in columns
    )


def index_columns() -> list[str]:
    """The columns of schemas/index.json."""
    return list(arrow_schema("index").names)


def is_ours(frame: pl.DataFrame) -> bool:
    """Whether the samples of an index are this project's, with all the columns of its schema."""
    return set(index_columns()) <= set(frame.columns)


def check_pointers(frame: pl.DataFrame, shards: Sequence[Shard], place: str) -> None:
    """Do nothing when every row points into a listed shard; else raise BadData."""
    missing = set(NAMES) - set(frame.columns)
    members = extensions(frame)
    if missing or not members:
        lacking = ", ".join(sorted(missing)) or "offsets"
        raise BadData(f"{place} is not an index of shards: it lacks {lacking}.")
    _check_types(frame, members, place)
    known = pl.DataFrame(
        {"shard": [s.name for s in shards], "_bytes": [s.bytes for s in shards]},
        schema={"shard": pl.String, "_bytes": pl.Int64},
    )
    ends = frame.select("shard", *_ends(members)).join(known, on="shard", how="left")
    outside = ends.filter(
        pl.col("_bytes").is_null()
        | pl.any_horizontal(
            (pl.col(f"_{m}_start") < 0)
            | (pl.col(f"_{m}_stop") < pl.col(f"_{m}_start"))
            | (pl.col(f"_{m}_stop") > pl.col("_bytes"))
            for m in members
        )
    )
    if outside.height:
        name = outside["shard"][0]
        raise BadData(f"{place} points outside the shard {name!r}: it is damaged or not its index.")


def _check_types(frame: pl.DataFrame, members: Iterable[str], place: str) -> None:
    """Raise BadData for a column of another type than an index's, or that lacks values.

    Other people's fields may be anything.
    """
    expected: dict[str, pl.DataType] = dict.fromkeys(NAMES, pl.String())
    expected |= {
        f"{member}_{what}": pl.Int64() for member in members for what in ("offset", "size")
    }
    if is_ours(frame):
        expected |= pl.DataFrame(pa.Table.from_batches([], arrow_schema("index"))).schema
    for name, kind in expected.items():
        if frame[name].dtype != kind or frame[name].null_count():
            raise BadData(f"{place} is not an index of shards: its {name} must be {kind}, no null.")


def _ends(members: Iterable[str]) -> list[pl.Expr]:
    """First and last byte of every member, as columns; a member that is missing has offset −1."""
    columns = []
    for m in members:
        offset, size = pl.col(f"{m}_offset"), pl.col(f"{m}_size")
        present = offset != -1
        columns.append(pl.when(present).then(offset).otherwise(0).alias(f"_{m}_start"))
        columns.append(pl.when(present).then(offset + size).otherwise(0).alias(f"_{m}_stop"))
    return columns


# Where the bytes of each sample lie, as plain arrays that travel cheaply into worker processes.

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SampleLocations:
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


def locations_of(frame: pl.DataFrame, shards: Sequence[Shard]) -> SampleLocations:
    """The pointers of an index's rows, which follow the shards' order."""
    members = extensions(frame)
    numbers = {shard.name: number for number, shard in enumerate(shards)}
    return SampleLocations(
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
