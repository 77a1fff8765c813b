"""Averaged weights: what a run validates, keeps as its result and generates with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from artsound.training.model import learned

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]


def move_average(averaged: Tensors, model: Any, step: int, ema: float) -> None:
    """Move `averaged` towards what `model` has learnt by `step`, keeping the share `ema` of it.

    It is quick at first (Karras et al. 2024 use the same ramp), so that the random start is soon
    forgotten.
    """
    import torch

    decay = min(ema, (1 + step) / (10 + step))
    state = learned(model)
    names = [name for name, tensor in state.items() if tensor.is_floating_point()]
    torch._foreach_lerp_(
        [averaged[name] for name in names], [state[name] for name in names], 1 - decay
    )


@contextmanager
def averaged_weights(model: Any, averaged: Tensors) -> Iterator[None]:
    """Within, `model` has the `averaged` weights, in evaluation and without gradients."""
    import torch

    state = learned(model)
    own = {name: tensor.clone() for name, tensor in state.items()}
    model.eval()
    try:
        _copy(averaged, state)
        with torch.inference_mode():
            yield
    finally:
        _copy(own, state)


def _copy(values: Tensors, into: Tensors) -> None:
    for name, tensor in into.items():
        tensor.copy_(values[name])
