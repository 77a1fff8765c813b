from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import artsound
from artsound.cli import app
from artsound.errors import BadData, BadUsage
from artsound.reports import bench, judging
from artsound.shards.dataset import Dataset


@pytest.fixture(scope="module")
def data(site_shards: Path) -> Dataset:
    return artsound.open(site_shards)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_ranks_are_those_of_a_sorted_list_with_ties_in_the_middle() -> None:
    rng = np.random.default_rng(0)
    x, y = unit(rng.standard_normal((30, 4))), unit(rng.standard_normal((30, 4)))
    order = np.argsort(-(x @ y.T), axis=1)
    assert (
        bench.partner_ranks(x, y) == np.argmax(order == np.arange(30)[:, None], axis=1) + 1
    ).all()
    same = np.tile(np.eye(1, 4, dtype=np.float32), (30, 1))
    assert (bench.partner_ranks(same, same) == 15.5).all()


def test_measures_are_those_of_their_definitions_and_blank_where_k_says_nothing() -> None:
    ranks, everyone = np.array([1.0, 2.0, 4.0, 11.0]), np.arange(4)
    found = bench.measures(np.repeat(ranks, 5), [np.arange(20), np.arange(20)])
    assert (found["r1"], found["r5"], found["r10"]) == (0.25, 0.75, 0.75)
    assert found["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 4 + 1 / 11) / 4)
    assert found["ndcg"] == pytest.approx((1 + 1 / np.log2(3) + 1 / np.log2(5)) / 4)
    assert found["median_rank"] == 3.0
    few = bench.measures(ranks, [everyone, everyone])
    assert (few["pool"], few["r1"], few["r5"], few["r5_interval"]) == (4, 0.25, None, None)


def test_intervals_are_wider_where_few_artists_made_the_pairs() -> None:
    ranks = np.repeat([1.0, 9.0], 50)
    alone, few = np.arange(100), np.arange(100) // 25

    def width(numbers: np.ndarray) -> float:
        low, high = bench.measures(ranks, [numbers, np.arange(100)])["r1_interval"]
        assert low <= 0.5 <= high
        return float(high - low)

    assert width(few) > 2 * width(alone)


def test_galleries_nest_and_begin_with_as_many_artists_as_they_can() -> None:
    frame = pl.DataFrame({
        "artwork_id": [f"a{n // 2}" if n < 4 else f"b{n}" for n in range(40)],
        "track_id": [f"t{n}" for n in range(40)],
        "painter_id": [f"p{n % 8}" for n in range(36)] + [""] * 4,
        "musician_id": list(range(10)) * 4,
    })  # fmt: skip
    whole = bench.gallery(frame, 0, seed=1)
    assert len(whole) == 38  # two artworks occur twice
    assert frame[whole.tolist()]["artwork_id"].n_unique() == 38
    first = bench.gallery(frame, 6, seed=1)
    assert (first == whole[:6]).all()
    assert (first != bench.gallery(frame, 6, seed=2)).any()
    known = [painter for painter in frame[first.tolist()]["painter_id"] if painter]
    assert len(set(known)) == len(known)
    with pytest.raises(BadUsage, match="A gallery of 39 needs as many pairs"):
        bench.gallery(frame, 39, seed=1)


def test_a_system_that_orders_as_the_judges_do_is_always_right(data: Dataset) -> None:
    rng = np.random.default_rng(0)
    rows, others = (unit(rng.standard_normal((len(data), 8))) for _ in range(2))
    trials = [trial for block in judging.trials(data) for trial in block][:30]
    scores = np.array([rows[trial.artwork] @ others[trial.track] for trial in trials])
    frame = data.frame
    keys = frame["key"].to_list()
    said = [
        {
            "judge": judge, "artwork_key": keys[trial.artwork], "track_key": keys[trial.track],
            "index_sha256": data.index_sha256, "verdict": "", "control": trial.control,
            "rating": 1 + int(np.searchsorted(np.quantile(scores, (0.3, 0.6, 0.9)), score)),
        }
        for judge in ("ada", "bea") for trial, score in zip(trials, scores, strict=True)
    ]  # fmt: skip
    judgements = pl.DataFrame(said)
    system = bench.System("same", rows, others)
    found = bench.preference_accuracy(data, system, judgements, draws=50)
    assert (found["accuracy"], found["judges"], found["trials"]) == (1.0, 2, 30)
    opposite = bench.System("opposite", rows, -others)
    assert bench.preference_accuracy(data, opposite, judgements, draws=50)["accuracy"] == 0.0
    other = judgements.with_columns(index_sha256=pl.lit("0" * 64))
    with pytest.raises(BadData, match="is of this release"):
        bench.preference_accuracy(data, system, other)


def test_the_command_measures_files_and_writes_a_task(
    site_shards: Path, data: Dataset, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((len(data), 16))
    np.save(tmp_path / "a.npy", rows)
    np.save(tmp_path / "t.npy", rows + 0.01 * rng.standard_normal(rows.shape))
    files = ["--artwork-rows", str(tmp_path / "a.npy"), "--music-rows", str(tmp_path / "t.npy")]
    asked = ["bench", str(site_shards), *files, "--split", "train", "--gallery", "20"]
    written = ["--out", str(tmp_path / "b.json"), "--task", str(tmp_path / "task"), "--json"]
    done = CliRunner().invoke(app, [*asked, *written])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "b.json").read_text())
    assert json.loads(done.stdout) == found
    table = bench.bench_table(found)
    assert "measures agreement with affect, not with people" in table
    assert "| a.npy and t.npy | 20 | music | 1.000 [1.000, 1.000] |" in table
    both = found["systems"]["a.npy and t.npy"]["galleries"]["20"]
    assert both["artwork_to_music"]["r1"] == both["music_to_artwork"]["mrr"] == 1.0
    tables = {
        name: datasets.load_dataset(
            str(tmp_path / "task"), name, split="test", cache_dir=str(tmp_path / "cache")
        )
        for name in datasets.get_dataset_config_names(str(tmp_path / "task"))
    }
    assert tables.keys() == {"queries", "corpus", "qrels"}
    assert tables["qrels"]["query-id"][:] == tables["queries"]["id"][:]
    assert tables["qrels"]["corpus-id"][:] == tables["corpus"]["id"][:]
    assert tables["queries"][0]["image"].format == "JPEG"
    assert isinstance(tables["corpus"].features["audio"], datasets.Audio)
    compile((tmp_path / "task" / "artsound_task.py").read_text(), "task", "exec")


def test_the_task_runs_in_mteb_with_the_same_figures(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mteb = pytest.importorskip("mteb", reason="mteb is not installed (an environment of its own)")
    for name in ("HF_HOME", "MTEB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((len(data), 16))
    sides = unit(rows), unit(rows + 1.5 * rng.standard_normal(rows.shape))
    found = bench.bench(data, [bench.System("rows", *sides)], split="train", sizes=[20])
    bench.write_task(data, tmp_path / "task", found, size=20)
    spec = importlib.util.spec_from_file_location("task", tmp_path / "task" / "artsound_task.py")
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    task = module.ArtSoundI2ARetrieval()
    assert task.metadata.is_filled() or task.metadata.reference is task.metadata.date is None

    class Rows:
        """Searches by the same rows, after a look at the decoded media."""

        mteb_model_meta = mteb.get_model_meta("mteb/baseline-random-encoder")

        def index(self, corpus: Any, **_: Any) -> None:
            assert corpus[0]["audio"].get_all_samples().data.shape[-1] > 16_000
            self.corpus = corpus["id"]

        def search(self, queries: Any, **_: Any) -> Any:
            assert min(queries[0]["image"].size) > 16
            keys = data.frame["key"].to_list()
            artworks = sides[0][[keys.index(one.partition("-")[2]) for one in queries["id"]]]
            tracks = sides[1][[keys.index(one.partition("-")[2]) for one in self.corpus]]
            return {
                query: dict(zip(self.corpus, map(float, scores), strict=True))
                for query, scores in zip(queries["id"], artworks @ tracks.T, strict=True)
            }

    (result,) = mteb.evaluate(Rows(), task, cache=None).task_results
    ours = found["systems"]["rows"]["galleries"]["20"]["artwork_to_music"]
    assert 0.2 < ours["ndcg"] < 0.95
    (theirs,) = result.scores["test"]
    for own, name in (("ndcg", "ndcg_at_10"), ("r1", "recall_at_1"), ("r5", "recall_at_5")):
        assert theirs[name] == pytest.approx(ours[own], abs=1e-4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("rows", "r1"),
    [
        (lambda rows: rows, 1.0),
        (lambda rows: 1e300 * rows, 1.0),
        (lambda rows: 1e-300 * rows, 1.0),
        (np.ones_like, 0.05),  # the same order for all: one finds its partner
        (lambda rows: -rows, 0.0),
        (lambda rows: 0 * rows, "rows of zeros .*the first of them row 0"),
        (lambda rows: np.where(np.arange(len(rows))[:, None] == 7, np.nan, rows), "row 7"),
        (lambda rows: rows[:3], "give a row of real numbers for each of the 50 pairs"),
        (lambda rows: rows[:, 0], "give a row of real numbers"),
        (lambda rows: rows[:, :0], "rows of zeros"),
        (lambda rows: rows.astype(complex), "give a row of real numbers"),
        (lambda rows: np.array([{}] * len(rows), dtype=object), "cannot be read"),
        (lambda rows: rows[:, :2], "both need one space"),
    ],
)
def test_rows_of_a_file_are_measured_or_refused_with_a_remedy(
    data: Dataset, tmp_path: Path, rows: Callable[[np.ndarray], np.ndarray], r1: float | str
) -> None:
    music = np.random.default_rng(0).standard_normal((len(data), 8))
    np.save(tmp_path / "a.npy", rows(music))
    np.save(tmp_path / "m.npy", music)
    files = tmp_path / "a.npy", tmp_path / "m.npy"
    if isinstance(r1, str):
        with pytest.raises(BadData, match=r1):
            bench.files_system(data, *files)
        return
    found = bench.bench(data, [bench.files_system(data, *files)], split="train", sizes=[20])
    json.dumps(found, allow_nan=False)
    (system,) = found["systems"].values()
    assert system["galleries"]["20"]["artwork_to_music"]["r1"] == r1


def test_systems_and_galleries_that_cannot_be_measured_are_refused(
    site_shards: Path, data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(BadUsage, match="is no build"):
        bench.bridge_system(data, tmp_path, "affect")
    for size, fault in (
        (10**6, "A gallery of 1,000,000 needs as many"),
        (0, "not 0"),
        (-3, "not -3"),
    ):
        with pytest.raises(BadUsage, match=f"{fault}.*choose (a smaller|another) --gallery"):
            bench.bench(data, [], split="train", sizes=[size])
    with pytest.raises(BadUsage, match="--seed -1 is negative"):
        bench.bench(data, [], split="train", seed=-1)
    with pytest.raises(BadUsage, match=r"in the split 'tset': choose one of .*train"):
        bench.bench(data, [], split="tset")
    with pytest.raises(BadUsage, match=r"There is no .*judgements --publish"):
        bench.read_judged(tmp_path / "none.parquet")
    # Before the system is computed, which would be an error, too.
    late = ["bench", str(site_shards), "--encoder", "none", "--split", "train"]
    for wrong, fault in (
        (["--task", str(site_shards)], "is in use"), (["--gallery", "9999"], "choose a smaller"),
        (["--judgements", str(tmp_path)], "no judgements"), (["--seed", "-1"], "is negative"),
    ):  # fmt: skip
        assert fault in str(CliRunner().invoke(app, [*late, *wrong]).exception)
    done = CliRunner().invoke(app, ["bench", str(site_shards)])
    assert done.exit_code == 2 or "Say what to measure" in str(done.exception)


def test_a_split_that_shares_an_artist_with_another_is_refused(data: Dataset) -> None:
    frame = data.frame.with_columns(painter_id=pl.lit("one"))
    if frame["split"].n_unique() < 2:
        frame = frame.with_columns(
            split=pl.when(pl.int_range(pl.len()) < 9)
            .then(pl.lit("test"))
            .otherwise(pl.lit("train"))
        )
    with pytest.raises(BadData, match="not artist-disjoint"):
        bench.check_disjoint(frame, "test")
