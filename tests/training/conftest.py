"""One small trained run that the tests of this room share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from made_once import made_once
from toy_pairs import open_toys, toy_release

from artsound.training.config import Codec, Condition, Config, Mel, Network, Optimisation
from artsound.training.data import Release
from artsound.training.loop import TrainReport, train

SMALL = Config(
    preset="tiny",
    mel=Mel(seconds=1.024),
    codec=Codec(channels=8, vocoder_iterations=8),
    condition=Condition(width=32, hidden=32),
    network=Network(blocks=(32, 32)),
    optimisation=Optimisation(batch=12, warmup=5, learning_rate=5e-3, ema=0.9),
)


@pytest.fixture(autouse=True)
def _same_chances() -> None:
    """What a test draws with torch is the same in every run and order of tests."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def small() -> Config:
    """Settings that train in seconds."""
    return SMALL


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Toy pairs with clips of two seconds; made once for all processes."""

    def make(folder: Path) -> None:
        toy_release(folder, seconds=2.0)

    return open_toys(made_once(tmp_path_factory, "toys", make)[0])


@pytest.fixture(scope="session")
def trained(release: Release, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainReport]:
    """A run of 80 steps: its folder and report; made once for all processes."""

    def make(folder: Path) -> TrainReport:
        return train(release, SMALL, folder, steps=80, save_every=40)

    return made_once(tmp_path_factory, "trained", make)
