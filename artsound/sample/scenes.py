"""Motifs from nature, as a plein-air painter finds them: what the brush is then let loose on."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from artsound.sample.canvas import Points, Size, gradient, grid, lay, noise, smooth
from artsound.sample.colour import Mood

SKY, WATER, LEAF, EARTH, ROOF, CORN, HILL = 255.0, 235.0, 128.0, 70.0, 38.0, 88.0, 275.0


def sky(mood: Mood, rng: Generator, size: Size, *, sun: tuple[float, float] | None) -> Image.Image:
    """Air from zenith to horizon with drifting clouds, and a sun (or moon) where asked."""
    width, height = size
    image = gradient(
        size,
        [
            (0.0, mood.local(SKY, 0.1, 1.0)),
            (0.35, mood.local(SKY, 0.6, 0.8)),
            (0.6, mood.local(75, 1.15, 0.7)),
            (1.0, mood.local(60, 0.9, 0.7)),
        ],
    )
    clouds = smooth(0.52, 0.85, noise(rng, size, (150, 55), 5))
    image = lay(image, mood.local(60, 1.5, 0.35), clouds * 0.8)
    if sun is not None:
        x, y = grid(size)
        away = np.hypot(x - sun[0], y - sun[1]) / min(width, height)
        image = lay(image, mood.local(72, 1.5, 1.0), np.exp(-away * 7) * 0.9)
        image = lay(image, mood.local(80, 2.0, 0.8), 1 - smooth(0.04, 0.055, away))
    return image


def _hills(draw: ImageDraw.ImageDraw, mood: Mood, rng: Generator, size: Size, base: float) -> None:
    width, height = size
    for layer in range(2):
        rise = height * (0.16 - 0.07 * layer)
        steps = np.linspace(0, width, 9)
        tops = base - rise * rng.random(9) - 2
        shape = [
            (0.0, base + 4),
            *zip(steps.tolist(), tops.tolist(), strict=True),
            (width, base + 4),
        ]
        draw.polygon(shape, fill=mood.local(HILL - 60 * layer, 0.45 - 0.4 * layer, 0.7))


def _clump(
    draw: ImageDraw.ImageDraw, mood: Mood, rng: Generator, x: float, y: float, r: float, tall: float
) -> None:
    """A tree seen as a mass: a trunk, dark leaves below, light ones towards the sun."""
    trunk = [(x - r * 0.1, y), (x - r * 0.05, y - r * tall), (x + r * 0.07, y - r * tall)]
    draw.polygon([*trunk, (x + r * 0.12, y)], fill=mood.local(EARTH, -1.3, 0.6))
    for puff in range(16):
        share = puff / 15
        px = x + rng.normal() * r * 0.38 - share * r * 0.15
        py = y - r * tall * (0.55 + 0.6 * rng.random()) - share * r * 0.12
        pr = r * (0.42 - 0.2 * share) * rng.uniform(0.7, 1.1)
        ink = mood.local(LEAF - 25 * share, -1.0 + 1.5 * share, 1.0)
        draw.ellipse([px - pr, py - pr, px + pr, py + pr * 0.9], fill=ink)


def _reflect(image: Image.Image, horizon: int, mood: Mood, rng: Generator) -> Image.Image:
    """The same picture with water below the horizon, mirroring it in broken ripples."""
    width, height = image.size
    depth = height - horizon
    top = np.asarray(image)[max(0, horizon - depth) : horizon][::-1]
    rows = np.clip(np.arange(depth) * len(top) // max(depth, 1), 0, len(top) - 1)
    ripple = (noise(rng, (width, depth), (46, 7), 3) - 0.5) * np.linspace(2, 30, depth)[:, None]
    columns = (np.arange(width)[None, :] + ripple).astype(int).clip(0, width - 1)
    mirrored = Image.fromarray(np.ascontiguousarray(top[rows[:, None], columns]))
    tint = 0.35 + 0.25 * noise(rng, (width, depth), (80, 8), 3)
    mirrored = lay(mirrored, mood.local(WATER, -0.25, 0.9), tint)
    out = image.copy()
    out.paste(mirrored, (0, horizon))
    return out


def _sails(draw: ImageDraw.ImageDraw, mood: Mood, rng: Generator, size: Size, base: float) -> None:
    width, height = size
    for boat in range(int(rng.integers(2, 5))):
        x = width * rng.uniform(0.1, 0.9)
        tall = height * rng.uniform(0.08, 0.26)
        y = base + tall * 0.35
        ink = mood.local(
            (60, 40, 85)[boat % 3], (1.5, 0.2, 1.2)[boat % 3], (0.4, 1.5, 1.0)[boat % 3]
        )
        draw.polygon(
            [(x, y), (x + tall * 0.05, y - tall), (x + tall * 0.55, y - tall * 0.06)], fill=ink
        )
        draw.polygon([(x - tall * 0.06, y), (x, y - tall * 0.85), (x - tall * 0.32, y)], fill=ink)
        hull = [
            (x - tall * 0.45, y + 2),
            (x + tall * 0.6, y + 2),
            (x + tall * 0.4, y + tall * 0.16),
        ]
        draw.polygon([*hull, (x - tall * 0.3, y + tall * 0.16)], fill=mood.local(HILL, -1.4, 0.8))


def _houses(draw: ImageDraw.ImageDraw, mood: Mood, rng: Generator, size: Size, base: float) -> None:
    width, height = size
    x = -0.03 * width
    while x < width:
        wide = width * rng.uniform(0.07, 0.14)
        tall = height * rng.uniform(0.14, 0.3)
        wall = mood.local(
            rng.choice([60, 75, 95, 30]), rng.uniform(0.1, 1.3), rng.uniform(0.4, 1.0)
        )
        draw.rectangle([x, base - tall, x + wide, base + 2], fill=wall)
        ridge = base - tall - wide * rng.uniform(0.25, 0.7)
        roof: Points = [(x - 3, base - tall), (x + wide / 2, ridge), (x + wide + 3, base - tall)]
        draw.polygon(roof, fill=mood.local(ROOF, -0.5, 1.3))
        for row in range(int(tall // 26) + 1):
            for column in range(2):
                wx, wy = x + wide * (0.22 + 0.4 * column), base - tall + 8 + row * 26
                draw.rectangle([wx, wy, wx + wide * 0.16, wy + 13], fill=mood.local(SKY, -1.3, 0.7))
        x += wide * rng.uniform(0.95, 1.1)


def _field(
    image: Image.Image, mood: Mood, rng: Generator, horizon: int, subject: str
) -> Image.Image:
    width, height = image.size
    depth = height - horizon
    ground = LEAF - 15 if subject == "garden" else CORN
    near = gradient(
        (width, depth),
        [
            (0.0, mood.local(ground, 0.7, 0.9)),
            (0.4, mood.local(ground + 12, 0.1, 1.1)),
            (1.0, mood.local(ground + 25, -0.8, 1.1)),
        ],
    )
    near = lay(
        near,
        mood.local(CORN - 15, 0.6, 1.2),
        smooth(0.5, 0.8, noise(rng, (width, depth), (160, 22), 4)),
    )
    out = image.copy()
    out.paste(near, (0, horizon))
    draw = ImageDraw.Draw(out)
    for _ in range(420 if subject == "garden" else 90):
        t = rng.random() ** 0.7
        x, y = rng.random() * width, horizon + 4 + t * depth
        r = 0.8 + 3.6 * t
        hue, light = [(25, 0.0), (350, 0.7), (90, 1.3), (300, 0.2)][int(rng.integers(4))]
        draw.ellipse([x - r, y - r, x + r, y + r], fill=mood.local(hue, light, 1.7))
    return out


def scene(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """A motif in plain paint, before any manner: "river", "sea", "town", "field" or "garden"."""
    width, height = size
    horizon = int(height * rng.uniform(0.42, 0.55))
    sun = (width * rng.uniform(0.25, 0.75), horizon * rng.uniform(0.3, 0.75))
    image = sky(mood, rng, size, sun=sun if subject in ("sea", "field") else None)
    draw = ImageDraw.Draw(image)
    if subject != "sea":
        _hills(draw, mood, rng, size, horizon)
    if subject == "town":
        _houses(draw, mood, rng, size, horizon)
    if subject == "river":
        for _ in range(6):
            r = height * rng.uniform(0.07, 0.14)
            _clump(draw, mood, rng, width * rng.random(), horizon + 3, r, rng.uniform(1.0, 2.2))
    if subject in ("river", "town", "sea"):
        image = _reflect(image, horizon, mood, rng)
        draw = ImageDraw.Draw(image)
        if subject != "river":
            _sails(draw, mood, rng, size, horizon)
        else:
            bank = [(0, height), (0, horizon + height * 0.12)]
            bank += [
                (width * t, horizon + height * (0.14 + 0.42 * t**0.7 + 0.03 * math.sin(9 * t)))
                for t in np.linspace(0.05, 0.8, 10)
            ]
            draw.polygon([*bank, (width * 0.85, height)], fill=mood.local(LEAF - 20, 0.1, 1.1))
            _clump(draw, mood, rng, width * 0.14, height * 0.78, height * 0.22, 2.1)
    else:
        image = _field(image, mood, rng, horizon, subject)
        draw = ImageDraw.Draw(image)
        for side in range(3):
            x = width * (0.1 + 0.38 * side + 0.1 * rng.random())
            r = height * rng.uniform(0.09, 0.2)
            if subject == "field" and side != 1:
                y = horizon + r * 1.3
                stack = [
                    (x - r, y),
                    (x - r * 0.85, y - r * 0.7),
                    (x, y - r * 1.4),
                    (x + r * 0.85, y - r * 0.7),
                ]
                draw.polygon([*stack, (x + r, y)], fill=mood.local(CORN - 20, -0.3, 1.3))
                draw.polygon(
                    [stack[2], stack[3], (x + r, y), (x + r * 0.2, y)],
                    fill=mood.local(HILL, -1.1, 0.9),
                )
            else:
                _clump(draw, mood, rng, x, horizon + r * 0.8, r, rng.uniform(1.1, 1.9))
    return image.filter(ImageFilter.GaussianBlur(1.2))
