"""Damaged pictures and clips, made by code; run as a script, what the checks say of each.

    python tests/media/damage.py

prints one JSON line per file: its name, whether it has to be refused, the reason ("" when it was
taken), the message. The process may not use more than MEMORY bytes.
"""

from __future__ import annotations

import io
import json
import random
import resource
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

MEMORY = 1 << 31
RATE = 22_050


def pictures() -> dict[str, bytes]:
    """Sound pictures in every format, 96×80."""
    y, x = np.mgrid[:80, :96]
    noise = np.random.default_rng(0).integers(0, 60, (80, 96))
    planes = [2 * x + noise, 3 * y, 255 - x - y + noise]
    image = Image.fromarray(np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8))
    made: dict[str, bytes] = {}
    for name, kind, options in [
        ("baseline.jpg", "JPEG", {}),
        ("progressive.jpg", "JPEG", {"progressive": True}),
        ("plain.png", "PNG", {}),
        ("lossy.webp", "WEBP", {}),
        ("palette.gif", "GIF", {}),
        ("packed.tif", "TIFF", {"compression": "tiff_lzw"}),
        ("plain.bmp", "BMP", {}),
    ]:
        out = io.BytesIO()
        image.save(out, kind, **options)
        made[name] = out.getvalue()
    out = io.BytesIO()
    image.convert("CMYK").save(out, "JPEG")
    return made | {"cmyk.jpg": out.getvalue()}


def clips() -> dict[str, bytes]:
    """Sound clips in every format, 12 s."""
    rng = np.random.default_rng(0)
    t = np.arange(12 * RATE) / RATE
    sound = 0.3 * np.sin(2 * np.pi * 220 * t) + 0.05 * rng.standard_normal(len(t))
    made: dict[str, bytes] = {}
    for name, kind, options in [
        ("constant.mp3", "MP3", {"bitrate_mode": "CONSTANT"}),
        ("variable.mp3", "MP3", {"bitrate_mode": "VARIABLE"}),
        ("plain.wav", "WAV", {}),
        ("packed.flac", "FLAC", {}),
        ("lossy.ogg", "OGG", {}),
    ]:
        out = io.BytesIO()
        soundfile.write(out, sound.astype(np.float32), RATE, format=kind, **options)
        made[name] = out.getvalue()
    return made


def damaged(files: dict[str, bytes], others: dict[str, bytes]) -> Iterator[tuple[str, bytes, bool]]:
    """(name, bytes, must be refused): each file hurt in every way that fits any format."""
    rng = random.Random(0)
    for name, data in files.items():
        for flips in (1, 3, 10, 30, 100, 300):
            broken = bytearray(data)
            for _ in range(flips):
                broken[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            yield f"{flips} bits flipped in {name}", bytes(broken), False
        for share in (0.02, 0.3, 0.6, 0.9):
            # What is left of these two is a shorter clip, and says so.
            short = name.endswith((".ogg", ".wav")) and share == 0.9
            yield f"first {share:.0%} of {name}", data[: int(share * len(data))], not short
        third = len(data) // 3
        yield f"head of {name} zeroed", bytes(third) + data[third:], True
        middle = data[:third] + bytes(third) + data[2 * third :]
        yield f"middle of {name} zeroed", middle, name.endswith((".png", ".mp3", ".flac"))
        yield f"head of {name} missing", data[third:], False
        yield f"web page before {name}", b"<!DOCTYPE html><html>" * 99 + data, True
        yield f"random bytes as {name}", rng.randbytes(len(data)), True
        yield f"zero-length {name}", b"", True
        other = others[rng.choice(sorted(others))]
        yield f"the other kind of medium as {name}", other, True
    for name in ("baseline.jpg", "progressive.jpg", "plain.png", "constant.mp3", "variable.mp3"):
        if name in files:
            yield f"{name} twice over", files[name] * 2, True


def giant_pictures() -> Iterator[tuple[str, bytes, bool]]:
    """Headers that promise far more pixels than a picture may have."""
    files = pictures()
    for side in (20_000, 65_500):
        jpeg = files["baseline.jpg"]
        at = jpeg.index(b"\xff\xc0") + 5
        yield f"JPEG of {side}²", jpeg[:at] + struct.pack(">HH", side, side) + jpeg[at + 4 :], True
        header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        png = files["plain.png"]
        crc = struct.pack(">I", zlib.crc32(header))
        yield f"PNG of {side}²", png[:12] + header + crc + png[33:], True
        gif = files["palette.gif"]
        yield f"GIF of {side}²", gif[:6] + struct.pack("<HH", side, side) + gif[10:], True
        bmp = files["plain.bmp"]
        yield f"BMP of {side}²", bmp[:18] + struct.pack("<ii", side, side) + bmp[26:], True
    bomb = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(bomb, "PNG")
    yield "PNG of 900 million equal pixels", bomb.getvalue(), True


def giant_clips() -> Iterator[tuple[str, bytes, bool]]:
    """Headers that promise far more sound than there is, and sizes that make no sense."""
    files = clips()
    wav = files["plain.wav"]
    yield "WAV of 4 GB", wav[:40] + struct.pack("<I", 0xFFFFFFF0) + wav[44:], False
    yield "WAV with 65,535 channels", wav[:22] + struct.pack("<H", 65_535) + wav[24:], True
    yield "WAV at 2 GHz", wav[:24] + struct.pack("<I", 2_000_000_000) + wav[28:], True
    yield "WAV at 0 Hz", wav[:24] + bytes(4) + wav[28:], True
    flac = files["packed.flac"]
    # STREAMINFO: the low 36 bits of these eight bytes count the samples.
    counts = struct.unpack(">Q", flac[18:26])[0] | (1 << 36) - 1
    yield "FLAC of 36 days", flac[:18] + struct.pack(">Q", counts) + flac[26:], False
    mp3 = files["constant.mp3"]
    at = max(mp3.find(b"Info"), mp3.find(b"Xing")) + 8
    yield "MP3 of a year", mp3[:at] + struct.pack(">I", 0xFFFFFFFF) + mp3[at + 4 :], False
    yield "MP3 of 4 GB", mp3[: at + 4] + struct.pack(">I", 0xFFFFFFFF) + mp3[at + 8 :], True
    yield "MP3 behind a tag of 256 MB", b"ID3\4\0\0\x7f\x7f\x7f\x7f" + mp3, True


def cases() -> Iterator[tuple[str, str, bytes, bool]]:
    """(side, name, bytes, must be refused) of every damaged file."""
    images, sounds = pictures(), clips()
    for name, data, must in [*damaged(images, sounds), *giant_pictures()]:
        yield "image", name, data, must
    for name, data, must in [*damaged(sounds, images), *giant_clips()]:
        yield "audio", name, data, must


def main() -> None:
    """Check every damaged file under the memory limit."""
    from artsound.media import MediaError
    from artsound.media.audio import check_audio
    from artsound.media.images import check_image

    made = list(cases())
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for side, name, data, must in made:
        reason = message = ""
        try:
            if side == "image":
                check_image(data, min_side=64, max_pixels=50_000_000)
            else:
                check_audio(data, min_seconds=10.0, silence_db=-60.0)
        except MediaError as error:
            reason, message = error.reason, str(error)
        print(json.dumps([side, name, must, reason, message]))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main()
