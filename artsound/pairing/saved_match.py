"""The finished work of a large matching, saved to a folder from which it continues after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from artsound.errors import BadData, BadUsage
from artsound.storage import atomic_write, sweep, write_json

VERSION = 3
_IDENTITY = "matching.json"


class SavedMatch:
    """What a matching has finished, by name; of each name the last is saved.

    Without a folder nothing is saved. `again`: what is damaged counts as not saved.
    """

    def __init__(self, folder: Path | None = None, *, again: bool = False) -> None:
        self._folder = folder
        self._again = again

    def save(self, name: str, **arrays: np.ndarray) -> None:
        """Replace what is saved as `name`, atomically."""
        if self._folder is None:
            return
        with atomic_write(self._folder / f"{name}.npz") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """What was saved as `name`; None if nothing was.

        Raises:
            BadData: The file is damaged.
        """
        if self._folder is None:
            return None
        path = self._folder / f"{name}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            if self._again:
                return None
            raise BadData(
                f"{path} is damaged ({error}): delete the folder and begin again."
            ) from error


def open_saved(
    folder: str | os.PathLike[str] | None, arrays: list[np.ndarray], options: Any
) -> SavedMatch:
    """The saved work of the matching of these arrays with these options.

    Args:
        folder: Where it is; made if it does not exist. None: nothing is saved.
        arrays: All that the result depends on, beside the options.
        options: JSON.

    Raises:
        BadUsage: The folder has something else in it.
    """
    if folder is None:
        return SavedMatch()
    place = Path(folder)
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data)
    digest.update(json.dumps(options, sort_keys=True).encode())
    identity = {"version": VERSION, "sha256": digest.hexdigest()}
    try:
        place.mkdir(parents=True, exist_ok=True)
        sweep(place)  # what a killed process was writing
        found = sorted(path.name for path in place.iterdir())
        about = place / _IDENTITY
        saved = about.read_bytes() if about.is_file() else b""
    except OSError as error:
        raise BadUsage(f"{place} cannot be used as the folder of a matching: {error}.") from error
    if not found:
        write_json(place / _IDENTITY, identity)
    elif not saved:
        raise BadUsage(f"{place} has other files ({found[0]}): give an empty or a new folder.")
    elif _identity(saved) != identity:
        raise BadUsage(
            f"{place} has the work of a matching of other rows, options or version: "
            "give another folder, or delete this one."
        )
    return SavedMatch(place)


def saved_in_build(folder: Path, arrays: list[np.ndarray], options: Any) -> SavedMatch:
    """The same in a workspace, where the work of another matching, or a damaged one, is replaced.

    Raises:
        BadUsage: The folder cannot be used.
    """
    try:
        open_saved(folder, arrays, options)
    except BadUsage:
        remove_saved(folder)
        open_saved(folder, arrays, options)
    return SavedMatch(folder, again=True)


def remove_saved(folder: Path) -> None:
    """Remove the folder of a matching, if there is one."""
    shutil.rmtree(folder, ignore_errors=True)


def _identity(saved: bytes) -> Any:
    try:
        return json.loads(saved)
    except ValueError:
        return None
