"""Media of the size of real ones for benchmarks: a small synthetic bank under many names.

Clips are 30 s of stereo at 44.1 kHz, pictures 1,000 to 1,600 pixels wide. Drawing and encoding
one takes longer than checking it, so there are a few of each; every copy bears its number in a
tag, so that no two have the same bytes and nothing is done once for all of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from media_checks import write_clip, write_picture

_BANK = 8


def clips(numbers: Sequence[int]) -> list[bytes]:
    """MP3s; a negative number is a file without sound."""
    return [_clip(n % _BANK, f"{n:012d}") if n >= 0 else b"" for n in numbers]


def pictures(numbers: Sequence[int]) -> list[bytes]:
    """JPEGs; a negative number is a web page."""
    return [_picture(n % _BANK, f"{n:012d}") if n >= 0 else b"<!DOCTYPE html>\n" for n in numbers]


def _clip(seed: int, number: str) -> bytes:
    text = b"\x00" + number.encode()  # ID3v2.3: one frame, TIT2, in Latin-1
    frame = b"TIT2" + len(text).to_bytes(4, "big") + b"\x00\x00" + text
    return b"ID3\x03\x00\x00" + bytes((0, 0, 0, len(frame))) + frame + _made(write_clip, seed)


def _picture(seed: int, number: str) -> bytes:
    made = _made(write_picture, seed)
    comment = b"\xff\xfe" + (len(number) + 2).to_bytes(2, "big") + number.encode()
    return made[:2] + comment + made[2:]


@cache
def _made(write: Callable[[Path, int], None], seed: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "media"
        write(path, seed)
        return path.read_bytes()
