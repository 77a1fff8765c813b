"""A self-test of a loaded encoder: unlike items must get unlike, finite, repeatable vectors.

Weights of another model, a missing tokenizer, a wrong precision and a collapsed checkpoint (such
as laion/larger_clap_music, whose texts all have cosines of 0.999) load without an error. What they
give would only be noticed in the finished pairs.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.encoders.weights import brief
from artsound.errors import BadData

if TYPE_CHECKING:
    from artsound.encoders.base import Encoder

MOST_ALIKE = 0.9  # the mean cosine of unlike items, from which on a model counts as collapsed
_STABLE = {"fp32": 0.999, "fp16": 0.99, "bf16": 0.99}  # least cosine of an item's two vectors
_ALONE = 3  # items that are also embedded in a batch of their own
_RATE, _SECONDS = 16_000, 3

TEXTS = (
    "a quiet harbour at dawn",
    "drums and distorted guitars",
    "portrait of an old man with a white beard",
    "7",
    "a slow piano piece in a minor key, recorded in a church, with long pauses between the notes",
    "still life: lemons, a silver jug and an oyster on a dark table",
    "fast electronic dance music",
    "angels",
)


def check_encoder_works(
    encoder: Encoder, name: str, weights: Path, modalities: Sequence[str], precision: str
) -> None:
    """Embed eight unlike items of each modality, and three of them once more in a smaller batch.

    Args:
        encoder: The encoder.
        name: Its name, for messages.
        weights: The file of its weights, for messages.
        modalities: Those to test, of image, audio and text.
        precision: Of its forward passes, which sets what rounding may do.

    Raises:
        BadData: The model cannot embed them, or vectors are not finite, alike (a mean cosine of
            0.9 or more), or depend on the other items of a batch.
    """
    for modality, what, items in (
        ("image", "pictures", _pictures),
        ("audio", "clips", _clips),
        ("text", "texts", lambda: list(TEXTS)),
    ):
        if modality in modalities:
            method = getattr(encoder, {"image": "images", "text": "texts"}.get(modality, modality))
            _check(method, items(), f"The encoder {name} with {weights}", what, precision)


def _check(method: Any, items: list[Any], who: str, what: str, precision: str) -> None:
    try:
        rows = np.asarray(method(items), np.float64)
        again = np.asarray(method(items[:_ALONE]), np.float64)
    except BadData as error:
        raise BadData(f"{who} fails its self-test on {what}: {error}") from error
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        raise BadData(
            f"{who} cannot embed {what} ({brief(error)}): weights, tokenizer and settings are not "
            "of one model. Fetch all files of one again, or name the model they belong to."
        ) from error
    if not (np.isfinite(rows).all() and np.isfinite(again).all()):
        raise BadData(
            f"{who} gives vectors of {what} that are not finite: fetch the checkpoint again, or "
            'set embed.precision = "fp32".'
        )
    cosines = rows @ rows.T
    mean = float(cosines[np.triu_indices(len(rows), 1)].mean())
    if mean >= MOST_ALIKE:
        raise BadData(
            f"{who} gives unlike {what} nearly the same vector (mean cosine {mean:.3f}): the "
            "checkpoint is collapsed, of another model, or its tokenizer is empty. Fetch it again, "
            "or choose another one."
        )
    least = float((rows[:_ALONE] * again).sum(axis=1).min())
    if least < _STABLE.get(precision, 0.99):
        raise BadData(
            f"{who} gives the same {what} other vectors in another batch (cosine {least:.4f}): "
            'set embed.precision = "fp32", or choose another checkpoint.'
        )


def _pictures() -> list[bytes]:
    """Eight PNGs of 128 × 128: flat, shaded, striped, round, and of noise, in different colours."""
    from PIL import Image

    y, x = np.mgrid[0:128, 0:128] / 128
    noise = np.random.default_rng(0).random((128, 128))
    round_ = (x - 0.5) ** 2 + (y - 0.5) ** 2
    planes: list[tuple[Any, Any, Any]] = [
        (x * 0, y * 0, x * 0),
        (x * 0 + 1.0, x * 0 + 0.9, x * 0 + 0.8),
        (x, y, 1 - x),
        (x * 8 % 1 > 0.5, x * 8 % 1 > 0.5, x * 8 % 1 > 0.5),
        (y * 16 % 1 > 0.5, y * 0, y * 0),
        (round_ < 0.1, round_ < 0.05, x * 0 + 0.2),
        (noise, noise.T, noise[::-1]),
        (x * 0, (x + y) * 5 % 1 > 0.5, y),
    ]
    found = []
    for plane in planes:
        out = io.BytesIO()
        pixels = (np.stack(plane, axis=-1).astype(np.float64) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(out, "PNG")
        found.append(out.getvalue())
    return found


def _clips() -> list[bytes]:
    """Eight WAVs of 3 s: low and high tones, a chord, a sweep, beats, noise, a hum and clicks."""
    import soundfile

    t = np.arange(_SECONDS * _RATE) / _RATE
    noise = np.random.default_rng(0).normal(0, 0.2, len(t))
    sounds = [
        np.sin(2 * np.pi * 80 * t),
        np.sin(2 * np.pi * 3000 * t),
        sum(np.sin(2 * np.pi * f * t) for f in (262, 330, 392)) / 3,
        np.sin(2 * np.pi * (100 + 900 * t) * t),
        noise * np.exp(-8 * (t * 2 % 1)),
        noise,
        np.sign(np.sin(2 * np.pi * 50 * t)) * 0.3,
        (t * 7 % 1 < 0.002) * 1.0,
    ]
    found = []
    for sound in sounds:
        out = io.BytesIO()
        soundfile.write(out, np.asarray(sound) * 0.5, _RATE, format="WAV", subtype="PCM_16")
        found.append(out.getvalue())
    return found
