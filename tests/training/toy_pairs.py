"""A miniature release: real JPEG pictures and MP3 clips that share one affect plane."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
from PIL import Image, ImageFilter

from artsound.shards.dataset import open_shards
from artsound.shards.format import write_shard
from artsound.shards.index import pointers, read_shard_index, write_index
from artsound.storage import digest
from artsound.training.data import Release

RATE = 44_100


def picture(valence: float, arousal: float, seed: int) -> bytes:
    """A JPEG: light when valence is high, colourful and busy when arousal is high (both −1..1)."""
    chance = np.random.default_rng([seed, 0])
    coarse = chance.random((4 + int(14 * (arousal + 1)), 4 + int(14 * (arousal + 1)), 3))
    grey = coarse.mean(axis=2, keepdims=True)
    colour = grey + (0.15 + 0.85 * (arousal + 1) / 2) * (coarse - grey)
    light = 0.5 + 0.35 * valence + 0.4 * (colour - 0.5)
    image = Image.fromarray((np.clip(light, 0, 1) * 255).astype(np.uint8)).resize((160, 160))
    buffer = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(1)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def clip(valence: float, arousal: float, seed: int, seconds: float = 12.0) -> bytes:
    """An MP3: loud, fast and bright when arousal is high, major and high when valence is."""
    chance = np.random.default_rng([seed, 1])
    time = np.arange(int(seconds * RATE)) / RATE
    wave = np.zeros_like(time)
    beat = 60 / (90 + 50 * arousal)
    scale = np.array([0, 2, 4, 7, 9, 12] if valence > 0 else [0, 2, 3, 7, 8, 12])
    root = 48 + int(6 * valence) + int(chance.integers(5))
    partials = 2 + int(4 * (arousal + 1))
    for start in np.arange(0, seconds - beat, beat / 2):
        pitch = 440 * 2 ** ((root + int(chance.choice(scale)) - 69) / 12)
        where = (time >= start) & (time < start + beat)
        local = time[where] - start
        for partial in range(1, partials + 1):
            decay = np.exp(-local * (2 + 3 * (arousal + 1)))
            wave[where] += np.sin(2 * np.pi * pitch * partial * local) * decay / partial
    wave *= 10 ** ((-16 + 10 * arousal) / 20) / max(float(np.abs(wave).max()), 1e-9)
    buffer = io.BytesIO()
    soundfile.write(buffer, wave.astype(np.float32), RATE, format="MP3")
    return buffer.getvalue()


def toy_pairs(count: int, seed: int, seconds: float = 12.0) -> list[dict[str, Any]]:
    """Pairs whose picture and clip lie at the same point of the plane, drawn from a seed."""
    plane = np.random.default_rng(seed).uniform(-1, 1, (count, 2))
    return [
        {
            "key": f"{seed * 1000 + index:06d}",
            "jpg": picture(valence, arousal, seed * 1000 + index),
            "mp3": clip(valence, arousal, seed * 1000 + index, seconds),
            "json": {"key": f"{seed * 1000 + index:06d}"},
        }
        for index, (valence, arousal) in enumerate(plane)
    ]


def toy_release(
    folder: Path,
    *,
    train: int | list[dict[str, Any]] = 12,
    val: int | list[dict[str, Any]] = 4,
    test: int | list[dict[str, Any]] = 4,
    seconds: float = 12.0,
) -> Release:
    """A release of toy pairs, in shards of eight; for a split their number, or the pairs."""
    folder.mkdir(parents=True)
    shards, rows = [], []
    for seed, (split, pairs) in enumerate({"train": train, "val": val, "test": test}.items(), 1):
        samples = toy_pairs(pairs, seed, seconds) if isinstance(pairs, int) else pairs
        for first in range(0, len(samples), 8):
            name = f"toy-{split}-{first // 8:06d}.tar"
            shard, placed = write_shard(folder / name, split, map(_members, samples[first:][:8]))
            shards.append(shard)
            rows += [{"key": p.key, "split": split, "shard": name, **pointers(p)} for p in placed]
    write_index(folder, "toy", "", shards, pa.Table.from_pylist(rows))
    return open_toys(folder)


def open_toys(folder: Path) -> Release:
    """The release that `toy_release` wrote."""
    data = open_shards(folder)
    return Release(digest(read_shard_index(data.store)), data)


def _members(sample: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    about = json.dumps(sample["json"]).encode()
    return sample["key"], {"jpg": sample["jpg"], "json": about, "mp3": sample["mp3"]}
