"""The published AudioLDM 2: found in a folder or on the hub, checked, and opened by module.

A folder is in diffusers' layout: unet/, vae/, vocoder/, language_model/ and scheduler/ have a
config and .safetensors weights each. text_encoder_2/ and tokenizer_2/ encode the constant second
stream when a run starts; generating from a checkpoint does not need them. Aligning pictures with
captions also needs text_encoder/, tokenizer/ and projection_model/.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artsound.encoders.weights import quiet_libraries
from artsound.errors import BadData, BadUsage
from artsound.storage import digest, read_json, sha256_file
from artsound.training.config import Config

if TYPE_CHECKING:
    import torch

MODULES = ("unet", "vae", "vocoder", "language_model", "scheduler")
TEXT = ("text_encoder_2", "tokenizer_2")
CAPTION = ("text_encoder", "tokenizer", "projection_model")
_PATTERNS = tuple(
    f"{module}/{pattern}"
    for module in (*MODULES, *TEXT, *CAPTION)
    for pattern in ("*.json", "*.safetensors", "*.txt", "*.model")
)
_CONFIG = {"scheduler": "scheduler_config.json"}


def find_pretrained(source: str) -> Path:
    """The folder of `source`: a folder, or a hub name, from the cache or downloaded.

    Raises:
        BadUsage: `source` is neither.
        BadData: It is unavailable or lacks a module; the message says what to fetch, and where to.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        lacking = _lacking(folder)
        if lacking:
            raise BadData(
                f"{folder} lacks {lacking}: fetch a whole copy with `hf download "
                f"cvssp/audioldm2-music --local-dir {folder}`."
            )
        return folder
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source):
        raise BadUsage(
            f"{source} is neither a folder nor a name on the hub: say where AudioLDM 2 is with "
            "--pretrained, or fetch it with `hf download cvssp/audioldm2-music --local-dir FOLDER`."
        )
    return _from_hub(source)


def _from_hub(name: str) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    for local in (True, False):
        try:
            folder = Path(
                snapshot_download(name, local_files_only=local, allow_patterns=list(_PATTERNS))
            )
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError):
            continue
        if not _lacking(folder):
            return folder
    raise BadData(
        f"The modules of huggingface.co/{name} are not on this machine and cannot be fetched now: "
        f"run `hf download {name}` where there is a network, which puts them into "
        f"{constants.HF_HUB_CACHE}, or give --pretrained a folder that holds them."
    )


def _lacking(folder: Path) -> str:
    """The first file that is missing from a copy; empty if it is complete."""
    for module in MODULES:
        if not (folder / module / _CONFIG.get(module, "config.json")).is_file():
            return f"{module}/{_CONFIG.get(module, 'config.json')}"
        if module != "scheduler" and not any((folder / module).glob("*.safetensors")):
            return f"{module}/*.safetensors"
    return ""


@lru_cache(maxsize=4)
def pretrained_digest(folder: Path) -> str:
    """A digest of the configs and weights of the modules in `folder`; computed once."""
    files = [
        path
        for module in MODULES
        for path in sorted((folder / module).iterdir())
        if path.name == _CONFIG.get(module, "config.json") or path.suffix == ".safetensors"
    ]
    return digest([[path.relative_to(folder).as_posix(), sha256_file(path)] for path in files])


def with_pretrained(config: Config, source: str | None = None) -> Config:
    """`config` with the shapes, front end and schedule of the modules that `source` names.

    `source` defaults to that of the configuration.

    Raises:
        BadUsage: The configuration uses no published modules.
        BadData: The modules are missing or inconsistent.
    """
    if config.pretrained is None:
        raise BadUsage(f"The preset {config.preset} uses no published modules: leave out the name.")
    chosen = source or config.pretrained.source
    folder = find_pretrained(chosen)
    if Path(chosen).expanduser().is_dir():  # so that any working folder finds it later
        chosen = str(folder.resolve())
    try:
        unet, vae, vocoder, language, schedule = (
            read_json(folder / module / _CONFIG.get(module, "config.json")) for module in MODULES
        )
        factor = 2 ** (len(vae["block_out_channels"]) - 1)
        first, second = _streams(unet["cross_attention_dim"])
        bins, width = vocoder["model_in_dim"], language["n_embd"]
        fits = first == width and unet["in_channels"] == vae["latent_channels"]
        update = {
            "mel": {
                "sample_rate": vocoder["sampling_rate"],
                "hop": prod(vocoder["upsample_rates"]),
                "bins": bins,
            },
            "codec": {
                "cell_frames": factor,
                "bands": bins // factor,
                "channels": vae["latent_channels"],
            },
            "condition": {"width": width, "constant_width": second},
            "diffusion": {
                "steps": schedule["num_train_timesteps"],
                "beta_start": schedule["beta_start"],
                "beta_end": schedule["beta_end"],
                "schedule": schedule["beta_schedule"],
                "prediction": schedule["prediction_type"],
                "zero_terminal_snr": schedule.get("rescale_betas_zero_snr", False),
            },
            "pretrained": {"source": chosen, "digest": pretrained_digest(folder)},
        }
        whole = config.model_dump()
        for section, values in update.items():
            whole[section] |= values
        changed = Config.model_validate(whole)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise BadData(
            f"{folder} is not AudioLDM 2 in diffusers' layout ({error}): fetch it again."
        ) from error
    if not fits:
        raise BadData(f"The modules of {folder} are inconsistent: fetch them again.")
    return changed


def _streams(dims: Any) -> tuple[int, int]:
    """Widths of the first and second stream of a UNet's nested cross_attention_dim."""
    first, second = (width for width in dims[0] if width is not None)
    return first, second


def verified_folder(config: Config) -> Path:
    """The folder of the run's modules; BadData if they are not those of its start."""
    if config.pretrained is None:
        raise BadData("The configuration names no published modules: train again.")
    folder = find_pretrained(config.pretrained.source)
    found = pretrained_digest(folder)
    if found != config.pretrained.digest:
        raise BadData(
            f"{folder} holds other modules ({found[:12]}) than the run began with "
            f"({config.pretrained.digest[:12]}): restore those."
        )
    return folder


def load_module(folder: Path, name: str) -> Any:
    """One frozen module of `folder`, float32, on the CPU, from safetensors only.

    Raises:
        BadData: Its weights are damaged, not finite, or do not match its config.
    """
    from diffusers import AudioLDM2ProjectionModel, AudioLDM2UNet2DConditionModel, AutoencoderKL
    from transformers import ClapModel, GPT2Model, SpeechT5HifiGan, T5EncoderModel

    kinds = {
        "unet": AudioLDM2UNet2DConditionModel,
        "vae": AutoencoderKL,
        "vocoder": SpeechT5HifiGan,
        "language_model": GPT2Model,
        "text_encoder": ClapModel,
        "text_encoder_2": T5EncoderModel,
        "projection_model": AudioLDM2ProjectionModel,
    }
    try:
        with quiet_libraries():
            module, info = kinds[name].from_pretrained(
                folder / name,
                use_safetensors=True,
                output_loading_info=True,
                variant=_variant(folder / name),
            )
    except Exception as error:  # the libraries raise anything for what is damaged or another's
        said = " ".join(str(error).split())[:160] or type(error).__name__
        raise BadData(f"{folder / name} cannot be loaded ({said}): fetch it again.") from error
    missing = [key for key in info["missing_keys"] if not _restored(module, key)]
    # Missing and misshapen weights would otherwise be random.
    if lost := [*missing, *info["mismatched_keys"]]:
        lack = lost[0] if isinstance(lost[0], str) else lost[0][0]
        raise BadData(f"{folder / name} lacks weights ({lack}): fetch it again.")
    if broken := next((n for n, t in module.state_dict().items() if not t.isfinite().all()), None):
        raise BadData(f"{folder / name} is damaged ({broken} is not finite): fetch it again.")
    return module.float().eval().requires_grad_(False)


def _variant(folder: Path) -> str | None:
    """ "fp16" if a module's folder has only weights of that variant, as some copies do."""
    names = [path.name for path in folder.glob("*.safetensors")]
    return "fp16" if names and all(".fp16" in name for name in names) else None


def _restored(module: Any, key: str) -> bool:
    """Set a constant buffer that older versions of transformers did not save; False for others."""
    import torch

    buffer = dict(module.named_buffers()).get(key)
    if buffer is None or buffer.is_floating_point():
        return False
    if key.endswith("token_type_ids"):
        buffer.zero_()
    elif key.endswith("position_ids"):
        buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
    else:
        return False
    return True


def load_tokenizer(folder: Path, name: str) -> Any:
    """A tokenizer of `folder`; BadData if it is missing or broken."""
    from transformers import AutoTokenizer

    try:
        with quiet_libraries():
            return AutoTokenizer.from_pretrained(folder / name, local_files_only=True)
    except Exception as error:  # tokenizers raises nothing more precise
        raise BadData(
            f"{folder / name} is missing or cannot be read: fetch the tokenizer into it."
        ) from error


def check_words(folder: Path, name: str, tokenizer: Any, model: Any) -> None:
    """Raise BadData if a tokenizer has words that the model it is used with has no vectors of."""
    known = model.get_input_embeddings().num_embeddings
    if (words := max(tokenizer.get_vocab().values(), default=0) + 1) > known:
        raise BadData(
            f"{folder / name} has {words:,} tokens, and its model {known:,}: it is another "
            "model's tokenizer. Fetch it again."
        )


def check_modules(config: Config, *, captions: bool = False) -> None:
    """Load all that a new run needs, module by module, so that a fault is found before the work.

    Args:
        config: The settings of a run with published modules.
        captions: Whether pictures are to be aligned with captions too.

    Raises:
        BadData: A module or tokenizer is missing, damaged, not finite or another model's.
    """
    folder = verified_folder(config)
    for name in ("vocoder", "vae", "unet", "language_model"):
        load_module(folder, name)
    if published := config.pretrained:
        constant_stream(folder, published.text, published.text_tokens)
    if captions:
        load_module(folder, "projection_model")
        encoder = load_module(folder, "text_encoder")
        check_words(folder, "tokenizer", load_tokenizer(folder, "tokenizer"), encoder.text_model)


def constant_stream(folder: Path, text: str, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The second stream, the same for every picture: T5 states [1, tokens, W], mask [1, tokens].

    Raises:
        BadData: text_encoder_2 or tokenizer_2 is missing, or has no vocabulary.
    """
    import torch

    tokenizer = load_tokenizer(folder, "tokenizer_2")
    asked = tokenizer(
        text, padding="max_length", max_length=tokens, truncation=True, return_tensors="pt"
    )
    said = set(asked.input_ids[asked.attention_mask.bool()].tolist())
    # Without its vocabulary transformers gives an empty tokenizer instead of an error.
    if said <= set(tokenizer.all_special_ids):
        raise BadData(f"{folder}/tokenizer_2 has no token for {text!r}: fetch it again.")
    encoder = load_module(folder, "text_encoder_2")
    check_words(folder, "tokenizer_2", tokenizer, encoder)
    with torch.inference_mode():
        states = encoder(asked.input_ids, attention_mask=asked.attention_mask).last_hidden_state
    return states.clone(), asked.attention_mask.clone()
