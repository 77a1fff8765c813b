"""The axes on which pictures and music meet: affect.toml, and what a recipe's own file adds.

An axis is a weighted sum of standardised descriptors on either side; affect.toml gives the weights
and the literature that they come from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artsound.encoders.descriptors import descriptor_names
from artsound.errors import BadUsage
from artsound.untrusted import nearest, read_toml

_KEYS = ("weight", "artwork", "track", "sources")


@dataclass(frozen=True)
class Axis:
    """One shared dimension: its weight in the score, and the weights of the descriptors."""

    name: str
    weight: float
    artwork: Mapping[str, float]
    track: Mapping[str, float]
    sources: str


def load_axes(path: str = "") -> tuple[Axis, ...]:
    """Load the bundled axes, with what the TOML file `path` (if any) adds, replaces or removes.

    Arousal and valence stay the first two: the affect bridge makes them uncorrelated, and the
    others independent of both.

    Args:
        path: A file in the form of affect.toml; empty: the bundled axes alone.

    Returns:
        The axes, in the order of affect.toml, then of the file.

    Raises:
        BadUsage: The file is missing or invalid, or removes arousal or valence.
    """
    axes = _read(Path(__file__).with_suffix(".toml"))
    if path:
        axes |= _read(Path(path))
        for name in ("arousal", "valence"):
            if not axes[name].weight:
                raise BadUsage(
                    f"In the affect axes {path}, {name} has weight 0: give it a weight above 0."
                )
    return tuple(axis for axis in axes.values() if axis.weight)


def _read(path: Path) -> dict[str, Axis]:
    values = read_toml(path, "file of affect axes")
    return {name: _axis(path, name, table) for name, table in values.items()}


def _axis(path: Path, name: str, table: object) -> Axis:
    if not isinstance(table, dict):
        raise _invalid(path, name, "is not a table")
    if unknown := sorted(set(table) - set(_KEYS)):
        raise _invalid(path, f"{name}.{unknown[0]}", f"is unknown{nearest(unknown[0], _KEYS)}")
    weight: Any = table.get("weight")
    if not _is_number(weight) or weight < 0:
        raise _invalid(path, f"{name}.weight", "must be a number, 0 or more")
    sources = table.get("sources", "")
    if not isinstance(sources, str):
        raise _invalid(path, f"{name}.sources", "must be a text")
    sides = [_weights(path, name, side, table.get(side, {})) for side in ("artwork", "track")]
    if weight and not all(any(weights.values()) for weights in sides):
        raise _invalid(path, name, "must give `artwork` and `track` descriptors and their weights")
    return Axis(name, float(weight), sides[0], sides[1], sources)


def _weights(path: Path, axis: str, side: str, table: Any) -> dict[str, float]:
    if not isinstance(table, dict):
        raise _invalid(path, f"{axis}.{side}", "is not a table")
    known = descriptor_names(side)
    for name, weight in table.items():
        if name not in known:
            hint = nearest(name, known) or f": choose from {', '.join(known)}"
            raise _invalid(path, f"{axis}.{side}.{name}", f"is no descriptor{hint}")
        if not _is_number(weight):
            raise _invalid(path, f"{axis}.{side}.{name}", "must be a number")
    return {name: float(weight) for name, weight in table.items()}


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and abs(value) <= 1e6


def _invalid(path: Path, key: str, fault: str) -> BadUsage:
    return BadUsage(f"In the affect axes {path}, {key} {fault}. See artsound/pairing/affect.toml.")


AXES = load_axes()
