"""Samples for training: one global order, walked by any number of ranks and workers.

    data = artsound.open("out/shards").split("train")
    decode = {"image_size": 256, "sample_rate": 16_000}
    stream = data.stream(batch_size=16, seed=0, decode=decode)
    for batch in stream.loader(workers=4): ...

The order is that of `artsound.shards.order`. All state is two integers, the epoch and the position
in it that all ranks have reached; they are enough to continue anywhere.
"""

from __future__ import annotations

import contextlib
import logging
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    default_collate,
    default_convert,
    get_worker_info,
)

from artsound.errors import BadData, BadUsage
from artsound.read_ahead import ordered_ahead
from artsound.shards import order
from artsound.shards.decode import Decode, decode, decode_options
from artsound.shards.reader import Cache, Reader, SampleSource

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

    from artsound.shards.dataset import Dataset


# Samples put together to a batch, and how a batch travels from a worker process.

_SMALL = 4096  # bytes


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch as one dict. `image` becomes uint8 [B, 3, H, W], in memory channels last, as it was
    decoded; arrays of one shape are stacked, numbers become tensors, and all else stays a list of
    B values, arrays among them as tensors. What a sample lacks that another has is None."""
    return {
        name: _together(name, [sample.get(name) for sample in samples])
        for name in dict.fromkeys(name for sample in samples for name in sample)
    }


def _together(name: str, values: list[Any]) -> Any:
    kinds = {type(value) for value in values}
    if kinds == {np.ndarray} and len({(v.shape, v.dtype) for v in values}) == 1:
        if values[0].dtype.kind in "biuf":
            # default_collate stacks in the memory that a worker shares: one copy less.
            stacked = default_collate([torch.from_numpy(np.require(v, None, "W")) for v in values])
            return stacked.permute(0, 3, 1, 2) if name == "image" and stacked.ndim == 4 else stacked
    elif kinds == {torch.Tensor} and len({value.shape for value in values}) == 1:
        return default_collate(values)
    elif kinds <= {bool, int, float}:
        with contextlib.suppress(RuntimeError, ValueError, OverflowError):  # over 64 bits
            return torch.tensor(values)
    elif kinds <= {str, type(None)}:
        return values
    return default_convert(values)


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


log = logging.getLogger(__name__)

Sample = dict[str, Any]
Orders = Callable[[int], order.Integers]
_ANNOUNCED = 256  # samples whose shards are asked for in advance
_SUBSTITUTES = 64  # samples tried in the place of a damaged one before giving up


class Slot(NamedTuple):
    """One sample to come: its place in the order, its number, and whether it ends a batch."""

    epoch: int
    position: int
    number: int
    last: bool


@dataclass(frozen=True)
class StreamOptions:
    """What a stream does; see `Stream`."""

    batch_size: int = 0
    shuffle: bool = True
    seed: int = 0
    repeat: bool = False
    rank: int = 0
    ranks: int = 1
    decode: Decode | None = None
    transform: Callable[[Sample], Sample] | None = None
    collate: Callable[[list[Sample]], Any] | None = None
    on_error: Literal["raise", "skip"] = "raise"
    lanes: int = 16
    window: int = 256
    ahead: int = 16
    threads: int = 8
    cache: str | os.PathLike[str] = ""
    cache_bytes: int = 0
    dense: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.ranks:
            raise BadUsage(f"rank {self.rank} of {self.ranks} ranks does not exist.")
        if self.batch_size < 0 or min(self.lanes, self.window, self.ahead, self.threads) < 1:
            raise BadUsage("batch_size, lanes, window, ahead and threads must be positive.")
        if not isinstance(self.seed, int):
            raise BadUsage(f"seed is {self.seed!r}: give a whole number.")
        if self.on_error not in ("raise", "skip"):
            raise BadUsage(f"on_error is {self.on_error!r}: choose 'raise' or 'skip'.")


def open_stream(dataset: Dataset, **options: Any) -> Stream:
    """The stream of a dataset: what `Dataset.stream` calls, with its options."""
    rank, ranks = _world()
    for name, default in (("rank", rank), ("ranks", ranks)):
        if options.get(name) is None:
            options[name] = default
    options["decode"] = decode_options(options.get("decode"))
    return Stream(dataset.layers, StreamOptions(**options))


class Stream(IterableDataset):  # type: ignore[type-arg]
    """Batches, or single samples, of one rank, made in this process or in a DataLoader's workers.

    Without `decode` a sample is {"key", "jpg": bytes, "mp3": bytes, "json": dict}; with one, a
    `Decode` or a dict of its fields, see `artsound.shards.decode`. `transform` is applied to each,
    where it was read. `batch_size` samples make a batch by
    `collate` (default: `collate` of this file); 0 gives the samples one by one. The last batch of
    an epoch may be smaller.

    The order is fixed by `seed`, the epoch and the samples, whatever the number of ranks and
    workers; every rank gets equally many, and the (fewer than `ranks`) samples left at the end of
    an epoch fall to nobody. `shuffle=False` keeps the shards' order. `lanes` and `window` (in
    samples) are part of the order. An iteration goes on where the last one stopped, to the end of
    the epoch; the next begins the next epoch. With `repeat` it goes on for ever.

    A damaged sample raises BadData, or with on_error="skip" is logged and its place taken by the
    next good one, so that no rank ever falls behind.

    `ahead` samples are fetched in advance: by the disk, or over a network by so many `threads`,
    each sample by its byte range. With a `cache` folder of `cache_bytes`, which all processes of
    a machine may share, far shards of which at least the share `dense` is wanted are fetched
    whole, once.
    """

    def __init__(self, layers: Sequence[SampleSource], options: StreamOptions) -> None:
        super().__init__()
        self.layers = layers
        self.pointers = layers[0].pointers
        self.options = options
        self.start = order.Point(0, 0)
        self.taken = 0

    def __len__(self) -> int:
        """Batches (or samples) that an iteration from `start` on gives this rank."""
        if self.options.repeat:
            raise TypeError("a stream that repeats has no length")
        return order.units(len(self.pointers), self.start.position, self.options.ranks, self._batch)

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        self.start, self.taken = self._place(self.taken), 0
        for batch in self._batches(worker, workers):
            self.taken += 1
            yield self._finished(batch)

    def state_dict(self, taken: int | None = None) -> dict[str, Any]:
        """Where this and all other ranks stand: plain numbers and text, for a checkpoint.

        `taken` is how many batches each rank has taken since the iteration began; by default, as
        many as this object has given. With a DataLoader of your own count them, since its workers
        run ahead; `loader()` does it for you.
        """
        place = self._place(self.taken if taken is None else taken)
        return {"epoch": place.epoch, "position": place.position, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, on any number of ranks and workers and with any batch size.

        Takes the same time wherever that is. Raises BadUsage when the state belongs to other
        samples, or to another order of them.
        """
        if not isinstance(state, Mapping):
            raise BadUsage(f"A state is what state_dict() gives, not {state!r}.")
        for name, value in self._identity().items():
            if state.get(name) != value:
                raise BadUsage(
                    f"The state is of a stream with {name} {state.get(name)!r}, this one has "
                    f"{value!r}: open it with the same samples, seed and order."
                )
        epoch, position = state.get("epoch"), state.get("position")
        if not (isinstance(epoch, int) and isinstance(position, int)) or not (
            epoch >= 0 and 0 <= position <= len(self.pointers)
        ):
            raise BadUsage(f"The state has no such place: epoch {epoch!r}, position {position!r}.")
        self.start, self.taken = order.Point(epoch, position), 0

    def loader(
        self,
        *,
        workers: int = 0,
        prefetch_factor: int | None = None,
        pin_memory: bool = False,
        pin_memory_device: str = "",
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: str | BaseContext | None = None,
        persistent_workers: bool = False,
    ) -> Loader:
        """A DataLoader over this stream that counts the batches it has handed out.

        Args:
            workers: Processes that read and decode; 0 does it in this one.
            prefetch_factor: Batches that each worker makes in advance; by default 2.
            pin_memory: Copy tensors into pinned memory.
            pin_memory_device: The device to pin for.
            timeout: Seconds to wait for a batch of a worker; 0 waits for ever.
            worker_init_fn: Called in each worker, with its number, before it begins.
            multiprocessing_context: How workers are started: "fork", "spawn", "forkserver".
            persistent_workers: Must be False: workers start again in each epoch, and a stream
                that repeats keeps them.

        Returns:
            The loader, with `state_dict` and `load_state_dict`.

        Raises:
            BadUsage: persistent_workers is true.
        """
        if persistent_workers:
            raise BadUsage(
                "Workers start again in each epoch; to keep them, use a stream that repeats."
            )
        return Loader(
            self,
            workers,
            prefetch_factor=prefetch_factor,
            pin_memory=pin_memory,
            pin_memory_device=pin_memory_device,
            timeout=timeout,
            worker_init_fn=worker_init_fn,
            multiprocessing_context=multiprocessing_context,
        )

    @property
    def _batch(self) -> int:
        return self.options.batch_size or 1

    def _place(self, taken: int) -> order.Point:
        return order.advance(self.start, len(self.pointers), self.options.ranks, self._batch, taken)

    def _identity(self) -> dict[str, Any]:
        """All that fixes the order."""
        options = self.options
        identity = {"seed": options.seed, "lanes": options.lanes, "window": options.window}
        return {
            "samples": len(self.pointers),
            "keys": self.pointers.digest,
            "shuffle": options.shuffle,
            **(identity if options.shuffle else {}),
        }

    def keys(self) -> Iterator[str]:
        """The keys that an iteration from here gives this rank, in order; nothing is read."""
        start = self._place(self.taken)
        for turn in self._turns(start, 0, 1, lru_cache(maxsize=1)(self._order)):
            yield str(self.pointers.keys[turn.number])

    def _order(self, epoch: int) -> order.Integers:
        options = self.options
        if not options.shuffle:
            return np.arange(len(self.pointers))
        return order.epoch_order(
            self.pointers.shard_counts.tolist(),
            seed=options.seed,
            epoch=epoch,
            lanes=options.lanes,
            window=options.window,
        )

    def _turns(
        self, start: order.Point, worker: int, workers: int, orders: Orders
    ) -> Iterator[Slot]:
        """What this worker will do, sample by sample."""
        options = self.options
        for epoch, positions in order.walk(
            start, len(self.pointers), rank=options.rank, ranks=options.ranks,
            worker=worker, workers=workers, batch=self._batch,
        ):  # fmt: skip
            if epoch > start.epoch and not options.repeat:
                return
            numbers = orders(epoch)[positions].tolist()
            for position, number in zip(positions.tolist(), numbers, strict=True):
                yield Slot(epoch, position, number, last=position == positions[-1])

    def _batches(self, worker: int, workers: int) -> Iterator[list[Sample]]:
        """The batches that this worker makes, as lists of finished samples."""
        orders = lru_cache(maxsize=2)(self._order)
        reader = self._reader()
        turns = self._turns(self.start, worker, workers, orders)
        batch: list[Sample] = []
        try:
            for turn, raw in self._fetched(_told(turns, reader.announce, _ANNOUNCED), reader):
                batch.append(self._good(reader, raw, orders(turn.epoch), turn))
                if turn.last:
                    yield batch
                    batch = []
        finally:
            reader.close()

    def _reader(self) -> Reader:
        options = self.options
        cache = Cache(Path(options.cache), options.cache_bytes) if options.cache else None
        return Reader(self.layers, cache, options.dense)

    def _fetched(
        self, turns: Iterable[Slot], reader: Reader
    ) -> Iterator[tuple[Slot, Sample | BadData]]:
        """Each turn with its sample as read; over a network, `ahead` turns in advance."""

        def fetch(turn: Slot) -> tuple[Slot, Sample | BadData]:
            try:
                return turn, reader.read(turn.number)
            except BadData as error:
                return turn, error

        if all(layer.store.is_local for layer in self.layers):
            for turn in _told(turns, reader.hint, self.options.ahead):
                yield fetch(turn)
            return
        with ThreadPoolExecutor(self.options.threads) as pool:
            yield from ordered_ahead(pool, fetch, turns, self.options.ahead)

    def _good(
        self, reader: Reader, raw: Sample | BadData, numbers: order.Integers, turn: Slot
    ) -> Sample:
        """The finished sample of a turn, or of the next in the order that is not damaged."""
        for step in range(1, _SUBSTITUTES + 1):
            try:
                if isinstance(raw, BadData):
                    raise raw
                return self._decoded(raw, turn.epoch)
            except BadData as error:
                if self.options.on_error == "raise":
                    raise
                log.warning("Skipped a damaged sample: %s", error)
            try:
                raw = reader.read(int(numbers[(turn.position + step) % len(numbers)]))
            except BadData as error:
                raw = error
        raise BadData(
            f"{_SUBSTITUTES} samples in a row of {self.layers[0].store.location} are damaged: "
            "`artsound verify --deep` tells more."
        )

    def _decoded(self, raw: Sample, epoch: int) -> Sample:
        options, sample = self.options, raw
        if options.decode is not None:
            draw = 0.0
            if options.decode.audio_start == "random":
                number = zlib.crc32(raw["key"].encode())
                draw = int(order.hashed([number], options.seed, epoch, 2)[0]) / 2**64
            sample = decode(raw, options.decode, draw=draw)
        return options.transform(sample) if options.transform else sample

    def _finished(self, batch: list[Sample]) -> Any:
        if not self.options.batch_size:
            return batch[0]
        if self.options.collate:
            return self.options.collate(batch)
        return collate(batch) if get_worker_info() is None else WorkerBatch(collate(batch))


class Loader:
    """A DataLoader over a stream, and how many of its batches have been handed out.

    It iterates as the stream does, and has the same state.
    """

    def __init__(self, stream: Stream, workers: int, **options: Any) -> None:
        self.stream = stream
        self._taken = 0
        ours = stream.options.batch_size and not stream.options.collate
        self._loader: DataLoader[Any] = DataLoader(
            stream,
            batch_size=None,
            num_workers=workers,
            collate_fn=as_plain_batch if ours else None,
            **options,
        )

    def __len__(self) -> int:
        return len(self.stream)

    def __iter__(self) -> Iterator[Any]:
        self._go(self._place())
        for batch in self._loader:
            self._taken += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Where all ranks stand after the batches handed out so far."""
        return self.stream.state_dict(self._taken)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration go on from a state; see `Stream.load_state_dict`."""
        self.stream.load_state_dict(state)
        self._taken = 0

    def _place(self) -> order.Point:
        return self.stream._place(self._taken)

    def _go(self, place: order.Point) -> None:
        self.stream.start, self.stream.taken, self._taken = place, 0, 0


def _told(turns: Iterable[Slot], tell: Callable[[int], None], ahead: int) -> Iterator[Slot]:
    """The turns, the number of each told `ahead` turns before it comes."""
    waiting: deque[Slot] = deque()
    for turn in turns:
        tell(turn.number)
        waiting.append(turn)
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting


def _world() -> tuple[int, int]:
    """This process's rank and the number of ranks: torch.distributed's, else the launcher's."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
