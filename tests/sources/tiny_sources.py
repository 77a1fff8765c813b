"""Small sources in the real layouts, written by the tests that read them."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

COLUMNS = (
    "album.date_released", "album.title", "artist.id", "artist.name", "set.split", "set.subset",
    "track.date_recorded", "track.duration", "track.genre_top", "track.genres",
    "track.genres_all", "track.language_code", "track.license", "track.listens", "track.tags",
    "track.title",
)  # fmt: skip
GENRES = (
    ("genre_id", "#tracks", "parent", "title", "top_level"),
    (12, 10, 0, "Rock", 12),
    (45, 5, 12, "Loud-Rock", 12),
    (58, 2, 45, "Thrash", 12),
    (4, 3, 0, "Jazz", 4),
)


@cache
def picture(seed: int = 0, size: tuple[int, int] = (160, 140), kind: str = "JPEG") -> bytes:
    """A picture file that no other seed gives."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (6, 7, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(file, kind)
    return file.getvalue()


@cache
def clip(seed: int = 0, seconds: float = 11.0) -> bytes:
    """An MP3 file of noise and tones that no other seed gives."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(22_050 * seconds)) / 22_050
    sound = rng.normal(0, 0.05, time.size)
    for start in np.arange(0, seconds, 0.5):
        pitch = rng.uniform(150, 1200)
        window = (time >= start) & (time < start + 0.5)
        sound[window] += 0.3 * np.sin(2 * np.pi * pitch * time[window])
    file = io.BytesIO()
    soundfile.write(file, sound.astype(np.float32), 22_050, format="MP3")
    return file.getvalue()


def table(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def tracks_csv(rows: Sequence[Mapping[str, object]], columns: Sequence[str] = COLUMNS) -> bytes:
    """tracks.csv with its three header lines; a row names its columns and `track_id`."""
    header = [
        ["", *(column.split(".")[0] for column in columns)],
        ["", *(column.split(".")[1] for column in columns)],
        ["track_id", *("" for _ in columns)],
    ]
    usual = {"set.split": "training", "set.subset": "small", "track.genres": "[12]"}
    body = [
        [row["track_id"], *({**usual, **row}.get(column, "") for column in columns)] for row in rows
    ]
    return table([*header, *body])


def write_files(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def fma_files(rows: Sequence[Mapping[str, object]], clips: Mapping[int, bytes]) -> dict[str, bytes]:
    """The files of an FMA source."""
    return {
        "fma_metadata/tracks.csv": tracks_csv(rows),
        "fma_metadata/genres.csv": table(GENRES),
        **{f"fma_large/{i // 1000:03d}/{i:06d}.mp3": data for i, data in clips.items()},
    }


def artgraph_files(
    names: Sequence[str],
    images: Mapping[str, bytes],
    relations: Mapping[str, tuple[Sequence[str], Sequence[tuple[int, int]]]] | None = None,
) -> dict[str, bytes]:
    """The files of an ArtGraph source.

    `relations` maps "artwork___hasstyle___style" to the names of its target nodes and its edges.
    """
    files = {"mapping/artwork_entidx2name.csv": table(list(enumerate(names)))}
    for relation, (targets, edges) in (relations or {}).items():
        target = relation.split("___")[2]
        files[f"mapping/{target}_entidx2name.csv"] = table(list(enumerate(targets)))
        files[f"raw/relations/{relation}/edge.csv"] = table(edges)
    return {**files, **{f"imagesf2/{name}": data for name, data in images.items()}}
