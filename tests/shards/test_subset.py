from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import artsound
from artsound.errors import BadData, BadUsage
from artsound.shards import dataset
from artsound.shards.subset import write_subset
from artsound.shards.verify import verify
from artsound.storage import sha256_file


def test_ids_are_sorted_and_the_query_is_kept_beside_them(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "ids.npy"
    summary = write_subset(shards, out, artwork_style=("Cubism",), where="score > 0.3", top=5)
    ids = np.load(out)
    frame = artsound.open(shards).frame.filter(
        (pl.col("artwork_style") == "Cubism") & (pl.col("score") > 0.3)
    )
    best = frame.sort("score", "key", descending=[True, False]).head(5)
    assert ids.tolist() == sorted(map(int, best["track_id"]))
    assert summary["samples"] == 5
    query = json.loads((tmp_path / "ids.json").read_text())["query"]
    assert query == ["artwork_style=('Cubism',)", "score > 0.3", "top 5 by score"]


def test_a_view_streams_from_the_original_shards(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "jazz.parquet"
    write_subset(shards, out, track_genre=("Jazz",))
    view = artsound.open(out)
    assert set(view.frame["track_genre"]) == {"Jazz"}
    expected = artsound.open(shards).filter(track_genre="Jazz")
    assert len(view) == len(expected) > 5
    assert view.read(2) == expected.read(2)
    assert view.asked == ("track_genre=('Jazz',)",)
    assert sorted(s["key"] for s in view.stream()) == expected.frame["key"].to_list()


def test_a_view_follows_shards_that_move_with_it_or_are_named(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make({"train": [4]}, "old/shards")
    write_subset(folder, tmp_path / "old" / "view.parquet", top=2)
    (tmp_path / "old").rename(tmp_path / "new")
    assert len(artsound.open(tmp_path / "new/view.parquet")) == 2
    (tmp_path / "new/shards").rename(tmp_path / "elsewhere")
    with pytest.raises(BadData, match="give their place as source"):
        artsound.open(tmp_path / "new/view.parquet")
    moved = artsound.open(tmp_path / "new/view.parquet", source=tmp_path / "elsewhere")
    assert moved.read(0)["key"]
    other = make({"train": [5]}, "other")
    with pytest.raises(BadData, match="changed since"):
        artsound.open(tmp_path / "new/view.parquet", source=other)
    with pytest.raises(BadData, match="not a view"):
        artsound.open(other / "index.parquet")


def test_new_shards_hold_the_same_bytes_and_verify(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "some"
    write_subset(shards, out, where="score > 0.4", pairs_per_shard=6)
    assert verify(out, deep=True) == []
    chosen = artsound.open(shards).filter("score > 0.4")
    copied = artsound.open(out)
    assert len(copied.shards) > 2
    assert {copied.read(i)["key"]: copied.read(i) for i in range(len(copied))} == {
        chosen.read(i)["key"]: chosen.read(i) for i in range(len(chosen))
    }
    assert json.loads((out / "query.json").read_text())["query"] == ["score > 0.4"]
    assert "Chosen by `score > 0.4`." in (out / "README.md").read_text()
    assert (out / "ATTRIBUTION.csv").read_text().startswith("side,id,title")
    again = tmp_path / "again"
    write_subset(shards, again, where="score > 0.4", pairs_per_shard=6)
    assert {p.name: sha256_file(p) for p in out.iterdir()} == {
        p.name: sha256_file(p) for p in again.iterdir()
    }


def test_a_folder_in_use_is_left_alone(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BadUsage, match="is in use"):
        write_subset(shards, tmp_path, top=3)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_rights_policies_ask_both_sides(shards: Path) -> None:
    data = artsound.open(shards)
    assert len(data.rights("any")) == 45
    assert len(data.rights("redistributable")) == 0
    with pytest.raises(BadUsage, match="no rights policy"):
        data.rights("free")


def test_listed_samples_are_left_out_whatever_the_list_s_form(shards: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.array([10, 12]))
    (tmp_path / "ids.txt").write_text("10\n000012\n")
    write_subset(shards, tmp_path / "ids.parquet", where="key in ('000010', '000012')")
    for name in ("ids.npy", "ids.txt", "ids.parquet"):
        summary = write_subset(shards, tmp_path / "rest.npy", exclude=tmp_path / name)
        assert summary["samples"] == 43
        assert not {10, 12} & set(np.load(tmp_path / "rest.npy").tolist())
    with pytest.raises(BadUsage, match="cannot be read"):
        write_subset(shards, tmp_path / "rest.npy", exclude=tmp_path / "nothing.npy")


def test_caps_keep_the_best_of_each(shards: Path) -> None:
    frame = artsound.open(shards).frame
    capped = artsound.open(shards).cap("painter", 2)
    counts = Counter(frame["painter"])
    assert Counter(capped.frame["painter"]) == {name: min(2, n) for name, n in counts.items()}
    for painter, rows in frame.group_by("painter"):
        kept = capped.frame.filter(pl.col("painter") == painter[0])["score"].sort()
        assert kept.to_list() == sorted(rows["score"])[-2:]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=80),
    st.integers(1, 80),
    st.integers(0, 9),
)
def test_a_stratified_draw_keeps_every_share_to_within_one(
    values: list[str], count: int, seed: int
) -> None:
    frame = pl.DataFrame({"key": [f"{n:06d}" for n in range(len(values))], "artwork_style": values})
    found = dataset.drawn(frame, count, seed=seed, by="artwork_style").tolist()
    assert len(found) == len(set(found)) == min(count, len(values))
    taken = Counter(values[at] for at in found)
    for style, total in Counter(values).items():
        assert abs(taken[style] - len(found) * total / len(values)) <= 1


def test_a_draw_is_the_same_for_the_same_seed_and_another_for_another(shards: Path) -> None:
    data = artsound.open(shards)
    draws = [tuple(data.sample(10, seed=seed).rows) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    with pytest.raises(BadUsage, match="no column"):
        data.sample(10, by="styel")


def test_nothing_left_is_reported_and_writes_nothing(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="fulfils the condition"):
        write_subset(shards, tmp_path / "ids.npy", where="score > 2")
    assert list(tmp_path.iterdir()) == []
