"""Does the music follow the picture? The tiny preset on samples it was not tuned on.

    python benchmarks/condition_effect.py [--seed 0 1 2 3 4] [--steps N] [--takes 1] [--more 20]
        [--candidates 8] [--sampling-steps 12]

For every seed it writes another bundled sample (other pictures, other music) with 20 more clips
than usual in each held-out split, builds its shards, trains the tiny preset, and evaluates it on
the held-out pairs. The preset's settings were chosen on samples of other seeds (21 and above). The
condition effect is how much closer the music made from a picture is to that picture's own track
than music made from other pictures is, in spreads of the training tracks; the interval is the 95%
bootstrap one over pairs. It is printed for single pieces and for the best of some candidates, which
are ranked by the descriptors that the effect is measured in; so the effect in log-mels, which rank
nothing, is printed too. The line after each row says the same as a sentence, for the README.
Exits 1 when an interval of the best candidates does not lie above 0, when the mean over the seeds
is below that of playing the train track whose picture is nearest, or when a run takes over 8
minutes of processor time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from artsound.build import run_build
from artsound.recipe import bundled_recipe
from artsound.sample import write_sample
from artsound.storage import Workspace
from artsound.training.evaluate import evaluate
from artsound.training.loop import train

MOST_SECONDS = 8 * 60


def measure(
    seed: int,
    steps: int | None,
    takes: int,
    more: int,
    candidates: int,
    sampling_steps: int,
    folder: Path,
) -> dict[str, Any]:
    """Build, train and evaluate the sample of one seed."""
    sources = write_sample(folder / "sample", seed, more=more)
    recipe = bundled_recipe("sample").replaced(
        sources={"artgraph": str(sources.artgraph), "fma": str(sources.fma)}
    )
    workspace = Workspace(folder / "out")
    run_build(workspace, recipe, runner="serial")
    began = time.process_time()
    report = train(str(workspace.shards), "tiny", folder / "training", steps=steps)
    spent = time.process_time() - began
    summary = evaluate(
        folder / "training",
        str(workspace.shards),
        folder / "evaluation",
        takes=takes,
        candidates=candidates,
        steps=sampling_steps,
    )
    systems, best = summary["systems"], f"best of {candidates}"
    return {
        "seed": seed,
        "steps": report.steps,
        "pairs": summary["pairs"],
        "cpu_seconds": round(spent),
        "single": summary["condition_effect"],
        "effect": systems[best]["descriptors"]["condition_effect"],
        "nearest_track": systems["nearest track"]["descriptors"]["condition_effect"],
        "bridge": systems[best]["bridge"]["effect"],
        "nearest_track_bridge": systems["nearest track"]["bridge"]["effect"],
        "log_mel_single": systems["model"]["log-mel"]["condition_effect"],
        "log_mel": systems[best]["log-mel"]["condition_effect"],
        "nearest_track_log_mel": systems["nearest track"]["log-mel"]["condition_effect"],
    }


_COLUMNS = (
    "single", "effect", "nearest_track", "bridge", "nearest_track_bridge", "log_mel_single",
    "log_mel", "nearest_track_log_mel",
)  # fmt: skip


def sentence(row: dict[str, Any]) -> str:
    """A row in words."""
    effect, near = row["effect"], row["nearest_track"]
    return (
        f"Seed {row['seed']}: after {row['steps']:,} steps ({row['cpu_seconds'] / 60:.1f} min of "
        f"processor time) the condition effect on {row['pairs']} held-out pairs is "
        f"{effect['mean']:.3f} (95% {effect['low']:.3f}…{effect['high']:.3f}; of single pieces "
        f"{row['single']['mean']:.3f}); the nearest training track gives {near['mean']:.3f}."
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seed",
        "--seeds",
        dest="seeds",
        type=int,
        nargs="+",
        default=[0, 1, 2, 3, 4],
        metavar="SEED",
    )
    parser.add_argument("--steps", type=int, help="instead of the preset's")
    parser.add_argument("--takes", type=int, default=1, help="pieces for each picture")
    parser.add_argument("--more", type=int, default=20, help="clips added to each held-out split")
    parser.add_argument("--candidates", type=int, default=8, help="drawn for each piece")
    parser.add_argument("--sampling-steps", type=int, default=12, help="denoising steps")
    given = parser.parse_args()
    rows = []
    print(f"seed steps pairs  cpu s  {'  '.join(f'{name:>24}' for name in _COLUMNS)}")
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(
                seed,
                given.steps,
                given.takes,
                given.more,
                given.candidates,
                given.sampling_steps,
                Path(folder),
            )
        rows.append(row)
        told = "  ".join(_interval(row[name]) for name in _COLUMNS)
        counts = f"{seed:4} {row['steps']:5} {row['pairs']:5} {row['cpu_seconds']:6}"
        print(f"{counts}  {told}\n{sentence(row)}", flush=True)
    model, near = (
        sum(row[name]["mean"] for row in rows) / len(rows) for name in ("effect", "nearest_track")
    )
    print(f"Mean over {len(rows)} seeds: {model:+.3f}; nearest track {near:+.3f}")
    print(json.dumps(rows))
    clear = all(r["effect"]["low"] > 0 and r["cpu_seconds"] <= MOST_SECONDS for r in rows)
    sys.exit(not (clear and model >= near))


def _interval(value: dict[str, float]) -> str:
    return f"{value['mean']:+.3f} ({value['low']:+.3f} {value['high']:+.3f})"


if __name__ == "__main__":
    main()
