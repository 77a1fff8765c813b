"""Why a pair was made: its sources, its place in both orders, and what its score consists of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from artsound import plugins
from artsound.errors import ArtSoundError, BadUsage
from artsound.pairing.bridge import BridgeContext, rows_in
from artsound.recipe import load_recipe
from artsound.stage import Context
from artsound.storage import Workspace, read_json
from artsound.untrusted import nearest

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
        and of the `track` (other artworks), best first, with scores; and `parts` of the score, one
        for each axis or concept of the bridge, largest share first: `name`, where the `artwork`
        and the `track` are on it, and its `share` of the score (the shares add up to it). No parts
        where the bridge's dimensions have no names, or the score is of another version.

    Raises:
        BadUsage: There is no build, or no such pair in it.
        BadData: A file of the build is damaged.
    """
    workspace = Workspace(out)
    pairs = workspace.pairs / "pairs.parquet"
    if not pairs.is_file() or not workspace.recipe.is_file():
        raise BadUsage(f"{out} has no pairs: run `artsound build --out {out}` first.")
    recipe = load_recipe(workspace.recipe)
    found = pl.scan_parquet(pairs).filter(pl.col("track_id") == key).collect().to_dicts()
    if not found:
        known = pl.read_parquet(pairs, columns=["track_id"])["track_id"].to_list()
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
        "parts": _parts(Context(workspace, recipe), pair),
    }


def _row(path: Path, column: str, name: str) -> dict[str, Any]:
    found = pl.scan_parquet(path).filter(pl.col(column) == name).collect().to_dicts()
    return found[0] if found else {column: name}


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
        return {side: [] for side in ("artwork", "track")}
    rows = pl.scan_parquet(path).filter(pl.col("track_id") == key).sort("place").collect()
    # In the file a row has the side of the other partner; here, of the item that it is for.
    return {
        side: rows.filter(side=other).select("place", "item_id", "score").to_dicts()
        for side, other in (("artwork", "track"), ("track", "artwork"))
    }


def _parts(context: Context, pair: dict[str, Any]) -> list[dict[str, Any]]:
    """The share of each named dimension in the score; none if it is of another version or build."""
    bridge, artwork_id, track_id = pair["bridge"], pair["artwork_id"], pair["track_id"]
    try:
        named = [context.recipe.pair.bridge]  # may be imported, or the recipe was not read
        plugins.refuse_code("bridge", bridge, "pairs.parquet", named)
        plugin, _ = plugins.get("bridge", bridge)
        build = BridgeContext(context, bridge)
        dimensions = getattr(plugin, "dimensions", None)
        if dimensions is None:
            return []
        names: list[str] = dimensions(build)
        artworks, a, tracks, t = rows_in(build)
    except (ArtSoundError, ValueError):
        return []  # vectors or weights are no longer there, or of an older version
    if artwork_id not in artworks or track_id not in tracks:
        return []
    one, other = a[artworks.index(artwork_id)], t[tracks.index(track_id)]
    parts: list[dict[str, Any]] = []
    for name in dict.fromkeys(names):
        at = [n for n, each in enumerate(names) if each == name]
        parts.append(
            {
                "name": name,
                "artwork": _place(one[at]),
                "track": _place(other[at]),
                "share": float(one[at] @ other[at]),
            }
        )
    if abs(sum(float(part["share"]) for part in parts) - pair["score"]) > _SAME:
        return []  # the score is that of an older version or of a previous release
    return sorted(parts, key=lambda part: (-part["share"], part["name"]))


def _place(values: np.ndarray) -> float:
    """Where an item is: its value, or 0 to 1 on the half circle of an affect axis."""
    if len(values) == 1:
        return float(values[0])
    return math.atan2(float(values[1]), float(values[0])) / math.pi


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
            console.print(f"  {shown:<12}{row[name] or 'unknown'}", soft_wrap=True)
    console.print()
    console.print(
        f"  score {pair['score']:.4f}, more than {pair['percentile']:.2%} of random pairs"
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
            console.print(f"  {one['place']}. {one['score']:.4f}  {one['item_id']}")
    for name, made_by in found["encoders"].items():
        console.print(f"Embedded by {name}\n  {made_by}", soft_wrap=True)
