"""The previous release (`--base`): its pairs stay in a build that continues it.

A pair stays if both its items are still usable and in its split, and the recipe does not exclude
it. It keeps its score and margin: both depend on all other items, and new numbers would give every
pair, and so every shard, new bytes. Scores of different bridges do not compare, so a release is
continued with the bridge that made it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artsound.columns import COLUMNS, RENAMED, is_format_1
from artsound.errors import BadData, BadUsage
from artsound.keys import with_text_keys
from artsound.pairing.excluded import excluded_pairs
from artsound.recipe import Recipe
from artsound.schema import arrow_schema
from artsound.stage import Context
from artsound.storage import Workspace, read_json, sha256_file
from artsound.untrusted import read_table

FITS = "fits.json"  # of pairs/ and of a release: the fits of bridges, by their names

# Columns of withheld.parquet, and of the index.
_WITHHELD = ("track_id", "artwork_id", "split", "score", "bridge")
_COLUMNS = (
    *_WITHHELD,
    *("painter_id", "musician_id", "percentile", "margin", "track_rank", "artwork_rank"),
)


class PreviousPair(NamedTuple):
    """A pair of the previous release.

    `percentile`, `margin` and the ranks are None if its media were withheld there, or if the
    release has no such column.
    """

    track_id: str
    artwork_id: str
    split: str
    score: float
    percentile: float | None
    margin: float | None
    track_rank: int | None = None
    artwork_rank: int | None = None


@dataclass(frozen=True)
class PreviousRelease:
    """A release that a build continues.

    Attributes:
        digest: Of its index.json, which names all other files.
        pairs: Its pairs by track id.
        painters: The split of each painter.
        musicians: The split of each musician.
        artworks: The split of each artwork.
    """

    digest: str
    pairs: Mapping[str, PreviousPair]
    painters: Mapping[str, str]
    musicians: Mapping[int, str]
    artworks: Mapping[str, str]

    def splits_of_artworks(self, artworks: pa.Table) -> list[str]:
        """The previous split of each artwork, by its painter or itself; "" for none."""
        return [
            self.painters.get(painter) or self.artworks.get(artwork, "")
            for painter, artwork in zip(
                artworks["painter_id"].to_pylist(), artworks["artwork_id"].to_pylist(), strict=True
            )
        ]

    def splits_of_tracks(self, tracks: pa.Table) -> list[str]:
        """The previous split of each track, by its musician or itself; "" for none."""
        splits = []
        for artist, track in zip(
            tracks["artist_id"].to_pylist(), tracks["track_id"].to_pylist(), strict=True
        ):
            pair = self.pairs.get(track)
            splits.append(self.musicians.get(artist) or (pair.split if pair else ""))
        return splits

    def kept(
        self, artworks: Mapping[str, str], tracks: Mapping[str, str]
    ) -> dict[str, PreviousPair]:
        """The pairs, by track, whose items have the same split in `artworks` and `tracks`."""
        return {
            track: pair
            for track, pair in self.pairs.items()
            if tracks.get(track) == pair.split == artworks.get(pair.artwork_id)
        }


def release_folder(workspace: Workspace, place: str) -> Path:
    """The folder of a release's shards.

    Args:
        workspace: Of the build that continues it.
        place: That folder, or the folder of the build that it belongs to.

    Raises:
        BadUsage: Neither has an index, or the build in `workspace` would replace it.
    """
    for folder in (Path(place), Path(place) / "shards"):
        if (folder / "index.json").is_file() and (folder / "index.parquet").is_file():
            if folder.resolve() == workspace.shards.resolve():
                raise BadUsage(
                    f"A build in {workspace.root} replaces {folder}: give another --out."
                )
            return folder
    raise BadUsage(
        f"{place} is not a release to continue: give --base a folder of shards or the folder of a "
        "build that has one."
    )


def read_fits(path: Path) -> dict[str, Any]:
    """The fits in a fits.json, by the name of their bridge; BadData if it is broken."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise BadData(f"{path} is not a file of fits: copy it from the release again.")
    return value


def previous_release(context: Context) -> PreviousRelease | None:
    """The release that the recipe continues; None for a recipe without one.

    Raises:
        BadUsage: It is not a release, or was made with another bridge.
        BadData: It is damaged or of another schema.
    """
    if not context.recipe.sources.base:
        return None
    folder = release_folder(context.workspace, context.recipe.sources.base)
    files = [folder / "index.json", folder / "index.parquet"]
    return context.once(
        "previous release", lambda: _previous_release(folder, context.recipe), files
    )


def _previous_release(folder: Path, recipe: Recipe) -> PreviousRelease:
    index = folder / "index.parquet"
    about = read_json(folder / "index.json")
    if not isinstance(about, dict) or about.get("index_sha256") != sha256_file(index):
        raise BadData(f"{index} is not the file that its index.json names: verify {folder} first.")
    columns = _columns_of_pairs(folder, recipe)
    tracks, artworks, splits = (columns[name] for name in ("track_id", "artwork_id", "split"))
    values = zip(*(columns[name] for name in PreviousPair._fields), strict=True)
    pairs = dict(zip(tracks, map(PreviousPair._make, values), strict=True))
    for track, artwork in excluded_pairs(recipe):
        if track in pairs and pairs[track].artwork_id == artwork:
            del pairs[track]
    # Of several pairs with one person, the first counts: it is the last that is written.
    painters, musicians = (
        dict(zip(reversed(columns[name]), reversed(splits), strict=True))
        for name in ("painter_id", "musician_id")
    )
    return PreviousRelease(
        digest=sha256_file(folder / "index.json"),
        pairs=pairs,
        painters={painter: split for painter, split in painters.items() if painter},
        musicians={  # format 1 has -1 for unknown
            musician: split
            for musician, split in musicians.items()
            if musician is not None and musician >= 0
        },
        artworks=dict(zip(artworks, splits, strict=True)),
    )


def with_previous_scores(
    columns: Mapping[str, np.ndarray], tracks: Sequence[str], kept: Mapping[str, PreviousPair]
) -> dict[str, np.ndarray]:
    """Columns of pairs.parquet; with the previous scores where a pair stays.

    Args:
        columns: The score, percentile, margin, both ranks and the method of each pair.
        tracks: The track of each pair.
        kept: The pairs that stay, by track.
    """
    pairs = [kept.get(track) for track in tracks]
    found = dict(columns)
    found["method"] = np.where([pair is not None for pair in pairs], "kept", columns["method"])
    for name in ("score", "percentile", "margin", "track_rank", "artwork_rank"):
        values = [None if pair is None else getattr(pair, name) for pair in pairs]
        known = np.array([value is not None for value in values], dtype=bool)
        found[name] = columns[name].copy()
        found[name][known] = [value for value in values if value is not None]
    return found


def free_artworks(
    used: np.ndarray, painters: np.ndarray, painter_uses: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The artworks that new tracks may be paired with.

    Args:
        used: Positions of the artworks in pairs that stay, one for each pair.
        painters: The painter of each artwork, as numbers [m].
        painter_uses: How many pairs a painter may have; 0: no limit.

    Returns:
        Positions int64, ascending, and how many more pairs each painter may have, int64
        [painters]; None without a limit.
    """
    free = np.setdiff1d(np.arange(len(painters)), used)
    if not painter_uses:
        return free, None
    spent = np.bincount(painters[used], minlength=int(painters.max(initial=-1)) + 1)
    left = np.maximum(painter_uses - spent, 0)
    return free[left[painters[free]] > 0], left


def _columns_of_pairs(folder: Path, recipe: Recipe) -> dict[str, list[Any]]:
    """The release's pairs by track, including those withheld from it: _COLUMNS."""
    index = folder / "index.parquet"
    withheld = folder / "withheld.parquet"
    try:
        found = pq.read_schema(index).names
        known = {RENAMED.get(name, name) for name in found} if is_format_1(found) else set(found)
        late = {column.name for column in COLUMNS if column.unknown} - known
        if differs := sorted(known.union(late) ^ set(arrow_schema("index").names)):
            raise BadData(
                f"{index} is of another schema ({differs[0]} is in only one of the two): "
                "build without --base."
            )
        table = _read(index, _COLUMNS)
        if withheld.is_file():
            more = _read(withheld, _WITHHELD)
            table = pa.concat_tables([table, more], promote_options="default")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BadData(f"{folder} cannot be continued, its index is broken: {error}.") from error
    if others := sorted(set(pc.unique(table["bridge"]).to_pylist()) - {recipe.pair.bridge}):
        raise BadUsage(
            f"The pairs of {folder} were made through the bridge {others[0]}, whose scores do not "
            f"compare with those of {recipe.pair.bridge}: give --bridge {others[0]}."
        )
    columns: dict[str, list[Any]] = table.sort_by("track_id").to_pydict()
    return columns


def _read(path: Path, names: Sequence[str]) -> pa.Table:
    """These columns of a parquet file; BadData if one is not as in an index."""
    schema = pa.schema([arrow_schema("index").field(name) for name in names])
    found = pq.read_schema(path).names
    today = {name: RENAMED.get(name, name) if is_format_1(found) else name for name in found}
    there = [name for name in found if today[name] in names]
    table = with_text_keys(read_table(path, there)).rename_columns([today[one] for one in there])
    for field in schema:
        if field.nullable and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    table = table.select(list(names))
    for field, column in zip(schema, table.columns, strict=True):
        if column.type != field.type or (column.null_count and not field.nullable):
            raise BadData(f"The {field.name} of {path} must be {field.type}, with no null.")
    return table.replace_schema_metadata(None)
