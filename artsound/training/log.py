"""The run's TensorBoard log."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np


class Log:
    """Scalars, sounds and pictures by step, for `tensorboard --logdir`.

    A log that cannot be written any more is given up: a run is worth more than its log, and the
    next checkpoint tells of a full disk in its own words. Without a folder nothing is logged.
    """

    def __init__(self, folder: Path | None, *, after: int = 0) -> None:
        """`after` is the step a run goes on from: what an earlier try logged beyond it is hidden,
        for those steps are done again."""
        self._writer: Any = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=after + 1 if after else None)

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._try("close")

    def scalar(self, name: str, value: float, step: int) -> None:
        """A number."""
        self._try("add_scalar", name, value, step)

    def sound(self, name: str, wave: np.ndarray, sample_rate: int, step: int) -> None:
        """A waveform float32 [n] in −1..1."""
        self._try("add_audio", name, wave[None], step, sample_rate)

    def picture(self, name: str, rgb: np.ndarray, step: int) -> None:
        """An image uint8 [H, W, 3]."""
        self._try("add_image", name, rgb, step, dataformats="HWC")

    def _try(self, call: str, *values: Any, **options: Any) -> None:
        if self._writer is None:
            return
        try:
            getattr(self._writer, call)(*values, **options)
        except OSError:  # raised late, from the writer's own thread
            self._writer = None
