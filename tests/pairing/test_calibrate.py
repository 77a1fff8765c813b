"""Weights of a fusion's bridges, fitted to judgements."""

from pathlib import Path

import numpy as np
import pytest

from artsound.errors import BadData, BadUsage
from artsound.pairing.calibrate import LEAST_TRIALS, calibrate, read_ratings
from artsound.pairing.rows import deviation, unit_rows
from artsound.storage import write_parquet

ARTWORKS = [f"artwork-{n}.jpg" for n in range(40)]
TRACKS = [f"{n:06d}" for n in range(40)]
Sides = list[tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def sides() -> Sides:
    rng = np.random.default_rng(0)
    return [
        tuple(unit_rows(rng.standard_normal((40, 8)).astype(np.float32)) for _ in range(2))  # type: ignore[misc]
        for _ in range(2)
    ]


def judged(path: Path, ratings: list[tuple[str, int, int, int]]) -> str:
    """A file of judgements: (judge, artwork, track, rating)."""
    rows = [
        {
            "judge": judge, "at": f"2026-05-04T09:30:{n % 60:02d}.{n:06d}+00:00",
            "artwork_key": TRACKS[artwork], "artwork_id": ARTWORKS[artwork],
            "image_sha256": "0" * 64, "track_key": TRACKS[track], "track_id": TRACKS[track],
            "audio_sha256": "0" * 64, "control": artwork != track, "rating": rating, "verdict": "",
            "seconds": 9.0, "heard": 9.0, "view": [], "index_sha256": "0" * 64,
        }
        for n, (judge, artwork, track, rating) in enumerate(ratings)
    ]  # fmt: skip
    write_parquet(path, "judgement", rows)
    return str(path)


def trials(sides: Sides, bridge: int | None, noise: float) -> list[tuple[str, int, int, int]]:
    """240 ratings by 3 judges who follow one bridge, or none, each on a scale of their own."""
    rng = np.random.default_rng(1)
    found = []
    for n in range(240):
        artwork, track = rng.integers(40, size=2).tolist()
        score = (
            0.0 if bridge is None else float(sides[bridge][0][artwork] @ sides[bridge][1][track])
        )
        rating = 3 + (n % 3 - 1) * 0.5 + 3 * score + noise * rng.standard_normal()
        found.append((f"judge {n % 3}", artwork, track, int(np.clip(np.rint(rating), 1, 5))))
    return found


def fitted(path: str, sides: Sides, artworks: list[str] = ARTWORKS):  # type: ignore[no-untyped-def]
    spreads = [deviation(*both) for both in sides]
    return calibrate(path, {"affect": 1.0, "text": 1.0}, sides, spreads, artworks, TRACKS)


@pytest.mark.parametrize("bridge", [0, 1])
def test_the_bridge_that_judges_follow_gets_the_weight(
    sides: Sides, bridge: int, tmp_path: Path
) -> None:
    found = fitted(judged(tmp_path / "j.parquet", trials(sides, bridge, 0.5)), sides)
    assert list(found.weights.values())[bridge] > 0.8
    assert sum(found.weights.values()) == pytest.approx(1.0, abs=1e-3)
    assert found.accuracy > found.accuracy_before > 0.6
    assert (found.ratings, found.judges) == (len(read_ratings(str(tmp_path / "j.parquet"))), 3)


def test_judges_who_follow_no_bridge_leave_much_of_the_recipe_s_weights(
    sides: Sides, tmp_path: Path
) -> None:
    found = fitted(judged(tmp_path / "j.parquet", trials(sides, None, 1.0)), sides)
    assert abs(found.accuracy - 0.5) < 0.15
    if found.share == 1.0:
        assert found.weights == {"affect": 0.5, "text": 0.5}
    assert found.accuracy >= found.accuracy_before


def test_judgements_that_cannot_weigh_bridges_are_refused(sides: Sides, tmp_path: Path) -> None:
    many = trials(sides, 0, 0.5)
    path = judged(tmp_path / "j.parquet", many)
    with pytest.raises(BadData, match="in this catalogue, and 2"):  # of another release
        fitted(path, sides, [f"other-{n}.jpg" for n in range(40)])
    few = judged(tmp_path / "few.parquet", many[:30])
    with pytest.raises(BadData, match=f"calibration needs {LEAST_TRIALS}"):
        read_ratings(few)
    flat = judged(tmp_path / "flat.parquet", [(*one[:3], 3) for one in many])
    with pytest.raises(BadData, match="rates two trials differently"):
        fitted(flat, sides)
    with pytest.raises(BadUsage, match="is not a file"):
        read_ratings(str(tmp_path / "none.parquet"))


def test_a_judge_s_last_rating_counts_and_skipped_ones_do_not(sides: Sides, tmp_path: Path) -> None:
    many = trials(sides, 0, 0.5)
    again = [*many, (*many[0][:3], 5 if many[0][3] < 3 else 1)]
    first = read_ratings(judged(tmp_path / "first.parquet", many))
    last = read_ratings(judged(tmp_path / "last.parquet", again))
    assert len(first) == len(last)
    assert sum(a != b for a, b in zip(first, last, strict=True)) == 1
    skipped = judged(tmp_path / "skipped.parquet", [*many, ("judge 9", 0, 0, 0)])
    assert read_ratings(skipped) == first


@pytest.mark.parametrize("alone", [True, False])
def test_preferences_weigh_bridges_like_ratings(sides: Sides, alone: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = []
    for n in range(200):
        artwork, own, other = rng.integers(40, size=3).tolist()
        scores = sides[1][0][artwork] @ sides[1][1][[own, other]].T
        rows.append(preference(n, ARTWORKS[artwork], TRACKS[own], TRACKS[other], scores))
    path = tmp_path / "preferences.parquet"
    write_parquet(path, "preference", rows)
    if not alone:
        path = Path(judged(tmp_path / "judgements.parquet", trials(sides, 1, 0.5)))
    found = fitted(str(path), sides)
    assert found.weights["text"] > 0.8
    assert found.accuracy > 0.75
    assert found.judges == (2 if alone else 5)
    strange = [name if n else "other" for n, name in enumerate(TRACKS)]
    fewer = calibrate(str(path), {"affect": 1.0, "text": 1.0}, sides, [1.0, 1.0], ARTWORKS, strange)
    assert fewer.ratings < found.ratings
    assert (found.ratings - fewer.ratings) % 2 == 0 or not alone


def preference(n: int, artwork: str, own: str, other: str, scores: np.ndarray) -> dict[str, object]:
    """What a judge said who prefers the clip of the higher score."""
    choice = "skip" if own == other else "own" if scores[0] > scores[1] else "other"
    return {
        "judge": f"listener {n % 2}", "at": f"2026-05-04T09:30:00.{n:06d}+00:00",
        "artwork_key": "990015", "artwork_id": artwork, "image_sha256": "0" * 64,
        "own_track_id": own, "own_audio_sha256": "0" * 64, "against": "control",
        "other_key": "990031", "other_track_id": other, "other_audio_sha256": "0" * 64,
        "own_first": True, "choice": choice, "seconds": 1.0, "heard_own": 1.0, "heard_other": 1.0,
        "view": [], "index_sha256": "0" * 64,
    }  # fmt: skip
