"""How fast artworks and tracks are matched, against the bare matrix product of the same size.

    python benchmarks/pairing.py            an eighth of the full size in each direction
    python benchmarks/pairing.py --full     105,884 tracks, 116,475 artworks, 512 dimensions

Made-up unit vectors around shared centres, in different proportions on the two sides, so that
there are hubs and crowds. In one run: the blocked float32 product of all pairs and nothing else;
the exact candidates of both directions; then the same within splits of the FMA's proportions,
with the assignment; then the audit against all pairs, widened until the total is 99.9% of what is
possible; and what scipy's sparse matching makes of the union of top-25 lists.
Ratios are to the bare product: limits 1.15 for candidates, 1.3 for split candidates with the
assignment, 6 GB of memory. On a busy machine the ratio of processor time is the one to trust.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from artsound.pairing.assignment import Assignment, assign, candidate_edges, greedy
from artsound.pairing.match import match
from artsound.pairing.search import Candidates, Stripe, each_stripe, find_candidates, pair_scores

TRACKS, ARTWORKS = 105_884, 116_475
SPLIT_TRACKS = (84_353, 10_958, 11_263)  # of the FMA's 106,574
CENTRES = 400
NOISE = 0.8  # beside a centre's spread of 1
LISTED = 32


@dataclass
class Clock:
    """Seconds of the wall and of the processors that a block took."""

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def clocked() -> Iterator[Clock]:
    clock = Clock()
    wall, cpu = time.perf_counter(), time.process_time()
    yield clock
    clock.wall, clock.cpu = time.perf_counter() - wall, time.process_time() - cpu


def vectors(tracks: int, artworks: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows of both sides, float32."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((CENTRES, width), dtype=np.float32)
    shared = generator.dirichlet(np.ones(CENTRES))
    sides = []
    for count in (tracks, artworks):
        share = (shared + generator.dirichlet(np.ones(CENTRES))) / 2
        rows = centres[generator.choice(CENTRES, count, p=share)]
        rows += NOISE * generator.standard_normal(rows.shape, dtype=np.float32)
        sides.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return sides[0], sides[1]


def splits(tracks: int, artworks: int) -> list[tuple[slice, slice]]:
    """Which tracks and artworks each split has, in the FMA's proportions."""
    share = np.cumsum((0, *SPLIT_TRACKS)) / sum(SPLIT_TRACKS)
    edges = [np.rint(share * count).astype(int) for count in (tracks, artworks)]
    return [
        tuple(slice(int(edge[n]), int(edge[n + 1])) for edge in edges)  # type: ignore[misc]
        for n in range(len(SPLIT_TRACKS))
    ]


def bare(t: np.ndarray, a: np.ndarray) -> None:
    def multiply(stripe: Stripe) -> None:
        for _ in stripe.tiles(t, a):
            pass

    each_stripe(multiply, len(a))


def scipy_total(t: np.ndarray, a: np.ndarray, found: Candidates) -> float:
    """The total that scipy reaches on the union of the lists; leftovers closed densely."""
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_array, hstack
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    top = Candidates(*(table[:, :25] for table in (
        found.artworks, found.artwork_scores, found.tracks, found.track_scores)))  # fmt: skip
    edges = candidate_edges(top)
    rows, columns = np.divmod(edges.keys, len(a))
    # Scores less 2 are never 0, which scipy would take for no edge.
    graph = coo_array((edges.scores - 2.0, (rows, columns)), shape=(len(t), len(a)))
    each = np.arange(len(t))
    dummies = coo_array((np.full(len(t), -1000.0), (each, each)))
    chosen = min_weight_full_bipartite_matching(hstack([graph, dummies]).tocsr(), maximize=True)[1]
    left, free = each[chosen >= len(a)], np.setdiff1d(np.arange(len(a)), chosen)
    some, other = linear_sum_assignment(t[left] @ a[free].T, maximize=True)
    chosen[left[some]] = free[other]
    return total(t, a, chosen)


def total(t: np.ndarray, a: np.ndarray, chosen: np.ndarray) -> float:
    return float(pair_scores(t, a, np.arange(len(t)), chosen).sum(dtype=np.float64))


def say(what: str, clock: Clock, product: Clock, note: str = "") -> None:
    print(
        f"{what:<42} {clock.wall:8.1f} s  {clock.wall / product.wall:5.2f} x  "
        f"(processor {clock.cpu / product.cpu:5.2f} x)  {note}",
        flush=True,
    )


def gigabytes() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB at most so far"


def equal_rows(count: int) -> None:
    """Print how long it takes to match rows that are all alike: no score tells them apart."""
    even = np.full((3300, 16), 0.25, dtype=np.float32)
    with clocked() as clock:
        share = match(even[:3000], even, count=count).optimality
    print(f"3,000 equal rows: {clock.wall:.2f} s, processor {clock.cpu:.2f} s, share {share:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the size of the real dataset")
    parser.add_argument("--tracks", type=int, default=TRACKS // 8)
    parser.add_argument("--artworks", type=int, default=ARTWORKS // 8)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--candidates", type=int, default=LISTED)
    parser.add_argument("--no-scipy", action="store_true", help="leave out the comparison")
    options = parser.parse_args()
    if options.full:
        options.tracks, options.artworks = TRACKS, ARTWORKS
    t, a = vectors(options.tracks, options.artworks, options.width, seed=0)
    match(t[:200], a[:220], count=8)  # compiles
    equal_rows(options.candidates)
    print(f"{len(t):,} tracks x {len(a):,} artworks x {t.shape[1]}, top {options.candidates}")

    with clocked() as product:
        bare(t, a)
    rate = 2 * len(t) * len(a) * t.shape[1] / product.wall / 1e9
    say("bare product", product, product, f"{rate:.0f} GFLOP/s")
    with clocked() as clock:
        find_candidates(t, a, options.candidates)
    say("candidates, both directions, unsplit", clock, product, gigabytes())

    parts = [(t[rows], a[columns]) for rows, columns in splits(len(t), len(a))]
    with clocked() as clock:
        found = [find_candidates(x, y, options.candidates) for x, y in parts]
    say("candidates within splits", clock, product)
    assigned: list[Assignment] = []
    with clocked() as more:
        for (x, y), lists in zip(parts, found, strict=True):
            free = np.zeros(len(y))
            assigned.append(assign(x, y, candidate_edges(lists), penalties=free))
    say("  assignment", more, product)
    both = Clock(clock.wall + more.wall, clock.cpu + more.cpu)
    ours = sum(total(x, y, one.artworks) for (x, y), one in zip(parts, assigned, strict=True))
    matched = sum(len(set(one.artworks[one.artworks >= 0].tolist())) for one in assigned)
    say("candidates and assignment within splits", both, product, gigabytes())
    print(f"  matched {matched:,} of {len(t):,}, total {ours:,.2f}")
    plain = sum(
        total(x, y, greedy(x, y, lists, penalties=np.zeros(len(y))))
        for (x, y), lists in zip(parts, found, strict=True)
    )
    print(f"  greedy on the same candidates {plain:,.2f} ({plain / ours - 1:+.2%})")
    if not options.no_scipy:
        with clocked() as clock:
            theirs = sum(
                scipy_total(x, y, lists) for (x, y), lists in zip(parts, found, strict=True)
            )
        say("  scipy's matching, union of top-25 lists", clock, more, "to our assignment")
        print(f"  scipy's total {theirs:,.2f} ({theirs / ours - 1:+.2%})")
    with clocked() as clock:
        proven = [match(x, y, count=options.candidates) for x, y in parts]
    rounds = "+".join(str(one.rounds) for one in proven)
    say("all of it, audited and widened", clock, product, f"{rounds} rounds, {gigabytes()}")
    weight, bound = sum(one.weight for one in proven), sum(one.audit.bound for one in proven)
    print(f"  total {weight:,.2f}, {weight / bound:.4%} of the bound over all pairs {bound:,.2f}")


if __name__ == "__main__":
    main()
