"""What a rebuild of the real thing takes: time, disk, GPU-hours and money, on one machine and more.

    python benchmarks/cost_model.py [--rehearsal rehearsal/rehearsal.json]

Reckoned from rates, none of them written down here: what each stage takes for each item in the
rehearsal (`make rehearsal`; until then the one kept beside this file), less what its small files
cost, plus what real ones do. Those are measured now: real clips of the FMA from ../shared/data
where it is there (else synthetic ones of 30 s at 256 kbit/s), unpacked with BZIP2 as from the
FMA's zips, and synthetic pictures of 1,000 to 1,600 pixels. Matching through CLIP and CLAP is
measured on fewer items, and grows with the number of scores. Sizes are the published ones. What is
assumed is an option, and is listed as assumed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from full_size.media import clip, picture
from full_size.media_rates import Rates, media_rates, real_clips
from media_checks import write_clip, write_picture

from artsound.pairing.search import find_candidates
from artsound.processes import keep_freed_memory
from artsound.storage import read_json

HERE = Path(__file__).resolve().parent
REHEARSED = (HERE.parent / "rehearsal" / "rehearsal.json", HERE / "full_size" / "measured.json")
REAL_CLIPS = HERE.parents[1] / "shared" / "data" / "fma" / "fma_large"
# Published: the FMA's large set and its zip, ArtGraph's second version, the pairs.
TRACKS, FMA_BYTES, ARTWORKS, PAIRS = 106_574, 100_306_112_191, 116_475, 105_884
WITHIN_SPLITS = 0.65  # share of all scores that lie within the FMA's splits
WIDTHS = {"CLIP": 768, "CLAP": 512}
STAGES = ("ingest", "embed", "pair", "caption", "shard", "report", "verify")
ALONE = ("pair", "report")  # stages that one machine does, however many there are
SITES = ((1, 2), (1, 16), (4, 16))  # machines, and processors of each
HOUR, GB, TB = 3600.0, 1e9, 1e12


@dataclass(frozen=True)
class Assumed:
    """What cannot be measured here."""

    link: float
    picture_kb: float
    scale_out: float
    clip_rate: float
    clap_rate: float
    caption_rate: float
    train_rate: float
    epochs: int
    gpu_price: float
    core_price: float
    disk_price: float


@dataclass(frozen=True)
class Stage:
    """One stage of the real rebuild: processor hours, and how busy it keeps the processors."""

    name: str
    cpu: float
    busy: float

    def hours(self, machines: int, cores: int, assumed: Assumed) -> float:
        """By the clock, on so many machines with so many processors."""
        if self.name in ALONE:
            machines = 1
        spread = machines * (assumed.scale_out if machines > 1 else 1.0)
        # The report is drawn by one processor; all else takes as many as there are.
        return self.cpu / (spread * (1 if self.name == "report" else cores) * self.busy)


def stages(rehearsal: dict[str, dict[str, float]], cores: int, small: Rates, real: Rates,
           candidates: float) -> list[Stage]:  # fmt: skip
    """The stages of the rebuild, from what they took in the rehearsal."""

    def more(what: str) -> tuple[float, float]:
        """What a real clip, a real picture costs beyond a small one."""
        clip_more = real.clip.get(what, 0.0) - small.clip.get(what, 0.0)
        return clip_more, real.picture.get(what, 0.0) - small.picture.get(what, 0.0)

    # Of each stage: its items, the clips and pictures among them, and what is done to those.
    work: dict[str, tuple[int, int, int, tuple[str, ...]]] = {
        "ingest": (TRACKS + ARTWORKS, TRACKS, ARTWORKS, ("unpack", "check and measure", "digest")),
        "embed": (PAIRS + ARTWORKS, 0, 0, ()),
        "pair": (PAIRS, 0, 0, ()),
        "caption": (2 * PAIRS, 0, 0, ()),
        "shard": (PAIRS, PAIRS, PAIRS, ("digest", "digest", "release")),
        "report": (PAIRS, 0, 0, ()),
        "verify": (PAIRS, PAIRS, PAIRS, ("digest",)),
    }
    found = []
    for name, (items, clips, pictures, done) in work.items():
        row = rehearsal[name]
        seconds = items * row["cpu"] / row["items"]
        for what in done:
            of_clip, of_picture = more(what)
            seconds += clips * of_clip + pictures * of_picture
        if name == "pair":
            seconds += candidates
        workers = 1 if name == "report" else cores
        busy = min(1.0, row["cpu"] / (row["seconds"] * workers))
        found.append(Stage(name, seconds / HOUR, busy))
    return found


def candidate_seconds(width: int) -> float:
    """Processor seconds of looking at all scores within splits twice, candidates and audit."""
    rng = np.random.default_rng(0)
    tracks, artworks = 4096, 4506

    def rows(count: int) -> np.ndarray:
        vectors = rng.standard_normal((count, width), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    t, a = rows(tracks), rows(artworks)
    find_candidates(t[:64], a[:64], 8)  # compiles
    began = time.process_time()
    find_candidates(t, a, 32)
    spent = time.process_time() - began
    return 2 * spent * WITHIN_SPLITS * PAIRS * ARTWORKS / (tracks * artworks)


def measured() -> tuple[Rates, Rates, str]:
    """The rates of the rehearsal's media, of real ones, and whose clips those are."""
    small = media_rates([clip(n) for n in range(12)], [picture(n) for n in range(24)])
    with tempfile.TemporaryDirectory() as folder:
        clips = real_clips(REAL_CLIPS)
        whose = f"{len(clips)} original clips of the FMA" if clips else "synthetic clips"
        if not clips:
            for seed in range(6):
                write_clip(Path(folder) / f"{seed}.mp3", seed)
            clips = [path.read_bytes() for path in sorted(Path(folder).glob("*.mp3"))]
        for seed in range(6):
            write_picture(Path(folder) / f"{seed}.jpg", seed)
        pictures = [path.read_bytes() for path in sorted(Path(folder).glob("*.jpg"))]
        return small, media_rates(clips, pictures), whose


def decoding_for_models(real: Rates) -> float:
    """Processor hours of decoding what CLIP and CLAP are fed, where a bridge needs them.

    It is decoded again then: as arrays, all clips at 48 kHz would take 300 GB.
    """
    clips = PAIRS * real.clip["decode for CLAP"]
    return (clips + ARTWORKS * real.picture["decode for CLIP"]) / HOUR


def least_hours(real: Rates) -> float:
    """Processor hours of unpacking and decoding all clips and pictures once, and nothing else."""
    clips = TRACKS * (real.clip["unpack"] + real.clip["decode"])
    return (clips + ARTWORKS * real.picture["decode"]) / HOUR


def disk(assumed: Assumed, rehearsal: dict[str, dict[str, float]]) -> dict[str, float]:
    """Bytes on disk at the end of a build: what was pulled, kept, and packed."""
    pictures = ARTWORKS * assumed.picture_kb * 1000
    used = PAIRS / ARTWORKS
    tables = sum(rehearsal[name]["bytes"] for name in ("ingest", "embed", "pair", "caption"))
    vectors = 2 * (ARTWORKS * WIDTHS["CLIP"] + PAIRS * WIDTHS["CLAP"])
    return {
        "sources as pulled": FMA_BYTES + pictures,
        "media in the workspace": FMA_BYTES + pictures,
        "shards": FMA_BYTES * PAIRS / TRACKS + pictures * used,
        "catalogue and vectors": tables * PAIRS / rehearsal["pair"]["items"] + vectors,
    }


def gpu_hours(assumed: Assumed) -> dict[str, float]:
    """All assumed: no published checkpoint was run on a GPU here."""
    return {
        "CLIP and CLAP": (ARTWORKS / assumed.clip_rate + PAIRS / assumed.clap_rate) / HOUR,
        "model captions (optional)": 2 * PAIRS / assumed.caption_rate / HOUR,
        f"training, {assumed.epochs} epochs (optional)": (
            assumed.epochs * PAIRS / assumed.train_rate / HOUR
        ),
    }


def table(found: list[Stage], assumed: Assumed, rehearsal: dict[str, dict[str, float]]) -> str:
    """All of it, as a table in markdown."""
    sites = [f"{n} × {c} cores" for n, c in SITES]
    space = disk(assumed, rehearsal)
    pull = space["sources as pulled"] * 8 / (assumed.link * 1e6) / HOUR
    gpus = gpu_hours(assumed)
    embed_gpu = gpus["CLIP and CLAP"]
    lines = [f"| | CPU-hours | {' | '.join(sites)} |", "|---|---|" + "---|" * len(SITES)]
    lines.append(f"| download at {assumed.link:,.0f} Mbit/s | | " + f"{pull:.1f} h | " * len(SITES))
    for stage in found:
        hours = [stage.hours(n, c, assumed) for n, c in SITES]
        lines.append(
            f"| {stage.name} | {stage.cpu:.2f} | " + "".join(f"{_time(h)} | " for h in hours)
        )
    totals = [pull + sum(stage.hours(n, c, assumed) for stage in found) for n, c in SITES]
    cpu = sum(stage.cpu for stage in found)
    lines.append(f"| **in all** | **{cpu:.1f}** | " + "".join(f"**{t:.1f} h** | " for t in totals))
    rent = [n * c * t * assumed.core_price for (n, c), t in zip(SITES, totals, strict=True)]
    store = sum(space.values()) / TB * assumed.disk_price
    lines.append("| rent of processors | | " + "".join(f"${r:,.2f} | " for r in rent))
    lines.append("")
    lines.append(
        f"Disk: {sum(space.values()) / GB:,.0f} GB at the end ("
        + ", ".join(f"{name} {size / GB:,.1f}" for name, size in space.items())
        + f"), ${store:,.2f} a month. The sources may go once they are ingested."
    )
    lines.append("")
    lines.append(
        "GPU (rates **assumed, unmeasured**): "
        + "; ".join(f"{name} {h:.1f} h, ${h * assumed.gpu_price:,.2f}" for name, h in gpus.items())
        + f". With CLIP and CLAP on one GPU beside the processors, add {_time(embed_gpu)} at most."
    )
    return "\n".join(line.rstrip() for line in lines)


def _time(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def assumptions(assumed: Assumed, whose: str, about: dict[str, object]) -> str:
    """What the figures rest on."""
    return (
        f"Measured: stages in a rehearsal of {about['pairs']:,} pairs on {about['cores']} cores; "
        f"{whose}; pictures of 1,000 to 1,600 pixels. Assumed: a link of {assumed.link:,.0f} "
        f"Mbit/s that the servers fill, {assumed.picture_kb:,.0f} kB a picture, "
        f"{assumed.scale_out:.0%} of each further machine's work arriving, disks that keep up, "
        f"{assumed.clip_rate:,.0f} pictures/s through CLIP ViT-L/14, {assumed.clap_rate:,.0f} "
        f"clips/s through CLAP, {assumed.caption_rate:,.0f} captions/s of a model, "
        f"{assumed.train_rate:,.0f} samples/s in training; "
        f"${assumed.gpu_price:.2f} per GPU-hour (A100 80 GB on demand, price lists of early 2026: "
        f"$1.49 to $2.49), ${assumed.core_price:.3f} per core-hour, ${assumed.disk_price:.0f} per "
        "TB and month (the last two are round figures for scale: set your own)."
    )


def main() -> None:
    """Measure, reckon, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rehearsal", type=Path, help="a rehearsal.json; else the newest there is")
    parser.add_argument("--link", type=float, default=500.0, help="Mbit/s from the servers")
    parser.add_argument("--picture-kb", type=float, default=250.0, help="of ArtGraph's pictures")
    parser.add_argument("--scale-out", type=float, default=0.85, help="share kept per machine")
    parser.add_argument("--clip-rate", type=float, default=400.0, help="pictures/s on a GPU")
    parser.add_argument("--clap-rate", type=float, default=200.0, help="clips/s on a GPU")
    parser.add_argument("--caption-rate", type=float, default=8.0, help="model captions/s on a GPU")
    parser.add_argument("--train-rate", type=float, default=16.0, help="samples/s on a GPU")
    parser.add_argument("--epochs", type=int, default=20, help="of training")
    parser.add_argument("--gpu-price", type=float, default=2.0, help="per GPU-hour")
    parser.add_argument("--core-price", type=float, default=0.045, help="per core and hour")
    parser.add_argument("--disk-price", type=float, default=80.0, help="per TB and month")
    options = vars(parser.parse_args())
    chosen = options.pop("rehearsal")
    path = chosen or next((path for path in REHEARSED if path.is_file()), REHEARSED[0])
    if not path.is_file():
        raise SystemExit(f"There is no {path}: run `make rehearsal` first, or give --rehearsal.")
    keep_freed_memory()  # as the build's workers do
    kept = read_json(path)
    rehearsal = {row["step"]: row for row in kept["steps"] if row["items"]}
    if missing := [name for name in STAGES if name not in rehearsal]:
        raise SystemExit(f"{path} does not tell of {missing[0]}: rehearse in a new --out.")
    small, real, whose = measured()
    if kept["about"].get("packing") != "BZIP2":  # its clips were stored, not packed
        small = replace(small, clip={**small.clip, "unpack": 0.0})
    assumed = Assumed(**options)
    found = stages(
        rehearsal, kept["about"]["cores"], small, real, candidate_seconds(WIDTHS["CLAP"])
    )
    print(table(found, assumed, rehearsal))
    print()
    least, whole = least_hours(real), sum(stage.cpu for stage in found)
    print(
        f"Unpacking and decoding every clip and picture once takes {least:.1f} CPU-hours of these: "
        f"all of it is {whole / least:.1f} times as much."
    )
    hours = decoding_for_models(real)
    print(f"With CLIP and CLAP, their inputs take {hours:.1f} CPU-hours more to decode.")
    print()
    print(assumptions(assumed, whose, kept["about"]))


if __name__ == "__main__":
    main()
