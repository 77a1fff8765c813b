"""The pair stage: splits, candidates, assignment and evidence; one part per split.

Pairs of a previous release stay, and only other tracks are matched. Imported pairs take the place
of candidates and assignment; the rows of their file are then the stage's items, and the rejected
ones form a part of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from artsound import plugins
from artsound.encoders.base import bridges_of
from artsound.errors import BadData, BadUsage
from artsound.pairing import evidence
from artsound.pairing.affect import load_axes, read_fit
from artsound.pairing.bridge import (
    saved_fits,
    unit_vectors,
    vector_inputs,
    vectors_measured_again,
)
from artsound.pairing.calibrate import read_ratings
from artsound.pairing.concepts import load_bank
from artsound.pairing.excluded import excluded_keys, excluded_pairs
from artsound.pairing.imported_pairs import ImportedPair, imported_pairs, unpaired
from artsound.pairing.match import (
    Match,
    continue_split,
    evaluate_match,
    match_split,
    painter_numbers,
)
from artsound.pairing.previous_release import (
    FITS,
    PreviousPair,
    previous_release,
    with_previous_scores,
)
from artsound.pairing.saved_match import remove_saved
from artsound.pairing.search import pair_scores
from artsound.pairing.splits import SPLITS, PairSide, split_catalogue
from artsound.recipe import Recipe
from artsound.schema import Reject, arrow_schema, to_table
from artsound.stage import Context, Outcome, Part, Report, Stage, part_path
from artsound.storage import Workspace, digest, read_parquet, write_json, write_parquet

_RUNNERS_UP = ".runners_up.parquet"
_FALLEN_OUT = "fallen-out"  # the part of rejected rows of imported pairs


def check(context: Context) -> None:
    """Check the recipe before the stage begins.

    Raises:
        BadUsage: Options exclude each other, or a file or the previous release is missing.
        BadData: A file or the previous release is broken.
    """
    recipe = context.recipe
    if recipe.pair.given and recipe.sources.base:
        raise BadUsage(
            "Imported pairs replace those of a release: use pair.given or sources.base, not both."
        )
    if recipe.pair.given and recipe.pair.exclude:
        raise BadUsage(
            "Imported pairs are not matched: use shards.exclude in place of pair.exclude."
        )
    excluded_pairs(recipe)
    previous_release(context)
    load_bank(recipe.pair.concept_bank)
    load_axes(recipe.pair.affect_axes)
    if recipe.pair.affect_fit:
        read_fit(recipe.pair.affect_fit)
    if recipe.pair.calibrate:
        if not hasattr(plugins.get("bridge", recipe.pair.bridge)[0], "parts"):
            raise BadUsage(
                "pair.calibrate weighs the bridges of a fusion, and "
                f"{recipe.pair.bridge} has none: use, for example, --bridge fusion:affect+text."
            )
        read_ratings(recipe.pair.calibrate)


def plan(context: Context) -> list[Part]:
    """One part for each split that has tracks, with the digests of its members and all vectors."""
    workspace, recipe = context.workspace, context.recipe
    check(context)
    if recipe.pair.given:
        return _plan_imported(context)
    catalogue = split_catalogue(context)
    artworks, tracks = catalogue.artworks, catalogue.tracks
    if not tracks.ids:
        raise BadData(f"{workspace.catalog / 'tracks.parquet'} has no usable track to pair.")
    vectors, bridges = vector_inputs(context)
    all_excluded = excluded_pairs(recipe)
    parts = []
    for split in SPLITS:
        mine, theirs = tracks.of(split), artworks.of(split)
        if not mine:
            continue
        new, free = catalogue.to_match(split)
        excluded = excluded_keys(
            all_excluded, [tracks.ids[n] for n in mine], [artworks.ids[n] for n in theirs]
        ).tolist()
        if len(free) * recipe.pair.artwork_uses < len(new):
            which = ("new ", "unused ") if catalogue.base else ("", "")
            raise BadData(
                f"The {split} split has {len(new)} {which[0]}tracks but only {len(free)} "
                f"{which[1]}artworks: "
                "add artworks, lower sources.limit, or raise pair.artwork_uses."
            )
        inputs = {
            "split": split,
            "tracks": digest(tracks.rows.take(mine).to_pylist()),
            "artworks": digest(artworks.rows.take(theirs).to_pylist()),
            "vectors": vectors,
            "bridges": bridges,
            "moved": catalogue.moved,
            **({"base": catalogue.base} if catalogue.base else {}),
            **({"excluded": excluded} if excluded else {}),
        }
        parts.append(Part(split, len(mine), inputs))
    return parts


def _plan_imported(context: Context) -> list[Part]:
    """One part for each split that has imported pairs, and one for the rejected rows."""
    recipe = context.recipe
    imported = imported_pairs(context)
    if not imported.pairs:
        counted = Counter(reject.reason for reject in imported.rejects).most_common(5)
        reasons = ", ".join(f"{count} × {reason}" for reason, count in counted)
        raise BadData(
            f"None of the {len(imported.rejects):,} pairs in {recipe.pair.given} can be used: "
            f"{reasons}."
        )
    vectors, bridges = vector_inputs(context)
    parts = []
    for split in SPLITS:
        if pairs := imported.of(split):
            inputs = {
                "split": split,
                "pairs": digest([asdict(pair) for pair in pairs]),
                "vectors": vectors,
                "bridges": bridges,
                "moved": imported.moved,
            }
            parts.append(Part(split, len(pairs), inputs))
    if imported.rejects:
        inputs = {"rows": digest([asdict(reject) for reject in imported.rejects])}
        parts.append(Part(_FALLEN_OUT, len(imported.rejects), inputs))
    return parts


def work(context: Context, part: Part) -> Outcome:
    """Pair the tracks of one split: its pairs, its unmatched items and the evidence."""
    workspace, recipe = context.workspace, context.recipe
    if recipe.pair.given:
        return _work_imported(context, part)
    split = part.inputs["split"]
    catalogue = split_catalogue(context)
    artworks, tracks = catalogue.artworks, catalogue.tracks
    mine, theirs = tracks.of(split), artworks.of(split)
    track_ids = [tracks.ids[n] for n in mine]
    artwork_ids = [artworks.ids[n] for n in theirs]
    t, a = unit_vectors(context, recipe.pair.bridge, track_ids, artwork_ids)

    settings = recipe.pair
    painters = painter_numbers(artworks.rows["painter_id"].take(theirs))
    excluded = np.array(part.inputs.get("excluded", []), dtype=np.int64)
    folder = _saved(workspace, part.name)
    if catalogue.base:
        found = continue_split(
            recipe, catalogue, t, a, painters, excluded, split, folder=folder / "pairs"
        )
    else:
        found = match_split(recipe, t, a, painters, excluded, folder=folder / "pairs")
    chosen = found.assignment.artworks
    members = _Members(split, track_ids, artwork_ids, t, a, painters, excluded)
    pairs = _write_pairs(workspace, recipe, part, members, found, catalogue.kept)

    apart = set((excluded // max(len(theirs), 1)).tolist())
    rejects = tuple(
        _unpaired(track_ids[n], settings.floor, excluded=n in apart)
        for n in np.flatnonzero(chosen < 0).tolist()
    )
    used = set(chosen.tolist())
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
    extra = _evidence(context, members, found, folder)
    return Outcome((*pairs, spare), len(track_ids) - len(rejects), rejects, extra)


def _unpaired(track_id: str, floor: float, *, excluded: bool) -> Reject:
    """Why a track got no artwork; `excluded`: whether some pair with it is excluded."""
    reason, message = "below-floor", f"No free artwork scores {floor} or more: lower pair.floor."
    if excluded:
        reason = "judged-unfit"
        message = f"pair.exclude excludes every free artwork that scores {floor} or more."
    return Reject("pair", "track", track_id, "filtered", reason, message)


def _work_imported(context: Context, part: Part) -> Outcome:
    """Score the imported pairs of one split, or return the rejected rows."""
    workspace, recipe = context.workspace, context.recipe
    imported, split = imported_pairs(context), part.name
    if part.name == _FALLEN_OUT:
        return Outcome(rejects=imported.rejects)
    rows = imported.of(split)
    track_ids = [pair.track_id for pair in rows]
    artwork_ids = sorted({pair.artwork_id for pair in rows})
    t, a = unit_vectors(context, recipe.pair.bridge, track_ids, artwork_ids)
    place = {name: n for n, name in enumerate(artwork_ids)}
    chosen = np.array([place[pair.artwork_id] for pair in rows], dtype=np.int64)
    low = pair_scores(t, a, np.arange(len(rows)), chosen) < recipe.pair.floor
    rejects = tuple(_below_floor(rows[n], recipe.pair.floor) for n in np.flatnonzero(low))
    chosen[low] = -1
    found = evaluate_match(
        t, a, chosen,
        count=recipe.pair.candidates, uses=recipe.pair.artwork_uses, device=recipe.pair.device,
    )  # fmt: skip
    members = _Members(split, track_ids, artwork_ids, t, a)
    pairs = _write_pairs(workspace, recipe, part, members, found)
    extra = _evidence(context, members, found)
    return Outcome(pairs, len(rows) - len(rejects), rejects, extra)


def _below_floor(pair: ImportedPair, floor: float) -> Reject:
    message = f"{pair.track_id} and {pair.artwork_id} score less than pair.floor, {floor}"
    return pair.refused("below-floor", message)


@dataclass(frozen=True)
class _Members:
    """The tracks and artworks of one split, their unit vectors, and the artworks' painters."""

    split: str
    track_ids: list[str]
    artwork_ids: list[str]
    tracks: np.ndarray
    artworks: np.ndarray
    # Of the artworks, and keys of pairs; imported pairs do without.
    painters: np.ndarray | None = None
    excluded: np.ndarray | None = None

    def scores(self, found: Match) -> np.ndarray:
        """The scores of the matched pairs."""
        matched = np.flatnonzero(found.assignment.artworks >= 0)
        chosen = found.assignment.artworks[matched]
        return pair_scores(self.tracks, self.artworks, matched, chosen)


def _write_pairs(
    workspace: Workspace,
    recipe: Recipe,
    part: Part,
    members: _Members,
    found: Match,
    kept: Mapping[str, PreviousPair] = MappingProxyType({}),
) -> tuple[Path, Path]:
    """Write the pairs of one split, `kept` ones with their previous scores, and runners-up."""
    chosen = found.assignment.artworks
    matched = np.flatnonzero(chosen >= 0)
    scores = members.scores(found)
    chance = evidence.chance_scores(members.tracks, members.artworks, recipe.seed)
    count = len(matched)
    track_ids = pa.array(members.track_ids, pa.string())
    artwork_ids = pa.array(members.artwork_ids, pa.string())
    measured = {
        "score": scores,
        "percentile": evidence.percentiles(chance, scores),
        "margin": evidence.margins(found.candidates, matched, chosen[matched], scores),
        "track_rank": found.audit.track_ranks[matched],
        "artwork_rank": found.audit.artwork_ranks[matched],
        "method": np.where(found.listed[matched], "sparse", "dense"),
    }
    if recipe.pair.given:
        measured["method"] = np.full(count, "given")
    columns = {
        "track_id": track_ids.take(pa.array(matched)),
        "artwork_id": artwork_ids.take(pa.array(chosen[matched])),
        "split": pa.repeat(members.split, count),
        "bridge": pa.repeat(recipe.pair.bridge, count),
        **with_previous_scores(measured, [members.track_ids[n] for n in matched], kept),
    }
    path = part_path(workspace, STAGE.name, part.name)
    write_parquet(path, "pair", _table("pair", columns))
    tracks, on_artworks, places, numbers, others = evidence.runners_up(found.candidates, chosen)
    ids = pa.chunked_array([artwork_ids, track_ids])
    runners = {
        "track_id": track_ids.take(pa.array(tracks)),
        "side": pa.array(["track", "artwork"]).take(pa.array(on_artworks.astype(np.int8))),
        "place": places,
        "item_id": ids.take(pa.array(np.where(on_artworks, numbers, len(artwork_ids) + numbers))),
        "score": others,
    }
    beside = part_path(workspace, STAGE.name, part.name, _RUNNERS_UP)
    write_parquet(beside, "runner_up", _table("runner_up", runners))
    return path, beside


def _saved(workspace: Workspace, part: str) -> Path:
    """Where large matchings of a part save their work, until the stage is complete."""
    return part_path(workspace, STAGE.name, part, ".matching")


def _evidence(
    context: Context, members: _Members, found: Match, folder: Path | None = None
) -> dict[str, Any]:
    """How good the pairs of one split are, and how far other bridges agree.

    `folder` is where large matchings save their work.
    """
    recipe = context.recipe
    t, a, settings = members.tracks, members.artworks, recipe.pair
    extra = evidence.of_split(
        t, a, found, members.scores(found),
        seed=recipe.seed, floor=settings.floor, uses=settings.artwork_uses,
    )  # fmt: skip
    # Imported or previous pairs may use an artwork more often than a matching allows.
    free = not settings.given and not recipe.sources.base
    chosen = found.assignment.artworks

    def matched_by(name: str, rows: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        place = folder / name if folder else None
        again = match_split(recipe, *rows, members.painters, members.excluded, folder=place)
        return again.assignment.artworks

    moved = vectors_measured_again(context, members.track_ids, members.artwork_ids)
    if moved is not None:
        extra["stability"] = evidence.stability(
            *moved, chosen, matched_by("again", moved) if free else None
        )
    extra["agreement"] = {}
    for name in dict.fromkeys((*settings.compare, *bridges_of(recipe)[1:])):
        other = unit_vectors(context, name, members.track_ids, members.artwork_ids)
        agreed: dict[str, float] = evidence.agreement((t, a), other, chosen, recipe.seed)
        if free and name in settings.compare:
            matched = matched_by(f"compared-{settings.compare.index(name)}", other)
            agreed["equal_pairs"] = evidence.equal_pairs(chosen, matched)
        extra["agreement"][name] = agreed
    return extra


def finish(context: Context, results: Sequence[Report]) -> Outcome:
    """Merge the splits into pairs/pairs.parquet, unmatched.parquet and runners_up.parquet."""
    workspace, recipe = context.workspace, context.recipe
    results = [result for result in results if result.done.name != _FALLEN_OUT]
    pairs = pa.concat_tables(
        read_parquet(part_path(workspace, STAGE.name, result.done.name), "pair")
        for result in results
    ).sort_by("track_id")
    if recipe.pair.given:
        imported = imported_pairs(context)
        artworks, tracks = imported.artworks, imported.tracks
        spare = [to_table("unmatched", unpaired(imported, pairs))]
    else:
        catalogue = split_catalogue(context)
        artworks, tracks = catalogue.artworks.rows, catalogue.tracks.rows
        spare = [_idle(catalogue.artworks, {result.done.name for result in results})] + [
            read_parquet(
                part_path(workspace, STAGE.name, result.done.name, ".unmatched.parquet"),
                "unmatched",
            )
            for result in results
        ]
    unmatched = pa.concat_tables(spare).sort_by([("side", "ascending"), ("item_id", "ascending")])
    runners = pa.concat_tables(
        read_parquet(part_path(workspace, STAGE.name, result.done.name, _RUNNERS_UP), "runner_up")
        for result in results
    ).sort_by([(name, "ascending") for name in ("track_id", "side", "place")])
    names = ("pairs.parquet", "unmatched.parquet", "runners_up.parquet")
    files = tuple(workspace.pairs / name for name in names)
    write_parquet(files[0], "pair", pairs)
    write_parquet(files[1], "unmatched", unmatched)
    write_parquet(files[2], "runner_up", runners)
    files += _write_fits(context)
    for split in SPLITS:
        remove_saved(_saved(workspace, split))
    splits = {result.done.name: dict(result.extra) for result in results}
    histograms = [split.pop("histograms") for split in splits.values()]
    extra = {
        "bridge": recipe.pair.bridge,
        "moved_tracks": results[0].done.inputs["moved"],
        "overall": evidence.overall(list(splits.values())),
        "splits": splits,
        "scores": evidence.merge_histograms(histograms),
        "style_genre": evidence.style_genre(pairs, artworks, tracks),
        **evidence.most_and_least_certain(pairs),
    }
    return Outcome(files, extra=extra)


def _write_fits(context: Context) -> tuple[Path, ...]:
    """Write pairs/fits.json, or remove it if no bridge was fitted."""
    path, fits = context.workspace.pairs / FITS, saved_fits(context)
    if not fits:
        path.unlink(missing_ok=True)
        return ()
    write_json(path, fits)
    return (path,)


def _idle(artworks: PairSide, there: set[str]) -> pa.Table:
    """The artworks of splits that have no tracks, as rows of unmatched.parquet."""
    return to_table(
        "unmatched",
        [
            {"side": "artwork", "item_id": name, "split": split, "reason": "split-without-tracks"}
            for name, split in zip(artworks.ids, artworks.splits, strict=True)
            if split not in there
        ],
    )


STAGE = Stage(
    name="pair",
    version=6,
    sections=("seed", "split", "pair"),
    plan=plan,
    work=work,
    finish=finish,
    side_by_side=False,
    check=check,
)


def _table(name: str, columns: Mapping[str, Any]) -> pa.Table:
    schema = arrow_schema(name)
    arrays = []
    for field in schema:
        column = columns[field.name]
        made = pa.array(column) if isinstance(column, np.ndarray) else column
        arrays.append(made.cast(field.type))
    return pa.table(arrays, schema=schema)
