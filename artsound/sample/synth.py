"""From a score to sound: every note computed with numpy, mixed, given a room and mastered.

Pitched notes read a small table of waveforms, one per moment of the note, built from harmonics that
each decay at their own rate: one rule gives plucked strings, pianos, bows, reeds and pads. Bells
add inharmonic partials, and drums are swept tones with filtered noise. Equal notes are computed
once per clip.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, signal

from artsound.sample.score import Note, Score
from artsound.sample.voices import HITS, VOICES, Hit, Voice

Samples = NDArray[np.float32]

SAMPLE_RATE = 32_000
"""Hz. Enough for cymbals up to 14 kHz at half the cost of 44.1 kHz stereo."""

_TABLE_BITS = 12
_TABLE = 1 << _TABLE_BITS  # points in one period: the nearest one is off by −68 dB at most
_MOMENTS = 14  # waveforms along a note whose harmonics decay
_CEILING = 0.78  # peak after mastering: leaves 2 dB for what MP3 adds
_BLOCK = 128  # samples: the limiter's grain, 4 ms
_REACH = 4  # blocks that the limiter looks ahead and back


def render(score: Score) -> Samples:
    """The sound of a score: mono float32 at SAMPLE_RATE, |x| < 0.8, at the score's loudness."""
    length = round(score.seconds * SAMPLE_RATE)
    dry, driven, send = (np.zeros(length + SAMPLE_RATE // 2, np.float32) for _ in range(3))
    cache: dict[tuple[str, float, int], Samples] = {}
    for part in score.parts:
        bus = np.zeros_like(dry)
        for note in part.notes:
            _add(bus, note, _sound(part.voice, note, score.brightness, cache))
        bus *= np.float32(part.level)
        (driven if part.drive else dry)[:] += bus
        if part.reverb:
            send += np.float32(part.reverb) * bus
    if score.drive > 0:
        driven = _overdrive(driven, score.drive)
    mixed = _room(dry + driven, send, score.reverb_seconds, score.cutoff)[:length]
    return _master(mixed, score.loudness)


def _add(bus: Samples, note: Note, sound: Samples) -> None:
    start = max(0, round(note.start * SAMPLE_RATE))
    stop = min(len(bus), start + len(sound))
    if start < stop:
        bus[start:stop] += np.float32(note.velocity**1.5) * sound[: stop - start]


def _sound(
    voice: str, note: Note, brightness: float, cache: dict[tuple[str, float, int], Samples]
) -> Samples:
    if voice == "drums":
        return drum(note.hit)
    # Lengths in steps of 20 ms, so that humanised copies of a note are one note.
    ticks = max(2, round(note.seconds * 50))
    key = (voice, note.pitch, ticks)
    if key not in cache:
        cache[key] = tone(VOICES[voice], note.pitch, ticks / 50, brightness)
    return cache[key]


# --- pitched notes ---------------------------------------------------------------------


def tone(voice: Voice, pitch: float, seconds: float, brightness: float = 0.0) -> Samples:
    """One note, `seconds` long plus its release, about 0.25 RMS while it sounds.

    `pitch` is a MIDI number; `brightness` −1..1 shifts the balance of low and high harmonics.
    """
    length = round((seconds + voice.release) * SAMPLE_RATE)
    frequency = 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)
    if voice.partials:
        wave = _partials(voice, frequency, length, brightness)
    else:
        wave = _harmonics(voice, frequency, length, brightness)
    if voice.breath:
        wave = wave + np.float32(voice.breath) * _noise(length, 400.0, 6000.0)
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
    moments = np.zeros(1)
    if voice.damp or voice.bloom:
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
    """The wave read from the table, fading from each row to the next as the note goes on."""
    if len(table) == 1:
        return table[0][phases]
    rows = len(table) - 1
    position = np.sqrt(np.linspace(0.0, 1.0, len(phases), dtype=np.float32)) * np.float32(rows)
    row = np.minimum(position.astype(np.uint32), np.uint32(rows - 1))
    flat = table.ravel()
    here = (row << np.uint32(_TABLE_BITS)) + phases
    lower = flat[here]
    return lower + (position - row) * (flat[here + np.uint32(_TABLE)] - lower)


def _partials(voice: Voice, frequency: float, length: int, brightness: float) -> Samples:
    time = np.arange(length, dtype=np.float32) / SAMPLE_RATE
    wave = np.zeros(length, np.float32)
    for ratio, level, decay in voice.partials:
        partial = frequency * ratio
        if partial > 0.42 * SAMPLE_RATE:
            continue
        gain = 0.35 * level * 2.0 ** (0.5 * brightness * np.log2(ratio)) if ratio > 1 else 0.35
        angle = np.float32(2 * np.pi * partial) * time
        wave += np.float32(gain) * np.sin(angle) * np.exp(-time / np.float32(decay))
    return wave


# --- drums -----------------------------------------------------------------------------


@lru_cache(maxsize=128)
def drum(name: str) -> Samples:
    """One hit of a drum or cymbal, its peak about 0.9 (read only: it is shared)."""
    hit = HITS[name]
    length = round(hit.seconds * SAMPLE_RATE)
    time = np.arange(length) / SAMPLE_RATE
    wave = np.zeros(length)
    if hit.tone:
        wave += hit.tone * _swept(hit, time)
    if hit.noise:
        low, high = hit.band
        wave += hit.noise * _noise(length, low, high) * np.exp(-time / hit.noise_decay)
    for index, partial in enumerate(hit.metal):
        wave += 0.16 * np.sin(2 * np.pi * partial * time + index) * np.exp(-time / hit.noise_decay)
    wave *= np.minimum(1.0, time / hit.attack)
    wave[-800:] *= _half_cosine(800)[::-1]
    wave *= 0.9 / np.max(np.abs(wave))
    sound = wave.astype(np.float32)
    sound.setflags(write=False)
    return sound


def _swept(hit: Hit, time: NDArray[np.float64]) -> NDArray[np.float64]:
    """A sine that falls from one frequency to another while it dies away."""
    start, end = hit.sweep
    turns = end * time + (start - end) * hit.sweep_time * (1.0 - np.exp(-time / hit.sweep_time))
    return np.sin(2.0 * np.pi * turns) * np.exp(-time / hit.tone_decay)


@lru_cache(maxsize=64)
def _noise_loop(low: float, high: float) -> Samples:
    """Four seconds of noise between two frequencies (Hz), 1 RMS, always the same."""
    count = 4 * SAMPLE_RATE
    white = np.random.default_rng([int(low), int(high)]).standard_normal(count)
    frequency = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    with np.errstate(divide="ignore"):
        shape = 1 / np.sqrt((1 + (low / frequency) ** 4) * (1 + (frequency / high) ** 4))
    noise = np.fft.irfft(np.fft.rfft(white) * shape)
    return (noise / noise.std()).astype(np.float32)


def _noise(length: int, low: float, high: float) -> Samples:
    noise = _noise_loop(low, high)
    return np.resize(noise, length)


# --- mixing ----------------------------------------------------------------------------


def _overdrive(bus: Samples, drive: float) -> Samples:
    """Soft clipping, asymmetric as a valve's, at the level it came in with."""
    level = float(np.sqrt(np.mean(bus**2))) + 1e-9
    pushed = np.tanh(bus * np.float32(drive / level) + np.float32(0.2)) - np.float32(np.tanh(0.2))
    after = float(np.sqrt(np.mean(pushed**2))) + 1e-9
    return pushed * np.float32(level / after)


@lru_cache(maxsize=32)
def _room_spectrum(seconds: float, size: int) -> NDArray[np.complex64]:
    """Spectrum of a room: noise that dies away by 60 dB in `seconds`, the high notes sooner."""
    length = round(min(seconds, 3.5) * SAMPLE_RATE)
    time = np.arange(length) / SAMPLE_RATE
    rng = np.random.default_rng(20)
    echo = np.zeros(length)
    for low, high, factor in ((150.0, 900.0, 1.0), (900.0, 3500.0, 0.8), (3500.0, 9000.0, 0.45)):
        band = signal.butter(2, (low, high), "bandpass", fs=SAMPLE_RATE, output="sos")
        decay = np.exp(-6.9 * time / (seconds * factor))
        echo += signal.sosfilt(band, rng.standard_normal(length)) * decay
    rise = round(0.012 * SAMPLE_RATE)
    echo[:rise] *= _half_cosine(rise)
    echo /= np.sqrt(np.sum(echo**2))
    return fft.rfft(echo.astype(np.float32), size)


def _room(dry: Samples, send: Samples, seconds: float, cutoff: float) -> Samples:
    """Dry sound plus reverberation, between 32 Hz and `cutoff`: all in one pass of FFTs."""
    # A few sizes only, so that rooms can be kept between clips.
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
    rms = float(np.sqrt(np.mean(mixed**2)))
    if rms < 1e-9:
        return mixed
    target = 10.0 ** (loudness / 20.0)
    gain = target / rms
    for _ in range(4):  # the limiter takes away a little level: give it back
        limited = _limit(mixed * np.float32(gain))
        gain *= (target / float(np.sqrt(np.mean(limited**2)))) ** 1.2
    return limited - np.float32(limited.mean())


def _limit(samples: Samples) -> Samples:
    """The samples with loud moments turned down, so that no peak passes the ceiling.

    The gain is the least needed within some 16 ms, then averaged over as long: it is never higher
    than any sample in it allows, and it moves too slowly to distort.
    """
    count = -(-len(samples) // _BLOCK)
    padded = np.zeros(count * _BLOCK, np.float32)
    padded[: len(samples)] = np.abs(samples)
    peaks = padded.reshape(count, _BLOCK).max(axis=1)
    needed = np.minimum(1.0, _CEILING / np.maximum(peaks, 1e-9))
    if needed.min() == 1.0:
        return samples
    # One block more than is averaged, for the slope between the middles of blocks.
    least = ndimage.minimum_filter1d(needed, 2 * _REACH + 3, mode="nearest")
    gain = ndimage.uniform_filter1d(least, 2 * _REACH + 1, mode="nearest")
    middles = (np.arange(count) + 0.5) * _BLOCK
    return samples * np.interp(np.arange(len(samples)), middles, gain).astype(np.float32)
