"""What training reads from a release: for each pair a picture as numbers and music as a latent.

Both are written once as sidecar shards (`write_latents`), or made of the media whenever a pair is
read. Either way the pairs come from the streams of `artsound.shards.stream`, whose state is part of
a checkpoint. What else is random in a step is a pure function of the seed and the step
(`draw_step`). So a run that stops anywhere and continues, on any number of processes, takes the
same steps as one that never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.encoders.descriptors import VERSION as DESCRIPTORS_VERSION
from artsound.encoders.descriptors import as_embedded, measure_wave
from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.media import MediaError
from artsound.progress import QUIET, Progress
from artsound.storage import atomic_write, digest, make_folder, sha256_bytes
from artsound.training.codec import SoundCodec, levelled, training_log_mel
from artsound.training.config import Config, Mel, Optimisation, find_preset
from artsound.training.family import open_family
from artsound.training.pictures import (
    Conditioner,
    PictureEncoder,
    describe_picture,
    fit_conditioner,
    open_picture_encoder,
    with_encoder,
)
from artsound.training.pretrained import with_pretrained
from artsound.untrusted import parse_json, read_array, read_arrays

if TYPE_CHECKING:
    import torch

    from artsound.shards.dataset import Dataset
    from artsound.shards.stream import Loader

FIT_PAIRS = 512  # pairs of the train split that codec and conditioner are fitted to
_CODEC = "codec.npz"
# Threads of this process that read while a step is computed: of a disk, where they decode, and over
# a network, where they wait; and how many batches they are ahead.
_LOCAL_READERS, _FAR_READERS, _AHEAD = 2, 16, 4

Sample = dict[str, Any]


@dataclass(frozen=True)
class Release:
    """The samples of one release of shards, and the digest that names it."""

    digest: str
    data: Dataset

    def pairs(self, split: str) -> Dataset:
        """The pairs of `split`; BadUsage when there is no such split."""
        return self.data.split(split)


def open_release(location: str | Path) -> Release:
    """Open the release in a folder or at an address; BadUsage or BadData if it has no shards."""
    from artsound.shards.dataset import open_pairs
    from artsound.shards.index import read_shard_index

    shards = open_pairs(location)
    return Release(digest(read_shard_index(shards.store)), shards)


def decode_clip(data: bytes, mel: Mel) -> np.ndarray:
    """The log-mel float16 [frames, bins] of an encoded clip, padded with silence to one window."""
    from artsound.media.audio import load_mono

    levels = training_log_mel(load_mono(data, sample_rate=mel.sample_rate), mel)
    least = int(np.ceil(mel.seconds * mel.sample_rate / mel.hop))
    missing = max(0, least - len(levels))
    padded = np.pad(levels, ((0, missing), (0, 0)), constant_values=mel.floor)
    return padded.astype(np.float16)


def decode_pair(
    sample: Sample, mel: Mel, encode: PictureEncoder = describe_picture
) -> tuple[np.ndarray, np.ndarray]:
    """The encoded picture and the log-mel of a raw sample; BadData naming a bad pair."""
    try:
        return encode(sample["jpg"]), decode_clip(sample["mp3"], mel)
    except MediaError as error:
        raise BadData(
            f"Pair {sample['key']} cannot be decoded ({error}): run `artsound verify "
            "--deep` on the shards."
        ) from error


def measure_music(sample: Sample, config: Config) -> np.ndarray | None:
    """Descriptors float32 [20] of a raw sample's clip, for a run with a prior; else None."""
    from artsound.media.audio import load_mono

    if not config.condition.prior:
        return None
    mel = config.mel
    mono = levelled(load_mono(sample["mp3"], sample_rate=mel.sample_rate), mel)
    return as_embedded(measure_wave(mono, mel.sample_rate)[None])[0].astype(np.float32)


@dataclass(frozen=True)
class PairSource:
    """Pairs to train on.

    Attributes:
        data: The samples: pairs, or their sidecars.
        example: Turns a raw sample into a condition float32 [D] and the latent
            [channels, cells, bands] of the whole clip; BadData naming a pair that it cannot.
    """

    data: Dataset
    example: Callable[[Sample], tuple[np.ndarray, np.ndarray]]

    def __len__(self) -> int:
        return len(self.data)

    @property
    def keys(self) -> tuple[str, ...]:
        """The pairs' keys, in the order of the shards."""
        return tuple(map(str, self.data.pointers.keys))

    def read(self, pair: int) -> tuple[np.ndarray, np.ndarray]:
        """Condition and latent of pair `pair`."""
        return self.example(self.data.read(pair))

    def batches(
        self,
        config: Config,
        window: int,
        *,
        batch: int,
        epoch_size: int,
        rank: int = 0,
        ranks: int = 1,
        repeat: bool = False,
    ) -> Loader:
        """Batches of `batch` pairs: key, condition [B, D], latent [B, channels, window, bands].

        Where in its clip a window of `window` cells begins is drawn for each pair and epoch.
        `epoch_size` pairs, a multiple of the batches of all ranks together, make an epoch.
        """

        def example(sample: Sample) -> Sample:
            condition, latent = self.example(sample)
            first = sample["draw"] * (latent.shape[1] - window + 1) >> 64
            cut = latent[:, first : first + window].astype(np.float32)
            return {"key": sample["key"], "condition": condition, "latent": cut}

        stream = self.data.stream(
            batch_size=batch, seed=config.seed, repeat=repeat, epoch_size=epoch_size,
            drop_last=True, rank=rank, ranks=ranks, transform=example,
        )  # fmt: skip
        readers = _LOCAL_READERS if self.data.store.is_local else _FAR_READERS
        return stream.loader(threads=readers, prefetch_factor=_AHEAD)


def pass_size(settings: Optimisation, processes: int) -> int:
    """The pairs of one backward pass of a process; BadUsage when a batch cannot be split so."""
    pieces = settings.accumulate * processes
    if settings.batch % pieces:
        raise BadUsage(
            f"A batch of {settings.batch} cannot be split into {settings.accumulate} passes on "
            f"each of {processes} processes: choose a multiple of {pieces} as optimisation.batch."
        )
    return settings.batch // pieces


def training_batches(source: PairSource, config: Config, window: int, accelerator: Any) -> Loader:
    """This process's batches, one for each backward pass, for ever.

    An epoch has as many pairs as fill whole steps; the next one continues with the rest, so that
    the steps are the same for any number of processes and of passes in a step.
    """
    settings = config.optimisation
    return source.batches(
        config,
        window,
        batch=pass_size(settings, accelerator.num_processes),
        epoch_size=max(1, len(source) // settings.batch) * settings.batch,
        rank=accelerator.process_index,
        ranks=accelerator.num_processes,
        repeat=True,
    )


def rows_of_pass(batch: int, number: int, rank: int, ranks: int) -> slice:
    """The slots of a step that the samples of a rank's pass `number` of `batch` pairs take.

    A stream gives rank r of R every R-th sample of the order, from the r-th on.
    """
    return slice(number * batch * ranks + rank, (number + 1) * batch * ranks, ranks)


@dataclass(frozen=True)
class StepDraw:
    """One step's choices for its `batch` slots, all arrays of length B first."""

    timestep: np.ndarray  # int64 [B]
    keep: np.ndarray  # bool [B]: False drops the picture
    jitter: np.ndarray  # float32 [B, D], unit normal
    noise: np.ndarray  # float32 [B, *latent shape], unit normal


def draw_step(
    config: Config, *, step: int, condition_dim: int, latent: tuple[int, int, int]
) -> StepDraw:
    """The choices of `step` (0, 1, …).

    Timesteps are stratified over the batch (one from each B-th of the schedule, Kingma et al.
    2021), which lowers the loss's variance at no cost.
    """
    batch = config.optimisation.batch
    chance = np.random.default_rng([config.seed, 1, step])
    strata = (chance.permutation(batch) + chance.random(batch)) / batch
    return StepDraw(
        timestep=np.minimum(strata * config.diffusion.steps, config.diffusion.steps - 1).astype(
            np.int64
        ),
        keep=chance.random(batch) >= config.condition.drop,
        jitter=chance.standard_normal((batch, condition_dim), dtype=np.float32),
        noise=chance.standard_normal((batch, *latent), dtype=np.float32),
    )


@dataclass(frozen=True)
class Batch:
    """Tensors of one backward pass, on the device."""

    keys: tuple[str, ...]
    latents: torch.Tensor
    embedding: torch.Tensor
    keep: torch.Tensor
    noise: torch.Tensor
    timestep: torch.Tensor
    target: torch.Tensor | None = None


def make_batch(
    pairs: Mapping[str, Any],
    choice: StepDraw,
    config: Config,
    device: Any,
    rows: slice = slice(None),
    targets: Mapping[str, np.ndarray] | None = None,
) -> Batch:
    """The tensors of a pass.

    Args:
        pairs: A batch of `PairSource.batches`.
        choice: The choices of the step.
        config: The run's settings.
        device: Where the tensors are to be.
        rows: The slots of the step that these pairs take.
        targets: For each key the states [N, W] that its own are aligned with.
    """
    import torch

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    keys = tuple(pairs["key"])
    jitter = tensor(choice.jitter[rows])
    aligned = None if targets is None else np.stack([targets[key] for key in keys])
    return Batch(
        keys,
        pairs["latent"].to(device),
        pairs["condition"].to(device) + config.condition.noise * jitter,
        tensor(choice.keep[rows]),
        tensor(choice.noise[rows]),
        tensor(choice.timestep[rows]),
        None if aligned is None else tensor(aligned.astype(np.float32)),
    )


def fit_on_some(
    pairs: Dataset, config: Config, device: Any = "cpu"
) -> tuple[SoundCodec, Conditioner]:
    """The codec and the conditioner of a run, from FIT_PAIRS pairs, evenly over `pairs`."""
    encode = open_picture_encoder(config.condition, device)
    clips, pictures, music = [], [], []
    for number in _evenly(len(pairs)):
        sample = pairs.read(number)
        picture, clip = decode_pair(sample, config.mel, encode)
        clips.append(clip)
        pictures.append(picture)
        music.append(measure_music(sample, config))
    codec = open_family(config).fit_codec(clips, device)
    return codec, _fitted(config, pictures, music)


def _fitted(
    config: Config, pictures: Sequence[np.ndarray], music: Sequence[np.ndarray | None]
) -> Conditioner:
    known = [row for row in music if row is not None]
    rows = np.array(known, np.float32) if known else None
    return fit_conditioner(config.condition, np.array(pictures, np.float32), rows)


def _evenly(count: int) -> list[int]:
    places = np.linspace(0, count - 1, min(FIT_PAIRS, count)).round()
    return [int(place) for place in np.unique(places)]


def media_source(
    pairs: Dataset,
    config: Config,
    codec: SoundCodec,
    conditioner: Conditioner,
    device: Any,
    *,
    held_out: bool = False,
) -> PairSource:
    """A source that decodes a pair each time it is read; nothing is stored.

    Pairs that are `held_out` have the conditions that generation from their pictures has.
    """
    encode = open_picture_encoder(config.condition, device)

    def example(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        picture, clip = decode_pair(sample, config.mel, encode)
        if held_out:
            given = conditioner.of_pictures(picture)
        else:
            given = conditioner.of_pair(picture, measure_music(sample, config))
        return given, codec.encode(clip.astype(np.float32))

    return PairSource(pairs, example)


def write_latents(
    data: str | Path | Release,
    out: Path,
    *,
    preset: str | Config = "tiny",
    pretrained: str | None = None,
    device: Any = "cpu",
    progress: Progress = QUIET,
) -> int:
    """Write latents and picture embeddings of all pairs as sidecar shards, with their codec.

    `out` becomes a folder of shards of the same names and keys, for `train(latents=out)`, with
    the codec they were made by. An interrupted run continues where it stopped. Raises BadUsage when
    `out` holds latents of other settings, BadData when a pair cannot be decoded.
    """
    from artsound.shards.sidecar import write_sidecar

    config = find_preset(preset) if isinstance(preset, str) else preset
    if pretrained or (config.pretrained and not config.pretrained.digest):
        config = with_pretrained(config, pretrained)
    config = with_encoder(config, config.condition.encoder_digest)
    release = data if isinstance(data, Release) else open_release(data)
    place = make_folder(out) / _CODEC
    if not place.exists():
        fitted, _ = fit_on_some(release.pairs("train"), config, device)
        with atomic_write(place) as file:
            np.savez(file, **fitted.tensors())  # type: ignore[arg-type]
    stored = place.read_bytes()
    codec = open_family(config).open_codec(_arrays(stored, str(place)), device)
    encode = open_picture_encoder(config.condition, device)

    def make(sample: Sample) -> dict[str, np.ndarray]:
        picture, clip = decode_pair(sample, config.mel, encode)
        latent = codec.encode(clip.astype(np.float32))
        music = measure_music(sample, config)
        return {
            "condition": picture,
            "latent": latent.astype(np.float16),
            **({} if music is None else {"music": music}),
        }

    progress.start("latents", len(release.data))
    try:
        settings = _settings(release, config, stored)
        write_sidecar(release.data, out, make, settings=settings, progress=progress)
    finally:
        progress.finish()
    return len(release.data)


@dataclass(frozen=True)
class Latents:
    """A folder of latents, in a folder or at an address, made of a release by some settings."""

    data: Dataset
    codec: SoundCodec
    place: str
    config: Config

    def source(
        self, pairs: Dataset, conditioner: Conditioner, *, held_out: bool = False
    ) -> PairSource:
        """The latents of `pairs`, a split of the release; BadData when a pair has none.

        Pairs that are `held_out` have the conditions that generation from their pictures has.
        """

        def example(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
            picture, latent = _array(sample, "condition"), _array(sample, "latent")
            if held_out:
                return conditioner.of_pictures(picture), latent
            return conditioner.of_pair(picture, self._music(sample)), latent

        return PairSource(self._of(pairs), example)

    def conditioner(self, pairs: Dataset) -> Conditioner:
        """The conditioner fitted to FIT_PAIRS of `pairs`, evenly over them."""
        data = self._of(pairs)
        some = [data.read(n) for n in _evenly(len(data))]
        pictures = [_array(sample, "condition") for sample in some]
        return _fitted(self.config, pictures, [self._music(sample) for sample in some])

    def _music(self, sample: Sample) -> np.ndarray | None:
        return _array(sample, "music") if self.config.condition.prior else None

    def _of(self, pairs: Dataset) -> Dataset:
        rows = self.data.pointers.rows_of(pairs.pointers.keys, self.place)
        return self.data.pick(rows)


def open_latents(
    place: str | Path, release: Release, config: Config, device: Any = "cpu"
) -> Latents:
    """What `write_latents` left; BadUsage when it belongs to other shards or settings."""
    from artsound.shards.dataset import open_shards

    try:
        data = open_shards(place)
        about = parse_json(data.store.read("companion.json"))
        stored = data.store.read(_CODEC)
    except (ArtSoundError, OSError, ValueError) as error:
        raise BadUsage(
            f"{place} holds no latents: make them with `artsound latents --data SHARDS --preset "
            f"{config.preset} --out {place}`."
        ) from error
    made_by = about.get("settings") if isinstance(about, dict) else None
    if not isinstance(made_by, dict) or made_by.get("release") != release.digest:
        raise BadUsage(f"{place} holds latents of another release: make them of these shards.")
    if made_by != _settings(release, config, stored):
        raise BadUsage(
            f"{place} holds latents for other settings than those of {config.preset}: make them "
            "again in another folder."
        )
    codec = open_family(config).open_codec(_arrays(stored, f"{place}/{_CODEC}"), device)
    return Latents(data, codec, str(place), config)


def known_encoder(place: str | Path, config: Config) -> str:
    """The digest of the picture encoder that a folder of latents was made with; empty when it is
    another encoder's, or there are no latents."""
    from artsound.shards.store import open_store

    try:
        about = parse_json(open_store(place).read("companion.json"))
        name, _, found = str(about["settings"]["encoder"]).partition(" ")
    except (ArtSoundError, OSError, ValueError, KeyError, TypeError):
        return ""
    return found if name == config.condition.encoder else ""


def latents_digest(release: Release, config: Config) -> str:
    """The digest of what decides latents, but for the codec that is fitted to the release."""
    return digest(_settings(release, config, b""))


def _settings(release: Release, config: Config, codec: bytes) -> dict[str, Any]:
    """What decides the arrays."""
    # Neither is there at its default, so that latents of before there were families stay valid.
    family = config.model_dump(mode="json", include={"family", "tokens"})
    if config.condition.prior:
        family["music"] = DESCRIPTORS_VERSION
    return family | {
        "release": release.digest,
        "mel": config.mel.model_dump(mode="json"),
        "codec": config.codec.model_dump(mode="json"),
        "modules": config.pretrained.digest if config.pretrained else "",
        "encoder": config.condition.seen_by,
        "fitted": sha256_bytes(codec),
    }


def _arrays(data: bytes, place: str) -> dict[str, np.ndarray]:
    try:
        return read_arrays(data)
    except ValueError as error:
        raise BadData(f"{place} is missing or damaged: make the latents again.") from error


def _array(sample: Sample, name: str) -> np.ndarray:
    try:
        return read_array(sample[f"{name}.npy"])
    except (KeyError, ValueError) as error:
        raise BadData(
            f"The {name} of pair {sample['key']} is missing or damaged: make the latents again."
        ) from error
