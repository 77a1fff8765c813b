"""Whether a caption agrees with its own picture or clip more than with others, by an encoder.

A cosine between a text and a picture means little by itself: its usual size differs from model to
model and from caption to caption. So a caption's own item is ranked among a sample of others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from artsound.catalogue import Side
from artsound.encoders.base import Side as EmbeddedSide
from artsound.encoders.base import embedding_folder, load_embeddings, open_encoder
from artsound.encoders.roles import side_encoder
from artsound.encoders.vector_cache import VectorCache
from artsound.errors import BadData, BadUsage
from artsound.recipe import Recipe
from artsound.storage import Workspace, read_json, sha256_bytes

OTHERS = 1_000
_TEXTS_AT_ONCE = 4_096  # cached as soon as they are embedded, so that a kill loses little
_ROUNDING = 1e-5  # cosines that differ by less are equal: the same picture under another name


def agreements(
    captions: np.ndarray, items: np.ndarray, own: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """For each caption the share of other items that it resembles less than its own, float64 [n].

    `captions` [n, D] and `items` [m, D] are unit rows of one encoder; `own` [n] and `others` [k]
    are rows of `items`. 1: none of the others is as like; 0.5: chance, or a caption that fits all
    alike; equal similarities count half. A caption's own item is no other; without any other the
    share is 1. Both sides are centred first: what all captions have in common does not
    separate items, and an item near every caption (a hub) would hide a wrong one.
    """
    captions = _centred(captions) if len(captions) > 1 else captions.astype(np.float32)
    items = _centred(items)
    below = np.zeros(len(captions))
    count: np.ndarray = len(others) - np.isin(own, others).astype(np.int64)
    for start in range(0, len(captions), _TEXTS_AT_ONCE):
        block = slice(start, start + _TEXTS_AT_ONCE)
        rows = captions[block]
        to_own = np.einsum("nd,nd->n", rows, items[own[block]])
        ahead = to_own[:, None] - rows @ items[others].T
        score = (ahead > _ROUNDING) + 0.5 * (np.abs(ahead) <= _ROUNDING)
        score[own[block][:, None] == others] = 0.0
        below[block] = score.sum(axis=1)
    return np.divide(below, count, out=np.ones(len(captions)), where=count > 0)


def sample_of(ids: Sequence[str], seed: int) -> np.ndarray:
    """The rows of at most OTHERS ids, chosen by hash, ascending: the same on every machine."""
    order = sorted(range(len(ids)), key=lambda row: sha256_bytes(f"{seed}:{ids[row]}".encode()))
    return np.array(sorted(order[:OTHERS]), dtype=np.int64)


def check_embedded(workspace: Workspace, recipe: Recipe, side: Side) -> None:
    """Raise BadUsage unless the side's own embeddings, which the check needs, are there."""
    encoder = side_encoder(recipe, _side(side))
    path = embedding_folder(workspace, encoder) / f"{side.files}.npy"
    if not path.is_file():
        raise BadUsage(
            f"captions.min_agreement needs {path}, which is missing: run `artsound embed` with "
            "this recipe first, or set min_agreement = 0."
        )


def caption_agreements(
    workspace: Workspace, recipe: Recipe, side: Side, names: Sequence[str], texts: Sequence[str]
) -> np.ndarray:
    """`agreements` of the captions `texts` of the items `names`, by the encoder of their side.

    Raises BadUsage when the items were not embedded, BadData when their embeddings are broken,
    lack an item, or were made with other weights than the recipe has now.
    """
    check_embedded(workspace, recipe, side)
    encoder = side_encoder(recipe, _side(side))
    ids, items = load_embeddings(workspace, encoder, _side(side))
    places = {name: row for row, name in enumerate(ids)}
    if missing := [name for name in names if name not in places]:
        raise BadData(
            f"{embedding_folder(workspace, encoder)} lacks {side.name} {missing[0]}: "
            "run `artsound embed` again."
        )
    own = np.array([places[name] for name in names], dtype=np.int64)
    rows = _text_rows(workspace, recipe, side, texts)
    return agreements(rows, np.asarray(items), own, sample_of(ids, recipe.seed))


def _text_rows(
    workspace: Workspace, recipe: Recipe, side: Side, texts: Sequence[str]
) -> np.ndarray:
    """Rows float16 [n, D] of texts; each text is embedded once for the weights of its items."""
    encoder = side_encoder(recipe, _side(side))
    folder = embedding_folder(workspace, encoder)
    made_by = str(read_json(folder / f"{side.files}.json")["digest"])
    cache = VectorCache(workspace.embeddings / "cache" / f"{folder.name}-{made_by[:16]}-texts")
    keys = [sha256_bytes(text.encode()) for text in texts]
    rows = cache.find(keys)
    unknown = {key: text for key, text in zip(keys, texts, strict=True) if key not in rows}
    if unknown:
        opened = open_encoder(encoder, recipe)
        if opened.digest != made_by:
            raise BadData(
                f"{folder} was made with other weights or another precision than [embed] of the "
                "recipe has now: run `artsound embed` again."
            )
        for start in range(0, len(unknown), _TEXTS_AT_ONCE):
            some = list(unknown)[start : start + _TEXTS_AT_ONCE]
            made = opened.texts([unknown[key] for key in some]).astype(np.float16)
            cache.add(some, made)
            rows |= dict(zip(some, made, strict=True))
    return np.stack([rows[key] for key in keys])


def _side(side: Side) -> EmbeddedSide:
    return "artworks" if side.files == "artworks" else "tracks"


def _centred(rows: np.ndarray) -> np.ndarray:
    """Rows less their mean, at length one again, float32; a row that is the mean becomes zero."""
    moved: np.ndarray = rows.astype(np.float32)
    moved -= moved.mean(axis=0, dtype=np.float64).astype(np.float32)
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.divide(moved, lengths, out=np.zeros_like(moved), where=lengths > _ROUNDING)
