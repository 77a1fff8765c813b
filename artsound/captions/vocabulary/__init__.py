"""The words of grounded captions: art.toml, music.toml, and a recipe's own changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from artsound.captions.phrasing import clean_name, slug
from artsound.errors import BadUsage
from artsound.storage import digest
from artsound.untrusted import nearest, read_toml

MAX_WORDS = 6  # of one entry, so that sentences stay short enough
# The pitch classes as track descriptors name them, from C upwards by semitones.
PITCHES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

# The kinds of tables. Labels are written as `phrasing.slug` writes them.
Words: TypeAlias = Mapping[str, str]  # label -> words
Choices: TypeAlias = Mapping[str, tuple[str, ...]]  # label -> words that mean the same
Keys: TypeAlias = Mapping[str, str]  # pitch class -> spelling
Labels: TypeAlias = frozenset[str]
Phrases: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class ArtTerms:
    """The tables of art.toml, where each is explained."""

    plain_nouns: Phrases
    painted_media: Labels
    greys: Labels
    colour_families: Words
    colours: Words
    styles: Words
    genres: Choices
    style_nouns: Choices
    materials: Words
    supports: Words
    emotions: Words
    subjects: Words
    painters: Words


@dataclass(frozen=True)
class MusicTerms:
    """The tables of music.toml, where each is explained."""

    adjectives: Labels
    open_compounds: Phrases
    spoken: Labels
    pieces: Labels
    genres: Words
    genre_nouns: Words
    major_keys: Keys
    minor_keys: Keys
    instruments: Words


@dataclass(frozen=True)
class Vocabulary:
    """The words for both sides; `digest` identifies a recipe's own, "" the bundled ones."""

    art: ArtTerms
    music: MusicTerms
    digest: str = ""


_SIDES = {"art": ArtTerms, "music": MusicTerms}
_NEVER_NAMED = ("music", "genres")  # the table in which an empty entry has a meaning


@cache
def bundled_vocabulary() -> Vocabulary:
    """Return the vocabulary that comes with the package."""
    return _vocabulary(_bundled())


def key_name(key: str) -> str:
    """The usual name of a key as `musical_key` has it: B-flat major for A# major.

    Other texts are returned as they are.
    """
    pitch, _, mode = key.partition(" ")
    terms = bundled_vocabulary().music
    names = {"major": terms.major_keys, "minor": terms.minor_keys}.get(mode, {})
    return f"{names[pitch]} {mode}" if pitch in names else key


def load_vocabulary(path: str = "") -> Vocabulary:
    """Load the bundled vocabulary, changed by the TOML file `path` if given.

    The file has changed tables of art.toml below [art], and of music.toml below [music]. An entry
    replaces the bundled one, an empty one removes it (an empty genre of music is never named), and
    lists are added to the bundled ones.

    Args:
        path: The TOML file; empty: none.

    Returns:
        The vocabulary.

    Raises:
        BadUsage: The file is missing or invalid; the message names the key.
    """
    if not path:
        return bundled_vocabulary()
    file = Path(path)
    values = read_toml(file, "vocabulary")
    if unknown := sorted(set(values) - set(_SIDES)):
        hint = nearest(unknown[0], _SIDES) or ": a vocabulary has the tables [art] and [music]"
        raise _invalid(file, unknown[0], f"is unknown{hint}")
    own = {side: _checked(file, side, values.get(side, {}), f"{side}.") for side in _SIDES}
    merged = {
        side: {
            name: _merged(table, own[side].get(name), keep_empty=(side, name) == _NEVER_NAMED)
            for name, table in tables.items()
        }
        for side, tables in _bundled().items()
    }
    return _vocabulary(merged, digest(own))


def _bundled() -> dict[str, dict[str, Any]]:
    tables = {}
    for side in _SIDES:
        path = Path(__file__).with_name(f"{side}.toml")
        tables[side] = _checked(path, side, read_toml(path, "vocabulary"), "")
    return tables


def _vocabulary(tables: Mapping[str, Mapping[str, Any]], own: str = "") -> Vocabulary:
    made: dict[str, Any] = {}
    for side, kind in _SIDES.items():
        made[side] = kind(**{f.name: _frozen(tables[side][f.name], f.type) for f in fields(kind)})
    return Vocabulary(made["art"], made["music"], own)


def _frozen(table: Any, kind: Any) -> Any:
    if kind == "Labels":
        return frozenset(table)
    if kind == "Choices":
        return {label: tuple(words) for label, words in table.items()}
    return tuple(table) if kind == "Phrases" else table


def _merged(bundled: Any, own: Any, *, keep_empty: bool) -> Any:
    if own is None:
        return bundled
    if isinstance(bundled, list):
        return list(dict.fromkeys([*bundled, *own]))
    return {label: words for label, words in {**bundled, **own}.items() if words or keep_empty}


# --- validation ---------------------------------------------------------------------------------


def _checked(path: Path, side: str, values: Any, prefix: str) -> dict[str, Any]:
    """The tables of one side, every entry checked; `prefix` precedes the keys in messages."""
    if not isinstance(values, dict):
        raise _invalid(path, side, "is not a table")
    kinds = {field.name: str(field.type) for field in fields(_SIDES[side])}
    for name, table in values.items():
        key = f"{prefix}{name}"
        if name not in kinds:
            hint = nearest(name, kinds) or f": choose from {', '.join(kinds)}"
            raise _invalid(path, key, f"is unknown{hint}")
        if kinds[name] in ("Labels", "Phrases"):
            _check_list(path, key, table)
        elif not isinstance(table, dict):
            raise _invalid(path, key, "is not a table")
        for label in table if kinds[name] in ("Labels", "Words", "Choices") else ():
            _check_label(path, key, label)
        for place, words in _entries(path, key, table, kinds[name]):
            _check_words(path, place, words, kinds[name])
    return values


def _entries(path: Path, key: str, table: Any, kind: str) -> list[tuple[str, Any]]:
    """All words of a table, each with its place for messages."""
    if kind == "Labels":
        return []
    if kind == "Phrases":
        return [(key, words) for words in table]
    if kind != "Choices":
        return [(f"{key}.{label}", words) for label, words in table.items()]
    for label, words in table.items():
        _check_list(path, f"{key}.{label}", words)
    return [(f"{key}.{label}", words) for label, options in table.items() for words in options]


def _check_list(path: Path, key: str, value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _invalid(path, key, "is not a list of texts")


def _check_label(path: Path, key: str, label: str) -> None:
    if not slug(label):
        raise _invalid(path, f"{key}.{label!r}", "has no letters or digits")
    if slug(label) != label:
        raise _invalid(path, f"{key}.{label!r}", f"would never be found: write {slug(label)!r}")


def _check_words(path: Path, place: str, words: Any, kind: str) -> None:
    if not isinstance(words, str):
        raise _invalid(path, place, "is not a text")
    if kind == "Keys":
        if place.rpartition(".")[2] not in PITCHES:
            raise _invalid(path, place, f"is not a pitch class: choose from {', '.join(PITCHES)}")
        if not re.fullmatch(r"[A-G](-flat|-sharp)?", words):
            raise _invalid(path, place, f"is {words!r}: write a key as E or E-flat")
    elif words and clean_name(words, max_words=MAX_WORDS) != words:
        raise _invalid(
            path,
            place,
            f"cannot stand in a sentence: write at most {MAX_WORDS} plain words, 64 characters",
        )
    elif not words and kind in ("Phrases", "Choices"):
        raise _invalid(path, place, "has an empty text: leave it out")


def _invalid(path: Path, key: str, fault: str) -> BadUsage:
    return BadUsage(f"In the vocabulary {path}, {key} {fault}. See artsound/captions/vocabulary.")
