"""Progress of a command: on the terminal for people, as structured logs for machines.

Code that works for long reports to a `Progress`: `console_progress` shows a bar or lines on
standard error, `build_progress` those of a whole build, `QUIET` nothing. Results go to standard
output, so that a pipe gets results alone.

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

import contextlib
import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
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

    def advance(self, items: int, *, before: bool = False) -> None:
        """So many more items are done; with `before`, they were by an earlier run."""

    def finish(self) -> None:
        """The stage's items are done, or it has failed."""

    def note(self, sentence: str) -> None:
        """Something a person should know, between two stages."""


class _Quiet:
    def start(self, stage: str, items: int, unit: str = "items") -> None: ...

    def total(self, items: int) -> None: ...

    def advance(self, items: int, *, before: bool = False) -> None: ...

    def finish(self) -> None: ...

    def note(self, sentence: str) -> None: ...


QUIET: Progress = _Quiet()


def console_progress() -> Progress:
    """A bar on a terminal, plain lines elsewhere; both with lines in the log."""
    return _LoggedProgress(_BarProgress() if sys.stderr.isatty() else _LineProgress())


@contextlib.contextmanager
def build_progress(
    stages: Sequence[str], earlier: Mapping[str, tuple[int, float]] = MappingProxyType({})
) -> Iterator[Progress]:
    """The progress of a whole build within this block, with lines in the log.

    On a terminal, one bar counts the stages and one line below it is for each stage that has begun;
    they stay when the block ends. Elsewhere plain lines are printed. The time left of the whole
    build is shown once there is an estimate: from an earlier build, or in the last stage. A first
    build shows that it is unknown, or how long it takes at least: to the end of the stage.

    Args:
        stages: The stages that will run, in order.
        earlier: Items and seconds of each stage in an earlier build with the same settings.
    """
    forecast = Forecast(stages, earlier)
    if not sys.stderr.isatty():
        yield _LoggedProgress(_LineProgress(forecast))
        return
    bars = _BuildBars(stages, forecast)
    try:
        yield _LoggedProgress(bars)
    except BaseException:
        bars.close("failed")
        raise
    bars.close("done")


_SILENCE = 60.0  # seconds between two plain lines at most
_LOGGED = 10.0  # seconds between two lines of the log at least
_FORESEEN = 0.05  # share of a stage's items that must be done for a forecast
_SHORT = 10.0  # seconds: that a build takes longer than this is not said
_REMEMBERED = 20  # settings whose durations are in the cache, beside the present ones


class Pace:
    """How much is done of how much, how fast, and how long the rest will take.

    Args:
        total: All items; 0: unknown.
        began: When it began, by the monotonic clock; None: now.
    """

    def __init__(self, total: int, began: float | None = None) -> None:
        self.total, self.done = total, 0
        self.before = 0  # items that an earlier run has done
        self._began = time.monotonic() if began is None else began

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def advance(self, items: int, *, before: bool = False) -> None:
        self.done += items
        self.before += items if before else 0

    def all_before(self) -> bool:
        """Whether an earlier run has done everything."""
        return self.total > 0 and self.before == self.total

    def rate(self) -> float:
        """Items per second; 0 before there is enough to compute it from."""
        seconds = self.seconds
        return (self.done - self.before) / seconds if seconds >= 1 else 0.0

    def left(self) -> float | None:
        """Seconds to go; None if unknown."""
        rate = self.rate()
        return max(0, self.total - self.done) / rate if rate and self.total else None


class Forecast:
    """How long a whole build will take, by the stages of an earlier one with the same settings.

    The stages that are ahead take as many times as long as they took then as the present one does.
    There is no forecast before that is known, nor where the earlier build had ten times as many or
    a tenth of the items, nor where parts of this one were done before, which later stages skip too.

    Args:
        stages: The stages of the build, in order.
        earlier: Items and seconds of each stage in the earlier build.
    """

    def __init__(self, stages: Sequence[str], earlier: Mapping[str, tuple[int, float]]) -> None:
        self._stages, self._earlier = list(stages), earlier

    def left(self, stage: str, pace: Pace) -> float | None:
        """Seconds until the end of the build, which does `stage` now; None if unknown."""
        ahead = self._stages[self._stages.index(stage) + 1 :]
        if not ahead:
            return pace.left()
        share = min(1.0, pace.done / pace.total) if pace.total else 0.0
        before = [self._earlier.get(one, (0, 0.0)) for one in (stage, *ahead)]
        items, seconds = before[0]
        if pace.before or share < _FORESEEN or any(not many for many, _ in before):
            return None
        if not pace.total / 10 <= items <= 10 * pace.total or pace.seconds < 1:
            return None
        # The earlier time of a stage includes the merging of its results, which `share` does not.
        times = pace.seconds / max(share * seconds, 1e-9)
        return times * ((1 - share) * seconds + sum(spent for _, spent in before[1:]))

    def text(self, stage: str, pace: Pace) -> str:
        """What is said of it: about 12 min left; "" where it is not known or not of a stage.

        Where only the end of the stage can be foreseen, as in a first build: over 12 min left.
        """
        if not self.has_stages or stage not in self._stages:
            return ""
        if (left := self.left(stage, pace)) is not None:
            return f"about {human_seconds(left)} left"
        left = pace.left() if pace.done >= _FORESEEN * pace.total else None
        return "" if left is None or left < _SHORT else f"over {human_seconds(left)} left"

    @property
    def has_stages(self) -> bool:
        """Whether the build has more than one."""
        return len(self._stages) > 1

    @property
    def is_first(self) -> bool:
        """Whether no earlier build says how long the stages take."""
        return not self._earlier


def earlier_build(settings: str) -> dict[str, tuple[int, float]]:
    """Items and seconds of each stage of the last whole build here with these settings, if any."""
    try:
        found = json.loads(_durations().read_text(encoding="utf-8"))[settings]
        return {str(name): (int(items), float(spent)) for name, (items, spent) in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError):
        return {}


def remember_build(settings: str, stages: Mapping[str, tuple[int, float]]) -> None:
    """Keep items and seconds of the stages of a whole build in the user's cache, if possible.

    A trial of less than a tenth of the items does not replace a larger build.
    """
    before = earlier_build(settings)
    if any(10 * items < before.get(name, (0, 0.0))[0] for name, (items, _) in stages.items()):
        return
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: there is no home folder
        path = _durations()
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        others = dict(known) if isinstance(known, dict) else {}
        others.pop(settings, None)
        recent = dict(list(others.items())[-_REMEMBERED:])
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f"{path.name}.{os.getpid()}")
        half.write_text(json.dumps({**recent, settings: stages}), encoding="utf-8")
        half.replace(path)


def _durations() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "artsound" / "durations.json"


class _LoggedProgress:
    """Passes everything to another progress, and writes to the log how far things are."""

    def __init__(self, other: Progress) -> None:
        self._other = other

    def start(self, stage: str, items: int, unit: str = "items") -> None:
        self._other.start(stage, items, unit)
        self._stage, self._unit, self._pace = stage, unit, Pace(items)
        self._logged = time.monotonic()

    def total(self, items: int) -> None:
        self._other.total(items)
        self._pace.total = items

    def advance(self, items: int, *, before: bool = False) -> None:
        self._other.advance(items, before=before)
        self._pace.advance(items, before=before)
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

    def __init__(self, forecast: Forecast | None = None) -> None:
        self._forecast = forecast
        self._introduced = not (forecast and forecast.has_stages and forecast.is_first)

    def start(self, stage: str, items: int, unit: str = "items") -> None:
        self._stage, self._unit, self._pace, self._quarter = stage, unit, Pace(items), 0
        self._spoke = time.monotonic()
        if not self._introduced:
            self._say("build: the first with these settings here, so its time left is unknown")
            self._introduced = True
        self._say(f"{stage}: {_count(items, unit)}" if items else stage)

    def total(self, items: int) -> None:
        self._pace.total = items

    def advance(self, items: int, *, before: bool = False) -> None:
        pace = self._pace
        pace.advance(items, before=before)
        quarter = 4 * pace.done // max(pace.total, 1)
        now = time.monotonic()
        if pace.done < pace.total and (quarter > self._quarter or now - self._spoke > _SILENCE):
            self._quarter, self._spoke = quarter, now
            speed = _speed(pace, self._unit)
            whole = self._forecast.text(self._stage, pace) if self._forecast else ""
            whole = "" if whole.startswith("over") else whole  # as said of the stage
            said = [_count_of(pace, self._unit), *filter(None, (speed, whole and f"build {whole}"))]
            self._say(f"{self._stage}: {', '.join(said)}")

    def finish(self) -> None:
        pace = self._pace
        how = "done before" if pace.total and pace.before == pace.total else ""
        self._say(
            f"{self._stage}: {_count_of(pace, self._unit)} {how or f'in {pace.seconds:.1f} s'}"
        )

    def note(self, sentence: str) -> None:
        self._say(sentence)

    def _say(self, line: str) -> None:
        print(redacted(line), file=sys.stderr, flush=True)


def _count(count: int, unit: str) -> str:
    return human_bytes(count) if unit == "bytes" else f"{count:,}"


def _count_of(pace: Pace, unit: str) -> str:
    """What is done, of how much where that is known: 48 of 188."""
    of = f" of {_count(pace.total, unit)}" if pace.total else ""
    return f"{_count(pace.done, unit)}{of}"


def _speed(pace: Pace, unit: str) -> str:
    """The rate and the time left, as far as they are known: 14/s, 10 s left."""
    rate, left = pace.rate(), pace.left()
    many = _count(round(rate), unit) if unit == "bytes" or rate >= 10 else f"{rate:.2g}"
    parts = [f"{many}/s"] if rate else []
    parts += [f"{human_seconds(left)} left"] if left is not None and pace.done < pace.total else []
    return ", ".join(parts)


class _Line:
    """What a bar says beside itself: how much is done, and how fast or in which state."""

    def __init__(self, items: int, unit: str) -> None:
        self.pace, self.unit = Pace(items), unit
        self.state = "running"  # then merging, where results are merged; at last done or failed
        self._seconds = 0.0

    def end(self, state: str) -> None:
        """Stop the clock; `state` is done or failed."""
        self.state, self._seconds = state, self.pace.seconds

    @property
    def count(self) -> str:
        return _count_of(self.pace, self.unit)

    @property
    def rest(self) -> str:
        match self.state:
            case "running":
                return _speed(self.pace, self.unit)
            case "merging":
                return f"merging, {human_seconds(self.pace.seconds)}"
            case "failed":
                return f"[bold red]failed[/] after {human_seconds(self._seconds)}"
        if self.pace.all_before():
            return "done before"
        return f"in {human_seconds(self._seconds)}"


class _BuildLine(_Line):
    """The line of a whole build: it counts stages, and shows the time spent and the time left."""

    def __init__(self, stages: int) -> None:
        super().__init__(stages, "stages")
        self.left: Callable[[], str] = lambda: ""

    @property
    def count(self) -> str:
        return f"{self.pace.done} of {counted(self.pace.total, 'stage')}"

    @property
    def rest(self) -> str:
        if self.state != "running":
            return super().rest
        return f"{human_seconds(self.pace.seconds)}, {self.left() or 'time left unknown'}"


def _open_bars() -> Bars:
    """Bars on the terminal of standard error, on which each task's field `line` is shown."""
    from rich import progress
    from rich.console import Console
    from rich.table import Column

    # A file of their own, since decoders redirect file descriptor 2 for moments. Standard output
    # is left as it is: it is for results.
    terminal = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", errors="replace")
    bars = progress.Progress(
        progress.TextColumn("{task.description:<11}", markup=False),
        progress.BarColumn(bar_width=None),
        progress.TextColumn("{task.fields[line].count}", justify="right"),
        progress.TextColumn("{task.fields[line].rest}", table_column=Column(min_width=16)),
        console=Console(file=terminal),
        expand=True,
        redirect_stdout=False,
    )
    bars.start()
    return bars


def _close_bars(bars: Bars) -> None:
    bars.stop()
    bars.console.file.close()


class _BarProgress:
    """A bar for each task, with rate and time left; that of an ended task stays."""

    _bars: Bars
    _task: TaskID
    _line: _Line

    def start(self, stage: str, items: int, unit: str = "items") -> None:
        self._bars, self._line = _open_bars(), _Line(items, unit)
        self._task = self._bars.add_task(stage, total=items or None, line=self._line)

    def total(self, items: int) -> None:
        self._line.pace.total = items
        self._bars.update(self._task, total=items if items > 0 else None)

    def advance(self, items: int, *, before: bool = False) -> None:
        self._line.pace.advance(items, before=before)
        self._bars.update(self._task, advance=items)

    def finish(self) -> None:
        self._line.end("done")
        _close_bars(self._bars)

    def note(self, sentence: str) -> None:
        print(redacted(sentence), file=sys.stderr, flush=True)


class _BuildBars:
    """A bar that counts the stages of a build, and below it one for each stage and download.

    The items of a stage are not its end: its results are merged after them. So its line is
    complete when the next stage begins, or the build has ended.
    """

    def __init__(self, stages: Sequence[str], forecast: Forecast) -> None:
        self._stages, self._forecast = list(stages), forecast
        self._stage = ""  # the one whose line is not complete
        self._lines: dict[str, tuple[TaskID, _Line]] = {}
        self._now = ""  # the stage or download that advances
        self._bars = _open_bars()
        self._build = _BuildLine(len(self._stages))
        self._build.left = self._left
        several = len(self._stages) > 1
        self._total = self._bars.add_task(
            "build", total=len(self._stages), line=self._build, visible=several
        )

    def close(self, state: str) -> None:
        """Complete the lines, and end; `state` is done or failed."""
        self._complete(state)
        self._build.end(state)
        # A build that failed at its first checks shows the error alone.
        self._bars.live.transient = state == "failed" and not self._lines
        _close_bars(self._bars)

    def start(self, stage: str, items: int, unit: str = "items") -> None:
        line = _Line(items, unit)
        if stage in self._stages:
            if stage != self._stage:  # else another round of the same
                self._complete("done")
            self._stage = stage
        if stage in self._lines:
            task, _ = self._lines[stage]
            self._bars.reset(task, total=items or None, line=line)
        else:
            task = self._bars.add_task(self._title(stage), total=items or None, line=line)
        self._lines[stage] = task, line
        self._now = stage

    def total(self, items: int) -> None:
        task, line = self._lines[self._now]
        line.pace.total = items
        self._bars.update(task, total=items if items > 0 else None)

    def advance(self, items: int, *, before: bool = False) -> None:
        task, line = self._lines[self._now]
        line.pace.advance(items, before=before)
        self._bars.update(task, advance=items)
        if self._now == self._stage and line.pace.total:
            share = min(1.0, line.pace.done / line.pace.total)
            self._bars.update(self._total, completed=self._build.pace.done + share)

    def finish(self) -> None:
        _, line = self._lines[self._now]
        if self._now == self._stage:
            line.state = "merging"
        else:
            line.end("done")

    def note(self, sentence: str) -> None:
        self._bars.console.print(redacted(sentence), markup=False, highlight=False)

    def _complete(self, state: str) -> None:
        if self._stage:
            self._lines[self._stage][1].end(state)
            if state == "done":
                self._build.pace.advance(1)
                self._bars.update(self._total, completed=self._build.pace.done)
        self._stage = ""

    def _left(self) -> str:
        """The time left of the whole build, as far as it is known while a stage's items are done.

        Not while something is downloaded, or results are merged.
        """
        if not self._stage or self._now != self._stage:
            return ""
        line = self._lines[self._stage][1]
        return self._forecast.text(self._stage, line.pace) if line.state == "running" else ""

    def _title(self, stage: str) -> str:
        """The name of a stage, with which of the build's it is."""
        if stage not in self._stages or len(self._stages) == 1:
            return stage
        return f"{self._stages.index(stage) + 1}/{len(self._stages)} {stage}"


def report_error(sentence: str) -> None:
    """Print `error: sentence` to standard error."""
    print(f"{error_head()}{redacted(sentence)}", file=sys.stderr, flush=True)


def error_head() -> str:
    """`error: `, in red on a terminal that shows colours and without the variable NO_COLOR."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return "error: " if plain or not sys.stderr.isatty() else "\033[1;31merror:\033[0m "


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the plural but for one: 1 pair, 2,000 pairs."""
    return f"{count:,} {noun if count == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """The plural of a noun: pairs, families."""
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"


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
