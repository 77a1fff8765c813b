"""Training from latents made ready, or decoded on the fly, is training all the same."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from artsound.errors import BadData, BadUsage
from artsound.storage import Workspace
from artsound.training import loop
from artsound.training.codec import open_codec
from artsound.training.config import Config
from artsound.training.data import (
    Release,
    media_source,
    open_latents,
    open_release,
    write_latents,
)
from artsound.training.loop import train

sys.path.append(str(Path(__file__).resolve().parents[1] / "shards"))
from servers import serving


@pytest.fixture(scope="session")
def release_of_shards(built: Workspace) -> Release:
    return open_release(built.shards)


@pytest.fixture(scope="module")
def latents(built: Workspace, small: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("latents")
    assert write_latents(built.shards, folder, preset=small) > 8
    return folder


def test_ready_latents_are_those_of_the_pairs(
    latents: Path, release_of_shards: Release, small: Config
) -> None:
    pairs = release_of_shards.pairs("train")
    stored = open_latents(latents, release_of_shards, small)
    conditioner = stored.conditioner(pairs)
    source = stored.source(pairs, conditioner)
    assert source.keys == tuple(sample["key"] for sample in pairs)
    fly = media_source(pairs, small, stored.codec, conditioner, "cpu")
    for pair in (0, len(pairs) - 1):
        for made, wanted in zip(source.read(pair), fly.read(pair), strict=True):
            assert np.allclose(made, wanted, atol=1e-2)
    assert fly.keys == source.keys


def test_latents_at_an_address_are_streamed(
    latents: Path, release_of_shards: Release, small: Config, tmp_path: Path
) -> None:
    with serving(latents) as server:
        far = train(release_of_shards, small, tmp_path / "far", steps=2, latents=server.url)
    near = train(release_of_shards, small, tmp_path / "near", steps=2, latents=latents)
    assert far.last_loss == near.last_loss


def test_a_run_from_ready_latents_is_resumed_on_the_fly(
    latents: Path, release_of_shards: Release, small: Config, tmp_path: Path
) -> None:
    first = train(release_of_shards, small, tmp_path, steps=2, latents=latents)
    assert first.pairs == len(release_of_shards.pairs("train"))
    assert first.validation_loss is not None
    more = train(release_of_shards, small, tmp_path, steps=3, resume=True, latents="on-the-fly")
    assert (more.resumed_from, more.steps) == (2, 3)
    assert not (tmp_path / "cache").exists()


def test_latents_of_another_release_or_of_other_settings_are_refused(
    latents: Path, release_of_shards: Release, small: Config, tmp_path: Path
) -> None:
    other = replace(release_of_shards, digest="9" * 64)
    with pytest.raises(BadUsage, match="latents of another release"):
        train(other, small, tmp_path, latents=latents)
    wide = small.model_copy(update={"codec": small.codec.model_copy(update={"channels": 12})})
    with pytest.raises(BadUsage, match="for other settings"):
        train(release_of_shards, wide, tmp_path, latents=latents)


def test_missing_latents_say_how_to_make_them(
    latents: Path, release_of_shards: Release, small: Config, tmp_path: Path
) -> None:
    with pytest.raises(BadUsage, match="make them with `artsound latents --data SHARDS"):
        train(release_of_shards, small, tmp_path / "run", latents=tmp_path / "none")
    cut = Path(shutil.copytree(latents, tmp_path / "cut"))
    for shard in cut.glob("*train*.tar"):
        shard.unlink()
    with pytest.raises(BadData, match=r"train.*\.tar"):
        train(release_of_shards, small, tmp_path / "run", latents=cut)


def test_a_folder_of_latents_is_resumed(latents: Path, built: Workspace, small: Config) -> None:
    before = {path.name: path.read_bytes() for path in latents.iterdir()}
    write_latents(built.shards, latents, preset=small)
    assert {path.name: path.read_bytes() for path in latents.iterdir()} == before


def test_the_codec_of_ready_latents_is_kept_in_the_checkpoint(
    latents: Path, release_of_shards: Release, small: Config, tmp_path: Path
) -> None:
    train(release_of_shards, small, tmp_path, steps=1, latents=latents)
    kept = loop.load_checkpoint(tmp_path)
    here = open_latents(latents, release_of_shards, small).codec
    latent = np.random.default_rng(0).standard_normal(here.latent_shape).astype(np.float32)
    assert np.array_equal(open_codec(small, kept.arrays).decode(latent), here.decode(latent))
