"""Pictures and texts as unit vectors of one space, by OpenCLIP (Ilharco et al. 2021)."""

from __future__ import annotations

import difflib
import os
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
    load_tensors,
    local_file,
    missing,
    quiet_libraries,
    settings_digest,
)
from artsound.errors import BadUsage
from artsound.media.images import load_rgb
from artsound.plugins import refuse_argument

if TYPE_CHECKING:
    from torch import Tensor

_FILES = (".pt", ".pth", ".bin", ".safetensors", ".ckpt")
_OVERSIZE = 4  # pictures are decoded at up to this many times the model's input, then shrunk


class ClipEncoder(EncoderPlugin):
    """Pictures and texts by OpenCLIP, with any of its architectures and published weights."""

    name = "clip"
    version = "1"
    modalities = ("image", "text")
    extra = "models"
    uses_gpu = True

    def downloads(self, settings: EncoderSettings) -> bool:
        """True if the checkpoint is a tag, not a file."""
        return not Path(settings.checkpoint).suffix

    def weights(self, settings: EncoderSettings) -> Path:
        """The file of the weights: a path, or one of OpenCLIP's tags for the architecture.

        Weights of a tag come from the hub's cache or are downloaded into it.

        Raises:
            BadUsage: The architecture or tag is unknown.
            BadData: The weights are missing.
        """
        keys = f"give {settings.section}.clip_model and {settings.section}.clip_checkpoint"
        refuse_argument("encoder", self.name, settings.argument, keys)
        return _find_weights(settings.model, settings.checkpoint, settings.section)

    def digest(self, settings: EncoderSettings) -> str:
        """Of the weights, the architecture and the precision; raises as `weights` does."""
        weights = self.weights(settings)
        return settings_digest(self.name, self.version, settings.model, weights, settings.precision)

    def open(self, settings: EncoderSettings, device: str) -> OpenClip:
        """Load the model on a device.

        Raises:
            BadUsage: As `weights`.
            BadData: As `weights`; or they are broken or of another architecture.
        """
        import open_clip

        model, checkpoint, weights = settings.model, settings.checkpoint, self.weights(settings)
        tag = open_clip.pretrained.get_pretrained_cfg(model, checkpoint)
        if not tag and weights.suffix != ".safetensors":
            load_tensors(weights)  # distinguishes a hostile file from a broken one
        try:
            with quiet_libraries():
                loaded, preprocess = open_clip.create_model_from_pretrained(
                    model,
                    pretrained=checkpoint if tag else str(weights),
                    device=device,
                    # Weights trained with this activation perform worse with another.
                    force_quick_gelu=bool(tag.get("quick_gelu")),
                )
                tokenizer = open_clip.get_tokenizer(model)
        except Exception as error:  # the library raises anything for weights that do not fit
            raise broken(weights, error) from error
        inner = getattr(tokenizer, "tokenizer", None)
        check_vocabulary(
            len(inner) if inner is not None else tokenizer.vocab_size,
            f"of {model}",
            f"fetch {getattr(inner, 'name_or_path', '')} from huggingface.co into the hub's cache",
        )
        return OpenClip(
            loaded.eval(),
            preprocess,
            tokenizer,
            dim=int(open_clip.get_model_config(model)["embed_dim"]),
            digest=self.digest(settings),
            precision=settings.precision,
            device=device,
            batch=settings.batch,
        )


class OpenClip(Encoder):
    """A loaded OpenCLIP model: an Encoder of images and texts."""

    def __init__(
        self,
        model: Any,
        preprocess: Any,
        tokenizer: Any,
        *,
        dim: int,
        digest: str,
        precision: str,
        device: str,
        batch: int,
    ) -> None:
        from torchvision.transforms import Compose

        self.dim, self.digest = dim, digest
        self._model, self._tokenizer = model, tokenizer
        self.device, self._precision, self._batch = device, precision, batch
        # The last two steps convert bytes to float32 and standardise them. On the device this is
        # faster, and a quarter of the data is transferred.
        *shrink, _, self._standardise = preprocess.transforms
        self._shrink = Compose(shrink)
        self._load_side = _OVERSIZE * max(_pair(model.visual.image_size))
        self._threads = decoding_threads(device)

    def images(self, data: Sequence[bytes]) -> np.ndarray:
        """Unit rows float32 [n, dim] of encoded pictures; ItemError if one cannot be decoded.

        They are shrunk and cropped as in the model's training.
        """
        return self._encode(data, self.decode, self.forward)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit rows float32 [n, dim]; a text longer than the model's context is truncated."""
        return self._encode(texts, lambda text: self._tokenizer([text]), self._read)

    def decode(self, data: bytes) -> Tensor:
        """The first step of `images`: one picture as the model's input, uint8 [1, 3, H, W]."""
        from PIL import Image
        from torchvision.transforms.functional import pil_to_tensor

        picture = Image.fromarray(load_rgb(data, max_side=self._load_side))
        return pil_to_tensor(self._shrink(picture))[None]

    def forward(self, rows: Tensor) -> Tensor:
        """The second step: vectors [n, dim] on the device, of any length, of decoded rows."""
        pictures = rows.to(self.device, non_blocking=True).float().div_(255)
        with autocast(self._precision, self.device):
            return self._model.encode_image(self._standardise(pictures))

    def _encode(self, items: Sequence[Any], decode: Any, forward: Any) -> np.ndarray:
        return encode(
            items, decode, forward, dim=self.dim, batch=self._batch, threads=self._threads
        )

    def _read(self, rows: Tensor) -> Tensor:
        with autocast(self._precision, self.device):
            return self._model.encode_text(rows.to(self.device))


def _find_weights(model: str, checkpoint: str, section: str) -> Path:
    import open_clip
    from huggingface_hub import constants

    key = f"{section}.clip_checkpoint"
    known = open_clip.list_models()
    if model not in known:
        near = difflib.get_close_matches(model, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "see open_clip.list_models()."
        raise BadUsage(f"OpenCLIP has no architecture {model!r} ({section}.clip_model): {hint}")
    if Path(checkpoint).is_file():
        return Path(checkpoint)
    source = open_clip.pretrained.get_pretrained_cfg(model, checkpoint)
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not source:
        if os.sep in checkpoint or checkpoint.endswith(_FILES):
            some = f"weights of {model}" + (f" (such as {_repo(model, tags[0])})" if tags else "")
            return local_file(checkpoint, key, some)
        raise BadUsage(
            f"OpenCLIP has no weights {checkpoint!r} for {model} ({key}): give a file"
            + (f" or one of {', '.join(tags)}." if tags else ".")
        )
    try:
        with quiet_libraries():
            return Path(open_clip.pretrained.download_pretrained(source))
    except Exception as error:  # no network, no cache: several libraries' errors
        repo, file = os.path.split(source["hf_hub"])
        raise missing(
            repo, file or "open_clip_model.safetensors", constants.HF_HUB_CACHE, key
        ) from error


def _repo(model: str, tag: str) -> str:
    import open_clip

    source = open_clip.pretrained.get_pretrained_cfg(model, tag).get("hf_hub", "")
    return hub(os.path.split(source)[0]) if source else "its authors"


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
