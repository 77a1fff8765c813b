"""The caption stage: one caption for every artwork and every track that a pair uses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from artsound.captions.grounded_artwork import describe_artwork
from artsound.captions.grounded_track import describe_track
from artsound.captions.phrasing import word_count
from artsound.errors import BadData, BadUsage
from artsound.recipe import Recipe
from artsound.records import Caption, from_row
from artsound.stage import (
    Finish,
    Part,
    PartOutput,
    PartResult,
    Stage,
    part_path,
    split_into_parts,
)
from artsound.storage import Workspace, digest, read_parquet, sha256_bytes, write_parquet

GROUNDED_VERSION = "1"


@dataclass(frozen=True)
class Side:
    """One side of the pairs: where its records lie and what describes one of them."""

    name: str
    files: str
    key: str
    describe: Callable[[Any, Any], str]

    def item_id(self, key: Any) -> str:
        return f"{key:06d}" if self.key == "track_id" else str(key)


SIDES: Mapping[str, Side] = {
    "artworks": Side("artwork", "artworks", "artwork_id", describe_artwork),
    "tracks": Side("track", "tracks", "track_id", describe_track),
}


def plan(workspace: Workspace, recipe: Recipe) -> list[Part]:
    """Parts of each side's paired items, by id; each names the digest of its records."""
    parts = []
    for side in SIDES.values():
        records, descriptors = _paired_rows(workspace, side)
        for name, start, stop in split_into_parts(side.files, len(records), recipe.run.part_size):
            rows = digest(
                [_rows_digest(table.slice(start, stop - start)) for table in (records, descriptors)]
            )
            inputs = {"side": side.files, "start": start, "stop": stop, "rows": rows}
            parts.append(Part(name, stop - start, inputs))
    return parts


def work(workspace: Workspace, recipe: Recipe, part: Part) -> PartOutput:
    """Caption the items of one part."""
    side = SIDES[part.inputs["side"]]
    if (captioner := getattr(recipe.captions, side.files)) != "grounded":
        raise BadUsage(
            f'There is no captioner {captioner!r}: write captions.{side.files} = "grounded".'
        )
    start, stop = part.inputs["start"], part.inputs["stop"]
    records, descriptors = _paired_rows(workspace, side)
    captions = [
        _grounded(side, record, measured)
        for record, measured in zip(
            records.slice(start, stop - start).to_pylist(),
            descriptors.slice(start, stop - start).to_pylist(),
            strict=True,
        )
    ]
    path = part_path(workspace, STAGE.name, part.name)
    write_parquet(path, "caption", captions)
    return PartOutput(len(captions), (path,))


def finish(workspace: Workspace, recipe: Recipe, results: Sequence[PartResult]) -> Finish:
    """Merge the parts into captions/artworks.parquet and captions/tracks.parquet."""
    files: list[Path] = []
    extra: dict[str, Any] = {}
    for side in SIDES.values():
        tables = [
            read_parquet(workspace.path(name), "caption")
            for result in results
            if result.part.inputs["side"] == side.files
            for name in result.files
        ]
        if not tables:
            raise BadData("There are no pairs to caption: run the stages before this one.")
        table = pa.concat_tables(tables).sort_by("item_id")
        path = workspace.captions / f"{side.files}.parquet"
        write_parquet(path, "caption", table)
        files.append(path)
        extra[side.files] = {"captioner": getattr(recipe.captions, side.files), **_summary(table)}
    return Finish(tuple(files), extra)


STAGE = Stage(
    name="caption", version=1, sections=("captions",), plan=plan, work=work, finish=finish
)


def _grounded(side: Side, record: Mapping[str, Any], measured: Mapping[str, Any]) -> Caption:
    text = side.describe(
        from_row(side.name, record), from_row(f"{side.name}_descriptors", measured)
    )
    return Caption(
        side=side.name,
        item_id=side.item_id(record[side.key]),
        caption=text,
        captioner="grounded",
        captioner_version=GROUNDED_VERSION,
        prompt="",
        settings=json.dumps({}),
        words=word_count(text),
        fallback_reason="",
    )


def _summary(table: pa.Table) -> dict[str, Any]:
    words = table.column("words").to_numpy()
    return {
        "captions": len(table),
        "distinct_share": round(pc.count_distinct(table.column("caption")).as_py() / len(table), 6),
        "mean_words": round(float(words.mean()), 3),
        "min_words": int(words.min()),
        "max_words": int(words.max()),
    }


def _paired_rows(workspace: Workspace, side: Side) -> tuple[pa.Table, pa.Table]:
    """Records and descriptors of the side's paired items, row for row, by ascending id."""
    pairs = workspace.pairs / "pairs.parquet"
    catalog = workspace.catalog / f"{side.files}.parquet"
    measured = workspace.embeddings / "affect" / f"{side.files}.parquet"
    for path in (pairs, catalog, measured):
        if not path.is_file():
            raise BadData(f"{path} is missing: run the stage that writes it first.")
    return _select(
        side.files, *((path, path.stat().st_mtime_ns) for path in (pairs, catalog, measured))
    )


@lru_cache(maxsize=2)
def _select(
    files: str, pairs: tuple[Path, int], catalog: tuple[Path, int], measured: tuple[Path, int]
) -> tuple[pa.Table, pa.Table]:
    # The times of change are part of the cache's key: a worker may outlive a file.
    side = SIDES[files]
    used = pc.unique(read_parquet(pairs[0], "pair", [side.key]).column(side.key))
    used = used.take(pc.array_sort_indices(used))
    tables = []
    for path, name in (
        (catalog[0], side.name),
        (measured[0], f"{side.name}_descriptors"),
    ):
        table = read_parquet(path, name)
        where = pc.index_in(used, value_set=table.column(side.key))
        if where.null_count:
            lost = side.item_id(used.filter(pc.is_null(where))[0].as_py())
            raise BadData(
                f"{path} lacks {side.name} {lost}, which a pair uses: run the stage anew."
            )
        tables.append(table.take(where).combine_chunks())
    return tables[0], tables[1]


def _rows_digest(table: pa.Table) -> str:
    """A digest of a table's rows, whatever larger table they are a slice of."""
    sink = pa.BufferOutputStream()
    rows = table.take(pa.array(range(len(table)), pa.int64())).combine_chunks()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sha256_bytes(sink.getvalue().to_pybytes())
