"""Install the core alone, for several Pythons, and see that it works; resolve all extras.

    python tests/interpreters.py        # on 3.12 and 3.13; all extras are resolved for 3.12

An interpreter that is not on this machine is skipped with a word, and so is all of it where no
package index can be reached.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
CORE = ("3.12", "3.13")  # besides the one that the test suite itself runs on
ALL_EXTRAS = ("3.12",)


class Unavailable(Exception):
    """An interpreter, or the package index, is not there."""


def find_python(version: str) -> Path:
    """An interpreter of a version such as "3.13", on PATH or among those of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    name = f"python{version}"
    candidates = [shutil.which(name), *sorted(pyenv.glob(f"versions/{version}.*/bin/{name}"))]
    for candidate in filter(None, candidates):
        # pyenv puts a file of that name on PATH even for versions that are switched off.
        if subprocess.run([candidate, "-V"], capture_output=True, check=False).returncode == 0:
            return Path(candidate)
    raise Unavailable(f"Python {version} is not on this machine")


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout."""
    from hatchling.builders.wheel import WheelBuilder

    [wheel] = WheelBuilder(str(PROJECT)).build(directory=str(folder), versions=["standard"])
    return Path(wheel)


def new_environment(python: Path, folder: Path) -> Path:
    """The Python of a new, empty environment; Unavailable where pip reaches no package index."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    own = folder / "bin" / "python"
    reached = subprocess.run(
        [own, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder / "probe", "idna"],
        capture_output=True, check=False, env=clean_environment(),
    )  # fmt: skip
    if reached.returncode:
        raise Unavailable("no package index can be reached")
    return own


def install(python: Path, what: str, *options: str) -> None:
    """Install something at the tested versions; the error of pip is shown where that fails."""
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
         "--constraint", PROJECT / "constraints.txt", *options, what],
        check=True, env=clean_environment(),
    )  # fmt: skip


def check_core(python: Path, shards: Path) -> str:
    """What tests/core_check.py prints in an environment."""
    done = subprocess.run(
        [python, HERE / "core_check.py", shards], capture_output=True, text=True, check=False,
        cwd=shards.parent, env=clean_environment(),
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{done.stdout}{done.stderr}")
    return done.stdout


def clean_environment() -> dict[str, str]:
    """The environment without what would lead Python to other packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def extras() -> list[str]:
    """The names of all extras."""
    about = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    return sorted(about["project"]["optional-dependencies"])


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build_wheel(folder)
        subprocess.run(
            [sys.executable, "-m", "artsound", "build", "--recipe", "sample", "--limit", "12",
             "--runner", "serial", "--out", folder / "out"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for version in sorted({*CORE, *ALL_EXTRAS}):
            try:
                python = new_environment(find_python(version), folder / version)
            except Unavailable as error:
                print(f"Skipped Python {version}: {error}.")
                continue
            if version in ALL_EXTRAS:
                install(python, f"{wheel}[{','.join(extras())}]", "--dry-run")
                print(f"All extras can be installed together on Python {version}.")
            if version in CORE:
                install(python, str(wheel))
                print(check_core(python, folder / "out" / "shards"), end="")


if __name__ == "__main__":
    main()
