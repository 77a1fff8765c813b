"""Servers that misbehave: every answer is bounded, every fault is one error message."""

from __future__ import annotations

import json
import logging
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from faulty_server import faulty_server, local_client
from fuzz_servers import attack
from hostile_server import HOSTILE, QUICK, ZIP, Answer, head, moves, ranged, raw_server, sends

from artsound.errors import BadData, BadUsage
from artsound.sources.base import address_of
from artsound.sources.fetch import fetch_images
from artsound.sources.http import (
    Client,
    Patience,
    RemoteFile,
    check_reachable,
    content_length,
    download,
    shown,
)
from artsound.sources.remote_zip import open_remote_zip
from artsound.sources.servers import is_record, record_files


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("path", ["download", "range", "image", "record"])
def test_a_hostile_answer_is_one_error_message(path: str, answer: Answer, tmp_path: Path) -> None:
    client = local_client(QUICK)
    with raw_server(answer) as url:
        if path == "image":
            [(_, refusal)] = fetch_images({"a": url}, client)
            assert not isinstance(refusal, bytes) or len(refusal) < 10_000
            return
        ask: dict[str, Callable[[], object]] = {
            "download": lambda: download(RemoteFile(url), tmp_path / "fma.zip", client=client),
            "range": lambda: open_remote_zip(url, cache=tmp_path, client=client),
            "record": lambda: record_files(url, client),
        }
        with pytest.raises(BadData) as told:
            ask[path]()
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 1000
    assert not (tmp_path / "fma.zip").exists()


def test_random_answers_of_hostile_servers_end_in_one_error_message_each() -> None:
    assert list(attack(seed=0, first=0, last=40)) == []


def test_a_picture_that_takes_too_long_in_all_is_given_up() -> None:
    steady = sends(head("Content-Length: 100000"), b"x" * 200, pause=0.02, times=500)
    with raw_server(steady) as url:
        [(_, refused)] = fetch_images({"a": url}, local_client(replace(QUICK, body=0.1)))
    assert refused == ("failed", "image-unreachable", f"{url} broke off: not done after 0 s")


def test_a_body_is_cut_at_the_range_asked_for(tmp_path: Path) -> None:
    answer = ranged(len(ZIP), lambda start, end: ZIP[start:end], bytes(1 << 20))
    with raw_server(answer) as url:
        archive = open_remote_zip(url, cache=tmp_path, client=local_client(QUICK))
        found = dict(archive.read(archive.members, limit=1 << 20))
    assert found == {"fma_metadata/tracks.csv": b"track_id\n" * 100}


def test_a_directory_of_many_gigabytes_is_not_asked_for(tmp_path: Path) -> None:
    size = 10**12
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, size - 22 - 20 - 56, 1)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 10**11, 1000)
    end = struct.pack("<4s4H2LH", b"PK\5\6", *[0xFFFF] * 4, *[0xFFFF_FFFF] * 2, 0)
    tail = record + locator + end

    def body(start: int, stop: int) -> bytes:
        return b"\0" * (stop - start - len(tail)) + tail if stop == size else bytes(stop - start)

    with (
        raw_server(ranged(size, body)) as url,
        pytest.raises(BadData, match=r"directory claims .* is not believed"),
    ):
        open_remote_zip(url, cache=tmp_path, client=local_client(QUICK))


def test_the_same_length_sent_twice_is_taken(tmp_path: Path) -> None:
    length = f"Content-Length: {len(ZIP)}"
    with raw_server(sends(head(length, length), ZIP)) as url:
        download(RemoteFile(url), tmp_path / "fma.zip", client=local_client(QUICK))
    assert (tmp_path / "fma.zip").read_bytes() == ZIP


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (sends(head(), ZIP[: len(ZIP) * 6 // 10]), "is not a whole zip"),
        (sends(head("Content-Length: 19"), b"<html>log in</html>"), "is a web page, not a zip"),
    ],
    ids=["cut", "portal"],
)
def test_what_is_no_whole_zip_never_gets_its_name_and_is_pulled_again(
    wrong: Answer, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "fma.zip"
    with raw_server(wrong) as url, pytest.raises(BadData, match=sentence):
        download(RemoteFile(url), path, client=local_client(QUICK))
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(ZIP[: len(ZIP) // 2])  # as an earlier version may have left it
    with raw_server(sends(head(), ZIP)) as url:
        download(RemoteFile(url), path, client=local_client(QUICK))
    assert path.read_bytes() == ZIP


def test_a_first_bad_answer_is_dropped_and_the_next_taken(tmp_path: Path) -> None:
    answers = iter([sends(head(), b"<html>log in</html>"), sends(head(), ZIP)])

    def answer(connection: socket.socket, request: str) -> None:
        next(answers)(connection, request)

    with raw_server(answer) as url:
        download(RemoteFile(url), tmp_path / "fma.zip", client=local_client(QUICK))
    assert (tmp_path / "fma.zip").read_bytes() == ZIP


def test_without_a_network_the_answer_comes_soon_and_without_warnings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_names(*_: object) -> list[object]:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    caplog.set_level(logging.WARNING)
    with pytest.raises(BadData, match=r"cannot be reached: .*resolution; check the network"):
        download(RemoteFile("https://zenodo.org/a.zip"), tmp_path / "a.zip", client=Client())
    assert caplog.records == []


def test_a_name_that_is_looked_up_for_ever_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forever = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: forever.wait(60))
    client = Client(Patience(connect=1.0))
    with pytest.raises(BadData, match="no connection within 1 s"):
        download(RemoteFile("https://zenodo.org/a.zip"), tmp_path / "a.zip", client=client)
    forever.set()


@pytest.mark.parametrize(
    "url", ["ftp://example.org/x", "http://", "http://[::1", "http://a b/", "http://h:99999/"]
)
def test_a_malformed_address_is_wrong_usage(url: str, tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="is not an http or https address"):
        download(RemoteFile(url), tmp_path / "x", client=local_client(QUICK))


PRIVATE = (
    "127.0.0.1", "127.1", "0x7f000001", "2130706433", "0.0.0.0", "10.1.2.3", "172.16.0.1",
    "192.168.1.1", "100.64.0.1", "169.254.169.254", "224.0.0.1", "localhost", "LOCALHOST.",
    "api.localhost", "[::1]", "[::]", "[fe80::1]", "[fd00::1]", "[::ffff:127.0.0.1]",
    "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]", "[fec0::1]", "[::ffff:0:7f00:1]",
)  # fmt: skip


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_address_is_not_asked_unless_that_is_allowed(host: str, tmp_path: Path) -> None:
    url = f"http://{host}:9/x.zip"
    for ask in (
        lambda: check_reachable([url]),
        lambda: download(RemoteFile(url), tmp_path / "x.zip", client=Client(QUICK)),
    ):
        with pytest.raises(BadUsage, match=r"private network: give --allow-private-hosts"):
            ask()
    [(_, refused)] = fetch_images({"a": url}, Client(QUICK))
    assert refused[:2] == ("failed", "image-unreachable")


def test_a_name_that_leads_to_a_private_address_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest: found("127.0.0.1", *rest))
    with faulty_server(b"secret") as inside:
        url = inside.url.replace("127.0.0.1", "public.example")
        with pytest.raises(BadUsage, match=r"public.example.* \(127.0.0.1\), which is on"):
            check_reachable([url])
        client = Client(QUICK)
        with pytest.raises(BadUsage, match=r"\(127.0.0.1\), which is on"), client.get(url):
            pass
        client._host(url).reached = True  # at another address, when the name was looked up before
        with pytest.raises(BadData, match=r"is now at 127\.0\.0\.1"), client.get(url):
            pass
        assert inside.asked == []


def test_a_redirect_to_a_private_address_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_server(b"secret") as inside:
        place = inside.url.replace("127.0.0.1", "localhost")
        with raw_server(moves(place)) as url:
            with local_client(QUICK).get(url) as response:
                assert content_length(response) == 6
            # As if 127.0.0.1 were a public address.
            monkeypatch.setattr("artsound.sources.http._is_private", lambda host: host[0] == "l")
            with (
                pytest.raises(BadData, match=r"redirects to http://localhost.*is not asked"),
                Client(QUICK).get(url),
            ):
                pass
        assert len(inside.asked) == 1


def test_messages_hold_no_secret() -> None:
    assert shown("https://a.org/x?token=abc&b=1") == "https://a.org/x?token=...&b=1"


FORMS = {
    "with key": {
        "files": [
            {
                "key": "art.zip", "size": 1, "checksum": "md5:" + "d" * 32,
                "links": {"self": "http://x/art.zip"},
            }
        ]
    },
    "digest in capitals": {
        "files": [
            {
                "key": "art.zip", "size": 1, "checksum": "MD5: " + "D" * 32,
                "links": {"self": "http://x/art.zip"},
            }
        ]
    },
    "with filename": {
        "files": [
            {
                "filename": "art.zip", "filesize": 1, "checksum": "d" * 32,
                "links": {"self": "http://x/nope", "download": "http://x/art.zip"},
            }
        ]
    },
    "native": {
        "files": {
            "enabled": True, "count": 1,
            "entries": {
                "art.zip": {
                    "key": "art.zip", "size": 1, "checksum": "md5:" + "d" * 32,
                    "links": {"self": "http://x/nope", "content": "http://x/art.zip"},
                }
            },
        }
    },
    "native list": {
        "files": {
            "entries": [
                {
                    "key": "art.zip", "size": 1, "checksum": "md5:" + "d" * 32,
                    "links": {"content": "http://x/art.zip"},
                }
            ]
        }
    },
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_record_is_read_in_every_form(form: str) -> None:
    with faulty_server(json.dumps(FORMS[form]).encode()) as server:
        files = record_files(server.url.replace("file.bin", "records/1"), local_client(QUICK))
        assert server.asked[0][0] == "/api/records/1"
    assert files == {"art.zip": RemoteFile("http://x/art.zip", "md5:" + "d" * 32, 1)}


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"files": 1}', b'{"files": [1]}', b'{"files": {"entries": 3}}',
               b'{"files": [{"key": "a", "size": -1}]}',
               b'{"files": [{"key": "a", "size": 1e400}]}',
               b'{"files": [{"key": null, "size": 1}]}', b"[" * 100_000],
)  # fmt: skip
def test_an_answer_that_is_no_record_is_one_error(answer: bytes) -> None:
    with faulty_server(answer) as server, pytest.raises(BadData, match="like a Zenodo record"):
        record_files(server.url, local_client(QUICK))


@pytest.mark.parametrize(
    ("pasted", "asked"),
    [
        ("records/1", "/api/records/1"),
        ("record/1/", "/api/records/1"),
        ("api/records/1", "/api/records/1"),
        ("records/1?token=x&preview=1", "/api/records/1?token=x"),
        ("records/1#files", "/api/records/1"),
        ("records/1/files", "/api/records/1"),
        ("records/1/latest", "/api/records/1/versions/latest"),
        ("records/1/preview/art.zip?include_deleted=0", "/api/records/1"),
        ("records/1/export/json", "/api/records/1"),
    ],
)
def test_a_record_is_known_by_every_address_that_people_paste(pasted: str, asked: str) -> None:
    with faulty_server(json.dumps(FORMS["with key"]).encode()) as server:
        url = server.url.replace("file.bin", pasted)
        assert is_record(url)
        record_files(url, local_client(QUICK))
        assert server.asked[0][0] == asked


@pytest.mark.parametrize(
    ("url", "record"),
    [
        ("https://doi.org/10.5281/zenodo.8172374", True),
        ("http://dx.doi.org/10.5281/ZENODO.8172374", True),
        ("https://zenodo.org/doi/10.5281/zenodo.8172374", True),
        ("https://zenodo.org/records/8172374/files/art.zip?download=1", False),
        ("https://example.org/art.zip", False),
    ],
)
def test_a_doi_is_a_record_and_a_file_of_one_is_not(url: str, record: bool) -> None:
    assert is_record(url) is record


@pytest.mark.parametrize(
    ("pasted", "address"),
    [
        ("10.5281/zenodo.8172374", "https://doi.org/10.5281/zenodo.8172374"),
        ("doi:10.5281/zenodo.8172374", "https://doi.org/10.5281/zenodo.8172374"),
        ("DOI:10.5281/ZENODO.8172374.", "https://doi.org/10.5281/ZENODO.8172374"),
        ("DOI: 10.5281/zenodo.8172374", "https://doi.org/10.5281/zenodo.8172374"),
        ("(10.5281%2Fzenodo.8172374)", "https://doi.org/10.5281/zenodo.8172374"),
        ("doi.org/10.5281/zenodo.8172374", "https://doi.org/10.5281/zenodo.8172374"),
        ("zenodo.org/records/8172374", "https://zenodo.org/records/8172374"),
        ("www.zenodo.org/record/8172374#files", "https://www.zenodo.org/record/8172374#files"),
        ("<https://zenodo.org/records/8172374>", "https://zenodo.org/records/8172374"),
        (" HTTPS://Zenodo.org/Records/8172374 ", "HTTPS://Zenodo.org/Records/8172374"),
        ("os.unil.cloud.switch.ch/fma/", "https://os.unil.cloud.switch.ch/fma/"),
        ("museum/", ""),
        ("zenodo.org", ""),
        ("10.5281", ""),
    ],
)
def test_an_address_may_lack_what_people_leave_out(pasted: str, address: str) -> None:
    assert address_of(pasted, "https://os.unil.cloud.switch.ch/fma/") == address
    assert is_record(address) is ("8172374" in pasted)


def test_a_folder_that_is_called_like_a_doi_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "10.5281/zenodo.1").mkdir(parents=True)
    assert address_of("10.5281/zenodo.1", "") == ""
