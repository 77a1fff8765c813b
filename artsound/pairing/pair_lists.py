"""Lists of pairs from outside: pairs to be excluded, and published pairs to be imported.

An excluded pair (`pair.exclude`) is an edge taken out of the graph in which pairs are matched. Its
track and its artwork stay, and get the next best partners that the optimum has for them. Imported
pairs (`pair.given`) are used in place of a matching.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from artsound.catalogue import usable_items
from artsound.errors import BadUsage
from artsound.pairing.splits import split_given, split_of_tracks
from artsound.recipe import Recipe
from artsound.schema import Reject, arrow_schema
from artsound.sources.item_names import artwork_key
from artsound.sources.published_pairs import PublishedPair, read_pairs
from artsound.stage import Context
from artsound.storage import Workspace, read_parquet


def excluded_pairs(recipe: Recipe) -> list[tuple[str, str]]:
    """The (track id, artwork id) pairs of the recipe's list, ascending; none without a list.

    Raises BadUsage when the list is missing, BadData when it is no list of pairs.
    """
    table = read_exclusions(recipe.pair.exclude)
    return sorted(
        set(zip(table["track_id"].to_pylist(), table["artwork_id"].to_pylist(), strict=True))
    )


def read_exclusions(place: str) -> pa.Table:
    """The list of pairs that `artsound judgements` wrote to `place`; none where that is empty.

    Raises as barred_pairs does.
    """
    if not place:
        return arrow_schema("exclusion").empty_table()
    if not Path(place).is_file():
        raise BadUsage(f"{place} is not a file: give the list that `artsound judgements` writes.")
    return read_parquet(Path(place), "exclusion")


def excluded_keys(
    pairs: Iterable[tuple[str, str]], track_ids: Sequence[str], artwork_ids: Sequence[str]
) -> np.ndarray:
    """The keys of those pairs among these items: int64, ascending, track · n_artworks + artwork.

    `track` and `artwork` are positions; pairs with an item that is not listed are passed over.
    """
    rows = {name: n for n, name in enumerate(track_ids)}
    columns = {name: n for n, name in enumerate(artwork_ids)}
    keys = [
        rows[track] * len(artwork_ids) + columns[artwork]
        for track, artwork in pairs
        if track in rows and artwork in columns
    ]
    return np.array(sorted(keys), dtype=np.int64)


def excluded_within(
    keys: np.ndarray, width: int, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """The keys, made for `width` artworks, of some of the items: positions `rows` and `columns`.

    Both are ascending, and so are the keys; they count from the start of `rows` and `columns`.
    """
    track, artwork = np.divmod(keys, width)
    here = np.isin(track, rows) & np.isin(artwork, columns)
    found: np.ndarray = np.searchsorted(rows, track[here]) * len(columns) + np.searchsorted(
        columns, artwork[here]
    )
    return found


# Pairs that others have published, in place of a matching of our own.
#
# Each row of the file (sources/published_pairs.py reads it) either becomes a pair or falls out
# with
# its reason. A track is paired once and an artwork as often as the recipe allows; the earlier row
# goes first. Tracks keep FMA's split. A painter, with all whose works are near-duplicates of the
# painter's, goes to the split in which most of the painter's pairs lie, the earlier of train, val
# and test when two are level; pairs whose track is in another split fall out, since they would
# take
# a painter across its border.


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
    """The rows of a file of pairs, sorted out: `pairs` by track, `rejects` in the file's order.

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
    """The published pairs of the recipe's file, as far as the catalogue has what they name.

    Raises BadUsage or BadData when the file cannot be read.
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


def unpaired(given: ImportedPairs, pairs: pa.Table) -> list[dict[str, str]]:
    """The usable items that none of `pairs` has, as rows of unmatched.parquet; without a split."""
    sides = {
        "artwork": (given.artworks["artwork_id"].to_pylist(), pairs["artwork_id"].to_pylist()),
        "track": (given.tracks["track_id"].to_pylist(), pairs["track_id"].to_pylist()),
    }
    return [
        {
            "side": side,
            "item_id": item,
            "split": "",
            "reason": "no-given-pair",
        }
        for side, (items, used) in sides.items()
        for item in sorted(set(items) - set(used))
    ]


class _Names:
    """What the rows' names stand for in the catalogue."""

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
        """Why a row names no pair of this catalogue: kind, code and message; None: it does."""
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
    """The pairs with their splits, rejects for those that would cross one, and tracks moved."""
    of_tracks = split_of_tracks(tracks, recipe)
    split_of = dict(zip(tracks["track_id"].to_pylist(), of_tracks.splits, strict=True))
    place = {name: n for n, name in enumerate(artworks["artwork_id"].to_pylist())}
    mine = artworks.take(pa.array([place[artwork] for _, _, artwork in found], pa.int64()))
    theirs = [split_of[track] for _, track, _ in found]
    homes = split_given(
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
    sentence = f"Row {row} of the given pairs: {message}."
    return Reject("pair", "pair", f"row-{row:07d}", kind, reason, sentence)
