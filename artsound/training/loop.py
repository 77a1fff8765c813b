"""Training from a release: prepare the pairs, begin or resume a run, stop cleanly."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from artsound.errors import BadData, BadUsage
from artsound.stage import QUIET, Progress
from artsound.training.batches import prepare
from artsound.training.checkpoint import (
    check_release,
    load_checkpoint,
)
from artsound.training.codec import make_codec, open_codec
from artsound.training.conditioning import Standardiser, fit_standardiser
from artsound.training.config import Config, find_preset
from artsound.training.data import Release, load_examples, open_release
from artsound.training.log import Log
from artsound.training.pretrained import with_pretrained
from artsound.training.run import Run, TrainReport

LEAST_PAIRS = 8


def train(
    data: str | Path | Release,
    preset: str | Config,
    out: Path,
    *,
    steps: int | None = None,
    resume: bool = False,
    seed: int | None = None,
    save_every: int = 500,
    keep: int = 2,
    pretrained: str | None = None,
    progress: Progress = QUIET,
) -> TrainReport:
    """Train on a release's train split and leave checkpoints, a log and a cache in `out`.

    `preset` is a name or a whole configuration; `steps` (default: the preset's) is the step to
    stop at, counted from the beginning of the run, resumed or not. Every `save_every` steps the
    run is saved, validated and listened to; the newest `keep` checkpoints and the best one stay.
    SIGTERM and Ctrl-C save a checkpoint first. `pretrained` is the folder or hub name of the
    published modules, for a preset that stands on them.

    Raises BadUsage when `out` holds another run and `resume` is not asked, or when its checkpoint
    belongs to other data; BadData when the split is too small or the loss is not finite.
    """
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import set_seed

    chosen = find_preset(preset) if isinstance(preset, str) else preset
    if chosen.pretrained or pretrained:
        chosen = with_pretrained(chosen, pretrained)
    if seed is not None:
        chosen = chosen.model_copy(update={"seed": seed})
    total = steps or chosen.optimisation.steps
    release = data if isinstance(data, Release) else open_release(data)
    start = _resume_point(out, chosen, release) if resume else None
    if start is None and (out / "checkpoints").exists() and not resume:
        raise BadUsage(f"{out} already holds a run: add --resume, or choose another --out.")

    set_seed(chosen.seed)
    # accelerate keeps the precision of a process's first run; this one has its own.
    AcceleratorState._reset_state()
    accelerator = Accelerator(mixed_precision=chosen.optimisation.mixed_precision)
    if accelerator.device.type == "cpu" and chosen.optimisation.cpu_threads:
        torch.set_num_threads(chosen.optimisation.cpu_threads)
    progress.start("decode pairs", len(release.pairs("train")))
    examples = load_examples(
        release,
        "train",
        chosen,
        cache=out / "cache",
        progress=lambda _done, _total: progress.advance(1),
    )
    progress.finish()
    if len(examples) < LEAST_PAIRS:
        raise BadData(
            f"The train split has {len(examples)} pairs, fewer than the {LEAST_PAIRS} that "
            "training needs: build a larger release."
        )
    if start is None:
        codec = make_codec(chosen, examples.clips, accelerator.device)
        standardise = fit_standardiser(examples.pictures)
    else:
        arrays = load_checkpoint(start).arrays
        codec = open_codec(chosen, arrays, accelerator.device)
        standardise = Standardiser.from_tensors(arrays)
    prepared = prepare(examples, codec, standardise)
    held_out = load_examples(release, "val", chosen, cache=out / "cache")
    validation = prepare(held_out, codec, standardise) if len(held_out) else None

    run = Run(chosen, release, out, accelerator, codec, standardise, prepared, validation)
    if start is None:
        run.begin()
    else:
        run.restore(start)
    with Log(out / "log") as log, _interruptible() as stop:
        return run.go(total, log, stop, progress, save_every=save_every, keep=keep)


def _resume_point(out: Path, config: Config, release: Release) -> Path | None:
    """The checkpoint to go on from, or None when there is none yet; BadUsage when it differs."""
    if not list((out / "checkpoints").glob("step-*/state.json")):
        return None
    kept = load_checkpoint(out)
    check_release(kept.path, kept.state, release.digest)
    if _movable(kept.config) != _movable(config):
        raise BadUsage(
            f"{out} was begun with other settings: resume with those, or choose another --out."
        )
    return kept.path


def _movable(config: Config) -> Config:
    """`config` without the place of its published modules: they may move, their digest may not."""
    if config.pretrained is None:
        return config
    return config.model_copy(
        update={"pretrained": config.pretrained.model_copy(update={"source": ""})}
    )


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set, so that a step ends and is saved before leaving."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
