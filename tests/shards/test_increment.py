"""A release continued by another build: what was there stays, what is new is added."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from small_builds import small_recipe

from artsound.shards.changes import CHANGELOG, CHANGES
from artsound.shards.diff import diff
from artsound.shards.index import read_shard_index
from artsound.shards.read import open_shards
from artsound.shards.store import LocalStore
from artsound.shards.verify import verify
from artsound.sources.sample import SamplePaths
from artsound.storage import Workspace, read_parquet, sha256_file
from pipelines.serial import run_serially

Build = Callable[..., Workspace]


@pytest.fixture(scope="module")
def ids(built: Workspace) -> tuple[list[str], list[str]]:
    """The tracks and artworks that the small build found usable."""
    tracks = read_parquet(built.catalog / "tracks.parquet", "track", ["track_id"])
    artworks = read_parquet(built.catalog / "artworks.parquet", "artwork", ["artwork_id"])
    return (
        [f"{track:06d}" for track in tracks["track_id"].to_pylist()],
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
        }
        run_serially(workspace, small_recipe(sample).replaced(sources=sources))
        return workspace

    return make


@pytest.fixture(scope="module")
def first(build: Build, ids: tuple[list[str], list[str]]) -> Workspace:
    return build("first", ids[0][:18])


@pytest.fixture(scope="module")
def second(build: Build, first: Workspace, ids: tuple[list[str], list[str]]) -> Workspace:
    return build("second", ids[0], base=first.root, like=first)


def files(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir())}


def about(workspace: Workspace) -> dict[str, object]:
    return read_shard_index(LocalStore(workspace.shards))


def test_new_tracks_come_in_new_shards_and_nothing_else_changes(
    first: Workspace, second: Workspace, ids: tuple[list[str], list[str]]
) -> None:
    found = diff(str(first.shards), str(second.shards))
    assert found.added == tuple(ids[0][18:])
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
    assert len(changes["keys"]["added"]) == 6
    assert [one["version"] for one in changes["releases"]] == ["1.1.0"]
    assert "| Added | 6 |" in (second.shards / CHANGELOG).read_text()


def test_a_build_with_nothing_new_is_the_base(
    build: Build, second: Workspace, ids: tuple[list[str], list[str]]
) -> None:
    again = build("again", ids[0], base=second.shards, like=second)
    assert files(again.shards) == files(second.shards)
