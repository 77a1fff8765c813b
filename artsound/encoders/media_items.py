"""The catalogue's artworks and tracks, as encoders read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from artsound.encoders.base import Side
from artsound.errors import BadData
from artsound.stage import Context
from artsound.storage import Workspace, read_parquet, sha256_bytes

SIDES: tuple[Side, ...] = ("artworks", "tracks")
RECORDS = {"artworks": "artwork", "tracks": "track"}
_COLUMNS = {
    "artworks": ["artwork_id", "image_path", "image_sha256"],
    "tracks": ["track_id", "audio_path", "audio_sha256"],
}


@dataclass(frozen=True, slots=True)
class MediaItem:
    """One artwork or track: its id, its file relative to the workspace, and what that holds."""

    id: str | int
    path: str
    sha256: str

    @property
    def name(self) -> str:
        """The id as text: artworks' as they are, tracks' with six digits."""
        return self.id if isinstance(self.id, str) else f"{self.id:06d}"


def catalogue_items(context: Context, side: Side) -> Sequence[MediaItem]:
    """Every item of one side, in the catalogue's order."""
    path = context.workspace.catalog / f"{side}.parquet"

    def read() -> tuple[MediaItem, ...]:
        columns = _COLUMNS[side]
        table = read_parquet(path, RECORDS[side], columns)
        rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
        return tuple(MediaItem(*row) for row in rows)

    return context.once(f"media of {side}", read, [path])


def read_item(workspace: Workspace, item: MediaItem) -> bytes:
    """The item's file; BadData when it is gone or not what the catalogue says."""
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


class ItemFiles(Sequence[bytes]):
    """The items' files as a sequence that reads each when it is asked for."""

    def __init__(self, workspace: Workspace, items: Sequence[MediaItem]) -> None:
        self._workspace, self._items = workspace, items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index):  # type: ignore[no-untyped-def, override]
        return read_item(self._workspace, self._items[index])
