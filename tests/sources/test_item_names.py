"""Lines of takedown and id lists, as people spell them, and the items that they name."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_artwork_rights import catalogue_of

from artsound.errors import BadUsage
from artsound.sources.item_names import (
    Listed,
    artwork_keys,
    creator_keys,
    line_keys,
    names_nothing,
    read_lines,
    remedy,
    track_keys,
)

NAME = "josé-x_b-1650.jpg"
ADDRESS = "https://uploads.wikiart.org/images/jose-x/b-1650.jpg"
PAGE = "http://freemusicarchive.org/music/AWOL/Hop/Food"


@pytest.mark.parametrize(
    "line",
    [
        NAME,
        unicodedata.normalize("NFD", NAME),
        "josé-x_b-1650",
        "JOSÉ-X_B-1650.JPG",
        "imagesf2/josé-x_b-1650.jpeg",
        "C:\\Users\\me\\imagesf2\\josé-x_b-1650.jpg",
        "jos%C3%A9-x_b-1650.jpg",
        "imagesf2%2Fjos%c3%a9-x_b-1650.jpg",
        "josÃ©-x_b-1650.jpg",
        '  "josé-x_b-1650.jpg",  ',
        "\ufeff- josé-x_b-1650.jpg",
        "https://example.org/josé-x/b-1650.jpg!Large.jpg",
        "https://example.org/pictures/jos%C3%A9-x_b-1650.jpg?size=large#top",
        ADDRESS,
        ADDRESS.replace("https://", "http://www."),
        ADDRESS.removeprefix("https://"),
        f"{ADDRESS}!Large.jpg",
    ],
)
def test_every_spelling_of_an_image_names_it(line: str) -> None:
    listed = Listed([line])
    assert listed.names(artwork_keys(NAME, ADDRESS))
    assert listed.unmatched == ()
    assert not Listed([line]).names(artwork_keys("josé-x_c-1650.jpg", "https://example.org/c.jpg"))


@pytest.mark.parametrize(
    "line",
    [
        "2", "000002", "02", "0000002", "2.0", "000002.mp3", "000/000002.MP3", "fma:2", "track 2",
        "fma_large\\000\\000002.mp3", "https://files.example.org/000/000002.mp3?x=1", PAGE + "/",
        PAGE.replace("http://", "https://www."), "２", "#2", "FMA #2", "id=2", '"track_id": 2,',
        "track: 2", "FMA track no: 2", "000002  # asked by mail", "2 #gone", "'000002'", "* 2",
        "file: 000/000002.mp3 # asked", f"url: {PAGE}", f"{PAGE} # asked", f"[Food]({PAGE})",
    ],
)  # fmt: skip
def test_every_spelling_of_a_track_names_it(line: str) -> None:
    assert Listed([line]).names(track_keys("000002", PAGE))
    assert not Listed([line]).names(track_keys("000020", "http://example.org/other"))


def test_lines_that_match_nothing_are_known_and_comments_are_no_lines() -> None:
    listed = Listed(["# taken down in May", "", NAME, "claude-monet_typo", "000009.mp3"])
    assert listed.chosen([NAME, "other.jpg"], artwork_keys) == {NAME}
    assert listed.unmatched == ("claude-monet_typo", "000009.mp3")
    assert line_keys("# taken down in May") == line_keys("  ") == frozenset()


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("2, 3", "one item a line"), ("000002 000003", "one item a line"), ("2\tgone", "one item"),
        ("2 (asked by mail)", "after a # and a space"), ("2: asked", "after a # and a space"),
        ("#asked by mail", "a comment begins with"), ("2 #3", "with its suffix"),
        ("lace # asked", "with its suffix"), ("Symphony #2", "with its suffix"),
        ("title: Lace", "not by its title"), ("track 0002000003", "at most six digits"),
        ("artwork: 2.mp3", ""), ("2 # 3.jpg", ""), ("lace #2.jpg", ""), ("2.jpg", ""),
    ],
)  # fmt: skip
def test_a_line_that_may_mean_two_things_names_nothing_and_shows_the_remedy(
    line: str, hint: str
) -> None:
    listed = Listed([line])
    assert not listed.names(track_keys("000002") | artwork_keys("lace.jpg"))
    assert hint in names_nothing("the list", "here", listed.unmatched)
    assert bool(remedy(line)) == bool(hint)


def test_a_label_says_which_side_is_meant_and_a_digest_may_have_a_name_after_it() -> None:
    assert not Listed(["artwork: 000002"]).names(track_keys("000002"))
    assert not Listed(["track: 2"]).names(artwork_keys("2.jpg"))
    for line in (
        NAME + "  # gone",
        f"artwork = {NAME}",
        f'"image": "{NAME}"',
        f"picture: {ADDRESS}",
    ):
        assert Listed([line]).names(artwork_keys(NAME, ADDRESS))
    digest = hashlib.sha256(b"").hexdigest()
    for line in (f"{digest}  000002.mp3", f"{digest} *lace.jpg", f"sha256: {digest} # gone"):
        assert line_keys(line) == {f"sha256:{digest}"}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('track_id,note\n2,asked\n3,"see,\n4"\n', ["track: 2", "track: 3"]),
        ("# a list\nID;why\n#2;gone\n# 3;none\n", ["#2"]),
        ("Artwork ID\ttrack_id\nlace.jpg\t\n\t5\n", ["artwork: lace.jpg", "track: 5"]),
        ("side,id,title\ntrack,000002,Food\n", ["000002"]),
        ("key,why\n,asked\n", [", asked"]),
        ("track_id\n2\n", ["track: 2"]),
        ("2,3\nlace, in red.jpg\n", ["2,3", "lace, in red.jpg"]),
    ],
)
def test_a_table_whose_first_line_names_a_column_of_items_is_a_list(
    tmp_path: Path, text: str, lines: list[str]
) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"\ufeff{text}")
    assert read_lines(path) == lines


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("artwork_id,track_id\nlace.jpg,5\n", "a track and an artwork in one row"),
        ("what,why\n2,gone\n", "names no column of items"),
        ('key,why\n2,"gone\n', "not a valid table"),
    ],
)
def test_a_table_that_does_not_say_what_is_meant_is_refused(
    tmp_path: Path, text: str, fault: str
) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(BadUsage, match=fault):
        read_lines(path)


def test_a_build_leaves_out_what_any_spelling_names_and_shows_which_lines_name_nothing(
    tmp_path: Path,
) -> None:
    haystacks, stays = "claude-monet_haystacks-1850.jpg", "claude-monet_lilies-1851.jpg"
    lines = [unicodedata.normalize("NFD", NAME), f"imagesf2/{haystacks[:-4]}", "a-typo", "7.mp3"]
    without = tmp_path / "without.txt"
    without.write_text("\n".join(lines))
    notes: list[str] = []
    found = catalogue_of(
        tmp_path, [NAME, haystacks, stays], notes=notes, without=str(without),
        artwork_where=f"artwork_id <> '{haystacks}'",
    )  # fmt: skip
    assert set(found) == {stays}
    assert len(notes) == 1
    assert notes[0].endswith("name nothing in the sources: 'a-typo', '7.mp3'.")


# Names as sources have them: letters of several scripts, no suffix of a picture, no separators.
NAMES = st.text(
    st.sampled_from("abcxyz019é ü ñ ß Ж 楽 が -_.,'()"), min_size=3, max_size=20
).filter(lambda name: name[0].isalpha() and name[-1].isalpha() and "  " not in name)
LETTERS: list[Callable[[str], str]] = [
    lambda name: unicodedata.normalize("NFD", name),
    lambda name: unicodedata.normalize("NFC", name),
    str.upper,
]
PLACES: list[Callable[[str], str]] = [
    lambda name: name,
    lambda name: f"{name}.JPG",
    lambda name: f"some/folder/{name}.png",
    lambda name: f"C:\\pictures\\{name}",
    lambda name: quote(f"a folder/{name}.jpg", safe=""),
    lambda name: f'- "{name}.jpeg",',
    lambda name: f"\ufeff  {name}  ",
]


@given(NAMES, st.sampled_from(LETTERS), st.sampled_from(PLACES))
def test_any_spelling_of_any_name_matches(
    name: str, letters: Callable[[str], str], place: Callable[[str], str]
) -> None:
    keys = artwork_keys(f"{unicodedata.normalize('NFC', name)}.jpg")
    assert Listed([place(letters(name))]).names(keys)


@given(
    st.integers(0, 999_999),
    st.sampled_from(["{}", "{:06d}", "0{}", "{}.0", "{:06d}.mp3", "000/{:06d}.MP3", "fma:{}"]),
    st.integers(0, 999_999),
)
def test_any_spelling_of_a_number_names_that_track_alone(
    number: int, form: str, other: int
) -> None:
    listed = Listed([form.format(number)])
    assert listed.names(track_keys(f"{number:06d}"))
    assert listed.names(track_keys(f"{other:06d}")) == (number == other)


@pytest.mark.parametrize(
    "line",
    ["Frida Kahlo", "frida-kahlo", "KAHLO, Frida", "artist: Frida Kahlo", "fri%CC%81da_kahlo",
     "painter = Frida KAHLO", "https://www.wikiart.org/en/frida-kahlo",
     "wikiart.org/en/frida-kahlo/", "Kahlo, Frida, 1907-1954", "Frida Kahlo (1907–1954)"],
)  # fmt: skip
def test_an_opt_out_list_names_creators(line: str) -> None:
    assert Listed(["Lukasz Soren"], optouts=True).names(creator_keys("Łukasz Søren"))
    assert Listed([line], optouts=True).names(creator_keys("Frída Kahlo"))
    assert not Listed([line], optouts=True).names(creator_keys("Frida"))
    takedown = Listed([line])
    named = line.startswith(("artist:", "painter ="))  # where only items are meant, it must be said
    assert takedown.names(creator_keys("Frida Kahlo")) == named


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("http://freemusicarchive.org/music/AWOL/", True),
        ("https://www.freemusicarchive.org/music/AWOL/*", True),
        ("freemusicarchive.org", True),
        ("https://freemusicarchive.org/music/AWO", False),
        ("https://example.org/music/AWOL", False),
        ("Food", False),
    ],
)
def test_an_address_in_an_opt_out_list_stands_for_everything_below_it(
    line: str, named: bool
) -> None:
    listed = Listed([line], optouts=True)
    assert listed.names(track_keys("000002", PAGE)) == named
    assert listed.unmatched == (() if named else (line,))


def test_lists_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("2\n\n000005\n", encoding="utf-8-sig")
    (tmp_path / "wide.txt").write_text("2\n000005\n", encoding="utf-16")
    np.save(tmp_path / "ids.npy", np.array([2, 5]))
    pl.DataFrame({"key": ["000002", "000005"]}).write_parquet(tmp_path / "view.parquet")
    for name in ("plain.txt", "wide.txt", "ids.npy", "view.parquet"):
        keys = [line_keys(line) for line in read_lines(tmp_path / name)]
        assert ["track:000002" in keys[0], "track:000005" in keys[1]] == [True, True]
    (tmp_path / "bad.txt").write_bytes(b"\xe9t\xe9")
    pl.DataFrame({"other": [1]}).write_parquet(tmp_path / "bad.parquet")
    for name in ("bad.txt", "bad.parquet", "absent.txt"):
        with pytest.raises(BadUsage, match="a list of ids"):
            read_lines(tmp_path / name)


def test_a_build_leaves_out_opted_out_works_as_rejects_and_files_by_their_digest(
    tmp_path: Path,
) -> None:
    names = ["frida-kahlo_roots-1850.jpg", "claude-monet_lilies-1851.jpg", "x-y_z-1852.jpg"]
    catalogue_of(tmp_path / "first", names)
    folder = next((tmp_path / "first").rglob("imagesf2"))
    digest = hashlib.sha256((folder / names[2]).read_bytes()).hexdigest()
    optouts, without = tmp_path / "optouts.txt", tmp_path / "without.txt"
    optouts.write_text("Kahlo, Frida\nNobody Known\n")
    without.write_text(f"SHA256: {digest.upper()}\n{'0' * 64}\n")
    notes: list[str] = []
    found = catalogue_of(
        tmp_path / "second", names, notes=notes, optouts=str(optouts), without=str(without)
    )
    assert set(found) == {names[1]}
    rejects = pl.read_parquet(next((tmp_path / "second").rglob("rejects.parquet")))
    reasons = dict(rejects.filter(side="artwork").select("item_id", "reason").iter_rows())
    assert reasons == {names[0]: "opted-out", names[2]: "withdrawn"}
    [note] = notes
    assert "'Nobody Known'" in note
    assert f"'{'0' * 64}'" in note
    assert digest.upper() not in note
