"""Articles, lists, names, titles and the filling of plans."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artsound.captions.phrasing import (
    clean_label,
    clean_name,
    compose,
    draw_option,
    headline,
    indefinite,
    listing,
    pick,
    shuffled_options,
    slug,
)


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("Impressionist landscape", "an Impressionist landscape"),
        ("Baroque portrait", "a Baroque portrait"),
        ("ukiyo-e print", "a ukiyo-e print"),
        ("unhurried tempo", "an unhurried tempo"),
        ("university", "a university"),
        ("European piece", "a European piece"),
        ("R&B song", "an R&B song"),
        ("IDM track", "an IDM track"),
        ("one-note drone", "a one-note drone"),
        ("honest sound", "an honest sound"),
        ("électronique piece", "an électronique piece"),
        ("hip-hop track", "a hip-hop track"),
    ],
)
def test_the_article_follows_the_sound(phrase: str, expected: str) -> None:
    assert indefinite(phrase) == expected


def test_a_list_reads_as_english() -> None:
    assert [listing(list("abc"[:n])) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("  Barges at\n Billancourt ", "Barges at Billancourt"),
        ("<i>The Night Watch</i>", "The Night Watch"),
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ('The "Big" One', "The Big One"),
        ("‘Quoted’ name", "Quoted name"),
        ("O'Brien", "O'Brien"),
        ("神奈川沖浪裏", "神奈川沖浪裏"),
        ("Composition No. 8", "Composition No. 8"),
        ("Untitled", ""),
        ("nan", ""),
        ("None of it", ""),
        ("not_detected_12345", ""),
        ("{curly}", ""),
        ("a" * 65, ""),
        ("x", ""),
        ("1234", ""),
        ("see www.example.org", ""),
        ("one two three four five six seven eight nine ten", ""),
        ("a, , b", ""),
        ("<script>", ""),
        ("(unclosed", ""),
    ],
)
def test_a_name_is_used_clean_or_not_at_all(raw: str, expected: str) -> None:
    assert clean_name(raw, max_words=9) == expected


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Barges at billancourt", "Barges at Billancourt"),
        ("Mr coke of brookhill", "Mr Coke of Brookhill"),
        ("Paul i of russia", "Paul I of Russia"),
        ("L'enseigne de gersaint", "L'enseigne de Gersaint"),
        ("Paysage le bec de l'aigle", "Paysage le Bec de l'Aigle"),
        ("Self-portrait as a saint", "Self-Portrait as a Saint"),
        ("The Card players", "The Card players"),
        ("Portrait of e i molchanova", "Portrait of E I Molchanova"),
        ("nude", "Nude"),
    ],
)
def test_a_title_without_capitals_gets_them(title: str, expected: str) -> None:
    assert headline(title) == expected


def test_a_label_is_letters_only() -> None:
    assert clean_label("flat colour field") == "flat colour field"
    assert clean_label("odd_style") == "odd style"
    for label in ("a4 paper", "x/y", "<b>", "four words are many", ""):
        assert clean_label(label) == ""


def test_labels_are_looked_up_whatever_their_spelling() -> None:
    assert slug("Naïve_Art-(Primitivism)") == "naive art primitivism"
    assert slug("Drum & Bass") == "drum & bass"


@given(st.text(), st.text(), st.integers(1, 100))
def test_a_draw_is_stable_and_within_range(seed: str, what: str, count: int) -> None:
    number = draw_option(seed, what, count)
    assert 0 <= number < count
    assert draw_option(seed, what, count) == number
    assert pick(seed, what, list(range(count))) == number
    assert sorted(shuffled_options(seed, what, list(range(count)))) == list(range(count))


def test_draws_are_spread_evenly_and_known_for_good() -> None:
    counts = [0] * 10
    for number in range(10_000):
        counts[draw_option(str(number), "plan", 10)] += 1
    assert min(counts) > 900
    assert [draw_option("000002", "plan", 1000), draw_option("a.jpg", "noun", 1000)] == [964, 857]


PLAN = "{A_thing} stands[ near {place}] with eleven words of other text in it[, {time}]."


def test_an_optional_part_goes_when_its_fact_is_unknown() -> None:
    facts = {"a_thing": "a tree", "place": "", "time": "at noon"}
    text = compose("s", [PLAN], [], facts)
    assert text == "A tree stands with eleven words of other text in it, at noon."


def test_the_last_optional_part_goes_first_when_the_text_is_too_long() -> None:
    facts = {"a_thing": "a tree", "place": "a b c d e f g h i j k l", "time": "x " * 25 + "x"}
    text = compose("s", [PLAN], [], facts)
    assert "near" in text
    assert "x" not in text.replace("text", "")


def test_a_tail_is_added_only_while_the_text_is_too_short() -> None:
    tails = ["It has {more} and {time}.", "It is {kind} and tall and old and green and wide."]
    facts = {"thing": "tree", "more": "leaves", "kind": "tall", "time": ""}
    text = compose("s", ["This is a {thing}."], tails, facts)
    assert text == "This is a tree. It is tall and tall and old and green and wide."


def test_braces_in_a_fact_are_text_and_a_plan_that_cannot_be_filled_is_passed_over() -> None:
    facts = {"a_thing": "a {place} [x]", "place": "", "time": ""}
    text = compose("s", ["{unknown} " * 12, PLAN], [], facts)
    assert text.startswith("A {place} [x] stands with")
    with pytest.raises(ValueError, match="no plan"):
        compose("s", ["{unknown} " * 12], [], facts)
