"""Stages of a build: parts that are done once, their markers, and reports whose counts add up.

A stage is three functions. `plan` lists the parts, each with the digests of its inputs; `work` does
one part in any process; `finish` merges the parts' files. This module skips parts with a valid
marker, writes markers, records every rejected item with its reason, and checks that no item is
lost.

    report = run_stage(ingest.STAGE, workspace, recipe)

A part's marker is written last. It is valid as long as the part's inputs (`part_key`) and the files
that it wrote are unchanged. A build that is killed at any moment is resumed by the same command,
and gives the same bytes.
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
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artsound.errors import ArtSoundError, BadData
from artsound.progress import QUIET, Progress, counted, log
from artsound.recipe import Recipe
from artsound.schema import Reject, arrow_schema, to_table
from artsound.storage import (
    Workspace,
    atomic_write,
    digest,
    read_json,
    read_parquet,
    sha256_file,
    sync_file_system,
    write_json,
    write_parquet,
)
from artsound.untrusted import read_table

T = TypeVar("T")

_FINISH = "finish"  # the part's name of rejects from a stage's finish


@dataclass(frozen=True)
class Part:
    """Some items of a stage, done at once by one process.

    Attributes:
        name: Unique in the stage.
        items: Their number.
        inputs: JSON values: which items, and digests of everything beside the recipe that the
            output depends on.
    """

    name: str
    items: int
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """The result of a part's work, or of a stage's finish.

    Attributes:
        files: Files written in the workspace.
        items_out: Accepted items of a part; 0 for a finish.
        rejects: Rejected items. A finish rejects accepted items that turn out unusable only in the
            whole, such as near-duplicates.
        extra: Numbers for `finish` or the report; JSON values.
        digests: SHA-256 of files if known, so that they are not read again.
        again: Of a finish: whether `plan` has more to do now, so that the stage runs again.
        note: Of a finish: a sentence for the user.
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
    """The report of a part or of a stage; items_in = items_out + filtered + failed.

    Attributes:
        stage: The stage's name.
        items_in: All items.
        items_out: Accepted items.
        filtered: Items left out on purpose.
        failed: Unusable items.
        parts: Parts of the stage; 1 for a part.
        parts_skipped: Parts that an earlier run had done.
        seconds: Wall time.
        items_per_second: Over the items of this run, without skipped parts.
        bytes: Size of the stage's final files; 0 for a part.
        peak_memory: Of the largest process, in bytes.
        files: SHA-256 of each file, by path relative to the workspace.
        extra: Further numbers of the stage; JSON values.
        part: The part; None in a stage's report.
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
        """Whether all parts were skipped."""
        return self.parts_skipped == self.parts

    @property
    def done(self) -> Part:
        """The part of this report; ValueError in a stage's report."""
        if self.part is None:
            raise ValueError("the report of a whole stage is of no single part")
        return self.part


class Context:
    """A workspace and a recipe, and a cache of tables and models that a stage opens.

    A context exists for one stage. It is sent to worker processes without its cache; each of them
    has its own for the stage.
    """

    def __init__(self, workspace: Workspace, recipe: Recipe, stage: str = "") -> None:
        self.workspace, self.recipe, self.stage = workspace, recipe, stage
        self._opened: dict[str, tuple[Any, Any]] = {}
        self._lock = threading.RLock()

    def once(self, name: str, make: Callable[[], T], files: Iterable[Path] = ()) -> T:
        """Call a function once, and again only if a file has changed.

        Args:
            name: The key of the result in the cache.
            make: Reads or computes it.
            files: Files that it depends on; a change is seen by size, time and inode.

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
    """This process's context for a stage of a build; only the latest one is cached."""
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
    """The path of a part's own file: parts/`stage`/`part``suffix`."""
    return workspace.parts / stage / f"{part}{suffix}"


def split_into_parts(prefix: str, count: int, part_size: int) -> list[tuple[str, int, int]]:
    """(name, start, stop) of the parts that cover range(count), of at most `part_size` items."""
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
    """The digest of everything that a part's output depends on.

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
    """The path of the plan of a stage in progress; it is deleted when the stage has ended."""
    return workspace.runs / f"{stage}.plan.json"


def write_plan(workspace: Workspace, stage: str, keys: Sequence[tuple[Part, str]] | None) -> None:
    """Write the plan of a stage for `artsound status`.

    `keys` has each part with the key that its marker will have; None: not known yet.
    """
    parts = [{"name": part.name, "items": part.items, "key": key} for part, key in keys or ()]
    write_json(plan_path(workspace, stage), {"parts": None if keys is None else parts})


def read_plan(workspace: Workspace, stage: str) -> dict[str, tuple[int, str]] | None:
    """Items and key of each part of a stage in progress, by name; None if there is no plan."""
    try:
        parts = read_json(plan_path(workspace, stage))["parts"]
        return {str(part["name"]): (int(part["items"]), str(part["key"])) for part in parts}
    except (ArtSoundError, KeyError, TypeError, ValueError):
        return None


def write_marker(workspace: Workspace, marker: Path, key: str, report: Report) -> None:
    """Write a part's marker: its counts, the digests of its files, and its own digest."""
    value = {
        "key": key,
        "items_out": report.items_out,
        "filtered": report.filtered,
        "failed": report.failed,
        "files": dict(report.files),
        "extra": dict(report.extra),
    }
    write_json(marker, {**value, "sha256": digest(value)})
    for name, sha256 in report.files.items():
        path = workspace.place(name)
        known = _DIGESTED.get(path)
        if known is None or known[1] != sha256:  # else it is noticed if the file was written again
            _DIGESTED[path] = (_stamp(path), sha256)


def read_marker(workspace: Workspace, stage: str, key: str, part: Part) -> Report | None:
    """The part's report if its marker is valid and its files have their digests, else None.

    All bytes are read, since a disk may change them and leave size and time as they were; once in
    a process.
    """
    try:
        found = _marker(part_path(workspace, stage, part.name, ".json"))
        if found["key"] != key or damaged_files_of(workspace, found["files"]):
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
            files=dict(found["files"]),
            extra=found["extra"],
            part=part,
        )
    except (ArtSoundError, OSError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _marker(path: Path) -> dict[str, Any]:
    """A marker; BadData when it is missing or damaged."""
    found: dict[str, Any] = read_json(path)
    rest = {name: value for name, value in found.items() if name != "sha256"}
    if digest(rest) != found["sha256"]:
        raise BadData(f"{path} is damaged.")
    return found


# The digests of files that this process has read or written, each with the file's size and times.
_DIGESTED: dict[str, tuple[tuple[int, ...], str]] = {}


def _stamp(path: str | Path) -> tuple[int, ...]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


# Threads that read small files contend for the interpreter, and take twice the processor time.
_ONE_AT_A_TIME = threading.Lock()
_SMALL = 1 << 16  # bytes


def damaged_files_of(workspace: Workspace, files: Mapping[str, str]) -> list[str]:
    """Those of the files, with their SHA-256 by name, that are missing or have another digest."""
    damaged: set[str] = set()
    large: dict[str, tuple[str, tuple[int, ...]]] = {}
    with _ONE_AT_A_TIME:
        for name, sha256 in files.items():
            path = workspace.place(name)
            try:
                stamp = _stamp(path)
                known = _DIGESTED.get(path)
                if known is None or known[0] != stamp:
                    if stamp[0] >= _SMALL:
                        large[name] = path, stamp
                        continue
                    known = _DIGESTED[path] = (stamp, sha256_file(path))
                if known[1] == sha256:
                    continue
            except OSError:
                pass
            damaged.add(name)
    for name, (path, stamp) in large.items():
        with contextlib.suppress(OSError):
            _DIGESTED[path] = (stamp, sha256_file(path))
            if _DIGESTED[path][1] == files[name]:
                continue
        damaged.add(name)
    return [name for name in files if name in damaged]


def damaged_files(workspace: Workspace) -> list[str]:
    """Read all that a build has written, and find what is not as it was written.

    Args:
        workspace: The build's folders. Nothing in them is changed.

    Returns:
        The names of files that are missing or have another digest than their part's marker or
        their stage's report states, and of damaged markers; sorted.
    """
    found: set[str] = set()
    for path in sorted(workspace.parts.glob("*/*.json")):
        try:
            found.update(damaged_files_of(workspace, _marker(path)["files"]))
        except (ArtSoundError, KeyError, TypeError, AttributeError):
            found.add(workspace.relative(path))
    written: dict[str, set[str]] = {}
    for path in sorted(workspace.runs.glob("*.json")):
        with contextlib.suppress(ArtSoundError, AttributeError, TypeError):
            for name, sha256 in read_json(path).get("files", {}).items():
                written.setdefault(name, set()).add(sha256)
    for name, digests_of in written.items():  # a later stage replaces some files of an earlier one
        if all(damaged_files_of(workspace, {name: sha256}) for sha256 in digests_of):
            found.add(name)
    return sorted(found)


def forget_other_parts(workspace: Workspace, stage: str, parts: Sequence[Part]) -> None:
    """Remove markers and rejects of parts of an earlier plan."""
    names = {_FINISH, *(part.name for part in parts)}
    folder = workspace.parts / stage
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        name = path.name.split(".", 1)[0]
        stale = name not in names and "." in path.name and path.name[0] != "."
        if stale and path.name.endswith((".json", ".rejects.parquet")):
            os.unlink(path)


def late_rejects(workspace: Workspace, stage: str) -> Path:
    """The path of the rejects of a stage's finish."""
    return part_path(workspace, stage, _FINISH, ".rejects.parquet")


def gather_rejects(workspace: Workspace) -> None:
    """Write catalog/rejects.parquet from the rejects of every stage's parts.

    Damaged ones of later stages are skipped: those stages write them again, and gather again.
    """
    tables = []
    for path in sorted(workspace.parts.glob("*/*.rejects.parquet")):
        marker = path.with_name(path.name.replace(".rejects.parquet", ".json"))
        late = path == late_rejects(workspace, path.parent.name)
        with contextlib.suppress(BadData, OSError, AttributeError, TypeError):  # a broken marker
            if late or workspace.relative(path) in _files_of(marker, _stamp(marker)):
                tables.append(read_rejects(path))
    order = [(name, "ascending") for name in ("stage", "side", "item_id", "reason")]
    rows = pa.concat_tables(tables).sort_by(order) if tables else to_table("reject", [])
    write_parquet(workspace.catalog / "rejects.parquet", "reject", rows)


# Every stage gathers the rejects of all, from files that mostly have not changed since.


def read_rejects(path: Path) -> pa.Table:
    """The rows of a file of rejects; BadData if it is missing or damaged."""
    try:
        return _rejects_of(path, _stamp(path))
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error}.") from error


@lru_cache(maxsize=4096)
def _rejects_of(path: Path, stamp: tuple[int, ...]) -> pa.Table:
    return read_parquet(path, "reject")


@lru_cache(maxsize=4096)
def _files_of(marker: Path, stamp: tuple[int, ...]) -> frozenset[str]:
    return frozenset(read_json(marker).get("files", {}))


# What the last run of a stage computed for each item: of a part in which a few items have changed,
# the others are not computed again. It is a cache, and checked before its use.


def remember(
    workspace: Workspace,
    made_by: str,
    table: Path,
    ids: Sequence[str],
    contents: Sequence[str],
    *,
    made_from: str = "",
) -> None:
    """Let `recall` find the rows of a table that a stage has just written.

    Args:
        workspace: The build's folders.
        made_by: The digest of all that a row depends on besides its item's content.
        table: The .parquet file.
        ids: The key of each row.
        contents: A digest of the content that each row was computed from.
        made_from: The digest of all that the table was made from, for `is_made_from`.
    """
    about = {"made_by": made_by, "sha256": sha256_file(table), "made_from": made_from}
    found = pa.table({"id": pa.array(ids, pa.string()), "content": pa.array(contents, pa.string())})
    with atomic_write(_remembered(workspace, table)) as file:
        pq.write_table(found.replace_schema_metadata(about), file, compression="zstd")


def is_made_from(
    workspace: Workspace, table: Path, made_by: str, made_from: str | None = None
) -> bool:
    """Whether a table is as it was remembered, made by and from what these digests state.

    Without `made_from`, it may be made from anything.
    """
    try:
        about = pq.read_schema(_remembered(workspace, table)).metadata or {}
        stated = [about.get(name, b"").decode() for name in (b"made_by", b"made_from", b"sha256")]
        wanted = [made_by, stated[1] if made_from is None else made_from, sha256_file(table)]
        return stated == wanted
    except (OSError, ValueError, pa.ArrowException):
        return False


def recall(
    context: Context,
    made_by: str,
    table: Path,
    schema: str,
    ids: Sequence[str],
    contents: Sequence[str],
    *,
    key: str = "",
) -> tuple[np.ndarray, pa.Table]:
    """The rows that `remember` recorded, of those items whose content is the same.

    Args:
        context: The stage's.
        made_by: As it was remembered; the rows of another digest are not found.
        table: The .parquet file, in the order of its keys.
        schema: The name of its schema.
        ids: The items.
        contents: A digest of the content of each.
        key: The column of the keys; by default the first.

    Returns:
        Which items are found, bool [n], and their rows in the order of `ids`; none if the file is
        not as it was remembered.
    """
    remembered = _remembered(context.workspace, table)
    files = [table, remembered]
    earlier = context.once(
        f"earlier {table.name} {made_by}", lambda: _Earlier.of(table, remembered, made_by), files
    )
    none = np.zeros(len(ids), dtype=bool), arrow_schema(schema).empty_table()
    if earlier is None or not len(ids):
        return none
    found, places = earlier.find(ids, contents)
    try:
        rows = earlier.rows(places, arrow_schema(schema))
    except (OSError, ValueError, pa.ArrowException):
        return none
    if rows[key or 0].to_pylist() != [one for one, there in zip(ids, found, strict=True) if there]:
        return none
    return found, rows


class _Earlier:
    """A table and what `remember` recorded of it; of its rows the last group read is in memory."""

    def __init__(self, table: Path, keys: np.ndarray, contents: np.ndarray) -> None:
        self._table, self._keys, self._contents = table, keys, contents
        self._about = pq.read_metadata(table)
        self._group: tuple[int, pa.Table] | None = None

    @classmethod
    def of(cls, table: Path, remembered: Path, made_by: str) -> _Earlier | None:
        """None if the table is not as it was remembered, or was made by something else."""
        try:
            found = read_table(remembered)
            about = found.schema.metadata or {}
            stated = about.get(b"made_by", b"").decode(), about.get(b"sha256", b"").decode()
            if stated != (made_by, sha256_file(table)):
                return None
            columns = (found[name].to_pylist() for name in ("id", "content"))
            return cls(
                table, *(np.array([one.encode() for one in some], bytes) for some in columns)
            )
        except (OSError, ValueError, KeyError, UnicodeError):
            return None

    def find(self, ids: Sequence[str], contents: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Which items are there with the same content, bool [n], and where: int64 [found]."""
        wanted, content = (np.array([one.encode() for one in some]) for some in (ids, contents))
        if not len(self._keys):
            return np.zeros(len(ids), dtype=bool), np.zeros(0, dtype=np.int64)
        places = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        found = (self._keys[places] == wanted) & (self._contents[places] == content)
        return found, places[found]

    def rows(self, places: np.ndarray, schema: pa.Schema) -> pa.Table:
        """The rows at some places, in their order."""
        with pq.ParquetFile(self._table, metadata=self._about) as file:
            sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
            edges = np.cumsum([0, *sizes])
            pieces = [schema.empty_table()]
            order = []
            for group in range(len(sizes)):
                here = (places >= edges[group]) & (places < edges[group + 1])
                if here.any():
                    known = self._group
                    if known is None or known[0] != group:
                        read = file.read_row_group(group).select(schema.names).cast(schema)
                        known = self._group = group, read
                    pieces.append(known[1].take(pa.array(places[here] - edges[group])))
                    order.append(np.flatnonzero(here))
        if not order:
            return pieces[0]
        back = np.argsort(np.concatenate(order), kind="stable")
        return pa.concat_tables(pieces).take(pa.array(back)).combine_chunks()


def in_order(ids: Sequence[str], tables: Sequence[pa.Table], key: str = "") -> pa.Table:
    """The rows of all tables in the order of `ids`, those in a column; by default the first."""
    rows = pa.concat_tables(tables)
    places = pc.index_in(pa.array(ids, pa.string()), rows[key or 0])
    return rows.take(places.drop_null()).combine_chunks()


def failures_path(workspace: Workspace, stage: str, side: str) -> Path:
    """The rejects of one side that fail as long as their content is the same, for `recall`.

    The table is removed when failed items are to be tried again.
    """
    return workspace.parts / stage / f"failed-{side}s.parquet"


def _remembered(workspace: Workspace, table: Path) -> Path:
    return workspace.runs / f"{'-'.join(Path(workspace.relative(table)).parts)}.seen"


class LostItems(ArtSoundError):
    """A stage's counts do not add up, which is a bug in the stage."""


@dataclass(frozen=True)
class Stage:
    """A stage's functions and properties.

    Attributes:
        name: A key of `artsound.build.STAGES`.
        version: Raised whenever the same input would give other bytes.
        sections: The sections of the recipe that the stage reads; a change of others does not
            repeat its parts.
        plan: Lists the parts.
        work: Does one part.
        finish: Merges the parts.
        side_by_side: False if one part uses all processors; such parts run one after another, in
            the process that drives the build.
        prepare: Runs before `plan`, downloads what that reads, and shows its own progress.
        downloads: Whether `prepare` sends requests to a server, which a runner may limit.
        needs: Resources that a part needs for itself, such as `gpu`, which a runner may limit.
        check: Raises for errors in a recipe that are known before anything is done.
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
    """Runs parts in threads, processes or on machines; the reports come in any order."""

    def __call__(
        self, stage: Stage, context: Context, parts: Sequence[Part], *, retry_failed: bool
    ) -> Iterable[Report]: ...


def finished_part(
    stage: Stage, context: Context, part: Part, *, retry_failed: bool = False
) -> Report | None:
    """The report of a part that is done; None if it must be done.

    With `retry_failed`, a part with failed items must be done again.
    """
    done = read_marker(context.workspace, stage.name, _key(stage, context.recipe, part), part)
    return None if done is None or (retry_failed and done.failed) else done


def run_part(stage: Stage, context: Context, part: Part, *, retry_failed: bool = False) -> Report:
    """Do one part unless it is done. Runs in any process that can access the workspace."""
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
    files, known = list(outcome.files), dict(outcome.digests)
    if outcome.rejects:
        path = part_path(workspace, stage.name, part.name, ".rejects.parquet")
        known[path] = write_parquet(path, "reject", outcome.rejects, durable=False)
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
        files=digests(workspace, files, known),
        extra=outcome.extra,
        part=part,
    )
    sync_file_system(workspace.root)  # before the marker, which must not be there without its files
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
    """Run a stage, or the rest of it.

    Rejects of all stages so far are gathered in catalog/rejects.parquet.

    Args:
        stage: The stage.
        workspace: The build's folders.
        recipe: The build's recipe.
        progress: Counts the items.
        map_parts: Runs the parts.
        retry_failed: Whether to repeat parts with failed items.

    Returns:
        The report, which is also written to runs/`stage`.json.

    Raises:
        Exception: As the stage; parts that are done stay done.
    """
    from threadpoolctl import threadpool_limits

    try:
        # BLAS rounds differently with another number of threads. So it has one, as in the worker
        # processes; code that needs more starts its own.
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
        # In a later round, parts of this run are neither counted as skipped nor tried again.
        retry = retry_failed and not results
        if retry:
            for side in ("artwork", "track"):
                failures_path(workspace, stage.name, side).unlink(missing_ok=True)
        total = sum(part.items for part in parts)
        begins = f"{stage.name}: {counted(total, 'item')} in {counted(len(parts), 'part')}"
        log("begin", begins, stage=stage.name, parts=len(parts), total=total)
        progress.start(stage.name, total)
        try:
            for result in map_parts(stage, context, parts, retry_failed=retry):
                if not result.skipped or result.done.name not in results:
                    results[result.done.name] = result
                _log_part(result)
                progress.advance(result.items_in, before=result.skipped)
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
        f"{report.stage}: {report.done.name}, {counted(items, 'item')}"
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
