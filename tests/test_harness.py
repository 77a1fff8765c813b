"""What tests/conftest.py promises: fixed examples, fuzzing that reports, and loopback only."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PROPERTY = """
from hypothesis import given, settings, strategies as st

@settings(max_examples=3)
@given(st.integers(0, 10**9))
def test_named(number):
    with open("seen", "a") as file:
        file.write(f"{number}\\n")

@given(st.integers())
def test_false(number):
    assert number < 1000
"""


def run(folder: Path, project: Path, *options: str, **environment: str) -> str:
    """What pytest prints of a false property, under the project's own conftest."""
    for name in ("conftest.py", "made_once.py", "small_builds.py"):
        shutil.copy(project / "tests" / name, folder)
    (folder / "test_property.py").write_text(PROPERTY)
    paths = [str(project), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        capture_output=True, text=True, check=False, cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | environment,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_examples_are_the_same_in_every_run_and_none_are_saved(
    project: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "a" / "tests", tmp_path / "b" / "tests"
    for folder in (first, second):
        folder.mkdir(parents=True)
        run(folder, project)
    seen = (first / "seen").read_text()
    assert 1 <= len(seen.splitlines()) <= 3
    assert seen == (second / "seen").read_text()
    assert not (first.parent / ".hypothesis" / "examples").exists()


def test_fuzzing_tries_more_examples_saves_what_fails_and_says_how_to_reproduce_it(
    project: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    reported = run(folder, project, "--hypothesis-profile=fuzz", FUZZ_EXAMPLES="4")
    assert 3 < len((folder / "seen").read_text().splitlines()) <= 12
    assert any((tmp_path / ".hypothesis" / "examples").iterdir())
    assert "--hypothesis-profile=fuzz 'test_property.py::test_false'" in reported
    assert "@reproduce_failure" in reported


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 443)])
def test_a_connection_beyond_this_machine_is_refused(address: tuple[str, int]) -> None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as one, pytest.raises(OSError, match="tests use loopback only"):
        one.connect(address)


def test_a_connection_on_this_machine_is_not_hindered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
        with socket.socket() as one:
            assert one.connect_ex(server.getsockname()) == 0
