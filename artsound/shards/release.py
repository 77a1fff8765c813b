"""What a release says of itself: attribution, README, version, changelog, withheld pairs."""

from __future__ import annotations

import datetime
import functools
import re
import string
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from artsound.catalogue import SideName
from artsound.columns import renamed
from artsound.encoders.base import load_embeddings
from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.pairing.previous_release import FITS
from artsound.rights import licence_rights, policy_condition
from artsound.shards.dataset import Dataset, open_shards
from artsound.shards.format import Shard
from artsound.shards.index import (
    FORMAT,
    INDEX,
    SHARDS,
    SPLITS,
    SUMS,
    read_frame,
    read_shard_index,
    shards_of,
)
from artsound.shards.store import LocalStore, open_store
from artsound.sources.item_names import (
    Listed,
    address_keys,
    artwork_keys,
    creator_keys,
    digest_keys,
    track_keys,
)
from artsound.storage import (
    Workspace,
    atomic_write,
    read_json,
    sha256_bytes,
    sha256_file,
    write_bytes,
    write_json,
)

_COLUMNS = (
    *("side", "id", "title", "author", "licence", "licence_id", "source", "source_url"),
    *("licence_url", "changes", "credit", "missing"),
)
_ARTWORK = (
    *("artwork_id", "artwork_title", "painter", "artwork_rights_reason"),
    *("artwork_license_id", "artwork_source", "artwork_source_url"),
)
_TRACK = (
    *("key", "track_title", "musician", "track_license"),
    *("track_license_id", "track_source", "track_source_url"),
)


_CREATIVE_COMMONS = re.compile(r"CC-(BY(?:-NC)?(?:-ND|-SA)?)(?:-(\d\.\d)(?:-([A-Z]{2,3}))?)?")
_SPDX = re.compile(r"CC-PDDC|LAL-1\.[23]|(?:A|L)?GPL-\d\.\d-(?:only|or-later)|GFDL-1\.\d-\w+")
_FORMULA = ("=", "+", "-", "@", "\N{MINUS SIGN}")
_PLAIN = frozenset(string.ascii_letters + string.digits + '“"(')  # begins no formula
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.A)
# What else of a row says what was done to a work's file.
_DONE_TO = (
    *("image_sha256", "image_original_sha256", "image_width", "image_height"),
    *("image_original_width", "image_original_height", "excerpt_start_s", "duration_s"),
)
CREDIT_COLUMNS = (*_ARTWORK, *_TRACK, *_DONE_TO)  # of an index, where it has them


def write_attribution(folder: Path, rows: pa.Table) -> Path:
    """Write ATTRIBUTION.csv: title, author, licence and source of every artwork and track.

    A track's licence is written as in its source; an artwork's as the reason for its rights. The
    column `credit` is a line to print, which says what is not known; `changes` what was done to the
    work's file; `missing` what of all that a licence asks to be credited is not known, as title,
    author, address or licence_url, with `;` between them: empty where credit is complete, or no
    licence asks for it. A text that a spreadsheet would run as a formula has an apostrophe before
    it (`safe_cell`); the index has it as its source does.

    Args:
        folder: The release.
        rows: The rows of its index.

    Returns:
        The path of the file.
    """
    lines = attributions(rows).with_columns(_safe_cells(pl.col(name)) for name in _COLUMNS)
    # Empty text would be written as "", and null as nothing.
    text = lines.with_columns(pl.when(pl.all() != "").then(pl.all())).write_csv()
    write_bytes(folder / "ATTRIBUTION.csv", text.encode())
    return folder / "ATTRIBUTION.csv"


def attributions(rows: pa.Table) -> pl.DataFrame:
    """The lines of ATTRIBUTION.csv for the rows of an index, sorted; unknown is empty."""
    frame = pl.DataFrame(pl.from_arrow(rows))
    lines = [
        _attributed(side, frame, columns)
        for side, columns in (("artwork", _ARTWORK), ("track", _TRACK))
    ]
    return pl.concat(lines).unique().sort(_COLUMNS)


def credit_lacks(rows: pa.Table) -> dict[str, int]:
    """How many works that must be credited lack what: by the words of the column `missing`.

    Returns:
        works: the number of works whose licence asks for credit; complete: of those, the ones of
        which all is known; then the number of each word.
    """
    found = {"works": 0, "complete": 0}
    counted = attributions(rows).group_by("licence_id", "missing", maintain_order=True).len()
    for licence, missing, count in counted.iter_rows():
        if not asks_credit(licence):
            continue
        found["works"] += count
        words = [word for word in missing.split(";") if word]
        found["complete"] += 0 if words else count
        for word in words:
            found[word] = found.get(word, 0) + count
    return found


@functools.cache
def asks_credit(licence: str) -> bool:
    """Whether a licence asks for credit, as far as is known: one that is not understood may."""
    if not licence or licence == "public-domain":
        return False
    return licence_rights(licence).attribution


def _attributed(side: str, frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The lines of one side's works: what their sources say, and what follows from it."""
    said = frame.select(
        pl.lit(side).alias("side"),
        *(
            pl.col(column).cast(pl.String).fill_null("").alias(name)
            for name, column in zip(_COLUMNS[1:8], columns, strict=True)
        ),
        _changes(side, frame).fill_null("").alias("changes"),
    )
    licences = ["", *said["licence_id"].unique().sort()]
    urls = {one: licence_url(one) if one else "" for one in licences}
    public = {one: url.startswith("https:") for one, url in urls.items()}
    terms = {one: f"{one} ({urls[one]})" if public[one] else one for one in licences}
    asked = {one: asks_credit(one) for one in licences}
    title, author, address = (pl.col(name) for name in ("title", "author", "source_url"))
    licence = pl.col("licence_id")
    credit = (
        _unless_empty(title, pl.format("“{}”", title), "untitled"),
        _unless_empty(author, pl.format("by {}", author), "author not known"),
        _unless_empty(licence, licence.replace_strict(terms), "licence not known"),
        _unless_empty(address, address, pl.format("{}, address not known", pl.col("source"))),
        pl.when(pl.col("changes") != "").then("changes"),
    )
    needs = {"title": title != "", "author": author != "", "address": address != "",
             "licence_url": licence.replace_strict(public)}  # fmt: skip
    asks = licence.replace_strict(asked)
    lacks = [pl.when(asks & ~known).then(pl.lit(name)) for name, known in needs.items()]
    return said.with_columns(
        licence_url=licence.replace_strict(urls),
        credit=pl.concat_str(credit, separator=", ", ignore_nulls=True),
        missing=pl.concat_str(lacks, separator=";", ignore_nulls=True),
    ).select(_COLUMNS)


def _unless_empty(text: pl.Expr, then: pl.Expr, otherwise: str | pl.Expr) -> pl.Expr:
    other = pl.lit(otherwise) if isinstance(otherwise, str) else otherwise
    return pl.when(text != "").then(then).otherwise(other)


def _changes(side: str, frame: pl.DataFrame) -> pl.Expr:
    """What was done to works' files, by their source or by the build; null: nothing known."""
    known = {name: pl.col(name) if name in frame.columns else pl.lit(None) for name in _DONE_TO}
    if side == "track":
        start, seconds = known["excerpt_start_s"], known["duration_s"].cast(pl.Float64)
        whole = seconds.round(0, mode="half_to_even").cast(pl.Int64)
        excerpt = pl.format("excerpt of {} s from second {}", whole, start)
        return pl.when(start != 0).then(excerpt)
    width, height = known["image_width"], known["image_height"]
    scaled = width.ne_missing(known["image_original_width"]) | height.ne_missing(
        known["image_original_height"]
    )
    return (
        pl.when(known["image_sha256"].eq_missing(known["image_original_sha256"])).then(None)
        .when((width > 0) & (height > 0) & scaled)
        .then(pl.format("scaled to {} × {} pixels, re-encoded as JPEG", width, height))
        .otherwise(pl.lit("re-encoded as JPEG"))
    )  # fmt: skip


@functools.cache
def licence_url(licence: str) -> str:
    """Return an address for a licence id; a URN of this project where there is none."""
    match = _CREATIVE_COMMONS.fullmatch(licence)
    if match:
        terms, version, country = match.groups()
        tail = f"/{country.lower()}" if country else ""
        if version:
            return f"https://creativecommons.org/licenses/{terms.lower()}/{version}{tail}/"
    if licence == "CC0-1.0":
        return "https://creativecommons.org/publicdomain/zero/1.0/"
    if licence == "public-domain":
        return "https://rightsstatements.org/vocab/NKC/1.0/"  # our judgement: no one marked it
    if licence == "CC-PDM-1.0":
        return "https://creativecommons.org/publicdomain/mark/1.0/"
    if _SPDX.fullmatch(licence):
        return f"https://spdx.org/licenses/{licence}.html"
    return f"urn:artsound:licence:{re.sub(r'[^A-Za-z0-9.-]+', '-', licence).lower()}"


def _safe_cells(texts: pl.Expr) -> pl.Expr:
    """The same as `safe_cell` for a column, of which few texts have to be looked at singly."""
    plain = texts.str.slice(0, 1).is_in(["", *_PLAIN])
    safe = pl.when(~plain).then(texts).map_elements(safe_cell, pl.String)
    return pl.when(plain).then(texts).otherwise(safe)


def safe_cell(value: object) -> str:
    """A value as a cell of CSV that no spreadsheet takes for a formula.

    Spreadsheets run a cell that begins with an equals, plus, minus or at sign, some of them also
    after white space, or with the sign in its full-width form. An apostrophe before it makes it
    text. Numbers stay as they are. A text that has apostrophes before such a sign gets one more, so
    that `plain_cell` finds every text again.
    """
    text = str(value)
    if text[:1] in _PLAIN:  # most cells
        return text
    bare = text.lstrip("'")
    if bare[:1] in ("\t", "\r", "\n"):
        return f"'{text}"
    first = next((sign for sign in bare if not _is_unseen(sign)), "")
    if unicodedata.normalize("NFKC", first) not in _FORMULA or _NUMBER.fullmatch(bare):
        return text
    return f"'{text}"


def plain_cell(text: str) -> str:
    """What `safe_cell` made a cell from."""
    return text[1:] if text[:1] == "'" and safe_cell(text[1:]) == text else text


def _is_unseen(sign: str) -> bool:
    """Whether a character is white space, a control character or one of no width."""
    return sign.isspace() or unicodedata.category(sign) in ("Cc", "Cf")


def copy_fits(source: Path, folder: Path) -> list[Path]:
    """Copy fits.json, what bridges were fitted to, from a folder that has one; else remove it.

    Raises BadData for one that is not as it was released.
    """
    path = folder / FITS
    if not (source / FITS).is_file():
        path.unlink(missing_ok=True)
        return []
    write_bytes(path, released_bytes(source / FITS))
    return [path]


# SHA256SUMS, the digests of all files of a release, so that any of them can be checked anywhere:
# `sha256sum -c SHA256SUMS`. It is written last, by those who write the cards.


def write_sums(folder: Path) -> Path:
    """Write the digests of the files of a release; those of its shards are of its index.

    Args:
        folder: The release, complete.

    Returns:
        The path.
    """
    known = {shard.name: shard.sha256 for shard in shards_of(read_shard_index(LocalStore(folder)))}
    for path in folder.iterdir():
        if path.is_file() and path.suffix != ".tar" and path.name[0] != "." and path.name != SUMS:
            known[path.name] = sha256_file(path)
    return write_listed(folder / SUMS, known)


def write_listed(path: Path, sums: Mapping[str, str]) -> Path:
    """Write digests by the name of their file. Returns the path."""
    write_bytes(path, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode())
    return path


def read_sums(folder: Path) -> dict[str, str]:
    """Read the digests of the files of a release.

    Args:
        folder: The release.

    Returns:
        SHA-256 by name; empty for a release of an earlier version, which has none.

    Raises:
        BadData: The file is damaged.
    """
    path = folder / SUMS
    if not path.is_file():
        return {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise BadData(f"{path} cannot be read: {error}.") from error
    found = [_SUM.fullmatch(line) for line in lines]
    if not lines or not all(found):
        raise BadData(f"{path} is damaged: its lines are not those of sha256sum.")
    return {match[2]: match[1] for match in found if match}


def check_sums(folder: Path) -> Iterator[tuple[str, str]]:
    """Compare the files of a release with their digests; its shards with their index.

    Args:
        folder: A release whose index can be read.

    Yields:
        File and message for every problem.
    """
    try:
        sums = read_sums(folder)
    except BadData as error:
        yield SUMS, str(error)
        return
    shards = {shard.name: shard.sha256 for shard in shards_of(read_shard_index(LocalStore(folder)))}
    for name, sha256 in sums.items():
        path = folder / name
        # The bytes of shards are compared with the index.
        found = shards.get(name) or (sha256_file(path) if path.is_file() else "")
        if found != sha256:
            fault = f"its SHA-256 is not the one in {SUMS}" if found else f"{SUMS} has it"
            yield name, fault if found else f"it is missing, and {fault}"


def check_sound(folder: Path) -> None:
    """Raise BadData for a release with a file that is not as it was released."""
    for name, fault in check_sums(folder):
        raise BadData(
            f"{folder / name}: {fault}. Fetch or build the release again; `artsound verify` names "
            "all that is damaged."
        )


def released_bytes(path: Path) -> bytes:
    """The bytes of a file of a release; BadData where they are not as they were released."""
    data = path.read_bytes()
    if read_sums(path.parent).get(path.name) not in (None, sha256_bytes(data)):
        raise BadData(f"{path}: its SHA-256 is not the one in {SUMS}: verify {path.parent} first.")
    return data


_SUM = re.compile(r"([0-9a-f]{64})  ([^/\x00-\x1f]+)")


# What a publisher says of one release, which does not hold of the next one or of a part.
_OF_ONE_RELEASE = frozenset({"doi", "date"})


def said_of_next(said: Mapping[str, Any], date: str) -> dict[str, Any]:
    """What the publisher says of a release, as it holds of one that is made of it.

    Args:
        said: The table `release` of the index.json before.
        date: The date of the new release, YYYY-MM-DD; "" if it is not given.

    Raises:
        BadUsage: It is no date.
    """
    if date and not _is_date(date):
        raise BadUsage(f"The date of a release is {date!r}: give it as YYYY-MM-DD.")
    still = {name: value for name, value in said.items() if name not in _OF_ONE_RELEASE}
    return {**still, **({"date": date} if date else {})}


def _is_date(text: str) -> bool:
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def write_readme(
    folder: Path, name: str, shards: Sequence[Shard], samples: int, asked: Sequence[str] = ()
) -> Path:
    """Write README.md: what the folder has, and how to read it.

    Args:
        folder: The release.
        name: Name of the dataset.
        shards: Its shards.
        samples: Number of its samples.
        asked: Conditions by which the samples were chosen.

    Returns:
        The path of the file.
    """
    lines = [
        f"# {name}",
        "",
        f"{samples:,} pairs of an artwork and a music clip, with a caption for each, as "
        "WebDataset shards.",
        "",
        *(f"Chosen by `{condition}`." for condition in asked),
        *([""] if asked else []),
        "| split | shards | pairs | bytes |",
        "|---|---:|---:|---:|",
    ]
    for split in SPLITS:
        some = [shard for shard in shards if shard.split == split]
        if some:
            pairs, size = sum(s.samples for s in some), sum(s.bytes for s in some)
            lines.append(f"| {split} | {len(some):,} | {pairs:,} | {size:,} |")
    lines += [
        "",
        "A sample `000010` has three members: `000010.jpg` (the artwork), `000010.mp3` (the clip: "
        "the original MP3, or one made of another format) and `000010.json` (captions, metadata, "
        "rights of both sides, score, digests).",
        "",
        "`index.parquet` has a row per sample with all its fields and the place of its bytes; "
        "`index.json` has an entry per shard with its SHA-256; `ATTRIBUTION.csv` names title, "
        "author, licence and source of every work: keep it with the data.",
        "",
        "```python",
        "import artsound",
        'data = artsound.open(".").filter(split="train", where="track_commercial")',
        "",
        "import webdataset  # or any other reader of WebDataset",
        f'plain = webdataset.WebDataset("{shards[0].name}", shardshuffle=False)',
        "```",
        "",
        "`artsound verify --deep .` checks every byte.",
        "",
    ]
    write_bytes(folder / "README.md", "\n".join(lines).encode())
    return folder / "README.md"


# What changed from one release to the next, computed from their indexes alone.

FIRST = "1.0.0"
BUMPS = ("", "patch", "minor", "major")  # the least first
_KINDS = {
    "moved": ("artwork_id", "split"),
    "recaptioned": ("artwork_caption", "track_caption"),
    "rescored": ("score", "bridge", "percentile", "margin", "track_rank", "artwork_rank"),
    "repacked": ("shard",),
}
_PLACES = ("_offset", "_size")  # positions of a sample's members, not their content


@dataclass(frozen=True)
class Difference:
    """The differences between two releases: keys, ascending; a key may be of several kinds.

    Attributes:
        added: Only in the newer release.
        removed: Only in the older release.
        moved: With another artwork or split.
        recaptioned: With another caption on either side.
        rescored: With another score, percentile, margin, rank or bridge.
        repacked: In another shard.
        changed: With a difference in any other field.
        shards_kept: Names of shards with the same bytes in both.
        shards_changed: Names of the other shards of the newer release.
        shards_gone: Names of shards that the newer release lacks.
        columns: Columns that only one of the two indexes has, under today's names.
        formats: The formats of the two, when they differ.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    recaptioned: tuple[str, ...] = ()
    rescored: tuple[str, ...] = ()
    repacked: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    shards_kept: tuple[str, ...] = ()
    shards_changed: tuple[str, ...] = ()
    shards_gone: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()

    @property
    def bump(self) -> str:
        """The part of the version that is raised: major, minor, patch, or "" for no change.

        major: a pair is gone, or has another artwork or split, or the index has other columns or
        another format, so that what was built on the older release may break. minor: there are new
        pairs. patch: captions, metadata, scores or positions changed.
        """
        if self.removed or self.moved or self.columns or self.formats:
            return "major"
        if self.added:
            return "minor"
        other = self.recaptioned or self.rescored or self.repacked or self.changed
        return "patch" if other or self.shards_changed or self.shards_gone else ""


def next_version(version: str, bump: str) -> str:
    """Return the next version.

    Args:
        version: The version before, such as 1.2.3.
        bump: The part to raise: major, minor or patch; "" leaves the version.
    """
    major, minor, patch = (int(part) for part in version.split("."))
    return {
        "major": f"{major + 1}.0.0",
        "minor": f"{major}.{minor + 1}.0",
        "patch": f"{major}.{minor}.{patch + 1}",
        "": version,
    }[bump]


def diff(old: str, new: str) -> Difference:
    """Compare two releases by their indexes, of any format; no shard is read.

    Args:
        old: Folder or address of the older release.
        new: Folder or address of the newer one.

    Raises:
        BadData: An index is missing or damaged, or lacks a column to compare by.
    """
    before, after = open_shards(old), open_shards(new)
    formats = (before.format, after.format)
    return difference(before.frame, before.shards, after.frame, after.shards, (old, new), formats)


def version_of(location: str) -> str:
    """Return the version of the release at a folder or address; FIRST when it has none."""
    return str(read_shard_index(open_store(location)).get("version", FIRST))


def difference(
    before: pl.DataFrame,
    were: Sequence[Shard],
    after: pl.DataFrame,
    are: Sequence[Shard],
    places: tuple[str, str] = ("the older release", "the newer release"),
    formats: tuple[str, str] = (FORMAT, FORMAT),
) -> Difference:
    """Compare two releases, as `diff` does, by the rows of their indexes and their shards.

    Args:
        before: Rows of the older index.
        were: Shards of the older release.
        after: Rows of the newer index.
        are: Shards of the newer release.
        places: Names of the two in errors.
        formats: Their formats.

    Raises:
        BadData: An index lacks a column to compare by.
    """
    needed = list(dict.fromkeys(name for names in _KINDS.values() for name in names))
    for place, frame in zip(places, (before, after), strict=True):
        if missing := [name for name in needed if name not in frame.columns]:
            raise BadData(
                f"The index of {place} has no {missing[0]}: it is no release of ArtSound."
            )
    known = [name for name in before.columns if name in after.columns and name != "key"]
    others = tuple(n for n in known if n not in needed and not n.endswith(_PLACES))
    both = before.select("key", *known).join(after.select("key", *known), on="key", suffix="_new")
    found = {
        kind: _keys(
            both.filter(
                pl.any_horizontal(
                    pl.lit(False), *(pl.col(n).ne_missing(pl.col(f"{n}_new")) for n in names)
                )
            )
        )
        for kind, names in {**_KINDS, "changed": others}.items()
    }
    old = {shard.name: shard.sha256 for shard in were}
    new = {shard.name: shard.sha256 for shard in are}
    return Difference(
        added=_keys(after.join(before, on="key", how="anti")),
        removed=_keys(before.join(after, on="key", how="anti")),
        **found,
        shards_kept=tuple(sorted(name for name in new if old.get(name) == new[name])),
        shards_changed=tuple(sorted(name for name in new if old.get(name) != new[name])),
        shards_gone=tuple(sorted(old.keys() - new.keys())),
        columns=tuple(sorted(set(before.columns) ^ set(after.columns))),
        formats=formats if formats[0] != formats[1] else (),
    )


def counts(found: Difference) -> dict[str, int]:
    """Count the keys, shards and columns of each kind, under the headings of a changelog."""
    return {
        "Added": len(found.added),
        "Removed": len(found.removed),
        "Moved": len(found.moved),
        "Re-captioned": len(found.recaptioned),
        "Re-scored": len(found.rescored),
        "Packed into another shard": len(found.repacked),
        "Changed in other fields": len(found.changed),
        "Shards with the same bytes": len(found.shards_kept),
        "Shards new or changed": len(found.shards_changed),
        "Shards gone": len(found.shards_gone),
        "Columns new or gone": len(found.columns),
        "Formats new or gone": len(found.formats),
    }


def changelog(found: Difference) -> str:
    """Return the difference as Markdown: a table of counts, then the keys of every kind."""
    kinds = dict(zip(counts(found), vars(found).values(), strict=True))
    lines = ["# Changes", "", *table(counts(found))]
    for kind, names in kinds.items():
        if names:
            lines += ["", f"## {kind}", "", *(f"- {name}" for name in names)]
    return "\n".join(lines) + "\n"


def table(numbers: dict[str, int]) -> list[str]:
    """Return counts as the lines of a table in Markdown."""
    lines = ["| | count |", "|---|---:|"]
    return lines + [f"| {kind} | {number:,} |" for kind, number in numbers.items()]


def _keys(frame: pl.DataFrame) -> tuple[str, ...]:
    return tuple(sorted(frame["key"].to_list()))


# The history of a release: its version, CHANGELOG.md and changes.json.
#
# All three are computed from the difference to the previous release. The changelog has counts;
# changes.json also lists the keys of this release that are new or changed. Both have only the
# number of removed pairs, so that a release does not name what was withdrawn from it.

CHANGELOG = "CHANGELOG.md"
CHANGES = "changes.json"
_LISTED = ("added", "moved", "recaptioned", "rescored", "repacked", "changed")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Lineage:
    """The place of a release in its history.

    Attributes:
        version: Its version.
        base: Digest of the previous release's index.json; empty for the first release.
        bump: The part of the version that was raised.
    """

    version: str = FIRST
    base: str = ""
    bump: str = ""

    def fields(self) -> dict[str, str]:
        """Return the fields of index.json."""
        return {"version": self.version, **({"base": self.base} if self.base else {})}


def lineage_after(folder: Path, found: Difference, *, at_least: str = "") -> Lineage:
    """Return the lineage of a release that continues another.

    Args:
        folder: The previous release.
        found: What the new release changes in it.
        at_least: A bump for changes that the two indexes do not show.
    """
    about = read_shard_index(LocalStore(folder))
    bump = max(found.bump, at_least, key=BUMPS.index)
    version = next_version(about.get("version", FIRST), bump)
    return Lineage(version, sha256_file(folder / SHARDS), bump)


def write_changes(folder: Path, base: Path, found: Difference, lineage: Lineage) -> list[Path]:
    """Write changes.json and CHANGELOG.md, with the entries of the previous release.

    Args:
        folder: The new release.
        base: The previous release.
        found: What the new release changes in it.
        lineage: The new release's lineage.

    Returns:
        The paths of the two files.
    """
    entry = {**lineage.fields(), "bump": lineage.bump, "counts": counts(found)}
    releases = [entry, *_history(base)]
    keys = {kind: list(getattr(found, kind)) for kind in _LISTED}
    write_json(folder / CHANGES, {"releases": releases, "keys": keys})
    lines = ["# Changes"]
    for one in releases:
        lines += ["", f"## {one['version']}", "", f"A {one['bump']} change.", ""]
        lines += table(one["counts"])
    if FIRST not in {one["version"] for one in releases}:
        lines += ["", f"## {FIRST}", "", "The first release."]
    write_bytes(folder / CHANGELOG, ("\n".join(lines) + "\n").encode())
    return [folder / CHANGES, folder / CHANGELOG]


def write_history(
    folder: Path,
    base: Dataset | None,
    shards: Sequence[Shard],
    index: pa.Table,
    *,
    at_least: str = "",
) -> tuple[Lineage, list[Path]]:
    """Compute the lineage of a release before its index is written, and write its changes.

    A first release has only a changelog that says so; one that equals the previous release has
    that one's files.

    Args:
        folder: The new release.
        base: The previous release, on this machine; None for a first one.
        shards: The shards of the new release.
        index: The rows of its index.
        at_least: A bump for changes that the two indexes do not show.

    Returns:
        The lineage, and the paths of the files.
    """
    for name in (CHANGES, CHANGELOG):
        (folder / name).unlink(missing_ok=True)
    if base is None:
        return Lineage(), [write_first_changelog(folder, "The first release.")]
    rows = pl.DataFrame(pl.from_arrow(index))
    found = difference(base.frame, base.shards, rows, shards, formats=(base.format, FORMAT))
    before = Path(base.store.location)
    bump = max(withheld_bump(before, folder, set(rows["key"])), at_least, key=BUMPS.index)
    lineage = lineage_after(before, found, at_least=bump)
    if lineage.bump:
        return lineage, write_changes(folder, before, found, lineage)
    return lineage, _copied(folder, before, (CHANGES, CHANGELOG))


def write_first_changelog(folder: Path, text: str) -> Path:
    """Write the CHANGELOG.md of a release that continues no other.

    Args:
        folder: The release.
        text: A sentence of what it is.
    """
    write_bytes(folder / CHANGELOG, f"# Changes\n\n## {FIRST}\n\n{text}\n".encode())
    return folder / CHANGELOG


def copy_index(folder: Path, base: Path) -> list[Path]:
    """Copy the index of the previous release into one that equals it. Returns the paths."""
    return _copied(folder, base, (INDEX, SHARDS))


def _copied(folder: Path, base: Path, names: Sequence[str]) -> list[Path]:
    there = [name for name in names if (base / name).is_file()]
    for name in there:
        write_bytes(folder / name, released_bytes(base / name))
    return [folder / name for name in there]


def check_changes(folder: Path, about: dict[str, Any], keys: set[str]) -> Iterator[tuple[str, str]]:
    """Yield (file, message) for every problem of changes.json, if there is such a file.

    Args:
        folder: The release.
        about: The value of its index.json.
        keys: The keys of its pairs, withheld ones included.
    """
    if not (folder / CHANGES).is_file():
        if about.get("base"):
            yield CHANGES, "index.json names a previous release, but it is missing"
        return
    try:
        value = read_json(folder / CHANGES)
        releases = [_entry(one) for one in value["releases"]]
        listed = {str(key) for names in value["keys"].values() for key in names}
    except (ArtSoundError, KeyError, TypeError, ValueError, AttributeError) as error:
        yield CHANGES, f"it is not a list of changes: {error}"
        return
    if not releases or any(
        releases[0].get(name, "") != about.get(name, "") for name in ("version", "base")
    ):
        yield CHANGES, "its newest release is not the one in index.json"
    if strange := sorted(listed - keys):
        yield CHANGES, f"it lists {strange[0]}, which the index does not have"


def _history(base: Path) -> list[dict[str, Any]]:
    """The entries of the previous release's changes.json, checked; none without such a file."""
    if not (base / CHANGES).is_file():
        return []
    try:
        return [_entry(one) for one in read_json(base / CHANGES)["releases"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadData(f"{base / CHANGES} is not a list of changes: verify {base} first.") from error


def _entry(value: Any) -> dict[str, Any]:
    """One entry, with only the fields of an entry; ValueError when it is not one."""
    version, base, bump = (str(value.get(name, "")) for name in ("version", "base", "bump"))
    if not _VERSION.fullmatch(version) or bump not in BUMPS[1:]:
        raise ValueError("an entry has no version")
    numbers = {str(kind): int(number) for kind, number in value["counts"].items()}
    return {**Lineage(version, base).fields(), "bump": bump, "counts": numbers}


# Withheld pairs: ids, digests and embeddings of pairs whose media may not be redistributed.

WITHHELD = "withheld.parquet"
_WITHHELD_COLUMNS = (
    *("key", "track_id", "artwork_id", "split", "score", "bridge", "artwork_style"),
    *(
        "artwork_genre",
        "painter",
        "artwork_year",
        "track_genre",
        "image_original_sha256",
        "audio_sha256",
    ),
    *("artwork_redistribute", "artwork_rights_reason", "artwork_source_url"),
    *("track_redistribute", "track_license", "track_source_url"),
)


# The columns by which a line of a list may name a pair, the keys of their values, and the column
# that has the item's own id; "" for digests, which are found by their value.
_NAMED_BY: tuple[tuple[str, Callable[[str], Iterable[str]], str], ...] = (
    ("artwork_id", artwork_keys, "artwork_id"),
    ("key", track_keys, "key"),
    ("artwork_source_url", address_keys, "artwork_id"),
    ("track_source_url", address_keys, "key"),
    ("painter", creator_keys, "artwork_id"),
    ("painter_id", creator_keys, "artwork_id"),
    ("musician", creator_keys, "key"),
    ("image_sha256", digest_keys, ""),
    ("image_original_sha256", digest_keys, ""),
    ("audio_sha256", digest_keys, ""),
)


# The beginnings of the keys that each of these functions gives: where a list has none of them, it
# names nothing in the columns that the function reads.
_BEGINNINGS: Mapping[Callable[[str], Iterable[str]], tuple[str, ...]] = {
    artwork_keys: ("artwork:",),
    track_keys: ("track:", "key:"),
    address_keys: ("address:", "under:"),
    creator_keys: ("creator:",),
    digest_keys: ("sha256:",),
}


def parted(rows: pl.DataFrame, withhold: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Divide pairs by their rights.

    Args:
        rows: The pairs.
        withhold: Whether to withhold pairs that may not be redistributed.

    Returns:
        The pairs to be packed, and those to be withheld.
    """
    if not withhold:
        return rows, rows.clear()
    free = pl.sql_expr(policy_condition("redistributable"))
    return rows.filter(free), rows.filter(~free)


def write_withheld(workspace: Workspace, rows: pl.DataFrame) -> list[Path]:
    """Write shards/withheld.parquet, or remove it when nothing is withheld.

    It has a row per pair, and a column of float32 vectors for each encoder and side.

    Args:
        workspace: The build.
        rows: The withheld pairs.

    Returns:
        The path of the file, if there is one.
    """
    path = workspace.shards / WITHHELD
    if rows.is_empty():
        path.unlink(missing_ok=True)
        return []
    table = rows.select(_WITHHELD_COLUMNS).sort("key")
    for encoder in sorted(p.name for p in workspace.embeddings.iterdir() if p.is_dir()):
        table = _with_vectors(workspace, table, encoder, "artworks", table["artwork_id"])
        table = _with_vectors(workspace, table, encoder, "tracks", table["key"])
    with atomic_write(path) as file:
        pq.write_table(table.to_arrow(), file, compression="zstd")
    return [path]


def _with_vectors(
    workspace: Workspace, table: pl.DataFrame, encoder: str, side: SideName, items: pl.Series
) -> pl.DataFrame:
    if not (workspace.embeddings / encoder / f"{side}.npy").exists():
        return table
    ids, matrix = load_embeddings(workspace, encoder, side)
    numbers = {item: number for number, item in enumerate(ids)}
    if any(item not in numbers for item in items):
        return table
    vectors = np.asarray(matrix[[numbers[item] for item in items]], dtype=np.float32)
    name = f"{encoder}_{side.removesuffix('s')}"
    return table.with_columns(pl.Series(name, vectors.tolist(), dtype=pl.List(pl.Float32)))


@dataclass(frozen=True)
class Found:
    """What a list names in a release.

    Attributes:
        ids: Keys and artwork ids, as the release spells them.
        digests: Digests of media.
        unmatched: Lines that name nothing.
        optouts_unmatched: Lines of the opt-out list that name nothing.
    """

    ids: frozenset[str]
    digests: frozenset[str]
    unmatched: tuple[str, ...]
    optouts_unmatched: tuple[str, ...] = ()


def find_listed(
    lines: Collection[str], *tables: pl.DataFrame, optouts: Collection[str] = ()
) -> Found:
    """Find what lists name.

    Args:
        lines: Lines of a list, each in any spelling that `artsound.sources.item_names` reads.
        *tables: Tables of pairs.
        optouts: Lines of an opt-out list, which may also name creators by their names alone.
    """
    ids: set[str] = set()
    digests: set[str] = set()
    lists = [Listed(lines), Listed(optouts, optouts=True)]
    for listed in lists:
        columns = [
            one for one in _NAMED_BY if any(k.startswith(_BEGINNINGS[one[1]]) for k in listed.keys)
        ]
        for table in tables if listed.lines else ():
            for name, keys_of, own in columns:
                if name not in table.columns or table.schema[name] != pl.String:
                    continue
                found = listed.chosen(table[name].drop_nulls(), keys_of)
                if not own:
                    digests |= found
                elif own == name:
                    ids |= found
                else:
                    ids |= set(table.filter(pl.col(name).is_in(list(found)))[own])
    unmatched = [one.unmatched for one in lists]
    return Found(frozenset(ids), frozenset(digests), *unmatched)


def pairs_listed(table: pl.DataFrame, listed: Found) -> pl.Series:
    """Say of each pair of a table whether it has an item that `find_listed` found."""
    by_id = [pl.col(name).is_in(list(listed.ids)) for name in ("artwork_id", "key")]
    by_digest = [pl.col(name).is_in(list(listed.digests)) for name, _, own in _NAMED_BY if not own]
    tests = [one for one in (*by_id, *by_digest) if one.meta.root_names()[0] in table.columns]
    return table.select(listed=pl.any_horizontal(pl.lit(False), *tests))["listed"]


def withheld_bump(before: Path, after: Path, released: Collection[str]) -> str:
    """Return the bump for the change of withheld.parquet between two releases.

    Args:
        before: The previous release.
        after: The new release.
        released: Keys of the pairs in its shards.

    Returns:
        major: a pair is in neither of the new release's tables; minor: one is new; patch: another
        change; "": no change.
    """
    was, now = withheld_rows(before), withheld_rows(after)
    if was.equals(now):
        return ""
    gone = set(was["key"]) - set(now["key"]) - set(released)
    return "major" if gone else "minor" if set(now["key"]) - set(was["key"]) else "patch"


def withheld_rows(folder: Path) -> pl.DataFrame:
    """Read withheld.parquet; no rows when there is no such file.

    Raises:
        BadData: The file is damaged.
    """
    path = folder / WITHHELD
    empty = pl.DataFrame(schema=dict.fromkeys(("key", "artwork_id"), pl.String))
    if not path.is_file():
        return empty
    try:
        rows = read_frame(path.read_bytes(), str(path))
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror or error}.") from error
    if "genre" in rows.columns:  # of format 1
        rows = renamed(rows)
    if any(rows.schema.get(name) != kind for name, kind in empty.schema.items()):
        raise BadData(f"{path} is no list of withheld pairs: its key and artwork_id must be text.")
    return rows
