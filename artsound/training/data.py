"""Training data: pictures as embeddings and music as log-mels or latents.

A run reads its pairs from memory (`load_examples`, cached on disk), from latents in sidecar shards
(`write_latents`), or decodes them at each step. A step's pairs, windows and noise are a pure
function of the seed and the step (`draw_step`), so a run that is interrupted and resumed, on any
number of processes, takes the same steps as an uninterrupted one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from artsound.encoders.descriptors import descriptor_names
from artsound.errors import BadData, BadUsage
from artsound.media import MediaError
from artsound.progress import QUIET, Progress
from artsound.storage import atomic_write, digest, make_folder, read_json, sha256_file
from artsound.training.codec import SoundCodec, make_codec, open_codec, training_log_mel
from artsound.training.config import Config, Mel, find_preset
from artsound.training.pictures import (
    PictureEncoder,
    Standardiser,
    describe_picture,
    fit_standardiser,
    open_picture_encoder,
    with_encoder,
)
from artsound.training.pretrained import with_pretrained
from artsound.untrusted import read_array, read_arrays

if TYPE_CHECKING:
    import torch


CACHE_VERSION = 1


class Pairs(Protocol):
    """A set of pairs in a fixed order (artsound.shards.dataset.Dataset is one)."""

    def __len__(self) -> int: ...

    def read(self, position: int, /) -> dict[str, Any]:
        """key str, jpg bytes, mp3 bytes, json dict of pair `position`."""
        ...


@dataclass(frozen=True)
class Release:
    """The splits of a release of shards, and its digest."""

    digest: str
    splits: Mapping[str, Pairs]

    def pairs(self, split: str) -> Pairs:
        """The pairs of `split`; BadUsage if there is no such split."""
        if split not in self.splits:
            raise BadUsage(f"There is no split {split!r}: choose one of {', '.join(self.splits)}.")
        return self.splits[split]


def open_release(location: str | Path) -> Release:
    """Open the release in a folder or at an address; BadUsage or BadData if it has no shards."""
    from artsound.shards.dataset import open_pairs
    from artsound.shards.index import read_shard_index

    shards = open_pairs(location)
    splits = {name: shards.split(name) for name in ("train", "val", "test")}
    return Release(digest(read_shard_index(shards.store)), splits)


@dataclass(frozen=True)
class Examples:
    """Pairs ready to train on: keys [n], pictures float32 [n, D], log-mels [frames, bins]."""

    keys: tuple[str, ...]
    pictures: np.ndarray
    clips: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.keys)


def load_examples(
    release: Release,
    split: str,
    config: Config,
    *,
    cache: Path | None = None,
    device: Any = "cpu",
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Examples:
    """Decode every pair of a split; short clips are padded with silence to a training window.

    Args:
        release: The release.
        split: The name of a split.
        config: Its encoder embeds the pictures.
        cache: A folder in which the result is stored, under a digest of the release, the encoder
            and the front end, and from which it is read the next time; None: no cache.
        device: Of the picture encoder.
        progress: Called with the number of pairs done and of all pairs.

    Raises:
        BadData: A pair's media cannot be decoded.
    """
    pairs = release.pairs(split)
    path = None
    if cache is not None:
        inputs = {
            "release": release.digest,
            "split": split,
            "mel": config.mel.model_dump(),
            "fields": descriptor_names("artwork"),
            "encoder": config.condition.seen_by,
            "version": CACHE_VERSION,
        }
        path = cache / f"{split}-{digest(inputs)[:16]}.npz"
        if (cached := _read_cache(path)) is not None:
            return cached
    encode = open_picture_encoder(config.condition, device)
    keys, pictures, clips = [], [], []
    with ThreadPoolExecutor(max_workers=2) as pool:  # decoders release the interpreter lock
        for index, example in enumerate(
            pool.map(lambda i: decode_pair(pairs.read(i), config.mel, encode), range(len(pairs)))
        ):
            keys.append(example[0])
            pictures.append(example[1])
            clips.append(example[2])
            progress(index + 1, len(pairs))
    examples = Examples(tuple(keys), np.array(pictures, np.float32), tuple(clips))
    if path is not None:
        _write_cache(path, examples)
    return examples


def decode_clip(data: bytes, mel: Mel) -> np.ndarray:
    """The log-mel float16 [frames, bins] of an encoded clip, padded with silence to one window."""
    from artsound.media.audio import load_mono

    levels = training_log_mel(load_mono(data, sample_rate=mel.sample_rate), mel)
    least = int(np.ceil(mel.seconds * mel.sample_rate / mel.hop))
    missing = max(0, least - len(levels))
    padded = np.pad(levels, ((0, missing), (0, 0)), constant_values=mel.floor)
    return padded.astype(np.float16)


def decode_pair(
    sample: dict[str, Any], mel: Mel, encode: PictureEncoder = describe_picture
) -> tuple[str, np.ndarray, np.ndarray]:
    """Key, picture embedding and log-mel of a raw sample; BadData names a pair that fails."""
    try:
        return sample["key"], encode(sample["jpg"]), decode_clip(sample["mp3"], mel)
    except MediaError as error:
        raise BadData(
            f"Pair {sample['key']} cannot be decoded ({error}): run `artsound verify "
            "--deep` on the shards."
        ) from error


def _write_cache(path: Path, examples: Examples) -> None:
    lengths = np.array([len(clip) for clip in examples.clips])
    with atomic_write(path) as file:
        np.savez(
            file,
            keys=np.frombuffer(json.dumps(examples.keys).encode(), np.uint8),
            pictures=examples.pictures,
            lengths=lengths,
            clips=np.concatenate(examples.clips) if len(lengths) else np.zeros((0, 1), np.float16),
        )


def _read_cache(path: Path) -> Examples | None:
    """The result of an earlier run; None if it is missing or incomplete."""
    try:
        stored = read_arrays(path)
        keys = json.loads(stored["keys"].tobytes())
        ends = np.cumsum(stored["lengths"])
        clips = np.split(stored["clips"], ends[:-1]) if len(ends) else []
        return Examples(tuple(keys), stored["pictures"], tuple(clips))
    except (OSError, ValueError, KeyError):
        return None


class PairSource(Protocol):
    """Training pairs: their keys, standardised conditions [D] and clips' latents."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The pairs' keys, in their order."""
        ...

    def read(self, pair: int, /) -> tuple[np.ndarray, np.ndarray]:
        """Condition float32 [D] and latent float32 [channels, cells, bands] of pair `pair`."""
        ...


@dataclass(frozen=True)
class Prepared:
    """A PairSource in memory: keys, standardised conditions [n, D], latents of whole clips."""

    keys: tuple[str, ...]
    conditions: np.ndarray
    latents: Sequence[np.ndarray]

    def read(self, pair: int, /) -> tuple[np.ndarray, np.ndarray]:
        """Condition and latent of pair `pair`."""
        return self.conditions[pair], self.latents[pair]


@dataclass(frozen=True)
class Batch:
    """Tensors of one step, on the device."""

    keys: tuple[str, ...]
    latents: torch.Tensor
    embedding: torch.Tensor
    keep: torch.Tensor
    noise: torch.Tensor
    timestep: torch.Tensor
    target: torch.Tensor | None = None


def prepare_pairs(examples: Examples, codec: SoundCodec, standardise: Standardiser) -> Prepared:
    """Examples with latents, computed once, in the form that the loop reads."""
    latents = tuple(codec.encode(clip.astype(np.float32)) for clip in examples.clips)
    return Prepared(examples.keys, standardise(examples.pictures), latents)


def make_batch(
    source: PairSource,
    choice: StepDraw,
    config: Config,
    window: int,
    device: Any,
    rows: slice,
    targets: np.ndarray | None = None,
) -> Batch:
    """The tensors of `rows` of a draw.

    `window` is the number of cells, `targets` [n, N, W] the states to align each pair's with.
    """
    import torch

    pairs = choice.pairs[rows]
    cuts, conditions = [], []
    for pair, start in zip(pairs, choice.starts[rows], strict=True):
        condition, latent = source.read(int(pair))
        first = int(start * (latent.shape[1] - window + 1))
        cuts.append(latent[:, first : first + window])
        conditions.append(condition)
    embedding = np.stack(conditions) + config.condition.noise * choice.jitter[rows]

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    return Batch(
        tuple(source.keys[pair] for pair in pairs),
        tensor(np.stack(cuts)),
        tensor(embedding),
        tensor(choice.keep[rows]),
        tensor(choice.noise[rows]),
        tensor(choice.timestep[rows]),
        None if targets is None else tensor(targets[pairs].astype(np.float32)),
    )


def split_evenly(batch: int, accumulate: int, accelerator: Any) -> Iterator[slice]:
    """This process's rows of a step's batch, one slice for each backward pass."""
    pieces = accumulate * accelerator.num_processes
    if batch % pieces:
        raise BadUsage(
            f"A batch of {batch} cannot be split into {accumulate} passes on each of "
            f"{accelerator.num_processes} processes: choose a multiple of {pieces} as "
            "optimisation.batch."
        )
    size = batch // pieces
    first = accelerator.process_index * accumulate
    for piece in range(first, first + accumulate):
        yield slice(piece * size, (piece + 1) * size)


@dataclass(frozen=True)
class StepDraw:
    """The random choices of one step; the first dimension of all arrays is the batch size B."""

    pairs: np.ndarray  # int64 [B]
    starts: np.ndarray  # float64 [B] in 0..1: the place of the window in the clip
    timestep: np.ndarray  # int64 [B]
    keep: np.ndarray  # bool [B]: False drops the picture
    jitter: np.ndarray  # float32 [B, D], unit normal
    noise: np.ndarray  # float32 [B, *latent shape], unit normal


def draw_step(
    config: Config, *, step: int, pairs: int, condition_dim: int, latent: tuple[int, int, int]
) -> StepDraw:
    """The random choices of `step` (0, 1, …).

    Every epoch is a permutation of the pairs. Timesteps are stratified over the batch (one from
    each B-th of the schedule, Kingma et al. 2021), which lowers the variance of the loss.
    """
    batch = config.optimisation.batch
    chance = np.random.default_rng([config.seed, 1, step])
    places = np.arange(step * batch, (step + 1) * batch)
    strata = (chance.permutation(batch) + chance.random(batch)) / batch
    return StepDraw(
        pairs=np.array([_permutation(config.seed, p // pairs, pairs)[p % pairs] for p in places]),
        starts=chance.random(batch),
        timestep=np.minimum(strata * config.diffusion.steps, config.diffusion.steps - 1).astype(
            np.int64
        ),
        keep=chance.random(batch) >= config.condition.drop,
        jitter=chance.standard_normal((batch, condition_dim), dtype=np.float32),
        noise=chance.standard_normal((batch, *latent), dtype=np.float32),
    )


def _permutation(seed: int, epoch: int, pairs: int) -> np.ndarray:
    return np.random.default_rng([seed, 0, epoch]).permutation(pairs)


FIT_PAIRS = 512  # pairs of the train split that codec and standardiser are fitted to
_CODEC = "codec.npz"


@dataclass(frozen=True)
class OnTheFly:
    """A PairSource that decodes a pair each time it is read; nothing is stored."""

    pairs: Pairs
    config: Config
    codec: SoundCodec
    standardise: Standardiser
    encode: PictureEncoder = describe_picture

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The pairs' keys, in their order."""
        return keys_of(self.pairs)

    def read(self, pair: int, /) -> tuple[np.ndarray, np.ndarray]:
        """Condition and latent of pair `pair`; BadData if it cannot be decoded."""
        _, picture, clip = decode_pair(self.pairs.read(pair), self.config.mel, self.encode)
        return self.standardise(picture), self.codec.encode(clip.astype(np.float32))


@dataclass(frozen=True)
class Ready:
    """A PairSource that reads sidecar shards of `write_latents`."""

    keys: tuple[str, ...]
    arrays: Pairs
    places: np.ndarray
    standardise: Callable[[np.ndarray], np.ndarray]

    def read(self, pair: int, /) -> tuple[np.ndarray, np.ndarray]:
        """Condition and latent of pair `pair`; BadData if they cannot be read."""
        sample = self.arrays.read(int(self.places[pair]))
        latent = _array(sample, "latent").astype(np.float32)
        return self.standardise(_array(sample, "condition")), latent


def keys_of(pairs: Pairs) -> tuple[str, ...]:
    """The keys of pairs in their order; from the index, if there is one, without the media."""
    frame = getattr(pairs, "frame", None)
    if frame is not None:
        return tuple(frame["key"].to_list())
    return tuple(pairs.read(position)["key"] for position in range(len(pairs)))


def fit_on_some(
    pairs: Pairs, config: Config, device: Any = "cpu"
) -> tuple[SoundCodec, Standardiser]:
    """Fit codec and standardiser to FIT_PAIRS pairs, evenly chosen, for a run without all."""
    places = np.unique(np.linspace(0, len(pairs) - 1, min(FIT_PAIRS, len(pairs))).round())
    encode = open_picture_encoder(config.condition, device)
    some = [decode_pair(pairs.read(int(place)), config.mel, encode) for place in places]
    codec = make_codec(config, [clip for _, _, clip in some], device)
    return codec, fit_standardiser(np.array([picture for _, picture, _ in some], np.float32))


def write_latents(
    data: str | Path,
    out: Path,
    *,
    preset: str | Config = "tiny",
    pretrained: str | None = None,
    device: Any = "cpu",
    progress: Progress = QUIET,
) -> int:
    """Write latents and picture embeddings of all pairs as sidecar shards, with their codec.

    An interrupted run is continued by the same call.

    Args:
        data: A release of shards.
        out: A folder for shards of the same names and keys, for `train(latents=out)`.
        preset: A name or a whole configuration.
        pretrained: The published modules, as for `train`.
        device: Of the encoder and the codec.
        progress: Counts the pairs.

    Returns:
        The number of pairs.

    Raises:
        BadUsage: `out` has latents of other settings.
        BadData: A pair cannot be decoded.
    """
    from artsound.shards.dataset import open_shards
    from artsound.shards.sidecar import write_sidecar

    config = find_preset(preset) if isinstance(preset, str) else preset
    if config.pretrained or pretrained:
        config = with_pretrained(config, pretrained)
    config = with_encoder(config)
    release, shards = open_release(data), open_shards(data)
    place = make_folder(out) / _CODEC
    if place.exists():
        codec = open_codec(config, _read_arrays(place), device)
    else:
        codec, _ = fit_on_some(release.pairs("train"), config, device)
        with atomic_write(place) as file:
            np.savez(file, **codec.tensors())  # type: ignore[arg-type]

    encode = open_picture_encoder(config.condition, device)

    def make(sample: dict[str, Any]) -> dict[str, np.ndarray]:
        _, picture, clip = decode_pair(sample, config.mel, encode)
        progress.advance(1)
        latent = codec.encode(clip.astype(np.float32))
        return {"condition": picture, "latent": latent.astype(np.float16)}

    progress.start("latents", len(shards))
    try:
        write_sidecar(shards, out, make, settings=_settings(release, config, place))
    finally:
        progress.finish()
    return len(shards)


def open_latents(folder: Path, release: Release, config: Config, device: Any = "cpu") -> SoundCodec:
    """The codec of a folder of latents; BadUsage if they are of other shards or settings."""
    if not (folder / "companion.json").is_file():
        raise BadUsage(
            f"{folder} has no latents: make them with `artsound latents --data SHARDS --preset "
            f"{config.preset} --out {folder}`."
        )
    about = read_json(folder / "companion.json")
    stored = about.get("settings") if isinstance(about, dict) else None
    expected = _settings(release, config, folder / _CODEC)
    if not isinstance(stored, dict) or stored.get("release") != release.digest:
        raise BadUsage(f"{folder} has latents of another release: make them from these shards.")
    if stored != expected:
        raise BadUsage(
            f"{folder} has latents of other settings than those of {config.preset}: make them "
            "again in another folder."
        )
    return open_codec(config, _read_arrays(folder / _CODEC), device)


def known_encoder(folder: Path, config: Config) -> str:
    """The digest of the picture encoder of a folder of latents.

    Empty if they are of another encoder than the configuration's, or missing.
    """
    place = folder / "companion.json"
    about = read_json(place) if place.is_file() else None
    stored = about.get("settings") if isinstance(about, dict) else None
    name, _, found = str(stored.get("encoder") if isinstance(stored, dict) else "").partition(" ")
    return found if name == config.condition.encoder else ""


def ready(
    folder: Path, release: Release, split: str, standardise: Standardiser | None = None
) -> tuple[Ready, Standardiser]:
    """The latents of `split`; without `standardise` it is fitted to FIT_PAIRS of them.

    Raises:
        BadData: A pair of the split has no latent.
    """
    from artsound.shards.dataset import open_shards

    arrays = open_shards(folder)
    keys = keys_of(release.pairs(split))
    at = {key: place for place, key in enumerate(keys_of(arrays))}
    missing = next((key for key in keys if key not in at), None)
    if missing is not None:
        raise BadData(f"{folder} has no latent of pair {missing}: run `artsound latents` again.")
    places = np.array([at[key] for key in keys], dtype=np.int64)
    if standardise is None:
        some = np.unique(np.linspace(0, len(keys) - 1, min(FIT_PAIRS, len(keys))).round())
        conditions = [_array(arrays.read(int(places[int(n)])), "condition") for n in some]
        standardise = fit_standardiser(np.array(conditions, np.float32))
    return Ready(keys, arrays, places, standardise), standardise


def _settings(release: Release, config: Config, codec: Path) -> dict[str, Any]:
    """Everything that determines the latents."""
    return {
        "release": release.digest,
        "mel": config.mel.model_dump(mode="json"),
        "codec": config.codec.model_dump(mode="json"),
        "modules": config.pretrained.digest if config.pretrained else "",
        "encoder": config.condition.seen_by,
        "fitted": sha256_file(codec) if codec.is_file() else digest(None),
    }


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_arrays(path)
    except (OSError, ValueError) as error:
        raise BadData(f"{path} is missing or damaged: make the latents again.") from error


def _array(sample: dict[str, Any], name: str) -> np.ndarray:
    try:
        return read_array(sample[f"{name}.npy"])
    except (KeyError, ValueError) as error:
        raise BadData(
            f"The {name} of pair {sample['key']} is missing or damaged: make the latents again."
        ) from error
