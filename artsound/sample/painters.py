"""The sample's eight painters, each a function of a subject, a mood, random numbers and a size.

All return an RGB picture of the size. The more arousal, the more edges, the harder and the wilder;
`grade` at the end moves the whole to the mood's lightness and chroma.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from artsound.sample.canvas import (
    RGB,
    Brush,
    Easel,
    Floats,
    Mood,
    Points,
    Size,
    easel,
    grade,
    grid,
    lab_to_rgb,
    lay,
    noise,
    painter_lab,
    ramp,
    relief,
    strokes,
    texture,
)
from artsound.sample.scenes import scene

# --- without a subject -----------------------------------------------------------------


def colour_field(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Two to four soft-edged blocks on a ground; in "clash" the middle one is of another hue."""
    width, height = size
    x, y = grid(size)
    image = Image.new("RGB", size, mood.ink(-0.7, hue=-25, chroma=0.8))
    image = texture(image, noise(rng, size, (70, 260), 5), 30)
    bands = 2 + int(mood.unrest * 1.6 + rng.random())
    inset, gap = width * rng.uniform(0.07, 0.11), height * rng.uniform(0.03, 0.05)
    shares = rng.dirichlet(np.full(bands, 6.0)) * (height - 2 * inset - gap * (bands - 1))
    soft = 15 - 10 * mood.unrest
    hues = rng.permutation(np.linspace(-38, 38, bands)).tolist()
    lights = rng.permutation(np.linspace(-0.4, 0.8, bands)).tolist()
    top = inset
    for band, (hue, light) in enumerate(zip(hues, lights, strict=True)):
        bottom = top + shares[band]
        ragged = (noise(rng, size, 60, 5) - 0.5) * (10 + 14 * mood.unrest)
        inside = np.minimum.reduce([x - inset, width - inset - x, y - top, bottom - y]) + ragged
        own = hue + (130.0 if subject == "clash" and band == bands // 2 else 0.0)
        under = Image.new("RGB", size, mood.ink(light - 0.5, hue=own - 18))
        cover = 0.3 + 0.7 * noise(rng, size, (150, 45), 6)
        block = lay(under, mood.ink(light, hue=own, chroma=1.1), cover)
        image = lay(image, block, ramp(-soft, soft, inside) * 0.96)
        top = bottom + gap
    image = texture(image, noise(rng, size, 5, 2), 6 + 14 * mood.unrest)
    return grade(image, mood, strength=0.8)


def _placed(
    shape: Sequence[tuple[float, float]], x: float, y: float, r: float, turn: float
) -> Points:
    """The outline scaled by r, turned and moved to (x, y)."""
    c, s = math.cos(turn), math.sin(turn)
    return [(x + r * (u * c - v * s), y + r * (u * s + v * c)) for u, v in shape]


def _bar(x: float, y: float, w: float, h: float, turn: float) -> Points:
    """The corners of a turned rectangle about (x, y)."""
    return _placed(((-w, -h), (w, -h), (w, h), (-w, h)), x, y, 0.5, turn)


def suprematism(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Bars about a "disc", a "cross" or "planes" on a plain ground, slanted when aroused."""
    at = easel(mood, rng, Image.new("RGB", size, mood.ink(1.25, chroma=0.28)))
    unit = min(at.w, at.h)
    slant = math.radians(rng.choice([-1, 1]) * (4 + 42 * mood.unrest))
    black, red = mood.ink(-1.9, chroma=0.35), mood.ink(-0.3, hue=-30, chroma=1.5)
    warm, gold = mood.ink(0.1, hue=15, chroma=1.5), mood.ink(0.6, hue=45, chroma=1.5)
    inks = [black, red, warm, mood.ink(-0.6, hue=150, chroma=1.1), gold, black]
    x, y = at.w * rng.uniform(0.4, 0.6), at.h * rng.uniform(0.4, 0.6)
    if subject == "disc":
        r = unit * rng.uniform(0.17, 0.25)
        at.disc(x - r * rng.uniform(0.4, 0.9), y - r * rng.uniform(0.5, 1.0), r, red)
        at.draw.polygon(_bar(x, y + r * 0.9, unit * 0.9, unit * 0.09, slant), fill=black)
    elif subject == "cross":
        at.draw.polygon(_bar(x, y, unit * 0.24, unit * 0.86, slant * 0.4), fill=red)
        at.draw.polygon(_bar(x, y - unit * 0.08, unit * 0.8, unit * 0.2, slant * 0.4), fill=black)
    else:
        at.draw.polygon(_bar(x, y, unit * 0.46, unit * 0.34, slant), fill=black)
        small = (unit * 0.3, unit * 0.22, slant)
        at.draw.polygon(_bar(x + unit * 0.2, y + unit * 0.18, *small), fill=red)
    for step in range(3 + int(13 * mood.unrest)):
        along = rng.normal() * unit * 0.3
        across = rng.normal() * unit * (0.1 + 0.16 * mood.unrest)
        px = x + along * math.cos(slant) - across * math.sin(slant)
        py = y + along * math.sin(slant) + across * math.cos(slant)
        long, thin = unit * rng.uniform(0.06, 0.42), unit * rng.choice([0.006, 0.014, 0.03, 0.06])
        turn = slant + rng.choice([0, 0, 0, math.pi / 2, 0.3 * mood.unrest])
        at.draw.polygon(_bar(px, py, long, thin, turn), fill=inks[step % len(inks)])
    for _ in range(1 + int(3 * mood.unrest)):
        px, py = rng.uniform(0.1, 0.9) * at.w, rng.uniform(0.1, 0.9) * at.h
        at.disc(px, py, unit * rng.uniform(0.012, 0.04), inks[int(rng.integers(len(inks)))])
    return grade(texture(at.picture(), noise(rng, size, 90, 6), 22), mood, strength=0.75)


def op_art(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Lines in "bands" or "rings" bent by a swelling; finer and harder when aroused."""
    width, height = size
    x, y = grid((width * 2, height * 2))
    x, y = (x / 2 - width / 2) / min(size), (y / 2 - height / 2) / min(size)
    cx, cy = rng.uniform(-0.15, 0.15, 2)
    tilt = rng.uniform(-0.4, 0.4)
    pull, count = 0.5 + 1.6 * mood.unrest, 5 + 15 * mood.unrest
    r = np.hypot(x - cx, y - cy)
    if subject == "rings":
        sway = 0.35 * mood.unrest * np.sin(3 * np.arctan2(y - cy, x - cx) + 9 * r)
        wave = np.sin(2 * math.pi * (r * count * 1.5 + sway))
        across = 0.8 * x + 1.4 * y
    else:
        bend = 0.09 * pull * np.sin(2 * math.pi * (x * 1.3 + 0.4 * np.sin(5 * y + tilt * 4)))
        swell = 0.12 * pull * np.exp(-(r**2) * 9) * np.tanh(9 * (y - cy))
        wave = np.sin(2 * math.pi * (y + tilt * x + bend + swell) * count)
        across = np.sin(2.4 * x + 3.1 * y)
    light = 0.5 + 0.5 * np.tanh(wave * (3.0 + 9.0 * mood.unrest))
    swing = 0.45 + 0.75 * mood.unrest
    mix = 0.5 + 0.5 * across
    sheet = Image.new("RGB", (width * 2, height * 2), mood.ink(-swing * 1.3, hue=25, chroma=1.1))
    dark = lay(sheet, mood.ink(-swing * 1.1, hue=-45, chroma=1.3), mix)
    sheet = Image.new("RGB", sheet.size, mood.ink(swing * 1.5, hue=-12, chroma=0.7))
    pale = lay(sheet, mood.ink(swing * 1.1, hue=70, chroma=1.2), mix)
    image = lay(dark, pale, light.astype(np.float32)).reduce(2)
    return grade(texture(image, noise(rng, size, 4, 2), 6), mood, strength=0.8)


# --- with the brush --------------------------------------------------------------------


def _along(base: Image.Image, rng: Generator, wander: float) -> Floats:
    """Angles [H, W] that run along the forms of a picture, level where it has none."""
    grey = np.asarray(base.convert("L").reduce(6), np.float32)
    dy, dx = np.gradient(grey)
    # The structure tensor, smoothed: opposite gradients agree on one direction.
    sine, cosine = (
        np.asarray(Image.fromarray(part).resize(base.size, Image.Resampling.BICUBIC))
        for part in (2 * dx * dy, dx * dx - dy * dy)
    )
    drift = (noise(rng, base.size, 140, 3) - 0.5) * wander
    return np.arctan2(sine + 1e-3, cosine - 6.0) / 2 + math.pi / 2 + drift


def impressionism(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Broken touches along the forms, wide ones first; shorter and wilder when aroused."""
    base = scene(subject, mood, rng, size)
    angle = _along(base, rng, 0.5 + 2.2 * mood.unrest)
    image = Image.new("RGB", size, mood.local(60, 0.2, 0.6))
    image = strokes(image, base, angle, Brush(7.0, 24, 7, (4, 5)), rng)
    fine = Brush(4.4, 15 - 7 * mood.unrest, 2.2, (3 + 6 * mood.unrest, 3 + 8 * mood.unrest))
    image = strokes(image, base, angle, fine, rng)
    return grade(relief(image, 0.35), mood, strength=0.75)


def pointillism(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Dots of divided colour: each hue broken into its neighbours and its complement."""
    width, height = size
    base = np.asarray(scene(subject, mood, rng, size))
    at = easel(mood, rng, Image.new("RGB", size, mood.local(75, 1.2, 0.4)))
    step = 6.4 - 1.2 * mood.unrest
    for pitch, radius in ((step, step * 0.62), (step * 1.15, step * 0.42)):
        column, row = np.meshgrid(
            np.arange(int(width / pitch) + 2), np.arange(int(height / pitch) + 2)
        )
        x = ((column + 0.5 * (row % 2)) * pitch + rng.normal(size=row.shape) * pitch * 0.22).ravel()
        y = (row * pitch + rng.normal(size=row.shape) * pitch * 0.22).ravel()
        lab = painter_lab(base[y.astype(int).clip(0, height - 1), x.astype(int).clip(0, width - 1)])
        hue = np.arctan2(lab[:, 2], lab[:, 1])
        stray = rng.normal(size=len(x)) * (0.35 + 0.3 * mood.unrest)
        hue += np.where(rng.random(len(x)) < 0.15, math.pi, stray)
        chroma = np.hypot(lab[:, 1], lab[:, 2]) * (1.15 + 0.5 * mood.unrest) + 4 + 8 * mood.unrest
        lab[:, 0] += rng.normal(size=len(x)) * (3 + 7 * mood.unrest) - 3
        lab[:, 1], lab[:, 2] = chroma * np.cos(hue), chroma * np.sin(hue)
        inks = lab_to_rgb(lab.astype(np.float32)).tolist()
        r = 2 * radius * (1 + 0.2 * rng.normal(size=len(x))).clip(0.2)
        for dot in rng.permutation(len(x)).tolist():
            red, green, blue = inks[dot]
            at.disc(2 * x[dot], 2 * y[dot], r[dot], (red, green, blue))
    return grade(at.picture(), mood, strength=0.75)


def post_impressionism(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Thick ropes of paint that circle around whirls in the air; more whirls when aroused."""
    width, height = size
    base = scene(subject, mood, rng, size)
    x, y = grid(size)
    angle = _along(base, rng, 0.8)
    flow_x, flow_y = np.abs(np.cos(angle)), np.sin(angle) * np.sign(np.cos(angle))
    for _ in range(2 + int(5 * mood.unrest)):
        cx, cy = rng.random() * width, rng.random() * height * 0.42
        reach = rng.uniform(0.08, 0.17) * min(width, height)
        far = np.hypot(x - cx, y - cy) + 1
        pull = np.exp(-((far / reach / 1.4) ** 2)) * 4 * rng.choice([-1, 1])
        flow_x += -(y - cy) / far * pull
        flow_y += (x - cx) / far * pull
        base = lay(base, mood.local(85, 1.2, 1.4), np.exp(-((far / reach / 0.55) ** 2)) * 0.75)
    angle = np.arctan2(flow_y, flow_x)
    image = Image.new("RGB", size, mood.local(255, -0.8, 0.8))
    image = strokes(image, base, angle, Brush(7.0, 30, 6, (5, 6)), rng)
    fine = Brush(4.4, 18, 2.4, (5 + 7 * mood.unrest, 4 + 6 * mood.unrest))
    image = strokes(image, base, angle, fine, rng)
    return grade(relief(image, 0.55), mood, strength=0.75)


# --- with ink --------------------------------------------------------------------------


def ink_wash(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """Mountains in mist ("peaks") or "bamboo", with birds and a red seal."""
    ink, wash = mood.ink(-2.2, chroma=0.5), mood.ink(-0.7, chroma=0.7)
    image = texture(Image.new("RGB", size, mood.ink(1.3, chroma=0.45)), noise(rng, size, 6, 3), 12)
    if subject != "bamboo":
        image = _peaks(image, mood, rng, ink, wash)
    at = easel(mood, rng, image)
    if subject == "bamboo":
        for cane in range(2 + int(4 * mood.unrest)):
            _bamboo(at, ink if cane % 2 else wash)
    for _ in range(3 + int(14 * mood.unrest)):
        x, y = at.w * rng.random(), at.h * rng.uniform(0.08, 0.3)
        s = at.w * rng.uniform(0.008, 0.016)
        at.draw.line([(x - s, y - s * 0.5), (x, y), (x + s, y - s * 0.6)], ink, width=3)
    x, y, s = at.w * rng.choice([0.08, 0.88]), at.h * 0.84, at.w * 0.035
    at.draw.rectangle([x, y, x + s, y + s], mood.local(32, -0.1, 2.2))
    for level in (y + s * 0.25, y + s * 0.5, y + s * 0.75):
        mark = mood.ink(1.4, chroma=0.3)
        at.draw.line([(x + s * 0.2, level), (x + s * 0.8, level)], mark, width=3)
    return grade(at.picture(), mood, strength=0.6, chroma=0.5)


def _peaks(image: Image.Image, mood: Mood, rng: Generator, ink: RGB, wash: RGB) -> Image.Image:
    """Ranges one before the other, dark at the crest and lost in mist below."""
    size = width, height = image.size
    _, y = grid(size)
    for layer in range(3 + int(2 * mood.unrest)):
        ridge = noise(rng, (width, 8), 130 - 60 * mood.unrest, 5)[4] ** 1.5
        crest = height * (0.4 + 0.13 * layer - (0.22 + 0.3 * mood.unrest) * ridge)
        depth = (y - crest[None, :]) / (height * 0.26)
        edge = ramp(-0.01, 0.03, depth + 0.05 * (noise(rng, size, 18, 3) - 0.5))
        body = np.exp(-2.3 * depth.clip(0, 9)) * (0.55 + 0.45 * noise(rng, size, (14, 60), 4))
        image = lay(image, wash if layer < 2 else ink, edge * body * (0.32 + 0.17 * layer))
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


# --- in facets -------------------------------------------------------------------------


def cubism(subject: str, mood: Mood, rng: Generator, size: Size) -> Image.Image:
    """A "still life" or a "head" in facets, each turned, shifted and shaded by itself."""
    width, height = size
    plain = easel(mood, rng, Image.new("RGB", size, mood.local(255, 0.3, 0.7)))
    (_head if subject == "head" else _still_life)(plain)
    frame = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    facets = _split(frame, rng, width * height / (26 + 90 * mood.unrest))
    labels = Image.new("I", size)
    draw = ImageDraw.Draw(labels)
    for index, facet in enumerate(facets):
        draw.polygon([tuple(p) for p in facet.tolist()], fill=index)
    label, count = np.asarray(labels), len(facets)
    centre = np.array([facet.mean(0) for facet in facets], np.float32)[label]
    turn = (rng.normal(size=count) * (0.08 + 0.25 * mood.unrest)).astype(np.float32)[label]
    shift = (rng.normal(size=(count, 2)) * (3 + 15 * mood.unrest)).astype(np.float32)[label]
    x, y = grid(size)
    dx, dy = x - centre[..., 0], y - centre[..., 1]
    u = centre[..., 0] + dx * np.cos(turn) - dy * np.sin(turn) + shift[..., 0]
    v = centre[..., 1] + dx * np.sin(turn) + dy * np.cos(turn) + shift[..., 1]
    base = np.asarray(plain.picture())
    seen = base[v.astype(int).clip(0, height - 1), u.astype(int).clip(0, width - 1)]
    lean = (rng.random(count) * 2 * math.pi).astype(np.float32)[label]
    slope = (dx * np.cos(lean) + dy * np.sin(lean)) / math.sqrt(width * height / count)
    lift = (rng.normal(size=count) * (6 + 10 * mood.unrest)).astype(np.float32)[label]
    shaded = seen.astype(np.float32) + (slope * (24 + 26 * mood.unrest) + lift)[..., None]
    at = easel(mood, rng, Image.fromarray(shaded.clip(0, 255).astype(np.uint8)))
    dark = mood.ink(-1.9, chroma=0.4)
    for facet in facets:
        edge = [(2 * px, 2 * py) for px, py in facet.tolist()]
        for start, end in zip(edge, [*edge[1:], edge[0]], strict=True):
            if rng.random() < 0.75:
                at.draw.line([start, end], fill=dark, width=int(rng.integers(1, 4)))
    image = texture(at.picture(), noise(rng, size, (9, 4), 2), 22)
    return grade(image, mood, strength=0.75, chroma=0.85)


def _split(polygon: np.ndarray, rng: Generator, least: float) -> list[np.ndarray]:
    """A convex polygon [n, 2] cut again and again until its pieces are about ``least`` large."""
    x, y = polygon[:, 0], polygon[:, 1]
    area = 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))
    if area < least * rng.uniform(1.0, 3.5) or len(polygon) < 3:
        return [polygon]
    centre = polygon.mean(0) + rng.normal(size=2) * math.sqrt(area) * 0.08
    # Across the longer side of its box, so that no facet becomes a sliver.
    wide, high = np.ptp(polygon, axis=0)
    turn = (math.pi / 2 if wide > high else 0.0) + rng.normal() * 0.45
    side = (polygon - centre) @ np.array([-math.sin(turn), math.cos(turn)])
    halves: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for i in range(len(polygon)):
        j = (i + 1) % len(polygon)
        halves[int(side[i] > 0)].append(polygon[i])
        if (side[i] > 0) != (side[j] > 0):
            cut = polygon[i] + (polygon[j] - polygon[i]) * side[i] / (side[i] - side[j])
            halves[0].append(cut)
            halves[1].append(cut)
    large = [np.array(half) for half in halves if len(half) > 2]
    return [piece for half in large for piece in _split(half, rng, least)]


GUITAR = ((-1.0, 0.0), (-0.85, -0.55), (-0.4, -0.62), (0.0, -0.38), (0.4, -0.48), (0.72, -0.25),
          (0.78, 0.0), (0.72, 0.25), (0.4, 0.48), (0.0, 0.38), (-0.4, 0.62), (-0.85, 0.55),
          (-1.0, 0.0))  # fmt: skip
BOTTLE = ((-1.0, 0.0), (-1.0, -5.0), (-0.35, -6.2), (-0.35, -8.6), (0.35, -8.6), (0.35, -6.2),
          (1.0, -5.0), (1.0, 0.0))  # fmt: skip


def _still_life(at: Easel) -> None:
    """A guitar and a bottle on a table."""
    mood, rng, w, h = at.mood, at.rng, at.w, at.h
    at.draw.rectangle([0, 0, w * 0.46, h], fill=mood.local(45, -0.2, 0.7))
    table = [(0, h), (w * 0.06, h * 0.62), (w * 0.95, h * 0.55), (w, h)]
    at.draw.polygon(table, fill=mood.local(70, 0.7, 0.8))
    x, b = w * rng.uniform(0.66, 0.8), w * 0.055
    at.draw.polygon(_placed(BOTTLE, x, h * 0.78, b, 0), fill=mood.local(150, -0.9, 1.0))
    label = [x - b, h * 0.78 - 3.6 * b, x + b, h * 0.78 - 1.6 * b]
    at.draw.rectangle(label, fill=mood.ink(1.5, chroma=0.4))
    turn = rng.uniform(-0.7, -0.2)
    place = w * rng.uniform(0.34, 0.46), h * rng.uniform(0.58, 0.7), w * 0.24, turn
    at.draw.polygon(_placed(GUITAR, *place), mood.local(60, 0.2, 1.2), mood.ink(-1.8), 4)
    hole = [(0.1 + 0.2 * math.cos(t), 0.2 * math.sin(t)) for t in np.linspace(0, 6.3, 24)]
    at.draw.polygon(_placed(hole, *place), fill=mood.ink(-1.9, chroma=0.4))
    neck = ((0.6, -0.09), (1.9, -0.07), (1.9, 0.07), (0.6, 0.09))
    at.draw.polygon(_placed(neck, *place), fill=mood.ink(-1.2, chroma=0.6))
    for string in (-0.05, 0.0, 0.05):
        line = _placed(((-0.6, string), (1.9, string)), *place)
        at.draw.line(line, fill=mood.ink(1.5, chroma=0.4), width=2)


def _head(at: Easel) -> None:
    """A face with neck, hair and shoulders, one cheek in shade."""
    mood, ink = at.mood, at.mood.ink(-1.8, chroma=0.4)
    x, y, r = at.w * at.rng.uniform(0.44, 0.56), at.h * 0.42, min(at.w, at.h) * 0.24

    def oval(cx: float, cy: float, wide: float, high: float, fill: RGB) -> None:
        box = [x + r * (cx - wide), y + r * (cy - high), x + r * (cx + wide), y + r * (cy + high)]
        at.draw.ellipse(box, fill=fill)

    bust = ((-2.1, 2.6), (-1.2, 1.75), (-0.4, 1.5), (0.4, 1.5), (1.2, 1.75), (2.1, 2.6))
    at.draw.polygon(_placed(bust, x, y, r, 0), fill=mood.local(250, -0.6, 1.2))
    neck = ((-0.4, 0.9), (0.4, 0.9), (0.5, 2.0), (-0.5, 2.0))
    at.draw.polygon(_placed(neck, x, y, r, 0), fill=mood.local(60, -0.2, 0.9))
    oval(0, -0.3, 1.15, 1.3, mood.local(40, -1.3, 0.8))
    oval(0, 0.07, 0.85, 1.22, mood.local(65, 0.7, 0.9))
    cheek = ((0.0, -1.15), (0.84, 0.0), (0.5, 1.0), (0.0, 1.3))
    at.draw.polygon(_placed(cheek, x, y, r, 0), fill=mood.local(45, -0.2, 1.0))
    for side in (-0.4, 0.4):
        level = -0.15 + at.rng.normal() * 0.08
        oval(side, level, 0.26, 0.14, ink)
        oval(side, level, 0.22, 0.1, mood.ink(1.6, chroma=0.2))
        oval(side, level, 0.09, 0.1, ink)
        brow = ((side - 0.28, level - 0.22), (side, level - 0.34), (side + 0.28, level - 0.22))
        at.draw.line(_placed(brow, x, y, r, 0), ink, width=5)
    nose = ((-0.1, -0.2), (-0.25, 0.45), (0.08, 0.45))
    at.draw.line(_placed(nose, x, y, r, 0), ink, width=5)
    oval(0, 0.78, 0.32, 0.1, mood.local(25, -0.4, 1.5))
