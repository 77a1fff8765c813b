"""A release of an earlier format written in today's: `artsound migrate OLD --out NEW`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from artsound.errors import BadUsage
from artsound.shards.dataset import open_pairs
from artsound.shards.index import FORMAT
from artsound.shards.release import Difference, withheld_rows
from artsound.shards.store import shards_folder
from artsound.shards.withdraw import write_next


def migrate(
    folder: Path, out: Path, *, date: str = "", describe: Callable[[Path], object] = lambda _: None
) -> Difference:
    """Write a release of an earlier format in today's.

    Pictures and clips keep their bytes, pairs their shards and order; the samples' .json, the index
    and what follows from it are written again. Columns that the release lacks are unknown.

    Args:
        folder: The release, a folder on this machine.
        out: A new folder; it is complete or absent afterwards.
        date: The date of the new release, YYYY-MM-DD.
        describe: Called with the folder before it is published, to write cards into it.

    Returns:
        What the new release changes.

    Raises:
        BadUsage: The release is of today's format, or `out` is in use.
        BadData: The release is damaged.
    """
    folder = shards_folder(folder)
    data = open_pairs(folder)
    if data.format == FORMAT:
        raise BadUsage(f"{folder} is of the format {FORMAT} already: there is nothing to migrate.")
    none = pl.repeat(False, len(data), dtype=pl.Boolean, eager=True)
    return write_next(data, folder, out, none, withheld_rows(folder), date, describe)
