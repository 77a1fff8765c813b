"""Tables exported from ArtGraph's Neo4j dump: in place of the OGB layout, or beside it.

ArtGraph 2 is also shipped as a Neo4j 4.4 dump, whose nodes hold what the OGB layout lacks: the
address of each image, and what is known of the painters. Load the dump and export two files with
APOC (`apoc.export.file.enabled=true`), then lay them beside the images, or beside mapping/:

    CALL apoc.export.csv.query("
      MATCH (a:Artwork) RETURN a.name AS name, a.image_url AS image_url,
        [(a)--(x:Artist) | x.name][0] AS artist, [(a)--(x:Style) | x.name][0] AS style,
        [(a)--(x:Genre) | x.name][0] AS genre, [(a)--(x:Period) | x.name][0] AS period,
        [(a)--(:Artist)--(x:Training) | x.name][0] AS school,
        [(a)--(x:Tag) | x.name] AS tags, [(a)--(x:Media) | x.name] AS media,
        [(a)--(x:Emotion) | x.name] AS emotions
      ", "artgraph_artworks.csv", {})
    CALL apoc.export.csv.query("
      MATCH (x:Artist) RETURN x.name AS name, x.death_date AS died
      ", "artgraph_artists.csv", {})

Columns may come in any order; all but `name` may be missing, `title` and `year` may be added.
Lists are JSON (as APOC writes them) or joined by `|`. The painters' file matters for rights: only
a year of death frees works of the last 170 years.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

import polars as pl

from artsound.errors import BadData
from artsound.readers import csv_rows
from artsound.sources.artwork_names import slugify
from artsound.sources.files import find_file, read_table
from artsound.sources.years import latest_year

ARTWORKS = "artgraph_artworks.csv"
ARTISTS = "artgraph_artists.csv"

_TEXTS = ("style", "genre", "school", "period", "title")
_LISTS = ("tags", "media", "emotions")


def read_export(root: Path, files: pl.DataFrame, this_year: int) -> pl.DataFrame | None:
    """The rows of artgraph_artworks.csv, or None when there is no such file.

    Columns: artwork_index (the row's number), artwork_id, painter_id (name as exported), title,
    year, style, genre, school, period, tags, media, emotions and source_url. Raises BadData when
    the table is broken or names an artwork twice.
    """
    found = _rows(root, files, ARTWORKS)
    if found is None:
        return None
    where, rows = found
    names = [row["name"].strip() for row in rows]
    name, times = Counter(names).most_common(1)[0]
    if broken := [one for one in names if "\n" in one or "\r" in one]:
        raise BadData(
            f"{where} has a name with a line break, {broken[0][:60]!r}: a quotation mark is "
            "missing or too many."
        )
    if times > 1 or "" in names:
        raise BadData(f"{where} has a row without a name, or the name {name!r} {times} times.")
    schema = pl.Schema(
        {
            "artwork_index": pl.Int32(),
            "artwork_id": pl.String(),
            "painter_id": pl.String(),
            **dict.fromkeys(_TEXTS, pl.String()),
            "year": pl.Int32(),
            "source_url": pl.String(),
            **dict.fromkeys(_LISTS, pl.List(pl.String)),
        }
    )
    return pl.DataFrame(
        [
            (
                number,
                row["name"].strip(),
                row.get("artist", "").strip(),
                *(row.get(column, "").strip() for column in _TEXTS),
                latest_year(row.get("year", ""), this_year),
                _address(row.get("image_url", "")),
                *(_list(where, row.get(column, "")) for column in _LISTS),
            )
            for number, row in enumerate(rows)
        ],
        schema=schema,
        orient="row",
    )


def read_deaths(root: Path, files: pl.DataFrame, this_year: int) -> dict[str, int]:
    """The year of death of each painter, by slug, from artgraph_artists.csv; empty without it.

    It is the latest that the text allows, and the latest of painters who share a slug.
    """
    found = _rows(root, files, ARTISTS)
    if found is None:
        return {}
    where, rows = found
    if rows and "died" not in rows[0]:
        raise BadData(f"{where} lacks the column died.")
    died: dict[str, int] = {}
    unsure: set[str] = set()
    for row in rows:
        slug, year = slugify(row["name"]), latest_year(row["died"], this_year)
        if year < 0 and row["died"].strip():
            unsure.add(slug)  # a namesake of whom it is unknown leaves it unknown for all
        died[slug] = max(year, died.get(slug, -1))
    return {slug: year for slug, year in died.items() if slug and year >= 0 and slug not in unsure}


def _rows(root: Path, files: pl.DataFrame, name: str) -> tuple[Path, list[dict[str, str]]] | None:
    found = find_file(files, name, root)
    if found is None:
        return None
    where = root.joinpath(*found)
    try:
        header, *cells = csv_rows(read_table(root, *found)) or [[]]
    except ValueError as error:
        raise BadData(f"{where} is not a CSV table in UTF-8: {error}.") from error
    if any(len(row) > len(header) for row in cells):
        raise BadData(f"{where} has a row with more cells than its header: export it again.")
    rows = [dict(zip_longest(header, row, fillvalue="")) for row in cells if row]
    if not rows or "name" not in rows[0]:
        raise BadData(f"{where} has no rows or no column `name`: export it again.")
    return where, rows


def _list(where: Path, text: str) -> list[str]:
    text = text.strip()
    items: Iterable[object] = text.split("|")
    if text.startswith("["):
        try:
            items = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadData(f"{where} holds a list that is not JSON: {text[:60]!r}.") from error
    return list(dict.fromkeys(word for item in items if (word := str(item).strip())))


def _address(text: str) -> str:
    text = text.strip()
    return text if text.startswith(("http://", "https://")) else ""
