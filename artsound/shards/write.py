"""One shard, written once from front to back, with its digest ready when the last byte is.

The digest of one stretch of bytes is computed while the kernel takes that stretch, so hashing
costs no time of its own on a machine with a second core.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artsound.errors import BadData
from artsound.shards import tar
from artsound.storage import atomic_write

_STRETCH = 4 << 20  # bytes handed over at once

Span = tuple[int, int]  # offset of a member's data in the shard, and its size


@dataclass(frozen=True, slots=True)
class Shard:
    """One entry of index.json: a shard, its size and its digest."""

    name: str
    split: str
    samples: int
    bytes: int
    sha256: str
    first_key: str
    last_key: str


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the members of one sample lie in a shard, by extension."""

    key: str
    members: Mapping[str, Span]


def write_shard(
    path: Path, split: str, samples: Iterable[tuple[str, Mapping[str, bytes]]]
) -> tuple[Shard, list[Placed]]:
    """Write a shard of (key, {extension: bytes}), whole or not at all; what it holds, and where.

    The members of a sample lie next to each other in the mapping's order. Keys must ascend, so
    none can occur twice, and hold no dot (a WebDataset's key ends at the first one). Raises
    BadData for a bad key, an empty shard, and a disk that cannot be written.
    """
    sha256 = hashlib.sha256()
    placed: list[Placed] = []
    offset = waiting = 0
    stretch: list[bytes] = []
    with atomic_write(path) as file, ThreadPoolExecutor(1) as hasher:

        def digest() -> None:
            for data in stretch:
                sha256.update(data)

        def hand_over() -> None:
            hashed = hasher.submit(digest)
            file.writelines(stretch)
            hashed.result()
            stretch.clear()

        for key, members in samples:
            _check_key(path, key, placed[-1].key if placed else "")
            spans: dict[str, Span] = {}
            for extension, data in members.items():
                block = tar.header(f"{key}.{extension}", len(data))
                filler = tar.padding(len(data))
                spans[extension] = (offset + tar.BLOCK, len(data))
                stretch += (block, data, filler)
                size = tar.BLOCK + len(data) + len(filler)
                offset += size
                waiting += size
                if waiting >= _STRETCH:
                    hand_over()
                    waiting = 0
            placed.append(Placed(key, spans))
        if not placed:
            raise BadData(f"{path} would hold no sample: there is nothing to write.")
        stretch.append(tar.END)
        hand_over()
    shard = Shard(
        name=path.name,
        split=split,
        samples=len(placed),
        bytes=offset + len(tar.END),
        sha256=sha256.hexdigest(),
        first_key=placed[0].key,
        last_key=placed[-1].key,
    )
    return shard, placed


def sample_json(row: Mapping[str, Any]) -> bytes:
    """The .json member of a sample: one line, fields in the row's order, no NaN."""
    text = json.dumps(dict(row), ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
    return text.encode()


def _check_key(path: Path, key: str, before: str) -> None:
    if not key or "." in key or "/" in key:
        raise BadData(f"{path} cannot hold the key {key!r}: a key has no dot and no slash.")
    if key <= before:
        raise BadData(f"{path} cannot hold the key {key!r} after {before!r}: keys must ascend.")
