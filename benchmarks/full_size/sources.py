"""ArtGraph and the FMA at the size of the real thing, in the layouts in which they are published.

    python benchmarks/full_size/sources.py --pairs 105884 --out rehearsal [--data ../shared/data]

Writes artgraph/ (an OGB folder with its zip of images) and fma/ (tables, and a zip of clips),
with as many usable clips as pairs are asked for and the faults of the real set in proportion:
clips without sound, clips too short, and the same bytes under several ids. What was written
before, for the same numbers and by the same version, is left as it is.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from full_size import large
from full_size.art_names import Artwork, artworks
from full_size.media import clip, picture
from full_size.track_rows import track_rows, write_genres, write_tracks

from artsound.storage import atomic_write, digest, read_json, write_json

Draw = Callable[[Sequence[int]], list[bytes]]  # numbers to the bytes of their media
VERSION = 2  # raised whenever the same numbers would give other files
PAIRS = 105_884
ARTWORKS = 116_475
# Of the FMA's 106,574 clips.
_BROKEN, _SHORT, _REPEATED = 162, 528, 937
_TRACKS = PAIRS + _BROKEN + _SHORT
_FAULTY_PICTURE = 1000  # one in so many is a web page, one is absent
_HTML = b"<!DOCTYPE html><html><title>404 Not Found</title></html>\n"
_BATCH = 512
ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def write_sources(out: Path, pairs: int, data: Path | None, *, large_media: bool = False) -> None:
    """artgraph/ and fma/ under `out`, for `pairs` usable clips: of a few kB, or of real size."""
    marker = out / "sources.json"
    key = digest(
        {"pairs": pairs, "real names": bool(data), "large": large_media, "version": VERSION}
    )
    if marker.is_file() and read_json(marker) == {"key": key}:
        return
    marker.unlink(missing_ok=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=context) as pool:
        write_fma(out / "fma", pairs, data, pool, large.clips if large_media else clips)
        drawn = large.pictures if large_media else pictures
        write_artgraph(out / "artgraph", round(pairs * ARTWORKS / PAIRS), data, pool, drawn)
    write_json(marker, {"key": key})


def write_fma(
    root: Path, pairs: int, data: Path | None, pool: ProcessPoolExecutor, draw: Draw
) -> None:
    """fma_metadata/ and fma_large.zip."""
    broken, short = (round(pairs * fault / PAIRS) for fault in (_BROKEN, _SHORT))
    rows = track_rows(pairs + broken + short, data)
    write_tracks(root / "fma_metadata" / "tracks.csv", rows)
    write_genres(root / "fma_metadata" / "genres.csv", data)
    ids = list(rows)
    names = [f"fma_large/{number // 1000:03d}/{number:06d}.mp3" for number in ids]
    plan = plan_clips(len(ids), broken, short)
    _write_zip(root / "fma_large.zip", names, over(pool, draw, plan), zipfile.ZIP_BZIP2)


def plan_clips(count: int, broken: int, short: int) -> list[int]:
    """What each of `count` clips holds: a melody's number, or -1 (nothing) or -2 (a few notes).

    Faults are spread evenly; as in the FMA, some clips repeat an earlier one's bytes.
    """
    plan = list(range(count))
    repeated = round(count * _REPEATED / _TRACKS)
    for number in range(repeated):
        place = 1 + number * (count - 1) // repeated
        plan[place] = plan[place - 1]
    faulty = broken + short
    for number in range(faulty):
        plan[number * count // faulty] = -1 if number % faulty < broken else -2
    return plan


def clips(numbers: Sequence[int]) -> list[bytes]:
    """The bytes of some clips."""
    return [b"" if n == -1 else clip(0, 5.0) if n == -2 else clip(n) for n in numbers]


def pictures(numbers: Sequence[int]) -> list[bytes]:
    """The bytes of some pictures, -1 being a web page."""
    return [_HTML if number < 0 else picture(number) for number in numbers]


def write_artgraph(
    root: Path, count: int, data: Path | None, pool: ProcessPoolExecutor, draw: Draw
) -> None:
    """mapping/, raw/ and imagesf2.zip."""
    works = artworks(count, data / "reference" if data else None)
    _write_graph(root, works)
    there = [n for n in range(count) if n % _FAULTY_PICTURE != 1]
    plan = [-1 if n % _FAULTY_PICTURE == 2 else n for n in there]
    names = [f"imagesf2/{works[n].file}" for n in there]
    _write_zip(root / "imagesf2.zip", names, over(pool, draw, plan))


def _write_graph(root: Path, works: Sequence[Artwork]) -> None:
    relations: tuple[tuple[str, str, Callable[[Artwork], tuple[str, ...]]], ...] = (
        ("createdby", "artist", lambda work: (work.painter,)),
        ("hasstyle", "style", lambda work: (work.style,)),
        ("hasgenre", "genre", lambda work: (work.genre,)),
        ("about", "tag", lambda work: work.tags),
        ("madeof", "media", lambda work: work.media),
        ("elicit", "emotion", lambda work: work.emotions),
    )
    _rows(root / "mapping" / "artwork_entidx2name.csv", enumerate(w.file for w in works))
    for relation, node, related in relations:
        names = sorted({name for work in works for name in related(work)})
        place = {name: number for number, name in enumerate(names)}
        _rows(root / "mapping" / f"{node}_entidx2name.csv", enumerate(names))
        edges = [(n, place[name]) for n, work in enumerate(works) for name in related(work)]
        _rows(root / "raw" / "relations" / f"artwork___{relation}___{node}" / "edge.csv", edges)
    schools = sorted({work.school for work in works if work.school})
    painters = sorted({work.painter for work in works})
    of_painter = {work.painter: schools.index(work.school) for work in works if work.school}
    _rows(root / "mapping" / "training_entidx2name.csv", enumerate(schools))
    _rows(
        root / "raw" / "relations" / "artist___training___training" / "edge.csv",
        [(n, of_painter[name]) for n, name in enumerate(painters) if name in of_painter],
    )


def _rows(path: Path, rows: Iterable[tuple[object, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def over(pool: ProcessPoolExecutor, make: Draw, plan: Sequence[int]) -> Iterator[bytes]:
    """What `make` gives for all of `plan`, in order, a few batches ahead in other processes."""
    batches = [plan[start : start + _BATCH] for start in range(0, len(plan), _BATCH)]
    for first in range(0, len(batches), 8):  # so that memory stays small
        for made in pool.map(make, batches[first : first + 8]):
            yield from made


def _write_zip(
    path: Path, names: Sequence[str], files: Iterable[bytes], method: int = zipfile.ZIP_STORED
) -> None:
    """A zip, stored since media do not shrink, or packed with BZIP2 as the FMA's are."""
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, date, data in zip(names, repeat(ZIP_DATE), files, strict=False):
            entry = zipfile.ZipInfo(name, date)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, data, method)


def main() -> None:
    """Write the sources."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="the folder that holds reference/ and fma/")
    options = parser.parse_args()
    write_sources(options.out, options.pairs, options.data)


if __name__ == "__main__":
    main()
