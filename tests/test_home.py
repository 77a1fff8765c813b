from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODE = (
    "import artsound, os, artsound_flows.settings\n"
    "print(os.environ.get('NUMBA_CACHE_DIR'), os.environ.get('PREFECT_HOME'))\n"
    "from artsound.pairing import search"
)


def homes(home: Path, **more: str) -> list[str]:
    """Where numba and Prefect keep things, in a process whose home folder is `home`."""
    kept = {n: v for n, v in os.environ.items() if n not in ("NUMBA_CACHE_DIR", "PREFECT_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True,
        env={**kept, "HOME": str(home), **more},
    )  # fmt: skip
    return done.stdout.split()


def test_where_home_can_be_written_to_nothing_is_changed_and_nothing_made(tmp_path: Path) -> None:
    assert homes(tmp_path) == ["None", "None"]
    assert not (tmp_path / ".prefect").exists()


def test_without_a_home_there_are_temporary_folders_that_go(tmp_path: Path) -> None:
    numba, prefect = homes(tmp_path / "nowhere", TMPDIR=str(tmp_path))
    assert Path(numba).parent == Path(prefect).parent == tmp_path
    assert not Path(numba).exists()
    assert not Path(prefect).exists()


def test_what_the_environment_says_is_respected(tmp_path: Path) -> None:
    mine = str(tmp_path / "mine")
    assert homes(tmp_path / "nowhere", NUMBA_CACHE_DIR=mine, PREFECT_HOME=mine) == [mine, mine]
