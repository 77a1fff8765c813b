"""What a run's TensorBoard log shows, read back with TensorBoard itself."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from artsound.training.config import Config
from artsound.training.loop import Log, TrainReport


def test_losses_norms_pace_and_waiting_are_logged_at_every_step(
    trained: tuple[Path, TrainReport],
) -> None:
    events = EventAccumulator(str(trained[0] / "log"), size_guidance={"scalars": 0}).Reload()
    for name in (
        "loss/train",
        "norm/gradient",
        "norm/weights",
        "speed/learning_rate",
        "speed/pairs_per_second",
        "speed/data_wait_share",
    ):
        values = events.Scalars(name)
        assert [value.step for value in values] == list(range(1, 81))
        assert all(np.isfinite(value.value) and value.value >= 0 for value in values)
    assert [value.step for value in events.Scalars("loss/validation")] == [0, 40, 80]


def test_there_is_sound_with_its_spectrogram_for_a_picture_never_trained_on(
    trained: tuple[Path, TrainReport], small: Config
) -> None:
    events = EventAccumulator(str(trained[0] / "log")).Reload()
    names = [tag for tag in events.Tags()["images"] if tag.startswith("preview/")]
    assert names == [f"preview/00{number}" for number in range(2000, 2000 + len(names))]
    assert len(names) == 4  # the same pairs of val at every preview, from the first on
    assert all([one.step for one in events.Images(each)] == [0, 40, 80] for each in names)
    [told] = events.Tensors("settings/text_summary")
    settings = json.loads(told.tensor_proto.string_val[0])
    assert settings["optimisation"]["batch"] == small.optimisation.batch
    assert (settings["steps"], told.step) == (80, 0)
    name = names[0]
    heard, seen = events.Audio(name)[-1], events.Images(name)[-1]
    own = events.Audio(name.replace("preview", "own track"))[-1]
    assert own.encoded_audio_string != heard.encoded_audio_string
    wave, rate = soundfile.read(io.BytesIO(heard.encoded_audio_string))
    assert rate == small.mel.sample_rate
    assert len(wave) >= small.mel.seconds * rate
    picture = Image.open(io.BytesIO(seen.encoded_image_string))
    assert picture.width > 4 * picture.height  # a picture and two spectrograms side by side


def test_steps_done_again_after_a_crash_are_shown_once(tmp_path: Path) -> None:
    for after, last, value in ((0, 5, 1.0), (3, 6, 2.0)):
        with Log(tmp_path, after=after) as log:
            for step in range(after + 1, last + 1):
                log.scalar("loss/train", value, step)
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("loss/train")
    assert [(e.step, e.value) for e in events] == [
        (1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2),
    ]  # fmt: skip


def test_without_a_folder_nothing_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Log(None) as log:
        log.scalar("loss/train", 1.0, 1)
    assert not list(tmp_path.iterdir())
