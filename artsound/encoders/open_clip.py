"""Pictures and texts as unit vectors of one space, by OpenCLIP (Ilharco et al. 2021)."""

from __future__ import annotations

import difflib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.encoders.base import Encoder, EncoderPlugin, EncoderSettings
from artsound.encoders.batching import autocast, decoding_threads, encode
from artsound.encoders.weights import (
    broken,
    check_vocabulary,
    fetch,
    hub,
    load_tensors,
    local_file,
    missing,
    quiet_libraries,
    settings_digest,
    weights_digest,
)
from artsound.errors import BadData, BadUsage
from artsound.media.images import load_rgb
from artsound.plugins import refuse_argument
from artsound.storage import digest
from artsound.untrusted import parse_json

if TYPE_CHECKING:
    from torch import Tensor

_FILES = (".pt", ".pth", ".bin", ".safetensors", ".ckpt")
_HUB, _FOLDER = "hf-hub:", "local-dir:"  # OpenCLIP's prefixes of an architecture's name
_CONFIG = "open_clip_config.json"
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
# OpenAI's addresses hold the file's SHA-256, those of OpenCLIP's releases the beginning of it.
_SHA_IN_URL = re.compile(r"/([0-9a-f]{64})/[^/]+$|-([0-9a-f]{8})\.pth?$")
_OVERSIZE = 4  # pictures are decoded at up to this many times the model's input, then shrunk


class ClipEncoder(EncoderPlugin):
    """Pictures and texts by OpenCLIP, with any of its architectures and published weights."""

    name = "clip"
    version = "2"
    modalities = ("image", "text")
    extra = "models"
    uses_gpu = True

    def downloads(self, settings: EncoderSettings) -> bool:
        """True if the weights are named by a tag or a repository, not by a file or folder."""
        if settings.model.startswith(_FOLDER):
            return False
        return settings.model.startswith(_HUB) or not Path(settings.checkpoint).suffix

    def weights(self, settings: EncoderSettings) -> Path:
        """The file of the weights: a path, or one of OpenCLIP's tags for the architecture.

        Weights of a tag come from the hub's cache or are downloaded into it.

        Raises:
            BadUsage: The architecture or tag is unknown, or a file may belong to tags of different
                preprocessing.
            BadData: The weights are missing.
        """
        return self._find(settings).weights

    def digest(self, settings: EncoderSettings) -> str:
        """Of weights, architecture, activation, preprocessing and precision; raises as `weights`.

        So a file and a tag of the same weights have one digest if they have the same preprocessing.
        """
        found = self._find(settings)
        more = [found.preprocess, found.quick_gelu, found.config]
        model = "" if found.config else settings.model
        return settings_digest(
            self.name, self.version, model, found.weights, settings.precision, *more
        )

    def _find(self, settings: EncoderSettings) -> _Weights:
        keys = f"give {settings.section}.clip_model and {settings.section}.clip_checkpoint"
        refuse_argument("encoder", self.name, settings.argument, keys)
        return _find(settings)

    def open(self, settings: EncoderSettings, device: str) -> OpenClip:
        """Load the model on a device.

        Raises:
            BadUsage: As `weights`.
            BadData: As `weights`; or they are broken or of another architecture.
        """
        import open_clip

        found, model = self._find(settings), settings.model
        weights = found.weights
        try:
            with quiet_libraries(), _readable(weights) as readable:
                loaded, preprocess = open_clip.create_model_from_pretrained(
                    model,
                    pretrained=str(readable),
                    device=device,
                    # Weights trained with this activation perform worse with another.
                    force_quick_gelu=found.quick_gelu,
                    **{f"image_{name}": value for name, value in found.preprocess.items()},
                )
                tokenizer = open_clip.get_tokenizer(model)
        except BadData:
            raise
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
            dim=found.dim,
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


@dataclass(frozen=True)
class _Weights:
    """Weights, and the settings that they were trained with.

    Attributes:
        weights: The file.
        preprocess: mean, std, interpolation and resize_mode of the pictures.
        quick_gelu: Whether the activation is QuickGELU.
        dim: The width of a vector.
        config: Digest of the architecture; "" if OpenCLIP knows it by name.
    """

    weights: Path
    preprocess: dict[str, Any]
    quick_gelu: bool
    dim: int
    config: str = ""


def _find(settings: EncoderSettings) -> _Weights:
    model, checkpoint = settings.model, settings.checkpoint
    key = f"{settings.section}.clip_checkpoint"
    if model.startswith((_HUB, _FOLDER)):
        return _of_folder(model, f"{settings.section}.clip_model")
    known = _known_model(model, settings.section)
    tag, _, place = checkpoint.partition("@")
    if Path(checkpoint).is_file() or not place:
        tag, place = "", checkpoint
    else:
        _known_tag(model, tag, key)
    if tag or Path(place).is_file() or os.sep in place or place.endswith(_FILES):
        tags = _tags(model)
        some = f"weights of {model}" + (f" (such as {_repo(tags)})" if tags else "")
        file = local_file(place, key, some)
        return _trained_as(known, tags[tag] if tag else _recognised(file, model, key), file)
    source = _known_tag(model, checkpoint, key)
    return _trained_as(known, source, _downloaded(source, key))


def _known_model(model: str, section: str) -> dict[str, Any]:
    """The configuration of an architecture; BadUsage if OpenCLIP has none of that name."""
    import open_clip

    known = open_clip.list_models()
    if model not in known:
        near = difflib.get_close_matches(model, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "see open_clip.list_models()."
        raise BadUsage(
            f"OpenCLIP has no architecture {model!r} ({section}.clip_model): {hint} A repository "
            f"of the hub is {_HUB}OWNER/NAME, a folder with its files {_FOLDER}PATH."
        )
    config: dict[str, Any] = open_clip.get_model_config(model)
    return config


def _tags(model: str) -> dict[str, dict[str, Any]]:
    """OpenCLIP's tags of weights for an architecture, with what it states of each."""
    import open_clip

    return {
        tag: open_clip.pretrained.get_pretrained_cfg(model, tag)
        for tag in open_clip.list_pretrained_tags_by_model(model)
    }


def _known_tag(model: str, tag: str, key: str) -> dict[str, Any]:
    """What OpenCLIP states of a tag, whose name it also takes with hyphens; BadUsage if unknown."""
    import open_clip

    found: dict[str, Any] = open_clip.pretrained.get_pretrained_cfg(model, tag)
    if not found:
        tags = ", ".join(_tags(model))
        raise BadUsage(
            f"OpenCLIP has no weights {tag!r} for {model} ({key}): give a file"
            + (f", one of {tags}, or TAG@FILE." if tags else ".")
        )
    return found


def _trained_as(model: Mapping[str, Any], tag: Mapping[str, Any], weights: Path) -> _Weights:
    quick = bool(model.get("quick_gelu") or tag.get("quick_gelu"))
    return _Weights(weights, _preprocessing(tag), quick, int(model["embed_dim"]))


def _preprocessing(stated: Mapping[str, Any]) -> dict[str, Any]:
    """How pictures are prepared: as stated, or by OpenCLIP's defaults."""
    from open_clip.transform import PreprocessCfg

    usual = asdict(PreprocessCfg())
    names = ("mean", "std", "interpolation", "resize_mode")
    found = {name: stated.get(name) or usual[name] for name in names}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in found.items()}


def _recognised(file: Path, model: str, key: str) -> dict[str, Any]:
    """The tag that a file holds the weights of, or any tag if all of the architecture agree.

    Preprocessing and activation belong to weights, but no file of weights states them.

    Raises:
        BadUsage: The tags disagree, and the file is of none of them.
    """
    tags = _tags(model)
    if (
        len({digest([_preprocessing(tag), bool(tag.get("quick_gelu"))]) for tag in tags.values()})
        < 2
    ):
        return next(iter(tags.values()), {})
    for tag in tags.values():
        if _is_of(tag, file):
            return tag
    raise BadUsage(
        f"{file} is weights of {model}, whose preprocessing and activation differ from tag to tag, "
        f"and the file does not state its own: give {key} as TAG@{file}, with the tag that these "
        f"weights are of or were trained from: {', '.join(tags)}."
    )


def _is_of(tag: Mapping[str, Any], file: Path) -> bool:
    """Whether a file is the published one of a tag: by SHA-256, or by its place in a cache."""
    from huggingface_hub import try_to_load_from_cache

    sha, url = weights_digest(file), tag.get("url", "")
    if (match := _SHA_IN_URL.search(url)) and sha.startswith(match[1] or match[2]):
        return True
    repo, name = os.path.split(tag.get("hf_hub", ""))
    if not repo:
        return False
    if "models--" + repo.replace("/", "--") in file.absolute().parts:
        return True
    for each in [name] if name else _HUB_FILES:
        cached = try_to_load_from_cache(repo, each)
        if isinstance(cached, str) and weights_digest(Path(cached)) == sha:
            return True
    return False


def _downloaded(source: Mapping[str, Any], key: str) -> Path:
    """The file of a tag, from the hub's cache or downloaded into it; BadData if unavailable."""
    import open_clip
    from huggingface_hub import constants

    try:
        with quiet_libraries():
            return Path(open_clip.pretrained.download_pretrained(source))
    except Exception as error:  # no network, no cache: several libraries' errors
        repo, file = os.path.split(source["hf_hub"])
        raise missing(repo, file or _HUB_FILES[0], constants.HF_HUB_CACHE, key) from error


def _of_folder(model: str, key: str) -> _Weights:
    """Weights with a configuration of their own: a repository of the hub, or a folder like one."""
    if model.startswith(_HUB):
        repo = model.removeprefix(_HUB)
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
            raise BadUsage(f"{model} ({key}) is no repository: give {_HUB}OWNER/NAME.")
        config = fetch(repo, _CONFIG, key)
        weights = _hub_weights(repo, key)
    else:
        folder = Path(model.removeprefix(_FOLDER))
        config = folder / _CONFIG
        files = [folder / name for name in _HUB_FILES if (folder / name).is_file()]
        if not config.is_file() or not files:
            lacking = _CONFIG if not config.is_file() else " or ".join(_HUB_FILES)
            raise BadData(f"{folder} ({key}) has no {lacking}: fetch all files of its repository.")
        weights = files[0]
    try:
        content = parse_json(config.read_bytes())
        model_cfg = content["model_cfg"]
        quick, dim = bool(model_cfg.get("quick_gelu")), int(model_cfg["embed_dim"])
        preprocess = _preprocessing(content.get("preprocess_cfg") or {})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadData(
            f"{config} is not a configuration of OpenCLIP: fetch it again, or choose a repository "
            "that OpenCLIP's documentation lists."
        ) from error
    return _Weights(weights, preprocess, quick, dim, digest(model_cfg))


def _hub_weights(repo: str, key: str) -> Path:
    """The weights of a repository, in one of OpenCLIP's file names; BadData if unavailable."""
    import open_clip
    from huggingface_hub import constants

    try:
        with quiet_libraries():
            return Path(open_clip.pretrained.download_pretrained_from_hf(repo))
    except Exception as error:  # no network, no cache: several libraries' errors
        raise missing(repo, _HUB_FILES[0], constants.HF_HUB_CACHE, key) from error


@contextmanager
def _readable(weights: Path) -> Iterator[Path]:
    """A file of the weights that OpenCLIP reads whatever the protocol of a pickle was."""
    if weights.suffix in (".npz", ".npy"):
        yield weights
        return
    from safetensors.torch import save_file

    tensors = load_tensors(weights)
    if weights.suffix == ".safetensors":
        del tensors  # whole, and read by OpenCLIP as it is
        yield weights
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "weights.safetensors"
        # Tensors that share their memory cannot be saved.
        save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, copy)
        del tensors
        yield copy


def _repo(tags: Mapping[str, Mapping[str, Any]]) -> str:
    source = next(iter(tags.values())).get("hf_hub", "")
    return hub(os.path.split(source)[0]) if source else "its authors"


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
