"""The `affect` bridge: measured descriptors of both sides on shared axes of emotion.

An axis is a weighted sum of standardised descriptors on either side. affect.toml gives the weights
and the literature that they come from; a recipe's own file may add to it. What is fitted to the
train split is saved with a release, in fits.json, and applies to any later item.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from artsound.catalogue import SIDES
from artsound.encoders.base import Needs
from artsound.encoders.descriptors import descriptor_names, retest_errors
from artsound.errors import BadData, BadUsage
from artsound.pairing.bridge import BridgeContext, Rows
from artsound.pairing.previous_release import FITS, read_fits, release_folder
from artsound.plugins import refuse_argument
from artsound.recipe import Recipe
from artsound.storage import digest, sha256_file
from artsound.untrusted import nearest, read_toml

_KEYS = ("weight", "within", "artwork", "track", "sources")
_WITHIN = ("", "style")


@dataclass(frozen=True)
class Axis:
    """One shared dimension.

    Attributes:
        name: As in the file.
        weight: In the score of a pair.
        artwork: The weights of an artwork's descriptors.
        track: The weights of a track's descriptors.
        sources: The literature.
        within: "style": artworks are placed among those of their own style; "": among all.
    """

    name: str
    weight: float
    artwork: Mapping[str, float]
    track: Mapping[str, float]
    sources: str
    within: str = ""


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
    within = table.get("within", "")
    if within not in _WITHIN:
        raise _invalid(path, f"{name}.within", 'must be "style" or ""')
    sides = [_axis_weights(path, name, side, table.get(side, {})) for side in ("artwork", "track")]
    if weight and not all(any(weights.values()) for weights in sides):
        raise _invalid(path, name, "must give `artwork` and `track` descriptors and their weights")
    return Axis(name, float(weight), sides[0], sides[1], sources, within)


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
_STYLE_KNOTS = 33  # of that of a style
_MAIN = 2  # arousal and valence, first of the axes
_PRIOR = 5.0  # artworks of any style that a style's own distribution is mixed with
_FORMAT = 1  # of a fit in fits.json


class Affect:
    """Measured colour, composition and sound on shared axes of emotion; needs no weights."""

    name = "affect"
    version = "2"

    def needs(self, recipe: Recipe, argument: str) -> Needs:  # noqa: ARG002
        """Only the descriptors, which are always measured."""
        refuse_argument("bridge", self.name, argument)
        return Needs()

    def inputs(self, build: BridgeContext) -> Any:
        """The digests of the recipe's own axes, if any, and of what the bridge is fitted to."""
        own = build.recipe.pair.affect_axes
        axes = digest([asdict(axis) for axis in load_axes(own)]) if own else ""
        if path := _earlier_fit(build):
            return [axes, sha256_file(path)]
        styles = build.catalogue_column("artworks", "style")
        train = [build.train_ids(side) for side in SIDES]
        return [axes, digest([*map(sorted, train), [styles.get(name) for name in train[0]]])]

    def dimensions(self, build: BridgeContext) -> list[str]:
        """The axis of each column of `rows`: each axis has a cosine and a sine."""
        return [axis.name for axis in load_axes(build.recipe.pair.affect_axes)] * 2

    def rows(self, build: BridgeContext) -> Rows:
        """The rows of the fitted bridge for the whole catalogue."""
        artwork_ids, artworks = build.descriptors("artworks")
        track_ids, tracks = build.descriptors("tracks")
        fitted = self.fitted(build)
        styles = _styles(build, artwork_ids)
        return artwork_ids, fitted.artworks(artworks, styles), track_ids, fitted.tracks(tracks)

    def measured_again(self, build: BridgeContext, seed: int) -> Rows:
        """The rows of descriptors that differ by a random error of the size of retest.toml."""
        fitted, draw = self.fitted(build), np.random.default_rng(seed)

        def again(values: np.ndarray, side: FittedSide, record: str) -> np.ndarray:
            error = np.array(side.scale) * retest_errors(record)
            moved: np.ndarray = values + error * draw.standard_normal(values.shape)
            return moved

        artwork_ids, artworks = build.descriptors("artworks")
        track_ids, tracks = build.descriptors("tracks")
        artworks = again(artworks, fitted.artwork_side, "artwork")
        tracks = again(tracks, fitted.track_side, "track")
        styles = _styles(build, artwork_ids)
        return artwork_ids, fitted.artworks(artworks, styles), track_ids, fitted.tracks(tracks)

    def saved(self, build: BridgeContext) -> dict[str, Any]:
        """The fit, for fits.json in pairs/ and in the release; `read_fit` reads it."""
        return self.fitted(build).to_json()

    def fitted(self, build: BridgeContext) -> AffectBridge:
        """The fit that the recipe names or the previous release has; else one to the train split.

        A side with no item in train is fitted to all its items.
        """
        axes = load_axes(build.recipe.pair.affect_axes)
        if path := _earlier_fit(build):
            found = read_fit(path)
            if found.axes != tuple(axis.name for axis in axes):
                raise BadUsage(
                    f"{path} has the axes {', '.join(found.axes)}, not those of the recipe: "
                    "change pair.affect_axes or leave out pair.affect_fit."
                )
            return found
        (artwork_ids, artworks), (track_ids, tracks) = map(build.descriptors, SIDES)
        pictures = _chosen(artwork_ids, build.train_ids("artworks"))
        clips = _chosen(track_ids, build.train_ids("tracks"))
        styles = _styles(build, artwork_ids)
        return fit_affect(artworks[pictures], tracks[clips], axes, [styles[n] for n in pictures])


def _earlier_fit(build: BridgeContext) -> Path | None:
    """The fits.json that the recipe names; else that of the previous release, if it has one."""
    if build.recipe.pair.affect_fit:
        return Path(build.recipe.pair.affect_fit)
    if not build.recipe.sources.base:
        return None
    path = release_folder(build.workspace, build.recipe.sources.base) / FITS
    return path if path.is_file() and Affect.name in read_fits(path) else None


def _styles(build: BridgeContext, artwork_ids: Sequence[str]) -> list[str]:
    styles = build.catalogue_column("artworks", "style")
    return [styles.get(name) or "" for name in artwork_ids]


def _chosen(ids: Sequence[str], some: Collection[str]) -> list[int]:
    """The positions of `some` ids; all if there is none."""
    wanted = frozenset(some)
    return [n for n, name in enumerate(ids) if name in wanted] or list(range(len(ids)))


Knots = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class FittedSide:
    """Maps one side's D descriptors to places (0..1) on the axes.

    Attributes:
        centre: Subtracted from each descriptor.
        scale: Divides each descriptor.
        mix: [D][axes], the weights of the standardised descriptors.
        knots: For each axis, values and the share of the corpus below them.
        styles: The number of items of each style, and for each axis that places items within
            their style, values and the share of that style below them.
        even: For these axes, mixed places and the share of the corpus below them.
    """

    centre: tuple[float, ...]
    scale: tuple[float, ...]
    mix: tuple[tuple[float, ...], ...]
    knots: tuple[Knots, ...]
    styles: Mapping[str, tuple[int, Mapping[int, Knots]]] = field(default_factory=dict)
    even: Mapping[int, Knots] = field(default_factory=dict)


@dataclass(frozen=True)
class AffectBridge:
    """A fitted affect bridge; applies to new items as well. `weights` of the axes sum to 1."""

    artwork_side: FittedSide
    track_side: FittedSide
    weights: tuple[float, ...]
    axes: tuple[str, ...]

    def artworks(self, descriptors: np.ndarray, styles: Sequence[str] = ()) -> np.ndarray:
        """Unit rows float32 [n, 2 × axes] for artworks' numeric descriptors [n, 20].

        `styles`: of each artwork, "" for unknown; empty: unknown for all.
        """
        return _on_circles(self.artwork_places(descriptors, styles), self.weights)

    def tracks(self, descriptors: np.ndarray) -> np.ndarray:
        """Unit rows float32 [n, 2 × axes] for tracks' numeric descriptors [n, 20]."""
        return _on_circles(self.track_places(descriptors), self.weights)

    def artwork_places(self, descriptors: np.ndarray, styles: Sequence[str] = ()) -> np.ndarray:
        """The share of the corpus, or of its style, below each artwork on each axis: [n, axes]."""
        return _places(descriptors, self.artwork_side, styles)

    def track_places(self, descriptors: np.ndarray) -> np.ndarray:
        """The share of the corpus below each track on each axis: [n, axes]."""
        return _places(descriptors, self.track_side, ())

    def to_json(self) -> dict[str, Any]:
        """The fit as JSON values, with the names of descriptors and axes; `read_fit` reads it."""
        return {
            "format": _FORMAT,
            "bridge": f"{Affect.name} {Affect.version}",
            "axes": list(self.axes),
            "weights": list(self.weights),
            "artwork": {"descriptors": descriptor_names("artwork"), **asdict(self.artwork_side)},
            "track": {"descriptors": descriptor_names("track"), **asdict(self.track_side)},
        }


def read_fit(path: str | Path) -> AffectBridge:
    """Read the fitted affect bridge of a release from its fits.json.

    Raises:
        BadUsage: There is no such file.
        BadData: It is not a fit, or one of other descriptors.
    """
    if not Path(path).is_file():
        raise BadUsage(f"There is no affect fit {path}: give the {FITS} of a release.")
    return fit_of(read_fits(Path(path)), str(path))


def fit_of(fits: Mapping[str, Any], path: str) -> AffectBridge:
    """The fitted affect bridge in the content of a fits.json, read at `path`; raises BadData."""
    try:
        value = fits[Affect.name]
        if (value["format"], value["bridge"]) != (_FORMAT, f"{Affect.name} {Affect.version}"):
            raise BadData(
                f"{path} is a fit of {value['bridge']}, not {Affect.name} {Affect.version}: "
                "fit the bridge again, without pair.affect_fit."
            )
        axes = tuple(map(str, value["axes"]))
        weights = tuple(map(float, value["weights"]))
        if not axes or len(weights) != len(axes):
            raise ValueError(f"{len(axes)} axes have {len(weights)} weights")
        sides = [_read_side(value[side], side, len(axes)) for side in ("artwork", "track")]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadData(
            f"{path} is not a fit of the affect bridge ({error}): copy it from the release again."
        ) from error
    return AffectBridge(sides[0], sides[1], weights, axes)


def _read_side(value: Any, side: str, axes: int) -> FittedSide:
    names = descriptor_names(side)
    if tuple(value["descriptors"]) != names:
        raise ValueError(f"its {side} descriptors are others")
    centre, scale = (tuple(map(float, value[name])) for name in ("centre", "scale"))
    mix = tuple(tuple(map(float, row)) for row in value["mix"])
    knots = tuple(_read_knots(one) for one in value["knots"])
    if {len(centre), len(scale), len(mix)} != {len(names)} or {len(knots), *map(len, mix)} != {
        axes
    }:
        raise ValueError(f"the sizes of its {side} side do not agree")
    even = {int(axis): _read_knots(one) for axis, one in value["even"].items()}
    styles = {
        name: (int(count), {int(axis): _read_knots(one) for axis, one in own.items()})
        for name, (count, own) in value["styles"].items()
    }
    if not set(even) <= set(range(axes)) or any(
        set(own) != set(even) for _, own in styles.values()
    ):
        raise ValueError(f"the axes of its {side} side do not agree")
    return FittedSide(centre, scale, mix, knots, styles, even)


def _read_knots(value: Any) -> Knots:
    values, below = (tuple(map(float, one)) for one in value)
    ascending = all(np.diff(one).min(initial=1.0) > 0 for one in (values, below))
    if not values or len(values) != len(below) or not ascending:
        raise ValueError("a distribution is not one")
    return values, below


def fit_affect(
    artworks: np.ndarray,
    tracks: np.ndarray,
    axes: Sequence[Axis] = AXES,
    styles: Sequence[str] = (),
) -> AffectBridge:
    """Fit the affect bridge to a corpus.

    Descriptors are standardised over their own corpus (the published equations are for
    standardised variables) and clipped at ±3; an axis is their weighted sum. Arousal and valence,
    which explain most of the matches that people make (Whiteford et al. 2018), are then made
    uncorrelated, as in the circumplex model (Russell, J. Pers. Soc. Psychol. 39, 1980), with the
    least possible change to both. Axes of a recipe's own become the residuals of a regression on
    these two: otherwise a property of the corpus, such as loud clips with little dynamics, would
    contradict its arousal. Last, every axis is replaced by its rank within the side, so that both
    sides fill it evenly, whatever the units and skew of the measurements.

    On an axis that is placed within the style, the rank of an artwork is that among its n of the
    style, n times, and among all, 5 times, so that a style has as much of both ends as any other,
    whatever the ground and varnish of its pictures; a style that is not known counts as n = 0.

    A place u on an axis of weight w becomes √w (cos πu, sin πu), so that a row has length one
    and the score of two items is Σ w cos π(u − v) over Σ w: 1 for the same place on every axis,
    less for each axis on which they differ, −1 for opposite ends of all. Beyond the first two, w
    is the axis's weight times the share of its deviation that is left on each side.

    Args:
        artworks: Numeric descriptors [nA, 20], nA ≥ 1.
        tracks: Numeric descriptors [nT, 20], nT ≥ 1.
        axes: By default those of affect.toml.
        styles: Of each artwork, "" for unknown; empty: unknown for all.

    Raises:
        ValueError: Another width, no rows, or values that are not finite.
    """
    within = tuple(n for n, axis in enumerate(axes) if axis.within)
    artwork_side, artwork_share = _fit_side(artworks, _weights("artwork", axes), within, styles)
    track_side, track_share = _fit_side(tracks, _weights("track", axes))
    weights = np.array([axis.weight for axis in axes]) * artwork_share * track_share
    names = tuple(axis.name for axis in axes)
    weights = weights / weights.sum()
    return AffectBridge(artwork_side, track_side, tuple(weights.tolist()), names)


def _weights(side: str, axes: Sequence[Axis]) -> np.ndarray:
    """float64 [descriptors, axes]."""
    names = descriptor_names(side)
    table = np.zeros((len(names), len(axes)))
    for column, axis in enumerate(axes):
        for name, weight in getattr(axis, side).items():
            table[names.index(name), column] = weight
    return table


def _fit_side(
    descriptors: np.ndarray,
    weights: np.ndarray,
    within: Sequence[int] = (),
    styles: Sequence[str] = (),
) -> tuple[FittedSide, np.ndarray]:
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
    names = np.array(styles if len(styles) else [""] * len(values), dtype=object)
    side = FittedSide(
        tuple(centre.tolist()),
        tuple(scale.tolist()),
        tuple(tuple(row) for row in mix.tolist()),
        tuple(_distribution(column) for column in values.T),
        {
            name: (
                int((names == name).sum()),
                {n: _distribution(values[names == name, n], _STYLE_KNOTS) for n in within},
            )
            for name in sorted(set(names.tolist()) - {""})
        },
    )
    even = {n: _distribution(_within_style(values[:, n], n, side, names)) for n in within}
    return replace(side, even=even), share


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


def _distribution(values: np.ndarray, most: int = _KNOTS) -> Knots:
    """Distinct values in ascending order, and the share of all values below each (ties halved)."""
    distinct, counts = np.unique(values, return_counts=True)
    below = (np.cumsum(counts) - counts / 2) / len(values)
    if len(distinct) > most:
        kept = np.unique(np.searchsorted(below, np.linspace(below[0], below[-1], most)))
        distinct, below = distinct[kept], below[kept]
    return tuple(distinct.tolist()), tuple(below.tolist())


def _places(descriptors: np.ndarray, side: FittedSide, styles: Sequence[str]) -> np.ndarray:
    descriptors = _checked(descriptors, len(side.centre))
    if len(styles) not in (0, len(descriptors)):
        raise ValueError(f"{len(descriptors)} items have {len(styles)} styles")
    standard = _standardised(descriptors, np.array(side.centre), np.array(side.scale))
    values = standard @ np.array(side.mix)
    names = np.array(styles if len(styles) else [""] * len(values), dtype=object)
    columns: list[np.ndarray] = [
        np.interp(_within_style(column, axis, side, names), *side.even[axis])
        if axis in side.even
        else np.interp(column, *side.knots[axis])
        for axis, column in enumerate(values.T)
    ]
    return np.stack(columns, axis=1)


def _within_style(values: np.ndarray, axis: int, side: FittedSide, names: np.ndarray) -> np.ndarray:
    """The places 0..1 of values [n] of an axis among those of their styles, mixed with all."""
    places: np.ndarray = np.interp(values, *side.knots[axis])
    for name in set(names.tolist()) & side.styles.keys():
        count, knots = side.styles[name]
        own = names == name
        among = np.interp(values[own], *knots[axis])
        places[own] = (count * among + _PRIOR * places[own]) / (count + _PRIOR)
    return places


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
