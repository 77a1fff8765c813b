"""Parts on this machine's processors without Prefect: which process does them, and lost ones."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import counted
import pytest

from artsound import build
from artsound.build import spread
from artsound.recipe import Recipe
from artsound.stage import Context, Outcome, Part, run_stage
from artsound.storage import Workspace


def recipe(**run: object) -> Recipe:
    return Recipe().replaced(run={"runner": "processes", "workers": 2, **run})


def test_a_small_stage_is_done_by_this_process_alone(tmp_path: Path) -> None:
    few = replace(counted.STAGE, plan=lambda *_: counted.plan(*_)[:2])
    with spread(recipe()) as map_parts:
        report = run_stage(few, Workspace(tmp_path), recipe(), map_parts=map_parts)
    assert set(report.extra["processes"].values()) == {os.getpid()}


def test_a_larger_one_by_another_process_too_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_MANY", 1)
    workspace = Workspace(tmp_path)
    longer = replace(counted.STAGE, plan=plan_many)
    with spread(recipe()) as map_parts:
        report = run_stage(longer, workspace, recipe(), map_parts=map_parts)
        assert map_parts.__self__.pool is not None
    assert os.getpid() in report.extra["processes"].values()
    assert report.parts == report.items_out == len(plan_many())
    with spread(recipe()) as map_parts:
        again = run_stage(longer, workspace, recipe(), map_parts=map_parts)
        assert map_parts.__self__.pool is None
    assert again.parts_skipped == report.parts


def test_a_part_whose_process_is_lost_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_MANY", 1)
    fatal = replace(counted.STAGE, plan=plan_many, work=die_once)
    with spread(recipe()) as map_parts:
        report = run_stage(fatal, Workspace(tmp_path), recipe(), map_parts=map_parts)
    assert (tmp_path / "died").exists()
    assert report.items_out == len(plan_many())


def plan_many(*_: object) -> list[Part]:
    return [Part(f"part-{number:02d}", 1, {"number": number}) for number in range(40)]


def die_once(context: Context, part: Part) -> Outcome:
    died = context.workspace.root / "died"
    if not died.exists() and multiprocessing.parent_process() is not None:
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    while not died.exists():  # this process may not do all before the other has started
        time.sleep(0.1)
    return counted.work(context, part)
