"""How long `artsound browse` takes over an index of a full release: 105,884 rows.

    python benchmarks/browse.py [rows]

Prints the time from opening the shards to the whole first page, in processes that did nothing
before but import; the time from the command to that page, imports included; and those of searches
and filters. All are asked for over HTTP; the limits are 1,000 ms for opening and first page
together, and 200 ms for a filter. Then it asks for likeness, maps and the next trial, with vectors
of 20 dimensions and a map beside the index. At last `artsound why` derives a pair of a build with
as many pairs, made of copies of a small one; its limit is 1,000 ms.
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from full_size.first_page import get, served, wait_for

from artsound.reports.art_map import write_map
from artsound.schema import arrow_schema
from artsound.shards.beside import MAP
from artsound.shards.format import Shard
from artsound.shards.index import write_index

ROWS = 105_884
REPEATS = 7
FIRST_PAGE, FILTER, WHY = 1000, 200, 1000  # ms
# Run in a process of its own: imports are timed apart from what grows with the number of pairs.
OPENING = """
import json, sys, threading, time, urllib.request
began = time.perf_counter()
import starlette.applications, starlette.middleware.trustedhost, uvicorn
from artsound.reports.browse import browse_app, listen
from artsound.shards.dataset import open_shards
imported = time.perf_counter()
app = browse_app(open_shards(sys.argv[1]))
opened = time.perf_counter()
with listen("127.0.0.1", 0) as listener:
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    for path in ("", "page/browse.css", "page/browse.js", "api/view"):
        urllib.request.urlopen(f"http://127.0.0.1:{listener.getsockname()[1]}/{path}").read()
    shown = time.perf_counter()
    server.should_exit = True
    thread.join()
print(json.dumps([imported - began, opened - imported, shown - opened]))
"""
VECTOR = 20
STYLES, SUBJECTS, GENRES, PAINTERS, MUSICIANS = 32, 18, 16, 2_501, 16_000
QUERIES = {
    "search, one letter": {"q": "a"},
    "search, a word": {"q": "harbour"},
    "search, two words with an accent": {"q": "dalí 17"},
    "search, nothing found": {"q": "qqqq"},
    "one facet": {"style": "style 3"},
    "three facets": {"style": "style 3", "rights": "commercial use", "split": "train"},
    "a painter, another order": {"painter": "Dalí Painter 7", "sort": "newest"},
    "an SQL condition": {"where": "artwork_year < 1900 and score > 0.3"},
}
TEXT = (
    "a quiet harbour with boats under a pale sky in ochre slate blue and umber broad strokes soft "
    "light over the water figures on the shore seen from above in deep shadow warm and still"
)


def main() -> None:
    """Print the figures."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    print(f"{rows:,} rows; medians of {REPEATS}")
    with tempfile.TemporaryDirectory() as folder:
        make_index(Path(folder), rows)
        first_pages(folder)
        with served(folder) as (base, server):
            wait_for(f"{base}/", server)
            filters(base)
            finding(base, rows)
        derivation(Path(folder), rows)


def first_pages(folder: str) -> None:
    """Print how long imports, opening and the first page take in fresh processes."""
    command = [sys.executable, "-c", OPENING, folder]
    spent = [
        json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        for _ in range(REPEATS)
    ]
    imports, opening, page = (1000 * statistics.median(stage) for stage in zip(*spent, strict=True))
    both = 1000 * statistics.median(opened + shown for _, opened, shown in spent)
    told("opening", opening)
    told("first page, once opened", page)
    told("opening and first page", both, FIRST_PAGE)
    told("imports", imports)
    told("command to first page", statistics.median(from_command(folder) for _ in range(REPEATS)))


def from_command(folder: str) -> float:
    """Milliseconds from the command line to the whole first page."""
    began = time.perf_counter()
    with served(folder) as (base, server):
        wait_for(f"{base}/", server)
        get(f"{base}/api/view")
        return 1000 * (time.perf_counter() - began)


def filters(base: str) -> None:
    """Print how long a site that is open takes to answer."""
    get(f"{base}/api/view")
    time.sleep(1)  # nobody types sooner
    told("first search, a second after", timed(f"{base}/api/view?q=warm"), FILTER)
    for name, query in QUERIES.items():
        address = f"{base}/api/view?{urllib.parse.urlencode(query)}"
        told(f"{name}: first", timed(address), FILTER)
        told(name, statistics.median(timed(address) for _ in range(REPEATS)), FILTER)
    spent = statistics.median(timed(f"{base}/api/pair/{100 * n:06d}") for n in range(REPEATS))
    told("a pair with its neighbours", spent)


def finding(base: str, rows: int) -> None:
    """Print how long likeness, any position, the maps and the next trial take."""
    key = f"{rows // 2:06d}"
    for name, path, limit in (
        ("pictures like this", f"api/view?like=picture:{key}", FILTER),
        ("music like this", f"api/view?like=music:{key}", FILTER),
        ("nearest of a pair", f"api/near/{key}", FILTER),
        ("any position", f"api/view?start={rows // 2}", 500),
        ("the maps", "api/map", 1500),
        ("the pairs of a query on the maps", "api/found?q=harbour", 1500),
        ("an area of the map", "api/view?inside=artworks:0,0;500,0;500,1000;0,1000", FILTER),
        ("next trial", "api/trial?judge=ada", 300),
    ):
        told(f"{name}: first", timed(f"{base}/{path}"), limit)
        told(name, statistics.median(timed(f"{base}/{path}") for _ in range(REPEATS)), limit)


def derivation(folder: Path, rows: int) -> None:
    """Print the processor time and the time by the clock of `artsound why`."""
    small, large = folder / "small", folder / "large"
    artsound = str(Path(sys.executable).parent / "artsound")
    sample = ["--recipe", "sample", "--limit", "24", "--runner", "serial"]
    subprocess.run(
        [artsound, "build", *sample, "--out", str(small)], check=True, capture_output=True
    )
    key = copied(small, large, rows)
    spent, clock = [], []
    for _ in range(REPEATS):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([artsound, "why", key, "--out", str(large)], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        clock.append(1000 * (time.perf_counter() - began))
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        spent.append(1000 * used)
    told("artsound why", statistics.median(clock), WHY)
    told("artsound why, processor time", statistics.median(spent), WHY)


def copied(small: Path, large: Path, rows: int) -> str:
    """A build of so many pairs, copies of those of a small one under other ids; a key of it."""
    for name in ("pairs", "catalog", "embeddings/affect"):
        (large / name).mkdir(parents=True)
    for name in ("recipe.toml", "pairs/fits.json"):
        shutil.copy(small / name, large / name)
    pairs = pl.read_parquet(small / "pairs/pairs.parquet")
    copies = range(-(-rows // len(pairs)))
    for name, columns in (
        ("pairs/pairs.parquet", ("track_id", "artwork_id")),
        ("pairs/runners_up.parquet", ("track_id", "item_id")),
        ("catalog/artworks.parquet", ("artwork_id",)),
        ("catalog/tracks.parquet", ("track_id",)),
    ):
        table = pq.read_table(small / name)
        frame = pl.DataFrame(pl.from_arrow(table))
        if name.startswith("catalog"):  # a full build uses nearly all of its items
            frame = frame.filter(pl.col(*columns).is_in(pairs[columns[0]].to_list()))
        parts = [frame.with_columns(pl.col(*columns) + f"-{n}").to_arrow() for n in copies]
        pq.write_table(pa.concat_tables(parts).cast(table.schema), large / name)
    for side in ("artworks", "tracks"):
        place = f"embeddings/affect/{side}"
        names = json.loads((small / f"{place}.json").read_text())
        used = set(pairs["artwork_id" if side == "artworks" else "track_id"])
        rows_used = [n for n, one in enumerate(names["ids"]) if one in used]
        names["ids"] = [f"{names['ids'][row]}-{n}" for n in copies for row in rows_used]
        (large / f"{place}.json").write_text(json.dumps(names))
        vectors = np.load(small / f"{place}.npy")[rows_used]
        np.save(large / f"{place}.npy", np.tile(vectors, (len(copies), 1)))
    return f"{pairs['track_id'][0]}-{len(copies) // 2}"


def told(name: str, spent: float, limit: float = 0) -> None:
    """Print a figure, milliseconds, and the share of its limit where it has one."""
    print(f"{name:36} {spent:7.0f} ms" + (f"  {spent / limit:5.2f} of its limit" if limit else ""))


def timed(address: str) -> float:
    """Milliseconds until the whole answer is there."""
    began = time.perf_counter()
    get(address)
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
        "track_id": [f"{n:06d}" for n in numbers],
        "artwork_id": [f"painter_work-{n}.jpg" for n in numbers],
        "split": splits,
        "artwork_caption": [texts[n] for n in rng.integers(0, 4096, rows)],
        "track_caption": [texts[n] for n in rng.integers(0, 4096, rows)],
        "artwork_title": [texts[n][:40] for n in rng.integers(0, 4096, rows)],
        "track_title": [texts[n][:30] for n in rng.integers(0, 4096, rows)],
        "painter": named("Dalí Painter", PAINTERS),
        "painter_id": named("painter", PAINTERS),
        "musician": named("Musician", MUSICIANS),
        "artwork_style": named("style", STYLES),
        "artwork_genre": named("subject", SUBJECTS),
        "track_genre": named("genre", GENRES),
        "artwork_year": rng.integers(1400, 2000, rows),
        "score": rng.normal(0.5, 0.15, rows).clip(-1, 1),
        "artwork_cluster": [f"{n}" for n in numbers],
        "track_cluster": [f"{n:06d}" for n in numbers],
        "artwork_source": ["artgraph"] * rows,
        "track_source": ["fma"] * rows,
        "bridge": ["concepts"] * rows,
        "pairing_method": ["sparse"] * rows,
        "shard": [f"artsound-{split}-000000.tar" for split in splits],
    }
    for name in arrow_schema("sample").names:
        if name.endswith("sha256"):
            values[name] = [f"{n:064x}" for n in numbers]
        if name.endswith(("redistribute", "commercial")):
            values[name] = rng.random(rows) < 0.5
        if name.endswith(("ai_training", "ai_training_source")):
            values[name] = ["licence" if name.endswith("source") else "allowed"] * rows
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
    sides = {}
    for side in ("artwork", "track"):  # as many as there are measured descriptors
        vectors = rng.normal(size=(rows, VECTOR)).astype(np.float32)
        sides[side] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), VECTOR)
    pq.write_table(pa.table({"key": values["key"], **sides}), folder / "embeddings-affect.parquet")
    places = {side: rng.integers(0, 65_536, (rows, 2)).astype(np.uint16) for side in sides}
    write_map(folder / MAP, [f"{n:06d}" for n in numbers], places)


if __name__ == "__main__":
    main()
