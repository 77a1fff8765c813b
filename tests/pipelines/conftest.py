"""One Prefect server for all tests of this room: starting one takes half a minute."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

POSTGRES = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Server:
    """A running Prefect server: its address, its database's, and what it has logged so far."""

    url: str
    database: str
    log: Path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def postgres_programs() -> Path | None:
    """The folder of initdb and pg_ctl, of the newest PostgreSQL there is."""
    found = shutil.which("initdb")
    folders = sorted(POSTGRES.glob("*/bin"), key=lambda path: float(path.parent.name))
    return Path(found).resolve().parent if found else folders[-1] if folders else None


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The address of a new database; empty where PostgreSQL is not installed."""
    programs = postgres_programs()
    if programs is None:
        yield ""
        return
    # It refuses to run as root, and a socket's path must be short.
    user = "postgres" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if user is not None:
        shutil.chown(folder, user)
    port = free_port()

    def call(program: str, *arguments: str) -> None:
        subprocess.run(
            [programs / program, "-D", folder / "data", *arguments],
            user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
        )  # fmt: skip

    try:
        call("initdb", "-U", "prefect", "-A", "trust", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        call("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            call("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prefect server of its own, on PostgreSQL where that is installed, else on SQLite."""
    import requests

    home = tmp_path_factory.mktemp("prefect")
    port = free_port()
    with postgres() as database, (home / "server.log").open("wb") as log:
        environment = os.environ | {
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
        }
        if database:
            environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)],
            env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}/api"
            for _ in range(600):
                with contextlib.suppress(requests.ConnectionError):
                    if requests.get(f"{url}/health", timeout=5).ok:
                        break
                assert server.poll() is None, (home / "server.log").read_text()
                time.sleep(0.2)
            yield Server(url, database, home / "server.log")
        finally:
            os.killpg(server.pid, 15)
            server.wait(30)
