"""The `affect` bridge: measured descriptors of both sides on shared axes of emotion.

An axis is a weighted sum of standardised descriptors on either side. affect.toml gives the weights
and the literature that they come from; a recipe's own file may add to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artsound.encoders.base import Needs
from artsound.encoders.descriptors import descriptor_names
from artsound.errors import BadUsage
from artsound.pairing.bridge import BridgeContext, Rows
from artsound.plugins import refuse_argument
from artsound.recipe import Recipe
from artsound.storage import digest
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
    sides = [_axis_weights(path, name, side, table.get(side, {})) for side in ("artwork", "track")]
    if weight and not all(any(weights.values()) for weights in sides):
        raise _invalid(path, name, "must give `artwork` and `track` descriptors and their weights")
    return Axis(name, float(weight), sides[0], sides[1], sources)


def _axis_weights(path: Path, axis: str, side: str, table: Any) -> dict[str, float]:
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


_CUT = 3.0  # standard deviations at which a descriptor is clipped
_KNOTS = 257  # of a fitted distribution
_MAIN = 2  # arousal and valence, first of the axes


class Affect:
    """Measured colour, composition and sound on shared axes of emotion; needs no weights."""

    name = "affect"
    version = "1"

    def needs(self, recipe: Recipe, argument: str) -> Needs:  # noqa: ARG002
        """Only the descriptors, which are always measured."""
        refuse_argument("bridge", self.name, argument)
        return Needs()

    def inputs(self, build: BridgeContext) -> Any:
        """The digest of the axes if the recipe has its own; else ""."""
        own = build.recipe.pair.affect_axes
        return digest([asdict(axis) for axis in load_axes(own)]) if own else ""

    def rows(self, build: BridgeContext) -> Rows:
        """The rows of `fit_affect` over the whole catalogue."""
        artwork_ids, artworks = build.descriptors("artworks")
        track_ids, tracks = build.descriptors("tracks")
        axes = load_axes(build.recipe.pair.affect_axes)
        fitted = fit_affect(artworks, tracks, axes)
        return artwork_ids, fitted.artworks(artworks), track_ids, fitted.tracks(tracks)


@dataclass(frozen=True)
class FittedSide:
    """Maps one side's D descriptors to places (0..1) on the axes.

    Attributes:
        centre: Subtracted from each descriptor.
        scale: Divides each descriptor.
        mix: [D][axes], the weights of the standardised descriptors.
        knots: For each axis, values and the share of the corpus below them.
    """

    centre: tuple[float, ...]
    scale: tuple[float, ...]
    mix: tuple[tuple[float, ...], ...]
    knots: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]


@dataclass(frozen=True)
class AffectBridge:
    """A fitted affect bridge; applies to new items as well. `weights` of the axes sum to 1."""

    artwork_side: FittedSide
    track_side: FittedSide
    weights: tuple[float, ...]

    def artworks(self, descriptors: np.ndarray) -> np.ndarray:
        """Unit rows float32 [n, 2 × axes] for artworks' numeric descriptors [n, 20]."""
        return _on_circles(self.artwork_places(descriptors), self.weights)

    def tracks(self, descriptors: np.ndarray) -> np.ndarray:
        """Unit rows float32 [n, 2 × axes] for tracks' numeric descriptors [n, 18]."""
        return _on_circles(self.track_places(descriptors), self.weights)

    def artwork_places(self, descriptors: np.ndarray) -> np.ndarray:
        """The share of the corpus below each artwork on each axis: [n, axes]."""
        return _places(descriptors, self.artwork_side)

    def track_places(self, descriptors: np.ndarray) -> np.ndarray:
        """The share of the corpus below each track on each axis: [n, axes]."""
        return _places(descriptors, self.track_side)


def fit_affect(
    artworks: np.ndarray, tracks: np.ndarray, axes: Sequence[Axis] = AXES
) -> AffectBridge:
    """Fit the affect bridge to a corpus.

    Descriptors are standardised over their own corpus (the published equations are for
    standardised variables) and clipped at ±3; an axis is their weighted sum. Arousal and valence,
    which explain most of the matches that people make (Whiteford et al. 2018), are then made
    uncorrelated, as in the circumplex model (Russell, J. Pers. Soc. Psychol. 39, 1980), with the
    least possible change to both. The other axes become the residuals of a regression on these
    two: otherwise a property of the corpus, such as loud clips with little dynamics, would
    contradict its arousal. Last, every axis is replaced by its rank within the side, so that both
    sides fill it evenly, whatever the units and skew of the measurements.

    A place u on an axis of weight w becomes √w (cos πu, sin πu), so that a row has length one
    and the score of two items is Σ w cos π(u − v) over Σ w: 1 for the same place on every axis,
    less for each axis on which they differ, −1 for opposite ends of all. Beyond the first two, w
    is the axis's weight times the share of its deviation that is left on each side.

    Args:
        artworks: Numeric descriptors [nA, 20], nA ≥ 1.
        tracks: Numeric descriptors [nT, 18], nT ≥ 1.
        axes: By default those of affect.toml.

    Raises:
        ValueError: Another width, no rows, or values that are not finite.
    """
    artwork_side, artwork_share = _fit_side(artworks, _weights("artwork", axes))
    track_side, track_share = _fit_side(tracks, _weights("track", axes))
    weights = np.array([axis.weight for axis in axes]) * artwork_share * track_share
    return AffectBridge(artwork_side, track_side, tuple((weights / weights.sum()).tolist()))


def _weights(side: str, axes: Sequence[Axis]) -> np.ndarray:
    """float64 [descriptors, axes]."""
    names = descriptor_names(side)
    table = np.zeros((len(names), len(axes)))
    for column, axis in enumerate(axes):
        for name, weight in getattr(axis, side).items():
            table[names.index(name), column] = weight
    return table


def _fit_side(descriptors: np.ndarray, weights: np.ndarray) -> tuple[FittedSide, np.ndarray]:
    """The side, and the share of each axis's deviation left after decorrelation: [axes]."""
    descriptors = _checked(descriptors, len(weights))
    low, centre, high = np.percentile(descriptors, (5, 50, 95), axis=0)
    scale = (high - low) / 3.29  # the 5–95 % range of a normal distribution, in its deviations
    standard = _standardised(descriptors, centre, scale)
    mixed = standard @ weights
    mix = weights @ _decorrelation(mixed)
    values = standard @ mix
    share = np.ones(weights.shape[1])
    own, whole = values.std(axis=0), mixed.std(axis=0)
    share[_MAIN:] = (np.minimum(own, whole) / np.maximum(whole, 1e-9))[_MAIN:]
    side = FittedSide(
        tuple(centre.tolist()),
        tuple(scale.tolist()),
        tuple(tuple(row) for row in mix.tolist()),
        tuple(_distribution(column) for column in values.T),
    )
    return side, share


def _decorrelation(values: np.ndarray) -> np.ndarray:
    """The matrix [axes, axes] that whitens the first two columns of [n, axes].

    The whitening is the symmetric one (ZCA), which changes its input least (Kessy, Lewin &
    Strimmer, Am. Stat. 72, 2018); the other columns become the residuals of a regression.
    """
    centred = values - values.mean(axis=0)
    covariance = centred.T @ centred / len(values)
    power, direction = np.linalg.eigh(covariance[:_MAIN, :_MAIN])
    # Axes that nearly coincide are not separated: their difference is noise.
    gain = 1.0 / np.sqrt(np.maximum(power, max(0.05 * power[-1], 1e-9)))
    matrix = np.eye(values.shape[1])
    matrix[:_MAIN, :_MAIN] = direction * gain @ direction.T
    matrix[:_MAIN, _MAIN:] = (
        -np.linalg.pinv(covariance[:_MAIN, :_MAIN], rcond=0.01) @ (covariance[:_MAIN, _MAIN:])
    )
    return matrix


def _distribution(values: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Distinct values in ascending order, and the share of all values below each (ties halved)."""
    distinct, counts = np.unique(values, return_counts=True)
    below = (np.cumsum(counts) - counts / 2) / len(values)
    if len(distinct) > _KNOTS:
        kept = np.unique(np.searchsorted(below, np.linspace(below[0], below[-1], _KNOTS)))
        distinct, below = distinct[kept], below[kept]
    return tuple(distinct.tolist()), tuple(below.tolist())


def _places(descriptors: np.ndarray, side: FittedSide) -> np.ndarray:
    descriptors = _checked(descriptors, len(side.centre))
    standard = _standardised(descriptors, np.array(side.centre), np.array(side.scale))
    values = standard @ np.array(side.mix)
    columns: Sequence[np.ndarray] = [
        np.interp(column, *knots) for column, knots in zip(values.T, side.knots, strict=True)
    ]
    return np.stack(columns, axis=1)


def _standardised(descriptors: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    # A descriptor that hardly varies carries no information: its noise must not be amplified.
    varies = scale > 1e-6 * np.maximum(np.abs(centre), 1.0)
    spread = np.where(varies, scale, np.inf)
    return np.clip((descriptors - centre) / spread, -_CUT, _CUT)


def _on_circles(places: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    angles, length = np.pi * places, np.sqrt(weights)
    rows = np.concatenate([np.cos(angles) * length, np.sin(angles) * length], axis=1)
    return rows.astype(np.float32)


def _checked(descriptors: np.ndarray, width: int) -> np.ndarray:
    if descriptors.ndim != 2 or descriptors.shape[1] != width or not len(descriptors):
        raise ValueError(f"descriptors are [n, {width}], not {list(descriptors.shape)}")
    descriptors = np.asarray(descriptors, dtype=np.float64)
    if not np.isfinite(descriptors).all():
        raise ValueError("descriptors must be finite")
    return descriptors
