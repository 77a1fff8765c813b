"""A workspace that is ready to be captioned."""

from __future__ import annotations

from pathlib import Path

from caption_records import artwork, artwork_descriptors, track, track_descriptors

from artsound.storage import Workspace, write_parquet


def small_workspace(root: Path, count: int = 10, *, title: str = "Barges") -> Workspace:
    """Write records, measurements and `count` pairs, with three items of each side unpaired."""
    workspace = Workspace(root)
    names = [f"painter_work-{n}.jpg" for n in range(count + 3)]
    write_parquet(
        workspace.catalog / "artworks.parquet",
        "artwork",
        [artwork(artwork_id=name, title=title) for name in reversed(names)],
    )
    write_parquet(
        workspace.catalog / "tracks.parquet",
        "track",
        [track(track_id=f"{n:06d}") for n in range(count + 3)],
    )
    write_parquet(
        workspace.embeddings / "affect/artworks.parquet",
        "artwork_descriptors",
        [artwork_descriptors(artwork_id=name) for name in names],
    )
    write_parquet(
        workspace.embeddings / "affect/tracks.parquet",
        "track_descriptors",
        [track_descriptors(track_id=f"{n:06d}") for n in range(count + 3)],
    )
    write_parquet(
        workspace.pairs / "pairs.parquet",
        "pair",
        [
            {
                "track_id": f"{n:06d}",
                "artwork_id": names[count - n],
                "split": "train",
                "score": 0.5,
                "bridge": "affect",
                "percentile": 0.5,
                "margin": 0.0,
                "track_rank": 1,
                "artwork_rank": 1,
                "method": "sparse",
            }
            for n in range(count)
        ],
    )
    return workspace
