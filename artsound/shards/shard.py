"""Stage `shard`: pairs become shards, an index, and a list of whom to thank.

Within a split the samples are put in a seeded random order and cut into shards of equal size
(± 1), so that every shard is a fair sample of its split; a shard holds its samples in the order
of their keys. Where an earlier release is continued, its shards stay as far as they can (base.py)
and only new pairs are dealt. One part makes one shard, in parts/shard; `finish` links the shards
into place, writes the index, and tells of the release's history.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from artsound.errors import BadData
from artsound.media import MediaError
from artsound.media.images import release_jpeg
from artsound.pairing.barred import read_exclusions
from artsound.parts import Part, PartOutput, PartResult, part_path
from artsound.recipe import Recipe
from artsound.records import Reject
from artsound.shards.base import Base, open_base, stays
from artsound.shards.changes import copy_index, write_history
from artsound.shards.index import SHARDS, SPLITS, index_rows, to_index_table, write_index
from artsound.shards.join import EXTRA, float32_fields, joined
from artsound.shards.nowhere import named, traces
from artsound.shards.order import shuffled
from artsound.shards.release import write_attribution, write_readme
from artsound.shards.withdraw import digests_of
from artsound.shards.withheld import find_listed, parted, withheld_rows, write_withheld
from artsound.shards.write import Shard, sample_json, write_shard
from artsound.sources.wanted import excluded
from artsound.stage import Finish, Stage
from artsound.storage import (
    TEMPORARY_PREFIX,
    Workspace,
    atomic_write,
    digest,
    make_folder,
    read_parquet,
    sha256_bytes,
    sha256_file,
    sync_folder,
    write_parquet,
)

_WITHHELD_PART = "withheld"


def plan_shards(
    track_ids: Sequence[int], *, pairs_per_shard: int, min_shards: int, seed: int
) -> list[list[int]]:
    """The tracks of each shard of one split, ascending within a shard.

    About `pairs_per_shard` in each, and at least `min_shards` shards while there is a track for
    each. Depends on the set of tracks, not on their order.
    """
    tracks = np.sort(np.asarray(track_ids, dtype=np.int64))
    wanted = max(1, round(len(tracks) / pairs_per_shard), min(min_shards, len(tracks)))
    order = tracks[shuffled(len(tracks), seed)]
    return [sorted(cut.tolist()) for cut in np.array_split(order, wanted) if cut.size]


def check(workspace: Workspace, recipe: Recipe) -> None:
    """Raise BadUsage or BadData for a base or a list of unfit pairs that is missing or broken."""
    read_exclusions(recipe.shards.exclude)
    open_base(workspace, recipe)


def plan(workspace: Workspace, recipe: Recipe) -> list[Part]:
    """One part per shard, named {split}-{nnnnnn}."""
    rows, withheld = parted(joined(workspace), recipe.shards.withhold)
    if rows.is_empty():
        reason = "may be passed on" if withheld.height else "is there"
        raise BadData(f"No pair of {workspace.pairs} {reason}: there is nothing to pack in shards.")
    digests = dict(zip(rows["track_id"], _row_digests(rows), strict=True))
    unfit = _unfit(rows, recipe)
    base = open_base(workspace, recipe)
    continued = {"base": base.digest} if base else {}
    parts = []
    for split in SPLITS:
        mine = rows.filter(pl.col("split") == split)
        staying = stays(base, mine, split, {f"{track:06d}" for track in unfit}) if base else []
        planned: list[tuple[str, list[int]]] = []
        for name, shard, keys, whole in staying:
            if whole:
                parts.append(Part(name, shard.samples, {"shard": shard.name, **continued}))
            else:
                planned.append((name, [int(key) for key in keys]))
        there = {int(key) for _, _, keys, _ in staying for key in keys}
        shards = plan_shards(
            [track for track in mine["track_id"].to_list() if track not in there],
            pairs_per_shard=recipe.shards.pairs_per_shard,
            min_shards=1 if there else recipe.shards.min_shards,
            seed=recipe.seed,
        )
        first = base.next_number(split) if base else 0
        planned += [(f"{split}-{n:06d}", members) for n, members in enumerate(shards, first)]
        for name, members in planned:
            inputs = {
                "tracks": members,
                "rows": digest([digests[track] for track in members]),
                "unfit": sorted(unfit.intersection(members)),
                **continued,
            }
            parts.append(Part(name, len(members), inputs))
    parts.sort(key=_place)
    if withheld.height:
        keys = withheld["key"].to_list()
        parts.append(Part(_WITHHELD_PART, len(keys), {"keys": keys}))
    return parts


def work(workspace: Workspace, recipe: Recipe, part: Part) -> PartOutput:
    """Write one shard and its index rows under parts/shard."""
    if part.name == _WITHHELD_PART:
        return PartOutput(0, (), tuple(_withheld(key) for key in part.inputs["keys"]))
    base = open_base(workspace, recipe)
    if base and "shard" in part.inputs:
        return _as_it_was(workspace, base, part)
    chosen = joined(workspace).filter(pl.col("track_id").is_in(part.inputs["tracks"]))
    rejects: list[Reject] = []
    samples: list[dict[str, Any]] = []

    def members() -> Any:
        for row in chosen.sort("key").iter_rows(named=True):
            if row["track_id"] in part.inputs["unfit"]:
                message = "Judges found the pair unfit: shards.exclude of the recipe lists it."
                rejects.append(
                    Reject("shard", "pair", row["key"], "filtered", "judged-unfit", message)
                )
                continue
            try:
                image, audio, image_sha256 = (base.media(row) if base else None) or _media(
                    workspace, recipe, row
                )
            except MediaError as error:
                rejects.append(
                    Reject("shard", "pair", row["key"], "failed", error.reason, error.message)
                )
                continue
            samples.append(_sample(row, image_sha256))
            yield row["key"], {"jpg": image, "mp3": audio, "json": sample_json(samples[-1])}

    split = part.name.rpartition("-")[0]
    tar_path = part_path(workspace, "shard", part.name, ".tar")
    row_path = part_path(workspace, "shard", part.name)
    try:
        shard, placed = write_shard(tar_path, split, members())
    except BadData:
        if len(rejects) < part.items:
            raise
        return PartOutput(0, (), tuple(rejects))
    write_parquet(row_path, "index", index_rows(shard.name, samples, placed))
    return PartOutput(
        items_out=len(samples),
        files=(tar_path, row_path),
        rejects=tuple(rejects),
        extra=asdict(shard),
        digests={tar_path: shard.sha256},
    )


def finish(workspace: Workspace, recipe: Recipe, results: Sequence[PartResult]) -> Finish:
    """Put the shards in place under their final names, with index, README and attribution."""
    packed = [result for result in results if result.items_out]
    if not packed:
        raise BadData("No pair could be packed: catalog/rejects.parquet tells why for each.")
    base = open_base(workspace, recipe)
    folder = make_folder(workspace.shards)
    # While shards are put in place no index may describe those of an earlier build: who opens the
    # folder then, or after a crash, is told that there is no release yet.
    (folder / SHARDS).unlink(missing_ok=True)
    shards: list[Shard] = []
    tables: list[pa.Table] = []
    numbers = dict.fromkeys(SPLITS, 0)
    for result in packed:
        part = Shard(**result.extra)
        # A shard of the base keeps its name, though others before it may be gone.
        own = result.part.name if base else f"{part.split}-{numbers[part.split]:06d}"
        name = f"artsound-{own}.tar"
        numbers[part.split] += 1
        _link(part_path(workspace, "shard", result.part.name, ".tar"), folder / name)
        shards.append(replace(part, name=name))
        table = read_parquet(part_path(workspace, "shard", result.part.name), "index")
        column = table.schema.get_field_index("shard")
        names = pa.array([name] * table.num_rows)
        tables.append(table.set_column(column, table.schema.field(column), names))
    sync_folder(folder)
    table = to_index_table(pa.concat_tables(tables))
    files = [
        write_attribution(folder, table),
        write_readme(folder, recipe.name, shards, table.num_rows),
        *write_withheld(workspace, parted(joined(workspace), recipe.shards.withhold)[1]),
    ]
    lineage, more = write_history(folder, base.folder if base else None, shards, table)
    files += more
    if base and not lineage.bump:
        files += copy_index(folder, base.folder)
    else:
        files += write_index(folder, recipe.name, recipe.digest(), shards, table, lineage.fields())
    _remove_stale(workspace, {shard.name for shard in shards}, {r.part.name for r in results})
    if base:
        _check_withdrawn(folder, base, excluded(recipe).lines)
    return Finish(
        files=(*files, *(folder / shard.name for shard in shards)),
        extra={
            "samples": table.num_rows,
            "shards": {split: count for split, count in numbers.items() if count},
            "shard_bytes": sum(shard.bytes for shard in shards),
            "version": lineage.version,
            "bump": lineage.bump,
        },
        digests={folder / shard.name: shard.sha256 for shard in shards},
    )


STAGE = Stage(
    name="shard",
    version=1,
    sections=("seed", "shards"),
    plan=plan,
    work=work,
    finish=finish,
    check=check,
)


def _place(part: Part) -> tuple[int, str]:
    """Parts in the order of an index: by split, then by number; what is no shard last."""
    split = part.name.rpartition("-")[0]
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS), part.name)


def _as_it_was(workspace: Workspace, base: Base, part: Part) -> PartOutput:
    """A shard of the base under this build's parts, its bytes checked, with its index rows."""
    shard = next(one for one in base.data.shards if one.name == part.inputs["shard"])
    source = base.folder / shard.name
    if not source.is_file() or sha256_file(source) != shard.sha256:
        raise BadData(f"{source} is not the shard that its {SHARDS} names: verify the base first.")
    tar_path = make_folder(workspace.parts / "shard") / f"{part.name}.tar"
    row_path = part_path(workspace, "shard", part.name)
    _link(source, tar_path)
    write_parquet(row_path, "index", to_index_table(base.rows_of(shard.name).to_arrow()))
    return PartOutput(
        items_out=shard.samples,
        files=(tar_path, row_path),
        extra=asdict(shard),
        digests={tar_path: shard.sha256},
    )


def _check_withdrawn(folder: Path, base: Base, lines: Sequence[str]) -> None:
    """Leave no release behind that tells of what the base had and the recipe never wants again."""
    frames = base.data.frame, withheld_rows(base.folder)
    listed = find_listed(lines, *frames)
    ids = listed.ids
    texts, keys, spellings = named([*lines, *ids])
    digests = listed.digests.union(*(digests_of(frame, ids) for frame in frames))
    if lines and (left := traces(folder, texts | digests, keys, spellings)):
        (folder / SHARDS).unlink()
        raise BadData(
            f"Something that sources.without lists is still told of in {', '.join(left[:5])}: "
            "list all that has its bytes."
        )


def _unfit(rows: pl.DataFrame, recipe: Recipe) -> set[int]:
    """The tracks of pairs that the recipe's list leaves out; a track newly paired stays."""
    listed = pl.DataFrame(read_exclusions(recipe.shards.exclude).select(["track_id", "artwork_id"]))
    return set(rows.join(listed, on=["track_id", "artwork_id"], how="semi")["track_id"])


def _row_digests(rows: pl.DataFrame) -> list[str]:
    return [digest(row) for row in rows.iter_rows(named=True)]


def _withheld(key: str) -> Reject:
    message = "the picture or the clip may not be passed on: its ids and digests are kept"
    return Reject("shard", "pair", key, "filtered", "rights-withheld", message)


def _media(
    workspace: Workspace, recipe: Recipe, row: Mapping[str, Any]
) -> tuple[bytes, bytes, str]:
    """The .jpg, .mp3 and the former's digest of one sample.

    Raises MediaError when they are not what the catalogue says.
    """
    image = _original(workspace, row["image_path"], row["image_original_sha256"], "image")
    audio = _original(workspace, row["audio_path"], row["audio_sha256"], "audio")
    if row["audio_format"] != "MP3":
        found = row["audio_format"]
        raise MediaError("audio-not-mp3", f"the clip is {found}: shards hold original MP3 bytes")
    jpeg = release_jpeg(image, max_side=recipe.shards.max_side, quality=recipe.shards.jpeg_quality)
    return jpeg, audio, sha256_bytes(jpeg)


def _original(workspace: Workspace, relative: str, sha256: str, side: str) -> bytes:
    try:
        data = workspace.path(relative).read_bytes()
    except OSError as error:
        raise MediaError(f"{side}-missing", f"{relative}: {error.strerror}") from error
    if sha256_bytes(data) != sha256:
        raise MediaError(f"{side}-damaged", f"{relative} is not what was pulled")
    return data


def _sample(row: Mapping[str, Any], image_sha256: str) -> dict[str, Any]:
    """The sample's fields in the schema's order."""
    short = float32_fields()
    sample: dict[str, Any] = {}
    for name, value in row.items():
        if name == "image_original_sha256":
            sample["image_sha256"] = image_sha256
        if name not in EXTRA:
            # The shortest text that is the same 32-bit number: 0.3, not 0.30000001192092896.
            sample[name] = float(str(np.float32(value))) if name in short else value
    return sample


def _link(source: Path, target: Path) -> None:
    """Give `source` a second name, replacing what was there; a copy where links are unknown."""
    if target.exists() and target.samefile(source):
        return
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{target.name}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        with source.open("rb") as original, atomic_write(target) as file:
            shutil.copyfileobj(original, file, 1 << 20)
    else:
        temporary.replace(target)


def _remove_stale(workspace: Workspace, shards: set[str], parts: set[str]) -> None:
    """Remove what an earlier, different build left: shards, and parts that held them."""
    for path in sorted(workspace.shards.glob("artsound-*.tar")):
        if path.name not in shards:
            path.unlink()
    for path in sorted((workspace.parts / "shard").glob("*")):
        if path.suffix in (".tar", ".parquet") and path.name.split(".")[0] not in parts:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
