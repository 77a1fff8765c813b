"""The report stage: report/index.html, drawn from what the other stages left on disk.

The page holds no times and no dates, so the same build gives the same page; how long things
took is in runs/*.json.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from artsound import __version__
from artsound.errors import BadData
from artsound.parts import Part, PartOutput, PartResult
from artsound.recipe import Recipe
from artsound.reports import coverage
from artsound.reports.card import write_cards
from artsound.reports.charts import bars, histogram, two_bars, two_histograms
from artsound.reports.gallery import PAIRS, SOUND_SECONDS, gallery
from artsound.reports.html import markup, render_report
from artsound.reports.matching import score_values, style_genre_maps
from artsound.reports.stats import frame_stats, value_counts
from artsound.shards.read import Dataset, open_shards
from artsound.stage import Finish, Stage
from artsound.storage import Workspace, digest, read_json, read_parquet, sha256_file, write_bytes

_TOLD = ("ingest", "embed", "pair", "caption", "shard")


def plan(workspace: Workspace, recipe: Recipe) -> list[Part]:
    """One part: the page. It depends on the index, the losses and the stages' numbers."""
    index = workspace.shards / "index.parquet"
    if not index.is_file():
        raise BadData(f"{index} is missing: run the shard stage first.")
    inputs = {
        "index": sha256_file(index),
        "rejects": sha256_file(workspace.catalog / "rejects.parquet"),
        "unmatched": sha256_file(workspace.pairs / "unmatched.parquet"),
        "told": digest(_told(workspace)),
        "recipe": recipe.digest(),
    }
    samples = len(read_parquet(index, "index", ["key"]))
    return [Part("page", samples, inputs)]


def work(workspace: Workspace, recipe: Recipe, part: Part) -> PartOutput:
    """Draw the page."""
    data = open_shards(workspace.shards)
    page = render_report(_values(workspace, recipe, data))
    path = workspace.report / "index.html"
    write_bytes(path, page.encode())
    return PartOutput(part.items, (path,))


def finish(workspace: Workspace, recipe: Recipe, results: Sequence[PartResult]) -> Finish:
    """The page, and the release's cards, which take the place of the shard stage's short README."""
    return Finish(
        (workspace.report / "index.html", *write_cards(workspace.shards, workspace.shards))
    )


STAGE = Stage("report", 3, ("name",), plan, work, finish, side_by_side=False)


def _told(workspace: Workspace) -> dict[str, Any]:
    """What the stages reported, without what differs from run to run."""
    told = {}
    for stage in _TOLD:
        report = read_json(workspace.runs / f"{stage}.json")
        told[stage] = {
            key: report[key] for key in ("items_in", "items_out", "filtered", "failed", "extra")
        }
    return told


def _values(workspace: Workspace, recipe: Recipe, data: Dataset) -> dict[str, Any]:
    frame = data.frame
    told = _told(workspace)
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
            ("musicians", f"{frame['artist'].n_unique():,}"),
            ("styles", f"{frame['style'].n_unique():,}"),
            ("music genres", f"{frame['music_genre'].n_unique():,}"),
            ("hours of music", f"{stats['hours']:.1f}"),
        ],
        "funnel": _funnel(workspace, frame),
        **score_values(told["pair"]["extra"]),
        "heat_maps": style_genre_maps(frame),
        "gallery": gallery(data),
        "gallery_text": (
            f"{min(PAIRS, frame.height)} pairs, spread evenly from the best score to the worst; "
            f"the sound is an excerpt of up to {SOUND_SECONDS:.0f} seconds."
        ),
        **_coverage(workspace, frame),
        **_captions(frame, told["caption"]["extra"]),
        "rights": coverage.rights(frame),
        "charts": [(title, markup(chart)) for title, chart in _charts(frame, stats)],
        "facts": _facts(recipe, data, told),
    }


def _funnel(workspace: Workspace, frame: pl.DataFrame) -> list[dict[str, Any]]:
    rejects = read_parquet(workspace.catalog / "rejects.parquet", "reject").to_pylist()
    unmatched = read_parquet(workspace.pairs / "unmatched.parquet", "unmatched").to_pylist()
    sides = []
    for side, title, column in (
        ("track", "Music", "track_id"),
        ("artwork", "Artworks", "artwork_id"),
    ):
        # A pair that was not packed is a loss to both sides.
        lost = [row for row in rejects if row["side"] in (side, "pair")]
        # In both tables; a published pair that was not made takes no item away.
        told = {row["item_id"] for row in lost if row["stage"] == "pair" and row["side"] == side}
        spare = Counter(
            row["reason"] for row in unmatched if row["side"] == side and row["item_id"] not in told
        )
        at_ingest = sum(row["stage"] == "ingest" for row in lost)
        at_embed = sum(row["stage"] == "embed" for row in lost)
        matched = frame[column].n_unique() + sum(row["stage"] in _AFTER_PAIR for row in lost)
        usable = matched + spare.total() + len(told)
        steps = [
            ("pulled", usable + at_ingest + at_embed),
            ("usable", usable),
            ("matched", matched),
            ("sharded", frame[column].n_unique()),
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
                "steps": [(name, count, round(100 * count / most, 2)) for name, count in steps],
                "losses": rows,
            }
        )
    return sides


_AFTER_PAIR = ("caption", "shard")


def _coverage(workspace: Workspace, frame: pl.DataFrame) -> dict[str, Any]:
    """How the pairs stand to the catalogue they were chosen from; and near-duplicates in it."""
    columns = ["artwork_id", "painter", "style", "cluster"]
    artworks = pl.DataFrame(
        read_parquet(workspace.catalog / "artworks.parquet", "artwork", columns)
    )
    tracks = pl.DataFrame(
        read_parquet(workspace.catalog / "tracks.parquet", "track", ["genre", "cluster"])
    )
    styles = coverage.shares(artworks["style"], frame["style"])
    genres = coverage.shares(tracks["genre"], frame["music_genre"])
    painters = coverage.shares(artworks["painter"], frame["painter"])
    return {
        "coverage_text": (
            f"The pairs use {100 * frame['artwork_id'].n_unique() / max(artworks.height, 1):.0f} % "
            f"of the usable artworks, {100 * painters.covered:.0f} % of their painters and "
            f"{100 * styles.covered:.0f} % of their styles. Were artworks taken evenly, each style "
            f"would keep its share of the catalogue; shares differ by "
            f"{100 * styles.distance:.0f} % in all (total variation distance)."
        ),
        "coverage_charts": [
            (title, markup(two_bars(found.values, names=("catalogue", "pairs"), alt=alt)))
            for title, alt, found in (
                ("Styles", "Share of styles in the catalogue and in the pairs", styles),
                ("Music genres", "Share of genres in the catalogue and in the pairs", genres),
            )
        ],
        "painters_over": painters.extremes(most=True),
        "painters_under": painters.extremes(most=False),
        "clusters": [
            (title, *coverage.clusters(column))
            for title, column in (("Artworks", artworks["cluster"]), ("Clips", tracks["cluster"]))
        ],
    }


def _captions(frame: pl.DataFrame, told: Mapping[str, Any]) -> dict[str, Any]:
    """Who wrote the captions, how long they are, and how many repeat or fell back."""
    rows, lengths = [], []
    for title, side, column in (
        ("Artworks", "artworks", "artwork_caption"),
        ("Music", "tracks", "music_caption"),
    ):
        lengths.append(frame[column].str.split(" ").list.len().to_numpy())
        rows.append(
            [
                title,
                told[side]["captioner"],
                f"{lengths[-1].min()} – {lengths[-1].max()}",
                f"{np.mean(lengths[-1]):.1f}",
                f"{100 * frame[column].n_unique() / max(frame.height, 1):.0f} %",
                f"{100 * told[side]['fallback_share']:.0f} %",
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
        for reason, count in told[side]["fallbacks"].items()
    ]
    return {"caption_rows": rows, "caption_chart": markup(chart), "fallbacks": fallbacks}


def _charts(frame: pl.DataFrame, stats: Mapping[str, Any]) -> list[tuple[str, str]]:
    counts = stats["counts"]
    years = frame.filter(pl.col("year") >= 0)["year"].to_list()
    drawn = [
        ("Styles", bars(counts["style"], alt="Pairs by style")),
        ("Music genres", bars(counts["music_genre"], alt="Pairs by music genre")),
        ("Artwork genres", bars(counts["genre"], alt="Pairs by artwork genre")),
        ("Painters", bars(counts["painter"], alt="Pairs by painter")),
        ("Periods", bars(value_counts(frame, "period"), alt="Pairs by period")),
        # ArtGraph tells where a painter trained; nationalities it does not give.
        (
            "Schools of the painters (ArtGraph gives no nationality)",
            bars(value_counts(frame, "school"), alt="Pairs by the painter's school"),
        ),
        (
            "Keys of the music",
            bars(value_counts(frame, "key_signature"), alt="Pairs by key", most=24),
        ),
        ("Licences of the music", bars(counts["track_license_id"], alt="Pairs by track licence")),
        (
            "Rights of the pictures",
            bars(counts["artwork_license_id"], alt="Pairs by picture rights"),
        ),
        ("Tempo", histogram(frame["tempo"].to_list(), label="beats per minute", alt="Tempo")),
        ("Duration", histogram(frame["duration"].to_list(), label="seconds", alt="Duration")),
    ]
    if years:
        drawn.append(
            ("Year of the artwork", histogram(years, label="year", alt="Year of the work"))
        )
    return drawn


def _facts(recipe: Recipe, data: Dataset, told: Mapping[str, Any]) -> list[tuple[str, str]]:
    captions = told["caption"]["extra"]
    return [
        ("Recipe", recipe.digest()),
        ("Index", sha256_file(Path(data.store.location) / "index.parquet")),
        ("Bridge", recipe.pair.bridge),
        ("Artwork captions", captions["artworks"]["captioner"]),
        ("Music captions", captions["tracks"]["captioner"]),
        ("Rights policy", recipe.rights.policy),
        ("Seed", str(recipe.seed)),
    ]


def _words(code: str) -> str:
    return code.replace("-", " ")
