"""Log-mels keep absolute levels, and sound comes back from them."""

from __future__ import annotations

import numpy as np
import pytest

from artsound.training.codec import sound, training_log_mel
from artsound.training.config import Mel

MEL = Mel()
SECONDS = np.arange(2 * MEL.sample_rate) / MEL.sample_rate


def tone(level_db: float, hertz: float = 1000.0) -> np.ndarray:
    return (10 ** (level_db / 20) * np.sin(2 * np.pi * hertz * SECONDS)).astype(np.float32)


def test_ten_decibels_less_is_ten_decibels_less() -> None:
    loud, quiet = training_log_mel(tone(-6), MEL), training_log_mel(tone(-16), MEL)
    assert loud.max(axis=1)[10] - quiet.max(axis=1)[10] == pytest.approx(10, abs=0.01)
    assert loud.max() == pytest.approx(-6, abs=3)


def test_silence_is_the_floor_and_sounds_like_nothing() -> None:
    levels = training_log_mel(np.zeros(MEL.sample_rate, np.float32), MEL)
    assert np.all(levels == MEL.floor_db)
    assert np.abs(sound(levels, MEL, iterations=4)).max() < 1e-4


def test_a_resynthesised_clip_has_the_levels_of_the_original() -> None:
    wave = tone(-12, 440) + tone(-18, 1320) * (np.sin(2 * np.pi * 2 * SECONDS) > 0)
    levels = training_log_mel(wave, MEL)
    again = sound(levels, MEL, iterations=32)
    assert again.shape == (len(levels) * MEL.hop,)
    loud = levels > -50
    assert np.abs(training_log_mel(again, MEL) - levels)[loud].mean() < 3
    rms = [10 * np.log10(np.mean(np.square(w))) for w in (wave, again)]
    assert rms[0] == pytest.approx(rms[1], abs=1.5)


def test_the_same_levels_and_seed_give_the_same_bytes() -> None:
    levels = training_log_mel(tone(-20), MEL)
    first, second = (sound(levels, MEL, iterations=4, seed=3) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert first.tobytes() != sound(levels, MEL, iterations=4, seed=4).tobytes()


def test_sound_never_clips() -> None:
    levels = np.zeros((32, MEL.bins), np.float32)  # every band at full scale
    assert np.abs(sound(levels, MEL, iterations=4)).max() == pytest.approx(0.99, abs=1e-6)
