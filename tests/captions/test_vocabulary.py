"""The words of grounded captions, and what a recipe's own file changes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from caption_records import artwork, artwork_descriptors, track, track_descriptors
from hypothesis import given, settings
from hypothesis import strategies as st
from small_captions import small_workspace

from artsound.captions.caption import STAGE
from artsound.captions.grounded import describe_artwork, describe_track
from artsound.captions.vocabulary import MAX_WORDS, bundled_vocabulary, load_vocabulary
from artsound.errors import BadUsage
from artsound.recipe import Recipe
from artsound.stage import run_stage
from artsound.storage import read_parquet

OWN = """
[art.styles]
impressionism = "plein-air"

[art.genres]
landscape = ["view of the country"]

[art.subjects]
boat = ""
zeppelin = "airships"

[music]
spoken = ["sermon"]

[music.genres]
rock = "guitar-driven"
sermon = "preached"
"hip hop" = ""

[music.minor_keys]
"C#" = "D-flat"
"""


def _file(folder: Path, text: str) -> str:
    path = folder / "terms.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_no_file_means_the_bundled_vocabulary() -> None:
    assert load_vocabulary() is bundled_vocabulary()
    assert load_vocabulary().digest == ""


def test_an_own_file_replaces_removes_and_adds_words(tmp_path: Path) -> None:
    own, bundled = load_vocabulary(_file(tmp_path, OWN)), bundled_vocabulary()
    assert own.art.styles["impressionism"] == "plein-air"
    assert own.art.subjects["zeppelin"] == "airships"
    assert "boat" in bundled.art.subjects
    assert "boat" not in own.art.subjects
    assert own.music.spoken == bundled.music.spoken | {"sermon"}
    assert own.music.genres["hip hop"] == ""
    assert own.music.minor_keys["C#"] == "D-flat"
    assert own.art.materials == bundled.art.materials
    assert own.digest


def test_captions_use_the_own_words(tmp_path: Path) -> None:
    own = load_vocabulary(_file(tmp_path, OWN))
    picture = describe_artwork(artwork(), artwork_descriptors(), own)
    assert "plein-air view of the country" in picture
    sound = track_descriptors(key="C#", mode="minor", key_clarity=1.0)
    sounds = [
        describe_track(track(track_id=f"{n:06d}", genre="Rock", genres=[]), sound, own)
        for n in range(60)
    ]
    assert all("guitar-driven" in text for text in sounds)
    assert any("D-flat minor" in text for text in sounds)
    spoken = describe_track(track(genre="Sermon", genres=[]), track_descriptors(), own)
    assert "preached recording" in spoken
    unnamed = describe_track(track(genre="Hip-Hop", genres=[]), track_descriptors(), own)
    assert "hip" not in unnamed.lower()


LONG = " ".join(["imaginary"] * MAX_WORDS)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 999_999), st.booleans())
def test_the_longest_words_still_make_a_caption(number: int, several: bool) -> None:
    own = load_vocabulary(str(_LONG_FILE))
    record = artwork(
        artwork_id=str(number), tags=["tree", "boat", "lady"] if several else [], media=["oil"]
    )
    text = describe_artwork(record, artwork_descriptors(), own)
    assert 12 <= len(text.split()) <= 45
    genres = ["Rock", "Jazz", "Opera"] if several else []
    sound = describe_track(track(track_id=f"{number:06d}", genres=genres), track_descriptors(), own)
    assert 12 <= len(sound.split()) <= 45


@pytest.fixture(autouse=True, scope="module")
def _long_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    global _LONG_FILE  # noqa: PLW0603 (hypothesis calls the test without fixtures of its own)
    _LONG_FILE = tmp_path_factory.mktemp("long") / "terms.toml"
    tables = {
        "art": {
            "styles": {"impressionism": LONG},
            "genres": {"landscape": [LONG]},
            "subjects": {"tree": LONG, "boat": f"{LONG[:-1]}s", "lady": f"{LONG[:-2]}ns"},
            "materials": {"oil": LONG},
        },
        "music": {"genres": {"rock": LONG, "jazz": f"{LONG[:-1]}s", "hip hop": LONG}},
    }
    lines = []
    for side, own in tables.items():
        for name, table in own.items():
            lines.append(f"[{side}.{name}]")
            lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in table.items()]
    _LONG_FILE.write_text("\n".join(lines), encoding="utf-8")


_LONG_FILE = Path()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[art", "is not valid TOML"),
        ("[arts.styles]", "arts is unknown: did you mean art?"),
        ("[styles]", "styles is unknown: a vocabulary has the tables [art] and [music]"),
        ("[art.style]", "art.style is unknown: did you mean styles?"),
        ("art = 3", "art is not a table"),
        ("[art]\nstyles = 3", "art.styles is not a table"),
        ('[art.styles]\n"Op Art" = "Op Art"', "would never be found: write 'op art'"),
        ('[art.styles]\n"!" = "Op Art"', "has no letters or digits"),
        ("[art.styles]\ncubism = 3", "art.styles.cubism is not a text"),
        ('[art.styles]\ncubism = "{cubist}"', "art.styles.cubism cannot stand in a sentence"),
        ('[art.styles]\ncubism = "a b c d e f g"', "write at most 6 plain words"),
        ('[art.styles]\ncubism = "Cubist\\u0000"', "art.styles.cubism cannot stand"),
        ('[art.genres]\nportrait = "portrait"', "art.genres.portrait is not a list of texts"),
        ('[art.genres]\nportrait = [""]', "art.genres.portrait has an empty text"),
        ("[art.genres]\nportrait = [1]", "art.genres.portrait is not a list of texts"),
        ('[music]\nspoken = "sermon"', "music.spoken is not a list of texts"),
        ('[music]\nspoken = ["Sermon"]', "would never be found: write 'sermon'"),
        ('[music.major_keys]\nH = "B"', "music.major_keys.H is not a pitch class"),
        ('[music.major_keys]\nC = "do"', "music.major_keys.C is 'do': write a key as E or E-flat"),
        ('[music.major_keys]\nC = ""', "music.major_keys.C is ''"),
    ],
)
def test_a_broken_file_is_refused_with_its_name_and_the_key(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadUsage) as caught:
        load_vocabulary(_file(tmp_path, text))
    assert message in str(caught.value)
    assert "terms.toml" in str(caught.value)


def test_the_stage_captions_again_when_the_words_change_and_records_them(tmp_path: Path) -> None:
    workspace = small_workspace(tmp_path / "out")
    run_stage(STAGE, workspace, Recipe())
    plain = read_parquet(workspace.captions / "artworks.parquet", "caption")
    assert set(plain.column("settings").to_pylist()) == {"{}"}
    own = Recipe().replaced(captions={"vocabulary": _file(tmp_path, OWN)})
    assert run_stage(STAGE, workspace, own).parts_skipped == 0
    changed = read_parquet(workspace.captions / "artworks.parquet", "caption")
    assert all("plein-air" in text for text in changed.column("caption").to_pylist())
    [recorded] = set(changed.column("settings").to_pylist())
    assert len(json.loads(recorded)["vocabulary"]) == 64
    assert run_stage(STAGE, workspace, own).parts_skipped == 2
    _file(tmp_path, OWN.replace("plein-air", "open-air"))
    assert run_stage(STAGE, workspace, own).parts_skipped == 0


def test_a_missing_vocabulary_is_an_error_before_anything_is_captioned(tmp_path: Path) -> None:
    recipe = Recipe().replaced(captions={"vocabulary": str(tmp_path / "gone.toml")})
    with pytest.raises(BadUsage, match=r"There is no vocabulary .*gone\.toml"):
        run_stage(STAGE, small_workspace(tmp_path / "out"), recipe)
