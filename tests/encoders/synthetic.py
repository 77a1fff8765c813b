"""Clips whose tempo and key are known, made by code."""

from __future__ import annotations

import numpy as np

RATE = 22_050

PATTERNS: dict[str, list[tuple[str, float]]] = {
    "clicks": [("click", beat) for beat in range(4)],
    "rock": [("kick", 0), ("snare", 1), ("kick", 2), ("snare", 3)]
    + [("hat", eighth / 2) for eighth in range(8)],
    "house": [("kick", beat) for beat in range(4)]
    + [("hat", beat + 0.5) for beat in range(4)]
    + [("snare", 1), ("snare", 3)],
}


def drums(pattern: str, tempo: float, seconds: float = 16.0) -> np.ndarray:
    """A four-beat pattern over and over, float32 [n]."""
    rng = np.random.default_rng(0)
    bar = 4 * 60.0 / tempo
    sound = np.zeros(int((seconds + bar + 1) * RATE), np.float32)
    for start in np.arange(0.0, seconds, bar):
        for kind, beat in PATTERNS[pattern]:
            at = int((start + beat * 60.0 / tempo) * RATE)
            stroke = _stroke(kind, rng)
            sound[at : at + len(stroke)] += stroke
    return sound[: int(seconds * RATE)]


def _stroke(kind: str, rng: np.random.Generator) -> np.ndarray:
    t = np.arange(RATE // 4) / RATE
    noise = rng.standard_normal(len(t))
    made = {
        "click": np.sin(2 * np.pi * 1000 * t) * np.exp(-200 * t),
        "kick": np.sin(2 * np.pi * (50 * t + 3 * (1 - np.exp(-40 * t)))) * np.exp(-12 * t),
        "snare": 0.6 * noise * np.exp(-25 * t) + 0.3 * np.sin(1200 * t) * np.exp(-20 * t),
        "hat": 0.25 * np.diff(noise, append=0.0) * np.exp(-80 * t),
    }
    return made[kind].astype(np.float32)


def cadence(tonic: int, mode: str, detune: float = 0.0) -> np.ndarray:
    """I–IV–V–I twice in ``tonic`` (0 = C) major or minor, tones with eight harmonics."""
    first, fourth = ((0, 4, 7), (5, 9, 12)) if mode == "major" else ((0, 3, 7), (5, 8, 12))
    chords = [first, fourth, (7, 11, 14), first] * 2
    t = np.arange(int(0.8 * RATE)) / RATE
    sound = []
    for chord in chords:
        pitches = [48 + tonic + step + detune for step in chord]
        pitches.append(pitches[0] - 12)
        tones = [
            np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * h * t) / h
            for pitch in pitches
            for h in range(1, 9)
        ]
        sound.append(0.1 * np.sum(tones, axis=0) * np.exp(-1.5 * t))
    return np.concatenate(sound).astype(np.float32)
