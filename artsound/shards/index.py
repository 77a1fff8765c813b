"""The index of shards: index.parquet, a row per sample, and index.json, an entry per shard.

The two are enough to choose samples, and to find the bytes of any of them, without opening a
shard. index.parquet of a build has the columns of schemas/index.json; an external index (of
WebDataset shards made elsewhere) has at least `key`, `split`, `shard` and the offset and size of
every member.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jsonschema
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artsound.columns import BY_NAME, absent, fields_now, frame_now, is_format_1
from artsound.errors import BadData
from artsound.keys import frame_with_text_keys
from artsound.schema import arrow_schema, check_table, json_schema
from artsound.shards.format import Placed, Shard
from artsound.shards.store import Range, Store
from artsound.storage import atomic_write, sha256_bytes, sha256_file, write_json
from artsound.untrusted import parse_json, read_table, read_table_schema

INDEX = "index.parquet"
SHARDS = "index.json"
SUMS = "SHA256SUMS"  # of all files of a release, as sha256sum writes it
FORMATS = ("artsound-shards-1", "artsound-shards-2")  # that can be read
FORMAT = FORMATS[-1]
SPLITS = ("train", "val", "test")
NAMES = ("key", "shard", "split")  # the text columns of every index
# What reading an untrusted table raises.
_FAULTS = (ValueError, TypeError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


def index_rows(
    shard: str, samples: Iterable[Mapping[str, Any]], placed: Sequence[Placed]
) -> list[dict[str, Any]]:
    """Return the rows of index.parquet for one shard.

    Args:
        shard: Its file name.
        samples: The fields of its samples.
        placed: The positions of their members, in the same order.
    """
    return [
        {**sample, "shard": shard, **pointers(place)}
        for sample, place in zip(samples, placed, strict=True)
    ]


def pointers(place: Placed) -> dict[str, int]:
    """Return the offset and size columns of one sample, by name."""
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
    more: Mapping[str, Any] = MappingProxyType({}),
) -> list[Path]:
    """Write index.parquet, then index.json, which has its digest.

    Args:
        folder: The folder of the shards.
        name: Name of the dataset.
        recipe_digest: Digest of the recipe that made it; empty when there is none.
        shards: The shards.
        table: The rows, in the order of the shards. They are checked against schemas/index.json
            when they have its columns, and written as they are otherwise.
        more: Further fields: version, previous release, parent, the publisher's statements.

    Returns:
        The paths of the two files.

    Raises:
        BadData: A value does not fit the schema.
    """
    if set(table.column_names) == set(arrow_schema("index").names):
        rows = to_index_table(table)
        check_table("index", rows)
        with atomic_write(folder / INDEX) as file:
            pq.write_table(_with_counts(rows), file, compression="zstd")
    else:
        with atomic_write(folder / INDEX) as file:
            pq.write_table(table, file, compression="zstd")
    return [folder / INDEX, write_shard_index(folder, name, recipe_digest, shards, more)]


def _with_counts(table: pa.Table) -> pa.Table:
    """The table with the number of unknown values in the metadata of each column."""
    fields = []
    for field in table.schema:
        column = table[field.name]
        empty = (
            pc.sum(pc.equal(pc.list_value_length(column), 0)).as_py()
            if pa.types.is_list(field.type)
            else 0
        )
        unknown = str(column.null_count + (empty or 0))
        fields.append(field.with_metadata({**field.metadata, b"unknown": unknown.encode()}))
    return table.cast(pa.schema(fields, metadata=table.schema.metadata))


def to_index_table(table: pa.Table) -> pa.Table:
    """Cast rows to the Arrow schema of an index; BadData when a value does not fit."""
    schema = arrow_schema("index")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise BadData(f"These rows are not an index of samples: {error}.") from error


def write_shard_index(
    folder: Path,
    name: str,
    recipe_digest: str,
    shards: Sequence[Shard],
    more: Mapping[str, Any] = MappingProxyType({}),
) -> Path:
    """Write index.json for an existing index.parquet; see `write_index`."""
    (folder / SUMS).unlink(missing_ok=True)  # which says what the folder was
    write_json(
        folder / SHARDS,
        {
            "format": FORMAT,
            "name": name,
            **more,
            "samples": sum(shard.samples for shard in shards),
            "bytes": sum(shard.bytes for shard in shards),
            "recipe_digest": recipe_digest,
            "index_sha256": sha256_file(folder / INDEX),
            "shards": [asdict(shard) for shard in shards],
        },
    )
    return folder / SHARDS


def read_shard_index(store: Store) -> dict[str, Any]:
    """Read index.json.

    Raises:
        BadData: It is missing, or does not fulfil schemas/shard_index.json.
    """
    place = f"{store.location}/{SHARDS}"
    data = store.read(SHARDS)
    if data.lstrip()[:1] == b"<":
        raise BadData(
            f"{place} is a web page in place of an index: the address may need headers=, or lead "
            "to a page about the files."
        )
    try:
        value: dict[str, Any] = parse_json(data)
        jsonschema.validate(value, json_schema("shard_index"))
    except ValueError as error:
        raise BadData(
            f"{place} cannot be read as JSON: {error}: copy or write it again."
        ) from error
    except jsonschema.ValidationError as error:
        raise BadData(f"{place} is not a shard index: {error.message[:200]}.") from error
    return value


def shards_of(value: Mapping[str, Any]) -> tuple[Shard, ...]:
    """Return the shards that an index.json lists."""
    return tuple(Shard(**entry) for entry in value["shards"])


def read_index(store: Store, value: Mapping[str, Any]) -> pl.DataFrame:
    """Read index.parquet, and check its digest and every offset.

    Args:
        store: Where the shards are.
        value: The value of index.json.

    Raises:
        BadData: It is not the file that index.json names, or points outside a shard.
    """
    frame = open_index(store, value).frame
    check_pointers(frame, shards_of(value), f"{store.location}/{INDEX}")
    return frame


def open_index(store: Store, value: Mapping[str, Any]) -> IndexTable:
    """Open index.parquet, and check its digest; see `IndexTable`.

    Args:
        store: Where the shards are.
        value: The value of index.json.

    Raises:
        BadData: It is not the file that index.json names, or is no index.
    """
    data = store.read(INDEX)
    place = f"{store.location}/{INDEX}"
    if sha256_bytes(data) != value["index_sha256"]:
        raise BadData(f"{place} is not the file that {SHARDS} names: run `artsound index` again.")
    return IndexTable(data, place)


def read_frame(data: bytes, place: str) -> pl.DataFrame:
    """Read a parquet file in memory, an index of any format under today's names.

    Args:
        data: The bytes of the file.
        place: What errors call it.

    Raises:
        BadData: It is no readable parquet file.
    """
    try:
        frame = pl.DataFrame(read_table(data))
        frame = frame_now(frame)
        return frame_with_text_keys(frame) if is_ours(frame.columns) else frame
    except _FAULTS as error:
        raise _unreadable(place, error) from error


def _unreadable(place: str, error: BaseException) -> BadData:
    return BadData(f"{place} is not a readable parquet file: {error}.")


class IndexTable:
    """The rows of an index, of which a column is read when it is first asked for.

    A dataset that is only streamed needs the positions of its samples and no text: of 105,884 rows
    a quarter of the time that all columns take. Names, types and numbers are checked at once, text
    when it is read.

    Attributes:
        columns: The names of its columns, those of any format under today's names.
        height: The number of rows.
    """

    def __init__(self, data: bytes, place: str) -> None:
        """Open an index.

        Args:
            data: The bytes of a parquet file.
            place: What errors call it.

        Raises:
            BadData: It is no readable parquet file, or a column has another type than it should.
        """
        self._place = place
        self._data: bytes | None = data
        self._read: dict[str, pl.Series] = {}
        try:
            schema, self.height = read_table_schema(data)
            empty = pl.DataFrame(pa.Table.from_batches([], schema))
        except _FAULTS as error:
            raise _unreadable(place, error) from error
        self._absent = absent(empty.columns)
        number = "track_id" in empty.columns and empty.schema["track_id"].is_integer()
        if is_format_1(empty.columns) or number:  # values change too
            self._keep(read_frame(data, place))
            return
        empty = frame_now(empty)
        self.columns = tuple(empty.columns)
        _check_types(empty, place)
        kinds = empty.schema
        self.some(
            name
            for name in _never_null(self.columns)
            if kinds[name].is_numeric() or kinds[name] == pl.Boolean
        )

    @classmethod
    def of(cls, frame: pl.DataFrame, place: str = "the index") -> IndexTable:
        """The table of rows that are read already."""
        table = cls.__new__(cls)
        table._place, table._read, table._absent = place, {}, {}
        table._keep(frame)
        return table

    def _keep(self, frame: pl.DataFrame) -> None:
        self._data = None
        self.columns, self.height = tuple(frame.columns), frame.height
        self._read = dict(zip(frame.columns, frame.get_columns(), strict=True))
        self.__dict__["frame"] = frame

    def __getstate__(self) -> dict[str, Any]:
        """Its columns once, not also as a frame."""
        return {name: value for name, value in self.__dict__.items() if name != "frame"}

    def some(self, names: Iterable[str]) -> pl.DataFrame:
        """Return some of the columns.

        Args:
            names: Names of columns.

        Raises:
            BadData: The values of one are damaged, or unknown where that may not be.
        """
        wanted = list(dict.fromkeys(names))
        new = [name for name in wanted if name not in self._read]
        stored = [name for name in new if name not in self._absent]
        data = self._data  # which another thread, having read all, may let go of
        if stored and data is not None:
            try:
                read = pl.DataFrame(read_table(data, stored).select(stored))
                if read.height != self.height:
                    raise ValueError(f"it has {read.height} values for {self.height} rows")
            except _FAULTS as error:
                raise _unreadable(self._place, error) from error
            _check_known(read, self.columns, self._place)
            self._read |= dict(zip(stored, read.get_columns(), strict=True))
        for name in new:
            if name in self._absent:
                self._read[name] = pl.repeat(
                    None, self.height, dtype=self._absent[name], eager=True
                ).alias(name)
        return pl.DataFrame([self._read[name] for name in wanted])

    @cached_property
    def frame(self) -> pl.DataFrame:
        """All columns."""
        found = self.some(self.columns)
        self._data = None
        return found


def extensions(columns: Iterable[str]) -> tuple[str, ...]:
    """Return the extensions of the members of an index's samples, in the order of its columns."""
    names = list(columns)
    known = set(names)
    return tuple(
        name.removesuffix("_offset")
        for name in names
        if name.endswith("_offset") and name.removesuffix("_offset") + "_size" in known
    )


def index_columns() -> list[str]:
    """Return the columns of schemas/index.json."""
    return list(arrow_schema("index").names)


def is_ours(columns: Iterable[str]) -> bool:
    """Whether an index has all columns of a release, so that its samples are pairs."""
    return set(index_columns()) <= set(columns)


def place_columns(columns: Iterable[str]) -> list[str]:
    """Return the columns of an index that say where its samples are."""
    names = list(columns)
    members = extensions(names)
    return [*NAMES, *(f"{m}_{what}" for what in ("offset", "size") for m in members)]


def check_pointers(frame: pl.DataFrame, shards: Sequence[Shard], place: str) -> None:
    """Raise BadData unless every row points into a listed shard; `place` names the index."""
    _check_types(frame, place)
    _check_known(frame, frame.columns, place)
    members = extensions(frame.columns)
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


def _check_types(frame: pl.DataFrame, place: str) -> None:
    """Raise BadData for an index that lacks a column, or has one of another type.

    Fields of an external index may have any type.
    """
    missing = set(NAMES) - set(frame.columns)
    members = extensions(frame.columns)
    if missing or not members:
        lacking = ", ".join(sorted(missing)) or "offsets"
        raise BadData(f"{place} is not an index of shards: it lacks {lacking}.")
    expected: dict[str, pl.DataType] = dict.fromkeys(NAMES, pl.String())
    expected |= dict.fromkeys(place_columns(frame.columns)[len(NAMES) :], pl.Int64())
    if is_ours(frame.columns):
        expected |= _types_of_ours()
    for name, kind in expected.items():
        if name in frame.columns and frame.schema[name] != kind:
            raise _not_an_index(name, kind, place)


def _check_known(frame: pl.DataFrame, columns: Iterable[str], place: str) -> None:
    """Raise BadData for a column that has null where an index of `columns` may have none."""
    for name in _never_null(columns):
        if name in frame.columns and frame[name].null_count():
            raise _not_an_index(name, frame.schema[name], place)


def _never_null(columns: Iterable[str]) -> list[str]:
    """The columns of an index that have a value in every row."""
    names = list(columns)
    needed = [*place_columns(names), *(index_columns() if is_ours(names) else ())]
    return [name for name in needed if not (name in BY_NAME and BY_NAME[name].unknown)]


def _not_an_index(name: str, kind: pl.DataType, place: str) -> BadData:
    may_be_null = name in BY_NAME and BY_NAME[name].unknown
    rule = f"{kind}, or null" if may_be_null else f"{kind}, no null"
    return BadData(f"{place} is not an index of shards: its {name} must be {rule}.")


@cache
def _types_of_ours() -> Mapping[str, pl.DataType]:
    return pl.DataFrame(pa.Table.from_batches([], arrow_schema("index"))).schema


def _ends(members: Iterable[str]) -> list[pl.Expr]:
    """First and last byte of every member, as columns; a member that is missing has offset −1."""
    columns = []
    for m in members:
        offset, size = pl.col(f"{m}_offset"), pl.col(f"{m}_size")
        present = offset != -1
        columns.append(pl.when(present).then(offset).otherwise(0).alias(f"_{m}_start"))
        columns.append(pl.when(present).then(offset + size).otherwise(0).alias(f"_{m}_stop"))
    return columns


# The positions of samples, as plain arrays that are cheap to send to worker processes.

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SampleLocations:
    """The positions of samples 0..n−1 of a dataset.

    Attributes:
        shards: The shards.
        members: Extensions of the m members.
        keys: Keys [n].
        shard: Index into `shards`, int64 [n].
        offsets: First byte of each member in its shard, int64 [n, m]; −1: the sample lacks it.
        sizes: Sizes in bytes, int64 [n, m].
        ours: Whether a sample's .json has its key, by which a stale index is detected.
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
        """Return the byte ranges of a sample's members, in the members' order."""
        offsets, sizes = self.offsets[number].tolist(), self.sizes[number].tolist()
        return [(at, at + size) for at, size in zip(offsets, sizes, strict=True) if at >= 0]

    def present(self, number: int) -> list[str]:
        """Return the members that a sample has, in the order of `ranges`."""
        offsets = self.offsets[number].tolist()
        return [member for member, at in zip(self.members, offsets, strict=True) if at >= 0]

    def sample(self, number: int, pieces: Sequence[bytes]) -> dict[str, Any]:
        """Assemble a sample from the bytes of its members.

        Args:
            number: Its number.
            pieces: The bytes of its members, in the order of `ranges`.

        Returns:
            {"key": str, "jpg": bytes, …}; the .json is parsed.

        Raises:
            BadData: The .json is damaged or belongs to another key.
        """
        key = str(self.keys[number])
        members = dict(zip(self.present(number), pieces, strict=True))
        return _parsed(key, members, self.shards[self.shard[number]].name, ours=self.ours)

    @cached_property
    def shard_counts(self) -> Integers:
        """Number of these samples in each shard, int64."""
        return np.bincount(self.shard, minlength=len(self.shards)).astype(np.int64)

    @cached_property
    def density(self) -> npt.NDArray[np.float64]:
        """Share of each shard's bytes that these samples need, 0–1, float64."""
        needed = np.bincount(self.shard, self.sizes.sum(axis=1), minlength=len(self.shards))
        return needed / np.array([shard.bytes for shard in self.shards])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the keys in order; equal for streams over the same samples."""
        width = self.keys.dtype.itemsize // 4
        letters = np.ascontiguousarray(self.keys).view(np.uint32).reshape(len(self), width)
        if letters.size and letters.max() < 128:
            letters = letters.astype(np.uint8)  # a quarter of the bytes
        while width and not letters[:, width - 1].any():  # the longest key may not be among these
            width -= 1
        hashed = hashlib.sha256(f"{len(self)} {width} ".encode())
        hashed.update(np.ascontiguousarray(letters[:, :width]).data)
        return hashed.hexdigest()

    @cached_property
    def copies(self) -> Integers | None:
        """Which of the equal samples in a row each one is, int64 [n]; None when all differ."""
        same = (self.shard[1:] == self.shard[:-1]) & (self.offsets[1:] == self.offsets[:-1]).all(1)
        if not same.any():
            return None
        at = np.arange(len(self))
        return at - np.maximum.accumulate(np.where(np.r_[False, same], 0, at))

    def take(self, rows: Integers) -> SampleLocations:
        """Return the positions of some of these samples, in the order of `rows`."""
        return replace(
            self,
            keys=self.keys[rows],
            shard=self.shard[rows],
            offsets=self.offsets[rows],
            sizes=self.sizes[rows],
        )

    def rows_of(self, keys: npt.NDArray[np.str_], place: str) -> Integers:
        """Return the row of each key, int64; BadData when a key is missing or occurs twice."""
        order = np.argsort(self.keys, kind="stable")
        ordered = self.keys[order]
        at = np.searchsorted(ordered, keys)
        found = np.zeros(len(keys), dtype=bool)
        inside = at < len(ordered)
        found[inside] = ordered[at[inside]] == keys[inside]
        if not found.all():
            raise BadData(f"{place} has no sample {keys[~found][0]}: make it again.")
        double = np.zeros(len(keys), dtype=bool)
        before_last = at + 1 < len(ordered)
        double[before_last] = ordered[at[before_last] + 1] == keys[before_last]
        if double.any():
            raise BadData(
                f"{place} has the key {keys[double][0]} twice, so samples cannot be joined by it: "
                "give each sample a key of its own."
            )
        return order[at]


def locations_of(frame: pl.DataFrame, shards: Sequence[Shard], *, ours: bool) -> SampleLocations:
    """Return the positions of the samples of an index, whose rows are in the shards' order.

    Args:
        frame: Its columns `place_columns`.
        shards: The shards.
        ours: Whether it is the index of a release.
    """
    members = extensions(frame.columns)
    numbers = {shard.name: number for number, shard in enumerate(shards)}
    return SampleLocations(
        shards=tuple(shards),
        members=members,
        keys=np.array(frame["key"].to_list(), dtype=np.str_),
        shard=_shard_numbers(frame["shard"], numbers),
        offsets=_columns(frame, members, "offset"),
        sizes=_columns(frame, members, "size"),
        ours=ours,
    )


def _shard_numbers(names: pl.Series, numbers: Mapping[str, int]) -> Integers:
    known = names.replace_strict(numbers, return_dtype=pl.Int64)
    return known.to_numpy().astype(np.int64)


def _columns(frame: pl.DataFrame, members: Sequence[str], what: str) -> Integers:
    columns = [frame[f"{member}_{what}"].to_numpy() for member in members]
    return np.stack(columns, axis=1).astype(np.int64).reshape(frame.height, len(members))


def sample_fields(data: bytes) -> Any:
    """The value of a .json member; of a sample of this project the fields under today's names.

    Raises:
        ValueError: It is no JSON.
    """
    value = parse_json(data)
    return fields_now(value) if isinstance(value, dict) else value


def _parsed(key: str, members: Mapping[str, bytes], shard: str, *, ours: bool) -> dict[str, Any]:
    sample: dict[str, Any] = {"key": key, **members}
    if "json" in members:
        try:
            sample["json"] = sample_fields(members["json"])
        except ValueError as error:
            raise BadData(f"{shard}: the .json of {key} is damaged: {error}.") from error
        if ours and not (isinstance(sample["json"], dict) and sample["json"].get("key") == key):
            raise BadData(f"{shard}: another sample is where {key} should be: the index is stale.")
    return sample
