from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from faulty_server import FaultyServer, faulty_server, local_client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nginx_server import nginx

from artsound.errors import BadData
from artsound.sources.http import Patience
from artsound.sources.remote_zip import open_remote_zip

RANDOM = random.Random(0)
FILES = {f"fma_large/{n // 10:03d}/{n:06d}.mp3": RANDOM.randbytes(20_000) for n in range(40)}
TEXT = b"track_id,title\n" * 2000
QUICK = Patience(retries=3, backoff=0.01, longest_wait=2.0, connect=2.0, stall=60.0)
HASTY = replace(QUICK, stall=0.5)  # for answers that never come
LIMIT = 1 << 20


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr("tracks.csv", TEXT, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


ZIP = packed(FILES)
NAMES = [name for number, name in enumerate(FILES) if number % 7 == 0]


def pull(
    server: FaultyServer, cache: Path, names: list[str], patience: Patience = QUICK
) -> dict[str, bytes | BadData]:
    archive = open_remote_zip(server.url, cache=cache, client=local_client(patience))
    return dict(archive.read(names, limit=LIMIT))


def test_members_come_by_name_stored_or_deflated_and_nothing_else_travels(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "fma.zip").write_bytes(ZIP)
    with nginx(root, tmp_path / "nginx") as server:
        archive = open_remote_zip(
            f"{server.url}/fma.zip", cache=tmp_path, client=local_client(QUICK)
        )
        directory = server.sent()
        far = [next(iter(FILES)), list(FILES)[-1], "tracks.csv"]
        found = dict(archive.read(far, limit=LIMIT))
        assert found == {name: FILES.get(name, TEXT) for name in far}
        wanted = sum(archive.members[name].packed for name in far)
        assert wanted <= server.sent() - directory < wanted + 1000
        assert {status for status, _, _ in server.requests()} == {206}


def test_the_directory_is_read_once_and_read_again_when_the_zip_is_another(tmp_path: Path) -> None:
    with faulty_server(ZIP) as server:
        for asked in (2, 3):
            archive = open_remote_zip(server.url, cache=tmp_path, client=local_client(QUICK))
            assert len(archive.members) == 41
            assert len(server.asked) == asked
        server.payload, server.etag = packed({"a.mp3": b"a"}), '"v2"'
        archive = open_remote_zip(server.url, cache=tmp_path, client=local_client(QUICK))
        assert set(archive.members) == {"a.mp3", "tracks.csv"}


def test_neighbours_share_a_request_and_far_ones_do_not(tmp_path: Path) -> None:
    with faulty_server(ZIP) as server:
        assert pull(server, tmp_path, list(FILES)) == FILES
        assert len(server.asked) == 3
        pull(server, tmp_path, [next(iter(FILES)), list(FILES)[-1]])
        assert len(server.asked) == 3 + 1 + 2


def test_a_zip_with_offsets_beyond_four_gigabytes_is_read(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with (root / "big.zip").open("wb") as file:
        file.seek(5 << 30)  # a sparse file: a hole of 5 GiB before the first member
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("fma_large/000/000002.mp3", b"music")
    with nginx(root, tmp_path / "nginx") as server:
        remote = open_remote_zip(
            f"{server.url}/big.zip", cache=tmp_path, client=local_client(QUICK)
        )
        assert remote.members["fma_large/000/000002.mp3"].offset == 5 << 30
        assert dict(remote.read(remote.members, limit=LIMIT)) == {
            "fma_large/000/000002.mp3": b"music"
        }
        assert server.sent() < 200_000


@pytest.mark.parametrize(
    "faults",
    [
        ("", "", "reset:1000"),
        ("", "", "reset:0", "truncate:5", "reset:19999"),
        ("", "", "stall:3000"),
        ("500", "429:0", "", "", "500"),
        ("", "reset:100"),
        ("reset:0",),
    ],
    ids=lambda faults: "+".join(fault for fault in faults if fault),
)
def test_whatever_breaks_on_the_way_the_right_bytes_arrive(
    faults: tuple[str, ...], tmp_path: Path
) -> None:
    with faulty_server(ZIP, *faults) as server:
        found = pull(server, tmp_path, NAMES, HASTY if "stall" in "".join(faults) else QUICK)
        assert not server.faults
    assert found == {name: FILES[name] for name in NAMES}


def test_a_range_broken_off_continues_at_the_byte_where_it_broke(tmp_path: Path) -> None:
    with faulty_server(ZIP, "", "", "truncate:400000") as server:
        assert pull(server, tmp_path, list(FILES)) == FILES
        begun = [int(wanted[6:].partition("-")[0]) for _, wanted in server.asked[2:]]
    assert begun[0] < begun[1] <= begun[0] + 400_000


def test_other_bytes_than_asked_for_never_pass_for_a_member(tmp_path: Path) -> None:
    with faulty_server(ZIP, "", "", "other-bytes") as server:
        found = pull(server, tmp_path, NAMES[:1])
    with pytest.raises(BadData, match="has no local header"):
        raise found[NAMES[0]]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        (["no-range"], "does not serve byte ranges: fetch it whole"),
        (["", "", "no-range"], "changed while it was read"),
        (["", "", "wrong-range"], "other bytes than were asked for"),
        (["", "other-bytes"], "not a zip file, or is cut short"),
        (["500"] * 9, "keeps answering 500"),
        (["", ""] + ["reset:0"] * 9, "broke off 4 times in a row"),
        (["loop"], "redirects in circles"),
    ],
    ids=["no-range", "no-range-later", "wrong-range", "no-zip", "500", "reset", "loop"],
)
def test_a_hopeless_server_is_reported_in_one_sentence(
    faults: list[str], sentence: str, tmp_path: Path
) -> None:
    with faulty_server(ZIP, *faults) as server, pytest.raises(BadData, match=sentence):
        pull(server, tmp_path, NAMES[:1])


def test_a_zip_that_changes_between_directory_and_members_is_refused(tmp_path: Path) -> None:
    with faulty_server(ZIP) as server:
        archive = open_remote_zip(server.url, cache=tmp_path, client=local_client(QUICK))
        server.payload, server.etag = ZIP[::-1], '"v2"'
        with pytest.raises(BadData, match="changed while it was read"):
            list(archive.read(NAMES, limit=LIMIT))


def test_a_name_that_climbs_out_refuses_the_zip(tmp_path: Path) -> None:
    with (
        faulty_server(packed({"../../evil.mp3": b"x"})) as server,
        pytest.raises(BadData, match="unsafe name"),
    ):
        open_remote_zip(server.url, cache=tmp_path, client=local_client(QUICK))


def test_a_member_that_declares_too_much_is_not_asked_for(tmp_path: Path) -> None:
    with faulty_server(packed({"a.mp3": bytes(LIMIT + 1)})) as server:
        found = pull(server, tmp_path, ["a.mp3", "tracks.csv"])
        assert len(server.asked) == 3
    assert "which is not believed" in str(found["a.mp3"])
    assert found["tracks.csv"] == TEXT


def test_a_weak_tag_of_the_server_does_not_stop_the_reading(tmp_path: Path) -> None:
    with faulty_server(ZIP) as server:
        server.etag = 'W/"v1"'
        assert pull(server, tmp_path, NAMES) == {name: FILES[name] for name in NAMES}


def test_a_member_that_unpacks_to_more_than_it_declares_is_refused_in_little_memory(
    tmp_path: Path,
) -> None:
    whole, told = 64 << 20, 1000
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.mp3", bytes(whole))
    honest, size = buffer.getvalue(), struct.pack("<I", whole)
    assert honest.count(size) == 2  # in the local header and in the directory
    with faulty_server(honest.replace(size, struct.pack("<I", told))) as server:
        tracemalloc.start()
        try:
            found = pull(server, tmp_path, ["bomb.mp3"])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert "does not have the size and CRC-32" in str(found["bomb.mp3"])
    assert peak < whole // 8


@pytest.fixture(scope="module")
def any_payload() -> Iterator[FaultyServer]:
    with faulty_server(b"") as server:
        yield server


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 60),
)
def test_a_damaged_zip_gives_the_right_bytes_or_a_reason(
    flips: list[tuple[int, int]],
    cut: int,
    any_payload: FaultyServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    files = {"a.mp3": b"abc" * 100, "b.mp3": b"b" * 50}
    data = bytearray(packed(files))
    for place, mask in flips:
        data[place % len(data)] ^= mask
    any_payload.payload = bytes(data[: len(data) - cut])
    cache = tmp_path_factory.mktemp("cache")
    try:
        archive = open_remote_zip(any_payload.url, cache=cache, client=local_client(QUICK))
        found = dict(archive.read(archive.members, limit=LIMIT))
    except BadData:
        return
    for name, got in found.items():
        assert isinstance(got, BadData) or got in (*files.values(), TEXT, b""), name
