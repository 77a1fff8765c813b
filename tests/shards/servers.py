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
    """`requests` keeps (name, range) of each request answered; `failures` are answered by 503,
    `cuts` by half of the bytes promised, and, when `short`, all by one byte less than asked."""

    url: str = ""
    failures: int = 0
    cuts: int = 0
    short: bool = False
    ranges: bool = True
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
            name, wanted = self.path.strip("/"), self.headers.get("Range", "")
            with lock:
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
            status = 200
            if wanted and state.ranges:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                data, status = data[int(first) : int(last) + 1], 206
            data = data[:-1] if state.short else data
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if cut else data)
            self.close_connection = cut
            with lock:
                state.sent += len(data)
                state.requests.append((name, wanted))

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
