"""The pair stage: splits, candidates, assignment and evidence; one part per split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artsound.errors import BadData
from artsound.pairing import evidence
from artsound.pairing.bridge import bridge, bridge_inputs
from artsound.pairing.candidates import check_vectors
from artsound.pairing.matching import match
from artsound.pairing.splits import SPLITS, split_artworks, split_tracks
from artsound.pairing.tiles import pair_scores
from artsound.recipe import Recipe
from artsound.records import Reject, to_table
from artsound.stage import Finish, Part, PartOutput, PartResult, Stage, part_path
from artsound.storage import Workspace, digest, read_parquet, sha256_file, write_parquet

_ARTWORK_COLUMNS = ("artwork_id", "painter_id", "style", "cluster")
_TRACK_COLUMNS = ("track_id", "artist_id", "genre", "split", "cluster")


@dataclass(frozen=True)
class Side:
    """The usable items of one side of the catalogue, ids ascending, and their splits."""

    ids: list[Any]
    splits: list[str]
    rows: pa.Table

    def of(self, split: str) -> list[int]:
        """The positions of a split's items."""
        return [n for n, name in enumerate(self.splits) if name == split]


def plan(workspace: Workspace, recipe: Recipe) -> list[Part]:
    """One part for each split that has tracks; each names its members and all vectors' digests."""
    artworks, tracks, moved = split_catalogue(workspace, recipe)
    if not tracks.ids:
        raise BadData(f"{workspace.catalog / 'tracks.parquet'} has no usable track to pair.")
    vectors = digest(
        {
            workspace.relative(path): sha256_file(path)
            for path in sorted(workspace.embeddings.glob("*/*"))
            if path.suffix in (".json", ".npy")
        }
    )
    names = (recipe.pair.bridge, *recipe.pair.compare)
    bridges = {name: bridge_inputs(name, workspace, recipe) for name in names}
    parts = []
    for split in SPLITS:
        mine, theirs = tracks.of(split), artworks.of(split)
        if not mine:
            continue
        if len(theirs) * recipe.pair.artwork_uses < len(mine):
            raise BadData(
                f"The {split} split has {len(mine)} tracks but only {len(theirs)} artworks: "
                "add artworks, lower sources.limit, or raise pair.artwork_uses."
            )
        inputs = {
            "split": split,
            "tracks": digest(tracks.rows.take(mine).to_pylist()),
            "artworks": digest(artworks.rows.take(theirs).to_pylist()),
            "vectors": vectors,
            "bridges": bridges,
            "moved": moved,
        }
        parts.append(Part(split, len(mine), inputs))
    return parts


def work(workspace: Workspace, recipe: Recipe, part: Part) -> PartOutput:
    """Pair the tracks of one split: its pairs, its unmatched items and the evidence."""
    split = part.inputs["split"]
    artworks, tracks, _ = split_catalogue(workspace, recipe)
    mine, theirs = tracks.of(split), artworks.of(split)
    track_ids = [tracks.ids[n] for n in mine]
    artwork_ids = [artworks.ids[n] for n in theirs]
    t, a = _vectors(workspace, recipe, recipe.pair.bridge, track_ids, artwork_ids)

    settings = recipe.pair
    found = match(
        t,
        a,
        count=settings.candidates,
        neighbours=settings.csls,
        floor=settings.floor,
        uses=settings.artwork_uses,
        painters=_whole_numbers(artworks.rows["painter_id"].take(theirs)),
        painter_uses=settings.painter_uses,
        optimality=settings.optimality,
        quick=settings.quick,
        device=settings.device,
    )
    chosen = found.assignment.artworks
    matched = np.flatnonzero(chosen >= 0)
    scores = pair_scores(t, a, matched, chosen[matched])
    columns = {
        "track_id": [track_ids[n] for n in matched],
        "artwork_id": [artwork_ids[n] for n in chosen[matched]],
        "split": [split] * len(matched),
        "score": scores,
        "bridge": [settings.bridge] * len(matched),
        "margin": evidence.margins(found.candidates, matched, chosen[matched], scores),
        "track_rank": found.audit.track_ranks[matched],
        "artwork_rank": found.audit.artwork_ranks[matched],
        "method": np.where(found.listed[matched], "sparse", "dense"),
    }
    pairs = part_path(workspace, STAGE.name, part.name)
    write_parquet(pairs, "pair", _rows(columns))

    rejects = tuple(
        Reject(
            stage="pair", side="track", item_id=f"{track_ids[n]:06d}", kind="filtered",
            reason="below-floor",
            message=f"No free artwork scores {settings.floor} or more: lower pair.floor.",
        )
        for n in np.flatnonzero(chosen < 0)
    )  # fmt: skip
    used = set(chosen[matched].tolist())
    unmatched = [("track", reject.item_id, reject.reason) for reject in rejects] + [
        ("artwork", name, "not-needed") for n, name in enumerate(artwork_ids) if n not in used
    ]
    spare = part_path(workspace, STAGE.name, part.name, ".unmatched.parquet")
    write_parquet(
        spare,
        "unmatched",
        [
            {"side": side, "item_id": item, "split": split, "reason": reason}
            for side, item, reason in unmatched
        ],
    )
    extra = evidence.of_split(t, a, found, scores, seed=recipe.seed, uses=settings.artwork_uses)
    extra["agreement"] = {
        name: evidence.agreement(
            (t, a),
            _vectors(workspace, recipe, name, track_ids, artwork_ids),
            chosen,
            recipe.seed,
        )
        for name in settings.compare
    }
    return PartOutput(len(matched), (pairs, spare), rejects, extra)


def finish(workspace: Workspace, recipe: Recipe, results: Sequence[PartResult]) -> Finish:
    """Merge the splits into pairs/pairs.parquet and pairs/unmatched.parquet."""
    artworks, tracks, _ = split_catalogue(workspace, recipe)
    there = {result.part.name for result in results}
    idle = [
        {"side": "artwork", "item_id": name, "split": split, "reason": "split-without-tracks"}
        for name, split in zip(artworks.ids, artworks.splits, strict=True)
        if split not in there
    ]
    pairs = pa.concat_tables(
        read_parquet(part_path(workspace, STAGE.name, result.part.name), "pair")
        for result in results
    ).sort_by("track_id")
    unmatched = pa.concat_tables(
        [to_table("unmatched", idle)]
        + [
            read_parquet(
                part_path(workspace, STAGE.name, result.part.name, ".unmatched.parquet"),
                "unmatched",
            )
            for result in results
        ]
    ).sort_by([("side", "ascending"), ("item_id", "ascending")])
    files = (workspace.pairs / "pairs.parquet", workspace.pairs / "unmatched.parquet")
    write_parquet(files[0], "pair", pairs)
    write_parquet(files[1], "unmatched", unmatched)
    splits = {result.part.name: dict(result.extra) for result in results}
    histograms = [split.pop("histograms") for split in splits.values()]
    extra = {
        "bridge": recipe.pair.bridge,
        "moved_tracks": results[0].part.inputs["moved"],
        "overall": evidence.overall(list(splits.values())),
        "splits": splits,
        "scores": evidence.merge_histograms(histograms),
        "style_genre": evidence.style_genre(pairs, artworks.rows, tracks.rows),
        **evidence.most_and_least_certain(pairs),
    }
    return Finish(files, extra)


STAGE = Stage(
    name="pair",
    version=1,
    sections=("seed", "split", "pair"),
    plan=plan,
    work=work,
    finish=finish,
    side_by_side=False,
)


def split_catalogue(workspace: Workspace, recipe: Recipe) -> tuple[Side, Side, int]:
    """Artworks and tracks with their splits, and how many tracks left their official split.

    Items that the embed stage rejected are left out: it has already accounted for them.
    """
    lost = read_parquet(workspace.catalog / "rejects.parquet", "reject")
    lost = lost.filter(pc.equal(lost["stage"], "embed"))
    artworks = read_parquet(workspace.catalog / "artworks.parquet", "artwork", _ARTWORK_COLUMNS)
    artworks = _without(artworks.sort_by("artwork_id"), "artwork_id", lost["item_id"])
    tracks = read_parquet(workspace.catalog / "tracks.parquet", "track", _TRACK_COLUMNS)
    gone = pc.cast(lost.filter(pc.equal(lost["side"], "track"))["item_id"], pa.int32())
    tracks = _without(tracks.sort_by("track_id"), "track_id", gone)

    shares = (recipe.split.train, recipe.split.val, recipe.split.test)
    of_tracks = split_tracks(
        tracks["split"].to_pylist(),
        tracks["artist_id"].to_pylist(),
        tracks["cluster"].to_pylist(),
        shares=shares,
        seed=recipe.seed,
    )
    uses = recipe.pair.artwork_uses
    of_artworks = split_artworks(
        artworks["painter_id"].to_pylist(),
        artworks["style"].to_pylist(),
        artworks["cluster"].to_pylist(),
        needs=[-(-of_tracks.splits.count(split) // uses) for split in SPLITS],
        shares=shares,
        seed=recipe.seed,
    )
    return (
        Side(artworks["artwork_id"].to_pylist(), of_artworks, artworks),
        Side(tracks["track_id"].to_pylist(), of_tracks.splits, tracks),
        of_tracks.moved,
    )


def _without(table: pa.Table, column: str, gone: pa.ChunkedArray) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table[column], gone)))


def _vectors(
    workspace: Workspace,
    recipe: Recipe,
    name: str,
    track_ids: list[int],
    artwork_ids: list[str],
) -> tuple[np.ndarray, np.ndarray]:
    """The unit vectors of these tracks and of these artworks in one bridge's space, checked."""
    all_artworks, a, all_tracks, t = bridge(name, workspace, recipe)
    check_vectors(a, all_artworks, "artworks")
    check_vectors(t, all_tracks, "tracks")
    return (
        _take(t, all_tracks, [f"{track:06d}" for track in track_ids], "track"),
        _take(a, all_artworks, artwork_ids, "artwork"),
    )


def _take(vectors: np.ndarray, ids: Sequence[str], wanted: Sequence[str], side: str) -> np.ndarray:
    place = {name: n for n, name in enumerate(ids)}
    if missing := [name for name in wanted if name not in place]:
        raise BadData(
            f"The {side} {missing[0]} has no vector ({len(missing)} in all): run `artsound embed`."
        )
    return np.ascontiguousarray(vectors[[place[name] for name in wanted]], dtype=np.float32)


def _whole_numbers(names: pa.ChunkedArray) -> np.ndarray:
    """The painters as numbers; an unknown one ("") is nobody else's."""
    known = [name or f" {n}" for n, name in enumerate(names.to_pylist())]
    numbers: np.ndarray = np.unique(known, return_inverse=True)[1]
    return numbers


def _rows(columns: dict[str, Any]) -> list[dict[str, Any]]:
    lists = [column.tolist() if isinstance(column, np.ndarray) else column
             for column in columns.values()]  # fmt: skip
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
