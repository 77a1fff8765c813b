"""What a network is given: statistics of pictures by hand, and music predicted from a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_pairs import picture

from artsound.encoders.descriptors import as_embedded
from artsound.errors import BadData, BadUsage
from artsound.training.config import Condition, Config, with_settings
from artsound.training.data import Release
from artsound.training.evaluate import evaluate
from artsound.training.generate import generate
from artsound.training.loop import TrainReport, train
from artsound.training.pictures import (
    Conditioner,
    Standardiser,
    fit_conditioner,
    fit_standardiser,
)

VALUES = np.array([[0, 5, -3], [2, 5, 1], [4, 5, 5]], dtype=np.float32)


def test_statistics_are_the_mean_and_the_spread_of_each_column() -> None:
    fitted = fit_standardiser(VALUES)
    assert fitted.mean.tolist() == [2, 5, 1]
    # A column that never varies is left in its own unit.
    assert fitted.spread == pytest.approx([np.sqrt(8 / 3), 1, np.sqrt(32 / 3)])
    assert (fitted.mean.dtype, fitted.spread.dtype) == (np.float32, np.float32)


def test_values_become_units_of_the_spread_cut_at_four() -> None:
    standardise = Standardiser(np.array([2, 5], np.float32), np.array([0.5, 2], np.float32))
    rows = standardise(np.array([[3, 5], [2.5, 1], [2, 14], [-1, 12.5]]))
    assert rows.tolist() == [[2, 0], [1, -2], [0, 4], [-4, 3.75]]
    assert rows.dtype == np.float32


def test_statistics_come_back_from_a_checkpoints_tensors() -> None:
    fitted = fit_standardiser(VALUES)
    again = Standardiser.from_tensors(fitted.tensors())
    assert np.array_equal(again(VALUES), fitted(VALUES))
    for damaged in ({}, {**fitted.tensors(), "condition.mean": np.zeros(4, np.float32)}):
        with pytest.raises(BadData, match="train again"):
            Standardiser.from_tensors(damaged)


def _pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures [n, 3] whose first number decides the first descriptor of the music [n, 20]."""
    chance = np.random.default_rng(0)
    pictures = chance.normal(5, 2, (count, 3)).astype(np.float32)
    music = np.exp(chance.normal(0, 0.1, (count, 20))).astype(np.float32)
    music[:, 0] = np.exp(0.5 * pictures[:, 0])
    return pictures, as_embedded(music).astype(np.float32)


def test_a_prior_predicts_music_and_takes_the_music_itself_in_training() -> None:
    pictures, music = _pairs(200)
    fitted = fit_conditioner(Condition(prior=20.0), pictures, music)
    assert fitted.dim == 20
    predicted = fitted.of_pictures(pictures)
    assert np.corrcoef(predicted[:, 0], music[:, 0])[0, 1] > 0.95
    assert abs(np.corrcoef(predicted[:, 1], music[:, 1])[0, 1]) < 0.5
    given = fitted.of_pair(pictures[0], music[0])
    assert fitted.prior is not None
    assert np.array_equal(given, fitted.prior.music(music[0]))
    again = Conditioner.from_tensors(Condition(prior=20.0), fitted.tensors())
    assert np.array_equal(again.of_pictures(pictures), predicted)


def test_without_a_prior_the_network_is_given_the_picture() -> None:
    pictures, music = _pairs(30)
    fitted = fit_conditioner(Condition(), pictures, None)
    assert fitted.dim == 3
    assert np.array_equal(fitted.of_pictures(pictures[0]), fitted.of_pair(pictures[0], music[0]))
    with pytest.raises(BadData, match="prior is missing or misshapen"):
        Conditioner.from_tensors(Condition(prior=1.0), fitted.tensors())


def test_of_several_candidates_the_one_nearest_to_the_prediction_is_written(
    release: Release, small: Config, trained: tuple[Path, TrainReport], tmp_path: Path
) -> None:
    given = with_settings(small, ["condition.prior=20", "condition.guidance=4"])
    train(release, given, tmp_path / "run", steps=1)
    report = train(release, given, tmp_path / "run", steps=2, resume=True, latents="on-the-fly")
    assert report.resumed_from == 1
    with pytest.raises(BadUsage, match=r"other settings \(condition\.prior was 20\.0"):
        train(release, small, tmp_path / "run", steps=3, resume=True)
    image = tmp_path / "a.jpg"
    image.write_bytes(picture(0.5, 0.8, 99))
    first, again, one = (
        generate(
            tmp_path / "run", [image], tmp_path / "a.wav", steps=2, seconds=1.0, candidates=count
        )[0].sha256
        for count in (5, 5, 1)
    )
    assert first == again != one
    with pytest.raises(BadUsage, match="cannot rank candidates"):
        generate(trained[0], [image], tmp_path / "a.wav", candidates=2)
    summary = evaluate(tmp_path / "run", release, tmp_path, takes=1, steps=1, candidates=2)
    assert set(summary["systems"]) == {"model", "best of 2", "unconditional", "nearest track"}
    assert summary["embeddings"] == ["descriptors", "log-mel"]
    assert summary["guidance"] == 4
    assert "## Through log-mel" in (tmp_path / "table.md").read_text()
