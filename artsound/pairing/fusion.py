"""The `fusion` bridge: several bridges' scores in one, each on the scale of its own deviation."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from artsound import plugins
from artsound.encoders.base import Needs
from artsound.errors import BadData, BadUsage
from artsound.pairing.bridge import BridgeContext, Rows, inputs_in, rows_in
from artsound.pairing.rows import deviation
from artsound.recipe import Recipe

_PART = re.compile(r"(?:(?P<weight>\d+(?:\.\d+)?)\*)?(?P<name>[^*+\s]+)")


class Fusion:
    """A weighted sum of other bridges' standardised scores: fusion:affect+2*cca."""

    name = "fusion"
    version = "1"

    def needs(self, recipe: Recipe, argument: str) -> Needs:
        """All that its bridges need."""
        parts = [
            plugins.get("bridge", name)[0].needs(recipe, plugins.find("bridge", name)[1])
            for name in fused(argument)
        ]

        def union(field: str) -> tuple[str, ...]:
            return tuple(dict.fromkeys(name for part in parts for name in getattr(part, field)))

        return Needs(
            union("artworks"),
            union("tracks"),
            union("texts"),
            any(part.captions for part in parts),
            next((part.extra for part in parts if part.extra), ""),
        )

    def parts(self, argument: str) -> list[str]:
        """The names of its bridges."""
        return list(fused(argument))

    def inputs(self, build: BridgeContext) -> Any:
        """What its bridges depend on."""
        return {name: inputs_in(build.of(name)) for name in fused(build.argument)}

    def rows(self, build: BridgeContext) -> Rows:
        """The rows of `fused_rows`; BadData where one bridge has no row for an item of another."""
        parts = fused(build.argument)
        rows = [rows_in(build.of(name)) for name in parts]
        artworks, _, tracks, _ = rows[0]
        sides = [
            (_in_order(name, artworks, *one[:2]), _in_order(name, tracks, *one[2:]))
            for name, one in zip(parts, rows, strict=True)
        ]
        a, t = fused_rows(sides, list(parts.values()))
        return artworks, a, tracks, t


def fused(argument: str) -> dict[str, float]:
    """The bridges of an argument such as `affect+2*cca`, and their weights (1 where none is given).

    Raises BadUsage for anything else, for a weight of 0, and for an unknown bridge.
    """
    parts: dict[str, float] = {}
    for text in argument.split("+"):
        found = _PART.fullmatch(text)
        weight = float(found["weight"] or 1) if found else 0.0
        if not found or not weight or found["name"] in parts:
            raise BadUsage(
                f"fusion:{argument} is not a sum of bridges: write, for example, "
                "fusion:affect+2*cca, with each bridge once and weights above 0."
            )
        if plugins.find("bridge", found["name"])[0].name == Fusion.name:
            raise BadUsage("The bridge fusion cannot be part of a fusion: name its parts instead.")
        parts[found["name"]] = weight
    return parts


def fused_rows(
    sides: list[tuple[np.ndarray, np.ndarray]], weights: list[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as unit rows float32, whose score is a weighted sum of standardised scores.

    Args:
        sides: Unit rows [nA, D] and [nT, D] of each bridge.
        weights: Of each bridge, above 0. Its scores are divided by their deviation over all pairs;
            one whose scores do not vary adds nothing.
    """
    spreads = [deviation(*both) for both in sides]
    shares = np.array([w / s if s > 1e-6 else 0.0 for w, s in zip(weights, spreads, strict=True)])
    if not shares.any():
        shares[:] = 1.0
    parts = np.sqrt(shares / shares.sum()).astype(np.float32)
    a, t = (
        np.concatenate([both[side] * part for both, part in zip(sides, parts, strict=True)], axis=1)
        for side in (0, 1)
    )
    return a, t


def _in_order(name: str, wanted: list[str], ids: list[str], rows: np.ndarray) -> np.ndarray:
    place = {item: n for n, item in enumerate(ids)}
    if missing := [item for item in wanted if item not in place]:
        raise BadData(f"The bridge {name} has no row for {missing[0]} ({len(missing)} in all).")
    found: np.ndarray = rows[[place[item] for item in wanted]]
    return found
