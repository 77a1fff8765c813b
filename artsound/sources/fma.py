"""The Free Music Archive as published (github mdeff/fma): metadata and audio, one row per track.

Layout: `fma_metadata/tracks.csv` (three header lines: table, column, and `track_id`),
`fma_metadata/genres.csv`, and `fma_large/000/000002.mp3`, each set as a folder or as the zip of
its name. `fma_metadata/raw_tracks.csv`, where it is there, adds the addresses of tracks and of
their licences. Copies with all clips in one folder, or as WAV, FLAC, Ogg or AIFF, are read too.
Rows without audio here and empty cells are ordinary. Durations in tracks.csv are those of whole
tracks and often wrong: they are read only to say where a clip begins, since the clips were cut by
them.
"""

from __future__ import annotations

import csv
import html
import io
import operator
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from artsound.errors import BadData
from artsound.rights import track_rights
from artsound.sources.files import find_file, list_files, read_table
from artsound.untrusted import csv_rows, parse_csv

if TYPE_CHECKING:
    from artsound.sources.base import Options

METADATA_ZIP = "fma_metadata.zip"
CLIP_ZIPS = ("fma_large.zip", "fma_medium.zip", "fma_small.zip")
FULL_ZIPS = ("fma_full.zip",)

_SPLITS = {"training": "train", "validation": "val", "test": "test"}
_REQUIRED = (
    "album.title", "artist.name", "set.split", "set.subset",
    "track.genre_top", "track.genres", "track.license", "track.title",
)  # fmt: skip
_OPTIONAL = (
    "album.date_released", "album.id", "artist.id", "track.date_recorded", "track.duration",
    "track.genres_all", "track.language_code", "track.listens", "track.tags",
)  # fmt: skip
_TEXTS = {
    "title": "track.title",
    "artist": "artist.name",
    "album": "album.title",
    "license": "track.license",
}
_RAW = {"track_url": "source_url", "license_url": "license_url", "license_title": "raw_license"}
_TAG = re.compile(r"<[a-zA-Z/!][^<>]*>")
_BREAK = re.compile(r"</?(?:br|div|li|p|tr)\b[^<>]*>", re.IGNORECASE)
_LONGEST_ROW = 1 << 17  # characters, and the longest cell that csv reads
_LONGEST_TEXT = 10_000  # characters of one cell; parsing takes up to the square of this
_WHOLE = re.compile(r"\d{1,9}")
_ROW = re.compile(rb"\n(\d{1,6}),")  # the start of a row, or a line of a text that looks like one
_DIGITS = 6  # of a track's number
_EARLIEST_YEAR = 1860  # the first recording of sound
_ITEM = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^,\[\]'"]+)""")


def list_fma(root: Path, subset: str) -> pl.DataFrame:
    """The FMA's files, as `list_files` gives them; of its zips, only those that `subset` needs."""
    return list_files(root, {METADATA_ZIP, *(FULL_ZIPS if subset == "full" else CLIP_ZIPS)})


def check_source(root: Path, files: pl.DataFrame) -> None:
    """Raise BadData when the files that `list_source` gave are not those of the FMA."""
    _find(root, files, "tracks.csv")


def read_tracks(root: Path, files: pl.DataFrame, subset: str, this_year: int) -> pl.DataFrame:
    """One row per track of the FMA's metadata, by id, with its audio file where there is one.

    Columns: track_id, title, artist, artist_id, album, album_id, genre (top level), genres (titles,
    the track's own first, then what lies above), tags, year, listens, language, subset, split
    ("train", "val", "test" or empty), excerpt_start (see `_excerpt_start`), license (as written),
    license_url, source_url (the track's page), and where the audio lies: box, name, size, stamp as
    `list_files` gives them, name being empty when there is none here. Unknown is "", -1 or the
    empty list.

    `subset` is the set asked for: `small`, `medium` and `large` hold 30-second clips and one
    another, `full` whole tracks. `files` is what `list_source` gave. Raises BadData when `root`
    is not the FMA or its tables are broken.
    """
    table = _read_table(root, files)
    date = pl.coalesce(
        _year("album.date_released", this_year), _year("track.date_recorded", this_year), pl.lit(-1)
    )
    tracks = table.select(
        _number("track_id", whole=True).alias("track_id"),
        *(_cleaned(table[column]).alias(field) for field, column in _TEXTS.items()),
        _number("artist.id").cast(pl.Int32, strict=False).fill_null(-1).alias("artist_id"),
        _number("album.id").cast(pl.Int32, strict=False).fill_null(-1).alias("album_id"),
        _excerpt_start(subset).alias("excerpt_start"),
        _mapped(table["track.tags"], parse_list, pl.List(pl.String)).alias("tags"),
        date.cast(pl.Int32).alias("year"),
        _number("track.listens").clip(lower_bound=-1).alias("listens"),
        pl.col("track.language_code").alias("language"),
        pl.col("set.subset").alias("subset"),
        pl.col("set.split").replace_strict(_SPLITS, default="").alias("split"),
        *_genre_columns(table, _read_genres(root, files)),
    )
    tracks = tracks.with_columns(_long_number("track_id", table["track_id"]).alias("long"))
    _check_ids(root, tracks)
    tracks = _with_audio(_with_addresses(tracks, root, files), files, subset)
    # The key of a track of the FMA: its number in six digits.
    key = pl.col("track_id").cast(pl.String).str.zfill(6)
    return (
        tracks.sort("track_id", "long")
        .with_columns(pl.when(pl.col("long") == "").then(key).otherwise("long").alias("track_id"))
        .drop("long")
    )


def in_subset(subset: str) -> tuple[str, ...]:
    """Values of the subset column of an FMA set's tracks: each set holds the smaller ones."""
    if subset in ("large", "full"):
        return "small", "medium", "large", ""  # every track, also without a subset
    return ("small",) if subset == "small" else ("small", "medium")


def parse_list(text: str) -> list[str]:
    """The items of a list printed by Python or by pandas: `['a', "b"]`, `[a, b]`, `[1, 2]`.

    Nothing is evaluated; text without items gives an empty list.
    """
    if text in ("", "[]"):
        return []
    text = text[:_LONGEST_TEXT]
    found = (match[1] or match[2] or match[3] or "" for match in _ITEM.finditer(text))
    items = (re.sub(r"\\(.)", r"\1", item).strip() for item in found)
    return [clean_text(item) for item in items if item]


def clean_text(text: str) -> str:
    """`text` without HTML tags and entities, white space collapsed; `a < b` stays as it is."""
    text = _BREAK.sub(" ", text[:_LONGEST_TEXT])
    text = _TAG.sub("", text)
    for _ in range(2):  # some fields were escaped twice ("&amp;amp;")
        text = html.unescape(text) if "&" in text else text
    return " ".join(text.split())


def _read_table(root: Path, files: pl.DataFrame) -> pl.DataFrame:
    """tracks.csv as text columns called `table.column`, the first one `track_id`; no nulls."""
    box, name = _find(root, files, "tracks.csv")
    where = root / box / name
    data = read_table(root, box, name)
    columns = _read_header(where, data)
    if missing := [column for column in _REQUIRED if column not in columns]:
        raise BadData(f"{where} lacks the column {missing[0]}: take it from {METADATA_ZIP}.")
    kept = [column for column in ("track_id", *_REQUIRED, *_OPTIONAL) if column in columns]
    try:
        table = parse_csv(
            data,
            has_header=False,
            skip_rows=3,
            columns=sorted(columns.index(column) for column in kept),
            infer_schema=False,
        )
    except pl.exceptions.NoDataError as error:
        raise BadData(f"{where} lists no track.") from error
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise BadData(f"{where} is broken: {str(error).splitlines()[0]}.") from error
    if table.width != len(kept):
        raise BadData(f"{where} is broken: its rows have other columns than its header.")
    table.columns = sorted(kept, key=columns.index)
    _check_swallowed(where, data, table["track_id"], len(columns))
    absent = [pl.lit("").alias(column) for column in _OPTIONAL if column not in columns]
    table = table.filter(pl.any_horizontal(pl.all().is_not_null()))  # a blank line is no row
    return table.with_columns(pl.all().fill_null(""), *absent)


def _check_swallowed(where: Path, data: bytes, ids: pl.Series, width: int) -> None:
    """Raise BadData where a cell, of any column, holds what looks like other rows.

    A quotation mark too many makes such cells. A line within a cell that begins with a number and a
    comma is taken for a row when no row has that number and, in a table in ascending order, it is
    between those of its own row and of the next. Where neither is known, in another order or
    behind the last row, the line must have exactly the cells of a row.

    Args:
        where: The table, for the message.
        data: Its bytes.
        ids: The numbers of its rows, as text.
        width: The cells of a row.
    """
    order = [int(one) for one in ids if one and _WHOLE.fullmatch(one)]
    known, ascending = set(order), order == sorted(order)
    own, following = 0, [*order, -1]  # the row that lines belong to is order[own - 1]
    for match in _ROW.finditer(data):
        number = int(match[1])
        if number == following[own]:
            own += 1
        elif number not in known and own:
            if ascending and own < len(order):
                is_row = order[own - 1] < number < order[own]
            else:
                text = data[match.start() + 1 : match.end() + _LONGEST_ROW].decode(errors="replace")
                is_row = len(next(csv.reader(io.StringIO(text)), [])) == width
            if is_row:
                raise BadData(
                    f"{where}: the row of track {order[own - 1]} holds that of track {number}: a "
                    "quotation mark is missing or too many."
                )


def _read_header(where: Path, data: bytes) -> list[str]:
    """The columns that the three header lines name, as `table.column`."""
    take = f"take tracks.csv from {METADATA_ZIP}"
    try:
        header = csv_rows(b"\n".join(data[: 1 << 16].split(b"\n", 3)[:3]))
    except ValueError as error:
        raise BadData(
            f"{where} does not begin with FMA's three header lines: {error}; {take}."
        ) from error
    if len(header) != 3 or header[2][:1] != ["track_id"] or any(header[2][1:]):
        raise BadData(
            f"{where} does not begin with FMA's three header lines "
            f"(table, column, track_id): {take}."
        )
    named = zip(header[0], header[1], strict=False)
    return ["track_id", *(f"{table}.{column}" for table, column in list(named)[1:])]


def _read_genres(root: Path, files: pl.DataFrame) -> dict[int, tuple[str, int, int]]:
    """Title, parent and top level of each genre id, from genres.csv."""
    box, name = _find(root, files, "genres.csv")
    where = root / box / name
    take = f"take it from {METADATA_ZIP}"
    try:
        header, *rows = csv_rows(read_table(root, box, name)) or [[]]
    except ValueError as error:
        raise BadData(f"{where} is not FMA's table of genres: {error}; {take}.") from error
    try:
        number, title, parent, top = (
            header.index(column) for column in ("genre_id", "title", "parent", "top_level")
        )
        if any("\n" in cell for row in rows for cell in row):
            raise ValueError("a cell with a line break: a quotation mark is missing or too many")
        return {
            int(row[number]): (row[title].strip(), int(row[parent]), int(row[top]))
            for row in rows
            if row
        }
    except (ValueError, IndexError) as error:
        raise BadData(
            f"{where} is not FMA's table of genres (genre_id, parent, title, top_level): {take}."
        ) from error


def _find(root: Path, files: pl.DataFrame, name: str) -> tuple[str, str]:
    found = find_file(files, name, root)
    if found is None:
        raise BadData(
            f"{root} is not the FMA: it has no {name} (in fma_metadata/ or {METADATA_ZIP})."
        )
    return found


def _with_addresses(tracks: pl.DataFrame, root: Path, files: pl.DataFrame) -> pl.DataFrame:
    """Add source_url and license_url, and licences that only raw_tracks.csv states."""
    raw = _read_raw(root, files).rename(_RAW)
    joined = tracks.join(raw, on="track_id", how="left").with_columns(
        pl.col(*_RAW.values()).fill_null("")
    )
    stated = pl.when(pl.col("license") == "").then("raw_license").otherwise("license")
    addresses = ("license_url", "source_url")
    return joined.with_columns(
        stated.alias("license"),
        *(
            pl.when(pl.col(one).str.starts_with("http")).then(one).otherwise(pl.lit("")).alias(one)
            for one in addresses
        ),
    ).drop("raw_license")


def _read_raw(root: Path, files: pl.DataFrame) -> pl.DataFrame:
    found = find_file(files, "raw_tracks.csv", root)
    if found is None:
        return pl.DataFrame(schema={"track_id": pl.Int64, **dict.fromkeys(_RAW, pl.String)})
    data = read_table(root, *found)
    where = root.joinpath(*found)
    try:
        named = next(iter(csv_rows(data[: 1 << 16].partition(b"\n")[0].strip())), [])
    except ValueError as error:
        raise BadData(f"{where} is not FMA's raw_tracks.csv: {error}.") from error
    if "track_id" not in named:
        raise BadData(f"{where} is not FMA's raw_tracks.csv: it has no column track_id.")
    there = [column for column in _RAW if column in named]
    try:
        raw = parse_csv(data, columns=["track_id", *there], infer_schema=False)
    except (pl.exceptions.PolarsError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BadData(f"{where} is not FMA's raw_tracks.csv: {reason}.") from error
    if named[0] == "track_id":
        _check_swallowed(where, data, raw["track_id"], len(named))
    ids = _number("track_id", whole=True)
    absent = [pl.lit("").alias(column) for column in _RAW if column not in there]
    return _one_each(raw.with_columns(ids, *absent), where)


def _one_each(raw: pl.DataFrame, where: Path) -> pl.DataFrame:
    """One row for each track: of several the one whose licence grants least."""
    twice = raw.unique(maintain_order=True).filter(pl.col("track_id").is_duplicated())
    twice = twice.filter(pl.col("track_id") >= 0).with_columns(pl.col(*_RAW).fill_null(""))
    least: dict[int, tuple[tuple[bool, ...], dict[str, Any]]] = {}
    for row in twice.rows(named=True):
        rights = track_rights(row["license_title"], row["license_url"])
        grants = (rights.redistribute, rights.commercial, rights.derivatives)
        other = least.setdefault(row["track_id"], (grants, row))[0]
        if all(map(operator.le, grants, other)) and grants != other:
            least[row["track_id"]] = (grants, row)
        elif not all(map(operator.le, other, grants)):
            raise BadData(
                f"{where} lists track {row['track_id']} with two licences, each of which forbids "
                "what the other grants: keep one row."
            )
    chosen = [row for _, row in least.values()]
    single = raw.filter(~pl.col("track_id").is_in(list(least)))
    return pl.concat([single.unique("track_id", keep="first", maintain_order=True),
                      pl.DataFrame(chosen, schema=raw.schema)])  # fmt: skip


def _number(column: str, *, whole: bool = False) -> pl.Expr:
    """A column of whole numbers, -1 where there is none; "12.0" counts as 12.

    Fractions are cut off, or, where `whole`, are no numbers.
    """
    number = pl.col(column).str.strip_chars().cast(pl.Float64, strict=False)
    if whole:
        number = pl.when(number == number.floor()).then(number)
    return number.fill_nan(-1).fill_null(-1).cast(pl.Int64, strict=False).fill_null(-1)


def _excerpt_start(subset: str) -> pl.Expr:
    """The second of the whole track at which its clip begins; -1 unknown.

    The FMA cut its clips out of the middle: from half of the stated length, in whole seconds, less
    15 (`trim_audio` of its creation.py), of tracks of more than 30 s. `full` has whole tracks.
    """
    if subset == "full":
        return pl.lit(0, pl.Int32)
    length = _number("track.duration")
    start = pl.when(length > 30).then(length // 2 - 15).otherwise(-1)
    return start.cast(pl.Int32, strict=False).fill_null(-1)


def _year(column: str, this_year: int) -> pl.Expr:
    """The year that a date begins with, null when there is none or no recording is so old."""
    year = pl.col(column).str.extract(r"^\s*(\d{4})").cast(pl.Int32, strict=False)
    return pl.when(year.is_between(_EARLIEST_YEAR, this_year)).then(year)


def _long_number(name: str, text: pl.Series) -> pl.Series:
    """The numbers of more than six digits in a column of text, at most 40 digits; else empty."""
    long = text.str.extract(r"^\s*0*([1-9]\d{6,39})\d*(?:\.0*)?\s*$")
    return long.fill_null("").alias(name)


def _check_ids(root: Path, tracks: pl.DataFrame) -> None:
    """Raise BadData for a row without a number, and for a number that occurs twice."""
    ids = tracks.filter(pl.col("long") == "")["track_id"]
    if (ids < 0).any():
        raise BadData(f"{root}: tracks.csv has a row whose track_id is not a number.")
    long = tracks.filter(pl.col("long") != "")["long"]
    for numbers in (ids, long):
        repeated = numbers.filter(numbers.is_duplicated())
        if len(repeated):
            raise BadData(f"{root}: tracks.csv lists track {repeated[0]} twice.")


def _genre_columns(
    table: pl.DataFrame, genres: Mapping[int, tuple[str, int, int]]
) -> tuple[pl.Series, pl.Series]:
    """Top-level genre, and genre titles, of each track.

    FMA leaves the top level empty where a track's genres have several; then it is the one of the
    genre that the artist put first.
    """
    sources = pl.concat_str("track.genre_top", "track.genres", "track.genres_all", separator="\n")
    keys = table.select(sources).to_series()
    named = {key: _name_genres(key, genres) for key in keys.unique()}
    return (
        _mapped(keys, lambda key: named[key][0], pl.String()).alias("genre"),
        _mapped(keys, lambda key: named[key][1], pl.List(pl.String)).alias("genres"),
    )


def _name_genres(key: str, genres: Mapping[int, tuple[str, int, int]]) -> tuple[str, list[str]]:
    stated, own, every = key.split("\n", 2)
    ids = [int(one) for one in _WHOLE.findall(own)]
    above = [higher for one in ids for higher in _above(one, genres)]
    listed = dict.fromkeys([*ids, *above, *(int(one) for one in _WHOLE.findall(every))])
    titles = [genres[one][0] for one in listed if one in genres]
    first = genres.get(ids[0]) if ids else None
    top = clean_text(stated or (genres.get(first[2], first)[0] if first else ""))
    return top, titles or ([top] if top else [])


def _above(genre: int, genres: Mapping[int, tuple[str, int, int]]) -> list[int]:
    """The genres above one, nearest first; a circle in the table ends the climb."""
    found: list[int] = []
    while genre in genres and (genre := genres[genre][1]) and genre not in found:
        found.append(genre)
    return found


def _cleaned(column: pl.Series) -> pl.Series:
    """`clean_text` of every value; only those with a sign of HTML or odd spaces take it."""
    odd = column.str.contains(r"[<&]|\s\s|^\s|\s$|[\t\r\n]")
    cleaned = _mapped(column.filter(odd), clean_text, pl.String())
    return column.scatter(odd.arg_true(), cleaned) if odd.any() else column


def _mapped(column: pl.Series, function: Callable[[str], Any], dtype: pl.DataType) -> pl.Series:
    """`function` of every value of a text column, called once for each distinct one."""
    keys = column.unique(maintain_order=True)
    values = pl.DataFrame(
        {"key": keys, "value": pl.Series([function(key) for key in keys], dtype=dtype)}
    )
    return column.to_frame("key").join(values, on="key", how="left", maintain_order="left")["value"]


def _with_audio(tracks: pl.DataFrame, files: pl.DataFrame, subset: str) -> pl.DataFrame:
    """Add where each track's audio lies: in the largest set here, in a folder before a zip.

    Of one track in several formats, MP3 is taken, which is what the FMA publishes.
    """
    place = pl.concat_str("box", "name", separator="/")
    order = ["fma_full"] if subset == "full" else ["fma_large", "fma_medium", "fma_small"]
    others = ("fma_large", "fma_medium", "fma_small") if subset == "full" else ("fma_full",)
    rank = pl.lit(len(order))
    for number, folder in reversed(list(enumerate(order))):
        rank = (
            pl.when(place.str.to_lowercase().str.contains(folder, literal=True))
            .then(number)
            .otherwise(rank)
        )
    audio = (
        files.with_columns(
            pl.col("name")
            .str.extract(r"(?i)(?:^|/)(\d{6})\.(?:mp3|wav|flac|ogg|opus|aiff?)$")
            .cast(pl.Int64)
            .alias("track_id"),
            rank.alias("rank"),
        )
        .filter(pl.col("track_id").is_not_null(), ~place.str.contains_any(list(others)))
        .sort("rank", ~place.str.to_lowercase().str.ends_with(".mp3"), "box", "name")
        .unique("track_id", keep="first", maintain_order=True)
        .drop("rank")
    )
    return tracks.join(audio, on="track_id", how="left", maintain_order="left").with_columns(
        pl.col("box", "name", "stamp").fill_null(""), pl.col("size").fill_null(0)
    )


class Fma:
    """The Free Music Archive as published for research (Defferrard et al., 2017)."""

    name = "fma"
    version = "1"
    sides = ("track",)
    home = "https://github.com/mdeff/fma"
    key_prefix = ""  # a track has its number in six digits

    @property
    def server(self) -> Any:
        """How it is fetched from its server or a mirror."""
        from artsound.sources.servers import FMA

        return FMA

    def list_files(self, side: str, root: Path, options: Options) -> pl.DataFrame:
        """The files, without zips that the subset does not need."""
        return list_fma(root, options.subset)

    def check(self, side: str, root: Path, files: pl.DataFrame) -> None:
        """Raise BadData when the files are not those of the FMA."""
        check_source(root, files)

    def read(self, side: str, root: Path, files: pl.DataFrame, options: Options) -> pl.DataFrame:
        """One row for each track: see `read_tracks`.

        Those outside the subset, and those whose number is too long for a key, are set aside.
        """
        tracks = read_tracks(root, files, options.subset, options.year)
        long = pl.col("track_id").str.len_bytes() > _DIGITS
        outside = ~pl.col("subset").is_in(in_subset(options.subset))
        no_key = f"a track of the FMA has a number of {_DIGITS} digits, by which its clip is called"
        other_set = f"the track does not belong to fma_{options.subset}"

        def reason(if_long: str, if_outside: str) -> pl.Expr:
            found = pl.when(outside).then(pl.lit(if_outside)).otherwise(pl.lit(""))
            return pl.when(long).then(pl.lit(if_long)).otherwise(found)

        return tracks.with_columns(
            reason("track-number-too-long", "outside-subset").alias("aside"),
            reason(no_key, other_set).alias("aside_message"),
        )


SOURCE = Fma()
