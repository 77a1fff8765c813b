"""What a run sees of a picture: measured descriptors, or the embedding an encoder makes of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from artsound.encoders.base import Encoder
from artsound.encoders.loading import encoder_digest, open_encoder
from artsound.errors import BadData, BadUsage
from artsound.recipe import Recipe
from artsound.training.conditioning import describe_picture
from artsound.training.config import Condition, Config

See = Callable[[bytes], np.ndarray]


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


def open_eye(condition: Condition, device: Any = "cpu") -> See:
    """A function from an encoded picture to its float32 [D], as `condition` wants it.

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
    """Encoders name a recipe's keys and ways out: here they are named as training has them."""
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
