"""What a folder of shards says of itself: whom to thank, and what lies in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from artsound.shards.index import SPLITS
from artsound.shards.write import Shard
from artsound.storage import write_bytes

_COLUMNS = ("side", "id", "title", "author", "licence", "licence_id", "source", "source_url")
_ARTWORK = (
    *("artwork_id", "artwork_title", "painter", "artwork_rights_reason"),
    *("artwork_license_id", "artwork_source", "artwork_source_url"),
)
_TRACK = (
    *("key", "title", "artist", "track_license"),
    *("track_license_id", "track_source", "track_source_url"),
)


def write_attribution(folder: Path, rows: pa.Table) -> Path:
    """Write ATTRIBUTION.csv: title, author, licence and source of every artwork and track.

    A track's licence is told as its source writes it; an artwork's by why we think so.
    """
    lines = {
        (side, *row.values())
        for side, columns in (("artwork", _ARTWORK), ("track", _TRACK))
        for row in rows.select(list(columns)).to_pylist()
    }
    text = "".join(_csv_line(line) for line in (_COLUMNS, *sorted(lines)))
    write_bytes(folder / "ATTRIBUTION.csv", text.encode())
    return folder / "ATTRIBUTION.csv"


def _csv_line(values: Sequence[object]) -> str:
    """One row of CSV, ended by a line feed.

    The writer quotes only the line breaks that it ends rows with, so it is given both kinds:
    readers end a row at an unquoted carriage return, too.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue().removesuffix("\r\n") + "\n"


def write_readme(
    folder: Path, name: str, shards: Sequence[Shard], samples: int, asked: Sequence[str] = ()
) -> Path:
    """Write README.md: what the folder holds, what was `asked` to choose it, how to read it."""
    lines = [
        f"# {name}",
        "",
        f"{samples:,} pairs of an artwork and a music clip, with a caption for each, as "
        "WebDataset shards.",
        "",
        *(f"Chosen by `{condition}`." for condition in asked),
        *([""] if asked else []),
        "| split | shards | pairs | bytes |",
        "|---|---:|---:|---:|",
    ]
    for split in SPLITS:
        some = [shard for shard in shards if shard.split == split]
        if some:
            pairs, size = sum(s.samples for s in some), sum(s.bytes for s in some)
            lines.append(f"| {split} | {len(some):,} | {pairs:,} | {size:,} |")
    lines += [
        "",
        "A sample `000010` has three members: `000010.jpg` (the artwork, longest side at most "
        "1,024 pixels), `000010.mp3` (the clip's original bytes) and `000010.json` (captions, "
        "metadata, rights of both sides, score, digests). No painter and no musician occurs in "
        "two splits.",
        "",
        "`index.parquet` has a row per sample with all its fields and the place of its bytes; "
        "`index.json` has an entry per shard with its SHA-256; `ATTRIBUTION.csv` names title, "
        "author, licence and source of every work: keep it with the data.",
        "",
        "```python",
        "import artsound",
        'data = artsound.open(".").filter(split="train", where="track_commercial")',
        "",
        "import webdataset  # or any other reader of WebDataset",
        f'plain = webdataset.WebDataset("{shards[0].name}", shardshuffle=False)',
        "```",
        "",
        "`artsound verify --deep .` checks every byte.",
        "",
    ]
    write_bytes(folder / "README.md", "\n".join(lines).encode())
    return folder / "README.md"
