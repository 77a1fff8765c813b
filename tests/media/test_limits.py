"""Decoding in a child process that can be ended."""

from __future__ import annotations

import io
import os
import signal
import sys
import time

import numpy as np
import pytest
from PIL import Image

from artsound.encoders import measuring
from artsound.media import MediaError, limits
from artsound.media.images import check_image
from artsound.media.limits import limited

SIZES = {"min_side": 1, "max_pixels": 10**9}


def large_png(side: int = 9_000) -> bytes:
    """A file of some kB that decodes to `side` x `side` bytes."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((side, side), np.uint8)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def small_jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "JPEG")
    return file.getvalue()


def compute(data: bytes) -> None:
    """Hang as a decoder in an endless loop does."""
    while data:
        pass


def wait(data: bytes) -> None:
    """Hang as a decoder that waits for ever does."""
    time.sleep(len(data) * 3600)


def crash(data: bytes, by: int) -> None:
    os.kill(os.getpid(), by)


def fail(data: bytes) -> None:
    raise ZeroDivisionError(len(data))


def modules(data: bytes) -> list[str]:
    return [name for name in data.decode().split() if name in sys.modules]


def test_a_child_imports_nothing_that_measuring_does_without() -> None:
    picture = limited(measuring.check_and_measure_picture, "image", small_jpeg(), **SIZES)
    assert picture[0].width == 64
    large = b"pydantic polars torch artsound.recipe artsound.stage artsound.encoders.base"
    assert limited(modules, "image", large) == []
    assert limited(modules, "image", b"numpy artsound.encoders.measuring") == [
        *("numpy", "artsound.encoders.measuring")
    ]


def test_a_child_returns_what_the_function_returns_or_raises() -> None:
    assert limited(check_image, "image", small_jpeg(), **SIZES).width == 64
    with pytest.raises(MediaError, match="under 100 pixels") as caught:
        limited(check_image, "image", small_jpeg(), **SIZES | {"min_side": 100})
    assert caught.value.reason == "image-too-small"


@pytest.mark.parametrize(
    ("function", "options", "reason"),
    [
        (compute, {}, "audio-too-slow"),
        (wait, {}, "audio-too-slow"),
        (crash, {"by": signal.SIGSEGV}, "audio-crash"),
        (crash, {"by": signal.SIGKILL}, "audio-crash"),
        (fail, {}, "audio-crash"),
    ],
)
def test_an_item_whose_decoder_hangs_or_crashes_falls_out_and_the_next_is_decoded(
    function: object, options: dict[str, int], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(limits, "MAX_SECONDS", 0.1)
        if function is wait:
            patch.setattr(limits, "MAX_WAIT", 0.2)
        with pytest.raises(MediaError) as caught:
            limited(function, "audio", b"sound", **options)  # type: ignore[arg-type]
    assert caught.value.reason == reason
    assert limited(check_image, "image", small_jpeg(), **SIZES).width == 64


def test_an_item_that_needs_too_much_memory_falls_out(monkeypatch: pytest.MonkeyPatch) -> None:
    data = large_png()
    assert len(data) < 1_000_000
    limited(check_image, "image", small_jpeg(), **SIZES)
    monkeypatch.setattr(limits, "MAX_BYTES", 50 << 20)
    with pytest.raises(MediaError, match="memory") as caught:
        limited(check_image, "image", data, **SIZES)
    assert caught.value.reason == "image-too-large"
    assert limited(check_image, "image", small_jpeg(), **SIZES).width == 64


def test_a_child_that_was_killed_while_idle_is_replaced() -> None:
    limited(check_image, "image", small_jpeg(), **SIZES)
    for child in tuple(limits._all):
        child.process.kill()
        child.process.wait()
    assert limited(check_image, "image", small_jpeg(), **SIZES).width == 64


def test_a_file_of_too_many_frames_falls_out_before_any_is_decoded() -> None:
    pixels = [Image.new("L", (2, 2), number % 256) for number in range(10_001)]
    file = io.BytesIO()
    pixels[0].save(file, "GIF", save_all=True, append_images=pixels[1:])
    with pytest.raises(MediaError, match="10,001 frames") as caught:
        check_image(file.getvalue(), **SIZES)
    assert caught.value.reason == "image-too-large"
