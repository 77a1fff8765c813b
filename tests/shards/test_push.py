from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
import duckdb
import fsspec
import mlcroissant
import pandas as pd
import polars as pl
import pytest
import webdataset
from etils import epath
from hub_server import REPO, Hub, hub
from huggingface_hub import constants, hf_hub_download

import artsound
from artsound.errors import BadData, BadUsage
from artsound.reports.card import write_cards
from artsound.shards.index import read_shard_index, shards_of, write_index
from artsound.shards.push import push
from artsound.shards.store import LocalStore, open_system
from artsound.shards.verify import verify
from artsound.shards.withdraw import traces, withdraw
from artsound.storage import sha256_bytes, sha256_file

Make = Callable[..., Path]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir()}


def test_a_folder_arrives_whole_and_a_second_push_sends_nothing(
    shards: Path, tmp_path: Path
) -> None:
    target = tmp_path / "public"
    first = push(shards, str(target), restricted=True)
    assert digests(target) == digests(shards)
    assert first["skipped"] == 0
    again = push(shards, str(target), restricted=True)
    assert (again["skipped"], again["bytes_sent"]) == (first["files"], 0)
    assert verify(target) == []


def test_a_push_that_was_cut_off_is_resumed(shards: Path, tmp_path: Path) -> None:
    target = tmp_path / "public"
    push(shards, str(target), restricted=True)
    (target / "index.json").unlink()
    whole = target / "artsound-train-000001.tar"
    whole.write_bytes(whole.read_bytes()[:1000])
    flipped = target / "artsound-train-000002.tar"
    flipped.write_bytes(b"\1" + flipped.read_bytes()[1:])
    resumed = push(shards, str(target), restricted=True)
    assert resumed["files"] - resumed["skipped"] == 3
    assert digests(target) == digests(shards)


def test_a_pushed_memory_store_is_opened_as_any_other(shards: Path) -> None:
    push(shards, "memory://release/one", restricted=True)
    near, far = artsound.open(shards), artsound.open("memory://release/one")
    assert far.read(11) == near.read(11)


def test_the_index_goes_first_and_comes_last(
    make: Make, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = fsspec.filesystem("memory")
    push(make({"train": [4]}), "memory://release/two", restricted=True)
    sent: list[str] = []
    put = type(system).put_file

    def watched(self: object, local: str, remote: str, **options: object) -> object:
        assert not system.exists("/release/two/index.json")
        sent.append(Path(remote).name)
        return put(self, local, remote, **options)

    monkeypatch.setattr(type(system), "put_file", watched)
    summary = push(shards, "memory://release/two", restricted=True)
    assert sent[-1] == "index.json"
    assert summary["stale"] == []
    assert len(artsound.open("memory://release/two")) == 45


def test_what_may_not_be_passed_on_is_not_pushed_by_accident(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match=r"45 of the 45 samples .* may not be redistributed"):
        push(shards, str(tmp_path / "public"))
    assert not (tmp_path / "public").exists()


def test_a_shard_that_is_not_the_index_s_is_never_pushed(make: Make, tmp_path: Path) -> None:
    folder = make({"train": [3]})
    path = folder / "artsound-train-000000.tar"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BadData, match="verify first"):
        push(folder, str(tmp_path / "public"), restricted=True)


def test_an_unknown_or_unwritable_target_is_one_clear_error(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="nosuch"):
        push(shards, "nosuch://x/y", restricted=True)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadData, match="cannot be written"):
        push(shards, str(tmp_path / "file" / "folder"), restricted=True)


def test_shards_of_an_earlier_release_are_deleted_or_kept_on_request(
    make: Make, tmp_path: Path
) -> None:
    target = tmp_path / "public"
    push(make({"train": [3, 3]}, "old"), str(target), restricted=True)
    (target / "mine.tar").write_bytes(b"")
    (target / "query.json").write_bytes(b"{}")
    new = make({"train": [3]}, "new")
    kept = push(new, str(target), restricted=True, keep_stale=True)
    assert (kept["deleted"], kept["stale"]) == ([], ["artsound-train-000001.tar", "mine.tar"])
    summary = push(new, str(target), restricted=True)
    assert summary["deleted"] == ["artsound-train-000001.tar", "query.json"]
    assert summary["stale"] == ["mine.tar"]  # of no release: left alone, and named
    assert push(new, str(target), restricted=True)["deleted"] == []


@pytest.mark.parametrize("place", ["folder", "memory", "hub"])
def test_no_withdrawn_key_is_left_in_any_file_of_a_target(
    make: Make, tmp_path: Path, repository: Hub, place: str
) -> None:
    target, options = f"hf://datasets/{REPO}", {"endpoint": repository.url, "token": "hf_abc"}
    if place != "hub":
        target, options = (
            {"folder": str(tmp_path / "public"), "memory": "memory://drill"}[place],
            {},
        )
    old = make({"train": [3, 3], "test": [2]}, media=24)
    gone = artsound.open(old).frame.filter(shard="artsound-train-000001.tar")["key"].to_list()
    push(old, target, restricted=True, **options)
    withdraw(old, tmp_path / "next", gone)
    summary = push(tmp_path / "next", target, restricted=True, **options)
    assert summary["deleted"] == ["artsound-train-000001.tar"]
    assert summary["history"] == (place == "hub")
    system, root = open_system(target, **options)
    copy = tmp_path / "copy"
    for path in system.find(root):
        copy.mkdir(exist_ok=True)
        (copy / path.rpartition("/")[2]).write_bytes(system.cat_file(path))
    assert traces(copy, [], gone) == []
    assert not set(gone) & set(artsound.open(target, storage_options=options).frame["key"])
    if place == "hub":
        assert repository.tags == {"v1.0.0": 2, "v2.0.0": len(repository.commits)}
        stored = dict(repository.large)
        repository.commits.append(["notes.txt"])  # a commit of another user
        again = push(tmp_path / "next", target, restricted=True, **options)
        assert (again["bytes_sent"], again["skipped"]) == (0, again["files"])
        assert repository.large == stored
        assert repository.tags["v2.0.0"] == len(repository.commits)  # moved; nothing else was done
        push(tmp_path / "next", target, restricted=True, purge_history=True, **options)
        assert repository.squashed


def test_a_public_push_needs_what_its_publisher_must_say(make: Make, repository: Hub) -> None:
    said = dict.fromkeys(("contact", "takedown", "license"), "x") | {
        "authors": ["Ada"], "date": "2026-12-01"
    }  # fmt: skip
    folder = make({"train": [2]})
    rows = artsound.open(folder).frame.with_columns(
        artwork_redistribute=pl.lit(True), track_redistribute=pl.lit(True)
    )
    shards = shards_of(read_shard_index(LocalStore(folder)))
    target, options = f"hf://datasets/{REPO}", {"endpoint": repository.url, "token": "hf_abc"}
    for name in said:
        less = {other: value for other, value in said.items() if other != name}
        write_index(folder, "set", "", shards, rows.to_arrow(), {"release": less})
        with pytest.raises(BadUsage, match=rf"who publishes it: give {name} in the table"):
            push(folder, target, **options)
    write_index(folder, "set", "", shards, rows.to_arrow(), {"release": said})
    assert push(folder, target, **options)["skipped"] == 0


def test_a_new_repository_is_private_and_a_public_one_takes_no_restricted_release(
    make: Make, repository: Hub
) -> None:
    target, options = f"hf://datasets/{REPO}", {"endpoint": repository.url, "token": "hf_abc"}
    repository.exists, repository.private = True, False
    with pytest.raises(BadUsage, match="is public"):
        push(make({"train": [2]}), target, restricted=True, **options)
    assert repository.files == {}
    repository.exists = False
    push(make({"train": [2]}, "again"), target, restricted=True, **options)
    assert repository.private


def test_free_samples_need_no_flag(make: Make, tmp_path: Path) -> None:
    from artsound.shards.index import read_shard_index, shards_of, write_index
    from artsound.shards.store import LocalStore

    folder = make({"train": [3]})
    free = pl.read_parquet(folder / "index.parquet").with_columns(
        artwork_redistribute=True, track_redistribute=True
    )
    shards = shards_of(read_shard_index(LocalStore(folder)))
    write_index(folder, "free", "", shards, free.to_arrow())
    assert push(folder, str(tmp_path / "public"))["files"] == 3
    with pytest.raises(BadUsage, match="authors, contact, takedown, license, date in the table"):
        push(folder, "s3://bucket/artsound")


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    # The Hub's newer transfer, Xet, has no server that could be run here.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with hub() as state:
        yield state


def test_a_release_reaches_the_hub_in_two_commits_and_is_opened_there(
    shards: Path, repository: Hub
) -> None:
    target = f"hf://datasets/{REPO}"
    options = {"endpoint": repository.url, "token": "hf_abc"}
    first = push(shards, target, restricted=True, **options)
    assert {name: sha256_bytes(data) for name, data in repository.files.items()} == digests(shards)
    assert [len(paths) for paths in repository.commits] == [first["files"] - 1, 1]
    assert repository.commits[-1] == ["index.json"]
    assert push(shards, target, restricted=True, **options)["skipped"] == first["files"]
    assert len(repository.commits) == 2
    assert artsound.open(target, storage_options=options).read(3) == artsound.open(
        str(shards)
    ).read(3)


def test_a_push_to_the_hub_continues_where_it_was_refused(shards: Path, repository: Hub) -> None:
    target = f"hf://datasets/{REPO}/releases/v1"
    options = {"endpoint": repository.url, "token": "hf_abc"}
    repository.refuse_after = 1
    with pytest.raises(BadData, match="push again"):
        push(shards, target, restricted=True, **options)
    repository.refuse_after = 10_000
    assert push(shards, target, restricted=True, **options)["skipped"] > 5
    names = {name.removeprefix("releases/v1/") for name in repository.files}
    assert names == set(digests(shards))


def test_a_shard_that_arrives_damaged_on_the_hub_is_found_out(
    shards: Path, repository: Hub
) -> None:
    repository.damage = True
    with pytest.raises(BadData, match="did not arrive as it was sent"):
        push(shards, f"hf://datasets/{REPO}", restricted=True, endpoint=repository.url, token="x")
    assert "index.json" not in repository.files


def test_other_readers_read_a_pushed_release(shards: Path, tmp_path: Path, repository: Hub) -> None:
    release = tmp_path / "release"
    shutil.copytree(shards, release)
    write_cards(release, release)
    options = {"endpoint": repository.url, "token": "hf_abc"}
    tag = push(release, f"hf://datasets/{REPO}", restricted=True, **options)["tag"]
    page = f"{repository.url}/datasets/{REPO}/resolve/{tag}"
    frame = artsound.open(release).frame
    keys = sorted(frame.filter(split="val")["key"])
    [shard] = frame.filter(split="val")["shard"].unique()

    rows = datasets.load_dataset(
        "webdataset", data_files={"val": [f"{page}/{shard}"]}, split="val",
        cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    assert sorted(rows.select_columns("__key__")["__key__"]) == keys
    read = webdataset.WebDataset(f"pipe:curl -s {page}/{shard}", shardshuffle=False)
    assert [sample["__key__"] for sample in read] == keys
    table = pd.read_parquet(f"{page}/index.parquet")
    assert sorted(table[table.split == "val"].key) == keys
    index = hf_hub_download(
        REPO, "index.parquet", repo_type="dataset", revision=tag, local_dir=tmp_path / "copy",
        **options,
    )  # fmt: skip
    asked = f"select key from '{index}' where artwork_year < 1850 and split = 'val' order by key"
    expected = frame.filter(pl.col("artwork_year") < 1850, split="val")["key"].sort().to_list()
    assert [key for (key,) in duckdb.sql(asked).fetchall()] == expected


def test_a_hub_that_cannot_be_reached_is_one_clear_error(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # the pauses between tries
    options = {"endpoint": "http://127.0.0.1:9", "token": "hf_abc"}
    with pytest.raises(BadData, match=r"index\.json cannot be read: the Hub cannot be reached"):
        artsound.open(f"hf://datasets/{REPO}", storage_options=options)
    with pytest.raises(BadData, match="cannot be written: the Hub cannot be reached"):
        push(shards, f"hf://datasets/{REPO}", restricted=True, **options)


def test_a_sample_of_a_repository_is_read_by_its_own_bytes_alone(
    shards: Path, repository: Hub
) -> None:
    target, options = f"hf://datasets/{REPO}", {"endpoint": repository.url, "token": "hf_abc"}
    push(shards, target, restricted=True, **options)
    near, far = artsound.open(shards), artsound.open(target, storage_options=options)
    row = near.frame.row(3, named=True)
    repository.sent = 0
    assert far.read(3) == near.read(3)
    members = row["jpg_size"] + row["mp3_size"] + row["json_size"]
    assert members <= repository.sent <= members + 3 * 1024  # headers of tar between them


def test_a_table_with_thumbnails_is_pushed_beside_a_release(make: Make, tmp_path: Path) -> None:
    release, target = make({"train": [3, 2], "test": [2]}, media=6), tmp_path / "there"
    rows = artsound.open(release).frame
    free = rows.with_columns(artwork_redistribute=pl.Series([True] * 6 + [False]))
    about = read_shard_index(LocalStore(release))
    write_index(release, "set", "", shards_of(about), free.to_arrow())
    summary = push(release, str(target), restricted=True, viewer=True)
    beside = Path(summary["viewer"])
    before = {path.name: path.read_bytes() for path in beside.iterdir()}
    assert sorted(before) == ["README.md", "test-00000.parquet", "train-00000.parquet"]
    found = datasets.load_dataset(str(beside), cache_dir=str(tmp_path / "cache"))
    assert [rows["key"] for rows in found["train"]] == rows.filter(split="train")["key"].to_list()
    first = found["train"][0]
    assert first["image"].size == (96, 64)
    assert first["track_caption"] == rows["track_caption"][0]
    assert found["test"][1]["image"] is None, "it may not be passed on"
    (beside / "val-00000.parquet").write_bytes(b"of an earlier release")
    push(release, str(target), restricted=True, viewer=True)
    assert {path.name: path.read_bytes() for path in beside.iterdir()} == before


def test_croissant_loads_a_pushed_release_and_never_another(
    shards: Path, tmp_path: Path, repository: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = epath.Path(tmp_path / "cache")
    operations = "mlcroissant._src.operation_graph.operations"
    monkeypatch.setattr(f"{operations}.extract.EXTRACT_PATH", cache / "extract")
    monkeypatch.setattr("mlcroissant._src.core.constants.DOWNLOAD_PATH", cache / "download")
    target, options = f"hf://datasets/{REPO}", {"endpoint": repository.url, "token": "hf_abc"}
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(shards, first)
    write_cards(first, first)
    gone = artsound.open(first).frame["key"][:2].to_list()
    withdraw(first, second, gone, describe=lambda folder: write_cards(folder, folder))
    for folder in (first, second):
        push(folder, target, restricted=True, **options)
        (tmp_path / "croissant.json").write_bytes(repository.files["croissant.json"])
        found = mlcroissant.Dataset(str(tmp_path / "croissant.json"))
        keys = set(artsound.open(folder).frame["key"])
        for name in ("pairs", "images", "audio"):
            assert {row[f"{name}/key"].decode() for row in found.records(name)} == keys
