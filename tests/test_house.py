"""The order of the house: a name means one thing, and the tree stays small enough to search."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import artsound

ROOT = Path(artsound.__file__).parent
# Names that Python and the rooms give to a file in each package.
SHARED = {"__init__", "__main__", "base"}
MODULES = 158  # besides the sample and files that begin with `__`; each has one subject
SAMPLE_LINES = 2600

FILES = sorted(ROOT.rglob("*.py"))
SAMPLE = [file for file in FILES if file.is_relative_to(ROOT / "sample")]


def used_twice(named: Iterable[tuple[str, Path]]) -> dict[str, list[str]]:
    """The names that stand for several things, with the files of each."""
    places: dict[str, list[str]] = defaultdict(list)
    for name, file in named:
        places[name].append(str(file.relative_to(ROOT)))
    return {name: files for name, files in places.items() if len(files) > 1}


def test_no_module_name_occurs_twice() -> None:
    assert used_twice((file.stem, file) for file in FILES if file.stem not in SHARED) == {}


def test_no_class_name_occurs_twice() -> None:
    classes = (
        (node.name, file)
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert used_twice(classes) == {}


def test_the_library_has_few_modules_beside_its_sample() -> None:
    modules = [file for file in FILES if file not in SAMPLE and not file.stem.startswith("__")]
    assert 0 < len(modules) <= MODULES


def test_the_sample_is_as_small_as_its_purpose_allows() -> None:
    lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in SAMPLE)
    assert 0 < lines <= SAMPLE_LINES


def test_numbers_are_written_in_six_digits_in_one_place() -> None:
    places = [file.name for file in FILES if ":06d}" in file.read_text(encoding="utf-8")]
    assert places == ["keys.py"]


def test_every_benchmark_runs_without_arguments() -> None:
    calls = [
        (script.name, node)
        for script in sorted((ROOT.parent / "benchmarks").glob("*.py"))
        for node in ast.walk(ast.parse(script.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "add_argument"
    ]
    assert calls
    for name, call in calls:
        first = call.args[0]
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        assert "required" not in given, name
        if isinstance(first, ast.Constant) and not str(first.value).startswith("-"):
            many = given.get("nargs")
            assert isinstance(many, ast.Constant), (name, first.value)
            assert many.value in ("?", "*"), (name, first.value)
