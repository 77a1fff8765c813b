"""Measures of the technical quality of a picture or clip, taken while it is checked.

All come from published definitions or from arithmetic that is stated here, need no model, and are
computed from what `check_image` and `check_audio` have decoded anyway.

There is no measure of watermarks or of text in a picture, nor of speech in a clip: no published
formula finds these without a trained model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

import numpy as np
import scipy  # whose parts are imported on first use
from PIL import Image

SILENT = -60.0  # dBFS of a stretch that counts as silence
MOST_SNR = 120.0  # dB, where the quietest stretches hold no sound at all
_FULL_SCALE = 0.999
_STRETCH = 0.05  # seconds
_FLOOR_SHARE = 0.05  # of the stretches, the quietest: see `SoundMeter`
_SPECTRUM = 2048  # frames
_SPECTRA = 2  # for each second of sound
_BELOW_ALL = 1e-9  # -90 dB
_TILE = 64  # pixels
_EVEN = 5.0  # of 255 levels: how much the pixels of a plain margin differ


@dataclass(frozen=True, slots=True)
class PictureQuality:
    """The technical quality of a picture.

    Attributes:
        sharpness: Variance of the Laplacian of luma, in squared 8-bit levels, over nine tiles of at
            most 128 pixels in full resolution; 0 or more, less for blurred and enlarged pictures.
            After Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative
            study" (ICPR 2000).
        contrast: Standard deviation of luma over its range, 0 to 0.5: RMS contrast after Peli,
            "Contrast in complex images" (JOSA A 7, 1990).
        border_share: Share of the area that plain margins take, 0 to 1: the lines at each edge of
            which all pixels, and all lines, differ by no more than 2 % (one standard deviation).
        aspect: Width over height, upright.
    """

    sharpness: float
    contrast: float
    border_share: float
    aspect: float


@dataclass(frozen=True, slots=True)
class SoundQuality:
    """The technical quality of a clip.

    Attributes:
        snr: Signal-to-noise ratio in dB, 0 to 120: the mean power less that of the noise floor,
            over the noise floor, which is the power of the 5 % quietest stretches of 50 ms. After
            the minimum statistics of Martin, "Noise power spectral density estimation" (IEEE Trans.
            Speech and Audio Processing 9, 2001). Music that never pauses has no such stretches: the
            true ratio is this one or more.
        clipping_share: Share of samples of all channels at 99.9 % of full scale or above.
        bandwidth: The highest frequency in Hz at which the mean spectrum is within 90 dB of the
            whole power: 16,000 or so of a clip that was a 128 kbit/s MP3 before, whatever its bit
            rate is now.
        silence_share: Share of stretches of 50 ms below -60 dBFS.
        stereo_width: Power of the difference of the first two channels over the power of sum and
            difference: 0 mono, 0.5 unrelated channels, 1 opposite phases.
    """

    snr: float
    clipping_share: float
    bandwidth: float
    silence_share: float
    stereo_width: float


PICTURE_QUALITY = tuple(one.name for one in fields(PictureQuality))
SOUND_QUALITY = tuple(one.name for one in fields(SoundQuality))


def picture_quality(
    image: Image.Image, small_grey: Image.Image, width: int, height: int
) -> PictureQuality:
    """Measure a picture.

    Args:
        image: The decoded picture with 8 bits per channel.
        small_grey: A small grey copy, sampled rather than averaged, upright.
        width: Of the picture, upright.
        height: Of the picture, upright.
    """
    grey = np.asarray(small_grey, np.float32)
    return PictureQuality(
        _sharpness(image), float(grey.std()) / 255.0, _border_share(grey), width / height
    )


def _sharpness(image: Image.Image) -> float:
    side = min(_TILE, image.width // 3, image.height // 3)
    if side < 3:
        return 0.0
    sheet = Image.new("L", (side, 9 * side))
    for number in range(9):
        row, column = divmod(number, 3)
        left = image.width * (2 * column + 1) // 6 - side // 2
        top = image.height * (2 * row + 1) // 6 - side // 2
        tile = image.crop((left, top, left + side, top + side))
        sheet.paste(tile.convert("RGB").convert("L"), (0, number * side))
    luma = np.asarray(sheet).reshape(9, side, side).astype(np.int16)
    laplacian = -4 * luma[:, 1:-1, 1:-1]
    laplacian += luma[:, :-2, 1:-1]
    laplacian += luma[:, 2:, 1:-1]
    laplacian += luma[:, 1:-1, :-2]
    laplacian += luma[:, 1:-1, 2:]
    values = laplacian.astype(np.float32).reshape(-1)
    return float(values @ values) / values.size - float(values.sum() / values.size) ** 2


def _border_share(grey: np.ndarray) -> float:
    height = _within_margins(grey)
    width = _within_margins(np.ascontiguousarray(grey.T))
    return 1.0 - height * width / grey.size


def _within_margins(lines: np.ndarray) -> int:
    """How many lines are left between the plain ones at both ends, each like the outermost one."""
    means = lines.sum(axis=1) / lines.shape[1]
    variances = np.einsum("ij,ij->i", lines, lines) / lines.shape[1] - means**2
    plain = variances <= _EVEN**2
    first = plain & (np.abs(means - means[0]) <= _EVEN)
    last = (plain & (np.abs(means - means[-1]) <= _EVEN))[::-1]
    return 0 if first.all() else len(lines) - int(first.argmin()) - int(last.argmin())


@dataclass(slots=True)
class SoundMeter:
    """Collects what `SoundQuality` needs, block by block."""

    sample_rate: int
    channels: int
    _clipped: int = 0
    _cross: float = 0.0  # sum of the products of the first two channels
    _of_two: float = 0.0  # sum of their squares
    _powers: list[np.ndarray] = field(default_factory=list)  # mean square of each stretch
    _spectrum: np.ndarray = field(
        default_factory=lambda: np.zeros(_SPECTRUM // 2 + 1, dtype=np.float64)
    )
    _spectra: int = 0

    def add(self, block: np.ndarray, peak: float) -> None:
        """Add float32 [n, channels], of which `peak` is the largest absolute sample."""
        if peak >= _FULL_SCALE:
            self._clipped += int(np.count_nonzero(np.abs(block) >= _FULL_SCALE))
        if self.channels > 1:
            left, right = block[:, 0], block[:, 1]
            self._cross += float(left @ right)
            if self.channels > 2:
                self._of_two += float(left @ left) + float(right @ right)
        length = max(1, round(_STRETCH * self.sample_rate))
        count = len(block) // length
        if count:
            rows = block[: count * length].reshape(count, -1)
            self._powers.append(np.einsum("ij,ij->i", rows, rows) / rows.shape[1])
        count = min(len(block) // _SPECTRUM, max(1, _SPECTRA * len(block) // self.sample_rate))
        if count and len(block) >= _SPECTRUM:
            starts = np.linspace(0, len(block) - _SPECTRUM, count).astype(int)
            frames = np.stack([block[n : n + _SPECTRUM].T for n in starts])  # by channel
            mono = frames[:, 0].copy()
            for channel in range(1, self.channels):
                mono += frames[:, channel]
            spectra = scipy.fft.rfft(mono * (_WINDOW / self.channels), axis=1)
            self._spectrum += (spectra.real**2 + spectra.imag**2).sum(axis=0)
            self._spectra += count

    def quality(self, frames: int, power: float) -> SoundQuality:
        """The measures of all blocks: of so many frames, with this sum of squares."""
        powers = np.sort(np.concatenate(self._powers)) if self._powers else np.zeros(1)
        mean = power / max(1, frames * self.channels)
        floor = float(powers[: max(1, int(_FLOOR_SHARE * len(powers)))].mean())
        least = 10.0 ** (-MOST_SNR / 10.0)
        ratio = max(mean - floor, 0.0) / max(floor, mean * least, 1e-30)
        of_two = self._of_two if self.channels > 2 else power
        width = 0.5 - self._cross / of_two if self.channels > 1 and of_two > 0 else 0.0
        return SoundQuality(
            snr=min(MOST_SNR, max(0.0, 10.0 * math.log10(ratio))) if ratio > 0 else 0.0,
            clipping_share=self._clipped / max(1, frames * self.channels),
            bandwidth=self._bandwidth(),
            silence_share=float((powers < 10.0 ** (SILENT / 10.0)).mean()),
            stereo_width=min(1.0, max(0.0, width)),
        )

    def _bandwidth(self) -> float:
        loud = np.flatnonzero(self._spectrum > _BELOW_ALL * self._spectrum.sum())
        return float(loud[-1]) * self.sample_rate / _SPECTRUM if loud.size else 0.0


_WINDOW = np.hanning(_SPECTRUM + 1)[:-1].astype(np.float32)
