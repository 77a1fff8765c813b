"""ArtSound: artwork-music pairs from raw sources to shards, streams and a trained model.

    import artsound
    data = artsound.open("out/shards")

Importing this loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from artsound.cache_dir import use_writable_cache
from artsound.errors import ArtSoundError, BadData, BadUsage

if TYPE_CHECKING:
    from artsound.shards.dataset import Dataset

__version__ = "0.1.0"
__all__ = ["ArtSoundError", "BadData", "BadUsage", "__version__", "open"]

use_writable_cache("NUMBA_CACHE_DIR", ".cache/numba")  # before anything imports numba


def open(location: str, **options: Any) -> Dataset:
    """The dataset of a shards folder or URL; only its index is read.

    See `artsound.shards.dataset.open_shards` for the options.
    Raises BadData when there is no index.
    """
    from artsound.shards.dataset import open_shards

    return open_shards(location, **options)
