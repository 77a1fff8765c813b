"""The FMA's tracks.csv at any size: real rows and numbers from the reference, others invented."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from artsound.sample.layouts import COLUMNS

Row = dict[tuple[str, str], str]

FIELDS = tuple((table, column) for table, columns in COLUMNS.items() for column in columns)
_LAST_ID = 155_320
_RESERVED = 900_000  # ids from here on are not the FMA's
_ARTISTS = 16_341
_SPLITS = (("training", 84_353), ("validation", 10_958), ("test", 11_263))
# The commonest licences and how many of the 106,574 tracks have them; the rest counts as BY.
LICENCES = (
    ("Attribution-Noncommercial-Share Alike 3.0 United States", 19_250),
    ("Attribution-NonCommercial-NoDerivatives (aka Music Sharing) 3.0 International", 17_732),
    ("Attribution-NonCommercial-ShareAlike 3.0 International", 15_260),
    ("Creative Commons Attribution-NonCommercial-NoDerivatives 4.0", 12_133),
    ("Attribution-NonCommercial-NoDerivatives (aka Music Sharing) 3.0 United States", 10_584),
    ("Attribution", 28_965),
    ("Attribution-ShareAlike 3.0 International", 1_549),
)
# Top-level genres that the FMA's genres.csv has, with their ids.
GENRES = (
    ("Rock", 12), ("Electronic", 15), ("Experimental", 38), ("Hip-Hop", 21), ("Folk", 17),
    ("Instrumental", 1235), ("Pop", 10), ("International", 2), ("Classical", 5), ("Jazz", 4),
    ("Old-Time / Historic", 8), ("Country", 9), ("Soul-RnB", 14), ("Spoken", 20), ("Blues", 3),
    ("Easy Listening", 13),
)  # fmt: skip
_WEIGHTS = 1.0 / np.arange(1, len(GENRES) + 1)


def track_rows(count: int, data: Path | None) -> dict[int, Row]:
    """`count` rows of tracks.csv by ascending id; `data` holds fma/ and reference/, or is None.

    Rows that the reference holds come first, then ids of which it tells numbers, then any ids.
    """
    known = _known(data) if data else {}
    numbers = _numbers(data) if data else {}
    missing = _missing(data) if data else set()
    any_id = (number for number in range(2, _LAST_ID) if number not in missing)
    ids = list(dict.fromkeys([*sorted(known), *sorted(numbers), *any_id]))
    if count >= len(known) + len(numbers):
        chosen = ids[:count]
    else:  # evenly, so that genres and splits keep their shares
        chosen = [ids[number * len(ids) // count] for number in range(count)]
    return {
        track_id: _filled(track_id, known.get(track_id, {}), numbers.get(track_id, {}))
        for track_id in sorted(chosen)
    }


def write_tracks(path: Path, rows: dict[int, Row]) -> None:
    """tracks.csv as published: three header lines and 52 columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["", *(name for name, _ in FIELDS)])
        table.writerow(["", *(column for _, column in FIELDS)])
        table.writerow(["track_id", *("" for _ in FIELDS)])
        for track_id, row in rows.items():
            table.writerow([track_id, *(row.get(field, "") for field in FIELDS)])


def write_genres(path: Path, data: Path | None) -> None:
    """genres.csv: the real one where it is there, else its top level."""
    if data:
        path.write_bytes((data / "fma" / "fma_metadata" / "genres.csv").read_bytes())
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("genre_id", "#tracks", "parent", "title", "top_level"))
        table.writerows((number, 0, 0, title, number) for title, number in GENRES)


def _known(data: Path) -> dict[int, Row]:
    """Rows of the reference's tracks.csv, empty cells left out."""
    rows: dict[int, Row] = {}
    with (data / "fma" / "fma_metadata" / "tracks.csv").open(encoding="utf-8", newline="") as file:
        table = csv.reader(file)
        fields = list(zip(next(table), next(table), strict=True))
        next(table)
        for cells in table:
            if int(cells[0]) < _RESERVED:
                pairs = zip(fields[1:], cells[1:], strict=True)
                rows[int(cells[0])] = {field: cell for field, cell in pairs if cell}
    return rows


def _numbers(data: Path) -> dict[int, Row]:
    """Bit rate, length and listens of 90,290 tracks."""
    columns = {"bit_rate": "bit_rate", "duration": "duration", "track_listens": "listens"}
    with (data / "reference" / "fma_90290_tracks.csv").open(encoding="utf-8") as file:
        return {
            round(float(row["track_id"])): {
                ("track", ours): f"{float(row[theirs]):.0f}"
                for theirs, ours in columns.items()
                if row[theirs]
            }
            for row in csv.DictReader(file)
        }


def _missing(data: Path) -> set[int]:
    text = (data / "reference" / "fma_not_found.json").read_text(encoding="utf-8")
    return set(json.loads(text)["tracks"])


def _filled(track_id: int, known: Row, numbers: Row) -> Row:
    """A row with what is known, and with made-up values where a build needs one."""
    rng = np.random.default_rng([3, track_id])
    artist = int(_ARTISTS * rng.beta(1, 3))  # a few artists have many tracks
    genre, number = GENRES[int(rng.choice(len(GENRES), p=_WEIGHTS / _WEIGHTS.sum()))]
    licences, shares = zip(*LICENCES, strict=True)
    row: Row = {
        ("set", "subset"): "large",
        ("track", "license"): str(rng.choice(licences, p=np.array(shares) / sum(shares))),
    }
    if ("track", "genre_top") not in known:
        row |= {
            ("track", "genre_top"): genre,
            ("track", "genres"): f"[{number}]",
            ("track", "genres_all"): f"[{number}]",
        }
    if ("set", "split") not in known:
        # Everything of an invented artist lies in one split, as the FMA's own artists do.
        row |= {
            ("artist", "id"): str(1_000_000 + artist),
            ("artist", "name"): f"Invented Artist {artist}",
            ("album", "title"): f"Invented Album {artist}",
            ("set", "split"): _split_of(artist),
            ("album", "date_released"): f"{2005 + artist % 12}-01-01",
        }
    if ("track", "title") not in known:
        row["track", "title"] = f"Untitled {track_id}"
    return row | numbers | known


def _split_of(artist: int) -> str:
    place = np.random.default_rng([4, artist]).integers(sum(share for _, share in _SPLITS))
    return next(name for name, end in _ends() if place < end)


def _ends() -> Iterator[tuple[str, int]]:
    end = 0
    for name, share in _SPLITS:
        end += share
        yield name, end
