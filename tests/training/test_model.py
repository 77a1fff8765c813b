"""The network, its objective and its sampler, on diffusers' own UNet with random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from artsound.training.config import Codec, Condition, Config, Diffusion, Mel, Network, find_preset
from artsound.training.model import (
    build_model,
    diffusion_loss,
    loss_weights,
    noise_schedule,
    sample_latents,
)

SMALL = Config(
    preset="tiny",
    mel=Mel(seconds=1.024),
    codec=Codec(channels=6),
    condition=Condition(width=16, hidden=16),
    network=Network(blocks=(8, 16), heads=2),
)
SHAPE = (6, 4, 1)


def inputs(batch: int = 3) -> dict[str, torch.Tensor]:
    chance = torch.Generator().manual_seed(1)
    return {
        "noisy": torch.randn((batch, *SHAPE), generator=chance),
        "timestep": torch.tensor([5, 500, 990][:batch]),
        "embedding": torch.randn((batch, 20), generator=chance),
        "keep": torch.ones(batch, dtype=torch.bool),
    }


def opened(config: Config = SMALL) -> torch.nn.Module:
    """A network whose last layers are not near zero, so that every input shows."""
    return build_model(config, condition_dim=20, channels=6)


def test_the_same_seed_builds_the_same_network_and_leaves_the_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = opened(), opened()
    assert torch.equal(before, torch.random.get_rng_state())
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_prediction_depends_on_the_picture_and_a_dropped_picture_does_not_count() -> None:
    model, given = opened(), inputs()
    with torch.no_grad():
        plain = model(**given)
        other = model(**given | {"embedding": given["embedding"] + 1})
        dropped = given | {"keep": torch.zeros(3, dtype=torch.bool)}
        blind = model(**dropped)
        blind_too = model(**dropped | {"embedding": given["embedding"] + 1})
    assert plain.shape == (3, *SHAPE)
    assert not torch.allclose(plain, other)
    assert torch.equal(blind, blind_too)


def test_the_constant_stream_is_really_read() -> None:
    model, given = opened(), inputs()
    with torch.no_grad():
        plain = model(**given)
        model.constant.add_(1.0)
        assert not torch.allclose(plain, model(**given))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_perfect_prediction_has_no_loss_and_a_wrong_one_its_weighted_square(
    prediction: str,
) -> None:
    config = SMALL.model_copy(
        update={"diffusion": Diffusion(prediction=prediction, zero_terminal_snr=False)}  # type: ignore[arg-type]
    )
    schedule = noise_schedule(config)
    given = inputs()
    latents, noise = given["noisy"], torch.flip(given["noisy"], dims=[0])
    step = given["timestep"]
    target = noise if prediction == "epsilon" else schedule.get_velocity(latents, noise, step)
    for error in (0.0, 0.5):
        loss = diffusion_loss(
            lambda *_, error=error: target + error,
            schedule,
            config,
            latents=latents,
            embedding=given["embedding"],
            keep=given["keep"],
            noise=noise,
            timestep=step,
        )
        weights = loss_weights(config, schedule.alphas_cumprod[step])
        assert torch.allclose(loss, error**2 * weights, atol=1e-6)


def test_min_snr_weights_follow_their_formulas() -> None:
    signal = torch.tensor([0.0, 0.25, 0.5, 0.9, 0.99])
    ratio = signal / (1 - signal)
    v = loss_weights(SMALL, signal)
    assert torch.allclose(v, torch.minimum(torch.tensor(1.0), 5 / (ratio + 1)))
    epsilon = SMALL.model_copy(update={"diffusion": Diffusion(prediction="epsilon")})
    expected = torch.minimum(ratio[1:], torch.tensor(5.0)) / ratio[1:]
    assert torch.allclose(loss_weights(epsilon, signal)[1:], expected)


def test_nothing_but_noise_is_left_at_the_last_training_step() -> None:
    schedule = noise_schedule(find_preset("tiny"))
    assert float(schedule.alphas_cumprod[-1]) == pytest.approx(0, abs=1e-6)
    schedule.set_timesteps(10)
    assert int(schedule.timesteps[0]) == len(schedule.alphas_cumprod) - 1


def test_a_sample_depends_on_its_own_picture_and_seed_only() -> None:
    model = opened()
    pictures = np.random.default_rng(0).standard_normal((3, 20)).astype(np.float32)

    def sample(rows: list[int], guidance: float = 2.0) -> np.ndarray:
        seeds = [10 + row for row in rows]
        return sample_latents(
            model, SMALL, pictures[rows], shape=SHAPE, seeds=seeds, steps=3, guidance=guidance
        )

    together = sample([0, 1, 2])
    assert np.allclose(together[1], sample([1])[0], atol=1e-4)
    assert np.array_equal(sample([2]), sample([2]))
    assert not np.allclose(together[0], together[1])


@pytest.mark.parametrize("away", [None, np.linspace(-1, 1, 20, dtype=np.float32)])
def test_guidance_goes_so_many_times_the_way_from_without_the_picture_to_with_it(
    away: np.ndarray | None,
) -> None:
    """One step of DDIM is linear in the prediction, so the same holds of the latents."""
    model, picture = opened(), np.eye(1, 20, dtype=np.float32)

    def sample(guidance: float, seen: np.ndarray = picture, **options: np.ndarray) -> np.ndarray:
        return sample_latents(
            model, SMALL, seen, shape=SHAPE, seeds=[3], steps=1, guidance=guidance, **options
        )

    with_picture = sample(1.0)
    without = sample(0.0) if away is None else sample(1.0, away[None])
    assert np.abs(with_picture - without).max() > 0.01
    options = {} if away is None else {"negative": away}
    for guidance in (0.5, 3.0):
        expected = without + guidance * (with_picture - without)
        assert np.allclose(sample(guidance, **options), expected, atol=1e-4)


def test_without_guidance_the_picture_does_not_matter() -> None:
    model = opened()
    pictures = np.eye(2, 20, dtype=np.float32)
    blind = sample_latents(model, SMALL, pictures, shape=SHAPE, seeds=[1, 1], steps=2, guidance=0)
    assert np.array_equal(blind[0], blind[1])
