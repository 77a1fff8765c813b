"""CLIP's vectors of all artworks and CLAP's of all tracks: the embed stage's second half.

Made when a bridge of the recipe goes through language, or when captions that models write are to
be compared with what they describe; ImageBind's of both sides when one is
`imagebind`. A part's vectors are looked up by the content of its files first, so that after a
change of catalogue or recipe only what is new is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from artsound.encoders import imagebind
from artsound.encoders.affect_audio import SAMPLE_RATE, describe_audio
from artsound.encoders.affect_image import describe_image
from artsound.encoders.base import Side, encoder_digest, open_encoder, save_embeddings
from artsound.encoders.batching import ItemError, one_torch_thread
from artsound.encoders.media_items import (
    RECORDS,
    SIDES,
    ItemFiles,
    MediaItem,
    catalogue_items,
    read_item,
    unreadable,
)
from artsound.encoders.vector_cache import vector_cache
from artsound.errors import BadData
from artsound.media import MediaError
from artsound.media.audio import load_mono
from artsound.media.images import load_rgb
from artsound.recipe import Recipe
from artsound.schema import arrow_schema
from artsound.stage import Context, Outcome, Part, Report, Stage, part_path, split_into_parts
from artsound.storage import Workspace, atomic_write, digest, read_parquet, write_parquet
from artsound.untrusted import read_array

_LANGUAGE: Mapping[Side, str] = {"artworks": "clip", "tracks": "clap"}
_IMAGEBIND: Mapping[Side, str] = {"artworks": "imagebind", "tracks": "imagebind"}
_ENCODERS: Mapping[str, Mapping[Side, str]] = {
    "concepts": _LANGUAGE,
    "captions": _LANGUAGE,
    "learned": _LANGUAGE,
    "imagebind": _IMAGEBIND,
}


def plan_vectors(context: Context) -> list[Part]:
    """Parts over the sides whose vectors the recipe needs, if any.

    Raises BadData when an encoder's weights are missing.
    """
    recipe = context.recipe
    parts = []
    for side, name in _wanted(context.workspace, recipe):
        made_by = encoder_digest(name, recipe)
        items = catalogue_items(context, side)
        for part, start, stop in split_into_parts(
            f"{name}-{side}", len(items), recipe.run.part_size
        ):
            inputs = {
                "side": side,
                "start": start,
                "stop": stop,
                "encoder": name,
                "encoder_digest": made_by,
                "digest": digest([[item.name, item.sha256] for item in items[start:stop]]),
            }
            parts.append(Part(part, stop - start, inputs))
    return parts


def check_encoders(context: Context) -> None:
    """Raise BadUsage or BadData when weights that the recipe needs cannot be had."""
    for _, name in _wanted(context.workspace, context.recipe):
        encoder_digest(name, context.recipe)


def make_vectors(context: Context, part: Part, stage: str) -> Outcome:
    """One part's vectors float16 [n, D] in the catalogue's order; BadData for an unusable file."""
    workspace, recipe = context.workspace, context.recipe
    side: Side = part.inputs["side"]
    items = catalogue_items(context, side)[part.inputs["start"] : part.inputs["stop"]]
    made_by = part.inputs["encoder_digest"]
    folder = f"{part.inputs['encoder']}-{made_by[:16]}"
    cache = vector_cache(workspace.embeddings / "cache" / folder)
    vectors = cache.find(item.sha256 for item in items)
    unknown = {item.sha256: item for item in items if item.sha256 not in vectors}
    if unknown:
        made = _encoded(workspace, recipe, part, list(unknown.values()))
        cache.add(list(unknown), made)
        vectors |= dict(zip(unknown, made, strict=True))
    path = part_path(workspace, stage, part.name, ".npy")
    with atomic_write(path) as file:
        np.save(file, np.stack([vectors[item.sha256] for item in items]), allow_pickle=False)
    return Outcome((path,), len(items), extra={"computed": len(unknown)})


def merge_vectors(
    context: Context, results: Sequence[Report], stage: str
) -> tuple[list[Path], Mapping[str, int]]:
    """embeddings/<encoder>/{artworks,tracks}.{npy,json} of each that was used; and their counts."""
    workspace = context.workspace
    files: list[Path] = []
    counts: dict[str, int] = {}
    for side in SIDES:
        for name in (_LANGUAGE[side], _IMAGEBIND[side]):
            own = [
                part
                for part in (report.done for report in results)
                if (part.inputs.get("encoder"), part.inputs["side"]) == (name, side)
            ]
            if not own:
                continue
            ids = [item.name for item in catalogue_items(context, side)]
            rows = [read_array(part_path(workspace, stage, part.name, ".npy")) for part in own]
            made_by = own[0].inputs["encoder_digest"]
            files += save_embeddings(workspace, name, side, made_by, ids, np.concatenate(rows))
            counts[f"{RECORDS[side]}s by {name}"] = len(ids)
    return files, counts


def _wanted(workspace: Workspace, recipe: Recipe) -> list[tuple[Side, str]]:
    """Sides and the encoders that the recipe's bridges and checks of captions need for them."""
    found: dict[tuple[Side, str], None] = {}
    for bridge in (recipe.pair.bridge, *recipe.pair.compare):
        # Without ImageBind, vectors that somebody made elsewhere are used as they are.
        given = bridge == "imagebind" and (workspace.embeddings / bridge).is_dir()
        if given and not imagebind.imagebind_installed():
            continue
        for side, name in _ENCODERS.get(bridge, {}).items():
            found[side, name] = None
    if recipe.captions.min_agreement:
        for side, name in _LANGUAGE.items():
            if getattr(recipe.captions, side) != "grounded":
                found[side, name] = None
    return list(found)


def _encoded(
    workspace: Workspace, recipe: Recipe, part: Part, items: Sequence[MediaItem]
) -> np.ndarray:
    turn = part.inputs["start"] // recipe.run.part_size
    encoder = open_encoder(part.inputs["encoder"], recipe, turn)
    if encoder.digest != part.inputs["encoder_digest"]:
        raise BadData("An encoder's weights changed while the build ran: run `artsound embed`.")
    files = ItemFiles(workspace, items)
    read = encoder.images if part.inputs["side"] == "artworks" else encoder.audio
    try:
        with one_torch_thread():
            rows = read(files)
    except ItemError as error:
        raise unreadable(items[error.index], error) from error
    return rows.astype(np.float16)


# The second stage: every artwork and track of the catalogue measured, as vectors.

NAME = "embed"
AFFECT_VERSION = 1  # changes whenever a descriptor's formula does
MEASURED_SECONDS = 60.0  # of a clip, from its start
LOADED_SIDE = 256  # pixels; JPEGs decode faster when little is asked of them


def plan(context: Context) -> list[Part]:
    """Parts over both sides of the catalogue, each with the digest of its rows.

    First those that are measured, then those for the models of the recipe's bridges, if any.
    """
    recipe = context.recipe
    parts = []
    for side in SIDES:
        items = catalogue_items(context, side)
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
    return parts + plan_vectors(context)


def work(context: Context, part: Part) -> Outcome:
    """Measure one part's pictures or clips, or put them through a model.

    Raises BadData when a stored file is gone or is not what the catalogue says.
    """
    if "encoder" in part.inputs:
        return make_vectors(context, part, NAME)
    workspace = context.workspace
    side = part.inputs["side"]
    record = RECORDS[side]
    rows = [
        {f"{record}_id": item.id, **_measure(workspace, side, item)}
        for item in catalogue_items(context, side)[part.inputs["start"] : part.inputs["stop"]]
    ]
    path = part_path(workspace, NAME, part.name)
    write_parquet(path, f"{record}_descriptors", rows)
    return Outcome((path,), len(rows))


def finish(context: Context, results: Sequence[Report]) -> Outcome:
    """Merge the parts: embeddings/affect/{artworks,tracks}.parquet, .npy and .json.

    The matrix holds the descriptors that are numbers, float32, in the schema's order.
    """
    workspace = context.workspace
    files: list[Path] = []
    extra: dict[str, int] = {}
    for side in SIDES:
        record = RECORDS[side]
        tables = [
            read_parquet(part_path(workspace, NAME, r.done.name), f"{record}_descriptors")
            for r in results
            if r.done.inputs["side"] == side and "encoder" not in r.done.inputs
        ]
        schema = arrow_schema(f"{record}_descriptors")
        table = pa.concat_tables(tables) if tables else schema.empty_table()
        path = workspace.embeddings / "affect" / f"{side}.parquet"
        write_parquet(path, f"{record}_descriptors", table)
        ids = item_ids(side, table)
        made_by = digest(["affect", AFFECT_VERSION])
        files += [path, *save_embeddings(workspace, "affect", side, made_by, ids, numbers(table))]
        extra[side] = len(ids)
    more, counts = merge_vectors(context, results, NAME)
    return Outcome((*files, *more), extra={**extra, **counts})


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


def _measure(workspace: Workspace, side: Side, item: MediaItem) -> Mapping[str, Any]:
    data = read_item(workspace, item)
    try:
        if side == "artworks":
            return describe_image(load_rgb(data, max_side=LOADED_SIDE))
        return describe_audio(load_mono(data, sample_rate=SAMPLE_RATE, seconds=MEASURED_SECONDS))
    except MediaError as error:
        raise unreadable(item, error) from error
