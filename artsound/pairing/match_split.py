"""One split matched as [pair] of the recipe has it: anew, or beside the pairs of a base."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from artsound.pairing.barred import barred_within
from artsound.pairing.items import Catalogue
from artsound.pairing.kept import free_artworks
from artsound.pairing.matching import Match, judge, match
from artsound.recipe import Recipe


def match_split(
    recipe: Recipe,
    t: np.ndarray,
    a: np.ndarray,
    painters: np.ndarray | None,
    barred: np.ndarray | None,
) -> Match:
    """The tracks and artworks of one split matched: unit vectors `t` [n, D] and `a` [m, D].

    `painters` [m] and `barred` as `match` takes them.
    """
    settings = recipe.pair
    return match(
        t,
        a,
        count=settings.candidates,
        neighbours=settings.csls,
        floor=settings.floor,
        uses=settings.artwork_uses,
        painters=painters,
        painter_uses=settings.painter_uses,
        optimality=settings.optimality,
        quick=settings.quick,
        device=settings.device,
        barred=barred,
    )


def continue_split(
    recipe: Recipe,
    catalogue: Catalogue,
    t: np.ndarray,
    a: np.ndarray,
    painters: np.ndarray,
    barred: np.ndarray,
    split: str,
) -> Match:
    """The kept pairs of a split with its other tracks matched to the artworks that are free.

    `t` and `a` are the vectors of the split's tracks and artworks, `painters` those of the latter.
    The whole is judged as one assignment.
    """
    tracks, artworks = catalogue.tracks, catalogue.artworks
    place = {artworks.ids[n]: here for here, n in enumerate(artworks.of(split))}
    kept = [catalogue.kept.get(tracks.ids[n]) for n in tracks.of(split)]
    chosen = np.array([place[pair.artwork_id] if pair else -1 for pair in kept], dtype=np.int64)
    new = np.flatnonzero(chosen < 0)
    free = free_artworks(chosen[chosen >= 0], painters, recipe.pair.painter_uses)
    if len(new) and len(free):
        apart = barred_within(barred, len(a), new, free)
        found = match_split(recipe, t[new], a[free], painters[free], apart).assignment.artworks
        chosen[new[found >= 0]] = free[found[found >= 0]]
    return judge(
        t, a, chosen,
        count=recipe.pair.candidates, uses=recipe.pair.artwork_uses, device=recipe.pair.device,
    )  # fmt: skip


def painter_numbers(names: pa.ChunkedArray) -> np.ndarray:
    """The painters as numbers [m]; an unknown one ("") is nobody else's."""
    known = [name or f" {n}" for n, name in enumerate(names.to_pylist())]
    numbers: np.ndarray = np.unique(known, return_inverse=True)[1]
    return numbers
