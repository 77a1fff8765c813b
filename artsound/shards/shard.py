"""Stage `shard`: pairs become shards, an index, and a list of whom to thank.

Within a split the samples are put in a seeded random order and cut into shards of equal size
(± 1), so that every shard is a fair sample of its split; a shard holds its samples in the order
of their keys. One part makes one shard, in parts/shard; `finish` links the shards into place,
writes the index, and only then removes shards of an earlier build that no index names.
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
from artsound.parts import Part, PartOutput, PartResult, part_path
from artsound.recipe import Recipe
from artsound.records import Reject
from artsound.shards.index import SHARDS, SPLITS, index_rows, write_index
from artsound.shards.join import EXTRA, float32_fields, joined
from artsound.shards.order import shuffled
from artsound.shards.release import write_attribution, write_readme
from artsound.shards.withheld import parted, write_withheld
from artsound.shards.write import Shard, sample_json, write_shard
from artsound.stage import Finish, Stage
from artsound.storage import (
    TEMPORARY_PREFIX,
    Workspace,
    atomic_write,
    digest,
    make_folder,
    read_parquet,
    sha256_bytes,
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


def plan(workspace: Workspace, recipe: Recipe) -> list[Part]:
    """One part per shard, named {split}-{nnnnnn}."""
    rows, withheld = parted(joined(workspace), recipe.shards.withhold)
    if rows.is_empty():
        reason = "may be passed on" if withheld.height else "is there"
        raise BadData(f"No pair of {workspace.pairs} {reason}: there is nothing to pack in shards.")
    digests = dict(zip(rows["track_id"], _row_digests(rows), strict=True))
    unfit = _unfit(rows, recipe)
    parts = []
    for split in SPLITS:
        tracks = rows.filter(pl.col("split") == split)["track_id"].to_list()
        if not tracks:
            continue
        shards = plan_shards(
            tracks,
            pairs_per_shard=recipe.shards.pairs_per_shard,
            min_shards=recipe.shards.min_shards,
            seed=recipe.seed,
        )
        for number, members in enumerate(shards):
            inputs = {
                "tracks": members,
                "rows": digest([digests[track] for track in members]),
                "unfit": sorted(unfit.intersection(members)),
            }
            parts.append(Part(f"{split}-{number:06d}", len(members), inputs))
    if withheld.height:
        keys = withheld["key"].to_list()
        parts.append(Part(_WITHHELD_PART, len(keys), {"keys": keys}))
    return parts


def work(workspace: Workspace, recipe: Recipe, part: Part) -> PartOutput:
    """Write one shard and its index rows under parts/shard."""
    if part.name == _WITHHELD_PART:
        return PartOutput(0, (), tuple(_withheld(key) for key in part.inputs["keys"]))
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
                image, audio = _media(workspace, recipe, row)
            except MediaError as error:
                rejects.append(
                    Reject("shard", "pair", row["key"], "failed", error.reason, error.message)
                )
                continue
            samples.append(_sample(row, sha256_bytes(image)))
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
    make_folder(workspace.shards)
    # While shards are put in place no index may describe those of an earlier build: who opens the
    # folder then, or after a crash, is told that there is no release yet.
    (workspace.shards / SHARDS).unlink(missing_ok=True)
    shards: list[Shard] = []
    tables: list[pa.Table] = []
    numbers = dict.fromkeys(SPLITS, 0)
    for result in packed:
        part = Shard(**result.extra)
        name = f"artsound-{part.split}-{numbers[part.split]:06d}.tar"
        numbers[part.split] += 1
        _link(part_path(workspace, "shard", result.part.name, ".tar"), workspace.shards / name)
        shards.append(replace(part, name=name))
        table = read_parquet(part_path(workspace, "shard", result.part.name), "index")
        column = table.schema.get_field_index("shard")
        names = pa.array([name] * table.num_rows)
        tables.append(table.set_column(column, table.schema.field(column), names))
    sync_folder(workspace.shards)
    table = pa.concat_tables(tables)
    files = write_index(workspace.shards, recipe.name, recipe.digest(), shards, table)
    files += [
        write_attribution(workspace.shards, table),
        write_readme(workspace.shards, recipe.name, shards, table.num_rows),
        *write_withheld(workspace, parted(joined(workspace), recipe.shards.withhold)[1]),
    ]
    _remove_stale(workspace, {shard.name for shard in shards}, {r.part.name for r in results})
    tars = [workspace.shards / shard.name for shard in shards]
    return Finish(
        files=(*files, *tars),
        extra={
            "samples": table.num_rows,
            "shards": {split: count for split, count in numbers.items() if count},
            "shard_bytes": sum(shard.bytes for shard in shards),
        },
        digests={workspace.shards / shard.name: shard.sha256 for shard in shards},
    )


STAGE = Stage(
    name="shard",
    version=1,
    sections=("seed", "shards"),
    plan=plan,
    work=work,
    finish=finish,
)


def _unfit(rows: pl.DataFrame, recipe: Recipe) -> set[int]:
    """The tracks of pairs that the recipe's list leaves out; a track newly paired stays."""
    if not recipe.shards.exclude:
        return set()
    listed = pl.DataFrame(
        read_parquet(Path(recipe.shards.exclude), "exclusion", ["track_id", "artwork_id"])
    )
    return set(rows.join(listed, on=["track_id", "artwork_id"], how="semi")["track_id"])


def _row_digests(rows: pl.DataFrame) -> list[str]:
    return [digest(row) for row in rows.iter_rows(named=True)]


def _withheld(key: str) -> Reject:
    message = "the picture or the clip may not be passed on: its ids and digests are kept"
    return Reject("shard", "pair", key, "filtered", "rights-withheld", message)


def _media(workspace: Workspace, recipe: Recipe, row: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The .jpg and .mp3 of one sample; MediaError when they are not what the catalogue says."""
    image = _original(workspace, row["image_path"], row["image_original_sha256"], "image")
    audio = _original(workspace, row["audio_path"], row["audio_sha256"], "audio")
    if row["audio_format"] != "MP3":
        found = row["audio_format"]
        raise MediaError("audio-not-mp3", f"the clip is {found}: shards hold original MP3 bytes")
    jpeg = release_jpeg(image, max_side=recipe.shards.max_side, quality=recipe.shards.jpeg_quality)
    return jpeg, audio


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
