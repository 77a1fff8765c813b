from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import artsound
from artsound.cli import app
from artsound.errors import BadData, BadUsage
from artsound.reports import judging
from artsound.reports.judging import krippendorff_alpha, summarise_judgements, unfit
from artsound.reports.preferences import ComparisonList, keep_preference, preference_of
from artsound.shards.dataset import Dataset, open_shards
from artsound.sources.item_names import read_lines

# K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C and D: four
# observers, twelve units, some values missing; nominal 0.743, ordinal 0.815, interval 0.849.
_ = None
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]
UNITS = [[v for v in unit if v is not None] for unit in zip(*OBSERVERS, strict=True)]
# Section A: two observers, ten units, two values; 0.095.
BINARY = list(zip([0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0], strict=True))


@pytest.mark.parametrize(
    ("units", "level", "alpha"),
    [
        (UNITS, "nominal", 0.743),
        (UNITS, "ordinal", 0.815),
        (UNITS, "interval", 0.849),
        (BINARY, "nominal", 0.095),
    ],
)
def test_alpha_is_that_of_the_published_examples(
    units: list[list[int]], level: str, alpha: float
) -> None:
    assert krippendorff_alpha(units, level) == pytest.approx(alpha, abs=5e-4)  # type: ignore[arg-type]


def test_alpha_is_undefined_where_judges_share_nothing_or_never_differ() -> None:
    assert krippendorff_alpha([[1], [2], [5]], "ordinal") is None
    assert krippendorff_alpha([[3, 3], [3, 3]], "interval") is None


@given(st.lists(st.lists(st.integers(1, 5), min_size=2, max_size=4), min_size=2, max_size=30))
def test_alpha_is_at_most_one_and_blind_to_the_order(units: list[list[int]]) -> None:
    for level in ("nominal", "ordinal", "interval"):
        alpha = krippendorff_alpha(units, level)  # type: ignore[arg-type]
        again = krippendorff_alpha([unit[::-1] for unit in units[::-1]], level)  # type: ignore[arg-type]
        assert alpha == again or alpha == pytest.approx(again)
        assert alpha is None or alpha <= 1 + 1e-12


@pytest.fixture(scope="module")
def data(site_shards: Path) -> Dataset:
    return artsound.open(site_shards)


def test_every_pair_is_shown_once_with_as_many_controls_from_its_own_split(
    data: Dataset,
) -> None:
    shown = [trial for block in judging.trials(data) for trial in block]
    real = [trial.artwork for trial in shown if not trial.control]
    controls = [trial for trial in shown if trial.control]
    assert sorted(real) == list(range(50))
    assert len(controls) == judging.CONTROLS * 5 == 50
    splits = data.frame["split"]
    assert all(splits[t.artwork] == splits[t.track] for t in controls)
    assert shown == [trial for block in judging.trials(data) for trial in block]


def test_judges_see_the_same_trials_block_by_block_each_in_their_own_order(data: Dataset) -> None:
    def first(judge: str, count: int) -> list[tuple[str, str]]:
        done: list[tuple[str, str]] = []
        keys = data.frame["key"]
        while len(done) < count:
            trial = judging.next_trial(data, judge, done)
            assert trial is not None
            done.append((keys[trial.artwork], keys[trial.track]))
        return done

    ada, bob = first("ada", judging.BLOCK), first("bob", judging.BLOCK)
    assert set(ada) == set(bob)
    assert ada != bob
    everything = {
        (data.frame["key"][t.artwork], data.frame["key"][t.track])
        for block in judging.trials(data)
        for t in block
    }
    assert judging.next_trial(data, "ada", everything) is None


def _judged(folder: Path, data: Dataset) -> pl.DataFrame:
    """Two judges who like pairs whose position is even, and dislike controls."""
    for judge, severity in (("ada", 0), ("bob", 1)):
        for block in list(judging.trials(data))[:2]:
            for trial in block:
                good = not trial.control and trial.artwork % 2 == 0
                rating = max(1, (5 if good else 2) - severity)
                judgement = judging.judgement_of(
                    data, trial, judge, rating=rating,
                    verdict="accept" if good else "reject", seconds=3.0,
                )  # fmt: skip
                judging.keep(folder / "judgements", judgement)
    return judging.read_judgements(folder / "judgements")


def test_the_summary_shows_agreement_and_how_pairs_fare_against_controls(
    data: Dataset, tmp_path: Path
) -> None:
    said = summarise_judgements(_judged(tmp_path, data))
    assert said["judgements"] == 80
    assert set(said["judges"]) == {"ada", "bob"}
    assert said["trials_of_several_judges"] == said["trials"] == 40
    assert said["alpha"]["verdict_nominal"] == 1.0
    assert 0.0 < said["alpha"]["rating_ordinal"] < 1.0
    assert said["rating"]["controls"] == 1.5
    gain = said["rating"]["difference"]
    assert 0 < gain["low"] < gain["mean"] < gain["high"]
    assert said["accepted"]["controls"] == 0.0


def test_a_difference_of_ratings_needs_fewest_trials_with_as_many_controls() -> None:
    assert judging.planned_trials(1.2) == 503
    assert judging.planned_trials(1.2, controls=0.2) == 785
    assert judging.planned_trials(2.4) == pytest.approx(4 * 503, abs=3)


def test_the_interval_of_a_difference_is_over_judges_and_works(
    data: Dataset, tmp_path: Path
) -> None:
    judgements = _judged(tmp_path, data)
    lone = judgements.filter(judge="ada")
    copies = pl.concat([lone.with_columns(judge=pl.lit(f"judge {n}")) for n in range(20)])
    one, many = (summarise_judgements(rows)["rating"]["difference"] for rows in (lone, copies))
    # Twenty judges of the same works leave the works as uncertain as before.
    assert many["high"] - many["low"] > 0.8 * (one["high"] - one["low"])


def test_judgements_are_published_without_names_and_the_card_says_what_they_show(
    data: Dataset, site_shards: Path, tmp_path: Path
) -> None:
    judgements = _judged(tmp_path, data)
    release = tmp_path / "shards"
    shutil.copytree(site_shards, release)
    result = CliRunner().invoke(app, ["judgements", str(release), "--publish"])
    assert result.exit_code == 0, result.output
    found = judging.published(release)
    assert found is not None
    assert set(found["judge"]) == {"judge 1", "judge 2"}
    ours, theirs = (summarise_judgements(rows)["rating"] for rows in (judgements, found))
    assert (ours["pairs"], ours["controls"]) == (theirs["pairs"], theirs["controls"])
    card = (release / "README.md").read_text(encoding="utf-8")
    said = card.split("## What people said")[1].split("## What it is for")[0]
    assert "80 judgements by 2 judges" in said
    assert "**Too few to tell**" in said
    assert "ada" not in said
    with pytest.raises(BadData, match="None of the 80 judgements is of the release"):
        judging.publish(judgements, release, "0" * 64)


def test_what_judges_said_follows_the_pairs_into_subsets_and_later_releases(
    data: Dataset, site_shards: Path, tmp_path: Path
) -> None:
    _judged(tmp_path, data)
    comparisons, done = ComparisonList(data), list[str]()
    while len(done) < 8:
        one = comparisons.next("ada", done)
        assert one is not None
        done.append(comparisons.keys[one.artwork])
        said = preference_of(comparisons, one, "ada", own_first=True, choice="own", seconds=9.0)
        keep_preference(tmp_path / "judgements", said)
    release, small, less = (tmp_path / name for name in ("shards", "small", "less"))
    shutil.copytree(site_shards, release)
    result = CliRunner().invoke(app, ["judgements", str(release), "--publish"])
    assert result.exit_code == 0, result.output
    chosen = judging.published_preferences(release)
    assert chosen is not None
    assert chosen.height == 8
    card = (release / "README.md").read_text(encoding="utf-8")
    assert "| control | 8 | 0 | 0 | 1.00 of 8 |" in card

    judged = judging.published(release)
    assert judged is not None
    gone = [chosen["other_track_id"][0], judged["track_id"][0]]
    ids = tmp_path / "gone.txt"
    ids.write_text("".join(f"track: {one}\n" for one in gone))
    for command in (
        ["withdraw", str(release), str(ids), "--out", str(less)],
        ["subset", str(release), "--exclude", str(ids), "--out", str(small)],
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    for place in (small, less):
        left = judging.published_preferences(place)
        judged = judging.published(place)
        assert left is not None
        assert judged is not None
        there = set(open_shards(place).frame["track_id"])
        assert not there & set(gone)
        named = chosen.select("own_track_id", "other_track_id").rows()
        rows = [n for n, tracks in enumerate(named) if set(tracks) <= there]
        assert left["artwork_key"].to_list() == chosen[rows]["artwork_key"].to_list()
        assert 0 < left.height < 8
        assert set(judged["track_id"]) <= there
        assert 0 < judged.height < 80


def test_unfit_pairs_are_those_rejected_or_rated_low_and_never_controls(
    data: Dataset, tmp_path: Path
) -> None:
    judgements = _judged(tmp_path, data)
    shown = [t for block in list(judging.trials(data))[:2] for t in block if not t.control]
    odd = {data.frame["key"][t.artwork] for t in shown if t.artwork % 2}
    assert {row["key"] for row in unfit(judgements, drop_rejected=True)} == odd
    assert {row["key"] for row in unfit(judgements, min_rating=2.0)} == odd
    assert unfit(judgements) == unfit(judgements, min_rating=1.0) == []


def test_a_judges_last_word_counts_and_skipped_trials_do_not(data: Dataset, tmp_path: Path) -> None:
    trial = judging.Trial(3, 3)
    for number, (rating, verdict) in enumerate([(5, ""), (1, ""), (-1, "skip")]):
        judge = "ada" if number < 2 else "bob"
        said = judging.judgement_of(data, trial, judge, rating=rating, verdict=verdict, seconds=1)
        judging.keep(tmp_path, said)
    reported = summarise_judgements(judging.read_judgements(tmp_path))
    assert reported["rating"]["pairs"] == 1.0
    assert reported["skipped"] == 1


def test_the_command_prints_the_summary_and_writes_a_list_that_subset_takes(
    data: Dataset, site_shards: Path, tmp_path: Path
) -> None:
    _judged(tmp_path, data)
    out = tmp_path / "unfit.parquet"
    command = ["judgements", str(tmp_path / "judgements"), "--drop-rejected", "--out", str(out)]
    reported = CliRunner().invoke(app, command)
    assert reported.exit_code == 0, reported.output
    assert "Krippendorff's alpha" in reported.output
    assert set(read_lines(out)) < set(data.frame["key"])
    with pytest.raises(BadUsage, match="There are no judgements"):
        CliRunner().invoke(app, ["judgements", str(site_shards)], catch_exceptions=False)
