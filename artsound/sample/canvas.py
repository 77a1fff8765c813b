"""Colour, moods and tools that all painters of the sample share.

Colours are computed in CIELAB. A `Mood` turns a point of the affect plane into lightness, chroma,
contrast and a ruling hue; the tools make noise, gradients, relief and brush strokes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Floats = NDArray[np.float32]
RGB = tuple[int, int, int]
Size = tuple[int, int]
Points = list[tuple[float, float]]

# sRGB (D65) to XYZ divided by the white point, IEC 61966-2-1.
TO_XYZ = np.array(
    [[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0178, 0.1095, 0.8728]],
    dtype=np.float32,
)
FROM_XYZ = np.linalg.inv(TO_XYZ).astype(np.float32)
_SRGB = np.arange(256) / 255.0
LINEAR = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4)
LINEAR = LINEAR.astype(np.float32)
_STEPS = np.arange(8193) / 8192.0
ENCODED = np.where(_STEPS <= 0.0031308, _STEPS * 12.92, 1.055 * _STEPS ** (1 / 2.4) - 0.055)
ENCODED = np.round(ENCODED * 255).astype(np.uint8)


def painter_lab(rgb: NDArray[np.uint8]) -> Floats:
    """CIELAB [..., 3] (L* 0..100, a*, b*) of sRGB bytes [..., 3]."""
    xyz = LINEAR[rgb] @ TO_XYZ.T
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _linear(lab: Floats) -> Floats:
    """Linear sRGB [..., 3] of CIELAB [..., 3], below 0 and above 1 where out of gamut."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    return np.where(f > 0.206893, f**3, (f - 16 / 116) / 7.787) @ FROM_XYZ.T


def lab_to_rgb(lab: Floats) -> NDArray[np.uint8]:
    """sRGB bytes [..., 3] of CIELAB [..., 3]; colours out of gamut are clipped per channel."""
    return ENCODED[(_linear(lab).clip(0, 1) * 8192 + 0.5).astype(np.int32)]


def lch(light: float, chroma: float, hue: float) -> RGB:
    """The sRGB colour of L* 0..100, C* and hue in degrees; less chroma where out of gamut."""
    a, b = math.cos(math.radians(hue)), math.sin(math.radians(hue))
    tries = max(chroma, 0.0) * np.linspace(1.0, 0.0, 12)
    lab = np.stack([np.full(12, min(max(light, 0.0), 100.0)), a * tries, b * tries], axis=-1)
    linear = _linear(lab)
    inside = ((linear > -0.002) & (linear < 1.002)).all(axis=1)
    red, green, blue = lab_to_rgb(lab[int(inside.argmax()) if inside.any() else -1]).tolist()
    return red, green, blue


@dataclass(frozen=True, slots=True)
class Mood:
    """A point of the affect plane, and what it means for paint.

    Valence is carried by lightness and yellowness, arousal by saturation, redness, contrast and
    the number and unrest of edges (Valdez & Mehrabian 1994; Palmer et al. 2013; Whiteford et al.
    2018; Wilms & Oberfeld 2018).
    """

    valence: float
    arousal: float

    @property
    def unrest(self) -> float:
        """0 for utter calm to 1 for frenzy: drives how many edges there are, and how wild."""
        return (self.arousal + 1) / 2

    @property
    def lightness(self) -> float:
        """The mean L* aimed at, about 24 to 78."""
        return 51 + 25 * self.valence + 2 * self.arousal

    @property
    def chroma(self) -> float:
        """The mean C* aimed at, about 8 to 48."""
        return 28 + 5 * self.valence + 15 * self.arousal

    @property
    def contrast(self) -> float:
        """How far L* swings around its mean, in L* units."""
        return 21 + 11 * self.arousal

    @property
    def hue(self) -> float:
        """The ruling hue in degrees of CIELAB: gold where bright and wild, red where dark and wild,
        blue where dark and calm, green where bright and calm."""
        turn = math.degrees(math.atan2(self.arousal, self.valence)) % 360
        corners, hues = [0, 45, 135, 225, 315, 360], [108, 72, 27, -82, -222, -252]
        return float(np.interp(turn, corners, hues) % 360)

    def _at(self, light: float) -> float:
        """L* of ``light`` swings of contrast from the mean, eased so that colour survives."""
        level = self.lightness + light * self.contrast
        if level > 78:
            return 78 + 17 * (1 - math.exp((78 - level) / 17))
        if level < 20:
            return 20 - 15 * (1 - math.exp((level - 20) / 15))
        return level

    def ink(self, light: float = 0.0, hue: float = 0.0, chroma: float = 1.0) -> RGB:
        """A colour of this mood: ``light`` in swings of contrast, ``hue`` in degrees off."""
        return lch(self._at(light), self.chroma * 1.15 * chroma, self.hue + hue)

    def local(self, natural: float, light: float = 0.0, chroma: float = 1.0) -> RGB:
        """The colour of a thing whose own hue is ``natural`` degrees, seen in this mood."""
        own, ruling = math.radians(natural), math.radians(self.hue)
        a = 0.62 * math.cos(own) + 0.38 * math.cos(ruling)
        b = 0.62 * math.sin(own) + 0.38 * math.sin(ruling)
        return lch(self._at(light), self.chroma * 1.15 * chroma, math.degrees(math.atan2(b, a)))


def grade(image: Image.Image, mood: Mood, *, strength: float, chroma: float = 1.0) -> Image.Image:
    """The picture pulled part of the way (``strength`` 0..1) to the mood's light and colour.

    Lightness moves along a gamma curve, which keeps black and white; chroma is scaled, and the
    cast of the whole leans a little to the ruling hue. ``chroma`` < 1 is for quiet manners.
    """
    lab = painter_lab(np.asarray(image))
    light = (lab[..., 0] / 100).clip(0.0, 1.0)
    thumb = light[::6, ::6]
    now = float(thumb.mean())
    aim = now + strength * (mood.lightness / 100 - now)
    low, high = 0.25, 4.0
    for _ in range(14):
        gamma = math.sqrt(low * high)
        low, high = (gamma, high) if float((thumb**gamma).mean()) > aim else (low, gamma)
    lab[..., 0] = 100 * light**gamma
    swing = float(np.hypot(lab[::6, ::6, 1], lab[::6, ::6, 2]).mean())
    wanted = mood.chroma * chroma
    scale = min(max((swing + strength * (wanted - swing)) / max(swing, 1.0), 0.2), 2.5)
    lean = 0.22 * strength * wanted
    lab[..., 1] = lab[..., 1] * scale + lean * math.cos(math.radians(mood.hue))
    lab[..., 2] = lab[..., 2] * scale + lean * math.sin(math.radians(mood.hue))
    return Image.fromarray(lab_to_rgb(lab))


# --- tools ---------------------------------------------------------------------------


def noise(
    rng: Generator, size: Size, cell: float | tuple[float, float], octaves: int = 4
) -> Floats:
    """Smooth fractal noise [H, W] in 0..1; ``cell`` is the largest wavelength in pixels (x, y)."""
    width, height = size
    across, down = (cell, cell) if isinstance(cell, (int, float)) else cell
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        columns = max(2, round(width / across * 2**octave) + 1)
        rows = max(2, round(height / down * 2**octave) + 1)
        if columns > width or rows > height:
            break
        grid = rng.random((rows, columns), dtype=np.float32)
        layer = Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)
        total += np.asarray(layer) * 0.5**octave
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def gradient(size: Size, stops: Sequence[tuple[float, RGB]]) -> Image.Image:
    """A vertical gradient through (position 0..1, colour) stops, mixed in CIELAB."""
    width, height = size
    at = np.linspace(0, 1, height)
    lab = painter_lab(np.array([[colour for _, colour in stops]], np.uint8))[0]
    column = np.stack(
        [np.interp(at, [stop for stop, _ in stops], lab[:, axis]) for axis in range(3)], axis=-1
    )
    rgb = lab_to_rgb(column.astype(np.float32)[:, None, :])
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(rgb, (height, width, 3))))


def lay(image: Image.Image, colour: RGB | Image.Image, mask: Floats) -> Image.Image:
    """The picture with a colour (or another picture) laid over it through a mask 0..1 [H, W]."""
    over = Image.new("RGB", image.size, colour) if isinstance(colour, tuple) else colour
    return Image.composite(
        over, image, Image.fromarray((mask.clip(0, 1) * 255 + 0.5).astype(np.uint8))
    )


def texture(image: Image.Image, grain: Floats, amount: float) -> Image.Image:
    """The picture with its brightness stirred by a grain [H, W] around 0.5; amount in bytes."""
    rgb = np.asarray(image).astype(np.float32) + ((grain - 0.5) * amount)[..., None]
    return Image.fromarray((rgb.clip(0, 255) + 0.5).astype(np.uint8))


def relief(image: Image.Image, amount: float) -> Image.Image:
    """Thick paint under light from the upper left: bright ridges, shaded far sides."""
    height = np.asarray(image.convert("L").filter(ImageFilter.GaussianBlur(0.7)), np.float32)
    slope = height - np.roll(height, (2, 2), (0, 1))
    rgb = np.asarray(image).astype(np.float32) + (slope.clip(-40, 40) * amount)[..., None]
    return Image.fromarray((rgb.clip(0, 255) + 0.5).astype(np.uint8))


def ramp(low: float, high: float, x: Floats) -> Floats:
    """0 below ``low``, 1 above ``high``, an S-curve between."""
    t = ((x - low) / (high - low)).clip(0, 1)
    return t * t * (3 - 2 * t)


def grid(size: Size) -> tuple[Floats, Floats]:
    """Pixel coordinates x [H, W], y [H, W]."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return x, y


@dataclass(frozen=True, slots=True)
class Easel:
    """A sheet to draw on, its size in its own pixels, the mood, and the random numbers to use."""

    mood: Mood
    rng: Generator
    sheet: Image.Image
    draw: ImageDraw.ImageDraw
    w: int
    h: int

    def picture(self) -> Image.Image:
        """The drawing at half the sheet's size, antialiased."""
        return self.sheet.reduce(2)

    def disc(self, x: float, y: float, r: float, ink: RGB) -> None:
        """A filled circle."""
        self.draw.ellipse([x - r, y - r, x + r, y + r], fill=ink)


def easel(mood: Mood, rng: Generator, ground: Image.Image, scale: int = 2) -> Easel:
    """An easel whose sheet is a copy of ``ground``, ``scale`` times as large."""
    w, h = ground.width * scale, ground.height * scale
    sheet = ground.resize((w, h))
    return Easel(mood, rng, sheet, ImageDraw.Draw(sheet), w, h)


class Brush(NamedTuple):
    """A stroke about every ``spacing`` pixels, ``length`` × ``width`` pixels, its colour off by
    ``jitter`` (L*, a*b*)."""

    spacing: float
    length: float
    width: float
    jitter: tuple[float, float]


def strokes(
    onto: Image.Image, base: Image.Image, angle: Floats, brush: Brush, rng: Generator
) -> Image.Image:
    """``onto`` with ``base`` painted on it in strokes along a field of angles [H, W] in radians."""
    size, jitter = base.size, brush.jitter
    big = onto.resize((size[0] * 2, size[1] * 2))
    draw = ImageDraw.Draw(big)
    count = int(size[0] * size[1] / brush.spacing**2)
    x = rng.random(count) * size[0]
    y = rng.random(count) * size[1]
    at_x, at_y = x.astype(np.int32), y.astype(np.int32)
    lab = painter_lab(np.asarray(base)[at_y, at_x])
    lab += rng.normal(size=(count, 3)).astype(np.float32) * (jitter[0], jitter[1], jitter[1])
    inks = lab_to_rgb(lab.astype(np.float32)).tolist()
    turn = angle[at_y, at_x] + rng.normal(size=count) * 0.12
    half = brush.length * (0.6 + 0.8 * rng.random(count)) / 2
    dx, dy = np.cos(turn) * half, np.sin(turn) * half
    ends = [x - dx, y - dy, x + dx, y + dy]
    path = np.stack(ends, axis=1) * 2
    thick = np.maximum(1, np.round(2 * brush.width * (0.7 + 0.6 * rng.random(count)))).astype(int)
    for line, ink, wide in zip(path.tolist(), inks, thick.tolist(), strict=True):
        draw.line(line, fill=tuple(ink), width=wide)
        if wide > 6:
            r = wide / 2 - 0.5
            draw.ellipse([line[0] - r, line[1] - r, line[0] + r, line[1] + r], fill=tuple(ink))
            draw.ellipse([line[-2] - r, line[-1] - r, line[-2] + r, line[-1] + r], fill=tuple(ink))
    return big.reduce(2)
