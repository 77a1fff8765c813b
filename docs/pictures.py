"""Take the pictures of the documentation: data_cards/report.png and docs/images/browse-*.png.

    make pictures
    python docs/pictures.py BUILD      # of a build of the sample, as `make pictures` makes it

They show the pages of this version in headless Chromium, the same bytes each time on a machine.
report.png records the version of the report stage, by which a test knows whether it is current.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from PIL import Image, PngImagePlugin
from playwright.sync_api import Page, sync_playwright

from artsound.reports.browse import browse_app, listen
from artsound.reports.report import STAGE
from artsound.shards.dataset import open_shards

PROJECT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 1200, 800
_LOADED = """[...document.images].every((image) =>
    image.complete || image.getBoundingClientRect().top > window.innerHeight)"""
_FLAGS = [
    *("--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"),
    # The same pixels each time.
    *("--disable-partial-raster", "--disable-skia-runtime-opts", "--force-color-profile=srgb"),
    "--run-all-compositor-stages-before-draw",
]
_COLOURS = 128  # of a picture, which makes it a quarter as large


def main() -> None:
    """Take all pictures."""
    build = Path(sys.argv[1])
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("error: no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        page = browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT},
            color_scheme="light",
            reduced_motion="reduce",
            locale="en-GB",
        )
        page.goto((build / "report" / "index.html").resolve().as_uri())
        settle(page)
        about = PngImagePlugin.PngInfo()
        about.add_text("report", f"version {STAGE.version}")
        save(page, PROJECT / "data_cards" / "report.png", about)
        with served(build / "shards", Path(folder)) as address:
            pictures(page, address, build)
        browser.close()


def pictures(page: Page, address: str, build: Path) -> None:
    """The pages of `artsound browse`."""
    images = PROJECT / "docs" / "images"
    page.goto(f"{address}/")
    page.wait_for_selector(".card img")
    settle(page)
    save(page, images / "browse-grid.png")
    page.goto(f"{address}/?show=map")
    page.wait_for_selector("canvas")
    settle(page)
    save(page, images / "browse-map.png")
    page.goto(f"{address}/pair/{open_shards(build / 'shards').frame['key'][0]}")
    page.wait_for_selector("#why tr.part")
    settle(page)
    save(page, images / "browse-pair.png")
    page.goto(f"{address}/judge")
    page.get_by_label("Your name or initials").fill("Ada")
    page.get_by_role("radio", name="Rate from 1 to 5").check()
    page.keyboard.press("Enter")
    page.wait_for_selector("section.judge[data-ready=true]")
    page.evaluate("for (const sound of document.querySelectorAll('audio')) sound.pause()")
    page.evaluate("for (const sound of document.querySelectorAll('audio')) sound.currentTime = 0")
    settle(page)
    save(page, images / "browse-judge.png")


def settle(page: Page) -> None:
    """Wait until the pictures in the window are there, and nothing is requested any more."""
    page.wait_for_load_state("networkidle")
    for _ in range(200):
        if page.evaluate(_LOADED):
            return
        page.wait_for_timeout(50)
    sys.exit(f"error: {page.url}: the pictures of the page do not come")


def save(page: Page, path: Path, about: PngImagePlugin.PngInfo | None = None) -> None:
    """Write what the window shows, once it no longer changes."""
    last, now = b"", page.screenshot()
    for _ in range(20):
        if now == last:
            break
        page.wait_for_timeout(200)
        last, now = now, page.screenshot()
    shown = Image.open(io.BytesIO(now))
    shown.convert("RGB").quantize(_COLOURS).save(path, optimize=True, pnginfo=about)


@contextmanager
def served(shards: Path, folder: Path) -> Iterator[str]:
    """The address of `artsound browse` on a free port."""
    app = browse_app(open_shards(shards), save_to=folder)
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


if __name__ == "__main__":
    main()
