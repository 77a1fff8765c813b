"""Names whose letters were encoded once too often, given back their letters.

ArtGraph's names hold percent-encoded ones (`d%C3%BCrerin`), and lists made from WikiArt hold
UTF-8 that was read as Latin-1 or Windows-1252, some in lower case (`joaquã\\xadn-sorolla`).
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote_to_bytes

_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_ROUNDS = 3  # encoded twice, at most, and once more to see that nothing is left
# A lead byte of UTF-8 as a Latin-1 letter, lower-cased or not, and what may follow it.
_LEAD_TWO = range(0xC2, 0xE0)
_LEAD_THREE = range(0xE0, 0xF0)


def repaired(text: str) -> str:
    """`text` with percent-encoding and mojibake undone, in NFC.

    Each is undone only where the result is valid: UTF-8 throughout, without control characters,
    and without a new folder separator. Anything else stays as it is.
    """
    for _ in range(_ROUNDS):
        better = _without_mojibake(_unquoted(text))
        if better == text:
            break
        text = better
    return unicodedata.normalize("NFC", text)


def _unquoted(text: str) -> str:
    if not _ESCAPE.search(text):
        return text
    try:
        plain = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        return text
    separators = sum(text.count(mark) for mark in "/\\")
    whole = sum(plain.count(mark) for mark in "/\\") == separators
    return plain if whole and plain.isprintable() else text


def _without_mojibake(text: str) -> str:
    if text.isascii():
        return text
    found: list[str] = []
    at = 0
    while at < len(text):
        letter, size = _sequence(text[at : at + 3])
        found.append(letter)
        at += size
    whole = "".join(found)
    # What is left of another encoding shows as control characters.
    return text if any("\x7f" <= letter <= "\x9f" for letter in whole) else whole


def _sequence(text: str) -> tuple[str, int]:
    """The letter that a text begins with, and the characters that it takes up."""
    codes = [_byte(letter) for letter in text]
    for lead in dict.fromkeys((codes[0], codes[0] - 0x20)):  # as written, then as lower-cased
        size = 2 if lead in _LEAD_TWO else 3 if lead in _LEAD_THREE else 0
        if size and len(codes) >= size and all(0x80 <= code < 0xC0 for code in codes[1:size]):
            try:
                return bytes([lead, *codes[1:size]]).decode("utf-8"), size
            except UnicodeDecodeError:
                continue
    return text[0], 1


def _byte(letter: str) -> int:
    """The byte that a character stands for in Windows-1252 or Latin-1; -1 for others."""
    if ord(letter) < 0x100:
        return ord(letter)
    try:
        return letter.encode("cp1252")[0]
    except UnicodeEncodeError:
        return -1
