"""Chords, scales and voice leading: the little music theory that the sample clips are written with.

Pitches are MIDI note numbers (60 = middle C, 12 to the octave); pitch classes are 0..11 above C.
"""

from __future__ import annotations

import re
from functools import cache

_DEGREES = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
_NUMERAL = re.compile(r"(b|#)?([iv]+|[IV]+)(.*)")
# What a suffix does to the triad: (third, fifth, further notes); None leaves the note out.
_SUFFIXES: dict[str, tuple[int | None, int, tuple[int, ...]]] = {
    "5": (None, 7, ()),
    "o": (3, 6, ()),
    "+": (4, 8, ()),
    "sus2": (2, 7, ()),
    "sus4": (5, 7, ()),
    "ø7": (3, 6, (10,)),
}
_ADDED: dict[str, tuple[int, ...]] = {
    "": (),
    "6": (9,),
    "7": (10,),
    "maj7": (11,),
    "9": (10, 14),
    "maj9": (11, 14),
    "13": (10, 21),
    "add9": (14,),
    "7b9": (10, 13),
    "b2": (13,),
}
SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic": (0, 2, 3, 5, 7, 8, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
}


@cache
def chord(symbol: str) -> tuple[int, ...]:
    """Semitones above the tonic of a chord written as a roman numeral, its root first.

    Upper case is major, lower case minor; `b` or `#` before the numeral moves the root, a suffix
    such as `7`, `maj9`, `sus4`, `5` (no third) or `o` (diminished) adds or alters notes.
    Raises ValueError for anything else.
    """
    match = _NUMERAL.fullmatch(symbol)
    if match is None or match[2].lower() not in _DEGREES:
        raise ValueError(f"{symbol!r} is not a chord in roman numerals")
    accidental, numeral, suffix = match[1], match[2], match[3]
    root = _DEGREES[numeral.lower()] + {"b": -1, "#": 1, None: 0}[accidental]
    if suffix in _SUFFIXES:
        third, fifth, added = _SUFFIXES[suffix]
    elif suffix in _ADDED:
        third, fifth, added = (4 if numeral.isupper() else 3), 7, _ADDED[suffix]
    else:
        raise ValueError(f"{symbol!r} ends in an unknown chord suffix {suffix!r}")
    notes = (0, fifth) if third is None else (0, third, fifth)
    return tuple(root + note for note in (*notes, *added))


def scale_over(scale: tuple[int, ...], chord_notes: tuple[int, ...]) -> tuple[int, ...]:
    """The scale's pitch classes bent to fit a chord: a borrowed chord note replaces its neighbours.

    So the raised seventh of a dominant in minor never clashes with a natural seventh in the melody.
    """
    wanted = {note % 12 for note in chord_notes}
    borrowed = wanted - {note % 12 for note in scale}
    neighbours = {(note + step) % 12 for note in borrowed for step in (-1, 1)} - wanted
    return tuple(sorted(({note % 12 for note in scale} | wanted) - neighbours))


def voicing(
    pitch_classes: tuple[int, ...], centre: float, previous: tuple[int, ...] = ()
) -> tuple[int, ...]:
    """A close-position chord near `centre`, as near to the previous chord as it can be.

    Every inversion within an octave of the centre is tried. The cost is the sum of the distances
    that the voices travel plus a pull towards the centre, so common tones stay where they are.
    """
    classes = list(dict.fromkeys(note % 12 for note in pitch_classes))
    if len(classes) > 4:
        classes = classes[1:]  # the bass has the root; five notes in one octave are a cluster
    best: tuple[float, tuple[int, ...]] | None = None
    for start in range(round(centre) - 14, round(centre) + 8):
        if start % 12 not in classes:
            continue
        notes = tuple(sorted(start + (pc - start) % 12 for pc in classes))
        cost = 0.6 * abs(sum(notes) / len(notes) - centre)
        if previous:
            # Each voice counts its way to the nearest note of the other chord, both ways round,
            # so that chords of different sizes compare fairly.
            cost += sum(min(abs(a - b) for b in previous) for a in notes)
            cost += sum(min(abs(a - b) for b in notes) for a in previous)
        if best is None or (cost, notes) < best:
            best = (cost, notes)
    if best is None:
        raise ValueError("a chord needs at least one note")
    return best[1]
