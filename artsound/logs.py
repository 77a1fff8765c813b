"""Structured logs: what a command does, a JSON object a line, for machines to read.

    artsound --log build.jsonl build --out out        # or ARTSOUND_LOG=build.jsonl

Lines are appended, as things happen, by the process that drives the command; it tells of parts
that other processes did, too. Fields of every line:

    time      ISO 8601, UTC, to the millisecond
    level     info, warning or error
    event     begin, progress, part, retry, note, end or failed
    pid       the process that was started
    message   the same for people

`begin`, `end` and `failed` are those of a stage where `stage` is given, else of the whole command:
its last line is `end` or `failed`, the latter with what the user was told. Further fields, where
they apply:

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
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from artsound.errors import BadUsage

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
    """Tell of one event; costs next to nothing when nobody keeps a log."""
    _logger.log(level, "%s", message, extra={"event": event, "fields": fields})


def command_line() -> str:
    """The command line of this process, as one would type it."""
    program = Path(sys.argv[0])
    name = "artsound" if program.parent.name in ("artsound", "cli") else program.name
    return shlex.join([name, *sys.argv[1:]])


class _File(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk ends a build by itself, with a sentence; not its log, with a traceback."""


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
        return json.dumps(values, ensure_ascii=False, default=str)
