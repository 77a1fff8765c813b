"""The bridges over language on a workspace, with the real encoders on small random weights."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from artsound.build import stage_order
from artsound.captions.caption import STAGE as CAPTION
from artsound.encoders.base import bridges_of, load_embeddings, save_embeddings
from artsound.encoders.embed import STAGE as EMBED
from artsound.errors import BadData, BadUsage
from artsound.pairing.bridge import BridgeContext, bridge_inputs, bridge_rows
from artsound.pairing.learned import catalogue_words
from artsound.pairing.pair import STAGE as PAIR
from artsound.recipe import Recipe, load_recipe
from artsound.stage import Context, run_stage
from artsound.storage import Workspace, read_parquet, write_parquet

sys.path.append(str(Path(__file__).resolve().parents[1] / "encoders"))
from random_weights import CLAP_MODEL, CLIP_MODEL, register_clip, write_clap, write_clip

pytestmark = pytest.mark.long

BANK = """
alone = true
[mood]
calm = { painting = "a calm painting", music = "calm music" }
wild = { painting = "a wild painting", music = "wild music" }
dark = { painting = "a dark painting", music = "dark music" }
"""


@pytest.fixture(scope="module")
def workspace(built: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Every third item of the built sample and its media, to be embedded by CLIP and CLAP."""
    root = tmp_path_factory.mktemp("language") / "out"
    for name in ("catalog", "media"):
        shutil.copytree(built.root / name, root / name)
    for name in ("artwork", "track"):
        path = root / "catalog" / f"{name}s.parquet"
        rows = read_parquet(path, name)
        write_parquet(path, name, rows.take(list(range(0, len(rows), 3))))
    return Workspace(root)


@pytest.fixture(scope="module")
def recipe(
    built: Workspace, workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> Recipe:
    """The sample's recipe with small models; the workspace is embedded by them."""
    home = tmp_path_factory.mktemp("models")
    (home / "bank.toml").write_text(BANK)
    register_clip(home)
    embed = {"clip_model": CLIP_MODEL, "clap_model": CLAP_MODEL, "device": "cpu"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)  # where CLAP finds its text model
        write_clap(home, CLAP_MODEL)
        embed["clip_checkpoint"] = str(write_clip(home, CLIP_MODEL))
        embed["clap_checkpoint"] = str(home / "clap.pt")
        pair = {"bridge": "concepts", "concept_bank": str(home / "bank.toml"), "compare": []}
        recipe = load_recipe(built.recipe).replaced(embed=embed, pair=pair)
        run_stage(EMBED, workspace, recipe)
        build = BridgeContext(Context(workspace, recipe), "concepts")
        for encoder in ("clip", "clap"):  # loaded once, in the folder of the text model
            build.texts(encoder, ["a text"])
    return recipe


@pytest.mark.parametrize("name", ["concepts", "captions", "learned"])
def test_a_build_goes_through_every_bridge_and_comes_out_the_same(
    workspace: Workspace, recipe: Recipe, name: str
):
    recipe = recipe.replaced(pair={"bridge": name})
    if name == "captions":
        run_stage(CAPTION, workspace, recipe)
    before = bridge_rows(name, Context(workspace, recipe))
    again = bridge_rows(name, Context(workspace, recipe))  # from what the workspace stores
    assert np.array_equal(before[1], again[1])
    assert np.array_equal(before[3], again[3])
    run_stage(PAIR, workspace, recipe)
    pairs = read_parquet(workspace.pairs / "pairs.parquet", "pair")
    assert set(pairs["bridge"].to_pylist()) == {name}
    assert pairs.num_rows == len(before[2])


def test_bridges_are_compared_by_their_order_of_pairs_and_the_pairs_they_share(
    workspace: Workspace, recipe: Recipe
):
    recipe = recipe.replaced(pair={"bridge": "affect", "compare": ["concepts", "affect"]})
    reported = run_stage(PAIR, workspace, recipe).extra["splits"]["train"]
    assert reported["agreement"]["affect"]["equal_pairs"] == 1.0
    found = reported["agreement"]["concepts"]
    # Random weights know nothing of what is measured: what they share is chance.
    assert 0.0 <= found["equal_pairs"] < 0.3
    assert abs(found["spearman"]) < 0.5
    assert 0.2 < found["preferred"] < 0.8
    # Bridges that need nothing more than these are compared by their order alone.
    assert bridges_of(recipe) == ("affect", "concepts")
    assert bridges_of(recipe.replaced(pair={"bridge": "captions", "compare": []})) == (
        "captions",
        "affect",
        "concepts",
        "cca",
    )
    recipe = recipe.replaced(pair={"bridge": "concepts", "compare": []})
    assert bridges_of(recipe) == ("concepts", "affect")
    reported = run_stage(PAIR, workspace, recipe).extra["splits"]["train"]
    assert set(reported["agreement"]["affect"]) == {"spearman", "preferred"}


def test_a_bank_is_known_by_its_content_not_its_path(
    workspace: Workspace, recipe: Recipe, tmp_path: Path
):
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(BANK)
    moved = recipe.replaced(pair={"concept_bank": str(elsewhere)})
    assert moved.digest() == recipe.digest()
    run_stage(PAIR, workspace, recipe)
    again = run_stage(PAIR, workspace, moved)
    assert again.parts_skipped == again.parts
    elsewhere.write_text(BANK.replace("calm music", "soft music"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(recipe.embed.clap_checkpoint).parent)
        assert run_stage(PAIR, workspace, moved).parts_skipped == 0


def test_another_bank_or_other_words_are_other_inputs(
    workspace: Workspace, recipe: Recipe, tmp_path: Path
):
    other = tmp_path / "bank.toml"
    other.write_text(BANK.replace("calm music", "soft music"))
    changed = recipe.replaced(pair={"concept_bank": str(other)})
    for name in ("concepts", "learned"):
        assert bridge_inputs(name, Context(workspace, recipe)) != bridge_inputs(
            name, Context(workspace, changed)
        )
    one, another = (bridge_inputs("affect", Context(workspace, r)) for r in (recipe, changed))
    assert one == another
    words = catalogue_words(workspace)
    assert words == sorted(set(words))
    assert all(3 <= len(word) <= 200 for word in words)


def test_other_weights_than_the_embeddings_were_made_with_are_refused(
    workspace: Workspace, recipe: Recipe
):
    ids, rows = load_embeddings(workspace, "clip", "artworks")
    copy = Workspace(workspace.root.parent / "copy")
    save_embeddings(copy, "clip", "artworks", "other weights", ids, rows)
    with pytest.raises(BadData, match="run `artsound embed` again"):
        BridgeContext(Context(copy, recipe), "concepts").texts("clip", ["a text"])


def test_captions_that_are_missing_are_asked_for(
    workspace: Workspace, recipe: Recipe, tmp_path: Path
):
    copy = Workspace(tmp_path / "copy")
    shutil.copytree(workspace.embeddings, copy.embeddings)
    with pytest.raises(BadData, match="artsound caption --bridge captions"):
        bridge_rows("captions", Context(copy, recipe))


@pytest.mark.parametrize("name", ["joint:imagebind", "imagebind"])
def test_a_joint_bridge_uses_embeddings_that_were_made_elsewhere(tmp_path: Path, name: str):
    workspace = Workspace(tmp_path)
    with pytest.raises(BadUsage, match="--bridge concepts"):
        bridge_rows(name, Context(workspace, Recipe()))
    rng = np.random.default_rng(0)
    sides = [rng.standard_normal((n, 8)).astype(np.float32) for n in (6, 4)]
    sides = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in sides]
    save_embeddings(workspace, "imagebind", "artworks", "d", list("abcdef"), sides[0])
    save_embeddings(workspace, "imagebind", "tracks", "d", list("1234"), sides[1])
    names, a, tracks, t = bridge_rows(name, Context(workspace, Recipe()))
    assert (names, tracks) == (list("abcdef"), list("1234"))
    assert np.allclose(np.linalg.norm(a, axis=1), 1.0, atol=1e-5)
    assert np.allclose(np.linalg.norm(t, axis=1), 1.0, atol=1e-5)
    save_embeddings(workspace, "imagebind", "tracks", "d", list("1234"), sides[1][:, :5])
    with pytest.raises(BadData, match=r"one model|not 1"):
        bridge_rows(name, Context(workspace, Recipe()))


def test_captions_come_before_pairs_only_where_a_bridge_is_made_of_them():
    usual = ("ingest", "embed", "pair", "caption", "shard", "report")
    assert stage_order(Recipe()) == usual
    first = ("ingest", "embed", "caption", "pair", "shard", "report")
    assert stage_order(Recipe().replaced(pair={"bridge": "captions"})) == first
    assert stage_order(Recipe().replaced(pair={"compare": ["captions"]})) == first
