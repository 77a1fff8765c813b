"""ArtGraph's tables joined into artworks, and names read into titles, painters and years."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tiny_sources import artgraph_files, table, write_files, write_zip

from artsound.errors import ArtSoundError, BadData
from artsound.sources.artgraph import display_name, list_artgraph, read_artworks, read_name

NAMES = [
    "claude-monet_haystacks-1891.jpg",
    "vincent-van-gogh_starry-night.jpg",
    "nobody-known_not_detected_229434.jpg",
]
RELATIONS = {
    "artwork___createdby___artist": (["claude-monet", "vincent-van-gogh"], [(0, 0), (1, 1)]),
    "artwork___hasstyle___style": (["impressionism", "baroque"], [(0, 0), (1, 0), (2, 1)]),
    "artwork___hasgenre___genre": (["landscape"], [(0, 0)]),
    "artwork___about___tag": (["hay", "sun", "night"], [(0, 1), (0, 0), (0, 1), (1, 2)]),
    "artwork___elicit___emotion": (["awe"], [(1, 0)]),
    "artwork___madeof___media": (["oil", "canvas"], [(1, 0), (1, 1)]),
    "artwork___hasperiod___period": (["arles"], [(1, 0)]),
    "artist___hasschool___training": (["french school"], [(0, 0)]),
}


def _read(root: Path) -> pl.DataFrame:
    return read_artworks(root, list_artgraph(root), 2026)


def test_a_graph_is_joined_into_one_row_per_artwork(tmp_path: Path) -> None:
    images = dict.fromkeys(NAMES[:2], b"picture")
    write_files(tmp_path, artgraph_files(NAMES, images, RELATIONS))
    monet, gogh, nobody = _read(tmp_path).rows(named=True)
    assert monet["artwork_id"] == NAMES[0]
    assert (monet["painter"], monet["title"], monet["year"]) == ("Claude Monet", "Haystacks", 1891)
    assert (monet["style"], monet["genre"], monet["school"]) == (
        "impressionism",
        "landscape",
        "french school",
    )
    assert monet["tags"] == ["sun", "hay"]
    assert (gogh["media"], gogh["emotions"], gogh["period"]) == (
        ["oil", "canvas"],
        ["awe"],
        "arles",
    )
    assert gogh["year"] == -1
    assert gogh["name"] == f"imagesf2/{NAMES[1]}"
    assert (nobody["painter_id"], nobody["title"], nobody["name"]) == ("nobody-known", "", "")
    assert nobody["tags"] == []


def test_version_1_names_and_one_zip_of_all_read_the_same(tmp_path: Path) -> None:
    images = dict.fromkeys(NAMES, b"picture")
    old = {
        name.replace("training", "school").replace("___", "_rel___").replace("_rel___", "___", 1): v
        for name, v in RELATIONS.items()
    }
    assert "artwork___hasstyle_rel___style" in old
    folder = write_files(tmp_path / "v2", artgraph_files(NAMES, images, RELATIONS))
    files = {f"artgraph/{name}": data for name, data in artgraph_files(NAMES, images, old).items()}
    archive = write_zip(tmp_path / "v1.zip", files)
    facts = pl.exclude("box", "name", "stamp")
    assert _read(folder).select(facts).equals(_read(archive).select(facts))


def test_images_in_a_zip_beside_the_tables_are_found(tmp_path: Path) -> None:
    write_files(tmp_path, artgraph_files(NAMES, {}, RELATIONS))
    write_zip(tmp_path / "imagesf2.zip", {f"imagesf2/{name}": b"picture" for name in NAMES})
    found = _read(tmp_path)
    assert set(found["box"]) == {"imagesf2.zip"}
    assert found["name"].to_list() == [f"imagesf2/{name}" for name in NAMES]


def test_names_alone_are_enough(tmp_path: Path) -> None:
    write_files(tmp_path, artgraph_files(NAMES, {}))
    found = _read(tmp_path)
    assert found["painter"].to_list() == ["Claude Monet", "Vincent van Gogh", "Nobody Known"]
    assert set(found["style"]) == {""}


def test_node_labels_stand_in_for_missing_edges(tmp_path: Path) -> None:
    files = artgraph_files(NAMES, {})
    files["mapping/style_entidx2name.csv"] = table([(0, "baroque"), (1, "fauvism")])
    files["raw/node-label/artwork/node-label-style.csv"] = b"1\n0\n-1\n"
    write_files(tmp_path, files)
    assert _read(tmp_path)["style"].to_list() == ["fauvism", "baroque", ""]


def test_names_with_commas_quotes_and_accents_are_kept(tmp_path: Path) -> None:
    names = ["a-b_one, two-1900.jpg", 'c-d_say "no".jpg', "é-f_ärger.jpg"]
    mapping = f'0,"{names[0]}"\n1,"c-d_say ""no"".jpg"\n2,{names[2]}\n'.encode()
    files = {**artgraph_files(names, dict.fromkeys(names, b"x"))}
    files["mapping/artwork_entidx2name.csv"] = mapping
    write_files(tmp_path, files)
    found = _read(tmp_path)
    assert found["artwork_id"].to_list() == names
    assert "" not in found["name"].to_list()


@pytest.mark.parametrize(
    ("name", "title", "year"),
    [
        ("claude-monet_haystacks-at-giverny-1891.jpg", "Haystacks at giverny", 1891),
        ("antoine-watteau_not_detected_229434-1715.jpg", "", 1715),
        ("utagawa-kunisada_not_detected_240368.jpg", "", -1),
        ("caravaggio_john-the-baptist-1604(1).jpg", "John the baptist", 1604),
        ("ogata-gekko_women-s-customs-1895-1.jpg", "Women's customs", 1895),
        ("a-b_series-1890-95.jpg", "Series", 1895),
        ("a-b_series-1890-1895.PNG", "Series", 1895),
        ("a-b_portrait-c-1650.jpg", "Portrait", 1650),
        ("a-b_composition-vii-1913.jpg", "Composition VII", 1913),
        ("a-b_mont-sainte-victoire-4.jpg", "Mont sainte victoire 4", -1),
        ("a-b_the-year-2525.jpg", "The year 2525", -1),
        ("a-b_1913.jpg", "", 1913),
        ("a-b_pont-l-eveque_detail-1900.jpg", "Pont l'eveque detail", 1900),
        ("a-b_.jpg", "", -1),
        ("a-b_chopin-in-berlin-in-1829.jpg", "Chopin in berlin in 1829", -1),
        ("a-b_chopin-in-berlin-in-1829-1887.jpg", "Chopin in berlin in 1829", 1887),
        ("a-b_unknown-title-1988.jpg", "", 1988),
    ],
)
def test_titles_and_years_are_read_from_names(name: str, title: str, year: int) -> None:
    assert read_name(name)[1:] == (title, year)


def test_the_painter_of_the_graph_goes_before_the_one_in_the_name() -> None:
    assert read_name("m_c_escher_relativity.jpg", "m_c_escher")[:2] == ("m-c-escher", "Relativity")
    assert read_name("anonymous_icon.jpg", "Andrei Rublev")[:2] == ("andrei-rublev", "Icon")
    assert read_name("no-underscore-1900.jpg") == ("unknown", "No underscore", 1900)


@pytest.mark.parametrize(
    ("slug", "name"),
    [
        ("vincent-van-gogh", "Vincent van Gogh"),
        ("adriaen-van-de-velde", "Adriaen van de Velde"),
        ("david-teniers-the-younger", "David Teniers the Younger"),
        ("m-c-escher", "M. C. Escher"),
        ("georgia-o-keeffe", "Georgia O'Keeffe"),
        ("jacques-d-agar", "Jacques d'Agar"),
        ("utagawa-toyokuni-ii", "Utagawa Toyokuni II"),
        ("rembrandt", "Rembrandt"),
        ("unknown", ""),
    ],
)
def test_painters_are_named_as_printed(slug: str, name: str) -> None:
    assert display_name(slug) == name


@given(st.text(max_size=60), st.text(max_size=20))
def test_any_name_gives_a_painter_a_title_and_a_sane_year(name: str, painter: str) -> None:
    slug, title, year = read_name(name, painter)
    assert slug
    assert title == title.strip()
    assert year == -1 or 1000 <= year <= 2026
    display_name(slug)


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("mapping/artwork_entidx2name.csv", b"", "lists no artwork"),
        ("mapping/artwork_entidx2name.csv", b"0,caf\xe9.jpg\n", "line 1 is not UTF-8"),
        ("mapping/artwork_entidx2name.csv", b"0,a.jpg\nx,b.jpg\n", "not a table of index,name"),
        ("mapping/artwork_entidx2name.csv", b"0,a.jpg\r1,b.jpg\r", "line 1 has a carriage return"),
        ("mapping/artwork_entidx2name.csv", b"0,a_b-1900.jpg\r\0", "line 1 holds a NUL"),
        ("mapping/artwork_entidx2name.csv", b'0,a.jpg\n1,"b\n2,c.jpg\n', "line 2 begins a quoted"),
        ("raw/relations/artwork___hasstyle___style/edge.csv", b"0,0\r1,1\r", "line 1 has a carri"),
        ("raw/relations/artwork___hasstyle___style/edge.csv", b"0,0\n1,\0\n", "line 2 holds a NUL"),
        ("raw/relations/artwork___hasstyle___style/edge.csv", b'0,0\n1,"1', "line 2 begins a quo"),
        ("mapping/artwork_entidx2name.csv", b"0,a.jpg\n1,a.jpg\n", "lists 'a.jpg' twice"),
        ("mapping/artwork_entidx2name.csv", b"0,a.jpg\n0,b.jpg\n", "gives index 0 twice"),
        ("mapping/artwork_entidx2name.csv", b"0,a.jpg\n1,\n", "a row without a name"),
        ("mapping/artwork_entidx2name.csv", b"0,a.jpg\n9999999999,b\n", "index out of range"),
        ("mapping/artwork_entidx2name.csv", b"0,a.jpg\n" + b"9" * 30 + b",b\n", "not a table of"),
        ("mapping/artwork_entidx2name.csv", b"0.0,a.jpg\n1,b.jpg\n", "not a table of index,name"),
        ("mapping/artwork_entidx2name.csv", b"-1,a.jpg\n1,b.jpg\n", "an index out of range"),
        ("raw/relations/artwork___hasstyle___style/edge.csv", b"0,9\n", "points to node 9"),
        ("raw/relations/artwork___hasstyle___style/edge.csv", b"-1,0\n", "a node below zero"),
        ("raw/relations/artwork___hasstyle___style/edge.csv", b"a,b\n", "not a table of 2 numbers"),
        ("raw/relations/artwork___hasstyle___style/edge.csv", b"0\n", "not a table of 2 numbers"),
        ("raw/relations/artwork___hasstyle___style/edge.csv", b"0,\n", "has an empty cell"),
    ],
)
def test_a_broken_table_is_reported_in_one_sentence(
    tmp_path: Path, name: str, data: bytes, sentence: str
) -> None:
    write_files(tmp_path, {**artgraph_files(NAMES, {}, RELATIONS), name: data})
    with pytest.raises(BadData, match=sentence) as caught:
        _read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_relation_without_its_mapping_is_reported(tmp_path: Path) -> None:
    files = artgraph_files(NAMES, {}, RELATIONS)
    del files["mapping/style_entidx2name.csv"]
    with pytest.raises(BadData, match="style_entidx2name"):
        _read(write_files(tmp_path, files))


def test_a_folder_of_something_else_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="is not ArtGraph"):
        _read(write_files(tmp_path, {"readme.txt": b"hello"}))


@given(st.binary(max_size=80))
@example(b"\r\x00")
@example(b"0\r1")
def test_any_bytes_for_a_table_are_read_or_reported(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    edge = "raw/relations/artwork___hasstyle___style/edge.csv"
    write_files(root, {**artgraph_files(NAMES, {}, RELATIONS), edge: data})
    try:
        _read(root)
    except ArtSoundError as error:
        assert "\n" not in str(error)  # noqa: PT017
    (root / edge).write_bytes(b"0,0\n")
    (root / "mapping/artwork_entidx2name.csv").write_bytes(data)
    try:
        _read(root)
    except ArtSoundError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_the_real_artworks_agree_with_their_provenance(shared_data: Path) -> None:
    found = _read(shared_data / "artgraph")
    with (shared_data / "artgraph/provenance.csv").open(encoding="utf-8") as file:
        told = {row["file"]: row for row in csv.DictReader(file)}
    assert found.height == 575
    assert "" not in found["name"].to_list()
    for row in found.rows(named=True):
        other = told[row["artwork_id"]]
        assert row["painter"].lower() == other["artist"].lower()
        if row["year"] >= 0:
            assert row["year"] == int(float(other["year"]))
