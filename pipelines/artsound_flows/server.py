"""Prefect's temporary server: a process with a database of its own, for the length of a build.

It neither reads nor writes PREFECT_HOME, whose database may be another version's, and it ends
within seconds after this process, however that ends. One serves all builds of a process.
"""

from __future__ import annotations

import atexit
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from artsound.errors import BadUsage
from artsound_flows.settings import cache_folder

_SCRIPT = Path(__file__).with_name("serve.py")
_PATIENCE = 180.0  # seconds: on a busy machine, without a template, starting takes 30
_SETTINGS = {
    "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",  # serve.py has migrated it
    "PREFECT_SERVER_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # A temporary server's events are never read, and writing them locks its SQLite: requests
    # meanwhile are refused, and repeated 2 s later.
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    "PREFECT_UI_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


def has_own_server() -> bool:
    """Whether the user has set a Prefect server: PREFECT_API_URL in the environment, in a profile
    or in a settings file.

    Prefect itself is imported, which takes a second, only where such a file may name one.
    """
    if "PREFECT_API_URL" in os.environ:
        return bool(os.environ["PREFECT_API_URL"])
    if not any(_may_name_server(path) for path in _settings_files()):
        return False
    try:
        from prefect.settings import PREFECT_API_URL

        return bool(PREFECT_API_URL.value())
    except Exception as error:  # whatever those files may hold
        message = (str(error) or type(error).__name__).splitlines()[0]
        raise BadUsage(f"Prefect's settings cannot be read: {message}") from error


def start() -> None:
    """Start the temporary server, if it does not run, without waiting for it."""
    global _server  # noqa: PLW0603  (one per process, as Prefect has it)
    with _starting:
        if _server is None or _server.process.poll() is not None:
            _server = _Server()


def address() -> str:
    """The PREFECT_API_URL of the temporary server, once it answers; it is started if need be.

    Raises BadUsage, with the server's last words, when it ends or stays silent instead.
    """
    start()
    assert _server is not None
    _server.wait()
    return _server.url


def watch(report: Callable[[str], None]) -> Callable[[], None]:
    """Call `report`, from a thread, with a sentence if the running server ends; returns a function
    that ends the watch."""
    server, done = _server, threading.Event()
    assert server is not None

    def wait() -> None:
        server.process.wait()
        if not done.is_set():
            report(server.obituary())

    threading.Thread(target=wait, daemon=True).start()
    return done.set


def watch_for(
    answers: Callable[[], bool],
    sentence: str,
    report: Callable[[str], None],
    patience: float = 20.0,
) -> Callable[[], None]:
    """Call `report` with a sentence, from a thread, once something has stopped answering.

    Args:
        answers: Whether it answers now; it is asked every second.
        sentence: What to report.
        report: Called once, after `answers` was true and then false for `patience` seconds.
        patience: In seconds.

    Returns:
        A function that ends the watch.
    """
    done = threading.Event()

    def wait() -> None:
        last = float("inf")  # nothing is reported that has never answered
        while not done.wait(min(1.0, patience / 4)):
            if answers():
                last = time.monotonic()
            elif time.monotonic() - last >= patience:
                report(sentence)
                return

    threading.Thread(target=wait, daemon=True).start()
    return done.set


def accepts_connections(url: str) -> bool:
    """Whether a connection to the server of an address, not through a proxy, can be opened."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=5.0):
            return True
    except (OSError, ValueError):
        return False


def check_own_server(url: str) -> None:
    """Raise BadUsage where nothing listens at the address of the user's own server.

    Behind a proxy that is not known until Prefect itself has tried.
    """
    if not getproxies().get(urlsplit(url).scheme) and not accepts_connections(url):
        raise BadUsage(
            f"No Prefect server answers at {url}: start it, or unset PREFECT_API_URL to build "
            "without one."
        )


def stop() -> None:
    """End the temporary server, where there is one, and remove its database.

    Also one that Prefect itself has started in this process, for a flow that was called without a
    server.
    """
    if _server is not None:
        _server.stop()
    module = sys.modules.get("prefect.server.api.server")
    theirs = module.SubprocessASGIServer().server_process if module is not None else None
    if theirs is not None:
        theirs.kill()


class _Server:
    """The process, its folder, and the address at which it will answer."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="artsound-prefect-"))
        self._log = self.folder / "server.log"
        # The socket exists before the process: its port is known and cannot be taken by another.
        with (
            socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
            self._log.open("wb") as log,
        ):
            self.port = listener.getsockname()[1]
            arguments = [listener.fileno(), os.getpid(), self.folder, *_template()]
            self.process = subprocess.Popen(
                # -P: a script's folder is on sys.path otherwise, and ours has a settings.py.
                [sys.executable, "-P", str(_SCRIPT), *map(str, arguments)],
                env=_environment(self.folder), pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                process_group=0,  # Ctrl-C is this process's to handle
            )  # fmt: skip
        self.url = f"http://127.0.0.1:{self.port}/api"
        atexit.register(self.stop)

    def wait(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            if self.process.poll() is not None:
                raise BadUsage(self.obituary())
            if time.monotonic() > deadline:
                raise BadUsage(
                    f"Prefect's temporary server did not answer in {_PATIENCE:.0f} s. {_REMEDY}"
                )
            time.sleep(0.05)

    def obituary(self) -> str:
        """A sentence on a server that has ended, with the last line that it wrote."""
        with suppress(OSError):
            lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
            words = [line.strip() for line in lines if line.strip()]
            if words:
                return f"Prefect's temporary server ended: {words[-1][:500]}. {_REMEDY}"
        return f"Prefect's temporary server ended with code {self.process.returncode}. {_REMEDY}"

    def stop(self) -> None:
        self.process.kill()  # nothing of its database is used again
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=0.5)
        try:
            connection.request("GET", "/api/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


_REMEDY = "--runner processes builds without it, PREFECT_API_URL names a server of your own."
_server: _Server | None = None
_starting = threading.Lock()


def _environment(folder: Path) -> dict[str, str]:
    """This process's environment, with settings of Prefect's that are the server's alone."""
    others = {name: value for name, value in os.environ.items() if name[:8] != "PREFECT_"}
    return (
        others
        | _SETTINGS
        | {
            "PREFECT_HOME": str(folder),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder}/prefect.db",
        }
    )


def _template() -> list[Path]:
    """Where the migrated database of this version of Prefect is stored; nowhere without a home."""
    folder = cache_folder()
    return [] if folder is None else [folder / f"prefect-{version('prefect')}.db"]


def _settings_files() -> list[Path]:
    """The files in which Prefect looks for settings."""
    files = [Path(name) for name in (".env", "prefect.toml", "pyproject.toml")]
    if "PREFECT_PROFILES_PATH" in os.environ:
        files.append(Path(os.environ["PREFECT_PROFILES_PATH"]))
    with suppress(RuntimeError):
        home = os.environ.get("PREFECT_HOME") or Path.home() / ".prefect"
        files.append(Path(home).expanduser() / "profiles.toml")
    return files


def _may_name_server(path: Path) -> bool:
    try:
        text = path.read_bytes().lower()
    except OSError:
        return False
    if path.name == "pyproject.toml":
        return b"tool.prefect" in text
    return path.name == "prefect.toml" or b"api_url" in text
