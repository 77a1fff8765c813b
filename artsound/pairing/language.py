"""Bridges over language: the vectors they need, read from the workspace or made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from artsound.encoders.base import Side, load_embeddings
from artsound.errors import BadData, BadUsage
from artsound.pairing.candidates import check_vectors
from artsound.pairing.concepts import Bank, concept_rows, load_bank, pooled
from artsound.pairing.rows import centred_rows
from artsound.recipe import Recipe
from artsound.storage import Workspace, atomic_write, digest, read_json

Vectors = tuple[list[str], np.ndarray]
_SIDES: tuple[Side, Side] = ("artworks", "tracks")


def concepts_bridge(workspace: Workspace, recipe: Recipe) -> tuple[Vectors, Vectors]:
    """(artwork ids, unit rows) and (track ids, unit rows) over the recipe's bank of concepts.

    Raises BadUsage for an unfit bank, BadData when embeddings are missing or broken.
    """
    artworks, tracks = item_vectors(workspace)
    bank = load_bank(recipe.pair.concept_bank)
    paintings, music = concept_vectors(workspace, recipe, bank)
    return (
        (artworks[0], concept_rows(artworks[1], paintings)),
        (tracks[0], concept_rows(tracks[1], music)),
    )


def imagebind_bridge(workspace: Workspace, recipe: Recipe) -> tuple[Vectors, Vectors]:
    """(ids, unit rows) of both sides in ImageBind's one space (Girdhar et al., CVPR 2023).

    Each side is centred, for its modalities lie apart as well. Raises BadUsage when nobody has put
    its embeddings into the workspace.
    """
    if not (workspace.embeddings / "imagebind").is_dir():
        raise BadUsage(
            "The bridge imagebind needs ImageBind, which comes with no package of ours: embed with "
            f"it yourself into {workspace.embeddings / 'imagebind'} "
            "(artsound.encoders.base.save_embeddings), or use --bridge concepts."
        )
    sides = [_checked(workspace, "imagebind", side) for side in _SIDES]
    (artworks, a), (tracks, t) = sides
    if a.shape[1] != t.shape[1]:
        raise BadData(
            f"{workspace.embeddings / 'imagebind'} holds artworks of {a.shape[1]} and tracks of "
            f"{t.shape[1]} dimensions: both must come from one model."
        )
    return (artworks, centred_rows(a)), (tracks, centred_rows(t))


BRIDGES = {"concepts": concepts_bridge, "imagebind": imagebind_bridge}


def inputs(name: str, workspace: Workspace, recipe: Recipe) -> Any:
    """What a bridge of BRIDGES depends on beside recipe and embeddings: a JSON value."""
    if name == "concepts":
        return digest(asdict(load_bank(recipe.pair.concept_bank)))
    return ""


def item_vectors(workspace: Workspace) -> tuple[Vectors, Vectors]:
    """Ids and CLIP rows of the artworks, ids and CLAP rows of the tracks: float32, checked."""
    return _checked(workspace, "clip", "artworks"), _checked(workspace, "clap", "tracks")


def _checked(workspace: Workspace, encoder: str, side: Side) -> Vectors:
    ids, rows = load_embeddings(workspace, encoder, side)
    rows = np.asarray(rows, dtype=np.float32)
    check_vectors(rows, ids, side)
    return ids, rows


def concept_vectors(
    workspace: Workspace, recipe: Recipe, bank: Bank
) -> tuple[np.ndarray, np.ndarray]:
    """The bank's concepts [K, D]: as CLIP reads them of paintings, as CLAP reads them of music."""
    count = len(bank.concepts)
    return (
        pooled(text_vectors(workspace, recipe, "clip", bank.paintings()), count),
        pooled(text_vectors(workspace, recipe, "clap", bank.music()), count),
    )


def text_vectors(
    workspace: Workspace, recipe: Recipe, encoder: str, texts: Sequence[str]
) -> np.ndarray:
    """Unit rows float32 [n, D] of texts by "clip" or "clap", kept in the workspace once made.

    They come from the very weights that made the items' embeddings; BadData where the recipe now
    has others.
    """
    side = "artworks" if encoder == "clip" else "tracks"
    names = read_json(workspace.embeddings / encoder / f"{side}.json")
    made_by = names.get("digest") if isinstance(names, dict) else None
    kept = workspace.parts / "pair" / f"texts-{digest([encoder, made_by, list(texts)])}.npy"
    if kept.is_file():
        return _read(kept, len(texts))
    from artsound.encoders.loading import open_encoder

    opened = open_encoder(encoder, recipe)
    if opened.digest != made_by:
        raise BadData(
            f"{workspace.embeddings / encoder} was made with other weights or another precision "
            "than [embed] of the recipe has now: run `artsound embed` again."
        )
    rows = np.asarray(opened.texts(texts), dtype=np.float32)
    check_vectors(rows, list(range(len(texts))), f"texts of {encoder}")
    with atomic_write(kept) as file:
        np.save(file, rows, allow_pickle=False)
    return rows


def _read(path: Path, count: int) -> np.ndarray:
    try:
        rows: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadData(f"{path} cannot be read ({error}): delete it and run again.") from error
    if rows.ndim != 2 or len(rows) != count:
        raise BadData(f"{path} is not what was written there: delete it and run again.")
    return rows
