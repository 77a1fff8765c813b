"""Splits of tracks and artworks, decided before matching.

Tracks stay in their official split, which has no artist in common with the others. Painters are
then assigned to splits with all their works. Near-duplicates stay together on both sides. Since
pairs are matched within a split, no painter, artist or near-duplicate is in two splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from artsound.catalogue import usable_items
from artsound.pairing.previous_release import PreviousPair, PreviousRelease, previous_release
from artsound.recipe import Recipe
from artsound.stage import Context

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class TrackSplits:
    """The split of every track, and how many tracks are not in their official one."""

    splits: list[str]
    moved: int


def split_tracks(
    official: Sequence[str],
    artists: Sequence[int],
    clusters: Sequence[str],
    *,
    shares: Sequence[float],
    seed: int,
    settled: Sequence[str] = (),
) -> TrackSplits:
    """Assign each track to a split; an artist's and a cluster's tracks get the same one.

    Artists that share a near-duplicate (a song on a compilation, for example) form one group. A
    group whose official splits disagree is assigned to the split that has most of its tracks, the
    earlier of SPLITS in a tie: leaving the other tracks in place would leak a recording, and moving
    only them would leak an artist. A group without any official split is assigned by a hash of its
    smallest member, so that adding other tracks does not move it.

    Args:
        official: Each track's official split, "" for none.
        artists: Each track's artist, negative for unknown.
        clusters: Each track's near-duplicate cluster.
        shares: The intended share of each split, for artists without an official split.
        seed: Of the hash.
        settled: The split that a previous release gave each track or its artist, "" for none;
            empty: no previous release. It takes precedence over the official one.
    """
    named = [
        ("artist", artist) if artist >= 0 else ("track", n) for n, artist in enumerate(artists)
    ]
    group = _groups(named, clusters)
    known = np.array([SPLITS.index(split) if split else -1 for split in official], dtype=np.int64)
    votes = _votes(group, known)
    choice = votes.argmax(axis=1)
    held = _settled(group, settled)
    choice[held >= 0] = held[held >= 0]
    edges = np.cumsum(np.asarray(shares, dtype=float) / sum(shares))
    names = _names(group, named)
    for number in np.flatnonzero((votes.sum(axis=1) == 0) & (held < 0)).tolist():
        place = np.searchsorted(edges, _fraction(seed, names[number]), side="right")
        choice[number] = min(place, len(SPLITS) - 1)
    final = choice[group]
    return TrackSplits(
        splits=[SPLITS[n] for n in final],
        moved=int(((known >= 0) & (known != final)).sum()),
    )


def split_imported(
    painters: Sequence[str], artworks: Sequence[str], clusters: Sequence[str], splits: Sequence[str]
) -> list[str]:
    """The split of the painter of each imported pair.

    Painters whose works are near-duplicates of each other form one group, and a group is assigned
    to the split that has most of its pairs, the earlier of SPLITS in a tie.

    Args:
        painters: Of the pairs' artworks, "" for unknown.
        artworks: Their ids.
        clusters: Their near-duplicate clusters.
        splits: Of the pairs' tracks.
    """
    named = [
        ("painter", painter) if painter else ("artwork", artwork)
        for painter, artwork in zip(painters, artworks, strict=True)
    ]
    group = _groups(named, clusters)
    known = np.array([SPLITS.index(split) for split in splits], dtype=np.int64)
    return [SPLITS[n] for n in _votes(group, known).argmax(axis=1)[group]]


def split_artworks(
    painters: Sequence[str],
    styles: Sequence[str],
    clusters: Sequence[str],
    *,
    needs: Sequence[int],
    shares: Sequence[float],
    seed: int,
    settled: Sequence[str] = (),
) -> list[str]:
    """Assign each artwork to a split; a painter's and a cluster's works get the same one.

    Painters whose works are near-duplicates of each other (copies, workshop versions) stay
    together. Painters are assigned largest first, each to the split that lacks most of the
    painter's styles (iterative stratification: Sechidis, Tsoumakas & Vlahavas, ECML 2011), then
    moved or swapped until no split has less than it needs. That last step is a heuristic: with very
    few painters a split can stay short, which the matching then reports.

    Args:
        painters: Each artwork's painter, "" for unknown.
        styles: Each artwork's style.
        clusters: Each artwork's near-duplicate cluster.
        needs: The least number of artworks in each split.
        shares: The share of each split in the artworks beyond these.
        seed: Of the order among painters with equally many works.
        settled: As for `split_tracks`.
    """
    count = len(painters)
    if not count:
        return []
    named = [
        ("painter", painter) if painter else ("artwork", str(n))
        for n, painter in enumerate(painters)
    ]
    group = _groups(named, clusters)
    style = np.unique(np.asarray(styles, dtype=object).astype(str), return_inverse=True)[1]
    works = np.zeros((_count(group), _count(style)), dtype=np.int64)
    np.add.at(works, (group, style), 1)
    sizes = works.sum(axis=1)

    need = np.asarray(needs, dtype=float)
    spare = count - need.sum()
    weight = np.asarray(shares, dtype=float) / sum(shares)
    target = need + spare * weight if spare >= 0 else need * count / need.sum()
    lacking = np.outer(target / count, works.sum(axis=0))

    names = _names(group, named)
    choice = _settled(group, settled)
    free = choice < 0
    for number in np.flatnonzero(~free):
        lacking[choice[number]] -= works[number]
    order = sorted(
        np.flatnonzero(free).tolist(),
        key=lambda number: (-sizes[number], _fraction(seed, names[number])),
    )
    for number in order:
        # Among the splits with room for all of a painter's works, one that has room for the styles
        # too, lest a prolific painter fill a small split; then the one that lacks them most.
        room = lacking.sum(axis=1)
        fits = room >= sizes[number]
        fitting = np.minimum(lacking, works[number]).sum(axis=1) / sizes[number]
        pull = lacking @ works[number] / np.maximum(target, 1.0)
        best = np.lexsort((pull, fitting.round(1), fits))[-1] if fits.any() else room.argmax()
        choice[number] = best
        lacking[best] -= works[number]
    _relieve(choice, sizes, need, free)
    return [SPLITS[n] for n in choice[group]]


def _votes(group: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """How many members of each group are in each split: [groups, 3]; -1 is in none."""
    votes = np.zeros((_count(group), len(SPLITS)), dtype=np.int64)
    np.add.at(votes, (group[splits >= 0], splits[splits >= 0]), 1)
    return votes


def _settled(group: np.ndarray, settled: Sequence[str]) -> np.ndarray:
    """The split that most settled members of each group are in; -1 if none is settled."""
    if not len(settled):
        return np.full(_count(group), -1, dtype=np.int64)
    known = np.array([SPLITS.index(split) if split else -1 for split in settled], dtype=np.int64)
    votes = _votes(group, known)
    return np.where(votes.any(axis=1), votes.argmax(axis=1), -1)


def _relieve(choice: np.ndarray, sizes: np.ndarray, need: np.ndarray, free: np.ndarray) -> None:
    """Move or swap `free` groups, in place, from splits with enough to splits that are short."""
    while True:
        have = np.bincount(choice, weights=sizes, minlength=len(need))
        surplus = have - need
        short = int(surplus.argmin())
        lack = -surplus[short]
        if lack <= 0:
            return
        best: tuple[float, float, int, int] | None = None
        ours = np.append(np.flatnonzero((choice == short) & free), -1)  # -1: nothing in return
        returned = np.append(sizes[ours[:-1]], 0)
        for taken in np.flatnonzero((choice != short) & free):
            gain = sizes[taken] - returned
            allowed = (gain > 0) & (gain <= surplus[choice[taken]])
            if allowed.any():
                # The least that ends the shortage, else the most that reduces it.
                cost = np.where(allowed, np.where(gain >= lack, gain, 1e12 - gain), np.inf)
                pick = int(cost.argmin())
                found = (float(cost[pick]), float(returned[pick]), int(taken), int(ours[pick]))
                best = found if best is None else min(best, found)
        if best is None:
            return
        taken, given = best[2], best[3]
        giver = choice[taken]
        choice[taken] = short
        if given >= 0:
            choice[given] = giver


def _groups(first: Sequence[Hashable], second: Sequence[Hashable]) -> np.ndarray:
    """The number of each item's group, in the order of first items.

    Items equal in `first` or in `second` are in one group, transitively.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(first)
    if not count:
        return np.zeros(0, dtype=np.int64)
    a, b = _codes(first), _codes(second)
    nodes = _count(a) + _count(b)
    links = coo_array((np.ones(count, dtype=bool), (a, b + _count(a))), shape=(nodes, nodes))
    labels = connected_components(links, directed=False)[1][a]
    return _codes(labels.tolist())


def _names(group: np.ndarray, named: Sequence[Hashable]) -> dict[int, str]:
    """For each group its smallest member's name, which does not depend on the items' order."""
    names: dict[int, str] = {}
    for number, member in zip(group.tolist(), named, strict=True):
        name = str(member)
        names[number] = min(names.get(number, name), name)
    return names


def _codes(values: Sequence[Hashable]) -> np.ndarray:
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values], dtype=np.int64)


def _count(codes: np.ndarray) -> int:
    return int(codes.max()) + 1 if len(codes) else 0


def _fraction(seed: int, name: str) -> float:
    """A number in [0, 1) that depends only on the seed and the name."""
    found = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(found[:8], "big") / 2**64


@dataclass(frozen=True)
class PairSide:
    """The usable items of one side of the catalogue, ids ascending, and their splits."""

    ids: list[str]
    splits: list[str]
    rows: pa.Table

    def of(self, split: str) -> list[int]:
        """The positions of a split's items."""
        return [n for n, name in enumerate(self.splits) if name == split]


@dataclass(frozen=True)
class PairCatalogue:
    """Both sides with their splits.

    Attributes:
        artworks: The usable artworks.
        tracks: The usable tracks.
        moved: How many tracks are not in their official split.
        base: The digest of the previous release; "" without one.
        kept: The pairs of the previous release that stay, by track.
    """

    artworks: PairSide
    tracks: PairSide
    moved: int
    base: str = ""
    kept: dict[str, PreviousPair] = field(default_factory=dict)

    def to_match(self, split: str) -> tuple[list[int], list[int]]:
        """The positions of a split's tracks and artworks without a pair of the previous release."""
        used = {pair.artwork_id for pair in self.kept.values()}
        return (
            [n for n in self.tracks.of(split) if self.tracks.ids[n] not in self.kept],
            [n for n in self.artworks.of(split) if self.artworks.ids[n] not in used],
        )


def split_catalogue(context: Context) -> PairCatalogue:
    """The usable items with their splits; splits of a previous release stay."""
    catalog = context.workspace.catalog
    files = [catalog / f"{name}.parquet" for name in ("artworks", "tracks", "rejects")]
    return context.once("splits", lambda: _split_catalogue(context), files)


def _split_catalogue(context: Context) -> PairCatalogue:
    recipe = context.recipe
    artworks, tracks = usable_items(context.workspace)
    base = previous_release(context)
    of_tracks = split_of_tracks(tracks, recipe, base)
    artwork_ids, track_ids = artworks["artwork_id"].to_pylist(), tracks["track_id"].to_pylist()
    split_of = dict(zip(track_ids, of_tracks.splits, strict=True))
    settled = base.splits_of_artworks(artworks) if base else []
    # The other tracks need artworks beside those of the pairs that stay.
    before = dict(zip(artwork_ids, settled, strict=False))
    staying = base.kept(before, split_of) if base else {}
    new = [split for track, split in split_of.items() if track not in staying]
    of_artworks = split_artworks(
        artworks["painter_id"].to_pylist(),
        artworks["style"].to_pylist(),
        artworks["cluster"].to_pylist(),
        needs=[
            len({pair.artwork_id for pair in staying.values() if pair.split == split})
            + -(-new.count(split) // recipe.pair.artwork_uses)
            for split in SPLITS
        ],
        shares=recipe.split.shares,
        seed=recipe.seed,
        settled=settled,
    )
    return PairCatalogue(
        PairSide(artwork_ids, of_artworks, artworks),
        PairSide(track_ids, of_tracks.splits, tracks),
        of_tracks.moved,
        base.digest if base else "",
        base.kept(dict(zip(artwork_ids, of_artworks, strict=True)), split_of) if base else {},
    )


def split_of_tracks(
    tracks: pa.Table, recipe: Recipe, base: PreviousRelease | None = None
) -> TrackSplits:
    """The splits of the tracks of `usable_items`, by `split_tracks`; those of `base` stay."""
    return split_tracks(
        tracks["split"].to_pylist(),
        tracks["artist_id"].to_pylist(),
        tracks["cluster"].to_pylist(),
        shares=recipe.split.shares,
        seed=recipe.seed,
        settled=base.splits_of_tracks(tracks) if base else (),
    )
