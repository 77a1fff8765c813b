"""Training from a release: prepare the pairs, begin or resume a run, stop cleanly."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artsound.errors import BadData, BadUsage
from artsound.stage import QUIET, Progress
from artsound.training.batches import Source, prepare, shares
from artsound.training.captions import caption_targets
from artsound.training.checkpoint import Checkpoint, check_release, load_checkpoint
from artsound.training.codec import SoundCodec, make_codec, open_codec
from artsound.training.conditioning import Standardiser, fit_standardiser
from artsound.training.config import Config, Optimisation, find_preset
from artsound.training.data import Release, load_examples, open_release
from artsound.training.latents import OnTheFly, fit_on_some, known_encoder, open_latents, ready
from artsound.training.log import Log
from artsound.training.pretrained import with_pretrained
from artsound.training.run import Run, TrainReport
from artsound.training.visual import open_eye, with_encoder

if TYPE_CHECKING:
    import numpy as np

LEAST_PAIRS = 8
MOST_IN_MEMORY = 20_000  # pairs: about 12 GB of log-mels and latents
ON_THE_FLY = "on-the-fly"
_MAY_CHANGE = (
    "steps", "learning_rate", "warmup", "clip", "accumulate", "mixed_precision", "channels_last",
    "compile", "cpu_threads",
)  # fmt: skip


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
    latents: str | Path | None = None,
    progress: Progress = QUIET,
) -> TrainReport:
    """Train on a release's train split and leave checkpoints, a log and a cache in `out`.

    `preset` is a name or a whole configuration; `steps` (default: the preset's) is the step to
    stop at, counted from the beginning of the run, resumed or not. Every `save_every` steps the
    run is saved, validated and listened to; the newest `keep` checkpoints and the best one stay.
    SIGTERM and Ctrl-C save a checkpoint first. `pretrained` is the folder or hub name of the
    published modules, for a preset that stands on them. `latents` is a folder that
    `write_latents` made, or "on-the-fly" to decode each pair whenever it is drawn; without it all
    pairs are decoded once and kept in memory and in `out`/cache.

    Under `accelerate launch` or `torchrun` the processes share each batch; the steps are the same
    for any number of them, also after a resume on another number.

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
    made = latents if latents != ON_THE_FLY else None
    chosen = with_encoder(chosen, known_encoder(Path(made), chosen) if made else "")
    total = steps or chosen.optimisation.steps
    release = data if isinstance(data, Release) else open_release(data)
    start = _resume_point(out, chosen, release) if resume else None
    if (pairs := len(release.pairs("train"))) < LEAST_PAIRS:
        raise BadData(
            f"The train split has {pairs} pairs, fewer than the {LEAST_PAIRS} that training "
            "needs: build a larger release."
        )
    if chosen.extra.alignment and chosen.pretrained is None:
        raise BadUsage("Alignment needs published modules: use the preset audioldm2.")
    if start is None and (out / "checkpoints").exists() and not resume:
        raise BadUsage(f"{out} already holds a run: add --resume, or choose another --out.")

    set_seed(chosen.seed)
    # accelerate keeps the precision of a process's first run; this one has its own.
    AcceleratorState._reset_state()
    # Told nothing, accelerate lets processes without a GPU run beside each other unaware.
    on_cpu = "LOCAL_RANK" in os.environ and not torch.cuda.is_available()
    accelerator = Accelerator(cpu=on_cpu, mixed_precision=chosen.optimisation.mixed_precision)
    if accelerator.device.type == "cpu" and chosen.optimisation.cpu_threads:
        torch.set_num_threads(chosen.optimisation.cpu_threads)
    # Told now rather than when all pairs are decoded.
    list(shares(chosen.optimisation.batch, chosen.optimisation.accumulate, accelerator))
    progress = progress if accelerator.is_main_process else QUIET
    with accelerator.main_process_first():  # the others read what the first one decoded
        source, validation, codec, standardise = _sources(
            release,
            chosen,
            latents,
            start.arrays if start else {},
            out,
            accelerator.device,
            progress,
        )
        targets = None
        if chosen.extra.alignment:
            targets = caption_targets(release.pairs("train"), chosen, out, accelerator.device)

    run = Run(chosen, release, out, accelerator, codec, standardise, source, validation, targets)
    if start is None:
        run.begin()
    else:
        run.restore(start)
    home = out / "log" if accelerator.is_main_process else None
    with Log(home, after=run.step) as log, _interruptible() as stop:
        return run.go(total, log, stop, progress, save_every=save_every, keep=keep)


def _sources(
    release: Release,
    config: Config,
    latents: str | Path | None,
    arrays: dict[str, np.ndarray],
    out: Path,
    device: Any,
    progress: Progress,
) -> tuple[Source, Source | None, SoundCodec, Standardiser]:
    """Training and validation pairs, codec and standardiser; the latter two from a checkpoint's
    `arrays` where there are any."""
    pairs, held_out = release.pairs("train"), release.pairs("val")
    codec = open_codec(config, arrays, device) if arrays else None
    standardise = Standardiser.from_tensors(arrays) if arrays else None
    if latents == ON_THE_FLY:
        if codec is None or standardise is None:
            codec, standardise = fit_on_some(pairs, config, device)
        see = open_eye(config.condition, device)
        fly = OnTheFly(pairs, config, codec, standardise, see)
        other = OnTheFly(held_out, config, codec, standardise, see) if len(held_out) else None
        return fly, other, codec, standardise
    if latents is not None:
        codec = open_latents(Path(latents), release, config, device)
        train_source, standardise = ready(Path(latents), release, "train", standardise)
        if not len(held_out):
            return train_source, None, codec, standardise
        return (
            train_source,
            ready(Path(latents), release, "val", standardise)[0],
            codec,
            standardise,
        )
    if len(pairs) > MOST_IN_MEMORY:
        raise BadUsage(
            f"The train split has {len(pairs):,} pairs, too many to keep in memory: make latents "
            "once with `artsound latents`, and give their folder as --latents."
        )
    progress.start("decode pairs", len(pairs))
    examples = load_examples(
        release,
        "train",
        config,
        cache=out / "cache",
        device=device,
        progress=lambda _done, _total: progress.advance(1),
    )
    progress.finish()
    codec = codec or make_codec(config, examples.clips, device)
    standardise = standardise or fit_standardiser(examples.pictures)
    validation = None
    if len(held_out):
        held = load_examples(release, "val", config, cache=out / "cache", device=device)
        validation = prepare(held, codec, standardise)
    return prepare(examples, codec, standardise), validation, codec, standardise


def _resume_point(out: Path, config: Config, release: Release) -> Checkpoint | None:
    """The checkpoint to go on from, or None when there is none yet; BadUsage when it differs."""
    if not list((out / "checkpoints").glob("step-*/state.json")):
        return None
    kept = load_checkpoint(out)
    check_release(kept.path, kept.state, release.digest)
    if changed := _changed(_fixed(kept.config).model_dump(), _fixed(config).model_dump()):
        raise BadUsage(
            f"{out} was begun with other settings ({', '.join(changed)}): resume with those, or "
            "choose another --out."
        )
    return kept


def _fixed(config: Config) -> Config:
    """`config` without what may change when a run is resumed.

    That is the places of published modules and weights, whose digests may not change; how a step
    is computed, for another machine or number of processes; and how far and how long it goes, so
    that a run whose loss was not finite can go on more carefully.
    """
    plain = Optimisation()
    condition = config.condition.model_copy(update={"clip_checkpoint": ""})
    published = config.pretrained
    if published is not None:
        published = published.model_copy(update={"source": ""})
    optimisation = config.optimisation.model_copy(
        update={name: getattr(plain, name) for name in _MAY_CHANGE}
    )
    return config.model_copy(
        update={"condition": condition, "pretrained": published, "optimisation": optimisation}
    )


def _changed(before: dict[str, Any], now: dict[str, Any], within: str = "") -> list[str]:
    """The names of settings that differ, as --set has them, with both values."""
    changed: list[str] = []
    for name, value in now.items():
        was = before[name]
        if isinstance(was, dict) and isinstance(value, dict):
            changed += _changed(was, value, f"{within}{name}.")
        elif was != value:
            changed.append(f"{within}{name} was {was}")
    return changed


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
