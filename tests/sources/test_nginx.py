"""Whole pulls from a real nginx on loopback, which serves zips in the published layouts."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from nginx_server import Nginx, nginx
from small_builds import run_serially, small_recipe

from artsound.recipe import Recipe
from artsound.sample import SamplePaths
from artsound.storage import Workspace, sha256_file


@pytest.fixture(scope="module")
def served(sample: SamplePaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the server shows: fma/*.zip, and ArtGraph as one zip."""
    root = tmp_path_factory.mktemp("served")
    shutil.copytree(sample.fma, root / "fma")
    pack_artgraph(sample.artgraph, root / "artgraph.zip")
    return root


@pytest.fixture
def server(served: Path, tmp_path: Path) -> Iterator[Nginx]:
    with nginx(served, tmp_path / "nginx") as running:
        yield running


def pack_artgraph(folder: Path, path: Path) -> None:
    """ArtGraph's tables and images in one zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.csv")):
            archive.write(file, file.relative_to(folder), zipfile.ZIP_DEFLATED)
        with zipfile.ZipFile(folder / "imagesf2.zip") as images:
            for name in images.namelist():
                archive.writestr(name, images.read(name))


def from_server(server: Nginx, recipe: Recipe) -> Recipe:
    places = {"artgraph": f"{server.url}/artgraph.zip", "fma": f"{server.url}/fma/"}
    return recipe.replaced(sources={**places, "allow_private_hosts": True})


def shard_bytes(workspace: Workspace) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(workspace.shards.glob("*.tar"))}


def test_a_build_with_a_limit_pulls_only_its_members_and_gives_the_same_shards(
    server: Nginx, sample: SamplePaths, served: Path, tmp_path: Path
) -> None:
    recipe = small_recipe(sample, limit=6)
    on_disk, workspace = Workspace(tmp_path / "on-disk"), Workspace(tmp_path / "pulled")
    run_serially(on_disk, recipe)
    run_serially(workspace, from_server(server, recipe))
    assert shard_bytes(workspace) == shard_bytes(on_disk) != {}
    whole = (served / "fma/fma_large.zip").stat().st_size
    clips = sum(path.stat().st_size for path in workspace.sources.rglob("*.mp3"))
    directory = 130_000  # what is read at the zip's end to find its members
    assert clips <= server.sent("fma_large.zip") < min(whole, clips + 64_000 + directory)
