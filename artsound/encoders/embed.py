"""The second stage: every artwork and track of the catalogue measured, as vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from artsound.encoders.affect import SAMPLE_RATE, describe_audio, describe_image
from artsound.encoders.base import Side, save_embeddings
from artsound.errors import BadData
from artsound.media import MediaError
from artsound.media.audio import load_mono
from artsound.media.images import load_rgb
from artsound.recipe import Recipe
from artsound.records import arrow_schema
from artsound.stage import (
    Finish,
    Part,
    PartOutput,
    PartResult,
    Stage,
    part_path,
    split_into_parts,
)
from artsound.storage import Workspace, digest, read_parquet, sha256_bytes, write_parquet

NAME = "embed"
AFFECT_VERSION = 1  # changes whenever a descriptor's formula does
MEASURED_SECONDS = 60.0  # of a clip, from its start
LOADED_SIDE = 256  # pixels; JPEGs decode faster when little is asked of them

_COLUMNS = {
    "artworks": ("artwork", ["artwork_id", "image_path", "image_sha256"]),
    "tracks": ("track", ["track_id", "audio_path", "audio_sha256"]),
}
_SIDES: tuple[Side, ...] = ("artworks", "tracks")


def plan(workspace: Workspace, recipe: Recipe) -> list[Part]:
    """Parts over both sides of the catalogue, each with the digest of its rows."""
    parts = []
    for side in _SIDES:
        rows = _rows(workspace, side)
        for name, start, stop in split_into_parts(
            f"affect-{side}", len(rows), recipe.run.part_size
        ):
            inputs = {
                "side": side,
                "start": start,
                "stop": stop,
                "affect": AFFECT_VERSION,
                "digest": digest([list(row) for row in rows[start:stop]]),
            }
            parts.append(Part(name, stop - start, inputs))
    return parts


def work(workspace: Workspace, recipe: Recipe, part: Part) -> PartOutput:
    """Measure one part's pictures or clips.

    Raises BadData when a stored file is gone or is not what the catalogue says.
    """
    side = part.inputs["side"]
    record = _COLUMNS[side][0]
    rows = [
        {f"{record}_id": item, **_measure(workspace, side, path, sha256)}
        for item, path, sha256 in _rows(workspace, side)[part.inputs["start"] : part.inputs["stop"]]
    ]
    path = part_path(workspace, NAME, part.name)
    write_parquet(path, f"{record}_descriptors", rows)
    return PartOutput(len(rows), (path,))


def finish(workspace: Workspace, recipe: Recipe, results: Sequence[PartResult]) -> Finish:
    """Merge the parts: embeddings/affect/{artworks,tracks}.parquet, .npy and .json.

    The matrix holds the descriptors that are numbers, float32, in the schema's order.
    """
    files: list[Path] = []
    extra: dict[str, int] = {}
    for side in _SIDES:
        record = _COLUMNS[side][0]
        tables = [
            read_parquet(part_path(workspace, NAME, r.part.name), f"{record}_descriptors")
            for r in results
            if r.part.inputs["side"] == side
        ]
        schema = arrow_schema(f"{record}_descriptors")
        table = pa.concat_tables(tables) if tables else schema.empty_table()
        path = workspace.embeddings / "affect" / f"{side}.parquet"
        write_parquet(path, f"{record}_descriptors", table)
        ids = item_ids(side, table)
        made_by = digest(["affect", AFFECT_VERSION])
        files += [path, *save_embeddings(workspace, "affect", side, made_by, ids, numbers(table))]
        extra[side] = len(ids)
    return Finish(tuple(files), extra)


STAGE = Stage(name=NAME, version=1, sections=(), plan=plan, work=work, finish=finish)


def item_ids(side: Side, table: pa.Table) -> list[str]:
    """The items' ids as text: artworks' as they are, tracks' with six digits."""
    ids = table[f"{_COLUMNS[side][0]}_id"].to_pylist()
    return ids if side == "artworks" else [f"{item:06d}" for item in ids]


def numbers(table: pa.Table) -> np.ndarray:
    """The numeric descriptors of a table, float32 [n, D] in the order of its columns."""
    columns = [f.name for f in table.schema if pa.types.is_float32(f.type)]
    return np.stack([table[name].to_numpy() for name in columns], axis=1)


def _rows(workspace: Workspace, side: Side) -> list[tuple[Any, str, str]]:
    """(id, path, sha256) of every item, in the catalogue's order."""
    record, columns = _COLUMNS[side]
    table = read_parquet(workspace.catalog / f"{side}.parquet", record, columns)
    return list(zip(*(table[c].to_pylist() for c in columns), strict=True))


def _measure(workspace: Workspace, side: Side, path: str, sha256: str) -> Mapping[str, Any]:
    try:
        data = workspace.path(path).read_bytes()
        if sha256_bytes(data) != sha256:
            raise BadData(f"{path} is not what the catalogue says: run `artsound ingest` again.")
        if side == "artworks":
            return describe_image(load_rgb(data, max_side=LOADED_SIDE))
        return describe_audio(load_mono(data, sample_rate=SAMPLE_RATE, seconds=MEASURED_SECONDS))
    except (OSError, MediaError) as error:
        raise BadData(f"{path} cannot be read ({error}): run `artsound ingest` again.") from error
