"""Prefect for real: deployments, artifacts, limits, the hook at the end, and its database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from small_builds import shard_digests, small_recipe

from artsound.errors import BadUsage
from artsound.sample import SamplePaths
from artsound.shards.dataset import open_shards
from artsound.storage import Workspace

pytestmark = pytest.mark.long

TOLD: list[dict[str, Any]] = []


def hear(values: dict[str, Any]) -> None:
    """What `python:module:function` names in a test below."""
    TOLD.append(values)


@pytest.fixture
def webhook() -> Iterator[str]:
    """The address of an HTTP server that keeps what it is reported in TOLD."""

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            TOLD.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    TOLD.clear()
    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/ended"
        server.shutdown()


@pytest.fixture
def client(prefect_server: Any) -> Iterator[Any]:
    """A client of the tests' server, which flows run in this process report to."""
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings({PREFECT_API_URL: prefect_server.url}),
        get_client(sync_client=True) as opened,
    ):
        yield opened


def test_a_build_leaves_its_counts_and_report_in_prefect_and_notifies_the_webhook(
    sample: SamplePaths, tmp_path: Path, client: Any, webhook: str, prefect_server: Any
) -> None:
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    from artsound_flows.flows import run_with_prefect

    workspace = Workspace(tmp_path / "out")
    run = {"runner": "processes", "workers": 2, "part_size": 2, "notify": f"{webhook}?token=S3CRET"}
    reports = run_with_prefect(workspace, small_recipe(sample).replaced(run=run))
    [reported] = TOLD
    assert (reported["flow"], reported["state"], reported["out"]) == (
        "build",
        "completed",
        str(workspace.root),
    )
    own = [run for run in client.read_flow_runs() if str(workspace.root) in run.name]
    recorded = json.dumps([run.parameters for run in own])
    assert f"{webhook}?token=..." in recorded
    assert "S3CRET" not in recorded
    flow_runs = [run.id for run in own if not run.name.startswith("build")]
    assert len(flow_runs) == len(reports) == 6
    artifacts = client.read_artifacts(
        artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=flow_runs))
    )
    by_key = {artifact.key: artifact for artifact in artifacts}
    for report in reports:
        [row] = json.loads(by_key[report.stage].data)
        assert (
            row["items_in"] == report.items_in == row["items_out"] + row["filtered"] + row["failed"]
        )
        assert by_key[f"{report.stage}-progress"].data == 100.0
    assert "index.html" in by_key["report-page"].data
    assert "locked" not in prefect_server.log.read_text()  # with 60 parts on each of two stages


def test_a_failed_build_is_reported_to_a_function_and_a_failed_delivery_fails_nothing(
    sample: SamplePaths, tmp_path: Path, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from artsound.errors import BadData
    from artsound_flows.flows import run_with_prefect

    TOLD.clear()
    nowhere = small_recipe(sample).replaced(sources={"fma": str(tmp_path / "nothing")})
    for number, target in enumerate((f"python:{__name__}:hear", "python:no.such:function")):
        run = {"runner": "threads", "notify": target}
        with pytest.raises((BadData, BadUsage), match="nothing"):
            run_with_prefect(Workspace(tmp_path / f"out-{number}"), nowhere.replaced(run=run))
    assert [reported["state"] for reported in TOLD] == ["failed"]
    assert "python:no.such:function could not be called" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["ftp://somewhere", "python:json", "json.dumps"])
def test_a_place_to_notify_that_is_none_is_named(target: str) -> None:
    from artsound.notify import notify

    with pytest.raises(BadUsage, match=target):
        notify(target, {})


def test_every_deployment_of_the_project_can_be_deployed_and_shows_its_parameters(
    project: Path, client: Any, prefect_server: Any, tmp_path: Path
) -> None:
    def prefect(*arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=project, capture_output=True, text=True, check=False,
            env=os.environ
            | {"PREFECT_API_URL": prefect_server.url, "PREFECT_HOME": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    prefect("work-pool", "create", "artsound", "--type", "process")
    prefect("deploy", "--all")
    deployments = {deployment.name: deployment for deployment in client.read_deployments()}
    assert set(deployments) == {"nightly", "full", "publish", "train"}
    assert [schedule.schedule.cron for schedule in deployments["nightly"].schedules] == [
        "0 2 * * *"
    ]
    assert deployments["full"].parameters["from_scratch"] is True
    for deployment in deployments.values():
        properties = deployment.parameter_openapi_schema["properties"]
        assert set(deployment.parameters) <= set(properties)
        assert all(values.get("description") for values in properties.values()), deployment.name
        assert deployment.enforce_parameter_schema
    runners = deployments["full"].parameter_openapi_schema["properties"]["runner"]["enum"]
    assert runners == ["threads", "processes", "dask"]


def test_a_rebuild_keeps_the_shards_of_its_base_that_lose_nothing(
    sample: SamplePaths, built: Workspace, tmp_path: Path, client: Any
) -> None:
    from artsound_flows.deployments import rebuild

    recipe, takedown = tmp_path / "recipe.toml", tmp_path / "takedown.txt"
    recipe.write_text(small_recipe(sample).to_toml())
    frame = open_shards(str(built.shards)).frame
    gone = frame.row(0, named=True)
    takedown.write_text(f"{gone['track_id']}\n")
    workspace = Workspace(tmp_path / "out")
    asked = {"recipe": str(recipe), "base": str(built.root), "without": str(takedown)}
    rebuild(workspace.root, **asked, runner="processes", workers=2)
    before, after = shard_digests(built), shard_digests(workspace)
    shards = {name for name in before if name.endswith(".tar")}
    assert {name for name in shards if after.get(name) != before[name]} == {gone["shard"]}
    [came] = {*open_shards(str(workspace.shards)).frame["track_id"]} - {*frame["track_id"]}
    assert gone["track_id"] not in set(open_shards(str(workspace.shards)).frame["track_id"])
    assert came > max(frame["track_id"])  # the limit on tracks left room for the next one
    markers = {path: path.stat().st_mtime_ns for path in workspace.parts.rglob("*.json")}
    rebuild(workspace.root, **asked, runner="threads", from_scratch=True)
    assert shard_digests(workspace) == after
    assert all(path.stat().st_mtime_ns > reported for path, reported in markers.items())


def test_parts_that_need_a_gpu_wait_for_each_other_where_a_limit_says_so(
    sample: SamplePaths, tmp_path: Path, client: Any
) -> None:
    import counted

    from artsound_flows.engine import run_flow, session, stage_flow

    client.create_concurrency_limit(tag="artsound-gpu", concurrency_limit=1)
    workspace = Workspace(tmp_path / "out")
    recipe = small_recipe(sample).replaced(run={"runner": "threads", "workers": 4})
    with session(workspace, recipe) as opened:
        report = run_flow(stage_flow(counted.STAGE, "Count."), opened)
    spans = sorted(report.extra["gpu"])
    assert len(spans) == counted.PARTS // 2
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_heartbeats_are_for_a_server_that_stays(tmp_path: Path, client: Any) -> None:
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    from artsound.recipe import Recipe
    from artsound_flows.engine import session

    with session(Workspace(tmp_path / "its own server"), Recipe()):
        assert PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value()
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        session(Workspace(tmp_path / "a temporary one"), Recipe()),
    ):
        assert PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() is None


@pytest.mark.parametrize(("place", "tasks"), [("", ["fetch"]), ("sample", [])])
def test_only_what_asks_a_server_is_a_task_that_a_limit_on_downloads_holds(
    tmp_path: Path, client: Any, place: str, tasks: list[str]
) -> None:
    from prefect import flow
    from prefect.context import TaskRunContext

    from artsound.progress import QUIET
    from artsound.recipe import Recipe
    from artsound.sources.ingest import STAGE
    from artsound.stage import Context
    from artsound_flows.engine import _limiting_downloads

    seen: list[str] = []

    def prepare(*_: Any) -> None:
        context = TaskRunContext.get()
        seen.extend([context.task.name] if context is not None else [])

    recipe = Recipe().replaced(sources={"artgraph": "sample", "fma": place})
    stage = _limiting_downloads(replace(STAGE, prepare=prepare), recipe)

    @flow(name="prepare")
    def run() -> None:
        assert stage.prepare is not None
        stage.prepare(Context(Workspace(tmp_path), recipe), QUIET)

    run()
    assert seen == tasks


def test_workers_of_a_training_in_the_same_process_end_well(
    sample: SamplePaths, tmp_path: Path, client: Any
) -> None:
    import multiprocessing

    from artsound_flows.flows import run_with_prefect

    recipe = small_recipe(sample).replaced(run={"runner": "threads"})
    with pytest.raises(BadUsage):  # a flow that ends early, but leaves Prefect's services behind
        run_with_prefect(Workspace(tmp_path), recipe.replaced(sources={"fma": "nowhere"}))
    child = multiprocessing.get_context("fork").Process(target=tuple)
    child.start()
    child.join()
    assert child.exitcode == 0


def test_publishing_checks_first_and_pushes_what_lacks(
    built: Workspace, tmp_path: Path, client: Any
) -> None:
    from artsound.errors import BadData
    from artsound_flows.deployments import publish

    with pytest.raises(BadUsage, match="may not be redistributed"):
        publish(built.shards, str(tmp_path / "there"))
    publish(built.shards, str(tmp_path / "there"), restricted=True)
    names = {path.name for path in built.shards.glob("*.tar")}
    assert {path.name for path in (tmp_path / "there").glob("*.tar")} == names
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in built.shards.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes())
    next(damaged.glob("*.tar")).write_bytes(b"")
    with pytest.raises(BadData, match="problems"):
        publish(damaged, str(tmp_path / "nowhere"), restricted=True)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "value",
    [
        "https://me:S3CRET@example.org/fma/",
        "https://${USER}:S3CRET@example.org/fma/",
        "s3://bucket/a?token=S3CRET",
        "https://example.org/a?X-Amz-Signature=S3CRET&b=1",
        "hf_S3CRETS3CRETS3CRET",
    ],
)
def test_a_deployment_refuses_a_secret_that_prefect_would_store(value: str, tmp_path: Path) -> None:
    from artsound_flows.deployments import publish, rebuild, train

    for run in (
        lambda: publish.fn(tmp_path, value),
        lambda: rebuild.fn(tmp_path, fma=value),
        lambda: rebuild.fn(tmp_path, notify=value),
        lambda: train.fn(value, tmp_path),
    ):
        with pytest.raises(BadUsage, match=r"write \$\{NAME\} in its place") as caught:
            run()
        assert "S3CRET" not in str(caught.value)


def test_references_to_secrets_are_resolved_where_the_deployment_runs(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.blocks.system import Secret

    from artsound_flows.deployments import resolved

    Secret(value="of the block").save("upload")
    monkeypatch.setenv("FMA_PASSWORD", "of:the/variable")
    assert resolved("fma", "https://me:${FMA_PASSWORD}@a.example") == (
        "https://me:of:the/variable@a.example"
    )
    assert resolved("target", "x?token=${block:upload}") == "x?token=of the block"
    assert resolved("fma", "https://${FMA_PASSWORD}:${FMA_PASSWORD}@a")[8:18] == "of:the/var"
    assert resolved("limit", 5) == 5
    assert resolved("out", "costs $5 {a}") == "costs $5 {a}"
    for absent in ("${ABSENT_VARIABLE}", "${block:absent}"):
        with pytest.raises(BadUsage, match="has that name"):
            resolved("fma", absent)


def test_the_server_of_these_tests_is_on_postgresql(prefect_server: Any) -> None:
    if not prefect_server.database:
        pytest.skip("PostgreSQL is not installed here (apt-get install postgresql)")
    assert prefect_server.database.startswith("postgresql+asyncpg://")
