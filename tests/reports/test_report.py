from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import polars as pl
import pytest
from PIL import Image

from artsound.reports.art_map import read_map
from artsound.reports.browse import query_of
from artsound.reports.card import CARDS, write_cards
from artsound.reports.charts import bars, heat_map, histogram_chart
from artsound.reports.report import STAGE, _evidence, environment, gallery, rows_by_ear
from artsound.reports.views import catalogue_of
from artsound.shards.dataset import open_shards
from artsound.shards.verify import verify
from artsound.storage import Workspace, read_json


class Page(HTMLParser):
    """Tags of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))


@pytest.fixture(scope="module")
def text(built: Workspace) -> str:
    return (built.report / "index.html").read_text()


def test_the_page_asks_nothing_of_the_network(text: str) -> None:
    for tag, attributes in Page(text).tags:
        assert tag not in ("link", "iframe", "object", "base")
        if tag == "a":  # followed by people, to a site of this machine
            assert attributes["href"].startswith(("#", "http://127.0.0.1:8000/"))
            continue
        for name in ("src", "href", "xlink:href", "poster"):
            target = attributes.get(name, "#")
            assert target.startswith(("#", "data:image/jpeg;base64,", "data:audio/mpeg;base64,"))
    script = text[text.index("<script>") : text.index("</script>")]
    assert not re.search(r"fetch|import|XMLHttp|http", script)
    assert re.search(r"url\(\s*['\"]?(?!#)", text) is None
    assert "@import" not in text


def test_every_picture_and_chart_has_a_text_in_its_place(text: str) -> None:
    tags = Page(text).tags
    assert sum(tag == "svg" for tag, _ in tags) >= 12
    for tag, attributes in tags:
        if tag == "img":
            assert attributes["alt"]
        if tag in ("svg", "audio"):
            assert attributes["aria-label"]


def test_the_page_shows_what_came_in_and_why_not_all_went_out(text: str) -> None:
    for heading in ("From sources to shards", "Coverage", "Captions", "Near-duplicates", "Rights<"):
        assert heading in text
    assert "audio too short" in text


def test_the_page_shows_hubs_retrieval_and_what_other_bridges_make_of_the_pairs(text: str) -> None:
    for reported in ("hubness before", "R@10", "median rank", "Least certain pairs", "mean score"):
        assert reported in text
    agreed = {"concepts": {"spearman": 0.5, "preferred": 0.6, "equal_pairs": 0.1}}
    ranks = {
        "pairs": 4, "pool": 10, "r1": 0.1, "r1_interval": [0.05, 0.15], "r5": 0.2,
        "r5_interval": [0.1, 0.3], "r10": None, "r10_interval": None, "median_rank": 9.0,
    }  # fmt: skip
    split = {
        "optimality": 1.0, "hubness": 2.0, "hubness_corrected": 1.0, "agreement": agreed,
        "music_to_artwork": ranks, "artwork_to_music": ranks,
    }  # fmt: skip
    tables = list(_evidence({"train": split}))
    assert tables[1][3][0] == [
        "train", "music", "4", "10", "0.100 (0.050–0.150)", "0.200 (0.100–0.300)", "", "9.0"
    ]  # fmt: skip
    assert tables[-1][3] == [["train", "concepts", "0.500", "0.600", "0.100"]]


def test_pairs_to_judge_by_ear_stand_beside_their_pictures_with_random_tracks(
    built: Workspace, text: str
) -> None:
    data = open_shards(built.shards)
    measured = read_json(built.runs / "pair.json")["extra"]
    rows = {title: pairs for title, _, pairs in rows_by_ear(data, measured)}
    assert [len(pairs) for pairs in rows.values()] == [4, 4, 4, 4]
    own, random, uncertain, certain = rows.values()
    for pair, control in zip(own, random, strict=True):
        assert pair["picture"] == control["picture"]
        assert pair["sound"] != control["sound"]
        assert (control["key"], control["tags"]) == ("", ["random track"])
    margins = dict(zip(data.frame["key"], data.frame["margin"], strict=True))
    keys = [[margins[pair["key"]] for pair in pairs] for pairs in (uncertain, certain)]
    assert max(keys[0]) < min(keys[1])
    order = re.findall(r'<section id="(\w+)"', text)
    assert order == re.findall(r'href="#(\w+)"', text)
    places = read_map(data.store, data.frame["key"].to_list())
    assert places is not None
    assert len(np.unique(places, axis=0)) > len(data) / 2


def test_the_picture_of_the_report_shows_the_present_one(project: Path) -> None:
    """`data_cards/report.png` says which version of the report it shows (docs/pictures.py)."""
    with Image.open(project / "data_cards" / "report.png") as picture:
        assert picture.info["report"] == f"version {STAGE.version}"


def test_the_gallery_escapes_texts_from_the_data(site_shards: Path) -> None:
    data = open_shards(site_shards).filter(key="000012")
    shown = gallery(data)
    part = environment().from_string(
        '{% for p in gallery %}<p title="{{ p.artwork_caption }}">{{ p.artwork_credit }}'
        "{% endfor %}"
    )
    drawn = part.render(gallery=shown)
    assert [tag for tag, _ in Page(drawn).tags] == ["p"]
    assert "&lt;script&gt;" in drawn


def test_each_name_bar_and_cell_leads_to_its_pairs(text: str, built: Workspace) -> None:
    data = open_shards(built.shards)
    table, found = catalogue_of(data), {}
    for address in {tag["href"] for name, tag in Page(text).tags if name == "a"}:
        if address.startswith("http://127.0.0.1:8000/?"):
            query = query_of(parse_qsl(urlsplit(address).query))
            found[urlsplit(address).query] = int(table.rows(query).sum())
    assert min(found.values()) >= 1
    styles = data.frame["artwork_style"].drop_nulls().value_counts(name="n")
    assert found["style=cubism"] == dict(styles.iter_rows())["cubism"]
    for name in ("year=", "tempo=", "where=musical_key"):  # each pair is in one bar
        bars_of = [count for query, count in found.items() if query.startswith(name)]
        assert sum(bars_of) == len(data), name
    cells = [query for query in found if "style=" in query and "music_genre=" in query]
    assert sum(found[query] for query in cells) == len(data)


def test_a_chart_escapes_its_labels() -> None:
    hostile = "</text><script>x</script>"
    for svg in (
        bars({hostile: 3}, alt=hostile),
        bars({"a": 3}, alt="bars", link=lambda _: f'" onclick="x{hostile}'),
        histogram_chart([1.0, 2.0], label=hostile, alt=hostile),
        heat_map([hostile], [hostile], pl.DataFrame({"a": [1]}).to_numpy(), alt=hostile),
    ):
        assert "<script" not in svg
        assert all("onclick" not in attributes for _, attributes in Page(svg).tags)


def test_text_in_charts_can_be_read_on_a_phone(text: str) -> None:
    room = 390 - 2 * 16 - 2 * 17  # CSS pixels beside the page's and a card's margins
    charts = re.findall(r'<svg role="(?:img|group)".*?</svg>', text, re.DOTALL)
    for chart in charts:
        units = float(re.findall(r'viewBox="0 0 ([\d.]+)', chart)[0])
        sizes = [float(size) for size in re.findall(r"font(?:-size)?: ([\d.]+)px", chart)]
        # A chart that keeps its size is scrolled; any other is as wide as its card.
        scale = 1.0 if f'style="width:{units:.0f}px"' in chart else room / units
        assert min(sizes) * scale >= 11
    assert len(charts) >= 12


def test_a_build_ends_with_its_cards_which_verify_lets_be(built: Workspace, tmp_path: Path) -> None:
    write_cards(built.shards, tmp_path)
    for name in CARDS:
        assert (built.shards / name).read_bytes() == (tmp_path / name).read_bytes()
    assert verify(built.shards) == []
