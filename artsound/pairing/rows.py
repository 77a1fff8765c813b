"""Rows of matrices made comparable: checked, standardised, decorrelated, of length one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from artsound.errors import BadData

UNIT_TOLERANCE = 1e-3
# A deviation of unit rows, or of their similarities, that is no more than rounding.
_ROUNDING = 1e-6


def checked_rows(rows: np.ndarray, name: str, width: int = 0) -> np.ndarray:
    """Scale rows to length one.

    Args:
        rows: [n, D], n ≥ 1.
        name: What they are, for error messages.
        width: The D that they must have; 0: any.

    Returns:
        float32 [n, D].

    Raises:
        ValueError: There are no rows, their width is another, or one is zero or not finite.
    """
    if rows.ndim != 2 or not rows.shape[0] or not rows.shape[1]:
        raise ValueError(f"{name} must be [n, D] with n and D at least 1, not {list(rows.shape)}")
    if width and rows.shape[1] != width:
        raise ValueError(f"{name} must be {width} wide, not {rows.shape[1]}")
    rows = np.asarray(rows, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise ValueError(f"{name} must be finite, and no row zero")
    unit: np.ndarray = rows / lengths
    return unit


def centred_rows(rows: np.ndarray) -> np.ndarray:
    """Unit rows [n, D] less their mean, scaled to length one: without the modality's offset."""
    moved = rows - rows.mean(axis=0, dtype=np.float64)
    return unit_rows(moved.astype(np.float32))


def standardised(values: np.ndarray) -> np.ndarray:
    """Columns [n, K] with mean 0 and standard deviation 1, float32.

    A column that varies by no more than rounding becomes 0.
    """
    moved = values - values.mean(axis=0, dtype=np.float64)
    spread = moved.std(axis=0)
    moved /= np.where(spread > _ROUNDING, spread, np.inf)
    return moved.astype(np.float32)


def decorrelated(values: np.ndarray, shrinkage: float) -> np.ndarray:
    """Standardised columns [n, K] without most of their correlation, float32.

    Symmetric whitening (ZCA: Kessy, Lewin & Strimmer, Am. Stat. 72, 2018) with `shrinkage` times
    the mean variance added to the variance of every principal component, so that weak ones, which
    are mostly noise, are not amplified.
    """
    covariance = values.T.astype(np.float64) @ values / len(values)
    power, direction = np.linalg.eigh(covariance)
    floor = shrinkage * power.mean()
    if floor <= 0:
        return values
    matrix = direction / np.sqrt(np.maximum(power, 0.0) + floor) @ direction.T
    return values @ matrix.astype(np.float32)


def unit_rows(values: np.ndarray) -> np.ndarray:
    """Rows of `values` [n, K] at length one, float32.

    A row that is zero within rounding carries no information and becomes K equal values.
    """
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    even = np.float32(1.0 / np.sqrt(values.shape[1]))
    unit = np.divide(values, lengths, out=np.full(values.shape, even), where=lengths > _ROUNDING)
    return unit.astype(np.float32)


def deviation(rows: np.ndarray, others: np.ndarray) -> float:
    """The standard deviation of the dot products of all pairs, without computing each."""
    x, y = rows.astype(np.float64), others.astype(np.float64)
    square = float(((x.T @ x) * (y.T @ y)).sum()) / (len(x) * len(y))
    mean = float(x.mean(axis=0) @ y.mean(axis=0))
    return float(np.sqrt(max(square - mean * mean, 0.0)))


def check_vectors(vectors: np.ndarray, ids: Sequence[object], side: str) -> None:
    """Check that `vectors` [n, D] are finite unit rows, one for each of n distinct ids.

    Raises:
        BadData: They are not; the message names `side` and the first id at fault.
    """
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise BadData(f"The vectors of the {side} have the shape {vectors.shape}, not [n, D].")
    if len(vectors) != len(ids):
        raise BadData(
            f"There are {len(vectors)} vectors for {len(ids)} {side}: run `artsound embed` again."
        )
    if len(set(ids)) != len(ids):
        seen: set[object] = set()
        twice = next(name for name in ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise BadData(f"The {side} list {twice} twice: run `artsound ingest` again.")
    with np.errstate(all="ignore"):
        lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    faulty = np.flatnonzero(~(np.abs(lengths - 1.0) <= UNIT_TOLERANCE))
    if len(faulty):
        length = lengths[faulty[0]]
        fault = "is zero" if length == 0 else f"has the length {length:.3g}, not 1"
        raise BadData(
            f"The vector of {ids[faulty[0]]} ({side}) {fault}, and so for {len(faulty)} of "
            f"{len(ids)}: run `artsound embed` again."
        )
