"""Weights of models: finding, downloading, loading, and their digests."""

from __future__ import annotations

import functools
import logging
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy as np

from artsound.errors import BadData
from artsound.storage import digest, sha256_file
from artsound.untrusted import ForbiddenObject, NumbersUnpickler, plain_arrays


def settings_digest(
    name: str, version: str, model: str, weights: Path, precision: str, *more: Any
) -> str:
    """An encoder's digest: of its weights' content, and of what decides the vectors beside them.

    Args:
        name: The encoder's name.
        version: Its version, a number.
        model: The architecture.
        weights: The file of the weights.
        precision: Of forward passes.
        more: What else decides the vectors, such as the preprocessing; values of JSON.
    """
    return digest([name, int(version), model, weights_digest(weights), precision, *more])


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

    A checkpoint of torch may be a pickle of any protocol from 2 to 5 and hold plain values and
    numeric arrays beside the weights, as training scripts write them. Nothing else is unpickled,
    so that a hostile file cannot run code.

    Raises:
        BadData: The file is not such a checkpoint; the message names what else it holds.
    """
    import torch

    try:
        refuse_other_files(path)
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return _not_quantised(load_file(path), path)
        _refuse_torchscript(path)
        content = plain_arrays(
            torch.load(path, map_location="cpu", pickle_module=_NUMBERS, weights_only=False)
        )
    except ForbiddenObject as error:
        raise BadData(
            f"{path} holds more than weights ({error}), which may run code when it is read: fetch "
            "it again from where it was published, or save its weights alone as .safetensors."
        ) from error
    except BadData:
        raise
    except Exception as error:  # torch and safetensors raise anything for a broken file
        raise broken(path, error) from error
    tensors = content
    for name in ("state_dict", "model"):  # as training scripts name them
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            tensors = content[name]
            break
    if isinstance(tensors, dict):
        tensors = {
            name: torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value
            for name, value in tensors.items()
        }
    if (
        not isinstance(tensors, dict)
        or not tensors
        or not all(
            isinstance(name, str) and isinstance(value, torch.Tensor)
            for name, value in tensors.items()
        )
    ):
        raise BadData(f"{path} is not a checkpoint (tensors by name): fetch it again.")
    return _not_quantised(tensors, path)


def _not_quantised(tensors: dict[str, Any], path: Path) -> dict[str, Any]:
    """The tensors; BadData if weights are of 8 bits, which models load as if they were numbers."""
    import torch

    for name, tensor in tensors.items():
        if tensor.element_size() == 1 and tensor.dtype not in (torch.bool, torch.uint8):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise BadData(
                f"{path} holds quantised weights ({name} is {kind}), which lack their scales: "
                "fetch the weights in float32, float16 or bfloat16."
            )
    return tensors


# The first bytes of what is fetched in place of weights by mistake.
_OTHER_FILES = (
    (b"version https://git-lfs", "is a pointer of Git LFS to the weights: run `git lfs pull`"),
    (b"<", "is a web page: fetch the file that its address leads to, signed in where needed"),
    (b"{", "is a text of JSON: give the file of the weights beside it"),
)


def refuse_other_files(path: Path) -> None:
    """Raise BadData for an empty or shortened file, a web page, or a pointer to the weights."""
    with path.open("rb") as file:
        begin = file.read(64).lstrip()
    if not begin:
        raise BadData(f"{path} is empty: fetch it again.")
    for first, sentence in _OTHER_FILES:
        if begin.startswith(first):
            raise BadData(f"{path} {sentence}.")
    if begin.startswith(b"PK") and not zipfile.is_zipfile(path):
        raise BadData(f"{path} is cut short: fetch it again, to the end.")


def _load_numbers(file: IO[bytes], **options: Any) -> Any:
    return NumbersUnpickler(file, **options).load()


# torch.load takes a module like pickle, and uses these two names of it.
_NUMBERS = SimpleNamespace(__name__="numbers", Unpickler=NumbersUnpickler, load=_load_numbers)


def _refuse_torchscript(path: Path) -> None:
    """Raise BadData for a TorchScript archive, as OpenAI's first files are: it holds a program."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if any(Path(name).name == "constants.pkl" for name in archive.namelist()):
            raise BadData(
                f"{path} is a TorchScript archive, which holds a program beside the weights: fetch "
                "the same weights as .safetensors or a plain checkpoint."
            )


def broken(path: Path, error: Exception) -> BadData:
    """The error for weights that cannot be read, belong to another model, or do not fit."""
    if type(error).__name__ == "OutOfMemoryError":
        return BadData(
            f"{path} does not fit into the memory of the device when it is loaded: end what else "
            "uses it, choose a smaller model, or set the device to cpu."
        )
    return BadData(
        f"{path} cannot be loaded ({brief(error)}): fetch it again, or name the model that it "
        "belongs to."
    )


def brief(error: Exception) -> str:
    """The beginning of what a library says, in one line, for messages."""
    return " ".join(str(error).split())[:160] or type(error).__name__


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
