"""Clips and texts as unit vectors of one space, by LAION-CLAP (Wu et al., arXiv 2211.06687)."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.encoders.batching import autocast, decoding_threads, encode
from artsound.encoders.weights import (
    broken,
    check_vocabulary,
    find_clap,
    load_tensors,
    quiet_libraries,
    settings_digest,
)
from artsound.errors import BadData, BadUsage
from artsound.media.audio import load_mono

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 48_000
WINDOW = 480_000  # samples: the 10 s that the model hears at once
_SLACK = 48_000  # a rest shorter than that gets no window of its own
_MAX_SECONDS = 300.0  # of a clip, from its start: 30 windows
_DIM = 512
_TEXT_MODEL = "roberta-base"  # LAION-CLAP loads it by name: from the hub or a folder of that name
_TOKENS = 77


class LaionClap:
    """A loaded LAION-CLAP model, `load_laion_clap` makes one; an Encoder of audio and texts."""

    name = "clap"
    dim = _DIM

    def __init__(
        self, model: Any, tokenizer: Any, *, digest: str, precision: str, device: str, batch: int
    ) -> None:
        self.digest = digest
        self._model, self._tokenizer = model, tokenizer
        self.device, self._precision, self._batch = device, precision, batch
        self._threads = decoding_threads(device)

    def audio(self, data: Sequence[bytes]) -> np.ndarray:
        """Unit rows float32 [n, dim] of encoded clips; ItemError when one is not to be decoded.

        The mean over windows of 10 s that cover the clip's first five minutes.
        """
        return self._encode(data, self.decode, self.hear)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit rows float32 [n, dim]; a text beyond 77 tokens is cut."""
        return self._encode(texts, self._tokenise, self._read)

    def images(self, data: Sequence[bytes]) -> np.ndarray:  # noqa: ARG002
        """CLAP has none: raises BadUsage."""
        raise BadUsage("CLAP embeds sound and texts, not pictures: use CLIP.")

    def decode(self, data: bytes) -> Tensor:
        """The first half of `audio`: one clip's windows, int16 [w, 480000]."""
        import torch

        mono = load_mono(data, sample_rate=SAMPLE_RATE, seconds=_MAX_SECONDS)
        return torch.from_numpy(windows(mono))

    def hear(self, rows: Tensor) -> Tensor:
        """The second half: vectors [w, dim], on the device and of any length, of w windows."""
        sound = rows.to(self.device, non_blocking=True).float().div_(32767)
        with autocast(self._precision, self.device):
            heard = self._model.encode_audio({"waveform": sound}, device=self.device)
            return self._model.audio_projection(heard["embedding"])

    def _encode(self, items: Sequence[Any], decode: Any, forward: Any) -> np.ndarray:
        return encode(
            items, decode, forward, dim=self.dim, batch=self._batch, threads=self._threads
        )

    def _tokenise(self, text: str) -> Tensor:
        import torch

        found = self._tokenizer(
            text, padding="max_length", truncation=True, max_length=_TOKENS, return_tensors="pt"
        )
        return torch.stack([found["input_ids"], found["attention_mask"]], dim=1)

    def _read(self, rows: Tensor) -> Tensor:
        tokens = {"input_ids": rows[:, 0], "attention_mask": rows[:, 1]}
        with autocast(self._precision, self.device):
            return self._model.encode_text(tokens, device=self.device)


def load_laion_clap(
    model: str, checkpoint: str, precision: str, device: str, batch: int
) -> LaionClap:
    """LAION-CLAP with the audio tower `model` and the weights `checkpoint` (empty: the hub's).

    Raises BadUsage for a version that cannot be used or an unknown tower, BadData for weights or
    a tokenizer that are missing, broken or of another tower.
    """
    import torch
    import transformers
    from huggingface_hub import constants

    weights = find_clap(checkpoint)
    clap_module = import_clap_module()
    known = [name for name in clap_module.list_models() if name.startswith("HTSAT")]
    if model not in known:
        raise BadUsage(
            f"LAION-CLAP has no audio tower {model!r} (embed.clap_model): give one of "
            f"{', '.join(known)}."
        )
    way_out = (
        f"run `hf download {_TEXT_MODEL}` where there is a network, which puts it into "
        f"{constants.HF_HUB_CACHE}, or put a folder {_TEXT_MODEL} into the working folder"
    )
    with quiet_libraries():
        try:
            tokenizer = transformers.RobertaTokenizer.from_pretrained(_TEXT_MODEL)
            check_vocabulary(len(tokenizer), _TEXT_MODEL, way_out)
            loaded, _ = clap_module.create_model(model, "roberta", device=torch.device("cpu"))
        except OSError as error:
            raise BadData(f"CLAP's text model {_TEXT_MODEL} is incomplete: {way_out}.") from error
    tensors = _cleaned(load_tensors(weights))
    try:
        loaded.load_state_dict(tensors)
    except RuntimeError as error:
        raise broken(weights, error) from error
    # Power spectra overflow in fp16 and are coarse in bf16.
    for part in ("spectrogram_extractor", "logmel_extractor"):
        layer = getattr(loaded.audio_branch, part)
        layer.forward = autocast("fp32", device)(layer.forward)
    return LaionClap(
        loaded.float().to(device).eval(),
        tokenizer,
        digest=settings_digest("clap", model, weights, precision),
        precision=precision,
        device=device,
        batch=batch,
    )


def windows(mono: np.ndarray) -> np.ndarray:
    """Windows int16 [w, 480000] that cover a clip at 48 kHz, evenly, with w as small as can be.

    Quantised as LAION-CLAP does, and like there a clip under 10 s is repeated as often as it fits
    whole, then padded with silence. A rest under one second gets no window.
    """
    sound = (np.clip(mono, -1.0, 1.0) * 32767.0).astype(np.int16)
    if len(sound) < WINDOW:
        repeated = np.tile(sound, WINDOW // max(len(sound), 1))
        return np.pad(repeated[:WINDOW], (0, max(0, WINDOW - len(repeated))))[None]
    count = max(1, math.ceil((len(sound) - _SLACK) / WINDOW))
    starts = np.linspace(0, len(sound) - WINDOW, count).round().astype(int)
    return np.stack([sound[start : start + WINDOW] for start in starts])


def _cleaned(tensors: dict[str, Any]) -> dict[str, Any]:
    """The names as the model has them: without a DataParallel prefix and a former buffer."""
    plain = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    plain.pop("text_branch.embeddings.position_ids", None)
    return plain


def import_clap_module() -> Any:
    """LAION-CLAP's models, without its front end.

    Importing `laion_clap` itself loads the tokenizers of BERT and BART, which CLAP has no use
    for, from the hub; and before 1.1.7 it read the command line of whoever imports it.
    """
    try:
        version = metadata.version("laion-clap")
    except metadata.PackageNotFoundError as error:
        raise BadUsage("This bridge needs laion-clap: install artsound[models].") from error
    if tuple(int(part) for part in version.split(".")[:3]) < (1, 1, 7):
        raise BadUsage(f"laion-clap {version} is too old: install 1.1.7 or newer.")
    folder = str(metadata.distribution("laion-clap").locate_file("laion_clap"))
    sys.path.append(folder)
    try:
        with quiet_libraries():
            return importlib.import_module("clap_module")
    finally:
        sys.path.remove(folder)
