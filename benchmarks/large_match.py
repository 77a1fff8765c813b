"""One large one-to-one matching, certified, against the bare product of the same size.

    python benchmarks/large_match.py                 # 20,000 rows, 512 values
    python benchmarks/large_match.py 250000 512
    python benchmarks/large_match.py 1000000 128

Made-up unit vectors as in pairing.py. Printed: the bare blocked float32 product, the matching
(`artsound.match`), their ratio in wall and processor time, the certified share of the bound over
all pairs, the largest memory, and the SHA-256 of the pairs, which is the same every run.
"""

from __future__ import annotations

import argparse
import hashlib

from pairing import bare, clocked, gigabytes, say, vectors

import artsound


def main() -> None:
    """Match the vectors and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=int, nargs="?", default=20_000, help="rows of each side")
    parser.add_argument("width", type=int, nargs="?", default=512, help="values of a row")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    x, y = vectors(options.rows, options.rows, options.width, options.seed)
    print(f"{options.rows:,} x {options.rows:,} x {options.width}; {gigabytes()}", flush=True)
    bare(x[:256], y[:256])  # compiles, and starts the threads
    with clocked() as product:
        bare(x, y)
    say("bare product", product, product)
    with clocked() as clock:
        found = artsound.match(x, y)
    say("matching with certificate", clock, product, gigabytes())
    said = hashlib.sha256(found.pairs.tobytes()).hexdigest()
    print(f"{len(found.pairs):,} pairs, share of the bound {found.share:.6f}, sha256 {said[:16]}")


if __name__ == "__main__":
    main()
