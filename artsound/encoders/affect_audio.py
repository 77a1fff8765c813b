"""What can be measured of a clip's pulse, loudness and timbre; its harmony is in affect_tonal."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from scipy import fft, ndimage

from artsound.encoders.affect_pulse import onset_rate, onset_strength, pulse
from artsound.encoders.affect_tonal import describe_tonality

SAMPLE_RATE = 22_050

_FRAME = 2048
_HOP = 512
_SHORTEST = _FRAME + 7 * _HOP  # 0.26 s: what is shorter is padded
_RATE = SAMPLE_RATE / _HOP  # frames per second
_FLOOR = 1e-10  # power, -100 dBFS
_RANGE = 80.0  # dB below the clip's loudest band in which changes still count
_BASS = 150.0


def describe_audio(mono: np.ndarray, sample_rate: int = SAMPLE_RATE) -> dict[str, Any]:
    """The fields of schemas/track_descriptors.json, but the id, of float32 [n] sound at 22,050 Hz.

    One spectrogram (2,048-sample Hann frames, hop 512) serves all but the tonal measures:

    - tempo, pulse_clarity, onset_rate: see affect_pulse.
    - key, mode, key_clarity, majorness, roughness: see affect_tonal.
    - loudness: RMS, dBFS; dynamic_range: 95 % less 10 % of the level in 0.4 s windows;
      loudness_slope: the rise of that level's straight-line fit over the clip, dB.
    - centroid, rolloff (85 %), bandwidth, flatness, zero_crossings: the usual timbre measures
      (Peeters, "A large set of audio features", IRCAM 2004), means over frames that sound.
    - percussiveness: percussive share of the energy by median filtering (Fitzgerald, DAFx 2010),
      in mel bands.
    - bass: share of energy under 150 Hz; pitch_height: energy-weighted mean of log2(f / C1), each
      octave counted alike; flux: mean rise per band and frame, dB (the onset strength's mean).

    Silence and the shortest clips give finite values. Raises ValueError for another shape or rate.
    """
    if mono.ndim != 1 or sample_rate != SAMPLE_RATE:
        raise ValueError(f"sound is measured as mono [n] at {SAMPLE_RATE} Hz")
    mono = np.nan_to_num(mono.astype(np.float32, copy=False))
    if len(mono) < _SHORTEST:
        mono = np.pad(mono, (0, _SHORTEST - len(mono)))
    power = _power_spectrogram(mono)
    bands = power @ _mel_bands()
    level = _decibels(bands, _RANGE)
    onset = onset_strength(level)
    tempo, clarity = pulse(bands, _band_corners()[1:-1], _RATE)
    values: dict[str, Any] = {"tempo": tempo, "pulse_clarity": clarity}
    values["onset_rate"] = onset_rate(onset, _RATE)
    values |= describe_tonality(mono, sample_rate)
    values |= _dynamics(mono)
    values |= _timbre(mono, power)
    values["percussiveness"] = _percussiveness(bands)
    values["flux"] = float(onset.mean())
    return values


def _power_spectrogram(mono: np.ndarray) -> np.ndarray:
    """float32 [frames, bins]."""
    frames = np.lib.stride_tricks.sliding_window_view(mono, _FRAME)[::_HOP]
    spectrum = fft.rfft(frames * np.hanning(_FRAME).astype(np.float32), axis=1)
    return spectrum.real**2 + spectrum.imag**2


@cache
def _band_corners() -> np.ndarray:
    """Corners of 48 bands from 30 Hz to 10 kHz, even on the mel scale: [50], Hz."""
    low, high = 2595 * np.log10(1 + np.array([30.0, 10_000.0]) / 700)
    return 700 * (10 ** (np.linspace(low, high, 50) / 2595) - 1)


@cache
def _mel_bands() -> np.ndarray:
    """Triangles of equal area over the band corners: float32 [bins, bands]."""
    corners = _band_corners()
    frequency = np.arange(_FRAME // 2 + 1)[:, None] * SAMPLE_RATE / _FRAME
    rise = (frequency - corners[:-2]) / (corners[1:-1] - corners[:-2])
    fall = (corners[2:] - frequency) / (corners[2:] - corners[1:-1])
    weights = np.maximum(0.0, np.minimum(rise, fall))
    return (weights / np.maximum(weights.sum(axis=0), 1e-9)).astype(np.float32)


def _decibels(power: np.ndarray, span: float) -> np.ndarray:
    """Levels in dB, nothing deeper than ``span`` under the loudest."""
    level = 10.0 * np.log10(np.maximum(power, _FLOOR))
    return np.maximum(level, level.max() - span)


def _dynamics(mono: np.ndarray) -> dict[str, float]:
    energy = np.add.reduceat(mono**2, np.arange(0, len(mono), _HOP)) / _HOP
    width = min(len(energy), round(0.4 * _RATE))  # the "momentary" window of EBU R 128
    windows = np.convolve(energy, np.full(width, 1.0 / width), mode="valid")
    level = _decibels(windows, _RANGE)
    low, high = np.percentile(level, (10, 95))
    time = np.linspace(-0.5, 0.5, len(level))
    slope = (time * level).sum() / (time**2).sum() if len(level) > 1 else 0.0
    loudness = 10.0 * np.log10(float((mono**2).mean()) + 1e-12)
    return {
        "loudness": float(loudness),
        "dynamic_range": float(high - low),
        "loudness_slope": float(slope),
    }


def _timbre(mono: np.ndarray, power: np.ndarray) -> dict[str, float]:
    frequency = (np.arange(power.shape[1]) * SAMPLE_RATE / _FRAME).astype(np.float32)
    energy = power.sum(axis=1)
    sounding = power[energy > energy.max() * 1e-6]
    if not len(sounding) or energy.max() <= _FLOOR:
        names = ("centroid", "rolloff", "bandwidth", "flatness", "bass", "pitch_height")
        return dict.fromkeys((*names, "zero_crossings"), 0.0)
    amplitude = np.sqrt(sounding)
    weight = amplitude.sum(axis=1)
    centroid = amplitude @ frequency / weight
    spread = np.maximum(amplitude @ frequency**2 / weight - centroid**2, 0.0)
    running = np.cumsum(sounding, axis=1)
    rolloff = frequency[(running < 0.85 * running[:, -1:]).sum(axis=1)]
    audible = sounding[:, 5:930] + _FLOOR  # 50 Hz to 10 kHz, below most encoders' cut-off
    flatness = np.exp(np.log(audible).mean(axis=1)) / audible.mean(axis=1)
    spectrum = power.sum(axis=0, dtype=np.float64)
    pitched = slice(3, None)  # from 32 Hz, C1
    height = np.log2(frequency[pitched] / 32.703)
    per_octave = spectrum[pitched] * frequency[pitched] ** 0.5
    crossings = np.count_nonzero(np.signbit(mono[1:]) != np.signbit(mono[:-1]))
    return {
        "centroid": float(centroid.mean()),
        "rolloff": float(rolloff.mean()),
        "bandwidth": float(np.sqrt(spread).mean()),
        "flatness": float(np.clip(flatness.mean(), 0, 1)),
        "bass": float(spectrum[frequency < _BASS].sum() / spectrum.sum()),
        "pitch_height": float((height * per_octave).sum() / per_octave.sum()),
        "zero_crossings": crossings / len(mono),
    }


def _percussiveness(bands: np.ndarray) -> float:
    """Percussive over all energy, by medians along time (0.8 s) and over nine bands."""
    amplitude = np.sqrt(bands[: len(bands) // 2 * 2].reshape(len(bands) // 2, 2, -1).mean(axis=1))
    harmonic = ndimage.median_filter(amplitude, (17, 1))
    percussive = ndimage.median_filter(amplitude, (1, 9))
    share = percussive**2 / np.maximum(percussive**2 + harmonic**2, _FLOOR)
    power = amplitude**2
    return float(np.clip((share * power).sum() / max(float(power.sum()), _FLOOR), 0, 1))
