"""What `train`, `latents`, `push` and `withdraw` survive: SIGKILL at random moments.

    python benchmarks/kill_commands.py [--moments 5] [--seed 0] [--pairs 24] [--only train …]

Builds a small release of the sample and runs each command once, undisturbed. Then each command is
started in a folder of its own and its process group is killed at a seeded moment of its length; the
same command is given again (`train` with --resume; from the start where no checkpoint was written).
Survived: it ends with the bytes of the undisturbed run, or it refuses in a sentence and, given an
empty folder, ends so. A checkpoint must be readable after every kill that follows the first one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

from artsound.storage import sha256_file
from artsound.training.checkpoint import find_checkpoint

ARTSOUND = str(Path(sys.executable).parent / "artsound")
COMMANDS = {
    "train": "train --data {data} --out {out} --preset tiny --steps 12 --save-every 3",
    "latents": "latents --data {data} --out {out} --preset tiny",
    "push": "push {data} {out} --restricted",
    "withdraw": "withdraw {data} {ids} --out {out}",
}
LOGS = re.compile(r"log|events|preview|\.json$|\.jsonl$|\.csv$|\.png$|\.html$")  # times, pictures


class LostError(Exception):
    """A command lost something, or ended in a traceback."""


def call(name: str, places: dict[str, Path], *more: str, timeout: float | None = None) -> int:
    """The exit status of a command; -9 where it was killed after `timeout` seconds."""
    command = [ARTSOUND, *COMMANDS[name].format(**places).split(), *more]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return -signal.SIGKILL
    if process.returncode not in (0, 1, 2) or "Traceback" in said:
        raise LostError(f"{name}: exit status {process.returncode}: {said[-2000:]}")
    if process.returncode and not re.search(r"[.!]\s*$", said):
        raise LostError(f"{name}: no sentence at the end: {said[-500:]}")
    return process.returncode


def contents(name: str, out: Path) -> dict[str, str]:
    """Digest of every file that has to be the same, by its path."""
    if name == "train":
        last = find_checkpoint(out)
        files = [path for path in last.rglob("*") if not LOGS.search(path.name)]
        return {str(p.relative_to(out)): sha256_file(p) for p in sorted(files) if p.is_file()}
    return {str(p.relative_to(out)): sha256_file(p) for p in sorted(out.rglob("*")) if p.is_file()}


def strike(name: str, places: dict[str, Path], moment: float, wanted: dict[str, str]) -> str:
    """Kill the command after `moment` seconds, and repeat it; in a word, how that ended."""
    out = places["out"]
    if call(name, places, timeout=moment) == 0:
        ended = "ended before the kill"
    else:
        more = ["--resume"] if name == "train" and _has_checkpoint(out) else []
        ended = "resumed" if more or name != "train" else "begun again"
        if call(name, places, *more):
            ended = "refused, then begun again"
            shutil.rmtree(out, ignore_errors=True)
            if call(name, places):
                raise LostError(f"{name}: it does not work in an empty folder after the kill")
    if differing := sorted(dict(contents(name, out).items() ^ wanted.items())):
        raise LostError(f"{name}: other bytes in {', '.join(differing[:5])}")
    return ended


def _has_checkpoint(out: Path) -> bool:
    """Whether a checkpoint was written; one that cannot be read raises."""
    return out.is_dir() and any(out.rglob("*.safetensors")) and bool(find_checkpoint(out))


def main() -> None:
    """Print a line for each kill and the sums; exit with 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--moments", type=int, default=5, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--only", nargs="*", choices=COMMANDS, default=list(COMMANDS))
    options = parser.parse_args()
    survived = lost = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        build = [ARTSOUND, "build", "--artgraph", "sample", "--fma", "sample"]
        build += ["--limit", str(options.pairs), "--runner", "serial"]
        subprocess.run([*build, "--out", str(root / "build")], check=True, capture_output=True)
        data = root / "build" / "shards"
        ids = root / "ids.txt"
        ids.write_text(f"{pq.read_table(data / 'index.parquet')['key'][0]}\n")
        for name in options.only:
            places = {"data": data, "ids": ids, "out": root / f"{name}-calm"}
            began = time.perf_counter()
            if call(name, places):
                raise SystemExit(f"{name}, undisturbed, failed")
            seconds = time.perf_counter() - began
            wanted = contents(name, places["out"])
            print(f"{name}: {len(wanted)} files in {seconds:.1f} s, undisturbed", flush=True)
            for number in range(options.moments):
                chance = random.Random(f"{options.seed} {name} {number}")
                moment = chance.uniform(0.2, 0.98) * seconds
                places["out"] = root / f"{name}-{number}"
                try:
                    ended = strike(name, places, moment, wanted)
                    survived += 1
                except LostError as why:
                    ended = f"LOST: {why}"
                    lost += 1
                print(f"{name}, killed after {moment:.2f} s: {ended}", flush=True)
                shutil.rmtree(places["out"], ignore_errors=True)
    print(f"{survived + lost} kills, {survived} survived, {lost} lost")
    raise SystemExit(lost > 0)


if __name__ == "__main__":
    main()
