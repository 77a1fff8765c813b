"""Fall back to a temporary cache folder where the home folder is not writable.

This is common in containers and batch systems: Prefect's server does not start then, and numba,
which compiles librosa and the matching, raises.
"""

from __future__ import annotations

import os
from pathlib import Path


def use_writable_cache(variable: str, usual: str) -> None:
    """Set an environment variable to a temporary folder where the usual cache is not writable.

    A variable that is set already is left as it is. The folder is deleted when this process ends;
    child processes inherit it.

    Args:
        variable: The environment variable that names the cache folder of a library.
        usual: The library's own cache folder, below the home folder.
    """
    if variable not in os.environ and not _can_write(usual):
        import atexit  # rarely needed, and they would slow down `import artsound`
        import shutil
        import tempfile

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
    except (OSError, RuntimeError):  # RuntimeError: the home folder cannot be determined
        return False
