"""Signals sent at a named change of files, so that no test has to hit a moment of the clock.

Every change of a file ends in a rename (artsound.storage), which Python announces to audit hooks
just before it happens. A process that hears its own can count them, and strike itself there.
"""

from __future__ import annotations

import fnmatch
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def on_rename(pattern: str, act: Callable[[str], object]) -> None:
    """Call `act` with the new path just before each rename of this process that fits `pattern`.

    The hook lasts as long as the process does: only for processes that a test has started.

    Args:
        pattern: What the new path has to fit, in the notation of `fnmatch` (`*` also spans `/`).
        act: Gets the new path.
    """

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and fnmatch.fnmatch(os.fsdecode(arguments[1]), pattern):
            act(os.fsdecode(arguments[1]))

    sys.addaudithook(hear)


def list_renames(pattern: str, to: Path) -> None:
    """Append the new path of each rename that fits `pattern` to a file, a line each.

    Args:
        pattern: As of `on_rename`.
        to: The file.
    """

    def act(path: str) -> None:
        with to.open("a") as file:
            file.write(f"{path}\n")

    on_rename(pattern, act)


def strike(pattern: str, number: int, signum: int, *, group: bool = False) -> None:
    """Send `signum` to this process, or to its whole group, before its `number`-th such rename.

    Args:
        pattern: As of `on_rename`.
        number: Which of the renames, from 0.
        signum: The signal.
        group: Whether all processes of the process group get it.
    """
    left = [number]

    def act(_: str) -> None:
        if left[0] == 0:
            if group:
                os.killpg(0, signum)
            else:
                os.kill(os.getpid(), signum)
            if signum in (signal.SIGINT, signal.SIGTERM):
                time.sleep(120)  # this very file does not appear before the signal has its effect
        left[0] -= 1

    on_rename(pattern, act)


def striking(
    folder: Path, pattern: str, number: int, signum: int, *, group: bool
) -> dict[str, str]:
    """Environment variables under which every Python process strikes, as `strike` does.

    Args:
        folder: Where to write the module that Python imports at its start.
        pattern: As of `strike`.
        number: As of `strike`; each process counts for itself.
        signum: As of `strike`.
        group: As of `strike`.

    Returns:
        PYTHONPATH, to be merged into the environment of the process.
    """
    folder.mkdir(parents=True)
    arguments = f"{pattern!r}, {number}, {int(signum)}, group={group}"
    (folder / "sitecustomize.py").write_text(
        f"import sys\nsys.path.append({str(HERE)!r})\nfrom strikes import strike\n"
        f"sys.path.remove({str(HERE)!r})\nstrike({arguments})\n"
    )
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def wait_until_stopped(process: int) -> None:
    """Return once a process has stopped itself with SIGSTOP.

    Raises:
        AssertionError: The process has ended.
    """
    while True:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
        except FileNotFoundError:
            state = "X"
        assert state not in "XZ", "the process ended before it was stopped"
        if state == "T":
            return
        time.sleep(0.02)
