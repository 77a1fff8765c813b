"""The embed stage: vectors of every artwork and track of the catalogue.

All items are measured, and embedded by the encoders that the recipe's bridges and checks of
captions need. Vectors are cached by the content of the files, so that after a change of catalogue
or recipe only new ones are computed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from artsound.catalogue import (
    SIDES,
    MediaFiles,
    MediaItem,
    SideName,
    descriptors_path,
    media_items,
    read_media,
    unreadable,
)
from artsound.encoders.base import (
    embedding_folder,
    encoder_digest,
    find_encoder,
    media_encoders,
    open_encoder,
    save_embeddings,
    text_encoders,
)
from artsound.encoders.batching import ItemError, one_torch_thread
from artsound.encoders.descriptors import MADE_BY, VERSION
from artsound.encoders.measuring import measure_clip, measure_picture
from artsound.errors import BadData
from artsound.media import MediaError
from artsound.recipe import Recipe
from artsound.schema import arrow_schema
from artsound.sources.ingest import measured_path
from artsound.stage import (
    Context,
    Outcome,
    Part,
    Report,
    Stage,
    is_made_from,
    part_path,
    recall,
    remember,
    split_into_parts,
)
from artsound.storage import (
    Workspace,
    atomic_write,
    digest,
    read_parquet,
    sha256_file,
    write_parquet,
)
from artsound.untrusted import read_array


class VectorCache:
    """Vectors float16 [D] by the SHA-256 of what they were made from, in one folder.

    Its files hold structured arrays of digests and vectors. A file is written once and never
    changed; the folder may be deleted. Safe for threads and for several processes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[str] = set()
        self._places: dict[str, tuple[Path, int]] = {}
        self._lock = threading.Lock()

    def find(self, contents: Iterable[str]) -> dict[str, np.ndarray]:
        """The vectors of those SHA-256 digests that are known, by digest."""
        with self._lock:
            self._look_for_new_files()
            places = {sha: self._places[sha] for sha in contents if sha in self._places}
        tables = {path: _read(path) for path, _ in places.values()}
        found = {}
        for sha, (path, row) in places.items():
            table = tables[path]
            if table is not None and row < len(table):
                found[sha] = np.array(table["vector"][row])
        return found

    def add(self, contents: Sequence[str], vectors: np.ndarray) -> None:
        """Store the vectors [n, D] of n SHA-256 digests."""
        table = np.empty(
            len(contents), [("sha256", "S64"), ("vector", np.float16, (vectors.shape[1],))]
        )
        table["sha256"], table["vector"] = contents, vectors
        with atomic_write(self._folder / f"{digest(list(contents))[:32]}.npy") as file:
            np.save(file, table, allow_pickle=False)

    def _look_for_new_files(self) -> None:
        for path in sorted(self._folder.glob("*.npy")):
            if path.name not in self._seen:
                self._seen.add(path.name)
                table = _read(path)
                for row, sha in enumerate([] if table is None else table["sha256"]):
                    self._places.setdefault(sha.decode("ascii", "replace"), (path, row))


def _read(path: Path) -> np.ndarray | None:
    """A cache file's table, memory-mapped; None if it is broken or missing."""
    try:
        table = read_array(path, mapped=True)
    except (OSError, ValueError):
        return None
    known = table.ndim == 1 and table.dtype.names == ("sha256", "vector")
    return table if known and table.dtype["vector"].base == np.float16 else None


def plan_vectors(context: Context) -> list[Part]:
    """Parts for each encoder whose vectors the recipe needs; BadData if weights are missing."""
    recipe = context.recipe
    parts = []
    for side, name in _encoders(context.workspace, recipe):
        made_by = encoder_digest(name, recipe)
        items = media_items(context, SIDES[side])
        prefix = f"{embedding_folder(context.workspace, name).name}-{side}"
        for part, start, stop in split_into_parts(prefix, len(items), recipe.run.part_size):
            inputs = {
                "side": side,
                "start": start,
                "stop": stop,
                "encoder": name,
                "encoder_digest": made_by,
                "digest": digest([[item.id, item.sha256] for item in items[start:stop]]),
            }
            parts.append(Part(part, stop - start, inputs))
    return parts


def check_encoders(context: Context) -> None:
    """Raise BadUsage or BadData if weights that the recipe needs are unavailable."""
    names = [name for _, name in _encoders(context.workspace, context.recipe)]
    for name in dict.fromkeys([*names, *text_encoders(context.recipe)]):
        encoder_digest(name, context.recipe)


def make_vectors(context: Context, part: Part, stage: str) -> Outcome:
    """One part's vectors float16 [n, D] in the catalogue's order; BadData for an unusable file."""
    workspace, recipe = context.workspace, context.recipe
    side: SideName = part.inputs["side"]
    items = media_items(context, SIDES[side])[part.inputs["start"] : part.inputs["stop"]]
    made_by = part.inputs["encoder_digest"]
    folder = f"{embedding_folder(workspace, part.inputs['encoder']).name}-{made_by[:16]}"
    path = workspace.embeddings / "cache" / folder
    cache = context.once(f"vectors {folder}", lambda: VectorCache(path))
    vectors = cache.find(item.sha256 for item in items)
    unknown = {item.sha256: item for item in items if item.sha256 not in vectors}
    if unknown:
        made = _encoded(workspace, recipe, part, list(unknown.values()))
        cache.add(list(unknown), made)
        vectors |= dict(zip(unknown, made, strict=True))
    path = part_path(workspace, stage, part.name, ".npy")
    with atomic_write(path) as file:
        np.save(file, np.stack([vectors[item.sha256] for item in items]), allow_pickle=False)
    return Outcome((path,), len(items), extra={"computed": len(unknown)})


def merge_vectors(
    context: Context, results: Sequence[Report], stage: str
) -> tuple[list[Path], Mapping[str, int]]:
    """Write embeddings/<encoder>/{artworks,tracks}.{npy,json}; the files, and counts of items."""
    workspace = context.workspace
    files: list[Path] = []
    counts: dict[str, int] = {}
    for side in SIDES:
        parts = [report.done for report in results if report.done.inputs["side"] == side]
        embedded = [part for part in parts if "encoder" in part.inputs]
        for name in dict.fromkeys(part.inputs["encoder"] for part in embedded):
            own = [part for part in embedded if part.inputs["encoder"] == name]
            ids = [item.id for item in media_items(context, SIDES[side])]
            rows = [read_array(part_path(workspace, stage, part.name, ".npy")) for part in own]
            made_by = own[0].inputs["encoder_digest"]
            files += save_embeddings(workspace, name, side, made_by, ids, np.concatenate(rows))
            counts[f"{SIDES[side].name}s by {name}"] = len(ids)
    return files, counts


def _encoders(workspace: Workspace, recipe: Recipe) -> list[tuple[SideName, str]]:
    """Sides, with the encoders to embed them by.

    If an encoder is not installed, vectors that were made elsewhere are used as they are.
    """
    return [
        (side, name)
        for side, name in media_encoders(recipe)
        if find_encoder(name)[0].installed() or not embedding_folder(workspace, name).is_dir()
    ]


def _encoded(
    workspace: Workspace, recipe: Recipe, part: Part, items: Sequence[MediaItem]
) -> np.ndarray:
    encoder = open_encoder(part.inputs["encoder"], recipe)
    if encoder.digest != part.inputs["encoder_digest"]:
        raise BadData("An encoder's weights changed while the build ran: run `artsound embed`.")
    files = MediaFiles(workspace, items)
    read = encoder.images if part.inputs["side"] == "artworks" else encoder.audio
    try:
        with one_torch_thread():
            rows = read(files)
    except ItemError as error:
        raise unreadable(items[error.index], error) from error
    except MediaError as error:  # an encoder of another package need not tell the item
        raise BadData(
            f"{part.inputs['encoder']} cannot read a file of {part.name}: {error}."
        ) from (error)
    return rows.astype(np.float16)


NAME = "embed"


def plan(context: Context) -> list[Part]:
    """Parts of both sides with the digests of their rows: for measuring, then for each encoder."""
    recipe = context.recipe
    parts = []
    for side in SIDES:
        items = media_items(context, SIDES[side])
        for name, start, stop in split_into_parts(
            f"affect-{side}", len(items), recipe.run.part_size
        ):
            inputs = {
                "side": side,
                "start": start,
                "stop": stop,
                "affect": VERSION,
                "digest": digest([[i.id, i.path, i.sha256] for i in items[start:stop]]),
            }
            parts.append(Part(name, stop - start, inputs))
    return parts + plan_vectors(context)


def work(context: Context, part: Part) -> Outcome:
    """Measure or embed one part's pictures or clips; BadData if a stored file is unusable."""
    if "encoder" in part.inputs:
        return make_vectors(context, part, NAME)
    workspace = context.workspace
    side = part.inputs["side"]
    record = SIDES[side].name
    items = media_items(context, SIDES[side])[part.inputs["start"] : part.inputs["stop"]]
    schema = SIDES[side].descriptors
    # Ingest has measured what it decoded; an earlier run of this stage, what has not changed since.
    tables = (measured_path(workspace, record), descriptors_path(workspace, SIDES[side]))
    known: dict[str, Mapping[str, Any]] = {}
    for table in tables:
        left = [item for item in items if item.id not in known]
        _, found = recall(
            context, MADE_BY, table, schema, [item.id for item in left], [i.sha256 for i in left]
        )
        known |= {row[SIDES[side].key]: row for row in found.to_pylist()}
    rows = [
        known.get(item.id) or {SIDES[side].key: item.id, **_measure(workspace, side, item)}
        for item in items
    ]
    path = part_path(workspace, NAME, part.name)
    sha256 = write_parquet(path, f"{record}_descriptors", rows, durable=False)
    return Outcome((path,), len(rows), digests={path: sha256})


def finish(context: Context, results: Sequence[Report]) -> Outcome:
    """Merge the parts: embeddings/affect/{artworks,tracks}.parquet, .npy and .json.

    The matrix holds the numeric descriptors, float32, in the schema's order. The files of a side
    stay as they are if they were merged from just these parts.
    """
    workspace = context.workspace
    files: list[Path] = []
    extra: dict[str, int] = {}
    for side in SIDES:
        parts = [
            one
            for one in results
            if one.done.inputs["side"] == side and "encoder" not in one.done.inputs
        ]
        path = descriptors_path(workspace, SIDES[side])
        beside = [path.with_suffix(".npy"), path.with_suffix(".json")]
        if not is_made_from(workspace, path, MADE_BY, _made_from(parts, beside)):
            _merge_measures(context, side, parts, path)
        files += [path, *beside]
        extra[side] = sum(one.items_out for one in parts)
    more, counts = merge_vectors(context, results, NAME)
    return Outcome((*files, *more), extra={**extra, **counts})


def _merge_measures(context: Context, side: SideName, parts: Sequence[Report], path: Path) -> None:
    """Write the descriptors of all parts of a side, and let `recall` find them."""
    workspace, schema = context.workspace, SIDES[side].descriptors
    tables = [read_parquet(part_path(workspace, NAME, one.done.name), schema) for one in parts]
    table = pa.concat_tables(tables) if tables else arrow_schema(schema).empty_table()
    write_parquet(path, schema, table)
    ids = table[SIDES[side].key].to_pylist()
    beside = save_embeddings(workspace, "affect", side, MADE_BY, ids, numbers(table))
    contents = {item.id: item.sha256 for item in media_items(context, SIDES[side])}
    digests = [contents[item] for item in ids]
    remember(workspace, MADE_BY, path, ids, digests, made_from=_made_from(parts, beside))


def _made_from(parts: Sequence[Report], beside: Sequence[Path]) -> str:
    """The digest of all parts that the table of a side is merged from, and of the files beside it.

    A damaged or missing file has another digest than when it was written.
    """
    there = [sha256_file(path) if path.is_file() else "" for path in beside]
    made = [[one.done.name, dict(one.done.inputs), dict(one.files)] for one in parts]
    return digest([made, there])


def needs(recipe: Recipe, part: Part) -> tuple[str, ...]:
    """Embedding on a GPU needs it for itself; measuring does not."""
    if "encoder" not in part.inputs or recipe.embed.device == "cpu":
        return ()
    return ("gpu",) if find_encoder(part.inputs["encoder"])[0].uses_gpu else ()


STAGE = Stage(
    name=NAME,
    version=3,
    sections=(),
    plan=plan,
    work=work,
    finish=finish,
    needs=needs,
    check=check_encoders,
)


def numbers(table: pa.Table) -> np.ndarray:
    """The numeric descriptors of a table, float32 [n, D] in the order of its columns."""
    columns = [f.name for f in table.schema if pa.types.is_float32(f.type)]
    return np.stack([table[name].to_numpy() for name in columns], axis=1)


def _measure(workspace: Workspace, side: SideName, item: MediaItem) -> Mapping[str, Any]:
    data = read_media(workspace, item)
    try:
        if side == "artworks":
            return measure_picture(data)
        return measure_clip(data)
    except MediaError as error:
        raise unreadable(item, error) from error
