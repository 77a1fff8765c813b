"""Processes of a build: worker processes, what one does first, and how all end on a signal.

Imports nothing large, so that `prepare_worker` comes before numpy and its BLAS are loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from types import FrameType

from artsound.progress import error_head, log

# What <malloc.h> calls M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, with bytes; 32 MiB is the most that
# glibc allows for the latter.
_THRESHOLDS = ((-1, 1 << 30), (-3, 32 << 20))
_OBJECTS = 100_000  # new objects after which cycles are searched for; by default 700


def worker_count(asked: int) -> int:
    """How many parts run at once: `asked`, or one per processor if that is 0."""
    return asked or len(os.sched_getaffinity(0))


def process_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of processes for parts; they are spawned, since this process has threads."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker)


def prepare_worker() -> None:
    """Set up a worker: one BLAS thread, Ctrl-C left to the parent, and an end with the parent."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])


def keep_freed_memory() -> None:
    """With glibc, have malloc reuse freed memory for the next array.

    By default it is returned to the kernel after every clip, then mapped and zeroed again, which
    takes a quarter of the time of measuring a clip.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for threshold, size in _THRESHOLDS:
            library.mallopt(threshold, size)


@contextlib.contextmanager
def seldom_collecting() -> Iterator[None]:
    """Within this block, cycles of objects are searched for after many new objects only.

    The rows of a build are a million objects without cycles, which every search visits.
    """
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def one_blas_thread() -> None:
    """Have numpy compute with one thread, since rounding depends on the number of threads."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1, user_api="blas")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


# Ctrl-C and SIGTERM: a build ends within seconds and leaves no process running.
#
# Files need no clean-up: each is complete or absent, and a killed build continues from its markers.
# So the process kills its children and exits, without unwinding through libraries that would wait
# for parts or report to a server that was stopped as well.

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 2.0  # seconds that last reports to a server may take

_reports: list[Callable[[], None]] = []  # of the blocks of `reporting`
_cleanups: list[Callable[[], None]] = []  # of `clean_up_with`
_ends: list[Callable[[str, int], None]] = []  # of the blocks of `ends_at_once`, the latest last


@contextlib.contextmanager
def ends_at_once(sentence: str) -> Iterator[None]:
    """Within this block a signal ends this process and its children, with `sentence` on stderr.

    The exit code is 128 + the signal's number: 130 after Ctrl-C. For the main thread only; another
    thread waits for the signal, so that the main one may be busy.
    """
    stderr = os.dup(2)  # decoders redirect the original
    show_cursor = "\x1b[?25h\n" if os.isatty(stderr) else ""

    ending = threading.Lock()

    def end(last: str, code: int) -> None:
        # Only the first cause counts: a watched server that is killed below ends, too.
        if not ending.acquire(blocking=False):
            return
        log("failed", last, level=logging.ERROR)
        _report()
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
        _ends[-1](f"{error_head()}{sentence}", 2)


def retake_signals() -> None:
    """Set the handler of SIGTERM again after a library such as Prefect has replaced it.

    Does nothing outside `ends_at_once`: Prefect cancels the runs of a deployment.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGINT) is _leave_to_thread:
        signal.signal(signal.SIGTERM, _leave_to_thread)


@contextlib.contextmanager
def reporting(report: Callable[[], None]) -> Iterator[None]:
    """Within this block a signal first calls `report`, for two seconds at most."""
    _reports.append(report)
    try:
        yield
    finally:
        _reports.remove(report)


def clean_up_with(function: Callable[[], None]) -> None:
    """Have a signal call `function`, after this process's children are killed."""
    if function not in _cleanups:
        _cleanups.append(function)


def _leave_to_thread(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the signal's number is sent to the waiting thread (`set_wakeup_fd`)."""


def _wait_for(arrivals: socket.socket, end: Callable[[str, int], None], sentence: str) -> None:
    while number := arrivals.recv(1):
        if number[0] in _SIGNALS:
            end(sentence, 128 + number[0])
    arrivals.close()


def _report() -> None:
    threads = [threading.Thread(target=_try, args=(each,), daemon=True) for each in _reports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE / len(threads))


def _try(function: Callable[[], None]) -> None:
    with contextlib.suppress(Exception):
        function()


def _kill_children() -> None:
    for child in multiprocessing.active_children():
        child.kill()
    for function in _cleanups:
        _try(function)
