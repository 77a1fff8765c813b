"""The `captions` and `text` bridges: pairs by the captions of both sides.

`captions` compares captions of artworks with the sound, in the audio encoder, and captions of
tracks with the pictures, in the image encoder. `text` compares the captions of both sides in one
text encoder.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from artsound.encoders.base import Needs
from artsound.pairing.bridge import BridgeContext, Rows
from artsound.pairing.rows import centred_rows, checked_rows, deviation
from artsound.plugins import refuse_argument
from artsound.recipe import Recipe


class CaptionsBridge:
    """Each side's captions against the other side itself, by the encoders of both sides."""

    name = "captions"
    version = "1"

    def needs(self, recipe: Recipe, argument: str) -> Needs:
        """Vectors and captions of both sides, and both encoders for texts."""
        refuse_argument("bridge", self.name, argument)
        return Needs.of_both(recipe, captions=True)

    def inputs(self, build: BridgeContext) -> Any:
        """The digests of both sides' captions."""
        return build.captions_digest()

    def rows(self, build: BridgeContext) -> Rows:
        """The rows of `caption_rows` over the whole catalogue; every item must have a caption."""
        embed = build.recipe.embed
        (artworks, a), (tracks, t) = build.image_vectors(), build.audio_vectors()
        heard = build.texts(embed.audio_encoder, build.captions("artworks", artworks))
        seen = build.texts(embed.image_encoder, build.captions("tracks", tracks))
        a, t = caption_rows(a, heard, t, seen)
        return artworks, a, tracks, t


class TextBridge:
    """The captions of both sides in the space of one text encoder."""

    name = "text"
    version = "1"

    def needs(self, recipe: Recipe, argument: str) -> Needs:
        """Captions of both sides, and the text encoder."""
        refuse_argument("bridge", self.name, argument)
        return Needs(texts=(recipe.embed.text_encoder,), captions=True)

    def inputs(self, build: BridgeContext) -> Any:
        """The digests of both sides' captions, and of the encoder, which embeds nothing else."""
        encoder = build.recipe.embed.text_encoder
        return [*build.captions_digest(), build.encoder_digest(encoder)]

    def rows(self, build: BridgeContext) -> Rows:
        """Embedded captions, each side centred: all captions of a side share its vocabulary."""
        encoder = build.recipe.embed.text_encoder
        artworks, _ = build.descriptors("artworks")
        tracks, _ = build.descriptors("tracks")
        return (
            artworks,
            centred_rows(build.texts(encoder, build.captions("artworks", artworks))),
            tracks,
            centred_rows(build.texts(encoder, build.captions("tracks", tracks))),
        )


def caption_rows(
    images: np.ndarray,
    artwork_captions: np.ndarray,
    audio: np.ndarray,
    track_captions: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Put artworks and tracks into one space by their captions.

    A score is w · image·(track caption) + (1 − w) · (artwork caption)·audio. All rows are first
    centred, each of the four kinds by itself, which removes the modality gaps. w gives both terms
    the same standard deviation over all pairs, so that neither encoder outweighs the other.

    Args:
        images: [nA, D1], artworks by the image encoder.
        artwork_captions: [nA, D2], their captions by the audio encoder.
        audio: [nT, D2], tracks by the audio encoder.
        track_captions: [nT, D1], their captions by the image encoder.

    Returns:
        Artworks [nA, D1 + D2] and tracks [nT, D1 + D2], unit rows float32.

    Raises:
        ValueError: Rows are empty, zero or not finite, or their numbers or widths do not agree.
    """
    images, audio = checked_rows(images, "images"), checked_rows(audio, "audio")
    seen = checked_rows(track_captions, "track captions", images.shape[1])
    heard = checked_rows(artwork_captions, "artwork captions", audio.shape[1])
    for items, captions, name in ((images, heard, "artworks"), (audio, seen, "tracks")):
        if len(items) != len(captions):
            raise ValueError(f"there are {len(items)} {name} but {len(captions)} captions")
    images, audio, seen, heard = (centred_rows(rows) for rows in (images, audio, seen, heard))
    in_images, in_audio = deviation(images, seen), deviation(heard, audio)
    both = in_images + in_audio
    # The more a term varies, the less it weighs.
    weight = in_audio / both if both > 0 else 0.5
    by_image, by_audio = np.float32(np.sqrt(weight)), np.float32(np.sqrt(1.0 - weight))
    return (
        np.concatenate([images * by_image, heard * by_audio], axis=1),
        np.concatenate([seen * by_image, audio * by_audio], axis=1),
    )
