"""A release as Parquet with thumbnails, for viewers of tables: the Hugging Face Hub's among them.

The Hub shows WebDataset shards as one nested column that cannot be searched, and reads only their
beginning. The companion that `artsound push --viewer` writes beside a release has a row per pair,
every field in a column of its own and a small picture in place of the members.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from artsound.columns import SAMPLE
from artsound.media.images import release_jpeg
from artsound.schema import arrow_schema
from artsound.shards.dataset import Dataset, open_pairs
from artsound.shards.index import SPLITS, read_shard_index
from artsound.storage import atomic_write, make_folder, write_bytes

SIDE = 256  # pixels of the longer side of a thumbnail, at most
_QUALITY = 85
_ROWS = 1000  # of one file
_HUB_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_README = "README.md"
_IMAGE = pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def write_viewer(folder: Path, out: Path) -> list[Path]:
    """Write the companion of a release.

    Args:
        folder: The release.
        out: A folder for the files: {split}-{nnnnn}.parquet with the columns of a sample and
            `image`, a JPEG of at most SIDE pixels, null where the picture may not be passed on;
            and README.md, which declares them for the Hub. Equal releases give equal bytes.

    Returns:
        The files, README.md last.

    Raises:
        BadData: The release is damaged.
    """
    data = open_pairs(folder)
    make_folder(out)
    written: dict[str, list[Path]] = {}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for split in SPLITS:
            positions = data.frame.with_row_index("at").filter(split=split)["at"].to_list()
            for number, start in enumerate(range(0, len(positions), _ROWS)):
                path = out / f"{split}-{number:05d}.parquet"
                table = _table(data, positions[start : start + _ROWS], pool)
                with atomic_write(path) as file:
                    pq.write_table(table, file, compression="zstd", row_group_size=100)
                written.setdefault(split, []).append(path)
    write_bytes(out / _README, _readme(data, written).encode())
    return [*(path for paths in written.values() for path in paths), out / _README]


def _table(data: Dataset, positions: list[int], pool: ThreadPoolExecutor) -> pa.Table:
    """The rows of one file."""
    rows = data.frame[positions].select(column.name for column in SAMPLE)
    allowed = rows["artwork_redistribute"].to_list()

    def thumbnail(position: int, free: bool) -> dict[str, Any] | None:
        if not free:
            return None
        jpeg = release_jpeg(data.read(position)["jpg"], max_side=SIDE, quality=_QUALITY)
        return {"bytes": jpeg, "path": None}

    images = pa.array(list(pool.map(thumbnail, positions, allowed)), _IMAGE.type)
    fields = [_IMAGE, *(field.remove_metadata() for field in arrow_schema("sample"))]
    features = {"image": {"_type": "Image"}, **{f.name: _feature(f.type) for f in fields[1:]}}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pl.DataFrame(rows).to_arrow().cast(pa.schema(fields[1:]))
    return pa.table([images, *table.columns], schema=pa.schema(fields, metadata=about))


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """The feature of Hugging Face datasets for a type."""
    if pa.types.is_list(kind):
        return {"_type": "List", "feature": _feature(kind.value_type)}
    names = {"float": "float32", "double": "float64"}
    return {"_type": "Value", "dtype": names.get(str(kind), str(kind))}


def _readme(data: Dataset, written: dict[str, list[Path]]) -> str:
    """README.md: front matter that names the files of each split, and what they are."""
    about = read_shard_index(data.store)
    return "\n".join(
        [
            "---",
            "license: other",
            "license_name: mixed-per-item",
            "tags:",
            "- art",
            "- music",
            "configs:",
            "- config_name: default",
            "  data_files:",
            *_entries(written),
            "---",
            "",
            f"# {data.name}: table with thumbnails",
            "",
            f"A row for each of the {len(data):,} pairs of `{data.name}` "
            f"{about.get('version', '')}, index `{data.index_sha256}`, for looking and searching: "
            f"pictures are of at most {SIDE} pixels, and there is no sound. The release itself has "
            "the pictures, the clips, the cards and the licences; `ATTRIBUTION.csv` of the release "
            "credits every work, also those shown here.",
            "",
        ]
    )


def _entries(written: dict[str, list[Path]]) -> Iterator[str]:
    for split, paths in written.items():
        yield f"  - split: {_HUB_SPLITS[split]}"
        yield "    path:"
        yield from (f"    - {json.dumps(path.name)}" for path in paths)
