"""How fast shards are written, read, streamed, opened and resumed, against peers in the same run.

    python benchmarks/shards.py [--folder DIR] [--samples 512] [--only write read decode …]
                                [--peer mosaicml=PYTHON litdata=PYTHON]

Writes samples of about FMA's and ArtGraph's sizes (0.2 MB of picture, 0.5 MB of sound) with this
project's writer, with webdataset.ShardWriter and as plain bytes; reads them raw and decoded with
both; opens, filters and resumes an index of 105,884 rows; and streams a random 1% over HTTP.
Everything is read from a warm page cache, each figure is the best of several, of decoding the
median. A line of the table says what was measured, the figure, and the limit it is held to.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import webdataset
from decoding import decoding_times
from PIL import Image

import artsound
from artsound.schema import arrow_schema, to_table
from artsound.shards.format import Shard, sample_json, write_shard
from artsound.shards.index import index_rows, write_index
from artsound.storage import sha256_bytes

ROWS = 105_884
PER_SHARD = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--memory", type=Path, default=Path("/dev/shm"), help="a tmpfs")
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--peer", nargs="*", default=[], metavar="NAME=PYTHON",
        help="mosaicml=… or litdata=…: the interpreter of an environment that has it",
    )  # fmt: skip
    parser.add_argument("--only", nargs="*", default=["write", "read", "decode", "index", "http"])
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        disk, memory = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(dir=place)))
            for place in (options.folder, options.memory)
        )
        samples = make_samples(options.samples)
        if "write" in options.only:
            measure_writing(disk, memory, samples, options.repeats)
        write_ours(disk / "shards", samples)
        if "read" in options.only:
            measure_reading(disk / "shards", options.repeats)
        if "decode" in options.only:
            measure_decoding(disk / "shards", options.repeats)
        for peer in options.peer:
            measure_peer(peer, disk, options.repeats)
        if "index" in options.only:
            measure_index(disk, options.repeats)
        if "http" in options.only:
            measure_http(disk / "shards")


def show(what: str, value: str, limit: str = "") -> None:
    print(f"{what:<58} {value:>16}   {limit}")


def best(
    run: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """The shortest of several times, in seconds."""
    times = []
    for _ in range(repeats):
        start = clock()
        run()
        times.append(clock() - start)
    return min(times)


def make_samples(count: int) -> list[dict[str, bytes]]:
    """Members of samples: eight pictures and clips, each made unlike the others by its tail."""
    rng = np.random.default_rng(0)
    pictures, clips = [], []
    for number in range(8):
        small = rng.integers(0, 255, (96, 128, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((1024, 768), Image.Resampling.BICUBIC)
        out = io.BytesIO()
        image.save(out, "JPEG", quality=90)
        pictures.append(out.getvalue())
        at = np.arange(30 * 44_100) / 44_100
        tone = np.stack([np.sin(2 * np.pi * f * at) for f in (220 + number, 330 + number)], 1)
        out = io.BytesIO()
        noise = rng.normal(0, 0.05, tone.shape)
        soundfile.write(
            out, 0.3 * tone + noise, 44_100, format="MP3", compression_level=0.6,
            bitrate_mode="CONSTANT",
        )  # fmt: skip
        clips.append(out.getvalue())
    samples = []
    for number in range(count):
        picture, clip = pictures[number % 8], clips[number % 8]
        samples.append({"jpg": picture, "mp3": clip, "json": sample_json(fields(number))})
    size = statistics.mean(sum(map(len, sample.values())) for sample in samples)
    show("samples, mean bytes of each", f"{count} × {size / 1e6:.2f} MB")
    return samples


def fields(number: int) -> dict[str, Any]:
    """All fields of a sample, with made-up text of the usual length."""
    row: dict[str, Any] = {}
    for field in arrow_schema("sample"):
        kind = str(field.type)
        row[field.name] = ["a tag"] * 3 if kind.startswith("list") else {
            "string": f"some text {number}", "bool": True, "float": 0.5, "double": 30.0,
        }.get(kind, number)  # fmt: skip
    digest = sha256_bytes(str(number).encode())
    return row | {
        "key": f"{number:06d}", "track_id": f"{number:06d}", "track_cluster": f"{number:06d}",
        "split": "train",
        "artwork_source": "sample", "track_source": "sample", "artwork_year": 1500 + number % 500,
        "score": round(number * 7919 % 10_000 / 10_000, 4), "artwork_style": f"style {number % 32}",
        "artwork_caption": f"A picture with many words in its caption, number {number}. " * 3,
        "track_caption": f"A piece of music that is told in many words, number {number}. " * 3,
        "image_sha256": digest, "image_original_sha256": digest, "audio_sha256": digest,
        "artwork_prompt_sha256": digest, "track_prompt_sha256": digest, "pairing_method": "sparse",
        "artwork_ai_training": "allowed", "track_ai_training": "unknown",
        "artwork_ai_training_source": "licence", "track_ai_training_source": "licence",
    }  # fmt: skip


def shards_of(samples: list[dict[str, bytes]]) -> Iterator[tuple[str, list[tuple[str, dict]]]]:
    for number, start in enumerate(range(0, len(samples), PER_SHARD)):
        some = samples[start : start + PER_SHARD]
        keyed = [(f"{start + at:06d}", sample) for at, sample in enumerate(some)]
        yield f"artsound-train-{number:06d}.tar", keyed


def write_ours(folder: Path, samples: list[dict[str, bytes]]) -> None:
    folder.mkdir(exist_ok=True)
    shards, rows = [], []
    for name, keyed in shards_of(samples):
        shard, placed = write_shard(folder / name, "train", keyed)
        shards.append(shard)
        rows += index_rows(name, (json.loads(sample["json"]) for _, sample in keyed), placed)
    write_index(folder, "benchmark", "", shards, to_table("index", rows))


def write_tars(folder: Path, samples: list[dict[str, bytes]]) -> None:
    folder.mkdir(exist_ok=True)
    for name, keyed in shards_of(samples):
        write_shard(folder / name, "train", keyed)


def write_webdataset(folder: Path, samples: list[dict[str, bytes]]) -> None:
    folder.mkdir(exist_ok=True)
    with webdataset.ShardWriter(
        str(folder / "%06d.tar"), maxcount=PER_SHARD, encoder=False, verbose=0
    ) as writer:
        for number, sample in enumerate(samples):
            writer.write({"__key__": f"{number:06d}", **sample})
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")


def write_plain(folder: Path, samples: list[dict[str, bytes]]) -> None:
    folder.mkdir(exist_ok=True)
    for name, keyed in shards_of(samples):
        data = b"".join(member for _, sample in keyed for member in sample.values())
        with (folder / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def measure_writing(
    disk: Path, memory: Path, samples: list[dict[str, bytes]], repeats: int
) -> None:
    size = sum(len(member) for sample in samples for member in sample.values())

    def rate(write: Callable[[Path, list[dict[str, bytes]]], None], place: Path) -> float:
        def run() -> None:
            write(place / "out", samples)

        seconds = []
        for _ in range(repeats):
            shutil.rmtree(place / "out", ignore_errors=True)
            seconds.append(best(run, 1))
        shutil.rmtree(place / "out")
        return size / min(seconds)

    plain, ours = rate(write_plain, disk), rate(write_tars, disk)
    show("write to disk: plain write + fsync", f"{plain / 1e6:,.0f} MB/s")
    show("write to disk: ours, with digests", f"{ours / 1e6:,.0f} MB/s")
    show("  ours / plain", f"{ours / plain:.2f}", "≥ 0.9")
    theirs, ours = rate(write_webdataset, memory), rate(write_tars, memory)
    show("write to memory: webdataset.ShardWriter, then digests", f"{theirs / 1e6:,.0f} MB/s")
    show("write to memory: ours, with digests", f"{ours / 1e6:,.0f} MB/s")
    show("  ours / webdataset", f"{ours / theirs:.2f}", "≥ 2")


def measure_reading(folder: Path, repeats: int) -> None:
    data = artsound.open(folder)
    urls = [str(path) for path in sorted(folder.glob("*.tar"))]

    def theirs() -> None:
        assert sum(1 for _ in webdataset.WebDataset(urls, shardshuffle=False)) == len(data)

    def theirs_shuffled() -> None:
        dataset = webdataset.WebDataset(urls, shardshuffle=100, seed=0).shuffle(100)
        assert sum(1 for _ in dataset) == len(data)

    def ours(**options: Any) -> None:
        assert sum(1 for _ in data.stream(**options)) == len(data)

    rates = {
        "webdataset": len(data) / best(theirs, repeats),
        "ours": len(data) / best(lambda: ours(shuffle=False), repeats),
        "webdataset, shuffled": len(data) / best(theirs_shuffled, repeats),
        "ours, shuffled": len(data) / best(ours, repeats),
    }
    for name, rate in rates.items():
        show(f"read raw: {name}", f"{rate:,.0f} samples/s")
    before = resident()
    for _ in range(3):
        ours()
    grown = (resident() - before) / 1e6
    show("memory grown over three more epochs", f"{grown:.1f} MB", "flat")
    show("  ours / webdataset", f"{rates['ours'] / rates['webdataset']:.2f}", "≥ 1.5")
    shuffled = rates["ours, shuffled"] / rates["webdataset, shuffled"]
    show("  ours / webdataset, shuffled", f"{shuffled:.2f}", "≥ 1.5")


def resident() -> int:
    """Resident memory of this process, bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure_decoding(folder: Path, repeats: int) -> None:
    count, workers = len(artsound.open(folder)), os.cpu_count() or 1
    times = decoding_times(folder, repeats)
    for name, (wall, cost) in times.items():
        show(
            f"decode 256² + 10 s, {workers} workers: {name}",
            f"{count / statistics.median(wall):,.1f}/s",
        )
        show("  processor time", f"{1e3 * statistics.median(cost) / count:.1f} ms/sample")
    ours = times.pop("ours")
    for name, theirs in times.items():
        show(f"  ours / {name}", spread(theirs.wall, ours.wall), "≥ 1")
        show("    by processor time", spread(theirs.cost, ours.cost))


def spread(theirs: list[float], ours: list[float]) -> str:
    """The median of the ratios within each turn, and between what half of them lie."""
    ratios = [one / other for one, other in zip(theirs, ours, strict=True)]
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def measure_peer(peer: str, disk: Path, repeats: int) -> None:
    name, _, python = peer.partition("=")
    script = Path(__file__).with_name("shard_peers.py")
    folder = disk / name
    done = subprocess.run(
        [python, script, name, disk / "shards", folder, str(repeats)],
        env=os.environ | {"PYTHONPATH": str(script.parents[1]), "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    shutil.rmtree(folder)
    found = json.loads(done.stdout.splitlines()[-1])
    (wall, cost), (our_wall, our_cost) = found["theirs"], found["ours"]
    count = len(artsound.open(disk / "shards"))
    show(f"read raw: {name}", f"{found['raw']:,.0f} samples/s")
    show(f"decode 256² + 10 s at 16 kHz: {name}", f"{count / statistics.median(wall):,.1f}/s")
    show("  processor time", f"{1e3 * statistics.median(cost) / count:.1f} ms/sample")
    show(f"  ours / {name}", spread(wall, our_wall), "≥ 0.95")
    show("    by processor time", spread(cost, our_cost))


def measure_index(disk: Path, repeats: int) -> None:
    folder = disk / "index"
    folder.mkdir()
    sizes = {"jpg": 200_000, "mp3": 480_000, "json": 2_000}
    rows = []
    for number in range(ROWS):
        row, offset = {**fields(number), "shard": f"artsound-train-{number // 256:06d}.tar"}, 0
        for member, size in sizes.items():
            offset += 512
            row |= {f"{member}_offset": number % 256 * 700_000 + offset, f"{member}_size": size}
            offset += size
        rows.append(row)
    names = sorted({row["shard"] for row in rows})
    shards = [Shard(name, "train", 256, 256 * 700_000, "0" * 64, "0", "9") for name in names]
    write_index(folder, "benchmark", "", shards, to_table("index", rows))
    del rows
    artsound.open(folder)
    data = artsound.open(folder)
    opened = best(lambda: artsound.open(folder), repeats + 2, time.process_time)
    show(
        f"open an index of {len(data):,} rows",
        f"{opened * 1e3:.0f} ms",
        "≤ 200 ms of processor time",
    )
    filtered = best(
        lambda: data.filter(artwork_style="style 3", where="artwork_year < 1900 and score > 0.3"),
        5,
        time.process_time,
    )
    show(
        "filter it by a value and a condition",
        f"{filtered * 1e3:.1f} ms",
        "≤ 10 ms of processor time",
    )
    state = {**data.stream().state_dict(), "epoch": 3, "position": 77_777}

    def resume() -> None:
        stream = data.stream()
        stream.load_state_dict(state)
        next(stream.keys())

    data.pointers  # noqa: B018  opened once, as a job would
    show("resume anywhere in it", f"{best(resume, 3) * 1e3:.0f} ms", "≤ 100 ms")


def measure_http(folder: Path) -> None:
    with serving(folder) as (url, sent):
        start = time.perf_counter()
        data = artsound.open(url)
        next(iter(data.stream()))
        show("first sample over HTTP", f"{time.perf_counter() - start:.2f} s", "≤ 1 s")
        chosen = data.sample(max(1, len(data) // 100), seed=1)
        sent.clear()
        start = time.perf_counter()
        assert sum(1 for _ in chosen.stream()) == len(chosen)
        seconds = time.perf_counter() - start
        moved = sum(sent) / int(chosen.pointers.sizes.sum())
        urls = [f"{url}/{shard.name}" for shard in data.shards]
        wanted = set(chosen.pointers.keys.tolist())
        start = time.perf_counter()
        found = webdataset.WebDataset(
            [f"pipe:curl -s {address}" for address in urls], shardshuffle=False
        )
        assert sum(sample["__key__"] in wanted for sample in found) == len(chosen)
        scanned = time.perf_counter() - start
        show("random 1% over HTTP: bytes moved / bytes wanted", f"{moved:.3f}", "≤ 1.15")
        show("random 1% over HTTP: scanning / ours", f"{scanned / seconds:.1f}×", "≥ 20×")


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """A file server with byte ranges, and the bytes of every answer."""
    sent: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            path = folder / self.path.strip("/")
            size = path.stat().st_size
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            start, stop = (int(match[1]), int(match[2]) + 1) if match else (0, size)
            self.send_response(206 if match else 200)
            self.send_header("Content-Length", str(stop - start))
            self.end_headers()
            with path.open("rb") as file:
                self.wfile.flush()
                os.sendfile(self.connection.fileno(), file.fileno(), start, stop - start)
            sent.append(stop - start)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", sent
    finally:
        server.shutdown()


if __name__ == "__main__":
    main()
