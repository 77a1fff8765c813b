"""What the composer hands to the synthesiser: parts made of notes, and how to mix them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Note(NamedTuple):
    """One sound: when it starts and how long it is held (s), its MIDI pitch, velocity 0..1.

    A drum note names its `hit` and has no pitch.
    """

    start: float
    seconds: float
    pitch: float
    velocity: float
    hit: str = ""


@dataclass(frozen=True, slots=True)
class ScorePart:
    """The notes of one player: a voice of voices.VOICES, or `drums`."""

    name: str
    voice: str
    notes: tuple[Note, ...]
    level: float
    reverb: float = 0.0
    """Share sent to the room, 0..1."""
    drive: bool = False
    """Whether it passes through the overdrive."""


@dataclass(frozen=True, slots=True)
class Score:
    """A composed clip. `brightness` −1..1, `cutoff` Hz, `loudness` dBFS RMS of the master."""

    parts: tuple[ScorePart, ...]
    seconds: float
    tempo: float
    tonic: int
    mode: str
    brightness: float
    cutoff: float
    loudness: float
    reverb_seconds: float
    drive: float
