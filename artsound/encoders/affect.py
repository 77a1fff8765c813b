"""The affect encoder: what is measured of pictures and clips, with nothing to download."""

from __future__ import annotations

from artsound.encoders.affect_audio import SAMPLE_RATE, describe_audio
from artsound.encoders.affect_image import MEASURED_SIDE, describe_image

__all__ = ["MEASURED_SIDE", "SAMPLE_RATE", "describe_audio", "describe_image"]
