"""The `fusion` bridge: several bridges' scores in one, each on the scale of its own deviation."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from artsound import plugins
from artsound.encoders.base import Needs
from artsound.errors import BadData, BadUsage
from artsound.pairing.bridge import BridgeContext, Rows, inputs_in, measured_again_in, rows_in
from artsound.pairing.calibrate import Calibration, calibrate, files_of
from artsound.pairing.rows import deviation
from artsound.recipe import Recipe
from artsound.storage import sha256_file

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
        """What its bridges depend on, and the digest of the judgements that weigh them."""
        found = {name: inputs_in(build.of(name)) for name in fused(build.argument)}
        if path := build.recipe.pair.calibrate:
            for file in files_of(path):
                found[f"pair.calibrate {file.name}"] = sha256_file(file)
        return found

    def saved(self, build: BridgeContext) -> dict[str, Any]:
        """The weights fitted to judgements, for fits.json; empty without `pair.calibrate`."""
        fitted = _parts(build)[3] if build.recipe.pair.calibrate else None
        return fitted.to_json() if fitted else {}

    def rows(self, build: BridgeContext) -> Rows:
        """The rows of `fused_rows`; BadData where one bridge has no row for an item of another."""
        artworks, tracks, sides, fitted = _parts(build)
        weights = fitted.weights if fitted else fused(build.argument)
        a, t = fused_rows(sides, list(weights.values()))
        return artworks, a, tracks, t

    def measured_again(self, build: BridgeContext, seed: int) -> Rows | None:
        """The rows with those of its bridges that know their errors measured again; None without.

        The weights stay; the other bridges have no errors.
        """
        artworks, tracks, sides, fitted = _parts(build)
        parts = fused(build.argument)
        again = [measured_again_in(build.of(name), seed) for name in parts]
        if not any(again):
            return None
        moved = [
            (_in_order(name, artworks, *one[:2]), _in_order(name, tracks, *one[2:])) if one else old
            for name, one, old in zip(parts, again, sides, strict=True)
        ]
        a, t = fused_rows(moved, list((fitted.weights if fitted else parts).values()))
        return artworks, a, tracks, t


_Sides = list[tuple[np.ndarray, np.ndarray]]


def _parts(build: BridgeContext) -> tuple[list[str], list[str], _Sides, Calibration | None]:
    """Ids of artworks and of tracks, the rows of each bridge in their order, fitted weights."""
    parts = fused(build.argument)
    rows = [rows_in(build.of(name)) for name in parts]
    artworks, _, tracks, _ = rows[0]
    sides = [
        (_in_order(name, artworks, *one[:2]), _in_order(name, tracks, *one[2:]))
        for name, one in zip(parts, rows, strict=True)
    ]
    fitted = None
    if path := build.recipe.pair.calibrate:
        spreads = [deviation(*both) for both in sides]
        fitted = calibrate(path, parts, sides, spreads, artworks, tracks)
    return artworks, tracks, sides, fitted


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
