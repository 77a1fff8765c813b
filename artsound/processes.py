"""Worker processes, and what one does first.

Imports nothing large, so that `prepare_worker` comes before numpy and its BLAS are loaded.
"""

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
_THRESHOLDS = ((-1, 1 << 30), (-3, 32 << 20))


def worker_count(asked: int) -> int:
    """How many parts are done at once: `asked`, or one per processor where that is 0."""
    return asked or len(os.sched_getaffinity(0))


def process_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of processes prepared for parts. They are spawned, since this one has threads."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker)


def prepare_worker() -> None:
    """Have this process use one processor, leave Ctrl-C to its parent, and end with its parent.

    However the parent ends: without it a worker would wait for ever.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Have malloc reuse freed memory for the next array, where the C library is glibc.

    Returned to the kernel after every clip, memory is mapped and zeroed again page by page: a
    quarter of the time that measuring a clip takes.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for threshold, size in _THRESHOLDS:
            library.mallopt(threshold, size)


def one_blas_thread() -> None:
    """Have numpy compute with one thread, as the driving process does: how it rounds depends on
    the number of threads."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1, user_api="blas")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
