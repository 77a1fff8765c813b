"""Grounded captions: true to the record, of the right length and shape, whatever the record."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caption_facts import PICTURE_SCALES, SOUND_SCALES, unsupported
from caption_records import artwork, artwork_descriptors, track, track_descriptors
from hypothesis import given, settings
from hypothesis import strategies as st

from artsound.captions import grounded, measures
from artsound.captions.base import CaptionItem
from artsound.captions.checks import Limits, failure
from artsound.captions.grounded import Grounded, describe, describe_artwork, describe_track
from artsound.captions.phrasing import slug
from artsound.captions.vocabulary import bundled_vocabulary
from artsound.schema import json_schema
from artsound.storage import digest

HOSTILE = (
    "",
    "<b>Bold</b> & “quoted”",
    "{0}{f1}[x]",
    "None",
    "nan",
    "Untitled",
    "a" * 5000,
    "\x00\x1b[31mred",
    "Line\nbreak\ttab",
    "word " * 40,
    "100% ??? !!!",
    "¿Qué?",
    "神奈川沖浪裏",
    "O'Brien's \"Best\"",
    "http://example.org/x.jpg",
    "No. 5, 1948",
    "-1",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
)
TEXT = st.one_of(
    st.sampled_from(HOSTILE), st.text(max_size=60), st.text("abc DE'-é,.", max_size=30)
)
LABEL = st.one_of(
    TEXT,
    st.sampled_from(("impressionism", "ukiyo e", "Post_Impressionism", "abstract art", "op art")),
    st.sampled_from(("landscape", "genre painting", "abstract painting", "self-portrait")),
)
GENRE = st.one_of(TEXT, st.sampled_from(("Hip-Hop", "Soul-RnB", "IDM", "Spoken", "Opera", "R&B")))
TAGS = st.lists(
    st.one_of(TEXT, st.sampled_from(("tree", "boats-and-ships", "lady", "organism", "piano"))),
    max_size=6,
)
COLOURS = st.lists(
    st.sampled_from(("ochre", "slate blue", "off-white", "black", "dark olive green")), max_size=5
)


def _numbers(name: str) -> dict[str, st.SearchStrategy[Any]]:
    """A strategy for each number of a record, over all that its schema allows."""
    found: dict[str, st.SearchStrategy[Any]] = {}
    for field, rules in json_schema(name)["properties"].items():
        if rules["type"] == "number":
            low = rules.get("minimum", rules.get("exclusiveMinimum", -1e6))
            found[field] = st.floats(
                low, rules.get("maximum", 1e6), width=32, exclude_min="exclusiveMinimum" in rules
            )
    return found


ARTWORKS = st.builds(
    artwork,
    artwork_id=st.text(min_size=1, max_size=20),
    title=TEXT,
    painter=TEXT,
    year=st.one_of(st.just(-1), st.integers(0, 2200)),
    style=LABEL,
    genre=LABEL,
    period=st.one_of(TEXT, st.just("Blue Period")),
    tags=TAGS,
    media=st.lists(st.one_of(TEXT, st.sampled_from(("oil", "canvas", "Ink", "silk"))), max_size=4),
    emotions=st.lists(st.one_of(TEXT, st.sampled_from(("awe", "something else"))), max_size=3),
)
PICTURES = st.builds(artwork_descriptors, palette=COLOURS, **_numbers("artwork_descriptors"))
TRACKS = st.builds(
    track,
    track_id=st.from_regex(r"[0-9]{6}", fullmatch=True),
    title=TEXT,
    artist=TEXT,
    album=TEXT,
    genre=GENRE,
    genres=st.lists(GENRE, max_size=4),
    tags=TAGS,
    year=st.integers(-1, 2030),
)
SOUNDS = st.builds(
    track_descriptors,
    key=st.sampled_from(json_schema("track_descriptors")["properties"]["key"]["enum"]),
    mode=st.sampled_from(("major", "minor")),
    **_numbers("track_descriptors"),
)


def _check_shape(caption: str) -> None:
    assert 12 <= len(caption.split()) <= 45
    assert caption[0].isupper() or not caption[0].isascii()
    assert caption.endswith(".")
    assert not re.search(
        r"[{}\[\]<>\x00-\x1f]|  |\b(None|nan|NaN|null)\b| [,.;:]|\.\.|,,|,\.", caption
    )


def _numbers_in(text: str) -> set[str]:
    return set(re.findall(r"\d+", text))


@settings(max_examples=300, deadline=None)
@given(ARTWORKS, PICTURES)
def test_any_artwork_gets_a_caption_of_good_shape_with_nothing_invented(record, measured) -> None:
    caption = describe_artwork(record, measured)
    _check_shape(caption)
    known = " ".join([record.title, record.painter, record.style, record.period])
    assert _numbers_in(caption) <= _numbers_in(known) | {str(record.year)}
    assert describe_artwork(record, measured) == caption


@settings(max_examples=300, deadline=None)
@given(TRACKS, SOUNDS)
def test_any_track_gets_a_caption_of_good_shape_with_nothing_invented(record, measured) -> None:
    caption = describe_track(record, measured)
    _check_shape(caption)
    assert _numbers_in(caption) <= {str(round(measured.tempo))} | _numbers_in(record.genre)


def test_no_plan_shows() -> None:
    art = [describe_artwork(artwork(artwork_id=f"{n}"), artwork_descriptors()) for n in range(400)]
    music = [describe_track(track(track_id=f"{n:06d}"), track_descriptors()) for n in range(400)]
    for captions, plans in ((art, grounded.ARTWORK_PLANS), (music, grounded.TRACK_PLANS)):
        assert len(plans) >= 20
        starts = [" ".join(caption.split()[:3]) for caption in captions]
        assert max(starts.count(start) for start in set(starts)) < 160
        assert len(set(captions)) > 300


def test_a_style_and_a_genre_are_named_as_the_field_names_them() -> None:
    for style, genre, expected in (
        ("impressionism", "landscape", "Impressionist landscape"),
        ("ukiyo e", "", "ukiyo-e print"),
        ("Naive_Art_Primitivism", "genre painting", "naïve"),
        ("mannerism late renaissance", "portrait", "Mannerist portrait"),
    ):
        caption = describe_artwork(artwork(style=style, genre=genre), artwork_descriptors())
        assert expected in caption
    assert "soul and R&B" in describe_track(track(genre="Soul-RnB", genres=[]), track_descriptors())


def test_the_tempo_is_named_only_where_the_pulse_is_clear_and_the_key_only_where_it_is() -> None:
    for number in range(60):
        caption = describe_track(
            track(track_id=f"{number:06d}"), track_descriptors(pulse_clarity=0.05, key_clarity=0.1)
        )
        assert not re.search(r"BPM|tempo|minor|major", caption)


def test_a_track_is_described_without_its_artist_title_or_album() -> None:
    for number in range(60):
        record = track(track_id=f"{number:06d}", title="Zebra", artist="Quagga", album="Okapi")
        assert not re.search("Zebra|Quagga|Okapi", describe_track(record, track_descriptors()))


def test_sentences_change_only_with_the_captioners_version() -> None:
    captions = [
        describe(
            CaptionItem(
                "track", f"{n:06d}", track(track_id=f"{n:06d}"), track_descriptors(), Path()
            )
        )
        for n in range(100)
    ] + [
        describe(
            CaptionItem(
                "artwork", f"{n}", artwork(artwork_id=f"{n}"), artwork_descriptors(), Path()
            )
        )
        for n in range(100)
    ]
    # When this fails on purpose, raise Grounded.version and write the new digest here.
    assert (Grounded.version, digest(captions)[:16]) == ("9", "4708ba3cbca1f24e")


def test_every_genre_and_style_of_the_sources_has_its_words(shared_data: Path) -> None:
    words = bundled_vocabulary()
    with (shared_data / "fma/fma_metadata/genres.csv").open(encoding="utf-8") as file:
        titles = [row["title"] for row in csv.DictReader(file)]
    assert len(titles) == 163
    assert [title for title in titles if slug(title) not in words.music.genres] == []
    for kind, known in (("style", words.art.styles), ("genre", words.art.genres)):
        mapping = shared_data / f"artgraph/mapping/{kind}_entidx2name.csv"
        names = [line.split(",", 1)[1] for line in mapping.read_text("utf-8").splitlines()]
        assert [name for name in names if slug(name) not in known] == []


def _drawn(count: int) -> list[tuple[Any, Any]]:
    """Records of both sides with facts and measurements of every kind, drawn from a seed."""
    rng = np.random.default_rng(0)
    art, music = bundled_vocabulary().art, bundled_vocabulary().music
    colours = sorted(art.colour_families)

    def any_of(words: Any, most: int = 1) -> list[str]:
        return [str(word) for word in rng.choice(sorted(words), rng.integers(0, most + 1))]

    def spread(scale: measures.Scale) -> float:
        first, last = scale.edges[0], scale.edges[-1]
        edges = [first - abs(first) / 2, *scale.edges, last + abs(last) / 2]
        level = int(rng.integers(0, len(edges) - 1))
        return float(rng.uniform(edges[level], edges[level + 1]))

    found: list[tuple[Any, Any]] = []
    for n in range(count):
        record = artwork(
            artwork_id=f"{n}.jpg",
            title=str(rng.choice(["Two sisters", "Vase with roses 2", "Untitled", "The ferry"])),
            style=str(rng.choice(sorted(art.styles))),
            genre="".join(any_of(art.genres)),
            tags=any_of(art.subjects, 4),
            media=any_of({**art.materials, **art.supports}, 3),
            emotions=any_of(art.emotions),
            year=int(rng.integers(1400, 2000)),
        )
        palette = list(dict.fromkeys(any_of(colours, 5)))
        numbers = {field: spread(scale) for field, scale in PICTURE_SCALES.items()}
        lines = {field: float(rng.uniform(0.2, 0.6)) for field, _, _ in measures.LINES}
        codes = [f"#{int(v):06x}" for v in rng.integers(0, 1 << 24, len(palette))]
        numbers |= {"chroma": float(rng.uniform(0, 0.4)), "warmth": float(rng.uniform(-1, 1))}
        found.append(
            (
                record,
                artwork_descriptors(palette=palette, palette_hex=codes, **numbers, **lines),
            )
        )
        sound = {field: spread(scale) for field, scale in SOUND_SCALES.items()}
        genres = any_of(label for label, words in music.genres.items() if words)
        found.append(
            (
                track(
                    track_id=f"{n:06d}",
                    genre="".join(genres[:1]),
                    genres=genres,
                    tags=any_of(music.instruments, 3),
                ),
                track_descriptors(
                    tempo=float(rng.uniform(50, 190)),
                    key_clarity=float(rng.uniform(0.6, 1)),
                    majorness=float(rng.uniform(-0.5, 0.5)),
                    mode=str(rng.choice(["major", "minor"])),
                    **sound,
                ),
            )
        )
    return found


def _described(record: Any, d: Any) -> str:
    return (describe_artwork if hasattr(record, "artwork_id") else describe_track)(record, d)


def test_every_fact_of_a_caption_is_in_its_record_or_measured() -> None:
    drawn = _drawn(300)
    faults = {
        caption: found
        for record, d in drawn
        if (found := unsupported(caption := _described(record, d), record, d))
    }
    assert faults == {}
    # None of them fails what models' texts are checked for.
    limits = Limits(12, 45)
    assert not any(
        failure(_described(r, d), CaptionItem(kind, "1", r, d, Path()), limits)
        for r, d in drawn
        for kind in ["artwork" if hasattr(r, "artwork_id") else "track"]
    )
    # The reader finds what is not there: of captions of other items nearly all have a fault.
    others = [
        unsupported(_described(*drawn[(n + 2) % len(drawn)]), record, d)
        for n, (record, d) in enumerate(drawn)
    ]
    assert sum(map(bool, others)) > 0.95 * len(others)


def test_phrases_fit_into_lists_and_say_what_is_there() -> None:
    scales = [*PICTURE_SCALES.values(), *SOUND_SCALES.values()]
    phrases = [p for scale in scales for level in scale.phrases for p in level if p]
    phrases += [p for _, _, several in measures.LINES for p in several]
    assert len(phrases) > 200
    assert len(set(phrases)) == len(phrases)
    for phrase in phrases:
        assert not re.search(r",| and |\b(few|hardly|little|no|not|without|lack)\b", phrase), phrase


def test_no_phrase_is_part_of_another() -> None:
    scales = (*PICTURE_SCALES.values(), *SOUND_SCALES.values())
    phrases = [p for scale in scales for level in scale.phrases for p in level if p]
    phrases += [p for _, _, several in measures.LINES for p in several]
    assert [(a, b) for a in phrases for b in phrases if a != b and f" {a} " in f" {b} "] == []


def test_a_label_names_painter_and_title_and_joins_its_lists() -> None:
    scales = (*PICTURE_SCALES.values(), *SOUND_SCALES.values())
    traits = [p for scale in scales for level in scale.phrases for p in level if p]
    art = bundled_vocabulary().art
    colours = [art.colours.get(name, name) for name in art.colour_families]
    listed = re.compile("|".join(map(re.escape, sorted([*traits, *colours], key=len)[::-1])))
    for record, d in _drawn(300):
        caption = _described(record, d)
        assert not re.search(r"#, #[.;:]", listed.sub("#", caption)), caption
        if hasattr(record, "artwork_id"):
            assert "Alfred Sisley" in caption
            assert "ferry" not in record.title or "The Ferry" in caption


def test_a_portrait_is_not_called_a_portrait_twice() -> None:
    for title, genre, said, unsaid in (
        ("Portrait of a scholar", "portrait", "Portrait of a Scholar", "ist portrait"),
        ("Self portrait", "", "Impressionist self-portrait", "Self-Portrait"),
        ("Self portrait", "portrait", "Self-Portrait", "ist portrait"),
        ("Still life with lute", "portrait", "Still Life with Lute", "portrait"),
        ("Landscape", "landscape", "Impressionist landscape", "Landscape"),
    ):
        for n in range(20):
            record = artwork(artwork_id=f"{n}", title=title, genre=genre)
            caption = describe_artwork(record, artwork_descriptors())
            assert said in caption
            assert unsaid not in caption


def test_ordinary_measurements_are_told_only_where_a_caption_would_be_too_short() -> None:
    plain = {"lightness": 0.45, "contrast": 0.6, "complexity": 0.5, "hue_entropy": 0.5}
    middle = [p for s in (measures.LIGHTNESS, measures.CONTRAST, measures.DETAIL)
              for p in s.phrases[s.middle]]  # fmt: skip
    told = [
        any(p in describe_artwork(record, artwork_descriptors(**plain)) for p in middle)
        for record in (artwork(artwork_id=f"{n}") for n in range(100))
    ]
    assert sum(told) < 15
    bare = {"title": "", "painter": "", "year": -1, "style": "", "genre": ""}
    for n in range(20):
        caption = describe_artwork(
            artwork(artwork_id=f"{n}", **bare), artwork_descriptors(palette=[], **plain)
        )
        assert any(p in caption for p in middle)


def test_no_trait_is_in_more_than_one_caption_of_twenty() -> None:
    captions = [_described(record, d).lower() for record, d in _drawn(400)]
    for scale in (*PICTURE_SCALES.values(), *SOUND_SCALES.values()):
        for phrase in (p for level in scale.phrases for p in level if p):
            share = sum(phrase in caption for caption in captions) / len(captions)
            assert share <= 0.05, phrase


def test_a_caption_does_not_contradict_itself_about_colours() -> None:
    wide = {"hue_entropy": 0.9, "lightness": 0.55, "contrast": 0.7, "complexity": 0.5}
    browns = {"palette": ["umber", "tan"], "palette_hex": ["#5d4630", "#bc9366"]}
    many = measures.HUES.phrases[2]
    for n in range(60):
        record = artwork(artwork_id=f"{n}")
        for d in (artwork_descriptors(chroma=0.08, **wide), artwork_descriptors(**browns, **wide)):
            assert not any(phrase in describe_artwork(record, d).lower() for phrase in many)
        greys = ["pale grey", "silver grey", "grey", "charcoal"]
        caption = describe_artwork(record, artwork_descriptors(palette=greys, palette_hex=[]))
        assert len(re.findall(r"(?i)grey|charcoal", caption)) == 1


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("barges at billancourt", "listed as Barges at Billancourt"),
        ("alexandrovna demidova nee stroganova", "listed as Alexandrovna Demidova née Stroganova"),
        ("the tippler the wine drinker", ""),
        ("norman the red man 22nd chief of macleod", ""),
        ("no kakinomoto hitomaro", ""),
        ("venus inebriated by a satyr la nuda", ""),
        ("portrait of the", ""),
    ],
)
def test_a_title_made_of_a_file_name_is_listed_not_quoted(title: str, said: str) -> None:
    captions = [
        describe_artwork(artwork(artwork_id=f"{n}", title=title), artwork_descriptors())
        for n in range(40)
    ]
    assert not any("“" in caption for caption in captions)
    assert any(said.lower() in caption.lower() for caption in captions) or not said
    marks = "|".join(grounded.LISTED)
    assert said or not any(re.search(marks, caption) for caption in captions)
    quoted = [
        describe_artwork(
            artwork(artwork_id=f"{n}", source="museum", title="Norman, the Red Man"),
            artwork_descriptors(),
        )
        for n in range(20)
    ]
    assert any("titled “Norman, the Red Man”" in caption.replace("T", "t", 1) for caption in quoted)


@pytest.mark.parametrize(
    ("measured", "named"),
    [
        ({}, False),  # an ordinary clip
        ({"mode": "minor", "majorness": -0.5, "tempo": 144.0, "key_clarity": 0.95}, False),
        ({"majorness": -0.5, "key_clarity": 0.5, "tempo": 60.0, "pulse_clarity": 0.5}, False),
        (
            {"mode": "minor", "majorness": -0.5, "tempo": 60.0, "loudness": -24.0,
             "onset_rate": 1.5, "percussiveness": 0.2, "centroid": 900.0},
            True,
        ),
        (
            {"mode": "major", "majorness": 0.4, "tempo": 150.0, "loudness": -9.0,
             "onset_rate": 5.0, "percussiveness": 0.5},
            True,
        ),
    ],
)  # fmt: skip
def test_a_mood_is_named_only_where_it_is_sure(measured: dict[str, Any], named: bool) -> None:
    ordinary = {"majorness": 0.03, "loudness": -17.0, "tempo": 112.0, "centroid": 1550.0,
                "onset_rate": 3.4, "percussiveness": 0.35, "key_clarity": 0.9}  # fmt: skip
    words = {word for row in measures.MOODS for cell in row for word in cell}
    d = track_descriptors(**(ordinary | measured))
    captions = [describe_track(track(track_id=f"{n:06d}"), d).lower() for n in range(30)]
    pattern = "|".join(sorted(words))
    found = [bool(re.search(rf"\b({pattern})\b(?! volume)", caption)) for caption in captions]
    assert any(found) is named
