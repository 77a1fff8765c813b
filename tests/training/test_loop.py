"""Training: the loss falls, and nothing can make a run end differently than it would have."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy_pairs import open_toys, toy_pairs, toy_release

from artsound.errors import BadData, BadUsage
from artsound.storage import read_json
from artsound.training import family
from artsound.training.checkpoint import load_checkpoint
from artsound.training.config import Config, with_settings
from artsound.training.data import Release
from artsound.training.loop import TrainReport, bf16_is_right, learning_rate_factor, train


class StopAfter:
    """A progress that sends this process SIGTERM after so many training steps."""

    def __init__(self, steps: int) -> None:
        self.left, self.stage = steps, ""

    def start(self, stage: str, items: int) -> None:  # noqa: ARG002 (the protocol)
        self.stage = stage

    def advance(self, items: int, *, before: bool = False) -> None:  # noqa: ARG002
        if self.stage == "train":
            self.left -= items
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGTERM)

    def finish(self) -> None: ...


def files(out: Path, step: int) -> dict[str, bytes]:
    folder = out / "checkpoints" / f"step-{step:08d}"
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}


def test_the_loss_falls(trained: tuple[Path, TrainReport]) -> None:
    _, report = trained
    assert report.last_loss < 0.9 * report.first_loss
    assert report.steps == 80
    assert not report.interrupted
    assert report.data_wait_share < 0.5


def test_a_run_stopped_by_sigterm_and_resumed_gives_the_same_bytes(
    release: Release, small: Config, tmp_path: Path
) -> None:
    train(release, small, tmp_path / "whole", steps=6)
    stopped = train(release, small, tmp_path / "halves", steps=6, progress=StopAfter(3))
    assert stopped.interrupted
    assert stopped.steps == 3
    resumed = train(release, small, tmp_path / "halves", steps=6, resume=True)
    assert resumed.resumed_from == 3
    whole, halves = files(tmp_path / "whole", 6), files(tmp_path / "halves", 6)
    assert set(whole) == {"training.safetensors", "weights.safetensors"}
    assert whole == halves


def test_only_the_newest_and_the_best_checkpoints_are_kept(
    release: Release, small: Config, tmp_path: Path
) -> None:
    train(release, small, tmp_path, steps=5, save_every=1, keep=2)
    steps = sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*"))
    assert {"step-00000004", "step-00000005"} <= set(steps)
    assert len(steps) <= 3
    best = read_json(tmp_path / "checkpoints" / "best.json")
    assert f"step-{best['step']:08d}" in steps
    reported = {step: load_checkpoint(tmp_path / "checkpoints" / step).state for step in steps}
    assert min(state.best for state in reported.values() if state.best) == best["validation"]


def test_a_folder_with_a_run_is_not_overwritten(
    release: Release, small: Config, trained: tuple[Path, TrainReport]
) -> None:
    with pytest.raises(BadUsage, match="already holds a run"):
        train(release, small, trained[0], steps=1)


def test_other_data_and_other_settings_are_refused_on_resume(
    release: Release, small: Config, trained: tuple[Path, TrainReport]
) -> None:
    with pytest.raises(BadUsage, match="another release"):
        train(replace(release, digest="8" * 64), small, trained[0], resume=True)
    with pytest.raises(BadUsage, match=r"other settings \(seed was 0\)"):
        train(release, small, trained[0], seed=5, resume=True)
    with pytest.raises(BadUsage, match=r"\(condition\.tokens was 4, optimisation\.ema was 0\.9\)"):
        train(
            release,
            with_settings(small, ["condition.tokens=2", "optimisation.ema=0.5"]),
            trained[0],
            resume=True,
        )


def test_a_run_continues_with_a_lower_rate_and_on_another_machine(
    release: Release, small: Config, tmp_path: Path
) -> None:
    train(release, small, tmp_path, steps=1)
    changed = ["learning_rate=1e-5", "accumulate=2", "channels_last=true"]
    other = with_settings(small, [f"optimisation.{setting}" for setting in changed])
    assert train(release, other, tmp_path, steps=2, resume=True).resumed_from == 1
    events = EventAccumulator(str(tmp_path / "log")).Reload()
    assert [e.value for e in events.Scalars("speed/learning_rate")] == pytest.approx([1e-3, 4e-6])


def test_a_batch_that_cannot_be_split_is_reported_before_anything_is_decoded(
    release: Release, small: Config, tmp_path: Path
) -> None:
    with pytest.raises(BadUsage, match=r"12 cannot be split into 5 passes .* a multiple of 5"):
        train(release, with_settings(small, ["optimisation.accumulate=5"]), tmp_path)
    assert not (tmp_path / "cache").exists()


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_pairs(
    release: Release, small: Config, tmp_path: Path
) -> None:
    wild = small.optimisation.model_copy(update={"learning_rate": 1e25, "warmup": 0})
    wild_small = small.model_copy(update={"optimisation": wild})
    with pytest.raises(BadData, match=r"step [2-8] is not finite, on the pairs 0010.* repeat the"):
        train(release, wild_small, tmp_path, steps=8)
    with pytest.raises(BadData, match="The validation loss of step 1 is not finite: repeat the"):
        train(release, wild_small, tmp_path, steps=8, save_every=1)
    assert not (tmp_path / "checkpoints").exists()
    train(release, small, tmp_path, steps=1)
    with pytest.raises(BadData, match=r"is not finite.* add --resume to the command with a lower"):
        train(release, wild_small, tmp_path, steps=8, resume=True)
    assert train(release, small, tmp_path, steps=2, resume=True).steps == 2


def test_gradients_that_are_not_finite_stop_before_they_reach_the_weights(
    release: Release, small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = family.diffusion_loss

    def steep(*values: Any, **options: Any) -> torch.Tensor:
        each = plain(*values, **options)
        return each + (0 * each).sqrt()  # the slope of a root at 0 is infinite

    monkeypatch.setattr(family, "diffusion_loss", steep)
    with pytest.raises(BadData, match=r"gradients of step 1 .* optimisation\.learning"):
        train(release, small, tmp_path, steps=2)


def test_bf16_trains_or_says_that_this_processor_computes_it_wrongly(
    release: Release, small: Config, tmp_path: Path
) -> None:
    half = with_settings(small, ["optimisation.mixed_precision=bf16"])
    if bf16_is_right("cpu"):
        assert train(release, half, tmp_path, steps=4).last_loss is not None
        return
    with pytest.raises(BadUsage, match=r"in bf16 wrongly on this processor.*mixed_precision=no"):
        train(release, half, tmp_path, steps=4)
    assert not (tmp_path / "cache").exists()


def test_too_few_pairs_and_a_broken_clip_are_told(small: Config, tmp_path: Path) -> None:
    few = toy_release(tmp_path / "few", train=3, seconds=2.0)
    with pytest.raises(BadData, match="3 pairs, fewer than the 8"):
        train(few, small, tmp_path, steps=1)
    pairs = toy_pairs(8, 5, seconds=2.0)
    pairs[0]["mp3"] = b"not an MP3"
    broken = toy_release(tmp_path / "broken", train=pairs, seconds=2.0)
    with pytest.raises(BadData, match="Pair 005000 cannot be decoded"):
        train(broken, small, tmp_path / "b")


def test_what_was_decoded_is_read_again_from_the_cache(
    release: Release, small: Config, trained: tuple[Path, TrainReport], tmp_path: Path
) -> None:
    (tmp_path / "cache").symlink_to(trained[0] / "cache")
    toys = Path(release.data.store.location)
    for path in toys.glob("index.*"):  # all but the media
        shutil.copy(path, tmp_path)
    assert train(open_toys(tmp_path), small, tmp_path, steps=1).pairs == 12


def test_the_learning_rate_warms_up_and_then_follows_its_schedule() -> None:
    assert [learning_rate_factor(s, 4, 100, "constant") for s in (0, 3, 50)] == [0.25, 1, 1]
    cosine = [learning_rate_factor(s, 4, 100, "cosine") for s in (4, 52, 100)]
    assert cosine == pytest.approx([1, 0.5, 0])
