"""How far a build is, seen from outside: `artsound status OUT`.

Reads what a build writes as it proceeds (plans, markers, reports and the record of the lock). It
takes no lock and writes nothing, so it can be used at any moment and from any machine that sees
the folder.
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

_DEPTH = 3  # folders deep: as far down as a build writes, but for the pictures and clips themselves


@dataclass(frozen=True)
class StageStatus:
    """How far one stage is.

    `state` is one of: waiting; preparing (fetching, planning); running; merging (all parts are
    done); done; done before (an earlier stage has run since, so that it will be looked through
    again); stopped; failed. Items: `items_in` of `items` are done; 0 items: not known yet. `rate`
    (items per second) is that of the latest run; `seconds_left` follows from it, and is None where
    nothing can be said. `wrote` is when its latest file was written, seconds since 1970, or 0.
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
    """How far a build is.

    `state` is one of: running; unknown (begun on another machine, which alone can tell); failed,
    with `error`; stopped (killed or interrupted); unfinished (what was asked for is done, stages
    are left); done. `next` is what to do now. `asked` and `wrote`, when its latest file was
    written, are seconds since 1970.
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
    """How far the build in `workspace` is. Raises BadUsage when there is none."""
    if not workspace.recipe.is_file():
        raise BadUsage(
            f"{workspace.root} holds no build, or one that has not begun yet: give the folder that "
            "`artsound build --out` names."
        )
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
    """A stage that has a plan and no end yet: what its parts' markers say."""
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
    """A stage that has ended, or was never begun: what its report says."""
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
    """A part's marker, and when it was written, where it belongs to this plan."""
    path = part_path(workspace, stage, part, ".json")
    try:
        changed = _changed(path)
        marker = read_json(path) if changed else {}
        return (marker, changed) if marker.get("key") == key else None
    except (ArtSoundError, AttributeError):
        return None


def _changed(path: Path) -> float:
    """When a file was last written, seconds since 1970; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _changes(folder: Path, depth: int) -> Iterator[float]:
    """When the things in a folder were written, so many folders deep."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry.stat(follow_symlinks=False).st_mtime
                if depth > 1 and entry.is_dir(follow_symlinks=False):
                    yield from _changes(Path(entry.path), depth - 1)
    except OSError:  # gone in the meantime, or not readable
        return
