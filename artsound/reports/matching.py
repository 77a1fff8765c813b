"""The report's tables and charts of how well artworks and music were matched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from artsound.reports.charts import heat_map, two_histograms
from artsound.reports.html import markup


def score_values(told: Mapping[str, Any]) -> dict[str, Any]:
    """The section Scores, from the pair stage's evidence: a chart, a sentence, and tables."""
    scores = told["scores"]
    overall = told["overall"]
    chart = two_histograms(
        scores["edges"],
        scores["matched"],
        scores["random"],
        names=("matched", "random"),
        label="score (cosine in the bridge's space)",
        alt="Distribution of the scores of matched pairs and of random pairs",
    )
    names = {
        "matched": "matched", "mean": "mean score", "random": "random", "greedy": "greedy",
        "bound": "upper bound",
    }  # fmt: skip
    rows = [
        [split, *_numbers(values, *names)]
        for split, values in [*told["splits"].items(), ("all", overall)]
    ]
    return {
        "scores": markup(chart),
        "score_text": (
            f"Mean score {overall['mean']:.3f}; random pairs of the same splits reach "
            f"{overall['random']:.3f}, and no matching could exceed {overall['bound']:.3f}. "
            f"Scores of different bridges cannot be compared."
        ),
        "match_tables": [
            ("Matching, split by split", ["split", *names.values()], rows),
            *_evidence(told["splits"]),
            *_certain(told),
        ],
    }


def _certain(told: Mapping[str, Any], most: int = 6) -> Iterator[tuple[str, list[str], list[Any]]]:
    """Tables of the pairs with the widest and the narrowest margin to the next best artwork."""
    for title, key in (("Most certain", "most_certain"), ("Least certain", "least_certain")):
        rows = [
            [
                pair["artwork_id"],
                f"{pair['track_id']:06d}",
                *_numbers(pair, "score", "margin"),
            ]
            for pair in told[key][:most]
        ]
        yield f"{title} pairs", ["artwork", "track", "score", "margin"], rows


def _evidence(splits: Mapping[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Tables (title, headings, rows) of hubs and retrieval, and of other bridges if compared."""
    hubs = ["split", "share of the possible", "hubness before", "after"]
    yield (
        "Share of what is provably possible, and hubness before and after its correction",
        hubs,
        [
            [split, *_numbers(told, "optimality", "hubness", "hubness_corrected")]
            for split, told in splits.items()
        ],
    )
    yield (
        "Rank of the partner among all of the split",
        ["split", "from", "R@1", "R@5", "R@10", "median rank"],
        [
            [split, start, *_numbers(told[way], "r1", "r5", "r10", "median_rank")]
            for split, told in splits.items()
            for start, way in (("music", "music_to_artwork"), ("artwork", "artwork_to_music"))
        ],
    )
    agreed = [
        [split, name, *_numbers(found, "spearman", "preferred", "equal_pairs")]
        for split, told in splits.items()
        for name, found in told["agreement"].items()
        if "equal_pairs" in found
    ]
    if agreed:
        yield (
            "What other bridges make of the pairs",
            ["split", "bridge", "rank correlation", "prefers the pair to chance", "equal pairs"],
            agreed,
        )


def style_genre_maps(frame: pl.DataFrame, most: int = 14) -> list[tuple[str, Any]]:
    """(title, chart): how many pairs each style has with each music genre, and their mean score."""
    frame = frame.select(pl.col("style", "music_genre").replace("", "unknown"), "score")
    styles = _frequent(frame, "style", most)
    genres = _frequent(frame, "music_genre", most)
    counts = np.full((len(styles), len(genres)), np.nan)
    scores = counts.copy()
    cells = frame.group_by("style", "music_genre").agg(pl.len(), pl.mean("score"))
    for style, genre, count, score in cells.iter_rows():
        if style in styles and genre in genres:
            cell = styles.index(style), genres.index(genre)
            counts[cell], scores[cell] = count, score
    largest = int(np.nanmax(counts, initial=0))
    alt = f"Pairs by style and music genre; the largest cell holds {largest} pairs"
    scored = "Mean score of the pairs by style and music genre"
    return [
        ("Pairs", markup(heat_map(styles, genres, counts, alt=alt))),
        ("Mean score", markup(heat_map(styles, genres, scores, alt=scored, form=".2f"))),
    ]


def _frequent(frame: pl.DataFrame, column: str, most: int) -> list[str]:
    counts = frame.group_by(column).len().sort(["len", column], descending=[True, False])
    return counts[column].head(most).to_list()


def _numbers(values: Mapping[str, Any], *names: str) -> list[str]:
    """Counts with commas, all else to three places."""
    return [
        f"{values[name]:,}" if isinstance(values[name], int) else f"{values[name]:.3f}"
        for name in names
    ]
