"""Technical quality is measured as it was made."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageFilter
from scipy.signal import butter, sosfiltfilt

from artsound.media.audio import check_audio
from artsound.media.images import check_image
from artsound.media.quality import PictureQuality, SoundQuality

RATE = 44_100


def picture(image: Image.Image, **options: object) -> PictureQuality:
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    found = check_image(out.getvalue(), min_side=1, max_pixels=10**8, quality=True).quality
    assert found is not None
    return found


def sound(samples: np.ndarray, rate: int = RATE, subtype: str = "FLOAT") -> SoundQuality:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format="WAV", subtype=subtype)
    found = check_audio(out.getvalue(), min_seconds=0, silence_db=-200, quality=True).quality
    assert found is not None
    return found


def noise(seconds: float, channels: int = 2, level: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(5)
    return level * rng.standard_normal((int(seconds * RATE), channels))


def sine(seconds: float, level: float = 0.5, hertz: float = 441.0) -> np.ndarray:
    return level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)


def textured(width: int = 600, height: int = 450) -> Image.Image:
    rng = np.random.default_rng(1)
    return Image.fromarray(rng.integers(60, 200, (height, width, 3)).astype(np.uint8))


def test_blurred_and_enlarged_pictures_are_less_sharp() -> None:
    sharp = textured()
    values = [
        picture(image).sharpness
        for image in (
            sharp,
            sharp.filter(ImageFilter.GaussianBlur(1)),
            sharp.filter(ImageFilter.GaussianBlur(3)),
            Image.new("RGB", (600, 450), "grey"),
        )
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 20 * values[1]
    assert values[-1] == 0
    enlarged = sharp.resize((150, 112)).resize((600, 450), Image.Resampling.BICUBIC)
    assert picture(enlarged).sharpness < values[0] / 20


def test_the_laplacian_of_a_known_picture_has_the_variance_that_arithmetic_gives() -> None:
    board = np.indices((96, 96)).sum(axis=0) % 2 * 10 + 100  # every Laplacian is 40 or -40
    assert picture(Image.fromarray(board.astype(np.uint8))).sharpness == pytest.approx(1600)


def test_contrast_is_the_deviation_of_luma() -> None:
    halves = np.full((200, 200), 50, np.uint8)
    halves[:, 100:] = 101
    assert picture(Image.fromarray(halves)).contrast == pytest.approx(25.5 / 255, rel=1e-3)
    extremes = Image.fromarray((halves > 60).astype(np.uint8) * 255)
    assert picture(extremes).contrast == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("margins", "colour", "share"),
    [
        ((0, 0, 0, 0), "white", 0.0),
        ((60, 45, 60, 45), "white", 0.36),  # a tenth at each edge
        ((0, 90, 0, 90), "black", 0.4),  # letterbox
        ((150, 0, 0, 0), "#d8c8a0", 0.25),
    ],
)
def test_plain_margins_are_counted_by_area(
    margins: tuple[int, int, int, int], colour: str, share: float
) -> None:
    image, (left, top, right, bottom) = textured(), margins
    framed = Image.new("RGB", image.size, colour)
    framed.paste(image.crop((left, top, 600 - right, 450 - bottom)), (left, top))
    assert picture(framed).border_share == pytest.approx(share, abs=0.02)


def test_a_plain_picture_is_all_margin_and_unknown_kinds_of_pixels_are_measured() -> None:
    assert picture(Image.new("RGB", (300, 200), "teal")).border_share == 1.0
    deep = Image.fromarray(np.asarray(textured().convert("L"), np.uint16) * 257)
    assert picture(deep).sharpness == pytest.approx(picture(textured().convert("L")).sharpness)
    assert picture(textured().convert("P")).sharpness > 100
    assert picture(Image.new("RGB", (2, 1))).sharpness == 0


def test_the_aspect_is_that_of_the_upright_picture() -> None:
    assert picture(textured(600, 300)).aspect == 2
    exif = Image.Exif()
    exif[0x0112] = 6
    assert picture(textured(600, 300), exif=exif).aspect == 0.5


@pytest.mark.parametrize("gain", [1.25, 2.0, 10.0])
def test_clipping_is_the_share_of_samples_at_full_scale(gain: float) -> None:
    clipped = np.clip(sine(3, gain), -1, 1)
    share = 1 - 2 / np.pi * np.arcsin(0.999 / gain)
    assert sound(clipped).clipping_share == pytest.approx(share, abs=0.01)
    assert sound(clipped, subtype="PCM_16").clipping_share == pytest.approx(share, abs=0.01)
    assert sound(0.9 * clipped).clipping_share == 0


@pytest.mark.parametrize("limit", [4_000, 11_025, 16_000])
def test_the_bandwidth_is_that_of_the_low_pass_through_which_a_clip_went(limit: float) -> None:
    low = sosfiltfilt(butter(40, limit, fs=RATE, output="sos"), noise(6), axis=0)
    assert sound(low).bandwidth == pytest.approx(limit, rel=0.12)


def test_the_bandwidth_of_a_poor_mp3_shows_after_it_was_decoded_and_stored_as_wav() -> None:
    out = io.BytesIO()
    poor = {"bitrate_mode": "CONSTANT", "compression_level": 0.75}
    soundfile.write(out, np.clip(noise(6), -1, 1), RATE, format="MP3", **poor)
    again, rate = soundfile.read(io.BytesIO(out.getvalue()))
    assert sound(again, rate, "PCM_16").bandwidth < 19_000 < sound(noise(6)).bandwidth


@pytest.mark.parametrize("ratio", [10.0, 20.0, 40.0])
def test_the_noise_is_that_of_the_pauses(ratio: float) -> None:
    tone = sine(8)
    tone[2 * RATE : 3 * RATE] = 0
    hiss = noise(8, 1)[:, 0]
    hiss *= 10 ** (-ratio / 20) * np.sqrt(np.mean(tone**2) / np.mean(hiss**2))
    assert sound(tone + hiss).snr == pytest.approx(ratio, abs=0.5)


def test_digital_silence_has_no_noise_and_a_steady_sound_hides_it() -> None:
    tone = sine(4)
    assert sound(tone).snr == pytest.approx(0, abs=3)  # a lower bound that says nothing
    tone[: 2 * RATE] = 0
    found = sound(tone)
    assert found.snr == 120
    assert found.silence_share == pytest.approx(0.5, abs=0.02)
    assert sound(np.zeros(RATE)) == SoundQuality(0.0, 0.0, 0.0, 1.0, 0.0)


def test_stereo_width_tells_mono_from_unrelated_and_opposite_channels() -> None:
    one, two = sine(2), noise(2, 1)[:, 0]
    two *= np.sqrt(np.mean(one**2) / np.mean(two**2))
    for channels, width in (
        ((one,), 0.0),
        ((one, one), 0.0),
        ((one, 0 * one), 0.5),
        ((one, two), 0.5),
        ((one, -one), 1.0),
        ((one, one, two, two), 0.0),
    ):
        assert sound(np.stack(channels, axis=1)).stereo_width == pytest.approx(width, abs=0.01)


def test_blocks_do_not_change_the_result() -> None:
    long = sine(20) + noise(20, 1)[:, 0]
    whole, part = sound(long), sound(long[: 5 * RATE])
    assert whole.snr == pytest.approx(part.snr, abs=0.5)
    assert whole.bandwidth == pytest.approx(part.bandwidth, rel=0.01)
