"""Which artwork or track a line of a list names, however the line is spelled.

Lists of ids, of takedowns and of opt-outs are written by people, out of e-mails, file managers and
web pages. A line may hold an image's name with or without folder and suffix, in any case, in NFC
or NFD, percent-encoded or not; a track's number with or without zeros, or its file; a web address;
the SHA-256 of a file; or `artist: NAME` for all works of a painter or a musician. In an opt-out
list the name alone is enough, and an address stands for everything below it.

A line may also have a label (`track: 123`, `FMA #123`, `artwork_id = NAME`), and a comment after an
item that is clearly complete (`000123  # asked by mail`). A table needs a first line that names
its columns. Whatever may mean two things names nothing, and `remedy` says what to write instead.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from artsound.errors import BadUsage
from artsound.keys import track_key
from artsound.sources.artgraph import IMAGE_SUFFIXES, repaired
from artsound.untrusted import read_array, read_table

_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
_DASHES = re.compile("[\u2010-\u2015\u2212]")
_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb<>"
_ADDRESS = re.compile(r"^(?:[a-z][a-z0-9+.-]*://|www\.)", re.IGNORECASE)
# An address without its scheme: a host, and perhaps a path.
_HOST = re.compile(r"^[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}(?:[/:?#]|$)", re.IGNORECASE)
_CREATOR = re.compile(r"^(?:artist|painter|musician|creator|author|band)s?\s*[:=]\s*(?=\S)", re.I)
# Letters that no normalization takes apart, as names are written without them.
_UNACCENTED = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h"}
)
# The years of a life, as libraries add them to a name: "Monet, Claude, 1840-1926".
_LIFE = re.compile(r"[\s,]*\(?\s*\d{4}\s*[-\u2010-\u2015]\s*(?:\d{4})?\s*\)?$")
# Also as sha256sum prints it, before the name of the file.
_DIGEST = re.compile(
    r"^(?:sha-?256(?:sum)?\s*[:=\s]\s*)?([0-9a-f]{64})(?:\s+\*?\S.*)?$", re.IGNORECASE
)
_AUDIO = r"\.(?:mp3|wav|flac|ogg|m4a|aiff?)"
_TRACK = re.compile(
    rf"^(?:(?:fma|track|trk|id)[\s:=_#-]*|#)*0*(\d{{1,6}})(?:\.0+)?({_AUDIO})?$", re.IGNORECASE
)
# What stands before an item in a form, in JSON or in a mail: `track: 123`, `"artwork_id": "NAME"`.
_LABEL = re.compile(
    r"""^["']?(?:
        (?P<track>(?:(?:fma|free\ music\ archive)[\s_-]*)?(?:track|trk|song|clip|recording)|fma)
            (?:[\s_-]*(?:id|key|no|nr|number|file|url|page))?
      | (?P<artwork>artwork|image|img|picture|painting)(?:[\s_-]*(?:id|key|name|file|url|page))?
      | (?:item[\s_-]*)?(?:id|key|file(?:[\s_-]*name)?|path|url|uri|link|address|sha-?256|digest)
    )["']?\s*[:=]\s*(?=\S)""",
    re.IGNORECASE | re.VERBOSE,
)
_LINK = re.compile(r"^\[[^\]]*\]\(\s*<?(\S+?)>?\s*\)$")  # of Markdown
_COMMENT = re.compile(r"\s+#")
# WikiArt appends the size to an image's address: claude-monet/haystacks.jpg!Large.jpg
_SIZE = re.compile(r"(\.jpe?g|\.png)!\w+(?:\.jpe?g|\.png)?$", re.IGNORECASE)


def artwork_key(name: str) -> str:
    """What all spellings of one image's name have in common.

    It has no folder, no suffix of an image, no percent-encoding, no capitals; it is in NFC.
    """
    if name.isascii() and "%" not in name:  # most names: nothing of it is to be undone
        base = name.strip().replace("\\", "/").rpartition("/")[2].lower()
    else:
        base = _plain_base(name)
    base = " ".join(base.split())
    for suffix in IMAGE_SUFFIXES:
        if base.endswith(suffix):
            return base[: -len(suffix)].rstrip()
    return base


def _plain_base(name: str) -> str:
    base = re.split(r"[/\\]", _decoded(name).strip())[-1]
    base = _DASHES.sub("-", _INVISIBLE.sub("", base)).casefold()
    return unicodedata.normalize("NFC", base)


def read_lines(path: Path, kind: str = "ids") -> list[str]:
    """Read the lines of a list of items; every command and recipe reads its lists here.

    Args:
        path: A text file with an item a line; one with a table (CSV, or with semicolons or tabs)
            whose first line names its columns; a .npy file of ids; or a .parquet file with a
            column `key`, `track_id` or `artwork_id`, the first that it has.
        kind: What the list holds, for messages.

    Returns:
        The lines, without empty ones; ids as text. Of a table the items, with a label where the
        column says which side they are of; a row without one is the row itself.

    Raises:
        BadUsage: There is no such file, or it is not a list.
    """
    try:
        if path.suffix == ".npy":
            return [str(track_key(one)) for one in read_array(path).ravel().tolist()]
        if path.suffix == ".parquet":
            table = read_table(path)
            names = [
                name for name in ("key", "track_id", "artwork_id") if name in table.schema.names
            ]
            if not names:
                raise ValueError("it has no column key, track_id or artwork_id")
            return [str(track_key(one)) for one in table[names[0]].drop_null().to_pylist()]
        data = path.read_bytes()
        wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))  # as some editors save text
        lines = data.decode("utf-16" if wide else "utf-8-sig").splitlines()
    except OSError as error:
        raise BadUsage(f"{path}, a list of {kind}, cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise BadUsage(f"{path} is not a list of {kind}, one a line: {error}.") from error
    lines = [line for line in lines if line.strip()]  # a table's first cell may be empty: a tab
    first = next((n for n, line in enumerate(lines) if not _is_comment(line)), 0)
    columns, mark = _columns_of(lines[first] if lines else "", path.suffix.lower())
    if columns:
        return _cells(path, kind, lines[first + 1 :], columns, mark)
    if mark:
        raise BadUsage(
            f"{path}, a list of {kind}, is a table whose first line names no column of items: "
            "call one track_id, artwork_id, key, file, url or sha256."
        )
    return [line.strip() for line in lines]


# The columns of a table of items that are looked at, the first that a row fills; and the label of
# their cells. A table that has a side in one of the first may not have the other in the same row.
_COLUMNS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"track_id", "fma_id", "track_key", "fma_track_id"}), "track: "),
    (frozenset({"artwork_id", "image_id", "artwork_key"}), "artwork: "),
    (frozenset({"key", "keys", "item_id", "id", "ids", "item_key", "item"}), ""),
    (frozenset({"file", "filename", "file_name", "path"}), ""),
    (frozenset({"url", "uri", "link", "address", "page", "source_url"}), ""),
    (frozenset({"track_source_url", "track_url"}), "track: "),
    (frozenset({"artwork_source_url", "image_url", "artwork_url"}), "artwork: "),
    (frozenset({"sha256", "sha_256", "digest"}), ""),
    (frozenset({"audio_sha256", "image_sha256", "image_original_sha256"}), ""),
)
# Further names, in a file that says by its suffix that it is a table.
_LOOSE = {"track": "track: ", "tracks": "track: ", "clip": "track: ", "artwork": "artwork: "}
_LOOSE |= {"artworks": "artwork: ", "image": "artwork: ", "picture": "artwork: ", "name": ""}
_CREATORS = frozenset({"artist", "painter", "musician", "creator", "artists", "author"})
_MARKS = {".csv": ",;\t", ".tsv": "\t"}

Columns = list[tuple[int, str]]  # position and label, the preferred ones first


def _is_comment(line: str) -> bool:
    return re.match(r"\s*#(?:\s|$)", line) is not None


def _columns_of(header: str, suffix: str) -> tuple[Columns, str]:
    """The columns of items that a first line names, and what separates them.

    No columns and a mark: a table that names none. Neither: no table.
    """
    marks = _MARKS.get(suffix, ",;\t")
    several = ""
    for mark in marks:
        cells = [
            re.sub(r"[\s-]+", "_", cell.strip().casefold())
            for cell in next(csv.reader([header], delimiter=mark), [])
        ]
        if len(cells) > 1 and suffix in _MARKS:
            several = several or mark
        found = [
            (number, label)
            for names, label in _COLUMNS
            for number, cell in enumerate(cells)
            if cell in names
        ]
        if suffix in _MARKS:
            found += [(n, _LOOSE[cell]) for n, cell in enumerate(cells) if cell in _LOOSE]
            if not found:
                found = [(n, "artist: ") for n, cell in enumerate(cells) if cell in _CREATORS]
        if found:
            return found, mark
    return [], several


def _cells(path: Path, kind: str, lines: list[str], columns: Columns, mark: str) -> list[str]:
    """The item of each row of a table, or the row where it has none."""
    items = []
    try:
        rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=mark, strict=True))
    except csv.Error as error:
        raise BadUsage(f"{path}, a list of {kind}, is not a valid table: {error}.") from error
    for row in rows:
        whole = f"{mark} ".join(row)
        if _is_comment(whole):
            continue
        filled = [
            (label, row[number].strip())
            for number, label in columns
            if number < len(row) and row[number].strip()
        ]
        if {"track: ", "artwork: "} <= {label for label, _ in filled}:
            raise BadUsage(
                f"{path}, a list of {kind}, names a track and an artwork in one row: "
                f"{whole[:80]!r}. Leave only the column of the side that is meant."
            )
        items.append("".join(filled[0]) if filled else whole)
    return items


def line_keys(line: str, *, optout: bool = False) -> frozenset[str]:
    """Every key of an item that a line may name; empty for an empty line and for a comment.

    Keys are `artwork:KEY`, `track:NNNNNN`, `key:KEY` (of another source), `address:HOST/PATH`,
    `sha256:HEX`, `creator:NAME` and `under:HOST/PATH` (everything below an address); those of an
    item are what `artwork_keys`, `track_keys` and `creator_keys` give.

    Args:
        line: The line.
        optout: Whether it is one of an opt-out list, which may name a creator by the name alone
            and everything below an address.
    """
    text = text_of(line)
    if not text:
        return frozenset()
    if match := _DIGEST.match(text):
        return frozenset({f"sha256:{match[1].lower()}"})
    if match := _CREATOR.match(text):
        return _names_of(text[match.end() :].strip(_QUOTES))
    if (match := _LABEL.match(text)) and not _ADDRESS.match(text):
        return _labelled(text, match, optout=optout)
    if _ADDRESS.match(text) or (_HOST.match(text) and "/" in text and not optout):
        return _address_keys(text) | (_below(text) if optout else frozenset())
    last = re.split(r"[/\\]", _decoded(text))[-1].strip()
    match = _TRACK.match(unicodedata.normalize("NFKC", last))
    found = {f"track:{track_key(int(match[1]))}"} if match else set()
    if not (match and match[2]):
        found.add(f"artwork:{artwork_key(text)}")
    if not match:
        found.add(f"key:{_key(text)}")
    if optout and not match:
        found |= _names_of(text) | (_below(text) if _HOST.match(text) else frozenset())
    return frozenset(found - {"artwork:", "key:"})


def text_of(line: str) -> str:
    """A line of a list without its bullet, quotation marks and comment; "" for a comment alone."""
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", line)).strip()
    if re.match(r"#(?:\s|$)", text):
        return ""
    text = _bare(_without_comment(re.sub(r"^[-*\u2022]\s+", "", text)))
    link = _LINK.match(text)
    return link[1] if link else text


def _bare(text: str) -> str:
    return text.strip().rstrip(",;").strip().strip(_QUOTES).strip()


def _without_comment(text: str) -> str:
    """A line up to a comment, where what is before it is an item beyond doubt.

    That is a number, a file's name with its suffix, an address, a digest, or `artist: NAME`. Other
    names may have a # of their own: "Symphony #5".
    """
    for match in _COMMENT.finditer(text):
        before, after = _bare(text[: match.start()]), text[match.end() :]
        plain = _LABEL.sub("", before, count=1).strip(_QUOTES)
        last = re.split(r"[/\\]", plain)[-1]
        if _CREATOR.match(before):
            certain = after[:1].isspace()
        elif track := _TRACK.match(last):
            named = bool(track[2]) or not text.casefold().endswith(IMAGE_SUFFIXES)
            certain = named and not after.strip().isdigit()
        else:
            whole_address = _ADDRESS.match(plain) and " " not in plain
            certain = bool(
                _DIGEST.match(plain) or whole_address or last.casefold().endswith(IMAGE_SUFFIXES)
            )
        if certain:
            return before
    return text


def _labelled(text: str, label: re.Match[str], *, optout: bool) -> frozenset[str]:
    """The keys of an item behind a label: those of the side that the label names."""
    rest = text[label.end() :].strip(_QUOTES).strip()
    keys = line_keys(rest, optout=optout)
    others: tuple[str, ...] = ()
    if label["track"]:
        others = ("artwork:", "creator:")
    elif label["artwork"]:
        others = ("track:", "key:", "creator:")
        keys |= {f"artwork:{artwork_key(rest)}"} if not _ADDRESS.match(rest) else frozenset()
    found = {key for key in keys if not key.startswith(others)} if others else set(keys)
    return frozenset(found | {f"artwork:{artwork_key(text)}"} - {"artwork:"})


def creator_keys(name: str) -> frozenset[str]:
    """The key by which a line may name all works of a painter or a musician."""
    letters = unicodedata.normalize("NFKD", _decoded(name).casefold()).translate(_UNACCENTED)
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    words = re.sub(r"[\W_]+", "-", plain).strip("-") or " ".join(plain.split())
    return frozenset({f"creator:{words}"} if words else ())


def artwork_keys(artwork_id: str, address: str = "") -> frozenset[str]:
    """The keys by which a line may name an artwork, given its id and its image's address."""
    found = {f"artwork:{artwork_key(artwork_id)}"}
    return frozenset(found | ({f"address:{_plain_address(address)}"} if address else set()))


def track_keys(number: str, address: str = "") -> frozenset[str]:
    """The keys by which a line may name a track, given its number or key and its page's address."""
    digits = number.isdecimal() and len(number) <= 6
    found = {f"track:{number.zfill(6)}" if digits else f"key:{_key(number)}"}
    return frozenset(found | ({f"address:{_plain_address(address)}"} if address else set()))


class Listed:
    """The lines of a list, and which of them have matched an item so far.

    Args:
        lines: As read from the list; empty ones and comments (`# …`) do not count.
        optouts: Whether it is an opt-out list: see `line_keys`.
    """

    def __init__(self, lines: Iterable[str], *, optouts: bool = False) -> None:
        keyed = {line.strip(): line_keys(line, optout=optouts) for line in lines}
        self._below = optouts
        self.lines = tuple(line for line, keys in keyed.items() if keys)
        self.keys = frozenset().union(*keyed.values())
        self._by_key: dict[str, list[str]] = defaultdict(list)
        for line in self.lines:
            for key in keyed[line]:
                self._by_key[key].append(line)
        self._matched: set[str] = set()

    def names(self, keys: Iterable[str]) -> bool:
        """Whether a line names the item with these keys; the lines that do have matched."""
        if self._below:
            keys = [
                *keys,
                *(one for key in keys if key.startswith("address:") for one in _above(key)),
            ]
        hits = [key for key in keys if key in self._by_key]
        for key in hits:
            self._matched.update(self._by_key[key])
        return bool(hits)

    def chosen(self, values: Iterable[str], keys_of: Callable[[str], Iterable[str]]) -> set[str]:
        """Those of some values, such as ids, whose keys a line names."""
        return {value for value in dict.fromkeys(values) if value and self.names(keys_of(value))}

    @property
    def digests(self) -> frozenset[str]:
        """The SHA-256 digests that lines name."""
        return frozenset(k.removeprefix("sha256:") for k in self.keys if k.startswith("sha256:"))

    @property
    def unmatched(self) -> tuple[str, ...]:
        """The lines that have matched nothing so far, in the order of the list."""
        return tuple(line for line in self.lines if line not in self._matched)


def names_nothing(what: str, where: str, lines: Collection[str]) -> str:
    """A sentence with every line of a list that names nothing."""
    return f"{what} has lines that name nothing in {where}: {shown_lines(lines)}."


def shown_lines(lines: Iterable[str]) -> str:
    """Lines that name nothing, each with what is to be written instead, where that shows."""
    return ", ".join(f"{line!r}{f' ({hint})' if (hint := remedy(line)) else ''}" for line in lines)


def remedy(line: str) -> str:
    """Why a line may name nothing, and what to write; empty where its form is not the reason."""
    text = text_of(line)
    if not text or artwork_key(text) != " ".join(text.casefold().split()):
        return ""  # it has a folder, a suffix or an escape, so it is a name
    if _TRACK.match(text):
        return ""
    if re.match(r"#\S", text):
        return "a comment begins with a # and a space"
    if re.search(r"\S\s+#", text):
        return "before a comment write a number, or a name with its suffix"
    if re.search(r"[,;\t]\s*\S", text) or len(re.findall(r"(?<!\S)\d{2,6}(?!\S)", text)) > 1:
        return "one item a line, or a table whose first line names the columns"
    if match := re.match(r"(?:\D*[\s:=#])?0*(\d{7,})$", text):
        return f"a track's number has at most six digits, not {len(match[1])}"
    if re.match(r"(?:title|album|name|genre|label)\s*[:=]", text, re.IGNORECASE):
        return "an item is named by its number, file, address or digest, not by its title"
    if re.match(r"#?\d{1,6}(?:\s|[-:/(])", text):
        return "write a remark as a comment, after a # and a space"
    return ""


def address_keys(address: str) -> frozenset[str]:
    """The key of an address alone, for a column that holds addresses."""
    return frozenset({f"address:{_plain_address(address)}"})


def digest_keys(digest: str) -> frozenset[str]:
    """The key of a SHA-256 digest."""
    return frozenset({f"sha256:{digest.lower()}"})


def _address_keys(text: str) -> frozenset[str]:
    """The keys of an address: itself, and the item that its path ends with."""
    plain = _plain_address(text)
    steps = [step for step in plain.split("/")[1:] if step]
    found = {f"address:{plain}"}
    if steps:
        last = _SIZE.sub(r"\1", steps[-1])
        match = _TRACK.match(last)
        if match and (match[2] or len(last) == 6):
            found.add(f"track:{track_key(int(match[1]))}")
        else:
            # WikiArt's images/claude-monet/haystacks.jpg is ArtGraph's claude-monet_haystacks.jpg.
            names = [last, *([f"{steps[-2]}_{last}"] if len(steps) > 1 else [])]
            found |= {f"artwork:{artwork_key(name)}" for name in names}
    return frozenset(found - {"artwork:"})


def _names_of(text: str) -> frozenset[str]:
    """The keys of a creator's name as written, and of `Last, First` turned round."""
    plain = _LIFE.sub("", text)
    if plain and plain != text:
        return creator_keys(text) | _names_of(plain)
    last, comma, first = text.partition(",")
    turned = creator_keys(f"{first} {last}") if comma else frozenset()
    return creator_keys(text) | turned


def _below(text: str) -> frozenset[str]:
    """The keys of everything below an address; `/en/claude-monet` is a painter's own page."""
    plain = _plain_address(text).rstrip("*/")
    steps = plain.split("/")[1:]
    page = creator_keys(steps[-1]) if 1 <= len(steps) <= 2 else frozenset()
    return frozenset({f"under:{plain}", *page})


def _above(key: str) -> Iterator[str]:
    """The keys of all addresses that an item's address is below, or is."""
    steps = key.removeprefix("address:").split("/")
    return (f"under:{'/'.join(steps[:count])}" for count in range(1, len(steps) + 1))


def _key(name: str) -> str:
    """What all spellings of a key that is no number have in common."""
    return re.sub(rf"{_AUDIO}$", "", artwork_key(name), flags=re.IGNORECASE)


def _plain_address(address: str) -> str:
    """An address without scheme, `www.`, port, query and fragment, decoded, in one case."""
    text = address.strip()
    parts = urlsplit(text if "://" in text else f"http://{text}")
    host = parts.netloc.rpartition("@")[2].partition(":")[0].lower().removeprefix("www.")
    path = _SIZE.sub(r"\1", _decoded(re.sub("/+", "/", parts.path))).casefold().rstrip("/")
    return unicodedata.normalize("NFC", f"{host}{path}")


def _decoded(text: str) -> str:
    """`text` without percent-encoding, that of separators included, and without mojibake."""
    if "%" in text:
        try:
            plain = unquote_to_bytes(text).decode("utf-8")
            text = plain if plain.isprintable() else text
        except UnicodeDecodeError:
            pass
    return repaired(text)
