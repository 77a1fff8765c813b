"""The command line as a user meets it: a process, its two streams and its exit code."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from artsound.cli import main
from artsound.progress import Forecast, Pace, earlier_build, remember_build
from artsound.sample import SamplePaths
from artsound.storage import Workspace


def artsound(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "artsound", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_command_with_one_line_and_its_number(name: str) -> None:
    code = (
        "import io, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's `&` ignores it
        "class Output(io.StringIO):\n"
        f"    def write(self, text): signal.raise_signal(signal.{name})\n"
        "from artsound.cli import main\n"
        "sys.argv, sys.stdout = ['artsound', 'plugins'], Output()\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    number = 128 + signal.Signals[name]
    assert (done.returncode, done.stderr) == (number, "artsound: stopped.\n")


def build(artgraph: object, fma: object, out: object, *more: object) -> tuple[int, str]:
    done = artsound(
        "build", "--artgraph", artgraph, "--fma", fma, "--out", out, "--runner", "serial", *more
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.strip().splitlines()[-1]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, artsound.cli; "
        "print([m for m in ('torch', 'prefect', 'librosa', 'polars', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert "subset" in artsound("--help").stdout


COMMANDS = (
    "build ingest embed pair caption shard report verify stats subset browse bench "
    "latents train generate evaluate"
)


@pytest.mark.parametrize("command", COMMANDS.split())
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = artsound(command, "--help")
    assert done.returncode == 0
    assert f"Example: artsound {command}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nosuch"], "No such command 'nosuch'"),
        (["--nope"], "No such option: --nope"),
        (["why", "--build", "x"], "No such option: --build"),
        (["stats", "a", "b"], "unexpected extra argument"),
        (["build", "--out", "x", "--limit", "-3"], "'--limit'"),
    ],
)
def test_a_usage_error_begins_as_other_errors_do(arguments: list[str], said: str) -> None:
    done = artsound(*arguments)
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, done.stdout) == (2, "")
    assert last.startswith("error: ")
    assert said in last
    assert "Usage: " in done.stderr


def test_help_groups_the_commands_and_fits_80_columns() -> None:
    lines = artsound("--help").stdout.splitlines()
    heads = [line for line in lines if line and line == line.strip() and line.endswith(":")]
    assert heads == ["Options:", "Build:", "Release:", "Training:", "Tools:"]
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines[1:] if line.endswith("...")]


@pytest.mark.parametrize(
    ("variables", "head"),
    [
        ({}, "\033[1;31merror:\033[0m "),
        ({"NO_COLOR": "1"}, "error: "),
        ({"TERM": "dumb"}, "error: "),
    ],
)
def test_an_error_is_red_on_a_terminal_unless_colours_are_refused(
    variables: dict[str, str], head: str
) -> None:
    environment = {**os.environ, "TERM": "xterm", **variables}
    if "NO_COLOR" not in variables:
        environment.pop("NO_COLOR", None)
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "artsound", "stats", "/nowhere"]
    try:
        subprocess.run(command, stderr=child, env=environment, check=False)
        assert os.read(parent, 1000).decode().startswith(f"{head}There is no folder /nowhere")
    finally:
        os.close(parent)
        os.close(child)


_BUILD = """
import sys
from artsound.progress import build_progress

with build_progress(("ingest", "embed", "pair")) as progress:
    progress.note("Connecting.")
    progress.start("raw.zip", 3_000_000, "bytes")
    progress.advance(3_000_000)
    progress.finish()
    progress.start("ingest", 188)
    progress.advance(188, before=True)
    progress.finish()
    progress.start("embed", 179)
    progress.advance(60)
    progress.finish()
    sys.exit("error: a file is damaged")
"""


def test_a_build_on_a_terminal_has_one_line_for_each_stage_under_one_for_all() -> None:
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"}
    shown = b""
    command = [sys.executable, "-c", _BUILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=child, env=environment) as done:
        os.close(child)
        with contextlib.suppress(OSError):  # the end of a pseudo-terminal
            while some := os.read(parent, 10_000):
                shown += some
        results = done.stdout.read() if done.stdout is not None else b""
    os.close(parent)
    # The last frame: each begins by moving the cursor up.
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Z]", "\n", shown.decode().replace("\r", ""))
    plain = re.sub(r"\x1b\[[0-9;?]*[a-z]", "", plain)
    lines = [line for line in plain.splitlines() if line.strip()]
    last = [re.sub(r"[ ━╸╺]+", " ", line).strip() for line in lines[-5:]]
    assert [re.sub(r"\d+ s$", "0 s", line) for line in last] == [
        "build 1 of 3 stages failed after 0 s",
        "raw.zip 3.0 MB of 3.0 MB in 0 s",
        "1/3 ingest 188 of 188 done before",
        "2/3 embed 60 of 179 failed after 0 s",
        "error: a file is damaged",
    ]
    assert "Connecting." in plain
    assert max(map(len, lines)) <= 80
    assert (results, done.returncode) == (b"", 1)


def test_the_time_left_of_a_build_is_known_from_an_earlier_one_or_not_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = ("ingest", "embed", "pair")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert earlier_build("same settings") == {}
    before = {"ingest": (200, 1_000.0), "embed": (100, 4_000.0), "pair": (100, 500.0)}
    remember_build("same settings", before)
    remember_build("same settings", {"ingest": (8, 1.0), "embed": (4, 1.0), "pair": (4, 1.0)})
    forecast = Forecast(stages, earlier_build("same settings"))  # a trial leaves it
    first = Forecast(stages, earlier_build("others"))
    assert first.text("ingest", _pace(400, 200)) == "over 33 min left"  # of the stage alone
    assert first.text("ingest", _pace(400, 399)) == ""
    # Half of the stage took four times as long as then: 0.5 + 4 + 0.5 thousand seconds, times four.
    assert forecast.left("ingest", _pace(400, 200)) == pytest.approx(20_000, rel=0.01)
    assert forecast.text("ingest", _pace(400, 200)) == "about 5.6 h left"
    assert forecast.text("pair", _pace(100, 50)) == "about 33 min left"  # of the last stage itself
    assert forecast.text("ingest", _pace(4_000, 2_000)) == "over 33 min left"
    for unknown in (_pace(400, 2), _pace(400, 200, before=True)):
        assert forecast.text("ingest", unknown) == ""
    assert forecast.text("raw.zip", _pace(400, 200)) == ""
    (tmp_path / "artsound" / "durations.json").write_text('["no", "mapping"]')
    assert earlier_build("same settings") == {}
    remember_build("same settings", before)
    assert earlier_build("same settings") == before


def _pace(total: int, done: int, *, before: bool = False) -> Pace:
    """A stage that began 2,000 seconds ago."""
    pace = Pace(total, began=time.monotonic() - 2_000)
    pace.advance(done, before=before)
    return pace


def test_wrong_usage_leaves_with_two() -> None:
    assert artsound("build").returncode == 2
    assert artsound("nonsense").returncode == 2


def test_a_missing_folder_is_reported_and_leaves_with_two(
    sample: SamplePaths, tmp_path: Path
) -> None:
    code, sentence = build(tmp_path / "absent", sample.fma, tmp_path / "out")
    assert (code, "does not exist" in sentence) == (2, True)


def test_an_empty_folder_is_reported(sample: SamplePaths, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, sentence = build(sample.artgraph, tmp_path / "empty", tmp_path / "out")
    assert (code, "is empty" in sentence) == (1, True)


def test_a_file_that_is_no_zip_and_a_truncated_zip_are_reported(
    sample: SamplePaths, tmp_path: Path
) -> None:
    (tmp_path / "no.zip").write_text("not a zip")
    code, sentence = build(tmp_path / "no.zip", sample.fma, tmp_path / "out")
    assert (code, "no.zip" in sentence) == (1, True)
    whole = (sample.artgraph / "imagesf2.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    code, sentence = build(tmp_path / "cut.zip", sample.fma, tmp_path / "out")
    assert (code, "cut.zip" in sentence) == (1, True)


def test_a_zip_that_climbs_out_is_refused(sample: SamplePaths, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("mapping/../../evil.csv", "0,x")
    code, sentence = build(tmp_path / "bad.zip", sample.fma, tmp_path / "out")
    assert (code, "bad.zip" in sentence) == (1, True)
    assert not list(tmp_path.rglob("evil*"))


def test_tracks_csv_with_a_wrong_header_is_reported(sample: SamplePaths, tmp_path: Path) -> None:
    folder = tmp_path / "fma" / "fma_metadata"
    folder.mkdir(parents=True)
    (folder / "tracks.csv").write_text("id,title\n1,x\n")
    code, sentence = build(sample.artgraph, tmp_path / "fma", tmp_path / "out")
    assert (code, "tracks.csv" in sentence) == (1, True)


def test_more_tracks_than_artworks_is_an_error_with_remedies(
    sample: SamplePaths, tmp_path: Path
) -> None:
    """Eight pictures cannot serve some eighty clips."""
    import shutil

    folder = tmp_path / "artgraph"
    shutil.copytree(sample.artgraph, folder)
    with (
        zipfile.ZipFile(sample.artgraph / "imagesf2.zip") as whole,
        zipfile.ZipFile(folder / "imagesf2.zip", "w") as few,
    ):
        names = [info.filename for info in whole.infolist() if not info.is_dir()]
        for name in names[20:40]:
            few.writestr(name, whole.read(name))
    code, sentence = build(folder, sample.fma, tmp_path / "out")
    assert code == 1
    assert "artworks" in sentence
    assert "pair.artwork_uses" in sentence


def test_out_that_is_a_file_or_cannot_be_written_is_reported(
    sample: SamplePaths, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("precious")
    code, sentence = build(sample.artgraph, sample.fma, tmp_path / "file")
    assert (code, "is a file" in sentence) == (2, True)
    assert (tmp_path / "file").read_text() == "precious"
    code, sentence = build(sample.artgraph, sample.fma, "/proc/nowhere/out")
    assert (code, "cannot be written" in sentence) == (1, True)


@pytest.mark.parametrize(
    "out", ["", "d" * 300, "d/" * 2100, "bytes-\udcff"], ids=lambda out: repr(out[:8])
)
def test_out_that_can_be_no_path_is_wrong_usage(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["build", "--artgraph", "sample", "--fma", "sample"], ["ingest"]):
        for arguments in (["--out", out], [f"--out={out}"]):
            monkeypatch.setattr(sys, "argv", ["artsound", *command, *arguments])
            with pytest.raises(SystemExit) as left:
                main()
            assert left.value.code == 2
            said = capsys.readouterr().err
            assert said.startswith("error: ")
            assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_recipe_key_is_reported_with_the_nearest_right_one(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("[pair]\nbrige = 'affect'\n")
    code, sentence = build("sample", "sample", tmp_path / "out", "--recipe", tmp_path / "r.toml")
    assert (code, "did you mean pair.bridge?" in sentence) == (2, True)


def test_a_stage_before_its_time_is_reported(tmp_path: Path) -> None:
    done = artsound("pair", "--out", tmp_path / "out", "--runner", "serial")
    assert done.returncode == 1
    assert "run the stage that writes it first" in done.stderr


def test_the_last_line_of_a_json_build_is_its_summary(sample: SamplePaths, tmp_path: Path) -> None:
    done = artsound(
        "build", "--artgraph", sample.artgraph, "--fma", sample.fma, "--out", tmp_path / "out",
        "--limit", 12, "--runner", "serial", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    assert list(stages) == ["ingest", "embed", "pair", "caption", "shard", "report"]
    for stage in stages.values():
        assert stage["items_in"] == stage["items_out"] + stage["filtered"] + stage["failed"]
    assert "artsound-train-000000.tar" in {
        path.name for path in (tmp_path / "out/shards").iterdir()
    }
    assert "warning" not in done.stderr.lower()


def test_verify_stats_and_subset_on_a_finished_build(built: Workspace, tmp_path: Path) -> None:
    done = artsound("verify", built.shards, "--deep", "--json")
    assert (done.returncode, json.loads(done.stdout.splitlines()[-1])["problems"]) == (0, [])
    done = artsound("stats", built.shards, "--json")
    assert json.loads(done.stdout.splitlines()[-1])["pairs"] > 0
    done = artsound("subset", built.shards, "--top", 3, "--out", tmp_path / "ids.npy", "--json")
    assert json.loads(done.stdout.splitlines()[-1])["samples"] == 3


def test_verify_finds_a_flipped_byte_and_leaves_with_one(built: Workspace, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(built.shards, tmp_path / "shards")
    tar = tmp_path / "shards" / "artsound-train-000000.tar"
    data = bytearray(tar.read_bytes())
    data[2000] ^= 1
    tar.write_bytes(data)
    done = artsound("verify", tmp_path / "shards")
    assert done.returncode == 1
    assert "artsound-train-000000.tar" in done.stdout
