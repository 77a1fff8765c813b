"""What BZIP2 costs: pulling members by range against bare bz2 and transfer, and ingest from a zip.

    python benchmarks/bzip2_pull.py [--clips 100] [--repeats 3]

The zip holds clips of the FMA from ../shared/data, over and over (without them, synthetic ones of
30 s at 256 kbit/s), packed as the FMA packs its own, on an nginx on loopback (Debian: nginx-light).

- By range: all members, against the same bytes of the zip in ranges of 8 MiB over as many threads,
  and `bz2.decompress` of every member, nothing checked.
- Ingest: what one part does for each clip (read from the zip, decode, measure, check, digest),
  against `bz2.decompress` and a bare soundfile loop.

Both sides take turns in one run, best of several. Ratios are of wall time and of processor time,
which other programs disturb less; memory is the peak after a quarter of the members and after all.
"""

from __future__ import annotations

import argparse
import bz2
import io
import os
import resource
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
import soundfile
from full_size.media_rates import real_clips
from media_checks import write_clip

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "sources"))

from nginx_server import nginx

from artsound.media.audio import check_audio
from artsound.processes import keep_freed_memory, one_blas_thread
from artsound.sources.files import LOCAL_HEADER, ZipMember, list_files, read_file
from artsound.sources.http import Client
from artsound.sources.remote_zip import RemoteZip, open_remote_zip
from artsound.storage import sha256_bytes

REAL_CLIPS = Path(__file__).resolve().parents[2] / "shared" / "data" / "fma" / "fma_large"
_RANGE = 8 << 20
_THREADS = 8


def write_zip(path: Path, count: int) -> str:
    """A zip of `count` clips, packed with BZIP2; whose clips they are."""
    clips, whose = real_clips(REAL_CLIPS), "original clips of the FMA"
    if not clips:
        whose = "synthetic clips"
        for seed in range(10):
            write_clip(path.with_suffix(".mp3"), seed)
            clips.append(path.with_suffix(".mp3").read_bytes())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        for number in range(count):
            name = f"fma_large/{number // 1000:03d}/{number:06d}.mp3"
            archive.writestr(name, clips[number % len(clips)])
    return whose


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


def pull(archive: RemoteZip, names: Collection[str]) -> None:
    for _, data in archive.read(names, limit=1 << 26, connections=_THREADS):
        if not isinstance(data, bytes):
            raise data


def bare_ingest(path: Path, members: list[ZipMember]) -> None:
    with path.open("rb") as file:
        for member in members:
            file.seek(member.offset + LOCAL_HEADER.size + len(member.stored_name))
            soundfile.read(io.BytesIO(bz2.decompress(file.read(member.packed))), dtype="float32")


def ingest(path: Path, names: Collection[str]) -> None:
    for name in names:
        data = read_file(path, "", name)
        check_audio(data, min_seconds=10.0, silence_db=-60.0)
        sha256_bytes(data)


def ratios(repeats: int, ours: Callable[[], None], bare: Callable[[], None]) -> str:
    """Wall and processor time of the bare way as multiples of ours, the best of each in turn."""
    times: list[list[tuple[float, float]]] = [[], []]
    for _ in range(repeats):
        for run, taken in zip((ours, bare), times, strict=True):
            began = time.perf_counter(), time.process_time()
            run()
            taken.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    (wall, cpu), (bare_wall, bare_cpu) = (map(min, zip(*taken, strict=True)) for taken in times)
    return f"{bare_wall / wall:.2f} of wall time, {bare_cpu / cpu:.2f} of processor time"


def peak() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Compare, and print both ratios and the peaks of memory."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    one_blas_thread()  # as the build's workers do
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        path = root / "fma_large.zip"
        whose = write_zip(path, options.clips)
        names = list_files(path)["name"].to_list()
        with nginx(root, Path(folder) / "nginx") as server:
            url = f"{server.url}/fma_large.zip"
            client = Client(allow_private_hosts=True)
            archive = open_remote_zip(url, cache=Path(folder), client=client)
            members = list(archive.members.values())
            pull(archive, names[: len(names) // 4])
            quarter = peak()
            pull(archive, names)
            whole = peak()
            by_range = ratios(
                options.repeats, lambda: pull(archive, names), lambda: bare_pull(url, members)
            )
        from_zip = ratios(
            options.repeats, lambda: ingest(path, names), lambda: bare_ingest(path, members)
        )
    load = os.getloadavg()[0] / len(os.sched_getaffinity(0))
    print(f"{options.clips} {whose}, {load:.1f} programs running for each processor")
    print(f"by range, ratio to bare: {by_range} (wanted: 0.9)")
    print(f"ingest, ratio to bare: {from_zip} (wanted: 0.9)")
    print(f"memory: {quarter:.0f} MiB after a quarter of the members, {whole:.0f} MiB after all")


if __name__ == "__main__":
    main()
