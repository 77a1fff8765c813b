"""Image conditioning: an encoded picture as the tokens that the UNet attends to.

The picture's measured descriptors, or an encoder's embedding of it, are standardised over the
training pictures and projected.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.encoders.base import Encoder, encoder_digest, open_encoder
from artsound.errors import BadData, BadUsage
from artsound.recipe import Recipe
from artsound.training.config import Condition, Config

if TYPE_CHECKING:
    import torch


# The scalar fields of an artwork's descriptors, in the order of a condition's columns.
IMAGE_FIELDS = (
    "lightness", "lightness_spread", "contrast", "brightness", "saturation", "chroma", "redness",
    "yellowness", "warmth", "colourfulness", "hue_entropy", "edge_density", "horizontal",
    "vertical", "diagonal", "fineness", "complexity", "symmetry", "upper_light", "centre_light",
)  # fmt: skip
# Pictures are measured at this size at most: the descriptors are shares and means, and a larger
# picture only takes longer.
MAX_SIDE = 256


def describe_picture(data: bytes) -> np.ndarray:
    """Descriptors float32 [20] of an encoded picture; MediaError when it cannot be decoded."""
    from artsound.encoders.affect_image import describe_image
    from artsound.media.images import load_rgb

    values = describe_image(load_rgb(data, max_side=MAX_SIDE))
    return np.array([values[name] for name in IMAGE_FIELDS], dtype=np.float32)


@dataclass(frozen=True)
class Standardiser:
    """Column means and spreads over the training pictures, float32 [D] each."""

    mean: np.ndarray
    spread: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """`values` [..., D] in units of the training spread, cut at ±4 (a picture unlike all)."""
        return np.clip((values - self.mean) / self.spread, -4, 4).astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """What a checkpoint stores."""
        return {"condition.mean": self.mean, "condition.spread": self.spread}

    @staticmethod
    def from_tensors(tensors: dict[str, np.ndarray]) -> Standardiser:
        """The standardiser that a checkpoint stores; BadData when it is missing or misshapen."""
        mean, spread = tensors.get("condition.mean"), tensors.get("condition.spread")
        if mean is None or spread is None or mean.shape != spread.shape or mean.ndim != 1:
            raise BadData("The checkpoint lacks the picture statistics: train again.")
        return Standardiser(mean, spread)


def fit_standardiser(values: np.ndarray) -> Standardiser:
    """Means and spreads of `values` [n, D]; a column that never varies gets spread 1."""
    spread = values.std(axis=0)
    spread = np.where(spread < 1e-6, 1.0, spread)
    return Standardiser(values.mean(axis=0).astype(np.float32), spread.astype(np.float32))


def projector(
    dim: int, *, hidden: int, tokens: int, width: int, kind: str = "mlp", heads: int = 4
) -> Any:
    """A module from embeddings [B, dim] to conditioning tokens [B, tokens, width].

    `kind` mlp is one hidden layer. perceiver (Jaegle et al. 2021, a single round) spreads the
    embedding over `tokens` latent vectors, from which learnt queries read; `hidden` must then be a
    multiple of `heads`. Dropped rows (`keep` False) get a learnt token sequence of their own
    instead: the condition of classifier-free guidance (Ho & Salimans 2022).
    """
    import torch
    from torch import nn

    class Perceiver(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spread = nn.Linear(dim, tokens * hidden)
            self.queries = nn.Parameter(torch.randn(tokens, hidden) / hidden**0.5)
            self.before = nn.LayerNorm(hidden)
            self.read = nn.MultiheadAttention(hidden, heads, batch_first=True)
            self.after = nn.Sequential(
                nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, width)
            )

        def forward(self, embedding: torch.Tensor) -> torch.Tensor:
            seen = self.before(self.spread(embedding).unflatten(1, (tokens, hidden)))
            asked = self.queries.expand(len(embedding), -1, -1)
            return self.after(asked + self.read(asked, seen, seen, need_weights=False)[0])

    class Projector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            if kind == "perceiver":
                self.net: nn.Module = Perceiver()
            else:
                self.net = nn.Sequential(
                    nn.Linear(dim, hidden),
                    nn.SiLU(),
                    nn.Linear(hidden, tokens * width),
                    nn.Unflatten(1, (tokens, width)),
                )
            self.norm = nn.LayerNorm(width)
            self.empty = nn.Parameter(torch.zeros(tokens, width))

        def forward(self, embedding: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
            projected = self.norm(self.net(embedding))
            return torch.where(keep[:, None, None], projected, self.empty)

    return Projector()


PictureEncoder = Callable[[bytes], np.ndarray]


def with_encoder(config: Config, known: str = "") -> Config:
    """`config` with the digest of its picture encoder, and the place of its weights in full.

    `known` is that digest where it is known without the weights. BadUsage when the encoder is not
    installed, BadData, saying what to fetch, when its weights are missing.
    """
    condition = config.condition
    if condition.encoder == "affect":
        return config
    place = Path(condition.clip_checkpoint).expanduser()
    update = {
        "encoder_digest": known or _digest(condition),
        "clip_checkpoint": str(place.resolve()) if place.is_file() else condition.clip_checkpoint,
    }
    return config.model_copy(update={"condition": condition.model_copy(update=update)})


def open_picture_encoder(condition: Condition, device: Any = "cpu") -> PictureEncoder:
    """A function from an encoded picture to its float32 [D], as `condition` asks.

    An encoder is loaded when the first picture is seen, once per process. Pictures go through it
    one by one, so that an embedding does not depend on its neighbours. The function raises
    MediaError for a picture that cannot be decoded, and BadData when the encoder is not the one
    that `condition` names by its digest.
    """
    if condition.encoder == "affect":
        return describe_picture

    @functools.cache
    def encoder() -> Encoder:
        check_encoder(condition)
        with _in_training_terms():
            return open_encoder(condition.encoder, _recipe(condition, device))

    return lambda data: encoder().images([data])[0]


def check_encoder(condition: Condition) -> None:
    """BadData when the encoder on this machine is not the one a run began with."""
    if condition.encoder == "affect":
        return
    found = _digest(condition)
    if found != condition.encoder_digest:
        raise BadData(
            f"The weights of {condition.encoder} on this machine ({found[:12]}) are not those the "
            f"run began with ({condition.encoder_digest[:12]}): put those back"
            + (", or name their place." if condition.encoder == "clip" else ".")
        )


def _digest(condition: Condition) -> str:
    with _in_training_terms():
        return encoder_digest(condition.encoder, _recipe(condition, "cpu"))


def _recipe(condition: Condition, device: Any) -> Recipe:
    """The settings of the encoder in the form that opening it takes."""
    name = str(device)
    return Recipe().replaced(
        embed={
            "clip_model": condition.clip_model,
            "clip_checkpoint": condition.clip_checkpoint,
            "device": name if name.startswith("cuda") else "cpu",
        }
    )


@contextmanager
def _in_training_terms() -> Iterator[None]:
    """Encoders name a recipe's keys and remedies: here they are named as in training."""
    try:
        yield
    except ImportError as error:
        raise BadUsage(
            f"This visual encoder needs {error.name}: install artsound[models], or train with "
            "--visual affect."
        ) from error
    except (BadData, BadUsage) as error:
        told = str(error).replace("embed.clip_", "condition.clip_")
        told = told.replace("The bridge imagebind", "The visual encoder imagebind")
        raise type(error)(told.replace("use --bridge concepts", "train with --visual clip")) from (
            error
        )
