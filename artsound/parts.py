"""Parts: some items of a stage, done once, and the marker that proves it.

A marker is written last, so a part is either proven done or done anew. It holds while what the
part depends on (`part_key`) and the files it wrote are the same.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from artsound.errors import ArtSoundError, BadData
from artsound.records import Reject
from artsound.storage import (
    Workspace,
    digest,
    read_json,
    read_parquet,
    sha256_file,
    write_json,
    write_parquet,
)
from artsound.tables import to_table

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
