"""Judging pairs blind: what a judge is shown, and what was said, kept for good.

All judges of a view are shown the same trials, a block of twenty at a time, each in an order of
their own: so what they say can be compared however early they stop. A fifth of every block are
controls, which give an artwork the music of another pair; nothing that a judge sees tells which.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from artsound.errors import BadUsage
from artsound.shards.read import Dataset
from artsound.storage import digest, read_parquet, write_parquet
from artsound.tables import arrow_schema

BLOCK = 20
CONTROLS = 4  # of each block
VERDICTS = ("", "accept", "reject", "skip")
_JUDGE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


@dataclass(frozen=True)
class Trial:
    """An artwork and a clip to be judged together: positions in a dataset."""

    artwork: int
    track: int

    @property
    def control(self) -> bool:
        """Whether the two were put together by chance."""
        return self.artwork != self.track

    def moved(self, rows: npt.NDArray[np.int64]) -> Trial:
        """The trial by the positions that `rows` gives."""
        return Trial(int(rows[self.artwork]), int(rows[self.track]))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one judge said of one trial (schemas/judgement.json)."""

    judge: str
    at: str
    artwork_key: str
    artwork_id: str
    image_sha256: str
    track_key: str
    track_id: int
    audio_sha256: str
    control: bool
    rating: int
    verdict: str
    seconds: float
    view: list[str]
    index_sha256: str


def trials(data: Dataset) -> Iterator[list[Trial]]:
    """The blocks of trials for a dataset, the same whenever and for whomever they are asked.

    Every pair comes once as itself; controls join an artwork with the music of another pair of
    its split, where the split has one.
    """
    frame = data.frame
    rng = _rng(data.index_sha256, *frame["key"].head(1), str(len(data)))
    order = rng.permutation(len(data))
    splits = frame["split"].to_numpy()
    members = {split: np.flatnonzero(splits == split) for split in set(splits.tolist())}
    clusters = frame["track_cluster"].to_numpy()
    real = BLOCK - CONTROLS
    for start in range(0, len(order), real):
        block = [Trial(int(n), int(n)) for n in order[start : start + real]]
        for picture in rng.integers(len(order), size=CONTROLS).tolist():
            others = members[splits[picture]]
            others = others[clusters[others] != clusters[picture]]
            if others.size:
                block.append(Trial(picture, int(rng.choice(others))))
        yield block


def next_trial(data: Dataset, judge: str, done: Collection[tuple[str, str]]) -> Trial | None:
    """The first trial that this judge has not judged; None when all are.

    `done` holds the (artwork key, track key) of those judged.
    """
    keys = data.frame["key"].to_list()
    for number, block in enumerate(trials(data)):
        order = _rng(data.index_sha256, judge, str(number)).permutation(len(block))
        for n in order:
            trial = block[int(n)]
            if (keys[trial.artwork], keys[trial.track]) not in done:
                return trial
    return None


def judgement_of(
    data: Dataset,
    trial: Trial,
    judge: str,
    *,
    rating: int,
    verdict: str,
    seconds: float,
    view: Sequence[str] = (),
) -> Judgement:
    """What is to be kept of a judge's answer, now.

    `rating` is 1 to 5, or −1 for none; `verdict` accept, reject, skip or nothing; `seconds` the
    time the judge took; `view` the conditions of the view judged. Raises BadUsage when there is
    neither, or either is out of range.
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
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        artwork_key=artwork["key"],
        artwork_id=artwork["artwork_id"],
        image_sha256=artwork["image_sha256"],
        track_key=track["key"],
        track_id=track["track_id"],
        audio_sha256=track["audio_sha256"],
        control=trial.control,
        rating=rating,
        verdict=verdict,
        seconds=min(max(seconds, 0.0), 86_400.0),
        view=list(view),
        index_sha256=data.index_sha256,
    )


def checked_judge(judge: str) -> str:
    """The judge's name in the form in which it is kept; BadUsage when it is no such name."""
    name = judge.strip().lower()
    if not _JUDGE.fullmatch(name):
        raise BadUsage("A judge's name is up to 32 letters a–z, digits and hyphens.")
    return name


def keep(folder: Path, judgement: Judgement) -> Path:
    """Add one judgement to a folder of them; nothing that is there is ever written again."""
    number = sum(1 for _ in folder.glob(f"{judgement.judge}.*.parquet"))
    path = folder / f"{judgement.judge}.{number:06d}.{digest(asdict(judgement))[:8]}.parquet"
    write_parquet(path, "judgement", [asdict(judgement)])
    return path


def read_judgements(folder: Path) -> pl.DataFrame:
    """All judgements in a folder, oldest first; BadData when a file of them is damaged.

    Columns are those of schemas/judgement.json. Where a judge judged a trial twice, both stay.
    """
    tables = [read_parquet(path, "judgement") for path in sorted(folder.glob("*.parquet"))]
    if not tables:
        return pl.DataFrame(arrow_schema("judgement").empty_table())
    frames = [pl.DataFrame(table) for table in tables]
    return pl.concat(frames).sort("at", "judge", "artwork_key", "track_key")


def judged(judgements: pl.DataFrame, judge: str, index_sha256: str) -> set[tuple[str, str]]:
    """The (artwork key, track key) of all trials that a judge has judged in one build."""
    own = judgements.filter(judge=judge, index_sha256=index_sha256)
    return set(own.select("artwork_key", "track_key").iter_rows())


def latest(judgements: pl.DataFrame) -> pl.DataFrame:
    """Each judge's last word on each trial, skipped ones left out."""
    last = judgements.unique(
        ["judge", "artwork_key", "track_key", "index_sha256"], keep="last", maintain_order=True
    )
    return last.filter(pl.col("verdict") != "skip")


def _rng(*words: str) -> np.random.Generator:
    seed = hashlib.sha256("\0".join(words).encode()).digest()
    return np.random.default_rng(int.from_bytes(seed[:8], "big"))
