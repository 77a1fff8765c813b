"""Whether ingest's memory stays flat as items grow: peak resident memory at two sizes.

    python benchmarks/ingest_memory.py [--small 2000] [--large 20000]

Writes sources of so many artworks and as many tracks (tiny, no two alike), runs the ingest stage
on each in a process of its own, part after part, and prints both peaks, their ratio, and the
bytes that each further item costs. What may grow is the catalogue itself (ids, digests,
fingerprints), never the media.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def write_sources(folder: Path, count: int) -> None:
    """ArtGraph and the FMA with `count` items each: small pictures, clips of ten seconds."""
    import numpy as np
    import soundfile
    from PIL import Image

    rng = np.random.default_rng(0)

    def picture() -> bytes:
        file = io.BytesIO()
        coarse = Image.fromarray(rng.integers(0, 255, (6, 7, 3), dtype=np.uint8))
        coarse.resize((128, 128), Image.Resampling.BICUBIC).save(file, "JPEG")
        return file.getvalue()

    def clip() -> bytes:
        file = io.BytesIO()
        soundfile.write(file, rng.normal(0, 0.1, 81_000).astype(np.float32), 8_000, format="MP3")
        return file.getvalue()

    images, mapping = folder / "artgraph" / "imagesf2", folder / "artgraph" / "mapping"
    metadata, audio = folder / "fma" / "fma_metadata", folder / "fma" / "fma_large"
    for made in (images, mapping, metadata):
        made.mkdir(parents=True)
    with (mapping / "artwork_entidx2name.csv").open("w", newline="") as names:
        for number in range(count):
            names.write(f"{number},painter-{number // 50}_work-{number}-1800.jpg\n")
            (images / f"painter-{number // 50}_work-{number}-1800.jpg").write_bytes(picture())
    columns = (
        "album.title", "artist.name", "artist.id", "set.split", "set.subset", "track.genre_top",
        "track.genres", "track.license", "track.title",
    )  # fmt: skip
    with (metadata / "tracks.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", *(column.split(".")[0] for column in columns)])
        writer.writerow(["", *(column.split(".")[1] for column in columns)])
        writer.writerow(["track_id", *("" for _ in columns)])
        for number in range(count):
            row = ["Album", f"Artist {number // 20}", number // 20, "training", "large", "Rock"]
            writer.writerow([number, *row, "[12]", "Attribution", f"Track {number}"])
            path = audio / f"{number // 1000:03d}" / f"{number:06d}.mp3"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(clip())
    (metadata / "genres.csv").write_text(
        "genre_id,#tracks,parent,title,top_level\n12,1,0,Rock,12\n"
    )


def measure(count: int) -> dict[str, float]:
    """Peak memory in bytes, and items, of one ingest."""
    from artsound.recipe import Recipe
    from artsound.sources.ingest import STAGE
    from artsound.stage import run_stage
    from artsound.storage import Workspace

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Written by another process: only ingest's own memory counts here.
        command = [sys.executable, __file__, "--write", str(folder), "--small", str(count)]
        subprocess.run(command, check=True)
        places = {"artgraph": str(folder / "artgraph"), "fma": str(folder / "fma")}
        recipe = Recipe().replaced(sources=places)
        report = run_stage(STAGE, Workspace(folder / "out"), recipe)
        return {"items": report.items_out, "peak": report.peak_memory, "seconds": report.seconds}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--small", type=int, default=2_000)
    parser.add_argument("--large", type=int, default=20_000)
    parser.add_argument("--measure", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--write", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        write_sources(Path(given.write), given.small)
        return
    if given.measure:
        print(json.dumps(measure(given.measure)))
        return
    found = []
    for count in (given.small, given.large):
        command = [sys.executable, __file__, "--measure", str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        one = found[-1]
        print(
            f"{one['items']:>9,} items  peak {one['peak'] / 1e6:6.0f} MB  {one['seconds']:6.1f} s"
        )
    small, large = found
    more = (large["peak"] - small["peak"]) / (large["items"] - small["items"])
    print(
        f"peak memory ratio {large['peak'] / small['peak']:.2f}, {more:,.0f} bytes a further item"
    )


if __name__ == "__main__":
    main()
