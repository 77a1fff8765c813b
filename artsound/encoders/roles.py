"""Which encoders and which captions a recipe needs: what its bridges and its checks state.

The rooms below pairing ask here, by way of the registry, so that none of them depends on what
bridges there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from artsound import plugins
from artsound.encoders.base import MODALITIES, Side, check_modality
from artsound.recipe import Recipe


@dataclass(frozen=True)
class Needs:
    """What a bridge is made of, beside the measured descriptors.

    Attributes:
        artworks: Encoders whose vectors of all artworks it needs.
        tracks: Encoders whose vectors of all tracks it needs.
        texts: Encoders that it has embed texts.
        captions: Whether it needs the captions of all items, so that they must come before pairs.
        extra: An extra of ArtSound that it needs itself, beside those of its encoders.
    """

    artworks: tuple[str, ...] = ()
    tracks: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    captions: bool = False
    extra: str = ""


def bridges_of(recipe: Recipe) -> tuple[str, ...]:
    """The names of the recipe's bridges, each once: the one that makes the pairs comes first."""
    return tuple(dict.fromkeys((recipe.pair.bridge, *recipe.pair.compare)))


def needs_of(recipe: Recipe) -> Iterator[Needs]:
    """What each bridge of the recipe needs."""
    for name in bridges_of(recipe):
        plugin, argument = plugins.get("bridge", name)
        yield plugin.needs(recipe, argument)


def captions_come_first(recipe: Recipe) -> bool:
    """Whether captions come before pairs, because a bridge of the recipe is made of them."""
    return any(needs.captions for needs in needs_of(recipe))


def side_encoder(recipe: Recipe, side: Side) -> str:
    """The encoder that the recipe names for a side's media."""
    return recipe.embed.image_encoder if side == "artworks" else recipe.embed.audio_encoder


def media_encoders(recipe: Recipe) -> list[tuple[Side, str]]:
    """Sides, and the encoders whose vectors of them bridges and checks of captions need.

    Raises BadUsage for an encoder that does not take what it is to be given.
    """
    found: dict[tuple[Side, str], None] = {}
    for needs in needs_of(recipe):
        found |= dict.fromkeys(("artworks", name) for name in needs.artworks)
        found |= dict.fromkeys(("tracks", name) for name in needs.tracks)
    found |= dict.fromkeys(_checked_captions(recipe))
    for side, name in found:
        check_modality(name, MODALITIES[side])
    return [(side, name) for side, name in found if not plugins.get("encoder", name)[0].measured]


def text_encoders(recipe: Recipe) -> list[str]:
    """The encoders that bridges and checks of captions have embed texts, each once.

    Raises BadUsage for an encoder that does not take texts.
    """
    found = [name for needs in needs_of(recipe) for name in needs.texts]
    found += [name for _, name in _checked_captions(recipe)]
    for name in found:
        check_modality(name, "text")
    return list(dict.fromkeys(found))


def encoders_of(recipe: Recipe) -> list[str]:
    """All encoders that a build needs weights of, each once; raises as the two above do."""
    names = [name for _, name in media_encoders(recipe)]
    return list(dict.fromkeys([*names, *text_encoders(recipe)]))


def _checked_captions(recipe: Recipe) -> list[tuple[Side, str]]:
    """The sides whose captions are to be compared with their items, and the encoders of them."""
    if not recipe.captions.min_agreement:
        return []
    sides: tuple[Side, ...] = ("artworks", "tracks")
    return [
        (side, side_encoder(recipe, side))
        for side in sides
        if plugins.get("captioner", getattr(recipe.captions, side))[0].checked
    ]
