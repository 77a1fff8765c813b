from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest
from starlette.testclient import TestClient
from typer.testing import CliRunner

import artsound
from artsound.cli import app
from artsound.reports.browse import browse_app
from artsound.reports.judging import heard_enough, read_judgements
from artsound.reports.preferences import (
    ComparisonList,
    read_preferences,
    summarise_preferences,
)
from artsound.shards.dataset import Dataset, open_shards
from artsound.shards.index import IndexTable


@pytest.fixture(scope="module")
def data(site_shards: Path) -> Dataset:
    return artsound.open(site_shards)


def _client(shards: Path, folder: Path, **options: Any) -> TestClient:
    site = browse_app(open_shards(shards), save_to=folder, **options)
    return TestClient(site, base_url="http://127.0.0.1", raise_server_exceptions=False)


def test_each_artwork_is_compared_once_with_a_track_of_its_split_on_random_sides(
    data: Dataset,
) -> None:
    comparisons = ComparisonList(data)
    done: list[str] = []
    firsts = 0
    splits, clusters = data.frame["split"], data.frame["track_cluster"]
    while one := comparisons.next("ada", done):
        assert splits[one.artwork] == splits[one.other]
        assert clusters[one.artwork] != clusters[one.other]
        firsts += comparisons.own_first("ada", one)
        done.append(comparisons.keys[one.artwork])
    assert len(set(done)) == len(done) == 50
    assert 12 < firsts < 38
    assert comparisons.next("ada", done, done[3:4]) is None


def test_runners_up_and_another_release_take_part(data: Dataset) -> None:
    ids, tracks = data.frame["artwork_id"].to_list(), data.frame["track_id"].to_list()
    runners = {name: [tracks[(n + 1) % 30]] for n, name in enumerate(ids[:30])}
    sounds = data.index.with_columns(pl.col("audio_sha256").str.replace("^.", "f"))
    other = replace(data, table=IndexTable.of(sounds))
    comparisons = ComparisonList(data, runners, other)
    kinds = {one.against for one in comparisons._comparisons()}
    assert kinds == {"control", "runner-up", "release"}


def _answer(client: TestClient, choose: str, **more: Any) -> dict[str, Any]:
    token = client.get("/api/comparison?judge=ada").json()["token"]
    said = {"judge": "ada", "token": token, "choice": choose, "seconds": 9.0, **more}
    answer = client.post("/api/preference", json=said)
    assert answer.status_code == 200, answer.text
    assert client.post("/api/preference", json=said).status_code == 400  # once only
    done: dict[str, Any] = answer.json()
    return done


def test_choices_are_saved_by_what_was_heard_and_an_answer_can_be_changed(
    site_shards: Path, tmp_path: Path
) -> None:
    client = _client(site_shards, tmp_path)
    shown = client.get("/api/comparison?judge=ada").json()
    assert set(shown) == {"token", "done"}
    a, b = (client.get(f"/trial/{shown['token']}{side}.mp3") for side in ("", ".b"))
    assert a.status_code == b.status_code == 200
    assert a.content[:2] == b.content[:2] == b"\xff\xf3"  # frames, no tags
    for number, choice in enumerate("abn"):
        said = {"a": "a", "b": "b", "n": "none"}[choice]
        assert _answer(client, said, heard_a=5.0, heard_b=4.0) == {"done": number + 1}
    again = _client(site_shards, tmp_path)  # the site was stopped
    back = again.get("/api/comparison?judge=ada&back=2").json()
    assert back["said"] == {"choice": "b"}
    changed = {"judge": "ada", "token": back["token"], "choice": "a", "seconds": 2.0}
    assert again.post("/api/preference", json=changed).json() == {"done": 3}
    kept = read_preferences(tmp_path / "judgements")
    expected = ["own" if (side == "a") == first else "other"
                for side, first in zip("ab", kept["own_first"], strict=False)]  # fmt: skip
    assert kept["choice"].to_list()[:3] == [*expected, "none"]
    assert kept["artwork_key"][1] == kept["artwork_key"][3]
    assert kept["choice"][3] != kept["choice"][1]
    heard = kept.select("heard_own", "heard_other").rows()
    assert heard[:2] == [(5.0, 4.0) if f else (4.0, 5.0) for f in kept["own_first"][:2]]
    assert again.get("/api/comparison?judge=ada&back=9").json()["token"] == ""


@pytest.mark.parametrize(
    "said",
    [
        {"choice": "own"}, {"choice": ""}, {"choice": "a", "heard_a": 1.0, "heard_b": 9.0},
        {"choice": "a", "heard_b": "x"}, {"choice": "a", "seconds": float("inf")}, {"rating": 4},
    ],
)  # fmt: skip
def test_a_choice_that_is_none_or_too_early_is_refused(
    site_shards: Path, tmp_path: Path, said: dict[str, Any]
) -> None:
    client = _client(site_shards, tmp_path)
    token = client.get("/api/comparison?judge=ada").json()["token"]
    body = json.dumps({"judge": "ada", "token": token, **said})
    headers = {"Content-Type": "application/json"}
    assert client.post("/api/preference", content=body, headers=headers).status_code == 400
    assert not (tmp_path / "judgements").exists()


def test_skipped_trials_return_at_the_end_and_a_clip_must_be_heard(
    site_shards: Path, tmp_path: Path
) -> None:
    client = _client(site_shards, tmp_path, min_heard=5.0)
    total = client.get("/api/judging?judge=Ada&split=test").json()["total"]
    order = []
    for number in range(2 * total):
        token = client.get("/api/trial?judge=ada&split=test").json()["token"]
        if not token:
            break
        said = {"judge": "ada", "token": token, "seconds": 1.0}
        if number < 2:
            said |= {"verdict": "skip"}
        else:
            early = client.post("/api/judgement", json={**said, "rating": 3, "heard": 4.9})
            assert early.status_code == 400
            said |= {"rating": 3, "heard": 5.0}
        assert client.post("/api/judgement", json=said).status_code == 200
        order.append(token)
    assert len(order) == total + 2
    about = client.get("/api/judging?judge=ada&split=test").json()
    assert (about["done"], about["min_heard"]) == (total, 5.0)


def test_the_sign_test_counts_each_artwork_once(site_shards: Path, tmp_path: Path) -> None:
    client = _client(site_shards, tmp_path)
    comparisons = ComparisonList(open_shards(site_shards))
    done: list[str] = []
    for _ in range(12):
        token = client.get("/api/comparison?judge=ada").json()["token"]
        one = comparisons.next("ada", done)
        assert one is not None
        done.append(comparisons.keys[one.artwork])
        first = comparisons.own_first("ada", one)
        said = {"judge": "ada", "token": token, "choice": "a" if first else "b", "seconds": 9.0}
        assert client.post("/api/preference", json=said).status_code == 200
    kept = read_preferences(tmp_path / "judgements")
    twice = pl.concat([kept, kept.with_columns(judge=pl.lit("bob"))])
    twice = pl.concat([twice, kept[:2].with_columns(judge=pl.lit("eve"), choice=pl.lit("other"))])
    found = summarise_preferences(twice)["control"]
    assert found["choices"] == {"own": 24, "other": 2, "none": 0}
    assert (found["trials"], found["won"]) == (12, 12)
    assert found["p"] == pytest.approx(binomtest(12, 12).pvalue)
    assert found["interval"][0] == pytest.approx(0.735, abs=1e-3)
    assert summarise_preferences(twice, min_heard=1.0) == {}
    reported = CliRunner().invoke(app, ["judgements", str(tmp_path / "judgements"), "--json"])
    assert json.loads(reported.output)["preferences"]["control"]["won"] == 12
    shown = CliRunner().invoke(app, ["judgements", str(tmp_path / "judgements")])
    assert "100%" in shown.output
    assert max(map(len, shown.output.splitlines())) <= 80


def test_judgements_made_before_heard_was_recorded_are_read(
    site_shards: Path, tmp_path: Path
) -> None:
    client = _client(site_shards, tmp_path)
    token = client.get("/api/trial?judge=ada").json()["token"]
    client.post("/api/judgement", json={"judge": "ada", "token": token, "rating": 4})
    path = next((tmp_path / "judgements").iterdir())
    pq.write_table(pq.read_table(path).drop_columns("heard"), path)
    kept = read_judgements(tmp_path / "judgements")
    assert kept["heard"].to_list() == [-1.0]
    assert heard_enough(kept, 2.0).is_empty()
