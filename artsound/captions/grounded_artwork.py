"""A caption for an artwork, made of nothing but its record and what was measured on its picture.

Names: the title, which often is all that tells the subject, is given in five captions of eight
(seven of eight where neither genre nor tags say what is shown), the painter in one of three, the
year, century or period in three of four. So captions can be searched by name, while a model
trained on them cannot lean on names. Titles are set in headline capitals: ArtGraph's come from
file names and have lost theirs.
"""

from __future__ import annotations

import re

from artsound.captions import art_terms, measures
from artsound.captions.phrasing import (
    clean_label,
    clean_name,
    compose,
    draw,
    headline,
    indefinite,
    listing,
    pick,
    shuffled,
    slug,
)
from artsound.records import Artwork, ArtworkDescriptors

# Facts: `work` "Impressionist landscape"; `a_work` with its article; `by` "by …"; `titled`
# "titled “…”"; `when` "from 1877"; `medium` "in oil on canvas"; `subjects` "trees and boats";
# `several` the same, when they are two or more; `palette` "ochre and slate blue"; `dominate` and
# `fill` agree with it; `a_palette` "a muted palette of …"; `main` and `others` split it; `emotion`
# "awe"; `traits`, f1, f2, f3 and `spare` as `measures.ranked` gives them.
PLANS: tuple[str, ...] = (
    "{A_work}[ {when}][ {titled}][ {by}], in {palette}, with {traits}.",
    "{A_work}[ {titled}][ {by}][, showing {subjects}]. {Palette} {dominate}, with {traits}.",
    "In {palette}, this {work}[ {when}][ {titled}][ {by}] combines {f1} with {f2}[ and {f3}].",
    "This {work}[ {when}][ {by}] keeps to {a_palette}, with {traits}[; it shows {subjects}].",
    "With {traits}, this {work}[ {titled}][ {by}] is built on {a_palette}.",
    "{Main} leads, followed by {others}, in this {work}[ {when}][ {titled}], which has {traits}.",
    "{A_work}[ {when}][ {by}], showing {subjects}: {a_palette}, with {traits}.",
    "{A_work}[ {when}][ {titled}], set mostly in {main} next to {others}, with {traits}.",
    "{A_palette} gives this {work}[ {titled}][ {by}] its character, along with {traits}.",
    "Seen here is {a_work}[ {when}][ {titled}][ {by}], with {a_palette}, {f1} and {f2}.",
    "{Several} appear in this {work}[ {when}][ {by}], handled in {palette} with {traits}.",
    "{A_work}[ {when}][ {medium}][ {titled}]. Its colours run to {palette}, and it has {traits}.",
    "The palette of this {work}[ {titled}][ {by}] is {palette}; it has {traits}.",
    "{A_work}[ {when}][ {by}] with {traits}, coloured in {palette}[; it shows {subjects}].",
    "{A_work}[ {when}][ {titled}], marked by {f1}, {f2} and {a_palette}.",
    "{Palette} {fill} this {work}[ {when}][ {titled}][ {by}], which shows {traits}.",
    "{F1} and {f2} set the tone of {a_work}[ {when}][ {titled}][ {by}], coloured in {palette}.",
    "This {work}[ {titled}][ {by}] draws on {a_palette}; it pairs {f1} with {f2}[ and {f3}].",
    "{A_work}[ {medium}][ {titled}][ {by}], its colours {palette}, with {traits}.",
    "From {main} to {others}, the colours of this {work}[ {when}][ {titled}] go with {traits}.",
    "{A_work}[ {when}][ {by}] that viewers met with {emotion}: {palette}, with {traits}.",
    "Viewers felt {emotion} before this {work}[ {titled}], which has {a_palette}, {f1} and {f2}.",
    "Here {a_work}[ {titled}][ {by}] is rendered in {palette}, with {traits}.",
    "{Titled}, this {work}[ {when}][ {by}] in {palette} shows {traits}.",
    "{By}, {a_work}[ {when}] in {palette}, with {traits}[; it shows {subjects}].",
    "{A_work}[ {when}][ {titled}] whose main colours are {palette}; to these it adds {traits}.",
)
# For pictures whose palette the record does not name.
BARE_PLANS: tuple[str, ...] = (
    "{A_work}[ {titled}][ {by}], showing {f1} and {f2}[, and also {f3}].",
    "This {work}[ {when}][ {titled}][ {by}] is notable for {f1} and {f2}[, and for {f3}].",
    "{A_work}[ {when}][ {titled}][ {by}] with {traits}.",
    "{Titled}, this {work}[ {when}][ {by}] shows {traits}.",
)
TAILS: tuple[str, ...] = (
    "Its main colours are {palette}.",
    "The picture also has {spare}.",
)


def describe_artwork(artwork: Artwork, d: ArtworkDescriptors) -> str:
    """A caption of 12–45 words for `artwork`, the same for the same record and measurements."""
    facts = artwork_facts(artwork, d)
    plans = PLANS if facts["palette"] else BARE_PLANS
    return compose(artwork.artwork_id, plans, TAILS, facts)


def artwork_facts(artwork: Artwork, d: ArtworkDescriptors) -> dict[str, str]:
    """The phrases that PLANS may use; empty where the record does not know."""
    seed = artwork.artwork_id
    work = _work(artwork, seed)
    subjects = _subjects(artwork, seed)
    palette = _palette(d)
    tone = _tone(d, palette, seed)
    facts = {
        "work": work,
        "a_work": indefinite(work),
        "by": "",
        "titled": "",
        "when": _when(artwork, seed),
        "medium": _medium(artwork),
        "subjects": listing(subjects),
        "several": listing(subjects) if len(subjects) > 1 else "",
        "palette": listing(palette),
        "main": palette[0] if len(palette) > 1 else "",
        "others": listing(palette[1:]),
        "dominate": "dominate" if len(palette) > 1 else "dominates",
        "fill": "fill" if len(palette) > 1 else "fills",
        "a_palette": "",
        "emotion": _emotion(artwork),
    }
    if palette:
        kind = " ".join([tone, "palette"]).strip()
        facts["a_palette"] = f"{indefinite(kind)} of {facts['palette']}"
    painter = clean_name(artwork.painter, max_words=5)
    if painter and draw(seed, "name painter", 3) == 0:
        facts["by"] = f"by {painter}"
    # WikiArt numbers pictures of one title in their file names; the number is no part of it.
    title = clean_name(re.sub(r"(?<!\bno)(?<!\bNo)\s\d{1,2}$", "", artwork.title), max_words=9)
    tells_subject = bool(subjects) or slug(artwork.genre) in art_terms.GENRES
    if title and draw(seed, "name title", 8) < (5 if tells_subject else 7):
        facts["titled"] = f"titled “{headline(title)}”"
    return facts | measures.ranked(_features(d, seed), seed)


def _work(artwork: Artwork, seed: str) -> str:
    """Style and kind, as a museum label has them: "Impressionist landscape", "ukiyo-e print"."""
    style = slug(artwork.style)
    adjective = art_terms.STYLES.get(style, "")
    nouns = art_terms.GENRES.get(slug(artwork.genre)) or art_terms.STYLE_NOUNS.get(style)
    if not nouns:
        painted = art_terms.PAINTED_MEDIA & {slug(medium) for medium in artwork.media}
        nouns = ("painting",) if painted else art_terms.PLAIN_NOUNS
    noun = pick(seed, "noun", nouns)
    if adjective:
        return noun if noun.startswith(adjective) else f"{adjective} {noun}"
    label = clean_label(artwork.style)
    if not label:
        return noun
    return f"{noun} in the {label}" + ("" if label.lower().endswith("style") else " style")


def _when(artwork: Artwork, seed: str) -> str:
    period = clean_name(artwork.period, max_words=3, max_chars=32)
    choice = draw(seed, "when", 4)
    if period.lower().endswith("period") and choice == 0:
        return f"from the painter’s {period}"
    if not 1000 <= artwork.year <= 2100 or choice >= 3:
        return ""
    return f"from {artwork.year}" if choice < 2 else f"of the {century_part(artwork.year)}"


def century_part(year: int) -> str:
    """1877 -> "late nineteenth century"; thirds of a century, 34 years to the middle one."""
    names = (
        "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth",
        "seventeenth", "eighteenth", "nineteenth", "twentieth", "twenty-first",
    )  # fmt: skip
    within = (year - 1) % 100
    part = "early" if within < 33 else "mid" if within < 67 else "late"
    name = names[(year - 1) // 100 - 10]
    return f"mid-{name} century" if part == "mid" else f"{part} {name} century"


def _medium(artwork: Artwork) -> str:
    media = [slug(medium) for medium in artwork.media]
    materials = [art_terms.MATERIALS[m] for m in media if m in art_terms.MATERIALS][:2]
    supports = [art_terms.SUPPORTS[m] for m in media if m in art_terms.SUPPORTS][:1]
    if not materials:
        return ""
    return f"in {listing(materials)}" + (f" on {supports[0]}" if supports else "")


def _subjects(artwork: Artwork, seed: str) -> list[str]:
    """Up to three of the things that the record's tags name, in words a curator would use."""
    words = {art_terms.SUBJECTS.get(slug(tag), ""): None for tag in artwork.tags}
    known = [word for word in words if word]
    return shuffled(seed, "subjects", known)[:3]


def _emotion(artwork: Artwork) -> str:
    for emotion in artwork.emotions:
        if slug(emotion) in art_terms.EMOTIONS:
            return art_terms.EMOTIONS[slug(emotion)]
    return ""


def _palette(d: ArtworkDescriptors) -> list[str]:
    """The names of up to three colours, largest first, each once."""
    names = {clean_label(name).lower(): None for name in d.palette}
    return [name for name in names if name][:3]


def _tone(d: ArtworkDescriptors, palette: list[str], seed: str) -> str:
    words = []
    greys = sum(name.split()[-1] in art_terms.GREYS for name in palette)
    if measures.CHROMA.level(d.chroma) < 0 or greys < 2:  # "a vivid palette of greys" is none
        words.append(measures.CHROMA.say(seed, "chroma", d.chroma).phrase)
    if d.chroma >= measures.COLOURED:
        words.append(measures.WARMTH.say(seed, "warmth", d.warmth).phrase)
    return ", ".join(word for word in words if word)


def _features(d: ArtworkDescriptors, seed: str) -> list[measures.Feature]:
    features = [
        measures.LIGHTNESS.say(seed, "lightness", d.lightness),
        measures.CONTRAST.say(seed, "contrast", d.contrast),
        measures.DETAIL.say(seed, "detail", d.complexity),
        *measures.layout(d, seed),
    ]
    if d.chroma >= measures.COLOURED:
        features.append(measures.HUES.say(seed, "hues", d.hue_entropy))
    return [feature for feature in features if feature.phrase]
