"""The sample's pictures as files: painted, encoded, and a few of them spoilt on purpose."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from artsound.sample.catalogue import Work
from artsound.sample.colour import Mood

SOUND = ("", "cmyk", "copy")
"""The faults of works whose files are usable all the same."""

HTML = (
    "<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head>\n"
    "<body><h1>Not Found</h1><p>The synthetic museum has lost this picture.</p></body></html>\n"
)
COMMENT = b"synthetic picture, painted by code (artsound sample)"


def paint(work: Work) -> Image.Image:
    """The picture (RGB, at most 512 pixels a side) of a work, the same for the same work."""
    rng = np.random.default_rng(work.seed)
    mood = Mood(work.valence, work.arousal)
    return work.manner.paint(work.motif.subject, mood, rng, work.size)


def jpeg(image: Image.Image) -> bytes:
    """JPEG bytes at quality 90, with a comment that says what the picture is."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, comment=COMMENT)
    return buffer.getvalue()


def picture_bytes(work: Work) -> bytes | None:
    """What lies under the work's file name: a JPEG, or what its ``fault`` made of it.

    "html" is a web page, "cut" a JPEG that ends half-way, "thumbnail" one of 40 × 30 pixels,
    "absent" no file (None). "cmyk" is a sound JPEG in four inks; "copy" equals its original.
    """
    if work.fault == "html":
        return HTML.encode()
    if work.fault == "absent":
        return None
    image = paint(work)
    if work.fault == "thumbnail":
        return jpeg(image.resize((40, 30)))
    if work.fault == "cmyk":
        return jpeg(image.convert("CMYK"))
    data = jpeg(image)
    return data[: len(data) // 2] if work.fault == "cut" else data
