"""ArtSound: artwork-music pairs from raw sources to shards, streams and a trained model.

    import artsound
    data = artsound.open("out/shards")

Importing this loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.home import find_home

if TYPE_CHECKING:
    from artsound.shards.read import Dataset

__version__ = "0.1.0"
__all__ = ["ArtSoundError", "BadData", "BadUsage", "__version__", "open"]

find_home("NUMBA_CACHE_DIR", ".cache/numba")  # before anything imports numba


def open(location: str, **options: Any) -> Dataset:
    """The dataset of a shards folder or URL; only its index is read.

    See `artsound.shards.read.open_shards` for the options. Raises BadData when there is no index.
    """
    from artsound.shards.read import open_shards

    return open_shards(location, **options)
