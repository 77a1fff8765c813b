from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from artsound.pairing import evidence
from artsound.pairing.match import evaluate_match, match
from artsound.pairing.search import find_candidates, hub_penalties
from artsound.schema import to_table


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def sides(n_tracks: int, n_artworks: int, hub: float = 0.0, seed: int = 0):
    """Tracks and their planted artworks; `hub` pulls some artworks towards all tracks."""
    generator = np.random.default_rng(seed)
    cause = generator.standard_normal((n_artworks, 16))
    common = hub * 4 * unit(generator.standard_normal((1, 16)))
    t = cause[:n_tracks] + 0.5 * generator.standard_normal((n_tracks, 16)) + common / 2
    a = cause + 0.5 * generator.standard_normal(cause.shape)
    return unit(t), unit(a + common * generator.random((n_artworks, 1)))


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_the_interval_of_a_share_is_scipys_to_the_last_bit(count: int, share: float):
    for hits in (0, count, round(count * share)):
        wanted = binomtest(hits, count).proportion_ci(method="wilson")
        assert evidence.wilson_interval(hits, count) == list(wanted)


def test_a_pair_is_listed_if_it_is_a_candidate_of_either_side():
    t, a = sides(40, 60)
    chosen = np.random.default_rng(1).permutation(60)[:40]
    chosen[::7] = -1
    found = evaluate_match(t, a, chosen, count=3)
    scores = t @ a.T
    best = np.argsort(-scores, axis=1)[:, :3], np.argsort(-scores, axis=0)[:3]
    wanted = [c >= 0 and (c in best[0][n] or n in best[1][:, c]) for n, c in enumerate(chosen)]
    assert found.listed.tolist() == wanted
    assert 0 < found.listed.sum() < (chosen >= 0).sum()


def test_the_hub_correction_spreads_the_candidates_and_finds_more_planted_pairs():
    t, a = sides(400, 1600, hub=1.0)
    found = find_candidates(t, a, 32)
    penalties = hub_penalties(found, 10)
    assert evidence.hubness(found, penalties) < 0.7 * evidence.hubness(found, 0 * penalties)
    right = [
        (match(t, a, count=32, neighbours=n).assignment.artworks == np.arange(400)).mean()
        for n in (0, 10)
    ]
    assert right[1] > right[0] > 0.4


def test_the_penalty_is_half_the_mean_score_of_the_nearest_tracks():
    t, a = sides(50, 60)
    scores = np.sort(t @ a.T, axis=0)[::-1]
    found = find_candidates(t, a, 20)
    assert hub_penalties(found, 7) == pytest.approx(scores[:7].mean(axis=0) / 2, abs=1e-6)
    assert not hub_penalties(found, 0).any()
    assert hub_penalties(found, 500) == pytest.approx(scores[:20].mean(axis=0) / 2, abs=1e-6)


def test_hubness_is_zero_when_every_artwork_is_as_popular():
    same = np.eye(10, dtype=np.float32)  # all ten are among everybody's ten best
    assert evidence.hubness(find_candidates(same, same, 10), np.zeros(10)) == 0.0


def test_random_scores_are_those_of_a_random_assignment():
    t, a = sides(300, 400)
    found = evidence.random_scores(t, a, seed=1)
    assert len(found) == 300
    assert found.mean() == pytest.approx((t @ a.T).mean(), abs=0.05)
    assert (found == evidence.random_scores(t, a, seed=1)).all()
    assert (found != evidence.random_scores(t, a, seed=2)).any()


def test_a_percentile_is_the_share_of_pairs_of_the_split_that_score_less(monkeypatch):
    t, a = sides(30, 40)
    scores = (t @ a.T).ravel()
    own = scores[[3, 500, 1199]]
    exact = evidence.percentiles(evidence.chance_scores(t, a, seed=0), own)
    assert exact == pytest.approx([(scores < one).mean() for one in own], abs=1e-6)
    monkeypatch.setattr(evidence, "MOST_CHANCE_PAIRS", 1000)
    drawn = evidence.chance_scores(t, a, seed=0)
    assert len(drawn) == 1000
    assert (drawn == evidence.chance_scores(t, a, seed=0)).all()
    assert evidence.percentiles(drawn, own) == pytest.approx(exact, abs=0.05)
    same = np.ones((9, 1), dtype=np.float32)
    assert evidence.percentiles(evidence.chance_scores(same, same, 0), same[:, 0]).max() == 0.0


def test_percentiles_of_the_largest_splits_take_no_memory_for_all_pairs():
    many = np.broadcast_to(np.ones((1, 1), dtype=np.float32), (10**6, 1))  # 8 TB as pairs
    assert len(evidence.chance_scores(many, many, seed=0)) == evidence.MOST_CHANCE_PAIRS


def test_runners_up_are_the_best_other_partners_of_both_items_of_a_pair():
    t, a = sides(20, 25)
    found = match(t, a, count=8)
    chosen = found.assignment.artworks
    chosen[4] = -1
    scores = t @ a.T
    rows = list(zip(*(part.tolist() for part in evidence.runners_up(found.candidates, chosen)),
                    strict=True))  # fmt: skip
    assert len(rows) == 19 * 10
    for track in (0, 7):
        artwork = chosen[track]
        others = [n for n in np.argsort(-scores[track]) if n != artwork][:5]
        rivals = [n for n in np.argsort(-scores[:, artwork]) if n != track][:5]
        mine = [row for row in rows if row[0] == track]
        assert [row[1:4] for row in mine[:5]] == [(True, k + 1, n) for k, n in enumerate(others)]
        assert [row[1:4] for row in mine[5:]] == [(False, k + 1, n) for k, n in enumerate(rivals)]
        assert mine[0][4] == pytest.approx(scores[track, others[0]])


def test_recalls_count_the_ranks_with_ties_averaged():
    none = np.zeros(4, dtype=np.int64)
    found = evidence.recalls(np.array([1, 2, 5, 11]), none, 100)
    assert [found[name] for name in ("r1", "r5", "r10")] == [0.25, 0.75, 0.75]
    assert (found["pool"], found["pairs"], found["median_rank"]) == (100, 4, 3.5)
    assert found["r1_interval"] == pytest.approx([0.0456, 0.6994], abs=1e-4)
    tied = evidence.recalls(np.ones(4, dtype=np.int64), none + 9, 100)  # places 1 to 10, shared
    assert [tied[name] for name in ("r1", "r5", "r10")] == [0.0, 0.0, 1.0]
    assert tied["median_rank"] == 5.5


def test_recalls_that_any_matching_has_are_blank():
    found = evidence.recalls(np.array([1, 2, 3]), np.zeros(3, dtype=np.int64), 5)
    assert found["r1"] == pytest.approx(1 / 3)
    assert [found[name] for name in ("r5", "r5_interval", "r10", "r10_interval")] == [None] * 4
    none = np.zeros(0, dtype=np.int64)
    assert evidence.recalls(none, none, 5) == {"pool": 5, "pairs": 0}


def test_histograms_add_up_and_keep_only_the_bins_in_use():
    first = {"matched": evidence.histogram(np.array([0.5, 1.0000001])), "random": [0] * 100}
    second = {"matched": [0] * 100, "random": evidence.histogram(np.array([0.011, -0.005]))}
    found = evidence.merge_histograms([first, second])
    assert found["edges"][0] == -0.02
    assert found["edges"][-1] == 1.0
    assert len(found["edges"]) == len(found["matched"]) + 1 == len(found["random"]) + 1
    assert (sum(found["matched"]), sum(found["random"])) == (2, 2)


def test_margins_are_to_the_best_other_artwork():
    t, a = sides(30, 40)
    found = match(t, a, count=4)
    chosen = found.assignment.artworks
    scores = t @ a.T
    own = scores[np.arange(30), chosen]
    others = scores.copy()
    others[np.arange(30), chosen] = -2
    margins = evidence.margins(found.candidates, np.arange(30), chosen, own)
    assert margins == pytest.approx(own - others.max(axis=1), abs=1e-6)
    lonely = find_candidates(t[:1], a[:1], 4)
    assert evidence.margins(lonely, np.array([0]), np.array([0]), own[:1]).tolist() == [0.0]


def test_bridges_that_agree_and_bridges_that_do_not():
    t, a = sides(300, 400)
    chosen = match(t, a, count=16).assignment.artworks
    same = evidence.agreement((t, a), (t, a), chosen, seed=0)
    assert same["spearman"] == pytest.approx(1.0)
    assert same["preferred"] > 0.95
    unrelated = sides(300, 400, seed=9)[0], a[::-1]
    other = evidence.agreement((t, a), unrelated, chosen, seed=0)
    assert other["spearman"] == pytest.approx(0.0, abs=0.05)
    assert other["preferred"] == pytest.approx(0.5, abs=0.1)
    flat = np.ones((400, 1), dtype=np.float32)
    assert evidence.agreement((t, a), (flat[:300], flat), chosen, seed=0) == {
        "spearman": 0.0,
        "preferred": 0.5,
    }


def test_certain_pairs_and_style_by_genre_come_from_the_pairs():
    rows = [
        {
            "track_id": f"{n:06d}", "artwork_id": f"{n}.jpg", "split": "train", "score": n / 10,
            "bridge": "affect", "percentile": n / 5, "margin": n / 10, "track_rank": 1,
            "artwork_rank": 1, "method": "sparse",
        }
        for n in range(5)
    ]  # fmt: skip
    pairs = to_table("pair", rows)
    found = evidence.most_and_least_certain(pairs)
    assert [int(row["track_id"]) for row in found["most_certain"]] == [4, 3, 2, 1, 0]
    assert [int(row["track_id"]) for row in found["least_certain"]] == [0, 1, 2, 3, 4]
    styles = ["Cubism", "Cubism", "Rococo", "Rococo", "Rococo"]
    genres = ["Folk", "Folk", "Folk", "Rock", "Rock"]
    artworks = pa.table({"artwork_id": [f"{n}.jpg" for n in range(5)], "style": styles})
    tracks = pa.table({"track_id": [f"{n:06d}" for n in range(5)], "genre": genres})
    assert evidence.style_genre(pairs, artworks, tracks) == [
        {"style": "Cubism", "genre": "Folk", "pairs": 2, "mean": pytest.approx(0.05)},
        {"style": "Rococo", "genre": "Rock", "pairs": 2, "mean": pytest.approx(0.35)},
        {"style": "Rococo", "genre": "Folk", "pairs": 1, "mean": pytest.approx(0.2)},
    ]


def test_stability_counts_the_pairs_that_stay_and_ranks_old_partners():
    a = np.eye(6, dtype=np.float32)
    t = a[[0, 1, 2, 4]]  # with the errors, the fourth track is the fifth artwork
    chosen, again = np.array([0, 1, -1, 3]), np.array([0, 1, 2, 4])
    found = evidence.stability(t, a, chosen, again)
    assert found == {"kept": pytest.approx(2 / 3), "median_rank": 1.0}
    assert evidence.stability(t, a, np.array([-1, -1, -1, 3]), None) == {
        "kept": None, "median_rank": 4.0,  # below the best, in the middle of five that tie
    }  # fmt: skip
