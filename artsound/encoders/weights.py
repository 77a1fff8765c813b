"""Weights of models: finding, downloading, loading, and their digests."""

from __future__ import annotations

import functools
import logging
import pickle
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from artsound.errors import BadData
from artsound.storage import digest, sha256_file


def settings_digest(name: str, version: str, model: str, weights: Path, precision: str) -> str:
    """An encoder's digest: of its weights' content, and of what decides the vectors beside them."""
    return digest([name, int(version), model, weights_digest(weights), precision])


def hub(repo: str) -> str:
    """A repository's address, for messages."""
    return f"huggingface.co/{repo}"


def local_file(path: str, key: str, needed: str) -> Path:
    """The file that the recipe's `key` names; BadData says what to put there if it is missing."""
    found = Path(path).expanduser()
    if not found.is_file():
        raise BadData(
            f"There is no checkpoint {path} ({key}): fetch {needed} into the folder "
            f"{found.absolute().parent} under that name."
        )
    return found


def fetch(repo: str, file: str, key: str) -> Path:
    """A file of the Hugging Face hub: from its cache, else downloaded into it.

    Raises:
        BadData: Neither works; the message says what to fetch, and into which folder.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, file, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:
        with quiet_libraries():
            return Path(hf_hub_download(repo, file))
    except (OSError, HfHubHTTPError, ValueError) as error:
        raise missing(repo, file, constants.HF_HUB_CACHE, key) from error


def missing(repo: str, file: str, folder: str, key: str) -> BadData:
    """The error for a file that is neither cached nor available."""
    return BadData(
        f"{file} of {hub(repo)} is not on this machine and cannot be fetched now: run "
        f"`hf download {repo} {file}` where there is a network, which puts it into {folder}, "
        f"or give its path as {key}."
    )


def load_tensors(path: Path) -> dict[str, Any]:
    """The tensors by name in a checkpoint (.safetensors or torch's own), on the CPU.

    Only tensors and plain values are unpickled, so that a hostile file cannot run code.

    Raises:
        BadData: The file is not such a checkpoint.
    """
    import numpy as np
    import torch

    # Training scripts store harmless NumPy scalars (such as a best score) beside the weights.
    scalar = np.float64(0).__reduce__()[0]
    scalars = [
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8")),
    ]
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with torch.serialization.safe_globals(scalars):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadData(
            f"{path} holds objects that may run code, not only weights: fetch it again from where "
            "it was published."
        ) from error
    except Exception as error:  # torch and safetensors raise anything for a broken file
        raise broken(path, error) from error
    tensors = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in tensors.items()
    ):
        raise BadData(f"{path} is not a checkpoint (tensors by name): fetch it again.")
    return tensors


def broken(path: Path, error: Exception) -> BadData:
    """The error for weights that cannot be read, or belong to another model."""
    reason = " ".join(str(error).split())[:160]
    return BadData(
        f"{path} cannot be loaded ({reason}): fetch it again, or name the model that it belongs to."
    )


def check_vocabulary(size: int, name: str, remedy: str) -> None:
    """Raise BadData, with a remedy, if a tokenizer has too few tokens to be complete.

    If its files are missing, transformers 5 gives a tokenizer of a few special tokens, for which
    all texts are equal.
    """
    if size <= 1000:
        raise BadData(
            f"The tokenizer {name} has only {size} tokens, since its files are missing: {remedy}."
        )


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Within this block the model libraries print no warnings, logs or progress bars."""
    from transformers.utils import logging as transformers_logging

    level, bars = (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )
    before = logging.root.manager.disable
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.disable(logging.ERROR)  # errors are raised
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def weights_digest(path: Path) -> str:
    """SHA-256 of a file of weights, computed once per process; the hub's cache has it as a name."""
    blob = path.resolve()
    if blob.parent.name == "blobs" and re.fullmatch("[0-9a-f]{64}", blob.name):
        return blob.name  # the hub's cache names a file by its SHA-256
    status = blob.stat()
    return _file_digest(blob, status.st_size, status.st_mtime_ns)


@functools.cache
def _file_digest(path: Path, size: int, modified: int) -> str:
    return sha256_file(path)
