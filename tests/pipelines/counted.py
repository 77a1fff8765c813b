"""A stage whose parts tell which process did them, what it loaded, and when they had a GPU."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Sequence

from artsound.recipe import Recipe
from artsound.stage import Finish, Part, PartOutput, PartResult, Stage
from artsound.storage import Workspace, write_bytes

PARTS = 8


@functools.cache
def load_once(workspace: Workspace) -> int:
    """Stands where an encoder is opened: kept by the process, as encoders are."""
    write_bytes(workspace.root / f"loaded-{os.getpid()}-{os.urandom(4).hex()}", b"")
    return os.getpid()


def plan(workspace: Workspace, recipe: Recipe) -> list[Part]:
    return [Part(f"part-{number}", 1, {"number": number}) for number in range(PARTS)]


def work(workspace: Workspace, recipe: Recipe, part: Part) -> PartOutput:
    began = time.monotonic()
    process = load_once(workspace)
    time.sleep(0.2)
    return PartOutput(1, (), extra={"process": process, "span": [began, time.monotonic()]})


def needs(recipe: Recipe, part: Part) -> tuple[str, ...]:
    return ("gpu",) if part.inputs["number"] % 2 else ()


def finish(workspace: Workspace, recipe: Recipe, results: Sequence[PartResult]) -> Finish:
    on_gpu = [result for result in results if needs(recipe, result.part)]
    return Finish(
        (),
        {
            "processes": {result.part.name: result.extra["process"] for result in results},
            "gpu": [result.extra["span"] for result in on_gpu],
        },
    )


STAGE = Stage("counted", 1, (), plan, work, finish, needs=needs)
