"""`artsound …`: parses, calls one function, prints; heavy imports wait until they are needed."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from artsound import __version__
from artsound.cli import (  # noqa: F401
    build_commands,
    release_commands,
    tool_commands,
    training_commands,
)
from artsound.cli.app import app, say
from artsound.errors import ArtSoundError, BadUsage
from artsound.extras import EXTRAS, install_command
from artsound.progress import command_line, log, log_to, report_error


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    log_file: Annotated[
        Path | None,
        typer.Option("--log", envvar="ARTSOUND_LOG", help="Append what happens, as JSON lines."),
    ] = None,
) -> None:
    if version:
        print(f"artsound {__version__}")
        raise SystemExit(0)
    if log_file is not None:
        log_to(log_file)
        log("begin", command_line())


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM, after which a command cleans up and ends as after Ctrl-C."""


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _TerminatedError


def _end_on_sigterm() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGTERM, _terminate)
    # A process forked from this one is ended by it, and has nothing to say.
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def main() -> None:
    """Run the command line; exit 0 done, 1 the data is bad, 2 wrong usage.

    128 and the signal's number after Ctrl-C (130) and SIGTERM (143).
    """
    began = time.perf_counter()
    _end_on_sigterm()

    def ends(sentence: str, code: int) -> None:
        """The log's last line."""
        event, level = ("failed", logging.ERROR) if code else ("end", logging.INFO)
        log(event, sentence, level=level, seconds=time.perf_counter() - began)

    if "_ARTSOUND_COMPLETE" in os.environ:  # a shell asks what could come next
        from typer.completion import completion_init

        completion_init()
    try:
        _check_written_paths(sys.argv)
        app(standalone_mode=True)
    except SystemExit as leaving:
        if interruption := _interruption(leaving):
            say("artsound: stopped.")
            leaving.code = _code_of(interruption)
        code = leaving.code if isinstance(leaving.code, int) else 0
        ends(f"Left with exit code {code}.", code)
        raise
    except ArtSoundError as error:
        ends(str(error), error.exit_code)
        report_error(str(error))
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt as interruption:
        code = _code_of(interruption)
        ends(f"Left with exit code {code}.", code)
        say("artsound: stopped.")
        raise SystemExit(code) from None
    except Exception as error:
        if sentence := _path_fault(error):
            ends(sentence, 2)
            report_error(sentence)
            raise SystemExit(2) from None
        missing = (getattr(error, "name", "") or "").partition(".")[0]
        if not isinstance(error, ModuleNotFoundError) or missing not in EXTRAS:
            ends(f"{type(error).__name__}: {error}", 1)
            raise
        sentence = f"this needs {missing}: {install_command(EXTRAS[missing])}"
        ends(sentence, 2)
        report_error(sentence)
        raise SystemExit(2) from None


def _code_of(interruption: KeyboardInterrupt) -> int:
    return 143 if isinstance(interruption, _TerminatedError) else 130


def _interruption(leaving: BaseException) -> KeyboardInterrupt | None:
    """Why Typer leaves, of which it says nothing; None for an exit without a signal."""
    cause: BaseException | None = leaving
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause


def _check_written_paths(arguments: Sequence[str]) -> None:
    """Raise BadUsage for an empty path to write to, which Python reads as the current folder.

    An unset variable of a shell gives one.
    """
    for option in ("--out", "--save-to"):
        pairs = pairwise(arguments)
        if (option, "") in pairs or f"{option}=" in arguments:
            raise BadUsage(f"{option} is empty: give a path, or . for this folder.")


def _path_fault(error: Exception) -> str:
    """What is wrong with a path that was given as an argument; empty for every other error."""
    from artsound.untrusted import shown_path

    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return f"{shown_path(error.object)} is not valid UTF-8: rename the file or folder."
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        name = shown_path(error.filename)
        return f"{name} is too long for this file system: give a shorter path."
    return ""
