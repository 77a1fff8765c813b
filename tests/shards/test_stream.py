from __future__ import annotations

import logging
import pickle
import random
import time
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import artsound
from artsound.errors import BadData, BadUsage
from artsound.media.mel import MelBands, log_mel
from artsound.shards.dataset import Dataset
from artsound.shards.decode import Decode
from artsound.shards.stream import collate


@pytest.fixture(scope="module")
def data(shards: Path) -> Dataset:
    return artsound.open(shards)


def keys(batches: Any) -> list[str]:
    return [key for batch in batches for key in batch["key"]]


def test_a_stream_gives_every_sample_once_in_an_order_of_its_own(data: Dataset) -> None:
    stream = data.stream(seed=1)
    first = [sample["key"] for sample in stream]
    second = [sample["key"] for sample in stream]
    assert sorted(first) == sorted(second) == sorted(data.frame["key"])
    assert first != second != sorted(first)
    assert [sample["key"] for sample in data.stream(seed=1)] == first
    assert [s["key"] for s in data.stream(shuffle=False)] == data.frame["key"].to_list()


def test_a_stream_survives_the_way_into_a_spawned_worker(data: Dataset) -> None:
    stream = data.filter(artwork_style="Cubism").stream(batch_size=3, seed=2)
    expected = [batch["key"] for batch in stream]
    stream.load_state_dict({**stream.state_dict(), "epoch": 0, "position": 0})
    assert [batch["key"] for batch in pickle.loads(pickle.dumps(stream))] == expected


def test_the_keys_to_come_are_reported_without_reading(data: Dataset) -> None:
    stream = data.stream(seed=3, rank=1, ranks=2)
    told = list(stream.keys())
    assert told == [sample["key"] for sample in stream]
    assert list(stream.keys()) == [sample["key"] for sample in stream]
    assert told != list(stream.keys())


def test_raw_samples_hold_the_bytes_in_the_shard(data: Dataset) -> None:
    found = {sample["key"]: sample for sample in data.stream()}
    for position in range(len(data)):
        sample = data.read(position)
        assert found[sample["key"]] == sample


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_workers_change_nothing_even_when_there_are_more_than_shards(
    data: Dataset, workers: int
) -> None:
    alone = [batch["key"] for batch in data.stream(batch_size=4)]
    assert [b["key"] for b in data.stream(batch_size=4).loader(workers=workers)] == alone


def test_ranks_see_equal_shares_of_the_one_order(data: Dataset) -> None:
    whole = keys(data.stream(batch_size=4))
    shares = [keys(data.stream(batch_size=4, rank=rank, ranks=4)) for rank in range(4)]
    assert [len(share) for share in shares] == [11] * 4
    assert [key for turn in zip(*shares, strict=True) for key in turn] == whole[:44]


def test_a_filtered_stream_gives_what_the_filter_holds(data: Dataset) -> None:
    chosen = data.filter(artwork_style="Cubism", where="score > 0.2")
    assert sorted(s["key"] for s in chosen.stream()) == chosen.frame["key"].to_list()


@pytest.mark.parametrize("trial", range(6))
def test_a_run_stopped_at_a_random_step_continues_with_other_ranks_and_sees_exactly_the_rest(
    data: Dataset, trial: int
) -> None:
    chance = random.Random(trial)
    ranks, later, batch = chance.randint(1, 3), chance.randint(1, 4), chance.randint(1, 5)
    steps = chance.randint(0, 45 // (ranks * batch) - 1)
    whole = [sample["key"] for sample in data.stream(seed=trial)]
    states = []
    for rank in range(ranks):
        loader = data.stream(seed=trial, batch_size=batch, rank=rank, ranks=ranks).loader(workers=2)
        for _, _ in zip(range(steps), loader, strict=False):
            pass
        states.append(loader.state_dict())
    assert all(state == states[0] for state in states)
    shares = []
    for rank in range(later):
        stream = data.stream(seed=trial, batch_size=3, rank=rank, ranks=later)
        stream.load_state_dict(pickle.loads(pickle.dumps(states[0])))
        shares.append(keys(stream))
    rest = [key for turn in zip(*shares, strict=True) for key in turn]
    done = steps * ranks * batch
    assert rest == whole[done : done + (45 - done) // later * later]


@pytest.mark.parametrize("how", [{}, {"workers": 2}, {"threads": 2}], ids=str)
def test_each_pass_is_an_epoch_and_one_that_is_broken_off_leaves_nothing(
    data: Dataset, how: dict[str, int]
) -> None:
    straight = data.stream(batch_size=7).loader()
    first, second = ([b["key"] for b in straight] for _ in range(2))
    assert first != second
    loader = data.stream(batch_size=7).loader(**how)
    next(iter(loader))
    assert [batch["key"] for batch, _ in zip(loader, range(3), strict=False)] == first[:3]
    # zip draws a fourth batch before it stops: that one counts as taken.
    state = loader.state_dict()
    assert (state["epoch"], state["position"]) == (0, 4 * 7)
    assert [batch["key"] for batch in loader] == first
    assert [batch["key"] for batch in loader] == second
    assert loader.state_dict()["epoch"] == loader.epoch == 2
    loader.load_state_dict(state)
    assert [batch["key"] for batch in loader] == first[4:]
    assert [batch["key"] for batch in loader] == second


def test_the_length_is_that_of_a_whole_epoch_at_all_times(data: Dataset) -> None:
    loader = data.stream(batch_size=8).loader()
    for batch, left in zip(loader, range(9), strict=False):
        assert len(loader) == 6, (batch, left)
    loader.load_state_dict({**loader.state_dict(), "epoch": 1, "position": 24})
    assert len(loader) == 6
    assert len(list(loader)) == 3
    assert len(loader) == len(data.stream(batch_size=8)) == 6


def test_a_new_loader_for_each_epoch_is_given_the_epoch(data: Dataset) -> None:
    stream = data.stream(batch_size=8)
    loader = stream.loader()
    expected = [keys(loader) for _ in range(3)]
    assert [keys(stream.loader(epoch=epoch)) for epoch in range(3)] == expected
    assert [keys(data.stream(batch_size=8, epoch=epoch).loader()) for epoch in range(3)] == expected
    loader.set_epoch(1)
    assert keys(loader) == expected[1]
    with pytest.raises(BadUsage, match="epoch is -1"):
        loader.set_epoch(-1)


def test_setting_the_epoch_of_a_loaded_state_continues_it(data: Dataset) -> None:
    loader = data.stream(batch_size=8).loader()
    first, second = keys(loader), keys(loader)
    state = {**loader.state_dict(), "epoch": np.int64(1), "position": np.int64(16)}
    loader.load_state_dict(state)
    loader.set_epoch(1)
    assert keys(loader) == second[16:]
    loader.load_state_dict(state)
    loader.set_epoch(0)
    assert keys(loader) == first


def test_a_state_loaded_during_a_pass_stands_until_the_next_one(data: Dataset) -> None:
    loader = data.stream(batch_size=8).loader()
    whole = keys(data.stream(batch_size=8).loader())
    under_way = iter(loader)
    next(under_way)
    state = loader.state_dict()
    next(under_way)
    loader.load_state_dict(state)
    next(under_way)
    assert loader.state_dict() == state
    assert len(list(under_way)) > 0
    assert keys(loader) == whole[8:]


def test_passes_over_one_loader_side_by_side_do_not_mix(data: Dataset) -> None:
    loader = data.stream(batch_size=8).loader()
    whole = [batch["key"] for batch in data.stream(batch_size=8)]
    pairs = [(a["key"], b["key"]) for a, b in zip(loader, loader, strict=True)]
    assert pairs == [(key, key) for key in whole]
    assert loader.state_dict()["epoch"] == 1


def test_workers_that_live_on_reshuffle_and_serve_one_pass_at_a_time(data: Dataset) -> None:
    expected = data.stream(batch_size=7).loader()
    loader = data.stream(batch_size=7).loader(workers=2, persistent_workers=True)
    broken_off = iter(loader)
    next(broken_off)
    for _ in range(2):
        assert keys(loader) == keys(expected)
    with pytest.raises(BadUsage, match="one at a time"):
        next(broken_off)
    loader.load_state_dict({**loader.state_dict(), "epoch": 1, "position": 14})
    expected.set_epoch(1)
    assert keys(loader) == keys(expected)[14:]


def test_the_state_of_a_stream_never_differs_from_what_it_gave(data: Dataset) -> None:
    stream = data.stream(batch_size=8)
    given = iter(stream)
    for _ in range(3):
        next(given)
    loader = stream.loader(workers=1)
    next(iter(loader))
    assert stream.state_dict()["position"] == 24
    assert loader.state_dict()["position"] == 8
    assert stream.loader().state_dict()["position"] == 0


def test_a_state_of_the_same_samples_in_other_shards_is_refused(
    make: Callable[..., Path],
) -> None:
    one, other = (
        artsound.open(make({"train": sizes}, f"{sizes[0]}")) for sizes in ([6, 6], [4, 8])
    )
    assert one.frame["key"].to_list() == other.frame["key"].to_list()
    with pytest.raises(BadUsage, match="shards"):
        other.stream().load_state_dict(one.stream().state_dict())
    straight = other.stream(shuffle=False)
    straight.load_state_dict(one.stream(shuffle=False).state_dict())  # the order is the same


def ragged(sample: dict[str, Any]) -> dict[str, Any] | None:
    """Large arrays: of some samples, of several shapes and types, and of one that is dropped."""
    number = int(sample["key"])
    size, kind = 2000 + number % 9 // 8, np.float32 if number % 11 else np.float64
    sample["levels"] = np.full(size, number, kind)
    if number % 5:
        sample["wide"] = np.full((3, 2000), number, np.int16)
    sample["words"] = np.array(["text" * 300] * 2)
    sample["tensor"] = torch.full((2000,), number)
    return sample if number % 7 else None


@pytest.mark.parametrize("how", [{"workers": 2}, {"threads": 3}], ids=str)
def test_threads_make_the_batches_that_processes_make(data: Dataset, how: dict[str, int]) -> None:
    def same(one: Any, other: Any) -> bool:
        if isinstance(one, (torch.Tensor, np.ndarray)):
            return type(one) is type(other) and np.array_equal(one, other)
        if isinstance(one, (list, tuple)):
            return len(one) == len(other) and all(map(same, one, other))
        return bool(one == other)

    decode = {"image_size": 64, "audio": False}
    stream = data.stream(batch_size=4, seed=3, decode=decode, transform=ragged, on_error="skip")
    for here, there in zip(stream, stream.loader(**how), strict=True):
        assert here["image"].is_contiguous(memory_format=torch.channels_last)
        assert here["image"].stride() == there["image"].stride()
        assert list(here) == list(there)
        assert all(same(here[name], there[name]) for name in here)


def test_threads_hold_no_more_batches_than_the_loop_and_those_made_in_advance(
    data: Dataset,
) -> None:
    alive: weakref.WeakSet[Held] = weakref.WeakSet()
    made = []

    def held(sample: dict[str, Any]) -> dict[str, Any]:
        made.append(sample["key"])
        one = Held()
        alive.add(one)
        return {"held": one}

    def together(samples: list[dict[str, Any]]) -> list[Held]:
        return [sample["held"] for sample in samples]

    stream = data.stream(batch_size=4, transform=held, collate=together)
    for number, batch in enumerate(stream.loader(threads=2), start=1):
        expected = min(45, 4 * number + 2 * 4)  # two batches in advance
        while len(made) < expected:
            time.sleep(0.001)
        time.sleep(0.005)  # so that more would be made, if it could be
        assert len(made) == expected
        assert len(alive) == expected - 4 * (number - 1)
        del batch


class Held:
    """Something that a weak reference can point to."""


def test_an_error_in_a_thread_is_that_of_its_sample(data: Dataset) -> None:
    def fussy(sample: dict[str, Any]) -> dict[str, Any]:
        if sample["key"] == "000030":
            raise ValueError("not this one")
        return sample

    loader = data.stream(batch_size=4, shuffle=False, transform=fussy).loader(threads=3)
    found = []
    with pytest.raises(ValueError, match="not this one"):
        found += [batch["key"] for batch in loader]
    given = iter(loader)
    before = data.frame["key"].to_list().index("000030") // 4
    expected = data.frame["key"][: before * 4].to_list()
    assert [key for _ in range(before) for key in next(given)["key"]] == expected


def test_a_transform_draws_the_same_after_a_resume_and_with_any_workers(data: Dataset) -> None:
    def drawn(sample: dict[str, Any]) -> dict[str, Any]:
        assert 0 <= sample["draw"] < 2**64
        return {"key": sample["key"], "lot": sample["draw"]}

    def lots(epoch: int = 0, **how: Any) -> dict[str, int]:
        stream = data.stream(batch_size=5, transform=drawn, **how.pop("options", {}))
        loader = stream.loader(epoch=epoch, **how)
        return {k: lot for b in loader for k, lot in zip(b["key"], b["lot"], strict=True)}

    alone = lots()
    assert len(set(alone.values())) == 45
    assert lots(workers=2) == lots(threads=2) == alone
    assert lots(options={"lanes": 3, "window": 5}) == alone
    assert lots(epoch=1) != alone != lots(options={"seed": 1})
    repeated = lots_of_copies(data.pick([3] * 8), drawn)
    assert len(set(repeated)) == 8


def lots_of_copies(data: Dataset, transform: Callable[..., Any]) -> list[int]:
    return [sample["lot"] for sample in data.stream(transform=transform, epoch_size=8)]


def test_draws_are_left_out_of_the_batch(data: Dataset) -> None:
    assert "draw" not in next(iter(data.stream(batch_size=2, transform=lambda sample: sample)))


def test_a_sample_that_a_transform_drops_is_replaced_by_the_next(data: Dataset) -> None:
    def even(sample: dict[str, Any]) -> dict[str, Any] | None:
        return sample if int(sample["key"]) % 2 == 0 else None

    whole = [sample["key"] for sample in data.stream()]
    expected = []
    for at in range(len(whole)):
        rest = whole[at:] + whole[:at]
        expected.append(next(key for key in rest if int(key) % 2 == 0))
    assert [sample["key"] for sample in data.stream(transform=even)] == expected
    with pytest.raises(BadUsage, match="dropped 45 samples in a row"):
        list(data.stream(transform=lambda _: None))


def test_an_epoch_may_be_shorter_or_longer_than_the_samples(data: Dataset) -> None:
    straight = data.stream(seed=4).loader()
    endless = [sample["key"] for _ in range(3) for sample in straight]
    for size in (10, 45, 60):
        loader = data.stream(seed=4, epoch_size=size).loader()
        assert len(loader) == size
        found = [[sample["key"] for sample in loader] for _ in range(135 // size)]
        assert found == [endless[at : at + size] for at in range(0, 135 // size * size, size)]
    with pytest.raises(BadUsage, match="epoch_size"):
        data.stream(seed=4, epoch_size=10).load_state_dict(data.stream(seed=4).state_dict())


def test_drop_last_leaves_out_a_smaller_batch(data: Dataset) -> None:
    loader = data.stream(batch_size=8, drop_last=True).loader()
    assert len(loader) == 5
    sizes = [len(batch["key"]) for _ in range(2) for batch in loader]
    assert sizes == [8] * 10
    two = [data.stream(batch_size=8, drop_last=True, rank=r, ranks=2).loader() for r in (0, 1)]
    assert [[len(batch["key"]) for batch in one] for one in two] == [[8, 8], [8, 8]]
    with pytest.raises(BadUsage, match="batch_size"):
        data.stream(drop_last=True)


@pytest.mark.parametrize(("ranks", "batch"), [(1, 8), (2, 8), (3, 4), (4, 16)])
def test_padded_evaluation_sees_every_sample_once_over_the_ranks(
    data: Dataset, ranks: int, batch: int
) -> None:
    options = {"batch_size": batch, "pad": True, "shuffle": False, "ranks": ranks}
    found = []
    for rank in range(ranks):
        batches = list(data.stream(rank=rank, **options).loader())
        assert {len(one["key"]) for one in batches} == {batch}
        assert len(batches) == len(data.stream(rank=rank, **options))
        assert all(one["mask"].dtype == torch.bool for one in batches)
        for one in batches:
            found += [k for k, real in zip(one["key"], one["mask"], strict=True) if real]
    assert sorted(found) == data.frame["key"].to_list()
    assert len({len(data.stream(rank=rank, **options)) for rank in range(ranks)}) == 1


def test_picked_copies_are_read_as_often_as_they_were_picked(data: Dataset) -> None:
    picked = data.pick([4, 0, 0, 0, 44])
    first, fifth, last = (data.frame["key"][at] for at in (0, 4, 44))
    assert picked.frame["key"].to_list() == [first, first, first, fifth, last]
    assert sorted(s["key"] for s in picked.stream()) == [first, first, first, fifth, last]
    assert picked.read(1)["key"] == first
    assert data.pick([0] * 45).frame["key"].to_list() == [first] * 45


def test_a_balanced_stream_gives_each_value_the_same_share(data: Dataset) -> None:
    chosen = data.filter("artwork_style != 'Cubism' or score > 0.6")
    counts = chosen.frame["artwork_style"].value_counts()["count"].to_list()
    assert max(counts) > 2 * min(counts)
    loader = chosen.stream(balance="artwork_style", batch_size=5, epoch_size=60, decode={
        "image": False, "audio": False}).loader()  # fmt: skip
    for _ in range(3):
        styles = Counter(style for batch in loader for style in batch["artwork_style"])
        assert sum(styles.values()) == 60
        assert styles == dict.fromkeys(styles, 20)


def test_weights_say_how_often_samples_occur(data: Dataset) -> None:
    weights = np.zeros(45)
    weights[[3, 7, 9]] = 1, 2, 6
    three, seven, nine = (data.frame["key"][at] for at in (3, 7, 9))
    loader = data.stream(weights=weights, batch_size=9).loader(workers=1)
    first, second = keys(loader), keys(loader)
    assert Counter(first) == Counter(second) == {three: 5, seven: 10, nine: 30}
    assert first != second
    by_column = Counter(s["key"] for s in data.stream(weights="score", epoch_size=450))
    for row in data.frame.iter_rows(named=True):
        share = 450 * row["score"] / data.frame["score"].sum()
        assert abs(by_column[row["key"]] - share) < 1
    state = loader.state_dict()
    with pytest.raises(BadUsage, match="chances"):
        data.stream(weights=weights + 1, batch_size=9).load_state_dict(state)
    for wrong, word in (
        ({"weights": "artwork_style"}, "no numbers"), ({"weights": [1.0]}, "45 weights"),
        ({"weights": "key"}, "no numbers"),
        ({"weights": np.full(45, -1.0)}, "not all 0"), ({"balance": "styel"}, "no column"),
        ({"balance": "artwork_style", "weights": weights}, "one of them"),
        ({"balance": "artwork_tags"}, "several"),
    ):  # fmt: skip
        with pytest.raises(BadUsage, match=word):
            data.stream(**wrong)


def test_a_repeating_stream_runs_through_the_epochs_without_a_seam(data: Dataset) -> None:
    one = data.stream(batch_size=7)
    expected = [batch["key"] for _ in range(3) for batch in one]
    loader = data.stream(batch_size=7, repeat=True).loader(workers=3)
    found = [batch["key"] for batch, _ in zip(loader, range(len(expected)), strict=False)]
    assert found == expected
    with pytest.raises(TypeError, match="no length"):
        len(loader)


def test_a_state_of_other_samples_or_another_order_is_refused(data: Dataset) -> None:
    state = data.stream(seed=1).state_dict()
    for other in (data.stream(seed=2), data.split("train").stream(seed=1), data.stream(lanes=3)):
        with pytest.raises(BadUsage, match="this one has"):
            other.load_state_dict(state)
    with pytest.raises(BadUsage, match="no such place"):
        data.stream(seed=1).load_state_dict({**state, "position": 10_000})


def test_a_state_of_as_many_other_samples_is_refused(data: Dataset) -> None:
    one, other = (
        data.filter(artwork_style=style).stream(seed=1) for style in ("Cubism", "Ukiyo-e")
    )
    assert len(one) == len(other)
    with pytest.raises(BadUsage, match="keys"):
        other.load_state_dict(one.state_dict())


def test_decoded_batches_are_tensors_of_the_asked_size(data: Dataset) -> None:
    options = {"image_size": 32, "sample_rate": 16_000, "audio_seconds": 0.5}
    batch = next(iter(data.stream(batch_size=5, decode=options).loader(workers=1)))
    assert batch["image"].shape == (5, 3, 32, 32)
    assert batch["image"].dtype == torch.uint8
    assert batch["audio"].shape == (5, 8_000)
    assert batch["score"].dtype == torch.float32
    assert len(batch["artwork_caption"]) == 5


def test_a_batch_from_a_worker_is_the_dict_that_this_process_makes(data: Dataset) -> None:
    stream = data.stream(batch_size=5, decode={"image_size": 32, "sample_rate": 16_000})
    here, there = next(iter(stream)), next(iter(stream.loader(workers=1)))
    assert type(there) is dict
    assert list(there) == list(here)
    for name, value in here.items():
        if isinstance(value, torch.Tensor):
            assert there[name].dtype == value.dtype
            assert torch.equal(there[name], value)
            there[name].zero_()  # it is ours to write to
        else:
            assert repr(there[name]) == repr(value)


def test_only_large_tensors_of_a_batch_come_through_shared_memory(data: Dataset) -> None:
    stream = data.stream(batch_size=5, decode={"image_size": 64, "sample_rate": 16_000})
    for loader in (stream.loader(workers=1), DataLoader(stream, batch_size=None, num_workers=1)):
        batch = next(iter(loader))
        shared = {n for n, v in batch.items() if isinstance(v, torch.Tensor) and v.is_shared()}
        assert shared == {"image", "audio"}


@pytest.mark.parametrize("workers", [0, 1])
def test_arrays_of_several_shapes_are_a_list_of_tensors(data: Dataset, workers: int) -> None:
    def unlike(sample: dict[str, Any]) -> dict[str, Any]:
        return {"key": sample["key"], "ramp": np.arange(int(sample["key"][-1]) + 1)}

    stream = data.stream(batch_size=5, transform=unlike)
    for made in (next(iter(stream)), next(iter(stream.loader(workers=workers)))):
        assert [len(ramp) for ramp in made["ramp"]] == [int(key[-1]) + 1 for key in made["key"]]
        assert all(isinstance(ramp, torch.Tensor) for ramp in made["ramp"])


def test_mel_levels_come_with_the_sound_from_the_workers(data: Dataset) -> None:
    options = {"image": False, "sample_rate": 16_000, "audio_seconds": 0.5, "mel": {"bins": 32}}
    batch = next(iter(data.stream(batch_size=4, decode=options).loader(workers=1)))
    assert batch["mel"].shape == (4, 50, 32)
    assert batch["mel"].dtype == torch.float32
    expected = log_mel(batch["audio"][0].numpy(), 16_000, MelBands(bins=32))
    np.testing.assert_array_equal(batch["mel"][0].numpy(), expected)
    default = data.stream(decode={"image": False, "sample_rate": 16_000, "mel": True})
    assert next(iter(default))["mel"].shape[1] == 64


def test_a_random_window_depends_on_seed_epoch_and_key_alone(data: Dataset) -> None:
    options = Decode(image=False, sample_rate=8_000, audio_seconds=0.25, audio_start="random")

    def windows(seed: int, **more: Any) -> dict[str, float]:
        stream = data.stream(seed=seed, decode=options, **more)
        return {sample["key"]: sample["audio_start"] for sample in stream}

    alone = windows(3)
    assert len(set(alone.values())) > 40
    parts = [windows(3, rank=rank, ranks=3, lanes=5, window=4) for rank in range(3)]
    assert {key: start for part in parts for key, start in part.items()} == alone
    assert windows(4) != alone


def test_a_random_window_is_another_in_each_epoch_and_the_same_after_a_resume(
    data: Dataset,
) -> None:
    options = Decode(image=False, sample_rate=8_000, audio_seconds=0.25, audio_start="random")
    stream = data.stream(seed=3, decode=options)

    def windows() -> dict[str, float]:
        return {sample["key"]: sample["audio_start"] for sample in stream}

    first = windows()
    state = stream.state_dict()
    second = windows()
    assert first.keys() == second.keys()
    assert sum(first[key] != second[key] for key in first) > 40
    stream.load_state_dict(state)
    assert windows() == second


def test_transform_runs_on_each_sample_and_collate_makes_the_batch(data: Dataset) -> None:
    stream = data.stream(batch_size=3, transform=lambda s: len(s["jpg"]), collate=np.array)
    sizes = [len(sample["jpg"]) for sample in data.stream()]
    assert len(set(sizes)) > 3
    found = [batch.tolist() for batch in stream]
    assert found == [sizes[at : at + 3] for at in range(0, len(sizes), 3)]


def test_a_damaged_sample_is_raised_or_its_place_taken_by_the_next(
    make: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = make({"train": [6, 6]})
    whole = [sample["key"] for sample in artsound.open(folder).stream()]
    data = artsound.open(folder)
    row = data.frame.row(4, named=True)
    with (folder / row["shard"]).open("r+b") as file:
        file.seek(row["json_offset"])
        file.write(b"\0" * 8)
    for options in ({}, {"threads": 2}, {"workers": 1}):
        with pytest.raises(BadData, match=row["key"]) as raised:
            list(data.stream().loader(**options))
        assert "\n" not in str(raised.value)  # without the trace of a thread or worker
    with caplog.at_level(logging.WARNING):
        found = [sample["key"] for sample in data.stream(on_error="skip")]
    at = whole.index(row["key"])
    assert found == [*whole[:at], whole[(at + 1) % 12], *whole[at + 1 :]]
    assert row["key"] in caplog.text
    shares = [[s["key"] for s in data.stream(on_error="skip", rank=r, ranks=2)] for r in (0, 1)]
    assert [key for turn in zip(*shares, strict=True) for key in turn] == found


@pytest.mark.parametrize("member", ["jpg", "mp3"])
@pytest.mark.parametrize("data", [b"<html>" * 60, bytes(360)])
def test_media_that_do_not_decode_are_raised_or_skipped_as_any_damage(
    make: Callable[..., Path], member: str, data: bytes
) -> None:
    folder = make({"train": [3]})
    row = artsound.open(folder).frame.row(1, named=True)
    with (folder / row["shard"]).open("r+b") as file:
        file.seek(row[f"{member}_offset"])
        file.write(data.ljust(row[f"{member}_size"], data[:1]))
    stream = {"shuffle": False, "batch_size": 1, "decode": {"image_size": 16}}
    with pytest.raises(BadData, match=f"Sample {row['key']} cannot be decoded"):
        list(artsound.open(folder).stream(**stream))
    found = list(artsound.open(folder).stream(**stream, on_error="skip"))
    assert [batch["key"] for batch in found] == [["000010"], ["000012"], ["000012"]]


def test_a_stream_of_nothing_but_damage_ends_in_a_sentence(make: Callable[..., Path]) -> None:
    folder = make({"train": [4]})
    data = artsound.open(folder)
    path = folder / "artsound-train-000000.tar"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(BadData, match="in a row"):
        list(data.stream(on_error="skip"))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"rank": 2, "ranks": 2}, "rank 2"),
        ({"batch_size": -1}, "positive"),
        ({"on_error": "ignore"}, "on_error"),
        ({"decode": {"image_sise": 3}}, "image_sise"),
        ({"decode": {"image_size": -3}}, "image_size is -3"),
        ({"decode": {"sample_rate": "high"}}, "sample_rate is 'high'"),
        ({"decode": {"audio_seconds": float("nan")}}, "audio_seconds is nan"),
        ({"decode": {"audio_start": -1.0}}, "audio_start is -1.0"),
        ({"decode": 3}, "decode is 3"),
        ({"seed": "today"}, "seed is 'today'"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"batch_size": "8"}, "batch_size is '8'"),
        ({"epoch_size": -1}, "epoch_size is -1"),
        ({"cache": "folder"}, "cache_bytes"),
        ({"transform": 3}, "transform is 3"),
        ({"drop_last": True, "pad": True, "batch_size": 2}, "choose one"),
        ({"decode": {"audio_start": "random"}}, "audio_seconds"),
        ({"decode": {"mel": {"bin": 64}}}, "n_fft"),
    ],
)
def test_a_wrong_option_is_named(data: Dataset, options: dict[str, Any], word: str) -> None:
    with pytest.raises(BadUsage, match=word):
        data.stream(**options)


def test_an_option_that_does_not_exist_is_an_error(data: Dataset) -> None:
    with pytest.raises(TypeError, match="shufle"):
        data.stream(shufle=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="batch_size"):
        data.stream().loader(batch_size=3)  # type: ignore[call-arg]
    for options, word in (
        ({"workers": 1, "threads": 1}, "not both"), ({"workers": -1}, "workers is -1"),
        ({"threads": 1.5}, "threads is 1.5"), ({"timeout": 3}, "timeout is of worker"),
        ({"prefetch_factor": 2}, "prefetch_factor"), ({"persistent_workers": True}, "workers=N"),
        ({"threads": 1, "prefetch_factor": 0}, "prefetch_factor is 0"),
        ({"workers": 1, "prefetch_factor": 1.5}, "prefetch_factor is 1.5"),
        ({"workers": 1, "timeout": -1}, "timeout is -1"), ({"epoch": 2**62}, "beyond what can be"),
        ({"workers": 1, "multiprocessing_context": "thread"}, "there are .*spawn"),
    ):  # fmt: skip
        with pytest.raises(BadUsage, match=word):
            data.stream().loader(**options)


def test_a_transform_that_cannot_be_sent_to_spawned_workers_is_said_so(data: Dataset) -> None:
    loader = data.stream(transform=lambda sample: sample).loader(
        workers=1, multiprocessing_context="spawn"
    )
    with pytest.raises(BadUsage, match=r"pickled .*top of a module, or give threads=N"):
        next(iter(loader))


def test_whole_numbers_of_numpy_are_whole_numbers(data: Dataset) -> None:
    stream = data.stream(batch_size=np.int32(4), seed=np.int64(3), epoch_size=np.int16(45))
    assert keys(stream) == keys(data.stream(batch_size=4, seed=3))
    assert stream.state_dict() == data.stream(seed=3, epoch=1).state_dict()


def test_a_batch_of_unlike_samples_lacks_none_of_what_any_has() -> None:
    short, long = np.arange(2, dtype=np.float32), np.arange(3, dtype=np.float32)
    batch = collate(
        [
            {"key": "a", "n": 1, "year": 1900, "text": "x", "array": long, "long": 1},
            {"key": "b", "n": True, "year": None, "array": short, "words": ["y"], "long": 2**70},
        ]
    )
    assert batch["key"] == ["a", "b"]
    assert batch["n"].tolist() == [1, 1]
    assert batch["year"] == [1900, None]
    assert batch["text"] == ["x", None]
    assert [value.tolist() for value in batch["array"]] == [[0, 1, 2], [0, 1]]
    assert batch["words"] == [None, ["y"]]
    assert batch["long"] == [1, 2**70]


def test_a_stream_without_a_batch_for_every_rank_is_an_error(data: Dataset) -> None:
    with pytest.raises(BadUsage, match=r"No sample .* \(asked for: score > 2\)"):
        data.filter("score > 2").stream(batch_size=4, repeat=True)
    few = data.split("val")
    for stream in (few.stream(rank=0, ranks=5), few.stream(batch_size=5, drop_last=True)):
        with pytest.raises(BadUsage, match="no batch for each of"):
            list(stream)
    assert len(list(few.stream(rank=4, ranks=5, batch_size=1, pad=True))) == 1
