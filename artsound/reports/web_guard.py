"""What protects a web server on this machine from other pages and from careless clients.

Any page that a browser shows may send requests to this machine. `Guard` answers only those of the
server's own pages, and adds the headers that let nothing else run or load in them.
`ImpatientProtocol` bounds how many connections are open, and how long a request may take to come.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections import OrderedDict
from collections.abc import Collection
from typing import Any, ClassVar
from urllib.parse import urlsplit

from h11 import LocalProtocolError
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
REQUEST_SECONDS = 10.0  # in which the head of a request must come
# Connections at once. A browser opens six; the limit of open files is often 256 (macOS).
_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
MOST_OPEN = 250 if _FILES == resource.RLIM_INFINITY else max(1, min(250, _FILES // 3))
BACKLOG = max(1, MOST_OPEN // 3)  # that are accepted at once, before any is ended


class Guard:
    """An ASGI middleware: safe headers on every response, and no request of another page.

    Args:
        app: The application.
        pages: The paths, or their beginnings where they end in `/`, to which other pages may link.
    """

    def __init__(self, app: Any, pages: Collection[str]) -> None:
        self.app = app
        self._pages = frozenset(path for path in pages if path == "/" or path[-1] != "/")
        self._below = tuple(path for path in pages if path != "/" and path[-1] == "/")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def send_with_headers(message: Any) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                added = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        linked = scope["path"] in self._pages or scope["path"].startswith(self._below)
        if is_foreign(dict(scope["headers"]), linked=linked):
            await _answer(send_with_headers, 403, "This request came from another page.")
            return
        try:
            await self.app(scope, receive, send_with_headers)
        except ClientDisconnect:
            return  # the client has gone
        except Exception as error:  # noqa: BLE001  (a fault of the server's is one line, too)
            print(f"artsound: {scope['path'][:200]!r}: {error!r}"[:500], file=sys.stderr)
            if not begun:
                await _answer(send_with_headers, 500, "The server failed; its terminal says why.")


def is_foreign(headers: dict[bytes, bytes], *, linked: bool) -> bool:
    """Whether another page than the server's own has sent a request.

    Browsers say so in Sec-Fetch-Site, older ones in Origin or Referer.

    Args:
        headers: The request's headers, by name in small letters.
        linked: Whether other pages may link there, though load nothing.

    Returns:
        True where a header says so; programs that are no browsers send none of them.
    """
    site = headers.get(b"sec-fetch-site", b"none")
    if linked and headers.get(b"sec-fetch-mode", b"navigate") == b"navigate":
        return False
    if site not in (b"none", b"same-origin"):
        return True
    host = headers.get(b"host", b"").decode("latin-1").lower()
    for name in (b"origin", b"referer"):
        value = headers.get(name)
        if value is not None:
            try:
                if urlsplit(value.decode("latin-1")).netloc.lower() != host:
                    return True
            except ValueError:
                return True
    return False


async def _answer(send: Any, status: int, message: str) -> None:
    body = json.dumps({"error": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class ImpatientProtocol(H11Protocol):
    """uvicorn's protocol with bounds: by itself it serves any number of clients, however slow.

    A request whose head does not come in time is ended, and of more than `MOST_OPEN` connections
    the one whose request began first, whether it waits, sends a body slowly or reads slowly. This
    is uvicorn's protocol in Python, since that in C has no bound for the length of headers.
    """

    opened: ClassVar[OrderedDict[Any, None]] = OrderedDict()  # by the beginning of their requests
    late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.opened[self] = None
        self._wait()
        if len(self.opened) > MOST_OPEN:
            next(iter(self.opened))._end()

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request; a request whose head is complete waits no longer."""
        if self not in self.opened:
            return
        super().data_received(data)
        if self._is_answering():
            if self.late is not None:
                self.opened.move_to_end(self)
            self._stop_waiting()
        elif self.late is None:  # the next request of the same connection has begun
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; an answer that has begun leaves no room for another."""
        try:
            super().send_400_response(msg)
        except LocalProtocolError:
            self._end()

    def _wait(self) -> None:
        self.late = self.loop.call_later(REQUEST_SECONDS, self._end_if_late)

    def _stop_waiting(self) -> None:
        if self.late is not None:
            self.late.cancel()
            self.late = None

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _end_if_late(self) -> None:
        self.late = None
        if not self._is_answering():
            self._end()

    def _forget(self) -> None:
        self.opened.pop(self, None)
        self._stop_waiting()

    def _end(self) -> None:
        self._forget()
        self.transport.abort()
