"""What a person at a terminal sees: progress, the table of stages, one sentence when it fails.

Progress goes to standard error, results to standard output, so that a pipe gets results alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from artsound.logs import log

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from artsound.stage import Progress, StageReport


def console_progress() -> Progress:
    """A moving bar on a terminal, plain lines elsewhere; the log is told the same."""
    return _LoggedProgress(_BarProgress() if sys.stderr.isatty() else _LineProgress())


_SILENCE = 60.0  # seconds without a line that are long enough
_LOGGED = 10.0  # seconds between two lines of the log at least


class _Pace:
    """How much is done of how much, how fast, and how long the rest will take."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self._before = 0
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def advance(self, items: int) -> None:
        self.done += items
        if self.seconds < 0.5:  # what an earlier run left comes at once: it makes no rate
            self._before = self.done

    def rate(self) -> float:
        """Items per second; 0 before there is enough to reckon with."""
        seconds = self.seconds
        return (self.done - self._before) / seconds if seconds >= 1 else 0.0

    def left(self) -> float | None:
        """Seconds to go; None where nothing can be said."""
        rate = self.rate()
        return max(0, self.total - self.done) / rate if rate and self.total else None


class _LoggedProgress:
    """Tells another progress all there is to tell, and the log how far things are."""

    def __init__(self, other: Progress) -> None:
        self._other = other

    def start(self, stage: str, items: int, unit: str = "items") -> None:
        self._other.start(stage, items, unit)
        self._stage, self._unit, self._pace = stage, unit, _Pace(items)
        self._told = time.monotonic()

    def total(self, items: int) -> None:
        self._other.total(items)
        self._pace.total = items

    def advance(self, items: int) -> None:
        self._other.advance(items)
        self._pace.advance(items)
        if time.monotonic() - self._told > _LOGGED:
            self._tell()

    def finish(self) -> None:
        self._other.finish()
        self._tell()

    def note(self, sentence: str) -> None:
        self._other.note(sentence)

    def _tell(self) -> None:
        self._told = time.monotonic()
        pace = self._pace
        of = f" of {pace.total:,}" if pace.total else ""
        log(
            "progress",
            f"{self._stage}: {pace.done:,}{of} {self._unit}",
            stage=self._stage,
            unit=self._unit,
            items=pace.done,
            total=pace.total or None,
            seconds=pace.seconds,
            rate=pace.rate(),
            left=pace.left(),
        )


class _LineProgress:
    """One line when a stage begins, one at every quarter or minute, one when it ends."""

    def start(self, stage: str, items: int, unit: str = "items") -> None:
        self._stage, self._unit, self._pace, self._told = stage, unit, _Pace(items), 0
        self._spoke = time.monotonic()
        self._say(f"{stage}: {self._count(items)}" if items else stage)

    def total(self, items: int) -> None:
        self._pace.total = items

    def advance(self, items: int) -> None:
        pace = self._pace
        pace.advance(items)
        quarter = 4 * pace.done // max(pace.total, 1)
        now = time.monotonic()
        if pace.done < pace.total and (quarter > self._told or now - self._spoke > _SILENCE):
            self._told, self._spoke = quarter, now
            rate, left = self._pace.rate(), self._pace.left()
            speed = f", {self._count(round(rate))}/s" if rate else ""
            rest = f", {human_seconds(left)} left" if left is not None else ""
            self._say(f"{self._stage}: {self._of()}{speed}{rest}")

    def finish(self) -> None:
        self._say(f"{self._stage}: {self._of()} in {self._pace.seconds:.1f} s")

    def note(self, sentence: str) -> None:
        self._say(sentence)

    def _of(self) -> str:
        of = f" of {self._count(self._pace.total)}" if self._pace.total else ""
        return f"{self._count(self._pace.done)}{of}"

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


def counted(count: int, noun: str) -> str:
    """A count with its noun, which takes an s but for one: 1 pair, 2,000 pairs."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


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
