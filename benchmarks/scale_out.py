"""From one process to two: how much faster the stages that decode become.

    python benchmarks/scale_out.py [--runner processes|dask] [--workers 2] [--pairs 1000]

Ingests and embeds a rehearsal of reduced size (synthetic pictures and clips) through Prefect, with
one worker process and with several, and prints the ratio of their seconds; the limit for two is
1.7. Workers are warmed up by a first pass; every timed pass does all parts anew, from planning to
the merged files. Best of `--repeats`.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from full_size.sources import write_sources

from artsound.recipe import Recipe
from artsound.storage import Workspace
from pipelines.build import FLOWS
from pipelines.engine import run_flow, session

STAGES = ("ingest", "embed")
LIMIT = 1.7


def seconds(workspace: Workspace, recipe: Recipe, repeats: int) -> dict[str, float]:
    """The best time of each stage, after a pass that warms the workers up."""
    times: dict[str, list[float]] = {stage: [] for stage in STAGES}
    with session(workspace, recipe) as opened:
        for number in range(repeats + 1):
            shutil.rmtree(workspace.parts, ignore_errors=True)
            for stage in STAGES:
                report = run_flow(FLOWS[stage], opened)
                if number:
                    times[stage].append(report.seconds)
    return {stage: min(values) for stage, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runner", choices=("processes", "dask"), default="processes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_sources(Path(folder) / "sources", options.pairs, None)
        sources = {name: f"{folder}/sources/{name}" for name in ("artgraph", "fma")}
        best = []
        for workers in (1, options.workers):
            run = {"runner": options.runner, "workers": workers, "part_size": 64}
            recipe = Recipe().replaced(sources=sources, run=run)
            best.append(seconds(Workspace(Path(folder) / str(workers)), recipe, options.repeats))
    for stage in STAGES:
        one, many = best[0][stage], best[1][stage]
        print(f"{stage}: {one:.2f} s with 1, {many:.2f} s with {options.workers}: {one / many:.2f}")
    one, many = (sum(times.values()) for times in best)
    print(
        f"{options.runner}, 1 to {options.workers}: {one / many:.2f} times as fast; limit {LIMIT}"
    )


if __name__ == "__main__":
    main()
