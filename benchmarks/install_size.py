"""How large the core is when installed, and how long importing it and `artsound --help` take.

    python benchmarks/install_size.py [--runs 5]

The core is installed, at the tested versions, into a new environment of the Python that runs this.
Its size is that of all files there less those of the empty environment; before the extras were
split off (commit 6cf2dcb) it was 1.3 GB. The times are medians; on a busy machine compare the
processor time. Without a package index only this environment's times are printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "tests"))

from interpreters import (  # noqa: E402
    Unavailable,
    build_wheel,
    clean_environment,
    install,
    new_environment,
)

GOAL_BYTES, GOAL_SECONDS = 600_000_000, 0.1
COMMANDS = {
    "python": ["-c", "pass"],
    "import artsound": ["-c", "import artsound"],
    "artsound --help": ["-m", "artsound", "--help"],
}


def size(folder: Path) -> int:
    """Bytes of all files in a folder; links count for nothing."""
    return sum(
        path.lstat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def timed(python: Path, arguments: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """The seconds, and the processor seconds, of one process."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [python, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment, cwd="/"
    )
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python, environment = Path(sys.executable), dict(os.environ)
        try:
            own = new_environment(python, folder / "core")
            empty = size(folder / "core")
            install(own, str(build_wheel(folder)))
            python, environment = own, clean_environment()
        except Unavailable as error:
            print(f"Nothing was installed: {error}.")
        else:
            print("core, installed", f"{(size(folder / 'core') - empty) / 1e6:.0f} MB")
            print("goal           ", f"{GOAL_BYTES / 1e6:.0f} MB")
        for label, arguments in COMMANDS.items():
            timed(python, arguments, environment)  # compiles
            rows = [timed(python, arguments, environment) for _ in range(runs)]
            wall, busy = (median(row[column] for row in rows) for column in (0, 1))
            print(f"{label:<16} {wall:.2f} s, {busy:.2f} s of a processor (goal {GOAL_SECONDS} s)")


if __name__ == "__main__":
    main()
