"""Parts on a real Dask cluster of two processes, one of which declares a GPU."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_builds import shard_digests, small_recipe

from artsound.errors import BadUsage
from artsound.sample import SamplePaths
from artsound.storage import Workspace

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
WORKER = ["worker", "--host", "127.0.0.1", "--nworkers", "1", "--nthreads", "1", "--no-dashboard",
          "--no-nanny", "--preload", "artsound_flows.cluster", "--death-timeout", "60"]  # fmt: skip


@contextlib.contextmanager
def dask(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of Dask's own command line, ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=HERE.parents[1],
        env=os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"} | environment,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with two workers: `plain`, and `painter`, which has a GPU."""
    from distributed import Client

    file = tmp_path_factory.mktemp("dask") / "scheduler.json"
    place = ["--scheduler-file", str(file)]
    with (
        dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", *place),
        dask(*WORKER, "--name", "plain", *place),
        dask(*WORKER, "--name", "painter", "--resources", "GPU=1", *place),
    ):
        with Client(scheduler_file=str(file), timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        yield address


@pytest.mark.filterwarnings("error")
def test_two_local_clusters_start_without_a_warning_and_listen_on_loopback_only() -> None:
    import psutil

    from artsound_flows.cluster import dask_cluster

    with dask_cluster("", 1), dask_cluster("", 1):
        here = psutil.Process()
        for process in (here, *here.children(recursive=True)):
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip in ("127.0.0.1", "::1")


@contextlib.contextmanager
def using(server: Any) -> Iterator[None]:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: server.url}):
        yield


def test_a_model_is_loaded_once_by_each_worker_and_parts_that_need_a_gpu_go_where_one_is(
    scheduler: str, sample: SamplePaths, tmp_path: Path, prefect_server: Any
) -> None:
    import counted
    from distributed import Client

    from artsound_flows.engine import run_flow, session, stage_flow

    workspace = Workspace(tmp_path / "out")
    run = {"runner": "dask", "dask_address": scheduler, "part_size": 1}
    with (
        using(prefect_server),
        session(workspace, small_recipe(sample).replaced(run=run)) as opened,
    ):
        report = run_flow(stage_flow(counted.STAGE, "Count."), opened)
    with Client(scheduler, set_as_default=False) as client:
        names = {
            info["name"]: address for address, info in client.scheduler_info()["workers"].items()
        }
        painter = client.run(os.getpid, workers=[names["painter"]])[names["painter"]]
    processes = report.extra["processes"]
    assert len(processes) == counted.PARTS
    assert {processes[f"part-{number}"] for number in range(1, counted.PARTS, 2)} == {painter}
    assert len(list(workspace.root.glob("loaded-*"))) == len(set(processes.values()))


def test_a_build_on_two_workers_one_killed_in_a_part_gives_the_bytes_of_one_machine(
    scheduler: str, sample: SamplePaths, built: Workspace, tmp_path: Path, prefect_server: Any
) -> None:
    from distributed import Client

    from artsound_flows.flows import run_with_prefect

    killed: list[int] = []

    def kill_the_plain_worker_at_work() -> None:
        with Client(scheduler, set_as_default=False) as client:
            workers = client.scheduler_info()["workers"]
            [plain] = [address for address, info in workers.items() if info["name"] == "plain"]
            process = client.run(os.getpid, workers=[plain])[plain]
            while not client.processing().get(plain):
                time.sleep(0.02)
            os.kill(process, signal.SIGKILL)
            killed.append(process)

    killer = threading.Thread(target=kill_the_plain_worker_at_work)
    killer.start()
    workspace = Workspace(tmp_path / "out")
    run = {"runner": "dask", "dask_address": scheduler}
    with using(prefect_server):
        run_with_prefect(workspace, small_recipe(sample).replaced(run=run))
    killer.join()
    assert killed
    assert shard_digests(workspace) == shard_digests(built)


def test_a_scheduler_that_does_not_answer_is_named(
    sample: SamplePaths, tmp_path: Path, prefect_server: Any
) -> None:
    from artsound_flows.cluster import dask_cluster

    with (
        using(prefect_server),
        pytest.raises(BadUsage, match=r"tcp://127\.0\.0\.1:1"),
        dask_cluster("tcp://127.0.0.1:1", 1),
    ):
        pass


def test_workers_elsewhere_cannot_report_to_a_temporary_server() -> None:
    from artsound_flows.cluster import check_cluster

    check_cluster("tcp://127.0.0.1:8786", server_stays=False)
    check_cluster("tcp://10.0.0.1:8786", server_stays=True)
    with pytest.raises(BadUsage, match="set PREFECT_API_URL"):
        check_cluster("tcp://10.0.0.1:8786", server_stays=False)


def test_a_worker_that_does_not_see_the_build_is_an_error(
    scheduler: str,
    sample: SamplePaths,
    tmp_path: Path,
    prefect_server: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from artsound_flows.flows import run_with_prefect

    monkeypatch.chdir(tmp_path)  # the workers are in another folder
    run = {"runner": "dask", "dask_address": scheduler}
    with (
        using(prefect_server),
        pytest.raises(BadUsage, match=r"finds no build in out: give --out a full path"),
    ):
        run_with_prefect(Workspace(Path("out")), small_recipe(sample).replaced(run=run))
