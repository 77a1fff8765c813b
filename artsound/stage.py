"""Stages of a build: parts that are done once, markers that prove it, and reports that add up.

A stage is three functions. `plan` lists the parts, each naming the digests of what it reads;
`work` does one part in whatever process it is given to; `finish` merges the parts' files. This
module does the rest: it skips a part whose marker still holds, writes the marker last, records
every rejected item with its reason, and checks that no item is lost on the way.

    report = run_stage(ingest.STAGE, workspace, recipe)

A marker is written last, so a part is either proven done or done again. It holds while what the
part depends on (`part_key`) and the files it wrote are the same. A build killed at any instant is
resumed by running the same line again, and ends in the same bytes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

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

T = TypeVar("T")

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
class Outcome:
    """What a part's work, or a stage's finish, gives back.

    Attributes:
        files: Files that were written, whole, under the workspace.
        items_out: Items that a part let through; a finish leaves it at 0.
        rejects: Items that fell out. Those of a finish are items that a part let through and that
            only the whole shows to be unusable, such as near-duplicates.
        extra: Numbers for `finish` or the report; JSON values.
        digests: SHA-256 of files that were digested while they were written, which spares a
            second reading of large ones.
        again: Of a finish: `plan` would now list more than was done, so the stage runs once more.
        note: Of a finish: a sentence that a person should read.
    """

    files: tuple[Path, ...] = ()
    items_out: int = 0
    rejects: tuple[Reject, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[Path, str] = field(default_factory=dict)
    again: bool = False
    note: str = ""


@dataclass(frozen=True)
class Report:
    """What one part, or one run of a stage, did. Always: items_in = items_out + filtered + failed.

    Attributes:
        stage: The stage's name.
        items_in: Items that were given.
        items_out: Items that came through.
        filtered: Items left out on purpose.
        failed: Items that could not be used.
        parts: Parts of the stage; 1 for a part.
        parts_skipped: Those of them whose marker proved them done before this run.
        seconds: Wall time.
        items_per_second: Over the items worked on in this run, not those that were skipped.
        bytes: Size of the stage's final files; 0 for a part.
        peak_memory: Of the largest process, in bytes.
        files: SHA-256 of each file, by path relative to the workspace.
        extra: Numbers of the stage's own; JSON values.
        part: The part, None in a stage's report.
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
    part: Part | None = None

    @property
    def skipped(self) -> bool:
        """Whether nothing had to be done."""
        return self.parts_skipped == self.parts

    @property
    def done(self) -> Part:
        """The part that this report is of; only a part's report has one."""
        if self.part is None:
            raise ValueError("the report of a whole stage is of no single part")
        return self.part


class Context:
    """A workspace and a recipe, with what one stage reads from them opened once.

    A context lives as long as its stage. It travels to worker processes without what it has
    opened; each of them has its own, until it works on another stage.
    """

    def __init__(self, workspace: Workspace, recipe: Recipe, stage: str = "") -> None:
        self.workspace, self.recipe, self.stage = workspace, recipe, stage
        self._opened: dict[str, tuple[Any, Any]] = {}
        self._lock = threading.RLock()

    def once(self, name: str, make: Callable[[], T], files: Iterable[Path] = ()) -> T:
        """What `make` gives: called once, and again when one of `files` has changed.

        Args:
            name: What it is; one name always means one thing.
            make: Reads or computes it.
            files: Files that it depends on, known by their size and time of change.

        Returns:
            The same object at every call; do not change it.
        """
        state = [_state_of(path) for path in files]
        with self._lock:
            found = self._opened.get(name)
            if found is None or found[0] != state:
                found = self._opened[name] = (state, make())
        return found[1]  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:
        return context_of, (self.workspace, self.recipe, self.stage)


_contexts: dict[tuple[Path, str, str], Context] = {}


def context_of(workspace: Workspace, recipe: Recipe, stage: str = "") -> Context:
    """This process's context for a stage of a build; only the last one is remembered."""
    key = (workspace.root, recipe.model_dump_json(), stage)
    if key not in _contexts:
        _contexts.clear()
        _contexts[key] = Context(workspace, recipe, stage)
    return _contexts[key]


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


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


def write_plan(workspace: Workspace, stage: str, keys: Sequence[tuple[Part, str]] | None) -> None:
    """Keep what a stage is about to do, for `artsound status`; None: it is not known yet.

    `keys` holds each part with the key that its marker will have.
    """
    parts = [{"name": part.name, "items": part.items, "key": key} for part, key in keys or ()]
    write_json(plan_path(workspace, stage), {"parts": None if keys is None else parts})


def read_plan(workspace: Workspace, stage: str) -> dict[str, tuple[int, str]] | None:
    """Items and key of each part of a stage under way, by name; None while they are not known, or
    when it is not under way."""
    try:
        parts = read_json(plan_path(workspace, stage))["parts"]
        return {str(part["name"]): (int(part["items"]), str(part["key"])) for part in parts}
    except (ArtSoundError, KeyError, TypeError, ValueError):
        return None


def write_marker(workspace: Workspace, marker: Path, key: str, report: Report) -> None:
    """Vouch for a part: its counts, and its files by digest, size and time of change."""
    write_json(
        marker,
        {
            "key": key,
            "items_out": report.items_out,
            "filtered": report.filtered,
            "failed": report.failed,
            "files": {
                name: {"sha256": sha256, **_stamp(workspace.path(name))}
                for name, sha256 in report.files.items()
            },
            "extra": dict(report.extra),
        },
    )


def read_marker(workspace: Workspace, stage: str, key: str, part: Part) -> Report | None:
    """The part's report when its marker holds, else None: a broken marker is no marker."""
    try:
        found = read_json(part_path(workspace, stage, part.name, ".json"))
        if found["key"] != key or not all(
            _is_intact(workspace.path(name), file) for name, file in found["files"].items()
        ):
            return None
        return Report(
            stage=stage,
            items_in=part.items,
            items_out=int(found["items_out"]),
            filtered=int(found["filtered"]),
            failed=int(found["failed"]),
            parts=1,
            parts_skipped=1,
            seconds=0.0,
            items_per_second=0.0,
            bytes=0,
            peak_memory=0,
            files={name: file["sha256"] for name, file in found["files"].items()},
            extra=found["extra"],
            part=part,
        )
    except (ArtSoundError, OSError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _stamp(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _is_intact(path: Path, file: Mapping[str, Any]) -> bool:
    stamp = _stamp(path)
    if stamp["bytes"] != file["bytes"]:
        return False
    # An untouched file is believed, as git believes it; a touched one is read again.
    return stamp["mtime_ns"] == file["mtime_ns"] or sha256_file(path) == file["sha256"]


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

    Those of a stage yet to come may be damaged: its own run writes them again, and gathers again.
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


class LostItems(ArtSoundError):
    """A stage's counts do not add up: a bug in the stage, never the user's fault."""


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
    plan: Callable[[Context], list[Part]]
    work: Callable[[Context, Part], Outcome]
    finish: Callable[[Context, Sequence[Report]], Outcome]
    side_by_side: bool = True
    prepare: Callable[[Context, Progress], None] | None = None
    downloads: Callable[[Recipe], bool] | None = None
    needs: Callable[[Recipe, Part], tuple[str, ...]] | None = None
    check: Callable[[Context], None] | None = None


class MapParts(Protocol):
    """How parts are spread over threads, processes or machines: reports in any order."""

    def __call__(
        self, stage: Stage, context: Context, parts: Sequence[Part], *, retry_failed: bool
    ) -> Iterable[Report]: ...


def finished_part(
    stage: Stage, context: Context, part: Part, *, retry_failed: bool = False
) -> Report | None:
    """The report of a part whose marker proves it done; None for one that must be done.

    With `retry_failed`, a part with failed items must be done again.
    """
    done = read_marker(context.workspace, stage.name, _key(stage, context.recipe, part), part)
    return None if done is None or (retry_failed and done.failed) else done


def run_part(stage: Stage, context: Context, part: Part, *, retry_failed: bool = False) -> Report:
    """Do one part, or prove that it is done. Runs in any process that sees the workspace."""
    done = finished_part(stage, context, part, retry_failed=retry_failed)
    if done is not None:
        return done
    workspace = context.workspace
    marker = part_path(workspace, stage.name, part.name, ".json")
    marker.unlink(missing_ok=True)
    started = time.perf_counter()
    outcome = stage.work(context, part)
    if part.items != outcome.items_out + len(outcome.rejects):
        raise LostItems(
            f"Part {part.name} of stage {stage.name} took {part.items} items, "
            f"gave {outcome.items_out} and rejected {len(outcome.rejects)}."
        )
    files = list(outcome.files)
    if outcome.rejects:
        path = part_path(workspace, stage.name, part.name, ".rejects.parquet")
        write_parquet(path, "reject", outcome.rejects)
        files.append(path)
    failed = sum(reject.kind == "failed" for reject in outcome.rejects)
    seconds = time.perf_counter() - started
    report = Report(
        stage=stage.name,
        items_in=part.items,
        items_out=outcome.items_out,
        filtered=len(outcome.rejects) - failed,
        failed=failed,
        parts=1,
        parts_skipped=0,
        seconds=seconds,
        items_per_second=part.items / max(seconds, 1e-9),
        bytes=0,
        peak_memory=peak_memory(),
        files=digests(workspace, files, outcome.digests),
        extra=outcome.extra,
        part=part,
    )
    sync_file_system(workspace.root)  # a marker may not outlive what it vouches for
    write_marker(workspace, marker, _key(stage, context.recipe, part), report)
    return report


def map_serially(
    stage: Stage, context: Context, parts: Sequence[Part], *, retry_failed: bool
) -> Iterator[Report]:
    """One part after another, in this process."""
    for part in parts:
        yield run_part(stage, context, part, retry_failed=retry_failed)


def run_stage(
    stage: Stage,
    workspace: Workspace,
    recipe: Recipe,
    *,
    progress: Progress = QUIET,
    map_parts: MapParts = map_serially,
    retry_failed: bool = False,
) -> Report:
    """Run a stage, or the rest of it; the report is also written to runs/`stage`.json.

    `map_parts` decides where the parts run. Rejects of all stages so far are gathered in
    catalog/rejects.parquet. Raises what the stage raises; parts that were done stay done.
    """
    from threadpoolctl import threadpool_limits

    try:
        # How BLAS rounds depends on the number of its threads, and the bytes must not: one, as in
        # the worker processes. What needs more at once brings threads of its own.
        with threadpool_limits(limits=1, user_api="blas"):
            context = Context(workspace, recipe, stage.name)
            return _run_stage(stage, context, progress, map_parts, retry_failed)
    except Exception as error:
        message = str(error) or type(error).__name__
        log("failed", message, level=logging.ERROR, stage=stage.name)
        raise


def _run_stage(
    stage: Stage,
    context: Context,
    progress: Progress,
    map_parts: MapParts,
    retry_failed: bool,
) -> Report:
    workspace, recipe = context.workspace, context.recipe
    started = time.perf_counter()
    results: dict[str, Report] = {}
    while True:
        write_plan(workspace, stage.name, None)
        if stage.prepare is not None:
            stage.prepare(context, progress)
        parts = stage.plan(context)
        write_plan(workspace, stage.name, [(part, _key(stage, recipe, part)) for part in parts])
        # In a later round, parts done in this very run are neither skipped nor tried again.
        retry = retry_failed and not results
        total = sum(part.items for part in parts)
        begins = f"{stage.name}: {total:,} items in {len(parts):,} parts"
        log("begin", begins, stage=stage.name, parts=len(parts), total=total)
        progress.start(stage.name, total)
        try:
            for result in map_parts(stage, context, parts, retry_failed=retry):
                if not result.skipped or result.done.name not in results:
                    results[result.done.name] = result
                _log_part(result)
                progress.advance(result.items_in)
        finally:
            progress.finish()
        ordered = [results[part.name] for part in parts]
        final = stage.finish(context, ordered)
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
    values = asdict(report)
    del values["part"]
    write_json(workspace.runs / f"{stage.name}.json", values)
    plan_path(workspace, stage.name).unlink()
    _log_end(report)
    return report


def peak_memory() -> int:
    """Peak resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _log_part(report: Report) -> None:
    items, seconds = report.items_in, report.seconds
    log(
        "part",
        f"{report.stage}: {report.done.name}, {items:,} items"
        + (" done before" if report.skipped else f" in {seconds:.1f} s"),
        stage=report.stage,
        part=report.done.name,
        items=items,
        items_out=report.items_out,
        filtered=report.filtered,
        failed=report.failed,
        skipped=report.skipped,
        seconds=seconds,
        rate=items / seconds if seconds else 0.0,
        peak_memory=report.peak_memory,
    )


def _log_end(report: Report) -> None:
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
    results: Sequence[Report],
    final: Outcome,
    seconds: float,
) -> Report:
    fresh = [result for result in results if not result.skipped]
    late_failed = sum(reject.kind == "failed" for reject in final.rejects)
    return Report(
        stage=name,
        items_in=sum(result.items_in for result in results),
        items_out=sum(result.items_out for result in results) - len(final.rejects),
        filtered=sum(result.filtered for result in results) + len(final.rejects) - late_failed,
        failed=sum(result.failed for result in results) + late_failed,
        parts=len(results),
        parts_skipped=len(results) - len(fresh),
        seconds=seconds,
        items_per_second=sum(result.items_in for result in fresh) / max(seconds, 1e-9),
        bytes=sum(path.stat().st_size for path in final.files),
        peak_memory=max([peak_memory(), *(result.peak_memory for result in results)]),
        files=digests(workspace, final.files, final.digests),
        extra=final.extra,
    )
