"""Settings of a run, saved as JSON with every checkpoint, and the presets."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from artsound import plugins
from artsound.errors import BadData, BadUsage
from artsound.media.mel import MelBands
from artsound.recipe import Embed, EncoderName
from artsound.storage import read_json

LEAST_MAGNITUDE = 1e-5  # AudioLDM 2's mels are never smaller
PERCEIVER_HEADS = 4
_FAMILY = "diffusion"  # of presets that name none


_Share = Annotated[float, Field(ge=0, lt=1)]


class _ConfigSection(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Mel(_ConfigSection):
    """Log-mel front end: mono at `sample_rate` Hz, `n_fft`/`hop` in samples, `bins` mel bands.

    `scale` is decibel (dB of full scale) or log_magnitude, which AudioLDM 2 was trained on; see
    `artsound.media.mel.MelBands`. AudioLDM 2's training also scaled every excerpt to a `peak` of
    0.5 (github.com/haoheliu/AudioLDM-training-finetuning, normalize_wav).
    """

    scale: Literal["decibel", "log_magnitude"] = "decibel"
    sample_rate: int = Field(16_000, ge=8_000, le=48_000)
    n_fft: int = Field(1024, ge=256, le=4096)
    hop: int = Field(256, ge=64, le=1024)
    bins: int = Field(64, ge=16, le=256)
    low_hz: float = Field(30.0, ge=0)
    high_hz: float = Field(8_000.0, gt=0)
    floor_db: float = Field(
        -80.0, lt=0, description="quieter than this is silence (dB, full scale)"
    )
    seconds: float = Field(8.192, gt=0.5, le=60, description="length of a training window")
    peak: float = Field(
        0.0,
        ge=0,
        le=1,
        exclude_if=lambda value: not value,
        description="clips are centred and scaled to this largest sample first; 0 keeps levels",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.low_hz < self.high_hz <= self.sample_rate / 2:
            raise ValueError("low_hz must be below high_hz, and that at most half of sample_rate")
        if 2 * self.hop > self.n_fft:  # samples at windows' ends would be in no other window
            raise ValueError("hop must be at most half of n_fft")
        return self

    @property
    def bands(self) -> MelBands:
        """How a clip becomes levels."""
        least = 10 ** (self.floor_db / 20) if self.scale == "decibel" else LEAST_MAGNITUDE
        return MelBands(
            self.n_fft, self.hop, self.bins, self.low_hz, self.high_hz, least, self.scale
        )

    @property
    def floor(self) -> float:
        """The level of silence, in the unit of `scale`."""
        return self.floor_db if self.scale == "decibel" else math.log(LEAST_MAGNITUDE)

    @property
    def ceiling(self) -> float:
        """About the level of the loudest music, in the unit of `scale`; ends colour scales."""
        return 0.0 if self.scale == "decibel" else 2.0


class Codec(_ConfigSection):
    """Mel to latent and back.

    `patch` is a fixed linear map fitted once to the training mels: each cell of `cell_frames`
    frames by bins / `bands` mel bins becomes `channels` numbers.
    """

    kind: Literal["patch", "vae"] = "patch"
    cell_frames: int = Field(16, ge=1, le=64)
    bands: int = Field(1, ge=1, le=16)
    channels: int = Field(64, ge=1, le=256)
    whiten: float = Field(
        0.5, ge=0, le=1, description="0 leaves the channels' spread, 1 makes it equal"
    )
    vocoder_iterations: int = Field(48, ge=1, le=1000)


class Condition(_ConfigSection):
    """Picture to cross-attention tokens.

    `encoder` encodes the picture: measured descriptors (affect), or another encoder of pictures,
    whose weights and settings `encoder_digest` identifies.
    """

    encoder: EncoderName = "affect"
    clip_model: str = Field(
        Embed().clip_model,
        description="OpenCLIP architecture, hf-hub:OWNER/NAME or local-dir:PATH",
    )
    clip_checkpoint: str = Field(
        Embed().clip_checkpoint, description="OpenCLIP weights: file, pretrained tag, or tag@file"
    )
    encoder_digest: str = ""
    tokens: int = Field(4, ge=1, le=16)
    projector: Literal["mlp", "perceiver"] = "mlp"
    width: int = Field(
        64, ge=4, description="width of a token, as the model's first stream requires"
    )
    constant_width: int = Field(64, ge=4, description="width of the constant second stream")
    hidden: int = Field(64, ge=4)
    noise: float = Field(
        0.4,
        ge=0,
        description="spread of the noise added to embeddings (units of "
        "their own spread over the training pictures)",
    )
    drop: float = Field(0.1, ge=0, lt=1, description="share of conditions dropped, for guidance")

    prior: float = Field(
        0.0,
        ge=0,
        exclude_if=lambda value: not value,
        description="above 0 the network is given descriptors of music: in training those of the "
        "clip, in generation those that a ridge regression of this strength predicts from the "
        "picture",
    )

    guidance: float = Field(
        2.0,
        ge=0,
        exclude_if=lambda value: value == 2.0,
        description="weight of the picture in generation, where none is asked for",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.projector == "perceiver" and self.hidden % PERCEIVER_HEADS:
            raise ValueError(f"hidden must be a multiple of {PERCEIVER_HEADS} for a perceiver")
        return self

    @property
    def seen_by(self) -> str:
        """The encoder's name, with its digest if it has weights."""
        return f"{self.encoder} {self.encoder_digest}".strip()


class Diffusion(_ConfigSection):
    """Noise schedule and objective (diffusers' names)."""

    steps: int = Field(1000, ge=10)
    beta_start: float = Field(0.0015, gt=0, lt=1)
    beta_end: float = Field(0.0195, gt=0, lt=1)
    schedule: Literal["scaled_linear", "linear", "squaredcos_cap_v2"] = "scaled_linear"
    prediction: Literal["epsilon", "v_prediction"] = "v_prediction"
    zero_terminal_snr: bool = True
    min_snr_gamma: float = Field(5.0, gt=0)


class Pretrained(_ConfigSection):
    """The published modules that a run uses.

    `source` is a hub name or a folder in diffusers' layout, `digest` identifies the content of its
    modules. All are frozen, except LoRA of rank `lora_rank` on the UNet's cross-attention.
    """

    source: str
    digest: str = ""
    lora_rank: int = Field(0, ge=0, le=256)
    text: str = Field("Music.", min_length=1, description="the text of the second stream")
    text_tokens: int = Field(16, ge=2, le=512)
    states: int = Field(8, ge=1, le=64, description="states that the language model adds")


class Network(_ConfigSection):
    """Shape of the UNet (diffusers' AudioLDM2UNet2DConditionModel); published ones have theirs."""

    blocks: tuple[int, ...] = (96, 128)
    attention: tuple[bool, ...] = (False, True)
    layers: int = Field(1, ge=1)
    heads: int = Field(4, ge=1)
    groups: int = Field(8, ge=1)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.blocks) != len(self.attention) or not self.blocks:
            raise ValueError("blocks and attention need one entry for each level")
        for width in self.blocks:
            if width < 1 or width % self.groups:
                raise ValueError(f"a block of {width} channels is no multiple of groups")
            if width < self.heads:
                raise ValueError(f"a block of {width} channels is smaller than heads")
        return self


class Tokens(_ConfigSection):
    """Of the autoregressive family: the codebooks of a cell, the decoder, and how tokens are drawn.

    The decoder is as wide as a token of the picture (`condition.width`).
    """

    codebooks: int = Field(4, ge=1, le=32)
    entries: int = Field(64, ge=2, le=2048, description="entries of a codebook")
    layers: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    top: int = Field(32, ge=1, description="tokens are drawn from so many likeliest")
    temperature: float = Field(1.0, gt=0)


class Optimisation(_ConfigSection):
    """AdamW, its schedule, precision and threads."""

    steps: int = Field(1000, ge=1, description="default length of a run")
    batch: int = Field(16, ge=1)
    accumulate: int = Field(1, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    betas: tuple[_Share, _Share] = (0.9, 0.99)
    warmup: int = Field(50, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    clip: float = Field(1.0, gt=0)
    ema: float = Field(0.995, ge=0, lt=1)
    mixed_precision: Literal["no", "bf16"] = "no"
    channels_last: bool = False
    compile: bool = Field(False, description="torch.compile the UNet, on a GPU only")
    cpu_threads: int = Field(
        1,
        ge=0,
        description="threads on a CPU, 0 for torch's choice; with one, a run's bytes do not depend "
        "on the number of cores, and a small network is hardly slower",
    )


class Extra(_ConfigSection):
    """Weights of losses beside the diffusion loss; 0 omits one.

    `alignment`: mean squared error between the states from the picture and those that the same
    frozen language model computes from the track's caption (pretrained only). `contrast`: InfoNCE
    (van den Oord et al. 2018) between the mean token of a picture and a summary of its track's
    latent, at `temperature`, within a pass.
    """

    alignment: float = Field(0.0, ge=0)
    contrast: float = Field(0.0, ge=0)
    temperature: float = Field(0.07, gt=0)


class Config(_ConfigSection):
    """Everything that determines a run's weights, apart from the data."""

    preset: str
    plugin: Mapping[str, str] = Field(
        default_factory=dict,
        exclude_if=lambda value: not value,
        description="of a preset from another package: the place of the object, its package and "
        "version",
    )
    family: str = Field(
        _FAMILY,
        exclude_if=lambda value: value == _FAMILY,
        description="the kind of generator: `artsound plugins family` lists them",
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    mel: Mel = Mel()
    codec: Codec = Codec()
    condition: Condition = Condition()
    diffusion: Diffusion = Diffusion()
    network: Network = Network()
    extra: Extra = Extra()
    optimisation: Optimisation = Optimisation()
    pretrained: Pretrained | None = None
    tokens: Tokens | None = Field(None, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.mel.bins % self.codec.bands:
            raise ValueError("mel.bins must be a multiple of codec.bands")
        return self


class PresetPlugin(Protocol):
    """What a preset must have: subclass this, or write a class with the same attributes.

    The first line of its docstring is what `artsound plugins` shows.

    Attributes:
        name: The name that `--preset` takes.
        version: Of the plug-in; text.
        extra: The extra of ArtSound that it needs.
        config: The whole configuration of a run; its `preset` is the name.
    """

    name: str
    version: str
    extra: str = "train"
    config: Config


class TinyPreset(PresetPlugin):
    """A small network on measured descriptors, minutes on a CPU."""

    name = "tiny"
    version = "2"
    config = Config(preset="tiny", condition=Condition(prior=20.0, guidance=4.0))


class TinyMusicgenPreset(PresetPlugin):
    """A small MusicGen decoder with random weights on measured descriptors, minutes on a CPU."""

    name = "tiny-musicgen"
    version = "1"
    config = Config(
        preset="tiny-musicgen",
        family="musicgen",
        tokens=Tokens(),
        optimisation=Optimisation(steps=500, learning_rate=1e-3),
    )


# `base` has the shapes of the published AudioLDM 2 (cvssp/audioldm2-music): its UNet, its two
# streams of 768 and 1024, its latents of 8 x 256 x 16 for 10.24 s, as unet/config.json and
# vae/config.json of huggingface.co/cvssp/audioldm2 (revision c8e7e189) state them. Its weights are
# random, and the latents come from the patch codec, so that nothing has to be downloaded.
class BasePreset(PresetPlugin):
    """The shapes of the published AudioLDM 2 with random weights, for GPUs."""

    name = "base"
    version = "1"
    config = Config(
        preset="base",
        mel=Mel(hop=160, low_hz=0.0, seconds=10.24),
        codec=Codec(cell_frames=4, bands=16, channels=8),
        condition=Condition(tokens=8, width=768, constant_width=1024, hidden=1536),
        network=Network(
            blocks=(128, 256, 384, 640),
            attention=(False, True, True, True),
            layers=2,
            heads=8,
            groups=32,
        ),
        optimisation=Optimisation(
            steps=100_000,
            learning_rate=1e-4,
            betas=(0.9, 0.999),
            warmup=1000,
            ema=0.9999,
            mixed_precision="bf16",
            cpu_threads=0,
        ),
    )


# `audioldm2` uses those published modules. Only the projector from pictures to tokens is trained,
# with the modules' own schedule and objective (scheduler_config.json there). The shapes given here
# are replaced by those of the folder that is used.
class AudioLdm2Preset(PresetPlugin):
    """The published AudioLDM 2: trains the picture's tokens, for GPUs."""

    name = "audioldm2"
    version = "1"
    config = Config(
        preset="audioldm2",
        mel=Mel(scale="log_magnitude", hop=160, low_hz=0.0, seconds=10.24, peak=0.5),
        codec=Codec(kind="vae", cell_frames=4, bands=16, channels=8),
        condition=Condition(tokens=8, width=768, constant_width=1024, hidden=1536),
        diffusion=Diffusion(prediction="epsilon", zero_terminal_snr=False),
        optimisation=Optimisation(
            steps=50_000,
            learning_rate=1e-4,
            betas=(0.9, 0.999),
            warmup=500,
            ema=0.999,
            mixed_precision="bf16",
            channels_last=True,
            cpu_threads=0,
        ),
        pretrained=Pretrained(source="cvssp/audioldm2-music"),
    )


def find_preset(name: str) -> Config:
    """The configuration of the preset called `name`, built-in or of a plug-in.

    Args:
        name: As `artsound plugins preset` lists it, or ``package.module:Object``.

    Returns:
        The configuration; one of a plug-in names its package and version under `plugin`.

    Raises:
        BadUsage: There is no such preset, it takes no argument, or its `config` is not a `Config`.
    """
    plugin, argument = plugins.find("preset", name)
    config = plugin.load().config
    plugins.refuse_argument("preset", plugin.name, argument)
    if not isinstance(config, Config):
        raise BadUsage(
            f"The preset {plugin.name!r} ({plugin.origin}) has a config of type "
            f"{type(config).__name__}, not artsound.training.config.Config: correct the plug-in."
        )
    if plugin.built_in:
        return config
    return config.model_copy(update={"preset": plugin.name, "plugin": plugin.identity()})


def every_setting(section: BaseModel) -> dict[str, Any]:
    """All settings by section and name, those at defaults that files leave out included."""
    return {
        name: every_setting(value) if isinstance(value, BaseModel) else value
        for name, value in section
    }


def with_settings(config: Config, settings: Sequence[str]) -> Config:
    """Change settings of a configuration.

    Args:
        config: The configuration.
        settings: Texts such as "condition.tokens=8"; values that are not JSON are texts.

    Raises:
        BadUsage: A setting is unknown, or a value invalid.
    """
    whole = every_setting(config)
    for setting in settings:
        name, equals, text = setting.partition("=")
        *sections, key = name.split(".")
        place: Any = whole
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not equals or not isinstance(place, dict) or key not in place:
            raise BadUsage(
                f"There is no setting {setting!r}: write one as in condition.tokens=8 or "
                "optimisation.batch=16."
            )
        try:
            place[key] = json.loads(text)
        except ValueError:
            place[key] = text
    try:
        return Config.model_validate(whole)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        why = fault["msg"].removeprefix("Value error, ").rstrip(".")
        given = fault["input"]
        if isinstance(given, dict):  # settings of a section that do not go together
            raise BadUsage(f"{where or 'the settings'} cannot be so: {why}.") from error
        raise BadUsage(f"{where} cannot be {given!r}: {why}.") from error


def read_config(path: Path) -> Config:
    """The configuration saved in a checkpoint.

    Raises:
        BadData: It is missing or broken.
        BadUsage: Its encoder would import a module that is no installed plug-in.
    """
    try:
        config = Config.model_validate(read_json(path))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise BadData(
            f"{path} is not a configuration of this version ({where}: {fault['msg']}): "
            "train again, or use the version that wrote it."
        ) from error
    plugins.refuse_code("encoder", config.condition.encoder, f"condition.encoder of {path}")
    plugins.refuse_code("family", config.family, f"family of {path}")
    return config
