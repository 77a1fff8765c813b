"""Log-mel spectrograms to small latents and back, and on to sound: the codec of a run.

There are two: a fixed linear map (patches.py), and the published autoencoder and vocoder (vae.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from artsound.training.config import Config
from artsound.training.patches import PatchCodec, fit_codec
from artsound.training.vae import open_vae


class SoundCodec(Protocol):
    """Levels [frames, bins] to latents [channels, cells, bands] and back, and levels to sound."""

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, cells, bands) of a training window."""
        ...

    def shape(self, seconds: float) -> tuple[int, int, int]:
        """(channels, cells, bands) of a latent that covers `seconds`."""
        ...

    def encode(self, levels: np.ndarray) -> np.ndarray:
        """Latent float32 of levels."""
        ...

    def decode(self, latent: np.ndarray) -> np.ndarray:
        """Levels float32 of a latent."""
        ...

    def sound(self, levels: np.ndarray, *, seed: int = 0) -> np.ndarray:
        """Waveform float32 [frames * hop] in −1..1 of levels."""
        ...

    def tensors(self) -> dict[str, np.ndarray]:
        """What a checkpoint must keep, so that `open_codec` gives the same codec."""
        ...


def make_codec(config: Config, clips: Sequence[np.ndarray], device: Any = "cpu") -> SoundCodec:
    """The codec of a new run: fitted to the log-mels `clips`, or loaded."""
    if config.codec.kind == "patch":
        return fit_codec(config.mel, config.codec, clips)
    return open_codec(config, {}, device)


def open_codec(config: Config, arrays: dict[str, np.ndarray], device: Any = "cpu") -> SoundCodec:
    """The codec of a run from what its checkpoint keeps; BadData when that does not fit."""
    if config.codec.kind == "patch":
        return PatchCodec.from_tensors(config.mel, config.codec, arrays)
    return open_vae(config, device)
