"""From one process to two: how much faster the stages that decode become.

    python benchmarks/scale_out.py [--runner processes|dask] [--workers 2] [--pairs 640] [--small]

Ingests and embeds synthetic pictures and clips of real size (--small: of the rehearsal's few kB)
through Prefect, with one worker process and with several, and prints the ratio of their seconds;
the limit for two is 1.7. Workers are warmed up by a first pass; every timed pass does all parts
again, from planning to the merged files. Best of `--repeats`. What the machine itself allows is
printed beside it: the same parts on as many bare processes, over one.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from full_size.sources import write_sources
from prefect_overhead import map_on

from artsound.build import stage_of
from artsound.processes import prepare_worker
from artsound.recipe import Recipe
from artsound.stage import Report, run_stage
from artsound.storage import Workspace
from artsound_flows.engine import Session, run_flow, session
from artsound_flows.flows import FLOWS

STAGES = ("ingest", "embed")
LIMIT = 1.7


def seconds(
    workspace: Workspace, recipe: Recipe, run: Callable[[str], Report], repeats: int
) -> dict[str, float]:
    """The best time of each stage, after a pass that warms the workers up."""
    times: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for number in range(repeats + 1):
        shutil.rmtree(workspace.parts, ignore_errors=True)
        for stage in STAGES:
            began = time.perf_counter()
            run(stage)
            if number:
                times[stage].append(time.perf_counter() - began)
    return {stage: min(values) for stage, values in times.items()}


def through_prefect(workspace: Workspace, recipe: Recipe, repeats: int) -> dict[str, float]:
    """As a build runs them."""
    with session(workspace, recipe) as opened:
        run = functools.partial(_flow, opened)
        return seconds(workspace, recipe, run, repeats)


def bare(workspace: Workspace, recipe: Recipe, repeats: int) -> dict[str, float]:
    """On as many processes, without Prefect."""
    context = multiprocessing.get_context("spawn")
    workers = recipe.run.workers
    with ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker) as pool:
        on_pool = functools.partial(map_on, pool)

        def run(stage: str) -> Report:
            return run_stage(stage_of(stage), workspace, recipe, map_parts=on_pool)

        return seconds(workspace, recipe, run, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runner", choices=("processes", "dask"), default="processes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="the rehearsal's media, of a few kB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_sources(Path(folder) / "sources", options.pairs, None, large_media=not options.small)
        sources = {name: f"{folder}/sources/{name}" for name in ("artgraph", "fma")}
        best: dict[str, list[dict[str, float]]] = {"bare": [], options.runner: []}
        for workers in (1, options.workers):
            run = {"runner": options.runner, "workers": workers, "part_size": 64}
            recipe = Recipe().replaced(sources=sources, run=run)
            workspace = Workspace(Path(folder) / str(workers))
            best["bare"].append(bare(workspace, recipe, options.repeats))
            best[options.runner].append(through_prefect(workspace, recipe, options.repeats))
    for name, (alone, together) in best.items():
        for stage in STAGES:
            one, many = alone[stage], together[stage]
            print(
                f"{name}, {stage}: {one:.2f} s with 1, {many:.2f} s with {options.workers}: "
                f"{one / many:.2f} times as fast"
            )
    one, many = (sum(times.values()) for times in best[options.runner])
    print(
        f"{options.runner}, 1 to {options.workers}: {one / many:.2f} times as fast; limit {LIMIT}"
    )


def _flow(opened: Session, stage: str) -> Report:
    return run_flow(FLOWS[stage], opened)


if __name__ == "__main__":
    main()
