"""Excluded pairs, which judges found unfit: `pair.exclude` of a recipe.

Each is an edge removed from the graph in which pairs are matched. Its track and its artwork stay
and get the next best partners in the optimum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from artsound.errors import BadUsage
from artsound.recipe import Recipe
from artsound.schema import arrow_schema
from artsound.storage import read_parquet


def excluded_pairs(recipe: Recipe) -> list[tuple[str, str]]:
    """The (track id, artwork id) pairs of the recipe's list, ascending; none without a list.

    Raises:
        BadUsage: The file is missing.
        BadData: It is not a list of pairs.
    """
    table = read_exclusions(recipe.pair.exclude)
    return sorted(
        set(zip(table["track_id"].to_pylist(), table["artwork_id"].to_pylist(), strict=True))
    )


def read_exclusions(place: str) -> pa.Table:
    """The list of pairs that `artsound judgements` wrote to `place`; empty if `place` is empty.

    Raises:
        BadUsage: The file is missing.
        BadData: It is not a list of pairs.
    """
    if not place:
        return arrow_schema("exclusion").empty_table()
    if not Path(place).is_file():
        raise BadUsage(f"{place} is not a file: give the list that `artsound judgements` writes.")
    return read_parquet(Path(place), "exclusion")


def excluded_keys(
    pairs: Iterable[tuple[str, str]], track_ids: Sequence[str], artwork_ids: Sequence[str]
) -> np.ndarray:
    """Pairs as numbers: position of the track times the number of artworks, plus of the artwork.

    Args:
        pairs: (track id, artwork id).
        track_ids: The tracks, in order.
        artwork_ids: The artworks, in order.

    Returns:
        int64, ascending; without the pairs that have an item in neither list.
    """
    rows = {name: n for n, name in enumerate(track_ids)}
    columns = {name: n for n, name in enumerate(artwork_ids)}
    keys = [
        rows[track] * len(artwork_ids) + columns[artwork]
        for track, artwork in pairs
        if track in rows and artwork in columns
    ]
    return np.array(sorted(keys), dtype=np.int64)


def excluded_within(
    keys: np.ndarray, width: int, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """The keys of the pairs within a part of the tracks and of the artworks.

    Args:
        keys: As `excluded_keys` gives them, for `width` artworks.
        width: The number of artworks.
        rows: Positions of the part's tracks, ascending.
        columns: Positions of the part's artworks, ascending.

    Returns:
        int64, ascending, in terms of places in `rows` and `columns`.
    """
    track, artwork = np.divmod(keys, width)
    here = np.isin(track, rows) & np.isin(artwork, columns)
    found: np.ndarray = np.searchsorted(rows, track[here]) * len(columns) + np.searchsorted(
        columns, artwork[here]
    )
    return found
