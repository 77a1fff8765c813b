"""The sample as files: ArtGraph's OGB tables and pictures, FMA's tables and clips."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from artsound.keys import track_key
from artsound.sample.clips import HELD_OUT, Clip, plan_clips
from artsound.sample.compose import compose_score
from artsound.sample.genres import GENRES
from artsound.sample.museum import USABLE, WORKS, Work, painter_slug, picture_bytes, plan_museum
from artsound.sample.synth import SAMPLE_RATE, Score, encode_mp3, render
from artsound.storage import write_bytes

Mapper = Callable[..., Iterable[Any]]
"""`map`, or one that spreads its work over several processes and gives the results in order."""


def _csv(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _zip(files: Mapping[str, bytes], compression: int) -> bytes:
    """A zip whose bytes depend on nothing but the files: no date, no platform."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # Unix, wherever this runs
            entry.compress_type = compression
            archive.writestr(entry, data)
    return buffer.getvalue()


# --- ArtGraph --------------------------------------------------------------------------

ARTGRAPH_README = """\
A synthetic miniature of ArtGraph, painted by ArtSound's own code. No painter named here ever
lived, no picture is a reproduction, and every date, title and emotion is invented. The pictures
and their metadata are given to the public domain (CC0 1.0). A few files are broken on purpose.

mapping/, raw/       as in ArtGraph's OGB release; every painter's school is "synthetic"
imagesf2.zip         the pictures, under imagesf2/
truth.csv            the valence and arousal that each usable picture was painted for
"""

# (relation, node type, what a work relates to), in the order of the relation types.
RELATIONS: tuple[tuple[str, str, Callable[[Work], tuple[str, ...]]], ...] = (
    ("createdby", "artist", lambda work: (painter_slug(work.painter),)),
    ("hasstyle", "style", lambda work: (work.manner.style,)),
    ("hasgenre", "genre", lambda work: (work.motif.genre,)),
    ("about", "tag", lambda work: work.motif.tags),
    ("madeof", "media", lambda work: work.manner.media),
    ("hasperiod", "period", lambda work: (work.period,) if work.period else ()),
    ("elicit", "emotion", lambda work: work.emotions),
)
LABELS = ("style", "genre", "emotion")


def write_artgraph(folder: Path, *, seed: int, count: int = WORKS, mapper: Mapper = map) -> Path:
    """Write the sample's pictures under ``folder``/artgraph as ArtGraph lays them out.

    Beside mapping/, raw/ and imagesf2.zip there are a README and truth.csv (file, valence,
    arousal), which no reader opens: the point of the affect plane that each usable picture was
    painted for. Returns the path; about 8 s on one core.
    """
    works = plan_museum(seed, count)
    images = zip(works, mapper(picture_bytes, works), strict=True)
    found = {f"imagesf2/{work.file}": data for work, data in images if data is not None}
    truth = [(w.file, f"{w.valence:.4f}", f"{w.arousal:.4f}") for w in works if w.fault in USABLE]
    files = {
        **_graph(works),
        "imagesf2.zip": _zip(found, zipfile.ZIP_STORED),
        "README.txt": ARTGRAPH_README.encode(),
        "truth.csv": _csv([("file", "valence", "arousal"), *truth]),
    }
    for name, data in files.items():
        write_bytes(folder / "artgraph" / name, data)
    return folder / "artgraph"


def _graph(works: list[Work]) -> dict[str, bytes]:
    """The tables of the nodes, the edges and the labels, every index local to its node type."""
    names: dict[str, list[str]] = {"artwork": [work.file for work in works]}
    edges: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    files = {}
    for relation, node, related in RELATIONS:
        names[node] = sorted({name for work in works for name in related(work)})
        at = {name: index for index, name in enumerate(names[node])}
        edges["artwork", relation, node] = [
            (index, at[name]) for index, work in enumerate(works) for name in related(work)
        ]
        if node in LABELS:
            labels = _csv((at[related(work)[0]],) for work in works)
            files[f"raw/node-label/artwork/node-label-{node}.csv"] = labels
    names["training"] = ["synthetic"]
    edges["artist", "training", "training"] = [(i, 0) for i in range(len(names["artist"]))]
    for node, entries in names.items():
        files[f"mapping/{node}_entidx2name.csv"] = _csv(enumerate(entries))
    files["raw/num-node-dict.csv"] = _csv([list(names), [len(each) for each in names.values()]])
    files["raw/triplet-type-list.csv"] = _csv(edges)
    for number, (triplet, pairs) in enumerate(edges.items()):
        place = "raw/relations/" + "___".join(triplet)
        files[f"{place}/edge.csv"] = _csv(pairs)
        files[f"{place}/edge_reltype.csv"] = _csv([(number,)] * len(pairs))
        files[f"{place}/num-edge-list.csv"] = _csv([(len(pairs),)])
    return files


# --- FMA -------------------------------------------------------------------------------

ALBUM = "ArtSound Synthetic Sample"
# The tables of FMA's tracks.csv and their columns: its first two header lines.
COLUMNS: dict[str, tuple[str, ...]] = {
    "album": ("comments", "date_created", "date_released", "engineer", "favorites", "id",
              "information", "listens", "producer", "tags", "title", "tracks", "type"),
    "artist": ("active_year_begin", "active_year_end", "associated_labels", "bio", "comments",
               "date_created", "favorites", "id", "latitude", "location", "longitude", "members",
               "name", "related_projects", "tags", "website", "wikipedia_page"),
    "set": ("split", "subset"),
    "track": ("bit_rate", "comments", "composer", "date_created", "date_recorded", "duration",
              "favorites", "genre_top", "genres", "genres_all", "information", "interest",
              "language_code", "license", "listens", "lyricist", "number", "publisher", "tags",
              "title"),
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

FMA_README = """\
This archive is part of ArtSound's synthetic sample. It has the layout of the FMA, a dataset for
music analysis (https://github.com/mdeff/fma), and nothing of its content: every clip is composed
and synthesised by code, every artist, number and licence in the tables is made up.

The content's integrity can be verified with sha1sum -c checksums.
"""

_NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_SILENCE_SECONDS = 12


def write_fma(folder: Path, *, seed: int, held_out: int = HELD_OUT, mapper: Mapper = map) -> Path:
    """Write the sample's music under `folder`/fma as FMA lays it out.

    Beside fma_metadata.zip and fma_large.zip there is truth.csv (track_id, genre, valence, arousal,
    tempo, tonic, mode), which no reader opens: what each usable clip was composed for. Returns the
    path; about 20 s on one core.
    """
    for name, data in fma_files(plan_clips(seed, held_out), mapper).items():
        write_bytes(folder / "fma" / name, data)
    return folder / "fma"


def fma_files(clips: list[Clip], mapper: Mapper = map) -> dict[str, bytes]:
    """The files of the miniature FMA by name: composes, synthesises and encodes every clip."""
    scores = [clip_score(clip) for clip in clips]
    media = list(mapper(_media, scores, [clip.fault for clip in clips]))
    audio = {
        f"{clip.track_id // 1000:03d}/{track_key(clip.track_id)}.mp3": data
        for clip, data in zip(clips, media, strict=True)
        if clip.fault != "absent"
    }
    sizes = [len(data) for data in media]
    tables = {"tracks.csv": _tracks(clips, scores, sizes), "genres.csv": _genres(clips)}
    truth: list[tuple[object, ...]] = [
        (c.track_id, c.genre.title, f"{c.valence:.4f}", f"{c.arousal:.4f}", f"{s.tempo:.1f}",
         _NOTES[s.tonic], s.mode)
        for c, s in zip(clips, scores, strict=True)
        if c.fault in ("", "duplicate")
    ]  # fmt: skip
    header = ("track_id", "genre", "valence", "arousal", "tempo", "tonic", "mode")
    return {
        "fma_metadata.zip": _fma_zip("fma_metadata", tables),
        "fma_large.zip": _fma_zip("fma_large", audio),
        "truth.csv": _csv([header, *truth]),
    }


def _fma_zip(folder: str, files: dict[str, bytes]) -> bytes:
    """A zip of `folder` with README.txt and checksums, packed with BZIP2, as FMA's are."""
    sums = "".join(
        f"{hashlib.sha1(data, usedforsecurity=False).hexdigest()}  {name}\n"
        for name, data in files.items()
    )
    content = {"README.txt": FMA_README.encode(), "checksums": sums.encode(), **files}
    entries = {f"{folder}/{name}": data for name, data in content.items()}
    return _zip(entries, zipfile.ZIP_BZIP2)


def clip_score(clip: Clip) -> Score:
    """The clip, composed."""
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


def _tracks(clips: list[Clip], scores: list[Score], sizes: list[int]) -> bytes:
    columns = [(table, column) for table, names in COLUMNS.items() for column in names]
    rows: list[tuple[object, ...]] = [
        ("", *(table for table, _ in columns)),
        ("", *(column for _, column in columns)),
        ("track_id", *("" for _ in columns)),
    ]
    unlicensed = next((clip.track_id for clip in clips[5:] if not clip.fault), -1)
    for number, (clip, score, size) in enumerate(zip(clips, scores, sizes, strict=True)):
        cells = _cells(clip, number, score.seconds)
        cells["track"]["bit_rate"] = round(size * 8 / score.seconds)
        if clip.track_id == unlicensed:
            cells["track"]["license"] = ""
        rows.append((clip.track_id, *(cells[table].get(column, "") for table, column in columns)))
    return _csv(rows)


def _cells(clip: Clip, number: int, seconds: float) -> dict[str, dict[str, object]]:
    """The cells of a clip's row that are not blank, by table and column."""
    own, genre = _own_genre(clip), clip.genre
    moods = ["wild" if clip.arousal > 0 else "calm", "bright" if clip.valence > 0 else "dark"]
    year = 2009 + clip.artist_id % 9  # one album for each artist, so one date
    listens = int(np.random.default_rng([*clip.seed, clip.track_id]).integers(50, 9_000))
    return {
        "album": {
            "date_released": f"{year}-05-01 00:00:00",
            "id": clip.artist_id,
            "title": ALBUM,
        },
        "artist": {"id": clip.artist_id, "name": clip.artist},
        "set": {"split": clip.split, "subset": ("small", "medium", "large")[number % 3]},
        "track": {
            "date_recorded": f"{year}-04-01 00:00:00",
            "duration": round(seconds),
            "genre_top": genre.title,
            "genres": f"[{own}]",
            "genres_all": str(list(dict.fromkeys([own, genre.genre_id]))),
            "license": LICENSES[number % len(LICENSES)],
            "listens": listens,
            "tags": str(["synthetic", *moods]),
            "title": f"{clip.title} (synthetic)",
        },
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
