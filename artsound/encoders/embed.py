"""The second stage: every artwork and track of the catalogue measured, as vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from artsound.encoders.affect import SAMPLE_RATE, describe_audio, describe_image
from artsound.encoders.base import Side, save_embeddings
from artsound.encoders.items import RECORDS, SIDES, Item, catalogue_items, read_item, unreadable
from artsound.encoders.vectors import check_encoders, make_vectors, merge_vectors, plan_vectors
from artsound.media import MediaError
from artsound.media.audio import load_mono
from artsound.media.images import load_rgb
from artsound.parts import Part, PartOutput, PartResult, part_path, split_into_parts
from artsound.recipe import Recipe
from artsound.stage import Finish, Stage
from artsound.storage import Workspace, digest, read_parquet, write_parquet
from artsound.tables import arrow_schema

NAME = "embed"
AFFECT_VERSION = 1  # changes whenever a descriptor's formula does
MEASURED_SECONDS = 60.0  # of a clip, from its start
LOADED_SIDE = 256  # pixels; JPEGs decode faster when little is asked of them


def plan(workspace: Workspace, recipe: Recipe) -> list[Part]:
    """Parts over both sides of the catalogue, each with the digest of its rows.

    First those that are measured, then those for the models of the recipe's bridges, if any.
    """
    parts = []
    for side in SIDES:
        items = catalogue_items(workspace, side)
        for name, start, stop in split_into_parts(
            f"affect-{side}", len(items), recipe.run.part_size
        ):
            inputs = {
                "side": side,
                "start": start,
                "stop": stop,
                "affect": AFFECT_VERSION,
                "digest": digest([[i.id, i.path, i.sha256] for i in items[start:stop]]),
            }
            parts.append(Part(name, stop - start, inputs))
    return parts + plan_vectors(workspace, recipe)


def work(workspace: Workspace, recipe: Recipe, part: Part) -> PartOutput:
    """Measure one part's pictures or clips, or put them through a model.

    Raises BadData when a stored file is gone or is not what the catalogue says.
    """
    if "encoder" in part.inputs:
        return make_vectors(workspace, recipe, part, NAME)
    side = part.inputs["side"]
    record = RECORDS[side]
    rows = [
        {f"{record}_id": item.id, **_measure(workspace, side, item)}
        for item in catalogue_items(workspace, side)[part.inputs["start"] : part.inputs["stop"]]
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
    for side in SIDES:
        record = RECORDS[side]
        tables = [
            read_parquet(part_path(workspace, NAME, r.part.name), f"{record}_descriptors")
            for r in results
            if r.part.inputs["side"] == side and "encoder" not in r.part.inputs
        ]
        schema = arrow_schema(f"{record}_descriptors")
        table = pa.concat_tables(tables) if tables else schema.empty_table()
        path = workspace.embeddings / "affect" / f"{side}.parquet"
        write_parquet(path, f"{record}_descriptors", table)
        ids = item_ids(side, table)
        made_by = digest(["affect", AFFECT_VERSION])
        files += [path, *save_embeddings(workspace, "affect", side, made_by, ids, numbers(table))]
        extra[side] = len(ids)
    more, counts = merge_vectors(workspace, results, NAME)
    return Finish((*files, *more), {**extra, **counts})


def needs(recipe: Recipe, part: Part) -> tuple[str, ...]:
    """A model's pass competes for the GPU; measuring does not."""
    return ("gpu",) if "encoder" in part.inputs and recipe.embed.device != "cpu" else ()


STAGE = Stage(
    name=NAME,
    version=1,
    sections=(),
    plan=plan,
    work=work,
    finish=finish,
    needs=needs,
    check=check_encoders,
)


def item_ids(side: Side, table: pa.Table) -> list[str]:
    """The items' ids as text: artworks' as they are, tracks' with six digits."""
    ids = table[f"{RECORDS[side]}_id"].to_pylist()
    return ids if side == "artworks" else [f"{item:06d}" for item in ids]


def numbers(table: pa.Table) -> np.ndarray:
    """The numeric descriptors of a table, float32 [n, D] in the order of its columns."""
    columns = [f.name for f in table.schema if pa.types.is_float32(f.type)]
    return np.stack([table[name].to_numpy() for name in columns], axis=1)


def _measure(workspace: Workspace, side: Side, item: Item) -> Mapping[str, Any]:
    data = read_item(workspace, item)
    try:
        if side == "artworks":
            return describe_image(load_rgb(data, max_side=LOADED_SIDE))
        return describe_audio(load_mono(data, sample_rate=SAMPLE_RATE, seconds=MEASURED_SECONDS))
    except MediaError as error:
        raise unreadable(item, error) from error
