"""A site over a few pairs, some of whose texts are hostile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from stripes_site import Served, make_site_shards

from artsound.reports.browse import browse_app, listen
from artsound.shards.dataset import open_shards


@pytest.fixture(scope="session")
def site_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 50 pairs; do not write to it."""
    return make_site_shards(tmp_path_factory.mktemp("site") / "shards")


@pytest.fixture
def served(site_shards: Path, tmp_path: Path) -> Iterator[Served]:
    """The site over the 50 pairs, on a free port, saving in a folder of its own."""
    app = browse_app(open_shards(site_shards), save_to=tmp_path)
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", tmp_path)
        server.should_exit = True
        thread.join(10)
