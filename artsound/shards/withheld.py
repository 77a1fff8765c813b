"""Pairs whose media may not be passed on: their ids, digests and embeddings, without the media."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from artsound.encoders.base import Side, load_embeddings
from artsound.errors import BadData
from artsound.rights import policy_condition
from artsound.shards.index import read_frame
from artsound.sources.item_names import (
    Listed,
    address_keys,
    artwork_keys,
    digest_keys,
    track_keys,
)
from artsound.storage import Workspace, atomic_write

WITHHELD = "withheld.parquet"
_COLUMNS = (
    *("key", "track_id", "artwork_id", "split", "score", "bridge", "style", "genre"),
    *("painter", "year", "music_genre", "image_original_sha256", "audio_sha256"),
    *("artwork_redistribute", "artwork_rights_reason", "artwork_source_url"),
    *("track_redistribute", "track_license", "track_source_url"),
)


# The columns by which a line of a list may name a pair, and the keys of their values.
_NAMED_BY: tuple[tuple[str, Callable[[str], Iterable[str]]], ...] = (
    ("artwork_id", artwork_keys),
    ("key", track_keys),
    ("artwork_source_url", address_keys),
    ("track_source_url", address_keys),
    ("image_sha256", digest_keys),
    ("image_original_sha256", digest_keys),
    ("audio_sha256", digest_keys),
)


def parted(rows: pl.DataFrame, withhold: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The pairs to be packed, and those to be withheld."""
    if not withhold:
        return rows, rows.clear()
    free = pl.sql_expr(policy_condition("redistributable"))
    return rows.filter(free), rows.filter(~free)


def write_withheld(workspace: Workspace, rows: pl.DataFrame) -> list[Path]:
    """Write shards/withheld.parquet, or remove it when nothing is withheld; the file, if any.

    A row per pair, with a column of float32 vectors for each encoder and side that has any.
    """
    path = workspace.shards / WITHHELD
    if rows.is_empty():
        path.unlink(missing_ok=True)
        return []
    table = rows.select(_COLUMNS).sort("key")
    for encoder in sorted(p.name for p in workspace.embeddings.iterdir() if p.is_dir()):
        table = _with_vectors(workspace, table, encoder, "artworks", table["artwork_id"])
        table = _with_vectors(workspace, table, encoder, "tracks", table["key"])
    with atomic_write(path) as file:
        pq.write_table(table.to_arrow(), file, compression="zstd")
    return [path]


def _with_vectors(
    workspace: Workspace, table: pl.DataFrame, encoder: str, side: Side, wanted: pl.Series
) -> pl.DataFrame:
    if not (workspace.embeddings / encoder / f"{side}.npy").exists():
        return table
    ids, matrix = load_embeddings(workspace, encoder, side)
    numbers = {item: number for number, item in enumerate(ids)}
    if any(item not in numbers for item in wanted):
        return table
    vectors = np.asarray(matrix[[numbers[item] for item in wanted]], dtype=np.float32)
    name = f"{encoder}_{side.removesuffix('s')}"
    return table.with_columns(pl.Series(name, vectors.tolist(), dtype=pl.List(pl.Float32)))


@dataclass(frozen=True)
class Found:
    """What a list names in a release: ids and digests as the release spells them."""

    ids: frozenset[str]
    digests: frozenset[str]
    unmatched: tuple[str, ...]


def find_listed(lines: Collection[str], *tables: pl.DataFrame) -> Found:
    """The keys, artwork ids and digests in tables of pairs that the lines of a list name.

    A line may spell an item in any way that `artsound.sources.item_names` reads.
    """
    listed = Listed(lines)
    ids: set[str] = set()
    digests: set[str] = set()
    for table in tables:
        for name, keys_of in _NAMED_BY:
            if name in table.columns and table.schema[name] == pl.String:
                found = listed.chosen(table[name].drop_nulls(), keys_of)
                if keys_of is digest_keys:
                    digests |= found
                elif keys_of is address_keys:
                    own = "artwork_id" if name.startswith("artwork") else "key"
                    ids |= set(table.filter(pl.col(name).is_in(list(found)))[own])
                else:
                    ids |= found
    return Found(frozenset(ids), frozenset(digests), listed.unmatched)


def withheld_bump(before: Path, after: Path, released: Collection[str]) -> str:
    """What the change of withheld.parquet between two folders raises; "" where it is the same.

    major: a pair is gone from it and not `released` either; minor: one is new; patch: else.
    """
    was, now = withheld_rows(before), withheld_rows(after)
    if was.equals(now):
        return ""
    gone = set(was["key"]) - set(now["key"]) - set(released)
    return "major" if gone else "minor" if set(now["key"]) - set(was["key"]) else "patch"


def withheld_rows(folder: Path) -> pl.DataFrame:
    """The rows of withheld.parquet, none where there is no such file; BadData for a broken one."""
    path = folder / WITHHELD
    empty = pl.DataFrame(schema=dict.fromkeys(("key", "artwork_id"), pl.String))
    if not path.is_file():
        return empty
    try:
        rows = read_frame(path.read_bytes(), str(path))
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror or error}.") from error
    if any(rows.schema.get(name) != kind for name, kind in empty.schema.items()):
        raise BadData(f"{path} is no list of withheld pairs: its key and artwork_id must be text.")
    return rows
