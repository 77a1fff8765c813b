"""A release continued by another build: what was there stays, what is new is added."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest
from small_builds import run_serially, small_recipe

from artsound.errors import BadData, BadUsage
from artsound.pairing.pair import STAGE as PAIR
from artsound.recipe import load_recipe
from artsound.sample import SamplePaths
from artsound.shards.dataset import open_shards
from artsound.shards.index import read_shard_index
from artsound.shards.release import CHANGELOG, CHANGES, diff
from artsound.shards.store import LocalStore
from artsound.shards.verify import verify
from artsound.shards.withdraw import traces
from artsound.stage import run_stage
from artsound.storage import Workspace, read_parquet, sha256_file

Build = Callable[..., Workspace]


@pytest.fixture(scope="module")
def ids(built: Workspace) -> tuple[list[str], list[str]]:
    """The tracks and artworks that the small build found usable."""
    tracks = read_parquet(built.catalog / "tracks.parquet", "track", ["track_id"])
    artworks = read_parquet(built.catalog / "artworks.parquet", "artwork", ["artwork_id"])
    return (
        tracks["track_id"].to_pylist(),
        artworks["artwork_id"].to_pylist(),
    )


@pytest.fixture(scope="module")
def build(
    sample: SamplePaths, ids: tuple[list[str], list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Build:
    """Builds on some tracks of the small build and all its artworks; `like` spares what is done."""
    folder = tmp_path_factory.mktemp("increment")
    (folder / "artworks.txt").write_text("\n".join(ids[1]))

    def make(
        name: str,
        tracks: Sequence[str],
        base: Path | None = None,
        like: Workspace | None = None,
        without: Sequence[str] = (),
        **places: str,
    ) -> Workspace:
        workspace = Workspace(folder / name)
        if like is not None:
            shutil.copytree(like.root, workspace.root)
        (folder / f"{name}.txt").write_text("\n".join(tracks))
        (folder / f"{name}-without.txt").write_text("\n".join(without))
        sources = {
            "limit": 0,
            "ids": str(folder / f"{name}.txt"),
            "artwork_ids": str(folder / "artworks.txt"),
            "base": str(base or ""),
            "without": str(folder / f"{name}-without.txt") if without else "",
            **places,
        }
        run_serially(workspace, small_recipe(sample).replaced(sources=sources))
        return workspace

    return make


@pytest.fixture(scope="module")
def first(build: Build, built: Workspace, ids: tuple[list[str], list[str]]) -> Workspace:
    return build("first", ids[0][:16], like=built)


@pytest.fixture(scope="module")
def second(
    build: Build, built: Workspace, first: Workspace, ids: tuple[list[str], list[str]]
) -> Workspace:
    return build("second", ids[0], base=first.root, like=built)


def files(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir())}


def tree(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): sha256_file(path) for path in files}


def about(workspace: Workspace) -> dict[str, object]:
    return read_shard_index(LocalStore(workspace.shards))


def test_new_tracks_come_in_new_shards_and_nothing_else_changes(
    first: Workspace, second: Workspace, ids: tuple[list[str], list[str]]
) -> None:
    found = diff(str(first.shards), str(second.shards))
    assert found.added == tuple(ids[0][16:])
    assert found.bump == "minor"
    told = (found.removed, found.moved, found.recaptioned, found.rescored, found.changed)
    assert told == ((), (), (), (), ())
    assert found.repacked == found.shards_gone == ()
    before, after = files(first.shards), files(second.shards)
    assert all(after[name] == before[name] for name in before if name.endswith(".tar"))
    assert set(found.shards_kept) == {name for name in before if name.endswith(".tar")}
    assert verify(second.shards, deep=True) == []
    frame = open_shards(second.shards).frame
    assert frame["artwork_id"].is_unique().all()


def test_the_version_and_the_changes_follow_from_the_difference(
    first: Workspace, second: Workspace
) -> None:
    assert about(first)["version"] == "1.0.0"
    assert "base" not in about(first)
    assert not (first.shards / CHANGES).exists()
    assert about(second)["version"] == "1.1.0"
    assert about(second)["base"] == sha256_file(first.shards / "index.json")
    changes = json.loads((second.shards / CHANGES).read_text())
    assert len(changes["keys"]["added"]) == 8
    assert [one["version"] for one in changes["releases"]] == ["1.1.0"]
    assert "| Added | 8 |" in (second.shards / CHANGELOG).read_text()


def test_a_build_with_nothing_new_is_the_base(
    build: Build, second: Workspace, ids: tuple[list[str], list[str]]
) -> None:
    again = build("again", ids[0], base=second.shards, like=second)
    assert files(again.shards) == files(second.shards)


def test_a_takedown_and_additions_come_in_one_release(
    build: Build, first: Workspace, ids: tuple[list[str], list[str]]
) -> None:
    rows = open_shards(first.shards).frame
    track, artwork = rows["key"][0], rows["artwork_id"][-1]
    without = [track.lstrip("0"), artwork]
    third = build("third", ids[0], base=first.shards, like=first, without=without)
    # Built from nothing but the sources and the release that it continues, it has the same bytes.
    clean = build("clean", ids[0], base=first.shards, without=without)
    for folder in ("catalog", "embeddings", "pairs", "captions", "shards"):
        assert tree(clean.root / folder) == tree(third.root / folder)
    found = diff(str(first.shards), str(third.shards))
    orphan = rows["key"][-1]  # its artwork is gone: it is matched anew
    assert found.removed == (track,)
    assert found.moved == (orphan,)
    assert found.added == tuple(key for key in ids[0][16:] if key != track)
    assert found.recaptioned == found.rescored == (orphan,)
    touched = {rows["shard"][0], rows["shard"][-1]}
    assert touched.isdisjoint(found.shards_kept)
    assert len(found.shards_kept) == rows["shard"].n_unique() - len(touched)
    assert about(third)["version"] == "2.0.0"
    assert verify(third.shards, deep=True) == []
    gone = rows.filter(pl.col("artwork_id") == artwork).row(0, named=True)
    needles = [artwork, gone["image_sha256"], gone["image_original_sha256"]]
    needles.append(rows["audio_sha256"][0])
    assert traces(third.shards, needles, [track]) == []
    now = open_shards(third.shards).frame
    for column in ("painter_id", "musician_id"):
        homes = dict(rows.select(column, "split").iter_rows())
        for item, split in now.select(column, "split").iter_rows():
            assert homes.get(item, split) == split


@pytest.fixture(scope="module")
def retold(sample: SamplePaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The FMA of the sample, of which every fifth track has another title."""
    fma = tmp_path_factory.mktemp("retold") / "fma"
    shutil.copytree(sample.fma, fma)
    with zipfile.ZipFile(fma / "fma_metadata.zip") as packed:
        packed.extractall(fma)
    (fma / "fma_metadata.zip").unlink()
    table = fma / "fma_metadata" / "tracks.csv"
    rows = list(csv.reader(table.read_text("utf-8").splitlines()))
    title = next(n for n, names in enumerate(zip(*rows[:2], strict=True)) if names[1] == "title"
                 and names[0] == "track")  # fmt: skip
    for row in rows[3::5]:
        row[title] += " once more"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return fma


def test_changed_records_come_with_the_bytes_of_a_clean_build(
    build: Build, first: Workspace, retold: Path, ids: tuple[list[str], list[str]]
) -> None:
    used = build("used", ids[0][:16], base=first.shards, like=first, fma=str(retold))
    clean = build("new", ids[0][:16], base=first.shards, fma=str(retold))
    for folder in ("catalog", "embeddings", "pairs", "captions", "shards"):
        assert tree(clean.root / folder) == tree(used.root / folder)
    found = diff(str(first.shards), str(used.shards))
    assert found.changed
    assert len(found.changed) < 8  # few enough that most samples are copied as they are
    assert found.added == found.removed == found.moved == found.rescored == found.repacked == ()
    titles = dict(open_shards(used.shards).frame.select("key", "track_title").iter_rows())
    assert all(titles[key].endswith(" once more") == (key in found.changed) for key in titles)
    assert verify(used.shards, deep=True) == []


@pytest.mark.parametrize("member", ["jpg", "mp3", "json"])
def test_a_damaged_release_is_not_continued(
    build: Build, first: Workspace, retold: Path, ids: tuple[list[str], list[str]],
    tmp_path: Path, member: str,
) -> None:  # fmt: skip
    rows = open_shards(first.shards).frame
    shutil.copytree(first.shards, tmp_path / "base")
    with (retold / "fma_metadata" / "tracks.csv").open(encoding="utf-8", newline="") as file:
        changed = [
            row[0].zfill(6) for row in csv.reader(file) if any("once more" in t for t in row)
        ]
    # Samples that have not changed, in shards that are packed again since others have.
    again = rows.filter(pl.col("key").is_in(changed))["shard"].unique()
    alike = rows.filter(pl.col("shard").is_in(again.to_list()), ~pl.col("key").is_in(changed))
    assert not alike.is_empty()
    for row in alike.iter_rows(named=True):
        path = tmp_path / "base" / row["shard"]
        data = bytearray(path.read_bytes())
        data[row[f"{member}_offset"] + row[f"{member}_size"] // 2] ^= 1
        path.write_bytes(data)
    with pytest.raises(BadData, match="verify"):
        build(f"damaged-{member}", ids[0][:16], base=tmp_path / "base", like=first,
              fma=str(retold))  # fmt: skip


def test_what_cannot_be_continued_is_refused_in_a_sentence(
    first: Workspace, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for name in ("catalog", "embeddings"):
        shutil.copytree(first.root / name, out / name)
    recipe = load_recipe(first.recipe).replaced(sources={"base": str(tmp_path / "nowhere")})
    with pytest.raises(BadUsage, match="not a release to continue"):
        run_stage(PAIR, Workspace(out), recipe)
    with pytest.raises(BadUsage, match="give another --out"):
        run_stage(PAIR, first, recipe.replaced(sources={"base": str(first.root)}))
    base = tmp_path / "base"
    shutil.copytree(first.shards, base)
    recipe = recipe.replaced(sources={"base": str(base)})
    with pytest.raises(BadUsage, match="give --bridge affect"):
        run_stage(PAIR, Workspace(out), recipe.replaced(pair={"bridge": "concepts"}))
    with pytest.raises(BadUsage, match="not both"):
        run_stage(PAIR, Workspace(out), recipe.replaced(pair={"given": str(base / "index.json")}))
    index = pl.read_parquet(base / "index.parquet")
    index.drop("margin").write_parquet(base / "index.parquet")
    with pytest.raises(BadData, match="not the file"):
        run_stage(PAIR, Workspace(out), recipe)
    value = json.loads((base / "index.json").read_text())
    value["index_sha256"] = sha256_file(base / "index.parquet")
    (base / "index.json").write_text(json.dumps(value))
    with pytest.raises(BadData, match="another schema"):
        run_stage(PAIR, Workspace(out), recipe)
