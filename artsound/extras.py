"""Optional packages: extras, how to install them, what is installed, importing large ones."""

from __future__ import annotations

import contextlib
import gc
import shlex
import shutil
import sys
from collections.abc import Iterator, Set
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.version import Version

# The packages of each extra, by the names under which they are imported.
_PACKAGES = {
    "build": "matplotlib numba threadpoolctl",
    "prefect": "prefect fastapi sqlalchemy",
    "browse": "starlette uvicorn",
    "pandas": "pandas",
    "models": "laion_clap open_clip torchvision transformers",
    "train": "accelerate diffusers librosa peft safetensors sklearn tensorboard torch",
    "dask": "distributed prefect_dask",
    "s3": "s3fs",
}
# The extra that brings a package.
EXTRAS = {package: extra for extra, names in _PACKAGES.items() for package in names.split()}
_FOR_DEVELOPERS = {"dev", "docs"}
_PACKAGE = Path(__file__).resolve().parent

State = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class Check:
    """One thing that `artsound doctor` examined.

    Attributes:
        group: A heading that several share, such as ``"machine"``.
        name: What was examined.
        state: The result; `missing` if the build in question cannot run without it.
        found: What was found, in a few words.
        remedy: What to do about it; empty if nothing.
    """

    group: str
    name: str
    state: State
    found: str
    remedy: str = ""


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Within this block nothing looks for garbage, of which imports make none.

    Otherwise the collector goes through hundreds of thousands of new objects again and again: a
    tenth of the time that torch takes.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def constraints_file() -> Path | None:
    """The versions that were tested together: a checkout's list, the installed one, or None."""
    places = (_PACKAGE.parent / "constraints.txt", _PACKAGE / "constraints.txt")
    return next((path for path in places if path.is_file()), None)


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
        in_brackets = f"[{','.join(extras)}]" if extras else ""
        if (checkout / "pyproject.toml").is_file():
            what = ["-e", f"{_shown(checkout)}{in_brackets}"]
        else:
            what = [f"artsound{in_brackets}"]
    constraints = constraints_file()
    pinned = ["-c", _shown(constraints)] if constraints else []
    return " ".join([*_pip(), "install", *map(_quoted, [*pinned, *what])])


def _pip() -> list[str]:
    """`pip` if it belongs to this Python; else the long form."""
    found = shutil.which("pip")
    if found and Path(found).parent == Path(sys.executable).parent:
        return ["pip"]
    return [_shown(Path(sys.executable)), "-m", "pip"]


def _shown(path: Path) -> str:
    """A path, relative to the current folder if it is within it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # OSError: the current folder was deleted
        return str(path)


def _quoted(word: str) -> str:
    return f"'{word}'" if "[" in word and "'" not in word else shlex.quote(word)


# Checks of installed packages. Nothing large is imported: the packages' metadata suffice, except
# for soundfile, whose library decides what it can decode. `importlib.metadata` and `packaging` are
# imported where they are used, since every command imports this module.


def check_packages(needed: Set[str] = frozenset()) -> Iterator[Check]:
    """Examine each package of the core and of the extras.

    Args:
        needed: Extras that the build needs besides `build`. A package that is not as required is
            `missing` in the core and in these, elsewhere a warning.

    Yields:
        A check for each package.
    """
    from importlib.metadata import metadata

    from packaging.utils import canonicalize_name

    if installed("artsound") is None:
        yield Check("packages", "artsound", "warning", "not installed", install_command())
        return
    requirements = _requirements("artsound")
    extras = sorted(metadata("artsound").get_all("Provides-Extra") or ())
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
    for name in dict.fromkeys(one.name for one in _requirements("artsound")):
        for requirement in _requirements(name):
            found = installed(requirement.name)
            if found is None or not _belongs(requirement, ""):
                continue
            if not requirement.specifier.contains(found, prereleases=True):
                needs = f"{requirement.name}{requirement.specifier}"
                text = f"{installed(name)} needs {needs}, but {found} is installed"
                yield Check("conflicts", name, "warning", text, install_command(package=needs))
    if not _decodes_mp3():
        yield Check(
            "conflicts", "soundfile", "missing", "its libsndfile cannot decode MP3",
            "pip install --upgrade soundfile (its wheels bring libsndfile 1.1 or newer)",
        )  # fmt: skip


def installed(name: str) -> Version | None:
    """The version of an installed package; None if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    from packaging.version import Version

    try:
        return Version(version(name))
    except PackageNotFoundError:
        return None


def tested_versions() -> dict[str, str]:
    """Versions that were tested together, by package: those of constraints.txt."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

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


def _requirements(name: str) -> list[Requirement]:
    """What an installed package requires, besides lines that are not valid; else nothing."""
    from importlib.metadata import requires

    from packaging.requirements import InvalidRequirement, Requirement

    found = []
    for text in (requires(name) or []) if installed(name) else ():
        with contextlib.suppress(InvalidRequirement):
            found.append(Requirement(text))
    return found


def _belongs(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement is one of `extra`, or, if that is empty, of the core."""
    marker = requirement.marker
    if marker is None:
        return not extra
    core = marker.evaluate({"extra": ""})
    return marker.evaluate({"extra": extra}) and not core if extra else core


def _decodes_mp3() -> bool:
    if find_spec("soundfile") is None:
        return True  # reported among the packages
    import soundfile

    return "MP3" in soundfile.available_formats()
