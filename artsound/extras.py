"""Optional packages: the extras that bring them, how to install them, what is installed."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator, Set
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

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


# Installed packages beside those that this project requires, for `artsound doctor`.
#
# Nothing large is imported: the packages' metadata suffice, except for soundfile, whose library
# decides what it can decode.

State = Literal["ok", "warning", "missing"]

_VOCABULARY = 50_000  # words of RoBERTa, about; an empty tokenizer has 5
_FOR_DEVELOPERS = {"dev", "docs"}


@dataclass(frozen=True)
class Check:
    """One thing examined. `missing`: the build in question cannot run without it.

    Attributes:
        group: A heading that several share, such as ``"machine"``.
        name: What was examined.
        state: The result.
        found: What was found, in a few words.
        remedy: What to do about it; empty if nothing.
    """

    group: str
    name: str
    state: State
    found: str
    remedy: str = ""


def check_packages(needed: Set[str] = frozenset()) -> Iterator[Check]:
    """Examine each package of the core and of the extras.

    Args:
        needed: Extras that the build needs besides `build`. A package that is not as required is
            `missing` in the core and in these, elsewhere a warning.

    Yields:
        A check for each package.
    """
    try:
        requirements = [Requirement(text) for text in requires("artsound") or []]
        extras = sorted(metadata("artsound").get_all("Provides-Extra") or ())
    except PackageNotFoundError:
        yield Check("packages", "artsound", "warning", "not installed", install_command())
        return
    tested = tested_versions()
    for extra in ("", *(name for name in extras if name not in _FOR_DEVELOPERS)):
        state: State = "missing" if extra in {"", "build", *needed} else "warning"
        for requirement in requirements:
            if _belongs(requirement, extra):
                pinned = tested.get(canonicalize_name(requirement.name), "")
                yield check_package(requirement, extra, pinned, state)


def check_package(
    requirement: Requirement, extra: str = "", tested: str = "", state: State = "missing"
) -> Check:
    """Compare an installed package with a requirement.

    Args:
        requirement: Name and versions.
        extra: The extra that requires it; empty for the core.
        tested: The version in constraints.txt; empty if unknown.
        state: The result if the requirement is not met.
    """
    name, specifier = requirement.name, requirement.specifier
    found = installed(name)
    install = install_command(extra) if extra else install_command(package=f"{name}{specifier}")
    group = f"packages: {extra}" if extra else "packages"
    if found is None:
        return Check(group, name, state, "not installed", install)
    text = f"{found} (tested: {tested})" if tested and tested != str(found) else str(found)
    if not specifier.contains(found, prereleases=True):
        return Check(group, name, state, f"{text}, not {specifier}", install)
    return Check(group, name, "ok", text)


def check_conflicts() -> Iterator[Check]:
    """Report installed packages that do not work together, each with what it lacks."""
    ours = (requires("artsound") or []) if installed("artsound") else []
    for name in dict.fromkeys(Requirement(text).name for text in ours):
        for text in (requires(name) or []) if installed(name) else ():
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            found = installed(requirement.name)
            if found is None or not _belongs(requirement, ""):
                continue
            if not requirement.specifier.contains(found, prereleases=True):
                needs = f"{requirement.name}{requirement.specifier}"
                yield Check(
                    "conflicts", name, "warning",
                    f"{installed(name)} needs {needs}, but {found} is installed",
                    install_command(package=needs),
                )  # fmt: skip
    if not _decodes_mp3():
        yield Check(
            "conflicts", "soundfile", "missing", "its libsndfile cannot decode MP3",
            "pip install --upgrade soundfile (its wheels bring libsndfile 1.1 or newer)",
        )  # fmt: skip


def check_tokenizer(vocabulary: Path | None) -> Check:
    """Examine the vocabulary by which LAION-CLAP reads texts.

    Args:
        vocabulary: A JSON file; None if there is none.
    """
    remedy = "hf download roberta-base, where there is a network"
    if vocabulary is None:
        return Check("checkpoints", "roberta-base", "warning", "no vocabulary", remedy)
    try:
        words = len(json.loads(vocabulary.read_bytes()))
    except (OSError, ValueError, TypeError):
        words = 0
    if words < _VOCABULARY:
        text = f"{words:,} words: every text would look the same"
        return Check("checkpoints", "roberta-base", "warning", text, remedy)
    return Check("checkpoints", "roberta-base", "ok", f"{words:,} words")


def installed(name: str) -> Version | None:
    """The version of an installed package; None if it is not installed."""
    try:
        return Version(version(name))
    except PackageNotFoundError:
        return None


def tested_versions() -> dict[str, str]:
    """Versions that were tested together, by package: those of constraints.txt."""
    path = constraints_file()
    if path is None:
        return {}
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    pins = [Requirement(line) for line in lines if line]
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }


def _belongs(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement is one of `extra`, or, if that is empty, of the core."""
    marker = requirement.marker
    if marker is None:
        return not extra
    if extra:
        return marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})
    return marker.evaluate({"extra": ""})


def _decodes_mp3() -> bool:
    if find_spec("soundfile") is None:
        return True  # reported among the packages
    import soundfile

    return "MP3" in soundfile.available_formats()
