from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artsound.pairing.splits import SPLITS, split_artworks, split_tracks

SHARES = (0.8, 0.1, 0.1)


@st.composite
def catalogues(draw: st.DrawFn) -> tuple[list[str], list[int], list[str]]:
    """Official splits, artists (some unknown) and near-duplicate clusters of up to 60 tracks."""
    count = draw(st.integers(0, 60))
    return (
        draw(st.lists(st.sampled_from(["", *SPLITS]), min_size=count, max_size=count)),
        draw(st.lists(st.integers(-1, 25), min_size=count, max_size=count)),
        draw(st.lists(st.integers(0, 90).map(str), min_size=count, max_size=count)),
    )


@given(catalogues(), st.integers(0, 5))
def test_no_artist_and_no_near_duplicate_crosses_a_split(catalogue, seed):
    official, artists, clusters = catalogue
    found = split_tracks(official, artists, clusters, shares=SHARES, seed=seed)
    assert len(found.splits) == len(official)
    assert set(found.splits) <= set(SPLITS)
    for names in (clusters, [n if n >= 0 else f"unknown {i}" for i, n in enumerate(artists)]):
        assert len(set(zip(names, found.splits, strict=True))) == len(set(names))
    changed = sum(o not in ("", s) for o, s in zip(official, found.splits, strict=True))
    assert found.moved == changed
    assert found == split_tracks(official, artists, clusters, shares=SHARES, seed=seed)


def test_an_official_split_without_shared_duplicates_is_kept():
    official = ["train", "val", "test", "train"]
    found = split_tracks(official, [1, 2, 3, 1], list("abcd"), shares=SHARES, seed=0)
    assert (found.splits, found.moved) == (official, 0)


def test_artists_who_share_a_recording_go_where_most_of_their_tracks_are():
    official = ["train", "train", "val", "val", "val"]
    found = split_tracks(official, [1, 1, 2, 2, 3], list("axxyz"), shares=SHARES, seed=0)
    assert found.splits == ["train", "train", "train", "train", "val"]
    assert found.moved == 2


def test_tracks_without_official_split_are_shared_out_by_artist():
    artists = list(range(5000))
    found = split_tracks([""] * 5000, artists, [str(n) for n in artists], shares=SHARES, seed=1)
    shares = np.array([found.splits.count(split) for split in SPLITS]) / 5000
    assert shares == pytest.approx(SHARES, abs=0.02)
    fewer = split_tracks([""] * 100, artists[:100], clusters_of(100), shares=SHARES, seed=1)
    assert fewer.splits == found.splits[:100]  # more tracks never move the others


def test_the_seed_says_where_tracks_without_official_split_go_in_every_version():
    def places(seed: int) -> str:
        found = split_tracks([""] * 12, range(12), clusters_of(12), shares=(1, 1, 1), seed=seed)
        return "".join(str(SPLITS.index(split)) for split in found.splits)

    assert (places(0), places(1)) == ("111012122222", "111111112121")


def test_a_group_without_official_split_goes_where_its_smallest_member_goes_alone():
    alone = split_tracks([""] * 10, range(10), clusters_of(10), shares=(1, 1, 1), seed=0).splits
    assert len(set(alone)) == 3
    for first in range(9):  # with each artist, one that sorts behind it shares a recording
        pair = split_tracks([""] * 2, [first + 1, first], ["a", "a"], shares=(1, 1, 1), seed=0)
        assert pair.splits == [alone[first]] * 2


def test_the_seed_says_which_painters_go_to_a_split():
    def of(seed: int) -> list[str]:
        names = [f"painter {n}" for n in range(30)]
        none = [""] * 30
        return split_artworks(
            names, none, clusters_of(30), needs=(10, 10, 10), shares=(1, 1, 1), seed=seed
        )

    found = [of(seed) for seed in range(3)]
    assert found[0] != found[1] != found[2] != found[0]
    assert all(Counter(splits) == dict.fromkeys(SPLITS, 10) for splits in found)


def clusters_of(count: int) -> list[str]:
    return [str(n) for n in range(count)]


@st.composite
def galleries(draw: st.DrawFn) -> tuple[list[str], list[str], list[str], list[int]]:
    """Painters (some unknown), styles, clusters of up to 80 artworks, and what splits need."""
    count = draw(st.integers(1, 80))
    painters = draw(
        st.lists(st.sampled_from(["", *"abcdefghijklmnop"]), min_size=count, max_size=count)
    )
    styles = draw(st.lists(st.sampled_from(["", *"xyz"]), min_size=count, max_size=count))
    clusters = draw(st.lists(st.integers(0, 200).map(str), min_size=count, max_size=count))
    needs = draw(st.lists(st.integers(0, 20), min_size=3, max_size=3).filter(any))
    return painters, styles, clusters, needs


@given(galleries(), st.integers(0, 5))
def test_no_painter_and_no_near_duplicate_artwork_crosses_a_split(gallery, seed):
    painters, styles, clusters, needs = gallery
    found = split_artworks(painters, styles, clusters, needs=needs, shares=SHARES, seed=seed)
    assert set(found) <= set(SPLITS)
    for names in (clusters, [name or f"unknown {n}" for n, name in enumerate(painters)]):
        assert len(set(zip(names, found, strict=True))) == len(set(names))
    again = split_artworks(painters, styles, clusters, needs=needs, shares=SHARES, seed=seed)
    assert found == again


@settings(max_examples=50)
@given(
    st.lists(st.integers(1, 12), min_size=12, max_size=60),
    st.lists(st.integers(1, 30), min_size=3, max_size=3),
    st.integers(0, 3),
)
def test_every_split_gets_the_artworks_it_needs_where_there_are_enough(sizes, weights, seed):
    painters = [str(n) for n, size in enumerate(sizes) for _ in range(size)]
    # A painter cannot be cut, so leave room for the largest.
    usable = max(len(painters) - 3 * max(sizes), 0)
    needs = [usable * weight // sum(weights) for weight in weights]
    styles = [str(int(painter) % 3) for painter in painters]
    found = Counter(
        split_artworks(
            painters, styles, clusters_of(len(painters)), needs=needs, shares=SHARES, seed=seed
        )
    )
    assert all(found[split] >= need for split, need in zip(SPLITS, needs, strict=True))


def test_styles_are_spread_over_the_splits_in_proportion():
    generator = np.random.default_rng(0)
    painters, styles = [], []
    for painter in range(600):
        style = f"style {generator.integers(8)}"
        for _ in range(int(generator.integers(1, 60))):
            painters.append(str(painter))
            styles.append(style)
    count = len(painters)
    needs = [int(count * 0.7), int(count * 0.09), int(count * 0.09)]
    found = split_artworks(painters, styles, clusters_of(count), needs=needs, shares=SHARES, seed=0)
    whole, whole_style = Counter(found), Counter(styles)
    for split in SPLITS:
        mine = Counter(s for s, f in zip(styles, found, strict=True) if f == split)
        for style, total in whole_style.items():
            share, wanted = mine[style] / whole[split], total / count
            assert share == pytest.approx(wanted, rel=0.15), (split, style)


def test_real_painters_and_styles_are_spread_evenly(shared_data):
    """81,446 WikiArt file names: painters of up to 1,890 works, and the FMA's split sizes."""
    reference = shared_data / "reference"
    names = [
        line.rsplit(",", 1)[0]
        for part in ("train", "val")
        for line in (reference / f"ArtGAN_style_{part}.csv").read_text().splitlines()
    ]
    styles = [name.split("/")[0] for name in names]
    painters = [name.split("/")[1].split("_")[0] for name in names]
    needs = [int(0.95 * len(names) * size / 106_574) for size in (84_353, 10_958, 11_263)]
    found = split_artworks(
        painters, styles, clusters_of(len(names)), needs=needs, shares=SHARES, seed=0
    )
    sizes, whole = Counter(found), Counter(styles)
    assert all(sizes[split] >= need for split, need in zip(SPLITS, needs, strict=True))
    both = Counter(zip(styles, found, strict=True))
    for style, total in whole.items():
        for split in SPLITS:
            assert both[style, split] / sizes[split] == pytest.approx(total / len(names), abs=0.01)


def test_what_an_earlier_release_settled_stays_and_the_rest_follows_it() -> None:
    artists = [1, 1, 2, 3, 3, 4]
    clusters = ["a", "b", "b", "c", "d", "e"]  # 1 and 2 share a recording
    settled = ["val", "", "", "", "test", ""]
    found = split_tracks(
        ["train"] * 6, artists, clusters, shares=(0.8, 0.1, 0.1), seed=0, settled=settled
    )
    assert found.splits == ["val", "val", "val", "test", "test", "train"]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=60), st.data()
)
def test_no_painter_leaves_the_split_of_an_earlier_release(
    works: list[tuple[int, int]], data: st.DataObject
) -> None:
    homes = data.draw(st.dictionaries(st.integers(0, 9), st.sampled_from(SPLITS)))
    painters = [f"p{painter}" for painter, _ in works]
    found = split_artworks(
        painters,
        [f"s{style}" for _, style in works],
        [str(number) for number in range(len(works))],
        needs=[len(works) // 2, len(works) // 4, len(works) // 4],
        shares=(0.8, 0.1, 0.1),
        seed=0,
        settled=[homes.get(painter, "") for painter, _ in works],
    )
    for (painter, _), split in zip(works, found, strict=True):
        assert homes.get(painter, split) == split
    assert len({*zip(painters, found, strict=True)}) == len(set(painters))
