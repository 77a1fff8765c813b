"""The licences of all dependencies, docs/dependencies.md: part of `make docs`.

Reads what the packages of constraints.txt that are installed here say of themselves.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from email.message import Message
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from packaging.requirements import Requirement
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

PAGE = Path(__file__).with_name("dependencies.md")
PINS = Path(__file__).resolve().parents[1] / "constraints.txt"
HASHES = PINS.with_name("constraints-hashes.txt")

_INTRODUCTION = """\
# Dependencies

`constraints.txt` pins one tested version of every package, direct or not, for Python 3.11.
`constraints-hashes.txt` has the SHA-256 digest of the file that Linux on x86-64 installs of each,
so that a package that was exchanged at the registry is refused:

```sh
pip install --require-hashes --no-deps -r constraints-hashes.txt
pip install --no-deps -e .
```

After a change of the pins, `python docs/dependency_tables.py --hashes` asks the index for the
digests again. Known vulnerabilities of the pinned versions are listed by
`pipx run pip-audit --no-deps --disable-pip -r constraints-hashes.txt`, which asks
the advisory database of PyPI; it is no part of the tests, which need no network.

ArtSound itself is under the Apache License 2.0, and contains no code of these packages: each is
installed from its own publisher under its own terms. Those below permit use together with it.
Permissive licences ask for their notice only; the Mozilla Public License and the LGPL apply to
changes of the package's own files; NVIDIA's terms permit use of the CUDA libraries that PyTorch's
wheels need on Linux, and redistribution with an application. `text-unidecode` offers the Artistic
License beside the GPL. Written by `docs/dependency_tables.py` from what the packages state.

"""

# What the packages state, folded to one name each.
_NAMES = {
    "MIT": r"MIT|MIT License(?:; Apache.*)?|The MIT License.*|MIT-0|MIT-CMU|MIT AND PSF-2\.0",
    "BSD": r"(?:\d-Clause )?BSD(?:[- ].*)?|BSD License|Modified BSD License",
    "Apache 2.0": r"Apache.*",
    "ISC": r"ISC.*",
    "Python Software Foundation": r"PSF.*|Python Software Foundation License",
    "Mozilla Public License 2.0": r"MPL.*|Mozilla Public License 2\.0.*",
    "LGPL": r"LGPL.*|GNU (?:Library or )?Lesser General Public License.*",
    "Artistic or GPL": r"Artistic License; GNU General Public License.*",
    "public domain": r"Public Domain|Unlicense.*|The Unlicense.*|CC0.*|0BSD|Zlib",
    "NVIDIA": r"LicenseRef-NVIDIA-Proprietary|NVIDIA Proprietary.*|Other/Proprietary License",
}
# Packages whose metadata state none; from the LICENSE files of their repositories.
_UNSTATED = {
    "axe-playwright-python": "MIT",  # it contains axe-core, under the MPL 2.0
    "mlcroissant": "Apache 2.0",
    "torchcodec": "BSD",
    "cuda-toolkit": "NVIDIA",
}


def normal(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path = PINS) -> dict[str, str]:
    """The version of each package in a file of pins, by its normal name, for this Python."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition(" --hash=")[0].strip()
        if text and not text.startswith("#"):
            pin = Requirement(text)
            if pin.marker is None or pin.marker.evaluate():
                found[normal(pin.name)] = str(pin.specifier).removeprefix("==")
    return found


def stated(one: Distribution, field: str) -> str:
    """A field of a package's metadata; "" if it has none.

    Not by `metadata[field]`: once `importlib_metadata` is imported, which some libraries do,
    packages are found by it, and its metadata raise KeyError where the standard library's
    give None.
    """
    return cast(Message, one.metadata).get(field) or ""


def installed() -> dict[str, Distribution]:
    """The pinned packages that are installed here, by their normal names."""
    wanted = pins()
    found = {normal(stated(one, "Name")): one for one in distributions()}
    return {name: one for name, one in sorted(found.items()) if name in wanted}


def licence(one: Distribution) -> str:
    """The licence that a package states, as this page names it; "" if it is none of those."""
    kinds = cast(Message, one.metadata).get_all("Classifier") or []
    kinds = [kind for kind in kinds if kind.startswith("License :: ")]
    text = (
        stated(one, "License-Expression")
        or "; ".join(kind.split(" :: ")[-1] for kind in kinds if " :: " in kind)
        or stated(one, "License").strip().partition("\n")[0]
    )
    if not text:
        return _UNSTATED.get(normal(stated(one, "Name")), "")
    for name, pattern in _NAMES.items():
        if re.fullmatch(pattern, text):
            return name
    return ""


def page() -> str:
    """The text of docs/dependencies.md."""
    by_licence: dict[str, list[str]] = defaultdict(list)
    for name, one in installed().items():
        by_licence[licence(one)].append(name)
    lines = ["| licence | packages |", "|---|---|"]
    lines += [f"| {one} | {', '.join(by_licence[one])} |" for one in _NAMES if by_licence[one]]
    return _INTRODUCTION + "\n".join(lines) + "\n"


def write_hashes() -> None:
    """Write constraints-hashes.txt, asking the index by uv (`pip install uv`)."""
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "pylock.toml"
        command = ["uv", "pip", "compile", str(PINS), "--no-deps", "--quiet"]
        command += ["--python-version", platform.python_version(), "--format", "pylock.toml"]
        subprocess.run([*command, "--output-file", str(lock)], check=True, stdout=sys.stderr)
        HASHES.write_text(hashed(tomllib.loads(lock.read_text())), encoding="utf-8")


def hashed(lock: Mapping[str, Any]) -> str:
    """The pins with the digest of the file that this Python installs, of a lock (PEP 751)."""
    lines = [
        "# The files that Python 3.11 installs on Linux (x86-64), with their SHA-256 digests.",
        "# Written by docs/dependency_tables.py --hashes.",
    ]
    order = {tag: rank for rank, tag in enumerate(sys_tags())}
    for package in lock["packages"]:
        usable = []
        for wheel in package.get("wheels", ()):
            *_, tags = parse_wheel_filename(unquote(wheel["url"].rpartition("/")[2]))
            ranks = [order[tag] for tag in tags if tag in order]
            if ranks:
                usable.append((min(ranks), wheel["hashes"]["sha256"]))
        digest = min(usable)[1] if usable else package["sdist"]["hashes"]["sha256"]
        pin = f"{package['name']}=={package['version']}"
        lines.append(f"{pin} --hash=sha256:{digest}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--hashes" in sys.argv:
        write_hashes()
    PAGE.write_text(page(), encoding="utf-8")
