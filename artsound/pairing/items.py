"""The items of the catalogue that can be paired, and the splits of the tracks among them."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from artsound.pairing.splits import TrackSplits, split_tracks
from artsound.recipe import Recipe
from artsound.storage import Workspace, read_parquet

_ARTWORK_COLUMNS = ("artwork_id", "painter_id", "style", "cluster")
_TRACK_COLUMNS = ("track_id", "artist_id", "genre", "split", "cluster")


def usable_items(workspace: Workspace) -> tuple[pa.Table, pa.Table]:
    """Artworks and tracks by id, with what pairing asks of them.

    Items that the embed stage rejected are left out: it has already accounted for them.
    """
    lost = read_parquet(workspace.catalog / "rejects.parquet", "reject")
    lost = lost.filter(pc.equal(lost["stage"], "embed"))
    artworks = read_parquet(workspace.catalog / "artworks.parquet", "artwork", _ARTWORK_COLUMNS)
    artworks = _without(artworks.sort_by("artwork_id"), "artwork_id", lost["item_id"])
    tracks = read_parquet(workspace.catalog / "tracks.parquet", "track", _TRACK_COLUMNS)
    gone = pc.cast(lost.filter(pc.equal(lost["side"], "track"))["item_id"], pa.int32())
    return artworks, _without(tracks.sort_by("track_id"), "track_id", gone)


def split_of_tracks(tracks: pa.Table, recipe: Recipe) -> TrackSplits:
    """The splits of the tracks of `usable_items`, by `split_tracks`."""
    return split_tracks(
        tracks["split"].to_pylist(),
        tracks["artist_id"].to_pylist(),
        tracks["cluster"].to_pylist(),
        shares=recipe.split.shares,
        seed=recipe.seed,
    )


def _without(table: pa.Table, column: str, gone: pa.ChunkedArray) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table[column], gone)))
