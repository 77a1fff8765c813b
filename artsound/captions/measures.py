"""Words for measurements, with the thresholds at which they apply.

A scale divides one descriptor into levels, low to high, and gives each level a few noun phrases of
the same meaning. The middle level is unremarkable; the further a level is from it, the more a
caption prefers to mention it. The checks of models' captions use the same levels.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
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
    """The facts `traits`, f1, f2, f3 and `spare` of a plan, from three or more features.

    The most remarkable come first, equals in a drawn order. f1 and f2 are always there, f3 only if
    it is remarkable; `traits` joins two or three of them; `spare` is another one, if any.
    """
    drawn = sorted(
        shuffled_options(seed, "features", features), key=lambda feature: -feature.strength
    )
    said = [feature.phrase for feature in drawn[: 3 if drawn[2].strength > 0 else 2]]
    return {
        "traits": listing(said[: pick(seed, "traits", (2, 3))]),
        "f1": said[0],
        "f2": said[1],
        "f3": said[2] if len(said) > 2 else "",
        "spare": drawn[len(said)].phrase if len(said) < len(drawn) else "",
    }


# --- pictures -----------------------------------------------------------------------------------

# Mean CIE L*/100.
LIGHTNESS = Scale(
    (0.23, 0.36, 0.54, 0.69),
    (
        ("a very dark tonality", "deep shadow over most of the surface"),
        ("a dark tonality", "a low, shadowy light", "predominantly dark tones"),
        ("a middle range of light", "mostly middle tones", "a mid-toned tonality"),
        ("a light tonality", "a light, open tonality", "predominantly light tones"),
        ("a very pale tonality", "a pale, high-keyed tonality"),
    ),
    2,
)
# 95th minus 5th percentile of L*/100.
CONTRAST = Scale(
    (0.47, 0.68, 0.8),
    (
        ("soft contrasts", "closely matched tones", "little contrast of light and dark"),
        ("moderate contrasts", "measured contrasts of light and dark"),
        ("strong contrasts of light and dark", "firm contrasts"),
        ("stark contrasts of light and dark", "contrasts from near-black to near-white"),
    ),
    1,
)
# Mean C*/100, used as an adjective of the palette. (HSV saturation would call dark browns vivid.)
CHROMA = Scale(
    (0.045, 0.1, 0.19, 0.26),
    (("near-monochrome",), ("muted", "subdued"), ("",), ("rich",), ("vivid", "strong")),
    2,
)
COLOURED = 0.06  # mean C*/100 from which hue, warm or cool, is worth a word
# Chroma-weighted warm minus cool, −1..1; paintings are warm as a rule.
WARMTH = Scale((0.0, 0.75), (("cool",), ("",), ("warm",)), 1)
# Entropy of the hues, 0..1.
HUES = Scale(
    (0.33, 0.63),
    (
        ("a narrow range of hues", "few hues"),
        ("",),
        ("a wide range of hues", "many different hues"),
    ),
    1,
)
# Bits per pixel as a JPEG, over 3.
DETAIL = Scale(
    (0.33, 0.57),
    (
        ("broad, smooth passages", "large, simple shapes", "little fine detail"),
        ("a moderate amount of detail", "detail of middling density"),
        ("fine, dense detail", "a surface full of small detail"),
    ),
    1,
)
# Lightness of the top half minus the bottom half.
UPPER_LIGHT = Scale(
    (-0.1, 0.12),
    (
        ("a lower half lighter than the upper", "light gathered in the lower half"),
        ("light spread evenly from top to bottom",),
        ("an upper half lighter than the lower", "light gathered in the upper half"),
    ),
    1,
)
# Lightness of the centre minus the border.
CENTRE_LIGHT = Scale(
    (-0.09, 0.11),
    (
        ("a centre darker than its surroundings", "a dark centre against lighter edges"),
        ("centre and edges of like lightness",),
        ("a centre lighter than its surroundings", "a light centre against darker edges"),
    ),
    1,
)
# Correlation of the picture with its mirror image, −1..1.
SYMMETRY = Scale((0.62,), (("an asymmetrical layout",), ("a nearly symmetrical layout",)), 0)
# Shares of gradient energy: ¼, ¼ and ½ when no direction prevails.
LINES: tuple[tuple[str, float, str], ...] = (
    ("horizontal", 0.46, "marked horizontals"),
    ("vertical", 0.46, "marked verticals"),
    ("diagonal", 0.56, "marked diagonals"),
)


def layout(d: ArtworkDescriptors, seed: str) -> list[Feature]:
    """What is remarkable in the composition: places of light, symmetry, directions of lines."""
    found = [
        UPPER_LIGHT.say(seed, "upper", d.upper_light),
        CENTRE_LIGHT.say(seed, "centre", d.centre_light),
        SYMMETRY.say(seed, "symmetry", d.symmetry),
    ]
    for field, share, phrase in LINES:
        if getattr(d, field) >= share:
            found.append(Feature(1, phrase))
    return [feature for feature in found if feature.strength > 0]


# --- music --------------------------------------------------------------------------------------

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
        ("a loose, faint pulse", "a barely marked pulse"),
        ("a discernible beat", "a light but steady pulse"),
        ("a strong, regular beat", "a clear, steady pulse"),
    ),
    1,
)
# RMS level in dB below full scale.
LOUDNESS = Scale(
    (-26.0, -21.0, -13.5, -9.5),
    (
        ("a very quiet level", "a hushed sound"),
        ("a quiet level", "a soft overall level"),
        ("a moderate volume", "a medium volume"),
        ("a loud overall level", "a full, loud sound"),
        ("a very loud sound", "a dense, very loud sound"),
    ),
    2,
)
# dB between loud and soft moments.
DYNAMICS = Scale(
    (4.0, 10.0, 16.0),
    (
        ("hardly any change in volume", "even, compressed dynamics"),
        ("modest swings in volume", "a moderate dynamic range"),
        ("wide swings in volume", "a wide dynamic range"),
        ("dramatic swings between soft and loud", "a very wide dynamic range"),
    ),
    1,
)
# dB over the clip.
SLOPE = Scale(
    (-5.0, 5.0),
    (
        ("a gradual fade in volume", "a gradual decline in volume"),
        ("",),
        ("a gradual rise in volume", "a slow build in volume"),
    ),
    1,
)
# Spectral centroid in Hz.
BRIGHTNESS = Scale(
    (900.0, 1150.0, 2000.0, 2500.0),
    (
        ("a dark, muffled tone", "a very mellow tone"),
        ("a mellow tone", "a warm, rounded tone"),
        ("a balanced tone", "a tone neither dark nor bright"),
        ("a bright tone", "a crisp, bright timbre"),
        ("a very bright, trebly tone", "a sharp, glaring timbre"),
    ),
    2,
)
# Share of energy below 150 Hz.
BASS = Scale(
    (0.12, 0.55, 0.75),
    (
        ("very little bass", "a light low end"),
        ("a moderate low end", "bass of ordinary weight"),
        ("a strong bass", "a weighty low end"),
        ("a dominant bass", "energy concentrated in the bass"),
    ),
    1,
)
# Share of percussive energy.
PERCUSSION = Scale(
    (0.24, 0.45),
    (
        ("sustained, smooth-edged sounds", "long tones rather than sharp attacks"),
        ("",),
        ("sharp, percussive attacks", "a percussive edge"),
    ),
    1,
)
# Onsets per second.
ONSETS = Scale(
    (2.0, 4.5),
    (
        ("few note onsets", "a sparse texture", "widely spaced notes"),
        ("",),
        ("rapid successions of notes", "a busy texture"),
    ),
    1,
)
# Spectral flatness, 0 (pure tones) to 1 (white noise).
NOISINESS = Scale(
    (0.001, 0.03),
    (
        ("clearly pitched sounds", "a purely tonal sound"),
        ("",),
        ("a noisy grain", "a noise-like texture"),
    ),
    1,
)
ROUGHNESS = Scale(
    (0.12, 0.28),
    (
        ("a smooth sonority", "a smooth, consonant sound"),
        ("",),
        ("a rough, gritty edge", "a harsh, grating edge"),
    ),
    1,
)

# Octaves above C1 of the energy-weighted log frequency.
HEIGHT = Scale(
    (2.8, 4.3),
    (
        ("a low register", "a sound that lies low"),
        ("",),
        ("a high register", "a sound that lies high"),
    ),
    1,
)

AROUSAL_LEVELS = (-0.3, 0.3)
VALENCE_LEVELS = (-0.4, 0.4)
MOODS: tuple[tuple[tuple[str, ...], ...], ...] = (  # by arousal, then by valence
    (
        ("melancholy", "subdued and wistful"),
        ("calm", "subdued", "restrained"),
        ("gentle", "peaceful"),
    ),
    (
        ("sombre", "pensive", "brooding"),
        ("even-tempered", "poised"),
        ("light-hearted", "sunny", "good-humoured"),
    ),
    (
        ("tense", "restless and dark"),
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


def mood(d: TrackDescriptors, seed: str) -> Feature:
    """The mood word of a clip by its quadrant of valence and arousal."""
    valence, arousal = music_affect(d)
    row, column = bisect_right(AROUSAL_LEVELS, arousal), bisect_right(VALENCE_LEVELS, valence)
    return Feature(abs(row - 1) + abs(column - 1), pick(seed, "mood", MOODS[row][column]))


def _deviation(value: float, usual: float, spread: float) -> float:
    return max(-1.5, min(1.5, (value - usual) / spread))
