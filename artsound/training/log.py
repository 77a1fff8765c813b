"""The run's TensorBoard log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np


class Log:
    """Scalars, sounds and pictures by step, for `tensorboard --logdir`.

    A log that cannot be written any more is given up: a run is worth more than its log, and the
    next checkpoint tells of a full disk in its own words.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))
        self._broken = False

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._try(self._writer.close)

    def scalar(self, name: str, value: float, step: int) -> None:
        """A number."""
        self._try(self._writer.add_scalar, name, value, step)

    def sound(self, name: str, wave: np.ndarray, sample_rate: int, step: int) -> None:
        """A waveform float32 [n] in −1..1."""
        self._try(self._writer.add_audio, name, wave[None], step, sample_rate)

    def picture(self, name: str, rgb: np.ndarray, step: int) -> None:
        """An image uint8 [H, W, 3]."""
        self._try(self._writer.add_image, name, rgb, step, dataformats="HWC")

    def _try(self, write: Callable[..., object], *values: Any, **options: Any) -> None:
        if self._broken:
            return
        try:
            write(*values, **options)
        except OSError:  # raised late, from the writer's own thread
            self._broken = True
