"""How far judges agree, how pairs fare against controls, and which pairs are unfit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from artsound.console import counted
from artsound.errors import BadUsage
from artsound.reports.judging import latest, read_judgements
from artsound.storage import write_parquet

Level = Literal["nominal", "ordinal", "interval"]
_TRIAL = ["index_sha256", "artwork_key", "track_key"]
_DRAWS = 2000


def krippendorff_alpha(units: Sequence[Sequence[float]], level: Level) -> float | None:
    """Krippendorff's alpha: 1 is perfect agreement, 0 what chance gives; None when undefined.

    `units` holds the values that judges gave each unit, of any number of judges; a unit with
    fewer than two values says nothing. Undefined when no unit has two, or all values are equal.
    Formulae of K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C–E:
    alpha = 1 − (n − 1) Σ o_ck δ²_ck / Σ n_c n_k δ²_ck over the coincidences o and their margins n.
    """
    paired = [list(values) for values in units if len(values) > 1]
    values = sorted({value for unit in paired for value in unit})
    if len(values) < 2:
        return None
    place = {value: n for n, value in enumerate(values)}
    coincidences = np.zeros((len(values), len(values)))
    for unit in paired:
        counts = np.bincount([place[value] for value in unit], minlength=len(values))
        coincidences += (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    margins = coincidences.sum(axis=1)
    difference = _squared_differences(np.array(values, dtype=float), margins, level)
    expected = float((np.outer(margins, margins) * difference).sum())
    observed = float((coincidences * difference).sum())
    return 1.0 - (float(margins.sum()) - 1.0) * observed / expected


def _squared_differences(
    values: npt.NDArray[np.float64], margins: npt.NDArray[np.float64], level: Level
) -> npt.NDArray[np.float64]:
    """δ² between each two values."""
    if level == "nominal":
        return (values[:, None] != values[None, :]).astype(float)
    if level == "interval":
        return np.square(values[:, None] - values[None, :])
    # Ordinal: the values given between the two, their own counted by half.
    middles = np.cumsum(margins) - margins / 2
    return np.square(middles[:, None] - middles[None, :])


def summarise(judgements: pl.DataFrame) -> dict[str, Any]:
    """What the judgements say as a whole; JSON values, None where nothing can be said.

    `difference` is the mean rating of pairs minus that of controls, with the interval that holds
    it in 95 % of 2,000 bootstrap draws of trials.
    """
    said = latest(judgements)
    rated = said.filter(pl.col("rating") > 0)
    decided = said.filter(pl.col("verdict").is_in(["accept", "reject"]))
    ratings = _by_trial(rated, pl.col("rating").cast(pl.Float64))
    verdicts = _by_trial(decided, (pl.col("verdict") == "accept").cast(pl.Float64))
    return {
        "judgements": judgements.height,
        "judges": {
            row["judge"]: {key: row[key] for key in ("judgements", "pairs", "controls")}
            for row in _per_judge(said).iter_rows(named=True)
        },
        "skipped": judgements.filter(verdict="skip").height,
        "trials": said.select(_TRIAL).unique().height,
        "trials_of_several_judges": int((said.group_by(_TRIAL).len()["len"] > 1).sum()),
        "alpha": {
            "rating_ordinal": krippendorff_alpha(ratings, "ordinal"),
            "rating_interval": krippendorff_alpha(ratings, "interval"),
            "verdict_nominal": krippendorff_alpha(verdicts, "nominal"),
        },
        "rating": {
            "pairs": _mean(rated.filter(~pl.col("control"))["rating"]),
            "controls": _mean(rated.filter("control")["rating"]),
            "difference": _difference(rated),
        },
        "accepted": {
            "pairs": _mean(decided.filter(~pl.col("control"))["verdict"] == "accept"),
            "controls": _mean(decided.filter("control")["verdict"] == "accept"),
        },
    }


def _by_trial(said: pl.DataFrame, value: pl.Expr) -> list[list[float]]:
    grouped = said.group_by(_TRIAL, maintain_order=True).agg(value.alias("_values"))
    return [list(values) for values in grouped["_values"].to_list()]


def _per_judge(said: pl.DataFrame) -> pl.DataFrame:
    rating = pl.col("rating").filter(pl.col("rating") > 0)
    return (
        said.group_by("judge")
        .agg(
            pl.len().alias("judgements"),
            rating.filter(~pl.col("control").filter(pl.col("rating") > 0)).mean().alias("pairs"),
            rating.filter(pl.col("control").filter(pl.col("rating") > 0)).mean().alias("controls"),
        )
        .sort("judge")
    )


def _difference(rated: pl.DataFrame) -> dict[str, float] | None:
    """Mean rating of pairs minus that of controls, by trial, with its bootstrap interval."""
    means = rated.group_by(*_TRIAL, "control", maintain_order=True).agg(pl.col("rating").mean())
    pairs = means.filter(~pl.col("control"))["rating"].to_numpy()
    controls = means.filter("control")["rating"].to_numpy()
    if not pairs.size or not controls.size:
        return None
    rng = np.random.default_rng(0)
    drawn = [
        rng.choice(pairs, pairs.size).mean() - rng.choice(controls, controls.size).mean()
        for _ in range(_DRAWS)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {"mean": float(pairs.mean() - controls.mean()), "low": float(low), "high": float(high)}


def _mean(values: pl.Series) -> float | None:
    return float(values.cast(pl.Float64).mean() or 0.0) if values.len() else None  # type: ignore[arg-type]


def unfit(
    judgements: pl.DataFrame, *, drop_rejected: bool = False, min_rating: float = 0.0
) -> list[dict[str, Any]]:
    """The pairs to leave out, by key: rows of schemas/exclusion.json.

    With `drop_rejected`, pairs that more judges rejected than accepted; with `min_rating`, pairs
    whose mean rating is below it. Controls are nobody's pairs and never listed.
    """
    pairs = latest(judgements).filter(~pl.col("control"))
    rating = pl.col("rating").filter(pl.col("rating") > 0)
    told = pairs.group_by(pl.col("artwork_key").alias("key"), "track_id", "artwork_id").agg(
        rating.mean().fill_null(-1.0).alias("rating"),
        rating.len().alias("ratings"),
        (pl.col("verdict") == "accept").sum().alias("accepted"),
        (pl.col("verdict") == "reject").sum().alias("rejected"),
    )
    low = (pl.col("ratings") > 0) & (pl.col("rating") < min_rating)
    rejected = pl.lit(drop_rejected) & (pl.col("rejected") > pl.col("accepted"))
    return told.filter(low | rejected).sort("key", "artwork_id").to_dicts()


def judgements_at(place: Path) -> pl.DataFrame:
    """The judgements of a folder of shards, or of the folder that holds them.

    Raises BadUsage when there are none.
    """
    folder = place if place.name == "judgements" else place.absolute().parent / "judgements"
    found = read_judgements(folder)
    if found.is_empty():
        raise BadUsage(f"There are no judgements in {folder}: `artsound browse` takes them down.")
    return found


def write_exclusions(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the pairs to leave out, for a recipe (`pair.exclude`) and `subset --exclude`."""
    if path.suffix != ".parquet":
        raise BadUsage(f"{path}: the list of pairs to leave out is a .parquet file.")
    write_parquet(path, "exclusion", rows)


def print_summary(summary: dict[str, Any]) -> None:
    """Print what the judges said, for people."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(
        f"{counted(summary['judgements'], 'judgement')} by "
        f"{counted(len(summary['judges']), 'judge')} of {counted(summary['trials'], 'trial')}, "
        f"{summary['trials_of_several_judges']:,} of them judged by "
        f"several; {summary['skipped']:,} skipped"
    )
    table = Table("", "pairs", "controls", box=SIMPLE_HEAD, pad_edge=False)
    rating, accepted = summary["rating"], summary["accepted"]
    table.add_row("mean rating", _shown(rating["pairs"]), _shown(rating["controls"]))
    table.add_row("accepted", _shown(accepted["pairs"]), _shown(accepted["controls"]))
    for judge, told in summary["judges"].items():
        table.add_row(f"rating by {judge}", _shown(told["pairs"]), _shown(told["controls"]))
    console.print(table)
    if rating["difference"]:
        gain = rating["difference"]
        console.print(
            f"pairs are rated {gain['mean']:+.2f} against controls "
            f"(95 % interval {gain['low']:+.2f} to {gain['high']:+.2f})"
        )
    alpha = summary["alpha"]
    console.print(
        f"Krippendorff's alpha: ratings {_shown(alpha['rating_ordinal'])} ordinal, "
        f"{_shown(alpha['rating_interval'])} interval; verdicts "
        f"{_shown(alpha['verdict_nominal'])} nominal"
    )


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
