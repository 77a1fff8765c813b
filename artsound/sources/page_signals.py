"""What a server's answer says about the use of a picture in a training set.

Read are `X-Robots-Tag` (a field may come on several lines, each with rules for robots of its own)
and the TDM Reservation Protocol's `TDM-Reservation` (W3C Community Group report, 2024).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

ROBOT = "artsound"

_REFUSING = ("noai", "noimageai", "noml", "noindex", "noimageindex", "none")
_WITH_VALUE = frozenset(
    {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
)
_PLAIN = frozenset(
    {"all", "index", "follow", "nofollow", "noarchive", "nosnippet", "notranslate", "nocache",
     "nositelinkssearchbox", "indexifembedded", "noodp", "noydir"}
)  # fmt: skip
_ROBOT_NAME = re.compile(r"\*|[a-z][\w .*/-]*")


def refusal_in(fields: Iterable[tuple[str, str]]) -> str:
    """What in an answer's header fields speaks against using its picture, or nothing.

    Args:
        fields: Name and value of every header line, as received: several lines of one name must
            not be joined, since each has its own robots.

    Returns:
        The rule, such as `noai` or `tdm-reservation: 1`; empty when nothing is against it.
    """
    for name, value in fields:
        field = name.strip().lower()
        if field == "x-robots-tag" and (word := unwanted(value)):
            return word
        if field == "tdm-reservation" and value.strip().split(",")[0].strip() not in ("", "0"):
            return f"tdm-reservation: {value.strip()}"
    return ""


def unwanted(line: str) -> str:
    """The word of one line of X-Robots-Tag that speaks against us, or nothing.

    A rule for a robot of another name (`googlebot: noindex`) is not meant for us, nor are those
    after it on the line; one for every robot is, and so is one that names us.
    """
    robot = ""
    for rule in re.split(r"[,;]", line.lower()):
        before, mark, after = (word.strip() for word in rule.partition(":"))
        word = before
        if mark and before not in _WITH_VALUE:
            if before in _REFUSING or before in _PLAIN:
                word = before  # "noai: 1" is no robot's name
            elif _ROBOT_NAME.fullmatch(before):
                robot, word = before, after
            else:
                continue  # the rest of a date
        if robot in ("", "*", ROBOT):
            found = [one for one in word.split() if one in _REFUSING]
            if found:
                return found[0]
    return ""
