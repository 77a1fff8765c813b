"""The sample's music: sound, science, and the miniature FMA it is written as."""

from __future__ import annotations

import numpy as np

from artsound.sources.sample.music import compose_clip, encode_mp3


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_piece() -> None:
    first, again, other = (
        encode_mp3(compose_clip("Jazz", 0.4, 0.1, seconds=12, seed=seed)) for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


def test_every_clip_is_clean_sound() -> None:
    for genre, valence, arousal in (("Rock", -0.9, 0.95), ("Instrumental", 0.2, -1.0)):
        samples = compose_clip(genre, valence, arousal, seconds=12, seed=1)
        assert samples.dtype == np.float32
        assert np.isfinite(samples).all()
        assert np.abs(samples).max() < 0.85
        assert abs(samples.mean()) < 1e-3
