"""Plain English names of colours, as a painter would say them."""

from __future__ import annotations

from functools import cache

import numpy as np

from artsound.encoders.colour import rgb_to_lab

# Typical sRGB values of the names, in Munsell-like steps of lightness for each hue.
COLOURS: dict[str, str] = {
    "black": "#121212", "charcoal": "#33363a", "dark grey": "#4c4c4c", "grey": "#7d7d7d",
    "silver grey": "#aaaaaa", "pale grey": "#d0d0d0", "white": "#f7f7f5",
    "ivory": "#f3ead3", "cream": "#f2dfb4", "beige": "#d6c3a0", "sand": "#c8ad7f",
    "taupe": "#8b7d6b", "stone grey": "#a39b8b",
    "maroon": "#5a1a1a", "crimson": "#a8152e", "red": "#d0231f", "scarlet": "#ea4127",
    "brick red": "#9b3e2d", "rust": "#a85226", "terracotta": "#c4694a", "salmon": "#ee9077",
    "coral": "#f5735a", "pink": "#f0a6b8", "pale pink": "#f3d0d3", "rose": "#cf5f77",
    "dusty rose": "#b98a86", "burgundy": "#6c2036", "magenta": "#c2267d", "wine": "#45222b",
    "umber": "#5d4630", "dark brown": "#3a281c", "brown": "#6f4726", "sienna": "#8c4f2b",
    "chestnut": "#5d3020", "tan": "#bc9366", "ochre": "#c08a35", "dark ochre": "#8a6426",
    "olive brown": "#5b4f2b", "orange": "#ee7f1f", "amber": "#f2a52c", "apricot": "#f4b98a",
    "peach": "#f6cfb0", "gold": "#d7b13d", "yellow": "#f4d92f", "pale yellow": "#f5eb9f",
    "straw": "#dcc97d", "lemon yellow": "#eff04f",
    "olive": "#727032", "moss green": "#5f7038", "dark green": "#1f3d27", "green": "#2f8a3c",
    "leaf green": "#6ba23c", "sage": "#9aa583", "lime green": "#a5cf3b", "pale green": "#bddbb0",
    "emerald": "#12935f", "sea green": "#4a9480", "bottle green": "#1f4a40",
    "grey-green": "#707d6b", "dark olive": "#3a3d22",
    "teal": "#1b7377", "turquoise": "#37b7b4", "pale turquoise": "#b2dedb",
    "sky blue": "#86bde0", "pale blue": "#c3d8e6", "azure": "#3390d6", "blue": "#1f55c4",
    "cobalt blue": "#1c3f99", "navy": "#17213f", "ultramarine": "#2a1fa8",
    "steel blue": "#4a7396", "slate blue": "#5b6b85", "blue-grey": "#8797a3",
    "dark slate": "#2b3742", "prussian blue": "#173a56",
    "violet": "#7a44b5", "lavender": "#b8a8d8", "mauve": "#a37a9c", "purple": "#672a80",
    "lilac": "#d3b6d6", "plum": "#582a4d", "indigo": "#2e2560", "grey-violet": "#7b7088",
}  # fmt: skip


def nearest_names(lab: np.ndarray) -> list[str]:
    """The nearest colour's name for each row of CIELAB [n, 3]."""
    names, table = _table()
    distance = ((lab[:, None, :] - table[None]) ** 2).sum(axis=2)
    return [names[i] for i in distance.argmin(axis=1)]


@cache
def _table() -> tuple[list[str], np.ndarray]:
    rgb = np.array([list(bytes.fromhex(code[1:])) for code in COLOURS.values()], dtype=np.uint8)
    return list(COLOURS), rgb_to_lab(rgb)
