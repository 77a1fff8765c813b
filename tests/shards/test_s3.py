"""s3:// as a place of shards, against a server of S3's own protocol (moto) on loopback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import artsound
from artsound.errors import BadData, BadUsage
from artsound.extras import install_command
from artsound.shards.push import push
from artsound.shards.store import open_store
from artsound.shards.subset import write_subset
from artsound.shards.verify import verify
from artsound.storage import sha256_bytes, sha256_file

s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'artsound[s3]'")
moto = pytest.importorskip("moto.server", reason="moto[server] is not installed")

Make = Callable[..., Path]
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of a server that keeps buckets in memory."""
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(autouse=True)
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """An empty bucket named `bucket`, and an environment in which it is found as a user would."""
    settings = {
        "ENDPOINT_URL": endpoint, "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret",
        "DEFAULT_REGION": "us-east-1", "MAX_ATTEMPTS": "1", "EC2_METADATA_DISABLED": "true",
        "CONFIG_FILE": str(tmp_path / "none"), "SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    s3fs.S3FileSystem.clear_instance_cache()  # those of another test know another environment
    system = s3fs.S3FileSystem()
    system.mkdir("bucket")
    yield system
    system.rm("bucket", recursive=True)


@pytest.fixture
def pushed(shards: Path) -> str:
    push(shards, "s3://bucket/some/where", restricted=True)
    return "s3://bucket/some/where"


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "artsound", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def objects(system: Any, place: str) -> dict[str, str]:
    system.invalidate_cache()
    return {Path(path).name: sha256_bytes(system.cat_file(path)) for path in system.ls(place)}


def test_a_push_arrives_whole_and_a_second_sends_only_what_is_not_there(
    shards: Path, bucket: Any
) -> None:
    target = "s3://bucket/some/where"
    first = push(shards, target, restricted=True)
    there = {path.name: sha256_file(path) for path in shards.iterdir()}
    assert objects(bucket, "bucket/some/where") == there
    assert first["skipped"] == 0
    again = push(shards, target, restricted=True)
    assert (again["skipped"], again["bytes_sent"]) == (first["files"], 0)
    whole = bucket.cat_file(f"{target}/artsound-train-000001.tar")
    bucket.pipe_file(f"{target}/artsound-train-000001.tar", b"\1" + whole[1:])
    bucket.rm_file(f"{target}/artsound-train-000003.tar")
    resumed = push(shards, target, restricted=True)
    assert resumed["files"] - resumed["skipped"] == 3, "both, and the index that went first"
    assert objects(bucket, "bucket/some/where") == there


def test_shards_of_an_earlier_release_are_deleted_from_the_bucket(
    make: Make, bucket: Any, pushed: str
) -> None:
    before = objects(bucket, pushed)
    summary = push(make({"train": [3]}), pushed, restricted=True)
    gone = set(before) - set(objects(bucket, pushed))
    assert set(summary["deleted"]) == gone
    assert len([name for name in gone if name.endswith(".tar")]) == 6
    assert summary["stale"] == []


def test_samples_streams_and_byte_ranges_are_those_on_disk(shards: Path, pushed: str) -> None:
    near, far = artsound.open(shards), artsound.open(pushed)
    assert far.read(7) == near.read(7)
    assert [s["key"] for s in far.stream(seed=2)] == [s["key"] for s in near.stream(seed=2)]
    thin = [list(data.sample(4, seed=1).stream()) for data in (near, far)]
    assert thin[0] == thin[1]
    name = near.shards[0].name
    data = (shards / name).read_bytes()
    store = open_store(pushed)
    ranges = [(600, 700), (0, 512), (len(data) - 9, len(data)), (5, 5)]
    assert store.read_ranges(name, ranges) == [data[start:stop] for start, stop in ranges]
    assert b"".join(store.chunks(name)) == data
    with pytest.raises(BadData, match="ends before byte"):
        store.read_ranges(name, [(0, len(data) + 1)])


def test_forked_workers_make_connections_of_their_own(shards: Path, pushed: str) -> None:
    near, far = artsound.open(shards), artsound.open(pushed)
    far.read(0)  # the parent's connection is open before it forks
    batches = list(far.stream(batch_size=8).loader(workers=2))
    assert [b["key"] for b in batches] == [b["key"] for b in near.stream(batch_size=8)]


def test_whole_shards_from_a_bucket_are_kept_in_the_cache(pushed: str, tmp_path: Path) -> None:
    data = artsound.open(pushed)
    options = {"cache": tmp_path / "cache", "cache_bytes": 10**9}
    for _ in range(2):
        assert len(list(data.stream(**options))) == 45
    kept = {path.stem: path for path in (tmp_path / "cache").glob("*.tar")}
    assert kept
    assert all(sha256_file(path) == digest for digest, path in kept.items())


def test_a_view_of_a_bucket_streams_from_it_and_verify_asks_for_a_folder(
    pushed: str, tmp_path: Path
) -> None:
    write_subset(pushed, tmp_path / "view.parquet", sample=9)
    assert len(list(artsound.open(tmp_path / "view.parquet").stream())) == 9
    with pytest.raises(BadUsage, match="checks shards on this machine"):
        verify(pushed)


def test_a_bucket_that_does_not_exist_is_an_error_and_is_never_made(
    shards: Path, bucket: Any
) -> None:
    with pytest.raises(BadData, match="bucket does not exist"):
        artsound.open("s3://slip-of-the-pen/set")
    with pytest.raises(BadData, match=r"s3://slip-of-the-pen/set .*bucket does not exist\.$"):
        push(shards, "s3://slip-of-the-pen/set", restricted=True)
    bucket.invalidate_cache()
    assert bucket.ls("") == ["bucket"]
    with pytest.raises(BadData, match=r"s3://bucket/other has no index\.json"):
        artsound.open("s3://bucket/other")
    with pytest.raises(BadUsage, match="names no bucket"):
        artsound.open("s3://")


def test_without_credentials_both_ways_say_how_to_give_them(
    pushed: str, shards: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in bucket.ls(pushed):
        bucket.chmod(path, "public-read")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    s3fs.S3FileSystem.clear_instance_cache()
    for attempt in (
        lambda: artsound.open(pushed), lambda: push(shards, pushed, restricted=True)
    ):  # fmt: skip
        with pytest.raises(BadUsage, match=r"set AWS_ACCESS_KEY_ID .* FSSPEC_S3_ANON=true"):
            attempt()
    assert len(artsound.open(pushed, storage_options={"anon": True})) == 45
    monkeypatch.setenv("FSSPEC_S3_ANON", "true")
    assert command("stats", pushed).returncode == 0


def test_credentials_that_the_server_does_not_know_are_reported_as_its_refusal(
    pushed: str, shards: Path, endpoint: str
) -> None:
    import requests

    requests.post(f"{endpoint}/moto-api/reset-auth", data=b"0", timeout=10)  # now it looks
    try:
        with pytest.raises(BadData, match=r"index\.json cannot be read"):
            artsound.open(pushed)
        with pytest.raises(BadData, match=r"where cannot be written: [^;]*\.$"):
            push(shards, pushed, restricted=True)
    finally:
        requests.post(f"{endpoint}/moto-api/reset-auth", data=b"inf", timeout=10)


def test_nobody_at_the_endpoint_is_one_line_from_the_command_line_too(
    pushed: str, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOBODY)
    done = command("push", shards, pushed, "--restricted")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {pushed} cannot be reached")
    assert done.stderr.count("\n") == 1
    store = open_store(pushed, {"endpoint_url": NOBODY})
    with pytest.raises(BadData, match="cannot be reached"):
        list(store.chunks("index.json"))
    with pytest.raises(BadUsage, match="Invalid endpoint: nonsense"):
        artsound.open(pushed, storage_options={"endpoint_url": "nonsense"})
    with pytest.raises(BadUsage, match=r"profile \(nobody\) could not be found"):
        artsound.open(pushed, storage_options={"profile": "nobody"})


def test_where_s3fs_is_missing_the_extra_is_named(pushed: str) -> None:
    code = "import sys; sys.modules['s3fs'] = None; from artsound.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "stats", pushed], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == f"error: {pushed} needs s3fs: {install_command('s3')}\n"
