from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from artsound.errors import BadUsage
from artsound.recipe import Recipe, bundled_recipe, load_recipe, recipe_from, recipe_schema
from artsound.storage import write_bytes


@settings(max_examples=300)
@given(st.text(), st.text(), st.text(), st.floats(0, 1, exclude_max=True))
@example("x\U0001f3a8/artgraph", "genre = '\r\n\x00\x7f\u2028'", 'a "quoted"\tprompt\\', 1e-9)
def test_a_recipe_of_any_text_is_read_back_as_it_was(
    path: str, condition: str, prompt: str, share: float
) -> None:
    recipe = Recipe().replaced(
        sources={"artgraph": path, "ids": path, "track_where": condition, "limit": 7},
        pair={"given": path, "compare": ["concepts", "learned"]},
        captions={"artwork_prompt": prompt, "min_agreement": share},
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.toml"
        write_bytes(file, recipe.to_toml().encode())
        assert load_recipe(file) == recipe


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"pair": {"brige": "affect"}}, "no key pair.brige: did you mean pair.bridge?"),
        ({"paer": {}}, "no key paer: did you mean pair?"),
        ({"candidates": 3}, "no key candidates: did you mean pair.candidates?"),
        ({"images": {"min_seconds": 3}}, "no key images.min_seconds: did you mean"),
        ({"pair": {"candidates": "many"}}, "pair.candidates is wrong: input should be a valid int"),
        ({"audio": {"min_seconds": True}}, "audio.min_seconds is wrong"),
        ({"pair": {"bridge": "afect"}}, "pair.bridge is wrong: There is no bridge 'afect': did"),
        ({"pair": {"compare": ["clip"]}}, "choose one of affect, captions, cca, concepts"),
        ({"embed": {"image_encoder": 3}}, "image_encoder is wrong: give the name of the encoder"),
    ],
)
def test_a_wrong_key_is_named_with_the_nearest_right_one(
    values: dict[str, object], sentence: str
) -> None:
    with pytest.raises(BadUsage) as caught:
        recipe_from(values, "r.toml")
    assert sentence in str(caught.value)
    assert "r.toml" in str(caught.value)


def test_a_missing_and_a_broken_file_are_reported_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="There is no recipe"):
        load_recipe(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("pair = [")
    with pytest.raises(BadUsage, match="is not valid TOML"):
        load_recipe(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(BadUsage, match="cannot be read"):
        load_recipe(broken)


def test_the_digest_sees_what_decides_bytes_and_nothing_else() -> None:
    recipe = Recipe()
    assert recipe.replaced(run={"workers": 7, "part_size": 3}).digest() == recipe.digest()
    assert recipe.replaced(sources={"artgraph": "elsewhere"}).digest() == recipe.digest()
    assert recipe.replaced(sources={"limit": 3}).digest() != recipe.digest()
    assert recipe.replaced(pair={"csls": 3}).digest() != recipe.digest()


def test_the_written_schema_is_the_recipe_that_the_code_reads(project: Path) -> None:
    written = json.loads((project / "schemas" / "recipe.json").read_text(encoding="utf-8"))
    assert written == recipe_schema()


@pytest.mark.parametrize("name", ["artsound", "open", "sample"])
def test_every_bundled_recipe_is_valid(name: str, project: Path) -> None:
    recipe = bundled_recipe(name)
    path = project / "artsound" / "recipes" / f"{name}.toml"
    assert tomllib.loads(path.read_text(encoding="utf-8"))["name"] == recipe.name


def test_looking_up_a_bundled_recipe_imports_no_flow_and_leaves_the_environment(
    project: Path,
) -> None:
    program = """
import os, sys
import artsound.recipe
modules, environment = set(sys.modules), dict(os.environ)
artsound.recipe.bundled_recipe("sample")
packages = {name.partition(".")[0] for name in set(sys.modules) - modules}
print(sorted(packages & {"artsound_flows", "prefect"}), dict(os.environ) == environment)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=project
    )
    assert result.stdout.split("\n")[0] == "[] True"


def test_an_unknown_bundled_recipe_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BadUsage, match="one of artsound, open, sample"):
        bundled_recipe("sampel")


def test_a_removed_key_with_the_value_that_is_now_always_so_is_passed_over() -> None:
    assert recipe_from({"pair": {"quick": 0, "csls": 3}}, "x").pair.csls == 3
    with pytest.raises(BadUsage, match=r"no key pair\.quick"):
        recipe_from({"pair": {"quick": 64}}, "x")


def test_a_key_that_came_later_leaves_the_digest_alone_until_it_is_used() -> None:
    before = recipe_from({}, "x").digest()
    assert recipe_from({"embed": {"image_encoder": "clip"}}, "x").digest() == before
    assert recipe_from({"embed": {"image_encoder": "imagebind"}}, "x").digest() != before
