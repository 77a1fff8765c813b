"""How large the library is, and how much of it one track passes through: before and after.

    python benchmarks/house.py                 this checkout, beside the first edition (BEFORE)
    python benchmarks/house.py --tree FOLDER   another checkout alone

Counts the modules and lines of `artsound/`, with and without the bundled sample; names of modules
and classes that occur more than once (`__init__`, `__main__` and `base` aside); modules that one
other module alone imports (without the sample and the command line). Then builds 12 tracks of the
sample with the serial runner, streams one batch of the result with a profiler on, and counts the
functions of `artsound/` that ran (each once, without the sample's own), and their files: the hops
of a track from its file to a batch.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median

PROJECT = Path(__file__).resolve().parents[1]

# The first edition: printed by this script with --tree on commit 6cf2dcb.
BEFORE = {
    "modules": 218,
    "modules without the sample": 191,
    "lines": 33934,
    "lines without the sample": 29669,
    "median lines of a module": 138,
    "lines of the longest module": 399,
    "module names that occur more than once": 11,
    "class names that occur more than once": 9,
    "modules that one other module alone imports": 63,
    "functions that a track passes through, from file to batch": 650,
    "files of these functions": 90,
}

_TRACE = """
import json, sys, threading
from pathlib import Path
root, out, result = (Path(path).resolve() for path in sys.argv[1:])
ran = set()
def note(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_flags & 1 and code.co_name[0] != "<":
        ran.add((code.co_filename, code.co_qualname))
threading.setprofile(note)
sys.setprofile(note)
from artsound.cli import app
options = "--artgraph sample --fma sample --limit 12 --runner serial --out"
app(["build", *options.split(), str(out)], standalone_mode=False)
import artsound
for batch in artsound.open(str(out / "shards")).stream(batch_size=4, seed=0):
    break
sys.setprofile(None)
result.write_text(json.dumps([
    [str(Path(file).resolve().relative_to(root)), name]
    for file, name in ran if Path(file).resolve().is_relative_to(root)
]))
"""


def modules(tree: Path) -> list[Path]:
    """The modules of `artsound/`, relative to the checkout."""
    return sorted(path.relative_to(tree) for path in (tree / "artsound").rglob("*.py"))


def in_sample(module: Path) -> bool:
    """Whether a module belongs to the bundled sample."""
    return "sample" in module.parts or module.name.startswith("sample_")


def repeated(names: list[str]) -> int:
    """How many names occur more than once."""
    return sum(count > 1 for count in Counter(names).values())


def single_importer(tree: Path, found: list[Path]) -> int:
    """How many modules exactly one other module imports; the sample and the command line aside."""
    dotted = {".".join(path.with_suffix("").parts): path for path in found}
    users: Counter[str] = Counter()
    for path in found:
        text = (tree / path).read_text(encoding="utf-8")
        used = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                used.add(node.module)
                used |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                used |= {alias.name for alias in node.names}
        users.update(name for name in used if name in dotted and dotted[name] != path)
    counted = [
        name
        for name, path in dotted.items()
        if not in_sample(path) and "cli" not in path.parts and path.name[:2] != "__"
    ]
    return sum(users[name] == 1 for name in counted)


def hops(tree: Path) -> tuple[int, int]:
    """The functions of `artsound/` that build and stream 12 tracks, and the files they are in."""
    with tempfile.TemporaryDirectory() as folder:
        out, result = Path(folder) / "out", Path(folder) / "ran.json"
        subprocess.run(
            [sys.executable, "-c", _TRACE, str(tree), str(out), str(result)],
            check=True, cwd=folder, stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": f"{tree}:{tree / 'pipelines'}", "HOME": folder},
        )  # fmt: skip
        ran = [(Path(file), name) for file, name in json.loads(result.read_text())]
    own = [(file, name) for file, name in ran if file.parts[0] == "artsound"]
    own = [(file, name) for file, name in own if not in_sample(file)]
    return len(set(own)), len({file for file, _ in own})


def measure(tree: Path) -> dict[str, int]:
    """Every figure of one checkout, by what it counts."""
    found = modules(tree)
    lines = {path: len((tree / path).read_text(encoding="utf-8").splitlines()) for path in found}
    core = [path for path in found if not in_sample(path)]
    classes = [
        node.name
        for path in found
        for node in ast.walk(ast.parse((tree / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    names = [path.stem for path in found if path.stem not in ("__init__", "__main__", "base")]
    functions, files = hops(tree)
    return {
        "modules": len(found),
        "modules without the sample": len(core),
        "lines": sum(lines.values()),
        "lines without the sample": sum(lines[path] for path in core),
        "median lines of a module": int(median(lines.values())),
        "lines of the longest module": max(lines.values()),
        "module names that occur more than once": repeated(names),
        "class names that occur more than once": repeated(classes),
        "modules that one other module alone imports": single_importer(tree, found),
        "functions that a track passes through, from file to batch": functions,
        "files of these functions": files,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tree", type=Path, help="another checkout, measured alone")
    given = parser.parse_args()
    after = measure((given.tree or PROJECT).resolve())
    if given.tree:
        print(json.dumps(after, indent=4))
        return
    print("| what | first edition | now |\n|---|---|---|")
    for what, count in after.items():
        print(f"| {what} | {BEFORE[what]:,} | {count:,} |")


if __name__ == "__main__":
    main()
