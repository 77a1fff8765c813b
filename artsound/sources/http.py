"""A polite HTTP client that trusts no answer: retries, bounds, per-host limits, on requests.

An answer is bounded before it is read: its headers in time, its body (`read_body`) in bytes and
in slowness, its redirects in number and by where they lead. Nothing is decompressed on the way.
Hosts of this machine or of a private network are asked only where a client allows it: an address
in a table, or a redirect, could otherwise reach services that trust their own network. Proxies
come from the environment, as requests reads them.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import logging
import os
import queue
import re
import shutil
import socket
import threading
import time
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util import Retry

from artsound import __version__
from artsound.errors import ArtSoundError, BadData, BadUsage, redacted
from artsound.progress import QUIET, Progress, human_bytes
from artsound.sources.files import DAMAGED, archive_name
from artsound.storage import make_folder, read_json, sync_folder, write_json

USER_AGENT = f"artsound/{__version__} (dataset rebuild; python-requests)"

# What a library may raise for an invalid response or address.
FAULTS = (
    requests.exceptions.RequestException,
    HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)
_BROKEN_ANSWERS = (requests.exceptions.InvalidHeader, requests.exceptions.ContentDecodingError)
# Answers after which the same request may succeed a little later.
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 10
_CHUNK = 1 << 17
_PROGRESS = 16 << 10  # bytes that make a broken try one that brought something
_FIRST_CONTACT = 8.0  # seconds within which a host must be reached for the first time
_REMEMBERED = 30.0  # seconds for which a host that was not reached is not asked again
_NUMBER = re.compile(r"\d{1,18}")
# Times in signed addresses; `redacted` knows what signs them.
_TIMES = re.compile(r"([?&](?:se|st|ske|skt|expires)=)[^&#]*", re.IGNORECASE)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # IPv4 addresses in IPv6

# Its warnings of retries and of odd headers are for developers: what matters becomes an error.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Patience:
    """How long and how hard a client tries, and how gently.

    Times are in seconds. `retries` counts tries in a row that bring nothing; `per_host` is how
    many requests are under way at one host; `pause` lies between the starts of two of them. An
    answer's headers must be complete after `answer`; a body that brings less than `slowest`
    bytes per second over `stall` seconds is broken off, and so is one that takes more than `body`
    seconds in all (0: any time).
    """

    retries: int = 8
    backoff: float = 0.5
    longest_wait: float = 120.0
    connect: float = 15.0
    stall: float = 60.0
    per_host: int = 8
    pause: float = 0.0
    answer: float = 120.0
    slowest: int = 1000
    body: float = 0.0

    def retry(self) -> Retry:
        """urllib3's rule for waiting between tries: exponential with jitter, up to a limit."""
        return Retry(
            total=self.retries,
            backoff_factor=self.backoff,
            backoff_max=self.longest_wait,
            backoff_jitter=self.backoff,
        )


@dataclass
class _Host:
    slots: threading.BoundedSemaphore
    turn: threading.Lock = field(default_factory=threading.Lock)
    contact: threading.Lock = field(default_factory=threading.Lock)
    next_start: float = 0.0
    reached: bool = False
    fault: str = ""
    fault_until: float = 0.0


class Client:
    """Sends GET requests; safe to share between threads. Each thread keeps its connections.

    Without `allow_private_hosts`, no host at a loopback, link-local or private address is asked.
    """

    def __init__(
        self, patience: Patience | None = None, *, allow_private_hosts: bool = False
    ) -> None:
        self.patience = patience or Patience()
        self.allow_private_hosts = allow_private_hosts
        self._local = threading.local()
        self._hosts: dict[str, _Host] = {}
        self._guard = threading.Lock()

    @contextmanager
    def get(
        self, url: str, headers: Mapping[str, str] | None = None
    ) -> Iterator[requests.Response]:
        """The streamed answer to a GET, whatever its status below 500, once the host has room.

        Read it with `read_body`; its `history` holds the answers that redirected. Raises BadUsage
        for a malformed or private address and BadData when the server cannot be reached (within
        10 s, at first contact), redirects without end or to a place that is not asked, keeps
        failing, or gives an answer that is not HTTP.
        """
        check_address(url)
        place = url
        history: list[requests.Response] = []
        for _ in range(_MOST_REDIRECTS + 1):
            self._reach(place, "" if place == url else f"{shown(url)} redirects to ")
            with self._answer(place, headers or {}) as response:
                target = _target(place, response)
                if target is None:
                    response.history = history
                    yield response
                    return
                history.append(response)
            place = target
        raise BadData(f"{shown(url)} redirects in circles: check the address.")

    @contextmanager
    def _answer(self, url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """The answer to one request, tried again while that may help."""
        host = self._host(url)
        with host.slots:
            retry = self.patience.retry()
            while True:
                self._wait_for_turn(host)
                response, error, wait = None, None, 0.0
                try:
                    response = self._session().get(
                        url,
                        headers=dict(headers),
                        stream=True,
                        allow_redirects=False,
                        timeout=(self.patience.connect, self.patience.stall),
                    )
                except _BROKEN_ANSWERS as broken:
                    raise BadData(
                        f"{shown(url)} gives an answer that is not HTTP: {reason(broken)}."
                    ) from broken
                except FAULTS as fault:
                    error = fault
                if response is not None:
                    if response.status_code not in BUSY:
                        with response:
                            yield response
                        return
                    wait = _retry_after(response, self.patience.longest_wait)
                    response.close()  # its body is not read
                try:
                    retry = retry.increment("GET", url, error=error or OSError("busy"))
                except MaxRetryError as last:
                    what = (
                        f"cannot be reached: {reason(error)}"
                        if error is not None
                        else f"keeps answering {status(response)}"
                    )
                    raise BadData(f"{shown(url)} {what}; try later.") from last
                time.sleep(max(wait, retry.get_backoff_time()))

    def _reach(self, url: str, by: str) -> None:
        """Connect to a host for the first time, or raise an error soon, whatever the patience.

        `by` says how a redirect led there.
        """
        host = self._host(url)
        with host.contact:
            if host.reached:
                return
            if not self.allow_private_hosts:
                _check_public(url, urlsplit(url).hostname or "", by)
            if host.fault and time.monotonic() < host.fault_until:
                raise BadData(host.fault)
            place, proxy = _place(url)
            found = _connect(place, time.monotonic() + min(_FIRST_CONTACT, self.patience.connect))
            if isinstance(found, str):
                if not self.allow_private_hosts and not proxy:
                    _check_public(url, found, by)
                host.reached = True
                return
            host.fault = (
                f"{shown(url)} cannot be reached: {reason(found)}; check the network or its proxy."
            )
            host.fault_until = time.monotonic() + _REMEMBERED
            raise BadData(host.fault) from found

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _Session()
            session.headers["User-Agent"] = USER_AGENT
            # Bytes are checked as they were sent: no transfer compression on top.
            session.headers["Accept-Encoding"] = "identity"
            adapter = _Adapter(self.patience.answer, self.allow_private_hosts)
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            self._local.session = session
        return session

    def _host(self, url: str) -> _Host:
        with self._guard:
            slots = threading.BoundedSemaphore(self.patience.per_host)
            return self._hosts.setdefault(urlsplit(url).netloc, _Host(slots))

    def _wait_for_turn(self, host: _Host) -> None:
        if not self.patience.pause:
            return
        with host.turn:
            wait = host.next_start - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            host.next_start = time.monotonic() + self.patience.pause


def check_reachable(
    urls: Iterable[str], seconds: float = 8.0, *, allow_private_hosts: bool = False
) -> None:
    """Look whether a connection to each server, or to the proxy before it, can be opened.

    A machine without a network is so distinguished from a server that is busy, which is asked
    patiently.

    Args:
        urls: Addresses; their servers are tried side by side.
        seconds: Time for all of them together.
        allow_private_hosts: Whether they may be on this machine or in a private network.

    Raises:
        BadUsage: When an address is malformed, or private and that is not allowed.
        BadData: When a server does not accept a connection in time.
    """
    deadline = time.monotonic() + seconds
    places: dict[tuple[str, int], tuple[str, bool]] = {}
    for url in urls:
        check_address(url)
        if not allow_private_hosts:
            _check_public(url, urlsplit(url).hostname or "")
        place, proxy = _place(url)
        places.setdefault(place, (url, proxy))
    with ThreadPoolExecutor(max(1, len(places))) as pool:
        found = list(pool.map(_connect, places, [deadline] * len(places)))
    for (url, proxy), peer in zip(places.values(), found, strict=True):
        if not isinstance(peer, str):
            raise BadData(
                f"{shown(url)} cannot be reached: {reason(peer)}; check the network or its proxy."
            ) from peer
        if not allow_private_hosts and not proxy:
            _check_public(url, peer)


def check_address(url: str) -> None:
    """Raise BadUsage when `url` is no http or https address."""
    try:
        _check_address(url)
    except ValueError as error:
        raise BadUsage(f"{shown(url)} is not an http or https address: {error}.") from error


class Tries:
    """Counts tries in a row that brought nothing, and waits between them."""

    def __init__(self, patience: Patience, url: str) -> None:
        self._patience, self._url = patience, url
        self._retry = patience.retry()

    def failed(self, error: Exception, brought: int = 0) -> None:
        """Wait for the next try; BadData when there have been enough.

        A try that `brought` 16 KiB and was not too slow starts the count at its beginning.
        """
        if brought >= _PROGRESS and not isinstance(error, TooSlow):
            self._retry = self._patience.retry()
        try:
            self._retry = self._retry.increment("GET", self._url, error=error)
        except MaxRetryError as last:
            raise BadData(
                f"{shown(self._url)} broke off {self._patience.retries + 1} times in a row "
                f"({reason(error)}); run the same command again to continue from there."
            ) from last
        self._retry.sleep()


class TooSlow(requests.exceptions.ReadTimeout):
    """A body that trickles."""


def read_body(response: requests.Response, limit: int, patience: Patience) -> Iterator[bytes]:
    """The body of an answer as it was sent, in chunks, at most `limit` bytes of it.

    Raises one of `FAULTS` when it breaks off, is shorter than its header says, or trickles.
    """
    began = since = time.monotonic()
    left, brought = limit, 0
    while left > 0:
        data = response.raw.read1(min(_CHUNK, left), decode_content=False)
        if not data:
            return
        yield data
        left -= len(data)
        brought += len(data)
        if patience.body and time.monotonic() - began > patience.body:
            raise TooSlow(f"not done after {patience.body:.0f} s")
        taken = time.monotonic() - since
        if taken >= patience.stall:
            if brought < patience.slowest * taken:
                raise TooSlow(f"{brought / taken:.0f} bytes a second, which is too slow")
            brought, since = 0, time.monotonic()


def content_length(response: requests.Response) -> int:
    """What the header Content-Length says; -1 when it is absent or not one number.

    The same number several times (RFC 9110, section 8.6) is one number.
    """
    values = {value.strip() for value in response.headers.get("Content-Length", "").split(",")}
    value = values.pop() if len(values) == 1 else ""
    return int(value) if _NUMBER.fullmatch(value) else -1


def status(response: requests.Response | None) -> str:
    """Status and reason of an answer, for a message."""
    return "" if response is None else f"{response.status_code} {response.reason}"[:80].strip()


def shown(url: str) -> str:
    """An address as a message may show it: without secrets, not too long."""
    return redacted(url)[:300]


def unsigned(place: str) -> str:
    """Addresses without what may change while they are the same: who asks, signature, digest."""
    words = (_TIMES.sub(r"\1...", redacted(word)).partition("#")[0] for word in place.split(" "))
    return " ".join(words)


def reason(error: BaseException | None) -> str:
    """The innermost cause of a network error, in a few words."""
    if error is None:
        return "unknown"
    inner = error
    while (cause := getattr(inner, "reason", None) or inner.__cause__ or inner.__context__) and (
        isinstance(cause, BaseException) and cause is not inner
    ):
        inner = cause
    text = str(inner).rsplit(">: ", 1)[-1].strip() or type(inner).__name__
    return " ".join(text.split()).rstrip(".")[:200]


def _check_address(url: str) -> None:
    """Raise ValueError for what is no http or https address with a host and a port that exist."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it names no host by http or https")
    if parts.port == 0:
        raise ValueError("port 0 cannot be asked")
    if re.search(r"[\s\x00-\x1f\\]", url):
        raise ValueError("it holds white space or a backslash")
    parts.hostname.encode("idna")  # raises UnicodeError, which is a ValueError


def _target(url: str, response: requests.Response) -> str | None:
    """Where an answer redirects to, if it does; BadData when that is no address."""
    place = response.headers.get("Location")
    if response.status_code not in _REDIRECTS or place is None:
        return None
    try:
        target = urljoin(url, place.encode("latin-1").decode())
        _check_address(target)
    except ValueError as error:
        raise BadData(
            f"{shown(url)} redirects to {shown(place)!r}, which cannot be asked: {error}."
        ) from error
    return target


def _retry_after(response: requests.Response, most: float) -> float:
    """Seconds that a server asks to wait, at most `most`; 0 when it does not say."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(min(int(text[:9]), most))
    try:
        wait = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
    return min(max(wait, 0.0), most)


def _place(url: str) -> tuple[tuple[str, int], bool]:
    """Host and port to connect to for an address, and whether they are a proxy's."""
    proxy = select_proxy(url, get_environ_proxies(url)) or ""
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return (parts.hostname or "", port), bool(proxy)


def _connect(place: tuple[str, int], deadline: float) -> str | Exception:
    """The address at which a host was reached, or why it was not until then."""
    # In a thread, since looking up a name cannot be given a limit of time.
    outcome: queue.SimpleQueue[str | Exception] = queue.SimpleQueue()
    seconds = max(0.1, deadline - time.monotonic())

    def attempt() -> None:
        fault: Exception = TimeoutError(f"no connection within {seconds:.0f} s")
        for pause in (0.25, 0.5, 0.0):
            try:
                left = max(0.1, deadline - time.monotonic())
                with socket.create_connection(place, timeout=left) as connection:
                    outcome.put(str(connection.getpeername()[0]))
                    return
            except (OSError, ValueError, OverflowError) as error:
                fault = error
            if time.monotonic() + pause >= deadline:
                break
            time.sleep(pause)
        outcome.put(fault)

    threading.Thread(target=attempt, daemon=True).start()
    try:
        return outcome.get(timeout=seconds + 0.5)
    except queue.Empty:
        return TimeoutError(f"no connection within {seconds:.0f} s")


def _check_public(url: str, host: str, by: str = "") -> None:
    """Raise BadUsage, after a redirect BadData, where a host's name or address is private."""
    if not _is_private(host):
        return
    where = "" if host == urlsplit(url).hostname else f" ({host})"
    message = f"{by}{shown(url)}{where}, which is on this machine or in a private network"
    if by:
        raise BadData(f"{message}: it is not asked without --allow-private-hosts.")
    raise BadUsage(f"{message}: give --allow-private-hosts if it is meant.")


def _is_private(host: str) -> bool:
    """Whether a host, by its address in any spelling or by name, is no public one."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))  # 127.1, 0x7f000001, 2130706433
        except OSError:
            return False
    if isinstance(address, ipaddress.IPv6Address):
        within = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else None
        inner = address.ipv4_mapped or address.sixtofour or within
        if inner is None and (address.is_reserved or address.is_site_local):
            return True  # such as ::127.0.0.1
        address = inner or address
    return not address.is_global or address.is_multicast


class _Session(requests.Session):
    """A session that follows no redirect: to do so, requests reads the answer's whole body."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None, whatever the answer."""


class _Bounded:
    """A connection whose answer's headers must be complete within a time, to a public host.

    Names are looked up again for every connection, so each is checked. Those through a proxy are
    not of this class.
    """

    answer = 120.0
    private = False
    host: str
    sock: Any

    def _new_conn(self) -> socket.socket:
        connection: socket.socket = super()._new_conn()  # type: ignore[misc]
        peer = str(connection.getpeername()[0])
        if not self.private and _is_private(peer):
            connection.close()
            raise BadData(f"{self.host} is now at {peer}, in a private network: it is not asked.")
        return connection

    def getresponse(self) -> Any:
        timer = threading.Timer(self.answer, self._cut, [self.sock])
        timer.daemon = True
        timer.start()
        try:
            return super().getresponse()  # type: ignore[misc]
        finally:
            timer.cancel()

    @staticmethod
    def _cut(connection: socket.socket) -> None:
        with suppress(OSError):  # it may have ended meanwhile
            connection.shutdown(socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    """Connections that are bounded in time; tries are counted by the client."""

    def __init__(self, answer: float, private: bool) -> None:
        self._answer, self._private = answer, private
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        known = {"answer": self._answer, "private": self._private}
        plain = type("_Plain", (_Bounded, HTTPConnection), known)
        secure = type("_Secure", (_Bounded, HTTPSConnection), known)
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("_PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("_SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }


# Whole files over HTTP: resumed at any byte, checked while they stream, never half under a name.
#
# What has come so far lies in `NAME.part` beside the final file, and `NAME.part.json` says which
# version of the remote file it is. A final name is given only to bytes of the right size and,
# where one is known, the right digest; of a zip, only when it is whole.

_FILE_CHUNK = 1 << 18  # what a broken connection may cost at most
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
            while data := file.read(min(_FILE_CHUNK, size - self.count)):
                self.add(data)


class _Restart(Exception):
    """What has come so far is of no use: begin again at the first byte."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to be fetched.

    Attributes:
        url: Its address.
        digest: Such as `sha1:497109…` (a name of hashlib's); "" where none is stated.
        size: The expected number of bytes; -1 when it is not known beforehand.
        changed: What a message says, and advises, of a file of another size or digest.
    """

    url: str
    digest: str = ""
    size: int = -1
    changed: str = ""


def download(
    remote: RemoteFile,
    path: Path,
    *,
    client: Client,
    progress: Progress = QUIET,
    digests: MutableMapping[str, str] | None = None,
) -> Path:
    """Fetch a remote file to `path`, continuing from what an earlier try left.

    A file that already has its final name is not fetched again, unless it is plainly not the
    file: a zip that is not whole, or a web page.

    Args:
        remote: The file.
        path: Its final name.
        client: Asks the server.
        progress: Counts the bytes.
        digests: Gets the digest of the bytes that came, as `RemoteFile.digest` writes it, by the
            file's name. It is SHA-256 where the file states none.

    Returns:
        The path.

    Raises:
        BadData: One sentence, when the server, the bytes or the disk are at fault. What has come
            so far is kept, unless it is known to be wrong.
    """
    if path.exists():
        if not _is_other(path, path.name):
            return path
        path.unlink()
    make_folder(path.parent)
    part = path.with_name(path.name + ".part")
    tries = Tries(client.patience, remote.url)
    hashed = _Hashed(remote.digest or ("" if digests is None else "sha256:"))
    restarted = False
    progress.start(path.name, max(remote.size, 0), "bytes")
    try:
        while True:
            before = _size(part)
            try:
                _fetch_rest(remote, part, hashed, client, progress)
            except _Restart:
                _forget(part)
                if restarted:
                    raise BadData(
                        f"{shown(remote.url)} changes while it is read: try again later."
                    ) from None
                restarted = True
                continue
            except FAULTS as error:
                tries.failed(error, _size(part) - before)
                continue
            fault = _fault(remote, part, hashed) or _is_other(part, path.name)
            if not fault:
                break
            _forget(part)
            if restarted:
                advice = remote.changed or "it was not kept; try another mirror."
                raise BadData(f"{shown(remote.url)} {fault}: {advice}")
            restarted = True  # perhaps the part was stale: once more, from the first byte
    finally:
        progress.finish()
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)
    _forget(part)
    if digests is not None:
        digests[path.name] = f"{hashed.name}:{hashed.found()}"
    return path


def digest_of(path: Path, like: str) -> str:
    """The digest of a file, of the same kind as `like` (`sha1:497109…`) and as it is written."""
    kind = like.partition(":")[0]
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"


def _fetch_rest(
    remote: RemoteFile, part: Path, hashed: _Hashed, client: Client, progress: Progress
) -> None:
    """Append to `part` what is missing of the remote file; network errors pass through."""
    have, seen = _size(part), _seen(part)
    validator = seen.get("etag") or seen.get("modified") or ""
    headers: dict[str, str] = {}
    # Without a validator, only a known digest can tell afterwards that both halves belong together.
    if have and (validator or hashed.wanted):
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
                + (remote.changed or "it is another version, or not the file at all.")
            )
        _check_space(part, total - start)
        _remember(part, response, total)
        progress.total(total)
        progress.advance(start, before=True)
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
            f"{part} cannot be written: {error.strerror or error}; free some space, and run "
            "the same command again to continue from there."
        ) from error


def _fault(remote: RemoteFile, part: Path, hashed: _Hashed) -> str | None:
    """Why `part` may not become the file, or None: its digest and size are right."""
    hashed.catch_up(part, _size(part))
    size = _size(part)
    expected = remote.size if remote.size >= 0 else _seen(part).get("size", -1)
    if expected >= 0 and size != expected:
        return f"came as {size:,} bytes instead of {expected:,}"
    if hashed.wanted and hashed.found() != hashed.wanted:
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
                if other := archive_name(file):
                    return f"is {other}, not a zip"
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
