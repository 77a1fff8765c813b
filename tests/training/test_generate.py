"""Music from pictures with nothing but a checkpoint folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from toy_pairs import picture

from artsound.errors import BadData, BadUsage
from artsound.training.checkpoint import find_checkpoint
from artsound.training.generate import generate
from artsound.training.run import TrainReport

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


def test_bad_requests_and_broken_pictures_are_told(lone: Path, image: Path, tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="not a file"):
        generate(lone, [tmp_path / "none.jpg"], tmp_path / "x.wav")
    with pytest.raises(BadUsage, match="one file for 2 pictures"):
        generate(lone, [image, image], tmp_path / "x.wav")
    with pytest.raises(BadUsage, match="out of range"):
        generate(lone, [image], tmp_path / "x.wav", seconds=0)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(image.read_bytes()[:300])
    with pytest.raises(BadData, match=r"broken\.jpg"):
        generate(lone, [broken], tmp_path / "x.wav")
    assert not (tmp_path / "x.wav").exists()
