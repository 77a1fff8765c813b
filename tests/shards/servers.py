"""A small file server on loopback that serves byte ranges, counts, and fails on request."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Served:
    """`requests` keeps (name, range) of each request answered, and `sent` the bytes of all;
    `failures` are answered by 503, `cuts` by half of the bytes promised, and, when `short`, all by
    one byte less than asked. `whole` ranges are answered by the whole file, `unannounced` ones by
    half of it without a length; when `spoilt`, whole shards have a wrong byte. Once index.parquet
    is served, all wait for `hanging`, and set `waiting`. `odd` has the end of a name, and the
    status, headers and first bytes with which such files are answered. With `names_total` parts
    come with the size of the whole. `received` has the path and the headers of each request."""

    url: str = ""
    failures: int = 0
    cuts: int = 0
    short: bool = False
    whole: int = 0
    unannounced: int = 0
    spoilt: bool = False
    hanging: threading.Event | None = None
    waiting: threading.Event = field(default_factory=threading.Event)
    received: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    ranges: bool = True
    names_total: bool = False
    odd: tuple[str, int, dict[str, str], bytes] | None = None
    sent: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Serve the files of a folder until the block ends."""
    state = Served()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            name = self.path.partition("?")[0].strip("/")
            wanted = self.headers.get("Range", "")
            if state.hanging is not None and name.endswith(".tar"):
                state.waiting.set()
                state.hanging.wait()
            with lock:
                state.received.append((self.path, dict(self.headers)))
                whole = bool(wanted) and state.whole > 0
                state.whole -= whole
                unannounced = bool(wanted) and not whole and state.unannounced > 0
                state.unannounced -= unannounced
                failing, cut = state.failures > 0, state.cuts > 0
                state.failures -= failing
                state.cuts -= cut
            path = folder / name
            if failing or not path.is_file():
                self.send_response(503 if failing else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = path.read_bytes()
            status, total = 200, len(data)
            headers: dict[str, str] = {}
            if state.spoilt and name.endswith(".tar"):
                spoilt = bytes([data[0] ^ 1]) + data[1:]
                data = data if wanted else spoilt
            if wanted and state.ranges and not whole:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                data, status = data[int(first) : int(last) + 1], 206
                if state.names_total:
                    headers["Content-Range"] = f"bytes {wanted.removeprefix('bytes=')}/{total}"
            data = data[:-1] if state.short else data
            if state.odd and name.endswith(state.odd[0]):
                _, status, headers, start = state.odd
                data = start + data[len(start) :]
            with lock:  # before the answer, which a client may leave or have read by then
                state.sent += len(data)
                state.requests.append((name, wanted))
            self.send_response(status)
            for header, value in headers.items():
                self.send_header(header, value)
            if unannounced:
                self.send_header("Connection", "close")
            else:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if cut or unannounced else data)
            self.close_connection = cut or unannounced

    with listening(Handler) as state.url:
        yield state


@contextlib.contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address at which requests are handled, until the block ends."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Clients that are killed on purpose are no news."""

    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
