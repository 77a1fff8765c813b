"""Fixtures that several rooms share."""

from __future__ import annotations

from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's top folder."""
    return PROJECT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real paintings, music and metadata, where this machine has them; never committed."""
    folder = PROJECT.parent / "shared" / "data"
    if not (folder / "artgraph" / "mapping").is_dir():
        pytest.skip("the real files (../shared/data) are not on this machine")
    return folder
