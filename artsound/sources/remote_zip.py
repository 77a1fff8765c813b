"""Members of a zip on a server, by byte range: of 93 GiB, only the wanted clips travel.

    archive = open_remote_zip(url, cache=folder, client=client)
    for name, data in archive.read(names, limit=512 << 20): ...

The central directory (ZIP64 too) is read once and kept in `cache`; later opens ask the server
only whether the file is still the same. Neighbouring members travel in one request, several
requests at a time, and each member's CRC-32 is checked. Members may be stored or packed with
Deflate, BZIP2 (as the FMA's zips are) or LZMA.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from artsound.errors import BadData
from artsound.sources.files import (
    DAMAGED,
    UnreadableFile,
    ZipMember,
    check_member,
    read_directory,
    unpack,
)
from artsound.sources.http import FAULTS, Client, Tries, read_body, status, unsigned
from artsound.storage import digest, read_json, sha256_bytes, write_bytes, write_json

_GAP = 64 << 10  # a smaller gap is cheaper to read than another request
_LARGEST = 8 << 20  # bytes per request, so that several connections share the work
_TAIL = 128 << 10  # first guess of how much the central directory needs
_LONGEST_DIRECTORY = 64 << 20  # 600,000 names and more; FMA's sets have 106,574
_AHEAD = 128 << 20  # bytes that may wait in memory, packed and unpacked, beyond the one in hand

_Answers = list[tuple[str, bytes | UnreadableFile]]


@dataclass(frozen=True)
class RemoteZip:
    """A zip on a server, its directory read. Make one with `open_remote_zip`."""

    url: str
    validator: str
    members: dict[str, ZipMember]
    client: Client

    def read(
        self, names: Collection[str], *, limit: int, connections: int = 8
    ) -> Iterator[tuple[str, bytes | UnreadableFile]]:
        """The bytes of the named members, in the zip's order; or why one is unavailable.

        A member that declares more than `limit` bytes, reaches beyond its place in the zip, is
        encrypted or packed by another method is not asked for. At most `connections` requests of
        8 MiB (more for a larger member) are under way, and 128 MiB of answers, or one member,
        wait. Raises BadData when the server fails or the zip changes meanwhile, KeyError for a
        name that is not in it.
        """
        chosen: list[ZipMember] = []
        for member in sorted({self.members[name] for name in names}, key=lambda m: m.offset):
            try:
                check_member(member, limit)
                chosen.append(member)
            except UnreadableFile as error:
                yield member.name, error
        with ThreadPoolExecutor(connections) as pool:
            waiting: deque[tuple[int, Future[_Answers]]] = deque()
            held = 0
            for group in _merge(chosen):
                size = _memory(group)
                # So that a slow answer holds up none behind it, twice as many as connections.
                while waiting and (len(waiting) == 2 * connections or held + size > _AHEAD):
                    done, answers = waiting.popleft()
                    yield from answers.result()
                    held -= done
                waiting.append((size, pool.submit(self._group, group)))
                held += size
            while waiting:
                yield from waiting.popleft()[1].result()

    def _group(self, group: list[ZipMember]) -> _Answers:
        """Fetch neighbours in one request and unpack them."""
        start = group[0].offset
        whole = memoryview(self._range(start, group[-1].end))
        answers: _Answers = []
        for member in group:
            try:
                data = unpack(member, whole[member.offset - start : member.end - start])
                answers.append((member.name, data))
            except UnreadableFile as error:
                answers.append((member.name, error))
        return answers

    def _range(self, start: int, end: int) -> bytes:
        return _get_range(self.client, self.url, start, end, self.validator)


def open_remote_zip(url: str, *, cache: Path, client: Client) -> RemoteZip:
    """The zip at `url`, its directory from `cache` where it is there and still true.

    Raises BadData when the server cannot be reached, has no such file, serves no byte ranges
    (the sentence says what to do then), or the file is no zip.
    """
    size, validator = _ask(client, url)
    place = unsigned(url)
    note = cache / f"{digest([place])[:16]}.directory.json"
    tail_path = note.with_suffix(".bin")
    version = {"url": place, "size": size, "validator": validator}
    tail = _cached(note, tail_path, version)
    if tail is None:
        tail = _directory_bytes(client, url, size, validator)
        write_bytes(tail_path, tail)
        write_json(note, {**version, "sha256": sha256_bytes(tail)})
    return RemoteZip(url, validator, _members(url, size, tail), client)


def _cached(note: Path, tail_path: Path, version: Mapping[str, object]) -> bytes | None:
    """The directory as it was read before; None if it is not there, is damaged, or is another's."""
    try:
        tail = tail_path.read_bytes()
        return tail if read_json(note) == {**version, "sha256": sha256_bytes(tail)} else None
    except (OSError, BadData):
        return None


def _ask(client: Client, url: str) -> tuple[int, str]:
    """Size and validator (ETag or date) of the file, by asking for its first byte."""
    with client.get(url, {"Range": "bytes=0-0"}) as response:
        if response.status_code == 200:
            raise BadData(
                f"{url} is on a server that does not serve byte ranges: fetch it whole (--limit 0 "
                "--rights any), or give a copy on this disk."
            )
        if response.status_code != 206:
            raise BadData(f"{url} answered {status(response)}: check the address.")
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        if not re.fullmatch(r"\d{1,18}", total):
            raise BadData(f"{url} does not tell its size: download it, and give the copy on disk.")
        etag = response.headers.get("ETag", "")
        strong = "" if etag.startswith("W/") else etag
        return int(total), strong or response.headers.get("Last-Modified", "")


def _directory_bytes(client: Client, url: str, size: int, validator: str) -> bytes:
    """The end of the file, from the central directory on."""
    length = min(size, _TAIL)
    tail = _get_range(client, url, size - length, size, validator)
    start = _directory_start(url, size, tail)
    if start < size - length:
        tail = _get_range(client, url, start, size - length, validator) + tail
    return tail


def _directory_start(url: str, size: int, tail: bytes) -> int:
    """Offset of the central directory, as the end records at the tail tell it."""
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        raise BadData(f"{url} is not a zip file, or is cut short.")
    start = int.from_bytes(tail[end + 16 : end + 20], "little")
    locator = tail.rfind(b"PK\x06\x07", 0, end)
    if start == 0xFFFFFFFF and locator >= 0:
        record = int.from_bytes(tail[locator + 8 : locator + 16], "little") - (size - len(tail))
        if not 0 <= record <= len(tail) - 56:
            raise BadData(f"{url} is a zip whose ZIP64 record cannot be found.")
        start = int.from_bytes(tail[record + 48 : record + 56], "little")
    if not 0 <= start <= size:
        raise BadData(f"{url} is a zip whose directory lies outside it.")
    if size - start > _LONGEST_DIRECTORY:
        raise BadData(
            f"{url} is a zip whose directory claims {size - start:,} bytes, which is not believed: "
            "download it, and give the copy on disk."
        )
    return start


class _Tail(io.RawIOBase):
    """A file of `size` bytes of which only the last ones are known; enough for zipfile."""

    def __init__(self, size: int, tail: bytes) -> None:
        self._size, self._tail, self._place = size, tail, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = base + offset
        return self._place

    def read(self, count: int = -1) -> bytes:
        start = self._place - (self._size - len(self._tail))
        if start < 0:
            raise zipfile.BadZipFile("the directory points outside itself")
        data = self._tail[start:] if count < 0 else self._tail[start : start + count]
        self._place += len(data)
        return data


def _members(url: str, size: int, tail: bytes) -> dict[str, ZipMember]:
    try:
        with zipfile.ZipFile(_Tail(size, tail)) as archive:  # type: ignore[arg-type]
            return read_directory(archive, url)
    except DAMAGED as error:
        raise BadData(f"{url} is not a zip file that can be read: {error}.") from error


def _merge(members: list[ZipMember]) -> list[list[ZipMember]]:
    """Runs of members (sorted by offset) that one request each should bring."""
    groups: list[list[ZipMember]] = []
    unpacked = 0
    for member in members:
        if groups:
            first, last = groups[-1][0], groups[-1][-1]
            near = member.offset - last.end <= _GAP and member.end - first.offset <= _LARGEST
            if near and unpacked + member.size <= 2 * _LARGEST:
                groups[-1].append(member)
                unpacked += member.size
                continue
        groups.append([member])
        unpacked = member.size
    return groups


def _memory(group: list[ZipMember]) -> int:
    """Bytes that a group takes, packed and unpacked."""
    return group[-1].end - group[0].offset + sum(member.size for member in group)


def _get_range(client: Client, url: str, start: int, end: int, validator: str) -> bytes:
    """Bytes [start, end) of the file at `url`, continued after every break."""
    if end <= start:
        return b""
    found = bytearray()
    tries = Tries(client.patience, url)
    while len(found) < end - start:
        headers = {"Range": f"bytes={start + len(found)}-{end - 1}"}
        if validator:
            headers["If-Range"] = validator
        before = len(found)
        try:
            with client.get(url, headers) as response:
                expected = f"bytes {start + before}-{end - 1}/"
                if response.status_code != 206:
                    raise BadData(f"{url} changed while it was read: run the same command again.")
                if not response.headers.get("Content-Range", "").startswith(expected):
                    raise BadData(f"{url} answers with other bytes than were asked for.")
                # Cut at the range: whatever a server sends behind it is not read.
                for chunk in read_body(response, end - start - before, client.patience):
                    found += chunk
        except FAULTS as error:
            tries.failed(error, len(found) - before)
        else:
            if len(found) == before:
                tries.failed(OSError("an empty answer"))
    return bytes(found)
