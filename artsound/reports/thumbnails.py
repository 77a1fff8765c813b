"""Small pictures for the pages of `artsound browse`: made when they are requested, and cached.

They are thumbnails of artworks, and spectrograms of clips, all of one scale of frequency and level.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from artsound.errors import BadData
from artsound.media import MediaError
from artsound.media.audio import load_mono
from artsound.media.images import load_rgb
from artsound.media.mel import MelBands, log_mel, mel_frequencies

SIDES = (160, 320, 640)  # pixels of the longer side
_QUALITY = 80
_CACHE = 64_000_000  # bytes
RATE, COLUMNS = 16_000, 480  # of a spectrogram: samples per second, and pixels
HIGHEST = RATE // 2  # its highest frequency, in Hz
FLOOR = -80.0  # its lowest level, in dB of a full-scale sine; the highest is 0
LONGEST = 60.0  # seconds that it shows at most
_BINS = 96
# Levels from the floor to 0 dB as colours from black to pale yellow, evenly spaced (magma).
_COLOURS = (
    (0, 0, 4), (28, 16, 68), (79, 18, 123), (129, 37, 129), (181, 54, 122), (229, 80, 100),
    (251, 135, 97), (254, 194, 135), (252, 253, 191),
)  # fmt: skip


class Thumbnails:
    """Small pictures by what they show; the least recently used of more than 64 MB go."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[str, float], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, digest: str, side: int, read: Callable[[], bytes]) -> bytes:
        """The thumbnail of a picture.

        Args:
            digest: Of the picture.
            side: Its longer side in pixels, one of SIDES; smaller pictures are not enlarged.
            read: Reads the picture.

        Returns:
            A JPEG.

        Raises:
            BadData: The picture cannot be read.
        """
        return self._cached((digest, side), lambda: _thumbnail(read(), side))

    def spectrogram(self, name: str, seconds: float, read: Callable[[], bytes]) -> bytes:
        """The spectrogram of a clip.

        Args:
            name: What the clip is known by.
            seconds: What the picture is wide; a clip that ends before leaves the rest black.
            read: Reads the clip.

        Returns:
            A PNG of COLUMNS pixels: mel bands up to HIGHEST, levels from FLOOR to 0 dB.

        Raises:
            BadData: The clip cannot be read.
        """
        return self._cached((name, seconds), lambda: _spectrogram(read(), seconds))

    def _cached(self, name: tuple[str, float], make: Callable[[], bytes]) -> bytes:
        with self._lock:
            if name in self._made:
                self._made.move_to_end(name)
                return self._made[name]
        made = make()
        with self._lock:
            if name not in self._made:
                self._made[name] = made
                self._bytes += len(made)
            while self._bytes > _CACHE:
                self._bytes -= len(self._made.popitem(last=False)[1])
        return made


def _thumbnail(data: bytes, side: int) -> bytes:
    from PIL import Image

    try:
        pixels = load_rgb(data, max_side=side)
    except MediaError as error:
        raise BadData(f"The picture cannot be read: {error}.") from error
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=_QUALITY, optimize=True)
    return out.getvalue()


def _spectrogram(data: bytes, seconds: float) -> bytes:
    from PIL import Image

    hop = max(1, round(seconds * RATE / COLUMNS))
    bands = MelBands(
        n_fft=max(1024, 1 << (hop - 1).bit_length()),
        hop=hop,
        bins=_BINS,
        high_hz=HIGHEST,
        floor=10 ** (FLOOR / 20),
        scale="decibel",
    )
    try:
        mono = load_mono(data, sample_rate=RATE, seconds=seconds)
    except MediaError as error:
        raise BadData(f"The clip cannot be read: {error}.") from error
    levels = np.full((COLUMNS, _BINS), FLOOR, dtype=np.float32)
    if len(mono):
        found = np.nan_to_num(log_mel(mono, RATE, bands)[:COLUMNS], nan=FLOOR)
        levels[: len(found)] = found
    shares = np.clip(1 - levels.T[::-1] / FLOOR, 0, 1)
    shown = Image.fromarray(np.rint(255 * shares).astype(np.uint8)).convert("P")
    steps, places = np.linspace(0, 255, len(_COLOURS)), np.arange(256)
    palette = np.stack([np.interp(places, steps, one) for one in np.transpose(_COLOURS)], axis=1)
    shown.putpalette(np.rint(palette).astype(np.uint8).tobytes())
    out = io.BytesIO()
    shown.save(out, "PNG", optimize=True)
    return out.getvalue()


def frequency_marks() -> list[tuple[int, float]]:
    """Frequencies in Hz that label a spectrogram, and their heights in it, 0 to 1."""
    edges = mel_frequencies(_BINS + 2, 0.0, HIGHEST)
    marks = (250, 500, 1000, 2000, 4000)
    heights = (np.interp(marks, edges, np.arange(_BINS + 2)) - 0.5) / _BINS
    return list(zip(marks, heights.tolist(), strict=True))
