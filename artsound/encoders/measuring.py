"""Descriptors of one encoded picture or clip: what a process that decodes media calls.

Such a process imports this file alone, and neither recipes nor stages, which take as long to import
as everything that it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from artsound.encoders.affect_audio import SAMPLE_RATE, describe_audio
from artsound.encoders.affect_image import describe_image
from artsound.media.images import ImageInfo, SmallCopy, check_image, load_small

if TYPE_CHECKING:
    from artsound.media.audio import AudioInfo

IMAGE_SIDE = 256  # pixels at most: descriptors are shares and means
SECONDS = 60.0  # of a clip, from its start


def measure_picture(data: bytes) -> Mapping[str, Any]:
    """All descriptors of an encoded picture by name; MediaError if it cannot be decoded."""
    return describe_image(load_small(data, max_side=IMAGE_SIDE))


def measure_clip(data: bytes) -> Mapping[str, Any]:
    """All descriptors of an encoded clip by name; MediaError if it cannot be decoded."""
    from artsound.media.audio import load_mono  # with what pictures do without

    return describe_audio(load_mono(data, sample_rate=SAMPLE_RATE, seconds=SECONDS))


def check_and_measure_picture(data: bytes, **limits: Any) -> tuple[ImageInfo, Mapping[str, Any]]:
    """The results of `check_image`, which takes the same limits, and of `measure_picture`.

    The picture is decoded once.
    """
    small = SmallCopy(IMAGE_SIDE)
    info = check_image(data, small=small, **limits)
    return info, describe_image(small.pixels)


def check_and_measure_clip(data: bytes, **limits: Any) -> tuple[AudioInfo, Mapping[str, Any]]:
    """The results of `check_audio`, which takes the same limits, and of `measure_clip`.

    The clip is decoded once.
    """
    from artsound.media.audio import Beginning, check_audio

    beginning = Beginning(SAMPLE_RATE, SECONDS)
    info = check_audio(data, beginning=beginning, **limits)
    return info, describe_audio(beginning.sound())
