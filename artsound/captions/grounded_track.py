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

# Facts: `track` "hip-hop track"; `a_track` with its article; `mood` "tense"; `a_moody` "a tense
# hip-hop track"; `a_pace` "a slow"; `tempo` "a slow tempo" or "a slow tempo of about 72 BPM"; `key`
# "A minor"; `also` further genres; `instruments` of the tags; f1…f5 measured noun phrases.
PLANS: tuple[str, ...] = (
    "{A_track}[ at {tempo}][ in {key}], with {f1} and {f2}[; the mood is {mood}].",
    "{A_moody}[ in {key}] with {f1}, {f2} and {f3}.",
    "{A_moody}[ at {tempo}]. It has {f1} and {f2}[, and is centred on {key}].",
    "This {track} has {f1} and {f2}[ at {tempo}]; it sounds {mood}[ and stays close to {key}].",
    "With {f1} and {f2}, this {track} comes across as {mood}[; it moves at {tempo}].",
    "{A_pace} tempo and {f1} carry this {track}[ in {key}], which also has {f2}.",
    "{Mood} in mood, this {track} brings together {f1}, {f2}[, {tempo}] and {f3}.",
    "{A_track}[ leaning towards {also}], marked by {f1}, {f2} and {f3}[, with {tempo}].",
    "{F1} and {f2} define this {mood} {track}[, set in {key}][ at {tempo}].",
    "{A_moody}: {f1}, {f2} and {f3}[, all at {tempo}][ in {key}].",
    "In {key}, this {track} pairs {f1} with {f2}[ at {tempo}]; the mood is {mood}.",
    "The music is {a_moody}, played out with {f1}, {f2} and {f3}[ in {key}].",
    "{A_track} with {tempo}, {f1} and {f2}[; its key is {key} and its mood {mood}].",
    "Here is {a_track} whose mood is {mood}, with {f1}, {f2}[, {tempo}] and {f3}.",
    "{A_track}[ tagged for {instruments}] that joins {f1} to {f2}; the mood is {mood}.",
    "{A_moody}[ with touches of {also}], {f1} and {f2} at its core[, moving at {tempo}].",
    "{A_mood} mood runs through this {track}, heard with {f1} and {f2}[ in {key}][ at {tempo}].",
    "This {mood} {track}[ in {key}] rests on {f1} and {f2}[, with {f3} besides].",
    "{Tempo}, {f1} and {f2} shape this {track}[ in {key}]; overall it feels {mood}.",
    "One hears {a_track}[ in {key}] with {f1}, {f2} and {mood} character[ at {tempo}].",
    "{A_track} of {mood} character, built from {f1} and {f2}[, with {tempo}][ and {f3}].",
    "Built on {f1} and {f2}, this {track}[ in {key}] keeps {a_mood} mood[ at {tempo}].",
    "{A_moody}[, tagged for {instruments}], with {f1}, {f2}[, {f3}] and {tempo}.",
    "There is {f1} here, and {f2}; the {track}[ in {key}] sounds {mood}[ at {tempo}].",
)
TAILS: tuple[str, ...] = ("It also has {f3}.", "The mood is {mood}.", "There is {f4} too.")


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
        "a_pace": indefinite(pace) if pace else "",
        "tempo": _tempo(d, pace, seed),
        "key": _key(d),
        "also": listing(others),
        "instruments": _instruments(track, seed),
    }
    for number, feature in enumerate(_features(d, seed), start=1):
        facts[f"f{number}"] = feature
    return facts


def _genres(track: Track, seed: str) -> tuple[str, str, list[str]]:
    """The noun for the clip, its genre as spoken (or ""), and up to two further genres."""
    labels = [label for label in (track.genre, *track.genres) if label]
    known = {slug(label): _spoken(label) for label in labels}
    named = [(key, words) for key, words in known.items() if words]
    if not named:
        return pick(seed, "noun", ("track", "recording", "piece of music")), "", []
    # The narrowest genre says most; FMA lists a track's genres from broad to narrow.
    order = named[1:] + named[:1] if draw(seed, "narrow genre", 2) else named
    key, words = order[0]
    if key in music_terms.SPOKEN:
        noun = pick(seed, "noun", ("recording",))
    elif key in music_terms.PIECES:
        noun = pick(seed, "noun", ("piece", "track", "piece"))
    else:
        noun = pick(seed, "noun", ("track", "track", "recording"))
    others = [other for _, other in order[1:] if other not in words and words not in other]
    return noun, words, others[:2]


def _spoken(label: str) -> str:
    key = slug(label)
    if key in music_terms.GENRES:
        return music_terms.GENRES[key]
    return clean_label(label).lower()


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


def _features(d: TrackDescriptors, seed: str) -> list[str]:
    """Five measured phrases, the remarkable ones first, equals in a drawn order."""
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
    ]
    drawn = shuffled(seed, "features", features)
    best = sorted(drawn, key=lambda feature: -feature.strength)[:5]
    return [feature.phrase for feature in best]
