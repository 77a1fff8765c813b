"""A place for what libraries keep, where the home folder cannot be written to.

So it is in many containers and batch systems. Prefect's server does not start then, and numba,
which librosa and our matching are compiled by, raises.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def use_writable_cache(variable: str, usual: str) -> None:
    """Set the environment's `variable` to a temporary folder, if it is unset and the folder
    `usual` in the home folder cannot be written to. It is gone when this process ends.

    Processes that this one starts inherit it.
    """
    if variable not in os.environ and not _can_write(usual):
        os.environ[variable] = folder = tempfile.mkdtemp(prefix="artsound-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _can_write(usual: str) -> bool:
    """Whether the folder `usual` is in the home folder, or could be made there."""
    try:
        home = Path.home()
        place = home / usual
        while not place.exists():
            place = place.parent
        return home.is_dir() and os.access(place, os.W_OK | os.X_OK)
    except (OSError, RuntimeError):  # RuntimeError: nobody knows where home is
        return False
