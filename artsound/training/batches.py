"""Training pairs as tensors: latents computed once, batches cut from them by a draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.errors import BadUsage
from artsound.training.codec import SoundCodec
from artsound.training.conditioning import Standardiser
from artsound.training.config import Config
from artsound.training.data import Examples
from artsound.training.draw import Draw

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Prepared:
    """The training set as arrays: keys, standardised conditions [n, D], latents of whole clips."""

    keys: tuple[str, ...]
    conditions: np.ndarray
    latents: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Batch:
    """Tensors of one step, on the device."""

    keys: tuple[str, ...]
    latents: torch.Tensor
    embedding: torch.Tensor
    keep: torch.Tensor
    noise: torch.Tensor
    timestep: torch.Tensor


def prepare(examples: Examples, codec: SoundCodec, standardise: Standardiser) -> Prepared:
    """Examples as the loop wants them; latents are computed once, here."""
    latents = tuple(codec.encode(clip.astype(np.float32)) for clip in examples.clips)
    return Prepared(examples.keys, standardise(examples.pictures), latents)


def make_batch(
    prepared: Prepared, choice: Draw, config: Config, window: int, device: Any, rows: slice
) -> Batch:
    """The tensors of `rows` of a draw; `window` is the number of cells."""
    import torch

    pairs = choice.pairs[rows]
    cuts = []
    for pair, start in zip(pairs, choice.starts[rows], strict=True):
        latent = prepared.latents[pair]
        first = int(start * (latent.shape[1] - window + 1))
        cuts.append(latent[:, first : first + window])
    embedding = prepared.conditions[pairs] + config.condition.noise * choice.jitter[rows]

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    return Batch(
        tuple(prepared.keys[pair] for pair in pairs),
        tensor(np.stack(cuts)),
        tensor(embedding),
        tensor(choice.keep[rows]),
        tensor(choice.noise[rows]),
        tensor(choice.timestep[rows]),
    )


def shares(batch: int, accumulate: int, accelerator: Any) -> Iterator[slice]:
    """This process's rows of a step's batch, one slice for each backward pass."""
    pieces = accumulate * accelerator.num_processes
    if batch % pieces:
        raise BadUsage(
            f"A batch of {batch} cannot be split into {accumulate} passes on "
            f"{accelerator.num_processes} processes: choose a multiple of {pieces}."
        )
    size = batch // pieces
    first = accelerator.process_index * accumulate
    for piece in range(first, first + accumulate):
        yield slice(piece * size, (piece + 1) * size)
