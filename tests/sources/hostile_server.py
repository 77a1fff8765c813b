"""A server on loopback that answers any bytes, and answers that harm a naive client."""

from __future__ import annotations

import contextlib
import gzip
import io
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator

from artsound.sources.http import Patience

QUICK = Patience(
    retries=1, backoff=0.01, longest_wait=0.1, connect=2.0, stall=0.3, answer=1.0, slowest=1000
)
Answer = Callable[[socket.socket, str], None]


def a_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("fma_metadata/tracks.csv", b"track_id\n" * 100)
    return buffer.getvalue()


ZIP = a_zip()


@contextlib.contextmanager
def raw_server(answer: Answer) -> Iterator[str]:
    """An address at which `answer` gets each connection and the head of its request."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (more := connection.recv(65_536)):
                    return  # a first contact, without a request
                head += more
            answer(connection, head.decode("latin-1"))

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/fma.zip"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "Connection: close", "", ""]).encode()


def sends(*pieces: bytes, pause: float = 0.0, times: int = 1) -> Answer:
    def answer(connection: socket.socket, _: str) -> None:
        for piece in [*pieces[:-1], *[pieces[-1]] * times]:
            connection.sendall(piece)
            time.sleep(pause)

    return answer


def moves(place: str) -> Answer:
    return sends(head(f"Location: {place}", "Content-Length: 0", status="302 Found"))


def endless(status: str, *lines: str) -> Answer:
    return sends(head(*lines, status=status), b"\0" * (1 << 20), times=4000)


HOSTILE = {
    "lengths differ": sends(head("Content-Length: 5", "Content-Length: 7"), b"12345"),
    "negative length": sends(head("Content-Length: -5"), b"abc"),
    "length is a word": sends(head("Content-Length: abc"), b"abc"),
    "number of 5,000 digits": sends(
        head(f"Content-Range: bytes 0-0/{'9' * 5000}", status="206 Partial Content"), b"x"
    ),
    "no http": sends(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "nothing": sends(b""),
    "500 headers": sends(head(*[f"X{n}: y" for n in range(500)]), b""),
    "a header of 100 kB": sends(head("X: " + "y" * 100_000), b""),
    "folded header": sends(b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: -5\r\n\r\nabc"),
    "headers that trickle": sends(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", pause=0.1, times=100),
    "a body that trickles": sends(head("Content-Length: 100000"), b"x", pause=0.05, times=200),
    "endless 503": endless("503 Service Unavailable", "Retry-After: 99999999999999999999999"),
    "429 with a bad date": sends(
        head("Retry-After: Fri, 99 Zzz 99999 99:99:99 GMT", status="429 Slow"), b""
    ),
    "endless redirect": endless("302 Found", "Location: /again"),
    "bad chunks": sends(head("Transfer-Encoding: chunked"), b"zzzz\r\nabc"),
    "compressed": sends(head("Content-Encoding: gzip"), gzip.compress(bytes(1 << 20))),
    **{
        f"moves to {place}": moves(place)
        for place in (
            "file:///etc/passwd", "http://", "http://[::1", "//", "http://a b/", "gopher://x/",
            "http://127.0.0.1:99999/", "http://\xff/", "http://" + "a" * 70 + ".example/",
        )
    },
}  # fmt: skip


def ranged(size: int, body: Callable[[int, int], bytes], extra: bytes = b"") -> Answer:
    """Answers ranges of a file of `size` bytes, each with `extra` bytes without end behind it.

    A request of no range is answered with the whole file.
    """

    def answer(connection: socket.socket, request: str) -> None:
        asked = request.lower().partition("range: bytes=")[2].partition("\r\n")[0]
        first, _, last = asked.partition("-")
        if not first:
            connection.sendall(head())
            connection.sendall(body(0, size))
            return
        start, end = int(first), int(last) + 1 if last else size
        connection.sendall(
            head(f"Content-Range: bytes {start}-{end - 1}/{size}", status="206 Partial Content")
        )
        connection.sendall(body(start, end))
        while extra and start:
            connection.sendall(extra)

    return answer
