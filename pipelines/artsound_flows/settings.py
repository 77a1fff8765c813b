"""Prefect's settings for a build on one machine: no server to set up, no noise.

The package imports this before prefect. Whatever the environment already says is respected, so
a build with PREFECT_API_URL set reports to that server.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

from artsound.cache_dir import use_writable_cache

_QUIET = {
    # A temporary server migrates its database first: 20 to 30 s on a new machine, not prefect's 20.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # Its shutdown logs "Error flushing" and "database is locked", which harm nothing.
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    # Otherwise a failed task's traceback would precede the error message.
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    # Interrupted, it prints every event that it could no longer send.
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",
    # A temporary server's events are never read (states of runs are stored without). Writing them
    # locks its SQLite: requests meanwhile are refused, and made again 2 s later.
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # Otherwise the resource tracker of an interrupted build lists what it removed.
    "PYTHONWARNINGS": "ignore::UserWarning:multiprocessing.resource_tracker",
}

for _name, _value in _QUIET.items():
    os.environ.setdefault(_name, _value)

use_writable_cache("PREFECT_HOME", ".prefect")


def cache_folder() -> Path | None:
    """The folder for files shared by builds; None without a home folder."""
    with contextlib.suppress(RuntimeError):
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(caches).absolute() / "artsound"
    return None


def _own_database() -> None:
    """Give a server that Prefect starts in this process its own database.

    It starts one for a flow that is called without a server. The database of PREFECT_HOME may be
    of another version: it would be migrated or, if newer, the server would not start.
    """
    names = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
    folder = cache_folder()
    if folder is None or any(name in os.environ for name in names):
        return
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            path = folder / f"prefect-{version('prefect')}-flows.db"
            os.environ[names[0]] = f"sqlite+aiosqlite:///{path}"


_own_database()

# These two warn at exit, by the root logger, if a last event is still being sent.
for _name in ("EventsWorker", "APILogWorker"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

# Prefect prints records of the root logger; retries are shown by the progress.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


def _remove_exit_hooks() -> None:
    """In a forked child, remove the exit hooks of Prefect's services.

    The child has none of their threads, so the hooks raise and it ends with code 1, which a
    DataLoader reports as a crash of its worker.
    """
    waiting: list[Any] = threading._threading_atexits  # type: ignore[attr-defined]
    waiting[:] = [each for each in waiting if not _is_prefects(each.func)]


def _is_prefects(hook: Any) -> bool:
    return type(getattr(hook, "__self__", None)).__module__.startswith("prefect.")


os.register_at_fork(after_in_child=_remove_exit_hooks)
