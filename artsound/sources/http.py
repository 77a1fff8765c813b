"""A polite HTTP client that trusts no answer: retries, bounds, per-host limits, on requests.

An answer is bounded before it is read: its headers in time, its body (`read_body`) in bytes and
in slowness, its redirects in number and by where they lead. Nothing is decompressed on the way.
Proxies come from the environment, as requests reads them.
"""

from __future__ import annotations

import http.client
import ipaddress
import logging
import queue
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
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
from artsound.errors import BadData, BadUsage

USER_AGENT = f"artsound/{__version__} (dataset rebuild; python-requests)"

# What a library may raise over an answer or an address that nobody should send.
FAULTS = (
    requests.exceptions.RequestException,
    HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)
_BROKEN_ANSWERS = (requests.exceptions.InvalidHeader, requests.exceptions.ContentDecodingError)
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 10
_CHUNK = 1 << 17
_PROGRESS = 16 << 10  # bytes that make a broken try one that brought something
_FIRST_CONTACT = 8.0  # seconds within which a host must be reached for the first time
_REMEMBERED = 30.0  # seconds for which a host that was not reached is not asked again
_NUMBER = re.compile(r"\d{1,18}")
_SECRET = re.compile(r"((?:access_)?token|sig(?:nature)?|X-Amz-[A-Za-z-]+)=[^&#\s]*", re.IGNORECASE)

# Its warnings of retries and of odd headers are for developers: what matters becomes an error.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Patience:
    """How long and how hard a client tries, and how gently.

    Times are in seconds. `retries` counts tries in a row that bring nothing; `per_host` is how
    many requests are under way at one host; `pause` lies between the starts of two of them. An
    answer's headers must be complete after `answer`; a body that brings less than `slowest`
    bytes per second over `stall` seconds is broken off.
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
    peer: str = ""  # the address that it was reached at
    fault: str = ""
    fault_until: float = 0.0


class Client:
    """Sends GET requests; safe to share between threads. Each thread keeps its connections."""

    def __init__(self, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()
        self._local = threading.local()
        self._hosts: dict[str, _Host] = {}
        self._guard = threading.Lock()

    @contextmanager
    def get(
        self, url: str, headers: Mapping[str, str] | None = None
    ) -> Iterator[requests.Response]:
        """The streamed answer to a GET, whatever its status below 500, once the host has room.

        Read it with `read_body`; its `history` holds the answers that redirected. Raises BadUsage
        for a malformed address and BadData when the server cannot be reached (within 10 s, at
        first contact), redirects without end or to a place that is not asked, keeps failing, or
        gives an answer that is not HTTP.
        """
        check_address(url)
        place = url
        history: list[requests.Response] = []
        for _ in range(_MOST_REDIRECTS + 1):
            with self._answer(place, headers or {}) as response:
                target = _target(place, response)
                if target is None:
                    response.history = history
                    yield response
                    return
                history.append(response)
            self._check_redirect(url, target)
            place = target
        raise BadData(f"{shown(url)} redirects in circles: check the address.")

    @contextmanager
    def _answer(self, url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """The answer to one request, tried again while that may help."""
        host = self._host(url)
        with host.slots:
            self._reach(host, url)
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
                    if response.status_code not in _AGAIN:
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

    def _reach(self, host: _Host, url: str) -> None:
        """Connect to a host for the first time, or raise BadData soon, whatever its patience."""
        with host.contact:
            if host.peer:
                return
            if host.fault and time.monotonic() < host.fault_until:
                raise BadData(host.fault)
            place, proxy = _place(url)
            found = _connect(place, time.monotonic() + min(_FIRST_CONTACT, self.patience.connect))
            if isinstance(found, str):
                host.peer = "proxy" if proxy else found
                return
            host.fault = (
                f"{shown(url)} cannot be reached: {reason(found)}; check the network or its proxy."
            )
            host.fault_until = time.monotonic() + _REMEMBERED
            raise BadData(host.fault) from found

    def _check_redirect(self, url: str, target: str) -> None:
        """Raise BadData for a redirect from a public server to an address inside this network."""
        if _is_inside(self._host(url).peer):
            return
        host = self._host(target)
        if not _is_inside(urlsplit(target).hostname or ""):
            self._reach(host, target)
        if _is_inside(host.peer) or _is_inside(urlsplit(target).hostname or ""):
            raise BadData(
                f"{shown(url)} redirects to {shown(target)}, which is inside this network: it is "
                "not asked."
            )

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _Session()
            session.headers["User-Agent"] = USER_AGENT
            # Bytes are checked as they were sent: no transfer compression on top.
            session.headers["Accept-Encoding"] = "identity"
            adapter = _Adapter(self.patience.answer)
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


def check_reachable(urls: Iterable[str], seconds: float = 8.0) -> None:
    """Look whether a connection to each server, or to the proxy before it, can be opened.

    A machine without a network is so distinguished from a server that is busy, which is asked
    patiently.

    Args:
        urls: Addresses; their servers are tried side by side.
        seconds: Time for all of them together.

    Raises:
        BadUsage: When an address is malformed.
        BadData: When a server does not accept a connection in time.
    """
    deadline = time.monotonic() + seconds
    places: dict[tuple[str, int], str] = {}
    for url in urls:
        check_address(url)
        places.setdefault(_place(url)[0], url)
    with ThreadPoolExecutor(max(1, len(places))) as pool:
        found = list(pool.map(_connect, places, [deadline] * len(places)))
    for url, peer in zip(places.values(), found, strict=True):
        if not isinstance(peer, str):
            raise BadData(
                f"{shown(url)} cannot be reached: {reason(peer)}; check the network or its proxy."
            ) from peer


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
    left, brought, since = limit, 0, time.monotonic()
    while left > 0:
        data = response.raw.read1(min(_CHUNK, left), decode_content=False)
        if not data:
            return
        yield data
        left -= len(data)
        brought += len(data)
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
    return _SECRET.sub(r"\1=...", url)[:300]


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


def _is_inside(host: str) -> bool:
    """Whether a host, by its address or by name, is this machine or in its own network."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return not ipaddress.ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return False


class _Session(requests.Session):
    """A session that follows no redirect: to do so, requests reads the answer's whole body."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None, whatever the answer."""


class _Bounded:
    """A connection whose answer's headers must be complete within a time."""

    answer = 120.0
    sock: Any

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

    def __init__(self, answer: float) -> None:
        self._answer = answer
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        known = {"answer": self._answer}
        plain = type("_Plain", (_Bounded, HTTPConnection), known)
        secure = type("_Secure", (_Bounded, HTTPSConnection), known)
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("_PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("_SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }
