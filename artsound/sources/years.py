"""The latest year that a date as people write it allows.

Copyright runs from a painter's death, so a date read too early frees protected works. Whatever a
text leaves open therefore counts as late as it may be, and as unknown where nothing bounds it.
"""

from __future__ import annotations

import re

UNKNOWN_YEAR = -1
# A date said to be about a year may be off by this much.
CIRCA_YEARS = 10
TERM_YEARS = 70

_DASHES = re.compile(r"[\u2010-\u2015\u2212]")
_NUMBER = re.compile(r"(?<!\d)(?<!\d,)(\d{3,4})(?!\d)")
_TIME = re.compile(r"t\d\d:\d\d\S*")
_DECADE = re.compile(r"(?<!\d)(\d{3,4})(?:\s?['’]?s|er|-?er)\b|(?<!\d)(\d{3,4})\s(?:decade)\b")
_SPAN = re.compile(r"(?<!\d)(\d{4})\s*[-/]\s*(\d{2})(?!\d)(?!-\d)(s?)")
_HOLES = re.compile(r"(?<!\d)\d{1,3}(?:[x?*_]|-{1,2}(?=\?|$|\s|,|;|\)))|\d[x?*_]\d")
_ABOUT = re.compile(r"\b(?:c|ca|cca|circa|about|around|approx\w*|near|um|vers|verso|hacia|probably"
                    r"|possibly|perhaps|maybe|estimated?|est)\b|[?~≈]")  # fmt: skip
_OPEN = re.compile(
    r"\b(?:after|aft|post|since|from|later|nach|ab|seit|apr[eè]s|depuis|dopo|despu[eé]s|depois|na"
    r"|not before|earli\w+|onwards?|at least|minimum|active|activity|fl|flor|floruit|flourished"
    r"|work(?:s|ed|ing)?|t[aä]tig|actif|active|attivo|activo|documented|recorded|mentioned|known"
    r"|attested|exhibit\w*|last|seen|alive|living|lives|present|today|now|heute|ongoing|missing"
    r"|disappeared|vanished|declared|century|centuries|cent|jahrhundert|jh|si[eè]cle|secolo|siglo"
    r"|born|b|birth\w*|geb|geboren|n[eé]e?|nato|nata|nacid[oa]|nascid[oa]|nac|nasc|n|naissance"
    r"|mid(?:dle)?|early|late|debut|start(?:ed)?|began|begun)\b|[>+≥*]|\bborn"
)
_DEATH = re.compile(
    r"(?:†|✝|\b(?:died|death|dead|dies|deceased|decd|d|gest|gestorben|mort[eo]?|muert[eo]"
    r"|obiit|ob|overleden|murdered|killed)\b)[\s.:,=-]*"
)
_BIRTH = re.compile(
    r"(?:\*|\b(?:born|birth|b|geb|geboren|n[eé]e?|nato|nata|nacid[oa]|n)\b)[\s.:=-]*"
    r"[^,;()†/|]*?(?<!\d)\d{3,4}(?!\d)"
)


def latest_year(text: str, this_year: int) -> int:
    """The latest year that `text` allows, such as 1959 for "1950s".

    Args:
        text: A date or a span of dates as people write it: "1926-12-05", "1890/1900",
            "1901-1987", "b. 1901, d. 1987", "1955 or 1956", "c. 1515".
        this_year: The year in which the text is read.

    Returns:
        The year, at most `this_year`. -1 where there is none, where it lies ahead, where the text
        sets no upper bound ("after 1950", "born 1940", "active 1870", "1940-"), and where "c."
        leaves it open whether 70 years have passed since.
    """
    plain = _TIME.sub("", _DASHES.sub("-", " ".join(text.casefold().split())))
    dead = _BIRTH.sub(" ", plain)
    if marks := list(_DEATH.finditer(dead)):
        dead = dead[marks[-1].end() :] or dead[: marks[-1].start()]
    dead = dead.strip(" .,;:()[]")
    if _OPEN.search(dead) or _HOLES.search(dead) or re.search(r"\d\s*-\s*\??\s*$", dead):
        return UNKNOWN_YEAR
    years = [int(number) for number in _NUMBER.findall(dead)]
    years += [_end_of_decade(match[1] or match[2]) for match in _DECADE.finditer(dead)]
    years += [_end_of_span(*match.groups()) for match in _SPAN.finditer(dead)]
    latest = max(years, default=UNKNOWN_YEAR)
    if latest > this_year:
        return UNKNOWN_YEAR
    if _ABOUT.search(dead) and this_year - (latest + CIRCA_YEARS) <= TERM_YEARS:
        return UNKNOWN_YEAR
    return latest


def _end_of_decade(year: str) -> int:
    """The last year of "1950s", and of "1900s", which may mean the century."""
    return int(year) + (99 if year.endswith("00") else 9 if year.endswith("0") else 0)


def _end_of_span(start: str, end: str, decade: str) -> int:
    """The last year of "1890-95" or "1950-60s", or the first where the second number is none."""
    last = int(start[:2] + end) + (9 if decade else 0)
    return max(int(start), last)
