"""A training run: prepare the pairs, start or resume, step, save, validate, preview, log."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.extras import importing
from artsound.media import MediaError
from artsound.media.images import load_rgb
from artsound.progress import QUIET, Progress
from artsound.storage import atomic_write, digest
from artsound.training.checkpoint import (
    Checkpoint,
    State,
    check_release,
    find_checkpoint,
    load_checkpoint,
    load_optimiser,
    load_weights,
    read_tensors,
    save_checkpoint,
)
from artsound.training.codec import SoundCodec
from artsound.training.config import Config, Optimisation, every_setting, find_preset
from artsound.training.data import (
    Batch,
    PairSource,
    Release,
    draw_step,
    fit_on_some,
    known_encoder,
    latents_digest,
    make_batch,
    media_source,
    open_latents,
    open_release,
    pass_size,
    rows_of_pass,
    training_batches,
    write_latents,
)
from artsound.training.family import open_family
from artsound.training.model import averaged_weights, language_of_audio, learned, update_average
from artsound.training.pictures import Conditioner, with_encoder
from artsound.training.plots import preview_image
from artsound.training.pretrained import (
    check_modules,
    constant_stream,
    load_module,
    load_tokenizer,
    verified_folder,
    with_pretrained,
)
from artsound.untrusted import read_array

if TYPE_CHECKING:
    from artsound.shards.dataset import Dataset


# What the published model's language of audio says of each track's caption: aims for pictures.


def caption_targets(
    pairs: Dataset, config: Config, out: Path, device: Any
) -> dict[str, np.ndarray]:
    """For each key the states float16 [states, W] of its music caption, cached in `out`/cache.

    Returns:
        float16 [n, states, W], cached in `out`/cache.

    Raises:
        BadData: A pair has no caption, or the text encoders are missing.
    """
    captions = [str(pairs.read(n)["json"].get("track_caption", "")) for n in range(len(pairs))]
    empty = next((n for n, caption in enumerate(captions) if not caption.strip()), None)
    if empty is not None:
        raise BadData(
            f"Pair {pairs.read(empty)['key']} has no music caption to align with: run `artsound "
            "caption` and `artsound shard`, or train without alignment."
        )
    folder = verified_folder(config)
    published = config.pretrained
    if published is None:
        raise BadData("Alignment needs published modules: use the preset audioldm2.")
    name = digest([captions, published.digest, published.states])[:16]
    path = out / "cache" / f"captions-{name}.npy"
    keys = map(str, pairs.pointers.keys)
    try:
        return dict(zip(keys, read_array(path), strict=True))
    except (OSError, ValueError):
        pass
    known = sorted(set(captions))
    states = caption_states(folder, known, published.states, device)
    place = {caption: n for n, caption in enumerate(known)}
    targets = states[[place[caption] for caption in captions]]
    with atomic_write(path) as file:
        np.save(file, targets)
    return dict(zip(keys, targets, strict=True))


def caption_states(folder: Path, captions: list[str], states: int, device: Any) -> np.ndarray:
    """The states float16 [n, states, W] that the published language model computes from captions.

    As in AudioLDM 2: CLAP's text vector and T5's states, each projected and put between learned
    start and end vectors, and GPT-2's continuation of them. One caption at a time, so that nothing
    is padded.
    """
    import torch

    clap, t5, joined, language_model = (
        load_module(folder, name).to(device)
        for name in ("text_encoder", "text_encoder_2", "projection_model", "language_model")
    )
    tokenizers = load_tokenizer(folder, "tokenizer"), load_tokenizer(folder, "tokenizer_2")
    rows = []
    with torch.inference_mode():
        for caption in captions:
            first, second = (
                tokenizer(caption, truncation=True, max_length=512, return_tensors="pt").to(device)
                for tokenizer in tokenizers
            )
            text = clap.get_text_features(
                input_ids=first.input_ids, attention_mask=first.attention_mask
            )
            text = getattr(text, "pooler_output", text)  # transformers 5 wraps it
            encoded = t5(second.input_ids).last_hidden_state
            tokens = joined(
                hidden_states=text[:, None],
                hidden_states_1=encoded,
                attention_mask=first.attention_mask.new_ones((1, 1)),
                attention_mask_1=second.attention_mask,
            ).hidden_states
            rows.append(language_of_audio(language_model, tokens, states)[0].half().cpu().numpy())
    return np.stack(rows)


class Log:
    """Scalars, sounds and pictures by step, for `tensorboard --logdir`.

    An error stops the logging, not the run; the next checkpoint reports a full disk. Without a
    folder nothing is logged.
    """

    def __init__(self, folder: Path | None, *, after: int = 0) -> None:
        """Open the log of a run that continues from step `after`; later entries are hidden."""
        self._writer: Any = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=after + 1 if after else None)

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._try("close")

    def scalar(self, name: str, value: float, step: int) -> None:
        """A number."""
        self._try("add_scalar", name, value, step)

    def sound(self, name: str, wave: np.ndarray, sample_rate: int, step: int) -> None:
        """A waveform float32 [n] in −1..1."""
        self._try("add_audio", name, wave[None], step, sample_rate)

    def picture(self, name: str, rgb: np.ndarray, step: int) -> None:
        """An image uint8 [H, W, 3]."""
        self._try("add_image", name, rgb, step, dataformats="HWC")

    def settings(self, values: Mapping[str, Any], step: int) -> None:
        """What a run is made by, as JSON on the page Text."""
        lines = json.dumps(values, indent=2, default=str).splitlines()
        self._try("add_text", "settings", "\n".join(f"    {line}" for line in lines), step)

    def _try(self, call: str, *values: Any, **options: Any) -> None:
        if self._writer is None:
            return
        try:
            getattr(self._writer, call)(*values, **options)
        except OSError:  # raised late, from the writer's own thread
            self._writer = None


CURVE = 25  # steps whose losses become one point of the saved curve
VALIDATION_STEP = 2**40  # beyond all training steps, so that validation has fixed noise of its own
VALIDATION_BATCHES = 4
PREVIEW_STEPS = 12
PREVIEWS = 4  # pictures of the val split, the same at every preview
_PREVIEW_SIDE = 240  # pixels


@dataclass(frozen=True)
class TrainReport:
    """The result of a run; losses are means over the first and last CURVE steps, None without any.

    `steps_per_second` includes saving and validating, `training_steps_per_second` does not;
    `data_wait_share` is the share of the latter's time spent waiting for data.
    """

    checkpoint: str
    preset: str
    steps: int
    pairs: int
    parameters: int
    first_loss: float | None
    last_loss: float | None
    validation_loss: float | None
    seconds: float
    steps_per_second: float
    training_steps_per_second: float
    data_wait_share: float
    resumed_from: int
    interrupted: bool


class TrainingRun:
    """The state of a run in progress: model, optimiser, averaged weights, step count, losses."""

    def __init__(
        self,
        config: Config,
        release: Release,
        out: Path,
        accelerator: Any,
        codec: SoundCodec,
        conditioner: Conditioner,
        source: PairSource,
        validation: PairSource | None,
        targets: dict[str, np.ndarray] | None = None,
    ) -> None:
        import torch

        settings = config.optimisation
        self.config, self.release, self.out = config, release, out
        self.accelerator, self.codec, self.conditioner = accelerator, codec, conditioner
        self.source, self.validation, self.targets = source, validation, targets
        self.loader = training_batches(source, config, codec.latent_shape[1], accelerator)
        self.condition_dim = conditioner.dim
        self.family = open_family(config)
        model = self.family.build(self.condition_dim)
        if config.optimisation.channels_last and hasattr(model, "unet"):
            model.unet.to(memory_format=torch.channels_last)
        self.trained = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(
            self.trained,
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,  # three times as fast
        )
        self.model, self.optimiser = accelerator.prepare(model, optimiser)
        self.plain = accelerator.unwrap_model(self.model)
        if settings.compile and accelerator.device.type == "cuda" and hasattr(self.plain, "unet"):
            self.plain.unet.compile()  # in place, so that the names of weights are unchanged
        self.averaged = {n: t.clone() for n, t in learned(self.plain).items()}
        self.step = self.resumed_from = 0
        self.curve: list[float] = []
        self.recent: list[float] = []
        self.best: float | None = None
        self._pictures: dict[str, np.ndarray | None] = {}

    def begin(self) -> None:
        """Initialise a new run: set the constant text of published modules."""
        if (published := self.config.pretrained) is None:
            return
        states, mask = constant_stream(
            verified_folder(self.config), published.text, published.text_tokens
        )
        self.plain.constant.copy_(states)
        self.plain.constant_mask.copy_(mask)
        self.averaged = {n: t.clone() for n, t in learned(self.plain).items()}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore everything that a step depends on from a checkpoint."""
        load_weights(
            self.plain, read_tensors(checkpoint.path / "training.safetensors"), checkpoint.path
        )
        self.averaged = {n: t.to(self.accelerator.device) for n, t in checkpoint.weights.items()}
        load_optimiser(self.optimiser, checkpoint.path)
        self.loader.load_state_dict(checkpoint.state.stream)
        self.step = self.resumed_from = checkpoint.state.step
        self.curve, self.best = list(checkpoint.state.curve), checkpoint.state.best

    def go(
        self,
        total: int,
        log: Log,
        stop: threading.Event,
        progress: Progress,
        *,
        save_every: int,
        keep: int,
    ) -> TrainReport:
        """Train up to step `total`."""
        log.settings(
            {
                "release": self.release.digest,
                "pairs": len(self.source),
                "processes": self.accelerator.num_processes,
                "steps": total,
                **self.config.model_dump(mode="json"),
            },
            self.step,
        )
        if self.step == 0 and not stop.is_set():  # what training begins with, to compare with
            self._validate(log)
        began, waited, busy, done = time.perf_counter(), 0.0, 0.0, 0
        validation = None
        progress.start("train", total)
        progress.advance(min(self.step, total), before=True)
        stopping = False  # a run that is stopped before its first step does one, and is saved
        stream = iter(self.loader)
        with closing(stream):  # type: ignore[type-var]  # a generator
            try:
                while self.step < total and not stopping:
                    step_began = time.perf_counter()
                    pairs = [next(stream) for _ in range(self.config.optimisation.accumulate)]
                    wait = time.perf_counter() - step_began
                    self._one_step(self._batches(pairs), total, log, wait)
                    busy += time.perf_counter() - step_began
                    waited, done = waited + wait, done + 1
                    progress.advance(1)
                    stopping = self._any(stop.is_set())
                    if stopping:  # save without validating
                        self._save(None, keep)
                    elif self.step == total or self.step % save_every == 0:
                        validation = self._validate(log)
                        self._save(validation, keep)
            finally:
                progress.finish()
        self.accelerator.wait_for_everyone()
        seconds = time.perf_counter() - began
        curve = self.curve or ([float(np.mean(self.recent))] if self.recent else [])
        return TrainReport(
            checkpoint=str(find_checkpoint(self.out)),
            preset=self.config.preset,
            steps=self.step,
            pairs=len(self.source),
            parameters=sum(p.numel() for p in self.trained),
            first_loss=curve[0] if curve else None,
            last_loss=curve[-1] if curve else None,
            validation_loss=validation,
            seconds=round(seconds, 3),
            steps_per_second=round(done / seconds, 3) if done else 0.0,
            training_steps_per_second=round(done / busy, 3) if done else 0.0,
            data_wait_share=round(waited / busy, 4) if done else 0.0,
            resumed_from=self.resumed_from,
            interrupted=self.step < total,
        )

    def _batches(self, pairs: Sequence[dict[str, Any]]) -> list[Batch]:
        """This process's batches of the next step, one for each backward pass."""
        choice = draw_step(
            self.config,
            step=self.step,
            condition_dim=self.condition_dim,
            latent=self.codec.latent_shape,
        )
        device, rank = self.accelerator.device, self.accelerator.process_index
        ranks = self.accelerator.num_processes
        batches = []
        for number, some in enumerate(pairs):
            rows = rows_of_pass(len(some["key"]), number, rank, ranks)
            batches.append(make_batch(some, choice, self.config, device, rows, self.targets))
        return batches

    def _any(self, flag: bool) -> bool:
        """Whether `flag` is true on any process: all must stop at the same step."""
        import torch

        if self.accelerator.num_processes == 1:
            return flag
        mine = torch.tensor(float(flag), device=self.accelerator.device)
        return float(self.accelerator.reduce(mine, "sum")) > 0

    def _one_step(self, batches: list[Batch], total: int, log: Log, waited: float) -> None:
        """One update; `waited` is the time in seconds that its batches took to arrive."""
        import torch

        settings = self.config.optimisation
        began = time.perf_counter() - waited
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate * learning_rate_factor(
                self.step, settings.warmup, total, settings.schedule
            )
        self.model.train()
        losses = []
        for index, batch in enumerate(batches):
            last = index == len(batches) - 1
            with self.accelerator.no_sync(self.model) if not last else nullcontext():
                with self.accelerator.autocast():
                    each = self.family.loss(self.model, batch)
                loss = each.mean() / len(batches)
                self._check_finite(bool(torch.isfinite(each).all()), batch.keys)
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        norm = self.accelerator.clip_grad_norm_(self.trained, settings.clip)
        self._check_gradients(float(norm))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        update_average(self.averaged, self.plain, self.step, self.config.optimisation.ema)
        mean = float(self.accelerator.reduce(torch.stack(losses).sum(), "mean"))
        self.recent.append(mean)
        if self.step % CURVE == 0:
            self.curve.append(float(np.mean(self.recent[-CURVE:])))
            self.recent.clear()
        seconds = time.perf_counter() - began
        log.scalar("loss/train", mean, self.step)
        log.scalar("norm/gradient", float(norm), self.step)
        log.scalar("norm/weights", self._weight_norm(), self.step)
        log.scalar("speed/learning_rate", group["lr"], self.step)
        log.scalar("speed/pairs_per_second", settings.batch / seconds, self.step)
        log.scalar("speed/data_wait_share", waited / seconds, self.step)

    def _check_finite(self, finite: bool, keys: Sequence[str]) -> None:
        """Raise BadData on every process if the loss of any is not finite."""
        from accelerate.utils import gather_object

        if not self._any(not finite):
            return
        at_fault = gather_object([] if finite else list(keys))
        raise BadData(
            f"The loss of step {self.step + 1} is not finite, on the pairs {', '.join(at_fault)}: "
            f"look at them with `artsound browse`, and {self._lower_rate()}."
        )

    def _check_gradients(self, norm: float) -> None:
        """Raise BadData if the gradients are not finite: the weights would stay so for ever.

        Their norm is the same on every process.
        """
        if math.isfinite(norm):
            return
        precision = self.config.optimisation.mixed_precision
        half = "" if precision == "no" else ", or with --set optimisation.mixed_precision=no"
        raise BadData(
            f"The gradients of step {self.step + 1} are not finite, though its loss is: "
            f"{self._lower_rate()}{half}."
        )

    def _lower_rate(self) -> str:
        """The remedy for a loss that is not finite."""
        resumable = (self.out / "checkpoints").exists()
        return (
            f"{'add --resume to' if resumable else 'repeat'} the command with a lower "
            f"--set optimisation.learning_rate (it was {self.config.optimisation.learning_rate})"
        )

    def _weight_norm(self) -> float:
        """The Euclidean norm of all that is trained."""
        import torch

        return float(torch.stack(torch._foreach_norm([p.detach() for p in self.trained])).norm())

    def _validate(self, log: Log) -> float | None:
        """Mean loss of the averaged weights on the val split, with fixed noise and windows.

        The music for the first PREVIEWS val pictures is logged: as sound, beside the sound of their
        own tracks, and as an image of picture and both spectrograms.
        """
        if self.validation is None or not self.accelerator.is_main_process:
            return None
        condition = self.config.condition.model_copy(update={"noise": 0.0, "drop": 0.0})
        quiet = self.config.model_copy(update={"condition": condition})
        shape, mel = self.codec.latent_shape, self.config.mel
        batch = self.config.optimisation.batch
        held = self.validation.batches(
            quiet, shape[1], batch=batch, epoch_size=VALIDATION_BATCHES * batch
        )
        losses = []
        with averaged_weights(self.plain, self.averaged):
            for index, pairs in enumerate(held):
                step, dim = VALIDATION_STEP + index, self.condition_dim
                choice = draw_step(quiet, step=step, condition_dim=dim, latent=shape)
                made = make_batch(pairs, choice, quiet, self.accelerator.device)
                losses.append(float(self.family.loss(self.plain, made).mean()))
            shown = range(min(PREVIEWS, len(self.validation.keys)))
            conditions, true = zip(*(self.validation.read(n) for n in shown), strict=True)
            latents = self.family.sample(
                self.plain,
                np.stack(conditions),
                shape=shape,
                seeds=[self.config.seed + n for n in shown],
                steps=PREVIEW_STEPS,
                guidance=1.0,
            )
        loss = float(np.mean(losses))
        if not math.isfinite(loss):  # such weights are not saved
            raise BadData(
                f"The validation loss of step {self.step} is not finite: {self._lower_rate()}."
            )
        for number, latent in zip(shown, latents, strict=True):
            key = self.validation.keys[number]
            levels = self.codec.decode(latent)
            own = self.codec.decode(true[number][:, : shape[1]])
            log.sound(f"preview/{key}", self.codec.sound(levels), mel.sample_rate, self.step)
            log.sound(f"own track/{key}", self.codec.sound(own), mel.sample_rate, self.step)
            log.picture(
                f"preview/{key}", preview_image(self._picture(key), own, levels, mel), self.step
            )
        log.scalar("loss/validation", loss, self.step)
        return loss

    def _picture(self, key: str) -> np.ndarray | None:
        """A pair's picture uint8 [H, W, 3], read once; None if it cannot be read."""
        if key not in self._pictures:
            try:
                sample = self.release.data.read(self.release.data.position(key))
                self._pictures[key] = load_rgb(sample["jpg"], max_side=_PREVIEW_SIDE)
            except (ArtSoundError, MediaError):
                self._pictures[key] = None
        return self._pictures[key]

    def _save(self, validation: float | None, keep: int) -> None:
        if not self.accelerator.is_main_process:
            return
        if validation is not None:
            self.best = validation if self.best is None else min(self.best, validation)
        state = State(
            step=self.step,
            release=self.release.digest,
            encoder=self.config.condition.seen_by,
            condition_dim=self.condition_dim,
            pairs=len(self.source),
            stream=self.loader.state_dict(),
            validation=validation,
            best=self.best,
            curve=self.curve,
        )
        save_checkpoint(
            self.out,
            self.config,
            state,
            averaged=self.averaged,
            raw=learned(self.plain),
            arrays={**self.codec.tensors(), **self.conditioner.tensors()},
            optimiser=self.optimiser.state_dict(),
            keep=keep,
        )


def bf16_is_right(device: Any) -> bool:
    """Whether a device computes convolutions in bf16 correctly.

    On x86 processors without bf16 instructions, torch 2.15's convolutions of stride 2 (oneDNN's
    emulation) read memory that nothing has written: outputs or gradients are wrong or not finite,
    unless that memory happens to be zero, so that a trial alone does not tell.
    """
    import torch

    if torch.device(device).type != "cpu":
        return True
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # not in torch 2.6
    instructions = (able.get("avx512_bf16"), able.get("amx_bf16"))
    if able.get("architecture") == "x86_64" and not any(instructions):
        return False
    return all(_is_right_in_bf16(height, width) for height in (8, 32) for width in (1, 2))


def _is_right_in_bf16(height: int, width: int) -> bool:
    """Whether a convolution's output and gradients in bf16 are about those in float32."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(96, 96, 3, stride=2, padding=1)
        given = torch.randn(16, 96, height, width, requires_grad=True)
    found = []
    for half in (False, True):
        with torch.enable_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            output = layer(given).float()
            loss = (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum()
        found.append([output, *torch.autograd.grad(loss, [given, *layer.parameters()])])
    # Rounding to 8 bits changes a sum of many terms by less than 2 % of the largest.
    return all(
        bool((ours - exact).abs().max() < 0.05 * exact.abs().max())
        for exact, ours in zip(*found, strict=True)
    )


def learning_rate_factor(step: int, warmup: int, total: int, schedule: str) -> float:
    """Share of the learning rate at `step`: a linear warm-up, then constant or half a cosine."""
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant" or total <= warmup:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


LEAST_PAIRS = 8
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
    """Train on the train split of a release.

    `preset` is a name or a whole configuration; `steps` (default: the preset's) is the step to
    stop at, counted from the beginning of the run, resumed or not. Every `save_every` steps the
    run is saved, validated and previewed; the newest `keep` checkpoints and the best one stay.
    SIGTERM and Ctrl-C save a checkpoint first. `pretrained` is the folder or hub name of the
    published modules, for a preset that stands on them. `latents` is a folder or an address of what
    `write_latents` made, or "on-the-fly" to decode each pair whenever it is drawn; without it the
    latents are written to `out`/cache first.

    Args:
        data: A release of shards: its folder or address, or opened.
        preset: A name, or a whole configuration.
        out: The folder for checkpoints, the log and the cache.
        steps: The step to stop at, counted from the start of the run; None: the preset's.
        resume: Continue from the newest checkpoint in `out`, if there is one.
        seed: Of weights, order and noise; None: the preset's.
        save_every: Steps between checkpoints, each with validation and a preview.
        keep: How many of the newest checkpoints stay, beside the best one.
        pretrained: Folder or hub name of the published modules, for a preset that uses them.
        latents: A folder made by `write_latents`, or "on-the-fly" to decode each pair when it is
            drawn; None: decode all pairs once, and cache them in memory and in `out`/cache.
        progress: Counts decoded pairs, then steps.

    Raises:
        BadUsage: `out` has a run and `resume` is False, or the run has other data or settings.
        BadData: The split is too small, or the loss is not finite.
    """
    with importing():
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
    chosen = with_encoder(chosen, known_encoder(made, chosen) if made else "")
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

    if chosen.pretrained and start is None:  # before hours of decoding
        check_modules(chosen, captions=bool(chosen.extra.alignment))

    set_seed(chosen.seed)
    # accelerate stores the precision of a process's first run; this run has its own.
    AcceleratorState._reset_state()
    # By default accelerate does not connect processes without a GPU.
    on_cpu = "LOCAL_RANK" in os.environ and not torch.cuda.is_available()
    accelerator = Accelerator(cpu=on_cpu, mixed_precision=chosen.optimisation.mixed_precision)
    if chosen.optimisation.mixed_precision == "bf16" and not bf16_is_right(accelerator.device):
        raise BadUsage(
            f"torch {torch.__version__} computes convolutions in bf16 wrongly on this processor, "
            "which has no instructions for it: add --set optimisation.mixed_precision=no."
        )
    if accelerator.device.type == "cpu" and chosen.optimisation.cpu_threads:
        torch.set_num_threads(chosen.optimisation.cpu_threads)
    # Reported now rather than when all pairs are decoded.
    pass_size(chosen.optimisation, accelerator.num_processes)
    progress = progress if accelerator.is_main_process else QUIET
    with accelerator.main_process_first():  # the others read its cache
        source, validation, codec, conditioner = _sources(
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

    run = TrainingRun(
        chosen, release, out, accelerator, codec, conditioner, source, validation, targets
    )
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
) -> tuple[PairSource, PairSource | None, SoundCodec, Conditioner]:
    """Training and validation pairs, codec and conditioner.

    Codec and conditioner come from a checkpoint's `arrays` if there are any.
    """
    pairs, held_out = release.pairs("train"), release.pairs("val")
    codec = open_family(config).open_codec(arrays, device) if arrays else None
    conditioner = Conditioner.from_tensors(config.condition, arrays) if arrays else None
    if latents == ON_THE_FLY:
        if codec is None or conditioner is None:
            codec, conditioner = fit_on_some(pairs, config, device)
        sources = [
            media_source(some, config, codec, conditioner, device, held_out=some is held_out)
            for some in (pairs, held_out)
        ]
    else:
        if latents is None:
            latents = out / "cache" / f"latents-{latents_digest(release, config)[:16]}"
            write_latents(release, latents, preset=config, device=device, progress=progress)
        stored = open_latents(latents, release, config, device)
        codec = codec or stored.codec
        conditioner = conditioner or stored.conditioner(pairs)
        sources = [
            stored.source(some, conditioner, held_out=some is held_out)
            for some in (pairs, held_out)
        ]
    return sources[0], sources[1] if len(held_out) else None, codec, conditioner


def _resume_point(out: Path, config: Config, release: Release) -> Checkpoint | None:
    """The checkpoint to continue from, or None if there is none; BadUsage if the run differs."""
    if not list((out / "checkpoints").glob("step-*/state.json")):
        return None
    checkpoint = load_checkpoint(out)
    check_release(checkpoint.path, checkpoint.state, release.digest)
    if not checkpoint.state.stream:
        raise BadUsage(f"{out} was begun by an earlier version: choose another --out.")
    if changed := _changed(every_setting(_fixed(checkpoint.config)), every_setting(_fixed(config))):
        raise BadUsage(
            f"{out} was started with other settings ({', '.join(changed)}): resume with those, or "
            "choose another --out."
        )
    return checkpoint


def _fixed(config: Config) -> Config:
    """`config` without the settings that may change when a run is resumed.

    These are the paths of published modules and weights (their digests may not change), the
    package of the preset, how a step is computed (for another machine or number of processes), and
    the length and learning rate of a run, so that one whose loss was not finite can continue with
    a lower rate.
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
        update={
            "condition": condition,
            "pretrained": published,
            "optimisation": optimisation,
            "plugin": {},
        }
    )


def _changed(before: dict[str, Any], now: dict[str, Any], within: str = "") -> list[str]:
    """The names of settings that differ, as for --set, with their previous values."""
    changed: list[str] = []
    for name, value in now.items():
        was = before.get(name)
        if isinstance(was, dict) and isinstance(value, dict):
            changed += _changed(was, value, f"{within}{name}.")
        elif was != value:
            changed.append(f"{within}{name} was {was}")
    return changed


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set, so that the run is saved after the current step."""
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
