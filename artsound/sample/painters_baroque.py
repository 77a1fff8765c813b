"""Baroque still life: solid things modelled by one light in the dark."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from artsound.sample.canvas import Size, curve, gradient, grid, lay, noise, smooth, texture
from artsound.sample.colour import RGB, Floats, Mood, grade

UMBRA = (6, 4, 4)
FRUIT_HUES = (35.0, 60.0, 88.0, 112.0, 20.0)
# A jug's outline: height 0..1, and radius as a share of its belly.
JUG = ((0, 0.55), (0.07, 0.66), (0.33, 1), (0.6, 0.74), (0.78, 0.4), (0.92, 0.42), (1, 0.56))


def baroque(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Fruit on a table with grapes ("fruit"), a jug ("jug"), or a jug and a lit "candle"."""
    width, height = size
    unit, table = min(size), height * 0.68
    image = _room(mood, rng, size, table)
    if subject == "candle":
        image = _candle(image, mood, (width * rng.uniform(0.3, 0.4), table + unit * 0.06), rng)
    if subject != "fruit":
        image = _jug(image, mood, (width * rng.uniform(0.64, 0.76), table + unit * 0.1))
    for number in range(3 + int(5 * mood.unrest)):
        x = width * (0.2 + 0.6 * (number * 0.618 + 0.1 * rng.random()) % 0.62)
        r = unit * rng.uniform(0.06, 0.1) * (1.25 - 0.4 * mood.unrest)
        y = table + unit * (0.02 + 0.035 * number) - r * 0.3
        ink = mood.local(FRUIT_HUES[int(rng.integers(5))], 0.75, 1.7)
        image = _ball(image, mood, (x, y, r), ink, rng.uniform(0.86, 1.0))
        stem = [(x, y - r * 0.8), (x + r * 0.08, y - r * 1.05), (x + r * 0.3, y - r * 1.2)]
        twig = mood.local(100, -0.9, 0.8)
        ImageDraw.Draw(image).line(curve(stem), fill=twig, width=max(2, int(r / 9)))
    for grape in range(9 if subject == "fruit" else 0):
        x = width * 0.62 + unit * 0.045 * ((grape % 4) - 1.2) + rng.normal() * 2
        y = table + unit * 0.045 * (grape // 4)
        image = _ball(image, mood, (x, y, unit * 0.032), mood.local(310, 0.7, 1.2), 1.0)
    image = texture(image.filter(ImageFilter.GaussianBlur(0.5)), noise(rng, size, 5, 2), 9)
    return grade(image, mood, strength=0.6, chroma=0.8)


def _room(mood: Mood, rng: Generator, size: Size, table: float) -> Image.Image:
    """A wall that catches the light at one side, and a table's edge."""
    x, y = grid(size)
    stops = [(0.0, mood.ink(-0.9, chroma=0.7)), (0.66, mood.ink(-1.3, chroma=0.6))]
    image = gradient(size, [*stops, (1.0, mood.ink(-1.5, chroma=0.6))])
    away = np.hypot(x / size[0] - 0.2, y / size[1] - 0.25)
    image = lay(image, mood.local(65, 0.5, 0.7), 0.75 * np.exp(-away * (4.2 - 1.5 * mood.unrest)))
    image = texture(image, noise(rng, size, 70, 6), 26)
    board = mood.local(50, 0.2, 0.9)
    top = gradient(size, [(0.0, board), (0.7, board), (1.0, mood.local(40, -1.3, 0.8))])
    return lay(image, top, smooth(table - 1, table + 1, y) * (0.9 - 0.6 * x / size[0]))


def _shadow(image: Image.Image, at: tuple[float, float], reach: tuple[float, float]) -> Image.Image:
    x, y = grid(image.size)
    away = np.hypot((x - at[0]) / reach[0], (y - at[1]) / reach[1])
    return lay(image, UMBRA, 0.8 * (1 - smooth(0.33, 1.0, away)))


def _lit(ink: RGB, light: Floats, glow: RGB, shine: Floats) -> Image.Image:
    """A thing of one colour under a light [H, W], with a highlight [H, W]."""
    tone = np.array(ink, np.float32) * light[..., None]
    tone += np.array(glow, np.float32) * shine[..., None]
    return Image.fromarray(tone.clip(0, 255).astype(np.uint8))


def _ball(
    image: Image.Image, mood: Mood, at: tuple[float, float, float], ink: RGB, squash: float
) -> Image.Image:
    """A globe at (x, y) of radius r, lit from the upper left, and its shadow on the table."""
    cx, cy, r = at
    image = _shadow(image, (cx + r * 0.9, cy + r * 0.86), (1.7 * r, 0.34 * r))
    x, y = grid(image.size)
    nx, ny = (x - cx) / r, (y - cy) / (r * squash)
    far = np.hypot(nx, ny)
    nz = np.sqrt(np.clip(1 - far**2, 0, 1))
    light = np.clip(-0.58 * nx - 0.55 * ny + 0.6 * nz, 0, 1) ** 1.3 + 0.06 + 0.1 * ny.clip(0, 1)
    shine = 0.55 * np.clip(-0.35 * nx - 0.42 * ny + 0.83 * nz, 0, 1) ** 38
    globe = _lit(ink, light, mood.local(80, 1.9, 0.6), shine)
    return lay(image, globe, 1 - smooth(1 - 1.6 / r, 1 + 0.6 / r, far))


def _jug(image: Image.Image, mood: Mood, foot: tuple[float, float]) -> Image.Image:
    """A turned jug: round across, its outline a curve."""
    unit = min(image.size)
    belly = unit * 0.13
    image = _shadow(
        image, (foot[0] + belly * 1.2, foot[1] - belly * 0.08), (2 * belly, 0.3 * belly)
    )
    x, y = grid(image.size)
    rise = np.clip((foot[1] - y) / (unit * 0.5), 0, 1.01)
    outline = np.array(curve([(float(v), float(r)) for v, r in JUG]), np.float32)
    radius = belly * np.interp(rise, outline[:, 0], outline[:, 1]).astype(np.float32)
    nx = ((x - foot[0]) / radius).clip(-1, 1)
    light = 0.08 + np.clip(-0.75 * nx + 0.62 * np.sqrt(1 - nx**2), 0, 1) ** 1.2
    shine = 0.4 * np.exp(-(((nx + 0.45) / 0.1) ** 2)) * smooth(0.25, 0.5, rise)
    clay = _lit(mood.local(250, 0.5, 0.9), light, mood.local(80, 1.9, 0.6), shine)
    inside = (1 - smooth(-1.2, 0.8, np.abs(x - foot[0]) - radius)) * (rise > 0) * (rise < 1)
    return lay(image, clay, inside)


def _candle(
    image: Image.Image, mood: Mood, foot: tuple[float, float], rng: Generator
) -> Image.Image:
    size, unit = image.size, min(image.size)
    x, y = grid(size)
    wide, top = unit * 0.028, foot[1] - unit * rng.uniform(0.28, 0.36)
    glow = np.hypot(x - foot[0], (y - top + unit * 0.045) * 0.9) / unit
    image = lay(image, mood.local(70, 1.3, 1.4), 0.85 * np.exp(-glow * (7 - 3 * mood.unrest)))
    wax = gradient(size, [(0.0, mood.local(85, 1.7, 0.7)), (0.5, mood.local(80, 0.9, 0.8)),
                          (1.0, mood.ink(-1.0))])  # fmt: skip
    shaft = (1 - smooth(wide - 1, wide + 1, np.abs(x - foot[0]))) * smooth(top, top + 2, y)
    image = lay(image, wax, shaft * (1 - smooth(foot[1], foot[1] + 3, y)))
    u, v = (x - foot[0]) / (unit * 0.02), (y - top + unit * 0.04) / (unit * 0.055)
    return lay(image, (255, 236, 178), 1 - smooth(0.7, 1.0, np.hypot(u * (1.25 - 0.6 * v), v)))
