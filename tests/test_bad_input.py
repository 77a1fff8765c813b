"""Paths, selections and machines that a build cannot use: one line, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import artsound
from artsound.cli import main
from artsound.cli.build_commands import _show_checks
from artsound.errors import BadUsage
from artsound.extras import Check
from artsound.progress import counted
from artsound.sample import SamplePaths
from artsound.shards.verify import verify
from artsound.status import read_status
from artsound.storage import Workspace, read_json, write_bytes, write_json

Run = Callable[..., tuple[int, str]]

LONG = "n" * 300
DEEP = "/".join(["folder"] * 700)  # 4,899 characters
NOT_UTF_8 = os.fsdecode(b"caf\xe9")
BEYOND = "\U0001f3a8 \u8a9e ' \" \\ \n"  # an emoji beyond U+FFFF, quotes and a line feed


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The command line in this process and a folder of its own: exit status and last line."""

    def run_with(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["artsound", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        lines = capsys.readouterr().err.strip().splitlines()
        return int(left.value.code or 0), lines[-1] if lines else ""

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return run_with


@pytest.mark.parametrize("value", [LONG, f"absent/{LONG}", DEEP, NOT_UTF_8, f"{NOT_UTF_8}.toml"])
@pytest.mark.parametrize(
    "option",
    ["--out", "--artgraph", "--fma", "--recipe", "--track-ids", "--artwork-ids", "--without",
     "--base", "--import-pairs", "--exclude-pairs"],
)  # fmt: skip
def test_a_path_that_cannot_be_is_one_line_and_nothing_is_left(
    run: Run, option: str, value: str
) -> None:
    out = () if option == "--out" else ("--out", "out")
    code, line = run("build", *out, option, value)
    assert code == 2
    assert line.startswith("error: ")
    assert "too long" in line or "not valid UTF-8" in line
    assert len(line) < 400
    assert os.listdir() == []


def test_sources_recipe_and_lists_are_found_under_any_name_that_unicode_allows(
    sample: SamplePaths, tmp_path: Path
) -> None:
    folder = tmp_path / BEYOND
    folder.mkdir()
    (folder / "artgraph").symlink_to(sample.artgraph)
    (folder / "fma").symlink_to(sample.fma)
    (folder / "ids").write_text("990001\n990002\n990003\n990004\n990005\n990006\n")
    (folder / "r.toml").write_text("name = 'any-name'\n")
    command = [
        sys.executable, "-m", "artsound", "ingest", "--artgraph", folder / "artgraph", "--fma",
        folder / "fma", "--track-ids", folder / "ids", "--recipe", folder / "r.toml", "--out",
        folder / "out", "--runner", "serial",
    ]  # fmt: skip
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    again = [*command[:4], "--out", folder / "out"]
    second = subprocess.run(again, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert "reused" in second.stdout


@pytest.mark.parametrize("command", ["build", "ingest"])
@pytest.mark.parametrize(
    ("option", "value", "answer"),
    [
        ("--track-where", "genre = 'Jaz'", "did you mean 'Jazz'?"),
        ("--track-where", "genre = 'jazz'", "did you mean 'Jazz'?"),
        ("--track-where", "genre IN ('Rok', 'Fok')", "did you mean 'Rock'?"),
        ("--track-where", "gnre = 'Jazz'", "did you mean genre?"),
        ("--track-where", "genre = Jazz", "text must be in single quotes"),
        ("--track-where", "year << 3", "uses an operator that is not available here"),
        ("--artwork-where", "year > 3000", "year is between"),
        ("--artwork-where", "style = 'cubsm'", "did you mean 'cubism'?"),
        ("--track-ids", "999999\n", "the nearest to '999999' is '99"),
        ("--artwork-ids", "nosuch.jpg\n", "No artwork of"),
        ("--track-ids", "", "it is empty"),
    ],
)
def test_a_selection_that_matches_nothing_is_answered_with_the_nearest_value(
    run: Run, sample: SamplePaths, tmp_path: Path, command: str, option: str, value: str,
    answer: str,
) -> None:  # fmt: skip
    if option.endswith("-ids"):
        (tmp_path / "list").write_text(value)
        value = str(tmp_path / "list")
    code, line = run(
        command, "--artgraph", sample.artgraph, "--fma", sample.fma, "--out", "out", option, value
    )
    assert (code, answer in line) == (2, True), line
    assert os.listdir() == []


def test_a_wrong_folder_is_answered_with_the_nearest_name(
    run: Run, sample: SamplePaths, tmp_path: Path
) -> None:
    (tmp_path / "artgraph").symlink_to(sample.artgraph)
    code, line = run("build", "--artgraph", tmp_path / "artgrph", "--fma", "sample", "--out", "out")
    assert (code, f"did you mean {tmp_path / 'artgraph'}?" in line) == (2, True)
    code, line = run("build", "--artgraph", sample.fma, "--fma", sample.fma, "--out", "out")
    assert (code, "is not ArtGraph" in line) == (1, True)
    code, line = run("build", "--artgraph", "sample", "--fma", sample.artgraph, "--out", "out")
    assert (code, "is not the FMA" in line) == (1, True)
    assert os.listdir() == []


def test_a_stage_of_nothing_leaves_nothing(run: Run) -> None:
    for stage in ("embed", "pair", "caption", "shard", "report"):
        code, line = run(stage, "--out", "out")
        assert (code, "run the stage that writes it first" in line) == (1, True)
    assert os.listdir() == []


def test_servers_that_cannot_be_reached_are_one_line_and_nothing_is_left(
    tmp_path: Path, sample: SamplePaths
) -> None:
    """Nothing listens on the port: as without a network, there is no connection."""
    done = subprocess.run(
        [
            sys.executable, "-m", "artsound", "build", "--artgraph", "http://127.0.0.1:9/a.zip",
            "--fma", sample.fma, "--out", tmp_path / "out", "--limit", "5", "--allow-private-hosts",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        "Connecting to the servers of the sources …",
        "error: http://127.0.0.1:9/a.zip cannot be reached: [Errno 111] Connection refused; "
        "check the network or its proxy.",
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("home", ["", "/proc/nowhere"])
def test_a_build_runs_where_home_is_empty_or_cannot_be_written_to(
    sample: SamplePaths, tmp_path: Path, home: str
) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "artsound", "ingest", "--artgraph", sample.artgraph, "--fma",
            sample.fma, "--limit", "3", "--runner", "serial", "--out", tmp_path / "out",
        ],
        capture_output=True, text=True, check=False, env=os.environ | {"HOME": home},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "arning" not in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "answer"),
    [
        ("--where", "artwork_style = 'cubsm'", "did you mean 'cubism'?"),
        ("--where", "gnre = 'x'", "did you mean artwork_genre?"),
        ("--where", "artwork_style = cubism", "text must be in single quotes"),
        ("--where", "artwork_year > 3000", "artwork_year is between"),
        ("--where", "artwork_year << 3", "uses an operator that is not available here"),
        ("--style", "cubsm", "did you mean 'cubism'?"),
        ("--music-genre", "jaz", "did you mean 'Jazz'?"),
        ("--split", "tran", "did you mean 'train'?"),
    ],
)
def test_a_subset_of_nothing_is_answered_with_the_nearest_value(
    run: Run, built: Workspace, option: str, value: str, answer: str
) -> None:
    code, line = run("subset", built.root, option, value, "--out", "ids.npy")
    assert (code, answer in line) == (2, True), line
    assert os.listdir() == []


def test_a_builds_folder_stands_for_the_shards_in_it(built: Workspace) -> None:
    assert len(artsound.open(built.root)) == len(artsound.open(built.shards))
    assert verify(built.root) == []
    with pytest.raises(BadUsage, match="did you mean"):
        artsound.open(built.root.with_name("oot"))


def test_a_build_killed_before_its_first_part_has_stopped(built: Workspace, tmp_path: Path) -> None:
    """What kill -9 leaves in the first seconds: a recipe, and a record of who began."""
    workspace = Workspace(tmp_path / "out")
    write_bytes(workspace.recipe, built.recipe.read_bytes())
    begun = read_json(built.runs / "build.json")
    write_json(workspace.runs / "build.json", begun | {"pid": 2**22, "ended": 0.0})
    status = read_status(workspace)
    assert status.state == "stopped"
    assert status.next == f"artsound build --out {workspace.root}"


def test_one_is_counted_without_an_s() -> None:
    assert [counted(number, "pair") for number in (0, 1, 2000)] == [
        "0 pairs",
        "1 pair",
        "2,000 pairs",
    ]


def test_doctor_gives_the_remedy_of_several_packages_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    remedy = "pip install '.[train]'"
    group = "packages: train"
    _show_checks(
        [
            Check(group, "torch", "warning", "not installed", remedy),
            Check(group, "numpy", "ok", "2.0"),
            Check(group, "diffusers", "warning", "not installed", remedy),
        ]
    )
    shown = capsys.readouterr().out
    assert shown.count(remedy) == 1
    assert "torch (not installed), diffusers (not installed)" in shown
