"""ArtGraph as published: an OGB folder or zip of names and edges, joined into one row per artwork.

Layout: `mapping/<type>_entidx2name.csv` (no header: index, name; an artwork's name is its image
file), `raw/relations/<source>___<relation>___<target>/edge.csv` (two columns of indices),
`raw/node-label/artwork/node-label-<type>.csv` (one index per line), and the images, by name, in a
folder or zip beside them. Relations are known by the types that they join, so version 1's names
(`hasstyle_rel`) and version 2's (`hasstyle`) are both read. Only artworks and their images are
required. Tables exported from ArtGraph's Neo4j dump may take the place of this layout.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import polars as pl

from artsound.errors import BadData
from artsound.rights import FIRST_YEAR, Rights, artwork_rights, bears_out, painter_dates
from artsound.sources.files import find_file, list_files, read_table
from artsound.untrusted import csv_rows, parse_csv

if TYPE_CHECKING:
    from artsound.sources.base import Options

# Names whose letters were encoded once too often, given back their letters.
#
# ArtGraph's names hold percent-encoded ones (`d%C3%BCrerin`), and lists made from WikiArt hold
# UTF-8 that was read as Latin-1 or Windows-1252, some in lower case (`joaquã­n-sorolla`).

_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_ROUNDS = 3  # encoded twice, at most, and once more to see that nothing is left
# A lead byte of UTF-8 as a Latin-1 letter, lower-cased or not, and what may follow it.
_LEAD_TWO = range(0xC2, 0xE0)
_LEAD_THREE = range(0xE0, 0xF0)
# "é’" and "è…" are a letter and a sign, not what is left of one lower-cased letter, unless the
# first has one of these codes in capitals.
_LEAD_LOWERED = (0xC3, 0xC4, 0xC5)
_SIGNS = (0x85, *range(0x91, 0x98), 0xAB, 0xBB)


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
        if lead != codes[0] and lead not in _LEAD_LOWERED and {*codes[1:2]} & {*_SIGNS}:
            continue
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


# The latest year that a date as people write it allows.
#
# Copyright runs from a painter's death, so a date read too early frees protected works. Whatever a
# text leaves open therefore counts as late as it may be, and as unknown where nothing bounds it.

UNKNOWN_YEAR = -1
# A date said to be about a year may be off by this much.
CIRCA_YEARS = 10
TERM_YEARS = 70

_DASHES = re.compile(r"[\u2010-\u2015\u2212]")
_NUMBER = re.compile(r"(?<!\d)(?<!\d,)(\d{3,4})(?!\d)")
_TIME = re.compile(r"t\d\d:\d\d\S*")
_DECADE = re.compile(r"(?<!\d)(\d{3,4})(?:\s?['’]?s|er|-?er)\b|(?<!\d)(\d{3,4})\s(?:decade)\b")
_SPAN = re.compile(
    r"(?<!\d)(\d{4})(?:\s?['’]?s|er)?\s*(?:[-/&,;|]|or|and|to|und|et|oder|ou|bis|y|o)"
    r"\s*['’‘]?(\d{1,2})(?!\d)(?![-/.]\d)(['’]?s|-?er)?"
)
# Dates that stand for none in databases and spreadsheets.
_PLACEHOLDERS = ("1899-12-30", "1899-12-31", "1900-01-00", "1900-01-01", "1970-01-01")
# "1.955" may be 1955 with a mark for thousands; "3.4.56" has a year of two digits.
_MISLEADING = re.compile(r"(?<!\d)\d[.,'’ ]\d{3}(?!\d)|(?<!\d)\d{1,2}[./]\d{1,2}[./]\d{2}(?!\d)")
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
# fmt: off
# The words that leave a date as it is. Any other, in any language, may mean that it is one of a
# birth or sets no upper bound, as in "ur. 1855" and "1855 and beyond".
_PLAIN_WORDS = frozenset({
    "jan", "january", "januar", "jänner", "janvier", "gennaio", "enero", "janeiro",
    "feb", "february", "februar", "février", "febbraio", "febrero", "fevereiro",
    "mar", "march", "märz", "mars", "marzo", "março", "apr", "april", "avril", "aprile", "abril",
    "may", "mai", "maggio", "mayo", "maio", "jun", "june", "juni", "juin", "giugno", "junio",
    "jul", "july", "juli", "juillet", "luglio", "julio", "aug", "august", "août", "agosto",
    "sep", "sept", "september", "septembre", "settembre", "septiembre", "setembro",
    "oct", "okt", "october", "oktober", "octobre", "ottobre", "octubre", "outubro",
    "nov", "november", "novembre", "noviembre", "novembro",
    "dec", "dez", "december", "dezember", "décembre", "dicembre", "diciembre", "dezembro",
    "st", "nd", "rd", "th", "in", "on", "at", "the", "of", "by", "de", "di", "or", "and", "to",
    "und", "et", "y", "e", "o", "ou", "oder", "bis", "between", "entre", "zwischen", "before",
    "bef", "vor", "avant", "prima", "antes", "until", "till", "year", "years", "yr", "anno", "a",
    "ad", "ce", "bc", "bce", "age", "aged", "old", "so", "i", "ii", "г", "год", "年",
})
# fmt: on


def latest_year(text: str, this_year: int) -> int:
    """The latest year that `text` allows, such as 1959 for "1950s".

    Args:
        text: A date or a span of dates as people write it: "1926-12-05", "1890/1900",
            "1901-1987", "b. 1901, d. 1987", "1955 or 1956", "c. 1515".
        this_year: The year in which the text is read.

    Returns:
        The year, at most `this_year`. -1 where there is none, where it lies ahead, where words or
        signs are not understood, where the text sets no upper bound ("after 1950", "born 1940",
        "active 1870", "1940-"), and where "c." leaves it open whether 70 years have passed since.
    """
    plain = unicodedata.normalize("NFC", " ".join(text.casefold().split()))
    plain = _TIME.sub("", _DASHES.sub("-", plain))
    if plain.startswith(_PLACEHOLDERS):
        return UNKNOWN_YEAR
    plain = re.sub(r"(?<=[^\W\d_])(?=\d)", " ", plain)  # "b1901" as "b 1901"
    dead = _BIRTH.sub(" ", plain)
    if marks := list(_DEATH.finditer(dead)):
        dead = dead[marks[-1].end() :] or dead[: marks[-1].start()]
    dead = dead.strip(" .,;:()[]")
    if _OPEN.search(dead) or _HOLES.search(dead) or re.search(r"\d\s*-\s*\??\s*$", dead):
        return UNKNOWN_YEAR
    if _MISLEADING.search(dead) or not _is_plain(dead):
        return UNKNOWN_YEAR
    years = [int(number) for number in _NUMBER.findall(dead)]
    years += [_end_of_decade(match[1] or match[2]) for match in _DECADE.finditer(dead)]
    years += [_end_of_span(*match.groups()) for match in _SPAN.finditer(dead)]
    latest = max(years, default=UNKNOWN_YEAR)
    if latest > this_year or latest < FIRST_YEAR:
        return UNKNOWN_YEAR
    if _ABOUT.search(dead) and this_year - (latest + CIRCA_YEARS) <= TERM_YEARS:
        return UNKNOWN_YEAR
    return latest


def _is_plain(date: str) -> bool:
    """Whether a date has only words and signs of which the meaning is known."""
    rest = _DEATH.sub(" ", _ABOUT.sub(" ", _DECADE.sub(" ", _SPAN.sub(" ", date))))
    words = re.findall(r"[^\W\d_]+", rest)
    signs = re.sub(r"[\w\s.,;:/()\[\]'’‘\"<≤=|&-]", "", rest)
    return not signs and all(word in _PLAIN_WORDS for word in words)


def _end_of_decade(year: str) -> int:
    """The last year of "1950s", and of "1900s", which may mean the century."""
    return int(year) + (99 if year.endswith("00") else 9 if year.endswith("0") else 0)


def _end_of_span(start: str, end: str, decade: str) -> int:
    """The last year of "1890-95" or "1950-60s", or the first where the second number is none."""
    last = int(start[: -len(end)] + end) + (9 if decade else 0)
    return max(int(start), last)


# What an artwork's file name and its painter's name tell, and where its image lies.
#
# ArtGraph took its images from WikiArt, whose names run `painter-slug_title-words-year.jpg`.

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff")

# fmt: off
_PARTICLES = frozenset({
    "af", "da", "das", "de", "del", "della", "dei", "den", "der", "di", "dos", "du", "el", "la",
    "le", "of", "ten", "ter", "the", "und", "van", "von", "y", "zu",
})
# Without vi and xi, which are words in several languages.
_NUMERALS = frozenset({
    "ii", "iii", "iv", "vii", "viii", "ix", "xii", "xiii", "xiv", "xv", "xvi", "xvii", "xviii",
    "xix",
})
# fmt: on
_NAME_YEAR = re.compile(r"(?:^|-)(?:c-|ca-|circa-)?(1[0-9]{3}|20[0-2][0-9])(?:-(\d{1,4}))?$")
_TITLE_YEAR = re.compile(r"-(?:in|no|year)$")
_NO_BOUND = re.compile(r"(?:^|-)(?:after|since|post|not-before|born)$")
_WHOLE_TITLE = 90  # WikiArt cuts longer titles, at any word, before it adds the year
_COPY = re.compile(r"\(\d+\)$")
_POSSESSIVE = re.compile(r"\b(?!(?:de|des|la|le|the) )(\w{2,}) s\b")
_ELISION = re.compile(r"\b([dl]) (?=[aeiouh])")
# Words by which catalogues say that the painter is not known, in any place of the name; a notname
# such as "Master of the Female Half-Lengths" is one painter and none of these.
_NAMELESS_WORDS = frozenset({
    "unknown", "anonymous", "anonymus", "anonyme", "anonym", "anonimo", "anonima", "anonimos",
    "anon", "unidentified", "unattributed", "unnamed", "nameless", "unbekannt", "unbekannter",
    "unbekannte", "unbekannten", "inconnu", "inconnue", "inconnus", "ignoto", "ignota", "ignoti",
    "sconosciuto", "sconosciuta", "desconocido", "desconocida", "desconhecido", "desconhecida",
    "onbekend", "onbekende", "okand", "ukjent", "ukendt", "nieznany", "neznamy", "neznam",
    "tuntematon", "ismeretlen", "necunoscut", "neizvestnyi", "neizvestny", "неизвестен",
    "неизвестный", "неизвестная", "аноним",
})  # fmt: skip
# A name of only these words names no painter either; beside others they are part of a name.
_GENERIC_WORDS = frozenset({
    "artist", "artists", "painter", "painters", "author", "master", "maker", "school", "workshop",
    "studio", "atelier", "nan", "null", "none", "na", "nn", "tbd", "x", "various", "diverse",
    "several", "multiple", "collective",
})  # fmt: skip
_FILLERS = frozenset({"the", "a", "an", "by", "of", "no", "not", "name", "known", "n"})
# "Follower of Rembrandt" is not Rembrandt, nor one person; "orthodox icons" have many painters.
_BY_OTHERS = re.compile(
    r"^(?:(?:school|workshop|studio|circle|followers?|pupils?|students?|imitators?|manner|style"
    r"|copy|copyist|assistants?|entourage|atelier|bottega|scuola|cerchia|werkstatt|umkreis)"
    r"-(?:of|after|de|di|van|von|del|der)-|(?:after|attributed-to|copy-after|nach|d-apres)-)"
    r"|-(?:school|workshop|studio|circle|followers?)$"
    r"|(?:^|-)(?:icons|architecture|mosaics?|pottery|frescoes|paintings?|sculptures?|manuscripts?"
    r"|textiles?|crafts?|folk-art|cave-art|art)$"
)
_UNNAMED = re.compile(r"^(?:not[_-]detected|unknown-title|title-unknown)(?:[_-]\d+)?$")


def complete(table: pl.DataFrame, files: pl.DataFrame, this_year: int) -> pl.DataFrame:
    """`table` with what its names tell, and the place of each image.

    It needs artwork_id and painter_id (any form of the painter's name, or empty). painter_id
    becomes a slug; painter, title, year and source_url are there afterwards, those that were there
    already going first; `year_stated` says that the year was there, and was not read from a name;
    box, name, size and stamp are those of the image in `files`, name being empty when there is
    none.
    """
    given = table.with_columns(
        *(
            pl.lit(unknown).alias(column)
            for column, unknown in (("title", ""), ("year", -1), ("source_url", ""))
            if column not in table.columns
        )
    )
    read: list[tuple[str, str, int]] = []
    shown: dict[str, str] = {}
    for file_name, painter in given.select("artwork_id", "painter_id").iter_rows():
        read.append(read_name(file_name, painter, this_year))
        slug, printed = read[-1][0], repaired(painter)
        shown.setdefault(slug, printed if _is_printed(printed) else display_name(slug))
    named = given.with_columns(
        pl.Series("painter_id", [slug for slug, _, _ in read], dtype=pl.String),
        pl.Series("painter", [shown[slug] for slug, _, _ in read], dtype=pl.String),
        pl.Series("read_title", [title for _, title, _ in read], dtype=pl.String),
        pl.Series("read_year", [year for _, _, year in read], dtype=pl.Int32),
    ).with_columns(
        (pl.col("year") >= 0).alias("year_stated"),
        pl.when(pl.col("title") == "").then("read_title").otherwise("title").alias("title"),
        pl.when(pl.col("year") < 0)
        .then("read_year")
        .otherwise("year")
        .cast(pl.Int32)
        .alias("year"),
    )
    return _with_images(named.drop("read_title", "read_year"), files)


def read_name(file_name: str, painter: str = "", this_year: int = 2026) -> tuple[str, str, int]:
    """(painter's slug, title, year) from a name like `claude-monet_haystacks-1891.jpg`.

    `painter` is the name that the graph gives, which goes first; without it, what stands before
    the first underscore counts. The title is in sentence case, empty when the name holds none
    (`not_detected_229434`); the year is -1 when there is none between 1000 and `this_year`.
    """
    stem = repaired(file_name.rpartition("/")[2])
    for suffix in IMAGE_SUFFIXES:
        if stem.lower().endswith(suffix):
            stem = stem[: -len(suffix)]
            break
    slug = slugify(painter)
    before, mark, after = stem.partition("_")
    if slug and slugify(stem[: len(slug)]) == slug and stem[len(slug) :][:1] == "_":
        after = stem[len(slug) + 1 :]
    elif not mark:
        before, after = "", stem
    words = _COPY.sub("", after).strip("-_ ").lower()
    words, year = _split_year(words, this_year)
    title = "" if _UNNAMED.match(words) else _title(words)
    return slug or slugify(before) or "unknown", title, year


def _split_year(words: str, this_year: int) -> tuple[str, int]:
    """The title's words, and the year after them: -1 when there is none."""
    match = _NAME_YEAR.search(words)
    if match is None:
        return words, -1
    if _NO_BOUND.search(words[: match.start()]):
        return words[: match.end()], -1  # "after-1850" bounds nothing
    title, year, last = words[: match.start()], int(match[1]), match[2] or ""
    if _TITLE_YEAR.search(title) and len(title) < _WHOLE_TITLE:
        # "chopin-in-berlin-in-1829" was not painted then, "chopin-in-berlin-in-1829-1887" later.
        title, year = words[: match.end(1)], int(last) if len(last) == 4 else this_year + 1
    elif len(last) in (2, 4):
        # 1890-95 and 1890-1895 are spans; the 1 of 1895-1 only counts copies.
        end = int(str(year)[: 4 - len(last)] + last)
        year = end if year <= end <= this_year else year
    return (title, year) if 1000 <= year <= this_year else (words, -1)


def _title(words: str) -> str:
    title = " ".join(re.split(r"[-_\s]+", words)).strip()
    title = _POSSESSIVE.sub(r"\1's", title)
    title = _ELISION.sub(r"\1'", title)
    title = " ".join(word.upper() if word in _NUMERALS else word for word in title.split(" "))
    return title[:1].upper() + title[1:]


def slugify(name: str) -> str:
    """A painter's name as ArtGraph and WikiArt write it in file names: `claude-monet`."""
    return re.sub(r"[\s_]+", "-", repaired(name).strip().lower())


def is_nameless(slug: str) -> bool:
    """Whether a painter's slug names no one person: `unknown`, `anonymous-3`, `follower-of-x`.

    Works of nameless painters are by different people, so they say nothing about each other.
    """
    bare = "".join(
        letter
        for letter in unicodedata.normalize("NFKD", slug.casefold())
        if not unicodedata.combining(letter)
    )
    words = [word for word in re.split(r"[\W_\d]+", bare) if word]
    naming = [word for word in words if word not in _FILLERS]
    if not naming or any(word in _NAMELESS_WORDS for word in naming):
        return True
    if all(word in _GENERIC_WORDS for word in naming):
        return True
    return _BY_OTHERS.search("-".join(words)) is not None


def display_name(slug: str) -> str:
    """A painter's name as printed: `vincent-van-gogh` gives Vincent van Gogh."""
    if slug == "unknown":
        return ""
    words = [word for word in slug.split("-") if word]
    shown: list[str] = []
    for number, word in enumerate(words):
        if number and shown[-1] in ("d'", "O'"):
            shown[-1] += word.capitalize()
        elif number and word in _PARTICLES:
            shown.append(word)
        elif word in _NUMERALS:
            shown.append(word.upper())
        elif number and number < len(words) - 1 and word in ("d", "o"):
            shown.append({"d": "d'", "o": "O'"}[word])
        elif len(word) == 1:
            shown.append(f"{word.upper()}.")
        elif number and word in ("jr", "sr"):
            shown.append(f"{word.capitalize()}.")
        else:
            shown.append(word.capitalize())
    return " ".join(shown)


def _is_printed(name: str) -> bool:
    return name.strip() != name.strip().lower()


def _found_keys(keys: pl.Series, there: pl.Series) -> pl.Series:
    """`keys` with those that are not `there` replaced by their only match but for case."""
    if keys.is_in(there.implode()).all():
        return keys
    others = there.filter(~there.is_in(keys.implode()))
    folded = pl.DataFrame({"folded": others.str.to_lowercase(), "found": others})
    folded = folded.filter(folded["folded"].is_unique())
    asked = pl.DataFrame({"key": keys, "folded": keys.str.to_lowercase()})
    asked = asked.with_columns(
        pl.when(asked["folded"].is_unique() & ~keys.is_in(there.implode())).then("folded")
    )
    matched = asked.join(folded, on="folded", how="left", maintain_order="left")
    return matched.select(pl.coalesce("found", "key").alias("key"))["key"]


def _with_images(table: pl.DataFrame, files: pl.DataFrame) -> pl.DataFrame:
    """Add where each artwork's image lies; the folder `imagesf2` goes before any other.

    A name in other case (`.JPG` for `.jpg`) is found when that leaves no doubt.
    """
    images = (
        files.filter(
            pl.col("name").str.to_lowercase().str.contains(r"\.(jpe?g|png|gif|webp|bmp|tiff?)$")
        )
        .with_columns(
            pl.col("name").str.extract(r"([^/]+)$").str.normalize("NFC").alias("key"),
            (~pl.concat_str("box", "name", separator="/").str.contains("imagesf2")).alias("rank"),
        )
        .sort("rank", "box", "name")
        .unique("key", keep="first", maintain_order=True)
        .drop("rank")
    )
    keys = (
        table["artwork_id"]
        .str.extract(r"([^/]+)$")
        .fill_null("")
        .map_elements(lambda name: unicodedata.normalize("NFC", name), return_dtype=pl.String)
    )
    return (
        table.with_columns(_found_keys(keys, images["key"]).alias("key"))
        .join(images, on="key", how="left", maintain_order="left")
        .drop("key")
        .with_columns(pl.col("box", "name", "stamp").fill_null(""), pl.col("size").fill_null(0))
    )


# Tables exported from ArtGraph's Neo4j dump: in place of the OGB layout, or beside it.
#
# ArtGraph 2 is also shipped as a Neo4j 4.4 dump, whose nodes hold what the OGB layout lacks: the
# address of each image, and what is known of the painters. Load the dump and export two files with
# APOC (`apoc.export.file.enabled=true`), then lay them beside the images, or beside mapping/:
#
#     CALL apoc.export.csv.query("
#       MATCH (a:Artwork) RETURN a.name AS name, a.image_url AS image_url,
#         [(a)--(x:Artist) | x.name][0] AS artist, [(a)--(x:Style) | x.name][0] AS style,
#         [(a)--(x:Genre) | x.name][0] AS genre, [(a)--(x:Period) | x.name][0] AS period,
#         [(a)--(:Artist)--(x:Training) | x.name][0] AS school,
#         [(a)--(x:Tag) | x.name] AS tags, [(a)--(x:Media) | x.name] AS media,
#         [(a)--(x:Emotion) | x.name] AS emotions
#       ", "artgraph_artworks.csv", {})
#     CALL apoc.export.csv.query("
#       MATCH (x:Artist) RETURN x.name AS name, x.death_date AS died
#       ", "artgraph_artists.csv", {})
#
# Columns may come in any order; all but `name` may be missing, `title` and `year` may be added.
# Lists are JSON (as APOC writes them) or joined by `|`. The painters' file matters for rights:
# only
# a year of death frees works of the last 170 years.

ARTWORKS = "artgraph_artworks.csv"
ARTISTS = "artgraph_artists.csv"

_TEXTS = ("style", "genre", "school", "period", "title")
_EXPORT_LISTS = ("tags", "media", "emotions")


def read_export(root: Path, files: pl.DataFrame, this_year: int) -> pl.DataFrame | None:
    """The rows of artgraph_artworks.csv, or None when there is no such file.

    Columns: artwork_index (the row's number), artwork_id, painter_id (name as exported), title,
    year, style, genre, school, period, tags, media, emotions and source_url. Raises BadData when
    the table is broken or names an artwork twice.
    """
    found = _rows(root, files, ARTWORKS)
    if found is None:
        return None
    where, rows = found
    names = [row["name"].strip() for row in rows]
    name, times = Counter(names).most_common(1)[0]
    if broken := [one for one in names if "\n" in one or "\r" in one]:
        raise BadData(
            f"{where} has a name with a line break, {broken[0][:60]!r}: a quotation mark is "
            "missing or too many."
        )
    if times > 1 or "" in names:
        raise BadData(f"{where} has a row without a name, or the name {name!r} {times} times.")
    schema = pl.Schema(
        {
            "artwork_index": pl.Int32(),
            "artwork_id": pl.String(),
            "painter_id": pl.String(),
            **dict.fromkeys(_TEXTS, pl.String()),
            "year": pl.Int32(),
            "source_url": pl.String(),
            **dict.fromkeys(_EXPORT_LISTS, pl.List(pl.String)),
        }
    )
    return pl.DataFrame(
        [
            (
                number,
                row["name"].strip(),
                row.get("artist", "").strip(),
                *(row.get(column, "").strip() for column in _TEXTS),
                latest_year(row.get("year", ""), this_year),
                _address(row.get("image_url", "")),
                *(_list(where, row.get(column, "")) for column in _EXPORT_LISTS),
            )
            for number, row in enumerate(rows)
        ],
        schema=schema,
        orient="row",
    )


def read_deaths(root: Path, files: pl.DataFrame, this_year: int) -> dict[str, int]:
    """The year of death of each painter, by slug, from artgraph_artists.csv; empty without it.

    It is the latest that the text allows, and the latest of painters who share a slug.
    """
    found = _rows(root, files, ARTISTS)
    if found is None:
        return {}
    where, rows = found
    if rows and "died" not in rows[0]:
        raise BadData(f"{where} lacks the column died.")
    died: dict[str, int] = {}
    unsure: set[str] = set()
    for row in rows:
        slug, year = slugify(row["name"]), latest_year(row["died"], this_year)
        if year < 0 and row["died"].strip():
            unsure.add(slug)  # a namesake of whom it is unknown leaves it unknown for all
        died[slug] = max(year, died.get(slug, -1))
    return {slug: year for slug, year in died.items() if slug and year >= 0 and slug not in unsure}


def _rows(root: Path, files: pl.DataFrame, name: str) -> tuple[Path, list[dict[str, str]]] | None:
    found = find_file(files, name, root)
    if found is None:
        return None
    where = root.joinpath(*found)
    try:
        header, *cells = csv_rows(read_table(root, *found)) or [[]]
    except ValueError as error:
        raise BadData(f"{where} is not a CSV table in UTF-8: {error}.") from error
    if any(len(row) > len(header) for row in cells):
        raise BadData(f"{where} has a row with more cells than its header: export it again.")
    if broken := [cell for row in cells for cell in row if "\n" in cell and "," in cell]:
        raise BadData(
            f"{where} has a cell with a comma and a line break, {broken[0][:60]!r}: a quotation "
            "mark is missing or too many, or the cell must be written on one line."
        )
    rows = [dict(zip_longest(header, row, fillvalue="")) for row in cells if row]
    if not rows or "name" not in rows[0]:
        raise BadData(f"{where} has no rows or no column `name`: export it again.")
    return where, rows


def _list(where: Path, text: str) -> list[str]:
    text = text.strip()
    items: Iterable[object] = text.split("|")
    if text.startswith("["):
        try:
            items = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadData(f"{where} holds a list that is not JSON: {text[:60]!r}.") from error
    return list(dict.fromkeys(word for item in items if (word := str(item).strip())))


def _address(text: str) -> str:
    text = text.strip()
    return text if text.startswith(("http://", "https://")) else ""


# Field of a row, and the node types that fill it: the first is version 2's name.
_SINGLE = {"style": ("style",), "genre": ("genre",), "period": ("period",)}
_LISTS = {"tags": ("tag",), "media": ("media",), "emotions": ("emotion",)}
_SCHOOL = ("training", "school")

_MOST_NODES = 2**31 - 1
_MARKER = "mapping/artwork_entidx2name.csv"
_RELATION = re.compile(r"raw/relations/([^/]+?)___([^/]+)___([^/]+)/edge\.csv$")


def list_artgraph(root: Path) -> pl.DataFrame:
    """ArtGraph's files, as `list_files` gives them, all zips in the folder included."""
    return list_files(root)


def check_source(root: Path, files: pl.DataFrame) -> None:
    """Raise BadData when the files that `list_source` gave are not those of an ArtGraph."""
    if find_file(files, _MARKER) is None and find_file(files, ARTWORKS) is None:
        raise _not_artgraph(root)


def _not_artgraph(root: Path) -> BadData:
    return BadData(f"{root} is not ArtGraph: it has neither {_MARKER} (OGB layout) nor {ARTWORKS}.")


def read_artworks(root: Path, files: pl.DataFrame, this_year: int) -> pl.DataFrame:
    """One row per artwork of an ArtGraph folder or zip, OGB layout or export or both.

    Columns: artwork_id (image file name), artwork_index, title, painter, painter_id (slug),
    painter_died and year (-1 unknown, never after `this_year`), style, genre, school, period
    (empty when unknown), tags, media, emotions (lists), source_url, and where the image lies:
    box, name, size, stamp as `list_files` gives them, name being empty when the image is absent.
    `files` is what `list_source` gave. Raises BadData when `root` is not ArtGraph or a table in
    it is broken.
    """
    export = read_export(root, files, this_year)
    if export is not None and find_file(files, _MARKER, root) is None:
        table = export
    else:
        table = _read_graph(root, files)
        if export is not None:
            known = export.select("artwork_id", "title", "year", "source_url")
            table = table.join(known, on="artwork_id", how="left").with_columns(
                pl.col("title", "source_url").fill_null(""), pl.col("year").fill_null(-1)
            )
    deaths = read_deaths(root, files, this_year)
    table = complete(table, files, this_year)
    died = [deaths.get(slug, -1) for slug in table["painter_id"]]
    return table.with_columns(pl.Series("painter_died", died, dtype=pl.Int32)).sort("artwork_index")


def _read_graph(root: Path, files: pl.DataFrame) -> pl.DataFrame:
    """The OGB layout's tables, joined into one row per artwork."""
    graph = _Graph(root, files)
    artworks = graph.nodes(("artwork",))
    if artworks is None or artworks.is_empty():
        raise BadData(f"{root}: {_MARKER} lists no artwork.")
    repeated = artworks.filter(artworks["name"].is_duplicated())
    if not repeated.is_empty():
        raise BadData(f"{root}: {_MARKER} lists {repeated['name'][0]!r} twice.")
    graph.check_used()
    columns = {"painter_id": _first(graph.edges("artwork", ("artist",)))}
    for field, types in _SINGLE.items():
        linked = graph.edges("artwork", types)
        columns[field] = _first(graph.labels(types, artworks) if linked.is_empty() else linked)
    columns["school"] = _first(_schools(graph))
    for field, types in _LISTS.items():
        columns[field] = _all(graph.edges("artwork", types))
    table = artworks.select(
        pl.col("index").alias("source"),
        pl.col("index").cast(pl.Int32).alias("artwork_index"),
        pl.col("name").alias("artwork_id"),
    )
    for field, column in columns.items():
        if not column.is_empty() and not column["source"].is_in(table["source"].implode()).any():
            raise BadData(
                f"{root}: the relations of {field} name no artwork that {_MARKER} lists: "
                "take both from one release."
            )
        table = table.join(column.rename({"target": field}), on="source", how="left")
    return table.drop("source").with_columns(
        pl.col("painter_id", "school", *_SINGLE).fill_null(""),
        *(pl.col(field).fill_null(pl.lit([], dtype=pl.List(pl.String))) for field in _LISTS),
    )


class _Graph:
    """The tables of one ArtGraph release, found wherever they lie below `root`."""

    def __init__(self, root: Path, files: pl.DataFrame) -> None:
        found = find_file(files, _MARKER, root)
        if found is None:
            raise _not_artgraph(root)
        self.root, self.box = root, found[0]
        self.prefix = found[1].removesuffix(".gz").removesuffix(_MARKER)
        inside = files.filter(
            (pl.col("box") == self.box) & pl.col("name").str.starts_with(self.prefix)
        )
        # Names without .gz, in which OGB ships its tables; of both forms of one, the plain.
        stored = sorted(inside["name"].str.strip_prefix(self.prefix), reverse=True)
        self.names = {name.removesuffix(".gz"): name for name in stored}
        found_relations = (_RELATION.match(name) for name in sorted(self.names))
        self.relations = [match for match in found_relations if match]

    def nodes(self, types: tuple[str, ...]) -> pl.DataFrame | None:
        """Index and name of every node of the first of `types` there is, else None."""
        for kind in types:
            path = f"mapping/{kind}_entidx2name.csv"
            if path in self.names:
                return self._mapping(path)
        return None

    def check_used(self) -> None:
        """Raise BadData where a mapping names nodes that no relation and no label leads to."""
        for types in (("artist",), *_SINGLE.values(), *_LISTS.values(), _SCHOOL):
            for kind in types:
                path = f"mapping/{kind}_entidx2name.csv"
                linked = any(relation[3] == kind for relation in self.relations)
                label = f"raw/node-label/artwork/node-label-{kind}.csv"
                if path in self.names and not linked and label not in self.names:
                    raise BadData(
                        f"{self.root}: {path} is there, but neither "
                        f"raw/relations/artwork___…___{kind}/edge.csv nor {label}, which say "
                        f"whose they are: add one, or leave the {kind} table out."
                    )

    def edges(self, source: str, targets: tuple[str, ...]) -> pl.DataFrame:
        """Source index and target name of every edge between two types, in file order."""
        frames = [pl.DataFrame(schema={"source": pl.Int64, "target": pl.String})]
        for relation in self.relations:
            if relation[1] == source and relation[3] in targets:
                path, nodes = relation[0], self.nodes((relation[3],))
                if nodes is None:
                    raise BadData(
                        f"{self.root}: {path} is there, "
                        f"but mapping/{relation[3]}_entidx2name.csv is not."
                    )
                pairs = self._numbers(path, ["source", "index"])
                if (pairs["source"] < 0).any():
                    raise BadData(f"{self.root}: {path} has an edge from a node below zero.")
                frames.append(self._named(path, pairs, nodes))
        return pl.concat(frames)

    def labels(self, types: tuple[str, ...], artworks: pl.DataFrame) -> pl.DataFrame:
        """The same from the node labels, which hold one target index for each artwork."""
        for kind in types:
            path, nodes = f"raw/node-label/artwork/node-label-{kind}.csv", self.nodes((kind,))
            if path in self.names and nodes is not None:
                pairs = self._numbers(path, ["index"]).with_row_index("source")
                last = artworks["index"].max()
                if isinstance(last, int) and pairs.height != last + 1:
                    raise BadData(
                        f"{self.root}: {path} has {pairs.height} rows for {last + 1} artworks, so "
                        "its rows cannot be assigned: add raw/relations, or leave it out."
                    )
                return self._named(
                    path,
                    pairs.with_columns(pl.col("source").cast(pl.Int64)).filter(
                        pl.col("index") >= 0
                    ),
                    nodes,
                )
        return pl.DataFrame(schema={"source": pl.Int64, "target": pl.String})

    def _named(self, path: str, pairs: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
        named = pairs.join(nodes, on="index", how="left", maintain_order="left")
        lost = named.filter(pl.col("name").is_null())
        if not lost.is_empty():
            raise BadData(
                f"{self.root}: {path} points to node {lost['index'][0]}, which its mapping lacks."
            )
        return named.select("source", pl.col("name").alias("target"))

    def _mapping(self, path: str) -> pl.DataFrame:
        where = self.root / self.box / f"{self.prefix}{self.names[path]}"
        data = self._read(path)
        try:
            cells = csv_rows(data)
        except ValueError as error:
            raise BadData(f"{where} is not a table of index,name: {error}.") from error
        # An unquoted name may hold commas: everything after the first is the name.
        rows = [(row[0], ",".join(row[1:]).strip()) for row in cells if row]
        if rows and not _is_number(rows[0][0]):
            rows = rows[1:]  # a header; 0.0 or -1 is a wrong index
        try:
            nodes = pl.DataFrame(
                {"index": [int(row[0]) for row in rows], "name": [row[1] for row in rows]},
                schema={"index": pl.Int64, "name": pl.String},
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise BadData(f"{where} is not a table of index,name.") from error
        if broken := [name for _, name in rows if "\n" in name or "\r" in name]:
            raise BadData(
                f"{where} has a name with a line break, {broken[0][:60]!r}: a quotation mark is "
                "missing or too many."
            )
        if not nodes["index"].is_between(0, _MOST_NODES).all() or "" in nodes["name"]:
            raise BadData(f"{where} has a row without a name, or with an index out of range.")
        repeated = nodes.filter(nodes["index"].is_duplicated())
        if not repeated.is_empty():
            raise BadData(f"{where} gives index {repeated['index'][0]} twice.")
        return nodes

    def _read(self, path: str) -> bytes:
        return read_table(self.root, self.box, self.prefix + self.names[path])

    def _numbers(self, path: str, columns: list[str]) -> pl.DataFrame:
        data = self._read(path)
        schema = dict.fromkeys(columns, pl.Int64)
        if not data.strip():
            return pl.DataFrame(schema=schema)
        try:
            frame = parse_csv(data, has_header=False, schema=schema)
        except ValueError as error:
            raise BadData(f"{self.root / self.box}: {path}, {error}.") from error
        except pl.exceptions.PolarsError as error:
            raise BadData(
                f"{self.root / self.box}: {path} is not a table of {len(columns)} numbers a line."
            ) from error
        if sum(frame.null_count().row(0)):
            raise BadData(f"{self.root / self.box}: {path} has an empty cell.")
        return frame


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _first(edges: pl.DataFrame) -> pl.DataFrame:
    """The first target of each source."""
    return edges.unique("source", keep="first", maintain_order=True)


def _all(edges: pl.DataFrame) -> pl.DataFrame:
    """The list of each source's targets, each named once, in the order of the edges."""
    listed = pl.col("target").unique(maintain_order=True)
    return edges.group_by("source", maintain_order=True).agg(listed)


def _schools(graph: _Graph) -> pl.DataFrame:
    """Schools hang on artists: carry each to the artist's artworks."""
    direct = graph.edges("artwork", _SCHOOL)
    by_artist = _first(graph.edges("artist", _SCHOOL)).rename({"target": "school"})
    artists = graph.nodes(("artist",))
    if artists is None or by_artist.is_empty():
        return direct
    named = by_artist.join(artists, left_on="source", right_on="index").select("name", "school")
    through = graph.edges("artwork", ("artist",)).join(
        named, left_on="target", right_on="name", maintain_order="left"
    )
    return pl.concat([direct, through.select("source", pl.col("school").alias("target"))])


def _artworks_rights(table: pl.DataFrame, this_year: int) -> list[Rights]:
    """The rights of all artworks of a source, from what is known of their painters.

    Works of nameless painters are not taken together. A year that was read from a file name counts
    only where the source states it, where the style bears it out, or beside another dated work of
    the painter: one with another title or year, so that a second copy of a file is none.
    """
    columns = ("painter_id", "painter_died", "title", "year", "style", "year_stated")
    rows = table.select(columns).rows()
    works: dict[str, set[tuple[str, int]]] = {}
    died: dict[str, int] = {}
    for painter, death, title, year, _, _ in rows:
        works.setdefault(painter, set()).add((title.casefold(), year))
        died[painter] = max(death, died.get(painter, -1))
    dates = {
        painter: painter_dates(died[painter], [year for _, year in sorted(of_painter)])
        for painter, of_painter in works.items()
        if not is_nameless(painter)
    }
    found: list[Rights] = []
    for painter, _, _, year, style, stated in rows:
        known = dates.get(painter) or painter_dates(-1, [year])
        sure = stated or known.second >= 0 or bears_out(style, year)
        found.append(artwork_rights(year, known, this_year, sure=sure))
    return found


class ArtGraph:
    """Digitised artworks of WikiArt and DBpedia with their graph (Castellano et al., 2022)."""

    name = "artgraph"
    version = "1"
    sides = ("artwork",)
    home = "https://doi.org/10.5281/zenodo.8172374"
    key_prefix = ""  # an artwork has the name of its image

    @property
    def server(self) -> Any:
        """How it is fetched from Zenodo or another server."""
        from artsound.sources.servers import ARTGRAPH

        return ARTGRAPH

    def check(self, side: str, root: Path, files: pl.DataFrame) -> None:
        """Raise BadData when the files are not those of an ArtGraph."""
        check_source(root, files)

    def read(self, side: str, root: Path, files: pl.DataFrame, options: Options) -> pl.DataFrame:
        """One row for each artwork: see `read_artworks`."""
        return read_artworks(root, files, options.year)

    def rights(self, table: pl.DataFrame, this_year: int) -> list[Rights]:
        """The rights of all artworks, from the dates of works and painters."""
        return _artworks_rights(table, this_year)


SOURCE = ArtGraph()
