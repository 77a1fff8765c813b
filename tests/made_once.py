"""Expensive fixtures that no test changes, made by the first test process that needs them."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

Value = TypeVar("Value")


def made_once(
    factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Value]
) -> tuple[Path, Value]:
    """A folder that all processes of a test run share, filled by the first; do not change it.

    Args:
        factory: pytest's own fixture.
        name: The folder's name.
        make: Fills the folder, which does not exist yet; what it returns can be pickled.

    Returns:
        The folder, and what `make` returned.
    """
    base = factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder, value = base / name, base / f"{name}.pickle"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other process waits for the first to finish
        if not value.is_file():
            shutil.rmtree(folder, ignore_errors=True)  # what a failed attempt left
            made = pickle.dumps(make(folder))
            value.write_bytes(made)
        return folder, pickle.loads(value.read_bytes())
