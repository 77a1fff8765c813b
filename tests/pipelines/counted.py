"""A stage whose parts record their process, what it loaded, and when they had a GPU."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Sequence

from artsound.recipe import Recipe
from artsound.stage import Context, Outcome, Part, Report, Stage
from artsound.storage import Workspace, write_bytes

PARTS = 8


@functools.cache
def load_once(workspace: Workspace) -> int:
    """Stands where an encoder is opened: kept by the process, as encoders are."""
    write_bytes(workspace.root / f"loaded-{os.getpid()}-{os.urandom(4).hex()}", b"")
    return os.getpid()


def plan(context: Context) -> list[Part]:
    return [Part(f"part-{number}", 1, {"number": number}) for number in range(PARTS)]


def work(context: Context, part: Part) -> Outcome:
    workspace, _recipe = context.workspace, context.recipe
    began = time.monotonic()
    process = load_once(workspace)
    time.sleep(0.2)
    return Outcome((), 1, extra={"process": process, "span": [began, time.monotonic()]})


def needs(recipe: Recipe, part: Part) -> tuple[str, ...]:
    return ("gpu",) if part.inputs["number"] % 2 else ()


def finish(context: Context, results: Sequence[Report]) -> Outcome:
    _workspace, recipe = context.workspace, context.recipe
    on_gpu = [result for result in results if needs(recipe, result.done)]
    return Outcome(
        extra={
            "processes": {result.done.name: result.extra["process"] for result in results},
            "gpu": [result.extra["span"] for result in on_gpu],
        },
    )


STAGE = Stage("counted", 1, (), plan, work, finish, needs=needs)
