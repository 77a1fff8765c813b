"""CLIP's vectors of all artworks and CLAP's of all tracks: the embed stage's second half.

Made when a bridge of the recipe goes through language, or when captions that models write are to
be compared with what they describe; ImageBind's of both sides when one is
`imagebind`. A part's vectors are looked up by the content of its files first, so that after a
change of catalogue or recipe only what is new is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from artsound.encoders import imagebind
from artsound.encoders.base import Side, save_embeddings
from artsound.encoders.cache import vector_cache
from artsound.encoders.items import (
    RECORDS,
    SIDES,
    Item,
    ItemFiles,
    catalogue_items,
    unreadable,
)
from artsound.encoders.loading import encoder_digest, open_encoder
from artsound.encoders.passes import ItemError, one_torch_thread
from artsound.errors import BadData
from artsound.parts import Part, PartOutput, PartResult, part_path, split_into_parts
from artsound.readers import read_array
from artsound.recipe import Recipe
from artsound.storage import Workspace, atomic_write, digest

_LANGUAGE: Mapping[Side, str] = {"artworks": "clip", "tracks": "clap"}
_IMAGEBIND: Mapping[Side, str] = {"artworks": "imagebind", "tracks": "imagebind"}
_ENCODERS: Mapping[str, Mapping[Side, str]] = {
    "concepts": _LANGUAGE,
    "captions": _LANGUAGE,
    "learned": _LANGUAGE,
    "imagebind": _IMAGEBIND,
}


def plan_vectors(workspace: Workspace, recipe: Recipe) -> list[Part]:
    """Parts over the sides whose vectors the recipe needs, if any.

    Raises BadData when an encoder's weights are missing.
    """
    parts = []
    for side, name in _wanted(workspace, recipe):
        made_by = encoder_digest(name, recipe)
        items = catalogue_items(workspace, side)
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


def check_encoders(workspace: Workspace, recipe: Recipe) -> None:
    """Raise BadUsage or BadData when weights that the recipe needs cannot be had."""
    for _, name in _wanted(workspace, recipe):
        encoder_digest(name, recipe)


def make_vectors(workspace: Workspace, recipe: Recipe, part: Part, stage: str) -> PartOutput:
    """One part's vectors float16 [n, D] in the catalogue's order; BadData for an unusable file."""
    side: Side = part.inputs["side"]
    items = catalogue_items(workspace, side)[part.inputs["start"] : part.inputs["stop"]]
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
    return PartOutput(len(items), (path,), extra={"computed": len(unknown)})


def merge_vectors(
    workspace: Workspace, results: Sequence[PartResult], stage: str
) -> tuple[list[Path], Mapping[str, int]]:
    """embeddings/<encoder>/{artworks,tracks}.{npy,json} of each that was used; and their counts."""
    files: list[Path] = []
    counts: dict[str, int] = {}
    for side in SIDES:
        for name in (_LANGUAGE[side], _IMAGEBIND[side]):
            own = [
                r.part
                for r in results
                if (r.part.inputs.get("encoder"), r.part.inputs["side"]) == (name, side)
            ]
            if not own:
                continue
            ids = [item.name for item in catalogue_items(workspace, side)]
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
        if given and not imagebind.installed():
            continue
        for side, name in _ENCODERS.get(bridge, {}).items():
            found[side, name] = None
    if recipe.captions.min_agreement:
        for side, name in _LANGUAGE.items():
            if getattr(recipe.captions, side) != "grounded":
                found[side, name] = None
    return list(found)


def _encoded(workspace: Workspace, recipe: Recipe, part: Part, items: Sequence[Item]) -> np.ndarray:
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
