"""The manners of the sample's painters: style, motifs, materials and formats of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numpy.random import Generator
from PIL import Image

from artsound.sample import (
    painters_abstract,
    painters_baroque,
    painters_brush,
    painters_cubism,
    painters_fauvism,
    painters_ink,
    painters_romantic,
    painters_woodblock,
)
from artsound.sample.canvas import Size
from artsound.sample.colour import Mood

WIDE, TALL, SQUARE, LONG = (480, 360), (360, 480), (420, 420), (512, 320)


@dataclass(frozen=True, slots=True)
class Motif:
    """What a picture shows: the painter's word for it, its genre, tags and title nouns."""

    subject: str
    genre: str
    tags: tuple[str, ...]
    nouns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manner:
    """A way of painting, named as ArtGraph names the style."""

    style: str
    paint: Callable[[str, Mood, Generator, Size], Image.Image]
    motifs: tuple[Motif, ...]
    media: tuple[str, ...]
    sizes: tuple[Size, ...]
    years: tuple[int, int]


RIVER = Motif(
    "river", "landscape", ("river", "trees", "water"), ("The River", "Willows", "The Bend")
)
SEA = Motif(
    "sea", "marina", ("seas-and-oceans", "boats-and-ships"), ("Sails", "The Bay", "Regatta")
)
TOWN = Motif(
    "town", "cityscape", ("houses-and-buildings", "boats-and-ships"), ("The Quay", "The Old Port")
)
FIELD = Motif("field", "landscape", ("haystacks", "fields", "sun"), ("Haystacks", "The Plain"))
GARDEN = Motif(
    "garden", "landscape", ("flowers", "trees", "meadow"), ("The Meadow", "Orchard", "Poppies")
)
OIL = ("simulated oil", "digital canvas")

MANNERS = (
    Manner(
        "color field painting",
        painters_abstract.colour_field,
        (
            Motif("hover", "abstract", ("rectangles", "colour fields"), ("Field of",)),
            Motif("clash", "abstract", ("rectangles", "colour fields"), ("Threshold of",)),
        ),
        ("simulated acrylic", "digital canvas"),
        (TALL, (380, 440), SQUARE),
        (1951, 1974),
    ),
    Manner(
        "suprematism",
        painters_abstract.suprematism,
        (
            Motif("disc", "abstract", ("circles", "geometric shapes"), ("Disc of", "Weight of")),
            Motif("cross", "abstract", ("cross", "geometric shapes"), ("Cross of",)),
            Motif("planes", "abstract", ("rectangles", "geometric shapes"), ("Planes of",)),
        ),
        OIL,
        (SQUARE, TALL, WIDE),
        (1913, 1929),
    ),
    Manner(
        "action painting",
        painters_abstract.action_painting,
        (
            Motif("skeins", "abstract", ("drips", "lines"), ("Rhythm of", "Trace of")),
            Motif("stain", "abstract", ("stains", "drips"), ("Pour of", "Trail of")),
        ),
        ("simulated enamel", "digital canvas"),
        (LONG, WIDE, SQUARE),
        (1946, 1969),
    ),
    Manner(
        "op art",
        painters_abstract.op_art,
        (
            Motif("bands", "abstract", ("waves", "lines"), ("Swell of",)),
            Motif("rings", "abstract", ("circles", "lines"), ("Echo of",)),
            Motif("squares", "abstract", ("squares", "geometric shapes"), ("Relay of",)),
        ),
        ("simulated acrylic", "digital board"),
        (SQUARE, WIDE, TALL),
        (1959, 1981),
    ),
    Manner(
        "impressionism",
        painters_brush.impressionism,
        (RIVER, SEA, TOWN, FIELD, GARDEN),
        OIL,
        (WIDE, (440, 360), LONG),
        (1869, 1904),
    ),
    Manner(
        "pointillism",
        painters_brush.pointillism,
        (SEA, RIVER, GARDEN, TOWN),
        OIL,
        (WIDE, (440, 360), LONG),
        (1884, 1910),
    ),
    Manner(
        "post-impressionism",
        painters_brush.post_impressionism,
        (FIELD, GARDEN, RIVER, SEA),
        OIL,
        (WIDE, (400, 440), (440, 360)),
        (1885, 1912),
    ),
    Manner(
        "fauvism",
        painters_fauvism.fauvism,
        (
            Motif(
                "village",
                "landscape",
                ("houses-and-buildings", "trees", "road"),
                ("Village", "The Hamlet"),
            ),
            Motif("harbour", "marina", ("boats-and-ships", "harbour"), ("Harbour", "The Landing")),
            Motif("trees", "landscape", ("trees", "road", "hills"), ("Tall Trees", "The Avenue")),
        ),
        OIL,
        (WIDE, SQUARE, (400, 440)),
        (1904, 1913),
    ),
    Manner(
        "romanticism",
        painters_romantic.romanticism,
        (
            Motif("lake", "landscape", ("mountains", "lake", "sky"), ("The Lake", "Far Shore")),
            Motif(
                "ruin", "landscape", ("ruins", "mountains", "sky"), ("The Ruin", "The Lost Abbey")
            ),
            Motif("valley", "landscape", ("mountains", "trees", "sky"), ("The Valley", "The Pass")),
        ),
        OIL,
        (WIDE, LONG, (400, 440)),
        (1808, 1852),
    ),
    Manner(
        "ukiyo-e",
        painters_woodblock.ukiyo_e,
        (
            Motif(
                "wave",
                "marina",
                ("waves", "seas-and-oceans", "mountains"),
                ("The Wave", "Off the Cape"),
            ),
            Motif(
                "mountain",
                "landscape",
                ("mountains", "pine", "lake"),
                ("The Mountain", "Pine Point"),
            ),
        ),
        ("simulated woodblock", "digital paper"),
        (WIDE, LONG, TALL),
        (1788, 1861),
    ),
    Manner(
        "ink and wash painting",
        painters_ink.ink_wash,
        (
            Motif("peaks", "landscape", ("mountains", "fog", "birds"), ("Peaks", "Cloud Range")),
            Motif(
                "boat",
                "landscape",
                ("mountains", "boats-and-ships", "fog"),
                ("The Ferry", "Lone Boat"),
            ),
            Motif("bamboo", "landscape", ("bamboo", "birds"), ("Bamboo",)),
            Motif("splash", "landscape", ("mountains", "fog"), ("Broken Ink",)),
        ),
        ("simulated ink", "digital paper"),
        (TALL, (320, 480), WIDE),
        (1640, 1790),
    ),
    Manner(
        "cubism",
        painters_cubism.cubism,
        (
            Motif(
                "still life",
                "still life",
                ("musical-instruments", "bottle"),
                ("Guitar and Bottle",),
            ),
            Motif("head", "portrait", ("face", "woman"), ("Head", "The Listener")),
            Motif("roofs", "cityscape", ("houses-and-buildings", "roofs"), ("Roofs", "Hill Town")),
        ),
        OIL,
        (TALL, (400, 440), WIDE),
        (1908, 1922),
    ),
    Manner(
        "baroque",
        painters_baroque.baroque,
        (
            Motif("fruit", "still life", ("fruits", "table"), ("Fruit", "Table with Grapes")),
            Motif(
                "candle", "still life", ("candle", "fruits", "jug"), ("Candle", "Jug and Candle")
            ),
            Motif("jug", "still life", ("jug", "fruits", "table"), ("Jug", "Jug with Fruit")),
        ),
        OIL,
        (WIDE, (400, 440), LONG),
        (1618, 1679),
    ),
)
