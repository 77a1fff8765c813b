"""Parts: some items of a stage, done once, and the marker that proves it.

A marker is written last, so a part is either proven done or done anew. It holds while what the
part depends on (`part_key`) and the files it wrote are the same.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from artsound.errors import ArtSoundError, BadData
from artsound.progress import QUIET, Progress, log
from artsound.recipe import Recipe
from artsound.schema import Reject, to_table
from artsound.storage import (
    Workspace,
    digest,
    read_json,
    read_parquet,
    sha256_file,
    sync_file_system,
    write_json,
    write_parquet,
)

_FINISH = "finish"  # stands for a part's name where rejects come from a stage's finish


@dataclass(frozen=True)
class Part:
    """Some items of a stage, done in one go by one process.

    `inputs` (JSON values) says which items, and holds a digest of everything the work reads
    beyond the recipe: what is not named there may not change the output.
    """

    name: str
    items: int
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Planned:
    """A part as a plan keeps it: its marker holds when it has this key."""

    name: str
    items: int
    key: str


@dataclass(frozen=True)
class PartOutput:
    """What `work` gives back: files it wrote (whole, under the workspace), and who fell out.

    `extra` is for a few numbers that `finish` or the report wants; JSON values only. `digests`
    spares a second reading of large files that were digested while they were written.
    """

    items_out: int
    files: tuple[Path, ...]
    rejects: tuple[Reject, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[Path, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PartResult:
    """A part that is proven done. `files` maps paths relative to the workspace to digests."""

    part: Part
    items_out: int
    filtered: int
    failed: int
    files: Mapping[str, str]
    extra: Mapping[str, Any]
    seconds: float
    peak_memory: int
    skipped: bool


def part_path(workspace: Workspace, stage: str, part: str, suffix: str = ".parquet") -> Path:
    """Where a part's own file lies: parts/`stage`/`part``suffix`."""
    return workspace.parts / stage / f"{part}{suffix}"


def split_into_parts(prefix: str, count: int, part_size: int) -> list[tuple[str, int, int]]:
    """(name, start, stop) of the parts that cover range(count), each `part_size` items or fewer."""
    return [
        (f"{prefix}-{number:05d}", start, min(start + part_size, count))
        for number, start in enumerate(range(0, count, part_size))
    ]


def digests(
    workspace: Workspace, files: Iterable[Path], known: Mapping[Path, str]
) -> dict[str, str]:
    """Digests of `files` by their path relative to the workspace; those `known` are not read."""
    return {workspace.relative(path): known.get(path) or sha256_file(path) for path in files}


def part_key(stage: str, version: int, settings: Any, part: Part) -> str:
    """The digest of all that a part's output depends on: its marker holds while this does.

    `settings` are the values of the recipe's sections that the stage reads.
    """
    return digest(
        {
            "stage": stage,
            "version": version,
            "recipe": settings,
            "part": part.name,
            "items": part.items,
            "inputs": dict(part.inputs),
        }
    )


def plan_path(workspace: Workspace, stage: str) -> Path:
    """Where a stage under way keeps its plan; a stage that has ended has none."""
    return workspace.runs / f"{stage}.plan.json"


def write_plan(workspace: Workspace, stage: str, parts: Sequence[Planned] | None) -> None:
    """Keep what a stage is about to do, for `artsound status`; None: it is not known yet."""
    planned = None if parts is None else [asdict(part) for part in parts]
    write_json(plan_path(workspace, stage), {"parts": planned})


def read_plan(workspace: Workspace, stage: str) -> tuple[Planned, ...] | None:
    """The parts of a stage under way; None while they are not known, or when it is not."""
    try:
        return tuple(Planned(**part) for part in read_json(plan_path(workspace, stage))["parts"])
    except (ArtSoundError, KeyError, TypeError):
        return None


def write_marker(workspace: Workspace, marker: Path, key: str, result: PartResult) -> None:
    """Vouch for a part: its counts, and its files by digest, size and time of change."""
    write_json(
        marker,
        {
            "key": key,
            "items_out": result.items_out,
            "filtered": result.filtered,
            "failed": result.failed,
            "files": {
                name: {"sha256": sha256, **_stamp(workspace.path(name))}
                for name, sha256 in result.files.items()
            },
            "extra": dict(result.extra),
        },
    )


def read_marker(workspace: Workspace, marker: Path, key: str, part: Part) -> PartResult | None:
    """The part's result when its marker holds, else None: a broken marker is no marker."""
    try:
        kept = read_json(marker)
        if kept["key"] != key or not all(
            _is_intact(workspace.path(name), file) for name, file in kept["files"].items()
        ):
            return None
        return PartResult(
            part=part,
            items_out=int(kept["items_out"]),
            filtered=int(kept["filtered"]),
            failed=int(kept["failed"]),
            files={name: file["sha256"] for name, file in kept["files"].items()},
            extra=kept["extra"],
            seconds=0.0,
            peak_memory=0,
            skipped=True,
        )
    except (ArtSoundError, OSError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _stamp(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _is_intact(path: Path, kept: Mapping[str, Any]) -> bool:
    stamp = _stamp(path)
    if stamp["bytes"] != kept["bytes"]:
        return False
    # An untouched file is believed, as git believes it; a touched one is read again.
    return stamp["mtime_ns"] == kept["mtime_ns"] or sha256_file(path) == kept["sha256"]


def forget_other_parts(workspace: Workspace, stage: str, parts: Sequence[Part]) -> None:
    """Remove markers and rejects of parts that an earlier, different plan had."""
    names = {_FINISH, *(part.name for part in parts)}
    folder = workspace.parts / stage
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        name = path.name.split(".", 1)[0]
        stale = name not in names and "." in path.name and path.name[0] != "."
        if stale and path.name.endswith((".json", ".rejects.parquet")):
            os.unlink(path)


def late_rejects(workspace: Workspace, stage: str) -> Path:
    """Where a stage keeps what fell out in its finish."""
    return part_path(workspace, stage, _FINISH, ".rejects.parquet")


def gather_rejects(workspace: Workspace) -> None:
    """Write catalog/rejects.parquet from the rejects of every stage's parts.

    Those of a stage yet to come may lie damaged: its own run makes them anew, and gathers again.
    """
    paths = sorted(workspace.parts.glob(f"*/{_FINISH}.rejects.parquet"))
    for marker in sorted(workspace.parts.glob("*/*.json")):
        rejects = marker.with_suffix(".rejects.parquet")
        with contextlib.suppress(BadData, AttributeError, TypeError):  # a broken one is no marker
            if workspace.relative(rejects) in read_json(marker).get("files", {}):
                paths.append(rejects)
    tables = []
    for path in paths:
        with contextlib.suppress(BadData):
            tables.append(read_parquet(path, "reject"))
    order = [(name, "ascending") for name in ("stage", "side", "item_id", "reason")]
    rows = pa.concat_tables(tables).sort_by(order) if tables else to_table("reject", [])
    write_parquet(workspace.catalog / "rejects.parquet", "reject", rows)


# What a stage is: parts that are done once, markers that prove it, and a report that adds up.
#
# A stage is three functions. `plan` lists the parts, each naming the digests of what it reads;
# `work` does one part in whatever process it is given to; `finish` merges the parts' files. This
# module does the rest: it skips a part whose marker still holds, writes the marker last, keeps
# every rejected item with its reason, and checks that nothing is lost on the way.
#
#     report = run_stage(ingest.STAGE, workspace, recipe)
#
# A build killed at any instant is resumed by running the same line again; it ends in the same
# bytes, since a part is either proven done or done anew.


class LostItems(ArtSoundError):
    """A stage's counts do not add up: a bug in the stage, never the user's fault."""


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
