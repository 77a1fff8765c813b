"""How many samples a job loses and sees twice when it is stopped and resumed, system by system.

    python benchmarks/stream_truth.py [artsound torchdata webdataset datasets]

240 samples in 12 shards are read by some ranks, stopped after some batches and continued, on the
same or other numbers of ranks and workers, as each system's documentation says: by its state, or
where it has none (webdataset) by skipping as many batches over all ranks. Counted are samples of
the epoch that no rank saw (lost) and those seen more often than without the stop (doubled), as a
Markdown table. Ranks run one after another in this process: none of the systems lets them talk to
each other.
"""

from __future__ import annotations

import itertools
import os
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


SYSTEMS = {
    "artsound": ours, "torchdata": in_torchdata, "webdataset": in_webdataset,
    "datasets": in_datasets,
}  # fmt: skip


def table(folder: Path, names: list[str], some: list[Case]) -> str:
    """Lost and doubled samples, summed over the stops, or "error" where a system raises one."""
    rows: dict[tuple[Any, ...], dict[str, list[Any]]] = {}
    for case, name in itertools.product(some, names):
        row = rows.setdefault((case.kind, case.begin, case.resume), {}).setdefault(name, [])
        try:
            row.append(count(folder, SYSTEMS[name], case))
        except Exception as error:  # noqa: BLE001  whatever a system raises is its answer
            row.append(type(error).__name__)
            print(f"{name} {case}: {error!s:.200}", file=sys.stderr)
    lines = ["| samples | ranks | workers | " + " | ".join(names) + " |"]
    lines.append("|---" * (3 + len(names)) + "|")
    for (kind, begin, resume), found in rows.items():
        shown = [_shown(found[name]) for name in names]
        ranks, workers = (f"{a} → {b}" for a, b in zip(begin, resume, strict=True))
        lines.append(f"| {kind} | {ranks} | {workers} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _shown(found: list[Any]) -> str:
    if any(isinstance(one, str) for one in found):
        return "error"
    lost, doubled = (sum(part) for part in zip(*found, strict=True))
    return f"{lost} lost, {doubled} doubled" if lost or doubled else "0, 0"


def main() -> None:
    names = sys.argv[1:] or list(SYSTEMS)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        print(table(write_samples(Path(place) / "shards"), names, cases()))


if __name__ == "__main__":
    main()
