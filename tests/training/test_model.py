"""The network, its objective and its sampler, with random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import AudioLDM2UNet2DConditionModel, DDIMScheduler

from artsound.training.config import Codec, Condition, Config, Diffusion, Mel, Network, find_preset
from artsound.training.model import (
    NoiseSchedule,
    build_model,
    diffusion_loss,
    loss_weights,
    noise_schedule,
    sample_latents,
)
from artsound.training.unet import UNet

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


@pytest.mark.parametrize(
    ("network", "size"),
    [
        (Network(blocks=(8, 16), heads=2, groups=4), (6, 1)),
        (
            Network(blocks=(8, 12, 8), attention=(True, False, True), layers=2, heads=3, groups=4),
            (7, 5),  # not a multiple of what the levels halve
        ),
    ],
)
def test_the_unet_equals_that_of_diffusers_in_weights_predictions_and_gradients(
    network: Network, size: tuple[int, int]
) -> None:
    kinds = ["CrossAttn" * attends for attends in network.attention]
    torch.manual_seed(3)
    theirs = AudioLDM2UNet2DConditionModel(
        in_channels=6,
        out_channels=6,
        block_out_channels=network.blocks,
        layers_per_block=network.layers,
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        cross_attention_dim=[[None, 10, 14]] * len(network.blocks),
        attention_head_dim=network.heads,
        norm_num_groups=network.groups,
    )
    torch.manual_seed(3)
    ours = UNet(network, 6, (10, 14))
    pairs = list(zip(theirs.named_parameters(), ours.named_parameters(), strict=True))
    assert all(name == other for (name, _), (other, _) in pairs)
    assert all(torch.equal(one, other) for (_, one), (_, other) in pairs)
    noisy, timestep = torch.randn(3, 6, *size), torch.tensor([0, 500, 999])
    first, second = torch.randn(3, 4, 10), torch.randn(3, 2, 14)
    [expected] = theirs(
        noisy,
        timestep,
        encoder_hidden_states=first,
        encoder_hidden_states_1=second,
        return_dict=False,
    )
    found = ours(noisy, timestep, first, second)
    assert torch.equal(found, expected)
    for prediction in (expected, found):
        prediction.square().sum().backward()
    assert all(torch.equal(one.grad, other.grad) for (_, one), (_, other) in pairs)


@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("schedule", ["scaled_linear", "linear", "squaredcos_cap_v2"])
def test_the_noise_schedule_equals_that_of_diffusers(
    schedule: str, prediction: str, zero: bool
) -> None:
    settings = Diffusion(
        schedule=schedule,  # type: ignore[arg-type]
        prediction=prediction,  # type: ignore[arg-type]
        zero_terminal_snr=zero,
    )
    theirs = DDIMScheduler(
        beta_start=settings.beta_start,
        beta_end=settings.beta_end,
        beta_schedule=schedule,
        prediction_type=prediction,
        rescale_betas_zero_snr=zero,
        timestep_spacing="trailing" if zero else "leading",
        clip_sample=False,
        set_alpha_to_one=zero,
        steps_offset=0 if zero else 1,
    )
    ours = NoiseSchedule(settings)
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)
    latents, noise = torch.randn(3, 2, 4, 1), torch.randn(3, 2, 4, 1)
    given = (latents, noise, torch.tensor([0, 500, 999]))
    assert torch.equal(ours.add_noise(*given), theirs.add_noise(*given))
    assert torch.equal(ours.get_velocity(*given), theirs.get_velocity(*given))
    for steps in (1, 7, 25):
        ours.set_timesteps(steps)
        theirs.set_timesteps(steps)
        assert torch.equal(ours.timesteps, theirs.timesteps)
        for moment in theirs.timesteps:
            if zero and prediction == "epsilon" and moment == 999:
                continue  # nothing but noise: its prediction says nothing
            expected = theirs.step(noise, moment, latents).prev_sample
            assert torch.equal(ours.step(noise, moment, latents), expected)


def test_as_many_sampling_steps_as_training_steps_end_at_the_last() -> None:
    schedule = NoiseSchedule(Diffusion(steps=10, zero_terminal_snr=False))
    schedule.set_timesteps(10)
    assert schedule.timesteps.tolist() == [9, 9, 8, 7, 6, 5, 4, 3, 2, 1]
