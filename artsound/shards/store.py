"""Stores of shards: a folder, an HTTP server, or any fsspec file system, read by byte ranges.

A store is a small frozen object that can be pickled into worker processes; connections are made in
the process that reads. Object stores have buckets and credentials, and s3fs raises errors of
botocore and aiohttp that are not OSErrors; these become one clear error each.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.extras import install_command
from artsound.untrusted import check_path, near_path

if TYPE_CHECKING:
    import requests


# On these, making a folder with a mistyped name would create a bucket of that name.
_BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"}
_S3 = {"s3", "s3a"}


def protocols(system: Any) -> set[str]:
    """Return the names under which fsspec knows a file system: {"s3", "s3a"}."""
    names = system.protocol
    return {names} if isinstance(names, str) else set(names)


def has_buckets(system: Any) -> bool:
    """Whether a file system has objects in buckets, so that no folders need to be made."""
    return not _BUCKETS.isdisjoint(protocols(system))


@contextlib.contextmanager
def plain_faults(system: Any, place: str) -> Iterator[None]:
    """Raise errors of the libraries behind s3:// as BadData or BadUsage; pass OSErrors on.

    Those of the connection to a Hub, which are no OSErrors, become ConnectionErrors.
    """
    if "hf" in protocols(system):
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

        try:
            yield
        except HTTPError as error:
            if isinstance(error, OSError):
                raise
            raise ConnectionError(f"the Hub cannot be reached: {error}") from error
        return
    if _S3.isdisjoint(protocols(system)):
        yield
        return
    from aiohttp import ClientError
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except (BotoCoreError, ClientError, ValueError) as error:  # ValueError: an endpoint is no URL
        raise _bucket_fault(place, error) from error


def _bucket_fault(place: str, error: Exception) -> ArtSoundError:
    from aiohttp import ClientError
    from botocore import exceptions as boto

    message = " ".join(str(error).split()).rstrip(".")  # some have several lines
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return BadUsage(
            f"{place} cannot be opened without credentials: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or for a public bucket FSSPEC_S3_ANON=true."
        )
    if isinstance(error, boto.ConnectionError | boto.HTTPClientError | ClientError):
        return BadData(
            f"{place} cannot be reached: {message}: check the network and AWS_ENDPOINT_URL."
        )
    return BadUsage(f"{place} cannot be opened: {message}.")


Range = tuple[int, int]  # first byte, and the one after the last
T = TypeVar("T")

_TIMEOUT = (10, 60)  # seconds to connect, and between two packets
_CHUNK = 1 << 20
_MOST = 1 << 30  # bytes to ask of one pread: the kernel gives less than 2 GiB
LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


class Unreachable(BadData):
    """A server that fails, for now, again and again; what it has may be sound."""


class _BadAnswer(OSError):
    """An answer that may be better the next time; the message is a whole sentence."""


class Store(Protocol):
    """A place of files. Every method raises BadData when the bytes are unavailable."""

    @property
    def location(self) -> str:
        """The folder or URL, as a user would write it, but for passwords and signatures."""

    @property
    def is_local(self) -> bool:
        """Whether reading costs no network."""

    def size(self, name: str) -> int | None:
        """Bytes of a file; None if there is none, or none that may be read."""

    def read(self, name: str) -> bytes:
        """A whole file."""

    def read_ranges(self, name: str, ranges: Sequence[Range]) -> list[bytes]:
        """Byte ranges of one file; adjacent ones are fetched in one request."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """A whole file, piece by piece."""

    def hint(self, name: str, ranges: Sequence[Range]) -> None:
        """Read-ahead hint: these ranges will be read soon. Never fails."""


def open_store(
    location: str | Path,
    storage_options: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Store:
    """Return the store at a folder, http(s) address, or fsspec address such as s3://bucket/set.

    Args:
        location: The folder or address.
        storage_options: Keyword arguments of fsspec's file system.
        headers: Sent with each request to an http(s) address.

    Returns:
        The store; nothing has been read.

    Raises:
        BadUsage: The folder does not exist, fsspec does not know the address, or options or headers
            are given for a place that has no use for them.
    """
    text = str(location)
    if headers and not text.startswith(("http://", "https://")):
        raise BadUsage(f"{shown_address(text)} takes no headers: they are for http(s) addresses.")
    if storage_options and ("://" not in text or text.startswith(("http://", "https://"))):
        raise BadUsage(
            f"{shown_address(text)} takes no storage_options ({', '.join(storage_options)}): they "
            "are for addresses that fsspec opens, such as s3://bucket/set."
        )
    if "://" not in text:
        check_path(Path(location))
        folder = shards_folder(Path(location))
        if not folder.is_dir():
            hint = near_path(folder) or "give a folder of shards, or a URL."
            raise BadUsage(f"There is no folder {folder}: {hint}")
        return LocalStore(folder)
    if text.startswith(("http://", "https://")):
        return HttpStore(text, _checked_headers(headers or {}))
    system, path = open_system(text, **(storage_options or {}))
    return FsspecStore(shown_address(text).rstrip("/"), system, path)


def shown_address(text: str) -> str:
    """An address without what may be secret: its user and password, and of http(s) the query."""
    shown = re.sub(r"(\w://)[^/@\s]*:[^/@\s]*@", r"\1", text)
    if shown.startswith(("http://", "https://")):
        shown = re.sub(r"(\w://)[^/@\s]+@", r"\1", shown).partition("?")[0].partition("#")[0]
    return shown


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not (isinstance(name, str) and isinstance(value, str)) or not re.fullmatch(
            r"\S(.*\S)?", value
        ):
            raise BadUsage(f"The header {name!r} has a value that cannot be sent: give plain text.")
    return dict(headers)


def shards_folder(folder: Path) -> Path:
    """Return the folder of the shards: `folder` itself, or `shards/` in the folder of a build."""
    inside = folder / "shards"
    return inside if not _has_index(folder) and _has_index(inside) else folder


def _has_index(folder: Path) -> bool:
    return (folder / "index.json").is_file()


def open_system(address: str, **options: Any) -> tuple[Any, str]:
    """Return the fsspec file system of an address, and the path in it.

    Raises:
        BadUsage: There is no such file system, or the address has no bucket.
    """
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(address, **options)
    except (ValueError, ImportError) as error:
        if isinstance(error, ImportError) and address.startswith(("s3://", "s3a://")):
            raise BadUsage(f"{address} needs s3fs: {install_command('s3')}") from error
        raise BadUsage(f"{shown_address(address)} cannot be opened: {error}.") from error
    if has_buckets(system) and not path.strip("/"):
        raise BadUsage(f"{address} names no bucket: give one, as in s3://bucket/folder.")
    return system, path.rstrip("/")


@dataclass(frozen=True)
class LocalStore:
    """A folder."""

    folder: Path

    @property
    def location(self) -> str:
        return str(self.folder)

    @property
    def is_local(self) -> bool:
        return True

    def size(self, name: str) -> int | None:
        path = self.folder / name
        return path.stat().st_size if path.is_file() else None

    def read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise _fault(self, name, error) from error

    def read_ranges(self, name: str, ranges: Sequence[Range]) -> list[bytes]:
        return read_file_ranges(self.folder / name, ranges)

    def chunks(self, name: str) -> Iterator[bytes]:
        try:
            with (self.folder / name).open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
        except OSError as error:
            raise _fault(self, name, error) from error

    def hint(self, name: str, ranges: Sequence[Range]) -> None:
        if ranges and hasattr(os, "posix_fadvise"):  # not on macOS
            with contextlib.suppress(OSError), (self.folder / name).open("rb") as file:
                start, stop = ranges[0][0], ranges[-1][1]
                os.posix_fadvise(file.fileno(), start, stop - start, os.POSIX_FADV_WILLNEED)


def read_file_ranges(path: Path, ranges: Sequence[Range]) -> list[bytes]:
    """Read byte ranges of a local file; BadData when it is missing or too short."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            pieces = [_read_span(descriptor, *span) for span in ranges]
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror or error}.") from error
    _check_lengths(str(path), pieces, ranges)
    return pieces


def _read_span(descriptor: int, start: int, stop: int) -> bytes:
    """Bytes of a file, fewer where it ends before."""
    data = os.pread(descriptor, min(stop - start, _MOST), start)
    if not data or len(data) == stop - start:
        return data
    pieces = [data]
    while data and (start := start + len(data)) < stop:
        data = os.pread(descriptor, min(stop - start, _MOST), start)
        pieces.append(data)
    return b"".join(pieces)


@dataclass(frozen=True, repr=False)
class HttpStore:
    """A folder on a web server that supports byte ranges.

    Attributes:
        url: The address; the name of a file is put before its query, as a signed address needs it.
        headers: Sent with each request.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"HttpStore({self.location!r})"

    @property
    def location(self) -> str:
        return shown_address(self.url).rstrip("/")

    def address(self, name: str) -> str:
        """The address of a file."""
        parts = urlsplit(self.url)
        return parts._replace(path=f"{parts.path.rstrip('/')}/{name}", fragment="").geturl()

    @property
    def is_local(self) -> bool:
        return False

    def size(self, name: str) -> int | None:
        # By GET, since some servers and signed addresses answer nothing else.
        def ask() -> int | None:
            try:
                with self._get(name, {"Range": "bytes=0-0"}, stream=True) as response:
                    stated = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
                    if stated:
                        return int(stated[1])
                with self._get(name, stream=True) as response:  # whose body is not read
                    length = response.headers.get("Content-Length", "")
            except (FileNotFoundError, PermissionError):
                return None
            return int(length) if length.isdecimal() else None

        return _again(self, name, ask)

    def read(self, name: str) -> bytes:
        return _again(self, name, lambda: self._get(name).content)

    def read_ranges(self, name: str, ranges: Sequence[Range]) -> list[bytes]:
        def fetch(span: Range) -> bytes:
            start, stop = span
            response = self._get(name, {"Range": f"bytes={start}-{stop - 1}"}, stream=True)
            with response:
                if response.status_code != 206:
                    raise _BadAnswer(
                        f"{self.location} does not serve byte ranges: copy the shards to a folder, "
                        "or serve them with a server that does."
                    )
                data: bytes = response.content
            self._check_part(name, response.headers, start)
            try:
                _check_lengths(f"{self.location}/{name}", [data], [span])
            except BadData as error:  # a connection that was cut, if the length was not announced
                raise _BadAnswer(str(error)) from None
            return data

        return _fetch_joined(
            ranges, lambda span: _again(self, name, functools.partial(fetch, span))
        )

    def _check_part(self, name: str, headers: Mapping[str, str], start: int) -> None:
        """Raise _BadAnswer if a part of a file is not the one that was asked for."""
        stated = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
        kind = headers.get("Content-Type", "").lower()
        fault = ""
        if stated and int(stated[1]) != start:
            fault = f"bytes from {stated[1]} on, where those from {start} on were asked for"
        elif kind.startswith("multipart/byteranges"):
            fault = "several parts, where one was asked for"
        elif kind.startswith("text/html") and not stated:
            fault = "a web page"
        if fault:
            raise _BadAnswer(
                f"{self.location}/{name} cannot be read, since its server, or a cache before it, "
                f"sends {fault}: copy the shards to a folder, or use another server."
            )

    def chunks(self, name: str) -> Iterator[bytes]:
        with _again(self, name, lambda: self._get(name, stream=True)) as response:
            try:
                yield from response.iter_content(_CHUNK)
            except OSError as error:  # requests' errors are OSErrors, with the whole address
                raise _fault(self, name, error, lasting=False) from None

    def hint(self, name: str, ranges: Sequence[Range]) -> None:
        """Nothing to do: the stream fetches ahead."""

    def _get(
        self, name: str, headers: dict[str, str] | None = None, *, stream: bool = False
    ) -> requests.Response:
        from artsound.sources.http import BUSY

        session = _session(os.getpid())
        response = session.get(
            self.address(name),
            headers={"Accept-Encoding": "identity", **self.headers, **(headers or {})},
            timeout=_TIMEOUT,
            stream=stream,
        )
        status = response.status_code
        if status in (401, 403, 407):
            raise PermissionError(
                f"the server answers {status}: it may ask for headers=, a signed address may have "
                "expired, or the file does not exist"
            )
        if status == 416:
            raise _BadAnswer(
                f"{self.location}/{name} ends before its last sample: it is truncated, or its "
                "index is of another build; `artsound verify` shows more."
            )
        if 400 <= status < 500 and status not in BUSY:
            raise FileNotFoundError(f"the server answers {status}")
        response.raise_for_status()
        return response


@dataclass(frozen=True)
class FsspecStore:
    """A folder in any file system that fsspec knows."""

    location: str
    system: Any
    path: str
    process: int = field(default_factory=os.getpid, compare=False)

    @property
    def is_local(self) -> bool:
        return False

    def size(self, name: str) -> int | None:
        system = self._here()

        def ask() -> int | None:
            try:
                with plain_faults(system, self.location):
                    size = system.info(f"{self.path}/{name}").get("size")
            except (FileNotFoundError, PermissionError):
                return None
            return None if size is None else int(size)

        return _again(self, name, ask)

    def read(self, name: str) -> bytes:
        return self._cat(name)

    def read_ranges(self, name: str, ranges: Sequence[Range]) -> list[bytes]:
        # Files of a Hub are buffered: 5 MB more would be fetched with each range.
        exact = {"cache_type": "none"} if "hf" in protocols(self.system) else {}

        def fetch(span: Range) -> bytes:
            data = self._cat(name, start=span[0], end=span[1], **exact)
            _check_lengths(f"{self.location}/{name}", [data], [span])
            return data

        return _fetch_joined(ranges, fetch)

    def chunks(self, name: str) -> Iterator[bytes]:
        system = self._here()
        try:
            with (
                plain_faults(system, self.location),
                system.open(f"{self.path}/{name}", "rb") as file,
            ):
                while chunk := file.read(_CHUNK):
                    yield chunk
        except OSError as error:
            raise _fault(self, name, error) from error

    def hint(self, name: str, ranges: Sequence[Range]) -> None:
        """Nothing to do: the stream fetches ahead."""

    def _cat(self, name: str, **options: Any) -> bytes:
        system = self._here()

        def read() -> bytes:
            with plain_faults(system, self.location):
                data: bytes = system.cat_file(f"{self.path}/{name}", **options)
            return data

        return _again(self, name, read)

    def _here(self) -> Any:
        """The file system; in another process than its own, a new one with the same options."""
        here = os.getpid()
        return self.system if here == self.process else _alike(here, self.system)


@functools.lru_cache(maxsize=8)
def _alike(_process: int, system: Any) -> Any:
    """A new file system: asynchronous ones, like s3://, refuse to work in a forked process."""
    return copy.copy(system)  # fsspec creates it again from its options, as when unpickled


@functools.lru_cache(maxsize=1)
def _session(_process: int) -> requests.Session:
    """One pool of connections per process: a forked one must not share its parent's."""
    import requests

    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=32))
    session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=32))
    return session


class RangedFile(io.RawIOBase):
    """A file of a store that is read where it is asked for, and no further.

    Args:
        store: The store.
        name: The file.
        size: Its bytes.
    """

    def __init__(self, store: Store, name: str, size: int) -> None:
        self._store, self._name, self._size, self._at = store, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        stop = self._size if size is None or size < 0 else min(self._size, self._at + size)
        if stop <= self._at:
            return b""
        data = self._store.read_ranges(self._name, [(self._at, stop)])[0]
        self._at = stop
        return data


def _fetch_joined(ranges: Sequence[Range], fetch: Callable[[Range], bytes]) -> list[bytes]:
    """The ranges' bytes, those less than 8 KiB apart fetched as one."""
    joined: list[Range] = []
    for start, stop in sorted(ranges):
        if joined and start - joined[-1][1] <= 8192:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    fetched = [(start, fetch((start, stop)) if stop > start else b"") for start, stop in joined]
    pieces = []
    for start, stop in ranges:
        base, data = next(pair for pair in reversed(fetched) if pair[0] <= start)
        pieces.append(data[start - base : stop - base])
    return pieces


def _again(store: Store, name: str, read: Callable[[], T]) -> T:
    """What `read` gives, tried again after growing pauses; BadData in the end."""
    from requests.exceptions import RequestException
    from urllib3.exceptions import MaxRetryError

    from artsound.sources.http import Patience

    # Its pauses are random, so that workers that failed together do not come back together.
    retry = Patience(retries=4, backoff=0.25).retry()
    while True:
        try:
            return read()
        except LASTING as error:
            raise _fault(store, name, error) from error
        except OSError as error:
            try:
                retry = retry.increment("GET", error=error)
            except MaxRetryError:
                # The errors of requests have the whole address in their text.
                cause = None if isinstance(error, RequestException) else error
                raise _fault(store, name, error, lasting=False) from cause
        retry.sleep()


def _check_lengths(place: str, pieces: Sequence[bytes], ranges: Sequence[Range]) -> None:
    for data, (start, stop) in zip(pieces, ranges, strict=True):
        if len(data) > stop - start:
            raise BadData(f"{place}: {len(data)} bytes came in place of {stop - start}.")
        if len(data) < stop - start:
            raise BadData(
                f"{place} ends before byte {stop}: it is truncated, or its index is of another "
                "build; `artsound verify` shows more."
            )


def _fault(store: Store, name: str, error: OSError, *, lasting: bool = True) -> BadData:
    if isinstance(error, _BadAnswer):
        return BadData(str(error))
    reason = str(error.strerror or error).rstrip(".")
    if isinstance(store, HttpStore):
        reason = re.sub(r"\?[^\s'\")]*", "?…", re.sub(r"(\w://)[^/@\s]+@", r"\1", reason))
    if isinstance(error, FileNotFoundError):
        return BadData(f"{store.location} has no {name} ({reason}).")
    kind = BadData if lasting else Unreachable
    return kind(f"{store.location}/{name} cannot be read: {reason}.")
