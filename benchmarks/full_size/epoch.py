"""One epoch streamed as a training job streams it: shuffled, decoded, in batches, by two workers.

    python benchmarks/full_size/epoch.py SHARDS [--workers 2]

Fails unless every sample of the train split came exactly once.
"""

from __future__ import annotations

import argparse

import artsound


def main() -> None:
    """Stream the train split and count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shards")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    data = artsound.open(options.shards).split("train")
    decode = {"image_size": 128, "sample_rate": 16_000, "audio_seconds": 10.0}
    stream = data.stream(batch_size=32, seed=0, decode=decode)
    keys: list[str] = []
    for batch in stream.loader(workers=options.workers):
        keys += batch["key"]
    if sorted(keys) != sorted(data.frame["key"]):
        raise SystemExit(f"{len(set(keys))} of {len(data)} samples came, {len(keys)} in all")
    print(f"{len(keys):,} samples, each once")


if __name__ == "__main__":
    main()
