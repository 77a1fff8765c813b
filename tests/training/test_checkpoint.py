"""Checkpoints are whole or absent, and a damaged one is reported in a sentence."""

from __future__ import annotations

import json
import resource
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from artsound.errors import BadData, BadUsage
from artsound.training.checkpoint import find_checkpoint, load_checkpoint, load_optimiser
from artsound.training.config import Config
from artsound.training.data import Release
from artsound.training.loop import TrainReport, train


@pytest.fixture
def copied(trained: tuple[Path, TrainReport], tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained[0], tmp_path / "copy", symlinks=True))


def test_a_training_folder_means_its_newest_checkpoint(
    trained: tuple[Path, TrainReport], small: Config
) -> None:
    kept = load_checkpoint(trained[0])
    assert kept.path.name == "step-00000080"
    assert kept.config == small
    assert kept.state.step == 80
    assert find_checkpoint(kept.path) == kept.path


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="has no checkpoint"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json", "state.json"])
def test_a_file_cut_short_is_reported(copied: Path, name: str) -> None:
    path = find_checkpoint(copied) / name
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadData, match=name.replace(".", r"\.")) as reported:
        load_checkpoint(copied)
    assert "remove that checkpoint's folder to continue from the one before it" in str(
        reported.value
    )


def test_settings_of_another_version_are_reported(copied: Path) -> None:
    path = find_checkpoint(copied) / "config.json"
    path.write_text(path.read_text().replace('"preset"', '"presets"'))
    with pytest.raises(BadData, match="not a configuration of this version"):
        load_checkpoint(copied)


@pytest.mark.parametrize("name", ["training.safetensors", "optimiser.pt"])
def test_a_run_is_not_resumed_from_a_file_cut_short(
    copied: Path, release: Release, small: Config, name: str
) -> None:
    path = find_checkpoint(copied) / name
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BadData, match=rf"{name} is missing or damaged".replace(".", r"\.")):
        train(release, small, copied, steps=81, resume=True)


def test_an_optimiser_s_state_damaged_anywhere_raises_nothing_else(tmp_path: Path) -> None:
    weights = torch.nn.Parameter(torch.ones(3))
    optimiser = torch.optim.AdamW([weights])
    weights.sum().backward()
    optimiser.step()
    path = tmp_path / "optimiser.pt"
    torch.save(optimiser.state_dict(), path)
    whole = path.read_bytes()
    load_optimiser(optimiser, tmp_path)
    reported: list[str] = []

    @settings(max_examples=300, deadline=None)
    @given(st.integers(0, len(whole) - 1), st.binary(min_size=1, max_size=3))
    def spoil(at: int, put: bytes) -> None:
        path.write_bytes((whole[:at] + put + whole[at + len(put) :])[: len(whole)])
        try:
            load_optimiser(optimiser, tmp_path)
        except BadData as error:
            reported.append(str(error))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch wonders at damaged numbers
        spoil()
    assert reported  # damage to numbers alone cannot be detected
    assert all("optimiser.pt is missing or damaged" in sentence for sentence in reported)


def test_weights_that_are_not_finite_are_reported(copied: Path) -> None:
    path = find_checkpoint(copied) / "weights.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[-1]
    tensors[name] = tensors[name] * float("nan")
    save_file(tensors, path)
    with pytest.raises(BadData, match=rf"weights\.safetensors is damaged \({name} is not finite"):
        load_checkpoint(copied)


@pytest.mark.parametrize("fields", [{"step": "many"}, {"condition_dim": None}, {"curve": "steep"}])
def test_a_state_that_holds_something_else_is_reported(
    copied: Path, fields: dict[str, object]
) -> None:
    path = find_checkpoint(copied) / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    with pytest.raises(BadData, match=rf"state\.json is damaged \({next(iter(fields))} "):
        load_checkpoint(copied)


def test_a_pickle_is_not_run(copied: Path, release: Release, small: Config) -> None:
    evil = b"cos\nsystem\n(S'touch /tmp/artsound-was-here'\ntR."
    (find_checkpoint(copied) / "optimiser.pt").write_bytes(evil)
    with pytest.raises(BadData, match=r"optimiser\.pt is missing or damaged"):
        train(release, small, copied, steps=81, resume=True)
    assert not Path("/tmp/artsound-was-here").exists()


def test_a_full_disk_leaves_the_checkpoint_before_it(
    copied: Path, release: Release, small: Config
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(BadData, match="cannot be written"):
            train(release, small, copied, steps=81, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_checkpoint(copied).state.step == 80
    assert [path.name for path in (copied / "checkpoints").glob(".tmp-*")] == []
    again = train(release, small, copied, steps=81, resume=True)
    assert again.steps == 81
