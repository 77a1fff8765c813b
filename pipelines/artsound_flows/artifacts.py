"""Artifacts of a stage in Prefect's UI: progress, counts, and the link of the report.

An artifact that the server does not accept is left out, and does not fail the build.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext

from artsound.progress import Progress
from artsound.stage import Report

_PAUSE = 2.0  # seconds between two updates at least: each is a request to the server


class ProgressInPrefect:
    """Passes all calls to another progress, and reports the completed share to Prefect."""

    def __init__(self, other: Progress) -> None:
        self._other = other
        self._artifact: UUID | None = None
        self._items = self._done = 0
        self._reported = 0.0

    def start(self, stage: str, items: int, unit: str = "items") -> None:
        self._other.start(stage, items, unit)
        self._items, self._done, self._reported = items, 0, time.monotonic()
        made = _try(
            lambda: create_progress_artifact(0.0, key=f"{stage}-progress", description=stage)
        )
        self._artifact = made if isinstance(made, UUID) else None

    def total(self, items: int) -> None:
        self._other.total(items)
        self._items = items

    def advance(self, items: int, *, before: bool = False) -> None:
        self._other.advance(items, before=before)
        self._done += items
        if time.monotonic() - self._reported > _PAUSE:
            self._report()

    def finish(self) -> None:
        self._other.finish()
        self._report()
        self._artifact = None

    def note(self, sentence: str) -> None:
        self._other.note(sentence)

    def _report(self) -> None:
        artifact = self._artifact
        if artifact is not None and self._items:
            share = min(100.0, 100.0 * self._done / self._items)
            _try(lambda: update_progress_artifact(artifact, share))
            self._reported = time.monotonic()


def show_counts(report: Report) -> None:
    """Show a table of a stage's counts."""
    names = (
        "items_in", "items_out", "filtered", "failed", "parts", "parts_skipped", "bytes",
        "peak_memory",
    )  # fmt: skip
    row = {name: getattr(report, name) for name in names}
    row |= {name: round(getattr(report, name), 1) for name in ("seconds", "items_per_second")}
    description = f"{report.stage}: items in = items out + filtered + failed"
    _try(lambda: create_table_artifact([row], key=report.stage, description=description))


def show_report(page: Path) -> None:
    """Show a link to the finished build's report."""
    link = page.resolve().as_uri()
    _try(lambda: create_link_artifact(link, link_text=str(page), key="report-page"))


def _try(make: Callable[[], Any]) -> Any:
    if FlowRunContext.get() is None:  # progress before the first flow
        return None
    with contextlib.suppress(Exception):
        return make()
    return None
