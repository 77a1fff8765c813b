"""Writes a part of a dataset: as ids, as a view of the original shards, or as new shards."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from artsound.errors import BadData, BadUsage
from artsound.keys import six_digits, track_number
from artsound.schema import arrow_schema
from artsound.shards.beside import carry, carry_judgements
from artsound.shards.dataset import VIEW, Dataset, open_shards
from artsound.shards.format import Placed, Shard, sample_json, write_shard
from artsound.shards.index import (
    FORMAT,
    SPLITS,
    is_ours,
    pointers,
    read_shard_index,
    sample_fields,
    write_index,
)
from artsound.shards.release import (
    FIRST,
    check_sound,
    copy_fits,
    find_listed,
    pairs_listed,
    said_of_next,
    write_attribution,
    write_first_changelog,
    write_readme,
)
from artsound.sources.item_names import read_lines
from artsound.sql_filter import without_match
from artsound.storage import (
    atomic_write,
    digest,
    new_folder,
    sha256_bytes,
    write_bytes,
    write_json,
)

# What a publisher says of a release that does not hold of a part of it.
_NOT_PASSED = frozenset({"title", "homepage", "hosting"})


def write_subset(
    shards: str | Path,
    out: Path,
    *,
    rights: str = "any",
    where: str = "",
    exclude: Path | None = None,
    optouts: Path | None = None,
    per_painter: int = 0,
    per_genre: int = 0,
    sample: int = 0,
    sample_by: str = "",
    seed: int = 0,
    top: int | None = None,
    pairs_per_shard: int = 256,
    date: str = "",
    **equals: Any,
) -> dict[str, Any]:
    """Choose samples and write them.

    The choices are applied in the order of the arguments, beginning with `equals` and `where`.

    Args:
        shards: A folder, URL or view.
        out: A path that ends in .npy (ascending track ids, or keys; the query is written beside it
            as .json), in .parquet (a view that `artsound.open` reads from the original shards), or
            a new folder for shards.
        rights: A policy of `artsound.rights.POLICIES`.
        where: A SQL condition, as in `Dataset.filter`.
        exclude: A list of items to leave out, in any spelling that
            `artsound.sources.item_names` reads.
        optouts: An opt-out list: items, addresses and creators that refuse to be trained with.
        per_painter: At most so many samples of one painter; 0: no limit.
        per_genre: At most so many samples of one music genre; 0: no limit.
        sample: Draw so many samples at random; 0: all.
        sample_by: A column whose distribution the random sample keeps.
        seed: Seeds the random sample.
        top: Keep so many samples with the highest score.
        pairs_per_shard: Samples in each new shard, about.
        date: The date of the release that new shards are, YYYY-MM-DD.
        **equals: Columns with one value or several, as in `Dataset.filter`; empty: all.

    Returns:
        What was chosen, and the lines of lists that name nothing, as JSON values.

    Raises:
        BadUsage: Nothing is left, `out` is a folder in use, or ends as another kind of file does.
    """
    if out.suffix not in (".npy", ".parquet") and re.fullmatch(r"\.[A-Za-z]\w*", out.suffix):
        raise BadUsage(
            f"{out} ends in {out.suffix}, which subset does not write: give ids.npy, view.parquet, "
            "or a folder for new shards."
        )
    if date and out.suffix in (".npy", ".parquet"):
        raise BadUsage(f"{out} is no release that has a date: give a folder for new shards.")
    data = open_shards(shards)
    chosen = {name: values for name, values in equals.items() if values}
    everything = data
    data = data.filter(where, **chosen)
    if where and not len(data):
        part = everything.filter(**chosen)
        raise BadUsage(
            f"No sample of {data.store.location} fulfils the condition {where!r}"
            f"{' beside the other choices' if len(part) < len(everything) else ''}: "
            f"{without_match(part.frame if len(part) else everything.frame, where)}"
        )
    data = data.rights(rights)
    listed = find_listed(
        read_lines(exclude) if exclude else (),
        everything.frame,
        optouts=read_lines(optouts) if optouts else (),
    )
    if exclude or optouts:
        left_out = pairs_listed(data.frame, listed)
        count = int(left_out.sum())
        data = data.pick(np.flatnonzero(~left_out.to_numpy()), f"without {count} listed samples")
    if per_painter:
        data = data.cap("painter", per_painter)
    if per_genre:
        data = data.cap("track_genre", per_genre)
    if sample:
        data = data.sample(sample, seed=seed, by=sample_by)
    if top:
        data = data.top(top)
    if not len(data):
        raise BadUsage(f"No sample is left of {data.store.location}: loosen the conditions.")
    if out.suffix == ".npy":
        write_ids(data, out)
    elif out.suffix == ".parquet":
        write_view(data, out)
    else:
        write_shards(data, out, pairs_per_shard=pairs_per_shard, date=date)
    unmatched = [*listed.unmatched, *listed.optouts_unmatched]
    return {**_query(data), "out": str(out), "unmatched": unmatched}


def write_view(data: Dataset, path: Path) -> None:
    """Write the samples' index rows, and the address of their shards, as one parquet file."""
    about = {"source": _source(data, path), "index_sha256": data.index_sha256, **_query(data)}
    table = data.frame.to_arrow()
    table = table.replace_schema_metadata({VIEW: json.dumps(about, sort_keys=True)})
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd")


def write_shards(
    data: Dataset, folder: Path, *, pairs_per_shard: int = 256, date: str = ""
) -> list[Shard]:
    """Pack the samples into new shards; their members keep their bytes.

    Args:
        data: The samples.
        folder: A new folder; it is complete or absent afterwards.
        pairs_per_shard: Samples of one split in each shard, about; in the order of their keys.
        date: The date of the new release, YYYY-MM-DD.

    Returns:
        The new shards.

    Raises:
        BadUsage: `folder` is in use, or the date is none.
    """
    with new_folder(folder) as place:
        _write_all(data, place, pairs_per_shard, date)
    return list(open_shards(folder).shards)


def _write_all(data: Dataset, folder: Path, pairs_per_shard: int, date: str) -> None:
    about = read_shard_index(data.store)
    said = said_of_next(about.get("release", {}), date)
    shards: list[Shard] = []
    frames: list[pl.DataFrame] = []
    splits = data.frame["split"].to_numpy()
    for split in [*SPLITS, *sorted(set(splits) - set(SPLITS))]:
        for number, some in enumerate(
            _packed(data, np.flatnonzero(splits == split), pairs_per_shard)
        ):
            rows = data.frame[some].sort("key")
            order = some[np.argsort(data.pointers.keys[some], kind="stable")]
            path = folder / f"artsound-{split}-{six_digits(number)}.tar"
            shard, placed = write_shard(path, split, members(data, order.tolist()))
            shards.append(shard)
            frames.append(moved(rows, shard.name, placed))
    rows = pl.concat(frames)
    # A name of its own: of the release that it was chosen from, and of the choice.
    version = about.get("version", FIRST)
    parent = {"name": data.name, "version": version, "index_sha256": data.index_sha256}
    name = f"{data.name}-subset-{digest([parent, data.asked])[:8]}"
    said = {key: value for key, value in said.items() if key not in _NOT_PASSED}
    more = {"version": FIRST, "parent": parent, **({"release": said} if said else {})}
    more |= {"sources": about["sources"]} if "sources" in about else {}
    write_index(folder, name, "", shards, rows.to_arrow(), more)
    write_json(folder / "query.json", _query(data))
    write_first_changelog(folder, f"Chosen from version {version} of {data.name}.")
    if {"artwork_title", "track_license"} <= set(rows.columns):
        write_attribution(folder, rows.to_arrow())
        if data.store.is_local:
            check_sound(Path(data.store.location))
            carry(Path(data.store.location), folder, rows)
            carry_judgements(Path(data.store.location), folder, rows)
            copy_fits(Path(data.store.location), folder)
    write_readme(folder, name, shards, rows.height, asked=data.asked)


def _packed(data: Dataset, positions: np.ndarray, pairs_per_shard: int) -> Iterator[np.ndarray]:
    """The positions of each new shard; samples with the same key are in different ones."""
    keys = data.pointers.keys[positions]
    order = np.argsort(keys, kind="stable")
    _, first, inverse = np.unique(keys[order], return_index=True, return_inverse=True)
    nth = np.empty_like(order)
    nth[order] = np.arange(len(keys)) - first[inverse]
    for occurrence in range(int(nth.max(initial=-1)) + 1):
        some = positions[nth == occurrence]
        yield from np.array_split(some, max(1, round(len(some) / pairs_per_shard)))


_DIGESTED = (("jpg", "image_sha256"), ("mp3", "audio_sha256"))  # members, and their columns


def members(data: Dataset, order: Iterable[int]) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    """Yield (key, {extension: bytes}) of the samples at the positions `order`, undecoded.

    The .json of a sample of an earlier format is written as today. Raises BadData for a picture or
    clip that has another digest than the index states, and for a .json that differs from its row:
    a new shard would give it a right digest.
    """
    from artsound.shards.verify import check_json  # its checks of schemas load slowly

    said = set(arrow_schema("sample").names) <= set(data.frame.columns)
    pointers_ = data.pointers
    stated = [pair for pair in _DIGESTED if pair[1] in data.frame.columns]
    sums = {extension: data.frame[column] for extension, column in stated}
    for number in order:
        shard = pointers_.shards[pointers_.shard[number]].name
        pieces = data.store.read_ranges(shard, pointers_.ranges(number))
        parts = dict(zip(pointers_.present(number), pieces, strict=True))
        for extension in sums.keys() & parts.keys():
            if sha256_bytes(parts[extension]) != sums[extension][number]:
                raise BadData(
                    f"{data.store.location}/{shard}: {extension} of {pointers_.keys[number]} is "
                    "damaged: fetch or build that shard again."
                )
        if said and "json" in parts:
            row = data.frame.row(number, named=True)
            for problem in check_json(shard, row["key"], parts["json"], row):
                raise BadData(
                    f"{data.store.location}/{shard}: .json of {row['key']} is damaged "
                    f"({problem.message}): fetch or build that shard again."
                )
        if data.format != FORMAT and "json" in parts:
            parts["json"] = sample_json(sample_fields(parts["json"]))
        yield str(pointers_.keys[number]), parts


def moved(rows: pl.DataFrame, shard: str, placed: Sequence[Placed]) -> pl.DataFrame:
    """Index rows with the positions of their samples in a new shard."""
    places = pl.DataFrame([pointers(place) for place in placed])
    changed = [
        places[name].cast(pl.Int64).fill_null(-1 if name.endswith("_offset") else 0)
        for name in places.columns
    ]
    return rows.with_columns(pl.lit(shard).alias("shard"), *changed)


def write_ids(data: Dataset, path: Path) -> None:
    """Write the samples' ascending keys as .npy; the query beside it in .json.

    Keys that are all FMA's are written as its numbers.
    """
    numbers = [track_number(key) for key in sorted(data.frame["key"])]
    if is_ours(data.columns) and None not in numbers:
        ids = np.array(numbers, dtype=np.int32)
    else:
        ids = np.array(sorted(data.frame["key"]), dtype=np.str_)
    buffer = io.BytesIO()
    np.save(buffer, ids, allow_pickle=False)
    write_bytes(path, buffer.getvalue())
    write_json(path.with_suffix(".json"), {"source": _source(data, path), **_query(data)})


def _source(data: Dataset, path: Path) -> str:
    """Where the shards are; relative to the file `path`, so that both may move together."""
    source = data.store.location
    if not data.store.is_local:
        return source
    return Path(os.path.relpath(source, path.absolute().parent)).as_posix()


def _query(data: Dataset) -> dict[str, Any]:
    frame = data.frame
    return {
        "name": data.name,
        "samples": len(data),
        "query": list(data.asked),
        "splits": {
            split: (frame["split"] == split).sum() for split in frame["split"].unique().sort()
        },
    }
