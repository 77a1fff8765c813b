"""The dimensions on which pictures and music meet, and what the literature says of each.

An axis is a weighted sum of standardised descriptors on either side. Where a study gives an
equation for standardised variables, its coefficients stand as printed; where it gives the order
of predictors or the size of correlations, they are rounded to tenths. B and S of Valdez &
Mehrabian are Munsell value and chroma, so here L* and C*, not the V and S of HSV (whose S is high
in any dark brown).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """One shared dimension: its weight in the score, and the descriptors that speak for it."""

    name: str
    weight: float
    artwork: Mapping[str, float]
    track: Mapping[str, float]
    sources: str


# The rest weigh little: with emotion partialled out, low-level matches between colour and music
# vanish (Whiteford et al. 2018); they decide between pairs that arousal and valence leave equal.
AXES: tuple[Axis, ...] = (
    Axis(
        name="arousal",
        weight=1.0,
        artwork={
            "chroma": 0.60,
            "lightness": -0.15,
            "redness": 0.2,
            "colourfulness": 0.2,
            "contrast": 0.2,
            "edge_density": 0.3,
            "complexity": 0.2,
            "diagonal": 0.1,
        },
        track={
            "loudness": 0.5,
            "onset_rate": 0.4,
            "tempo": 0.3,
            "centroid": 0.3,
            "flux": 0.3,
            "percussiveness": 0.2,
            "roughness": 0.2,
            "flatness": 0.2,
            "pulse_clarity": 0.1,
        },
        sources="Pictures: arousal = -0.31 B + 0.60 S (Valdez & Mehrabian 1994), with B halved "
        "because Wilms & Oberfeld (2018) find the opposite sign, who add red over blue and green; "
        "contrast, edges, oblique lines and complexity raise it (Berlyne, Aesthetics and "
        "Psychobiology, 1971; Machajdik & Hanbury 2010). Music: loudness, tempo, onset density, "
        "brightness of timbre, roughness (Schubert, Music Percept. 21, 2004; Gabrielsson & "
        "Lindström in Juslin & Sloboda 2010; Eerola, Lartillot & Toiviainen, ISMIR 2009).",
    ),
    Axis(
        name="valence",
        weight=1.0,
        artwork={
            "lightness": 0.69,
            "chroma": 0.22,
            "yellowness": 0.3,
        },
        track={
            "majorness": 0.6,
            "tempo": 0.3,
            "pulse_clarity": 0.2,
            "key_clarity": 0.2,
            "roughness": -0.3,
            "pitch_height": 0.2,
        },
        sources="Pictures: pleasure = 0.69 B + 0.22 S (Valdez & Mehrabian 1994); happy music is "
        "matched with lighter, yellower, more saturated colours (Palmer et al. 2013; Lindborg & "
        "Friberg 2015). Music: mode first, then tempo (Gagnon & Peretz, Cogn. Emot. 17, 2003), "
        "pulse and key clarity, consonance (Eerola et al. 2009), higher register (Gabrielsson & "
        "Lindström 2010).",
    ),
    Axis(
        name="potency",
        weight=0.2,
        artwork={"lightness": -0.76, "chroma": 0.32, "redness": 0.2, "contrast": 0.2},
        track={"loudness": 0.5, "bass": 0.4, "flatness": 0.3, "roughness": 0.3, "centroid": 0.2},
        sources="Pictures: dominance = -0.76 B + 0.32 S (Valdez & Mehrabian 1994). Loud, punchy, "
        "distorted music goes with darker, redder, more saturated colours (Whiteford et al. 2018).",
    ),
    Axis(
        name="height",
        weight=0.2,
        artwork={"lightness": 1.0, "upper_light": 0.2},
        track={"pitch_height": 0.7, "bass": -0.5, "centroid": 0.2},
        sources="Higher pitch is lighter and higher up (Marks, J. Exp. Psychol.: HPP 13, 1987; "
        "Ward, Huckstep & Tsakanikos, Cortex 42, 2006; Spence, Atten. Percept. Psychophys. 73, "
        "2011); low, bass-heavy sound is dark.",
    ),
    Axis(
        name="activity",
        weight=0.2,
        artwork={"complexity": 0.5, "edge_density": 0.4, "hue_entropy": 0.3, "fineness": 0.2},
        track={"onset_rate": 0.6, "flux": 0.4, "bandwidth": 0.2, "percussiveness": 0.2},
        sources="Event density against visual complexity: both are Berlyne's (1971) collative "
        "variables; variety of hues as the activity of a palette (Gao & Xin 2006).",
    ),
    Axis(
        name="warmth",
        weight=0.15,
        artwork={"warmth": 0.7, "redness": 0.3, "yellowness": 0.3},
        track={"centroid": -0.4, "flatness": -0.3, "majorness": 0.4, "bass": 0.2},
        sources="Warm-cool as a colour-emotion factor (Gao & Xin 2006; Ou et al. 2004). Warm is "
        "said of timbres with little energy high up (Eitan & Rothschild, Psychol. Music 39, 2011), "
        "and major goes with yellower, minor with bluer colours (Palmer et al. 2013).",
    ),
    Axis(
        name="contrast",
        weight=0.1,
        artwork={"contrast": 0.7, "lightness_spread": 0.5},
        track={"dynamic_range": 0.8, "loudness_slope": 0.1},
        sources="Loudness is matched with brightness contrast (Marks 1987): the range of one "
        "with the range of the other.",
    ),
)
