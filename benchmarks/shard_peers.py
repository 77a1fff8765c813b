"""The same samples in the formats of mosaicml-streaming and litdata, read raw and decoded.

    python benchmarks/shard_peers.py {mosaicml,litdata} SHARDS FOLDER REPEATS

Run by benchmarks/shards.py with the interpreter of an environment that has the peer. Rewrites
the samples of SHARDS in the peer's own format under FOLDER, reads them from a warm page cache,
and prints as one line of JSON samples per second raw, the best of REPEATS, and the seconds that
decoding takes with the peer and with this project, which take turns.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from decoding import BATCH, OPTIONS, in_turns
from torch.utils.data import DataLoader, default_collate

import artsound
from artsound.shards.decode import decode


def decoded(batch: list[dict[str, Any]]) -> dict[str, Any]:
    """Runs in the workers: what a transform of the dataset would do there."""
    members = ("key", "jpg", "mp3")
    return default_collate(
        [decode({name: sample[name] for name in members}, OPTIONS) for sample in batch]
    )


def raw_sample(data: artsound.shards.dataset.Dataset, number: int) -> dict[str, Any]:
    sample = data.read(number)
    return {**sample, "json": json.dumps(sample["json"])}


def write_mosaicml(shards: Path, folder: Path) -> None:
    from streaming import MDSWriter

    data = artsound.open(shards)
    columns = {"key": "str", "jpg": "bytes", "mp3": "bytes", "json": "str"}
    with MDSWriter(out=str(folder), columns=columns) as writer:
        for number in range(len(data)):
            writer.write(raw_sample(data, number))


def open_mosaicml(folder: Path) -> Iterable[dict[str, Any]]:
    from streaming import StreamingDataset

    return StreamingDataset(local=str(folder), shuffle=False, batch_size=BATCH)


class _Row:
    """Gives litdata's workers one sample of a dataset that each of them opens itself."""

    def __init__(self, shards: Path) -> None:
        self.shards = shards

    def __call__(self, number: int) -> dict[str, Any]:
        return raw_sample(artsound.open(self.shards), number)


def write_litdata(shards: Path, folder: Path) -> None:
    import litdata

    litdata.optimize(
        fn=_Row(shards), inputs=list(range(len(artsound.open(shards)))), output_dir=str(folder),
        chunk_bytes="64MB", num_workers=1,
    )  # fmt: skip


def open_litdata(folder: Path) -> Iterable[dict[str, Any]]:
    import litdata

    return litdata.StreamingDataset(str(folder), shuffle=False)


PEERS = {
    "mosaicml": (write_mosaicml, open_mosaicml),
    "litdata": (write_litdata, open_litdata),
}


def rate(count: int, read: Callable[[], int], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        assert read() == count
        times.append(time.perf_counter() - start)
    return count / min(times)


def main() -> None:
    if len(sys.argv) == 1:
        print("`shards.py --peer mosaicml=PYTHON litdata=PYTHON` runs this.")
        return
    peer, shards, folder, repeats = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    write, open_ = PEERS[peer]
    write(shards, folder)
    count = len(artsound.open(shards))

    def loaded() -> int:
        loader = DataLoader(
            open_(folder), batch_size=BATCH, num_workers=os.cpu_count() or 1, collate_fn=decoded
        )
        return sum(len(batch["key"]) for batch in loader)

    def ours() -> int:
        stream = artsound.open(shards).stream(batch_size=BATCH, shuffle=False, decode=OPTIONS)
        return sum(len(batch["key"]) for batch in stream.loader(workers=os.cpu_count() or 1))

    raw = rate(count, lambda: sum(1 for _ in open_(folder)), int(repeats))
    times = in_turns({"theirs": loaded, "ours": ours}, int(repeats))
    print(json.dumps({"raw": raw, "theirs": times["theirs"], "ours": times["ours"]}))


if __name__ == "__main__":
    main()
