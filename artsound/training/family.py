"""Families of generators: what a run of one kind of model has that another has not.

A preset names its family (`Config.family`). Everything else is common: pictures, standardiser,
projector, the stream of pairs, optimiser, averaged weights, checkpoints, `generate` and `evaluate`.
A family supplies the codec (a clip's levels as a latent of any numbers, also tokens, and back), the
network, its loss and its sampling.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from artsound import plugins
from artsound.training.codec import SoundCodec, make_codec, open_codec
from artsound.training.config import Config
from artsound.training.model import (
    build_model,
    diffusion_loss,
    noise_schedule,
    sample_latents,
)

if TYPE_CHECKING:
    import torch

    from artsound.training.data import Batch


class Family(Protocol):
    """A family, opened with the settings of a run."""

    def fit_codec(self, clips: Sequence[np.ndarray], device: Any) -> SoundCodec:
        """The codec of a new run: fitted to log-mels [frames, bins], or loaded."""
        ...

    def open_codec(self, arrays: dict[str, np.ndarray], device: Any) -> SoundCodec:
        """The codec of a checkpoint's arrays; BadData if they do not match the settings."""
        ...

    def build(self, condition_dim: int) -> Any:
        """An untrained network, with weights from the configuration's seed.

        A torch module whose `forward` is called by `loss` only; `learned` of model.py says which
        of its tensors a checkpoint stores.
        """
        ...

    def loss(self, model: Any, batch: Batch) -> torch.Tensor:
        """The loss of each pair of a batch, [B]; latents are [B, *latent shape]."""
        ...

    def sample(
        self,
        model: Any,
        embedding: np.ndarray,
        *,
        shape: tuple[int, int, int],
        seeds: list[int],
        steps: int,
        guidance: float,
        scheduler: str = "ddim",
        negative: np.ndarray | None = None,
    ) -> np.ndarray:
        """Latents float32 [B, *shape], each from its own embedding and seed.

        Args:
            model: What `build` gave.
            embedding: Standardised embeddings of pictures, float32 [B, D].
            shape: Of a latent.
            seeds: One for each picture.
            steps: Denoising steps, where there are any.
            guidance: The weight of the picture: 0 ignores it, 1 is the plain prediction.
            scheduler: The sampler, where there are several.
            negative: The embedding [D] to guide away from; None: no picture.
        """
        ...


class FamilyPlugin(Protocol):
    """What a family must have: subclass this, or write a class with the same attributes.

    The first line of its docstring is what `artsound plugins` shows.

    Attributes:
        name: The name that `Config.family` takes.
        version: Of the plug-in; text.
        extra: The extra of ArtSound that it needs.
    """

    name: str
    version: str
    extra: str = "train"

    @abstractmethod
    def open(self, config: Config) -> Family:
        """The family with the settings of a run; BadUsage if they do not go together."""
        ...


def open_family(config: Config) -> Family:
    """The family of a run; BadUsage if there is no such family."""
    plugin, argument = plugins.get("family", config.family, "family")
    plugins.refuse_argument("family", plugin.name, argument)
    family: Family = plugin.open(config)
    return family


class DiffusionFamily(FamilyPlugin):
    """AudioLDM 2's UNet: noise is removed from a latent, step by step."""

    name, version = "diffusion", "1"

    def open(self, config: Config) -> Family:
        """The family with the settings of a run."""
        return _Diffusion(config)


class _Diffusion:
    def __init__(self, config: Config) -> None:
        self.config = config

    @cached_property
    def _schedule(self) -> Any:
        return noise_schedule(self.config)

    def fit_codec(self, clips: Sequence[np.ndarray], device: Any) -> SoundCodec:
        return make_codec(self.config, clips, device)

    def open_codec(self, arrays: dict[str, np.ndarray], device: Any) -> SoundCodec:
        return open_codec(self.config, arrays, device)

    def build(self, condition_dim: int) -> Any:
        codec = self.config.codec
        return build_model(
            self.config, condition_dim=condition_dim, channels=codec.channels, bands=codec.bands
        )

    def loss(self, model: Any, batch: Batch) -> torch.Tensor:
        return diffusion_loss(
            model,
            self._schedule,
            self.config,
            latents=batch.latents,
            embedding=batch.embedding,
            keep=batch.keep,
            noise=batch.noise,
            timestep=batch.timestep,
            target=batch.target,
        )

    def sample(self, model: Any, embedding: np.ndarray, **options: Any) -> np.ndarray:
        return sample_latents(model, self.config, embedding, **options)
