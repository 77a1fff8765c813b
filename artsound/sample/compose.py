"""From a genre and a point of the affect plane to a score.

Arousal sets tempo, density of onsets, loudness, brightness, percussion, overdrive and articulation;
valence sets the mode, the consonance and the height of the pitches: the cues by which listeners
match music to colours (Palmer, Schloss, Xu & Prado-León, PNAS 2013, 10.1073/pnas.1212562110;
Whiteford, Schloss, Helwig & Palmer, i-Perception 2018, 10.1177/2041669518808535). The genre decides
the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from artsound.sample.genres import Comp, Genre
from artsound.sample.harmony import SCALES, chord, scale_over, voicing
from artsound.sample.score import Note, Score, ScorePart

_ENDING = 2.2
"""Seconds for the last chord."""

_SHORTEST = 12.0
"""Seconds that a piece lasts at least."""

Chord = tuple[int, ...]


def compose_score(
    genre: Genre, valence: float, arousal: float, seconds: float, rng: np.random.Generator
) -> Score:
    """A piece of about `seconds` (a whole number of bars and a last chord) in the genre.

    `valence` and `arousal` lie in −1..1; every choice left open is drawn from `rng`.
    """
    major = valence >= 0
    level = int(np.digitize(arousal, (-0.33, 0.33)))
    tonic = int(rng.integers(12))
    key_scale = SCALES["major" if major else "minor"]
    progression = str(rng.choice(genre.major if major else genre.minor)).split()
    steps = len(_bar(genre.bass[1][0]))

    place = np.clip(0.5 + 0.44 * arousal + 0.06 * valence, 0, 1)  # happy music is a little faster
    tempo = genre.tempo[0] * (genre.tempo[1] / genre.tempo[0]) ** place * rng.uniform(0.97, 1.03)
    step = 15.0 / tempo
    bar = step * steps
    bars = max(round((seconds - _ENDING) / bar), math.ceil((_SHORTEST - _ENDING) / bar))
    chords = [
        _coloured(chord(progression[i % len(progression)]), genre, valence, rng)
        for i in range(bars)
    ]
    home = chord("I" if major else "i")
    clock = _clock(step, genre.swing, genre.swing_steps)
    plan = _Plan(genre, level, bars, steps, clock, tonic, chords, home, valence, arousal, rng)

    parts = [_comp_part(plan, comp) for comp in genre.comps]
    parts.append(_bass_part(plan))
    lead_scale = SCALES[genre.lead_scales[0 if major else 1]]
    parts.append(_lead_part(plan, lead_scale, key_scale))
    parts.append(_drum_part(plan))
    return Score(
        parts=tuple(part for part in parts if part.notes),
        seconds=clock(bars * steps) + _ENDING,
        tempo=float(tempo),
        tonic=tonic,
        mode="major" if major else "minor",
        brightness=float(np.clip(0.85 * arousal + 0.15 * valence, -1, 1)),
        cutoff=float(2600.0 * 2.0 ** (1.15 * (arousal + 1) + 0.25 * valence)),
        loudness=float(np.clip(-20 + 9.5 * arousal + rng.normal(0, 0.8), -30, -10)),
        reverb_seconds=genre.room[0],
        drive=float(genre.drive * (0.35 + 0.65 * (arousal + 1) / 2)) if arousal > -0.5 else 0.0,
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """What all parts of one clip share. `level` 0 calm, 1 middling, 2 wild; `clock` gives the
    seconds at a step counted from the start; `home` is the last chord."""

    genre: Genre
    level: int
    bars: int
    steps: int
    clock: Callable[[float], float]
    tonic: int
    chords: list[Chord]
    home: Chord
    valence: float
    arousal: float
    rng: np.random.Generator

    @property
    def lift(self) -> float:
        """Semitones from dark and low to light and high: an octave and a half in all."""
        return 9.0 * self.valence + 1.5 * self.arousal

    @property
    def gate(self) -> float:
        """Share of its time that a note sounds: from legato to detached."""
        return 1.0 - 0.15 * (self.arousal + 1)

    def note(self, at: float, steps: float, pitch: float, force: float, gate: float = 1.0) -> Note:
        """A note `steps` long at step `at`, placed and struck as a player would."""
        start = self.clock(at)
        seconds = max(0.06, (self.clock(at + steps) - start) * gate)
        return self.human(start, seconds, pitch, force)

    def human(
        self, start: float, seconds: float, pitch: float, force: float, hit: str = ""
    ) -> Note:
        loose = self.genre.looseness * (0.3 if hit else 1.0)
        start = max(0.0, start + self.rng.normal(0, 0.006) * loose)
        force *= (0.62 + 0.16 * self.arousal) * np.exp(self.rng.normal(0, 0.09))
        return Note(start, seconds, pitch, float(np.clip(force, 0.05, 1)), hit)


def _bar(pattern: str) -> str:
    return pattern.replace(" ", "")


def _clock(step: float, swing: float, cell: int) -> Callable[[float], float]:
    """Seconds at a step, the first half of every cell of steps stretched to `swing` of it."""

    def seconds(at: float) -> float:
        whole, part = divmod(at / cell, 1.0)
        bent = part * 2 * swing if part < 0.5 else swing + (part - 0.5) * 2 * (1 - swing)
        return (whole + bent) * cell * step

    return seconds


def _coloured(notes: Chord, genre: Genre, valence: float, rng: np.random.Generator) -> Chord:
    """Sad chords rub: below the middle of the valence axis a clashing note may join."""
    chance = max(0.0, -valence - 0.35) * (0.5 + genre.dissonance)
    if rng.random() < chance:
        clash = int(rng.choice([1, 6, 8]))
        return (*notes, notes[0] + 12 + clash)
    return notes


def _events(pattern: str) -> list[tuple[int, str, int]]:
    """(step, symbol, steps until the next symbol or stop) of one bar."""
    marks = [i for i, symbol in enumerate(pattern) if symbol != "."]
    ends = [*marks, len(pattern)][1:]
    return [
        (i, pattern[i], end - i) for i, end in zip(marks, ends, strict=True) if pattern[i] != "_"
    ]


def _comp_part(plan: _Plan, comp: Comp) -> ScorePart:
    pattern = _bar(comp.patterns[plan.level])
    events = _events(pattern)
    if not events:
        return ScorePart(comp.voice, comp.voice, (), comp.level)
    sustained = len(events) == 1  # one chord a bar: joined to the next, however wild
    gate = comp.gate if sustained else comp.gate * plan.gate
    centre = 60 + comp.register + plan.lift * 0.8
    voiced: Chord = ()
    notes: list[Note] = []
    for bar, notes_above in enumerate([*plan.chords, plan.home]):
        wanted = _power(notes_above) if comp.power else notes_above
        voiced = voicing(tuple(n + plan.tonic for n in wanted), centre, voiced)
        if bar == plan.bars:
            notes += _last_chord(plan, voiced, comp.strum)
            break
        for at, symbol, length in events:
            force = 0.72 if symbol == "c" else 1.0
            where = bar * plan.steps + at
            if symbol in "Cc":
                for i, pitch in enumerate(voiced):
                    note = plan.note(where, length, pitch, force * 0.8, gate)
                    notes.append(note._replace(start=note.start + i * comp.strum))
            else:
                octave, voice = divmod(int(symbol) - 1, len(voiced))
                notes.append(plan.note(where, length, voiced[voice] + 12 * octave, force, gate))
    return ScorePart(
        comp.voice,
        comp.voice,
        tuple(notes),
        comp.level,
        comp.reverb * plan.genre.room[1] * 2,
        comp.drive,
    )


def _power(notes: Chord) -> Chord:
    """Root and fifth: what a distorted guitar can play without turning to mud."""
    return (notes[0], *(n for n in notes if n - notes[0] in (6, 7)))


def _last_chord(plan: _Plan, pitches: Chord, strum: float) -> list[Note]:
    start = plan.clock(plan.bars * plan.steps)
    return [
        plan.human(start + i * max(strum, 0.008), _ENDING - 0.5, pitch, 0.85)
        for i, pitch in enumerate(pitches)
    ]


_ABOVE_ROOT = {"R": 0, "6": 9, "7": 10, "8": 12}


def _bass_part(plan: _Plan) -> ScorePart:
    voice, patterns, level = plan.genre.bass
    pattern = _bar(patterns[plan.level])
    lowest = 33 + round(plan.lift * 0.25)
    roots = [lowest + (c[0] + plan.tonic - lowest) % 12 for c in [*plan.chords, plan.home]]
    notes = []
    for bar, chord_notes in enumerate(plan.chords):
        root = roots[bar]
        above = [n - chord_notes[0] for n in chord_notes]
        for at, symbol, length in _events(pattern):
            if symbol == "a":
                below = roots[bar + 1] >= root
                pitch = roots[bar + 1] + (-1 if below else 1)
            elif symbol == "3":
                pitch = root + next((n for n in above if n in (3, 4)), 7)
            elif symbol == "5":
                pitch = root + next((n for n in above if n in (6, 7, 8)), 7)
            else:
                pitch = root + _ABOVE_ROOT[symbol]
            force = 1.0 if at == 0 else 0.85
            notes.append(plan.note(bar * plan.steps + at, length, pitch, force, plan.gate))
    start = plan.clock(plan.bars * plan.steps)
    notes.append(plan.human(start, _ENDING - 0.5, roots[-1], 0.95))
    return ScorePart("bass", voice, tuple(notes), level, 0.1 * plan.genre.room[1])


# --- melody ----------------------------------------------------------------------------


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


def _lead_part(plan: _Plan, scale: Chord, key_scale: Chord) -> ScorePart:
    """A melody in phrases of four bars, A A' B A', on chord notes where the beat is strong."""
    beats = plan.steps / 4
    density = 0.45 * 2.0 ** (1.25 * (plan.arousal + 1)) * plan.genre.lead_density  # notes per beat
    count = int(np.clip(round(density * beats), 1, plan.steps - 2))
    motifs = [(_rhythm(plan, count), _contour(plan, count)) for _ in range(2)]
    centre = 71 + 12 * plan.genre.lead_octave + plan.lift
    low, high = round(centre) - 9, round(centre) + 11
    pitch = round(centre)
    notes: list[Note] = []
    first = 1 if plan.bars >= 5 else 0  # the band starts alone
    for bar in range(first, plan.bars):
        onsets, contour = motifs[1 if (bar - first) % 4 == 2 else 0]
        chord_notes = tuple((n + plan.tonic) % 12 for n in plan.chords[bar])
        # A scale of five notes may have nothing to offer over a chord: then the key's own.
        fits = len({(n + plan.tonic) % 12 for n in scale} & set(chord_notes)) >= 2
        tones = scale_over(
            tuple(n + plan.tonic for n in (scale if fits else key_scale)), chord_notes
        )
        ladder = [p for p in range(low, high + 1) if p % 12 in tones]
        anchors = [p for p in ladder if p % 12 in chord_notes[:3]]
        if (bar - first) % 4 == 3 and len(onsets) > 2:
            onsets = onsets[: max(2, len(onsets) * 2 // 3)]  # phrases breathe at their ends
        ends = [*onsets[1:], plan.steps]
        for i, (at, end) in enumerate(zip(onsets, ends, strict=True)):
            rung = ladder.index(_nearest(ladder, pitch)) + contour[i]
            if not 0 <= rung < len(ladder):
                rung -= 2 * contour[i]
            aim = ladder[int(np.clip(rung, 0, len(ladder) - 1))]
            if at % 4 == 0 or end - at >= 4:
                moving = [p for p in anchors if p != pitch or contour[i] == 0]
                aim = _nearest(moving or anchors, aim)
            pitch = aim
            length = min(end - at, 8 if plan.arousal < 0 else 6)
            arch = 0.85 + 0.15 * np.sin(np.pi * at / plan.steps)
            force = arch * (1.1 if at % 4 == 0 else 0.95)
            notes.append(plan.note(bar * plan.steps + at, length, pitch, force, plan.gate))
    ending = _nearest([p for p in range(low, high + 1) if p % 12 == plan.tonic], pitch)
    start = plan.clock(plan.bars * plan.steps)
    notes.append(plan.human(start, _ENDING - 0.6, ending, 0.9))
    genre = plan.genre
    return ScorePart(
        "lead", genre.lead, tuple(notes), genre.lead_level, 0.5 * genre.room[1], genre.lead_drive
    )


# --- drums -----------------------------------------------------------------------------

_FORCE = {"X": 1.0, "x": 0.75, "o": 0.45}


def _drum_part(plan: _Plan) -> ScorePart:
    """The genre's pattern, a fill before the last chord, and a last stroke with it."""
    kit = plan.genre.drums[plan.level]
    fill = next((name for name in kit if name in _FILLS), "")
    beat = 4
    notes = []
    for bar in range(plan.bars):
        for name, written in kit.items():
            pattern = _bar(written)
            for at, symbol in enumerate(pattern):
                filling = fill and bar == plan.bars - 1 and at >= plan.steps - beat
                if symbol in _FORCE and not filling:
                    start = plan.clock(bar * plan.steps + at)
                    notes.append(plan.human(start, 0.1, 0.0, _FORCE[symbol], name))
    if fill:
        for i in range(beat if plan.level == 2 else beat // 2):
            at = plan.bars * plan.steps - beat + i * (1 if plan.level == 2 else 2)
            notes.append(plan.human(plan.clock(at), 0.1, 0.0, 0.6 + 0.1 * i, fill))
    if plan.level == 2 and kit:
        start = plan.clock(plan.bars * plan.steps)
        last = [name for name in ("crash", next(iter(kit))) if name]
        notes += [plan.human(start, 0.1, 0.0, 0.9, name) for name in last]
    presence = plan.genre.drum_level * (0.75 + 0.35 * plan.arousal)
    return ScorePart("drums", "drums", tuple(notes), presence, 0.12 * plan.genre.room[1])


_FILLS = ("snare", "fat snare", "tom", "low tom", "tek", "clap", "timpani", "brush")
