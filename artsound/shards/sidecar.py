"""Sidecar shards: latents or embeddings for the samples of other shards, joined by key."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from artsound.errors import BadData, BadUsage
from artsound.progress import QUIET, Progress
from artsound.read_ahead import DaemonThreads, ordered_ahead
from artsound.shards.dataset import Dataset
from artsound.shards.format import Placed, Shard, key_of, scan_tar, write_shard
from artsound.shards.index import pointers, write_index
from artsound.storage import digest, make_folder, read_json, sha256_file, sweep, write_json

_SETTINGS = "companion.json"


def write_sidecar(
    data: Dataset,
    folder: Path,
    make: Callable[[dict[str, Any]], Mapping[str, np.ndarray]],
    *,
    settings: Mapping[str, Any],
    threads: int = 2,
    progress: Progress = QUIET,
) -> list[Shard]:
    """Write a sidecar shard with the same name and keys for each shard of a dataset.

    Read them with `data.join(artsound.open(folder))`. An interrupted call is resumed by the same
    call, shard by shard.

    Args:
        data: The samples.
        folder: Where the sidecar shards are written.
        make: Turns a raw sample into named arrays; `latent` becomes the member `{key}.latent.npy`.
        settings: JSON values that determine the arrays, all of them.
        threads: How many threads read samples and call `make`; they change no byte.
        progress: Is advanced by each sample.

    Returns:
        The sidecar shards.

    Raises:
        BadUsage: The folder has arrays made with other settings.
        BadData: A sidecar shard is damaged.
    """
    sweep(make_folder(folder))
    about = {"index_sha256": data.index_sha256, "settings": dict(settings)}
    place = folder / _SETTINGS
    if place.exists() and digest(read_json(place)) != digest(about):
        raise BadUsage(f"{folder} has arrays made with other settings: give a new folder.")
    write_json(place, about)
    shards, rows = [], []
    for number, shard in enumerate(data.shards):
        positions = np.flatnonzero(data.pointers.shard == number)
        if not positions.size:
            continue
        keys = [str(key) for key in data.pointers.keys[positions]]
        done = _finished(folder / shard.name, shard.split, keys)
        if done:
            progress.advance(len(keys), before=True)
        made, placed = done or write_shard(
            folder / shard.name, shard.split, _members(data, positions, make, threads, progress)
        )
        shards.append(made)
        rows += [
            {"key": p.key, "split": made.split, "shard": made.name, **pointers(p)} for p in placed
        ]
    write_index(folder, f"{data.name}-companion", "", shards, pa.Table.from_pylist(rows))
    return shards


def _members(
    data: Dataset,
    positions: np.ndarray,
    make: Callable[[dict[str, Any]], Mapping[str, np.ndarray]],
    threads: int,
    progress: Progress,
) -> Iterator[tuple[str, dict[str, bytes]]]:
    def members(position: int) -> tuple[str, dict[str, bytes]]:
        sample = data.read(position)
        return sample["key"], {f"{name}.npy": _bytes(a) for name, a in make(sample).items()}

    pool = DaemonThreads(threads)
    try:
        for made in ordered_ahead(pool, members, positions.tolist(), 2 * threads):
            progress.advance(1)
            yield made
    finally:
        pool.shutdown()


def _bytes(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(array), allow_pickle=False)
    return out.getvalue()


def _finished(path: Path, split: str, keys: list[str]) -> tuple[Shard, list[Placed]] | None:
    """A shard that an earlier call finished; None when there is none with these keys."""
    if not path.exists():
        return None
    spans: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            for member in scan_tar(file, size):
                key, extension = key_of(member.name)
                spans.setdefault(key, {})[extension] = (member.offset, member.size)
    except (OSError, tarfile.TarError, ValueError) as error:
        raise BadData(f"{path} is damaged ({error}): remove it.") from error
    if list(spans) != keys:
        return None
    shard = Shard(path.name, split, len(keys), size, sha256_file(path), keys[0], keys[-1])
    return shard, [Placed(key, members) for key, members in spans.items()]
