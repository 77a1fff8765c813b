"""`artsound bench`: retrieval of the partner among fixed galleries of a release.

A system is two matrices of unit rows, one row per pair of the release: an encoder, a bridge or a
pair of .npy files. Truth is the release's own pairs, or what people judged. Pairs that a bridge
made measure agreement with that bridge, not with people.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from artsound.encoders.base import open_encoder
from artsound.encoders.batching import ItemError
from artsound.errors import BadData, BadUsage
from artsound.media import MediaError
from artsound.pairing.bridge import unit_vectors
from artsound.pairing.rows import unit_rows
from artsound.recipe import Recipe, load_recipe
from artsound.reports.judging import judgements_at, latest
from artsound.shards.dataset import Dataset
from artsound.stage import Context
from artsound.storage import Workspace, read_parquet, write_bytes
from artsound.untrusted import read_array

SIZES = (100, 1_000, 10_000)
RECALL_AT = (1, 5, 10)
DEPTH = 10  # of nDCG
DRAWS = 1_000
FORMAT = 1  # of the JSON
_BLOCK = 1_024
_TIE = 1e-6  # scores that differ by less are equal: float32 products differ by as much
_DIRECTIONS = ("artwork_to_music", "music_to_artwork")


@dataclass(frozen=True)
class System:
    """What is measured: a name, and unit rows float32 [n, D] of both sides of n pairs."""

    name: str
    artworks: np.ndarray
    tracks: np.ndarray


def files_system(data: Dataset, artworks: Path, tracks: Path) -> System:
    """The rows of two .npy files, one row per pair of the dataset, in its order.

    Raises:
        BadData: A file cannot be read, or has other rows than the dataset has pairs.
    """
    sides = []
    for path in (artworks, tracks):
        try:
            rows = read_array(path)
        except (OSError, ValueError) as error:
            raise BadData(f"{path} cannot be read: {error}.") from error
        if rows.ndim != 2 or len(rows) != len(data) or rows.dtype.kind != "f":
            raise BadData(
                f"{path} has {rows.dtype} {list(rows.shape)}: give a row of real numbers for "
                f"each of the {len(data):,} pairs, in the order of index.parquet."
            )
        rows = rows.astype(np.float64)
        largest = np.abs(rows).max(axis=1, initial=0.0, keepdims=True)
        if faulty := np.flatnonzero(~(np.isfinite(largest) & (largest > 0))).tolist():
            raise BadData(
                f"{path} has rows of zeros or of values that are not finite, the first of them row "
                f"{faulty[0]} ({len(faulty)} in all): give each pair a row with a direction."
            )
        # Scaled first: squares of very large or very small values are no numbers of a computer.
        sides.append(unit_rows(rows / largest))
    if sides[0].shape[1] != sides[1].shape[1]:
        raise BadData(
            f"{artworks} has rows of {sides[0].shape[1]} values and {tracks} of "
            f"{sides[1].shape[1]}: both need one space."
        )
    return System(f"{artworks.name} and {tracks.name}", *sides)


def bridge_system(data: Dataset, build: Path, name: str) -> System:
    """The rows of a bridge, by the embeddings and captions of a build.

    Raises:
        BadUsage: The folder is no build, or there is no such bridge.
        BadData: The build has no vectors of an item of the dataset.
    """
    workspace = Workspace(build)
    path = build / "recipe.toml"
    if not path.is_file():
        raise BadUsage(f"{build} is no build: --bridge needs --build, the folder of the build.")
    context = Context(workspace, load_recipe(path))
    frame = data.frame
    tracks, artworks = unit_vectors(
        context, name, frame["track_id"].to_list(), frame["artwork_id"].to_list()
    )
    return System(name, artworks, tracks)


def encoder_system(data: Dataset, name: str, recipe: Recipe | None = None) -> System:
    """The rows of a joint encoder of pictures and clips, by the media of the release.

    Raises:
        BadUsage: There is no such encoder.
        BadData: Weights are missing, a file is unreadable, or both sides are not in one space.
    """
    encoder = open_encoder(name, recipe or Recipe())
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for start in range(0, len(data), 256):
        samples = [data.read(n) for n in range(start, min(start + 256, len(data)))]
        try:
            sides[0].append(encoder.images([sample["jpg"] for sample in samples]))
            sides[1].append(encoder.audio([sample["mp3"] for sample in samples]))
        except (ItemError, MediaError) as error:
            raise BadData(f"{name} cannot read a file of the release: {error}.") from error
    artworks, tracks = (np.concatenate(side).astype(np.float32) for side in sides)
    if artworks.shape[1] != tracks.shape[1]:
        raise BadData(
            f"{name} gives artworks of {artworks.shape[1]} and tracks of {tracks.shape[1]} values: "
            "name an encoder with one space for both, or use --bridge."
        )
    return System(name, unit_rows(artworks), unit_rows(tracks))


def gallery(frame: pl.DataFrame, size: int, seed: int) -> np.ndarray:
    """The positions of a gallery's pairs in the order of choice, int64 [size].

    Each artwork and each track occurs once. Pairs are in random order; a painter's or musician's
    second pair comes after the first ones of all others, and so on, so that small galleries have as
    many painters and musicians as they can. A smaller gallery is the beginning of a larger one.

    Args:
        frame: Rows of an index.
        size: Of the gallery; 0: all.
        seed: Of the order.

    Raises:
        BadUsage: There are fewer such pairs.
    """
    order = np.random.default_rng(seed).permutation(frame.height)
    once = frame[order.tolist()].with_columns(_row=pl.Series(order))
    once = once.unique("artwork_id", keep="first", maintain_order=True)
    once = once.unique("track_id", keep="first", maintain_order=True)
    rows = once["_row"].to_numpy()[_by_turns(once)]
    if size > len(rows):
        raise BadUsage(
            f"A gallery of {size:,} needs as many pairs, and the split has {len(rows):,} with each "
            "artwork once: choose a smaller --gallery."
        )
    return rows[: size or None].astype(np.int64)


def _by_turns(frame: pl.DataFrame) -> list[int]:
    """All rows in rounds: in round n, those whose artists have fewer than n pairs so far."""
    painters, musicians = (_numbers(frame, who) for who in ("painter_id", "musician_id"))
    pairs = list(zip(painters.tolist(), musicians.tolist(), strict=True))
    counts: Counter[tuple[int, int]] = Counter()
    order: list[int] = []
    left, most = list(range(len(pairs))), 0
    while left:
        most += 1
        later = []
        for row in left:
            artists = list(enumerate(pairs[row]))
            if all(counts[artist] < most for artist in artists):
                counts.update(artists)
                order.append(row)
            else:
                later.append(row)
        left = later
    return order


def partner_ranks(queries: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The rank of item n for query n among all items, 1 is best, float64 [n]; ties are averaged.

    Args:
        queries: Unit rows float32 [n, D].
        items: The same.
    """
    ranks = np.empty(len(queries))
    for start in range(0, len(queries), _BLOCK):
        scores = queries[start : start + _BLOCK] @ items.T
        own = scores[np.arange(len(scores)), start + np.arange(len(scores))][:, None]
        above = (scores > own + _TIE).sum(axis=1)
        level = (np.abs(scores - own) <= _TIE).sum(axis=1)
        ranks[start : start + len(scores)] = above + (level + 1) / 2
    return ranks


def measures(
    ranks: np.ndarray, clusters: Sequence[np.ndarray], *, seed: int = 0, draws: int = DRAWS
) -> dict[str, Any]:
    """Retrieval measures of ranks with 95 % intervals, as JSON values.

    Intervals are percentiles of a bootstrap that draws painters and musicians, each by
    itself, and weighs a pair by the product (the pigeonhole bootstrap: Owen, Ann. Appl. Stat. 1,
    2007), since pairs of one artist are not independent.

    Args:
        ranks: float64 [n], of the partner among n.
        clusters: For each kind of artist, the number of each pair's artist, int64 [n].
        seed: Of the bootstrap.
        draws: Of the bootstrap.

    Returns:
        `pool`, `median_rank`, `mrr`, `ndcg` (at 10, one relevant item) and `r1`, `r5`, `r10`, each
        with `…_interval`; r… is None where k is not less than the pool.
    """
    values = {"mrr": 1.0 / ranks, "ndcg": np.where(ranks <= DEPTH, 1.0 / np.log2(ranks + 1.0), 0.0)}
    for at in RECALL_AT:
        values[f"r{at}"] = (ranks <= at).astype(float)
    table = np.stack(list(values.values()), axis=1)
    rng = np.random.default_rng(seed)
    order = np.argsort(ranks, kind="stable")
    drawn, medians = [], []
    for _ in range(draws):
        weights = np.ones(len(ranks))
        for numbers in clusters:
            count = int(numbers.max()) + 1
            weights *= rng.multinomial(count, np.full(count, 1.0 / count))[numbers]
        if not (total := weights.sum()):
            continue
        drawn.append(weights @ table / total)
        running = np.cumsum(weights[order])
        medians.append(ranks[order][np.searchsorted(running, total / 2)])
    found: dict[str, Any] = {"pool": len(ranks), "median_rank": float(np.median(ranks))}
    found["median_rank_interval"] = _interval(np.array(medians))
    for column, name in enumerate(values):
        void = name[0] == "r" and int(name[1:]) >= len(ranks)
        found[name] = None if void else float(table[:, column].mean())
        found[f"{name}_interval"] = None if void else _interval(np.array(drawn)[:, column])
    return found


def _interval(values: np.ndarray) -> list[float]:
    return np.quantile(values, (0.025, 0.975)).tolist()


def preference_accuracy(
    data: Dataset, system: System, judgements: pl.DataFrame, *, seed: int = 0, draws: int = DRAWS
) -> dict[str, Any]:
    """How often a system orders two trials as a judge does who rated them differently.

    Args:
        data: The release that was judged.
        system: Rows of its pairs.
        judgements: Rows of `judging.read_judgements`.
        seed: Of the bootstrap, which draws judges and trials.
        draws: Of the bootstrap.

    Returns:
        `accuracy` (a tie of the system counts half; 0.5 is chance) with `accuracy_interval`,
        `comparisons`, `judges`, and `trials`.

    Raises:
        BadData: The judgements are of another release, or no judge rated two trials differently.
    """
    rated = latest(judgements).filter(pl.col("rating") > 0)
    place = {key: n for n, key in enumerate(data.frame["key"].to_list())}
    here = rated.filter(pl.col("index_sha256") == data.index_sha256)
    here = here.filter(
        pl.col("artwork_key").is_in(list(place)), pl.col("track_key").is_in(list(place))
    )
    if here.is_empty():
        raise BadData(
            f"None of the {rated.height:,} ratings is of this release and split: give the "
            "judgements of its index."
        )
    artworks = [place[key] for key in here["artwork_key"]]
    tracks = [place[key] for key in here["track_key"]]
    scores = np.einsum("nd,nd->n", system.artworks[artworks], system.tracks[tracks])
    ratings = here["rating"].to_numpy().astype(float)
    judge = here["judge"].rank("dense").to_numpy().astype(np.int64) - 1
    named = here.select(trial=pl.concat_str("artwork_key", "track_key", separator="/"))
    trial = named["trial"].rank("dense").to_numpy().astype(np.int64) - 1
    pairs = []
    for number in range(int(judge.max()) + 1):
        own = np.flatnonzero(judge == number)
        first, second = own[np.array(np.triu_indices(len(own), 1))]
        differs = ratings[first] != ratings[second]
        pairs.append(np.stack([first[differs], second[differs]]))
    first, second = np.concatenate(pairs, axis=1)
    if not len(first):
        raise BadData("No judge rated two pairs differently: there is nothing to compare.")
    apart = scores[first] - scores[second]
    tie = np.abs(apart) <= _TIE
    agrees = np.where(tie, 0.5, np.sign(apart) == np.sign(ratings[first] - ratings[second]))
    rng = np.random.default_rng(seed)
    judges, trials = int(judge.max()) + 1, int(trial.max()) + 1
    drawn = []
    for _ in range(draws):
        of_judge = rng.multinomial(judges, np.full(judges, 1.0 / judges))
        of_trial = rng.multinomial(trials, np.full(trials, 1.0 / trials))
        weight = of_judge[judge[first]] * of_trial[trial[first]] * of_trial[trial[second]]
        if weight.sum():
            drawn.append(float(weight @ agrees / weight.sum()))
    return {
        "accuracy": float(agrees.mean()),
        "accuracy_interval": _interval(np.array(drawn)),
        "comparisons": len(first),
        "judges": judges,
        "trials": trials,
    }


def bench(
    data: Dataset,
    systems: Sequence[System],
    *,
    split: str = "test",
    sizes: Sequence[int] = (),
    seed: int = 0,
    judgements: pl.DataFrame | None = None,
) -> dict[str, Any]:
    """Measure systems on galleries of one split of a release.

    Args:
        data: The whole release.
        systems: Rows of all its pairs.
        split: train, val or test; "" for all pairs.
        sizes: Of the galleries; by default those of SIZES that the split can fill, and all.
        seed: Of galleries and bootstrap.
        judgements: Human truth, to be used as well.

    Returns:
        JSON values: `format`, `release`, `truth`, `split`, `seed`, and `systems`: by name, the
        measures of each gallery in both directions, and `judged`.

    Raises:
        BadUsage: A gallery is larger than the split, or the split has no pair.
        BadData: A painter or musician of the split is in another one; or the judgements do not fit.
    """
    frame = data.frame
    galleries = galleries_of(data, split, sizes, seed)
    results: dict[str, Any] = {}
    for system in systems:
        found: dict[str, Any] = {"galleries": {}}
        for name, members in galleries.items():
            clusters = [_numbers(frame[members.tolist()], who)
                        for who in ("painter_id", "musician_id")]  # fmt: skip
            sides = system.artworks[members], system.tracks[members]
            found["galleries"][name] = {
                direction: measures(partner_ranks(*way), clusters, seed=seed)
                for direction, way in zip(_DIRECTIONS, (sides, sides[::-1]), strict=True)
            }
        if judgements is not None:
            found["judged"] = preference_accuracy(data, system, judgements, seed=seed)
        results[system.name] = found
    return {
        "format": FORMAT,
        "release": data.index_sha256,
        "truth": sorted(set(_of_split(frame, split)[1]["bridge"].to_list())),
        "split": split,
        "seed": seed,
        "systems": results,
    }


def galleries_of(
    data: Dataset, split: str, sizes: Sequence[int], seed: int
) -> dict[str, np.ndarray]:
    """The positions of the pairs of each gallery, by its name; arguments and errors of `bench`."""
    frame = data.frame
    chosen, rows = _of_split(frame, split)
    if not len(chosen):
        there = ", ".join(sorted(set(frame["split"].to_list())))
        raise BadUsage(f"The release has no pair in the split {split!r}: choose one of {there}.")
    if seed < 0:
        raise BadUsage(f"--seed {seed} is negative: choose 0 or more.")
    if wrong := [size for size in sizes if size < 1]:
        raise BadUsage(f"A gallery has 1 pair or more, not {wrong[0]}: choose another --gallery.")
    if split:
        check_disjoint(frame, split)
    everything = chosen[gallery(rows, 0, seed)]
    wanted = list(sizes) or [size for size in SIZES if size < len(everything)]
    galleries = {f"{size:,}": chosen[gallery(rows, size, seed)] for size in wanted}
    return galleries if sizes else {**galleries, "all": everything}


def _of_split(frame: pl.DataFrame, split: str) -> tuple[np.ndarray, pl.DataFrame]:
    """The positions and rows of a split; of all pairs for ""."""
    own = frame["split"].to_numpy() == split if split else np.ones(frame.height, dtype=bool)
    chosen = np.flatnonzero(own)
    return chosen, frame[chosen.tolist()]


def read_judged(place: Path) -> pl.DataFrame:
    """Judgements: of a .parquet file, of the folder of a release's shards, or of judgements.

    Raises:
        BadUsage: There are none.
        BadData: A file is damaged.
    """
    if place.suffix == ".parquet":
        if not place.is_file():
            raise BadUsage(f"There is no {place}: `artsound judgements --publish` writes one.")
        return pl.DataFrame(read_parquet(place, "judgement"))
    return judgements_at(place)


def check_disjoint(frame: pl.DataFrame, split: str) -> None:
    """Raise BadData if a painter or musician of a split is in another one."""
    for who in ("painter_id", "musician_id"):
        known = frame.filter(pl.col(who).cast(pl.String).fill_null("") != "")
        inside, outside = (set(known.filter(side)[who]) for side in (
            pl.col("split") == split, pl.col("split") != split
        ))  # fmt: skip
        if shared := inside & outside:
            raise BadData(
                f"{who} {min(shared)!r} is in {split} and in another split: such galleries are not "
                "artist-disjoint."
            )


def _numbers(frame: pl.DataFrame, who: str) -> np.ndarray:
    """The artists as numbers [n]; each unknown one gets its own."""
    names = frame[who].cast(pl.String).fill_null("").to_list()
    known = [name or f" {n}" for n, name in enumerate(names)]
    return np.unique(known, return_inverse=True)[1].astype(np.int64)


def bench_table(found: Mapping[str, Any]) -> str:
    """The measures as a Markdown table, and what they mean."""
    lines = [
        "| system | gallery | from | R@1 | R@5 | R@10 | MRR | nDCG@10 | median rank |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, system in found["systems"].items():
        for size, both in system["galleries"].items():
            for way, values in both.items():
                cells = [_cell(values, one) for one in ("r1", "r5", "r10", "mrr", "ndcg")]
                start = way.partition("_")[0]
                pool = size if size != "all" else f"all {values['pool']:,}"
                row = [name, pool, start, *cells, f"{values['median_rank']:.1f}"]
                lines.append(f"| {' | '.join(row)} |")
    for name, system in found["systems"].items():
        if judged := system.get("judged"):
            lines.append(
                f"\n{name} orders two pairs as a judge does in {_cell(judged, 'accuracy')} of "
                f"{judged['comparisons']:,} comparisons by {judged['judges']} judges (chance: 0.5)."
            )
    bridges = ", ".join(found["truth"])
    return "\n".join([
        *lines,
        "",
        f"The pairs were made by {bridges}: their retrieval measures agreement with {bridges}, not "
        "with people. In brackets: 95 % intervals over painters and musicians.",
    ])  # fmt: skip


def _cell(values: Mapping[str, Any], name: str) -> str:
    if values[name] is None:
        return "–"
    low, high = values[f"{name}_interval"]
    return f"{values[name]:.3f} [{low:.3f}, {high:.3f}]"


_TASK = '''\
"""ArtSound: retrieve the music that a release pairs with an artwork, a task for MTEB 2.

As it is, the task reads the folder of this file. To propose it to MTEB, upload the folder to the
Hub, and name that repository and its commit as the dataset.
"""

from pathlib import Path

from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata


class ArtSoundI2ARetrieval(AbsTaskRetrieval):
    metadata = TaskMetadata(
        name="ArtSoundI2ARetrieval",
        description={about!r},
        dataset={{
            "path": str(Path(__file__).resolve().parent),
            "revision": {release!r},  # of the release's index
        }},
        type="Any2AnyRetrieval",
        category="i2a",
        modalities=["image", "audio"],
        eval_splits=["test"],
        eval_langs=["zxx-Zxxx"],
        main_score="ndcg_at_10",
        domains=["Music"],
        task_subtypes=["Cross-Modal Retrieval"],
        license="not specified",  # each item has its own: see README.md
        annotations_creators="automatic",
        dialect=[],
        sample_creation="found",
        bibtex_citation="",
        prompt={{"query": "Retrieve the music clip that is paired with this artwork."}},
    )
'''
_TABLES = {"queries": ("image", "artwork", "jpg"), "corpus": ("audio", "track", "mp3")}
_ROWS = 100  # of media that are in memory at a time


def write_task(data: Dataset, folder: Path, found: Mapping[str, Any], size: int = 0) -> None:
    """Write a gallery as an MTEB retrieval task: queries, corpus, qrels and a task definition.

    Args:
        data: The release.
        folder: A new or empty folder.
        found: The result of `bench`, which names split and seed.
        size: Of the gallery; 0: all.

    Raises:
        BadUsage: The folder is not empty, or the gallery is larger than the split.
    """
    check_task_folder(folder)
    chosen, of_split = _of_split(data.frame, found["split"])
    members = chosen[gallery(of_split, size, found["seed"])]
    rows = data.frame[members.tolist()]
    paths = {name: folder / name / "test-00000-of-00001.parquet" for name in (*_TABLES, "qrels")}
    for path in paths.values():
        path.parent.mkdir(parents=True)
    with ExitStack() as files:
        writers = {
            name: files.enter_context(pq.ParquetWriter(paths[name], _media_schema(modality)))
            for name, (modality, _, _) in _TABLES.items()
        }
        for start in range(0, len(members), _ROWS):
            samples = [data.read(int(n)) for n in members[start : start + _ROWS]]
            for name, (modality, side, kind) in _TABLES.items():
                ids = [f"{side}-{key}" for key in rows["key"][start : start + _ROWS]]
                media = [
                    {"bytes": sample[kind], "path": f"{one}.{kind}"}
                    for one, sample in zip(ids, samples, strict=True)
                ]
                columns = {"id": ids, "modality": [modality] * len(ids), modality: media}
                writers[name].write_table(pa.table(columns, schema=writers[name].schema))
    qrels = {
        "query-id": [f"artwork-{key}" for key in rows["key"]],
        "corpus-id": [f"track-{key}" for key in rows["key"]],
        "score": [1] * len(members),
    }
    pq.write_table(pa.table(qrels), paths["qrels"])
    truth = f"The pairs were made by {', '.join(found['truth'])}, not by people."
    write_bytes(folder / "README.md", _task_readme(rows, truth).encode())
    about = f"Retrieve the music clip that is paired with an artwork. {truth}"
    task = _TASK.format(about=about, release=found["release"])
    write_bytes(folder / "artsound_task.py", task.encode())


def check_task_folder(folder: Path) -> None:
    """Raise BadUsage if the folder is not new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadUsage(f"{folder} is in use: give --task a new folder.")


def _media_schema(modality: str) -> pa.Schema:
    """The columns of queries or corpus, with the features that Hugging Face datasets reads."""
    text = {"_type": "Value", "dtype": "string"}
    features = {"id": text, "modality": text, modality: {"_type": modality.capitalize()}}
    media = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.schema(
        [("id", pa.string()), ("modality", pa.string()), (modality, media)],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )


def _task_readme(rows: pl.DataFrame, truth: str) -> str:
    """The README.md of a task: front matter that names the tables, and what may be done with it."""
    configs = [
        {"config_name": name, "data_files": [{"split": "test", "path": f"{name}/test-*"}]}
        for name in (*_TABLES, "qrels")
    ]
    rights = "Items have licences of their own: publish the release's ATTRIBUTION.csv beside this."
    if {"artwork_redistribute", "track_redistribute"} <= set(rows.columns):
        free = rows.filter(pl.col("artwork_redistribute") & pl.col("track_redistribute")).height
        if free < rows.height:
            rights = (
                f"{rows.height - free:,} of the pairs may not be redistributed: do not publish "
                "this folder; make it from `artsound subset --rights redistributable`."
            )
    return (
        f"---\nlicense: other\nconfigs: {json.dumps(configs, indent=2)}\n---\n\n"
        f"# ArtSound retrieval\n\n{rows.height:,} pairs. {truth}\n\n{rights}\n"
    )
