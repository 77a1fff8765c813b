"""Music from pictures with nothing but a checkpoint folder."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from toy_pairs import picture

from artsound.errors import BadData, BadUsage
from artsound.training.checkpoint import find_checkpoint
from artsound.training.generate import generate
from artsound.training.loop import TrainReport

QUICK = {"steps": 4, "seconds": 1.5}


@pytest.fixture(scope="module")
def lone(trained: tuple[Path, TrainReport], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, moved away from everything it was made from."""
    target = tmp_path_factory.mktemp("lone") / "checkpoint"
    return Path(shutil.copytree(find_checkpoint(trained[0]), target))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a painting.jpg"
    path.write_bytes(picture(0.5, 0.8, 99))
    return path


def test_a_picture_gives_sound_of_the_length_asked_for(
    lone: Path, image: Path, tmp_path: Path
) -> None:
    [piece] = generate(lone, [image], tmp_path / "out.wav", **QUICK)
    wave, rate = soundfile.read(tmp_path / "out.wav")
    assert (len(wave), rate) == (24_000, 16_000)
    assert piece.seconds == 1.5
    assert -60 < piece.loudness < 0
    assert 0 < np.abs(wave).max() < 1


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(
    lone: Path, image: Path, tmp_path: Path
) -> None:
    digests = [
        generate(lone, [image], tmp_path / f"{n}.wav", seed=seed, **QUICK)[0].sha256
        for n, seed in enumerate((3, 3, 4))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_several_pictures_go_into_a_folder_by_their_names(
    lone: Path, image: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.jpg"
    other.write_bytes(picture(-0.5, -0.8, 98))
    pieces = generate(lone, [image, other], tmp_path / "wavs", **QUICK)
    assert [Path(piece.file).name for piece in pieces] == ["a painting.wav", "other.wav"]
    assert pieces[0].sha256 != pieces[1].sha256


def test_bad_requests_and_broken_pictures_are_reported(
    lone: Path, image: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadUsage, match="not a file"):
        generate(lone, [tmp_path / "none.jpg"], tmp_path / "x.wav")
    with pytest.raises(BadUsage, match="one file for 2 pictures"):
        generate(lone, [image, image], tmp_path / "x.wav")
    with pytest.raises(BadUsage, match="out of range"):
        generate(lone, [image], tmp_path / "x.wav", seconds=0)
    with pytest.raises(BadUsage, match=r"--steps 2000 is out of range: choose between 1 and 1000"):
        generate(lone, [image], tmp_path / "x.wav", steps=2000)
    with pytest.raises(BadUsage, match=r"x\.mp3 is not a WAV"):
        generate(lone, [image], tmp_path / "x.mp3")
    for seed in (-1, 2**31):
        with pytest.raises(BadUsage, match=f"--seed {seed} is out of range"):
            generate(lone, [image], tmp_path / "x.wav", seed=seed)
    (tmp_path / "B.wav").mkdir()
    for out, fault in (("B.wav", "is a folder"), ("a painting.jpg/x.wav", r"jpg is a file, not")):
        with pytest.raises(BadUsage, match=fault):
            generate(lone, [image], tmp_path / out)
    (tmp_path / "B").mkdir()
    same, cat = tmp_path / "B" / "A painting.png", tmp_path / "cat.png"
    for file in (same, cat):
        file.write_bytes(image.read_bytes())
    with pytest.raises(BadUsage, match=r"a painting\.jpg and .*A painting\.png have the same name"):
        generate(lone, [image, same], tmp_path / "wavs")
    for out in (tmp_path / "cat.wav", tmp_path / "B" / ".."):
        with pytest.raises(BadUsage, match=r"cat\.wav would replace the picture .*cat\.png"):
            generate(lone, [cat], out, spectrogram=True)
    assert cat.read_bytes() == image.read_bytes()
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(image.read_bytes()[:300])
    with pytest.raises(BadData, match=r"broken\.jpg"):
        generate(lone, [broken], tmp_path / "x.wav")
    assert not (tmp_path / "x.wav").exists()


@pytest.mark.parametrize("scheduler", ["dpm", "unipc"])
def test_another_scheduler_gives_other_sound_the_same_every_time(
    lone: Path, image: Path, tmp_path: Path, scheduler: str
) -> None:
    ways = ["ddim", scheduler, scheduler]
    digests = [
        generate(lone, [image], tmp_path / f"{n}.wav", scheduler=way, **QUICK)[0].sha256
        for n, way in enumerate(ways)
    ]
    assert digests[0] != digests[1] == digests[2]
    with pytest.raises(BadUsage, match="no scheduler 'heun': choose one of ddim, dpm, unipc"):
        generate(lone, [image], tmp_path / "x.wav", scheduler="heun")


def test_pictures_come_out_alike_in_any_batch(lone: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(picture((number - 1) / 2, 0.2, number))
    together = generate(lone, [folder], tmp_path / "three", batch=3, spectrogram=True, **QUICK)
    two = generate(lone, [folder], tmp_path / "two", batch=2, **QUICK)
    for one, other in zip(together, two, strict=True):
        assert one.loudness == pytest.approx(other.loudness, abs=0.05)
        assert Path(one.file).with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_a_negative_picture_changes_what_guidance_pushes_away_from(
    lone: Path, image: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.jpg"
    other.write_bytes(picture(-0.5, -0.8, 98))

    def digest(guidance: float, negative: Path | None) -> str:
        [piece] = generate(
            lone, [image], tmp_path / "x.wav", guidance=guidance, negative=negative, **QUICK
        )
        return piece.sha256

    assert digest(3.0, other) != digest(3.0, None)
    assert digest(1.0, other) == digest(1.0, None)
    with pytest.raises(BadUsage, match=r"none\.jpg is not a file"):
        digest(3.0, tmp_path / "none.jpg")
    for guidance in (-1.0, math.nan, math.inf):
        with pytest.raises(BadUsage, match=f"guidance {guidance} is out of range"):
            digest(guidance, None)


HEAVY = (
    "accelerate", "boto3", "diffusers", "librosa", "matplotlib", "numba", "open_clip", "pandas",
    "peft", "polars", "prefect", "requests", "scipy.signal", "scipy.stats", "sklearn", "soxr",
    "sympy", "tensorboard", "torch._dynamo", "torch._inductor", "torchvision", "transformers",
)  # fmt: skip


def test_the_command_gives_the_same_bytes_without_libraries_that_it_does_not_need(
    trained: tuple[Path, TrainReport], tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(picture(0.5, 0.5, 1))
    code = (
        "import sys; from artsound.cli import main\n"
        "try: main()\n"
        f"finally: print([n for n in {HEAVY} if n in sys.modules])"
    )
    options = ["--checkpoint", trained[0], "--image", tmp_path / "a.jpg", "--steps", "2"]
    command = ["generate", *options, "--out", tmp_path / "command.wav"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, command)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    generate(trained[0], [tmp_path / "a.jpg"], tmp_path / "b.wav", steps=2)
    assert (tmp_path / "command.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
