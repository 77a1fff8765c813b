"""Where parts run: one Prefect task per part, on threads, processes or a Dask cluster.

A session is one build's hold on a workspace: its lock, its progress display and its worker
processes, which live as long as the session, so that a model is loaded once per process and
not once per stage.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import Flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import as_completed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from artsound.errors import ArtSoundError, BadUsage
from artsound.recipe import Recipe
from artsound.stage import (
    QUIET,
    Part,
    PartResult,
    Progress,
    Stage,
    StageReport,
    run_part,
    run_stage,
)
from artsound.storage import Workspace, write_bytes
from pipelines.worker import prepare_worker


class Stopped(ArtSoundError):
    """The build is ending early, because of a fault told elsewhere."""


_active: Session | None = None


@dataclass
class Session:
    """One build's hold on a workspace. Open one with `session`."""

    workspace: Workspace
    recipe: Recipe
    progress: Progress = QUIET
    retry_failed: bool = False
    dask_address: str = ""
    reports: list[StageReport] = field(default_factory=list)
    stopping: bool = False
    _pool: Executor | None = None

    def task_runner(self) -> TaskRunner[Any]:
        """What Prefect hands a stage's parts to."""
        if self.recipe.run.runner == "dask":
            from prefect_dask import DaskTaskRunner

            return DaskTaskRunner(address=self.dask_address)
        return ThreadPoolTaskRunner(max_workers=worker_count(self.recipe))

    def call(self, stage: Stage, part: Part) -> PartResult:
        """Do one part: in a worker process where the recipe asks for processes, else here."""
        if self.stopping:
            raise Stopped(f"Part {part.name} was not begun: another part failed.")
        arguments = (stage, self.workspace, self.recipe, part)
        if self.recipe.run.runner != "processes" or not stage.side_by_side:
            return run_part(*arguments, retry_failed=self.retry_failed)
        if self._pool is None:
            self._pool = _process_pool(worker_count(self.recipe))
        try:
            return self._pool.submit(run_part, *arguments, retry_failed=self.retry_failed).result()
        except BrokenProcessPool:
            # A worker was killed, perhaps for memory. The task's retry finds a new pool.
            self._pool = None
            raise

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def worker_count(recipe: Recipe) -> int:
    """How many parts are at work at once."""
    return recipe.run.workers or len(os.sched_getaffinity(0))


@contextlib.contextmanager
def session(
    workspace: Workspace,
    recipe: Recipe,
    *,
    progress: Progress = QUIET,
    retry_failed: bool = False,
) -> Iterator[Session]:
    """Hold `workspace` for one build; inside another session on it, that one is shared.

    Raises BadUsage when another process is at work there.
    """
    global _active  # noqa: PLW0603  (one build per process: Prefect's tasks find it here)
    if _active is not None and _active.workspace == workspace:
        yield _active
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(workspace.lock())
        workspace.sweep()
        write_bytes(workspace.recipe, recipe.to_toml().encode())
        address = ""
        if recipe.run.runner == "dask":
            address = recipe.run.dask_address or stack.enter_context(_local_dask(recipe))
        opened = Session(workspace, recipe, progress, retry_failed, address)
        stack.callback(opened.close)
        _active = opened
        try:
            yield opened
        finally:
            _active = None


def stage_flow(stage: Stage, doc: str) -> Flow[..., StageReport]:
    """The Prefect flow of one stage: `flow(out, recipe)`; its parts are its tasks."""

    def run(out: Path, recipe: Recipe) -> StageReport:
        with session(Workspace(out), recipe) as opened:
            report = run_stage(
                stage,
                opened.workspace,
                recipe,
                progress=opened.progress,
                map_parts=map_as_tasks,
                retry_failed=opened.retry_failed,
            )
            opened.reports.append(report)
            return report

    return Flow(run, name=stage.name, description=doc, flow_run_name=f"{stage.name} {{out}}")


def run_flow(stage: Flow[..., StageReport], opened: Session) -> StageReport:
    """Run a stage's flow inside a session, on the session's workers."""
    runner = opened.task_runner()
    return stage.with_options(task_runner=runner)(opened.workspace.root, opened.recipe)


def map_as_tasks(
    stage: Stage,
    workspace: Workspace,
    recipe: Recipe,
    parts: Sequence[Part],
    *,
    retry_failed: bool,
) -> Iterable[PartResult]:
    """One Prefect task per part; results as they are ready."""
    if not stage.side_by_side:
        for part in parts:
            yield _do_part(stage, workspace, recipe, part, retry_failed)
        return
    futures = [_do_part.submit(stage, workspace, recipe, part, retry_failed) for part in parts]
    try:
        for future in as_completed(futures):
            yield future.result()
    except BaseException:
        if _active is not None:
            _active.stopping = True  # the flow waits for its tasks: let them end at once
        raise


def _worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Retry what another try may cure: a lost worker, not bad data."""
    try:
        state.result()
    except ArtSoundError:
        return False
    except BrokenProcessPool:
        return True
    except Exception as error:  # noqa: BLE001  (whatever a cluster raises for a lost worker)
        return type(error).__module__.startswith("distributed")
    return False


@task(
    name="part",
    task_run_name="{part.name}",
    retries=2,
    retry_delay_seconds=1,
    retry_condition_fn=_worth_retrying,
    persist_result=False,
    cache_policy=NO_CACHE,
)
def _do_part(
    stage: Stage, workspace: Workspace, recipe: Recipe, part: Part, retry_failed: bool
) -> PartResult:
    if _active is not None:
        return _active.call(stage, part)
    return run_part(stage, workspace, recipe, part, retry_failed=retry_failed)  # a Dask worker


def _process_pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker)


@contextlib.contextmanager
def _local_dask(recipe: Recipe) -> Iterator[str]:
    try:
        from distributed import LocalCluster
    except ImportError as error:
        raise BadUsage("The dask runner needs an extra: pip install 'artsound[dask]'.") from error
    with LocalCluster(
        n_workers=worker_count(recipe),
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=50,
    ) as cluster:
        yield cluster.scheduler_address
