"""The sample's instruments and drums as numbers, and how a score becomes sound with them.

Pitched notes read a small table of waveforms, one per moment of the note, built from harmonics that
each decay at their own rate: one rule gives plucked strings, pianos, bows, reeds and pads. Drums
are swept tones with filtered noise. Equal notes are computed once per clip; the mix gets a room
and is mastered to the score's loudness.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy import fft, ndimage

Samples = NDArray[np.float32]

SAMPLE_RATE = 32_000  # Hz: enough for cymbals up to 14 kHz at half the cost of 44.1 kHz stereo

_TABLE_BITS = 12
_TABLE = 1 << _TABLE_BITS  # points in one period: the nearest one is off by −68 dB at most
_MOMENTS = 14  # waveforms along a note whose harmonics decay
_CEILING = 0.78  # peak after mastering: leaves 2 dB for what MP3 adds
_BLOCK = 512  # samples: the limiter's grain, 16 ms


# --- the score -------------------------------------------------------------------------


class Note(NamedTuple):
    """One sound: when it starts and how long it is held (s), its MIDI pitch, velocity 0..1.

    A drum note names its `hit` and has no pitch.
    """

    start: float
    seconds: float
    pitch: float
    velocity: float
    hit: str = ""


@dataclass(frozen=True, slots=True)
class ScorePart:
    """The notes of one player: a voice of VOICES, or "drums".

    `reverb` is the share sent to the room, 0..1; `drive` whether it passes through the overdrive.
    """

    voice: str
    notes: tuple[Note, ...]
    level: float
    reverb: float = 0.0
    drive: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """A composed clip. `brightness` −1..1, `cutoff` Hz, `loudness` dBFS RMS of the master."""

    parts: tuple[ScorePart, ...]
    seconds: float
    tempo: float
    tonic: int
    mode: str
    brightness: float
    cutoff: float
    loudness: float
    reverb_seconds: float
    drive: float


# --- the instruments -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Voice:
    """A pitched instrument.

    Harmonic h starts at h^−tilt (even ones times `even`), raised around the `formants` (Hz, width
    in octaves, gain), dies away by exp(−damp·(h−1)·t) and comes in over bloom·√h seconds. The whole
    follows attack, decay (time constant; 0 = none) to `sustain`, release (s). `vibrato` and
    `detune` are in cents, `breath` is noise relative to a tone of 0.25 RMS.
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


# fmt: off
VOICES: dict[str, Voice] = {
    # Struck and plucked strings
    "piano": Voice(tilt=1.25, damp=0.45, decay=1.1, attack=0.004, release=0.25, detune=1.2),
    "electric piano": Voice(tilt=2.3, damp=1.6, decay=1.4, release=0.2, vibrato=6, even=0.5),
    "nylon guitar": Voice(tilt=1.15, damp=0.9, decay=0.9, attack=0.003, release=0.1),
    "electric guitar": Voice(tilt=0.9, damp=0.35, decay=2.4, attack=0.004, release=0.08),
    "upright bass": Voice(tilt=1.3, damp=1.1, decay=0.7, attack=0.008, release=0.08, harmonics=16),
    "electric bass": Voice(tilt=1.1, damp=0.7, decay=1.4, attack=0.005, release=0.07, harmonics=24),
    # Bowed
    "violin": Voice(
        tilt=1.05, bloom=0.035, attack=0.07, release=0.15, vibrato=22, formants=((2600, 0.6, 1.2),)
    ),
    "strings": Voice(tilt=1.2, bloom=0.05, attack=0.18, release=0.4, detune=7, harmonics=28),
    "cello": Voice(tilt=1.2, bloom=0.03, attack=0.08, release=0.2, vibrato=14, harmonics=30),
    # Blown
    "flute": Voice(tilt=2.2, attack=0.06, release=0.1, vibrato=16, breath=0.03, harmonics=10),
    "saxophone": Voice(
        tilt=1.05, bloom=0.02, attack=0.03, release=0.09, vibrato=18, breath=0.02,
        formants=((900, 0.6, 1.4), (2400, 0.5, 0.8)),
    ),
    "clarinet": Voice(tilt=1.2, even=0.15, attack=0.035, release=0.1, vibrato=8, harmonics=24),
    "voice": Voice(
        tilt=1.4, attack=0.06, release=0.12, vibrato=22, breath=0.015,
        formants=((650, 0.35, 4.0), (1100, 0.3, 3.0), (2800, 0.3, 1.5)),
    ),
    # Keys and circuits
    "saw": Voice(tilt=0.95, damp=0.8, attack=0.004, decay=0.5, sustain=0.25, release=0.1, detune=6),
    "square": Voice(tilt=1.0, even=0.0, attack=0.004, decay=0.6, sustain=0.4, release=0.1),
    "pad": Voice(tilt=1.35, attack=0.35, release=0.7, detune=8, harmonics=24),
    "drone": Voice(tilt=1.0, even=0.6, attack=0.9, release=1.2, detune=11, harmonics=32),
    "sub bass": Voice(tilt=2.4, attack=0.012, decay=1.6, sustain=0.5, release=0.08, harmonics=6),
    "synth bass": Voice(tilt=1.0, damp=1.4, attack=0.004, decay=0.5, sustain=0.4, release=0.05),
    # Bells
    "bell": Voice(tilt=0.9, even=0.25, damp=0.5, decay=1.1, attack=0.002, release=1, harmonics=14),
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
_GONG = (92.0, 131.0, 187.0, 244.0, 331.0, 419.0, 566.0)

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
    "timpani": Hit(1.2, 1.0, (98, 87), 0.06, 0.5, 0.06, (150, 1500), 0.04, attack=0.003),
    "gong": Hit(2.5, noise=0.08, band=(150, 2500), noise_decay=0.9, metal=_GONG, attack=0.02),
    "burst": Hit(0.5, noise=0.6, band=(300, 9000), noise_decay=0.14, attack=0.004),
    "crackle": Hit(0.03, noise=0.5, band=(2500, 9000), noise_decay=0.004),
}


# --- mixing ----------------------------------------------------------------------------


def render(score: Score) -> Samples:
    """The sound of a score: mono float32 at SAMPLE_RATE, |x| < 0.8, at the score's loudness."""
    length = round(score.seconds * SAMPLE_RATE)
    dry, driven, send = (np.zeros(length + SAMPLE_RATE // 2, np.float32) for _ in range(3))
    cache: dict[tuple[str, str | float, int], Samples] = {}
    for part in score.parts:
        bus = np.zeros_like(dry)
        for note in part.notes:
            # Lengths in steps of 20 ms, so that humanised copies of a note are one note.
            key = (part.voice, note.hit or note.pitch, max(2, round(note.seconds * 50)))
            if key not in cache:
                cache[key] = (
                    drum(note.hit)
                    if note.hit
                    else tone(VOICES[part.voice], note.pitch, key[2] / 50, score.brightness)
                )
            start = max(0, round(note.start * SAMPLE_RATE))
            sound = cache[key][: len(bus) - start]
            bus[start : start + len(sound)] += np.float32(note.velocity**1.5) * sound
        bus *= np.float32(part.level)
        (driven if part.drive else dry)[:] += bus
        if part.reverb:
            send += np.float32(part.reverb) * bus
    if score.drive > 0:
        driven = _overdrive(driven, score.drive)
    mixed = _room(dry + driven, send, score.reverb_seconds, score.cutoff)[:length]
    return _master(mixed, score.loudness)


# --- pitched notes ---------------------------------------------------------------------


def tone(voice: Voice, pitch: float, seconds: float, brightness: float = 0.0) -> Samples:
    """One note, `seconds` long plus its release, about 0.25 RMS while it sounds.

    `pitch` is a MIDI number; `brightness` −1..1 shifts the balance of low and high harmonics.
    """
    length = round((seconds + voice.release) * SAMPLE_RATE)
    wave = _harmonics(voice, 440.0 * 2.0 ** ((pitch - 69.0) / 12.0), length, brightness)
    if voice.breath:
        wave = wave + np.float32(voice.breath) * np.resize(_noise(400.0, 6000.0), length)
    return wave * _envelope(voice, round(seconds * SAMPLE_RATE), length)


def _envelope(voice: Voice, held: int, length: int) -> Samples:
    """Attack, decay towards the sustain level, release from `held` on; begins and ends at zero."""
    time = np.arange(length, dtype=np.float32) / SAMPLE_RATE
    if voice.decay:
        envelope = voice.sustain + (1.0 - voice.sustain) * np.exp(-time / voice.decay)
    else:
        envelope = np.ones(length, np.float32)
    attack = min(round(voice.attack * SAMPLE_RATE), held)
    envelope[:attack] *= _half_cosine(attack)
    envelope[held:] *= _half_cosine(length - held)[::-1] ** 2
    return envelope.astype(np.float32)


@lru_cache(maxsize=64)
def _half_cosine(length: int) -> Samples:
    """A smooth rise from 0 to 1."""
    return (0.5 - 0.5 * np.cos(np.pi * np.arange(length) / max(1, length))).astype(np.float32)


def _harmonics(voice: Voice, frequency: float, length: int, brightness: float) -> Samples:
    count = int(min(voice.harmonics, 0.42 * SAMPLE_RATE / frequency))
    number = np.arange(1, max(1, count) + 1)
    tilt = max(0.3, voice.tilt - 0.35 * brightness)
    amplitude = number**-tilt * np.where(number % 2 == 0, voice.even, 1.0)
    for centre, octaves, gain in voice.formants:
        distance = np.log2(number * frequency / centre) / octaves
        amplitude = amplitude * (1.0 + gain * np.exp(-0.5 * distance**2))
    amplitude /= np.sqrt(np.sum(amplitude**2) / 2) / 0.25
    # Closer together at the start, where most of the change is.
    moments = np.linspace(0.0, 1.0, _MOMENTS) ** 2 * length / SAMPLE_RATE
    damping = voice.damp * 2.0**-brightness * (number - 1)
    bloom = 1.0 - np.exp(-(moments[:, None] + 0.01) / (voice.bloom * np.sqrt(number) + 1e-9))
    spectrum = np.zeros((len(moments), _TABLE // 2 + 1), np.complex64)
    # Spread phases keep the crest of the wave low; quadratic ones are the classic choice.
    phase = np.exp(1j * np.pi * number**2 / len(number))
    spectrum[:, number] = amplitude * phase * np.exp(-moments[:, None] * damping) * bloom
    table = fft.irfft(spectrum, axis=1).astype(np.float32) * np.float32(_TABLE / 2)

    wave = np.zeros(length, np.float32)
    spread = (-voice.detune, voice.detune) if voice.detune else (0.0,)
    for index, cents in enumerate(spread):
        phases = _phases(frequency * 2.0 ** (cents / 1200.0), length, voice.vibrato, index)
        wave += _read(table, phases)
    return wave / np.float32(np.sqrt(len(spread)))


def _phases(frequency: float, length: int, vibrato: float, index: int) -> NDArray[np.uint32]:
    """Position in the table at every sample. `vibrato` in cents, at 5.3 Hz, fading in."""
    # One turn is 2^32, so that unsigned numbers wrap where the wave does.
    increment = np.uint32(round(frequency / SAMPLE_RATE * 2**32))
    turns = np.arange(length, dtype=np.uint32) * increment + np.uint32(0.37 * index * 2**32)
    if vibrato:
        time = np.arange(length, dtype=np.float32) / np.float32(SAMPLE_RATE)
        depth = frequency * vibrato / 1200.0 * np.log(2.0) / (2.0 * np.pi * 5.3) * 2**32
        sway = np.sin(np.float32(2 * np.pi * 5.3) * time) * np.clip(time * 2.5 - 0.4, 0, 1)
        turns += (sway * np.float32(depth)).astype(np.int64).astype(np.uint32)
    return turns >> np.uint32(32 - _TABLE_BITS)


def _read(table: Samples, phases: NDArray[np.uint32]) -> Samples:
    """The wave read from the table, fading from each row to the next along the note."""
    rows = len(table) - 1
    position = np.sqrt(np.linspace(0.0, 1.0, len(phases), dtype=np.float32)) * np.float32(rows)
    row = np.minimum(position.astype(np.uint32), np.uint32(rows - 1))
    flat = table.ravel()
    here = (row << np.uint32(_TABLE_BITS)) + phases
    lower = flat[here]
    return lower + (position - row) * (flat[here + np.uint32(_TABLE)] - lower)


# --- drums -----------------------------------------------------------------------------


@lru_cache(maxsize=128)
def drum(name: str) -> Samples:
    """One hit of a drum or cymbal, its peak about 0.9 (read only: it is shared)."""
    hit = HITS[name]
    length = round(hit.seconds * SAMPLE_RATE)
    time = np.arange(length) / SAMPLE_RATE
    wave = np.zeros(length)
    if hit.tone:  # a sine that falls from one frequency to another while it dies away
        start, end = hit.sweep
        fall = (start - end) * hit.sweep_time * (1.0 - np.exp(-time / hit.sweep_time))
        wave += np.sin(2 * np.pi * (end * time + fall)) * hit.tone * np.exp(-time / hit.tone_decay)
    if hit.noise:
        low, high = hit.band
        wave += hit.noise * np.resize(_noise(low, high), length) * np.exp(-time / hit.noise_decay)
    for index, partial in enumerate(hit.metal):
        wave += 0.16 * np.sin(2 * np.pi * partial * time + index) * np.exp(-time / hit.noise_decay)
    wave *= np.minimum(1.0, time / hit.attack)
    wave[-800:] *= _half_cosine(800)[::-1]
    wave *= 0.9 / np.max(np.abs(wave))
    sound = wave.astype(np.float32)
    sound.setflags(write=False)
    return sound


@lru_cache(maxsize=64)
def _noise(low: float, high: float) -> Samples:
    """Four seconds of noise between two frequencies (Hz), 1 RMS, always the same."""
    count = 4 * SAMPLE_RATE
    white = np.random.default_rng([int(low), int(high)]).standard_normal(count)
    frequency = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    with np.errstate(divide="ignore"):
        shape = 1 / np.sqrt((1 + (low / frequency) ** 4) * (1 + (frequency / high) ** 4))
    noise = np.fft.irfft(np.fft.rfft(white) * shape)
    return (noise / noise.std()).astype(np.float32)


# --- mixing ----------------------------------------------------------------------------


def _overdrive(bus: Samples, drive: float) -> Samples:
    """Soft clipping, asymmetric as a valve's, at the level it came in with."""
    level = float(np.sqrt(np.mean(bus**2))) + 1e-9
    pushed = np.tanh(bus * np.float32(drive / level) + np.float32(0.2)) - np.float32(np.tanh(0.2))
    after = float(np.sqrt(np.mean(pushed**2))) + 1e-9
    return pushed * np.float32(level / after)


@lru_cache(maxsize=32)
def _room_spectrum(seconds: float, size: int) -> NDArray[np.complex64]:
    """Spectrum of a room: noise of middle pitch that dies away by 60 dB in `seconds`."""
    echo = _noise(150.0, 3500.0)[: round(min(seconds, 3.5) * SAMPLE_RATE)].copy()
    echo *= np.exp(-6.9 / seconds * np.arange(len(echo)) / SAMPLE_RATE)
    rise = round(0.012 * SAMPLE_RATE)
    echo[:rise] *= _half_cosine(rise)
    echo /= np.sqrt(np.sum(echo**2))
    return fft.rfft(echo.astype(np.float32), size)


def _room(dry: Samples, send: Samples, seconds: float, cutoff: float) -> Samples:
    """Dry sound plus reverberation, between 32 Hz and `cutoff`: all in one pass of FFTs."""
    # A few sizes only, so that the rooms' spectra are computed once.
    size = -(-(len(dry) + round(seconds * SAMPLE_RATE)) // (4 * SAMPLE_RATE)) * 4 * SAMPLE_RATE
    frequency = fft.rfftfreq(size, 1 / SAMPLE_RATE).astype(np.float32)
    low = frequency**2 / (frequency**2 + np.float32(32.0**2))
    shape = low / (1 + (frequency / np.float32(cutoff)) ** 2)
    spectrum = fft.rfft(dry, size) + fft.rfft(send, size) * _room_spectrum(round(seconds, 1), size)
    return fft.irfft(spectrum * shape, size)[: len(dry)].astype(np.float32)


def _master(mixed: Samples, loudness: float) -> Samples:
    """The mix at `loudness` (dBFS RMS), limited below the ceiling."""
    mixed = mixed - np.float32(mixed.mean())
    mixed[-SAMPLE_RATE // 2 :] *= _half_cosine(SAMPLE_RATE // 2)[::-1]
    mixed[:160] *= _half_cosine(160)
    target = 10.0 ** (loudness / 20.0)
    gain = target / float(np.sqrt(np.mean(mixed**2)))
    for _ in range(4):  # the limiter takes away a little level: give it back
        limited = _limit(mixed * np.float32(gain))
        gain *= (target / float(np.sqrt(np.mean(limited**2)))) ** 1.2
    return limited - np.float32(limited.mean())


def _limit(samples: Samples) -> Samples:
    """The samples with loud moments turned down, so that no peak passes the ceiling.

    The gain is the least that a moment or its neighbours need, averaged over as long: it is never
    higher than any sample allows, and it moves too slowly to distort.
    """
    padded = np.pad(np.abs(samples), (0, -len(samples) % _BLOCK))
    peaks = padded.reshape(-1, _BLOCK).max(axis=1)
    least = ndimage.minimum_filter1d(np.minimum(1.0, _CEILING / np.maximum(peaks, 1e-9)), 5)
    gain = ndimage.uniform_filter1d(least, 3)
    middles = (np.arange(len(gain)) + 0.5) * _BLOCK
    return samples * np.interp(np.arange(len(samples)), middles, gain).astype(np.float32)


def encode_mp3(samples: Samples) -> bytes:
    """The samples as an MP3 file (variable bit rate, about 60 kbit/s); same samples, same bytes."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="MP3")
    return buffer.getvalue()
