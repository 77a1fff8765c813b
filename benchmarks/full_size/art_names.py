"""ArtGraph's artworks by name: real ones from the reference metadata, the others invented."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

STYLES = (
    "Impressionism", "Realism", "Romanticism", "Expressionism", "Post_Impressionism", "Baroque",
    "Symbolism", "Cubism", "Rococo", "Ukiyo_e", "Abstract_Expressionism", "Pop_Art",
)  # fmt: skip
GENRES = (
    "abstract_painting", "cityscape", "genre_painting", "illustration", "landscape",
    "nude_painting", "portrait", "religious_painting", "sketch_and_study", "still_life",
)  # fmt: skip
EMOTIONS = (
    "amusement", "anger", "awe", "contentment", "disgust", "excitement", "fear", "sadness",
    "something else",
)  # fmt: skip
_MEDIA = ("oil", "canvas", "paper", "watercolor", "panel", "ink", "tempera")
_TAGS = ("tree", "river", "sky", "house", "portrait", "flower", "boat", "crowd", "mountain")
_INVENTED_PAINTERS = 500


@dataclass(frozen=True, slots=True)
class Artwork:
    """One node of the graph and what it is linked to."""

    file: str
    painter: str
    style: str
    genre: str
    school: str
    tags: tuple[str, ...]
    media: tuple[str, ...]
    emotions: tuple[str, ...]


def artworks(count: int, reference: Path | None) -> list[Artwork]:
    """`count` artworks, file names ascending; real ones first, when a reference folder is given."""
    lists = _read(reference) if reference else _Lists({}, {}, {})
    files = sorted(lists.styles)
    if len(files) > count:  # evenly, so that styles and painters keep their shares
        files = [files[number * len(files) // count] for number in range(count)]
    found = [_real(file, lists) for file in files]
    found += [_invented(number) for number in range(count - len(found))]
    return sorted(found, key=lambda work: work.file)


@dataclass(frozen=True)
class _Lists:
    """What published lists tell of files: style ("" unknown), genre, and a row of more."""

    styles: dict[str, str]
    genres: dict[str, str]
    rows: dict[str, dict[str, str]]


def _read(reference: Path) -> _Lists:
    styles: dict[str, str] = {}
    for part in ("train", "val"):
        for path, _ in _rows(reference / f"ArtGAN_style_{part}.csv"):
            style, _, file = path.partition("/")
            styles.setdefault(file, style)
    genres = {
        path.partition("/")[2]: GENRES[int(genre)]
        for part in ("train", "val")
        for path, genre in _rows(reference / f"ArtGAN_genre_{part}.csv")
    }
    rows: dict[str, dict[str, str]] = {}
    with (reference / "ArtSAGENet_wikiart_artists.csv").open(encoding="utf-8") as table:
        for row in csv.DictReader(table):
            rows[row["image"]] = row
            styles.setdefault(row["image"], row["relative_path"].partition("/")[0])
    paired = json.loads((reference / "art2mus_pairs_10000.json").read_text(encoding="utf-8"))
    for file in paired["Image"].values():
        styles.setdefault(file, "")
    usable = {
        file: style
        for file, style in styles.items()
        if "_" in file and file.lower().endswith(".jpg") and file.isprintable()
    }
    return _Lists(usable, genres, rows)


def _real(file: str, lists: _Lists) -> Artwork:
    rng = np.random.default_rng([1, *file.encode()])
    row = lists.rows.get(file, {})
    tags = tuple(tag.strip() for tag in row.get("tags", "").split(",") if tag.strip())
    return Artwork(
        file,
        file.partition("_")[0],
        lists.styles[file] or str(rng.choice(STYLES)),
        lists.genres.get(file) or str(rng.choice(GENRES)),
        row.get("artist_school", "").split(",")[0],
        tags or _drawn(rng, _TAGS, 4),
        _drawn(rng, _MEDIA, 2),
        _drawn(rng, EMOTIONS, 2),
    )


def _invented(number: int) -> Artwork:
    rng = np.random.default_rng([2, number])
    painter = int(_INVENTED_PAINTERS * rng.beta(1, 3))  # a few have many works
    year = 1500 + (painter * 37) % 400 + int(rng.integers(40))
    style, genre = str(rng.choice(STYLES)), str(rng.choice(GENRES))
    name = f"invented-painter-{painter:04d}"
    return Artwork(
        f"{name}_{genre.replace('_', '-')}-{number:06d}-{year}.jpg",
        name,
        style,
        genre,
        "invented",
        _drawn(rng, _TAGS, 4),
        _drawn(rng, _MEDIA, 2),
        _drawn(rng, EMOTIONS, 2),
    )


def _drawn(rng: np.random.Generator, names: tuple[str, ...], most: int) -> tuple[str, ...]:
    chosen = rng.choice(len(names), int(rng.integers(0, most + 1)), replace=False)
    return tuple(names[place] for place in sorted(chosen))


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8", errors="replace", newline="") as table:
        for row in csv.reader(table):
            if len(row) == 2 and row[1].isdecimal():
                yield row[0], row[1]
