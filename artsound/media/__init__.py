"""Images and sound: decoded in full, checked, normalised, and fingerprinted for duplicates.

All input is untrusted until it has been decoded.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from artsound.errors import BadData


@contextmanager
def suppress_stderr() -> Iterator[None]:
    """Suppress what libmpg123 and libtiff print to file descriptor 2 about damaged data.

    libsndfile and Pillow have no option for it. The descriptor belongs to the whole process, so it
    is redirected only while the main thread decodes (worker processes, serial runs); on other
    threads the messages remain, so that no other thread's output is lost.
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


class MediaError(BadData):
    """A picture or clip that cannot be used.

    Attributes:
        reason: A short code for counting, such as "audio-too-short".
        message: A sentence without a full stop.
    """

    def __init__(self, reason: str, message: str) -> None:
        # Both are passed to the base class so that the error can be pickled between processes.
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message
