"""A dataset as an object: what it shows of itself, what its brackets take, and its other forms."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

import artsound
from artsound.errors import BadData, BadUsage
from artsound.extras import install_command
from artsound.shards.dataset import Dataset
from artsound.shards.index import sample_fields
from artsound.shards.sidecar import write_sidecar
from artsound.shards.subset import write_subset
from artsound.untrusted import read_array

SMALL = {"image_size": 32, "sample_rate": 16_000, "audio_seconds": 0.5}


@pytest.fixture
def data(shards: Path) -> Dataset:
    return artsound.open(shards)


def keys(samples: Any) -> list[str]:
    return [sample["__key__"] for sample in samples]


def test_a_dataset_prints_as_one_line(data: Dataset) -> None:
    assert repr(data) == "Dataset('stripes', 45 pairs, 7 shards, train 37, val 4, test 4)"
    assert repr(data.split("val")) == "Dataset('stripes', 4 pairs, 1 shard, val 4)"
    assert repr(data[:0]) == "Dataset('stripes', 0 pairs, 0 shards)"


def test_columns_are_those_of_the_frame(data: Dataset) -> None:
    assert data.columns == data.frame.columns
    assert {"key", "split", "track_genre"} <= set(data.columns)


def test_a_key_gives_the_sample_that_has_it(data: Dataset) -> None:
    key = data.frame["key"][7]
    assert data[key]["key"] == key
    assert np.array_equal(data[key]["image"], data[7]["image"])
    assert data.position(key) == 7
    assert key in data
    chosen = data.split("test")
    assert key not in chosen
    for other in (key, "7", ""):
        with pytest.raises(KeyError, match="no sample"):
            chosen[other]


def test_a_slice_is_a_dataset_of_those_samples(data: Dataset) -> None:
    names = data.frame["key"].to_list()
    for part in (slice(2, 9), slice(-3, None), slice(None, None, 7), slice(40, 99), slice(9, 2)):
        assert data[part].frame["key"].to_list() == names[part]
    assert (
        data.split("val")[1:3].frame["key"].to_list()
        == data.split("val").frame["key"][1:3].to_list()
    )
    assert data[3:5].asked == ("samples 3 to 5 by 1",)
    with pytest.raises(BadUsage, match="positive step"):
        data[::-1]
    for wrong in (1.5, None, ("a", "b")):
        with pytest.raises(TypeError):
            data[wrong]  # type: ignore[call-overload]


def test_pandas_gets_the_same_rows(data: Dataset) -> None:
    chosen = data.split("val")
    frame = chosen.to_pandas()
    assert list(frame.columns) == data.columns
    assert frame["key"].tolist() == chosen.frame["key"].to_list()
    assert frame["artwork_year"].tolist() == chosen.frame["artwork_year"].to_list()
    assert [list(tags) for tags in frame["artwork_tags"]] == chosen.frame["artwork_tags"].to_list()


def test_without_pandas_the_command_that_installs_it_is_named(shards: Path) -> None:
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        f"import artsound; data = artsound.open({str(shards)!r})\n"
        "try: data.to_pandas()\n"
        "except artsound.BadUsage as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"This needs pandas: {install_command(package='pandas')}\n"


def test_options_for_a_file_system_are_refused_where_there_is_none(shards: Path) -> None:
    with pytest.raises(BadUsage, match=r"takes no storage_options \(anon\)"):
        artsound.open(shards, storage_options={"anon": True})
    with pytest.raises(BadUsage, match="takes no storage_options"):
        artsound.open("http://127.0.0.1:9/shards", storage_options={"anon": True})
    with pytest.raises(TypeError, match="cache"):
        artsound.open(shards, cache="x")  # type: ignore[call-arg]


def test_a_list_of_ids_opens_the_shards_it_was_chosen_from(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_subset(shards, Path("ids.npy"), artwork_style=("Cubism",), top=5)
    monkeypatch.chdir("/")
    data = artsound.open(tmp_path / "ids.npy")
    expected = artsound.open(shards).filter(artwork_style="Cubism").top(5)
    assert data.frame.equals(expected.frame)
    assert data.asked == ("artwork_style=('Cubism',)", "top 5 by score")
    assert data.read(0) == expected.read(0)


def test_a_list_of_ids_and_its_shards_may_move_together_or_be_named(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    write_subset(make({"train": [4]}, "old/shards"), tmp_path / "old" / "ids.npy", top=2)
    (tmp_path / "old").rename(tmp_path / "new")
    path = tmp_path / "new" / "ids.npy"
    assert len(artsound.open(path)) == 2
    (tmp_path / "new/shards").rename(tmp_path / "elsewhere")
    with pytest.raises(BadData, match="give their place as source"):
        artsound.open(path)
    (tmp_path / "new" / "ids.json").unlink()
    with pytest.raises(BadUsage, match="as source"):
        artsound.open(path)
    moved = artsound.open(path, source=tmp_path / "elsewhere")
    assert len(moved) == 2
    assert moved.asked == (f"the 2 ids of {path}",)
    others = make({"train": [4]}, "others", first=500)
    with pytest.raises(BadData, match="has no sample"):
        artsound.open(path, source=others)
    np.save(path, np.array([1.5]))
    with pytest.raises(BadUsage, match="neither a key nor a track id"):
        artsound.open(path, source=others)
    path.write_bytes(b"no array")
    with pytest.raises(BadData, match="no list of ids"):
        artsound.open(path, source=others)
    with pytest.raises(BadUsage, match="There is no list"):
        artsound.open(tmp_path / "none.npy")


def test_a_webdataset_pipeline_gives_the_bytes_of_just_these_samples(data: Dataset) -> None:
    chosen = data.split("train").filter(artwork_style="Cubism")
    found = list(chosen.webdataset())
    assert keys(found) == chosen.frame["key"].to_list()
    for position, sample in enumerate(found):
        expected = chosen.read(position)
        assert {name for name in sample if not name.startswith("__")} == {"jpg", "mp3", "json"}
        assert (sample["jpg"], sample["mp3"]) == (expected["jpg"], expected["mp3"])
        assert sample_fields(sample["json"]) == expected["json"]
        assert Path(sample["__url__"]).is_file()


def test_a_webdataset_pipeline_takes_what_follows_in_webdataset(data: Dataset) -> None:
    pairs = data.split("val").webdataset().decode("rgb8").to_tuple("jpg", "json")
    assert [fields["key"] for _, fields in pairs] == data.split("val").frame["key"].to_list()
    assert next(iter(pairs))[0].shape == (64, 96, 3)
    ours = data.split("val").webdataset(decode=SMALL)
    for position, sample in enumerate(ours):
        whole = data.split("val")[position]
        assert sample["image"].shape == (32, 32, 3)
        assert sample["audio"].shape == (8_000,)
        assert sample["artwork_caption"] == whole["artwork_caption"]


@pytest.mark.parametrize("workers", [0, 2])
def test_webdataset_workers_share_the_samples(data: Dataset, workers: int) -> None:
    pipeline = data.webdataset(shuffle=20, seed=3)
    loader = webdataset.WebLoader(pipeline, batch_size=None, num_workers=workers)
    found = keys(loader)
    assert sorted(found) == data.frame["key"].to_list()
    assert found != sorted(found)


def test_a_webdataset_order_is_fixed_by_its_seed_and_differs_from_pass_to_pass(
    data: Dataset,
) -> None:
    one, same, other = (data.webdataset(shuffle=20, seed=seed) for seed in (1, 1, 2))
    first = keys(one)
    assert keys(same) == first
    assert keys(other) != first
    second = keys(one)
    assert second != first
    assert sorted(second) == sorted(first)
    assert keys(same) == second


def test_webdataset_nodes_share_the_shards(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    found = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        found.append(keys(data.webdataset(shuffle=5)))
    assert all(found)
    assert sorted(found[0] + found[1]) == data.frame["key"].to_list()


def test_a_webdataset_pipeline_joins_the_members_of_both_datasets(
    data: Dataset, tmp_path: Path
) -> None:
    def lengths(sample: dict[str, Any]) -> dict[str, np.ndarray]:
        return {"latent": np.array([len(sample["jpg"])])}

    write_sidecar(data, tmp_path / "latents", lengths, settings={})
    joined = data.join(artsound.open(tmp_path / "latents")).split("val")
    for raw, decoded in zip(joined.webdataset(), joined.webdataset(decode=SMALL), strict=True):
        assert read_array(raw["latent.npy"]).tolist() == [len(raw["jpg"])]
        assert decoded["latent"].tolist() == [len(raw["jpg"])]


def test_wrong_options_of_a_webdataset_pipeline_are_named(data: Dataset) -> None:
    with pytest.raises(BadUsage, match="shuffle is -1"):
        data.webdataset(shuffle=-1)
    with pytest.raises(BadUsage, match="image_sise"):
        data.webdataset(decode={"image_sise": 3})
    with pytest.raises(TypeError, match="shufle"):
        data.webdataset(shufle=3)  # type: ignore[call-arg]


def test_a_webdataset_pipeline_notices_a_shard_that_was_cut(make: Callable[..., Path]) -> None:
    folder = make({"train": [3, 3]})
    data = artsound.open(folder)
    shard = folder / "artsound-train-000001.tar"
    shard.write_bytes(shard.read_bytes()[:4096])
    with pytest.raises(BadData, match="ends before byte"):
        list(data.webdataset())
