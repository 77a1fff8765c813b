"""Key, mode and roughness of a clip, from the peaks of long spectra."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from scipy import fft

KEYS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

_FRAME = 8192
_HOP = 4096
_RANGE = (60.0, 2100.0)  # Hz
_PEAKS = 24  # strongest per frame
_C1 = 32.7032
# Krumhansl & Kessler, Psychol. Rev. 89, 1982: mean ratings of the tones in a major and minor key.
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
_HARMONIC_DECAY = 0.6


def describe_tonality(mono: np.ndarray, sample_rate: int) -> dict[str, Any]:
    """key, mode, key_clarity, majorness and roughness of float32 [n] sound.

    Spectral peaks (60–2,100 Hz, 8,192-sample frames, interpolated) are tuned to the clip's own
    pitch and gathered by pitch class, each peak also speaking for the notes whose third or fifth
    harmonic it may be (Gómez, INFORMS J. Comput. 18, 2006). The key is the best correlation with
    the 24 profiles of Krumhansl & Kessler; key_clarity is that correlation (Lartillot et al.),
    majorness the best major less the best minor one. roughness: the dissonance of all pairs of
    peaks by Plomp & Levelt's curve in Sethares' form (J. Acoust. Soc. Am. 94, 1993), amplitude-
    weighted, over its greatest possible value; mean over frames.
    """
    frequency, amplitude = _spectral_peaks(mono, sample_rate)
    total = float(amplitude.sum())
    if total <= 1e-6:
        return {
            "key": "C", "mode": "major", "key_clarity": 0.0, "majorness": 0.0, "roughness": 0.0
        }  # fmt: skip
    fits = _key_fits(_chroma(frequency, amplitude))
    best = int(fits.argmax())
    return {
        "key": KEYS[best % 12],
        "mode": "major" if best < 12 else "minor",
        "key_clarity": float(np.clip(fits[best], 0.0, 1.0)),
        "majorness": float(np.clip(fits[:12].max() - fits[12:].max(), -1.0, 1.0)),
        "roughness": _roughness(frequency, amplitude),
    }


def _spectral_peaks(mono: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (Hz) and amplitudes [frames, peaks] of the strongest peaks; amplitude 0: none."""
    if len(mono) < _FRAME:
        mono = np.pad(mono, (0, _FRAME - len(mono)))
    frames = np.lib.stride_tricks.sliding_window_view(mono, _FRAME)[::_HOP]
    spectrum = np.abs(fft.rfft(frames * np.hanning(_FRAME).astype(np.float32), axis=1))
    low, high = (int(f * _FRAME / sample_rate) for f in _RANGE)
    left, here, right = (spectrum[:, low + i : high + i] for i in (-1, 0, 1))
    strength = np.where((here > left) & (here >= right), here, 0.0)
    # A peak under 1 % of its frame's strongest is a side lobe or noise.
    strength = np.where(strength > 0.01 * strength.max(axis=1, keepdims=True), strength, 0.0)
    place = np.argpartition(-strength, _PEAKS, axis=1)[:, :_PEAKS]
    amplitude = np.take_along_axis(strength, place, axis=1)
    tiny = np.float32(1e-9)
    a, b, c = (np.log(np.take_along_axis(s, place, axis=1) + tiny) for s in (left, here, right))
    bend = a - 2 * b + c
    shift = np.where(np.abs(bend) > 1e-6, 0.5 * (a - c) / np.where(bend == 0, 1, bend), 0.0)
    frequency = (place + low + np.clip(shift, -0.5, 0.5)) * sample_rate / _FRAME
    return frequency, amplitude


def _chroma(frequency: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    """Strength of the 12 pitch classes, C first."""
    pitch = 12 * np.log2(frequency / _C1)
    weight = np.sqrt(amplitude)  # loud notes do not drown the others
    # The clip's tuning: circular mean of how far peaks lie from equal temperament at 440 Hz.
    turn = np.exp(2j * np.pi * pitch)
    tuning = np.angle((turn * weight).sum()) / (2 * np.pi)
    pitch = pitch - tuning
    nearest = np.round(pitch)
    weight = weight * np.cos(np.pi * (pitch - nearest)) ** 2
    classes = nearest.astype(np.int64) % 12
    chroma = np.bincount(classes.reshape(-1), weights=weight.reshape(-1), minlength=12)
    third, fifth = _HARMONIC_DECAY**2, _HARMONIC_DECAY**4
    return chroma + third * np.roll(chroma, -7) + fifth * np.roll(chroma, -4)


def _key_fits(chroma: np.ndarray) -> np.ndarray:
    """Correlation with the profiles of C major … B major, C minor … B minor: [24]."""
    centred = chroma - chroma.mean()
    return _profiles() @ (centred / max(float(np.linalg.norm(centred)), 1e-9))


@cache
def _profiles() -> np.ndarray:
    rows = np.array([np.roll(p, k) for p in (_MAJOR, _MINOR) for k in range(12)])
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _roughness(frequency: np.ndarray, amplitude: np.ndarray) -> float:
    first, second = np.triu_indices(frequency.shape[1], 1)
    f, g = frequency[:, first], frequency[:, second]
    scale = 0.24 / (0.0207 * np.minimum(f, g) + 18.96)
    apart = scale * np.abs(f - g)
    dissonance = np.exp(-3.51 * apart) - np.exp(-5.75 * apart)
    weight = amplitude[:, first] * amplitude[:, second]
    greatest = 0.181  # of the curve
    return float((dissonance * weight).sum() / max(float(weight.sum()), 1e-12) / greatest)
