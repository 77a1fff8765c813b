"""A caption that suits other items better than its own is reported apart, and falls back."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chat_server import Server, completion
from hypothesis import given
from hypothesis import strategies as st

from artsound.captions.caption import STAGE as CAPTION
from artsound.captions.checks import agreements, caption_agreements, sample_of
from artsound.catalogue import SIDES
from artsound.encoders.base import load_embeddings, open_encoder, save_embeddings
from artsound.encoders.embed import STAGE as EMBED
from artsound.errors import BadData, BadUsage
from artsound.recipe import Recipe, load_recipe
from artsound.stage import run_stage
from artsound.storage import Workspace, read_parquet

sys.path.append(str(Path(__file__).resolve().parents[1] / "encoders"))
from random_weights import CLAP_MODEL, CLIP_MODEL, register_clip, write_clap, write_clip


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _planted(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Captions and items that share a meaning, each with the offset of its own modality."""
    rng = np.random.default_rng(seed)
    meaning, noise = rng.standard_normal((count, 32)), rng.standard_normal((2, count, 32))
    gaps = 2 * rng.standard_normal((2, 1, 32))
    return _unit(meaning + noise[0] + gaps[0]), _unit(meaning + noise[1] + gaps[1])


def test_a_caption_swapped_in_from_another_item_is_caught() -> None:
    captions, items = _planted(400)
    swapped = np.arange(0, 400, 10)
    captions[swapped] = captions[np.roll(swapped, 1)]
    found = agreements(captions, items, np.arange(400), sample_of([str(n) for n in range(400)], 0))
    kept = np.setdiff1d(np.arange(400), swapped)
    assert (found[kept] >= 0.9).mean() > 0.95
    assert (found[swapped] < 0.9).mean() > 0.8
    assert found[swapped].mean() == pytest.approx(0.5, abs=0.15)


def test_a_wrong_caption_is_caught_at_an_item_that_every_caption_resembles() -> None:
    captions, items = _planted(400)
    items[7] = _unit(captions.mean(axis=0, keepdims=True) + 0.3 * items[[7]])[0]
    captions[7] = captions[8]
    assert (captions[7] @ items.T <= captions[7] @ items[7]).mean() > 0.9  # by cosine it is fine
    found = agreements(captions, items, np.arange(400), np.arange(400))
    assert found[7] < 0.9


@given(st.integers(1, 30), st.integers(0, 5))
def test_a_share_is_of_others_only_and_does_not_depend_on_the_order(count: int, seed: int) -> None:
    captions, items = _planted(count, seed)
    own = np.arange(count)
    found = agreements(captions, items, own, own)
    assert ((found >= 0) & (found <= 1)).all()
    if count == 1:
        assert found[0] == 1.0
        return
    # Steps of half a place among the others.
    assert np.allclose(found * 2 * (count - 1), np.round(found * 2 * (count - 1)))
    said, seen = (_unit(rows - rows.mean(axis=0) + 1e-12) for rows in (captions, items))
    for one in own:  # counted one by one
        margins = [said[one] @ seen[one] - said[one] @ seen[other] for other in own if other != one]
        if min(abs(margin) for margin in margins) > 1e-4:
            assert found[one] == pytest.approx(np.mean(np.array(margins) > 0))
    order = np.random.default_rng(seed).permutation(count)
    again = agreements(captions[order], items, own[order], own)
    assert np.allclose(again, found[order], atol=1e-6)


def test_a_caption_that_suits_all_alike_gets_a_half_and_so_does_one_of_a_doubled_picture() -> None:
    captions, items = _planted(20)
    same = np.repeat(captions[:1], 20, axis=0)
    assert np.allclose(agreements(same, items, np.arange(20), np.arange(20)), 0.5)
    items[1] = items[0]
    assert agreements(captions, items, np.arange(20), np.array([1]))[0] == 0.5


def test_the_sample_is_the_same_whatever_the_order_of_ids_and_another_for_another_seed() -> None:
    ids = [f"{n:06d}" for n in range(3000)]
    chosen = {ids[row] for row in sample_of(ids, 0)}
    assert len(chosen) == 1000
    assert {ids[::-1][row] for row in sample_of(ids[::-1], 0)} == chosen
    assert {ids[row] for row in sample_of(ids, 1)} != chosen
    assert list(sample_of(["a", "b"], 0)) == [0, 1]


@pytest.fixture(scope="module")
def recipe(built: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The sample's recipe with a small CLIP."""
    home = tmp_path_factory.mktemp("clip")
    register_clip(home)
    weights = write_clip(home, CLIP_MODEL)
    embed = {"clip_model": CLIP_MODEL, "clip_checkpoint": str(weights), "device": "cpu"}
    return load_recipe(built.recipe).replaced(embed=embed)


@pytest.fixture
def workspace(built: Workspace, tmp_path: Path) -> Workspace:
    """The built sample, to be captioned anew."""
    root = tmp_path / "out"
    for name in ("catalog", "embeddings", "media", "pairs", "parts/embed", "parts/ingest"):
        shutil.copytree(built.root / name, root / name)
    return Workspace(root)


@pytest.fixture
def server() -> Iterator[Server]:
    """Answers every request with another sentence."""
    server = Server()
    words = ["river", "hill", "tree", "house", "boat", "field", "road", "tower", "garden", "rock"]

    def answer(number: int, _body: object) -> tuple[int, bytes]:
        one, two, three = (words[(number * step) % len(words)] for step in (1, 3, 5))
        text = f"There is a {one} before a {two}, and a {three} with the number {number} on it."
        return 200, completion(text)

    server.answer = answer
    yield server
    server.close()


def _with_server(recipe: Recipe, server: Server, least: float) -> Recipe:
    chosen = {"artworks": f"endpoint:{server.url}#m", "requests_at_once": 1}
    return recipe.replaced(captions={**chosen, "min_agreement": least})


def _reasons(workspace: Workspace) -> list[str]:
    table = read_parquet(workspace.captions / "artworks.parquet", "caption")
    return list(table["fallback_reason"].to_pylist())


def test_in_a_build_captions_below_the_threshold_fall_back_and_nothing_is_written_twice(
    workspace: Workspace, recipe: Recipe, server: Server
) -> None:
    unchecked = _with_server(recipe, server, 0.0)
    before = run_stage(CAPTION, workspace, unchecked)
    asked = len(server.requests)
    assert "agreement" not in before.extra["artworks"]
    assert not (workspace.embeddings / "clip").exists()

    checked = _with_server(recipe, server, 0.5)
    embedded = run_stage(EMBED, workspace, checked)
    assert "artworks by clip" in embedded.extra
    assert "tracks by clap" not in embedded.extra  # the music's captions are grounded
    found = run_stage(CAPTION, workspace, checked)
    # Only the end of the stage was done anew: no caption was.
    assert found.parts_skipped == found.parts
    assert len(server.requests) == asked
    fallen = _reasons(workspace).count("disagrees")
    reported = found.extra["artworks"]
    assert 0 < fallen < reported["captions"]
    assert reported["fallbacks"]["disagrees"] == fallen
    assert reported["agreement"]["captions"] == before.extra["artworks"]["captions"] - sum(
        count for reason, count in reported["fallbacks"].items() if reason != "disagrees"
    )
    assert 0 < reported["agreement"]["mean"] < 1
    assert "agreement" not in found.extra["tracks"]
    rows = read_parquet(workspace.captions / "artworks.parquet", "caption").to_pylist()
    assert {row["captioner"] for row in rows if row["fallback_reason"]} == {"grounded"}
    assert {row["check"] for row in rows} == {"passed"}
    for row in rows:
        assert row["agreement"] == -1 if row["fallback_reason"] else 0.5 <= row["agreement"] <= 1

    stricter = run_stage(CAPTION, workspace, _with_server(recipe, server, 0.9))
    assert stricter.extra["artworks"]["fallbacks"]["disagrees"] > fallen
    again = run_stage(CAPTION, workspace, checked)
    assert again.files == found.files
    assert run_stage(CAPTION, workspace, unchecked).files == before.files


def test_texts_are_embedded_once(
    workspace: Workspace, recipe: Recipe, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = _with_server(recipe, server, 0.5)
    run_stage(EMBED, workspace, checked)
    first = run_stage(CAPTION, workspace, checked)
    monkeypatch.delattr("artsound.captions.checks.open_encoder")  # called, it would fail
    assert run_stage(CAPTION, workspace, checked).files == first.files


def test_without_the_embeddings_that_the_check_needs_nothing_is_begun(
    workspace: Workspace, recipe: Recipe, server: Server
) -> None:
    with pytest.raises(BadUsage, match=r"min_agreement needs .*clip/artworks\.npy.*artsound embed"):
        run_stage(CAPTION, workspace, _with_server(recipe, server, 0.5))
    assert not server.requests


def test_embeddings_of_other_weights_or_of_other_items_are_refused(
    workspace: Workspace, recipe: Recipe, server: Server
) -> None:
    checked = _with_server(recipe, server, 0.5)
    run_stage(EMBED, workspace, checked)
    ids, rows = load_embeddings(workspace, "clip", "artworks")
    rows = np.array(rows)
    save_embeddings(workspace, "clip", "artworks", "other weights", ids, rows)
    with pytest.raises(BadData, match="other weights"):
        run_stage(CAPTION, workspace, checked)
    save_embeddings(workspace, "clip", "artworks", "x", [f"{name}x" for name in ids], rows)
    with pytest.raises(BadData, match="lacks artwork"):
        run_stage(CAPTION, workspace, checked)


def test_music_is_compared_by_clap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where CLAP finds its text model
    weights = write_clap(tmp_path, CLAP_MODEL)
    embed = {"clap_model": CLAP_MODEL, "clap_checkpoint": str(weights), "device": "cpu"}
    recipe = Recipe().replaced(embed=embed)
    texts = [f"{word} and {word * 2} with {word * 3}" for word in ("drums", "flutes", "choirs")]
    clap = open_encoder("clap", recipe)
    workspace, names = Workspace(tmp_path / "out"), ["000002", "000005", "000010"]
    # Each track lies where CLAP puts a text of its own.
    save_embeddings(workspace, "clap", "tracks", clap.digest, names, clap.texts(texts))
    found = caption_agreements(workspace, recipe, SIDES["tracks"], names, texts)
    assert found.tolist() == [1.0, 1.0, 1.0]
    turned = caption_agreements(workspace, recipe, SIDES["tracks"], names, texts[1:] + texts[:1])
    assert turned.max() < 1.0
