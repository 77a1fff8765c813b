"""What a source of artworks or music is, and how a recipe names the places of its sources.

A recipe names each source as ``NAME:PLACE`` (``folder:museum/``); `places` gives what the names
stand for. The rest of the pipeline works with a `Place` and never asks which source it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import polars as pl

from artsound import plugins
from artsound.errors import BadData, BadUsage
from artsound.keys import KEY, item_key
from artsound.recipe import Recipe
from artsound.rights import (
    AI_TRAINING,
    AI_TRAINING_SOURCES,
    UNKNOWN,
    Rights,
    ai_training,
    artwork_rights,
    painter_dates,
    track_rights,
)
from artsound.sources.artgraph import is_nameless, slugify
from artsound.sources.files import check_place, list_files
from artsound.sql_filter import nearest
from artsound.storage import Workspace, read_json, sha256_bytes

# Of each side, the option of the recipe and the source that a bare place means.
OPTIONS: Mapping[str, str] = {"artwork": "artworks", "track": "music"}
USUAL: Mapping[str, str] = {"artwork": "artgraph", "track": "fma"}

_TEXT, _LIST = pl.String(), pl.List(pl.String)
# Where a medium is: its zip ("" for none) and path, size in bytes, and a stamp of its content.
PLACE_COLUMNS: Mapping[str, pl.DataType] = {
    "box": _TEXT,
    "name": _TEXT,
    "size": pl.Int64(),
    "stamp": _TEXT,
}
# The columns of a source's rows and their types; what a source leaves out is unknown.
COLUMNS: Mapping[str, Mapping[str, pl.DataType]] = {
    "artwork": {
        "artwork_index": pl.Int32(),
        "artwork_id": _TEXT,
        "painter_id": _TEXT,
        "style": _TEXT,
        "genre": _TEXT,
        "period": _TEXT,
        "school": _TEXT,
        "tags": _LIST,
        "media": _LIST,
        "emotions": _LIST,
        "title": _TEXT,
        "year": pl.Int32(),
        "source_url": _TEXT,
        "painter": _TEXT,
        "painter_died": pl.Int32(),
        **PLACE_COLUMNS,
    },
    "track": {
        "track_id": _TEXT,
        "title": _TEXT,
        "artist": _TEXT,
        "album": _TEXT,
        "album_id": pl.Int32(),
        "excerpt_start": pl.Int32(),
        "license": _TEXT,
        "artist_id": pl.Int32(),
        "tags": _LIST,
        "year": pl.Int32(),
        "listens": pl.Int64(),
        "language": _TEXT,
        "subset": _TEXT,
        "split": _TEXT,
        "genre": _TEXT,
        "genres": _LIST,
        "source_url": _TEXT,
        "license_url": _TEXT,
        **PLACE_COLUMNS,
    },
}
# Columns that a source may add: rights that it states itself, and rows that it sets aside.
RIGHTS_COLUMNS: Mapping[str, pl.DataType] = {
    "license": _TEXT,
    "license_url": _TEXT,
    "license_id": _TEXT,
    "redistribute": pl.Boolean(),
    "derivatives": pl.Boolean(),
    "commercial": pl.Boolean(),
    "share_alike": pl.Boolean(),
    "attribution": pl.Boolean(),
    "rights_reason": _TEXT,
    "ai_training": _TEXT,
    "ai_training_source": _TEXT,
}
ASIDE_COLUMNS: Mapping[str, pl.DataType] = {"aside": _TEXT, "aside_message": _TEXT}
_DOI = re.compile(r"(?:doi:/*)?(10\.\d{4,9}/\S+)", re.IGNORECASE)
_FIRST_ARTIST = 1 << 30  # numbers of artists that are no numbers of the FMA


@dataclass(frozen=True)
class Options:
    """What a recipe tells a source about how to read it.

    Attributes:
        subset: The FMA set to read.
        year: The year for which copyright terms are reckoned.
        seed: The recipe's seed.
    """

    subset: str = "large"
    year: int = 2026
    seed: int = 0

    @classmethod
    def of(cls, recipe: Recipe) -> Options:
        """Those of a recipe."""
        return cls(recipe.sources.subset, recipe.rights.year, recipe.seed)


class Source(Protocol):
    """A source of artworks, of music, or of both.

    These are all that a source must have. `DEFAULTS` names what it may have besides.
    """

    name: str
    version: str
    sides: Sequence[str]  # "artwork", "track"

    def read(self, side: str, root: Path, files: pl.DataFrame, options: Options) -> pl.DataFrame:
        """One row for each item.

        Args:
            side: "artwork" or "track".
            root: The folder or zip.
            files: What is there, as `artsound.sources.files.list_files` gives it: columns box
                (a zip in the folder, or ""), name (the path in the box), size and stamp.
            options: Of the recipe.

        Returns:
            The rows, with any of the columns of `COLUMNS`, `RIGHTS_COLUMNS` and `ASIDE_COLUMNS`.
            It must have the source's own id of each item (``artwork_id`` or ``track_id``, text)
            and where its medium is (``name``, and ``box`` for one in a zip; "" for a medium that
            is not there). Unknown text is "", an unknown number -1, an unknown list empty; what
            is null or absent counts as unknown.

        Raises:
            BadData: The place is not of this source, or cannot be read.
        """
        ...


# What a source may have, and what holds for one that has it not:
# - extra: the extra of this project that it needs
# - key_prefix: what its items' keys begin with; "<name>-"
# - home: the address of its own page
# - synthetic: whether its items are made by code
# - server: how it is fetched from servers (`artsound.sources.servers`)
# - list_files(side, root, options): the files at a place
# - check(side, root, files): raises BadData for a place that is not of this source
# - place(side, out) and write(side, out, options, progress), for a source without a place: where
#   in a build's folder its items are, and what makes them there
# - rights(table, year): the rights of each row, for a source that knows better than `rights_of`
DEFAULTS: Mapping[str, Any] = {
    "extra": "",
    "synthetic": False,
    "server": None,
    "check": None,
    "write": None,
    "list_files": None,
    "rights": None,
}


@dataclass(frozen=True)
class Place:
    """One source of one side of a build.

    Attributes:
        side: "artwork" or "track".
        spec: As the recipe has it, ``NAME:PLACE``.
        number: Which of the side's sources of this name it is, counted from 1.
        made: The source itself, in place of what `spec` names.
    """

    side: str
    spec: str
    number: int = 1
    made: Any = field(default=None, compare=False, repr=False)

    @cached_property
    def source(self) -> Any:
        """The source."""
        return self.made or plugins.get("source", self.spec)[0]

    @cached_property
    def place(self) -> str:
        """The folder, zip or address; "" for none."""
        return plugins.find("source", self.spec)[1]

    @property
    def name(self) -> str:
        """The source's name, and from the second source of that name on, its number."""
        return f"{self.source.name}{self.number if self.number > 1 else ''}"

    @property
    def key_prefix(self) -> str:
        """What the keys of its items begin with."""
        if self.number > 1:
            return f"{item_key('', self.name)}-"
        return str(getattr(self.source, "key_prefix", f"{item_key('', self.name)}-"))

    @property
    def shown(self) -> str:
        """What messages call it."""
        return self.place or self.spec

    def get(self, name: str) -> Any:
        """One of the source's optional members."""
        return getattr(self.source, name, DEFAULTS[name])

    @property
    def option(self) -> str:
        """The option of the command line that gives its place."""
        name = self.source.name
        return f"--{name}" if name == USUAL[self.side] else f"--{OPTIONS[self.side]} {name}:"

    @property
    def address(self) -> str:
        """The address or addresses of its server; "" for a source on this disk."""
        server = self.get("server")
        official = server.official if server else ""
        return address_of(self.place, official) if self.place else official

    @property
    def is_made(self) -> bool:
        """Whether the source makes its items itself."""
        return self.get("write") is not None

    def must_fetch(self, recipe: Recipe) -> bool:
        """Whether it, or a part of it, is on a server."""
        by_address = self.side == "artwork" and recipe.sources.image_urls
        return bool(self.address) or (by_address and self.get("server") is not None)

    def root(self, workspace: Workspace, recipe: Recipe) -> Path:
        """Where it is on this disk, or will be once it is fetched or made."""
        if self.is_made:
            return Path(self.source.place(self.side, workspace.root))
        if self.must_fetch(recipe):
            return workspace.sources / self.name
        return Path(self.place)

    def list_files(self, root: Path, options: Options) -> pl.DataFrame:
        """The files of the source at `root`."""
        own = self.get("list_files")
        return own(self.side, root, options) if own else list_files(root)

    def identity(self) -> dict[str, Any]:
        """What says which source this is: name, version, and the package that it comes from."""
        return {
            "source": self.source.name,
            "version": self.source.version,
            **plugins.identity("source", self.spec),
        }

    def package(self) -> dict[str, Any]:
        """As `identity`; empty for a source of this project, whose rows alone count."""
        return self.identity() if plugins.identity("source", self.spec) else {}


def address_of(place: str, official: str) -> str:
    """The addresses that the place of a source is meant as; "" for a folder or zip.

    A DOI (`10.5281/zenodo.8172374`, with `doi:` or not) is one too, and so is an address at Zenodo,
    doi.org or the source's `official` server that lacks its `https://`.
    """
    if "://" not in place and Path(place).exists():
        return ""
    hosts = {"zenodo.org", "doi.org", urlsplit(official).netloc} - {""}
    found = []
    for word in place.split():
        bare = word.strip("<>[]\"'").rstrip(".,;")
        bare = bare.strip(".,;()") if bare[:1] == "(" or "(" not in bare else bare
        if bare.lower() in ("doi:", "doi"):  # the DOI itself is the next word
            continue
        bare = re.sub(r"^((?:doi:/*)?10\.\d{4,9})%2f", r"\1/", bare, flags=re.IGNORECASE)
        host = bare.partition("/")[0].lower()
        if "://" in bare:
            found.append(bare)
        elif doi := _DOI.fullmatch(bare):
            found.append(f"https://doi.org/{doi[1]}")
        elif "/" in bare and any(host in (one, f"www.{one}", f"dx.{one}") for one in hosts):
            found.append(f"https://{bare}")
        else:
            return place if "://" in place else ""
    return " ".join(found)


def places(recipe: Recipe, side: str) -> tuple[Place, ...]:
    """The sources of one side that a recipe names, in its order.

    Raises:
        BadUsage: There is no source of a name, or it has nothing for this side.
    """
    usual, listed = USUAL[side], getattr(recipe.sources, OPTIONS[side])
    single = getattr(recipe.sources, usual)
    specs = [*([spec_of(usual, single)] if single else []), *listed] or [f"{usual}:"]
    counts: dict[str, int] = {}
    found = []
    for spec in specs:
        place = Place(side, _checked(spec, side))
        name = place.source.name
        counts[name] = counts.get(name, 0) + 1
        if side not in place.source.sides:
            raise BadUsage(f"The source {name} has no {OPTIONS[side]}: name another in {spec!r}.")
        found.append(Place(side, spec, counts[name]))
    if doubled := [spec for spec in specs if specs.count(spec) > 1]:
        raise BadUsage(f"{doubled[0]} is named twice as a source: name it once.")
    return tuple(found)


def all_places(recipe: Recipe) -> tuple[Place, ...]:
    """The sources of both sides."""
    return (*places(recipe, "artwork"), *places(recipe, "track"))


def spec_of(usual: str, place: str) -> str:
    """The source that ``--artgraph PLACE`` or ``--fma PLACE`` means.

    It is ``artgraph:PLACE`` or ``fma:PLACE``, or another source where `place` is the name of one.
    """
    names = {plugin.name for plugin in plugins.available("source")}
    return place if place in names and not Path(place).exists() else f"{usual}:{place}"


def _checked(spec: str, side: str) -> str:
    try:
        plugin, place = plugins.find("source", spec)
    except BadUsage as error:
        if "://" in spec or Path(spec).exists():
            option = OPTIONS[side]
            raise BadUsage(
                f"{spec!r} does not say which source it is: give --{option} NAME:PLACE, such as "
                f"--{option} folder:{spec}."
            ) from error
        raise
    try:
        source = plugin.load()
    except BadUsage as error:
        names = sorted(one.name for one in plugins.available("source"))
        near = nearest(spec.partition(":")[0], names, 0.6)
        if near and not plugin.built_in:
            raise BadUsage(f"There is no source {spec!r}: did you mean {near!r}?") from error
        raise
    if "://" in place and not getattr(source, "server", None):
        raise BadUsage(
            f"The source {plugin.name} cannot be fetched from {place}: give a folder or a zip."
        )
    if not place and not hasattr(source, "write") and not getattr(source, "server", None):
        raise BadUsage(
            f"The source {spec!r} has no place: give {plugin.name}:PLACE, a folder or a zip."
        )
    return spec


def home_page(name: str) -> str:
    """The address of a source's own page, for cards; "" for none, or for an unknown source."""
    try:
        plugins.refuse_code("source", name, "the table of works")
        return str(getattr(plugins.get("source", name)[0], "home", ""))
    except BadUsage:
        return ""


def check_on_disk(place: Place) -> None:
    """Raise BadUsage, with the nearest name there is, when nothing is at a place on this disk."""
    if not place.is_made and not place.address:
        check_place(Path(place.place))


def read_place(place: Place, root: Path, files: pl.DataFrame, options: Options) -> pl.DataFrame:
    """The rows of one source, held to the contract of `Source.read`, with keys and rights.

    Args:
        place: The source.
        root: Where it is on this disk.
        files: Its files.
        options: Of the recipe.

    Returns:
        All columns of `COLUMNS` and `ASIDE_COLUMNS`, the flags of rights, ``source``, and
        ``own_id``, the source's own name of each item.

    Raises:
        BadData: The source cannot be read, or its rows break the contract.
    """
    what = f"The source {place.spec!r}"
    try:
        table = place.source.read(place.side, root, files, options)
    except pl.exceptions.PolarsError as error:
        raise BadData(f"{what} cannot read {root}: {str(error).splitlines()[0]}.") from error
    if not isinstance(table, pl.DataFrame):
        raise BadData(f"{what} gave {type(table).__name__} as its rows, not a polars DataFrame.")
    known = {**COLUMNS[place.side], **RIGHTS_COLUMNS, **ASIDE_COLUMNS, "year_stated": pl.Boolean()}
    if unknown := [name for name in table.columns if name not in known]:
        near = nearest(unknown[0], list(known), 0.5)
        hint = f": did you mean {near!r}?" if near else "."
        raise BadData(f"{what} gave a column {unknown[0]!r}, which no {place.side} has{hint}")
    key = f"{place.side}_id"
    for name in (key, "name"):
        if name not in table.columns:
            raise BadData(f"{what} gave rows without the column {name!r}.")
    if not {"size", "stamp"} <= set(table.columns):
        table = _with_file_stamps(table, files, what)
    own_ids = table[key].cast(pl.String).fill_null("")
    if (own_ids == "").any() or own_ids.is_duplicated().any():
        twice = own_ids.filter(own_ids.is_duplicated()).to_list()[:1]
        fault = f"has {twice[0]!r} twice" if twice and twice[0] else "is empty in a row"
        raise BadData(f"{what}: the column {key} {fault}.")
    table = table.with_columns(own_ids.alias("own_id"))
    if place.key_prefix:
        keys = [item_key(place.key_prefix, one) for one in own_ids]
        table = table.with_columns(pl.Series(key, keys, dtype=pl.String))
    table = _with_people(place, table)
    if place.side == "artwork" and "artwork_index" not in table.columns:
        table = table.with_columns(
            pl.int_range(table.height, dtype=pl.Int32).alias("artwork_index")
        )
    if place.side == "artwork":  # the works of unknown painters have no painter in common
        painter = pl.col("painter_id").cast(pl.String).fill_null("")
        table = table.with_columns(
            pl.when(painter == "").then(key).otherwise(painter).alias("painter_id")
        )
    table = _complete(table, {**COLUMNS[place.side], **ASIDE_COLUMNS}, what)
    if place.side == "track":
        bad = table.filter(~pl.col(key).str.contains(f"^{KEY.pattern}$"))
        if bad.height:
            raise BadData(f"{what} gave the key {bad[key][0]!r}, which is none.")
    own_rights = place.get("rights")
    rights = own_rights(table, options.year) if own_rights else rights_of(table, options.year)
    table = _with_rights(table, rights).with_columns(pl.lit(place.source.name).alias("source"))
    table = _with_ai_training(table, what)
    return table.select(
        *COLUMNS[place.side], *ASIDE_COLUMNS, *_OF_RIGHTS, *_OF_TRAINING, "source", "own_id"
    )


def snapshot(place: Place, table: pl.DataFrame) -> dict[str, Any]:
    """The state of a source when it was read.

    Args:
        place: The source.
        table: Its rows, whole, as `read_place` gives them.

    Returns:
        side; source, its name; items, their number; and sha256, a digest of all that the source
        states of them, the places of their media apart: equal for two builds from the same state.
    """
    stated = [name for name in COLUMNS[place.side] if name not in PLACE_COLUMNS]
    rows = table.select("own_id", *stated, *_OF_RIGHTS).sort("own_id")
    sha256 = sha256_bytes(rows.write_ndjson().encode())
    return {"side": place.side, "source": place.name, "items": rows.height, "sha256": sha256}


SNAPSHOTS = "sources.json"


def read_snapshots(workspace: Workspace) -> list[dict[str, Any]]:
    """The states of the sources of a build, as `snapshot` gives them; none before ingest."""
    path = workspace.catalog / SNAPSHOTS
    return list(read_json(path)) if path.is_file() else []


def _complete(table: pl.DataFrame, columns: Mapping[str, pl.DataType], what: str) -> pl.DataFrame:
    """The columns with their types, what is null or absent being unknown."""
    found = []
    for name, kind in columns.items():
        unknown: Any = "" if kind == pl.String else [] if kind == _LIST else -1
        if name in ("size", "listens") and name not in table.columns:
            unknown = 0
        blank = pl.lit(unknown, dtype=kind)
        if name not in table.columns:
            found.append(blank.alias(name))
        else:
            found.append(pl.col(name).cast(kind).fill_null(blank))
    others = [name for name in table.columns if name not in columns]
    try:
        return table.select(*found, *others)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise BadData(f"{what} gave a column of the wrong type: {reason}.") from error


def _with_file_stamps(table: pl.DataFrame, files: pl.DataFrame, what: str) -> pl.DataFrame:
    """Add size and stamp of the files that rows name; BadData for a name that is no file."""
    if "box" not in table.columns:
        table = table.with_columns(pl.lit("").alias("box"))
    table = table.drop("size", "stamp", strict=False).with_columns(
        pl.col("box", "name").cast(pl.String).fill_null("")
    )
    joined = table.join(files, on=["box", "name"], how="left", maintain_order="left")
    lost = joined.filter((pl.col("name") != "") & pl.col("size").is_null())
    if lost.height:
        raise BadData(f"{what} names the file {lost['name'][0]!r}, which is not among its files.")
    return joined


def _with_people(place: Place, table: pl.DataFrame) -> pl.DataFrame:
    """Add the ids of painters and artists where a source states only their names."""
    if place.side == "artwork" and "painter_id" not in table.columns:
        painters = table["painter"] if "painter" in table.columns else [""] * table.height
        slugs = [slugify(painter or "") for painter in painters]
        known = ["" if is_nameless(slug) else slug for slug in slugs]
        table = table.with_columns(pl.Series("painter_id", known, dtype=pl.String))
    if place.side == "track" and "artist_id" not in table.columns:
        artists = table["artist"] if "artist" in table.columns else [""] * table.height
        numbers = [artist_number(artist or "") for artist in artists]
        table = table.with_columns(pl.Series("artist_id", numbers, dtype=pl.Int32))
    return table


def artist_number(name: str) -> int:
    """A number for an artist whom only a name identifies: 2^30 or more; -1 for no name."""
    plain = " ".join(name.casefold().split())
    if not plain:
        return -1
    digest = hashlib.sha256(plain.encode()).digest()
    return _FIRST_ARTIST + int.from_bytes(digest[:4], "big") % _FIRST_ARTIST


def rights_of(table: pl.DataFrame, this_year: int) -> list[Rights]:
    """The rights of each row of a whole source, from what its columns state.

    A row that states a licence (``license``, ``license_url`` or ``license_id``) has the rights of
    the licence. Another artwork has those that follow from its dates and its painter's; another
    track has none. Columns that hold a flag of rights (``redistribute``, …) decide themselves.
    """
    blank = [""] * table.height
    columns = {name: table[name].to_list() if name in table.columns else blank
               for name in ("license", "license_url", "license_id")}  # fmt: skip
    by_date = _rights_by_date(table, this_year) if "painter_id" in table.columns else None
    found = []
    for row in range(table.height):
        text = columns["license"][row] or columns["license_id"][row] or ""
        address = columns["license_url"][row] or ""
        if by_date is not None and not text and not address:
            found.append(by_date[row])
        else:
            found.append(track_rights(text, address))
    return found


def _rights_by_date(table: pl.DataFrame, this_year: int) -> list[Rights]:
    """The rights of artworks whose dates are stated, not read from names."""
    rows = table.select("painter_id", "painter_died", "title", "year").rows()
    works: dict[str, set[tuple[str, int]]] = {}
    died: dict[str, int] = {}
    for painter, death, title, year in rows:
        works.setdefault(painter, set()).add((title.casefold(), year))
        died[painter] = max(death, died.get(painter, -1))
    dates = {
        painter: painter_dates(died[painter], [year for _, year in sorted(of_painter)])
        for painter, of_painter in works.items()
        if not is_nameless(painter)
    }
    return [
        artwork_rights(year, dates.get(painter) or painter_dates(death, [year]), this_year)
        for painter, death, _, year in rows
    ]


# Columns of rights and the attributes of `Rights` that fill them.
_OF_RIGHTS = {
    "license_id": "license_id",
    "redistribute": "redistribute",
    "derivatives": "derivatives",
    "commercial": "commercial",
    "share_alike": "share_alike",
    "attribution": "attribution",
    "rights_reason": "reason",
}
_OF_TRAINING = ("ai_training", "ai_training_source")


def _with_ai_training(table: pl.DataFrame, what: str) -> pl.DataFrame:
    """Add whether each item may be used to train models; BadData for a value that is none."""
    stated = {}
    for name, known in zip(_OF_TRAINING, (AI_TRAINING, AI_TRAINING_SOURCES), strict=True):
        column = table[name] if name in table.columns else pl.Series([""] * table.height)
        stated[name] = column.cast(pl.String).fill_null("")
        if wrong := sorted(set(stated[name]) - {"", *known}):
            raise BadData(f"{what} gave the {name} {wrong[0]!r}: it is none of {', '.join(known)}.")
    found = []
    flags = table.select(*_OF_RIGHTS).iter_rows()
    for row, value, source in zip(flags, *stated.values(), strict=True):
        refused = value == "refused"
        header = value if refused and source == "header" else ""
        listed = refused and source == "opt-out-list"
        # What a source repeats of the licence is no preference beyond it, but for a refusal.
        preference = "" if source == "licence" and not refused else value
        found.append(ai_training(Rights(*row), header=header, preference=preference, listed=listed))
    return table.with_columns(
        pl.Series(name, [one[number] for one in found], dtype=pl.String)
        for number, name in enumerate(_OF_TRAINING)
    )


def _with_rights(table: pl.DataFrame, rights: Sequence[Rights]) -> pl.DataFrame:
    """Add the columns of rights; flags that the source states itself stay."""
    added = []
    claims = pl.Series([False] * table.height, dtype=pl.Boolean)  # rows with a flag of their own
    for name, attribute in _OF_RIGHTS.items():
        kind = RIGHTS_COLUMNS[name]
        series = pl.Series(name, [getattr(one, attribute) for one in rights], dtype=kind)
        if name == "rights_reason":
            stated = pl.Series(["as the source states"] * table.height)
            series = stated.zip_with(claims, series).alias(name)
        if name in table.columns:
            own = table[name].cast(kind)
            says = own.is_not_null()
            if kind == pl.String:
                says &= own != ""
            else:
                claims |= says
            if name == "license_id":
                says &= series == UNKNOWN  # one that is understood has its SPDX identifier
            series = own.zip_with(says.fill_null(False), series).alias(name)
        added.append(series)
    return table.with_columns(added)
