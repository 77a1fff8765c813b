"""Checks a folder of shards against its index: every problem as one line.

Nothing is extracted, and no name in a shard is used as a path.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
import os
import re
import tarfile
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import jsonschema
import polars as pl

from artsound.columns import column_of, fields_now, is_format_1, row_of, sample_of, with_late
from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.media import MediaError
from artsound.schema import arrow_schema, check_table, inlined_schema
from artsound.shards.beside import check_beside
from artsound.shards.format import READ_AHEAD, Shard, TarMember, key_of, scan_tar
from artsound.shards.index import (
    INDEX,
    extensions,
    index_columns,
    is_ours,
    read_index,
    read_shard_index,
    shards_of,
    to_index_table,
)
from artsound.shards.release import (
    WITHHELD,
    check_changes,
    check_sums,
    find_listed,
    withheld_rows,
)
from artsound.shards.store import LocalStore, shards_folder
from artsound.storage import sha256_bytes, sha256_file
from artsound.untrusted import parse_json


@dataclass(frozen=True, order=True)
class Problem:
    """One problem.

    Attributes:
        shard: The shard or file that has it, or "index".
        key: The key of the sample; empty when it is none of a sample.
        message: What is wrong.
    """

    shard: str
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.shard} {self.key}".strip()
        part = f" (part {self.part})" if self.part else ""
        return f"{place}: {self.message}{part}"

    @property
    def part(self) -> str:
        """The part of stage `shard` that makes this shard; empty when it is no shard."""
        found = re.fullmatch(r"artsound-([a-z]+-\d{6})\.tar", self.shard)
        return found[1] if found else ""


def verify(folder: Path | str, *, deep: bool = False, workers: int = 0) -> list[Problem]:
    """Check a folder of shards.

    Checks sizes, digests of all files, tar structure, every .json against its schema and the index,
    keys (unique, ascending), offsets, and that splits share no painter, musician or near-duplicate.

    Args:
        folder: A release on this machine, or the folder of the build that has it.
        deep: Also decode every picture and clip and check their digests.
        workers: Shards checked at once; 0: one per processor.

    Returns:
        Every problem, sorted; empty when there is none.

    Raises:
        BadUsage: There is no such folder.
    """
    store = LocalStore(shards_folder(Path(folder)))
    if not store.folder.is_dir():
        raise BadUsage(f"There is no folder {folder}: verify checks shards on this machine.")
    try:
        value = read_shard_index(store)
        frame = read_index(store, value)
    except ArtSoundError as error:
        return [Problem("index", "", str(error))]
    try:
        withheld, broken = set(withheld_rows(store.folder)["key"]), ""
    except BadData as error:
        withheld, broken = set(), str(error)
    shards = shards_of(value)
    known = {*frame["key"], *withheld}
    problems = [
        *([Problem(WITHHELD, "", broken)] if broken else []),
        *_check_rows(frame, value),
        *_check_lists(store.folder, value, shards, frame),
        *_check_splits(frame),
        *(Problem(name, "", fault) for name, fault in check_beside(store.folder, frame)),
        *(Problem(name, "", fault) for name, fault in check_changes(store.folder, value, known)),
        *(Problem(name, "", fault) for name, fault in check_sums(store.folder)),
    ]
    groups = {name[0]: part for name, part in frame.group_by("shard")}
    jobs = [
        (store.folder / shard.name, shard, groups.get(shard.name, frame.clear()), deep)
        for shard in shards
    ]
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for found in pool.map(lambda job: list(check_shard(*job)), jobs):
            problems += found
    return sorted(problems)


def listed_in(folder: Path, lines: Collection[str], optouts: Collection[str] = ()) -> list[Problem]:
    """Find items of a release that lists name.

    Args:
        folder: A release, or the folder of the build that has it.
        lines: Lines of a list, each of which names an item in any spelling.
        optouts: Lines of an opt-out list, which may also name creators.

    Returns:
        A problem for each item found; empty when the index cannot be read, which `verify` reports.
    """
    folder = shards_folder(folder)
    store = LocalStore(folder)
    try:
        frame = read_index(store, read_shard_index(store))
        found = find_listed(lines, frame, withheld_rows(folder), optouts=optouts)
    except ArtSoundError:
        return []  # `verify` reports what is wrong with the index
    return [
        Problem("index", "", f"it has {name}, which a list names")
        for name in sorted(found.ids | found.digests)
    ]


def check_shard(path: Path, shard: Shard, rows: pl.DataFrame, deep: bool) -> Iterator[Problem]:
    """Check one shard.

    Args:
        path: The shard.
        shard: Its entry in index.json.
        rows: Its rows of the index.
        deep: Also decode every picture and clip.

    Yields:
        Its problems.
    """
    try:
        size = path.stat().st_size
        if size != shard.bytes:
            yield Problem(path.name, "", f"it has {size} bytes, not {shard.bytes}")
        if sha256_file(path) != shard.sha256:
            yield Problem(path.name, "", "its SHA-256 is not the one in index.json")
        with path.open("rb", buffering=READ_AHEAD) as file:
            try:
                members = list(scan_tar(file, size, external=not is_ours(rows.columns)))
            except (tarfile.TarError, ValueError, OverflowError) as error:
                yield Problem(path.name, "", f"it is not a valid tar: {error}")
                return
            yield from _check_members(path.name, shard, rows, members)
            if is_ours(rows.columns):
                yield from _check_fields(path.name, file, rows)
            if deep:
                ours, parts = is_ours(rows.columns), extensions(rows.columns)
                for row in rows.iter_rows(named=True):
                    yield from _check_media(path.name, file, row, parts, ours=ours)
    except OSError as error:
        yield Problem(path.name, "", f"it cannot be read: {error.strerror or error}")


def _check_members(
    name: str, shard: Shard, rows: pl.DataFrame, members: Sequence[TarMember]
) -> Iterator[Problem]:
    """Compare the files in the shard, and their positions, with the index."""
    split = [key_of(member.name) for member in members]
    found = {
        (f"{key}.{extension}" if extension else key, member.offset, member.size)
        for (key, extension), member in zip(split, members, strict=True)
    }
    expected = {
        (f"{key}.{extension}", offset, size)
        for extension in extensions(rows.columns)
        for key, offset, size in rows.select(
            "key", f"{extension}_offset", f"{extension}_size"
        ).iter_rows()
        if offset >= 0
    }
    for member, offset, _ in sorted(expected - found):
        yield Problem(
            name, key_of(member)[0], f"{member} is not at offset {offset}, where the index says"
        )
    for member, offset, _ in sorted(found - expected):
        key = key_of(member)[0]
        yield Problem(name, key, f"{member} at offset {offset} is not in the index")
    grouped = [key for key, _ in split]
    keys = list(dict.fromkeys(grouped))
    if is_ours(rows.columns) and keys != sorted(keys):
        before, key = next(pair for pair in itertools.pairwise(keys) if pair[0] > pair[1])
        yield Problem(name, key, f"it comes after {before}: keys are not in order")
    if sum(a != b for a, b in itertools.pairwise(grouped)) + 1 > len(keys) > 0:
        yield Problem(name, "", "the members of a sample are not next to each other")
    if len(keys) != shard.samples:
        yield Problem(name, "", f"it holds {len(keys)} samples, not {shard.samples}")
    if keys and (keys[0], keys[-1]) != (shard.first_key, shard.last_key):
        yield Problem(name, "", "its first or last key is not the one in index.json")


def _check_media(
    name: str, file: IO[bytes], row: dict[str, Any], parts: Sequence[str], *, ours: bool
) -> Iterator[Problem]:
    """Decode the picture and the clip of a sample, and check their digests."""
    from artsound.media.audio import check_audio  # the libraries that decode load slowly
    from artsound.media.images import check_image
    from artsound.media.limits import limited
    from artsound.shards.decode import AUDIO, IMAGES

    key = row["key"]
    members = [name for name in (*IMAGES, *AUDIO) if name in parts and row[f"{name}_offset"] >= 0]

    def data(member: str) -> bytes:
        return _member(file, row[f"{member}_offset"], row[f"{member}_size"])

    for member, digest in (("jpg", "image_sha256"), ("mp3", "audio_sha256")):
        if ours and member in members and sha256_bytes(data(member)) != row[digest]:
            yield Problem(name, key, f"the SHA-256 of its .{member} is not the one in its .json")
    for member in members:
        try:
            if member in IMAGES:
                limited(check_image, "image", data(member), min_side=1, max_pixels=200_000_000)
            else:
                limited(
                    check_audio, "audio", data(member), min_seconds=0.0, silence_db=float("-inf")
                )
        except MediaError as error:
            yield Problem(name, key, str(error))


def _member(file: IO[bytes], offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _check_fields(name: str, file: IO[bytes], rows: pl.DataFrame) -> Iterator[Problem]:
    """Compare the .json of every sample with its row of the index.

    Columns are compared as a whole; a sample is looked at by itself where they differ.
    """
    present = rows.filter(pl.col("json_offset") >= 0)
    places = present.select("json_offset", "json_size").iter_rows()
    texts = [_member(file, offset, size) for offset, size in places]
    doubtful = _unequal(texts, present)
    for number in doubtful:
        row = present.row(number, named=True)
        yield from check_json(name, row["key"], texts[number], row)


def _unequal(texts: Sequence[bytes], rows: pl.DataFrame) -> list[int]:
    """The numbers of the .json members that are not at once equal to their rows."""
    names = arrow_schema("sample").names
    expected, values_of = frozenset(names), operator.itemgetter(*names)
    found: list[tuple[Any, ...]] = []
    numbers: list[int] = []
    for number, text in enumerate(texts):
        with contextlib.suppress(ValueError):
            fields = parse_json(text)
            if isinstance(fields, dict) and fields.keys() == expected:
                found.append(values_of(fields))
                numbers.append(number)
    doubtful = set(range(len(texts))) - set(numbers)
    complete = rows[numbers]
    for name, column in zip(names, zip(*found, strict=True), strict=False):
        values, indexed = column_of(name, column), complete[name].to_list()
        if values != indexed or list(map(type, values)) != list(map(type, indexed)):
            doubtful |= {
                number
                for number, *pair in zip(numbers, values, indexed, strict=True)
                if not _same(*pair)
            }
    return sorted(doubtful)


def check_json(name: str, key: str, data: bytes, row: dict[str, Any]) -> Iterator[Problem]:
    """Compare a sample's .json with its row of the index.

    Rows fulfil the schema, so an equal .json does too.

    Args:
        name: Of the shard.
        key: Of the sample.
        data: The member.
        row: The sample's row, with all columns of a sample.

    Yields:
        A problem for every field that differs, or one for all of a .json that is none.
    """
    try:
        fields = parse_json(data)
    except ValueError as error:
        yield Problem(name, key, f"its .json cannot be read: {error}")
        return
    if isinstance(fields, dict) and is_format_1(fields):
        fields = sample_of(fields_now(fields))
    elif isinstance(fields, dict):
        fields = with_late(fields)
    names = arrow_schema("sample").names
    if isinstance(fields, dict) and fields.keys() == set(names):
        indexed = row_of(fields)
        wrong = [field for field in names if not _same(indexed[field], row[field])]
        if not wrong:
            return
    fault = jsonschema.exceptions.best_match(_validator().iter_errors(fields))
    if fault is not None:
        at = ".".join(str(step) for step in fault.absolute_path)
        yield Problem(name, key, f"its .json breaks the schema: {at} {fault.message[:200]}".strip())
        return
    for field in wrong:
        message = f"{field} is {fields[field]!r} in its .json, but {row[field]!r} in the index"
        yield Problem(name, key, message)


def _same(value: Any, indexed: Any) -> bool:
    """Whether two values are equal and of one type; the index may hold numbers in 32 bits."""
    if type(value) is type(indexed) and value == indexed:
        return True
    if isinstance(value, bool) != isinstance(indexed, bool):
        return False
    if isinstance(value, (int, float)) and isinstance(indexed, float):
        return abs(value - indexed) <= 1e-6 * max(1.0, abs(value))
    return bool(value == indexed)


def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(inlined_schema("sample"))


def _check_rows(frame: pl.DataFrame, value: dict[str, Any]) -> Iterator[Problem]:
    """Check the rows of an index made by this project against its schema."""
    if is_ours(frame.columns):
        try:
            check_table("index", to_index_table(frame.to_arrow()))
        except BadData as error:
            yield Problem(INDEX, "", str(error))
    elif value["recipe_digest"]:  # a build's, so it should
        lacking = sorted(set(index_columns()) - set(frame.columns))
        yield Problem(INDEX, "", f"it lacks the columns {', '.join(lacking)}")


def _check_lists(
    folder: Path, value: dict[str, Any], shards: Sequence[Shard], frame: pl.DataFrame
) -> Iterator[Problem]:
    """Check the index as a whole: totals, names, keys."""
    names = [shard.name for shard in shards]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem(name, "", "it is listed twice in index.json")
    for path in sorted(folder.glob("*.tar")):
        if path.name not in names:
            yield Problem(path.name, "", "no entry of index.json names it")
    if value["samples"] != frame.height or value["bytes"] != sum(shard.bytes for shard in shards):
        yield Problem("index.json", "", "its totals do not add up")
    for (key,), rows in frame.filter(pl.col("key").is_duplicated()).group_by(["key"]):
        places = ", ".join(sorted(rows["shard"]))
        yield Problem(rows["shard"].sort()[0], str(key), f"the key occurs twice: {places}")
    splits = {shard.name: shard.split for shard in shards}
    for name, key, split in frame.select("shard", "key", "split").iter_rows():
        if splits[name] != split:
            yield Problem(name, key, f"a {split} sample is in a {splits[name]} shard")


def _check_splits(frame: pl.DataFrame) -> Iterator[Problem]:
    """Find painters, musicians and works that are in more than one split."""
    for column, what in (
        ("painter_id", "the painter"),
        ("musician_id", "the musician"),
        ("artwork_cluster", "the artwork, or a near-duplicate of it,"),
        ("track_cluster", "the clip, or a near-duplicate of it,"),
        ("audio_sha256", "the clip"),
        ("image_original_sha256", "the image"),
    ):
        kind = frame.schema.get(column, pl.Null())
        if not (kind.is_integer() or kind == pl.String):  # an external index may have any type
            continue
        shared = (
            frame.filter(pl.col(column).is_not_null())
            .group_by(column)
            .agg(pl.col("split").unique().sort(), pl.col("key").min(), pl.col("shard").first())
            .filter(pl.col("split").list.len() > 1)
            .sort("key")
        )
        for value, splits, key, _ in shared.iter_rows():
            yield Problem("index", key, f"{what} {value} is in the splits {' and '.join(splits)}")
