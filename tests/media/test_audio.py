from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from artsound.media import MediaError
from artsound.media.audio import Beginning, check_audio, load_mono, release_mp3
from artsound.media.fingerprint import audio_fingerprint

LIMITS = {"min_seconds": 2.0, "silence_db": -60.0}
RATE = 44_100


def melody(seconds: float = 3.0, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Sixteenth notes at random pitches with some noise, float32 [n]."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(0.15 * rate)) / rate
    notes = [
        np.sin(2 * np.pi * f * t) * np.exp(-4 * t)
        for f in 110 * 2 ** (rng.integers(0, 36, int(seconds / 0.15) + 1) / 12)
    ]
    sound = np.concatenate(notes)[: int(seconds * rate)]
    return (0.4 * sound + 0.01 * rng.standard_normal(len(sound))).astype(np.float32)


def encode(samples: np.ndarray, kind: str = "MP3", rate: int = RATE, **options: object) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=kind, **options)
    return out.getvalue()


def reason(data: bytes, **limits: float) -> str:
    with pytest.raises(MediaError) as caught:
        check_audio(data, **{**LIMITS, **limits})
    assert str(caught.value)
    return caught.value.reason


def test_a_sound_mp3_is_measured():
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE)
    info = check_audio(encode(np.stack([tone, tone], axis=1)), **LIMITS)
    assert (info.format, info.sample_rate, info.channels) == ("MP3", RATE, 2)
    assert info.duration == pytest.approx(3.0, abs=0.06)
    assert info.loudness == pytest.approx(-9.03, abs=0.2)
    assert info.peak == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "audio-empty"),
        (b"<html>not found</html>" * 50, "audio-not-audio"),
        (encode(melody())[:10_000], "audio-truncated"),
        (encode(melody(), "WAV")[:-40_000], "audio-truncated"),
        (encode(melody(), "AIFF")[:-40_000], "audio-truncated"),
        (encode(melody(), "OGG")[:-900], "audio-truncated"),
        (encode(melody()) * 2, "audio-concatenated"),
        (encode(melody(1.0)), "audio-too-short"),
        (encode(np.zeros(3 * RATE, np.float32)), "audio-silent"),
        (encode(np.full(3 * RATE, np.nan, np.float32), "WAV", subtype="FLOAT"), "audio-non-finite"),
        (encode(np.zeros((3 * RATE, 9), np.float32), "WAV"), "audio-unsupported"),
        (encode(melody(), "WAV", rate=1000), "audio-unsupported"),
    ],
)
def test_an_unusable_clip_is_refused_with_its_reason(data: bytes, code: str):
    assert reason(data) == code


def test_a_cut_mp3_is_rejected_with_a_reason():
    data = encode(melody(12.0))
    with pytest.raises(MediaError, match="cut short") as caught:
        check_audio(data[: len(data) // 2], **LIMITS)
    assert caught.value.reason == "audio-truncated"


def test_a_header_with_a_false_length_costs_no_memory():
    data = bytearray(encode(melody(), "WAV"))
    data[40:44] = struct.pack("<I", 0xFFFFFF00)  # four gigabytes, says the data chunk
    assert check_audio(bytes(data), **LIMITS).duration == pytest.approx(3.0, abs=0.01)


def test_garbage_inside_an_mp3_says_nothing_on_the_terminal(capfd: pytest.CaptureFixture[str]):
    data = bytearray(encode(melody(12.0)))
    data[40_000:90_000] = bytes(50_000)
    assert reason(bytes(data)) == "audio-corrupt"
    assert capfd.readouterr().err == ""


def test_load_mono_mixes_seeks_and_resamples():
    left, right = melody(seed=1), melody(seed=2)
    data = encode(np.stack([left, right], axis=1), "WAV", subtype="FLOAT")
    mono = load_mono(data, sample_rate=RATE)
    assert np.allclose(mono, (left + right) / 2, atol=1e-6)
    window = load_mono(data, sample_rate=RATE, start=1.0, seconds=0.5)
    assert np.array_equal(window, mono[RATE : RATE + RATE // 2])
    half = load_mono(data, sample_rate=22_050)
    assert half.dtype == np.float32
    assert len(half) == pytest.approx(len(mono) / 2, abs=2)
    assert len(load_mono(data, sample_rate=RATE, start=99.0)) == 0


@pytest.mark.parametrize("kind", ["MP3", "FLAC", "OGG"])
@pytest.mark.parametrize("seconds", [5.0, 6.75, 60.0, None])
def test_the_beginning_of_a_checked_clip_is_what_loading_gives(kind: str, seconds: float | None):
    rate = 48_000  # its blocks differ from those of loading, and 5 s end within the first
    data = encode(np.stack([melody(13.0, rate), melody(13.0, rate, 1)], axis=1), kind, rate)
    beginning = Beginning(22_050, seconds)
    check_audio(data, **LIMITS, beginning=beginning)
    assert np.array_equal(beginning.sound(), load_mono(data, sample_rate=22_050, seconds=seconds))


def test_load_mono_refuses_what_is_not_sound():
    with pytest.raises(MediaError):
        load_mono(b"<html>", sample_rate=RATE)


def test_the_check_gives_the_fingerprint_of_the_decoded_sound():
    sound = melody(8.0)
    data = encode(sound, "WAV", subtype="FLOAT")
    assert check_audio(data, **LIMITS).fingerprint == audio_fingerprint(sound, RATE)


def id3(size: int, *, footer: bool = False) -> bytes:
    """An ID3v2.4 tag with `size` bytes of padding, with the footer that such a tag may have."""
    length = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    head = b"\4\0" + (b"\x10" if footer else b"\0") + length
    return b"ID3" + head + bytes(size) + (b"3DI" + head if footer else b"")


def ape(size: int) -> bytes:
    """An APEv2 tag with its header, of one item with `size` bytes."""
    item = struct.pack("<II", size, 0) + b"Comment\0" + b"x" * size
    ends = [
        b"APETAGEX" + struct.pack("<IIII", 2000, len(item) + 32, 1, flags) + bytes(8)
        for flags in (0xA0000000, 0x80000000)
    ]
    return ends[0] + item + ends[1]


@pytest.mark.parametrize(
    "before",
    [
        b"\0",
        bytes(3000),
        b"junk \xff\xfb in front",
        id3(500),
        id3(500, footer=True),
        id3(300) + bytes(700),
        id3(20) + id3(70_000) + b"\0",
        ape(100),
        ape(50) + id3(50),
    ],
    ids=["zero", "zeros", "junk", "id3", "footer", "padding", "two", "ape", "both"],
)
def test_an_mp3_behind_tags_or_junk_is_the_same_sound(before: bytes):
    clean = encode(melody())
    want, found = (check_audio(data, **LIMITS) for data in (clean, before + clean))
    assert found == want
    loaded = [load_mono(data, sample_rate=16_000) for data in (clean, before + clean)]
    np.testing.assert_array_equal(*loaded)


@pytest.mark.parametrize("after", [id3(500), id3(500, footer=True), ape(100), ape(9) + id3(9000)])
def test_tags_at_the_end_of_an_mp3_are_no_second_clip(after: bytes):
    clean = encode(melody())
    assert check_audio(clean + after, **LIMITS) == check_audio(clean, **LIMITS)
    other = encode(melody(seed=1))
    assert reason(clean + after + other) == "audio-concatenated"


@pytest.mark.parametrize("data", [b"\0" * 5000, b"\xff\xfb\x90\x64" * 3, id3(4000), b"\xff" * 999])
def test_what_only_begins_like_an_mp3_is_no_sound(data: bytes):
    assert reason(data) == "audio-not-audio"


def test_a_released_mp3_is_the_original():
    data = encode(melody())
    assert release_mp3(data) is data


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "AIFF"])
def test_another_format_is_released_as_an_mp3_of_the_same_sound(kind: str):
    sound = melody(seconds=3.0)
    data = encode(np.stack([sound, sound / 2], axis=1), kind)
    made = release_mp3(data)
    info = check_audio(made, **LIMITS)
    assert (info.format, info.sample_rate, info.channels) == ("MP3", RATE, 2)
    assert info.duration == len(sound) / RATE
    assert made == release_mp3(data)
    there, back = (load_mono(one, sample_rate=16_000) for one in (data, made))
    assert np.corrcoef(there, back)[0, 1] > 0.99


@pytest.mark.parametrize(
    ("rate", "channels", "released"),
    [(96_000, 2, (48_000, 2)), (88_200, 1, (44_100, 1)), (37_800, 2, (44_100, 2)),
     (8_000, 1, (8_000, 1)), (48_000, 6, (48_000, 1))],
)  # fmt: skip
def test_what_mp3_cannot_hold_is_resampled_or_mixed(
    rate: int, channels: int, released: tuple[int, int]
):
    sound = np.repeat(melody(rate=rate)[:, None], channels, axis=1)
    info = check_audio(release_mp3(encode(sound, "WAV", rate=rate)), **LIMITS)
    assert (info.sample_rate, info.channels) == released
    assert info.duration == pytest.approx(3.0, abs=0.001)


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\0\0\0\x20ftypM4A \0\0\0\0", "M4A"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "M4A or MP4"),
        (b"\xff\xf1\x50\x80\x02\x1f\xfc", "raw AAC"),
        (b"ID3\x04\0\0\0\0\0\x02xx\xff\xf9\x50\x80", "raw AAC"),
        (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "WMA"),
        (b"\x1a\x45\xdf\xa3\x01\0\0\0", "Matroska or WebM"),
        (b"MAC \x96\x0f", "Monkey's Audio"),
        (b"wvpk\x10\0", "WavPack"),
        (b"MThd\0\0\0\x06", "MIDI"),
        (b"#!AMR\n", "AMR"),
    ],
)
def test_sound_of_another_format_is_named_with_the_remedy(start: bytes, name: str):
    with pytest.raises(MediaError, match=f"{name}.*convert it") as caught:
        check_audio(start + bytes(3000), **LIMITS)
    assert caught.value.reason == "audio-unsupported"
