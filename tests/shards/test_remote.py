"""Streaming over HTTP and fsspec, by ranges and through the cache."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from servers import Served, serving
from urllib3.util import Retry

import artsound
from artsound.errors import BadData, BadUsage
from artsound.shards.beside import embedding_tables
from artsound.shards.reader import Cache
from artsound.shards.store import open_store
from artsound.shards.subset import write_view as write_subset_view


@pytest.fixture
def served(shards: Path) -> Iterator[Served]:
    with serving(shards) as state:
        yield state


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retry, "sleep", lambda _retry: None)


def test_a_stream_over_http_is_the_one_from_disk(shards: Path, served: Served) -> None:
    near, far = artsound.open(shards), artsound.open(served.url)
    assert [s["key"] for s in far.stream(seed=2)] == [s["key"] for s in near.stream(seed=2)]
    assert far.read(7) == near.read(7)
    batches = list(far.stream(batch_size=8).loader(workers=2))
    assert [b["key"] for b in batches] == [b["key"] for b in near.stream(batch_size=8)]


def test_a_thin_subset_moves_hardly_more_than_its_own_bytes(served: Served) -> None:
    data = artsound.open(served.url)
    chosen = data.sample(5, seed=1)
    served.sent = 0
    assert len(list(chosen.stream())) == 5
    wanted = int(chosen.pointers.sizes.sum())
    assert wanted <= served.sent <= wanted + 5 * 3 * 1024  # headers and padding between members
    assert all(wanted for _, wanted in served.requests[2:])


@pytest.mark.parametrize("names_total", [True, False])
def test_one_column_of_a_table_is_read_over_http_without_the_others(
    tmp_path: Path, names_total: bool
) -> None:
    rows = np.random.default_rng(0).normal(size=(45, 2_000)).astype(np.float32)
    sides = {
        side: pa.FixedSizeListArray.from_arrays(pa.array((factor * rows).ravel()), 2_000)
        for side, factor in (("artwork", 1.0), ("track", 2.0))
    }
    keys = [f"{n:06d}" for n in range(45)]
    path = tmp_path / "embeddings-clip.parquet"
    pq.write_table(pa.table({"key": keys, **sides}), path)
    with serving(tmp_path) as served:
        served.names_total = names_total
        tables = embedding_tables(open_store(served.url), ["affect", "clip"])
        assert {name: table.size for name, table in tables.items()} == {"clip": path.stat().st_size}
        served.sent = 0
        found = tables["clip"].read("track")
        assert found is not None
        assert found[0] == keys
        np.testing.assert_array_equal(found[1], 2 * rows)
        assert served.sent < 0.7 * path.stat().st_size
        assert tables["clip"].read("words") is None


def test_a_server_that_fails_for_a_while_is_asked_again(served: Served) -> None:
    data = artsound.open(served.url)
    served.failures = 3
    assert len(list(data.stream(threads=1))) == 45
    served.failures = 10**6
    with pytest.raises(BadData, match="503"):
        data.read(0)


def test_an_answer_that_breaks_off_is_asked_for_again(shards: Path, served: Served) -> None:
    data = artsound.open(served.url)
    served.cuts = 3
    assert data.read(4) == artsound.open(shards).read(4)
    assert served.cuts == 0


def test_an_answer_of_another_length_is_not_taken_for_the_sample(served: Served) -> None:
    data = artsound.open(served.url)
    served.short = True
    with pytest.raises(BadData, match="ends before byte"):
        data.read(0)


def test_a_signed_address_is_asked_with_its_query_and_never_shown(
    shards: Path, served: Served, tmp_path: Path
) -> None:
    secret = served.url.replace("//", "//me:hush@") + "/?sig=s3cret"
    headers = {"X-Token": "t0ken"}
    data = artsound.open(secret, headers=headers)
    served.received.clear()
    assert data.read(4) == artsound.open(shards).read(4)
    assert {path.partition("?")[2] for path, _ in served.received} == {"sig=s3cret"}
    assert {sent["X-Token"] for _, sent in served.received} == {"t0ken"}
    assert data.store.location == served.url
    stream = pickle.loads(pickle.dumps(data.stream()))
    assert len(list(stream)) == 45
    write_subset_view(data, tmp_path / "view.parquet")
    texts = [repr(data.store), str((tmp_path / "view.parquet").read_bytes())]
    served.failures = 10**6
    calls = (lambda: data.read(0), lambda: list(data.store.chunks("index.json")),
             lambda: artsound.open(secret.replace("/?", "/elsewhere?")),
             lambda: artsound.open("http://me:hush@127.0.0.1:9/x?sig=s3cret"),
             lambda: artsound.open(secret, headers={"X": "t0ken\n"}))  # fmt: skip
    for call in calls:
        with pytest.raises((BadData, BadUsage)) as caught:
            call()
        error: BaseException | None = caught.value
        while error is not None:  # what a traceback shows
            texts.append(str(error))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for text in texts:
        assert not [word for word in ("hush", "s3cret", "t0ken") if word in text]
    with pytest.raises(BadUsage, match="takes no headers"):
        artsound.open(shards, headers=headers)


def test_a_single_bad_answer_is_asked_for_again(shards: Path, served: Served) -> None:
    data = artsound.open(served.url)
    for fault in ("whole", "unannounced"):
        setattr(served, fault, 2)
        assert data.read(4) == artsound.open(shards).read(4)
        assert getattr(served, fault) == 0


def test_a_server_that_fails_is_not_skipped_as_damage(served: Served) -> None:
    data = artsound.open(served.url)
    served.failures = 10**6
    with pytest.raises(BadData, match="503"):
        list(data.stream(on_error="skip"))


def test_a_shard_whose_whole_file_is_wrong_is_fetched_once_in_a_pass(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = artsound.open(served.url)
    served.spoilt = True
    assert len(list(data.stream(cache=tmp_path / "cache", cache_bytes=10**9))) == 45
    whole = [name for name, span in served.requests if name.endswith(".tar") and not span]
    assert len(whole) == len(set(whole)) <= 7
    deadline = time.monotonic() + 300  # guards against hanging only
    while not caplog.records and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "is not cached" in caplog.text


_HANGING = """
import signal, sys
import artsound
signal.signal(signal.SIGINT, signal.default_int_handler)
data = artsound.open(sys.argv[1])
options = {"cache": sys.argv[2], "cache_bytes": 10**9} if len(sys.argv) > 2 else {}
print("ready", flush=True)
try:
    list(data.stream(batch_size=4, **options).loader(**eval(sys.argv[-1])))
except KeyboardInterrupt:
    print("left", flush=True)
"""


@pytest.mark.parametrize("how", [{}, {"threads": 2}, {"workers": 1}], ids=str)
def test_ctrl_c_leaves_while_a_server_does_not_answer(
    served: Served, tmp_path: Path, how: dict[str, int]
) -> None:
    served.hanging = threading.Event()
    process = subprocess.Popen(
        [sys.executable, "-c", _HANGING, served.url, str(tmp_path / "cache"), str(how)],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    served.waiting.wait(300)
    os.killpg(process.pid, signal.SIGINT)
    # A read of the hanging server would time out after 60 s, and be tried again.
    assert "left" in process.communicate(timeout=50)[0]
    served.hanging.set()


def test_reads_that_the_system_cuts_short_are_continued(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = artsound.open(shards)
    whole = data.read(3)
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, at: pread(file, min(size, 100), at))
    assert data.read(3) == whole


def test_a_missing_file_is_reported_at_once(shards: Path, served: Served) -> None:
    with pytest.raises(BadData, match=r"has no index\.json .*404"):
        artsound.open(served.url + "/elsewhere")
    assert len(served.requests) == 0


def test_a_server_without_byte_ranges_is_named(served: Served) -> None:
    data = artsound.open(served.url)
    served.ranges = False
    with pytest.raises(BadData, match="does not serve byte ranges"):
        data.read(0)


@pytest.mark.parametrize(
    ("name", "status", "headers", "start", "fault"),
    [
        ("tar", 206, {"Content-Range": "bytes 1-9/99"}, b"", r"\.tar .* sends bytes from 1 on"),
        ("tar", 206, {"Content-Type": "multipart/byteranges; boundary=x"}, b"", "several parts"),
        ("tar", 206, {"Content-Type": "text/html; charset=utf-8"}, b"", "sends a web page"),
        ("tar", 416, {}, b"", r"\.tar ends before its last sample"),
        ("tar", 403, {}, b"", "answers 403: it may ask for headers=, a signed address may have"),
        ("json", 401, {}, b"", r"index\.json cannot be read: the server answers 401"),
        ("json", 200, {}, b"\n<!doctype html>", "is a web page in place of an index"),
    ],
)
def test_an_odd_answer_of_a_server_is_said_with_a_remedy(
    served: Served, name: str, status: int, headers: dict[str, str], start: bytes, fault: str
) -> None:
    served.odd = (name, status, headers, start)
    with pytest.raises(BadData, match=fault):
        artsound.open(served.url).read(0)


def test_nobody_at_the_address_is_a_sentence() -> None:
    with pytest.raises(BadData, match="cannot be read"):
        artsound.open("http://127.0.0.1:9/shards")


def test_any_fsspec_store_will_do(shards: Path) -> None:
    system = fsspec.filesystem("memory")
    for path in shards.iterdir():
        system.pipe_file(f"/bucket/set/{path.name}", path.read_bytes())
    near, far = artsound.open(shards), artsound.open("memory://bucket/set")
    assert [s["key"] for s in far.stream()] == [s["key"] for s in near.stream()]
    assert list(far.store.chunks("index.json")) == [(shards / "index.json").read_bytes()]
    with pytest.raises(BadData, match=r"has no index\.json"):
        artsound.open("memory://bucket/other")


def test_dense_shards_are_fetched_whole_once_and_then_read_from_the_cache(
    served: Served, tmp_path: Path
) -> None:
    data = artsound.open(served.url)
    options = {"cache": tmp_path / "cache", "cache_bytes": 10**9}
    first = [sample["key"] for sample in data.stream(**options)]
    deadline = time.monotonic() + 300  # guards against hanging only
    while time.monotonic() < deadline and len(list((tmp_path / "cache").glob("*.tar"))) < 7:
        list(data.stream(**options))
    served.requests.clear()
    again = data.stream(**options)
    assert [sample["key"] for sample in again] == first
    assert served.requests == []
    for path in (tmp_path / "cache").glob("*.tar"):
        shard = next(s for s in data.shards if s.sha256 == path.stem)
        assert path.stat().st_size == shard.bytes


def test_a_thin_subset_leaves_the_cache_empty(served: Served, tmp_path: Path) -> None:
    chosen = artsound.open(served.url).sample(5)
    assert len(list(chosen.stream(cache=tmp_path / "cache", cache_bytes=10**9))) == 5
    assert not (tmp_path / "cache").exists()


def test_the_cache_keeps_what_was_used_last_within_its_limit(
    served: Served, tmp_path: Path
) -> None:
    data = artsound.open(served.url)
    first, second, third = data.shards[:3]
    cache = Cache(tmp_path, first.bytes + second.bytes + third.bytes - 1)
    for shard in (first, second):
        assert cache.fetch(shard, data.store)
    os.utime(tmp_path / f"{first.sha256}.tar", (1, 1))
    os.utime(tmp_path / f"{second.sha256}.tar", (2, 2))
    assert cache.find(first) is not None  # now used later than the second
    assert cache.fetch(third, data.store)
    assert cache.find(second) is None
    assert cache.find(first) is not None
    assert not Cache(tmp_path, 100).fetch(second, data.store)
    with pytest.raises(BadUsage, match="can hold nothing"):
        Cache(tmp_path, 0)


def test_bytes_that_are_not_the_shard_s_never_enter_the_cache(
    served: Served, tmp_path: Path, shards: Path
) -> None:
    data = artsound.open(served.url)
    from dataclasses import replace

    wrong = replace(data.shards[0], sha256="0" * 64)
    with pytest.raises(BadData, match="its SHA-256 differs"):
        Cache(tmp_path, 10**9).fetch(wrong, data.store)
    short = replace(data.shards[0], bytes=2048)
    with pytest.raises(BadData, match="its SHA-256 differs"):
        Cache(tmp_path, 10**9).fetch(short, data.store)
    assert list(tmp_path.glob("*.tar")) == list(tmp_path.glob("*.partial")) == []


def _fetch_for_ever(url: str, folder: Path) -> None:
    data = artsound.open(url)
    while True:
        for shard in data.shards:
            Cache(folder, data.shards[0].bytes * 2).fetch(shard, data.store)


def test_processes_that_share_a_cache_and_are_killed_leave_only_whole_shards(
    served: Served, tmp_path: Path
) -> None:
    data = artsound.open(served.url)
    known = {shard.sha256: shard.bytes for shard in data.shards}
    context = multiprocessing.get_context("spawn")
    for pause in (0.0, 0.05):
        both = [
            context.Process(target=_fetch_for_ever, args=(served.url, tmp_path)) for _ in range(2)
        ]
        for process in both:
            process.start()
        deadline = time.monotonic() + 300  # guards against hanging only
        while time.monotonic() < deadline and not list(tmp_path.glob("*.tar")):
            time.sleep(0.002)
        time.sleep(pause)
        for process in both:
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
        for path in tmp_path.glob("*.tar"):
            assert path.stat().st_size == known[path.stem]
    cache = Cache(tmp_path, sum(known.values()))
    assert all(cache.fetch(shard, data.store) for shard in data.shards)
    assert sorted(p.stem for p in tmp_path.glob("*.tar")) == sorted(known)
    assert list(tmp_path.glob("*.partial")) == []


def test_a_file_s_ranges_come_in_the_order_asked_and_near_ones_in_one_request(
    served: Served, shards: Path
) -> None:
    store = open_store(served.url)
    data = (shards / "artsound-train-000000.tar").read_bytes()
    served.requests.clear()
    far = len(data) - 100
    ranges = [(700, 900), (0, 512), (far, far + 10), (512, 600), (5, 5)]
    assert store.read_ranges("artsound-train-000000.tar", ranges) == [data[a:b] for a, b in ranges]
    assert len(served.requests) == 2
    assert store.read_ranges("artsound-train-000000.tar", [(9, 9)]) == [b""]
