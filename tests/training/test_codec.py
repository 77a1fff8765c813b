"""The patch codec is linear, keeps levels, and is the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artsound.errors import BadData
from artsound.training.codec import PatchCodec, cells, fit_codec
from artsound.training.config import Codec, Mel

MEL = Mel(seconds=1.024)


def clips(count: int = 8, frames: int = 320) -> list[np.ndarray]:
    chance = np.random.default_rng(5)
    result = []
    for _ in range(count):
        rhythm = np.sin(np.arange(frames)[:, None] * chance.uniform(0.1, 0.5))
        tilt = np.linspace(0, -40, MEL.bins)[None] * chance.uniform(0.2, 1)
        result.append(-20 + 8 * rhythm + tilt + chance.normal(0, 1, (frames, MEL.bins)))
    return [clip.astype(np.float32) for clip in result]


def test_levels_come_back_from_the_latent() -> None:
    codec = fit_codec(MEL, Codec(), clips())
    clip = clips()[2]
    assert np.abs(codec.decode(codec.encode(clip)) - clip).mean() < 1.5


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_with_every_component_nothing_is_lost(bands: int) -> None:
    settings_ = Codec(cell_frames=2, bands=bands, channels=2 * MEL.bins // bands)
    codec = fit_codec(MEL, settings_, clips())
    clip = clips()[0]
    assert np.allclose(codec.decode(codec.encode(clip)), clip, atol=0.02)


def test_training_latents_have_unit_variance() -> None:
    codec = fit_codec(MEL, Codec(), clips())
    values = np.concatenate([codec.encode(clip).ravel() for clip in clips()])
    assert values.std() == pytest.approx(1, abs=0.01)
    assert values.mean() == pytest.approx(0, abs=0.01)


def test_a_louder_clip_stays_louder() -> None:
    codec = fit_codec(MEL, Codec(), clips())
    clip = clips()[1] - 10
    quiet, loud = (codec.decode(codec.encode(clip + gain)) for gain in (0, 6))
    assert (loud - quiet).mean() == pytest.approx(6, abs=1)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.5, 60))
def test_cells_cover_the_time_asked_for_with_less_than_two_to_spare(seconds: float) -> None:
    codec = Codec()
    count, length = cells(seconds, codec, MEL), codec.cell_frames * MEL.hop / MEL.sample_rate
    assert count % 2 == 0
    assert -1e-6 <= count * length - seconds < 2 * length


def test_the_codec_is_the_same_for_the_same_clips_and_survives_being_saved() -> None:
    first, second = fit_codec(MEL, Codec(), clips()), fit_codec(MEL, Codec(), clips())
    kept = PatchCodec.from_tensors(MEL, Codec(), first.tensors())
    assert kept.encode(clips()[0]).tobytes() == second.encode(clips()[0]).tobytes()


def test_misshapen_arrays_of_a_checkpoint_are_refused() -> None:
    codec = fit_codec(MEL, Codec(), clips())
    with pytest.raises(BadData, match=r"codec\.mean"):
        PatchCodec.from_tensors(MEL, Codec(bands=4, channels=16), codec.tensors())
