"""The errors that a user can cause.

`artsound …` prints the message and exits with the class's exit code; every other exception is a
bug and shows its traceback.
"""

from __future__ import annotations

import re

# In texts of any origin, such as an exception of a library: who logs in at an address, what a
# query signs or proves itself with, and a header or a token of its own.
_USER = re.compile(r"(?<=://)[^/\s?#\"'<>]*@")
_QUERY = re.compile(
    r"((?:[\w-]*(?:token|secret|passw(?:or)?d|signature|api[_-]?key|credential)"
    r"|sig|awsaccesskeyid|key-pair-id|x-(?:amz|goog)-[\w-]+)(?:=|%3D))[^&#\s\"'<>;,)\]]*",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"(authorization[\"']?\s*[:=]\s*[\"']?(?:(?:basic|bearer|digest|token)\s+)?)[^\s\"',}]+",
    re.IGNORECASE,
)
# What a terminal obeys instead of showing: control characters, and those that turn the direction
# of the text around. Names and titles of others may hold them.
_COMMAND = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_BEARER = re.compile(r"(\bbearer\s+)[\w.~+/=-]{12,}|\bhf_[A-Za-z0-9]{16,}", re.IGNORECASE)


def redacted(text: str) -> str:
    """A text without the passwords, tokens and signatures of the addresses and headers in it.

    Characters that a terminal would obey are escaped. Everything that people or logs are shown
    goes through it: every message of an `ArtSoundError` by itself.
    """
    text = _USER.sub("...@", text)
    text = _QUERY.sub(r"\1...", text)
    text = _HEADER.sub(r"\1...", text)
    return printable(_BEARER.sub(lambda found: f"{found[1] or ''}...", text))


def printable(text: str) -> str:
    """A text of any origin as a terminal may print it: what the terminal would obey is escaped."""
    return _COMMAND.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def redacted_values(value: object) -> object:
    """A JSON value with every text in it `redacted`."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {name: redacted_values(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted_values(one) for one in value]
    return value


class ArtSoundError(Exception):
    """A user-facing error: one line that names the file and the remedy."""

    exit_code = 1

    def __init__(self, *values: object) -> None:
        super().__init__(*map(redacted_values, values))


class BadData(ArtSoundError):
    """The data, the disk or the server is at fault (exit code 1)."""


class BadUsage(ArtSoundError):
    """The request is at fault: a wrong option, a missing folder, an unknown key (exit code 2)."""

    exit_code = 2
