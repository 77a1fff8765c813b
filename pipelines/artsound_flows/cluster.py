"""A Dask cluster to run parts on: one given by its scheduler's address, or one made here."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from artsound.errors import BadUsage

GPU = "GPU"  # the resource that a worker with one declares: dask worker … --resources GPU=1

_HERE = ("127.0.0.1", "localhost", "::1")


@contextlib.contextmanager
def dask_cluster(address: str, workers: int) -> Iterator[str]:
    """The address of the scheduler at `address`, or of a local cluster of `workers` processes.

    Workers report to the Prefect server that this process uses: a temporary one is started for
    them where none is set. Raises BadUsage when dask is missing, when no scheduler answers, or
    when its workers may be on machines that cannot reach a temporary server.
    """
    try:
        import distributed
        import prefect_dask  # noqa: F401  (else it would be missed only after a minute's work)
    except ImportError as error:
        raise BadUsage("The dask runner needs an extra: pip install 'artsound[dask]'.") from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if address:
        _check_server(address)
        _check_scheduler(address)
    with _server_for_workers():
        if address:
            yield address
            return
        with distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            preload="artsound_flows.worker",
            silence_logs=logging.CRITICAL,  # here; and in the workers:
            env={"DASK_LOGGING__DISTRIBUTED": "critical"},
        ) as cluster:
            yield cluster.scheduler_address


def placement(client: Any, needs: tuple[str, ...]) -> dict[str, Any]:
    """How a part is to be placed: on a worker with a GPU, where it wants one and there is one."""
    if "gpu" not in needs:
        return {}
    offers = [
        worker["resources"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()
    ]
    return {"resources": {GPU: 1}} if any(offer.get(GPU) for offer in offers) else {}


def _check_scheduler(address: str) -> None:
    import distributed

    try:
        distributed.Client(address, timeout=10, set_as_default=False).close()
    except (OSError, ValueError) as error:
        raise BadUsage(
            f"No Dask scheduler answers at {address}: start one with `dask scheduler`, or leave "
            "the address out for workers on this machine."
        ) from error


def _check_server(address: str) -> None:
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value() and urlsplit(address).hostname not in _HERE:
        raise BadUsage(
            f"Workers of {address} must reach a Prefect server: start one with "
            "`prefect server start --host 0.0.0.0` and set PREFECT_API_URL to its address."
        )


@contextlib.contextmanager
def _server_for_workers() -> Iterator[None]:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    if PREFECT_API_URL.value():
        yield
        return
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:  # starts the temporary server
        url = str(client.api_url)
    # The environment too: worker processes are made from it.
    with temporary_settings({PREFECT_API_URL: url}):
        os.environ["PREFECT_API_URL"] = url
        try:
            yield
        finally:
            del os.environ["PREFECT_API_URL"]
