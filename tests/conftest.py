"""Fixtures that several rooms share."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase
from made_once import made_once
from small_builds import run_serially, small_recipe

from artsound.sample import SamplePaths, write_sample
from artsound.storage import Workspace

PROJECT = Path(__file__).resolve().parents[1]

FUZZ_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "20"))  # times as many as in `make test`
FUZZ_DATABASE = PROJECT / ".hypothesis" / "examples"

# The same examples in every run, so that a change of the outcome is a change of the code; and no
# deadline, since a busy machine is no fault (benchmarks/ measure how fast things are).
settings.register_profile("fixed", derandomize=True, database=None, deadline=None, print_blob=True)
# `make fuzz`: other examples in every run, and what fails is saved and tried first in the next.
settings.register_profile(
    "fuzz",
    derandomize=False,
    database=DirectoryBasedExampleDatabase(FUZZ_DATABASE),
    deadline=None,
    max_examples=100 * FUZZ_EXAMPLES,
    print_blob=True,
)
settings.load_profile("fixed")


def _is_fuzzing(config: pytest.Config) -> bool:
    return bool(config.getoption("--hypothesis-profile") == "fuzz")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files marked `long`; in `make fuzz`, multiply the tests' own examples.

    One long file that begins last leaves the other process idle until it ends.
    """
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    if not _is_fuzzing(config):
        return
    tests = {getattr(item.obj, "__func__", item.obj) for item in items if hasattr(item, "obj")}
    for test in tests:
        own = getattr(test, "_hypothesis_internal_use_settings", None)
        if own is not None and own.max_examples != settings.default.max_examples:
            test._hypothesis_internal_use_settings = settings(
                own, max_examples=own.max_examples * FUZZ_EXAMPLES
            )


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """After `make fuzz`, print how to reproduce what it has found."""
    failed = terminalreporter.stats.get("failed", [])
    if failed and _is_fuzzing(config):
        terminalreporter.section("to reproduce")
        terminalreporter.line(f"The failing examples are saved in {FUZZ_DATABASE}; replay one by")
        for report in failed:
            terminalreporter.line(
                f"  .venv/bin/python -m pytest --hypothesis-profile=fuzz '{report.nodeid}'"
            )
        terminalreporter.line("or add the @reproduce_failure line printed above to its test.")


class OutsideNetworkError(OSError):
    """A test tried to reach something beyond this machine."""


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    """Refuse connections to any address but loopback: no test needs a network.

    Of this process, and of the Python processes that it starts with its environment.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PROJECT / "tests" / "loopback_only"), prepend=os.pathsep)
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        yield


def _guarded(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        internet = self.family in (socket.AF_INET, socket.AF_INET6)
        # A datagram socket sends nothing when it is connected: libraries learn their address so.
        if internet and self.type == socket.SOCK_STREAM and not _is_loopback(str(address[0])):
            raise OutsideNetworkError(
                f"A test tried to connect to {address[0]} port {address[1]}; "
                "tests use loopback only: start a server of the test's own on 127.0.0.1."
            )
        return connect(self, address)

    return guarded


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


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

    def make(folder: Path) -> SamplePaths:
        folder.mkdir()
        return write_sample(folder, 0)

    return made_once(tmp_path_factory, "sample", make)[1]


@pytest.fixture(scope="session")
def built(sample: SamplePaths, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A whole build of 24 tracks of the sample, made once for all processes; do not change it."""

    def make(folder: Path) -> None:
        run_serially(Workspace(folder / "out"), small_recipe(sample))

    return Workspace(made_once(tmp_path_factory, "built", make)[0] / "out")
