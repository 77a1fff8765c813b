"""The `concepts` bridge: items described by their similarity to concepts in words.

An image encoder such as CLIP and an audio encoder such as CLAP share no space, but both embed
texts. A bank of concepts, each phrased once for paintings and once for music, is embedded by both,
and an item is described by its similarities to them (a relative representation: Moschella et al.,
ICLR 2023, with texts as anchors).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from artsound.encoders.base import Needs
from artsound.errors import BadUsage
from artsound.pairing.bridge import BridgeContext, Rows
from artsound.pairing.rows import checked_rows, decorrelated, standardised, unit_rows
from artsound.plugins import refuse_argument
from artsound.recipe import Recipe
from artsound.storage import digest
from artsound.untrusted import nearest, read_toml

SHRINKAGE = 3.0  # of 0.1 to 30 the best R@1 on planted truth (benchmarks/bridges.py --choose)
_PHRASES = ("painting", "music")
_PLAIN = {"painting": ("{}",), "music": ("{}",)}


class Concepts:
    """Similarity to concepts in words, each phrased for paintings and for music."""

    name = "concepts"
    version = "2"

    def needs(self, recipe: Recipe, argument: str) -> Needs:
        """Vectors of both sides, and both encoders for texts."""
        refuse_argument("bridge", self.name, argument, "give pair.concept_bank")
        return Needs.of_both(recipe)

    def inputs(self, build: BridgeContext) -> Any:
        """The digest of the bank."""
        return digest(asdict(load_bank(build.recipe.pair.concept_bank)))

    def dimensions(self, build: BridgeContext) -> list[str]:
        """The concept of each column of `rows`."""
        bank = load_bank(build.recipe.pair.concept_bank)
        return [f"{one.family}: {one.name}" for one in bank.concepts]

    def rows(self, build: BridgeContext) -> Rows:
        """The rows of `concept_rows` over the whole catalogue and the recipe's bank."""
        (artworks, a), (tracks, t) = build.image_vectors(), build.audio_vectors()
        paintings, music = concept_vectors(build)
        weights = load_bank(build.recipe.pair.concept_bank).weights
        return (
            artworks,
            concept_rows(a, paintings, weights),
            tracks,
            concept_rows(t, music, weights),
        )


def concept_vectors(build: BridgeContext) -> tuple[np.ndarray, np.ndarray]:
    """The bank's concepts [K, D]: of paintings by the image encoder, of music by the audio encoder.

    Raises:
        BadUsage: The bank cannot be used.
    """
    bank, embed = load_bank(build.recipe.pair.concept_bank), build.recipe.embed
    count = len(bank.concepts)
    return (
        pooled(build.texts(embed.image_encoder, bank.paintings()), count),
        pooled(build.texts(embed.audio_encoder, bank.music()), count),
    )


@dataclass(frozen=True)
class Concept:
    """What a painting and a piece of music can have in common, phrased for each."""

    family: str
    name: str
    painting: str
    music: str


@dataclass(frozen=True)
class Bank:
    """Concepts in order, and the templates that each phrase is put into for each side.

    `weights` are those of the concepts' families, above 0.
    """

    concepts: tuple[Concept, ...]
    painting_templates: tuple[str, ...]
    music_templates: tuple[str, ...]
    weights: tuple[float, ...]

    def paintings(self) -> list[str]:
        """All texts for paintings: the templates of the first concept, of the second, …"""
        return [t.replace("{}", c.painting) for c in self.concepts for t in self.painting_templates]

    def music(self) -> list[str]:
        """All texts for music, in the same order."""
        return [t.replace("{}", c.music) for c in self.concepts for t in self.music_templates]


def load_bank(path: str = "") -> Bank:
    """Load the bundled bank, with what a TOML file adds or replaces.

    A concept of the same family and name is replaced; templates replace those of their side, a
    weight that of its family. Families of weight 0 are left out, those without a weight have 1.
    With `alone = true` at its top, the file's concepts are the whole bank.

    Args:
        path: The file; empty: the bundled bank alone.

    Raises:
        BadUsage: The file is missing or invalid.
    """
    bundled = Path(str(files("artsound.pairing") / "concepts.toml"))
    concepts, templates, weights, _ = _read(bundled)
    if path:
        own, own_templates, own_weights, alone = _read(Path(path))
        concepts = own if alone else concepts | own
        templates = (_PLAIN if alone else templates) | own_templates
        weights = ({} if alone else weights) | own_weights
        families = {family for family, _ in concepts}
        if unknown := sorted(set(own_weights) - families):
            hint = nearest(unknown[0], families)
            raise _unfit(Path(path), f"weights.{unknown[0]}", f"is not a family{hint}")
    heavy = {each: weights.get(each.family, 1.0) for each in concepts.values()}
    heavy = {each: weight for each, weight in heavy.items() if weight}
    if not heavy:
        raise BadUsage(
            f"The concept bank {path} is empty: add a concept, give a family a weight above 0, or "
            "remove `alone`."
        )
    return Bank(tuple(heavy), templates["painting"], templates["music"], tuple(heavy.values()))


def pooled(texts: np.ndarray, concepts: int) -> np.ndarray:
    """One unit row for each concept: the mean over its templates.

    Args:
        texts: [concepts × templates, D], the rows of `Bank.paintings()` or `Bank.music()`.
        concepts: Their number.

    Returns:
        float32 [concepts, D].

    Raises:
        ValueError: There is not a whole number of texts per concept, or rows are zero or not
            finite.
    """
    rows = checked_rows(texts, "texts")
    if not concepts or len(rows) % concepts:
        raise ValueError(f"{len(rows)} texts are not a whole number for each of {concepts}")
    means = rows.reshape(concepts, -1, rows.shape[1]).mean(axis=1)
    return checked_rows(means, "concepts")


def concept_rows(
    items: np.ndarray, concepts: np.ndarray, weights: Sequence[float] = ()
) -> np.ndarray:
    """Describe a corpus by its similarities to concepts, comparably on both sides.

    The mean of the concepts is subtracted from each: it only measures how near an item is to any
    text. Similarities are standardised over the corpus: subtracting the mean removes the modality
    gap, and dividing by the deviation makes concepts comparable, so that each counts by its weight.
    Many concepts mean nearly the same, so they are decorrelated in part. Items that do not differ
    from the rest of the corpus, such as a single one, get K equal values.

    Args:
        items: [n, D], the whole corpus of one side.
        concepts: [K, D], from the same encoder.
        weights: Of the concepts, above 0; none: all alike.

    Returns:
        Unit rows float32 [n, K].

    Raises:
        ValueError: Rows are empty, zero or not finite, or the widths differ.
    """
    items = checked_rows(items, "items")
    concepts = checked_rows(concepts, "concepts", items.shape[1])
    likeness = standardised(items @ (concepts - concepts.mean(axis=0)).T)
    if len(weights):
        likeness *= np.sqrt(weights, dtype=np.float32)
    return unit_rows(decorrelated(likeness, SHRINKAGE))


def _read(
    path: Path,
) -> tuple[dict[tuple[str, str], Concept], dict[str, tuple[str, ...]], dict[str, float], bool]:
    values = read_toml(path, "concept bank")
    alone = values.pop("alone", False)
    if not isinstance(alone, bool):
        raise BadUsage(f"In the concept bank {path}, `alone` is true or false, not {alone!r}.")
    templates = _templates(path, _table(path, "templates", values.pop("templates", {})))
    weights = _table(path, "weights", values.pop("weights", {}))
    for family, weight in weights.items():
        if (
            isinstance(weight, bool)
            or not isinstance(weight, (int, float))
            or not (0 <= weight <= 1e6)
        ):
            raise _unfit(path, f"weights.{family}", "is not a number, 0 or more")
    concepts = {}
    for family, entries in values.items():
        for name, phrases in _table(path, family, entries).items():
            if not isinstance(phrases, dict) or set(phrases) != set(_PHRASES):
                raise _unfit(path, f"{family}.{name}", "needs a `painting` and a `music` phrase")
            if not all(isinstance(text, str) and text.strip() for text in phrases.values()):
                raise _unfit(path, f"{family}.{name}", "has a phrase that is not a text")
            concepts[family, name] = Concept(family, name, phrases["painting"], phrases["music"])
    return concepts, templates, {name: float(weight) for name, weight in weights.items()}, alone


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
