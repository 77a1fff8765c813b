"""A source on disk, be it a folder, a zip, or a folder with zips in it: its files, and their bytes.

    files = list_files(Path("fma"), zips={"fma_metadata.zip", "fma_large.zip"})
    data = read_file(Path("fma"), box="fma_large.zip", name="fma_large/000/000002.mp3")

Nothing is ever extracted. A zip is hostile until checked: one with names that climb out of it,
or with links, is refused whole; a member that declares or turns out to hold more than the limit
is not read.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import polars as pl

from artsound.errors import BadData, BadUsage
from artsound.sources.zips import (
    DAMAGED,
    UnreadableFile,
    ZipMember,
    check_member,
    read_directory,
    unpack,
)
from artsound.untrusted import check_path, near_path

MEDIA_LIMIT = 512 << 20
TABLE_LIMIT = 2 << 30

_Row = tuple[str, str, int, str]  # box, name, size in bytes, stamp
_SCHEMA = {"box": pl.String, "name": pl.String, "size": pl.Int64, "stamp": pl.String}


def check_place(root: Path) -> None:
    """Raise BadUsage, with the nearest name there is, when nothing is at the place of a source."""
    check_path(root)
    if not root.exists():
        raise BadUsage(
            f"{root} does not exist: {near_path(root) or 'give the folder or zip of the source.'}"
        )


def list_files(root: Path, zips: Collection[str] | None = None) -> pl.DataFrame:
    """The files of a source, sorted: columns box, name, size (bytes) and stamp.

    `box` is the zip that holds the file, relative to `root`; empty for a plain file, and when
    `root` is itself a zip. `name` is the path inside the box, with `/`. `stamp` changes when the
    content does: the CRC-32 of a zip member, the time of change of a plain file.

    Zips directly in a folder are opened; with `zips`, only those of these names. Of a file that
    is in a zip and unpacked beside it, the unpacked one is listed, unless it is cut short (a file
    that unpacking left half-written). Raises BadUsage when `root` does not exist, BadData when
    it is empty, not a zip, damaged or unsafe.
    """
    check_place(root)
    if root.is_dir():
        rows = {name: row for row in _folder_files(root) for name in row[1:2]}
        packed: list[_Row] = []
        for name in sorted(name for name in rows if "/" not in name):
            if name.lower().endswith(".zip") and (zips is None or name.lower() in zips):
                packed.extend(_not_unpacked(root, name, rows))
        found = [*rows.values(), *packed]
    else:
        found = list(_zip_files(root, ""))
    if not found:
        raise BadData(f"{root} is empty: give the folder or zip that holds the source.")
    return pl.DataFrame(found, schema=_SCHEMA, orient="row").sort("box", "name")


def find_file(
    files: pl.DataFrame, name: str, root: Path | str = "the source"
) -> tuple[str, str] | None:
    """Box and path of the listed file called `name`, or `name`.gz; None without any.

    Raises BadData when there are several in different folders: two releases in one place. `root`
    is for the message.
    """
    ends = (name, f"{name}.gz")
    found = files.filter(
        pl.any_horizontal(
            [(pl.col("name") == one) | pl.col("name").str.ends_with(f"/{one}") for one in ends]
        )
    )
    # Of a table and the same table packed, in one folder, the plain one.
    places = {
        (box, path.removesuffix(".gz")): (box, path)
        for box, path in found.select("box", "name").sort("name", descending=True).iter_rows()
    }
    if len(places) > 1:
        two = " and ".join(str(Path(root, *place)) for place in sorted(places.values())[:2])
        raise BadData(
            f"{root} holds several {name} ({two}): give the folder or zip of one release only."
        )
    return next(iter(places.values()), None)


def read_file(root: Path, box: str, name: str, limit: int = MEDIA_LIMIT) -> bytes:
    """The bytes of one file that `list_files` listed.

    Raises UnreadableFile when it is gone, damaged, encrypted, packed by a method that is not read
    or larger than `limit` bytes, and BadData when the zip around it cannot be opened any more.
    """
    where = f"{name} in {root / box}"
    try:
        if root.is_dir() and not box:
            return _read_plain(root / name, limit)
        return _read_member(_zip_at(root / box), name, limit)
    except UnreadableFile:
        raise
    except (FileNotFoundError, KeyError) as error:
        raise UnreadableFile("file-missing", f"{where} is missing.") from error
    except OSError as error:
        raise UnreadableFile("file-unreadable", f"{where} cannot be read: {error}.") from error


def read_table(root: Path, box: str, name: str, limit: int = TABLE_LIMIT) -> bytes:
    """The bytes of a table that `list_files` listed, unpacked when its name ends with `.gz`.

    Raises as `read_file` does, for a table that unpacks to more than `limit` bytes too.
    """
    data = read_file(root, box, name, limit)
    if not name.endswith(".gz"):
        return data
    where = f"{name} in {root / box}"
    found: list[bytes] = []
    size = 0
    while data:  # one gzip file after another
        reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            found.append(reader.decompress(data, limit + 1 - size))
        except zlib.error as error:
            raise UnreadableFile("file-damaged", f"{where} is damaged: {error}.") from error
        size += len(found[-1])
        if size > limit:
            raise UnreadableFile("file-too-large", f"{where} unpacks to over {limit >> 20} MiB.")
        if not reader.eof:
            raise UnreadableFile("file-damaged", f"{where} is damaged: it is cut short.")
        data = reader.unused_data.lstrip(b"\0")
    return b"".join(found)


def _read_plain(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise UnreadableFile("file-too-large", f"{path} is larger than {limit >> 20} MiB.")
    return data


def _read_member(archive: _Zip, name: str, limit: int) -> bytes:
    member = archive.members[name]
    try:
        check_member(member, limit)
        return unpack(member, memoryview(archive.read(member.offset, member.end)))
    except UnreadableFile as error:
        where = f"{name} in {archive.path}"
        raise UnreadableFile(error.reason, error.message.replace(name, where, 1)) from error


def _not_unpacked(root: Path, box: str, rows: dict[str, _Row]) -> Iterator[_Row]:
    """The files of a zip in a folder, without those that lie unpacked beside it.

    A file beside it that is the beginning of the zip's is taken out of `rows`.
    """
    folder = box[:-4]
    for row in _zip_files(root / box, box):
        name, size = row[1:3]
        beside = [one for one in (name, f"{folder}/{name}") if one in rows]
        if beside and rows[beside[0]][2] < size and _is_cut(root, box, name, beside[0]):
            del rows[beside[0]]
            beside = []
        if not beside:
            yield row


def _is_cut(root: Path, box: str, name: str, unpacked: str) -> bool:
    """Whether an unpacked file is the beginning of its member in the zip, and not an edited one."""
    try:
        whole = read_file(root, box, name, TABLE_LIMIT)
        return whole.startswith((root / unpacked).read_bytes())
    except UnreadableFile:
        return False
    except OSError:
        return True


def _folder_files(root: Path) -> Iterator[_Row]:
    """Walk a folder, through links to folders too (large sets often lie on another disk)."""
    waiting, seen = [(root, "")], {os.path.realpath(root)}
    while waiting:
        folder, prefix = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            raise BadData(f"{folder} cannot be listed: {error.strerror}.") from error
        for entry in entries:
            name = prefix + entry.name
            if not _is_text(name):
                raise BadData(
                    f"{os.fsencode(folder / entry.name)!r} has a name that is not UTF-8: "
                    "rename it (convmv does whole folders)."
                )
            if entry.is_file():
                status = entry.stat()
                yield "", name, status.st_size, f"m{status.st_mtime_ns}"
            elif entry.is_dir() and (real := os.path.realpath(entry.path)) not in seen:
                seen.add(real)
                waiting.append((folder / entry.name, f"{name}/"))


def _zip_files(path: Path, box: str) -> Iterator[_Row]:
    for member in _zip_at(path).members.values():
        yield box, member.name, member.size, f"c{member.crc:08x}"


class _Zip:
    """An open zip with its directory."""

    def __init__(self, path: Path, file: BinaryIO, members: Mapping[str, ZipMember]) -> None:
        self.path, self.members = path, members
        self._file = file

    def __del__(self) -> None:
        self._file.close()

    def read(self, start: int, end: int) -> bytes:
        """The bytes [start, end) of the zip's file."""
        # Without a file position, so that threads may share the file.
        return os.pread(self._file.fileno(), end - start, start)


def _zip_at(path: Path) -> _Zip:
    try:
        status = path.stat()
    except OSError as error:
        raise BadData(f"{path} cannot be opened: {error.strerror}.") from error
    return _opened_zip(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _opened_zip(path: Path, *_key: int) -> _Zip:
    """An open zip, cached: the directory of a zip of 100,000 files takes a second to read."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadData(f"{path} cannot be opened: {error.strerror}.") from error
    with ExitStack() as stack:
        stack.callback(file.close)
        try:
            found = _Zip(path, file, read_directory(zipfile.ZipFile(file), path))
        except UnicodeDecodeError as error:
            raise BadData(f"{path} holds a name that is not UTF-8: pack it again.") from error
        except DAMAGED as error:
            file.seek(0)
            fault = (
                "is a damaged or truncated zip: fetch it again, or remove it if what it holds "
                "lies unpacked beside it"
                if file.read(4) == b"PK\x03\x04"
                else "is not a zip: give a folder or a zip"
            )
            raise BadData(f"{path} {fault}.") from error
        stack.pop_all()
        return found


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
