"""Losses and settings beside the plain ones: contrast, the perceiver, single settings."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from artsound.errors import BadUsage
from artsound.training.checkpoint import load_checkpoint
from artsound.training.config import Condition, Config, find_preset, with_settings
from artsound.training.data import Release
from artsound.training.loop import train
from artsound.training.model import contrast, summarise_states
from artsound.training.pictures import projector

ALL = torch.ones(4, dtype=torch.bool)


def test_contrast_follows_its_closed_form() -> None:
    own = torch.eye(4)
    expected = -math.log(math.exp(1 / 0.5) / (math.exp(1 / 0.5) + 3))
    assert float(contrast(own, own, ALL, 0.5)) == pytest.approx(expected, abs=1e-6)
    same = torch.ones(4, 3)
    assert float(contrast(same, same, ALL, 0.5)) == pytest.approx(math.log(4), abs=1e-6)


def test_dropped_pictures_take_no_part_in_contrast() -> None:
    rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    music = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    keep = torch.tensor([True, True, False, True])
    picked = contrast(rows[keep], music[keep], ALL[:3], 0.1)
    assert torch.allclose(contrast(rows, music, keep, 0.1), picked)
    assert float(contrast(rows, music, torch.tensor([True] + [False] * 3), 0.1)) == 0


def test_a_summary_is_the_mean_and_spread_over_time() -> None:
    latents = torch.randn(2, 3, 5, 4)
    flat = latents.permute(0, 2, 1, 3).reshape(2, 5, 12)
    assert torch.allclose(summarise_states(latents), torch.cat([flat.mean(1), flat.std(1)], 1))


def test_a_run_with_contrast_and_a_perceiver_is_saved_and_resumed(
    release: Release, small: Config, tmp_path: Path
) -> None:
    config = with_settings(
        small, ["extra.contrast=0.1", "condition.projector=perceiver", "condition.tokens=8"]
    )
    train(release, config, tmp_path, steps=2)
    assert train(release, config, tmp_path, steps=3, resume=True).resumed_from == 2
    names = set(load_checkpoint(tmp_path).weights)
    assert {"summary.weight", "projector.net.queries"} <= names


@pytest.mark.parametrize("tokens", [1, 4, 8])
@pytest.mark.parametrize("kind", ["mlp", "perceiver"])
def test_a_projector_gives_tokens_of_the_width_asked_for(kind: str, tokens: int) -> None:
    module = projector(20, Condition(hidden=16, tokens=tokens, width=12, projector=kind))
    keep = torch.tensor([True, True, False])
    made = module(torch.randn(3, 20), keep)
    assert made.shape == (3, tokens, 12)
    assert not torch.allclose(made[0], made[1])
    assert torch.equal(made[2], module.empty)


def test_single_settings_are_checked() -> None:
    tiny = find_preset("tiny")
    assert with_settings(tiny, ["optimisation.batch=4", "seed=3"]).optimisation.batch == 4
    for wrong in ("batch=4", "optimisation.batches=4", "optimisation.batch", "mel.hop.x=1"):
        with pytest.raises(BadUsage, match="There is no setting"):
            with_settings(tiny, [wrong])
    with pytest.raises(BadUsage, match=r"optimisation\.batch cannot be 'many'"):
        with_settings(tiny, ["optimisation.batch=many"])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["network.groups=7"], "a block of 96 channels is no multiple of groups"),
        (["network.heads=97"], "a block of 96 channels is smaller than heads"),
        (["network.blocks=[8,16,24]"], "one entry for each level"),
        (["condition.projector=perceiver", "condition.hidden=66"], "hidden must be a multiple"),
        (["codec.bands=5"], r"mel\.bins must be a multiple of codec\.bands"),
        (["mel.low_hz=9000"], "low_hz must be below high_hz"),
        (["mel.n_fft=300", "mel.hop=256"], "hop must be at most half of n_fft"),
        (["diffusion.beta_end=5"], r"diffusion\.beta_end cannot be 5"),
        (["optimisation.betas=[2,3]"], r"optimisation\.betas\.0 cannot be 2"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_before_a_run(
    settings: list[str], sentence: str
) -> None:
    with pytest.raises(BadUsage, match=sentence) as error:
        with_settings(find_preset("tiny"), settings)
    assert "{" not in str(error.value)
