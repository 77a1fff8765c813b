"""A whole release on this machine: real names, small synthetic media, every stage, every command.

    python benchmarks/rehearsal.py                              2,000 pairs, in a temporary folder
    python benchmarks/rehearsal.py --pairs 105884 --out rehearsal      the full size

Writes ArtGraph and the FMA in their own layouts (names and numbers from ../shared/data where that
is, else invented; pictures of 4 kB, clips of 10 s and 10 kB), then runs the real commands on them:
build, verify, index, stats, subset, browse, and an epoch of training data; with --more also why,
bench, a twentieth pulled by range, a delta release (1 % of the tracks changed) and a takedown.
Prints for each step what it took (processor time and memory of all its processes together), and
writes the same to OUT/rehearsal.json, from which cost_model.py computes. Killed, the same command
continues. Limits at the full size, on 2 cores: 75 minutes, 8 GB of memory, 15 GB of disk.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq
from full_size.measure import Timeline, disk_usage, watch

from artsound.build import STAGES
from artsound.progress import human_bytes, human_seconds
from artsound.storage import read_json, write_json

HERE = Path(__file__).resolve().parent
REAL_DATA = HERE.parents[1] / "shared" / "data"
FULL = 105_884
RECIPE = """\
name = "rehearsal"

[sources]
artgraph = "{out}/artgraph"
fma = "{out}/fma"

[pair]
bridge = "affect"

[shards]
pairs_per_shard = 512
min_shards = 20

[run]
runner = "{runner}"
"""


@dataclass(frozen=True)
class Row:
    """What one step took. `items` were worked on; `seconds` by the clock, `cpu` by processors."""

    step: str
    items: int
    seconds: float
    cpu: float
    memory: int
    bytes: int


class Rehearsal:
    """The steps done so far, kept in OUT/rehearsal.json."""

    def __init__(self, out: Path, pairs: int, data: Path | None) -> None:
        self.out, self.pairs = out, pairs
        self.about = {
            "pairs": pairs,
            "names": "real" if data else "invented",
            "cores": len(os.sched_getaffinity(0)),
            "packing": "BZIP2",  # of the clips
        }
        self.path = out / "rehearsal.json"
        self.rows: dict[str, Row] = {}
        self.disk = 0
        if self.path.is_file():
            kept = read_json(self.path)
            if kept["about"] != self.about:
                raise SystemExit(f"{out} holds another rehearsal: choose another --out.")
            self.rows = {row["step"]: Row(**row) for row in kept["steps"]}
            self.disk = kept["disk"]

    def add(self, row: Row) -> None:
        """Keep a step's row, and show it; of a step gone on with, the run that did more counts."""
        before = self.rows.get(row.step)
        if row.items > (before.items if before else 0):
            self.rows[row.step] = row
            print(line(row), flush=True)
        self.save()

    def save(self) -> None:
        """Write what is known."""
        steps = [asdict(row) for row in self.rows.values()]
        write_json(self.path, {"about": self.about, "disk": self.disk, "steps": steps})

    def run(self, step: str, command: Sequence[str], items: int, made: Path | None = None) -> None:
        """Do one step, unless it is done."""
        if step in self.rows:
            return
        seen = watch(command, self.out / "log.txt")
        cpu, memory = seen.between(seen.at[0], seen.at[-1])
        size = disk_usage(made) if made and made.is_dir() else made.stat().st_size if made else 0
        self.add(Row(step, items, seen.at[-1] - seen.at[0], cpu, memory, size))

    def build(self, command: Sequence[str], workspace: Path) -> None:
        """The build's stages, a row each, from the reports that they leave."""
        if "report" in self.rows:
            return
        reported: dict[str, float] = {}
        here: dict[str, Row] = {}  # of this run alone

        def look(seen: Timeline) -> None:
            for stage in STAGES:
                path = workspace / "runs" / f"{stage}.json"
                ended = path.stat().st_mtime if path.is_file() else 0.0
                if ended <= max(seen.at[0], reported.get(stage, 0.0)) or ended > seen.at[-1]:
                    continue
                report = read_json(path)
                cpu, memory = seen.between(ended - report["seconds"], ended)
                items = round(report["items_per_second"] * report["seconds"])  # of this run
                here[stage] = Row(stage, items, report["seconds"], cpu, memory, report["bytes"])
                self.add(here[stage])
                reported[stage] = ended  # after the row: an interrupt leaves it to a later look

        seen = watch(command, self.out / "log.txt", look)
        cpu, memory = seen.between(seen.at[0], seen.at[-1])
        seconds = seen.at[-1] - seen.at[0] - sum(row.seconds for row in here.values())
        rest = max(0.0, cpu - sum(row.cpu for row in here.values()))
        self.add(Row("Prefect, between stages", self.pairs, seconds, rest, memory, 0))


def line(row: Row) -> str:
    """A row of the table."""
    return (
        f"{row.step:<24}{row.items:>10,}{row.seconds:>10.1f} s{row.items / row.seconds:>10,.0f}/s"
        f"{1000 * row.cpu / max(row.items, 1):>10.2f} ms"
        f"{row.memory / 1e9:>8.2f} GB{row.bytes / 1e6:>11,.1f} MB"
    )


def rehearse(
    out: Path, pairs: int, data: Path | None, runner: str, *, more: bool = False
) -> Rehearsal:
    """All steps, or the rest of them; with `more`, also those of the life after a release."""
    out.mkdir(parents=True, exist_ok=True)
    done = Rehearsal(out, pairs, data)
    python, artsound = sys.executable, str(Path(sys.executable).parent / "artsound")
    workspace, subsets, again = out / "build", out / "subsets", out / "reindexed"
    shards = str(workspace / "shards")
    recipe = out / "recipe.toml"
    recipe.write_text(RECIPE.format(out=out, runner=runner))
    print(
        f"{'step':<24}{'items':>10}{'time':>12}{'rate':>12}{'CPU/item':>13}{'memory':>11}{'size':>14}"
    )
    for row in done.rows.values():
        print(line(row))
    make = [
        python,
        str(HERE / "full_size" / "sources.py"),
        "--pairs",
        str(pairs),
        "--out",
        str(out),
    ]
    done.run("sources", [*make, *(("--data", str(data)) if data else ())], pairs)
    done.build([artsound, "build", "--recipe", str(recipe), "--out", str(workspace)], workspace)
    done.run("verify", [artsound, "verify", shards], pairs)
    done.run("verify --deep", [artsound, "verify", shards, "--deep"], pairs)
    _link_shards(workspace / "shards", again)
    done.run("index", [artsound, "index", str(again)], pairs, again / "index.parquet")
    done.run("stats", [artsound, "stats", shards], pairs)
    wanted = ["--where", "artwork_year < 1900", "--rights", "redistributable"]
    subset = [artsound, "subset", shards]
    done.run("subset: ids", [*subset, *wanted, "--out", str(subsets / "ids.npy")], pairs)
    view = [*subset, "--top", str(max(1, pairs // 10)), "--out", str(subsets / "view.parquet")]
    done.run("subset: view", view, pairs)
    if "subset: shards" not in done.rows:
        shutil.rmtree(subsets / "shards", ignore_errors=True)  # what a killed run left
    done.run(
        "subset: shards",
        [*subset, "--top", str(max(1, pairs // 50)), "--out", str(subsets / "shards")],
        max(1, pairs // 50),
        subsets / "shards",
    )
    done.run(
        "browse: first page", [python, str(HERE / "full_size" / "first_page.py"), shards], pairs
    )
    train = read_json(workspace / "shards" / "index.json")["shards"]
    count = sum(shard["samples"] for shard in train if shard["split"] == "train")
    done.run("streamed epoch", [python, str(HERE / "full_size" / "epoch.py"), shards], count)
    if more:
        live_on(done, recipe)
    if not done.disk:
        done.disk = disk_usage(out)
        done.save()
    return done


def live_on(done: Rehearsal, recipe: Path) -> None:
    """Ask why, measure, pull by range, release what 1 % changed sources give, take 100 ids down."""
    out, pairs = done.out, done.pairs
    python, artsound = sys.executable, str(Path(sys.executable).parent / "artsound")
    workspace, delta, taken = out / "build", out / "delta", out / "taken"
    keys = pq.read_table(workspace / "shards" / "index.parquet", columns=["key"])["key"].to_pylist()
    done.run("why", [artsound, "why", keys[len(keys) // 2], "--out", str(workspace)], 1)
    done.run("bench", [artsound, "bench", str(workspace), "--bridge", "affect"], pairs)
    some = max(10, pairs // 20)
    pull = [python, str(HERE / "full_size" / "pull.py"), str(out), "--limit", str(some)]
    done.run("pull by range", pull, some)
    base = out / "base"
    if not base.is_dir():
        _link_release(workspace / "shards", base)
    if "delta" not in done.rows:
        tracks = out / "fma" / "fma_metadata" / "tracks.csv"
        watch([python, str(HERE / "full_size" / "change.py"), str(tracks)], out / "log.txt")
        if not delta.is_dir():
            shutil.copytree(workspace, delta, copy_function=shutil.copy2)
    build = [artsound, "build", "--recipe", str(recipe), "--out", str(delta), "--base", str(base)]
    done.run("delta", build, pairs, delta / "shards")
    listed = out / "takedown.txt"
    count = min(100, max(1, pairs // 20))
    listed.write_text("".join(f"{key}.mp3\n" for key in keys[:: len(keys) // count][:count]))
    if "withdraw" not in done.rows:
        shutil.rmtree(taken, ignore_errors=True)
    withdraw = [artsound, "withdraw", str(base), str(listed), "--out", str(taken)]
    done.run("withdraw", withdraw, pairs, taken)
    done.run("verify --without", [artsound, "verify", str(taken), "--without", str(listed)], pairs)


def _link_release(shards: Path, folder: Path) -> None:
    """A release once more, in a folder of its own."""
    shutil.copytree(shards, folder, copy_function=os.link)


def _link_shards(shards: Path, folder: Path) -> None:
    """The shards once more, without their index."""
    folder.mkdir(exist_ok=True)
    for shard in shards.glob("*.tar"):
        if not (folder / shard.name).exists():
            os.link(shard, folder / shard.name)


def summary(done: Rehearsal) -> str:
    """The last lines: what it took in all, per pair, and beside the limits."""
    rows = done.rows.values()
    minutes = sum(row.seconds for row in rows) / 60
    cpu = sum(row.cpu for row in rows)
    memory = max(row.memory for row in rows)
    return (
        f"{done.pairs:,} pairs: {minutes:.1f} min, {cpu / 60:.1f} min of processor time "
        f"({1000 * cpu / done.pairs:.1f} ms a pair), {memory / 1e9:.2f} GB of memory, "
        f"{done.disk / 1e9:.2f} GB on disk"
    )


def markdown(done: Rehearsal) -> str:
    """The table once more, for a README."""
    lines = [
        "| step | items | time | items/s | CPU per item | memory |",
        "|---|---|---|---|---|---|",
    ]
    for row in done.rows.values():
        each = 1000 * row.cpu / row.items
        lines.append(
            f"| {row.step} | {row.items:,} | {human_seconds(row.seconds)} | "
            f"{row.items / row.seconds:,.0f} | {each:.2f} ms | {human_bytes(row.memory)} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Rehearse, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--out", type=Path, help="kept, and gone on with; else a temporary folder")
    parser.add_argument("--invented", action="store_true", help="leave the real names alone")
    parser.add_argument("--markdown", action="store_true", help="print the table in markdown too")
    parser.add_argument(
        "--more", action="store_true", help="also why, bench, a pull, a delta and a takedown"
    )
    parser.add_argument("--runner", default="processes", help="as of artsound build")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    data = REAL_DATA if REAL_DATA.is_dir() and not options.invented else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            out = (options.out or Path(folder)).resolve()
            done = rehearse(out, options.pairs, data, options.runner, more=options.more)
            print(summary(done))
            if options.markdown:
                print(markdown(done))
    except KeyboardInterrupt:
        print("stopped; with --out, the same command continues from here", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
