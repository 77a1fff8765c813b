"""Who painted what, and when: rights that a whole source gives, whatever is chosen of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_sources import artgraph_files, clip, fma_files, picture, table, write_files

from artsound.progress import QUIET
from artsound.recipe import Recipe, Sources
from artsound.sources import ingest
from artsound.sources.artgraph import is_nameless, latest_year, repaired
from artsound.stage import Report, run_stage
from artsound.storage import Workspace, read_parquet

Relations = dict[str, tuple[list[str], list[tuple[int, int]]]]


def catalogue_of(
    root: Path,
    names: list[str],
    *,
    relations: Relations | None = None,
    deaths: list[tuple[str, str]] | None = None,
    notes: list[str] | None = None,
    **sources: Any,
) -> dict[str, dict[str, Any]]:
    """The catalogue's artworks, by id, of a source with these images; notes go to `notes`."""

    class Listener(type(QUIET)):  # type: ignore[misc]
        def note(self, sentence: str) -> None:
            if notes is not None:
                notes.append(sentence)

    images = {name: picture(number) for number, name in enumerate(names)}
    files = artgraph_files(names, images, relations)
    if deaths:
        files["artgraph_artists.csv"] = table([("name", "died"), *deaths])
    write_files(root / "artgraph", files)
    write_files(root / "fma", fma_files([{"track_id": 2}], {2: clip(2)}))
    recipe = Recipe(
        sources=Sources(artgraph=str(root / "artgraph"), fma=str(root / "fma"), **sources)
    )
    workspace = Workspace(root / "out")
    run_stage(ingest.STAGE, workspace, recipe, progress=Listener())
    rows = read_parquet(workspace.catalog / "artworks.parquet", "artwork").to_pylist()
    return {row["artwork_id"]: row for row in rows}


def source_report(root: Path, names: list[str]) -> Report:
    """The report of an ingest of a source with these images."""
    images = {name: picture(number) for number, name in enumerate(names)}
    write_files(root / "artgraph", artgraph_files(names, images))
    write_files(root / "fma", fma_files([{"track_id": 2}], {2: clip(2)}))
    recipe = Recipe(sources=Sources(artgraph=str(root / "artgraph"), fma=str(root / "fma")))
    return run_stage(ingest.STAGE, Workspace(root / "out"), recipe)


def _free(artworks: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, row in artworks.items() if row["redistribute"]}


@pytest.mark.parametrize("painter", ["", "unknown-artist_", "anonymous_", "anonimo_", "anon-2_"])
def test_works_of_nameless_painters_do_not_date_each_other(tmp_path: Path, painter: str) -> None:
    names = [f"{painter}{title}.jpg" for title in ("a-1700", "portrait-1750", "neon-sign")]
    assert _free(catalogue_of(tmp_path, names)) == set()


def test_works_of_one_unnamed_master_do_date_each_other(tmp_path: Path) -> None:
    names = [f"master-of-the-fish_{title}.jpg" for title in ("a-1500", "b-1510", "c")]
    assert _free(catalogue_of(tmp_path, names)) == set(names)


@pytest.mark.parametrize(
    ("slug", "nameless"),
    [
        ("unknown", True),
        ("Unknown Painter", True),
        ("anónimo", True),
        ("unbekannter-künstler", True),
        ("follower-of-rembrandt", True),
        ("orthodox-icons", True),
        ("n-a", True),
        ("master-of-flémalle", False),
        ("meister-von-messkirch", False),
        ("claude-monet", False),
        ("man-ray", False),
        ("art-brenner", False),
    ],
)
def test_a_slug_names_one_person_or_none(slug: str, nameless: bool) -> None:
    assert is_nameless(slug) == nameless


@pytest.mark.parametrize(
    "choice", [{}, {"artwork_where": "year < 1900"}, {"artwork_ids": "ids.txt"}]
)
def test_rights_do_not_depend_on_what_is_chosen(tmp_path: Path, choice: dict[str, str]) -> None:
    names = [
        "gustavo-foppiani_angelo-1059.jpg",
        "gustavo-foppiani_cavaliere-1982.jpg",
        "gustavo-foppiani_sole-nero-1958.jpg",
    ]
    if "artwork_ids" in choice:
        ids = tmp_path / "ids.txt"
        ids.write_text(names[0])
        choice = {"artwork_ids": str(ids)}
    artworks = catalogue_of(tmp_path, names, **choice)
    assert names[0] in artworks
    assert _free(artworks) == set()


def test_one_date_in_a_file_name_frees_nothing_unless_it_is_borne_out(tmp_path: Path) -> None:
    names = [
        "a-b_great-fire-1666.jpg",
        "c-d_city-1660.jpg",
        "e-f_one-1660.jpg",
        "e-f_two-1670.jpg",
        "g-h_same-1660.jpg",
        "g-h_same-1660(1).jpg",
    ]
    style: Relations = {"artwork___hasstyle___style": (["baroque", "pop-art"], [(0, 1), (1, 0)])}
    artworks = catalogue_of(tmp_path, names, relations=style)
    assert _free(artworks) == set(names[1:4])
    assert "only its file's name" in artworks[names[0]]["rights_reason"]


def test_works_that_contradict_a_year_of_death_lock_each_other(tmp_path: Path) -> None:
    names = ["a-b_one-1950.jpg", "a-b_two-1951.jpg", "a-b_three.jpg", "c-d_four-1590.jpg"]
    names += ["e-f_five-1700.jpg", "e-f_six-1712.jpg", "g-h_seven-1600.jpg"]
    deaths = [("a b", "1600"), ("c d", "1600"), ("e f", "1710"), ("g h", "1900")]
    artworks = catalogue_of(tmp_path, names, deaths=deaths)
    assert _free(artworks) == {"c-d_four-1590.jpg", "e-f_five-1700.jpg"}
    assert "1600" in artworks[names[2]]["rights_reason"]


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("1901-1987", 1987),
        ("1901–87", 1987),
        ("1890/1900", 1900),
        ("1950s", 1959),
        ("1900s", 1999),
        ("1950-60s", 1969),
        ("1955 or 1956", 1956),
        ("b. 1901, d. 1987", 1987),
        ("* 1901 † 1955", 1955),
        ("(1840-1926)", 1926),
        ("05.12.1926", 1926),
        ("1955-01-01T00:00:00+00:00", 1955),
        ("before 1960", 1960),
        ("c. 1900", 1900),
        ("c. 1950", -1),
        ("1950?", -1),
        ("195-?", -1),
        ("after 1950", -1),
        ("d. after 1950", -1),
        ("born 1940", -1),
        ("1940-", -1),
        ("1940 - present", -1),
        ("active 1870-1890", -1),
        ("fl. 1600", -1),
        ("19th century", -1),
        ("1901-2999", -1),
        *(
            (none, -1)
            for none in (
                "0000-00-00",
                "0001-01-01",
                "1900-01-01",
                "1.955",
                "1 955",
                "ur. 1855",
                "född 1855",
                "b1855",
                "°1855",
                "1855 / unknown",
                "1855 and beyond",
                "1850 - 3.4.56",
                "död okänd, född 1855",
            )
        ),
        ("1901-'87", 1987),
        ("1901-7", 1907),
        ("1860s-70s", 1879),
        ("1950 or '60", 1960),
        ("12 März 1855", 1855),
    ],
)
def test_a_date_is_as_late_as_its_text_allows(text: str, year: int) -> None:
    assert latest_year(text, 2026) == year


def test_painters_who_share_a_name_die_when_the_last_of_them_does(tmp_path: Path) -> None:
    names = ["a-b_one.jpg", "c-d_two.jpg"]
    deaths = [("a b", "1650"), ("A  B", "1980"), ("c d", "1650"), ("C D", "after 1950")]
    assert _free(catalogue_of(tmp_path, names, deaths=deaths)) == set()


def test_names_that_were_encoded_once_too_often_get_their_letters_back(tmp_path: Path) -> None:
    name = "albrecht-durer_agnes-d%C3%BCrerin-in-dutch-tracht-1521.jpg"
    artworks = catalogue_of(tmp_path, [name])
    assert artworks[name]["title"] == "Agnes dürerin in dutch tracht"
    assert artworks[name]["year"] == 1521


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("d%c3%bcrer", "dürer"),
        ("d%25C3%25BCrer", "dürer"),
        ("joaquã\xadn-sorolla", "joaquín-sorolla"),
        ("DÃ¼rer", "Dürer"),
        ("La â€œBaignadeâ€\x9d", "La “Baignade”"),
        ("e\u0301", "é"),
        ("são-paulo", "são-paulo"),
        ("100%-cotton", "100%-cotton"),
        ("%FF%FE", "%FF%FE"),
        ("a%2Fb", "a%2Fb"),
        ("a%00b", "a%00b"),
        ("x«y»", "x«y»"),
        ("beyoncé’s été–1885", "beyoncé’s été–1885"),
    ],
)
def test_only_what_is_valid_afterwards_is_repaired(text: str, whole: str) -> None:
    assert repaired(text) == whole
