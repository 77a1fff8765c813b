"""The user's own museum or label: pictures or clips in any folders or zips, with a table or none.

    museum/
      paintings/sunset.jpg
      drawings.zip
      items.csv            file,title,painter,painter_died,license
                           paintings/sunset.jpg,Sunset,Ana Lim,1901,

The table is the one CSV (UTF-8, with a header) or Parquet file of the place. Its column ``file``
names the picture or clip; the others bear the names of the record's fields (schemas/artwork.json,
schemas/track.json). Everything that it does not state is unknown, and what has unknown rights
counts as protected: state a ``license``, a ``license_url``, or the flags ``redistribute``,
``derivatives`` and ``commercial``; an artwork whose ``painter_died`` or ``year`` is long ago is in
the public domain. ``ai_training`` states whether its creator lets models be trained with it
(`artsound.rights.AI_TRAINING`, or yes and no). Without a table, every medium of the place is an
item.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import polars as pl

from artsound.errors import BadData
from artsound.keys import normal_name, stem
from artsound.media.quality import PICTURE_QUALITY, SOUND_QUALITY
from artsound.progress import counted
from artsound.rights import AI_TRAINING
from artsound.sources.artgraph import IMAGE_SUFFIXES, is_nameless, slugify
from artsound.sources.files import read_table
from artsound.sql_filter import nearest
from artsound.untrusted import parse_csv, swallowed

if TYPE_CHECKING:
    from artsound.sources.base import Options

AUDIO_SUFFIXES = (".mp3", ".wav", ".flac", ".ogg", ".opus", ".aif", ".aiff")
_SUFFIXES = {"artwork": IMAGE_SUFFIXES, "track": AUDIO_SUFFIXES}
# Pictures and clips that no decoder here reads: items that ingest rejects, with their format.
_UNREADABLE = {
    "artwork": (".avif", ".heic", ".heif", ".jp2", ".jxl"),
    "track": (".m4a", ".aac", ".wma", ".ape", ".wv", ".amr"),
}
_MEDIA = {"artwork": "pictures", "track": "clips"}
_TABLES = (".csv", ".csv.gz", ".parquet")
# Columns that name the file, the surest first; the last ones are those of the records.
_FILE = {"artwork": ("file", "image_path"), "track": ("file", "audio_path")}
_FLAGS = ("redistribute", "derivatives", "commercial", "share_alike", "attribution")
_RIGHTS = (
    *("license", "license_url", "license_id", *_FLAGS, "rights_reason"),
    *("ai_training", "ai_training_source"),
)
_TEXTS = {
    "artwork": ("title", "painter", "style", "genre", "school", "period", "source_url"),
    "track": ("title", "artist", "album", "genre", "language", "split", "source_url"),
}
_NUMBERS = {
    "artwork": ("year", "painter_died"),
    "track": ("year", "listens", "album_id", "excerpt_start"),
}
_LISTS = {"artwork": ("tags", "media", "emotions"), "track": ("genres", "tags")}
# Fields of the records that are measured or made here: a table that has them is not refused.
_MADE = {
    "artwork": {
        "artwork_id", "artwork_index", "painter_id", "source", "image_sha256", "image_bytes",
        "image_format", "width", "height", "image_phash", *PICTURE_QUALITY, "cluster",
    },
    "track": {
        "track_id", "artist_id", "subset", "source", "audio_sha256", "audio_bytes",
        "audio_format", "duration", "sample_rate", "channels", "loudness", "peak", "fingerprint",
        *SOUND_QUALITY, "cluster",
    },
}  # fmt: skip
_TRUE = frozenset({"true", "yes", "1", "y"})
_FALSE = frozenset({"false", "no", "0", "n"})
_REFUSALS = frozenset(
    {"noai", "noimageai", "noml", "disallowed", "forbidden", "optout", "optedout"}
)
_SPLITS = ("", "train", "val", "test")


class Folder:
    """Pictures or clips in any folder or zip, with an optional table of what is known of them."""

    name = "folder"
    version = "1"
    sides = ("artwork", "track")

    def check(self, side: str, root: Path, files: pl.DataFrame) -> None:
        """Raise BadData for a place without media, and for a table that cannot be used."""
        self.read(side, root, files, None)

    def read(
        self, side: str, root: Path, files: pl.DataFrame, options: Options | None
    ) -> pl.DataFrame:
        """One row for each medium, or for each row of the table where there is one."""
        media = _media(side, root, files)
        table = _table(side, root, files)
        own = f"{side}_id"
        if table is None:
            names = [PurePosixPath(name).stem for name in media["name"]]
            titles = [" ".join(name.replace("_", " ").split()) for name in names]
            found = media.with_columns(pl.Series("title", titles, dtype=pl.String))
        else:
            found = _joined(side, root, media, *table)
        ids = [_own_id(box, name) for box, name in found.select("box", "name").iter_rows()]
        found = found.with_columns(pl.Series(own, ids, dtype=pl.String))
        _check_distinct(root, found, own)
        return found.drop("file", strict=False).sort(own)


SOURCE = Folder()


def _own_id(box: str, name: str) -> str:
    """What an item is called here: its path without the suffix, after its zip's, if any."""
    return stem(f"{stem(box)}/{name}" if box else name)


def _media(side: str, root: Path, files: pl.DataFrame) -> pl.DataFrame:
    hidden = pl.concat_str(pl.lit("/"), "name").str.contains(r"/(\.|__MACOSX/)")
    lower = pl.col("name").str.to_lowercase()

    def ending(suffixes: Sequence[str]) -> pl.DataFrame:
        ends = pl.any_horizontal([lower.str.ends_with(suffix) for suffix in suffixes])
        return files.filter(ends & ~hidden)

    media = ending(_SUFFIXES[side])
    if media.is_empty():
        others = sorted({PurePosixPath(name).suffix.lower() for name in files["name"]} - {""})
        there = f" it holds files that end in {', '.join(others[:6])}." if others else ""
        raise BadData(
            f"{root} has no {_MEDIA[side]} ({', '.join(_SUFFIXES[side])}), in folders or zips:"
            f"{there or ' it is empty.'}"
        )
    other = ending(_UNREADABLE[side])
    if other.is_empty():
        return media
    both = pl.concat([media, other])  # of an item in several formats, one that can be read
    names = [f"{box}/{stem(name)}" for box, name in both.select("box", "name").iter_rows()]
    first = {name: number for number, name in reversed(list(enumerate(names)))}
    kept = [n < media.height or first[name] == n for n, name in enumerate(names)]
    return both.filter(pl.Series(kept))


def _check_distinct(root: Path, found: pl.DataFrame, own: str) -> None:
    """Raise BadData for two items whose names differ only in suffix, capitals or NFC and NFD."""
    seen: dict[str, str] = {}
    for one, box, name in found.select(own, "box", "name").iter_rows():
        where = f"{box}/{name}" if box else name
        key = normal_name(one)
        if key in seen:
            raise BadData(
                f"{root} has two items of one name, {seen[key]!r} and {where!r}: they differ only "
                "in suffix, in capitals or in how letters are encoded; rename or remove one."
            )
        seen[key] = where


def _table(side: str, root: Path, files: pl.DataFrame) -> tuple[str, pl.DataFrame] | None:
    """The place's table and its name; None without one.

    Where several are there, it is the one with a column that names files.
    """
    lower = pl.col("name").str.to_lowercase()
    listed = files.filter(pl.any_horizontal([lower.str.ends_with(end) for end in _TABLES]))
    found: list[tuple[str, pl.DataFrame]] = []
    others = []
    for box, name in listed.select("box", "name").iter_rows():
        where = f"{root / box / name}"
        table = _read(where, read_table(root, box, name), name)
        column = next((one for one in _FILE[side] if one in table.columns), None)
        if column is None:
            others.append(where)
            continue
        found.append((where, table.rename({column: "file"})))
    if len(found) > 1:
        raise BadData(
            f"{root} has several tables with a column `file`, {found[0][0]} and {found[1][0]}: "
            "make one of them."
        )
    if not found and others:
        raise BadData(
            f"{others[0]} has no column `file`, which names the {_MEDIA[side]} of its rows: add "
            "it, or move the table elsewhere."
        )
    return found[0] if found else None


def _read(where: str, data: bytes, name: str) -> pl.DataFrame:
    if name.lower().endswith(".parquet"):
        try:
            return pl.read_parquet(io.BytesIO(data))
        except (pl.exceptions.PolarsError, OSError, ValueError, pl.exceptions.PanicException) as e:
            raise BadData(f"{where} is not a parquet file that can be read: {e}.") from e
    try:
        table = parse_csv(data, infer_schema=False, truncate_ragged_lines=False)
    except (pl.exceptions.PolarsError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadData(f"{where} is not a CSV table in UTF-8: {reason}.") from error
    return table.rename({column: column.lstrip("\ufeff").strip() for column in table.columns})


def _joined(
    side: str, root: Path, media: pl.DataFrame, where: str, table: pl.DataFrame
) -> pl.DataFrame:
    """The table's rows, typed, with the media that they name."""
    known = ["file", *_TEXTS[side], *_NUMBERS[side], *_LISTS[side], *_RIGHTS]
    other = [name for name in table.columns if name not in known and name not in _MADE[side]]
    other = [name for name in other if name not in _FILE[side]]
    if other:
        near = nearest(other[0], known, 0.3)
        hint = f"did you mean {near!r}?" if near else f"the columns are {', '.join(known)}."
        raise BadData(f"{where} has a column {other[0]!r}, which no {side} has: {hint}")
    if table.is_empty():
        raise BadData(f"{where} has no rows: fill it, or remove it to use all that is there.")
    listed = {name.lower() for path in media["name"] for name in (path, PurePosixPath(path).name)}
    for column in table.columns:
        if cell := swallowed(table[column], lambda text: text.lower() in listed):
            raise BadData(
                f"{where} has a cell that holds other rows, {cell[:60]!r}: a quotation mark is "
                "missing or too many."
            )
    places = _places(root, media, where, [_text(one) for one in table["file"]])
    columns = [pl.Series(name, values) for name, values in places.items()]
    readers: dict[str, tuple[Callable[[str, str, Any], Any], pl.DataType]] = {
        **dict.fromkeys((*_TEXTS[side], *_RIGHTS), (_word, pl.String())),
        **dict.fromkeys(_NUMBERS[side], (_number, pl.Int64())),
        **dict.fromkeys(_LISTS[side], (_list, pl.List(pl.String))),
        **dict.fromkeys(_FLAGS, (_flag, pl.Boolean())),
        "ai_training": (_ai_training, pl.String()),
    }
    for name, (read, kind) in readers.items():
        if name in table.columns:
            values = [read(where, name, one) for one in table[name]]
            columns.append(pl.Series(name, values, dtype=kind))
    found = pl.DataFrame(columns)
    if side == "artwork" and "painter" in found.columns:
        slugs = [slugify(painter) for painter in found["painter"]]
        known_slugs = ["" if is_nameless(slug) else slug for slug in slugs]
        found = found.with_columns(pl.Series("painter_id", known_slugs, dtype=pl.String))
    return found


def _places(root: Path, media: pl.DataFrame, where: str, names: list[str]) -> dict[str, list[Any]]:
    """Where the medium of each name is; BadData for names that no file, or several, have."""
    exact: dict[str, tuple[Any, ...]] = {}
    alike: dict[str, list[tuple[Any, ...]]] = {}
    for row in media.iter_rows():
        path = f"{row[0]}/{row[1]}" if row[0] else row[1]
        exact[path] = row
        for ending in {path, row[1], PurePosixPath(row[1]).name}:
            alike.setdefault(normal_name(ending), []).append(row)
    found: list[tuple[Any, ...]] = []
    absent = []
    for name in names:
        plain = str(PurePosixPath(name.replace("\\", "/"))) if name else ""
        rows = [exact[plain]] if plain in exact else alike.get(normal_name(plain), [])
        if len(rows) > 1:
            raise BadData(
                f"{where} names {name!r}, which is {rows[0][1]!r} and {rows[1][1]!r}: write the "
                "path from the folder on."
            )
        if rows:
            found.append(rows[0])
        else:
            absent.append(name)
    if absent:
        near = nearest(absent[0], list(exact), 0.4) if absent[0] else ""
        hint = f" (did you mean {near!r}?)" if near else ""
        more = f" and {counted(len(absent) - 1, 'other')}" if len(absent) > 1 else ""
        raise BadData(
            f"{where} names {absent[0]!r}{hint}{more}, which {root} does not hold: correct the "
            "column `file`, or add the files."
        )
    used = [(row[0], row[1]) for row in found]
    if len(set(used)) < len(used):
        twice = next(one for one in used if used.count(one) > 1)
        raise BadData(f"{where} names {twice[1]!r} in two rows: keep one.")
    return {name: [row[n] for row in found] for n, name in enumerate(media.columns)}


def _text(value: Any) -> str:
    return "" if value is None else " ".join(str(value).split())


def _word(where: str, name: str, value: Any) -> str:
    text = _text(value)
    if name == "split" and text not in _SPLITS:
        raise BadData(f"{where}: the split {text[:40]!r} is none of train, val and test.")
    return text


def _ai_training(where: str, name: str, value: Any) -> str:
    text = "-".join(re.split(r"[\s_-]+", _text(value).casefold()))
    if text in ("", "nan", "none"):
        return ""
    if text in AI_TRAINING:
        return text
    if text in _TRUE:
        return "allowed"
    if text in _FALSE or text.replace("-", "") in _REFUSALS:
        return "refused"
    raise BadData(f"{where}: the {name} {text[:40]!r} is none of {', '.join(AI_TRAINING)}.")


def _number(where: str, name: str, value: Any) -> int:
    text = _text(value)
    if text in ("", "nan", "None"):
        return -1
    try:
        number = float(text)
        if number == int(number) and abs(number) < 1 << 31:
            return int(number)
    except (ValueError, OverflowError):
        pass
    raise BadData(f"{where}: the {name} {text[:40]!r} is not a whole number.")


def _list(where: str, name: str, value: Any) -> list[str]:
    """A list of a Parquet file, a JSON list, or items between `|` or `;`."""
    if isinstance(value, pl.Series):
        value = value.to_list()
    if not isinstance(value, list):
        text = _text(value)
        if text.startswith("["):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise BadData(f"{where}: the {name} {text[:40]!r} is no JSON list.") from error
        else:
            value = text.replace(";", "|").split("|")
    return list(dict.fromkeys(one for item in value if (one := _text(item))))


def _flag(where: str, name: str, value: Any) -> bool | None:
    text = _text(value).casefold()
    if text in ("", "nan", "none"):
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise BadData(f"{where}: the {name} {text[:40]!r} is neither true nor false.")
