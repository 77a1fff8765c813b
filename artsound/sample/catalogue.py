"""The imaginary museum: who painted which picture, when, in what manner and in what mood."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace

from artsound.sample.canvas import Size
from artsound.sample.manners import MANNERS, Manner, Motif
from artsound.sample.plane import spread

WORKS = 104

# None of them ever lived. Two painters share each manner, and two of them work in two manners,
# so that a split by painter leaves every manner in more than one place.
PAINTERS: dict[str, tuple[str, ...]] = {
    "color field painting": ("Marko Pixelthko", "Helena Softedge"),
    "suprematism": ("Polina Quadratova", "Kazik Rectangel"),
    "action painting": ("Splash Dripson", "Lee Tracework"),
    "op art": ("Polina Quadratova", "Bridget Moirelle"),
    "impressionism": ("Ada Raster", "Claude Bytonet"),
    "pointillism": ("Ada Raster", "Dotty van Halftone"),
    "post-impressionism": ("Vincenzo Vortexi", "Paula Swirlguin"),
    "fauvism": ("Andre Palettain", "Gamma Wildbrush"),
    "romanticism": ("Caspar Gradientrich", "Ossian Fogwell"),
    "ukiyo-e": ("Namimaru Synthisai", "Katsura Bezierige"),
    "ink and wash painting": ("Shen Noisefu", "Mei Alphablend"),
    "cubism": ("Pablito Facetto", "Georgine Shardque"),
    "baroque": ("Chiara Scurezza", "Lambert van Shade"),
}

MOODS: dict[str, tuple[str, ...]] = {
    "bright wild": (
        "on a Feast Day",
        "in a Fresh Wind",
        "in High Spirits",
        "with Brass Band",
        "in Jubilation",
        "after Good News",
    ),
    "dark wild": (
        "before the Storm",
        "in Alarm",
        "in a Fury",
        "in Revolt",
        "in a Fever",
        "under Threat",
    ),
    "dark calm": (
        "at Nightfall",
        "in Silence",
        "in Mourning",
        "in Solitude",
        "in the Last Light",
        "at the End of Winter",
    ),
    "bright calm": (
        "in Mild Weather",
        "at Rest",
        "in a Still Hour",
        "in the Morning",
        "in Good Company",
        "on a Quiet Day",
    ),
}
FEELINGS: dict[str, tuple[str, ...]] = {
    "bright wild": ("Jubilation", "Carnival", "Fanfare", "Dance", "Laughter", "Arrival"),
    "dark wild": ("Alarm", "Fury", "Collision", "Fever", "Revolt", "Panic"),
    "dark calm": ("Mourning", "Solitude", "Deep Rest", "Farewell", "Winter", "Waiting"),
    "bright calm": ("Ease", "Breath", "Quiet Joy", "Trust", "Early Hours", "Shelter"),
}

# What is wrong with the file of a work, by its number: a page of HTML, a JPEG cut short, a sound
# picture in CMYK, a thumbnail, no file at all, and the same bytes under a second name.
FAULTS = {17: "html", 31: "cut", 45: "cmyk", 59: "thumbnail", 73: "absent", 87: "copy"}
COPIED = 87 - 2 * len(MANNERS)

# ArtGraph's emotions are those of ArtEmis; each is given to the corner where its viewers put it.
EMOTIONS: dict[str, tuple[str, ...]] = {
    "bright wild": ("excitement", "amusement"),
    "dark wild": ("anger", "fear"),
    "dark calm": ("sadness",),
    "bright calm": ("contentment", "awe"),
}


@dataclass(frozen=True, slots=True)
class Work:
    """One picture of the sample: everything that its layout says, and what it is painted from."""

    file: str
    painter: str
    title: str
    year: int
    manner: Manner
    motif: Motif
    size: Size
    valence: float
    arousal: float
    emotions: tuple[str, ...]
    period: str
    seed: tuple[int, int]
    fault: str = ""


def painter_slug(text: str) -> str:
    """Lower-case words joined by hyphens, as in ArtGraph's file names."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def corner(valence: float, arousal: float) -> str:
    """The quarter of the affect plane: "bright wild", "dark wild", "dark calm", "bright calm"."""
    return ("bright" if valence >= 0 else "dark") + (" wild" if arousal >= 0 else " calm")


def emotions(valence: float, arousal: float) -> tuple[str, ...]:
    """What viewers would feel: nothing certain in the middle, two feelings far out."""
    reach = max(abs(valence), abs(arousal))
    if reach < 0.2:
        return ("something else",)
    felt = EMOTIONS[corner(valence, arousal)]
    return felt if reach > 0.75 else felt[:1]


def _title(motif: Motif, mood: str, rng: random.Random) -> str:
    noun = rng.choice(motif.nouns)
    phrases = FEELINGS if motif.genre == "abstract" else MOODS
    return f"{noun} {rng.choice(phrases[mood])}"


def plan_museum(seed: int) -> list[Work]:
    """All works of the sample, in the order of their file names."""
    motifs = {}
    for manner in MANNERS:
        tiled = [manner.motifs[i % len(manner.motifs)] for i in range(WORKS // len(MANNERS) + 1)]
        random.Random(f"motifs {seed} {manner.style}").shuffle(tiled)
        motifs[manner.style] = tiled
    works: list[Work] = []
    taken: set[str] = set()
    for number, (valence, arousal) in enumerate(spread(WORKS, seed)):
        if FAULTS.get(number) == "copy":
            original = works[COPIED]
            works.append(replace(original, file=f"{original.file[:-4]}-1.jpg", fault="copy"))
            continue
        rng = random.Random(f"work {seed} {number}")
        manner = MANNERS[number % len(MANNERS)]
        turn = number // len(MANNERS)
        painter = PAINTERS[manner.style][turn % 2]
        motif = motifs[manner.style][turn]
        title = _title(motif, corner(valence, arousal), rng)
        year = rng.randint(*manner.years)
        name = f"{painter_slug(painter)}_{painter_slug(title)}"
        while f"{name}-{year}.jpg" in taken:
            year += 1
        taken.add(f"{name}-{year}.jpg")
        late = year > sum(manner.years) / 2
        works.append(
            Work(
                file=f"{name}-{year}.jpg",
                painter=painter,
                title=title,
                year=year,
                manner=manner,
                motif=motif,
                size=rng.choice(manner.sizes),
                valence=valence,
                arousal=arousal,
                emotions=emotions(valence, arousal),
                period=("late period" if late else "early period") if turn % 2 else "",
                seed=(seed, number),
                fault=FAULTS.get(number, ""),
            )
        )
    return sorted(works, key=lambda work: work.file)
