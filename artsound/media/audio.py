"""Sound: decoded in full, in blocks, measured and checked."""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr
from scipy.linalg.blas import isamax

from artsound.media import MediaError
from artsound.media.decoders import suppress_stderr
from artsound.media.fingerprint import PRINT_SECONDS, Decimator

SILENCE = -120.0  # dBFS: what digital silence counts as
MAX_SECONDS = 4 * 3600.0
MAX_CHANNELS = 8
SAMPLE_RATES = (8_000, 192_000)
_BLOCK = 1 << 18  # frames: few, since python-soundfile seeks after every read


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a full decode found.

    ``duration`` in seconds, measured; ``loudness`` RMS over all channels in dBFS;
    ``peak`` the largest absolute sample (1 = full scale, decoders may overshoot);
    ``fingerprint`` hexadecimal, see artsound.media.fingerprint.
    """

    format: str
    duration: float
    sample_rate: int
    channels: int
    loudness: float
    peak: float
    fingerprint: str


def check_audio(data: bytes, *, min_seconds: float, silence_db: float) -> AudioInfo:
    """Format, measured duration, level and fingerprint of a clip, after decoding all of it.

    Blocks of fixed size: a header that claims hours costs no memory. Raises MediaError:
    audio-empty, audio-not-audio, audio-unsupported, audio-truncated, audio-concatenated,
    audio-corrupt, audio-too-long, audio-non-finite, audio-too-short, audio-silent.
    """
    _check_xing(data)
    with suppress_stderr():
        sound = _decode(data)
    frames, rate, channels = sound.frames, sound.sample_rate, sound.channels
    power, peak = sound.power, sound.peak
    if not (math.isfinite(power) and math.isfinite(peak)):
        raise MediaError("audio-non-finite", "the clip holds samples that are not finite")
    duration = frames / rate
    if duration < min_seconds:
        raise MediaError(
            "audio-too-short", f"the clip lasts {duration:.2f} s, under {min_seconds:g} s"
        )
    loudness = max(SILENCE, 10.0 * math.log10(power / (frames * channels) + 1e-20))
    if loudness < silence_db:
        raise MediaError(
            "audio-silent", f"the clip is silent ({loudness:.1f} dBFS, under {silence_db:g})"
        )
    return AudioInfo(
        sound.format, duration, rate, channels, loudness, peak, sound.low.fingerprint()
    )


def clip_header(data: bytes) -> tuple[int, float]:
    """A clip's sample rate in Hz and its length in seconds, as its header tells. MediaError."""
    with suppress_stderr(), _open(data) as sound:
        return sound.samplerate, sound.frames / sound.samplerate


def load_mono(
    data: bytes, *, sample_rate: int, start: float = 0.0, seconds: float | None = None
) -> np.ndarray:
    """Mono float32 [n] at ``sample_rate`` Hz: the channels' mean from ``start`` on.

    ``seconds`` limits how much is decoded (all of the rest when None); the result is shorter when
    the clip ends before that, and empty when ``start`` lies behind its end. Resampled by soxr
    (HQ). Raises MediaError.
    """
    with suppress_stderr(), _open(data) as sound:
        rate = sound.samplerate
        first = round(start * rate)
        left = int(MAX_SECONDS * rate) if seconds is None else round(seconds * rate)
        blocks = []
        try:
            if first:
                sound.seek(min(first, sound.frames))
            while left > 0:
                block = sound.read(min(_BLOCK, left), dtype="float32", always_2d=True)
                if not len(block):
                    break
                blocks.append(_mono(block))
                left -= len(block)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise _corrupt(error) from None
    mono = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if rate != sample_rate and len(mono):
        mono = soxr.resample(mono, rate, sample_rate)
    return mono


def _mono(block: np.ndarray) -> np.ndarray:
    """The mean of a block's channels, float32 [n]. numpy's own, over rows of two, takes as long
    as decoding them did."""
    total = block[:, 0].copy()
    for channel in block.T[1:]:
        total += channel
    total /= block.shape[1]
    return total


@dataclass(frozen=True, slots=True)
class _Decoded:
    format: str
    frames: int
    sample_rate: int
    channels: int
    power: float  # sum of squares over all channels
    peak: float
    low: Decimator


def _decode(data: bytes) -> _Decoded:
    with _open(data) as sound:
        rate, channels = sound.samplerate, sound.channels
        low = Decimator(rate, channels)
        buffer = np.empty((_BLOCK // low.factor * low.factor, channels), np.float32)
        most, print_frames = int(MAX_SECONDS * rate), int(PRINT_SECONDS * rate)
        frames, power, peak = 0, 0.0, 0.0
        try:
            while len(block := sound.read(out=buffer)):
                flat = block.reshape(-1)
                power += float(flat @ flat)
                peak = max(peak, abs(float(flat[isamax(flat)])))
                if frames < print_frames:
                    low.add(block)
                frames += len(block)
                if frames > most:
                    raise MediaError(
                        "audio-too-long", f"the clip lasts over {MAX_SECONDS / 3600:g} hours"
                    )
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise _corrupt(error) from None
        return _Decoded(sound.format, frames, rate, channels, power, peak, low)


def _open(data: bytes) -> soundfile.SoundFile:
    if not data:
        raise MediaError("audio-empty", "the file is empty")
    try:
        sound = soundfile.SoundFile(io.BytesIO(data))
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
        reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
        raise MediaError("audio-not-audio", f"the file is not sound ({reason})") from None
    low, high = SAMPLE_RATES
    if not (low <= sound.samplerate <= high and 1 <= sound.channels <= MAX_CHANNELS):
        sound.close()
        raise MediaError(
            "audio-unsupported",
            f"{sound.channels} channels at {sound.samplerate} Hz are outside what music uses",
        )
    return sound


def _corrupt(error: Exception) -> MediaError:
    reason = getattr(error, "error_string", str(error)).strip().rstrip(".") or "no reason given"
    return MediaError("audio-corrupt", f"the clip stops decoding midway ({reason})")


def _check_xing(data: bytes) -> None:
    """Hold an MP3 to the length its own Xing/Info header declares.

    Without such a header nothing tells a cut MP3 from a short one. ID3 tags lie outside the
    declared length, and a per cent of slack forgives sloppy taggers.
    """
    start = 0
    if data[:3] == b"ID3" and len(data) > 10:  # a 28-bit "synchsafe" length follows at 6
        size = 0
        for byte in data[6:10]:
            size = size << 7 | (byte & 0x7F)
        start = 10 + size
    head = data[start : start + 200]
    at = max(head.find(b"Xing"), head.find(b"Info"))
    if head[:1] != b"\xff" or at < 0 or len(head) < at + 16:
        return
    flags, frames, declared = struct.unpack(">III", head[at + 4 : at + 16])
    if flags & 3 != 3 or not frames or not declared:
        return
    present = len(data) - start
    slack = declared // 100 + 2048
    if present < declared - slack:
        raise MediaError(
            "audio-truncated",
            f"the MP3 is cut short: {present:,} of the {declared:,} bytes its header declares",
        )
    tail = data[start + declared : start + declared + 4]
    glued = tail[:3] == b"ID3" or (tail[:1] == b"\xff" and tail[1:2] >= b"\xe0")
    if present > declared + slack and glued:
        raise MediaError("audio-concatenated", "another clip follows in the same file")
