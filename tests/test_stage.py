"""The stage contract, on a small real stage: numbers in, their squares out, odd ones refused."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from disk_steps import Steps

from artsound.errors import BadData
from artsound.recipe import Recipe
from artsound.schema import Reject
from artsound.stage import (
    Context,
    LostItems,
    Outcome,
    Part,
    Report,
    Stage,
    part_path,
    run_part,
    run_stage,
    split_into_parts,
)
from artsound.storage import Workspace, read_parquet, sha256_file, store_media, write_parquet

COUNT = 40


def plan(context: Context) -> list[Part]:
    recipe = context.recipe
    return [
        Part(name, stop - start, {"start": start, "stop": stop})
        for name, start, stop in split_into_parts("numbers", COUNT, recipe.run.part_size)
    ]


def work(context: Context, part: Part) -> Outcome:
    workspace = context.workspace
    numbers = range(part.inputs["start"], part.inputs["stop"])
    path = part_path(workspace, "square", part.name)
    pairs = [
        {
            "track_id": f"{n:06d}",
            "artwork_id": str(n * n),
            "split": "train",
            "score": 0.0,
            "bridge": "affect",
            "percentile": 0.5,
            "margin": 0.0,
            "track_rank": 1,
            "artwork_rank": 1,
            "method": "given",
        }
        for n in numbers
        if n % 5
    ]
    write_parquet(path, "pair", pairs)
    kinds = {0: "failed", 1: "filtered"}
    rejects = tuple(
        Reject("square", "track", str(n), kinds[n % 2], "fifth", f"{n} is a multiple of five.")
        for n in numbers
        if not n % 5
    )
    return Outcome((path,), len(pairs), rejects, {"sum": sum(numbers)})


def finish(context: Context, results: Sequence[Report]) -> Outcome:
    import pyarrow as pa

    workspace = context.workspace
    paths = [part_path(workspace, "square", result.done.name) for result in results]
    table = pa.concat_tables([read_parquet(path, "pair") for path in paths])
    out = workspace.pairs / "pairs.parquet"
    write_parquet(out, "pair", table)
    return Outcome((out,), extra={"sum": sum(result.extra["sum"] for result in results)})


SQUARE = Stage("square", 1, ("pair",), plan, work, finish)
RECIPE = Recipe().replaced(run={"part_size": 7})


def test_items_in_are_items_out_and_rejects_and_the_report_says_so(tmp_path: Path) -> None:
    report = run_stage(SQUARE, Workspace(tmp_path), RECIPE)
    assert (report.items_in, report.items_out, report.filtered, report.failed) == (40, 32, 4, 4)
    assert report.items_in == report.items_out + report.filtered + report.failed
    rejects = read_parquet(tmp_path / "catalog" / "rejects.parquet", "reject")
    assert len(rejects) == 8
    assert report.extra == {"sum": sum(range(40))}
    assert report.files == {"pairs/pairs.parquet": sha256_file(tmp_path / "pairs/pairs.parquet")}
    assert (tmp_path / "runs" / "square.json").is_file()


def test_a_second_run_does_nothing_again(tmp_path: Path) -> None:
    first = run_stage(SQUARE, Workspace(tmp_path), RECIPE)
    again = run_stage(SQUARE, Workspace(tmp_path), RECIPE)
    assert again.parts_skipped == again.parts == first.parts == 6
    assert again.files == first.files
    assert again.extra == first.extra


@pytest.mark.parametrize("damage", ["delete", "cut", "garble", "marker", "half marker"])
def test_a_damaged_part_is_done_again_and_only_that(damage: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first = run_stage(SQUARE, workspace, RECIPE)
    path = part_path(workspace, "square", "numbers-00002")
    marker = path.with_suffix(".json")
    match damage:
        case "delete":
            path.unlink()
        case "cut":
            path.write_bytes(path.read_bytes()[:-1])
        case "garble":
            path.write_bytes(bytes(len(path.read_bytes())))
        case "marker":
            marker.unlink()
        case "half marker":
            marker.write_bytes(marker.read_bytes()[:40])
    again = run_stage(SQUARE, workspace, RECIPE)
    assert again.parts - again.parts_skipped == 1
    assert again.files == first.files


@pytest.mark.parametrize("suffix", [".json", ".rejects.parquet"])
def test_damaged_files_of_a_later_stage_stop_no_earlier_one(suffix: str, tmp_path: Path) -> None:
    workspace, later = Workspace(tmp_path), replace(SQUARE, name="square-again")
    run_stage(SQUARE, workspace, RECIPE)
    run_stage(later, workspace, RECIPE)
    path = part_path(workspace, later.name, "numbers-00002", suffix)
    whole = read_parquet(tmp_path / "catalog" / "rejects.parquet", "reject")
    path.write_bytes(b"\xc7" + path.read_bytes()[1:])
    run_stage(SQUARE, workspace, RECIPE)
    assert run_stage(later, workspace, RECIPE).parts_skipped == 5
    assert read_parquet(tmp_path / "catalog" / "rejects.parquet", "reject").equals(whole)


def test_only_the_sections_a_stage_reads_make_it_run_again(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    run_stage(SQUARE, workspace, RECIPE)
    other = run_stage(SQUARE, workspace, RECIPE.replaced(audio={"min_seconds": 3.0}))
    assert other.parts_skipped == other.parts
    mine = run_stage(SQUARE, workspace, RECIPE.replaced(pair={"csls": 3}))
    assert mine.parts_skipped == 0


def test_a_new_version_of_a_stage_does_all_its_parts_again(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    run_stage(SQUARE, workspace, RECIPE)
    newer = run_stage(replace(SQUARE, version=2), workspace, RECIPE)
    assert (newer.parts, newer.parts_skipped) == (6, 0)
    assert run_stage(replace(SQUARE, version=2), workspace, RECIPE).parts_skipped == 6


@pytest.mark.parametrize("change", [{"size": 3}, {"content": "b"}])
def test_a_part_whose_inputs_have_changed_is_done_again(
    change: dict[str, object], tmp_path: Path
) -> None:
    def planning(inputs: dict[str, object]) -> Stage:
        def planned(context: Context) -> list[Part]:
            return [replace(part, inputs={**part.inputs, **inputs}) for part in plan(context)]

        return replace(SQUARE, plan=planned)

    before = {"size": 2, "content": "a"}
    workspace = Workspace(tmp_path)
    run_stage(planning(before), workspace, RECIPE)
    assert run_stage(planning(before), workspace, RECIPE).parts_skipped == 6
    assert run_stage(planning({**before, **change}), workspace, RECIPE).parts_skipped == 0


def test_all_that_a_part_wrote_is_on_disk_before_its_marker_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def storing(context: Context, part: Part) -> Outcome:
        workspace = context.workspace
        store_media(workspace, "tracks", part.name.encode(), ".mp3")
        return work(context, part)

    steps = Steps(tmp_path, monkeypatch)
    run_stage(replace(SQUARE, work=storing), Workspace(tmp_path), RECIPE)
    for number in range(6):
        marker = f"parts/square/numbers-{number:05d}.json"
        at = steps.taken.index(f"rename to {marker}")
        before = steps.taken[:at]
        assert before[-1].startswith("flush ")  # the marker's own bytes
        assert before[-2] == "flush file system"
        assert any(step.startswith("rename to media/tracks/") for step in before)
        assert f"rename to parts/square/numbers-{number:05d}.parquet" in before
        assert f"rename to parts/square/numbers-{number:05d}.rejects.parquet" in before
        assert steps.taken[at + 1] == "flush folder parts/square"


def test_rejects_of_the_whole_are_taken_off_what_the_parts_let_pass(tmp_path: Path) -> None:
    late = (
        Reject("square", "track", "1", "filtered", "twin", "1 is a near-duplicate of 2."),
        Reject("square", "track", "2", "failed", "gone", "2 cannot be read."),
        Reject("square", "track", "3", "failed", "gone", "3 cannot be read."),
    )

    def finishing(context: Context, results: Sequence[Report]) -> Outcome:
        return replace(finish(context, results), rejects=late)

    report = run_stage(replace(SQUARE, finish=finishing), Workspace(tmp_path), RECIPE)
    assert (report.items_in, report.items_out, report.filtered, report.failed) == (40, 29, 5, 6)
    rejects = read_parquet(tmp_path / "catalog" / "rejects.parquet", "reject")
    assert len(rejects) == 11


def test_another_part_size_gives_the_same_final_bytes(tmp_path: Path) -> None:
    first = run_stage(SQUARE, Workspace(tmp_path), RECIPE)
    other = run_stage(SQUARE, Workspace(tmp_path), RECIPE.replaced(run={"part_size": 40}))
    assert other.files == first.files
    rejects = read_parquet(tmp_path / "catalog" / "rejects.parquet", "reject")
    assert len(rejects) == 8  # none left over from the earlier parts


def test_retry_failed_tries_only_parts_with_failed_items(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    recipe = RECIPE.replaced(run={"part_size": 5})  # each part has one reject, failed or filtered
    run_stage(SQUARE, workspace, recipe)
    again = run_stage(SQUARE, workspace, recipe, retry_failed=True)
    assert again.parts - again.parts_skipped == 4


def test_a_stage_that_goes_round_again_tries_its_failed_items_once(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    run_stage(SQUARE, workspace, RECIPE)
    worked: list[str] = []
    rounds: list[int] = []

    def counting(context: Context, part: Part) -> Outcome:
        worked.append(part.name)
        return work(context, part)

    def twice(context: Context, results: Sequence[Report]) -> Outcome:
        rounds.append(len(results))
        return replace(finish(context, results), again=len(rounds) < 2)

    stage = replace(SQUARE, work=counting, finish=twice)
    report = run_stage(stage, workspace, RECIPE, retry_failed=True)
    assert rounds == [6, 6]
    assert sorted(worked) == sorted(set(worked))
    assert report.parts - report.parts_skipped == len(worked) > 0


def test_a_part_that_stops_half_way_through_a_retry_is_not_taken_for_done(
    tmp_path: Path,
) -> None:
    def failing(context: Context, part: Part) -> Outcome:
        raise BadData("the cable was pulled")

    workspace = Workspace(tmp_path)
    run_stage(SQUARE, workspace, RECIPE)
    with pytest.raises(BadData, match="cable"):
        run_stage(replace(SQUARE, work=failing), workspace, RECIPE, retry_failed=True)
    assert run_stage(SQUARE, workspace, RECIPE).parts_skipped == 5


def test_a_stage_that_loses_items_is_caught(tmp_path: Path) -> None:
    def forgetful(context: Context, part: Part) -> Outcome:
        output = work(context, part)
        return Outcome(output.files, output.items_out - 1, output.rejects, output.extra)

    stage = Stage("square", 1, ("pair",), plan, forgetful, finish)
    with pytest.raises(LostItems, match="took 7 items, gave 4 and rejected 2"):
        run_stage(stage, Workspace(tmp_path), RECIPE)


def test_a_stage_that_fails_keeps_the_parts_that_were_done(tmp_path: Path) -> None:
    def failing(context: Context, part: Part) -> Outcome:
        if part.name == "numbers-00003":
            raise BadData("the cable was pulled")
        return work(context, part)

    workspace = Workspace(tmp_path)
    stage = Stage("square", 1, ("pair",), plan, failing, finish)
    with pytest.raises(BadData, match="cable"):
        run_stage(stage, workspace, RECIPE)
    assert run_stage(SQUARE, workspace, RECIPE).parts_skipped == 3


def test_a_stage_killed_before_any_file_appears_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    clean = run_stage(SQUARE, Workspace(tmp_path / "clean"), RECIPE)
    killed = tmp_path / "killed"
    for place in (1, 4, 10):  # each further than the one before: parts that are done stay done
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "from pathlib import Path; import test_stage as t; from strikes import strike\n"
            f"strike({f'{killed}/*'!r}, {place}, {int(signal.SIGKILL)})\n"
            f"t.run_stage(t.SQUARE, t.Workspace(Path({str(killed)!r})), t.RECIPE)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], check=False)
        assert done.returncode == -signal.SIGKILL
    report = run_stage(SQUARE, Workspace(killed), RECIPE)
    assert 0 < report.parts_skipped < report.parts
    assert report.files == clean.files


def test_numpy_computes_with_one_thread_since_their_number_changes_its_rounding(
    tmp_path: Path,
) -> None:
    import numpy as np  # noqa: F401  (its BLAS is what is looked at)
    from threadpoolctl import threadpool_info, threadpool_limits

    def threads() -> list[int]:
        return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]

    def counting(context: Context, part: Part) -> Outcome:
        return replace(work(context, part), extra={"sum": max(threads())})

    with threadpool_limits(limits=2, user_api="blas"):
        before = threads()
        report = run_stage(replace(SQUARE, work=counting), Workspace(tmp_path), RECIPE)
        assert threads() == before
    assert report.extra["sum"] == report.parts  # one in each


def test_one_part_can_be_done_alone(tmp_path: Path) -> None:
    part = plan(Context(Workspace(tmp_path), RECIPE))[0]
    assert not run_part(SQUARE, Context(Workspace(tmp_path), RECIPE), part).skipped
    assert run_part(SQUARE, Context(Workspace(tmp_path), RECIPE), part).skipped
