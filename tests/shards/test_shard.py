from __future__ import annotations

import csv
import io
import itertools
import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import artsound
from artsound.encoders.base import save_embeddings
from artsound.errors import BadData
from artsound.recipe import Recipe
from artsound.reports.stats import measured_quality
from artsound.reports.views import Query, catalogue_of
from artsound.schema import arrow_schema
from artsound.shards.push import push
from artsound.shards.release import diff
from artsound.shards.shard import STAGE, plan_shards
from artsound.shards.subset import write_subset
from artsound.shards.verify import verify
from artsound.shards.withdraw import withdraw
from artsound.stage import run_stage
from artsound.storage import (
    Workspace,
    read_parquet,
    sha256_bytes,
    sha256_file,
    store_media,
    write_parquet,
)


@settings(deadline=None)
@given(
    st.sets(st.integers(0, 999_999), max_size=400),
    st.integers(1, 100),
    st.integers(1, 30),
    st.integers(0, 9),
)
def test_a_plan_holds_each_track_once_in_ascending_shards_of_equal_size(
    tracks: set[int], size: int, least: int, seed: int
) -> None:
    plan = plan_shards(list(tracks), pairs_per_shard=size, min_shards=least, seed=seed)
    assert sorted(itertools.chain(*plan)) == sorted(tracks)
    assert plan == plan_shards(
        sorted(tracks, reverse=True), pairs_per_shard=size, min_shards=least, seed=seed
    )
    assert all(shard == sorted(shard) for shard in plan)
    if tracks:
        sizes = [len(shard) for shard in plan]
        assert max(sizes) - min(sizes) <= 1
        assert len(plan) >= min(least, len(tracks))
        assert len(plan) == max(min(least, len(tracks)), round(len(tracks) / size), 1)


def record(name: str, **values: Any) -> dict[str, Any]:
    """A row of a schema with a plain value in every field that is not given."""
    row: dict[str, Any] = {}
    training = {"ai_training": "unknown", "ai_training_source": "licence"}
    for field in arrow_schema(name):
        kind = str(field.type)
        row[field.name] = (
            []
            if kind.startswith("list")
            else {"string": "x", "bool": True}.get(kind, 0.5 if kind in ("float", "double") else 1)
        )
    return row | {name: value for name, value in training.items() if name in row} | values


def make_workspace(
    root: Path,
    pictures: list[bytes],
    clips: list[bytes],
    pairs: int,
    protected: Collection[int] = (),
) -> Workspace:
    """What the stages before `shard` leave, for so many pairs."""
    workspace = Workspace(root)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("art", "track", "pair")}
    looks, sounds, captions = [], [], {"artwork": [], "track": []}
    for n in range(pairs):
        split = "train" if n % 4 else "test"
        one = 2 + n % 4 if n % 4 else n // 4 % 2  # no picture or clip in both splits
        image = pictures[one]
        image_path, image_sha = store_media(workspace, "artworks", image, ".jpg")
        audio_path, audio_sha = store_media(workspace, "tracks", clips[one], ".mp3")
        art = f"painter-{split}_{n}.jpg"
        rows["art"].append(
            record(
                "artwork",
                artwork_id=art,
                painter_id=f"painter-{split}",
                source="sample",
                image_path=image_path,
                image_sha256=image_sha,
                image_phash="0" * 16,
                cluster=art,
                redistribute=n not in protected,
            )
        )
        rows["track"].append(
            record(
                "track",
                track_id=f"{n:06d}",
                split=split,
                source="sample",
                audio_path=audio_path,
                audio_sha256=audio_sha,
                cluster=f"{n:06d}",
                fingerprint="00",
                subset="large",
                artist_id=n % 4,
            )
        )
        rows["pair"].append(
            record(
                "pair",
                track_id=f"{n:06d}",
                artwork_id=art,
                split=split,
                bridge="affect",
                score=n / 100,
                method="sparse",
            )
        )
        looks.append(record("artwork_descriptors", artwork_id=art, palette=["red"]))
        sounds.append(
            record("track_descriptors", track_id=f"{n:06d}", key="A", mode="minor", tempo=120.0)
        )
        for side, item in (("artwork", art), ("track", f"{n:06d}")):
            captions[side].append(
                record("caption", side=side, item_id=item, caption=f"About {item}.")
            )
    write_parquet(workspace.catalog / "artworks.parquet", "artwork", rows["art"])
    write_parquet(workspace.catalog / "tracks.parquet", "track", rows["track"])
    write_parquet(workspace.pairs / "pairs.parquet", "pair", rows["pair"])
    affect = workspace.embeddings / "affect"
    write_parquet(affect / "artworks.parquet", "artwork_descriptors", looks)
    write_parquet(affect / "tracks.parquet", "track_descriptors", sounds)
    write_parquet(workspace.captions / "artworks.parquet", "caption", captions["artwork"])
    write_parquet(workspace.captions / "tracks.parquet", "caption", captions["track"])
    return workspace


RECIPE = Recipe().replaced(shards={"pairs_per_shard": 5})


def digests(workspace: Workspace) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(workspace.shards.iterdir())}


@pytest.fixture
def workspace(tmp_path: Path, pictures: list[bytes], clips: list[bytes]) -> Workspace:
    return make_workspace(tmp_path / "out", pictures, clips, 24)


def test_pairs_become_shards_that_verify_and_name_whom_to_thank(workspace: Workspace) -> None:
    report = run_stage(STAGE, workspace, RECIPE)
    assert (report.items_in, report.items_out) == (24, 24)
    assert verify(workspace.shards) == []
    data = artsound.open(str(workspace.shards))
    assert sorted(map(int, data.frame["track_id"])) == list(range(24))
    names = sorted(path.name for path in workspace.shards.glob("*.tar"))
    assert names == [f"artsound-test-{n:06d}.tar" for n in range(1)] + [
        f"artsound-train-{n:06d}.tar" for n in range(4)
    ]
    sample = data.read(0)["json"]
    assert list(sample) == arrow_schema("sample").names
    assert sample["musical_key"] == "A minor"
    assert sample["track_caption"] == f"About {sample['key']}."
    assert str(sample["score"]) == str(int(sample["key"]) / 100)
    with (workspace.shards / "ATTRIBUTION.csv").open() as file:
        thanked = list(csv.DictReader(file))
    assert len(thanked) == 48
    assert {row["side"] for row in thanked} == {"artwork", "track"}
    assert "| train | 4 | 18 |" in (workspace.shards / "README.md").read_text()


def test_a_second_run_does_nothing_and_a_rebuild_gives_the_same_bytes(
    workspace: Workspace, tmp_path: Path, pictures: list[bytes], clips: list[bytes]
) -> None:
    run_stage(STAGE, workspace, RECIPE)
    before = digests(workspace)
    again = run_stage(STAGE, workspace, RECIPE)
    assert again.parts_skipped == again.parts == 5
    other = make_workspace(tmp_path / "other", pictures, clips, 24)
    run_stage(STAGE, other, RECIPE)
    assert digests(workspace) == digests(other) == before


def test_shards_of_an_earlier_plan_go_when_the_new_index_is_there(workspace: Workspace) -> None:
    run_stage(STAGE, workspace, RECIPE)
    run_stage(STAGE, workspace, RECIPE.replaced(shards={"pairs_per_shard": 100}))
    assert len(list(workspace.shards.glob("*.tar"))) == 2
    assert len(list((workspace.parts / "shard").glob("*.tar"))) == 2
    assert verify(workspace.shards) == []


def test_a_rebuild_that_dies_between_shards_and_index_leaves_no_wrong_index(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_stage(STAGE, workspace, Recipe())
    smaller = Recipe(shards={"pairs_per_shard": 2})

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("artsound.shards.shard.write_index", dies)
        with pytest.raises(KeyboardInterrupt):
            run_stage(STAGE, workspace, smaller)
    with pytest.raises(BadData, match=r"index\.json"):
        artsound.open(str(workspace.shards))
    run_stage(STAGE, workspace, smaller)
    assert verify(workspace.shards) == []


def test_a_sample_says_how_its_pair_caption_picture_and_clip_came_about(
    workspace: Workspace,
) -> None:
    captions = pl.read_parquet(workspace.captions / "tracks.parquet").to_dicts()
    captions[0] |= {"prompt": "Describe it.", "fallback_reason": "repeated"}
    captions[0] |= {"check": "too-long", "agreement": 0.75}
    captions[1] |= {"prompt": "", "fallback_reason": "", "check": "passed", "agreement": -1.0}
    write_parquet(workspace.captions / "tracks.parquet", "caption", captions)
    run_stage(STAGE, workspace, RECIPE)
    data = artsound.open(str(workspace.shards))
    first, second = data["000000"], data["000001"]
    assert first["track_prompt_sha256"] == sha256_bytes(b"Describe it.")
    assert (first["track_caption_fallback"], second["track_caption_fallback"]) == ("repeated", "")
    assert second["track_prompt_sha256"] == ""
    assert (first["track_caption_check"], second["track_caption_check"]) == ("too-long", "passed")
    agreements = data.frame.sort("key")["track_caption_agreement"].to_list()
    assert (agreements[:2], second["track_caption_agreement"]) == ([0.75, None], -1)
    assert data.frame["track_caption_fallback"].to_list().count(None) == 1
    with Image.open(io.BytesIO(data.read(data.position("000000"))["jpg"])) as picture:
        assert (first["image_width"], first["image_height"]) == picture.size
    assert (first["pairing_method"], first["track_captioner_version"]) == ("sparse", "x")


def test_runners_up_and_vectors_follow_the_pairs_into_later_releases(
    workspace: Workspace, tmp_path: Path
) -> None:
    ids = [f"{n:06d}" for n in range(24)]
    vectors = np.arange(72, dtype=np.float16).reshape(24, 3)
    save_embeddings(workspace, "affect", "tracks", "digest", ids, vectors)
    works = read_parquet(workspace.pairs / "pairs.parquet", "pair")["artwork_id"].to_pylist()
    runners = [
        {"track_id": key, "side": side, "place": 1, "item_id": other, "score": 0.5}
        for key in ids for side, other in (("artwork", works[3]), ("track", "000001"))
    ]  # fmt: skip
    write_parquet(workspace.pairs / "runners_up.parquet", "runner_up", runners)
    tables = {"retrieval": True, "embeddings": True, "pairs_per_shard": 5}
    run_stage(STAGE, workspace, Recipe().replaced(shards=tables))
    assert verify(workspace.shards) == []
    frame = artsound.open(str(workspace.shards)).frame
    withdraw(workspace.shards, tmp_path / "next", ["000003"])
    write_subset(workspace.shards, tmp_path / "some", where="key in ('000004', '000005')")
    for folder in (workspace.shards, tmp_path / "next", tmp_path / "some"):
        keys = set(artsound.open(str(folder)).frame["key"])
        assert verify(folder) == []
        found = pl.read_parquet(folder / "embeddings-affect.parquet")
        assert {key: list(row) for key, row in found.iter_rows()} == {
            key: vectors[int(key)].tolist() for key in keys
        }
        near = pl.read_parquet(folder / "retrieval.parquet")
        there = frame.filter(pl.col("key").is_in(list(keys)))["artwork_id"]
        assert set(near["item_id"]) <= {*keys, *there}
        assert (works[3] in set(near["item_id"])) == ("000003" in keys)
    shutil.copy(workspace.shards / "retrieval.parquet", tmp_path / "next" / "retrieval.parquet")
    assert any("does not have" in str(one) for one in verify(tmp_path / "next"))
    run_stage(STAGE, workspace, RECIPE)
    assert not list(workspace.shards.glob("[er]*.parquet"))


def test_media_that_vanished_or_changed_are_rejected_with_a_reason(workspace: Workspace) -> None:
    images = sorted((workspace.media / "artworks").rglob("*.jpg"))
    images[0].unlink()
    images[1].write_bytes(b"something else")
    report = run_stage(STAGE, workspace, RECIPE)
    assert report.failed > 0
    assert report.items_in == report.items_out + report.failed
    rejects = sorted((workspace.parts / "shard").glob("*.rejects.parquet"))
    assert rejects
    assert len(artsound.open(str(workspace.shards))) == report.items_out
    assert verify(workspace.shards) == []


def test_no_pair_at_all_is_a_sentence_and_leaves_the_old_shards(workspace: Workspace) -> None:
    run_stage(STAGE, workspace, RECIPE)
    before = digests(workspace)
    write_parquet(workspace.pairs / "pairs.parquet", "pair", [])
    with pytest.raises(BadData, match="nothing to pack"):
        run_stage(STAGE, workspace, RECIPE)
    assert digests(workspace) == before


def test_what_may_not_be_passed_on_is_withheld_with_ids_digests_and_embeddings(
    tmp_path: Path, pictures: list[bytes], clips: list[bytes]
) -> None:
    workspace = make_workspace(tmp_path / "out", pictures, clips, 24, protected={3, 8, 9})
    ids = [f"{n:06d}" for n in range(24)]
    vectors = np.arange(72, dtype=np.float16).reshape(24, 3)
    save_embeddings(workspace, "affect", "tracks", "digest", ids, vectors)
    recipe = Recipe().replaced(shards={"pairs_per_shard": 5, "withhold": True})
    report = run_stage(STAGE, workspace, recipe)
    assert (report.items_in, report.items_out, report.filtered) == (24, 21, 3)
    assert verify(workspace.shards) == []
    assert push(workspace.shards, str(tmp_path / "public"))["files"] > 6
    withheld = pq.read_table(workspace.shards / "withheld.parquet").to_pylist()
    assert [int(row["track_id"]) for row in withheld] == [3, 8, 9]
    assert withheld[1]["affect_track"] == [24.0, 25.0, 26.0]
    assert all(len(row["image_original_sha256"]) == 64 for row in withheld)
    rejects = read_parquet(workspace.catalog / "rejects.parquet", "reject").to_pylist()
    assert {row["reason"] for row in rejects} == {"rights-withheld"}
    run_stage(STAGE, workspace, RECIPE)
    assert not (workspace.shards / "withheld.parquet").exists()
    assert len(artsound.open(str(workspace.shards))) == 24


def test_a_pair_whose_caption_is_missing_names_the_track(workspace: Workspace) -> None:
    write_parquet(workspace.captions / "tracks.parquet", "caption", [])
    with pytest.raises(BadData, match="track 000000 has no track_caption"):
        run_stage(STAGE, workspace, RECIPE)


def test_index_json_lists_every_shard_with_its_digest(workspace: Workspace) -> None:
    run_stage(STAGE, workspace, RECIPE)
    index = json.loads((workspace.shards / "index.json").read_text())
    assert index["samples"] == 24
    for entry in index["shards"]:
        path = workspace.shards / entry["name"]
        assert entry["sha256"] == sha256_file(path)
        assert entry["bytes"] == path.stat().st_size


def test_pairs_that_judges_found_unfit_are_left_out_and_accounted_for(
    tmp_path: Path, pictures: list[bytes], clips: list[bytes]
) -> None:
    workspace = make_workspace(tmp_path / "w", pictures, clips, 6)
    pairs = read_parquet(workspace.pairs / "pairs.parquet", "pair").to_pylist()
    told = {"rating": 1.0, "ratings": 1, "accepted": 0, "rejected": 1}
    rows = [
        {"key": p["track_id"], "track_id": p["track_id"], "artwork_id": artwork, **told}
        for p, artwork in zip(pairs[:2], (pairs[0]["artwork_id"], "another.jpg"), strict=True)
    ]
    write_parquet(tmp_path / "unfit.parquet", "exclusion", rows)
    recipe = Recipe().replaced(shards={"exclude": str(tmp_path / "unfit.parquet")})
    report = run_stage(STAGE, workspace, recipe)
    assert (report.items_in, report.items_out, report.filtered) == (6, 5, 1)
    assert pairs[0]["track_id"] not in artsound.open(workspace.shards).frame["key"]
    assert verify(workspace.shards) == []


def test_a_release_of_format_1_is_continued_in_todays(
    tmp_path: Path, pictures: list[bytes], clips: list[bytes]
) -> None:
    old = Path(__file__).with_name("format_1")
    workspace = make_workspace(tmp_path / "out", pictures, clips, 24)
    recipe = Recipe().replaced(sources={"base": str(old)}, shards={"pairs_per_shard": 5})
    run_stage(STAGE, workspace, recipe)
    assert verify(workspace.shards, deep=True) == []
    about = json.loads((workspace.shards / "index.json").read_text())
    assert (about["format"], about["version"]) == ("artsound-shards-2", "2.0.0")
    frame = artsound.open(str(workspace.shards)).frame
    assert sorted(frame["key"]) == [f"{n:06d}" for n in range(24)]
    found = diff(str(old), str(workspace.shards))
    assert found.formats == ("artsound-shards-1", "artsound-shards-2")
    assert len(found.added) == 20


def test_measured_quality_is_in_index_and_sample_and_null_where_it_was_not_measured(
    workspace: Workspace,
) -> None:
    path = workspace.catalog / "tracks.parquet"
    rows = pl.read_parquet(path).with_columns(
        snr=pl.when(pl.col("track_id") == "000003").then(pl.lit(12.5)).otherwise(-1.0)
    )
    write_parquet(path, "track", rows.to_dicts())
    run_stage(STAGE, workspace, RECIPE)
    data = artsound.open(str(workspace.shards))
    assert len(data.filter("audio_snr_db > 10")) == 1
    assert data.frame["audio_snr_db"].null_count() == 23
    assert data.frame["image_sharpness"].null_count() == 0  # 0, as this catalogue states
    heard = {data.read(n)["json"]["key"]: data.read(n)["json"]["audio_snr_db"] for n in range(24)}
    assert heard.pop("000003") == 12.5
    assert set(heard.values()) == {-1.0}
    assert verify(workspace.shards) == []
    assert "audio_snr_db" in measured_quality(data.frame)
    louder = Query(ranges={"audio_snr_db": (10.0, None)})
    assert catalogue_of(data).view(louder)["total"] == 1
