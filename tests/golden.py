"""Golden digests: the bytes of two small builds and of one checkpoint, as last recorded.

`tests/golden.toml` holds a SHA-256 for every output file; folders of many files (media, the
stages' part tables) have one for all. Left out is what differs between two runs of the same code:
logs and times (runs/), markers, paths (recipe.toml), and the staged list of files. A change that
no one intended shows in `tests/test_golden.py`; one that was intended is recorded with

    make golden        (or: python tests/golden.py --write)

and the difference of `tests/golden.toml` says which outputs the change reaches.

Floating-point results depend on library versions and on the processor's vector instructions. All
is therefore computed in a process restricted to one thread and to AVX2, and `[environment]`
records the versions. Where these differ, only what is copied without computing is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Digests = dict[str, str]

PROJECT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).with_name("golden.toml")
REAL_DATA = PROJECT.parent / "shared" / "data"

SAMPLE_TRACKS = 24
REAL_TRACKS = 12  # a limit of 12 takes 64 artworks beside them
STEPS = 20

# Copied from the source as they are: the same bytes under any library on any machine.
ROBUST = {"real": ("media/",)}

# Everything that computes, draws or compresses what a digest covers.
_LIBRARIES = (
    "accelerate", "jinja2", "librosa", "llvmlite", "matplotlib", "numba", "numpy", "pillow",
    "polars", "pyarrow", "safetensors", "scipy", "soundfile", "soxr", "torch",
)  # fmt: skip
_ONE_FILE_EACH = ("captions", "catalog", "embeddings", "pairs", "report", "shards")
_AVX2 = {
    "ARROW_USER_SIMD_LEVEL": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+sse4.2,+popcnt,+avx,+avx2,+fma,+f16c,+bmi,+bmi2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}
_ONE_THREAD = dict.fromkeys(
    ("MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)


def recorded() -> dict[str, Digests]:
    """What `tests/golden.toml` holds, section by section."""
    return tomllib.loads(GOLDEN.read_text(encoding="utf-8"))


def environment() -> Digests:
    """All that floating-point results depend on besides this project: versions and processor."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "absent"
    features = _processor()
    avx2 = "AVX2" in features and "FMA3" in features
    found["processor"] = f"{platform.machine()} {'with' if avx2 else 'without'} AVX2"
    return dict(sorted(found.items()))


def measured(sample: Path, work: Path, groups: Iterable[str]) -> dict[str, Digests]:
    """The digests of `groups`, computed in a restricted process; files are written under `work`.

    The sample is written by that process, too, into `sample`: its pictures and sounds are computed.
    """
    from numpy.core import _multiarray_umath as numpy_core

    beyond = [
        name
        for name in numpy_core.__cpu_dispatch__
        if name.startswith("AVX512") and numpy_core.__cpu_features__[name]
    ]
    restricted = {
        **os.environ,
        **_AVX2,
        **_ONE_THREAD,
        "NPY_DISABLE_CPU_FEATURES": " ".join(beyond),
    }
    if not beyond:
        del restricted["NPY_DISABLE_CPU_FEATURES"]
    restricted["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    out = work / "digests.json"
    command = [sys.executable, __file__, "--measure", str(out), "--sample", str(sample)]
    subprocess.run([*command, *groups], env=restricted, cwd=work, check=True)
    found: dict[str, Digests] = json.loads(out.read_text(encoding="utf-8"))
    return found


def difference(group: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Which files of a group changed, as a message; empty when none did."""
    changed = [
        f"  {word}: {name}"
        for word, names in (
            ("changed", [n for n in before if n in after and before[n] != after[n]]),
            ("missing", [n for n in before if n not in after]),
            ("new", [n for n in after if n not in before]),
        )
        for name in names
    ]
    if not changed:
        return ""
    return "\n".join(
        [
            f"{len(changed)} outputs of [{group}] in tests/golden.toml are not what was recorded:",
            *changed,
            "If that is intended, raise the version number of the stage, run `make golden` and",
            "commit tests/golden.toml with the change.",
        ]
    )


def _processor() -> set[str]:
    from numpy.core import _multiarray_umath as numpy_core

    return {name for name, present in numpy_core.__cpu_features__.items() if present}


def _sample_sources(sample: Path, work: Path) -> Digests:
    from artsound.sample import write_sample

    paths = write_sample(sample)
    return {
        path.relative_to(sample).as_posix(): _file(path)
        for root in (paths.artgraph, paths.fma)
        for path in _files(root)
    }


def _sample_build(sample: Path, work: Path) -> Digests:
    return _digests(_built_sample(sample, work))


def _real_build(sample: Path, work: Path) -> Digests:
    from artsound.recipe import recipe_from

    recipe = {
        "sources": {
            "artgraph": str(REAL_DATA / "artgraph"),
            "fma": str(REAL_DATA / "fma"),
            "limit": REAL_TRACKS,
        },
        "run": {"runner": "serial"},
    }
    return _digests(_build(work / "real", recipe_from(recipe, "golden")))


def _checkpoint(sample: Path, work: Path) -> Digests:
    """Digests of the bytes of each file's tensors, in the order of their names."""
    from artsound.training.config import find_preset
    from artsound.training.loop import train

    preset = find_preset("tiny")
    one_thread = preset.optimisation.model_copy(update={"cpu_threads": 1})
    config = preset.model_copy(update={"optimisation": one_thread})
    shards = _built_sample(sample, work) / "shards"
    report = train(shards, config, work / "training", steps=STEPS, seed=0)
    return {
        path.name: _tensors(path) for path in sorted(Path(report.checkpoint).glob("*.safetensors"))
    }


GROUPS: dict[str, Callable[[Path, Path], Digests]] = {
    "sample-sources": _sample_sources,
    "sample": _sample_build,
    "real": _real_build,
    "checkpoint": _checkpoint,
}


def _built_sample(sample: Path, work: Path) -> Path:
    """The sample's build, made once."""
    from small_builds import small_recipe

    from artsound.sample import write_sample

    out = work / "sample-build"
    return out if out.exists() else _build(out, small_recipe(write_sample(sample), SAMPLE_TRACKS))


def _build(out: Path, recipe: object) -> Path:
    from small_builds import run_serially

    from artsound.storage import Workspace

    run_serially(Workspace(out), recipe)
    return out


def _digests(build: Path) -> Digests:
    """Every deterministic output of a build: one digest a file, or one for a folder of many."""
    found = {
        path.relative_to(build).as_posix(): _file(path)
        for name in _ONE_FILE_EACH
        for path in _files(build / name)
    }
    for side in sorted((build / "media").iterdir()):
        found[f"media/{side.name}/**"] = _together(side, _files(side))
    for stage in sorted((build / "parts").iterdir()):
        if tables := sorted(stage.glob("*.parquet")):
            found[f"parts/{stage.name}/*.parquet"] = _together(stage, tables)
    return found


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _file(path: Path) -> str:
    from artsound.storage import sha256_file

    return sha256_file(path)


def _together(root: Path, files: Iterable[Path]) -> str:
    """One digest for names and bytes of many files."""
    from artsound.storage import digest

    return digest([[path.relative_to(root).as_posix(), _file(path)] for path in files])


def _tensors(path: Path) -> str:
    from safetensors.numpy import load_file

    from artsound.storage import digest, sha256_bytes

    return digest(
        [
            [name, str(array.dtype), list(array.shape), sha256_bytes(array.tobytes())]
            for name, array in sorted(load_file(path).items())
        ]
    )


def _write() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        names = [name for name in GROUPS if name != "real" or REAL_DATA.is_dir()]
        sections = {"environment": environment(), **measured(work / "sample", work, names)}
    if "real" not in sections:
        sections["real"] = recorded()["real"]
        print(f"[real] is left as it was: {REAL_DATA} is not on this machine.")
    lines = [
        "# The bytes of two small builds and of a checkpoint (see tests/golden.py).",
        "# Written by `make golden`: run it to record a deliberate change, never edit by hand.",
    ]
    for section, values in sections.items():
        lines += ["", f"[{section}]"]
        lines += [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in values.items()]
    GOLDEN.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"Recorded in {GOLDEN}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="record today's digests")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sample", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("groups", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        work = options.measure.parent
        found = {name: GROUPS[name](options.sample, work) for name in options.groups}
        options.measure.write_text(json.dumps(found), encoding="utf-8")
    elif options.write:
        sys.path[:0] = [str(PROJECT), str(PROJECT / "pipelines")]
        _write()
    else:
        parser.error("nothing to do: add --write")


if __name__ == "__main__":
    main()
