"""What is installed: two packages, whose names leave a user's own packages alone; and with what."""

from __future__ import annotations

import email
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from interpreters import Unavailable, build_wheel, check_core, install, new_environment
from made_once import made_once

from artsound import extras as installing
from artsound.sample import SamplePaths
from artsound.storage import Workspace

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def about(project: Path) -> dict[str, Any]:
    return tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_wheel_holds_the_library_and_its_flows_and_nothing_else(
    project: Path, wheel: Path
) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "artsound",
        "artsound_flows",
    }
    assert "artsound_flows/flows.py" in names
    assert {"artsound/schemas/recipe.json", "artsound/recipes/open.toml"} <= set(names)
    tables = {path.relative_to(project).as_posix() for path in project.glob("artsound/**/*.toml")}
    assert {"artsound/rights.toml", "artsound/pairing/affect.toml"} <= tables <= set(names)
    assert {"artsound/py.typed", "artsound/constraints.txt"} <= set(names)


def test_the_wheel_says_whose_it_is_and_where_it_runs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        fields = email.message_from_bytes(archive.read(name))
    assert fields["Author"]
    assert fields["License-Expression"] == "Apache-2.0"
    assert {url.partition(",")[0] for url in fields.get_all("Project-URL")} >= {"Paper", "ArtGraph"}
    for version in ("3.11", "3.12", "3.13"):
        assert f"Programming Language :: Python :: {version}" in fields.get_all("Classifier")
    assert "Typing :: Typed" in fields.get_all("Classifier")


def test_the_core_alone_opens_filters_and_streams_a_release(
    wheel: Path, built: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def make(folder: Path) -> str:
        try:
            install(new_environment(Path(sys.executable), folder), str(wheel))
        except Unavailable as error:
            return str(error)
        return ""

    folder, reason = made_once(tmp_path_factory, "core", make)
    if reason:
        pytest.skip(reason)
    assert "The core works" in check_core(folder / "bin" / "python", built.shards)


def test_every_package_of_an_extra_is_known_to_the_command_that_names_it(
    about: dict[str, Any],
) -> None:
    extras = about["optional-dependencies"]
    assert set(installing.EXTRAS.values()) <= set(extras)
    modules = {"open_clip_torch": "open_clip", "scikit-learn": "sklearn"}
    core = {_name(text) for text in about["dependencies"]}
    for extra in set(extras) - {"dev", "docs"}:
        for name in map(_name, extras[extra]):
            module = modules.get(name, name.replace("-", "_"))
            assert name in core or module in installing.EXTRAS, name


def test_make_setup_installs_every_extra(project: Path, about: dict[str, Any]) -> None:
    [line] = re.findall(r"^EXTRAS := (.*)$", (project / "Makefile").read_text(), re.M)
    assert sorted(line.split(",")) == sorted(about["optional-dependencies"])


def test_the_command_that_installs_an_extra_names_this_checkout_and_its_constraints(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    here = installing.install_command("train", "models")
    assert here.endswith(" install -c constraints.txt -e '.[train,models]'")
    monkeypatch.chdir(tmp_path)
    *command, flag, pins, editable, target = shlex.split(installing.install_command("train"))
    assert command[-1] == "install"
    assert (flag, Path(pins), editable) == ("-c", project / "constraints.txt", "-e")
    assert target == f"{project}[train]"
    assert shlex.split(installing.install_command(package="torch"))[-1] == "torch"


def test_a_python_whose_pip_is_not_the_first_on_path_is_named_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert installing.install_command("s3").startswith("pip install ")
    monkeypatch.setenv("PATH", "")
    assert shlex.split(installing.install_command("s3"))[:3] == [sys.executable, "-m", "pip"]


def test_without_the_packages_of_an_extra_a_command_names_what_installs_it(
    built: Workspace,
) -> None:
    code = "import sys; sys.modules['starlette'] = None; from artsound.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "browse", str(built.shards)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    expected = installing.install_command("browse")
    assert (done.returncode, done.stderr) == (2, f"error: this needs starlette: {expected}\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_a_shell_asks_for_what_could_come_next(shell: str) -> None:
    run = [str(Path(sys.executable).with_name("artsound"))]
    script = subprocess.run([*run, "completion", shell], capture_output=True, text=True, check=True)
    assert f"_ARTSOUND_COMPLETE=complete_{shell}" in script.stdout
    asked = os.environ | {
        "_ARTSOUND_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "artsound subs",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args", "COMP_WORDS": "artsound subs", "COMP_CWORD": "1",
    }  # fmt: skip
    answer = subprocess.run(run, capture_output=True, text=True, check=True, env=asked)
    assert "subset" in answer.stdout
    assert "withdraw" not in answer.stdout


def _name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0]  # type: ignore[index]


def test_a_build_ignores_the_users_own_package_called_pipelines(
    sample: SamplePaths, tmp_path: Path
) -> None:
    package = tmp_path / "pipelines"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported by accident')\n")
    command = "ingest --limit 2 --out out --runner serial"
    sources = ["--artgraph", str(sample.artgraph), "--fma", str(sample.fma)]
    done = subprocess.run(
        [sys.executable, "-m", "artsound", *command.split(), *sources],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path[1:]])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "catalog" / "tracks.parquet").is_file()
