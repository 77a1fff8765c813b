"""Whole files over HTTP: resumed at any byte, checked while they stream, never half under a name.

What has come so far lies in `NAME.part` beside the final file, and `NAME.part.json` says which
version of the remote file it is. A final name is given only to bytes of the right size and,
where one is known, the right digest; of a zip, only when it is whole.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import zipfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from artsound.console import human_bytes
from artsound.errors import ArtSoundError, BadData
from artsound.sources.http import (
    FAULTS,
    Client,
    Tries,
    content_length,
    read_body,
    shown,
    status,
)
from artsound.sources.zips import DAMAGED
from artsound.stage import QUIET, Progress
from artsound.storage import make_folder, read_json, sync_folder, write_json

_CHUNK = 1 << 18  # what a broken connection may cost at most
_BEHIND = 32  # chunks that may wait to be hashed
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)$")


class _Hashed:
    """The digest of a growing file's first bytes, kept up while they stream."""

    def __init__(self, digest: str) -> None:
        self.name, _, self.wanted = digest.partition(":")
        self.restart()

    def restart(self) -> None:
        self.count = 0
        self._hash = hashlib.new(self.name) if self.name else None

    def add(self, data: bytes) -> None:
        self.count += len(data)
        if self._hash is not None:
            self._hash.update(data)

    def found(self) -> str:
        return self._hash.hexdigest() if self._hash is not None else ""

    def catch_up(self, part: Path, size: int) -> None:
        """Take in the first `size` bytes of a file that an earlier process left."""
        if self.count == size:
            return
        self.restart()
        if not size:
            return
        with part.open("rb") as file:
            while data := file.read(min(_CHUNK, size - self.count)):
                self.add(data)


class _Restart(Exception):
    """What has come so far is of no use: begin again at the first byte."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to be fetched. `digest` is like `sha1:497109…` (a name of hashlib's) or empty.

    `size` is the expected number of bytes; -1 when it is not known beforehand.
    """

    url: str
    digest: str = ""
    size: int = -1


def download(remote: RemoteFile, path: Path, *, client: Client, progress: Progress = QUIET) -> Path:
    """Fetch a remote file to `path`, continuing from what an earlier try left.

    A file that already has its final name is not fetched again, unless it is plainly not the
    file: a zip that is not whole, or a web page. Raises BadData, one sentence,
    when the server, the bytes or the disk are at fault; what has come so far is kept, unless it
    is known to be wrong.
    """
    if path.exists():
        if not _is_other(path, path.name):
            return path
        path.unlink()
    make_folder(path.parent)
    part = path.with_name(path.name + ".part")
    tries = Tries(client.patience, remote.url)
    hashed = _Hashed(remote.digest)
    began_anew = False
    progress.start(path.name, max(remote.size, 0), "bytes")
    try:
        while True:
            before = _size(part)
            try:
                _fetch_rest(remote, part, hashed, client, progress)
            except _Restart:
                _forget(part)
                if began_anew:
                    raise BadData(
                        f"{shown(remote.url)} changes while it is read: try again later."
                    ) from None
                began_anew = True
                continue
            except FAULTS as error:
                tries.failed(error, _size(part) - before)
                continue
            fault = _fault(remote, part, hashed) or _is_other(part, path.name)
            if not fault:
                break
            _forget(part)
            if began_anew:
                raise BadData(f"{shown(remote.url)} {fault}: it was not kept; try another mirror.")
            began_anew = True  # perhaps the part was stale: once more, from the first byte
    finally:
        progress.finish()
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)
    _forget(part)
    return path


def _fetch_rest(
    remote: RemoteFile, part: Path, hashed: _Hashed, client: Client, progress: Progress
) -> None:
    """Append to `part` what is missing of the remote file; network errors pass through."""
    have, seen = _size(part), _seen(part)
    validator = seen.get("etag") or seen.get("modified") or ""
    headers: dict[str, str] = {}
    # Without a validator, only a known digest can tell afterwards that both halves belong together.
    if have and (validator or remote.digest):
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    with client.get(remote.url, headers) as response:
        if response.status_code == 416 and "Range" in headers:
            if seen.get("size") == have:
                return
            raise _Restart
        if response.status_code == 206:
            start, total = _content_range(response)
            if start != have or "Range" not in headers:
                raise _Restart
        elif response.status_code == 200:
            start, total = 0, content_length(response)
        else:
            raise BadData(f"{shown(remote.url)} answered {status(response)}: check the address.")
        if remote.size >= 0 and total >= 0 and total != remote.size:
            raise BadData(
                f"{shown(remote.url)} is {total:,} bytes long, but should be {remote.size:,}: "
                "it is another version, or not the file at all."
            )
        _check_space(part, total - start)
        _remember(part, response, total)
        progress.total(total)
        progress.advance(start)
        hashed.catch_up(part, start)
        whole = total if total >= 0 else remote.size
        # Of a body without a length, no more than half of what the disk could take.
        most = whole - start if whole >= 0 else shutil.disk_usage(part.parent).free // 2
        body = read_body(response, most, client.patience)
        _append(body, part, hashed, progress)


def _append(body: Iterator[bytes], part: Path, hashed: _Hashed, progress: Progress) -> None:
    try:
        # Hashing keeps a core busy: it runs beside the reading, a few chunks behind.
        with (
            part.open("r+b" if hashed.count else "wb") as file,
            ThreadPoolExecutor(1) as hasher,
        ):
            file.seek(hashed.count)
            file.truncate()
            behind: deque[Future[None]] = deque()
            for chunk in body:
                file.write(chunk)
                behind.append(hasher.submit(hashed.add, chunk))
                if len(behind) > _BEHIND:
                    behind.popleft().result()
                progress.advance(len(chunk))
    except requests.exceptions.RequestException:
        raise
    except OSError as error:
        raise BadData(
            f"{part} cannot be written: {error.strerror or error}; make room, and run the same "
            "command again to go on from there."
        ) from error


def _fault(remote: RemoteFile, part: Path, hashed: _Hashed) -> str | None:
    """Why `part` may not become the file, or None: its digest and size are right."""
    hashed.catch_up(part, _size(part))
    size = _size(part)
    expected = remote.size if remote.size >= 0 else _seen(part).get("size", -1)
    if expected >= 0 and size != expected:
        return f"came as {size:,} bytes instead of {expected:,}"
    if hashed.found() != hashed.wanted:
        return f"has {hashed.name} {hashed.found()} instead of {hashed.wanted}"
    return None


def _is_other(path: Path, name: str) -> str:
    """Why a file is plainly not what its name says, or nothing."""
    with path.open("rb") as file:
        begin = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        if name.lower().endswith(".zip"):
            try:
                zipfile.ZipFile(file)
            except DAMAGED:
                page = begin.startswith((b"<!doctype", b"<html"))
                return "is a web page, not a zip" if page else "is not a whole zip"
        elif begin.startswith((b"<!doctype html", b"<html")) and not name.endswith(("html", "htm")):
            return "is a web page"
    return ""


def _content_range(response: requests.Response) -> tuple[int, int]:
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    if match is None:
        raise _Restart
    return int(match[1]), -1 if match[3] == "*" else int(match[3])


def _check_space(part: Path, missing: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if missing > free:
        raise BadData(
            f"{part.parent} has {human_bytes(free)} free, but {human_bytes(missing)} are still to "
            "come: make room, or choose another --out."
        )


def _remember(part: Path, response: requests.Response, total: int) -> None:
    etag = response.headers.get("ETag", "")
    write_json(
        _note(part),
        {
            "etag": "" if etag.startswith("W/") else etag,  # weak ones do not vouch for bytes
            "modified": response.headers.get("Last-Modified", ""),
            "size": total,
        },
    )


def _seen(part: Path) -> dict[str, Any]:
    try:
        seen = read_json(_note(part))
    except ArtSoundError:
        return {}
    return seen if isinstance(seen, dict) else {}


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
