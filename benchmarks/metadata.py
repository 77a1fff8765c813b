"""How fast the FMA's metadata is parsed and joined, against pandas on the same file.

    python benchmarks/metadata.py [--rows 106574] [--repeats 3]

Writes a table of the official layout and about the official size (made-up text), reads it with
`artsound.sources.fma.read_tracks` and as FMA's own examples do (pandas with a two-line header,
lists by `ast.literal_eval`), each in a process of its own, best of several, and prints seconds,
peak memory and the ratio. The limits are 10 s and 2 GB.
"""

from __future__ import annotations

import argparse
import ast
import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS = 106_574
COLUMNS = {
    "album": "comments date_created date_released engineer favorites id information listens "
    "producer tags title tracks type",
    "artist": "active_year_begin active_year_end associated_labels bio comments date_created "
    "favorites id latitude location longitude members name related_projects tags website "
    "wikipedia_page",
    "set": "split subset",
    "track": "bit_rate comments composer date_created date_recorded duration favorites genre_top "
    "genres genres_all information interest language_code license listens lyricist number "
    "publisher tags title",
}
LISTS = [(table, "tags") for table in ("album", "artist", "track")] + [
    ("track", "genres"),
    ("track", "genres_all"),
]


def write_metadata(folder: Path, rows: int) -> None:
    """tracks.csv and genres.csv with `rows` made-up tracks, about 2 kB each as in the original."""
    rng = random.Random(0)
    pairs = [(table, name) for table, names in COLUMNS.items() for name in names.split()]
    text = '<p>Some long text, with &amp; "quotes",\nand lines.</p> ' * 28
    folder.mkdir(parents=True)
    with (folder / "tracks.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", *(table for table, _ in pairs)])
        writer.writerow(["", *(name for _, name in pairs)])
        writer.writerow(["track_id", *("" for _ in pairs)])
        for number in range(rows):
            genres = rng.sample(range(1, 164), rng.randint(1, 4))
            cells = {
                ("artist", "bio"): text,
                ("album", "date_released"): f"{rng.randint(1990, 2017)}-01-05 00:00:00",
                ("album", "title"): f"Album {number // 8}",
                ("artist", "name"): f"Artist &amp; {number // 20}",
                ("artist", "id"): number // 20,
                ("set", "split"): rng.choice(["training"] * 8 + ["validation", "test"]),
                ("set", "subset"): "large",
                ("track", "genres"): str(genres),
                ("track", "genres_all"): str([*genres, 12]),
                ("track", "license"): "Attribution-NonCommercial-ShareAlike 3.0 International",
                ("track", "listens"): rng.randint(0, 100_000),
                ("track", "title"): f"Track {number}",
                **dict.fromkeys(LISTS[:3], "['lo-fi', 'live']" if number % 4 == 0 else "[]"),
            }
            writer.writerow([number + 2, *(cells.get(pair, "") for pair in pairs)])
    with (folder / "genres.csv").open("w", encoding="utf-8") as file:
        file.write("genre_id,#tracks,parent,title,top_level\n")
        file.writelines(
            f"{one},1,{one // 10},Genre {one},{one % 10 + 1}\n" for one in range(1, 164)
        )


def read_ours(root: Path) -> int:
    from artsound.sources.fma import list_fma, read_tracks

    return read_tracks(root, list_fma(root, "large"), "large", 2026).height


def read_pandas(root: Path) -> int:
    import pandas as pd

    tracks = pd.read_csv(root / "fma_metadata/tracks.csv", index_col=0, header=[0, 1])
    for column in LISTS:
        tracks[column] = tracks[column].map(ast.literal_eval)
    titles = pd.read_csv(root / "fma_metadata/genres.csv", index_col=0)["title"].to_dict()
    tracks["names"] = [[titles[one] for one in ids] for ids in tracks[("track", "genres_all")]]
    return len(tracks)


READERS = {"ours": read_ours, "pandas": read_pandas}


def measure(name: str, root: Path) -> dict[str, float]:
    """Seconds, and peak memory in GB, of one reader in a new process."""
    command = [sys.executable, __file__, "--read", name, "--root", str(root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--read", choices=READERS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        start = time.perf_counter()
        rows = READERS[options.read](options.root)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(json.dumps({"rows": rows, "seconds": seconds, "peak_gb": peak}))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_metadata(Path(folder) / "fma_metadata", options.rows)
        runs = {name: [] for name in READERS}
        for _ in range(options.repeats):
            for name, results in runs.items():
                results.append(measure(name, Path(folder)))
    best = {name: min(results, key=lambda run: run["seconds"]) for name, results in runs.items()}
    for name, run in best.items():
        print(f"{name:8} {run['seconds']:6.2f} s  {run['peak_gb']:5.2f} GB  {run['rows']:,} rows")
    print(f"ratio pandas / ours: {best['pandas']['seconds'] / best['ours']['seconds']:.2f}")
    print(
        f"ours against the limits: {best['ours']['seconds'] / 10:.2f} of 10 s, "
        f"{best['ours']['peak_gb'] / 2:.2f} of 2 GB"
    )


if __name__ == "__main__":
    main()
