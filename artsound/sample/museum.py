"""The sample's imaginary museum: who painted what, in which manner and mood, and its files."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from PIL import Image

from artsound.sample import painters
from artsound.sample.canvas import Mood, Size
from artsound.sample.plane import corner, spread

WORKS = 104
WIDE, TALL, SQUARE, LONG, BROAD = (480, 360), (360, 480), (420, 420), (512, 320), (440, 360)


@dataclass(frozen=True, slots=True)
class Motif:
    """What a picture shows: the painter's word for it, its genre, tags and title nouns."""

    subject: str
    genre: str
    tags: tuple[str, ...]
    nouns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manner:
    """A way of painting, named as ArtGraph names the style, and the three painters who have it."""

    style: str
    painters: tuple[str, str, str]
    paint: Callable[[str, Mood, Generator, Size], Image.Image]
    media: tuple[str, str]
    sizes: tuple[Size, ...]
    years: tuple[int, int]
    motifs: tuple[Motif, ...]


# fmt: off
BOATS = "boats-and-ships"
RIVER = Motif("river", "landscape", ("river", "trees", "water"), ("The River in", "Willows in"))
SEA = Motif("sea", "marina", ("seas-and-oceans", BOATS), ("Sails in", "The Bay in", "Regatta in"))
TOWN = Motif("town", "cityscape", ("houses-and-buildings", BOATS), ("The Quay in", "The Port in"))
FIELD = Motif("field", "landscape", ("haystacks", "fields", "sun"), ("Haystacks in", "Corn in"))
OIL, ACRYLIC = ("simulated oil", "digital canvas"), ("simulated acrylic", "digital canvas")
INK = ("simulated ink", "digital paper")

# No painter named here ever lived. Three share each manner, so that a split by painter leaves every
# manner in more than one place; two of them work in two manners.
MANNERS = (
    Manner("color field painting", ("Marko Pixelthko", "Helena Softedge", "Barnet Bandman"),
        painters.colour_field, ACRYLIC, (TALL, (380, 440), SQUARE), (1951, 1974),
        (Motif("hover", "abstract", ("rectangles", "colour fields"), ("Field of",)),
         Motif("clash", "abstract", ("rectangles", "colour fields"), ("Threshold of",)))),
    Manner("suprematism", ("Polina Quadratova", "Kazik Rectangel", "El Bitsky"),
        painters.suprematism, OIL, (SQUARE, TALL, WIDE), (1913, 1929),
        (Motif("disc", "abstract", ("circles", "geometric shapes"), ("Disc of", "Weight of")),
         Motif("cross", "abstract", ("cross", "geometric shapes"), ("Cross of",)),
         Motif("planes", "abstract", ("rectangles", "geometric shapes"), ("Planes of",)))),
    Manner("op art", ("Vic Kilobyte", "Bridget Moirelle", "Polina Quadratova"),
        painters.op_art, ACRYLIC, (SQUARE, WIDE, TALL), (1959, 1981),
        (Motif("bands", "abstract", ("waves", "lines"), ("Swell of",)),
         Motif("rings", "abstract", ("circles", "lines"), ("Echo of",)))),
    Manner("impressionism", ("Ada Raster", "Claude Bytonet", "Berthe Mosaicot"),
        painters.impressionism, OIL, (WIDE, BROAD, LONG), (1869, 1904), (RIVER, SEA, TOWN, FIELD)),
    Manner("pointillism", ("Ada Raster", "Dotty van Halftone", "Paul Dithac"),
        painters.pointillism, OIL, (WIDE, BROAD, LONG), (1884, 1910), (SEA, RIVER, FIELD, TOWN)),
    Manner("post-impressionism", ("Vincenzo Vortexi", "Paula Swirlguin", "Emil Curlnard"),
        painters.post_impressionism, OIL, (WIDE, BROAD), (1885, 1912), (FIELD, TOWN, RIVER, SEA)),
    Manner("ink and wash painting", ("Shen Noisefu", "Mei Alphablend", "Xia Kernel"),
        painters.ink_wash, INK, (TALL, (320, 480), WIDE), (1640, 1790),
        (Motif("peaks", "landscape", ("mountains", "fog", "birds"), ("Peaks in", "Cliffs in")),
         Motif("bamboo", "landscape", ("bamboo", "birds"), ("Bamboo in",)))),
    Manner("cubism", ("Pablito Facetto", "Georgine Shardque", "Juana Trigris"),
        painters.cubism, OIL, (TALL, (400, 440), WIDE), (1908, 1922),
        (Motif("still life", "still life", ("guitar", "bottle"), ("Guitar and Bottle in",)),
         Motif("head", "portrait", ("face", "woman"), ("Head in", "The Listener in")))),
)

# The second half of a title, by corner of the affect plane.
FEELINGS = {
    "bright wild": ("Jubilation", "High Spirits", "Gladness", "Laughter", "Celebration"),
    "dark wild": ("Alarm", "Fury", "Fever", "Revolt", "Panic"),
    "dark calm": ("Mourning", "Solitude", "Silence", "Sorrow", "Twilight"),
    "bright calm": ("Repose", "Quiet Joy", "Trust", "Ease", "Peace"),
}
# fmt: on

# ArtGraph's emotions are those of ArtEmis; each is given to the corner where its viewers put it.
EMOTIONS = {
    "bright wild": ("excitement", "amusement"),
    "dark wild": ("anger", "fear"),
    "dark calm": ("sadness",),
    "bright calm": ("contentment", "awe"),
}

# What is wrong with the file of a work, by its number: a page of HTML, a JPEG cut short, a usable
# picture in CMYK, a thumbnail, no file at all, and the same bytes under a second name.
FAULTS = {17: "html", 31: "cut", 45: "cmyk", 59: "thumbnail", 73: "absent", 87: "copy"}
COPIED = 87 - 2 * len(MANNERS)

USABLE = ("", "cmyk", "copy")
"""The faults of works whose files are usable all the same."""

HTML = (
    "<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head>\n"
    "<body><h1>Not Found</h1><p>The synthetic museum has lost this picture.</p></body></html>\n"
)
COMMENT = b"synthetic picture, painted by code (artsound sample)"


@dataclass(frozen=True, slots=True)
class Work:
    """One picture of the sample: all that its layout says, and what it is painted from."""

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
    return text.lower().replace(" ", "-")


def plan_museum(seed: int, count: int = WORKS) -> list[Work]:
    """All `count` works of the sample, in the order of their file names."""
    motifs = {}
    for manner in MANNERS:
        tiled = [manner.motifs[i % len(manner.motifs)] for i in range(count // len(MANNERS) + 1)]
        random.Random(f"motifs {seed} {manner.style}").shuffle(tiled)
        motifs[manner.style] = tiled
    works: list[Work] = []
    taken: set[str] = set()
    for number, (valence, arousal) in enumerate(spread(count, seed)):
        if FAULTS.get(number) == "copy":
            original = works[COPIED]
            works.append(replace(original, file=f"{original.file[:-4]}-1.jpg", fault="copy"))
            continue
        rng = random.Random(f"work {seed} {number}")
        manner = MANNERS[number % len(MANNERS)]
        turn = number // len(MANNERS)
        motif = motifs[manner.style][turn]
        title = f"{rng.choice(motif.nouns)} {rng.choice(FEELINGS[corner(valence, arousal)])}"
        year = rng.randint(*manner.years)
        painter = manner.painters[turn % 3]
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
                emotions=_emotions(valence, arousal),
                period=("late period" if late else "early period") if turn % 2 else "",
                seed=(seed, number),
                fault=FAULTS.get(number, ""),
            )
        )
    return sorted(works, key=lambda work: work.file)


def _emotions(valence: float, arousal: float) -> tuple[str, ...]:
    """What viewers would feel: nothing certain in the middle, two feelings far out."""
    reach = max(abs(valence), abs(arousal))
    if reach < 0.2:
        return ("something else",)
    felt = EMOTIONS[corner(valence, arousal)]
    return felt if reach > 0.75 else felt[:1]


def paint(work: Work) -> Image.Image:
    """The picture (RGB, at most 512 pixels a side) of a work, the same for the same work."""
    rng = np.random.default_rng(work.seed)
    return work.manner.paint(work.motif.subject, Mood(work.valence, work.arousal), rng, work.size)


def picture_bytes(work: Work) -> bytes | None:
    """The content of the work's file: a JPEG, or what its ``fault`` made of it.

    "html" is a web page, "cut" a JPEG that ends half-way, "thumbnail" one of 40 × 30 pixels,
    "absent" no file (None). "cmyk" is a usable JPEG in four inks; "copy" equals its original.
    """
    if work.fault == "html":
        return HTML.encode()
    if work.fault == "absent":
        return None
    image = paint(work)
    if work.fault == "thumbnail":
        image = image.resize((40, 30))
    if work.fault == "cmyk":
        image = image.convert("CMYK")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, comment=COMMENT)
    data = buffer.getvalue()
    return data[: len(data) // 2] if work.fault == "cut" else data
