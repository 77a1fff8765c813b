"""What BZIP2 costs: pulling members by range against bare bz2 and transfer, reading a zip on disk.

    python benchmarks/bzip2_pull.py [--clips 400] [--kilobytes 480] [--repeats 3]

Members are random bytes, as hard to pack as MP3, in a zip packed as the FMA packs its own, on an
nginx on loopback (Debian: nginx-light). Bare: the same bytes of the zip in ranges of 8 MiB over
as many threads, and `bz2.decompress` of every member, nothing checked. Both in one run, best of
several.
"""

from __future__ import annotations

import argparse
import bz2
import random
import resource
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "sources"))

from nginx_server import nginx

from artsound.sources.files import LOCAL_HEADER, ZipMember, list_files, read_file
from artsound.sources.http import Client
from artsound.sources.remote_zip import RemoteZip, open_remote_zip

_RANGE = 8 << 20
_THREADS = 8


def write_zip(path: Path, clips: int, size: int) -> None:
    """A zip of `clips` members of `size` random bytes, packed with BZIP2."""
    source = random.Random(0)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        for number in range(clips):
            name = f"fma_large/{number // 1000:03d}/{number:06d}.mp3"
            archive.writestr(name, source.randbytes(size))


def bare_pull(url: str, members: list[ZipMember]) -> None:
    """The members in ranges of 8 MiB, unpacked by bz2 and by nothing else."""
    per_range = max(1, _RANGE // members[0].packed)
    groups = [members[start : start + per_range] for start in range(0, len(members), per_range)]

    def one(group: list[ZipMember]) -> None:
        start, end = group[0].offset, group[-1].end
        answer = requests.get(url, headers={"Range": f"bytes={start}-{end - 1}"}, timeout=60)
        whole = memoryview(answer.content)
        for member in group:
            first = member.offset - start + LOCAL_HEADER.size + len(member.stored_name)
            bz2.decompress(whole[first : first + member.packed])

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(one, groups))


def pull(archive: RemoteZip) -> None:
    for _, data in archive.read(archive.members, limit=1 << 26, connections=_THREADS):
        if not isinstance(data, bytes):
            raise data


def bare_read(path: Path, members: list[ZipMember]) -> None:
    data = path.read_bytes()
    for member in members:
        first = member.offset + LOCAL_HEADER.size + len(member.stored_name)
        bz2.decompress(data[first : first + member.packed])


def read(path: Path) -> None:
    for name in list_files(path)["name"]:
        read_file(path, "", name)


def best(repeats: int, *runs: Callable[[], None]) -> list[float]:
    """The shortest time of each of several runs, taken in turn."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, taken in zip(runs, times, strict=True):
            began = time.perf_counter()
            run()
            taken.append(time.perf_counter() - began)
    return [min(taken) for taken in times]


def main() -> None:
    """Compare, and print both ratios and the peak of memory."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--kilobytes", type=int, default=480)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        path = root / "fma_large.zip"
        write_zip(path, options.clips, options.kilobytes * 1000)
        with nginx(root, Path(folder) / "nginx") as server:
            url = f"{server.url}/fma_large.zip"
            archive = open_remote_zip(
                url, cache=Path(folder), client=Client(allow_private_hosts=True)
            )
            members = list(archive.members.values())
            ours, bare = best(
                options.repeats, lambda: pull(archive), lambda: bare_pull(url, members)
            )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        local, bunzip2 = best(options.repeats, lambda: read(path), lambda: bare_read(path, members))
    count = options.clips
    print(
        f"by range: {count / ours:.0f} clips/s, bare {count / bare:.0f}: ratio {bare / ours:.2f} "
        f"(wanted: 0.9); peak of memory {peak:.0f} MiB"
    )
    print(
        f"from disk: {count / local:.0f} clips/s, bare bunzip2 {count / bunzip2:.0f}: ratio "
        f"{bunzip2 / local:.2f} (wanted: 0.9)"
    )


if __name__ == "__main__":
    main()
