from __future__ import annotations

import librosa
import numpy as np
import pytest

from artsound.errors import BadUsage
from artsound.media.mel import MelBands, log_mel, mel_frequencies, triangle_filters

RATE = 16_000


@pytest.mark.parametrize("bands", [MelBands(), MelBands(512, 128, 40, 50.0, 7_000.0, 1e-3)])
def test_levels_are_those_of_librosa(bands: MelBands) -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE + 77).astype(np.float32)
    levels = log_mel(sound, RATE, bands)
    margin = (bands.n_fft - bands.hop) // 2
    theirs = librosa.feature.melspectrogram(
        y=np.pad(sound, margin, mode="reflect"),
        sr=RATE,
        n_fft=bands.n_fft,
        hop_length=bands.hop,
        n_mels=bands.bins,
        fmin=bands.low_hz,
        fmax=bands.high_hz,
        power=1.0,
        center=False,
    )
    expected = np.log(np.maximum(theirs, bands.floor)).T
    assert levels.dtype == np.float32
    assert levels.shape == (len(sound) // bands.hop, bands.bins)
    np.testing.assert_allclose(levels[: len(expected)], expected[: len(levels)], atol=1e-3)


@pytest.mark.parametrize(
    ("rate", "n_fft", "bins", "low_hz", "high_hz"),
    [(16_000, 1024, 64, 0.0, 8_000.0), (44_100, 2048, 128, 20.0, 20_000.0),
     (22_050, 512, 1, 1_000.0, 11_025.0), (48_000, 400, 80, 50.5, 900.0)],
)  # fmt: skip
def test_filters_are_those_of_librosa_to_the_last_bit(
    rate: int, n_fft: int, bins: int, low_hz: float, high_hz: float
) -> None:
    ours = triangle_filters(rate, n_fft, bins, low_hz=low_hz, high_hz=high_hz)
    theirs = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=bins, fmin=low_hz, fmax=high_hz)
    assert ours.dtype == theirs.dtype
    assert np.array_equal(ours, theirs)
    edges = mel_frequencies(bins, low_hz, high_hz)
    assert np.array_equal(edges, librosa.mel_frequencies(n_mels=bins, fmin=low_hz, fmax=high_hz))


def test_ten_seconds_and_a_quarter_are_the_1024_frames_that_audioldm_takes() -> None:
    assert log_mel(np.zeros(163_840, np.float32), RATE, MelBands()).shape == (1024, 64)


def test_silence_is_the_floor_and_a_short_sound_has_one_frame() -> None:
    levels = log_mel(np.zeros(50, np.float32), RATE, MelBands())
    assert levels.shape == (1, 64)
    assert np.allclose(levels, np.log(1e-5))


def test_bands_above_half_the_sample_rate_are_refused_in_a_sentence() -> None:
    with pytest.raises(BadUsage, match="sample_rate"):
        log_mel(np.zeros(9_000, np.float32), 8_000, MelBands())


@pytest.mark.parametrize("wrong", [{"hop": 0}, {"hop": 2_000}, {"bins": 0}, {"high_hz": 0.0}])
def test_impossible_bands_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadUsage, match="mel needs"):
        MelBands(**wrong)  # type: ignore[arg-type]
