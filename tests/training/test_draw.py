"""A step's chances are a pure function of the seed and the step."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from artsound.training.config import Condition, Config, Optimisation
from artsound.training.data import StepDraw, draw_step

LATENT = (2, 4, 1)


def chances(step: int, *, pairs: int = 10, batch: int = 4, seed: int = 0) -> StepDraw:
    config = Config(preset="tiny", seed=seed, optimisation=Optimisation(batch=batch))
    return draw_step(config, step=step, pairs=pairs, condition_dim=3, latent=LATENT)


def test_the_same_step_draws_the_same_and_another_step_or_seed_does_not() -> None:
    assert np.array_equal(chances(7).noise, chances(7).noise)
    assert not np.array_equal(chances(7).noise, chances(8).noise)
    assert not np.array_equal(chances(7).noise, chances(7, seed=1).noise)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 5))
def test_every_epoch_uses_every_pair_once(pairs: int, batch: int, seed: int) -> None:
    steps = -(-3 * pairs // batch)
    order = np.concatenate(
        [chances(step, pairs=pairs, batch=batch, seed=seed).pairs for step in range(steps)]
    )
    for epoch in range(3):
        assert Counter(order[epoch * pairs : (epoch + 1) * pairs].tolist()) == Counter(range(pairs))


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
    choice = draw_step(config, step=0, pairs=10, condition_dim=3, latent=LATENT)
    assert 0.25 < 1 - choice.keep.mean() < 0.35
