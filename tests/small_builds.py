"""Small builds, their recipes and the processes they run in, for the tests of several rooms."""

from __future__ import annotations

import multiprocessing
import tomllib
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

from artsound.build import STAGES, run_build
from artsound.recipe import Recipe, bundled_recipe, recipe_from
from artsound.sample import SamplePaths
from artsound.storage import Workspace, sha256_file

run_serially = partial(run_build, runner="serial")  # whatever the recipe says


def small_recipe(sample: SamplePaths, limit: int = 24) -> Recipe:
    """The sample's recipe on sources already written, with at most `limit` tracks."""
    sources = {"artgraph": str(sample.artgraph), "fma": str(sample.fma), "limit": limit}
    return bundled_recipe("sample").replaced(
        sources=sources, shards={"pairs_per_shard": 6}, run={"runner": "serial", "part_size": 16}
    )


def shard_digests(workspace: Workspace) -> dict[str, str]:
    """Every file of a build's release, with its digest."""
    return {path.name: sha256_file(path) for path in sorted(workspace.shards.iterdir())}


def start_build(
    out: Path,
    recipe: Recipe,
    stages: Sequence[str] = (),
    prepare: Callable[..., object] | None = None,
    arguments: Sequence[object] = (),
) -> BaseProcess:
    """A build in a process forked from one that has everything imported, and nothing running.

    Of `stages` alone, one after the other; without any, of all. `prepare` is called in that
    process with `arguments` before the build begins: a function of strikes.py.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["artsound.build", *STAGES.values()])
    process = context.Process(
        target=_build, args=(out, recipe.to_toml(), stages, prepare, arguments)
    )
    process.start()
    return process


def _build(
    out: Path,
    recipe_text: str,
    stages: Sequence[str],
    prepare: Callable[..., object] | None,
    arguments: Sequence[object],
) -> None:
    if prepare is not None:
        prepare(*arguments)
    recipe = recipe_from(tomllib.loads(recipe_text), "the test")
    for stage in stages or (None,):
        run_serially(Workspace(out), recipe, only=stage)
