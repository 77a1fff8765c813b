"""A Dask cluster to run parts on: of a given scheduler, or a local one.

Its workers preload this module: `dask worker … --preload artsound_flows.cluster`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from artsound.errors import BadUsage
from artsound.extras import install_command
from artsound.gpus import gpu_count
from artsound.processes import prepare_worker
from artsound_flows.server import watch_for

GPU = "GPU"  # the resource that a worker with one declares: dask worker … --resources GPU=1

_HERE = ("127.0.0.1", "localhost", "::1")


def dask_setup(_worker: object) -> None:
    """Prepare a Dask worker that preloads this module."""
    prepare_worker()


@contextlib.contextmanager
def dask_cluster(address: str, workers: int) -> Iterator[str]:
    """The address of the scheduler at `address`, or of a local cluster of `workers` processes.

    Workers report to the Prefect server that this process uses. Call `check_cluster` first.

    Raises:
        BadUsage: The scheduler does not answer.
    """
    import distributed

    for name in ("distributed", "distributed.client"):  # Dask sets the level of the second itself
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if address:
        _check_scheduler(address)
        yield address
        return
    with distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",  # None would mean port 8787 of every interface
        scheduler_kwargs={"dashboard": False},
        preload="artsound_flows.cluster",
        silence_logs=logging.CRITICAL,  # here; and in the workers:
        env={"DASK_LOGGING__DISTRIBUTED": "critical"},
    ) as cluster:
        yield cluster.scheduler_address


@contextlib.contextmanager
def watched_cluster(address: str, report: Callable[[str], None]) -> Iterator[None]:
    """Within this block, call `report` with a sentence if a cluster has no worker left.

    Also if its scheduler no longer answers: Dask itself waits for both without end.
    """
    import distributed

    with distributed.Client(address, timeout=10, set_as_default=False) as client:

        def answers() -> bool:
            try:
                return bool(client.scheduler_info(n_workers=-1)["workers"])
            except Exception:  # noqa: BLE001  (whatever Dask raises for a lost connection)
                return False

        sentence = (
            f"The Dask scheduler at {address}, or all of its workers, are gone: start them again; "
            "the same command continues from here."
        )
        unwatch = watch_for(answers, sentence, report)
        try:
            yield
        finally:
            unwatch()


def placement(client: Any, needs: tuple[str, ...]) -> dict[str, Any]:
    """Dask's annotations for a part: a worker with a GPU, if it needs one and there is one.

    On a cluster of this machine whose workers declare none, as many workers as it has GPUs do all
    these parts, so that each GPU has one copy of a model.
    """
    if "gpu" not in needs:
        return {}
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if any(worker["resources"].get(GPU) for worker in workers.values()):
        return {"resources": {GPU: 1}}
    here = all(urlsplit(address).hostname in _HERE for address in workers)
    gpus = gpu_count() if here else 0
    return {"workers": sorted(workers)[:gpus]} if gpus else {}


def _check_scheduler(address: str) -> None:
    import distributed

    try:
        distributed.Client(address, timeout=10, set_as_default=False).close()
    except (OSError, ValueError) as error:
        raise BadUsage(
            f"No Dask scheduler answers at {address}: start one with `dask scheduler`, or leave "
            "the address out for workers on this machine."
        ) from error


def check_cluster(address: str, *, server_stays: bool) -> None:
    """Raise BadUsage if dask is missing, or workers may not reach a Prefect server.

    The workers of a scheduler at `address` may be on machines that cannot reach a temporary server
    on this one.
    """
    try:
        import distributed  # noqa: F401
        import prefect_dask  # noqa: F401
    except ImportError as error:
        raise BadUsage(f"The runner dask needs an extra: {install_command('dask')}.") from error
    if address and not server_stays and urlsplit(address).hostname not in _HERE:
        raise BadUsage(
            f"Workers of {address} must reach a Prefect server: start one with "
            "`prefect server start --host 0.0.0.0` and set PREFECT_API_URL to its address."
        )
