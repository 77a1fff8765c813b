"""`artsound index`, `push`, `subset` and `verify` as a person runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from artsound.shards.verify import verify


def artsound(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "artsound", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_shards_are_indexed_and_pushed_from_the_command_line(shards: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in shards.glob("*.tar"):
        (bare / path.name).write_bytes(path.read_bytes())
    done = artsound("index", bare)
    assert (done.returncode, done.stderr) == (0, "")
    refused = artsound("push", bare, tmp_path / "public")
    assert refused.returncode == 2
    assert "may not be redistributed" in refused.stderr
    pushed = artsound("push", bare, tmp_path / "public", "--restricted", "--json")
    assert json.loads(pushed.stdout.splitlines()[-1])["files"] == 9
    assert verify(tmp_path / "public") == []


def test_a_subset_of_shards_comes_with_a_card_and_its_query(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "some"
    done = artsound(
        "subset", shards, "--style", "cubism", "--per-painter", 2, "--sample", 9,
        "--sample-by", "split", "--out", out, "--json",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[-1])["samples"] == 9
    assert {"README.md", "DATASHEET.md", "croissant.json", "query.json", "ATTRIBUTION.csv"} <= {
        path.name for path in out.iterdir()
    }
    assert verify(out, deep=True) == []
    wrong = artsound("subset", shards, "--where", "yaer < 3", "--out", tmp_path / "x.npy")
    assert wrong.returncode == 2
    assert "did you mean artwork_year?" in wrong.stderr
    assert len(wrong.stderr.strip().splitlines()) == 1
