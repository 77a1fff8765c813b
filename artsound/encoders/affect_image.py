"""Measured descriptors of a picture: colour, light, line and composition."""

from __future__ import annotations

import io
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy  # whose parts are imported on first use
from PIL import Image

from artsound.untrusted import read_toml

# Colour as people see it: CIELAB of sRGB.

_LAB_MATRIX = np.array([[0, 500, 0], [116, -500, 200], [0, 0, -200]], dtype=np.float32)
_LAB_OFFSET = np.array([16, 0, 0], dtype=np.float32)


def rgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (D65, 2°) float32 [..., 3] of sRGB uint8 [..., 3] (IEC 61966-2-1, CIE 15)."""
    xyz = _linear()[rgb] @ _xyz_matrix()
    cube = np.where(
        xyz > 216 / 24389, np.cbrt(xyz), xyz * np.float32(841 / 108) + np.float32(4 / 29)
    )
    return cube @ _LAB_MATRIX - _LAB_OFFSET


@cache
def _linear() -> np.ndarray:
    v = np.arange(256) / 255.0
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4).astype(np.float32)


@cache
def _xyz_matrix() -> np.ndarray:
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
         [0.0193339, 0.1191920, 0.9503041]]
    )  # fmt: skip
    return (to_xyz / to_xyz.sum(axis=1, keepdims=True)).T.astype(np.float32)


# Plain English names of colours (colours.toml).


@cache
def colours() -> dict[str, str]:
    """Return the names of colours in order, each with its sRGB value as "#rrggbb".

    Raises:
        ValueError: A value of colours.toml is not such a text.
    """
    path = Path(__file__).with_name("colours.toml")
    found: dict[str, str] = read_toml(path, "table of colours")["colours"]
    for name, code in found.items():
        if not re.fullmatch(r"#[0-9a-f]{6}", code):
            raise ValueError(f"{path}: {name} is {code!r}, not a value such as #7d7d7d")
    return found


def nearest_names(lab: np.ndarray) -> list[str]:
    """The nearest colour's name for each row of CIELAB [n, 3]."""
    names, table = _table()
    distance = ((lab[:, None, :] - table[None]) ** 2).sum(axis=2)
    return [names[i] for i in distance.argmin(axis=1)]


@cache
def _table() -> tuple[list[str], np.ndarray]:
    rgb = np.array([list(bytes.fromhex(code[1:])) for code in colours().values()], dtype=np.uint8)
    return list(colours()), rgb_to_lab(rgb)


MEASURED_SIDE = 256  # pixels; larger pictures are shrunk first, so that all compare

_WARM_HUE = np.deg2rad(50.0)
_GREY_CHROMA = 4.0  # below this C* a pixel has no hue to speak of (JPEG noise makes that much)
_HUE_BINS = 24
_EDGE = 6.0  # L* per pixel
_FINE = 0.125  # cycles per pixel
_COARSE = 0.015  # cycles per pixel: slower changes are the composition, not texture
_DETAIL_BITS = 3.0  # bits per pixel of a picture full of detail
_PALETTE_START = 7
_PALETTE_SIZE = 5
_PALETTE_LEAST = 0.04  # share of the area


def describe_image(rgb: np.ndarray) -> dict[str, Any]:
    """Measure a uint8 [H, W, 3] picture: the fields of schemas/artwork_descriptors.json.

    Colour is measured in CIELAB (D65) and HSV, everything on at most 256 pixels a side:

    - lightness, lightness_spread, contrast: mean, standard deviation and 5–95 % range of L* / 100;
      brightness, saturation: means of V and S of HSV.
    - chroma, redness, yellowness: means of C*, a*, b*, over 100: the coordinates in which Palmer
      et al. (PNAS 2013) and Whiteford et al. (i-Perception 2018) relate colour and music; with
      lightness also the S and B (Munsell chroma and value) of Valdez & Mehrabian (1994).
    - warmth: chroma-weighted mean of cos(h − 50°), the warm–cool axis of Ou, Luo, Woodcock &
      Wright (Color Res. Appl. 29, 2004) and of Gao & Xin (Color Res. Appl. 31, 2006).
    - colourfulness: Hasler & Süsstrunk (SPIE 5007, 2003), over 100.
    - hue_entropy: entropy of the chroma-weighted hue histogram over its maximum (palette variety,
      Machajdik & Hanbury, ACM MM 2010).
    - edge_density: share of pixels where L* changes by over 6 a pixel; horizontal, vertical,
      diagonal: shares of gradient energy within 22.5° of each line direction (the line measures of
      Machajdik & Hanbury; an isotropic picture has ¼, ¼, ½).
    - fineness: share of the Fourier amplitude above 1/8 cycle a pixel. complexity: bits per pixel
      of the picture as a JPEG, over 3 (Forsythe et al., Br. J. Psychol. 102, 2011: file size
      follows judged complexity).
    - symmetry: correlation of lightness with its mirror image. upper_light, centre_light: mean
      lightness of the upper minus the lower half, and of the middle quarter minus the rest.
    - palette, palette_hex, palette_share: up to five colours by area, found by k-means in CIELAB.

    Raises:
        ValueError: Another shape or type.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
        raise ValueError(f"a picture is uint8 [H, W, 3], not {rgb.dtype} {list(rgb.shape)}")
    rgb = _shrink(rgb)
    lab = rgb_to_lab(rgb)
    light = np.ascontiguousarray(lab[..., 0])
    values: dict[str, Any] = {}
    values |= _light(light / 100.0)
    values |= _colour(rgb, lab)
    values |= _line(light)
    values |= _composition(light / 100.0)
    numbers = {name: float(value) for name, value in values.items()}
    return numbers | _palette(rgb, lab)


def _shrink(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    scale = MEASURED_SIDE / max(height, width)
    if scale >= 1.0:
        return rgb
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(rgb).resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(image)


def _light(light: np.ndarray) -> dict[str, Any]:
    flat = light.reshape(-1)
    low, high = np.percentile(flat, (5, 95))
    return {
        "lightness": np.clip(flat.mean(), 0, 1),
        "lightness_spread": flat.std(),
        "contrast": np.clip(high - low, 0, 1),
    }


def _colour(rgb: np.ndarray, lab: np.ndarray) -> dict[str, Any]:
    red, green, blue = np.ascontiguousarray(rgb.reshape(-1, 3).T).astype(np.float32)
    top = np.maximum(np.maximum(red, green), blue)
    bottom = np.minimum(np.minimum(red, green), blue)
    a, b = lab[..., 1].reshape(-1), lab[..., 2].reshape(-1)
    chroma = np.hypot(a, b)
    # C* cos(h - 50°) over C*, less for greys, whose hue is noise.
    warm = a * np.cos(_WARM_HUE) + b * np.sin(_WARM_HUE)
    coloured = np.maximum(chroma - _GREY_CHROMA, 0.0)
    bins = ((np.arctan2(b, a) / (2 * np.pi) + 1.0) * _HUE_BINS).astype(np.int64) % _HUE_BINS
    hues = np.bincount(bins, weights=coloured, minlength=_HUE_BINS)
    hues = hues / max(hues.sum(), 1e-9)
    entropy = -(hues[hues > 0] * np.log(hues[hues > 0])).sum() / np.log(_HUE_BINS)
    return {
        "brightness": top.mean() / 255.0,
        "saturation": ((top - bottom) / np.maximum(top, 1.0)).mean(),
        "chroma": chroma.mean() / 100.0,
        "redness": a.mean() / 100.0,
        "yellowness": b.mean() / 100.0,
        "warmth": warm.sum() / np.maximum(chroma, 2 * _GREY_CHROMA).sum(),
        "colourfulness": _hasler_suesstrunk(red, green, blue),
        "hue_entropy": np.clip(entropy, 0, 1),
    }


def _hasler_suesstrunk(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> float:
    rg, yb = red - green, (red + green) / 2 - blue
    spread = np.hypot(rg.std(), yb.std())
    return float(spread + 0.3 * np.hypot(rg.mean(), yb.mean())) / 100.0


def _line(light: np.ndarray) -> dict[str, Any]:
    # Sobel (1968) on L*, over 8 so that the unit is L* per pixel; wider than a JPEG's ringing.
    dx, dy = scipy.ndimage.sobel(light, axis=1) / 8.0, scipy.ndimage.sobel(light, axis=0) / 8.0
    power = dx * dx + dy * dy
    total = float(power.sum())
    steep = np.tan(np.pi / 8)
    # The gradient is perpendicular to the line.
    horizontal = float((power * (np.abs(dx) <= steep * np.abs(dy))).sum())
    vertical = float((power * (np.abs(dy) < steep * np.abs(dx))).sum())
    if total <= 1e-6 * light.size:
        shares = (0.25, 0.25, 0.5)
    else:
        horizontal, vertical = horizontal / total, vertical / total
        shares = (horizontal, vertical, max(0.0, 1.0 - horizontal - vertical))
    return {
        "edge_density": (power > _EDGE**2).mean(),
        "horizontal": shares[0],
        "vertical": shares[1],
        "diagonal": shares[2],
        "fineness": _fineness(light),
        "complexity": _complexity(light),
    }


def _fineness(light: np.ndarray) -> float:
    height, width = light.shape
    window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
    centred = (light - light.mean()) * window.astype(np.float32)
    amplitude = np.abs(scipy.fft.rfft2(centred))
    frequency = np.hypot(scipy.fft.fftfreq(height)[:, None], scipy.fft.rfftfreq(width)[None])
    texture = amplitude[frequency > _COARSE].sum()
    if texture <= 1e-3 * light.size:
        return 0.0
    return float(amplitude[frequency > _FINE].sum() / texture)


def _complexity(light: np.ndarray) -> float:
    grey = np.clip(light * 2.55, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(grey).save(out, "JPEG", quality=75)
    header = 330  # bytes, tables included
    bits = 8.0 * max(0, len(out.getvalue()) - header) / grey.size
    return min(1.0, bits / _DETAIL_BITS)


def _composition(light: np.ndarray) -> dict[str, Any]:
    height, width = light.shape
    mirrored = light[:, ::-1]
    spread = light.var()
    same = ((light - light.mean()) * (mirrored - light.mean())).mean()
    half = max(1, height // 2)
    top, bottom = light[:half].mean(), light[-half:].mean()
    y, x = height // 4, width // 4
    centre = light[y : height - y, x : width - x]
    rest = light.sum() - centre.sum()
    outside = max(1, light.size - centre.size)
    balance = 0.0 if centre.size == light.size else centre.mean() - rest / outside
    return {
        "symmetry": np.clip(same / spread, -1, 1) if spread > 1e-9 else 1.0,
        "upper_light": np.clip(top - bottom, -1, 1),
        "centre_light": np.clip(balance, -1, 1),
    }


def _palette(rgb: np.ndarray, lab: np.ndarray) -> dict[str, Any]:
    """Colour names, hex codes and area shares; equal names are one colour."""
    step = max(1, round(np.sqrt(lab.shape[0] * lab.shape[1] / 4096)))
    points = lab[::step, ::step].reshape(-1, 3)
    colours = rgb[::step, ::step].reshape(-1, 3)
    centres = _spread_start(points)
    for _ in range(6):
        nearest = _nearest(points, centres)
        counts = np.bincount(nearest, minlength=len(centres))
        sums = [np.bincount(nearest, points[:, i], len(centres)) for i in range(3)]
        filled = counts > 0
        centres[filled] = (np.stack(sums, axis=1)[filled] / counts[filled, None]).astype(np.float32)
    nearest = _nearest(points, centres)
    counts = np.bincount(nearest, minlength=len(centres))
    shares: dict[str, float] = {}
    codes: dict[str, str] = {}
    names = nearest_names(centres)
    for i in np.argsort(-counts, kind="stable"):
        if counts[i] == 0:
            continue
        shares[names[i]] = shares.get(names[i], 0.0) + counts[i] / len(points)
        mean = colours[nearest == i].mean(axis=0).round().astype(int)
        codes.setdefault(names[i], "#" + bytes(mean.tolist()).hex())
    ranked = sorted(shares, key=lambda name: -shares[name])
    kept = [name for name in ranked if shares[name] >= _PALETTE_LEAST][:_PALETTE_SIZE]
    kept = kept or ranked[:1]
    return {
        "palette": kept,
        "palette_hex": [codes[name] for name in kept],
        "palette_share": [float(shares[name]) for name in kept],
    }


def _spread_start(points: np.ndarray) -> np.ndarray:
    """Initial colours: the median, then repeatedly the point farthest from all so far.

    Farthest means the 99th percentile, so that single outliers do not become colours.
    """
    centres = [np.median(points, axis=0)]
    distance = ((points - centres[0]) ** 2).sum(axis=1)
    rank = int(0.99 * (len(points) - 1))
    for _ in range(_PALETTE_START - 1):
        centres.append(points[np.argpartition(distance, rank)[rank]])
        distance = np.minimum(distance, ((points - centres[-1]) ** 2).sum(axis=1))
    return np.stack(centres).astype(np.float32)


def _nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    # |p - c|² without the p² term, which is the same for all centres
    return ((centres**2).sum(axis=1) - 2.0 * points @ centres.T).argmin(axis=1)
