"""The list of mutants fits the tree, and the script that runs them distinguishes their outcomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mutants import Mutant, Outcome, StaleMutant, mutated, read_mutants, run_mutant, share_killed

LIMIT = 300.0
TIMES = Mutant("times", "sums.py", "a * b", "a + b", ("test_sums.py",))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tiny project: a function that is tested, and one that is not."""
    (tmp_path / "sums.py").write_text(
        "def times(a, b):\n    return a * b\n\n\ndef minus(a, b):\n    return a - b\n"
    )
    (tmp_path / "test_sums.py").write_text(
        "from sums import times\n\n\ndef test_times():\n    assert times(3, 4) == 12\n"
    )
    return tmp_path


@pytest.mark.parametrize("mutant", read_mutants(), ids=lambda mutant: mutant.id)
def test_every_entry_fits_the_tree(mutant: Mutant, project: Path) -> None:
    assert mutated(project, mutant) != (project / mutant.file).read_text(encoding="utf-8")


def test_every_entry_has_a_name_of_its_own_and_tests() -> None:
    entries = read_mutants()
    assert len({mutant.id for mutant in entries}) == len(entries)
    assert all(mutant.tests for mutant in entries)


@pytest.mark.parametrize(
    ("mutant", "message"),
    [
        (replace(TIMES, old="a / b"), "times: 'a / b' occurs 0 times in sums.py"),
        (replace(TIMES, old="return"), "times: 'return' occurs 2 times in sums.py"),
        (replace(TIMES, file="gone.py"), "times: gone.py does not exist"),
        (replace(TIMES, tests=("test_gone.py",)), "times: test_gone.py does not exist"),
    ],
)
def test_a_stale_entry_is_an_error_that_names_it(tree: Path, mutant: Mutant, message: str) -> None:
    with pytest.raises(StaleMutant, match=message):
        mutated(tree, mutant)


@pytest.mark.parametrize(
    ("mutant", "result"),
    [
        (TIMES, "killed"),
        (replace(TIMES, old="a - b", new="b - a"), "survived"),
        (replace(TIMES, new="a * * b"), "invalid"),
        (replace(TIMES, old="def times", new="def product"), "invalid"),
    ],
)
def test_a_mutant_is_killed_survives_or_is_invalid_and_leaves_no_trace(
    tree: Path, mutant: Mutant, result: str
) -> None:
    before = (tree / "sums.py").read_bytes(), (tree / "sums.py").stat().st_mtime_ns
    assert run_mutant(tree, mutant, LIMIT).result == result
    assert ((tree / "sums.py").read_bytes(), (tree / "sums.py").stat().st_mtime_ns) == before


def test_a_mutant_that_makes_the_tests_hang_is_killed(tree: Path) -> None:
    endless = replace(TIMES, old="    return a * b", new="    while True:\n        pass")
    found = run_mutant(tree, endless, 2.0)
    assert (found.result, found.reason) == ("killed", "no end within 2 s")


def test_invalid_mutants_do_not_count_in_the_share() -> None:
    results = ["killed", "killed", "killed", "survived", "invalid"]
    assert share_killed([Outcome(TIMES, result, "", 0.0) for result in results]) == 0.75
