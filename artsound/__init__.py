"""ArtSound: artwork-music pairs from raw sources to shards, streams and a trained model.

    import artsound
    data = artsound.open("out/shards")

Importing this loads nothing heavy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from artsound.cache_dir import use_writable_cache
from artsound.errors import ArtSoundError, BadData, BadUsage

if TYPE_CHECKING:
    import numpy as np

    from artsound.pairing.match import Matching as Matching
    from artsound.shards.dataset import Dataset as Dataset
    from artsound.shards.decode import Decode as Decode
    from artsound.shards.mix import Mixture as Mixture
    from artsound.shards.stream import Stream as Stream

__version__ = "0.1.0"
__all__ = ["ArtSoundError", "BadData", "BadUsage", "__version__", "match", "mix", "open"]

use_writable_cache("NUMBA_CACHE_DIR", ".cache/numba")  # before anything imports numba

_LAZY = {  # imported when first used
    "Dataset": "artsound.shards.dataset",
    "Decode": "artsound.shards.decode",
    "Matching": "artsound.pairing.match",
    "Mixture": "artsound.shards.mix",
    "Stream": "artsound.shards.stream",
}


def open(
    location: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] = "",
    storage_options: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Dataset:
    """The dataset at a place. Only its index is read.

    Args:
        location: A folder of shards, or the folder of a build; an http(s) address; an address that
            fsspec opens (s3://…, hf://…, memory://…); or what `artsound subset` wrote: a view
            (.parquet) or a list of ids (.npy), whose samples are read from the shards they were
            chosen from.
        source: Where those shards are, for a view or a list whose shards have moved.
        storage_options: Keyword arguments of fsspec's file system, such as {"anon": True}.
        headers: Sent with each request to an http(s) address, such as {"Authorization": …}. The
            query of such an address, as of a signed one, is sent with each request, too.

    Returns:
        All samples of the release, the view or the list.

    Raises:
        BadUsage: The place does not exist or cannot be opened so.
        BadData: It has no index, or a damaged one.
    """
    from artsound.shards.dataset import open_shards

    return open_shards(location, source=source, storage_options=storage_options, headers=headers)


def mix(
    parts: Sequence[tuple[Dataset, float]], *, epoch: int | None = None, seed: int = 0
) -> Mixture:
    """Mix datasets to a stream.

        mixture = artsound.mix([(ours, 3), (theirs, 1)], epoch=100_000)
        loader = mixture.stream(batch_size=32).loader(workers=4)

    An epoch takes its share of every dataset, spread evenly over the epoch. Each dataset is walked
    in a random order of its own from epoch to epoch, every sample once before any comes again.

    Args:
        parts: Pairs of a dataset and its weight, a positive number. Three quarters of an epoch
            above are of `ours`.
        epoch: Samples in an epoch; by default as many as there are in all datasets.
        seed: Fixes the order.

    Returns:
        A `Mixture`, whose `stream` has the options of `Dataset.stream`.

    Raises:
        BadUsage: A part is not a dataset with a weight, or `epoch` is not a positive number.
    """
    from artsound.shards.mix import mix

    return mix(parts, epoch=epoch, seed=seed)


def match(
    X: np.ndarray,
    Y: np.ndarray,
    *,
    floor: float | None = None,
    uses: int = 1,
    exclude: np.ndarray | None = None,
    optimality: float = 0.999,
    device: str = "cpu",
    folder: str | os.PathLike[str] | None = None,
) -> Matching:
    """Match two sets of unit rows at the largest total of dot products, with a certificate.

    As many rows of `X` are matched as `Y`, the floor and the exclusions leave partners for.

    Args:
        X: Unit rows [n, D], float; computed in float32.
        Y: Unit rows [m, D] of the same space.
        floor: The least score of a pair; None: no least.
        uses: How many rows of `X` may share a row of `Y`.
        exclude: Pairs that are not to be made: whole numbers [e, 2], a row of `X` and of `Y` each.
        optimality: The search is widened until as many rows as possible are matched and the total
            is at least this share of the bound, or nothing better is found.
        device: Of the search for candidates: cpu, cuda or cuda:N.
        folder: Where finished work is saved, every two minutes or so. The same call continues from
            there after a kill, to the same matching. The folder may be deleted afterwards.

    Returns:
        A `Matching` with `pairs` int64 [k, 2], `scores` float32 [k], `total`, `bound` and `share`
        (total over bound: 1.0 when provably optimal). Equal inputs give equal matchings.

    Raises:
        BadUsage: The arrays are not unit rows of one width, an option is out of range, or `folder`
            has the work of another matching.
        BadData: A file in `folder` is damaged.
    """
    from artsound.pairing.match import match_rows

    return match_rows(
        X, Y, floor=floor, uses=uses, exclude=exclude, optimality=optimality, device=device,
        folder=folder,
    )  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'artsound' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
