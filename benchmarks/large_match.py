"""One large one-to-one matching, certified, against the bare product of the same size.

    python benchmarks/large_match.py                     # 20,000 rows, 512 values
    python benchmarks/large_match.py 250000 512 --folder saved    # continues after a kill
    python benchmarks/large_match.py 1000000 128 --bare-part 10
    python benchmarks/large_match.py --estimate 250000 512

Made-up unit vectors as in pairing.py. Printed: the bare blocked float32 product, the parts of the
matching (`artsound.match`), their ratio in wall and processor time, the certified share of the
bound over all pairs, the largest memory, and the SHA-256 of the pairs, which is the same every run.
With `--bare-part 10` the bare product is a tenth of the columns, times ten: its blocks are alike.

    python benchmarks/large_match.py 8192 128 --hiref CHECKOUT    # both on the same vectors

`--hiref` also runs HiRef (Halmos et al., ICML 2025) from a checkout of
https://github.com/raphael-group/HiRef, with the settings of its fast demonstration (`--plain`: its
default ones) and its squared Euclidean cost, which orders matchings of unit vectors as the total of
dot products does. It needs torch, matplotlib and scikit-learn, and a number of rows with small
factors, such as a power of 2.

`--estimate` measures 10,000 and 20,000 rows with as many rows to each centre as the large size has,
and extrapolates each part by its own power of the rows.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pairing as made_up
from pairing import Clock, bare, clocked, gigabytes, say, vectors

import artsound
from artsound.pairing import match as stages

PARTS = {
    "guess_prices": "prices guessed from a sample",
    "find_candidates": "product with candidates",
    "candidate_edges": "list of edges",
    "assign": "sparse matching",
    "certify": "certificate",
}
CENTRES = made_up.CENTRES
SIZES = (10_000, 20_000)


def measured(
    rows: int,
    width: int,
    seed: int,
    folder: str | None,
    hiref: str | None = None,
    defaults: bool = False,
    bare_part: int = 1,
) -> dict[str, Clock]:
    """Match the vectors and print the figures; returns the clock of each part."""
    x, y = vectors(rows, rows, width, seed)
    print(f"{rows:,} x {rows:,} x {width}; {gigabytes()}", flush=True)
    bare(x[:256], y[:256])  # compiles, and starts the threads
    artsound.match(x[:5_000], y[:5_000])
    with clocked() as product:
        bare(x, y[: rows // bare_part])
    product.wall, product.cpu = bare_part * product.wall, bare_part * product.cpu
    what = "bare product" if bare_part == 1 else f"bare product, {bare_part} x a part of it"
    say(what, product, product)
    clocks: dict[str, Clock] = defaultdict(Clock)
    plain = {name: getattr(stages, name) for name in PARTS}
    for name, work in plain.items():
        setattr(stages, name, _timed(work, clocks[name]))
    try:
        with clocked() as clock:
            found = artsound.match(x, y, folder=folder)
    finally:
        for name, work in plain.items():
            setattr(stages, name, work)
    for name, what in PARTS.items():
        say(f"  {what}", clocks[name], product)
    say("matching with certificate", clock, product, gigabytes())
    said = hashlib.sha256(found.pairs.tobytes()).hexdigest()
    print(f"{len(found.pairs):,} pairs, share of the bound {found.share:.6f}, sha256 {said[:16]}")
    if hiref:
        for draw in (0, 1):
            with clocked() as clock:
                pairs = hiref_pairs(hiref, x, y, draw, defaults)
            total = float(np.einsum("nd,nd->", x[pairs[:, 0]], y[pairs[:, 1]], dtype=np.float64))
            say(f"HiRef, seed {draw}", clock, product, gigabytes())
            print(f"{len(pairs):,} pairs, share of the bound {total / found.bound:.6f}", flush=True)
    return {"bare": product, **clocks}


def hiref_pairs(
    checkout: str, x: np.ndarray, y: np.ndarray, seed: int, defaults: bool
) -> np.ndarray:
    """The bijection of HiRef, int64 [n, 2]; `defaults`: with its default settings."""
    import torch

    sys.path.insert(0, str(Path(checkout) / "src"))
    import HR_OT
    import LR_mini
    import rank_annealing

    torch.manual_seed(seed)
    fast: dict[str, Any] = {}
    if not defaults:
        fast = {
            "solver": LR_mini.LROT_LR_opt, "solver_full": LR_mini.LROT_opt,
            "solver_params": {
                "gamma": 90, "max_iter": 14, "min_iter": 10, "max_inneriters_balanced": 60,
            },
        }  # fmt: skip
    ranks = rank_annealing.optimal_rank_schedule(
        len(x), hierarchy_depth=6, max_Q=2**10, max_rank=16 if defaults else 2**10
    )
    solver = HR_OT.HierarchicalRefinementOT.init_from_point_clouds(
        *(torch.from_numpy(side).double() for side in (x, y)),
        ranks, base_rank=1, sq_Euclidean=True, **fast,
    )  # fmt: skip
    found = solver.run(return_as_coupling=False)
    pairs = np.array([[int(left), int(right)] for left, right in found])
    if (np.sort(pairs, axis=0) != np.arange(len(x))[:, None]).any():
        print("HiRef gave no bijection")
    return pairs


def _timed(work: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    def timed(*args: Any, **options: Any) -> Any:
        with clocked() as one:
            result = work(*args, **options)
        clock.wall += one.wall
        clock.cpu += one.cpu
        return result

    return timed


def estimate(rows: int, width: int, seed: int) -> None:
    """Print what the large size is likely to take, from smaller ones."""
    stages._GUESSED = 0
    if rows > stages._LARGEST:
        stages._MANY_CANDIDATES = stages._CANDIDATES
    runs = []
    for size in SIZES:
        made_up.CENTRES = max(2, round(CENTRES * size / rows))
        runs.append(measured(size, width, seed, None))
    print(f"Estimate, not a measurement, of {rows:,} x {rows:,} x {width}, processor seconds:")
    far, step = rows / SIZES[1], SIZES[1] / SIZES[0]
    product = runs[1]["bare"].cpu * far**2
    print(f"  {'bare product':<42} {product:10,.0f} s")
    total = product
    for name, what in PARTS.items():
        small, large = (
            run[name].cpu - (run["bare"].cpu if name == "find_candidates" else 0.0) for run in runs
        )
        power = min(2.0, max(1.0, math.log(max(large / small, 1.0), step)))
        total += large * far**power
        beyond = " beyond the bare product" if name == "find_candidates" else ""
        print(f"  {what + beyond:<42} {large * far**power:10,.0f} s  (rows to the {power:.2f})")
    print(f"  in all {total:,.0f} s, {total / product:.2f} x the bare product")
    alone = runs[1]["assign"].cpu + runs[1]["candidate_edges"].cpu
    print(f"  Of these the sparse matching and the edges use one core ({alone:.1f} s measured).")


def main() -> None:
    """Match, or estimate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=int, nargs="?", default=20_000, help="rows of each side")
    parser.add_argument("width", type=int, nargs="?", default=512, help="values of a row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where to save finished work, and continue from")
    parser.add_argument("--hiref", help="a checkout of HiRef, to be run on the same vectors")
    parser.add_argument("--plain", action="store_true", help="HiRef with its default settings")
    parser.add_argument(
        "--bare-part", type=int, default=1, help="of how many parts of the columns one is timed"
    )
    parser.add_argument("--estimate", action="store_true", help="from smaller sizes")
    options = parser.parse_args()
    if options.estimate:
        estimate(options.rows, options.width, options.seed)
    else:
        measured(
            options.rows,
            options.width,
            options.seed,
            options.folder,
            options.hiref,
            options.plain,
            options.bare_part,
        )


if __name__ == "__main__":
    main()
