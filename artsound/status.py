"""The progress of a build, from another process: `artsound status OUT`.

Reads the plans, markers, reports and the record of the lock. It takes no lock and writes nothing,
so it can be used at any time and on any machine that can access the folder.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artsound.build import stage_order
from artsound.errors import ArtSoundError, BadUsage
from artsound.recipe import load_recipe
from artsound.stage import part_path, plan_path, read_plan
from artsound.storage import Lock, Workspace, is_alive, last_lock, read_json

_DEPTH = 3  # levels of folders to look at: all but those of media files


@dataclass(frozen=True)
class StageStatus:
    """The progress of a stage.

    `state` is one of: waiting; preparing (downloading, planning); running; merging (all parts are
    done); done; done before (an earlier stage has run since, so its parts will be checked again);
    stopped; failed. `items_in` of `items` are done; 0 items: not known yet. `rate` (items per
    second) is that of the latest run; `seconds_left` follows from it, None if unknown. `wrote` is
    the time of its latest file, in seconds since 1970, or 0.
    """

    stage: str
    state: str
    parts: int = 0
    parts_done: int = 0
    items: int = 0
    items_in: int = 0
    items_out: int = 0
    filtered: int = 0
    failed: int = 0
    rate: float = 0.0
    seconds_left: float | None = None
    wrote: float = 0.0


@dataclass(frozen=True)
class Status:
    """The progress of a build.

    `state` is one of: running; unknown (started on another machine); failed, with `error`; stopped
    (killed or interrupted); unfinished (the command has ended, stages remain); done. `next` is a
    command to continue with. `asked` (now) and `wrote` (the time of the latest file) are seconds
    since 1970.
    """

    out: str
    state: str
    holder: Lock | None
    error: str
    asked: float
    wrote: float
    stages: tuple[StageStatus, ...]
    next: str


def read_status(workspace: Workspace) -> Status:
    """The progress of the build in `workspace`; BadUsage if there is none."""
    if not workspace.recipe.is_file():
        raise BadUsage(f"{workspace.root} has no build: give the --out folder of `artsound build`.")
    names = stage_order(load_recipe(workspace.recipe))
    holder = last_lock(workspace)
    alive = holder is not None and is_alive(holder)
    begun = {name: _changed(plan_path(workspace, name)) for name in names}
    latest = max(names, key=lambda name: begun[name])
    error = holder.error if holder is not None else ""
    stages: list[StageStatus] = []
    since = 0.0  # when the latest of the stages before was done
    for name in names:
        if begun[name]:
            state = "stopped"
            if name == latest and alive is not False:
                state = "running"
            elif name == latest and error:
                state = "failed"
            stages.append(_under_way(workspace, name, state, begun[name]))
            since = float("inf")
            continue
        stages.append(_at_rest(workspace, name, since))
        since = max(since, stages[-1].wrote)
    killed = alive is False and holder is not None and not holder.ended
    state = _state(alive, error, stages, killed)
    return Status(
        out=str(workspace.root),
        state=state,
        holder=holder,
        error=error if state == "failed" else "",
        asked=time.time(),
        wrote=max(_changes(workspace.root, _DEPTH), default=0.0),
        stages=tuple(stages),
        next=_next(workspace, state, stages),
    )


def _state(alive: bool | None, error: str, stages: Iterable[StageStatus], killed: bool) -> str:
    states = {stage.state for stage in stages}
    if alive is None:
        return "unknown"
    if alive:
        return "running"
    if error:
        return "failed"
    if "stopped" in states or (killed and states != {"done"}):
        return "stopped"
    return "done" if states == {"done"} else "unfinished"


def _next(workspace: Workspace, state: str, stages: Iterable[StageStatus]) -> str:
    out = shlex.quote(str(workspace.root))
    match state:
        case "running":
            return f"artsound status {out} --watch"
        case "unknown":
            return f"artsound status {out}"
        case "done":
            return f"artsound verify {shlex.quote(str(workspace.shards))}"
        case "unfinished":
            left = [stage for stage in stages if stage.state != "done"]
            return f"artsound {left[0].stage} --out {out}"
    return f"artsound build --out {out}"


def _under_way(workspace: Workspace, name: str, state: str, begun: float) -> StageStatus:
    """A stage in progress, by its plan and its parts' markers."""
    plan = read_plan(workspace, name)
    if plan is None:
        return StageStatus(name, "preparing" if state == "running" else state, wrote=begun)
    done = [
        (count, *found)
        for part, (count, key) in plan.items()
        if (found := _marker(workspace, name, part, key))
    ]
    now = [(count, changed) for count, _, changed in done if changed >= begun]
    items, items_in = sum(count for count, _ in plan.values()), sum(count for count, *_ in done)
    spent = max((changed for _, changed in now), default=begun) - begun
    rate = sum(count for count, _ in now) / spent if spent > 0 else 0.0
    going = state == "running"
    return StageStatus(
        stage=name,
        state="merging" if going and len(done) == len(plan) else state,
        parts=len(plan),
        parts_done=len(done),
        items=items,
        items_in=items_in,
        rate=rate,
        seconds_left=(items - items_in) / rate if going and rate else None,
        wrote=max([begun, *(changed for *_, changed in done)]),
        **{
            key: sum(int(marker[key]) for _, marker, _ in done)
            for key in ("items_out", "filtered", "failed")
        },
    )


def _at_rest(workspace: Workspace, name: str, since: float) -> StageStatus:
    """A stage that has ended, by its report, or has not started."""
    path = workspace.runs / f"{name}.json"
    try:
        report = read_json(path)
        ended = _changed(path)
        return StageStatus(
            stage=name,
            state="done" if ended >= since else "done before",
            parts=report["parts"],
            parts_done=report["parts"],
            items=report["items_in"],
            rate=report["items_per_second"],
            seconds_left=None,
            wrote=ended,
            **{key: report[key] for key in ("items_in", "items_out", "filtered", "failed")},
        )
    except (ArtSoundError, KeyError, TypeError):
        return StageStatus(name, "waiting")


def _marker(
    workspace: Workspace, stage: str, part: str, key: str
) -> tuple[Mapping[str, Any], float] | None:
    """A part's marker and the time it was written; None if it does not belong to this plan."""
    path = part_path(workspace, stage, part, ".json")
    try:
        changed = _changed(path)
        marker = read_json(path) if changed else {}
        return (marker, changed) if marker.get("key") == key else None
    except (ArtSoundError, AttributeError):
        return None


def _changed(path: Path) -> float:
    """When a file was last written, seconds since 1970; 0 if there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _changes(folder: Path, depth: int) -> Iterator[float]:
    """When the files in a folder were written, to a depth of folders."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry.stat(follow_symlinks=False).st_mtime
                if depth > 1 and entry.is_dir(follow_symlinks=False):
                    yield from _changes(Path(entry.path), depth - 1)
    except OSError:  # deleted in the meantime, or not readable
        return
