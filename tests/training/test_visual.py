"""CLIP or ImageBind as the eye of a run, on small random weights, from training to evaluation."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_pairs import picture, toy_pairs, toy_release

import artsound
from artsound.encoders.base import encoder_digest, open_encoder
from artsound.errors import BadData, BadUsage
from artsound.recipe import Recipe
from artsound.storage import Workspace
from artsound.training.checkpoint import load_checkpoint
from artsound.training.config import Config, with_settings
from artsound.training.data import Release, open_release, write_latents
from artsound.training.evaluate import evaluate
from artsound.training.generate import generate
from artsound.training.loop import train
from artsound.training.pictures import describe_picture, open_picture_encoder, with_encoder
from artsound.untrusted import read_array

sys.path.append(str(Path(__file__).resolve().parents[1] / "encoders"))
from random_weights import CLIP_MODEL, register_clip, write_clip
from test_imagebind import stand_in  # noqa: F401  (a fixture)

QUICK = {"steps": 2, "seconds": 1.0}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP's weights."""
    home = tmp_path_factory.mktemp("clip")
    register_clip(home)
    return write_clip(home, CLIP_MODEL)


@pytest.fixture(scope="module")
def seeing(small: Config, clip: Path) -> Config:
    """Settings of a run that sees with it."""
    asked = ["encoder=clip", f"clip_model={CLIP_MODEL}", f"clip_checkpoint={clip}"]
    return with_settings(small, [f"condition.{setting}" for setting in asked])


@pytest.fixture(scope="module")
def run(release: Release, seeing: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps, resumed for a seventh."""
    out = tmp_path_factory.mktemp("run")
    train(release, seeing, out, steps=6)
    assert train(release, seeing, out, steps=7, resume=True).resumed_from == 6
    return out


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a painting.jpg"
    path.write_bytes(picture(0.5, 0.8, 99))
    return path


def other_weights(clip: Path, folder: Path) -> Path:
    """The same tensors, one of them changed."""
    import torch

    tensors = torch.load(clip, weights_only=True)
    tensors["visual.proj"] += 1
    torch.save(tensors, folder / "other.pt")
    return folder / "other.pt"


def test_an_eye_gives_the_encoders_own_vectors(seeing: Config, clip: Path) -> None:
    config = with_encoder(seeing)
    pictures = [picture(0.1 * n, 0.2, n) for n in range(3)]
    recipe = Recipe().replaced(
        embed={"clip_model": CLIP_MODEL, "clip_checkpoint": str(clip), "device": "cpu"}
    )
    eye = open_picture_encoder(config.condition)
    rows = np.array([eye(data) for data in pictures])
    wanted = open_encoder("clip", recipe).images(pictures)
    np.testing.assert_allclose(rows, wanted, atol=1e-5)
    assert config.condition.encoder_digest == encoder_digest("clip", recipe)
    measured = open_picture_encoder(Config(preset="tiny").condition)
    assert np.array_equal(measured(pictures[0]), describe_picture(pictures[0]))


def test_a_checkpoint_knows_the_encoder_it_needs(run: Path, seeing: Config) -> None:
    kept = load_checkpoint(run)
    digest = with_encoder(seeing).condition.encoder_digest
    assert kept.config.condition.encoder_digest == digest
    assert (kept.state.encoder, kept.state.condition_dim) == (f"clip {digest}", 16)


def test_embeddings_are_computed_once(run: Path, release: Release) -> None:
    [latents] = (run / "cache").glob("latents-*")
    data = artsound.open(latents)
    vectors = [read_array(data.read(n)["condition.npy"]) for n in range(len(data))]
    assert len(vectors) == len(release.data)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_pictures_seen_by_clip_become_music(run: Path, image: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jpg"
    other.write_bytes(picture(-0.5, -0.8, 98))
    first, again, else_ = (
        generate(run, [file], tmp_path / "x.wav", **QUICK)[0].sha256
        for file in (image, image, other)
    )
    assert first == again != else_


def test_evaluation_sees_with_the_models_encoder(
    run: Path, release: Release, tmp_path: Path
) -> None:
    summary = evaluate(run, release, tmp_path, takes=1, steps=2)
    assert set(summary["systems"]) == {"model", "unconditional", "nearest track"}
    assert summary["own_track_in_bridge"]["effect"]["low"] > 0  # by descriptors, as ever


def test_latents_hold_the_embeddings_and_training_from_them_needs_no_weights(
    built: Workspace, seeing: Config, image: Path, tmp_path: Path
) -> None:
    release = open_release(built.shards)
    write_latents(built.shards, tmp_path / "latents", preset=seeing)
    gone = with_settings(seeing, [f"condition.clip_checkpoint={tmp_path / 'gone.pt'}"])
    train(release, gone, tmp_path / "run", steps=2, latents=tmp_path / "latents")
    digest = with_encoder(seeing).condition.encoder_digest
    assert load_checkpoint(tmp_path / "run").config.condition.encoder_digest == digest
    with pytest.raises(BadData, match=r"no checkpoint .*gone\.pt \(condition\.clip_checkpoint\)"):
        generate(tmp_path / "run", [image], tmp_path / "x.wav", **QUICK)
    place = seeing.condition.clip_checkpoint
    generate(tmp_path / "run", [image], tmp_path / "x.wav", clip_checkpoint=place, **QUICK)
    plain = with_settings(seeing, ["condition.encoder=affect"])
    with pytest.raises(BadUsage, match="for other settings"):
        train(release, plain, tmp_path / "plain", steps=1, latents=tmp_path / "latents")


def test_other_weights_than_the_runs_are_refused(
    run: Path, clip: Path, seeing: Config, release: Release, image: Path, tmp_path: Path
) -> None:
    other = other_weights(clip, tmp_path)
    with pytest.raises(BadData, match="are not those the run began with"):
        generate(run, [image], tmp_path / "x.wav", clip_checkpoint=str(other))
    changed = with_settings(seeing, [f"condition.clip_checkpoint={other}"])
    with pytest.raises(BadUsage, match="started with other settings"):
        train(release, changed, run, steps=8, resume=True)


def test_weights_may_lie_elsewhere_than_at_the_training(
    run: Path, clip: Path, seeing: Config, release: Release, tmp_path: Path
) -> None:
    moved = shutil.copy(clip, tmp_path / "moved.pt")
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    changed = with_settings(seeing, [f"condition.clip_checkpoint={moved}"])
    assert train(release, changed, copied, steps=7, resume=True).resumed_from == 7


def test_a_place_of_what_the_checkpoint_does_not_use_is_refused(
    trained: tuple[Path, object], run: Path, image: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadUsage, match="leave out --clip-checkpoint"):
        generate(trained[0], [image], tmp_path / "x.wav", clip_checkpoint="clip.pt")
    with pytest.raises(BadUsage, match="leave out --pretrained"):
        generate(run, [image], tmp_path / "x.wav", pretrained="folder")


def test_a_broken_pair_and_a_missing_encoder_are_reported(
    seeing: Config, release: Release, tmp_path: Path
) -> None:
    pairs = toy_pairs(8, 9, seconds=2.0)
    pairs[1]["jpg"] = pairs[1]["jpg"][:200]
    broken = toy_release(tmp_path / "broken", train=pairs, seconds=2.0)
    with pytest.raises(BadData, match="Pair 009001 cannot be decoded"):
        train(broken, seeing, tmp_path / "run", steps=1)
    bound = with_settings(seeing, ["condition.encoder=imagebind"])
    with pytest.raises(BadUsage, match=r"encoder imagebind needs ImageBind.*another encoder"):
        train(release, bound, tmp_path / "run", steps=1)


@pytest.mark.usefixtures("stand_in")
def test_imagebind_sees_where_it_is_installed(
    small: Config, release: Release, image: Path, tmp_path: Path
) -> None:
    bound = with_settings(small, ["condition.encoder=imagebind"])
    train(release, bound, tmp_path / "run", steps=2)
    state = load_checkpoint(tmp_path / "run").state
    assert (state.encoder.split()[0], state.condition_dim) == ("imagebind", 1024)
    [piece] = generate(tmp_path / "run", [image], tmp_path / "x.wav", **QUICK)
    assert piece.seconds == 1.0
