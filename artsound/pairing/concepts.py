"""The `concepts` bridge: what an item is like, in words that both CLIP and CLAP have read.

CLIP and CLAP share no space, only language. A bank of concepts, each phrased once for paintings
and once for music, is embedded by both text towers, and an item is described by how like it is to
each of them (a relative representation: Moschella et al., ICLR 2023, with texts for anchors).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from artsound.errors import BadUsage
from artsound.pairing.rows import centred_rows, checked_rows, decorrelated, standardised, unit_rows

LARGEST_BANK = 4_000_000  # bytes
SHRINKAGE = 3.0  # of 0.1 to 30 the best R@1 on planted truth (benchmarks/bridges.py --choose)
_PHRASES = ("painting", "music")
_PLAIN = {"painting": ("{}",), "music": ("{}",)}


@dataclass(frozen=True)
class Concept:
    """What a painting and a piece of music can have in common, said for each."""

    family: str
    name: str
    painting: str
    music: str


@dataclass(frozen=True)
class Bank:
    """Concepts in order, and the templates that each phrase is put into for each side."""

    concepts: tuple[Concept, ...]
    painting_templates: tuple[str, ...]
    music_templates: tuple[str, ...]

    def paintings(self) -> list[str]:
        """All texts for paintings: the templates of the first concept, of the second, …"""
        return [t.replace("{}", c.painting) for c in self.concepts for t in self.painting_templates]

    def music(self) -> list[str]:
        """All texts for music, in the same order."""
        return [t.replace("{}", c.music) for c in self.concepts for t in self.music_templates]


def load_bank(path: str = "") -> Bank:
    """The bundled bank, with what the TOML file `path` (if any) adds or puts in its place.

    A concept of the same family and name is replaced; templates replace those of their side.
    With `alone = true` at its top, the file's concepts are the whole bank.
    Raises BadUsage, one sentence, when the file is missing or no such bank.
    """
    bundled = Path(str(files("artsound.pairing") / "concepts.toml"))
    concepts, templates, _ = _read(bundled)
    if path:
        own, own_templates, alone = _read(Path(path))
        concepts = own if alone else concepts | own
        templates = (_PLAIN if alone else templates) | own_templates
        if not concepts:
            raise BadUsage(f"The concept bank {path} holds no concept: add one, or drop `alone`.")
    return Bank(tuple(concepts.values()), templates["painting"], templates["music"])


def pooled(texts: np.ndarray, concepts: int) -> np.ndarray:
    """One unit row for each concept: the mean over its templates. float32 [concepts, D].

    `texts` are the rows of `Bank.paintings()` or `Bank.music()`. Raises ValueError when they are
    not a whole number for each concept, not finite, or zero.
    """
    rows = checked_rows(texts, "texts")
    if not concepts or len(rows) % concepts:
        raise ValueError(f"{len(rows)} texts are not a whole number for each of {concepts}")
    means = rows.reshape(concepts, -1, rows.shape[1]).mean(axis=1)
    return checked_rows(means, "concepts")


def concept_rows(items: np.ndarray, concepts: np.ndarray) -> np.ndarray:
    """Items as unit rows float32 [n, K] over K concepts; rows of both sides then compare.

    `items` [n, D] and `concepts` [K, D] come from one encoder. What all concepts share is taken
    off them: it only tells how near an item is to any text. Their similarities to the items are
    standardised over the corpus `items`: subtracting the mean removes what all items share, the
    modality gap; dividing by the deviation makes every concept count alike, on either side. Many
    concepts say nearly the same, so they are decorrelated in part. Then each row is brought to
    length one. Items that do not differ from the rest of the corpus, such as a single one, get K
    equal values.
    Raises ValueError for empty, zero or non-finite rows, and for sides of different widths.
    """
    items = checked_rows(items, "items")
    concepts = checked_rows(concepts, "concepts", items.shape[1])
    likeness = standardised(items @ (concepts - concepts.mean(axis=0)).T)
    return unit_rows(decorrelated(likeness, SHRINKAGE))


def _read(
    path: Path,
) -> tuple[dict[tuple[str, str], Concept], dict[str, tuple[str, ...]], bool]:
    try:
        if path.stat().st_size > LARGEST_BANK:
            raise BadUsage(f"The concept bank {path} is larger than {LARGEST_BANK:,} bytes.")
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadUsage(f"There is no concept bank {path}: give the path of a TOML file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadUsage(f"The concept bank {path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise BadUsage(f"The concept bank {path} is not valid TOML: {error}.") from error
    alone = values.pop("alone", False)
    if not isinstance(alone, bool):
        raise BadUsage(f"In the concept bank {path}, `alone` is true or false, not {alone!r}.")
    templates = _templates(path, _table(path, "templates", values.pop("templates", {})))
    concepts = {}
    for family, entries in values.items():
        for name, phrases in _table(path, family, entries).items():
            if not isinstance(phrases, dict) or set(phrases) != set(_PHRASES):
                raise _unfit(path, f"{family}.{name}", "needs a `painting` and a `music` phrase")
            if not all(isinstance(text, str) and text.strip() for text in phrases.values()):
                raise _unfit(path, f"{family}.{name}", "has a phrase that is no text")
            concepts[family, name] = Concept(family, name, phrases["painting"], phrases["music"])
    return concepts, templates, alone


def _templates(path: Path, given: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    for side, texts in given.items():
        if side not in _PHRASES:
            raise _unfit(path, f"templates.{side}", "is not `painting` or `music`")
        if not isinstance(texts, list) or not texts:
            raise _unfit(path, f"templates.{side}", "is not a list of texts")
        if not all(isinstance(text, str) and text.count("{}") == 1 for text in texts):
            raise _unfit(path, f"templates.{side}", "has a template without one {}")
    return {side: tuple(texts) for side, texts in given.items()}


def _table(path: Path, name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _unfit(path, name, "is not a table")
    return value


def _unfit(path: Path, key: str, fault: str) -> BadUsage:
    return BadUsage(
        f"In the concept bank {path}, {key} {fault}: see artsound/pairing/concepts.toml."
    )


# The `captions` bridge: each side's captions against the other side itself.
#
# What a caption says of a painting is compared with the sound, in CLAP; what a caption says of the
# music is compared with the picture, in CLIP.


def caption_rows(
    images: np.ndarray,
    artwork_captions: np.ndarray,
    audio: np.ndarray,
    track_captions: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Artworks and tracks as unit rows float32 of one space, [nA, D] and [nT, D].

    `images` and `track_captions` are CLIP's, `audio` and `artwork_captions` CLAP's; the artworks'
    two have as many rows as each other, and so have the tracks'. A score is
    w · image·(music caption) + (1 − w) · (artwork caption)·audio of rows that are first centred,
    each kind by itself, which removes the modality gaps. w gives both terms the same deviation
    over all pairs, so that neither encoder outweighs the other.
    Raises ValueError for empty, zero or non-finite rows, and where rows or widths do not fit.
    """
    images, audio = checked_rows(images, "images"), checked_rows(audio, "audio")
    seen = checked_rows(track_captions, "track captions", images.shape[1])
    heard = checked_rows(artwork_captions, "artwork captions", audio.shape[1])
    for items, captions, name in ((images, heard, "artworks"), (audio, seen, "tracks")):
        if len(items) != len(captions):
            raise ValueError(f"there are {len(items)} {name} but {len(captions)} captions")
    images, audio, seen, heard = (centred_rows(rows) for rows in (images, audio, seen, heard))
    in_clip, in_clap = _deviation(images, seen), _deviation(heard, audio)
    both = in_clip + in_clap
    # The more a term varies, the less it weighs.
    weight = in_clap / both if both > 0 else 0.5
    clip, clap = np.float32(np.sqrt(weight)), np.float32(np.sqrt(1.0 - weight))
    return (
        np.concatenate([images * clip, heard * clap], axis=1),
        np.concatenate([seen * clip, audio * clap], axis=1),
    )


def _deviation(rows: np.ndarray, others: np.ndarray) -> float:
    """The standard deviation of the dot products of all pairs, exactly, without making them."""
    x, y = rows.astype(np.float64), others.astype(np.float64)
    square = float(((x.T @ x) * (y.T @ y)).sum()) / (len(x) * len(y))
    mean = float(x.mean(axis=0) @ y.mean(axis=0))
    return float(np.sqrt(max(square - mean * mean, 0.0)))
