"""Tables that are there but cannot be used: never read as if they were empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from test_artwork_rights import source_report
from tiny_sources import COLUMNS, artgraph_files, fma_files, table, tracks_csv, write_files

from artsound.errors import BadData
from artsound.sources import artgraph, fma
from artsound.sources.files import list_files
from artsound.sources.folder import SOURCE as FOLDER
from artsound.sources.published_pairs import read_pairs

NAMES = ["claude-monet_haystacks-1850.jpg", "jan-vermeer_lace-1650.jpg", "el-greco_view-1600.jpg"]


def _artworks(root: Path, files: dict[str, bytes]) -> list[dict[str, Any]]:
    write_files(root, files)
    return artgraph.read_artworks(root, artgraph.list_artgraph(root), 2026).rows(named=True)


def _tracks(root: Path, files: dict[str, bytes]) -> pl.DataFrame:
    write_files(root, files)
    return fma.read_tracks(root, fma.list_fma(root, "large"), "large", 2026)


@pytest.mark.parametrize("kind", ["style", "genre", "tag", "artist", "period", "training"])
def test_a_mapping_that_nothing_leads_to_is_refused(tmp_path: Path, kind: str) -> None:
    mapping = {f"mapping/{kind}_entidx2name.csv": table([(0, "impressionism"), (1, "baroque")])}
    with pytest.raises(BadData, match=f"mapping/{kind}_entidx2name.csv is there, but neither"):
        _artworks(tmp_path, {**artgraph_files(NAMES, {}), **mapping})


def test_relations_of_other_artworks_are_refused(tmp_path: Path) -> None:
    relations = {"artwork___hasstyle___style": (["baroque"], [(70, 0), (71, 0)])}
    with pytest.raises(BadData, match="the relations of style name no artwork"):
        _artworks(tmp_path, artgraph_files(NAMES, {}, relations))


@pytest.mark.parametrize("labels", ["0\n1\n", "0\n1\n0\n1\n"])
def test_label_rows_that_do_not_match_the_artworks_are_refused(tmp_path: Path, labels: str) -> None:
    files = {
        **artgraph_files(NAMES, {}),
        "mapping/style_entidx2name.csv": table([(0, "impressionism"), (1, "baroque")]),
        "raw/node-label/artwork/node-label-style.csv": labels.encode(),
    }
    with pytest.raises(BadData, match=r"node-label-style.csv has \d rows for 3 artworks"):
        _artworks(tmp_path, files)
    files["raw/node-label/artwork/node-label-style.csv"] = b"0\n1\n-1\n"
    assert [row["style"] for row in _artworks(tmp_path, files)] == ["impressionism", "baroque", ""]


@pytest.mark.parametrize(
    "rows",
    [
        '0,a_one-1800.jpg\n1,"b_two-1800.jpg\n2,c_three-1800.jpg\n3,d_four-1800.jpg\n',
        '0,a_one-1800.jpg\n1,"b_two-1800.jpg\n2,c_three-1800.jpg"\n3,d_four-1800.jpg\n',
    ],
)
def test_a_stray_quote_swallows_no_artworks(tmp_path: Path, rows: str) -> None:
    with pytest.raises(BadData, match=r"artwork_entidx2name\.csv"):
        _artworks(tmp_path, {"mapping/artwork_entidx2name.csv": rows.encode()})


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("artworks", 'name,artist\n"a_one.jpg,x\nb_two.jpg",y\nc_three.jpg,z\n'),
        ("artworks", 'name,artist,title\na_one.jpg,x,"one\nb_two.jpg,y,two"\nc.jpg,z,c\n'),
        ("artists", 'name,died\n"Ann,1950\nBob",1960\n'),
    ],
)
def test_a_stray_quote_swallows_no_rows_of_an_export(tmp_path: Path, name: str, rows: str) -> None:
    files = {**artgraph_files(NAMES, {}), f"artgraph_{name}.csv": rows.encode()}
    with pytest.raises(BadData, match=rf"artgraph_{name}\.csv has a cell .* line break"):
        _artworks(tmp_path, files)


LONG = "born in\n1973, Ann played a, b, c, d, e, f, g, h, i and k"


@pytest.mark.parametrize("column", ["track.title", "album.engineer", "artist.bio"])
@pytest.mark.parametrize("rows", [(2, 3, 5, 7), (7, 3, 2, 5)])
def test_a_stray_quote_in_any_column_swallows_no_tracks(
    tmp_path: Path, column: str, rows: tuple[int, ...]
) -> None:
    columns = sorted({*COLUMNS, "album.engineer", "album.information", "artist.bio"})
    of_rows = [{"track_id": n, column: f"song {n}", "album.information": LONG} for n in rows]
    files = fma_files([], {})
    whole = tracks_csv(of_rows, columns).decode()
    files["fma_metadata/tracks.csv"] = whole.encode()
    assert _tracks(tmp_path, files).height == 4
    broken = whole.replace("song 3", '"song 3').replace(f"song {rows[3]}", f'song {rows[3]}"')
    files["fma_metadata/tracks.csv"] = broken.encode()
    with pytest.raises(BadData, match=r"tracks\.csv.* quotation mark"):
        _tracks(tmp_path, files)


def test_a_stray_quote_swallows_no_rows_of_other_tables_of_the_fma(tmp_path: Path) -> None:
    files = fma_files([{"track_id": n} for n in (2, 3, 5)], {})
    raw = 'track_id,bio,license_url\n2,"a,x\n3,b,y\n5,c",z\n'
    with pytest.raises(BadData, match=r"raw_tracks\.csv: the row of track 2 holds that of track 3"):
        _tracks(tmp_path, {**files, "fma_metadata/raw_tracks.csv": raw.encode()})
    genres = files["fma_metadata/genres.csv"].replace(b"Rock", b'"Rock', 1)
    with pytest.raises(BadData, match=r"genres\.csv"):
        _tracks(tmp_path, {**files, "fma_metadata/genres.csv": genres.replace(b"Jazz", b'Jazz"')})


@pytest.mark.parametrize("first", ["file,title", "title,file"])
def test_a_stray_quote_swallows_no_rows_of_a_folder(tmp_path: Path, first: str) -> None:
    cells = [("a.jpg", '"one'), ("b.jpg", "two"), ("c.jpg", 'three"'), ("d.jpg", "four")]
    rows = [",".join(row if first == "file,title" else row[::-1]) for row in cells]
    write_files(tmp_path, {f"{n}.jpg": b"x" for n in "abcd"})
    (tmp_path / "items.csv").write_text("\n".join([first, *rows]))
    with pytest.raises(BadData, match="has a cell that holds other rows"):
        FOLDER.read("artwork", tmp_path, list_files(tmp_path), None)


def test_a_stray_quote_swallows_no_published_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text('image,audio,note\na.jpg,000002.mp3,"x\nb.jpg,000003.mp3,y"\n')
    with pytest.raises(BadData, match="has a cell that holds other rows"):
        read_pairs(path)


def test_raw_tracks_may_lack_what_only_adds_to_tracks(tmp_path: Path) -> None:
    files = fma_files([{"track_id": 2}], {})
    files["fma_metadata/raw_tracks.csv"] = table([("track_id", "track_title"), (2, "x")])
    row = _tracks(tmp_path, files).row(0, named=True)
    assert (row["track_id"], row["source_url"], row["license_url"]) == ("000002", "", "")
    files["fma_metadata/raw_tracks.csv"] = table([("track_title",), ("x",)])
    with pytest.raises(BadData, match="no column track_id"):
        _tracks(tmp_path, files)


def test_a_source_without_any_value_in_a_column_says_so_in_its_report(tmp_path: Path) -> None:
    extra = source_report(tmp_path, NAMES).extra
    assert extra["artworks_all_without_style"] == 3
    assert "artworks_all_without_year" not in extra
