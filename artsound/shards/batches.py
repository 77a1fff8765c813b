"""One pass over a stream: samples are read, decoded and put together to batches.

A pass is made in this process, in threads of it, or in the worker processes of a DataLoader. It
counts nothing: where it begins is given to it, and how far it got is its consumer's affair.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import threading
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import IterableDataset, default_collate, default_convert, get_worker_info

from artsound.errors import BadData, BadUsage
from artsound.read_ahead import DaemonThreads, ordered_ahead
from artsound.shards import order
from artsound.shards.decode import Decode, decode
from artsound.shards.reader import Cache, Reader, SampleSource
from artsound.shards.store import Unreachable

log = logging.getLogger(__name__)

Sample = dict[str, Any]
_SMALL = 4096  # bytes
_ANNOUNCED = 256  # samples whose shards are asked for in advance
_DAMAGED = 64  # damaged samples in a row before giving up
_DROPPED = 4096  # samples in a row that a transform may drop


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch as one dict. `image` becomes uint8 [B, 3, H, W], in memory channels last, as it was
    decoded; arrays of one shape are stacked, numbers become tensors, and all else stays a list of
    B values, arrays among them as tensors. What a sample lacks that another has is None."""
    return _collated(samples, None)


def _collated(samples: list[dict[str, Any]], arrays: BatchArrays | None) -> dict[str, Any]:
    batch = {}
    for name in dict.fromkeys(name for sample in samples for name in sample):
        stacked = arrays.stacked(name, len(samples)) if arrays else None
        values = [sample.get(name) for sample in samples]
        batch[name] = _together(name, values) if stacked is None else _ready(name, stacked)
    return batch


def _together(name: str, values: list[Any]) -> Any:
    kinds = {type(value) for value in values}
    if kinds == {np.ndarray} and len({(v.shape, v.dtype) for v in values}) == 1:
        if values[0].dtype.kind in "biuf":
            # default_collate stacks in the memory that a worker shares: one copy less.
            writable = [torch.from_numpy(np.require(value, None, "W")) for value in values]
            return _ready(name, default_collate(writable))
    elif kinds == {torch.Tensor} and len({value.shape for value in values}) == 1:
        return default_collate(values)
    elif kinds <= {bool, int, float}:
        with contextlib.suppress(RuntimeError, ValueError, OverflowError):  # over 64 bits
            return torch.tensor(values)
    elif kinds <= {str, type(None)}:
        return values
    return default_convert(values)


def _ready(name: str, stacked: torch.Tensor) -> torch.Tensor:
    return stacked.permute(0, 3, 1, 2) if name == "image" and stacked.ndim == 4 else stacked


class BatchArrays:
    """The large arrays of a batch in the making; threads put those of their samples into rows.

    So a batch is in memory once, and its samples' own arrays are freed in the thread that decoded
    them. It is mapped memory, which goes back to the system with the batch: what malloc gives in
    one thread, and another frees, stays with the process.

    Args:
        rows: Samples in the batch.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._arrays: dict[str, np.ndarray] = {}
        self._filled: dict[str, int] = {}
        self._lock = threading.Lock()

    def put(self, row: int, sample: Any) -> Any:
        """Copy a sample's large arrays into a row. Returns the sample with them as views of it."""
        if type(sample) is not dict:
            return sample
        return {name: self._put(name, row, value) for name, value in sample.items()}

    def stacked(self, name: str, rows: int) -> torch.Tensor | None:
        """The array of so many rows; None unless all of them have been put into it."""
        if self._filled.get(name) != rows:
            return None
        return torch.from_numpy(self._arrays[name][:rows])

    def _put(self, name: str, row: int, value: Any) -> Any:
        if type(value) is not np.ndarray or value.nbytes <= _SMALL:
            return value
        if value.dtype.kind not in "biuf" or not value.dtype.isnative:
            return value
        with self._lock:
            if name not in self._arrays:
                self._arrays[name] = _mapped((self._rows, *value.shape), value.dtype)
            array = self._arrays[name]
            if (array.shape[1:], array.dtype) != (value.shape, value.dtype):
                return value
            self._filled[name] = self._filled.get(name, 0) + 1
        array[row] = value
        return array[row]


def _mapped(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """An array of zeros in memory of its own, taken from the system as it is written to."""
    count = int(np.prod(shape))
    memory = mmap.mmap(-1, count * dtype.itemsize, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(memory, dtype, count).reshape(shape)


class WorkerBatch(dict[str, Any]):
    """A batch that a worker process hands out; where it arrives it is a plain dict.

    Its small tensors travel within the message. torch would put each of them, and there are two
    dozen, into shared memory of its own.
    """

    def __copy__(self) -> WorkerBatch:
        # A DataLoader that is not `Stream.loader`'s copies what its workers made; by way of
        # __reduce__ that would be a plain dict again.
        return WorkerBatch(self)

    def __reduce__(self) -> tuple[Any, ...]:
        small = {
            name: value.numpy()
            for name, value in self.items()
            if isinstance(value, torch.Tensor) and value.nbytes <= _SMALL
        }
        large = {name: value for name, value in self.items() if name not in small}
        return _unpacked, (tuple(self), small, large)


def _unpacked(
    names: tuple[str, ...], small: Mapping[str, np.ndarray], large: Mapping[str, Any]
) -> dict[str, Any]:
    return {name: torch.from_numpy(small[name]) if name in small else large[name] for name in names}


def as_plain_batch(batch: Any) -> Any:
    """The batch itself, for a DataLoader: torch's own default_convert would look for arrays in
    every text of it, and `collate` has left none."""
    return batch


@dataclass(frozen=True)
class StreamOptions:
    """What a stream does; see `artsound.shards.dataset.Dataset.stream`."""

    batch_size: int = 0
    shuffle: bool = True
    seed: int = 0
    repeat: bool = False
    epoch: int | None = None
    epoch_size: int = 0
    drop_last: bool = False
    pad: bool = False
    rank: int | None = None
    ranks: int | None = None
    decode: Decode | None = None
    transform: Callable[[Sample], Any] | None = None
    collate: Callable[[list[Any]], Any] | None = None
    on_error: Literal["raise", "skip"] = "raise"
    lanes: int = 16
    window: int = 256
    ahead: int = 16
    threads: int = 8
    cache: str | os.PathLike[str] = ""
    cache_bytes: int = 0
    dense: float = 0.5

    def __post_init__(self) -> None:
        for name in ("batch_size", "epoch_size", "cache_bytes"):
            self._whole_number(name, 0)
        for name in ("lanes", "window", "ahead", "threads"):
            self._whole_number(name, 1)
        self._whole_number("seed", None)
        for name in ("epoch", "rank", "ranks"):
            if getattr(self, name) is not None:
                self._whole_number(name, int(name == "ranks"))
        if self.rank is not None and self.ranks is not None and self.rank >= self.ranks:
            raise BadUsage(f"rank {self.rank} of {self.ranks} ranks does not exist.")
        if self.on_error not in ("raise", "skip"):
            raise BadUsage(f"on_error is {self.on_error!r}: choose 'raise' or 'skip'.")
        for name in ("transform", "collate"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise BadUsage(f"{name} is {getattr(self, name)!r}: give a function.")
        if self.drop_last and self.pad:
            raise BadUsage("drop_last leaves samples out and pad fills up: choose one of them.")
        if self.drop_last and not self.batch_size:
            raise BadUsage("drop_last leaves out the last, smaller batch: give a batch_size.")
        if self.pad and self.repeat:
            raise BadUsage("pad ends an epoch evenly and repeat never ends: choose one of them.")
        if self.cache and not self.cache_bytes:
            raise BadUsage("A cache needs cache_bytes: the most bytes that it may take.")

    def _whole_number(self, name: str, least: int | None) -> None:
        value = getattr(self, name)
        try:
            number = value.__index__()
        except (AttributeError, TypeError):
            raise BadUsage(f"{name} is {value!r}: give a whole number.") from None
        if least is not None and number < least:
            raise BadUsage(
                f"{name} is {number}: it must be {'positive' if least else '0 or positive'}."
            )
        object.__setattr__(self, name, number)

    @property
    def batch(self) -> int:
        """Samples in a unit of the order: a batch, or a single sample."""
        return self.batch_size or 1

    @property
    def tail(self) -> order.Tail:
        """What is done at the end of an epoch."""
        return "drop" if self.drop_last else "pad" if self.pad else "keep"


class Slot(NamedTuple):
    """One sample to come."""

    draws: order.EpochDraws
    position: int
    draw: order.Draw
    last: bool  # whether it ends a batch


@dataclass(frozen=True, eq=False)
class Plan:
    """What all passes over a stream have in common; it travels to worker processes.

    Attributes:
        sources: For each set of samples, where their members are.
        epochs: The order.
        options: What a stream does.
    """

    sources: tuple[tuple[SampleSource, ...], ...]
    epochs: order.Epochs
    options: StreamOptions

    def units(self, ranks: int, start: int = 0) -> int:
        """Batches (or samples) of each rank in an epoch, from position `start` on."""
        return order.units(self.epochs.size, start, ranks, self.options.batch, self.options.tail)

    def after(self, place: order.Point, ranks: int, taken: int) -> order.Point:
        """The place that all ranks have reached when each has taken some batches."""
        size, batch = self.epochs.size, self.options.batch
        return order.advance(place, size, ranks, batch, taken, self.options.tail)

    def slots(
        self, start: order.Point, rank: int, ranks: int, worker: int, workers: int, skip: int = 0
    ) -> Iterator[Slot]:
        """What a worker of a rank will do, sample by sample; its first `skip` batches left out."""
        size = self.epochs.size
        draws = lru_cache(maxsize=2)(lambda epoch: order.EpochDraws(self.epochs, epoch))
        units = order.walk(
            start, size, rank=rank, ranks=ranks, worker=worker, workers=workers,
            batch=self.options.batch, tail=self.options.tail,
        )  # fmt: skip
        for epoch, positions in islice(units, skip, None):
            if epoch > start.epoch and not self.options.repeat:
                return
            drawn = draws(epoch)
            found = drawn[positions % size]
            for at, position in enumerate(positions.tolist()):
                yield Slot(drawn, position, found.one(at), last=at + 1 == len(positions))

    def batches(
        self,
        start: order.Point,
        rank: int,
        ranks: int,
        *,
        worker: int = 0,
        workers: int = 1,
        skip: int = 0,
        threads: int = 0,
        ahead: int = 0,
    ) -> Generator[Any, None, None]:
        """Make the batches of one worker of a rank, or without batch_size its samples.

        Args:
            start: Where all ranks begin.
            rank: The rank.
            ranks: Number of ranks.
            worker: The worker.
            workers: Number of workers of a rank.
            skip: Batches of this worker that are not made.
            threads: Read and decode in so many threads; 0: in this one.
            ahead: Samples that the threads may make in advance.
        """
        reader = SourceReaders(self)
        slots = self.slots(start, rank, ranks, worker, workers, skip)
        groups = self._grouped(slots, reader, threads, ahead)
        try:
            # Unlike a loop's variable, `map` holds on to no batch that it has given.
            yield from map(self._finished, groups)
        finally:
            groups.close()
            reader.close()

    def _grouped(
        self, slots: Iterable[Slot], reader: SourceReaders, threads: int, ahead: int
    ) -> Generator[tuple[list[Any], BatchArrays | None], None, None]:
        """The finished samples of each batch, with the arrays that theirs were put into."""
        made: list[Any] = []
        for slot, sample, arrays in self._samples(slots, reader, threads, ahead):
            made.append(sample)
            if slot.last:
                whole = [(made, arrays)]
                made = []
                yield whole.pop()

    def _samples(
        self, slots: Iterable[Slot], reader: SourceReaders, threads: int, ahead: int
    ) -> Iterator[tuple[Slot, Any, BatchArrays | None]]:
        """Each slot with its finished sample; slots are announced to the reader in advance."""

        def fetch(slot: Slot) -> tuple[Slot, Sample | BadData]:
            try:
                return slot, reader.read(slot.draw.source, slot.draw.number)
            except BadData as error:
                return slot, error

        def make(slot: Slot) -> tuple[Slot, Any, BatchArrays | None]:
            return slot, self._good(reader, *fetch(slot)), None

        def make_row(place: tuple[Slot, int, BatchArrays]) -> tuple[Slot, Any, BatchArrays | None]:
            slot, row, arrays = place
            return slot, arrays.put(row, self._good(reader, *fetch(slot))), arrays

        slots = _announced(slots, reader.announce, _ANNOUNCED)
        if reader.is_local:
            slots = _announced(slots, reader.hint, self.options.ahead)
            if not threads:
                yield from map(make, slots)
                return
        pool = DaemonThreads(threads or self.options.threads)
        stacks = self.options.batch_size and not self.options.collate
        try:
            if threads and stacks:
                places = _rows(slots, self.options.batch_size)
                yield from ordered_ahead(pool, make_row, places, max(ahead, threads))
            elif threads:
                yield from ordered_ahead(pool, make, slots, max(ahead, threads))
            else:
                for slot, raw in ordered_ahead(pool, fetch, slots, self.options.ahead):
                    yield slot, self._good(reader, slot, raw), None
        finally:
            pool.shutdown()

    def _good(self, reader: SourceReaders, slot: Slot, raw: Sample | BadData) -> Any:
        """The finished sample of a slot, or of the next in the order that can take its place."""
        damaged = dropped = 0
        where = slot
        while True:
            try:
                if isinstance(raw, BadData):
                    raise raw
                made = self._made(where, raw, slot.position < self.epochs.size)
                if made is not None:
                    return made
                dropped += 1
                damaged = 0
            except BadData as error:
                if self.options.on_error == "raise" or isinstance(error, Unreachable):
                    raise
                log.warning("Skipped a damaged sample: %s", error)
                damaged += 1
            if damaged >= _DAMAGED:
                place = reader.location(where.draw.source)
                raise BadData(
                    f"{damaged} samples in a row of {place} are damaged: "
                    "`artsound verify --deep` tells more."
                )
            if dropped >= min(_DROPPED, self.epochs.size):
                raise BadUsage(
                    f"The transform dropped {dropped} samples in a row (it gave None): filter the "
                    "dataset beforehand, or let it drop fewer."
                )
            where = self._next(where)
            try:
                raw = reader.read(where.draw.source, where.draw.number)
            except BadData as error:
                raw = error

    def _next(self, slot: Slot) -> Slot:
        """The slot that follows in the order of the epoch, whoever's it is."""
        position = (slot.position + 1) % self.epochs.size
        found = slot.draws[np.array([position])].one(0)
        return Slot(slot.draws, position, found, slot.last)

    def _made(self, slot: Slot, raw: Sample, real: bool) -> Any:
        """A sample decoded and transformed; None if the transform drops it."""
        options, made = self.options, raw
        if options.decode is not None:
            start = 0.0
            if options.decode.audio_start == "random":
                start = self._chance(slot, raw["key"], 2) / 2**64
            made = decode(raw, options.decode, draw=start)
        if options.transform is not None:
            draw = self._chance(slot, raw["key"], 6)
            made = options.transform({**made, "draw": draw})
            if isinstance(made, dict) and made.get("draw") == draw:
                made = {name: value for name, value in made.items() if name != "draw"}
        if options.pad and made is not None:
            if not isinstance(made, dict):
                raise BadUsage(
                    "pad marks samples in `mask`: let the transform return a dict, not "
                    f"{type(made).__name__}."
                )
            made = {**made, "mask": real}
        return made

    def _chance(self, slot: Slot, key: str, purpose: int) -> int:
        """64 random bits, fixed by seed, epoch and key; equal samples of an epoch have others."""
        copies = self.sources[slot.draw.source][0].pointers.copies
        copy = (slot.draw.copy, int(copies[slot.draw.number]) if copies is not None else 0)
        salt = (self.epochs.source_seed(slot.draw.source), slot.draw.turn, purpose)
        more = copy if any(copy) else ()
        return int(order.hashed([zlib.crc32(key.encode())], *salt, *more)[0])

    def _finished(self, made: tuple[list[Any], BatchArrays | None]) -> Any:
        samples, arrays = made
        if not self.options.batch_size:
            return samples[0]
        if self.options.collate:
            return self.options.collate(samples)
        batch = _collated(samples, arrays)
        return batch if get_worker_info() is None else WorkerBatch(batch)


class SourceReaders:
    """Reads the samples of all sources of a plan, by source and number."""

    def __init__(self, plan: Plan) -> None:
        options = plan.options
        cache = Cache(Path(options.cache), options.cache_bytes) if options.cache else None
        self._sources = plan.sources
        self._readers = [Reader(layers, cache, options.dense) for layers in plan.sources]

    @cached_property
    def is_local(self) -> bool:
        """Whether reading costs no network."""
        return all(layer.store.is_local for layers in self._sources for layer in layers)

    def location(self, source: int) -> str:
        """The folder or address of a source."""
        return self._sources[source][0].store.location

    def read(self, source: int, number: int) -> Sample:
        """The members' bytes of a sample; BadData when unavailable or damaged."""
        return self._readers[source].read(number)

    def announce(self, slot: Slot) -> None:
        """Prefetch hint; see `Reader.announce`."""
        self._readers[slot.draw.source].announce(slot.draw.number)

    def hint(self, slot: Slot) -> None:
        """Read-ahead hint; see `Reader.hint`."""
        self._readers[slot.draw.source].hint(slot.draw.number)

    def close(self) -> None:
        """Abandon downloads of whole shards."""
        for reader in self._readers:
            reader.close()


class Pass(IterableDataset):  # type: ignore[type-arg]
    """One pass, as a DataLoader sends it to its workers.

    `place` is the epoch and position at which all ranks begin; where workers live on from pass to
    pass it is a tensor in shared memory.
    """

    def __init__(self, plan: Plan, place: Any, rank: int, ranks: int) -> None:
        super().__init__()
        self.plan = plan
        self.place = place
        self.rank, self.ranks = rank, ranks

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        start = order.Point(*(int(number) for number in self.place))
        return self.plan.batches(start, self.rank, self.ranks, worker=worker, workers=workers)


def _rows(slots: Iterable[Slot], size: int) -> Iterator[tuple[Slot, int, BatchArrays]]:
    """Each slot with its row in the arrays of its batch."""
    row, arrays = 0, BatchArrays(size)
    for slot in slots:
        yield slot, row, arrays
        row += 1
        if slot.last:
            row, arrays = 0, BatchArrays(size)


def _announced(slots: Iterable[Slot], tell: Callable[[Slot], None], ahead: int) -> Iterator[Slot]:
    """The slots, each announced `ahead` slots before it comes."""
    waiting: deque[Slot] = deque()
    for slot in slots:
        tell(slot)
        waiting.append(slot)
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting
