"""Suppress what decoders written in C print to the terminal about damaged files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def suppress_stderr() -> Iterator[None]:
    """Drop what libmpg123 and libtiff write to file descriptor 2 about damaged data.

    They have no other switch within libsndfile and Pillow. The descriptor belongs to the whole
    process, so it is only turned away while the main thread decodes (worker processes, serial
    runs); on other threads the commentary stays rather than lose other threads' output.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
