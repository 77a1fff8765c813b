"""A step's chances are a pure function of the seed and the step."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artsound.shards.dataset import Dataset, open_shards
from artsound.shards.format import write_shard
from artsound.shards.index import pointers, write_index
from artsound.training.config import Condition, Config, Optimisation
from artsound.training.data import (
    PairSource,
    StepDraw,
    draw_step,
    rows_of_pass,
    training_batches,
)

LATENT = (2, 4, 1)


def chances(step: int, *, batch: int = 4, seed: int = 0) -> StepDraw:
    config = Config(preset="tiny", seed=seed, optimisation=Optimisation(batch=batch))
    return draw_step(config, step=step, condition_dim=3, latent=LATENT)


def test_the_same_step_draws_the_same_and_another_step_or_seed_does_not() -> None:
    assert np.array_equal(chances(7).noise, chances(7).noise)
    assert not np.array_equal(chances(7).noise, chances(8).noise)
    assert not np.array_equal(chances(7).noise, chances(7, seed=1).noise)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Forty samples in shards of eight."""
    folder, shards, rows = tmp_path_factory.mktemp("numbered"), [], []
    for first in range(0, 40, 8):
        samples = [(f"{n:02d}", {"txt": b"-"}) for n in range(first, first + 8)]
        shard, placed = write_shard(folder / f"{first}.tar", "train", samples)
        shards.append(shard)
        rows += [
            {"key": p.key, "split": "train", "shard": shard.name} | pointers(p) for p in placed
        ]
    write_index(folder, "numbered", "", shards, pa.Table.from_pylist(rows))
    return open_shards(folder)


@settings(max_examples=20, deadline=None)
@given(
    pairs=st.integers(1, 40), batch=st.integers(1, 4), accumulate=st.integers(1, 3),
    ranks=st.integers(1, 3), seed=st.integers(0, 5),
)  # fmt: skip
def test_any_number_of_processes_and_passes_has_the_same_pairs_at_the_same_slots(
    numbered: Dataset, pairs: int, batch: int, accumulate: int, ranks: int, seed: int
) -> None:
    whole = batch * accumulate * ranks
    source = PairSource(
        numbered.pick(np.arange(pairs)),
        lambda _: (np.zeros(3, np.float32), np.zeros((1, 4, 1), np.float32)),
    )
    steps = -(-2 * pairs // whole)
    alone = _slots(source, steps, whole, seed=seed, ranks=1, accumulate=1)
    shared = _slots(source, steps, whole, seed=seed, ranks=ranks, accumulate=accumulate)
    assert np.array_equal(shared, alone)
    if pairs % whole == 0:
        assert Counter(alone[: pairs // whole].ravel()) == Counter(source.keys)


def _slots(
    source: PairSource, steps: int, batch: int, *, seed: int, ranks: int, accumulate: int
) -> np.ndarray:
    """The key at each slot of each step [steps, batch], from what all ranks have."""
    optimisation = Optimisation(batch=batch, accumulate=accumulate)
    config = Config(preset="tiny", seed=seed, optimisation=optimisation)
    found = np.full((steps, batch), "--")
    for rank in range(ranks):
        process = SimpleNamespace(process_index=rank, num_processes=ranks)
        with closing(iter(training_batches(source, config, 4, process))) as stream:
            for step in range(steps):
                for number in range(accumulate):
                    keys = next(stream)["key"]
                    found[step, rows_of_pass(len(keys), number, rank, ranks)] = keys
    return found


def test_timesteps_are_spread_over_the_schedule_in_every_step() -> None:
    steps = np.sort(chances(3, batch=8).timestep)
    assert [int(step) // 125 for step in steps] == list(range(8))


def test_no_slot_of_a_batch_is_tied_to_a_part_of_the_schedule() -> None:
    steps = np.array([chances(step).timestep for step in range(60)])
    assert steps.min() >= 0
    assert steps.max() < 1000
    for slot in range(4):
        assert set((steps[:, slot] // 250).tolist()) == {0, 1, 2, 3}
        assert len(set((steps[:, slot] % 250).tolist())) > 40


def test_the_share_of_dropped_pictures_is_the_one_asked_for() -> None:
    config = Config(
        preset="tiny", condition=Condition(drop=0.3), optimisation=Optimisation(batch=1000)
    )
    choice = draw_step(config, step=0, condition_dim=3, latent=LATENT)
    assert 0.25 < 1 - choice.keep.mean() < 0.35
