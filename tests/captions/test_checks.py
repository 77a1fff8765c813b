"""Each fault of a model's caption is found and named; a good caption passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from caption_records import artwork, artwork_descriptors, track, track_descriptors
from hypothesis import given
from hypothesis import strategies as st

from artsound.captions.base import CaptionItem
from artsound.captions.checks import Limits, failure, near_duplicates, tidy
from artsound.captions.grounded import describe

LIMITS = Limits(5, 80)
PAINTERS = {"Claude Monet", "Vincent van Gogh", "Juan de Valdes Leal y Diaz"}


def _art(record: dict[str, Any] | None = None, **measured: Any) -> CaptionItem:
    changes = record or {}
    return CaptionItem("artwork", "x", artwork(**changes), artwork_descriptors(**measured), Path())


def _music(record: dict[str, Any] | None = None, **measured: Any) -> CaptionItem:
    changes = record or {}
    return CaptionItem("track", "000002", track(**changes), track_descriptors(**measured), Path())


@pytest.mark.parametrize(
    "text",
    [
        "A painting of boats on a river with trees behind them.",
        "An Impressionist landscape by Alfred Sisley with barges on the Seine, in blue and ochre.",
        "The work, titled “Barges at Billancourt”, is one of Sisley's views of the river.",
        "Soft light falls on a row of barges; the sky is pale and the water is still.",
    ],
)
def test_a_good_description_of_a_picture_passes(text: str) -> None:
    assert failure(text, _art(), LIMITS, {"Claude Monet"}) == ""


@pytest.mark.parametrize(
    "text",
    [
        "A hip-hop track in A minor at 96 BPM, with a dry drum loop and a deep bass line.",
        "This song has a steady beat and a man rapping over a mellow keyboard figure.",
        "A laid-back groove that swings between soft and loud with a slow build towards the end.",
    ],
)
def test_a_good_description_of_music_passes(text: str) -> None:
    assert failure(text, _music(), LIMITS, {"Claude Monet"}) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("I'm sorry, but I cannot describe this image.", "refusal"),
        ("As an AI language model, I have no eyes for paintings of the sea.", "refusal"),
        ("Please provide the image that you want to have described by me.", "refusal"),
        ("A river.", "too-short"),
        ("A boat named " + "x" * 40 + " on a river.", "non-text"),
        ("The view " + " ".join(f"of hill {a}{b}" for a in "abcdef" for b in "abcdef"), "too-long"),
        ("<s> a painting of boats on a river </s>", "non-text"),
        ('{"caption": "a painting of boats on a river"}', "non-text"),
        ("A painting of boats \ufffd\ufffd on a river with trees.", "non-text"),
        ("A picture of 1234 5678 9012 3456 7890 at 12:34:56.", "non-text"),
        ("A picture of a boat see https://example.org for the rest of it.", "non-text"),
        ("A boat on the the river in the evening light.", "repetitive"),
        ("A boat and a boat and a boat and a boat and a boat and a boat.", "repetitive"),
        ("Un tableau de bateaux sur une rivière avec des arbres et un ciel bleu.", "not-english"),
        ("Ein Gemälde von Booten auf einem Fluss mit Bäumen und Wolken.", "not-english"),
        ("一幅画，画的是河上的船和树，天空是蓝色的，水是平静的。", "not-english"),
        ("boat river tree cloud house barge water", "not-english"),
        ("A painting of boats on a river with 山水画、山水画、山水画 behind them.", "not-english"),
        ("The boat and the river and the tree, the river and the boat, the tree and the river.",
         "repetitive"),
        ("Boats on a river in the manner of Vincent van Gogh.", "name-not-in-record"),
        ("A scene that Juan de Valdes Leal y Diaz could have made.", "name-not-in-record"),
        ("A painting of boats on a river by Claude Monet.", "name-not-in-record"),
        ("This is a work of the painter Claude Monet with boats on it.", "name-not-in-record"),
        ("This, titled “Impression, Sunrise”, shows boats in a harbour.", "name-not-in-record"),
        ("A dark, gloomy painting of boats on a river at night.", "contradicts-light"),
        ("A black-and-white image of boats on a river with trees.", "contradicts-colour"),
    ],
)  # fmt: skip
def test_a_faulty_description_of_a_picture_is_named(text: str, reason: str) -> None:
    item = _art(lightness=0.7, chroma=0.2)
    assert failure(text, item, LIMITS, PAINTERS) == reason


@pytest.mark.parametrize(
    ("text", "measured", "reason"),
    [
        ("A fast rock song with drums and a guitar.", {"tempo": 60.0}, "contradicts-tempo"),
        ("A slow ballad with a piano and a voice.", {"tempo": 150.0}, "contradicts-tempo"),
        ("A song at 140 BPM with drums.", {"tempo": 96.0}, "contradicts-tempo"),
        ("A fast song with drums and a guitar.", {"tempo": 60.0, "pulse_clarity": 0.05}, ""),
        ("A song in C major with drums and a guitar.", {}, "contradicts-key"),
        ("A song in A major with drums and a guitar.", {}, "contradicts-key"),
        ("A song in A minor with drums and a guitar.", {"mode": "major"}, "contradicts-key"),
        ("A song in the key of A minor with drums and a guitar.", {}, ""),
        ("A song in B flat minor with drums.", {"key": "A#"}, ""),
        ("A song in a major key with drums and a guitar.", {}, "contradicts-key"),
        ("A song in C major with drums and a guitar.", {"key_clarity": 0.1}, ""),
        ("A quiet song with drums and a guitar.", {"loudness": -6.0}, "contradicts-loudness"),
        ("A loud song with drums and a guitar.", {"loudness": -35.0}, "contradicts-loudness"),
    ],
)  # fmt: skip
def test_a_contradiction_of_what_was_measured_is_named(
    text: str, measured: dict[str, Any], reason: str
) -> None:
    assert failure(text, _music(**measured), LIMITS) == reason


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("a painting of boats", "A painting of boats."),
        ('  "A painting\n of boats."  ', "A painting of boats."),
        ("Caption: a painting of boats.", "A painting of boats."),
        ("A river with boats. There are also some tre", "A river with boats."),
        ("", ""),
        (" . ", ""),
    ],
)
def test_a_raw_text_is_tidied(raw: str, expected: str) -> None:
    assert tidy(raw) == expected


def test_grounded_captions_pass_every_check() -> None:
    for number in range(300):
        part = number / 300
        item = _art(
            {"artwork_id": f"{number}", "tags": ["river", "tree"], "emotions": ["awe"]},
            lightness=part,
            chroma=0.4 * (1 - part),
            contrast=part,
        )
        assert failure(describe(item), item, LIMITS, {"Claude Monet"}) == ""
        item = _music(
            {"track_id": f"{number:06d}"},
            tempo=40 + 160 * part,
            loudness=-40 + 36 * ((number * 7) % 300) / 300,
            mode=("major", "minor")[number % 2],
        )
        assert failure(describe(item), item, LIMITS, {"Claude Monet"}) == ""


@given(st.text(max_size=300))
def test_no_text_breaks_the_checks(text: str) -> None:
    for item in (_art(), _music()):
        assert isinstance(failure(tidy(text), item, LIMITS, {"Claude Monet"}), str)


def test_a_caption_that_nearly_repeats_an_earlier_one_points_to_it() -> None:
    long = "a river runs past tall trees and low houses under a pale sky full of small grey clouds"
    captions = [
        long.capitalize() + ".",
        "A quiet street with three figures in the rain.",
        long + "!",
        long.replace("clouds", "birds"),
        "",
        "A quiet street with three figures in the rain.",
    ]
    assert near_duplicates(captions) == [-1, -1, 0, 0, -1, 1]


def test_near_duplicates_are_found_among_thousands() -> None:
    import random

    draw = random.Random(0)
    words = [f"w{n}" for n in range(500)]
    captions = [" ".join(draw.choices(words, k=20)) for _ in range(2000)]
    captions += [caption + " more" for caption in captions[:200]]
    assert near_duplicates(captions) == [-1] * 2000 + list(range(200))
