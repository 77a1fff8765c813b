"""The order of samples, as pure functions over integers: no files, no state, no random generator.

Every job, on any number of machines, ranks and workers, uses the same global order, at different
positions. So a job may stop anywhere and continue on other machines.

The order of an epoch: the shards are shuffled and concatenated; the sequence is divided into
`lanes` parts of equal length; each lane is shuffled in windows of `window` samples; position p of
the order is the next sample of lane p mod lanes. A reader that follows one lane thus uses few
shards at a time, and neighbours in the order come from different shards. Rank r of R has the
positions p with p ≡ r (mod R): if R divides `lanes`, ranks share no lane, and hardly any shard.

Shuffling sorts by SplitMix64 (Steele, Lea & Flood, OOPSLA 2014, 10.1145/2660193.2660195), which
gives the same numbers on every machine and under every version of every library.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def hashed(values: npt.ArrayLike, *salt: int) -> npt.NDArray[np.uint64]:
    """Hash integers with SplitMix64.

    Args:
        values: Integers of any shape.
        *salt: Integers; another salt gives other hashes.

    Returns:
        64 well-mixed bits for each value, uint64, of the same shape.
    """
    mixed = np.asarray(values).astype(np.uint64)
    for number in (0, *salt):
        mixed = _splitmix(mixed ^ _splitmix(np.full_like(mixed, number % 2**64)))
    return mixed


def shuffled_order(count: int, *salt: int) -> Integers:
    """Return the permutation of range(count) that the salt determines, int64 [count]."""
    return np.argsort(hashed(np.arange(count), *salt), kind="stable")


def weighted_draws(
    weights: npt.ArrayLike, count: int, *salt: int, groups: npt.ArrayLike | None = None
) -> Integers:
    """Draw samples in proportion to their weights (systematic sampling).

    Args:
        weights: Weight of each of n samples, float [n], not negative, not all 0.
        count: How many to draw.
        *salt: Integers; another salt gives another draw.
        groups: Group of each sample, int [n]; None: each is a group of its own.

    Returns:
        Sample numbers, ascending, int64 [count]. A sample, or a group, of the share w of all
        weights occurs ⌊count · w⌋ or ⌈count · w⌉ times, on average over the salts exactly
        count · w times.
    """
    weights = np.asarray(weights, dtype=np.float64)
    line = shuffled_order(len(weights), *salt)
    if groups is not None:
        line = line[np.argsort(hashed(groups, *salt)[line], kind="stable")]
    edges = np.cumsum(weights[line])
    edges *= count / edges[-1]
    edges[edges == edges[-1]] = count  # exactly, in spite of rounding
    offset = int(hashed([0], *salt)[0] >> np.uint64(11)) / 2**53
    return np.sort(line[np.searchsorted(edges, np.arange(count) + offset, side="right")])


class EpochOrder:
    """The order of one epoch, a permutation of range(n), computed only where it is looked at.

    Args:
        shard_samples: Number of samples in each shard, n in all.
        seed: The seed.
        epoch: The epoch, from 0.
        lanes: Number of lanes, at least 1; see the top of this file.
        window: Samples in a window, at least 1; larger ones mix better, smaller ones need fewer
            shards at a time.
    """

    def __init__(
        self, shard_samples: npt.ArrayLike, *, seed: int, epoch: int, lanes: int, window: int
    ) -> None:
        counts = np.asarray(shard_samples, dtype=np.int64)
        self._salt, self._window = (seed, epoch), window
        self._total = int(counts.sum())
        self._sizes, self._lane_starts = _lanes(self._total, lanes)
        shards = shuffled_order(len(counts), seed, epoch)
        self._ends = np.cumsum(counts[shards])
        # What turns a place in the line of shuffled shards into a sample's number.
        self._shift = (np.cumsum(counts) - counts)[shards] - (self._ends - counts[shards])
        self._blocks: dict[int, Integers] = {}

    def __len__(self) -> int:
        return self._total

    def __getitem__(self, positions: Integers) -> Integers:
        """The samples at these positions, int64 of the same shape."""
        step = self._window * len(self._sizes)
        numbers = np.empty_like(positions)
        blocks = positions // step
        for block in np.unique(blocks).tolist():
            here = blocks == block
            numbers[here] = self._block(block)[positions[here] - block * step]
        return numbers

    def _block(self, block: int) -> Integers:
        """The samples of one window of every lane, in order."""
        found = self._blocks.get(block)
        if found is None:
            found = self._computed(block)
            if len(self._blocks) >= 4:
                # Threads share this; the oldest block may already be gone.
                self._blocks.pop(next(iter(self._blocks), -1), None)
            self._blocks[block] = found
        return found

    def _computed(self, block: int) -> Integers:
        first = block * self._window
        widths = np.clip(self._sizes - first, 0, self._window)
        starts = np.cumsum(widths) - widths
        lane = np.repeat(np.arange(len(widths)), widths)
        line = np.arange(len(lane)) + (self._lane_starts + first - starts)[lane]
        numbers = line + self._shift[np.searchsorted(self._ends, line, side="right")]
        numbers = numbers[np.lexsort((hashed(numbers, *self._salt, 1), lane))]
        positions = np.arange(len(numbers))
        return numbers[starts[positions % len(starts)] + positions // len(starts)]


def epoch_order(
    shard_samples: Sequence[int], *, seed: int, epoch: int, lanes: int, window: int
) -> Integers:
    """Return the whole order of one epoch, int64 [n]; see `EpochOrder`."""
    order = EpochOrder(shard_samples, seed=seed, epoch=epoch, lanes=lanes, window=window)
    return order[np.arange(len(order))]


def shares(weights: Sequence[float], count: int) -> list[int]:
    """Share out `count` in proportion to weights, by largest remainders; the first of equals.

    Args:
        weights: Positive numbers.
        count: What is shared out.

    Returns:
        One whole number for each weight; their sum is `count`.
    """
    exact = np.asarray(weights, dtype=np.float64) * (count / sum(weights))
    parts = np.floor(exact + 1e-9).astype(np.int64)
    missing = count - int(parts.sum())
    parts[np.argsort(parts - exact, kind="stable")[:missing]] += 1
    return parts.tolist()  # type: ignore[no-any-return]


def interleaved(parts: Sequence[int], *salt: int, jitter: bool = True) -> Integers:
    """Mix sources evenly: which source each place of a sequence is taken from.

    The n samples of a source are spread over the sequence, one to each nth of it, at a random
    place of that stretch, or with `jitter` false in its middle.

    Args:
        parts: How many places each source has.
        *salt: Integers; another salt gives another sequence.
        jitter: Whether chance moves the places.

    Returns:
        Numbers of sources, int64 [sum(parts)].
    """
    source = np.repeat(np.arange(len(parts)), parts)
    nth = np.arange(len(source)) - np.repeat(np.cumsum(parts) - np.asarray(parts), parts)
    chance: npt.NDArray[np.float64] | float = 0.5
    if jitter:
        chance = (hashed(np.arange(len(source)), *salt, 3) >> np.uint64(11)) / 2.0**53
    return source[np.argsort((nth + chance) / np.asarray(parts)[source], kind="stable")]


@dataclass(frozen=True, eq=False)
class SampleSet:
    """What the order must know of one set of samples.

    Attributes:
        shard_samples: Number of samples in each shard, int64, n in all.
        weights: Chance of each sample, relative to the others, float64 [n]; None: each occurs
            exactly once in a pass.
        groups: Group of each sample, int64 [n], each of which is to have its exact share; None:
            that is not asked for.
        length: Samples in a pass; without weights n.
    """

    shard_samples: Integers
    weights: npt.NDArray[np.float64] | None = None
    groups: Integers | None = None
    length: int = 0

    def __len__(self) -> int:
        return int(self.shard_samples.sum()) if self.weights is None else self.length


class Draw(NamedTuple):
    """What is drawn at one place of an epoch; see `Draws`."""

    source: int
    number: int
    turn: int
    copy: int


@dataclass(frozen=True)
class Draws:
    """Some places of an epoch.

    Attributes:
        source: Which source each is taken from, int64.
        number: The number of the sample within its source, int64.
        turn: How many passes over the source came before, int64.
        copy: Which of the equal samples of that pass it is, from 0, int64.
    """

    source: Integers
    number: Integers
    turn: Integers
    copy: Integers

    def one(self, at: int) -> Draw:
        """One of the places."""
        parts = (self.source, self.number, self.turn, self.copy)
        return Draw(*(int(part[at]) for part in parts))


@dataclass(frozen=True)
class Change:
    """Where a mixture took on its present weights, and what had been drawn of each source then."""

    epoch: int
    position: int
    drawn: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Epochs:
    """All epochs of a stream over one source or several.

    Every source is walked in passes without end, in the order of `EpochOrder`, or with weights in
    random order, since a sample's copies would follow each other there; an epoch takes the next
    `parts[k]` samples of source k. So an epoch that is longer than a source repeats it, and a
    shorter one is continued by the next epoch.

    Attributes:
        sources: The sources.
        weights: The share of each source in an epoch, relative to the others.
        size: Samples in an epoch.
        seed: Fixes the order.
        shuffle: Whether to walk the sources, and to mix them, in a random order.
        lanes: See `EpochOrder`.
        window: See `EpochOrder`.
        change: Where other weights ended; None: these apply from the beginning.
    """

    sources: tuple[SampleSet, ...]
    weights: tuple[float, ...]
    size: int
    seed: int
    shuffle: bool
    lanes: int
    window: int
    change: Change | None = None

    def parts(self, epoch: int) -> list[int]:
        """Samples of each source in an epoch; in that of a change, after the change."""
        count = self.size
        if self.change is not None and epoch == self.change.epoch:
            count -= self.change.position
        return shares(self.weights, count)

    def drawn(self, place: Point) -> tuple[int, ...]:
        """Samples that have been taken of each source before a place."""
        before = np.array(self._before(place.epoch))
        if len(self.sources) == 1:
            return (int(before[0]) + place.position - self._skipped(place.epoch),)
        which, _ = self.mixture(place.epoch)
        taken = which[self._skipped(place.epoch) : place.position]
        return tuple((before + np.bincount(taken, minlength=len(before))).tolist())

    def mixture(self, epoch: int) -> tuple[Integers, Integers]:
        """For each place of an epoch its source, and how many samples that source gave before."""
        skipped = self._skipped(epoch)
        parts = self.parts(epoch)
        which = interleaved(parts, self.seed, epoch, skipped, jitter=self.shuffle)
        nth = np.empty_like(which)
        for source, before in enumerate(self._before(epoch)):
            here = which == source
            nth[here] = before + np.arange(parts[source])
        if skipped:  # places that were taken with other weights; only damage leads back there
            which, nth = (np.concatenate([np.resize(part, skipped), part]) for part in (which, nth))
        return which, nth

    def turn(self, source: int, turn: int) -> tuple[EpochOrder | None, Integers | None]:
        """The order of one pass over a source, and the samples drawn for it if it has weights."""
        own = self.sources[source]
        seed = self.source_seed(source)
        counts, lanes, window, drawn = own.shard_samples, self.lanes, self.window, None
        if own.weights is not None:
            drawn = weighted_draws(own.weights, len(own), seed, turn, 4, groups=own.groups)
            counts, lanes, window = np.array([len(own)]), 1, len(own)
        if not self.shuffle:
            return None, drawn
        return EpochOrder(counts, seed=seed, epoch=turn, lanes=lanes, window=window), drawn

    def source_seed(self, source: int) -> int:
        """The seed of one source: equal sources are walked in different orders."""
        return int(hashed([source], self.seed, 5)[0]) if source else self.seed

    def _skipped(self, epoch: int) -> int:
        """The first places of an epoch, which other weights filled."""
        change = self.change
        return change.position if change is not None and epoch == change.epoch else 0

    def _before(self, epoch: int) -> list[int]:
        """Samples taken of each source before an epoch; in that of a change, before the change."""
        change, whole = self.change, shares(self.weights, self.size)
        if change is None or epoch < change.epoch:
            return [epoch * part for part in whole]
        if epoch == change.epoch:
            return list(change.drawn)
        first, later = self.parts(change.epoch), epoch - change.epoch - 1
        return [d + f + later * w for d, f, w in zip(change.drawn, first, whole, strict=True)]


class EpochDraws:
    """One epoch of a stream, computed where it is looked at.

    Args:
        epochs: All of them.
        epoch: Which one.
    """

    def __init__(self, epochs: Epochs, epoch: int) -> None:
        self._epochs = epochs
        self._epoch = epoch
        self._mixture = epochs.mixture(epoch) if len(epochs.sources) > 1 else None
        self._start = 0 if self._mixture else epochs.drawn(Point(epoch, 0))[0]
        self._turns: dict[tuple[int, int], tuple[EpochOrder | None, Integers | None]] = {}

    def __len__(self) -> int:
        return self._epochs.size

    def __getitem__(self, positions: Integers) -> Draws:
        """What is drawn at these positions."""
        if self._mixture is None:
            source, nth = np.zeros_like(positions), self._start + positions
        else:
            source, nth = (part[positions] for part in self._mixture)
        number, copy, turn = (np.zeros_like(positions) for _ in range(3))
        for one in np.unique(source).tolist():
            mine = source == one
            turn[mine], place = np.divmod(nth[mine], len(self._epochs.sources[one]))
            for pass_ in np.unique(turn[mine]).tolist():
                here = mine & (turn == pass_)
                number[here], copy[here] = self._drawn(one, pass_, place[turn[mine] == pass_])
        return Draws(source, number, turn, copy)

    def _drawn(self, source: int, turn: int, places: Integers) -> tuple[Integers, Integers]:
        key = source, turn
        if key not in self._turns:
            # Of a source at most two passes are under way: an earlier one is over.
            for old in [k for k in list(self._turns) if k[0] == source and k[1] < turn - 1]:
                self._turns.pop(old, None)
            self._turns[key] = self._epochs.turn(source, turn)
        order, drawn = self._turns[key]
        numbers = places if order is None else order[places]
        if drawn is None:
            return numbers, np.zeros_like(numbers)
        return drawn[numbers], numbers - np.searchsorted(drawn, drawn[numbers])


Tail = Literal["keep", "drop", "pad"]


def share_of_order(total: int, start: int, ranks: int, batch: int = 1, tail: Tail = "keep") -> int:
    """Return how many samples each rank has of an epoch; the same number for every rank.

    Args:
        total: Samples in the epoch.
        start: Position at which the ranks begin.
        ranks: Number of ranks.
        batch: Samples per batch.
        tail: What is done with samples at the end that do not fill a batch of every rank. "keep":
            the last batch is smaller, and up to ranks − 1 positions are used by no rank. "drop":
            they are left out. "pad": positions from `total` on fill up the last batches.
    """
    left = max(0, total - start)
    if tail == "pad":
        return -(-left // (ranks * batch)) * batch
    return left // ranks if tail == "keep" else left // (ranks * batch) * batch


def unit_positions(
    total: int, start: int, rank: int, ranks: int, batch: int, unit: int, tail: Tail = "keep"
) -> Integers:
    """Return the positions of one batch of a rank, int64.

    Args:
        total: Samples in the epoch.
        start: Position at which the ranks begin.
        rank: The rank.
        ranks: Number of ranks.
        batch: Samples per batch.
        unit: Number of the batch, from 0 at `start`.
        tail: See `share_of_order`; positions from `total` on are padding.
    """
    mine = share_of_order(total, start, ranks, batch, tail)
    turns = np.arange(unit * batch, min((unit + 1) * batch, mine))
    return start + turns * ranks + rank


def units(total: int, start: int, ranks: int, batch: int, tail: Tail = "keep") -> int:
    """Return how many batches each rank has of an epoch.

    Args:
        total: Samples in the epoch.
        start: Position at which the ranks begin.
        ranks: Number of ranks.
        batch: Samples per batch.
        tail: See `share_of_order`.
    """
    return -(-share_of_order(total, start, ranks, batch, tail) // batch)


@dataclass(frozen=True, slots=True)
class Point:
    """A point in the infinite sequence of epochs: `position` samples of `epoch` have been used."""

    epoch: int
    position: int


def advance(
    place: Point, total: int, ranks: int, batch: int, taken: int, tail: Tail = "keep"
) -> Point:
    """Return the place of all ranks after each has taken some batches.

    Args:
        place: The place before.
        total: Samples in an epoch.
        ranks: Number of ranks.
        batch: Samples per batch.
        taken: Batches taken by each rank.
        tail: See `share_of_order`.

    Returns:
        The new place; the end of an epoch is the beginning of the next one.
    """
    first = units(total, place.position, ranks, batch, tail)
    if taken < first:
        return Point(place.epoch, place.position + taken * batch * ranks)
    whole = units(total, 0, ranks, batch, tail)
    if not whole:
        return place  # fewer samples than ranks
    epochs, rest = divmod(taken - first, whole)
    return Point(place.epoch + 1 + epochs, rest * batch * ranks)


def walk(
    place: Point,
    total: int,
    *,
    rank: int,
    ranks: int,
    worker: int,
    workers: int,
    batch: int,
    tail: Tail = "keep",
) -> Iterator[tuple[int, Integers]]:
    """Yield the batches that one worker of one rank makes, for ever.

    torch's DataLoader takes batches from its workers in turn, so worker w of W makes the rank's
    batches w, w + W, w + 2W, …, counted through the epochs.

    Args:
        place: Where all ranks begin.
        total: Samples in an epoch.
        rank: The rank.
        ranks: Number of ranks.
        worker: The worker.
        workers: Number of workers of a rank.
        batch: Samples per batch.
        tail: See `share_of_order`.

    Yields:
        Epoch, and positions of the samples, int64. Nothing if there are fewer samples than ranks.
    """
    epoch, start, passed = place.epoch, place.position, 0
    if not units(total, 0, ranks, batch, tail):
        return
    while True:
        here = units(total, start, ranks, batch, tail)
        for unit in range((worker - passed) % workers, here, workers):
            yield epoch, unit_positions(total, start, rank, ranks, batch, unit, tail)
        passed += here
        epoch, start = epoch + 1, 0


def _lanes(total: int, lanes: int) -> tuple[Integers, Integers]:
    """Sizes and starts of the lanes: as equal as possible, longer ones first, none empty."""
    lanes = max(1, min(lanes, total))
    sizes = np.full(lanes, total // lanes, dtype=np.int64)
    sizes[: total % lanes] += 1
    return sizes, np.cumsum(sizes) - sizes


def _splitmix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    mixed = state + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
