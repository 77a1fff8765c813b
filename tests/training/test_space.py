"""A Space is complete in its folder, and its page makes music in a real browser."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from packaging.requirements import Requirement
from toy_pairs import picture

from artsound.cli import app
from artsound.errors import BadUsage
from artsound.shards.dataset import open_shards
from artsound.training.config import Config, Pretrained
from artsound.training.data import Release
from artsound.training.loop import TrainReport
from artsound.training.space import check_portable, write_space
from artsound.training.space_app import credit

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""


@pytest.fixture(scope="module")
def space(
    release: Release, trained: tuple[Path, TrainReport], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("space") / "space"
    words = ["space", release.data.store.location, "--checkpoint", trained[0], "--out", out]
    words += ["--tracks", "5", "--rights", "any", "--title", "A demo"]
    typer.main.get_command(app)(map(str, words), standalone_mode=False)
    return out


def test_a_space_holds_the_card_the_page_the_pairs_and_the_library(space: Path) -> None:
    front = yaml.safe_load((space / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert front["title"] == "A demo"
    assert (space / front["app_file"]).is_file()
    lines = (space / "requirements.txt").read_text(encoding="utf-8").splitlines()
    needed = {Requirement(line).name for line in lines}
    assert {"gradio", "torch", "numpy", "webdataset", "librosa"} <= needed
    assert "prefect" not in needed
    assert f"gradio=={front['sdk_version']}" in lines
    pairs = open_shards(space / "pairs")
    assert len(pairs) == 5
    assert set(pairs.frame["split"]) == {"train"}
    assert np.load(space / "pictures.npy").shape == (5, 20)


def test_a_space_generates_with_its_own_library_and_without_the_checkout(
    space: Path, tmp_path: Path
) -> None:
    (tmp_path / "cat.jpg").write_bytes(picture(0.5, 0.8, 99))
    code = f"""
import sys
sys.path.insert(0, {str(space)!r})
import artsound
assert artsound.__file__.startswith({str(space)!r})
from pathlib import Path
from artsound.training.generate import generate
checkpoint = Path({str(space)!r}) / "checkpoint"
generate(checkpoint, [Path("cat.jpg")], Path("cat.wav"), steps=2, seconds=1)
"""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=clean)
    assert (tmp_path / "cat.wav").stat().st_size > 10_000


def test_what_a_space_cannot_be_made_of_is_refused(
    space: Path,
    release: Release,
    trained: tuple[Path, TrainReport],
    small: Config,
    tmp_path: Path,
) -> None:
    with pytest.raises(BadUsage, match="is in use"):
        write_space(release.data.store.location, trained[0], space)
    with pytest.raises(BadUsage, match="redistribute"):  # these pairs state no rights
        write_space(release.data.store.location, trained[0], tmp_path / "new")
    assert not list(tmp_path.iterdir())
    local = small.model_copy(update={"pretrained": Pretrained(source=str(tmp_path))})
    with pytest.raises(BadUsage, match="a folder that a Space has not"):
        check_portable(local)
    check_portable(small.model_copy(update={"pretrained": Pretrained(source="some/name")}))


def test_a_pair_is_credited_with_what_is_known_of_it() -> None:
    record = {"artwork_title": "Jug", "painter": "A. Painter", "artwork_license_id": "CC0-1.0"}
    assert credit("000007", record) == (
        "000007: *Jug* by A. Painter (CC0-1.0); *untitled* by unknown (unknown licence)"
    )


def test_the_page_of_a_space_makes_music_for_a_picture_in_a_browser(
    space: Path, tmp_path: Path
) -> None:
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("gradio needs Pillow 12: install it into an environment of its own")
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    (tmp_path / "cat.jpg").write_bytes(picture(0.5, 0.8, 99))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1",
                                "GRADIO_ANALYTICS_ENABLED": "False"}  # fmt: skip
    server = subprocess.Popen([sys.executable, "app.py"], cwd=space, env=environment)
    try:
        while True:
            assert server.poll() is None, "the page has ended"
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        with playwright.sync_playwright() as started:
            browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page()
            page.set_default_timeout(120_000)
            page.goto(f"http://127.0.0.1:{port}/")
            page.locator("input[type=file]").first.set_input_files(tmp_path / "cat.jpg")
            page.wait_for_selector("button[aria-label='Remove Image'], .image-frame img")
            page.get_by_role("button", name="Make music").click()
            page.get_by_text(re.compile("unknown licence")).wait_for()
            for kind in ("wav", "mp3"):
                page.locator(f"a[download$='.{kind}'], a[href$='.{kind}']").first.wait_for()
            if "SPACE_SCREENSHOT" in os.environ:
                page.wait_for_timeout(2000)
                page.screenshot(path=os.environ["SPACE_SCREENSHOT"], full_page=True)
            browser.close()
    finally:
        server.terminate()
        server.wait()
