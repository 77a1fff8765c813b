"""A folder of shards some of whose texts are hostile, and where a site that serves it is."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from artsound.reports.browse import browse_app, listen
from artsound.schema import to_table
from artsound.shards.dataset import open_shards
from artsound.shards.format import sample_json, write_shard
from artsound.shards.index import index_rows, write_index

PROJECT = Path(__file__).resolve().parents[2]
HOSTILE = "</script><script>window.hurt = true</script><img src=x onerror='window.hurt = true'>"
PAINTERS = ("Salvador Dalí", "Berthe Morisot", "Ogata Kōrin")
SPLITS = {"train": 30, "val": 12, "test": 8}


def _stripes() -> Any:
    """The helpers with which the shards' own tests make samples."""
    path = PROJECT / "tests" / "shards" / "conftest.py"
    spec = importlib.util.spec_from_file_location("stripes", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_site_shards(folder: Path) -> Path:
    """50 pairs in three shards; pair 000012 is hostile in every text, 000013 in its address."""
    stripes = _stripes()
    pictures = [stripes.picture(n) for n in range(6)]
    clips = [stripes.clip(n, seconds=12.0) for n in range(6)]
    folder.mkdir(parents=True, exist_ok=True)
    shards, rows, number = [], [], 10
    for order, (split, count) in enumerate(SPLITS.items()):
        some = []
        for _ in range(count):
            media = 2 * order + number % 2
            fields = stripes.sample(number, pictures[media], clips[media], split)
            fields["painter"] = PAINTERS[number % 3]
            fields["artwork_title"] = f"Stripes {number}"
            fields["duration_s"], fields["artwork_redistribute"] = 12.0, number % 4 != 0
            fields["track_redistribute"] = fields["artwork_commercial"] = True
            fields["track_commercial"] = number % 3 == 0
            if number == 12:
                texts = (
                    "artwork_caption",
                    "track_caption",
                    "artwork_title",
                    "painter",
                    "artwork_style",
                )
                fields |= dict.fromkeys((*texts, "track_title", "musician", "track_genre"), HOSTILE)
            if number == 13:
                fields["artwork_source_url"] = "javascript:window.hurt=true"
            members = {"jpg": pictures[media], "mp3": clips[media], "json": sample_json(fields)}
            some.append((fields, members))
            number += 1
        path = folder / f"artsound-{split}-000000.tar"
        shard, placed = write_shard(path, split, ((f["key"], m) for f, m in some))
        shards.append(shard)
        rows += index_rows(shard.name, [fields for fields, _ in some], placed)
    write_index(folder, "stripes", "", shards, to_table("index", rows))
    return folder


@dataclass(frozen=True)
class Served:
    """A site that runs: its address, and where it saves."""

    url: str
    folder: Path


@contextmanager
def serving(shards: Path, folder: Path) -> Iterator[Served]:
    """A site over some shards, on a free port, saving in a folder."""
    app = browse_app(open_shards(shards), save_to=folder)
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", folder)
        finally:
            server.should_exit = True
            thread.join(10)
