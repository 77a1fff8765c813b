"""The files of a source, in a folder, a zip, or a folder with zips in it, and their bytes.

    files = list_files(Path("fma"), zips={"fma_metadata.zip", "fma_large.zip"})
    data = read_file(Path("fma"), box="fma_large.zip", name="fma_large/000/000002.mp3")

Nothing is ever extracted. A zip is hostile until checked: one with names that climb out of it, or
with links, is refused whole; a member that declares or turns out to hold more than the limit is
not read. The same rules hold for zips on a server, whose members are read by range.
"""

from __future__ import annotations

import bz2
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, BinaryIO

import polars as pl

from artsound.errors import BadData, BadUsage
from artsound.untrusted import check_path, near_path

# What a zip's directory says, and the bytes of its members: the same rules on disk and by range.
#
#     members = read_directory(zipfile.ZipFile(path), path)
#     data = unpack(members["fma_large/000/000002.mp3"], packed_from_its_local_header_on)
#
# A zip is untrusted: no size or offset in it is believed before it is compared with the file and
# with a limit, and no decompressor gives more than one byte beyond the declared size. The methods
# are those of Python's zipfile: stored, Deflate, BZIP2 (as the FMA publishes its zips) and LZMA.

LOCAL_HEADER = struct.Struct("<4s5H3L2H")
# What may lie between a member's local header and its packed bytes: its name, an extra field.
_LONGEST_NAMES = 2 * 0xFFFF

# JPEG and MP3 hardly shrink and CSV shrinks tenfold; a thousandfold is what a bomb does.
_BOMB_RATIO = 1000
_BOMB_SIZE = 16 << 20

_ENCRYPTED, _PATCH, _STRONGLY_ENCRYPTED, _UTF8 = 0x1, 0x20, 0x40, 0x800
_UNICODE_PATH = 0x7075  # Info-ZIP's extra field with a member's name in UTF-8
_AES = 99
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_OTHER_METHODS = {9: "Deflate64", 20: "Zstandard", 93: "Zstandard", 95: "XZ", 98: "PPMd"}

# What zipfile and the decompressors raise for damage, somewhere: a name may be no text, an
# offset no number that a file has.
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(ValueError, OverflowError, EOFError, OSError, NotImplementedError, MemoryError),
)


class UnreadableFile(BadData):
    """One file of a source that cannot be read, the source itself being sound.

    `reason` is a short code for the rejects.
    """

    def __init__(self, reason: str, message: str) -> None:
        # Both go to the base class so that the error survives pickling between processes.
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One file in a zip.

    `name` has `/` between its steps; `stored_name` is the name's bytes in the zip. `offset` is
    that of the local header. No byte at or behind `end` belongs to the member.
    """

    name: str
    stored_name: bytes
    offset: int
    end: int
    packed: int
    size: int
    crc: int
    method: int
    flags: int


def read_directory(archive: zipfile.ZipFile, where: str | Path) -> dict[str, ZipMember]:
    """The files in a zip by name; of several members with the very same name, the last.

    Names without the UTF-8 flag are those of the extra field 0x7075, else UTF-8, else cp437;
    backslashes separate folders. Raises BadData, for the whole zip, for a name that leaves it, a
    link, and two members whose names differ in the zip but are one file here.
    """
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    ends = [info.header_offset for info in infos[1:]] + [archive.start_dir]
    end_of = {id(info): end for info, end in zip(infos, ends, strict=True)}
    members: dict[str, ZipMember] = {}
    for info in archive.infolist():
        stored = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")
        name = _name(info, stored)
        if not is_safe_name(name):
            raise BadData(f"{where} is refused: it holds the unsafe name {name!r}.")
        if name.endswith("/"):
            continue
        if stat.S_ISLNK(info.external_attr >> 16):
            raise BadData(f"{where} is refused: {name!r} in it is a link, not a file.")
        if name in members and members[name].stored_name != stored:
            raise BadData(
                f"{where} is refused: two files in it are called {name!r} ({stored!r} and "
                f"{members[name].stored_name!r}); pack it again."
            )
        offset, packed = info.header_offset, info.compress_size
        most = min(offset + LOCAL_HEADER.size + _LONGEST_NAMES + packed, archive.start_dir)
        members[name] = ZipMember(
            name=name, stored_name=stored, offset=offset, end=min(end_of[id(info)], most),
            packed=packed, size=info.file_size, crc=info.CRC, method=info.compress_type,
            flags=info.flag_bits,
        )  # fmt: skip
    folders = {name.rpartition("/")[0] for name in members}
    if both := members.keys() & folders:
        raise BadData(f"{where} is refused: {min(both)!r} in it is both a file and a folder.")
    return members


def is_safe_name(name: str) -> bool:
    """Whether a member's name stays inside the zip, on any system."""
    steps = name.replace("\\", "/").split("/")
    return bool(steps[0]) and steps[0][1:] != ":" and ".." not in steps and "\0" not in name


def check_member(member: ZipMember, limit: int) -> None:
    """Raise UnreadableFile for a member that is not to be read, judging by the directory alone.

    Its reason is `file-encrypted`, `file-unsupported-method`, `file-too-large` (over `limit`
    bytes, or a bomb) or `file-damaged` (it reaches into what follows it).
    """
    name = member.name
    if member.flags & (_ENCRYPTED | _STRONGLY_ENCRYPTED) or member.method == _AES:
        raise UnreadableFile("file-encrypted", f"{name} is encrypted: unpack it with its password.")
    if member.method not in _METHODS or member.flags & _PATCH:
        method = _OTHER_METHODS.get(member.method, f"method {member.method}")
        raise UnreadableFile(
            "file-unsupported-method",
            f"{name} is packed with {method}, not stored or packed with Deflate, BZIP2 or LZMA: "
            "unpack the zip (7z x), and give the folder.",
        )
    bomb = member.size > _BOMB_SIZE and member.size > _BOMB_RATIO * member.packed
    if max(member.size, member.packed) > limit or bomb:
        raise UnreadableFile(
            "file-too-large",
            f"{name} claims {member.size:,} bytes unpacked from {member.packed:,}, which is not "
            "believed.",
        )
    least = LOCAL_HEADER.size + len(member.stored_name) + member.packed
    if member.offset < 0 or member.offset + least > member.end:
        raise UnreadableFile(
            "file-damaged", f"{name} is damaged: it reaches beyond its place in the zip."
        )


def unpack(member: ZipMember, data: memoryview) -> bytes:
    """The bytes of a member out of its zip's bytes from its local header to its end.

    Call `check_member` before. Raises UnreadableFile (`file-damaged`) when they are not those
    that the directory declares; never holds more than the declared size and one byte.
    """
    try:
        plain = _unpacked(member, data)
    except DAMAGED as error:
        raise UnreadableFile("file-damaged", f"{member.name} is damaged: {error}.") from error
    if len(plain) != member.size or zlib.crc32(plain) != member.crc:
        raise UnreadableFile(
            "file-damaged",
            f"{member.name} is damaged: it does not have the size and CRC-32 that its zip "
            "declares.",
        )
    return plain


def _unpacked(member: ZipMember, data: memoryview) -> bytes:
    if len(data) < LOCAL_HEADER.size or bytes(data[:4]) != b"PK\x03\x04":
        raise zipfile.BadZipFile("it has no local header where the directory says")
    *_, name_length, extra_length = LOCAL_HEADER.unpack_from(data)
    names = LOCAL_HEADER.size + name_length
    if bytes(data[LOCAL_HEADER.size : names]) != member.stored_name:
        raise zipfile.BadZipFile("its local header has another name")
    packed = data[names + extra_length :][: member.packed]
    if len(packed) != member.packed:
        raise zipfile.BadZipFile("it is cut short")
    most = member.size + 1  # one byte more than declared shows a lie without unpacking it
    if member.method == zipfile.ZIP_STORED:
        return bytes(packed[:most])
    if member.method == zipfile.ZIP_DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, most)
    if member.method == zipfile.ZIP_BZIP2:
        return bz2.BZ2Decompressor().decompress(packed, most)
    return _lzma(packed, member.size)


def _lzma(packed: memoryview, size: int) -> bytes:
    """A member's LZMA stream: two bytes of version, the length of the properties, those, data."""
    if len(packed) < 9 or bytes(packed[2:4]) != b"\x05\x00":
        raise zipfile.BadZipFile("its LZMA properties are not five bytes long")
    packing, dictionary = struct.unpack_from("<BL", packed, 4)
    positions, literal = divmod(packing, 9)
    chain = {
        "id": lzma.FILTER_LZMA1,
        # The declared dictionary may be 4 GiB; none larger than the file is ever looked into.
        "dict_size": max(4096, min(dictionary, size)),
        "lc": literal,
        "lp": positions % 5,
        "pb": positions // 5,
    }
    reader = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chain])
    return reader.decompress(packed[9:], size + 1)


def _name(info: zipfile.ZipInfo, stored: bytes) -> str:
    """A member's name as its author saw it, its steps separated by `/`."""
    if info.flag_bits & _UTF8:
        name = info.orig_filename
    else:
        name = _unicode_path(info.extra, stored)
        if not name:
            try:
                name = stored.decode()
            except UnicodeDecodeError:
                name = info.orig_filename  # zipfile has read it as cp437
    return name.replace("\\", "/")


def _unicode_path(extra: bytes, stored: bytes) -> str:
    """The name in the extra field 0x7075, when there is one and it is of this very name."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and len(field) > 5 and field[0] == 1:
            (crc,) = struct.unpack_from("<L", field, 1)
            if crc == zlib.crc32(stored):
                try:
                    return field[5:].decode()
                except UnicodeDecodeError:
                    return ""
    return ""


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
    if not name.lower().endswith(".gz"):
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
            try:
                status = entry.stat()
            except OSError:  # a link to nothing or to itself, or a file that has just gone
                continue
            if stat.S_ISREG(status.st_mode):
                yield "", name, status.st_size, f"m{status.st_mtime_ns}"
            elif (
                stat.S_ISDIR(status.st_mode) and (real := os.path.realpath(entry.path)) not in seen
            ):
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
                else f"is {other}, not a zip: unpack it and give the folder, or pack it as a zip"
                if (other := archive_name(file))
                else "is not a zip: give a folder or a zip"
            )
            raise BadData(f"{path} {fault}.") from error
        stack.pop_all()
        return found


_ARCHIVES = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"\x04\x22\x4d\x18", "an LZ4 file"),
)


def archive_name(file: IO[bytes]) -> str:
    """What kind of archive other than a zip a file is, by its first bytes; "" if none."""
    file.seek(0)
    begin = file.read(512)
    if begin[257:262] == b"ustar":
        return "a tar archive"
    return next((name for start, name in _ARCHIVES if begin.startswith(start)), "")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
