"""What training and evaluation read from a release: pictures as numbers, music as log-mels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from artsound.errors import BadData, BadUsage
from artsound.media import MediaError
from artsound.readers import read_arrays
from artsound.storage import atomic_write, digest
from artsound.training.conditioning import IMAGE_FIELDS, describe_picture
from artsound.training.config import Config, Mel
from artsound.training.mel import log_mel
from artsound.training.visual import See, open_eye

CACHE_VERSION = 1


class Pairs(Protocol):
    """A set of pairs in a fixed order (artsound.shards.read.Dataset is one)."""

    def __len__(self) -> int: ...

    def read(self, position: int, /) -> dict[str, Any]:
        """key str, jpg bytes, mp3 bytes, json dict of pair `position`."""
        ...


@dataclass(frozen=True)
class Release:
    """The splits of one release of shards, and the digest that names it."""

    digest: str
    splits: Mapping[str, Pairs]

    def pairs(self, split: str) -> Pairs:
        """The pairs of `split`; BadUsage when there is no such split."""
        if split not in self.splits:
            raise BadUsage(f"There is no split {split!r}: choose one of {', '.join(self.splits)}.")
        return self.splits[split]


def open_release(location: str | Path) -> Release:
    """The release in a folder or at an address; BadUsage or BadData when it holds no shards."""
    from artsound.shards.index import read_shard_index
    from artsound.shards.read import open_pairs

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
    """Every pair of `split`, clips shorter than a training window padded with silence.

    Pictures are seen by the configuration's encoder, on `device`. With `cache`, what was decoded
    is kept there under a digest of the release, the encoder and the front end, and read from
    there the next time. BadData when a pair's media cannot be decoded.
    """
    pairs = release.pairs(split)
    path = None
    if cache is not None:
        inputs = {
            "release": release.digest,
            "split": split,
            "mel": config.mel.model_dump(),
            "fields": IMAGE_FIELDS,
            "encoder": config.condition.seen_by,
            "version": CACHE_VERSION,
        }
        path = cache / f"{split}-{digest(inputs)[:16]}.npz"
        if (kept := _read_cache(path)) is not None:
            return kept
    see = open_eye(config.condition, device)
    keys, pictures, clips = [], [], []
    with ThreadPoolExecutor(max_workers=2) as pool:  # decoders release the interpreter's lock
        for index, example in enumerate(
            pool.map(lambda i: decode_pair(pairs.read(i), config.mel, see), range(len(pairs)))
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

    levels = log_mel(load_mono(data, sample_rate=mel.sample_rate), mel)
    least = int(np.ceil(mel.seconds * mel.sample_rate / mel.hop))
    missing = max(0, least - len(levels))
    padded = np.pad(levels, ((0, missing), (0, 0)), constant_values=mel.floor)
    return padded.astype(np.float16)


def decode_pair(
    sample: dict[str, Any], mel: Mel, see: See = describe_picture
) -> tuple[str, np.ndarray, np.ndarray]:
    """Key, what is seen of the picture, and log-mel of a raw sample; BadData naming a bad pair."""
    try:
        return sample["key"], see(sample["jpg"]), decode_clip(sample["mp3"], mel)
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
    """What an earlier run decoded; None when there is nothing whole."""
    try:
        kept = read_arrays(path)
        keys = json.loads(kept["keys"].tobytes())
        ends = np.cumsum(kept["lengths"])
        clips = np.split(kept["clips"], ends[:-1]) if len(ends) else []
        return Examples(tuple(keys), kept["pictures"], tuple(clips))
    except (OSError, ValueError, KeyError):
        return None
