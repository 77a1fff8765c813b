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

    The most remarkable come first, equals in a drawn order. f1 and f2 are always there, f3 only if
    it is remarkable; `traits` joins two or three of them, and `features` has all with commas
    between them; `spare` and `another` are others, if any.
    """
    drawn = sorted(
        shuffled_options(seed, "features", features), key=lambda feature: -feature.strength
    )
    said = [feature.phrase for feature in drawn[: 3 if drawn[2].strength > 0 else 2]]
    rest = [feature.phrase for feature in drawn[len(said) :]]
    return {
        "traits": listing(said[: pick(seed, "traits", (2, 3))]),
        "features": ", ".join(said),
        "f1": said[0],
        "f2": said[1],
        "f3": said[2] if len(said) > 2 else "",
        "spare": rest[0] if rest else "",
        "another": rest[1] if len(rest) > 1 else "",
    }


# --- pictures -----------------------------------------------------------------------------------

# A phrase stands in lists and after "with": it has no comma, no "and", names something that is
# there (not what is absent), and each level has so many that none is in one caption of twenty.
# It is an adjective before a noun, short, so that captions of many pictures share few phrases.


def _said(adjectives: str, things: str = "", rest: str = "") -> tuple[str, ...]:
    """Each adjective before each noun: `things` take an article, plurals and materials none."""
    before = adjectives.split(", ")
    nouns = [(noun, True) for noun in things.split(", ") if noun]
    nouns += [(noun, False) for noun in rest.split(", ") if noun]
    phrases = [(f"{adjective} {noun}", article) for adjective in before for noun, article in nouns]
    return tuple(indefinite(phrase) if article else phrase for phrase, article in phrases)


# fmt: off
# Mean CIE L*/100.
LIGHTNESS = Scale(
    (0.23, 0.36, 0.54, 0.69),
    (
        _said("very dark, near-black, deeply shadowed, extremely low-keyed, exceedingly dark",
              "tonality, overall tone, tonal register, general tone", "tones, shades"),
        _said("dark, dim, shadowy, low-keyed, dusky",
              "tonality, overall tone, tonal register, general tone", "tones, shades"),
        _said("mid-range, middling, medium-light, intermediate, medium",
              "tonality, overall tone, tonal register, general tone", "shades, tones"),
        _said("light, bright, airy, light-filled, luminous",
              "tonality, overall tone, tonal register, general tone", "shades, tones"),
        _said("very pale, high-keyed, near-white, extremely light, light-flooded",
              "tonality, overall tone, tonal register, general tone", "tones, shades"),
    ),
    2,
)
# 95th minus 5th percentile of L*/100.
CONTRAST = Scale(
    (0.47, 0.68, 0.8),
    (
        _said("soft, gentle, mild, subtle, slight, delicate",
              rest="contrasts, tonal steps, gradations, tonal contrasts, shifts of tone"),
        _said("moderate, measured, medium, middling, mid-sized, temperate",
              rest="contrasts, tonal steps, tonal contrasts, tonal differences"),
        _said("strong, firm, pronounced, marked, bold, decided",
              rest="contrasts, tonal steps, tonal contrasts, oppositions of tone"),
        _said("stark, very strong, extreme, dramatic, glaring, harsh",
              rest="contrasts, tonal steps, tonal contrasts, oppositions of tone"),
    ),
    1,
)
# Mean C*/100, used as an adjective of the palette. (HSV saturation would call dark browns vivid.)
CHROMA = Scale(
    (0.045, 0.1, 0.19, 0.26),
    (
        ("near-monochrome", "almost colourless"),
        ("muted", "subdued", "restrained", "low-chroma"),
        ("",),
        ("rich", "full-coloured", "well-saturated"),
        ("vivid", "strong", "intense", "highly saturated"),
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
        _said("narrow, restricted, limited, tight, small",
              "range of hues, hue range, spread of hues, span of hues"),
        ("",),
        _said("wide, varied, broad, large, extensive",
              "range of hues, hue range, spread of hues, span of hues"),
    ),
    1,
)
# Bits per pixel as a JPEG, over 3.
DETAIL = Scale(
    (0.33, 0.57),
    (
        _said("broad, plain, calm, large, simple, open",
              rest="forms, planes, areas, shapes, expanses"),
        _said("moderate, middling, medium-fine, average, intermediate",
              rest="detail, texture, detailing, surface detail"),
        _said("dense, intricate, abundant, minute, closely worked, fine-grained",
              rest="detail, texture, detailing, surface detail"),
    ),
    1,
)
# Lightness of the top half minus the bottom half.
UPPER_LIGHT = Scale(
    (-0.1, 0.12),
    (
        (*_said("darker, dimmer, deeper-toned, duskier", "upper half, top half, upper part"),
         *_said("lighter, brighter, paler", "lower half, bottom half, lower part")),
        ("light spread evenly from top to bottom",),
        (*_said("lighter, brighter, paler", "upper half, top half, upper part"),
         *_said("darker, dimmer, deeper-toned, duskier",
                "lower half, bottom half, lower part")),
    ),
    1,
)
# Lightness of the centre minus the border.
CENTRE_LIGHT = Scale(
    (-0.09, 0.11),
    (
        (*_said("darker, dimmer, deeper-toned, duskier", "centre, middle, central area"),
         *_said("lighter, brighter, paler", rest="edges, borders, margins, outer parts")),
        ("a centre as light as its edges",),
        (*_said("lighter, brighter, paler", "centre, middle, central area"),
         *_said("darker, dimmer, deeper-toned, duskier",
                rest="edges, borders, margins, outer parts")),
    ),
    1,
)
# Correlation of the picture with its mirror image, −1..1.
SYMMETRY = Scale(
    (0.62,),
    (
        ("an asymmetrical layout",),
        _said("nearly symmetrical, almost mirrored, near-symmetrical, closely mirrored",
              "layout, composition, design, arrangement"),
    ),
    0,
)
# Shares of gradient energy: ¼, ¼ and ½ when no direction prevails.
LINES: tuple[tuple[str, float, tuple[str, ...]], ...] = tuple(
    (field, share, _said("prominent, insistent, emphatic, dominant, conspicuous", rest=nouns))
    for field, share, nouns in (
        ("horizontal", 0.46, "horizontals, horizontal lines, level lines"),
        ("vertical", 0.46, "verticals, vertical lines, upright lines"),
        ("diagonal", 0.56, "diagonals, diagonal lines, slanting lines"),
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
    (("slow",), ("unhurried", "relaxed"), ("mid-tempo", "moderate"), ("brisk", "quick"), ("fast",)),
    2,
)
TEMPO_MIN_PULSE = 0.3
KEY_MIN_CLARITY = 0.82
# 0..1.
PULSE = Scale(
    (0.18, 0.5),
    (
        _said("loose, faint, barely marked, blurred, free-floating", "pulse, beat, rhythm"),
        _said("discernible, audible, moderately clear, medium-weight", "pulse, beat, rhythm"),
        _said("clear, strong, firmly marked, emphatic, steady, well-defined",
              "pulse, beat, rhythm"),
    ),
    1,
)
# RMS level in dB below full scale.
LOUDNESS = Scale(
    (-26.0, -21.0, -13.5, -9.5),
    (
        _said("very quiet, hushed, very soft, faint", "overall level, sound, volume"),
        _said("quiet, soft, low, subdued", "overall level, volume"),
        _said("moderate, medium, average, comfortable, mid-range",
              "overall level, volume, loudness"),
        _said("loud, high, forceful, strong, powerful", "overall level, volume"),
        _said("very loud, very high, near-peak, extremely high", "overall level, volume"),
    ),
    2,
)
# dB between loud and soft moments.
DYNAMICS = Scale(
    (4.0, 10.0, 16.0),
    (
        _said("even, compressed, constant, tightly levelled", rest="dynamics"),
        _said("modest, moderate, medium-sized, measured",
              rest="swings in volume, changes of level, swells of volume"),
        _said("wide, large, broad, marked",
              rest="swings in volume, changes of level, swells of volume"),
        _said("dramatic, extreme, very wide, enormous",
              rest="swings in volume, changes of level, swells of volume"),
    ),
    1,
)
# dB over the clip.
SLOPE = Scale(
    (-5.0, 5.0),
    (
        _said("gradual, unbroken, steady", "fade in volume, decline in volume, decrease of level"),
        ("",),
        _said("gradual, unbroken, steady", "rise in volume, build in volume, increase of level"),
    ),
    1,
)
# Spectral centroid in Hz.
BRIGHTNESS = Scale(
    (900.0, 1150.0, 2000.0, 2500.0),
    (
        _said("dark, very mellow, muffled, very dark", "tone, timbre, sound colour"),
        _said("mellow, rounded, soft-edged, warm", "tone, timbre, sound colour"),
        _said("balanced, neutral, medium-bright, evenly weighted", "tone, timbre, sound colour"),
        _said("bright, crisp, clear-edged, brilliant", "tone, timbre, sound colour"),
        _said("very bright, trebly, sharp, glaring", "tone, timbre, sound colour"),
    ),
    2,
)
# Share of energy below 150 Hz.
BASS = Scale(
    (0.12, 0.55, 0.75),
    (
        _said("light, slender, thin, lightweight", "bass, low end, bottom end"),
        _said("moderate, ordinary, medium, measured", "bass, low end, bottom end"),
        _said("strong, weighty, full, solid, heavy", "bass, low end, bottom end"),
        _said("dominant, overwhelming, very heavy, overpowering", "bass, low end, bottom end"),
    ),
    1,
)
# Share of percussive energy.
PERCUSSION = Scale(
    (0.24, 0.45),
    (
        _said("soft, smooth, gradual, rounded", rest="attacks, note onsets"),
        ("",),
        _said("sharp, hard, snappy, percussive, hard-edged", rest="attacks, hits, note onsets"),
    ),
    1,
)
# Onsets per second.
ONSETS = Scale(
    (2.0, 4.5),
    (
        _said("sparse, widely spaced, thinly set", rest="notes, events, entries"),
        ("",),
        _said("frequent, closely packed, dense, crowded", rest="notes, events, entries"),
    ),
    1,
)
# Spectral flatness, 0 (pure tones) to 1 (white noise).
NOISINESS = Scale(
    (0.001, 0.03),
    (
        _said("clear, clean, distinct, pure", rest="pitches, tones"),
        ("",),
        _said("noisy, noise-like, hissing, grainy", "texture, sound surface, background"),
    ),
    1,
)
ROUGHNESS = Scale(
    (0.12, 0.28),
    (
        _said("smooth, consonant, mild", "sonority, blend, sound"),
        ("",),
        _said("rough, gritty, harsh, grating, abrasive", "edge, sonority, sound"),
    ),
    1,
)

# Octaves above C1 of the energy-weighted log frequency.
HEIGHT = Scale(
    (2.8, 4.3),
    (
        _said("low, deep, low-lying", "register, pitch range", "pitches"),
        ("",),
        _said("high, high-lying, elevated", "register, pitch range", "pitches"),
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
        ("light-hearted", "sunny", "good-humoured"),
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
