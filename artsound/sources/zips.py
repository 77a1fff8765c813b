"""What a zip's directory says, and the bytes of its members: the same rules on disk and by range.

    members = read_directory(zipfile.ZipFile(path), path)
    data = unpack(members["fma_large/000/000002.mp3"], packed_from_its_local_header_on)

A zip is untrusted: no size or offset in it is believed before it is compared with the file and
with a limit, and no decompressor gives more than one byte beyond the declared size. The methods
are those of Python's zipfile: stored, Deflate, BZIP2 (as the FMA publishes its zips) and LZMA.
"""

from __future__ import annotations

import bz2
import lzma
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from artsound.errors import BadData

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
