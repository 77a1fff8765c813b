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

from artsound.captions.phrasing import listing, pick, shuffled_options
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
    """The facts `traits`, f1, f2, f3, `spare` and `another` of a plan, from three or more features.

    The most remarkable come first, equals in a drawn order. f1 and f2 are always there, f3 only if
    it is remarkable; `traits` joins two or three of them; `spare` and `another` are others, if any.
    """
    drawn = sorted(
        shuffled_options(seed, "features", features), key=lambda feature: -feature.strength
    )
    said = [feature.phrase for feature in drawn[: 3 if drawn[2].strength > 0 else 2]]
    rest = [feature.phrase for feature in drawn[len(said) :]]
    return {
        "traits": listing(said[: pick(seed, "traits", (2, 3))]),
        "f1": said[0],
        "f2": said[1],
        "f3": said[2] if len(said) > 2 else "",
        "spare": rest[0] if rest else "",
        "another": rest[1] if len(rest) > 1 else "",
    }


# --- pictures -----------------------------------------------------------------------------------

# A phrase stands in lists and after "with": it has no comma, no "and", names something that is
# there (not what is absent), and each level has so many that none is in one caption of twenty.

# fmt: off
# Mean CIE L*/100.
LIGHTNESS = Scale(
    (0.23, 0.36, 0.54, 0.69),
    (
        (
            "a very dark tonality", "deep shadow over most of the surface", "tones close to black",
            "a surface sunk in shadow", "an overall darkness", "very low-keyed tones",
        ),
        (
            "a dark tonality", "a shadowy light", "predominantly dark tones", "a dim light",
            "a low-keyed tonality", "tones from the darker half of the scale", "much shadow",
            "a subdued light",
        ),
        (
            "a middle range of light", "mostly middle tones", "a mid-toned tonality",
            "tones of medium depth", "a moderate light", "an even middle light",
            "a tonality of middling depth",
        ),
        (
            "a light tonality", "an airy tonality", "predominantly light tones",
            "tones from the lighter half of the scale", "a bright overall tone", "a clear light",
        ),
        (
            "a very pale tonality", "a high-keyed tonality", "tones close to white",
            "a surface flooded with light", "whitened tones", "extremely light tones",
        ),
    ),
    2,
)
# 95th minus 5th percentile of L*/100.
CONTRAST = Scale(
    (0.47, 0.68, 0.8),
    (
        (
            "soft contrasts", "closely matched tones", "gentle contrasts of tone",
            "a narrow span of tones", "tones that lie close together", "mild tonal steps",
            "subtle gradations of tone",
        ),
        (
            "moderate contrasts", "measured contrasts of tone", "a medium span of tones",
            "contrasts of middling strength", "a moderate tonal range", "mid-sized tonal steps",
            "contrasts of ordinary strength",
        ),
        (
            "strong contrasts of tone", "firm contrasts", "a wide tonal range",
            "pronounced contrasts", "marked tonal contrasts", "bold contrasts", "large tonal steps",
            "decided contrasts of tone",
        ),
        (
            "stark contrasts of tone", "contrasts from near-black to near-white",
            "almost the full span from dark to light", "very strong contrasts",
            "extreme tonal contrasts", "glaring lights beside deep darks", "dramatic contrasts",
            "very large tonal steps",
        ),
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
        (
            "a narrow range of hues", "closely related hues", "a restricted range of hues",
            "hues that lie close together", "hues from one part of the colour circle",
        ),
        ("",),
        (
            "a wide range of hues", "many different hues", "a varied range of hues",
            "hues from all round the colour circle", "widely differing hues",
        ),
    ),
    1,
)
# Bits per pixel as a JPEG, over 3.
DETAIL = Scale(
    (0.33, 0.57),
    (
        (
            "broad passages", "large simple shapes", "smooth passages", "broadly handled areas",
            "large areas of even tone", "sweeping simple forms", "wide calm surfaces",
        ),
        (
            "a moderate amount of detail", "detail of middling density",
            "detail in moderate measure", "a medium density of detail", "moderately fine detail",
            "a middling amount of texture",
        ),
        (
            "dense detail", "a surface full of small detail", "closely worked detail",
            "intricate detail", "finely divided forms", "abundant detail", "many small forms",
            "a closely textured surface", "minute detail",
        ),
    ),
    1,
)
# Lightness of the top half minus the bottom half.
UPPER_LIGHT = Scale(
    (-0.1, 0.12),
    (
        (
            "a lower half lighter than the upper", "light gathered in the lower half",
            "a dark upper half over a lighter lower one", "brightness that increases downwards",
            "darkness towards the top",
        ),
        ("light spread evenly from top to bottom",),
        (
            "an upper half lighter than the lower", "light gathered in the upper half",
            "a light upper half over a darker lower one", "brightness that increases upwards",
            "darkness towards the bottom", "light that falls off downwards",
        ),
    ),
    1,
)
# Lightness of the centre minus the border.
CENTRE_LIGHT = Scale(
    (-0.09, 0.11),
    (
        (
            "a centre darker than its surroundings", "a dark centre against lighter edges",
            "edges lighter than the centre", "borders brighter than the middle",
            "a shadowed middle within lighter borders",
        ),
        ("a centre as light as its edges",),
        (
            "a centre lighter than its surroundings", "a light centre against darker edges",
            "edges darker than the centre", "light drawn towards the centre",
            "a bright middle within darker borders", "darkness round a lit centre",
        ),
    ),
    1,
)
# Correlation of the picture with its mirror image, −1..1.
SYMMETRY = Scale(
    (0.62,),
    (
        ("an asymmetrical layout",),
        (
            "a nearly symmetrical layout", "a layout close to mirror symmetry",
            "halves that nearly mirror each other", "an almost mirrored layout",
            "near-symmetry about the middle",
        ),
    ),
    0,
)
# Shares of gradient energy: ¼, ¼ and ½ when no direction prevails.
LINES: tuple[tuple[str, float, tuple[str, ...]], ...] = (
    (
        "horizontal", 0.46,
        ("marked horizontals", "strong horizontal lines", "lines that run mostly level",
         "a stress on the horizontal"),
    ),
    (
        "vertical", 0.46,
        ("marked verticals", "strong vertical lines", "lines that run mostly upright",
         "a stress on the vertical"),
    ),
    (
        "diagonal", 0.56,
        ("marked diagonals", "strong diagonal lines", "lines that run mostly aslant",
         "a stress on the diagonal"),
    ),
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
        (
            "a loose pulse", "a barely marked pulse", "a faint pulse", "a free-floating rhythm",
            "beats that blur together",
        ),
        (
            "a discernible beat", "a light but steady pulse", "a beat of medium weight",
            "a moderately clear pulse", "an audible pulse", "a gently marked beat",
        ),
        (
            "a strong regular beat", "a clear pulse", "a firmly marked beat", "an emphatic pulse",
            "a rhythm with a steady beat", "a well-defined beat",
        ),
    ),
    1,
)
# RMS level in dB below full scale.
LOUDNESS = Scale(
    (-26.0, -21.0, -13.5, -9.5),
    (
        ("a very quiet level", "a hushed sound", "a faint overall level", "a near-whisper"),
        (
            "a quiet level", "a soft overall level", "a low volume", "a subdued volume",
            "a softly recorded sound",
        ),
        (
            "a moderate volume", "a medium volume", "an average level", "a comfortable level",
            "a volume in the middle range",
        ),
        (
            "a loud overall level", "a full loud sound", "a high volume", "a forceful level",
            "a strong overall volume",
        ),
        ("a very loud sound", "a densely loud sound", "a very high volume", "a near-peak level"),
    ),
    2,
)
# dB between loud and soft moments.
DYNAMICS = Scale(
    (4.0, 10.0, 16.0),
    (
        (
            "a steady volume", "even dynamics", "compressed dynamics", "a nearly constant level",
            "tightly levelled dynamics",
        ),
        (
            "modest swings in volume", "a moderate dynamic range", "gentle swells of volume",
            "dynamics of medium range", "measured changes of level",
        ),
        (
            "wide swings in volume", "a wide dynamic range", "large swells of volume",
            "broad changes of level", "strongly varied dynamics",
        ),
        (
            "dramatic swings of volume", "a very wide dynamic range",
            "extreme changes of level", "great leaps of volume",
        ),
    ),
    1,
)
# dB over the clip.
SLOPE = Scale(
    (-5.0, 5.0),
    (
        (
            "a gradual fade in volume", "a gradual decline in volume", "a level that sinks slowly",
            "a slow decrease of volume",
        ),
        ("",),
        (
            "a gradual rise in volume", "a slow build in volume", "a level that climbs slowly",
            "a slow increase of volume",
        ),
    ),
    1,
)
# Spectral centroid in Hz.
BRIGHTNESS = Scale(
    (900.0, 1150.0, 2000.0, 2500.0),
    (
        ("a dark tone", "a very mellow tone", "a muffled timbre", "a very dark timbre"),
        ("a mellow tone", "a rounded tone", "a soft-edged timbre", "a warm timbre"),
        (
            "a balanced tone", "a tone neither dark nor bright", "a timbre of medium brightness",
            "a neutral tone", "an evenly weighted timbre",
        ),
        ("a bright tone", "a crisp timbre", "a clear-edged tone", "a bright timbre"),
        ("a very bright tone", "a trebly tone", "a sharp timbre", "a glaring timbre"),
    ),
    2,
)
# Share of energy below 150 Hz.
BASS = Scale(
    (0.12, 0.55, 0.75),
    (
        ("a light low end", "a slender bass", "a thin low end", "a lightweight bass"),
        (
            "a moderate low end", "bass of ordinary weight", "a medium bass", "a measured low end",
            "a bass of middling strength",
        ),
        ("a strong bass", "a weighty low end", "a full bass", "a solid low end", "a heavy bass"),
        (
            "a dominant bass", "energy concentrated in the bass", "an overwhelming low end",
            "a bass-heavy balance",
        ),
    ),
    1,
)
# Share of percussive energy.
PERCUSSION = Scale(
    (0.24, 0.45),
    (
        (
            "sustained sounds", "smooth-edged sounds", "long tones", "drawn-out tones",
            "soft attacks",
        ),
        ("",),
        (
            "sharp attacks", "percussive attacks", "a percussive edge", "hard-edged hits",
            "snappy attacks",
        ),
    ),
    1,
)
# Onsets per second.
ONSETS = Scale(
    (2.0, 4.5),
    (
        ("a sparse texture", "widely spaced notes", "events far apart", "an open texture"),
        ("",),
        (
            "rapid successions of notes", "a busy texture", "closely packed notes",
            "notes in quick succession",
        ),
    ),
    1,
)
# Spectral flatness, 0 (pure tones) to 1 (white noise).
NOISINESS = Scale(
    (0.001, 0.03),
    (
        (
            "clearly pitched sounds", "a purely tonal sound", "clean pitches",
            "a sound made of clear tones",
        ),
        ("",),
        ("a noisy grain", "a noise-like texture", "a hissing grain", "much noise in the sound"),
    ),
    1,
)
ROUGHNESS = Scale(
    (0.12, 0.28),
    (
        ("a smooth sonority", "a consonant sound", "a smooth blend", "a mild sonority"),
        ("",),
        ("a rough edge", "a gritty edge", "a harsh edge", "a grating edge"),
    ),
    1,
)

# Octaves above C1 of the energy-weighted log frequency.
HEIGHT = Scale(
    (2.8, 4.3),
    (
        ("a low register", "a sound that lies low", "a deep-lying sound", "low pitches"),
        ("",),
        ("a high register", "a sound that lies high", "high-lying pitches", "high pitches"),
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
