from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from disk_steps import Steps
from hypothesis import given
from hypothesis import strategies as st

from artsound.errors import BadData, BadUsage
from artsound.schema import to_table
from artsound.storage import (
    Workspace,
    atomic_write,
    digest,
    new_folder,
    read_json,
    read_parquet,
    sha256_bytes,
    sha256_file,
    store_media,
    sync_file_system,
    write_bytes,
    write_json,
    write_parquet,
    write_parquet_tables,
)

PAIRS = [
    {
        "track_id": f"{n:06d}",
        "artwork_id": f"{n}.jpg",
        "split": "train",
        "score": 0.5,
        "bridge": "affect",
        "percentile": 0.9,
        "margin": 0.1,
        "track_rank": 1,
        "artwork_rank": 1,
        "method": "sparse",
    }
    for n in range(50)
]


def test_a_write_that_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")

    def write_half() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    """What is done to the disk below tmp_path from here on, in order."""
    return Steps(tmp_path, monkeypatch)


def test_bytes_are_on_disk_before_the_name_and_the_name_before_the_write_returns(
    tmp_path: Path, steps: Steps
) -> None:
    write_bytes(tmp_path / "new" / "a.bin", b"whole")
    assert steps.taken == ["flush 5 bytes", "rename to new/a.bin", "flush folder new"]


@pytest.mark.parametrize("kind", ["json", "parquet", "tables"])
def test_every_kind_of_file_is_flushed_before_it_has_its_name(
    kind: str, tmp_path: Path, steps: Steps
) -> None:
    path = tmp_path / "file"
    match kind:
        case "json":
            write_json(path, {"a": 1})
        case "parquet":
            write_parquet(path, "pair", PAIRS)
        case "tables":
            write_parquet_tables(path, "pair", [to_table("pair", PAIRS)])
    size = path.stat().st_size
    assert steps.taken == [f"flush {size} bytes", "rename to file", "flush folder ."]


def test_media_are_renamed_one_by_one_and_flushed_together(tmp_path: Path, steps: Steps) -> None:
    names = [store_media(Workspace(tmp_path), "tracks", b, ".mp3")[0] for b in (b"a", b"b")]
    sync_file_system(tmp_path)
    assert steps.taken == [*(f"rename to {name}" for name in names), "flush file system"]


def test_an_open_old_file_can_still_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"old bytes")
    with path.open("rb") as reader:
        write_bytes(path, b"new")
        assert reader.read() == b"old bytes"
    assert path.read_bytes() == b"new"


def test_a_full_disk_is_reported_in_one_sentence_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from artsound.storage import write_bytes\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"write_bytes(Path({str(path)!r}), b'x' * 100_000)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "cannot be written: the file would be larger than the limit" in done.stderr
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_through_a_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadData, match="a part of the path is a file"):
        write_bytes(tmp_path / "file" / "below", b"x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused_in_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(BadData, match="no permission"):
        write_bytes(tmp_path / "a", b"x")


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_the_digest_of_a_mapping_ignores_its_order(value: dict[str, object]) -> None:
    assert digest(value) == digest(dict(reversed(list(value.items()))))


def test_parquet_comes_back_as_written_and_twice_the_same_bytes(tmp_path: Path) -> None:
    first = write_parquet(tmp_path / "a.parquet", "pair", PAIRS)
    assert write_parquet(tmp_path / "b.parquet", "pair", PAIRS) == first
    assert sha256_file(tmp_path / "a.parquet") == first
    table = read_parquet(tmp_path / "a.parquet", "pair")
    assert table.to_pylist()[7]["artwork_id"] == "7.jpg"
    assert read_parquet(tmp_path / "a.parquet", "pair", ["split"]).column_names == ["split"]


def test_tables_written_one_by_one_give_the_same_bytes_however_they_are_cut(
    tmp_path: Path,
) -> None:
    table = to_table("pair", PAIRS * 900)  # three row groups

    def cut(size: int) -> str:
        pieces = (table.slice(start, size) for start in range(0, table.num_rows, size))
        return write_parquet_tables(tmp_path / f"{size}.parquet", "pair", pieces)

    assert cut(777) == cut(20_000) == cut(45_000)
    assert pq.ParquetFile(tmp_path / "777.parquet").num_row_groups == 3
    assert read_parquet(tmp_path / "777.parquet", "pair").equals(table)
    with pytest.raises(BadData, match="wrong columns"):
        write_parquet_tables(tmp_path / "bad.parquet", "pair", [table.drop_columns("split")])
    assert not (tmp_path / "bad.parquet").exists()
    write_parquet_tables(tmp_path / "none.parquet", "pair", [])
    assert read_parquet(tmp_path / "none.parquet", "pair").num_rows == 0


def test_lists_survive_parquet(tmp_path: Path) -> None:
    row = dict.fromkeys(read_names("artwork_descriptors"), 0.5)
    row |= {"artwork_id": "a", "palette": ["red"], "palette_hex": ["#f00"], "palette_share": [0.5]}
    write_parquet(tmp_path / "a.parquet", "artwork_descriptors", [row])
    assert read_parquet(tmp_path / "a.parquet", "artwork_descriptors").to_pylist() == [row]


def read_names(name: str) -> list[str]:
    from artsound.schema import arrow_schema

    return list(arrow_schema(name).names)


def test_a_missing_cut_or_foreign_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    with pytest.raises(BadData, match="is missing: run the stage"):
        read_parquet(path, "pair")
    write_parquet(path, "pair", PAIRS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadData, match="is not a readable parquet file"):
        read_parquet(path, "pair")
    write_parquet(path, "reject", [])
    with pytest.raises(BadData, match="wrong columns"):
        read_parquet(path, "pair")
    with pytest.raises(BadData, match="it has no column score"):
        read_parquet(path, "pair", ["score"])
    assert pq.read_schema(path).names[0] == "stage"


def test_json_is_canonical_and_a_broken_one_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert write_json(path, {"b": 1, "a": 2}) == write_json(path, {"a": 2, "b": 1})
    path.write_text("{")
    with pytest.raises(BadData, match="cannot be read as JSON"):
        read_json(path)


def test_media_lie_under_their_digest_and_are_written_once(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    relative, sha256 = store_media(workspace, "tracks", b"music", ".mp3")
    assert sha256 == sha256_bytes(b"music")
    assert relative == f"media/tracks/{sha256[:2]}/{sha256}.mp3"
    inode = workspace.path(relative).stat().st_ino
    assert store_media(workspace, "tracks", b"music", ".mp3") == (relative, sha256)
    assert workspace.path(relative).stat().st_ino == inode


def test_media_that_lie_damaged_under_their_digest_are_written_again(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    relative, _ = store_media(workspace, "tracks", b"music", ".mp3")
    for damaged in (b"mus", b"noise"):  # cut, and of the same length
        workspace.path(relative).write_bytes(damaged)
        store_media(workspace, "tracks", b"music", ".mp3")
        assert workspace.path(relative).read_bytes() == b"music"


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b"])
def test_a_record_cannot_point_outside_the_workspace(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadData, match="is not inside the workspace"):
        Workspace(tmp_path).path(name)


def test_a_second_build_on_a_workspace_is_refused_and_a_dead_one_is_forgotten(
    tmp_path: Path,
) -> None:
    code = (
        "import sys, time; from pathlib import Path; from artsound.storage import Workspace\n"
        f"with Workspace(Path({str(tmp_path)!r})).lock():\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(BadUsage, match="locked by another build"), Workspace(tmp_path).lock():
            pass
        holder.kill()
        holder.wait()
    with Workspace(tmp_path).lock():
        pass


def test_sweeping_removes_what_a_killed_process_left_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from artsound.storage import atomic_write\n"
        f"with atomic_write(Path({str(tmp_path)!r}, sys.argv[1])) as file:\n"
        "    print(file.name, flush=True)\n    sys.stdin.read() if sys.argv[2:] else os._exit(1)\n"
    )
    for name in ("parts/a", "recipe.toml", "training/a"):
        subprocess.run([sys.executable, "-c", code, name], check=False, capture_output=True)
    for name in ("parts/.tmp-x", ".tmp-notes.txt", "thesis/.tmp-notes.txt"):  # a user's own
        write_bytes(tmp_path / name, b"mine")
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob(".tmp-*")}
    assert len(left) == 6
    with subprocess.Popen(
        [sys.executable, "-c", code, "parts/b", "wait"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        running.stdout.readline()
        writing = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob(".tmp-*")} - left
        Workspace(tmp_path).sweep()
        now = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob(".tmp-*")}
        running.kill()
    swept = left - now
    assert {Path(name).parent.name for name in swept} == {"parts", ""}
    assert len(writing) == 1
    assert writing <= now
    assert {"parts/.tmp-x", ".tmp-notes.txt", "thesis/.tmp-notes.txt"} <= now
    assert len(swept) == 2


def test_sweeping_leaves_what_a_container_of_the_same_name_is_writing(tmp_path: Path) -> None:
    space = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if not shutil.which("unshare") or subprocess.run([*space, "true"], check=False).returncode:
        pytest.skip("no namespaces here")
    code = (
        "import sys; from pathlib import Path; from artsound.storage import atomic_write\n"
        f"with atomic_write(Path({str(tmp_path)!r}, 'parts/a')) as file:\n"
        "    print(file.name, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [*space, sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        Workspace(tmp_path).sweep()
        running.communicate(b"")
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["a"]


def test_a_killed_attempt_at_a_new_folder_leaves_nothing_behind_the_next(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from artsound.storage import new_folder\n"
        "with new_folder(Path(sys.argv[1])) as place:\n"
        "    (place / 'half').write_bytes(b'x'); os._exit(1)\n"
    )
    for name in ("release", "other"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    with new_folder(tmp_path / "release") as place:
        (place / "whole").write_bytes(b"x")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[1:] == ["release"]  # and what the other command left, which is not this one's
    assert [path.name for path in (tmp_path / "release").iterdir()] == ["whole"]
    with pytest.raises(BadUsage, match="in use"), new_folder(tmp_path / "release"):
        pass
    (tmp_path / "release" / "whole").unlink()
    with pytest.raises(ValueError, match="stop"), new_folder(tmp_path / "release") as place:
        raise ValueError("stop")
    assert len(list(tmp_path.iterdir())) == 2


def test_written_files_follow_the_umask(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"x")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~mask
