"""Arrays from files that anybody may have written: .npy and .npz, never a pickle.

numpy's reader lets the errors of all that it is made of through: the zip's, the tokeniser's, the
allocator's. Here they are one.
"""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

_FAULTS = (
    *(ValueError, TypeError, KeyError, SyntaxError, EOFError, OverflowError, MemoryError),
    *(RuntimeError, RecursionError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)


def read_array(source: Path | bytes, *, mapped: bool = False) -> np.ndarray:
    """The array of a .npy file, or of the bytes of one; `mapped`: the file's, read as needed.

    Raises ValueError for all that can be wrong with it, OSError when the file cannot be read.
    """
    try:
        found = np.load(
            io.BytesIO(source) if isinstance(source, bytes) else source,
            mmap_mode="r" if mapped else None,
            allow_pickle=False,
        )
    except _FAULTS as error:
        raise _told(error) from error
    if not isinstance(found, np.ndarray):
        found.close()
        raise ValueError("it holds several arrays")
    return found


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name; raises as read_array does."""
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            raise ValueError("it holds a single array")
        with found:
            return {name: found[name] for name in found.files}
    except _FAULTS as error:
        raise _told(error) from error


def _told(error: Exception) -> ValueError:
    """The error as one line."""
    text = str(error).strip() or type(error).__name__
    return ValueError(f"it is not sound: {text.splitlines()[0][:120]}")
