"""Prefect's temporary server: its database, its end, and who needs none."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from distributed.comm.core import CommClosedError
from small_builds import small_recipe

from artsound.errors import BadData, BadUsage
from artsound.sample import SamplePaths
from artsound.storage import Workspace
from artsound_flows import server
from artsound_flows.flows import lost_engine
from artsound_flows.serve import _copy_template

HERE = Path(__file__).parent
SET_BY_US = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_SERVER_DATABASE_CONNECTION_URL")

# Every stage's flow, on the temporary server, of a stage that only counts.
FLOW = (
    "import sys, counted; from pathlib import Path\n"
    "from artsound.recipe import Recipe; from artsound.storage import Workspace\n"
    "from artsound_flows.engine import run_flow, session, stage_flow\n"
    "recipe = Recipe().replaced(run={'runner': 'threads', 'workers': 2})\n"
    "with session(Workspace(Path(sys.argv[1])), recipe) as opened:\n"
    "    print(run_flow(stage_flow(counted.STAGE, 'Count.'), opened).items_out)\n"
)
STARTED = (
    "import threading, time; from artsound_flows import server\n"
    "starter = threading.Thread(target=server.start); starter.start(); starter.join()\n"
    "server.address(); running = server._server\n"
    "print(running.process.pid, running.folder, flush=True)\n"
)


def environment(home: Path, *first: Path, **more: str) -> dict[str, str]:
    """This process's, with `home` and with no settings of Prefect's; `first` on sys.path."""
    others = {name: value for name, value in os.environ.items() if name not in SET_BY_US}
    path = os.pathsep.join([*map(str, first), str(HERE), *sys.path[1:]])
    return others | {"HOME": str(home), "PYTHONPATH": path} | more


def python(code: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, check=False, **options,
    )  # type: ignore[call-overload,no-any-return]  # fmt: skip


def database(path: Path, revision: str) -> bytes:
    """A database of another version of Prefect's, which says so as alembic does."""
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as opened:
        opened.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        opened.execute("INSERT INTO alembic_version VALUES (?)", [revision])
        opened.commit()
    return path.read_bytes()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder, in whose cache these tests' first server leaves its migrated database."""
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize("revision", ["27d8f4e1a6c9", "c0ffee000000"])
def test_a_database_in_prefect_home_of_another_version_is_neither_used_nor_changed(
    tmp_path: Path, home: Path, revision: str
) -> None:
    theirs = tmp_path / "prefect" / "prefect.db"
    before = database(theirs, revision)
    environ = environment(home, PREFECT_HOME=str(theirs.parent), TMPDIR=str(tmp_path))
    done = python(FLOW, tmp_path / "out", env=environ)
    assert done.returncode == 0, done.stderr
    assert theirs.read_bytes() == before
    assert not list(tmp_path.glob("artsound-prefect-*"))
    assert len(list((home / ".cache" / "artsound").glob("prefect-*.db"))) == 1


@pytest.mark.parametrize("place", ["absent", "/dev/null/prefect"])
def test_prefect_home_may_be_absent_or_impossible_to_write_to(
    tmp_path: Path, home: Path, place: str
) -> None:
    environ = environment(home, PREFECT_HOME=str(tmp_path / place))
    done = python(FLOW, tmp_path / "out", env=environ)
    assert done.returncode == 0, done.stderr


def test_a_server_that_cannot_start_is_reported_with_its_last_words(
    tmp_path: Path, home: Path
) -> None:
    (tmp_path / "uvicorn.py").write_text("raise RuntimeError('no uvicorn today')\n")
    done = python(STARTED, env=environment(home, tmp_path))
    assert done.returncode != 0
    assert "temporary server ended: RuntimeError: no uvicorn today." in done.stderr
    assert "PREFECT_API_URL" in done.stderr.splitlines()[-1]


def test_a_server_ends_with_the_process_that_started_it_even_if_that_is_killed(home: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", STARTED + "time.sleep(600)"],
        env=environment(home), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdout is not None
    pid, folder = parent.stdout.readline().split()
    os.kill(int(pid), 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(600):
        if not Path(folder).exists():
            break
        time.sleep(0.1)
    assert not Path(folder).exists()  # removed by the server, as the last thing it does


def test_only_a_whole_migrated_database_serves_as_template(tmp_path: Path) -> None:
    template, copy = tmp_path / "template.db", tmp_path / "copy.db"
    assert not _copy_template(template, copy)
    template.write_bytes(b"SQLite format 3\0" + bytes(5000))
    assert not _copy_template(template, copy)
    template.unlink()
    sqlite3.connect(template).close()
    assert not _copy_template(template, copy)
    assert not copy.exists()
    template.unlink()
    whole = database(tmp_path / "whole" / "prefect.db", "27d8f4e1a6c9")
    template.write_bytes(whole)
    assert _copy_template(template, copy)
    assert copy.read_bytes() == whole


@pytest.mark.parametrize(
    ("file", "text", "own"),
    [
        ("prefect/profiles.toml", 'active = "a"\n[profiles.a]\nPREFECT_API_URL = "{}"\n', True),
        ("prefect/profiles.toml", 'active = "a"\n[profiles.a]\n[profiles.b]\n'
         'PREFECT_API_URL = "{}"\n', False),
        (".env", "PREFECT_API_URL={}\n", True),
        ("prefect.toml", '[api]\nurl = "{}"\n', True),
        ("pyproject.toml", '[tool.prefect.api]\nurl = "{}"\n', True),
        ("pyproject.toml", '[project]\nname = "mine"\n', False),
        ("README", "", False),
    ],
)  # fmt: skip
def test_a_server_of_ones_own_is_found_wherever_prefect_reads_its_address(
    tmp_path: Path, file: str, text: str, own: bool
) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text.format("http://127.0.0.1:4200/api"))
    code = "from artsound_flows.server import has_own_server; print(has_own_server())"
    environ = environment(tmp_path, PREFECT_HOME=str(tmp_path / "prefect"))
    done = python(code, env=environ, cwd=tmp_path)
    assert done.stdout == f"{own}\n", done.stderr


def test_unreadable_settings_of_prefect_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "prefect.toml").write_text("api = [")
    code = "from artsound_flows.server import has_own_server; has_own_server()"
    done = python(code, env=environment(tmp_path), cwd=tmp_path)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("artsound.errors.BadUsage: Prefect's settings cannot be read: ")
    assert "prefect.toml" in last


def test_without_a_server_of_ones_own_a_build_imports_no_prefect_and_a_rerun_starts_nothing(
    sample: SamplePaths, built: Workspace, tmp_path: Path
) -> None:
    recipe = small_recipe(sample).replaced(run={"runner": "processes", "workers": 2})
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    code = (
        "import multiprocessing, sys; from artsound.cli import main\n"
        "from artsound import build; from artsound_flows import server\n"
        "build.process_pool = server.start = lambda *_: sys.exit('something was started')\n"
        "sys.argv = ['artsound', 'build', '--recipe', sys.argv[1], '--out', sys.argv[2]]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'prefect' not in sys.modules and not multiprocessing.active_children()\n"
    )
    out = shutil.copytree(built.root, tmp_path / "out")
    done = python(code, tmp_path / "recipe.toml", out, env=environment(tmp_path))
    assert done.returncode == 0, done.stderr


def test_what_stops_answering_is_reported_once_and_what_never_did_is_not() -> None:
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        server.check_own_server(url)
        asked = threading.Event()

        def answers() -> bool:
            found = server.accepts_connections(url)
            asked.set()
            return found

        unwatch = server.watch_for(answers, "It is gone.", said.put, patience=0.1)
        assert asked.wait(60)
    assert said.get(timeout=60) == "It is gone."
    unwatch()
    with pytest.raises(BadUsage, match=r"No Prefect server answers at .*unset PREFECT_API_URL"):
        server.check_own_server(url)
    looks = threading.Semaphore(0)
    unwatch = server.watch_for(lambda: bool(looks.release()), "Never.", said.put, patience=0.02)
    for _ in range(5):
        assert looks.acquire(timeout=60)
    unwatch()
    assert said.empty()


@pytest.mark.parametrize(
    ("error", "engine"),
    [
        (httpx.ConnectError("All connection attempts failed"), "Prefect's server"),
        (RuntimeError("Failed to reach API at http://127.0.0.1:1/api/"), "Prefect's server"),
        (CommClosedError("in <TCP>: Stream is closed"), "The Dask cluster"),
        (RuntimeError("a fault of our own"), ""),
        (BadData("a table"), ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_engine_that_was_lost_is_told_from_other_faults(error: Exception, engine: str) -> None:
    assert lost_engine(error) == engine
