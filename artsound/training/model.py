"""The network of a run: projector, UNet, noise schedule, objective, sampling, averaged weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.errors import BadUsage
from artsound.training.config import Config, Diffusion
from artsound.training.pictures import projector

if TYPE_CHECKING:
    import torch


Tensors = dict[str, "torch.Tensor"]
# From (prediction, moment, latents) to the latents of the next moment.
Denoise = Callable[..., "torch.Tensor"]


def update_average(averaged: Tensors, model: Any, step: int, ema: float) -> None:
    """Update the exponential moving average of the trained tensors, in place, after `step`.

    The decay rises from 0.1 to `ema` (the ramp of Karras et al. 2024), so that the random initial
    weights soon lose their influence.
    """
    import torch

    decay = min(ema, (1 + step) / (10 + step))
    state = learned(model)
    names = [name for name, tensor in state.items() if tensor.is_floating_point()]
    torch._foreach_lerp_(
        [averaged[name] for name in names], [state[name] for name in names], 1 - decay
    )


@contextmanager
def averaged_weights(model: Any, averaged: Tensors) -> Iterator[None]:
    """Within this block `model` has the `averaged` weights, in evaluation without gradients."""
    import torch

    state = learned(model)
    own = {name: tensor.clone() for name, tensor in state.items()}
    model.eval()
    try:
        _copy(averaged, state)
        with torch.inference_mode():
            yield
    finally:
        _copy(own, state)


def _copy(values: Tensors, into: Tensors) -> None:
    for name, tensor in into.items():
        tensor.copy_(values[name])


SCHEDULERS = {
    "ddim": "",  # `NoiseSchedule`; the others are diffusers' classes
    "dpm": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
}


def build_model(config: Config, *, condition_dim: int, channels: int, bands: int = 1) -> Any:
    """Build an untrained network, with weights from the configuration's seed.

    forward(noisy [B, C, T, F], timestep [B], embedding [B, condition_dim], keep bool [B])
    → prediction [B, C, T, F]. With `clean` latents it returns (prediction, extra loss []), see
    `Extra` in config.py; `target` [B, N, W] are the states to align the picture's with.

    With `config.pretrained` the UNet and the language model are the published ones, frozen except
    for LoRA; the language model continues the picture tokens, and the UNet reads its new states.
    `learned` gives the trained tensors.

    Args:
        config: The settings.
        condition_dim: The width of a picture's embedding.
        channels: Of a latent.
        bands: Of a latent.

    Raises:
        BadData: Published modules are missing or differ from the configuration's.
    """
    import torch
    from torch import nn

    from artsound.training.unet import UNet

    condition, published, extra = config.condition, config.pretrained, config.extra

    class ArtToMusic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.projector = projector(condition_dim, condition)
            # The second stream is AudioLDM 2's text; here it is the same for every picture.
            if published is None:
                self.constant = nn.Parameter(torch.zeros(1, 1, condition.constant_width))
                widths = (condition.width, condition.constant_width)
                self.language_model, self.unet = None, UNet(config.network, channels, widths)
            else:
                shape = (1, published.text_tokens)
                self.register_buffer("constant", torch.zeros(*shape, condition.constant_width))
                self.register_buffer("constant_mask", torch.ones(shape, dtype=torch.int64))
                self.language_model, self.unet = _published(config)
            if extra.contrast:
                self.summary = nn.Linear(2 * channels * bands, condition.width)

        def train(self, mode: bool = True) -> Any:
            super().train(mode)
            if self.language_model is not None:  # frozen: no dropout
                self.language_model.eval()
            return self

        def forward(
            self,
            noisy: torch.Tensor,
            timestep: torch.Tensor,
            embedding: torch.Tensor,
            keep: torch.Tensor,
            clean: torch.Tensor | None = None,
            target: torch.Tensor | None = None,
        ) -> Any:
            tokens = states = self.projector(embedding, keep)
            constant = self.constant.expand(len(noisy), -1, -1)
            if published is None:
                prediction = self.unet(noisy, timestep, states, constant)
            else:
                states = language_of_audio(self.language_model, tokens, published.states)
                prediction = self.unet(
                    noisy,
                    timestep,
                    encoder_hidden_states=states,
                    encoder_hidden_states_1=constant,
                    encoder_attention_mask_1=self.constant_mask.expand(len(noisy), -1),
                    return_dict=False,
                )[0]
            if clean is None:
                return prediction
            loss = prediction.new_zeros((), dtype=torch.float32)
            if extra.contrast:
                music = self.summary(summarise_states(clean))
                loss = loss + extra.contrast * contrast(
                    tokens.mean(dim=1), music, keep, extra.temperature
                )
            if target is not None:
                apart = (states.float() - target.float()).square().mean(dim=(1, 2))
                loss = loss + extra.alignment * (apart * keep).sum() / keep.sum().clamp(min=1)
            return prediction, loss

    # fork_rng restores the caller's random state afterwards.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return ArtToMusic()


def _published(config: Config) -> tuple[Any, Any]:
    """The frozen language model and UNet, with LoRA (Hu et al. 2022) in the UNet if configured."""
    from artsound.training.pretrained import load_module, verified_folder

    folder = verified_folder(config)
    language_model, unet = load_module(folder, "language_model"), load_module(folder, "unet")
    rank = config.pretrained.lora_rank if config.pretrained else 0
    if rank:
        from peft import LoraConfig, inject_adapter_in_model

        # In cross-attention the keys have another source than the queries.
        across = [
            f"{name}.{part}"
            for name, module in unet.named_modules()
            if getattr(module, "is_cross_attention", False)
            for part in ("to_q", "to_k", "to_v", "to_out.0")
        ]
        unet = inject_adapter_in_model(
            LoraConfig(r=rank, lora_alpha=rank, target_modules=across), unet
        )
    return language_model, unet


def learned(model: Any) -> dict[str, torch.Tensor]:
    """The model's own tensors that a checkpoint stores: trained ones and the constant stream."""
    trained = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    return trained | dict(model.named_buffers(recurse=False))


def language_of_audio(
    language_model: Any, tokens: torch.Tensor, states: int, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """The hidden states [B, states, W] by which a GPT-2 continues `tokens` [B, N, W].

    AudioLDM 2's generation (Liu et al. 2024, section III): the last output state is the next
    input. `mask` [B, N] is 0 for padding. Differentiable; equal to diffusers' own loop.
    """
    import torch

    for _ in range(states):
        output = language_model(inputs_embeds=tokens, attention_mask=mask, use_cache=False)
        tokens = torch.cat([tokens, output.last_hidden_state[:, -1:]], dim=1)
        if mask is not None:
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    return tokens[:, -states:]


def summarise_states(latents: torch.Tensor) -> torch.Tensor:
    """Means and spreads over time of latents [B, C, T, F]: [B, 2 C F]."""
    import torch

    flat = latents.float().transpose(1, 2).flatten(2)
    return torch.cat([flat.mean(dim=1), flat.std(dim=1)], dim=1)


def contrast(
    pictures: torch.Tensor, music: torch.Tensor, keep: torch.Tensor, temperature: float
) -> torch.Tensor:
    """InfoNCE (van den Oord et al. 2018) in both directions between corresponding rows.

    Rows whose picture was dropped are left out; 0 for fewer than two rows.
    """
    import torch
    from torch.nn.functional import cross_entropy, normalize

    rows = keep.nonzero()[:, 0]
    left = normalize(pictures[rows].float(), dim=1)
    right = normalize(music[rows].float(), dim=1)
    if len(rows) < 2:
        return 0 * (pictures.sum() + music.sum())
    scores = left @ right.T / temperature
    own = torch.arange(len(rows), device=scores.device)
    return (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2


class NoiseSchedule:
    """The share of noise at each training step, and sampling by DDIM (Song, Meng & Ermon 2021).

    Equal to diffusers' DDIMScheduler of the same settings, which takes as long to import as a
    small network to sample.

    Attributes:
        alphas_cumprod: float32 [steps], the share of the signal's variance (alpha-bar).
    """

    def __init__(self, settings: Diffusion) -> None:
        import torch

        count, zero = settings.steps, settings.zero_terminal_snr
        if settings.schedule == "squaredcos_cap_v2":  # Nichol & Dhariwal 2021
            levels = [
                math.cos((step / count + 0.008) / 1.008 * math.pi / 2) ** 2
                for step in range(count + 1)
            ]
            betas = torch.tensor([min(1 - after / at, 0.999) for at, after in pairwise(levels)])
        elif settings.schedule == "scaled_linear":
            betas = torch.linspace(settings.beta_start**0.5, settings.beta_end**0.5, count) ** 2
        else:
            betas = torch.linspace(settings.beta_start, settings.beta_end, count)
        if zero:
            betas = _without_signal_at_the_end(betas)
        self.settings = settings
        self.alphas_cumprod = torch.cumprod(1.0 - betas, dim=0)
        self._least_noise = torch.tensor(1.0) if zero else self.alphas_cumprod[0]

    def add_noise(
        self, latents: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor
    ) -> torch.Tensor:
        """Latents [B, …] with the noise of training steps [B]."""
        signal, rest = self._shares(latents, timestep)
        return signal * latents + rest * noise

    def get_velocity(
        self, latents: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor
    ) -> torch.Tensor:
        """What v-prediction (Salimans & Ho 2022) predicts of latents [B, …]."""
        signal, rest = self._shares(latents, timestep)
        return signal * noise - rest * latents

    def _shares(
        self, latents: torch.Tensor, timestep: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        shape = (-1, *[1] * (latents.ndim - 1))
        self.alphas_cumprod = self.alphas_cumprod.to(latents.device)  # moved once
        shares = self.alphas_cumprod.to(latents.dtype)[timestep].view(shape)
        return shares**0.5, (1 - shares) ** 0.5

    def set_timesteps(self, steps: int, device: Any = "cpu") -> None:
        """Choose `steps` training steps to sample at: `timesteps` int64 [steps], downwards."""
        import torch

        count = self.settings.steps
        if self.settings.zero_terminal_snr:  # from the last training step on, which is all noise
            chosen = np.round(np.arange(count, 0, -count / steps)).astype(np.int64) - 1
        else:
            chosen = np.minimum(np.arange(steps)[::-1] * (count // steps) + 1, count - 1)
        self._stride = count // steps
        self.timesteps = torch.from_numpy(chosen.copy()).to(device)

    def step(
        self, prediction: torch.Tensor, moment: torch.Tensor, latents: torch.Tensor
    ) -> torch.Tensor:
        """Latents at the next of `timesteps`, from those at `moment` and the prediction there."""
        now = int(moment)
        at, after = self.alphas_cumprod[now], self._least_noise
        if now >= self._stride:
            after = self.alphas_cumprod[now - self._stride]
        signal, rest = at**0.5, (1 - at) ** 0.5
        if self.settings.prediction == "epsilon":
            clean, noise = (latents - rest * prediction) / signal, prediction
        else:
            clean = signal * latents - rest * prediction
            noise = signal * prediction + rest * latents
        return after**0.5 * clean + (1 - after) ** 0.5 * noise


def _without_signal_at_the_end(betas: torch.Tensor) -> torch.Tensor:
    """Betas whose last step has no signal left (Lin et al. 2024, algorithm 1)."""
    import torch

    roots = torch.cumprod(1.0 - betas, dim=0).sqrt()
    first, last = roots[0].clone(), roots[-1].clone()
    shares = ((roots - last) * (first / (first - last))) ** 2
    return 1 - torch.cat([shares[:1], shares[1:] / shares[:-1]])


def noise_schedule(config: Config) -> NoiseSchedule:
    """The noise schedule of a run."""
    return NoiseSchedule(config.diffusion)


def sampler(config: Config, name: str, steps: int, device: Any) -> tuple[Any, Denoise]:
    """The training steps [steps] to sample at, and the function from one to the next.

    DDIM, or diffusers' DPM-Solver++ (Lu et al. 2022) or UniPC (Zhao et al. 2023), which need fewer
    steps. All are deterministic. BadUsage for another name.
    """
    if name not in SCHEDULERS:
        raise BadUsage(f"There is no scheduler {name!r}: choose one of {', '.join(SCHEDULERS)}.")
    if name == "ddim":
        ours = noise_schedule(config)
        ours.set_timesteps(steps, device=device)
        return ours.timesteps, ours.step
    import diffusers

    settings = config.diffusion
    theirs = getattr(diffusers, SCHEDULERS[name])(
        num_train_timesteps=settings.steps,
        beta_start=settings.beta_start,
        beta_end=settings.beta_end,
        beta_schedule=settings.schedule,
        prediction_type=settings.prediction,
        rescale_betas_zero_snr=settings.zero_terminal_snr,
        timestep_spacing="trailing" if settings.zero_terminal_snr else "leading",
        steps_offset=0 if settings.zero_terminal_snr else 1,
    )
    theirs.set_timesteps(steps, device=device)
    return theirs.timesteps, lambda *given: theirs.step(*given, return_dict=False)[0]


def loss_weights(config: Config, signal: torch.Tensor) -> torch.Tensor:
    """The weight of each sample's squared error, [B], given its alpha-bar [B].

    min-SNR γ (Hang et al., ICCV 2023) on the plain prediction: min(SNR, γ) / SNR for epsilon.
    For v the clean-signal weight is min(SNR + 1, γ) (Salimans & Ho 2022, clipped at γ), that is
    min(1, γ / (SNR + 1)): it is positive for pure noise, where the picture decides the level of
    the whole clip.
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
    target: torch.Tensor | None = None,
) -> torch.Tensor:
    """Weighted squared error of each sample, [B], plus the extra losses of the configuration."""
    noisy = schedule.add_noise(latents, noise, timestep)
    if config.diffusion.prediction == "v_prediction":
        goal = schedule.get_velocity(latents, noise, timestep)
    else:
        goal = noise
    extra: Any = 0.0
    if config.extra.contrast or target is not None:
        prediction, extra = model(noisy, timestep, embedding, keep, latents, target)
    else:
        prediction = model(noisy, timestep, embedding, keep)
    error = (prediction.float() - goal.float()).square().mean(dim=(1, 2, 3))
    signal = schedule.alphas_cumprod.to(latents.device)[timestep]
    return error * loss_weights(config, signal) + extra


def sample_latents(
    model: Any,
    config: Config,
    embedding: np.ndarray,
    *,
    shape: tuple[int, int, int],
    seeds: list[int],
    steps: int,
    guidance: float,
    scheduler: str = "ddim",
    negative: np.ndarray | None = None,
) -> np.ndarray:
    """Sample latents; each depends only on its own embedding and seed.

    Args:
        model: The network.
        config: Its settings.
        embedding: float32 [B, D].
        shape: (channels, cells, bands) of a latent.
        seeds: Of the initial noise, one for each row.
        steps: Denoising steps.
        guidance: 1 is the conditional prediction, 0 the unconditional one; above 1 moves away from
            the unconditional one, or from that of `negative`.
        scheduler: One of `SCHEDULERS`.
        negative: [D], the embedding of a picture to guide away from.

    Returns:
        float32 [B, *shape].
    """
    import torch

    device = next(model.parameters()).device
    timesteps, denoise = sampler(config, scheduler, steps, device)
    rows = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    latents = torch.stack(rows).to(device)
    condition = torch.from_numpy(embedding).to(device)
    yes = torch.ones(len(latents), dtype=torch.bool, device=device)
    # Guidance moves away from this: no picture, or another one.
    away, with_away = condition, ~yes
    if negative is not None:
        away = torch.from_numpy(negative).to(device).expand_as(condition)
        with_away = yes
    model.eval()
    with torch.inference_mode():
        for moment in timesteps:
            timestep = moment.expand(len(latents))
            if guidance == 0:
                prediction = model(latents, timestep, away, with_away)
            elif guidance == 1:
                prediction = model(latents, timestep, condition, yes)
            else:
                both = model(
                    torch.cat([latents, latents]),
                    torch.cat([timestep, timestep]),
                    torch.cat([condition, away]),
                    torch.cat([yes, with_away]),
                )
                with_picture, without = both.chunk(2)
                prediction = without + guidance * (with_picture - without)
            latents = denoise(prediction, moment, latents)
    return latents.float().cpu().numpy()
