"""From a genre and a point of the affect plane to a score.

Arousal sets tempo, density of onsets, loudness, brightness, percussion, overdrive and articulation;
valence sets the mode, the consonance and the height of the pitches: the cues by which listeners
match music to colours (Palmer, Schloss, Xu & Prado-León, PNAS 2013, 10.1073/pnas.1212562110;
Whiteford, Schloss, Helwig & Palmer, i-Perception 2018, 10.1177/2041669518808535). The genre decides
the rest. Pitches are MIDI note numbers (60 = middle C, 12 to the octave).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from artsound.sample.genres import Comp, Genre
from artsound.sample.synth import Note, Score, ScorePart

_ENDING, _SHORTEST = 2.2, 12.0  # seconds: of the last chord, of a piece at least
Chord = tuple[int, ...]

# --- chords and scales -----------------------------------------------------------------

_DEGREES = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
# What a suffix adds to the triad, and the suffixes that replace its third and fifth as well.
_ADDED: dict[str, Chord] = {
    "": (), "6": (9,), "7": (10,), "maj7": (11,), "9": (10, 14), "maj9": (11, 14),
    "13": (10, 21), "add9": (14,), "7b9": (10, 13), "b2": (13,),
}  # fmt: skip
_ALTERED: dict[str, Chord] = {
    "o": (3, 6), "+": (4, 8), "sus2": (2, 7), "sus4": (5, 7), "ø7": (3, 6, 10),
}  # fmt: skip
SCALES: dict[str, Chord] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic": (0, 2, 3, 5, 7, 8, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
}


def chord(symbol: str) -> Chord:
    """Semitones above the tonic of a chord in roman numerals, its root first.

    Upper case is major, lower case minor; `b` or `#` before the numeral moves the root; a suffix
    such as `7`, `maj9`, `sus4` or `o` (diminished) adds or alters notes.
    """
    match = re.fullmatch(r"(b|#)?([iv]+|[IV]+)(.*)", symbol)
    if match is None:
        raise ValueError(f"{symbol!r} is not a chord in roman numerals")
    accidental, numeral, suffix = match.groups()
    root = _DEGREES[numeral.lower()] + {"b": -1, "#": 1, None: 0}[accidental]
    triad = (4 if numeral.isupper() else 3, 7)
    above = _ALTERED[suffix] if suffix in _ALTERED else (*triad, *_ADDED[suffix])
    return (root, *(root + note for note in above))


def scale_over(scale: Chord, notes: Chord) -> Chord:
    """The scale's pitch classes bent to fit a chord: a borrowed note replaces its neighbours.

    So the raised seventh of a dominant in minor never clashes with a natural seventh in the melody.
    """
    wanted, own = {note % 12 for note in notes}, {note % 12 for note in scale}
    neighbours = {(note + step) % 12 for note in wanted - own for step in (-1, 1)} - wanted
    return tuple(sorted((own | wanted) - neighbours))


def voicing(notes: Chord, centre: float, previous: Chord = ()) -> Chord:
    """A close-position chord near `centre`, as near to the previous chord as it can be.

    Every inversion within an octave of the centre is tried. The cost is the sum of the distances
    that the voices travel plus a pull towards the centre, so common tones stay where they are.
    """
    classes = list(dict.fromkeys(note % 12 for note in notes))
    if len(classes) > 4:
        classes = classes[1:]  # the bass has the root; five notes in one octave are a cluster

    def cost(voiced: Chord) -> tuple[float, Chord]:
        pull = 0.6 * abs(sum(voiced) / len(voiced) - centre)
        # Both ways round, so that chords of different sizes compare fairly.
        travel = sum(min(abs(a - b) for b in previous) for a in voiced if previous)
        travel += sum(min(abs(a - b) for b in voiced) for a in previous)
        return pull + travel, voiced

    starts = [n for n in range(round(centre) - 14, round(centre) + 8) if n % 12 in classes]
    return min((tuple(sorted(n + (c - n) % 12 for c in classes)) for n in starts), key=cost)


# --- the piece -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Plan:
    """What all parts of one clip share: `level` 0 calm, 1 middling, 2 wild; `steps` in a bar, and
    `step` the seconds of one; `chords` one for each bar, and the last chord."""

    genre: Genre
    level: int
    bars: int
    steps: int
    step: float
    tonic: int
    chords: list[Chord]
    valence: float
    arousal: float
    rng: np.random.Generator

    @property
    def lift(self) -> float:
        """Semitones from dark and low to light and high: an octave and a half in all."""
        return 10.0 * self.valence + 1.5 * self.arousal

    @property
    def gate(self) -> float:
        """Share of its time that a note sounds: from legato to detached."""
        return 1.0 - 0.15 * (self.arousal + 1)

    def clock(self, at: float) -> float:
        """Seconds at a step, the first half of every cell of steps stretched to `swing` of it."""
        cell = self.genre.swing_steps
        whole, part = divmod(at / cell, 1.0)
        late = (2 * self.genre.swing - 1) * min(part, 1 - part)
        return (whole + part + late) * cell * self.step

    @property
    def end(self) -> float:
        """Seconds at which the last chord is struck."""
        return self.clock(self.bars * self.steps)

    def note(self, at: float, steps: float, pitch: float, force: float, gate: float = 1.0) -> Note:
        """A note `steps` long at step `at`, placed and struck as a player would."""
        start = self.clock(at)
        return self.human(start, max(0.06, (self.clock(at + steps) - start) * gate), pitch, force)

    def human(
        self, start: float, seconds: float, pitch: float, force: float, hit: str = ""
    ) -> Note:
        """A note a little off its time and its force."""
        loose = self.genre.looseness * (0.3 if hit else 1.0)
        start = max(0.0, start + self.rng.normal(0, 0.006) * loose)
        force *= (0.62 + 0.16 * self.arousal) * np.exp(self.rng.normal(0, 0.09))
        return Note(start, seconds, pitch, float(np.clip(force, 0.05, 1)), hit)


def compose_score(
    genre: Genre, valence: float, arousal: float, seconds: float, rng: np.random.Generator
) -> Score:
    """A piece of about `seconds` (a whole number of bars and a last chord) in the genre.

    `valence` and `arousal` are in −1..1; every choice left open is drawn from `rng`.
    """
    major = valence >= 0
    mode = "major" if major else "minor"
    tonic = int(rng.integers(12))
    progression = str(rng.choice(genre.major if major else genre.minor)).split()
    steps = len(_bar(genre.bass[1][0]))
    place = np.clip(0.5 + 0.42 * arousal + 0.08 * valence, 0, 1)  # happy music is a little faster
    tempo = genre.tempo[0] * (genre.tempo[1] / genre.tempo[0]) ** place * rng.uniform(0.97, 1.03)
    step = 15.0 / tempo
    least, wanted = (length - _ENDING for length in (_SHORTEST, seconds))
    bars = max(round(wanted / (step * steps)), math.ceil(least / (step * steps)))
    chords = [
        _coloured(chord(progression[i % len(progression)]), genre, valence, rng)
        for i in range(bars)
    ]
    chords.append(chord("I" if major else "i"))
    level = int(np.digitize(arousal, (-0.33, 0.33)))
    plan = _Plan(genre, level, bars, steps, step, tonic, chords, valence, arousal, rng)
    parts = [_comp_part(plan, comp) for comp in genre.comps]
    parts.append(_bass_part(plan))
    parts.append(_lead_part(plan, SCALES[genre.lead_scales[0 if major else 1]]))
    parts.append(_drum_part(plan))
    return Score(
        parts=tuple(part for part in parts if part.notes),
        seconds=plan.end + _ENDING,
        tempo=float(tempo),
        tonic=tonic,
        mode=mode,
        brightness=float(np.clip(0.85 * arousal + 0.15 * valence, -1, 1)),
        cutoff=float(2600.0 * 2.0 ** (1.15 * (arousal + 1) + 0.25 * valence)),
        loudness=float(np.clip(-20 + 9.5 * arousal + rng.normal(0, 0.8), -30, -10)),
        reverb_seconds=genre.room[0],
        drive=float(genre.drive * (0.675 + 0.325 * arousal)) if arousal > -0.5 else 0.0,
    )


def _bar(pattern: str) -> str:
    return pattern.replace(" ", "")


def _coloured(notes: Chord, genre: Genre, valence: float, rng: np.random.Generator) -> Chord:
    """Sad chords rub: below the middle of the valence axis a clashing note may join."""
    if rng.random() < max(0.0, -valence - 0.35) * (0.5 + genre.dissonance):
        return (*notes, notes[0] + 12 + int(rng.choice([1, 6, 8])))
    return notes


def _events(pattern: str) -> list[tuple[int, str, int]]:
    """(step, symbol, steps until the next symbol or stop) of one bar."""
    marks = [i for i, symbol in enumerate(pattern) if symbol != "."]
    ends = [*marks, len(pattern)][1:]
    return [(i, pattern[i], j - i) for i, j in zip(marks, ends, strict=True) if pattern[i] != "_"]


def _comp_part(plan: _Plan, comp: Comp) -> ScorePart:
    events = _events(_bar(comp.patterns[plan.level]))
    # One chord a bar is joined to the next, however wild the music.
    gate = comp.gate if len(events) == 1 else comp.gate * plan.gate
    centre = 60 + comp.register + plan.lift * 0.8
    voiced: Chord = ()
    notes: list[Note] = []
    for bar, above in enumerate(plan.chords):
        root = above[0]
        # Root and fifth are what a distorted guitar can play without turning to mud.
        played = [n for n in above if n - root in (0, 6, 7)] if comp.power else above
        voiced = voicing(tuple(n + plan.tonic for n in played), centre, voiced)
        if bar == plan.bars:
            strum = max(comp.strum, 0.008)
            for i, pitch in enumerate(voiced):
                notes.append(plan.human(plan.end + i * strum, _ENDING - 0.5, pitch, 0.85))
            break
        for at, symbol, length in events:
            where = bar * plan.steps + at
            if symbol in "Cc":
                force = 0.8 if symbol == "C" else 0.58
                for i, pitch in enumerate(voiced):
                    note = plan.note(where, length, pitch, force, gate)
                    notes.append(note._replace(start=note.start + i * comp.strum))
            else:
                octave, voice = divmod(int(symbol) - 1, len(voiced))
                notes.append(plan.note(where, length, voiced[voice] + 12 * octave, 1.0, gate))
    sent = comp.reverb * plan.genre.room[1] * 2
    return ScorePart(comp.voice, tuple(notes if events else ()), comp.level, sent, comp.drive)


# What a symbol adds to the root: the first of the semitones that the chord has, else the last one.
_ABOVE_ROOT = {"R": (0,), "3": (3, 4, 7), "5": (6, 7, 8, 7), "7": (10,), "8": (12,)}


def _bass_part(plan: _Plan) -> ScorePart:
    voice, patterns, level = plan.genre.bass
    lowest = 33 + round(plan.lift * 0.25)
    roots = [lowest + (c[0] + plan.tonic - lowest) % 12 for c in plan.chords]
    notes = []
    for bar, chord_notes in enumerate(plan.chords[:-1]):
        root, following = roots[bar], roots[bar + 1]
        above = [n - chord_notes[0] for n in chord_notes]
        for at, symbol, length in _events(_bar(patterns[plan.level])):
            if symbol == "a":
                pitch = following + (-1 if following >= root else 1)
            else:
                choices = _ABOVE_ROOT[symbol]
                pitch = root + next((n for n in choices if n in above), choices[-1])
            force = 1.0 if at == 0 else 0.85
            notes.append(plan.note(bar * plan.steps + at, length, pitch, force, plan.gate))
    notes.append(plan.human(plan.end, _ENDING - 0.5, roots[-1], 0.95))
    return ScorePart(voice, tuple(notes), level, 0.1 * plan.genre.room[1])


def _rhythm(plan: _Plan, count: int) -> list[int]:
    """`count` onsets in a bar, likelier on the beat, less so the wilder the music."""
    weak = 0.25 + 0.5 * (plan.arousal + 1) / 2
    weight = np.full(plan.steps, 0.35 * weak)
    weight[::2] = weak
    weight[::4] = 1.6
    weight[0] = 2.5
    # The largest of log-weights plus Gumbel noise: a draw without replacement.
    keys = np.log(weight) + plan.rng.gumbel(size=plan.steps)
    return sorted(int(i) for i in np.argsort(-keys)[:count])


def _contour(plan: _Plan, count: int) -> list[int]:
    """Steps up or down the scale: mostly by one, sometimes a leap."""
    size = np.where(plan.rng.random(count) < plan.genre.leaps, plan.rng.integers(2, 5, count), 1)
    size[plan.rng.random(count) < 0.12] = 0
    return [int(s) for s in size * plan.rng.choice([-1, 1], count)]


def _nearest(pitches: list[int], to: int) -> int:
    return min(pitches, key=lambda pitch: (abs(pitch - to), pitch))


def _lead_part(plan: _Plan, scale: Chord) -> ScorePart:
    """A melody in phrases of four bars, A A' B A', on chord notes where the beat is strong."""
    genre = plan.genre
    density = 0.45 * 2.0 ** (1.25 * (plan.arousal + 1)) * genre.lead_density  # notes per beat
    count = int(np.clip(round(density * plan.steps / 4), 1, plan.steps - 2))
    motifs = [(_rhythm(plan, count), _contour(plan, count)) for _ in range(2)]
    pitch = round(71 + plan.lift)
    low, high = pitch - 9, pitch + 11
    notes: list[Note] = []
    first = 1 if plan.bars >= 5 else 0  # the band starts alone
    for bar in range(first, plan.bars):
        onsets, contour = motifs[1 if (bar - first) % 4 == 2 else 0]
        chord_notes = tuple((n + plan.tonic) % 12 for n in plan.chords[bar])
        tones = scale_over(tuple(n + plan.tonic for n in scale), chord_notes)
        ladder = [p for p in range(low, high + 1) if p % 12 in tones]
        anchors = [p for p in ladder if p % 12 in chord_notes[:3]]
        if (bar - first) % 4 == 3 and len(onsets) > 2:
            onsets = onsets[: max(2, len(onsets) * 2 // 3)]  # phrases breathe at their ends
        for at, end, move in zip(onsets, [*onsets[1:], plan.steps], contour, strict=False):
            rung = ladder.index(_nearest(ladder, pitch)) + move
            if not 0 <= rung < len(ladder):
                rung -= 2 * move
            aim = ladder[int(np.clip(rung, 0, len(ladder) - 1))]
            if at % 4 == 0 or end - at >= 4:
                moving = [p for p in anchors if p != pitch or move == 0]
                aim = _nearest(moving or anchors, aim)
            pitch = aim
            length = min(end - at, 8 if plan.arousal < 0 else 6)
            arch = 0.85 + 0.15 * np.sin(np.pi * at / plan.steps)
            force = arch * (1.1 if at % 4 == 0 else 0.95)
            notes.append(plan.note(bar * plan.steps + at, length, pitch, force, plan.gate))
    ending = _nearest([p for p in range(low, high + 1) if p % 12 == plan.tonic], pitch)
    notes.append(plan.human(plan.end, _ENDING - 0.6, ending, 0.9))
    sent = 0.5 * genre.room[1]
    return ScorePart(genre.lead, tuple(notes), genre.lead_level, sent, genre.lead_drive)


_FORCE = {"X": 1.0, "x": 0.75, "o": 0.45}


def _drum_part(plan: _Plan) -> ScorePart:
    """The genre's pattern, and a stroke with the last chord where the music is wild."""
    kit = plan.genre.drums[plan.level]
    notes = []
    for name, pattern in kit.items():
        for at, symbol in enumerate(_bar(pattern) * plan.bars):
            if symbol in _FORCE:
                notes.append(plan.human(plan.clock(at), 0.1, 0.0, _FORCE[symbol], name))
    if plan.level == 2 and kit:
        last = ("crash", next(iter(kit)))
        notes += [plan.human(plan.end, 0.1, 0.0, 0.9, name) for name in last]
    presence = plan.genre.drum_level * (0.75 + 0.35 * plan.arousal)
    return ScorePart("drums", tuple(notes), presence, 0.12 * plan.genre.room[1])
