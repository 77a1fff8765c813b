"""`artsound.match` on plain arrays, against scipy's dense assignment."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import artsound
from artsound.errors import BadUsage
from artsound.pairing import search


def unit(n: int, seed: int, dim: int = 6) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def best(scores: np.ndarray) -> float:
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return float(scores[rows, columns].sum())


@pytest.mark.parametrize(("n", "m", "uses"), [(30, 40, 1), (40, 30, 1), (30, 12, 3), (50, 12, 3)])
def test_the_total_is_the_largest_and_the_certificate_says_so(n: int, m: int, uses: int) -> None:
    x, y = unit(n, 0), unit(m, 1)
    found = artsound.match(x, y, uses=uses, optimality=1.0)
    assert (found.pairs.dtype, found.scores.dtype) == (np.int64, np.float32)
    assert len(found.pairs) == min(n, m * uses)
    assert (np.diff(found.pairs[:, 0]) > 0).all()
    assert np.bincount(found.pairs[:, 1]).max() <= uses
    wanted = best(np.repeat(x @ y.T, uses, axis=1))
    assert found.total == pytest.approx(wanted, abs=1e-4)
    assert found.total == pytest.approx(float(found.scores.sum()), abs=1e-4)
    assert found.bound == pytest.approx(wanted, abs=1e-3)
    assert found.share == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(("n", "m"), [(20, 25), (25, 20)])
def test_excluded_pairs_and_pairs_below_the_floor_are_not_made(n: int, m: int) -> None:
    x, y = unit(n, 2), unit(m, 3)
    free = artsound.match(x, y, optimality=1.0)
    apart = artsound.match(x, y, exclude=free.pairs[::2], optimality=1.0)
    made = set(map(tuple, apart.pairs.tolist()))
    assert not made & set(map(tuple, free.pairs[::2].tolist()))
    scores = (x @ y.T).astype(np.float64)
    scores[tuple(free.pairs[::2].T)] = -100
    assert apart.total == pytest.approx(best(scores), abs=1e-4)
    high = artsound.match(x, y, floor=0.6)
    assert 0 < len(high.pairs) < min(n, m)
    assert high.scores.min() >= 0.6


def test_without_a_floor_even_opposite_rows_are_matched() -> None:
    x = unit(1, 4)
    found = artsound.match(x, -x)
    assert found.pairs.tolist() == [[0, 0]]
    assert found.total == pytest.approx(-1.0)


def test_no_rows_make_no_pairs() -> None:
    found = artsound.match(np.zeros((0, 4), np.float32), unit(3, 0, 4))
    assert (found.pairs.shape, found.total, found.share) == ((0, 2), 0.0, 1.0)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"x": np.ones((3, 4), np.float32)}, r"Row 0 of X has the length 2, not 1"),
        ({"x": np.full((3, 4), np.nan, np.float32)}, "Row 0 of X has the length nan"),
        ({"x": np.ones(4, np.float32)}, "X must be an array of unit rows"),
        ({"y": unit(5, 1, 3)}, "X has rows of 4 values and Y of 3"),
        ({"x": np.full((3, 4), 1e300)}, "Row 0 of X has the length inf"),
        ({"uses": 0}, "uses must be a whole number, 1 or more, not 0"),
        ({"uses": 1.5}, "uses must be a whole number"),
        ({"optimality": float("nan")}, "optimality must be a number between 0 and 1"),
        ({"floor": float("nan")}, "floor must be None or a number"),
        ({"exclude": np.array([[0, 9]])}, "names rows beyond X"),
        ({"exclude": np.array([[0.5, 1.0]])}, "must be whole numbers"),
    ],
)
def test_what_cannot_be_matched_is_refused(change: dict[str, object], fault: str) -> None:
    given: dict[str, object] = {"x": unit(3, 0, 4), "y": unit(5, 1, 4), **change}
    with pytest.raises(BadUsage, match=fault):
        artsound.match(given.pop("x"), given.pop("y"), **given)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("small", "guessed"), [(2**24, 2**32), (0, 2**62), (0, 0)])
def test_duplicate_and_opposite_rows_are_matched_at_the_largest_total(
    small: int, guessed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artsound.pairing.match._SMALL", small)
    monkeypatch.setattr("artsound.pairing.match._GUESSED", guessed)
    monkeypatch.setattr("artsound.pairing.guess._LEAST", 20)
    x, y = unit(40, 0), unit(56, 1)
    one = np.repeat(x[:1], 56, axis=0)
    for left, right in (
        (one[:40], one), (x, -x), (one[:40], -one), (np.concatenate([one[:20], x[:20]]), y),
        (x, np.concatenate([one[:30], -one[:26]])), (np.sign(x[:, :1]), np.sign(y[:, :1])),
        (one, -one[:40]), (x[:1], y), (x, y[:1]),
    ):  # fmt: skip
        for uses in (1, 3, 10**9):
            found = artsound.match(left, right, uses=uses, optimality=1.0, exclude=[])
            wanted = best(np.repeat(left @ right.T, min(uses, len(left)), axis=1))
            assert len(found.pairs) == min(len(left), len(right) * uses)
            assert found.total == pytest.approx(wanted, abs=1e-4)
            assert found.bound == pytest.approx(wanted, abs=1e-3)
            assert found.share == 1.0


@pytest.mark.parametrize("guessed", [False, True])
@pytest.mark.parametrize("optimality", [0.98, 0.999, 1.0])
def test_the_certificate_of_large_sides_holds_without_comparing_all_pairs(
    optimality: float, guessed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artsound.pairing.match._SMALL", 0)
    monkeypatch.setattr("artsound.pairing.match._GUESSED", 0 if guessed else 2**62)
    monkeypatch.setattr("artsound.pairing.guess._LEAST", 20)
    monkeypatch.setattr("artsound.pairing.match._MANY_CANDIDATES", 6)
    compared = []
    best_within = search.best_within

    def counted(*args):  # type: ignore[no-untyped-def]
        found = best_within(*args)
        compared.append(found[2])
        return found

    monkeypatch.setattr("artsound.pairing.search._REACH_COLUMNS", 8)
    monkeypatch.setattr("artsound.pairing.search.best_within", counted)
    pairs = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        n, m = rng.integers(80, 200, size=2).tolist()
        pairs += n * m
        uses = int(rng.integers(1, 3))
        x, y = unit(n, seed, 4), unit(m, seed + 100, 4)
        apart = np.stack([rng.integers(n, size=50), rng.integers(m, size=50)], axis=1)
        exclude = apart if seed % 2 else None
        found = artsound.match(x, y, uses=uses, exclude=exclude, optimality=optimality)
        scores = (x @ y.T).astype(np.float64)
        if exclude is not None:
            scores[apart[:, 0], apart[:, 1]] = -9.0
        optimum = best(np.repeat(scores, uses, axis=1))
        assert found.bound >= optimum - 1e-4
        assert optimality * optimum - 1e-4 <= found.total <= optimum + 1e-4
        assert found.share >= optimality - 1e-6
    assert 0 < sum(compared) < pairs
