"""`artsound status`: a real build in another process, seen while it runs, killed and done."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from small_builds import run_serially, small_recipe, start_build
from strikes import strike, wait_until_stopped

from artsound.errors import BadData, BadUsage
from artsound.recipe import Recipe
from artsound.sample import SamplePaths
from artsound.status import StageStatus, Status, read_status
from artsound.storage import (
    Workspace,
    is_alive,
    last_lock,
    lock_workspace,
    read_json,
    write_bytes,
    write_json,
)


def stopped_build(workspace: Workspace, recipe: Recipe, stage: str, parts: int) -> BaseProcess:
    """A build that holds still (SIGSTOP) when so many parts of `stage` are done."""
    where = f"{workspace.parts}/{stage}/*.json"
    build = start_build(
        workspace.root, recipe, prepare=strike, arguments=(where, parts, signal.SIGSTOP)
    )
    wait_until_stopped(build.pid or 0)
    return build


def row(status: Status, stage: str) -> StageStatus:
    return next(one for one in status.stages if one.stage == stage)


def markers(workspace: Workspace, stage: str) -> list[dict[str, int]]:
    return [read_json(path) for path in sorted((workspace.parts / stage).glob("*.json"))]


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "artsound", "status", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_build_is_seen_running_then_stopped_with_its_counts_then_done(
    sample: SamplePaths, tmp_path: Path
) -> None:
    recipe = small_recipe(sample, limit=8).replaced(run={"part_size": 2})
    workspace = Workspace(tmp_path / "out")
    build = stopped_build(workspace, recipe, "embed", 3)
    status = read_status(workspace)
    assert row(status, "embed").parts_done == 3
    assert (status.state, row(status, "ingest").state) == ("running", "done")
    assert status.holder is not None
    assert status.holder.pid == build.pid
    assert row(status, "embed").rate > 0
    assert row(status, "embed").seconds_left
    assert row(status, "shard").state == "waiting"
    build.kill()
    build.join()

    status = read_status(workspace)
    done = markers(workspace, "embed")
    stopped = row(status, "embed")
    assert (status.state, stopped.state, stopped.seconds_left) == ("stopped", "stopped", None)
    assert stopped.parts_done == len(done) < stopped.parts
    assert stopped.items_out == sum(marker["items_out"] for marker in done)
    assert stopped.items_in == stopped.items_out + stopped.filtered + stopped.failed
    assert stopped.items_in < stopped.items
    assert status.next == f"artsound build --out {workspace.root}"

    again = start_build(workspace.root, recipe)
    again.join()
    assert again.exitcode == 0
    status = read_status(workspace)
    assert status.state == "done"
    assert status.next == f"artsound verify {workspace.shards}"
    for stage in status.stages:
        report = read_json(workspace.runs / f"{stage.stage}.json")
        assert (stage.state, stage.parts_done, stage.items_in) == (
            "done", report["parts"], report["items_in"]
        )  # fmt: skip
    assert not list(workspace.runs.glob("*.plan.json"))


def test_a_stage_that_fails_shows_its_error(
    sample: SamplePaths, built: Workspace, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "out")
    shutil.copytree(built.catalog, workspace.catalog)  # but no embeddings
    with pytest.raises(BadData, match="run the stage"):
        run_serially(workspace, small_recipe(sample), only="pair")
    status = read_status(workspace)
    assert (status.state, row(status, "pair").state) == ("failed", "failed")
    assert "run the stage" in status.error


def test_a_stage_run_alone_leaves_the_later_ones_to_be_looked_through(
    sample: SamplePaths, built: Workspace, tmp_path: Path
) -> None:
    shutil.copytree(built.root, tmp_path / "out")
    workspace = Workspace(tmp_path / "out")
    assert read_status(workspace).state == "done"
    run_serially(workspace, small_recipe(sample), only="caption")
    status = read_status(workspace)
    assert status.state == "unfinished"
    assert [stage.state for stage in status.stages] == [*["done"] * 4, *["done before"] * 2]
    assert status.next == f"artsound shard --out {workspace.root}"


def test_only_the_very_process_that_began_counts_as_alive(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with lock_workspace(workspace):
        holder = last_lock(workspace)
        assert holder is not None
        assert is_alive(holder)
        assert not is_alive(replace(holder, birth=holder.birth + 1)), "a later process, same number"
        assert not is_alive(replace(holder, pid=2**22 + 1)), "no such process"
        assert is_alive(replace(holder, host="elsewhere")) is None
    ended = last_lock(workspace)
    assert ended is not None
    assert not is_alive(ended)
    assert not ended.error


def test_another_machines_build_is_not_judged_from_here(built: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    write_bytes(workspace.recipe, built.recipe.read_bytes())
    values = {"pid": 1, "host": "elsewhere", "command": "artsound build", "started": 1.0}
    write_json(workspace.runs / "build.json", {**values, "birth": 5})
    assert read_status(workspace).state == "unknown"
    write_json(workspace.runs / "build.json", ["nonsense"])
    assert read_status(workspace).state == "unfinished"


def test_asking_takes_no_lock_and_writes_nothing(built: Workspace) -> None:
    def looks() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in built.root.rglob("*")}

    before = looks()
    with built.lock():
        done = command(built.root, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "done"
    assert looks() == before
    for line in command(built.root).stdout.splitlines():
        assert len(line) <= 100


def test_watching_ends_when_the_build_does(sample: SamplePaths, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "out")
    recipe = small_recipe(sample, limit=5)
    build = stopped_build(workspace, recipe, "ingest", 0)
    watch = [sys.executable, "-m", "artsound", "status", str(workspace.root), "--watch"]
    with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as watching:
        os.kill(build.pid or 0, signal.SIGCONT)
        reported = watching.communicate()[0]
    build.join()
    assert read_status(workspace).state == "done"
    assert reported.count("stage ") == 1, "without a terminal the table is printed once"


def test_a_folder_that_is_no_workspace_is_reported_and_leaves_with_two(tmp_path: Path) -> None:
    done = command(tmp_path)
    assert done.returncode == 2
    assert "has no build" in done.stderr
    with pytest.raises(BadUsage, match="has no build"):
        read_status(Workspace(tmp_path / "absent"))
