"""Fauvism: raw colour inside dark contours, nobody's own."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from PIL import Image

from artsound.sample.canvas import Easel, Points, Size, curve, easel, noise, relief, strokes
from artsound.sample.colour import RGB, Mood, grade


def fauvism(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """A "village", "trees" along a path, or a "harbour" with sails; hues drift when aroused."""
    at = easel(mood, rng, Image.new("RGB", size, mood.ink(0.9, hue=40, chroma=1.3)))
    _sky_and_hills(at)
    if subject == "harbour":
        _harbour(at)
    else:
        _path(at)
        for house in range(4 if subject == "village" else 1):
            _house(at, house)
    for tree in range(1 if subject == "harbour" else 2 + int(3 * mood.unrest)):
        _tree(at, tree)
    image = at.picture()
    angle = (noise(rng, size, 160, 2) - 0.5) * (2 + 3 * mood.unrest) + 0.7
    jitter = (4.0, 4 + 8 * mood.unrest)
    brushed = strokes(image, angle, rng, spacing=6, length=13, width=3, jitter=jitter)
    return grade(relief(Image.blend(image, brushed, 0.4), 0.3), mood, strength=0.75)


def _twist(at: Easel) -> float:
    """How far hues stray from the ruling one."""
    return 0.25 + 0.75 * at.mood.unrest


def _contour(at: Easel) -> RGB:
    return at.mood.ink(-1.9, hue=190, chroma=0.9)


def _patch(at: Easel, points: Points, light: float, hue: float) -> None:
    at.draw.polygon(points, fill=at.mood.ink(light, hue=hue * _twist(at), chroma=1.7))
    width = 5 + round(4 * at.mood.unrest)
    at.draw.line([*points, points[0]], fill=_contour(at), width=width)


def _sky_and_hills(at: Easel) -> None:
    w, h, twist = at.w, at.h, _twist(at)
    for band in range(4):
        top = h * (0.08 + 0.1 * band)
        wave: Points = [
            (w * t, top + h * 0.05 * twist * math.sin(5 * t + band * 2))
            for t in np.linspace(0, 1, 18).tolist()
        ]
        ink = at.mood.ink(0.8 - 0.15 * band, hue=twist * (-70 + 45 * band), chroma=1.4)
        at.draw.polygon([*wave, (w, h), (0, h)], fill=ink)
    for base, light, hue in ((0.5, -0.1, 165), (0.56, 0.4, 80)):
        tops = [(w * t / 4, h * (base - at.rng.uniform(0.03, 0.2))) for t in range(5)]
        _patch(at, [(0, h), *curve(tops), (w, h)], light, hue)


def _harbour(at: Easel) -> None:
    w, h, rng = at.w, at.h, at.rng
    _patch(at, [(-9, h + 9), (-9, h * 0.62), (w + 9, h * 0.6), (w + 9, h + 9)], 0.2, -140)
    for _ in range(26):
        x, y = w * rng.random(), h * rng.uniform(0.66, 0.98)
        hue = float(rng.choice([-150, 20, 60])) * _twist(at)
        ink = at.mood.ink(rng.uniform(-0.4, 1.2), hue=hue, chroma=1.6)
        at.draw.line([(x, y), (x + w * rng.uniform(0.03, 0.1), y)], fill=ink, width=9)
    for boat, hue in enumerate((20, -60, 90)):
        x, y, s = w * (0.16 + 0.3 * boat), h * rng.uniform(0.66, 0.84), h * 0.11
        _patch(at, [(x, y), (x, y - 2.2 * s), (x + 1.2 * s, y - 0.2 * s)], 1.0, hue)
        keel = y + 0.5 * s
        _patch(at, [(x - s, y), (x + 1.5 * s, y), (x + s, keel), (x - 0.6 * s, keel)], -0.7, -25)


def _path(at: Easel) -> None:
    w, h = at.w, at.h
    _patch(at, [(-9, h + 9), (-9, h * 0.6), (w + 9, h * 0.58), (w + 9, h + 9)], 0.1, 75)
    near = ((0.3, 1.0), (0.46, 0.8), (0.4, 0.66), (0.5, 0.56))
    far = ((0.53, 0.56), (0.5, 0.68), (0.6, 0.8), (0.58, 1.0))
    sides = [curve([(w * u, h * v) for u, v in side]) for side in (near, far)]
    _patch(at, sides[0] + sides[1], 1.1, -30)


def _house(at: Easel, number: int) -> None:
    s = at.h * at.rng.uniform(0.09, 0.13)
    x, y = at.w * (0.1 + 0.22 * number), at.h * (0.6 + 0.05 * (number % 2))
    wall = [(x, y), (x, y - s), (x + 1.3 * s, y - s), (x + 1.3 * s, y)]
    _patch(at, wall, 1.2, (-20, 60, 0, 110)[number])
    _patch(
        at, [(x - 0.15 * s, y - s), (x + 0.65 * s, y - 1.7 * s), (x + 1.45 * s, y - s)], -0.2, -45
    )
    at.draw.rectangle([x + 0.5 * s, y - 0.55 * s, x + 0.8 * s, y], fill=_contour(at))


def _tree(at: Easel, number: int) -> None:
    w, h, rng = at.w, at.h, at.rng
    x, y = w * (0.06 + 0.86 * ((number * 0.618 + 0.07) % 1)), h * rng.uniform(0.84, 1.02)
    tall, lean = h * rng.uniform(0.5, 0.72), w * 0.09 * _twist(at) * rng.normal()
    trunk = curve([(x, y), (x + lean * 0.3, y - tall * 0.4), (x + lean, y - tall)])
    at.draw.line(trunk, fill=_contour(at), width=26)
    at.draw.line(trunk, fill=at.mood.ink(0.0, hue=-75 * _twist(at), chroma=1.8), width=14)
    r = h * rng.uniform(0.1, 0.15)
    for puff, (light, hue) in enumerate(((0.1, 75), (0.6, 45), (-0.3, 120))):
        cx, cy = x + lean + r * 0.9 * (puff - 1), y - tall + r * 0.3 * (puff % 2)
        blob: Points = []
        for turn in np.linspace(0, 2 * math.pi, 9).tolist():
            wide, high = r * rng.uniform(0.8, 1.1), r * rng.uniform(0.75, 1.0)
            blob.append((cx + wide * math.cos(turn), cy + high * math.sin(turn)))
        _patch(at, curve(blob)[:-1], light, hue)
