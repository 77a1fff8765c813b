"""The instruments and drums of the sample clips, as numbers for synth.py."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Voice:
    """A pitched instrument.

    Harmonic h starts at h^−tilt (even ones times `even`), raised around the `formants` (Hz, width
    in octaves, gain), dies away by exp(−damp·(h−1)·t) and comes in over bloom·√h seconds. The whole
    follows attack, decay (time constant; 0 = none) to `sustain`, release (s). `vibrato` and
    `detune` are in cents, `breath` is noise relative to a tone of 0.25 RMS. With `partials`
    (ratio, level, decay in s) these replace the harmonics.
    """

    tilt: float = 1.0
    even: float = 1.0
    formants: tuple[tuple[float, float, float], ...] = ()
    damp: float = 0.0
    bloom: float = 0.0
    attack: float = 0.006
    decay: float = 0.0
    sustain: float = 0.0
    release: float = 0.12
    vibrato: float = 0.0
    detune: float = 0.0
    breath: float = 0.0
    harmonics: int = 40
    partials: tuple[tuple[float, float, float], ...] = ()


# fmt: off
VOICES: dict[str, Voice] = {
    # Struck and plucked strings
    "piano": Voice(tilt=1.25, damp=0.45, decay=1.1, attack=0.004, release=0.25, detune=1.2),
    "electric piano": Voice(tilt=2.3, damp=1.6, decay=1.4, release=0.2, vibrato=6, even=0.5),
    "nylon guitar": Voice(tilt=1.15, damp=0.9, decay=0.9, attack=0.003, release=0.1),
    "steel guitar": Voice(tilt=0.85, damp=0.7, decay=1.0, attack=0.002, release=0.1),
    "banjo": Voice(tilt=0.6, damp=1.5, decay=0.28, attack=0.002, release=0.06, harmonics=32),
    "oud": Voice(
        tilt=0.8, damp=1.3, decay=0.5, attack=0.002, release=0.08, formants=((520, 0.7, 1.5),)
    ),
    "harp": Voice(tilt=1.7, damp=0.5, decay=1.3, attack=0.003, release=0.4),
    "electric guitar": Voice(tilt=0.9, damp=0.35, decay=2.4, attack=0.004, release=0.08),
    "upright bass": Voice(tilt=1.3, damp=1.1, decay=0.7, attack=0.008, release=0.08, harmonics=16),
    "electric bass": Voice(tilt=1.1, damp=0.7, decay=1.4, attack=0.005, release=0.07, harmonics=24),
    # Bowed
    "violin": Voice(
        tilt=1.05, bloom=0.035, attack=0.07, release=0.15, vibrato=22, formants=((2600, 0.6, 1.2),)
    ),
    "fiddle": Voice(
        tilt=0.9, bloom=0.015, attack=0.03, release=0.08, vibrato=14, formants=((2200, 0.6, 1.5),)
    ),
    "strings": Voice(tilt=1.2, bloom=0.05, attack=0.18, release=0.4, detune=7, harmonics=28),
    "cello": Voice(tilt=1.2, bloom=0.03, attack=0.08, release=0.2, vibrato=14, harmonics=30),
    # Blown
    "flute": Voice(tilt=2.2, attack=0.06, release=0.1, vibrato=16, breath=0.03, harmonics=10),
    "saxophone": Voice(
        tilt=1.05, bloom=0.02, attack=0.03, release=0.09, vibrato=18, breath=0.02,
        formants=((900, 0.6, 1.4), (2400, 0.5, 0.8)),
    ),
    "brass": Voice(tilt=0.95, bloom=0.07, attack=0.025, release=0.08, harmonics=30),
    "horn": Voice(tilt=1.6, bloom=0.08, attack=0.07, release=0.2, harmonics=20),
    "clarinet": Voice(tilt=1.2, even=0.15, attack=0.035, release=0.1, vibrato=8, harmonics=24),
    "zurna": Voice(
        tilt=0.65, attack=0.02, release=0.06, vibrato=26, formants=((1500, 0.5, 2.0),), harmonics=30
    ),
    "harmonica": Voice(
        tilt=0.8, bloom=0.02, attack=0.03, release=0.08, vibrato=20, detune=4,
        formants=((1800, 0.7, 1.0),),
    ),
    "voice": Voice(
        tilt=1.4, attack=0.06, release=0.12, vibrato=22, breath=0.015,
        formants=((650, 0.35, 4.0), (1100, 0.3, 3.0), (2800, 0.3, 1.5)),
    ),
    # Keys and circuits
    "organ": Voice(tilt=0.8, attack=0.012, release=0.06, vibrato=8, harmonics=8),
    "saw": Voice(tilt=0.95, damp=0.8, attack=0.004, decay=0.5, sustain=0.25, release=0.1, detune=6),
    "square": Voice(tilt=1.0, even=0.0, attack=0.004, decay=0.6, sustain=0.4, release=0.1),
    "pad": Voice(tilt=1.35, attack=0.35, release=0.7, detune=8, harmonics=24),
    "drone": Voice(tilt=1.0, even=0.6, attack=0.9, release=1.2, detune=11, harmonics=32),
    "sub bass": Voice(tilt=2.4, attack=0.012, decay=1.6, sustain=0.5, release=0.08, harmonics=6),
    "synth bass": Voice(tilt=1.0, damp=1.4, attack=0.004, decay=0.5, sustain=0.4, release=0.05),
    # Bars and bells
    "vibraphone": Voice(
        attack=0.003, release=0.5, partials=((1, 1.0, 1.6), (4, 0.25, 0.5), (10, 0.06, 0.15))
    ),
    "marimba": Voice(
        attack=0.002, release=0.2, partials=((1, 1.0, 0.4), (4, 0.3, 0.12), (9.2, 0.12, 0.05))
    ),
    "bell": Voice(
        attack=0.002, release=1.2,
        partials=((0.5, 0.3, 2.5), (1, 0.8, 1.8), (1.19, 0.5, 1.3), (2.0, 0.5, 0.9),
                  (2.74, 0.35, 0.6), (3.76, 0.25, 0.4), (5.4, 0.15, 0.2)),
    ),
    "scrape": Voice(
        attack=0.01, release=0.3,
        partials=((1, 0.7, 0.5), (1.41, 0.6, 0.4), (2.09, 0.5, 0.35), (3.17, 0.5, 0.25),
                  (4.43, 0.4, 0.2), (6.11, 0.35, 0.15), (8.7, 0.25, 0.1)),
        breath=0.12,
    ),
}
# fmt: on


@dataclass(frozen=True, slots=True)
class Hit:
    """A drum: a tone swept between two frequencies (Hz), noise in a band, metal partials (Hz)."""

    seconds: float
    tone: float = 0.0
    sweep: tuple[float, float] = (0.0, 0.0)
    sweep_time: float = 0.03
    tone_decay: float = 0.1
    noise: float = 0.0
    band: tuple[float, float] = (200.0, 8000.0)
    noise_decay: float = 0.08
    metal: tuple[float, ...] = ()
    attack: float = 0.001


_CYMBAL = (3170.0, 4230.0, 5410.0, 6190.0, 7430.0, 8870.0)

HITS: dict[str, Hit] = {
    "kick": Hit(0.35, 1.0, (150, 52), 0.022, 0.11, noise=0.04, noise_decay=0.008),
    "deep kick": Hit(0.6, 1.0, (130, 44), 0.03, 0.22, noise=0.03, noise_decay=0.006),
    "hard kick": Hit(0.3, 1.0, (230, 50), 0.018, 0.1, noise=0.12, noise_decay=0.01),
    "snare": Hit(0.3, 0.5, (240, 185), 0.02, 0.07, 0.35, (900, 8500), 0.09),
    "fat snare": Hit(0.35, 0.6, (210, 160), 0.02, 0.09, 0.3, (500, 6000), 0.12),
    "brush": Hit(0.3, noise=0.4, band=(1200, 6500), noise_decay=0.09, attack=0.02),
    "rim": Hit(0.1, 0.6, (900, 820), 0.01, 0.015, 0.2, (1500, 7000), 0.01),
    "clap": Hit(0.3, noise=0.5, band=(900, 4500), noise_decay=0.07, attack=0.006),
    "hat": Hit(0.09, noise=0.3, band=(7500, 13000), noise_decay=0.02, metal=_CYMBAL[3:]),
    "open hat": Hit(0.4, noise=0.3, band=(6500, 13000), noise_decay=0.12, metal=_CYMBAL[3:]),
    "ride": Hit(0.8, noise=0.16, band=(5000, 12000), noise_decay=0.25, metal=_CYMBAL),
    "crash": Hit(1.6, noise=0.4, band=(2500, 12000), noise_decay=0.5, metal=_CYMBAL, attack=0.002),
    "shaker": Hit(0.12, noise=0.4, band=(5000, 12000), noise_decay=0.03, attack=0.015),
    "tambourine": Hit(0.25, noise=0.2, band=(6000, 13000), noise_decay=0.06, metal=_CYMBAL[2:]),
    "tom": Hit(0.45, 1.0, (170, 105), 0.05, 0.16, 0.05, (300, 3000), 0.03),
    "low tom": Hit(0.6, 1.0, (120, 72), 0.05, 0.22, 0.05, (200, 2500), 0.03),
    "timpani": Hit(1.2, 1.0, (98, 87), 0.06, 0.5, 0.06, (150, 1500), 0.04, attack=0.003),
    "dum": Hit(0.45, 1.0, (130, 88), 0.03, 0.16, 0.06, (300, 3000), 0.02),
    "tek": Hit(0.12, 0.4, (520, 470), 0.01, 0.03, 0.4, (2000, 9000), 0.025),
    "ka": Hit(0.1, 0.3, (620, 580), 0.01, 0.02, 0.3, (2500, 9000), 0.018),
    "stomp": Hit(0.4, 0.8, (110, 60), 0.03, 0.1, 0.3, (80, 900), 0.08),
    "block": Hit(0.12, 1.0, (1050, 1000), 0.01, 0.025),
    "gong": Hit(
        2.5,
        noise=0.08,
        band=(150, 2500),
        noise_decay=0.9,
        metal=(92, 131, 187, 244, 331, 419, 566),
        attack=0.02,
    ),
    "burst": Hit(0.5, noise=0.6, band=(300, 9000), noise_decay=0.14, attack=0.004),
    "crackle": Hit(0.03, noise=0.5, band=(2500, 9000), noise_decay=0.004),
}
