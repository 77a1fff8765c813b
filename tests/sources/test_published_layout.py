"""The whole path from zips as they are published: build, kill, resume, subset, withdraw, verify."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

from nginx_server import nginx
from small_builds import run_serially
from strikes import striking
from tiny_sources import artgraph_files, clip, fma_files, picture, write_zip
from typer.testing import CliRunner

import artsound
from artsound.cli import app
from artsound.recipe import Recipe
from artsound.storage import Workspace, sha256_file, write_json

# Of each three painters, who have two works each, one is protected, and of each three tracks.
YEARS = [1990 if n // 2 % 3 == 1 else 1800 + n for n in range(24)]
NAMES = [f"frans-hals-{n // 2}_view-of-{n}-{year}.jpg" for n, year in enumerate(YEARS)]
LICENSES = ("Attribution 3.0 International", "Attribution-ShareAlike 4.0", "FMA-Limited")
TRACKS = [{"track_id": n, "track.license": LICENSES[n % 3]} for n in range(2, 14)]


def write_sources(root: Path) -> None:
    """The FMA's zips, packed with BZIP2, ArtGraph's, and the record that lists it."""
    files = fma_files(TRACKS, {n: clip(n) for n in range(2, 14)})
    for kind in ("fma_metadata", "fma_large"):
        members = {name: data for name, data in files.items() if name.startswith(kind)}
        write_zip(root / f"fma/{kind}.zip", members, zipfile.ZIP_BZIP2)
    art = artgraph_files(NAMES, {name: picture(n) for n, name in enumerate(NAMES)})
    write_zip(root / "artgraph/artgraph.zip", art)


def write_record(root: Path, url: str) -> None:
    data = (root / "artgraph/artgraph.zip").read_bytes()
    file = {
        "key": "artgraph.zip",
        "size": len(data),
        "checksum": f"md5:{hashlib.md5(data, usedforsecurity=False).hexdigest()}",
        "links": {"self": f"{url}/artgraph/artgraph.zip"},
    }
    write_json(root / "api/records/8172374", {"files": [file]})


def command(*arguments: object) -> int:
    """The exit code of an `artsound` command."""
    return CliRunner().invoke(app, [str(one) for one in arguments]).exit_code


def test_a_build_killed_twice_is_released_narrowed_and_taken_down(tmp_path: Path) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    write_sources(root)
    on_disk = {"artgraph": f"{root}/artgraph", "fma": f"{root}/fma", "limit": 10}
    recipe = Recipe().replaced(sources=on_disk, pair={"bridge": "affect"}, run={"part_size": 4})
    recipe = recipe.replaced(shards={"pairs_per_shard": 4}, run={"runner": "serial"})
    whole = Workspace(tmp_path / "whole")
    run_serially(whole, recipe)
    with nginx(root, tmp_path / "nginx") as server:
        write_record(root, server.url)
        places = {"artgraph": f"{server.url}/records/8172374", "fma": f"{server.url}/fma/"}
        (tmp_path / "recipe.toml").write_text(recipe.replaced(sources=places).to_toml())
        build = [
            sys.executable, "-m", "artsound", "build", "--recipe", tmp_path / "recipe.toml",
            "--out", out, "--allow-private-hosts",
        ]  # fmt: skip
        for step in ("sources/fma/members/*.mp3", "parts/embed/*.json"):
            folder = tmp_path / step.replace("/", "-")
            strike = striking(folder, f"{out}/{step}", 1, signal.SIGKILL, group=False)
            done = subprocess.run(build, env=os.environ | strike, check=False, capture_output=True)
            assert done.returncode == -signal.SIGKILL, done.stderr
        done = subprocess.run(build, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    shards = out / "shards"
    for path in whole.shards.glob("*.tar"):
        assert sha256_file(shards / path.name) == sha256_file(path)

    some, ids, after = tmp_path / "some", tmp_path / "ids.txt", tmp_path / "after"
    assert command("subset", shards, "--rights", "redistributable", "--out", some) == 0
    kept = artsound.open(some).frame
    assert kept.select("artwork_redistribute", "track_redistribute").to_numpy().all()
    assert 2 < kept.height < artsound.open(shards).frame.height == 10
    ids.write_text(f"imagesf2/{kept['artwork_id'][0].upper()}\n{int(kept['key'][1])}.mp3\n")
    assert command("verify", some, "--without", ids) == 1
    assert command("withdraw", some, ids, "--out", after) == 0
    assert artsound.open(after).frame["key"].to_list() == kept["key"][2:].to_list()
    assert command("verify", after, "--without", ids, "--deep") == 0
