"""Captions that say almost the same as an earlier one: MinHash, then the exact Jaccard index."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np

SHINGLE = 3
THRESHOLD = 0.8
_HASHES = 64
_ROWS = 4  # 16 bands of 4: a pair of Jaccard index 0.8 shares a band with probability 0.9998


def near_duplicates(captions: Sequence[str], threshold: float = THRESHOLD) -> list[int]:
    """For each caption the index of an earlier one that it nearly repeats, or −1.

    Two captions nearly repeat each other when the sets of their word triples (letters and digits
    only, lower case) have a Jaccard index of `threshold` or more. Only captions that repeat none
    are compared against, so a run of equal captions keeps its first and points to it. Candidates
    come from MinHash signatures (Broder 1997) in bands; every one is then compared exactly.
    """
    shingles = [_shingles(caption) for caption in captions]
    buckets: dict[tuple[int, bytes], list[int]] = {}
    repeated = [-1] * len(captions)
    for index, own in enumerate(shingles):
        signature = _signature(own)
        bands = [
            (band, signature[band * _ROWS : (band + 1) * _ROWS].tobytes())
            for band in range(_HASHES // _ROWS)
        ]
        rivals = sorted({rival for band in bands for rival in buckets.get(band, ())})
        for rival in rivals:
            if _jaccard(own, shingles[rival]) >= threshold:
                repeated[index] = rival
                break
        else:
            for band in bands:
                buckets.setdefault(band, []).append(index)
    return repeated


def _shingles(caption: str) -> frozenset[int]:
    words = re.findall(r"\w+", caption.lower())
    size = min(SHINGLE, len(words))
    return frozenset(
        int.from_bytes(
            hashlib.blake2b(" ".join(words[i : i + size]).encode(), digest_size=8).digest(), "big"
        )
        for i in range(len(words) - size + 1)
    )


def _jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    return len(a & b) / len(a | b) if a or b else 1.0


_RANDOM = np.random.Generator(np.random.PCG64(20260101))
_FACTORS = _RANDOM.integers(0, 1 << 63, _HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_SHIFTS = _RANDOM.integers(0, 1 << 63, _HASHES, dtype=np.uint64)


def _signature(shingles: frozenset[int]) -> np.ndarray:
    """The smallest value of each of 64 hashes over the set: a·x + b modulo 2⁶⁴, a odd."""
    if not shingles:
        return np.zeros(_HASHES, np.uint64)
    values = np.fromiter(shingles, np.uint64, len(shingles))[:, None]
    return np.asarray(np.min(values * _FACTORS + _SHIFTS, axis=0))
