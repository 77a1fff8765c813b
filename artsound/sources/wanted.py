"""What a recipe wants of the sources beyond a rights policy: lists, conditions, and how many.

A limit counts usable tracks, and whether one is usable shows only when it is decoded. So as many
tracks as the limit says are looked at first, and for each that cannot be used one more, round
after round, until there are enough or the source has no more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from artsound.errors import BadData, BadUsage
from artsound.recipe import Recipe
from artsound.sources.item_names import Listed, artwork_key, line_keys
from artsound.sources.published_pairs import read_pairs
from artsound.storage import Workspace, read_json, write_json


def tracks_to_look_at(workspace: Workspace, recipe: Recipe) -> int:
    """How many tracks that have audio and rights are looked at, to find as many as the limit says.

    0: all. It begins at the limit, and grows with every unusable one that `look_further` counts.
    """
    limit = recipe.sources.limit
    try:
        return max(limit, int(read_json(_look(workspace))[str(limit)])) if limit else 0
    except (BadData, KeyError, TypeError, ValueError):
        return limit


def look_further(
    workspace: Workspace, recipe: Recipe, looked_at: Sequence[int], usable: Collection[int]
) -> bool:
    """Whether the stage must go round again to end with as many usable tracks as the limit says.

    `looked_at` are the tracks that were pulled to be checked, by id; `usable` those that passed.
    Where some are missing and the source has more, as many more are looked at; never too many, so
    the last one is usable in the end and the outcome follows from the source alone.
    """
    limit, looked = recipe.sources.limit, tracks_to_look_at(workspace, recipe)
    if not limit:
        return False
    missing = limit - len(usable)
    if missing < 0 or (not missing and looked_at[-1] not in usable):
        looked = limit  # what was noted came from another source: begin anew
    elif missing and len(looked_at) == looked:
        looked += missing
    else:
        return False
    write_json(_look(workspace), {str(limit): looked})
    return True


def shortage(recipe: Recipe, usable: int) -> str:
    """A sentence for a limit that the source could not fill."""
    return (
        f"Only {usable:,} of the {recipe.sources.limit:,} tracks asked for are usable: the source "
        "has no others that fit; catalog/rejects.parquet says what became of the rest."
    )


def choice_of(recipe: Recipe) -> list[Any]:
    """What the recipe's lists and conditions choose, as JSON: [] for everything."""
    sources = recipe.sources
    ids = [wanted_ids(recipe, side) for side in ("artwork", "track")]
    where = [sources.artwork_where, sources.track_where]
    unwanted = sorted(excluded(recipe).keys)
    if ids == [None, None] and where == ["", ""] and not unwanted:
        return []
    lists = [None if one is None else sorted(one) for one in ids]
    return [*where, *lists, *([unwanted] if unwanted else [])]


def wanted_ids(recipe: Recipe, side: str) -> frozenset[str] | None:
    """The items of one side that the recipe's lists name; None: all.

    Tracks are named by six digits, artworks by their `artwork_key`. Lists are the file of ids and
    the given pairs (the first ones, with a limit); what both name is wanted where there are both.
    Raises BadUsage when a file cannot be read or holds something else.
    """
    lists = []
    path = recipe.sources.ids if side == "track" else recipe.sources.artwork_ids
    if path:
        lists.append(_read_ids(Path(path), side))
    if recipe.pair.given:
        pairs = [pair for pair in read_pairs(Path(recipe.pair.given)) if not pair.fault]
        pairs = pairs[: recipe.sources.limit or None]
        lists.append(
            frozenset(
                f"{pair.track:06d}" if side == "track" else artwork_key(pair.artwork)
                for pair in pairs
            )
        )
    return frozenset.intersection(*lists) if lists else None


def excluded(recipe: Recipe) -> Listed:
    """The lines of `sources.without`: artworks and tracks that the build leaves out.

    Raises BadUsage when the file cannot be read.
    """
    if not recipe.sources.without:
        return Listed(())
    return Listed(_lines(Path(recipe.sources.without), "ids"))


def _read_ids(path: Path, side: str) -> frozenset[str]:
    kind = "track ids" if side == "track" else "artworks' image names"
    prefix = f"{side}:"
    found: set[str] = set()
    for line in _lines(path, kind):
        keys = line_keys(line)
        own = {key.removeprefix(prefix) for key in keys if key.startswith(prefix)}
        if keys and not own:
            raise BadUsage(f"{path} is not a list of {kind}, one a line: {line[:80]!r} is none.")
        found |= own
    return frozenset(found)


def _lines(path: Path, kind: str) -> list[str]:
    """The lines of a list that a person wrote, but for empty ones; `kind` is what they hold."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise BadUsage(f"{path}, a list of {kind}, cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise BadUsage(f"{path} is not a list of {kind}, one a line: {error}.") from error
    return [line.strip() for line in lines if line.strip()]


def _look(workspace: Workspace) -> Path:
    return workspace.parts / "ingest" / "staged" / "look.json"
