"""What every painter reaches for: smooth noise, gradients, paper, relief and brushes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from artsound.sample.colour import RGB, Floats, Mood, lab_to_rgb, painter_lab

Size = tuple[int, int]
Points = list[tuple[float, float]]


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


def smooth(low: float, high: float, x: Floats) -> Floats:
    """0 below ``low``, 1 above ``high``, an S-curve between."""
    t = ((x - low) / (high - low)).clip(0, 1)
    return t * t * (3 - 2 * t)


def grid(size: Size) -> tuple[Floats, Floats]:
    """Pixel coordinates x [H, W], y [H, W]."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return x, y


def large(size: Size, colour: RGB, scale: int = 2) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A sheet ``scale`` times as large to draw on; `small` brings it back with smooth edges."""
    image = Image.new("RGB", (size[0] * scale, size[1] * scale), colour)
    return image, ImageDraw.Draw(image)


def small(image: Image.Image, scale: int = 2) -> Image.Image:
    """The sheet of `large` at its final size, antialiased."""
    return image.reduce(scale)


@dataclass(frozen=True, slots=True)
class Easel:
    """A sheet twice the picture's size to draw on, the mood to draw in, and the hand's chance.

    ``w`` and ``h`` are the sheet's own pixels; `picture` brings it to size, edges smoothed.
    """

    mood: Mood
    rng: Generator
    sheet: Image.Image
    draw: ImageDraw.ImageDraw
    w: int
    h: int

    def picture(self) -> Image.Image:
        """The drawing at the picture's size."""
        return small(self.sheet)


def easel(mood: Mood, rng: Generator, ground: Image.Image) -> Easel:
    """An easel with a copy of ``ground``, a picture of the final size, already painted on it."""
    w, h = ground.width * 2, ground.height * 2
    sheet = ground.resize((w, h))
    return Easel(mood, rng, sheet, ImageDraw.Draw(sheet), w, h)


def curve(points: Points, steps: int = 12) -> Points:
    """A Catmull-Rom curve through the points, ``steps`` pieces between neighbours."""
    p = np.array([points[0], *points, points[-1]], np.float64)
    t = (np.arange(steps) / steps)[:, None]
    out: list[np.ndarray] = []
    for i in range(1, len(p) - 2):
        a, b, c, d = p[i - 1], p[i], p[i + 1], p[i + 2]
        out.append(
            0.5
            * (
                2 * b
                + (c - a) * t
                + (2 * a - 5 * b + 4 * c - d) * t**2
                + (3 * b - a - 3 * c + d) * t**3
            )
        )
    out.append(p[-2:-1])
    return [(float(x), float(y)) for x, y in np.concatenate(out)]


def strokes(
    base: Image.Image,
    angle: Floats,
    rng: Generator,
    *,
    spacing: float,
    length: float,
    width: float,
    jitter: tuple[float, float] = (5.0, 6.0),
    bend: float = 0.0,
    onto: Image.Image | None = None,
) -> Image.Image:
    """The picture repainted in brush strokes along a field of angles [H, W] in radians.

    One stroke about every ``spacing`` pixels, ``length`` × ``width`` pixels, its colour taken
    from the picture and stirred by ``jitter`` (L*, a*b*). They land on ``onto``, or on the picture
    itself. ``bend`` bows a stroke by that share of its length.
    """
    size = base.size
    big = (onto or base).resize((size[0] * 2, size[1] * 2))
    draw = ImageDraw.Draw(big)
    count = int(size[0] * size[1] / spacing**2)
    x = rng.random(count) * size[0]
    y = rng.random(count) * size[1]
    at_x, at_y = x.astype(np.int32), y.astype(np.int32)
    lab = painter_lab(np.asarray(base)[at_y, at_x])
    lab += rng.normal(size=(count, 3)).astype(np.float32) * (jitter[0], jitter[1], jitter[1])
    inks = lab_to_rgb(lab.astype(np.float32)).tolist()
    turn = angle[at_y, at_x] + rng.normal(size=count) * 0.12
    half = length * (0.6 + 0.8 * rng.random(count)) / 2
    dx, dy = np.cos(turn) * half, np.sin(turn) * half
    ends = [x - dx, y - dy, x + dx, y + dy]
    if bend > 0:
        sway = rng.normal(size=count) * bend * half
        ends[2:2] = [x - sway * np.sin(turn), y + sway * np.cos(turn)]
    path = np.stack(ends, axis=1) * 2
    thick = np.maximum(1, np.round(2 * width * (0.7 + 0.6 * rng.random(count)))).astype(int)
    for line, ink, wide in zip(path.tolist(), inks, thick.tolist(), strict=True):
        draw.line(line, fill=tuple(ink), width=wide)
        if wide > 6:
            r = wide / 2 - 0.5
            draw.ellipse([line[0] - r, line[1] - r, line[0] + r, line[1] + r], fill=tuple(ink))
            draw.ellipse([line[-2] - r, line[-1] - r, line[-2] + r, line[-1] + r], fill=tuple(ink))
    return small(big)
