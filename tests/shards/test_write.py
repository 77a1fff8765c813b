from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artsound.errors import BadData
from artsound.shards import format
from artsound.shards.format import write_shard


def test_a_header_is_what_python_s_tarfile_writes_for_the_same_member() -> None:
    info = tarfile.TarInfo("000010.jpg")
    info.size = 123_456
    assert format.header("000010.jpg", 123_456) == info.tobuf(tarfile.USTAR_FORMAT)


@settings(deadline=None)
@given(st.from_regex(r"[a-z0-9_-]{1,90}\.[a-z0-9]{1,9}", fullmatch=True), st.integers(0, 8**11 - 1))
def test_a_header_reads_back_for_any_name_and_size(name: str, size: int) -> None:
    info = tarfile.TarInfo.frombuf(format.header(name, size), "ascii", "strict")
    assert (info.name, info.size, info.isreg(), info.mtime) == (name, size, True, 0)


@pytest.mark.parametrize("name", ["a/b.txt", "é.txt", "x" * 101, "日" * 80 + ".txt"])
def test_a_name_that_ustar_cannot_hold_has_a_pax_header(name: str) -> None:
    data = format.header(name, 3) + b"abc" + format.padding(3) + format.END
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        [info] = archive
        assert (info.name, info.size, info.mtime) == (name, 3, 0)
        assert archive.extractfile(info).read() == b"abc"  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["", "a/../b", "/a", "a//b", "nul\0", "two\nlines"])
def test_a_name_that_tar_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a member"):
        format.header(name, 1)


def test_the_same_samples_give_the_same_bytes_and_the_digest_is_the_file_s(tmp_path: Path) -> None:
    samples = [(f"{n:06d}", {"jpg": bytes([n]) * n, "json": b"{}"}) for n in range(1, 40)]
    first, placed = write_shard(tmp_path / "a.tar", "train", samples)
    second, _ = write_shard(tmp_path / "b.tar", "train", iter(samples))
    data = (tmp_path / "a.tar").read_bytes()
    assert data == (tmp_path / "b.tar").read_bytes()
    assert first.sha256 == second.sha256 == hashlib.sha256(data).hexdigest()
    assert (first.bytes, first.samples) == (len(data), 39)
    for place, (key, members) in zip(placed, samples, strict=True):
        assert place.key == key
        for extension, (offset, size) in place.members.items():
            assert data[offset : offset + size] == members[extension]


def test_a_shard_larger_than_one_stretch_is_whole(tmp_path: Path) -> None:
    samples = [(f"{n:06d}", {"bin": bytes([n]) * 1_000_003}) for n in range(12)]
    shard, _ = write_shard(tmp_path / "a.tar", "train", samples)
    with tarfile.open(tmp_path / "a.tar") as archive:
        for (key, members), info in zip(samples, archive, strict=True):
            file = archive.extractfile(info)
            assert file is not None
            assert (info.name, file.read()) == (f"{key}.bin", members["bin"])
    assert shard.sha256 == hashlib.sha256((tmp_path / "a.tar").read_bytes()).hexdigest()


def test_gnu_tar_lists_and_extracts_a_shard_without_a_word(shards: Path, tmp_path: Path) -> None:
    path = shards / "artsound-val-000000.tar"
    listed = subprocess.run(["tar", "-tvf", path], capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == 12
    subprocess.run(["tar", "-xf", path, "-C", tmp_path], check=True)
    assert listed.stderr == ""
    suffixes = sorted(file.suffix for file in tmp_path.iterdir())
    assert suffixes == [".jpg"] * 4 + [".json"] * 4 + [".mp3"] * 4


@pytest.mark.parametrize("keys", [["b", "a"], ["a", "a"], ["a.b"], [""], []])
def test_keys_that_no_loader_could_distinguish_are_refused_and_leave_nothing(
    keys: list[str], tmp_path: Path
) -> None:
    with pytest.raises(BadData, match=str(tmp_path)):
        write_shard(tmp_path / "x.tar", "train", [(key, {"txt": b"x"}) for key in keys])
    assert list(tmp_path.iterdir()) == []
