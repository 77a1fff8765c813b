"""Log-mel spectrograms on an absolute scale, and back to sound.

Loudness is part of what a picture says, so levels are never normalised: 0 dB is a full-scale
sine wherever it comes from, and what lies below the floor is silence.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from artsound.media.mel import MelBands
from artsound.media.mel import log_mel as published_mel
from artsound.training.config import LEAST_MAGNITUDE, Mel

if TYPE_CHECKING:
    import torch


def log_mel(mono: np.ndarray, mel: Mel) -> np.ndarray:
    """Levels float32 [frames, bins], never below the floor: in dB of full scale, or as
    AudioLDM 2 has them (`mel.scale`; artsound/media/mel.py).

    `mono`: float32 at mel.sample_rate; frames = len(mono) // hop. A band's level in dB is the mean
    power of the STFT bins under its triangle (Slaney's mel scale, as in librosa).
    """
    import torch

    if mel.scale == "log_magnitude":
        bands = MelBands(
            mel.n_fft, mel.hop, mel.bins, mel.low_hz, mel.high_hz, floor=LEAST_MAGNITUDE
        )
        return published_mel(mono, mel.sample_rate, bands)
    weights, _ = _filters(mel)
    count = max(1, len(mono) // mel.hop)
    spectrum = _stft(torch.from_numpy(np.ascontiguousarray(mono, dtype=np.float32))[None], mel)
    power = weights @ spectrum[0, :, :count].abs().square()
    floor = 10 ** (mel.floor_db / 10)
    return (10 * power.clamp(min=floor).log10()).T.contiguous().numpy()


def sound(levels: np.ndarray, mel: Mel, *, iterations: int, seed: int = 0) -> np.ndarray:
    """The waveform of a log-mel spectrogram in dB, float32 [frames * hop] within −1..1.

    Magnitudes by the filters' pseudo-inverse, phases by the fast Griffin-Lim algorithm
    (Perraudin, Balazs & Søndergaard, WASPAA 2013; momentum 0.99) from seeded random phases.
    Equal inputs give equal sound on one machine.
    """
    import torch

    weights, inverse = _filters(mel)
    power = 10 ** (torch.from_numpy(levels.astype(np.float32).T) / 10)
    power = torch.where(power <= 10 ** (mel.floor_db / 10) * 1.001, 0.0, power)
    linear = (inverse @ power).clamp(min=0)
    # The pseudo-inverse rings below zero; a few multiplicative steps (Lee & Seung 2001) repair
    # the levels that clipping changed.
    linear = linear + 1e-12
    for _ in range(8):
        linear = linear * (weights.T @ power) / (weights.T @ (weights @ linear)).clamp(min=1e-12)
    magnitude = linear.sqrt()[None]
    generator = torch.Generator().manual_seed(seed)
    angle = torch.rand(magnitude.shape, generator=generator) * (2 * np.pi)
    current, previous = torch.polar(magnitude, angle), torch.zeros_like(magnitude) + 0j
    length = levels.shape[0] * mel.hop
    for _ in range(iterations):
        consistent = _stft(_istft(current, mel, length), mel)[:, :, : levels.shape[0]]
        guess = consistent - 0.99 / 1.99 * previous
        current = magnitude * guess / guess.abs().clamp(min=1e-12)
        previous = consistent
    wave = _istft(current, mel, length)[0]
    peak = float(wave.abs().max())
    if peak > 0.99:  # phases are a guess: their sum may pass full scale where the original did not
        wave = wave * (0.99 / peak)
    return wave.numpy()


def _window(mel: Mel) -> torch.Tensor:
    import torch

    window = torch.hann_window(mel.n_fft)
    return window * (2 / window.sum())  # a full-scale sine peaks at 1


def _stft(wave: torch.Tensor, mel: Mel) -> torch.Tensor:
    import torch

    return torch.stft(
        wave,
        mel.n_fft,
        mel.hop,
        window=_window(mel),
        pad_mode="constant",
        return_complex=True,
    )


def _istft(spectrum: torch.Tensor, mel: Mel, length: int) -> torch.Tensor:
    import torch

    return torch.istft(
        torch.nn.functional.pad(spectrum, (0, 1)),
        mel.n_fft,
        mel.hop,
        window=_window(mel),
        length=length,
    )


@lru_cache(maxsize=4)
def _filters(mel: Mel) -> tuple[torch.Tensor, torch.Tensor]:
    import librosa
    import torch

    weights = librosa.filters.mel(
        sr=mel.sample_rate,
        n_fft=mel.n_fft,
        n_mels=mel.bins,
        fmin=mel.low_hz,
        fmax=mel.high_hz,
        norm=None,
    )
    weights = torch.from_numpy(weights.astype(np.float32))
    return weights, torch.linalg.pinv(weights)
