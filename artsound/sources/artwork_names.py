"""What an artwork's file name and its painter's name tell, and where its image lies.

ArtGraph took its images from WikiArt, whose names run `painter-slug_title-words-year.jpg`.
"""

from __future__ import annotations

import re
import unicodedata

import polars as pl

from artsound.sources.text_repair import repaired

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
_YEAR = re.compile(r"(?:^|-)(?:c-|ca-|circa-)?(1[0-9]{3}|20[0-2][0-9])(?:-(\d{1,4}))?$")
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
# A name that has only these words is nobody's either; beside others they are part of a name.
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
    match = _YEAR.search(words)
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
