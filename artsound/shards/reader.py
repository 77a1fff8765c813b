"""Samples by number, read the cheapest way: from this disk, through a cache, or by byte ranges."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from artsound.errors import BadData
from artsound.shards.cache import Cache
from artsound.shards.pointers import Pointers
from artsound.shards.store import Store, read_file_ranges
from artsound.shards.write import Shard


class Reader:
    """Reads the samples of a store, in one process.

    With a cache, a shard of which at least the share `dense` of the bytes is wanted is fetched
    whole, from front to back, by a thread of its own, once it is announced or asked for. Until it
    is there, and of all other shards, only the bytes wanted are fetched.
    """

    def __init__(
        self, store: Store, pointers: Pointers, cache: Cache | None = None, dense: float = 0.5
    ) -> None:
        self.store = store
        self.pointers = pointers
        self.cache = None if store.is_local else cache
        self.dense = dense
        self._asked: set[str] = set()
        self._pool = ThreadPoolExecutor(2)
        self._closed = threading.Event()

    def announce(self, number: int) -> None:
        """Say that a sample will be wanted soon."""
        at = int(self.pointers.shard[number])
        shard = self.pointers.shards[at]
        if self.cache is None or self.pointers.density[at] < self.dense:
            return
        if shard.sha256 not in self._asked and self.cache.find(shard) is None:
            self._asked.add(shard.sha256)
            self._pool.submit(self._fetch, self.cache, shard)

    def read(self, number: int) -> dict[str, Any]:
        """The sample with its members' bytes; BadData when they cannot be had or are damaged."""
        shard = self.pointers.shards[self.pointers.shard[number]]
        ranges = self.pointers.ranges(number)
        path = None if self.cache is None else self.cache.find(shard)
        if path is not None:
            with contextlib.suppress(BadData):  # it was evicted a moment ago
                return self.pointers.sample(number, read_file_ranges(path, ranges))
        self.announce(number)
        return self.pointers.sample(number, self.store.read_ranges(shard.name, ranges))

    def close(self) -> None:
        """Stop fetching whole shards; what has been begun is given up."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, cache: Cache, shard: Shard) -> None:
        # A shard that cannot be had whole shows when its ranges are read, with its name.
        with contextlib.suppress(BadData):
            cache.fetch(shard, self.store, self._closed.is_set)
        self._asked.discard(shard.sha256)
