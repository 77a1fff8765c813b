"""Tables beside the index of a release: runners-up, embeddings and maps of its pairs, by key.

retrieval.parquet has the best other partners of both items of each pair, as far as they are in the
release: near ties, which an evaluation of retrieval should not count as wrong.
embeddings-ENCODER.parquet has a vector for each side of each pair. Both are optional
(`shards.retrieval` and `shards.embeddings` of a recipe). map.parquet, written by the report stage,
has the places of each pair on the maps of `artsound browse`. All follow the pairs into subsets and
later releases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from artsound.catalogue import SIDES
from artsound.encoders.base import load_embeddings
from artsound.errors import BadData
from artsound.shards.index import read_frame
from artsound.shards.store import RangedFile, Store
from artsound.storage import Workspace, atomic_write, read_parquet, write_parquet
from artsound.untrusted import NoColumnError, read_table

RETRIEVAL = "retrieval.parquet"
MAP = "map.parquet"
JUDGED, PREFERRED = "judgements.parquet", "preferences.parquet"
# Which columns of these name items of the release.
_JUDGED_ITEMS = {
    JUDGED: ("judgement", ("artwork_id",), ("track_id",)),
    PREFERRED: ("preference", ("artwork_id",), ("own_track_id", "other_track_id")),
}
_EMBEDDINGS = "embeddings-"


def is_beside(name: str) -> bool:
    """Whether a file of a release is one of these tables."""
    return name in (RETRIEVAL, MAP) or (name.startswith(_EMBEDDINGS) and name.endswith(".parquet"))


def tables_of(folder: Path) -> list[Path]:
    """The tables beside the index of a release, by name."""
    return sorted(path for path in folder.iterdir() if path.is_file() and is_beside(path.name))


@dataclass(frozen=True)
class EmbeddingTable:
    """The vectors of an encoder beside the index of a release.

    Attributes:
        store: The release.
        encoder: The encoder.
        size: Bytes of the file.
    """

    store: Store
    encoder: str
    size: int

    def read(self, column: str) -> tuple[list[str], npt.NDArray[np.float32]] | None:
        """Keys, and the vectors float32 [n, D] of a side; no other column is read or fetched.

        Args:
            column: artwork or track.

        Returns:
            None if the table has no such side.

        Raises:
            BadData: It is damaged or unavailable.
        """
        name = f"{_EMBEDDINGS}{self.encoder}.parquet"
        place = f"{self.store.location}/{name}"
        source = Path(place) if self.store.is_local else RangedFile(self.store, name, self.size)
        try:
            frame = pl.DataFrame(read_table(source, ["key", column]))
            # A column of arrays, whose values are one block of memory.
            rows = np.asarray(frame[column].to_numpy(), dtype=np.float32)
            keys = frame["key"].cast(pl.String).to_list()
        except NoColumnError:
            return None
        except (OSError, ValueError, TypeError, pl.exceptions.PolarsError) as error:
            raise BadData(f"{place} is not a readable parquet file: {error}.") from error
        if rows.ndim != 2:
            raise BadData(f"{place} has no vectors in its column {column}.")
        return keys, rows


def embedding_tables(store: Store, encoders: Iterable[str]) -> dict[str, EmbeddingTable]:
    """The embeddings beside the index of a release, by encoder.

    Args:
        store: The release.
        encoders: The encoders that are looked for where the files cannot be listed, which is
            everywhere but on this machine.

    Raises:
        BadData: The release is unavailable.
    """
    if store.is_local:
        paths = [path.name for path in tables_of(Path(store.location))]
        encoders = [name[len(_EMBEDDINGS) : -8] for name in paths if name.startswith(_EMBEDDINGS)]
    sizes = {one: store.size(f"{_EMBEDDINGS}{one}.parquet") for one in encoders}
    return {one: EmbeddingTable(store, one, size) for one, size in sizes.items() if size}


def _read_whole(path: Path) -> pl.DataFrame:
    return read_frame(path.read_bytes(), str(path))


def write_beside(
    workspace: Workspace,
    rows: pa.Table,
    *,
    retrieval: bool,
    embeddings: bool,
    folder: Path | None = None,
) -> list[Path]:
    """Write the tables that a recipe asks for, and remove those that it does not.

    Args:
        workspace: The build.
        rows: The rows of the release's index.
        retrieval: Whether to write retrieval.parquet.
        embeddings: Whether to write embeddings-ENCODER.parquet for each encoder with vectors.
        folder: Of the release; by default that of the build.

    Returns:
        The files.

    Raises:
        BadData: A vector or the list of runners-up is missing.
    """
    frame = pl.DataFrame(pl.from_arrow(rows.select(["key", "artwork_id"])))
    made: dict[str, pa.Table] = {}
    if retrieval:
        found = read_parquet(workspace.pairs / "runners_up.parquet", "runner_up")
        runners = pl.DataFrame(pl.from_arrow(found)).rename({"track_id": "key"})
        made[RETRIEVAL] = _still_there(runners, frame).to_arrow()
    for encoder in _encoders(workspace) if embeddings else ():
        made[f"{_EMBEDDINGS}{encoder}.parquet"] = _vectors(workspace, encoder, frame)
    folder = folder or workspace.shards
    for path in tables_of(folder):
        if path.name not in made and not (path.name == MAP and _has_rows(path, frame)):
            path.unlink()
    return [_write(folder / name, table) for name, table in made.items()]


def _has_rows(path: Path, frame: pl.DataFrame) -> bool:
    """Whether a table has exactly the rows of an index, in its order."""
    try:
        return _read_whole(path)["key"].to_list() == frame["key"].to_list()
    except (BadData, OSError, pl.exceptions.PolarsError):
        return False


def carry(folder: Path, out: Path, rows: pl.DataFrame) -> list[Path]:
    """Write the tables of one release into another that has some of its pairs.

    Args:
        folder: The release.
        out: The other one.
        rows: The rows of its index.

    Returns:
        The new files.

    Raises:
        BadData: A table is damaged.
    """
    written = []
    for path in tables_of(folder):
        table = read_frame(path.read_bytes(), str(path))
        if "key" not in table.columns:
            raise BadData(f"{path} has no column key: it is no table of a release.")
        if path.name == RETRIEVAL:
            table = _still_there(table, rows)
        else:
            table = rows.select("key").join(table, on="key", how="inner", maintain_order="left")
        written.append(_write(out / path.name, table.to_arrow()))
    return written


def carry_judgements(folder: Path, out: Path, rows: pl.DataFrame) -> list[Path]:
    """Write what judges said of one release into another that has some of its pairs.

    Only the records whose items are all in the other release, without the conditions of the views
    that were judged, which may name others.

    Args:
        folder: The release.
        out: The other one.
        rows: The rows of its index.

    Returns:
        The new files.

    Raises:
        BadData: A table is damaged.
    """
    keys = "track_id" if "track_id" in rows.columns else "key"
    there = {"artwork": rows["artwork_id"].to_list(), "track": rows[keys].to_list()}
    written = []
    for name, (schema, artworks, tracks) in _JUDGED_ITEMS.items():
        if not (folder / name).is_file():
            continue
        table = pl.DataFrame(read_parquet(folder / name, schema))
        known = [pl.col(one).is_in(there["artwork"]) for one in artworks]
        known += [pl.col(one).is_in(there["track"]) for one in tracks]
        left = table.filter(*known)
        if not left.is_empty():
            write_parquet(out / name, schema, [row | {"view": []} for row in left.to_dicts()])
            written.append(out / name)
    return written


def check_beside(folder: Path, rows: pl.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield (file, message) for each table that does not fit the index of its release."""
    keys = set(rows["key"])
    items = keys | set(rows["artwork_id"]) if "artwork_id" in rows.columns else keys
    for path in tables_of(folder):
        try:
            table = read_frame(path.read_bytes(), str(path))
            named, others = set(table["key"]), set(table["item_id"]) if _runs(path) else set()
        except (BadData, OSError, pl.exceptions.PolarsError) as error:
            yield path.name, f"it cannot be read: {error}"
            continue
        if strange := sorted(named - keys) or sorted(others - items):
            yield path.name, f"it has {strange[0]}, which the index does not have"
        elif not _runs(path) and table["key"].to_list() != rows["key"].to_list():
            yield path.name, "its rows are not those of the index"


def _runs(path: Path) -> bool:
    return path.name == RETRIEVAL


def _still_there(runners: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The runners-up of pairs in a release that are in it themselves."""
    there = [*rows["key"].to_list(), *rows["artwork_id"].to_list()]
    chosen = runners.filter(pl.col("key").is_in(rows["key"].to_list()),
                            pl.col("item_id").is_in(there))  # fmt: skip
    return chosen.sort("key", "side", "place")


def _encoders(workspace: Workspace) -> list[str]:
    """The encoders with vectors of a side, by name."""
    folders = (path for path in workspace.embeddings.iterdir() if path.is_dir())
    return sorted(
        path.name for path in folders if any((path / f"{side}.npy").exists() for side in SIDES)
    )


def _vectors(workspace: Workspace, encoder: str, rows: pl.DataFrame) -> pa.Table:
    """The vectors of an encoder for the sides that it has, a row per pair."""
    columns: dict[str, pa.Array] = {"key": pa.array(rows["key"].to_list(), pa.string())}
    for side, record in SIDES.items():
        if not (workspace.embeddings / encoder / f"{side}.npy").exists():
            continue
        ids, matrix = load_embeddings(workspace, encoder, side)
        numbers = {item: number for number, item in enumerate(ids)}
        wanted = rows["artwork_id" if record.name == "artwork" else "key"].to_list()
        if lost := [item for item in wanted if item not in numbers]:
            raise BadData(f"{encoder} has no vector of {lost[0]}: run `artsound embed` again.")
        vectors = np.asarray(matrix[[numbers[item] for item in wanted]], dtype=np.float32)
        flat = pa.array(vectors.ravel(), pa.float32())
        columns[record.name] = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    return pa.table(columns)


def _write(path: Path, table: pa.Table) -> Path:
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd")
    return path
