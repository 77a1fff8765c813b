"""Averaged weights: the decay, its ramp, and what a run keeps of them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from artsound.training.checkpoint import load_checkpoint, read_tensors
from artsound.training.config import Config
from artsound.training.data import Release
from artsound.training.loop import train
from artsound.training.model import averaged_weights, update_average


def network(weight: float) -> torch.nn.Module:
    """One trained weight, and one that is frozen."""
    module = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(module.weight, weight)
    module.bias.requires_grad_(requires_grad=False)
    return module


@pytest.mark.parametrize(
    ("step", "ema", "expected"),
    [
        (0, 0.99, 0.1 * 2 + 0.9 * 12),  # the ramp, (1 + step) / (10 + step)
        (8, 0.99, 0.5 * 2 + 0.5 * 12),
        (80, 0.99, 0.9 * 2 + 0.1 * 12),
        (80, 0.8, 0.8 * 2 + 0.2 * 12),  # the ramp has passed the share asked for
        (10**6, 0.99, 0.99 * 2 + 0.01 * 12),
    ],
)
def test_an_average_moves_quickly_at_first_and_then_by_the_share_asked_for(
    step: int, ema: float, expected: float
) -> None:
    averaged = {"weight": torch.tensor([[2.0]])}
    update_average(averaged, network(12.0), step, ema)
    assert averaged["weight"].item() == pytest.approx(expected, rel=1e-6)


def test_a_model_has_the_averaged_weights_within_and_its_own_afterwards() -> None:
    model = network(12.0).train()
    with averaged_weights(model, {"weight": torch.tensor([[2.0]])}):
        assert model.weight.item() == 2
        assert not model.training
        assert torch.is_inference_mode_enabled()
    assert model.weight.item() == 12


def test_a_checkpoint_holds_the_average_of_the_weights_of_each_step(
    release: Release, small: Config, tmp_path: Path
) -> None:
    train(release, small, tmp_path, steps=3, save_every=1, keep=3)
    folders = sorted((tmp_path / "checkpoints").glob("step-*"))
    assert len(folders) == 3
    averages = [load_checkpoint(folder).weights for folder in folders]
    raw = [read_tensors(folder / "training.safetensors") for folder in folders]
    moved = 0
    for number, (before, after) in enumerate(pairwise(averages), 2):
        decay = (1 + number) / (10 + number)
        for name, average in after.items():
            expected = decay * before[name] + (1 - decay) * raw[number - 1][name]
            assert torch.allclose(average, expected, atol=1e-6), name
            moved += not torch.equal(average, raw[number - 1][name])
    assert moved > 20
