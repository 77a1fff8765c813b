"""Cubism: a motif drawn plainly, then broken into facets."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from artsound.sample.canvas import Size, curve, grid, large, noise, small, texture
from artsound.sample.colour import Mood, grade


def _split(polygon: np.ndarray, rng: Generator, least: float) -> list[np.ndarray]:
    """A convex polygon [n, 2] cut again and again until its pieces are about ``least`` large."""
    x, y = polygon[:, 0], polygon[:, 1]
    area = 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))
    if area < least * rng.uniform(1.0, 3.5) or len(polygon) < 3:
        return [polygon]
    centre = polygon.mean(0) + rng.normal(size=2) * math.sqrt(area) * 0.08
    spread = polygon - polygon.mean(0)
    main = math.atan2(*np.linalg.eigh(spread.T @ spread)[1][::-1, 1].tolist())
    turn = main + math.pi / 2 + rng.normal() * 0.45
    side = (polygon - centre) @ np.array([-math.sin(turn), math.cos(turn)])
    halves: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for i in range(len(polygon)):
        j = (i + 1) % len(polygon)
        halves[int(side[i] > 0)].append(polygon[i])
        if (side[i] > 0) != (side[j] > 0):
            cut = polygon[i] + (polygon[j] - polygon[i]) * side[i] / (side[i] - side[j])
            halves[0].append(cut)
            halves[1].append(cut)
    return [
        piece for half in halves if len(half) > 2 for piece in _split(np.array(half), rng, least)
    ]


def _guitar(
    draw: ImageDraw.ImageDraw, mood: Mood, x: float, y: float, r: float, turn: float
) -> None:
    def at(u: float, v: float) -> tuple[float, float]:
        return (
            x + r * (u * math.cos(turn) - v * math.sin(turn)),
            y + r * (u * math.sin(turn) + v * math.cos(turn)),
        )

    outline = [
        (-1.0, 0.0),
        (-0.85, -0.55),
        (-0.4, -0.62),
        (0.0, -0.38),
        (0.4, -0.48),
        (0.72, -0.25),
        (0.78, 0.0),
        (0.72, 0.25),
        (0.4, 0.48),
        (0.0, 0.38),
        (-0.4, 0.62),
        (-0.85, 0.55),
    ]
    body = curve([at(u, v) for u, v in [*outline, outline[0]]])
    draw.polygon(body, fill=mood.local(60, 0.2, 1.2), outline=mood.ink(-1.6))
    draw.line(body, fill=mood.ink(-1.8, chroma=0.4), width=4)
    hole = [at(0.1 + 0.2 * math.cos(t), 0.2 * math.sin(t)) for t in np.linspace(0, 6.3, 24)]
    draw.polygon(hole, fill=mood.ink(-1.9, chroma=0.4))
    draw.polygon(
        [at(0.6, -0.09), at(1.9, -0.07), at(1.9, 0.07), at(0.6, 0.09)],
        fill=mood.ink(-1.2, chroma=0.6),
    )
    for string in (-0.05, 0.0, 0.05):
        draw.line([at(-0.6, string), at(1.9, string)], fill=mood.ink(1.5, chroma=0.4), width=2)


def _still_life(mood: Mood, rng: Generator, size: Size) -> Image.Image:
    width, height = size[0] * 2, size[1] * 2
    image, draw = large(size, mood.local(255, 0.4, 0.6))
    draw.rectangle([0, 0, width * 0.46, height], fill=mood.local(45, -0.2, 0.7))
    draw.polygon(
        [
            (0, height),
            (width * 0.06, height * 0.62),
            (width * 0.95, height * 0.55),
            (width, height),
        ],
        fill=mood.local(70, 0.7, 0.8),
        outline=mood.ink(-1.5),
    )
    bx, by, b = width * rng.uniform(0.66, 0.8), height * 0.78, width * 0.055
    bottle = [
        (bx - b, by),
        (bx - b, by - 5 * b),
        (bx - b * 0.35, by - 6.4 * b),
        (bx - b * 0.35, by - 8.5 * b),
        (bx + b * 0.35, by - 8.5 * b),
        (bx + b * 0.35, by - 6.4 * b),
        (bx + b, by - 5 * b),
        (bx + b, by),
    ]
    draw.polygon(bottle, fill=mood.local(150, -0.7, 1.2))
    draw.line([*bottle, bottle[0]], fill=mood.ink(-1.8, chroma=0.4), width=4)
    draw.rectangle([bx - b, by - 3.6 * b, bx + b, by - 1.6 * b], fill=mood.ink(1.4, chroma=0.4))
    _guitar(
        draw, mood, width * 0.36, height * 0.56, min(width, height) * 0.3, rng.uniform(-0.9, -0.3)
    )
    fx, fy, f = width * 0.52, height * 0.8, width * 0.06
    draw.ellipse(
        [fx - f, fy - f, fx + f, fy + f], fill=mood.local(35, 0.0, 1.6), outline=mood.ink(-1.6)
    )
    return small(image)


def _head(mood: Mood, rng: Generator, size: Size) -> Image.Image:
    width, height = size[0] * 2, size[1] * 2
    image, draw = large(size, mood.local(255, -0.3, 0.8))
    cx, cy, r = width * 0.5, height * 0.42, min(width, height) * 0.25
    ink, line = mood.ink(-1.8, chroma=0.4), 5
    draw.polygon(
        [
            (cx - 2.2 * r, height),
            (cx - 1.3 * r, cy + 1.6 * r),
            (cx + 1.3 * r, cy + 1.6 * r),
            (cx + 2.2 * r, height),
        ],
        fill=mood.local(285, -0.5, 1.2),
        outline=ink,
    )
    draw.polygon(
        [
            (cx - r * 0.4, cy + r),
            (cx + r * 0.4, cy + r),
            (cx + r * 0.5, cy + 2 * r),
            (cx - r * 0.5, cy + 2 * r),
        ],
        fill=mood.local(60, -0.2, 0.9),
    )
    draw.ellipse(
        [cx - r * 1.15, cy - r * 1.6, cx + r * 1.15, cy + r], fill=mood.local(40, -1.3, 0.8)
    )
    draw.ellipse(
        [cx - r * 0.85, cy - r * 1.15, cx + r * 0.85, cy + r * 1.3], fill=mood.local(65, 0.7, 0.9)
    )
    draw.polygon(
        [(cx, cy - r * 1.15), (cx + r * 0.84, cy), (cx + r * 0.5, cy + r), (cx, cy + r * 1.3)],
        fill=mood.local(45, -0.2, 1.0),
    )
    for side in (-1, 1):
        ex, ey = cx + side * r * 0.4, cy - r * 0.15 + rng.normal() * r * 0.08
        draw.ellipse(
            [ex - r * 0.24, ey - r * 0.12, ex + r * 0.24, ey + r * 0.12],
            fill=mood.ink(1.6, chroma=0.2),
            outline=ink,
            width=line,
        )
        draw.ellipse([ex - r * 0.09, ey - r * 0.1, ex + r * 0.09, ey + r * 0.1], fill=ink)
        draw.arc(
            [ex - r * 0.3, ey - r * 0.36, ex + r * 0.3, ey + r * 0.2],
            200,
            340,
            fill=ink,
            width=line,
        )
    draw.line(
        [
            (cx - r * 0.1, cy - r * 0.2),
            (cx - r * 0.25, cy + r * 0.45),
            (cx + r * 0.08, cy + r * 0.45),
        ],
        fill=ink,
        width=line,
    )
    draw.ellipse(
        [cx - r * 0.32, cy + r * 0.68, cx + r * 0.32, cy + r * 0.88], fill=mood.local(25, -0.4, 1.5)
    )
    return small(image)


def _roofs(mood: Mood, rng: Generator, size: Size) -> Image.Image:
    width, height = size[0] * 2, size[1] * 2
    image, draw = large(size, mood.local(255, 0.5, 0.8))
    for row in range(5):
        base = height * (0.42 + 0.15 * row)
        x = -width * 0.1 * rng.random()
        while x < width:
            wide, tall = width * rng.uniform(0.14, 0.24), height * rng.uniform(0.16, 0.26)
            wall = mood.local(rng.choice([60, 75, 90, 130]), rng.uniform(-0.2, 1.2), 0.8)
            draw.rectangle(
                [x, base - tall, x + wide, base], fill=wall, outline=mood.ink(-1.6), width=3
            )
            draw.polygon(
                [
                    (x, base - tall),
                    (x + wide / 2, base - tall - wide * 0.45),
                    (x + wide, base - tall),
                ],
                fill=mood.local(38, -0.4, 1.2),
                outline=mood.ink(-1.6),
            )
            draw.rectangle(
                [x + wide * 0.4, base - tall * 0.6, x + wide * 0.6, base - tall * 0.3],
                fill=mood.ink(-1.4, chroma=0.5),
            )
            x += wide
    return small(image)


def cubism(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """A motif broken into facets, each seen from a place of its own and shaded on its own."""
    width, height = size
    motif = {"still life": _still_life, "head": _head, "roofs": _roofs}[subject]
    base = motif(mood, rng, size)
    frame = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    facets = _split(frame, rng, width * height / (26 + 90 * mood.unrest))
    labels = Image.new("I", size)
    draw = ImageDraw.Draw(labels)
    for index, facet in enumerate(facets):
        draw.polygon([tuple(p) for p in facet.tolist()], fill=index)
    label = np.asarray(labels)
    count = len(facets)
    centre = np.array([facet.mean(0) for facet in facets], np.float32)[label]
    turn = (rng.normal(size=count) * (0.08 + 0.25 * mood.unrest)).astype(np.float32)[label]
    shift = (rng.normal(size=(count, 2)) * (3 + 15 * mood.unrest)).astype(np.float32)[label]
    x, y = grid(size)
    dx, dy = x - centre[..., 0], y - centre[..., 1]
    u = centre[..., 0] + dx * np.cos(turn) - dy * np.sin(turn) + shift[..., 0]
    v = centre[..., 1] + dx * np.sin(turn) + dy * np.cos(turn) + shift[..., 1]
    seen = np.asarray(base)[v.astype(int).clip(0, height - 1), u.astype(int).clip(0, width - 1)]
    lean = (rng.random(count) * 2 * math.pi).astype(np.float32)[label]
    slope = (dx * np.cos(lean) + dy * np.sin(lean)) / math.sqrt(width * height / count)
    lift = (rng.normal(size=count) * (6 + 10 * mood.unrest)).astype(np.float32)[label]
    shade = slope * (24 + 26 * mood.unrest) + lift
    image = Image.fromarray(
        (seen.astype(np.float32) + shade[..., None]).clip(0, 255).astype(np.uint8)
    )
    big = image.resize((width * 2, height * 2))
    draw = ImageDraw.Draw(big)
    dark = mood.ink(-1.9, chroma=0.4)
    for facet in facets:
        edge = [(2 * px, 2 * py) for px, py in facet.tolist()]
        for start, end in zip(edge, [*edge[1:], edge[0]], strict=True):
            if rng.random() < 0.75:
                draw.line([start, end], fill=dark, width=int(rng.integers(1, 4)))
    image = texture(small(big), noise(rng, size, (9, 4), 2), 22)
    return grade(image, mood, strength=0.75, chroma=0.85)
