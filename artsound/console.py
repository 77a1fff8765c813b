"""What a person at a terminal sees: progress, the table of stages, one sentence when it fails.

Progress goes to standard error, results to standard output, so that a pipe gets results alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from artsound.stage import Progress, StageReport


def console_progress() -> Progress:
    """A moving bar on a terminal, plain lines elsewhere."""
    return _BarProgress() if sys.stderr.isatty() else _LineProgress()


_SILENCE = 60.0  # seconds without a line that are long enough


class _LineProgress:
    """One line when a stage begins, one at every quarter or minute, one when it ends."""

    def start(self, stage: str, items: int, unit: str = "items") -> None:
        self._stage, self._items, self._unit, self._done, self._told = stage, items, unit, 0, 0
        self._began = self._spoke = time.monotonic()
        self._before = 0
        self._say(f"{stage}: {self._count(items)}" if items else stage)

    def total(self, items: int) -> None:
        self._items = items

    def advance(self, items: int) -> None:
        self._done += items
        quarter = 4 * self._done // max(self._items, 1)
        now = time.monotonic()
        if now - self._began < 0.5:  # what an earlier run left comes at once: it makes no rate
            self._before = self._done
        if self._done < self._items and (quarter > self._told or now - self._spoke > _SILENCE):
            self._told, self._spoke = quarter, now
            self._say(f"{self._stage}: {self._of()}{self._pace(now - self._began)}")

    def finish(self) -> None:
        self._say(f"{self._stage}: {self._of()} in {time.monotonic() - self._began:.1f} s")

    def note(self, sentence: str) -> None:
        self._say(sentence)

    def _of(self) -> str:
        of = f" of {self._count(self._items)}" if self._items else ""
        return f"{self._count(self._done)}{of}"

    def _pace(self, seconds: float) -> str:
        """Rate and time left, once there is enough to reckon with."""
        if seconds < 1 or self._done <= self._before:
            return ""
        rate = (self._done - self._before) / seconds
        left = human_seconds((self._items - self._done) / rate)
        return f", {self._count(round(rate))}/s, {left} left"

    def _count(self, count: int) -> str:
        return human_bytes(count) if self._unit == "bytes" else f"{count:,}"

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class _BarProgress:
    """A bar with rate and time left."""

    _bars: Bars
    _task: TaskID

    def start(self, stage: str, items: int, unit: str = "items") -> None:
        from rich import progress
        from rich.console import Console

        in_bytes = unit == "bytes"
        self._bars = progress.Progress(
            progress.TextColumn("{task.description:<8}"),
            progress.BarColumn(),
            progress.DownloadColumn() if in_bytes else progress.MofNCompleteColumn(),
            *([progress.TransferSpeedColumn()] if in_bytes else []),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bars.add_task(stage, total=items or None)
        self._bars.start()

    def total(self, items: int) -> None:
        self._bars.update(self._task, total=items if items > 0 else None)

    def advance(self, items: int) -> None:
        self._bars.advance(self._task, items)

    def finish(self) -> None:
        self._bars.stop()

    def note(self, sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)


def print_stages(reports: Sequence[StageReport]) -> None:
    """Print the table of stages: what came in, what went out, what was lost, how fast."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("stage")
    for column in ("in", "out", "filtered", "failed", "seconds", "items/s", "size", "memory"):
        table.add_column(column, justify="right")
    for report in reports:
        fresh = report.parts_skipped < report.parts
        table.add_row(
            report.stage,
            f"{report.items_in:,}",
            f"{report.items_out:,}",
            f"{report.filtered:,}",
            f"{report.failed:,}",
            f"{report.seconds:.1f}",
            f"{report.items_per_second:,.0f}" if fresh else "done before",
            human_bytes(report.bytes),
            human_bytes(report.peak_memory),
        )
    Console(width=100 if not sys.stdout.isatty() else None).print(table)


def human_bytes(count: int) -> str:
    """`count` bytes for people: 512 B, 3.4 MB, 93.4 GB."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def human_seconds(seconds: float) -> str:
    """Seconds for people: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
