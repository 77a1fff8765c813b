"""The axes of the affect bridge: the bundled file, and what a recipe's own file changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from artsound.encoders.descriptors import descriptor_names
from artsound.errors import BadUsage
from artsound.pairing.affect import AXES, fit_affect, load_axes
from artsound.pairing.bridge import bridge_inputs
from artsound.recipe import Recipe
from artsound.stage import Context
from artsound.storage import Workspace

OWN = """
[valence]
weight = 0.5
artwork = { lightness = 1 }
track = { majorness = 1 }

[warmth]
weight = 0

[dance]
weight = 0.3
artwork = { diagonal = 1.0 }
track = { pulse_clarity = 1.0 }
sources = "none"
"""


def _file(folder: Path, text: str) -> str:
    path = folder / "axes.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_an_own_file_replaces_removes_and_adds_axes(tmp_path: Path) -> None:
    axes = {axis.name: axis for axis in load_axes(_file(tmp_path, OWN))}
    bundled = [axis.name for axis in AXES]
    assert list(axes) == [*bundled, "dance"]
    assert (axes["valence"].artwork, axes["valence"].within) == ({"lightness": 1.0}, "")
    assert axes["dance"].track == {"pulse_clarity": 1.0}


def test_own_axes_change_the_bridge_and_what_pairs_depend_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    artworks = rng.standard_normal((30, len(descriptor_names("artwork"))))
    tracks = rng.standard_normal((30, len(descriptor_names("track"))))
    own = _file(tmp_path, OWN)
    rows = fit_affect(artworks, tracks, load_axes(own)).artworks(artworks)
    assert rows.shape == (30, 2 * len(load_axes(own)))
    assert not np.allclose(rows[:, :4], fit_affect(artworks, tracks).artworks(artworks))
    recipes = [Recipe(), Recipe().replaced(pair={"affect_axes": own})]
    contexts = [Context(Workspace(tmp_path), recipe) for recipe in recipes]
    before, after = (bridge_inputs("affect", context) for context in contexts)
    assert before != after


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[dance", "is not valid TOML"),
        ("dance = 1", "dance is not a table"),
        ("[dance]\nweigth = 1", "dance.weigth is unknown: did you mean weight?"),
        ("[dance]\nweight = -1", "dance.weight must be a number"),
        ("[dance]\nweight = nan", "dance.weight must be a number"),
        ("[dance]\nweight = true", "dance.weight must be a number"),
        ("[dance]\nweight = 1\ntrack = { tempo = 1 }", "dance must give `artwork` and `track`"),
        ("[dance]\nweight = 1\ntrack = { temp = 1 }", "did you mean tempo?"),
        ("[dance]\nweight = 1\ntrack = { key = 1 }", "dance.track.key is no descriptor"),
        ('[dance]\nweight = 1\ntrack = { tempo = "1" }', "dance.track.tempo must be a number"),
        ('[dance]\nweight = 1\nwithin = "genre"', "dance.within must be"),
        ("[dance]\nweight = 1\nsources = 3", "dance.sources must be a text"),
        ("[arousal]\nweight = 0", "arousal has weight 0: give it a weight above 0"),
    ],
)
def test_a_broken_file_is_refused_with_its_name_and_the_key(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadUsage) as caught:
        load_axes(_file(tmp_path, text))
    assert message in str(caught.value)
    assert "axes.toml" in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="There is no file of affect axes"):
        load_axes(str(tmp_path / "gone.toml"))
