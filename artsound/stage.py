"""What a stage is: parts that are done once, markers that prove it, and a report that adds up.

A stage is three functions. `plan` lists the parts, each naming the digests of what it reads;
`work` does one part in whatever process it is given to; `finish` merges the parts' files. This
module does the rest: it skips a part whose marker still holds, writes the marker last, keeps
every rejected item with its reason, and checks that nothing is lost on the way.

    report = run_stage(ingest.STAGE, workspace, recipe)

A build killed at any instant is resumed by running the same line again; it ends in the same
bytes, since a part is either proven done or done anew.
"""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from artsound.errors import ArtSoundError
from artsound.logs import log
from artsound.parts import (
    Part,
    PartOutput,
    PartResult,
    Planned,
    digests,
    forget_other_parts,
    gather_rejects,
    late_rejects,
    part_key,
    part_path,
    plan_path,
    read_marker,
    write_marker,
    write_plan,
)
from artsound.recipe import Recipe
from artsound.records import Reject
from artsound.storage import Workspace, sync_file_system, write_json, write_parquet


class LostItems(ArtSoundError):
    """A stage's counts do not add up: a bug in the stage, never the user's fault."""


class Progress(Protocol):
    """Where a stage tells how far it is; every call must be cheap."""

    def start(self, stage: str, items: int, unit: str = "items") -> None:
        """A stage (or a download) begins, with so many items (or bytes) ahead; 0: unknown."""

    def total(self, items: int) -> None:
        """It has turned out how many there are."""

    def advance(self, items: int) -> None:
        """So many more items are done."""

    def finish(self) -> None:
        """The stage has ended, well or not."""

    def note(self, sentence: str) -> None:
        """Something a person should know, between two stages."""


class _Quiet:
    def start(self, stage: str, items: int, unit: str = "items") -> None: ...

    def total(self, items: int) -> None: ...

    def advance(self, items: int) -> None: ...

    def finish(self) -> None: ...

    def note(self, sentence: str) -> None: ...


QUIET: Progress = _Quiet()


@dataclass(frozen=True)
class Finish:
    """What `finish` gives back: the stage's final files, and numbers for the report (JSON).

    `rejects` are items that a part let pass and that only the whole shows to be unusable, such
    as near-duplicates; they are taken off the parts' `items_out`. `digests` as in PartOutput.
    `again` says that `plan` would now list more than was done: the stage goes round once more.
    `note` is a sentence that a person should read.
    """

    files: tuple[Path, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)
    rejects: tuple[Reject, ...] = ()
    digests: Mapping[Path, str] = field(default_factory=dict)
    again: bool = False
    note: str = ""


@dataclass(frozen=True)
class Stage:
    """One stage, as data. `version` changes whenever the same input would give other bytes.

    `sections` names the sections of the recipe that the stage reads; a change in any other
    leaves its parts valid. `side_by_side` is False where one part already uses every processor:
    such parts run one after another, in the process that drives the build. `prepare` runs before
    `plan`: it fetches what the plan reads, and shows its own progress; `downloads` tells whether
    that asks a server, so that a runner can hold a limit. `needs` names what a part competes for
    with others, such as `gpu`, so that a runner can place it and hold a limit. `check` raises for
    what of a recipe can be seen to be amiss before anything is done.
    """

    name: str
    version: int
    sections: tuple[str, ...]
    plan: Callable[[Workspace, Recipe], list[Part]]
    work: Callable[[Workspace, Recipe, Part], PartOutput]
    finish: Callable[[Workspace, Recipe, Sequence[PartResult]], Finish]
    side_by_side: bool = True
    prepare: Callable[[Workspace, Recipe, Progress], None] | None = None
    downloads: Callable[[Recipe], bool] | None = None
    needs: Callable[[Recipe, Part], tuple[str, ...]] | None = None
    check: Callable[[Workspace, Recipe], None] | None = None


@dataclass(frozen=True)
class StageReport:
    """What one run of a stage did. Always: items_in = items_out + filtered + failed.

    Bytes count the stage's final files; peak memory is the largest of its processes, in bytes;
    items per second count only items worked on in this run, not those whose marker held.
    """

    stage: str
    items_in: int
    items_out: int
    filtered: int
    failed: int
    parts: int
    parts_skipped: int
    seconds: float
    items_per_second: float
    bytes: int
    peak_memory: int
    files: Mapping[str, str]
    extra: Mapping[str, Any]


def check_stages(stages: Iterable[Stage], workspace: Workspace, recipe: Recipe) -> None:
    """Raise for what any of these stages sees to be amiss, before the first has worked for hours:
    files that a recipe names and that are missing or broken, models that cannot be had."""
    for stage in stages:
        if stage.check is not None:
            stage.check(workspace, recipe)


class MapParts(Protocol):
    """How parts are spread over threads, processes or machines: results in any order."""

    def __call__(
        self,
        stage: Stage,
        workspace: Workspace,
        recipe: Recipe,
        parts: Sequence[Part],
        *,
        retry_failed: bool,
    ) -> Iterable[PartResult]: ...


def finished_part(
    stage: Stage, workspace: Workspace, recipe: Recipe, part: Part, *, retry_failed: bool = False
) -> PartResult | None:
    """The result of a part whose marker holds; None where the part must be done."""
    marker = part_path(workspace, stage.name, part.name, ".json")
    done = read_marker(workspace, marker, _key(stage, recipe, part), part)
    return None if done is not None and retry_failed and done.failed else done


def run_part(
    stage: Stage, workspace: Workspace, recipe: Recipe, part: Part, *, retry_failed: bool = False
) -> PartResult:
    """Do one part, or prove that it is done. Runs in any process that sees the workspace."""
    done = finished_part(stage, workspace, recipe, part, retry_failed=retry_failed)
    if done is not None:
        return done
    key = _key(stage, recipe, part)
    marker = part_path(workspace, stage.name, part.name, ".json")
    marker.unlink(missing_ok=True)
    started = time.perf_counter()
    output = stage.work(workspace, recipe, part)
    if part.items != output.items_out + len(output.rejects):
        raise LostItems(
            f"Part {part.name} of stage {stage.name} took {part.items} items, "
            f"gave {output.items_out} and rejected {len(output.rejects)}."
        )
    files = list(output.files)
    if output.rejects:
        path = part_path(workspace, stage.name, part.name, ".rejects.parquet")
        write_parquet(path, "reject", output.rejects)
        files.append(path)
    failed = sum(reject.kind == "failed" for reject in output.rejects)
    result = PartResult(
        part=part,
        items_out=output.items_out,
        filtered=len(output.rejects) - failed,
        failed=failed,
        files=digests(workspace, files, output.digests),
        extra=output.extra,
        seconds=time.perf_counter() - started,
        peak_memory=peak_memory(),
        skipped=False,
    )
    sync_file_system(workspace.root)  # a marker may not outlive what it vouches for
    write_marker(workspace, marker, key, result)
    return result


def map_serially(
    stage: Stage,
    workspace: Workspace,
    recipe: Recipe,
    parts: Sequence[Part],
    *,
    retry_failed: bool,
) -> Iterator[PartResult]:
    """One part after another, in this process."""
    for part in parts:
        yield run_part(stage, workspace, recipe, part, retry_failed=retry_failed)


def run_stage(
    stage: Stage,
    workspace: Workspace,
    recipe: Recipe,
    *,
    progress: Progress = QUIET,
    map_parts: MapParts = map_serially,
    retry_failed: bool = False,
) -> StageReport:
    """Run a stage, or the rest of it; the report is also kept in runs/`stage`.json.

    `map_parts` decides where the parts run. Rejects of all stages so far are gathered in
    catalog/rejects.parquet. Raises what the stage raises; parts that were done stay done.
    """
    from threadpoolctl import threadpool_limits

    try:
        # How BLAS rounds depends on the number of its threads, and the bytes must not: one, as in
        # the worker processes. What needs more at once brings threads of its own.
        with threadpool_limits(limits=1, user_api="blas"):
            return _run_stage(stage, workspace, recipe, progress, map_parts, retry_failed)
    except Exception as error:
        told = str(error) or type(error).__name__
        log("failed", told, level=logging.ERROR, stage=stage.name)
        raise


def _run_stage(
    stage: Stage,
    workspace: Workspace,
    recipe: Recipe,
    progress: Progress,
    map_parts: MapParts,
    retry_failed: bool,
) -> StageReport:
    started = time.perf_counter()
    results: dict[str, PartResult] = {}
    while True:
        write_plan(workspace, stage.name, None)
        if stage.prepare is not None:
            stage.prepare(workspace, recipe, progress)
        parts = stage.plan(workspace, recipe)
        planned = [Planned(part.name, part.items, _key(stage, recipe, part)) for part in parts]
        write_plan(workspace, stage.name, planned)
        # In a later round, parts done in this very run are neither skipped nor tried again.
        retry = retry_failed and not results
        total = sum(part.items for part in parts)
        begins = f"{stage.name}: {total:,} items in {len(parts):,} parts"
        log("begin", begins, stage=stage.name, parts=len(parts), total=total)
        progress.start(stage.name, total)
        try:
            for result in map_parts(stage, workspace, recipe, parts, retry_failed=retry):
                if not result.skipped or result.part.name not in results:
                    results[result.part.name] = result
                _log_part(stage.name, result)
                progress.advance(result.part.items)
        finally:
            progress.finish()
        ordered = [results[part.name] for part in parts]
        final = stage.finish(workspace, recipe, ordered)
        if not final.again:
            break
    if final.note:
        log("note", final.note, stage=stage.name)
        progress.note(final.note)
    late = late_rejects(workspace, stage.name)
    if final.rejects:
        write_parquet(late, "reject", final.rejects)
    else:
        late.unlink(missing_ok=True)
    forget_other_parts(workspace, stage.name, parts)
    gather_rejects(workspace)
    report = _report(workspace, stage.name, ordered, final, time.perf_counter() - started)
    write_json(workspace.runs / f"{stage.name}.json", asdict(report))
    plan_path(workspace, stage.name).unlink()
    _log_end(report)
    return report


def peak_memory() -> int:
    """Peak resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _log_part(stage: str, result: PartResult) -> None:
    items, seconds = result.part.items, result.seconds
    log(
        "part",
        f"{stage}: {result.part.name}, {items:,} items"
        + (" done before" if result.skipped else f" in {seconds:.1f} s"),
        stage=stage,
        part=result.part.name,
        items=items,
        items_out=result.items_out,
        filtered=result.filtered,
        failed=result.failed,
        skipped=result.skipped,
        seconds=seconds,
        rate=items / seconds if seconds else 0.0,
        peak_memory=result.peak_memory,
    )


def _log_end(report: StageReport) -> None:
    log(
        "end",
        f"{report.stage}: {report.items_out:,} of {report.items_in:,} items "
        f"in {report.seconds:.1f} s",
        stage=report.stage,
        parts=report.parts,
        parts_skipped=report.parts_skipped,
        items=report.items_in,
        items_out=report.items_out,
        filtered=report.filtered,
        failed=report.failed,
        seconds=report.seconds,
        rate=report.items_per_second,
        peak_memory=report.peak_memory,
    )


def _key(stage: Stage, recipe: Recipe, part: Part) -> str:
    return part_key(stage.name, stage.version, recipe.section_values(stage.sections), part)


def _report(
    workspace: Workspace,
    name: str,
    results: Sequence[PartResult],
    final: Finish,
    seconds: float,
) -> StageReport:
    fresh = [result for result in results if not result.skipped]
    late_failed = sum(reject.kind == "failed" for reject in final.rejects)
    return StageReport(
        stage=name,
        items_in=sum(result.part.items for result in results),
        items_out=sum(result.items_out for result in results) - len(final.rejects),
        filtered=sum(result.filtered for result in results) + len(final.rejects) - late_failed,
        failed=sum(result.failed for result in results) + late_failed,
        parts=len(results),
        parts_skipped=len(results) - len(fresh),
        seconds=seconds,
        items_per_second=sum(result.part.items for result in fresh) / max(seconds, 1e-9),
        bytes=sum(path.stat().st_size for path in final.files),
        peak_memory=max([peak_memory(), *(result.peak_memory for result in results)]),
        files=digests(workspace, final.files, final.digests),
        extra=final.extra,
    )
