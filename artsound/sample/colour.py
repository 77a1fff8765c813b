"""CIELAB colour for the painters, and the mood that decides every palette."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
RGB = tuple[int, int, int]

# sRGB (D65) to XYZ scaled by the white point, IEC 61966-2-1.
TO_XYZ = np.array(
    [[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0178, 0.1095, 0.8728]],
    dtype=np.float32,
)
FROM_XYZ = np.linalg.inv(TO_XYZ).astype(np.float32)
_SRGB = np.arange(256) / 255.0
LINEAR = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4)
LINEAR = LINEAR.astype(np.float32)
_STEPS = np.arange(8193) / 8192.0
ENCODED = np.where(_STEPS <= 0.0031308, _STEPS * 12.92, 1.055 * _STEPS ** (1 / 2.4) - 0.055)
ENCODED = np.round(ENCODED * 255).astype(np.uint8)


def painter_lab(rgb: NDArray[np.uint8]) -> Floats:
    """CIELAB [..., 3] (L* 0..100, a*, b*) of sRGB bytes [..., 3]."""
    xyz = LINEAR[rgb] @ TO_XYZ.T
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def lab_to_rgb(lab: Floats) -> NDArray[np.uint8]:
    """sRGB bytes [..., 3] of CIELAB [..., 3]; colours out of gamut are clipped per channel."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 0.206893, f**3, (f - 16 / 116) / 7.787)
    linear = (xyz @ FROM_XYZ.T).clip(0, 1)
    return ENCODED[(linear * 8192 + 0.5).astype(np.int32)]


def lch(light: float, chroma: float, hue: float) -> RGB:
    """The sRGB colour of L* 0..100, C* and hue in degrees; less chroma where out of gamut."""
    light = min(max(light, 0.0), 100.0)
    a, b = math.cos(math.radians(hue)), math.sin(math.radians(hue))
    tries = max(chroma, 0.0) * np.linspace(1.0, 0.0, 12)
    y = (light + 16) / 116
    f = np.stack([y + a * tries / 500, np.full(12, y), y - b * tries / 200], axis=-1)
    xyz = np.where(f > 0.206893, f**3, (f - 16 / 116) / 7.787)
    linear = xyz @ FROM_XYZ.T
    inside = ((linear > -0.002) & (linear < 1.002)).all(axis=1)
    best = linear[int(inside.argmax())] if inside.any() else linear[-1]
    red, green, blue = ENCODED[(best.clip(0, 1) * 8192 + 0.5).astype(np.int32)]
    return int(red), int(green), int(blue)


@dataclass(frozen=True, slots=True)
class Mood:
    """A point of the affect plane, and what it means for paint.

    Valence is carried by lightness and yellowness, arousal by saturation, redness, contrast and
    the number and unrest of edges (Valdez & Mehrabian 1994; Palmer et al. 2013; Whiteford et al.
    2018; Wilms & Oberfeld 2018).
    """

    valence: float
    arousal: float

    @property
    def unrest(self) -> float:
        """0 for utter calm to 1 for frenzy: drives how many edges there are, and how wild."""
        return (self.arousal + 1) / 2

    @property
    def lightness(self) -> float:
        """The mean L* aimed at, about 24 to 78."""
        return 51 + 25 * self.valence + 2 * self.arousal

    @property
    def chroma(self) -> float:
        """The mean C* aimed at, about 8 to 48."""
        return 28 + 5 * self.valence + 15 * self.arousal

    @property
    def contrast(self) -> float:
        """How far L* swings around its mean, in L* units."""
        return 21 + 11 * self.arousal

    @property
    def hue(self) -> float:
        """The ruling hue in degrees of CIELAB, one turn around the plane.

        Gold where bright and wild, red where dark and wild, blue where dark and calm, green
        where bright and calm.
        """
        turn = math.degrees(math.atan2(self.arousal, self.valence)) % 360
        return float(
            np.interp(turn, [0, 45, 135, 225, 315, 360], [108, 72, 27, -82, -222, -252]) % 360
        )

    def _at(self, light: float) -> float:
        """L* of ``light`` swings of contrast from the mean, eased so that colour survives."""
        level = self.lightness + light * self.contrast
        if level > 78:
            return 78 + 17 * (1 - math.exp((78 - level) / 17))
        if level < 20:
            return 20 - 15 * (1 - math.exp((level - 20) / 15))
        return level

    def ink(self, light: float = 0.0, hue: float = 0.0, chroma: float = 1.0) -> RGB:
        """A colour of this mood: ``light`` in swings of contrast, ``hue`` in degrees off."""
        return lch(self._at(light), self.chroma * 1.15 * chroma, self.hue + hue)

    def local(self, natural: float, light: float = 0.0, chroma: float = 1.0) -> RGB:
        """The colour of a thing whose own hue is ``natural`` degrees, seen in this mood."""
        own, ruling = math.radians(natural), math.radians(self.hue)
        a = 0.62 * math.cos(own) + 0.38 * math.cos(ruling)
        b = 0.62 * math.sin(own) + 0.38 * math.sin(ruling)
        return lch(self._at(light), self.chroma * 1.15 * chroma, math.degrees(math.atan2(b, a)))


def grade(image: Image.Image, mood: Mood, *, strength: float, chroma: float = 1.0) -> Image.Image:
    """The picture pulled part of the way (``strength`` 0..1) to the mood's light and colour.

    Lightness moves along a gamma curve, which keeps black and white; chroma is scaled, and the
    cast of the whole leans a little to the ruling hue. ``chroma`` < 1 is for quiet manners.
    """
    lab = painter_lab(np.asarray(image))
    light = (lab[..., 0] / 100).clip(0.0, 1.0)
    thumb = light[::6, ::6]
    now = float(thumb.mean())
    aim = now + strength * (mood.lightness / 100 - now)
    low, high = 0.25, 4.0
    for _ in range(14):
        gamma = math.sqrt(low * high)
        low, high = (gamma, high) if float((thumb**gamma).mean()) > aim else (low, gamma)
    lab[..., 0] = 100 * light**gamma
    swing = float(np.hypot(lab[::6, ::6, 1], lab[::6, ::6, 2]).mean())
    wanted = mood.chroma * chroma
    scale = min(max((swing + strength * (wanted - swing)) / max(swing, 1.0), 0.2), 2.5)
    lean = 0.22 * strength * wanted
    lab[..., 1] = lab[..., 1] * scale + lean * math.cos(math.radians(mood.hue))
    lab[..., 2] = lab[..., 2] * scale + lean * math.sin(math.radians(mood.hue))
    return Image.fromarray(lab_to_rgb(lab))
