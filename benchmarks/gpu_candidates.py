"""How fast the candidates of a matching are found on a GPU, and whether they are the CPU's.

    python benchmarks/gpu_candidates.py --device cuda --tracks 105884 --artworks 116475

Prints the seconds, the work per second and the peak of GPU memory; and, on 2,000 rows of each side,
the share of the lists that are the same as the CPU's.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from artsound.pairing.search import find_candidates

COUNT, WIDTH = 200, 512


def unit_rows(count: int, seed: int) -> np.ndarray:
    """Random unit rows float32 [count, WIDTH]."""
    rows = np.random.default_rng(seed).standard_normal((count, WIDTH), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cpu, cuda or cuda:N")
    parser.add_argument("--tracks", type=int, default=105_884)
    parser.add_argument("--artworks", type=int, default=116_475)
    options = parser.parse_args()
    device, count = options.device, min(COUNT, options.tracks, options.artworks)
    tracks, artworks = unit_rows(options.tracks, 0), unit_rows(options.artworks, 1)
    some = tracks[:2000], artworks[:2000]
    found = find_candidates(*some, min(count, len(some[0])), device=device)  # also a warm-up
    expected = find_candidates(*some, min(count, len(some[0])), device="cpu")
    same = float((found.artworks == expected.artworks).all(axis=1).mean())
    began = time.perf_counter()
    find_candidates(tracks, artworks, count, device=device)
    seconds = time.perf_counter() - began
    work = 2 * len(tracks) * len(artworks) * WIDTH / seconds / 1e12
    print(
        f"{len(tracks):,} x {len(artworks):,} x {WIDTH}, top {count}, on {device}: {seconds:.2f} "
        f"s, {work:.2f} TFLOP/s; lists equal to the CPU's: {same:.1%}"
    )
    if device != "cpu":
        import torch

        print(f"peak of GPU memory {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
