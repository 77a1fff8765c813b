"""The run's TensorBoard log."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np


class Log:
    """Scalars, sounds and pictures by step, for `tensorboard --logdir`."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    def scalar(self, name: str, value: float, step: int) -> None:
        """A number."""
        self._writer.add_scalar(name, value, step)

    def sound(self, name: str, wave: np.ndarray, sample_rate: int, step: int) -> None:
        """A waveform float32 [n] in −1..1."""
        self._writer.add_audio(name, wave[None], step, sample_rate)

    def picture(self, name: str, rgb: np.ndarray, step: int) -> None:
        """An image uint8 [H, W, 3]."""
        self._writer.add_image(name, rgb, step, dataformats="HWC")
