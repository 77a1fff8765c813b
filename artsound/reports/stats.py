"""Statistics of a folder of shards, from its index alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from artsound.columns import QUALITY
from artsound.errors import printable
from artsound.progress import counted, human_bytes
from artsound.shards.dataset import open_pairs

# Columns that are counted by value, with their headings.
COUNTED = {
    "split": "splits",
    "artwork_style": "styles",
    "artwork_genre": "artwork genres",
    "track_genre": "music genres",
    "painter": "painters",
    "musician": "musicians",
    "track_license_id": "track licences",
    "artwork_license_id": "artwork licences",
    "bridge": "bridges",
    "artwork_captioner": "artwork captioners",
    "track_captioner": "music captioners",
}
MEASURED = (
    "score",
    "percentile",
    "margin",
    "duration_s",
    "tempo_bpm",
    "rms_dbfs",
    "artwork_lightness",
    "artwork_saturation",
)


def shard_stats(location: str) -> dict[str, Any]:
    """Compute the statistics of a release.

    Args:
        location: Folder or address of shards.

    Returns:
        JSON values: `name`, `shards`, `bytes`, and those of `frame_stats`.

    Raises:
        BadData: The index is missing or damaged, or is not one of this project.
    """
    data = open_pairs(location)
    return {
        "name": data.name,
        "shards": len(data.shards),
        "bytes": sum(shard.bytes for shard in data.shards),
        **frame_stats(data.frame),
    }


def frame_stats(frame: pl.DataFrame) -> dict[str, Any]:
    """Compute the statistics of rows of an index.

    Args:
        frame: The rows.

    Returns:
        JSON values: `pairs`; `hours` of music; `redistributable`: pairs that both sides permit to
        redistribute; `counts`: for each column of COUNTED its values, most frequent first;
        `measures`: for each column of MEASURED, and of those of quality that a pair has, minimum,
        quartiles and maximum.
    """
    return {
        "pairs": frame.height,
        "hours": float(frame["duration_s"].sum()) / 3600,
        "redistributable": count_rows(
            frame, pl.col("artwork_redistribute") & pl.col("track_redistribute")
        ),
        "counts": {column: value_counts(frame, column) for column in COUNTED},
        "measures": {
            column: [
                float(frame[column].quantile(q, "linear") or 0.0) for q in (0, 0.25, 0.5, 0.75, 1)
            ]
            for column in (*MEASURED, *measured_quality(frame))
            if frame.height
        },
    }


def measured_quality(frame: pl.DataFrame) -> list[str]:
    """The columns of technical quality that some row has; see `artsound.columns.QUALITY`."""
    return [name for name in QUALITY if frame[name].null_count() < frame.height]


def value_counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    """Count the values of a text column, most frequent first; null is `unknown`."""
    counts = (
        frame.select(pl.col(column).fill_null("unknown").alias("value"))
        .group_by("value")
        .len()
        .sort(["len", "value"], descending=[True, False])
    )
    return dict(counts.iter_rows())


def words_of(captions: pl.Series) -> pl.Series:
    """The number of words of each caption, as many as spaces and one."""
    return captions.str.count_matches(" ", literal=True) + 1


def count_rows(frame: pl.DataFrame, condition: pl.Expr) -> int:
    """Count the rows for which a condition is true, without copying them."""
    return int(frame.select(condition.sum()).item())


def print_stats(stats: Mapping[str, Any], most: int = 12) -> None:
    """Print statistics as tables.

    Args:
        stats: The values of `shard_stats`.
        most: Values shown of each column, the most frequent ones.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False)  # names and values may be of others
    console.print(
        f"{printable(stats['name'])}: {counted(stats['pairs'], 'pair')} in "
        f"{counted(stats['shards'], 'shard')}, "
        f"{human_bytes(stats['bytes'])}, {stats['hours']:.1f} hours of music, "
        f"{stats['redistributable']:,} redistributable on both sides",
        highlight=False,
    )
    table = Table("measure", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("min", "25 %", "median", "75 %", "max"):
        table.add_column(column, justify="right")
    for name, values in stats["measures"].items():
        table.add_row(name, *(f"{value:,.3g}" for value in values))
    console.print(table)
    for column, heading in COUNTED.items():
        counts = stats["counts"][column]
        first = list(counts.items())[:most]
        shown = ", ".join(f"{printable(value)} {count:,}" for value, count in first)
        more = f", and {len(counts) - most:,} more" if len(counts) > most else ""
        console.print(f"{heading} ({len(counts):,}): {shown}{more}", highlight=False)
