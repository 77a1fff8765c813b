"""Reads samples by number: from a local disk, through a cache of remote shards, or by byte ranges.

The cache is a bounded folder of whole shards, shared by all processes of a machine. A shard is
stored under its digest, so a stale or damaged copy is never used, and several datasets may share a
folder. It appears under its name only when it is complete and its digest is right. Locks are the
kernel's (flock): a killed process leaves none behind, only a partial file that the next process
removes. Locks are non-blocking: while another process downloads a shard, readers use byte ranges.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artsound.errors import BadData, BadUsage
from artsound.read_ahead import DaemonThreads
from artsound.shards.format import Shard
from artsound.shards.index import SampleLocations
from artsound.shards.store import Store, read_file_ranges
from artsound.storage import make_folder

log = logging.getLogger(__name__)

_PARTIAL = ".partial"


@dataclass(frozen=True)
class Cache:
    """A cache folder of at most `limit` bytes of shards; the least recently used are evicted."""

    folder: Path
    limit: int

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise BadUsage(f"A cache of {self.limit} bytes can hold nothing: give cache_bytes.")

    def find(self, shard: Shard) -> Path | None:
        """Return the shard's file and mark it as used; None when it is not in the cache."""
        path = self.folder / f"{shard.sha256}.tar"
        try:
            if path.stat().st_size != shard.bytes:
                return None
            os.utime(path)
        except OSError:
            return None
        return path

    def fetch(
        self, shard: Shard, store: Store, stopped: Callable[[], bool] = lambda: False
    ) -> bool:
        """Download a shard into the cache, evicting others if needed.

        Args:
            shard: The shard.
            store: Where it is.
            stopped: Checked between chunks; the download is abandoned when it returns true.

        Returns:
            Whether the shard is in the cache now. False when there is no room for it, when another
            process is downloading it, when the local disk fails, or when stopped.

        Raises:
            BadData: The store fails, or has other bytes.
        """
        if shard.bytes > self.limit:
            return False
        make_folder(self.folder)
        partial = self.folder / f"{shard.sha256}{_PARTIAL}"
        with _locked(partial) as descriptor:
            if descriptor < 0:
                return False
            if self.find(shard):
                partial.unlink(missing_ok=True)
                return True
            try:
                if not self._make_room(shard.bytes, descriptor):
                    return False
                digest = _copy(store.chunks(shard.name), descriptor, shard.bytes, stopped)
                if stopped():
                    return False
                if digest != shard.sha256:
                    raise BadData(
                        f"{store.location}/{shard.name} is not the shard that index.json names: "
                        "its SHA-256 differs."
                    )
                os.fsync(descriptor)
                partial.replace(self.folder / f"{shard.sha256}.tar")
            except OSError:  # a full disk: continue without the cache
                return False
            finally:
                partial.unlink(missing_ok=True)
        return True

    def _make_room(self, size: int, descriptor: int) -> bool:
        """Reserve `size` bytes for the file being written. Returns whether there is room.

        Removes what killed processes left, and the least recently used shards.
        """
        with _locked(self.folder / ".lock", wait=True):
            os.ftruncate(descriptor, 0)
            used = size
            stored = []
            for path in self.folder.iterdir():
                if path.suffix == _PARTIAL:
                    _remove_abandoned(path)
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    used += status.st_size
                    if path.suffix == ".tar":
                        stored.append((status.st_mtime_ns, status.st_size, path))
            for _, bytes_, path in sorted(stored):
                if used <= self.limit:
                    break
                # A process that has the file open can still read it.
                path.unlink(missing_ok=True)
                used -= bytes_
            if used > self.limit:
                return False
            os.ftruncate(descriptor, size)
        return True


def _copy(chunks: Iterator[bytes], descriptor: int, limit: int, stopped: Callable[[], bool]) -> str:
    """Write at most `limit` bytes of the chunks to a file. Returns their digest."""
    digest = hashlib.sha256()
    left = limit
    with open(descriptor, "wb", closefd=False) as file:
        for chunk in chunks:
            left -= len(chunk)
            if left < 0 or stopped():
                break
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def _locked(path: Path, *, wait: bool = False) -> Iterator[int]:
    """A descriptor of `path`, locked by this process; −1 when another process has the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield -1
            return
        yield descriptor
    finally:
        os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    """Remove a partial file that no process is writing."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class SampleSource:
    """Some members of every sample: their store and positions. All sources number alike."""

    store: Store
    pointers: SampleLocations

    def read(self, number: int) -> dict[str, Any]:
        """Return these members of a sample, read from the store; BadData when unavailable."""
        shard = self.pointers.shards[self.pointers.shard[number]]
        pieces = self.store.read_ranges(shard.name, self.pointers.ranges(number))
        return self.pointers.sample(number, pieces)


class Reader:
    """Reads samples, in one process, from one source or several at once.

    With a cache, a remote shard is downloaded whole in the background once a sample of it is
    announced or read, if at least the share `dense` of its bytes is needed. Until then, and from
    all other shards, only the needed byte ranges are fetched.

    Args:
        layers: The sources; the members of a sample are those of all.
        cache: Cache for remote shards.
        dense: Share of a shard's bytes, 0–1, from which on it is downloaded whole.
    """

    def __init__(
        self, layers: Sequence[SampleSource], cache: Cache | None = None, dense: float = 0.5
    ) -> None:
        self.layers = layers
        self.cache = None if all(layer.store.is_local for layer in layers) else cache
        self.dense = dense
        self._asked: set[str] = set()
        self._pool = DaemonThreads(2)
        self._closed = threading.Event()

    def announce(self, number: int) -> None:
        """Prefetch hint: a sample will be read soon, so its shard may be downloaded."""
        if self.cache is not None:
            for layer in self.layers:
                self._announce(self.cache, layer, number)

    def hint(self, number: int) -> None:
        """Read-ahead hint: a sample is among the next to be read, so a disk may fetch it."""
        for layer in self.layers:
            pointers = layer.pointers
            shard = pointers.shards[pointers.shard[number]]
            layer.store.hint(shard.name, pointers.ranges(number))

    def read(self, number: int) -> dict[str, Any]:
        """Return a sample with its members' bytes; BadData when unavailable or damaged."""
        sample: dict[str, Any] = {}
        for layer in self.layers:
            sample |= self._read(layer, number)
        return sample

    def close(self) -> None:
        """Abandon downloads of whole shards."""
        self._closed.set()
        self._pool.shutdown()

    def _read(self, layer: SampleSource, number: int) -> dict[str, Any]:
        if self.cache is not None and not layer.store.is_local:
            pointers = layer.pointers
            path = self.cache.find(pointers.shards[pointers.shard[number]])
            if path is not None:
                with contextlib.suppress(BadData):  # it was evicted a moment ago
                    pieces = read_file_ranges(path, pointers.ranges(number))
                    return pointers.sample(number, pieces)
            self._announce(self.cache, layer, number)
        return layer.read(number)

    def _announce(self, cache: Cache, layer: SampleSource, number: int) -> None:
        at = int(layer.pointers.shard[number])
        shard = layer.pointers.shards[at]
        if layer.store.is_local or layer.pointers.density[at] < self.dense:
            return
        if shard.sha256 not in self._asked and cache.find(shard) is None:
            self._asked.add(shard.sha256)
            self._pool.submit(self._fetch, cache, layer.store, shard)

    def _fetch(self, cache: Cache, store: Store, shard: Shard) -> None:
        # What could not be fetched once is not asked for again in this pass: its ranges are read.
        try:
            if cache.fetch(shard, store, self._closed.is_set):
                self._asked.discard(shard.sha256)  # if it is evicted it may come again
        except BadData as error:
            log.warning("%s is not cached: %s", shard.name, error)
