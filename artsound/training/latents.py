"""Latents that are not in memory: made ready beside the shards, or decoded when they are wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from artsound.errors import BadData, BadUsage
from artsound.readers import read_array, read_arrays
from artsound.stage import QUIET, Progress
from artsound.storage import atomic_write, digest, make_folder, read_json, sha256_file
from artsound.training.codec import SoundCodec, make_codec, open_codec
from artsound.training.conditioning import Standardiser, describe_picture, fit_standardiser
from artsound.training.config import Config, find_preset
from artsound.training.data import Pairs, Release, decode_pair, open_release
from artsound.training.pretrained import with_pretrained
from artsound.training.visual import See, open_eye, with_encoder

FIT_PAIRS = 512  # pairs of the train split that codec and standardiser are fitted to
_CODEC = "codec.npz"


@dataclass(frozen=True)
class OnTheFly:
    """A Source that decodes a pair each time it is read; nothing is kept."""

    pairs: Pairs
    config: Config
    codec: SoundCodec
    standardise: Standardiser
    see: See = describe_picture

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The pairs' keys, in their order."""
        return keys_of(self.pairs)

    def read(self, pair: int, /) -> tuple[np.ndarray, np.ndarray]:
        """Condition and latent of pair `pair`; BadData when it cannot be decoded."""
        _, picture, clip = decode_pair(self.pairs.read(pair), self.config.mel, self.see)
        return self.standardise(picture), self.codec.encode(clip.astype(np.float32))


@dataclass(frozen=True)
class Ready:
    """A Source that reads what `write_latents` left: [condition, latent] of a pair at a time."""

    keys: tuple[str, ...]
    arrays: Pairs
    places: np.ndarray
    standardise: Callable[[np.ndarray], np.ndarray]

    def read(self, pair: int, /) -> tuple[np.ndarray, np.ndarray]:
        """Condition and latent of pair `pair`; BadData when they cannot be read."""
        sample = self.arrays.read(int(self.places[pair]))
        latent = _array(sample, "latent").astype(np.float32)
        return self.standardise(_array(sample, "condition")), latent


def keys_of(pairs: Pairs) -> tuple[str, ...]:
    """The keys of pairs in their order: from the index where there is one, no media is read."""
    frame = getattr(pairs, "frame", None)
    if frame is not None:
        return tuple(frame["key"].to_list())
    return tuple(pairs.read(position)["key"] for position in range(len(pairs)))


def fit_on_some(
    pairs: Pairs, config: Config, device: Any = "cpu"
) -> tuple[SoundCodec, Standardiser]:
    """Codec and standardiser of a run that does not hold all pairs: from FIT_PAIRS, evenly."""
    places = np.unique(np.linspace(0, len(pairs) - 1, min(FIT_PAIRS, len(pairs))).round())
    see = open_eye(config.condition, device)
    some = [decode_pair(pairs.read(int(place)), config.mel, see) for place in places]
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
    """Write latents and picture embeddings of all pairs beside the shards `data`; their number.

    `out` becomes a folder of shards of the same names and keys, for `train(latents=out)`, with
    the codec they were made by. A run cut off goes on where it stopped. Raises BadUsage when `out`
    holds latents of other settings, BadData when a pair cannot be decoded.
    """
    from artsound.shards.companion import write_companion
    from artsound.shards.read import open_shards

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

    see = open_eye(config.condition, device)

    def make(sample: dict[str, Any]) -> dict[str, np.ndarray]:
        _, picture, clip = decode_pair(sample, config.mel, see)
        progress.advance(1)
        latent = codec.encode(clip.astype(np.float32))
        return {"condition": picture, "latent": latent.astype(np.float16)}

    progress.start("latents", len(shards))
    try:
        write_companion(shards, out, make, settings=_settings(release, config, place))
    finally:
        progress.finish()
    return len(shards)


def open_latents(folder: Path, release: Release, config: Config, device: Any = "cpu") -> SoundCodec:
    """The codec of a folder of latents; BadUsage when they belong to other shards or settings."""
    if not (folder / "companion.json").is_file():
        raise BadUsage(
            f"{folder} holds no latents: make them with `artsound latents --data SHARDS --preset "
            f"{config.preset} --out {folder}`."
        )
    about = read_json(folder / "companion.json")
    kept = about.get("settings") if isinstance(about, dict) else None
    wanted = _settings(release, config, folder / _CODEC)
    if not isinstance(kept, dict) or kept.get("release") != release.digest:
        raise BadUsage(f"{folder} holds latents of another release: make them of these shards.")
    if kept != wanted:
        raise BadUsage(
            f"{folder} holds latents for other settings than those of {config.preset}: make them "
            "anew in another folder."
        )
    return open_codec(config, _read_arrays(folder / _CODEC), device)


def known_encoder(folder: Path, config: Config) -> str:
    """The digest of the picture encoder that a folder of latents was made with; empty when it is
    another encoder's, or there are no latents."""
    place = folder / "companion.json"
    about = read_json(place) if place.is_file() else None
    kept = about.get("settings") if isinstance(about, dict) else None
    name, _, found = str(kept.get("encoder") if isinstance(kept, dict) else "").partition(" ")
    return found if name == config.condition.encoder else ""


def ready(
    folder: Path, release: Release, split: str, standardise: Standardiser | None = None
) -> tuple[Ready, Standardiser]:
    """The latents of `split`; without `standardise` its statistics are taken from FIT_PAIRS.

    BadData when a pair of the split has none.
    """
    from artsound.shards.read import open_shards

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
    """What decides the arrays."""
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
        raise BadData(f"{path} is missing or damaged: make the latents anew.") from error


def _array(sample: dict[str, Any], name: str) -> np.ndarray:
    try:
        return read_array(sample[f"{name}.npy"])
    except (KeyError, ValueError) as error:
        raise BadData(
            f"The {name} of pair {sample['key']} is missing or damaged: make the latents anew."
        ) from error
