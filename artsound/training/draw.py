"""What chance decides in a training step: a pure function of (seed, step, number of pairs).

Nothing random is carried from one step to the next. So a run that stops anywhere and goes on, on
any number of processes, sees the same pairs, windows and noise as one that never stopped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from artsound.training.config import Config


@dataclass(frozen=True)
class Draw:
    """One step's choices for its `batch` slots, all arrays of length B first."""

    pairs: np.ndarray  # int64 [B]
    starts: np.ndarray  # float64 [B] in 0..1: where in the clip the window begins
    timestep: np.ndarray  # int64 [B]
    keep: np.ndarray  # bool [B]: False drops the picture
    jitter: np.ndarray  # float32 [B, D], unit normal
    noise: np.ndarray  # float32 [B, *latent shape], unit normal


def draw(
    config: Config, *, step: int, pairs: int, condition_dim: int, latent: tuple[int, int, int]
) -> Draw:
    """The choices of `step` (0, 1, …).

    Every epoch is a permutation of the pairs. Timesteps are stratified over the batch (one from
    each B-th of the schedule, Kingma et al. 2021), which lowers the loss's variance at no cost.
    """
    batch = config.optimisation.batch
    chance = np.random.default_rng([config.seed, 1, step])
    places = np.arange(step * batch, (step + 1) * batch)
    strata = (chance.permutation(batch) + chance.random(batch)) / batch
    return Draw(
        pairs=np.array([_permutation(config.seed, p // pairs, pairs)[p % pairs] for p in places]),
        starts=chance.random(batch),
        timestep=np.minimum(strata * config.diffusion.steps, config.diffusion.steps - 1).astype(
            np.int64
        ),
        keep=chance.random(batch) >= config.condition.drop,
        jitter=chance.standard_normal((batch, condition_dim), dtype=np.float32),
        noise=chance.standard_normal((batch, *latent), dtype=np.float32),
    )


def _permutation(seed: int, epoch: int, pairs: int) -> np.ndarray:
    return np.random.default_rng([seed, 0, epoch]).permutation(pairs)
