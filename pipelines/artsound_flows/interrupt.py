"""Ctrl-C and SIGTERM: a build ends within seconds and leaves no process behind.

What is on disk needs no farewell: every file there is whole or absent, and a killed build goes on
from its markers. So the process does not unwind through libraries that would first wait for a
part to end, or tell a server that has been stopped as well; it kills its children and goes.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from artsound.progress import log
from artsound_flows.server import stop

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 2.0  # seconds that last words to a server may take

_last_words: list[Callable[[], None]] = []
_ends: list[Callable[[str, int], None]] = []  # of the blocks of `ends_at_once`, the latest last


@contextlib.contextmanager
def ends_at_once(sentence: str) -> Iterator[None]:
    """Within this block a signal ends this process and its children, with `sentence` on stderr.

    The exit code is 128 + the signal's number: 130 after Ctrl-C. For the main thread only, which
    need not be free to act: a thread of its own waits for the signal.
    """
    stderr = os.dup(2)  # decoders work with the original closed, to be quiet
    show_cursor = "\x1b[?25h\n" if os.isatty(stderr) else ""

    def end(last: str, code: int) -> None:
        log("failed", last, level=logging.ERROR)
        _speak()
        _kill_children()
        os.write(stderr, f"{show_cursor}{last}\n".encode())
        os._exit(code)

    arrivals, alarm = socket.socketpair()
    alarm.setblocking(False)
    threading.Thread(target=_wait_for, args=(arrivals, end, sentence), daemon=True).start()
    before = [signal.signal(each, _leave_to_thread) for each in _SIGNALS]
    wakened = signal.set_wakeup_fd(alarm.fileno(), warn_on_full_buffer=False)
    _ends.append(end)
    try:
        yield
    finally:
        _ends.remove(end)
        signal.set_wakeup_fd(wakened)
        for each, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(each, handler)
        alarm.close()
        os.close(stderr)


def end_now(sentence: str) -> None:
    """Within `ends_at_once`, end this process with `sentence` and code 2; elsewhere do nothing."""
    if _ends:
        _ends[-1](f"artsound: {sentence}", 2)


def hold_signals() -> None:
    """Take SIGTERM back from Prefect, which handles it its own, slow way while a flow runs.

    Does nothing outside `ends_at_once`: a deployment's run is Prefect's to cancel.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGINT) is _leave_to_thread:
        signal.signal(signal.SIGTERM, _leave_to_thread)


@contextlib.contextmanager
def last_words(tell: Callable[[], None]) -> Iterator[None]:
    """Within this block a signal calls `tell` first, and waits for it two seconds at most."""
    _last_words.append(tell)
    try:
        yield
    finally:
        _last_words.remove(tell)


def _leave_to_thread(_number: int, _frame: FrameType | None) -> None:
    """The kernel may hand a signal to any thread, and the main one may sleep or compute."""


def _wait_for(arrivals: socket.socket, end: Callable[[str, int], None], sentence: str) -> None:
    while number := arrivals.recv(1):
        if number[0] in _SIGNALS:
            end(sentence, 128 + number[0])
    arrivals.close()


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
    stop()
