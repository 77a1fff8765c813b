"""The command that installs an optional part of this package, as it works here."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

# The extra that brings a package, by the name under which it is imported.
EXTRAS = {
    "matplotlib": "build",
    "numba": "build",
    "threadpoolctl": "build",
    "prefect": "prefect",
    "fastapi": "prefect",
    "sqlalchemy": "prefect",
    "starlette": "browse",
    "uvicorn": "browse",
    "pandas": "pandas",
    "laion_clap": "models",
    "open_clip": "models",
    "torchvision": "models",
    "accelerate": "train",
    "diffusers": "train",
    "librosa": "train",
    "peft": "train",
    "safetensors": "train",
    "sklearn": "train",
    "tensorboard": "train",
    "torch": "train",
    "transformers": "models",
    "distributed": "dask",
    "prefect_dask": "dask",
    "s3fs": "s3",
}
_PACKAGE = Path(__file__).resolve().parent


def constraints_file() -> Path | None:
    """The list of versions that were tested together: of a checkout, or as installed; or None."""
    for path in (_PACKAGE.parent / "constraints.txt", _PACKAGE / "constraints.txt"):
        if path.is_file():
            return path
    return None


def install_command(*extras: str, package: str = "") -> str:
    """The command that installs some extras, or one package alone, at the tested versions.

    It can be pasted into a shell: it names the checkout that this code runs from, or the installed
    package, and the constraints that belong to it.

    Args:
        extras: Names of extras of this package, such as ``"train"``.
        package: Another package's name, installed instead of extras.

    Returns:
        For example ``pip install -c constraints.txt -e '.[train]'``.
    """
    checkout = _PACKAGE.parent
    what = [package]
    if not package:
        wanted = f"[{','.join(extras)}]" if extras else ""
        if (checkout / "pyproject.toml").is_file():
            what = ["-e", f"{_shown(checkout)}{wanted}"]
        else:
            what = [f"artsound{wanted}"]
    constraints = constraints_file()
    pinned = ["-c", _shown(constraints)] if constraints else []
    return " ".join([*_pip(), "install", *map(_quoted, [*pinned, *what])])


def _pip() -> list[str]:
    """`pip`, if that is the one of this Python; else the long form."""
    found = shutil.which("pip")
    if found and Path(found).parent == Path(sys.executable).parent:
        return ["pip"]
    return [_shown(Path(sys.executable)), "-m", "pip"]


def _shown(path: Path) -> str:
    """A path, relative to the current folder where it lies within it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # OSError: the current folder is gone
        return str(path)


def _quoted(word: str) -> str:
    return f"'{word}'" if "[" in word and "'" not in word else shlex.quote(word)
