"""Who is at work in a workspace, and how the last one to be there ended: runs/build.json.

The lock itself is the kernel's; this record is for people and for `artsound status`, and nothing
of a release is made of it, so it may hold the clock.
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
    """A process that holds, or held, a workspace. Times are seconds since 1970.

    `birth` tells it from a later process with the same number: clock ticks since the machine
    started, 0 where that cannot be known. `ended` is 0 while it works and where it was killed;
    `error` is what it failed with.
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
    """Hold `workspace` for one build, on record; BadUsage when another process holds it."""
    with workspace.lock():
        holder = Lock(os.getpid(), socket.gethostname(), command_line(), time.time(), _birth())
        path = _path(workspace)
        write_json(path, asdict(holder))
        try:
            yield
        except Exception as error:
            failed = replace(holder, ended=time.time(), error=str(error) or type(error).__name__)
            with contextlib.suppress(ArtSoundError):  # a full disk is told once, by `error`
                write_json(path, asdict(failed))
            raise
        write_json(path, asdict(replace(holder, ended=time.time())))


def last_lock(workspace: Workspace) -> Lock | None:
    """Who works there, or did last; None where nobody is on record."""
    try:
        return Lock(**read_json(_path(workspace)))
    except (ArtSoundError, TypeError):
        return None


def is_alive(holder: Lock) -> bool | None:
    """Whether the process still works; None when it is another machine's."""
    if holder.ended:
        return False
    if holder.host != socket.gethostname():
        return None
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's process
        pass
    return _birth(holder.pid) == holder.birth


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
