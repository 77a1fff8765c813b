"""A source on disk, be it a folder, a zip, or a folder with zips in it: its files, and their bytes.

    files = list_files(Path("fma"), zips={"fma_metadata.zip", "fma_large.zip"})
    data = read_file(Path("fma"), box="fma_large.zip", name="fma_large/000/000002.mp3")

Nothing is ever extracted. A zip is hostile until checked: one with names that climb out of it,
or with links, is refused whole; a member that declares or turns out to hold more than the limit
is not read.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

import polars as pl

from artsound.errors import BadData, BadUsage

MEDIA_LIMIT = 512 << 20
TABLE_LIMIT = 2 << 30

# JPEG and MP3 hardly shrink and CSV shrinks tenfold; a thousandfold is a bomb's way.
_BOMB_RATIO = 1000
_BOMB_SIZE = 16 << 20

# What zipfile raises for damage, somewhere: a name in a local header may be no text, an offset
# no number that a file has.
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, OverflowError, EOFError)

_SCHEMA = {"box": pl.String, "name": pl.String, "size": pl.Int64, "stamp": pl.String}


class UnreadableFile(BadData):
    """One file of a source that cannot be read, the source itself being sound.

    `reason` is a short code for the quarantine.
    """

    def __init__(self, reason: str, message: str) -> None:
        # Both go to the base class so that the error survives pickling between processes.
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


def check_place(root: Path) -> None:
    """Raise BadUsage when there is nothing at the place of a source."""
    if not root.exists():
        raise BadUsage(f"{root} does not exist: give the folder or zip that holds the source.")


def list_files(root: Path, zips: Collection[str] | None = None) -> pl.DataFrame:
    """The files of a source, sorted: columns box, name, size (bytes) and stamp.

    `box` is the zip that holds the file, relative to `root`; empty for a plain file, and when
    `root` is itself a zip. `name` is the path inside the box, with `/`. `stamp` changes when the
    content does: the CRC-32 of a zip member, the time of change of a plain file.

    Zips directly in a folder are opened, but for those beside a folder of the same name, which
    are taken to be unpacked there; with `zips`, only those of these names. Raises BadUsage
    when `root` does not exist, BadData when it is empty, not a zip, damaged or unsafe.
    """
    check_place(root)
    if root.is_dir():
        rows = list(_folder_files(root))
        for name in sorted(row[1] for row in rows if "/" not in row[1]):
            unpacked = (root / name[:-4]).is_dir()
            if name.lower().endswith(".zip") and not unpacked and (zips is None or name in zips):
                rows.extend(_zip_files(root / name, name))
    else:
        rows = list(_zip_files(root, ""))
    if not rows:
        raise BadData(f"{root} is empty: give the folder or zip that holds the source.")
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row").sort("box", "name")


def find_file(files: pl.DataFrame, name: str) -> tuple[str, str] | None:
    """Box and path of the listed file called `name`, the one least deep; None without any."""
    found = files.filter((pl.col("name") == name) | pl.col("name").str.ends_with(f"/{name}"))
    if found.is_empty():
        return None
    best = found.sort(pl.col("name").str.len_chars(), "box", "name").row(0, named=True)
    return best["box"], best["name"]


def read_file(root: Path, box: str, name: str, limit: int = MEDIA_LIMIT) -> bytes:
    """The bytes of one file that `list_files` listed.

    Raises UnreadableFile when it is gone, damaged, encrypted or larger than `limit` bytes, and
    BadData when the zip around it cannot be opened any more.
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
    except _DAMAGED as error:
        raise UnreadableFile("file-damaged", f"{where} is damaged: {error}.") from error
    except (RuntimeError, NotImplementedError) as error:
        raise UnreadableFile("file-encrypted", f"{where} cannot be unpacked: {error}.") from error
    except OSError as error:
        raise UnreadableFile("file-unreadable", f"{where} cannot be read: {error}.") from error


def _read_plain(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise UnreadableFile("file-too-large", f"{path} is larger than {limit >> 20} MiB.")
    return data


def _read_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    info = archive.getinfo(name)
    bomb = info.file_size > _BOMB_SIZE and info.file_size > _BOMB_RATIO * info.compress_size
    if info.file_size > limit or bomb:
        raise UnreadableFile(
            "file-too-large",
            f"{name} in {archive.filename} claims {info.file_size} bytes unpacked from "
            f"{info.compress_size}, which is not believed.",
        )
    # zipfile stops at the declared size and checks the CRC-32.
    with archive.open(info) as file:
        return file.read()


def _folder_files(root: Path) -> Iterator[tuple[str, str, int, str]]:
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


def _zip_files(path: Path, box: str) -> Iterator[tuple[str, str, int, str]]:
    for info in _zip_at(path).infolist():
        if not info.is_dir():
            yield box, info.filename, info.file_size, f"c{info.CRC:08x}"


def _zip_at(path: Path) -> zipfile.ZipFile:
    try:
        status = path.stat()
    except OSError as error:
        raise BadData(f"{path} cannot be opened: {error.strerror}.") from error
    # The process is part of the key: a handle inherited by fork shares its file position.
    return _opened_zip(path, status.st_size, status.st_mtime_ns, os.getpid())


@lru_cache(maxsize=8)
def _opened_zip(path: Path, *_key: int) -> zipfile.ZipFile:
    """An open zip, kept: the directory of a zip of 100,000 files takes a second to read."""
    try:
        archive = zipfile.ZipFile(path)
    except UnicodeDecodeError as error:
        raise BadData(f"{path} holds a name that is not UTF-8: pack it again.") from error
    except (*_DAMAGED, NotImplementedError) as error:
        with path.open("rb") as file:
            begins_well = file.read(4) == b"PK\x03\x04"
        fault = (
            "is a damaged or truncated zip: fetch it again"
            if begins_well
            else "is not a zip: give a folder or a zip"
        )
        raise BadData(f"{path} {fault}.") from error
    except OSError as error:
        raise BadData(f"{path} cannot be opened: {error.strerror}.") from error
    for info in archive.infolist():
        if not is_safe_name(info.filename):
            raise BadData(f"{path} is refused: it holds the unsafe name {info.filename!r}.")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise BadData(f"{path} is refused: {info.filename!r} in it is a link, not a file.")
    return archive


def is_safe_name(name: str) -> bool:
    """Whether a member's name stays inside the zip, on any system."""
    steps = name.replace("\\", "/").split("/")
    return bool(steps[0]) and steps[0][1:] != ":" and ".." not in steps and "\0" not in name


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
