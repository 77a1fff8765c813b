"""What a build takes beside its work: four builds as a user starts them, and the serial runner.

    python benchmarks/startup.py [--data ../shared/data] [--runs 3]

Each is a process of its own, in an empty home folder that its runs share, by turns with the same
build by `--runner serial`; medians. On a busy machine compare the processor time (user + system,
with that of all its processes), and the ratios. Without the real files, the sample is built.

    nothing to do   a build that is complete, run again
    8 tracks        a selection
    all files       575 pictures and 38 clips
    first build     the same in an empty home folder, where nothing is compiled or cached
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

LIMITS = {"nothing to do": 4.0, "8 tracks": 12.0, "all files": 20.0}  # seconds on 2 quiet cores
FIRST = 1.2  # of the second build


def build(out: Path, home: Path, *options: str) -> tuple[float, float]:
    """The seconds and the processor seconds that `artsound build` takes."""
    others = {name: value for name, value in os.environ.items() if name[:8] != "PREFECT_"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "artsound", "build", "--out", str(out), *options],
        check=True, env=others | {"HOME": str(home)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, busy


def measure(folder: Path, sources: Sequence[str], runs: int) -> dict[str, list[list[float]]]:
    """[seconds, processor seconds, those of the serial runner] of each run of each build."""
    home, out = folder / "home", folder / "out"
    took: dict[str, list[list[float]]] = {name: [] for name in (*LIMITS, "first build")}

    def turn(name: str, options: Sequence[str], *, new: bool, empty: bool = False) -> None:
        row: list[float] = []
        for runner in ((), ("--runner", "serial")):
            if new:
                shutil.rmtree(out, ignore_errors=True)
            if empty:
                shutil.rmtree(home, ignore_errors=True)
            home.mkdir(exist_ok=True)
            row.extend(build(out, home, *options, *runner))
        took[name].append(row)

    for _ in range(runs):
        turn("first build", sources, new=True, empty=True)
        turn("all files", sources, new=True)
        turn("nothing to do", (), new=False)
        turn("8 tracks", [*sources, "--limit", "8"], new=True)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    project = Path(__file__).resolve().parents[1]
    parser.add_argument("--data", type=Path, default=project.parent / "shared" / "data")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    real = (given.data / "artgraph").is_dir()
    places = (str(given.data / "artgraph"), str(given.data / "fma")) if real else ("sample",) * 2
    sources = ["--artgraph", places[0], "--fma", places[1]]
    with tempfile.TemporaryDirectory() as folder:
        took = measure(Path(folder), sources, given.runs)
    middle = {
        name: [median(run[column] for run in rows) for column in range(4)]
        for name, rows in took.items()
    }
    print(f"{'build':<14}{'s':>7}{'cpu s':>7}{'serial s':>10}{'cpu s':>7}{'limit':>8}")
    for name, (seconds, busy, serial, serial_busy) in middle.items():
        limit = LIMITS.get(name, FIRST * middle["all files"][0])
        print(f"{name:<14}{seconds:7.1f}{busy:7.1f}{serial:10.1f}{serial_busy:7.1f}{limit:8.1f}")
    ratio = middle["first build"][0] / middle["all files"][0]
    print(f"The first build takes {ratio:.2f} of a later one (limit {FIRST}).")


if __name__ == "__main__":
    main()
