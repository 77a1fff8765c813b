"""The page itself, driven in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from stripes_site import Served, serving

import artsound
from artsound.reports.judging import MIN_HEARD, read_judgements
from artsound.reports.preferences import read_preferences
from artsound.reports.why import why
from artsound.storage import Workspace

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
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


def test_a_change_made_before_the_last_one_is_answered_adds_to_it(page: Page) -> None:
    page.goto("/")
    _total(page, "50 pairs")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/view?*", hold)
    page.locator("[data-facet=music_genre]").get_by_label("Jazz").check()
    page.locator("[data-facet=split]").get_by_label("val").check()
    for route in held:
        route.continue_()
    page.unroute("**/api/view?*", hold)
    _total(page, "3 of 50 pairs")
    assert len(held) == 2


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
    expect(page.locator("#why")).to_contain_text("shards.retrieval in the recipe")
    page.get_by_text("Raw record").click()
    expect(page.locator("#raw")).to_contain_text(row["audio_sha256"])
    page.goto("/pair/999999")
    expect(page.get_by_role("alert")).to_contain_text("There is no such pair.")


@pytest.mark.parametrize("address", ["/nowhere/x", "/pair/", "/pair/%E0%A4%A", "/pair/a%20b"])
def test_an_unknown_address_is_a_page_with_a_way_back(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_role("alert")).to_contain_text("There is no")
    page.get_by_role("link", name="Show all pairs").click()
    _total(page, "50 pairs")


def test_a_picture_whose_shard_is_missing_is_a_sentence(
    browser: Browser, site_shards: Path, tmp_path: Path
) -> None:
    (tmp_path / "index.parquet").write_bytes((site_shards / "index.parquet").read_bytes())
    (tmp_path / "index.json").write_bytes((site_shards / "index.json").read_bytes())
    with serving(tmp_path, tmp_path) as site:
        page = browser.new_page(base_url=site.url)
        page.goto("/")
        expect(page.locator(".card .lost").first).to_have_text("This picture cannot be loaded.")
        page.goto("/pair/000014")
        expect(page.locator("article.pair .lost")).to_contain_text(".tar")
        page.close()


def test_a_pair_page_leads_to_the_pairs_beside_it_in_the_view(page: Page) -> None:
    page.goto("/?q=morisot&sort=painter")
    second = page.locator(".card").nth(1)
    key = second.get_attribute("data-key")
    second.locator("a.title").click()
    expect(page.locator(f"article.pair[data-key='{key}']")).to_be_visible()
    expect(page.locator(".steps")).to_contain_text("2 of 17")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".steps")).to_contain_text("1 of 17")
    expect(page.get_by_role("link", name="Previous")).to_have_count(0)
    page.get_by_role("link", name="Next").click()
    expect(page.locator(f"article.pair[data-key='{key}']")).to_be_visible()
    page.get_by_role("link", name="All of this view").click()
    _total(page, "17 of 50 pairs")


def test_a_late_answer_does_not_replace_the_page_that_was_opened_meanwhile(page: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    def wait(count: int) -> None:
        for _ in range(1200):
            if len(held) == count:
                return
            page.wait_for_timeout(50)
        raise AssertionError(f"{len(held)} requests instead of {count}")

    def release() -> None:  # the answer to the first request comes last
        for route in reversed(held):
            with page.expect_response(route.request.url):
                route.continue_()
        held.clear()
        page.wait_for_timeout(200)

    page.goto("/pair/000014")
    page.route("**/api/pair/*", hold)
    page.get_by_role("link", name="Next").click()
    page.go_back()
    _until(page, "location.pathname === '/pair/000014'")
    wait(2)
    release()
    expect(page.locator("article.pair[data-key='000014']")).to_be_visible()
    page.unroute("**/api/pair/*")
    page.route("**/api/trial*", hold)
    _begin(page, "Accept or reject")
    wait(1)
    page.get_by_role("link", name="ArtSound").click()
    _total(page, "50 pairs")
    release()
    expect(page.locator("section.judge")).to_have_count(0)
    expect(page.locator(".card").first).to_be_visible()


def test_a_pair_page_says_why_and_plays_what_else_it_might_have_been(
    browser: Browser, built: Workspace, tmp_path: Path
) -> None:
    row = artsound.open(built.shards).frame.row(0, named=True)
    derived = why(built.root, row["key"])
    with serving(built.shards, tmp_path) as site:
        context = browser.new_context(base_url=site.url, viewport={"width": 375, "height": 720})
        page = context.new_page()
        page.goto(f"/pair/{row['key']}")
        first = page.locator("tr.part").first
        expect(first).to_contain_text(derived["parts"][0]["name"])
        expect(first).to_contain_text(f"{100 * derived['parts'][0]['share'] / row['score']:.1f} %")
        for mark, side in (("mark artwork", "artwork"), ("mark track", "track")):
            place = first.locator(f"[class='{mark}']").evaluate("one => one.style.left")
            assert float(place.rstrip("%")) == pytest.approx(
                100 * derived["parts"][0][side], abs=0.1
            )
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        other = page.locator(".runners li").filter(has=page.locator(".play")).first
        other.get_by_role("button").click()
        _until(page, "document.getElementById('audio').currentTime > 0.1")
        expect(other.locator(".play.playing")).to_have_count(1)
        alone = page.locator(".runners li").filter(has=page.locator(".work")).first
        expect(alone).to_contain_text("not in this release")
        alone.scroll_into_view_if_needed()
        _until(page, "document.querySelector('.runners a[target] img')?.naturalWidth > 0")
        expect(page.locator("[data-near=picture] .card")).to_have_count(8)
        near = page.locator("[data-near=music] li")
        expect(near.locator(".play")).to_have_count(8)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        context.close()


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


def test_a_bad_condition_leaves_its_message_alone_and_can_be_taken_away(page: Page) -> None:
    page.goto("/?where=nonsense+%3E")
    expect(page.get_by_role("alert")).to_contain_text("The condition")
    expect(page.locator(".card")).to_have_count(0)
    page.get_by_role("button", name="Remove the condition").click()
    _total(page, "50 pairs")
    page.get_by_label("SQL condition").fill("no_such_column = 1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("no_such_column")
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(200)
    expect(page.locator(".card")).to_have_count(0)  # none of the query before


def _begin(page: Page, scale: str, name: str = "Ada Lovelace", address: str = "/judge") -> None:
    page.goto(address)
    page.get_by_label("Your name or initials").fill(name)
    page.get_by_role("radio", name=scale).check()
    page.keyboard.press("Enter")


def _ready(page: Page) -> None:
    expect(page.locator("section.judge[data-ready=true]")).to_be_visible()


def test_pairs_are_judged_from_the_keyboard_and_an_answer_is_changed(
    page: Page, served: Served
) -> None:
    _begin(page, "Rate from 1 to 5")
    for number, key in enumerate("51s3"):
        expect(page.locator("#judged")).to_contain_text(
            f"{number - ('s' in '51s3'[:number])} of 50"
        )
        if key != "s":
            _ready(page)
        page.keyboard.press(key)
        token = page.locator("section.judge").get_attribute("data-token")
        expect(page.locator(f"section.judge[data-token='{token}']")).to_have_count(0)
    expect(page.locator("#judged")).to_contain_text("3 of 50")
    page.keyboard.press("z")
    expect(page.locator("#judged")).to_contain_text("your earlier answer")
    expect(page.locator("button.answer[aria-pressed=true]")).to_contain_text("3")
    _ready(page)
    page.keyboard.press("4")
    expect(page.locator("#judged")).to_contain_text("3 of 50")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("play or pause")
    kept = read_judgements(served.folder / "judgements")
    assert kept["rating"].to_list() == [5, 1, -1, 3, 4]
    assert kept["verdict"].to_list() == ["", "", "skip", "", ""]
    assert kept["judge"].unique().to_list() == ["ada lovelace"]
    assert min(kept.filter(pl.col("rating") > 0)["heard"]) >= MIN_HEARD
    assert (
        kept[-1]
        .select("artwork_key", "track_key")
        .equals(kept[-2].select("artwork_key", "track_key"))
    )


def test_nothing_is_judged_before_picture_and_sound_were_there(page: Page, served: Served) -> None:
    stopped = False
    # For the whole test: a browser may begin to intercept after the next request.
    page.route("**/api/**", lambda route: route.abort() if stopped else route.continue_())
    page.route("**/trial/*.mp3", lambda route: route.abort())
    _begin(page, "Accept or reject")
    expect(page.locator("#trial-status")).to_contain_text("The sound cannot be loaded")
    page.keyboard.press("a")
    expect(page.locator("button.answer").first).to_be_disabled()
    page.unroute("**/trial/*.mp3")
    page.get_by_role("button", name="Try again").click()
    _ready(page)
    assert not (served.folder / "judgements").exists()
    stopped = True
    page.keyboard.press("a")
    expect(page.locator("#trial-status")).to_contain_text("start it again. Nothing is lost.")
    stopped = False
    page.get_by_role("button", name="Send again").click()
    expect(page.locator("#judged")).to_contain_text("1 of 50")
    assert read_judgements(served.folder / "judgements")["verdict"].to_list() == ["accept"]


def test_two_clips_are_compared_and_the_session_ends_with_a_summary(
    page: Page, served: Served
) -> None:
    _begin(page, "Compare two clips", "山田", "/judge?painter=Berthe+Morisot&split=test")
    count = int(page.locator("#judged").inner_text().split(" of ")[1].split()[0])
    for number in range(count):
        expect(page.locator("#judged")).to_contain_text(f"{number} of {count}")
        _until(page, "document.getElementById('trial-audio').played.length > 0")
        page.wait_for_timeout(100)
        expect(page.locator("#trial-status")).to_contain_text("Listen to")
        page.keyboard.press("n")  # too early: B was not heard
        for clip in ("trial-audio", "trial-audio-b"):
            page.evaluate(f"document.getElementById('{clip}').playbackRate = 8")
            page.evaluate(f"document.getElementById('{clip}').play()")
            _until(page, f"document.getElementById('{clip}').currentTime > 3.2")
        _ready(page)
        page.keyboard.press("b")
        done = page.locator("#judge-end, #judged", has_not_text=f"{number} of {count}")
        expect(done).to_be_visible()
    expect(page.locator("#judge-end")).to_contain_text(f"{count} judged by 山田")
    kept = read_preferences(served.folder / "judgements")
    assert kept["own_first"].not_().to_list() == (kept["choice"] == "own").to_list()
    assert kept.height == count


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
    page.wait_for_selector(".card[data-key]")
    hidden = "line => [line.scrollWidth - line.clientWidth, line.scrollHeight - line.clientHeight]"
    for line in page.locator(".card[data-key] .text > :last-child").all():
        assert max(line.evaluate(hidden)) <= 0  # score, length and genre are readable
        ends = (
            "line => [line, line.closest('.card')].map((one) => one.getBoundingClientRect().bottom)"
        )
        below, end = line.evaluate(ends)
        assert below < end
    page.get_by_role("button", name="Filters").click()
    page.locator("[data-facet=split]").get_by_label("test").check()
    _total(page, "8 of 50 pairs")
    context.close()


def test_going_back_from_a_pair_returns_to_its_place_in_a_long_list(page: Page) -> None:
    page.set_viewport_size({"width": 700, "height": 500})
    page.goto("/")
    page.wait_for_selector(".card")
    assert page.locator(".card").count() < 50  # only those near the window
    page.evaluate("window.scrollTo(0, 4000)")
    _until(page, "new URLSearchParams(location.search).get('at') > 10")
    _until(page, "document.querySelectorAll('.card.loading').length === 0")
    at = page.evaluate("Number(new URLSearchParams(location.search).get('at'))")
    card = page.locator(f".card[aria-posinset='{at + 1}']")
    key = card.get_attribute("data-key")
    card.locator("a.title").click()
    expect(page.locator(f"article.pair[data-key='{key}']")).to_be_visible()
    page.go_back()
    expect(page.locator(f".card[data-key='{key}']")).to_be_in_viewport()
    assert page.evaluate("document.activeElement.closest('[data-key]').dataset.key") == key
    page.goto("/?at=45&show=table")
    expect(page.locator(".pairline[aria-rowindex='50']")).to_be_in_viewport()
    page.get_by_role("button", name="Painter").click()
    expect(page.locator(".pairline").nth(1)).to_contain_text("</script>")
    assert "sort=painter" in page.url


def test_a_flag_a_saved_view_and_a_range_narrow_the_list(page: Page, served: Served) -> None:
    page.goto("/pair/000014")
    page.get_by_label("Flag").check()
    page.get_by_label("Note").fill("too loud")
    page.get_by_label("Note").blur()
    expect(page.locator(".noted .soft")).to_have_text("Saved.")
    page.goto("/")
    page.locator("[data-facet=marked]").get_by_label("Flagged").check()
    _total(page, "1 of 50 pairs")
    page.get_by_role("button", name="Remove the marks").click()
    page.get_by_role("slider", name="Year of the artwork, to").focus()
    page.keyboard.press("Home")
    expect(page.locator("#chips")).to_contain_text("Year of the artwork")
    page.get_by_role("button", name="Save this view").click()
    page.get_by_label("Name").fill("first-years")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#save-status")).to_contain_text("saved in")
    page.get_by_text("Or choose it on the command line").click()
    expect(page.locator("#command-text")).to_contain_text("artwork_year <=")
    page.get_by_role("button", name="Close").click()
    page.goto("/?show=table")
    page.locator("[data-facet=saved]").get_by_label("first-years").check()
    expect(page.locator("#chips")).to_contain_text("View first-years")


def test_an_area_of_the_map_is_chosen_and_a_picture_file_finds_music(
    browser: Browser, built: Workspace, tmp_path: Path
) -> None:
    with serving(built.shards, tmp_path) as site:
        page = browser.new_page(base_url=site.url)
        page.goto("/?show=map")
        pairs = len(artsound.open(built.shards))
        _total(page, f"{pairs} pairs")
        canvas = page.locator("canvas[data-map=artworks]")
        box = canvas.bounding_box()
        assert box is not None
        corners = [(0.01, 0.01), (0.6, 0.01), (0.6, 0.99), (0.01, 0.99), (0.01, 0.02)]
        places = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in corners]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place)
        page.mouse.up()
        expect(page.locator("#chips")).to_contain_text("Area on the map of pictures")
        expect(page.locator("#total")).to_contain_text(f"of {pairs} pairs")
        page.locator("canvas[data-map=tracks]").focus()
        page.keyboard.press("Escape")
        _total(page, f"{pairs} pairs")
        page.keyboard.press("Enter")  # an area around the cross
        expect(page.locator("#chips")).to_contain_text("Area on the map of music")
        picture = tmp_path / "mine.jpg"
        picture.write_bytes(artsound.open(built.shards).read(0)["jpg"])
        page.goto("/")
        page.locator("#picture-file").set_input_files(picture)
        expect(page.locator("#chips")).to_contain_text("Music for your picture")
        expect(page.locator(".card").first).to_contain_text("near")
        page.close()


def _serious(page: Page) -> list[tuple[str, list[str]]]:
    """What axe finds on a page that is serious or critical."""
    page.evaluate(AXE)  # not by a script element, which the page's policy forbids
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        (one["id"], [node["html"][:120] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


WIDTHS = {"desktop": (1280, "light"), "phone": (375, "dark"), "zoomed to 200 %": (640, "light")}


@pytest.mark.parametrize("address", ["/", "/?show=table", "/pair/000014", "/judge", "/nowhere"])
def test_no_page_has_a_serious_fault_of_accessibility(
    browser: Browser, served: Served, address: str
) -> None:
    for name, (width, scheme) in WIDTHS.items():
        context = browser.new_context(
            base_url=served.url,
            viewport={"width": width, "height": 720},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector(".card img, .pairline img, .pair, .welcome, .notice")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert _serious(page) == [], name
        moving = "document.getAnimations().filter((one) => one.playState === 'running').length"
        assert page.evaluate(moving) == 0
        context.close()


@pytest.mark.parametrize("name", ["desktop", "phone"])
def test_no_state_of_judging_has_a_serious_fault_of_accessibility(
    browser: Browser, served: Served, name: str
) -> None:
    width, scheme = WIDTHS[name]
    context = browser.new_context(
        base_url=served.url, viewport={"width": width, "height": 720}, color_scheme=scheme
    )
    page = context.new_page()
    for scale in ("Rate from 1 to 5", "Accept or reject", "Compare two clips"):
        _begin(page, scale)
        page.wait_for_selector("#judged")
        assert _serious(page) == [], "answers are disabled"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if scale == "Rate from 1 to 5":
            _ready(page)
            assert _serious(page) == [], "answers are enabled"
        page.keyboard.press("?")
        assert _serious(page) == [], "help"
        page.keyboard.press("Escape")
        page.get_by_role("button", name="stop").press("Enter")
        expect(page.locator("#judge-end")).to_be_visible()
        assert _serious(page) == [], "end"
        page.get_by_role("button", name="Another scale or judge").press("Enter")
    context.close()


def test_pairs_are_found_played_and_left_with_the_keyboard_alone(page: Page) -> None:
    page.goto("/")
    _total(page, "50 pairs")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the pairs")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("/")
    page.keyboard.type("morisot")
    _total(page, "17 of 50 pairs")
    first = page.locator(".card a.title").first
    expect(first).to_have_attribute("href", re.compile("q=morisot"))  # of the new list
    first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("article.pair h1")).to_be_visible()
    page.locator("article.pair .play").focus()
    page.keyboard.press("Space")
    _until(page, "document.getElementById('audio').currentTime > 0.1")
    page.keyboard.press("j")
    expect(page.locator(".steps")).to_contain_text("2 of 17")
    page.keyboard.press("k")
    expect(page.locator(".steps")).to_contain_text("1 of 17")
