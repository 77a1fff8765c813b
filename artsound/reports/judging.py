"""Blind judging of pairs: trials, the record of judgements, agreement, and unfit pairs.

All judges of a view are shown the same trials in blocks of twenty, each judge in an order of their
own, so that judgements can be compared however early a judge stops. Half of every block are
controls, which combine an artwork with the music of another pair; judges cannot recognise them. A
difference between the two needs the fewest trials if there are as many of both.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from artsound.errors import BadData, BadUsage
from artsound.keys import normal_name, six_digits, with_text_keys
from artsound.progress import counted
from artsound.schema import arrow_schema, check_table
from artsound.shards.beside import JUDGED, PREFERRED
from artsound.shards.dataset import Dataset
from artsound.storage import digest, read_parquet, write_parquet
from artsound.untrusted import read_table

BLOCK = 20
CONTROLS = 10  # of each block
VERDICTS = ("", "accept", "reject", "skip")
MIN_HEARD = 3.0  # seconds of a clip that a judge hears at least
UNKNOWN_HEARD = -1.0
_LONGEST_NAME = 64  # characters
_MOST_COUNTED = 5_000  # pairs up to which trials are counted one by one


@dataclass(frozen=True)
class Trial:
    """An artwork and a clip to judge together, as positions in a dataset."""

    artwork: int
    track: int

    @property
    def control(self) -> bool:
        """Whether the two are of different pairs."""
        return self.artwork != self.track

    def moved(self, rows: npt.NDArray[np.int64]) -> Trial:
        """Return the trial with positions mapped by `rows`, int64 [n]."""
        return Trial(int(rows[self.artwork]), int(rows[self.track]))


@dataclass(frozen=True, slots=True)
class Judgement:
    """The judgement of one trial by one judge (schemas/judgement.json)."""

    judge: str
    at: str
    artwork_key: str
    artwork_id: str
    image_sha256: str
    track_key: str
    track_id: str
    audio_sha256: str
    control: bool
    rating: int
    verdict: str
    seconds: float
    heard: float
    view: list[str]
    index_sha256: str


def trials(data: Dataset) -> Iterator[list[Trial]]:
    """Yield the blocks of trials for a dataset; they depend on nothing else.

    Every pair is one trial; controls combine an artwork with the music of another pair of its
    split, if there is one, and each is another combination.
    """
    frame = data.frame
    rng = seeded(data.index_sha256, *frame["key"].head(1), str(len(data)))
    order = rng.permutation(len(data))
    splits = codes(frame["split"])
    members = {split: np.flatnonzero(splits == split) for split in set(splits.tolist())}
    clusters = codes(frame["track_cluster"])
    real = BLOCK - CONTROLS
    combined: dict[int, list[int]] = {}
    for start in range(0, len(order), real):
        block = [Trial(int(n), int(n)) for n in order[start : start + real]]
        for picture in rng.integers(len(order), size=CONTROLS).tolist():
            others = members[int(splits[picture])]
            others = others[clusters[others] != clusters[picture]]
            if picture in combined:
                others = np.setdiff1d(others, combined[picture])
            if others.size:
                other = int(rng.choice(others))
                combined.setdefault(picture, []).append(other)
                block.append(Trial(picture, other))
        yield block


class TrialList:
    """The trials of a dataset, computed block by block as far as they are requested."""

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self.keys: list[str] = data.frame["key"].to_list()
        self._source = trials(data)
        self._blocks: list[list[Trial]] = []

    def blocks(self) -> Iterator[list[Trial]]:
        """All blocks in order; they may be requested again."""
        number = 0
        while number < len(self._blocks) or self._extend():
            yield self._blocks[number]
            number += 1

    def _extend(self) -> bool:
        block = next(self._source, None)
        if block is not None:
            self._blocks.append(block)
        return block is not None

    def total(self) -> int:
        """The number of trials; of more than 5,000 pairs the number if every control exists."""
        if len(self.keys) <= _MOST_COUNTED:
            return sum(map(len, self.blocks()))
        return len(self.keys) + CONTROLS * -(-len(self.keys) // (BLOCK - CONTROLS))

    def pair_of_keys(self, trial: Trial) -> tuple[str, str]:
        """(artwork key, track key) of a trial."""
        return self.keys[trial.artwork], self.keys[trial.track]

    def next(
        self,
        judge: str,
        done: Collection[tuple[str, str]],
        skipped: Sequence[tuple[str, str]] = (),
    ) -> Trial | None:
        """The first trial that a judge has not judged; see `next_trial`."""
        apart = set(skipped)
        returning: dict[tuple[str, str], Trial] = {}
        for number, block in enumerate(self.blocks()):
            order = seeded(self.data.index_sha256, judge, str(number)).permutation(len(block))
            for n in order:
                trial = block[int(n)]
                names = self.pair_of_keys(trial)
                if names in done:
                    continue
                if names not in apart:
                    return trial
                returning[names] = trial
        return next((returning[names] for names in skipped if names in returning), None)


def next_trial(
    data: Dataset,
    judge: str,
    done: Collection[tuple[str, str]],
    skipped: Sequence[tuple[str, str]] = (),
) -> Trial | None:
    """Return the first trial that a judge has not judged; None when there is none.

    Args:
        data: The pairs.
        judge: Name of the judge.
        done: (artwork key, track key) of the trials already judged.
        skipped: Those of the trials that return when no other is left, in this order.
    """
    return TrialList(data).next(judge, done, skipped)


def judgement_of(
    data: Dataset,
    trial: Trial,
    judge: str,
    *,
    rating: int,
    verdict: str,
    seconds: float,
    heard: float = UNKNOWN_HEARD,
    view: Sequence[str] = (),
) -> Judgement:
    """Return the record of a judge's answer, with the current time.

    Args:
        data: The pairs.
        trial: The trial.
        judge: Name of the judge.
        rating: 1 to 5; −1: none.
        verdict: accept, reject or skip; empty: none.
        seconds: Time that the judge took.
        heard: Seconds of the clip that were played; −1: unknown.
        view: Conditions of the view.

    Raises:
        BadUsage: There is neither a rating nor a verdict, or one is out of range.
    """
    if rating not in (-1, 1, 2, 3, 4, 5):
        raise BadUsage(f"A rating is 1 to 5, not {rating}.")
    if verdict not in VERDICTS:
        raise BadUsage(f"A verdict is accept, reject or skip, not {verdict!r}.")
    if rating == -1 and not verdict:
        raise BadUsage("A judgement needs a rating or a verdict.")
    artwork, track = (data.frame.row(n, named=True) for n in (trial.artwork, trial.track))
    return Judgement(
        judge=checked_judge(judge),
        at=now(),
        artwork_key=artwork["key"],
        artwork_id=artwork["artwork_id"],
        image_sha256=artwork["image_sha256"],
        track_key=track["key"],
        track_id=track["track_id"],
        audio_sha256=track["audio_sha256"],
        control=trial.control,
        rating=rating,
        verdict=verdict,
        seconds=limited(seconds),
        heard=limited(heard) if heard >= 0 else UNKNOWN_HEARD,
        view=list(view),
        index_sha256=data.index_sha256,
    )


def now() -> str:
    """The current time, UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def limited(seconds: float) -> float:
    """A time in 0 to one day."""
    return min(max(seconds, 0.0), 86_400.0)


def checked_judge(judge: str) -> str:
    """Return a judge's name in normal form: without capitals, single spaces.

    Raises:
        BadUsage: It has no letter or digit, more than 64 characters, or one that no name has.
    """
    name = " ".join(normal_name(judge).split())
    plain = all(unicodedata.category(one)[0] in "LMN" or one in " -.'’_,&()@+" for one in name)
    if not plain or not 0 < len(name) <= _LONGEST_NAME or not any(map(str.isalnum, name)):
        raise BadUsage(
            f"A judge's name is up to {_LONGEST_NAME} letters, digits and spaces, in any script."
        )
    return name


def keep(folder: Path, judgement: Judgement) -> Path:
    """Write one judgement as a new file of a folder; existing files never change."""
    return write_record(folder, "judgement", judgement.judge, asdict(judgement))


def write_record(folder: Path, schema: str, judge: str, record: dict[str, Any]) -> Path:
    """Write one record of a judge as a new file, named after the judge and its number."""
    slug = re.sub(r"[^a-z0-9]+", "-", judge).strip("-")[:32]
    if slug != judge:
        slug = f"{slug}-{digest(judge)[:6]}".strip("-")
    number = six_digits(sum(1 for _ in folder.glob(f"{slug}.*.parquet")))
    path = folder / f"{slug}.{number}.{digest(record)[:8]}.parquet"
    write_parquet(path, schema, [record])
    return path


def read_judgements(folder: Path) -> pl.DataFrame:
    """Read all judgements of a folder.

    Returns:
        Rows with the columns of schemas/judgement.json, oldest first. If a judge judged a trial
        twice, both are there.

    Raises:
        BadData: A file is damaged.
    """
    return read_records(folder, "judgement").sort("at", "judge", "artwork_key", "track_key")


def read_records(folder: Path, schema: str) -> pl.DataFrame:
    """Read all records of one schema in a folder; those made before `heard` was have it unknown.

    Raises:
        BadData: A file is damaged.
    """
    tables = [_read(path, schema) for path in sorted(folder.glob("*.parquet"))]
    return pl.DataFrame(pa.concat_tables([arrow_schema(schema).empty_table(), *tables]))


def _read(path: Path, schema: str) -> pa.Table:
    try:
        table = with_text_keys(read_table(path))
    except (OSError, ValueError) as error:
        raise BadData(f"{path} is not a readable parquet file: {error}.") from error
    names = arrow_schema(schema).names
    if "heard" in names and "heard" not in table.column_names:
        unknown = pa.array([UNKNOWN_HEARD] * len(table), pa.float32())
        field = arrow_schema(schema).field("heard")
        table = table.add_column(min(names.index("heard"), table.num_columns), field, unknown)
    try:
        check_table(schema, table)
    except BadData as error:
        raise BadData(f"{path}: {error}") from error
    return table.cast(arrow_schema(schema))


def judged(judgements: pl.DataFrame, judge: str, index_sha256: str) -> set[tuple[str, str]]:
    """Return (artwork key, track key) of all trials that a judge has judged in one release."""
    own = judgements.filter(judge=judge, index_sha256=index_sha256)
    return set(own.select("artwork_key", "track_key").iter_rows())


def latest(judgements: pl.DataFrame) -> pl.DataFrame:
    """Return each judge's last judgement of each trial, without skipped ones."""
    last = judgements.unique(
        ["judge", "artwork_key", "track_key", "index_sha256"], keep="last", maintain_order=True
    )
    return last.filter(pl.col("verdict") != "skip")


def codes(column: pl.Series) -> npt.NDArray[np.int64]:
    """A number for each value of a column, int64 [n]; equal values have equal numbers."""
    return column.rank("dense").fill_null(0).to_numpy().astype(np.int64)


def seeded(*words: str) -> np.random.Generator:
    seed = hashlib.sha256("\0".join(words).encode()).digest()
    return np.random.default_rng(int.from_bytes(seed[:8], "big"))


# Agreement of judges, ratings of pairs compared with controls, and unfit pairs.

Level = Literal["nominal", "ordinal", "interval"]
_TRIAL = ["index_sha256", "artwork_key", "track_key"]
_DRAWS = 2000


def krippendorff_alpha(units: Sequence[Sequence[float]], level: Level) -> float | None:
    """Compute Krippendorff's alpha.

    alpha = 1 − (n − 1) Σ o_ck δ²_ck / Σ n_c n_k δ²_ck over the coincidences o and their margins n:
    K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), sections C–E.

    Args:
        units: The values that judges gave to each unit; units with fewer than two are ignored.
        level: Level of measurement of the values.

    Returns:
        1 for perfect agreement, 0 for that of chance, at most 1; None when no unit has two values,
        or all values are equal.
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
    # Ordinal: the number of values between the two, their own counted half.
    middles = np.cumsum(margins) - margins / 2
    return np.square(middles[:, None] - middles[None, :])


def summarise_judgements(judgements: pl.DataFrame) -> dict[str, Any]:
    """Summarise judgements.

    Args:
        judgements: Rows of `read_judgements`.

    Returns:
        JSON values, None where undefined: counts of judgements, skipped ones, trials and trials of
        several judges; `judges`: judgements and mean ratings of each; `alpha`: agreement of ratings
        and verdicts; `rating` and `accepted`: means of pairs and of controls. `difference` is the
        mean rating of pairs minus that of controls, with its 95 % interval over 2,000 bootstrap
        samples that draw judges, artworks and tracks; `planned`: the trials needed to see a
        difference of DIFFERENCE.
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
        "planned": planned_trials(_deviation(rated)),
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
    """Mean rating of pairs minus that of controls, with its bootstrap interval.

    Judges, artworks and tracks are each drawn with replacement, and a rating counts by the product
    (Owen, Ann. Appl. Stat. 1, 2007): another judge and other works would have given others.
    """
    ratings, control = rated["rating"].to_numpy().astype(float), rated["control"].to_numpy()
    if control.all() or not control.any():
        return None
    numbers = [codes(rated[name]) - 1 for name in ("judge", "artwork_id", "track_id")]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(_DRAWS):
        weights = np.ones(len(ratings))
        for number in numbers:
            count = int(number.max()) + 1
            weights *= rng.multinomial(count, np.full(count, 1.0 / count))[number]
        if weights[control].sum() and weights[~control].sum():
            sides = (np.average(ratings[one], weights=weights[one]) for one in (~control, control))
            drawn.append(next(sides) - next(sides))
    low, high = np.quantile(drawn, (0.025, 0.975)) if drawn else (np.nan, np.nan)
    mean = ratings[~control].mean() - ratings[control].mean()
    return {"mean": float(mean), "low": float(low), "high": float(high)}


DIFFERENCE = 0.3  # of mean ratings, on a scale of 1 to 5
_USUAL_DEVIATION = 1.2  # of ratings, until ENOUGH are there to measure it
_ENOUGH = 30


def _deviation(rated: pl.DataFrame) -> float:
    """The standard deviation of ratings within pairs and within controls."""
    if rated.height < _ENOUGH:
        return _USUAL_DEVIATION
    ratings, control = rated["rating"].to_numpy().astype(float), rated["control"].to_numpy()
    parts = [ratings[side] - ratings[side].mean() for side in (control, ~control) if side.any()]
    return float(np.concatenate(parts).std()) or _USUAL_DEVIATION


def planned_trials(
    deviation: float, difference: float = DIFFERENCE, controls: float = CONTROLS / BLOCK
) -> int:
    """How many trials show a difference of mean ratings of pairs and controls.

    Of two samples of independent ratings, at a level of 5 %, two-sided, with a power of 80 %.

    Args:
        deviation: The standard deviation of ratings.
        difference: To be seen.
        controls: The share of controls among the trials.
    """
    quantiles = 1.959964 + 0.841621  # of the normal distribution, at 97.5 % and 80 %
    needed = (quantiles * deviation / difference) ** 2 / (controls * (1 - controls))
    return int(np.ceil(needed))


def _mean(values: pl.Series) -> float | None:
    return float(values.cast(pl.Float64).mean() or 0.0) if values.len() else None  # type: ignore[arg-type]


def heard_enough(judgements: pl.DataFrame, seconds: float) -> pl.DataFrame:
    """The judgements of clips of which at least so many seconds were played, and skipped trials.

    Those of which it is unknown are left out unless `seconds` is 0.
    """
    if not seconds:
        return judgements
    return judgements.filter((pl.col("heard") >= seconds) | (pl.col("verdict") == "skip"))


def unfit(
    judgements: pl.DataFrame, *, drop_rejected: bool = False, min_rating: float = 0.0
) -> list[dict[str, Any]]:
    """Return the pairs to exclude; controls are never among them.

    Args:
        judgements: Rows of `read_judgements`.
        drop_rejected: Exclude pairs that more judges rejected than accepted.
        min_rating: Exclude pairs whose mean rating is below this.

    Returns:
        Rows of schemas/exclusion.json, by key.
    """
    pairs = latest(judgements).filter(~pl.col("control"))
    rating = pl.col("rating").filter(pl.col("rating") > 0)
    found = pairs.group_by(pl.col("artwork_key").alias("key"), "track_id", "artwork_id").agg(
        rating.mean().fill_null(-1.0).alias("rating"),
        rating.len().alias("ratings"),
        (pl.col("verdict") == "accept").sum().alias("accepted"),
        (pl.col("verdict") == "reject").sum().alias("rejected"),
    )
    low = (pl.col("ratings") > 0) & (pl.col("rating") < min_rating)
    rejected = pl.lit(drop_rejected) & (pl.col("rejected") > pl.col("accepted"))
    return found.filter(low | rejected).sort("key", "artwork_id").to_dicts()


def judgements_at(place: Path) -> pl.DataFrame:
    """Read the judgements of a release.

    Args:
        place: The folder of its shards, or the folder `judgements` beside it.

    Raises:
        BadUsage: There are no judgements.
        BadData: A file is damaged.
    """
    return read_judgements(folder_of(place))


def folder_of(place: Path) -> Path:
    """The folder of the judgements of a release: `judgements` beside its shards.

    Args:
        place: The folder of the shards, of their build, or of the judgements.

    Raises:
        BadUsage: There are no judgements.
    """
    of_build = (place / "shards" / "index.json").is_file()
    home = place.absolute() if of_build else place.absolute().parent
    folder = place if place.name == "judgements" else home / "judgements"
    if not any(folder.glob("**/*.parquet")):
        raise BadUsage(f"There are no judgements in {folder}: `artsound browse` records them.")
    return folder


def publish(
    judgements: pl.DataFrame,
    shards: Path,
    index_sha256: str,
    preferences: pl.DataFrame | None = None,
) -> list[Path]:
    """Write what judges said of a release beside its index, judges by number only.

    Args:
        judgements: Rows of `read_judgements`; written as JUDGED.
        shards: The folder of the release.
        index_sha256: Of the release's index.
        preferences: Rows of `read_preferences`; written as PREFERRED.

    Returns:
        The files that were written.

    Raises:
        BadData: Nothing that was said is of this release.
    """
    said = {JUDGED: ("judgement", judgements.filter(index_sha256=index_sha256))}
    if preferences is not None:
        said[PREFERRED] = "preference", preferences.filter(index_sha256=index_sha256)
    judges = {name for _, own in said.values() for name in own["judge"]}
    if not judges:
        count = judgements.height + (0 if preferences is None else preferences.height)
        raise BadData(
            f"None of the {count:,} judgements is of the release in {shards}: give the shards that "
            "were judged."
        )
    names = sorted(judges, key=lambda name: digest([index_sha256, name]))
    numbers = {name: f"judge {n + 1}" for n, name in enumerate(names)}
    written = []
    for name, (schema, own) in said.items():
        if not own.is_empty():
            anonymous = own.with_columns(pl.col("judge").replace_strict(numbers))
            write_parquet(shards / name, schema, anonymous.sort("judge", "at").to_dicts())
            written.append(shards / name)
    return written


def published(shards: Path) -> pl.DataFrame | None:
    """The judgements that a release has, None without.

    Raises:
        BadData: The file is damaged.
    """
    path = shards / JUDGED
    return pl.DataFrame(read_parquet(path, "judgement")) if path.is_file() else None


def published_preferences(shards: Path) -> pl.DataFrame | None:
    """The preferences that a release has, None without.

    Raises:
        BadData: The file is damaged.
    """
    path = shards / PREFERRED
    return pl.DataFrame(read_parquet(path, "preference")) if path.is_file() else None


def write_exclusions(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a list of excluded pairs, for a recipe (`pair.exclude`) and `subset --exclude`.

    Raises:
        BadUsage: The path does not end in .parquet.
    """
    if path.suffix != ".parquet":
        raise BadUsage(f"{path}: the list of pairs to leave out is a .parquet file.")
    write_parquet(path, "exclusion", rows)


def print_judgement_summary(summary: dict[str, Any]) -> None:
    """Print the values of `summarise_judgements` as tables."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
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
    for judge, means in summary["judges"].items():
        table.add_row(f"rating by {judge}", _shown(means["pairs"]), _shown(means["controls"]))
    console.print(table)
    if rating["difference"]:
        gain = rating["difference"]
        console.print(
            f"mean rating of pairs minus controls: {gain['mean']:+.2f} "
            f"(95 % interval {gain['low']:+.2f} to {gain['high']:+.2f}, over judges and works)"
        )
    console.print(
        f"{counted(summary['planned'], 'trial')} show a difference of {DIFFERENCE} (power 80 %)"
        + (": there are fewer" if summary["trials"] < summary["planned"] else "")
    )
    alpha = summary["alpha"]
    console.print(
        f"Krippendorff's alpha: ratings {_shown(alpha['rating_ordinal'])} ordinal, "
        f"{_shown(alpha['rating_interval'])} interval; verdicts "
        f"{_shown(alpha['verdict_nominal'])} nominal"
    )


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
