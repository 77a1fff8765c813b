"""How streams behave: threads beside worker processes, mixtures, states, and memory.

    python benchmarks/streams.py [--samples 256] [--workers 2] [--repeats 5] [--only threads mix …]

Each figure is a median of `--repeats` turns, in which both sides of a ratio are measured one after
the other, on samples of the usual size (a picture of 1024 × 768 pixels and an MP3 of 30 s):

- threads: an epoch of decoded samples (256 × 256 pixels, 10 s of sound) from `loader(threads=N)`,
  from `loader(workers=N)` and from workers that are spawned in place of forked, each in a process
  of its own: samples a second, the time from `iter(loader)` to the first batch, and by how much
  the memory of the process and its children grows beyond that of the process before `iter`. Memory
  is the sum of their PSS (pages that processes share are counted once), and the most of what is
  found at each batch; libraries are loaded before, by one batch decoded without a loader.
- mix: samples a second of a mixture of two halves beside those of the plain stream, undecoded.
- state: the first state, any other, and continuing at a random place, in 10,000,000 samples.
- memory: of a process of its own after 5 and after 60 epochs with 2 threads.

Processor time is printed beside wall time, since the latter depends on what else is running.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from shards import make_samples, resident, show, write_ours

import artsound
from artsound.shards.dataset import Dataset
from artsound.shards.format import Shard
from artsound.shards.index import IndexTable, SampleLocations
from artsound.shards.store import LocalStore

BATCH = 16
DECODE = {"image_size": 256, "audio_seconds": 10.0, "sample_rate": 16_000}
MANY = 10_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=["threads", "mix", "state", "memory"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "shards"
        if set(options.only) - {"state"}:
            write_ours(folder, make_samples(options.samples))
        if "threads" in options.only:
            measure_threads(folder, options.workers, options.repeats)
        if "mix" in options.only:
            measure_mixture(folder, options.repeats)
        if "state" in options.only:
            measure_states(options.repeats)
        if "memory" in options.only:
            measure_memory(folder)


def one_epoch(folder: str, kind: str, count: str) -> dict[str, float]:
    """Read a decoded epoch; `kind` is workers, spawned workers or threads."""
    data = artsound.open(folder)
    stream = data.stream(batch_size=BATCH, decode=DECODE)
    next(iter(stream))  # loads the libraries that decode
    before, used = memory_of_tree(), processor_time()
    start = time.perf_counter()
    if kind == "threads":
        loader = stream.loader(threads=int(count))
    else:
        start_by = "spawn" if kind == "spawned workers" else "fork"
        loader = stream.loader(workers=int(count), multiprocessing_context=start_by)
    batches = iter(loader)
    next(batches)
    first = time.perf_counter() - start
    most = memory_of_tree()
    for _ in batches:
        most = max(most, memory_of_tree())
    wall = time.perf_counter() - start
    del batches
    return {
        "first": first,
        "rate": len(data) / wall,
        "memory": most - before,
        "whole": most,
        "cost": (processor_time() - used) / len(data),
    }


def processor_time() -> float:
    """Of this process and its children that have ended, in seconds."""
    return sum(os.times()[:4])


def memory_of_tree() -> float:
    """Bytes of this process and its children, shared pages counted once (PSS)."""
    own = os.getpid()
    children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
    found = 0
    for process in (str(own), *children):
        with contextlib.suppress(OSError):  # a worker may have ended
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    found += int(line.split()[1]) * 1024
    return float(found)


def measure_threads(folder: Path, count: int, repeats: int) -> None:
    kinds = ("workers", "spawned workers", "threads")
    turns: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(repeats):
        for kind, found in turns.items():
            found.append(in_a_process("one_epoch", folder, kind, count))

    def of(kind: str, what: str) -> float:
        return statistics.median(turn[what] for turn in turns[kind])

    for kind in turns:
        show(f"decoded: {count} {kind}", f"{of(kind, 'rate'):.1f} samples/s")
        show("  processor time", f"{1e3 * of(kind, 'cost'):.1f} ms/sample")
        show("  first batch", f"{of(kind, 'first'):.3f} s")
        show("  memory beside that of the process before; whole",
             f"{of(kind, 'memory') / 1e6:.0f}; {of(kind, 'whole') / 1e6:.0f} MB")  # fmt: skip
    ratio = of("threads", "rate") / of("workers", "rate")
    show("threads / workers: samples a second", f"{ratio:.2f}", "≥ 0.95")
    show("  by processor time", f"{of('workers', 'cost') / of('threads', 'cost'):.2f}")
    ratio = of("threads", "memory") / of("workers", "memory")
    show("threads / workers: memory beside the process's", f"{ratio:.2f}", "≤ 0.6")
    for kind in ("workers", "spawned workers"):
        ratio = of(kind, "first") / of("threads", "first")
        show(f"{kind} / threads: time to the first batch", f"{ratio:.1f}", "≥ 5")


def cost(run: Callable[[], Any]) -> float:
    """Processor time of a call, in seconds."""
    start = time.process_time()
    run()
    return time.process_time() - start


def measure_mixture(folder: Path, repeats: int) -> None:
    data = artsound.open(folder)
    half = len(data) // 2
    mixture = artsound.mix([(data[:half], 1), (data[half:], 1)], epoch=len(data), seed=1)

    def read(stream: Any) -> Callable[[], None]:
        def epochs() -> None:
            loader = stream.loader()
            for _ in range(4):
                assert sum(1 for _ in loader) == len(data)

        return epochs

    plain, mixed = read(data.stream(seed=1)), read(mixture.stream())
    plain(), mixed()
    ratios = [cost(plain) / cost(mixed) for _ in range(repeats)]
    show(
        "mixed / plain: samples per processor second", f"{statistics.median(ratios):.2f}", "≥ 0.95"
    )


def many_samples() -> Dataset:
    """A dataset of many samples, none of which is there to be read."""
    digits = np.arange(MANY)[:, None] // 10 ** np.arange(7, -1, -1) % 10 + ord("0")
    keys = np.ascontiguousarray(digits.astype(np.uint32)).view("U8").ravel()
    shard, within = np.divmod(np.arange(MANY), 1000)
    shards = tuple(Shard(f"s-{n:06}.tar", "train", 1000, 10**8, "", "", "")
                   for n in range(MANY // 1000))  # fmt: skip
    places = SampleLocations(
        shards, ("json",), keys, shard, within[:, None] * 1024, np.full((MANY, 1), 500), ours=False
    )
    table = IndexTable.of(pl.DataFrame({"n": np.zeros(MANY, np.int8)}))
    store = LocalStore(Path("nowhere"))
    return Dataset(store, "many", "", "", shards, table, places, np.arange(MANY))


def state_times(data: Dataset, turn: int) -> tuple[float, float, float]:
    """Processor time of the first state, of another, and of continuing at a random place."""
    fresh = replace(data, locations=replace(data.locations))  # nothing of it computed so far
    stream = fresh.stream(seed=turn)
    first, later = cost(stream.state_dict), cost(stream.state_dict)
    state = stream.state_dict() | {"epoch": turn, "position": random.Random(turn).randrange(MANY)}

    def resume() -> None:
        stream.load_state_dict(state)
        next(stream.keys())

    return first, later, cost(resume)


def measure_states(repeats: int) -> None:
    data = many_samples()
    times = np.median([state_times(data, turn) for turn in range(repeats)], axis=0)
    whats = ("first state", "any other state", "resume at a random place")
    for what, seconds in zip(whats, times, strict=True):
        show(f"{what} of {MANY:,} samples", f"{1e3 * seconds:.1f} ms", "≤ 200 ms")


def memory_over_epochs(folder: str) -> list[float]:
    """Memory of this process after 5 and after 60 epochs, in bytes."""
    loader = artsound.open(folder).stream(batch_size=BATCH).loader(threads=2)
    found = []
    for epoch in range(1, 61):
        for _ in loader:
            pass
        if epoch in (5, 60):
            found.append(resident())
    return found


def measure_memory(folder: Path) -> None:
    before, after = in_a_process("memory_over_epochs", folder)
    show("memory after 5 epochs; after 60", f"{before / 1e6:.0f}; {after / 1e6:.0f} MB", "flat")


def in_a_process(function: str, *arguments: Any) -> Any:
    """What a function of this file gives in a new process."""
    # Given by -c, this file is not imported once more by workers that are spawned there.
    job = f"import json, sys, streams; print(json.dumps(streams.{function}(*sys.argv[1:])))"
    done = subprocess.run(
        [sys.executable, "-c", job, *map(str, arguments)],
        stdout=subprocess.PIPE, check=True, text=True, cwd=Path(__file__).parent,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
