"""A bridge: both sides as unit rows of one space, whose dot product scores a pair."""

import numpy as np

from artsound.encoders.base import Needs


class Sentences:
    """The captions of both sides in the space of the text encoder, each side centred."""

    name, version, extra = "sentences", "1", ""

    def needs(self, recipe, argument):
        return Needs(texts=(recipe.embed.text_encoder,), captions=True)

    def inputs(self, build):
        encoder = build.recipe.embed.text_encoder
        return [*build.captions_digest(), build.encoder_digest(encoder)]

    def rows(self, build):
        return (*self._side(build, "artworks"), *self._side(build, "tracks"))

    def _side(self, build, side):
        ids, _ = build.descriptors(side)
        rows = build.texts(build.recipe.embed.text_encoder, build.captions(side, ids))
        rows = rows - rows.mean(axis=0)
        return ids, rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
