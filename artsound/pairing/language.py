"""Bridges over language: the vectors they need, read from the workspace or made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artsound.encoders.base import Side, load_embeddings
from artsound.encoders.batching import one_torch_thread
from artsound.errors import BadData, BadUsage
from artsound.pairing.concepts import Bank, caption_rows, concept_rows, load_bank, pooled
from artsound.pairing.rows import centred_rows
from artsound.pairing.search import check_vectors
from artsound.recipe import Recipe
from artsound.storage import (
    Workspace,
    atomic_write,
    digest,
    read_json,
    read_parquet,
    sha256_bytes,
    sha256_file,
)
from artsound.untrusted import read_array

Vectors = tuple[list[str], np.ndarray]
WORDS = 20_000
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

    Each side is centred, for its modalities lie apart as well. Raises BadUsage when its embeddings
    are not in the workspace, where the embed stage or anybody else may have put them.
    """
    if not (workspace.embeddings / "imagebind").is_dir():
        raise BadUsage(
            f"The bridge imagebind finds no {workspace.embeddings / 'imagebind'}: run `artsound "
            "embed --bridge imagebind` where ImageBind is installed, or use --bridge concepts."
        )
    sides = [_checked(workspace, "imagebind", side) for side in _SIDES]
    (artworks, a), (tracks, t) = sides
    if a.shape[1] != t.shape[1]:
        raise BadData(
            f"{workspace.embeddings / 'imagebind'} holds artworks of {a.shape[1]} and tracks of "
            f"{t.shape[1]} dimensions: both must come from one model."
        )
    return (artworks, centred_rows(a)), (tracks, centred_rows(t))


def captions_bridge(workspace: Workspace, recipe: Recipe) -> tuple[Vectors, Vectors]:
    """(ids, unit rows) of both sides by their captions, which every item must have by now."""
    (artworks, a), (tracks, t) = item_vectors(workspace)
    heard = text_vectors(workspace, recipe, "clap", captions_of(workspace, "artworks", artworks))
    seen = text_vectors(workspace, recipe, "clip", captions_of(workspace, "tracks", tracks))
    a, t = caption_rows(a, heard, t, seen)
    return (artworks, a), (tracks, t)


def learned_bridge(workspace: Workspace, recipe: Recipe) -> tuple[Vectors, Vectors]:
    """(ids, unit rows) of both sides by heads trained on the concepts and the catalogue's words.

    The trained heads are kept in the workspace, under the digest of all they were made from.
    """
    from artsound.pairing import learned

    (artworks, a), (tracks, t) = item_vectors(workspace)
    words = catalogue_words(workspace)
    bank = load_bank(recipe.pair.concept_bank)
    clip, clap = concept_vectors(workspace, recipe, bank)
    if words:
        clip = np.concatenate([clip, text_vectors(workspace, recipe, "clip", words)])
        clap = np.concatenate([clap, text_vectors(workspace, recipe, "clap", words)])
    made_from = [sha256_bytes(np.ascontiguousarray(rows).tobytes()) for rows in (clip, clap, a, t)]
    kept = workspace.parts / "pair" / f"heads-{digest([learned.VERSION, recipe.seed, made_from])}"
    if kept.is_file():
        heads = learned.load_heads(kept)
    else:
        heads = learned.train_heads(clip, clap, a, t, seed=recipe.seed)
        learned.save_heads(kept, heads)
    return (artworks, heads[0].rows(a)), (tracks, heads[1].rows(t))


BRIDGES = {
    "concepts": concepts_bridge,
    "captions": captions_bridge,
    "learned": learned_bridge,
    "imagebind": imagebind_bridge,
}


def inputs(name: str, workspace: Workspace, recipe: Recipe) -> Any:
    """What a bridge of BRIDGES depends on beside recipe and embeddings: a JSON value."""
    if name == "captions":
        files = [workspace.captions / f"{side}.parquet" for side in _SIDES]
        return [sha256_file(path) if path.is_file() else "" for path in files]
    if name == "imagebind":
        return ""
    bank = digest(asdict(load_bank(recipe.pair.concept_bank)))
    return [bank, digest(catalogue_words(workspace))] if name == "learned" else bank


def captions_of(workspace: Workspace, side: Side, ids: Sequence[str]) -> list[str]:
    """The captions of these items; BadData when one has none yet."""
    path = workspace.captions / f"{side}.parquet"
    way_out = "run `artsound caption --bridge captions` before `artsound pair`"
    if not path.is_file():
        raise BadData(f"The bridge captions needs {path}, which is missing: {way_out}.")
    table = read_parquet(path, "caption", ["item_id", "caption"])
    captions = dict(zip(*(column.to_pylist() for column in table.columns), strict=True))
    if missing := [name for name in ids if name not in captions]:
        raise BadData(f"{path} has no caption for {missing[0]} ({len(missing)} in all): {way_out}.")
    return [captions[name] for name in ids]


def catalogue_words(workspace: Workspace) -> list[str]:
    """What the catalogue says of its items (titles, tags, genres, …): each text once, sorted.

    At most WORDS of them, chosen by hash.
    """
    texts: set[str] = set()
    for side, record, columns in (
        ("artworks", "artwork", ["title", "style", "genre", "tags", "emotions"]),
        ("tracks", "track", ["title", "genre", "genres", "tags"]),
    ):
        table = read_parquet(workspace.catalog / f"{side}.parquet", record, columns)
        for column in table.columns:
            flat = pc.list_flatten(column) if pa.types.is_list(column.type) else column
            texts.update(" ".join(text.split()) for text in pc.unique(flat).to_pylist())
    usable = [text for text in texts if 3 <= len(text) <= 200]
    return sorted(sorted(usable, key=lambda text: sha256_bytes(text.encode()))[:WORDS])


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
    from artsound.encoders.base import open_encoder

    opened = open_encoder(encoder, recipe)
    if opened.digest != made_by:
        raise BadData(
            f"{workspace.embeddings / encoder} was made with other weights or another precision "
            "than [embed] of the recipe has now: run `artsound embed` again."
        )
    with one_torch_thread():
        rows = np.asarray(opened.texts(texts), dtype=np.float32)
    check_vectors(rows, list(range(len(texts))), f"texts of {encoder}")
    with atomic_write(kept) as file:
        np.save(file, rows, allow_pickle=False)
    return rows


def _read(path: Path, count: int) -> np.ndarray:
    try:
        rows = read_array(path)
    except (OSError, ValueError) as error:
        raise BadData(f"{path} cannot be read ({error}): delete it and run again.") from error
    if rows.ndim != 2 or len(rows) != count:
        raise BadData(f"{path} is not what was written there: delete it and run again.")
    return rows
