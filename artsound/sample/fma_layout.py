"""The sample's clips as a miniature Free Music Archive: the same zips, tables and columns."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from artsound.sample.clips import Clip, plan_clips
from artsound.sample.compose import compose_score
from artsound.sample.genres import GENRES
from artsound.sample.music import encode_mp3
from artsound.sample.score import Score
from artsound.sample.synth import SAMPLE_RATE, render
from artsound.sample.workers import Mapper
from artsound.storage import write_bytes

ALBUM = "ArtSound Synthetic Sample"
_SILENCE_SECONDS = 12

# The three header lines of FMA's tracks.csv: table, its columns.
COLUMNS: dict[str, tuple[str, ...]] = {
    "album": (
        "comments", "date_created", "date_released", "engineer", "favorites", "id", "information",
        "listens", "producer", "tags", "title", "tracks", "type",
    ),
    "artist": (
        "active_year_begin", "active_year_end", "associated_labels", "bio", "comments",
        "date_created", "favorites", "id", "latitude", "location", "longitude", "members", "name",
        "related_projects", "tags", "website", "wikipedia_page",
    ),
    "set": ("split", "subset"),
    "track": (
        "bit_rate", "comments", "composer", "date_created", "date_recorded", "duration",
        "favorites", "genre_top", "genres", "genres_all", "information", "interest",
        "language_code", "license", "listens", "lyricist", "number", "publisher", "tags", "title",
    ),
}  # fmt: skip

LICENSES = (
    "CC0 1.0 Universal",
    "Attribution 3.0 International",
    "Attribution",
    "Attribution-ShareAlike 3.0 International",
    "Attribution-NonCommercial 3.0 International",
    "Attribution-Noncommercial-Share Alike 3.0 United States",
    "Attribution-NonCommercial-ShareAlike 3.0 International",
    "Attribution-NonCommercial-NoDerivatives (aka Music Sharing) 3.0 International",
    "Creative Commons Attribution-NonCommercial-NoDerivatives 4.0",
)
"""FMA's own spellings, commonest kinds of licence; one clip of the sample has none."""

_README = """\
This archive is part of ArtSound's synthetic sample. It has the layout of the FMA, a dataset for
music analysis (https://github.com/mdeff/fma), and nothing of its content: every clip is composed
and synthesised by code, every artist and every number in the tables is made up. The licences are
varied so that the handling of licences can be tried.

The content's integrity can be verified with sha1sum -c checksums.
"""


def write_fma(folder: Path, *, seed: int, mapper: Mapper = map) -> Path:
    """The sample's music under `folder`/fma; that path.

    Writes fma_metadata.zip and fma_large.zip as FMA lays them out, and beside them truth.csv
    (track_id, genre, valence, arousal, tempo, tonic, mode), which no reader opens: what each usable
    clip was composed for. The same seed gives the same bytes. About 20 s on one core; `mapper`
    may spread the synthesis over several.
    """
    root = folder / "fma"
    for name, data in fma_files(plan_clips(seed), mapper).items():
        write_bytes(root / name, data)
    return root


def fma_files(clips: list[Clip], mapper: Mapper = map) -> dict[str, bytes]:
    """The files of the miniature FMA by name: composes, synthesises and encodes every clip."""
    scores = [_score(clip) for clip in clips]
    faults = [clip.fault for clip in clips]
    media = list(mapper(_media, scores, faults))
    audio = {
        f"{clip.track_id // 1000:03d}/{clip.track_id:06d}.mp3": data
        for clip, data in zip(clips, media, strict=True)
        if clip.fault != "absent"
    }
    sizes = [len(data) for data in media]
    tables = {"tracks.csv": _tracks(clips, scores, sizes), "genres.csv": _genres(clips)}
    return {
        "fma_metadata.zip": _zip("fma_metadata", tables),
        "fma_large.zip": _zip("fma_large", audio),
        "truth.csv": _truth(clips, scores),
    }


def _score(clip: Clip) -> Score:
    rng = np.random.default_rng(clip.seed)
    return compose_score(clip.genre, clip.valence, clip.arousal, clip.seconds, rng)


def _media(score: Score, fault: str) -> bytes:
    """The clip's file, with its fault."""
    if fault in ("empty", "absent"):
        return b""
    if fault == "silent":
        return encode_mp3(np.zeros(_SILENCE_SECONDS * SAMPLE_RATE, np.float32))
    samples = render(score)
    data = encode_mp3(samples[:SAMPLE_RATE] if fault == "one second" else samples)
    return data[: len(data) // 3] if fault == "cut" else data


_NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def _truth(clips: list[Clip], scores: list[Score]) -> bytes:
    rows: list[tuple[object, ...]] = [
        ("track_id", "genre", "valence", "arousal", "tempo", "tonic", "mode")
    ]
    for clip, score in zip(clips, scores, strict=True):
        if clip.fault in ("", "duplicate"):
            affect = (f"{clip.valence:.4f}", f"{clip.arousal:.4f}", f"{score.tempo:.1f}")
            rows.append((clip.track_id, clip.genre.title, *affect, _NOTES[score.tonic], score.mode))
    return _csv(rows)


# --- tables ----------------------------------------------------------------------------


def _csv(rows: list[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _tracks(clips: list[Clip], scores: list[Score], sizes: list[int]) -> bytes:
    pairs = [(table, column) for table, columns in COLUMNS.items() for column in columns]
    header: list[tuple[object, ...]] = [
        ("", *(table for table, _ in pairs)),
        ("", *(column for _, column in pairs)),
        ("track_id", *("" for _ in pairs)),
    ]
    per_artist = Counter(clip.artist_id for clip in clips)
    unlicensed = next((clip.track_id for clip in clips[5:] if not clip.fault), -1)
    rows: list[tuple[object, ...]] = []
    for number, clip in enumerate(clips):
        rng = np.random.default_rng([*clip.seed, clip.track_id])
        seconds = scores[number].seconds
        cells = _album(clip, per_artist[clip.artist_id]) | _artist(clip)
        cells |= _track(clip, rng, number, seconds)
        cells["track", "bit_rate"] = round(sizes[number] * 8 / seconds)
        if clip.track_id == unlicensed:
            cells["track", "license"] = ""
        rows.append((clip.track_id, *(cells.get(pair, "") for pair in pairs)))
    return _csv([*header, *rows])


Cells = dict[tuple[str, str], object]


def _album(clip: Clip, tracks: int) -> Cells:
    rng = np.random.default_rng([clip.seed[0], clip.artist_id])
    year = 2009 + clip.artist_id % 9  # one album for each artist, so one date
    return {
        ("album", "comments"): 0,
        ("album", "date_created"): f"{year}-06-01 12:00:00",
        ("album", "date_released"): f"{year}-05-01 00:00:00",
        ("album", "engineer"): "ArtSound",
        ("album", "favorites"): int(rng.integers(0, 20)),
        ("album", "id"): clip.artist_id,
        ("album", "information"): "<p>Synthetic: composed and played by a computer program.</p>",
        ("album", "listens"): int(rng.integers(100, 20_000)),
        ("album", "producer"): "ArtSound",
        ("album", "tags"): "['synthetic']",
        ("album", "title"): ALBUM,
        ("album", "tracks"): tracks,
        ("album", "type"): "Album",
    }


def _artist(clip: Clip) -> Cells:
    name = clip.artist.removesuffix(" (synthetic)")
    return {
        ("artist", "active_year_begin"): "2009-01-01 00:00:00",
        ("artist", "associated_labels"): "ArtSound",
        ("artist", "bio"): f"<p>{name} do not exist: their music is computed by ArtSound.</p>",
        ("artist", "comments"): 0,
        ("artist", "date_created"): "2009-01-01 12:00:00",
        ("artist", "favorites"): clip.artist_id % 17,
        ("artist", "id"): clip.artist_id,
        ("artist", "location"): "Nowhere",
        ("artist", "members"): "A computer program",
        ("artist", "name"): clip.artist,
        ("artist", "tags"): "['synthetic']",
        ("artist", "website"): "https://example.org/artsound-synthetic-sample",
    }


def _track(clip: Clip, rng: np.random.Generator, number: int, seconds: float) -> Cells:
    genre = clip.genre
    own = _own_genre(clip)
    moods = ["wild" if clip.arousal > 0 else "calm", "bright" if clip.valence > 0 else "dark"]
    year = 2009 + clip.artist_id % 9
    listens = int(rng.integers(50, 9_000))
    return {
        ("set", "split"): clip.split,
        ("set", "subset"): ("small", "medium", "large")[number % 3],
        ("track", "comments"): 0,
        ("track", "composer"): "ArtSound (a computer program)",
        ("track", "date_created"): f"{year}-06-02 12:00:00",
        ("track", "date_recorded"): f"{year}-04-01 00:00:00",
        ("track", "duration"): round(seconds),
        ("track", "favorites"): int(rng.integers(0, 40)),
        ("track", "genre_top"): genre.title,
        ("track", "genres"): f"[{own}]",
        ("track", "genres_all"): str(list(dict.fromkeys([own, genre.genre_id]))),
        ("track", "information"): "<p>Synthetic: no musician played this.</p>",
        ("track", "interest"): 3 * listens,
        ("track", "license"): LICENSES[number % len(LICENSES)],
        ("track", "listens"): listens,
        ("track", "number"): number + 1,
        ("track", "publisher"): "ArtSound",
        ("track", "tags"): str(["synthetic", *moods]),
        ("track", "title"): f"{clip.title} (synthetic)",
    }


def _own_genre(clip: Clip) -> int:
    """The calm or the wild subgenre where the clip is either, else the top-level genre."""
    if abs(clip.arousal) < 1 / 3:
        return clip.genre.genre_id
    return clip.genre.subgenres[clip.arousal > 0][0]


def _genres(clips: list[Clip]) -> bytes:
    """FMA's ids and titles of the genres used, counted in the sample."""
    titles = {genre.genre_id: (genre.title, 0) for genre in GENRES}
    for genre in GENRES:
        for number, title in genre.subgenres:
            titles.setdefault(number, (title, genre.genre_id))
    used = Counter(n for clip in clips for n in {clip.genre.genre_id, _own_genre(clip)})
    rows = [
        (number, used[number], parent, title, parent or number)
        for number, (title, parent) in sorted(titles.items())
    ]
    return _csv([("genre_id", "#tracks", "parent", "title", "top_level"), *rows])


# --- archives --------------------------------------------------------------------------


def _zip(folder: str, files: dict[str, bytes]) -> bytes:
    """A zip of `folder` with README.txt and checksums as FMA's have; same files, same bytes."""
    sums = "".join(
        f"{hashlib.sha1(data, usedforsecurity=False).hexdigest()}  {name}\n"
        for name, data in files.items()
    )
    content = {"README.txt": _README.encode(), "checksums": sums.encode(), **files}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(f"{folder}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, wherever this runs
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_BZIP2  # as the FMA packs all that it publishes
            archive.writestr(entry, data)
    return buffer.getvalue()
