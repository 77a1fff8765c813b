from __future__ import annotations

import numpy as np
import pytest

from artsound.pairing.caption_bridge import caption_rows


def rows(count: int, width: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def unit(values: np.ndarray) -> bool:
    return bool(np.allclose(np.linalg.norm(values, axis=1), 1.0, atol=1e-5))


def test_both_terms_vary_alike_over_all_pairs():
    narrow = rows(30, 40, 0)
    narrow[:, 2:] *= 0.05  # nearly flat: its products spread far more
    artworks, tracks = caption_rows(narrow, rows(30, 24, 1), rows(20, 24, 2), rows(20, 40, 3))
    in_clip = tracks[:, :40] @ artworks[:, :40].T
    in_clap = tracks[:, 40:] @ artworks[:, 40:].T
    assert in_clip.std() == pytest.approx(in_clap.std(), rel=1e-3)
    assert in_clip.mean() + in_clap.mean() == pytest.approx(0.0, abs=0.02)
    assert unit(artworks)
    assert unit(tracks)
    assert artworks.dtype == tracks.dtype == np.float32


def test_an_offset_of_one_modality_changes_hardly_anything():
    parts = [rows(200, 48, 0), rows(200, 40, 1), rows(150, 40, 2), rows(150, 48, 3)]
    before = caption_rows(*parts)
    parts[2] = parts[2] + 3 * rows(1, 40, 4)
    after = caption_rows(*parts)
    scores = [(tracks @ artworks.T).ravel() for artworks, tracks in (before, after)]
    assert np.corrcoef(*scores)[0, 1] > 0.9


def test_a_single_item_on_each_side_has_a_score():
    artworks, tracks = caption_rows(rows(1, 6, 0), rows(1, 4, 1), rows(1, 4, 2), rows(1, 6, 3))
    assert unit(artworks)
    assert unit(tracks)


@pytest.mark.parametrize(
    ("place", "bad", "fault"),
    [
        (0, np.full((3, 6), np.nan), "images must be finite"),
        (1, np.zeros((3, 4)), "artwork captions must be finite, and no row zero"),
        (2, np.zeros((0, 4)), r"audio must be \[n, D\]"),
        (3, rows(2, 5, 0), "track captions must be 6 wide, not 5"),
        (1, rows(2, 4, 0), "3 artworks but 2 captions"),
    ],
)
def test_unfit_vectors_are_refused(place: int, bad: np.ndarray, fault: str):
    parts = [rows(3, 6, 0), rows(3, 4, 1), rows(2, 4, 2), rows(2, 6, 3)]
    parts[place] = bad
    with pytest.raises(ValueError, match=fault):
        caption_rows(*parts)
