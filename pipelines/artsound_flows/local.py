"""A build on this machine's processors, without Prefect: the default where no server is set.

A temporary Prefect server would be up for the length of the build and its records gone with it,
for five to ten seconds of starting. So Prefect runs a build where it has something to give: a
server that stays (PREFECT_API_URL) or a Dask cluster.

This process does parts too. Others are started only when there is work enough for them, since
one takes two seconds to import what it needs: a small build is done by then.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from artsound.errors import ArtSoundError
from artsound.progress import QUIET, Progress, log
from artsound.recipe import Recipe
from artsound.stage import Context, Part, Report, Stage, finished_part, run_part
from artsound.storage import Workspace
from artsound_flows.notify import announce
from artsound_flows.serial import run_serially
from artsound_flows.worker import keep_freed_memory, process_pool, worker_count

_ALONE = 1.0  # seconds of work in this process after which others are started
_MANY = 128  # items that wait in one stage, for which others are started at once
_TRIES = 4  # of a part whose worker process is lost


def run_locally(
    workspace: Workspace,
    recipe: Recipe,
    *,
    only: str | None = None,
    progress: Progress = QUIET,
    retry_failed: bool = False,
) -> list[Report]:
    """Run all stages, or the one called `only`, on threads or processes as the recipe asks."""
    target = recipe.run.notify if only is None else ""
    try:
        with _workers(recipe) as workers:
            reports = run_serially(
                workspace, recipe,
                only=only, progress=progress, retry_failed=retry_failed, map_parts=workers.map,
            )  # fmt: skip
    except Exception as error:
        announce(target, "failed", str(error), workspace.root)
        raise
    announce(target, "completed", "", workspace.root)
    return reports


@contextlib.contextmanager
def _workers(recipe: Recipe) -> Iterator[_Workers]:
    keep_freed_memory()
    workers = _Workers(
        worker_count(recipe.run.workers), with_processes=recipe.run.runner == "processes"
    )
    try:
        yield workers
    finally:
        workers.close()


@dataclass
class _Workers:
    """`count` parts at work at once: on threads, or in this process and `count` - 1 others."""

    count: int
    with_processes: bool
    worked: float = 0.0
    _pool: ProcessPoolExecutor | None = None

    def map(
        self,
        stage: Stage,
        context: Context,
        parts: Sequence[Part],
        *,
        retry_failed: bool,
    ) -> Iterable[Report]:
        """The results of parts as they are ready; those that are done already come first."""
        waiting = []
        for part in parts:
            done = finished_part(stage, context, part, retry_failed=retry_failed)
            if done is None:
                waiting.append(part)
            else:
                yield done

        def arguments(part: Part) -> tuple[Any, ...]:
            return run_part, stage, context, part, retry_failed

        if not stage.side_by_side or self.count == 1:
            for part in waiting:
                yield _call(*arguments(part))
        else:
            yield from self._spread(waiting, arguments, stage.name)

    def _spread(
        self, parts: list[Part], arguments: Callable[[Part], tuple[Any, ...]], stage: str
    ) -> Iterator[Report]:
        queue = deque(parts)
        running: dict[Future[Report], tuple[Part, bool]] = {}  # and whether in this process
        lost: dict[str, int] = {}
        began = time.monotonic()
        before = self.worked
        while queue or running:
            here = sum(own for _, own in running.values())
            while queue and here < (1 if self.with_processes else self.count):
                part = queue.popleft()
                running[_in_thread(*arguments(part))] = (part, True)
                here += 1
            self.worked = before + time.monotonic() - began
            if self._has_processes(sum(part.items for part in queue)):
                while queue and len(running) - here < self.count - 1:
                    part = queue.popleft()
                    running[self._in_process(*arguments(part))] = (part, False)
            alone = self.with_processes and queue and self._pool is None
            timeout = max(0.0, _ALONE - self.worked) if alone else None
            for future in wait(running, timeout, FIRST_COMPLETED).done:
                part, _ = running.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool as error:
                    self._pool = None
                    lost[part.name] = lost.get(part.name, 0) + 1
                    if lost[part.name] == _TRIES:
                        raise WorkerLost(
                            f"The worker process of {part.name} was lost {_TRIES} times, perhaps "
                            "for want of memory: fewer --workers need less."
                        ) from error
                    told = f"A worker process was lost; {part.name} is tried again."
                    log("retry", told, level=logging.WARNING, stage=stage, part=part.name)
                    queue.appendleft(part)

    def _has_processes(self, waiting: int) -> bool:
        """Whether there are worker processes, or work enough to start some."""
        enough = waiting >= _MANY or self.worked >= _ALONE
        return self._pool is not None or (self.with_processes and waiting > 0 and enough)

    def _in_process(self, *call: Any) -> Future[Report]:
        while True:
            if self._pool is None:
                self._pool = process_pool(self.count - 1)
            try:
                return self._pool.submit(_call, *call)
            except BrokenProcessPool:  # just now: the futures that it had say so too
                self._pool = None

    def close(self) -> None:
        """End the worker processes, whatever they are at."""
        if self._pool is not None:
            processes = list(self._pool._processes.values())
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.kill()


class WorkerLost(ArtSoundError):
    """A worker process was killed again and again at the same part."""


def _call(function: Callable[..., Report], *arguments: Any) -> Report:
    *first, retry_failed = arguments
    return function(*first, retry_failed=retry_failed)


def _in_thread(*call: Any) -> Future[Report]:
    """A call in a thread of its own, which this process does not wait for at its end."""
    future: Future[Report] = Future()

    def work() -> None:
        try:
            future.set_result(_call(*call))
        except BaseException as error:  # noqa: BLE001  (raised where the result is asked for)
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future
