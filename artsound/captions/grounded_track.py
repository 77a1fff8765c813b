"""A caption for a clip of music, made of nothing but its record and what was measured on its sound.

Names: artist, title and album are never named. What a generation model or a listener needs is
the sound; names of musicians teach a model imitation rather than music, and the records beside
the caption keep them. Tempo is spoken of only where the pulse is clear, the key only where it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from artsound.captions import measures, music_terms
from artsound.captions.phrasing import (
    clean_label,
    compose,
    draw,
    indefinite,
    listing,
    pick,
    shuffled,
    slug,
)
from artsound.records import Track, TrackDescriptors

# Facts: `track` "hip-hop track"; `a_track` with its article; `mood` "tense"; `a_mood` "a tense";
# `a_moody` "a tense hip-hop track"; `pace` "slow"; `tempo` "a slow tempo" or "a slow tempo of
# about 72 BPM"; `key` "A minor"; `also` further genres; `instruments` of the tags; `traits`, f1,
# f2, f3 and `spare` as `measures.ranked` gives them.
PLANS: tuple[str, ...] = (
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
TAILS: tuple[str, ...] = ("The mood is {mood}.", "It also has {spare}.")


def describe_track(track: Track, d: TrackDescriptors) -> str:
    """A caption of 12–45 words for `track`, the same for the same record and measurements."""
    return compose(f"{track.track_id:06d}", PLANS, TAILS, track_facts(track, d))


def track_facts(track: Track, d: TrackDescriptors) -> dict[str, str]:
    """The phrases that PLANS may use; empty where the record does not know."""
    seed = f"{track.track_id:06d}"
    noun, label, others = _genres(track, seed)
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
        "key": _key(d),
        "also": listing(others),
        "instruments": _instruments(track, seed),
    }
    return facts | measures.ranked(_features(d, seed), seed)


def _genres(track: Track, seed: str) -> tuple[str, str, list[str]]:
    """The noun for the clip, its genre as spoken (or ""), and up to two further genres."""
    labels = {slug(label): label for label in (track.genre, *track.genres) if label}
    known = [(key, words) for key, label in labels.items() if (words := _spoken(key, label))]
    if not known:
        return pick(seed, "noun", ("track", "recording", "piece of music")), "", []
    # The top genre, or the one after it, which is narrower and says more.
    order = known[1:] + known[:1] if draw(seed, "narrow genre", 2) else known
    key, words = order[0]
    if key in music_terms.SPOKEN or words.endswith("track"):
        noun = "recording"
    elif key in music_terms.PIECES:
        noun = pick(seed, "noun", ("piece", "track", "piece"))
    else:
        noun = pick(seed, "noun", ("track", "track", "recording"))
    others = [_as_noun(k, w) for k, w in order[1:] if w not in words and words not in w]
    return noun, words, others[:2]


def _spoken(key: str, label: str) -> str:
    if key in music_terms.GENRES:
        return music_terms.GENRES[key]
    return clean_label(label).lower()


def _as_noun(key: str, words: str) -> str:
    """The name of a genre by itself: chamber music, for what is "chamber-music" before a noun."""
    if key in music_terms.ADJECTIVES:
        return f"{words} music"
    if key in music_terms.GENRE_NOUNS:
        return music_terms.GENRE_NOUNS[key]
    return words.replace("-", " ") if words in music_terms.OPEN_COMPOUNDS else words


def _pace(d: TrackDescriptors, seed: str) -> str:
    if d.pulse_clarity < measures.TEMPO_MIN_PULSE:
        return ""
    return measures.TEMPO.say(seed, "pace", d.tempo).phrase


def _tempo(d: TrackDescriptors, pace: str, seed: str) -> str:
    if not pace:
        return ""
    tempo = indefinite(f"{pace} tempo") if pace != "mid-tempo" else "a middling tempo"
    if draw(seed, "beats", 2):
        return tempo
    return f"{tempo} of {pick(seed, 'about', ('about', 'around', 'roughly'))} {round(d.tempo)} BPM"


def _key(d: TrackDescriptors) -> str:
    if d.key_clarity < measures.KEY_MIN_CLARITY:
        return ""
    names = music_terms.MAJOR_KEYS if d.mode == "major" else music_terms.MINOR_KEYS
    return f"{names[d.key]} {d.mode}" if d.key in names else ""


def _instruments(track: Track, seed: str) -> str:
    words = {music_terms.INSTRUMENTS.get(slug(tag), ""): None for tag in track.tags}
    known: Sequence[str] = [word for word in words if word]
    return listing(shuffled(seed, "instruments", known)[:3])


def _features(d: TrackDescriptors, seed: str) -> list[measures.Feature]:
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
