"""The built-in sources keep the contract, and its check notices what other sources do wrong."""

# ruff: noqa: ARG002 (a small source that takes all that the contract passes)

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tiny_sources import clip, picture, table, write_files

from artsound import plugins
from artsound.sample import SamplePaths
from artsound.testing import check_source

BUILT_IN = [
    (plugin.name, side)
    for plugin in plugins.available("source")
    if plugin.built_in
    for side in plugin.load().sides
]


@pytest.mark.parametrize(("name", "side"), BUILT_IN)
def test_the_built_in_sources_keep_the_contract(
    sample: SamplePaths, tmp_path: Path, name: str, side: str
) -> None:
    place = sample.artgraph if side == "artwork" else sample.fma
    if name == "folder":  # of pictures and clips of its own, not in the layout of another source
        files = {"a.jpg": picture(1), "rooms/b.jpg": picture(2), "a.mp3": clip(1)}
        place = write_files(tmp_path / "museum", files)
    check_source(name, side, place)


class Rooms:
    """Pictures by their number."""

    name, version, sides = "rooms", "1", ("artwork",)
    calls = 0

    def read(self, side: str, root: Path, files: pl.DataFrame, options: Any) -> Any:
        self.calls += 1
        return self.rows(files.filter(pl.col("name").str.ends_with(".jpg")))

    def rows(self, files: pl.DataFrame) -> Any:
        return files.select("box", "name", pl.col("name").alias("artwork_id"))


def _rows(change: Any) -> Rooms:
    rows = {"rows": lambda self, files: change(self, Rooms.rows(self, files))}
    return type("Changed", (Rooms,), {"__doc__": Rooms.__doc__, **rows})()  # type: ignore[no-any-return]


@pytest.fixture
def museum(tmp_path: Path) -> Path:
    files = {"a.jpg": picture(1), "b.jpg": picture(2), "list.csv": table([["x"]])}
    return write_files(tmp_path / "museum", files)


def test_a_source_that_keeps_the_contract_passes(museum: Path) -> None:
    check_source(Rooms(), "artwork", museum)
    with pytest.raises(AssertionError, match="has no side 'track'"):
        check_source(Rooms(), "track", museum)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _, rows: rows.to_dicts(), "gave list as its rows, not a polars DataFrame"),
        (lambda _, rows: rows.drop("artwork_id"), "without the column 'artwork_id'"),
        (lambda _, rows: rows.select("number"), "cannot read .*museum: .*number"),
        (lambda _, rows: rows.drop("name"), "without the column 'name'"),
        (lambda _, rows: rows.with_columns(artwork_id=pl.lit("one")), "has 'one' twice"),
        (lambda _, rows: rows.with_columns(artwork_id=pl.lit("")), "is empty in a row"),
        (lambda _, rows: rows.with_columns(name=pl.lit("c.jpg")), "names the file 'c.jpg'"),
        (lambda _, rows: rows.with_columns(titel=pl.lit("A")), "did you mean 'title'"),
        (lambda _, rows: rows.with_columns(year=pl.lit("old")), "a column of the wrong type"),
        (lambda _, rows: rows.clear(), "gave no row"),
        (lambda self, rows: rows.tail(self.calls % 2 + 1), "other rows the second time"),
    ],
)
def test_the_conformance_check_of_sources_notices(museum: Path, change: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_source(_rows(change), "artwork", museum)
