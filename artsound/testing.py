"""Conformance checks for plug-ins: call one in a test of the package that brings the plug-in.

    from artsound.testing import check_captioner

    def test_our_captioner_keeps_the_contract():
        check_captioner("our_package.captioner:Haiku")

Each check takes a name, as a recipe has it, or the object itself, uses it on small synthetic
input, and raises AssertionError with one sentence on the first thing that is wrong. The same
checks run on the built-in objects. docs/extending.md describes what each kind must have.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from artsound import plugins


def _open(kind: str, plugin: Any) -> tuple[Any, str, str]:
    """The object of a plug-in, the argument of its name, and how messages refer to it.

    Also checks what all kinds have in common: a name without a colon, a version that is text, and
    a docstring whose first line `artsound plugins` shows.
    """
    found, argument = plugins.get(kind, plugin) if isinstance(plugin, str) else (plugin, "")
    found = plugins.checked(kind, found)
    what = f"The {kind} {found.name!r}"
    _require(isinstance(found.name, str) and bool(found.name), f"{what}: name must be text.")
    _require(":" not in found.name, f"{what}: a colon in name would begin its argument.")
    _require(
        isinstance(found.version, str) and bool(found.version), f"{what}: version must be text."
    )
    _require(bool(plugins.summary(found)), f"{what} has no docstring: say in a line what it does.")
    return found, argument, what


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _check_unit_rows(what: str, rows: Any, count: int, width: int | None = None) -> None:
    """`rows` is float32 [count, width] of finite rows of length 1."""
    _require(isinstance(rows, np.ndarray), f"{what} gave {type(rows).__name__}, not a numpy array.")
    _require(rows.dtype == np.float32, f"{what} gave {rows.dtype}, not float32.")
    shape = f"[{count}, {width or 'D'}]"
    right = rows.ndim == 2 and len(rows) == count and width in (None, rows.shape[1])
    _require(right, f"{what} gave an array of shape {list(rows.shape)}, not {shape}.")
    _require(bool(np.isfinite(rows).all()), f"{what} gave values that are not finite.")
    lengths = np.linalg.norm(rows, axis=1)
    worst = float(np.abs(lengths - 1).max()) if count else 0.0
    _require(worst < 1e-3, f"{what} gave rows that are not of length 1 (off by {worst:.3g}).")
