"""Tables exported from ArtGraph's Neo4j dump, alone and beside the OGB layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_sources import artgraph_files, picture, table, write_files

from artsound.errors import ArtSoundError, BadData
from artsound.rights import artwork_rights, painter_dates
from artsound.sources.artgraph import list_artgraph, read_artworks

HEADER = ("name", "image_url", "artist", "style", "tags", "emotions", "year")
ROWS = (
    ("a-b_one.jpg", "https://example.org/1.jpg", "Ann van B", "cubism", '["sea","sun"]', "", ""),
    ("c-d_two-1901.jpg", "", "", "", "sea|sky|sea", "awe", "c. 1899"),
)


def _read(root: Path, **files: bytes) -> list[dict[str, Any]]:
    write_files(root, {name.replace("__", "."): data for name, data in files.items()})
    return read_artworks(root, list_artgraph(root), 2026).rows(named=True)


def test_an_export_alone_gives_the_artworks(tmp_path: Path) -> None:
    write_files(tmp_path, {"images/a-b_one.jpg": b"picture"})
    one, two = _read(tmp_path, artgraph_artworks__csv=table([HEADER, *ROWS]))
    assert (one["painter"], one["painter_id"]) == ("Ann van B", "ann-van-b")
    assert (one["style"], one["tags"], one["emotions"]) == ("cubism", ["sea", "sun"], [])
    assert one["source_url"] == "https://example.org/1.jpg"
    assert one["name"] == "images/a-b_one.jpg"
    assert (two["painter"], two["title"], two["year"]) == ("C. D.", "Two", 1899)
    assert (two["tags"], two["emotions"], two["name"]) == (["sea", "sky"], ["awe"], "")
    assert [one["artwork_index"], two["artwork_index"]] == [0, 1]


def test_beside_the_ogb_layout_it_adds_addresses_and_deaths(tmp_path: Path) -> None:
    names = [ROWS[0][0], ROWS[1][0], "e-f_three.jpg"]
    relation = {"artwork___hasstyle___style": (["baroque"], [(0, 0)])}
    write_files(tmp_path, artgraph_files(names, {names[0]: picture()}, relation))
    one, two, three = _read(
        tmp_path,
        artgraph_artworks__csv=table([HEADER, *ROWS]),
        artgraph_artists__csv=table([("died", "name"), ("1940-02-03", "A B"), ("", "c-d")]),
    )
    assert (one["style"], one["source_url"]) == ("baroque", ROWS[0][1])
    assert [row["painter_died"] for row in (one, two, three)] == [1940, -1, -1]
    assert (two["year"], three["source_url"], three["year"]) == (1899, "", -1)
    rights = artwork_rights(one["year"], painter_dates(one["painter_died"], []), 2026)
    assert rights.redistribute


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("1926", 1926),
        ("1926-12-05", 1926),
        ("5 December 1926", 1926),
        ("c. 1515", 1515),
        ("-", -1),
        ("12/05/26", -1),
        ("2999", -1),
        ("", -1),
    ],
)
def test_years_of_death_are_read_from_dates_as_people_write_them(
    tmp_path: Path, text: str, year: int
) -> None:
    files = {
        "artgraph_artworks__csv": table([HEADER, *ROWS]),
        "artgraph_artists__csv": table([("name", "died"), ("ann van b", text)]),
    }
    assert _read(tmp_path, **files)[0]["painter_died"] == year


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), unique=True, max_size=4
    )
)
def test_lists_come_back_from_json(
    tmp_path_factory: pytest.TempPathFactory, words: list[str]
) -> None:
    root = tmp_path_factory.mktemp("lists")
    rows = [("name", "tags"), ("a-b_one.jpg", json.dumps(words))]
    assert _read(root, artgraph_artworks__csv=table(rows))[0]["tags"] == words


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("artworks", b"", "no rows or no column `name`"),
        ("artworks", table([("title",), ("x",)]), "no rows or no column `name`"),
        ("artworks", table([("name",), ("a.jpg",), ("a.jpg",)]), "the name 'a.jpg' 2 times"),
        ("artworks", table([("name", "tags"), ("a.jpg", "[1, {")]), "a list that is not JSON"),
        ("artworks", table([("name",), ("a.jpg", "b")]), "more cells than its header"),
        ("artworks", b"name\ncaf\xe9.jpg\n", "not a CSV table in UTF-8"),
        ("artworks", b"name\ra.jpg\r", "line 1 has a carriage return"),
        ("artworks", b"name\na.jpg\0\n", "line 2 holds a NUL"),
        ("artworks", b'name,tags\na.jpg,"x\nb.jpg,y\n', "line 2 begins a quoted cell"),
        ("artists", b"name,died\nA,1900\rB,1901\r", "line 2 has a carriage return"),
        ("artists", table([("name",), ("A B",)]), "lacks the column died"),
    ],
)
def test_a_broken_export_is_reported_in_one_sentence(
    tmp_path: Path, name: str, data: bytes, sentence: str
) -> None:
    files = {"artgraph_artworks__csv": table([HEADER, *ROWS]), f"artgraph_{name}__csv": data}
    with pytest.raises(BadData, match=sentence) as caught:
        _read(tmp_path, **files)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_reported(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    try:
        rows = _read(root, artgraph_artworks__csv=b"name,tags\n" + data)
    except ArtSoundError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert not any(pl.DataFrame(rows).null_count().row(0))
