"""Ctrl-C and SIGTERM: within seconds, one sentence, nothing left running, and on it goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_builds import run_serially, shard_digests, small_recipe
from strikes import striking

from artsound.build import run_build
from artsound.sample import SamplePaths
from artsound.storage import Workspace

pytestmark = pytest.mark.long

SENTENCE = "artsound: stopped; the same command continues from here.\n"


def alive_in_group(group: int) -> list[str]:
    """Processes of a group that are not zombies (a container may have no process to reap those)."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = status.read_text().rpartition(") ")
        except OSError:
            continue
        state, _parent, of_group = rest.split()[:3]
        if int(of_group) == group and state != "Z":
            found.append(name)
    return found


def interrupt(
    out: Path,
    recipe: Path,
    runner: str,
    number: int,
    environment: dict[str, str],
    *,
    at: str = "parts/embed/*.json",
    group: bool = True,
) -> str:
    """A build of which a process, or its group, gets a signal at a file; what it printed."""
    striker = striking(out.with_name("striker"), f"{out}/{at}", 0, number, group=group)
    process = subprocess.Popen(
        [sys.executable, "-m", "artsound", "build", "--recipe", str(recipe), "--out", str(out),
         "--runner", runner, "--workers", "2"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | environment | striker,
    )  # fmt: skip
    printed = process.communicate()[1]
    expected = -number if number == signal.SIGKILL else 128 + number
    assert process.returncode == expected, printed
    for _ in range(600):  # processes that were killed are gone a moment later
        if not alive_in_group(process.pid):
            break
        time.sleep(0.1)
    assert alive_in_group(process.pid) == []
    assert "ingest:" in printed
    return printed


@pytest.mark.parametrize(
    ("runner", "number"),
    [("serial", signal.SIGINT), ("processes", signal.SIGINT), ("threads", signal.SIGTERM),
     ("dask", signal.SIGINT)],
)  # fmt: skip
def test_an_interrupted_build_ends_at_once_with_one_sentence_and_continues_to_the_same_bytes(
    sample: SamplePaths,
    built: Workspace,
    tmp_path: Path,
    runner: str,
    number: int,
    request: pytest.FixtureRequest,
) -> None:
    recipe = small_recipe(sample)
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    environment: dict[str, str] = {}
    # Dask gets the temporary server, which is interrupted with it; threads, a server of their own.
    if runner == "dask":
        environment = {"PREFECT_HOME": str(tmp_path / "prefect")}
    elif runner == "threads":
        environment = {"PREFECT_API_URL": request.getfixturevalue("prefect_server").url}
    out = tmp_path / "out"
    printed = interrupt(out, tmp_path / "recipe.toml", runner, number, environment)
    assert printed.endswith(SENTENCE)
    assert printed.count("stopped") == 1
    for noise in ("Traceback", "rror", "arning", "leaked"):
        assert noise not in printed
    assert not (out / "shards").exists()
    run_serially(Workspace(out), recipe)
    assert shard_digests(Workspace(out)) == shard_digests(built)


def test_a_build_on_processes_that_is_killed_leaves_none_of_them_and_resumes_to_the_same_bytes(
    sample: SamplePaths, built: Workspace, tmp_path: Path
) -> None:
    recipe = small_recipe(sample)
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    out = tmp_path / "out"
    # Of all processes, the one that drives the build writes this file, and is killed there.
    at = "runs/embed.json"
    interrupt(out, tmp_path / "recipe.toml", "processes", signal.SIGKILL, {}, at=at, group=False)
    assert not (out / "runs" / "embed.json").exists()
    run_build(Workspace(out), recipe.replaced(run={"runner": "processes", "workers": 2}))
    assert shard_digests(Workspace(out)) == shard_digests(built)


def test_what_ends_because_of_the_signal_is_not_taken_for_the_cause() -> None:
    code = (
        "import os, signal, time\n"
        "from artsound.processes import clean_up_with, end_now, ends_at_once\n"
        "clean_up_with(lambda: end_now('the server ended.'))\n"
        "with ends_at_once('stopped.'):\n"
        "    os.kill(os.getpid(), signal.SIGTERM); time.sleep(120)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, "stopped.\n")
