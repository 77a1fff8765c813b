"""Two real torch.distributed processes share one stream."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import artsound
from artsound.errors import BadUsage

_RANK = """
import json, sys
import torch.distributed as dist
import artsound

dist.init_process_group("gloo")
loader = artsound.open(sys.argv[1]).stream(batch_size=3, seed=5).loader(workers=1)
mine = []
for batch in loader:
    mine += batch["key"]
    dist.barrier()
    if len(mine) == 12:
        break
everyone = [None] * dist.get_world_size()
dist.all_gather_object(everyone, (mine, loader.state_dict()))
if dist.get_rank() == 0:
    print(json.dumps(everyone))
dist.destroy_process_group()
"""


def test_two_processes_share_a_stream_and_three_ranks_take_over_the_rest(shards: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _RANK, str(shards)],
            env=os.environ | world | {"RANK": str(rank), "WORLD_SIZE": "2"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=600)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    (first, state), (second, other) = json.loads(outputs[0].splitlines()[-1])
    assert state == other
    whole = [sample["key"] for sample in artsound.open(shards).stream(seed=5)]
    done = [key for turn in zip(first, second, strict=True) for key in turn]
    assert done == whole[:24]
    later = []
    for rank in range(3):
        stream = artsound.open(shards).stream(seed=5, rank=rank, ranks=3)
        stream.load_state_dict(state)
        later.append([sample["key"] for sample in stream])
    rest = [key for turn in zip(*later, strict=True) for key in turn]
    assert done + rest == whole


def test_without_a_process_group_the_ranks_are_the_launchers(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = artsound.open(shards)
    share = [sample["key"] for sample in data.stream(rank=1, ranks=3)]
    whole = [sample["key"] for sample in data.stream(rank=0, ranks=1)]
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert [sample["key"] for sample in data.stream()] == share
    assert [sample["key"] for sample in data.stream(rank=0, ranks=1)] == whole


def test_the_ranks_are_asked_for_when_iteration_begins(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = artsound.open(shards)
    expected = [sample["key"] for sample in data.stream(rank=1, ranks=3)]
    loader = data.stream().loader()
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert len(loader) == 15
    with pytest.raises(BadUsage, match="WORLD_SIZE is 3, but RANK is not set"):
        next(iter(loader))
    monkeypatch.setenv("RANK", "1")
    assert [sample["key"] for sample in loader] == expected
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(BadUsage, match="RANK is 'one'"):
        next(iter(loader))
