"""The lock of a workspace, and the record of who has it or had it last: runs/build.json.

The lock itself is the kernel's. The record is for people and for `artsound status`; it holds times
of the clock, since nothing of a release is made of it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from artsound.errors import ArtSoundError
from artsound.progress import command_line
from artsound.storage import Workspace, read_json, write_json


@dataclass(frozen=True)
class Lock:
    """A process that has, or had, the lock of a workspace. Times are seconds since 1970.

    `birth` distinguishes it from a later process with the same number: clock ticks since the
    machine started, 0 if unknown. `ended` is 0 while it works and if it was killed; `error` is the
    message with which it failed.
    """

    pid: int
    host: str
    command: str
    started: float
    birth: int
    ended: float = 0.0
    error: str = ""


@contextlib.contextmanager
def lock_workspace(workspace: Workspace) -> Iterator[None]:
    """Lock `workspace` for one build; BadUsage when another process has locked it."""
    with workspace.lock():
        lock = Lock(os.getpid(), socket.gethostname(), command_line(), time.time(), _birth())
        path = _path(workspace)
        write_json(path, asdict(lock))
        try:
            yield
        except Exception as error:
            failed = replace(lock, ended=time.time(), error=str(error) or type(error).__name__)
            with contextlib.suppress(ArtSoundError):  # on a full disk `error` is reported
                write_json(path, asdict(failed))
            raise
        write_json(path, asdict(replace(lock, ended=time.time())))


def last_lock(workspace: Workspace) -> Lock | None:
    """Who works there, or did last; None without a record."""
    try:
        return Lock(**read_json(_path(workspace)))
    except (ArtSoundError, TypeError):
        return None


def is_alive(lock: Lock) -> bool | None:
    """Whether the process still works; None when it is another machine's."""
    if lock.ended:
        return False
    if lock.host != socket.gethostname():
        return None
    try:
        os.kill(lock.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        pass
    return _birth(lock.pid) == lock.birth


def _path(workspace: Workspace) -> Path:
    return workspace.runs / "build.json"


def _birth(pid: int | None = None) -> int:
    """When a process was started, in clock ticks since the machine was; 0: unknown, or dead."""
    try:
        text = Path(f"/proc/{pid or os.getpid()}/stat").read_text()
    except OSError:
        return 0
    state, *fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return 0 if state in "ZX" else int(fields[18])
