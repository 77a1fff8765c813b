"""Grounded captions: sentences from an item's record and its measurements only.

Artworks: the title, often the only hint to the subject, is in up to six captions of eight (seven
of eight if neither genre nor tags name what is shown), the painter in one of two, the year,
century or period in three of four. So captions can be searched by name, while a model trained on
them cannot rely on names. ArtGraph's titles come from file names: they get headline capitals, and
are "listed as", not quoted.

Tracks: artist, title and album are never named: they say nothing of the sound, names of musicians
teach a model to imitate, and the records beside the caption have them. The tempo is named only if
the pulse is clear, and the key only if it is clear.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from artsound.captions import measures
from artsound.captions.base import Captioner, CaptionerPlugin, CaptionItem, CaptionSettings
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
    word_set,
)
from artsound.captions.vocabulary import (
    ArtTerms,
    MusicTerms,
    Vocabulary,
    bundled_vocabulary,
    load_vocabulary,
)
from artsound.errors import BadUsage
from artsound.schema import Artwork, ArtworkDescriptors, Track, TrackDescriptors

# --- artworks -----------------------------------------------------------------------------------

# Facts: `work` "Impressionist landscape"; `a_work` with its article; `by` "by …"; `titled`
# "titled “…”", or "listed as …" for a title made of a file name; `when` "from 1877"; `year` "1877";
# `medium` "in oil on canvas"; `subjects` "trees and boats"; `palette` "ochre and slate blue", of
# two to four colours; `colours` the same between commas; `a_palette` "a muted palette of …"; `main`
# and `others` split it; `emotion` "awe"; `traits`, `features`, f1, f2, f3 and `spare` as
# `measures.ranked` gives them.
#
# Plans have few words of their own: those are what many captions would have in common.
ARTWORK_PLANS: tuple[str, ...] = (
    "{Features}: {a_work}[ {when}][ {by}][, {titled}], in {palette}.",
    "{A_work}[ {by}][, {titled}][, showing {subjects}]. In {palette}, with {features}.",
    "In {palette}, {a_work}[ {when}][ {by}][, {titled}]: {features}.",
    "{A_work}[ {when}][ {by}][, {titled}], of {subjects}; {colours}, with {traits}.",
    "{F1}, {f2}, in {a_palette}: {a_work}[ {by}][ {when}][, {titled}].",
    "{Main}, then {others}: {a_work}[ {when}][ {by}][, {titled}], with {traits}.",
    "{A_work}[ {when}][ {by}][, {titled}], showing {subjects}: {a_palette}, with {traits}.",
    "{A_work}[ {when}][ {by}][, {titled}], {main} beside {others}, with {features}.",
    "{A_palette} with {traits}. {A_work}[ {by}][ {when}][, {titled}].",
    "{A_work}[ {when}][ {by}][, {titled}]. {F1} next to {f2}, in {palette}.",
    "Showing {subjects}, {a_work}[ {when}][ {by}][, {titled}], in {palette}, with {traits}.",
    "{A_work}[ {when}][ {medium}][ {by}][, {titled}]. {Colours}, with {features}.",
    "{Colours}: {a_work}[ {by}][ {when}][, {titled}], with {traits}.",
    "{A_work}[ {by}][ {when}] with {features}, in {palette}[; {titled}].",
    "{F1} meeting {f2}, in {a_palette}: {a_work}[ {when}][ {by}][, {titled}].",
    "{Palette} with {features}: {a_work}[ {when}][ {by}][, {titled}].",
    "{F1} and {f2} in {a_work}[ {when}][ {by}][, {titled}]; in {palette}.",
    "{A_palette}, {f1} beside {f2}: {a_work}[ {by}][, {titled}][ {when}].",
    "{A_work}[ {medium}][ {by}][ {when}][, {titled}]: {colours}, with {traits}.",
    "From {main} to {others}: {a_work}[ {when}][ {by}][, {titled}], with {features}.",
    "{A_work}[ {when}][ {by}] that viewers met with {emotion}[; {titled}]; {palette}, {traits}.",
    "Viewers felt {emotion} before {a_work}[ {by}][, {titled}], {traits}, {a_palette}.",
    "{Titled}: {a_work}[ {when}][ {by}] in {palette}; {features}.",
    "{By}, {a_work}[ {when}][, {titled}], in {palette}, with {traits}[; {subjects}].",
    "{Titled}, {a_work}[ {when}][ {by}], with {features}, in {palette}.",
    "{F1}, {f2}: {a_work}[ {when}][ {by}][, {titled}], in {palette}.",
    "{A_work} ({year})[ {by}][, {titled}], in {palette}: {features}.",
    "{A_work}[ {by}] ({year})[, {titled}], {features}, in {a_palette}.",
    "{Titled} ({year}): {a_work}[ {by}] in {palette}, with {features}.",
    "{Traits} in {a_palette}: {a_work}[ {by}][ {when}][, {titled}].",
)
# For pictures whose palette the record does not name.
BARE_ARTWORK_PLANS: tuple[str, ...] = (
    "{A_work}[ {when}][ {by}][, {titled}], showing {f1} and {f2}[, and also {f3}].",
    "{A_work}[ {when}][ {by}][, {titled}], with {traits}.",
    "{Titled}, this {work}[ {when}][ {by}] shows {traits}.",
    "{Features}: {a_work}[ {when}][ {by}][, {titled}].",
)
ARTWORK_TAILS: tuple[str, ...] = (
    "The picture also has {spare}.",
    "Besides, there is {another}.",
)


def describe_artwork(
    artwork: Artwork, d: ArtworkDescriptors, vocabulary: Vocabulary | None = None
) -> str:
    """Describe an artwork in 12–45 words.

    Args:
        artwork: Its record.
        d: The measurements of its picture.
        vocabulary: The words to use; by default the bundled ones.

    Returns:
        The caption, the same for the same arguments.
    """
    facts = artwork_facts(artwork, d, (vocabulary or bundled_vocabulary()).art)
    plans = ARTWORK_PLANS if facts["palette"] else BARE_ARTWORK_PLANS
    return compose(artwork.artwork_id, plans, ARTWORK_TAILS, facts)


def artwork_facts(artwork: Artwork, d: ArtworkDescriptors, terms: ArtTerms) -> dict[str, str]:
    """The phrases for plans; empty if the record does not have the fact."""
    seed = artwork.artwork_id
    work = _work(artwork, terms, seed)
    subjects = _subjects(artwork, terms, seed)
    palette = _palette(d, terms, pick(seed, "colours", (2, 3, 4)))
    names = list(palette)
    tone = _tone(d, palette, terms, seed)
    facts = {
        "work": work,
        "a_work": indefinite(work),
        "by": "",
        "titled": "",
        "when": _when(artwork, seed),
        "year": str(artwork.year) if 1000 <= artwork.year <= 2100 else "",
        "medium": _medium(artwork, terms),
        "subjects": listing(subjects),
        "palette": _together(names),
        "colours": ", ".join(names),
        "main": names[0] if len(names) > 1 else "",
        "others": _together(names[1:]),
        "a_palette": "",
        "emotion": _emotion(artwork, terms),
    }
    if palette:
        nouns = PALETTES[:1] if "coloured" in tone else PALETTES
        kind = f"{tone} {pick(seed, 'palette', nouns)}".strip()
        facts["a_palette"] = f"{indefinite(kind)} of {facts['palette']}"
    painter = clean_name(artwork.painter, max_words=5)
    if painter and draw_option(seed, "name painter", 2) == 0:
        facts["by"] = f"by {painter}"
    tells_subject = bool(subjects) or slug(artwork.genre) in terms.genres
    if draw_option(seed, "name title", 8) < (6 if tells_subject else 7):
        facts["titled"] = _titled(artwork, seed)
    return facts | measures.ranked(_artwork_features(d, palette, seed), seed)


PALETTES = ("palette", "colouring", "colour scheme", "gamut")
TITLED = ("titled", "called", "entitled")
LISTED = ("listed as", "catalogued as", "recorded as", "on record as", "entered as")
DATED = ("from", "of", "dated")


def _titled(artwork: Artwork, seed: str) -> str:
    """How the title is given: in quotation marks, or as listed, or "" if it reads badly.

    ArtGraph's titles are made of file names, which have lost capitals and punctuation: they are
    not quoted as if they were what the work is called. Fragments, and what may be two titles run
    together (an article that follows no preposition), are not given at all.
    """
    if artwork.source != "artgraph":
        title = clean_name(artwork.title, max_words=9)
        return f"{pick(seed, 'titled', TITLED)} “{headline(title)}”" if title else ""
    # WikiArt numbers pictures of one title in their file names.
    plain = re.sub(r"(?<!\bno)(?<!\bNo)\s\d{1,2}$", "", artwork.title)
    title = clean_name(plain, max_words=7)
    words = title.lower().split()
    if not words or words[0] in _FRAGMENTS or words[-1] in _OPEN_ENDS | _ARTICLES:
        return ""
    if any(b in _ARTICLES and a not in _BEFORE_ARTICLES for a, b in pairwise(words)):
        return ""
    return f"{pick(seed, 'titled', LISTED)} {headline(title)}"


_ARTICLES = word_set("a an the la le les el il lo los las der die das un une")
_OPEN_ENDS = word_set("and at by de del di du et for from in of on or und van von with zu zur")
# Words that an article may follow within one title.
_BEFORE_ARTICLES = _OPEN_ENDS | word_set(
    "a against all after among as before behind beside between beyond dans during en inside into "
    "is like mit near off over par per pour round sous sur through to toward towards under upon "
    "without"
)
_FRAGMENTS = word_set("aka no nee or and of")


def _work(artwork: Artwork, terms: ArtTerms, seed: str) -> str:
    """Style and kind, as a museum label has them: "Impressionist landscape", "ukiyo-e print"."""
    style = slug(artwork.style)
    adjective = terms.styles.get(style, "")
    nouns = terms.genres.get(slug(artwork.genre)) or terms.style_nouns.get(style)
    if not nouns:
        painted = terms.painted_media & {slug(medium) for medium in artwork.media}
        nouns = ("painting",) if painted else terms.plain_nouns
    noun = pick(seed, "noun", nouns)
    if adjective:
        return noun if noun.startswith(adjective) else f"{adjective} {noun}"
    label = clean_label(artwork.style)
    if not label:
        return noun
    return f"{noun} in the {label}" + ("" if label.lower().endswith("style") else " style")


def _when(artwork: Artwork, seed: str) -> str:
    period = clean_name(artwork.period, max_words=3, max_chars=32)
    choice = draw_option(seed, "when", 4)
    if period.lower().endswith("period") and choice == 0:
        return f"from the painter’s {period}"
    if not 1000 <= artwork.year <= 2100 or choice >= 3:
        return ""
    if choice == 2:
        return f"of the {century_part(artwork.year)}"
    return f"{pick(seed, 'dated', DATED)} {artwork.year}"


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


def _medium(artwork: Artwork, terms: ArtTerms) -> str:
    media = [slug(medium) for medium in artwork.media]
    named = dict.fromkeys(terms.materials[m] for m in media if m in terms.materials)
    materials = list(named)[:2]
    supports = [terms.supports[m] for m in media if m in terms.supports][:1]
    if not materials:
        return ""
    return f"in {listing(materials)}" + (f" on {supports[0]}" if supports else "")


def _subjects(artwork: Artwork, terms: ArtTerms, seed: str) -> list[str]:
    """Up to three of the subjects in the record's tags, in the words of the vocabulary."""
    words = {terms.subjects.get(slug(tag), ""): None for tag in artwork.tags}
    known = [word for word in words if word]
    return shuffled_options(seed, "subjects", known)[:3]


def _emotion(artwork: Artwork, terms: ArtTerms) -> str:
    for emotion in artwork.emotions:
        if slug(emotion) in terms.emotions:
            return terms.emotions[slug(emotion)]
    return ""


def _palette(d: ArtworkDescriptors, terms: ArtTerms, most: int) -> dict[str, str]:
    """Up to `most` colours, largest first, with their codes; of near-synonyms only the largest."""
    found: dict[str, str] = {}
    families = set()
    codes = [*d.palette_hex, *[""] * len(d.palette)]
    for label, code in zip(d.palette, codes, strict=False):
        name = clean_label(label).lower()
        family = terms.colour_families.get(slug(name), name)
        if name and family not in families and len(found) < most:
            families.add(family)
            found[name] = code
    return found


def _together(colours: Sequence[str]) -> str:
    """Colours as a list; one that ends in "black and white" would be read as: without colour."""
    if set(colours[-2:]) == {"black", "white"}:
        return ", ".join(colours)
    return listing(colours)


def _tone(d: ArtworkDescriptors, palette: Mapping[str, str], terms: ArtTerms, seed: str) -> str:
    words = []
    greys = sum(name.split()[-1] in terms.greys for name in palette)
    if measures.CHROMA.level(d.chroma) < 0 or greys < 2:  # no "vivid palette of greys"
        words.append(measures.CHROMA.say(seed, "chroma", d.chroma).phrase)
    level = measures.WARMTH.level(d.warmth)
    cool, warm = measures.cool_and_warm([code for code in palette.values() if code])
    if d.chroma >= measures.COLOURED and ((level < 0 and cool) or (level > 0 and warm)):
        words.append(measures.WARMTH.say(seed, "warmth", d.warmth).phrase)
    return " ".join(word for word in words if word)


def _artwork_features(
    d: ArtworkDescriptors, palette: Mapping[str, str], seed: str
) -> list[measures.Feature]:
    features = [
        measures.LIGHTNESS.say(seed, "lightness", d.lightness),
        measures.CONTRAST.say(seed, "contrast", d.contrast),
        measures.DETAIL.say(seed, "detail", d.complexity),
        *measures.layout(d, seed),
    ]
    level = measures.HUES.level(d.hue_entropy)
    apart = measures.hues_apart([code for code in palette.values() if code])
    # Not of a subdued picture, nor against the colours that the caption names.
    many = level > 0 and measures.CHROMA.level(d.chroma) >= 0 and apart >= _MANY_HUES
    few = level < 0 and d.chroma >= measures.COLOURED and apart < _MANY_HUES
    if many or few:
        features.append(measures.HUES.say(seed, "hues", d.hue_entropy))
    return [feature for feature in features if feature.phrase]


_MANY_HUES = 90.0  # degrees between named colours from which they are of different hues


# --- music --------------------------------------------------------------------------------------

# Facts: `track` "hip-hop track"; `a_track` with its article; `mood` "tense", or empty where the
# measurements are unsure; `a_mood` "a tense"; `moody` "tense hip-hop track", without a mood
# "hip-hop track"; `a_moody` with its article; `tempo` "a slow tempo" or "a slow tempo of about 72
# BPM"; `key` "A minor"; `also` further genres; `instruments` of the tags; `traits`, f1, f2, f3,
# `spare` and `another` as `measures.ranked` gives them.
TRACK_PLANS: tuple[str, ...] = (
    "{A_moody}[ in {key}][ at {tempo}], with {traits}.",
    "{A_moody}[ in {key}] with {f1}, {f2} and {f3}.",
    "{A_track}[ at {tempo}]. It has {traits}[; the mood is {mood}][; the key is {key}].",
    "This {track}[ at {tempo}] has {traits}[; it sounds {mood}][; it stays close to {key}].",
    "With {traits}, this {moody} moves at {tempo}[ in {key}].",
    "{Tempo} carries this {moody}[ in {key}]; it has {traits}.",
    "{Mood} in mood, this {track}[ in {key}][ at {tempo}] brings together {f1} and {f2}.",
    "{A_moody} leaning towards {also}[, at {tempo}], with {traits}.",
    "{F1} and {f2} mark this {moody}[, set in {key}][, at {tempo}].",
    "{A_moody}[ in {key}][ at {tempo}]: {f1}, {f2}[, {f3}].",
    "In {key}, this {track}[ at {tempo}] pairs {f1} with {f2}[; the mood is {mood}].",
    "The music is {a_moody}[ in {key}][ at {tempo}], with {traits}.",
    "{A_track} with {tempo}, {f1} and {f2}[; the mood is {mood}][; the key is {key}].",
    "{A_track} tagged for {instruments}[, in {key}], with {traits}[; the mood is {mood}].",
    "{A_moody}[ with touches of {also}], marked by {traits}[; it moves at {tempo}].",
    "{A_mood} mood runs through this {track}[ in {key}][ at {tempo}]; it has {traits}.",
    "This {moody}[ in {key}][ at {tempo}] shows {f1} and {f2}[, with {f3} besides].",
    "{Tempo}, {f1} and {f2} shape this {moody}[ in {key}].",
    "One hears {a_moody}[ in {key}][ at {tempo}], with {traits}.",
    "{A_moody}[, in {key}][, at {tempo}], joining {f1} and {f2}.",
    "Marked by {f1} and {f2}, this {track}[ in {key}][ at {tempo}] keeps {a_mood} mood.",
    "{A_moody} tagged for {instruments}[, at {tempo}], with {traits}[; the key is {key}].",
    "In this {moody}[ at {tempo}], {f1} and {f2} stand out[, as does the key of {key}].",
    "In {key}, at {tempo}: {a_moody} with {traits}.",
    "{F1} and {f2} give this {moody}[ in {key}][ at {tempo}] its character.",
    "{Traits}: such is this {moody}[ in {key}][, at {tempo}].",
)
TRACK_TAILS: tuple[str, ...] = (
    "The mood is {mood}.",
    "It also has {spare}.",
    "Besides, there is {another}.",
)


def describe_track(track: Track, d: TrackDescriptors, vocabulary: Vocabulary | None = None) -> str:
    """Describe a clip of music in 12–45 words.

    Args:
        track: Its record.
        d: The measurements of its sound.
        vocabulary: The words to use; by default the bundled ones.

    Returns:
        The caption, the same for the same arguments.
    """
    facts = track_facts(track, d, (vocabulary or bundled_vocabulary()).music)
    return compose(track.track_id, TRACK_PLANS, TRACK_TAILS, facts)


def track_facts(track: Track, d: TrackDescriptors, terms: MusicTerms) -> dict[str, str]:
    """The phrases for plans; empty if the record does not have the fact."""
    seed = track.track_id
    noun, label, others = _genres(track, terms, seed)
    spoken = f"{label} {noun}".strip()
    mood = measures.mood(d, seed)
    moody = f"{mood} {spoken}".strip()
    pace = _pace(d, seed)
    facts = {
        "track": spoken,
        "a_track": indefinite(spoken),
        "mood": mood,
        "a_mood": indefinite(mood) if mood else "",
        "moody": moody,
        "a_moody": indefinite(moody),
        "tempo": _tempo(d, pace, seed),
        "key": _key(d, terms),
        "also": listing(others),
        "instruments": _instruments(track, terms, seed),
    }
    return facts | measures.ranked(_track_features(d, seed), seed)


def _genres(track: Track, terms: MusicTerms, seed: str) -> tuple[str, str, list[str]]:
    """The noun for the clip, its genre as spoken (or ""), and up to two further genres."""
    labels = {slug(label): label for label in (track.genre, *track.genres) if label}
    known = [(key, words) for key, label in labels.items() if (words := _spoken(key, label, terms))]
    if not known:
        return pick(seed, "noun", ("track", "recording", "piece of music")), "", []
    # The top genre, or the one after it, which is narrower and more informative.
    order = known[1:] + known[:1] if draw_option(seed, "narrow genre", 2) else known
    key, words = order[0]
    if key in terms.spoken or words.endswith("track"):
        noun = "recording"
    elif words.endswith("recording"):
        noun = "track"
    elif key in terms.pieces:
        noun = pick(seed, "noun", ("piece", "track", "piece"))
    else:
        noun = pick(seed, "noun", ("track", "track", "recording"))
    others = [_as_noun(k, w, terms) for k, w in order[1:] if w not in words and words not in w]
    return noun, words, others[:2]


def _spoken(key: str, label: str, terms: MusicTerms) -> str:
    if key in terms.genres:
        return terms.genres[key]
    return clean_label(label).lower()


def _as_noun(key: str, words: str, terms: MusicTerms) -> str:
    """The name of a genre by itself: chamber music, for what is "chamber-music" before a noun."""
    if key in terms.adjectives:
        return f"{words} music"
    if key in terms.genre_nouns:
        return terms.genre_nouns[key]
    return words.replace("-", " ") if words in terms.open_compounds else words


def _pace(d: TrackDescriptors, seed: str) -> str:
    if d.pulse_clarity < measures.TEMPO_MIN_PULSE:
        return ""
    return measures.TEMPO.say(seed, "pace", d.tempo).phrase


def _tempo(d: TrackDescriptors, pace: str, seed: str) -> str:
    if not pace:
        return ""
    tempo = indefinite(f"{pace} tempo") if pace != "mid-tempo" else "a middling tempo"
    if draw_option(seed, "beats", 2):
        return tempo
    return f"{tempo} of {pick(seed, 'about', ('about', 'around', 'roughly'))} {round(d.tempo)} BPM"


def _key(d: TrackDescriptors, terms: MusicTerms) -> str:
    if d.key_clarity < measures.KEY_MIN_CLARITY:
        return ""
    names = terms.major_keys if d.mode == "major" else terms.minor_keys
    return f"{names[d.key]} {d.mode}" if d.key in names else ""


def _instruments(track: Track, terms: MusicTerms, seed: str) -> str:
    words = {terms.instruments.get(slug(tag), ""): None for tag in track.tags}
    known: Sequence[str] = [word for word in words if word]
    return listing(shuffled_options(seed, "instruments", known)[:3])


def _track_features(d: TrackDescriptors, seed: str) -> list[measures.Feature]:
    said = {
        name: (scale.level(value), scale.say(seed, name, value))
        for name, scale, value in (
            ("pulse", measures.PULSE, d.pulse_clarity),
            ("loudness", measures.LOUDNESS, d.loudness),
            ("dynamics", measures.DYNAMICS, d.dynamic_range),
            ("slope", measures.SLOPE, d.loudness_slope),
            ("brightness", measures.BRIGHTNESS, d.centroid),
            ("bass", measures.BASS, d.bass),
            ("percussion", measures.PERCUSSION, d.percussiveness),
            ("onsets", measures.ONSETS, d.onset_rate),
            ("noisiness", measures.NOISINESS, d.flatness),
            ("roughness", measures.ROUGHNESS, d.roughness),
            ("height", measures.HEIGHT, d.pitch_height),
        )
    }
    return [feature for feature in measures.likely(said) if feature.phrase]


# --- the captioner ------------------------------------------------------------------------------


class Grounded:
    """Writes 12–45 words for any item; needs no model and reads no media.

    `settings` has the digest of a vocabulary other than the bundled one.
    """

    name = "grounded"
    # Raised whenever equal records and measurements give other sentences; a test checks it.
    version = "7"
    prompt = ""

    def __init__(self, vocabulary: Vocabulary | None = None) -> None:
        self._vocabulary = vocabulary or bundled_vocabulary()
        own = self._vocabulary.digest
        self.settings: Mapping[str, Any] = {"vocabulary": own} if own else {}

    def captions(self, items: Sequence[CaptionItem]) -> list[str]:
        """One caption for each item."""
        return [describe(item, self._vocabulary) for item in items]


def describe(item: CaptionItem, vocabulary: Vocabulary | None = None) -> str:
    """Describe an item of either side in 12–45 words.

    Args:
        item: The item, with its record and measurements.
        vocabulary: The words to use; by default the bundled ones.

    Returns:
        The grounded caption.
    """
    record, measured = item.record, item.measured
    if isinstance(record, Artwork) and isinstance(measured, ArtworkDescriptors):
        return describe_artwork(record, measured, vocabulary)
    if isinstance(record, Track) and isinstance(measured, TrackDescriptors):
        return describe_track(record, measured, vocabulary)
    raise TypeError(f"{item.item_id} pairs {type(record).__name__} with {type(measured).__name__}")


class GroundedPlugin(CaptionerPlugin):
    """Sentences from the record and the measurements alone; always available, needs no model."""

    name = "grounded"
    version = Grounded.version
    checked = False

    def open(
        self,
        side: str,
        argument: str,
        settings: CaptionSettings,
        responses: Path,  # noqa: ARG002 (the protocol)
    ) -> Captioner:
        """The grounded captioner; raises BadUsage for an argument or a wrong vocabulary."""
        if argument:
            raise BadUsage(
                f"captions.{side}s = {f'grounded:{argument}'!r}: grounded takes no argument: "
                "write grounded."
            )
        return Grounded(load_vocabulary(settings.vocabulary))
