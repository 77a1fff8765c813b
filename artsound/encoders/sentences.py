"""Texts as unit vectors by a sentence-transformers model (Reimers & Gurevych, EMNLP 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.encoders.base import Encoder, EncoderPlugin, EncoderSettings
from artsound.encoders.batching import autocast, decoding_threads, encode
from artsound.encoders.weights import (
    broken,
    check_vocabulary,
    hub,
    quiet_libraries,
    weights_digest,
)
from artsound.errors import BadData
from artsound.storage import digest, read_json, sha256_file

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT = "all-MiniLM-L6-v2"
_OWNER = "sentence-transformers"  # of a name without an owner
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_SMALL = ("*.json", "*.txt", "*.model", "*/config.json")
_MOST_TOKENS = 128  # more than a caption has; every text is padded to this length
_POOLING = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


class SentenceEncoder(EncoderPlugin):
    """Texts by a sentence-transformers model: a name of the Hugging Face hub, or a folder."""

    name = "sentence-transformers"
    version = "1"
    modalities = ("text",)
    extra = "models"
    uses_gpu = True

    def downloads(self, settings: EncoderSettings) -> bool:
        """True if the argument is not a folder."""
        return not Path(settings.argument or DEFAULT).expanduser().is_dir()

    def weights(self, settings: EncoderSettings) -> Path:
        """The file of the weights; BadData, which says what to fetch, if it is missing."""
        folder = _folder(settings.argument or DEFAULT)
        for name in _WEIGHTS:
            if (folder / name).is_file():
                return folder / name
        raise BadData(f"{folder} lacks {_WEIGHTS[0]}: fetch the model again.")

    def digest(self, settings: EncoderSettings) -> str:
        """Of weights, tokenizer, pooling and precision; raises as `weights` does."""
        weights = self.weights(settings)
        files = ["config.json", "tokenizer.json", "vocab.txt"]
        texts = [weights.parent / name for name in files]
        small = [sha256_file(path) if path.is_file() else "" for path in texts]
        pooling = _pooling(weights.parent)
        content = [weights_digest(weights), small, pooling, settings.precision]
        return digest([self.name, self.version, *content])

    def open(self, settings: EncoderSettings, device: str) -> SentenceModel:
        """The model on a device; raises as `weights` does, and BadData for broken files."""
        from transformers import AutoModel, AutoTokenizer

        weights = self.weights(settings)
        folder = weights.parent
        try:
            with quiet_libraries():
                tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
                model = AutoModel.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # transformers raises anything on broken files
            raise broken(weights, error) from error
        check_vocabulary(len(tokenizer), f"of {folder}", "fetch the whole folder again")
        return SentenceModel(
            model.float().to(device).eval(),
            tokenizer,
            pooling=_pooling(folder),
            digest=self.digest(settings),
            precision=settings.precision,
            device=device,
            batch=settings.batch,
        )


class SentenceModel(Encoder):
    """A loaded sentence encoder: an Encoder of texts."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        pooling: str,
        digest: str,
        precision: str,
        device: str,
        batch: int,
    ) -> None:
        self.dim, self.digest = int(model.config.hidden_size), digest
        self._model, self._tokenizer, self._pooling = model, tokenizer, pooling
        self.device, self._precision, self._batch = device, precision, batch
        most = getattr(model.config, "max_position_embeddings", _MOST_TOKENS)
        self._tokens = min(_MOST_TOKENS, int(most) - 2)  # some models reserve two positions

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit rows float32 [n, dim]; a text longer than 128 tokens is truncated."""
        threads = decoding_threads(self.device)
        return encode(
            texts, self._tokenise, self._read, dim=self.dim, batch=self._batch, threads=threads
        )

    def _tokenise(self, text: str) -> Tensor:
        import torch

        found = self._tokenizer(
            text,
            padding="max_length",
            truncation=True,
            max_length=self._tokens,
            return_tensors="pt",
        )
        return torch.stack([found["input_ids"], found["attention_mask"]], dim=1)

    def _read(self, rows: Tensor) -> Tensor:
        rows = rows.to(self.device)
        with autocast(self._precision, self.device):
            found = self._model(input_ids=rows[:, 0], attention_mask=rows[:, 1])
        hidden = found.last_hidden_state.float()
        if self._pooling == "cls":
            return hidden[:, 0]
        mask = rows[:, 1, :, None].float()
        return (hidden * mask).sum(dim=1) / mask.sum(dim=1)


def _folder(name: str) -> Path:
    """The folder of a model: a path, or a snapshot of the hub, downloaded if missing."""
    if Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    from huggingface_hub import constants, snapshot_download

    repo = name if "/" in name else f"{_OWNER}/{name}"
    try:
        found = snapshot_download(repo, allow_patterns=[*_SMALL, *_WEIGHTS], local_files_only=True)
        if any((Path(found) / weights).is_file() for weights in _WEIGHTS):
            return Path(found)
    except Exception:  # noqa: BLE001  (no snapshot in the cache, or not a name of the hub)
        pass
    try:
        with quiet_libraries():
            return Path(snapshot_download(repo, allow_patterns=[*_SMALL, _WEIGHTS[0]]))
    except Exception as error:  # no network, no such repository: several libraries' errors
        raise BadData(
            f"The sentence encoder {name} is not a folder, and {hub(repo)} cannot be fetched now: "
            f"run `hf download {repo}` where there is a network, which puts it into "
            f"{constants.HF_HUB_CACHE}, or name a folder."
        ) from error


def _pooling(folder: Path) -> str:
    """How the model's tokens become one vector: mean or cls; BadData for another way."""
    listed = folder / "modules.json"
    modules = read_json(listed) if listed.is_file() else []
    try:
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
        places = [str(module["path"]) for module in modules]
    except (TypeError, KeyError) as error:
        raise BadData(f"{listed} lists no modules: fetch the model again.") from error
    if other := set(kinds) - {"Transformer", "Pooling", "Normalize"}:
        raise BadData(f"{folder} has a module {min(other)}, not supported: choose another.")
    if "Pooling" not in kinds:
        return "mean"
    place = folder / places[kinds.index("Pooling")] / "config.json"
    values = read_json(place)
    chosen = [
        kind for key, kind in _POOLING.items() if isinstance(values, dict) and values.get(key)
    ]
    if len(chosen) != 1:
        raise BadData(f"{place} pools neither by mean nor by the first token: use another model.")
    return chosen[0]
