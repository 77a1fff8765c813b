"""Why a pair was made: its sources, its place in both orders, and what its score consists of."""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from artsound import plugins
from artsound.catalogue import SIDES, MediaItem, SideName, read_media, table_path
from artsound.errors import ArtSoundError, BadData, BadUsage, printable
from artsound.pairing.bridge import BridgeContext, Rows, rows_in
from artsound.pairing.previous_release import FITS, read_fits
from artsound.recipe import Recipe, load_recipe
from artsound.shards.beside import RETRIEVAL
from artsound.shards.dataset import Dataset
from artsound.shards.index import read_frame
from artsound.stage import Context
from artsound.storage import Workspace, read_json
from artsound.untrusted import nearest, read_table

_SAME = 1e-3
_ARTWORK = (
    "artwork_id", "title", "painter", "year", "style", "genre", "source", "source_url",
    "image_sha256", "license_id",
)  # fmt: skip
_TRACK = (
    "track_id", "title", "artist", "album", "genre", "source", "source_url", "audio_sha256",
    "license_id",
)  # fmt: skip


def why(out: Path, key: str) -> dict[str, Any]:
    """Return the derivation of one pair of a build.

    Args:
        out: The build's folder.
        key: Key of the pair: the id of its track.

    Returns:
        JSON values: `key`; `artwork` and `track`, their rows of the catalogue and
        `encoders`, the digests of what embedded them; `pair`, its row of pairs.parquet;
        `recipe`, the values that decide the pairing; `runners_up` of the `artwork` (other tracks)
        and of the `track` (other artworks), best first, with scores and names; and `parts` of the
        score, one
        for each axis or concept of the bridge, largest share first: `name`, where the `artwork`
        and the `track` are on it, the `range` of these places (None: any number), and its `share`
        of the score (the shares add up to it). No parts where the bridge's dimensions have no
        names, or the score is of another version.

    Raises:
        BadUsage: There is no build, or no such pair in it.
        BadData: A file of the build is damaged.
    """
    workspace = Workspace(out)
    pairs = workspace.pairs / "pairs.parquet"
    if not pairs.is_file() or not workspace.recipe.is_file():
        raise BadUsage(f"{out} has no pairs: run `artsound build --out {out}` first.")
    recipe = load_recipe(workspace.recipe)
    found = _with(pairs, "track_id", [key]).to_dicts()
    if not found:
        known = read_table(pairs, ["track_id"])["track_id"].to_pylist()
        hint = nearest(key, known) or f": keys are such as {known[0]}" if known else ""
        raise BadUsage(f"{out} has no pair {key}{hint}.")
    pair = found[0]
    artwork = _row(workspace.catalog / "artworks.parquet", "artwork_id", pair["artwork_id"])
    track = _row(workspace.catalog / "tracks.parquet", "track_id", key)
    return {
        "key": key,
        "pair": pair,
        "artwork": {name: artwork.get(name) for name in _ARTWORK},
        "track": {name: track.get(name) for name in _TRACK},
        "encoders": _encoders(workspace),
        "recipe": {"seed": recipe.seed, **recipe.pair.model_dump()},
        "runners_up": _runners_up(workspace, key),
        "parts": _parts(_matched(workspace, recipe), pair, alone=True),
    }


def _row(path: Path, column: str, name: str) -> dict[str, Any]:
    found = _with(path, column, [name]).to_dicts()
    return found[0] if found else {column: name}


def _with(path: Path, column: str, values: list[str], *columns: str) -> pl.DataFrame:
    """The rows of a parquet file with some values in a column; BadData if it is not readable."""
    try:
        rows = pl.scan_parquet(path).filter(pl.col(column).is_in(values))
        return rows.select(columns or pl.all()).collect()
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadData(f"{path} is not a readable parquet file: {reason}.") from error


def _encoders(workspace: Workspace) -> dict[str, str]:
    """The digest of weights and settings of each encoder that embedded this build."""
    found = {}
    for path in sorted(workspace.embeddings.glob("*/artworks.json")) + sorted(
        workspace.embeddings.glob("*/tracks.json")
    ):
        names = read_json(path)
        if isinstance(names, dict):
            found[f"{path.parent.name} of {path.stem}"] = str(names.get("digest", ""))
    return found


def _runners_up(workspace: Workspace, key: str) -> dict[str, list[dict[str, Any]]]:
    path = workspace.pairs / "runners_up.parquet"
    if not path.is_file():
        return _by_side(None)
    columns = ("side", "place", "item_id", "score")
    found = _by_side(_with(path, "track_id", [key], *columns).sort("place"))
    for side, file, named in (
        ("artwork", "tracks.parquet", ("track_id", "artist", "title")),
        ("track", "artworks.parquet", ("artwork_id", "painter", "title")),
    ):
        names = _names(workspace.catalog / file, named, [one["item_id"] for one in found[side]])
        for one in found[side]:
            one["name"] = names.get(one["item_id"], "")
    return found


def _names(path: Path, columns: tuple[str, str, str], items: list[str]) -> dict[str, str]:
    """Who made some items of a catalogue, and their titles, as far as they are known."""
    if not items or not path.is_file():
        return {}
    column, *_ = columns
    rows = _with(path, column, items, *columns).iter_rows()
    return {item: ": ".join(filter(None, (by, title))) for item, by, title in rows}


def _by_side(rows: pl.DataFrame | None) -> dict[str, list[dict[str, Any]]]:
    """Runners-up of a pair's artwork and of its track, best first."""
    if rows is None:
        return {side: [] for side in ("artwork", "track")}
    # In the file a row has the side of the other partner; here, of the item that it is for.
    return {
        side: rows.filter(side=other).select("place", "item_id", "score").to_dicts()
        for side, other in (("artwork", "track"), ("track", "artwork"))
    }


def _parts(context: Context, pair: dict[str, Any], *, alone: bool = False) -> list[dict[str, Any]]:
    """The share of each named dimension in the score; none if it is of another version or build.

    `alone`: only the rows of this pair are computed, and all only if those give another score, as
    of a bridge that sets items against one another.
    """
    items = (pair["artwork_id"], pair["track_id"])
    for some in (items, None) if alone else (None,):
        try:
            names, (artworks, a, tracks, t) = context.once(
                f"dimensions of {pair['bridge']} for {some}",
                partial(_dimensions, context, pair["bridge"], some),
            )
        except (ArtSoundError, ValueError):
            continue  # vectors or weights are no longer there, or of an older version
        if not names or items[0] not in artworks or items[1] not in tracks:
            continue
        parts = _shares(names, a[artworks.index(items[0])], t[tracks.index(items[1])])
        if abs(sum(float(part["share"]) for part in parts) - pair["score"]) <= _SAME:
            return sorted(parts, key=lambda part: (-part["share"], part["name"]))
    return []  # the score is that of an older version or of a previous release


def _shares(names: list[str], one: np.ndarray, other: np.ndarray) -> list[dict[str, Any]]:
    """The share of each name in the product of two rows, and where both are on it."""
    parts: list[dict[str, Any]] = []
    for name in dict.fromkeys(names):
        at = [n for n, each in enumerate(names) if each == name]
        parts.append(
            {
                "name": name,
                "artwork": _place(one[at]),
                "track": _place(other[at]),
                "range": None if len(at) == 1 else [0.0, 1.0],
                "share": float(one[at] @ other[at]),
            }
        )
    return parts


def _matched(workspace: Workspace, recipe: Recipe) -> Context:
    """The build with the fit that its pairs were matched with, which need not be fitted again."""
    from artsound.pairing.affect import Affect  # SciPy, which opening a page does not need

    fit = workspace.pairs / FITS
    if fit.is_file() and not recipe.pair.affect_fit:
        try:
            if Affect.name in read_fits(fit):
                pair = recipe.pair.model_copy(update={"affect_fit": str(fit)})
                recipe = recipe.model_copy(update={"pair": pair})
        except BadData:
            pass  # it is fitted again
    return Context(workspace, recipe)


def _dimensions(
    context: Context, bridge: str, some: tuple[str, ...] | None
) -> tuple[list[str], Rows]:
    """The name of each dimension of a bridge, and the rows of some items; no names without any."""
    named = [context.recipe.pair.bridge]  # may be imported, or the recipe was not read
    plugins.refuse_code("bridge", bridge, "pairs.parquet", named)
    plugin, _ = plugins.get("bridge", bridge)
    build = BridgeContext(context, bridge)
    build = build if some is None else build.for_items(some)
    dimensions = getattr(plugin, "dimensions", None)
    if dimensions is None:
        return [], ([], np.empty((0, 0)), [], np.empty((0, 0)))
    return dimensions(build), rows_in(build)


def _place(values: np.ndarray) -> float:
    """Where an item is: its value, or 0 to 1 on the half circle of an affect axis."""
    if len(values) == 1:
        return float(values[0])
    return math.atan2(float(values[1]), float(values[0])) / math.pi


# Columns of the catalogue that are shown of a work, and what the index calls them.
_SHOWN: Mapping[SideName, Mapping[str, str]] = {
    "artworks": {
        "title": "artwork_title", "painter": "painter", "year": "artwork_year",
        "style": "artwork_style",
    },
    "tracks": {
        "title": "track_title", "artist": "musician", "genre": "track_genre",
        "duration": "duration_s",
    },
}  # fmt: skip


def _known(value: Any) -> Any:
    """A value of the catalogue as the index has it, where unknown is null."""
    return None if value in ("", -1) else value


@dataclass(frozen=True)
class BuiltWork:
    """An artwork or a track of a build.

    Attributes:
        workspace: The build.
        item: Where its picture or sound is, and its digest.
        facts: What is shown of it, by the names of the index.
    """

    workspace: Workspace
    item: MediaItem
    facts: Mapping[str, Any]

    def is_there(self) -> bool:
        """Whether its file is still in the build."""
        return self.workspace.path(self.item.path).is_file()

    def read(self) -> bytes:
        """Its picture or sound; BadData when it is missing or another."""
        return read_media(self.workspace, self.item)


@dataclass(eq=False)
class ReleaseReasons:
    """Why the pairs of a release were made, as far as its files and its build say.

    The build is the folder that contains the shards, as long as it still has the same pairs.
    Without it there are no parts of a score, and runners-up only from the release's
    retrieval.parquet.

    Attributes:
        data: The release.
    """

    data: Dataset
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def works(self, side: SideName, item_ids: Collection[str]) -> dict[str, BuiltWork]:
        """What the build knows of some works, which need not be in the release.

        Args:
            side: artworks or tracks.
            item_ids: Their ids.

        Returns:
            The works by id; none without the build or its catalogue.
        """
        with self._lock:
            context = self._build
        if context is None or not item_ids:
            return {}
        kind = SIDES[side]
        columns = (kind.key, kind.path, kind.sha256, *_SHOWN[side])
        path = table_path(context.workspace, kind)
        try:
            rows = _with(path, kind.key, list(item_ids), *columns).to_dicts()
        except BadData:
            return {}  # no catalogue, or not a readable one
        return {
            row[kind.key]: BuiltWork(
                context.workspace,
                MediaItem(row[kind.key], row[kind.path], row[kind.sha256]),
                {name: _known(row[column]) for column, name in _SHOWN[side].items()},
            )
            for row in rows
        }

    def of(self, position: int) -> dict[str, Any]:
        """Return what is known of one pair, as JSON values.

        Args:
            position: Its position in the release.

        Returns:
            `build`: whether the build is there; `parts` and `runners_up` as those of `why`.
        """
        row = self.data.frame.row(position, named=True)
        with self._lock:  # the first of several requests opens the files
            context = self._build
            pair = _made(context.workspace, row) if context is not None else None
            if context is None or pair is None:
                return {
                    "build": False,
                    "parts": [],
                    "runners_up": _by_side(self._of_key(row["key"])),
                }
            found = _runners_up(context.workspace, row["key"])
            return {"build": True, "parts": _parts(context, pair), "runners_up": found}

    @cached_property
    def _build(self) -> Context | None:
        if not self.data.store.is_local:
            return None
        workspace = Workspace(Path(self.data.store.location).absolute().parent)
        try:
            return _matched(workspace, load_recipe(workspace.recipe))
        except ArtSoundError:
            return None  # no build, or not a readable one

    @cached_property
    def _retrieval(self) -> pl.DataFrame | None:
        place = f"{self.data.store.location}/{RETRIEVAL}"
        try:
            found = read_frame(self.data.store.read(RETRIEVAL), place)
        except ArtSoundError:
            return None  # optional, and so is a readable one
        columns = {"key", "side", "place", "item_id", "score"}
        return found if columns <= set(found.columns) else None

    def _of_key(self, key: str) -> pl.DataFrame | None:
        found = self._retrieval
        return None if found is None else found.filter(pl.col("key") == key).sort("place")


def _made(workspace: Workspace, row: dict[str, Any]) -> dict[str, Any] | None:
    """The row of pairs.parquet that a row of a release is made of; None if there is none."""
    path = workspace.pairs / "pairs.parquet"
    try:
        for pair in _with(path, "track_id", [row["key"]]).to_dicts():
            same = all(pair[name] == row[name] for name in ("artwork_id", "bridge"))
            if same and abs(pair["score"] - row["score"]) < _SAME:
                return pair
    except (BadData, KeyError):
        pass  # no pairs, or not readable ones
    return None


def print_why(found: dict[str, Any]) -> None:
    """Print the values of `why` for people, within 80 columns."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    pair, artwork, track = found["pair"], found["artwork"], found["track"]
    console.print(f"Pair {found['key']} ({pair['split']}), by the bridge {pair['bridge']}")
    for label, row, names in (
        ("artwork", artwork, ("title", "painter", "artwork_id", "source_url", "image_sha256")),
        ("track", track, ("title", "artist", "track_id", "source_url", "audio_sha256")),
    ):
        console.print(label)
        for name in names:
            shown = name.rpartition("_")[2] if name.endswith(("sha256", "id")) else name
            shown = "musician" if name == "artist" else shown.replace("source_url", "source")
            value = printable(str(row[name] or "unknown"))
            console.print(f"  {shown:<12}{value}", soft_wrap=True)
    console.print()
    console.print(
        f"  score {pair['score']:.4f}, more than {100 * pair['percentile']:.2f} % of random pairs"
    )
    console.print(
        f"  rank {pair['track_rank']} for the track, {pair['artwork_rank']} for the artwork; "
        f"margin {pair['margin']:+.4f}"
    )
    console.print(f"  made by {pair['method']} matching, seed {found['recipe']['seed']}")
    if found["parts"]:
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for n, name in enumerate(("axis or concept", "artwork", "track", "share of score")):
            table.add_column(name, justify="right" if n else "left")
        for part in found["parts"][:15]:
            values = (f"{part[name]:.3f}" for name in ("artwork", "track", "share"))
            table.add_row(part["name"], *values)
        console.print(table)
    for side, other in (("artwork", "tracks"), ("track", "artworks")):
        if found["runners_up"][side]:
            console.print(f"Best other {other} for the {side}")
        for one in found["runners_up"][side]:
            # The id of a track is the key of its pair; an artwork's is long.
            named = [one["name"] or one["item_id"]]
            named = [one["item_id"], one["name"]] if side == "artwork" else named
            line = f"  {one['place']}. {one['score']:.4f}  {'  '.join(filter(None, named))}"
            console.print(printable(line), no_wrap=True, overflow="ellipsis")
    for name, made_by in found["encoders"].items():
        console.print(f"Embedded by {name}\n  {made_by}", soft_wrap=True)
