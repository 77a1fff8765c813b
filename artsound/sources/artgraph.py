"""ArtGraph as published: an OGB folder or zip of names and edges, joined into one row per artwork.

Layout: `mapping/<type>_entidx2name.csv` (no header: index, name; an artwork's name is its image
file), `raw/relations/<source>___<relation>___<target>/edge.csv` (two columns of indices),
`raw/node-label/artwork/node-label-<type>.csv` (one index per line), and the images, by name, in a
folder or zip beside them. Relations are known by the types that they join, so version 1's names
(`hasstyle_rel`) and version 2's (`hasstyle`) both do. Only artworks and their images are a must.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from artsound.errors import BadData
from artsound.readers import csv_rows, parse_csv
from artsound.sources.artgraph_export import ARTWORKS, read_deaths, read_export
from artsound.sources.artwork_names import complete
from artsound.sources.files import find_file, list_files, read_table

# Field of a row, and the node types that fill it: the first is version 2's name.
_SINGLE = {"style": ("style",), "genre": ("genre",), "period": ("period",)}
_LISTS = {"tags": ("tag",), "media": ("media",), "emotions": ("emotion",)}
_SCHOOL = ("training", "school")

_MOST_NODES = 2**31 - 1
_MARKER = "mapping/artwork_entidx2name.csv"
_RELATION = re.compile(r"raw/relations/([^/]+?)___([^/]+)___([^/]+)/edge\.csv$")


def list_source(root: Path) -> pl.DataFrame:
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
                        "its rows cannot be told apart: add raw/relations, or leave it out."
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
        if rows and not rows[0][0].strip().isdecimal():
            rows = rows[1:]
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
