"""Every dependency is pinned, has a digest and a compatible licence; tests reach no network."""

from __future__ import annotations

import re
import runpy
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

DOCS = Path(__file__).resolve().parents[1] / "docs"
TABLES = runpy.run_path(str(DOCS / "dependency_tables.py"))


def test_every_pin_has_the_digest_of_its_file() -> None:
    assert TABLES["pins"](TABLES["HASHES"]) == TABLES["pins"]()
    for line in TABLES["HASHES"].read_text(encoding="utf-8").splitlines():
        assert line.startswith("#") or re.fullmatch(r"\S+==\S+ --hash=sha256:[0-9a-f]{64}", line)


def test_what_is_installed_is_what_is_pinned() -> None:
    pinned = TABLES["pins"]()
    for name, one in TABLES["installed"]().items():
        assert one.version.partition("+")[0] == pinned[name], name


def test_every_pin_installs_on_the_oldest_python_that_is_supported() -> None:
    """Debian 12 has 3.11.2, for which pip does not find a package that needs 3.11.5."""
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    oldest = project["project"]["requires-python"].removeprefix(">=")
    for name, one in TABLES["installed"]().items():
        needed = SpecifierSet(TABLES["stated"](one, "Requires-Python"))
        assert needed.contains(oldest), f"{name} {one.version} needs Python {needed}"


def test_every_dependency_has_a_compatible_licence_and_the_page_lists_it() -> None:
    page = TABLES["PAGE"].read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE))
    for name, one in TABLES["installed"]().items():
        stated = TABLES["licence"](one)
        assert stated, f"{name} states no licence that docs/dependency_tables.py knows"
        assert name in listed[stated].split(", "), f"run docs/dependency_tables.py for {name}"


def test_neither_a_test_nor_a_process_of_one_reaches_beyond_loopback() -> None:
    with pytest.raises(OSError, match="loopback only"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    connect = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    done = subprocess.run(
        [sys.executable, "-c", connect], check=False, capture_output=True, text=True
    )
    assert "tests use loopback only" in done.stderr
