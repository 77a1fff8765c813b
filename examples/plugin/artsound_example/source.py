"""A source: one row for each item, with where its picture or clip is."""

import polars as pl

from artsound.errors import BadData


class Museum:
    """A museum's export: objects.csv (number, title, maker, year, file) beside its pictures."""

    name, version, sides, extra = "museum", "1", ("artwork",), ""

    def read(self, side, root, files, options):
        table = root / "objects.csv"
        if not table.is_file():
            raise BadData(f"{table} is missing: export the museum's catalogue to it.")
        return pl.read_csv(table, infer_schema=False).select(
            pl.col("number").alias("artwork_id"),
            pl.col("title"),
            pl.col("maker").alias("painter"),
            pl.col("year").cast(pl.Int32),
            pl.col("file").alias("name"),
        )
