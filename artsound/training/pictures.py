"""Image conditioning: a picture as the tokens that the UNet attends to.

The picture's measured descriptors, or an encoder's embedding, are standardised over the training
pictures and projected.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.encoders.base import (
    Encoder,
    EncoderSettings,
    check_modality,
    encoder_digest,
    find_encoder,
    open_encoder,
    settings_of,
)
from artsound.encoders.descriptors import SOUND_FIELDS, Descriptors, as_embedded
from artsound.errors import BadData
from artsound.training.config import PERCEIVER_HEADS, Condition, Config

if TYPE_CHECKING:
    import torch


def describe_picture(data: bytes) -> np.ndarray:
    """Descriptors float32 [20] of an encoded picture; MediaError if it cannot be decoded."""
    return Descriptors().images([data])[0]


@dataclass(frozen=True)
class Standardiser:
    """Column means and spreads over the training pictures, float32 [D] each."""

    mean: np.ndarray
    spread: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """`values` [..., D] in units of the training spread, clipped at ±4."""
        return np.clip((values - self.mean) / self.spread, -4, 4).astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays for a checkpoint."""
        return {"condition.mean": self.mean, "condition.spread": self.spread}

    @staticmethod
    def from_tensors(tensors: dict[str, np.ndarray]) -> Standardiser:
        """The standardiser of a checkpoint's arrays; BadData if they are missing or misshapen."""
        mean, spread = tensors.get("condition.mean"), tensors.get("condition.spread")
        if mean is None or spread is None or mean.shape != spread.shape or mean.ndim != 1:
            raise BadData("The checkpoint lacks the picture statistics: train again.")
        return Standardiser(mean, spread)


def fit_standardiser(values: np.ndarray) -> Standardiser:
    """Means and spreads of `values` [n, D]; a column that never varies gets spread 1."""
    spread = values.std(axis=0)
    spread = np.where(spread < 1e-6, 1.0, spread)
    return Standardiser(values.mean(axis=0).astype(np.float32), spread.astype(np.float32))


_GAIN = 2.0  # a ridge's predictions vary less than music does; chosen on samples of seed 21


@dataclass(frozen=True)
class Prior:
    """Predicts standardised descriptors of music from a picture's standardised embedding.

    Few pairs suffice to fit it, and the network learns from clips alone how music of some
    descriptors sounds: the two steps of unCLIP (Ramesh et al. 2022), with a ridge regression
    (Hoerl & Kennard 1970) as the first.

    Attributes:
        music: Of the training clips' descriptors.
        weights: float32 [D, descriptors].
    """

    music: Standardiser
    weights: np.ndarray

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Predictions float32 [..., descriptors] for standardised embeddings [..., D]."""
        return np.clip(_GAIN * (pictures @ self.weights), -4, 4).astype(np.float32)

    def distances(self, predicted: np.ndarray, described: np.ndarray) -> np.ndarray:
        """How far clips, by their descriptors [n, descriptors], are from predictions: [n]."""
        apart = self.music(as_embedded(described)) - predicted
        return np.asarray(np.sqrt(np.square(apart).mean(axis=1)))


@dataclass(frozen=True)
class Conditioner:
    """What the network is given of a pair: of its picture, or by a prior of its music."""

    standardise: Standardiser
    prior: Prior | None = None

    @property
    def dim(self) -> int:
        """The width of a condition."""
        return len(self.standardise.mean if self.prior is None else self.prior.music.mean)

    def of_pictures(self, pictures: np.ndarray) -> np.ndarray:
        """Conditions float32 [..., dim] of embeddings [..., D]: for generation and validation."""
        standard = self.standardise(pictures)
        return standard if self.prior is None else self.prior(standard)

    def of_pair(self, picture: np.ndarray, music: np.ndarray | None) -> np.ndarray:
        """The condition [dim] of a pair to train on, by its embedding and its music's row."""
        if self.prior is None or music is None:
            return self.standardise(picture)
        return self.prior.music(music)

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays for a checkpoint."""
        if self.prior is None:
            return self.standardise.tensors()
        music = self.prior.music
        return {
            **self.standardise.tensors(),
            "prior.mean": music.mean,
            "prior.spread": music.spread,
            "prior.weights": self.prior.weights,
        }

    @staticmethod
    def from_tensors(condition: Condition, tensors: dict[str, np.ndarray]) -> Conditioner:
        """The conditioner of a checkpoint's arrays; BadData if they are missing or misshapen."""
        standardise = Standardiser.from_tensors(tensors)
        if not condition.prior:
            return Conditioner(standardise)
        found = [tensors.get(f"prior.{name}") for name in ("mean", "spread", "weights")]
        mean, spread, weights = (np.zeros(0) if each is None else each for each in found)
        shape = (len(standardise.mean), len(SOUND_FIELDS))
        if weights.shape != shape or mean.shape != shape[1:] or spread.shape != shape[1:]:
            raise BadData("The checkpoint's prior is missing or misshapen: train again.")
        return Conditioner(standardise, Prior(Standardiser(mean, spread), weights))


def fit_conditioner(
    condition: Condition, pictures: np.ndarray, music: np.ndarray | None
) -> Conditioner:
    """Fit to pairs of the train split: embeddings [n, D], and with a prior rows of music [n, M]."""
    standardise = fit_standardiser(pictures)
    if not condition.prior or music is None:
        return Conditioner(standardise)
    scale = fit_standardiser(music)
    given = standardise(pictures).astype(np.float64)
    ridge = given.T @ given + condition.prior * np.eye(given.shape[1])
    weights = np.linalg.solve(ridge, given.T @ scale(music))
    return Conditioner(standardise, Prior(scale, weights.astype(np.float32)))


def projector(dim: int, condition: Condition) -> Any:
    """A module from embeddings [B, dim] to conditioning tokens [B, tokens, width].

    `condition.projector` mlp is one hidden layer. perceiver (Jaegle et al. 2021, a single round)
    maps the embedding to `tokens` latent vectors, which learned queries attend to. Dropped rows
    (`keep` False) get a learned token sequence instead: the empty condition of classifier-free
    guidance (Ho & Salimans 2022).
    """
    import torch
    from torch import nn

    hidden, tokens, width = condition.hidden, condition.tokens, condition.width

    class Perceiver(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spread = nn.Linear(dim, tokens * hidden)
            self.queries = nn.Parameter(torch.randn(tokens, hidden) / hidden**0.5)
            self.before = nn.LayerNorm(hidden)
            self.read = nn.MultiheadAttention(hidden, PERCEIVER_HEADS, batch_first=True)
            self.after = nn.Sequential(
                nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, width)
            )

        def forward(self, embedding: torch.Tensor) -> torch.Tensor:
            keys = self.before(self.spread(embedding).unflatten(1, (tokens, hidden)))
            queries = self.queries.expand(len(embedding), -1, -1)
            return self.after(queries + self.read(queries, keys, keys, need_weights=False)[0])

    class Projector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            if condition.projector == "perceiver":
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
    """`config` with the digest of its picture encoder, and the full path of its weights.

    `known` is that digest if it is known without the weights.

    Raises:
        BadUsage: The encoder is not installed.
        BadData: Its weights are missing; the message says what to fetch.
    """
    condition = config.condition
    update = {"encoder_digest": known or _digest(condition)}
    if key := checkpoint_key(condition):
        place = Path(getattr(condition, key)).expanduser()
        update[key] = str(place.resolve()) if place.is_file() else getattr(condition, key)
    return config.model_copy(update={"condition": condition.model_copy(update=update)})


def open_picture_encoder(condition: Condition, device: Any = "cpu") -> PictureEncoder:
    """A function from an encoded picture to its embedding float32 [D].

    The encoder is loaded with the first picture, once per process. Pictures are encoded one by
    one, so that an embedding does not depend on others. The function raises MediaError for a
    picture that cannot be decoded, and BadData if the encoder does not have the digest in
    `condition`.
    """

    @functools.cache
    def encoder() -> Encoder:
        check_encoder(condition)
        place = str(device) if str(device).startswith("cuda") else "cpu"
        return open_encoder(condition.encoder, _settings(condition), device=place)

    return lambda data: encoder().images([data])[0]


def check_encoder(condition: Condition) -> None:
    """Raise BadData if the encoder on this machine is not the one that the run began with."""
    found = _digest(condition)
    if found != condition.encoder_digest:
        raise BadData(
            f"The weights of {condition.encoder} on this machine ({found[:12]}) are not those the "
            f"run began with ({condition.encoder_digest[:12]}): restore those"
            + (", or give their path." if checkpoint_key(condition) else ".")
        )


def checkpoint_key(condition: Condition) -> str:
    """The key of `condition` that names the weights of its encoder; "" if there is none."""
    key = f"{find_encoder(condition.encoder)[0].name}_checkpoint"
    return key if key in Condition.model_fields else ""


def _digest(condition: Condition) -> str:
    check_modality(condition.encoder, "image")
    return encoder_digest(condition.encoder, _settings(condition))


def _settings(condition: Condition) -> EncoderSettings:
    return settings_of(condition.encoder, condition, "condition")
