"""One clip of the sample: composed, synthesised and encoded."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from artsound.sample.compose import compose_score
from artsound.sample.genres import BY_TITLE
from artsound.sample.synth import SAMPLE_RATE, Samples, render


def compose_clip(
    genre: str, valence: float, arousal: float, *, seconds: float, seed: int
) -> Samples:
    """Music in a genre at a point of the affect plane: mono float32 at SAMPLE_RATE, |x| < 1.

    `genre` is a title of genres.GENRES, `valence` and `arousal` lie in −1..1. The length is
    `seconds` rounded to whole bars. The same arguments give the same samples.
    """
    rng = np.random.default_rng(seed)
    return render(compose_score(BY_TITLE[genre], valence, arousal, seconds, rng))


def encode_mp3(samples: Samples) -> bytes:
    """The samples as an MP3 file (variable bit rate, about 60 kbit/s); same samples, same bytes."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="MP3")
    return buffer.getvalue()
