"""Tags of an MP3: title, artist and pictures before and after the sound.

ID3v2 (https://id3.org/id3v2.4.0-structure), APEv2
(https://wiki.hydrogenaud.io/index.php?title=APEv2_specification), Lyrics3v2 and ID3v1.
"""

from __future__ import annotations

_ID3V1 = 128  # bytes
_LYRICS = b"LYRICS200"


def tag_length(data: bytes, at: int) -> int:
    """Bytes of the ID3v2 or APEv2 tag that begins at ``at``; 0 if none does."""
    if data[at : at + 3] == b"ID3" and at + 10 <= len(data):
        footer = 10 if data[at + 5] & 0x10 else 0  # it repeats the header
        return 10 + _synchsafe(data[at + 6 : at + 10]) + footer
    if data[at : at + 8] == b"APETAGEX" and at + 32 <= len(data):
        return 32 + int.from_bytes(data[at + 12 : at + 16], "little")
    return 0


def untagged(mp3: bytes) -> bytes:
    """An MP3 without the tags before and after its sound.

    The bytes of the sound are unchanged. A file that is nothing but tags becomes empty.
    """
    start, end = 0, len(mp3)
    while length := tag_length(mp3, start):
        start += length
    while length := _tag_before(mp3[start:end]):
        end -= length
    return mp3[start:end]


def _tag_before(data: bytes) -> int:
    """Bytes of the tag that `data` ends with; 0 if there is none."""
    end = len(data)
    length = 0
    if data[-_ID3V1:-125] == b"TAG":
        return _ID3V1
    if data[-32:-24] == b"APETAGEX":
        header = 32 if data[-9] & 0x80 else 0  # bit 31 of the flags: there is a header
        length = int.from_bytes(data[-20:-16], "little") + header
    elif data[-10:-7] == b"3DI":
        length = 20 + _synchsafe(data[-4:])
    elif data[-9:] == _LYRICS and data[-15:-9].isdigit():
        length = 15 + int(data[-15:-9])
    return length if 0 < length <= end else 0


def _synchsafe(octets: bytes) -> int:
    """A number of seven bits a byte."""
    size = 0
    for octet in octets:
        size = size << 7 | (octet & 0x7F)
    return size
