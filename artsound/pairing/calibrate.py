"""The weights of a fusion's bridges, fitted to what judges said: `pair.calibrate` of a recipe.

The ratings of each judge, less that judge's mean, are regressed on the standardised scores of the
bridges, with weights of 0 or more (Lawson & Hanson, Solving Least Squares Problems, 1974). A fit to
few ratings is mostly noise, so it is mixed with the weights that the recipe gives, in the
proportion that orders the ratings of held-out artworks best.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artsound.errors import BadData, BadUsage
from artsound.storage import read_parquet, sha256_bytes

LEAST_TRIALS = 60  # rated combinations of an artwork and a clip
LEAST_ARTWORKS = 20
FOLDS = 5
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the recipe's own weights
_COLUMNS = ["judge", "at", "artwork_id", "track_id", "rating", "verdict", "index_sha256"]


_PREFERRED = "preferences.parquet"
_PREFERENCE = ["judge", "at", "artwork_id", "own_track_id", "other_track_id", "choice"]
_RATED_AS = {"own": (4.0, 2.0), "other": (2.0, 4.0), "none": (3.0, 3.0)}


@dataclass(frozen=True)
class Rating:
    """One judge's last rating of an artwork with a clip, 1 to 5.

    A preference is two ratings that compare with each other alone: `comparison` is its number.
    """

    judge: str
    artwork_id: str
    track_id: str
    rating: float
    comparison: int = 0


@dataclass(frozen=True)
class Calibration:
    """Fitted weights, and what they gain on held-out artworks.

    Attributes:
        weights: Of the bridges, by name; they sum to 1.
        share: Of the recipe's own weights in them, 0 to 1.
        accuracy: How often two held-out trials are ordered as a judge rates them; 0.5 is chance.
        accuracy_before: The same with the recipe's own weights.
        ratings: How many were used.
        judges: Whose they are.
    """

    weights: dict[str, float]
    share: float
    accuracy: float
    accuracy_before: float
    ratings: int
    judges: int

    def to_json(self) -> dict[str, Any]:
        """JSON values, for fits.json."""
        return asdict(self)


def files_of(path: str) -> list[Path]:
    """The files of a `pair.calibrate`: that one, and the preferences beside judgements."""
    place = Path(path)
    beside = place.with_name(_PREFERRED)
    return [place, beside] if beside != place and beside.is_file() else [place]


def read_ratings(path: str) -> list[Rating]:
    """The ratings in a file of judgements, each judge's last of each trial, ordered.

    Preferences in the file, or in preferences.parquet beside it, follow as two ratings each.

    Raises:
        BadUsage: There is no such file.
        BadData: It is not a file of judgements, or has too few ratings.
    """
    if not Path(path).is_file():
        raise BadUsage(
            f"{path} is not a file: give pair.calibrate the judgements.parquet of a release, which "
            "`artsound judgements --publish` writes."
        )
    found: list[Rating] = []
    for file in files_of(path):
        found += _preferred(file) if file.name == _PREFERRED else _rated(file)
    _check_enough(path, found, "")
    return found


def _rated(path: Path) -> list[Rating]:
    rows = read_parquet(path, "judgement", _COLUMNS).to_pylist()
    last = {
        (row["judge"], row["artwork_id"], row["track_id"]): row
        for row in sorted(rows, key=lambda row: row["at"])
    }
    return [
        Rating(*key, float(row["rating"]))
        for key, row in sorted(last.items())
        if row["rating"] > 0 and row["verdict"] != "skip"
    ]


def _preferred(path: Path) -> list[Rating]:
    rows = read_parquet(path, "preference", _PREFERENCE).to_pylist()
    last = {
        (row["judge"], row["artwork_id"], row["own_track_id"], row["other_track_id"]): row
        for row in sorted(rows, key=lambda row: row["at"])
    }
    found = []
    for number, (key, row) in enumerate(sorted(last.items()), start=1):
        judge, artwork, own, other = key
        if row["choice"] in _RATED_AS:
            for track, rating in zip((own, other), _RATED_AS[row["choice"]], strict=True):
                found.append(Rating(judge, artwork, track, rating, number))
    return found


def _check_enough(path: str, ratings: Sequence[Rating], where: str) -> None:
    trials = {(one.artwork_id, one.track_id) for one in ratings}
    artworks = {artwork for artwork, _ in trials}
    if len(trials) < LEAST_TRIALS or len(artworks) < LEAST_ARTWORKS:
        raise BadData(
            f"{path} has ratings of {len(trials)} trials of {len(artworks)} artworks{where}: "
            f"calibration needs {LEAST_TRIALS} of {LEAST_ARTWORKS}. Judge more in `artsound "
            "browse`, or leave out pair.calibrate."
        )


def calibrate(
    path: str,
    weights: Mapping[str, float],
    sides: Sequence[tuple[np.ndarray, np.ndarray]],
    spreads: Sequence[float],
    artworks: Sequence[str],
    tracks: Sequence[str],
) -> Calibration:
    """Fit the weights of bridges to the ratings in a file.

    Args:
        path: Of the judgements.
        weights: The recipe's own, by the bridges' names.
        sides: Unit rows [nA, D] and [nT, D] of each bridge.
        spreads: The deviation of each bridge's scores over all pairs.
        artworks: The ids of the artworks, nA.
        tracks: The ids of the tracks, nT.

    Raises:
        BadUsage: There is no such file.
        BadData: Too few ratings are of these items, or no judge rates two trials differently.
    """
    place = {name: n for n, name in enumerate(artworks)}
    number = {name: n for n, name in enumerate(tracks)}
    every = read_ratings(path)
    ratings = _of_items(every, place, number)
    _check_enough(path, ratings, f" in this catalogue, and {len(every)} ratings in all")
    a = [place[one.artwork_id] for one in ratings]
    t = [number[one.track_id] for one in ratings]
    # A preference says nothing beside other ratings of its judge.
    scales = sorted({(one.judge, one.comparison) for one in ratings})
    number_of = {scale: n for n, scale in enumerate(scales)}
    judges = np.array([number_of[one.judge, one.comparison] for one in ratings])
    scores = np.stack(
        [
            np.einsum("nd,nd->n", both[0][a], both[1][t], dtype=np.float64)
            / (spread if spread > 1e-6 else np.inf)
            for both, spread in zip(sides, spreads, strict=True)
        ],
        axis=1,
    )
    rated = np.array([one.rating for one in ratings])
    if not np.ptp(_less_means(rated, judges)):
        raise BadData(f"No judge of {path} rates two trials differently: there is nothing to fit.")
    fold = np.array([int(sha256_bytes(one.artwork_id.encode())[:8], 16) for one in ratings]) % FOLDS
    own = np.array(list(weights.values()))
    own = own / own.sum()
    held: list[list[tuple[float, int]]] = [[] for _ in _SHARES]
    for one in range(FOLDS):
        test = fold == one
        fitted = _fit(scores[~test], rated[~test], judges[~test], own)
        for results, share in zip(held, _SHARES, strict=True):
            mixed = share * own + (1 - share) * fitted
            results.append(_ordered(scores[test] @ mixed, rated[test], judges[test]))
    accuracies = [_mean(results) for results in held]
    best = max(accuracies)
    chosen = max(n for n, accuracy in enumerate(accuracies) if accuracy >= best - 1e-9)
    share = _SHARES[chosen]
    mixed = share * own + (1 - share) * _fit(scores, rated, judges, own)
    return Calibration(
        {name: round(float(weight), 4) for name, weight in zip(weights, mixed, strict=True)},
        share,
        accuracies[chosen],
        accuracies[-1],
        len(ratings),
        len({one.judge for one in ratings}),
    )


def _of_items(
    ratings: Sequence[Rating], artworks: Mapping[str, int], tracks: Mapping[str, int]
) -> list[Rating]:
    """The ratings of these items; of a preference both or neither."""
    there = [one for one in ratings if one.artwork_id in artworks and one.track_id in tracks]
    whole = Counter((one.judge, one.comparison) for one in there)
    return [one for one in there if not one.comparison or whole[one.judge, one.comparison] == 2]


def _fit(scores: np.ndarray, rated: np.ndarray, judges: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Weights [bridges] of sum 1 of a regression within judges; the own ones if all are 0."""
    from scipy.optimize import nnls

    table = np.stack([_less_means(column, judges) for column in scores.T], axis=1)
    found: np.ndarray = nnls(table, _less_means(rated, judges))[0]
    return found / found.sum() if found.sum() > 0 else own


def _less_means(values: np.ndarray, judges: np.ndarray) -> np.ndarray:
    counts = np.maximum(np.bincount(judges), 1)
    means = np.bincount(judges, weights=values) / counts
    less: np.ndarray = values - means[judges]
    return less


def _ordered(scores: np.ndarray, rated: np.ndarray, judges: np.ndarray) -> tuple[float, int]:
    """How many pairs of trials are ordered as their judge rates them (ties: half), of how many."""
    right, of = 0.0, 0
    for judge in np.unique(judges):
        mine = judges == judge
        apart = np.sign(rated[mine][:, None] - rated[mine])
        alike = np.sign(scores[mine][:, None] - scores[mine])
        upper = np.triu(apart != 0, 1)
        right += float(np.where(alike == 0, 0.5, alike == apart)[upper].sum())
        of += int(upper.sum())
    return right, of


def _mean(results: Sequence[tuple[float, int]]) -> float:
    of = sum(count for _, count in results)
    return sum(right for right, _ in results) / of if of else 0.5
