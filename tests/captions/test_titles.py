"""Titles and painters' names as a museum label has them."""

from __future__ import annotations

import pytest

from artsound.captions import titles
from artsound.captions.phrasing import slug
from artsound.captions.vocabulary import bundled_vocabulary


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("The hut detail", "The Hut (detail)"),
        ("Descent from the cross left wing", "Descent from the Cross (left wing)"),
        ("Women 10", "Women"),
        ("Red and white domes (1)", "Red and White Domes"),
        ("self portrait in profile", "Self-Portrait in Profile"),
        ("Snowy landscape aka frost", "Snowy Landscape"),
        ("Untitled portrait of paul alexander", "Portrait of Paul Alexander"),
        ("The port of le havre", "The Port of Le Havre"),
        ("George III of the united kingdom", "George III of the United Kingdom"),
        ("Alexander i as a child", "Alexander I as a Child"),
        ("Portrait of princess n i kurakin", "Portrait of Princess N. I. Kurakin"),
        ("Portrait of the lady in waiting a m izmaylova",
         "Portrait of the Lady-in-Waiting A. M. Izmaylova"),
        ("John russel 4th duke of bedford", "John Russel, 4th Duke of Bedford"),
        ("Grand duchess alexandra pavlovna of russia",
         "Grand Duchess Alexandra Pavlovna of Russia"),
        ("St john the baptist in the wilderness", "St John the Baptist in the Wilderness"),
        ("Neptune dispersing the clouds", "Neptune Dispersing the Clouds"),
        ("The scholar sugawara no michizane", "The Scholar Sugawara no Michizane"),
        ("L'enseigne de gersaint", "L'Enseigne de Gersaint"),
        # Lost letters, names of files and fragments are not restored.
        ("Pont charraud gel e blanche", ""),
        ("Portrait de la comtesse de s rent", ""),
        ("Countess of ch tre", ""),
        ("IMG_1234", ""),
        ("Christ the column", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_a_file_name_becomes_a_title_or_none(name: str, title: str) -> None:
    assert titles.from_file_name(name) == title


@pytest.mark.parametrize(
    ("title", "quoted"),
    [
        ("Norman, the Red Man", "“Norman, the Red Man”"),
        ("THE NIGHT WATCH", "“The Night Watch”"),
        ("  Water   Lilies [recto]", "“Water Lilies”"),
        ("Composition (unfinished", "“Composition Unfinished”"),
        ("view of delft.jpg", "“View of Delft”"),
        ("Mr. & Mrs. Andrews", "“Mr. & Mrs. Andrews”"),
        ("Portrait of a Lady (Anna), c. 1500", "“Portrait of a Lady (Anna), c. 1500”"),
        ("DSC00123.jpg", ""),
        ("Untitled", ""),
    ],
)
def test_a_museums_title_is_quoted_without_the_catalogues_marks(title: str, quoted: str) -> None:
    assert titles.quoted(title) == quoted


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Paul Cezanne", "by Paul Cézanne"),
        ("Sisley, Alfred", "by Alfred Sisley"),
        ("VAN GOGH, Vincent", "by Vincent Van Gogh"),
        ("Brueghel, Pieter, the Elder", "by Pieter Brueghel the Elder"),
        ("Rembrandt (1606-1669)", "by Rembrandt"),
        ("Dürer, Albrecht [?]", "attributed to Albrecht Dürer"),
        ("After Titian", "after Titian"),
        ("Workshop of Rubens", "by the workshop of Rubens"),
        ("Rubens and Brueghel", "by Rubens and Brueghel"),
        ("Anonymous", ""),
        ("unidentified artist", ""),
        ("Japanese, 18th century", ""),
        ("Smith, John and Jones, Bob", ""),
    ],
)
def test_a_painter_is_named_as_on_a_label(name: str, said: str) -> None:
    assert titles.painter(name, bundled_vocabulary().art.painters) == said


def test_a_painters_spelling_changes_no_letter() -> None:
    painters = bundled_vocabulary().art.painters
    assert len(painters) > 50
    assert {slug(name): name for name in painters.values()} == painters
