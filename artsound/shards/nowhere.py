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
from artsound.storage import sha256_bytes

_KEY_COLUMNS = ("key", "track_cluster")
_LISTED_KEY = re.compile(r"(?m)^\s*(?:- )?(\d{6})\s*$")


def named(ids: Collection[str]) -> tuple[set[str], set[str]]:
    """A list of ids and digests as (texts, keys): a key is six digits, a track's."""
    keys = {name for name in ids if re.fullmatch(r"\d{6}", name)}
    return set(ids) - keys, keys


def traces(folder: Path, texts: Collection[str], keys: Collection[str] = ()) -> list[str]:
    """The files of a release that tell of what these name; none: it is nowhere in it.

    `texts`: artworks' ids and SHA-256 digests of media; `keys`: those of samples. Raises BadData
    when a file cannot be read, since then nothing is proven.
    """
    some, samples = frozenset(texts), frozenset(keys)
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


def _tells(path: Path, texts: frozenset[str], keys: frozenset[str]) -> bool:
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
        return any(word in texts or word in keys for word in _words(parse_json(content)))
    if name.endswith(".csv"):
        rows = list(csv.reader(text.splitlines()))
        return any(not texts.isdisjoint(row) or not keys.isdisjoint(row[1:2]) for row in rows)
    told = any(one in text for one in texts)
    return told or not keys.isdisjoint(_LISTED_KEY.findall(text))


def _table_tells(table: pl.DataFrame, texts: frozenset[str], keys: frozenset[str]) -> bool:
    for name, kind in table.schema.items():
        column = table[name]
        if isinstance(kind, pl.List) and kind.inner == pl.String:
            column = column.explode()
        elif kind != pl.String:
            continue
        wanted = texts | keys if name in _KEY_COLUMNS else texts
        if column.is_in(list(wanted)).any():
            return True
    return False


def _tar_tells(path: Path, texts: frozenset[str], keys: frozenset[str]) -> bool:
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
                if isinstance(fields, dict) and any(fields.get(n) in keys for n in _KEY_COLUMNS):
                    return True
    return False


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
