"""What must work where only the core is installed: run by the Python of such an environment.

    python tests/core_check.py SHARDS

It imports nothing but the package and the standard library, and leaves with 1 and a reason.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from importlib.util import find_spec
from pathlib import Path

ABSENT = ("prefect", "fastapi", "sqlalchemy", "starlette", "uvicorn", "librosa", "numba", "pandas",
          "matplotlib", "torch", "transformers")  # fmt: skip


def command(*arguments: str, expect: int = 0) -> str:
    """What `artsound …` prints, standard output and errors together."""
    artsound = Path(sysconfig.get_path("scripts")) / "artsound"
    done = subprocess.run(
        [artsound, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode != expect:
        raise SystemExit(f"artsound {' '.join(arguments)} gave {done.returncode}:\n{done.stdout}")
    return done.stdout


def require(condition: object, what: str) -> None:
    """Leave with a sentence where a condition does not hold."""
    if not condition:
        raise SystemExit(f"{what} (Python {sys.version.split()[0]}, {sys.prefix})")


def check(shards: Path, scratch: Path) -> None:
    """Import, open, filter, stream, and the commands on a release."""
    for name in ABSENT:
        require(find_spec(name) is None, f"{name} is installed with the core")

    import artsound

    require(Path(artsound.__file__).is_relative_to(sys.prefix), "artsound is not the installed one")
    data = artsound.open(shards)
    chosen = data.split("train").filter(where="score >= 0")
    require(0 < len(chosen) < len(data), "the filter chose all or nothing")
    decode = {"image_size": 64, "sample_rate": 16_000, "audio_seconds": 1.0, "mel": True}
    samples = list(chosen.webdataset(decode=decode, shuffle=8))
    keys = sorted(sample["__key__"] for sample in samples)
    require(keys == sorted(chosen.frame["key"]), "the stream gave other samples")
    for sample in samples:
        shapes = sample["image"].shape, sample["audio"].shape, sample["mel"].shape
        require(shapes == ((64, 64, 3), (16_000,), (100, 64)), f"a sample has the shapes {shapes}")
    first = data[data.frame["key"][0]]
    require(first["image"].ndim == 3 and first["audio"].ndim == 1, "a sample cannot be decoded")
    try:
        data.stream()
    except artsound.BadUsage as error:
        require("pip install" in str(error) and "torch" in str(error), f"stream says: {error}")
    else:
        raise SystemExit("a torch stream was opened without torch")

    require("subset" in command("--help"), "the help is incomplete")
    place = str(shards)
    require("train" in command("stats", place), "stats says nothing of the splits")
    require("no problems" in command("verify", place, "--deep"), "verify finds problems")
    command("subset", place, "--split", "train", "--out", str(scratch / "view.parquet"))
    require(len(artsound.open(scratch / "view.parquet")) == len(data.split("train")), "subset")
    command("subset", place, "--split", "val", "--out", str(scratch / "new"))
    require((scratch / "new" / "README.md").is_file(), "a subset has no card")
    require("no problems" in command("verify", str(scratch / "new")), "a subset has problems")
    train = ("train", "--data", place, "--out", str(scratch / "run"))
    for words, package in ((("browse", place), "[browse]"), (train, "[train]")):
        reported = command(*words, expect=2)
        require(
            package in reported and "Traceback" not in reported,
            f"artsound {words[0]} says: {reported}",
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        check(Path(sys.argv[1]), Path(folder))
    print(f"The core works on Python {sys.version.split()[0]}.")
