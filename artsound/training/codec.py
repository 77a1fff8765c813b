"""The codec of a run: sound to log-mel spectrograms, to small latents, and back.

Loudness is part of what is learned, so levels are not normalised: 0 dB is a full-scale sine, and
levels below the floor are silence. Only published modules that were trained at one level get it
(`Mel.peak`).

There are two codecs. Small runs use a fixed linear map: a cell of the spectrogram (`cell_frames`
frames by bins / bands mel bins) becomes `channels` numbers, its first principal components over
the training mels (Pearson 1901), partly whitened. It is linear, so it preserves absolute loudness
and brightness and needs no training. Runs with published weights use the autoencoder and vocoder
of AudioLDM 2 (AutoencoderKL and HiFi-GAN).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from artsound.errors import BadData
from artsound.media.mel import log_mel, triangle_filters
from artsound.training.config import Codec, Config, Mel
from artsound.training.pretrained import load_module, verified_folder

if TYPE_CHECKING:
    import torch


def training_log_mel(mono: np.ndarray, mel: Mel) -> np.ndarray:
    """Levels float32 [frames, bins] of `mono` float32 at mel.sample_rate, as a run has them."""
    return log_mel(levelled(mono, mel), mel.sample_rate, mel.bands)


def levelled(mono: np.ndarray, mel: Mel) -> np.ndarray:
    """`mono` as a run takes it: unchanged, or centred and scaled to `mel.peak`.

    The whole clip is scaled by one factor, so that its own course of loudness stays.
    """
    if not mel.peak or not len(mono):
        return mono
    centred = mono - mono.mean(dtype=np.float64).astype(np.float32)
    largest = float(np.abs(centred).max())
    return (centred * np.float32(mel.peak / largest)) if largest > 0 else centred


def sound(levels: np.ndarray, mel: Mel, *, iterations: int, seed: int = 0) -> np.ndarray:
    """The waveform of a log-mel spectrogram in dB, float32 [frames * hop] within −1..1.

    Magnitudes are computed by the filters' pseudo-inverse, phases by the fast Griffin-Lim
    algorithm (Perraudin, Balazs & Søndergaard, WASPAA 2013; momentum 0.99) from seeded random
    phases. Equal inputs give equal sound on one machine.
    """
    import torch

    weights, inverse = _filters(mel)
    power = 10 ** (torch.from_numpy(levels.astype(np.float32).T) / 10)
    power = torch.where(power <= 10 ** (mel.floor_db / 10) * 1.001, 0.0, power)
    linear = (inverse @ power).clamp(min=0)
    # The pseudo-inverse has negative values; a few multiplicative steps (Lee & Seung 2001) restore
    # the levels that clipping them changed.
    linear = linear + 1e-12
    for _ in range(8):
        linear = linear * (weights.T @ power) / (weights.T @ (weights @ linear)).clamp(min=1e-12)
    magnitude = linear.sqrt()[None]
    window = _window(mel)
    generator = torch.Generator().manual_seed(seed)
    angle = torch.rand(magnitude.shape, generator=generator) * (2 * np.pi)
    current, previous = torch.polar(magnitude, angle), torch.zeros_like(magnitude) + 0j
    length = levels.shape[0] * mel.hop
    for _ in range(iterations):
        consistent = _stft(_istft(current, mel, length, window), mel, window)
        consistent = consistent[:, :, : levels.shape[0]]
        # In place, since fresh memory takes as long as the arithmetic.
        guess = previous.mul_(-0.99 / 1.99).add_(consistent)
        size = guess.abs().clamp_(min=1e-12)
        current = guess.mul_(magnitude).div_(size)
        previous = consistent
    wave = _istft(current, mel, length, window)[0]
    # torch centres a frame on the beginning of its hop, and `log_mel` on the middle.
    wave = torch.nn.functional.pad(wave, (mel.hop // 2, 0))[:length]
    peak = float(wave.abs().max())
    if peak > 0.99:  # with estimated phases the sum may exceed full scale
        wave = wave * (0.99 / peak)
    return wave.numpy()


def _window(mel: Mel) -> torch.Tensor:
    import torch

    window = torch.hann_window(mel.n_fft)
    return window * (2 / window.sum())  # a full-scale sine peaks at 1


def _stft(wave: torch.Tensor, mel: Mel, window: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.stft(
        wave,
        mel.n_fft,
        mel.hop,
        window=window,
        pad_mode="constant",
        return_complex=True,
    )


def _istft(spectrum: torch.Tensor, mel: Mel, length: int, window: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.istft(
        torch.nn.functional.pad(spectrum, (0, 1)),
        mel.n_fft,
        mel.hop,
        window=window,
        length=length,
    )


@lru_cache(maxsize=4)
def _filters(mel: Mel) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    weights = torch.from_numpy(
        triangle_filters(
            mel.sample_rate,
            mel.n_fft,
            mel.bins,
            low_hz=mel.low_hz,
            high_hz=mel.high_hz,
            equal_area=False,
        )
    )
    return weights, torch.linalg.pinv(weights)


def cells(seconds: float, codec: Codec, mel: Mel) -> int:
    """Cells that cover `seconds`, rounded up to an even number (a UNet halves it at least once)."""
    return 2 * int(np.ceil(seconds * mel.sample_rate / mel.hop / codec.cell_frames / 2 - 1e-9))


@dataclass(frozen=True)
class _Shaped:
    mel: Mel
    codec: Codec

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, cells, bands) of a training window."""
        return self.shape(self.mel.seconds)

    def shape(self, seconds: float) -> tuple[int, int, int]:
        """(channels, cells, bands) of a latent that covers `seconds`."""
        return self.codec.channels, cells(seconds, self.codec, self.mel), self.codec.bands


@dataclass(frozen=True)
class PatchCodec(_Shaped):
    """A SoundCodec that is a fixed linear map, fitted to the training mels.

    Attributes:
        mean: float32 [bands, cell].
        basis: float32 [bands, channels, cell].
        spread: float32 [bands, channels].
    """

    mean: np.ndarray
    basis: np.ndarray
    spread: np.ndarray

    def encode(self, levels: np.ndarray) -> np.ndarray:
        """Latent float32 [channels, cells, bands] of levels [frames, bins], in whole cells."""
        cut = _cells(levels, self.codec)
        values = np.einsum("tbd,bcd->ctb", cut - self.mean, self.basis)
        return (values / self.spread.T[:, None, :]).astype(np.float32)

    def decode(self, latent: np.ndarray) -> np.ndarray:
        """Levels float32 [frames, bins] in dB, between the floor and 0, of a latent."""
        values = latent * self.spread.T[:, None, :]
        patches = np.einsum("ctb,bcd->tbd", values, self.basis) + self.mean
        count, bands, _ = patches.shape
        frames = self.codec.cell_frames
        levels = patches.reshape(count, bands, frames, -1).transpose(0, 2, 1, 3)
        levels = levels.reshape(count * frames, self.mel.bins)
        return np.clip(levels, self.mel.floor_db, 0.0).astype(np.float32)

    def sound(self, levels: np.ndarray, *, seed: int = 0) -> np.ndarray:
        """Waveform float32 [frames * hop] in −1..1; the initial phases depend on `seed`."""
        return sound(levels, self.mel, iterations=self.codec.vocoder_iterations, seed=seed)

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays for a checkpoint."""
        return {"codec.mean": self.mean, "codec.basis": self.basis, "codec.spread": self.spread}

    @staticmethod
    def from_tensors(mel: Mel, codec: Codec, tensors: dict[str, np.ndarray]) -> PatchCodec:
        """The codec of a checkpoint's arrays; BadData if a shape does not match the settings."""
        cell = codec.cell_frames * mel.bins // codec.bands
        shapes = {
            "codec.mean": (codec.bands, cell),
            "codec.basis": (codec.bands, codec.channels, cell),
            "codec.spread": (codec.bands, codec.channels),
        }
        for name, shape in shapes.items():
            if name not in tensors or tensors[name].shape != shape:
                raise BadData(f"The checkpoint's {name} is missing or misshapen: train again.")
        return PatchCodec(mel, codec, *(tensors[name] for name in shapes))


def fit_codec(mel: Mel, codec: Codec, clips: Sequence[np.ndarray]) -> PatchCodec:
    """Fit a codec to `clips`, log-mels [frames, bins] each; the same for the same clips."""
    patches = np.concatenate([_cells(clip, codec) for clip in clips]).astype(np.float64)
    if len(patches) < codec.channels:
        raise BadData("There is too little music to fit the codec: add pairs to the train split.")
    mean = patches.mean(axis=0)
    basis, spread = [], []
    for band in range(codec.bands):
        centred = patches[:, band] - mean[band]
        values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        top = np.argsort(-values, kind="stable")[: codec.channels]
        rows = vectors[:, top].T
        # An eigenvector's sign is arbitrary: its largest entry is made positive.
        largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
        basis.append(rows * np.sign(largest))
        spread.append(np.sqrt(np.maximum(values[top], 1e-6)) ** codec.whiten)
    scale = np.array(spread)
    # One factor scales the latents to unit variance, as the noise schedule expects.
    values = np.einsum("tbd,bcd->tbc", patches - mean, np.array(basis)) / scale
    scale = scale * values.std()
    return PatchCodec(
        mel, codec, mean.astype(np.float32), np.array(basis, np.float32), scale.astype(np.float32)
    )


def _cells(levels: np.ndarray, codec: Codec) -> np.ndarray:
    """[cells, bands, cell_frames * bins / bands] of levels [frames, bins]."""
    frames, bins = levels.shape
    count = frames // codec.cell_frames
    cut = levels[: count * codec.cell_frames]
    split = cut.reshape(count, codec.cell_frames, codec.bands, bins // codec.bands)
    return split.transpose(0, 2, 1, 3).reshape(count, codec.bands, -1)


@dataclass(frozen=True)
class VaeCodec(_Shaped):
    """A SoundCodec of two frozen modules on `device`; it stores nothing in a checkpoint."""

    vae: Any
    vocoder: Any
    device: Any

    def encode(self, levels: np.ndarray) -> np.ndarray:
        """The mode of the posterior, times the published factor that gives it unit variance."""
        import torch

        frames = len(levels) // self.codec.cell_frames * self.codec.cell_frames
        given = torch.from_numpy(levels[:frames].astype(np.float32)).to(self.device)
        with torch.inference_mode():
            mode = self.vae.encode(given[None, None]).latent_dist.mode()
        return self._finite("vae", mode[0] * self.vae.config.scaling_factor)

    def decode(self, latent: np.ndarray) -> np.ndarray:
        """Levels float32 [frames, bins], never below the floor."""
        import torch

        given = torch.from_numpy(latent.astype(np.float32)).to(self.device)
        with torch.inference_mode():
            levels = self.vae.decode(given[None] / self.vae.config.scaling_factor).sample[0, 0]
        return np.maximum(self._finite("vae", levels), np.float32(self.mel.floor))

    def sound(self, levels: np.ndarray, *, seed: int = 0) -> np.ndarray:  # noqa: ARG002 (the protocol)
        """Waveform float32 [frames * hop] in −1..1; the vocoder is deterministic."""
        import torch

        with torch.inference_mode():
            given = torch.from_numpy(levels.astype(np.float32)).to(self.device)
            wave = self.vocoder(given[None])[0]
        return self._finite("vocoder", wave).clip(-1, 1)

    def _finite(self, name: str, values: torch.Tensor) -> np.ndarray:
        result: np.ndarray = values.float().cpu().numpy()
        if not np.isfinite(result).all():
            raise BadData(
                f"The {name} of the published modules gives numbers that are not finite: fetch "
                f"{name}/ again."
            )
        return result

    def tensors(self) -> dict[str, np.ndarray]:
        """Empty: the run's settings identify the modules."""
        return {}


def open_vae(config: Config, device: Any) -> VaeCodec:
    """The codec of `config.pretrained`; BadData if the modules are missing or differ."""
    folder = verified_folder(config)
    vae = load_module(folder, "vae").to(device)
    vocoder = load_module(folder, "vocoder").to(device)
    return VaeCodec(config.mel, config.codec, vae, vocoder, device)


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
        """The arrays for a checkpoint, from which `open_codec` gives the same codec."""
        ...


def make_codec(config: Config, clips: Sequence[np.ndarray], device: Any = "cpu") -> SoundCodec:
    """The codec of a new run: fitted to the log-mels `clips`, or loaded."""
    if config.codec.kind == "patch":
        return fit_codec(config.mel, config.codec, clips)
    return open_codec(config, {}, device)


def open_codec(config: Config, arrays: dict[str, np.ndarray], device: Any = "cpu") -> SoundCodec:
    """The codec of a checkpoint's arrays; BadData if they do not match the settings."""
    if config.codec.kind == "patch":
        return PatchCodec.from_tensors(config.mel, config.codec, arrays)
    return open_vae(config, device)
