from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from faulty_server import faulty_server, local_client

from artsound.errors import BadData, BadUsage
from artsound.sources.http import USER_AGENT, Patience, RemoteFile, download

PAYLOAD = random.Random(0).randbytes(3_000_000)
SHA1 = "sha1:" + hashlib.sha1(PAYLOAD).hexdigest()
QUICK = Patience(retries=3, backoff=0.01, longest_wait=2.0, connect=2.0, stall=60.0)
HASTY = replace(QUICK, stall=0.5)  # for answers that never come


def only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "faults",
    [
        (),
        ("reset:1000000",),
        ("reset:0", "reset:500000", "reset:700000", "reset:1"),
        ("truncate:2000000",),
        ("stall:100000",),
        ("429:1",),
        ("500", "500"),
        ("reset:1000000", "no-range"),
        ("reset:1000000", "wrong-range"),
        ("reset:1000000", "other-bytes"),
    ],
    ids=lambda faults: "+".join(faults) or "none",
)
def test_whatever_happens_on_the_way_the_right_bytes_arrive(
    faults: tuple[str, ...], tmp_path: Path
) -> None:
    with faulty_server(PAYLOAD, *faults) as server:
        path = tmp_path / "file.bin"
        patience = HASTY if "stall" in "".join(faults) else QUICK
        download(RemoteFile(server.url, SHA1, len(PAYLOAD)), path, client=local_client(patience))
    assert path.read_bytes() == PAYLOAD
    assert only(tmp_path) == ["file.bin"]


def test_a_broken_transfer_continues_at_the_byte_where_it_broke(tmp_path: Path) -> None:
    with faulty_server(PAYLOAD, "truncate:1048576") as server:
        download(RemoteFile(server.url), tmp_path / "file.bin", client=local_client(QUICK))
        begun = [int(wanted[6:-1]) for _, wanted in server.asked if wanted]
    assert begun == [1_048_576]


def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    with faulty_server(PAYLOAD, "429:1") as server:
        download(RemoteFile(server.url), tmp_path / "file.bin", client=local_client(QUICK))
        assert server.times[1] - server.times[0] >= 1


def test_a_wrong_digest_never_takes_the_final_name(tmp_path: Path) -> None:
    with faulty_server(PAYLOAD) as server, pytest.raises(BadData, match=r"has sha1 .* instead of"):
        download(
            RemoteFile(server.url, "sha1:" + "0" * 40),
            tmp_path / "f.bin",
            client=local_client(QUICK),
        )
    assert only(tmp_path) == []


def test_a_file_that_changed_between_two_tries_is_fetched_again(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    with faulty_server(PAYLOAD, *["reset:900000"] * 9) as server:
        with pytest.raises(BadData):
            download(
                RemoteFile(server.url), path, client=local_client(Patience(0, 0.01, connect=2))
            )
        server.payload, server.etag, server.faults = PAYLOAD[::-1], '"v2"', []
        download(RemoteFile(server.url), path, client=local_client(QUICK))
    assert path.read_bytes() == PAYLOAD[::-1]


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        (["loop"], "redirects in circles"),
        (["500"] * 9, "keeps answering 500"),
        (["reset:0"] * 9, "broke off 4 times in a row"),
        (["stall:0"] * 9, "broke off 4 times in a row"),
    ],
    ids=["loop", "500", "reset", "stall"],
)
def test_a_hopeless_server_is_reported_in_one_sentence(
    faults: list[str], sentence: str, tmp_path: Path
) -> None:
    patience = HASTY if "stall:0" in faults else QUICK
    with faulty_server(PAYLOAD, *faults) as server, pytest.raises(BadData, match=sentence):
        download(RemoteFile(server.url), tmp_path / "file.bin", client=local_client(patience))
    assert "file.bin" not in only(tmp_path)


def test_an_unreachable_server_and_a_malformed_address_are_reported(tmp_path: Path) -> None:
    client = local_client(Patience(retries=1, backoff=0.01, connect=1))
    with pytest.raises(BadData, match=r"cannot be reached: .*refused"):
        download(RemoteFile("http://127.0.0.1:9/x"), tmp_path / "x", client=client)
    with pytest.raises(BadUsage, match="is not an http or https address"):
        download(RemoteFile("ftp://example.org/x"), tmp_path / "x", client=client)


def test_another_size_than_promised_is_refused_before_anything_is_kept(tmp_path: Path) -> None:
    with faulty_server(PAYLOAD) as server, pytest.raises(BadData, match="3,000,000 bytes long"):
        download(RemoteFile(server.url, size=7), tmp_path / "f", client=local_client(QUICK))
    assert only(tmp_path) == []


def test_too_little_space_is_said_before_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: real._replace(free=1_000_000))
    with faulty_server(PAYLOAD) as server, pytest.raises(BadData, match=r"1\.0 MB free, but 3\.0"):
        download(RemoteFile(server.url), tmp_path / "file.bin", client=local_client(QUICK))


def test_a_full_disk_keeps_what_came_and_continues_later(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    with faulty_server(PAYLOAD) as server:
        code = (
            "import resource, signal; from pathlib import Path\n"
            "from artsound.sources.http import *; from artsound.sources.http import Client\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))\n"
            "client = Client(allow_private_hosts=True)\n"
            f"download(RemoteFile({server.url!r}), Path({str(path)!r}), client=client)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert "cannot be written" in done.stderr
        assert not path.exists()
        download(RemoteFile(server.url, SHA1), path, client=local_client(QUICK))
        assert server.asked[-1][1].startswith("bytes=1")
    assert path.read_bytes() == PAYLOAD


def test_a_killed_download_resumes(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    with faulty_server(PAYLOAD, "stall:1500000", "stall:1200000") as server:
        code = (
            "from pathlib import Path\n"
            "from artsound.sources.http import *; from artsound.sources.http import Client\n"
            "client = Client(allow_private_hosts=True)\n"
            f"download(RemoteFile({server.url!r}), Path({str(path)!r}), client=client)\n"
        )
        part = path.with_name("file.bin.part")
        for come in (1_000_000, 2_000_000):  # the server holds back what follows later
            with subprocess.Popen([sys.executable, "-c", code]) as process:
                while process.poll() is None and (not part.exists() or part.stat().st_size < come):
                    time.sleep(0.02)
                process.kill()
            assert process.returncode == -signal.SIGKILL
        download(RemoteFile(server.url, SHA1), path, client=local_client(QUICK))
        begun = [int(wanted[6:-1]) for _, wanted in server.asked if wanted]
    assert len(begun) == 2
    assert begun[0] >= 1_000_000
    assert begun[1] >= 2_000_000
    assert path.read_bytes() == PAYLOAD


def test_requests_name_the_project_and_keep_their_distance(tmp_path: Path) -> None:
    client = local_client(Patience(pause=0.2, per_host=4))
    assert "artsound/" in USER_AGENT
    began = time.monotonic()
    with faulty_server(b"x" * 10) as server:
        for number in range(3):
            download(RemoteFile(f"{server.url}?{number}"), tmp_path / str(number), client=client)
    assert time.monotonic() - began >= 0.4  # a lower bound, which no load can break
