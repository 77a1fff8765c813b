"""Grounded captions: sentences from an item's record and its measurements only.

Artworks: the title, often the only hint to the subject, is in five captions of eight (seven of
eight if neither genre nor tags name what is shown), the painter in one of three, the year, century
or period in three of four. So captions can be searched by name, while a model trained on them
cannot rely on names. Titles get headline capitals: ArtGraph's come from file names without them.

Tracks: artist, title and album are never named: they say nothing of the sound, names of musicians
teach a model to imitate, and the records beside the caption have them. The tempo is named only if
the pulse is clear, and the key only if it is clear.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
# "titled “…”"; `when` "from 1877"; `medium` "in oil on canvas"; `subjects` "trees and boats";
# `several` the same, when they are two or more; `palette` "ochre and slate blue"; `dominate` and
# `fill` agree with it; `a_palette` "a muted palette of …"; `main` and `others` split it; `emotion`
# "awe"; `traits`, f1, f2, f3 and `spare` as `measures.ranked` gives them.
ARTWORK_PLANS: tuple[str, ...] = (
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
BARE_ARTWORK_PLANS: tuple[str, ...] = (
    "{A_work}[ {titled}][ {by}], showing {f1} and {f2}[, and also {f3}].",
    "This {work}[ {when}][ {titled}][ {by}] is notable for {f1} and {f2}[, and for {f3}].",
    "{A_work}[ {when}][ {titled}][ {by}] with {traits}.",
    "{Titled}, this {work}[ {when}][ {by}] shows {traits}.",
)
ARTWORK_TAILS: tuple[str, ...] = (
    "Its main colours are {palette}.",
    "The picture also has {spare}.",
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
    palette = _palette(d)
    tone = _tone(d, palette, terms, seed)
    facts = {
        "work": work,
        "a_work": indefinite(work),
        "by": "",
        "titled": "",
        "when": _when(artwork, seed),
        "medium": _medium(artwork, terms),
        "subjects": listing(subjects),
        "several": listing(subjects) if len(subjects) > 1 else "",
        "palette": listing(palette),
        "main": palette[0] if len(palette) > 1 else "",
        "others": listing(palette[1:]),
        "dominate": "dominate" if len(palette) > 1 else "dominates",
        "fill": "fill" if len(palette) > 1 else "fills",
        "a_palette": "",
        "emotion": _emotion(artwork, terms),
    }
    if palette:
        kind = " ".join([tone, "palette"]).strip()
        facts["a_palette"] = f"{indefinite(kind)} of {facts['palette']}"
    painter = clean_name(artwork.painter, max_words=5)
    if painter and draw_option(seed, "name painter", 3) == 0:
        facts["by"] = f"by {painter}"
    # WikiArt numbers pictures of one title in their file names.
    title = clean_name(re.sub(r"(?<!\bno)(?<!\bNo)\s\d{1,2}$", "", artwork.title), max_words=9)
    tells_subject = bool(subjects) or slug(artwork.genre) in terms.genres
    if title and draw_option(seed, "name title", 8) < (5 if tells_subject else 7):
        facts["titled"] = f"titled “{headline(title)}”"
    return facts | measures.ranked(_artwork_features(d, seed), seed)


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


def _medium(artwork: Artwork, terms: ArtTerms) -> str:
    media = [slug(medium) for medium in artwork.media]
    materials = [terms.materials[m] for m in media if m in terms.materials][:2]
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


def _palette(d: ArtworkDescriptors) -> list[str]:
    """The names of up to three colours, largest first, each once."""
    names = {clean_label(name).lower(): None for name in d.palette}
    return [name for name in names if name][:3]


def _tone(d: ArtworkDescriptors, palette: list[str], terms: ArtTerms, seed: str) -> str:
    words = []
    greys = sum(name.split()[-1] in terms.greys for name in palette)
    if measures.CHROMA.level(d.chroma) < 0 or greys < 2:  # no "vivid palette of greys"
        words.append(measures.CHROMA.say(seed, "chroma", d.chroma).phrase)
    if d.chroma >= measures.COLOURED:
        words.append(measures.WARMTH.say(seed, "warmth", d.warmth).phrase)
    return ", ".join(word for word in words if word)


def _artwork_features(d: ArtworkDescriptors, seed: str) -> list[measures.Feature]:
    features = [
        measures.LIGHTNESS.say(seed, "lightness", d.lightness),
        measures.CONTRAST.say(seed, "contrast", d.contrast),
        measures.DETAIL.say(seed, "detail", d.complexity),
        *measures.layout(d, seed),
    ]
    if d.chroma >= measures.COLOURED:
        features.append(measures.HUES.say(seed, "hues", d.hue_entropy))
    return [feature for feature in features if feature.phrase]


# --- music --------------------------------------------------------------------------------------

# Facts: `track` "hip-hop track"; `a_track` with its article; `mood` "tense"; `a_mood` "a tense";
# `a_moody` "a tense hip-hop track"; `pace` "slow"; `tempo` "a slow tempo" or "a slow tempo of
# about 72 BPM"; `key` "A minor"; `also` further genres; `instruments` of the tags; `traits`, f1,
# f2, f3 and `spare` as `measures.ranked` gives them.
TRACK_PLANS: tuple[str, ...] = (
    "{A_track}[ in {key}][ at {tempo}], with {traits}; the mood is {mood}.",
    "{A_moody}[ in {key}] with {f1}, {f2} and {f3}.",
    "{A_moody}[ at {tempo}]. It has {traits}[, and is centred on {key}].",
    "This {track}[ at {tempo}] has {traits}; it sounds {mood}[ and stays close to {key}].",
    "With {traits}, this {track}[ in {key}] comes across as {mood}[; it moves at {tempo}].",
    "{Tempo} carries this {track}[ in {key}], which has {traits} and sounds {mood}.",
    "{Mood} in mood, this {track}[ in {key}][ at {tempo}] brings together {f1} and {f2}.",
    "{A_track} leaning towards {also}[, at {tempo}], with {traits}; it sounds {mood}.",
    "{F1} and {f2} mark this {mood} {track}[, set in {key}][ at {tempo}].",
    "{A_moody}[ in {key}][ at {tempo}]: {f1} and {f2}[, with {f3}].",
    "In {key}, this {track}[ at {tempo}] pairs {f1} with {f2}; the mood is {mood}.",
    "The music is {a_moody}[ in {key}][ at {tempo}], with {traits}.",
    "{A_track} with {tempo}, {f1} and {f2}; the mood is {mood}[ and the key {key}].",
    "Here is {a_track}[ in {key}] whose mood is {mood}[ and whose pace is {pace}], with {traits}.",
    "{A_track} tagged for {instruments}[, in {key}], with {traits}; the mood is {mood}.",
    "{A_moody}[ with touches of {also}], marked by {traits}[; it moves at {tempo}].",
    "{A_mood} mood runs through this {track}[ in {key}][ at {tempo}], which has {traits}.",
    "This {mood} {track}[ in {key}][ at {tempo}] shows {f1} and {f2}[, with {f3} besides].",
    "{Tempo}, {f1} and {f2} shape this {track}[ in {key}]; overall it feels {mood}.",
    "One hears {a_track}[ in {key}][ at {tempo}], {mood} in character, with {traits}.",
    "{A_track} of {mood} character[, in {key}][, at {tempo}], joining {f1} and {f2}.",
    "Marked by {f1} and {f2}, this {track}[ in {key}][ at {tempo}] keeps {a_mood} mood.",
    "{A_moody} tagged for {instruments}[, at {tempo}], with {traits}[; the key is {key}].",
    "In this {mood} {track}[ at {tempo}], {f1} and {f2} stand out[, as does the key of {key}].",
    "The mood of this {track} is {mood}[ and its pace {pace}]; it has {traits}.",
    "{F1} and {f2} give this {track}[ in {key}][ at {tempo}] its character, which is {mood}.",
)
TRACK_TAILS: tuple[str, ...] = ("The mood is {mood}.", "It also has {spare}.")


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
    pace = _pace(d, seed)
    facts = {
        "track": spoken,
        "a_track": indefinite(spoken),
        "mood": mood.phrase,
        "a_mood": indefinite(mood.phrase),
        "a_moody": indefinite(f"{mood.phrase} {spoken}"),
        "pace": "moderate" if pace == "mid-tempo" else pace,
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
    features = [
        measures.PULSE.say(seed, "pulse", d.pulse_clarity),
        measures.LOUDNESS.say(seed, "loudness", d.loudness),
        measures.DYNAMICS.say(seed, "dynamics", d.dynamic_range),
        measures.SLOPE.say(seed, "slope", d.loudness_slope),
        measures.BRIGHTNESS.say(seed, "brightness", d.centroid),
        measures.BASS.say(seed, "bass", d.bass),
        measures.PERCUSSION.say(seed, "percussion", d.percussiveness),
        measures.ONSETS.say(seed, "onsets", d.onset_rate),
        measures.NOISINESS.say(seed, "noisiness", d.flatness),
        measures.ROUGHNESS.say(seed, "roughness", d.roughness),
        measures.HEIGHT.say(seed, "height", d.pitch_height),
    ]
    return [feature for feature in features if feature.phrase]


# --- the captioner ------------------------------------------------------------------------------


class Grounded:
    """Writes 12–45 words for any item; needs no model and reads no media.

    `settings` has the digest of a vocabulary other than the bundled one.
    """

    name = "grounded"
    # Raised whenever equal records and measurements give other sentences; a test checks it.
    version = "4"
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
