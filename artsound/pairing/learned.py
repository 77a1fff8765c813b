"""The `learned` bridge: two small heads, trained on text alone, that bring CLIP and CLAP together.

The recipe of C-MCR (Wang et al., NeurIPS 2023). No artwork is ever shown with its music: what
both encoders make of one text is a pair, and so is what they hold nearest to it among the images
and among the clips.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from artsound.encoders.batching import one_torch_thread
from artsound.errors import BadData, BadUsage
from artsound.pairing.rows import centred_rows, checked_rows, unit_rows
from artsound.storage import atomic_write
from artsound.untrusted import read_arrays

if TYPE_CHECKING:
    from torch import Tensor, nn

HIDDEN, WIDTH = 512, 256
EPOCHS, MOST_STEPS, BATCH = 36, 400, 256
RATE, DECAY = 1e-3, 1e-2
NOISE = 0.063  # deviation of the noise added to unit rows in all, σ² = 0.004
NEAREST = 0.05  # temperature of looking up the nearest images or clips
CONTRAST = 0.1  # temperature of the contrastive losses
INSIDE = 0.1  # weight of holding a side to its own texts
VERSION = 1  # changes whenever the same vectors would give other heads
MEMORY = 20_000  # images, and clips, that are looked among

_SIDES = ("clip", "clap")


@dataclass(frozen=True)
class Head:
    """A trained head: two linear layers with a ReLU between, batch norms folded into them.

    `first` [D, H], `first_bias` [H], `second` [H, W], `second_bias` [W], all float32.
    """

    first: np.ndarray
    first_bias: np.ndarray
    second: np.ndarray
    second_bias: np.ndarray

    def rows(self, items: np.ndarray) -> np.ndarray:
        """A whole side's items [n, D] as unit rows float32 [n, W] of the shared space.

        They are centred first. Raises ValueError for empty, zero or non-finite rows, and another
        width than the head's.
        """
        items = centred_rows(checked_rows(items, "items", len(self.first)))
        hidden = np.maximum(items @ self.first + self.first_bias, 0.0)
        return unit_rows(centred_rows(hidden @ self.second + self.second_bias))


def train_heads(
    clip_texts: np.ndarray,
    clap_texts: np.ndarray,
    images: np.ndarray,
    audio: np.ndarray,
    *,
    seed: int,
    steps: int = 0,
) -> tuple[Head, Head]:
    """A head for CLIP and one for CLAP, which take `images` and `audio` to one space.

    `clip_texts` [n, D1] and `clap_texts` [n, D2]: row by row the same or matching texts, n ≥ 2;
    `images` [m, D1] and `audio` [l, D2] in any order. `steps` 0 means EPOCHS over the texts, at
    most MOST_STEPS. Deterministic, on one thread of the CPU.
    Raises ValueError for unfit rows, BadUsage where torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise BadUsage(
            "The bridge learned trains with torch: install artsound[models], or use "
            "--bridge concepts."
        ) from error
    if len(clip_texts) != len(clap_texts) or len(clip_texts) < 2:
        raise ValueError(f"{len(clip_texts)} and {len(clap_texts)} texts make no pairs")
    generator = np.random.default_rng(seed)
    sides = []
    for name, texts, items in (("clip", clip_texts, images), ("clap", clap_texts, audio)):
        memory = centred_rows(checked_rows(items, f"items of {name}"))
        said = centred_rows(checked_rows(texts, f"texts of {name}", memory.shape[1]))
        kept = np.sort(generator.permutation(len(memory))[:MEMORY])
        sides.append((torch.from_numpy(said), torch.from_numpy(memory[kept])))
    with one_torch_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = [_new_head(texts.shape[1]) for texts, _ in sides]
        _train(heads, sides, steps or min(MOST_STEPS, EPOCHS * -(-len(clip_texts) // BATCH)))
        return _folded(heads[0]), _folded(heads[1])


def save_heads(path: Path, heads: tuple[Head, Head]) -> None:
    """Write both heads as plain arrays; `load_heads` reads them back."""
    arrays = {
        f"{side}_{field.name}": getattr(head, field.name)
        for side, head in zip(_SIDES, heads, strict=True)
        for field in fields(Head)
    }
    with atomic_write(path) as file:
        np.savez(file, **arrays)


def load_heads(path: Path) -> tuple[Head, Head]:
    """The heads that `save_heads` wrote; BadData when they cannot be read."""
    try:
        arrays = read_arrays(path)
        clip, clap = (
            Head(*(arrays[f"{side}_{field.name}"] for field in fields(Head))) for side in _SIDES
        )
    except (OSError, ValueError, KeyError) as error:
        raise BadData(f"{path} cannot be read ({error}): delete it and run again.") from error
    return clip, clap


def _new_head(width: int) -> nn.Sequential:
    from torch import nn

    return nn.Sequential(
        nn.Linear(width, HIDDEN),
        nn.BatchNorm1d(HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, WIDTH),
        nn.BatchNorm1d(WIDTH),
    )


def _train(heads: list[nn.Sequential], sides: list[tuple[Tensor, Tensor]], steps: int) -> None:
    import torch
    from torch.nn.functional import cross_entropy, normalize

    count = len(sides[0][0])
    parameters = [parameter for head in heads for parameter in head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)

    def noisy(rows: Tensor) -> Tensor:
        noise = torch.randn_like(rows) * (NOISE / rows.shape[1] ** 0.5)
        return normalize(rows + noise, dim=1)

    def contrast(here: Tensor, there: Tensor) -> Tensor:
        scores = here @ there.T / CONTRAST
        own = torch.arange(len(scores))
        return (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2

    for _ in range(steps):
        chosen = torch.randperm(count)[:BATCH]
        said, found = [], []
        for head, (texts, memory) in zip(heads, sides, strict=True):
            text = texts[chosen]
            nearest = torch.softmax(text @ memory.T / NEAREST, dim=1) @ memory
            out = head(torch.cat([noisy(text), noisy(normalize(nearest, dim=1))]))
            out = normalize(out, dim=1)
            said.append(out[: len(chosen)])
            found.append(out[len(chosen) :])
        inside = sum((said[n] - found[n]).square().sum(dim=1).mean() / 2 for n in range(2))
        loss = contrast(*said) + contrast(*found) + INSIDE * inside
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def _folded(head: nn.Sequential) -> Head:
    import torch

    arrays = []
    with torch.no_grad():
        for linear, norm in ((head[0], head[1]), (head[3], head[4])):
            gain = norm.weight / (norm.running_var + norm.eps).sqrt()
            bias = (linear.bias - norm.running_mean) * gain + norm.bias
            arrays += [(linear.weight * gain[:, None]).T.contiguous().numpy(), bias.numpy()]
    return Head(*arrays)
