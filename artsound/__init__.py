"""ArtSound: artwork-music pairs from raw sources to shards, streams and a trained model.

    import artsound
    data = artsound.open("out/shards")

Importing this loads nothing heavy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from artsound.cache_dir import use_writable_cache
from artsound.errors import ArtSoundError, BadData, BadUsage

if TYPE_CHECKING:
    from artsound.shards.dataset import Dataset as Dataset
    from artsound.shards.decode import Decode as Decode
    from artsound.shards.stream import Stream as Stream

__version__ = "0.1.0"
__all__ = ["ArtSoundError", "BadData", "BadUsage", "__version__", "open"]

use_writable_cache("NUMBA_CACHE_DIR", ".cache/numba")  # before anything imports numba

_LAZY = {  # imported when first used
    "Dataset": "artsound.shards.dataset",
    "Decode": "artsound.shards.decode",
    "Stream": "artsound.shards.stream",
}


def open(
    location: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] = "",
    storage_options: Mapping[str, Any] | None = None,
) -> Dataset:
    """The dataset at a place. Only its index is read.

    Args:
        location: A folder of shards, or the folder of a build; an http(s) address; an address that
            fsspec opens (s3://…, hf://…, memory://…); or what `artsound subset` wrote: a view
            (.parquet) or a list of ids (.npy), whose samples are read from the shards they were
            chosen from.
        source: Where those shards are, for a view or a list whose shards have moved.
        storage_options: Keyword arguments of fsspec's file system, such as {"anon": True}.

    Returns:
        All samples of the release, the view or the list.

    Raises:
        BadUsage: The place does not exist or cannot be opened so.
        BadData: It has no index, or a damaged one.
    """
    from artsound.shards.dataset import open_shards

    return open_shards(location, source=source, storage_options=storage_options)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'artsound' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
