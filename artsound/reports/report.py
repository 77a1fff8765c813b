"""Stage `report`: one self-contained HTML page about a build, and the release's cards."""

from __future__ import annotations

import base64
import io
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import polars as pl

from artsound import __version__
from artsound.captions.vocabulary import PITCHES, key_name
from artsound.catalogue import SIDES
from artsound.columns import QUALITY
from artsound.errors import BadData
from artsound.media.audio import load_mono
from artsound.media.images import load_rgb
from artsound.recipe import Recipe
from artsound.reports.art_map import places_of, write_map
from artsound.reports.card import write_cards
from artsound.reports.charts import bars, heat_map, histogram_chart, two_bars, two_histograms
from artsound.reports.finding import side_vectors, vectors_digest
from artsound.reports.stats import frame_stats, measured_quality, value_counts, words_of
from artsound.reports.views import FACETS, RANGES, sql_text
from artsound.shards.beside import MAP
from artsound.shards.dataset import Dataset, open_shards
from artsound.stage import Context, Outcome, Part, Report, Stage
from artsound.storage import Workspace, digest, read_json, read_parquet, sha256_file, write_bytes

if TYPE_CHECKING:
    from jinja2 import Environment


def render_report(values: Mapping[str, Any]) -> str:
    """Render the page.

    Args:
        values: The values that report.html.j2 names. Texts are escaped; charts are
            `markupsafe.Markup`. A missing value is an error.
    """
    template = files("artsound.reports") / "report.html.j2"
    return environment().from_string(template.read_text(encoding="utf-8")).render(**values)


def environment() -> Environment:
    """Return an environment in which texts are escaped and a missing value is an error."""
    from jinja2 import Environment, StrictUndefined

    return Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def markup(svg: str) -> Any:
    """Mark a chart of this project as safe, so that it is not escaped."""
    from markupsafe import Markup

    return Markup(svg)


# Pairs to look at and listen to, small enough to be embedded in the page.

PAIRS = 16  # of the gallery
ROW = 4  # pairs of a row to judge by ear
_BROWSE = "http://127.0.0.1:8000"  # where `artsound browse` listens by default
PICTURE_SIDE = 420  # pixels
SOUND_SECONDS = 12.0
SOUND_RATE = 24_000  # hertz


def gallery(data: Dataset) -> list[dict[str, Any]]:
    """At most 16 pairs, spread evenly over the ranking by score, best first; base64 media."""
    return _all_shown(data, _positions(data.frame))


def _all_shown(data: Dataset, positions: Sequence[int]) -> list[dict[str, Any]]:
    samples = [data.read(position) for position in positions]
    # Two thirds of the stage's time, in libraries that release the GIL.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return list(threads.map(_shown, samples))


def rows_by_ear(data: Dataset, measured: Mapping[str, Any]) -> list[tuple[str, str, list[Any]]]:
    """Rows of pairs whose difference can be heard: title, explanation, and pairs as in `gallery`.

    Args:
        data: The release.
        measured: The evidence of the pair stage.
    """
    frame = data.frame
    order = frame.with_row_index("row").sort(["score", "key"], descending=[True, False])["row"]
    first = max(0, (frame.height - ROW) // 2)
    middle = [int(row) for row in order[first : first + ROW]]
    certain, uncertain = (
        [data.position(pair["track_id"]) for pair in measured[name] if pair["track_id"] in data]
        for name in ("most_certain", "least_certain")
    )
    uncertain = [row for row in uncertain if row not in middle][:ROW]
    shown = _all_shown(data, [*middle, *uncertain, *certain[:ROW], *_others(frame, middle)])
    rows, place = [], 0
    for title, text, count in (
        ("Median pairs", "Pairs in the middle of the ranking by score.", len(middle)),
        ("Least certain pairs", "The narrowest margin to the best other artwork.", len(uncertain)),
        ("Most certain pairs", "The widest margin to the best other artwork.", len(certain[:ROW])),
    ):
        rows.append((title, text, shown[place : place + count]))
        place += count
    sound = ("sound", "track_caption", "track_credit")
    controls = [
        {**own, **{name: other[name] for name in sound}, "tags": ["random track"], "key": ""}
        for own, other in zip(rows[0][2], shown[place:], strict=False)
    ]
    control = (
        "The same pictures with random tracks",
        "If these fit as well, the matching cannot be heard.",
        controls,
    )
    return [rows[0], control, *rows[1:]]


def _others(frame: pl.DataFrame, rows: Sequence[int]) -> list[int]:
    """For each pair one of its split with another musician's music, drawn by chance."""
    drawn = np.random.default_rng(0).permutation(frame.height).tolist()
    musicians, splits = frame["musician"].to_list(), frame["split"].to_list()
    found: list[int] = []
    for row in rows:
        own = musicians[row]
        free = [n for n in drawn if n != row and n not in found and splits[n] == splits[row]]
        free = [n for n in free if own is None or musicians[n] != own] or free
        found += free[:1]
    return found


def _positions(frame: pl.DataFrame) -> list[int]:
    order = frame.with_row_index("row").sort(["score", "key"], descending=[True, False])["row"]
    places = np.linspace(0, frame.height - 1, min(PAIRS, frame.height)).round().astype(int)
    return [int(order[int(place)]) for place in places]


def _shown(sample: dict[str, Any]) -> dict[str, Any]:
    row = sample["json"]
    year = f", {row['artwork_year']}" if row["artwork_year"] >= 0 else ""
    return {
        "key": sample["key"],
        "picture": base64.b64encode(_thumbnail(sample["jpg"])).decode(),
        "sound": base64.b64encode(_excerpt(sample["mp3"])).decode(),
        "artwork_caption": row["artwork_caption"],
        "track_caption": row["track_caption"],
        "artwork_credit": f"{row['painter']}, {row['artwork_title'] or 'untitled'}{year}",
        "track_credit": f"{row['musician']}, {row['track_title']} "
        f"({row['track_license_id'] or 'unknown'})",
        "tags": [
            text
            for text in (
                row["artwork_style"],
                row["track_genre"],
                f"score {row['score']:.2f}"
                if row["percentile"] is None
                else f"percentile {_floored(row['percentile'])}",
                row["split"],
            )
            if text
        ],
    }


def _floored(percentile: float) -> str:
    """A percentile, 0 to 1, which is not rounded up to 1."""
    digits = 4 if percentile >= 0.999 else 3
    return f"{math.floor(percentile * 10**digits + 1e-6) / 10**digits:.{digits}f}"


def _thumbnail(jpeg: bytes) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.fromarray(load_rgb(jpeg, max_side=PICTURE_SIDE))
    picture.save(buffer, format="JPEG", quality=82)
    return buffer.getvalue()


def _excerpt(clip: bytes) -> bytes:
    import soundfile

    mono = load_mono(clip, sample_rate=SOUND_RATE, seconds=SOUND_SECONDS)
    fade = min(len(mono), SOUND_RATE // 2)
    if fade:
        mono[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    buffer = io.BytesIO()
    soundfile.write(buffer, mono, SOUND_RATE, format="MP3", compression_level=0.8)
    return buffer.getvalue()


# The pairs beside the catalogue: shares, near-duplicates, rights.


@dataclass(frozen=True)
class Shares:
    """Each value's count in a catalogue and in the pairs, frequent in the catalogue first."""

    counts: Mapping[str, tuple[int, int]]

    @property
    def totals(self) -> tuple[int, int]:
        """Items of the catalogue, and pairs."""
        there, used = zip(*self.counts.values(), strict=True) if self.counts else ((), ())
        return sum(there), sum(used)

    @property
    def values(self) -> dict[str, tuple[float, float]]:
        """Each value's share of the catalogue and of the pairs, 0 to 1."""
        all_there, all_used = (max(total, 1) for total in self.totals)
        return {
            value: (there / all_there, used / all_used)
            for value, (there, used) in self.counts.items()
        }

    @property
    def covered(self) -> float:
        """Share of the catalogue's values that occur in the pairs, 0 to 1."""
        there = [used for there, used in self.counts.values() if there]
        return sum(used > 0 for used in there) / max(len(there), 1)

    @property
    def distance(self) -> float:
        """Total variation distance of the two distributions: 0 the same, 1 nothing in common."""
        return sum(abs(there - used) for there, used in self.values.values()) / 2

    def extremes(self, *, most: bool, count: int = 8) -> list[tuple[str, int, int, float]]:
        """Values most over- or under-represented: catalogue, pairs, and expected pairs.

        Ordered by the difference between the actual and the expected number of pairs.
        """
        all_there, all_used = self.totals
        rows = [
            (value, there, used, all_used * there / max(all_there, 1))
            for value, (there, used) in self.counts.items()
        ]
        sign = 1 if most else -1
        apart = [row for row in rows if sign * (row[2] - row[3]) > 0]
        return sorted(apart, key=lambda row: (sign * (row[3] - row[2]), row[0]))[:count]


def shares(catalogue: pl.Series, pairs: pl.Series) -> Shares:
    """How often each value occurs in a catalogue's column and in that of the pairs."""
    there, used = (
        column.alias("value").replace("", None).fill_null("unknown").value_counts(name="n")
        for column in (catalogue, pairs)
    )
    joined = (
        there.join(used, on="value", how="full", coalesce=True, suffix="_used")
        .fill_null(0)
        .sort(["n", "n_used", "value"], descending=[True, True, False])
    )
    return Shares({value: (n, m) for value, n, m in joined.iter_rows()})


def cluster_summary(column: pl.Series) -> tuple[int, int, int, int]:
    """Items, clusters of more than one item, items in those, and the size of the largest."""
    sizes = column.alias("cluster").value_counts(name="n")["n"]
    several = sizes.filter(sizes > 1)
    return column.len(), several.len(), int(several.sum()), max(sizes.to_list(), default=0)


def rights(frame: pl.DataFrame) -> list[tuple[str, int, int, int]]:
    """What may be done with how many pairs: by the artwork, by the music, and by both."""
    rows = []
    for name, flag in (
        ("may be redistributed", "redistribute"),
        ("may be adapted", "derivatives"),
        ("may be used commercially", "commercial"),
    ):
        artwork, track = frame[f"artwork_{flag}"], frame[f"track_{flag}"]
        rows.append((name, int(artwork.sum()), int(track.sum()), int((artwork & track).sum())))
    return rows


# The report's tables and charts of how well artworks and music were matched.


def score_values(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The section Scores, from the pair stage's evidence: a chart, a sentence, and tables."""
    scores = measured["scores"]
    overall = measured["overall"]
    chart = two_histograms(
        scores["edges"],
        scores["matched"],
        scores["random"],
        names=("matched", "random"),
        label="score (cosine in the bridge's space)",
        alt="Distribution of the scores of matched pairs and of random pairs",
    )
    names = {
        "matched": "pairs", "mean": "mean score", "random": "random", "greedy": "greedy",
        "bound": "best possible", "optimality": "share of the best possible",
    }  # fmt: skip
    rows = [
        [split, *_numbers(values, *names)]
        for split, values in [*measured["splits"].items(), ("all", overall)]
    ]
    return {
        "scores": markup(chart),
        "score_text": (
            f"Mean score {overall['mean']:.3f}; random pairs of the same splits reach "
            f"{overall['random']:.3f}, and no matching could exceed {overall['bound']:.3f}. "
            f"Scores of different bridges cannot be compared."
        ),
        "match_tables": [
            (
                "Matching, split by split",
                "Greedy takes the best remaining pair each time. The best possible is a proven "
                "upper bound; a share of 1.000 means that no other matching has a higher total.",
                ["split", *names.values()],
                rows,
            ),
            *_evidence(measured["splits"]),
        ],
    }


_Table = tuple[str, str, list[str], list[list[str]]]  # title, explanation, headings, rows


def _evidence(splits: Mapping[str, Any]) -> Iterator[_Table]:
    """Tables of hubs and retrieval, and of other bridges if compared."""
    yield (
        "Hubness",
        "How unevenly artworks occur among the ten nearest of the tracks, as skewness: 0 is even, "
        "above 1 a few artworks are near to many tracks. The matching can correct for it.",
        ["split", "hubness before", "after correction"],
        [
            [split, *_numbers(measured, "hubness", "hubness_corrected")]
            for split, measured in splits.items()
        ],
    )
    yield (
        "Rank of the partner among all of the split",
        "R@k is the share of pairs whose partner is among the k that score best, with its 95 % "
        "interval. One item can be the best of several, but is matched once.",
        ["split", "from", "pairs", "among", "R@1", "R@5", "R@10", "median rank"],
        [
            [split, start, *_retrieved(measured[way])]
            for split, measured in splits.items()
            for start, way in (("music", "music_to_artwork"), ("artwork", "artwork_to_music"))
        ],
    )
    steady = [
        [
            split,
            *_numbers(found, "kept"),
            f"{found['median_rank']:.1f}",
            f"{measured['artworks']:,}",
        ]
        for split, measured in splits.items()
        if (found := measured.get("stability")) and None not in found.values()
    ]
    if steady:
        yield (
            "If everything were measured again",
            "With the test-retest error of the descriptors: how many tracks would get the same "
            "artwork, and which rank it would have.",
            ["split", "pairs that stay", "median rank of the old artwork", "among"],
            steady,
        )
    agreed = [
        [
            split,
            name,
            *_numbers(found, "spearman", "preferred"),
            *(_numbers(found, "equal_pairs") if "equal_pairs" in found else ["–"]),
        ]
        for split, measured in splits.items()
        for name, found in measured["agreement"].items()
    ]
    if agreed:
        yield (
            "What other bridges make of the pairs",
            "Rank correlation of both bridges' scores, how often the other prefers the pair to a "
            "random one, and the share of pairs that it would make, too.",
            ["split", "bridge", "rank correlation", "prefers the pair to chance", "equal pairs"],
            agreed,
        )


def style_genre_maps(frame: pl.DataFrame, most: int = 14) -> list[tuple[str, Any]]:
    """(title, chart): how many pairs each style has with each music genre, and their mean score.

    Counts are tinted by how many times as many they are as by chance; means of fewer than five
    pairs are left out.
    """
    frame = frame.select(pl.col("artwork_style", "track_genre").fill_null("unknown"), "score")
    styles = _frequent(frame, "artwork_style", most)
    genres = _frequent(frame, "track_genre", most)
    counts = np.full((len(styles), len(genres)), np.nan)
    scores = counts.copy()
    cells = frame.group_by("artwork_style", "track_genre").agg(pl.len(), pl.mean("score"))
    for style, genre, count, score in cells.iter_rows():
        if style in styles and genre in genres:
            cell = styles.index(style), genres.index(genre)
            counts[cell], scores[cell] = count, score
    scores[~(counts >= _FEWEST)] = np.nan
    largest = int(np.nanmax(counts, initial=0))
    known = np.nan_to_num(counts)
    chance = np.outer(known.sum(axis=1), known.sum(axis=0)) / max(known.sum(), 1.0)
    lift = np.log2(np.maximum(counts, 0.5) / np.maximum(chance, 0.5)).clip(-2, 2)
    alt = f"Pairs by style and music genre; the largest cell holds {largest} pairs"
    title = "Pairs: the stronger the colour, the more there are than by chance (up to 4 times)"
    chart = heat_map(styles, genres, counts, tints=lift, alt=alt, link=_pairs_of_cell)
    maps = [(title, markup(chart))]
    if np.isfinite(scores).sum() > 1:
        scored = f"Mean score by style and music genre, where there are at least {_FEWEST} pairs"
        chart = heat_map(
            styles, genres, scores, tints=scores, alt=scored, form=".2f", link=_pairs_of_cell
        )
        maps.append((scored, markup(chart)))
    return maps


_FEWEST = 5  # pairs or expected pairs below which a mean or a share says little


def _frequent(frame: pl.DataFrame, column: str, most: int) -> list[str]:
    counts = frame.group_by(column).len().sort(["len", column], descending=[True, False])
    return counts[column].head(most).to_list()


def _retrieved(ranks: Mapping[str, Any]) -> Iterator[str]:
    """Pairs, pool, R@k with its interval ("" where k is not less than the pool), median rank."""
    yield from _numbers(ranks, "pairs", "pool")
    for name in ("r1", "r5", "r10"):
        low, high = ranks.get(f"{name}_interval") or (0.0, 0.0)
        share = ranks.get(name)
        yield "" if share is None else f"{share:.3f} ({low:.3f}–{high:.3f})"
    yield f"{ranks['median_rank']:.1f}" if "median_rank" in ranks else ""


def _numbers(values: Mapping[str, Any], *names: str) -> list[str]:
    """Counts with commas, all else to three places."""
    return [
        f"{values[name]:,}" if isinstance(values[name], int) else f"{values[name]:.3f}"
        for name in names
    ]


# The report stage: report/index.html, drawn from what the other stages left on disk.
#
# The page holds no times and no dates, so the same build gives the same page; how long things
# took is in runs/*.json.

_REPORTED = ("ingest", "embed", "pair", "caption", "shard")


def plan(context: Context) -> list[Part]:
    """One part: the page. It depends on the index, the rejects and the stages' counts."""
    workspace, recipe = context.workspace, context.recipe
    index = workspace.shards / "index.parquet"
    if not index.is_file():
        raise BadData(f"{index} is missing: run the shard stage first.")
    inputs = {
        "index": sha256_file(index),
        "vectors": vectors_digest(workspace, recipe),
        "rejects": sha256_file(workspace.catalog / "rejects.parquet"),
        "unmatched": sha256_file(workspace.pairs / "unmatched.parquet"),
        "stages": digest(_stage_values(workspace)),
        "recipe": recipe.digest(),
    }
    samples = len(read_parquet(index, "index", ["key"]))
    return [Part("page", samples, inputs)]


def work(context: Context, part: Part) -> Outcome:
    """Write the page."""
    workspace, recipe = context.workspace, context.recipe
    data = open_shards(workspace.shards)
    page = render_report(_values(workspace, recipe, data))
    path = workspace.report / "index.html"
    write_bytes(path, page.encode())
    return Outcome((path, *_write_map(workspace, recipe, data)), part.items)


def _write_map(workspace: Workspace, recipe: Recipe, data: Dataset) -> tuple[Path, ...]:
    """The maps of both sides, beside the index of the release; none without vectors."""
    path = workspace.shards / MAP
    keys = data.frame["key"].to_list()
    places = {}
    try:
        for side, record in SIDES.items():
            items = keys if side == "tracks" else data.frame["artwork_id"].to_list()
            places[record.name] = places_of(side_vectors(workspace, recipe, side, items).rows)
    except BadData:
        path.unlink(missing_ok=True)
        return ()
    return (write_map(path, keys, places),)


def finish(context: Context, results: Sequence[Report]) -> Outcome:
    """Write the release's cards, which replace the shard stage's short README."""
    workspace = context.workspace
    return Outcome(
        (workspace.report / "index.html", *write_cards(workspace.shards, workspace.shards))
    )


STAGE = Stage("report", 11, ("name",), plan, work, finish, side_by_side=False)


def _stage_values(workspace: Workspace) -> dict[str, Any]:
    """The stages' reports, without values that differ from run to run."""
    measured = {}
    for stage in _REPORTED:
        report = read_json(workspace.runs / f"{stage}.json")
        measured[stage] = {
            key: report[key] for key in ("items_in", "items_out", "filtered", "failed", "extra")
        }
    return measured


def _values(workspace: Workspace, recipe: Recipe, data: Dataset) -> dict[str, Any]:
    frame = data.frame
    measured = _stage_values(workspace)
    stats = frame_stats(frame)
    synthetic = bool(frame["synthetic"].all())
    bridges = ", ".join(stats["counts"]["bridge"])
    return {
        "version": __version__,
        "name": recipe.name,
        "synthetic": synthetic,
        "summary": (
            f"{stats['pairs']:,} artwork–music pairs, matched through the {bridges} bridge, "
            f"in {len(data.shards):,} WebDataset shards."
        ),
        "numbers": [
            ("pairs", f"{stats['pairs']:,}"),
            ("painters", f"{frame['painter_id'].n_unique():,}"),
            ("musicians", f"{frame['musician'].drop_nulls().n_unique():,}"),
            ("styles", f"{frame['artwork_style'].drop_nulls().n_unique():,}"),
            ("music genres", f"{frame['track_genre'].drop_nulls().n_unique():,}"),
            ("hours of music", f"{stats['hours']:.1f}"),
        ],
        "funnel": _funnel(workspace, frame),
        **score_values(measured["pair"]["extra"]),
        "by_ear": rows_by_ear(data, measured["pair"]["extra"]),
        "browse": _BROWSE,
        "heat_maps": style_genre_maps(frame),
        "gallery": gallery(data),
        "gallery_text": (
            f"{min(PAIRS, frame.height)} pairs, spread evenly from the best score to the worst; "
            f"the sound is an excerpt of up to {SOUND_SECONDS:.0f} seconds."
        ),
        **_coverage(workspace, frame),
        **_captions(frame, measured["caption"]["extra"]),
        "rights": rights(frame),
        "charts": [(title, markup(chart)) for title, chart in _charts(frame, stats)],
        "facts": _facts(recipe, data, measured),
    }


def _funnel(workspace: Workspace, frame: pl.DataFrame) -> list[dict[str, Any]]:
    rejects = read_parquet(workspace.catalog / "rejects.parquet", "reject").to_pylist()
    unmatched = read_parquet(workspace.pairs / "unmatched.parquet", "unmatched").to_pylist()
    sides = []
    for side, title, column in (
        ("track", "Music", "track_id"),
        ("artwork", "Artworks", "artwork_id"),
    ):
        # A pair that was not packed counts as a loss on both sides.
        lost = [row for row in rejects if row["side"] in (side, "pair")]
        # Items in both tables; an imported pair that was not made removes no item.
        also_rejected = {
            row["item_id"] for row in lost if row["stage"] == "pair" and row["side"] == side
        }
        spare = Counter(
            row["reason"]
            for row in unmatched
            if row["side"] == side and row["item_id"] not in also_rejected
        )
        at_ingest = sum(row["stage"] == "ingest" for row in lost)
        at_embed = sum(row["stage"] == "embed" for row in lost)
        matched = frame[column].n_unique() + sum(row["stage"] in _AFTER_PAIR for row in lost)
        usable = matched + spare.total() + len(also_rejected)
        steps = [
            ("read", usable + at_ingest + at_embed),
            ("usable", usable),
            ("matched", matched),
            ("in shards", frame[column].n_unique()),
        ]
        losses = Counter((row["reason"], row["stage"], row["kind"]) for row in lost)
        examples = {row["reason"]: row["message"] for row in reversed(lost)}
        rows = [
            (_words(reason), stage, kind, count, examples[reason])
            for (reason, stage, kind), count in losses.most_common()
        ]
        rows += [
            (_words(reason), "pair", "unmatched", count, "")
            for reason, count in spare.most_common()
        ]
        most = max(count for _, count in steps) or 1
        sides.append(
            {
                "title": title,
                "steps": [
                    (name, count, round(100 * count / most, 2), _percent(count / most))
                    for name, count in steps
                ],
                "losses": rows,
            }
        )
    return sides


_AFTER_PAIR = ("caption", "shard")


def _percent(share: float) -> str:
    """A share for people, with two significant digits where it is small: 42 %, 0.15 %."""
    return f"{100 * share:.0f} %" if share >= 0.1 or not share else f"{100 * share:.2g} %"


def _coverage(workspace: Workspace, frame: pl.DataFrame) -> dict[str, Any]:
    """The pairs compared with the catalogue, and near-duplicates in it."""
    columns = ["artwork_id", "painter", "style", "cluster"]
    artworks = pl.DataFrame(
        read_parquet(workspace.catalog / "artworks.parquet", "artwork", columns)
    )
    tracks = pl.DataFrame(
        read_parquet(workspace.catalog / "tracks.parquet", "track", ["genre", "cluster"])
    )
    styles = shares(artworks["style"], frame["artwork_style"])
    genres = shares(tracks["genre"], frame["track_genre"])
    painters = shares(artworks["painter"], frame["painter"])
    return {
        "coverage_text": (
            f"The pairs use {100 * frame['artwork_id'].n_unique() / max(artworks.height, 1):.0f} % "
            f"of the usable artworks, {100 * painters.covered:.0f} % of their painters and "
            f"{100 * styles.covered:.0f} % of their styles. Were artworks taken evenly, each style "
            f"would keep its share of the catalogue; shares differ by "
            f"{100 * styles.distance:.0f} % in all (total variation distance)."
        ),
        "coverage_charts": [
            (
                title,
                markup(
                    two_bars(
                        found.values,
                        names=("catalogue", "pairs"),
                        alt=alt,
                        link=partial(_pairs_with, column),
                    )
                ),
            )
            for title, alt, found, column in (
                (
                    "Styles",
                    "Share of styles in the catalogue and in the pairs",
                    styles,
                    "artwork_style",
                ),
                (
                    "Music genres",
                    "Share of genres in the catalogue and in the pairs",
                    genres,
                    "track_genre",
                ),
            )
            if found.distance > 0  # equal bars say nothing
        ],
        **{
            name: [row for row in painters.extremes(most=most) if max(row[2], row[3]) >= _FEWEST]
            for name, most in (("painters_over", True), ("painters_under", False))
        },
        "clusters": [
            (title, *cluster_summary(column))
            for title, column in (("Artworks", artworks["cluster"]), ("Clips", tracks["cluster"]))
        ],
    }


def _captions(frame: pl.DataFrame, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Who wrote the captions, how long they are, and how many repeat or fell back."""
    rows, lengths = [], []
    for title, side, column in (
        ("Artworks", "artworks", "artwork_caption"),
        ("Music", "tracks", "track_caption"),
    ):
        lengths.append(words_of(frame[column]).to_numpy())
        rows.append(
            [
                title,
                measured[side]["captioner"],
                f"{lengths[-1].min()} – {lengths[-1].max()}",
                f"{np.mean(lengths[-1]):.1f}",
                f"{100 * frame[column].n_unique() / max(frame.height, 1):.0f} %",
                f"{100 * measured[side]['fallback_share']:.0f} %",
            ]
        )
    edges = np.arange(min(map(min, lengths)), max(map(max, lengths)) + 2) - 0.5
    chart = two_histograms(
        edges.tolist(),
        np.histogram(lengths[0], edges)[0].tolist(),
        np.histogram(lengths[1], edges)[0].tolist(),
        names=("artworks", "music"),
        label="words",
        alt="Lengths of the captions of artworks and of music, in words",
    )
    fallbacks = [
        (title, _words(reason), count)
        for title, side in (("Artworks", "artworks"), ("Music", "tracks"))
        for reason, count in measured[side]["fallbacks"].items()
    ]
    return {"caption_rows": rows, "caption_chart": markup(chart), "fallbacks": fallbacks}


def _charts(frame: pl.DataFrame, stats: Mapping[str, Any]) -> list[tuple[str, str]]:
    counts = stats["counts"]
    keys = _by_fifths(value_counts(frame, "musical_key"))
    names: dict[str, str] = {
        key_name(key): key for key in frame["musical_key"].drop_nulls().unique().to_list()
    }

    def link(column: str, value: str) -> str:
        return _pairs_with(column, names.get(value, value) if column == "musical_key" else value)

    drawn = [
        (
            title,
            bars(
                values,
                alt=alt,
                most=24 if values is keys else 15,
                link=partial(link, column),
            ),
        )
        for title, column, values, alt in (
            ("Styles", "artwork_style", counts["artwork_style"], "Pairs by style"),
            ("Music genres", "track_genre", counts["track_genre"], "Pairs by music genre"),
            ("Artwork genres", "artwork_genre", counts["artwork_genre"], "Pairs by artwork genre"),
            ("Painters", "painter", counts["painter"], "Pairs by painter"),
            (
                "Periods",
                "artwork_period",
                value_counts(frame, "artwork_period"),
                "Pairs by period",
            ),
            # ArtGraph has the school of a painter, but no nationality.
            (
                "Schools of the painters (ArtGraph gives no nationality)",
                "artwork_school",
                value_counts(frame, "artwork_school"),
                "Pairs by the painter's school",
            ),
            ("Keys of the music, by the circle of fifths", "musical_key", keys, "Pairs by key"),
            (
                "Licences of the music",
                "track_license_id",
                counts["track_license_id"],
                "Pairs by track licence",
            ),
            (
                "Rights of the pictures",
                "artwork_license_id",
                counts["artwork_license_id"],
                "Pairs by picture rights",
            ),
        )
        if len(values) > 1  # one bar says nothing
    ]
    histograms = [
        ("Tempo", "tempo_bpm", "beats per minute"),
        ("Duration", "duration_s", "seconds"),
        *(
            (title, name, title)
            for name, title in QUALITY.items()
            if name in measured_quality(frame)
        ),
        ("Year of the artwork", "artwork_year", "year"),
    ]
    for title, column, label in histograms:
        # As an array: of a list matplotlib looks at each value.
        values = np.array(frame[column].drop_nulls().to_list())
        if len(values):
            between = partial(_pairs_between, column)
            drawn.append((title, histogram_chart(values, label=label, alt=title, link=between)))
    return drawn


# Addresses of `artsound browse`, where the charts lead.


def _browse(**query: str) -> str:
    return f"{_BROWSE}/?{urlencode(query)}"


def _pairs_with(column: str, value: str) -> str:
    """Where the pairs are that have a value in a column of the index; `unknown`: none."""
    if facet := FACETS.get(column):
        return _browse(**{facet: value})
    return _browse(
        where=f"{column} IS NULL" if value == "unknown" else f"{column} = {sql_text(value)}"
    )


def _pairs_of_cell(style: str, genre: str) -> str:
    """Where the pairs of a style and a music genre are; "" for any."""
    chosen = {"artwork_style": style, "track_genre": genre}
    return _browse(**{FACETS[column]: value for column, value in chosen.items() if value})


_RANGES = {column: name for name, _, column, _ in RANGES}
_STEPS = 10_000  # of a bound, between two whole numbers


def _pairs_between(column: str, low: float, high: float, last: bool) -> str:
    """Where the pairs of one bar of a histogram are, which the last alone has its upper end of."""
    name = _RANGES[column]
    if column == "artwork_year":  # a whole number
        most = math.floor(high) if last else math.ceil(high) - 1
        return _browse(**{name: f"{math.ceil(low)}..{most}"})
    # Both bounds of a range are included: the upper one is a step below that of the next bar.
    least, most = math.floor(low * _STEPS), math.ceil(high * _STEPS) - (not last)
    return _browse(**{name: f"{least / _STEPS:.4f}..{most / _STEPS:.4f}"})


def _by_fifths(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts of keys, as captions name them: majors, then minors, each by fifths from C and A."""
    fifths = [PITCHES[7 * step % 12] for step in range(12)]
    minors = fifths[3:] + fifths[:3]
    order = [f"{key} major" for key in fifths] + [f"{key} minor" for key in minors]
    order += sorted(set(counts) - set(order))
    return {key_name(key): counts[key] for key in order if key in counts}


def _facts(recipe: Recipe, data: Dataset, measured: Mapping[str, Any]) -> list[tuple[str, str]]:
    captions = measured["caption"]["extra"]
    return [
        ("Software", f"artsound {__version__}"),
        ("Artworks of", ", ".join(sorted(data.frame["artwork_source"].unique()))),
        ("Music of", ", ".join(sorted(data.frame["track_source"].unique()))),
        ("Bridge", recipe.pair.bridge),
        ("Artwork captions", captions["artworks"]["captioner"]),
        ("Music captions", captions["tracks"]["captioner"]),
        ("Rights policy", recipe.rights.policy),
        ("Seed", str(recipe.seed)),
        ("To repeat the build", "artsound build --recipe recipe.toml --out FOLDER"),
        ("Digest of recipe.toml", recipe.digest()),
        ("Digest of the index", sha256_file(Path(data.store.location) / "index.parquet")),
    ]


def _words(code: str) -> str:
    return code.replace("-", " ")
