"""Baroque still life: solid things modelled by one light in the dark."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from artsound.sources.sample.canvas import (
    Floats,
    Size,
    curve,
    gradient,
    grid,
    lay,
    noise,
    smooth,
    texture,
)
from artsound.sources.sample.colour import RGB, Mood, grade


def _ball(
    image: Image.Image,
    x: Floats,
    y: Floats,
    at: tuple[float, float, float],
    ink: RGB,
    glow: RGB,
    squash: float = 1.0,
) -> Image.Image:
    """A globe lit from the upper left, with its shadow on the table."""
    cx, cy, r = at
    shadow = np.hypot((x - cx - r * 0.9) / (1.7 * r), (y - cy - r * 0.86) / (0.34 * r))
    image = lay(image, (6, 4, 4), 0.8 * (1 - smooth(0.35, 1.0, shadow)))
    nx, ny = (x - cx) / r, (y - cy) / (r * squash)
    far = np.hypot(nx, ny)
    nz = np.sqrt(np.clip(1 - far**2, 0, 1))
    lit = np.clip(-0.58 * nx - 0.55 * ny + 0.6 * nz, 0, 1)
    shine = np.clip(-0.35 * nx - 0.42 * ny + 0.83 * nz, 0, 1) ** 38
    bounce = 0.1 * np.clip(ny, 0, 1)
    colour = np.array(ink, np.float32) * (0.06 + lit**1.3 + bounce)[..., None]
    colour += np.array(glow, np.float32) * (0.55 * shine)[..., None]
    globe = Image.fromarray(colour.clip(0, 255).astype(np.uint8))
    return lay(image, globe, 1 - smooth(1 - 1.6 / r, 1 + 0.6 / r, far))


def baroque(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Fruit and a jug in the dark, lit from one side; a candle flame in some."""
    width, height = size
    x, y = grid(size)
    table = height * 0.68
    image = gradient(
        size,
        [
            (0.0, mood.ink(-0.9, chroma=0.7)),
            (0.66, mood.ink(-1.3, chroma=0.6)),
            (1.0, mood.ink(-1.5, chroma=0.6)),
        ],
    )
    away = np.hypot((x - width * 0.2) / width, (y - height * 0.25) / height)
    image = lay(image, mood.local(65, 0.5, 0.7), 0.75 * np.exp(-away * (4.2 - 1.5 * mood.unrest)))
    image = texture(image, noise(rng, size, 70, 6), 26)
    top = gradient(
        size,
        [
            (0.0, mood.local(50, 0.2, 0.9)),
            (0.7, mood.local(50, 0.2, 0.9)),
            (1.0, mood.local(40, -1.3, 0.8)),
        ],
    )
    image = lay(image, top, smooth(table - 1, table + 1, y) * (0.9 - 0.6 * x / width))
    glow = mood.local(80, 1.9, 0.6)
    unit = min(width, height)
    if subject == "candle":
        cx, cy = width * rng.uniform(0.3, 0.4), table + unit * 0.06
        w, tall = unit * 0.028, unit * rng.uniform(0.28, 0.36)
        shaft = (1 - smooth(w - 1, w + 1, np.abs(x - cx))) * smooth(cy - tall, cy - tall + 2, y)
        shaft *= 1 - smooth(cy, cy + 3, y)
        lit = gradient(
            size,
            [(0.0, mood.local(85, 1.7, 0.7)), (0.5, mood.local(80, 0.9, 0.8)), (1, mood.ink(-1.0))],
        )
        far = np.hypot(x - cx, (y - cy + tall + unit * 0.045) * 0.9) / unit
        image = lay(image, mood.local(70, 1.3, 1.4), 0.85 * np.exp(-far * (7 - 3 * mood.unrest)))
        image = lay(image, lit, shaft)
        fx, fy = (x - cx) / (unit * 0.02), (y - cy + tall + unit * 0.04) / (unit * 0.055)
        flame = 1 - smooth(0.7, 1.0, np.hypot(fx * (1.25 + 0.6 * -fy), fy))
        image = lay(image, (255, 236, 178), flame)
    if subject != "fruit":
        jx, jr = width * rng.uniform(0.64, 0.76), unit * 0.13
        rise = np.clip((table + unit * 0.1 - y) / (unit * 0.5), 0, 1.01)
        profile = np.array(
            curve(
                [
                    (0, 0.55),
                    (0.07, 0.66),
                    (0.33, 1.0),
                    (0.6, 0.74),
                    (0.78, 0.4),
                    (0.92, 0.42),
                    (1.0, 0.56),
                ]
            ),
            np.float32,
        )
        radius = jr * np.interp(rise, profile[:, 0], profile[:, 1]).astype(np.float32)
        nx = ((x - jx) / radius).clip(-1, 1)
        lit = np.clip(-0.75 * nx + 0.62 * np.sqrt(1 - nx**2), 0, 1)
        shine = np.exp(-(((nx + 0.45) / 0.1) ** 2)) * smooth(0.25, 0.5, rise)
        tone = np.array(mood.local(250, 0.5, 0.9), np.float32) * (0.08 + lit**1.2)[..., None]
        tone += np.array(glow, np.float32) * (0.4 * shine)[..., None]
        inside = (1 - smooth(-1.2, 0.8, np.abs(x - jx) - radius)) * (rise > 0) * (rise < 1.0)
        shadow = np.hypot((x - jx - jr * 1.2) / (2 * jr), (y - table - unit * 0.09) / (0.3 * jr))
        image = lay(image, (6, 4, 4), 0.75 * (1 - smooth(0.3, 1.0, shadow)))
        image = lay(image, Image.fromarray(tone.clip(0, 255).astype(np.uint8)), inside)
    hues = [35, 60, 88, 112, 20]
    for fruit in range(3 + int(5 * mood.unrest)):
        r = unit * rng.uniform(0.06, 0.1)
        cx = width * (0.2 + 0.6 * (fruit * 0.618 + 0.1 * rng.random()) % 0.62)
        cy = table + unit * (0.02 + 0.035 * fruit) - r * 0.3
        r *= 1.25 - 0.4 * mood.unrest
        ink = mood.local(hues[int(rng.integers(5))], 0.75, 1.7)
        image = _ball(image, x, y, (cx, cy, r), ink, glow, rng.uniform(0.86, 1.0))
        stem = curve(
            [(cx, cy - r * 0.8), (cx + r * 0.08, cy - r * 1.05), (cx + r * 0.3, cy - r * 1.2)]
        )
        ImageDraw.Draw(image).line(stem, fill=mood.local(100, -0.9, 0.8), width=max(2, int(r / 9)))
    for grape in range(9 if subject == "fruit" else 0):
        cx = width * 0.62 + unit * 0.045 * ((grape % 4) - 1.2) + rng.normal() * 2
        cy = table + unit * (0.0 + 0.045 * (grape // 4))
        image = _ball(image, x, y, (cx, cy, unit * 0.032), mood.local(310, 0.7, 1.2), glow)
    image = texture(image.filter(ImageFilter.GaussianBlur(0.5)), noise(rng, size, 5, 2), 9)
    return grade(image, mood, strength=0.6, chroma=0.8)
