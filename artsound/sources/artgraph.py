"""ArtGraph as published: an OGB folder or zip of names and edges, joined into one row per artwork.

Layout: `mapping/<type>_entidx2name.csv` (no header: index, name; an artwork's name is its image
file), `raw/relations/<source>___<relation>___<target>/edge.csv` (two columns of indices),
`raw/node-label/artwork/node-label-<type>.csv` (one index per line), and the images, by name, in a
folder or zip beside them. Relations are known by the types that they join, so version 1's names
(`hasstyle_rel`) and version 2's (`hasstyle`) both do. Only artworks and their images are a must.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from pathlib import Path

import polars as pl

from artsound.errors import BadData
from artsound.sources.files import TABLE_LIMIT, list_files, read_file

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff")

# Field of a row, and the node types that fill it: the first is version 2's name.
_SINGLE = {"style": ("style",), "genre": ("genre",), "period": ("period",)}
_LISTS = {"tags": ("tag",), "media": ("media",), "emotions": ("emotion",)}
_SCHOOL = ("training", "school")

# fmt: off
_PARTICLES = frozenset({
    "af", "da", "das", "de", "del", "della", "dei", "den", "der", "di", "dos", "du", "el", "la",
    "le", "of", "ten", "ter", "the", "und", "van", "von", "y", "zu",
})
_NUMERALS = frozenset({
    "ii", "iii", "iv", "vi", "vii", "viii", "ix", "xi", "xii", "xiii", "xiv", "xv", "xvi", "xvii",
    "xviii", "xix",
})
# fmt: on
_MARKER = "mapping/artwork_entidx2name.csv"
_RELATION = re.compile(r"raw/relations/([^/]+?)___([^/]+)___([^/]+)/edge\.csv$")
_YEAR = re.compile(r"(?:^|-)(?:c-|ca-|circa-)?(1[0-9]{3}|20[0-2][0-9])(?:-(\d{1,4}))?$")
_COPY = re.compile(r"\(\d+\)$")
_POSSESSIVE = re.compile(r"\b(?!(?:de|des|la|le|the) )(\w{2,}) s\b")
_ELISION = re.compile(r"\b([dl]) (?=[aeiouh])")
_UNNAMED = re.compile(r"^not[_-]detected(?:[_-]\d+)?$")


def list_source(root: Path) -> pl.DataFrame:
    """ArtGraph's files, as `list_files` gives them, all zips in the folder included."""
    return list_files(root)


def read_artworks(root: Path, files: pl.DataFrame, this_year: int) -> pl.DataFrame:
    """One row per artwork of an ArtGraph folder or zip, in the order of its mapping.

    Columns: artwork_id (image file name), artwork_index, title, painter, painter_id (slug),
    year (-1 unknown, never after `this_year`), style, genre, school, period (empty when unknown),
    tags, media, emotions (lists), and where the image lies: box, name, size, stamp as
    `list_files` gives them, name being empty when the image is absent. `files` is what
    `list_source` gave. Raises BadData when `root` is not ArtGraph or a table in it is broken.
    """
    graph = _Graph(root, files)
    artworks = graph.nodes(("artwork",))
    if artworks is None or artworks.is_empty():
        raise BadData(f"{root}: {_MARKER} lists no artwork.")
    table = artworks.rename({"index": "artwork_index", "name": "artwork_id"})
    repeated = table.filter(table["artwork_id"].is_duplicated())
    if not repeated.is_empty():
        raise BadData(f"{root}: {_MARKER} lists {repeated['artwork_id'][0]!r} twice.")
    table = table.join(
        _first(graph.edges("artwork", ("artist",)), "painter_id"),
        left_on="artwork_index",
        right_on="source",
        how="left",
    )
    for field, types in _SINGLE.items():
        linked = graph.edges("artwork", types)
        if linked.is_empty():
            linked = graph.labels(types)
        table = table.join(
            _first(linked, field), left_on="artwork_index", right_on="source", how="left"
        )
    table = table.join(
        _first(_schools(graph), "school"), left_on="artwork_index", right_on="source", how="left"
    )
    for field, types in _LISTS.items():
        listed = (
            graph.edges("artwork", types)
            .group_by("source", maintain_order=True)
            .agg(pl.col("target").unique(maintain_order=True).alias(field))
        )
        table = table.join(listed, left_on="artwork_index", right_on="source", how="left")
    table = table.with_columns(
        pl.col("painter_id", "school", *_SINGLE).fill_null(""),
        *(pl.col(field).fill_null(pl.lit([], dtype=pl.List(pl.String))) for field in _LISTS),
    )
    named = [
        read_name(name, painter, this_year)
        for name, painter in zip(table["artwork_id"], table["painter_id"], strict=True)
    ]
    shown = {slug: display_name(slug) for slug in {row[0] for row in named}}
    table = table.with_columns(
        pl.Series("painter_id", [row[0] for row in named], dtype=pl.String),
        pl.Series("painter", [shown[row[0]] for row in named], dtype=pl.String),
        pl.Series("title", [row[1] for row in named], dtype=pl.String),
        pl.Series("year", [row[2] for row in named], dtype=pl.Int32),
        pl.col("artwork_index").cast(pl.Int32),
    )
    return _with_images(table, files)


def read_name(file_name: str, painter: str = "", this_year: int = 2026) -> tuple[str, str, int]:
    """(painter's slug, title, year) from a name like `claude-monet_haystacks-1891.jpg`.

    `painter` is the name that the graph gives, which goes first; without it, what stands before
    the first underscore counts. The title is in sentence case, empty when the name holds none
    (`not_detected_229434`); the year is -1 when there is none between 1000 and `this_year`.
    """
    stem = file_name.rpartition("/")[2]
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
    year = -1
    if match := _YEAR.search(words):
        year = _end_of_span(int(match[1]), match[2] or "")
        year = year if year <= this_year else int(match[1])
        words = words[: match.start()] if year <= this_year else words
        year = year if year <= this_year else -1
    title = "" if _UNNAMED.match(words) else _title(words)
    return slug or slugify(before) or "unknown", title, year


def _end_of_span(year: int, last: str) -> int:
    """1890 and "95", or "1895", give 1895; the 1 of `1895-1` only counts copies."""
    end = int(str(year)[: 4 - len(last)] + last) if len(last) in (2, 4) else year
    return max(year, end)


def _title(words: str) -> str:
    title = " ".join(re.split(r"[-_\s]+", words)).strip()
    title = _POSSESSIVE.sub(r"\1's", title)
    title = _ELISION.sub(r"\1'", title)
    title = " ".join(word.upper() if word in _NUMERALS else word for word in title.split(" "))
    return title[:1].upper() + title[1:]


def slugify(name: str) -> str:
    """A painter's name as ArtGraph and WikiArt write it in file names: `claude-monet`."""
    return re.sub(r"[\s_]+", "-", name.strip().lower())


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


class _Graph:
    """The tables of one ArtGraph release, found wherever they lie below `root`."""

    def __init__(self, root: Path, files: pl.DataFrame) -> None:
        found = files.filter(
            (pl.col("name") == _MARKER) | pl.col("name").str.ends_with(f"/{_MARKER}")
        )
        if found.is_empty():
            raise BadData(
                f"{root} is not ArtGraph: it has no {_MARKER} (OGB layout: mapping/, raw/, images)."
            )
        self.root = root
        self.box = found["box"][0]
        self.prefix = found["name"][0].removesuffix(_MARKER)
        inside = files.filter(
            (pl.col("box") == self.box) & pl.col("name").str.starts_with(self.prefix)
        )
        self.names = frozenset(inside["name"].str.strip_prefix(self.prefix))

    def nodes(self, types: tuple[str, ...]) -> pl.DataFrame | None:
        """Index and name of every node of the first of `types` there is, else None."""
        for kind in types:
            path = f"mapping/{kind}_entidx2name.csv"
            if path in self.names:
                return self._mapping(path)
        return None

    def edges(self, source: str, targets: tuple[str, ...]) -> pl.DataFrame:
        """Source index and target name of every edge between two types, in file order."""
        frames = [pl.DataFrame(schema={"source": pl.Int64, "target": pl.String})]
        for path in sorted(self.names):
            match = _RELATION.search(path)
            if match and match[1] == source and match[3] in targets:
                nodes = self.nodes((match[3],))
                if nodes is None:
                    raise BadData(
                        f"{self.root}: {path} is there, mapping/{match[3]}_entidx2name.csv is not."
                    )
                pairs = self._numbers(path, ["source", "index"])
                frames.append(self._named(path, pairs, nodes))
        return pl.concat(frames)

    def labels(self, types: tuple[str, ...]) -> pl.DataFrame:
        """The same from the node labels, which hold one target index for each artwork."""
        for kind in types:
            path, nodes = f"raw/node-label/artwork/node-label-{kind}.csv", self.nodes((kind,))
            if path in self.names and nodes is not None:
                pairs = self._numbers(path, ["index"]).with_row_index("source")
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
        where = f"{self.root / self.box / self.prefix}{path}"
        data = read_file(self.root, self.box, self.prefix + path, TABLE_LIMIT)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise BadData(
                f"{where}, line {line}, is not UTF-8: convert the file (iconv -t UTF-8)."
            ) from error
        # An unquoted name may hold commas: everything after the first is the name.
        rows = [(row[0], ",".join(row[1:]).strip()) for row in csv.reader(io.StringIO(text)) if row]
        if rows and not rows[0][0].strip().isdecimal():
            rows = rows[1:]
        try:
            nodes = pl.DataFrame(
                {"index": [int(row[0]) for row in rows], "name": [row[1] for row in rows]},
                schema={"index": pl.Int64, "name": pl.String},
            )
        except (ValueError, OverflowError) as error:
            raise BadData(f"{where} is not a table of index,name: {error}.") from error
        repeated = nodes.filter(nodes["index"].is_duplicated())
        if not repeated.is_empty():
            raise BadData(f"{where} gives index {repeated['index'][0]} twice.")
        return nodes

    def _numbers(self, path: str, columns: list[str]) -> pl.DataFrame:
        data = read_file(self.root, self.box, self.prefix + path, TABLE_LIMIT)
        schema = dict.fromkeys(columns, pl.Int64)
        if not data.strip():
            return pl.DataFrame(schema=schema)
        try:
            frame = pl.read_csv(data, has_header=False, schema=schema)
        except (pl.exceptions.PolarsError, ValueError) as error:
            raise BadData(
                f"{self.root / self.box}: {path} is not a table of {len(columns)} numbers a line."
            ) from error
        if sum(frame.null_count().row(0)):
            raise BadData(f"{self.root / self.box}: {path} has an empty cell.")
        return frame


def _first(edges: pl.DataFrame, field: str) -> pl.DataFrame:
    """The first target of each source, as a column called `field`."""
    return edges.unique("source", keep="first", maintain_order=True).rename({"target": field})


def _schools(graph: _Graph) -> pl.DataFrame:
    """Schools hang on artists: carry each to the artist's artworks."""
    direct = graph.edges("artwork", _SCHOOL)
    by_artist = _first(graph.edges("artist", _SCHOOL), "school")
    artists = graph.nodes(("artist",))
    if artists is None or by_artist.is_empty():
        return direct
    named = by_artist.join(artists, left_on="source", right_on="index").select("name", "school")
    through = graph.edges("artwork", ("artist",)).join(
        named, left_on="target", right_on="name", maintain_order="left"
    )
    return pl.concat([direct, through.select("source", pl.col("school").alias("target"))])


def _with_images(table: pl.DataFrame, files: pl.DataFrame) -> pl.DataFrame:
    """Add where each artwork's image lies; the folder `imagesf2` goes before any other."""
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
        table.with_columns(keys.alias("key"))
        .join(images, on="key", how="left", maintain_order="left")
        .drop("key")
        .with_columns(pl.col("box", "name", "stamp").fill_null(""), pl.col("size").fill_null(0))
    )
