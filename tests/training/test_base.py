"""The preset `base`: AudioLDM 2's shapes, looked at without allocating its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from toy_pairs import clip, picture

from artsound.training.codec import fit_codec
from artsound.training.config import Network, find_preset
from artsound.training.data import Release, decode_clip, draw_step, make_batch
from artsound.training.generate import generate
from artsound.training.loop import train
from artsound.training.model import build_model, diffusion_loss, noise_schedule

BASE = find_preset("base")


def test_its_unet_has_the_size_and_the_streams_of_the_published_one() -> None:
    with torch.device("meta"):
        model = build_model(BASE, condition_dim=20, channels=BASE.codec.channels)
    count = sum(parameter.numel() for parameter in model.unet.parameters())
    assert 340e6 < count < 360e6
    assert model.constant.shape == (1, 1, 1024)
    assert model.projector.empty.shape == (8, 768)


def test_its_latents_have_the_shape_of_the_published_ones_and_a_step_runs_on_them() -> None:
    small = Network(blocks=(8, 8, 8, 8), attention=BASE.network.attention, heads=2, groups=4)
    optimisation = BASE.optimisation.model_copy(update={"batch": 1})
    config = BASE.model_copy(update={"network": small, "optimisation": optimisation})
    levels = decode_clip(clip(0.3, 0.5, 1, seconds=4.0), config.mel)  # padded to a window
    codec = fit_codec(config.mel, config.codec, [levels])
    assert codec.latent_shape == (8, 256, 16)
    latent = torch.from_numpy(codec.encode(levels.astype(np.float32)))[None, :, :256]
    pairs = {"key": ["000000"], "condition": torch.zeros(1, 20), "latent": latent}
    choice = draw_step(config, step=0, condition_dim=20, latent=codec.latent_shape)
    batch = make_batch(pairs, choice, config, "cpu")
    model = build_model(config, condition_dim=20, channels=8)
    loss = diffusion_loss(
        model,
        noise_schedule(config),
        config,
        latents=batch.latents,
        embedding=batch.embedding,
        keep=batch.keep,
        noise=batch.noise,
        timestep=batch.timestep,
    )
    assert loss.shape == (1,)
    assert bool(torch.isfinite(loss).all())
    assert codec.decode(batch.latents[0].numpy()).shape == (1024, 64)


def test_a_run_with_its_settings_is_saved_resumed_and_makes_music(
    release: Release, tmp_path: Path
) -> None:
    small = Network(blocks=(4, 4, 4, 4), attention=BASE.network.attention, heads=1, groups=2)
    # Not every processor computes bf16 rightly.
    optimisation = BASE.optimisation.model_copy(update={"batch": 1, "mixed_precision": "no"})
    codec = BASE.codec.model_copy(update={"vocoder_iterations": 2})
    config = BASE.model_copy(
        update={"network": small, "optimisation": optimisation, "codec": codec}
    )
    train(release, config, tmp_path / "run", steps=1)
    resumed = train(release, config, tmp_path / "run", steps=2, resume=True)
    assert (resumed.resumed_from, resumed.steps) == (1, 2)
    image = tmp_path / "painting.jpg"
    image.write_bytes(picture(0.5, 0.8, 99))
    [piece] = generate(tmp_path / "run", [image], tmp_path / "painting.wav", steps=2)
    assert (piece.seconds, piece.sample_rate) == (10.24, 16_000)
