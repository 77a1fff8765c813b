"""What a build has done depends on its inputs and version numbers, not on the text of the code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_builds import small_recipe

from artsound.sample import SamplePaths, sample_marker
from artsound.storage import Workspace, write_json

_RERUN = """
import sys, tomllib
from pathlib import Path
import artsound
from artsound.recipe import recipe_from
from artsound.storage import Workspace
from small_builds import run_serially

root, recipe = Path(sys.argv[1]), tomllib.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
reports = run_serially(Workspace(root), recipe_from(recipe, "the test"))
print(artsound.__file__)
for report in reports:
    print(report.stage, report.parts, report.parts_skipped)
"""


@pytest.fixture(scope="module")
def reworded(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that imports a copy of the code with a comment in each file."""
    copy = tmp_path_factory.mktemp("copy")
    for package in ("artsound", "pipelines"):
        shutil.copytree(
            project / package, copy / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copytree(project / "schemas", copy / "schemas")
    for file in copy.rglob("*.py"):
        with file.open("a", encoding="utf-8") as out:
            out.write("\n# A comment.\n")
    path = (copy, copy / "pipelines", project / "tests")
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}


def test_a_build_does_nothing_again_when_only_the_text_of_the_code_has_changed(
    sample: SamplePaths, built: Workspace, reworded: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(built.root, tmp_path / "out")  # with its times of change
    staged = tmp_path / "out" / "parts" / "ingest" / "staged" / "plan.json"
    planned = staged.stat().st_mtime_ns
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(small_recipe(sample).to_toml(), encoding="utf-8")
    package, *stages = _python(reworded, _RERUN, tmp_path / "out", recipe)
    assert Path(package).is_relative_to(reworded["PYTHONPATH"].split(os.pathsep)[0])
    assert len(stages) == 6
    for line in stages:
        stage, parts, skipped = line.split()
        assert parts == skipped, stage
    assert staged.stat().st_mtime_ns == planned


def test_a_finished_sample_is_not_written_again_by_reworded_code(
    reworded: dict[str, str], tmp_path: Path
) -> None:
    write_json(tmp_path / "sample.json", sample_marker(0))
    code = "import sys; from pathlib import Path; from artsound.sample import write_sample"
    _python(reworded, f"{code}; write_sample(Path(sys.argv[1]))", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sample.json"]


def _python(environment: dict[str, str], code: str, *arguments: Path) -> list[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(
        command, env=environment, cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
