"""Ears: waveforms to rows of numbers that sets and pairs of clips are compared by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from artsound.training.generate import wav_bytes

# The scalar fields of a track's descriptors; frequencies and tempo on a logarithmic scale, as the
# ear has them.
SOUND_FIELDS = (
    "tempo", "pulse_clarity", "onset_rate", "key_clarity", "majorness", "loudness",
    "dynamic_range", "loudness_slope", "centroid", "rolloff", "bandwidth", "flatness",
    "zero_crossings", "percussiveness", "bass", "pitch_height", "roughness", "flux",
)  # fmt: skip
_LOGARITHMIC = frozenset({"tempo", "centroid", "rolloff", "bandwidth", "flatness"})
DESCRIBE_RATE = 22_050


@dataclass(frozen=True)
class Ear:
    """`hear` gives rows float32 [n, D] of waveforms float32 [samples] and their sample rate.

    Without it an ear's rows are the descriptors. `standardise` tells whether rows are measured in
    the spreads of the training tracks; rows of unit length are not.
    """

    name: str
    standardise: bool
    hear: Callable[[Sequence[np.ndarray], int], np.ndarray] | None = None


DESCRIPTORS = Ear("descriptors", standardise=True)


def clap_ear(checkpoint: Path, tower: str = "HTSAT-base", device: str = "auto") -> Ear:
    """LAION-CLAP's audio embeddings [n, 512]; BadData when its weights cannot be loaded."""
    from artsound.encoders.laion_clap import load_laion_clap
    from artsound.encoders.loading import choose_device

    clap = load_laion_clap(tower, str(checkpoint), "fp32", choose_device(device), 8)

    def hear(waves: Sequence[np.ndarray], rate: int) -> np.ndarray:
        return clap.audio([wav_bytes(wave, rate) for wave in waves])

    return Ear("clap", standardise=False, hear=hear)


def describe_wave(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Descriptors float32 [18] of a waveform float32 [n], as measured, in SOUND_FIELDS' order."""
    import soxr

    from artsound.encoders.affect import describe_audio

    if sample_rate != DESCRIBE_RATE:
        wave = soxr.resample(wave, sample_rate, DESCRIBE_RATE).astype(np.float32)
    values = describe_audio(wave, DESCRIBE_RATE)
    return np.array([values[name] for name in SOUND_FIELDS], dtype=np.float32)


def as_heard(rows: np.ndarray) -> np.ndarray:
    """Descriptors [n, 18] with frequencies and tempo on a logarithmic scale."""
    logarithmic = np.array([name in _LOGARITHMIC for name in SOUND_FIELDS])
    return np.where(logarithmic, np.log(np.maximum(rows, 1e-6)), rows)
