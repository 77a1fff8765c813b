"""What an encoder is, and how its vectors lie on disk."""

from __future__ import annotations

import functools
import multiprocessing
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from artsound.encoders import imagebind, laion_clap, open_clip
from artsound.encoders.weights import find_clap, settings_digest
from artsound.errors import BadData, BadUsage
from artsound.recipe import Recipe
from artsound.storage import Workspace, atomic_write, read_json, write_json
from artsound.untrusted import read_array

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


# Opening encoders: by name, on a device of this machine, one copy per process.

_LOADING = threading.Lock()  # functools.cache lets two threads load the same weights


def open_encoder(name: str, recipe: Recipe, turn: int = 0) -> Encoder:
    """The encoder "clip", "clap" or "imagebind" as [embed] has it; loaded once per process.

    Where the recipe leaves the device open and there are several GPUs, `turn` (a part's number)
    chooses among them, or, in a worker process, the process itself: so each loads one copy.
    Raises BadUsage for an unknown name or a missing library, BadData, naming what to fetch and
    where to put it, when weights are missing or broken.
    """
    section = recipe.embed
    if name == "clip":
        settings = (section.clip_model, section.clip_checkpoint)
    elif name == "clap":
        settings = (section.clap_model, section.clap_checkpoint)
    elif name == "imagebind":
        settings = ("", "")
    else:
        raise _unknown(name)
    device = choose_device(section.device, turn)
    with _LOADING:
        return _load(name, *settings, section.precision, device, section.batch)


def encoder_digest(name: str, recipe: Recipe) -> str:
    """The digest that `open_encoder(name, recipe)` will have, without loading it.

    Covers the weights, architecture and precision; not device and batch, which move a component
    of a vector by less than 1e-4. Raises as open_encoder does.
    """
    section = recipe.embed
    if name == "clip":
        model = section.clip_model
        weights = open_clip.find_clip_weights(model, section.clip_checkpoint)
    elif name == "clap":
        model, weights = section.clap_model, find_clap(section.clap_checkpoint)
    elif name == "imagebind":
        model, weights = imagebind.MODEL, imagebind.find_imagebind_weights()
    else:
        raise _unknown(name)
    return settings_digest(name, model, weights, section.precision)


def _unknown(name: str) -> BadUsage:
    return BadUsage(f"There is no encoder {name!r}: there are clip, clap and imagebind.")


def choose_device(name: str, turn: int = 0) -> str:
    """`name`, or for "auto" the GPU whose turn it is, and the CPU where there is none.

    Raises BadUsage for a device that this machine lacks.
    """
    try:
        import torch
    except ImportError as error:
        raise BadUsage(
            "This bridge needs CLIP and CLAP: install artsound[models], or use --bridge affect."
        ) from error
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise BadUsage(f"embed.device is {name!r}: give auto, cpu, cuda or cuda:N.")
    gpus = torch.cuda.device_count() if name != "cpu" else 0
    if name == "auto":
        chosen = os.getpid() if multiprocessing.parent_process() is not None else turn
        return f"cuda:{chosen % gpus}" if gpus else "cpu"
    if name.startswith("cuda") and int(name.partition(":")[2] or 0) >= gpus:
        raise BadUsage(
            f"embed.device is {name}, but torch finds {gpus} GPUs here: use auto or cpu."
        )
    return name


@functools.cache
def _load(
    name: str, model: str, checkpoint: str, precision: str, device: str, batch: int
) -> Encoder:
    if name == "clip":
        return open_clip.load_open_clip(model, checkpoint, precision, device, batch)
    if name == "imagebind":
        return imagebind.load_imagebind(precision, device, batch)
    return laion_clap.load_laion_clap(model, checkpoint, precision, device, batch)
