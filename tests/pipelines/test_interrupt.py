"""Ctrl-C and SIGTERM: within seconds, one sentence, nothing left running, and on it goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_builds import shard_digests, small_recipe
from strikes import striking

from artsound.sample import SamplePaths
from artsound.storage import Workspace
from artsound_flows.serial import run_serially

SENTENCE = "artsound: stopped; the same command goes on from here.\n"


def alive_in_group(group: int) -> list[str]:
    """Processes of a group that are no zombies (a container may have nobody to reap those)."""
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
    out: Path, recipe: Path, runner: str, number: int, environment: dict[str, str]
) -> str:
    """A build whose whole group gets a signal in the middle of a stage; what it printed."""
    first = f"{out}/parts/embed/*.json"
    striker = striking(out.with_name("striker"), first, 0, number, group=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "artsound", "build", "--recipe", str(recipe), "--out", str(out),
         "--runner", runner, "--workers", "2"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | environment | striker,
    )  # fmt: skip
    printed = process.communicate()[1]
    assert process.returncode == 128 + number, printed
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
def test_an_interrupted_build_ends_at_once_with_one_sentence_and_goes_on_to_the_same_bytes(
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
