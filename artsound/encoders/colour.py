"""Colour as people see it: CIELAB of sRGB."""

from __future__ import annotations

from functools import cache

import numpy as np

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
