"""How many samples a job loses and sees twice when it is stopped and resumed, system by system.

    python benchmarks/stream_truth.py [artsound torchdata webdataset datasets mosaicml=PYTHON …]

A name may be given with the interpreter of an environment that has the system, where its pins do
not fit this project's: mosaicml (mosaicml-streaming) and litdata.

240 samples in 12 shards are read by some ranks, stopped after some batches and continued, on the
same or other numbers of ranks and workers, as each system's documentation says: by its state, or
where it has none (webdataset) by skipping as many batches over all ranks. Counted are samples of
the epoch that no rank saw (lost) and those seen more often than without the stop (doubled), as a
Markdown table. Ranks run one after another in this process, each as a node of its own: none of the
systems lets them talk to each other. "–" is what a system does not offer: mosaicml-streaming and
litdata have no filter.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import artsound
from artsound.shards.external import index_folder
from artsound.shards.format import write_shard

SHARDS, EACH, BATCH = 12, 20, 4
STOPS = (3, 9)  # batches of each rank
WORLDS = ((1, 1), (2, 2), (2, 1), (1, 3))  # ranks before and after the stop
WORKERS = ((0, 0), (2, 2), (2, 3))
KINDS = ("plain", "filter", "mix")


@dataclass(frozen=True)
class Case:
    """One job that is stopped and resumed; `begin` and `resume` are (ranks, workers)."""

    kind: str
    stop: int
    begin: tuple[int, int]
    resume: tuple[int, int]


Batches = Iterator[tuple[list[str], Callable[[], Any]]]  # keys, and what gives the state after them


def cases() -> list[Case]:
    """Every stop in every world with every number of workers."""
    return [
        Case(kind, stop, (before, first), (after, second))
        for kind, stop, (before, after), (first, second) in itertools.product(
            KINDS, STOPS, WORLDS, WORKERS
        )
    ]


def write_samples(folder: Path) -> Path:
    """The shards, with one small member a sample and a label by which to filter."""
    folder.mkdir(parents=True)
    for shard in range(SHARDS):
        numbers = range(shard * EACH, (shard + 1) * EACH)
        samples = [(f"{n:06}", {"json": b'{"label": %d}' % (n % 2)}) for n in numbers]
        write_shard(folder / f"s-{shard:02}.tar", "train", samples)
    index_folder(folder)
    return folder


def wanted(kind: str, key: str) -> bool:
    return kind != "filter" or int(key) % 2 == 0


def count(folder: Path, job: Any, case: Case) -> tuple[int, int]:
    """Samples lost and doubled by one job; ValueError or BadUsage where the system refuses it."""
    found: Counter[str] = Counter()
    states = []
    ranks, workers = case.begin
    for rank in range(ranks):
        batches = job(folder, case, None, rank, ranks, workers)
        for _ in range(case.stop):
            keys, state = next(batches)
            found.update(keys)
        states.append(state())
        batches.close()
    ranks, workers = case.resume
    for rank in range(ranks):
        state = states[rank % len(states)]
        for keys, _ in job(folder, case, state, rank, ranks, workers):
            found.update(keys)
    expected: Counter[str] = Counter()
    for keys, _ in job(folder, case, None, 0, 1, 0):  # one rank that is never stopped
        expected.update(keys)
    return (expected - found).total(), (found - expected).total()


def ours(folder: Path, case: Case, state: Any, rank: int, ranks: int, workers: int) -> Batches:
    """`Stream.loader` with processes; threads where there are none."""
    options = {"batch_size": BATCH, "seed": 1, "rank": rank, "ranks": ranks}
    loader = _stream(folder, case, options).loader(workers=workers, threads=0 if workers else 2)
    if state is not None:
        loader.load_state_dict(state)
    for batch in loader:
        yield batch["key"], loader.state_dict


def in_torchdata(
    folder: Path, case: Case, state: Any, rank: int, ranks: int, workers: int
) -> Batches:
    """A stream in torchdata's StatefulDataLoader."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    options = {"batch_size": BATCH, "seed": 1, "rank": rank, "ranks": ranks, "epoch": 0}
    stream = _stream(folder, case, options)
    loader = StatefulDataLoader(stream, batch_size=None, num_workers=workers)
    if state is not None:
        loader.load_state_dict(state)
    for batch in loader:
        yield batch["key"], loader.state_dict


def _stream(folder: Path, case: Case, options: dict[str, Any]) -> Any:
    data = artsound.open(folder)
    if case.kind == "filter":
        data = data.filter(label=0)
    if case.kind == "mix":
        halves = data[: len(data) // 2], data[len(data) // 2 :]
        return artsound.mix([(halves[0], 3), (halves[1], 1)], epoch=len(data)).stream(**options)
    return data.stream(**options)


def in_webdataset(
    folder: Path, case: Case, state: Any, rank: int, ranks: int, workers: int
) -> Batches:
    """webdataset, which has no state: as many batches as were taken are skipped."""
    import webdataset

    paths = [str(path) for path in sorted(folder.glob("*.tar"))]
    os.environ["RANK"], os.environ["WORLD_SIZE"] = str(rank), str(ranks)
    try:

        def dataset(some: list[str]) -> Any:
            opened = webdataset.WebDataset(
                some, shardshuffle=SHARDS, seed=1, detshuffle=True,
                nodesplitter=webdataset.split_by_node, empty_check=False,
            ).shuffle(50, seed=1)  # fmt: skip
            return opened.select(lambda sample: wanted(case.kind, sample["__key__"]))

        source = dataset(paths)
        if case.kind == "mix":
            halves = dataset(paths[: SHARDS // 2]), dataset(paths[SHARDS // 2 :])
            source = webdataset.FluidWrapper(webdataset.RandomMix(halves, [3, 1]))
        keys = source.to_tuple("__key__")
        loader = webdataset.WebLoader(keys.batched(BATCH), batch_size=None, num_workers=workers)
        taken = (state or 0) * case.begin[0] // ranks
        for number, batch in enumerate(itertools.islice(iter(loader), taken, None), taken + 1):
            yield list(batch[0]), lambda number=number: number
    finally:
        del os.environ["RANK"], os.environ["WORLD_SIZE"]


def in_datasets(
    folder: Path, case: Case, state: Any, rank: int, ranks: int, workers: int
) -> Batches:
    """Hugging Face datasets, streaming, in torchdata's StatefulDataLoader as its guide says."""
    import datasets
    from datasets.distributed import split_dataset_by_node
    from torchdata.stateful_dataloader import StatefulDataLoader

    def dataset(first: int, last: int) -> Any:
        shards = list(range(first, last))
        made = datasets.IterableDataset.from_generator(_keys_of, gen_kwargs={"shards": shards})
        return made.filter(lambda row: wanted(case.kind, row["key"]))

    source = dataset(0, SHARDS)
    if case.kind == "mix":
        halves = [dataset(0, SHARDS // 2), dataset(SHARDS // 2, SHARDS)]
        source = datasets.interleave_datasets(halves, probabilities=[0.75, 0.25], seed=1)
    source = split_dataset_by_node(source.shuffle(seed=1, buffer_size=50), rank, ranks)
    loader = StatefulDataLoader(source, batch_size=BATCH, num_workers=workers)
    if state is not None:
        loader.load_state_dict(state)
    for batch in loader:
        yield list(batch["key"]), loader.state_dict


def _keys_of(shards: list[int]) -> Iterator[dict[str, str]]:
    for shard in shards:
        for number in range(shard * EACH, (shard + 1) * EACH):
            yield {"key": f"{number:06}"}


class NotOffered(Exception):
    """The system has nothing of this kind."""


@contextlib.contextmanager
def _world(rank: int, ranks: int) -> Iterator[None]:
    """The environment of one of several nodes with a process each."""
    names = {"RANK": rank, "GLOBAL_RANK": rank, "WORLD_SIZE": ranks, "NNODES": ranks,
             "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}  # fmt: skip
    os.environ.update({name: str(value) for name, value in names.items()})
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]


def in_mosaicml(
    folder: Path, case: Case, state: Any, rank: int, ranks: int, workers: int
) -> Batches:
    """mosaicml-streaming: StreamingDataset in its StreamingDataLoader."""
    import streaming
    from streaming.base import dataset, util

    # Nodes of one process each have nothing to wait for: no group of processes is made.
    dataset.maybe_init_dist = util.maybe_init_dist = lambda: False
    if case.kind == "filter":
        raise NotOffered
    places = [folder / "mosaicml" / part for part in ("first", "second")]
    for number, place in enumerate(places):
        if not place.exists():
            half = range(number * SHARDS // 2, (number + 1) * SHARDS // 2)
            with streaming.MDSWriter(
                out=str(place), columns={"key": "str"}, size_limit=EACH * 16
            ) as out:
                for row in _keys_of(list(half)):
                    out.write(row)
    with _world(rank, ranks):
        util.clean_stale_shared_memory()
        shares = (0.75, 0.25) if case.kind == "mix" else (None, None)
        streams = [
            streaming.Stream(local=str(place), proportion=share)
            for place, share in zip(places, shares, strict=True)
        ]
        source = streaming.StreamingDataset(
            streams=streams, shuffle=True, shuffle_seed=1, batch_size=BATCH,
            epoch_size=SHARDS * EACH if case.kind == "mix" else None,
        )  # fmt: skip
        loader = streaming.StreamingDataLoader(source, batch_size=BATCH, num_workers=workers)
        if state is not None:
            loader.load_state_dict(state)
        for batch in loader:
            yield list(batch["key"]), loader.state_dict


def in_litdata(
    folder: Path, case: Case, state: Any, rank: int, ranks: int, workers: int
) -> Batches:
    """litdata: StreamingDataset, or CombinedStreamingDataset, in its StreamingDataLoader."""
    import litdata

    if case.kind == "filter":
        raise NotOffered
    parts = {"whole": (0, SHARDS), "first": (0, SHARDS // 2), "second": (SHARDS // 2, SHARDS)}
    wanted_parts = ("first", "second") if case.kind == "mix" else ("whole",)
    for part in wanted_parts:
        place = folder / "litdata" / part
        if not place.exists():
            litdata.optimize(
                _key_of, list(range(parts[part][0] * EACH, parts[part][1] * EACH)), str(place),
                chunk_size=EACH, num_workers=1, start_method="fork",
            )  # fmt: skip
    with _world(rank, ranks):
        sources = [
            litdata.StreamingDataset(
                str(folder / "litdata" / part),
                shuffle=True,
                seed=1,
                drop_last=False,  # by default so on one rank alone, which no other may continue
            )
            for part in wanted_parts
        ]
        source: Any = sources[0]
        if case.kind == "mix":
            source = litdata.CombinedStreamingDataset(
                sources, seed=1, weights=(0.75, 0.25), iterate_over_all=False
            )
        loader = litdata.StreamingDataLoader(source, batch_size=BATCH, num_workers=workers)
        if state is not None:
            loader.load_state_dict(state)
        for batch in loader:
            yield list(batch["key"]), loader.state_dict


def _key_of(number: int) -> dict[str, str]:
    return {"key": f"{number:06}"}


SYSTEMS = {
    "artsound": ours, "torchdata": in_torchdata, "webdataset": in_webdataset,
    "datasets": in_datasets, "mosaicml": in_mosaicml, "litdata": in_litdata,
}  # fmt: skip
HERE = ("artsound", "torchdata", "webdataset", "datasets")  # by default: what the extra dev has


def found_by(name: str, folder: Path, some: list[Case]) -> list[Any]:
    """Lost and doubled samples of each case, or the name of what the system raised.

    `name` may be NAME=PYTHON, which counts in another environment.
    """
    system, _, python = name.partition("=")
    if python:
        done = subprocess.run(
            [python, __file__, "--cases", system], input=json.dumps([_plain(c) for c in some]),
            stdout=subprocess.PIPE, check=True, text=True,
        )  # fmt: skip
        found: list[Any] = json.loads(done.stdout.splitlines()[-1])
        return found
    results: list[Any] = []
    for case in some:
        try:
            results.append(count(folder, SYSTEMS[system], case))
        except Exception as error:  # noqa: BLE001  whatever a system raises is its answer
            results.append(type(error).__name__)
            print(f"{name} {case}: {type(error).__name__} {error!s:.200}", file=sys.stderr)
    return results


def _plain(case: Case) -> list[Any]:
    return [case.kind, case.stop, list(case.begin), list(case.resume)]


def table(folder: Path, names: list[str], some: list[Case]) -> str:
    """Lost and doubled samples, summed over the stops, or "error" where a system raises one."""
    rows: dict[tuple[Any, ...], dict[str, list[Any]]] = {}
    for name in names:
        for case, result in zip(some, found_by(name, folder, some), strict=True):
            row = rows.setdefault((case.kind, case.begin, case.resume), {})
            row.setdefault(name, []).append(result)
    heads = [name.partition("=")[0] for name in names]
    lines = ["| samples | ranks | workers | " + " | ".join(heads) + " |"]
    lines.append("|---" * (3 + len(names)) + "|")
    for (kind, begin, resume), found in rows.items():
        shown = [_shown(found[name]) for name in names]
        ranks, workers = (f"{a} → {b}" for a, b in zip(begin, resume, strict=True))
        lines.append(f"| {kind} | {ranks} | {workers} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _shown(found: list[Any]) -> str:
    if any(isinstance(one, str) for one in found):
        return "–" if found[0] == NotOffered.__name__ else "error"
    lost, doubled = (sum(part) for part in zip(*found, strict=True))
    return f"{lost} lost, {doubled} doubled" if lost or doubled else "0, 0"


def main() -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        folder = write_samples(Path(place) / "shards")
        if sys.argv[1:2] == ["--cases"]:
            some = [
                Case(kind, stop, tuple(a), tuple(b)) for kind, stop, a, b in json.load(sys.stdin)
            ]
            print("\n" + json.dumps(found_by(sys.argv[2], folder, some)))
        else:
            print(table(folder, sys.argv[1:] or list(HERE), cases()))


if __name__ == "__main__":
    main()
