"""A command run and watched: seconds, processor time and memory of it and all its children."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_SOONEST, _LATEST = 0.25, 2.0  # s between two looks: of a long run, few are enough


@dataclass
class Timeline:
    """What was seen at each look: the time, processor seconds so far, and bytes in memory."""

    at: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def look(self, process: psutil.Process) -> None:
        """Add what a process and its children have used by now."""
        cpu, memory = 0.0, 0
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                times = one.cpu_times()
                cpu += times.user + times.system + times.children_user + times.children_system
                memory += one.memory_full_info().pss
        self.at.append(time.time())
        self.cpu.append(max([cpu, *self.cpu[-1:]]))  # a child that has just ended is not yet summed
        self.memory.append(memory)

    def between(self, start: float, stop: float) -> tuple[float, int]:
        """Processor seconds, and the most memory, from one time to another."""
        first = max(0, bisect_right(self.at, start) - 1)
        last = max(first, bisect_right(self.at, stop) - 1)
        return self.cpu[last] - self.cpu[first], max(self.memory[first : last + 1])


def watch(
    command: Sequence[str], log: Path, look_too: Callable[[Timeline], None] = lambda _: None
) -> Timeline:
    """Run a command to its end, its output going to `log`; `look_too` is called at every look.

    The memory of several processes that share pages counts those once. Interrupted, the command
    is interrupted first. Raises SystemExit with its last lines when it fails.
    """
    timeline, began = Timeline(), time.time()
    with log.open("a") as output:
        running = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            process = psutil.Process(running.pid)
            while running.poll() is None:
                with contextlib.suppress(psutil.Error):
                    timeline.look(process)
                    look_too(timeline)
                passed = time.time() - began
                time.sleep(min(_LATEST, max(_SOONEST, passed / 60)))
        finally:
            if running.poll() is None:
                running.send_signal(signal.SIGINT)
                running.wait()
            _end_of(timeline)
            look_too(timeline)
    if running.returncode:
        last = log.read_text().splitlines()[-8:]
        raise SystemExit("\n".join([*last, f"{' '.join(command)}: exit {running.returncode}"]))
    return timeline


def _end_of(timeline: Timeline) -> None:
    """The last look came a moment before the end: what the kernel counted settles the rest."""
    timeline.at.append(time.time())
    timeline.cpu.append(timeline.cpu[-1] if timeline.cpu else 0.0)
    timeline.memory.append(timeline.memory[-1] if timeline.memory else 0)


def disk_usage(folder: Path) -> int:
    """Bytes on disk below a folder, a file with several names counted once."""
    seen: set[int] = set()
    total, waiting = 0, [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                status = entry.stat(follow_symlinks=False)
                if status.st_ino not in seen:
                    seen.add(status.st_ino)
                    total += status.st_blocks * 512
    return total
