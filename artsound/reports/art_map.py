"""A map of each side of a release: its pictures, and its music, as points in two dimensions.

The points are the first two principal components of a side's vectors. The report stage writes them
beside the index of the release as map.parquet: a row per pair with places from 0 to 65,535.
`artsound browse` draws them, also for a release at an address; for one without the file it computes
them from the vectors on this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from artsound.errors import BadData, BadUsage
from artsound.shards.beside import MAP
from artsound.shards.index import read_frame
from artsound.shards.store import Store
from artsound.storage import atomic_write

SIDES_OF_MAP = ("artwork", "track")
STEPS = (1 << 16) - 1
_EDGE = 0.2  # per cent of the points at each end that are drawn at the edge
_MARGIN = 0.02  # of the map, around the points
_ROWS = 1 << 14  # whose products are summed at once
_CORNERS = 200  # of a polygon
_GRID = 1000  # steps of a polygon's coordinates, on either side

Places = npt.NDArray[np.uint16]
Mask = npt.NDArray[np.bool_]


def places_of(rows: np.ndarray) -> Places:
    """Place rows on a map.

    Args:
        rows: Vectors float [n, D], n ≥ 1; rows that are not finite are placed at the origin.

    Returns:
        uint16 [n, 2]: the first two principal components, each of which increases with the column
        that has the largest part in it; their 0.2nd and 99.8th percentiles are 2 % from the edges
        of a map from 0 to 65,535.
    """
    n, width = rows.shape
    known = np.isfinite(rows).all(axis=1)
    mean = np.zeros(width)
    power = np.zeros((width, width))
    for start in range(0, n, _ROWS):
        some = np.asarray(rows[start : start + _ROWS], dtype=np.float64)
        some = some[known[start : start + _ROWS]]
        mean += some.sum(axis=0)
        power += some.T @ some
    count = max(int(known.sum()), 1)
    mean /= count
    _, directions = np.linalg.eigh(power / count - np.outer(mean, mean))
    axes = directions[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    placed = np.zeros((n, 2), dtype=np.uint16)
    values = np.zeros((n, 2))
    for start in range(0, n, _ROWS):
        some = np.nan_to_num(np.asarray(rows[start : start + _ROWS], dtype=np.float64))
        # Rounded: a build's places do not depend on the last bits of its sums.
        values[start : start + _ROWS, : axes.shape[1]] = ((some - mean) @ axes).round(6)
    for axis in range(2):
        low, high = (
            np.percentile(values[known, axis], (_EDGE, 100 - _EDGE)) if known.any() else (0.0, 1.0)
        )
        share = (values[:, axis] - low) / max(high - low, 1e-9)
        share = _MARGIN + (1 - 2 * _MARGIN) * share.clip(0, 1)
        placed[:, axis] = (share * STEPS).round().astype(np.uint16)
    placed[~known] = 0
    return placed


def write_map(path: Path, keys: list[str], places: Mapping[str, Places]) -> Path:
    """Write the places of pairs: columns key, and SIDE_x and SIDE_y of each side."""
    columns: dict[str, pa.Array] = {"key": pa.array(keys, pa.string())}
    for side, points in places.items():
        for axis, name in enumerate("xy"):
            columns[f"{side}_{name}"] = pa.array(points[:, axis], pa.uint16())
    with atomic_write(path) as file:
        pq.write_table(pa.table(columns), file, compression="zstd")
    return path


def read_map(store: Store, keys: list[str]) -> Places | None:
    """Read the places of these pairs of a release, uint16 [n, 4]; None where one is missing."""
    names = [f"{side}_{axis}" for side in SIDES_OF_MAP for axis in "xy"]
    try:
        table = read_frame(store.read(MAP), f"{store.location}/{MAP}")
        rows = {key: n for n, key in enumerate(table["key"].to_list())}
        order = [rows[key] for key in keys]
        points = np.stack([table[name].to_numpy() for name in names], axis=1)
        return points[order].astype(np.uint16)
    except (BadData, OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError):
        return None


def polygon_of(text: str) -> tuple[str, npt.NDArray[np.float64]]:
    """Read a polygon: a side, and corners in thousandths of the map, y upwards.

    Args:
        text: such as `artworks:10,10;500,20;250,700`.

    Returns:
        "artwork" or "track", and the corners [n, 2], 0 to 1.

    Raises:
        BadUsage: It is none.
    """
    side, _, listed = text.partition(":")
    corners = listed.split(";")
    if side not in ("artworks", "tracks") or not 3 <= len(corners) <= _CORNERS:
        raise BadUsage("An area of the map is artworks: or tracks: and 3 to 200 corners x,y.")
    points = []
    for corner in corners:
        x, _, y = corner.partition(",")
        if not all(one.isascii() and one.isdecimal() and len(one) < 5 for one in (x, y)):
            raise BadUsage(f"{corner[:20]!r} is no corner: give whole numbers from 0 to 1000.")
        points.append((int(x) / _GRID, int(y) / _GRID))
    return side.removesuffix("s"), np.array(points)


def within(points: npt.NDArray[np.float64], corners: npt.NDArray[np.float64]) -> Mask:
    """Which points [n, 2] are within a polygon [k, 2], by the even-odd rule: bool [n]."""
    inside = np.zeros(len(points), dtype=bool)
    low, high = corners.min(axis=0), corners.max(axis=0)
    near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
    x, y = points[near].T
    found = np.zeros(len(near), dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        found ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    inside[near] = found
    return inside
