"""What Prefect costs a stage: the same parts on the same worker processes, with it and without.

    python benchmarks/prefect_overhead.py [--parts 8] [--items 256] [--workers 2] [--repeats 3]

A part checks 256 pictures, as ingest does. Without Prefect the parts go straight to a pool of
processes; with it each is a task of a flow, with its state on a server, progress and artifacts.
Turn about, warmed up, best of several; the limit is 5 % more seconds. On a busy machine believe
the processor time: what the driving process used beyond the bare pool's, as a share of the work.
The start of a temporary server, once a build, is printed apart.
"""

from __future__ import annotations

import argparse
import functools
import io
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from PIL import Image

from artsound.media.images import check_image
from artsound.recipe import Recipe
from artsound.stage import Context, Outcome, Part, Report, Stage, run_part, run_stage
from artsound.storage import Workspace
from artsound_flows.engine import run_flow, session, stage_flow

LIMIT = 0.05


@functools.cache
def picture() -> bytes:
    """A JPEG of 1,200 × 1,000 pixels, soft patches with grain."""
    rng = np.random.default_rng(0)
    patches = Image.fromarray(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8))
    canvas = np.asarray(patches.resize((1200, 1000))).astype(np.int16)
    canvas = canvas + rng.integers(-20, 21, canvas.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def plan(parts: int, items: int, context: Context) -> list[Part]:
    return [Part(f"part-{number:05d}", items, {"number": number}) for number in range(parts)]


def work(context: Context, part: Part) -> Outcome:
    _workspace, _recipe = context.workspace, context.recipe
    began = time.process_time()
    for _ in range(part.items):
        check_image(picture(), min_side=128, max_pixels=10_000_000)
    return Outcome((), part.items, extra={"busy": time.process_time() - began})


def finish(context: Context, results: Sequence[Report]) -> Outcome:
    _workspace, _recipe = context.workspace, context.recipe
    return Outcome(extra={"busy": sum(result.extra["busy"] for result in results)})


def map_on(
    pool: ProcessPoolExecutor,
    stage: Stage,
    context: Context,
    parts: Sequence[Part],
    *,
    retry_failed: bool,
) -> Iterable[Report]:
    """The parts on a bare pool of processes."""
    futures = [pool.submit(run_part, stage, context, part) for part in parts]
    for future in as_completed(futures):
        yield future.result()


def timed(workspace: Workspace, run: Callable[[], Report]) -> tuple[float, float]:
    """A stage that has nothing done yet: its seconds, and this process's processor time as a share
    of what its workers used."""
    shutil.rmtree(workspace.parts, ignore_errors=True)
    began, busy = time.perf_counter(), time.process_time()
    report = run()
    return time.perf_counter() - began, (time.process_time() - busy) / report.extra["busy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("parts", 8), ("items", 256), ("workers", 2), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    recipe = Recipe().replaced(run={"runner": "processes", "workers": options.workers})
    stage = Stage(
        "checks", 1, (), functools.partial(plan, options.parts, options.items), work, finish
    )
    flow = stage_flow(stage, "Check pictures.")
    bare, through = [], []
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        with session(workspace, recipe) as opened:
            first, _ = timed(workspace, lambda: run_flow(flow, opened))
            # The session's own pool, so that both ways use the very same warmed-up processes.
            pool = opened.pool()
            for _ in range(options.repeats):
                bare.append(
                    timed(
                        workspace,
                        lambda: run_stage(
                            stage, workspace, recipe, map_parts=functools.partial(map_on, pool)
                        ),
                    )
                )
                through.append(timed(workspace, lambda: run_flow(flow, opened)))
    (plain, plain_share), (full, share) = (
        [min(values) for values in zip(*runs, strict=True)] for runs in (bare, through)
    )
    print(f"first stage, with the start of workers and server: {first:.1f} s")
    print(f"without Prefect {plain:.2f} s, with it {full:.2f} s")
    print(f"processor time beside the workers': {share - plain_share:.1%} more with it")
    print(
        f"Prefect costs {full / plain - 1:.1%} of a stage of {options.items} items a part; "
        f"limit {LIMIT:.0%}"
    )


if __name__ == "__main__":
    main()
