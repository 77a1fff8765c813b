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

import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from artsound.errors import ArtSoundError
from artsound.recipe import Recipe
from artsound.records import Reject, to_table
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
class Part:
    """Some items of a stage, done in one go by one process.

    `inputs` (JSON values) says which items, and holds a digest of everything the work reads
    beyond the recipe: what is not named there may not change the output.
    """

    name: str
    items: int
    inputs: Mapping[str, Any]


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
    `plan`: it fetches what the plan reads, and shows its own progress. `needs` names what a part
    competes for with others, such as `gpu`, so that a runner can place it and hold a limit.
    """

    name: str
    version: int
    sections: tuple[str, ...]
    plan: Callable[[Workspace, Recipe], list[Part]]
    work: Callable[[Workspace, Recipe, Part], PartOutput]
    finish: Callable[[Workspace, Recipe, Sequence[PartResult]], Finish]
    side_by_side: bool = True
    prepare: Callable[[Workspace, Recipe, Progress], None] | None = None
    needs: Callable[[Recipe, Part], tuple[str, ...]] | None = None


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


def part_path(workspace: Workspace, stage: str, part: str, suffix: str = ".parquet") -> Path:
    """Where a part's own file lies: parts/`stage`/`part``suffix`."""
    return workspace.parts / stage / f"{part}{suffix}"


def split_into_parts(prefix: str, count: int, part_size: int) -> list[tuple[str, int, int]]:
    """(name, start, stop) of the parts that cover range(count), each `part_size` items or fewer."""
    return [
        (f"{prefix}-{number:05d}", start, min(start + part_size, count))
        for number, start in enumerate(range(0, count, part_size))
    ]


def run_part(
    stage: Stage, workspace: Workspace, recipe: Recipe, part: Part, *, retry_failed: bool = False
) -> PartResult:
    """Do one part, or prove that it is done. Runs in any process that sees the workspace."""
    key = _part_key(stage, recipe, part)
    marker = part_path(workspace, stage.name, part.name, ".json")
    done = _read_marker(workspace, marker, key, part)
    if done is not None and not (retry_failed and done.failed):
        return done
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
        files=_digests(workspace, files, output.digests),
        extra=output.extra,
        seconds=time.perf_counter() - started,
        peak_memory=peak_memory(),
        skipped=False,
    )
    sync_file_system(workspace.root)  # a marker may not outlive what it vouches for
    _write_marker(workspace, marker, key, result)
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
    started = time.perf_counter()
    results: dict[str, PartResult] = {}
    while True:
        if stage.prepare is not None:
            stage.prepare(workspace, recipe, progress)
        parts = stage.plan(workspace, recipe)
        # In a later round, parts done in this very run are neither skipped nor tried again.
        retry = retry_failed and not results
        progress.start(stage.name, sum(part.items for part in parts))
        try:
            for result in map_parts(stage, workspace, recipe, parts, retry_failed=retry):
                if not result.skipped or result.part.name not in results:
                    results[result.part.name] = result
                progress.advance(result.part.items)
        finally:
            progress.finish()
        ordered = [results[part.name] for part in parts]
        final = stage.finish(workspace, recipe, ordered)
        if not final.again:
            break
    if final.note:
        progress.note(final.note)
    late = _late_rejects(workspace, stage.name)
    if final.rejects:
        write_parquet(late, "reject", final.rejects)
    else:
        late.unlink(missing_ok=True)
    _forget_other_parts(workspace, stage.name, parts)
    _gather_rejects(workspace)
    report = _report(workspace, stage.name, ordered, final, time.perf_counter() - started)
    write_json(workspace.runs / f"{stage.name}.json", asdict(report))
    return report


def peak_memory() -> int:
    """Peak resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


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
        files=_digests(workspace, final.files, final.digests),
        extra=final.extra,
    )


def _digests(
    workspace: Workspace, files: Iterable[Path], known: Mapping[Path, str]
) -> dict[str, str]:
    return {workspace.relative(path): known.get(path) or sha256_file(path) for path in files}


def _part_key(stage: Stage, recipe: Recipe, part: Part) -> str:
    return digest(
        {
            "stage": stage.name,
            "version": stage.version,
            "recipe": recipe.section_values(stage.sections),
            "part": part.name,
            "items": part.items,
            "inputs": dict(part.inputs),
        }
    )


def _write_marker(workspace: Workspace, marker: Path, key: str, result: PartResult) -> None:
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


def _read_marker(workspace: Workspace, marker: Path, key: str, part: Part) -> PartResult | None:
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


def _forget_other_parts(workspace: Workspace, stage: str, parts: Sequence[Part]) -> None:
    """Remove markers and rejects of parts that an earlier, different plan had."""
    names = {_FINISH, *(part.name for part in parts)}
    folder = workspace.parts / stage
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        name = path.name.split(".", 1)[0]
        stale = name not in names and "." in path.name and path.name[0] != "."
        if stale and path.name.endswith((".json", ".rejects.parquet")):
            os.unlink(path)


def _late_rejects(workspace: Workspace, stage: str) -> Path:
    return part_path(workspace, stage, _FINISH, ".rejects.parquet")


def _gather_rejects(workspace: Workspace) -> None:
    """Write catalog/rejects.parquet from the rejects of every stage's parts."""
    late = workspace.parts.glob(f"*/{_FINISH}.rejects.parquet")
    tables = [read_parquet(path, "reject") for path in sorted(late)]
    for marker in sorted(workspace.parts.glob("*/*.json")):
        rejects = marker.with_suffix(".rejects.parquet")
        if workspace.relative(rejects) in read_json(marker).get("files", {}):
            tables.append(read_parquet(rejects, "reject"))
    order = [(name, "ascending") for name in ("stage", "side", "item_id", "reason")]
    rows = pa.concat_tables(tables).sort_by(order) if tables else to_table("reject", [])
    write_parquet(workspace.catalog / "rejects.parquet", "reject", rows)
