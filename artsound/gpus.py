"""The GPUs of this machine, and which of them a thread uses.

A model is loaded once per GPU, under every runner: parts that need a GPU are done in the process of
the build, one at a time on each GPU (`gpu_lease`), while worker processes do the others. A Dask
worker, which is a process of its own, claims a GPU for as long as it lives.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_thread = threading.local()
_taken: set[int] = set()
_changed = threading.Condition()
_claims: list[IO[bytes]] = []  # open, so that their locks last as long as this process


def gpu_count() -> int:
    """How many GPUs torch finds here; 0 without torch."""
    try:
        import torch
    except ImportError:
        return 0
    return int(torch.cuda.device_count())


@contextlib.contextmanager
def gpu_lease() -> Iterator[int]:
    """Within this block this thread has a GPU for itself, whose number it gets.

    It waits while other threads have all of them. On a machine without a GPU one thread at a time
    passes. Within another lease of the same thread, that one is used.
    """
    held = getattr(_thread, "gpu", None)
    if held is not None:
        yield held
        return
    with _changed:
        numbers = range(max(1, gpu_count()))
        _changed.wait_for(lambda: any(n not in _taken for n in numbers))
        number = next(n for n in numbers if n not in _taken)
        _taken.add(number)
    _thread.gpu = number
    try:
        yield number
    finally:
        _thread.gpu = None
        with _changed:
            _taken.discard(number)
            _changed.notify()


def current_gpu() -> int:
    """The number of the GPU that "auto" means for this thread, if there is one.

    That of its lease; in a worker process the one that the process has claimed; else 0.
    """
    held = getattr(_thread, "gpu", None)
    if held is not None:
        return int(held)
    if multiprocessing.parent_process() is None:
        return 0
    return _claimed(max(1, gpu_count()))


@functools.cache
def _claimed(gpus: int) -> int:
    """A GPU that no other worker process of this user has claimed, if there is one left."""
    import fcntl

    for number in range(gpus):
        place = Path(tempfile.gettempdir()) / f"artsound-gpu-{os.getuid()}-{number}.lock"
        with contextlib.suppress(OSError):
            file = place.open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                continue
            _claims.append(file)
            return number
    return os.getpid() % gpus
