"""What files a tar holds and where, found without extracting or trusting anything in it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from artsound.shards import tar

_MAX_READ = 1 << 20  # a header needs no more


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in a shard: its data are `size` bytes from `offset` on."""

    name: str
    offset: int
    size: int


def scan(file: IO[bytes], size: int) -> Iterator[Member]:
    """The files in a tar of `size` bytes, in order.

    Raises tarfile.TarError for anything that a shard must not hold: links, folders, devices,
    sparse files, names that lead elsewhere or are not printable, a name that occurs twice, sizes
    beyond the end, compression, a missing end.
    """
    seen: set[str] = set()
    end = 0
    with tarfile.open(fileobj=_Bounded(file), mode="r:", errorlevel=2) as archive:
        for info in archive:
            name = info.name
            if not info.isreg() or info.issparse():
                raise tarfile.TarError(f"{name!r} is not a plain file")
            if name.startswith("/") or "\\" in name or not name.isprintable():
                raise tarfile.TarError(f"the name {name!r} is not allowed")
            if {"", ".", ".."} & set(name.split("/")):
                raise tarfile.TarError(f"the name {name!r} leads out of its folder")
            if name in seen:
                raise tarfile.TarError(f"the name {name!r} occurs twice")
            seen.add(name)
            end = info.offset_data + info.size
            if info.size < 0 or end > size:
                raise tarfile.TarError(f"{name!r} claims {info.size} bytes, more than there are")
            yield Member(name, info.offset_data, info.size)
    file.seek(end + (-end % tar.BLOCK))
    if file.read(len(tar.END)) != tar.END:
        raise tarfile.TarError(f"no end of the archive follows byte {end}: it is cut or damaged")


def key_of(name: str) -> tuple[str, str]:
    """A member's key and extension in small letters, as WebDataset parts them: at the first dot."""
    folder, slash, base = name.rpartition("/")
    key, _, extension = base.partition(".")
    return f"{folder}{slash}{key}", extension.lower()


class _Bounded(io.RawIOBase):
    """A file that will not be read in large pieces: a header that asks for one is hostile."""

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
