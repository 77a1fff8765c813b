"""Painters of the East and of the sublime: woodblock waves, ink in mist, romantic mountains."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from artsound.sources.sample.canvas import (
    Floats,
    Points,
    Size,
    curve,
    gradient,
    grid,
    lay,
    noise,
    small,
    smooth,
    texture,
)
from artsound.sources.sample.colour import RGB, Mood, grade


def _cone(
    draw: ImageDraw.ImageDraw, mood: Mood, x: float, base: float, tall: float, dark: RGB
) -> None:
    """A volcano with a ragged cap of snow."""
    left = curve(
        [
            (x - tall * 2.2, base),
            (x - tall * 1.0, base - tall * 0.42),
            (x - tall * 0.16, base - tall),
        ]
    )
    right = curve(
        [
            (x + tall * 0.2, base - tall),
            (x + tall * 0.95, base - tall * 0.45),
            (x + tall * 2.3, base),
        ]
    )
    draw.polygon([*left, *right], fill=mood.local(262, -0.4, 0.9))
    cut = base - tall * 0.66
    snow = [p for p in left if p[1] <= cut] + [p for p in right if p[1] <= cut]
    low, high = snow[-1], snow[0]
    teeth = [
        (low[0] + (high[0] - low[0]) * t, cut + tall * (0.02 + 0.2 * (i % 2)))
        for i, t in enumerate(np.linspace(0, 1, 9))
    ]
    draw.polygon([*snow, *teeth], fill=mood.local(80, 2.0, 0.25))
    draw.line([*left, *right], fill=dark, width=3)


def _wave(
    draw: ImageDraw.ImageDraw,
    mood: Mood,
    rng: Generator,
    foot: tuple[float, float],
    tall: float,
    face: int,
    dark: RGB,
    claws: int,
) -> None:
    """A breaking wave that rears up at ``foot`` and curls over towards ``face`` (−1 or 1)."""
    x0, y0 = foot

    def at(u: float, v: float) -> tuple[float, float]:
        return x0 + face * u * tall, y0 - v * tall

    back = curve(
        [
            at(-1.7, -0.35),
            at(-1.0, 0.12),
            at(-0.45, 0.62),
            at(0.0, 0.95),
            at(0.42, 0.98),
            at(0.72, 0.74),
        ]
    )
    belly = curve(
        [
            at(0.72, 0.74),
            at(0.42, 0.76),
            at(0.18, 0.56),
            at(0.2, 0.25),
            at(0.5, 0.0),
            at(1.2, -0.35),
        ]
    )
    draw.polygon([*back, *belly], fill=mood.local(258, -0.75, 1.25))
    for stripe in range(1, 5):
        t = stripe / 5
        mid: Points = []
        for i in range(12, 52, 4):
            b, f = back[min(i, len(back) - 1)], belly[min(60 - i, len(belly) - 1)]
            mid.append((f[0] + (b[0] - f[0]) * t, f[1] + (b[1] - f[1]) * t))
        draw.line(curve(mid, 6), fill=mood.local(235, 0.5, 0.8), width=max(2, int(tall / 26)))
    foam = mood.local(85, 2.0, 0.2)
    ridge = back[18:] + belly[:14]
    for i, (px, py) in enumerate(ridge[:: max(1, len(ridge) // claws)]):
        r = tall * rng.uniform(0.05, 0.09)
        draw.ellipse([px - r, py - r * 0.8, px + r, py + r], fill=foam, outline=dark, width=2)
        if i % 2 == 0:
            hx, hy = px + face * r * rng.uniform(1.0, 2.0), py + r * rng.uniform(0.9, 2.2)
            claw = curve([(px, py - r * 0.4), (px + face * r * 1.3, py), (hx, hy)], 5)
            draw.line(claw, fill=foam, width=max(3, int(r * 0.7)))
            draw.ellipse([hx - r * 0.3, hy - r * 0.3, hx + r * 0.3, hy + r * 0.3], fill=foam)
    for _ in range(int(claws * 1.6)):
        px, py = at(rng.uniform(-0.1, 1.25), rng.uniform(0.65, 1.3))
        r = tall * rng.uniform(0.006, 0.02)
        draw.ellipse([px - r, py - r, px + r, py + r], fill=foam)
    draw.line(back, fill=dark, width=3)
    draw.line(belly, fill=dark, width=3)


def _swell(
    draw: ImageDraw.ImageDraw,
    size: Size,
    rng: Generator,
    level: float,
    reach: float,
    ink: RGB,
    dark: RGB,
) -> None:
    width, height = size[0] * 2, size[1] * 2
    phase, count = rng.random() * 6.28, rng.uniform(1.2, 2.6)
    line: Points = []
    for t in np.linspace(0, 1, 90):
        s = 0.5 + 0.5 * math.sin(2 * math.pi * count * float(t) + phase)
        line.append((width * float(t), level - reach * (s**1.6)))
    draw.polygon([*line, (width, height), (0, height)], fill=ink)
    draw.line(line, fill=dark, width=3)
    for row in range(1, 3):
        draw.line([(x, y + 7 + row * reach * 0.22) for x, y in line], fill=dark, width=1)


def ukiyo_e(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """A woodblock print: flat inks, outlines, a graded band of sky, and the grain of the block."""
    width, height = size
    w, h = width * 2, height * 2
    dark = mood.local(265, -2.0, 0.8)
    air = gradient(
        size,
        [
            (0.0, mood.local(258, -0.6, 1.2)),
            (0.13, mood.local(250, 0.5, 0.7)),
            (0.4, mood.local(80, 1.3, 0.5)),
            (0.75, mood.local(55, 1.0, 0.7)),
            (1.0, mood.local(60, 0.8, 0.7)),
        ],
    )
    image = air.resize((w, h))
    draw = ImageDraw.Draw(image)
    disc = (w * rng.uniform(0.2, 0.8), h * rng.uniform(0.16, 0.28), h * 0.07)
    draw.ellipse(
        [disc[0] - disc[2], disc[1] - disc[2], disc[0] + disc[2], disc[1] + disc[2]],
        fill=mood.local(35, 0.3, 1.9) if mood.arousal > -0.2 else mood.local(85, 1.9, 0.4),
    )
    for _ in range(3):
        x, y, long = w * rng.random(), h * rng.uniform(0.12, 0.42), w * rng.uniform(0.2, 0.45)
        thick = h * 0.022
        for step in range(2):
            box = [
                x + long * 0.2 * step,
                y + thick * step,
                x + long * (0.8 + 0.3 * step),
                y + thick * (step + 1),
            ]
            draw.rounded_rectangle(box, thick / 2, fill=mood.local(80, 1.7, 0.3))
    horizon = h * (0.6 if subject == "wave" else 0.72)
    _cone(
        draw,
        mood,
        w * rng.uniform(0.3, 0.7),
        horizon,
        h * (0.17 if subject == "wave" else 0.42),
        dark,
    )
    if subject == "wave":
        deep = [mood.local(240, 0.2, 0.9), mood.local(252, -0.3, 1.1), mood.local(262, -0.8, 1.2)]
        for layer in range(3):
            reach = h * (0.02 + 0.09 * mood.unrest) * (1 + 0.4 * layer)
            _swell(draw, size, rng, horizon + h * (0.04 + 0.1 * layer), reach, deep[layer], dark)
            if layer < 1 + round(mood.unrest * 2):
                face = 1 if layer % 2 == 0 else -1
                foot = (
                    w * (0.24 if face > 0 else 0.82) + w * 0.06 * rng.normal(),
                    horizon + h * (0.12 + 0.13 * layer),
                )
                tall = h * (0.14 + 0.4 * mood.unrest) * (1 - 0.22 * layer)
                _wave(draw, mood, rng, foot, tall, face, dark, 10 + int(16 * mood.unrest))
        _swell(draw, size, rng, h * 0.95, h * 0.05, deep[2], dark)
    else:
        draw.rectangle([0, horizon, w, h], fill=mood.local(235, 0.3, 0.8))
        for row in range(7 + int(9 * mood.unrest)):
            y = horizon + (h - horizon) * rng.random()
            x = w * rng.random()
            draw.line(
                [(x, y), (x + w * rng.uniform(0.1, 0.4), y)],
                fill=mood.local(255, -0.5, 1.1),
                width=3,
            )
        _swell(draw, size, rng, h * 0.95, h * 0.06, mood.local(120, -0.3, 1.0), dark)
        x, y = w * rng.choice([0.1, 0.86]), h * 1.0
        lean = 1 if x < w / 2 else -1
        trunk = curve(
            [
                (x, y),
                (x + lean * w * 0.05, h * 0.7),
                (x - lean * w * 0.01, h * 0.48),
                (x + lean * w * 0.1, h * 0.27),
            ]
        )
        draw.line(trunk, fill=dark, width=22)
        draw.line(trunk, fill=mood.local(45, -0.7, 0.9), width=15)
        for _ in range(7 + int(6 * mood.unrest)):
            px, py = trunk[int(rng.integers(len(trunk) // 3, len(trunk)))]
            px, py = px + lean * w * rng.uniform(-0.06, 0.2), py + h * rng.uniform(-0.06, 0.05)
            for puff in range(3):
                qx, qy, q = px + (puff - 1) * w * 0.045, py - (puff % 2) * h * 0.018, w * 0.05
                draw.pieslice(
                    [qx - q, qy - q * 0.6, qx + q, qy + q * 0.6],
                    180,
                    360,
                    fill=mood.local(140, -0.8, 1.1),
                    outline=dark,
                    width=2,
                )
    image = small(image)
    image = texture(image, noise(rng, size, (260, 3), 2), 14)
    image = texture(image, noise(rng, size, 3, 1), 8)
    return grade(image, mood, strength=0.7)


def ink_wash(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Ink in water on paper: peaks that sink into mist, a few sure strokes, one red seal."""
    width, height = size
    x, y = grid(size)
    ink = mood.ink(-2.2, chroma=0.5)
    wash = mood.ink(-0.7, chroma=0.7)
    image = Image.new("RGB", size, mood.ink(1.3, chroma=0.45))
    image = texture(image, noise(rng, size, 6, 3), 12)
    if subject != "bamboo":
        for layer in range(3 + int(2 * mood.unrest)):
            base = height * (0.4 + 0.13 * layer)
            ridge = noise(rng, (width, 8), 130 - 60 * mood.unrest, 5)[4]
            peaks = (ridge**1.5) * height * (0.22 + 0.3 * mood.unrest)
            depth = (y - (base - peaks[None, :])) / (height * 0.26)
            edge = smooth(-0.01, 0.03, depth + 0.05 * (noise(rng, size, 18, 3) - 0.5))
            body = np.exp(-2.3 * depth.clip(0, 9)) * (0.55 + 0.45 * noise(rng, size, (14, 60), 4))
            image = lay(image, wash if layer < 2 else ink, edge * body * (0.32 + 0.17 * layer))
    for _ in range(3 + int(6 * mood.unrest) if subject == "splash" else 0):
        cx, cy, r = (
            width * rng.random(),
            height * rng.uniform(0.3, 0.9),
            height * rng.uniform(0.04, 0.13),
        )
        turn = rng.normal() * 0.5
        along = ((x - cx) * math.cos(turn) + (y - cy) * math.sin(turn)) / (r * 2.2)
        over = ((y - cy) * math.cos(turn) - (x - cx) * math.sin(turn)) / r
        blot = np.hypot(along, over) + 0.7 * (noise(rng, size, (90, 22), 6) - 0.5)
        dry = 0.5 + 0.5 * noise(rng, size, (60, 14), 5)
        image = lay(image, ink, (1 - smooth(0.7, 0.95, blot)) * dry)
    big = image.resize((width * 2, height * 2))
    draw = ImageDraw.Draw(big)
    w, h = width * 2, height * 2
    if subject == "bamboo":
        for cane in range(2 + int(4 * mood.unrest)):
            px, lean = w * rng.uniform(0.12, 0.88), w * rng.normal() * (0.03 + 0.1 * mood.unrest)
            tone = ink if cane % 2 else wash
            for joint in range(7):
                a, b = joint / 7, (joint + 0.93) / 7
                draw.line(
                    [(px + lean * a, h * (1 - a)), (px + lean * b, h * (1 - b))],
                    fill=tone,
                    width=int(w * 0.016),
                )
                for _ in range(int(rng.integers(0, 3 + 3 * mood.unrest))):
                    turn = rng.normal() * 0.5 + rng.choice([0.5, 2.6])
                    long = w * rng.uniform(0.07, 0.15)
                    ox, oy = px + lean * b, h * (1 - b)
                    tip = (ox + long * math.cos(turn), oy + long * math.sin(turn) * 0.8)
                    side = (
                        ox + long * 0.4 * math.cos(turn + 0.3),
                        oy + long * 0.4 * math.sin(turn + 0.3),
                    )
                    other = (
                        ox + long * 0.4 * math.cos(turn - 0.3),
                        oy + long * 0.4 * math.sin(turn - 0.3),
                    )
                    draw.polygon([(ox, oy), side, tip, other], fill=tone)
    elif subject == "boat":
        px, py, s = w * rng.uniform(0.25, 0.7), h * 0.86, w * 0.07
        draw.polygon(
            curve([(px - s, py - s * 0.12), (px, py + s * 0.18), (px + s, py - s * 0.2)], 8),
            fill=ink,
        )
        draw.line([(px - s * 0.1, py), (px - s * 0.1, py - s * 0.6)], fill=ink, width=6)
        draw.polygon(
            [
                (px - s * 0.4, py - s * 0.5),
                (px - s * 0.1, py - s * 0.85),
                (px + s * 0.25, py - s * 0.5),
            ],
            fill=ink,
        )
    for _ in range(3 + int(14 * mood.unrest)):
        px, py, s = w * rng.random(), h * rng.uniform(0.08, 0.3), w * rng.uniform(0.008, 0.016)
        if subject != "splash":
            draw.line([(px - s, py - s * 0.5), (px, py), (px + s, py - s * 0.6)], fill=ink, width=3)
        else:
            draw.ellipse([px - s / 2, py - s / 2, px + s / 2, py + s / 2], fill=ink)
    s = w * 0.035
    sx, sy = w * rng.choice([0.08, 0.88]), h * 0.84
    draw.rectangle([sx, sy, sx + s, sy + s], fill=mood.local(32, -0.1, 2.2))
    for bar in range(3):
        draw.line(
            [
                (sx + s * 0.2, sy + s * (0.25 + 0.25 * bar)),
                (sx + s * 0.8, sy + s * (0.25 + 0.25 * bar)),
            ],
            fill=mood.ink(1.4, chroma=0.3),
            width=3,
        )
    return grade(small(big), mood, strength=0.6, chroma=0.5)


def _ridge(rng: Generator, size: Size, cell: float) -> Floats:
    sharp = 1 - np.abs(2 * noise(rng, (size[0], 8), cell, 6)[4] - 1)
    return sharp - sharp.min()


def romanticism(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Mountains under a vast sky with a low sun or moon; clouds torn and lit when aroused."""
    width, height = size
    x, y = grid(size)
    horizon = height * rng.uniform(0.6, 0.7)
    sx, sy = width * rng.uniform(0.25, 0.75), horizon * rng.uniform(0.35, 0.75)
    image = gradient(
        size,
        [
            (0.0, mood.local(262, -0.8, 1.1)),
            (0.35, mood.local(265, 0.0, 0.9)),
            (0.55, mood.local(50, 0.8, 1.2)),
            (0.68, mood.local(75, 1.3, 1.3)),
            (1.0, mood.local(75, 1.3, 1.0)),
        ],
    )
    away = np.hypot(x - sx, y - sy) / height
    warp = noise(rng, size, (220, 60), 6)
    cloud = smooth(0.62 - 0.22 * mood.unrest, 0.95 - 0.2 * mood.unrest, warp)
    fire = mood.local(45, 0.9, 1.5)
    shadow = mood.local(280, -0.9, 0.9)
    lit = np.exp(-away * 2.6)
    bank = lay(Image.new("RGB", size, shadow), fire, lit + 0.25 * noise(rng, size, (90, 30), 5))
    image = lay(image, bank, cloud * (0.35 + 0.6 * mood.unrest))
    image = lay(image, mood.local(80, 1.8, 0.9), 0.85 * np.exp(-away * 8))
    image = lay(image, mood.local(88, 2.4, 0.5), 1 - smooth(0.032, 0.042, away))
    layers = 4
    for layer in range(layers):
        share = layer / (layers - 1)
        tall = height * (0.36 - 0.2 * share) * (0.7 + 0.6 * mood.unrest)
        crest = (
            horizon
            + height * 0.1 * share
            - tall * _ridge(rng, size, 240 - 120 * mood.unrest)[None, :]
        )
        inside = smooth(-0.8, 0.8, y - crest)
        rock = gradient(
            size,
            [
                (0.0, mood.local(265, 0.5 - 1.5 * share, 0.8)),
                (0.75, mood.local(70 - 10 * share, 0.85 - 1.9 * share, 0.8)),
                (1.0, mood.local(70, -0.8, 0.7)),
            ],
        )
        rock = texture(rock, noise(rng, size, (24, 40), 5), 10 + 34 * share * (0.3 + mood.unrest))
        image = lay(image, rock, inside)
    if subject == "lake":
        shore = int(horizon + height * 0.07)
        depth = height - shore
        mirror = np.asarray(image)[max(0, shore - depth) : shore][::-1]
        ripple = (noise(rng, (width, len(mirror)), (60, 5), 3) - 0.5) * np.linspace(
            1, 16, len(mirror)
        )[:, None]
        columns = (np.arange(width)[None, :] + ripple).astype(int).clip(0, width - 1)
        water = Image.fromarray(
            np.ascontiguousarray(mirror[np.arange(len(mirror))[:, None], columns])
        )
        water = lay(
            water, mood.local(258, -0.7, 0.9), np.full((len(mirror), width), 0.35, np.float32)
        )
        image.paste(water, (0, shore))
        glitter = np.exp(-(((x - sx) / (width * 0.05)) ** 2)) * smooth(shore, shore + 4, y)
        image = lay(
            image,
            mood.local(80, 1.8, 0.9),
            glitter * smooth(0.55, 0.8, noise(rng, size, (40, 4), 3)),
        )
    big = image.resize((width * 2, height * 2))
    draw = ImageDraw.Draw(big)
    w, h = width * 2, height * 2
    dark = mood.local(140, -2.0, 0.6)
    mound: Points = [
        (-9, h + 9),
        *curve([(-9.0, h * 0.84), (w * 0.2, h * 0.88), (w * 0.42, h * 0.96), (w * 0.6, h + 9.0)]),
    ]
    flip = rng.random() < 0.5
    draw.polygon([(w - px, py) if flip else (px, py) for px, py in mound], fill=dark)
    for tree in range(3 + int(4 * mood.unrest)):
        px, base = w * (0.03 + 0.075 * tree), h * (0.87 + 0.012 * tree)
        px = w - px if flip else px
        tall = h * rng.uniform(0.14, 0.34) * (0.6 if subject == "ruin" else 1.0)
        sway = w * 0.03 * rng.normal() * mood.unrest
        for tier in range(9):
            t = tier / 9
            wide = tall * 0.2 * (1 - t) * rng.uniform(0.8, 1.2) + 2
            cx, cy = px + sway * t, base - tall * t
            draw.polygon(
                [(cx - wide, cy), (cx + sway / 9, cy - tall * 0.2), (cx + wide, cy)], fill=dark
            )
    if subject == "ruin":
        rx, s = w * (0.7 if flip else 0.3), h * 0.2
        foot, spring = h * 0.94, h * 0.94 - s * 1.4
        draw.polygon(
            [(rx - s * 1.5, h + 9), (rx - s, foot), (rx + s, foot), (rx + s * 1.5, h + 9)],
            fill=dark,
        )
        for side, share in ((-1, 1.0), (1, 0.72)):
            outer = [(rx + side * s * 0.72, foot), (rx + side * s * 0.72, spring)]
            inner = [(rx + side * s * 0.5, foot), (rx + side * s * 0.5, spring)]
            for t in np.linspace(0.1, share, 9):
                turn = t * math.pi / 3
                outer.append(
                    (
                        rx + side * s * (1.64 * math.cos(turn) - 0.92),
                        spring - s * 1.5 * math.sin(turn),
                    )
                )
                inner.append(
                    (
                        rx + side * s * (1.42 * math.cos(turn) - 0.92),
                        spring - s * 1.3 * math.sin(turn),
                    )
                )
            draw.polygon([*outer, *inner[::-1]], fill=dark)
        draw.polygon(
            [
                (rx + s * 0.6, foot),
                (rx + s * 0.66, spring + s * 0.2),
                (rx + s * 1.1, spring + s * 0.5),
                (rx + s * 1.2, foot),
            ],
            fill=dark,
        )
    image = texture(small(big).filter(ImageFilter.GaussianBlur(0.4)), noise(rng, size, 3, 1), 7)
    return grade(image, mood, strength=0.72)
