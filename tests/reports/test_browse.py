from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shlex
import shutil
import socket
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

import artsound
from artsound.encoders.base import open_encoder, save_embeddings
from artsound.errors import BadData, BadUsage
from artsound.recipe import load_recipe
from artsound.reports import web_guard
from artsound.reports.browse import Site, browse_app, byte_range, listen
from artsound.reports.judging import read_judgements
from artsound.reports.why import why
from artsound.shards.beside import write_beside
from artsound.shards.dataset import open_shards
from artsound.shards.index import IndexTable
from artsound.shards.push import push
from artsound.shards.subset import write_shards
from artsound.shards.verify import verify
from artsound.storage import Workspace, write_bytes
from artsound.untrusted import read_table

Save = Callable[..., Any]


@pytest.fixture
def client(site_shards: Path, tmp_path: Path) -> TestClient:
    app = browse_app(open_shards(site_shards), save_to=tmp_path)
    return TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)


@pytest.fixture
def save(client: TestClient) -> Save:
    return lambda **asked: client.post("/api/save", json=asked)


def _keys(answer: Any) -> set[str]:
    return {pair["key"] for pair in answer.json()["pairs"]}


def test_search_needs_all_words_and_minds_neither_case_nor_accents(client: TestClient) -> None:
    found = client.get("/api/view", params={"q": "DALI striped"}).json()
    assert found["total"] == 15
    assert {pair["painter"] for pair in found["pairs"]} == {"Salvador Dalí"}
    assert client.get("/api/view", params={"q": "dali korin"}).json()["total"] == 0


def test_values_of_one_facet_add_up_and_facets_narrow_one_another(client: TestClient) -> None:
    both = client.get("/api/view?music_genre=Jazz&music_genre=Rock").json()
    one = client.get("/api/view?music_genre=Jazz&music_genre=Rock&split=val").json()
    counts = {f["name"]: dict(map(tuple, f["counts"])) for f in both["facets"]}
    assert both["total"] == counts["music_genre"]["Jazz"] + counts["music_genre"]["Rock"]
    assert counts["split"]["val"] == one["total"] < both["total"]
    assert counts["music_genre"]["Folk"] > 0  # what choosing it as well would add


def test_a_range_finds_what_lies_within_both_bounds(client: TestClient) -> None:
    whole = client.get("/api/view").json()
    year = next(one for one in whole["ranges"] if one["name"] == "year")
    assert sum(year["counts"]) == 50
    some = client.get("/api/view?year=1810..1830&points=0.5..").json()
    assert 0 < some["total"] < 50
    assert all(1810 <= p["artwork_year"] <= 1830 and p["score"] >= 0.5 for p in some["pairs"])
    years = next(one for one in some["ranges"] if one["name"] == "year")
    scores = client.get("/api/view?points=0.5..").json()
    assert sum(years["counts"]) == scores["total"]  # its own bounds do not narrow it
    for bad in ("year=x..", "year=5", "year=1..2..3", "year=--1.."):
        assert client.get(f"/api/view?{bad}").status_code == 400
    for facet in whole["facets"]:  # the value of every facet is a condition as well
        for value, count in facet["counts"]:
            params = {facet["name"]: value, "year": "..1990"}
            shown = client.get("/api/view", params=params).json()["total"]
            assert _of_command(client, params) == shown <= count
    for params in ({"century": "19th century"}, {"score": "0.90 to 1.00"}, {"q": "Stripes 2"}):
        assert _of_command(client, params) == client.get("/api/view", params=params).json()["total"]


def _of_command(client: TestClient, params: dict[str, str]) -> int:
    """How many pairs the command of a view chooses."""
    command = shlex.split(client.get("/api/command", params=params).json()["command"])
    assert command[:2] == ["artsound", "subset"]
    where = command[command.index("--where") + 1] if "--where" in command else ""
    return len(artsound.open(command[2]).filter(where))


def test_any_place_of_a_view_can_be_asked_for(client: TestClient) -> None:
    order = [
        pair["key"] for pair in client.get("/api/view?count=500&sort=-artwork_year").json()["pairs"]
    ]
    some = client.get("/api/view?cards=1&count=3&start=40&sort=-artwork_year").json()
    assert [pair["key"] for pair in some["pairs"]] == order[40:43]
    assert (some["total"], "facets" in some) == (50, False)
    years = [client.get(f"/api/pair/{key}").json()["record"]["artwork_year"] for key in order[:5]]
    assert years == sorted(years, reverse=True)
    assert client.get("/api/view?sort=image_sha256").status_code == 400


def test_thumbnails_are_small_and_not_sent_again(client: TestClient, site_shards: Path) -> None:
    whole = artsound.open(site_shards).filter(key="000014").read(0)["jpg"]
    small = client.get("/thumb/000014.jpg?s=160")
    assert max(Image.open(io.BytesIO(small.content)).size) <= 160
    assert len(small.content) <= len(whole)
    again = client.get("/thumb/000014.jpg?s=160", headers={"If-None-Match": small.headers["etag"]})
    assert again.status_code == 304
    for bad in ("/thumb/000014.jpg?s=5000", "/thumb/x.jpg"):
        assert client.get(bad).status_code == 404


def test_flags_notes_and_saved_views_are_found_again(
    client: TestClient, save: Save, tmp_path: Path, site_shards: Path
) -> None:
    for key, flag, note in (("000011", True, ""), ("000014", False, "<b>loud</b>")):
        assert client.post("/api/note", json={"key": key, "flag": flag, "note": note}).json()
    assert _keys(client.get("/api/view?marked=flagged")) == {"000011"}
    assert _keys(client.get("/api/view?marked=any")) == {"000011", "000014"}
    again = TestClient(
        browse_app(open_shards(site_shards), save_to=tmp_path), base_url="http://127.0.0.1:8000"
    )
    assert again.get("/api/pair/000014").json()["note"] == "<b>loud</b>"
    assert again.get("/api/view").json()["marks"] == {"flagged": 1, "noted": 1}
    again.post("/api/note", json={"key": "000014", "flag": False, "note": " "})
    assert [path.stem for path in (tmp_path / "notes").iterdir()] == ["000011"]
    for bad in ({"key": "x", "flag": True, "note": ""}, {"key": "000011", "flag": 1, "note": ""},
                {"key": "000011", "flag": True, "note": "x" * 2001}):  # fmt: skip
        assert again.post("/api/note", json=bad).status_code == 400
    for kind in ("ids", "view", "shards"):
        save(name=f"jazz-{kind}", kind=kind, query="music_genre=Jazz")
        found = again.get(f"/api/view?saved=jazz-{kind}&count=100")
        assert _keys(found) == _keys(again.get("/api/view?music_genre=Jazz&count=100"))
    listed = [(one["name"], one["kind"]) for one in again.get("/api/view").json()["views"]]
    assert listed == [("jazz-ids", "ids"), ("jazz-shards", "shards"), ("jazz-view", "view")]
    (tmp_path / "views" / "jazz-view.parquet").write_bytes(b"no parquet")
    for name in ("jazz-view", "../up", "none"):
        assert again.get("/api/view", params={"saved": name}).status_code == 400


def test_likeness_maps_and_music_for_a_picture_come_from_the_build_or_the_release(
    built: Workspace, tmp_path: Path
) -> None:
    def site(shards: Path | str) -> TestClient:
        app = browse_app(open_shards(shards), save_to=tmp_path)
        return TestClient(app, base_url="http://127.0.0.1:8000")

    client = site(built.shards)
    frame = artsound.open(built.shards).frame
    key = frame["key"][3]
    for kind in ("picture", "music"):
        alike = client.get(f"/api/view?like={kind}:{key}").json()
        near = [pair["closeness"] for pair in alike["pairs"]]
        assert (alike["pairs"][0]["key"], near[0]) == (key, pytest.approx(1.0, abs=1e-4))
        assert near == sorted(near, reverse=True)
        beside = client.get(f"/api/near/{key}").json()[kind]["pairs"]
        # An artwork of several pairs is shown once.
        others = [pair["key"] for pair in alike["pairs"] if pair["key"] != key]
        assert [pair["key"] for pair in beside] == others[: len(beside)]
        assert len(beside) == 8
    places = np.frombuffer(client.get("/api/map").content, "<u2").reshape(-1, 4)
    assert places.shape == (len(frame), 4)
    assert len(np.unique(places[:, :2], axis=0)) > len(frame) / 2
    half = places[:, 0] < 0.5 * 65535
    asked = {"inside": "artworks:0,0;500,0;500,1000;0,1000", "count": "500"}
    assert _keys(client.get("/api/view", params=asked)) == set(frame["key"].filter(half))
    bits = np.unpackbits(np.frombuffer(client.get("/api/found", params=asked).content, np.uint8))
    assert bits[: len(frame)].tolist() == half.astype(int).tolist()
    assert client.get("/api/at/3").json()["key"] == key
    picture = artsound.open(built.shards).read(3)["jpg"]
    headers = {"Content-Type": "image/jpeg"}
    like = client.post("/api/picture", content=picture, headers=headers).json()["like"]
    fitting = client.get(f"/api/view?like={like}&count=500").json()["pairs"]
    own = next(pair for pair in fitting if pair["key"] == key)
    # The bridge places an artwork among those of its style, which an uploaded picture has not.
    assert own["closeness"] == pytest.approx(own["score"], abs=0.35)
    assert fitting[0]["closeness"] == max(pair["closeness"] for pair in fitting)
    for bad in ("like=file:0", "like=x:1", "like=picture:none", "inside=artworks:1,2;3,4",
                "inside=x:1,1;2,2;3,3", "q=calm&by=smell", "q=calm&by=pictures"):  # fmt: skip
        assert client.get(f"/api/view?{bad}").status_code == 400, bad
    assert client.post("/api/picture", content=b"no picture", headers=headers).status_code == 400
    assert client.post("/api/picture", json={}).status_code == 400

    alone = tmp_path / "release"
    shutil.copytree(built.shards, alone)
    nothing = site(alone).get(f"/api/view?like=picture:{key}")
    assert "shards.embeddings" in nothing.json()["error"]
    none = site(alone).get(f"/api/near/{key}").json()["music"]
    assert (none["pairs"], none["error"]) == (
        [],
        nothing.json()["error"].replace("artworks", "tracks"),
    )
    push(alone, "memory://map/release", restricted=True)  # the map is part of a release
    for place in (str(alone), "memory://map/release"):
        assert site(place).get("/api/map").content == client.get("/api/map").content
    for name in ("map.parquet", "SHA256SUMS"):
        (alone / name).unlink()
    assert "has no map (map.parquet)" in site(alone).get("/api/map").json()["error"]
    rows = read_table(alone / "index.parquet")
    write_beside(built, rows, retrieval=False, embeddings=True, folder=alone)
    from_release = site(alone)
    again = from_release.get(f"/api/view?like=music:{key}").json()["pairs"]
    assert [pair["key"] for pair in again] == [pair["key"] for pair in alike["pairs"]]
    assert from_release.get("/api/map").content == client.get("/api/map").content
    assert (
        from_release.post("/api/picture", content=picture, headers=headers).json()["like"] == like
    )
    push(alone, "memory://near/release", restricted=True)
    far = site("memory://near/release")  # a release on a server: fetched once it is asked for
    offered = far.get(f"/api/near/{key}").json()
    assert offered["fetch"].endswith("kB")
    assert offered["from"] == "memory://near/release"
    for kind in ("picture", "music"):
        own = from_release.get(f"/api/near/{key}").json()[kind]
        assert far.get(f"/api/near/{key}?fetch=1").json()[kind] == own
    assert "fetch" not in far.get(f"/api/near/{key}").json()
    assert far.post("/api/picture", content=picture, headers=headers).json()["like"] == like
    assert (
        far.get(f"/api/view?like={like}").json()
        == from_release.get(f"/api/view?like={like}").json()
    )


def test_words_are_compared_with_pictures_by_an_encoder_that_takes_them(
    built: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTSOUND_ALLOW_CODE", "1")
    shutil.copytree(built.root, tmp_path / "out")
    build = Workspace(tmp_path / "out")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    name = "colour_words:ColourWords"
    recipe = load_recipe(build.recipe).replaced(embed={"image_encoder": name})
    write_bytes(build.recipe, recipe.to_toml().encode())
    data = open_shards(build.shards)
    ids = sorted(set(data.frame["artwork_id"]))
    pictures = {row["artwork_id"]: n for n, row in enumerate(data.frame.to_dicts())}
    opened = open_encoder(name, recipe)
    rows = opened.images([data.read(pictures[one])["jpg"] for one in ids])
    save_embeddings(build, name, "artworks", opened.digest, ids, rows)
    app = browse_app(data, save_to=tmp_path)
    client = TestClient(app, base_url="http://127.0.0.1:8000")
    finder = next(r for r in app.routes if r.path == "/api/view").endpoint.__self__.finder
    finder.likeness.prepare()
    assert client.get("/api/view").json()["by"] == ["pictures"]
    by = {}
    for word in ("light", "dark"):
        found = client.get(f"/api/view?q={word}&by=pictures").json()
        assert found["total"] == len(data)  # words order, and leave nothing out
        by[word] = [pair["key"] for pair in found["pairs"]]
    best = {w: data.frame.row(data.position(keys[0]), named=True) for w, keys in by.items()}
    assert best["light"]["artwork_lightness"] > best["dark"]["artwork_lightness"]


def test_a_condition_in_sql_narrows_and_a_bad_one_is_answered_in_a_sentence(
    client: TestClient, site_shards: Path
) -> None:
    expected = len(artsound.open(site_shards).filter(where="score > 0.5 and artwork_year < 1830"))
    found = client.get("/api/view", params={"where": "score > 0.5 and artwork_year < 1830"})
    assert found.json()["total"] == expected
    for bad in ("nonsense >", "select * from x", "no_such_column = 1"):
        answer = client.get("/api/view", params={"where": bad})
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("The condition")
    assert client.get("/api/view?no_such_facet=1").status_code == 400
    assert client.get("/api/view?sort=sideways").status_code == 400
    assert client.get("/api/view?start=-1").status_code == 400


def test_pages_of_a_view_are_its_pairs_in_order_each_once(client: TestClient) -> None:
    first = client.get("/api/view").json()["pairs"]
    second = client.get("/api/view?start=48").json()["pairs"]
    assert len({pair["key"] for pair in first + second}) == 50
    scores = [pair["score"] for pair in first + second]
    assert scores == sorted(scores, reverse=True)


def test_a_pair_comes_with_its_record_and_those_beside_it_in_the_view(client: TestClient) -> None:
    best = [pair["key"] for pair in client.get("/api/view").json()["pairs"]]
    found = client.get(f"/api/pair/{best[5]}").json()
    assert (found["rank"], found["place"], found["total"]) == (6, 6, 50)
    assert (found["previous"], found["next"]) == (best[4], best[6])
    assert found["record"]["audio_sha256"]
    view = "q=morisot&sort=painter"
    some = [pair["key"] for pair in client.get(f"/api/view?{view}").json()["pairs"]]
    ends = [client.get(f"/api/pair/{key}?{view}").json() for key in (some[0], some[-1])]
    assert (ends[0]["previous"], ends[0]["next"]) == (None, some[1])
    assert (ends[1]["previous"], ends[1]["next"]) == (some[-2], None)
    outside = next(key for key in best if key not in some)
    for address in (f"{outside}?{view}", f"{best[5]}?where=nonsense+%3E", f"{best[5]}?sort=none"):
        assert client.get(f"/api/pair/{address}").json()["total"] == 50
    assert client.get("/api/pair/999999").status_code == 404


def test_the_reasons_of_a_pair_are_those_of_its_build_or_else_of_the_release(
    built: Workspace, tmp_path: Path
) -> None:
    def reasons(shards: Path, key: str) -> Any:
        return TestClient(
            browse_app(open_shards(shards), save_to=tmp_path), base_url="http://127.0.0.1:8000"
        ).get(f"/api/why/{key}")

    row = open_shards(built.shards).frame.row(0, named=True)
    with_build = reasons(built.shards, row["key"]).json()
    derived = why(built.root, row["key"])
    assert with_build["build"]
    assert with_build["parts"] == derived["parts"] != []
    for side, found in with_build["runners_up"].items():
        names = [(one["item_id"], one["score"]) for one in found]
        assert names == [(one["item_id"], one["score"]) for one in derived["runners_up"][side]]
        column = "key" if side == "artwork" else "artwork_id"
        frame = artsound.open(built.shards).frame
        for one in found:
            if one["pair"] is None:  # not in the release
                assert one["item_id"] not in frame[column]
            else:
                its = frame.filter(pl.col("key") == one["pair"]["key"])[column]
                assert its.to_list() == [one["item_id"]]
    assert reasons(built.shards, "no-such").status_code == 404

    alone = tmp_path / "release"
    shutil.copytree(built.shards, alone)
    nothing = {"build": False, "parts": [], "runners_up": {"artwork": [], "track": []}}
    assert reasons(alone, row["key"]).json() == nothing
    runners = pl.read_parquet(built.pairs / "runners_up.parquet").rename({"track_id": "key"})
    runners.write_parquet(alone / "retrieval.parquet")
    from_release = reasons(alone, row["key"]).json()["runners_up"]
    for side, found in with_build["runners_up"].items():  # names are in the build's catalogue
        assert [one.pop("name") for one in found]
        assert all((one.pop("work") is None) == (one["pair"] is not None) for one in found)
        assert [one.pop("work") for one in from_release[side]] == [None] * len(found)
        assert from_release[side] == found
    shutil.copy(built.recipe, tmp_path)  # a recipe beside it, and pairs of another build
    pairs = tmp_path / "pairs" / "pairs.parquet"
    pairs.parent.mkdir()
    others = pl.read_parquet(built.pairs / "pairs.parquet").with_columns(pl.col("score") - 0.1)
    others.write_parquet(pairs)
    assert not reasons(alone, row["key"]).json()["build"]
    pairs.write_bytes(b"no parquet")
    (alone / "retrieval.parquet").write_bytes(b"no parquet")
    assert reasons(alone, row["key"]).json() == nothing


def test_runners_up_outside_the_release_come_from_the_build_to_this_machine_only(
    built: Workspace, tmp_path: Path
) -> None:
    home = tmp_path / "half"
    home.mkdir()
    for one in (built.pairs, built.catalog, built.embeddings, built.recipe):
        (home / one.name).symlink_to(one)
    shutil.copytree(built.root / "media", home / "media", copy_function=os.link)
    whole = artsound.open(built.shards)
    write_shards(whole.pick(range(len(whole) // 2)), home / "shards")
    half = open_shards(home / "shards")

    def site(host: str) -> TestClient:
        app = browse_app(half, save_to=tmp_path, host=host)
        return TestClient(app, base_url="http://127.0.0.1:8000")

    def outside(client: TestClient) -> list[tuple[str, Any]]:
        answers = [client.get(f"/api/why/{key}").json()["runners_up"] for key in half.frame["key"]]
        return [
            ("track" if side == "artwork" else "artwork", one)
            for found in answers
            for side, rows in found.items()
            for one in rows
            if one["pair"] is None
        ]

    client = site("127.0.0.1")
    digests = {
        side: dict(pl.read_parquet(built.catalog / f"{side}s.parquet")[columns].iter_rows())
        for side, columns in (
            ("artwork", ["artwork_id", "title"]),
            ("track", ["track_id", "audio_sha256"]),
        )
    }
    assert {side for side, _ in outside(client)} == {"artwork", "track"}
    for side, one in outside(client):
        assert one["work"]["here"]
        answer = client.get(f"/outside/{side}", params={"id": one["item_id"]})
        if side == "track":
            assert hashlib.sha256(answer.content).hexdigest() == digests[side][one["item_id"]]
            assert answer.headers["content-type"] == "audio/mpeg"
        else:
            assert max(Image.open(io.BytesIO(answer.content)).size) <= 160
            assert one["work"]["artwork_title"] == digests[side][one["item_id"]]
    for address in ("track?id=none", "artwork", "artwork?id=none&s=7", "other?id=1"):
        assert client.get(f"/outside/{address}").status_code == 404
    side, one = outside(client)[0]
    open_to_all = site("0.0.0.0")
    assert not any(other["work"]["here"] for _, other in outside(open_to_all))
    assert open_to_all.get(f"/outside/{side}", params={"id": one["item_id"]}).status_code == 404
    shutil.rmtree(home / "media")
    assert not any(other["work"]["here"] for _, other in outside(client))
    gone = client.get(f"/outside/{side}", params={"id": one["item_id"]})
    assert (gone.status_code, "artsound ingest" in gone.json()["error"]) == (400, True)


def test_media_are_served_whole_by_range_and_not_again_when_cached(
    client: TestClient, site_shards: Path
) -> None:
    whole = artsound.open(site_shards).filter(key="000014").read(0)["mp3"]
    full = client.get("/media/000014.mp3")
    assert (full.status_code, full.content) == (200, whole)
    assert full.headers["accept-ranges"] == "bytes"
    part = client.get("/media/000014.mp3", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    tail = client.get("/media/000014.mp3", headers={"Range": "bytes=-50"})
    assert tail.content == whole[-50:]
    beyond = client.get("/media/000014.mp3", headers={"Range": f"bytes={len(whole)}-"})
    assert beyond.status_code == 416
    kept = client.get("/media/000014.mp3", headers={"If-None-Match": full.headers["etag"]})
    assert (kept.status_code, kept.content) == (304, b"")


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 100))
def test_a_range_is_never_outside_the_file(first: int, last: int, size: int) -> None:
    for header in (f"bytes={first}-{last}", f"bytes={first}-", f"bytes=-{last}", "bytes=a-b"):
        found = byte_range(header, size)
        assert found is None or 0 <= found[0] < found[1] <= size


@pytest.mark.parametrize(
    "path",
    [
        "/page/../browse.py", "/page/..%2fbrowse.py", "/page/%2e%2e/browse.py", "/page//etc/passwd",
        "/media/..%2f..%2findex.json", "/media/000014.json", "/media/000014.tar", "/media/../x.jpg",
        "/trial/..%2fx.jpg", "/index.json", "/shards/index.parquet", "/artsound-train-000000.tar",
        "/page/browse.html", "/pair/../../etc/passwd",
    ],
)  # fmt: skip
def test_nothing_but_the_pages_and_the_pairs_can_be_reached(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "name", ["", "../up", "/etc/x", "a/b", "..", "a.parquet", "A", "x" * 65, ".hidden", "a\0b"]
)
def test_a_view_is_saved_under_a_plain_name_only(save: Save, tmp_path: Path, name: str) -> None:
    answer = save(name=name, kind="view", query="")
    assert answer.status_code == 400
    assert list(tmp_path.rglob("*")) == []


def test_a_view_is_saved_as_ids_as_a_view_or_as_new_shards(
    save: Save, client: TestClient, tmp_path: Path
) -> None:
    query = "q=stripes&music_genre=Jazz"
    shown = _keys(client.get(f"/api/view?{query}"))
    for kind, out in (("ids", "jazz.npy"), ("view", "jazz.parquet"), ("shards", "jazz")):
        answer = save(name="jazz", kind=kind, query=query)
        assert answer.json() == {"path": str(tmp_path / "views" / out), "pairs": len(shown)}
    ids = np.load(tmp_path / "views" / "jazz.npy")
    assert {f"{n:06d}" for n in ids} == shown
    view = artsound.open(tmp_path / "views" / "jazz.parquet")
    assert set(view.frame["key"]) == shown
    assert view.asked == ("search 'stripes'", "music_genre in ['Jazz']")
    copy = artsound.open(tmp_path / "views" / "jazz")
    assert set(copy.frame["key"]) == shown
    assert verify(tmp_path / "views" / "jazz") == []
    again = save(name="jazz", kind="view", query="")
    assert again.status_code == 400
    assert "another name" in again.json()["error"]


def test_only_requests_of_our_own_page_may_write(client: TestClient, tmp_path: Path) -> None:
    asked = {"name": "x", "kind": "ids", "query": ""}
    elsewhere = client.post("/api/save", json=asked, headers={"Origin": "http://evil.example"})
    assert elsewhere.status_code == 403
    form = client.post("/api/save", data=asked)
    long = client.post("/api/save", json={**asked, "query": "q=" + "x" * 70_000})
    listed = client.post("/api/save", json=[1])
    assert {a.status_code for a in (form, long, listed)} == {400}
    assert list(tmp_path.rglob("*")) == []
    own = client.post("/api/save", json=asked, headers={"Origin": "http://127.0.0.1:8000"})
    assert own.status_code == 200


FOREIGN: list[dict[str, str]] = [
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},  # another port of this machine
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:9999"},
    {"Referer": "http://evil.example/page"},
    {"Referer": "http://[::1"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: " ".join(headers.values()))
def test_another_page_can_link_to_the_pages_but_load_nothing(
    client: TestClient, headers: dict[str, str]
) -> None:
    for path in ("/api/view", "/media/000014.jpg", "/page/page.js", "/api/trial?judge=ada"):
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["x-content-type-options"]) == (403, "nosniff")
    link = {**headers, "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/pair/000014", headers=link).status_code == 200
    own = {"Sec-Fetch-Site": "same-origin", "Referer": "http://127.0.0.1:8000/pair/000014"}
    assert client.get("/api/view", headers=own).status_code == 200


def test_malformed_requests_are_answered_with_400(client: TestClient, tmp_path: Path) -> None:
    token = client.get("/api/trial?judge=ada").json()["token"]
    said = f'{{"judge": "ada", "token": "{token}", "rating": 1, "seconds": '
    save = '{"name": "x", "kind": "ids", "query": '
    bodies: list[str | bytes] = [
        said + "NaN}", said + "1" + "0" * 400 + "}", said + "1e999}", said + "1" * 5000 + "}",
        said + "-1" + "0" * 400 + "}", "[" * 60_000, '{"a":' * 10_000, "", "null", b"\xff\xfe{}",
        save + '"' + "&".join(["a=1"] * 1500) + '"}', save + r'"q=\ud800"}',
        save + '"q=' + "x" * 501 + '"}', save + '"where=' + "(" * 1900 + '"}', save + "[[1]]}",
        save + "{}}", save + r'"where=\u0000"}',
    ]  # fmt: skip
    for body in bodies:
        for path in ("/api/judgement", "/api/save"):
            answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 400, (path, body[:80])
            assert answer.json()["error"]
    queries = [
        "start=٣", "start=" + "9" * 5000, "start=-1", "start=1e3", "q=" + "x" * 501,
        "where=lpad(track_title,4000000000,'x')%3D'a'", "where=columns('x')", "where=%00",
        "where=" + "NOT " * 400, "&".join(["music_genre=Jazz"] * 1001), "sort=",
    ]  # fmt: skip
    for query in queries:
        assert client.get(f"/api/view?{query}").status_code == 400, query[:80]
    nines = "9" * 5000
    spans = {f"{nines}-": 416, f"0-{nines}": 200, f"-{nines}": 200, f"{nines}-{nines}": 416}
    for span, status in spans.items():
        answer = client.get("/media/000014.mp3", headers={"Range": f"bytes={span}"})
        assert answer.status_code == status
    assert not (tmp_path / "judgements").exists()
    assert not (tmp_path / "views").exists()


def test_a_fault_of_the_server_is_one_line_with_safe_headers(
    site_shards: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Site, "pair", lambda *_: 1 // 0)
    client = TestClient(browse_app(open_shards(site_shards)), base_url="http://127.0.0.1:8000")
    answer = client.get("/api/pair/000014")
    assert (answer.status_code, answer.headers["x-content-type-options"]) == (500, "nosniff")
    assert capsys.readouterr().err.count("\n") == 1


def test_slow_and_malformed_clients_keep_nobody_waiting(
    site_shards: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(web_guard, "MOST_OPEN", 20)
    app = browse_app(open_shards(site_shards))
    media = b"GET /media/000014.mp3 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    sent = (
        b"GET / HTTP/1.1\r\nHost: 127",
        b"POST /api/note HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 60000\r\n\r\n{",
        (media + b"\r\n") * 400,  # whose answers are not read
        media + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",  # no HTTP behind a request
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 100_000,
    )
    with listen("127.0.0.1", 0) as listener, contextlib.ExitStack() as opened:
        config = uvicorn.Config(
            app, http=web_guard.ImpatientProtocol, backlog=10, log_level="error"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        place = listener.getsockname()
        for request in sent:
            some = [opened.enter_context(socket.create_connection(place)) for _ in range(30)]
            for one in some:
                one.settimeout(60)
                with contextlib.suppress(ConnectionError):
                    one.sendall(request)
            with urllib.request.urlopen(f"http://127.0.0.1:{place[1]}/", timeout=60) as answer:
                assert answer.status == 200
            with contextlib.suppress(ConnectionError):
                while some[0].recv(1 << 16):  # the oldest were closed
                    pass
        server.should_exit = server.force_exit = True
        thread.join(60)
    assert not [one for one in caplog.records if one.exc_info]


def test_a_name_that_leads_to_this_machine_from_elsewhere_is_not_answered(
    client: TestClient,
) -> None:
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/", headers={"Host": "localhost:8000"}).status_code == 200


def test_every_answer_carries_the_policy_that_nothing_foreign_runs(client: TestClient) -> None:
    for path in ("/", "/api/view", "/media/000014.jpg", "/nothing", "/api/view?sort=x"):
        headers = client.get(path).headers
        assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_a_trial_does_not_show_what_it_is(client: TestClient) -> None:
    trial = client.get("/api/trial?judge=ada").json()
    assert set(trial) == {"token", "done"}
    picture = client.get(f"/trial/{trial['token']}.jpg")
    sound = client.get(f"/trial/{trial['token']}.mp3")
    assert picture.content[:2] == b"\xff\xd8"
    assert sound.headers["cache-control"] == "no-store"
    assert "etag" not in sound.headers


def test_judgements_are_added_and_never_written_over(client: TestClient, tmp_path: Path) -> None:
    files: dict[Path, bytes] = {}
    for number in range(6):
        token = client.get("/api/trial?judge=Ada").json()["token"]
        said = {"judge": "ada", "token": token, "rating": 1 + number % 5, "seconds": 2.5}
        assert client.post("/api/judgement", json=said).json() == {"done": number + 1}
        assert client.post("/api/judgement", json=said).status_code == 400  # once only
        for path, data in files.items():
            assert path.read_bytes() == data
        files = {path: path.read_bytes() for path in (tmp_path / "judgements").iterdir()}
        assert len(files) == number + 1
    kept = read_judgements(tmp_path / "judgements")
    assert kept["judge"].to_list() == ["ada"] * 6
    assert kept["rating"].to_list() == [1, 2, 3, 4, 5, 1]
    assert kept.select("artwork_key", "track_key").is_unique().all()


def test_a_judge_continues_after_the_site_was_stopped(site_shards: Path, tmp_path: Path) -> None:
    seen = []
    for _ in range(4):
        app = browse_app(open_shards(site_shards), save_to=tmp_path)
        client = TestClient(app, base_url="http://127.0.0.1")
        trial = client.get("/api/trial?judge=ada&split=train").json()
        seen.append(trial["done"])
        said = {"judge": "ada", "token": trial["token"], "verdict": "accept", "seconds": 1}
        assert client.post("/api/judgement", json=said).status_code == 200
    assert seen == [0, 1, 2, 3]
    kept = read_judgements(tmp_path / "judgements")
    assert kept.select("artwork_key", "track_key").is_unique().all()
    assert kept["view"].to_list() == [["split in ['train']"]] * 4


@pytest.mark.parametrize(
    "said",
    [
        {}, {"rating": 6}, {"rating": 0}, {"rating": "5"}, {"rating": 2.5}, {"verdict": "maybe"},
        {"rating": 3, "seconds": "long"}, {"rating": 3, "judge": "../x"},
        {"rating": 3, "judge": ""},
    ],
)  # fmt: skip
def test_an_answer_out_of_range_is_refused(
    client: TestClient, tmp_path: Path, said: dict[str, Any]
) -> None:
    token = client.get("/api/trial?judge=ada").json()["token"]
    answer = client.post("/api/judgement", json={"judge": "ada", "token": token, **said})
    assert answer.status_code == 400
    assert not (tmp_path / "judgements").exists()


def test_shards_that_are_not_ours_and_a_taken_port_are_reported_in_a_sentence(
    site_shards: Path, tmp_path: Path
) -> None:
    plain = open_shards(site_shards)
    foreign = replace(plain, table=IndexTable.of(plain.index.drop("artwork_style")))
    with pytest.raises(BadData, match="only shards built by artsound"):
        browse_app(foreign)
    with (
        listen("127.0.0.1", 0) as taken,
        pytest.raises(BadUsage, match="choose another --port"),
    ):
        listen("127.0.0.1", taken.getsockname()[1])


def test_a_shard_that_is_gone_is_a_sentence_not_a_crash(site_shards: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(site_shards, tmp_path / "shards")
    client = TestClient(browse_app(open_shards(copy)), base_url="http://127.0.0.1")
    (copy / "artsound-train-000000.tar").unlink()
    answer = client.get("/media/000014.jpg")
    assert answer.status_code == 400
    assert "artsound-train-000000.tar" in answer.json()["error"]
