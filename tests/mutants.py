"""Mutation testing of the core: does a test fail when a line is wrong?

    python tests/mutants.py [--only ID ...] [--jobs N]        (all of them: make mutants)

`tests/mutants.toml` lists changes of one place each, with the tests nearest to it. Every one is
made in a copy of the tree, never in the tree itself, and its tests are run there. It is

    killed      when a test fails, or hangs beyond the time limit;
    survived    when they all pass: a test is missing;
    invalid     when the changed file does not compile, nothing could be collected, or the tests
                fail without the change, too.

Entries with `equivalent` give the reason why no test can detect the change; they are neither
run nor counted. The exit status is 1 when fewer than 90 % of the others are killed or one is
invalid.
"""

from __future__ import annotations

import argparse
import ast
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
MUTANTS = Path(__file__).with_name("mutants.toml")

LEAST_KILLED = 0.9
_LEAST_LIMIT = 120.0  # seconds for the tests of one mutant, and at least
_LIMIT_FACTOR = 5.0  # times as long as they take without the change
_BASELINE_LIMIT = 1800.0


class StaleMutant(Exception):
    """An entry that does not fit the tree: the message names it and says why."""


@dataclass(frozen=True)
class Mutant:
    """One change: `old`, which occurs once in `file`, becomes `new`; `tests` should notice."""

    id: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    equivalent: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: killed, survived or invalid, and why."""

    mutant: Mutant
    result: str
    reason: str
    seconds: float


def read_mutants(path: Path = MUTANTS) -> list[Mutant]:
    """All entries of a list of mutants."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def mutated(root: Path, mutant: Mutant) -> str:
    """The text of the mutant's file under `root` with the change made.

    Raises:
        StaleMutant: The file or a test is missing, or the text does not occur exactly once.
    """
    for name in (mutant.file, *mutant.tests):
        if not (root / name).is_file():
            raise StaleMutant(f"{mutant.id}: {name} does not exist; correct tests/mutants.toml.")
    text = (root / mutant.file).read_text(encoding="utf-8")
    if (count := text.count(mutant.old)) != 1:
        raise StaleMutant(
            f"{mutant.id}: {mutant.old!r} occurs {count} times in {mutant.file}, not once; correct "
            "tests/mutants.toml."
        )
    return text.replace(mutant.old, mutant.new)


def run_mutant(tree: Path, mutant: Mutant, limit: float) -> Outcome:
    """Make the change in `tree`, run the tests for `limit` seconds at most, and undo it."""
    started = time.monotonic()

    def outcome(result: str, reason: str) -> Outcome:
        return Outcome(mutant, result, reason, time.monotonic() - started)

    text = mutated(tree, mutant)
    try:
        _parse(mutant.file, text)
    except (SyntaxError, tomllib.TOMLDecodeError) as error:
        return outcome("invalid", f"does not compile: {error}")
    with _changed(tree / mutant.file, text):
        status, last = run_tests(tree, mutant.tests, limit)
    if status is None:
        return outcome("killed", f"no end within {limit:.0f} s")
    if status == 0:
        return outcome("survived", "")
    return outcome("killed" if status == 1 else "invalid", last)


def _parse(file: str, text: str) -> None:
    """Raise SyntaxError or TOMLDecodeError for a text that is not what its file's name says."""
    if file.endswith(".toml"):
        tomllib.loads(text)
    else:
        ast.parse(text)


def run_tests(tree: Path, tests: Sequence[str], limit: float) -> tuple[int | None, str]:
    """pytest's exit status (None: it took longer than `limit`), and the first failure's line."""
    # No bytecode: a file changed twice within a second would not be compiled again.
    paths = os.pathsep.join([str(tree), str(tree / "pipelines")])
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "--tb=no", "-rfE"]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:
        process = subprocess.Popen(
            [*command, "-p", "no:cacheprovider", *tests],
            cwd=tree,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(process)
        out.seek(0)
        lines = out.read().splitlines()
    failures = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return status, (failures or lines[-1:] or [""])[0].removeprefix("FAILED ")[:100]


def share_killed(outcomes: Sequence[Outcome]) -> float:
    """Of the mutants that were killed or survived, how many were killed, 0 to 1."""
    results = [one.result for one in outcomes if one.result != "invalid"]
    return results.count("killed") / len(results) if results else 0.0


def copy_tree(target: Path) -> Path:
    """A copy of the project's files as they are, without what git ignores; its folder."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True).stdout
    tree = target / "tree"
    for name in filter(None, listed.decode().split("\0")):
        if (PROJECT / name).is_file():  # not one that was removed and not yet committed
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, tree / name)
    if (shared := PROJECT.parent / "shared").is_dir():
        (target / "shared").symlink_to(shared)  # real files that some tests read
    # Compiled here, since the tests' own processes write no bytecode.
    compiling = [sys.executable, "-m", "compileall", "-q", "artsound", "pipelines"]
    subprocess.run(compiling, cwd=tree, check=True)
    return tree


@contextmanager
def _changed(path: Path, text: str) -> Iterator[None]:
    original, status = path.read_bytes(), path.stat()
    path.write_text(text, encoding="utf-8")
    _forget_compiled(path)
    try:
        yield
    finally:
        path.write_bytes(original)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        _forget_compiled(path)


def _forget_compiled(path: Path) -> None:
    """Remove what numba keeps of the folder: functions of other files may have this one's in them,
    and are not compiled again when it changes.
    """
    for kept in (path.parent / "__pycache__").glob("*.nb[ci]"):
        kept.unlink()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what the tests started, with them."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _run_all(mutants: Sequence[Mutant], jobs: int) -> list[Outcome]:
    """All outcomes, in order; one copy of the tree for each of `jobs`."""
    with tempfile.TemporaryDirectory(prefix="artsound-mutants-") as folder:
        trees: queue.Queue[Path] = queue.Queue()
        for number in range(jobs):
            trees.put(copy_tree(Path(folder) / str(number)))

        def baseline(tests: tuple[str, ...]) -> tuple[float, str]:
            tree, started = trees.get(), time.monotonic()
            try:
                status, last = run_tests(tree, tests, _BASELINE_LIMIT)
            finally:
                trees.put(tree)
            return time.monotonic() - started, "" if status == 0 else last or "no end"

        def one(mutant: Mutant) -> Outcome:
            seconds, failure = baselines[mutant.tests]
            if failure:
                reason = f"its tests fail without the change: {failure}"
                return Outcome(mutant, "invalid", reason, seconds)
            tree = trees.get()
            try:
                return run_mutant(tree, mutant, max(_LEAST_LIMIT, _LIMIT_FACTOR * seconds))
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(jobs) as pool:
            sets = sorted({mutant.tests for mutant in mutants})
            print(f"Running {len(sets)} sets of tests without a change …", flush=True)
            baselines = dict(zip(sets, pool.map(baseline, sets), strict=True))
            outcomes = []
            for found in pool.map(one, mutants):
                _print_row(found)
                outcomes.append(found)
    return outcomes


def _print_row(found: Outcome) -> None:
    mutant = found.mutant
    row = f"{mutant.id:26} {found.result:9} {found.seconds:6.1f} s  {mutant.file}"
    print(f"{row}  {found.reason}".rstrip(), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="ID", help="run these entries alone")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="so many at once")
    options = parser.parse_args()
    known = read_mutants()
    if unknown := sorted(set(options.only or ()) - {mutant.id for mutant in known}):
        parser.error(f"no such entry in tests/mutants.toml: {', '.join(unknown)}")
    chosen = [mutant for mutant in known if not options.only or mutant.id in options.only]
    try:
        for mutant in chosen:
            mutated(PROJECT, mutant)
    except StaleMutant as error:
        print(error, file=sys.stderr)
        return 1
    outcomes = _run_all([mutant for mutant in chosen if not mutant.equivalent], options.jobs)
    counts = {
        result: sum(one.result == result for one in outcomes)
        for result in ("killed", "survived", "invalid")
    }
    print(", ".join(f"{count} {result}" for result, count in counts.items()), end=", ")
    print(f"{sum(bool(mutant.equivalent) for mutant in chosen)} equivalent (not run)")
    print(f"Killed: {share_killed(outcomes):.1%} (at least {LEAST_KILLED:.0%} are asked for)")
    return int(share_killed(outcomes) < LEAST_KILLED or counts["invalid"] > 0)


if __name__ == "__main__":
    sys.exit(main())
