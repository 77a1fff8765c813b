"""A release without some of its pairs, in which shards that held none of them keep their bytes."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

import polars as pl

from artsound.errors import BadData, BadUsage
from artsound.shards.diff import Difference, changelog, diff
from artsound.shards.index import read_shard_index, write_index
from artsound.shards.read import Dataset, open_shards
from artsound.shards.release import write_attribution, write_readme
from artsound.shards.subset import members, moved
from artsound.shards.withheld import WITHHELD
from artsound.shards.write import Shard, write_shard
from artsound.storage import (
    TEMPORARY_PREFIX,
    atomic_write,
    make_folder,
    sync_folder,
    write_bytes,
)

CHANGELOG = "CHANGELOG.md"
_DIGESTS = ("image_sha256", "image_original_sha256", "audio_sha256")


def withdraw(folder: Path, out: Path, ids: Collection[str]) -> Difference:
    """Write to `out` the release in `folder` without the pairs of the tracks and artworks in `ids`.

    `ids`: keys such as 000123, and artwork ids. Shards that hold none of them are linked or copied
    under their names; the others are written again without them, and are gone when nothing is
    left. index, attribution, README and withheld.parquet follow, and CHANGELOG.md tells what
    changed. `out` is complete or absent. Raises BadUsage when no pair is listed, or `out` is in
    use; BadData when a trace of a withdrawn pair is left, or no pair.
    """
    data = open_shards(folder)
    gone = _listed(data.frame, ids)
    apart = _withheld(folder)
    gone_apart = _listed(apart, ids)
    if not gone.any() and not gone_apart.any():
        raise BadUsage(f"{folder} holds none of the {len(ids)} listed ids: nothing to withdraw.")
    if gone.all():
        raise BadData(f"Nothing would be left of {folder}: take it down as a whole.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadUsage(f"{out} is in use: give --out a new folder.")
    make_folder(out.parent)
    place = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=out.parent))
    try:
        place.chmod(0o755)
        rows = _write_shards(data, folder, place, gone)
        if not gone_apart.all():
            with atomic_write(place / WITHHELD) as file:
                apart.filter(~gone_apart).write_parquet(file)
        write_attribution(place, rows.to_arrow())
        found = diff(str(folder), str(place))
        write_bytes(place / CHANGELOG, changelog(found).encode())
        needles = _only_in(data.frame.filter(gone), rows)
        needles += _only_in(apart.filter(gone_apart), apart.filter(~gone_apart))
        if left := traces(place, needles, data.frame["key"].filter(gone).to_list()):
            raise BadData(f"A withdrawn pair is still told of in {', '.join(left)}.")
        os.replace(place, out)
        sync_folder(out.parent)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return found


def traces(folder: Path, needles: Collection[str], keys: Collection[str] = ()) -> list[str]:
    """The files of a release in which any of these texts stands, in tables and in plain bytes.

    `keys`: samples of which no member may be in a tar.
    """
    texts = [needle.encode() for needle in needles]
    names = [f"{key}.{member}".encode() for key in keys for member in ("jpg", "mp3", "json")]
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size):
        if path.suffix == ".parquet":
            table = pl.read_parquet(path)
            told = table.select(pl.col(pl.String)).unpivot()["value"].is_in(list(needles)).any()
        else:
            with (
                path.open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
            ):
                wanted = [*texts, *names] if path.suffix == ".tar" else texts
                told = any(data.find(text) >= 0 for text in wanted)
        if told:
            found.append(path.name)
    return found


def _write_shards(data: Dataset, folder: Path, place: Path, gone: pl.Series) -> pl.DataFrame:
    """Link or rewrite every shard, write the index and README; the rows that stay."""
    shards: list[Shard] = []
    frames: list[pl.DataFrame] = []
    frame = data.frame.with_row_index("position").with_columns(gone=gone)
    for shard in data.shards:
        rows = frame.filter(pl.col("shard") == shard.name)
        stay = rows.filter(~pl.col("gone")).drop("gone")
        if not stay.height:
            continue
        if stay.height == rows.height:
            _link(folder / shard.name, place / shard.name)
            shards.append(shard)
            frames.append(stay.drop("position"))
            continue
        positions = stay["position"].to_list()
        written, placed = write_shard(place / shard.name, shard.split, members(data, positions))
        shards.append(written)
        frames.append(moved(stay.drop("position"), written.name, placed))
    rows = pl.concat(frames)
    digest = read_shard_index(data.store)["recipe_digest"]
    write_index(place, data.name, digest, shards, rows.to_arrow())
    write_readme(place, data.name, shards, rows.height)
    return rows


def _withheld(folder: Path) -> pl.DataFrame:
    """The rows of withheld.parquet, none where there is no such file."""
    path = folder / WITHHELD
    if path.is_file():
        return pl.read_parquet(path)
    return pl.DataFrame(schema=dict.fromkeys(("key", "artwork_id"), pl.String))


def _listed(rows: pl.DataFrame, ids: Collection[str]) -> pl.Series:
    wanted = list(ids)
    return rows["key"].is_in(wanted) | rows["artwork_id"].is_in(wanted)


def _only_in(gone: pl.DataFrame, kept: pl.DataFrame) -> list[str]:
    """Digests and artwork ids that only the withdrawn pairs have."""
    needles: set[str] = set()
    for column in ("artwork_id", *_DIGESTS):
        if column in gone.columns:
            needles |= set(gone[column]) - set(kept[column])
    return sorted(needles - {""})


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
