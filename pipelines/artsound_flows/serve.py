"""The process of Prefect's temporary server: `serve.py SOCKET PARENT FOLDER [TEMPLATE]`.

`server.py` runs this file as a script, with Prefect's settings in the environment. It imports
nothing of ArtSound, and nothing of the folder in which the build was started.

The server's database is a file in FOLDER. Its migrations take five seconds, so that a migrated,
empty one is stored as TEMPLATE and copied from there the next time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import sqlite3
import sys
import threading
import time
from pathlib import Path


def main(descriptor: int, parent: int, folder: Path, template: Path | None = None) -> None:
    """Serve on the listening socket `descriptor` for as long as the process `parent` lives."""
    threading.Thread(target=_end_with, args=(parent, folder), daemon=True).start()
    os.chdir(folder)  # Prefect reads settings files of the working directory
    database = folder / "prefect.db"
    if template is None or not _copy_template(template, database):
        from prefect.server.database import provide_database_interface

        asyncio.run(provide_database_interface().create_db())
        if template is not None:
            _store_template(database, template)

    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app(ephemeral=True, final=True)
    config = uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


def _end_with(parent: int, folder: Path) -> None:
    # Asked again and again, since a signal at a parent's death (PR_SET_PDEATHSIG) comes as early
    # as the thread that started this process ends, and a pipe is inherited by forked children.
    while os.getppid() == parent:
        time.sleep(1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _copy_template(template: Path, database: Path) -> bool:
    """Whether `template` is a whole, migrated database; then `database` is a copy of it."""
    try:
        shutil.copyfile(template, database)
        with contextlib.closing(sqlite3.connect(database)) as opened:
            whole = opened.execute("PRAGMA quick_check").fetchall() == [("ok",)]
            versions = opened.execute("SELECT version_num FROM alembic_version").fetchall()
        if whole and len(versions) == 1:
            return True
    except (OSError, sqlite3.Error):
        pass
    database.unlink(missing_ok=True)
    return False


def _store_template(database: Path, template: Path) -> None:
    """Write a copy of `database` under the name `template`, where that is possible."""
    unfinished = template.with_name(f".tmp-{template.name}-{os.getpid()}")
    try:
        template.parent.mkdir(parents=True, exist_ok=True)
        with (
            contextlib.closing(sqlite3.connect(database)) as source,
            contextlib.closing(sqlite3.connect(unfinished)) as target,
        ):
            source.backup(target)
        unfinished.replace(template)
    except (OSError, sqlite3.Error):
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), *map(Path, sys.argv[4:]))
