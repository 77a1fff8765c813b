"""Log-mel spectrograms of a clip: as the vocoders of the field take them, or in decibels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from artsound.errors import BadUsage


@dataclass(frozen=True)
class MelBands:
    """Settings of a log-mel spectrogram; `n_fft` and `hop` in samples.

    With sound at 16 kHz the defaults are the front end of AudioLDM 2 and of its HiFi-GAN vocoder:
    the natural logarithm of magnitudes under Slaney's triangles (of equal area), not below that of
    the magnitude `floor`. On the scale `decibel` a level is that of the power under triangles of
    height 1, in dB of a full-scale sine, not below that of the amplitude `floor`.
    """

    n_fft: int = 1024
    hop: int = 160
    bins: int = 64
    low_hz: float = 0.0
    high_hz: float = 8_000.0
    floor: float = 1e-5
    scale: Literal["log_magnitude", "decibel"] = "log_magnitude"

    def __post_init__(self) -> None:
        if not 1 <= self.hop <= self.n_fft <= 65_536 or self.bins < 1:
            raise BadUsage("mel needs 1 <= hop <= n_fft <= 65536, and at least one bin.")
        if not 0 <= self.low_hz < self.high_hz or self.floor <= 0:
            raise BadUsage("mel needs 0 <= low_hz < high_hz, and a floor above 0.")
        if self.scale not in ("log_magnitude", "decibel"):
            raise BadUsage(f"mel's scale is {self.scale!r}: choose 'log_magnitude' or 'decibel'.")


def log_mel(mono: np.ndarray, sample_rate: int, bands: MelBands) -> np.ndarray:
    """Levels float32 [frames, bins]; frames = len(mono) // hop, and at least one.

    Frames are Hann windows of n_fft samples, a hop apart, the first centred on the middle of the
    first hop; beyond its ends the sound is mirrored, or silent if it is too short for a mirror.

    Args:
        mono: float32 [n].
        sample_rate: Of `mono`, in Hz.
        bands: The settings.

    Raises:
        BadUsage: The bands reach above half the sample rate.
    """
    from scipy.fft import rfft
    from scipy.signal import get_window

    frames = max(1, len(mono) // bands.hop)
    before = (bands.n_fft - bands.hop) // 2
    after = max(0, (frames - 1) * bands.hop + bands.n_fft - before - len(mono))
    mono = mono.astype(np.float32, copy=False)
    if len(mono) > max(before, after):
        padded = np.pad(mono, (before, after), mode="reflect")
    else:  # too short for a mirror
        padded = np.pad(mono, (before, after))
    windows = np.lib.stride_tricks.sliding_window_view(padded, bands.n_fft)[:: bands.hop][:frames]
    window = get_window("hann", bands.n_fft).astype(np.float32)
    triangles, floor = _triangles(sample_rate, bands).T, np.float32(bands.floor)
    if bands.scale == "decibel":
        window *= 2 / window.sum()  # a full-scale sine peaks at 1
        power = np.square(np.abs(rfft(windows * window, axis=1))) @ triangles
        levels = 10 * np.log10(np.maximum(power, floor**2))
        return np.maximum(levels, np.float32(20 * np.log10(bands.floor)), dtype=np.float32)
    levels = np.abs(rfft(windows * window, axis=1)) @ triangles
    return np.asarray(np.log(np.maximum(levels, floor)), dtype=np.float32)


@lru_cache(maxsize=4)
def _triangles(sample_rate: int, bands: MelBands) -> np.ndarray:
    if bands.high_hz > sample_rate / 2:
        raise BadUsage(
            f"mel reaches {bands.high_hz:g} Hz, but sound at {sample_rate} Hz ends at "
            f"{sample_rate / 2:g} Hz: set decode's sample_rate, or lower mel's high_hz."
        )
    return triangle_filters(
        sample_rate,
        bands.n_fft,
        bands.bins,
        low_hz=bands.low_hz,
        high_hz=bands.high_hz,
        equal_area=bands.scale == "log_magnitude",
    )


def triangle_filters(
    sample_rate: int,
    n_fft: int,
    bins: int,
    *,
    low_hz: float,
    high_hz: float,
    equal_area: bool = True,
) -> np.ndarray:
    """Slaney's triangular filters, as `librosa.filters.mel` makes them.

    Computed here because librosa needs 400 MB of packages that a training job does not use.

    Args:
        sample_rate: Of the sound, in Hz.
        n_fft: Samples per Fourier transform.
        bins: How many filters.
        low_hz: Lower edge of the first filter, in Hz.
        high_hz: Upper edge of the last filter, in Hz.
        equal_area: Whether their areas are equal, or their heights.

    Returns:
        Weights, float32 [bins, n_fft // 2 + 1], in 1/Hz; where their heights are equal, 0–1.

    Reference: M. Slaney, Auditory Toolbox, Interval Research Technical Report 1998-010.
    """
    edges = mel_frequencies(bins + 2, low_hz, high_hz)
    widths = np.diff(edges)
    slopes = edges[:, None] - np.fft.rfftfreq(n_fft, 1.0 / sample_rate)
    rising = -slopes[:-2] / widths[:-1, None]
    falling = slopes[2:] / widths[1:, None]
    weights = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    if equal_area:
        weights *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return weights


def mel_frequencies(count: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Frequencies at equal distances on Slaney's mel scale, which is linear up to 1 kHz.

    Args:
        count: How many.
        low_hz: The first, in Hz.
        high_hz: The last, in Hz.

    Returns:
        Ascending frequencies in Hz, float64 [count].
    """
    hz_per_mel, knee_hz = 200.0 / 3, 1000.0
    knee, step = knee_hz / hz_per_mel, np.log(6.4) / 27.0  # mel; its logarithmic step above

    def to_mel(hz: float) -> float:
        if hz < knee_hz:
            return hz / hz_per_mel
        return float(knee + np.log(hz / knee_hz) / step)

    mels = np.linspace(to_mel(low_hz), to_mel(high_hz), count)
    return np.where(mels < knee, hz_per_mel * mels, knee_hz * np.exp(step * (mels - knee)))
