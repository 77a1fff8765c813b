"""What `artsound doctor` finds: one check, one line."""

from __future__ import annotations

import ctypes.util
import json
from collections.abc import Iterator, Set
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from artsound.install import constraints_file, install_command

State = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class Check:
    """One thing looked at. `missing`: the build that was asked about cannot run without it."""

    group: str
    name: str
    state: State
    found: str
    way_out: str = ""


# The packages this project needs, as they are installed here: versions, and known traps.
#
# Nothing heavy is imported: what packages say of themselves (their metadata) is enough, but for
# soundfile, whose library decides what it can decode.

_MOST = 50_000  # words in RoBERTa's vocabulary, about; an empty tokenizer has 5
_OPTIONAL = ("prefect", "browse", "pandas", "models", "train", "dask", "s3")
_ALONE = ("litdata", "mosaicml-streaming", "img2dataset")


def check_packages(needed: Set[str] = frozenset()) -> Iterator[Check]:
    """A check for each package of the core and of the extras, but those for development.

    What is not as required is missing in the core, in the extra build and in the `needed` ones,
    elsewhere a warning.
    """
    try:
        wanted = [Requirement(text) for text in requires("artsound") or []]
    except PackageNotFoundError:
        way_out = "pip install -e . in its folder"
        yield Check("packages", "artsound", "warning", "not installed", way_out)
        return
    tested = tested_versions()
    for extra in ("", "build", *_OPTIONAL):
        state: State = "missing" if extra in {"", "build", *needed} else "warning"
        for requirement in wanted:
            if _belongs(requirement, extra):
                pinned = tested.get(canonicalize_name(requirement.name), "")
                yield check_package(requirement, extra, pinned, state)


def check_package(
    requirement: Requirement, extra: str = "", tested: str = "", state: State = "missing"
) -> Check:
    """Whether an installed package fulfils a requirement; `state` is told where it does not."""
    name, specifier = requirement.name, requirement.specifier
    found = installed(name)
    install = f"pip install '{name}{specifier}'" if not extra else install_command(extra)
    group = f"packages: {extra}" if extra else "packages"
    if found is None:
        return Check(group, name, state, "not installed", install)
    told = f"{found} (tested: {tested})" if tested and tested != str(found) else str(found)
    if not specifier.contains(found, prereleases=True):
        return Check(group, name, state, f"{told}, not {specifier}", install)
    return Check(group, name, "ok", told)


def check_traps() -> Iterator[Check]:
    """Known ways in which packages that are all there do not work together."""
    yield from _conflicting_requirements()
    if "MP3" not in _formats():
        yield Check(
            "traps", "soundfile", "missing", "its libsndfile cannot decode MP3",
            "pip install --upgrade soundfile (its wheels bring libsndfile 1.1 or newer)",
        )  # fmt: skip
    datasets = installed("datasets")
    if datasets is not None and datasets >= Version("5") and installed("torchcodec") is None:
        yield Check(
            "traps", "datasets", "warning", f"{datasets} reads no audio without torchcodec",
            "pip install torchcodec",
        )  # fmt: skip
    if installed("torchcodec") is not None and ctypes.util.find_library("avutil") is None:
        yield Check(
            "traps", "torchcodec", "warning", "FFmpeg's libraries are not found",
            "install FFmpeg (apt install ffmpeg)",
        )  # fmt: skip
    clap = installed("laion-clap")
    if clap is not None and clap < Version("1.1.7"):
        yield Check(
            "traps", "laion-clap", "warning", f"{clap} reads the command line when imported",
            "pip install 'laion-clap>=1.1.7' 'numpy<2'",
        )  # fmt: skip
    for name in _ALONE:
        if installed(name) is not None:
            yield Check(
                "traps", name, "warning", "its requirements are at odds with ours",
                f"pip uninstall {name}; keep it in an environment of its own",
            )  # fmt: skip


def check_tokenizer(vocabulary: Path | None) -> Check:
    """Whether the vocabulary (JSON; None: not here) that LAION-CLAP reads texts by is whole."""
    way_out = "hf download roberta-base, where there is a network"
    if vocabulary is None:
        return Check("checkpoints", "roberta-base", "warning", "no vocabulary here", way_out)
    try:
        words = len(json.loads(vocabulary.read_bytes()))
    except (OSError, ValueError, TypeError):
        words = 0
    if words < _MOST:
        told = f"{words:,} words: every text would look the same"
        return Check("checkpoints", "roberta-base", "warning", told, way_out)
    return Check("checkpoints", "roberta-base", "ok", f"{words:,} words")


def installed(name: str) -> Version | None:
    """The version of a package, or None."""
    try:
        return Version(version(name))
    except PackageNotFoundError:
        return None


def tested_versions() -> dict[str, str]:
    """Versions that were tested together, by package: constraints.txt of a source checkout."""
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


def _conflicting_requirements() -> Iterator[Check]:
    """Packages whose own requirements are not met: torchvision's torch, laion-clap's numpy …"""
    ours = (requires("artsound") or []) if installed("artsound") else []
    for name in dict.fromkeys(Requirement(text).name for text in ours):
        for needed in (requires(name) or []) if installed(name) else ():
            try:
                requirement = Requirement(needed)
            except InvalidRequirement:
                continue
            found = installed(requirement.name)
            if found is None or not _belongs(requirement, ""):
                continue
            if not requirement.specifier.contains(found, prereleases=True):
                yield Check(
                    "traps", name, "warning",
                    f"{installed(name)} needs {requirement.name}{requirement.specifier}, "
                    f"but that is {found}",
                    f"pip install '{requirement.name}{requirement.specifier}'",
                )  # fmt: skip


def _belongs(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement is one of `extra`, or, where that is empty, of the core."""
    marker = requirement.marker
    if marker is None:
        return not extra
    if extra:
        return marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})
    return marker.evaluate({"extra": ""})


def _formats() -> dict[str, str]:
    if find_spec("soundfile") is None:
        return {"MP3": "told among the packages"}
    import soundfile

    return dict(soundfile.available_formats())
