from __future__ import annotations

import numpy as np
import pytest
from planted import Planted, recall, text_pairs

from artsound.errors import BadData
from artsound.pairing.cca import RIDGES, best_ridge, cca_rows

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


def test_too_few_texts_are_refused_with_a_remedy(world: Planted) -> None:
    seen, heard = text_pairs(world, 20)
    with pytest.raises(BadData, match=r"needs 20 texts .* has 1: add concepts"):
        cca_rows(world.images, world.audio, seen[:1], heard[:1])
    with pytest.raises(ValueError, match="20 and 19 texts make no pairs"):
        cca_rows(world.images, world.audio, seen, heard[1:])
