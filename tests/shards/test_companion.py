from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import artsound
from artsound.errors import BadData, BadUsage
from artsound.shards.decode import Decode
from artsound.shards.external import index_folder
from artsound.shards.format import write_shard
from artsound.shards.sidecar import write_sidecar
from artsound.shards.verify import verify
from artsound.storage import sha256_file


def sizes(sample: dict[str, Any]) -> dict[str, np.ndarray]:
    return {"latent": np.array([[len(sample["jpg"]), len(sample["mp3"])]], np.float32)}


@pytest.fixture(scope="module")
def latents(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("latents")
    write_sidecar(artsound.open(shards), folder, sizes, settings={"version": 1})
    return folder


def test_companion_shards_mirror_the_originals_and_verify(shards: Path, latents: Path) -> None:
    assert verify(latents) == []
    near, far = artsound.open(shards), artsound.open(latents)
    assert [s.name for s in far.shards] == [s.name for s in near.shards]
    assert far.frame["key"].to_list() == near.frame["key"].to_list()


def test_joined_samples_hold_the_members_of_both_whatever_is_chosen(
    shards: Path, latents: Path
) -> None:
    data = artsound.open(shards).join(artsound.open(latents)).filter(artwork_style="Cubism")
    sample = data.read(2)
    assert set(sample) == {"key", "jpg", "mp3", "json", "latent.npy"}
    options = Decode(image=False, audio=False)
    batches = list(data.stream(batch_size=4, decode=options).loader(workers=2))
    assert sum(len(batch["key"]) for batch in batches) == len(data)
    for batch in batches:
        assert batch["latent"].shape[1:] == (1, 2)
        for key, latent in zip(batch["key"], batch["latent"], strict=True):
            at = data.frame["key"].to_list().index(key)
            assert latent.tolist() == [[len(data.read(at)["jpg"]), len(data.read(at)["mp3"])]]


def test_a_run_that_was_cut_off_is_resumed_and_ends_in_the_same_bytes(
    shards: Path, latents: Path, tmp_path: Path
) -> None:
    data = artsound.open(shards)
    keys = data.frame["key"].to_list()
    made: list[str] = []

    def failing(sample: dict[str, Any]) -> dict[str, np.ndarray]:
        if sample["key"] == keys[19]:
            raise KeyboardInterrupt
        return sizes(sample)

    def counted(sample: dict[str, Any]) -> dict[str, np.ndarray]:
        made.append(sample["key"])
        return sizes(sample)

    with pytest.raises(KeyboardInterrupt):
        write_sidecar(data, tmp_path, failing, settings={"version": 1})
    write_sidecar(data, tmp_path, counted, settings={"version": 1})
    assert sorted(made) == keys[15:]  # two shards, 15 samples, were done
    assert {p.name: sha256_file(p) for p in tmp_path.iterdir()} == {
        p.name: sha256_file(p) for p in latents.iterdir()
    }
    with pytest.raises(BadUsage, match="other settings"):
        write_sidecar(data, tmp_path, sizes, settings={"version": 2})


def test_what_cannot_be_joined_is_named(
    shards: Path, latents: Path, make: Callable[..., Path]
) -> None:
    data, others = artsound.open(shards), artsound.open(latents)
    with pytest.raises(BadUsage, match=r"Both datasets have a \.jpg"):
        data.join(data)
    strangers = artsound.open(make({"train": [3]}, first=900))
    with pytest.raises(BadData, match="has no sample 000900"):
        strangers.join(others).read(0)


def test_an_array_that_is_a_pickle_is_never_loaded(make: Callable[..., Path]) -> None:
    folder = make({"train": [2]})
    data = artsound.open(folder)
    objects = np.array([{"a": 1}], dtype=object)
    with pytest.raises(ValueError, match="Object arrays"):
        write_sidecar(data, folder.parent / "c", lambda _: {"latent": objects}, settings={})


def test_a_key_that_occurs_twice_joins_no_other_sample_s_arrays(tmp_path: Path) -> None:
    folder = tmp_path / "foreign"
    folder.mkdir()
    for shard in "ab":
        samples = [(f"{n:04}", {"txt": f"{shard}{n}".encode()}) for n in range(3)]
        write_shard(folder / f"{shard}.tar", "train", samples)
    index_folder(folder)
    data = artsound.open(folder)
    write_sidecar(
        data, tmp_path / "latents", lambda s: {"latent": np.array([len(s["txt"])])}, settings={}
    )
    joined = data.join(artsound.open(tmp_path / "latents"))
    with pytest.raises(BadData, match="has the key 0000 twice"):
        joined.read(0)
    with pytest.raises(BadData, match="has the key 0000 twice"):
        joined.stream()
