"""Reads a grounded caption back into facts, and says which of them the record does not have.

What a caption says is cut out of it phrase by phrase, each compared with the record or the
measurement; what is left must be the words of the sentence patterns themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from artsound.captions import grounded, measures
from artsound.captions.phrasing import clean_label, slug
from artsound.captions.vocabulary import Vocabulary, bundled_vocabulary
from artsound.schema import Artwork, ArtworkDescriptors, Track, TrackDescriptors

PICTURE_SCALES = {
    "lightness": measures.LIGHTNESS,
    "contrast": measures.CONTRAST,
    "complexity": measures.DETAIL,
    "upper_light": measures.UPPER_LIGHT,
    "centre_light": measures.CENTRE_LIGHT,
    "symmetry": measures.SYMMETRY,
    "hue_entropy": measures.HUES,
}
SOUND_SCALES = {
    "pulse_clarity": measures.PULSE,
    "loudness": measures.LOUDNESS,
    "dynamic_range": measures.DYNAMICS,
    "loudness_slope": measures.SLOPE,
    "centroid": measures.BRIGHTNESS,
    "bass": measures.BASS,
    "percussiveness": measures.PERCUSSION,
    "onset_rate": measures.ONSETS,
    "flatness": measures.NOISINESS,
    "roughness": measures.ROUGHNESS,
    "pitch_height": measures.HEIGHT,
}
_ADJECTIVES = {"chroma": measures.CHROMA, "warmth": measures.WARMTH}
_PLAN_WORDS = {
    word.lower()
    for plan in (
        *grounded.ARTWORK_PLANS, *grounded.BARE_ARTWORK_PLANS, *grounded.ARTWORK_TAILS,
        *grounded.TRACK_PLANS, *grounded.TRACK_TAILS,
    )
    for word in re.findall(r"[^\W\d_]+", re.sub(r"\{\w+\}", " ", plan))
}  # fmt: skip
_VERBS = {verb + ending for verb in grounded.PREVAIL for ending in ("", "s")}
_GLUE = {*_PLAN_WORDS, *_VERBS, *grounded.MAIN, "the", "are", "is"}
_GLUE |= {"a", "an", "and", "of", "colours"}
_GLUE |= set(" ".join(noun for noun, _ in grounded.PALETTES).split())


def unsupported(caption: str, record: Artwork | Track, d: object) -> list[str]:
    """The parts of a caption that neither the record nor the measurements support."""
    reader = _Reader(caption)
    words = bundled_vocabulary()
    if isinstance(record, Artwork) and isinstance(d, ArtworkDescriptors):
        _read_artwork(reader, record, d, words)
    elif isinstance(record, Track) and isinstance(d, TrackDescriptors):
        _read_track(reader, record, d, words)
    left = [word for word in re.findall(r"[\w’'&-]+", reader.text) if word.lower() not in _GLUE]
    return reader.faults + left


class _Reader:
    def __init__(self, caption: str) -> None:
        self.text, self.faults = caption, list[str]()

    def take(self, phrase: str) -> bool:
        """Cut a phrase out of the text, if it is there as whole words."""
        if phrase.lower() not in self.text.lower():  # most are not, and compiling takes long
            return False
        pattern = rf"(?<![\w-]){re.escape(phrase)}(?![\w-])"
        cut = re.sub(pattern, " | ", self.text, count=1, flags=re.I) if phrase else self.text
        found = cut != self.text
        self.text = cut
        return found

    def take_any(self, phrases: Iterable[str]) -> None:
        for phrase in sorted(set(phrases), key=len, reverse=True):
            self.take(phrase)

    def levels(self, scales: dict[str, measures.Scale], d: object) -> None:
        """Cut out the phrases of scales; one that is not of the measured level is a fault."""
        known = [
            (phrase, field, level)
            for field, scale in scales.items()
            for level, phrases in enumerate(scale.phrases)
            for phrase in phrases
            if phrase
        ]
        for phrase, field, level in sorted(known, key=lambda entry: -len(entry[0])):
            if self.take(phrase):
                scale = scales[field]
                if scale.level(getattr(d, field)) + scale.middle != level:
                    self.faults.append(f"{phrase} ({field} is {getattr(d, field)})")


def _read_artwork(r: _Reader, record: Artwork, d: ArtworkDescriptors, words: Vocabulary) -> None:
    art = words.art
    _read_title(r, record.title)
    r.text = r.text.replace(f" ({record.year})", " | ")
    r.take(f"by {art.painters.get(slug(record.painter), record.painter)}")
    r.take(f"from the painter’s {record.period}")
    r.take_any(f"{dated} {record.year}" for dated in (*grounded.DATED, ""))
    if 1000 <= record.year <= 2100:
        r.take(f"from the {grounded.century_part(record.year)}")
    r.take_any(f"with {art.emotions.get(slug(e), '')}" for e in record.emotions)
    r.levels(PICTURE_SCALES, d)
    names = [clean_label(name).lower() for name in d.palette]
    r.take_any(art.colours.get(slug(name), name) for name in names)
    for field, share, phrases in measures.LINES:
        for phrase in phrases:
            if r.take(phrase) and getattr(d, field) < share:
                r.faults.append(phrase)
    r.take_any(art.subjects.get(slug(tag), "") for tag in record.tags)
    label = clean_label(record.style)
    r.take_any([f"in the {label}", f"in the {label} style"] if label else [])
    style = slug(record.style)
    nouns = [*art.genres.get(slug(record.genre), art.style_nouns.get(style, ()))]
    nouns += [noun for one in art.genres.values() for noun in one if _begins(record.title, noun)]
    nouns += [*art.plain_nouns, "painting"]
    adjective = art.styles.get(style, "")
    r.take_any([*nouns, *(f"{adjective} {noun}" for noun in nouns)])
    r.take(adjective)
    media = [slug(medium) for medium in record.media]
    r.take_any([art.materials.get(m, "") for m in media] + [art.supports.get(m, "") for m in media])
    r.take("on")
    r.levels(_ADJECTIVES, d)


def _read_title(r: _Reader, title: str) -> None:
    """Cut out the title: its words in their order, from the first or the second to any of them.

    Only punctuation may be between them, and an accent on them.
    """
    words = [re.escape(word).replace("e", "[eé]") for word in title.split()]
    marks = "|".join((*grounded.LISTED, *grounded.TITLED))
    for start in (0, 1):
        for end in range(len(words), start, -1):
            told = r"[\s,.()-]+".join(words[start:end])
            forms = [rf"({marks}) “?{told}(\.(?= )|[)”])?"]
            if end - start > 1 or not words[end:] or words[end].isdigit():
                forms.append(rf"(?<![^\s“]){told}[”)]?(?=,| is | by |\. | \()")
            for form in forms:
                cut = re.sub(form, " | ", r.text, count=1, flags=re.IGNORECASE)
                if cut != r.text:
                    r.text = cut
                    return


def _begins(title: str, noun: str) -> bool:
    return f"{slug(title)} ".startswith(f"{slug(noun)} ")


def _read_track(r: _Reader, record: Track, d: TrackDescriptors, words: Vocabulary) -> None:
    music = words.music
    r.levels(SOUND_SCALES, d)
    names = music.major_keys if d.mode == "major" else music.minor_keys
    if d.key_clarity >= measures.KEY_MIN_CLARITY:
        r.take(f"{names.get(d.key, '')} {d.mode}")
    if d.pulse_clarity >= measures.TEMPO_MIN_PULSE:
        for about in ("about", "around", "roughly"):
            r.take(f"of {about} {round(d.tempo)} BPM")
        level = measures.TEMPO.level(d.tempo) + measures.TEMPO.middle
        r.take_any([f"{word} tempo" for word in (*measures.TEMPO.phrases[level],)])
    row = sum(measures.music_affect(d)[1] >= edge for edge in measures.AROUSAL_LEVELS)
    r.take_any(word for words_ in measures.MOODS[row] for word in words_)
    labels = [record.genre, *record.genres]
    spoken = [music.genres.get(slug(label), clean_label(label).lower()) for label in labels]
    nouns = [music.genre_nouns.get(slug(label), "") for label in labels]
    plain = [one.replace("-", " ") for one in spoken]
    r.take_any([f"{one} music" for one in spoken] + nouns + spoken + plain)
    r.take_any(music.instruments.get(slug(tag), "") for tag in record.tags)
    r.take_any(("piece of music", "track", "recording", "piece"))
