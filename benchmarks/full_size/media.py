"""Small synthetic media by the hundred thousand: clips joined of encoded notes, painted patches.

An MP3 is a row of frames, and one that begins a stream needs nothing before it. So a bank of
single notes is encoded once, and a clip is a melody of them, joined as bytes: a decoder has all
its work to do, an encoder none. Every clip and every picture is drawn for a point of the affect
plane, and the same number gives the same bytes.
"""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import soundfile
from PIL import Image

RATE = 11_025
SAMPLES_A_FRAME = 576  # of MPEG-2.5, layer III
_LOWEST = 110.0  # Hz
_PITCHES = 36
_TIMBRES = ((1.0,), (1.0, 0.5, 0.33, 0.25), (1.0, 0.0, 0.6, 0.0, 0.4), (0.5, 0.8, 1.0, 0.9, 0.8))
_LENGTHS = (0.16, 0.21, 0.27, 0.36, 0.48)  # s
_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)


def mood(side: str, number: int) -> tuple[np.random.Generator, float, float]:
    """The generator of one item, and its valence and arousal, both in -1..1."""
    rng = np.random.default_rng([len(side), number])
    valence, arousal = rng.uniform(-1.0, 1.0, 2)
    return rng, float(valence), float(arousal)


def clip(number: int, seconds: float = 10.1) -> bytes:
    """A mono MP3 at 8 kbit/s, `seconds` long or a note longer: about 1 kB a second."""
    rng, valence, arousal = mood("music", number)
    tonic = int(rng.integers(12))
    scale = np.array(_MAJOR if valence > 0 else _MINOR)
    tempo = (1.0 - arousal) * (len(_LENGTHS) - 1) / 2
    frames: list[bytes] = []
    left = round(seconds * RATE / SAMPLES_A_FRAME)
    while left > 0:
        degree = int(np.clip(rng.normal(6 + 5 * valence, 4), 0, 13))
        pitch = tonic + int(scale[degree % 7]) + 12 * (degree // 7)
        timbre = int(np.clip(rng.normal(1.5 + 1.5 * arousal, 1.0), 0, len(_TIMBRES) - 0.01))
        length = int(np.clip(round(rng.normal(tempo, 0.8)), 0, len(_LENGTHS) - 1))
        note = _note(pitch, timbre, length)
        frames += note
        left -= len(note)
    return b"".join(frames)


def picture(number: int) -> bytes:
    """A JPEG of 128 to 160 pixels a side, about 4 kB: soft patches, with grain when aroused."""
    rng, valence, arousal = mood("pictures", number)
    width, height = (int(rng.integers(128, 161)), 128)[:: int(rng.choice((1, -1)))]
    patches = rng.integers(0, 256, (7, 8, 3)).astype(np.float32)
    grey = patches.mean(axis=2, keepdims=True)
    patches = grey + (0.2 + 0.4 * (arousal + 1)) * (patches - grey)
    patches = 128 + 0.7 * (patches - 128) + 50 * valence + (15 * valence, 0, -15 * valence)
    small = Image.fromarray(np.clip(patches, 0, 255).astype(np.uint8))
    canvas = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    top, left = rng.integers(0, 64, 2)
    grain = _grain()[top : top + height, left : left + width] * round(2 * (arousal + 1)) // 4
    out = io.BytesIO()
    Image.fromarray(np.clip(canvas + grain, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=70)
    return out.getvalue()


@cache
def _grain() -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 12, (224, 224, 1))
    return noise.astype(np.int16)


@cache
def _note(pitch: int, timbre: int, length: int) -> tuple[bytes, ...]:
    """One note as the frames of a stream of its own."""
    time = np.arange(round(_LENGTHS[length] * RATE)) / RATE
    frequency = _LOWEST * 2.0 ** ((pitch % _PITCHES) / 12)
    wave = sum(
        strength * np.sin(2 * np.pi * frequency * harmonic * time)
        for harmonic, strength in enumerate(_TIMBRES[timbre], 1)
        if frequency * harmonic < RATE / 2
    )
    wave = 0.3 * wave * np.minimum(1.0, time / 0.005) * np.exp(-3 * time / _LENGTHS[length])
    out = io.BytesIO()
    soundfile.write(
        out, wave.astype(np.float32), RATE, format="MP3",
        bitrate_mode="CONSTANT", compression_level=0.99,
    )  # fmt: skip
    return tuple(frame for frame in frames_of(out.getvalue()) if b"Info" not in frame)


# Of MPEG-2 and 2.5, layer III.
_KILOBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = {0: (11_025, 12_000, 8_000), 2: (22_050, 24_000, 16_000)}


def frames_of(data: bytes) -> list[bytes]:
    """The frames of an MPEG-2 or MPEG-2.5 layer III stream; ValueError where there is none."""
    frames, at = [], 0
    while at + 4 <= len(data):
        head = int.from_bytes(data[at : at + 4], "big")
        version, layer = head >> 19 & 3, head >> 17 & 3
        if head >> 21 != 0x7FF or version not in _RATES or layer != 1:
            raise ValueError(f"no frame of MPEG-2 layer III begins at byte {at}")
        rate = _RATES[version][head >> 10 & 3]
        size = 72 * 1000 * _KILOBITS[head >> 12 & 15] // rate + (head >> 9 & 1)
        frames.append(data[at : at + size])
        at += size
    return frames
