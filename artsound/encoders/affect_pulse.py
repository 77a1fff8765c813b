"""Tempo, pulse clarity and onset rate of a clip, from the energy in its mel bands."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage

_TEMPI = (40.0, 220.0)  # beats per minute
_PREFERRED = (120.0, 1.3)  # BPM, octaves
_COMPRESSION = 0.35  # of power, between loudness and amplitude: accents matter, ornaments less
# Kick drums and basses mark the beat, snares and chords share in it, cymbals divide it.
_REGISTERS = ((0.0, 200.0, 1.5), (200.0, 1500.0, 1.0), (1500.0, 20_000.0, 0.3))  # Hz, Hz, weight
# Beats whose return speaks for a tempo (the bar of four most, next to the beat itself), and parts
# of a beat whose return speaks for a faster one.
_CARRIERS = ((1, 0.4), (2, 0.1), (3, 0.1), (4, 0.4))  # beats, weight
_HALF, _THIRD = 0.3, 0.35
_LEAST_ONSET = 0.25  # dB


def onset_strength(level: np.ndarray) -> np.ndarray:
    """Mean rise of band levels (dB) from one frame to the next: [frames], dB."""
    rise = np.maximum(level[1:] - level[:-1], 0.0).mean(axis=1)
    return np.concatenate([np.zeros(1, rise.dtype), rise])


def onset_rate(onset: np.ndarray, frame_rate: float) -> float:
    """Note onsets per second: peaks of the onset strength above what surrounds them.

    After Bello et al., "A tutorial on onset detection in music signals", IEEE TSAP 13, 2005.
    """
    clear = _above_surroundings(onset, frame_rate)
    height = max(_LEAST_ONSET, 0.3 * float(np.percentile(clear, 98)))
    # Here, because importing it (and scipy.stats with it) takes a third of a second.
    from scipy.signal import find_peaks

    peaks, _ = find_peaks(clear, height=height, distance=3)
    return len(peaks) * frame_rate / len(onset)


def pulse(bands: np.ndarray, centres: np.ndarray, frame_rate: float) -> tuple[float, float]:
    """(tempo in beats per minute, pulse clarity 0..1) from band powers [frames, bands].

    The tempo is the beat whose multiples carry the autocorrelation of the accents, less what its
    half and thirds carry, under a log-normal preference around 120 BPM (Parncutt, Music Percept.
    11, 1994; Ellis, J. New Music Res. 36, 2007). Pulse clarity is the autocorrelation at the beat
    (Lartillot et al., ISMIR 2008). ``centres``: the bands' frequencies, Hz. Without any accents:
    (120, 0).
    """
    correlation = _autocorrelation(_accents(bands, centres, frame_rate))
    if not correlation.any():
        return _PREFERRED[0], 0.0
    tempi = np.geomspace(*_TEMPI, 600)
    lags = 60.0 * frame_rate / tempi

    def at(beats: float) -> np.ndarray:
        return np.interp(beats * lags, np.arange(len(correlation)), correlation)

    carried = np.sum([weight * at(beats) for beats, weight in _CARRIERS], axis=0)
    preference = np.exp(-0.5 * (np.log2(tempi / _PREFERRED[0]) / _PREFERRED[1]) ** 2)
    divided = _HALF * np.maximum(at(1 / 2), 0.0)
    divided += _THIRD * np.maximum(np.maximum(at(1 / 3), at(2 / 3)), 0.0)
    score = (carried - divided + 0.5) * preference
    best = int(score.argmax())
    # The fourth beat's lag is four times better resolved.
    near = np.abs(np.log2(tempi / tempi[best])) < 0.04
    best = int(np.where(near, at(1) + at(2) + at(4), -np.inf).argmax())
    return float(tempi[best]), float(np.clip(at(1)[best], 0.0, 1.0))


def _accents(bands: np.ndarray, centres: np.ndarray, frame_rate: float) -> np.ndarray:
    compressed = (bands / max(float(bands.max()), 1e-20)) ** _COMPRESSION
    rise = np.maximum(compressed[1:] - compressed[:-1], 0.0)
    accents = np.zeros(len(bands))
    for low, high, weight in _REGISTERS:
        part = rise[:, (centres >= low) & (centres < high)].mean(axis=1)
        accents[1:] += weight * part / (part.std() + 1e-6)
    return ndimage.gaussian_filter1d(_above_surroundings(accents, frame_rate), 1.0)


def _above_surroundings(strength: np.ndarray, frame_rate: float) -> np.ndarray:
    """What exceeds the mean of the second around: slow changes of density are no onsets."""
    return np.maximum(strength - ndimage.uniform_filter1d(strength, round(frame_rate)), 0.0)


def _autocorrelation(strength: np.ndarray) -> np.ndarray:
    """Unbiased, 1 at lag 0; zero where too few frames overlap to tell, and of a constant."""
    centred = strength - strength.mean()
    n = len(centred)
    spectrum = fft.rfft(centred, fft.next_fast_len(2 * n, real=True))
    correlation = fft.irfft(np.abs(spectrum) ** 2)[:n]
    if correlation[0] <= 1e-9:
        return np.zeros(n)
    correlation = correlation / correlation[0] * (n / (n - np.arange(n)))
    correlation[int(0.75 * n) :] = 0.0
    return correlation
