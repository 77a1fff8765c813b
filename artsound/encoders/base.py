"""What an encoder is, and how its vectors lie on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from artsound.errors import BadData
from artsound.readers import read_array
from artsound.storage import Workspace, atomic_write, read_json, write_json

Side = Literal["artworks", "tracks"]


class Encoder(Protocol):
    """Turns encoded media or text into unit float32 rows [n, dim]; not every one has every side.

    ``digest`` names the weights and settings: equal digests give equal vectors.
    """

    name: str
    digest: str
    dim: int

    def images(self, data: Sequence[bytes]) -> np.ndarray:
        """One row for each encoded picture; MediaError when one cannot be decoded."""
        ...

    def audio(self, data: Sequence[bytes]) -> np.ndarray:
        """One row for each encoded clip; MediaError when one cannot be decoded."""
        ...

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """One row for each text."""
        ...


def save_embeddings(
    workspace: Workspace, encoder: str, side: Side, digest: str, ids: Sequence[str], m: np.ndarray
) -> tuple[Path, Path]:
    """Write a matrix [n, D] and its ids; the two files.

    embeddings/``encoder``/``side``.npy holds the rows (float16 or float32, C order), the JSON of
    the same name the encoder, its digest and the rows' ids.
    """
    if m.ndim != 2 or len(m) != len(ids):
        raise ValueError(f"{len(ids)} ids need as many rows, not an array of {list(m.shape)}")
    matrix = workspace.embeddings / encoder / f"{side}.npy"
    names = matrix.with_suffix(".json")
    with atomic_write(matrix) as file:
        np.save(file, np.ascontiguousarray(m), allow_pickle=False)
    write_json(names, {"encoder": encoder, "digest": digest, "ids": list(ids)})
    return matrix, names


def load_embeddings(workspace: Workspace, encoder: str, side: Side) -> tuple[list[str], np.ndarray]:
    """Ids and their rows [n, D], memory-mapped; BadData when missing, broken or out of step."""
    matrix = workspace.embeddings / encoder / f"{side}.npy"
    names = read_json(matrix.with_suffix(".json"))
    try:
        m = read_array(matrix, mapped=True)
    except (OSError, ValueError) as error:
        raise BadData(f"{matrix} cannot be read ({error}): run `artsound embed`.") from error
    ids = names.get("ids") if isinstance(names, dict) else None
    if not isinstance(ids, list) or m.ndim != 2 or len(ids) != len(m):
        raise BadData(f"{matrix} and its list of ids do not fit together: run `artsound embed`.")
    return ids, m
