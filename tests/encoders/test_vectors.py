from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_embed import catalogue

from artsound.encoders import embed
from artsound.encoders.base import load_embeddings, open_encoder
from artsound.encoders.embed import VectorCache
from artsound.errors import BadData
from artsound.recipe import Recipe
from artsound.stage import Report, run_stage
from artsound.storage import Workspace, read_json


@pytest.fixture
def recipe(clip_recipe: Recipe, clap_recipe: Recipe) -> Recipe:
    """A recipe whose bridge goes through language, with both models small."""
    clap = clap_recipe.embed.model_dump(include={"clap_model", "clap_checkpoint"})
    return clip_recipe.replaced(embed=clap, pair={"bridge": "concepts"})


def run(workspace: Workspace, recipe: Recipe, part_size: int = 256) -> Report:
    return run_stage(embed.STAGE, workspace, recipe.replaced(run={"part_size": part_size}))


@pytest.fixture
def passes(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of pictures in each pass through CLIP from here on."""
    encoder: Any = open_encoder("clip", recipe)
    see, sizes = encoder._model.encode_image, []

    def counted(rows: Any) -> Any:
        sizes.append(len(rows))
        return see(rows)

    monkeypatch.setattr(encoder._model, "encode_image", counted)
    return sizes


def test_both_sides_get_the_vectors_that_the_encoders_give(tmp_path: Path, recipe: Recipe):
    workspace = Workspace(tmp_path)
    catalogue(workspace)
    report = run(workspace, recipe)
    assert (report.items_in, report.items_out) == (16, 16)
    assert report.extra["artworks by clip"] == 5
    ids, rows = load_embeddings(workspace, "clip", "artworks")
    assert ids == [f"{i}.png" for i in range(5)]
    clip = open_encoder("clip", recipe)
    stored = (tmp_path / "media/artworks").rglob("*.png")
    expected = clip.images([path.read_bytes() for path in stored])
    assert rows.dtype == np.float16
    assert (np.abs(rows[:, None] - expected[None]).max(axis=2).min(axis=1) < 1e-3).all()
    assert read_json(tmp_path / "embeddings/clip/artworks.json")["digest"] == clip.digest
    ids, rows = load_embeddings(workspace, "clap", "tracks")
    assert ids == ["000007", "000008", "000009"]
    assert rows.shape == (3, 512)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-2)
    whole = read_json(tmp_path / "embeddings/clap/tracks.json")["digest"]
    assert whole == open_encoder("clap", recipe).digest


def test_affect_alone_needs_no_model(tmp_path: Path, recipe: Recipe):
    workspace = Workspace(tmp_path)
    catalogue(workspace, pictures=2, clips=0)
    report = run(workspace, recipe.replaced(pair={"bridge": "affect"}))
    assert report.items_in == 2
    assert not (tmp_path / "embeddings/clip").exists()
    compared = recipe.replaced(pair={"bridge": "affect", "compare": ["learned"]})
    assert run(workspace, compared).items_in == 4


def test_only_new_items_pass_through_a_model(tmp_path: Path, recipe: Recipe, passes: list[int]):
    workspace = Workspace(tmp_path)
    catalogue(workspace, pictures=5, clips=0)
    run(workspace, recipe, part_size=2)
    assert passes == [2, 2, 1]
    before = np.array(load_embeddings(workspace, "clip", "artworks")[1])
    passes.clear()
    run(workspace, recipe, part_size=2)
    assert passes == []
    catalogue(workspace, pictures=7, clips=0)
    run(workspace, recipe, part_size=3)  # other parts, of which five items are known
    assert passes == [1, 1]
    after = load_embeddings(workspace, "clip", "artworks")[1]
    np.testing.assert_array_equal(after[:5], before)
    passes.clear()
    other = run(workspace, recipe.replaced(embed={"batch": 1, "device": "cpu"}), part_size=3)
    assert other.parts_skipped == other.parts
    run(workspace, recipe.replaced(embed={"precision": "bf16"}), part_size=3)
    run(workspace, recipe, part_size=3)  # the first precision again: still known
    assert passes == []


def test_the_number_of_processors_does_not_reach_the_passes_of_a_build(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
):
    import torch

    encoder: Any = open_encoder("clip", recipe)
    see, threads = encoder._model.encode_image, []

    def counted(rows: Any) -> Any:
        threads.append(torch.get_num_threads())
        return see(rows)

    monkeypatch.setattr(encoder._model, "encode_image", counted)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        catalogue(Workspace(tmp_path), clips=0)
        run(Workspace(tmp_path), recipe)
        assert (threads, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_a_broken_cache_is_made_again(tmp_path: Path, recipe: Recipe, passes: list[int]):
    cache = VectorCache(tmp_path / "cache")
    cache.add(["a" * 64, "b" * 64], np.ones((2, 3)))
    cache.add(["c" * 64], np.full((1, 3), 2.0))
    assert set(cache.find(["a" * 64, "c" * 64, "d" * 64])) == {"a" * 64, "c" * 64}
    for path in (tmp_path / "cache").glob("*.npy"):
        path.write_bytes(path.read_bytes()[:-5])
    assert cache.find(["a" * 64, "c" * 64]) == {}
    assert VectorCache(tmp_path / "cache").find(["a" * 64]) == {}
    np.save(tmp_path / "cache" / "hostile.npy", np.array([{}], object), allow_pickle=True)
    assert VectorCache(tmp_path / "cache").find(["a" * 64]) == {}


def test_a_file_that_a_model_cannot_take_is_named(tmp_path: Path, recipe: Recipe):
    workspace = Workspace(tmp_path)
    catalogue(workspace, pictures=3, clips=0)
    run(workspace, recipe.replaced(pair={"bridge": "affect"}))
    path = sorted((tmp_path / "media" / "artworks").rglob("*.png"))[0]
    path.chmod(0o644)
    path.write_bytes(b"<html>")
    with pytest.raises(BadData, match=f"{path.name} is not what the catalogue says"):
        run(workspace, recipe)


def test_missing_weights_stop_the_stage_before_any_work(
    tmp_path: Path, recipe: Recipe, no_hub: Path
):
    workspace = Workspace(tmp_path / "out")
    catalogue(workspace)
    with pytest.raises(BadData, match="hf download lukewys/laion_clap"):
        run(workspace, recipe.replaced(embed={"clap_checkpoint": ""}))
    assert not (tmp_path / "out" / "parts").exists()
