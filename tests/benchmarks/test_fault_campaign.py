"""A fault that needs several hosts: see benchmarks/fault_campaign.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long


def test_a_build_on_two_hosts_of_which_one_is_cut_off_gives_the_bytes_of_one(project: Path) -> None:
    script = str(project / "benchmarks" / "fault_campaign.py")
    options = ["--pairs", "24", "--rounds", "1", "--only", "host cut off"]
    # The hosts have addresses of their own, on a bridge within this machine.
    paths = os.environ["PYTHONPATH"].split(os.pathsep)
    paths = [path for path in paths if not path.endswith("loopback_only")]
    done = subprocess.run(
        [sys.executable, script, *options], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    if "not shown here" in done.stdout:
        pytest.skip(done.stdout.splitlines()[-2])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 faults, 1 survived, 0 lost" in done.stdout
