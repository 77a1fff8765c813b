"""Romanticism: mountains under a vast sky, a low sun or moon, small dark things in front."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from artsound.sample.canvas import (
    Easel,
    Points,
    Size,
    curve,
    easel,
    gradient,
    grid,
    lay,
    noise,
    smooth,
    texture,
)
from artsound.sample.colour import RGB, Floats, Mood, grade


def romanticism(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """A "valley", a "lake" that mirrors it, or a "ruin" before it; torn clouds when aroused."""
    width, height = size
    horizon = height * rng.uniform(0.6, 0.7)
    sun = (width * rng.uniform(0.25, 0.75), horizon * rng.uniform(0.35, 0.75))
    image = _sky(mood, rng, size, sun)
    image = _ranges(image, mood, rng, horizon)
    if subject == "lake":
        image = _mirror(image, mood, rng, int(horizon + height * 0.07), sun[0])
    at = easel(mood, rng, image)
    dark = mood.local(140, -2.0, 0.6)
    left = rng.random() < 0.5
    _mound(at, dark, left=left)
    _firs(at, dark, left=left, height=0.6 if subject == "ruin" else 1.0)
    if subject == "ruin":
        _arch(at, dark, at.w * (0.3 if left else 0.7))
    image = at.picture().filter(ImageFilter.GaussianBlur(0.4))
    return grade(texture(image, noise(rng, size, 3, 1), 7), mood, strength=0.72)


def _sky(mood: Mood, rng: Generator, size: Size, sun: tuple[float, float]) -> Image.Image:
    stops = [
        (0.0, mood.local(262, -0.8, 1.1)),
        (0.35, mood.local(265, 0.0, 0.9)),
        (0.55, mood.local(50, 0.8, 1.2)),
        (0.68, mood.local(75, 1.3, 1.3)),
        (1.0, mood.local(75, 1.3, 1.0)),
    ]
    image = gradient(size, stops)
    x, y = grid(size)
    away = np.hypot(x - sun[0], y - sun[1]) / size[1]
    cloud = smooth(
        0.62 - 0.22 * mood.unrest, 0.95 - 0.2 * mood.unrest, noise(rng, size, (220, 60), 6)
    )
    shade = Image.new("RGB", size, mood.local(280, -0.9, 0.9))
    lit = np.exp(-away * 2.6) + 0.25 * noise(rng, size, (90, 30), 5)
    bank = lay(shade, mood.local(45, 0.9, 1.5), lit)
    image = lay(image, bank, cloud * (0.35 + 0.6 * mood.unrest))
    image = lay(image, mood.local(80, 1.8, 0.9), 0.85 * np.exp(-away * 8))
    return lay(image, mood.local(88, 2.4, 0.5), 1 - smooth(0.032, 0.042, away))


def _ranges(image: Image.Image, mood: Mood, rng: Generator, horizon: float) -> Image.Image:
    """Four mountain ranges, paler and bluer with distance."""
    size = width, height = image.size
    _, y = grid(size)
    for share in (0.0, 0.33, 0.67, 1.0):
        folds = noise(rng, (width, 8), 240 - 120 * mood.unrest, 6)[4]
        ridge = 1 - np.abs(2 * folds - 1)
        tall = height * (0.36 - 0.2 * share) * (0.7 + 0.6 * mood.unrest)
        crest: Floats = horizon + height * 0.1 * share - tall * (ridge - ridge.min())
        stops = [
            (0.0, mood.local(265, 0.5 - 1.5 * share, 0.8)),
            (0.75, mood.local(70 - 10 * share, 0.85 - 1.9 * share, 0.8)),
            (1.0, mood.local(70, -0.8, 0.7)),
        ]
        grain = 10 + 34 * share * (0.3 + mood.unrest)
        rock = texture(gradient(size, stops), noise(rng, size, (24, 40), 5), grain)
        image = lay(image, rock, smooth(-0.8, 0.8, y - crest[None, :]))
    return image


def _mirror(image: Image.Image, mood: Mood, rng: Generator, shore: int, sun: float) -> Image.Image:
    """The same view with a lake below ``shore``, and the sun's path on it."""
    size = width, height = image.size
    above = np.asarray(image)[max(0, 2 * shore - height) : shore][::-1]
    depth = len(above)
    ripple = noise(rng, (width, depth), (60, 5), 3) - 0.5
    ripple *= np.linspace(1, 16, depth, dtype=np.float32)[:, None]
    columns = (np.arange(width)[None, :] + ripple).astype(int).clip(0, width - 1)
    water = Image.fromarray(np.ascontiguousarray(above[np.arange(depth)[:, None], columns]))
    water = lay(water, mood.local(258, -0.7, 0.9), np.full((depth, width), 0.35, np.float32))
    image.paste(water, (0, shore))
    x, y = grid(size)
    path = np.exp(-(((x - sun) / (width * 0.05)) ** 2)) * smooth(shore, shore + 4, y)
    glitter = smooth(0.55, 0.8, noise(rng, size, (40, 4), 3))
    return lay(image, mood.local(80, 1.8, 0.9), path * glitter)


def _mound(at: Easel, dark: RGB, *, left: bool) -> None:
    slope = curve([(0.0, 0.84), (0.2, 0.88), (0.42, 0.96), (0.6, 1.02)])
    shape: Points = [(0.0, 1.02), *slope]
    at.draw.polygon([(at.w * (u if left else 1 - u), at.h * v) for u, v in shape], fill=dark)


def _firs(at: Easel, dark: RGB, *, left: bool, height: float) -> None:
    for tree in range(3 + int(4 * at.mood.unrest)):
        u, base = 0.03 + 0.075 * tree, at.h * (0.87 + 0.012 * tree)
        x = at.w * (u if left else 1 - u)
        tall = at.h * at.rng.uniform(0.14, 0.34) * height
        sway = at.w * 0.03 * at.rng.normal() * at.mood.unrest
        for t in np.arange(9) / 9:
            wide = tall * 0.2 * (1 - t) * at.rng.uniform(0.8, 1.2) + 2
            cx, cy = x + sway * t, base - tall * t
            tier = [(cx - wide, cy), (cx + sway / 9, cy - tall * 0.2), (cx + wide, cy)]
            at.draw.polygon(tier, fill=dark)


def _arch(at: Easel, dark: RGB, x: float) -> None:
    """A broken pointed arch: one side whole, the other fallen short of the apex."""
    s = at.h * 0.2
    foot, spring = at.h * 0.94, at.h * 0.94 - s * 1.4
    heap = [(x - s * 1.5, at.h), (x - s, foot), (x + s, foot), (x + s * 1.5, at.h)]
    at.draw.polygon(heap, fill=dark)
    for side, share in ((-1, 1.0), (1, 0.72)):
        outer = [(x + side * s * 0.72, foot), (x + side * s * 0.72, spring)]
        inner = [(x + side * s * 0.5, foot), (x + side * s * 0.5, spring)]
        for turn in np.linspace(0.1, share, 9) * math.pi / 3:
            c, d = math.cos(turn), math.sin(turn)
            outer.append((x + side * s * (1.64 * c - 0.92), spring - s * 1.5 * d))
            inner.append((x + side * s * (1.42 * c - 0.92), spring - s * 1.3 * d))
        at.draw.polygon([*outer, *inner[::-1]], fill=dark)
    wall = ((0.6, 0.0), (0.66, 1.2), (0.8, 0.95), (0.86, 1.05), (1.1, 0.9), (1.2, 0.0))
    at.draw.polygon([(x + s * u, foot - s * v) for u, v in wall], fill=dark)
