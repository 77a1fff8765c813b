"""External indexes: an index for WebDataset shards made elsewhere (`artsound index SHARDS`)."""

from __future__ import annotations

import re
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import jsonschema
import pyarrow as pa

from artsound.columns import fields_now, row_of, sample_of
from artsound.errors import BadData, BadUsage
from artsound.schema import arrow_schema, inlined_schema
from artsound.shards.format import BLOCK, Placed, Shard, key_of, scan_tar
from artsound.shards.index import NAMES, SPLITS, pointers, write_index
from artsound.storage import sha256_file
from artsound.untrusted import parse_json

_MAX_JSON = 1 << 20
_PACKED = re.compile(r"\.(?:tar\.\w+|tgz|tbz2?|txz)$", re.IGNORECASE)
_PLAIN = (bool, int, float, str)


Skip = Callable[[str], object]  # gets a line that names what is left out, and why


def index_folder(folder: Path, *, skip: Skip | None = None) -> list[Path]:
    """Write index.parquet and index.json for the .tar files in a folder.

    Samples made by this project get the columns of schemas/index.json. Of others, the fields of
    their .json members that have one type throughout (numbers, text, truth values, lists of text)
    become columns, except those named like the index's own. The split of a shard is the one in its
    name (train, val, test), else train.

    What `tar` makes of a folder is read too: folders and files that webdataset would leave out are
    skipped, hard links followed.

    Args:
        folder: A folder of WebDataset shards.
        skip: Called with a line for each sample that is damaged or has a member that a shard must
            not have; it is then left out, as is all that follows a fault of a shard itself.
            Without it either is an error.

    Returns:
        The paths of the two files.

    Raises:
        BadUsage: There are no shards, or some are compressed.
        BadData: A shard is damaged or unsafe, the message names the sample; or nothing is left.
    """
    if packed := sorted(path.name for path in folder.iterdir() if _PACKED.search(path.name)):
        raise BadUsage(
            f"{folder / packed[0]} is compressed, so that its samples cannot be read by their "
            "positions: unpack it, as with gunzip, or move it elsewhere."
        )
    paths = sorted(folder.glob("*.tar"), key=lambda path: (SPLITS.index(split_of(path)), path.name))
    if not paths:
        raise BadUsage(f"There is no .tar file in {folder}: give a folder of shards.")
    shards, rows = [], []
    for path in paths:
        samples = _samples(path, skip)
        if not samples:
            continue
        split = split_of(path)
        shards.append(
            Shard(
                name=path.name,
                split=split,
                samples=len(samples),
                bytes=path.stat().st_size,
                sha256=sha256_file(path),
                first_key=samples[0][0].key,
                last_key=samples[-1][0].key,
            )
        )
        rows += [(place, fields, path.name, split) for place, fields in samples]
    if not shards:
        raise BadData(f"No shard of {folder} holds a sample that is not damaged.")
    return write_index(folder, _name(folder), "", shards, _table(rows))


def split_of(path: Path) -> str:
    """Return the split in a shard's name, as a separate word: train, val (or valid…), test."""
    words = re.split(r"[^a-z]+", path.stem.lower())
    for split, names in (("test", {"test"}), ("val", {"val", "valid", "validation", "dev"})):
        if names & set(words):
            return split
    return "train"


def _samples(path: Path, skip: Skip | None) -> list[tuple[Placed, Mapping[str, Any]]]:
    """Every sample of a shard, with the fields of its .json.

    BadData when there is none, or one is damaged; with `skip` these are left out.
    """
    members: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    faulty: set[str] = set()
    samples: list[tuple[Placed, Mapping[str, Any]]] = []

    def leave_out(name: str, fault: str) -> None:
        faulty.add(key_of(name)[0])
        assert skip is not None
        skip(f"{path}: a sample is left out: {fault}.")

    try:
        with path.open("rb") as file:
            try:
                left_out = leave_out if skip else None
                size = path.stat().st_size
                for member in scan_tar(file, size, external=True, skip=left_out):
                    key, extension = key_of(member.name)
                    members[key][extension] = (member.offset, member.size)
            except (tarfile.TarError, ValueError, OverflowError) as error:
                fault = error if members or faulty else _no_tar(file, error)
                if skip is None:
                    raise fault from error
                _cut(path, members, fault, skip)
            for key, spans in members.items():
                offset, size = spans.get("json", (0, -1))
                fields = {}
                if key in faulty:
                    continue
                if 0 <= size <= _MAX_JSON:
                    file.seek(offset)
                    try:
                        fields = parse_json(file.read(size))
                    except ValueError as error:
                        said = f"the .json of {key} is damaged: {error}."
                        if skip is None:
                            raise BadData(f"{path} cannot be indexed: {said}{_REMEDY}") from error
                        skip(f"{path}: {said}")
                        continue
                samples.append((Placed(key, spans), fields if isinstance(fields, dict) else {}))
    except (OSError, tarfile.TarError, ValueError, OverflowError) as error:
        raise BadData(f"{path} cannot be indexed: {error}.{_REMEDY}") from error
    if not samples:
        if skip is None:
            raise BadData(f"{path} has no sample: remove it, or write it again.")
        skip(f"{path}: it has no sample that can be used.")
    return samples


_REMEDY = " Correct the shard, or leave out what is wrong with --skip (skip= in Python)."
_FORMATS = {
    b"\x1f\x8b": "compressed by gzip: unpack it, as with gunzip",
    b"BZh": "compressed by bzip2: unpack it, as with bunzip2",
    b"\xfd7zXZ": "compressed by xz: unpack it, as with unxz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it, as with unzstd",
    b"PK\x03\x04": "a zip, no tar: write its files as a tar",
    b"<": "a web page or XML, no tar: download the shard again",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the shard with `git lfs pull`",
}


def _no_tar(file: IO[bytes], error: Exception) -> Exception:
    """An error of a file whose first header is wrong: with what the file is, and the remedy."""
    file.seek(0)
    head = file.read(BLOCK).lstrip()
    known = [what for start, what in _FORMATS.items() if head.startswith(start)]
    if known:
        return tarfile.ReadError(f"it is {known[0]}")
    bad = isinstance(error, tarfile.ReadError)
    return tarfile.ReadError(f"it does not begin as a tar does ({error})") if bad else error


def _cut(
    path: Path, members: dict[str, dict[str, tuple[int, int]]], error: Exception, skip: Skip
) -> None:
    """Leave out the last sample read before a fault of a shard if it lacks members of the first."""
    first, last = next(iter(members), ""), next(reversed(members), "")
    if last != first and members[first].keys() - members[last].keys():
        del members[last]
        skip(f"{path}: {last} is cut off by a fault of the shard.")
        last = next(reversed(members))
    where = f"what follows {last}" if last else "all of it"
    skip(f"{path}: {where} is left out: {error}.")


def _table(rows: Iterable[tuple[Placed, Mapping[str, Any], str, str]]) -> pa.Table:
    rows = list(rows)
    if _all_ours(rows):
        values = [
            {**row_of(sample_of(fields_now(fields))), "shard": shard, **pointers(place)}
            for place, fields, shard, _ in rows
        ]
        return pa.Table.from_pylist(values, schema=arrow_schema("index"))
    extensions = dict.fromkeys(name for place, *_ in rows for name in place.members)
    table: dict[str, Any] = {
        "key": [place.key for place, *_ in rows],
        "split": [split for *_, split in rows],
    }
    known = dict.fromkeys(name for _, fields, *_ in rows for name in fields)
    for name in known:
        column = _column([fields.get(name) for _, fields, *_ in rows])
        if column is not None and not _reserved(name):
            table[name] = column
    table["shard"] = [shard for *_, shard, _ in rows]
    for extension in extensions:
        spans = [place.members.get(extension, (-1, 0)) for place, *_ in rows]
        table[f"{extension}_offset"] = pa.array([offset for offset, _ in spans], pa.int64())
        table[f"{extension}_size"] = pa.array([size for _, size in spans], pa.int64())
    return pa.table(table)


def _all_ours(rows: Iterable[tuple[Placed, Mapping[str, Any], str, str]]) -> bool:
    validator = jsonschema.Draft202012Validator(inlined_schema("sample"))
    return all(
        list(place.members) == ["jpg", "mp3", "json"]
        and validator.is_valid(sample_of(fields_now(fields)))
        and fields["key"] == place.key
        and fields["split"] == split
        for place, fields, _, split in rows
    )


def _reserved(name: str) -> bool:
    """Whether a field cannot be a column: its name is empty, or one that says where samples are."""
    return not name or name in NAMES or name.endswith("_offset")


def _column(values: list[Any]) -> pa.Array | None:
    """The values as one typed column, missing ones null; None when there are several types."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        kinds = {float}
    texts = kinds == {list} and all(
        isinstance(item, str) for value in values if value is not None for item in value
    )
    if len(kinds) != 1 or not (texts or kinds <= set(_PLAIN)):
        return None
    try:
        return pa.array(values, pa.float64() if kinds == {float} else None)
    except (pa.ArrowInvalid, OverflowError):
        return None


def _name(folder: Path) -> str:
    return folder.resolve().name or "shards"
