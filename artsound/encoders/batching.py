"""Encode items by a model: decoded ahead in threads, in batches that shrink to fit memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from artsound.errors import BadData
from artsound.media import MediaError
from artsound.read_ahead import ordered_ahead

if TYPE_CHECKING:
    import torch
    from torch import Tensor


T = TypeVar("T")


class ItemError(MediaError):
    """The MediaError of item number `index` of a sequence."""

    def __init__(self, reason: str, message: str, index: int = -1) -> None:
        super().__init__(reason, message)
        self.index = index


def encode(
    items: Sequence[T],
    decode: Callable[[T], Tensor],
    forward: Callable[[Tensor], Tensor],
    *,
    dim: int,
    batch: int,
    threads: int,
) -> np.ndarray:
    """Encode items in batches; if memory runs out, the batch is halved for the rest.

    An item with several rows (windows of a clip) gets the mean of their unit vectors, scaled to
    length one.

    Args:
        items: Read in the decoding threads.
        decode: Gives an item's rows [w, …], w ≥ 1.
        forward: Maps up to `batch` rows to vectors [rows, dim].
        dim: The width of a vector.
        batch: Rows per forward pass.
        threads: For decoding.

    Returns:
        Unit rows float32 [n, dim], one for each item.

    Raises:
        ItemError: An item cannot be decoded.
        BadData: A single row does not fit into memory, or vectors are zero or not finite.
    """
    import torch

    counts: list[int] = []
    waiting: list[Tensor] = []
    vectors: list[Tensor] = []

    def run(most: int) -> None:
        nonlocal batch, waiting
        rows = torch.cat(waiting)
        while len(rows) > most:
            # Vectors stay on the device, since copying them would make it wait.
            done, batch = _forward(forward, rows[:batch], batch)
            vectors.append(done)
            rows = rows[len(done) :]
        waiting = [rows]

    with torch.inference_mode():
        for rows in _decoded(items, decode, ahead=2 * batch, threads=threads):
            counts.append(len(rows))
            waiting.append(rows)
            if sum(map(len, waiting)) >= batch:
                run(most=batch - 1)
        if not counts:
            return np.zeros((0, dim), np.float32)
        run(most=0)
        found = torch.cat([torch.nn.functional.normalize(v.float(), dim=-1) for v in vectors])
        return _averaged(found.cpu().numpy(), counts)


def _forward(forward: Callable[[Tensor], Tensor], rows: Tensor, batch: int) -> tuple[Tensor, int]:
    """Vectors of the first rows, and the number of rows that fits into memory."""
    remedy = 'embed.precision = "bf16" or embed.device = "cpu"'
    return within_memory(lambda most: forward(rows[:most]), batch, len(rows), remedy)


def within_memory(run: Callable[[int], T], batch: int, items: int, remedy: str) -> tuple[T, int]:
    """Call `run` with a number of items, which is halved while the device's memory is too small.

    Args:
        run: Takes the most items of one pass.
        batch: That number at first.
        items: How many items there are.
        remedy: Settings that need less memory, for the message.

    Returns:
        What `run` gives, and the number that fits.

    Raises:
        BadData: A single item does not fit.
    """
    import torch

    while True:
        try:
            return run(batch), batch
        except torch.OutOfMemoryError as error:
            fitting = min(batch, items) // 2
            if not fitting:
                raise BadData(
                    "Not even one item at a time fits into the device's memory: choose a smaller "
                    f"model, {remedy}."
                ) from error
            batch = fitting
        torch.cuda.empty_cache()  # outside the handler, once the failed pass is released


def out_of_memory(error: BaseException, what: str, device: str) -> BadData | None:
    """The error for a model that does not fit into a device's memory; None for another fault."""
    import torch

    if not isinstance(error, torch.OutOfMemoryError):
        return None
    return BadData(
        f"{what} does not fit into the memory of {device} when it is loaded: end what else uses "
        "it, choose a smaller model, or set the device to cpu."
    )


def _decoded(
    items: Sequence[T], decode: Callable[[T], Tensor], *, ahead: int, threads: int
) -> Iterator[Tensor]:
    """The items' rows in order, decoded at most `ahead` items ahead."""

    def job(index: int) -> Tensor:
        try:
            return decode(items[index])
        except MediaError as error:
            raise ItemError(error.reason, error.message, index) from error

    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        yield from ordered_ahead(pool, job, range(len(items)), ahead)


def _averaged(vectors: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    starts = np.cumsum([0, *counts[:-1]])
    sums = np.add.reduceat(vectors, starts, axis=0)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise BadData(
            "The encoder gives vectors that are zero or not finite: its checkpoint is broken, or "
            'needs embed.precision = "fp32".'
        )
    return (sums / lengths).astype(np.float32)


def decoding_threads(device: str) -> int:
    """How many threads decode for a device; on the CPU one, since passes use the processors."""
    return 1 if device == "cpu" else min(16, os.cpu_count() or 1)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Within this block torch uses one CPU thread.

    Otherwise the order of sums, and so the last bits of vectors, would depend on the number of
    processors.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def autocast(precision: str, device: str) -> torch.autocast:
    """A context for passes in "fp32", "fp16" or "bf16"; weights stay float32."""
    import torch

    types = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    kind = torch.device(device).type
    if precision == "fp32":
        return torch.autocast(kind, enabled=False)
    return torch.autocast(kind, dtype=types[precision])
