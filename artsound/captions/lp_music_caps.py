"""Captions of music from LP-MusicCaps (Doh et al., ISMIR 2023; weights CC BY-NC 4.0).

Its checkpoint is not a model of transformers: a BART whose encoder reads sound. Ten seconds at
16 kHz become 128 mel levels every 10 ms, which six convolutions (all but the first of stride two)
reduce to 32 positions; with a fixed sinusoid added they are BART's input embeddings. It was
fine-tuned on MusicCaps, and writes a few sentences for each ten seconds.

The caption of a clip is that of its middle ten seconds, after the intro and before the fade. The
captions of all windows would repeat the same in more words than a caption may have, and take three
times as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.captions.base import (
    CachedCaptioner,
    Captioner,
    CaptionerPlugin,
    CaptionItem,
    CaptionSettings,
)
from artsound.captions.transformers import chosen_device, finite_scores
from artsound.encoders.weights import fetch, hub, load_tensors
from artsound.errors import BadData, BadUsage
from artsound.schema import Track
from artsound.storage import digest, sha256_file

if TYPE_CHECKING:
    from torch import Tensor

REPO, FILE = "seungheondoh/lp-music-caps", "transfer.pth"
TOKENIZER_REPO, TOKENIZER_FILE = "facebook/bart-base", "tokenizer.json"
SAMPLE_RATE, SECONDS = 16_000, 10.0
LONGEST = 127  # tokens of its training texts, after the first
_KEY = 'captions.tracks = "lp-music-caps:FOLDER"'
_HEAD = 64  # width of an attention head of every BART
_WINDOW, _HOP, _BANDS = 1024, 160, 128  # of the spectrum: samples, samples, mel bands
_STRIDED, _PLACES = 5, 32  # convolutions of stride two; positions for ten seconds
_BART, _AUDIO = "bart.", "audio_encoder."


class LpMusicCaps:
    """Runs the checkpoint `place` (a folder, or a name on the hub; "": the published one).

    A folder has transfer.pth (or one other .pth); tokenizer.json of facebook/bart-base comes from
    the hub if it is not in the folder. Decoding is that of the authors: five beams, no three words
    twice.

    Raises:
        BadUsage: A folder has no checkpoint.
        BadData: A file cannot be downloaded, or is not a part of this model.
    """

    prompt = ""

    def __init__(self, place: str, *, max_new_tokens: int, batch: int, device: str) -> None:
        self._weights, self._tokenizer = _find(place)
        self._batch = batch
        self._device = device
        self._loaded: tuple[Any, Any, Mapping[str, Tensor]] | None = None
        self.name = "lp-music-caps"
        self.version = digest([sha256_file(self._weights), sha256_file(self._tokenizer)])[:16]
        self.settings: Mapping[str, Any] = {
            "max_new_tokens": min(max_new_tokens, LONGEST),
            "min_length": 2,
            "do_sample": False,
            "num_beams": 5,
            "early_stopping": True,
            "no_repeat_ngram_size": 3,
            "forced_bos_token_id": 0,
        }

    def captions(self, items: Sequence[CaptionItem]) -> list[str]:
        """The model's text for each clip, from its middle ten seconds."""
        import torch

        if self._loaded is None:
            self._loaded = _load(self._weights, self._tokenizer, chosen_device(self._device))
        tokenizer, bart, layers = self._loaded
        texts: list[str] = []
        for start in range(0, len(items), self._batch):
            sound = np.stack([middle_window(item) for item in items[start : start + self._batch]])
            with torch.inference_mode():
                inputs = encode_sound(torch.from_numpy(sound).to(bart.device), layers)
                mask = torch.ones(inputs.shape[:2], dtype=torch.long, device=bart.device)
                written = bart.generate(
                    inputs_embeds=inputs,
                    attention_mask=mask,
                    **self.settings,
                    logits_processor=[finite_scores(str(self._weights))],
                )
            texts += tokenizer.decode_batch(written.tolist(), skip_special_tokens=True)
        return texts


def encode_sound(sound: Tensor, layers: Mapping[str, Tensor]) -> Tensor:
    """BART's input embeddings [n, positions, width] of sound float32 [n, samples] at 16 kHz.

    `layers` are the checkpoint's tensors under "audio_encoder.", including its mel filters.
    """
    from torch.nn.functional import conv1d, gelu

    rows = mel_levels(sound, layers)
    rows = gelu(conv1d(rows, layers["conv1.weight"], layers["conv1.bias"], padding=1))
    for number in range(_STRIDED):
        name = f"conv_stack.{number}"
        rows = conv1d(rows, layers[f"{name}.weight"], layers[f"{name}.bias"], stride=2, padding=1)
        rows = gelu(rows)
    return rows.transpose(1, 2) + layers["positional_embedding"]


def mel_levels(sound: Tensor, layers: Mapping[str, Tensor]) -> Tensor:
    """Decibels [n, bands, frames], a frame every 10 ms, of the checkpoint's own mel filters.

    They are computed from the squared real part of the spectrum, not its magnitude, as in the
    checkpoint's training.
    """
    import torch

    window = layers["mel_encoder.spec_fn.window"]
    spectrum = torch.stft(sound, _WINDOW, _HOP, window=window, return_complex=True)
    powers = spectrum.real.square().transpose(1, 2) @ layers["mel_encoder.mel_scale.fb"]
    return 10.0 * torch.log10(powers.clamp(min=1e-10)).transpose(1, 2)


def middle_window(item: CaptionItem) -> np.ndarray:
    """The clip's middle ten seconds, float32 [160000]; a shorter clip is padded with silence."""
    from artsound.media.audio import load_mono

    duration = item.record.duration if isinstance(item.record, Track) else 0.0
    start = max(0.0, (duration - SECONDS) / 2)
    sound = load_mono(
        item.media.read_bytes(), sample_rate=SAMPLE_RATE, start=start, seconds=SECONDS
    )
    window = np.zeros(int(SECONDS * SAMPLE_RATE), np.float32)
    window[: len(sound)] = sound[: len(window)]
    return window


def _find(place: str) -> tuple[Path, Path]:
    """The checkpoint's file and the tokenizer's."""
    from huggingface_hub.errors import HFValidationError

    if place and Path(place).is_dir():
        folder = Path(place)
        found = [folder / FILE] if (folder / FILE).is_file() else sorted(folder.glob("*.pth"))
        if len(found) != 1:
            raise BadUsage(
                f"{folder} has no {FILE}: fetch that file of {hub(REPO)} into it, "
                'or write captions.tracks = "lp-music-caps" where there is a network.'
            )
        tokenizer = folder / TOKENIZER_FILE
        if tokenizer.is_file():
            return found[0], tokenizer
        weights = found[0]
    else:
        try:
            weights = fetch(place or REPO, FILE, _KEY)
        except HFValidationError as error:
            raise BadUsage(
                f"{place} is neither a folder nor a name on the Hugging Face hub: "
                "correct captions.tracks."
            ) from error
    return weights, fetch(TOKENIZER_REPO, TOKENIZER_FILE, _KEY)


def _load(weights: Path, tokenizer: Path, device: str) -> tuple[Any, Any, dict[str, Tensor]]:
    """The tokenizer, the BART and the audio encoder's tensors."""
    from transformers import BartForConditionalGeneration
    from transformers.utils import logging

    logging.set_verbosity_error()
    try:
        tensors = load_tensors(weights)
    except BadData as error:
        raise _unfit(weights, "cannot be read, or holds more than weights") from error
    tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    bart = BartForConditionalGeneration(_bart_config(tensors, weights))
    expected = {_BART + name: tuple(tensor.shape) for name, tensor in bart.state_dict().items()}
    expected |= {_AUDIO + name: shape for name, shape in _audio_shapes(bart.config.d_model).items()}
    if strange := sorted(set(tensors) - set(expected)):
        raise _unfit(weights, f"holds {strange[0]}, which is no part of the model")
    for name, shape in expected.items():
        if name not in tensors:
            raise _unfit(weights, f"lacks {name}")
        if tuple(tensors[name].shape) != shape:
            raise _unfit(weights, f"has {name} in another size than {list(shape)}")
    bart.load_state_dict({name: tensors[_BART + name] for name in bart.state_dict()})
    layers = {
        name.removeprefix(_AUDIO): tensor.float().to(device)
        for name, tensor in tensors.items()
        if name.startswith(_AUDIO)
    }
    return _words(tokenizer, bart.config.vocab_size), bart.to(device).eval(), layers


def _bart_config(tensors: Mapping[str, Tensor], weights: Path) -> Any:
    """The configuration of a BART with these tensors; all else as published."""
    from transformers import BartConfig

    try:
        vocabulary, width = tensors[f"{_BART}model.shared.weight"].shape
        places = len(tensors[f"{_BART}model.encoder.embed_positions.weight"])
        inner = len(tensors[f"{_BART}model.encoder.layers.0.fc1.weight"])
    except KeyError as error:
        raise _unfit(weights, f"lacks {error.args[0]}") from error
    except (ValueError, TypeError) as error:
        raise _unfit(weights, "holds tensors of another shape than BART's") from error
    halves: dict[str, int] = {}
    for half in ("encoder", "decoder"):
        ending = ".fc1.weight"
        names = [n for n in tensors if n.startswith(f"{_BART}model.{half}.") and n.endswith(ending)]
        halves |= {
            f"{half}_layers": len(names),
            f"{half}_attention_heads": max(1, width // _HEAD),
            f"{half}_ffn_dim": inner,
        }
    # Two positions of BART's table are unused.
    return BartConfig(
        vocab_size=vocabulary, d_model=width, max_position_embeddings=max(1, places - 2), **halves
    )


def _audio_shapes(width: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "mel_encoder.spec_fn.window": (_WINDOW,),
        "mel_encoder.mel_scale.fb": (_WINDOW // 2 + 1, _BANDS),
        "conv1.weight": (width, _BANDS, 3),
        "conv1.bias": (width,),
        "positional_embedding": (_PLACES, width),
    }
    for number in range(_STRIDED):
        shapes[f"conv_stack.{number}.weight"] = (width, width, 3)
        shapes[f"conv_stack.{number}.bias"] = (width,)
    return shapes


def _words(tokenizer: Path, vocabulary: int) -> Any:
    from tokenizers import Tokenizer

    remedy = f"fetch {TOKENIZER_FILE} of {hub(TOKENIZER_REPO)} again."
    try:
        words = Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # tokenizers raises nothing more precise
        raise BadData(f"{tokenizer} is not a tokenizer: {remedy}") from error
    if words.get_vocab_size() != vocabulary:
        raise BadData(
            f"{tokenizer} has {words.get_vocab_size()} tokens, but the checkpoint {vocabulary}: "
            f"{remedy}"
        )
    return words


def _unfit(weights: Path, fault: str) -> BadData:
    return BadData(
        f"{weights} is not a checkpoint of LP-MusicCaps: it {fault}: "
        f"fetch {FILE} of {hub(REPO)} again."
    )


class LpMusicCapsPlugin(CaptionerPlugin):
    """LP-MusicCaps (BART with an audio encoder), for music: lp-music-caps[:NAME-OR-FOLDER]."""

    name = "lp-music-caps"
    version = "1"
    sides = ("track",)
    extra = "models"
    uses_gpu = True

    def open(
        self,
        side: str,  # noqa: ARG002 (the protocol)
        argument: str,
        settings: CaptionSettings,
        responses: Path,
    ) -> Captioner:
        """The captioner of the published checkpoint, or of the one that the argument names."""
        captioner = LpMusicCaps(
            argument,
            max_new_tokens=settings.max_new_tokens,
            batch=settings.batch,
            device=settings.device,
        )
        return CachedCaptioner(captioner, responses)
