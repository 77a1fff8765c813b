"""The rehearsal of a full release, at a small size."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from strikes import striking

STEPS = (
    "sources", "ingest", "embed", "pair", "caption", "shard", "report", "Prefect, between stages",
    "verify", "verify --deep", "index", "stats", "subset: ids", "subset: view", "subset: shards",
    "browse: first page", "streamed epoch",
)  # fmt: skip
PAIRS = 120


def command(project: Path, out: Path) -> list[str]:
    script = str(project / "benchmarks" / "rehearsal.py")
    options = ["--pairs", str(PAIRS), "--out", str(out), "--invented", "--runner", "serial"]
    return [sys.executable, script, *options]


def rehearse(project: Path, out: Path) -> str:
    done = subprocess.run(command(project, out), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def rehearsed(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rehearsal that was stopped while it measured pictures and clips, and then gone on with."""
    folder = tmp_path_factory.mktemp("striker")
    out = tmp_path_factory.mktemp("rehearsal") / "out"
    first = f"{out}/build/parts/embed/*.json"
    environment = striking(folder / "site", first, 0, signal.SIGINT, group=True)
    running = subprocess.Popen(
        command(project, out), stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | environment,
    )  # fmt: skip
    reported = running.communicate()[1]
    assert running.returncode == 130, reported
    steps = [row["step"] for row in json.loads((out / "rehearsal.json").read_text())["steps"]]
    assert steps == ["sources", "ingest"]
    assert not list((out / "build" / "parts" / "embed").glob("*.json"))
    rehearse(project, out)
    return out


def test_a_stopped_rehearsal_continues_and_every_step_is_reported_with_what_it_took(
    rehearsed: Path,
) -> None:
    reported = json.loads((rehearsed / "rehearsal.json").read_text())
    assert [row["step"] for row in reported["steps"]] == list(STEPS)
    assert all(row["items"] > 0 and row["seconds"] > 0 for row in reported["steps"])
    assert all(row["memory"] > 0 for row in reported["steps"])
    assert reported["disk"] > 0


def test_every_pair_asked_for_is_in_a_shard(rehearsed: Path) -> None:
    index = json.loads((rehearsed / "build" / "shards" / "index.json").read_text())
    assert index["samples"] == PAIRS
    assert len(index["shards"]) >= 3


def test_faulty_media_are_rejected_each_with_its_reason(rehearsed: Path) -> None:
    report = json.loads((rehearsed / "build" / "runs" / "ingest.json").read_text())
    assert report["failed"] > 0
    assert report["items_in"] == report["items_out"] + report["filtered"] + report["failed"]


def test_a_finished_rehearsal_is_only_reported_again(project: Path, rehearsed: Path) -> None:
    before = (rehearsed / "rehearsal.json").read_bytes()
    reported = rehearse(project, rehearsed)
    assert "streamed epoch" in reported
    assert (rehearsed / "rehearsal.json").read_bytes() == before
