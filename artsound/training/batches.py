"""Training pairs as tensors: latents computed once, batches cut from them by a draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from artsound.errors import BadUsage
from artsound.training.codec import SoundCodec
from artsound.training.conditioning import Standardiser
from artsound.training.config import Config
from artsound.training.data import Examples
from artsound.training.draw import Draw

if TYPE_CHECKING:
    import torch


class Source(Protocol):
    """Training pairs: keys, and on demand a standardised condition [D] and a clip's latent."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The pairs' keys, in their order."""
        ...

    def read(self, pair: int, /) -> tuple[np.ndarray, np.ndarray]:
        """Condition float32 [D] and latent float32 [channels, cells, bands] of pair `pair`."""
        ...


@dataclass(frozen=True)
class Prepared:
    """A Source in memory: keys, standardised conditions [n, D], latents of whole clips."""

    keys: tuple[str, ...]
    conditions: np.ndarray
    latents: Sequence[np.ndarray]

    def read(self, pair: int, /) -> tuple[np.ndarray, np.ndarray]:
        """Condition and latent of pair `pair`."""
        return self.conditions[pair], self.latents[pair]


@dataclass(frozen=True)
class Batch:
    """Tensors of one step, on the device."""

    keys: tuple[str, ...]
    latents: torch.Tensor
    embedding: torch.Tensor
    keep: torch.Tensor
    noise: torch.Tensor
    timestep: torch.Tensor
    target: torch.Tensor | None = None


def prepare(examples: Examples, codec: SoundCodec, standardise: Standardiser) -> Prepared:
    """Examples as the loop wants them; latents are computed once, here."""
    latents = tuple(codec.encode(clip.astype(np.float32)) for clip in examples.clips)
    return Prepared(examples.keys, standardise(examples.pictures), latents)


def make_batch(
    source: Source,
    choice: Draw,
    config: Config,
    window: int,
    device: Any,
    rows: slice,
    targets: np.ndarray | None = None,
) -> Batch:
    """The tensors of `rows` of a draw; `window` is the number of cells, `targets` [n, N, W] what
    each pair's states are aligned with."""
    import torch

    pairs = choice.pairs[rows]
    cuts, conditions = [], []
    for pair, start in zip(pairs, choice.starts[rows], strict=True):
        condition, latent = source.read(int(pair))
        first = int(start * (latent.shape[1] - window + 1))
        cuts.append(latent[:, first : first + window])
        conditions.append(condition)
    embedding = np.stack(conditions) + config.condition.noise * choice.jitter[rows]

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    return Batch(
        tuple(source.keys[pair] for pair in pairs),
        tensor(np.stack(cuts)),
        tensor(embedding),
        tensor(choice.keep[rows]),
        tensor(choice.noise[rows]),
        tensor(choice.timestep[rows]),
        None if targets is None else tensor(targets[pairs].astype(np.float32)),
    )


def shares(batch: int, accumulate: int, accelerator: Any) -> Iterator[slice]:
    """This process's rows of a step's batch, one slice for each backward pass."""
    pieces = accumulate * accelerator.num_processes
    if batch % pieces:
        raise BadUsage(
            f"A batch of {batch} cannot be split into {accumulate} passes on each of "
            f"{accelerator.num_processes} processes: choose a multiple of {pieces} as "
            "optimisation.batch."
        )
    size = batch // pieces
    first = accelerator.process_index * accumulate
    for piece in range(first, first + accumulate):
        yield slice(piece * size, (piece + 1) * size)
