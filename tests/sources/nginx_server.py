"""A real nginx on loopback, serving one folder; its access log says which bytes travelled."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

_SENTINEL = re.compile(r"/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CONFIG = """
daemon off; master_process off; worker_processes 1; error_log {logs}/error.log; pid {logs}/pid;
events {{ worker_connections 64; }}
http {{
  log_format bytes '$status $body_bytes_sent $request_uri';
  access_log {logs}/access.log bytes; sendfile on; keepalive_requests 100000;
  client_body_temp_path {logs}/a; proxy_temp_path {logs}/b; fastcgi_temp_path {logs}/c;
  uwsgi_temp_path {logs}/d; scgi_temp_path {logs}/e;
  server {{ listen 127.0.0.1:{port}; root {root}; {extra} }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """A running server. `requests` gives (status, body bytes, path) of all answers so far."""

    url: str
    log: Path

    def requests(self) -> list[tuple[int, int, str]]:
        # A request is logged after its last byte is sent, and in the order of the ends: all that
        # came before this last one are logged when it is.
        last = f"/{uuid.uuid4()}"
        requests.get(self.url + last, timeout=60)
        while last not in (text := self.log.read_text()):
            time.sleep(0.01)
        rows = [line.split(" ", 2) for line in text.splitlines()]
        found = [(int(status), int(size), path) for status, size, path in rows]
        return [row for row in found if not _SENTINEL.fullmatch(row[2])]

    def sent(self, name: str = "") -> int:
        """Body bytes sent for paths that end so."""
        return sum(size for _, size, path in self.requests() if path.endswith(name))


@contextlib.contextmanager
def nginx(root: Path, logs: Path, extra: str = "") -> Iterator[Nginx]:
    """nginx serving `root`; skips the test, with the reason, where nginx is absent."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        pytest.skip("nginx is not installed (Debian package nginx-light)")
    logs.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = logs / "nginx.conf"
    config.write_text(_CONFIG.format(logs=logs, root=root, port=port, extra=extra))
    command = [program, "-c", str(config), "-p", str(logs), "-e", str(logs / "error.log")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port, logs / "error.log")
            yield Nginx(f"http://127.0.0.1:{port}", logs / "access.log")
        finally:
            process.terminate()


def _wait_for(port: int, errors: Path) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nginx did not start: {errors.read_text() if errors.exists() else ''}")
