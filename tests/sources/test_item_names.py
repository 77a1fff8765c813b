"""Lines of takedown and id lists, as people spell them, and the items that they name."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from test_artwork_rights import catalogue_of

from artsound.sources.item_names import Listed, artwork_keys, line_keys, track_keys

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
        PAGE.replace("http://", "https://www."), "２",
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


def test_a_build_leaves_out_what_any_spelling_names_and_tells_which_lines_name_nothing(
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
