"""Structured logs: a real build's lines parse, and add up to the stages' reports."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_builds import small_recipe

from artsound.errors import BadUsage
from artsound.progress import log, log_to
from artsound.sample import SamplePaths
from artsound.storage import Workspace

EVENTS = {"begin", "progress", "part", "retry", "note", "end", "failed"}
ALWAYS = {"time", "level", "event", "pid", "message"}
COUNTS = ("items_out", "filtered", "failed")


def artsound(*arguments: object, log_file: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"ARTSOUND_LOG": str(log_file)} if log_file else {})
    return subprocess.run(
        [sys.executable, "-m", "artsound", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def of(found: list[dict[str, Any]], event: str, stage: str) -> list[dict[str, Any]]:
    return [line for line in found if line["event"] == event and line.get("stage") == stage]


def test_a_builds_lines_have_their_fields_and_add_up_to_its_reports(
    sample: SamplePaths, tmp_path: Path
) -> None:
    recipe = small_recipe(sample, limit=6).replaced(run={"part_size": 4})
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    out, path = tmp_path / "out", tmp_path / "build.jsonl"
    build = ("build", "--recipe", tmp_path / "recipe.toml", "--out", out)
    done = artsound("--log", path, *build)
    assert done.returncode == 0, done.stderr
    found = lines(path)
    for line in found:
        assert set(line) >= ALWAYS
        assert line["event"] in EVENTS
        assert line["level"] == "info"
        assert line["time"].endswith("+00:00")
    for stage in ("ingest", "embed", "pair", "caption", "shard", "report"):
        report = json.loads((out / "runs" / f"{stage}.json").read_text())
        (begin,), (end,), parts = (of(found, event, stage) for event in ("begin", "end", "part"))
        assert begin["parts"] == len(parts) == report["parts"]
        assert begin["total"] == sum(part["items"] for part in parts) == report["items_in"]
        assert {key: end[key] for key in COUNTS} == {key: report[key] for key in COUNTS}
        progress = of(found, "progress", stage)[-1]
        assert (progress["items"], progress["unit"]) == (report["items_in"], "items")
    assert (found[0]["event"], "stage" in found[0]) == ("begin", False)
    assert found[0]["message"].startswith("artsound --log")
    assert (found[-1]["event"], "stage" in found[-1]) == ("end", False)

    done = artsound(*build, "--runner", "serial", log_file=path)  # appended
    assert done.returncode == 0, done.stderr
    again = lines(path)
    assert again[: len(found)] == found
    assert all(line["skipped"] for line in again[len(found) :] if line["event"] == "part")


def test_a_failing_builds_last_line_has_the_message_that_the_user_saw(
    built: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "build.jsonl"
    shutil.copytree(built.catalog, tmp_path / "out" / "catalog")  # but no embeddings
    done = artsound("pair", "--out", tmp_path / "out", "--runner", "serial", log_file=path)
    assert done.returncode == 1
    *_, of_stage, last = lines(path)
    assert (last["event"], last["level"]) == ("failed", "error")
    assert last["message"] in done.stderr
    assert "run the stage" in last["message"]
    assert (of_stage["stage"], of_stage["message"]) == ("pair", last["message"])


def test_a_stopped_command_says_so_in_its_log(tmp_path: Path) -> None:
    path = tmp_path / "build.jsonl"
    code = (
        "import os, signal, sys, time; from pathlib import Path\n"
        "from artsound.progress import log_to; from artsound.processes import ends_at_once\n"
        f"log_to(Path({str(path)!r}))\n"
        "with ends_at_once('stopped.'):\n"
        "    os.kill(os.getpid(), signal.SIGTERM); time.sleep(20)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 128 + 15
    assert [(line["event"], line["message"]) for line in lines(path)] == [("failed", "stopped.")]


def test_a_log_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="cannot be written"):
        log_to(tmp_path / "absent" / "build.jsonl")
    done = artsound("--log", tmp_path / "absent" / "b.jsonl", "stats", "nowhere")
    assert (done.returncode, "cannot be written" in done.stderr) == (2, True)


def test_without_a_log_nothing_is_printed_anywhere(capfd: pytest.CaptureFixture[str]) -> None:
    log("failed", "without a log", level=logging.ERROR)
    assert capfd.readouterr() == ("", "")


def test_a_log_shows_arguments_that_are_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "build.jsonl"
    done = artsound("--log", path, "stats", os.fsdecode(b"\xff\xfe"))
    assert done.returncode != 0
    assert [line["event"] for line in lines(path)] == ["begin", "failed"]
    assert "\udcff\udcfe" in lines(path)[0]["message"]
