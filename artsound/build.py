"""A whole build: the order of its stages, what is checked before it, and where its parts run.

    reports = run_build(Workspace(Path("out")), recipe)

The runners of the library are `serial` (one part after another), `threads`, and `processes`, the
default. The runners `dask` and `prefect` belong to the package `artsound_flows`, which runs these
same stages as Prefect flows. The bytes of a build are the same on all of them.

The process runner also works in this process. It starts others only if there is enough work for
them, since each takes two seconds to import libraries.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from importlib import import_module

from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.gpus import gpu_count, gpu_lease
from artsound.notify import announce
from artsound.processes import keep_freed_memory, process_pool, seldom_collecting, worker_count
from artsound.progress import QUIET, Progress, log
from artsound.recipe import Recipe
from artsound.stage import (
    Context,
    MapParts,
    Part,
    Report,
    Stage,
    damaged_files_of,
    finished_part,
    map_serially,
    run_part,
    run_stage,
)
from artsound.storage import Workspace, check_out, lock_workspace, read_json, write_bytes

# In the usual order. Each module defines one STAGE, and is imported when a build runs.
STAGES = {
    "ingest": "artsound.sources.ingest",
    "embed": "artsound.encoders.embed",
    "pair": "artsound.pairing.pair",
    "caption": "artsound.captions.caption",
    "shard": "artsound.shards.shard",
    "report": "artsound.reports.report",
}

_ALONE = 1.0  # seconds of work in this process after which others are started
_MANY = 128  # waiting items of a stage for which others are started at once
_TRIES = 4  # of a part whose worker process is lost


class WorkerLost(ArtSoundError):
    """A worker process was killed several times at the same part."""


def stage_of(name: str) -> Stage:
    """The stage called `name`, a key of `STAGES`."""
    stage: Stage = import_module(STAGES[name]).STAGE
    return stage


def stage_order(recipe: Recipe) -> tuple[str, ...]:
    """The names of the stages in the order in which a build by `recipe` runs them.

    Captions come before pairs if a bridge uses them.
    """
    from artsound.captions.caption import before_pairs

    names = list(STAGES)
    if before_pairs(recipe):
        names.remove("caption")
        names.insert(names.index("pair"), "caption")
    return tuple(names)


def check_build(
    workspace: Workspace, recipe: Recipe, only: str | None = None, progress: Progress = QUIET
) -> None:
    """Check a build before anything is written or started, the fastest checks first.

    Args:
        workspace: Where the build will be.
        recipe: What it will do.
        only: The one stage that will run; None: all.
        progress: Shows a note while servers are contacted.

    Raises:
        BadUsage, BadData: A path, source, selection, file or model is missing or unusable.
    """
    check_out(workspace.root)
    if only not in (None, "ingest"):
        for side in ("artworks", "tracks"):
            catalogue = workspace.catalog / f"{side}.parquet"
            if not catalogue.is_file():
                raise BadData(f"{catalogue} is missing: run the stage that writes it first.")
        _check_inputs(workspace, stage_order(recipe), only)
    context = Context(workspace, recipe)
    for stage in map(stage_of, STAGES if only is None else [only]):
        if stage.check is not None:
            if stage.downloads is not None and stage.downloads(recipe):
                progress.note("Connecting to the servers of the sources …")
            stage.check(context)


def _check_inputs(workspace: Workspace, names: Sequence[str], only: str) -> None:
    """Raise BadData where a table of an earlier stage is not as that stage wrote it.

    A whole build writes those tables again from their parts; a single stage reads them.
    """
    for name in names[: names.index(only)]:
        path = workspace.runs / f"{name}.json"
        if path.is_file():
            files = read_json(path)["files"]
            tables = {one: sha for one, sha in files.items() if not one.startswith("shards/")}
            if damaged := damaged_files_of(workspace, tables):
                raise BadData(
                    f"{workspace.path(damaged[0])} is not as the stage {name} wrote it: "
                    f"`artsound build --out {workspace.root}` writes it again."
                )


@contextlib.contextmanager
def open_build(workspace: Workspace, recipe: Recipe) -> Iterator[None]:
    """Lock a workspace, remove temporary files of a killed build, and store the recipe.

    Raises:
        BadUsage: Another process has locked it.
    """
    with lock_workspace(workspace):
        workspace.sweep()
        write_bytes(workspace.recipe, recipe.to_toml().encode())
        yield


def run_build(
    workspace: Workspace,
    recipe: Recipe,
    *,
    only: str | None = None,
    progress: Progress = QUIET,
    retry_failed: bool = False,
    runner: str = "",
) -> list[Report]:
    """Run all stages, or the rest of them: parts with a valid marker are skipped.

    Args:
        workspace: The build's folders; created if missing.
        recipe: The build's recipe.
        only: The one stage to run; None: all, in order.
        progress: Counts the items of each stage.
        retry_failed: Whether to repeat parts with failed items.
        runner: serial, threads or processes; empty: `recipe.run.runner`.

    Returns:
        The reports of the stages that ran, in order.

    Raises:
        BadUsage: A path or name does not exist, or another process has locked the workspace.
        BadData: A source, a model or a part is unusable; parts that are done stay done.
    """
    target = recipe.run.notify if only is None else ""
    try:
        with seldom_collecting():
            check_build(workspace, recipe, only, progress)
            names = stage_order(recipe) if only is None else (only,)
            with spread(recipe, runner) as map_parts, open_build(workspace, recipe):
                reports = []
                for name in names:
                    report = run_stage(
                        stage_of(name), workspace, recipe,
                        progress=progress, map_parts=map_parts, retry_failed=retry_failed,
                    )  # fmt: skip
                    reports.append(report)
                    unload_models()
    except Exception as error:
        announce(target, "failed", str(error), workspace.root)
        raise
    announce(target, "completed", "", workspace.root)
    return reports


@contextlib.contextmanager
def spread(recipe: Recipe, runner: str = "") -> Iterator[MapParts]:
    """The function that runs a stage's parts by one of the library's runners."""
    runner = runner or recipe.run.runner
    if runner == "serial":
        yield map_serially
        return
    if runner not in ("threads", "processes"):
        raise BadUsage(f"The runner {runner} is one of Prefect's: artsound_flows runs it.")
    keep_freed_memory()
    workers = _Workers(worker_count(recipe.run.workers), with_processes=runner == "processes")
    try:
        yield workers.map
    finally:
        workers.close()


@dataclass
class _Workers:
    """Runs `count` parts at once: in threads, or in this process and `count` - 1 others."""

    count: int
    with_processes: bool
    worked: float = 0.0  # seconds that were spent on parts
    pool: ProcessPoolExecutor | None = None

    def map(
        self, stage: Stage, context: Context, parts: Sequence[Part], *, retry_failed: bool
    ) -> Iterable[Report]:
        """The reports of parts as they are ready; those already done come first."""
        waiting = []
        look = partial(finished_part, stage, context, retry_failed=retry_failed)
        with ThreadPoolExecutor(self.count) as pool:  # digests leave the interpreter to others
            for part, done in zip(parts, pool.map(look, parts), strict=True):
                if done is None:
                    waiting.append(part)
                else:
                    yield done
        work = partial(run_part, stage, context, retry_failed=retry_failed)
        if not stage.side_by_side or self.count == 1:
            yield from map(work, waiting)
            return
        # Only this process uses GPUs, since another would load each model again.
        own, others = deque[Part](), deque[Part]()
        for part in waiting:
            (own if uses_gpu(stage, context.recipe, part) else others).append(part)
        yield from self._side_by_side(work, own, others, stage.name)

    def _side_by_side(
        self, work: Callable[[Part], Report], own: deque[Part], queue: deque[Part], stage: str
    ) -> Iterator[Report]:
        """Do parts of `own` in this process, one on each GPU, and those of `queue` anywhere."""
        running: dict[Future[Report], tuple[Part, ProcessPoolExecutor | None]] = {}
        on_gpus: set[Future[Report]] = set()
        lost: Counter[str] = Counter()
        began, before = time.monotonic(), self.worked
        while own or queue or running:
            here = sum(pool is None for _, pool in running.values())
            while own and len(on_gpus) < max(1, gpu_count()):
                part = own.popleft()
                future = _in_thread(partial(_on_gpu, work), part)
                running[future] = (part, None)
                on_gpus.add(future)
                here += 1
            while queue and here < (1 if self.with_processes else self.count):
                part = queue.popleft()
                running[_in_thread(work, part)] = (part, None)
                here += 1
            self.worked = before + time.monotonic() - began
            if self._needs_processes(sum(part.items for part in queue)):
                while queue and len(running) - here < self.count - 1:
                    part = queue.popleft()
                    future, pool = self._in_process(work, part)
                    running[future] = (part, pool)
            alone = self.with_processes and queue and self.pool is None
            timeout = max(0.0, _ALONE - self.worked) if alone else None
            for future in wait(running, timeout, FIRST_COMPLETED).done:
                part, of_pool = running.pop(future)
                on_gpus.discard(future)
                try:
                    yield future.result()
                except BrokenProcessPool as error:
                    if self.pool is of_pool:
                        self.pool = None
                    lost[part.name] += 1
                    if lost[part.name] == _TRIES:
                        raise WorkerLost(
                            f"The worker process of {part.name} was lost {_TRIES} times, perhaps "
                            "because memory ran out: use fewer --workers."
                        ) from error
                    log_lost_worker(stage, part)
                    queue.appendleft(part)

    def _needs_processes(self, waiting: int) -> bool:
        """Whether there are worker processes, or enough work to start some."""
        enough = waiting >= _MANY or self.worked >= _ALONE
        return self.pool is not None or (self.with_processes and waiting > 0 and enough)

    def _in_process(
        self, work: Callable[[Part], Report], part: Part
    ) -> tuple[Future[Report], ProcessPoolExecutor]:
        while True:
            if self.pool is None:
                self.pool = process_pool(self.count - 1)
            try:
                return self.pool.submit(work, part), self.pool
            except BrokenProcessPool:  # just now; its futures raise it, too
                self.pool = None

    def close(self) -> None:
        """Kill the worker processes."""
        if self.pool is not None:
            processes = list(self.pool._processes.values())
            self.pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.kill()


def unload_models() -> None:
    """Free the memory of a finished stage's models, if it loaded any."""
    loaded = sys.modules.get("artsound.encoders.base")
    if loaded is not None:
        loaded.unload_encoders()


def log_lost_worker(stage: str, part: Part) -> None:
    """Log that a part's worker process was lost."""
    message = f"A worker process was lost; {part.name} is tried again."
    log("retry", message, level=logging.WARNING, stage=stage, part=part.name)


def _on_gpu(work: Callable[[Part], Report], part: Part) -> Report:
    with gpu_lease():
        return work(part)


def uses_gpu(stage: Stage, recipe: Recipe, part: Part) -> bool:
    """Whether a part runs a model on a GPU of this machine."""
    if stage.needs is None or "gpu" not in stage.needs(recipe, part):
        return False
    import torch

    return torch.cuda.is_available()


def _in_thread(work: Callable[[Part], Report], part: Part) -> Future[Report]:
    """Call `work` in a daemon thread."""
    future: Future[Report] = Future()

    def run() -> None:
        try:
            future.set_result(work(part))
        except BaseException as error:  # noqa: BLE001  (raised by `result()`)
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
