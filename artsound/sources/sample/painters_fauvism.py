"""Fauvism: raw colour inside dark contours."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from PIL import Image

from artsound.sources.sample.canvas import (
    Points,
    Size,
    curve,
    large,
    noise,
    relief,
    small,
    strokes,
)
from artsound.sources.sample.colour import Mood, grade


def fauvism(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Trees, roofs and water in raw colours that are nobody's own, held by dark contours."""
    width, height = size
    image, draw = large(size, mood.ink(0.9, hue=40, chroma=1.3))
    w, h = width * 2, height * 2
    dark = mood.ink(-1.9, hue=190, chroma=0.9)
    line = 5 + round(4 * mood.unrest)
    twist = 0.25 + 0.75 * mood.unrest

    def patch(points: Points, light: float, hue: float) -> None:
        draw.polygon(points, fill=mood.ink(light, hue=hue * twist, chroma=1.7))
        draw.line([*points, points[0]], fill=dark, width=line)

    for band in range(4):
        y0 = h * (0.08 + 0.1 * band)
        wave: Points = [
            (w * t, y0 + h * 0.05 * twist * math.sin(5 * t + band * 2))
            for t in np.linspace(0, 1, 18)
        ]
        draw.polygon(
            [*wave, (w, h), (0, h)],
            fill=mood.ink(0.8 - 0.15 * band, hue=twist * (-70 + 45 * band), chroma=1.4),
        )
    for layer in range(2):
        base = h * (0.5 + 0.06 * layer)
        tops: Points = [(w * t, base - h * rng.uniform(0.03, 0.2)) for t in np.linspace(0, 1, 5)]
        patch([(0, h), *curve(tops), (w, h)], -0.1 + 0.5 * layer, (165, 80)[layer])
    if subject == "harbour":
        patch([(-9, h + 9), (-9, h * 0.62), (w + 9, h * 0.6), (w + 9, h + 9)], 0.2, -140)
        for _ in range(26):
            x, y = w * rng.random(), h * rng.uniform(0.66, 0.98)
            long = w * rng.uniform(0.03, 0.1)
            draw.line(
                [(x, y), (x + long, y)],
                fill=mood.ink(
                    rng.uniform(-0.4, 1.2), hue=rng.choice([-150, 20, 60]) * twist, chroma=1.6
                ),
                width=9,
            )
        for boat in range(3):
            x, y, s = w * (0.16 + 0.3 * boat), h * rng.uniform(0.66, 0.84), h * 0.11
            patch([(x, y), (x, y - 2.2 * s), (x + 1.2 * s, y - 0.2 * s)], 1.0, (20, -60, 90)[boat])
            patch(
                [(x - s, y), (x + 1.5 * s, y), (x + s, y + 0.5 * s), (x - 0.6 * s, y + 0.5 * s)],
                -0.7,
                -25,
            )
    else:
        path: Points = [(w * 0.3, h), (w * 0.46, h * 0.8), (w * 0.4, h * 0.66), (w * 0.5, h * 0.56)]
        back: Points = [
            (w * 0.53, h * 0.56),
            (w * 0.5, h * 0.68),
            (w * 0.6, h * 0.8),
            (w * 0.58, h),
        ]
        patch([(-9, h + 9), (-9, h * 0.6), (w + 9, h * 0.58), (w + 9, h + 9)], 0.1, 75)
        patch([*curve(path), *curve(back)], 1.1, -30)
        for house in range(4 if subject == "village" else 1):
            x, y, s = (
                w * (0.1 + 0.22 * house),
                h * (0.6 + 0.05 * (house % 2)),
                h * rng.uniform(0.09, 0.13),
            )
            patch(
                [(x, y), (x, y - s), (x + 1.3 * s, y - s), (x + 1.3 * s, y)],
                1.2,
                (-20, 60, 0, 110)[house],
            )
            patch(
                [(x - 0.15 * s, y - s), (x + 0.65 * s, y - 1.7 * s), (x + 1.45 * s, y - s)],
                -0.2,
                -45,
            )
            draw.rectangle([x + 0.5 * s, y - 0.55 * s, x + 0.8 * s, y], fill=dark)
    for tree in range(1 if subject == "harbour" else 2 + int(3 * mood.unrest)):
        x, y = w * (0.06 + 0.86 * ((tree * 0.618 + 0.07) % 1)), h * rng.uniform(0.84, 1.02)
        tall, lean = h * rng.uniform(0.5, 0.72), w * 0.09 * twist * rng.normal()
        trunk = curve([(x, y), (x + lean * 0.3, y - tall * 0.4), (x + lean, y - tall)])
        draw.line(trunk, fill=dark, width=26)
        draw.line(trunk, fill=mood.ink(0.0, hue=-75 * twist, chroma=1.8), width=14)
        r = h * rng.uniform(0.1, 0.15)
        for puff in range(3):
            cx, cy = x + lean + r * (0.9 * (puff - 1)), y - tall + r * (0.3 * (puff % 2))
            blob: Points = [
                (
                    cx + r * rng.uniform(0.8, 1.1) * math.cos(t),
                    cy + r * rng.uniform(0.75, 1.0) * math.sin(t),
                )
                for t in np.linspace(0, 2 * math.pi, 9)
            ]
            patch(curve(blob)[:-1], (0.1, 0.6, -0.3)[puff], (75, 45, 120)[puff])
    image = small(image)
    angle = (noise(rng, size, 160, 2) - 0.5) * (2 + 3 * mood.unrest) + 0.7
    brushed = strokes(
        image, angle, rng, spacing=6, length=13, width=3, jitter=(4, 4 + 8 * mood.unrest)
    )
    image = Image.blend(image, brushed, 0.4)
    return grade(relief(image, 0.3), mood, strength=0.75)
