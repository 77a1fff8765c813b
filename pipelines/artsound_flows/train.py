"""Flow: shards to a model that makes music for a picture."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from artsound.progress import QUIET
from artsound.training.loop import train as run_training
from artsound_flows.artifacts import ProgressInPrefect


@flow(name="train", flow_run_name="train {preset} on {data}")
def train(
    data: str,
    out: Path,
    preset: str = "tiny",
    steps: int | None = None,
    resume: bool = True,
    seed: int = 0,
) -> None:
    """Train artwork-to-music on a release's train split, or go on with a run.

    A cancelled run saves a checkpoint first; the same parameters go on from it.

    Args:
        data: A shards folder or URL.
        out: Folder for checkpoints, samples and logs.
        preset: The model and its training, as `artsound plugins preset` lists them.
        steps: The step to stop at, counted from the run's beginning; none: the preset's.
        resume: Go on from the newest checkpoint, where there is one.
        seed: Seeds weights, order and noise.
    """
    report = run_training(
        data, preset, out, steps=steps, resume=resume, seed=seed,
        progress=ProgressInPrefect(QUIET),
    )  # fmt: skip
    rows = "".join(f"| {key} | {value} |\n" for key, value in asdict(report).items())
    create_markdown_artifact(f"| what | value |\n|---|---|\n{rows}", key="training")
