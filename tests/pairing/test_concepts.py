from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from artsound.errors import BadUsage
from artsound.pairing.concepts import concept_rows, load_bank, pooled


def rows(count: int, width: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def bank(folder: Path, text: str) -> str:
    path = folder / "bank.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_bundled_bank_says_over_200_things_once_for_each_side():
    found = load_bank()
    assert len(found.concepts) > 200
    families = {c.family for c in found.concepts}
    assert families == {
        "emotion", "mood", "energy", "scene", "texture", "period", "instrumentation",
    }  # fmt: skip
    for texts in (found.paintings(), found.music()):
        assert len(set(texts)) == len(texts) > 600
        assert not any("{" in text for text in texts)


def test_a_bank_of_ones_own_adds_replaces_and_gives_templates(tmp_path: Path):
    usual = load_bank()
    found = load_bank(
        bank(
            tmp_path,
            '[templates]\nmusic = ["{}!"]\n[emotion]\njoy = {painting = "P", music = "M"}\n'
            '[weather]\nfog = {painting = "fog", music = "fog music"}\n',
        )
    )
    assert len(found.concepts) == len(usual.concepts) + 1
    assert found.concepts[0].painting == "P"
    assert found.concepts[-1].name == "fog"
    assert found.music()[0] == "M!"
    assert found.painting_templates == usual.painting_templates


def test_a_bank_that_stands_alone_is_the_whole_bank(tmp_path: Path):
    text = 'alone = true\n[a]\nb = {painting = "x", music = "y"}\n'
    found = load_bank(bank(tmp_path, text))
    assert (found.paintings(), found.music()) == (["x"], ["y"])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("joy = ", "not valid TOML"),
        ("joy = 3", "is not a table"),
        ("[a]\nb = 3", "needs a `painting`"),
        ('[a]\nb = {painting = "x"}', "needs a `painting`"),
        ('[a]\nb = {painting = "x", music = " "}', "not a text"),
        ('[a]\nb = {painting = "x", music = 3}', "not a text"),
        ('[templates]\nmusic = ["no place"]', "without one"),
        ("[templates]\nmusic = []", "not a list"),
        ('[templates]\nsong = ["{}"]', "is not `painting`"),
        ("alone = true", "is empty"),
        ('alone = "yes"', "true or false"),
    ],
)
def test_an_unfit_bank_is_refused_in_one_sentence_that_names_it(
    tmp_path: Path, text: str, fault: str
):
    with pytest.raises(BadUsage, match=fault) as caught:
        load_bank(bank(tmp_path, text))
    assert "bank.toml" in str(caught.value)


def test_a_missing_or_binary_bank_is_refused(tmp_path: Path):
    with pytest.raises(BadUsage, match="no concept bank"):
        load_bank(str(tmp_path / "none.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadUsage, match="cannot be read"):
        load_bank(str(tmp_path / "bytes.toml"))


def test_templates_of_a_concept_are_averaged():
    texts = rows(6, 8)
    found = pooled(texts, 2)
    mean = texts[3:].mean(axis=0)
    assert np.allclose(found[1], mean / np.linalg.norm(mean), atol=1e-6)
    for count in (0, 4):
        with pytest.raises(ValueError, match="whole number"):
            pooled(texts, count)


FINITE = st.floats(-1e3, 1e3, width=32)


@given(
    arrays(np.float32, st.tuples(st.integers(1, 9), st.just(5)), elements=FINITE),
    arrays(np.float32, st.tuples(st.integers(1, 9), st.just(5)), elements=FINITE),
)
@settings(max_examples=100, deadline=None)
def test_rows_are_finite_and_unit_for_any_nonzero_vectors(items: np.ndarray, texts: np.ndarray):
    items[:, 0] += np.where((items == 0).all(axis=1), 1.0, 0.0)
    texts[:, 0] += np.where((texts == 0).all(axis=1), 1.0, 0.0)
    if not (np.linalg.norm(items, axis=1) > 0).all() or not np.linalg.norm(texts, axis=1).all():
        return  # too small to have a length in float32
    found = concept_rows(items, texts)
    assert found.dtype == np.float32
    assert found.shape == (len(items), len(texts))
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


def test_a_constant_offset_of_all_items_changes_hardly_anything():
    items, concepts = 2 * rows(200, 64), rows(40, 64, 1)
    gap = 3 * rows(1, 64, 2)
    # Lengths differ once an offset is added, so not exactly nothing.
    moved = concept_rows(items + gap, concepts)
    alike = np.einsum("nd,nd->n", moved, concept_rows(items, concepts))
    assert np.median(alike) > 0.9


def test_what_all_concepts_share_changes_nothing():
    items, concepts = rows(50, 16), rows(12, 16, 1)
    shared = np.array([[0.5] + [0.0] * 15], dtype=np.float32)
    concepts[:, 0] = 0.0
    concepts /= np.linalg.norm(concepts, axis=1, keepdims=True)
    assert np.allclose(
        concept_rows(items, concepts), concept_rows(items, concepts + shared), atol=1e-3
    )


@pytest.mark.parametrize("count", [1, 4])
def test_items_without_any_difference_get_even_rows(count: int):
    found = concept_rows(np.repeat(rows(1, 16), count, axis=0), rows(9, 16, 1))
    assert np.allclose(found, 1 / 3)


def test_a_single_concept_says_nothing():
    assert (concept_rows(rows(5, 16), rows(1, 16, 1)) == 1.0).all()


@pytest.mark.parametrize(
    ("items", "concepts", "fault"),
    [
        (np.full((2, 4), np.nan), np.ones((3, 4)), "items must be finite"),
        (np.full((2, 4), np.inf), np.ones((3, 4)), "items must be finite"),
        (np.zeros((2, 4)), np.ones((3, 4)), "no row zero"),
        (np.ones((2, 4)), np.zeros((3, 4)), "concepts must be finite, and no row zero"),
        (np.ones((2, 4)), np.ones((3, 5)), "4 wide, not 5"),
        (np.ones((0, 4)), np.ones((3, 4)), r"\[0, 4\]"),
        (np.ones(4), np.ones((3, 4)), r"\[n, D\]"),
    ],
)
def test_unfit_vectors_are_refused(items: np.ndarray, concepts: np.ndarray, fault: str):
    with pytest.raises(ValueError, match=fault):
        concept_rows(items, concepts)
