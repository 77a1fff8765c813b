"""Two processes share a run: the steps of one, a resume on another number, one stop for all."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from artsound.training.checkpoint import find_checkpoint, read_tensors
from artsound.training.config import Config
from artsound.training.data import Release
from artsound.training.loop import train

# What each process runs: two steps of the small run, then one that is reported to stop.
SCRIPT = """
import os, sys
sys.path[:0] = [sys.argv[1], os.path.dirname(sys.argv[1])]
from pathlib import Path
from conftest import SMALL
from test_loop import StopAfter
from toy_pairs import open_toys
from artsound.stage import QUIET
from artsound.training.loop import train
first = os.environ["RANK"] == "0"
release = open_toys(Path(sys.argv[3]))
train(release, SMALL, Path(sys.argv[2]) / "pair", steps=2)
# Only the first process is reported to stop: both must.
stop = StopAfter(1) if first else QUIET
report = train(release, SMALL, Path(sys.argv[2]) / "stopped", steps=4, progress=stop)
assert report.interrupted and report.steps == 1, report
"""


def weights(out: Path) -> dict[str, torch.Tensor]:
    return read_tensors(find_checkpoint(out) / "training.safetensors")


def test_two_processes_take_the_steps_of_one_and_one_resumes_what_two_began(
    release: Release, small: Config, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    here = str(Path(__file__).parent)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, here, str(tmp_path), release.data.store.location],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, reported = process.communicate(timeout=600)
        assert process.returncode == 0, reported
    train(release, small, tmp_path / "one", steps=2)
    pair, one = weights(tmp_path / "pair"), weights(tmp_path / "one")
    assert pair.keys() == one.keys()
    # AdamW's first steps are signs of gradients: one that is nearly zero may turn.
    close = [torch.isclose(pair[n], one[n], atol=1e-4).float().mean() for n in one]
    assert float(torch.stack(close).mean()) > 0.99
    resumed = train(release, small, tmp_path / "pair", steps=3, resume=True)
    assert (resumed.resumed_from, resumed.steps) == (2, 3)
