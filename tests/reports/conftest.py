"""A site over a few pairs, some of whose texts are hostile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stripes_site import Served, make_site_shards, serving


@pytest.fixture(scope="session")
def site_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 50 pairs; do not write to it."""
    return make_site_shards(tmp_path_factory.mktemp("site") / "shards")


@pytest.fixture
def served(site_shards: Path, tmp_path: Path) -> Iterator[Served]:
    """The site over the 50 pairs, on a free port, saving in a folder of its own."""
    with serving(site_shards, tmp_path) as site:
        yield site
