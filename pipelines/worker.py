"""What a worker process does first. Imports nothing, so that it comes before any BLAS."""

from __future__ import annotations

import os
import signal


def prepare_worker() -> None:
    """Make this process one processor's worth, and leave Ctrl-C to the process that drives."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
