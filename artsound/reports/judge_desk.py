"""What judges have been shown and have answered, for the judging pages of `artsound browse`.

A trial that is shown has a token, which says nothing of what it is. A judge's answers are read from
the folder of judgements, so that judging continues after the site was stopped.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from artsound.errors import ArtSoundError, BadUsage
from artsound.media.tags import untagged
from artsound.reports import judging
from artsound.reports.judging import MIN_HEARD, Trial, TrialList
from artsound.reports.preferences import (
    FOLDER,
    Comparison,
    ComparisonList,
    keep_preference,
    preference_of,
    read_preferences,
    runners_up_beside,
)
from artsound.reports.views import PairTable, Query
from artsound.shards.dataset import Dataset

_OPEN_TRIALS = 10_000
_CLIPS = 8  # without tags, in memory: a browser requests a clip in several ranges
_LISTS = 4
_LONGEST_LOOK = 10**7  # seconds that a judge may take for one trial
_MOST_SKIPS = 2  # after so many a trial does not return
_CHOICES = {"a", "b", "none", "skip"}

Value = TypeVar("Value")


@dataclass
class _Shown:
    """A trial or comparison that a judge has been shown, and where its media are."""

    judge: str
    picture: int
    clips: tuple[tuple[Dataset, int], ...]
    view: tuple[str, ...]
    trial: Trial | None = None
    comparisons: ComparisonList | None = None
    comparison: Comparison | None = None
    own_first: bool = True
    answered: bool = False
    failed: str = ""


@dataclass
class _Answers:
    """A judge's answers by trial, in the order of the first answer, and the number of skips."""

    last: dict[Any, dict[str, Any]] = field(default_factory=dict)
    skips: dict[Any, int] = field(default_factory=dict)

    def add(self, name: Any, said: dict[str, Any], *, skipped: bool) -> None:
        self.last[name] = said
        if skipped:
            # The trial last skipped returns last.
            self.skips[name] = self.skips.pop(name, 0) + 1
        else:
            self.skips.pop(name, None)

    @property
    def done(self) -> set[Any]:
        return {name for name in self.last if not 0 < self.skips.get(name, 0) < _MOST_SKIPS}

    @property
    def returning(self) -> list[Any]:
        return [name for name, times in self.skips.items() if times < _MOST_SKIPS]


class JudgeDesk:
    """Trials and comparisons for judges, and the record of their answers.

    Args:
        catalogue: The pairs.
        folder: Returns the folder that contains `judgements`; raises where nothing can be saved.
        min_heard: Seconds of each clip that must be played before an answer.
        release: Another release, whose partners of the same artworks are compared with these.
    """

    def __init__(
        self,
        catalogue: PairTable,
        folder: Callable[[], Path],
        *,
        min_heard: float = MIN_HEARD,
        release: Dataset | None = None,
    ) -> None:
        self.catalogue, self._folder = catalogue, folder
        self.min_heard, self.release = min_heard, release
        self._open: OrderedDict[str, _Shown] = OrderedDict()
        self._answers: dict[tuple[str, str], _Answers] = {}
        self._lists: OrderedDict[Any, Any] = OrderedDict()
        self._clips: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def about(self, judge: str, query: Query) -> dict[str, Any]:
        """What a judge is shown first: how many trials a view has, and how many are done."""
        with self._lock:
            trials, _, _ = self._trials(query)
            done = self._judged(judge)
            return {
                "judge": judge,
                "total": trials.total(),
                "pairs": len(trials.keys),
                "done": len(done.done),
                "compared": len(self._preferred(judge).done),
                "min_heard": self.min_heard,
                "place": str(self._folder() / "judgements"),
            }

    def trial(self, judge: str, query: Query, *, back: int = 0) -> dict[str, Any]:
        """The next trial for a judge, or with `back` the one answered so many answers ago.

        Returns:
            `token`, empty when there is none; `done`, the number of trials judged; with `back`
            also `said`, the answer given.
        """
        with self._lock:
            answers = self._judged(judge)
            trials, rows, view = self._trials(query)
            found: dict[str, Any] = {"token": "", "done": len(answers.done)}
            if back:
                names = list(answers.last)[-back] if back <= len(answers.last) else None
                if names is None:
                    return found
                places = self.catalogue.places
                trial, said = Trial(places[names[0]], places[names[1]]), answers.last[names]
                found["said"] = said
            else:
                chosen = trials.next(judge, answers.done, answers.returning)
                if chosen is None:
                    return found
                trial = chosen.moved(rows)
            clips = ((self.catalogue.data, trial.track),)
            shown = _Shown(judge, trial.artwork, clips, view, trial=trial)
            return {**found, "token": self._show(shown)}

    def comparison(self, judge: str, query: Query, *, back: int = 0) -> dict[str, Any]:
        """As `trial`, for the next comparison of two clips."""
        with self._lock:
            answers = self._preferred(judge)
            comparisons, rows, view = self._comparisons(query)
            found: dict[str, Any] = {"token": "", "done": len(answers.done)}
            data = self.catalogue.data
            if back:
                key = list(answers.last)[-back] if back <= len(answers.last) else None
                if key is None:
                    return found
                found["said"] = answers.last[key]["said"]
                one: Comparison | None = answers.last[key]["comparison"]
                comparisons, _, _ = self._comparisons(Query())
                rows = np.arange(len(data))
            else:
                one = comparisons.next(judge, answers.done, answers.returning)
            if one is None:
                return found
            own_first = comparisons.own_first(judge, one)
            artwork = int(rows[one.artwork])
            own = (data, artwork)
            other = (data, int(rows[one.other]))
            if one.against == "release":
                assert self.release is not None
                other = (self.release, one.other)
            shown = _Shown(
                judge, artwork, (own, other) if own_first else (other, own), view,
                comparisons=comparisons, comparison=one, own_first=own_first,
            )  # fmt: skip
            return {**found, "token": self._show(shown)}

    def picture(self, token: str) -> int:
        """The position of a trial's artwork; KeyError for an unknown token."""
        return self._open[token].picture

    def clip(self, token: str, number: int = 0) -> bytes:
        """The sound of a trial without tags, which could name the track.

        Args:
            token: Of the trial.
            number: 0 for the only clip or A, 1 for B.

        Raises:
            KeyError: There is no such trial or clip.
            BadData: The shard cannot be read.
        """
        shown = self._open[token]
        if number >= len(shown.clips):
            raise KeyError(token)
        data, position = shown.clips[number]
        name = (data.store.location, position)
        with self._lock:
            if name in self._clips:
                return self._clips[name]
        try:
            row = data.frame.row(position, named=True)
            span = (row["mp3_offset"], row["mp3_offset"] + row["mp3_size"])
            sound = untagged(data.store.read_ranges(row["shard"], [span])[0])
        except ArtSoundError as error:
            shown.failed = str(error)
            raise
        with self._lock:
            self._clips[name] = sound
            while len(self._clips) > _CLIPS:
                self._clips.popitem(last=False)
        return sound

    def judge(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Save the answer to a trial: {"done": the number of trials judged}.

        Raises:
            BadUsage: The trial is unknown or answered, the clip was not heard long enough, or the
                answer is invalid.
        """
        judge = judging.checked_judge(str(asked.get("judge", "")))
        with self._lock:
            shown = self._unanswered(asked, judge)
            if shown.trial is None:
                raise BadUsage("This trial compares two clips: say which fits better.")
            rating, verdict = asked.get("rating", -1), str(asked.get("verdict", ""))
            seconds, heard = _seconds(asked, "seconds", 0.0), _seconds(asked, "heard", -1.0)
            if not isinstance(rating, int) or isinstance(rating, bool):
                raise BadUsage("A rating is a whole number.")
            if verdict != "skip":
                self._check_heard(shown, heard)
            judgement = judging.judgement_of(
                self.catalogue.data, shown.trial, judge, view=shown.view,
                rating=rating, verdict=verdict, seconds=seconds, heard=heard,
            )  # fmt: skip
            answers = self._judged(judge)
            judging.keep(self._folder() / "judgements", judgement)
            shown.answered = True
            names = (judgement.artwork_key, judgement.track_key)
            answers.add(names, {"rating": rating, "verdict": verdict}, skipped=verdict == "skip")
            return {"done": len(answers.done)}

    def prefer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Save the answer to a comparison: {"done": the number of comparisons made}.

        Raises:
            BadUsage: As `judge`.
        """
        judge = judging.checked_judge(str(asked.get("judge", "")))
        with self._lock:
            shown = self._unanswered(asked, judge)
            if shown.comparisons is None or shown.comparison is None:
                raise BadUsage("This trial has one clip: rate it.")
            choice = str(asked.get("choice", ""))
            if choice not in _CHOICES:
                raise BadUsage(f"A choice is a, b, none or skip, not {choice[:20]!r}.")
            heard = _seconds(asked, "heard_a", -1.0), _seconds(asked, "heard_b", -1.0)
            if choice != "skip":
                for one in heard:
                    self._check_heard(shown, one)
            if choice in ("a", "b"):
                choice = "own" if (choice == "a") == shown.own_first else "other"
            preference = preference_of(
                shown.comparisons, shown.comparison, judge,
                own_first=shown.own_first, choice=choice,
                seconds=_seconds(asked, "seconds", 0.0),
                heard=heard if shown.own_first else (heard[1], heard[0]), view=shown.view,
            )  # fmt: skip
            answers = self._preferred(judge)
            keep_preference(self._folder() / "judgements", preference)
            shown.answered = True
            self._add_preference(answers, asdict(preference))
            return {"done": len(answers.done)}

    def _unanswered(self, asked: dict[str, Any], judge: str) -> _Shown:
        shown = self._open.get(str(asked.get("token", "")))
        if shown is None or shown.answered or shown.judge != judge:
            raise BadUsage("This trial is over: reload the page for the next.")
        return shown

    def _check_heard(self, shown: _Shown, heard: float) -> None:
        if shown.failed:
            raise BadUsage(f"This trial cannot be judged, only skipped: {shown.failed}")
        # Unknown is accepted, and recorded as such: another client may not measure it.
        if 0 <= heard < self.min_heard:
            raise BadUsage(f"Listen for {self.min_heard:g} s at least: {heard:.1f} s were played.")

    def _show(self, shown: _Shown) -> str:
        token = secrets.token_urlsafe(12)
        self._open[token] = shown
        while len(self._open) > _OPEN_TRIALS:
            self._open.popitem(last=False)
        return token

    def _trials(self, query: Query) -> tuple[TrialList, Any, tuple[str, ...]]:
        return self._listed("trials", query, TrialList)

    def _comparisons(self, query: Query) -> tuple[ComparisonList, Any, tuple[str, ...]]:
        def compare(data: Dataset) -> ComparisonList:
            return ComparisonList(data, runners_up_beside(data.store.location), self.release)

        return self._listed("comparisons", query, compare)

    def _listed(
        self, kind: str, query: Query, make: Callable[[Dataset], Value]
    ) -> tuple[Value, Any, tuple[str, ...]]:
        """A list of trials of a view, the positions of its pairs, and its conditions."""
        name = (kind, query.text, tuple(sorted(query.chosen.items())), query.where)
        if name not in self._lists:
            chosen = self.catalogue.chosen(query)
            rows = np.flatnonzero(self.catalogue.rows(query))  # positions in the whole catalogue
            self._lists[name] = make(chosen), rows, chosen.asked
            while len(self._lists) > _LISTS:
                self._lists.popitem(last=False)
        self._lists.move_to_end(name)
        found: tuple[Value, Any, tuple[str, ...]] = self._lists[name]
        return found

    def prepare(self) -> None:
        """Import what the first trial and answer need, which takes longer than the trial."""
        with contextlib.suppress(ArtSoundError):  # a trial says what is wrong
            judging.read_judgements(self._folder() / "judgements")

    def _judged(self, judge: str) -> _Answers:
        """A judge's answers in this release, read once."""
        if ("trials", judge) not in self._answers:
            answers = _Answers()
            own = judging.read_judgements(self._folder() / "judgements").filter(
                judge=judge, index_sha256=self.catalogue.data.index_sha256
            )
            for row in own.iter_rows(named=True):
                said = {"rating": row["rating"], "verdict": row["verdict"]}
                names = (row["artwork_key"], row["track_key"])
                answers.add(names, said, skipped=row["verdict"] == "skip")
            self._answers["trials", judge] = answers
        return self._answers["trials", judge]

    def _preferred(self, judge: str) -> _Answers:
        """A judge's preferences in this release, read once."""
        if (FOLDER, judge) not in self._answers:
            answers = _Answers()
            own = read_preferences(self._folder() / "judgements").filter(
                judge=judge, index_sha256=self.catalogue.data.index_sha256
            )
            for row in own.iter_rows(named=True):
                self._add_preference(answers, row)
            self._answers[FOLDER, judge] = answers
        return self._answers[FOLDER, judge]

    def _add_preference(self, answers: _Answers, row: dict[str, Any]) -> None:
        """Add a row of schemas/preference.json."""
        key, other_key, choice = row["artwork_key"], row["other_key"], row["choice"]
        if row["against"] == "release":
            elsewhere = self.release.frame["key"].to_list() if self.release else []
            other = elsewhere.index(other_key) if other_key in elsewhere else None
        else:
            other = self.catalogue.places.get(other_key)
        comparison = None
        if other is not None:
            comparison = Comparison(self.catalogue.places[key], other, row["against"])
        said = choice if choice in ("none", "skip") else "ab"[(choice == "own") != row["own_first"]]
        about = {"said": {"choice": said}, "comparison": comparison}
        answers.add(key, about, skipped=choice == "skip")


def _seconds(asked: dict[str, Any], name: str, default: float) -> float:
    value = asked.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise BadUsage("A rating and the seconds taken are numbers.")
    if not -_LONGEST_LOOK <= value <= _LONGEST_LOOK:  # nor NaN
        raise BadUsage(f"The seconds taken are at most {_LONGEST_LOOK}.")
    return float(value)
