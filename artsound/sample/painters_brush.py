"""Painters who take a motif from nature apart with the brush: from dots to whirls."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from artsound.sample.canvas import Size, grid, noise, relief, small, strokes
from artsound.sample.colour import Floats, Mood, grade, lab_to_rgb, painter_lab
from artsound.sample.scenes import scene


def _along(base: Image.Image, rng: Generator, wander: float) -> Floats:
    """Angles [H, W] that run along the forms of a picture, level where it has none."""
    grey = np.asarray(base.convert("L").reduce(6), np.float32)
    dy, dx = np.gradient(grey)
    # The structure tensor, smoothed: opposite gradients agree on one direction.
    parts = [
        Image.fromarray(part).resize(base.size, Image.Resampling.BICUBIC)
        for part in (dx * dx - dy * dy, 2 * dx * dy)
    ]
    double = np.arctan2(np.asarray(parts[1]) + 1e-3, np.asarray(parts[0]) - 6.0)
    drift = (noise(rng, base.size, 140, 3) - 0.5) * wander
    return double / 2 + math.pi / 2 + drift


def impressionism(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Broken touches along the forms, wide ones first; shorter and wilder when aroused."""
    base = scene(subject, mood, rng, size)
    angle = _along(base, rng, 0.5 + 2.2 * mood.unrest)
    calm = 1 - mood.unrest
    image = strokes(
        base,
        angle,
        rng,
        spacing=7.0,
        length=24,
        width=7,
        jitter=(4, 5),
        onto=Image.new("RGB", size, mood.local(60, 0.2, 0.6)),
    )
    image = strokes(
        base,
        angle,
        rng,
        spacing=4.4,
        length=8 + 7 * calm,
        width=2.2,
        onto=image,
        jitter=(3 + 6 * mood.unrest, 3 + 8 * mood.unrest),
    )
    return grade(relief(image, 0.35), mood, strength=0.75)


def pointillism(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Dots of divided colour: each hue broken into its neighbours and its complement."""
    width, height = size
    base = scene(subject, mood, rng, size)
    image = Image.new("RGB", (width * 2, height * 2), mood.local(75, 1.2, 0.4))
    draw = ImageDraw.Draw(image)
    step = 6.4 - 1.2 * mood.unrest
    for pitch, radius in ((step, step * 0.62), (step * 1.15, step * 0.42)):
        columns, rows = int(width / pitch) + 2, int(height / pitch) + 2
        gx, gy = np.meshgrid(np.arange(columns), np.arange(rows))
        x = ((gx + 0.5 * (gy % 2)) * pitch + rng.normal(size=gx.shape) * pitch * 0.22).ravel()
        y = (gy * pitch + rng.normal(size=gx.shape) * pitch * 0.22).ravel()
        at = np.asarray(base)[y.astype(int).clip(0, height - 1), x.astype(int).clip(0, width - 1)]
        lab = painter_lab(at)
        chroma = np.hypot(lab[:, 1], lab[:, 2])
        hue = np.arctan2(lab[:, 2], lab[:, 1])
        kind = rng.random(len(x))
        hue += np.where(kind < 0.15, math.pi, rng.normal(size=len(x)) * (0.35 + 0.3 * mood.unrest))
        chroma = chroma * (1.15 + 0.5 * mood.unrest) + 4 + 8 * mood.unrest
        lab[:, 0] += rng.normal(size=len(x)) * (3 + 7 * mood.unrest) - 3
        lab[:, 1], lab[:, 2] = chroma * np.cos(hue), chroma * np.sin(hue)
        inks = lab_to_rgb(lab.astype(np.float32)).tolist()
        r = radius * (1 + 0.2 * rng.normal(size=len(x))) * 2
        boxes = np.stack([x * 2 - r, y * 2 - r, x * 2 + r, y * 2 + r], axis=1)
        order = rng.permutation(len(x))
        for box, ink in zip(boxes[order].tolist(), [inks[i] for i in order], strict=True):
            if box[2] > box[0]:
                draw.ellipse(box, fill=tuple(ink))
    return grade(small(image), mood, strength=0.75)


def post_impressionism(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Thick ropes of paint that circle around whirls in the air; more whirls when aroused."""
    width, height = size
    base = scene(subject, mood, rng, size)
    x, y = grid(size)
    lie = _along(base, rng, 0.8)
    flow_x, flow_y = np.abs(np.cos(lie)), np.sin(lie) * np.sign(np.cos(lie))
    for _ in range(2 + int(5 * mood.unrest)):
        cx, cy = rng.random() * width, rng.random() * height * 0.42
        reach = rng.uniform(0.08, 0.17) * min(width, height)
        far = np.hypot(x - cx, y - cy) + 1
        pull = np.exp(-((far / reach / 1.4) ** 2)) * 4 * rng.choice([-1, 1])
        flow_x += -(y - cy) / far * pull
        flow_y += (x - cx) / far * pull
        glow = np.exp(-((far / reach / 0.55) ** 2)) * 0.75
        halo = Image.new("RGB", size, mood.local(85, 1.2, 1.4))
        base = Image.composite(halo, base, Image.fromarray((glow * 255).astype(np.uint8)))
    angle = np.arctan2(flow_y, flow_x)
    image = strokes(
        base,
        angle,
        rng,
        spacing=7.0,
        length=30,
        width=6,
        jitter=(5, 6),
        onto=Image.new("RGB", size, mood.local(255, -0.8, 0.8)),
    )
    image = strokes(
        base,
        angle,
        rng,
        spacing=4.4,
        length=18,
        width=2.4,
        onto=image,
        jitter=(5 + 7 * mood.unrest, 4 + 6 * mood.unrest),
    )
    return grade(relief(image, 0.55), mood, strength=0.75)
