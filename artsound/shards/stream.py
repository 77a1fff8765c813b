"""Samples for training: one global order, walked by any number of ranks and workers.

    data = artsound.open("out/shards").split("train")
    loader = data.stream(batch_size=16, seed=0, decode={"image_size": 256}).loader(workers=4)
    for epoch in range(10):
        for batch in loader: ...

The order is that of `artsound.shards.order`. A `Stream` says what is read and in which order; a
`Loader` counts. All of its state is two integers, the epoch and the position in it that all ranks
have reached; they are enough to continue anywhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import math
import multiprocessing
import numbers
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, default_convert, get_worker_info

from artsound.errors import ArtSoundError, BadUsage
from artsound.read_ahead import in_a_thread
from artsound.shards import order
from artsound.shards.batches import Pass, Plan, Sample, StreamOptions, as_plain_batch, collate
from artsound.shards.decode import decode_options
from artsound.storage import sha256_bytes

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

    from artsound.shards.dataset import Dataset

__all__ = ["Loader", "Sample", "Stream", "collate", "open_stream"]

log = logging.getLogger(__name__)


def open_stream(
    datasets: Sequence[Dataset],
    weights: Sequence[float] = (1.0,),
    chances: tuple[np.ndarray, np.ndarray | None] | None = None,
    **options: Any,
) -> Stream:
    """The stream of one dataset, or of several mixed.

    Args:
        datasets: The datasets.
        weights: The share of each in an epoch, relative to the others.
        chances: For one dataset the weight of each sample, and the group of each if groups are to
            have exact shares; None: all alike.
        **options: Those of `artsound.shards.dataset.Dataset.stream`.

    Raises:
        BadUsage: An option has an impossible value, or there are no samples.
    """
    options["decode"] = decode_options(options.get("decode"))
    chosen = StreamOptions(**options)
    for dataset in datasets:
        if not len(dataset):
            asked = ", ".join(dataset.asked) or "anything"
            raise BadUsage(
                f"No sample of {dataset.store.location} is left to stream (asked for: {asked}): "
                "loosen the conditions."
            )
    size = chosen.epoch_size or sum(map(len, datasets))
    sampled = (*(chances or (None, None)), size)
    epochs = order.Epochs(
        sources=tuple(order.SampleSet(data.pointers.shard_counts, *sampled) for data in datasets),
        weights=tuple(weights),
        size=size,
        seed=chosen.seed,
        shuffle=chosen.shuffle,
        lanes=chosen.lanes,
        window=chosen.window,
    )
    if 0 in epochs.parts(0):
        raise BadUsage(
            f"An epoch of {epochs.size} samples is too small for the weights "
            f"{', '.join(f'{weight:g}' for weight in weights)}: a dataset would never be read."
        )
    return Stream(Plan(tuple(data.layers for data in datasets), epochs, chosen))


@dataclass
class _Progress:
    """A pass: where it began, on how many ranks, and how many batches it has handed out."""

    start: order.Point
    ranks: int
    taken: int = 0


class Loader:
    """The batches of a stream, and how far they have been handed out.

    `iter()` begins an epoch; each pass that ends is followed by the next epoch, in another order.
    A pass that is broken off leaves nothing behind: the next begins the same epoch from its start.
    Only after `load_state_dict` does a pass continue in the midst of an epoch. `len()` is that of
    a whole epoch at all times. Every rank makes as many batches as every other.

    Lightning stores and restores the state by itself, and sets the epoch; `Accelerator.prepare`
    leaves a loader as it is, since it is shared out already, and `skip_first_batches` takes it.

    Attributes:
        plan: What is read.
    """

    # What Accelerate asks of a DataLoader that it takes apart: `dataset` makes the batches.
    batch_size = None
    drop_last = False
    num_workers = 0
    prefetch_factor = None
    collate_fn = staticmethod(as_plain_batch)

    def __init__(
        self,
        plan: Plan,
        *,
        workers: int = 0,
        threads: int = 0,
        epoch: int | None = None,
        prefetch_factor: int | None = None,
        pin_memory: bool = False,
        persistent_workers: bool = False,
        convert: bool = True,
        **process_options: Any,
    ) -> None:
        workers, threads = _count("workers", workers), _count("threads", threads)
        if workers and threads:
            raise BadUsage("Give workers (processes) or threads (of this process), not both.")
        given = {name: value for name, value in process_options.items() if value}
        given |= {"persistent_workers": True} if persistent_workers else {}
        if given and not workers:
            raise BadUsage(f"{next(iter(given))} is of worker processes: give workers=N with it.")
        if prefetch_factor is not None:
            if not (workers or threads):
                raise BadUsage("prefetch_factor is what workers make in advance: give workers=N.")
            if not _count("prefetch_factor", prefetch_factor):
                raise BadUsage("prefetch_factor is 0: let workers make 1 batch in advance or more.")
        _check_process_options(given)
        self.plan = plan
        self._workers, self._threads = workers, threads
        self._prefetch = prefetch_factor
        self._pin_memory = pin_memory
        self._process_options = given
        options = plan.options
        converted = not options.batch_size or options.collate is not None
        self._convert = default_convert if converted and convert else as_plain_batch
        self._next = _begin(plan, options.epoch or 0 if epoch is None else epoch)
        self._pass: _Progress | None = None
        self._latest: object = None
        self._lasting: DataLoader[Any] | None = None

    def __len__(self) -> int:
        """Batches (or samples) that this rank has of a whole epoch."""
        if self.plan.options.repeat:
            raise TypeError("a stream that repeats has no length")
        return self.plan.units(_world(self.plan.options)[1])

    def __iter__(self) -> Iterator[Any]:
        rank, ranks = _world(self.plan.options)
        if rank < 0:
            raise BadUsage(
                f"WORLD_SIZE is {ranks}, but RANK is not set: start the processes with torchrun, "
                "iterate once torch.distributed is initialised, or give rank= and ranks=."
            )
        if not 0 <= rank < ranks:
            raise BadUsage(f"rank {rank} of {ranks} ranks does not exist.")
        if not self.plan.units(ranks):
            raise BadUsage(
                f"An epoch of {self.plan.epochs.size} samples has no batch for each of {ranks} "
                "ranks: give more samples, a smaller batch_size, or pad=True."
            )
        progress = _Progress(self.plan.after(self._next, ranks, 0), ranks)
        self._pass = self._latest = progress
        return self._run(progress, rank)

    def _run(self, progress: _Progress, rank: int) -> Iterator[Any]:
        batches = self._batches(progress, rank)
        while True:
            if self._lasting is not None and self._latest is not progress:
                raise BadUsage(
                    "Another pass over this loader has begun, and its workers serve one at a time: "
                    "use two loaders, or persistent_workers=False."
                )
            try:
                batch = next(batches)
            except StopIteration:
                break
            progress.taken += 1
            yield batch
        if self._pass is progress:  # else a later pass, a state or an epoch was asked for
            self._next = self.plan.after(progress.start, progress.ranks, progress.taken)

    def _batches(self, progress: _Progress, rank: int) -> Iterator[Any]:
        start, ranks = progress.start, progress.ranks
        if self._workers:
            yield from _without_trace(self._from_processes(start, rank, ranks))
            return
        batches = self._made_here(start, rank, ranks)
        if not self._threads:
            yield from batches
            return
        try:
            yield from in_a_thread(batches)  # the training loop waits for no collating either
        finally:
            _return_free_memory()

    def _made_here(self, start: order.Point, rank: int, ranks: int) -> Iterator[Any]:
        # One batch of those made in advance waits collated: see `_batches`.
        ahead = ((self._prefetch or 2) - 1) * self.plan.options.batch
        batches = self.plan.batches(start, rank, ranks, threads=self._threads, ahead=ahead)
        with contextlib.closing(batches):
            # Unlike a loop's variable, `map` holds on to no batch that it has given.
            made = map(self._convert, batches)
            yield from map(_pinned, made) if self._pin_memory else made

    def _from_processes(self, start: order.Point, rank: int, ranks: int) -> Iterator[Any]:
        options = self._process_options
        place: Any = start.epoch, start.position
        if options.get("persistent_workers"):
            if self._lasting is not None:
                self._lasting.dataset.place.copy_(torch.tensor(place))
                return iter(self._lasting)
            place = torch.tensor(place).share_memory_()
        loader: DataLoader[Any] = DataLoader(
            Pass(self.plan, place, rank, ranks),
            batch_size=None,
            num_workers=self._workers,
            collate_fn=self._convert,
            prefetch_factor=self._prefetch,
            pin_memory=self._pin_memory,
            **options,
        )
        if options.get("persistent_workers"):
            self._lasting = loader
        try:
            return iter(loader)
        except (AttributeError, TypeError, pickle.PicklingError) as error:
            if "pickle" not in str(error):
                raise
            raise BadUsage(
                f"Worker processes that are not forked take only what can be pickled ({error}): "
                "define the function at the top of a module, or give threads=N."
            ) from error

    @property
    def epoch(self) -> int:
        """The epoch that the next pass begins or continues."""
        return self._next.epoch

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be of an epoch; a state that was loaded of that epoch is continued.

        Args:
            epoch: From 0.

        Raises:
            BadUsage: It is no such number.
        """
        begin = _begin(self.plan, epoch)
        if begin.epoch != self._next.epoch:
            self._next, self._pass = begin, None

    @property
    def sampler(self) -> Loader:
        """This loader: Lightning sets the epoch of a DataLoader's sampler."""
        return self

    @property
    def dataset(self) -> IterableDataset[Any]:
        """The batches as an IterableDataset, for `accelerate.skip_first_batches`."""
        return _Batches(self)

    def state_dict(self) -> dict[str, Any]:
        """Where this and all other ranks stand after the batches handed out so far.

        Returns:
            Plain numbers and text, for a checkpoint: `epoch`, `position` (samples of the epoch
            that all ranks together have taken), and what fixes the order.
        """
        place = self._next
        if self._pass is not None:
            place = self.plan.after(self._pass.start, self._pass.ranks, self._pass.taken)
        return {"epoch": place.epoch, "position": place.position, **_identity(self.plan)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next pass continue from a state.

        It takes the same time wherever that is, and may be on another number of ranks or workers
        and with another batch size. A mixture may have other weights: each of its datasets
        continues where it stood.

        Args:
            state: What `state_dict` gave.

        Raises:
            BadUsage: The state belongs to other samples, or to another order of them.
        """
        self.plan, self._next = _restored(self.plan, state)
        self._pass = self._lasting = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lasting": None}


class _Batches(IterableDataset):  # type: ignore[type-arg]
    """The batches of a loader, made and counted by it."""

    def __init__(self, loader: Loader) -> None:
        super().__init__()
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def set_epoch(self, epoch: int) -> None:
        self.loader.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        if get_worker_info() is not None:
            raise BadUsage("A loader starts its own workers: use stream.loader(workers=N) itself.")
        frame = sys._getframe()
        while frame := frame.f_back:  # type: ignore[assignment]
            holders = {kind.__name__ for kind in type(frame.f_locals.get("self")).__mro__}
            if holders & {"IterableDatasetShard", "DataLoaderDispatcher"}:
                if _world(self.loader.plan.options)[1] > 1:
                    raise BadUsage(_SHARED_TWICE)
            elif "Trainer" in holders and "epochs_trained" in frame.f_locals:
                # Where the Trainer of transformers resumes within an epoch, it skips batches of
                # the loader's dataset without setting the epoch.
                self.loader.set_epoch(int(frame.f_locals.get("epoch", self.loader.epoch)))
                break
        return iter(self.loader)


class Stream(IterableDataset):  # type: ignore[type-arg]
    """What is read, in which order, and how batches are made of it: see `Dataset.stream`.

    Without `decode` a sample is {"key", "jpg": bytes, "mp3": bytes, "json": dict}; with one, as
    `artsound.shards.decode` gives it. `batch_size` samples make a batch by `collate`; 0 gives the
    samples one by one.

    The order is fixed by `seed`, the epoch, the samples and the sizes of their shards, whatever
    the number of ranks and workers; every rank gets equally many. `loader()` reads it, and has the
    state. Iterating over the stream itself does the same with a loader of its own, in this
    process, so that `state_dict` is that loader's.

    In the workers of any other DataLoader, all workers together give each sample once; the order
    of a pass is drawn by torch's seed, as `torch.utils.data.RandomSampler` draws it, unless an
    epoch was given. torchdata's StatefulDataLoader resumes at the exact sample. Over several ranks
    such a DataLoader needs `set_epoch`, as torch's DistributedSampler does.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self._own = Loader(plan, convert=False)
        self._epoch_set = plan.options.epoch is not None
        self._worker_pass: _WorkerPass | None = None
        self._resumed = False

    def __len__(self) -> int:
        """Batches (or samples) that this rank has of a whole epoch."""
        return len(self._own)

    def __iter__(self) -> Iterator[Any]:
        if get_worker_info() is not None:
            return self._iterate_in_worker()
        self._check_not_shared_twice()
        return iter(self._own)

    def keys(self) -> Iterator[str]:
        """The keys that the next pass over this stream gives this rank; nothing is read."""
        rank, ranks = _world(self.plan.options)
        start = self.plan.after(self._own._next, ranks, 0)
        for slot in self.plan.slots(start, rank, ranks, 0, 1):
            yield str(self.plan.sources[slot.draw.source][0].pointers.keys[slot.draw.number])

    def set_epoch(self, epoch: int) -> None:
        """As `Loader.set_epoch`, for passes over the stream itself."""
        self._own.set_epoch(epoch)
        self._epoch_set = True

    def state_dict(self) -> dict[str, Any]:
        """As `Loader.state_dict`, after what passes over the stream itself have given.

        In a worker process of a DataLoader it is where this worker stands.
        """
        if get_worker_info() is not None and self._worker_pass is not None:
            return {**self._worker_pass.state(), **_identity(self.plan)}
        return self._own.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As `Loader.load_state_dict`, for the next pass over the stream itself.

        In a worker process of a DataLoader it takes the state of the same one of as many workers.
        """
        worker = get_worker_info()
        if worker is None and isinstance(state, Mapping) and "worker" in state:
            raise BadUsage("The state is that of a DataLoader's worker: load it by the DataLoader.")
        if worker is None:
            self._own.load_state_dict(state)
            self.plan = self._own.plan
            return
        self.plan, start = _restored(self.plan, state)
        here = _WorkerPass(self.plan, start, *_world(self.plan.options), worker.id,
                           worker.num_workers, state.get("taken", 0))  # fmt: skip
        if state.get("worker") is None or here.state() != {n: state.get(n) for n in here.state()}:
            raise BadUsage(
                "The state is of another number of workers, ranks or samples in a batch: resume "
                "with as many, or use stream.loader(), whose state does not depend on them."
            )
        self._worker_pass, self._resumed = here, True

    def loader(
        self,
        *,
        workers: int = 0,
        threads: int = 0,
        epoch: int | None = None,
        prefetch_factor: int | None = None,
        pin_memory: bool = False,
        pin_memory_device: str = "",
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: str | BaseContext | None = None,
        persistent_workers: bool = False,
    ) -> Loader:
        """A loader of this stream: what a training loop iterates over.

        Args:
            workers: Processes that read and decode.
            threads: Threads of this process that do so instead: no process is started and nothing
                is copied between processes, so that the first batch comes at once. With neither,
                batches are made when they are asked for.
            epoch: The epoch of the first pass; by default that of the stream, 0. For a loop that
                makes a new loader for each epoch.
            prefetch_factor: Batches that each worker, or all threads together, make in advance; by
                default 2.
            pin_memory: Copy tensors into pinned memory.
            pin_memory_device: The device to pin for.
            timeout: Seconds to wait for a batch of a worker; 0 waits for ever.
            worker_init_fn: Called in each worker, with its number, before it begins.
            multiprocessing_context: How workers are started: "fork", "spawn", "forkserver".
            persistent_workers: Keep the workers from one pass to the next. One pass at a time.

        Returns:
            The loader, with `state_dict`, `load_state_dict` and `set_epoch`.

        Raises:
            BadUsage: Both workers and threads are given, or an option that needs workers.
        """
        return Loader(
            self.plan,
            workers=workers,
            threads=threads,
            epoch=epoch,
            prefetch_factor=prefetch_factor,
            pin_memory=pin_memory,
            pin_memory_device=pin_memory_device,
            timeout=timeout,
            worker_init_fn=worker_init_fn,
            multiprocessing_context=multiprocessing_context,
            persistent_workers=persistent_workers,
        )

    def _iterate_in_worker(self) -> Iterator[Any]:
        info = get_worker_info()
        if not self._resumed:
            try:
                self._check_not_shared_twice()
                start = self._start_in_worker(info.seed - info.id)
            except BadUsage as error:
                return _failing(error)
            rank, ranks = _world(self.plan.options)
            self._worker_pass = _WorkerPass(
                self.plan, start, rank, ranks, info.id, info.num_workers
            )
        self._resumed = False
        assert self._worker_pass is not None
        return self._worker_pass.batches()

    def _start_in_worker(self, seed: int) -> order.Point:
        """Where a pass begins in a worker: the same place in all workers of the DataLoader."""
        ranks, place = _world(self.plan.options)[1], self._own._next
        if place.position:
            raise BadUsage("A state was loaded into this stream: read it with stream.loader().")
        if ranks > 1 and (self._worker_pass is not None or not self._epoch_set):
            raise BadUsage(
                "The ranks cannot agree on the order that the workers of a DataLoader of your own "
                "take: use stream.loader(workers=N), or call stream.set_epoch(epoch) before each "
                "pass and leave persistent_workers off."
            )
        if self._worker_pass is not None:  # a worker that lives on from pass to pass
            return order.Point(self._worker_pass.start.epoch + 1, 0)
        return place if self._epoch_set else order.Point(seed % 2**31, 0)

    def _check_not_shared_twice(self) -> None:
        module = sys.modules.get("accelerate.state")
        shared = getattr(getattr(module, "PartialState", None), "_shared_state", {})
        if shared.get("_num_processes", shared.get("num_processes", 1)) > 1 and (
            _world(self.plan.options)[1] > 1
        ):
            raise BadUsage(_SHARED_TWICE)

    def __getstate__(self) -> dict[str, Any]:
        self._check_not_shared_twice()
        state = self.__dict__.copy()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # A spawned worker is in no process group, and so cannot ask for its rank.
            rank, ranks = _world(self.plan.options)
            options = replace(self.plan.options, rank=rank, ranks=ranks)
            state["plan"] = replace(self.plan, options=options)
        return state


def _failing(error: BadUsage) -> Iterator[Any]:
    """An iterator that raises the error at its first sample: a worker reports none before."""
    raise error
    yield


_SHARED_TWICE = (
    "Accelerate shares the samples out once more, so that most would be lost: iterate over "
    "stream.loader(), which is shared out already and passes through prepare() as it is, or open "
    "the stream with rank=0, ranks=1."
)


@dataclass
class _WorkerPass:
    """A pass in one worker of a DataLoader that is not a `Loader`'s, and what it has given."""

    plan: Plan
    start: order.Point
    rank: int
    ranks: int
    worker: int
    workers: int
    taken: int = 0

    def state(self) -> dict[str, Any]:
        return {
            "epoch": self.start.epoch,
            "position": self.start.position,
            "taken": self.taken,
            "worker": self.worker,
            "workers": self.workers,
            "rank": self.rank,
            "ranks": self.ranks,
            "batch": self.plan.options.batch,
        }

    def batches(self) -> Iterator[Any]:
        for batch in self.plan.batches(
            self.start, self.rank, self.ranks,
            worker=self.worker, workers=self.workers, skip=self.taken,
        ):  # fmt: skip
            self.taken += 1
            yield batch


def _identity(plan: Plan) -> dict[str, Any]:
    """All that fixes the order, as plain values; what is left at its default may be missing."""
    options, epochs = plan.options, plan.epochs
    pointers = [layers[0].pointers for layers in plan.sources]
    identity: dict[str, Any] = {
        "samples": sum(map(len, pointers)),
        "keys": _joined([one.digest for one in pointers]),
        "shuffle": options.shuffle,
    }
    if options.shuffle:
        counts = [str(one.shard_counts.tolist()) for one in pointers]
        identity |= {
            "seed": options.seed,
            "lanes": options.lanes,
            "window": options.window,
            "shards": sha256_bytes("\n".join(counts).encode()),
        }
    if epochs.size != identity["samples"] or len(pointers) > 1:
        identity["epoch_size"] = epochs.size
    chances = epochs.sources[0].weights
    if chances is not None:
        groups = epochs.sources[0].groups
        given = chances.tobytes() + (b"" if groups is None else groups.tobytes())
        identity |= {"seed": options.seed, "chances": sha256_bytes(given)}
    if len(pointers) > 1:
        identity["weights"] = list(epochs.weights)
        if epochs.change is not None:
            change = epochs.change
            identity["change"] = [change.epoch, change.position, list(change.drawn)]
    return identity


def _joined(digests: list[str]) -> str:
    return digests[0] if len(digests) == 1 else sha256_bytes("\n".join(digests).encode())


def _restored(plan: Plan, state: Mapping[str, Any]) -> tuple[Plan, order.Point]:
    """The plan with which to continue from a state, and the place; BadUsage for another order."""
    if not isinstance(state, Mapping):
        raise BadUsage(f"A state is what state_dict() gives, not {state!r}.")
    identity = _identity(plan)
    may_differ = {"weights", "change"} if len(plan.sources) > 1 else set()
    extra = {"epoch_size", "chances", "weights", "change"} & set(state)
    for name in [*identity, *sorted(extra - set(identity))]:
        if name not in may_differ and state.get(name) != identity.get(name):
            raise BadUsage(
                f"The state is of a stream with {name} {state.get(name)!r}, this one has "
                f"{identity.get(name)!r}: open it with the same samples, seed and order."
            )
    try:
        place = order.Point(*(state[name].__index__() for name in ("epoch", "position")))
    except (KeyError, AttributeError, TypeError):
        place = order.Point(-1, -1)
    if place.epoch < 0 or not 0 <= place.position <= plan.epochs.size:
        raise BadUsage(
            f"The state has no such place: epoch {state.get('epoch')!r}, position "
            f"{state.get('position')!r}."
        )
    _begin(plan, place.epoch)
    if may_differ:
        plan = replace(plan, epochs=_continued(plan.epochs, state, place))
    return plan, place


def _continued(epochs: order.Epochs, state: Mapping[str, Any], place: order.Point) -> order.Epochs:
    """The epochs of a mixture from a place on, which others led to."""
    try:
        weights = tuple(float(weight) for weight in state["weights"])
        change = None
        if state.get("change") is not None:
            epoch, position, drawn = state["change"]
            change = order.Change(int(epoch), int(position), tuple(map(int, drawn)))
        if not len(weights) == len(change.drawn if change else weights) == len(epochs.sources):
            raise ValueError("another number of datasets")
        if not all(0 < weight < math.inf for weight in weights):
            raise ValueError("weights are positive numbers")
        if change and not (
            min(change.epoch, change.position, *change.drawn) >= 0
            and (change.epoch, change.position) <= (place.epoch, place.position)
            and max(change.position, *change.drawn) <= (change.epoch + 1) * epochs.size
        ):
            raise ValueError("it was not there that its weights changed")
    except (KeyError, TypeError, ValueError) as error:
        raise BadUsage(f"The state is not one of this mixture: {error}.") from error
    before = replace(epochs, weights=weights, change=change)
    if weights == epochs.weights:
        return before
    log.info("The mixture continues with the weights %s in place of %s.", epochs.weights, weights)
    return replace(epochs, change=order.Change(place.epoch, place.position, before.drawn(place)))


def _world(options: StreamOptions) -> tuple[int, int]:
    """This process's rank and the number of ranks: those given, else torch.distributed's, else the
    launcher's; rank −1 where the launcher names no rank."""
    if options.rank is not None and options.ranks is not None:
        return options.rank, options.ranks
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    else:
        ranks = _from_environment("WORLD_SIZE", 1)
        rank = _from_environment("RANK", 0 if ranks == 1 else -1)
    return (
        rank if options.rank is None else options.rank,
        ranks if options.ranks is None else options.ranks,
    )


def _from_environment(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal():
        raise BadUsage(f"The environment variable {name} is {text!r}: it must be a whole number.")
    return int(text)


def _begin(plan: Plan, epoch: Any) -> order.Point:
    """The beginning of an epoch; BadUsage for what is none, or is beyond 64 bits of samples."""
    number = _count("epoch", epoch)
    if (number + 1) * plan.epochs.size >= 2**63:
        raise BadUsage(
            f"Epoch {number} of {plan.epochs.size} samples each is beyond what can be counted: "
            "give a smaller epoch or epoch_size."
        )
    return order.Point(number, 0)


def _check_process_options(given: Mapping[str, Any]) -> None:
    timeout, context = given.get("timeout", 0), given.get("multiprocessing_context", "")
    if not isinstance(timeout, numbers.Real) or not float(timeout) >= 0:
        raise BadUsage(f"timeout is {timeout!r}: give seconds, 0 or more.")
    known = multiprocessing.get_all_start_methods()
    if isinstance(context, str) and context not in ("", *known):
        raise BadUsage(f"multiprocessing_context is {context!r}: there are {', '.join(known)}.")


def _count(name: str, value: Any) -> int:
    try:
        number = int(value.__index__())
    except (AttributeError, TypeError):
        number = -1
    if number < 0:
        raise BadUsage(f"{name} is {value!r}: give a whole number, 0 or more.")
    return number


def _without_trace(batches: Iterator[Any]) -> Iterator[Any]:
    """The batches of worker processes; an error of this project is raised as its one sentence.

    torch puts the worker's trace before it, some forty lines; for any other error that is needed.
    """
    try:
        yield from batches
    except ArtSoundError as error:
        kind = type(error)
        trace, _, said = str(error).rpartition(f"{kind.__name__}: ")
        if not trace.startswith("Caught "):
            raise
        raise kind(said.strip()) from None


def _return_free_memory() -> None:
    """Give the system what glibc's malloc holds for each thread, or it grows from pass to pass."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _pinned(batch: Any) -> Any:
    from torch.utils.data._utils.pin_memory import pin_memory

    return pin_memory(batch) if torch.cuda.is_available() else batch
