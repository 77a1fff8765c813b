"""Files in place of an encoder's weights: what each holds, and what is said of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Code:
    """A pickle of it runs a command when it is read."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch was-run",)


def _edited(edit: Callable[[int, Any], Any]) -> Callable[[Path, Path], None]:
    """Weights whose tensors, by number, are edited; None leaves one out."""

    def write(good: Path, path: Path) -> None:
        import torch

        tensors = {name: edit(n, t) for n, (name, t) in enumerate(_tensors(good).items())}
        torch.save({"state_dict": {n: t for n, t in tensors.items() if t is not None}}, path)

    return write


def _tensors(good: Path) -> dict[str, Any]:
    import torch

    content = torch.load(good, weights_only=False)
    found: dict[str, Any] = content.get("state_dict", content)
    return found


def _numbers(edit: Callable[[Any], Any]) -> Callable[[Path, Path], None]:
    return _edited(lambda _, t: edit(t) if t.is_floating_point() else t)


def _saved(make: Callable[[Path], Any]) -> Callable[[Path, Path], None]:
    def write(good: Path, path: Path) -> None:
        import torch

        torch.save(make(good), path)

    return write


def _linear(_: Path) -> dict[str, Any]:
    import torch

    return torch.nn.Linear(3, 3).state_dict()


def _int8(tensor: Any) -> Any:
    import torch

    return (tensor * 20).to(torch.int8)


FAULTS: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "of another architecture": (_saved(_linear), "cannot be loaded"),
    "of other shapes": (_numbers(lambda t: t.flatten().repeat(2)), "cannot be loaded"),
    "with half of its tensors": (_edited(lambda n, t: t if n % 2 else None), "cannot be loaded"),
    "cut": (
        lambda good, path: path.write_bytes(good.read_bytes()[: good.stat().st_size // 2]),
        "is cut short: fetch it again",
    ),
    "empty": (lambda _, path: path.write_bytes(b""), "is empty: fetch it again"),
    "a web page": (lambda _, path: path.write_text("\n<html>No</html>"), "is a web page: fetch"),
    "a pointer": (
        lambda _, path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
        "is a pointer of Git LFS",
    ),
    "of an optimiser": (_saved(lambda _: {"epoch": 3, "lr": 1.0}), "is not a checkpoint"),
    "with code": (
        _saved(lambda good: {"state_dict": _tensors(good), "more": Code()}),
        r"holds more than weights \(\w+\.system\)",
    ),
    "quantised": (_numbers(_int8), r"holds quantised weights \(.* is int8\).*: fetch"),
    "not finite": (_numbers(lambda t: t * float("nan")), "not finite.*(checkpoint|fetch)"),
    "of zeros": (_numbers(lambda t: t * 0), "zero or not finite"),
    "of one number": (_numbers(lambda t: t * 0 + 0.01), "nearly the same vector.*Fetch it again"),
}
