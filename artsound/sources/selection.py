"""What to ingest, decided from metadata alone: the rows with media to check, and the rest.

The sources are read once; the outcome is stored in the workspace's parts/ingest/staged, so that a
resumed build starts at once. A source that changed (a file's size, or its CRC-32 in a zip or time
of change in a folder) is read again, and the parts whose rows changed are done again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from artsound.errors import BadData, BadUsage
from artsound.recipe import Recipe
from artsound.rights import policy_condition
from artsound.sources.base import (
    COLUMNS,
    OPTIONS,
    PLACE_COLUMNS,
    Options,
    Place,
    places,
    read_place,
    snapshot,
)
from artsound.sources.item_names import (
    Listed,
    artwork_key,
    artwork_keys,
    creator_keys,
    line_keys,
    read_lines,
    track_keys,
)
from artsound.sources.published_pairs import read_pairs
from artsound.sql_filter import nearest, rows_where, without_match
from artsound.stage import Context, Part, split_into_parts
from artsound.storage import (
    Workspace,
    atomic_write,
    digest,
    read_json,
    sha256_bytes,
    sha256_file,
    write_json,
)

# What a recipe wants of the sources beyond a rights policy: lists, conditions, and how many.
#
# A limit counts usable tracks, and whether one is usable shows only when it is decoded. So as many
# tracks as the limit says are looked at first, and for each that cannot be used one more, round
# after round, until there are enough or the source has no more.


def tracks_to_look_at(workspace: Workspace, recipe: Recipe) -> int:
    """How many tracks that have audio and rights are looked at, to find as many as the limit says.

    0: all. It begins at the limit, and grows with every unusable one that `extend_limit` counts.
    """
    limit = recipe.sources.limit
    try:
        return max(limit, int(read_json(_read_listed(workspace))[str(limit)])) if limit else 0
    except (BadData, KeyError, TypeError, ValueError):
        return limit


def extend_limit(
    workspace: Workspace, recipe: Recipe, looked_at: Sequence[str], usable: Collection[str]
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
        looked = limit  # the stored ids are of another source: start again
    elif missing and len(looked_at) == looked:
        looked += missing
    else:
        return False
    write_json(_read_listed(workspace), {str(limit): looked})
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
    ids = [selected_ids(recipe, side) for side in ("artwork", "track")]
    where = [sources.artwork_where, sources.track_where]
    unwanted = [sorted(excluded(recipe).keys), sorted(opted_out(recipe).keys)]
    if ids == [None, None] and where == ["", ""] and unwanted == [[], []]:
        return []
    lists = [None if one is None else sorted(one) for one in ids]
    return [*where, *lists, *(one for one in unwanted if one)]


def selected_ids(recipe: Recipe, side: str) -> frozenset[str] | None:
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
                pair.track if side == "track" else artwork_key(pair.artwork) for pair in pairs
            )
        )
    return frozenset.intersection(*lists) if lists else None


def excluded(recipe: Recipe) -> Listed:
    """The lines of `sources.without`: artworks and tracks that the build leaves out.

    Raises BadUsage when the file cannot be read.
    """
    path = recipe.sources.without
    return Listed(read_lines(Path(path)) if path else ())


def opted_out(recipe: Recipe) -> Listed:
    """The lines of `sources.optouts`: items and creators that refuse AI training.

    Raises BadUsage when the file cannot be read.
    """
    path = recipe.sources.optouts
    return Listed(read_lines(Path(path), "opt-outs") if path else (), optouts=True)


def listed_digests(recipe: Recipe) -> dict[str, str]:
    """The SHA-256 digests that a recipe's lists name, and the list of each: what has them is known
    only when it is read.
    """
    sources = recipe.sources
    lists = {sources.without: excluded(recipe), sources.optouts: opted_out(recipe)}
    return {digest: path for path, listed in lists.items() for digest in sorted(listed.digests)}


@dataclass(frozen=True)
class Lists:
    """The lists of a recipe, by the key of the recipe; their lines learn what they match."""

    without: Listed
    optouts: Listed
    ids: Listed
    artwork_ids: Listed

    @classmethod
    def of(cls, recipe: Recipe) -> Lists:
        """Those of a recipe; BadUsage when one cannot be read."""
        paths = recipe.sources.ids, recipe.sources.artwork_ids
        wanted = [Listed(read_lines(Path(path)) if path else ()) for path in paths]
        return cls(excluded(recipe), opted_out(recipe), *wanted)

    @property
    def any_lines(self) -> bool:
        """Whether any of the lists has a line."""
        return any(one.lines for one in vars(self).values())

    def unmatched(self, recipe: Recipe) -> dict[str, list[str]]:
        """By the file of each list, its lines that named nothing."""
        lines = {name: list(getattr(self, name).unmatched) for name in vars(self)}
        return {getattr(recipe.sources, name): some for name, some in lines.items() if some}


def _read_ids(path: Path, side: str) -> frozenset[str]:
    kind = "track ids" if side == "track" else "artworks' image names"
    prefixes = ("track:", "key:") if side == "track" else ("artwork:",)
    found: set[str] = set()
    for line in read_lines(path, kind):
        keys = line_keys(line)
        own = {key.partition(":")[2] for key in keys if key.startswith(prefixes)}
        if keys and not own:
            raise BadUsage(f"{path} is not a list of {kind}, one a line: {line[:80]!r} is none.")
        found |= own
    return frozenset(found)


def _read_listed(workspace: Workspace) -> Path:
    return workspace.parts / "ingest" / "staged" / "look.json"


Refusal = tuple[str, str, str]  # kind, code and message of a reject

_STAGE = "ingest"
# Raised whenever the same sources and recipe would give other rows, here or in what is used here:
# the readers of both sources, the completion of names and dates, and the rights.
_VERSION = 6
_ARTWORKS_PER_TRACK = 4
_FEWEST_ARTWORKS = 64
_FAULTS = ("image-absent", "track-number-too-long")
_LOOKED_THROUGH = 10_000  # names, for the one nearest to an unknown name
# Columns in which every source has values; one without any says so in the report.
_EXPECTED = {
    "artwork": ("painter", "title", "year", "style", "genre"),
    "track": ("title", "artist", "genre", "license"),
}


@dataclass(frozen=True)
class Fetched:
    """The downloaded items of a source on a server, to which a build is limited.

    `wanted` has the ids that the recipe selects; None for a source on disk. `refused` has the
    reason for each that is unavailable.
    """

    wanted: tuple[str, ...] | None = None
    refused: Mapping[str, Refusal] = field(default_factory=dict)


def plan(context: Context) -> list[Part]:
    """The parts of the ingest stage: rows with media to check, then rows that fall out before.

    A part's inputs name its side, its staged rows and their digest. With a limit of N, tracks are
    read in the order of their ids up to the N-th that has audio and rights (further, once some
    have turned out to be unusable: see `extend_limit`), and 4 N artworks, at least 64, are taken
    evenly over the list, unless the recipe names them; rows beyond are not pulled at all.

    Raises BadUsage for a source that does not exist, BadData for one that cannot be used.
    """
    workspace, recipe = context.workspace, context.recipe
    options = Options.of(recipe)
    sources = {side: places(recipe, side) for side in OPTIONS}
    listed: dict[Place, tuple[Path, pl.DataFrame, Fetched]] = {}
    for place in (place for of_side in sources.values() for place in of_side):
        root = place.root(workspace, recipe)
        listed[place] = (
            root, place.list_files(root, options), read_fetched(workspace, recipe, place)
        )  # fmt: skip
    about: dict[str, Any] = {
        "version": _VERSION,
        "subset": recipe.sources.subset,
        "limit": recipe.sources.limit,
        "look_at": tracks_to_look_at(workspace, recipe),
        "chosen": choice_of(recipe),
        "rights": recipe.rights.model_dump(),
        "part_size": recipe.run.part_size,
    }
    key = digest({**about, "sources": _states(listed)})
    folder = _folder(workspace)
    kept = _kept_plan(folder, key)
    if kept is not None:
        return kept
    lists = Lists.of(recipe)
    digests = sorted(listed_digests(recipe))
    sides: dict[str, Any] = {}
    parts: list[Part] = []
    asides: list[Part] = []
    for side, of_side in sources.items():
        side_key = digest([side, {**about, "sources": _states(listed, side)}])
        # Lists look for their lines on both sides.
        before = {} if lists.any_lines else _kept_side(folder, side, side_key)
        blank: dict[str, int] = before.get("blank", {})
        snapshots: list[dict[str, Any]] = before.get("sources", [])
        if before:
            made = [Part(**part) for part in before["parts"]]
        else:
            chosen, aside = choose_rows(
                workspace, recipe, side, [(place, *listed[place]) for place in of_side],
                lists, blank, snapshots,
            )  # fmt: skip
            if chosen.is_empty():
                where = " and ".join(str(listed[place][0]) for place in of_side)
                if aside.is_empty():
                    raise BadData(f"{where} has no {side} at all.")
                raise BadData(f"{where} has no usable {side}: {count_reasons(aside['reason'])}.")
            # What a package gave is made again when the package changes.
            packages = [found for place in of_side if (found := place.package())]
            size = recipe.run.part_size
            made = _stage_rows(folder, side, f"{side}s", chosen, size, packages)
            made += _stage_rows(
                folder, side, f"{side}s-aside", aside, max(1, aside.height), packages
            )
        names = [f"{side}s.parquet", f"{side}s-aside.parquet"]
        sides[side] = {
            "key": side_key,
            "files": {name: sha256_file(folder / name) for name in names},
            "parts": [_as_json(part) for part in made],
            "blank": blank,
            "sources": snapshots,
        }
        asides += [part for part in made if is_aside(part)]
        # Digests are compared when media are read.
        parts += [
            replace(part, inputs={**part.inputs, "digests": digests}) if digests else part
            for part in made
            if not is_aside(part)
        ]
    parts += asides
    stored = {
        "key": key,
        "files": {name: sha for one in sides.values() for name, sha in one["files"].items()},
        "parts": [_as_json(part) for part in parts],
        "unmatched": lists.unmatched(recipe),
        "blank": {name: rows for one in sides.values() for name, rows in one["blank"].items()},
        "sources": [snapshot for one in sides.values() for snapshot in one["sources"]],
        "sides": sides,
    }
    write_json(folder / "plan.json", stored)
    return parts


def _states(
    listed: Mapping[Place, tuple[Path, pl.DataFrame, Fetched]], side: str = ""
) -> list[list[Any]]:
    """What identifies the content of the sources, or of those of one side, without reading it."""
    return [
        [place.side, place.number, place.identity(), asdict(fetched), _frame_digest(files)]
        for place, (_, files, fetched) in listed.items()
        if side in ("", place.side)
    ]


def _as_json(part: Part) -> dict[str, Any]:
    return {"name": part.name, "items": part.items, "inputs": dict(part.inputs)}


def choose_rows(
    workspace: Workspace,
    recipe: Recipe,
    side: str,
    sources: Sequence[tuple[Place, Path, pl.DataFrame, Fetched]],
    lists: Lists | None = None,
    blank: dict[str, int] | None = None,
    snapshots: list[dict[str, Any]] | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of one side to work on, by key, and those that fall out, ready-made rejects.

    Args:
        workspace: The build's.
        recipe: What to build.
        side: "artwork" or "track".
        sources: Each source of the side, where it is, its files, and what was fetched of it, which
            narrows it to what was asked of a server.
        lists: Those of the recipe; their lines learn what they match. They are looked for in whole
            sources, before any selection.
        blank: Gets the columns without any value.
        snapshots: Gets the state of each source.

    Returns:
        The rows, with ``origin``, the place of the row's source in `places`; and the rejects.

    Raises:
        BadData: A source cannot be read.
        BadUsage: The recipe's lists or conditions cannot be used.
    """
    lists = lists or Lists.of(recipe)
    table = _read_all(
        recipe, side, [(place, root, files) for place, root, files, _ in sources], snapshots
    )
    if blank is not None:
        for place, *_ in sources:
            of_place = table.filter(pl.col("origin") == origin_of(recipe, place))
            blank |= _blank_columns(side, of_place, f"_in_{place.name}" if sources[1:] else "")
    roots = " and ".join(str(root) for _, root, _, _ in sources)
    table = _selected(table, recipe, side, roots, lists)
    refusals: dict[str, Refusal] = {}
    for place, _, _, fetched in sources:
        if fetched.wanted is not None:
            other = pl.col("origin") != origin_of(recipe, place)
            table = table.filter(other | pl.col("item_id").is_in(fetched.wanted))
        refusals |= fetched.refused
    refused = [refusals.get(item, ("", "", "")) for item in table["item_id"]]
    table = table.with_columns(
        pl.Series(name, [one[number] for one in refused], dtype=pl.String)
        for number, name in enumerate(("refused_kind", "refused_code", "refused_message"))
    )
    if side == "artwork":
        return _choose_artworks(table, recipe)
    return _choose_tracks(table, recipe, tracks_to_look_at(workspace, recipe))


def origin_of(recipe: Recipe, place: Place) -> int:
    """Where a source stands among those of its side."""
    return places(recipe, place.side).index(place)


def _read_all(
    recipe: Recipe,
    side: str,
    sources: Sequence[tuple[Place, Path, pl.DataFrame]],
    snapshots: list[dict[str, Any]] | None = None,
) -> pl.DataFrame:
    """The rows of some sources of one side, whole, with `item_id`, `origin` and `allowed`.

    Rights follow from whole sources: what a selection leaves out still dates a painter. Raises
    BadData where two items have one key.
    """
    options, tables = Options.of(recipe), []
    for place, root, files in sources:
        read = read_place(place, root, files, options)
        if snapshots is not None:
            snapshots.append(snapshot(place, read))
        number = pl.lit(origin_of(recipe, place), dtype=pl.Int32).alias("origin")
        tables.append(read.with_columns(number))
    table = pl.concat(tables) if len(tables) > 1 else tables[0]
    key = f"{side}_id"
    if (twice := table.filter(pl.col(key).is_duplicated())).height:
        first = twice.filter(pl.col(key) == twice[key][0])
        names = " and ".join(sorted(set(first["own_id"])))
        raise BadData(
            f"Two {side}s have the key {twice[key][0]!r} ({names}): rename one, or name its "
            "source twice under different names."
        )
    allowed = pl.sql_expr(policy_condition(recipe.rights.policy, [""]))
    return table.with_columns(pl.col(key).alias("item_id"), allowed.alias("allowed"))


def check_selection(recipe: Recipe, side: str) -> None:
    """Look whether places on disk are sources, and whether the recipe selects anything of them.

    Metadata is read only where there is a selection.

    Args:
        recipe: What to build.
        side: "artwork" or "track".

    Raises:
        BadUsage: When a source does not exist, or the selection leaves nothing of them.
        BadData: When a place is not a source of its kind, or cannot be read.
    """
    options, sources = Options.of(recipe), places(recipe, side)
    here = [place for place in sources if not place.is_made and not place.address]
    read = []
    for place in here:
        root = Path(place.place)
        read.append((place, root, place.list_files(root, options)))
    where = getattr(recipe.sources, f"{side}_where")
    if len(here) == len(sources) and (where or selected_ids(recipe, side) is not None):
        roots = " and ".join(str(root) for _, root, _ in read)
        _selected(_read_all(recipe, side, read), recipe, side, roots, Lists.of(recipe))
        return
    for place, root, files in read:
        if check := place.get("check"):
            check(side, root, files)


def _selected(
    table: pl.DataFrame, recipe: Recipe, side: str, root: str, lists: Lists
) -> pl.DataFrame:
    """The rows of one side that the recipe's condition and lists select.

    `root` is what messages call the sources. Raises BadUsage, with the nearest value, when they
    select none.
    """
    # Lines look for items in the whole source, so that none counts as unmatched by selection.
    wanted = lists.ids if side == "track" else lists.artwork_ids
    _listed(wanted, side, table)
    table = table.with_columns(
        _listed(lists.without, side, table).alias("withdrawn"),
        _listed(lists.optouts, side, table).alias("opted_out"),
    )
    kept = table
    if where := getattr(recipe.sources, f"{side}_where"):
        metadata = _with_nulls(
            table.select(name for name in COLUMNS[side] if name not in PLACE_COLUMNS)
        )
        kept = kept.filter(rows_where(metadata, where))
        if kept.is_empty() and not table.is_empty():
            raise BadUsage(
                f"No {side} of {root} fulfils the condition {where!r}: "
                f"{without_match(metadata, where)}"
            )
    ids = selected_ids(recipe, side)
    if ids is not None:
        named = [not ids.isdisjoint(_spellings(side, *row)) for row in
                 kept.select("item_id", "own_id").iter_rows()]  # fmt: skip
        before, kept = kept, kept.filter(pl.Series(named, dtype=pl.Boolean))
        if kept.is_empty() and not before.is_empty():
            raise BadUsage(_no_id(table, recipe, side, root, ids))
    if lists.without.lines:
        before, kept = kept, kept.filter(~pl.col("withdrawn"))
        if kept.is_empty() and not before.is_empty():
            raise BadUsage(
                f"{recipe.sources.without} lists every {side} of {root} that the recipe selects: "
                "shorten it, or select others."
            )
    return kept.drop("withdrawn")


def _with_nulls(metadata: pl.DataFrame) -> pl.DataFrame:
    """Metadata as conditions see it: null where "" or -1 stands for unknown."""
    return metadata.with_columns(
        pl.when(pl.col(name) != unknown).then(pl.col(name)).alias(name)
        for name, kind in metadata.schema.items()
        for unknown in ([""] if kind == pl.String else [-1] if kind.is_integer() else [])
    )


def _spellings(side: str, key: str, own_id: str) -> set[str]:
    """How lists may call an item, as `selected_ids` has it: by its key, or as its source does."""
    if side == "artwork":
        return {artwork_key(key), artwork_key(own_id)}
    return {plain for one in (key, own_id) for _, _, plain in
            (name.partition(":") for name in track_keys(one))}  # fmt: skip


def _no_id(table: pl.DataFrame, recipe: Recipe, side: str, root: str, ids: frozenset[str]) -> str:
    """Why a list of ids selects nothing of a source, with the nearest id that it has."""
    option = recipe.sources.ids if side == "track" else recipe.sources.artwork_ids
    place = " and ".join(name for name in (option, recipe.pair.given) if name)
    if not ids:
        return f"{place} selects no {side}: it is empty, or its lists have nothing in common."
    first = min(ids)
    rows = table.select("item_id", "own_id").iter_rows()
    if any(not ids.isdisjoint(_spellings(side, *row)) for row in rows):
        where = getattr(recipe.sources, f"{side}_where")
        return f"No {side} that {place} names fulfils the condition {where!r}."
    numbers = [one for one in table["item_id"] if one.isdecimal()] if first.isdecimal() else []
    if side == "track" and numbers:
        near = min(numbers, key=lambda one: abs(int(one) - int(first)))
    else:
        alike = [one for one in table["item_id"] if artwork_key(one)[:3] == first[:3]]
        near = nearest(first, alike or table["item_id"].head(_LOOKED_THROUGH).to_list(), 0.3)
    hint = f"; the nearest to {first!r} is {near!r}." if near else "."
    return f"No {side} of {root} is named in {place}{hint}"


def unmatched_lines(workspace: Workspace) -> dict[str, list[str]]:
    """By the file of each list, its lines that name no item of either source, after `plan`."""
    return dict(read_json(_folder(workspace) / "plan.json").get("unmatched", {}))


def blank_columns(workspace: Workspace) -> dict[str, int]:
    """The columns without any value in a whole source, with its rows, after `plan`."""
    return dict(read_json(_folder(workspace) / "plan.json").get("blank", {}))


def snapshots_of(workspace: Workspace) -> list[dict[str, Any]]:
    """The states of the sources when the stage was planned, as `snapshot` gives them."""
    return list(read_json(_folder(workspace) / "plan.json")["sources"])


def is_aside(part: Part) -> bool:
    """Whether a part holds rows that were set aside: rejects, ready-made."""
    return str(part.inputs["rows"]).endswith("-aside")


def staged_rows(context: Context, part: Part) -> list[dict[str, Any]]:
    """The rows of one part: metadata and where the media lies, or rejects for one set aside."""
    rows: list[dict[str, Any]] = staged_table(context, part).to_pylist()
    return rows


def staged_table(context: Context, part: Part) -> pa.Table:
    """The same as a table."""
    path = _folder(context.workspace) / f"{part.inputs['rows']}.parquet"
    # What the file says of all its parts takes longer to parse than the rows of one.
    about = context.once(f"rows of {path.name}", lambda: pq.read_metadata(path), [path])
    with pq.ParquetFile(path, metadata=about) as file:
        return file.read_row_group(part.inputs["group"])


def fetched_path(workspace: Workspace, place: Place) -> Path:
    """Where what was fetched of a source is written down."""
    return workspace.sources / f"{place.name}.json"


def read_fetched(workspace: Workspace, recipe: Recipe, place: Place) -> Fetched:
    """What was fetched of a source; everything, for a source on disk."""
    if not place.must_fetch(recipe):
        return Fetched()
    kept = read_json(fetched_path(workspace, place))
    return Fetched(
        None if kept["wanted"] is None else tuple(kept["wanted"]),
        {item: tuple(why) for item, why in kept["refused"].items()},
    )


def count_reasons(codes: Iterable[str]) -> str:
    """The commonest reason codes with their counts, for a sentence."""
    return ", ".join(f"{count} × {code}" for code, count in Counter(codes).most_common(5)) or "none"


def _folder(workspace: Workspace) -> Path:
    return workspace.parts / _STAGE / "staged"


def _blank_columns(side: str, table: pl.DataFrame, where: str) -> dict[str, int]:
    """`artworks_all_without_style: N` for each column that has no value in any of N rows.

    `where` follows the names: which source it is, where there are several.
    """
    return {
        f"{side}s_all_without_{column}{where}": table.height
        for column in _EXPECTED[side]
        if table.height and table[column].is_in([-1 if column == "year" else ""]).all()
    }


def _listed(lines: Listed, side: str, table: pl.DataFrame) -> pl.Series:
    """Which rows a list names, by key, by the source's own id, by address or by creator."""
    if not lines.lines:
        return pl.Series([False], dtype=pl.Boolean).new_from_index(0, table.height)
    keys_of = artwork_keys if side == "artwork" else track_keys
    names = ("painter", "painter_id") if side == "artwork" else ("artist",)
    return pl.Series(
        [
            lines.names(keys_of(key, url) | keys_of(own) | _creators(people))
            for key, own, url, *people in table.select(
                "item_id", "own_id", "source_url", *names
            ).iter_rows()
        ],
        dtype=pl.Boolean,
    )


def _creators(names: Iterable[str]) -> frozenset[str]:
    return frozenset().union(*(creator_keys(name) for name in names))


def _choose_artworks(table: pl.DataFrame, recipe: Recipe) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The artworks to work on, by id, and those set aside with their reasons."""
    table = table.with_columns(
        _reason(
            {
                "opted-out": pl.col("opted_out"),
                "rights-policy": ~pl.col("allowed"),
                "image-absent": pl.col("name") == "",
            }
        )
    )
    chosen, aside = _set_aside(table.sort("artwork_id"), recipe)
    most = max(_ARTWORKS_PER_TRACK * recipe.sources.limit, _FEWEST_ARTWORKS)
    named = selected_ids(recipe, "artwork") is not None
    if recipe.sources.limit and not named and chosen.height > most:
        chosen = chosen[[number * chosen.height // most for number in range(most)]]
        aside = aside.clear()
    return chosen, aside


def _choose_tracks(
    table: pl.DataFrame, recipe: Recipe, most: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tracks to work on, by id, at most `most` (0: all), and those set aside with reasons."""
    table = table.with_columns(
        _reason(
            {
                "opted-out": pl.col("opted_out"),
                "rights-policy": ~pl.col("allowed"),
                "no-audio-here": pl.col("name") == "",
            }
        )
    )
    table = table.sort("track_id")
    if most:  # one that could not be fetched was looked at, too
        looked_at = (table["reason"] == "") | (table["refused_code"] != "")
        taken_before = looked_at.cum_sum().shift(1, fill_value=0)
        table = table.filter(taken_before < most)
    return _set_aside(table, recipe)


def _reason(tests: Mapping[str, pl.Expr]) -> pl.Expr:
    """Why an item falls out, as a column `reason`.

    It was refused, its source sets it aside, or the first test that holds. Empty when it stays.
    """
    reason = pl.lit("")
    for code, test in reversed(list(tests.items())):
        reason = pl.when(test).then(pl.lit(code)).otherwise(reason)
    reason = pl.when(pl.col("aside") != "").then(pl.col("aside")).otherwise(reason)
    refused = pl.col("refused_code")
    return pl.when(refused != "").then(refused).otherwise(reason).alias("reason")


def _set_aside(table: pl.DataFrame, recipe: Recipe) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows without a reason to fall out, and rejects for the others."""
    sentences = {
        "image-absent": "the mapping names this image, but this copy does not hold it",
        "no-audio-here": "this copy holds no audio for the track",
        "opted-out": f"{recipe.sources.optouts} says that it may not be used for AI training",
        "rights-policy": f"the rights fall short of the policy `{recipe.rights.policy}`",
    }
    out = table.filter(pl.col("reason") != "").select(
        "item_id",
        pl.when(pl.col("reason") == pl.col("refused_code"))
        .then(pl.col("refused_kind"))
        .when(pl.col("reason").is_in(_FAULTS))
        .then(pl.lit("failed"))
        .otherwise(pl.lit("filtered"))
        .alias("kind"),
        "reason",
        pl.col("reason")
        .replace_strict(
            sentences,
            default=pl.when(pl.col("reason") == pl.col("refused_code"))
            .then(pl.col("refused_message"))
            .otherwise(pl.col("aside_message")),
            return_dtype=pl.String,
        )
        .alias("message")
        + pl.when(pl.col("reason") == "rights-policy")
        .then(pl.concat_str(pl.lit(": "), "rights_reason"))
        .otherwise(pl.lit("")),
    )
    kept = table.filter(pl.col("reason") == "")
    done_with = (
        "reason", "allowed", "opted_out", "item_id", "own_id", "aside", "aside_message",
        "refused_kind", "refused_code", "refused_message",
    )  # fmt: skip
    return kept.drop(done_with), out


_CONTENT = ("origin", "box", "name", "size", "stamp")


def contents_of(rows: pa.Table) -> list[str]:
    """For each row the digest of what identifies the bytes of its medium without reading them."""
    return [digest(list(row)) for row in zip(*(rows[n].to_pylist() for n in _CONTENT), strict=True)]


def staged_contents(workspace: Workspace, side: str) -> dict[str, str]:
    """`contents_of` every staged row with a medium, by its id."""
    path = _folder(workspace) / f"{side}s.parquet"
    rows = pq.read_table(path, columns=[f"{side}_id", *_CONTENT])
    return dict(zip(rows[f"{side}_id"].to_pylist(), contents_of(rows), strict=True))


def _stage_rows(
    folder: Path,
    side: str,
    name: str,
    rows: pl.DataFrame,
    size: int,
    packages: Sequence[Mapping[str, Any]],
) -> list[Part]:
    """Write rows to staged/`name`.parquet, a row group of `size` rows for each part."""
    made_by = {"packages": list(packages)} if packages else {}
    with atomic_write(folder / f"{name}.parquet") as file:
        pq.write_table(rows.to_arrow(), file, compression="zstd", row_group_size=size)
    return [
        Part(
            part,
            stop - start,
            {
                "side": side,
                "rows": name,
                "group": group,
                "digest": _frame_digest(rows[start:stop]),
                **made_by,
            },
        )
        for group, (part, start, stop) in enumerate(split_into_parts(name, rows.height, size))
    ]


def _kept_plan(folder: Path, key: str) -> list[Part] | None:
    """The parts of the plan on disk when it is whole and made from the same inputs."""
    try:
        kept: Mapping[str, Any] = read_json(folder / "plan.json")
        if kept["key"] != key:
            return None
        if any(sha256_file(folder / name) != sha256 for name, sha256 in kept["files"].items()):
            return None
        return [Part(**part) for part in kept["parts"]]
    except (BadData, OSError, KeyError, TypeError):
        return None


def _kept_side(folder: Path, side: str, key: str) -> dict[str, Any]:
    """What the plan on disk has of one side made from the same inputs; else empty."""
    try:
        kept: dict[str, Any] = read_json(folder / "plan.json")["sides"][side]
        changed = any(sha256_file(folder / name) != sha for name, sha in kept["files"].items())
        return {} if kept["key"] != key or changed else kept
    except (BadData, OSError, KeyError, TypeError):
        return {}


def _frame_digest(frame: pl.DataFrame) -> str:
    return sha256_bytes(frame.write_ndjson().encode())
