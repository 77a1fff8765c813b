"""The published autoencoder and vocoder as a codec: AutoencoderKL and HiFi-GAN of AudioLDM 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from artsound.training.config import Codec, Config, Mel
from artsound.training.patches import cells
from artsound.training.pretrained import load_module, verified_folder


@dataclass(frozen=True)
class VaeCodec:
    """A SoundCodec of two frozen modules on `device`; it keeps nothing in a checkpoint."""

    mel: Mel
    codec: Codec
    vae: Any
    vocoder: Any
    device: Any

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, cells, bands) of a training window."""
        return self.shape(self.mel.seconds)

    def shape(self, seconds: float) -> tuple[int, int, int]:
        """(channels, cells, bands) of a latent that covers `seconds`."""
        return self.codec.channels, cells(seconds, self.codec, self.mel), self.codec.bands

    def encode(self, levels: np.ndarray) -> np.ndarray:
        """The mode of the posterior, times the published factor that gives it unit variance."""
        import torch

        frames = len(levels) // self.codec.cell_frames * self.codec.cell_frames
        given = torch.from_numpy(levels[:frames].astype(np.float32)).to(self.device)
        with torch.inference_mode():
            mode = self.vae.encode(given[None, None]).latent_dist.mode()
        return (mode[0] * self.vae.config.scaling_factor).float().cpu().numpy()

    def decode(self, latent: np.ndarray) -> np.ndarray:
        """Levels float32 [frames, bins], never below the floor."""
        import torch

        given = torch.from_numpy(latent.astype(np.float32)).to(self.device)
        with torch.inference_mode():
            levels = self.vae.decode(given[None] / self.vae.config.scaling_factor).sample[0, 0]
        return np.maximum(levels.float().cpu().numpy(), np.float32(self.mel.floor))

    def sound(self, levels: np.ndarray, *, seed: int = 0) -> np.ndarray:  # noqa: ARG002 (the protocol)
        """Waveform float32 [frames * hop] in −1..1; the vocoder leaves nothing to chance."""
        import torch

        with torch.inference_mode():
            given = torch.from_numpy(levels.astype(np.float32)).to(self.device)
            wave = self.vocoder(given[None])[0]
        return wave.float().clamp(-1, 1).cpu().numpy()

    def tensors(self) -> dict[str, np.ndarray]:
        """Nothing: the run's settings name the modules."""
        return {}


def open_vae(config: Config, device: Any) -> VaeCodec:
    """The codec of `config.pretrained`; BadData when the modules are missing or others."""
    folder = verified_folder(config)
    vae = load_module(folder, "vae").to(device)
    vocoder = load_module(folder, "vocoder").to(device)
    return VaeCodec(config.mel, config.codec, vae, vocoder, device)
