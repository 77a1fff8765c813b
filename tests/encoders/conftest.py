"""Recipes for encoders with small random weights, made once for a run of tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from made_once import made_once
from random_weights import CLAP_MODEL, CLIP_MODEL, register_clip, write_clap, write_clip

from artsound.recipe import Recipe


@pytest.fixture(scope="session")
def clip_recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A recipe whose CLIP is small."""
    home = tmp_path_factory.mktemp("clip")
    register_clip(home)
    weights = write_clip(home, CLIP_MODEL)
    embed = {"clip_model": CLIP_MODEL, "clip_checkpoint": str(weights), "device": "cpu"}
    return Recipe().replaced(embed=embed)


@pytest.fixture(scope="session")
def clap_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clap.pt and roberta-base; CLAP finds the latter from there."""

    def make(folder: Path) -> None:
        folder.mkdir()
        before = Path.cwd()
        os.chdir(folder)
        try:
            write_clap(folder, CLAP_MODEL)
        finally:
            os.chdir(before)

    return made_once(tmp_path_factory, "clap", make)[0]


@pytest.fixture
def clap_recipe(clap_home: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe whose CLAP is small; the test runs in the folder of its text model."""
    monkeypatch.chdir(clap_home)
    embed = {"clap_model": CLAP_MODEL, "clap_checkpoint": str(clap_home / "clap.pt")}
    return Recipe().replaced(embed={**embed, "device": "cpu"})


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No network, and an empty hub cache: its folder."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache
