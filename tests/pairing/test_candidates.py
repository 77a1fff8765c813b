from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artsound.errors import BadData, BadUsage
from artsound.pairing import heaps, search
from artsound.pairing.rows import check_vectors
from artsound.pairing.search import Candidates, find_candidates, find_on_device


def unit(rows: int, width: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def best(scores: np.ndarray, count: int) -> np.ndarray:
    """The plain way: sort every row, of equal scores the lower index first."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("n_tracks", "n_artworks", "width"), [(700, 3100, 24), (1500, 2100, 1024)])
def test_both_directions_are_the_exact_best(n_tracks, n_artworks, width, threads):
    t, a = unit(n_tracks, width, 0), unit(n_artworks, width, 1)
    found = find_candidates(t, a, 12, threads=threads)
    scores = t @ a.T
    expected = np.take_along_axis(scores, best(scores, 12), axis=1)
    assert np.abs(found.artwork_scores - expected).max() < 1e-6
    listed = np.take_along_axis(scores, found.artworks, axis=1)
    assert np.abs(listed - found.artwork_scores).max() < 1e-6
    expected = np.take_along_axis(scores.T, best(scores.T, 12), axis=1)
    assert np.abs(found.track_scores - expected).max() < 1e-6


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 60), st.integers(0, 1000))
def test_ties_go_to_the_lower_index(n_tracks, n_artworks, count, seed):
    # Small whole numbers: every product is exact, and most of them are ties.
    generator = np.random.default_rng(seed)
    t = generator.integers(-1, 2, (n_tracks, 3)).astype(np.float32)
    a = generator.integers(-1, 2, (n_artworks, 3)).astype(np.float32)
    found = find_candidates(t, a, count)
    scores = t @ a.T
    assert (found.artworks == best(scores, min(count, n_artworks))).all()
    assert (found.tracks == best(scores.T, min(count, n_tracks))).all()


def test_zero_and_minus_zero_are_a_tie():
    best = heaps.empty(1, 2)
    search.scan_rows(np.array([[-0.0, 0.0]], dtype=np.float32), 0, 0, best)
    indices, scores = heaps.lists(best)
    assert indices.tolist() == [[0, 1]]
    assert not np.signbit(scores).any()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 60), st.integers(0, 1000))
def test_torch_finds_the_same_candidates(n_tracks, n_artworks, count, seed):
    generator = np.random.default_rng(seed)
    t = generator.integers(-1, 2, (n_tracks, 3)).astype(np.float32)
    a = generator.integers(-1, 2, (n_artworks, 3)).astype(np.float32)
    ours = find_candidates(t, a, count)
    theirs = Candidates(*find_on_device(t, a, count, "cpu"))
    for name in ("artworks", "artwork_scores", "tracks", "track_scores"):
        assert (getattr(ours, name) == getattr(theirs, name)).all(), name


def test_torch_in_blocks_finds_the_same_candidates(monkeypatch):
    t, a = unit(300, 16, 0), unit(500, 16, 1)
    monkeypatch.setattr(search, "BLOCK", 7 * 500)
    ours, theirs = find_candidates(t, a, 9), Candidates(*find_on_device(t, a, 9, "cpu"))
    assert (ours.artworks == theirs.artworks).all()
    assert (ours.tracks == theirs.tracks).all()


def test_a_missing_device_is_an_error():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(BadUsage, match=r'The device "cuda" cannot be used .* use "cpu"'):
        find_candidates(unit(3, 4, 0), unit(3, 4, 1), 2, device="cuda")


def test_the_result_does_not_depend_on_tiles_or_threads(monkeypatch):
    generator = np.random.default_rng(3)
    t = generator.integers(-2, 3, (900, 4)).astype(np.float32)
    a = generator.integers(-2, 3, (2100, 4)).astype(np.float32)
    first = find_candidates(t, a, 9, threads=1)
    monkeypatch.setattr(search, "TILE_ROWS", 100)
    monkeypatch.setattr(search, "TILE_COLUMNS", 130)
    second = find_candidates(t, a, 9, threads=7)
    for name in ("artworks", "artwork_scores", "tracks", "track_scores"):
        assert (getattr(first, name) == getattr(second, name)).all(), name


def test_any_number_of_threads_gives_the_same_bits():
    t, a = unit(700, 33, 0), unit(3333, 33, 1)
    first = find_candidates(t, a, 9, threads=1)
    for threads in (2, 3, 8):
        other = find_candidates(t, a, 9, threads=threads)
        assert (first.artworks == other.artworks).all()
        assert (first.artwork_scores == other.artwork_scores).all()
        assert (first.track_scores == other.track_scores).all()


def test_equal_scores_everywhere_give_the_first_indices():
    same = np.ones((30, 1), dtype=np.float32)
    found = find_candidates(same, same[:20], 5)
    assert (found.artworks == np.arange(5)).all()
    assert (found.tracks == np.arange(5)).all()


def test_more_candidates_than_items_lists_them_all():
    found = find_candidates(unit(3, 4, 0), unit(5, 4, 1), 64)
    assert found.artworks.shape == (3, 5)
    assert found.tracks.shape == (5, 3)
    assert sorted(found.artworks[0].tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("t", "a", "sentence"),
    [
        (unit(3, 4, 0), unit(3, 5, 0), "different widths"),
        (unit(0, 4, 0), unit(3, 4, 0), "There are 0 tracks and 3 artworks"),
        (unit(3, 4, 0), unit(0, 4, 0), "There are 3 tracks and 0 artworks"),
    ],
)
def test_sides_that_do_not_fit_are_refused(t, a, sentence):
    with pytest.raises(BadData, match=sentence):
        find_candidates(t, a, 2)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ([0, 0], r"The vector of b \(tracks\) is zero, and so for 1 of 3"),
        ([np.nan, 0], "has the length nan, not 1"),
        ([np.inf, 0], "has the length inf, not 1"),
        ([3, 4], "has the length 5, not 1"),
    ],
)
def test_a_vector_that_is_not_unit_is_refused_by_name(row, sentence):
    vectors = np.array([[1, 0], row, [0, 1]], dtype=np.float32)
    with pytest.raises(BadData, match=sentence):
        check_vectors(vectors, ["a", "b", "c"], "tracks")


def test_ids_that_do_not_fit_their_vectors_are_refused():
    with pytest.raises(BadData, match="The artworks list a twice"):
        check_vectors(unit(2, 3, 0), ["a", "a"], "artworks")
    with pytest.raises(BadData, match="2 vectors for 1 artworks"):
        check_vectors(unit(2, 3, 0), ["a"], "artworks")
    with pytest.raises(BadData, match=r"shape \(2,\)"):
        check_vectors(np.ones(2), ["a", "b"], "artworks")
    check_vectors(unit(2, 3, 0), ["a", "b"], "artworks")
