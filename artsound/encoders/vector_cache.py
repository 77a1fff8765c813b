"""Vectors that an encoder has made, found again by what they were made of.

A folder for each encoder digest holds files of a structured array: the SHA-256 of an item's file,
and its vector. A file is written once, whole, and never changed; the folder may be deleted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from artsound.storage import atomic_write, digest
from artsound.untrusted import read_array


class VectorCache:
    """The vectors float16 [D] of one folder; safe for threads and for several processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[str] = set()
        self._places: dict[str, tuple[Path, int]] = {}
        self._lock = threading.Lock()

    def find(self, contents: Iterable[str]) -> dict[str, np.ndarray]:
        """The vectors of those SHA-256 digests that are known, by digest."""
        with self._lock:
            self._look_for_new_files()
            places = {sha: self._places[sha] for sha in contents if sha in self._places}
        tables = {path: _read(path) for path, _ in places.values()}
        found = {}
        for sha, (path, row) in places.items():
            table = tables[path]
            if table is not None and row < len(table):
                found[sha] = np.array(table["vector"][row])
        return found

    def add(self, contents: Sequence[str], vectors: np.ndarray) -> None:
        """Store the vectors [n, D] of n SHA-256 digests."""
        table = np.empty(
            len(contents), [("sha256", "S64"), ("vector", np.float16, (vectors.shape[1],))]
        )
        table["sha256"], table["vector"] = contents, vectors
        with atomic_write(self._folder / f"{digest(list(contents))[:32]}.npy") as file:
            np.save(file, table, allow_pickle=False)

    def _look_for_new_files(self) -> None:
        for path in sorted(self._folder.glob("*.npy")):
            if path.name not in self._seen:
                self._seen.add(path.name)
                table = _read(path)
                for row, sha in enumerate([] if table is None else table["sha256"]):
                    self._places.setdefault(sha.decode("ascii", "replace"), (path, row))


def _read(path: Path) -> np.ndarray | None:
    """A cache file's table, memory-mapped; None when it is broken or gone: it is only a cache."""
    try:
        table = read_array(path, mapped=True)
    except (OSError, ValueError):
        return None
    known = table.ndim == 1 and table.dtype.names == ("sha256", "vector")
    return table if known and table.dtype["vector"].base == np.float16 else None
