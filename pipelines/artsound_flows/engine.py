"""Where parts run: one Prefect task per part, on threads, processes or a Dask cluster.

The flows of one build share a session: the workspace's lock, the progress display and the worker
processes, which exist as long as the session, so that a model is loaded once per process and not
once per stage.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

from prefect import Flow, get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture, as_completed
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)
from prefect.states import Cancelled
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task, exponential_backoff

from artsound.build import log_lost_worker, open_build, unload_models, uses_gpu
from artsound.errors import ArtSoundError, BadUsage, redacted_values
from artsound.gpus import gpu_lease
from artsound.processes import (
    clean_up_with,
    end_now,
    keep_freed_memory,
    one_blas_thread,
    process_pool,
    reporting,
    retake_signals,
    worker_count,
)
from artsound.progress import QUIET, Progress
from artsound.recipe import Recipe
from artsound.stage import (
    Context,
    Part,
    Report,
    Stage,
    context_of,
    finished_part,
    run_part,
    run_stage,
)
from artsound.storage import Workspace
from artsound_flows import server
from artsound_flows.artifacts import ProgressInPrefect, show_counts, show_report
from artsound_flows.cluster import check_cluster, dask_cluster, placement, watched_cluster

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class DiscreetFlow(Flow[Parameters, Result]):
    """A flow whose parameters reach Prefect's records without passwords, tokens and signatures."""

    def serialize_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """What the server stores and shows of the parameters."""
        return cast(dict[str, Any], redacted_values(super().serialize_parameters(parameters)))

    def with_options(self, **options: Any) -> DiscreetFlow[Parameters, Result]:  # type: ignore[override]
        """A copy with other options, of this class: Prefect would make a plain flow."""
        changed = super().with_options(**options)
        changed.__class__ = DiscreetFlow
        return cast(DiscreetFlow[Parameters, Result], changed)


class Stopped(ArtSoundError):
    """The build ends early because of an error in another part."""


_CANCELLED = "Interrupted; the same build continues from its markers."

_ON_PROCESSES = ("processes", "prefect")  # runners; the others use threads of this process

_active: Session | None = None


@dataclass
class Session:
    """State shared by the flows of one build. Open one with `session`."""

    workspace: Workspace
    recipe: Recipe
    progress: Progress = QUIET
    retry_failed: bool = False
    dask_address: str = ""
    server_stays: bool = True
    reports: list[Report] = field(default_factory=list)
    flow_runs: list[UUID] = field(default_factory=list)
    stopping: bool = False
    _pool: Executor | None = None

    def task_runner(self) -> TaskRunner[Any]:
        """Prefect's task runner for a stage's parts."""
        if self.recipe.run.runner == "dask":
            from prefect_dask import DaskTaskRunner

            return DaskTaskRunner(address=self.dask_address)
        return ThreadPoolTaskRunner(max_workers=worker_count(self.recipe.run.workers))

    def call(self, stage: Stage, part: Part) -> Report:
        """Do one part: in a worker process if the recipe's runner uses them, else here."""
        if self.stopping:
            raise Stopped(f"Part {part.name} was not started: another part failed.")
        arguments = (stage, context_of(self.workspace, self.recipe, stage.name), part)
        done = finished_part(*arguments, retry_failed=self.retry_failed)
        if done is not None:  # without starting a worker process
            return done
        if uses_gpu(stage, self.recipe, part):  # here: another process would load each model again
            with gpu_lease():
                return run_part(*arguments, retry_failed=self.retry_failed)
        if self.recipe.run.runner not in _ON_PROCESSES or not stage.side_by_side:
            return run_part(*arguments, retry_failed=self.retry_failed)
        try:
            return self.pool().submit(run_part, *arguments, retry_failed=self.retry_failed).result()
        except BrokenProcessPool:
            # A worker was killed, perhaps for memory. The task's retry uses a new pool.
            self._pool = None
            log_lost_worker(stage.name, part)
            raise

    def pool(self) -> Executor:
        """The session's worker processes, started on first use."""
        if self._pool is None:
            self._pool = process_pool(worker_count(self.recipe.run.workers))
        return self._pool

    def entered_flow(self) -> None:
        """Called at the start of every flow, from within it."""
        retake_signals()
        context = FlowRunContext.get()
        if context is not None and context.flow_run is not None:
            self.flow_runs.append(context.flow_run.id)

    def stop(self) -> None:
        """End at once: start no further part, and kill the worker processes."""
        self.stopping = True
        for child in multiprocessing.active_children() if self._pool is not None else []:
            child.kill()

    def report_cancelled(self) -> None:
        """Report this build's flows as cancelled to a permanent server."""
        if not self.server_stays:
            return
        with get_client(sync_client=True) as client:
            for flow_run in reversed(self.flow_runs):
                client.set_flow_run_state(flow_run, Cancelled(message=_CANCELLED), force=True)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def session(
    workspace: Workspace,
    recipe: Recipe,
    *,
    progress: Progress = QUIET,
    retry_failed: bool = False,
) -> Iterator[Session]:
    """Lock `workspace` for one build; inside another session on it, that one is used.

    Raises:
        BadUsage: Another process has locked it.
    """
    global _active  # noqa: PLW0603  (one build per process: Prefect's tasks find it here)
    if _active is not None and _active.workspace == workspace:
        yield _active
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(open_build(workspace, recipe))
        server_stays = bool(PREFECT_API_URL.value())
        if recipe.run.runner == "dask":
            check_cluster(recipe.run.dask_address, server_stays=server_stays)
        if server_stays:
            stack.callback(_watch_own_server(str(PREFECT_API_URL.value())))
        else:
            stack.enter_context(_temporary_server())
        address = ""
        if recipe.run.runner == "dask":
            workers = worker_count(recipe.run.workers)
            address = stack.enter_context(dask_cluster(recipe.run.dask_address, workers))
            stack.enter_context(watched_cluster(address, end_now))
        progress = ProgressInPrefect(progress)
        opened = Session(workspace, recipe, progress, retry_failed, address, server_stays)
        stack.callback(opened.close)
        stack.enter_context(reporting(opened.report_cancelled))
        _active = opened
        try:
            yield opened
        finally:
            _active = None


def _watch_own_server(url: str) -> Callable[[], None]:
    """End this process with a sentence if the user's own server goes away; returns what ends that.

    Raises:
        BadUsage: It does not answer now.
    """
    server.check_own_server(url)
    sentence = (
        f"The Prefect server at {url} is gone: start it again, or unset PREFECT_API_URL; the same "
        "command continues from here."
    )
    return server.watch_for(lambda: server.accepts_connections(url), sentence, end_now)


@contextlib.contextmanager
def _temporary_server() -> Iterator[None]:
    """Within this block Prefect reports to the temporary server of `server.py`."""
    clean_up_with(server.stop)
    # Heartbeats let a permanent server find crashed flows. A temporary one does not need them, and
    # they delay the end of each flow by up to a second.
    settings: dict[Any, Any] = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    if FlowRunContext.get() is not None:  # called within a flow: Prefect has a server
        with temporary_settings(settings):
            yield
        return
    url = server.address()
    unwatch = server.watch(end_now)
    try:
        with temporary_settings(settings | {PREFECT_API_URL: url}):
            os.environ["PREFECT_API_URL"] = url  # for the workers of a local cluster
            try:
                yield
            finally:
                del os.environ["PREFECT_API_URL"]
    finally:
        unwatch()


def stage_flow(stage: Stage, doc: str) -> Flow[..., Report]:
    """The Prefect flow of one stage: `flow(out, recipe)`; its parts are its tasks."""

    def run(out: Path, recipe: Recipe) -> Report:
        with session(Workspace(out), recipe) as opened:
            opened.entered_flow()
            report = run_stage(
                _limiting_downloads(stage, recipe),
                opened.workspace,
                recipe,
                progress=opened.progress,
                map_parts=map_as_tasks,
                retry_failed=opened.retry_failed,
            )
            unload_models()
            opened.reports.append(report)
            show_counts(report)
            if stage.name == "report":
                show_report(opened.workspace.report / "index.html")
            return report

    return DiscreetFlow(
        run, name=stage.name, description=doc, flow_run_name=f"{stage.name} {{out}}"
    )


def run_flow(stage: Flow[..., Report], opened: Session) -> Report:
    """Run a stage's flow inside a session, on the session's workers."""
    runner = opened.task_runner()
    return stage.with_options(task_runner=runner)(opened.workspace.root, opened.recipe)


def map_as_tasks(
    stage: Stage, context: Context, parts: Sequence[Part], *, retry_failed: bool
) -> Iterable[Report]:
    """One Prefect task per part; results as they are ready."""
    if not stage.side_by_side:
        for part in parts:
            yield _do_part(stage, context, part, retry_failed)
        return
    try:
        futures = [_submit(stage, context, part, retry_failed) for part in parts]
        for future in as_completed(futures):
            yield future.result()
    except BaseException:
        if _active is not None:
            _active.stop()  # the flow waits for its tasks, which must end at once
        raise


def _submit(
    stage: Stage, context: Context, part: Part, retry_failed: bool
) -> PrefectFuture[Report]:
    """Submit a part as a task, tagged with the resources it needs, which also place it in Dask."""
    recipe = context.recipe
    needs = stage.needs(recipe, part) if stage.needs is not None else ()
    work = _do_part.with_options(tags={f"artsound-{need}" for need in needs}) if needs else _do_part
    with contextlib.ExitStack() as stack:
        if recipe.run.runner == "dask":
            import dask

            runner: Any = cast(FlowRunContext, FlowRunContext.get()).task_runner
            stack.enter_context(dask.annotate(**placement(runner.client, needs)))
        return work.submit(stage, context, part, retry_failed)


def _worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Retry if a worker was lost, not for bad data."""
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
    retries=3,
    retry_delay_seconds=exponential_backoff(1),
    retry_jitter_factor=0.5,
    retry_condition_fn=_worth_retrying,
    persist_result=False,
    cache_policy=NO_CACHE,
)
def _do_part(stage: Stage, context: Context, part: Part, retry_failed: bool) -> Report:
    # A cluster gets this function by value with its globals, and the functions it calls by name.
    return do_part(stage, context, part, retry_failed)


def do_part(stage: Stage, context: Context, part: Part, retry_failed: bool) -> Report:
    """Do one part: on the session of this process, or as a Dask worker, which has none."""
    if _active is not None:
        return _active.call(stage, part)
    workspace = context.workspace
    if not workspace.recipe.is_file():
        raise BadUsage(
            f"The Dask worker on {socket.gethostname()} finds no build in {workspace.root}: give "
            "--out a full path of a folder that every machine can access."
        )
    keep_freed_memory()  # the worker may not have been prepared
    one_blas_thread()
    return run_part(stage, context, part, retry_failed=retry_failed)


def _limiting_downloads(stage: Stage, recipe: Recipe) -> Stage:
    if stage.prepare is None or stage.downloads is None or not stage.downloads(recipe):
        return stage
    return replace(stage, prepare=_Fetch(stage.prepare))


@dataclass(frozen=True)
class _Fetch:
    """A stage's `prepare` as a task, which a limit on `artsound-download` applies to."""

    prepare: Callable[[Context, Progress], None]

    def __call__(self, context: Context, progress: Progress) -> None:
        _fetch(self.prepare, context, progress)


@task(name="fetch", tags={"artsound-download"}, persist_result=False, cache_policy=NO_CACHE)
def _fetch(
    prepare: Callable[[Context, Progress], None],
    context: Context,
    progress: Progress,
) -> None:
    prepare(context, progress)  # resumes interrupted downloads itself
