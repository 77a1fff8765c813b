"""The `affect` encoder: measured descriptors of every picture and clip; it needs no weights.

Each descriptor is a number in its own unit (schemas/*_descriptors.json), so rows are not of unit
length. The order of the columns is defined only here, sizes and rates in `measuring`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from artsound.encoders.affect_audio import SAMPLE_RATE, describe_audio
from artsound.encoders.base import Encoder, EncoderPlugin, EncoderSettings
from artsound.encoders.measuring import (
    check_and_measure_clip,
    check_and_measure_picture,
    measure_clip,
    measure_picture,
)
from artsound.schema import arrow_schema
from artsound.storage import digest
from artsound.untrusted import read_toml

VERSION = 4  # raised whenever a descriptor's formula changes
MADE_BY = digest(["affect", VERSION])


@functools.cache
def descriptor_names(side: str) -> tuple[str, ...]:
    """The numeric descriptors of "artwork" or "track", in the order of a matrix's columns."""
    schema = arrow_schema(f"{side}_descriptors")
    return tuple(field.name for field in schema if pa.types.is_float32(field.type))


@functools.cache
def retest_errors(side: str) -> tuple[float, ...]:
    """The test-retest error of each of `descriptor_names`, in its deviations over a corpus."""
    table = read_toml(Path(__file__).with_name("retest.toml"), "table of errors")[side]
    return tuple(float(table[name]) for name in descriptor_names(side))


# The numeric fields of a track's descriptors, and those that are frequencies or tempos.
SOUND_FIELDS = descriptor_names("track")
_LOGARITHMIC = frozenset({"tempo", "pace", "centroid", "rolloff", "bandwidth", "flatness"})


def as_embedded(rows: np.ndarray) -> np.ndarray:
    """Descriptors of tracks [n, 20] with frequencies and tempo on a logarithmic scale."""
    logarithmic = np.array([name in _LOGARITHMIC for name in SOUND_FIELDS])
    return np.where(logarithmic, np.log(np.maximum(rows, 1e-6)), rows)


def measure_wave(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """The numeric descriptors float32 [20] of a waveform float32 [n] at any sample rate."""
    import soxr

    if sample_rate != SAMPLE_RATE:
        wave = soxr.resample(wave, sample_rate, SAMPLE_RATE).astype(np.float32)
    return _numbers("track", describe_audio(wave, SAMPLE_RATE))


class AffectEncoder(EncoderPlugin):
    """Pictures and clips as measured descriptors: colour, composition, loudness, tempo, mode."""

    name = "affect"
    version = str(VERSION)
    modalities = ("image", "audio")
    extra = ""
    uses_gpu = False
    measured = True
    # For ingest, which decodes all media, and finds them here without importing this room.
    made_by = MADE_BY
    check_and_measure: Mapping[str, Callable[..., Any]] = {
        "artwork": check_and_measure_picture,
        "track": check_and_measure_clip,
    }

    def digest(self, settings: EncoderSettings) -> str:  # noqa: ARG002
        """Empty: there are no weights, and parts record `VERSION`."""
        return ""

    def open(self, settings: EncoderSettings, device: str) -> Descriptors:  # noqa: ARG002
        """The same on every device."""
        return Descriptors()


class Descriptors(Encoder):
    """The opened `affect` encoder; its rows are float32, in the columns of `descriptor_names`."""

    digest = ""
    dim = 0  # differs between the two sides

    def images(self, data: Sequence[bytes]) -> np.ndarray:
        """Rows float32 [n, 20] of encoded pictures; MediaError if one cannot be decoded."""
        return np.stack([_numbers("artwork", measure_picture(item)) for item in data])

    def audio(self, data: Sequence[bytes]) -> np.ndarray:
        """Rows float32 [n, 20] of encoded clips; MediaError if one cannot be decoded."""
        return np.stack([_numbers("track", measure_clip(item)) for item in data])


def _numbers(side: str, values: Mapping[str, Any]) -> np.ndarray:
    return np.array([values[name] for name in descriptor_names(side)], dtype=np.float32)
