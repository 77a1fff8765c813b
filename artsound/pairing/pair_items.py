"""The items of the catalogue that can be paired, and the splits they belong to."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from artsound.catalogue import usable_items
from artsound.pairing.previous_release import PreviousPair, PreviousRelease, previous_release
from artsound.pairing.splits import SPLITS, TrackSplits, split_artworks, split_tracks
from artsound.recipe import Recipe
from artsound.stage import Context


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
    """Both sides with their splits; `moved`: how many tracks left their official split.

    Of a release that is continued, `base` is the digest and `kept` the pairs, by track, that stay.
    """

    artworks: PairSide
    tracks: PairSide
    moved: int
    base: str = ""
    kept: dict[str, PreviousPair] = field(default_factory=dict)

    def to_match(self, split: str) -> tuple[list[int], list[int]]:
        """The positions of a split's tracks that have no kept pair, and of its unused artworks."""
        used = {pair.artwork_id for pair in self.kept.values()}
        return (
            [n for n in self.tracks.of(split) if self.tracks.ids[n] not in self.kept],
            [n for n in self.artworks.of(split) if self.artworks.ids[n] not in used],
        )


def split_catalogue(context: Context) -> PairCatalogue:
    """The usable items with their splits; those of a release that is continued stay as they are."""
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
    # What the kept pairs use is used; the other tracks want artworks of their own.
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
    """The splits of the tracks of `usable_items`, by `split_tracks`; as `base` settled them."""
    return split_tracks(
        tracks["split"].to_pylist(),
        tracks["artist_id"].to_pylist(),
        tracks["cluster"].to_pylist(),
        shares=recipe.split.shares,
        seed=recipe.seed,
        settled=base.splits_of_tracks(tracks) if base else (),
    )
