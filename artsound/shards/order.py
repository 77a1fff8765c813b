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


def epoch_order(
    shard_samples: Sequence[int], *, seed: int, epoch: int, lanes: int, window: int
) -> Integers:
    """Return the order of one epoch.

    Args:
        shard_samples: Number of samples in each shard.
        seed: The seed.
        epoch: The epoch, from 0.
        lanes: Number of lanes, at least 1; see the top of this file.
        window: Samples in a window, at least 1; larger ones mix better, smaller ones need fewer
            shards at a time.

    Returns:
        A permutation of range(n), int64 [n], n = sum(shard_samples). Sample numbers count through
        the shards in their own order.
    """
    counts = np.asarray(shard_samples, dtype=np.int64)
    total = int(counts.sum())
    starts = np.cumsum(counts) - counts
    line = _ranges(*(part[shuffled_order(len(counts), seed, epoch)] for part in (starts, counts)))
    sizes, lane_starts = _lanes(total, lanes)
    place = np.arange(total) - np.repeat(lane_starts, sizes)
    window_number = place // window
    lane = np.repeat(np.arange(len(sizes)), sizes)
    line = line[np.lexsort((hashed(line, seed, epoch, 1), window_number, lane))]
    positions = np.arange(total)
    return line[lane_starts[positions % len(sizes)] + positions // len(sizes)]


def share_of_order(total: int, start: int, ranks: int) -> int:
    """Return how many samples each rank has of an epoch; the same number for every rank.

    Up to ranks − 1 positions at the end of an epoch are used by no rank.

    Args:
        total: Samples in the epoch.
        start: Position at which the ranks begin.
        ranks: Number of ranks.
    """
    return max(0, total - start) // ranks


def unit_positions(
    total: int, start: int, rank: int, ranks: int, batch: int, unit: int
) -> Integers:
    """Return the positions of one batch of a rank, int64.

    Args:
        total: Samples in the epoch.
        start: Position at which the ranks begin.
        rank: The rank.
        ranks: Number of ranks.
        batch: Samples per batch.
        unit: Number of the batch, from 0 at `start`.
    """
    mine = share_of_order(total, start, ranks)
    turns = np.arange(unit * batch, min((unit + 1) * batch, mine))
    return start + turns * ranks + rank


def units(total: int, start: int, ranks: int, batch: int) -> int:
    """Return how many batches each rank has of an epoch; the last one may be smaller.

    Args:
        total: Samples in the epoch.
        start: Position at which the ranks begin.
        ranks: Number of ranks.
        batch: Samples per batch.
    """
    return -(-share_of_order(total, start, ranks) // batch)


@dataclass(frozen=True, slots=True)
class Point:
    """A point in the infinite sequence of epochs: `position` samples of `epoch` have been used."""

    epoch: int
    position: int


def advance(place: Point, total: int, ranks: int, batch: int, taken: int) -> Point:
    """Return the place of all ranks after each has taken some batches.

    Args:
        place: The place before.
        total: Samples in an epoch.
        ranks: Number of ranks.
        batch: Samples per batch.
        taken: Batches taken by each rank.

    Returns:
        The new place; the end of an epoch is the beginning of the next one.
    """
    first = units(total, place.position, ranks, batch)
    if taken < first:
        return Point(place.epoch, place.position + taken * batch * ranks)
    whole = units(total, 0, ranks, batch)
    if not whole:
        return place  # fewer samples than ranks
    epochs, rest = divmod(taken - first, whole)
    return Point(place.epoch + 1 + epochs, rest * batch * ranks)


def walk(
    place: Point, total: int, *, rank: int, ranks: int, worker: int, workers: int, batch: int
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

    Yields:
        Epoch, and positions of the samples, int64. Nothing if there are fewer samples than ranks.
    """
    epoch, start, passed = place.epoch, place.position, 0
    if not units(total, 0, ranks, batch):
        return
    while True:
        here = units(total, start, ranks, batch)
        for unit in range((worker - passed) % workers, here, workers):
            yield epoch, unit_positions(total, start, rank, ranks, batch, unit)
        passed += here
        epoch, start = epoch + 1, 0


def _lanes(total: int, lanes: int) -> tuple[Integers, Integers]:
    """Sizes and starts of the lanes: as equal as possible, longer ones first, none empty."""
    lanes = max(1, min(lanes, total))
    sizes = np.full(lanes, total // lanes, dtype=np.int64)
    sizes[: total % lanes] += 1
    return sizes, np.cumsum(sizes) - sizes


def _ranges(starts: Integers, counts: Integers) -> Integers:
    """The integers of many ranges, one range after another."""
    before = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) - np.repeat(before - starts, counts)


def _splitmix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    mixed = state + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
