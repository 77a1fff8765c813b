"""Bridges: both sides as unit rows of one space, whose dot product is the score of a pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.encoders.base import load_embeddings
from artsound.errors import BadData, BadUsage
from artsound.pairing.affect import AXES, Axis, descriptor_names, load_axes
from artsound.pairing.search import check_vectors
from artsound.recipe import Recipe
from artsound.stage import Context
from artsound.storage import Workspace, digest, sha256_file

if TYPE_CHECKING:
    from artsound.pairing.language import Vectors

_CUT = 3.0  # standard deviations beyond which a descriptor says no more
_KNOTS = 257  # of a fitted distribution
_MAIN = 2  # arousal and valence, first of the axes


def bridge(
    name: str, workspace: Workspace, recipe: Recipe
) -> tuple[list[str], np.ndarray, list[str], np.ndarray]:
    """Artwork ids, their unit rows float32 [nA, D], track ids, their unit rows [nT, D].

    Raises BadUsage for a bridge that this build cannot use, BadData when embeddings are missing.
    """
    if name != "affect":
        artwork_side, track_side = _language_bridge(name)(workspace, recipe)
        return (*artwork_side, *track_side)
    artwork_ids, artworks = load_embeddings(workspace, "affect", "artworks")
    track_ids, tracks = load_embeddings(workspace, "affect", "tracks")
    fitted = fit_affect(artworks, tracks, load_axes(recipe.pair.affect_axes))
    return artwork_ids, fitted.artworks(artworks), track_ids, fitted.tracks(tracks)


def bridge_inputs(name: str, workspace: Workspace, recipe: Recipe) -> Any:
    """What the bridge depends on beside recipe and embeddings: a JSON value, "" for nothing.

    Raises as `bridge` does for what can be known before anything is computed.
    """
    if name == "affect":
        own = recipe.pair.affect_axes
        return digest([asdict(axis) for axis in load_axes(own)]) if own else ""
    _language_bridge(name)
    from artsound.pairing import language

    return language.inputs(name, workspace, recipe)


def vector_inputs(workspace: Workspace, recipe: Recipe) -> tuple[str, dict[str, Any]]:
    """The digest of all vectors, and what each bridge depends on beside them."""
    vectors = digest(
        {
            workspace.relative(path): sha256_file(path)
            for path in sorted(workspace.embeddings.glob("*/*"))
            if path.suffix in (".json", ".npy")
        }
    )
    names = (recipe.pair.bridge, *recipe.pair.compare)
    return vectors, {name: bridge_inputs(name, workspace, recipe) for name in names}


def unit_vectors(
    context: Context,
    name: str,
    track_ids: list[int],
    artwork_ids: list[str],
) -> tuple[np.ndarray, np.ndarray]:
    """The unit vectors of these tracks and of these artworks in one bridge's space, checked.

    Float32 [n, D] each, in the order of the ids. Raises as `bridge` does, and BadData for an item
    that has no vector or none of length one.
    """
    workspace, recipe = context.workspace, context.recipe
    all_artworks, a, all_tracks, t = context.once(
        f"bridge {name}",
        lambda: bridge(name, workspace, recipe),
        sorted(path for path in workspace.embeddings.glob("*/*") if path.suffix == ".npy"),
    )
    check_vectors(a, all_artworks, "artworks")
    check_vectors(t, all_tracks, "tracks")
    return (
        _take(t, all_tracks, [f"{track:06d}" for track in track_ids], "track"),
        _take(a, all_artworks, artwork_ids, "artwork"),
    )


def _take(vectors: np.ndarray, ids: Sequence[str], wanted: Sequence[str], side: str) -> np.ndarray:
    place = {name: n for n, name in enumerate(ids)}
    if missing := [name for name in wanted if name not in place]:
        raise BadData(
            f"The {side} {missing[0]} has no vector ({len(missing)} in all): run `artsound embed`."
        )
    return np.ascontiguousarray(vectors[[place[name] for name in wanted]], dtype=np.float32)


def _language_bridge(name: str) -> Callable[[Workspace, Recipe], tuple[Vectors, Vectors]]:
    from artsound.pairing.language import BRIDGES

    if name not in BRIDGES:
        known = ", ".join(["affect", *BRIDGES])
        raise BadUsage(f"The bridge {name} is not here: use --bridge with one of {known}.")
    return BRIDGES[name]


@dataclass(frozen=True)
class FittedSide:
    """How one side's descriptors become places (0..1) on the axes.

    ``centre`` and ``scale`` standardise the D descriptors, ``mix`` [D][axes] adds them up to
    axes, and ``knots`` are, for each axis, values and the share of the corpus below them.
    """

    centre: tuple[float, ...]
    scale: tuple[float, ...]
    mix: tuple[tuple[float, ...], ...]
    knots: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]


@dataclass(frozen=True)
class AffectBridge:
    """A fitted affect bridge: applies to new items as to those it was fitted on.

    ``weights`` of the axes sum to 1.
    """

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
        """Where artworks lie on each axis, as the share of the corpus below: [n, axes]."""
        return _places(descriptors, self.artwork_side)

    def track_places(self, descriptors: np.ndarray) -> np.ndarray:
        """Where tracks lie on each axis, as the share of the corpus below: [n, axes]."""
        return _places(descriptors, self.track_side)

    def to_json(self) -> dict[str, Any]:
        """A JSON value that from_json turns back into this."""
        sides = {
            side: {"centre": f.centre, "scale": f.scale, "mix": f.mix, "knots": f.knots}
            for side, f in (("artworks", self.artwork_side), ("tracks", self.track_side))
        }
        return {**sides, "weights": self.weights}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> AffectBridge:
        """The bridge that to_json wrote."""
        sides = [
            FittedSide(
                tuple(value[side]["centre"]),
                tuple(value[side]["scale"]),
                tuple(tuple(row) for row in value[side]["mix"]),
                tuple((tuple(v), tuple(s)) for v, s in value[side]["knots"]),
            )
            for side in ("artworks", "tracks")
        ]
        return AffectBridge(sides[0], sides[1], tuple(value["weights"]))


def fit_affect(
    artworks: np.ndarray, tracks: np.ndarray, axes: Sequence[Axis] = AXES
) -> AffectBridge:
    """The affect bridge of a corpus: numeric descriptors [nA, 20] and [nT, 18], n ≥ 1 each.

    Each side is put on the axes, by default those of affect.toml. Descriptors are standardised
    over their own corpus (the published equations are for standardised variables) and cut at ±3;
    an axis is their weighted sum. Arousal and valence, which carry what matches people make
    (Whiteford et al. 2018), are then made uncorrelated, as the circumplex has them (Russell,
    J. Pers. Soc. Psychol. 39, 1980), changing both as little as can be; the other axes keep only
    what these two leave unexplained, for a side's habit of, say, loud clips with little dynamics
    must not speak against its arousal. Last, every axis is replaced by its rank within the side, so that both
    sides fill it evenly, whatever the units and the skew of what was measured.

    A place u on an axis of weight w becomes √w (cos πu, sin πu), so that a row has length one
    and the score of two items is Σ w cos π(u − v) over Σ w: 1 for the same place on every axis,
    less with every axis on which they lie apart, −1 for opposite ends of all. Beyond the first
    two, w is an axis's own weight times the share of it, on either side, that is its own.

    Raises ValueError for another width, for no rows, and for values that are not finite.
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
    """The side, and the share of each axis's deviation that decorrelation leaves it: [axes]."""
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
    """The matrix [axes, axes] that whitens the first two of [n, axes] and frees the rest of them.

    The whitening is the symmetric one (ZCA), which stays closest to what it is given (Kessy,
    Lewin & Strimmer, Am. Stat. 72, 2018); the rest become residuals of a regression.
    """
    centred = values - values.mean(axis=0)
    covariance = centred.T @ centred / len(values)
    power, direction = np.linalg.eigh(covariance[:_MAIN, :_MAIN])
    # Two axes that (nearly) coincide are not torn apart: the noise between them means nothing.
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
    # A descriptor that hardly varies tells nothing, and its noise is not to be blown up.
    telling = scale > 1e-6 * np.maximum(np.abs(centre), 1.0)
    spread = np.where(telling, scale, np.inf)
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
