"""Small samples made by code, and shards of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from PIL import Image

import artsound
from artsound.columns import SAMPLE
from artsound.schema import arrow_schema, to_table
from artsound.shards.format import sample_json, write_shard
from artsound.shards.index import SPLITS, index_rows, write_index
from artsound.shards.subset import members, moved
from artsound.storage import sha256_bytes

_STYLES = ("Impressionism", "Ukiyo-e", "Cubism")
_GENRES = ("Jazz", "Rock", "Folk", "Electronic")


def picture(number: int, size: tuple[int, int] = (96, 64)) -> bytes:
    """A JPEG of stripes, another for each number."""
    rng = np.random.default_rng(number)
    stripes = np.repeat(rng.integers(0, 255, (8, 1, 3), dtype=np.uint8), size[1] // 8, axis=0)
    out = io.BytesIO()
    Image.fromarray(np.repeat(stripes, size[0], axis=1)).save(out, "JPEG")
    return out.getvalue()


def clip(number: int, seconds: float = 1.0, rate: int = 22_050) -> bytes:
    """An MP3 of one tone, another for each number."""
    time = np.arange(round(seconds * rate)) / rate
    out = io.BytesIO()
    tone = 0.4 * np.sin(2 * np.pi * (220 + 7 * number) * time)
    soundfile.write(out, tone, rate, format="MP3")
    return out.getvalue()


def sample(number: int, image: bytes, audio: bytes, split: str = "train") -> dict[str, Any]:
    """All fields of a sample; painter, musician and clusters stay within a split."""
    unknown = {"string": "", "bool": False, "float": 0.25, "double": 0.25}
    fields: dict[str, Any] = {}
    for field in arrow_schema("sample"):
        kind = str(field.type)
        fields[field.name] = [] if kind.startswith("list") else unknown.get(kind)
        if field.nullable:
            fields[field.name] = None
    fields |= {
        "key": f"{number:06d}",
        "track_id": f"{number:06d}",
        "artwork_id": f"painter-{split}-{number % 5}_work-{number}.jpg",
        "split": split,
        "artwork_caption": f"A striped picture, number {number}.",
        "track_caption": f"One plain tone, number {number}.",
        "painter": f"Painter {split} {number % 5}",
        "painter_id": f"painter-{split}-{number % 5}",
        "artwork_year": 1800 + number % 200,
        "artwork_style": _STYLES[number % len(_STYLES)],
        "artwork_genre": ("landscape", "portrait")[number % 2],
        "artwork_tags": ["sea", "boat"][: number % 3],
        "track_title": f"Tone {number}, “played” by 楽器",
        "musician": f"Musician {number % 7}",
        "musician_id": SPLITS.index(split) * 100 + number % 7,
        "track_genre": _GENRES[number % len(_GENRES)],
        "track_genres": [_GENRES[number % len(_GENRES)]],
        "score": float(str(np.float32((number * 37 % 100) / 100))),
        "bridge": "affect",
        "artwork_source": "sample",
        "track_source": "sample",
        "track_license": "CC BY 4.0",
        "artwork_ai_training": "allowed",
        "track_ai_training": "allowed-with-attribution",
        **dict.fromkeys(("artwork_ai_training_source", "track_ai_training_source"), "licence"),
        "image_sha256": sha256_bytes(image),
        "image_original_sha256": sha256_bytes(image),
        "audio_sha256": sha256_bytes(audio),
        "artwork_cluster": f"painter-{split}-{number % 5}_work-{number}.jpg",
        "track_cluster": f"{number:06d}",
        "synthetic": True,
    }
    return fields


def make_shards(
    folder: Path, counts: dict[str, list[int]], *, first: int = 10, media: int = 6
) -> Path:
    """Shards with so many samples each, per split; `media` different pictures and clips."""
    pictures = [picture(number) for number in range(media)]
    clips = [clip(number) for number in range(media)]
    shards, rows = [], []
    number = first
    folder.mkdir(parents=True, exist_ok=True)
    for split, sizes in counts.items():
        for index, size in enumerate(sizes):
            some = []
            for _ in range(size):
                # A picture and clip of its own split each, so that splits share nothing.
                one = (number % (media // 3)) * 3 + SPLITS.index(split)
                fields = sample(number, pictures[one], clips[one], split)
                members = {"jpg": pictures[one], "mp3": clips[one], "json": sample_json(fields)}
                some.append((fields, members))
                number += 1
            path = folder / f"artsound-{split}-{index:06d}.tar"
            shard, placed = write_shard(path, split, ((f["key"], m) for f, m in some))
            shards.append(shard)
            rows += index_rows(shard.name, [fields for fields, _ in some], placed)
    write_index(folder, "stripes", "", shards, to_table("index", rows))
    return folder


def rewrite_shards(folder: Path, rows: pl.DataFrame, name: str = "stripes", **more: Any) -> None:
    """Write a release again with other values of its rows, in its shards and in its index."""
    data = artsound.open(folder)
    shards, frames = [], []
    places = {key: n for n, key in enumerate(data.frame["key"])}
    for shard in data.shards:
        mine = rows.filter(pl.col("shard") == shard.name)
        numbers = [places[key] for key in mine["key"]]
        fields = mine.select(arrow_schema("sample").names).iter_rows(named=True)
        samples = [
            (key, {**parts, "json": sample_json(row)})
            for (key, parts), row in zip(members(data, numbers), fields, strict=True)
        ]
        written, placed = write_shard(folder / shard.name, shard.split, samples)
        shards.append(written)
        frames.append(moved(mine, written.name, placed))
    write_index(folder, name, "", shards, pl.concat(frames).to_arrow(), more)


@pytest.fixture(scope="session")
def rewrite() -> Callable[..., None]:
    """Writes a release again with other values of its rows."""
    return rewrite_shards


@pytest.fixture(scope="session")
def pictures() -> list[bytes]:
    """Six different small JPEGs."""
    return [picture(number) for number in range(6)]


@pytest.fixture(scope="session")
def clips() -> list[bytes]:
    """Six different one-second MP3s."""
    return [clip(number) for number in range(6)]


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound folder of shards: 5 of train, 1 of val, 1 of test; 45 samples. Do not write to it."""
    counts = {"train": [8, 7, 8, 7, 7], "val": [4], "test": [4]}
    return make_shards(tmp_path_factory.mktemp("shards"), counts)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """A folder of shards to spoil: make({"train": [3, 3]})."""
    return lambda counts, name="shards", **options: make_shards(tmp_path / name, counts, **options)


@pytest.fixture(scope="session")
def late_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shard of each split; all that may be unknown is, but in the last three of 1,003 samples."""
    folder = tmp_path_factory.mktemp("late")
    image, audio = picture(0, (16, 8)), clip(0, 0.2)
    shards, rows, number = [], [], 10
    unknown = {column.name: None for column in SAMPLE if column.unknown}
    unknown |= {column.name: [] for column in SAMPLE if column.kind == "texts"}
    for split in SPLITS:
        some = []
        for place in range(1003):
            fields = sample(number, image, audio, split)
            fields |= dict(unknown) if place < 1000 else {
                "artwork_year": 1850, "musician_id": number, "artwork_tags": ["sea", "boat"],
                "album": "Tones",
            }  # fmt: skip
            some.append((fields, {"jpg": image, "mp3": audio, "json": sample_json(fields)}))
            number += 1
        path = folder / f"artsound-{split}-000000.tar"
        shard, placed = write_shard(path, split, ((f["key"], m) for f, m in some))
        shards.append(shard)
        rows += index_rows(shard.name, [fields for fields, _ in some], placed)
    write_index(folder, "late", "", shards, to_table("index", rows))
    return folder
