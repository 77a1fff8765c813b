"""Pairs that others have published: a file of image and track, row by row, as it stands.

Three forms are read, each with a column of images and a column of tracks:

    JSON     {"Image": {"0": "claude-monet_x.jpg", …}, "Audio": {"0": ".../010/010425.mp3", …}}
             (Art2Mus's list of 10,000 is one), the same with lists, or a list of objects
    CSV      with a header; .tsv is read with tabs
    parquet  text, or whole numbers for the tracks

An image is named by its file name, with or without a folder before it or a suffix after it; a
track by FMA's number, alone or as the name of its file. Nothing else is taken for a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from artsound.errors import BadData, BadUsage
from artsound.keys import track_key
from artsound.sources.item_names import artwork_key
from artsound.untrusted import parse_csv, read_table, swallowed

_LARGEST = 256 << 20  # bytes; a million pairs take about 120 MB
_MOST_ROWS = 2_000_000
_LONGEST_NAME = 512  # characters

# Names that a column may have, the surest first; case and signs between words do not count.
_IMAGE_COLUMNS = (
    "artworkid", "image", "artwork", "imageid", "imagename", "imagefile", "imagepath",
    "artworkname", "artworkfile", "artworkpath", "painting", "picture", "filename", "art", "img",
)  # fmt: skip
_TRACK_COLUMNS = (
    "trackid", "audio", "track", "audioid", "audioname", "audiofile", "audiopath", "trackname",
    "trackfile", "trackpath", "music", "musicid", "musicfile", "musicpath", "fmaid", "song",
    "songid", "clip", "clipid", "mp3",
)  # fmt: skip
_TRACK = re.compile(r"(?:^|[/\\])([0-9]{1,6})(?:\.(?:mp3|wav|flac|ogg))?$", re.IGNORECASE)
_MEDIUM = re.compile(r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|mp3|wav|flac|ogg)$", re.IGNORECASE)
_OTHER = re.compile(r"[a-z0-9_]+-[a-z0-9][a-z0-9_-]*")  # the key of another source's track


@dataclass(frozen=True)
class PublishedPair:
    """One row of the file, counted from 1. `fault` says why it names no pair; empty: it does.

    `track` is the key of a track.
    """

    row: int
    artwork: str
    track: str
    fault: str = ""


def read_pairs(path: Path) -> list[PublishedPair]:
    """The rows of a file of published pairs, in its order, those with a wrong value included.

    Raises BadUsage when there is no such file, BadData when it is too large, cannot be read, or
    has no column of images or of tracks.
    """
    if not path.is_file():
        raise BadUsage(f"{path} is not a file: give the JSON, CSV or parquet file of the pairs.")
    size = path.stat().st_size
    if size > _LARGEST:
        raise BadData(
            f"{path} holds {size >> 20} MB, more than the {_LARGEST >> 20} MB that are read: "
            "cut it to its columns of images and tracks."
        )
    readers = {".json": _read_json, ".csv": _read_csv, ".tsv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise BadUsage(f"{path} must end in {', '.join(readers)}: its name tells how to read it.")
    images, tracks = reader(path)
    if not images:
        raise BadData(f"{path} holds no pair.")
    if len(images) > _MOST_ROWS:
        raise BadData(f"{path} holds {len(images):,} pairs, more than {_MOST_ROWS:,}: cut it.")
    return [
        _pair(number, image, track)
        for number, (image, track) in enumerate(zip(images, tracks, strict=True), 1)
    ]


def _pair(row: int, image: Any, track: Any) -> PublishedPair:
    name = image.strip() if isinstance(image, str) else ""
    if not artwork_key(name) or len(name) > _LONGEST_NAME or not name.isprintable():
        return PublishedPair(row, "", "", f"{str(image)[:80]!r} is not the name of an image")
    key = _track_key(track)
    if not key:
        return PublishedPair(row, name, "", f"{str(track)[:80]!r} is not a track of the FMA")
    return PublishedPair(row, name, key)


def _track_key(value: Any) -> str:
    """The key of a track, from FMA's number, a file named after it, or a key; "" for none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return track_key(value) if 0 <= value <= 999_999 else ""
    text = value.strip() if isinstance(value, str) else ""
    if match := _TRACK.search(text):
        return track_key(int(match[1]))
    return text if _OTHER.fullmatch(text) else ""


def _read_json(path: Path) -> tuple[Sequence[Any], Sequence[Any]]:
    try:
        value = json.loads(path.read_bytes(), object_pairs_hook=_distinct)
    except (OSError, ValueError, RecursionError) as error:
        raise BadData(f"{path} is not JSON that can be read: {error}.") from error
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        names = list(dict.fromkeys(name for row in value for name in row))
        image, track = _columns(path, names)
        return [row.get(image) for row in value], [row.get(track) for row in value]
    if not isinstance(value, dict):
        raise BadData(f"{path} is neither an object of columns nor a list of objects.")
    image, track = _columns(path, value)
    images, tracks = value[image], value[track]
    if isinstance(images, list) and isinstance(tracks, list) and len(images) == len(tracks):
        return images, tracks
    if isinstance(images, dict) and isinstance(tracks, dict):
        keys = list(dict.fromkeys([*images, *tracks]))  # a row that one column lacks is a fault
        return [images.get(key) for key in keys], [tracks.get(key) for key in keys]
    raise BadData(f"{path}: its columns {image} and {track} do not have the same rows.")


def _distinct(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) < len(items):
        raise ValueError("an object names a key twice")
    return found


def _read_csv(path: Path) -> tuple[Sequence[Any], Sequence[Any]]:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        frame = parse_csv(
            path.read_bytes(), infer_schema=False, separator=separator, truncate_ragged_lines=False
        )
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadData(f"{path} is not a CSV table in UTF-8: {reason}.") from error
    for column in frame.columns:
        if cell := swallowed(frame[column], lambda text: bool(_MEDIUM.search(text))):
            raise BadData(
                f"{path} has a cell that holds other rows, {cell[:60]!r}: a quotation mark is "
                "missing or too many."
            )
    image, track = _columns(path, [name.lstrip("\ufeff") for name in frame.columns])
    names = {name.lstrip("\ufeff"): name for name in frame.columns}
    return frame[names[image]].to_list(), frame[names[track]].to_list()


def _read_parquet(path: Path) -> tuple[Sequence[Any], Sequence[Any]]:
    try:
        with pq.ParquetFile(path) as file:
            schema, about = file.schema_arrow, file.metadata
            unpacked = sum(about.row_group(n).total_byte_size for n in range(about.num_row_groups))
            image, track = _columns(path, schema.names)
            if about.num_rows > _MOST_ROWS or unpacked > 8 * _LARGEST:
                raise BadData(f"{path} unpacks to far more than a list of pairs holds: cut it.")
            for name in (image, track):
                kind = schema.field(name).type
                if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)
                        or pa.types.is_integer(kind)):  # fmt: skip
                    raise BadData(f"{path}: its column {name} is {kind}, not text or numbers.")
        table = read_table(path, [image, track])
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BadData(f"{path} is not a parquet file that can be read: {error}.") from error
    return table[image].to_pylist(), table[track].to_pylist()


def _columns(path: Path, names: Mapping[str, Any] | Iterable[str]) -> tuple[str, str]:
    """The names of the column of images and of the column of tracks."""
    known = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(list(names))}
    image = next((known[name] for name in _IMAGE_COLUMNS if name in known), None)
    track = next((known[name] for name in _TRACK_COLUMNS if name in known), None)
    for found, wanted in ((image, "image"), (track, "track")):
        if found is None:
            there = ", ".join(sorted(known.values())[:12]) or "none"
            raise BadData(f"{path} has no column called {wanted}; its columns are {there}.")
    return str(image), str(track)
