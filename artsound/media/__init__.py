"""Images and sound: decoded in full, checked, normalised, and keyed for near-duplicates.

Every byte that comes in is hostile until it has been decoded.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from artsound.errors import BadData

# Suppress what decoders written in C print to the terminal about damaged files.


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


class MediaError(BadData):
    """A picture or clip that cannot be used.

    ``reason`` is a short code for counting ("audio-too-short"), ``message`` the sentence.
    """

    def __init__(self, reason: str, message: str) -> None:
        # Both go to the base class so that the error survives pickling between processes.
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message
