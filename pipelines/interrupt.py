"""Ctrl-C and SIGTERM: a build ends within seconds and leaves no process behind.

What is on disk needs no farewell: every file there is whole or absent, and a killed build goes on
from its markers. So the process does not unwind through libraries that would first wait for a
part to end, or tell a server that has been stopped as well; it kills its children and goes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 2.0  # seconds that last words to a server may take

_last_words: list[Callable[[], None]] = []
_handler: Callable[[int, FrameType | None], None] | None = None


@contextlib.contextmanager
def ends_at_once(say: Callable[[], None]) -> Iterator[None]:
    """Within this block a signal calls `say`, and ends this process and its children.

    The exit code is 128 + the signal's number: 130 after Ctrl-C. For the main thread only.
    """
    global _handler  # noqa: PLW0603  (signals are a matter of the whole process)

    def end(number: int, _frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        _speak()
        _kill_children()
        say()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(128 + number)

    before = [signal.signal(each, end) for each in _SIGNALS]
    _handler = end
    try:
        yield
    finally:
        _handler = None
        for each, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(each, handler)


def hold_signals() -> None:
    """Take SIGTERM back from Prefect, which handles it its own, slow way while a flow runs.

    Does nothing outside `ends_at_once`: a deployment's run is Prefect's to cancel.
    """
    if _handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _handler)


@contextlib.contextmanager
def last_words(tell: Callable[[], None]) -> Iterator[None]:
    """Within this block a signal calls `tell` first, and waits for it two seconds at most."""
    _last_words.append(tell)
    try:
        yield
    finally:
        _last_words.remove(tell)


def _speak() -> None:
    threads = [threading.Thread(target=_try, args=(tell,), daemon=True) for tell in _last_words]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE / len(threads))


def _try(tell: Callable[[], None]) -> None:
    with contextlib.suppress(Exception):
        tell()


def _kill_children() -> None:
    """Kill worker processes, and the temporary server of Prefect where there is one."""
    for child in multiprocessing.active_children():
        child.kill()
    module = sys.modules.get("prefect.server.api.server")
    server = module.SubprocessASGIServer().server_process if module is not None else None
    if server is not None:
        server.kill()
