"""Words for measurements, with the thresholds at which they apply.

A scale divides one descriptor into levels, low to high, and gives each level a few noun phrases of
the same meaning. The middle level is unremarkable; the further a level is from it, the more a
caption prefers to mention it. The checks of models' captions use the same levels.
"""

from __future__ import annotations

import colorsys
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from artsound.captions.phrasing import indefinite, listing, pick, shuffled_options
from artsound.schema import ArtworkDescriptors, TrackDescriptors


@dataclass(frozen=True)
class Scale:
    """Levels of one descriptor: `phrases[i]` holds from `edges[i-1]` to below `edges[i]`.

    An empty phrase means a level that captions do not mention.
    """

    edges: tuple[float, ...]
    phrases: tuple[tuple[str, ...], ...]
    middle: int

    def level(self, value: float) -> int:
        """The level of `value`, from −middle (lowest) over 0 (unremarkable) upwards."""
        return bisect_right(self.edges, value) - self.middle

    def say(self, seed: str, what: str, value: float) -> Feature:
        """The phrase for `value`, with how remarkable it is."""
        phrases = self.phrases[bisect_right(self.edges, value)]
        return Feature(abs(self.level(value)), pick(seed, what, phrases))


@dataclass(frozen=True)
class Feature:
    """A measurement in words; `strength` 0 is the ordinary case."""

    strength: float
    phrase: str


def ranked(features: Sequence[Feature], seed: str) -> dict[str, str]:
    """The facts of a plan that tell measurements, from three or more features.

    The most remarkable come first, equals in a drawn order. `traits` joins up to three remarkable
    ones, f1 and f2 are the first two of them, and all three are empty without any. `looks` joins
    the first three whether remarkable or not, `spare` and `another` are those after the traits, for
    captions that are too short otherwise.
    """
    drawn = sorted(
        shuffled_options(seed, "features", features), key=lambda feature: -feature.strength
    )
    most = pick(seed, "traits", (2, 2, 3))
    said = [feature.phrase for feature in drawn[:most] if feature.strength > 0]
    rest = [feature.phrase for feature in drawn[len(said) :]]
    first, second, *_ = [*said, "", ""]
    spare, another, *_ = [*rest, "", ""]
    return {
        "traits": listing(said),
        "f1": first,
        "f2": second,
        "looks": listing([feature.phrase for feature in drawn[:3]]),
        "spare": spare,
        "another": another,
    }


# --- pictures -----------------------------------------------------------------------------------

# A phrase stands in lists and after "with": it has no comma, no "and", names something that is
# there (not what is absent), and none is part of another. Each level has so many that none is in
# one caption of twenty. They are what an exhibition label would say; the middle levels say little,
# and are used only where a caption would be too short.


def _said(phrases: str) -> tuple[str, ...]:
    """The phrases of a text, between commas."""
    return tuple(" ".join(phrase.split()) for phrase in phrases.split(","))


def _pairs(adjectives: str, things: str = "", rest: str = "") -> tuple[str, ...]:
    """Each adjective before each noun: `things` take an article, plurals and materials none."""
    nouns = [(noun, True) for noun in _said(things) if noun]
    nouns += [(noun, False) for noun in _said(rest) if noun]
    found = [(f"{one} {noun}", article) for one in _said(adjectives) for noun, article in nouns]
    return tuple(indefinite(phrase) if article else phrase for phrase, article in found)


# fmt: off
# Mean CIE L*/100.
LIGHTNESS = Scale(
    (0.23, 0.36, 0.54, 0.69),
    (
        _said("a very dark tonality, an extremely dark tonality, a near-black tonality, "
              "near-black tones, deeply shadowed tones, deep shadow, heavy shadow, "
              "overall darkness, deep darkness, enveloping shadow"),
        _pairs("dark, dim, shadowy, dusky, low-keyed", "tonality, overall tone", "tones"),
        _said("middle tones, medium tones, a medium tonality, mid-range tones"),
        _pairs("light, bright, airy, luminous, light-filled", "tonality, overall tone", "tones"),
        _said("a very light tonality, a very pale tonality, a very bright tonality, "
              "very pale tones, a high-keyed tonality, high-keyed tones, near-white tones, "
              "a near-white tonality, extremely pale tones, an extremely light tonality"),
    ),
    2,
)
# 95th minus 5th percentile of L*/100.
CONTRAST = Scale(
    (0.47, 0.68, 0.8),
    (
        _said("soft contrasts, gentle contrasts, subtle contrasts, low contrast, soft transitions, "
              "delicate contrasts, gentle transitions, soft gradations, subtle gradations, "
              "delicate gradations, gentle shifts of tone, subtle shifts of tone"),
        _said("moderate contrasts, medium contrast, moderate tonal contrast, restrained contrasts"),
        (*_pairs("strong, bold, pronounced, firm", rest="contrasts, tonal contrasts"),
         "vigorous contrasts", "strong contrast", "clear contrasts", "emphatic contrasts"),
        _said("stark contrasts, dramatic contrasts, extreme contrasts, striking contrasts, "
              "intense contrasts, stark tonal contrasts, dramatic tonal contrasts, "
              "extreme tonal contrasts, striking tonal contrasts, very high contrast"),
    ),
    1,
)
# Mean C*/100, used as an adjective of the palette. (HSV saturation would call dark browns vivid.)
CHROMA = Scale(
    (0.045, 0.1, 0.19, 0.26),
    (
        ("near-monochrome", "almost monochrome"),
        ("muted", "subdued", "restrained", "quiet"),
        ("",),
        ("rich", "saturated", "well-saturated"),
        ("vivid", "intense", "strong", "highly saturated"),
    ),
    2,
)
COLOURED = 0.06  # mean C*/100 from which hue, warm or cool, is worth a word
# Chroma-weighted warm minus cool, −1..1; paintings are warm as a rule.
WARMTH = Scale((0.0, 0.75), (("cool",), ("",), ("warm",)), 1)
# Entropy of the hues, 0..1.
HUES = Scale(
    (0.33, 0.63),
    (
        _pairs("narrow, limited, restricted, small", "range of hues, choice of hues"),
        ("",),
        (*_pairs("wide, broad, large, varied", "range of hues"),
         "many different hues", "varied hues", "diverse hues", "a great variety of hues"),
    ),
    1,
)
# Bits per pixel as a JPEG, over 3.
DETAIL = Scale(
    (0.33, 0.57),
    (
        _said("broad forms, simple forms, large forms, broad areas, plain areas, smooth areas, "
              "broad planes, plain surfaces, smooth surfaces, open areas"),
        _said("moderate detail, medium detail, a moderate amount of detail, a medium texture"),
        _said("fine detail, dense detail, rich detail, intricate detail, close detail, "
              "abundant detail, minute detail, dense texture, a closely worked surface, "
              "a densely worked surface, a finely worked surface, a textured surface"),
    ),
    1,
)
# Lightness of the top half minus the bottom half.
UPPER_LIGHT = Scale(
    (-0.1, 0.12),
    (
        (*_pairs("darker, shadowed", "upper half, top half, upper part"),
         *_pairs("lighter, brighter, paler", "lower half, bottom half, lower part")),
        ("light spread evenly from top to bottom",),
        (*_pairs("lighter, brighter, paler", "upper half, top half, upper part"),
         *_pairs("darker, shadowed", "lower half, bottom half, lower part")),
    ),
    1,
)
# Lightness of the centre minus the border.
CENTRE_LIGHT = Scale(
    (-0.09, 0.11),
    (
        (*_pairs("darker, shadowed", "centre, middle, central area"),
         *_pairs("lighter, brighter, paler", rest="edges, borders, margins")),
        ("a centre as light as its edges",),
        (*_pairs("lighter, brighter, paler", "centre, middle, central area"),
         *_pairs("darker, dark, shadowed", rest="edges, borders, margins")),
    ),
    1,
)
# Correlation of the picture with its mirror image, −1..1.
SYMMETRY = Scale(
    (0.62,),
    (
        ("an asymmetrical layout",),
        _pairs("nearly symmetrical, almost symmetrical, near-symmetrical, largely symmetrical",
               "layout, composition, design, arrangement"),
    ),
    0,
)
# Shares of gradient energy: ¼, ¼ and ½ when no direction prevails.
LINES: tuple[tuple[str, float, tuple[str, ...]], ...] = tuple(
    (field, share, _pairs("prominent, pronounced, dominant, strong", rest=nouns))
    for field, share, nouns in (
        ("horizontal", 0.46, "horizontals, horizontal lines"),
        ("vertical", 0.46, "verticals, vertical lines"),
        ("diagonal", 0.56, "diagonals, diagonal lines"),
    )
)
# fmt: on


def layout(d: ArtworkDescriptors, seed: str) -> list[Feature]:
    """What is remarkable in the composition: places of light, symmetry, directions of lines."""
    found = [
        UPPER_LIGHT.say(seed, "upper", d.upper_light),
        CENTRE_LIGHT.say(seed, "centre", d.centre_light),
        SYMMETRY.say(seed, "symmetry", d.symmetry),
    ]
    for field, share, phrases in LINES:
        if getattr(d, field) >= share:
            found.append(Feature(1, pick(seed, field, phrases)))
    return [feature for feature in found if feature.strength > 0]


def hues_apart(codes: Sequence[str]) -> float:
    """The largest distance, 0–180 degrees, between the hues of colours such as "#c08a35".

    Colours with hardly any hue (a saturation below 0.2) do not count.
    """
    hues = [hue for hue, saturation in map(_hue, codes) if saturation >= 0.2]
    distances = [abs((a - b + 180) % 360 - 180) for a in hues for b in hues]
    return max(distances, default=0.0)


def cool_and_warm(codes: Sequence[str]) -> tuple[bool, bool]:
    """Whether a cool and whether a warm hue is among colours such as "#c08a35"."""
    hues = [hue for hue, saturation in map(_hue, codes) if saturation >= 0.1]
    cool = [75 < hue < 300 for hue in hues]
    return any(cool), not all(cool)


def _hue(code: str) -> tuple[float, float]:
    red, green, blue = (int(code[i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, saturation, _ = colorsys.rgb_to_hsv(red, green, blue)
    return hue * 360, saturation


# --- music --------------------------------------------------------------------------------------

# fmt: off
# Beats per minute; the borders follow the usual ranges of adagio, andante, moderato, allegro.
TEMPO = Scale(
    (66, 90, 116, 144),
    (("slow",), ("unhurried", "relaxed"), ("moderate", "medium"), ("brisk", "quick"), ("fast",)),
    2,
)
TEMPO_MIN_PULSE = 0.3
KEY_MIN_CLARITY = 0.82
# 0..1.
PULSE = Scale(
    (0.18, 0.5),
    (
        _pairs("loose, faint, blurred, free-floating, barely marked", "pulse, beat, rhythm"),
        _pairs("discernible, moderately clear, moderate", "pulse, beat"),
        _pairs("clear, strong, firm, steady, well-marked", "pulse, beat, rhythm"),
    ),
    1,
)
# RMS level in dB below full scale.
LOUDNESS = Scale(
    (-26.0, -21.0, -13.5, -9.5),
    (
        _said("a very quiet sound, a hushed sound, a faint sound, a very soft sound, "
              "a very low level, a very quiet mix"),
        _said("a quiet sound, a soft sound, a low level, low volume, a quiet mix, "
              "a subdued level, modest volume"),
        _said("a moderate level, a medium level, moderate loudness, medium loudness"),
        _said("a loud sound, a powerful sound, a loud mix, a forceful sound, high volume, "
              "a high level, a powerful mix"),
        _said("a very loud sound, a very loud mix, a very high level, extreme loudness, "
              "an extremely loud mix, an extremely high level"),
    ),
    2,
)
# dB between loud and soft moments.
DYNAMICS = Scale(
    (4.0, 10.0, 16.0),
    (
        _said("even dynamics, steady dynamics, compressed dynamics, a constant level, "
              "tightly controlled dynamics, an even level, level dynamics"),
        _said("moderate dynamics, modest changes of level, moderate swells, modest dynamics"),
        _said("wide dynamics, broad dynamics, a wide dynamic range, marked changes of level, "
              "a broad dynamic range, marked swells, wide swings in volume"),
        _said("dramatic dynamics, extreme dynamics, an extreme dynamic range, dramatic swells, "
              "dramatic changes of level, extreme swings in volume, huge changes of level"),
    ),
    1,
)
# dB over the clip.
SLOPE = Scale(
    (-5.0, 5.0),
    (
        _said("a gradual fade, a steady fade, a slow fade, a gradual decrescendo, "
              "a steady decrescendo, a long decrescendo"),
        ("",),
        _said("a gradual build, a steady build, a slow build, a gradual crescendo, "
              "a steady crescendo, a long crescendo"),
    ),
    1,
)
# Spectral centroid in Hz.
BRIGHTNESS = Scale(
    (900.0, 1150.0, 2000.0, 2500.0),
    (
        _pairs("dark, very mellow, muffled, very dark", "tone, timbre"),
        _pairs("mellow, rounded, warm, softened", "tone, timbre"),
        _pairs("balanced, neutral", "tone, timbre"),
        _pairs("bright, crisp, clear, brilliant", "tone, timbre"),
        _pairs("very bright, trebly, sharp, piercing", "tone, timbre"),
    ),
    2,
)
# Share of energy below 150 Hz.
BASS = Scale(
    (0.12, 0.55, 0.75),
    (
        _pairs("light, thin, slight, lean", rest="bass") + _pairs("light, thin, lean", "low end"),
        (*_pairs("moderate, medium", rest="bass"), "a moderate low end"),
        _pairs("strong, weighty, full, solid, deep, heavy", rest="bass")
        + _pairs("strong, weighty, full, solid, heavy", "low end"),
        _pairs("dominant, overwhelming, massive, huge", rest="bass")
        + _pairs("dominant, overwhelming, massive, huge", "low end"),
    ),
    1,
)
# Share of percussive energy.
PERCUSSION = Scale(
    (0.24, 0.45),
    (
        _said("soft attacks, smooth attacks, gentle attacks, rounded attacks, soft onsets, "
              "gentle onsets"),
        ("",),
        _said("sharp attacks, hard attacks, snappy attacks, percussive attacks, crisp attacks, "
              "punchy attacks, hard hits, sharp hits, snappy hits, punchy hits, crisp hits, "
              "percussive hits"),
    ),
    1,
)
# Onsets per second.
ONSETS = Scale(
    (2.0, 4.5),
    (
        _said("sparse notes, widely spaced notes, sparse events, widely spaced events, "
              "a sparse texture, a thinly spread texture"),
        ("",),
        _said("rapid notes, closely packed notes, dense activity, a busy texture, "
              "a dense flow of notes, rapid events, constant activity"),
    ),
    1,
)
# Spectral flatness, 0 (pure tones) to 1 (white noise).
NOISINESS = Scale(
    (0.001, 0.03),
    (
        _said("clear pitches, clean pitches, pure pitches, distinct pitches, "
              "clearly pitched sounds, a clear sense of pitch"),
        ("",),
        _said("a noisy texture, a grainy texture, a hissing texture, a noisy surface, "
              "a grainy surface, a noisy background, a hissing background"),
    ),
    1,
)
ROUGHNESS = Scale(
    (0.12, 0.28),
    (
        _said("smooth sonorities, consonant sonorities, a smooth blend, a consonant blend, "
              "a smooth sonority, mild sonorities"),
        ("",),
        _said("a rough edge, a gritty edge, rough sonorities, gritty sonorities, a rough sonority, "
              "a gritty sonority, harsh sonorities, an abrasive edge"),
    ),
    1,
)

# Octaves above C1 of the energy-weighted log frequency.
HEIGHT = Scale(
    (2.8, 4.3),
    (
        _said("a low register, a deep register, low pitches, deep pitches, a low range, "
              "a deep range"),
        ("",),
        _said("a high register, high pitches, a high range, a high-lying register, "
              "a high pitch range, high-lying pitches"),
    ),
    1,
)

# fmt: on
# What a caption does not say together, though both were measured: it would be read as a
# contradiction. (name, sign of its level, name that is then left out, sign of that level)
UNLIKELY: tuple[tuple[str, int, str, int], ...] = (
    ("loudness", 1, "dynamics", 1),
    ("loudness", -1, "dynamics", 1),
    ("slope", 1, "dynamics", -1),
    ("slope", -1, "dynamics", -1),
    ("brightness", -1, "bass", -1),
    ("brightness", 1, "height", -1),
    ("brightness", -1, "height", 1),
    ("bass", 1, "height", 1),
    ("onsets", 1, "percussion", -1),
    ("onsets", -1, "percussion", 1),
    ("noisiness", 1, "roughness", -1),
    ("noisiness", -1, "roughness", 1),
    ("brightness", 1, "roughness", -1),
)


def likely(features: Mapping[str, tuple[float, Feature]]) -> list[Feature]:
    """The features that do not contradict one named before them in `UNLIKELY`.

    Args:
        features: Level and words of each measurement, by name.
    """
    left_out = set()
    for name, sign, other, its_sign in UNLIKELY:
        if name in features and other in features and name not in left_out:
            level, its_level = features[name][0], features[other][0]
            if level * sign > 0 and its_level * its_sign > 0:
                left_out.add(other)
    return [feature for name, (_, feature) in features.items() if name not in left_out]


AROUSAL_LEVELS = (-0.3, 0.3)
VALENCE_LEVELS = (-0.4, 0.4)
# By arousal, then by valence; between the levels no mood is named.
MOODS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (
        ("melancholy", "wistful", "mournful"),
        ("calm", "restrained", "tranquil"),
        ("gentle", "peaceful", "serene"),
    ),
    (
        ("sombre", "pensive", "brooding"),
        (),
        ("light-hearted", "sunny", "cheerful"),
    ),
    (
        ("tense", "restless", "agitated"),
        ("energetic", "spirited", "animated"),
        ("lively", "upbeat", "exuberant"),
    ),
)


def music_affect(d: TrackDescriptors) -> tuple[float, float]:
    """(valence, arousal) of a clip, each about −1..1, on a fixed scale for choosing mood words.

    Arousal rises with loudness, event density, tempo, brightness of timbre and percussiveness,
    valence with majorness and a little with arousal: the directions that the literature behind the
    affect bridge agrees on. Each term is the deviation from an ordinary clip in units of the usual
    spread (medians and spreads of 38 clips of many genres, rounded), cut at ±1.5. Only the sign
    and rough size are used.
    """
    arousal = (
        _deviation(d.loudness, -17.0, 4.5)
        + _deviation(d.onset_rate, 3.4, 1.1)
        + _deviation(d.tempo, 112.0, 33.0) * min(1.0, d.pulse_clarity / 0.4)
        + _deviation(d.centroid, 1550.0, 550.0)
        + _deviation(d.percussiveness, 0.35, 0.1)
    ) / 5
    return 0.75 * _deviation(d.majorness, 0.03, 0.17) + 0.25 * arousal, arousal


def mood(d: TrackDescriptors, seed: str) -> str:
    """A mood word if valence and arousal are clear and nothing else speaks against it, or "".

    Valence counts only where the key is clear; and a dark mood is not said of brisk music unless it
    is loud or rough, a bright or active one not of music that is soft or has no pulse, a calm one
    not of loud music or of music with extreme swings.
    """
    valence, arousal = music_affect(d)
    row, column = bisect_right(AROUSAL_LEVELS, arousal), bisect_right(VALENCE_LEVELS, valence)
    if d.key_clarity < KEY_MIN_CLARITY or (valence > 0) != (d.mode == "major"):
        column = 1
    pulse = d.pulse_clarity >= TEMPO_MIN_PULSE
    brisk, loud = pulse and TEMPO.level(d.tempo) > 0, LOUDNESS.level(d.loudness)
    rough, even = ROUGHNESS.level(d.roughness) > 0, DYNAMICS.level(d.dynamic_range) < 2
    supported = {
        (0, 0): not brisk and loud <= 0,
        (0, 1): not brisk and loud <= 0 and even,
        (0, 2): not brisk and loud <= 0 and not rough and even,
        (1, 0): not brisk and TEMPO.level(d.tempo) < 0,
        (1, 2): pulse and TEMPO.level(d.tempo) >= 0,
        (2, 0): loud > 0 or rough,
        (2, 1): pulse and loud >= 0,
        (2, 2): pulse and loud >= 0,
    }
    words = MOODS[row][column]
    return pick(seed, "mood", words) if words and supported[row, column] else ""


def _deviation(value: float, usual: float, spread: float) -> float:
    return max(-1.5, min(1.5, (value - usual) / spread))
