"""Landscapes in plain paint, which the painters with a brush then break into strokes or dots."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from artsound.sample.canvas import Easel, Mood, Size, easel, gradient, grid, lay, noise, ramp

# Hues in degrees of CIELAB.
SKY, WATER, LEAF, EARTH, ROOF, CORN, HILL = 255.0, 235.0, 128.0, 70.0, 38.0, 88.0, 275.0


def scene(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """A "river", "sea", "town" or "field" under a sky, before any manner."""
    width, height = size
    horizon = int(height * rng.uniform(0.42, 0.55))
    sun = (width * rng.uniform(0.25, 0.75), horizon * rng.uniform(0.3, 0.75))
    at = easel(mood, rng, _sky(mood, rng, size, sun, shines=subject in ("sea", "field")), scale=1)
    if subject != "sea":
        _hills(at, horizon)
    if subject == "field":
        _field(at, horizon)
    elif subject == "river":
        for _ in range(6):
            r = height * rng.uniform(0.07, 0.14)
            _clump(at, width * rng.random(), horizon + 3, r, rng.uniform(1.0, 2.2))
        _water(at, horizon)
        drop = ((0.0, 0.12), (0.1, 0.25), (0.3, 0.33), (0.55, 0.41), (0.8, 0.58), (0.85, 1.0))
        bank = [(width * t, horizon + height * fall) for t, fall in drop]
        at.draw.polygon([(0, height), *bank], fill=mood.local(LEAF - 20, 0.1, 1.1))
        _clump(at, width * 0.14, height * 0.78, height * 0.22, 2.1)
    else:
        if subject == "town":
            _houses(at, horizon)
        _water(at, horizon)
        _sails(at, horizon)
    return at.sheet.filter(ImageFilter.GaussianBlur(1.2))


def _sky(
    mood: Mood, rng: Generator, size: Size, sun: tuple[float, float], *, shines: bool
) -> Image.Image:
    """Air from zenith to horizon with drifting clouds, and a sun where it shines."""
    zenith, middle = mood.local(SKY, 0.1, 1.0), mood.local(SKY, 0.6, 0.8)
    haze, low = mood.local(75, 1.15, 0.7), mood.local(60, 0.9, 0.7)
    image = gradient(size, [(0.0, zenith), (0.35, middle), (0.6, haze), (1.0, low)])
    clouds = ramp(0.52, 0.85, noise(rng, size, (150, 55), 5))
    image = lay(image, mood.local(60, 1.5, 0.35), clouds * 0.8)
    if shines:
        x, y = grid(size)
        away = np.hypot(x - sun[0], y - sun[1]) / min(size)
        image = lay(image, mood.local(72, 1.5, 1.0), np.exp(-away * 7) * 0.9)
        image = lay(image, mood.local(80, 2.0, 0.8), 1 - ramp(0.04, 0.055, away))
    return image


def _hills(at: Easel, base: float) -> None:
    for layer in range(2):
        tops = base - at.h * (0.16 - 0.07 * layer) * at.rng.random(9) - 2
        crest = zip(np.linspace(0, at.w, 9).tolist(), tops.tolist(), strict=True)
        ink = at.mood.local(HILL - 60 * layer, 0.45 - 0.4 * layer, 0.7)
        at.draw.polygon([(0, base + 4), *crest, (at.w, base + 4)], fill=ink)


def _clump(at: Easel, x: float, y: float, r: float, tall: float) -> None:
    """A tree seen as a mass: a trunk, dark leaves below, light ones towards the sun."""
    trunk = [(x - r * 0.1, y), (x - r * 0.05, y - r * tall), (x + r * 0.07, y - r * tall)]
    at.draw.polygon([*trunk, (x + r * 0.12, y)], fill=at.mood.local(EARTH, -1.3, 0.6))
    for share in np.linspace(0, 1, 16).tolist():
        px = x + at.rng.normal() * r * 0.38 - share * r * 0.15
        py = y - r * tall * (0.55 + 0.6 * at.rng.random()) - share * r * 0.12
        pr = r * (0.42 - 0.2 * share) * at.rng.uniform(0.7, 1.1)
        at.disc(px, py, pr, at.mood.local(LEAF - 25 * share, -1.0 + 1.5 * share, 1.0))


def _water(at: Easel, horizon: int) -> None:
    """Water below the horizon that mirrors what is above it in broken ripples."""
    depth = at.h - horizon
    above = np.asarray(at.sheet)[max(0, horizon - depth) : horizon][::-1]
    rows = np.clip(np.arange(depth) * len(above) // depth, 0, len(above) - 1)
    waves = (noise(at.rng, (at.w, depth), (46, 7), 3) - 0.5) * np.linspace(2, 30, depth)[:, None]
    columns = (np.arange(at.w)[None, :] + waves).astype(int).clip(0, at.w - 1)
    mirrored = Image.fromarray(np.ascontiguousarray(above[rows[:, None], columns]))
    tint = 0.35 + 0.25 * noise(at.rng, (at.w, depth), (80, 8), 3)
    at.sheet.paste(lay(mirrored, at.mood.local(WATER, -0.25, 0.9), tint), (0, horizon))


def _sails(at: Easel, base: float) -> None:
    for boat in range(int(at.rng.integers(2, 5))):
        x, s = at.w * at.rng.uniform(0.1, 0.9), at.h * at.rng.uniform(0.08, 0.26)
        y = base + s * 0.35
        hue, light, chroma = ((60, 1.5, 0.4), (40, 0.2, 1.5), (85, 1.2, 1.0))[boat % 3]
        ink = at.mood.local(hue, light, chroma)
        at.draw.polygon([(x, y), (x + s * 0.05, y - s), (x + s * 0.55, y - s * 0.06)], fill=ink)
        at.draw.polygon([(x - s * 0.06, y), (x, y - s * 0.85), (x - s * 0.32, y)], fill=ink)
        deck, keel = y + 2, y + s * 0.16
        hull = [(x - s * 0.45, deck), (x + s * 0.6, deck), (x + s * 0.4, keel), (x - s * 0.3, keel)]
        at.draw.polygon(hull, fill=at.mood.local(HILL, -1.4, 0.8))


def _houses(at: Easel, base: float) -> None:
    x = -0.03 * at.w
    while x < at.w:
        wide, tall = at.w * at.rng.uniform(0.07, 0.14), at.h * at.rng.uniform(0.14, 0.3)
        hue, light = at.rng.choice([60, 75, 95, 30]), at.rng.uniform(0.1, 1.3)
        wall = at.mood.local(hue, light, at.rng.uniform(0.4, 1.0))
        eaves = base - tall
        at.draw.rectangle([x, eaves, x + wide, base + 2], fill=wall)
        ridge = (x + wide / 2, eaves - wide * at.rng.uniform(0.25, 0.7))
        roof = [(x - 3, eaves), ridge, (x + wide + 3, eaves)]
        at.draw.polygon(roof, fill=at.mood.local(ROOF, -0.5, 1.3))
        for row in range(int(tall // 26) + 1):
            for left in (x + wide * 0.22, x + wide * 0.62):
                top = eaves + 8 + row * 26
                pane = [left, top, left + wide * 0.16, top + 13]
                at.draw.rectangle(pane, fill=at.mood.local(SKY, -1.3, 0.7))
        x += wide * at.rng.uniform(0.95, 1.1)


def _field(at: Easel, horizon: int) -> None:
    """Corn with flowers in it, a tree between two haystacks."""
    mood, rng = at.mood, at.rng
    size = at.w, at.h - horizon
    far, near = mood.local(CORN, 0.7, 0.9), mood.local(CORN + 25, -0.8, 1.1)
    ground = gradient(size, [(0.0, far), (0.4, mood.local(CORN + 12, 0.1, 1.1)), (1.0, near)])
    rows = ramp(0.5, 0.8, noise(rng, size, (160, 22), 4))
    at.sheet.paste(lay(ground, mood.local(CORN - 15, 0.6, 1.2), rows), (0, horizon))
    for _ in range(200):
        t = rng.random() ** 0.7
        hue, light = ((25, 0.0), (350, 0.7), (90, 1.3), (300, 0.2))[int(rng.integers(4))]
        ink = mood.local(hue, light, 1.7)
        at.disc(rng.random() * at.w, horizon + 4 + t * size[1], 0.8 + 3.6 * t, ink)
    for place in range(3):
        x = at.w * (0.1 + 0.38 * place + 0.1 * rng.random())
        r = at.h * rng.uniform(0.09, 0.2)
        if place == 1:
            _clump(at, x, horizon + r * 0.8, r, rng.uniform(1.1, 1.9))
            continue
        y = horizon + r * 1.3
        lit = [(x - r, y), (x - r * 0.85, y - r * 0.7), (x, y - r * 1.4)]
        shade = [(x, y - r * 1.4), (x + r * 0.85, y - r * 0.7), (x + r, y)]
        at.draw.polygon([*lit, *shade], fill=mood.local(CORN - 20, -0.3, 1.3))
        at.draw.polygon([*shade, (x + r * 0.2, y)], fill=mood.local(HILL, -1.1, 0.9))
