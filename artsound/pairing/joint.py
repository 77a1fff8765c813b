"""The `joint` bridge: one encoder that takes pictures and sound into one space.

`joint:imagebind` is ImageBind (Girdhar et al., CVPR 2023); `imagebind` is short for it.
"""

from __future__ import annotations

from artsound import plugins
from artsound.catalogue import SIDES
from artsound.encoders.base import Needs, embedding_folder
from artsound.errors import BadData, BadUsage
from artsound.pairing.bridge import BridgeContext, Rows
from artsound.pairing.rows import centred_rows
from artsound.recipe import Recipe


class Joint:
    """Both sides by one encoder of pictures and sound: joint:ENCODER."""

    name = "joint"
    version = "1"
    encoder = ""

    def needs(self, recipe: Recipe, argument: str) -> Needs:  # noqa: ARG002
        """The encoder's vectors of both sides."""
        encoder = self._encoder(argument)
        return Needs(artworks=(encoder,), tracks=(encoder,))

    def inputs(self, build: BridgeContext) -> str:  # noqa: ARG002
        """Nothing beside the vectors."""
        return ""

    def rows(self, build: BridgeContext) -> Rows:
        """Both sides, each centred: also in a joint space the modalities have different means.

        Raises:
            BadUsage: The vectors are not in the workspace, where the embed stage or the user must
                put them.
        """
        encoder = self._encoder(build.argument)
        folder = embedding_folder(build.workspace, encoder)
        if not folder.is_dir():
            raise BadUsage(
                f"The bridge {build.name} finds no {folder}: run `artsound embed --bridge "
                f"{build.name}` where the encoder {encoder} is installed, or use --bridge concepts."
            )
        (artworks, a), (tracks, t) = (build.vectors(encoder, side) for side in SIDES)
        if a.shape[1] != t.shape[1]:
            raise BadData(
                f"{folder} holds artworks of {a.shape[1]} and tracks of {t.shape[1]} dimensions: "
                "both must come from one model."
            )
        return artworks, centred_rows(a), tracks, centred_rows(t)

    def _encoder(self, argument: str) -> str:
        if self.encoder:
            plugins.refuse_argument("bridge", self.name, argument, f"write joint:{argument}")
        if not (self.encoder or argument):
            raise BadUsage("The bridge joint needs an encoder: write joint:ENCODER.")
        plugins.find("encoder", self.encoder or argument)
        return self.encoder or argument


class ImageBindBridge(Joint):
    """Short for joint:imagebind."""

    name = "imagebind"
    encoder = "imagebind"
