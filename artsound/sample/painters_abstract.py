"""Painters without a subject: colour fields, suprematism, action painting, op art."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from artsound.sample.canvas import (
    Points,
    Size,
    curve,
    grid,
    large,
    lay,
    noise,
    relief,
    small,
    smooth,
    texture,
)
from artsound.sample.colour import RGB, Mood, grade


def colour_field(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Two to four soft-edged blocks hovering on a ground; harder and hotter when aroused."""
    width, height = size
    x, y = grid(size)
    image = Image.new("RGB", size, mood.ink(-0.7, hue=-25, chroma=0.8))
    image = texture(image, noise(rng, size, (70, 260), 5), 30)
    bands = 2 + int(mood.unrest * 1.6 + rng.random())
    inset = width * rng.uniform(0.07, 0.11)
    gap = height * rng.uniform(0.03, 0.05)
    shares = rng.dirichlet(np.full(bands, 6.0)) * (height - 2 * inset - gap * (bands - 1))
    soft = 15 - 10 * mood.unrest
    top = inset
    hues = rng.permutation(np.linspace(-38, 38, bands))
    lights = rng.permutation(np.linspace(-0.4, 0.8, bands))
    for band in range(bands):
        bottom = top + shares[band]
        ragged = (noise(rng, size, 60, 5) - 0.5) * (10 + 14 * mood.unrest)
        inside = np.minimum.reduce([x - inset, width - inset - x, y - top, bottom - y]) + ragged
        accent = 130.0 if subject == "clash" and band == bands // 2 else 0.0
        colour = mood.ink(float(lights[band]), hue=float(hues[band]) + accent, chroma=1.1)
        under = mood.ink(float(lights[band]) - 0.5, hue=float(hues[band]) + accent - 18)
        block = lay(
            Image.new("RGB", size, under), colour, 0.3 + 0.7 * noise(rng, size, (150, 45), 6)
        )
        image = lay(image, block, smooth(-soft, soft, inside) * 0.96)
        top = bottom + gap
    image = texture(image, noise(rng, size, 5, 2), 6 + 14 * mood.unrest)
    return grade(image, mood, strength=0.8)


def _quad(cx: float, cy: float, w: float, h: float, turn: float) -> Points:
    c, s = math.cos(turn), math.sin(turn)
    corners = ((-w, -h), (w, -h), (w, h), (-w, h))
    return [(cx + (x * c - y * s) / 2, cy + (x * s + y * c) / 2) for x, y in corners]


def suprematism(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Planes, bars and a disc adrift on a plain ground, along one diagonal when aroused."""
    width, height = size
    unit = 2.0 * min(width, height)
    image, draw = large(size, mood.ink(1.25, chroma=0.28))
    slant = math.radians(rng.choice([-1, 1]) * (4 + 42 * mood.unrest))
    black = mood.ink(-1.9, chroma=0.35)
    inks = [
        black,
        mood.ink(-0.3, hue=-30, chroma=1.5),
        mood.ink(0.1, hue=15, chroma=1.5),
        mood.ink(-0.6, hue=150, chroma=1.1),
        mood.ink(0.6, hue=45, chroma=1.5),
        black,
    ]
    cx, cy = width * rng.uniform(0.8, 1.2), height * rng.uniform(0.8, 1.2)
    if subject == "disc":
        r = unit * rng.uniform(0.17, 0.25)
        ox, oy = cx - r * rng.uniform(0.4, 0.9), cy - r * rng.uniform(0.5, 1.0)
        draw.ellipse([ox - r, oy - r, ox + r, oy + r], fill=inks[1])
        draw.polygon(_quad(cx, cy + r * 0.9, unit * 0.9, unit * 0.09, slant), fill=black)
    elif subject == "cross":
        draw.polygon(_quad(cx, cy, unit * 0.24, unit * 0.86, slant * 0.4), fill=inks[1])
        draw.polygon(_quad(cx, cy - unit * 0.08, unit * 0.8, unit * 0.2, slant * 0.4), fill=black)
    else:
        draw.polygon(_quad(cx, cy, unit * 0.46, unit * 0.34, slant), fill=black)
        draw.polygon(
            _quad(cx + unit * 0.2, cy + unit * 0.18, unit * 0.3, unit * 0.22, slant), fill=inks[1]
        )
    for step in range(3 + int(13 * mood.unrest)):
        along = rng.normal() * unit * 0.3
        across = rng.normal() * unit * (0.1 + 0.16 * mood.unrest)
        px = cx + along * math.cos(slant) - across * math.sin(slant)
        py = cy + along * math.sin(slant) + across * math.cos(slant)
        long = unit * rng.uniform(0.06, 0.42)
        thin = unit * rng.choice([0.006, 0.014, 0.03, 0.06])
        turn = slant + rng.choice([0, 0, 0, math.pi / 2, 0.3 * mood.unrest])
        draw.polygon(_quad(px, py, long, thin, turn), fill=inks[step % len(inks)])
    for _ in range(1 + int(3 * mood.unrest)):
        px, py = rng.uniform(0.2, 1.8) * width, rng.uniform(0.2, 1.8) * height
        r = unit * rng.uniform(0.012, 0.04)
        ink = inks[int(rng.integers(len(inks)))]
        draw.ellipse([px - r, py - r, px + r, py + r], fill=ink)
    image = texture(small(image), noise(rng, size, 90, 6), 22)
    return grade(image, mood, strength=0.75)


def _pour(draw: ImageDraw.ImageDraw, rng: Generator, path: Points, ink: RGB, thick: float) -> None:
    """One skein of paint: thin where the hand is quick, pooling where it turns."""
    p = np.array(curve(path, 16))
    speed = np.hypot(*np.diff(p, axis=0).T)
    width = thick * (1.8 * speed.mean() / (speed + 0.8 * speed.mean()))
    width = np.convolve(width, np.ones(9) / 9, mode="same") + 1
    for (x0, y0), (x1, y1), w in zip(p[:-1].tolist(), p[1:].tolist(), width.tolist(), strict=True):
        draw.line([x0, y0, x1, y1], fill=ink, width=max(1, round(w)))
        if w > 3:
            draw.ellipse([x1 - w / 2, y1 - w / 2, x1 + w / 2, y1 + w / 2], fill=ink)
    for _ in range(int(len(p) * 0.12)):
        x, y = (p[int(rng.integers(len(p)))] + rng.normal(size=2) * thick * 4).tolist()
        r = thick * rng.exponential(0.35) + 0.8
        draw.ellipse([x - r, y - r, x + r, y + r], fill=ink)


def action_painting(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Poured and flung skeins of paint: a few slow loops at rest, a thicket in frenzy."""
    width, height = size
    image, draw = large(size, mood.ink(0.75, hue=20, chroma=0.4))
    inks = [
        mood.ink(-1.7, chroma=0.5),
        mood.ink(-0.2, hue=-25, chroma=1.6),
        mood.ink(1.6, chroma=0.25),
        mood.ink(0.2, hue=30, chroma=1.6),
        mood.ink(-0.7, hue=165, chroma=1.2),
    ]
    inks = inks[: 3 + round(2 * mood.unrest)]
    if subject == "stain":
        for _ in range(3 + int(4 * mood.unrest)):
            cx, cy = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height
            x, y = grid(size)
            reach = np.hypot((x - cx) / width, (y - cy) / height) + 0.3 * noise(rng, size, 90, 5)
            r = rng.uniform(0.22, 0.42)
            ink = inks[1 + int(rng.integers(len(inks) - 1))]
            wash = lay(small(image), ink, 0.8 * (1 - smooth(r, r + 0.025, reach)))
            image = wash.resize(image.size)
        draw = ImageDraw.Draw(image)
    for skein in range(9 + int(30 * mood.unrest)):
        ink = inks[skein % len(inks)]
        bends = int(rng.integers(6, 14))
        px, py = rng.random() * 2 * width, rng.random() * 2 * height
        heading = rng.random() * 2 * math.pi
        turn = rng.choice([-1, 1]) * rng.uniform(0.4, 1.2)
        path: Points = []
        for _ in range(bends):
            path.append((px, py))
            heading += turn * rng.uniform(0.2, 1.2) + rng.normal() * (0.2 + 1.3 * mood.unrest)
            stride = min(width, height) * rng.uniform(0.12, 0.42)
            px, py = px + stride * math.cos(heading), py + stride * math.sin(heading)
            if not -0.1 * width < px < 2.1 * width or not -0.1 * height < py < 2.1 * height:
                heading += math.pi * 0.7
        _pour(draw, rng, path, ink, rng.choice([2.0, 3.5, 6.0, 10.0]))
    for _ in range(int(20 + 260 * mood.unrest)):
        px, py = rng.random() * 2 * width, rng.random() * 2 * height
        r = 0.8 + rng.exponential(1.6 + 2.2 * mood.unrest)
        ink = inks[int(rng.integers(len(inks)))]
        draw.ellipse([px - r, py - r, px + r, py + r], fill=ink)
    return grade(relief(small(image), 0.3), mood, strength=0.75)


def op_art(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Bands, rings or squares bent by a swelling; finer and harder when aroused."""
    width, height = size
    x, y = grid((width * 2, height * 2))
    x, y = (x / 2 - width / 2) / min(size), (y / 2 - height / 2) / min(size)
    cx, cy = rng.uniform(-0.15, 0.15, 2)
    pull = 0.5 + 1.6 * mood.unrest
    r = np.hypot(x - cx, y - cy)
    count = 5 + 15 * mood.unrest
    tilt = rng.uniform(-0.4, 0.4)
    if subject == "rings":
        phase = r * count * 1.5 + 0.35 * mood.unrest * np.sin(
            3 * np.arctan2(y - cy, x - cx) + 9 * r
        )
        wave = np.sin(2 * math.pi * phase)
        across = 0.8 * x + 1.4 * y
    elif subject == "squares":
        bulge = 1 + pull * np.exp(-(r**2) * 7)
        u, v = (x - cx) / bulge, (y - cy) / bulge
        wave = np.sin(math.pi * count * u) * np.sin(math.pi * count * v) * 2.4
        across = np.tanh(3 * (0.33 - r))
    else:
        bend = 0.09 * pull * np.sin(2 * math.pi * (x * 1.3 + 0.4 * np.sin(5 * y + tilt * 4)))
        swell = 0.12 * pull * np.exp(-(r**2) * 9)
        phase = (y + tilt * x + bend + swell * np.tanh(9 * (y - cy))) * count
        wave = np.sin(2 * math.pi * phase)
        across = np.sin(2.4 * x + 3.1 * y)
    hard = 3.0 + 9.0 * mood.unrest
    light = 0.5 + 0.5 * np.tanh(wave * hard)
    swing = 0.45 + 0.75 * mood.unrest
    dark = lay(
        Image.new("RGB", (width * 2, height * 2), mood.ink(-swing * 1.3, hue=25, chroma=1.1)),
        mood.ink(-swing * 1.1, hue=-45, chroma=1.3),
        0.5 + 0.5 * across,
    )
    pale = lay(
        Image.new("RGB", (width * 2, height * 2), mood.ink(swing * 1.5, hue=-12, chroma=0.7)),
        mood.ink(swing * 1.1, hue=70, chroma=1.2),
        0.5 + 0.5 * across,
    )
    image = texture(small(lay(dark, pale, light.astype(np.float32))), noise(rng, size, 4, 2), 6)
    return grade(image, mood, strength=0.8)
