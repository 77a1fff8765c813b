"""Builds by the library's runners: order of stages, which process does a part, lost workers."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import counted
import pytest

from artsound import build
from artsound.build import run_build, spread, stage_order
from artsound.errors import BadUsage
from artsound.processes import seldom_collecting
from artsound.recipe import Recipe, bundled_recipe
from artsound.stage import Context, Outcome, Part, run_stage
from artsound.storage import Workspace


def recipe(**run: object) -> Recipe:
    return Recipe().replaced(run={"runner": "processes", "workers": 2, **run})


def test_a_small_stage_is_done_by_this_process_alone(tmp_path: Path) -> None:
    few = replace(counted.STAGE, plan=lambda *_: counted.plan(*_)[:2])
    with spread(recipe()) as map_parts:
        report = run_stage(few, Workspace(tmp_path), recipe(), map_parts=map_parts)
    assert set(report.extra["processes"].values()) == {os.getpid()}


def test_a_build_leaves_the_garbage_collector_as_it_was_however_it_ends(tmp_path: Path) -> None:
    before = gc.get_threshold()
    with seldom_collecting():
        assert gc.get_threshold()[0] > before[0]
    assert gc.get_threshold() == before
    nowhere = recipe().replaced(sources={"artgraph": str(tmp_path / "no"), "fma": str(tmp_path)})
    with pytest.raises(BadUsage):
        run_build(Workspace(tmp_path / "out"), nowhere)
    assert gc.get_threshold() == before


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


def test_a_part_whose_processes_are_lost_again_and_again_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_MANY", 1)
    monkeypatch.setattr(build, "_TRIES", 2)
    fatal = replace(counted.STAGE, plan=plan_many, work=die_always)
    with (
        spread(recipe()) as map_parts,
        pytest.raises(build.WorkerLost, match=r"part-\d+ was lost 2 times.*fewer --workers"),
    ):
        run_stage(fatal, Workspace(tmp_path), recipe(), map_parts=map_parts)
    assert len(list(tmp_path.glob("died-*"))) == 2


def test_parts_that_use_a_gpu_are_done_by_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(build, "_MANY", 1)
    with spread(recipe()) as map_parts:
        report = run_stage(counted.STAGE, Workspace(tmp_path), recipe(), map_parts=map_parts)
    processes = report.extra["processes"]
    assert {processes[f"part-{number}"] for number in range(1, counted.PARTS, 2)} == {os.getpid()}


def test_the_runners_of_prefect_are_not_the_librarys(tmp_path: Path) -> None:
    sample = bundled_recipe("sample")
    for runner in ("prefect", "dask"):
        with pytest.raises(BadUsage, match=f"The runner {runner} .* artsound_flows"):
            run_build(Workspace(tmp_path / runner), sample.replaced(run={"runner": runner}))
        assert not (tmp_path / runner).exists()


def test_captions_come_before_pairs_where_these_are_matched_by_them() -> None:
    usual = ("ingest", "embed", "pair", "caption", "shard", "report")
    assert stage_order(Recipe()) == usual
    by_captions = Recipe().replaced(pair={"bridge": "captions"})
    assert stage_order(by_captions) == ("ingest", "embed", "caption", "pair", "shard", "report")


def test_looking_at_the_status_of_a_build_imports_nothing_large() -> None:
    code = (
        "import sys, artsound.status\n"
        "print({'prefect', 'torch', 'numba', 'scipy', 'matplotlib', 'librosa'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout == "set()\n"


def die_always(context: Context, part: Part) -> Outcome:
    root = context.workspace.root
    if multiprocessing.parent_process() is not None:
        (root / f"died-{os.getpid()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    while len(list(root.glob("died-*"))) < 2:
        time.sleep(0.1)
    return counted.work(context, part)
