"""Measured descriptors of a clip: pulse, loudness, timbre, key and roughness."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import scipy  # whose parts are imported on first use

# Tempo, pulse clarity and onset rate of a clip, from the energy in its mel bands.

_TEMPI = (40.0, 220.0)  # beats per minute
_PREFERRED = (120.0, 1.3)  # BPM, octaves
_COMPRESSION = 0.35  # of power, between loudness and amplitude, so that accents dominate
# Kick drums and basses mark the beat, snares and chords share in it, cymbals divide it.
_REGISTERS = ((0.0, 200.0, 1.5), (200.0, 1500.0, 1.0), (1500.0, 20_000.0, 0.3))  # Hz, Hz, weight
# Multiples of the beat whose autocorrelation supports a tempo (the beat and the bar of four most),
# and fractions of it that support a faster one.
_CARRIERS = ((1, 0.4), (2, 0.1), (3, 0.1), (4, 0.4))  # beats, weight
_HALF, _THIRD = 0.3, 0.35
_LEAST_ONSET = 0.25  # dB


def onset_strength(level: np.ndarray) -> np.ndarray:
    """Mean rise of band levels (dB) from one frame to the next: [frames], dB."""
    rise = np.maximum(level[1:] - level[:-1], 0.0).mean(axis=1)
    return np.concatenate([np.zeros(1, rise.dtype), rise])


def onset_rate(onset: np.ndarray, frame_rate: float) -> float:
    """Note onsets per second: peaks of the onset strength above its surroundings.

    After Bello et al., "A tutorial on onset detection in music signals", IEEE TSAP 13, 2005.
    """
    clear = _above_surroundings(onset, frame_rate)
    height = max(_LEAST_ONSET, 0.3 * float(np.percentile(clear, 98)))
    # Imported here, since it takes a third of a second (with scipy.stats).
    from scipy.signal import find_peaks

    peaks, _ = find_peaks(clear, height=height, distance=3)
    return len(peaks) * frame_rate / len(onset)


def pulse(bands: np.ndarray, centres: np.ndarray, frame_rate: float) -> tuple[float, float, float]:
    """Tempo and pace in beats per minute, and pulse clarity 0..1, of band powers [frames, bands].

    The tempo is the beat whose multiples carry the autocorrelation of the accents, less what its
    half and thirds carry, under a log-normal preference around 120 BPM (Parncutt, Music Percept.
    11, 1994; Ellis, J. New Music Res. 36, 2007). Pulse clarity is the autocorrelation at the beat
    (Lartillot et al., ISMIR 2008). The pace is the geometric mean of all tempi, weighted by what
    their multiples carry and by the same preference: where the beat might as well be counted twice
    as fast or half as fast, the tempo jumps by an octave and the pace hardly changes. ``centres``:
    the bands' frequencies, Hz. Without any accents: (120, 120, 0).
    """
    correlation = _autocorrelation(_accents(bands, centres, frame_rate))
    if not correlation.any():
        return _PREFERRED[0], _PREFERRED[0], 0.0
    tempi = np.geomspace(*_TEMPI, 600)
    lags = 60.0 * frame_rate / tempi

    def at(beats: float) -> np.ndarray:
        return np.interp(beats * lags, np.arange(len(correlation)), correlation)

    carried = np.sum([weight * at(beats) for beats, weight in _CARRIERS], axis=0)
    preference = np.exp(-0.5 * (np.log2(tempi / _PREFERRED[0]) / _PREFERRED[1]) ** 2)
    divided = _HALF * np.maximum(at(1 / 2), 0.0)
    divided += _THIRD * np.maximum(np.maximum(at(1 / 3), at(2 / 3)), 0.0)
    score = (carried - divided + 0.5) * preference
    support = np.maximum(carried, 0.0) * preference
    pace = 2.0 ** float((support * np.log2(tempi)).sum() / max(float(support.sum()), 1e-12))
    if not support.any():
        pace = _PREFERRED[0]
    best = int(score.argmax())
    # The fourth beat's lag is four times better resolved.
    near = np.abs(np.log2(tempi / tempi[best])) < 0.04
    best = int(np.where(near, at(1) + at(2) + at(4), -np.inf).argmax())
    return float(tempi[best]), pace, float(np.clip(at(1)[best], 0.0, 1.0))


def _accents(bands: np.ndarray, centres: np.ndarray, frame_rate: float) -> np.ndarray:
    # The power _COMPRESSION, in a fifth of the time of `**`; 1e-20: of silence.
    compressed = np.exp(_COMPRESSION * np.log(bands / max(float(bands.max()), 1e-20) + 1e-20))
    rise = np.maximum(compressed[1:] - compressed[:-1], 0.0)
    accents = np.zeros(len(bands))
    for low, high, weight in _REGISTERS:
        part = rise[:, (centres >= low) & (centres < high)].mean(axis=1)
        accents[1:] += weight * part / (part.std() + 1e-6)
    return scipy.ndimage.gaussian_filter1d(_above_surroundings(accents, frame_rate), 1.0)


def _above_surroundings(strength: np.ndarray, frame_rate: float) -> np.ndarray:
    """The excess over the mean within a second: slow changes of density are not onsets."""
    return np.maximum(strength - scipy.ndimage.uniform_filter1d(strength, round(frame_rate)), 0.0)


def _autocorrelation(strength: np.ndarray) -> np.ndarray:
    """Unbiased, 1 at lag 0; zero if few frames overlap, and for a constant."""
    centred = strength - strength.mean()
    n = len(centred)
    spectrum = scipy.fft.rfft(centred, scipy.fft.next_fast_len(2 * n, real=True))
    correlation = scipy.fft.irfft(np.abs(spectrum) ** 2)[:n]
    if correlation[0] <= 1e-9:
        return np.zeros(n)
    correlation = correlation / correlation[0] * (n / (n - np.arange(n)))
    correlation[int(0.75 * n) :] = 0.0
    return correlation


# Key, mode and roughness of a clip, from the peaks of long spectra.

KEYS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

_TONAL_DECIMATION = 4  # of the sample rate: 5,512.5 Hz, which has all of the range
_TONAL_FRAME = 2048
_TONAL_HOP = 1024
_TONAL_RANGE = (60.0, 2100.0)  # Hz
_PEAKS = 24  # strongest per frame
_C1 = 32.7032
# Krumhansl & Kessler, Psychol. Rev. 89, 1982: mean ratings of the tones in a major and minor key.
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
_HARMONIC_DECAY = 0.6


def describe_tonality(mono: np.ndarray, sample_rate: int) -> dict[str, Any]:
    """key, mode, key_clarity, majorness, clear_majorness and roughness of float32 [n] sound.

    Spectral peaks (60–2,100 Hz, frames of 0.37 s, interpolated) are tuned to the clip's own pitch
    and summed by pitch class; each peak also counts for the notes whose third or fifth harmonic it
    may be (Gómez, INFORMS J. Comput. 18, 2006). The key is the best correlation with the 24
    profiles of Krumhansl & Kessler; key_clarity is that correlation (Lartillot et al.), majorness
    the best major less the best minor one; clear_majorness is majorness × key_clarity², since
    without a clear key the mode says little. roughness: the dissonance of all pairs of peaks by
    Plomp & Levelt's curve in Sethares' form (J. Acoust. Soc. Am. 94, 1993), amplitude-weighted,
    over its greatest possible value; mean over frames.
    """
    frequency, amplitude = _spectral_peaks(mono, sample_rate)
    total = float(amplitude.sum())
    if total <= 1e-6:
        return {
            "key": "C", "mode": "major", "key_clarity": 0.0, "majorness": 0.0,
            "clear_majorness": 0.0, "roughness": 0.0,
        }  # fmt: skip
    fits = _key_fits(_chroma(frequency, amplitude))
    best = int(fits.argmax())
    clarity = float(np.clip(fits[best], 0.0, 1.0))
    majorness = float(np.clip(fits[:12].max() - fits[12:].max(), -1.0, 1.0))
    return {
        "key": KEYS[best % 12],
        "mode": "major" if best < 12 else "minor",
        "key_clarity": clarity,
        "majorness": majorness,
        "clear_majorness": majorness * clarity**2,
        "roughness": _roughness(frequency, amplitude),
    }


def _spectral_peaks(mono: np.ndarray, sample_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (Hz) and amplitudes [frames, peaks] of the strongest peaks; amplitude 0: none."""
    import soxr  # with what pictures do without

    # Fewer samples, and the same bins, for a quarter of the transform's time.
    sample_rate /= _TONAL_DECIMATION
    mono = soxr.resample(mono, _TONAL_DECIMATION, 1, quality="LQ")
    if len(mono) < _TONAL_FRAME:
        mono = np.pad(mono, (0, _TONAL_FRAME - len(mono)))
    frames = np.lib.stride_tricks.sliding_window_view(mono, _TONAL_FRAME)[::_TONAL_HOP]
    spectrum = scipy.fft.rfft(frames * np.hanning(_TONAL_FRAME).astype(np.float32), axis=1)
    low, high = (int(f * _TONAL_FRAME / sample_rate) for f in _TONAL_RANGE)
    spectrum = np.abs(spectrum[:, low - 1 : high + 1])
    left, here, right = (spectrum[:, i : high - low + i] for i in (0, 1, 2))
    strength = here * ((here > left) & (here >= right))
    # A peak under 1 % of its frame's strongest is a side lobe or noise.
    strength *= strength > np.float32(0.01) * strength.max(axis=1, keepdims=True)
    place = np.argsort(-strength, axis=1)[:, :_PEAKS]
    amplitude = np.take_along_axis(strength, place, axis=1)
    tiny = np.float32(1e-9)
    a, b, c = (np.log(np.take_along_axis(s, place, axis=1) + tiny) for s in (left, here, right))
    bend = a - 2 * b + c
    shift = np.where(np.abs(bend) > 1e-6, 0.5 * (a - c) / np.where(bend == 0, 1, bend), 0.0)
    frequency = (place + low + np.clip(shift, -0.5, 0.5)) * sample_rate / _TONAL_FRAME
    return frequency, amplitude


def _chroma(frequency: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    """Strength of the 12 pitch classes, C first."""
    pitch = 12 * np.log2(frequency / _C1)
    weight = np.sqrt(amplitude)  # so that loud notes do not dominate
    # The clip's tuning: circular mean of the peaks' distances from equal temperament at 440 Hz.
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


SAMPLE_RATE = 22_050

_FRAME = 2048
_HOP = 512
_BLOCK = 64  # frames transformed at once
_TIMBRE_STEP = 4  # frames: timbre is measured where they do not overlap, which takes a quarter
_BANDS = 48
_GROUP = 32  # bins, whose energies are summed at once
_SHORTEST = _FRAME + 7 * _HOP  # 0.26 s; shorter clips are padded
_RATE = SAMPLE_RATE / _HOP  # frames per second
_FLOOR = 1e-10  # power, -100 dBFS
_RANGE = 80.0  # dB below the clip's loudest band in which changes still count
_BASS = 150.0


def describe_audio(mono: np.ndarray, sample_rate: int = SAMPLE_RATE) -> dict[str, Any]:
    """Measure float32 [n] sound at 22,050 Hz: the fields of schemas/track_descriptors.json.

    One spectrogram (2,048-sample Hann frames, hop 512) is used for all but the tonal measures:

    - tempo, pace, pulse_clarity, onset_rate: see `pulse` and `onset_rate`.
    - key, mode, key_clarity, majorness, clear_majorness, roughness: see `describe_tonality`.
    - loudness: RMS, dBFS; dynamic_range: 95 % less 10 % of the level in 0.4 s windows;
      loudness_slope: the rise of that level's straight-line fit over the clip, dB.
    - centroid, rolloff (85 %), bandwidth, flatness, zero_crossings: the usual timbre measures
      (Peeters, "A large set of audio features", IRCAM 2004), means over every fourth
      frame that is not silent.
    - percussiveness: percussive share of the energy by median filtering (Fitzgerald, DAFx 2010),
      in mel bands.
    - bass: share of energy under 150 Hz; pitch_height: energy-weighted mean of log2(f / C1), each
      octave with equal weight; flux: mean rise per band and frame, dB (the onset strength's mean).

    Silence and the shortest clips give finite values.

    Raises:
        ValueError: Another shape or rate.
    """
    if mono.ndim != 1 or sample_rate != SAMPLE_RATE:
        raise ValueError(f"sound is measured as mono [n] at {SAMPLE_RATE} Hz")
    mono = mono.astype(np.float32, copy=False)
    if not np.isfinite(mono).all():
        mono = np.nan_to_num(mono)
    if len(mono) < _SHORTEST:
        mono = np.pad(mono, (0, _SHORTEST - len(mono)))
    bands, timbre = _spectrogram(mono)
    level = _decibels(bands, _RANGE)
    onset = onset_strength(level)
    tempo, pace, clarity = pulse(bands, _band_corners()[1:-1], _RATE)
    values: dict[str, Any] = {"tempo": tempo, "pace": pace, "pulse_clarity": clarity}
    values["onset_rate"] = onset_rate(onset, _RATE)
    values |= describe_tonality(mono, sample_rate)
    values |= _dynamics(mono)
    values |= timbre
    values["percussiveness"] = _percussiveness(bands)
    values["flux"] = float(onset.mean())
    return values


def _spectrogram(mono: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """The power in mel bands, float32 [frames, bands], and the measures of timbre.

    In blocks of frames that fit into a processor's cache, and with the frames side by side: then a
    band is the sum of a few long rows.
    """
    frames = np.lib.stride_tricks.sliding_window_view(mono, _FRAME)[::_HOP].T
    window = np.hanning(_FRAME).astype(np.float32)[:, None]
    count = frames.shape[1]
    bands = np.empty((_BANDS, count), np.float32)
    some = np.empty((_FRAME // 2 + 1, len(range(0, count, _TIMBRE_STEP))), np.float32)
    spectrum = np.zeros(len(some))
    for start in range(0, count, _BLOCK):
        block = scipy.fft.rfft(frames[:, start : start + _BLOCK] * window, axis=0)
        power = np.square(block.real)
        power += np.square(block.imag)
        bands[:, start : start + _BLOCK] = _mel_bands() @ power
        spectrum += power @ np.ones(power.shape[1], np.float32)
        place = start // _TIMBRE_STEP
        some[:, place : place + _BLOCK // _TIMBRE_STEP] = power[:, ::_TIMBRE_STEP]
    return np.ascontiguousarray(bands.T), _timbre(mono, spectrum, _frame_measures(some))


@cache
def _band_corners() -> np.ndarray:
    """Corners of the bands from 30 Hz to 10 kHz, even on the mel scale: [bands + 2], Hz."""
    low, high = 2595 * np.log10(1 + np.array([30.0, 10_000.0]) / 700)
    return 700 * (10 ** (np.linspace(low, high, _BANDS + 2) / 2595) - 1)


@cache
def _mel_bands() -> Any:
    """Triangles of equal area over the band corners: a sparse matrix, float32 [bands, bins]."""
    corners = _band_corners()[:, None]
    frequency = np.arange(_FRAME // 2 + 1) * SAMPLE_RATE / _FRAME
    rise = (frequency - corners[:-2]) / (corners[1:-1] - corners[:-2])
    fall = (corners[2:] - frequency) / (corners[2:] - corners[1:-1])
    weights = np.maximum(0.0, np.minimum(rise, fall))
    area = np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    return scipy.sparse.csr_array((weights / area).astype(np.float32))


def _decibels(power: np.ndarray, span: float) -> np.ndarray:
    """Levels in dB, at most ``span`` below the loudest."""
    level = 10.0 * np.log10(np.maximum(power, _FLOOR))
    return np.maximum(level, level.max() - span)


def _dynamics(mono: np.ndarray) -> dict[str, float]:
    blocks = np.pad(mono, (0, -len(mono) % _HOP)).reshape(-1, _HOP)
    energy = np.einsum("ij,ij->i", blocks, blocks) / _HOP
    width = min(len(energy), round(0.4 * _RATE))  # the "momentary" window of EBU R 128
    windows = np.convolve(energy, np.full(width, 1.0 / width), mode="valid")
    level = _decibels(windows, _RANGE)
    low, high = np.percentile(level, (10, 95))
    time = np.linspace(-0.5, 0.5, len(level))
    slope = (time * level).sum() / (time**2).sum() if len(level) > 1 else 0.0
    loudness = 10.0 * np.log10(float(energy.sum()) * _HOP / len(mono) + 1e-12)
    return {
        "loudness": float(loudness),
        "dynamic_range": float(high - low),
        "loudness_slope": float(slope),
    }


def _frequencies() -> np.ndarray:
    """Of the bins, Hz: float32 [bins]."""
    return (np.arange(_FRAME // 2 + 1) * SAMPLE_RATE / _FRAME).astype(np.float32)


def _frame_measures(power: np.ndarray) -> np.ndarray:
    """Energy, centroid, spread, rolloff and flatness of the frames [bins, frames]: [5, frames]."""
    weight, first, second = _moments() @ np.sqrt(power)
    weight = np.maximum(weight, np.float32(_FLOOR))
    centroid = first / weight
    spread = np.maximum(second / weight - centroid**2, 0.0)
    running = np.cumsum(np.add.reduceat(power, np.arange(0, len(power), _GROUP)), axis=0)
    energy = running[-1]
    rolloff = _frequencies()[_bins_below(power, running, np.float32(0.85) * energy)]
    audible = power[5:930] + np.float32(_FLOOR)  # 50 Hz to 10 kHz: most encoders' cut-off
    flatness = np.exp(np.log(audible).mean(axis=0)) / audible.mean(axis=0)
    return np.stack([energy, centroid, spread, rolloff, flatness])


@cache
def _moments() -> np.ndarray:
    """float32 [3, bins]: its product with a spectrum is the spectrum's sum, and those weighted by
    the frequency and by its square.
    """
    frequency = _frequencies()
    return np.stack([np.ones_like(frequency), frequency, frequency**2])


def _bins_below(power: np.ndarray, running: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """How many bins of each frame of [bins, frames] have less energy than `goal` [frames] together.

    `running` [groups, frames] is the energy up to the end of each group of bins.
    """
    group = (running < goal).sum(axis=0)
    before = np.take_along_axis(np.pad(running, ((1, 0), (0, 0))), group[None], axis=0)
    bins = np.minimum(group * _GROUP + np.arange(_GROUP)[:, None], len(power) - 1)
    within = before + np.cumsum(np.take_along_axis(power, bins, axis=0), axis=0)
    below = (within < goal).sum(axis=0)
    return np.minimum(group * _GROUP + below, len(power) - 1)


def _timbre(mono: np.ndarray, spectrum: np.ndarray, measures: np.ndarray) -> dict[str, float]:
    """Means over the frames that are not silent, of `_frame_measures` and the summed spectrum."""
    energy = measures[0]
    sounding = energy > energy.max() * 1e-6
    if not sounding.any() or energy.max() <= _FLOOR:
        names = ("centroid", "rolloff", "bandwidth", "flatness", "bass", "pitch_height")
        return dict.fromkeys((*names, "zero_crossings"), 0.0)
    _, centroid, spread, rolloff, flatness = measures[:, sounding]
    frequency = _frequencies()
    pitched = slice(3, None)  # from 32 Hz, C1
    height = np.log2(frequency[pitched] / 32.703)
    per_octave = spectrum[pitched] * frequency[pitched] ** 0.5
    below = np.signbit(mono)
    crossings = np.count_nonzero(below[1:] != below[:-1])
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
    harmonic = _median(amplitude, 17)
    percussive = _median(np.ascontiguousarray(amplitude.T), 9).T
    share = percussive**2 / np.maximum(percussive**2 + harmonic**2, _FLOOR)
    power = amplitude**2
    return float(np.clip((share * power).sum() / max(float(power.sum()), _FLOOR), 0, 1))


def _median(values: np.ndarray, width: int) -> np.ndarray:
    """The median of `width` neighbours along the first axis, as `ndimage.median_filter`'s.

    All places at once, by a sorting network of minima and maxima: six times as fast.
    """
    half = width // 2
    padded = np.pad(values, ((half, half), (0, 0)), mode="symmetric")
    rows = [padded[shift : shift + len(values)] for shift in range(width)]
    for low, high in _median_network(width):
        rows[low], rows[high] = np.minimum(rows[low], rows[high]), np.maximum(rows[low], rows[high])
    return rows[half]


@cache
def _median_network(width: int) -> tuple[tuple[int, int], ...]:
    """The comparators of Batcher's merge exchange that the middle of `width` values needs.

    Knuth, The Art of Computer Programming 3, algorithm 5.2.2M.
    """
    comparators: list[tuple[int, int]] = []
    top = 1 << ((width - 1).bit_length() - 1)
    step = top
    while step:
        part, offset, distance = top, 0, step
        while True:
            places = (at for at in range(width - distance) if at & step == offset)
            comparators += [(at, at + distance) for at in places]
            if part == step:
                break
            distance, part, offset = part - step, part // 2, step
        step //= 2
    needed, used = {width // 2}, []
    for low, high in reversed(comparators):
        if low in needed or high in needed:
            needed |= {low, high}
            used.append((low, high))
    return tuple(reversed(used))
