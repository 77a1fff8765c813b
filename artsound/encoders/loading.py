"""Opening encoders: by name, on a device of this machine, one copy per process."""

from __future__ import annotations

import functools
import multiprocessing
import os
import re
import threading

from artsound.encoders import imagebind, laion_clap, open_clip
from artsound.encoders.base import Encoder
from artsound.encoders.weights import find_clap, settings_digest
from artsound.errors import BadUsage
from artsound.recipe import Recipe

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
        weights = open_clip.find_weights(model, section.clip_checkpoint)
    elif name == "clap":
        model, weights = section.clap_model, find_clap(section.clap_checkpoint)
    elif name == "imagebind":
        model, weights = imagebind.MODEL, imagebind.find_weights()
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
