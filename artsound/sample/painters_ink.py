"""Ink in water on paper: peaks that sink into mist, a few sure strokes, one red seal."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from PIL import Image

from artsound.sample.canvas import Easel, Size, curve, easel, grid, lay, noise, smooth, texture
from artsound.sample.colour import RGB, Mood, grade


def ink_wash(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Mountains in mist, with a "boat", with broken ink ("splash") or alone; or "bamboo"."""
    ink, wash = mood.ink(-2.2, chroma=0.5), mood.ink(-0.7, chroma=0.7)
    paper = Image.new("RGB", size, mood.ink(1.3, chroma=0.45))
    image = texture(paper, noise(rng, size, 6, 3), 12)
    if subject != "bamboo":
        image = _peaks(image, mood, rng, ink, wash)
    if subject == "splash":
        image = _broken_ink(image, mood, rng, ink)
    at = easel(mood, rng, image)
    if subject == "bamboo":
        for cane in range(2 + int(4 * mood.unrest)):
            _bamboo(at, ink if cane % 2 else wash)
    if subject == "boat":
        _boat(at, ink)
    if subject != "splash":
        _birds(at, ink)
    _seal(at)
    return grade(at.picture(), mood, strength=0.6, chroma=0.5)


def _peaks(image: Image.Image, mood: Mood, rng: Generator, ink: RGB, wash: RGB) -> Image.Image:
    """Ranges one before the other, dark at the crest and drowned in mist below."""
    size = width, height = image.size
    _, y = grid(size)
    for layer in range(3 + int(2 * mood.unrest)):
        ridge = noise(rng, (width, 8), 130 - 60 * mood.unrest, 5)[4] ** 1.5
        crest = height * (0.4 + 0.13 * layer - (0.22 + 0.3 * mood.unrest) * ridge)
        depth = (y - crest[None, :]) / (height * 0.26)
        edge = smooth(-0.01, 0.03, depth + 0.05 * (noise(rng, size, 18, 3) - 0.5))
        body = np.exp(-2.3 * depth.clip(0, 9)) * (0.55 + 0.45 * noise(rng, size, (14, 60), 4))
        image = lay(image, wash if layer < 2 else ink, edge * body * (0.32 + 0.17 * layer))
    return image


def _broken_ink(image: Image.Image, mood: Mood, rng: Generator, ink: RGB) -> Image.Image:
    """Flung blots with frayed rims, drops around them."""
    size = width, height = image.size
    x, y = grid(size)
    for _ in range(2 + int(4 * mood.unrest)):
        cx, cy = width * rng.random(), height * rng.uniform(0.35, 0.9)
        r, turn = height * rng.uniform(0.03, 0.1), rng.normal() * 0.5
        along = ((x - cx) * math.cos(turn) + (y - cy) * math.sin(turn)) / (r * 2.0)
        over = ((y - cy) * math.cos(turn) - (x - cx) * math.sin(turn)) / r
        blot = np.hypot(along, over) + 1.1 * (noise(rng, size, 34, 5) - 0.5)
        for _ in range(14):
            px, py = cx + rng.normal() * r * 3, cy + rng.normal() * r * 1.8
            blot = np.minimum(blot, np.hypot(x - px, y - py) / (0.6 + rng.exponential(1.6)))
        tone = 0.55 + 0.45 * noise(rng, size, 40, 3)
        image = lay(image, ink, (1 - smooth(0.82, 0.98, blot)) * tone)
    return image


def _bamboo(at: Easel, tone: RGB) -> None:
    """One cane in seven joints, leaves springing from some."""
    unrest = at.mood.unrest
    foot, lean = at.w * at.rng.uniform(0.12, 0.88), at.w * at.rng.normal() * (0.03 + 0.1 * unrest)
    for joint in range(7):
        a, b = joint / 7, (joint + 0.93) / 7
        x, y = foot + lean * b, at.h * (1 - b)
        at.draw.line([(foot + lean * a, at.h * (1 - a)), (x, y)], fill=tone, width=at.w // 62)
        for _ in range(int(at.rng.integers(0, 3 + int(3 * unrest)))):
            turn = at.rng.normal() * 0.5 + at.rng.choice([0.5, 2.6])
            long = at.w * at.rng.uniform(0.07, 0.15)
            blade = ((0.4, turn + 0.3), (1.0, turn), (0.4, turn - 0.3))
            leaf = [(x + long * s * math.cos(t), y + long * s * math.sin(t)) for s, t in blade]
            at.draw.polygon([(x, y), *leaf], fill=tone)


def _boat(at: Easel, ink: RGB) -> None:
    x, y, s = at.w * at.rng.uniform(0.25, 0.7), at.h * 0.86, at.w * 0.07
    hull = curve([(x - s, y - s * 0.12), (x, y + s * 0.18), (x + s, y - s * 0.2)], 8)
    at.draw.polygon(hull, fill=ink)
    at.draw.line([(x - s * 0.1, y), (x - s * 0.1, y - s * 0.6)], fill=ink, width=6)
    roof = [(x - s * 0.4, y - s * 0.5), (x - s * 0.1, y - s * 0.85), (x + s * 0.25, y - s * 0.5)]
    at.draw.polygon(roof, fill=ink)


def _birds(at: Easel, ink: RGB) -> None:
    for _ in range(3 + int(14 * at.mood.unrest)):
        x, y = at.w * at.rng.random(), at.h * at.rng.uniform(0.08, 0.3)
        s = at.w * at.rng.uniform(0.008, 0.016)
        at.draw.line([(x - s, y - s * 0.5), (x, y), (x + s, y - s * 0.6)], fill=ink, width=3)


def _seal(at: Easel) -> None:
    s = at.w * 0.035
    x, y = at.w * at.rng.choice([0.08, 0.88]), at.h * 0.84
    at.draw.rectangle([x, y, x + s, y + s], fill=at.mood.local(32, -0.1, 2.2))
    for bar in range(3):
        level = y + s * (0.25 + 0.25 * bar)
        mark = [(x + s * 0.2, level), (x + s * 0.8, level)]
        at.draw.line(mark, fill=at.mood.ink(1.4, chroma=0.3), width=3)
