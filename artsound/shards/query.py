"""Choosing rows of an index: plain values, and one SQL condition that can only read its columns."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from artsound.errors import BadUsage

# Quoted text is skipped, so that 'the select few' is no query. Comments and escapes are refused:
# they could hide one.
_TOKENS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_FORBIDDEN = re.compile(r"--|/\*|[;\\`$]|\b(select|from|with|table|values|into)\b", re.IGNORECASE)


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
        mask &= _where(frame, where)
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
        hint = f"did you mean {near[0]}?" if near else f"there are {_columns(frame)}."
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
    within = [item for item in known if str(value).lower() in item.lower()]
    near = within or difflib.get_close_matches(str(value), known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    more = ", …" if len(known) > 12 else ""
    return f"there are {', '.join(known[:12])}{more}."


def _columns(frame: pl.DataFrame) -> str:
    """The columns worth asking for: all but the places of bytes."""
    return ", ".join(name for name in frame.columns if not name.endswith(("_offset", "_size")))


def _where(frame: pl.DataFrame, where: str) -> npt.NDArray[np.bool_]:
    stray = _FORBIDDEN.search(_TOKENS.sub("''", where))
    if stray:
        raise BadUsage(
            f"The condition {where!r} holds {stray.group()!r}: give one condition over the "
            f"columns {_columns(frame)}."
        )
    try:
        found = frame.select(pl.sql_expr(where))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).strip().splitlines()[0].partition("; valid columns")[0]
        raise BadUsage(
            f"The condition {where!r} cannot be used ({reason}); the columns are {_columns(frame)}."
        ) from error
    column = found.to_series()
    if column.dtype != pl.Boolean or column.len() not in (1, frame.height):
        raise BadUsage(f"The condition {where!r} is not true or false for each sample.")
    mask = column.fill_null(False).to_numpy()
    return np.broadcast_to(mask, frame.height).copy()
