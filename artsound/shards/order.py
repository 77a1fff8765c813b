"""The order of samples, as pure functions over integers: no files, no state, no random generator.

Every job, on any number of machines, ranks and workers, walks the same global order; it only
takes other positions of it. So a job may stop anywhere and go on elsewhere.

The order of an epoch. The shards are shuffled and laid end to end; the line is cut into `lanes`
stretches of equal length; each lane is shuffled in windows of `window` samples; position p of
the order is the next sample of lane p mod lanes. A reader that follows one lane thus works on
few shards at a time, and neighbours in the order come from different shards. Rank r of R takes
the positions p with p ≡ r (mod R): where R divides `lanes`, ranks share no lane, so hardly any
shard.

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
    """64 well-mixed bits for each integer, different for every salt. Same shape as `values`."""
    mixed = np.asarray(values).astype(np.uint64)
    for number in (0, *salt):
        mixed = _splitmix(mixed ^ _splitmix(np.full_like(mixed, number % 2**64)))
    return mixed


def shuffled_order(count: int, *salt: int) -> Integers:
    """A permutation of range(count), fixed by the salt."""
    return np.argsort(hashed(np.arange(count), *salt), kind="stable")


def epoch_order(
    shard_samples: Sequence[int], *, seed: int, epoch: int, lanes: int, window: int
) -> Integers:
    """The order of one epoch: a permutation of range(n), n = sum(shard_samples).

    Sample numbers count through the shards in their own order. `lanes` and `window` (both ≥ 1)
    trade mixing for locality; see the top of this file.
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
    """How many samples each rank takes of positions start..total: the same for every rank.

    Up to ranks − 1 positions at the end of an epoch fall to nobody.
    """
    return max(0, total - start) // ranks


def unit_positions(
    total: int, start: int, rank: int, ranks: int, batch: int, unit: int
) -> Integers:
    """The positions in a rank's batch number `unit`, counted from position `start` of an epoch."""
    mine = share_of_order(total, start, ranks)
    turns = np.arange(unit * batch, min((unit + 1) * batch, mine))
    return start + turns * ranks + rank


def units(total: int, start: int, ranks: int, batch: int) -> int:
    """How many batches each rank takes of positions start..total; the last may be smaller."""
    return -(-share_of_order(total, start, ranks) // batch)


@dataclass(frozen=True, slots=True)
class Place:
    """A point in an endless run through the epochs: `position` samples of `epoch` are used up."""

    epoch: int
    position: int


def advance(place: Place, total: int, ranks: int, batch: int, taken: int) -> Place:
    """Where all ranks stand after each has taken `taken` batches from `place` on.

    An epoch that is used up gives the beginning of the next one.
    """
    first = units(total, place.position, ranks, batch)
    if taken < first:
        return Place(place.epoch, place.position + taken * batch * ranks)
    whole = units(total, 0, ranks, batch)
    if not whole:
        return place  # fewer samples than ranks: there is nowhere to go
    epochs, rest = divmod(taken - first, whole)
    return Place(place.epoch + 1 + epochs, rest * batch * ranks)


def walk(
    place: Place, total: int, *, rank: int, ranks: int, worker: int, workers: int, batch: int
) -> Iterator[tuple[int, Integers]]:
    """The (epoch, positions) of each batch that one worker of one rank makes, without end.

    torch's DataLoader takes batches from its workers in turn, so worker w of W makes the rank's
    batches w, w + W, w + 2W, …, counted through the epochs. Ends at once when an epoch gives a
    rank nothing.
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
    """Sizes and starts of the lanes: as equal as can be, longer ones first, none empty."""
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
