"""Fixtures that several rooms share."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import settings
from small_builds import small_recipe

from artsound.sources.sample import SamplePaths, write_sample
from artsound.storage import Workspace
from pipelines.serial import run_serially

PROJECT = Path(__file__).resolve().parents[1]

# A busy machine is no fault: how fast things are is told by benchmarks/.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's top folder."""
    return PROJECT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real paintings, music and metadata, where this machine has them; never committed."""
    folder = PROJECT.parent / "shared" / "data"
    if not (folder / "artgraph" / "mapping").is_dir():
        pytest.skip("the real files (../shared/data) are not on this machine")
    return folder


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SamplePaths:
    """The bundled synthetic sample, written once for all test processes; do not change it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "sample"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "sample.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other process waits for the first to finish
        return write_sample(folder, 0)


@pytest.fixture(scope="session")
def built(sample: SamplePaths, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A whole build of 24 tracks of the sample, made in this process; do not change it."""
    workspace = Workspace(tmp_path_factory.mktemp("built") / "out")
    run_serially(workspace, small_recipe(sample))
    return workspace
