"""A small HTTP server on loopback that misbehaves on request."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from artsound.sources.http import Client, Patience


def local_client(patience: Patience | None = None) -> Client:
    """A client that may ask servers on this machine."""
    return Client(patience, allow_private_hosts=True)


@dataclass
class FaultyServer:
    """Serves `payload` at every path; each request first takes one fault off `faults`.

    Faults: reset:N and truncate:N (after N body bytes), stall, 429:S (Retry-After), 500,
    no-range, wrong-range, other-bytes, loop. `asked` keeps (path, Range) of every request.
    """

    payload: bytes
    faults: list[str] = field(default_factory=list)
    etag: str = '"v1"'
    asked: list[tuple[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    url: str = ""


@contextlib.contextmanager
def faulty_server(payload: bytes, *faults: str) -> Iterator[FaultyServer]:
    state = FaultyServer(payload, list(faults))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            state.asked.append((self.path, self.headers.get("Range", "")))
            state.times.append(time.monotonic())
            fault, _, value = (state.faults.pop(0) if state.faults else "").partition(":")
            if fault in ("429", "500"):
                self.send_response(int(fault))
                if value:
                    self.send_header("Retry-After", value)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if fault == "loop":
                state.faults.append("loop")
                self.send_response(302)
                self.send_header("Location", self.path + "x")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body, start = state.payload, 0
            wanted = self.headers.get("Range", "")
            held = self.headers.get("If-Range")  # a weak tag never holds (RFC 9110, 13.1.5)
            same = held is None or (held == state.etag and not held.startswith("W/"))
            if wanted and same and fault != "no-range":
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                start = int(first)
                if start >= len(state.payload):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(state.payload)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                body = state.payload[start : int(last) + 1 if last else None]
                if fault == "other-bytes":
                    body = bytes(len(body))
                self.send_response(206)
                shown = start + 1 if fault == "wrong-range" else start
                last_byte = start + len(body) - 1
                self.send_header("Content-Range", f"bytes {shown}-{last_byte}/{len(state.payload)}")
            else:
                self.send_response(200)
            self.send_header("ETag", state.etag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if fault in ("reset", "truncate", "stall"):
                self.wfile.write(body[: int(value or 0)])
                self.wfile.flush()
                if fault == "reset":  # a RST instead of an orderly end, once the bytes are read
                    time.sleep(0.1)
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                if fault == "stall":
                    with contextlib.suppress(OSError):  # until the client gives up or is killed
                        self.connection.recv(1)
                self.close_connection = True
                self.connection.close()
                return
            with contextlib.suppress(OSError):
                self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None: ...

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}/file.bin"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
