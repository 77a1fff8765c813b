"""One byte of a finished build changes on the disk, while the file's size and time do not."""

from __future__ import annotations

import os
import re
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
from small_builds import run_serially, small_recipe
from typer.testing import CliRunner

from artsound.cli import app
from artsound.errors import BadData
from artsound.sample import SamplePaths
from artsound.stage import damaged_files
from artsound.storage import Workspace, sha256_file

FOLDERS = ("catalog", "media", "embeddings", "captions", "pairs", "shards", "report", "parts")


def kinds(root: Path, folder: str) -> list[Path]:
    """A file of each kind in one folder, by its place and its name without numbers."""
    found: dict[tuple[object, ...], list[Path]] = defaultdict(list)
    for path in sorted((root / folder).rglob("*")):
        if path.is_file():
            place = path.relative_to(root).parts
            found[place[:2], re.sub(r"[0-9a-f]{64}|[0-9]+", "", path.name)].append(path)
    return [paths[0] for paths in found.values()]


def flip(path: Path) -> None:
    """Change a byte in the middle of a file, and nothing else that the file system shows."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): sha256_file(path)
        for folder in FOLDERS
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and path.name not in ("page.json", "index.html")  # these have times
    }


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_flipped_byte_is_noticed_and_healed_by_the_same_command(
    folder: str, built: Workspace, sample: SamplePaths, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "out")
    shutil.copytree(built.root, workspace.root)
    hit = kinds(workspace.root, folder)
    for path in hit:
        flip(path)
    named = damaged_files(workspace)
    unnamed = {workspace.relative(path) for path in hit} - set(named)
    # What a plan has staged, and tables of rejects beyond a part's, are made again in every build.
    # The files of a damaged marker's part are not looked at.
    parts = {name.removesuffix("json") for name in named if name.endswith(".json")}
    for name in unnamed:
        made_again = "/staged/" in name or name.endswith("rejects.parquet")
        assert made_again or name.startswith(tuple(parts)), name
    run_serially(workspace, small_recipe(sample))
    assert digests(workspace.root) == digests(built.root)
    assert damaged_files(workspace) == []


def test_a_single_stage_reads_no_damaged_table(
    built: Workspace, sample: SamplePaths, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "out")
    shutil.copytree(built.root, workspace.root)
    flip(workspace.pairs / "pairs.parquet")
    with pytest.raises(BadData, match="is not as the stage pair wrote it: `artsound build"):
        run_serially(workspace, small_recipe(sample), only="shard")


def test_the_command_names_what_is_damaged(built: Workspace, tmp_path: Path) -> None:
    whole = CliRunner().invoke(app, ["build", "--check", "--out", str(built.root)])
    assert (whole.exit_code, whole.stdout) == (0, "")
    shutil.copytree(built.root, tmp_path / "out")
    flip(tmp_path / "out/shards/artsound-val-000000.tar")
    rotten = CliRunner().invoke(app, ["build", "--check", "--out", str(tmp_path / "out")])
    assert rotten.exit_code == 1
    assert "damaged or missing" in rotten.stdout
