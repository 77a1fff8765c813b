"""Titles and painters' names as a museum label has them, from what a record holds.

Museums' titles are quoted as they are, without catalogue remarks. ArtGraph's titles are made of
file names, which have lost capitals, punctuation and accented letters: what can be restored with
certainty is (initials, numerals, commas before ranks, compounds), and a title that was damaged
beyond that is not given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

from artsound.captions.phrasing import (
    SMALL_WORDS,
    capitalised,
    clean_name,
    headline,
    is_numeral,
    slug,
    word_set,
)

MAX_WORDS = 10

_ARTICLES = word_set("a an the la le les el il lo los las der die das un une")
_OPEN_ENDS = word_set("and at by de del di du et for from in of on or und van von with zu zur")
# Words that an article may follow within one title, beside those that end in "ing".
_BEFORE_ARTICLES = _OPEN_ENDS | word_set(
    "a against all after among as asks before behind beside between beyond caresses dans defeats "
    "down during en feeds gives holds inside into is kisses leads leaves like meets mit near off "
    "offers out outside over par per plays pour presents receives round sees shows sous sur "
    "takes through to toward towards under up upon watches without"
)
_EPITHETS = word_set(
    "apostle baptist blessed bold conqueror divine elder evangelist fair good great magnificent "
    "pious terrible wise younger"
)
_PARTS = "detail|fragment|(?:left|right) (?:half|wing)|(?:left|right|central) panel"
# Words without a vowel that have lost no letter.
_ABBREVIATIONS = word_set("dr jr mlle mme mr mrs ms sr ss st sts")
_FRAGMENTS = word_set("aka no nee or and of")
# English words after which a French, Italian or Spanish article begins the name of a place.
_BEFORE_PLACES = word_set("and at by from in near of on to")
_PLACE_ARTICLES = word_set("el il la las le les los")
# Written apart in file names; equally long, so that words can be replaced one by one.
_COMPOUNDS = (
    "general in chief", "commander in chief", "lady in waiting", "ladies in waiting",
    "father in law", "mother in law", "brother in law", "sister in law", "self portrait",
    "self portraits", "half length", "full length", "double portrait of",
)  # fmt: skip
_RANKS = (
    "archduchess|archduke|baron|baroness|comte|comtesse|count|countess|duchess|duke|earl|"
    "elector|emperor|empress|king|margrave|marchioness|marquis|marquess|marquise|prince|princess|"
    "queen|viscount|viscountess"
)
_PERSONS = word_set(
    "admiral captain colonel doctor dr general lady lord madame mademoiselle miss mr mrs "
    "portrait professor sir sitter tsar wife"
) | frozenset(_RANKS.split("|"))


def quoted(text: str) -> str:
    """A title as a museum has it, in quotation marks, or "" if it does not fit a sentence."""
    title = clean_name(_without_remarks(text), max_words=MAX_WORDS)
    if title.isupper() and len(title) > 4:
        title = title.lower()
    return f"“{headline(title)}”" if title else ""


def from_file_name(text: str) -> str:
    """A title made of a file name, in headline capitals, or "" if it reads badly.

    Fragments are not given, nor what may be two titles run together (an article that follows no
    preposition or verb) or has lost an accented letter (a letter by itself that is no initial).
    """
    plain = re.sub(r"(?i)\s+(aka|also known as)\s.*|^untitled\s+(?=\w)", "", _without_remarks(text))
    # WikiArt numbers pictures of one title in their file names.
    plain = re.sub(r"(?<=\w)(?<!\bno)(?<!\bNo)\s\d{1,2}$", "", plain.strip())
    part = re.search(rf"(?i)(?<=\w)\s+({_PARTS})$", plain)
    plain = plain[: part.start()] if part else plain
    title = clean_name(plain, max_words=MAX_WORDS, max_chars=72)
    words = _restored([word.lower() for word in title.split()])
    if not words or words[0] in _FRAGMENTS or words[-1] in _OPEN_ENDS | _ARTICLES:
        return ""
    if any(
        article in _ARTICLES
        and before not in _BEFORE_ARTICLES
        and not before.endswith("ing")
        and earlier != "to"
        and after not in _EPITHETS
        for earlier, before, article, after in zip(
            ["", *words], words, words[1:], [*words[2:], ""], strict=False
        )
    ):
        return ""
    title = capitalised(_punctuated(headline(" ".join(words))))
    return f"{title} ({part[1].lower()})" if part else title


def painter(text: str, spellings: Mapping[str, str]) -> str:
    """Whom a work is by, with the preposition: "by Paul Cézanne", "after Raphael"; or "".

    Args:
        text: The painter of a record: surnames before a comma are put last; years of life, names
            that name no person ("Anonymous") and lists of people are left out.
        spellings: The usual spelling of a name, by its slug, for sources without accents.
    """
    name = re.sub(r"\s*[(\[][^()\[\]]*[)\]]\s*$", "", text[:200].replace("_", " "))
    name = clean_name(_in_order(name), max_words=7)
    relation = re.match(
        r"(?i)(attributed to|after|circle of|follower of|manner of|school of|studio of"
        r"|workshop of)\s(?=\w)",
        name,
    )
    bare = name[relation.end() :] if relation else name
    if re.match(r"(?i)(an? )?(anon(ymous)?|unidentified|unknown|various)\b", bare) or not bare:
        return ""
    bare = spellings.get(slug(bare), bare)
    words = relation[1].lower() if relation else "attributed to" if "?" in text else "by"
    return (
        f"{words} {bare}" if words in ("attributed to", "after", "by") else f"by the {words} {bare}"
    )


def _in_order(name: str) -> str:
    """A name with the surname last, or "" if its commas do not stand before a forename."""
    parts = [part.strip() for part in name.split(",") if part.strip()]
    parts = [headline(part.lower()) if part.isupper() else part for part in parts]
    epithet = parts.pop() if len(parts) > 1 and _EPITHET.fullmatch(parts[-1]) else ""
    if len(parts) > 2 or (len(parts) == 2 and _NO_FORENAME.search(parts[1])):
        return ""
    return " ".join([*reversed(parts), epithet]).strip()


_EPITHET = re.compile(r"(?i)(the|der|le|il|la) \w+|[js]r\.?|[ivx]+")
_NO_FORENAME = re.compile(r"(?i)\b(and|et|und|century|jahrhundert)\b|&|\d")


def _without_remarks(text: str) -> str:
    """`text` without brackets, a copy's number and the end of a file name."""
    text = re.sub(r"(?i)\.(jpe?g|png|tiff?|webp)$", "", text[:1000].strip())
    text = re.sub(r"\s*\(\d{1,3}\)$", "", text)
    if re.search(r"(?i)\b(dsc|img|scan)[ _-]?\d|\b[a-z]{2,}_?\d{3,}", text):
        return ""
    if text.count("(") != text.count(")"):
        text = re.sub(r"[()]", " ", text)
    return re.sub(r"\[[^\[\]]*\]|[\[\]]", " ", text)


def _restored(words: list[str]) -> list[str]:
    """Words with initials and numerals as such; empty if one has lost letters."""
    found = []
    person = not _PERSONS.isdisjoint(words)
    for index, word in enumerate(words):
        before = words[index - 1] if index else ""
        after = words[index + 1] if index + 1 < len(words) else ""
        if len(word) != 1 or not word.isalpha():
            if word.isascii() and word.isalpha() and not _is_whole(word):
                return []
            found.append(word)
        elif word == "a" and len(after) > 1 and len(before) != 1:
            found.append(word)
        elif word == "i" and index and (not after or after in SMALL_WORDS):
            found.append("I")
        elif person and len(after) != 2 and after.isalpha() and _before_initials(before):
            found.append(f"{word.upper()}.")
        else:
            return []
    return found


def _is_whole(word: str) -> bool:
    return bool(set("aeiouy") & set(word)) or word in _ABBREVIATIONS or is_numeral(word)


def _before_initials(word: str) -> bool:
    return len(word) == 1 or word in ("of", "and") or word not in SMALL_WORDS


def _punctuated(title: str) -> str:
    """`title` with hyphens in compounds, commas before ranks, and capitals of places."""
    for compound in _COMPOUNDS:
        joined = compound.replace(" ", "-").title().replace("-In-", "-in-")
        title = re.sub(rf"(?i)\b{compound}\b", joined, title)
    title = re.sub(
        rf"(?i)(?<=\w)(?<!\bgrand)(?<!\bcount)(?<!\bthe)(?<!\band)(?<!\bof)(?<!\ba)(?<!\bto)"
        rf" ((?:\d+(?:st|nd|rd|th) )?(?:{_RANKS}) of\b)",
        r", \1",
        title,
    )
    words = title.split()
    for index, (before, word) in enumerate(pairwise(words), 1):
        if word in _PLACE_ARTICLES and before.lower() in _BEFORE_PLACES:
            words[index] = word.capitalize()
    return " ".join(words)
