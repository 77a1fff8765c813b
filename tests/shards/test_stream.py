from __future__ import annotations

import logging
import pickle
import random
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
    stream = data.filter(style="Cubism").stream(batch_size=3, seed=2)
    expected = [batch["key"] for batch in stream]
    stream.load_state_dict({**stream.state_dict(), "epoch": 0, "position": 0})
    assert [batch["key"] for batch in pickle.loads(pickle.dumps(stream))] == expected


def test_the_keys_to_come_are_told_without_reading(data: Dataset) -> None:
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
    chosen = data.filter(style="Cubism", where="score > 0.2")
    assert sorted(s["key"] for s in chosen.stream()) == chosen.frame["key"].to_list()


@pytest.mark.parametrize("trial", range(6))
def test_a_run_stopped_at_a_random_step_goes_on_with_other_ranks_and_sees_exactly_the_rest(
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


@pytest.mark.parametrize("workers", [0, 2])
def test_an_iteration_goes_on_where_the_last_one_stopped(data: Dataset, workers: int) -> None:
    straight = data.stream(batch_size=7).loader()
    expected = [b["key"] for _ in range(2) for b in straight]
    loader = data.stream(batch_size=7).loader(workers=workers)
    found = [batch["key"] for batch, _ in zip(loader, range(3), strict=False)]
    found += [batch["key"] for _ in range(2) for batch in loader]
    assert found[:3] == expected[:3]
    # zip draws a fourth batch before it stops: that one counts as taken.
    assert found[3:] == expected[4:]
    assert loader.state_dict()["epoch"] == 2


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
    one, other = (data.filter(style=style).stream(seed=1) for style in ("Cubism", "Ukiyo-e"))
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
    with pytest.raises(BadData, match=row["key"]):
        list(data.stream())
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


def test_an_empty_stream_ends_at_once(data: Dataset) -> None:
    nothing = data.filter("score > 2")
    assert list(nothing.stream(batch_size=4, repeat=True).loader(workers=2)) == []
