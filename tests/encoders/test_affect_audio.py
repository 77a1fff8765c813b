from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from synthetic import PATTERNS, RATE, cadence, drums

from artsound.encoders import affect_audio
from artsound.encoders.affect_audio import KEYS, describe_audio
from artsound.schema import check_table, to_table


def noise(seconds: float, level: float = 0.1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal(int(seconds * RATE))).astype(np.float32)


def tone(frequency: float, seconds: float = 6.0, level: float = 0.3) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * frequency * t)).astype(np.float32)


def fulfils_schema(values: dict[str, Any]) -> None:
    check_table(
        "track_descriptors", to_table("track_descriptors", [{"track_id": "000001", **values}])
    )


# A drum pattern faster than 165 is as well heard at half its tempo.
@pytest.mark.parametrize(
    ("pattern", "tempo"),
    [(p, t) for p in PATTERNS for t in range(60, 181, 15) if p == "clicks" or t <= 165],
)
def test_the_tempo_of_a_clear_beat_is_right(pattern: str, tempo: int):
    found = describe_audio(drums(pattern, tempo))
    assert found["tempo"] == pytest.approx(tempo, rel=0.03)
    assert found["pulse_clarity"] > 0.5


def test_a_beat_that_may_be_counted_twice_as_fast_changes_the_pace_little():
    # Strokes at 160 a minute, every second one softer: by how much decides which is the beat.
    found = []
    for gain in (1.0, 0.7, 0.5, 0.3, 0.1):
        strokes = drums("clicks", 80).copy()
        shift = round(RATE * 60 / 160)
        strokes[shift:] += gain * strokes[:-shift]
        found.append(describe_audio(strokes))
    tempi, paces = ([one[name] for one in found] for name in ("tempo", "pace"))
    assert max(tempi) > 1.9 * min(tempi)
    assert max(paces) < 1.35 * min(paces)
    slow, fast = (describe_audio(drums("rock", tempo))["pace"] for tempo in (70, 160))
    assert fast > 1.2 * slow


def test_an_unclear_key_makes_the_mode_count_less():
    clear = cadence(0, "major")
    cluster = sum(tone(262 * 2 ** (n / 12), len(clear) / RATE, 0.03) for n in range(12))
    for found in map(describe_audio, (clear, clear + cluster[: len(clear)])):
        weighted = found["majorness"] * found["key_clarity"] ** 2
        assert found["clear_majorness"] == pytest.approx(weighted, abs=1e-6)


@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("tonic", range(12))
def test_the_key_of_a_cadence_is_right_even_when_out_of_tune(tonic: int, mode: str):
    found = describe_audio(cadence(tonic, mode, detune=0.2 * (tonic % 3 - 1)))
    assert (found["key"], found["mode"]) == (KEYS[tonic], mode)
    assert (found["majorness"] > 0) == (mode == "major")
    assert found["key_clarity"] > 0.7


def test_levels_are_in_decibels_of_full_scale():
    quiet, loud = describe_audio(tone(440, level=0.01)), describe_audio(tone(440, level=1.0))
    assert loud["loudness"] == pytest.approx(-3.01, abs=0.1)
    assert loud["loudness"] - quiet["loudness"] == pytest.approx(40, abs=0.1)
    assert loud["dynamic_range"] < 1


def test_a_crescendo_rises_by_what_it_rises():
    sound = noise(10.0) * (10 ** np.linspace(-1.5, 0, 10 * RATE)).astype(np.float32)
    found = describe_audio(sound)
    assert found["loudness_slope"] == pytest.approx(30, abs=3)
    assert found["dynamic_range"] > 20


def test_timbre_distinguishes_high_from_low_and_tone_from_noise():
    low, high, hiss = (describe_audio(x) for x in (tone(110), tone(3520), noise(6.0)))
    assert low["centroid"] < 400
    assert high["centroid"] > 3000
    assert low["bass"] > 0.95
    assert high["bass"] < 0.05
    assert high["pitch_height"] - low["pitch_height"] == pytest.approx(5, abs=0.3)
    assert hiss["flatness"] > 0.4
    assert low["flatness"] < 0.05
    assert hiss["zero_crossings"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("frequency", [65, 100, 440, 1000, 1900, 2050])
def test_the_peak_of_a_tone_has_its_frequency_and_strength(frequency: int):
    found, amplitude = affect_audio._spectral_peaks(tone(frequency) + tone(523), RATE)
    heard = np.abs(found - frequency) < 1
    assert (heard & (amplitude > 0)).any(axis=1).all()
    other = amplitude[np.abs(found - 523) < 1].mean()
    # By up to 1.4 dB less, where the frequency lies between two bins of a Hann window.
    assert amplitude[heard].mean() == pytest.approx(other, rel=0.16)


@pytest.mark.parametrize("frequency", [2800, 3500, 4600, 5200, 5600, 7000, 9500, 10_900])
def test_a_tone_above_the_tonal_range_is_no_peak_within_it(frequency: int):
    found, amplitude = affect_audio._spectral_peaks(tone(frequency) + tone(523, level=0.1), RATE)
    assert (amplitude[np.abs(found - 523) > 20] == 0).all()


def test_a_semitone_is_rougher_than_a_fifth():
    semitone = describe_audio(tone(262) + tone(277.6))
    fifth = describe_audio(tone(262) + tone(393))
    assert semitone["roughness"] > 3 * fifth["roughness"]


def test_drums_are_percussive_and_chords_are_not():
    assert describe_audio(drums("rock", 110))["percussiveness"] > 0.8
    assert describe_audio(cadence(0, "major"))["percussiveness"] < 0.6


def test_onsets_are_counted():
    rate = describe_audio(drums("clicks", 120))["onset_rate"]
    assert rate == pytest.approx(2.0, abs=0.3)


def test_measures_other_than_level_do_not_depend_on_the_level():
    sound = drums("rock", 100) + cadence(2, "minor").repeat(3)[: 16 * RATE]
    one, other = describe_audio(sound), describe_audio(0.25 * sound)
    for name in set(one) - {"loudness", "key", "mode"}:
        assert other[name] == pytest.approx(one[name], rel=0.02, abs=0.02), name


def test_silence_and_the_shortest_clip_fulfil_the_schema():
    for samples in (0, 1, 100, 3 * RATE):
        silence = describe_audio(np.zeros(samples, np.float32))
        fulfils_schema(silence)
        assert silence["loudness"] <= -100
    fulfils_schema(describe_audio(np.full(2 * RATE, 0.5, np.float32)))


@given(st.integers(1, 3 * RATE), st.floats(1e-6, 10), st.sampled_from(["noise", "tone", "impulse"]))
@settings(max_examples=25, deadline=None)
def test_any_sound_fulfils_the_schema(samples: int, level: float, kind: str):
    sound = np.zeros(samples, np.float32)
    if kind == "noise":
        sound = noise(samples / RATE + 1)[:samples]
    elif kind == "tone":
        sound = tone(200, samples / RATE + 1)[:samples]
    else:
        sound[samples // 2] = 1.0
    found = describe_audio(sound * np.float32(level))
    fulfils_schema(found)
    assert np.isfinite([value for value in found.values() if isinstance(value, float)]).all()


def test_the_same_sound_gives_the_same_numbers():
    sound = drums("rock", 100)
    assert describe_audio(sound) == describe_audio(sound.copy())


def test_another_rate_or_shape_is_refused():
    with pytest.raises(ValueError, match="22050"):
        describe_audio(np.zeros(1000, np.float32), 44_100)
    with pytest.raises(ValueError, match="mono"):
        describe_audio(np.zeros((1000, 2), np.float32))


@pytest.mark.parametrize("width", [3, 9, 17])
def test_a_sorting_network_finds_the_medians_that_scipy_finds(width: int) -> None:
    values = np.random.default_rng(width).integers(0, 40, (60, 5)).astype(np.float32)
    expected = ndimage.median_filter(values, (width, 1))
    assert np.array_equal(affect_audio._median(values, width), expected)
