"""The FMA's tables read into tracks: genres, lists, dates, HTML, audio files, broken tables."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_sources import COLUMNS, GENRES, fma_files, table, tracks_csv, write_files, write_zip

from artsound.errors import ArtSoundError, BadData
from artsound.sources.fma import clean_text, in_subset, list_fma, parse_list, read_tracks

ROWS = [
    {
        "track_id": 2,
        "track.title": "Rock &amp; <i>Roll</i>",
        "artist.name": "AWOL",
        "artist.id": "1",
        "album.title": "A Way\nOf Life",
        "album.date_released": "2009-01-05 00:00:00",
        "track.date_recorded": "2001-01-01",
        "track.genre_top": "",
        "track.genres": "[58, 4]",
        "track.genres_all": "[58, 4, 45, 12]",
        "track.tags": "['lo-fi', \"drum'n'bass\"]",
        "track.listens": "1293.0",
        "track.language_code": "en",
        "track.license": "Attribution",
    },
    {"track_id": 140, "set.split": "validation", "set.subset": "large", "track.genres": "[]"},
    {
        "track_id": 99_999,
        "set.split": "",
        "track.genre_top": "Jazz",
        "track.genres": "[999]",
        "track.date_recorded": "1959-03-02",
        "album.date_released": "NaT",
    },
]


def _read(root: Path, subset: str = "large") -> pl.DataFrame:
    return read_tracks(root, list_fma(root, subset), subset, 2026)


def test_rows_are_read_joined_and_cleaned(tmp_path: Path) -> None:
    write_files(tmp_path, fma_files(ROWS, {2: b"sound", 99_999: b"sound"}))
    first, bare, last = _read(tmp_path).rows(named=True)
    assert first["title"] == "Rock & Roll"
    assert (first["artist"], first["artist_id"]) == ("AWOL", 1)
    assert first["album"] == "A Way Of Life"
    assert first["year"] == 2009
    assert first["genre"] == "Rock"
    assert first["genres"] == ["Thrash", "Jazz", "Loud-Rock", "Rock"]
    assert first["tags"] == ["lo-fi", "drum'n'bass"]
    assert (first["listens"], first["language"]) == (1293, "en")
    assert (first["split"], first["license"]) == ("train", "Attribution")
    assert first["name"] == "fma_large/000/000002.mp3"
    assert (bare["split"], bare["subset"], bare["name"]) == ("val", "large", "")
    assert (bare["artist_id"], bare["year"], bare["listens"]) == (-1, -1, -1)
    assert (bare["title"], bare["genre"], bare["genres"], bare["tags"]) == ("", "", [], [])
    assert (last["split"], last["genre"], last["genres"]) == ("", "Jazz", ["Jazz"])
    assert last["year"] == 1959
    assert last["name"] == "fma_large/099/099999.mp3"


@pytest.mark.parametrize(
    ("released", "recorded", "year"),
    [
        ("1859-12-31", "", -1),  # before any recording of sound
        ("1860-04-09", "", 1860),
        ("2026-01-01", "", 2026),
        ("2027-01-01", "", -1),
        ("0000-00-00", "1959-03-02", 1959),
        ("9999-01-01", "1859-01-01", -1),
    ],
)
def test_a_year_without_recordings_is_unknown(
    tmp_path: Path, released: str, recorded: str, year: int
) -> None:
    row = {"track_id": 2, "album.date_released": released, "track.date_recorded": recorded}
    write_files(tmp_path, fma_files([row], {}))
    assert _read(tmp_path)["year"].to_list() == [year]


def test_of_two_rows_for_one_track_the_licence_that_grants_less_holds(tmp_path: Path) -> None:
    by = "http://creativecommons.org/licenses/{}/4.0/"
    raw = [["track_id", "license_url"], [2, by.format("by")], [2, by.format("by-nc")], [3, "x"]]
    files = fma_files([{"track_id": 2, "track.listens": "-7"}], {})
    write_files(tmp_path, {**files, "fma_metadata/raw_tracks.csv": table(raw)})
    [track] = _read(tmp_path).rows(named=True)
    assert (track["license_url"], track["listens"]) == (by.format("by-nc"), -1)
    other = table([*raw, [2, by.format("by-nd")]])
    write_files(tmp_path, {"fma_metadata/raw_tracks.csv": other})
    with pytest.raises(BadData, match="two licences, each of which forbids"):
        _read(tmp_path)


def test_clips_begin_where_the_rule_that_cut_them_says(tmp_path: Path) -> None:
    lengths = {1: "168", 2: "31", 3: "30", 4: "", 5: "199.0"}
    rows = [{"track_id": one, "track.duration": text, "album.id": one} for one, text in
            lengths.items()]  # fmt: skip
    files = fma_files(rows, {})
    columns = [*COLUMNS, "album.id"]
    write_files(tmp_path, files | {"fma_metadata/tracks.csv": tracks_csv(rows, columns)})
    for subset, starts in (("large", [69, 0, -1, -1, 84]), ("full", [0] * 5)):
        tracks = _read(tmp_path, subset)
        assert tracks["excerpt_start"].to_list() == starts
        assert tracks["album_id"].to_list() == list(lengths)


def test_each_set_holds_the_smaller_ones() -> None:
    kinds = ("small", "medium", "large", "")
    held = {name: [kind in in_subset(name) for kind in kinds] for name in ("small", "medium")}
    assert held == {"small": [True, False, False, False], "medium": [True, True, False, False]}
    assert set(in_subset("large")) == set(in_subset("full")) == set(kinds)


def test_folders_zips_and_one_zip_of_all_read_the_same(tmp_path: Path) -> None:
    files = fma_files(ROWS, {2: b"sound"})
    folder = write_files(tmp_path / "folder", files)
    zips = tmp_path / "zips"
    for kind in ("fma_metadata", "fma_large"):
        inside = {name: data for name, data in files.items() if name.startswith(kind)}
        write_zip(zips / f"{kind}.zip", inside)
    archive = write_zip(tmp_path / "all.zip", {f"fma/{name}": data for name, data in files.items()})
    facts = pl.exclude("box", "name", "stamp")
    assert _read(folder).select(facts).equals(_read(zips).select(facts))
    assert _read(folder).select(facts).equals(_read(archive).select(facts))
    assert _read(zips)["box"].to_list() == ["fma_large.zip", "", ""]


def test_clips_come_from_the_largest_set_and_whole_tracks_only_when_asked_for(
    tmp_path: Path,
) -> None:
    files = fma_files(ROWS, {})
    for kind in ("small", "large", "full"):
        files[f"fma_{kind}/000/000002.mp3"] = kind.encode()
    files["fma_full/000/000140.mp3"] = b"whole"
    write_files(tmp_path, files)
    assert _read(tmp_path)["name"].to_list() == ["fma_large/000/000002.mp3", "", ""]
    assert _read(tmp_path, "full")["name"].to_list() == [
        "fma_full/000/000002.mp3",
        "fma_full/000/000140.mp3",
        "",
    ]


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    files = fma_files(ROWS, {})
    files["fma_metadata/tracks.csv"] = files["fma_metadata/tracks.csv"].replace(
        b"\n140,", b"\n\n140,"
    )
    files["fma_metadata/tracks.csv"] += b"\n"
    assert _read(write_files(tmp_path, files)).height == len(ROWS)


def test_flat_folders_other_formats_and_any_case_are_found(tmp_path: Path) -> None:
    names = ["fma_large/000002.WAV", "fma_large/000002.MP3", "clips/000140.flac"]
    write_files(tmp_path, {**fma_files(ROWS, {}), **dict.fromkeys(names, b"sound")})
    assert _read(tmp_path)["name"].to_list()[:2] == [names[1], names[2]]


def test_tables_of_the_fma_may_be_packed_with_gzip(tmp_path: Path) -> None:
    files = fma_files(ROWS, {2: b"x"})
    packed = {f"{name}.gz": gzip.compress(data) for name, data in files.items() if "csv" in name}
    clips = {name: data for name, data in files.items() if "csv" not in name}
    plain = _read(write_files(tmp_path / "plain", files))
    read = _read(write_files(tmp_path / "packed", {**packed, **clips}))
    assert read.drop("stamp").equals(plain.drop("stamp"))


def test_raw_tracks_add_addresses_and_missing_licences(tmp_path: Path) -> None:
    raw = table(
        [
            ("license_title", "license_url", "track_id", "track_url", "other"),
            ("Attribution", "http://creativecommons.org/licenses/by/4.0/", 2, "http://x.org/2", ""),
            ("Music Sharing", "", 140, "nowhere", "two\nlines"),
            ("", "", "", "", ""),
        ]
    )
    write_files(tmp_path, {**fma_files(ROWS, {2: b"x"}), "fma_metadata/raw_tracks.csv": raw})
    first, second, third = _read(tmp_path).rows(named=True)
    assert first["source_url"] == "http://x.org/2"
    assert first["license_url"] == "http://creativecommons.org/licenses/by/4.0/"
    assert (second["license"], second["source_url"]) == ("Music Sharing", "")
    assert (third["license"], third["license_url"], third["source_url"]) == ("", "", "")


def test_an_unneeded_broken_zip_does_no_harm(tmp_path: Path) -> None:
    write_files(tmp_path, {**fma_files(ROWS, {2: b"x"}), "fma_full.zip": b"PK\x03\x04 half"})
    assert _read(tmp_path)["name"][0] != ""


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        ("[]", []),
        ("['a', 'b c']", ["a", "b c"]),
        ("[philly, kurt vile]", ["philly", "kurt vile"]),
        ("[\"it's\", 'say \"x\"', 'a\\'b']", ["it's", 'say "x"', "a'b"]),
        ("['rock &amp; roll']", ["rock & roll"]),
        ("__import__('os').system('true')", ["__import__(", "os", ").system(", "true", ")"]),
    ],
)
def test_lists_are_parsed_without_evaluating_them(text: str, items: list[str]) -> None:
    assert parse_list(text) == items


@given(st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1)))
def test_lists_printed_by_python_come_back(items: list[str]) -> None:
    assert parse_list(repr(items)) == items


@given(st.text())
def test_cleaning_leaves_one_line_and_never_fails(text: str) -> None:
    assert "\n" not in clean_text(text)
    assert parse_list(text) is not None


@pytest.mark.parametrize("seed", ["<![", "'\\'", "<!--", "&amp;", "<a ", "[[", '"'])
def test_a_cell_of_a_megabyte_is_read_like_a_short_one(seed: str) -> None:
    cell = seed * (1_000_000 // len(seed))  # in quadratic time this would take hours
    assert "\n" not in clean_text(cell)
    assert "\n" not in "".join(parse_list(cell))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<p>One<br>two</p>", "One two"),
        ("a < b & c > d", "a < b & c > d"),
        ("I <3 you", "I <3 you"),
        ("Tom &amp;amp; Jerry", "Tom & Jerry"),
        ("<a href='x'>link</a>", "link"),
        ("  odd \t spaces ", "odd spaces"),
    ],
)
def test_html_is_reduced_to_its_text(text: str, plain: str) -> None:
    assert clean_text(text) == plain


def _without(column: str) -> bytes:
    return tracks_csv(ROWS, [name for name in COLUMNS if name != column])


def test_optional_columns_may_be_missing(tmp_path: Path) -> None:
    files = fma_files(ROWS, {2: b"x"})
    columns = [name for name in COLUMNS if name not in ("artist.id", "track.tags")]
    write_files(tmp_path, {**files, "fma_metadata/tracks.csv": tracks_csv(ROWS, columns)})
    assert _read(tmp_path)["artist_id"].to_list() == [-1, -1, -1]


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("tracks.csv", _without("track.license"), "lacks the column track.license"),
        ("tracks.csv", b"track_id,title\n2,Food\n", "three header lines"),
        ("tracks.csv", b"", "three header lines"),
        ("tracks.csv", b"\xff\xfe\x00", "three header lines"),
        ("tracks.csv", tracks_csv([]), "lists no track"),
        ("tracks.csv", tracks_csv([{"track_id": "two"}]), "track_id is not a number"),
        ("tracks.csv", tracks_csv([{"track_id": 10**6}] * 2), "lists track 1000000 twice"),
        ("tracks.csv", tracks_csv([{"track_id": 2}, {"track_id": 2}]), "lists track 2 twice"),
        ("tracks.csv", tracks_csv(ROWS) + b"3,caf\xe9" + b"," * 15 + b"\n", "is broken"),
        ("tracks.csv", tracks_csv(ROWS) + b'3,"never closed', "is broken"),
        ("tracks.csv", tracks_csv(ROWS).replace(b"\n", b"\r"), "three header lines"),
        ("tracks.csv", tracks_csv(ROWS).replace(b"Jazz", b"Ja\rzz"), "has a carriage return"),
        ("tracks.csv", tracks_csv(ROWS).replace(b"Jazz", b"Ja\0zz"), "holds a NUL"),
        ("tracks.csv", tracks_csv(ROWS).replace(b"Jazz", b'"Jazz'), "begins a quoted cell"),
        ("raw_tracks.csv", b"track_id,track_url\r2,x\r", "line 1 has a carriage return"),
        ("raw_tracks.csv", b"track_id,track_url\n2,\0\n", "line 2 holds a NUL"),
        ("genres.csv", table(GENRES).replace(b"\n", b"\r"), "line 1 has a carriage return"),
        ("genres.csv", table(GENRES).replace(b"Jazz", b"Ja\0zz"), "line 5 holds a NUL"),
        ("genres.csv", table(GENRES).replace(b"Jazz", b'"Jazz'), "line 5 begins a quoted cell"),
        ("raw_tracks.csv", b"id,url\n1,x\n", "not FMA's raw_tracks.csv"),
        ("genres.csv", b"id,name\n1,Rock\n", "not FMA's table of genres"),
        ("genres.csv", table([*GENRES, ("x", 1, 0, "Odd", 1)]), "not FMA's table of genres"),
    ],
)
def test_a_broken_table_is_reported_in_one_sentence(
    tmp_path: Path, name: str, data: bytes, sentence: str
) -> None:
    write_files(tmp_path, {**fma_files(ROWS, {2: b"x"}), f"fma_metadata/{name}": data})
    with pytest.raises(BadData, match=sentence) as caught:
        _read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_metadata_is_reported(tmp_path: Path) -> None:
    write_files(tmp_path, {"fma_large/000/000002.mp3": b"x"})
    with pytest.raises(BadData, match=r"not the FMA: it has no tracks\.csv"):
        _read(tmp_path)


@given(st.data())
def test_a_damaged_table_is_read_or_reported(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    damaged = bytearray(tracks_csv(ROWS))
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    write_files(root, {**fma_files(ROWS, {}), "fma_metadata/tracks.csv": bytes(damaged)})
    try:
        found = _read(root)
    except ArtSoundError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert not any(found.null_count().row(0))


def test_a_circle_among_the_genres_ends(tmp_path: Path) -> None:
    circle = table([GENRES[0], (1, 0, 2, "A", 1), (2, 0, 1, "B", 1)])
    rows = [{"track_id": 5, "track.genres": "[1]"}]
    write_files(tmp_path, {**fma_files(rows, {}), "fma_metadata/genres.csv": circle})
    assert _read(tmp_path)["genres"].to_list() == [["A", "B"]]


def test_the_real_metadata_is_read_whole(shared_data: Path) -> None:
    found = _read(shared_data / "fma")
    assert found.height == 25_014
    assert found.filter(pl.col("name") != "").height == 38
    assert not any(found.null_count().row(0))
    assert found.filter(pl.col("genre") == "").is_empty()
    splits = dict(found["split"].value_counts().iter_rows())
    assert splits == {"train": 19_928, "val": 2_505, "test": 2_575, "": 6}
