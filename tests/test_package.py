"""What is installed: two packages, whose names leave a user's own packages alone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path


def test_the_wheel_holds_the_library_and_its_flows_and_nothing_else(
    project: Path, tmp_path: Path
) -> None:
    from hatchling.builders.wheel import WheelBuilder

    [wheel] = WheelBuilder(str(project)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "artsound",
        "artsound_flows",
    }
    assert "artsound_flows/build.py" in names
    assert {"artsound/schemas/recipe.json", "artsound/recipes/open.toml"} <= set(names)
    tables = {path.relative_to(project).as_posix() for path in project.glob("artsound/**/*.toml")}
    assert {"artsound/rights.toml", "artsound/pairing/affect.toml"} <= tables <= set(names)


def test_a_build_ignores_the_users_own_package_called_pipelines(tmp_path: Path) -> None:
    package = tmp_path / "pipelines"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported by accident')\n")
    command = "ingest --recipe sample --limit 2 --out out"
    done = subprocess.run(
        [sys.executable, "-m", "artsound", *command.split(), "--runner", "serial"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path[1:]])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "catalog" / "tracks.parquet").is_file()
