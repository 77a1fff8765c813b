"""One run: a model, its optimiser and averaged weights, stepped, saved, validated, listened to."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.errors import BadData
from artsound.stage import Progress
from artsound.training.average import averaged_weights, move_average
from artsound.training.batches import Batch, Source, make_batch, shares
from artsound.training.checkpoint import (
    Checkpoint,
    State,
    find_checkpoint,
    load_optimiser,
    load_weights,
    read_tensors,
    save_checkpoint,
)
from artsound.training.codec import SoundCodec
from artsound.training.conditioning import Standardiser
from artsound.training.config import Config
from artsound.training.data import Release
from artsound.training.draw import draw
from artsound.training.log import Log
from artsound.training.model import (
    build_model,
    diffusion_loss,
    learned,
    noise_schedule,
    sample_latents,
)
from artsound.training.plots import spectrogram
from artsound.training.pretrained import constant_stream, verified_folder

if TYPE_CHECKING:
    import torch

CURVE = 25  # steps whose losses become one point of the saved curve
VALIDATION_STEP = 2**40  # far from any training step: the validation noise is its own, and fixed
VALIDATION_BATCHES = 4
PREVIEW_STEPS = 12


@dataclass(frozen=True)
class TrainReport:
    """What a run did; losses are means over the first and last CURVE steps, None with no step.

    `steps_per_second` is of the whole run, `training_steps_per_second` without its saving and
    validating; `data_wait_share` is a share of the latter's time.
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


class Run:
    """The moving parts of one run: model, optimiser, averaged weights, step count, losses."""

    def __init__(
        self,
        config: Config,
        release: Release,
        out: Path,
        accelerator: Any,
        codec: SoundCodec,
        standardise: Standardiser,
        source: Source,
        validation: Source | None,
        targets: np.ndarray | None = None,
    ) -> None:
        import torch

        settings = config.optimisation
        self.config, self.release, self.out = config, release, out
        self.accelerator, self.codec, self.standardise = accelerator, codec, standardise
        self.source, self.validation, self.targets = source, validation, targets
        self.condition_dim = len(standardise.mean)
        model = build_model(
            config,
            condition_dim=self.condition_dim,
            channels=config.codec.channels,
            bands=config.codec.bands,
        )
        if config.optimisation.channels_last:
            model.unet.to(memory_format=torch.channels_last)
        self.trained = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(
            self.trained,
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,  # one pass over the weights: three times as fast as by operations
        )
        self.model, self.optimiser = accelerator.prepare(model, optimiser)
        self.plain = accelerator.unwrap_model(self.model)
        if settings.compile and accelerator.device.type == "cuda":
            self.plain.unet.compile()  # in place: the names of its weights stay
        self.averaged = {n: t.clone() for n, t in learned(self.plain).items()}
        self.schedule = noise_schedule(config)
        self.step = self.resumed_from = 0
        self.curve: list[float] = []
        self.recent: list[float] = []
        self.best: float | None = None

    def begin(self) -> None:
        """Fill in what a new run keeps from its start: the constant text of published modules."""
        if (published := self.config.pretrained) is None:
            return
        states, mask = constant_stream(
            verified_folder(self.config), published.text, published.text_tokens
        )
        self.plain.constant.copy_(states)
        self.plain.constant_mask.copy_(mask)
        self.averaged = {n: t.clone() for n, t in learned(self.plain).items()}

    def restore(self, kept: Checkpoint) -> None:
        """Go on from a checkpoint: everything a step depends on."""
        load_weights(self.plain, read_tensors(kept.path / "training.safetensors"), kept.path)
        self.averaged = {n: t.to(self.accelerator.device) for n, t in kept.weights.items()}
        load_optimiser(self.optimiser, kept.path)
        self.step = self.resumed_from = kept.state.step
        self.curve, self.best = list(kept.state.curve), kept.state.best

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
        began, waited, busy, done = time.perf_counter(), 0.0, 0.0, 0
        validation = None
        progress.start("train", total)
        progress.advance(min(self.step, total))
        stopping = self._any(stop.is_set())
        with ThreadPoolExecutor(max_workers=1) as pool:
            try:
                ahead = pool.submit(self._batches, self.step)
                while self.step < total and not stopping:
                    step_began = time.perf_counter()
                    batches = ahead.result()
                    wait = time.perf_counter() - step_began
                    if self.step + 1 < total:  # read while this step is computed
                        ahead = pool.submit(self._batches, self.step + 1)
                    self._one_step(batches, total, log, wait)
                    busy += time.perf_counter() - step_began
                    waited, done = waited + wait, done + 1
                    progress.advance(1)
                    stopping = self._any(stop.is_set())
                    if stopping:  # in a hurry: save, and leave
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
            pairs=len(self.source.keys),
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

    def _batches(self, step: int) -> list[Batch]:
        """This process's batches of `step`, one for each backward pass."""
        choice = draw(
            self.config,
            step=step,
            pairs=len(self.source.keys),
            condition_dim=self.condition_dim,
            latent=self.codec.latent_shape,
        )
        settings = self.config.optimisation
        return [
            make_batch(
                self.source,
                choice,
                self.config,
                self.codec.latent_shape[1],
                self.accelerator.device,
                rows,
                self.targets,
            )
            for rows in shares(settings.batch, settings.accumulate, self.accelerator)
        ]

    def _any(self, flag: bool) -> bool:
        """Whether `flag` holds on any process: all of them must stop at the same step."""
        import torch

        if self.accelerator.num_processes == 1:
            return flag
        mine = torch.tensor(float(flag), device=self.accelerator.device)
        return float(self.accelerator.reduce(mine, "sum")) > 0

    def _one_step(self, batches: list[Batch], total: int, log: Log, waited: float) -> None:
        """One update from batches that were waited for `waited` seconds."""
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
                    each = self._loss(batch, self.model)
                loss = each.mean() / len(batches)
                self._check_finite(bool(torch.isfinite(each).all()), batch.keys)
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        norm = self.accelerator.clip_grad_norm_(self.trained, settings.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        move_average(self.averaged, self.plain, self.step, self.config.optimisation.ema)
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

    def _loss(self, batch: Batch, model: Any) -> torch.Tensor:
        return diffusion_loss(
            model,
            self.schedule,
            self.config,
            latents=batch.latents,
            embedding=batch.embedding,
            keep=batch.keep,
            noise=batch.noise,
            timestep=batch.timestep,
            target=batch.target,
        )

    def _check_finite(self, finite: bool, keys: Sequence[str]) -> None:
        """BadData, on every process, when the loss of any is not finite."""
        from accelerate.utils import gather_object

        if not self._any(not finite):
            return
        blamed = gather_object([] if finite else list(keys))
        raise BadData(
            f"The loss of step {self.step + 1} is not finite, on the pairs {', '.join(blamed)}: "
            f"look at them with `artsound browse`, and {self._more_carefully()}."
        )

    def _more_carefully(self) -> str:
        """What to do when numbers have run away."""
        kept = (self.out / "checkpoints").exists()
        return (
            f"{'add --resume to' if kept else 'repeat'} the command with a lower "
            f"--set optimisation.learning_rate (it was {self.config.optimisation.learning_rate})"
        )

    def _weight_norm(self) -> float:
        """The Euclidean norm of all that is trained."""
        import torch

        return float(torch.stack(torch._foreach_norm([p.detach() for p in self.trained])).norm())

    def _validate(self, log: Log) -> float | None:
        """Mean loss of the averaged weights on the val split, noise and windows always the same.

        The log also gets the music for the first val picture, as sound and spectrogram.
        """
        if self.validation is None or not self.accelerator.is_main_process:
            return None
        condition = self.config.condition.model_copy(update={"noise": 0.0, "drop": 0.0})
        quiet = self.config.model_copy(update={"condition": condition})
        shape, mel = self.codec.latent_shape, self.config.mel
        losses = []
        with averaged_weights(self.plain, self.averaged):
            for index in range(VALIDATION_BATCHES):
                choice = draw(
                    quiet,
                    step=VALIDATION_STEP + index,
                    pairs=len(self.validation.keys),
                    condition_dim=self.condition_dim,
                    latent=shape,
                )
                batch = make_batch(
                    self.validation, choice, quiet, shape[1], self.accelerator.device, slice(None)
                )
                losses.append(float(self._loss(batch, self.plain).mean()))
            [latent] = sample_latents(
                self.plain,
                self.config,
                self.validation.read(0)[0][None],
                shape=shape,
                seeds=[self.config.seed],
                steps=PREVIEW_STEPS,
                guidance=1.0,
            )
        loss = float(np.mean(losses))
        if not math.isfinite(loss):  # such weights are not kept
            raise BadData(
                f"The validation loss of step {self.step} is not finite: {self._more_carefully()}."
            )
        levels = self.codec.decode(latent)
        wave = self.codec.sound(levels)
        log.sound(f"preview/{self.validation.keys[0]}", wave, mel.sample_rate, self.step)
        log.picture(f"preview/{self.validation.keys[0]}", spectrogram(levels, mel), self.step)
        log.scalar("loss/validation", loss, self.step)
        return loss

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
            pairs=len(self.source.keys),
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
            arrays={**self.codec.tensors(), **self.standardise.tensors()},
            optimiser=self.optimiser.state_dict(),
            keep=keep,
        )


def learning_rate_factor(step: int, warmup: int, total: int, schedule: str) -> float:
    """Share of the learning rate at `step`: a linear warm-up, then constant or half a cosine."""
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant" or total <= warmup:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
