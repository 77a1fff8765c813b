from __future__ import annotations

import numpy as np
import pytest
from planted import Planted, recall, text_pairs

from artsound.errors import BadData
from artsound.pairing.caption_bridge import caption_rows
from artsound.pairing.cca import RIDGES, best_ridge, cca_rows
from artsound.pairing.concepts import concept_rows
from artsound.pairing.fusion import fused_rows
from artsound.pairing.learned import train_heads

ARTWORKS, TRACKS = 300, 240


@pytest.fixture(scope="module")
def world() -> Planted:
    return Planted.make(ARTWORKS, TRACKS, 1)


def test_texts_of_both_encoders_bring_their_items_together(world: Planted) -> None:
    artworks, tracks = cca_rows(world.images, world.audio, *text_pairs(world, 1500))
    assert artworks.shape == (ARTWORKS, 80)
    assert (artworks.dtype, tracks.dtype) == (np.float32, np.float32)
    assert np.linalg.norm(artworks, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert recall(tracks, artworks, 10) > 0.85
    again = cca_rows(world.images, world.audio, *text_pairs(world, 1500))
    assert (again[0] == artworks).all()


def test_fewer_texts_than_dimensions_still_find_some_pairs(world: Planted) -> None:
    artworks, tracks = cca_rows(world.images, world.audio, *text_pairs(world, 60))
    assert recall(tracks, artworks, 10) > 5 * 10 / ARTWORKS


def test_the_ridge_is_larger_the_less_the_texts_tell() -> None:
    draw = np.random.default_rng(0)
    meaning, (left, right) = draw.standard_normal((400, 8)), draw.standard_normal((2, 8, 30))
    detail = draw.standard_normal((2, 400, 30))
    chosen = []
    for count, noise in ((400, 0.1), (400, 3.0), (60, 3.0)):
        sides = (meaning @ left + noise * detail[0], meaning @ right + noise * detail[1])
        chosen.append(best_ridge(*(side[:count].astype(np.float32) for side in sides)))
    assert RIDGES[0] < chosen[0] < chosen[1] < chosen[2] < RIDGES[-1]


def test_texts_that_belong_to_no_other_find_no_pairs(world: Planted) -> None:
    seen, heard = text_pairs(world, 600)
    artworks, tracks = cca_rows(world.images, world.audio, seen, heard[::-1].copy())
    assert recall(tracks, artworks, 10) < 3 * 10 / ARTWORKS


def test_texts_that_are_all_alike_give_finite_rows(world: Planted) -> None:
    seen, heard = (np.repeat(side[:1], 30, axis=0) for side in text_pairs(world, 20))
    for rows in cca_rows(world.images, world.audio, seen, heard):
        assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["any", "equal", "opposite"])
@pytest.mark.parametrize("items", [1, 2, 50])
def test_rows_that_say_little_give_unit_rows_in_every_bridge(kind: str, items: int) -> None:
    draw = np.random.default_rng(0)

    def rows(count: int, width: int) -> np.ndarray:
        made = draw.standard_normal((count, width))
        if kind != "any":
            made[:] = made[0]
        if kind == "opposite":
            made[::2] *= -1
        return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)

    seen, heard = rows(30, 64), rows(30, 48)  # fewer texts than dimensions
    with np.errstate(all="raise", under="ignore"):
        sides = [
            cca_rows(rows(items, 64), rows(items, 48), seen, heard),
            (concept_rows(rows(items, 64), seen[:1]), concept_rows(rows(items, 48), heard[:1])),
            caption_rows(rows(items, 64), rows(items, 48), rows(items, 48), rows(items, 64)),
        ]
        sides.append(fused_rows(sides, [1.0, 2.0, 3.0]))
    for one in sides:
        for side in one:
            assert np.linalg.norm(side, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_too_few_texts_are_refused_with_a_remedy(world: Planted) -> None:
    seen, heard = text_pairs(world, 20)
    with pytest.raises(BadData, match=r"needs 20 texts .* has 1: add concepts"):
        cca_rows(world.images, world.audio, seen[:1], heard[:1])
    pytest.importorskip("torch")
    with pytest.raises(BadData, match=r"learned needs 2 texts .* has 1: add concepts"):
        train_heads(seen[:1], heard[:1], world.images, world.audio, seed=0)
    with pytest.raises(ValueError, match="20 and 19 texts make no pairs"):
        cca_rows(world.images, world.audio, seen, heard[1:])
