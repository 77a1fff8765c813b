"""The items to caption, read from the workspace: record, measurements and media file.

They are those that pairs use; where pairs are made by way of captions, all that were measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from artsound.captions.base import CaptionItem
from artsound.encoders.roles import captions_come_first
from artsound.errors import BadData
from artsound.recipe import Recipe
from artsound.schema import from_row
from artsound.stage import Context
from artsound.storage import read_parquet, sha256_bytes


@dataclass(frozen=True)
class Side:
    """One side of the pairs: where its records lie and what they are called."""

    name: str
    files: str
    key: str
    media: str
    person: str

    def item_id(self, key: Any) -> str:
        """The caption's `item_id` for a record's key."""
        return f"{key:06d}" if self.key == "track_id" else str(key)


SIDES: Mapping[str, Side] = {
    "artworks": Side("artwork", "artworks", "artwork_id", "image_path", "painter"),
    "tracks": Side("track", "tracks", "track_id", "audio_path", "artist"),
}


def before_pairs(recipe: Recipe) -> bool:
    """Whether captions come before pairs, since a bridge of the recipe is made of them."""
    return captions_come_first(recipe)


def read_items(context: Context, side: Side, start: int, stop: int) -> list[CaptionItem]:
    """The side's items from `start` to before `stop`, by ascending id, as in `item_rows`."""
    records, measured = item_rows(context, side)
    return [
        CaptionItem(
            side=side.name,
            item_id=side.item_id(record[side.key]),
            record=from_row(side.name, record),
            measured=from_row(f"{side.name}_descriptors", values),
            media=context.workspace.path(record[side.media]),
        )
        for record, values in zip(
            records.slice(start, stop - start).to_pylist(),
            measured.slice(start, stop - start).to_pylist(),
            strict=True,
        )
    ]


def catalogue_names(context: Context, side: Side) -> frozenset[str]:
    """Everyone in the side's catalogue whose name is two words or more."""
    path = context.workspace.catalog / f"{side.files}.parquet"

    def read() -> frozenset[str]:
        table = read_parquet(path, side.name, [side.person])
        names = pc.unique(table.column(side.person)).to_pylist()
        return frozenset(name for name in names if " " in name)

    return context.once(f"names of {side.files}", read, [path])


def item_rows(context: Context, side: Side) -> tuple[pa.Table, pa.Table]:
    """Records and descriptors, row for row by ascending id, of the side's items that are in pairs;
    of all that were measured, where captions come before pairs.
    """
    workspace, every = context.workspace, before_pairs(context.recipe)
    catalog = workspace.catalog / f"{side.files}.parquet"
    measured = workspace.embeddings / "affect" / f"{side.files}.parquet"
    wanted = measured if every else workspace.pairs / "pairs.parquet"
    for path in (wanted, catalog, measured):
        if not path.is_file():
            raise BadData(f"{path} is missing: run the stage that writes it first.")
    return context.once(
        f"rows of {side.files}",
        lambda: _select(side, every, wanted, catalog, measured),
        (wanted, catalog, measured),
    )


def _select(
    side: Side, every: bool, wanted: Path, catalog: Path, measured: Path
) -> tuple[pa.Table, pa.Table]:
    record = f"{side.name}_descriptors" if every else "pair"
    used = pc.unique(read_parquet(wanted, record, [side.key]).column(side.key))
    used = used.take(pc.array_sort_indices(used))
    tables = []
    for path, name in (
        (catalog, side.name),
        (measured, f"{side.name}_descriptors"),
    ):
        table = read_parquet(path, name)
        where = pc.index_in(used, value_set=table.column(side.key))
        if where.null_count:
            lost = side.item_id(used.filter(pc.is_null(where))[0].as_py())
            raise BadData(
                f"{path} lacks {side.name} {lost}, which is to be captioned: run the stage anew."
            )
        tables.append(table.take(where).combine_chunks())
    return tables[0], tables[1]


def rows_digest(table: pa.Table) -> str:
    """A digest of a table's rows, whatever larger table they are a slice of."""
    sink = pa.BufferOutputStream()
    rows = table.take(pa.array(range(len(table)), pa.int64())).combine_chunks()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sha256_bytes(sink.getvalue().to_pybytes())
