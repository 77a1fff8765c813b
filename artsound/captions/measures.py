"""Words for measured facts, with the thresholds at which each becomes true.

Every scale cuts one descriptor into levels, low to high, and gives each level a few noun phrases
that mean the same. The middle level is unremarkable; the further a level lies from it, the more
a caption prefers to say it. The checks of other captioners' texts use the same levels.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from artsound.captions.phrasing import pick
from artsound.records import ArtworkDescriptors, TrackDescriptors


@dataclass(frozen=True)
class Scale:
    """Levels of one descriptor: `phrases[i]` holds from `edges[i-1]` to below `edges[i]`."""

    edges: tuple[float, ...]
    phrases: tuple[tuple[str, ...], ...]
    middle: int

    def level(self, value: float) -> int:
        """Where `value` lies, from −middle (lowest) over 0 (unremarkable) upwards."""
        return bisect_right(self.edges, value) - self.middle

    def say(self, seed: str, what: str, value: float) -> Feature:
        """The phrase for `value`, with how remarkable it is."""
        phrases = self.phrases[bisect_right(self.edges, value)]
        return Feature(abs(self.level(value)), pick(seed, what, phrases))


@dataclass(frozen=True)
class Feature:
    """Something measured, in words; `strength` 0 is the ordinary case."""

    strength: float
    phrase: str


# --- pictures -----------------------------------------------------------------------------------

# Mean CIE L*/100.
LIGHTNESS = Scale(
    (0.22, 0.36, 0.62, 0.76),
    (
        ("a very dark tonality", "deep shadow over most of the surface"),
        ("a dark tonality", "a low, shadowy light"),
        ("a middle range of light", "an even middle tone"),
        ("a light tonality", "a light, open tonality"),
        ("a very pale tonality", "a pale, high-keyed tonality"),
    ),
    2,
)
# 95th minus 5th percentile of L*/100.
CONTRAST = Scale(
    (0.4, 0.72, 0.85),
    (
        ("soft contrasts", "closely matched tones", "little contrast of light and dark"),
        ("moderate contrasts", "measured contrasts of light and dark"),
        ("strong contrasts of light and dark", "firm contrasts"),
        ("stark contrasts of light and dark", "contrasts from near-black to near-white"),
    ),
    1,
)
# Mean HSV saturation, used as an adjective of the palette.
SATURATION = Scale(
    (0.12, 0.27, 0.5, 0.66),
    (("near-monochrome",), ("muted", "subdued"), ("",), ("rich",), ("vivid", "intense")),
    2,
)
# Chroma-weighted warm minus cool area, −1..1; said only where there is chroma to speak of.
WARMTH = Scale((-0.25, 0.6), (("cool",), ("",), ("warm",)), 1)
WARMTH_MIN_SATURATION = 0.15
# Share of high spatial frequency.
FINENESS = Scale(
    (0.2, 0.55),
    (
        ("broad, smooth passages", "large, soft-edged shapes"),
        ("a moderate amount of detail", "detail of middling scale"),
        ("fine, dense detail", "a finely worked surface"),
    ),
    1,
)
# Lightness of the top half minus the bottom half.
UPPER_LIGHT = Scale(
    (-0.12, 0.12),
    (
        ("a lower half lighter than the upper", "light gathered in the lower half"),
        ("light spread evenly from top to bottom",),
        ("an upper half lighter than the lower", "light gathered in the upper half"),
    ),
    1,
)
# Lightness of the centre minus the border.
CENTRE_LIGHT = Scale(
    (-0.12, 0.12),
    (
        ("a centre darker than its surroundings", "a dark centre against lighter edges"),
        ("centre and edges of like lightness",),
        ("a centre lighter than its surroundings", "a light centre against darker edges"),
    ),
    1,
)
# Correlation of the picture with its mirror image, −1..1.
SYMMETRY = Scale((0.75,), (("an asymmetrical layout",), ("a nearly symmetrical layout",)), 0)
# Shares of gradient energy; a third each when no direction prevails.
DIRECTION_SHARE = 0.48


def layout(d: ArtworkDescriptors, seed: str) -> list[Feature]:
    """What stands out in the composition: where the light lies, symmetry, the run of the lines."""
    found = [
        UPPER_LIGHT.say(seed, "upper", d.upper_light),
        CENTRE_LIGHT.say(seed, "centre", d.centre_light),
        SYMMETRY.say(seed, "symmetry", d.symmetry),
    ]
    for share, phrase in (
        (d.horizontal, "mainly horizontal lines"),
        (d.vertical, "mainly vertical lines"),
        (d.diagonal, "mainly diagonal lines"),
    ):
        if share >= DIRECTION_SHARE:
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
KEY_MIN_CLARITY = 0.6
# 0..1.
PULSE = Scale(
    (0.2, 0.55),
    (
        ("a loose, faint pulse", "little sense of a steady beat"),
        ("a discernible beat", "a light but steady pulse"),
        ("a strong, regular beat", "a clear, steady pulse"),
    ),
    1,
)
# RMS level in dB below full scale.
LOUDNESS = Scale(
    (-30.0, -22.0, -13.0, -9.0),
    (
        ("a very quiet level", "a hushed level"),
        ("a quiet level", "a soft overall level"),
        ("a moderate level", "an ordinary listening level"),
        ("a loud level", "a full, loud sound"),
        ("a very loud level", "a dense, very loud sound"),
    ),
    2,
)
# dB between loud and soft moments.
DYNAMICS = Scale(
    (6.0, 16.0, 25.0),
    (
        ("hardly any change in volume", "a level, compressed dynamic"),
        ("modest swings in volume", "a moderate dynamic range"),
        ("wide swings in volume", "a wide dynamic range"),
        ("dramatic swings between soft and loud", "a very wide dynamic range"),
    ),
    1,
)
# dB over the clip.
SLOPE = Scale(
    (-6.0, 6.0),
    (
        ("a gradual fade in volume", "a gradual decline in volume"),
        ("a volume that holds steady",),
        ("a gradual rise in volume", "a slow build in volume"),
    ),
    1,
)
# Spectral centroid in Hz.
BRIGHTNESS = Scale(
    (900.0, 1500.0, 2600.0, 3600.0),
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
    (0.06, 0.4, 0.65),
    (
        ("very little bass", "a light low end"),
        ("a moderate low end",),
        ("a strong bass", "a weighty low end"),
        ("a dominant bass", "energy concentrated in the bass"),
    ),
    1,
)
# Share of percussive energy.
PERCUSSION = Scale(
    (0.12, 0.4),
    (
        ("sustained, smooth-edged sounds", "long tones rather than sharp attacks"),
        ("a mix of sustained and struck sounds",),
        ("sharp, percussive attacks", "a percussive edge"),
    ),
    1,
)
# Onsets per second.
ONSETS = Scale(
    (1.6, 4.5),
    (
        ("few note onsets", "a sparse texture"),
        ("a steady flow of notes",),
        ("rapid successions of notes", "a busy texture"),
    ),
    1,
)
# Spectral flatness, 0 (pure tones) to 1 (white noise).
NOISINESS = Scale(
    (0.0002, 0.06),
    (
        ("clearly pitched sounds", "a purely tonal sound"),
        ("a blend of tone and noise",),
        ("a noisy grain", "a noise-like texture"),
    ),
    1,
)
ROUGHNESS = Scale(
    (0.1, 0.5),
    (
        ("a smooth sonority",),
        ("a slight roughness",),
        ("a rough, gritty edge", "a harsh, grating edge"),
    ),
    1,
)

AROUSAL_LEVELS = (-0.5, 0.5)
VALENCE_LEVELS = (-0.35, 0.35)
MOODS: tuple[tuple[tuple[str, ...], ...], ...] = (  # by arousal, then by valence
    (("melancholy", "subdued, wistful"), ("calm", "subdued"), ("gentle", "peaceful")),
    (("sombre", "pensive"), ("even-tempered", "poised"), ("light-hearted", "sunny")),
    (("tense", "restless, dark"), ("energetic", "driving"), ("lively", "upbeat")),
)


def music_affect(d: TrackDescriptors) -> tuple[float, float]:
    """(valence, arousal) of a clip, each about −1..1, on a fixed scale for choosing mood words.

    Arousal rises with energy, event density, tempo and brightness of timbre; valence with the
    major mode as far as a key is heard at all (the directions that the literature behind the
    affect bridge agrees on). Each term is a deviation from an ordinary clip in units of a usual
    spread, cut at ±1.5; only the sign and rough size are used.
    """
    arousal = (
        _deviation(d.loudness, -17.0, 6.0)
        + _deviation(d.onset_rate, 3.0, 1.5)
        + _deviation(d.tempo, 110.0, 30.0) * min(1.0, d.pulse_clarity / 0.5)
        + _deviation(d.centroid, 2000.0, 900.0)
    ) / 4
    mode = 1.0 if d.mode == "major" else -1.0
    valence = 0.7 * mode * min(1.0, d.key_clarity) + 0.3 * arousal
    return valence, arousal


def mood(d: TrackDescriptors, seed: str) -> Feature:
    """The mood word of a clip by its quadrant of valence and arousal."""
    valence, arousal = music_affect(d)
    row, column = bisect_right(AROUSAL_LEVELS, arousal), bisect_right(VALENCE_LEVELS, valence)
    return Feature(abs(row - 1) + abs(column - 1), pick(seed, "mood", MOODS[row][column]))


def _deviation(value: float, usual: float, spread: float) -> float:
    return max(-1.5, min(1.5, (value - usual) / spread))
