"""The rules of eight genres: chords, rhythms, instruments, tempo, room.

Genre ids and titles are FMA's own. Patterns hold one bar in sixteenth notes (16 steps in 4/4, 12 in
3/4; spaces are for the eye), each for calm, middling and wild music:
  comping  C c    whole chord, loud or soft     1..6  one voice of it, from the lowest
           .      let ring                      _     stop
  bass     R      root     3 5 6 7 8  that interval above it     a  lead to the next root
  drums    X x o  accent, normal, soft
"""

from __future__ import annotations

from dataclasses import dataclass

Levels = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Comp:
    """An accompanying part: `register` in semitones from the middle, `gate` the share of a note's
    time that sounds, `strum` the seconds between the notes of a chord, `power` root and fifth only.
    """

    voice: str
    patterns: Levels
    level: float
    register: int = 0
    gate: float = 0.95
    strum: float = 0.0
    reverb: float = 0.25
    drive: bool = False
    power: bool = False


@dataclass(frozen=True, slots=True)
class Genre:
    """How a genre is composed. `home` is the (valence, arousal) that suits it best; `tempo` the
    quarter notes a minute of its calmest and wildest music; `subgenres` FMA's ids and titles for
    both; `swing` the share of a cell of `swing_steps` that its first half takes (0.5 = straight);
    `room` the reverberation time (s) and how much of it.
    """

    title: str
    genre_id: int
    subgenres: tuple[tuple[int, str], tuple[int, str]]
    home: tuple[float, float]
    tempo: tuple[float, float]
    major: tuple[str, ...]
    minor: tuple[str, ...]
    comps: tuple[Comp, ...]
    bass: tuple[str, Levels, float]
    lead: str
    drums: tuple[dict[str, str], dict[str, str], dict[str, str]]
    lead_level: float = 0.8
    lead_density: float = 1.0
    lead_scales: tuple[str, str] = ("major", "minor")
    lead_drive: bool = False
    leaps: float = 0.2
    swing: float = 0.5
    swing_steps: int = 4
    looseness: float = 1.0
    drum_level: float = 0.8
    room: tuple[float, float] = (1.2, 0.5)
    drive: float = 0.0
    dissonance: float = 0.0


# fmt: off
GENRES: tuple[Genre, ...] = (
    Genre(
        "Electronic", 15, ((42, "Ambient Electronic"), (181, "Techno")), (0.25, 0.65), (84, 144),
        major=("I vi IV V", "I IV vi V", "IV V vi I"),
        minor=("i bVI bIII bVII", "i i bVI bVII", "i iv bVI v"),
        comps=(
            Comp("pad", ("C... .... .... ....",) * 3, 0.42, 0, 1.0, reverb=0.5),
            Comp("saw", ("1... 3... 2... 4...", "1.3. 2.4. 3.2. 4.3.", "1324 1342 1324 5342"),
                 0.42, 7, 0.6, reverb=0.3),
        ),
        bass=("synth bass", ("R... .... .... ....", "R.._ ..R. R.._ ..R.", "__R. __R. __R. __R8"),
              0.75),
        lead="square", lead_level=0.42, lead_density=0.8, leaps=0.35, looseness=0.15,
        drums=(
            {"shaker": ".... o... .... o..."},
            {"deep kick": "X... X... X... X...", "hat": "..x. ..x. ..x. ..x.",
             "clap": ".... x... .... x..."},
            {"hard kick": "X... X... X... X...", "hat": "x.ox x.ox x.ox x.ox",
             "open hat": "..X. ..X. ..X. ..X.", "clap": ".... X... .... X..x"},
        ),
        room=(1.8, 0.5),
    ),
    Genre(
        "Rock", 12, ((26, "Post-Rock"), (31, "Metal")), (-0.3, 0.8), (82, 172),
        major=("I IV I V", "I bVII IV I", "I V IV I"),
        minor=("i bVI bVII i", "i i iv bVI", "i bII i bVII"),
        comps=(Comp("electric guitar", ("1... 2... 3... 2...", "C.C. C.C. C.C. C.C.",
                                        "CccC ccCc cCcc CcCc"),
                    0.85, -7, 0.85, 0.006, 0.15, True, power=True),),
        bass=("electric bass", ("R... .... R... ....", "R.R. R.R. R.R. R.5a",
                                "RRRR RRRR RRRR 8R5a"), 0.65),
        lead="electric guitar", lead_level=0.7, lead_drive=True,
        lead_scales=("major pentatonic", "minor pentatonic"), leaps=0.25,
        drums=(
            {"kick": "x... .... x... ....", "ride": "o... o... o... o..."},
            {"kick": "X... ..x. X.x. ....", "snare": ".... X... .... X...",
             "hat": "x.x. x.x. x.x. x.x."},
            {"kick": "X.xx X.xx X.xx X.xx", "snare": ".... X... .... X..X",
             "crash": "X... .... .... ....", "ride": "x.x. x.x. x.x. x.x."},
        ),
        drum_level=0.95, room=(0.9, 0.3), drive=2.2,
    ),
    Genre(
        "Jazz", 4, ((906, "Modern Jazz"), (178, "Be-Bop")), (0.4, 0.0), (74, 196),
        major=("ii9 V13 Imaj9 I6", "Imaj9 vi9 ii9 V13", "I6 VI7b9 ii9 V13"),
        minor=("i9 iv9 iiø7 V7b9", "i9 bVImaj7 iiø7 V7b9", "iiø7 V7b9 i9 i6"),
        comps=(Comp("piano", ("C... .... ..C. ....", "C... ..C. .... ..C.", "..C. .C.. C._. ..C."),
                    0.5, -1, 0.7, 0.004),),
        bass=("upright bass", ("R... .... 5... ....", "R... 3... 5... a...",
                               "R..5 3..5 5..3 7..a"), 0.8),
        lead="saxophone", lead_level=0.62, lead_density=1.25, leaps=0.3,
        lead_scales=("major", "dorian"), swing=0.64, looseness=1.3,
        drums=(
            {"brush": "o... x... o... x..."},
            {"ride": "x... x..x x... x..x", "hat": ".... x... .... x...",
             "brush": "o... .... .... ..o."},
            {"ride": "X... X..x X... X..x", "hat": ".... X... .... X...",
             "kick": "x... ..o. .... .x..", "snare": "..o. ...o .x.. ..o."},
        ),
        drum_level=0.5, room=(0.7, 0.4),
    ),
    Genre(
        "Classical", 5, ((442, "Chamber Music"), (444, "Symphony")), (0.1, -0.25), (58, 150),
        major=("I IV V I", "I vi ii V", "I V vi IV", "I ii V7 I"),
        minor=("i iv V i", "i bVI iv V", "i iio V7 i", "i bVII bVI V"),
        comps=(
            Comp("strings", ("C... .... .... ....", "C... .... C... ....",
                             "C... C... C.C. C.C."), 0.5, -5, 1.0, reverb=0.5),
            Comp("cello", ("1... .... 3... ....", "1.3. 2.3. 1.3. 2.3.",
                           "1323 1323 1323 1323"), 0.4, -7, 0.9, reverb=0.4),
        ),
        bass=("cello", ("R... .... .... ....", "R... .... 5... ....", "R.R. R.R. R.R. R.a."), 0.55),
        lead="violin", lead_level=0.72, lead_density=0.9, leaps=0.25,
        lead_scales=("major", "harmonic"), looseness=1.6,
        drums=({}, {}, {"timpani": "X... ..o. x... oxox", "crash": "o... .... .... ...."}),
        drum_level=0.55, room=(2.4, 0.8),
    ),
    Genre(
        "Folk", 17, ((103, "Singer-Songwriter"), (180, "British Folk")), (0.35, -0.4), (72, 156),
        major=("I IV I V", "I V vi IV", "I V IV I"),
        minor=("i bVII i v", "i bVI bVII i", "i bIII bVII i"),
        comps=(Comp("nylon guitar", ("1... 3... 4...", "1.3. 2.4. 3.4.", "C.c. C.cc C.cc"),
                    0.75, -3, 1.0, 0.012, 0.2),),
        bass=("nylon guitar", ("R... .... ....", "R... .... 5...", "R... 5... 8.a."), 0.65),
        lead="flute", lead_level=0.6, lead_density=0.85, lead_scales=("major", "dorian"),
        leaps=0.15, looseness=1.6, drum_level=0.45, room=(0.9, 0.4),
        drums=({}, {"shaker": "o... x... x..."},
               {"kick": "X... .... x...", "shaker": "..x. X.x. X.x."}),
    ),
    Genre(
        "Hip-Hop", 21, ((580, "Abstract Hip-Hop"), (811, "Hip-Hop Beats")), (-0.2, 0.25), (66, 112),
        major=("Imaj7 vi7 ii7 V7", "IVmaj7 iii7 ii7 Imaj7"),
        minor=("i7 bVImaj7 i7 bVII", "i7 iv7 i7 v7", "i9 i9 bVImaj7 v7"),
        comps=(Comp("electric piano", ("C... .... .... ....", "C... ..c. .... ....",
                                       "C.._ ..C. .._. C..."), 0.6, 0, 0.9, 0.01),),
        bass=("sub bass", ("R... .... ..R. ....", "R..R .... ..R. .5..",
                           "R..R ..R. .R8. ..5a"), 0.85),
        lead="square", lead_level=0.25, lead_density=0.6, leaps=0.4,
        lead_scales=("major pentatonic", "minor pentatonic"), swing=0.58, swing_steps=2,
        drums=(
            {"deep kick": "x... .... ..x. ....", "rim": ".... x... .... x...",
             "crackle": "o.o. .o.. ..o. o..o"},
            {"deep kick": "X..x .... ..X. ....", "fat snare": ".... X... .... X...",
             "hat": "x.x. x.x. x.x. x.xx", "crackle": ".o.. o..o .o.. ..o."},
            {"deep kick": "X..X ..x. .xX. ..x.", "fat snare": ".... X..o .o.. X..x",
             "hat": "xxxx x.xx xxxx xxxx", "open hat": ".... ..x. .... ..x."},
        ),
        drum_level=1.0, room=(0.6, 0.25),
    ),
    Genre(
        "Experimental", 38, ((47, "Drone"), (32, "Noise")), (-0.65, -0.2), (50, 132),
        major=("Isus2 Isus2 IVsus2 Isus2", "Iadd9 bVIIadd9 Iadd9 Vsus4"),
        minor=("ib2 ib2 bII+ ib2", "io io #ivo io", "ib2 #ivo ib2 bii"),
        comps=(
            Comp("drone", ("C... .... .... ....",) * 3, 0.6, -7, 1.05, reverb=0.6),
            Comp("bell", ("4... .... .... ....", "4... ..2. .... 5...",
                          "4..2 ..5. 3..6 .1.."), 0.4, 12, 1.0, reverb=0.8),
        ),
        bass=("drone", ("R... .... .... ....", "R... .... .... ....", "R... .... R... ...."), 0.6),
        lead="clarinet", lead_level=0.4, lead_density=0.5, leaps=0.6, looseness=4.0,
        lead_scales=("major", "phrygian"),
        drums=(
            {"gong": "o... .... .... ...."},
            {"gong": "x... .... .... ....", "rim": "...o .... ..o. ...x"},
            {"gong": "X... .... .... ....", "burst": "..x. ...X .x.. x.x.",
             "hard kick": "X..x .x.. X... .xx.", "rim": "x.xx .x.x xx.x .xxx"},
        ),
        drum_level=0.7, room=(3.2, 1.0), drive=0.8, dissonance=0.5,
    ),
    Genre(
        "Pop", 10, ((10, "Pop"), (362, "Synth Pop")), (0.75, 0.6), (76, 138),
        major=("I V vi IV", "I vi IV V", "vi IV I V"),
        minor=("i bVI bIII bVII", "i bIII bVII iv", "i v bVI bVII"),
        comps=(
            Comp("piano", ("C... .... C... ....", "C... C... C... C...", "C.C. C.C. C.C. C.C."),
                 0.55, 0, 0.85, 0.004),
            Comp("square", (".... .... .... ....", "..1. ..2. ..3. ..2.", "1.2. 3.4. 1.2. 3.4."),
                 0.22, 12, 0.5, reverb=0.4),
        ),
        bass=("synth bass", ("R... .... R... ....", "R... ..R. R... ..R.",
                             "R.8. R.8. R.8. R.8."), 0.75),
        lead="voice", lead_level=0.65, lead_density=0.95, leaps=0.2, looseness=0.5,
        drums=(
            {"rim": ".... x... .... x...", "kick": "x... .... x... ...."},
            {"kick": "X... ..x. X... ....", "clap": ".... X... .... X...",
             "hat": "x.x. x.x. x.x. x.x."},
            {"deep kick": "X... X... X... X...", "clap": ".... X... .... X...",
             "open hat": "..x. ..x. ..x. ..x.", "shaker": "x.xx x.xx x.xx x.xx"},
        ),
        drum_level=0.85, room=(1.2, 0.35),
    ),
)
# fmt: on
