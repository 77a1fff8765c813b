"""Captions from models of the transformers library: image-to-text and audio-to-text.

Any model that the library's auto classes know can be used. Tested with small ones: BLIP,
Florence-2, Qwen2-VL and Qwen2.5-VL for artworks, Qwen2-Audio for tracks; similar ones (BLIP-2, GIT,
Voxtral, captioners with Whisper's architecture) are untested. Code shipped with a checkpoint is
never run, and weights are read from safetensors only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artsound.captions.base import (
    CHAT_PROMPTS,
    CachedCaptioner,
    Captioner,
    CaptionerPlugin,
    CaptionItem,
    CaptionSettings,
)
from artsound.encoders.base import choose_device
from artsound.encoders.batching import out_of_memory, within_memory
from artsound.encoders.weights import weights_digest
from artsound.errors import BadData, BadUsage
from artsound.storage import digest, sha256_file

if TYPE_CHECKING:
    import torch


MAX_SIDE = 768
SMALLEST_VOCABULARY = 32
TASK_PROMPTS: Mapping[str, str] = {"florence2": "<MORE_DETAILED_CAPTION>"}
_SMALL_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
_FILES = [*_SMALL_FILES, "*.safetensors"]


class TransformersCaptioner:
    """Runs the checkpoint `place` (a folder, or a name on the Hugging Face hub) greedily.

    When it is loaded, it writes two tokens for a plain picture or tone, so that a tokenizer or a
    processor of another model is noticed before the first item.

    Raises:
        BadUsage: The checkpoint does not exist.
        BadData: It cannot be run.
    """

    def __init__(
        self, side: str, place: str, *, prompt: str, max_new_tokens: int, batch: int, device: str
    ) -> None:
        self._folder = checkpoint_folder(place, f"captions.{side}s")
        self._side = side
        self._batch = batch
        self._device = device
        self._loaded: tuple[Any, Any] | None = None
        self._prompt = prompt
        self.name = f"transformers:{Path(place).name if Path(place).is_dir() else place}"
        self.version = checkpoint_version(self._folder)
        self.settings: Mapping[str, Any] = {
            "max_new_tokens": max_new_tokens,
            "do_sample": False,
            "num_beams": 1,
        }

    def captions(self, items: Sequence[CaptionItem]) -> list[str]:
        """The model's text for each item."""
        processor, model = self._model()
        texts: list[str] = []
        while len(texts) < len(items):
            left = items[len(texts) :]

            def run(most: int, left: Sequence[CaptionItem] = left) -> list[str]:
                inputs = self._inputs(processor, self._decoded(processor, left[:most]))
                return list(self._generate(processor, model, inputs, self.settings))

            remedy = 'captions.max_new_tokens or captions.device = "cpu"'
            done, self._batch = within_memory(run, self._batch, len(left), remedy)
            texts += done
        return texts

    @property
    def prompt(self) -> str:
        """The recipe's prompt, or the usual one for this kind of model ("" for none)."""
        if self._prompt:
            return self._prompt
        processor, model = self._model()
        if _has_chat(processor):
            return CHAT_PROMPTS[self._side]
        return TASK_PROMPTS.get(model.config.model_type, "")

    def _model(self) -> tuple[Any, Any]:
        if self._loaded is None:
            self._loaded = _load(self._folder, self._side, self._device)
            try:
                self._check_works(*self._loaded)
            except BadData:
                self._loaded = None
                raise
        return self._loaded

    def _check_works(self, processor: Any, model: Any) -> None:
        """Write two tokens for a plain picture or tone; BadData if that fails."""
        try:
            inputs = self._inputs(processor, [_plain(processor, self._side)])
            list(self._generate(processor, model, inputs, {**self.settings, "max_new_tokens": 2}))
        except BadData:
            raise
        except Exception as error:  # models raise anything for parts that do not fit
            if (lack := out_of_memory(error, str(self._folder), str(model.device))) is not None:
                raise lack from error
            raise BadData(
                f"{self._folder} fails its self-test ({_first_line(error)[:200]}): its tokenizer "
                "or processor may be of another model, or the prompt lacks what the model needs. "
                f"Fetch the checkpoint again, or correct captions.{self._side}_prompt."
            ) from error

    def _decoded(self, processor: Any, items: Sequence[CaptionItem]) -> list[Any]:
        if self._side == "artwork":
            return [_picture(item) for item in items]
        return [_sound(item, _sampling_rate(processor)) for item in items]

    def _inputs(self, processor: Any, media: Sequence[Any]) -> Any:
        kind = "image" if self._side == "artwork" else "audio"
        text = _prompt_text(processor, kind, self.prompt)
        arguments: dict[str, Any] = {"return_tensors": "pt"}
        if text:
            arguments |= {"text": [text] * len(media), "padding": True}
        if kind == "image":
            arguments["images"] = list(media)
        else:
            arguments |= {"audio": list(media), "sampling_rate": _sampling_rate(processor)}
        return processor(**arguments)

    def _generate(
        self, processor: Any, model: Any, inputs: Any, settings: Mapping[str, Any]
    ) -> Iterator[str]:
        import torch

        inputs = inputs.to(model.device)
        for name, values in inputs.items():
            if torch.is_tensor(values) and values.is_floating_point():
                inputs[name] = values.to(model.dtype)
        with torch.inference_mode():
            produced = model.generate(
                **inputs, **settings, logits_processor=[finite_scores(str(self._folder))]
            )
        if _has_chat(processor):  # in other models the prompt begins the caption
            produced = _without_prompt(produced, inputs.get("input_ids"))
        yield from processor.batch_decode(produced, skip_special_tokens=True)


def checkpoint_folder(place: str, key: str) -> Path:
    """The folder of a checkpoint: `place` itself, the hub's cached copy, or a new download."""
    if Path(place).is_dir():
        return Path(place)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    advice = (
        f"fetch it where there is a network (hf download {place} --local-dir FOLDER), "
        f'and write {key} = "transformers:FOLDER".'
    )
    for local_only in (True, False):
        try:
            return Path(
                snapshot_download(place, allow_patterns=_FILES, local_files_only=local_only)
            )
        except HFValidationError as error:
            raise BadUsage(
                f"{place} is neither a folder nor a name on the Hugging Face hub: correct {key}."
            ) from error
        except LocalEntryNotFoundError as error:
            fault: Exception = error
        except (HfHubHTTPError, OSError, ValueError) as error:
            fault = error
    raise BadUsage(
        f"The checkpoint {place} is not on this machine and cannot be fetched: {advice}"
    ) from fault


def checkpoint_version(folder: Path) -> str:
    """A digest of a checkpoint: of its settings, vocabulary and weights."""
    if not (folder / "config.json").is_file():
        raise BadUsage(f"{folder} holds no config.json: it is not a checkpoint of transformers.")
    weights = [(path.name, weights_digest(path)) for path in sorted(folder.glob("*.safetensors"))]
    small = sorted(path for kind in _SMALL_FILES for path in folder.glob(kind) if path.is_file())
    files = [(path.name, sha256_file(path)) for path in small]
    return digest({"files": files, "weights": weights})[:16]


def _load(folder: Path, side: str, device: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoConfig, AutoProcessor
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    chosen = chosen_device(device)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        model_class = _model_class(config, side)
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        if model_class is None or not hasattr(processor, _PREPARES[side]):
            kind = "pictures" if side == "artwork" else "sound"
            raise BadData(f"{folder} is a {config.model_type} model, which cannot describe {kind}.")
        model, found = model_class.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32 if chosen == "cpu" else torch.bfloat16,
            output_loading_info=True,
        )
        model = model.to(chosen).eval()
    except BadData:
        raise
    except Exception as error:  # transformers raises anything for what is damaged or unknown
        if (lack := out_of_memory(error, str(folder), chosen)) is not None:
            raise lack from error
        raise BadData(
            f"{folder} cannot be loaded as a captioner ({_first_line(error)}): "
            "fetch the checkpoint again, or choose one that transformers knows."
        ) from error
    if lacking := sorted(found["missing_keys"]):
        # Transformers would initialise them at random without an error.
        raise BadData(
            f"{folder} lacks {len(lacking)} of the weights of a {config.model_type} model "
            f"({lacking[0]}): fetch the checkpoint again, in the form that transformers uses."
        )
    tokenizer = getattr(processor, "tokenizer", None)
    # Without its vocabulary file a tokenizer still loads, but knows no words.
    if tokenizer is None or len(tokenizer) < SMALLEST_VOCABULARY:
        raise BadData(f"{folder} has no tokenizer with a vocabulary: fetch the checkpoint again.")
    words = getattr(config.get_text_config(), "vocab_size", None)
    if isinstance(words, int) and len(tokenizer) > words:
        raise BadData(
            f"{folder} has a tokenizer of {len(tokenizer):,} tokens for a model of {words:,}: it "
            "is another model's. Fetch the checkpoint again."
        )
    tokenizer.padding_side = "right" if config.is_encoder_decoder else "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return processor, model


_AUTO_CLASSES: Mapping[str, tuple[str, ...]] = {
    "artwork": ("AutoModelForImageTextToText",),
    "track": ("AutoModelForMultimodalLM", "AutoModelForSpeechSeq2Seq", "AutoModelForSeq2SeqLM"),
}
_PREPARES: Mapping[str, str] = {"artwork": "image_processor", "track": "feature_extractor"}


def _model_class(config: Any, side: str) -> Any:
    """The auto class that runs a model of this configuration on this side, or None."""
    import transformers

    for name in _AUTO_CLASSES[side]:
        auto = getattr(transformers, name, None)  # older versions lack the newest ones
        if auto is not None and type(config) in auto._model_mapping:
            return auto
    return None


def chosen_device(device: str) -> str:
    """`device`, or for "auto" this thread's GPU if any; BadUsage if there is no such device."""
    import torch

    if device == "auto":
        return choose_device("auto")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BadUsage(
            f"captions.device = {device!r} is not on this machine: write auto, cpu, cuda or cuda:N."
        ) from error
    return device


def _has_chat(processor: Any) -> bool:
    return getattr(processor, "chat_template", None) is not None


def _prompt_text(processor: Any, kind: str, prompt: str) -> str:
    """The prompt in the model's chat template if it has one, else unchanged."""
    if not _has_chat(processor):
        return prompt
    content = [{"type": kind}, {"type": "text", "text": prompt}]
    text: str = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return text


def _without_prompt(produced: torch.Tensor, prompt: torch.Tensor | None) -> torch.Tensor:
    """Only the new tokens, for models that repeat their input first."""
    import torch

    if prompt is None or produced.shape[1] < prompt.shape[1]:
        return produced
    length = prompt.shape[1]
    return produced[:, length:] if torch.equal(produced[:, :length], prompt) else produced


def _picture(item: CaptionItem) -> Any:
    from PIL import Image

    from artsound.media.images import load_rgb

    return Image.fromarray(load_rgb(item.media.read_bytes(), max_side=MAX_SIDE))


def _sound(item: CaptionItem, rate: int) -> Any:
    from artsound.media.audio import load_mono

    return load_mono(item.media.read_bytes(), sample_rate=rate)


def _sampling_rate(processor: Any) -> int:
    return int(processor.feature_extractor.sampling_rate)


def _plain(processor: Any, side: str) -> Any:
    """A picture of two colours, or a second of a tone, as `_decoded` gives them."""
    import numpy as np
    from PIL import Image

    if side == "artwork":
        picture = Image.new("RGB", (96, 96), (150, 110, 60))
        picture.paste((40, 60, 120), (0, 0, 96, 48))
        return picture
    rate = _sampling_rate(processor)
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.float32)


def finite_scores(weights: str) -> Any:
    """A step of generation that raises BadData where a model's scores are not numbers.

    The likeliest token of such scores is any, and the text looks like one.
    """

    def check(_tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        # −inf forbids a token.
        if bool(scores.isnan().any()) or bool((scores == float("inf")).any()):
            raise BadData(
                f"{weights} gives scores of tokens that are not finite: its weights are damaged, "
                "or need another precision. Fetch the checkpoint again, or choose another one."
            )
        return scores

    return check


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class TransformersPlugin(CaptionerPlugin):
    """Any image-to-text or audio-to-text model of transformers: transformers:NAME-OR-FOLDER."""

    name = "transformers"
    version = "1"
    extra = "models"
    uses_gpu = True

    def downloads(self, argument: str) -> bool:
        """Whether the argument is a name on the Hugging Face hub."""
        return re.fullmatch(r"[\w-]+/[\w.-]+", argument) is not None

    def open(
        self, side: str, argument: str, settings: CaptionSettings, responses: Path
    ) -> Captioner:
        """The captioner of the checkpoint that the argument names."""
        if not argument:
            raise BadUsage(
                f"captions.{side}s = 'transformers' names no checkpoint: write "
                "transformers:NAME-OR-FOLDER."
            )
        captioner = TransformersCaptioner(
            side,
            argument,
            prompt=settings.prompt,
            max_new_tokens=settings.max_new_tokens,
            batch=settings.batch,
            device=settings.device,
        )
        return CachedCaptioner(captioner, responses)
