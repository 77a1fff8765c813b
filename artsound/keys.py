"""Keys of items: the text by which tables, shards and lists name a track or an artwork.

A track of the FMA has its number in six digits, ``000002``; a track or an artwork of another
source has ``<source>-<id>``, such as ``folder-sunset``; an artwork of ArtGraph has the name of
its image. A track's key is also the key of its sample in the shards.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

KEY = re.compile(r"[a-z0-9][a-z0-9_-]*")
_NUMBER = re.compile(r"[0-9]{6}")
_LONGEST = 80  # characters of an item's own part of a key; a tar header has room for 100


def six_digits(number: int) -> str:
    """A number as keys and the names of shards have it: 2 is ``000002``."""
    return f"{number:06d}"


def track_key(track: int | str) -> str:
    """The key of a track: FMA's number in six digits, any other key as it is."""
    return six_digits(track) if isinstance(track, int) else track


def track_number(key: str) -> int | None:
    """FMA's number of the track with this key; None for a track of another source."""
    return int(key) if _NUMBER.fullmatch(key) else None


def item_key(prefix: str, name: str) -> str:
    """The key of an item that its source calls `name`, such as a path without its suffix.

    Args:
        prefix: What all keys of the source begin with, such as ``folder-``.
        name: The source's own name of the item.

    Returns:
        `prefix` and the name in the letters a–z, digits, ``-`` and ``_``. A name that had others,
        but for capitals, or that is too long ends with eight digits of its SHA-256, so that
        different names have different keys.
    """
    plain = normal_name(name)
    letters = "".join(
        letter
        for letter in unicodedata.normalize("NFKD", plain)
        if not unicodedata.combining(letter)
    )
    slug = re.sub(r"[^a-z0-9_]+", "-", letters).strip("-_")
    if slug != plain or len(slug) > _LONGEST:
        digest = hashlib.sha256(plain.encode()).hexdigest()[:8]
        slug = f"{slug[:_LONGEST]}-{digest}".strip("-")
    return f"{prefix}{slug}"


def normal_name(name: str) -> str:
    """A name in NFC and without capitals: names that differ only there name the same item."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def stem(path: str) -> str:
    """A path without the suffix of its file."""
    return str(PurePosixPath(path).with_suffix(""))


def with_text_keys(table: pa.Table) -> pa.Table:
    """A table whose ``track_id`` is text; releases made before keys were text have numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table.schema.get_field_index("track_id")
    if column < 0 or not pa.types.is_integer(table.schema.field(column).type):
        return table
    field = table.schema.field(column).with_type(pa.string())
    numbers = pc.cast(table["track_id"], pa.string())
    return table.set_column(column, field, pc.utf8_lpad(numbers, 6, "0"))


def frame_with_text_keys(frame: pl.DataFrame) -> pl.DataFrame:
    """As `with_text_keys`, for a data frame."""
    import polars as pl

    if "track_id" in frame.columns and frame.schema["track_id"].is_integer():
        return frame.with_columns(pl.col("track_id").cast(pl.String).str.zfill(6))
    return frame
