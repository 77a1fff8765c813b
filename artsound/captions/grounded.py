"""Grounded captions: sentences from an item's record and its measurements only.

Artworks: a caption names what a museum label would: kind, painter, year or century, title and
subjects where the record has them, then the colours and what is remarkable of the light, contrast,
detail and composition. ArtGraph's titles come from file names (see titles.py): they are not in
quotation marks.

Tracks: artist, title and album are never named: they say nothing of the sound, names of musicians
teach a model to imitate, and the records beside the caption have them. The tempo is named only if
the pulse is clear, and the key only if it is clear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artsound.captions import measures, titles
from artsound.captions.base import Captioner, CaptionerPlugin, CaptionItem, CaptionSettings
from artsound.captions.phrasing import (
    clean_label,
    clean_name,
    compose,
    draw_option,
    indefinite,
    listing,
    pick,
    shuffled_options,
    slug,
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

# Facts: `work` "Impressionist landscape"; `a_work` with its article; `by` "by …"; `title` “…”, or
# without marks if made of a file name; `titled` "titled “…”" or "listed as …"; `when` "from 1877";
# `year` "1877"; `medium` "in oil on canvas"; `subjects` "trees and boats"; `palette` "ochre and
# slate blue", of up to four colours; `dominate` and `prevail` its verbs, in singular or plural;
# `main_colours` "the main colours are ochre and slate blue"; `tone` "rich and warm", if any;
# `a_palette` "a rich, warm palette of ochre and slate blue"; `emotion` "awe"; `traits`, `looks`,
# f1, f2, `spare` and `another` as `measures.ranked` gives them.
ARTWORK_PLANS: tuple[str, ...] = (
    "{A_work}[ {by}][ {when}][, {titled}][, showing {subjects}], in {palette}[, with {traits}].",
    "{A_work}[ {by}][ {when}][, {titled}][, showing {subjects}]. {Palette} {prevail}"
    "[, with {traits}].",
    "{A_work}[ {medium}][ {by}][ {when}][, {titled}][, showing {subjects}]. {Main_colours}"
    "[, with {traits}].",
    "{A_work}[ {medium}][ {by}][ {when}][, {titled}][, showing {subjects}], in {a_palette}"
    "[, with {traits}].",
    "{A_work}[ {by}][ {when}][, showing {subjects}], with {traits} in {a_palette}[; it is {titled}"
    "].",
    "{A_work}[ {by}][ {when}][, showing {subjects}], in {a_palette}[, with {traits}]"
    "[. It is {titled}].",
    "{A_work}[ {by}][ {when}][, {titled}][, showing {subjects}]. It has {traits}; {main_colours}.",
    "{A_work}[ {by}][ {when}][, {titled}], in {palette}[, with {traits}]"
    "[. Viewers responded to it with {emotion}].",
    "{Title} is {a_work}[ {by}][ {when}][, showing {subjects}], in {palette}[, with {traits}].",
    "{Title} is {a_work}[ {by}][ {when}][, showing {subjects}]. {Palette} {prevail}"
    "[, with {traits}].",
    "{Title} is {a_work}[ {medium}][ {by}][ {when}]. It has {a_palette}[, with {traits}]"
    "[, and shows {subjects}].",
    "{Title}, {a_work}[ {by}][ {when}][, showing {subjects}], in {a_palette}[, with {traits}].",
    "{Title}, {a_work}[ {medium}][ {by}][ {when}][, showing {subjects}]. {Main_colours}"
    "[, with {traits}].",
    "{Title}[ {by}] is {a_work}[ {when}][, showing {subjects}], in {a_palette}[, with {traits}].",
    "{Title}, {a_work}[ {by}][ {when}], has {a_palette}[, with {traits}]"
    "[. Viewers responded to it with {emotion}].",
    "{Title}. {A_work}[ {medium}][ {by}][ {when}][, showing {subjects}], in {palette}"
    "[, with {traits}].",
    "{Title} ({year}). {A_work}[ {medium}][ {by}][, showing {subjects}]. {Palette} {prevail}"
    "[, with {traits}].",
    "{Title} ({year}). {A_work}[ {by}][, showing {subjects}], with {traits} in {a_palette}.",
    "This {work}[ {by}][ {when}][, {titled},] has {a_palette}[, with {traits}]"
    "[, and shows {subjects}].",
    "This {work}[ {by}][ {when}][, {titled},] shows {subjects} in {a_palette}[, with {traits}].",
    "This {work}[ {by}][ {when}][, {titled},] has {traits}; {main_colours}[. It shows {subjects}].",
    "{Palette} {dominate} this {work}[ {by}][ {when}][, {titled}][, showing {subjects}]"
    "[, with {traits}].",
    "{F1} and {f2} distinguish this {work}[ {by}][ {when}][, {titled}][, showing {subjects}], in"
    " {palette}.",
    "{F1} and {f2} characterise this {work}[ {by}][ {when}][, {titled}][, showing {subjects}], in"
    " {a_palette}.",
    "In {palette}, this {work}[ {by}][ {when}][, {titled},] has {traits}[. It shows {subjects}].",
    "The palette of this {work}[ {by}][ {when}][, {titled},] is {tone}, with {palette}"
    "[; it has {traits}].",
    "Viewers responded with {emotion} to this {work}[ {by}][ {when}][, {titled}]"
    "[, showing {subjects}], in {palette}[, with {traits}].",
    "{A_work}[ {by}][ {when}][, {titled}], in {palette}. It is marked by {looks}.",
)
# For pictures whose palette the record does not name.
BARE_ARTWORK_PLANS: tuple[str, ...] = (
    "{A_work}[ {by}][ {when}][, {titled}][, showing {subjects}], with {looks}.",
    "{Title} is {a_work}[ {by}][ {when}][, showing {subjects}], with {looks}.",
    "This {work}[ {by}][ {when}][, {titled},] has {looks}[, and shows {subjects}].",
    "{A_work}[ {by}][ {when}][, {titled}]. It is marked by {looks}.",
)
ARTWORK_TAILS: tuple[str, ...] = ("The picture also has {spare}.", "It has {another} too.")


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
    title = _title(artwork)
    noun, title = _kind(artwork, terms, title, seed)
    work = _in_style(artwork, terms, noun)
    palette = _palette(d, terms, pick(seed, "colours", (3, 3, 4)))
    names = _together(list(palette))
    tone = _tone(d, palette, terms, seed)
    facts = {
        "work": work,
        "a_work": indefinite(work),
        "by": titles.painter(artwork.painter, terms.painters),
        "title": title,
        "titled": _titled(title, seed),
        "when": _when(artwork, seed),
        "year": str(artwork.year) if 1000 <= artwork.year <= 2100 else "",
        "medium": _medium(artwork, terms),
        "subjects": listing(_subjects(artwork, terms, seed)),
        "palette": names,
        "dominate": "dominate" if len(palette) > 1 else "dominates",
        "prevail": pick(seed, "prevail", PREVAIL) + ("" if len(palette) > 1 else "s"),
        "main_colours": "",
        "tone": listing(tone),
        "a_palette": "",
        "emotion": _emotion(artwork, terms),
    }
    if palette:
        verb = "colours are" if len(palette) > 1 else "colour is"
        facts["main_colours"] = f"the {pick(seed, 'main', MAIN)} {verb} {names}"
        noun, one = pick(seed, "palette", PALETTES)
        kind = f"{', '.join(tone)} {noun} of {names}".strip()
        facts["a_palette"] = indefinite(kind) if one else kind
    return facts | measures.ranked(_artwork_features(d, palette, seed), seed)


# Nouns for the colours as a whole, and whether they take an article.
PALETTES = (("palette", True), ("palette", True), ("colour scheme", True), ("shades", False))
PREVAIL = ("dominate", "prevail", "predominate")
MAIN = ("main", "chief", "leading", "principal")
TITLED = ("titled", "called", "entitled")
LISTED = ("listed as", "catalogued as", "recorded as", "known as")
DATED = ("from", "dated")


def _title(artwork: Artwork) -> str:
    """The title as a sentence may have it; ArtGraph's, made of file names, without marks."""
    if artwork.source == "artgraph":
        return titles.from_file_name(artwork.title)
    return titles.quoted(artwork.title)


def _titled(title: str, seed: str) -> str:
    if not title:
        return ""
    return f"{pick(seed, 'titled', TITLED if title.startswith('“') else LISTED)} {title}"


def _kind(artwork: Artwork, terms: ArtTerms, title: str, seed: str) -> tuple[str, str]:
    """The noun for the work, and its title unless that says no more than the noun.

    The noun is of the genre; without one, what the title begins with ("Self-portrait in profile"),
    else a plain word. Where the title has the noun already, or begins with another, the noun is a
    plain word too, so that no label reads "Portrait of a Scholar, a portrait".
    """
    genre = terms.genres.get(slug(artwork.genre), ())
    nouns = genre or terms.style_nouns.get(slug(artwork.style), ())
    plain = terms.plain_nouns
    painted = terms.painted_media & {slug(medium) for medium in artwork.media}
    plain = ("painting",) if painted else plain
    words = slug(title)
    kinds = [noun for one in terms.genres.values() for noun in one]
    fitting = [noun for noun in kinds if f"{words} ".startswith(f"{slug(noun)} ")]
    noun = pick(seed, "noun", nouns or plain)
    if not genre and fitting:
        noun = max(fitting, key=len)
    if words == slug(noun):
        return noun, ""
    if f" {slug(noun)} " in f" {words} " or fitting:
        noun = pick(seed, "noun", plain)
    return noun, title


def _in_style(artwork: Artwork, terms: ArtTerms, noun: str) -> str:
    """Style and kind, as a museum label has them: "Impressionist landscape", "ukiyo-e print"."""
    adjective = terms.styles.get(slug(artwork.style), "")
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
    if not 1000 <= artwork.year <= 2100:
        return ""
    if choice == 3:
        return f"from the {century_part(artwork.year)}"
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
            found[terms.colours.get(slug(name), name)] = code
    return found


def _together(colours: list[str]) -> str:
    """Colours as a list; one that ends in "black and white" would be read as: without colour."""
    if colours[-2:] == ["black", "white"]:
        colours = ["white", "black"] if len(colours) == 2 else colours[:-1]
    return listing(colours)


def _tone(
    d: ArtworkDescriptors, palette: Mapping[str, str], terms: ArtTerms, seed: str
) -> list[str]:
    """Up to two adjectives for the palette: how strong its colours are, and cool or warm."""
    words = []
    greys = sum(name.split()[-1] in terms.greys for name in palette)
    if measures.CHROMA.level(d.chroma) < 0 or greys < 2:  # no "vivid palette of greys"
        words.append(measures.CHROMA.say(seed, "chroma", d.chroma).phrase)
    level = measures.WARMTH.level(d.warmth)
    cool, warm = measures.cool_and_warm([code for code in palette.values() if code])
    if d.chroma >= measures.COLOURED and ((level < 0 and cool) or (level > 0 and warm)):
        words.append(measures.WARMTH.say(seed, "warmth", d.warmth).phrase)
    return [word for word in words if word]


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
# BPM"; `key` "A minor"; `also` further genres; `instruments` of the tags; `traits`, `looks`, f1,
# f2, `spare` and `another` as `measures.ranked` gives them.
TRACK_PLANS: tuple[str, ...] = (
    "{A_moody}[ in {key}][ at {tempo}][, featuring {instruments}], with {traits}.",
    "{A_moody}[ in {key}][ at {tempo}][, with touches of {also}]. It has {traits}.",
    "{A_track}[ in {key}][ at {tempo}][, featuring {instruments}]. It has {traits}"
    "[; the mood is {mood}].",
    "{A_track}[ in {key}][ at {tempo}], {mood} in mood, with {traits}.",
    "{A_track}[ in {key}][ at {tempo}], with {traits}[; the mood is {mood}].",
    "{A_moody} leaning towards {also}[, in {key}][, at {tempo}], with {traits}.",
    "{A_moody}[, with touches of {also},] marked by {traits}[; it moves at {tempo}].",
    "{A_moody} featuring {instruments}[, in {key}][, at {tempo}], with {traits}.",
    "{A_mood} mood runs through this {track}[ in {key}][ at {tempo}], with {traits}.",
    "This {track}[ in {key}][ at {tempo}] has {traits}[; the mood is {mood}].",
    "This {moody}[ in {key}][ at {tempo}] is marked by {traits}.",
    "This {moody}[ in {key}] moves at {tempo}, with {traits}.",
    "This is {a_moody}[ in {key}][ at {tempo}][, featuring {instruments}], with {traits}.",
    "The music is {a_moody}[ in {key}][ at {tempo}], with {traits}.",
    "{A_track}[ in {key}][ at {tempo}] with {traits}; the mood is {mood}.",
    "With {traits}, this {moody}[ in {key}] moves at {tempo}.",
    "{Tempo} carries this {moody}[ in {key}], with {traits}.",
    "{Tempo}, {f1} and {f2} shape this {moody}[ in {key}].",
    "{F1} and {f2} distinguish this {moody}[ in {key}][ at {tempo}].",
    "{F1} and {f2} characterise this {moody}[ in {key}][ at {tempo}].",
    "{F1} and {f2} give this {moody}[ in {key}][ at {tempo}] its character.",
    "In this {moody}[ in {key}][ at {tempo}], {f1} and {f2} stand out.",
    "Set in {key}, this {moody}[ at {tempo}] has {traits}.",
    "Moving at {tempo}, this {moody}[ in {key}] has {traits}.",
    "{A_moody}[ in {key}][ at {tempo}]. It is marked by {looks}.",
)
TRACK_TAILS: tuple[str, ...] = ("It also has {spare}.", "Besides, it has {another}.")


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
    tempo = indefinite(f"{pace} tempo")
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
    version = "9"
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
