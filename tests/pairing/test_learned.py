from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from artsound.errors import BadData
from artsound.pairing.learned import Head, load_heads, save_heads, train_heads


def rows(count: int, width: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def same(one: Head, other: Head) -> bool:
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name))
        for field in fields(Head)
    )


@pytest.fixture(scope="module")
def heads() -> tuple[Head, Head]:
    return train_heads(
        rows(40, 12, 0), rows(40, 9, 1), rows(30, 12, 2), rows(20, 9, 3), seed=1, steps=5
    )


def test_the_same_seed_gives_the_same_heads_and_leaves_torch_as_it_was(heads: tuple[Head, Head]):
    import torch

    torch.manual_seed(7)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    parts = rows(40, 12, 0), rows(40, 9, 1), rows(30, 12, 2), rows(20, 9, 3)
    again = train_heads(*parts, seed=1, steps=5)
    other = train_heads(*parts, seed=2, steps=5)
    assert same(again[0], heads[0])
    assert same(again[1], heads[1])
    assert not same(other[0], heads[0])
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads


def test_both_sides_become_unit_rows_of_one_width(heads: tuple[Head, Head]):
    artworks, tracks = heads[0].rows(rows(7, 12, 4)), heads[1].rows(rows(1, 9, 5))
    assert artworks.shape[1] == tracks.shape[1]
    for side in (artworks, tracks):
        assert side.dtype == np.float32
        assert np.allclose(np.linalg.norm(side, axis=1), 1.0, atol=1e-5)


def test_heads_come_back_from_disk_as_they_were(tmp_path: Path, heads: tuple[Head, Head]):
    save_heads(tmp_path / "heads", heads)
    written = (tmp_path / "heads").read_bytes()
    read = load_heads(tmp_path / "heads")
    assert same(read[0], heads[0])
    assert same(read[1], heads[1])
    save_heads(tmp_path / "heads", read)
    assert (tmp_path / "heads").read_bytes() == written
    for broken in (b"", b"no archive", written[: len(written) // 2]):
        (tmp_path / "heads").write_bytes(broken)
        with pytest.raises(BadData, match="delete it"):
            load_heads(tmp_path / "heads")


@pytest.mark.parametrize(
    ("place", "bad", "fault"),
    [
        (0, rows(1, 12, 0), "make no pairs"),
        (1, rows(3, 9, 0), "make no pairs"),
        (0, rows(40, 11, 0), "the texts for images must be 12 wide"),
        (2, np.zeros((5, 12)), "the rows of images must be finite, and no row zero"),
        (3, np.full((5, 9), np.inf), "the rows of audio must be finite"),
    ],
)
def test_unfit_vectors_are_refused(place: int, bad: np.ndarray, fault: str):
    parts = [rows(40, 12, 0), rows(40, 9, 1), rows(30, 12, 2), rows(20, 9, 3)]
    parts[place] = bad
    with pytest.raises(ValueError, match=fault):
        train_heads(*parts, seed=0, steps=1)


def test_a_head_refuses_items_of_another_width(heads: tuple[Head, Head]):
    with pytest.raises(ValueError, match="12 wide"):
        heads[0].rows(rows(3, 9, 0))
