from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, linear_sum_assignment, milp
from scipy.sparse import coo_array

from artsound.errors import BadData, BadUsage
from artsound.pairing import assignment, search
from artsound.pairing.assignment import assign, candidate_edges, greedy
from artsound.pairing.match import audit, continue_split, match, share_of_bound
from artsound.pairing.previous_release import PreviousPair
from artsound.pairing.search import find_candidates
from artsound.pairing.splits import PairCatalogue, PairSide
from artsound.recipe import Recipe


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(n_tracks: int, n_artworks: int, seed: int, width: int = 16):
    """Two sides around the same centres in different proportions: hubs, and crowds."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((12, width))
    sides = []
    for count in (n_tracks, n_artworks):
        share = generator.dirichlet(np.ones(12))
        noise = 0.5 * generator.standard_normal((count, width))
        sides.append(unit(centres[generator.choice(12, count, p=share)] + noise))
    return sides[0], sides[1]


def total(t: np.ndarray, a: np.ndarray, chosen: np.ndarray) -> float:
    used = np.flatnonzero(chosen >= 0)
    return float((t[used] * a[chosen[used]]).sum(dtype=np.float64))


def optimum(scores: np.ndarray) -> float:
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return float(scores[rows, columns].sum(dtype=np.float64))


def assigned(t, a, count=8, **options):
    edges = candidate_edges(find_candidates(t, a, count))
    return assign(t, a, edges, **{"penalties": np.zeros(len(a)), **options})


def check_sparse_optimum(rows, columns, degree, slack, scale, low, seed):
    """Match a random graph, and prove the result by a dense solver and by its prices."""
    generator = np.random.default_rng(seed)
    none = -(10**6) * scale
    dense = np.full((rows, columns), none)
    lists = [
        np.sort(generator.choice(columns, min(degree, columns), replace=False)) for _ in range(rows)
    ]
    indptr = np.cumsum([0, *map(len, lists)])
    indices = np.concatenate(lists).astype(np.int64)
    weights = scale * generator.integers(-5, 20, len(indices))
    for row in range(rows):
        dense[row, lists[row]] = weights[indptr[row] : indptr[row + 1]]
    aside = scale * generator.integers(low, low + 50, rows)
    prices = np.zeros(columns, dtype=np.int64)
    column_of = np.full(rows, assignment.FREE)
    row_of = np.full(columns, assignment.FREE)
    graph = indptr, indices, weights
    assignment.heaviest(*graph, aside, prices, column_of, row_of, slack)
    if slack:
        assignment._settle(graph, aside, prices, column_of, row_of, slack)

    private = np.where(np.eye(rows, dtype=bool), aside, none)
    best = optimum(np.hstack([dense, private]))
    on = column_of >= 0
    reached = dense[np.flatnonzero(on), column_of[on]].sum() + aside[~on].sum()
    assert best - rows * slack <= reached <= best
    assert (prices >= 0).all()
    assert (prices[row_of == assignment.FREE] == 0).all()
    offered = np.maximum((dense - prices).max(axis=1), aside)
    # The dual is as large as the primal, or larger by the slack.
    assert best <= offered.sum() + prices.sum() <= reached + rows * slack
    assert (row_of[column_of[on]] == np.flatnonzero(on)).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 14),
    st.integers(0, 6),
    st.integers(1, 6),
    st.sampled_from([0, 0, 1, 4]),
    st.integers(0, 10_000),
)
def test_the_sparse_optimum_is_exact_within_the_slack_and_its_prices_prove_it(
    rows, spare, degree, slack, seed
):
    check_sparse_optimum(rows, rows + spare, degree, slack, 1, -40, seed)


@pytest.mark.parametrize("columns", [24, 30, 36])
@pytest.mark.parametrize("scale", [200, 10**5, 10**8])
def test_crowds_bid_by_larger_steps_and_end_within_the_slack(columns, scale):
    for seed in range(20):
        check_sparse_optimum(36, columns, 4, 1 + seed % 3, scale, -140, seed)


@pytest.mark.parametrize(("n_tracks", "n_artworks"), [(300, 330), (300, 300), (120, 900)])
@pytest.mark.parametrize("penalised", [False, True])
def test_matching_over_few_candidates_ends_at_the_optimum_over_all_pairs(
    n_tracks, n_artworks, penalised
):
    t, a = clustered(n_tracks, n_artworks, seed=1)
    found = match(t, a, count=6, neighbours=5 if penalised else 0, optimality=0.999999)
    best = optimum((t @ a.T).astype(np.float64) - found.penalties)
    assert found.weight == pytest.approx(best, rel=2e-6)
    assert found.audit.bound == pytest.approx(best, rel=2e-6)
    assert found.optimality >= 0.999999
    assert len(set(found.assignment.artworks.tolist())) == n_tracks


def test_every_track_is_matched_once_and_the_bound_holds_after_one_round():
    t, a = clustered(700, 720, seed=2)
    found = match(t, a, count=5, optimality=0.0)
    chosen = found.assignment.artworks
    assert (chosen >= 0).all()
    assert len(set(chosen.tolist())) == 700
    best = optimum((t @ a.T).astype(np.float64))
    assert found.weight <= best + 1e-6 <= found.audit.bound + 1e-3
    plain = greedy(t, a, found.candidates, penalties=found.penalties)
    assert len(set(plain.tolist())) == 700
    assert total(t, a, plain) < found.weight


def test_the_matching_is_no_worse_than_scipys_on_the_same_candidates():
    from scipy.sparse import coo_array, hstack
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    t, a = clustered(600, 640, seed=3)
    edges = candidate_edges(find_candidates(t, a, 10))
    rows, columns = np.divmod(edges.keys, len(a))
    graph = coo_array((edges.scores - 2.0, (rows, columns)), shape=(600, 640))
    dummies = coo_array((np.full(600, -1000.0), (np.arange(600), np.arange(600))))
    chosen = min_weight_full_bipartite_matching(hstack([graph, dummies]).tocsr(), maximize=True)[1]
    chosen = np.where(chosen < 640, chosen, -1)
    left, free = np.flatnonzero(chosen < 0), np.setdiff1d(np.arange(640), chosen)
    some, other = linear_sum_assignment(t[left] @ a[free].T, maximize=True)
    chosen[left[some]] = free[other]
    ours = assign(t, a, edges, penalties=np.zeros(640)).artworks
    assert total(t, a, ours) >= total(t, a, chosen) - 1e-4


def test_ranks_are_those_of_all_pairs():
    t, a = clustered(90, 130, seed=4)
    chosen = assigned(t, a).artworks
    chosen[:3] = -1
    looked = audit(t, a, chosen, penalties=np.zeros(130), prices=np.zeros(130))
    scores = t @ a.T
    for track in range(90):
        if chosen[track] < 0:
            assert looked.track_ranks[track] == looked.artwork_ranks[track] == 0
            continue
        own = scores[track, chosen[track]] + 1e-6
        assert looked.track_ranks[track] == 1 + (scores[track] > own).sum()
        assert looked.artwork_ranks[track] == 1 + (scores[:, chosen[track]] > own).sum()


@pytest.mark.parametrize("threads", [1, 3])
def test_an_audit_of_shared_artworks_is_that_of_all_pairs(threads, monkeypatch):
    monkeypatch.setattr(search, "TILE_ROWS", 16)
    monkeypatch.setattr(search, "TILE_COLUMNS", 16)
    t, a = clustered(60, 40, seed=15)
    chosen = assigned(t, a, uses=2).artworks
    chosen[:4] = -1
    generator = np.random.default_rng(0)
    penalties, prices = generator.random(40) / 4, generator.random(40) / 4
    looked = audit(t, a, chosen, penalties=penalties, prices=prices, uses=2, threads=threads)
    scores = (t @ a.T).astype(np.float64)
    worth = scores - penalties - prices
    missed = {tuple(pair) for pair in looked.missed.tolist()}
    for track in range(60):
        offers = set(np.argsort(-worth[track])[:8].tolist())
        mine = {artwork for row, artwork in missed if row == track}
        if chosen[track] < 0:
            assert mine == offers
            continue
        own = scores[track, chosen[track]] + 1e-6
        assert looked.track_ranks[track] == 1 + (scores[track] > own).sum()
        assert looked.artwork_ranks[track] == 1 + (scores[:, chosen[track]] > own).sum()
        held = worth[track, chosen[track]] + 2e-6
        assert mine == {artwork for artwork in offers if worth[track, artwork] > held}
    assert missed
    # Of as many tracks, whichever they are: those whose best is the largest.
    bound = np.sort(worth.max(axis=1))[4:].sum() + 2 * prices.sum()
    assert looked.bound == pytest.approx(bound, abs=1e-4)


def test_any_prices_give_a_bound_that_holds():
    t, a = clustered(60, 70, seed=5)
    best = optimum((t @ a.T).astype(np.float64))
    chosen = assigned(t, a).artworks
    for seed in range(5):
        prices = np.random.default_rng(seed).random(70) * seed / 4
        looked = audit(t, a, chosen, penalties=np.zeros(70), prices=prices)
        assert looked.bound >= best - 1e-4


def test_equal_scores_everywhere_still_match_every_track():
    same = np.zeros((500, 2), dtype=np.float32)
    same[:, 0] = 1
    found = match(same[:450], same, count=5)
    assert sorted(found.assignment.artworks.tolist())[0] >= 0
    assert len(set(found.assignment.artworks.tolist())) == 450
    assert found.weight == pytest.approx(450)
    again = match(same[:450], same, count=5)
    assert (again.assignment.artworks == found.assignment.artworks).all()


@pytest.mark.parametrize("count", [3, 25])
@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("floor", [-1.0, 0.2])
def test_greedy_takes_the_best_remaining_pair_of_all_repeatedly(count, penalised, floor):
    t, a = clustered(40, 25, seed=13)
    a[5:8] = a[4]  # ties
    penalties = np.random.default_rng(0).random(25) / 4 * penalised
    excluded = np.arange(0, 1000, 7)
    weights = np.where(t @ a.T >= floor, t @ a.T - penalties, -np.inf).astype(np.float32)
    weights.ravel()[excluded] = -np.inf
    expected, free = np.full(40, -1), np.full(25, 2)
    while weights.max() > -np.inf:
        track, artwork = np.unravel_index(weights.argmax(), weights.shape)
        expected[track], weights[track] = artwork, -np.inf
        free[artwork] -= 1
        if not free[artwork]:
            weights[:, artwork] = -np.inf
    found = greedy(
        t, a, find_candidates(t, a, count),
        penalties=penalties, floor=floor, uses=2, excluded=excluded,
    )  # fmt: skip
    assert found.tolist() == expected.tolist()


def test_prices_are_a_certificate_where_artworks_are_shared():
    t, a = clustered(90, 40, seed=14)
    found = assigned(t, a, count=40, uses=3)
    scores = (t @ a.T).astype(np.float64)
    best = optimum(np.tile(scores, (1, 3)))
    bound = (scores - found.prices).max(axis=1).sum() + 3 * found.prices.sum()
    assert (found.prices >= 0).all()
    assert bound == pytest.approx(best, abs=1e-4)
    assert audit(
        t, a, found.artworks, penalties=np.zeros(40), prices=found.prices, uses=3
    ).bound == pytest.approx(bound, abs=1e-4)


def test_a_floor_leaves_tracks_out_rather_than_pair_them_badly():
    t, a = clustered(200, 210, seed=6)
    chosen = match(t, a, count=8, floor=0.6).assignment.artworks
    matched = np.flatnonzero(chosen >= 0)
    scores = (t @ a.T).astype(np.float64)
    assert 0 < len(matched) < 200
    assert (scores[matched, chosen[matched]] >= 0.6 - 1e-6).all()
    left, free = np.flatnonzero(chosen < 0), np.setdiff1d(np.arange(210), chosen)
    assert (scores[np.ix_(left, free)] < 0.6 + 1e-6).all()
    rows, columns = linear_sum_assignment(scores >= 0.6, maximize=True)
    assert len(matched) == (scores[rows, columns] >= 0.6).sum()
    assert (assigned(t, a, floor=1.0).artworks == -1).all()


def test_artworks_may_be_shared_up_to_a_cap():
    t, a = clustered(300, 130, seed=7)
    found = match(t, a, count=6, uses=3, optimality=0.999999)
    times = np.bincount(found.assignment.artworks)
    assert times.max() <= 3
    best = optimum(np.tile((t @ a.T).astype(np.float64), (1, 3)))
    assert found.weight == pytest.approx(best, rel=2e-6)
    ranks = found.audit.artwork_ranks
    scores = t @ a.T
    track = int(np.flatnonzero(found.assignment.artworks == times.argmax())[-1])
    own = scores[track, times.argmax()] + 1e-6
    assert ranks[track] == 1 + (scores[:, times.argmax()] > own).sum()


def test_no_painter_has_more_pairs_than_the_cap():
    t, a = clustered(150, 400, seed=8)
    painters = np.random.default_rng(0).integers(0, 25, 400)
    free = assigned(t, a).artworks
    assert np.bincount(painters[free]).max() > 8
    capped = assigned(t, a, painters=painters, painter_uses=8).artworks
    assert np.bincount(painters[capped]).max() <= 8
    assert len(set(capped.tolist())) == 150
    assert total(t, a, capped) > 0.9 * total(t, a, free)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({}, BadData, "30 tracks but artworks for only 20 .* raise pair.artwork_uses"),
        ({"uses": 2, "painter_uses": 1}, BadUsage, r"painter_uses \(1\) is less than"),
        ({"uses": 2, "painter_uses": 2}, BadData, "raise pair.painter_uses"),
    ],
)
def test_too_few_artworks_are_an_error_with_a_remedy(options, error, sentence):
    t, a = clustered(30, 20, seed=9)
    with pytest.raises(error, match=sentence):
        assigned(t, a, painters=np.zeros(20, dtype=np.int64), **options)


def test_one_track_and_one_artwork_make_a_pair():
    found = match(np.ones((1, 1), np.float32), np.ones((1, 1), np.float32), count=64, neighbours=10)
    assert found.assignment.artworks.tolist() == [0]
    assert found.audit.track_ranks.tolist() == found.audit.artwork_ranks.tolist() == [1]


def test_the_same_vectors_give_the_same_pairs():
    t, a = clustered(400, 420, seed=10)
    first, second = (match(t, a, count=7, neighbours=5) for _ in range(2))
    assert (first.assignment.artworks == second.assignment.artworks).all()
    assert (first.assignment.prices == second.assignment.prices).all()
    assert first.audit.bound == second.audit.bound


def random_problem(seed: int):
    """A small problem with any of the options: many equal rows, few candidates, hard limits."""
    draw = np.random.default_rng(seed)
    n, uses = int(draw.integers(1, 25)), int(draw.choice([1, 1, 2, 3]))
    m, width = int(draw.integers(max(1, -(-n // uses)), 35)), int(draw.choice([1, 2, 8]))
    kind = draw.integers(4)
    t, a = draw.standard_normal((n, width)), draw.standard_normal((m, width))
    if kind == 1:
        centres = draw.standard_normal((3, width))
        t, a = centres[draw.integers(0, 3, n)], centres[draw.integers(0, 3, m)]
    elif kind == 2:
        t, a = np.rint(t) + 0.5, np.rint(a) + 0.5
    elif kind == 3:
        t, a = np.ones((n, width)), np.ones((m, width)) * draw.choice([-1, 1], (m, 1))
    floor = float(draw.choice([-1.0, -1.0, 0.0123, 0.3123, 0.7123]))
    barred = draw.choice(n * m, int(n * m * draw.choice([0, 0, 0.1, 0.7])), replace=False)
    options = {
        "count": int(draw.choice([1, 2, 16])), "neighbours": int(draw.choice([0, 0, 4])),
        "floor": floor, "uses": uses, "excluded": np.sort(barred),
    }  # fmt: skip
    painters = draw.integers(0, int(draw.integers(1, 8)), m)
    for limit in range(uses, int(draw.choice([0, 0, 3, 6]))):  # the least of these that is enough
        if np.minimum(np.bincount(painters) * uses, limit).sum() >= n:
            options |= {"painters": painters, "painter_uses": limit}
            break
    return unit(t), unit(a), options


def dense_optimum(weights: np.ndarray, possible: np.ndarray, options) -> tuple[int, float]:
    """How many pairs there can be at most, and the largest weight of as many."""
    n, m = weights.shape
    if "painters" not in options:
        each = np.repeat(np.where(possible, weights, -1000.0), options["uses"], axis=1)
        rows, columns = linear_sum_assignment(each, maximize=True)
        best = each[rows, columns][each[rows, columns] > -500]
        return len(best), best.sum()
    track, artwork = np.nonzero(possible)
    if not len(track):
        return 0, 0.0
    sums = [track, n + artwork, n + m + options["painters"][artwork]]
    each = np.arange(len(track))
    matrix = coo_array((np.ones(3 * len(track)), (np.concatenate(sums), np.tile(each, 3))))
    each_painter = np.broadcast_to(options["painter_uses"], options["painters"].max() + 1)
    most = np.concatenate([np.ones(n), np.full(m, options["uses"]), each_painter])
    most = most[: matrix.shape[0]]
    cost = -(100.0 + weights[track, artwork])
    found = milp(cost, constraints=LinearConstraint(matrix.tocsr(), ub=most), integrality=1)
    made = found.x > 0.5
    return int(made.sum()), float(weights[track, artwork][made].sum())


@pytest.mark.parametrize("first", range(0, 600, 100))
def test_the_certificate_agrees_with_a_dense_solver_whatever_the_options(first):
    for seed in range(first, first + 100):
        t, a, options = random_problem(seed)
        found = match(t, a, optimality=1.0, **options)
        scores = (t @ a.T).astype(np.float64)
        possible = scores >= (options["floor"] if options["floor"] > -1 else -9)
        possible.ravel()[options["excluded"]] = False
        pairs, best = dense_optimum(scores - found.penalties, possible, options)

        chosen = found.assignment.artworks
        matched = np.flatnonzero(chosen >= 0)
        assert possible[matched, chosen[matched]].all(), seed
        assert np.bincount(chosen[matched], minlength=1).max() <= options["uses"], seed
        if "painters" in options:
            used = np.bincount(options["painters"][chosen[matched]], minlength=1)
            assert used.max() <= options["painter_uses"], seed
        assert len(matched) == found.audit.most == pairs, seed
        assert found.weight == pytest.approx(best, abs=1e-5), seed
        assert found.audit.bound == pytest.approx(best, abs=1e-4), seed
        assert found.optimality == 1.0, seed


def test_new_tracks_of_a_continued_release_get_the_best_works_that_limits_leave():
    for seed in range(40):
        draw = np.random.default_rng(seed)
        t, a = clustered(20, 60, seed=seed)
        painters, limit = draw.integers(0, 7, 60), int(draw.integers(3, 6))
        spent = np.zeros(7, dtype=np.int64)
        kept: dict[str, PreviousPair] = {}
        for track, artwork in zip(draw.permutation(20)[:9], draw.permutation(60), strict=False):
            if spent[painters[artwork]] < limit:
                spent[painters[artwork]] += 1
                kept[f"t{track}"] = PreviousPair(
                    f"t{track}", f"a{artwork}", "train", 0.0, None, None
                )
        tracks, artworks = (
            PairSide([f"{side}{n}" for n in range(count)], ["train"] * count, pa.table({}))
            for side, count in (("t", 20), ("a", 60))
        )
        catalogue = PairCatalogue(artworks, tracks, 0, "base", kept)
        recipe = Recipe().replaced(pair={"painter_uses": limit, "optimality": 1.0, "candidates": 2})
        none = np.zeros(0, dtype=np.int64)
        found = continue_split(recipe, catalogue, t, a, painters, none, "train").assignment.artworks

        new = [n for n in range(20) if f"t{n}" not in kept]
        used = [int(pair.artwork_id[1:]) for pair in kept.values()]
        possible = np.ones((len(new), 60), dtype=bool)
        possible[:, used] = False
        options = {"uses": 1, "painters": painters, "painter_uses": limit - spent}
        scores = (t[new] @ a.T).astype(np.float64)
        assert dense_optimum(scores, possible, options) == (
            len(new), pytest.approx(scores[np.arange(len(new)), found[new]].sum(), abs=1e-5),
        ), seed  # fmt: skip
        assert np.bincount(painters[found], minlength=7).max() <= limit, seed
        assert all(found[int(key[1:])] == int(one.artwork_id[1:]) for key, one in kept.items())


def test_new_tracks_without_room_under_a_painters_limit_are_an_error():
    sides = (
        PairSide(["a0", "a1"], ["train"] * 2, pa.table({})),
        PairSide(["t0", "t1"], ["train"] * 2, pa.table({})),
    )
    kept = {"t0": PreviousPair("t0", "a0", "train", 0.0, None, None)}
    recipe = Recipe().replaced(pair={"painter_uses": 1})
    rows, none = np.eye(2, dtype=np.float32), np.zeros(0, dtype=np.int64)
    with pytest.raises(BadData, match=r"artworks for only 0 .* raise pair\.painter_uses"):
        continue_split(recipe, PairCatalogue(*sides, 0, "base", kept), rows, rows,
                       np.zeros(2, dtype=np.int64), none, "train")  # fmt: skip


def test_a_share_is_never_negative_and_counts_from_the_bound():
    assert share_of_bound(9.0, 10.0, 5) == pytest.approx(0.9)
    assert share_of_bound(-11.0, -10.0, 5) == pytest.approx(0.9)
    assert share_of_bound(-21.0, -10.0, 5) == share_of_bound(-1.0, 0.0, 5) == 0.0
    assert share_of_bound(0.0, 0.0, 0) == share_of_bound(9.999999, 10.0, 5) == 1.0


def test_identical_tracks_are_spread_over_the_artworks_by_what_these_are_worth_to_others():
    t, a = clustered(120, 130, seed=16)
    t[:40] = t[0]
    found = match(t, a, count=4, optimality=1.0)
    assert found.weight == pytest.approx(optimum((t @ a.T).astype(np.float64)), rel=2e-6)
    assert found.optimality == 1.0
