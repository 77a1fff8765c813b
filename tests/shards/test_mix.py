"""Mixtures of datasets: shares, repeats, resumption, and weights that change at a checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import artsound
from artsound.errors import BadUsage
from artsound.shards import order
from artsound.shards.dataset import Dataset


@pytest.fixture(scope="module")
def both(shards: Path) -> tuple[Dataset, Dataset]:
    data = artsound.open(shards)
    return data.split("train"), data[37:]  # 37 and 8 samples


def keys(samples: Any) -> list[str]:
    return [sample["key"] for sample in samples]


def shares(found: list[str], both: tuple[Dataset, Dataset]) -> list[int]:
    counts = Counter(found)
    return [sum(counts[key] for key in data.frame["key"]) for data in both]


def test_an_epoch_has_its_share_of_each_dataset_spread_evenly(
    both: tuple[Dataset, Dataset],
) -> None:
    loader = artsound.mix([(both[0], 3), (both[1], 1)], epoch=100, seed=2).stream().loader()
    assert len(loader) == 100
    epochs = [keys(loader) for _ in range(3)]
    assert [shares(epoch, both) for epoch in epochs] == [[75, 25]] * 3
    for at in range(0, 100, 20):
        assert abs(shares(epochs[0][at : at + 20], both)[0] - 15) <= 2
    assert epochs[0] != epochs[1]
    # Each dataset is walked again and again: no sample comes more than once more than another.
    for data in both:
        counts = Counter(key for epoch in epochs for key in epoch)
        own = [counts[key] for key in data.frame["key"]]
        assert max(own) - min(own) <= 1


def test_by_default_an_epoch_is_as_long_as_all_datasets(both: tuple[Dataset, Dataset]) -> None:
    mixture = artsound.mix([(both[0], 37), (both[1], 8)])
    assert len(mixture) == 45
    assert sorted(keys(mixture.stream())) == sorted([*both[0].frame["key"], *both[1].frame["key"]])
    unshuffled = keys(artsound.mix([(both[0], 1), (both[1], 1)], epoch=16).stream(shuffle=False))
    first, second = (data.frame["key"].to_list()[:8] for data in both)
    assert unshuffled == [key for pair in zip(first, second, strict=True) for key in pair]


@pytest.mark.parametrize(("ranks", "how"), [(1, {"workers": 2}), (2, {}), (3, {"threads": 2})])
def test_a_mixture_resumes_at_the_exact_sample_on_other_ranks(
    both: tuple[Dataset, Dataset], ranks: int, how: dict[str, int]
) -> None:
    mixture = artsound.mix([(both[0], 3), (both[1], 2)], epoch=60, seed=5)
    straight = mixture.stream().loader()
    whole = [key for _ in range(2) for key in keys(straight)]
    first = mixture.stream(batch_size=4).loader(workers=1)
    given_ = iter(first)
    seen = [key for _ in range(3) for key in next(given_)["key"]]
    assert seen == whole[:12]
    later = []
    for rank in range(ranks):
        loader = mixture.stream(rank=rank, ranks=ranks).loader(**how)
        loader.load_state_dict(first.state_dict())
        later.append(keys(loader) + keys(loader))
    assert [key for turn in zip(*later, strict=True) for key in turn] == whole[12:]


def test_weights_may_change_at_a_checkpoint_and_each_dataset_continues(
    both: tuple[Dataset, Dataset],
) -> None:
    parts = lambda *weights: list(zip(both, weights, strict=True))  # noqa: E731
    first = artsound.mix(parts(3, 1), epoch=40, seed=1).stream().loader()
    seen = keys(first)
    given_ = iter(first)
    seen += [next(given_)["key"] for _ in range(10)]
    later = artsound.mix(parts(1, 3), epoch=40, seed=1).stream(batch_size=1).loader()
    later.load_state_dict(first.state_dict())
    rest = [batch["key"][0] for batch in later]
    assert len(rest) == 30
    assert abs(shares(rest, both)[1] - 22.5) <= 0.5
    more = [batch["key"][0] for batch in later]
    assert shares(more, both) == [10, 30]
    # The order of each dataset is the one that a mixture of equal weights walks.
    for number, data in enumerate(both):
        alone = artsound.mix(parts(1, 1), epoch=2 * 120, seed=1).stream()
        own = set(data.frame["key"])
        walked = [key for key in seen + rest + more if key in own]
        assert [key for key in keys(alone) if key in own][: len(walked)] == walked, number
    # And again, from a state that already had such a change.
    again = artsound.mix(parts(1, 1), epoch=40, seed=1).stream().loader()
    middle = artsound.mix(parts(1, 3), epoch=40, seed=1).stream().loader()
    middle.load_state_dict(later.state_dict())
    assert middle.state_dict() == later.state_dict()
    again.load_state_dict(later.state_dict())
    assert shares(keys(again), both) == [20, 20]


def test_a_state_of_another_mixture_is_refused(both: tuple[Dataset, Dataset]) -> None:
    state = artsound.mix([(both[0], 3), (both[1], 1)], epoch=40).stream().state_dict()
    for other in (
        artsound.mix([(both[1], 3), (both[0], 1)], epoch=40),
        artsound.mix([(both[0], 3), (both[1], 1)], epoch=41),
        artsound.mix([(both[0], 1)], epoch=40),
    ):
        with pytest.raises(BadUsage, match="this one has"):
            other.stream().load_state_dict(state)
    same = artsound.mix([(both[0], 3), (both[1], 1)], epoch=40)
    for wrong in (
        {"weights": [1.0]}, {"weights": [float("nan"), 1]}, {"weights": [-1, 1]},
        {"weights": [0, 0]}, {"change": [1]}, {"change": [0, -4, [1, 1]]},
        {"change": [0, 0, [1, -1]]}, {"change": [0, 0, [2**70, 0]]}, {"change": [9, 0, [1, 1]]},
    ):  # fmt: skip
        with pytest.raises(BadUsage, match="not one of this mixture"):
            same.stream().load_state_dict({**state, **wrong})
    with pytest.raises(BadUsage, match="beyond what can be counted"):
        same.stream().load_state_dict({**state, "epoch": 2**62})


def test_a_dataset_mixed_with_itself_is_walked_in_two_orders(
    both: tuple[Dataset, Dataset],
) -> None:
    mixture = artsound.mix([(both[0], 1), (both[0], 1)], epoch=74)
    lots = {}

    def drawn(sample: dict[str, Any]) -> dict[str, Any]:
        lots.setdefault(sample["key"], set()).add(sample["draw"])
        return sample

    counts = Counter(keys(mixture.stream(transform=drawn)))
    assert set(counts.values()) == {2}
    assert all(len(two) == 2 for two in lots.values())


def test_releases_at_several_places_are_mixed(
    make: Callable[..., Path], both: tuple[Dataset, Dataset]
) -> None:
    other = artsound.open(make({"train": [3, 3]}, first=500))
    found = keys(artsound.mix([(both[1], 1), (other, 1)], epoch=12).stream())
    assert sorted(key for key in found if key >= "000500") == other.frame["key"].to_list()


@pytest.mark.parametrize(
    ("make_mixture", "word"),
    [
        (lambda *_: artsound.mix([]), "at least one"),
        (lambda a, _: artsound.mix([a]), "pairs of a dataset"),
        (lambda a, _: artsound.mix([(a, 0)]), "positive number"),
        (lambda a, _: artsound.mix([(a, float("nan"))]), "positive number"),
        (lambda a, _: artsound.mix([(a, "1")]), "positive number"),
        (lambda a, _: artsound.mix([(a, 1)], epoch=0), "epoch is 0"),
        (lambda a, b: artsound.mix([(a, 1), (b, 1e6)], epoch=9).stream(), "too small"),
        (lambda a, _: artsound.mix([(a, 1), (a[:0], 1)]).stream(), "No sample"),
        (lambda a, _: artsound.mix([(a, 1)]).stream(balance="style"), "not of a mixture"),
    ],
)
def test_what_is_no_mixture_is_named(
    both: tuple[Dataset, Dataset], make_mixture: Callable[..., Any], word: str
) -> None:
    with pytest.raises(BadUsage, match=word):
        make_mixture(*both)


def test_whole_numbers_of_numpy_are_weights_and_epochs(both: tuple[Dataset, Dataset]) -> None:
    mixture = artsound.mix([(both[0], np.float32(1)), (both[1], np.int64(1))], epoch=np.int64(8))
    assert shares(keys(mixture.stream()), both) == [4, 4]


sources = st.lists(st.tuples(st.integers(1, 40), st.floats(0.1, 9)), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60)
@given(sources, st.integers(1, 90), st.integers(0, 2**40), st.data())
def test_any_cut_of_a_mixture_continues_with_what_was_next(
    parts: list[tuple[int, float]], size: int, seed: int, cut: st.DataObject
) -> None:
    """Any epochs of any sources, with weights that change at any place, lose and double nothing."""

    def epochs(weights: tuple[float, ...], change: order.Change | None = None) -> order.Epochs:
        sets = tuple(order.SampleSet(np.array([n])) for n, _ in parts)
        return order.Epochs(sets, weights, size, seed, True, 4, 8, change)

    def walked(some: order.Epochs, epoch: int, start: int, stop: int) -> list[tuple[int, ...]]:
        draws = order.EpochDraws(some, epoch)[np.arange(start, stop)]
        return [draws.one(at) for at in range(stop - start)]

    before = epochs(tuple(weight for _, weight in parts))
    place = order.Point(cut.draw(st.integers(0, 3)), cut.draw(st.integers(0, size)))
    drawn = before.drawn(place)
    after = epochs(
        tuple(cut.draw(st.floats(0.1, 9)) for _ in parts),
        order.Change(place.epoch, place.position, drawn),
    )
    found = [draw for epoch in range(place.epoch) for draw in walked(before, epoch, 0, size)]
    found += walked(before, place.epoch, 0, place.position)
    assert Counter(draw.source for draw in found) == Counter(dict(enumerate(drawn)))
    found += walked(after, place.epoch, place.position, size)
    found += walked(after, place.epoch + 1, 0, size)
    for source, (count, _) in enumerate(parts):
        own = [draw for draw in found if draw.source == source]
        assert len(set(own)) == len(own)
        turns = Counter(draw.turn for draw in own)
        assert all(turns[turn] == count for turn in list(turns)[:-1])


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=1, max_size=30).filter(any),
    st.integers(1, 100),
    st.integers(0, 9),
)
def test_weighted_draws_are_exact_to_within_one(
    weights: list[float], count: int, salt: int
) -> None:
    groups = [at % 3 for at in range(len(weights))]
    for given_groups in (None, groups):
        drawn = order.weighted_draws(weights, count, salt, groups=given_groups)
        assert len(drawn) == count
        occurs = np.bincount(drawn, minlength=len(weights))
        share = np.array(weights) * count / sum(weights)
        assert (np.abs(occurs - share) < 1 + 1e-6).all()
        assert not occurs[np.array(weights) == 0].any()
    together = np.bincount(groups, occurs)
    assert (np.abs(together - np.bincount(groups, share)) < 1 + 1e-6).all()
