"""Evaluation on held-out toy pairs: complete, repeatable, and strict about what it is given."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toy_pairs import open_toys, toy_release

from artsound.errors import BadData, BadUsage
from artsound.pairing.affect import fit_affect
from artsound.training.data import Release
from artsound.training.evaluate import evaluate, nearest, release_fit
from artsound.training.loop import TrainReport
from artsound.training.pictures import fit_standardiser


@pytest.fixture(scope="module")
def evaluated(
    trained: tuple[Path, TrainReport], release: Release, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("evaluation")
    return out, evaluate(trained[0], release, out, takes=1, steps=4)


def test_the_summary_holds_every_measure_of_every_system(
    evaluated: tuple[Path, dict[str, Any]],
) -> None:
    out, summary = evaluated
    assert summary["pairs"] == 8
    assert set(summary["systems"]) == {"model", "unconditional", "nearest track"}
    for measures in summary["systems"].values():
        heard = measures["descriptors"]
        for name in ("frechet", "kernel", "class_divergence", "own_distance", "condition_effect"):
            assert set(heard[name]) == {"mean", "low", "high"}
        assert list(heard["frechet_by_size"])[-1] in {"8", str(8 * summary["takes"])}
        assert heard["retrieval"]["recall_10"]["mean"] == 1  # of eight
        assert set(measures["bridge"]) == {"similarity", "effect"}
    model = summary["systems"]["model"]["descriptors"]
    assert summary["condition_effect"] == model["condition_effect"]
    assert json.loads((out / "metrics.json").read_text()) == summary


def test_music_made_without_the_picture_shows_no_effect_of_it(
    evaluated: tuple[Path, dict[str, Any]],
) -> None:
    blind = evaluated[1]["systems"]["unconditional"]
    assert blind["descriptors"]["condition_effect"]["mean"] == pytest.approx(0, abs=1e-3)
    assert blind["bridge"]["effect"]["mean"] == pytest.approx(0, abs=1e-3)


def test_own_tracks_score_highest_on_the_bridge(evaluated: tuple[Path, dict[str, Any]]) -> None:
    own = evaluated[1]["own_track_in_bridge"]
    assert evaluated[1]["bridge_fitted_to"] == "train split"  # these pairs have no fits.json
    assert own["effect"]["low"] > 0


def test_the_affect_fit_of_a_release_is_read_from_it(release: Release, tmp_path: Path) -> None:
    place = tmp_path / "shards"
    shutil.copytree(release.data.store.location, place)
    assert release_fit(open_toys(place)) is None
    rng = np.random.default_rng(0)
    fit = fit_affect(rng.standard_normal((30, 20)), rng.standard_normal((30, 20)))
    (place / "fits.json").write_text(json.dumps({"affect": fit.to_json()}), encoding="utf-8")
    found = release_fit(open_toys(place))
    assert found is not None
    assert found.to_json() == fit.to_json()
    (place / "fits.json").write_text("[", encoding="utf-8")
    assert release_fit(open_toys(place)) is None


def test_tables_plots_and_the_sounds_are_written(evaluated: tuple[Path, dict[str, Any]]) -> None:
    out, _ = evaluated
    rows = (out / "table.md").read_text().splitlines()
    assert [row.split("|")[1].strip() for row in rows if row.startswith("|")] == [
        "system", "---", "model", "unconditional", "nearest track",
        "system", "---", "own track", "model", "unconditional", "nearest track",
    ]  # fmt: skip
    for name in ("effect.png", "frechet.png"):
        assert Image.open(out / name).size[0] > 400
    assert len(list((out / "wavs").glob("*.wav"))) == 8


def test_another_release_a_thin_split_and_an_unknown_one_are_refused(
    trained: tuple[Path, TrainReport], release: Release, tmp_path: Path
) -> None:
    with pytest.raises(BadUsage, match="another release"):
        evaluate(trained[0], replace(release, digest="8" * 64), tmp_path)
    thin = replace(toy_release(tmp_path / "toys", test=2, seconds=2.0), digest=release.digest)
    with pytest.raises(BadData, match="holds 2 pairs, fewer than the 4"):
        evaluate(trained[0], thin, tmp_path, split="test")
    with pytest.raises(BadUsage, match="no split 'tset'"):
        evaluate(trained[0], release, tmp_path, split="tset")
    for seed in (-1, 2**31):
        with pytest.raises(BadUsage, match=f"--seed {seed} is out of range"):
            evaluate(trained[0], release, tmp_path, seed=seed)


def test_the_nearest_picture_is_found_in_units_of_spread() -> None:
    known = np.array([[0.0, 0.0], [1.0, 100.0], [0.0, 100.0]])
    near = nearest(known, np.array([[0.1, 90.0]]), fit_standardiser(known))
    assert near.tolist() == [2]
