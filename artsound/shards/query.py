"""Choosing rows of an index: plain values, and one SQL condition that can only read its columns."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from artsound.condition import nearest, rows_where, shown_columns
from artsound.errors import BadUsage


def mask_of(
    frame: pl.DataFrame, where: str = "", equals: Mapping[str, Any] | None = None
) -> npt.NDArray[np.bool_]:
    """Which rows fulfil all the conditions, one truth value per row.

    `equals` maps columns to a value or several, of which a row must have one: text is compared
    without regard to case; a column of lists must hold one of them; a `genre` may be the
    artwork's or the music's, and with some of both, both must hold. `where` is one SQL condition
    over the columns, as polars understands it. Raises BadUsage, one sentence, for an unknown
    column, a value that no row has, and a condition that cannot be understood.
    """
    mask = np.ones(frame.height, dtype=bool)
    for column, wanted in (equals or {}).items():
        for name, values in _by_column(frame, column, _several(wanted)).items():
            mask &= _equal(frame, name, values)
    if where:
        mask &= rows_where(frame, where)
    return mask


def _several(wanted: Any) -> list[Any]:
    several = isinstance(wanted, Collection) and not isinstance(wanted, str)
    return list(wanted) if several else [wanted]


def _by_column(frame: pl.DataFrame, column: str, values: list[Any]) -> dict[str, list[Any]]:
    """The values wanted of each column: a `genre` that only the music has is asked of the music."""
    if column != "genre" or not {"genre", "music_genre"} <= set(frame.columns):
        return {column: values}
    own, musical = (
        set(frame[name].str.to_lowercase().unique()) for name in ("genre", "music_genre")
    )
    of_music = [v for v in values if _folded(v) in musical and _folded(v) not in own]
    found = {"genre": [v for v in values if v not in of_music], "music_genre": of_music}
    return {name: some for name, some in found.items() if some}


def _equal(frame: pl.DataFrame, column: str, values: list[Any]) -> npt.NDArray[np.bool_]:
    if column not in frame.columns:
        near = difflib.get_close_matches(column, frame.columns, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {shown_columns(frame)}."
        raise BadUsage(f"The index has no column {column!r}: {hint}")
    series = frame[column]
    if isinstance(series.dtype, pl.List):
        inner = pl.element().str.to_lowercase() if series.dtype.inner == pl.String else pl.element()
        series = series.list.eval(inner)
        hits = [series.list.contains(_folded(value)) for value in values]
    else:
        if series.dtype == pl.String:
            series = series.str.to_lowercase()
        elif any(isinstance(value, str) for value in values):
            raise BadUsage(f"The column {column} holds no text: compare it with a number.")
        hits = [series == _folded(value) for value in values]
    for value, hit in zip(values, hits, strict=True):
        if not hit.any():
            known = _known_values(frame[column], value)
            raise BadUsage(f"No sample has {column} {value!r}: {known}")
    mask = np.zeros(frame.height, dtype=bool)
    for hit in hits:
        mask |= hit.fill_null(False).to_numpy()
    return mask


def _folded(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _known_values(series: pl.Series, value: Any) -> str:
    flat = series.explode() if isinstance(series.dtype, pl.List) else series
    known = [str(item) for item in flat.drop_nulls().unique().sort() if item != ""]
    if not known:
        return "nothing is known there."
    near = nearest(str(value), known)
    if near:
        return f"did you mean {near!r}?"
    more = ", …" if len(known) > 12 else ""
    return f"there are {', '.join(known[:12])}{more}."
