"""The page itself, driven in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from stripes_site import Served

import artsound
from artsound.reports.judging import read_judgements

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """A page that fails the test for any error, and for any request to elsewhere."""
    page = browser.new_context(base_url=served.url).new_page()
    page.set_default_timeout(120_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith(served.url) else wrong.append(request.url),
    )
    yield page
    page.context.close()
    assert wrong == []


def _total(page: Page, text: str) -> None:
    expect(page.locator("#total")).to_have_text(text)


def _until(page: Page, expression: str) -> None:
    """Wait until a JavaScript expression holds; the page's policy forbids wait_for_function."""
    for _ in range(2400):  # two minutes: a guard against hanging only
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def test_typing_searches(page: Page) -> None:
    page.goto("/")
    _total(page, "50 pairs")
    page.get_by_role("searchbox", name="Search").press_sequentially("morisot")
    _total(page, "17 of 50 pairs")
    expect(page.locator(".card").first).to_contain_text("Berthe Morisot")
    page.reload()
    _total(page, "17 of 50 pairs")  # the address holds the search


def test_facets_narrow_and_are_taken_away_again(page: Page) -> None:
    page.goto("/")
    page.locator("[data-facet=music_genre]").get_by_label("Jazz").check()
    _total(page, "11 of 50 pairs")
    page.locator("[data-facet=split]").get_by_label("val").check()
    _total(page, "3 of 50 pairs")
    page.get_by_role("button", name="Remove Jazz").click()
    _total(page, "12 of 50 pairs")
    page.go_back()
    _total(page, "3 of 50 pairs")
    expect(page.locator(".card")).to_have_count(3)


def test_a_pair_plays_and_continues_while_its_page_is_read(page: Page) -> None:
    page.goto("/")
    card = page.locator(".card").nth(1)
    card.get_by_role("button", name="Play").click()
    _until(page, "document.getElementById('audio').currentTime > 0.2")
    card.locator("a.title").click()
    expect(page.locator("article.pair h1")).to_contain_text("Stripes")
    assert page.evaluate("!document.getElementById('audio').paused")
    before = page.evaluate("document.getElementById('audio').currentTime")
    page.evaluate("document.getElementById('audio').currentTime = 9")  # asks for a range
    _until(page, "document.getElementById('audio').currentTime > 9.1")
    assert before < 9
    page.locator("article.pair .play").click()
    assert page.evaluate("document.getElementById('audio').paused")


def test_a_pair_page_shows_both_captions_the_facts_and_the_record(
    page: Page, site_shards: Path
) -> None:
    page.goto("/pair/000014")
    row = artsound.open(site_shards).frame.row(by_predicate=pl.col("key") == "000014", named=True)
    expect(page.locator("#artwork-caption")).to_contain_text(row["artwork_caption"])
    expect(page.locator("#music-caption")).to_contain_text(row["track_caption"])
    expect(page.locator(".facts")).to_contain_text("CC BY 4.0")
    assert page.locator(".row-of-cards .card").count() >= 4
    page.get_by_text("Raw record").click()
    expect(page.locator("#raw")).to_contain_text(row["audio_sha256"])
    page.goto("/pair/999999")
    expect(page.get_by_role("alert")).to_have_text("There is no such pair.")


def test_hostile_texts_stay_texts(page: Page) -> None:
    page.goto("/pair/000012")
    expect(page.locator("#artwork-caption")).to_contain_text("<script>window.hurt")
    page.goto("/?q=window.hurt")
    _total(page, "1 of 50 pairs")
    expect(page.locator(".card")).to_contain_text("<script>")
    page.locator("[data-facet=style] input").check()
    expect(page.locator("#chips")).to_contain_text("</script>")
    page.goto("/pair/000013")
    expect(page.locator(".facts")).to_contain_text("Source")
    assert page.locator("a[href^='javascript']").count() == 0
    assert page.evaluate("window.hurt === undefined")


def test_pairs_are_judged_from_the_keyboard(page: Page, served: Served) -> None:
    page.goto("/judge")
    page.get_by_label("Your name or initials").fill("Ada")
    page.keyboard.press("Enter")
    for number, key in enumerate("51ars3"):
        expect(page.locator("#judged")).to_contain_text(f"{number} judged by ada")
        _until(page, "document.getElementById('trial-picture').naturalWidth > 0")
        page.keyboard.press(key)
    expect(page.locator("#judged")).to_contain_text("6 judged by ada")
    kept = read_judgements(served.folder / "judgements")
    assert kept["rating"].to_list() == [5, 1, -1, -1, -1, 3]
    assert kept["verdict"].to_list() == ["", "", "accept", "reject", "skip", ""]
    assert kept["seconds"].min() > 0
    page.get_by_role("button", name="someone else").click()
    expect(page.get_by_label("Your name or initials")).to_be_visible()


def test_this_view_is_saved(page: Page, served: Served) -> None:
    page.goto("/?q=morisot&split=train")
    _total(page, "10 of 50 pairs")
    page.get_by_role("button", name="Save this view").click()
    page.get_by_label("Name").fill("morisot")
    page.get_by_role("radio", name="View").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#save-status")).to_contain_text("10 pairs saved in")
    assert len(artsound.open(served.folder / "views" / "morisot.parquet")) == 10
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#save-status")).to_contain_text("choose another name")


def test_on_a_phone_nothing_sticks_out_and_filters_open(browser: Browser, served: Served) -> None:
    context = browser.new_context(base_url=served.url, viewport={"width": 375, "height": 720})
    page = context.new_page()
    for address in ("/", "/pair/000012", "/judge"):
        page.goto(address)
        page.wait_for_selector(".card, .pair, .welcome")
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.goto("/")
    page.get_by_role("button", name="Filters").click()
    page.locator("[data-facet=split]").get_by_label("test").check()
    _total(page, "8 of 50 pairs")
    context.close()
