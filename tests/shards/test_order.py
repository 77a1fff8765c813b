"""The order of samples as a property: over ranks, workers, batches, epochs and resume points."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from artsound.shards import order

shard_lists = st.lists(st.integers(0, 40), min_size=1, max_size=12)
seeds = st.integers(0, 2**63)


@settings(deadline=None)
@given(shard_lists, seeds, st.integers(0, 50), st.integers(1, 20), st.integers(1, 60))
def test_an_epoch_s_order_holds_every_sample_once(
    shards: list[int], seed: int, epoch: int, lanes: int, window: int
) -> None:
    found = order.epoch_order(shards, seed=seed, epoch=epoch, lanes=lanes, window=window)
    assert sorted(found.tolist()) == list(range(sum(shards)))


def test_the_order_is_the_same_on_every_machine_and_under_every_version() -> None:
    found = order.epoch_order([5, 4, 6], seed=7, epoch=3, lanes=4, window=3)
    assert found.tolist() == [5, 9, 0, 3, 7, 10, 13, 2, 6, 11, 14, 4, 8, 12, 1]
    assert order.hashed([0, 1], 5).tolist() == [9721045329212343856, 7612827251706074469]


def test_epochs_and_seeds_give_other_orders() -> None:
    def found(seed: int, epoch: int) -> list[int]:
        return order.epoch_order([50] * 20, seed=seed, epoch=epoch, lanes=4, window=50).tolist()

    orders = {tuple(found(seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_a_shuffle_puts_every_number_everywhere_equally_often() -> None:
    places = np.array([order.shuffled_order(8, seed) for seed in range(4000)])
    counts = np.array([np.bincount(places[:, at], minlength=8) for at in range(8)])
    assert np.abs(counts - 500).max() < 5 * np.sqrt(500)


def test_a_rank_whose_number_divides_the_lanes_works_on_its_own_few_shards() -> None:
    found = order.epoch_order([64] * 64, seed=1, epoch=0, lanes=8, window=64)
    for ranks in (2, 4, 8):
        shards = [set((found[rank::ranks] // 64).tolist()) for rank in range(ranks)]
        assert sum(map(len, shards)) <= 64 + ranks
        at_once = found[::ranks][:256] // 64  # of rank 0
        assert len(set(at_once.tolist())) <= 8 // ranks * (256 * ranks // 8 // 64 + 2)


def walked(
    place: order.Point, total: int, ranks: int, workers: int, batch: int, epochs: int
) -> list[list[tuple[int, list[int]]]]:
    """Per rank, the (epoch, positions) of its batches as a DataLoader gives them: in turn."""
    found = []
    for rank in range(ranks):
        walks = [
            order.walk(place, total, rank=rank, ranks=ranks, worker=w, workers=workers, batch=batch)
            for w in range(workers)
        ]
        count = order.units(total, place.position, ranks, batch)
        count += (epochs - 1) * order.units(total, 0, ranks, batch)
        taken = [next(walks[turn % workers], None) for turn in range(count)]
        found.append([(unit[0], unit[1].tolist()) for unit in taken if unit is not None])
    return found


configurations = {
    "total": st.integers(0, 120),
    "ranks": st.integers(1, 9),
    "workers": st.integers(1, 7),
    "batch": st.integers(1, 9),
    "position": st.integers(0, 120),
}


@settings(max_examples=200, deadline=None)
@given(**configurations)
def test_ranks_and_workers_share_the_order_equally_and_lose_or_double_nothing(
    total: int, ranks: int, workers: int, batch: int, position: int
) -> None:
    start = min(position, total)
    place = order.Point(4, start)
    found = walked(place, total, ranks, workers, batch, epochs=2 if total >= ranks else 1)
    for epoch, begin in ((4, start), (5, 0)):
        if epoch == 5 and total < ranks:
            break
        mine = [[p for e, unit in rank for p in unit if e == epoch] for rank in found]
        assert {len(positions) for positions in mine} == {(total - begin) // ranks}
        # Interleaved, the ranks give the one global order from where it stood.
        together = [position for turn in zip(*mine, strict=True) for position in turn]
        assert together == list(range(begin, begin + (total - begin) // ranks * ranks))
        sizes = [len(unit) for e, unit in found[0] if e == epoch]
        assert all(size == batch for size in sizes[:-1])


@settings(max_examples=200, deadline=None)
@given(**configurations, new_ranks=st.integers(1, 9), taken=st.integers(0, 60))
def test_a_run_stopped_anywhere_continues_elsewhere_with_exactly_the_rest(
    total: int, ranks: int, workers: int, batch: int, position: int, new_ranks: int, taken: int
) -> None:
    start = order.Point(0, min(position, total))
    before = walked(start, total, ranks, workers, batch, epochs=1)
    taken = min(taken, len(before[0]))
    stopped = order.advance(start, total, ranks, batch, taken)
    seen = sorted(p for rank in before for _, unit in rank[:taken] for p in unit)
    if stopped.epoch == 1:
        assert (stopped.position, taken) == (0, len(before[0]))
        return
    after = walked(stopped, total, new_ranks, 3, batch + 1, epochs=1)
    rest = sorted(p for rank in after for _, unit in rank for p in unit)
    end = stopped.position + (total - stopped.position) // new_ranks * new_ranks
    assert seen + rest == list(range(start.position, end))


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 7), st.integers(0, 40))
def test_places_add_up_over_epochs(total: int, ranks: int, batch: int, taken: int) -> None:
    place = order.Point(0, 0)
    for _ in range(taken):
        place = order.advance(place, total, ranks, batch, 1)
    assert order.advance(order.Point(0, 0), total, ranks, batch, taken) == place


def test_walking_starts_anywhere_in_the_same_time() -> None:
    walk = order.walk(
        order.Point(10**6, 99_999_999), 10**12, rank=3, ranks=8, worker=1, workers=4, batch=16
    )
    epoch, positions = next(walk)
    assert epoch == 10**6
    assert positions[0] == 99_999_999 + 16 * 8 + 3
