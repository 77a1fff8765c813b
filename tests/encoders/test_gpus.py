"""One copy of a model on each GPU, whatever runs the parts; simulated devices, real runners."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from test_embed import catalogue

from artsound.build import spread, unload_models
from artsound.encoders import base
from artsound.encoders.base import choose_device, open_encoder
from artsound.encoders.embed import STAGE
from artsound.errors import BadData
from artsound.gpus import current_gpu, gpu_lease
from artsound.recipe import Recipe
from artsound.stage import map_serially, run_stage
from artsound.storage import Workspace

PLUGIN = """
import threading
import numpy as np
from artsound.encoders.base import Encoder, EncoderPlugin

opened, used, at_once, fault = [], {}, {}, []
both = threading.Barrier(2)
lock = threading.Lock()

class Opened(Encoder):
    digest, dim = "d", 4
    def __init__(self, device):
        self.device = device
    def images(self, data):
        with lock:
            first = self.device not in used
            used.setdefault(self.device, []).append(threading.get_ident())
            at_once[self.device] = at_once.get(self.device, 0) + 1
            assert at_once[self.device] == 1
        if first and self.device != "cuda:9":
            both.wait(60)  # until the other GPU has work too
        with lock:
            at_once[self.device] -= 1
        return np.full((len(data), 4), 0.5, np.float32)
    audio = images

class Counted(EncoderPlugin):
    "Counts how often it is loaded."
    name, version, modalities, uses_gpu = "counted", "1", ("image", "audio"), True
    def digest(self, settings):
        return "d"
    def open(self, settings, device):
        if fault:
            raise fault[0]
        opened.append(device)
        return Opened(device)
"""


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module with an encoder that counts its loads, on a machine with two GPUs."""
    import torch

    name = f"counted_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    __import__(name)
    unload_models()  # of earlier tests
    yield sys.modules[name]
    unload_models()


def recipe(module: Any, **run: Any) -> Recipe:
    """Vectors of both sides by the counted encoder, an item a part."""
    return Recipe().replaced(
        pair={"bridge": f"joint:{module.__name__}:Counted"},
        run={"part_size": 1, "workers": 4, **run},
    )


@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_each_gpu_loads_a_model_once_and_does_one_part_at_a_time(
    counted: Any, tmp_path: Path, runner: str
) -> None:
    workspace = Workspace(tmp_path / "out")
    catalogue(workspace)
    with spread(recipe(counted), runner) as map_parts:
        report = run_stage(STAGE, workspace, recipe(counted), map_parts=map_parts)
    assert report.failed == 0
    assert sorted(counted.opened) == ["cuda:0", "cuda:1"]
    assert sum(map(len, counted.used.values())) == 8  # 5 pictures and 3 clips
    assert base._load.cache_info().currsize == 2
    unload_models()
    assert base._load.cache_info().currsize == 0


def test_the_serial_runner_uses_one_gpu(counted: Any, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "out")
    catalogue(workspace)
    counted.used["cuda:0"] = []  # it waits for no other
    run_stage(STAGE, workspace, recipe(counted), map_parts=map_serially)
    assert counted.opened == ["cuda:0"]


def test_threads_wait_for_a_gpu_of_their_own(counted: Any) -> None:
    assert choose_device("auto") == "cuda:0"
    assert choose_device("cuda:1") == "cuda:1"
    assert choose_device("cpu") == "cpu"
    seen: list[int] = []
    third = threading.Event()

    def wait() -> None:
        with gpu_lease() as number:
            seen.append(number)
            assert choose_device("auto") == f"cuda:{number}"
        third.set()

    with gpu_lease() as first, gpu_lease() as again:
        assert (first, again, current_gpu()) == (0, 0, 0)
        inside = threading.Event()
        leave = threading.Event()

        def hold() -> None:
            with gpu_lease() as number:
                seen.append(number)
                inside.set()
                leave.wait(60)

        holder = threading.Thread(target=hold)
        holder.start()
        inside.wait(60)
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not third.wait(0.05)  # both GPUs are taken
        leave.set()
        assert third.wait(60)
        holder.join()
        waiting.join()
    assert seen == [1, 1]


def test_a_model_that_does_not_fit_when_it_is_loaded_is_said_so(counted: Any) -> None:
    import torch

    counted.fault.append(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(BadData, match="does not fit into the memory of cuda:0 when it is loaded"):
        open_encoder(f"{counted.__name__}:Counted", Recipe())
