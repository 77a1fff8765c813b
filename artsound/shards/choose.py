"""Choosing samples by rank, by chance or by share: positions in a frame, as pure functions."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from artsound.errors import BadUsage
from artsound.shards.order import hashed

Positions = npt.NDArray[np.int64]


def best(frame: pl.DataFrame, count: int) -> Positions:
    """Positions of the `count` samples with the highest score; of equal ones, the first keys."""
    ranked = _numbered(frame, "score").sort("score", "key", descending=[True, False])
    return _positions(ranked.head(_many(count)))


def drawn(frame: pl.DataFrame, count: int, *, seed: int, by: str = "") -> Positions:
    """Positions of `count` samples drawn by chance, the same for the same seed and samples.

    With `by`, every value of that column keeps its share, to within one sample.
    """
    lots = _numbered(frame, *([by] if by else [])).with_columns(
        _lot=pl.Series(hashed(_numbers(frame), seed), dtype=pl.UInt64)
    )
    if not by:
        return _positions(lots.sort("_lot", "key").head(_many(count)))
    # The middle of each sample's stretch on its value's line 0..1: taking the lowest `count` of
    # all takes the same share of every line.
    rank = (pl.col("_lot").rank("ordinal").over(by) - 0.5) / pl.len().over(by)
    return _positions(lots.with_columns(_rank=rank).sort("_rank", "_lot", "key").head(_many(count)))


def capped(frame: pl.DataFrame, column: str, most: int) -> Positions:
    """Positions of at most `most` samples for each value of a column: those of highest score."""
    ranked = _numbered(frame, "score", column).sort("score", "key", descending=[True, False])
    return _positions(ranked.filter(pl.int_range(pl.len()).over(column) < _many(most)))


def without(frame: pl.DataFrame, keys: Collection[Any]) -> Positions:
    """Positions of the samples whose key is not in `keys`; track ids may be given as numbers.

    Raises BadUsage for what is neither.
    """
    if odd := [key for key in keys if not isinstance(key, (str, int, np.integer))]:
        raise BadUsage(f"{odd[0]!r} is neither a key nor a track id.")
    names = [key if isinstance(key, str) else f"{key:06d}" for key in keys]
    return np.flatnonzero(~frame["key"].is_in(names).to_numpy())


def _many(count: int) -> int:
    """`count`, if it is a number of samples; else BadUsage: polars takes −3 for all but three."""
    if not isinstance(count, (int, np.integer)) or count < 0:
        raise BadUsage(f"{count!r} is not a number of samples.")
    return int(count)


def _numbered(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise BadUsage(
            f"The index has no column {missing[0]!r}: there are {', '.join(frame.columns)}."
        )
    return frame.select(pl.int_range(pl.len()).alias("_at"), "key", *columns)


def _positions(chosen: pl.DataFrame) -> Positions:
    return np.sort(chosen["_at"].to_numpy()).astype(np.int64)


def _numbers(frame: pl.DataFrame) -> Positions:
    return np.array([zlib.crc32(key.encode()) for key in frame["key"]], dtype=np.int64)
