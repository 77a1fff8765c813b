"""An encoder of pictures and words that needs no weights: how light they are."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from artsound.encoders.base import Encoder, EncoderPlugin, EncoderSettings

WORDS = {"light": 1.0, "dark": 0.0}


class ColourWords(EncoderPlugin):
    """Lightness of pictures, and of the words light and dark."""

    name = "colour_words"
    version = "1"
    modalities = ("image", "text")

    def digest(self, settings: EncoderSettings) -> str:  # noqa: ARG002
        return "colour words 1"

    def open(self, settings: EncoderSettings, device: str) -> Lightness:  # noqa: ARG002
        return Lightness()


class Lightness(Encoder):
    digest = "colour words 1"
    dim = 2

    def images(self, data: Sequence[bytes]) -> np.ndarray:
        grey = [np.asarray(Image.open(io.BytesIO(one)).convert("L")).mean() / 255 for one in data]
        return self._rows(grey)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        return self._rows([WORDS.get(text, 0.5) for text in texts])

    def _rows(self, values: Sequence[float]) -> np.ndarray:
        angles = np.array(values) * np.pi / 2
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
