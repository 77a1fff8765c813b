"""What a program does to the disk, step by step: flushes and renames, in the order they happen.

A test cannot cut the power, but it can observe the order of these steps, which makes files survive
that.
"""

from __future__ import annotations

import ctypes
import os
import stat
from pathlib import Path
from typing import Any

import pytest


class Steps:
    """The steps taken below a folder since this object was made; the real calls are made, too.

    `taken` holds, in order: "flush N bytes" (fsync of a file that holds N bytes), "flush folder
    NAME", "rename to NAME" and "flush file system"; names are relative to the folder.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.taken: list[str] = []
        fsync, replace, sync, library = os.fsync, os.replace, os.sync, ctypes.CDLL
        steps = self

        def flushing(descriptor: int) -> None:
            fsync(descriptor)
            self._flushed(os.fstat(descriptor))

        def renaming(source: Any, target: Any, **options: Any) -> None:
            replace(source, target, **options)
            self.taken.append(f"rename to {self._name(target)}")

        def flushing_all() -> None:
            sync()
            self.taken.append("flush file system")

        class Library(library):  # type: ignore[misc, valid-type]
            def syncfs(self, descriptor: int) -> int:
                failed: int = self["syncfs"](descriptor)
                steps.taken.append("flush file system")
                return failed

        monkeypatch.setattr(os, "fsync", flushing)
        monkeypatch.setattr(os, "replace", renaming)
        monkeypatch.setattr(os, "rename", renaming)
        monkeypatch.setattr(os, "sync", flushing_all)
        monkeypatch.setattr(ctypes, "CDLL", Library)

    def _flushed(self, status: os.stat_result) -> None:
        if not stat.S_ISDIR(status.st_mode):
            self.taken.append(f"flush {status.st_size} bytes")
            return
        folders = [self.folder, *(path for path in self.folder.rglob("*") if path.is_dir())]
        [found] = [path for path in folders if os.path.samestat(path.stat(), status)]
        self.taken.append(f"flush folder {self._name(found)}")

    def _name(self, path: Any) -> str:
        return Path(path).relative_to(self.folder).as_posix()
