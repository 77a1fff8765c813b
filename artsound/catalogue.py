"""The tables of both sides, artworks and tracks: their columns, keys, records and media.

Every room that reads the catalogue of a build does so here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from artsound.errors import BadData
from artsound.stage import Context
from artsound.storage import Workspace, read_parquet, sha256_bytes

SideName = Literal["artworks", "tracks"]


@dataclass(frozen=True)
class Side:
    """One side of the pairs.

    Attributes:
        name: Of one item, ``artwork`` or ``track``; also the name of its record.
        files: Of many, ``artworks`` or ``tracks``: the name of its tables, and its key in `SIDES`.
        key: The column of the items' keys.
        media: The prefix of the columns of the medium: ``image`` or ``audio``.
        person: The column of the name of who made the item.
        person_id: The column of that person's id.
        of_pairs: The columns that pairing reads beside the key.
    """

    name: str
    files: SideName
    key: str
    media: str
    person: str
    person_id: str
    of_pairs: tuple[str, ...]

    @property
    def descriptors(self) -> str:
        """The name of the record of its measured descriptors."""
        return f"{self.name}_descriptors"

    @property
    def path(self) -> str:
        """The column of the medium's file, relative to the workspace."""
        return f"{self.media}_path"

    @property
    def sha256(self) -> str:
        """The column of the medium's digest."""
        return f"{self.media}_sha256"


ARTWORKS = Side(
    "artwork", "artworks", "artwork_id", "image", "painter", "painter_id", ("style", "cluster")
)
TRACKS = Side(
    "track", "tracks", "track_id", "audio", "artist", "artist_id", ("genre", "split", "cluster")
)
SIDES: Mapping[SideName, Side] = {"artworks": ARTWORKS, "tracks": TRACKS}


def table_path(workspace: Workspace, side: Side) -> Path:
    """The file of one side's records."""
    return workspace.catalog / f"{side.files}.parquet"


def descriptors_path(workspace: Workspace, side: Side) -> Path:
    """The file of one side's measured descriptors."""
    return workspace.embeddings / "affect" / f"{side.files}.parquet"


@dataclass(frozen=True, slots=True)
class MediaItem:
    """One artwork or track: its key, its file relative to the workspace, and the file's digest."""

    id: str
    path: str
    sha256: str


def media_items(context: Context, side: Side) -> Sequence[MediaItem]:
    """Every item of one side, in the catalogue's order."""
    path = table_path(context.workspace, side)

    def read() -> tuple[MediaItem, ...]:
        columns = [side.key, side.path, side.sha256]
        table = read_parquet(path, side.name, columns)
        rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
        return tuple(MediaItem(*row) for row in rows)

    return context.once(f"media of {side.files}", read, [path])


def read_media(workspace: Workspace, item: MediaItem) -> bytes:
    """The item's file; BadData when it is missing or does not have the catalogue's digest."""
    try:
        data = workspace.path(item.path).read_bytes()
    except OSError as error:
        raise unreadable(item, error) from error
    if sha256_bytes(data) != item.sha256:
        raise BadData(f"{item.path} is not what the catalogue says: run `artsound ingest` again.")
    return data


def unreadable(item: MediaItem, error: Exception) -> BadData:
    """The error for an item whose file cannot be read or decoded."""
    return BadData(f"{item.path} cannot be read ({error}): run `artsound ingest` again.")


class MediaFiles(Sequence[bytes]):
    """The items' files as a sequence that reads each when it is asked for."""

    def __init__(self, workspace: Workspace, items: Sequence[MediaItem]) -> None:
        self._workspace, self._items = workspace, items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index):  # type: ignore[no-untyped-def, override]
        return read_media(self._workspace, self._items[index])


def usable_items(workspace: Workspace) -> tuple[pa.Table, pa.Table]:
    """Artworks and tracks by ascending key, with the columns that pairing reads.

    Items that the embed stage rejected are left out: it has already accounted for them.
    """
    rejects = read_parquet(workspace.catalog / "rejects.parquet", "reject")
    rejects = rejects.filter(pc.equal(rejects["stage"], "embed"))
    tables = []
    for side in SIDES.values():
        columns = [side.key, side.person_id, *side.of_pairs]
        table = read_parquet(table_path(workspace, side), side.name, columns)
        lost = rejects.filter(pc.equal(rejects["side"], side.name))["item_id"]
        table = table.sort_by(side.key)
        tables.append(table.filter(pc.invert(pc.is_in(table[side.key], lost))))
    return tables[0], tables[1]


def described_items(context: Context, side: Side, *, paired: bool) -> tuple[pa.Table, pa.Table]:
    """Records and descriptors of one side's items, row for row by ascending key.

    Args:
        context: Of the stage that reads them.
        side: Artworks or tracks.
        paired: Only the items that pairs use; otherwise all that were measured.

    Returns:
        The records and the descriptors.

    Raises:
        BadData: A table is missing, or lacks an item that it must have.
    """
    workspace = context.workspace
    records, measured = table_path(workspace, side), descriptors_path(workspace, side)
    chosen = workspace.pairs / "pairs.parquet" if paired else measured
    for path in (chosen, records, measured):
        if not path.is_file():
            raise BadData(f"{path} is missing: run the stage that writes it first.")

    def select() -> tuple[pa.Table, pa.Table]:
        of_keys = "pair" if paired else side.descriptors
        keys = pc.unique(read_parquet(chosen, of_keys, [side.key]).column(side.key))
        keys = keys.take(pc.array_sort_indices(keys))
        return (
            _rows_of(read_parquet(records, side.name), keys, side, records),
            _rows_of(read_parquet(measured, side.descriptors), keys, side, measured),
        )

    return context.once(f"described {side.files}", select, (chosen, records, measured))


def _rows_of(table: pa.Table, keys: pa.Array, side: Side, path: Path) -> pa.Table:
    where = pc.index_in(keys, value_set=table.column(side.key))
    if where.null_count:
        lost = keys.filter(pc.is_null(where))[0].as_py()
        raise BadData(f"{path} lacks the {side.name} {lost}: run the stage that writes it again.")
    return table.take(where).combine_chunks()


def names_of_people(context: Context, side: Side) -> frozenset[str]:
    """Everyone in one side's catalogue whose name has two words or more."""
    path = table_path(context.workspace, side)

    def read() -> frozenset[str]:
        names = pc.unique(read_parquet(path, side.name, [side.person]).column(side.person))
        return frozenset(name for name in names.to_pylist() if " " in name)

    return context.once(f"people of {side.files}", read, [path])


def rows_digest(table: pa.Table) -> str:
    """A digest of a table's rows, whatever larger table they are a slice of."""
    sink = pa.BufferOutputStream()
    rows = table.take(pa.array(range(len(table)), pa.int64())).combine_chunks()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sha256_bytes(sink.getvalue().to_pybytes())
