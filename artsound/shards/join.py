"""Pairs joined with all that is known of both sides: one row per sample-to-be."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from artsound.errors import BadData
from artsound.storage import Workspace, read_parquet, sha256_file
from artsound.tables import arrow_schema, json_schema

# Sample field -> column of the artwork's, the track's row.
_ARTWORK = {
    "artwork_id": "artwork_id",
    "artwork_title": "title",
    "painter": "painter",
    "painter_id": "painter_id",
    "year": "year",
    "style": "style",
    "genre": "genre",
    "school": "school",
    "period": "period",
    "tags": "tags",
    "media": "media",
    "emotions": "emotions",
    "artwork_license_id": "license_id",
    "artwork_redistribute": "redistribute",
    "artwork_derivatives": "derivatives",
    "artwork_commercial": "commercial",
    "artwork_rights_reason": "rights_reason",
    "artwork_source": "source",
    "artwork_source_url": "source_url",
    "image_original_sha256": "image_sha256",
    "artwork_cluster": "cluster",
    "image_path": "image_path",
}
_TRACK = {
    "track_id": "track_id",
    "title": "title",
    "artist": "artist",
    "artist_id": "artist_id",
    "album": "album",
    "music_genre": "genre",
    "music_genres": "genres",
    "music_tags": "tags",
    "duration": "duration",
    "loudness": "loudness",
    "track_license": "license",
    "track_license_id": "license_id",
    "track_redistribute": "redistribute",
    "track_derivatives": "derivatives",
    "track_commercial": "commercial",
    "track_share_alike": "share_alike",
    "track_source": "source",
    "track_source_url": "source_url",
    "audio_sha256": "audio_sha256",
    "track_cluster": "cluster",
    "audio_path": "audio_path",
    "audio_format": "audio_format",
}
_PAIR = {name: name for name in ("track_id", "artwork_id", "split", "score", "bridge", "margin")}
_PICTURE = {name: name for name in ("artwork_id", "lightness", "saturation", "warmth")}
_SOUND = {name: name for name in ("track_id", "tempo", "key", "mode")}
EXTRA = ("image_path", "audio_path", "audio_format")


def joined(workspace: Workspace) -> pl.DataFrame:
    """A row per pair: every field of a sample but `image_sha256`, and the fields in EXTRA.

    Computed once per process and state of the inputs. Raises BadData when an input is missing,
    or lacks an item that a pair names.
    """
    files = tuple(
        (str(path), sha256_file(path) if path.is_file() else "") for path in _inputs(workspace)
    )
    return _joined(workspace.root, files)


def _inputs(workspace: Workspace) -> list[Path]:
    affect = workspace.embeddings / "affect"
    return [
        workspace.pairs / "pairs.parquet",
        workspace.catalog / "artworks.parquet",
        workspace.catalog / "tracks.parquet",
        workspace.captions / "artworks.parquet",
        workspace.captions / "tracks.parquet",
        affect / "artworks.parquet",
        affect / "tracks.parquet",
    ]


@functools.lru_cache(maxsize=1)
def _joined(root: Path, _state: tuple[tuple[str, str], ...]) -> pl.DataFrame:
    paths = _inputs(Workspace(root))
    pairs = _read(paths[0], "pair", _PAIR)
    artworks = _read(paths[1], "artwork", _ARTWORK)
    tracks = _read(paths[2], "track", _TRACK)
    picture = _read(paths[5], "artwork_descriptors", _PICTURE)
    sound = _read(paths[6], "track_descriptors", _SOUND)
    key = pl.col("track_id").cast(pl.String).str.zfill(6)
    rows = (
        pairs.join(artworks, on="artwork_id", how="left", validate="m:1")
        .join(tracks, on="track_id", how="left", validate="1:1")
        .join(picture, on="artwork_id", how="left", validate="m:1")
        .join(sound, on="track_id", how="left", validate="1:1")
        .with_columns(
            key=key,
            key_signature=pl.col("key") + " " + pl.col("mode"),
            synthetic=(pl.col("artwork_source") == "sample") | (pl.col("track_source") == "sample"),
        )
        .join(_captions(paths[3], "artwork", "artwork_id"), on="artwork_id", how="left")
        .join(_captions(paths[4], "music", "key"), on="key", how="left")
    )
    fields = [name for name in json_schema("sample")["properties"] if name != "image_sha256"]
    rows = rows.select(*fields, *EXTRA).sort("key")
    for name in rows.columns:
        if rows[name].null_count():
            pair = rows.filter(pl.col(name).is_null())["key"][0]
            raise BadData(
                f"The pair of track {pair} has no {name} in {root}: "
                "run the stages before `shard` again."
            )
    return rows


def _read(path: Path, record: str, columns: Mapping[str, str]) -> pl.DataFrame:
    table = read_parquet(path, record, sorted(set(columns.values())))
    frame = pl.DataFrame(pl.from_arrow(table))
    return frame.select(pl.col(column).alias(name) for name, column in columns.items())


def _captions(path: Path, prefix: str, key: str) -> pl.DataFrame:
    columns = {key: "item_id", f"{prefix}_caption": "caption", f"{prefix}_captioner": "captioner"}
    return _read(path, "caption", columns).unique(key, keep="any")


def float32_fields() -> frozenset[str]:
    """The fields of a sample that the index keeps in 32 bits."""
    return frozenset(f.name for f in arrow_schema("sample") if str(f.type) == "float")
