"""Containers and jobs, as far as they can be checked without an engine or a cluster."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from packaging.requirements import Requirement

from artsound.cli import app
from artsound.extras import EXTRAS

PROJECT = Path(__file__).resolve().parents[1]
DEPLOY = PROJECT / "deploy"


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile and their arguments, continued lines joined."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2]) for line in lines]


def understood(words: list[str]) -> None:
    """Parse a command of artsound; raises the error that a user would see."""
    assert words[0] == "artsound"
    command = typer.main.get_command(app).commands[words[1]]  # type: ignore[attr-defined]
    command.make_context(words[1], words[2:])


def test_the_image_builds_the_package_from_the_files_that_it_copies(tmp_path: Path) -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for name, argument in instructions():
        if name == "COPY":
            *sources, target = argument.split()
            for source in sources:
                assert f"!{source}" in ignored
                into = tmp_path / target / (source if target.endswith("./") else "")
                if (PROJECT / source).is_dir():
                    shutil.copytree(PROJECT / source, into, dirs_exist_ok=True)
                else:
                    shutil.copy(PROJECT / source, into)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path / "wheels"), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    [wheel] = (tmp_path / "wheels").glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {"artsound/recipes/open.toml", "artsound/schemas/index.json"} <= inside
    assert "artsound_flows/deployments.py" in inside
    assert (tmp_path / "pipelines/artsound_flows/deployments.py").is_file()  # of prefect.yaml


def test_the_image_installs_extras_that_exist_at_tested_versions() -> None:
    [extras] = [argument for name, argument in instructions() if name == "ARG"]
    assert set(extras.partition("=")[2].split(",")) <= set(EXTRAS.values())
    [install] = [argument for name, argument in instructions() if name == "RUN"]
    assert "--constraint constraints.txt" in install
    pinned = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    names = {Requirement(line).name for line in pinned if line and not line.startswith("#")}
    assert {"asyncpg", "prefect", "s3fs"} <= names


def test_the_compose_file_joins_a_database_a_server_and_a_worker() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    services: dict[str, Any] = compose["services"]
    assert list(services) == ["database", "server", "worker"]
    for name, service in services.items():
        assert {"image", "build"} & service.keys()
        for needed in service.get("depends_on", {}):
            assert "healthcheck" in services[needed]
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in compose["volumes"], name
        if build := service.get("build"):
            assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    database = services["server"]["environment"]["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
    assert database.startswith("postgresql+asyncpg://prefect:")
    assert "@database/" in database
    assert services["worker"]["environment"]["PREFECT_API_URL"] == "http://server:4200/api"
    pool = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["definitions"]["pool"]["name"]
    script = services["worker"]["command"][-1]
    assert f"work-pool create {pool} " in script
    assert f"worker start --pool {pool}" in script
    subprocess.run(["sh", "-n", "-c", script], check=True)


def test_prefect_knows_every_command_of_the_compose_file() -> None:
    pytest.importorskip("prefect", reason="the extra `prefect` is not installed")
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    lines = [services["server"]["command"], *services["worker"]["command"][-1].splitlines()]
    assert len(lines) == 4
    asked = []
    for line in lines:
        program, *words = shlex.split(line.removeprefix("exec ").replace(" --no-prompt", ""))
        assert program == "prefect"
        asked.append([word for word in words[:2] if re.fullmatch("[a-z-]+", word)])
    shown = subprocess.run(
        [sys.executable, "-c", _HELP, json.dumps(asked)],
        capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "200"},
    ).stdout.split("\f")  # fmt: skip
    for line, page in zip(lines, shown, strict=True):
        options = {word for word in shlex.split(line) if word.startswith("--")} - {"--no-prompt"}
        assert not {option for option in options if option not in page}, line


# The help of several commands of Prefect, in one process.
_HELP = """
import contextlib, json, sys
from prefect.cli import app
for number, names in enumerate(json.loads(sys.argv[1])):
    print("\\f" * (number > 0), end="")
    sys.argv = ["prefect", *names, "--help"]
    with contextlib.suppress(SystemExit):
        app()
"""


def test_the_jobs_of_slurm_and_kubernetes_run_commands_that_exist() -> None:
    script = (DEPLOY / "slurm.sh").read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", DEPLOY / "slurm.sh"], check=True)
    [line] = re.findall(r"^artsound .*(?= &$)", script, flags=re.MULTILINE)
    understood(shlex.split(line.replace('"${SLURM_CPUS_PER_TASK:-0}" "$@"', "16 --limit 5")))
    documents = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
    claim, job = documents
    pod = job["spec"]["template"]["spec"]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    [container] = pod["containers"]
    understood(container["command"])
    assert container["command"][-1].startswith(container["volumeMounts"][0]["mountPath"] + "/")


def test_a_slurm_job_at_its_time_limit_stops_its_build_and_is_queued_again(
    tmp_path: Path,
) -> None:
    """With stand-ins for `artsound` and `scontrol`, which only Slurm has."""
    stand_ins = {
        "artsound": "trap 'echo stopped >> log; exit 130' TERM\n"
        'echo "$@" > log\nwhile :; do sleep 0.05; done',
        "scontrol": 'echo "$@" >> log',
    }
    for name, body in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7"}
    job = subprocess.Popen(
        ["bash", DEPLOY / "slurm.sh", "out", "--limit", "5"], cwd=tmp_path, env=environment
    )
    log = tmp_path / "log"
    while not log.exists() or not log.read_text():
        assert job.poll() is None
    job.terminate()
    assert job.wait(timeout=60) == 0
    lines = log.read_text().splitlines()
    assert lines == ["build --out out --workers 0 --limit 5", "stopped", "requeue 7"]
