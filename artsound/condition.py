"""One SQL condition over a table's columns, which can read them and nothing else."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import polars as pl

from artsound.errors import BadUsage

# Quoted text is skipped, so that 'the select few' is no query. Comments and escapes are refused:
# they could hide one.
_TOKENS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_FORBIDDEN = re.compile(r"--|/\*|[;\\`$]|\b(select|from|with|table|values|into)\b", re.IGNORECASE)


def rows_where(frame: pl.DataFrame, where: str) -> npt.NDArray[np.bool_]:
    """Which rows fulfil an SQL condition, as polars understands it: one truth value per row.

    Raises BadUsage, one sentence, for an unknown column and for what is not a condition.
    """
    stray = _FORBIDDEN.search(_TOKENS.sub("''", where))
    if stray:
        raise BadUsage(
            f"The condition {where!r} holds {stray.group()!r}: give one condition over the "
            f"columns {shown_columns(frame)}."
        )
    try:
        found = frame.select(pl.sql_expr(where))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).strip().splitlines()[0].partition("; valid columns")[0]
        raise BadUsage(
            f"The condition {where!r} cannot be used ({reason}); the columns are "
            f"{shown_columns(frame)}."
        ) from error
    column = found.to_series()
    if column.dtype != pl.Boolean or column.len() not in (1, frame.height):
        raise BadUsage(f"The condition {where!r} is not true or false for each row.")
    mask = column.fill_null(False).to_numpy()
    return np.broadcast_to(mask, frame.height).copy()


def shown_columns(frame: pl.DataFrame) -> str:
    """The columns worth asking for: all but the places of bytes."""
    return ", ".join(name for name in frame.columns if not name.endswith(("_offset", "_size")))
