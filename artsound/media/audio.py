"""Sound: decoded in full and in blocks, measured and checked."""

from __future__ import annotations

import io
import math
import re
import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np
import soundfile
import soxr

from artsound.media import MediaError, suppress_stderr
from artsound.media.fingerprint import PRINT_SECONDS, Decimator
from artsound.media.quality import SoundMeter, SoundQuality
from artsound.media.tags import tag_length

SILENCE = -120.0  # dBFS of digital silence
MAX_SECONDS = 4 * 3600.0
MAX_CHANNELS = 8
SAMPLE_RATES = (8_000, 192_000)
_BLOCK = 1 << 18  # frames: few, since python-soundfile seeks after every read
# Other formats of sound: their first bytes, and their names.
_OTHERS = (
    (re.compile(rb"....ftyp", re.S), "M4A or MP4 (AAC or ALAC)"),
    (re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"), "raw AAC"),
    (re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), "WMA"),
    (re.compile(rb"\x1a\x45\xdf\xa3"), "Matroska or WebM"),
    (re.compile(rb"MAC "), "Monkey's Audio"),
    (re.compile(rb"wvpk"), "WavPack"),
    (re.compile(rb"MPCK|MP\+"), "Musepack"),
    (re.compile(rb"TTA1"), "True Audio"),
    (re.compile(rb"DSD |FRM8"), "DSD"),
    (re.compile(rb"\x0b\x77"), "AC-3"),
    (re.compile(rb"#!AMR"), "AMR"),
    (re.compile(rb"MThd"), "MIDI, notes without sound"),
    (re.compile(rb"\.RMF"), "RealAudio"),
)
_MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """The result of decoding a whole clip.

    Attributes:
        format: As libsndfile names it: MP3, WAV, FLAC, …
        duration: In seconds, measured.
        sample_rate: In Hz.
        channels: Their number.
        loudness: RMS over all channels, in dBFS.
        peak: The largest absolute sample; 1 is full scale, which decoders may exceed.
        fingerprint: Hexadecimal; see artsound.media.fingerprint.
        quality: Its technical quality; None where that was not asked for.
    """

    format: str
    duration: float
    sample_rate: int
    channels: int
    loudness: float
    peak: float
    fingerprint: str
    quality: SoundQuality | None = None


class Beginning:
    """The beginning of a clip, as mono sound, collected block by block while it is decoded.

    Args:
        sample_rate: Of the result, in Hz; by soxr's HQ resampler.
        seconds: Its length; None: the whole clip.
    """

    def __init__(self, sample_rate: int, seconds: float | None = None) -> None:
        self.sample_rate, self.seconds = sample_rate, seconds
        self._blocks: list[np.ndarray] = []
        self._rate = 0
        self.left = 0  # frames to come

    def start(self, rate: int) -> None:
        """The clip's sample rate in Hz; to be called once, before the first block."""
        self._rate = rate
        self.left = round((MAX_SECONDS if self.seconds is None else self.seconds) * rate)

    def add(self, block: np.ndarray) -> None:
        """Add float32 [n, channels]; what is beyond the beginning is ignored."""
        if self.left > 0:
            self._blocks.append(_mono(block[: self.left]))
            self.left -= len(block)

    def sound(self) -> np.ndarray:
        """float32 [n]; shorter if the clip is."""
        mono = np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.float32)
        if self._rate != self.sample_rate and len(mono):
            mono = soxr.resample(mono, self._rate, self.sample_rate)
        return mono


def check_audio(
    data: bytes,
    *,
    min_seconds: float,
    silence_db: float,
    quality: bool = False,
    beginning: Beginning | None = None,
) -> AudioInfo:
    """Decode a whole clip, in blocks of fixed size, and check it.

    Args:
        data: The encoded clip.
        min_seconds: The least duration.
        silence_db: The least RMS level, in dBFS.
        quality: Whether to measure its technical quality, too.
        beginning: Collects the clip's beginning, so that it is not decoded again.

    Raises:
        MediaError: With one of the reasons audio-empty, audio-not-audio, audio-unsupported,
            audio-truncated, audio-concatenated, audio-corrupt, audio-too-long, audio-non-finite,
            audio-too-short and audio-silent.
    """
    _check_xing(data)
    _check_container(data)
    with suppress_stderr():
        sound = _decode(data, quality, beginning)
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
        sound.format,
        duration,
        rate,
        channels,
        loudness,
        peak,
        sound.low.fingerprint(),
        sound.meter.quality(frames, power) if sound.meter else None,
    )


def release_mp3(data: bytes) -> bytes:
    """MP3 bytes fit for release, of a clip that `check_audio` has passed.

    The original bytes when they are MP3; else one encoding by LAME in its best variable bit rate
    (V0, about 250 kbit/s), the same bytes each time and as many samples. A rate that MP3 has not is
    resampled by soxr (HQ): to the next higher one, or to 44.1 or 48 kHz from above 48 kHz. Of more
    than two channels, the mean is encoded. Raises MediaError.
    """
    with suppress_stderr(), _open(data) as sound:
        if sound.format == "MP3":
            return data
        rate, channels = sound.samplerate, sound.channels
        higher = [one for one in _MP3_RATES if one >= rate]
        mp3_rate = higher[0] if higher else 44_100 if rate % 44_100 == 0 else 48_000
        width = channels if channels <= 2 else 1
        resampled = soxr.ResampleStream(rate, mp3_rate, width, dtype="float32")
        out = io.BytesIO()
        best = {"bitrate_mode": "VARIABLE", "compression_level": 0.0}
        with soundfile.SoundFile(out, "w", mp3_rate, width, format="MP3", **best) as mp3:
            try:
                more = True
                while more:
                    block = sound.read(_BLOCK, dtype="float32", always_2d=True)
                    more = len(block) == _BLOCK
                    if width < channels:
                        block = _mono(block)[:, None] if len(block) else block[:, :1]
                    mp3.write(resampled.resample_chunk(block, last=not more))
            except (soundfile.LibsndfileError, RuntimeError) as error:
                raise _corrupt(error) from None
        return out.getvalue()


def clip_header(data: bytes) -> tuple[int, float]:
    """A clip's sample rate in Hz and length in seconds, as in its header; raises MediaError."""
    with suppress_stderr(), _open(data) as sound:
        return sound.samplerate, sound.frames / sound.samplerate


def load_mono(
    data: bytes, *, sample_rate: int, start: float = 0.0, seconds: float | None = None
) -> np.ndarray:
    """Decode a clip, or a part of it, to the mean of its channels.

    Args:
        data: The encoded clip.
        sample_rate: Of the result, in Hz; by soxr's HQ resampler.
        start: Where the part begins, in seconds.
        seconds: The part's length; None: to the end.

    Returns:
        float32 [n]; shorter if the clip ends before, empty if it ends before `start`.

    Raises:
        MediaError: It cannot be decoded.
    """
    with suppress_stderr(), _open(data) as sound:
        part = Beginning(sample_rate, seconds)
        part.start(sound.samplerate)
        first = round(start * sound.samplerate)
        try:
            if first:
                sound.seek(min(first, sound.frames))
            while part.left > 0:
                block = sound.read(min(_BLOCK, part.left), dtype="float32", always_2d=True)
                if not len(block):
                    break
                part.add(block)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise _corrupt(error) from None
    return part.sound()


def _mono(block: np.ndarray) -> np.ndarray:
    """The mean of a block's channels, float32 [n]; numpy's `mean` takes as long as decoding."""
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
    meter: SoundMeter | None


def _decode(data: bytes, quality: bool, beginning: Beginning | None) -> _Decoded:
    from scipy.linalg.blas import isamax

    with _open(data) as sound:
        rate, channels = sound.samplerate, sound.channels
        low = Decimator(rate, channels)
        meter = SoundMeter(rate, channels) if quality else None
        if beginning:
            beginning.start(rate)
        buffer = np.empty((_BLOCK // low.factor * low.factor, channels), np.float32)
        most, print_frames = int(MAX_SECONDS * rate), int(PRINT_SECONDS * rate)
        frames, power, peak = 0, 0.0, 0.0
        try:
            while len(block := sound.read(out=buffer)):
                flat = block.reshape(-1)
                power += float(flat @ flat)
                highest = abs(float(flat[isamax(flat)]))
                peak = max(peak, highest)
                if meter:
                    meter.add(block, highest)
                if frames < print_frames:
                    low.add(block)
                if beginning:
                    beginning.add(block)
                frames += len(block)
                if frames > most:
                    raise MediaError(
                        "audio-too-long", f"the clip lasts over {MAX_SECONDS / 3600:g} hours"
                    )
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise _corrupt(error) from None
        return _Decoded(sound.format, frames, rate, channels, power, peak, low, meter)


def _open(data: bytes) -> soundfile.SoundFile:
    if not data:
        raise MediaError("audio-empty", "the file is empty")
    try:
        sound = soundfile.SoundFile(io.BytesIO(data))
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
        begin = 0
        while length := tag_length(data, begin):
            begin += length
        for signature, name in _OTHERS:
            if signature.match(data[begin : begin + 16]):
                raise MediaError(
                    "audio-unsupported",
                    f"the clip is {name}: convert it to FLAC, WAV or MP3",
                ) from None
        if (start := _mp3_start(data)) > 0:
            return _open(data[start:])
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


# Bytes of a frame by version (MPEG 1, or 2 and 2.5), layer and index: kbit/s, and samples.
_BITRATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_UNKNOWN_SIZE = 0x7F00_0000  # bytes of sound; more than any clip has
_JUNK = 1 << 16  # bytes within which the first frame must begin
_ALIKE = 3  # consecutive frames that identify an MP3


def _frame_length(data: bytes, at: int) -> int:
    """Bytes of the MPEG audio frame that begins at ``at``; 0 if none does."""
    head = int.from_bytes(data[at : at + 4], "big")
    version, layer = head >> 19 & 3, 4 - (head >> 17 & 3)
    bitrate, rate = head >> 12 & 15, head >> 10 & 3
    if head >> 21 != 0x7FF or version == 1 or layer == 4 or not 0 < bitrate < 15 or rate == 3:
        return 0
    generation = 1 if version == 3 else 2
    bits = _BITRATES[generation, layer][bitrate - 1] * 1000
    padding = head >> 9 & 1
    if layer == 1:
        return (12 * bits // _RATES[version][rate] + padding) * 4
    samples = 72 if layer == 3 and generation == 2 else 144
    return samples * bits // _RATES[version][rate] + padding


def _mp3_start(data: bytes) -> int:
    """Where the first of several MP3 frames begins, after tags, padding and junk; -1 if nowhere.

    libsndfile needs a frame or an ID3 tag at the start of the file (its issue 1039).
    """
    at = 0
    while length := tag_length(data, at):
        at += length
    if data[at : at + 256].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"{")):
        return -1  # a server's answer that is followed by a clip
    for start in range(at, min(at + _JUNK, len(data))):
        if data[start] != 0xFF:
            continue
        place, count = start, 0
        while count < _ALIKE and (length := _frame_length(data, place)):
            place, count = place + length, count + 1
        if count == _ALIKE:
            return start
    return -1


def _corrupt(error: Exception) -> MediaError:
    reason = getattr(error, "error_string", str(error)).strip().rstrip(".") or "no reason given"
    return MediaError("audio-corrupt", f"the clip stops decoding midway ({reason})")


def _check_container(data: bytes) -> None:
    """Compare WAV, AIFF and Ogg with the lengths that they declare.

    libsndfile takes a file that is cut short as a short one.
    """
    if data[:4] in (b"RIFF", b"FORM") and data[8:12] in (b"WAVE", b"AIFF", b"AIFC"):
        order: Literal["little", "big"] = "little" if data[:4] == b"RIFF" else "big"
        at = 12
        while at + 8 <= len(data):
            size = int.from_bytes(data[at + 4 : at + 8], order)
            if data[at : at + 4] in (b"data", b"SSND"):
                # Who writes to a pipe does not know the size, and writes the largest.
                if at + 8 + size > len(data) + 1 and size < _UNKNOWN_SIZE:
                    raise MediaError(
                        "audio-truncated",
                        f"the file is cut short: {len(data) - at - 8:,} of the {size:,} bytes of "
                        "sound that its header declares",
                    )
                return
            at += 8 + size + size % 2
    elif data[:4] == b"OggS":
        last = data.rfind(b"OggS")
        segments = data[last + 26] if last + 26 < len(data) else 255
        table = data[last + 27 : last + 27 + segments]
        if len(table) < segments or last + 27 + segments + sum(table) > len(data):
            raise MediaError("audio-truncated", "the Ogg file ends within a page: it is cut short")


def _check_xing(data: bytes) -> None:
    """Compare an MP3 with the length in its Xing/Info header.

    Without such a header a truncated MP3 looks like a short one. ID3 tags are outside the
    declared length; one per cent is tolerated for inexact taggers.
    """
    start = max(_mp3_start(data), 0)
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
    after = start + declared
    while length := tag_length(data, after):  # ID3v2.4 and APE tags may be at the end
        after += length
    tail = data[after : after + 4]
    glued = tail[:1] == b"\xff" and tail[1:2] >= b"\xe0"
    if present > declared + slack and glued:
        raise MediaError("audio-concatenated", "another clip follows in the same file")
