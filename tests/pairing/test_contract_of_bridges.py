"""What every bridge promises, on the built-in ones; and what a plug-in's faults lead to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from artsound.encoders.base import captions_come_first, save_embeddings
from artsound.errors import BadData, BadUsage
from artsound.pairing.bridge import (
    BridgeContext,
    bridge_inputs,
    bridge_rows,
    measured_again_in,
)
from artsound.recipe import Recipe
from artsound.stage import Context
from artsound.storage import Workspace
from artsound.testing import check_bridge

PLUGINS = """
import numpy as np
from artsound.encoders.base import Needs

class Good:
    "Both sides by their first two descriptors."
    name, version = "good", "1"
    def needs(self, recipe, argument):
        return Needs()
    def inputs(self, build):
        return ""
    def rows(self, build):
        (a, x), (t, y) = build.descriptors("artworks"), build.descriptors("tracks")
        return a, self.unit(x[:, :2]), t, self.unit(y[:, :2])
    def unit(self, rows):
        return (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float32)

def faulty(spoil):
    return type("Faulty", (Good,), {"unit": lambda self, rows: spoil(Good.unit(self, rows)),
                                    "__doc__": "A fault."})

Dtype = faulty(lambda rows: rows.astype(np.float64))
Count = faulty(lambda rows: rows[:-1])
NotFinite = faulty(lambda rows: rows * np.float32("nan"))
Raises = faulty(lambda rows: rows.no_such_method())

class Widths(Good):
    "A fault."
    def rows(self, build):
        a, x, t, y = Good.rows(self, build)
        return a, x, t, np.concatenate([y, 0 * y], axis=1)

class Numbers(Good):
    "A fault."
    def rows(self, build):
        a, x, t, y = Good.rows(self, build)
        return a, x, [int(one) for one in t], y

class Three(Good):
    "A fault."
    def rows(self, build):
        return Good.rows(self, build)[:3]
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of bridges of another package."""
    name = f"bridges_of_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(PLUGINS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A build whose descriptors are there."""
    workspace, random = Workspace(tmp_path / "out"), np.random.default_rng(0)
    save_embeddings(workspace, "affect", "artworks", "d", list("abcd"), random.random((4, 20)))
    save_embeddings(workspace, "affect", "tracks", "d", list("123"), random.random((3, 20)))
    return Context(workspace, Recipe())


@pytest.mark.parametrize(
    "name",
    [
        "affect", "concepts", "captions", "text", "cca", "learned", "joint:imagebind", "imagebind",
        "fusion:affect+2*captions",
    ],
)  # fmt: skip
def test_every_built_in_bridge_keeps_the_contract(name: str) -> None:
    check_bridge(name)


def test_a_bridge_of_another_package_gives_rows_and_is_known_by_its_version(
    module: str, context: Context
) -> None:
    name = f"{module}:Good"
    check_bridge(name)
    ids, a, _, t = bridge_rows(name, context)
    assert (ids, a.shape, t.shape) == (list("abcd"), (4, 2), (3, 2))
    assert bridge_inputs(name, context)["reference"] == name
    assert "reference" not in bridge_inputs("affect", context)


@pytest.mark.parametrize(
    ("attribute", "fault"),
    [
        ("Dtype", "gave float64 for the artworks"),
        ("Count", "3 vectors for 4 artworks"),
        ("NotFinite", "not 1"),
        ("Raises", "failed: AttributeError"),
        ("Widths", "artworks of 2 and tracks of 4 dimensions"),
        ("Numbers", "ids of the tracks that are not texts"),
        ("Three", "must give artwork ids, rows, track ids, rows"),
    ],
)
def test_rows_that_break_the_contract_are_refused(
    module: str, context: Context, attribute: str, fault: str
) -> None:
    with pytest.raises(BadData, match=fault):
        bridge_rows(f"{module}:{attribute}", context)


def test_captions_come_first_where_a_bridge_is_made_of_them() -> None:
    assert not captions_come_first(Recipe())
    for name in ("captions", "text", "cca", "fusion:affect+0.5*text"):
        assert captions_come_first(Recipe().replaced(pair={"compare": [name]}))


def test_arguments_that_a_bridge_cannot_use_are_refused(context: Context) -> None:
    for name, remedy in (
        ("joint", "joint:ENCODER"),
        ("affect:x", "takes no argument"),
        ("cca:x", "takes no argument"),
        ("fusion", "is not a sum of bridges"),
        ("fusion:affect+0*concepts", "weights above 0"),
        ("fusion:affect+affect", "each bridge once"),
        ("fusion:affect+fusion:text", "cannot be part of a fusion"),
        ("fusion:afect", "no bridge .afect.*did you mean .affect"),
    ):
        recipe = context.recipe.replaced(pair={"bridge": name})
        with pytest.raises(BadUsage, match=remedy):
            captions_come_first(recipe)
    with pytest.raises(BadUsage, match=r"no encoder .clapp.*did you mean .clap"):
        captions_come_first(context.recipe.replaced(pair={"bridge": "joint:clapp"}))


def test_a_fusion_scores_by_the_weighted_sum_of_standardised_scores(
    module: str, context: Context
) -> None:
    parts = ("affect", f"{module}:Good")
    ids, a, _, t = bridge_rows(f"fusion:{parts[0]}+3*{parts[1]}", context)
    assert ids == list("abcd")
    assert np.linalg.norm(a, axis=1) == pytest.approx(1.0, abs=1e-6)
    wanted = np.zeros((3, 4))
    for name, weight in zip(parts, (1, 3), strict=True):
        _, x, _, y = bridge_rows(name, context)
        scores = y @ x.T
        wanted += weight * (scores - scores.mean()) / scores.std()
    found = t @ a.T
    scale = (found - found.mean()) / (found.std() / wanted.std())
    assert scale == pytest.approx(wanted, abs=1e-4)


def test_a_fusion_measures_again_what_its_bridges_can(module: str, context: Context) -> None:
    def again(name: str, seed: int = 0):  # type: ignore[no-untyped-def]
        return measured_again_in(BridgeContext(context, name), seed)

    assert again(f"{module}:Good") is None
    assert again(f"fusion:{module}:Good") is None
    name = f"fusion:affect+3*{module}:Good"
    ids, a, _, t = bridge_rows(name, context)
    found = again(name)
    assert found[0] == ids
    assert found[1].shape == a.shape
    width = bridge_rows("affect", context)[1].shape[1]
    for old, new in ((a, found[1]), (t, found[3])):
        assert not np.allclose(old[:, :width], new[:, :width], atol=1e-3)
        turned = new[:, width:] * np.linalg.norm(old[:, width:]) / np.linalg.norm(new[:, width:])
        assert turned == pytest.approx(old[:, width:], abs=1e-5)
    assert again(name)[1].tobytes() == found[1].tobytes()
