"""Random answers of hostile servers, against everything that reads from a server.

    python tests/sources/fuzz_servers.py [--seconds 600] [--seed 0]

A case is a list of answers, the next one to each request, drawn from a seed. It is survived when
the client ends with what it asked for or with one error message, leaves no file that is not whole
under its final name, and has taken no more bytes than it may from a body without end.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import socket
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from faulty_server import local_client
from hostile_server import HOSTILE, QUICK, ZIP, Answer, head, moves, ranged, raw_server, sends

from artsound.errors import ArtSoundError
from artsound.sources import fetch, http, servers
from artsound.sources.remote_zip import open_remote_zip

# A file of known size, one of any size, members of a zip, pictures, and the list of a record.
PATHS = ("download", "unknown", "range", "image", "record")
LARGEST = 1 << 20  # bytes of a picture or a member
MOST_SENT = 96 << 20  # bytes that a case may bring a client to take, with all its tries
_PATIENCE = replace(QUICK, stall=0.2, answer=0.4, backoff=0.001, longest_wait=0.02, body=1.0)
_BLOCK = bytes(1 << 18)
_STATUSES = (
    "200 OK", "200", "206 Partial Content", "204 No Content", "301 Moved", "302 Found", "304 Same",
    "307 Again", "401 No", "403 No", "404 Gone", "416 Range", "429 Slow", "451 Law", "500 Oops",
    "503 Busy", "100 Continue", "099 Low", "999 High", "2000 Long", "-1 Minus", "abc Word", "",
)  # fmt: skip
_NUMBERS = (
    "0", "1", "7", "100", str(len(ZIP)), "-1", "+5", "1e3", "0x10", " 5 ", "5, 5", "5, 6", "٣",
    "18446744073709551616", "9" * 5000, "999999999999999999", "", "NaN",
)  # fmt: skip
_PLACES = (
    "/", "/fma.zip", "//", "?", "#", "http://", "http://[::1", "http://[::1]:0/", "file:///etc/x",
    "http://127.0.0.1:1/", "http://127.0.0.1:99999/", "http://a b/", "gopher://x/", "data:,x",
    "http://" + "a" * 70 + ".example/", "http://xn--/", "http://\xff/", "http://\u212a/", "\x00",
    "http://user:pw@127.0.0.1:1/", "http:/fma.zip", "HTTP://127.0.0.1:1", "\\\\x\\y", "/" * 9000,
    "http://127.0.0.1\\@x/", "http://169.254.169.254/", "javascript:alert(1)", "http://%00/",
)  # fmt: skip
_DATES = ("Fri, 99 Zzz 99999 99:99:99 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "-5", "9" * 400, "٣")
_CODINGS = ("gzip", "deflate", "br", "zstd", "identity", "gzip, gzip, gzip", "x-unknown")


class Counted:
    """A connection that counts what was sent through it."""

    def __init__(self, connection: socket.socket, sent: list[int]) -> None:
        self._connection, self._sent = connection, sent

    def sendall(self, data: bytes) -> None:
        self._connection.sendall(data)
        self._sent[0] += len(data)

    def setsockopt(self, *options: object) -> None:
        self._connection.setsockopt(*options)  # type: ignore[call-overload]


def headers(chance: random.Random) -> list[str]:
    """Header lines, each of which a client reads, most of them wrong."""
    pick = chance.choice
    made: dict[str, Callable[[], str]] = {
        "Content-Length": lambda: pick(_NUMBERS),
        "Content-Range": lambda: (
            f"bytes {pick(_NUMBERS)}-{pick(_NUMBERS)}/{pick((*_NUMBERS, '*'))}"
        ),
        "Transfer-Encoding": lambda: pick(("chunked", "gzip", "chunked, chunked", "identity")),
        "Content-Encoding": lambda: pick(_CODINGS),
        "Location": lambda: pick(_PLACES),
        "Retry-After": lambda: pick((*_DATES, *_NUMBERS)),
        "ETag": lambda: pick(('"a"', 'W/"a"', "a", '"' + "x" * 9000 + '"', '"\xff"', "")),
        "Last-Modified": lambda: pick(_DATES),
        "X-Robots-Tag": lambda: pick(("noai", "a," * 9000, "x: noai", ":::", "\xff")),
        "TDM-Reservation": lambda: pick(("1", "0", "\xff", "9" * 400)),
        "Content-Usage": lambda: pick(("train-ai=n", "train-ai=" * 999, '"')),
        "Content-Type": lambda: pick(("text/html; charset=\xff", "a/b; charset=" + "x" * 999)),
        "Set-Cookie": lambda: pick(("a=b; domain=evil; path=/", "=" * 4000, "\x00")),
        "Connection": lambda: pick(("close", "keep-alive", "upgrade")),
    }
    names = chance.sample(sorted(made), chance.randrange(0, 7))
    lines = [f"{name}: {made[name]()}" for name in names for _ in range(pick((1, 1, 1, 2)))]
    if chance.random() < 0.1:
        lines.append(pick(("no colon", ": empty", " folded", "X" * 70_000, "X: a\x00b", "\xff: y")))
    return lines


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Bytes with a few of them changed, cut, repeated or overwritten by large numbers."""
    changed = bytearray(data)
    for _ in range(chance.randrange(0, 6)):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(5)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del changed[at : at + chance.randrange(1, 40)]
        elif kind == 2:
            changed[at:at] = chance.randbytes(chance.randrange(1, 40))
        elif kind == 3:
            form, value = chance.choice((("<H", 0xFFFF), ("<L", 0xFFFF_FFFF), ("<L", 0), ("<H", 1)))
            changed[at : at + struct.calcsize(form)] = struct.pack(form, value)
        else:  # near the end, where a zip's records are
            at = max(0, len(changed) - chance.randrange(1, 120))
            changed[at : at + 1] = chance.randbytes(1)
    return bytes(changed)


def body(chance: random.Random) -> tuple[list[bytes], float, int]:
    """Pieces of a body, the pause after each in seconds, and how often the last one comes."""
    kind = chance.randrange(8)
    if kind == 0:
        return [_BLOCK], 0.0, 10_000  # without end
    if kind == 1:
        return [b"x"], 0.05, 60  # a trickle
    if kind == 2:
        return [chance.randbytes(chance.randrange(0, 400))], 0.0, 1
    if kind == 3:
        size = chance.choice((b"40000", b"ffffffffffffffffffff", b"-1", b"g", b"", b"0" * 70_000))
        return [size + b"\r\n" + _BLOCK + b"\r\n"], 0.0, chance.choice((1, 10_000))
    if kind == 4:
        return [b"<html>" + chance.randbytes(40)], 0.0, 1
    if kind == 5:
        return [b'{"files": [{"key": "a.zip", "size": ' + b"[" * chance.randrange(9000)], 0.0, 1
    data = mutated(ZIP, chance)
    return [data[: chance.randrange(len(data) + 1)] if kind == 6 else data], 0.0, 1


def answer(chance: random.Random) -> Answer:
    """One answer: a table's, a zip by range that lies, or headers and a body drawn at random."""
    kind = chance.random()
    if kind < 0.25:
        return HOSTILE[chance.choice(sorted(HOSTILE))]
    if kind < 0.6:
        data = mutated(ZIP, chance)
        size = chance.choice((len(data),) * 6 + (1, 10**12, 2**63, len(data) + 5))
        extra = _BLOCK if chance.random() < 0.2 else b""
        return ranged(size, lambda start, end: data[start:end], extra)
    if kind < 0.7:
        return moves(chance.choice(_PLACES))
    if kind < 0.75:
        return _reset
    pieces, pause, times = body(chance)
    begin = head(*headers(chance), status=chance.choice(_STATUSES))
    if chance.random() < 0.1:
        begin = mutated(begin, chance)
    return sends(begin, *pieces, pause=pause, times=times)


def _reset(connection: socket.socket, _: str) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def ask(path: str, url: str, folder: Path, chance: random.Random) -> object:
    """Read from the server at `url` as a build does on one of `PATHS`."""
    client = local_client(_PATIENCE)
    if path == "download":
        digest = chance.choice(("", f"sha1:{hashlib.sha1(ZIP).hexdigest()}"))
        remote = http.RemoteFile(url, digest, size=len(ZIP))
        return http.download(remote, folder / "fma.zip", client=client)
    if path == "unknown":
        return http.download(http.RemoteFile(url), folder / "fma.zip", client=client)
    if path == "range":
        archive = open_remote_zip(url, cache=folder, client=client)
        return [len(data) for _, data in archive.read(archive.members, limit=LARGEST)
                if isinstance(data, bytes)]  # fmt: skip
    if path == "record":
        return servers.record_files(url, client)
    return dict(fetch.fetch_images({"a": url, "b": f"{url}?2"}, client, largest=LARGEST))


def fault_of(path: str, seed: str) -> str:
    """What a case did that it may not do; empty when it was survived."""
    chance = random.Random(seed)
    answers = [answer(chance) for _ in range(chance.choice((1, 1, 2, 3)))]
    sent, asked = [0], [0]

    def serve(connection: socket.socket, request: str) -> None:
        one = answers[asked[0] % len(answers)]
        asked[0] += 1
        one(Counted(connection, sent), request)  # type: ignore[arg-type]

    with tempfile.TemporaryDirectory() as name, raw_server(serve) as url:
        folder = Path(name)
        try:
            ask(path, url, folder, chance)
        except ArtSoundError as error:
            if "\n" in str(error) or not 10 < len(str(error)) < 1000:
                return f"a message of another form: {str(error)[:200]!r}"
        except Exception as error:  # noqa: BLE001  (whatever it is, it is the finding)
            return f"{type(error).__name__}: {error}"
        whole = folder / "fma.zip"
        if whole.exists() and not zipfile.is_zipfile(whole):
            return "a file that is no zip has its name"
    # A file of unknown size may fill half of the disk, which is not tried here.
    much = sent[0] > MOST_SENT and path != "unknown"
    return f"{sent[0]:,} bytes were taken" if much else ""


def attack(seed: int, first: int, last: int) -> Iterator[tuple[str, str]]:
    """Cases `first` to `last` of a seed on every path; yields name and fault of those lost."""
    names = [(path, f"{seed}:{path}:{number}") for number in range(first, last) for path in PATHS]
    with ThreadPoolExecutor(16) as pool:  # most of the time a client waits
        faults = pool.map(lambda case: fault_of(*case), names)
        yield from ((name, fault) for (_, name), fault in zip(names, faults, strict=True) if fault)


def main() -> None:
    """Attack for a time, print what was found, and exit with 1 if anything was."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    options = parser.parse_args()
    began, number, found = time.monotonic(), 0, 0
    while time.monotonic() - began < options.seconds:
        for name, fault in attack(options.seed, number, number + 25):
            found += 1
            print(f"{name}: {fault}", flush=True)
        number += 25
    print(f"seed {options.seed}: {number * len(PATHS):,} cases, {found} lost")
    raise SystemExit(found > 0)


if __name__ == "__main__":
    main()
