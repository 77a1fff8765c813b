"""`artsound browse` started as a user starts it, until its first page and a picture are there.

python benchmarks/full_size/first_page.py SHARDS
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATIENCE = 120.0  # s


def main() -> None:
    """Start the browser, ask for its first page, stop it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shards")
    options = parser.parse_args()
    began = time.perf_counter()
    with served(options.shards) as (base, server):
        wait_for(f"{base}/", server)
        view = json.loads(get(f"{base}/api/view"))
        key = view["pairs"][0]["key"]
        for member in ("jpg", "mp3"):
            get(f"{base}/media/{key}.{member}")
        print(f"first page after {time.perf_counter() - began:.1f} s")


@contextmanager
def served(shards: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`artsound browse` on a free port: its address and its process, which ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "artsound"), "browse", shards]
    server = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=30)


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    """Ask until there is an answer."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            get(address)
            return
        except urllib.error.URLError:
            if time.monotonic() > until or server.poll() is not None:
                raise
            time.sleep(0.01)


def get(address: str) -> bytes:
    """The whole answer."""
    with urllib.request.urlopen(address) as answer:
        data: bytes = answer.read()
    return data


if __name__ == "__main__":
    main()
