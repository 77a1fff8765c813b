"""Blind comparisons: which of two clips fits an artwork better, and the sign test of the answers.

One clip is the artwork's own; the other is of another pair of the split, chosen at random, or the
best runner-up of the matching, or the artwork's partner in another release. Which one is A is
random. A forced choice between two needs fewer answers than ratings, and judges need not agree on
a scale.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from artsound.errors import BadUsage
from artsound.reports.judging import (
    BLOCK,
    UNKNOWN_HEARD,
    checked_judge,
    codes,
    limited,
    now,
    read_records,
    seeded,
    write_record,
)
from artsound.shards.dataset import Dataset
from artsound.storage import read_parquet

CHOICES = ("own", "other", "none", "skip")
FOLDER = "preferences"  # below that of the judgements


@dataclass(frozen=True)
class Comparison:
    """An artwork with two clips: its own, and another.

    Attributes:
        artwork: Position of the pair in the dataset.
        other: Position of the pair that has the other clip: in the other release if `against` is
            release, else in the same dataset.
        against: control, runner-up or release.
    """

    artwork: int
    other: int
    against: str


@dataclass(frozen=True, slots=True)
class Preference:
    """Which clip one judge preferred (schemas/preference.json)."""

    judge: str
    at: str
    artwork_key: str
    artwork_id: str
    image_sha256: str
    own_track_id: str
    own_audio_sha256: str
    against: str
    other_key: str
    other_track_id: str
    other_audio_sha256: str
    own_first: bool
    choice: str
    seconds: float
    heard_own: float
    heard_other: float
    view: list[str]
    index_sha256: str


class ComparisonList:
    """The comparisons of a dataset, one for each pair that has another clip to compare with.

    All judges get the same ones in blocks of twenty, each judge in an order of their own.

    Args:
        data: The pairs.
        runners_up: For artwork_id its best other tracks, as track_ids.
        release: Another release.
    """

    def __init__(
        self,
        data: Dataset,
        runners_up: dict[str, list[str]] | None = None,
        release: Dataset | None = None,
    ) -> None:
        self.data, self.release = data, release
        frame = data.frame
        self._ids: list[str] = frame["artwork_id"].to_list()
        self._clusters, splits = codes(frame["track_cluster"]), codes(frame["split"])
        self._splits = splits
        self._members = {one: np.flatnonzero(splits == one) for one in set(splits.tolist())}
        self._sounds: list[str] = frame["audio_sha256"].to_list()
        self._runners_up = runners_up or {}
        self._tracks = {name: n for n, name in enumerate(frame["track_id"].to_list())}
        self._elsewhere: dict[str, tuple[int, str]] = {}
        if release is not None:
            columns = release.frame.select("artwork_id", "audio_sha256").iter_rows()
            self._elsewhere = {name: (n, sha256) for n, (name, sha256) in enumerate(columns)}
        self.keys: list[str] = frame["key"].to_list()
        self._source = self._comparisons()
        self._made: list[Comparison] = []

    def _comparisons(self) -> Iterator[Comparison]:
        rng = seeded(self.data.index_sha256, *self.keys[:1], str(len(self.keys)), FOLDER)
        for at in rng.permutation(len(self.keys)).tolist():
            found = [one for one in (self._runner_up(at), self._of_release(at)) if one]
            kinds = len(found) + 1
            if rng.integers(kinds) == kinds - 1 or not found:
                control = self._control(at, rng)
                if control:
                    yield control
                    continue
            if found:
                yield found[int(rng.integers(len(found)))]

    def _control(self, at: int, rng: np.random.Generator) -> Comparison | None:
        others = self._members[int(self._splits[at])]
        others = others[self._clusters[others] != self._clusters[at]]
        return Comparison(at, int(rng.choice(others)), "control") if others.size else None

    def _runner_up(self, at: int) -> Comparison | None:
        for track in self._runners_up.get(self._ids[at], ()):
            other = self._tracks.get(track)
            if other is not None and self._clusters[other] != self._clusters[at]:
                return Comparison(at, other, "runner-up")
        return None

    def _of_release(self, at: int) -> Comparison | None:
        other, sha256 = self._elsewhere.get(self._ids[at], (0, self._sounds[at]))
        return Comparison(at, other, "release") if sha256 != self._sounds[at] else None

    def total(self) -> int:
        """At most this many comparisons."""
        return len(self.keys)

    def own_first(self, judge: str, comparison: Comparison) -> bool:
        """Whether the artwork's own clip is A for a judge."""
        key = self.keys[comparison.artwork]
        return bool(seeded(self.data.index_sha256, judge, key, FOLDER).integers(2))

    def next(
        self, judge: str, done: Collection[str], skipped: Sequence[str] = ()
    ) -> Comparison | None:
        """The first comparison that a judge has not made; skipped ones return at the end.

        Args:
            judge: Name of the judge.
            done: Keys of the artworks' pairs that the judge has compared.
            skipped: Keys of those that return when no other is left, in this order.
        """
        apart = set(skipped)
        returning: dict[str, Comparison] = {}
        number = 0
        while block := self._block(number):
            order = seeded(self.data.index_sha256, judge, FOLDER, str(number)).permutation(
                len(block)
            )
            for n in order:
                key = self.keys[block[int(n)].artwork]
                if key in done:
                    continue
                if key not in apart:
                    return block[int(n)]
                returning[key] = block[int(n)]
            number += 1
        return next((returning[key] for key in skipped if key in returning), None)

    def _block(self, number: int) -> list[Comparison]:
        stop = (number + 1) * BLOCK
        while len(self._made) < stop:
            comparison = next(self._source, None)
            if comparison is None:
                break
            self._made.append(comparison)
        return self._made[number * BLOCK : stop]


def runners_up_beside(shards: str) -> dict[str, list[str]]:
    """The best other tracks of each artwork, of the build whose shards these are; {} without."""
    pairs = Path(shards).parent / "pairs" / "pairs.parquet"
    others = pairs.with_name("runners_up.parquet")
    if "://" in shards or not pairs.is_file() or not others.is_file():
        return {}
    made = pl.DataFrame(read_parquet(pairs, "pair", ["track_id", "artwork_id"]))
    listed = pl.DataFrame(read_parquet(others, "runner_up"))
    tracks = listed.filter(side="track").join(made, on="track_id").sort("artwork_id", "place")
    grouped = tracks.group_by("artwork_id", maintain_order=True).agg("item_id")
    return dict(grouped.iter_rows())


def preference_of(
    comparisons: ComparisonList,
    comparison: Comparison,
    judge: str,
    *,
    own_first: bool,
    choice: str,
    seconds: float,
    heard: tuple[float, float] = (UNKNOWN_HEARD, UNKNOWN_HEARD),
    view: Sequence[str] = (),
) -> Preference:
    """Return the record of a judge's choice, with the current time.

    Args:
        comparisons: What was compared.
        comparison: The one that was judged.
        judge: Name of the judge.
        own_first: Whether the artwork's own clip was A.
        choice: own, other, none (no preference) or skip.
        seconds: Time that the judge took.
        heard: Seconds of the own and of the other clip that were played; −1: unknown.
        view: Conditions of the view.

    Raises:
        BadUsage: There is no such choice.
    """
    if choice not in CHOICES:
        raise BadUsage(f"A choice is {', '.join(CHOICES)}, not {choice!r}.")
    elsewhere = comparisons.release if comparison.against == "release" else comparisons.data
    assert elsewhere is not None
    own = comparisons.data.frame.row(comparison.artwork, named=True)
    other = elsewhere.frame.row(comparison.other, named=True)
    return Preference(
        judge=checked_judge(judge),
        at=now(),
        artwork_key=own["key"],
        artwork_id=own["artwork_id"],
        image_sha256=own["image_sha256"],
        own_track_id=own["track_id"],
        own_audio_sha256=own["audio_sha256"],
        against=comparison.against,
        other_key=other["key"],
        other_track_id=other["track_id"],
        other_audio_sha256=other["audio_sha256"],
        own_first=own_first,
        choice=choice,
        seconds=limited(seconds),
        heard_own=max(heard[0], UNKNOWN_HEARD),
        heard_other=max(heard[1], UNKNOWN_HEARD),
        view=list(view),
        index_sha256=comparisons.data.index_sha256,
    )


def keep_preference(folder: Path, preference: Preference) -> Path:
    """Write one preference below the folder of judgements; existing files never change."""
    return write_record(folder / FOLDER, "preference", preference.judge, asdict(preference))


def read_preferences(folder: Path) -> pl.DataFrame:
    """Read the preferences below a folder of judgements, oldest first.

    Raises:
        BadData: A file is damaged.
    """
    return read_records(folder / FOLDER, "preference").sort("at", "judge", "artwork_key")


def summarise_preferences(preferences: pl.DataFrame, min_heard: float = 0.0) -> dict[str, Any]:
    """Count choices by what the other clip was, with the sign test.

    Args:
        preferences: Rows of `read_preferences`.
        min_heard: Only answers for which both clips were played so many seconds.

    Returns:
        For control, runner-up and release, where there are answers: `choices`, with the counts
        `own`, `other` and `none`; `trials`: artworks on which a majority of the judges has a
        preference, of which `won` prefer the own clip; `share` of these and its 95 % `interval`
        (exact, Clopper and Pearson); `p`, the two-sided probability of a result at least as far
        from one half if judges chose at random (sign test). A judge's last answer counts. The last
        three are None without such trials.
    """
    from scipy.stats import binomtest

    last = preferences.unique(
        ["judge", "artwork_key", "against", "other_track_id", "index_sha256"],
        keep="last", maintain_order=True,
    ).filter(pl.col("choice") != "skip")  # fmt: skip
    if min_heard:
        last = last.filter(pl.min_horizontal("heard_own", "heard_other") >= min_heard)
    found: dict[str, Any] = {}
    for kind in ("control", "runner-up", "release"):
        said = last.filter(against=kind)
        if said.is_empty():
            continue
        sign = (pl.col("choice") == "own").cast(pl.Int64) - (pl.col("choice") == "other")
        trial = ["index_sha256", "artwork_key", "other_track_id"]
        signs = said.group_by(trial).agg(sign.sum().alias("sign"))["sign"]
        won, trials = int((signs > 0).sum()), int((signs != 0).sum())
        share = interval = p = None
        if trials:
            test = binomtest(won, trials)
            share, p = won / trials, float(test.pvalue)
            interval = [*map(float, test.proportion_ci(method="exact"))]
        found[kind] = {
            "choices": {one: int((said["choice"] == one).sum()) for one in CHOICES[:3]},
            "trials": trials, "won": won, "share": share, "interval": interval, "p": p,
        }  # fmt: skip
    return found


_AGAINST = {
    "control": "a random track",
    "runner-up": "the runner-up",
    "release": "the other release",
}


def print_preference_summary(found: dict[str, Any]) -> None:
    """Print the values of `summarise_preferences` as a table; nothing without answers."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    if not found:
        return
    names = ("own track against", "own", "other", "no pref.", "share", "95 % interval", "p")
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for n, name in enumerate(names):
        table.add_column(name, justify="right" if n else "left")
    for kind, values in found.items():
        counts = [f"{values['choices'][one]:,}" for one in CHOICES[:3]]
        measured = ["–", "–", "–"]
        if values["trials"]:
            low, high = values["interval"]
            measured = [f"{values['share']:.0%}", f"{low:.0%} to {high:.0%}", f"{values['p']:.3g}"]
        table.add_row(_AGAINST[kind], *counts, *measured)
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(
        "share: artworks for which most judges with a preference chose its own track; p: sign test"
    )
