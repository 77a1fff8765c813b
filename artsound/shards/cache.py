"""A bounded folder of whole shards fetched from far away, shared by every process of a machine.

A shard is kept under its digest, so a stale or damaged copy is never taken for it, and two
datasets may share a folder. It appears under its name only when it is complete and its digest is
right. Locks are the kernel's (flock): a killed process leaves none behind, only a partial file
that the next one to come removes. Nobody waits for a lock: who finds a shard in the making
reads by byte ranges until it is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from artsound.errors import BadData, BadUsage
from artsound.shards.store import Store
from artsound.shards.write import Shard
from artsound.storage import make_folder

_PARTIAL = ".partial"


@dataclass(frozen=True)
class Cache:
    """A folder of at most `limit` bytes of shards, those used last."""

    folder: Path
    limit: int

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise BadUsage(f"A cache of {self.limit} bytes holds nothing: give cache_bytes.")

    def find(self, shard: Shard) -> Path | None:
        """The shard's file when it is here, now marked as used; else None."""
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
        """Bring a shard here, and others out when there is no room; whether it is here now.

        False when there is no room for it, when another process is at it, when this disk fails,
        or when `stopped()` came true. Raises BadData when the store fails, or holds other bytes.
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
            except OSError:  # a full disk: go on without
                return False
            finally:
                partial.unlink(missing_ok=True)
        return True

    def _make_room(self, size: int, descriptor: int) -> bool:
        """Reserve `size` bytes for the file being made; whether there is room.

        Out go what killed processes left, and the shards used longest ago.
        """
        with _locked(self.folder / ".lock", wait=True):
            os.ftruncate(descriptor, 0)
            used = size
            kept = []
            for path in self.folder.iterdir():
                if path.suffix == _PARTIAL:
                    _remove_abandoned(path)
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    used += status.st_size
                    if path.suffix == ".tar":
                        kept.append((status.st_mtime_ns, status.st_size, path))
            for _, bytes_, path in sorted(kept):
                if used <= self.limit:
                    break
                # Those who have it open read on: a file is gone only when nobody holds it.
                path.unlink(missing_ok=True)
                used -= bytes_
            if used > self.limit:
                return False
            os.ftruncate(descriptor, size)
        return True


def _copy(chunks: Iterator[bytes], descriptor: int, limit: int, stopped: Callable[[], bool]) -> str:
    """Write the chunks to a file; their digest. No more than `limit` bytes are taken."""
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
    """A descriptor of `path`, locked for this process; −1 when another holds it."""
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
    """Remove a partial file that nobody is writing."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
