"""Imported pairs: published pairs, used in place of a matching.

Each row of the file (sources/published_pairs.py reads it) either becomes a pair or is rejected with
its reason. A track is paired once and an artwork as often as the recipe allows; earlier rows take
precedence. Tracks keep FMA's split. A painter, together with painters of near-duplicate works, is
assigned to the split that has most of these pairs, the earlier of train, val and test in a tie;
pairs whose track is in another split are rejected, since the painter would be in two splits.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from artsound.catalogue import usable_items
from artsound.pairing.splits import split_imported, split_of_tracks
from artsound.recipe import Recipe
from artsound.schema import Reject
from artsound.sources.item_names import artwork_key
from artsound.sources.published_pairs import PublishedPair, read_pairs
from artsound.stage import Context
from artsound.storage import Workspace, read_parquet


@dataclass(frozen=True)
class ImportedPair:
    """A row of the file that names a usable track and a usable artwork of one split."""

    row: int
    track_id: str
    artwork_id: str
    split: str

    def refused(self, reason: str, message: str) -> Reject:
        """The reject for this row."""
        return _reject(self.row, "filtered", reason, message)


@dataclass(frozen=True)
class ImportedPairs:
    """The rows of a file of pairs: `pairs` by track, `rejects` in the file's order.

    `artworks` and `tracks` are the usable items of the catalogue, `moved` how many tracks left
    their official split.
    """

    pairs: tuple[ImportedPair, ...]
    rejects: tuple[Reject, ...]
    artworks: pa.Table
    tracks: pa.Table
    moved: int

    def of(self, split: str) -> list[ImportedPair]:
        """The pairs of one split."""
        return [pair for pair in self.pairs if pair.split == split]


def imported_pairs(context: Context) -> ImportedPairs:
    """The imported pairs of the recipe's file, and rejects for the other rows.

    Raises:
        BadUsage: The file is missing.
        BadData: It cannot be read.
    """
    catalog = context.workspace.catalog
    files = [catalog / f"{name}.parquet" for name in ("artworks", "tracks", "rejects")]
    files.append(Path(context.recipe.pair.given))
    return context.once("imported pairs", lambda: _imported_pairs(context), files)


def _imported_pairs(context: Context) -> ImportedPairs:
    workspace, recipe = context.workspace, context.recipe
    rows = read_pairs(Path(recipe.pair.given))
    artworks, tracks = usable_items(workspace)
    names = _Names(workspace, artworks, tracks)
    found: list[tuple[int, str, str]] = []
    rejects: list[Reject] = []
    taken: dict[str, int] = {}
    uses: Counter[str] = Counter()
    for number, row in enumerate(row for row in rows if not row.fault):
        why = names.fault(row)
        artwork = names.artwork(row.artwork)
        if 0 < recipe.sources.limit <= number:
            why = ("filtered", "beyond-limit", "it comes after as many pairs as sources.limit says")
        elif why is None and row.track in taken:
            earlier = f"row {taken[row.track]} pairs the track {row.track} already"
            why = ("filtered", "track-repeated", earlier)
        elif why is None and uses[artwork] >= recipe.pair.artwork_uses:
            often = f"{artwork} is paired as often as pair.artwork_uses allows"
            why = ("filtered", "artwork-repeated", often)
        if why is not None:
            rejects.append(_reject(row.row, *why))
            continue
        taken[row.track] = row.row
        uses[artwork] += 1
        found.append((row.row, row.track, artwork))
    rejects += [_reject(row.row, "failed", "unreadable", row.fault) for row in rows if row.fault]
    pairs, crossing, moved = _split(found, artworks, tracks, recipe)
    ordered = sorted([*rejects, *crossing], key=lambda reject: reject.item_id)
    return ImportedPairs(pairs, tuple(ordered), artworks, tracks, moved)


def unpaired(imported: ImportedPairs, pairs: pa.Table) -> list[dict[str, str]]:
    """The usable items that are in none of `pairs`, as rows of unmatched.parquet, no split."""
    sides = {
        "artwork": (imported.artworks["artwork_id"].to_pylist(), pairs["artwork_id"].to_pylist()),
        "track": (imported.tracks["track_id"].to_pylist(), pairs["track_id"].to_pylist()),
    }
    return [
        {"side": side, "item_id": item, "split": "", "reason": "no-given-pair"}
        for side, (items, used) in sides.items()
        for item in sorted(set(items) - set(used))
    ]


class _Names:
    """Finds the items of the catalogue that rows of the file name."""

    def __init__(self, workspace: Workspace, artworks: pa.Table, tracks: pa.Table) -> None:
        ids = artworks["artwork_id"].to_pylist()
        self._exact = frozenset(ids)
        self._by_key: dict[str, list[str]] = {}
        for name in ids:
            self._by_key.setdefault(artwork_key(name), []).append(name)
        self._tracks = frozenset(tracks["track_id"].to_pylist())
        rejected = read_parquet(workspace.catalog / "rejects.parquet", "reject").to_pylist()
        self._rejected = {
            (row["side"], artwork_key(row["item_id"])): row["reason"]
            for row in rejected
            if row["stage"] in ("ingest", "embed")
        }

    def artwork(self, name: str) -> str:
        """The artwork of the catalogue that a row names; empty: none, or more than one."""
        if name in self._exact:
            return name
        named = self._by_key.get(artwork_key(name), [])
        return named[0] if len(named) == 1 else ""

    def fault(self, row: PublishedPair) -> tuple[str, str, str] | None:
        """Why a row names no pair of this catalogue: kind, code and message; None if it does."""
        if not self.artwork(row.artwork):
            if len(self._by_key.get(artwork_key(row.artwork), [])) > 1:
                return "failed", "artwork-ambiguous", f"{row.artwork} names more than one artwork"
            return self._absent("artwork", row.artwork, artwork_key(row.artwork))
        if row.track not in self._tracks:
            return self._absent("track", row.track, row.track)
        return None

    def _absent(self, side: str, name: str, key: str) -> tuple[str, str, str]:
        reason = self._rejected.get((side, key))
        if reason is None:
            return "failed", f"{side}-unknown", f"the sources have no {side} {name}"
        return "filtered", f"{side}-unusable", f"the {side} {name} could not be used: {reason}"


def _split(
    found: list[tuple[int, str, str]], artworks: pa.Table, tracks: pa.Table, recipe: Recipe
) -> tuple[tuple[ImportedPair, ...], list[Reject], int]:
    """The pairs with their splits, rejects for those in two splits, and tracks moved."""
    of_tracks = split_of_tracks(tracks, recipe)
    split_of = dict(zip(tracks["track_id"].to_pylist(), of_tracks.splits, strict=True))
    place = {name: n for n, name in enumerate(artworks["artwork_id"].to_pylist())}
    mine = artworks.take(pa.array([place[artwork] for _, _, artwork in found], pa.int64()))
    theirs = [split_of[track] for _, track, _ in found]
    homes = split_imported(
        mine["painter_id"].to_pylist(), mine["artwork_id"].to_pylist(),
        mine["cluster"].to_pylist(), theirs,
    )  # fmt: skip
    pairs, crossing = [], []
    for (row, track, artwork), home, split in zip(found, homes, theirs, strict=True):
        pair = ImportedPair(row, track, artwork, split)
        if home == split:
            pairs.append(pair)
            continue
        message = (
            f"the track {track} is in {split}, but most pairs of the painter of {artwork} "
            f"are in {home}"
        )
        crossing.append(pair.refused("split-crossed", message))
    return tuple(sorted(pairs, key=lambda pair: pair.track_id)), crossing, of_tracks.moved


def _reject(row: int, kind: str, reason: str, message: str) -> Reject:
    sentence = f"Row {row} of the imported pairs: {message}."
    return Reject("pair", "pair", f"row-{row:07d}", kind, reason, sentence)
