"""`artsound doctor`: real metadata of packages, real servers on this machine, real exit codes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from artsound.encoders.laion_clap import check_tokenizer
from artsound.environment import (
    check_checkpoints,
    check_disk,
    check_hub,
    check_prefect,
    check_source,
    examine,
    needed_extras,
)
from artsound.extras import (
    Check,
    check_conflicts,
    check_package,
    check_packages,
    installed,
    tested_versions,
)
from artsound.recipe import Recipe
from artsound.sources.http import Client, Patience

HASTY = Client(Patience(retries=0, connect=2.0, stall=2.0), allow_private_hosts=True)
SAMPLE = Recipe().replaced(sources={"artgraph": "sample", "fma": "sample"})


class _Server(BaseHTTPRequestHandler):
    """Zips of 1,000 bytes: in ranges under /ranges/, whole under /whole/, elsewhere none."""

    def do_GET(self) -> None:
        ranges = self.path.startswith("/ranges/") and "Range" in self.headers
        known = self.path.startswith(("/ranges/", "/whole/", "/api/health"))
        self.send_response(206 if ranges else 200 if known else 404)
        if ranges:
            self.send_header("Content-Range", "bytes 0-0/1000")
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(b"x")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    served = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes a request and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def install(site: Path, name: str, version: str, *needs: str) -> None:
    """What pip leaves of a package's metadata."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    (folder / "METADATA").write_text(
        "\n".join([*lines, *(f"Requires-Dist: {need}" for need in needs)]) + "\n"
    )


def reported(checks: Iterator[Check], name: str) -> list[Check]:
    return [check for check in checks if check.name == name]


def test_the_packages_here_are_in_order_and_have_no_conflicts() -> None:
    assert {check.state for check in check_packages()} == {"ok"}
    assert {check.name for check in check_packages()} >= {"numpy", "prefect", "torch"}
    assert not [check for check in check_conflicts() if check.state == "missing"]
    assert tested_versions()["numpy"] == str(installed("numpy"))


@pytest.mark.parametrize(
    ("text", "extra", "state"),
    [
        ("numpy>=1.20", "", "ok"),
        ("numpy>=99", "", "missing"),
        ("no-such-package>=1", "", "missing"),
        ("no-such-package>=1", "train", "missing"),
    ],
)
def test_a_package_is_judged_by_its_requirement(text: str, extra: str, state: str) -> None:
    check = check_package(Requirement(text), extra)
    assert check.state == state
    assert ("pip install" in check.remedy) == (state != "ok")


def test_packages_that_need_other_versions_of_each_other_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "torchvision", "0.20.0", "torch==2.5.0")
    install(tmp_path, "laion-clap", "1.1.5", "numpy<1.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    conflicts = list(check_conflicts())
    assert "needs torch==2.5.0" in reported(iter(conflicts), "torchvision")[0].found
    clap = " ".join(check.found for check in reported(iter(conflicts), "laion-clap"))
    assert "needs numpy<1.0" in clap
    assert {check.state for check in conflicts} == {"warning"}


def test_an_empty_tokenizer_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps({str(n): n for n in range(5)}))
    assert check_tokenizer(path).state == "warning"
    assert "the same" in check_tokenizer(path).found
    path.write_text(json.dumps({str(n): n for n in range(50_265)}))
    assert check_tokenizer(path).state == "ok"
    path.write_text("no json")
    assert check_tokenizer(path).state == check_tokenizer(None).state == "warning"


def test_servers_are_asked_for_one_byte(server: str) -> None:
    def states(place: str) -> list[str]:
        recipe = Recipe().replaced(sources={"fma": place})
        return [check.state for check in check_source("track", recipe, HASTY)]

    assert states(f"{server}/ranges") == ["ok", "ok"]
    assert states(f"{server}/whole") == ["warning", "warning"]
    assert states(f"{server}/nothing") == ["missing", "missing"]
    recipe = Recipe().replaced(sources={"artgraph": f"{server}/ranges/artgraph.zip"})
    (check,) = check_source("artwork", recipe, HASTY)
    assert (check.state, "1.0 kB" in check.found) == ("ok", True)


def test_a_folder_that_is_not_there_and_a_server_that_is_not_are_missing(tmp_path: Path) -> None:
    for place in (str(tmp_path / "absent"), "http://127.0.0.1:9/fma/"):
        recipe = Recipe().replaced(sources={"fma": place})
        (check,) = check_source("track", recipe, HASTY)
        assert (check.state, "--fma" in check.remedy) == ("missing", True)


def test_weights_are_missing_only_where_the_recipe_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"clip_checkpoint": str(tmp_path / "absent.pt"), "clap_checkpoint": "absent.pt"}
    monkeypatch.chdir(tmp_path)
    does_without = list(check_checkpoints(Recipe().replaced(embed=weights), hub=True))
    assert "missing" not in {check.state for check in does_without}
    needed = Recipe().replaced(
        embed=weights, pair={"bridge": "concepts"}, captions={"artworks": "transformers:absent"}
    )
    checks = {check.name: check for check in check_checkpoints(needed, hub=True)}
    for name in ("clip", "clap", "transformers:absent"):
        assert checks[name].state == "missing"
        assert "absent" in checks[name].remedy
    on_hub = Recipe().replaced(pair={"bridge": "concepts"})
    for hub, state in ((True, "warning"), (False, "missing")):
        checks = {check.name: check for check in check_checkpoints(on_hub, hub)}
        assert {checks[name].state for name in ("clip", "clap")} <= {state, "ok"}


def test_room_on_the_disk_is_needed_for_whole_archives_only(tmp_path: Path) -> None:
    assert "alone" not in check_disk(SAMPLE, tmp_path / "not" / "yet").found
    whole = check_disk(Recipe().replaced(sources={"subset": "full"}), tmp_path / "out")
    assert whole.state in ("ok", "missing")
    assert "the music alone" in check_disk(Recipe(), tmp_path).found


def test_the_hub_is_asked_where_the_environment_says(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, state in (
        (f"{server}/whole/", "ok"),
        (f"{server}/none", "warning"),
        ("http://127.0.0.1:9", "warning"),
    ):
        monkeypatch.setenv("HF_ENDPOINT", place)
        assert next(check_hub(HASTY)).state == state


def test_a_prefect_server_is_asked_where_there_is_one(server: str) -> None:
    assert next(check_prefect("")).state == "ok"
    assert next(check_prefect(f"{server}/api")).state == "ok"
    assert next(check_prefect("http://127.0.0.1:9/api")).state == "missing"


def test_a_server_that_never_answers_is_given_up(
    silent: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"{silent}/api")
    recipe = Recipe().replaced(sources={"artgraph": f"{silent}/a.zip", "fma": silent})
    checks = {check.name: check for check in examine(recipe, tmp_path, seconds=1.0)}
    assert {check.state for check in checks.values() if check.group == "checkpoints"} <= {
        "ok", "warning"
    }  # fmt: skip
    for name in ("ArtGraph", "FMA", "Prefect"):
        assert checks[name].state == "missing"


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "artsound", "doctor", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=os.environ | environment,
    )  # fmt: skip


def test_where_a_build_can_run_it_leaves_with_zero(tmp_path: Path) -> None:
    done = command("--artgraph", "sample", "--fma", "sample", "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert summary["missing"] == 0
    assert {check["group"] for check in summary["checks"]} >= {"machine", "packages", "sources"}
    done = command("--artgraph", "sample", "--fma", "sample", "--out", tmp_path / "out")
    assert "A build can run." in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 100
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_where_something_is_missing_it_leaves_with_one_and_the_remedy(tmp_path: Path) -> None:
    done = command("--artgraph", "sample", "--fma", tmp_path / "absent")
    assert done.returncode == 1
    assert "→ give --fma a folder" in done.stdout
    done = command("--recipe", tmp_path / "absent.toml")
    assert (done.returncode, "There is no recipe" in done.stderr) == (2, True)


def test_an_extra_is_missing_where_the_recipe_needs_it_else_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "open-clip-torch", "0.1")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert needed_extras(Recipe()) == {"build"}
    needed = needed_extras(Recipe().replaced(pair={"bridge": "concepts"}))
    assert needed == {"build", "models"}
    for extras, state in ((set(), "warning"), (needed, "missing")):
        (check,) = reported(check_packages(extras), "open-clip-torch")
        assert (check.state, "[models]" in check.remedy) == (state, True)
