"""Progress of a command: on the terminal for people, as structured logs for machines.

Code that works for long reports to a `Progress`: `console_progress` shows a bar or lines on
standard error, `QUIET` nothing. Results go to standard output, so that a pipe gets results alone.

Logs are a JSON object a line:

    artsound --log build.jsonl build --out out        # or ARTSOUND_LOG=build.jsonl

Lines are appended, as things happen, by the process that drives the command, also for parts that
other processes did. Fields of every line:

    time      ISO 8601, UTC, to the millisecond
    level     info, warning or error
    event     begin, progress, part, retry, note, end or failed
    pid       the process that was started
    message   the same for people

`begin`, `end` and `failed` are those of a stage where `stage` is given, else of the whole command:
its last line is `end` or `failed`, the latter with the error message. Further fields, where they
apply:

    stage     of the build; in `progress` also a download or a step of training
    part, parts          one part's name; how many a stage has
    skipped, parts_skipped    whether an earlier run had done it; how many it had
    items                done by this line: of a part, of a stage, or so far (`progress`)
    total                items in all, null where not known; in `progress` with `unit`, items
                         or bytes
    items_out, filtered, failed    what became of the items
    seconds, rate, left  spent; items per second; seconds to go, null where not known
    peak_memory          bytes

A program that uses this library adds a handler of its own to the logger `artsound`: each record
has `event` (text) and `fields` (a mapping of the rest).
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from artsound.errors import BadUsage, redacted, redacted_values

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


# Prefect prints what reaches the root logger; these are not for the console.
_logger = logging.getLogger("artsound")
_logger.addHandler(logging.NullHandler())
_logger.propagate = False


def log_to(path: Path) -> None:
    """Append this process's log to `path` from now on; BadUsage when it cannot be written."""
    try:
        handler = _File(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise BadUsage(f"The log {path} cannot be written: {error.strerror}.") from error
    handler.setFormatter(_JsonLine())
    _logger.addHandler(handler)
    _logger.setLevel(logging.INFO)


def log(event: str, message: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log one event; costs next to nothing without a log."""
    _logger.log(level, "%s", message, extra={"event": event, "fields": fields})


def command_line() -> str:
    """The command line of this process, as one would type it."""
    program = Path(sys.argv[0])
    name = "artsound" if program.parent.name in ("artsound", "cli") else program.name
    return redacted(shlex.join([name, *sys.argv[1:]]))


class _File(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Do nothing: on a full disk the build itself fails with a clear error."""


class _JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        values = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "note"),
            "pid": record.process,
            **getattr(record, "fields", {}),
            "message": record.getMessage(),
        }
        return json.dumps(redacted_values(values), ensure_ascii=False, default=str)


class Progress(Protocol):
    """Where long work reports how far it is; every call must be cheap."""

    def start(self, stage: str, items: int, unit: str = "items") -> None:
        """A stage (or a download) begins, with so many items (or bytes) ahead; 0: unknown."""

    def total(self, items: int) -> None:
        """The number of items (or bytes) has become known."""

    def advance(self, items: int) -> None:
        """So many more items are done."""

    def finish(self) -> None:
        """The stage has ended, well or not."""

    def note(self, sentence: str) -> None:
        """Something a person should know, between two stages."""


class _Quiet:
    def start(self, stage: str, items: int, unit: str = "items") -> None: ...

    def total(self, items: int) -> None: ...

    def advance(self, items: int) -> None: ...

    def finish(self) -> None: ...

    def note(self, sentence: str) -> None: ...


QUIET: Progress = _Quiet()


def console_progress(stages: Sequence[str] = ()) -> Progress:
    """A bar on a terminal, plain lines elsewhere; both with lines in the log.

    Args:
        stages: All stages of the build, in order: a bar says which of how many it is for.
    """
    return _LoggedProgress(_BarProgress(stages) if sys.stderr.isatty() else _LineProgress())


_SILENCE = 60.0  # seconds between two plain lines at most
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
        if self.seconds < 0.5:  # parts of an earlier run come at once and say nothing of speed
            self._before = self.done

    def rate(self) -> float:
        """Items per second; 0 before there is enough to compute it from."""
        seconds = self.seconds
        return (self.done - self._before) / seconds if seconds >= 1 else 0.0

    def left(self) -> float | None:
        """Seconds to go; None if unknown."""
        rate = self.rate()
        return max(0, self.total - self.done) / rate if rate and self.total else None


class _LoggedProgress:
    """Passes everything to another progress, and writes to the log how far things are."""

    def __init__(self, other: Progress) -> None:
        self._other = other

    def start(self, stage: str, items: int, unit: str = "items") -> None:
        self._other.start(stage, items, unit)
        self._stage, self._unit, self._pace = stage, unit, _Pace(items)
        self._logged = time.monotonic()

    def total(self, items: int) -> None:
        self._other.total(items)
        self._pace.total = items

    def advance(self, items: int) -> None:
        self._other.advance(items)
        self._pace.advance(items)
        if time.monotonic() - self._logged > _LOGGED:
            self._log()

    def finish(self) -> None:
        self._other.finish()
        self._log()

    def note(self, sentence: str) -> None:
        self._other.note(sentence)

    def _log(self) -> None:
        self._logged = time.monotonic()
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
        self._stage, self._unit, self._pace, self._quarter = stage, unit, _Pace(items), 0
        self._spoke = time.monotonic()
        self._say(f"{stage}: {self._count(items)}" if items else stage)

    def total(self, items: int) -> None:
        self._pace.total = items

    def advance(self, items: int) -> None:
        pace = self._pace
        pace.advance(items)
        quarter = 4 * pace.done // max(pace.total, 1)
        now = time.monotonic()
        if pace.done < pace.total and (quarter > self._quarter or now - self._spoke > _SILENCE):
            self._quarter, self._spoke = quarter, now
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
    """A bar with rate and time left, one for each stage; that of an ended stage stays."""

    _bars: Bars
    _task: TaskID

    def __init__(self, stages: Sequence[str] = ()) -> None:
        self._stages = list(stages)

    def start(self, stage: str, items: int, unit: str = "items") -> None:
        from rich import progress
        from rich.console import Console

        in_bytes = unit == "bytes"
        self._unit, self._pace = unit, _Pace(items)
        self._bars = progress.Progress(
            progress.TextColumn("{task.description:<12}"),
            progress.BarColumn(bar_width=None),
            progress.DownloadColumn() if in_bytes else progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rest]}"),
            console=Console(stderr=True),
            expand=True,
        )
        self._task = self._bars.add_task(self._titled(stage), total=items or None, rest="")
        self._bars.start()

    def total(self, items: int) -> None:
        self._pace.total = items
        self._bars.update(self._task, total=items if items > 0 else None)

    def advance(self, items: int) -> None:
        self._pace.advance(items)
        rate, left = self._pace.rate(), self._pace.left()
        many = human_bytes(round(rate)) if self._unit == "bytes" else f"{rate:,.3g}"
        rest = [f"{many}/s"] if rate else []
        rest += [f"{human_seconds(left)} left"] if left is not None else []
        self._bars.update(self._task, advance=items, rest=", ".join(rest))

    def finish(self) -> None:
        self._bars.update(self._task, rest=f"in {human_seconds(self._pace.seconds)}")
        self._bars.stop()

    def _titled(self, stage: str) -> str:
        """The name of a stage, with which of the build's it is."""
        if stage not in self._stages:
            return stage
        return f"{self._stages.index(stage) + 1}/{len(self._stages)} {stage}"

    def note(self, sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)


def report_error(sentence: str) -> None:
    """Print `error: sentence` to standard error."""
    print(f"{error_head()}{redacted(sentence)}", file=sys.stderr, flush=True)


def error_head() -> str:
    """`error: `, in red on a terminal that shows colours and without the variable NO_COLOR."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return "error: " if plain or not sys.stderr.isatty() else "\033[1;31merror:\033[0m "


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
