"""An evaluation's summary as Markdown tables."""

from __future__ import annotations

from typing import Any

_COLUMNS = (
    "system", "Fréchet ↓", "without bias ↓", "kernel ↓", "classes KL ↓", "genres KL ↓",
    "distance to own track ↓", "condition effect ↑", "R@1 ↑", "R@5 ↑", "R@10 ↑", "median rank ↓",
)  # fmt: skip


def evaluation_table(summary: dict[str, Any]) -> str:
    """A table for every embedding and one for the bridge, a row for each system.

    Intervals are 95% bootstrap intervals over pairs.
    """
    parts = [
        f"# Evaluation of step {summary['step']} on {summary['pairs']} pairs ({summary['split']})"
    ]
    for embedding in summary["embeddings"]:
        rows = [
            [name, *_cells(measures[embedding])] for name, measures in summary["systems"].items()
        ]
        some = next(iter(summary["systems"].values()))[embedding]["retrieval"]
        chance = (
            f"By chance: R@1 {some['chance_1']:.2f}, R@5 {some['chance_5']:.2f}, R@10 "
            f"{some['chance_10']:.2f}, median rank {some['chance_rank']:.1f}."
        )
        parts.append(f"## Heard through {embedding}\n\n{_table(_COLUMNS, rows)}\n\n{chance}")
    bridged = {"own track": summary["own_track_in_bridge"]} | {
        name: measures["bridge"] for name, measures in summary["systems"].items()
    }
    rows = [
        [name, _interval(b["similarity"]), _interval(b["effect"])] for name, b in bridged.items()
    ]
    columns = ("system", "similarity to the picture ↑", "condition effect ↑")
    parts.append(f"## On the affect bridge\n\n{_table(columns, rows)}")
    return "\n\n".join(parts) + "\n"


def _cells(measures: dict[str, Any]) -> list[str]:
    found, genres = measures["retrieval"], measures["genre_divergence"]
    return [
        _interval(measures["frechet"]),
        f"{measures['frechet_without_bias']:.3g}",
        _interval(measures["kernel"]),
        _interval(measures["class_divergence"]),
        "–" if genres is None else _interval(genres),
        _interval(measures["own_distance"]),
        _interval(measures["condition_effect"]),
        *(f"{found[f'recall_{k}']['mean']:.2f}" for k in (1, 5, 10)),
        f"{found['median_rank']:.1f}",
    ]


def _interval(value: dict[str, float]) -> str:
    # What is but the rounding of sums is nothing.
    value = {name: 0.0 if abs(number) < 1e-9 else number for name, number in value.items()}
    return f"{value['mean']:.3g} ({value['low']:.3g}…{value['high']:.3g})"


def _table(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [list(columns), ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
