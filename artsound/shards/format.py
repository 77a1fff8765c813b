"""The bytes of shards: tar headers, scanning untrusted tars, and writing one shard.

Headers are POSIX.1-1988 ustar, as every tar program and WebDataset reader understands it: regular
files only, mode 0644, owner 0, modification time 0, so that equal samples give equal shards. A name
that ustar has no room or letters for is preceded by a POSIX.1-2001 (pax) header. Tars are scanned
without extracting or trusting anything in them.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from artsound.columns import sample_of
from artsound.errors import BadData
from artsound.storage import atomic_write

BLOCK = 512
END = bytes(2 * BLOCK)  # two zero blocks close an archive
READ_AHEAD = 1 << 16  # bytes read at once from a tar whose headers and .json are looked at
LARGEST = 8**11 - 1  # the size field has eleven octal digits


def header(name: str, size: int) -> bytes:
    """Return the bytes that precede a file in a tar; equal arguments give equal bytes.

    Args:
        name: Name of the member.
        size: Its size in bytes.

    Raises:
        ValueError: The name is empty, not printable or leads elsewhere, or the size is over 8 GiB.
    """
    if not name.isprintable() or {"", ".", ".."} & set(name.split("/")):
        raise ValueError(f"{name!r} cannot be a member's name")
    if not 0 <= size <= LARGEST:
        raise ValueError(f"{name!r} has {size} bytes, too many for a tar member")
    if name.isascii() and len(name) <= 100:
        return _block(name.encode("ascii"), size, b"0")
    encoded = name.encode("utf-8")
    length = len(encoded) + len(" path=\n")
    length += len(str(length + len(str(length))))
    record = b"%d path=%s\n" % (length, encoded)
    short = name.encode("ascii", errors="replace")[:100]  # for programs that know no pax headers
    extra = _block(b"PaxHeader", len(record), b"x") + record + padding(len(record))
    return extra + _block(short, size, b"0")


# What every header has after the name, the size, and the kind of member.
_OWNED = b"0000644\0" + b"0000000\0" * 2  # mode; owner, group
_TIME = b"00000000000\0"  # modification time
_REST = b"".join(
    [
        bytes(100),  # link target
        b"ustar\x0000",
        bytes(64),  # names of owner and group
        bytes(16),  # device
        bytes(167),  # name prefix, filler
    ]
)
_SUM = sum(_OWNED) + sum(_TIME) + sum(b" " * 8) + sum(_REST)  # the checksum counts as blank


def _block(name: bytes, size: int, kind: bytes) -> bytes:
    """One header; `kind` is 0 for a regular file, x for what the next header has no room for."""
    length = b"%011o\0" % size
    checksum = b"%06o\0 " % (_SUM + sum(name) + sum(length) + kind[0])
    return b"".join((name.ljust(100, b"\0"), _OWNED, length, _TIME, checksum, kind, _REST))


def padding(size: int) -> bytes:
    """Return the zeros that fill a member of `size` bytes up to a whole block of 512."""
    return bytes(-size % BLOCK)


_MAX_READ = 1 << 20  # a header needs no more


@dataclass(frozen=True, slots=True)
class TarMember:
    """A regular file in a shard: its data are `size` bytes at `offset`."""

    name: str
    offset: int
    size: int


def scan_tar(
    file: IO[bytes],
    size: int,
    *,
    external: bool = False,
    skip: Callable[[str, str], object] | None = None,
) -> Iterator[TarMember]:
    """Yield the files in a tar, in order.

    Args:
        file: The tar, open for reading.
        size: Its size in bytes.
        external: Whether the tar was made elsewhere, such as by `tar`. Then it may also have
            folders, hard links to earlier files (their data are those files'), names that begin
            with ``./``, a label, and no end blocks; files whose names are not ``key.extension``,
            such as the ``._…`` files of macOS, are left out.
        skip: Called with the name of a member that a shard must not have, and a sentence that
            says why; the member is then left out.

    Raises:
        tarfile.TarError: It has something that a shard must not have: links, folders, devices,
            sparse files, names that lead elsewhere or are not printable, a name that occurs
            twice, names that differ only in the case of the extension, sizes beyond the end,
            compression, a missing end, other data behind it.
    """
    if (plain := _plain_members(file, size)) is not None:
        yield from plain
        if external:
            _check_rest(file, size)
        return
    file.seek(0)
    seen: dict[str, TarMember] = {}
    names: dict[tuple[str, str], str] = {}
    end = 0
    with tarfile.open(fileobj=_HeaderReader(file), mode="r:", errorlevel=2) as archive:
        for info in archive:
            name = _plain_name(info.name) if external else info.name
            end = archive.offset  # of the next header
            if external and (info.isdir() or name == "." or info.type == _LABEL):
                continue
            if info.type == _INCREMENTAL:
                raise tarfile.TarError(
                    "it is an incremental archive: pack it without --listed-incremental"
                )
            beyond = info.size < 0 or info.offset_data + info.size > size
            if beyond and not info.islnk() and not info.issparse():
                raise tarfile.TarError(f"{name!r} claims {info.size} bytes, more than there are")
            linked = seen.get(_plain_name(info.linkname)) if external and info.islnk() else None
            fault = _member_fault(info, name, linked, external) or (
                f"the name {name!r} occurs twice" if name in seen else ""
            )
            if not fault:
                source = linked or TarMember("", info.offset_data, info.size)
                member = seen[name] = TarMember(name, source.offset, source.size)
                key, extension = key_of(name)
                if external and (not extension or key.endswith("/") or not key):
                    continue
                other = names.setdefault((key, extension), name)
                if other == name or not extension:
                    yield member
                    continue
                fault = f"{other!r} and {name!r} differ in nothing but case"
            if skip is None:
                raise tarfile.TarError(fault)
            skip(name, fault)
    file.seek(end)
    rest = file.read(len(END))
    if rest != END and not (external and not any(rest)):
        raise tarfile.TarError(f"no end of the archive follows byte {end}: it is cut or damaged")
    if external:
        _check_rest(file, size)


_LABEL, _INCREMENTAL = b"V", b"D"  # types of members that GNU tar alone writes
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link: pack what it points to, with --dereference",
    tarfile.LNKTYPE: "a hard link: pack its data, with --hard-dereference",
    tarfile.DIRTYPE: "a folder: leave it out",
    tarfile.CHRTYPE: "a device: leave it out",
    tarfile.BLKTYPE: "a device: leave it out",
    tarfile.FIFOTYPE: "a pipe: leave it out",
    tarfile.GNUTYPE_SPARSE: "a sparse file: pack it without --sparse",
}


def _member_fault(
    info: tarfile.TarInfo, name: str, linked: TarMember | None, external: bool
) -> str:
    """What is wrong with a member that is whole; empty if nothing."""
    if external and info.islnk():
        if linked is None:
            return f"{name!r} is a link to {info.linkname!r}, which is not before it"
    elif not info.isreg() or info.issparse():
        kind = tarfile.GNUTYPE_SPARSE if info.issparse() else info.type
        what = _KINDS.get(kind, f"of the type {kind!r}: leave it out")
        return f"{name!r} is not a plain file but {what}"
    if any("\udc80" <= letter <= "\udcff" for letter in name):
        shown = name.encode("utf-8", "surrogateescape")
        return f"the name {shown!r} is not UTF-8: rename the file"
    if name.startswith("/") or "\\" in name or not name.isprintable():
        return f"the name {name!r} is not allowed: rename the file"
    if {"", ".", ".."} & set(name.split("/")):
        return f"the name {name!r} leads out of its folder: rename the file"
    return ""


def _check_rest(file: IO[bytes], size: int) -> None:
    """Raise TarError if other than zeros follow, as where archives were put together by `cat`."""
    at = file.tell()
    while at < size:
        data = file.read(_MAX_READ)
        if not data:
            return
        if any(data):
            raise tarfile.TarError(
                f"other data follow the end of the archive at byte {at}: put archives together "
                "with `tar --concatenate`"
            )
        at += len(data)


def _plain_members(file: IO[bytes], size: int) -> list[TarMember] | None:
    """The files of a tar all of whose headers are as `header` writes them, without pax headers.

    None for any other tar, sound or not. It takes a tenth of the time of tarfile.
    """
    members: list[TarMember] = []
    seen: set[tuple[str, str]] = set()
    at = 0
    while True:
        file.seek(at)
        block = file.read(BLOCK)
        if block == END[:BLOCK]:
            return members if file.read(BLOCK) == END[BLOCK:] else None
        try:
            name = block[: block.index(0)].decode("ascii")
            length = int(block[124:135], 8)
            written = header(name, length)
        except ValueError:
            return None
        key = key_of(name)
        at += BLOCK + length
        odd = not key[0] or key[0].endswith("/") or not key[1] or "\\" in name
        if block != written or at > size or key in seen or odd:
            return None
        seen.add(key)
        members.append(TarMember(name, at - length, length))
        at += -length % BLOCK


def _plain_name(name: str) -> str:
    """A name without the ``./`` that `tar` puts before what it finds in a folder."""
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name or "."


def key_of(name: str) -> tuple[str, str]:
    """Split a member's name at its first dot, as WebDataset does.

    Returns:
        The key, with its folder, and the extension in lower case.
    """
    folder, slash, base = name.rpartition("/")
    key, _, extension = base.partition(".")
    return f"{folder}{slash}{key}", extension.lower()


class _HeaderReader(io.RawIOBase):
    """A file that refuses reads of large pieces, which only a hostile header asks for."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_READ:
            raise tarfile.TarError(f"a header asks for {size} bytes")
        return self.file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()


# Writing a shard: once from front to back. The digest of one stretch of bytes is computed while the
# kernel writes that stretch, so hashing takes no extra time on a machine with a second core.

_STRETCH = 4 << 20  # bytes handed over at once

Span = tuple[int, int]  # offset of a member's data in the shard, and its size


@dataclass(frozen=True, slots=True)
class Shard:
    """One entry of index.json: a shard, its size and its digest."""

    name: str
    split: str
    samples: int
    bytes: int
    sha256: str
    first_key: str
    last_key: str


@dataclass(frozen=True, slots=True)
class Placed:
    """The positions of the members of one sample in a shard, by extension."""

    key: str
    members: Mapping[str, Span]


@dataclass(frozen=True, slots=True)
class Packed:
    """A sample as its bytes are in another shard: `members` are placed from their beginning."""

    data: bytes
    members: Mapping[str, Span]


def write_shard(
    path: Path, split: str, samples: Iterable[tuple[str, Mapping[str, bytes] | Packed]]
) -> tuple[Shard, list[Placed]]:
    """Write a shard, completely or not at all.

    Args:
        path: The new shard.
        split: The split of its samples.
        samples: (key, {extension: bytes}) of each sample, or its bytes in another shard. Keys
            ascend and have no dot but in a folder (a key in a WebDataset ends at the first one
            after the last slash). Members are written in the mapping's order.

    Returns:
        The shard's entry for index.json, and the positions of its samples' members.

    Raises:
        BadData: A bad key, no sample, or a disk that cannot be written.
    """
    sha256 = hashlib.sha256()
    placed: list[Placed] = []
    offset = waiting = 0
    stretch: list[bytes] = []
    with atomic_write(path) as file, ThreadPoolExecutor(1) as hasher:

        def digest() -> None:
            for data in stretch:
                sha256.update(data)

        def hand_over() -> None:
            hashed = hasher.submit(digest)
            file.writelines(stretch)
            hashed.result()
            stretch.clear()

        for key, members in samples:
            _check_key(path, key, placed[-1].key if placed else "")
            if isinstance(members, Packed):
                pieces, within = [members.data], members.members
            else:
                pieces, within = _pack(key, members)
            spans = {one: (offset + at, size) for one, (at, size) in within.items()}
            stretch += pieces
            size = sum(map(len, pieces))
            offset += size
            waiting += size
            if waiting >= _STRETCH:
                hand_over()
                waiting = 0
            placed.append(Placed(key, spans))
        if not placed:
            raise BadData(f"{path} would hold no sample: there is nothing to write.")
        stretch.append(END)
        hand_over()
    shard = Shard(
        name=path.name,
        split=split,
        samples=len(placed),
        bytes=offset + len(END),
        sha256=sha256.hexdigest(),
        first_key=placed[0].key,
        last_key=placed[-1].key,
    )
    return shard, placed


def _pack(key: str, members: Mapping[str, bytes]) -> tuple[list[bytes], dict[str, Span]]:
    """The bytes of a sample in a shard, and the positions of its members in them."""
    pieces: list[bytes] = []
    spans: dict[str, Span] = {}
    at = 0
    for extension, data in members.items():
        block, filler = header(f"{key}.{extension}", len(data)), padding(len(data))
        spans[extension] = (at + len(block), len(data))
        pieces += (block, data, filler)
        at += len(block) + len(data) + len(filler)
    return pieces, spans


def sample_json(row: Mapping[str, Any]) -> bytes:
    """Return the .json member of a sample: one line, fields in the row's order, no NaN, no null.

    Args:
        row: The fields as the index has them.
    """
    text = json.dumps(sample_of(row), ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
    return text.encode()


def _check_key(path: Path, key: str, before: str) -> None:
    base = key.rpartition("/")[2]
    if not base or "." in base or {"", ".", ".."} & set(key.split("/")) or not key.isprintable():
        raise BadData(
            f"{path} cannot hold the key {key!r}: a key has no dot, but in a folder, and nothing "
            "that is not printable."
        )
    if key <= before:
        raise BadData(f"{path} cannot hold the key {key!r} after {before!r}: keys must ascend.")
