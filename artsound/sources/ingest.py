"""The first stage: raw sources in, a checked catalogue and content-addressed media out.

Planning reads the metadata of both sources once and stages it, split into rows that have media
to check and rows that fall out beforehand, each with its reason. A part then reads the media of
its rows, decodes and checks them, and keeps the original bytes. Finishing finds near-duplicates
over everything and writes catalog/artworks.parquet and catalog/tracks.parquet, sorted by id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from artsound.errors import BadData, BadUsage
from artsound.media import MediaError
from artsound.media.audio import check_audio
from artsound.media.fingerprint import clusters, near_audio, near_images
from artsound.media.images import check_image
from artsound.recipe import Recipe
from artsound.records import Reject, arrow_schema
from artsound.rights import (
    Rights,
    allows,
    artwork_rights,
    licence_rights,
    painter_dates,
    synthetic_rights,
)
from artsound.sources import artgraph, fma
from artsound.sources.files import UnreadableFile, read_file
from artsound.stage import Finish, Part, PartOutput, PartResult, Stage, part_path, split_into_parts
from artsound.storage import (
    Workspace,
    atomic_write,
    digest,
    read_json,
    read_parquet,
    sha256_bytes,
    sha256_file,
    store_media,
    write_json,
    write_parquet,
)

NAME = "ingest"
VERSION = 1
SAMPLE = "sample"

_ASIDE_SCHEMA = {"item_id": pl.String, "kind": pl.String, "reason": pl.String, "message": pl.String}
_ARTWORKS_PER_TRACK = 4
_FEWEST_ARTWORKS = 64


def plan(workspace: Workspace, recipe: Recipe) -> list[Part]:
    """The parts of this stage: staged rows by source, and the rows that fall out beforehand.

    Raises BadUsage for a source that does not exist, BadData for one that cannot be used.
    """
    artgraph_root, fma_root = source_roots(workspace, recipe)
    art_files = artgraph.list_source(artgraph_root)
    fma_files = fma.list_source(fma_root, recipe.sources.subset)
    key = digest(
        {
            "version": VERSION,
            "subset": recipe.sources.subset,
            "limit": recipe.sources.limit,
            "sample": [recipe.sources.artgraph == SAMPLE, recipe.sources.fma == SAMPLE],
            "rights": recipe.rights.model_dump(),
            "part_size": recipe.run.part_size,
            "files": [_frame_digest(art_files), _frame_digest(fma_files)],
        }
    )
    folder = workspace.parts / NAME / "staged"
    kept = _kept_plan(folder, key)
    if kept is not None:
        return kept
    artworks = artgraph.read_artworks(artgraph_root, art_files, recipe.rights.year)
    tracks = fma.read_tracks(fma_root, fma_files, recipe.sources.subset, recipe.rights.year)
    artworks, artworks_aside = _choose_artworks(artworks, recipe)
    tracks, tracks_aside = _choose_tracks(tracks, recipe)
    _check_any("artwork", artgraph_root, artworks, artworks_aside)
    _check_any("track", fma_root, tracks, tracks_aside)
    size = recipe.run.part_size
    parts = [
        *_stage_rows(folder, "artworks", artworks, size),
        *_stage_rows(folder, "tracks", tracks, size),
        *_stage_rows(folder, "artworks-aside", artworks_aside, 0),
        *_stage_rows(folder, "tracks-aside", tracks_aside, 0),
    ]
    files = {path.name: sha256_file(path) for path in sorted(folder.glob("*.parquet"))}
    listed = [{"name": p.name, "items": p.items, "inputs": dict(p.inputs)} for p in parts]
    write_json(folder / "plan.json", {"key": key, "files": files, "parts": listed})
    return parts


def work(workspace: Workspace, recipe: Recipe, part: Part) -> PartOutput:
    """Check and keep the media of one part's rows; full records go to the part's file."""
    staged = workspace.parts / NAME / "staged" / f"{part.inputs['rows']}.parquet"
    rows = pq.ParquetFile(staged).read_row_group(part.inputs["group"]).to_pylist()
    side = part.inputs["side"]
    if part.inputs["aside"]:
        return PartOutput(0, (), tuple(Reject(NAME, side, **row) for row in rows))
    artgraph_root, fma_root = source_roots(workspace, recipe)
    root, take = (artgraph_root, _take_image) if side == "artwork" else (fma_root, _take_audio)
    records: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    for row in rows:
        try:
            data = read_file(root, row["box"], row["name"])
            records.append(take(workspace, recipe, row, data))
        except (MediaError, UnreadableFile) as error:
            rejects.append(
                Reject(NAME, side, _item_id(side, row), "failed", error.reason, str(error))
            )
    path = part_path(workspace, NAME, part.name)
    write_parquet(path, side, records)
    return PartOutput(len(records), (path,), tuple(rejects))


def finish(workspace: Workspace, recipe: Recipe, results: Sequence[PartResult]) -> Finish:
    """Merge the parts, cluster near-duplicates, write the catalogue.

    Raises BadData when no artwork or no track was usable.
    """
    extra: dict[str, int] = {}
    files = []
    for side, key, near in (
        ("artwork", "image_phash", near_images),
        ("track", "fingerprint", near_audio),
    ):
        table = _merged(workspace, side, results)
        ids = [_item_id(side, {f"{side}_id": item}) for item in table[f"{side}_id"].to_pylist()]
        media = "image_sha256" if side == "artwork" else "audio_sha256"
        pairs = near(table[key].to_pylist())
        cluster = clusters(ids, table[media].to_pylist(), pairs)
        position = table.schema.get_field_index("cluster")
        table = table.set_column(position, "cluster", pa.array(cluster, pa.string()))
        path = workspace.catalog / f"{side}s.parquet"
        write_parquet(path, side, table)
        files.append(path)
        of_side = [result for result in results if result.part.inputs["side"] == side]
        extra[f"{side}s_in"] = sum(result.part.items for result in of_side)
        extra[f"{side}s_out"] = table.num_rows
        extra[f"{side}s_near_duplicate"] = table.num_rows - len(set(cluster))
    return Finish(tuple(files), extra)


STAGE = Stage(
    name=NAME,
    version=VERSION,
    sections=("images", "audio", "rights"),
    plan=plan,
    work=work,
    finish=finish,
)


def source_roots(workspace: Workspace, recipe: Recipe) -> tuple[Path, Path]:
    """Where ArtGraph and the FMA lie for this build; the sample is written when it is asked for."""
    wanted = (recipe.sources.artgraph, recipe.sources.fma)
    roots = []
    for option, place in zip(("artgraph", "fma"), wanted, strict=True):
        if not place or "://" in place:
            raise BadUsage(
                f"--{option} needs a folder or zip on this disk, or `sample`: "
                f"{place or 'the official server'} cannot be read yet."
            )
        roots.append(Path(place))
    if SAMPLE in wanted:
        from artsound.sources.sample import write_sample

        paths = write_sample(workspace.root / SAMPLE, recipe.seed)
        roots = [
            made if place == SAMPLE else root
            for place, made, root in zip(wanted, (paths.artgraph, paths.fma), roots, strict=True)
        ]
    return roots[0], roots[1]


# ------------------------------------------------------------------------------------ planning


def _choose_artworks(table: pl.DataFrame, recipe: Recipe) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows to work on, by id, and rows set aside with their reasons.

    With a limit, so many of the first kind are taken, evenly over the list.
    """
    if recipe.sources.artgraph == SAMPLE:
        rights = [synthetic_rights()] * table.height
    else:
        works: dict[str, list[int]] = {}
        for painter, year in table.select("painter_id", "year").iter_rows():
            works.setdefault(painter, []).append(year)
        dates = {painter: painter_dates(-1, years) for painter, years in works.items()}
        rights = [
            artwork_rights(year, dates[painter], recipe.rights.year)
            for painter, year in table.select("painter_id", "year").iter_rows()
        ]
    table = _with_rights(table, rights, recipe).with_columns(
        pl.lit(-1, pl.Int32).alias("painter_died"),
        pl.lit("sample" if recipe.sources.artgraph == SAMPLE else "artgraph").alias("source"),
        pl.lit("").alias("source_url"),
        pl.col("artwork_id").alias("item_id"),
    )
    reason = (
        pl.when(pl.col("name") == "")
        .then(pl.lit("image-absent"))
        .when(~pl.col("allowed"))
        .then(pl.lit("rights-policy"))
        .otherwise(pl.lit(""))
    )
    table = table.with_columns(reason.alias("reason")).sort("artwork_id")
    chosen, aside = table.filter(pl.col("reason") == ""), table.filter(pl.col("reason") != "")
    if recipe.sources.limit:
        most = max(_ARTWORKS_PER_TRACK * recipe.sources.limit, _FEWEST_ARTWORKS)
        if chosen.height > most:
            step = chosen.height / most
            chosen = chosen[[int(number * step) for number in range(most)]]
            aside = aside.clear()
    return chosen.drop("reason", "allowed", "item_id"), _aside(aside, recipe)


def _choose_tracks(table: pl.DataFrame, recipe: Recipe) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same for tracks; with a limit, ids are read in order until so many can be worked on."""
    rights = [licence_rights(text) for text in table["license"]]
    table = _with_rights(table, rights, recipe).with_columns(
        pl.lit("sample" if recipe.sources.fma == SAMPLE else "fma").alias("source"),
        pl.lit("").alias("source_url"),
        pl.col("track_id").cast(pl.String).str.zfill(6).alias("item_id"),
    )
    reason = (
        pl.when(~pl.col("subset").is_in(fma.in_subset(recipe.sources.subset)))
        .then(pl.lit("outside-subset"))
        .when(pl.col("name") == "")
        .then(pl.lit("no-audio-here"))
        .when(~pl.col("allowed"))
        .then(pl.lit("rights-policy"))
        .otherwise(pl.lit(""))
    )
    table = table.with_columns(reason.alias("reason")).sort("track_id")
    if recipe.sources.limit:
        taken = (table["reason"] == "").cum_sum()
        before_last = taken.shift(1, fill_value=0) < recipe.sources.limit
        table = table.filter(before_last)
    chosen, aside = table.filter(pl.col("reason") == ""), table.filter(pl.col("reason") != "")
    return chosen.drop("reason", "allowed", "item_id"), _aside(aside, recipe)


def _with_rights(table: pl.DataFrame, rights: Sequence[Rights], recipe: Recipe) -> pl.DataFrame:
    fields = {
        "license_id": pl.String,
        "redistribute": pl.Boolean,
        "derivatives": pl.Boolean,
        "commercial": pl.Boolean,
        "share_alike": pl.Boolean,
        "attribution": pl.Boolean,
    }
    return table.with_columns(
        *(
            pl.Series(field, [getattr(one, field) for one in rights], dtype=dtype)
            for field, dtype in fields.items()
        ),
        pl.Series("rights_reason", [one.reason for one in rights], dtype=pl.String),
        pl.Series("allowed", [allows(recipe.rights.policy, one) for one in rights]),
    )


def _aside(rows: pl.DataFrame, recipe: Recipe) -> pl.DataFrame:
    """Rejects for the rows that need no look at their media."""
    message = (
        pl.when(pl.col("reason") == "image-absent")
        .then(pl.lit("the mapping names this image, but it is not in this copy"))
        .when(pl.col("reason") == "no-audio-here")
        .then(pl.lit("this copy holds no audio for the track"))
        .when(pl.col("reason") == "outside-subset")
        .then(pl.lit(f"the track is not in fma_{recipe.sources.subset}"))
        .otherwise(
            pl.concat_str(
                pl.lit(f"the rights do not allow what `{recipe.rights.policy}` asks for: "),
                "rights_reason",
            )
        )
    )
    kind = pl.when(pl.col("reason") == "image-absent").then(pl.lit("failed"))
    return rows.select(
        "item_id",
        kind.otherwise(pl.lit("filtered")).alias("kind"),
        "reason",
        message.alias("message"),
    )


def _check_any(side: str, root: Path, rows: pl.DataFrame, aside: pl.DataFrame) -> None:
    if rows.is_empty():
        raise BadData(f"{root} has no usable {side}: {_reasons(aside['reason'])}.")


def _reasons(codes: Iterable[str]) -> str:
    return ", ".join(f"{count} × {code}" for code, count in Counter(codes).most_common(5)) or "none"


def _stage_rows(folder: Path, name: str, rows: pl.DataFrame, part_size: int) -> list[Part]:
    """Write rows to staged/`name`.parquet, a row group for each part; with 0, all are one part."""
    path = folder / f"{name}.parquet"
    size = part_size or max(1, rows.height)
    with atomic_write(path) as file:
        pq.write_table(rows.to_arrow(), file, compression="zstd", row_group_size=size)
    return [
        Part(
            part,
            stop - start,
            {
                "side": "artwork" if name.startswith("artwork") else "track",
                "rows": name,
                "group": group,
                "aside": name.endswith("-aside"),
                "digest": _frame_digest(rows[start:stop]),
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


def _frame_digest(frame: pl.DataFrame) -> str:
    return sha256_bytes(frame.write_ndjson().encode())


# ------------------------------------------------------------------------------------- working


_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif"}


def _take_image(
    workspace: Workspace, recipe: Recipe, row: Mapping[str, Any], data: bytes
) -> dict[str, Any]:
    info = check_image(data, min_side=recipe.images.min_side, max_pixels=recipe.images.max_pixels)
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
        "cluster": row["artwork_id"],
    }


def _take_audio(
    workspace: Workspace, recipe: Recipe, row: Mapping[str, Any], data: bytes
) -> dict[str, Any]:
    info = check_audio(
        data, min_seconds=recipe.audio.min_seconds, silence_db=recipe.audio.silence_db
    )
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
        "cluster": _item_id("track", row),
    }


def _fields(side: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """What of a staged row belongs in the record."""
    return {name: row[name] for name in arrow_schema(side).names if name in row}


def _item_id(side: str, row: Mapping[str, Any]) -> str:
    return row["artwork_id"] if side == "artwork" else f"{row['track_id']:06d}"


def _merged(workspace: Workspace, side: str, results: Sequence[PartResult]) -> pa.Table:
    """The records of one side from all parts, by id; BadData when there are none."""
    tables = [
        read_parquet(part_path(workspace, NAME, result.part.name), side)
        for result in results
        if result.part.inputs["side"] == side and not result.part.inputs["aside"]
    ]
    table = pa.concat_tables(tables).sort_by(f"{side}_id")
    if not table.num_rows:
        codes: list[str] = []
        for result in results:
            rejects = part_path(workspace, NAME, result.part.name, ".rejects.parquet")
            if result.part.inputs["side"] == side and workspace.relative(rejects) in result.files:
                codes.extend(read_parquet(rejects, "reject")["reason"].to_pylist())
        raise BadData(f"No {side} could be used: {_reasons(codes)}.")
    return table
