from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from artsound.media.fingerprint import audio_fingerprint, clusters, near_audio, near_images, phash

RATE = 22_050


def painting(seed: int, size: tuple[int, int] = (400, 300)) -> Image.Image:
    """Random ellipses, softened."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(int(c) for c in rng.integers(0, 256, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(40):
        x, y = rng.integers(0, size[0]), rng.integers(0, size[1])
        w, h = rng.integers(10, 150, 2)
        draw.ellipse((x, y, x + w, y + h), fill=tuple(int(c) for c in rng.integers(0, 256, 3)))
    return image.filter(ImageFilter.GaussianBlur(2))


def distance(a: str, b: str) -> int:
    return (int(a, 16) ^ int(b, 16)).bit_count()


def of(image: Image.Image) -> str:
    return phash(np.asarray(image))


@pytest.mark.parametrize("seed", range(5))
def test_the_hash_survives_scaling_re_encoding_and_mild_cropping(seed: int):
    image = painting(seed)
    out = io.BytesIO()
    image.resize((220, 165)).save(out, "JPEG", quality=60)
    assert distance(of(image), of(Image.open(out))) <= 6
    assert distance(of(image), of(image.crop((2, 2, 398, 298)))) <= 6
    assert distance(of(image), of(image.point(lambda v: v * 0.9))) <= 6


def test_different_pictures_lie_far_apart():
    hashes = [of(painting(seed)) for seed in range(12)]
    assert min(distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]) > 12
    assert len(near_images(hashes)) == 0


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.data())
@settings(max_examples=60, deadline=None)
def test_near_images_spans_what_comparing_all_pairs_finds(values: list[int], data: st.DataObject):
    flips = st.tuples(st.integers(0, 63), st.integers(0, 63))
    near = [v ^ (1 << a) ^ (1 << b) for v in values for a, b in [data.draw(flips)]]
    hashes = [f"{v:016x}" for v in values + near]
    n = len(hashes)
    brute = [(i, j) for j in range(n) for i in range(j) if distance(hashes[i], hashes[j]) <= 6]
    ids, digests = [f"{i:03d}" for i in range(n)], [str(i) for i in range(n)]
    expected = clusters(ids, digests, np.array(brute, dtype=np.int64).reshape(-1, 2))
    assert clusters(ids, digests, near_images(hashes)) == expected


def test_tens_of_thousands_of_hashes_are_compared():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**63, 30_000, dtype=np.uint64)
    values[1] = values[29_999] ^ np.uint64(0b10100)
    hashes = [f"{v:016x}" for v in values]
    assert [1, 29_999] in near_images(hashes).tolist()


def tune(seed: int, seconds: float = 14.0) -> np.ndarray:
    """Chords and a melody over noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(0.25 * RATE)) / RATE
    beats = []
    for _ in range(int(seconds * 4)):
        pitches = 130 * 2 ** (rng.integers(0, 30, 3) / 12)
        tones = [np.sin(2 * np.pi * f * h * t) / h for f in pitches for h in (1, 2, 3)]
        beats.append(np.sum(tones, axis=0) * np.exp(-3 * t))
    sound = np.concatenate(beats)
    return (0.1 * sound + 0.005 * rng.standard_normal(len(sound))).astype(np.float32)


def test_prints_survive_re_encoding_a_small_offset_and_a_change_of_level():
    tunes = [tune(seed) for seed in range(6)]
    copies = []
    for sound in tunes:
        out = io.BytesIO()
        soundfile.write(out, 0.5 * sound[int(0.83 * RATE) :], RATE, format="MP3")
        out.seek(0)
        again, rate = soundfile.read(out, dtype="float32")
        copies.append(audio_fingerprint(again, rate))
    prints = [audio_fingerprint(sound, RATE) for sound in tunes]
    assert near_audio(prints + copies).tolist() == [[i, i + 6] for i in range(6)]


def words(seed: int, count: int) -> np.ndarray:
    """A print's words, at random."""
    return np.random.default_rng(seed).integers(0, 2**32, count, dtype=np.uint32)


def text(sub_prints: np.ndarray) -> str:
    return sub_prints.astype(">u4").tobytes().hex()


@pytest.mark.parametrize(("share", "same"), [(0.2, True), (0.3, False)])
def test_prints_that_differ_in_a_quarter_of_their_bits_are_of_other_sounds(
    share: float, same: bool
):
    print_, rng = words(0, 200), np.random.default_rng(1)
    flips = np.packbits(rng.random((200, 32)) < share, axis=1).view(np.uint32)[:, 0]
    flips[::40] = 0  # some words agree, as they do by chance
    assert near_audio([text(print_), text(print_ ^ flips)]).tolist() == ([[0, 1]] if same else [])


@pytest.mark.parametrize(("shared", "same"), [(60, True), (51, True), (49, False), (20, False)])
def test_clips_that_overlap_by_less_than_half_are_of_other_sounds(shared: int, same: bool):
    whole = words(2, 200 - shared)
    prints = [text(whole[:100]), text(whole[100 - shared :])]
    assert near_audio(prints).tolist() == ([[0, 1]] if same else [])


@pytest.mark.parametrize("offset", range(-5, 6))
def test_a_clip_is_found_at_every_offset(offset: int):
    whole = words(3, 120)
    first, second = whole[max(0, -offset) :][:100], whole[max(0, offset) :][:100]
    assert near_audio([text(first), text(second)]).tolist() == [[0, 1]]


def test_clips_too_short_for_a_print_have_nothing_in_common():
    assert audio_fingerprint(np.zeros(100, np.float32), RATE) == ""
    assert near_audio(["", "", ""]).shape == (0, 2)
    assert near_audio([]).shape == (0, 2)
    assert near_images([]).shape == (0, 2)


def test_clusters_join_equal_bytes_and_chains_of_near_pairs():
    ids = ["d", "c", "b", "a", "e"]
    digests = ["1", "2", "3", "3", "4"]
    near = np.array([[0, 1], [1, 2]])
    assert clusters(ids, digests, near) == ["a", "a", "a", "a", "e"]
    assert clusters([], [], np.zeros((0, 2), np.int64)) == []


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20), st.data())
def test_every_cluster_is_named_after_its_smallest_member(digests: list[str], data: st.DataObject):
    count = len(digests)
    ids = data.draw(st.permutations([f"{i:02d}" for i in range(count)]))
    places = st.integers(0, count - 1)
    near = data.draw(st.lists(st.tuples(places, places), max_size=count))
    joined = near + [(i, digests.index(digest)) for i, digest in enumerate(digests)]
    expected = list(ids)
    for _ in range(count):  # the smaller name goes along every tie until none changes any more
        for one, other in joined:
            expected[one] = expected[other] = min(expected[one], expected[other])
    assert clusters(ids, digests, np.array(near, np.int64).reshape(-1, 2)) == expected
