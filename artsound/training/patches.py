"""The codec of small runs: a fixed linear map, fitted once to the training mels and saved.

A cell of the spectrogram (`cell_frames` frames by bins / bands mel bins) becomes `channels`
numbers: its first principal components over the training mels (Pearson 1901), softly whitened.
Being linear it keeps absolute loudness and brightness, needs no training, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from artsound.errors import BadData
from artsound.training.config import Codec, Mel
from artsound.training.mel import sound


def cells(seconds: float, codec: Codec, mel: Mel) -> int:
    """Cells that cover `seconds`, rounded up to an even number (a UNet halves it at least once)."""
    return 2 * int(np.ceil(seconds * mel.sample_rate / mel.hop / codec.cell_frames / 2 - 1e-9))


@dataclass(frozen=True)
class PatchCodec:
    """mean [bands, cell], basis [bands, channels, cell], spread [bands, channels], all float32."""

    mel: Mel
    codec: Codec
    mean: np.ndarray
    basis: np.ndarray
    spread: np.ndarray

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, cells, bands) of a training window."""
        return self.shape(self.mel.seconds)

    def shape(self, seconds: float) -> tuple[int, int, int]:
        """(channels, cells, bands) of a latent that covers `seconds`."""
        return self.codec.channels, cells(seconds, self.codec, self.mel), self.codec.bands

    def encode(self, levels: np.ndarray) -> np.ndarray:
        """Latent float32 [channels, cells, bands] of levels [frames, bins]; odd frames are cut."""
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
        """Waveform float32 [frames * hop] in −1..1, phases begun from `seed`."""
        return sound(levels, self.mel, iterations=self.codec.vocoder_iterations, seed=seed)

    def tensors(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps."""
        return {"codec.mean": self.mean, "codec.basis": self.basis, "codec.spread": self.spread}

    @staticmethod
    def from_tensors(mel: Mel, codec: Codec, tensors: dict[str, np.ndarray]) -> PatchCodec:
        """The codec kept by `tensors`; BadData when a shape is not what the settings say."""
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
    """The codec of `clips`, log-mels [frames, bins] each; the same for the same clips."""
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
    # One factor brings the latents to unit variance, as the noise schedule expects.
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
