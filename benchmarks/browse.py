"""How long `artsound browse` takes over an index of a full release: 105,884 rows.

    python benchmarks/browse.py [rows]

Prints the time from opening the shards to a site that answers, that of the first page, and those
of searches and filters, each over HTTP; the limits are 1,000 ms for the first page and 200 ms for
a filter.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow as pa
import uvicorn

from artsound.records import arrow_schema
from artsound.reports.browse import browse_app, listen
from artsound.shards.index import write_index
from artsound.shards.read import open_shards
from artsound.shards.write import Shard

ROWS = 105_884
REPEATS = 7
STYLES, SUBJECTS, GENRES, PAINTERS, MUSICIANS = 32, 18, 16, 2_501, 16_000
QUERIES = {
    "search, one letter": {"q": "a"},
    "search, a word": {"q": "harbour"},
    "search, two words with an accent": {"q": "dalí 17"},
    "search, nothing found": {"q": "qqqq"},
    "one facet": {"style": "style 3"},
    "three facets": {"style": "style 3", "rights": "commercial use", "split": "train"},
    "a painter, another order": {"painter": "Dalí Painter 7", "sort": "newest"},
    "an SQL condition": {"where": "year < 1900 and score > 0.3"},
}
TEXT = (
    "a quiet harbour with boats under a pale sky in ochre slate blue and umber broad strokes soft "
    "light over the water figures on the shore seen from above in deep shadow warm and still"
)


def main() -> None:
    """Print the figures."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        make_index(Path(folder), rows)
        began = time.perf_counter()
        app = browse_app(open_shards(folder))
        opened = time.perf_counter() - began
        with listen("127.0.0.1", 0) as listener:
            server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            base = f"http://127.0.0.1:{listener.getsockname()[1]}"
            try:
                report(base, rows, opened)
            finally:
                server.should_exit = True
                thread.join()


def report(base: str, rows: int, opened: float) -> None:
    """Print a line for each figure, milliseconds."""
    print(f"{rows:,} rows; opened in {1000 * opened:,.0f} ms")
    first = timed(f"{base}/") + timed(f"{base}/api/view")
    print(f"{'first page':36} {first:7.0f} ms  {first / 1000:5.2f} of its limit")
    timed(f"{base}/api/view?q=warm")  # waits until the texts are ready, as they are after seconds
    for name, query in QUERIES.items():
        address = f"{base}/api/view?{urllib.parse.urlencode(query)}"
        spent = statistics.median(timed(address) for _ in range(REPEATS))
        print(f"{name:36} {spent:7.0f} ms  {spent / 200:5.2f} of its limit")
    spent = statistics.median(timed(f"{base}/api/pair/{100 * n:06d}") for n in range(REPEATS))
    print(f"{'a pair with its neighbours':36} {spent:7.0f} ms")


def timed(address: str) -> float:
    """Milliseconds until the whole answer is there."""
    began = time.perf_counter()
    with urllib.request.urlopen(address) as answer:
        answer.read()
    return 1000 * (time.perf_counter() - began)


def make_index(folder: Path, rows: int) -> None:
    """An index of made-up pairs, as wide and as varied as a full release's; no shards."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(TEXT.split(), 28)) for _ in range(4096)]
    numbers = np.arange(rows)

    def named(name: str, kinds: int) -> list[str]:
        return [f"{name} {n}" for n in rng.integers(0, kinds, rows)]

    splits = np.array(["train"] * 8 + ["val", "test"])[numbers * 10 // rows]
    values: dict[str, object] = {
        "key": [f"{n:06d}" for n in numbers],
        "track_id": numbers,
        "artwork_id": [f"painter_work-{n}.jpg" for n in numbers],
        "split": splits,
        "artwork_caption": [texts[n] for n in rng.integers(0, 4096, rows)],
        "music_caption": [texts[n] for n in rng.integers(0, 4096, rows)],
        "artwork_title": [texts[n][:40] for n in rng.integers(0, 4096, rows)],
        "title": [texts[n][:30] for n in rng.integers(0, 4096, rows)],
        "painter": named("Dalí Painter", PAINTERS),
        "painter_id": named("painter", PAINTERS),
        "artist": named("Musician", MUSICIANS),
        "style": named("style", STYLES),
        "genre": named("subject", SUBJECTS),
        "music_genre": named("genre", GENRES),
        "year": rng.integers(1400, 2000, rows),
        "score": rng.normal(0.5, 0.15, rows).clip(-1, 1),
        "artwork_cluster": [f"{n}" for n in numbers],
        "track_cluster": [f"{n:06d}" for n in numbers],
        "artwork_source": ["artgraph"] * rows,
        "track_source": ["fma"] * rows,
        "bridge": ["concepts"] * rows,
        "shard": [f"artsound-{split}-000000.tar" for split in splits],
    }
    for name in arrow_schema("sample").names:
        if name.endswith("sha256"):
            values[name] = [f"{n:064x}" for n in numbers]
        if name.endswith(("redistribute", "commercial")):
            values[name] = rng.random(rows) < 0.5
    columns = []
    for field in arrow_schema("index"):
        filled = values.get(field.name)
        if filled is None:
            empty = {"string": "affect", "bool": True, "float": 0.5, "double": 30.0}
            filled = [[] if "list" in str(field.type) else empty.get(str(field.type), 1)] * rows
        columns.append(pa.array(filled, type=field.type))
    last = f"{rows - 1:06d}"
    shards = [
        Shard(
            f"artsound-{s}-000000.tar",
            s,
            int((splits == s).sum()),
            10_240,
            "0" * 64,
            "000000",
            last,
        )
        for s in ("train", "val", "test")
    ]
    write_index(folder, "benchmark", "", shards, pa.table(columns, schema=arrow_schema("index")))


if __name__ == "__main__":
    main()
