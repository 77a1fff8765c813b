"""Near-duplicates: perceptual hashes of pictures, fingerprints of sound, and clusters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import scipy  # whose parts are imported on first use
from PIL import Image

# --- pictures -------------------------------------------------------------------------------------

HASH_DISTANCE = 6  # bits of 64


def phash(rgb: np.ndarray) -> str:
    """The 64-bit perceptual hash of a uint8 [H, W, 3] picture, 16 hexadecimal digits.

    Signs, against their median, of the 8×8 lowest DCT-II coefficients of the picture's luma at
    32×32 (Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010).
    Robust to scaling, re-encoding and small changes of tone: similar pictures differ in few bits.
    """
    return phash_grey(Image.fromarray(rgb).convert("L"))


def phash_grey(grey: Image.Image) -> str:
    """As phash, of a grey picture."""
    small = np.asarray(grey.resize((32, 32), Image.Resampling.BOX), dtype=np.float64)
    basis = _dct_basis()
    low = (basis @ small @ basis.T).reshape(-1)
    # The margin prevents rounding noise of flat pictures from setting bits.
    bits = low > np.median(low[1:]) + 1e-6
    return np.packbits(bits).tobytes().hex()


@cache
def _dct_basis() -> np.ndarray:
    return scipy.fft.dct(np.eye(32), axis=0, norm="ortho")[:8]


def near_images(hashes: Sequence[str], *, distance: int = HASH_DISTANCE) -> np.ndarray:
    """Pairs (i < j) of pictures whose hashes differ in at most ``distance`` bits: int64 [m, 2].

    Exact, without comparing all pairs: two hashes within d bits agree in at least one of d + 1
    bands (pigeonhole), so only those sharing a band are compared. Equal hashes are chained, not
    listed in all combinations: the pairs span the clusters.
    """
    values = np.array([int(h, 16) for h in hashes], dtype=np.uint64)
    unique, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    found = [_chain(inverse)]
    edges = np.linspace(0, 64, distance + 2).round().astype(int)
    for low, high in pairwise(edges):
        keys = (unique >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        for left, right in _equal_key_pairs(keys):
            near = _popcount64(unique[left] ^ unique[right]) <= distance
            found.append(np.stack([first[left[near]], first[right[near]]], axis=1))
    return _sorted_pairs(found)


# --- sound ----------------------------------------------------------------------------------------

PRINT_SECONDS = 60.0
PRINT_ERRORS = 0.25  # share of differing bits below which two prints are of the same sound
_LOW_RATE = 2756.25  # Hz, 44,100 / 16
_FRAME = 2048 / _LOW_RATE  # s
_HOP = 512 / _LOW_RATE  # s
_SMOOTH = 4  # frames summed, so that prints a fraction of a hop apart still agree
_BANDS = (150.0, 1250.0)  # Hz
_TAPS = 4  # low-pass length, in units of the decimation factor


class Decimator:
    """Collects a clip's blocks as mono at about 2.8 kHz, for fingerprinting.

    One narrow matrix product per block does mixing, low-pass and decimation together, in a few
    per cent of the decoding time.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self.factor = max(1, round(sample_rate / _LOW_RATE))
        self.rate = sample_rate / self.factor
        self._taps = np.repeat(_low_pass(self.factor), channels, axis=0) / channels
        self._parts: list[np.ndarray] = []

    def add(self, block: np.ndarray) -> None:
        """Add float32 [n, channels]; n is a multiple of ``factor`` but for the last block."""
        rows = len(block) // self.factor
        if rows:  # the last block may be shorter than one step
            self._parts.append(block[: rows * self.factor].reshape(rows, -1) @ self._taps)

    def fingerprint(self) -> str:
        """The fingerprint of all blocks; see `audio_fingerprint`."""
        parts = np.concatenate(self._parts) if self._parts else np.zeros((0, _TAPS), np.float32)
        n = len(parts) - _TAPS + 1
        if n <= 0:
            return ""
        low = np.add.reduce([parts[k : k + n, k] for k in range(_TAPS)])
        return _sub_prints(low, self.rate).astype(">u4").tobytes().hex()


def audio_fingerprint(mono: np.ndarray, sample_rate: int) -> str:
    """The fingerprint of float32 [n] mono sound: 8 hexadecimal digits for each 186 ms.

    Thirty-two bits per 1.3 s window: whether the energy falls from one of 33 bands (150–1,250 Hz,
    log-spaced) to the next by more than it does in the clip's median window. After Haitsma &
    Kalker, "A highly robust audio fingerprinting system" (ISMIR 2002), with the median in place
    of the previous frame, which allows a longer hop. Robust to lossy re-encoding, resampling,
    change of level and any offset. Covers the first minute; "" for less than a window.
    """
    low = Decimator(sample_rate, 1)
    low.add(mono[: int(PRINT_SECONDS * sample_rate), None].astype(np.float32, copy=False))
    return low.fingerprint()


@cache
def _low_pass(factor: int) -> np.ndarray:
    """Hann-windowed sinc as float32 [factor, _TAPS], column k for the k-th stretch."""
    n = factor * _TAPS
    t = (np.arange(n) - (n - 1) / 2) / factor
    taps = np.sinc(t) * np.hanning(n + 2)[1:-1]
    return np.ascontiguousarray((taps / taps.sum()).reshape(_TAPS, factor).T.astype(np.float32))


def _sub_prints(low: np.ndarray, rate: float) -> np.ndarray:
    """uint32 [frames]."""
    length, hop = round(_FRAME * rate), _HOP * rate
    count = int((len(low) - length) / hop) + 1
    if count < _SMOOTH:
        return np.zeros(0, np.uint32)
    starts = (np.arange(count) * hop).astype(np.int64)
    frames = np.lib.stride_tricks.sliding_window_view(low, length)[starts]
    size = scipy.fft.next_fast_len(length, real=True)
    spectrum = scipy.fft.rfft(frames * np.hanning(length).astype(np.float32), size, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    limits = np.geomspace(*_BANDS, 34) * size / rate
    energy = np.add.reduceat(power, limits.round().astype(int), axis=1)[:, :33]
    n = len(energy) - _SMOOTH + 1
    energy = np.add.reduce([energy[k : k + n] for k in range(_SMOOTH)])
    level = np.log(energy + 1e-12)
    fall = level[:, :-1] - level[:, 1:]
    bits = fall > np.median(fall, axis=0)
    return np.packbits(bits, axis=1).view(">u4")[:, 0].astype(np.uint32)


def near_audio(
    prints: Iterable[str], *, errors: float = PRINT_ERRORS, min_overlap: float = 0.5
) -> np.ndarray:
    """Pairs (i < j) of clips with the same sound at any offset: int64 [m, 2].

    Fingerprints that share at least two 32-bit words at one offset are compared there, and
    returned if fewer than ``errors`` of the bits differ over at least ``min_overlap`` of the
    shorter one. Words that many clips share (silence, steady tones) are ignored. ``prints`` may
    be an iterator: they are stored as words, in a third of the text's memory.
    """
    words = [np.frombuffer(bytes.fromhex(p), dtype=">u4").astype(np.uint32) for p in prints]
    # Clips too short for a fingerprint match no other.
    inverse = _group_numbers([w.tobytes() or f"none {i}" for i, w in enumerate(words)])
    found = [_chain(inverse)]
    first = np.unique(inverse, return_index=True)[1]
    for left, right, offset in _candidate_offsets([words[i] for i in first]):
        i, j = int(first[left]), int(first[right])
        for shift in (offset, offset - 1, offset + 1):
            a, b = words[i][max(0, shift) :], words[j][max(0, -shift) :]
            n = min(len(a), len(b))
            if n < min_overlap * min(len(words[i]), len(words[j])):
                continue
            if int(_popcount32(a[:n] ^ b[:n]).sum()) < errors * 32 * n:
                found.append(np.array([[i, j]]))
                break
    return _sorted_pairs(found)


_CROWDED = 64  # a word that more fingerprints share is ignored
_AT_ONCE = 1 << 21  # words compared with each other at once, which bounds memory


def _candidate_offsets(words: list[np.ndarray]) -> np.ndarray:
    """int64 [m, 3]: pairs (a < b) of fingerprints with an offset (frames, a minus b) to compare.

    At least two words agree at the offset. Each agreement is one number, of 8 bytes, which sort
    much faster than rows.
    """
    longest = max([1, *(len(w) for w in words)])
    shape = (len(words), len(words), 2 * longest)
    meetings = [np.zeros(0, np.int64)]
    value = np.concatenate(words) if words else np.zeros(0, np.uint32)
    starts = np.cumsum([0, *(len(w) for w in words)])
    fresh = np.r_[True, value[1:] != value[:-1]][: len(value)]
    fresh[starts[:-1][starts[:-1] < len(value)]] = True
    rounds = -(-len(value) // _AT_ONCE)
    for number in range(rounds):
        at = np.flatnonzero(fresh & (value % rounds == number))
        owner = (np.searchsorted(starts, at, side="right") - 1).astype(np.int32)
        frame = (at - starts[owner]).astype(np.int32)
        for left, right in _equal_key_pairs(value[at], most=_CROWDED):
            swap = owner[left] > owner[right]
            low, high = np.where(swap, right, left), np.where(swap, left, right)
            different = owner[low] != owner[high]
            low, high = low[different], high[different]
            offset = (frame[low] - frame[high]) // 2 * 2 + longest
            meetings.append(np.ravel_multi_index((owner[low], owner[high], offset), shape))
    met = np.concatenate(meetings)
    del meetings
    met.sort()
    again = met[1:][met[1:] == met[:-1]]
    low, high, offset = np.unravel_index(np.unique(again), shape)
    return np.stack([low, high, offset - longest], axis=1)


# --- clusters -------------------------------------------------------------------------------------


def clusters(ids: Sequence[str], digests: Sequence[str], near: np.ndarray) -> list[str]:
    """The cluster of each item, named by the smallest id in it (its own if it is alone).

    Items are in one cluster if their ``digests`` are equal or a chain of ``near`` pairs (int64
    [m, 2], from `near_images` or `near_audio`) connects them.
    """
    n = len(ids)
    if n == 0:
        return []
    pairs = np.concatenate([_chain(_group_numbers(digests)), near.reshape(-1, 2)])
    graph = scipy.sparse.coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (n, n))
    _, label = scipy.sparse.csgraph.connected_components(graph, directed=False)
    smallest: dict[int, str] = {}
    for item, group in zip(ids, label.tolist(), strict=True):
        smallest[group] = min(smallest.get(group, item), item)
    return [smallest[group] for group in label.tolist()]


def _group_numbers(keys: Sequence[str | bytes]) -> np.ndarray:
    numbers: dict[str | bytes, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _chain(groups: np.ndarray) -> np.ndarray:
    """Pairs linking each member of a group to the next one: int64 [m, 2]."""
    order = np.argsort(groups, kind="stable")
    linked = groups[order[1:]] == groups[order[:-1]]
    return np.stack([order[:-1][linked], order[1:][linked]], axis=1).reshape(-1, 2)


def _equal_key_pairs(
    keys: np.ndarray, most: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield index arrays (left, right) that together hold every pair with equal keys.

    With ``most``, keys of more than that many items are left out.
    """
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    if most is not None:
        _, inverse, counts = np.unique(ranked, return_inverse=True, return_counts=True)
        order = order[counts[inverse] <= most]
        ranked = keys[order]
    at = np.arange(len(ranked))
    step = 1
    while len(at):
        at = at[at + step < len(ranked)]
        at = at[ranked[at] == ranked[at + step]]
        yield order[at], order[at + step]
        step += 1


def _sorted_pairs(found: list[np.ndarray]) -> np.ndarray:
    pairs = np.concatenate(found).astype(np.int64).reshape(-1, 2)
    return np.unique(np.sort(pairs, axis=1), axis=0)


@cache
def _bit_counts() -> np.ndarray:
    return (
        np.unpackbits(np.arange(1 << 16, dtype=">u2").view(np.uint8))
        .reshape(-1, 16)
        .sum(axis=1, dtype=np.uint8)
    )


def _popcount64(values: np.ndarray) -> np.ndarray:
    return _bit_counts()[values.view(np.uint16)].reshape(-1, 4).sum(axis=1, dtype=np.uint8)


def _popcount32(values: np.ndarray) -> np.ndarray:
    return _bit_counts()[values.view(np.uint16)].reshape(-1, 2).sum(axis=1, dtype=np.uint8)
