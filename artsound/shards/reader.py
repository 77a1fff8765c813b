"""Samples by number, read the cheapest way: from this disk, through a cache, or by byte ranges."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from artsound.errors import BadData
from artsound.shards.cache import Cache
from artsound.shards.pointers import Pointers
from artsound.shards.store import Store, read_file_ranges
from artsound.shards.write import Shard


@dataclass(frozen=True)
class Layer:
    """Some members of every sample, and where they lie. Samples have the same numbers in each."""

    store: Store
    pointers: Pointers


class Reader:
    """Reads samples, in one process, from one layer or several at once.

    With a cache, a far shard of which at least the share `dense` of the bytes is wanted is
    fetched whole, from front to back, by a thread of its own, once it is announced or asked for.
    Until it is there, and of all other shards, only the bytes wanted are fetched.
    """

    def __init__(
        self, layers: Sequence[Layer], cache: Cache | None = None, dense: float = 0.5
    ) -> None:
        self.layers = layers
        self.cache = None if all(layer.store.is_local for layer in layers) else cache
        self.dense = dense
        self._asked: set[str] = set()
        self._pool = ThreadPoolExecutor(2)
        self._closed = threading.Event()

    def announce(self, number: int) -> None:
        """Say that a sample will be wanted soon."""
        if self.cache is not None:
            for layer in self.layers:
                self._announce(self.cache, layer, number)

    def hint(self, number: int) -> None:
        """Say that a sample is among the next to be read: a disk may begin to fetch it."""
        for layer in self.layers:
            pointers = layer.pointers
            shard = pointers.shards[pointers.shard[number]]
            layer.store.hint(shard.name, pointers.ranges(number))

    def read(self, number: int) -> dict[str, Any]:
        """The sample with its members' bytes; BadData when they cannot be had or are damaged."""
        sample: dict[str, Any] = {}
        for layer in self.layers:
            sample |= self._read(layer, number)
        return sample

    def close(self) -> None:
        """Stop fetching whole shards; what has been begun is given up."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, layer: Layer, number: int) -> dict[str, Any]:
        pointers = layer.pointers
        shard, ranges = pointers.shards[pointers.shard[number]], pointers.ranges(number)
        if self.cache is not None and not layer.store.is_local:
            path = self.cache.find(shard)
            if path is not None:
                with contextlib.suppress(BadData):  # it was evicted a moment ago
                    return pointers.sample(number, read_file_ranges(path, ranges))
            self._announce(self.cache, layer, number)
        return pointers.sample(number, layer.store.read_ranges(shard.name, ranges))

    def _announce(self, cache: Cache, layer: Layer, number: int) -> None:
        at = int(layer.pointers.shard[number])
        shard = layer.pointers.shards[at]
        if layer.store.is_local or layer.pointers.density[at] < self.dense:
            return
        if shard.sha256 not in self._asked and cache.find(shard) is None:
            self._asked.add(shard.sha256)
            self._pool.submit(self._fetch, cache, layer.store, shard)

    def _fetch(self, cache: Cache, store: Store, shard: Shard) -> None:
        # A shard that cannot be had whole shows when its ranges are read, with its name.
        with contextlib.suppress(BadData):
            cache.fetch(shard, store, self._closed.is_set)
        self._asked.discard(shard.sha256)
