"""What a worker process does first. Imports nothing large, so that it comes before any BLAS."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor

# What <malloc.h> calls M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, with bytes; 32 MiB is the most that
# glibc allows for the latter.
_KEPT = ((-1, 1 << 30), (-3, 32 << 20))


def worker_count(asked: int) -> int:
    """How many parts are at work at once: `asked`, or one per processor where that is 0."""
    return asked or len(os.sched_getaffinity(0))


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that are prepared for parts. Nothing is inherited: this one has threads."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker)


def prepare_worker() -> None:
    """Make this process one processor's worth, and leave Ctrl-C to the process that drives.

    It ends when that one does, however that ends: a worker alone would wait for ever.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()


def dask_setup(_worker: object) -> None:
    """Prepare a Dask worker: `dask worker … --preload artsound_flows.worker`."""
    prepare_worker()


def keep_freed_memory() -> None:
    """Have malloc keep what is freed for the next array, where the C library is glibc.

    Handed back to the kernel after every clip, memory comes again page by page, zeroed: a quarter
    of the time that measuring a clip takes.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for threshold, size in _KEPT:
            library.mallopt(threshold, size)


def one_blas_thread() -> None:
    """Have numpy compute with one thread, as the process that drives does: how it rounds depends
    on their number."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1, user_api="blas")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
