"""Pairs to look at and listen to, small enough to live inside a page."""

from __future__ import annotations

import base64
import io
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl

from artsound.media.audio import load_mono
from artsound.media.images import load_rgb
from artsound.shards.read import Dataset

PAIRS = 24
PICTURE_SIDE = 420  # pixels
SOUND_SECONDS = 12.0
SOUND_RATE = 24_000  # hertz


def gallery(data: Dataset) -> list[dict[str, Any]]:
    """At most 24 pairs, spread evenly over the ranking by score, best first; base64 media."""
    samples = [data.read(position) for position in _positions(data.frame)]
    # Two thirds of a report's time, in libraries that do not hold Python's lock.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return list(threads.map(_shown, samples))


def _positions(frame: pl.DataFrame) -> list[int]:
    order = frame.with_row_index("row").sort(["score", "key"], descending=[True, False])["row"]
    places = np.linspace(0, frame.height - 1, min(PAIRS, frame.height)).round().astype(int)
    return [int(order[int(place)]) for place in places]


def _shown(sample: dict[str, Any]) -> dict[str, Any]:
    row = sample["json"]
    year = f", {row['year']}" if row["year"] >= 0 else ""
    return {
        "key": sample["key"],
        "picture": base64.b64encode(_thumbnail(sample["jpg"])).decode(),
        "sound": base64.b64encode(_excerpt(sample["mp3"])).decode(),
        "artwork_caption": row["artwork_caption"],
        "music_caption": row["music_caption"],
        "artwork_credit": f"{row['painter']}, {row['artwork_title'] or 'untitled'}{year}",
        "track_credit": f"{row['artist']}, {row['title']} ({row['track_license_id']})",
        "tags": [
            text
            for text in (
                row["style"],
                row["music_genre"],
                f"score {row['score']:.2f}",
                row["split"],
            )
            if text
        ],
    }


def _thumbnail(jpeg: bytes) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.fromarray(load_rgb(jpeg, max_side=PICTURE_SIDE))
    picture.save(buffer, format="JPEG", quality=82)
    return buffer.getvalue()


def _excerpt(clip: bytes) -> bytes:
    import soundfile

    mono = load_mono(clip, sample_rate=SOUND_RATE, seconds=SOUND_SECONDS)
    fade = min(len(mono), SOUND_RATE // 2)
    if fade:
        mono[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    buffer = io.BytesIO()
    soundfile.write(buffer, mono, SOUND_RATE, format="MP3", compression_level=0.8)
    return buffer.getvalue()
