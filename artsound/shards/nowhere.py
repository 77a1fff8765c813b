"""Proof that a withdrawn item is nowhere in a release: neither its id nor its bytes nor a digest.

Every file of the folder is looked through: tables cell by cell, tars member by member (names,
fields and the SHA-256 of the bytes), everything else by its text.
"""

from __future__ import annotations

import csv
import re
import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from artsound.errors import BadData
from artsound.readers import parse_json
from artsound.shards.index import read_frame
from artsound.shards.scan import key_of, scan
from artsound.sources.item_names import artwork_key, line_keys
from artsound.storage import sha256_bytes

_KEY_COLUMNS = ("key", "track_cluster")
_ARTWORK_FIELDS = ("artwork_id", "artwork_cluster")
_WORD = re.compile(r"[^\s\"'`<>|,;()\[\]{}]+")
_LISTED_KEY = re.compile(r"(?m)^\s*(?:- )?(\d{6})\s*$")


def named(ids: Collection[str]) -> tuple[set[str], set[str], set[str]]:
    """The lines of a list as (texts, keys, spellings), for `traces`.

    A key is a track's six digits; a text is any other line as it is written, and a digest;
    spellings are what all spellings of the artworks have in common.
    """
    texts: set[str] = set()
    keys: set[str] = set()
    spellings: set[str] = set()
    for line in ids:
        found = line_keys(line)
        keys |= {key.removeprefix("track:") for key in found if key.startswith("track:")}
        if found and not any(key.startswith("track:") for key in found):
            texts.add(line.strip())
            texts |= {key.removeprefix("sha256:") for key in found if key.startswith("sha256:")}
            spellings |= {
                key.removeprefix("artwork:") for key in found if key.startswith("artwork:")
            }
    return texts, keys, spellings


def traces(
    folder: Path,
    texts: Collection[str],
    keys: Collection[str] = (),
    spellings: Collection[str] = (),
) -> list[str]:
    """The files of a release that tell of what these name; none: it is nowhere in it.

    `texts`: artworks' ids and SHA-256 digests of media; `keys`: those of samples; `spellings`:
    what all spellings of artworks' ids have in common (`artwork_key`). Raises BadData when a file
    cannot be read, since then nothing is proven.
    """
    some, samples = _Texts(texts, spellings), frozenset(keys)
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            told = _tells(path, some, samples)
        except (OSError, ValueError, OverflowError, tarfile.TarError, pl.exceptions.PolarsError,
                csv.Error) as error:  # fmt: skip
            raise BadData(f"{path} cannot be looked through: {error}.") from error
        if told:
            found.append(path.relative_to(folder).as_posix())
    return found


class _Texts(frozenset[str]):
    """Texts to be found as they are, and names of artworks to be found in any spelling."""

    spellings: frozenset[str]

    def __new__(cls, texts: Collection[str], spellings: Collection[str]) -> _Texts:
        made = super().__new__(cls, texts)
        made.spellings = frozenset(spellings)
        return made

    def spelled(self, value: object) -> bool:
        """Whether a value is the name of one of the artworks."""
        return (
            bool(self.spellings) and isinstance(value, str) and artwork_key(value) in self.spellings
        )


def _tells(path: Path, texts: _Texts, keys: frozenset[str]) -> bool:
    name = path.name
    if name.endswith(".parquet"):
        return _table_tells(read_frame(path.read_bytes(), str(path)), texts, keys)
    if name.endswith(".tar"):
        return _tar_tells(path, texts, keys)
    content = path.read_bytes()
    if sha256_bytes(content) in texts:
        return True
    text = content.decode("utf-8", errors="replace")
    if name.endswith(".json"):
        value = parse_json(content)
        told = any(word in texts or word in keys for word in _words(value))
        return told or any(map(texts.spelled, _named_artworks(value)))
    if name.endswith(".csv"):
        rows = list(csv.reader(text.splitlines()))
        told = any(not texts.isdisjoint(row) or not keys.isdisjoint(row[1:2]) for row in rows)
        return told or any(texts.spelled(cell) for row in rows for cell in row[:3])
    told = any(one in text for one in texts)
    told = told or any(map(texts.spelled, _WORD.findall(text) if texts.spellings else ()))
    return told or not keys.isdisjoint(_LISTED_KEY.findall(text))


def _table_tells(table: pl.DataFrame, texts: _Texts, keys: frozenset[str]) -> bool:
    for name, kind in table.schema.items():
        column = table[name]
        if isinstance(kind, pl.List) and kind.inner == pl.String:
            column = column.explode()
        elif kind != pl.String:
            continue
        wanted = texts | keys if name in _KEY_COLUMNS else texts
        if column.is_in(list(wanted)).any():
            return True
        if name in _ARTWORK_FIELDS and any(map(texts.spelled, column.unique())):
            return True
    return False


def _tar_tells(path: Path, texts: _Texts, keys: frozenset[str]) -> bool:
    with path.open("rb") as file:
        for member in list(scan(file, path.stat().st_size)):
            if key_of(member.name)[0] in keys:
                return True
            file.seek(member.offset)
            data = file.read(member.size)
            if sha256_bytes(data) in texts:
                return True
            if member.name.endswith(".json"):
                fields = parse_json(data)
                if any(word in texts for word in _words(fields)):
                    return True
                if any(map(texts.spelled, _named_artworks(fields))):
                    return True
                if isinstance(fields, dict) and any(fields.get(n) in keys for n in _KEY_COLUMNS):
                    return True
    return False


def _named_artworks(value: Any) -> Iterator[Any]:
    """The values of all fields in a JSON value that hold an artwork's id."""
    if isinstance(value, dict):
        yield from (value[name] for name in _ARTWORK_FIELDS if name in value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from _named_artworks(one)


def _words(value: Any) -> Iterator[str]:
    """Every string in a JSON value, names of fields included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner)
