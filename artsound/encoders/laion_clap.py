"""Clips and texts as unit vectors of one space, by LAION-CLAP (Wu et al., arXiv 2211.06687)."""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.encoders.base import Encoder, EncoderPlugin, EncoderSettings
from artsound.encoders.batching import autocast, decoding_threads, encode
from artsound.encoders.weights import (
    brief,
    broken,
    check_vocabulary,
    fetch,
    hub,
    load_tensors,
    local_file,
    quiet_libraries,
    settings_digest,
)
from artsound.errors import BadData, BadUsage
from artsound.extras import Check, install_command
from artsound.media.audio import load_mono
from artsound.plugins import refuse_argument

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 48_000
WINDOW = 480_000  # samples: the 10 s of the model's input
_SLACK = 48_000  # a remainder shorter than this gets no window of its own
_MAX_SECONDS = 300.0  # of a clip, from its start: 30 windows
_DIM = 512
_TEXT_MODEL = "roberta-base"  # LAION-CLAP loads it by name: from the hub or a folder of that name
_TOKENS = 77
_VOCABULARY = 50_000  # words of RoBERTa, about; an empty tokenizer has 5
_REPO, _FILE = "lukewys/laion_clap", "music_audioset_epoch_15_esc_90.14.pt"


class ClapEncoder(EncoderPlugin):
    """Clips and texts by LAION-CLAP, with one of its HTSAT audio towers."""

    name = "clap"
    version = "1"
    modalities = ("audio", "text")
    extra = "models"
    uses_gpu = True

    def downloads(self, settings: EncoderSettings) -> bool:
        """True if no checkpoint is given."""
        return not settings.checkpoint

    def weights(self, settings: EncoderSettings) -> Path:
        """The checkpoint's file: a path, or by default the music checkpoint of the hub.

        Raises:
            BadData: It is missing.
        """
        key = f"{settings.section}.clap_checkpoint"
        keys = f"give {settings.section}.clap_model and {key}"
        refuse_argument("encoder", self.name, settings.argument, keys)
        if settings.checkpoint:
            return local_file(settings.checkpoint, key, f"{_FILE} of {hub(_REPO)}")
        return fetch(_REPO, _FILE, key)

    def digest(self, settings: EncoderSettings) -> str:
        """Of the weights, the audio tower and the precision; raises as `weights` does."""
        weights = self.weights(settings)
        return settings_digest(self.name, self.version, settings.model, weights, settings.precision)

    def open(self, settings: EncoderSettings, device: str) -> LaionClap:
        """Load the model on a device.

        Raises:
            BadUsage: The version of laion-clap cannot be used, or the audio tower is unknown.
            BadData: Weights or tokenizer are missing or broken, or the weights are of another
                tower.
        """
        import torch
        import transformers
        from huggingface_hub import constants

        model, weights = settings.model, self.weights(settings)
        clap_module = import_clap_module()
        known = [name for name in clap_module.list_models() if name.startswith("HTSAT")]
        if model not in known:
            raise BadUsage(
                f"LAION-CLAP has no audio tower {model!r} ({settings.section}.clap_model): give "
                f"one of {', '.join(known)}."
            )
        remedy = (
            f"run `hf download {_TEXT_MODEL}` where there is a network, which puts it into "
            f"{constants.HF_HUB_CACHE}, or put a folder {_TEXT_MODEL} into the working folder"
        )
        with quiet_libraries():
            try:
                tokenizer = transformers.RobertaTokenizer.from_pretrained(_TEXT_MODEL)
                check_vocabulary(len(tokenizer), _TEXT_MODEL, remedy)
                loaded, _ = clap_module.create_model(model, "roberta", device=torch.device("cpu"))
            except BadData:
                raise
            except Exception as error:  # the libraries raise anything for files that do not fit
                reason = "" if isinstance(error, OSError) else f" ({brief(error)})"
                raise BadData(
                    f"CLAP's text model {_TEXT_MODEL} is incomplete or broken{reason}: {remedy}."
                ) from error
        tensors = _cleaned(load_tensors(weights))
        try:
            loaded.load_state_dict(tensors)
        except RuntimeError as error:
            raise broken(weights, error) from error
        known = loaded.text_branch.embeddings.word_embeddings.num_embeddings
        if not 0.9 * known <= len(tokenizer) <= known:
            raise BadData(
                f"The tokenizer {_TEXT_MODEL} has {len(tokenizer):,} tokens and the text model "
                f"{known:,}, so it is another model's: {remedy}."
            )
        # Power spectra overflow in fp16 and are coarse in bf16.
        for part in ("spectrogram_extractor", "logmel_extractor"):
            layer = getattr(loaded.audio_branch, part)
            layer.forward = autocast("fp32", device)(layer.forward)
        return LaionClap(
            loaded.float().to(device).eval(),
            tokenizer,
            digest=self.digest(settings),
            precision=settings.precision,
            device=device,
            batch=settings.batch,
        )

    def checks(self) -> Iterator[Check]:
        """Whether the vocabulary of LAION-CLAP's text model is complete."""
        yield check_tokenizer(_vocabulary())


class LaionClap(Encoder):
    """A loaded LAION-CLAP model: an Encoder of audio and texts."""

    dim = _DIM

    def __init__(
        self, model: Any, tokenizer: Any, *, digest: str, precision: str, device: str, batch: int
    ) -> None:
        self.digest = digest
        self._model, self._tokenizer = model, tokenizer
        self.device, self._precision, self._batch = device, precision, batch
        self._threads = decoding_threads(device)

    def audio(self, data: Sequence[bytes]) -> np.ndarray:
        """Unit rows float32 [n, dim] of encoded clips; ItemError if one cannot be decoded.

        A row is the mean over windows of 10 s that cover the clip's first five minutes.
        """
        return self._encode(data, self.decode, self.forward)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit rows float32 [n, dim]; a text longer than 77 tokens is truncated."""
        return self._encode(texts, self._tokenise, self._read)

    def decode(self, data: bytes) -> Tensor:
        """The first step of `audio`: one clip's windows, int16 [w, 480000]."""
        import torch

        mono = load_mono(data, sample_rate=SAMPLE_RATE, seconds=_MAX_SECONDS)
        return torch.from_numpy(windows(mono))

    def forward(self, rows: Tensor) -> Tensor:
        """The second step: vectors [w, dim] on the device, of any length, of decoded rows."""
        sound = rows.to(self.device, non_blocking=True).float().div_(32767)
        with autocast(self._precision, self.device):
            output = self._model.encode_audio({"waveform": sound}, device=self.device)
            return self._model.audio_projection(output["embedding"])

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


def windows(mono: np.ndarray) -> np.ndarray:
    """Windows int16 [w, 480000] that cover a clip at 48 kHz evenly, as few as possible.

    As in LAION-CLAP, samples are quantised, and a clip shorter than 10 s is repeated a whole
    number of times, then padded with silence. A remainder below one second gets no window.
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

    Importing `laion_clap` itself loads the tokenizers of BERT and BART from the hub, which CLAP
    does not use; before version 1.1.7 it also parsed the command line of the process.
    """
    try:
        version = metadata.version("laion-clap")
    except metadata.PackageNotFoundError as error:
        raise BadUsage(f"laion-clap is not installed: {install_command('models')}") from error
    if tuple(int(part) for part in version.split(".")[:3]) < (1, 1, 7):
        raise BadUsage(f"laion-clap {version} is too old: install 1.1.7 or newer.")
    folder = str(metadata.distribution("laion-clap").locate_file("laion_clap"))
    sys.path.append(folder)
    try:
        with quiet_libraries():
            return importlib.import_module("clap_module")
    finally:
        sys.path.remove(folder)


def check_tokenizer(vocabulary: Path | None) -> Check:
    """Examine the vocabulary by which LAION-CLAP reads texts: a JSON file; None if missing."""
    group, remedy = "checkpoints", f"hf download {_TEXT_MODEL}, where there is a network"
    if vocabulary is None:
        return Check(group, _TEXT_MODEL, "warning", "no vocabulary", remedy)
    try:
        words = len(json.loads(vocabulary.read_bytes()))
    except (OSError, ValueError, TypeError):
        words = 0
    if words < _VOCABULARY:
        text = f"{words:,} words: every text would look the same"
        return Check(group, _TEXT_MODEL, "warning", text, remedy)
    return Check(group, _TEXT_MODEL, "ok", f"{words:,} words")


def _vocabulary() -> Path | None:
    """The vocabulary that laion-clap reads: of the working folder, else of the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    if Path(_TEXT_MODEL).is_dir():
        return Path(_TEXT_MODEL) / "vocab.json"
    for repo in (_TEXT_MODEL, f"FacebookAI/{_TEXT_MODEL}"):
        found = try_to_load_from_cache(repo, "vocab.json")
        if isinstance(found, str):
            return Path(found)
    return None
