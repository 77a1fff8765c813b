"""A caption for an artwork, made of nothing but its record and what was measured on its picture.

Names: the painter is named in one caption of three and the title in one of two (in more of them
where nothing else tells the subject), the year or period in one of two. So captions can be
searched by name, while a model trained on them learns from what is to be seen.
"""

from __future__ import annotations

from artsound.captions import art_terms, measures
from artsound.captions.phrasing import (
    clean_label,
    clean_name,
    compose,
    draw,
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
# `fill` agree with it; `a_palette` "a muted palette of …";
# `main` and `others` split the palette; `emotion` "awe"; f1…f4 measured noun phrases.
PLANS: tuple[str, ...] = (
    "{A_work}[ {by}][ {when}] in {palette}, with {f1} and {f2}[, showing {subjects}].",
    "{A_work}[ {titled}][ {by}]. {Palette} {dominate}, with {f1} and {f2}.",
    "In {palette}, this {work}[ {by}] has {f1}[, {f3}] and {f2}[; among its subjects: {subjects}].",
    "This {work}[ {when}] keeps to {a_palette} and shows {f1} together with {f2}[, {f3} as well].",
    "With {f1} and {f2}, this {work}[ {titled}] is built on {a_palette}[ and takes in {subjects}].",
    "{Main} leads, followed by {others}, in this {work}[ {by}], which has {f1} and {f2}.",
    "{A_work} of {subjects}[ {by}][ {when}]: {a_palette}, {f1} and {f2}.",
    "{A_work}[ {when}] set mostly in {main}, with {others} beside it; it has {f1} and {f2}.",
    "{A_palette} gives this {work}[ {by}] its character, along with {f1} and {f2}[, and {f3}].",
    "Seen here is {a_work}[ {titled}][ {when}], with {f1}, {f2} and {a_palette}.",
    "{Several} appear in this {work}[ {by}], handled in {palette} with {f1} and {f2}.",
    "{A_work}[ {medium}][ {when}]. Its colours run to {palette}; it shows {f1} and {f2}.",
    "The palette of this {work}[ {titled}] is {palette}, joined by {f1}, {f2}[ and {f3}].",
    "{A_work}[ {by}] with {f1} and {f2}, coloured in {palette}[; {subjects} can be found in it].",
    "{A_work}[ {titled}][, {when}], marked by {f1}, {f2} and {a_palette}.",
    "{Palette} {fill} this {work}[ {when}][ {by}], in which one finds {f1} and {f2}.",
    "{F1} and {f2} set the tone of {a_work}[ {by}][ {titled}], coloured in {palette}.",
    "Working with {a_palette}, this {work}[ {by}] offers {f1}, {f2}[ and, in its lines, {f3}].",
    "{A_work}[ {titled}][ {medium}], its surface holding {palette}, with {f1} and {f2}.",
    "From {main} to {others}, the colours of this {work}[ {when}] come with {f1} and {f2}.",
    "{A_work}[ {by}][ {when}] that viewers met with {emotion}: {palette}, {f1} and {f2}.",
    "Viewers felt {emotion} before this {work}[ {titled}], which has {f1}, {f2} and {a_palette}.",
    "Here {a_work}[ {by}] relies on {f1} and {f2}[, on {f3}] and on {a_palette}.",
    "{A_work}[ {titled}][ {by}], showing {f1} and {f2}[ with {f3}].",
    "This {work}[ {by}][ {when}] is notable for {f1} and {f2}[, and also for {f3}].",
)
TAILS: tuple[str, ...] = (
    "The picture also has {f3}.",
    "Its main colours are {palette}.",
    "There is {f4} too.",
)


def describe_artwork(artwork: Artwork, d: ArtworkDescriptors) -> str:
    """A caption of 12–45 words for `artwork`, the same for the same record and measurements."""
    return compose(artwork.artwork_id, PLANS, TAILS, artwork_facts(artwork, d))


def artwork_facts(artwork: Artwork, d: ArtworkDescriptors) -> dict[str, str]:
    """The phrases that PLANS may use; empty where the record does not know."""
    seed = artwork.artwork_id
    work = _work(artwork, seed)
    subjects = _subjects(artwork, seed)
    palette = _palette(d)
    tone = _tone(d, seed)
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
    title = clean_name(artwork.title, max_words=9)
    tells_subject = bool(subjects) or slug(artwork.genre) in art_terms.GENRES
    if title and draw(seed, "name title", 4) < (2 if tells_subject else 3):
        facts["titled"] = f"titled “{title}”"
    for number, feature in enumerate(_features(d, seed), start=1):
        facts[f"f{number}"] = feature
    return facts


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


def _tone(d: ArtworkDescriptors, seed: str) -> str:
    words = [measures.SATURATION.say(seed, "saturation", d.saturation).phrase]
    if d.saturation >= measures.WARMTH_MIN_SATURATION:
        words.append(measures.WARMTH.say(seed, "warmth", d.warmth).phrase)
    return ", ".join(word for word in words if word)


def _features(d: ArtworkDescriptors, seed: str) -> list[str]:
    """Four measured phrases or fewer, the remarkable ones first, then in a drawn order."""
    features = [
        measures.LIGHTNESS.say(seed, "lightness", d.lightness),
        measures.CONTRAST.say(seed, "contrast", d.contrast),
        measures.FINENESS.say(seed, "fineness", d.fineness),
        *measures.layout(d, seed)[:2],
    ]
    drawn = shuffled(seed, "features", features)
    best = sorted(drawn, key=lambda feature: -feature.strength)[:4]
    return [feature.phrase for feature in best]
