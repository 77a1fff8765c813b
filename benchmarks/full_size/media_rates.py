"""Processor seconds that one clip or picture costs each stage, of real files or of small ones."""

from __future__ import annotations

import bz2
import io
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile
from PIL import Image

from artsound.encoders.measuring import check_and_measure_clip, check_and_measure_picture
from artsound.media.audio import load_mono
from artsound.media.images import load_rgb, release_jpeg
from artsound.storage import sha256_bytes

_REPEATS = 3


@dataclass(frozen=True)
class Rates:
    """Seconds of one processor for each file, by what is done to it, and bytes of each file."""

    clip: dict[str, float]
    picture: dict[str, float]
    clip_bytes: float
    picture_bytes: float


def media_rates(clips: Sequence[bytes], pictures: Sequence[bytes]) -> Rates:
    """Measure on these files: the best of several rounds over all of them."""
    packed = {data: bz2.compress(data) for data in clips}  # as in the FMA's zips
    clip_jobs: dict[str, Callable[[bytes], object]] = {
        "unpack": lambda data: bz2.decompress(packed[data]),
        "check and measure": lambda data: check_and_measure_clip(
            data, min_seconds=0.0, silence_db=-200.0
        ),
        "decode for CLAP": lambda data: load_mono(data, sample_rate=48_000),
        "digest": sha256_bytes,
        "decode": lambda data: soundfile.read(io.BytesIO(data), dtype="float32"),
    }
    picture_jobs: dict[str, Callable[[bytes], object]] = {
        "check and measure": lambda data: check_and_measure_picture(
            data, min_side=1, max_pixels=200_000_000
        ),
        "decode for CLIP": lambda data: load_rgb(data, max_side=448),
        "release": lambda data: release_jpeg(data, max_side=1024, quality=92),
        "digest": sha256_bytes,
        "decode": lambda data: Image.open(io.BytesIO(data)).load(),
    }
    return Rates(
        {name: _seconds(job, clips) for name, job in clip_jobs.items()},
        {name: _seconds(job, pictures) for name, job in picture_jobs.items()},
        statistics.fmean(map(len, clips)),
        statistics.fmean(map(len, pictures)),
    )


def real_clips(folder: Path, most: int = 12) -> list[bytes]:
    """Original clips of the FMA below a folder, spread over those there are."""
    paths = sorted(path for path in folder.glob("*/*.mp3") if int(path.stem) < 900_000)
    return [path.read_bytes() for path in paths[:: max(1, len(paths) // most)][:most]]


def _seconds(job: Callable[[bytes], object], files: Sequence[bytes]) -> float:
    job(files[0])  # what is set up once
    rounds = []
    for _ in range(_REPEATS):
        began = time.process_time()
        for data in files:
            job(data)
        rounds.append((time.process_time() - began) / len(files))
    return min(rounds)
