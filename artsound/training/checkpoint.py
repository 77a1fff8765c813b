"""Checkpoints: complete or absent folders, which can be read without running code in them.

    checkpoints/step-00000300/
      config.json  state.json           settings; step, release, encoder, losses
      weights.safetensors               averaged weights, codec, picture statistics: for generate
      training.safetensors  optimiser.pt    raw weights and AdamW's state: for resume

A checkpoint is written under a temporary name, synced and renamed, so that the one before it stays
intact. `best.json` names the one with the lowest validation loss.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from artsound.errors import BadData, BadUsage
from artsound.storage import (
    make_folder,
    read_json,
    sweep,
    sync_folder,
    temporary_prefix,
    write_json,
)
from artsound.training.config import Config, read_config
from artsound.training.model import learned

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]
_REMEDY = "remove that checkpoint's folder to continue from the one before it, or train again"


@dataclass(frozen=True)
class State:
    """The state of a run: steps done, digests of release and encoder, losses.

    `stream` is the state of the stream of pairs; `curve` holds the mean training loss of every
    CURVE steps.
    """

    step: int
    release: str
    encoder: str
    condition_dim: int
    pairs: int
    validation: float | None = None
    best: float | None = None
    stream: dict[str, Any] = field(default_factory=dict)
    curve: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpoint:
    """The part of a checkpoint for `generate` and `evaluate`, with averaged weights."""

    path: Path
    config: Config
    state: State
    weights: Tensors
    arrays: dict[str, np.ndarray]


def save_checkpoint(
    folder: Path,
    config: Config,
    state: State,
    *,
    averaged: Tensors,
    raw: Tensors,
    arrays: dict[str, np.ndarray],
    optimiser: dict[str, Any],
    keep: int = 2,
) -> Path:
    """Write checkpoints/step-N in `folder`; delete all but the newest `keep` and the best.

    Raises:
        BadData: It cannot be written; earlier checkpoints are then unchanged.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    home = make_folder(folder / "checkpoints")
    sweep(home)
    final = home / f"step-{state.step:08d}"
    temporary = Path(tempfile.mkdtemp(prefix=temporary_prefix(), dir=home))
    try:
        write_json(temporary / "config.json", config.model_dump(mode="json"))
        fixed = {f"fixed.{name}": torch.from_numpy(array) for name, array in arrays.items()}
        save_file({**_whole(averaged), **fixed}, temporary / "weights.safetensors")
        save_file(_whole(raw), temporary / "training.safetensors")
        torch.save(optimiser, temporary / "optimiser.pt")
        # Last, so that a folder with a state is complete.
        write_json(temporary / "state.json", asdict(state))
        for path in temporary.iterdir():
            _sync(path)
        temporary.chmod(0o755)
        if final.exists():
            shutil.rmtree(final)
        temporary.replace(final)
        sync_folder(home)
    except (
        OSError,
        RuntimeError,
        SafetensorError,
        BadData,
    ) as error:  # a full disk
        raise BadData(
            f"The checkpoint {final} cannot be written ({error}): free some space and run the "
            "same command with --resume; earlier checkpoints are intact."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if state.validation is not None and state.validation == state.best:
        write_json(home / "best.json", {"step": state.step, "validation": state.validation})
    _prune(home, keep)
    return final


def find_checkpoint(path: Path) -> Path:
    """A checkpoint's folder: `path` itself, or the newest one of a training folder."""
    if (path / "state.json").is_file():
        return path
    whole = sorted((path / "checkpoints").glob("step-*/state.json"))
    if whole:
        return whole[-1].parent
    raise BadUsage(f"{path} has no checkpoint: give the --out folder of `artsound train`.")


def load_checkpoint(path: Path) -> Checkpoint:
    """Read the checkpoint that `find_checkpoint` finds; BadData if it is incomplete or damaged."""
    folder = find_checkpoint(path)
    place = folder / "config.json"
    try:
        read_json(place)
        place = folder / "state.json"
        state = TypeAdapter(State).validate_python(read_json(place))
    except BadData as error:
        raise BadData(f"{place} is damaged ({error}): {_REMEDY}.") from error
    except ValidationError as error:
        fault = error.errors()[0]
        reason = " ".join([*map(str, fault["loc"]), fault["msg"]])
        raise BadData(f"{place} is damaged ({reason}): {_REMEDY}.") from error
    config = read_config(folder / "config.json")
    tensors = read_tensors(folder / "weights.safetensors")
    weights = {name: t for name, t in tensors.items() if not name.startswith("fixed.")}
    arrays = {
        name.removeprefix("fixed."): tensor.numpy()
        for name, tensor in tensors.items()
        if name.startswith("fixed.")
    }
    return Checkpoint(folder, config, state, weights, arrays)


def check_release(path: Path, state: State, digest: str) -> None:
    """Raise BadUsage if a checkpoint was trained on another release."""
    if state.release != digest:
        raise BadUsage(
            f"{path} was trained on another release ({state.release[:12]}, not "
            f"{digest[:12]}): give the shards it was trained on."
        )


def read_tensors(path: Path) -> Tensors:
    """The tensors of a safetensors file; BadData if it is missing, damaged or not finite."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadData(f"{path} is missing or damaged ({error}): {_REMEDY}.") from error
    if broken := next((name for name, t in tensors.items() if not t.isfinite().all()), None):
        raise BadData(f"{path} is damaged ({broken} is not finite): {_REMEDY}.")
    return tensors


def load_optimiser(optimiser: Any, folder: Path) -> None:
    """Restore the state of AdamW: tensors and plain values only, no code in the file is run."""
    import torch

    path = folder / "optimiser.pt"
    try:
        optimiser.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises anything for a broken file
        reason = " ".join(str(error).split())[:160]
        raise BadData(f"{path} is missing or damaged ({reason}): {_REMEDY}.") from error


def load_weights(model: Any, weights: Tensors, path: Path) -> None:
    """Copy `weights` to the trained tensors of `model`; BadData if names or shapes differ."""
    import torch

    own = learned(model)
    if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in weights.items()}:
        raise BadData(f"{path} holds weights of another network: train again.")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(weights[name])


def _whole(tensors: Tensors) -> Tensors:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prune(home: Path, keep: int) -> None:
    folders = sorted(home.glob("step-*"))
    best = home / "best.json"
    staying = {path.name for path in folders[-keep:]}
    if best.is_file():
        staying.add(f"step-{read_json(best)['step']:08d}")
    for folder in folders:
        if folder.name not in staying:
            shutil.rmtree(folder, ignore_errors=True)
