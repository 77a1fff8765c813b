"""Generated music beside its pairs: only what was found is served, and a browser plays it."""

from __future__ import annotations

import io
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import uvicorn
from PIL import Image
from playwright.sync_api import expect, sync_playwright
from starlette.testclient import TestClient

import artsound
from artsound.errors import BadUsage
from artsound.reports.browse import browse_app, listen
from artsound.shards.dataset import open_shards

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""


@pytest.fixture
def keys(site_shards: Path) -> list[str]:
    return list(artsound.open(site_shards).frame["key"][:3])


@pytest.fixture
def generated(keys: list[str], tmp_path: Path) -> Path:
    """Music for two pairs; a stranger's file, a picture and a link beside them."""
    home = tmp_path / "evaluation" / "wavs"
    home.mkdir(parents=True)
    tone = 0.2 * np.sin(np.arange(16_000) / 8)
    for name in (keys[0], keys[1], "999999"):
        soundfile.write(home / f"{name}.wav", tone, 16_000)
    Image.new("RGB", (20, 10), "purple").save(home / f"{keys[0]}.png")
    (tmp_path / "secret.txt").write_text("secret")
    (home / f"{keys[2]}.wav").symlink_to(tmp_path / "secret.txt")
    return home.parent


@pytest.fixture
def client(site_shards: Path, generated: Path, tmp_path: Path) -> TestClient:
    app = browse_app(open_shards(site_shards), save_to=tmp_path, generated=generated)
    return TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)


def test_pairs_with_generated_music_are_listed(client: TestClient, keys: list[str]) -> None:
    found = client.get("/api/generated").json()
    assert [(p["key"], p["seconds"]) for p in found["pairs"]] == [(key, 12) for key in keys[:2]]
    assert client.get("/api/generated?start=2").json()["pairs"] == []
    assert client.get("/api/generated?start=-1").status_code == 400
    assert client.get("/api/view").json()["compares"] is True


def test_the_largest_effect_of_the_picture_comes_first(
    site_shards: Path, generated: Path, keys: list[str], tmp_path: Path
) -> None:
    effects = {"model": {keys[0]: -0.25, keys[1]: 0.5}}
    (generated / "effects.json").write_text(json.dumps(effects))
    app = browse_app(open_shards(site_shards), save_to=tmp_path, generated=generated)
    client = TestClient(app, base_url="http://127.0.0.1:8000")
    for query, order in (("", [keys[1], keys[0]]), ("?sort=lowest", [keys[0], keys[1]])):
        shown = client.get(f"/api/generated{query}").json()["pairs"]
        assert [pair["key"] for pair in shown] == order
        assert [pair["effect"] for pair in shown] == [effects["model"][key] for key in order]
    (generated / "effects.json").write_text("[]")
    with pytest.raises(BadUsage, match="artsound evaluate"):
        browse_app(open_shards(site_shards), save_to=tmp_path, generated=generated)


def test_sound_is_served_whole_and_by_range(
    client: TestClient, generated: Path, keys: list[str]
) -> None:
    data = (generated / "wavs" / f"{keys[0]}.wav").read_bytes()
    whole = client.get(f"/generated/{keys[0]}.wav")
    assert (whole.content, whole.headers["content-type"]) == (data, "audio/wav")
    part = client.get(f"/generated/{keys[0]}.wav", headers={"Range": "bytes=4-9"})
    assert (part.status_code, part.content) == (206, data[4:10])


def test_spectrograms_have_one_scale_of_seconds_frequency_and_level(
    client: TestClient, generated: Path, keys: list[str]
) -> None:
    def shown(kind: str, seconds: int) -> np.ndarray:
        answer = client.get(f"/spectrogram/{kind}/{keys[0]}.png?seconds={seconds}")
        assert answer.headers["content-type"] == "image/png"
        picture = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"), np.int64)
        return picture.sum(axis=2)

    hertz, samples = 1000, np.arange(32_000)
    path = generated / "wavs" / f"{keys[0]}.wav"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hertz * samples / 16_000), 16_000)
    one = shown("generated", 4)
    assert one.shape == shown("own", 4).shape
    silent = one[:, 250:].max()  # the sound ends after half of the picture
    assert silent == one.min()
    loud = one[:, 20:220].mean(axis=1)
    marks = dict(client.get("/api/generated").json()["marks"])
    height = 1 - (loud.argmax() + 0.5) / len(loud)
    assert height == pytest.approx(marks[hertz], abs=1 / len(loud))
    soundfile.write(path, 0.005 * np.sin(2 * np.pi * hertz * samples / 16_000), 16_000)
    assert shown("generated", 4).max() < one.max() - 100, "40 dB less is darker"
    path.write_bytes(b"no sound")
    broken = client.get(f"/spectrogram/generated/{keys[0]}.png")
    assert (broken.status_code, "clip" in broken.json()["error"]) == (400, True)
    for bad in (f"own/{keys[2]}.png", f"own/{keys[0]}.png?seconds=999", f"x/{keys[0]}.png"):
        assert client.get(f"/spectrogram/{bad}").status_code == 404


def test_music_of_all_systems_of_an_evaluation_is_compared(
    site_shards: Path, generated: Path, keys: list[str], tmp_path: Path
) -> None:
    other, linked = generated / "wavs best of 8", generated / "wavs linked"
    other.mkdir()
    for key in (keys[0], keys[2]):
        soundfile.write(other / f"{key}.wav", np.zeros(16_000 * 20), 16_000)
    linked.symlink_to(other)
    app = browse_app(open_shards(site_shards), save_to=tmp_path, generated=generated)
    client = TestClient(app, base_url="http://127.0.0.1:8000")
    pairs = client.get("/api/generated").json()["pairs"]
    assert [(pair["systems"], pair["seconds"]) for pair in pairs] == [
        (["model", "best of 8"], 20), (["model"], 12)
    ]  # fmt: skip
    sound = client.get(f"/generated/{keys[0]}.wav?system=best of 8")
    assert sound.content == (other / f"{keys[0]}.wav").read_bytes()
    levels = f"/spectrogram/generated/{keys[0]}.png"
    assert client.get(f"{levels}?system=best of 8").content != client.get(levels).content
    for name in ("linked", "../wavs", "none"):
        assert client.get(levels, params={"system": name}).status_code == 404


@pytest.mark.parametrize(
    "name",
    ["999999.wav", "..%2f..%2fsecret.txt", "../../secret.txt", "%2e%2e/secret.wav", "x.txt"],
)
def test_nothing_else_is_served(client: TestClient, keys: list[str], name: str) -> None:
    for asked in (name, f"{keys[2]}.wav", f"{keys[1]}.png"):
        answer = client.get(f"/generated/{asked}")
        assert answer.status_code == 404
        assert "secret" not in answer.text


def test_a_folder_without_such_music_is_refused(site_shards: Path, tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match=r"has no \.wav named after a pair"):
        browse_app(open_shards(site_shards), save_to=tmp_path, generated=tmp_path)
    with pytest.raises(BadUsage, match="is not a folder"):
        browse_app(open_shards(site_shards), save_to=tmp_path, generated=tmp_path / "none")
    plain = TestClient(
        browse_app(open_shards(site_shards), save_to=tmp_path), base_url="http://127.0.0.1:8000"
    )
    assert "--generated" in plain.get("/api/generated").json()["error"]


@pytest.fixture
def address(site_shards: Path, generated: Path, tmp_path: Path) -> Iterator[str]:
    app = browse_app(open_shards(site_shards), save_to=tmp_path, generated=generated)
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


def test_the_page_plays_one_sound_at_a_time(address: str, tmp_path: Path) -> None:
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 1300, "height": 700})
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{address}/")
        page.locator("#to-compare").click()
        expect(page.locator("#compared")).to_have_text("2 pieces of generated music")
        rows = page.locator("article.compared")
        expect(rows).to_have_count(2)
        expect(page.locator(".spectrogram img")).to_have_count(4)
        sounds = rows.first.locator("audio")
        expect(sounds).to_have_count(2)
        for number in (0, 1):
            sounds.nth(number).evaluate("sound => sound.play()")
        assert sounds.nth(0).evaluate("sound => sound.paused")
        assert sounds.nth(1).evaluate("sound => sound.duration") == pytest.approx(1, abs=0.01)
        page.screenshot(path=tmp_path / "compare.png", full_page=True)
        browser.close()
    assert wrong == []
