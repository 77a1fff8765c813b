"""`artsound.mix`: several datasets as one stream, by weights."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from artsound.errors import BadUsage
from artsound.extras import install_command
from artsound.shards.dataset import Dataset

if TYPE_CHECKING:
    from artsound.shards.stream import Stream


@dataclass(frozen=True)
class Mixture:
    """Datasets that are streamed together. Immutable; see `artsound.mix`.

    Attributes:
        datasets: The datasets.
        weights: The share of each in an epoch, relative to the others.
        epoch: Samples in an epoch.
        seed: Fixes the order, unless a stream is given another.
    """

    datasets: tuple[Dataset, ...]
    weights: tuple[float, ...]
    epoch: int
    seed: int = 0

    def __len__(self) -> int:
        return self.epoch

    def stream(self, **options: Any) -> Stream:
        """A stream of the mixture.

        Args:
            **options: Those of `Dataset.stream`, but for `epoch_size`, `balance` and `weights`.

        Returns:
            The stream. Its state continues each dataset where it stood, also in a mixture of the
            same datasets with other weights.

        Raises:
            BadUsage: An option has an impossible value, a dataset is empty, or torch is not
                installed.
        """
        for name in ("epoch_size", "balance", "weights"):
            if name in options:
                raise BadUsage(f"{name} is not of a mixture: give artsound.mix weights and epoch.")
        try:
            from artsound.shards.stream import open_stream
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise BadUsage(f"Streams need torch: {install_command(package='torch')}") from error
        chosen = {"seed": self.seed, "epoch_size": self.epoch, **options}
        return open_stream(self.datasets, self.weights, **chosen)


def mix(
    parts: Sequence[tuple[Dataset, float]], *, epoch: int | None = None, seed: int = 0
) -> Mixture:
    """What `artsound.mix` calls, with the same arguments."""
    datasets, weights = [], []
    for part in parts:
        dataset, weight = part if isinstance(part, Sequence) and len(part) == 2 else (None, None)
        if not isinstance(dataset, Dataset):
            raise BadUsage("mix takes pairs of a dataset and its weight: [(data, 1.0), …].")
        real = isinstance(weight, numbers.Real)
        if not real or not math.isfinite(weight) or weight <= 0:
            raise BadUsage(f"The weight {weight!r} is not a positive number.")
        datasets.append(dataset)
        weights.append(float(weight))
    if not datasets:
        raise BadUsage("mix needs at least one dataset.")
    size = sum(map(len, datasets)) if epoch is None else epoch
    if isinstance(size, bool) or not hasattr(size, "__index__") or size.__index__() < 1:
        raise BadUsage(f"epoch is {epoch!r}: give the number of samples in an epoch.")
    return Mixture(tuple(datasets), tuple(weights), size.__index__(), seed)
