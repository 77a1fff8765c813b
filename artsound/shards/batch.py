"""Samples put together to a batch, and how a batch travels from a worker process."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate, default_convert

_SMALL = 4096  # bytes


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch as one dict. `image` becomes uint8 [B, 3, H, W], in memory channels last, as it was
    decoded; arrays of one shape are stacked, numbers become tensors, and all else stays a list of
    B values, arrays among them as tensors. What a sample lacks that another has is None."""
    return {
        name: _together(name, [sample.get(name) for sample in samples])
        for name in dict.fromkeys(name for sample in samples for name in sample)
    }


def _together(name: str, values: list[Any]) -> Any:
    kinds = {type(value) for value in values}
    if kinds == {np.ndarray} and len({(v.shape, v.dtype) for v in values}) == 1:
        if values[0].dtype.kind in "biuf":
            # default_collate stacks in the memory that a worker shares: one copy less.
            stacked = default_collate([torch.from_numpy(np.require(v, None, "W")) for v in values])
            return stacked.permute(0, 3, 1, 2) if name == "image" and stacked.ndim == 4 else stacked
    elif kinds == {torch.Tensor} and len({value.shape for value in values}) == 1:
        return default_collate(values)
    elif kinds <= {bool, int, float}:
        with contextlib.suppress(RuntimeError, ValueError, OverflowError):  # over 64 bits
            return torch.tensor(values)
    elif kinds <= {str, type(None)}:
        return values
    return default_convert(values)


class Parcel(dict[str, Any]):
    """A batch that a worker process hands out; where it arrives it is a plain dict.

    Its small tensors travel within the message. torch would put each of them, and there are two
    dozen, into shared memory of its own.
    """

    def __copy__(self) -> Parcel:
        # A DataLoader that is not `Stream.loader`'s copies what its workers made; by way of
        # __reduce__ that would be a plain dict again.
        return Parcel(self)

    def __reduce__(self) -> tuple[Any, ...]:
        small = {
            name: value.numpy()
            for name, value in self.items()
            if isinstance(value, torch.Tensor) and value.nbytes <= _SMALL
        }
        large = {name: value for name, value in self.items() if name not in small}
        return _unpacked, (tuple(self), small, large)


def _unpacked(
    names: tuple[str, ...], small: Mapping[str, np.ndarray], large: Mapping[str, Any]
) -> dict[str, Any]:
    return {name: torch.from_numpy(small[name]) if name in small else large[name] for name in names}


def as_made(batch: Any) -> Any:
    """The batch itself, for a DataLoader: torch's own default_convert would look for arrays in
    every text of it, and `collate` has left none."""
    return batch
