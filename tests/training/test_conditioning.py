"""Statistics of pictures, on numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from artsound.errors import BadData
from artsound.training.pictures import Standardiser, fit_standardiser

VALUES = np.array([[0, 5, -3], [2, 5, 1], [4, 5, 5]], dtype=np.float32)


def test_statistics_are_the_mean_and_the_spread_of_each_column() -> None:
    fitted = fit_standardiser(VALUES)
    assert fitted.mean.tolist() == [2, 5, 1]
    # A column that never varies is left in its own unit.
    assert fitted.spread == pytest.approx([np.sqrt(8 / 3), 1, np.sqrt(32 / 3)])
    assert (fitted.mean.dtype, fitted.spread.dtype) == (np.float32, np.float32)


def test_values_become_units_of_the_spread_cut_at_four() -> None:
    standardise = Standardiser(np.array([2, 5], np.float32), np.array([0.5, 2], np.float32))
    rows = standardise(np.array([[3, 5], [2.5, 1], [2, 14], [-1, 12.5]]))
    assert rows.tolist() == [[2, 0], [1, -2], [0, 4], [-4, 3.75]]
    assert rows.dtype == np.float32


def test_statistics_come_back_from_a_checkpoints_tensors() -> None:
    fitted = fit_standardiser(VALUES)
    again = Standardiser.from_tensors(fitted.tensors())
    assert np.array_equal(again(VALUES), fitted(VALUES))
    for damaged in ({}, {**fitted.tensors(), "condition.mean": np.zeros(4, np.float32)}):
        with pytest.raises(BadData, match="train again"):
            Standardiser.from_tensors(damaged)
