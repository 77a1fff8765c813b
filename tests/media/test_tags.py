from __future__ import annotations

import struct

import pytest

from artsound.media.tags import untagged

SOUND = b"\xff\xfb\x90\x64" + bytes(range(200)) * 3
ID3V2 = b"ID3\x04\x00\x00" + bytes([0, 0, 1, 2]) + b"T" * 130
ID3V2_FOOTER = b"ID3\x04\x00\x10\x00\x00\x00\x05" + b"x" * 5 + b"3DI\x04\x00\x10\x00\x00\x00\x05"
ID3V1 = b"TAG" + b"Secret title".ljust(125, b"\0")
LYRICS = b"LYRICSBEGIN" + b"la" * 4 + b"000019LYRICS200"


def ape() -> bytes:
    body, flags = b"Artist\0Secret", 0x80000000
    numbers = struct.pack("<III", 2000, len(body) + 32, 1)
    header = b"APETAGEX" + numbers + struct.pack("<I", flags | 0x20000000) + bytes(8)
    footer = b"APETAGEX" + numbers + struct.pack("<I", flags) + bytes(8)
    return header + body + footer


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""), (ID3V2, b""), (ID3V2 + ID3V2, ID3V1), (b"", ape() + ID3V1),
        (ID3V2, ID3V2_FOOTER), (b"", LYRICS + ID3V1), (ID3V2_FOOTER, ape()),
    ],
)  # fmt: skip
def test_a_clip_without_its_tags_is_its_sound_byte_for_byte(before: bytes, after: bytes) -> None:
    assert untagged(before + SOUND + after) == SOUND


def test_a_tag_that_claims_more_than_the_file_has_does_no_harm() -> None:
    huge = b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f"
    assert untagged(huge + SOUND) == b""
    false_footer = SOUND + b"3DI\x04\x00\x00\x7f\x7f\x7f\x7f"
    assert untagged(false_footer) == false_footer
