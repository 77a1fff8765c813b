"""Pairs that are not to be made, since judges found them unfit: `pair.exclude` of a recipe.

Each is an edge taken out of the graph in which pairs are matched. Its track and its artwork stay,
and get the next best partners that the optimum has for them.
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

    Raises BadUsage when the list is missing, BadData when it is no list of pairs.
    """
    table = read_exclusions(recipe.pair.exclude)
    return sorted(
        set(zip(table["track_id"].to_pylist(), table["artwork_id"].to_pylist(), strict=True))
    )


def read_exclusions(place: str) -> pa.Table:
    """The list of pairs that `artsound judgements` wrote to `place`; none where that is empty.

    Raises as barred_pairs does.
    """
    if not place:
        return arrow_schema("exclusion").empty_table()
    if not Path(place).is_file():
        raise BadUsage(f"{place} is not a file: give the list that `artsound judgements` writes.")
    return read_parquet(Path(place), "exclusion")


def excluded_keys(
    pairs: Iterable[tuple[str, str]], track_ids: Sequence[str], artwork_ids: Sequence[str]
) -> np.ndarray:
    """The keys of those pairs among these items: int64, ascending, track · n_artworks + artwork.

    `track` and `artwork` are positions; pairs with an item that is not listed are passed over.
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
    """The keys, made for `width` artworks, of some of the items: positions `rows` and `columns`.

    Both are ascending, and so are the keys; they count from the start of `rows` and `columns`.
    """
    track, artwork = np.divmod(keys, width)
    here = np.isin(track, rows) & np.isin(artwork, columns)
    found: np.ndarray = np.searchsorted(rows, track[here]) * len(columns) + np.searchsorted(
        columns, artwork[here]
    )
    return found
