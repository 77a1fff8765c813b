"""The first stage: raw sources in, a checked catalogue and content-addressed media out.

Planning (selection.py) reads the metadata of both sources once, and splits the rows into those
with media to check and those that fall out beforehand, each with its reason. A part then reads
the media of its rows, decodes and checks them, and keeps the original bytes; of a clip in another
format than MP3, which is what releases hold, an MP3 made of it. Finishing finds
near-duplicates over everything and writes catalog/artworks.parquet and catalog/tracks.parquet,
sorted by id.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artsound import plugins
from artsound.errors import BadData
from artsound.media import MediaError
from artsound.media.audio import release_mp3
from artsound.media.fingerprint import clusters, near_audio, near_images
from artsound.media.limits import limited
from artsound.media.quality import PICTURE_QUALITY, SOUND_QUALITY, PictureQuality, SoundQuality
from artsound.progress import Progress
from artsound.recipe import Recipe
from artsound.schema import Reject, arrow_schema, to_table
from artsound.sources.base import SNAPSHOTS, Options, all_places, check_on_disk, places
from artsound.sources.fetch import check_servers, fetch_sources
from artsound.sources.files import UnreadableFile, read_file
from artsound.sources.item_names import line_keys, names_nothing
from artsound.sources.selection import (
    blank_columns,
    check_selection,
    choice_of,
    contents_of,
    count_reasons,
    extend_limit,
    is_aside,
    listed_digests,
    plan,
    shortage,
    snapshots_of,
    staged_contents,
    staged_rows,
    staged_table,
    unmatched_lines,
)
from artsound.stage import (
    Context,
    Outcome,
    Part,
    Report,
    Stage,
    damaged_files_of,
    failures_path,
    in_order,
    is_made_from,
    part_path,
    read_rejects,
    recall,
    remember,
)
from artsound.storage import (
    Workspace,
    begun,
    read_parquet,
    sha256_bytes,
    store_media,
    write_json,
    write_parquet,
    write_parquet_tables,
)
from artsound.storage import (
    digest as digest_of,
)

NAME = "ingest"

_NOT_MEASURED = -1.0
_KINDS = {"artwork": "image", "track": "audio"}
_MEASURED = {
    "artwork": (
        "image_path", "image_sha256", "image_bytes", "image_format", "width", "height",
        "image_phash", *PICTURE_QUALITY,
    ),
    "track": (
        "audio_path", "audio_sha256", "audio_bytes", "audio_format", "duration", "sample_rate",
        "channels", "loudness", "peak", "fingerprint",
        *SOUND_QUALITY,
    ),
}  # fmt: skip
_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif"}


def check(context: Context) -> None:
    """Raise BadUsage or BadData for a source, a list or a file of pairs that is not there, and for
    a selection that leaves nothing of a source on this disk.

    A recipe that the workspace holds already was found good before it was written there.
    """
    workspace, recipe = context.workspace, context.recipe
    choice_of(recipe)
    for place in all_places(recipe):
        check_on_disk(place)
    if not begun(workspace, recipe):
        for side in ("artwork", "track"):
            check_selection(recipe, side)
        check_servers(recipe)


def prepare(context: Context, progress: Progress) -> None:
    """Bring the sources to this disk: make those made by code, fetch those on servers."""
    workspace, recipe = context.workspace, context.recipe
    for place in all_places(recipe):
        if place.is_made:
            place.source.write(place.side, workspace.root, Options.of(recipe), progress)
    fetch_sources(workspace, recipe, progress)


def downloads(recipe: Recipe) -> bool:
    """Whether a source is on a server, or a part of it."""
    return any(place.must_fetch(recipe) for place in all_places(recipe))


def work(context: Context, part: Part) -> Outcome:
    """Check and keep the media of one part's rows; full records go to the part's file."""
    workspace, recipe = context.workspace, context.recipe
    side = part.inputs["side"]
    if is_aside(part):
        rows = staged_rows(context, part)
        return Outcome(rejects=tuple(Reject(NAME, side, **row) for row in rows))
    staged = staged_table(context, part)
    ids, kind = staged[f"{side}_id"].to_pylist(), _KINDS[side]
    roots = [place.root(workspace, recipe) for place in places(recipe, side)]
    digests = listed_digests(recipe)
    take = _take_image if side == "artwork" else _take_audio
    there, known, described = _taken_before(context, side, staged, ids, compare=not digests)
    records: list[dict[str, Any]] = []
    descriptors: list[dict[str, Any]] = []
    rest = staged.filter(pa.array(~there))
    rest, rejects = _failed_before(context, side, rest, compare=not digests)
    for row in rest.to_pylist():
        try:
            data = read_file(roots[row["origin"]], row["box"], row["name"])
            if digests and (digest := sha256_bytes(data)) in digests:
                why = f"{digests[digest]} lists its SHA-256, {digest}"
                rejects.append(
                    Reject(NAME, side, _item_id(side, row), "filtered", "withdrawn", why)
                )
                continue
            record, found = take(workspace, recipe, row, data)
            records.append(record)
            descriptors.append({f"{side}_id": _item_id(side, row), **found})
        except (MediaError, UnreadableFile) as error:
            item = _item_id(side, row)
            rejects.append(Reject(NAME, side, item, "failed", error.reason, str(error)))
    order = {item: number for number, item in enumerate(ids)}
    rejects.sort(key=lambda reject: order[reject.item_id])
    table = in_order(ids, [known, to_table(side, records)])
    measured = in_order(ids, [described, to_table(f"{side}_descriptors", descriptors)])
    # The marker vouches for the media too: one that is lost or damaged is taken again.
    columns = (table[f"{kind}_{name}"].to_pylist() for name in ("path", "sha256"))
    written = {workspace.path(place): sha256 for place, sha256 in zip(*columns, strict=True)}
    for path, name, rows in (
        (part_path(workspace, NAME, part.name), side, table),
        (_measured_part(workspace, part), f"{side}_descriptors", measured),
    ):
        written[path] = write_parquet(path, name, rows, durable=False)
    return Outcome(tuple(written), table.num_rows, tuple(rejects), digests=written)


def finish(context: Context, results: Sequence[Report]) -> Outcome:
    """Merge the parts, cluster near-duplicates, write the catalogue.

    With near-duplicates dropped by recipe, the first of each cluster stays. With a limit that
    unusable tracks left short, the stage goes round again. Raises BadData when no artwork or no
    track was usable.
    """
    workspace, recipe = context.workspace, context.recipe
    extra: dict[str, int] = {}
    note = ""
    unmatched = _unmatched(workspace, results)
    extra |= blank_columns(workspace)
    write_json(workspace.catalog / SNAPSHOTS, snapshots_of(workspace))
    files: list[Path] = [workspace.catalog / SNAPSHOTS]
    rejects: list[Reject] = []
    policies = {"artwork": recipe.images.near_duplicates, "track": recipe.audio.near_duplicates}
    for side, policy in policies.items():
        of_side = [result for result in results if result.done.inputs["side"] == side]
        made_from = _made_from(side, policy, of_side)
        unchanged = policy != "drop" and _is_gathered(context, side, made_from)
        ids, cluster = (
            _gathered(workspace, side) if unchanged else _clusters(context, side, results)
        )
        extra[f"{side}s_in"] = sum(result.done.items for result in of_side)
        extra[f"{side}s_near_duplicate"] = len(ids) - len(set(cluster))
        if policy == "drop":
            rejects.extend(
                Reject(
                    NAME,
                    side,
                    item,
                    "filtered",
                    "near-duplicate",
                    f"the {side} is nearly the same as {first}, which is kept",
                )
                for item, first in zip(ids, cluster, strict=True)
                if item != first
            )
        usable = set(cluster if policy == "drop" else ids)
        if side == "track" and recipe.sources.limit > 0:
            looked_at, found = _looked_at(context, results), usable
            if extend_limit(workspace, recipe, looked_at, found):
                return Outcome(again=True)
            note = shortage(recipe, len(usable)) if len(usable) < recipe.sources.limit else ""
        if not usable:
            raise BadData(f"No {side} could be used: {_reasons(workspace, side, results)}.")
        extra[f"{side}s_out"] = len(usable)
        path = _catalogue(workspace, side)
        files += [path, measured_path(workspace, side), failures_path(workspace, NAME, side)]
        if unchanged:
            continue
        # Their rows are checked when they are written.
        records = _tables(workspace, side, results, arrow_schema(side).names)
        tables = _with_clusters(records, cluster, policy == "drop")
        write_parquet_tables(path, side, tables)
        written = read_parquet(path, side, [f"{side}_id"])[f"{side}_id"].to_pylist()
        contents = staged_contents(workspace, side)
        stamps = [contents[item] for item in written]
        made_by = _made_by(recipe, side)
        remember(workspace, made_by, path, written, stamps, made_from=made_from)
        _remember_failures(context, side, results, contents, made_from)
        columns = (f"{side}_id", f"{_KINDS[side]}_sha256")
        media: Iterable[pa.Table] = [read_parquet(path, side, columns)]
        if policy == "drop":  # not all are in the catalogue
            media = _tables(workspace, side, results, columns)
        _gather_measures(workspace, side, results, media, made_from)
    if unmatched:
        extra["lines_unmatched"] = sum(map(len, unmatched.values()))
        said = [names_nothing(path, "the sources", lines) for path, lines in unmatched.items()]
        note = " ".join([note, *said]).strip()
    return Outcome(tuple(files), 0, tuple(rejects), extra, note=note)


STAGE = Stage(
    name=NAME,
    version=6,
    sections=("images", "audio", "rights"),
    plan=plan,
    work=work,
    finish=finish,
    prepare=prepare,
    downloads=downloads,
    check=check,
)


def _catalogue(workspace: Workspace, side: str) -> Path:
    return workspace.catalog / f"{side}s.parquet"


# The descriptors of what was decoded, for the embed stage, so that nothing is decoded twice. That
# stage asks `recall` for them, and measures by itself what is not there.


def measured_path(workspace: Workspace, side: str) -> Path:
    """The table of the measured descriptors of one side, "artwork" or "track"; see `recall`."""
    return workspace.parts / NAME / f"measured-{side}s.parquet"


def _affect() -> Any:
    """The encoder of measured descriptors, from the registry: it belongs to a higher room."""
    return plugins.get("encoder", "affect")[0]


def _measured_part(workspace: Workspace, part: Part) -> Path:
    return part_path(workspace, NAME, part.name, ".measured.parquet")


def _made_from(side: str, policy: str, results: Sequence[Report]) -> str:
    """The digest of all parts that the catalogue of a side is gathered from, and of how."""
    parts = [[one.done.name, dict(one.done.inputs), dict(one.files)] for one in results]
    return digest_of([STAGE.version, side, policy, parts])


def _is_gathered(context: Context, side: str, made_from: str) -> bool:
    """Whether catalogue, measures and failures of a side are those of just these parts."""
    workspace = context.workspace
    tables = {
        _catalogue(workspace, side): _made_by(context.recipe, side),
        measured_path(workspace, side): _affect().made_by,
        failures_path(workspace, NAME, side): _made_by(context.recipe, side),
    }
    return all(is_made_from(workspace, path, by, made_from) for path, by in tables.items())


def _gathered(workspace: Workspace, side: str) -> tuple[list[str], list[str]]:
    """`_clusters` of a side whose catalogue is complete."""
    table = read_parquet(_catalogue(workspace, side), side, [f"{side}_id", "cluster"])
    return table[f"{side}_id"].to_pylist(), table["cluster"].to_pylist()


def _gather_measures(
    workspace: Workspace,
    side: str,
    results: Sequence[Report],
    media: Iterable[pa.Table],
    made_from: str,
) -> None:
    """Write the descriptors of all parts into one table, and let `recall` find them.

    `media` has the id and the digest of every medium.
    """
    name = f"{side}_descriptors"
    contents: dict[str, str] = {}
    for table in media:
        contents.update(zip(*(column.to_pylist() for column in table.columns), strict=True))
    tables = [to_table(name, [])]
    for result in results:
        path = _measured_part(workspace, result.done)
        if workspace.relative(path) in result.files and result.done.inputs["side"] == side:
            # Their rows are checked when they are written.
            tables.append(read_parquet(path, name, arrow_schema(name).names))
    table = pa.concat_tables(tables)
    path = measured_path(workspace, side)
    write_parquet(path, name, table)
    ids = table[f"{side}_id"].to_pylist()
    digests = [contents[item] for item in ids]
    remember(workspace, _affect().made_by, path, ids, digests, made_from=made_from)


def _made_by(recipe: Recipe, side: str) -> str:
    """The digest of all that the record of a picture or clip depends on, besides its bytes."""
    limits = recipe.images if side == "artwork" else recipe.audio
    return digest_of([STAGE.version, limits.model_dump()])


def _taken_before(
    context: Context, side: str, staged: pa.Table, ids: Sequence[str], *, compare: bool
) -> tuple[np.ndarray, pa.Table, pa.Table]:
    """The media of a part that are as they were when the run before checked them; see `recall`.

    Args:
        context: The stage's.
        side: "artwork" or "track".
        staged: The rows of the part.
        ids: Their items.
        compare: Whether to look for any.

    Returns:
        Which rows they are, bool [n], their records, and their descriptors.
    """
    workspace, kind = context.workspace, _KINDS[side]
    made_by, table = _made_by(context.recipe, side), _catalogue(workspace, side)
    there = np.zeros(len(ids), dtype=bool)
    known = arrow_schema(side).empty_table()
    if compare:
        there, known = recall(context, made_by, table, side, ids, contents_of(staged))
    paths, digests = (known[f"{kind}_{name}"].to_pylist() for name in ("path", "sha256"))
    damaged = set(damaged_files_of(workspace, dict(zip(paths, digests, strict=True))))
    sound = np.array([path not in damaged for path in paths], dtype=bool)
    there[there] = sound
    known = known.filter(pa.array(sound))
    _, described = recall(
        context, _affect().made_by, measured_path(workspace, side), f"{side}_descriptors",
        known[f"{side}_id"].to_pylist(), known[f"{kind}_sha256"].to_pylist(),
    )  # fmt: skip
    # What lacks descriptors is decoded again, so that a part has the same bytes in every build.
    whole = pc.is_in(known[f"{side}_id"], value_set=described[f"{side}_id"].combine_chunks())
    there[there] = whole.to_numpy()
    known = known.filter(whole)
    return there, _with_metadata(side, staged.filter(pa.array(there)), known), described


# Reasons that may lie in the machine as well as in the content: these media are tried again.
_MAY_PASS = re.compile(r"file-.*|.*-(?:too-slow|too-large|crash)")


def _failed_before(
    context: Context, side: str, rows: pa.Table, *, compare: bool
) -> tuple[pa.Table, list[Reject]]:
    """Those of a part's rows that are to be decoded, and rejects of the others.

    A medium whose content the run before found unusable is not decoded again; without `compare`,
    all are.
    """
    if not compare:
        return rows, []
    workspace, made_by = context.workspace, _made_by(context.recipe, side)
    failures = failures_path(workspace, NAME, side)
    ids = rows[f"{side}_id"].to_pylist()
    found, known = recall(
        context, made_by, failures, "reject", ids, contents_of(rows), key="item_id"
    )
    return rows.filter(pa.array(~found)), [Reject(**row) for row in known.to_pylist()]


def _remember_failures(
    context: Context,
    side: str,
    results: Sequence[Report],
    contents: Mapping[str, str],
    made_from: str,
) -> None:
    """Let `_failed_before` find what failed in the parts, by the contents of staged rows."""
    workspace = context.workspace
    failed = [
        row
        for row in _rejects(workspace, results, (side,))
        if row["kind"] == "failed"
        and row["item_id"] in contents
        and not _MAY_PASS.fullmatch(row["reason"])
    ]
    path, ids = failures_path(workspace, NAME, side), [row["item_id"] for row in failed]
    write_parquet(path, "reject", failed)
    made_by, stamps = _made_by(context.recipe, side), [contents[item] for item in ids]
    remember(workspace, made_by, path, ids, stamps, made_from=made_from)


def _with_metadata(side: str, staged: pa.Table, known: pa.Table) -> pa.Table:
    """Records with what was measured before, and all else of today's rows; see `_fields`."""
    columns = {"cluster": staged[f"{side}_id"]}
    columns |= {name: staged[name] for name in _fields(side, dict.fromkeys(staged.column_names))}
    columns |= {name: known[name] for name in _MEASURED[side]}
    schema = arrow_schema(side)
    arrays = [columns[field.name].cast(field.type) for field in schema]
    return pa.table(arrays, schema=schema)


def _take_image(
    workspace: Workspace, recipe: Recipe, row: Mapping[str, Any], data: bytes
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """The record of a picture, and its descriptors."""
    sizes = recipe.images
    info, descriptors = limited(
        _affect().check_and_measure["artwork"], "image", data,
        min_side=sizes.min_side, max_pixels=sizes.max_pixels, quality=sizes.quality,
    )  # fmt: skip
    suffix = _SUFFIXES.get(info.format, f".{info.format.lower()}")
    path, sha256 = store_media(workspace, "artworks", data, suffix)
    return {
        **_fields("artwork", row),
        "image_path": path,
        "image_sha256": sha256,
        "image_bytes": len(data),
        "image_format": info.format,
        "width": info.width,
        "height": info.height,
        "image_phash": info.phash,
        **_quality(info.quality, PICTURE_QUALITY),
        "cluster": row["artwork_id"],
    }, descriptors


def _take_audio(
    workspace: Workspace, recipe: Recipe, row: Mapping[str, Any], data: bytes
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """The record of a clip, and its descriptors."""
    least = recipe.audio
    check = _affect().check_and_measure["track"]
    info, descriptors = limited(
        check, "audio", data,
        min_seconds=least.min_seconds, silence_db=least.silence_db, quality=least.quality,
    )  # fmt: skip
    quality = info.quality  # of the original
    if info.format != "MP3":
        # Everything after this measures, and releases, the same bytes. Releases have one kind of
        # sound: readers of WebDataset (Hugging Face's among them) refuse samples of several kinds.
        data = limited(release_mp3, "audio", data)
        info, descriptors = limited(
            check, "audio", data, min_seconds=0.0, silence_db=-math.inf
        )  # fmt: skip
    path, sha256 = store_media(workspace, "tracks", data, f".{info.format.lower()}")
    return {
        **_fields("track", row),
        "audio_path": path,
        "audio_sha256": sha256,
        "audio_bytes": len(data),
        "audio_format": info.format,
        "duration": info.duration,
        "sample_rate": info.sample_rate,
        "channels": info.channels,
        "loudness": info.loudness,
        "peak": info.peak,
        "fingerprint": info.fingerprint,
        **_quality(quality, SOUND_QUALITY),
        "cluster": _item_id("track", row),
    }, descriptors


def _quality(
    measured: PictureQuality | SoundQuality | None, names: Sequence[str]
) -> Mapping[str, float]:
    return asdict(measured) if measured else dict.fromkeys(names, _NOT_MEASURED)


def _fields(side: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """What of a staged row belongs in the record."""
    return {name: row[name] for name in arrow_schema(side).names if name in row}


def _item_id(side: str, row: Mapping[str, Any]) -> str:
    return str(row[f"{side}_id"])


def _clusters(
    context: Context, side: str, results: Sequence[Report]
) -> tuple[list[str], list[str]]:
    """Every item's id, and its near-duplicate cluster: same bytes, picture or sound."""
    workspace = context.workspace
    kind, mark = ("image", "image_phash") if side == "artwork" else ("audio", "fingerprint")
    columns = (f"{side}_id", f"{kind}_sha256", mark)
    if _same_as_before(context, side, _tables(workspace, side, results, columns)):
        return _gathered(workspace, side)
    ids: list[str] = []
    digests: list[str] = []

    def marks() -> Iterator[str]:
        for table in _tables(workspace, side, results, columns):
            ids.extend(_item_id(side, {columns[0]: item}) for item in table[columns[0]].to_pylist())
            digests.extend(table[columns[1]].to_pylist())
            yield from table[mark].to_pylist()

    near = near_images(list(marks())) if side == "artwork" else near_audio(marks())
    return ids, clusters(ids, digests, near)


def _same_as_before(context: Context, side: str, tables: Iterable[pa.Table]) -> bool:
    """Whether the catalogue of the run before has the same values in the columns of `tables`.

    Clusters depend on nothing else, and finding them compares much with much.
    """
    path = _catalogue(context.workspace, side)
    if not is_made_from(context.workspace, path, _made_by(context.recipe, side)):
        return False
    before, start = None, 0
    for table in tables:
        if before is None:
            before = read_parquet(path, side, table.column_names)
        if not before.slice(start, table.num_rows).equals(table.select(before.column_names)):
            return False
        start += table.num_rows
    return before is not None and start == before.num_rows


def _with_clusters(
    tables: Iterable[pa.Table], cluster: Sequence[str], only_first: bool
) -> Iterator[pa.Table]:
    """The tables with each item's cluster; with `only_first`, only the items that name one."""
    start = 0
    for table in tables:
        own = table["cluster"]  # a part puts each item into a cluster of its own
        found = pa.array(cluster[start : start + table.num_rows], pa.string())
        start += table.num_rows
        column = table.schema.get_field_index("cluster")
        clustered = table.set_column(column, table.schema.field(column), found)
        yield clustered.filter(pc.equal(own, found)) if only_first else clustered


def _tables(
    workspace: Workspace,
    side: str,
    results: Sequence[Report],
    columns: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """The records of one side, part by part: by id, since the staged rows are."""
    for result in results:
        if result.done.inputs["side"] == side and not is_aside(result.done):
            yield read_parquet(part_path(workspace, NAME, result.done.name), side, columns)


def _reasons(workspace: Workspace, side: str, results: Sequence[Report]) -> str:
    """The commonest reasons for which the items of one side fell out."""
    return count_reasons(row["reason"] for row in _rejects(workspace, results, (side,)))


def _rejects(
    workspace: Workspace, results: Sequence[Report], sides: Sequence[str] = ("artwork", "track")
) -> Iterator[dict[str, Any]]:
    """The items of some sides that fell out in parts."""
    for result in results:
        rejects = part_path(workspace, NAME, result.done.name, ".rejects.parquet")
        if result.done.inputs["side"] in sides and workspace.relative(rejects) in result.files:
            yield from read_rejects(rejects).to_pylist()


def _unmatched(workspace: Workspace, results: Sequence[Report]) -> dict[str, list[str]]:
    """By the file of each list, its lines that name nothing, neither by name nor by digest."""
    lines = unmatched_lines(workspace)
    if not any("digests" in result.done.inputs for result in results):
        return lines
    found = {
        f"sha256:{row['message'][-64:]}"
        for row in _rejects(workspace, results)
        if row["reason"] == "withdrawn"
    }
    left = {path: [line for line in some if found.isdisjoint(line_keys(line))]
            for path, some in lines.items()}  # fmt: skip
    return {path: some for path, some in left.items() if some}


def _looked_at(context: Context, results: Sequence[Report]) -> list[str]:
    """The tracks that were pulled to be checked, by id; none that its metadata alone ruled out."""
    found: list[str] = []
    for result in results:
        if result.done.inputs["side"] == "track":
            rows = staged_rows(context, result.done)
            if is_aside(result.done):  # a fault there means that it could not be fetched
                found += [row["item_id"] for row in rows if row["kind"] == "failed"]
            else:
                found += [row["track_id"] for row in rows]
    return sorted(found)
