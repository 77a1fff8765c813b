"""A polite HTTP client: retries, time-outs, and per-host limits, on requests and urllib3.

Proxies come from the environment, as requests reads them.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import MaxRetryError
from urllib3.util import Retry

from artsound import __version__
from artsound.errors import BadData, BadUsage

USER_AGENT = f"artsound/{__version__} (dataset rebuild; python-requests)"


@dataclass(frozen=True)
class Patience:
    """How long and how hard a client tries, and how gently.

    Times are in seconds. `retries` counts tries in a row that bring nothing; `per_host` is how
    many requests are under way at one host; `pause` lies between the starts of two of them.
    """

    retries: int = 8
    backoff: float = 0.5
    longest_wait: float = 120.0
    connect: float = 15.0
    stall: float = 60.0
    per_host: int = 8
    pause: float = 0.0

    def retry(self) -> Retry:
        """urllib3's retry rule: exponential with jitter, obeying Retry-After up to a limit."""
        return Retry(
            total=self.retries,
            redirect=10,
            status_forcelist=(408, 425, 429, 500, 502, 503, 504),
            allowed_methods=("GET", "HEAD"),
            backoff_factor=self.backoff,
            backoff_max=self.longest_wait,
            backoff_jitter=self.backoff,
            retry_after_max=int(self.longest_wait),
            raise_on_status=False,
        )


@dataclass
class _Host:
    slots: threading.BoundedSemaphore
    turn: threading.Lock = field(default_factory=threading.Lock)
    next_start: float = 0.0


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

        Raises BadUsage for a malformed address and BadData, one sentence, when the server
        cannot be reached, redirects without end, or keeps failing.
        """
        host = self._host(url)
        with host.slots:
            self._wait_for_turn(host)
            try:
                response = self._session().get(
                    url,
                    headers=dict(headers or {}),
                    stream=True,
                    timeout=(self.patience.connect, self.patience.stall),
                )
            except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
                raise BadUsage(f"{url} is not an address that can be asked: {error}.") from error
            except requests.exceptions.TooManyRedirects as error:
                raise BadData(f"{url} redirects in circles: check the address.") from error
            except requests.exceptions.RequestException as error:
                raise BadData(f"{url} cannot be reached: {reason(error)}; try later.") from error
            with response:
                if response.status_code >= 500 or response.status_code == 429:
                    raise BadData(
                        f"{url} keeps answering {response.status_code} {response.reason}; "
                        "try later."
                    )
                yield response

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.max_redirects = 10
            session.headers["User-Agent"] = USER_AGENT
            # Bytes are checked as they were sent: no transfer compression on top.
            session.headers["Accept-Encoding"] = "identity"
            adapter = HTTPAdapter(max_retries=self.patience.retry())
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            self._local.session = session
        return session

    def _host(self, url: str) -> _Host:
        netloc = check_address(url)
        with self._guard:
            slots = threading.BoundedSemaphore(self.patience.per_host)
            return self._hosts.setdefault(netloc, _Host(slots))

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

    A machine without a network is so told from a server that is busy, which is asked patiently.

    Args:
        urls: Addresses; their servers are tried side by side.
        seconds: Time for all of them together.

    Raises:
        BadUsage: When an address is malformed.
        BadData: When a server does not accept a connection in time.
    """
    deadline = time.monotonic() + seconds
    tries = [(url, _Connecting(url, deadline)) for url in urls]
    for url, attempt in tries:
        attempt.join(max(0.0, deadline - time.monotonic()))
        if attempt.is_alive():
            attempt.fault = f"no connection within {seconds:.0f} s"
        if attempt.fault:
            raise BadData(
                f"{url} cannot be reached: {attempt.fault}; check the network or its proxy."
            )


class _Connecting(threading.Thread):
    """Tries to connect to the server of an address until it succeeds or time is up."""

    def __init__(self, url: str, deadline: float) -> None:
        super().__init__(daemon=True)  # a name server that hangs must not keep the process
        check_address(url)
        place = select_proxy(url, get_environ_proxies(url)) or url
        parts = urlsplit(place if "://" in place else f"http://{place}")
        self._place = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        self._deadline = deadline
        self.fault = ""
        self.start()

    def run(self) -> None:
        for pause in (0.5, 1.0, 0.0):
            left = self._deadline - time.monotonic()
            if left <= 0:
                return
            try:
                socket.create_connection(self._place, timeout=left).close()
            except (OSError, ValueError) as error:  # ValueError: a name that no host can have
                self.fault = reason(error)
            else:
                self.fault = ""
                return
            time.sleep(min(pause, max(0.0, self._deadline - time.monotonic())))


def check_address(url: str) -> str:
    """The host and port that an address names; BadUsage when it is no http or https address."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (raises where it is no number)
    except ValueError as error:
        raise BadUsage(f"{url} is not an address that can be asked: {error}.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadUsage(f"{url} is not an http or https address.")
    return parts.netloc


class Tries:
    """Counts tries in a row that brought nothing, and waits between them."""

    def __init__(self, patience: Patience, url: str) -> None:
        self._patience, self._url = patience, url
        self._retry = patience.retry()

    def failed(self, error: Exception) -> None:
        """Wait for the next try; BadData when there have been enough."""
        try:
            self._retry = self._retry.increment("GET", self._url, error=error)
        except MaxRetryError as last:
            raise BadData(
                f"{self._url} broke off {self._patience.retries + 1} times in a row "
                f"({reason(error)}); run the same command again to go on from there."
            ) from last
        self._retry.sleep()

    def progressed(self) -> None:
        """Something came through: start counting anew."""
        self._retry = self._patience.retry()


def reason(error: BaseException) -> str:
    """The innermost cause of a network error, in a few words."""
    inner = error
    while (cause := getattr(inner, "reason", None) or inner.__cause__ or inner.__context__) and (
        isinstance(cause, BaseException) and cause is not inner
    ):
        inner = cause
    text = str(inner).rsplit(">: ", 1)[-1].strip() or type(inner).__name__
    return text.rstrip(".")[:200]
