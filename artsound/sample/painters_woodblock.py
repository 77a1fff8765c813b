"""Ukiyo-e: flat inks inside outlines, a graded band of sky, and the grain of the block."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from PIL import Image

from artsound.sample.canvas import Easel, Points, Size, curve, easel, gradient, noise, texture
from artsound.sample.colour import RGB, Mood, grade


def ukiyo_e(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """A volcano behind breaking waves ("wave") or behind a lake and a pine ("mountain")."""
    at = easel(mood, rng, _air(mood, size))
    dark = mood.local(265, -2.0, 0.8)
    _heavens(at)
    if subject == "wave":
        _volcano(at, at.h * 0.6, at.h * 0.17, dark)
        _sea(at, at.h * 0.6, dark)
    else:
        _volcano(at, at.h * 0.72, at.h * 0.42, dark)
        _lake(at, at.h * 0.72, dark)
        _pine(at, dark)
    image = texture(at.picture(), noise(rng, size, (260, 3), 2), 14)
    image = texture(image, noise(rng, size, 3, 1), 8)
    return grade(image, mood, strength=0.7)


def _air(mood: Mood, size: Size) -> Image.Image:
    stops = [
        (0.0, mood.local(258, -0.6, 1.2)),
        (0.13, mood.local(250, 0.5, 0.7)),
        (0.4, mood.local(80, 1.3, 0.5)),
        (0.75, mood.local(55, 1.0, 0.7)),
        (1.0, mood.local(60, 0.8, 0.7)),
    ]
    return gradient(size, stops)


def _heavens(at: Easel) -> None:
    """A red sun, or a pale moon in the calm; three banks of cloud with rounded ends."""
    x, y, r = at.w * at.rng.uniform(0.2, 0.8), at.h * at.rng.uniform(0.16, 0.28), at.h * 0.07
    calm = at.mood.arousal <= -0.2
    disc = at.mood.local(85, 1.9, 0.4) if calm else at.mood.local(35, 0.3, 1.9)
    at.draw.ellipse([x - r, y - r, x + r, y + r], fill=disc)
    for _ in range(3):
        x, y = at.w * at.rng.random(), at.h * at.rng.uniform(0.12, 0.42)
        long, thick = at.w * at.rng.uniform(0.2, 0.45), at.h * 0.022
        for step in range(2):
            left, right = x + long * 0.2 * step, x + long * (0.8 + 0.3 * step)
            box = [left, y + thick * step, right, y + thick * (step + 1)]
            at.draw.rounded_rectangle(box, thick / 2, fill=at.mood.local(80, 1.7, 0.3))


def _volcano(at: Easel, base: float, tall: float, dark: RGB) -> None:
    """A cone with a ragged cap of snow."""
    x = at.w * at.rng.uniform(0.3, 0.7)
    foot, waist, top = (2.2, 0.0), (1.0, 0.42), (0.18, 1.0)
    left = curve([(x - tall * u, base - tall * v) for u, v in (foot, waist, top)])
    right = curve([(x + tall * u, base - tall * v) for u, v in (top, waist, foot)])
    at.draw.polygon([*left, *right], fill=at.mood.local(262, -0.4, 0.9))
    cut = base - tall * 0.66
    snow = [p for p in (*left, *right) if p[1] <= cut]
    low, high = snow[-1], snow[0]
    teeth = [
        (low[0] + (high[0] - low[0]) * t, cut + tall * (0.02 + 0.2 * (i % 2)))
        for i, t in enumerate(np.linspace(0, 1, 9))
    ]
    at.draw.polygon([*snow, *teeth], fill=at.mood.local(80, 2.0, 0.25))
    at.draw.line([*left, *right], fill=dark, width=3)


def _sea(at: Easel, horizon: float, dark: RGB) -> None:
    """Three swells, and up to three breakers that rear between them when aroused."""
    mood, unrest = at.mood, at.mood.unrest
    deep = [mood.local(240, 0.2, 0.9), mood.local(252, -0.3, 1.1), mood.local(262, -0.8, 1.2)]
    for layer in range(3):
        reach = at.h * (0.02 + 0.09 * unrest) * (1 + 0.4 * layer)
        _swell(at, horizon + at.h * (0.04 + 0.1 * layer), reach, deep[layer], dark)
        if layer < 1 + round(unrest * 2):
            face = 1 if layer % 2 == 0 else -1
            x = at.w * ((0.24 if face > 0 else 0.82) + 0.06 * at.rng.normal())
            tall = at.h * (0.14 + 0.4 * unrest) * (1 - 0.22 * layer)
            _breaker(at, (x, horizon + at.h * (0.12 + 0.13 * layer)), tall, face, dark)
    _swell(at, at.h * 0.95, at.h * 0.05, deep[2], dark)


def _swell(at: Easel, level: float, reach: float, ink: RGB, dark: RGB) -> None:
    phase, count = at.rng.random() * 6.28, at.rng.uniform(1.2, 2.6)
    line: Points = []
    for t in np.linspace(0, 1, 90).tolist():
        s = 0.5 + 0.5 * math.sin(2 * math.pi * count * t + phase)
        line.append((at.w * t, level - reach * s**1.6))
    at.draw.polygon([*line, (at.w, at.h), (0, at.h)], fill=ink)
    at.draw.line(line, fill=dark, width=3)
    for row in (1, 2):
        at.draw.line([(x, y + 7 + row * reach * 0.22) for x, y in line], fill=dark, width=1)


BACK = ((-1.7, -0.35), (-1.0, 0.12), (-0.45, 0.62), (0.0, 0.95), (0.42, 0.98), (0.72, 0.74))
BELLY = ((0.72, 0.74), (0.42, 0.76), (0.18, 0.56), (0.2, 0.25), (0.5, 0.0), (1.2, -0.35))


def _breaker(at: Easel, foot: tuple[float, float], tall: float, face: int, dark: RGB) -> None:
    """A wave that rears up and curls over towards ``face`` (−1 left, 1 right), claws of foam."""
    x0, y0 = foot
    back = curve([(x0 + face * u * tall, y0 - v * tall) for u, v in BACK])
    belly = curve([(x0 + face * u * tall, y0 - v * tall) for u, v in BELLY])
    at.draw.polygon([*back, *belly], fill=at.mood.local(258, -0.75, 1.25))
    for stripe in range(1, 5):
        t = stripe / 5
        mid: Points = []
        for i in range(12, 52, 4):
            outer, inner = back[min(i, len(back) - 1)], belly[min(60 - i, len(belly) - 1)]
            mid.append((inner[0] + (outer[0] - inner[0]) * t, inner[1] + (outer[1] - inner[1]) * t))
        ink = at.mood.local(235, 0.5, 0.8)
        at.draw.line(curve(mid, 6), fill=ink, width=max(2, int(tall / 26)))
    claws = 10 + int(16 * at.mood.unrest)
    foam = at.mood.local(85, 2.0, 0.2)
    ridge = back[18:] + belly[:14]
    for i, (px, py) in enumerate(ridge[:: max(1, len(ridge) // claws)]):
        r = tall * at.rng.uniform(0.05, 0.09)
        box = [px - r, py - r * 0.8, px + r, py + r]
        at.draw.ellipse(box, fill=foam, outline=dark, width=2)
        if i % 2 == 0:
            hx = px + face * r * at.rng.uniform(1.0, 2.0)
            hy = py + r * at.rng.uniform(0.9, 2.2)
            claw = curve([(px, py - r * 0.4), (px + face * r * 1.3, py), (hx, hy)], 5)
            at.draw.line(claw, fill=foam, width=max(3, int(r * 0.7)))
            at.draw.ellipse([hx - r * 0.3, hy - r * 0.3, hx + r * 0.3, hy + r * 0.3], fill=foam)
    for _ in range(int(claws * 1.6)):
        px = x0 + face * at.rng.uniform(-0.1, 1.25) * tall
        py = y0 - at.rng.uniform(0.65, 1.3) * tall
        r = tall * at.rng.uniform(0.006, 0.02)
        at.draw.ellipse([px - r, py - r, px + r, py + r], fill=foam)
    at.draw.line(back, fill=dark, width=3)
    at.draw.line(belly, fill=dark, width=3)


def _lake(at: Easel, shore: float, dark: RGB) -> None:
    at.draw.rectangle([0, shore, at.w, at.h], fill=at.mood.local(235, 0.3, 0.8))
    for _ in range(7 + int(9 * at.mood.unrest)):
        x, y = at.w * at.rng.random(), shore + (at.h - shore) * at.rng.random()
        ripple = [(x, y), (x + at.w * at.rng.uniform(0.1, 0.4), y)]
        at.draw.line(ripple, fill=at.mood.local(255, -0.5, 1.1), width=3)
    _swell(at, at.h * 0.95, at.h * 0.06, at.mood.local(120, -0.3, 1.0), dark)


def _pine(at: Easel, dark: RGB) -> None:
    """A wind-bent pine at one side, its needles in fans."""
    x = at.w * at.rng.choice([0.1, 0.86])
    lean = at.w * (1 if x < at.w / 2 else -1)
    bends = ((0.0, 1.0), (0.05, 0.7), (-0.01, 0.48), (0.1, 0.27))
    trunk = curve([(x + lean * u, at.h * v) for u, v in bends])
    at.draw.line(trunk, fill=dark, width=22)
    at.draw.line(trunk, fill=at.mood.local(45, -0.7, 0.9), width=15)
    needles = at.mood.local(140, -0.8, 1.1)
    for _ in range(7 + int(6 * at.mood.unrest)):
        px, py = trunk[int(at.rng.integers(len(trunk) // 3, len(trunk)))]
        px += lean * at.rng.uniform(-0.06, 0.2)
        py += at.h * at.rng.uniform(-0.06, 0.05)
        for puff in range(3):
            cx, cy = px + (puff - 1) * at.w * 0.045, py - (puff % 2) * at.h * 0.018
            r = at.w * 0.05
            box = [cx - r, cy - r * 0.6, cx + r, cy + r * 0.6]
            at.draw.pieslice(box, 180, 360, fill=needles, outline=dark, width=2)
