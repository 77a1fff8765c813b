"""The network: projector and UNet in one module, the noise schedule, the objective, sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from artsound.training.conditioning import projector
from artsound.training.config import Config

if TYPE_CHECKING:
    import numpy as np
    import torch


def build_model(config: Config, *, condition_dim: int, channels: int) -> Any:
    """An untrained network, its weights drawn from the configuration's seed.

    forward(noisy [B, C, T, F], timestep [B], embedding [B, condition_dim], keep bool [B])
    → prediction [B, C, T, F].
    """
    import torch
    from diffusers import AudioLDM2UNet2DConditionModel
    from torch import nn

    shape, condition = config.network, config.condition
    levels = len(shape.blocks)
    down = tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in shape.attention)
    up = tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(shape.attention))

    class ArtToMusic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.projector = projector(
                condition_dim,
                hidden=condition.hidden,
                tokens=condition.tokens,
                width=condition.width,
            )
            # The second stream carries AudioLDM 2's text; here it is the same for every picture.
            self.constant = nn.Parameter(torch.zeros(1, 1, condition.constant_width))
            self.unet = AudioLDM2UNet2DConditionModel(
                in_channels=channels,
                out_channels=channels,
                block_out_channels=shape.blocks,
                layers_per_block=shape.layers,
                down_block_types=down,
                up_block_types=up,
                # None is self-attention; indices 0 and 1 of a level read the first stream, index
                # 2 the second (diffusers' reading of the nested list).
                cross_attention_dim=[[None, condition.width, condition.constant_width]] * levels,
                attention_head_dim=shape.heads,
                norm_num_groups=shape.groups,
            )

        def forward(
            self,
            noisy: torch.Tensor,
            timestep: torch.Tensor,
            embedding: torch.Tensor,
            keep: torch.Tensor,
        ) -> torch.Tensor:
            tokens = self.projector(embedding, keep)
            return self.unet(
                noisy,
                timestep,
                encoder_hidden_states=tokens,
                encoder_hidden_states_1=self.constant.expand(len(noisy), -1, -1),
                return_dict=False,
            )[0]

    # fork_rng keeps the caller's random state: building a model must not change what follows.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return ArtToMusic()


def noise_schedule(config: Config) -> Any:
    """The DDIM schedule of the run (diffusers)."""
    from diffusers import DDIMScheduler

    settings = config.diffusion
    return DDIMScheduler(
        num_train_timesteps=settings.steps,
        beta_start=settings.beta_start,
        beta_end=settings.beta_end,
        beta_schedule=settings.schedule,
        prediction_type=settings.prediction,
        rescale_betas_zero_snr=settings.zero_terminal_snr,
        timestep_spacing="trailing" if settings.zero_terminal_snr else "leading",
        clip_sample=False,
        set_alpha_to_one=settings.zero_terminal_snr,
        steps_offset=0 if settings.zero_terminal_snr else 1,
    )


def loss_weights(config: Config, signal: torch.Tensor) -> torch.Tensor:
    """The weight of each sample's squared error, [B], given its alpha-bar [B].

    min-SNR γ (Hang et al., ICCV 2023) on the plain prediction: min(SNR, γ) / SNR for epsilon.
    For v the clean-signal weight is min(SNR + 1, γ) (Salimans & Ho 2022, cut at γ), that is
    min(1, γ / (SNR + 1)): it stays positive where nothing but noise is left, which is where the
    picture decides the level of the whole clip.
    """
    ratio = signal / (1 - signal).clamp(min=1e-8)
    gamma = config.diffusion.min_snr_gamma
    if config.diffusion.prediction == "v_prediction":
        return (gamma / (ratio + 1)).clamp(max=1.0)
    return (gamma / ratio.clamp(min=1e-8)).clamp(max=1.0)


def diffusion_loss(
    model: Any,
    schedule: Any,
    config: Config,
    *,
    latents: torch.Tensor,
    embedding: torch.Tensor,
    keep: torch.Tensor,
    noise: torch.Tensor,
    timestep: torch.Tensor,
) -> torch.Tensor:
    """Weighted squared error of each sample, [B]; a pure function of what it is given."""
    noisy = schedule.add_noise(latents, noise, timestep)
    if config.diffusion.prediction == "v_prediction":
        target = schedule.get_velocity(latents, noise, timestep)
    else:
        target = noise
    prediction = model(noisy, timestep, embedding, keep)
    error = (prediction.float() - target.float()).square().mean(dim=(1, 2, 3))
    signal = schedule.alphas_cumprod.to(latents.device)[timestep]
    return error * loss_weights(config, signal)


def sample_latents(
    model: Any,
    config: Config,
    embedding: np.ndarray,
    *,
    shape: tuple[int, int, int],
    seeds: list[int],
    steps: int,
    guidance: float,
) -> np.ndarray:
    """Latents [B, *shape] for embeddings [B, D] by DDIM (Song, Meng & Ermon 2021), from seeds [B].

    `guidance` 1 is the plain conditional prediction, 0 the unconditional one; above 1 pushes away
    from the unconditional one. Each row depends on its own embedding and seed alone.
    """
    import torch

    device = next(model.parameters()).device
    schedule = noise_schedule(config)
    schedule.set_timesteps(steps, device=device)
    rows = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    latents = torch.stack(rows).to(device)
    condition = torch.from_numpy(embedding).to(device)
    yes = torch.ones(len(latents), dtype=torch.bool, device=device)
    model.eval()
    with torch.inference_mode():
        for moment in schedule.timesteps:
            timestep = moment.expand(len(latents))
            if guidance == 0:
                prediction = model(latents, timestep, condition, ~yes)
            elif guidance == 1:
                prediction = model(latents, timestep, condition, yes)
            else:
                both = model(
                    torch.cat([latents, latents]),
                    torch.cat([timestep, timestep]),
                    torch.cat([condition, condition]),
                    torch.cat([yes, ~yes]),
                )
                with_picture, without = both.chunk(2)
                prediction = without + guidance * (with_picture - without)
            latents = schedule.step(prediction, moment, latents).prev_sample
    return latents.float().cpu().numpy()
